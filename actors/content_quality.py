"""Technical quality of picture and sound, and how CLIP sees the picture."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.report import Event, Model, Output, derived, estimated, measured, setting

NAME = "content_quality"


class Bars(Model):
    """The active picture, and the bars around it."""

    kind: str = derived("none, letterbox, pillarbox or windowbox (both)")
    box: list[float] = measured(
        "Active picture, [x0, y0, x1, y1]", range="0..1 of width and height"
    )
    share: float = derived("Share of the picture's area that is bars", range="0..1")


class Technical(Model):
    """What can be measured of picture and sound without a model."""

    times: list[float] = measured("Times of the samples behind the curves", unit="s")
    sharpness_curve: list[float] = measured("Sharpness of each sample, as in `sharpness`")
    sharpness: float = measured("Median sharpness of the active picture over the samples")
    blurred_share: float = derived("Share of the samples that are blurred", range="0..1")
    clipped_dark: float = measured("Mean share of pixels at black", range="0..1")
    clipped_bright: float = measured("Mean share of pixels at white", range="0..1")
    noise: float | None = measured("Standard deviation of the noise in luma, median of the stills")
    blocking: float | None = measured("Strength of the 8 x 8 block grid, median of the stills")
    bars: Bars = measured("Bars around the active picture")
    resolution: list[int] = measured("Stored size of the stills, [width, height]", unit="pixels")
    effective_resolution: list[int] | None = estimated(
        "Size at which the picture would hold the same detail, [width, height]", unit="pixels"
    )
    detail_share: float | None = measured("Highest spatial frequency in use", range="0..1")
    audio_clipped: float | None = measured("Share of audio samples at full scale", range="0..1")


class PairScore(Model):
    """One aesthetic question, put to CLIP as two prompts."""

    pair: str = setting("Name of the pair")
    positive: str = setting("The prompt that a score of 1 stands for")
    negative: str = setting("The prompt that a score of 0 stands for")
    score: float = estimated("Mean over the frames", range="0..1")
    spread: float = derived("Standard deviation over the frames", range="0..0.5")
    best_s: float = derived("Time of the frame with the highest score", unit="s")


class Embeddings(Model):
    """One unit vector per frame, in the space that CLIP shares between pictures and texts."""

    times: list[float] = measured("Times of the frames", unit="s")
    width: int = setting("Numbers in a vector")
    data: str = estimated(
        "The vectors: little-endian float16, frame after frame, base64",
        method="CLIP image features, scaled to unit length",
    )

    def array(self) -> NDArray[np.float32]:
        """The vectors, float32 [frames, width], unit length to within float16."""
        raw = np.frombuffer(base64.b64decode(self.data), dtype="<f2")
        return raw.reshape(len(self.times), self.width).astype(np.float32)

    @classmethod
    def of(cls, times: list[float], vectors: NDArray[np.float32]) -> Embeddings:
        """Pack vectors [frames, width] of any length."""
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        data = base64.b64encode(unit.astype("<f2").tobytes()).decode("ascii")
        return cls(times=times, width=int(vectors.shape[1]), data=data)


class Quality(Output):
    """Technical and aesthetic quality."""

    technical: Technical = measured("What was measured of the signal")
    aesthetic: list[PairScore] | None = estimated(
        "CLIP's answers to the prompt pairs; absent without CLIP"
    )
    embeddings: Embeddings | None = estimated("A vector per frame; absent without CLIP")

    def headline(self) -> str:
        t = self.technical
        size = t.effective_resolution or t.resolution
        return f"{size[0]}x{size[1]} effective, sharpness {t.sharpness:.2f}"

    def events(self) -> Iterator[Event]:
        return iter(())
