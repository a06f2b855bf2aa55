"""Which samples of a track to look at, and how long what is seen in each holds."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import Frames
from tiktok_ray.media.spans import Span

EPSILON_S = 1e-3
#: Mean change of luma in a cell of 16 x 16 pixels from which on a picture is looked at again.
DIFFERS = 2.0

Seen = TypeVar("Seen")
Rgb = NDArray[np.uint8]


def thin(times: Sequence[float], fps: float, breaks: Sequence[float] = ()) -> list[int]:
    """Indices of the samples to look at so that at most ``fps`` a second remain.

    ``times`` ascend; the first sample, and the first at or after each of ``breaks`` (cuts), is
    always among them, so that every shot that was sampled is looked at.
    """
    kept: list[int] = []
    edges = sorted(breaks)
    for index, t in enumerate(times):
        last = times[kept[-1]] if kept else None
        if (
            last is None
            or t - last >= 1 / fps - EPSILON_S
            or any(last < edge - EPSILON_S and edge <= t + EPSILON_S for edge in edges)
        ):
            kept.append(index)
    return kept


def unchanged(a: NDArray[np.uint8], b: NDArray[np.uint8], least: float) -> bool:
    """Whether in no cell of 16 x 16 pixels the mean change of luma between two pictures of one
    size reaches ``least``."""
    import cv2

    height, width = a.shape
    cells = (max(1, width // 16), max(1, height // 16))
    change = cv2.resize(cv2.absdiff(a, b), cells, interpolation=cv2.INTER_AREA)
    return bool(change.max() < least)


def look(
    frames: Frames,
    picked: Sequence[int],
    see: Callable[[Sequence[Rgb]], Sequence[Seen]],
    batch: int = 1,
) -> list[Seen]:
    """What ``see`` finds in each of the picked samples, up to ``batch`` of them at once.

    A sample that does not differ from the last one that was looked at shows what that one showed.
    """
    same: list[int] = []
    fresh: list[int] = []
    shown: NDArray[np.uint8] | None = None
    for k in picked:
        gray = frames.gray(k)
        if shown is None or not unchanged(shown, gray, DIFFERS):
            shown = gray
            fresh.append(k)
        same.append(len(fresh) - 1)
    found: list[Seen] = []
    for start in range(0, len(fresh), batch):
        found += see([frames.rgb(k) for k in fresh[start : start + batch]])
    return [found[k] for k in same]


def holds(times: Sequence[float], end: float, breaks: Sequence[float] = ()) -> list[Span]:
    """The span for which each sample stands: until the next sample, the next cut, or ``end``."""
    edges = sorted(breaks)
    spans: list[Span] = []
    for index, t in enumerate(times):
        until = times[index + 1] if index + 1 < len(times) else max(end, t)
        cut = next((edge for edge in edges if t + EPSILON_S < edge < until), until)
        spans.append(Span(float(t), float(cut)))
    return spans
