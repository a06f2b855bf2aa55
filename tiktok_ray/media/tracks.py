"""The tracks that analyzers read: sampled frames, audio, speech."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import spans
from tiktok_ray.media.facts import Video
from tiktok_ray.media.spans import Span
from tiktok_ray.report import Coverage

AUDIO_RATE = 16_000
LEVEL_STEP_S = 0.1


def fixed(array: Any) -> Any:
    """The same array, read-only, as every analyzer receives it."""
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class Frames:
    """Sampled frames.

    ``times``: float64 [n], ascending. ``i420``: uint8 [n, height * 3 / 2, width], read-only.
    ``end``: when the last frame stops being displayed. Height and width are even.
    """

    times: NDArray[np.float64]
    i420: NDArray[np.uint8]
    end: float

    @classmethod
    def of(
        cls, times: Sequence[float], pictures: Sequence[NDArray[np.uint8]], end: float
    ) -> Frames:
        """Frames made from RGB images, uint8 [height, width, 3] of even height and width."""
        import cv2

        planes = [cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420) for picture in pictures]
        return cls(fixed(np.asarray(times, float)), fixed(np.stack(planes)), end)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def height(self) -> int:
        return int(self.i420.shape[1]) * 2 // 3

    @property
    def width(self) -> int:
        return int(self.i420.shape[2])

    def gray(self, index: int) -> NDArray[np.uint8]:
        """Luma of one frame, uint8 [height, width], 16..235, a read-only view."""
        return self.i420[index, : self.height]

    @property
    def grays(self) -> NDArray[np.uint8]:
        """Luma of all frames, uint8 [n, height, width], a read-only view."""
        return self.i420[:, : self.height]

    def rgb(self, index: int) -> NDArray[np.uint8]:
        """One frame, uint8 [height, width, 3], RGB, freshly made."""
        import cv2

        result: Any = cv2.cvtColor(self.i420[index], cv2.COLOR_YUV2RGB_I420)
        return result  # type: ignore[no-any-return]

    def rgbs(self) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """Each frame's timestamp and RGB pixels, one at a time."""
        for index, t in enumerate(self.times):
            yield float(t), self.rgb(index)

    def coverage(self) -> Coverage:
        edges = np.append(self.times, self.end)
        return Coverage(
            samples=len(self),
            span_s=float(edges[-1] - edges[0]),
            max_gap_s=float(np.diff(edges).max()),
            short_px=min(self.width, self.height),
        )


@dataclass(frozen=True)
class Levels:
    """Levels of the audio at its own rate, in steps of ``LEVEL_STEP_S`` from time zero.

    ``power``: K-weighted, channel-weighted mean square, float64 [k] (ITU-R BS.1770-5).
    ``peak``: largest absolute value of the signal oversampled four times, float64 [k], 1.0 = full
    scale (BS.1770-5, annex 2). ``clipped``: share of samples at full scale, float64 [k], 0..1.
    """

    power: NDArray[np.float64]
    peak: NDArray[np.float64]
    clipped: NDArray[np.float64]
    rate: int
    channels: int


@dataclass(frozen=True)
class Audio:
    """The sound: ``samples`` float32 [n], mono, -1..1, at 16 kHz; sample k is at k / rate seconds.

    ``present`` are the spans in which the file carries audio at all; elsewhere samples are zero.
    ``before``: what is heard before the first picture, float32 [m], ending at time zero.
    """

    samples: NDArray[np.float32]
    levels: Levels
    present: tuple[Span, ...]
    rate: int = AUDIO_RATE
    before: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate

    def cut(self, start: float, end: float) -> NDArray[np.float32]:
        """Samples between two times, as a read-only view."""
        return self.samples[max(0, round(start * self.rate)) : max(0, round(end * self.rate))]

    def lead(self) -> Audio | None:
        """The audio before the first frame as a separate track starting at zero; None if there is none."""
        if not len(self.before):
            return None
        none = np.zeros(0)
        levels = Levels(none, none, none, self.levels.rate, self.levels.channels)
        whole = Span(0.0, len(self.before) / self.rate)
        return Audio(self.before, levels, (whole,), self.rate)

    def coverage(self) -> Coverage:
        inside = (0.0, self.duration_s)
        gaps = spans.invert(self.present, inside)
        return Coverage(
            samples=len(self.samples),
            span_s=spans.total(self.present),
            max_gap_s=max((gap.length for gap in gaps), default=0.0),
        )


@dataclass(frozen=True)
class Speech:
    """Spans of speech, by Silero VAD; those ``before`` the first frame have negative times."""

    spans: tuple[Span, ...]
    before: tuple[Span, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.spans or self.before)


#: Every media track by the name an analyzer's parameter has, with its type.
TRACKS: dict[str, type] = {
    "video": Video,
    "frames": Frames,
    "dense": Frames,
    "thumbs": Frames,
    "stills": Frames,
    "audio": Audio,
    "speech": Speech,
}


@dataclass(frozen=True)
class Decoded:
    """One decoded video: its corrected facts and the requested tracks."""

    video: Video
    tracks: dict[str, Any]

    def coverage(self) -> dict[str, Coverage]:
        """How densely each track covers the video, by name."""
        return {n: t.coverage() for n, t in self.tracks.items() if isinstance(t, Frames | Audio)}

    def empty(self) -> frozenset[str]:
        """The tracks that are there and have nothing in them: speech, where nobody speaks."""
        return frozenset(n for n, t in self.tracks.items() if isinstance(t, Speech) and not t)
