"""Technical quality of image and sound, and CLIP's rating of the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tiktok_ray.analyzer import Analyzer, Needs, Options, Skip, Variant, Vram
from tiktok_ray.media import LEVEL_STEP_S, Audio, Frames
from tiktok_ray.methods.vectors import PACKING, Vectors, packed, unit, unpacked
from tiktok_ray.methods.vision import clip
from tiktok_ray.methods.vision.picture_quality import (
    BLACK,
    WHITE,
    active_box,
    blocking,
    detail,
    edge_blur,
    middle,
    noise,
    sharpness,
    within,
)
from tiktok_ray.report import Event, Model, Output, derived, estimated, measured, setting
from tiktok_ray.weights import Hub

NAME = "content_quality"

Floats = NDArray[np.float64]

#: Sharpness below which a sample counts as blurred.
BLURRED = 0.4
#: Detail share of photographs at their full resolution.
DETAILED = 0.85
#: Prompt pairs after CLIP-IQA (Wang, Chan & Loy 2023): name, prompt for 1, prompt for 0.
PAIRS: tuple[tuple[str, str, str], ...] = (
    ("good or bad", "Good photo.", "Bad photo."),
    ("aesthetic or not", "Aesthetic photo.", "Not aesthetic photo."),
    ("bright or dark", "Bright photo.", "Dark photo."),
    ("colorful or dull", "Colorful photo.", "Dull photo."),
    ("sharp or blurry", "Sharp photo.", "Blurry photo."),
    ("clean or noisy", "Clean photo.", "Noisy photo."),
    ("happy or sad", "Happy photo.", "Sad photo."),
    ("simple or complex", "Simple photo.", "Complex photo."),
    ("professional or amateur", "Professional photo.", "Amateur photo."),
)


class Bars(Model):
    """The active picture, and the bars around it."""

    kind: Literal["none", "letterbox", "pillarbox", "windowbox"] = derived(
        "letterbox: above or below; pillarbox: at the sides; windowbox: both"
    )
    box: list[float] = measured(
        "Active picture, [x0, y0, x1, y1]",
        range="0..1 of width and height",
        method="rows and columns at the border that are three fifths black (or white) in every"
        " sample that has contrast, up to a straight edge",
    )
    share: float = derived("Share of the frame area covered by bars", range="0..1")


class Technical(Model):
    """Model-free measurements of image and sound, within the active picture."""

    times: list[float] = measured(
        "Timestamps of the sampled frames of the curve: those with contrast", unit="s"
    )
    sharpness_curve: list[float] = measured("Sharpness of each of these frames", range="0..1")
    sharpness: float | None = measured(
        "Median of the curve; absent if no frame has any contrast",
        range="0..1",
        method="1 - blur effect (Crete et al. 2007) of luma, short side at most 512 pixels",
    )
    blurred_share: float | None = derived(
        "Share of the sampled frames with sharpness below 0.4", range="0..1"
    )
    edge_blur: float | None = measured(
        "Blur of edges: standard deviation of the Gaussian that would make them, median over the"
        " stills; absent without edges",
        unit="pixels",
        method="gradient ratio of the frame and a blurred copy at edges (Zhuo & Sim 2011)",
    )
    clipped_dark: float = measured("Mean share of black-clipped pixels", range="0..1")
    clipped_bright: float = measured("Mean share of white-clipped pixels", range="0..1")
    noise: float | None = measured(
        "Standard deviation of noise in luma, median over the stills; absent when all is clipped",
        unit="levels of 255",
        method="Immerkaer 1996, on the half of the pixels with the weakest gradient",
    )
    blocking: float | None = measured(
        "Strength of the 8 x 8 block grid: steps across the grid relative to steps elsewhere,"
        " (grid - else) / (grid + else), median over the stills",
        range="-1..1; about 0: no grid",
        method="features B and A of Wang, Sheikh & Bovik 2002",
    )
    bars: Bars = measured("Bars around the active picture")
    resolution: list[int] = measured("Displayed size, [width, height]", unit="pixels")
    detail_share: float | None = measured(
        "Spatial frequency below which 90 % of the energy of the luma's gradient lies, mean of"
        " rows and columns, median over the stills; absent without detail",
        range="0..1 of the Nyquist frequency",
        method="power spectra of tiles of 128 pixels, squared frequency as weight, minus twice"
        " the spectrum of the calmest tiles; the median of the tiles from the 50th to the 90th"
        " percentile of energy",
    )
    effective_resolution: list[int] | None = estimated(
        "Size that would carry the same detail, [width, height], to within about a quarter",
        unit="pixels",
        method="resolution x detail_share / 0.85, at most the resolution; 0.85 is what"
        " photographs at their full resolution reach",
    )
    audio_clipped: float | None = measured(
        "Share of audio samples at full scale; absent without audio", range="0..1"
    )


class PairScore(Model):
    """One question about looks, put to CLIP as two prompts."""

    pair: str = setting("Name of the pair")
    positive: str = setting("The prompt that a score of 1 corresponds to")
    negative: str = setting("The prompt that a score of 0 corresponds to")
    score: float = estimated(
        "Mean over the frames",
        range="0..1",
        method="softmax over the pair of CLIP's scaled cosines (CLIP-IQA, Wang, Chan & Loy 2023)",
    )
    spread: float = derived("Standard deviation over the frames", range="0..0.5")
    best_s: float = derived("Time of the frame with the highest score", unit="s")


class Embeddings(Model):
    """One unit vector per frame, in the space that CLIP shares between pictures and texts."""

    times: list[float] = measured("Times of the frames", unit="s")
    width: int = setting("Dimension of the vectors")
    data: str = estimated(
        "The vectors: signed bytes, frame after frame, base64; ``array`` reads them",
        method=f"CLIP image features, {PACKING}",
    )

    def array(self) -> Vectors:
        """The vectors, float32 [frames, width], of unit length; cosines within 0.01."""
        return unpacked(self.data, self.width)

    @classmethod
    def of(cls, times: Sequence[float], vectors: Vectors) -> Embeddings:
        """Pack vectors [frames, width] of any length."""
        return cls(times=list(times), width=int(vectors.shape[1]), data=packed(vectors))


class Quality(Output):
    """Technical and aesthetic quality."""

    technical: Technical = measured("Measurements of the signal")
    aesthetic: list[PairScore] | None = estimated(
        "CLIP's answers to the prompt pairs; absent without CLIP"
    )
    embeddings: Embeddings | None = estimated("One vector per frame; absent without CLIP")

    def headline(self) -> str:
        found = self.technical
        width, height = found.resolution
        parts = [f"{width}x{height}"]
        if found.effective_resolution and found.effective_resolution != found.resolution:
            parts[0] += " (detail of {}x{})".format(*found.effective_resolution)
        if found.sharpness is not None:
            parts.append(f"sharpness {found.sharpness:.2f}")
        if found.noise is not None:
            parts.append(f"noise {found.noise:.1f}")
        if found.bars.kind != "none":
            parts.append(found.bars.kind)
        return ", ".join(parts)

    def events(self) -> Iterator[Event]:
        return iter(())


class TextVectors(Output):
    """Vectors of texts, in the space of the vectors that the same analyzer makes of a video."""

    vectors: list[list[float]] = estimated("One unit vector for each text")

    def headline(self) -> str:
        return f"{len(self.vectors)} texts"


class Seer(Protocol):
    """CLIP: vectors of pictures and texts, and those of the prompts."""

    prompts: Vectors
    scale: float

    def embed(self, pictures: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Vectors [pictures, width] of RGB pictures."""

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Vectors [texts, width]; of a text, what the model can take of it."""


class QualityOptions(Options):
    """Settings of ``content_quality``."""

    clip_frames: int = Field(
        90, ge=1, description="Maximum number of frames shown to CLIP, evenly spaced"
    )


class ContentQuality(Analyzer):
    """Sharpness, exposure, noise, blocking, bars and true detail; looks and vectors by CLIP."""

    name = NAME
    card_priority = 3
    needs = Needs(threads=1, timeout_s=180, cost=5)
    imports = ("cv2",)
    variants = (
        Variant(
            "clip-vit-base-patch32",
            weights={
                "clip": Hub(
                    "openai/clip-vit-base-patch32",
                    "MIT (its model card: for research)",
                    0.57,
                    files=("*.json", "*.txt", "model.safetensors", "pytorch_model.bin"),
                    needs=("config.json", "tokenizer.json", "*model.[bs]*"),
                    recipes=(clip.PICTURES, clip.TEXTS),
                )
            },
            ram_gib=0.8,
            vram=Vram(0.3, 0.2),
            imports=("PIL.ImageFile", "tokenizers"),
            card_imports=("torch", "transformers"),
        ),
        Variant("signal", ram_gib=0.4, lacks=("aesthetic", "embeddings"), basis="measured"),
    )
    options_type = QualityOptions
    batch = 16
    _seer: Seer | None = None

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:
        if "clip" in files:
            prompts = [prompt for _, *both in PAIRS for prompt in both]
            self._seer = clip.Clip(files["clip"], device, prompts)

    def analyze(self, frames: Frames, stills: Frames, audio: Audio | None) -> Quality:
        technical = measure(frames, stills, audio)
        if self._seer is None:
            return Quality(technical=technical, aesthetic=None, embeddings=None)
        most = min(len(frames), self.options.clip_frames)
        chosen = np.linspace(0, len(frames) - 1, most).round().astype(int).tolist()
        times = [float(frames.times[k]) for k in chosen]
        vectors = np.concatenate(
            [
                self._seer.embed([frames.rgb(k) for k in chosen[i : i + self.batch]])
                for i in range(0, most, self.batch)
            ]
        )
        scores = pair_scores(vectors, self._seer.prompts, self._seer.scale)
        return Quality(
            technical=technical,
            aesthetic=[
                PairScore(
                    pair=pair,
                    positive=positive,
                    negative=negative,
                    score=float(column.mean()),
                    spread=float(column.std()),
                    best_s=times[int(column.argmax())],
                )
                for (pair, positive, negative), column in zip(PAIRS, scores.T, strict=True)
            ],
            embeddings=Embeddings.of(times, vectors),
        )

    def answer(self, asked: Sequence[str]) -> TextVectors:  # type: ignore[override]
        """Vectors of texts, to look for pictures that show what they say."""
        if self._seer is None:
            raise Skip("there is no CLIP here")
        return TextVectors(vectors=unit(self._seer.embed_texts(asked)).tolist())


def pair_scores(pictures: Vectors, prompts: Vectors, scale: float) -> Floats:
    """Probability of each pair's first prompt, [pictures, pairs].

    ``prompts`` [2 * pairs, width]: first and second prompt of each pair in turn. Softmax over the
    two of a pair, of ``scale`` times the cosine.
    """
    cosines = unit(pictures) @ unit(prompts).T
    apart = scale * (cosines[:, 1::2] - cosines[:, ::2]).astype(np.float64)
    result: Floats = 1 / (1 + np.exp(np.clip(apart, -700, 700)))
    return result


def measure(frames: Frames, stills: Frames, audio: Audio | None) -> Technical:
    """Everything technical; the picture is measured inside its bars."""
    bars = find_bars(frames.grays)
    inside = [within(frames.gray(k), bars.box) for k in range(len(frames))]
    curve = [(float(t), sharpness(y)) for t, y in zip(frames.times, inside, strict=True)]
    seen = [(t, s) for t, s in curve if s is not None]
    sharp = [s for _, s in seen]
    pictures = [middle(within(stills.gray(k), bars.box)) for k in range(len(stills))]
    # The grid begins at the corner of the whole picture, not of the active one.
    corner = round(bars.box[0] * stills.width), round(bars.box[1] * stills.height)
    share = _median([detail(y) for y in pictures])
    size = [stills.width, stills.height]
    return Technical(
        times=[t for t, _ in seen],
        sharpness_curve=sharp,
        sharpness=float(np.median(sharp)) if sharp else None,
        blurred_share=float(np.mean([s < BLURRED for s in sharp])) if sharp else None,
        edge_blur=_median([edge_blur(y) for y in pictures]),
        clipped_dark=float(np.mean([(y <= BLACK).mean() for y in inside])),
        clipped_bright=float(np.mean([(y >= WHITE).mean() for y in inside])),
        noise=_median([noise(y) for y in pictures]),
        blocking=_median([blocking(y, corner) for y in pictures]),
        bars=bars,
        resolution=size,
        detail_share=share,
        effective_resolution=None
        if share is None
        else [max(1, round(n * min(1.0, share / DETAILED))) for n in size],
        audio_clipped=audio_clipped(audio) if audio else None,
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None


def find_bars(grays: NDArray[np.uint8]) -> Bars:
    """Bars around the active picture of a video, from luma [n, height, width]."""
    x0, y0, x1, y1 = box = active_box(grays)
    across, down = x1 - x0 < 1, y1 - y0 < 1
    kind: Literal["none", "letterbox", "pillarbox", "windowbox"] = "none"
    if across or down:
        kind = "windowbox" if across and down else "pillarbox" if across else "letterbox"
    return Bars(kind=kind, box=box, share=max(0.0, 1 - (x1 - x0) * (y1 - y0)))


def audio_clipped(audio: Audio) -> float | None:
    """Share of the samples at full scale where there is audio; None where there is none."""
    clipped = audio.levels.clipped
    middles = (np.arange(len(clipped)) + 0.5) * LEVEL_STEP_S
    there = np.zeros(len(clipped), bool)
    for start, end in audio.present:
        there |= (middles >= start) & (middles < end)
    return float(clipped[there].mean()) if there.any() else None
