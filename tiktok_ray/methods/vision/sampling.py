"""Which samples of a track to look at, and how long what is seen in each holds."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import Frames
from tiktok_ray.media.spans import Span

EPSILON_S = 1e-3
#: Mean change of luma in a cell of 16 x 16 pixels from which on a picture is looked at again.
DIFFERS = 2.0
#: Longest time between two samples whose middle one need not be looked at: less than two samples
#: of the 0.35 s for which a thing must be seen to be believed.
SKIPPED_S = 0.45
#: The same change, from which on a picture differs from both its neighbours by more than movement
#: between them explains.
FLASH = 30

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


def change(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean change of luma between two pictures of one size, in each cell of 16 x 16 pixels."""
    import cv2

    height, width = a.shape
    cells = (max(1, width // 16), max(1, height // 16))
    return np.asarray(cv2.resize(cv2.absdiff(a, b), cells, interpolation=cv2.INTER_AREA), np.uint8)


def unchanged(a: NDArray[np.uint8], b: NDArray[np.uint8], least: float) -> bool:
    """Whether in no cell of 16 x 16 pixels the mean change of luma between two pictures of one
    size reaches ``least``."""
    return bool(change(a, b).max() < least)


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


def look_closer(
    frames: Frames,
    picked: Sequence[int],
    see: Callable[[Sequence[Rgb]], Sequence[Seen]],
    steady: Callable[[Seen, Seen], bool],
    *,
    breaks: Sequence[float] = (),
    lost_s: float,
    batch: int = 1,
) -> tuple[list[int], list[Seen]]:
    """Which of the picked samples were looked at, and what ``see`` found in each.

    Every second sample of a shot is looked at, and its last. The one between two of these is looked
    at too, unless they are at most ``SKIPPED_S`` apart and at most ``lost_s``, ``steady`` holds for
    what they show, and nothing flashes up between them.
    """
    times = frames.times[list(picked)]
    shots = np.searchsorted(sorted(breaks), times + EPSILON_S, side="right")
    edges = [0, *(np.flatnonzero(np.diff(shots)) + 1).tolist(), len(picked)]
    coarse = [k for a, b in pairwise(edges) for k in range(a, b) if (k - a) % 2 == 0 or k == b - 1]
    seen = look(frames, [picked[k] for k in coarse], see, batch)
    found = dict(zip(coarse, seen, strict=True))

    def may_be_skipped(a: int, b: int) -> bool:
        close = times[b] - times[a] <= min(SKIPPED_S, lost_s) + EPSILON_S
        return bool(close and steady(found[a], found[b]) and not _flash(frames, picked[a : b + 1]))

    between = [a + 1 for a, b in pairwise(coarse) if b - a == 2 and not may_be_skipped(a, b)]
    seen = look(frames, [picked[k] for k in between], see, batch)
    found |= zip(between, seen, strict=True)
    return [picked[k] for k in sorted(found)], [found[k] for k in sorted(found)]


def _flash(frames: Frames, three: Sequence[int]) -> bool:
    """Whether the second of three samples shows somewhere what neither neighbour shows there."""
    before, middle, after = (frames.gray(k) for k in three)
    return bool(np.minimum(change(before, middle), change(middle, after)).max() >= FLASH)


def holds(times: Sequence[float], end: float, breaks: Sequence[float] = ()) -> list[Span]:
    """The span for which each sample stands: until the next sample, the next cut, or ``end``."""
    edges = sorted(breaks)
    spans: list[Span] = []
    for index, t in enumerate(times):
        until = times[index + 1] if index + 1 < len(times) else max(end, t)
        cut = next((edge for edge in edges if t + EPSILON_S < edge < until), until)
        spans.append(Span(float(t), float(cut)))
    return spans
