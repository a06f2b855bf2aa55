"""Which samples of a track to look at, and how long what is seen in each holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import Frames
from tiktok_ray.media.spans import Span

EPSILON_S = 1e-3
#: Mean change of luma in a cell of 16 x 16 pixels from which on a picture is looked at again.
DIFFERS = 2.0
#: Longest mean time between samples of which some need not be looked at: one of them is less than
#: the 0.35 s for which a thing must be seen to be believed.
STEP_S = 0.225
#: The same change, from which on a picture differs from both its neighbours by more than movement
#: between them explains, and from which on it may show something else.
FLASH, ELSE = 30, 20
#: Least IoU of a thing in two samples for it to have moved as far as may be guessed between them,
#: and for it to be in one place.
MOVED, STEADY = 0.5, 0.85
#: What moves changes the picture this far beyond its box, in sides of it.
BESIDE = 0.1

#: Least correlation of the luma of a thing halfway with that at one of its ends.
ALIKE = 0.8

Seen = TypeVar("Seen")
Rgb = NDArray[np.uint8]
Gray = NDArray[np.uint8]
Boxes = NDArray[np.float64]


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


class Kept(NamedTuple):
    """The same things in two samples: the least overlap (IoU) of any of them with itself, and where
    each is in either, boxes [n, 2, 4] in shares of the picture."""

    overlap: float
    boxes: Boxes


def look_closer(
    frames: Frames,
    picked: Sequence[int],
    see: Callable[[Sequence[Rgb]], Sequence[Seen]],
    kept: Callable[[Seen, Seen], Kept | None],
    *,
    breaks: Sequence[float] = (),
    lost_s: float,
    batch: int = 1,
) -> tuple[list[int], list[Seen]]:
    """Which of the picked samples were looked at, and what ``see`` found in each.

    Every fourth sample of a shot is looked at, and its last. Those between two are halved and
    halved again, unless ``kept`` finds the same things in both, at most ``lost_s`` apart, and

    - each thing overlaps itself by ``STEADY``, and nowhere is shown what neither end shows there; or
    - one sample is left, each thing overlaps itself by ``MOVED`` and is there halfway, and nothing
      flashes up elsewhere. What is seen in that sample alone is not believed anyway.
    """
    times = frames.times[list(picked)]
    shots = np.searchsorted(sorted(breaks), times + EPSILON_S, side="right")
    edges = [0, *(np.flatnonzero(np.diff(shots)) + 1).tolist(), len(picked)]
    coarse = [k for a, b in pairwise(edges) for k in range(a, b) if (k - a) % 4 == 0 or k == b - 1]
    looks = _Looks(frames, picked, see, batch)
    looks.at([(k, before) for before, k in pairwise([-1, *coarse])])

    def left_out(a: int, b: int) -> bool:
        near = times[b] - times[a] <= min((b - a) * STEP_S, lost_s) + EPSILON_S
        same = kept(looks.found[a], looks.found[b]) if near else None
        if same is None:
            return False
        some = [frames.gray(k) for k in picked[a : b + 1]]
        if same.overlap >= STEADY and not _shows_more(some, FLASH if b - a == 2 else ELSE):
            return True
        return b - a == 2 and same.overlap >= MOVED and _moved(some, same.boxes)

    gaps = list(pairwise(coarse))
    while gaps:
        halved = [(a, (a + b) // 2, b) for a, b in gaps if b - a > 1 and not left_out(a, b)]
        looks.at([(middle, a) for a, middle, _ in halved])
        gaps = [gap for a, middle, b in halved for gap in ((a, middle), (middle, b))]
    return [picked[k] for k in sorted(looks.found)], [looks.found[k] for k in sorted(looks.found)]


@dataclass
class _Looks(Generic[Seen]):
    """What is ``found`` in picked samples, by their position; in which it was really seen: ``shown``."""

    frames: Frames
    picked: Sequence[int]
    see: Callable[[Sequence[Rgb]], Sequence[Seen]]
    batch: int
    found: dict[int, Seen] = field(default_factory=dict)
    shown: dict[int, int] = field(default_factory=dict)

    def at(self, chosen: Sequence[tuple[int, int]]) -> None:
        """Look at samples, each given with an earlier one: only at those that differ from it."""
        for k, before in chosen:
            same = before in self.shown and unchanged(
                self._gray(self.shown[before]), self._gray(k), DIFFERS
            )
            self.shown[k] = self.shown[before] if same else k
        fresh = [k for k, _ in chosen if self.shown[k] == k]
        for start in range(0, len(fresh), self.batch):
            some = fresh[start : start + self.batch]
            seen = self.see([self.frames.rgb(self.picked[k]) for k in some])
            self.found.update(zip(some, seen, strict=True))
        self.found.update({k: self.found[self.shown[k]] for k, _ in chosen})

    def _gray(self, k: int) -> Gray:
        return self.frames.gray(self.picked[k])


def _shows_more(some: Sequence[Gray], least: float, but: Boxes | None = None) -> bool:
    """Whether one of some pictures shows what neither the first nor the last shows there: a change of
    ``least`` levels in a cell, outside the boxes ``but`` [n, 4]."""
    first, *between, last = some
    for gray in between:
        more = np.minimum(change(first, gray), change(gray, last))
        rows, columns = more.shape
        for x0, y0, x1, y1 in () if but is None else but:
            wide, high = BESIDE * (x1 - x0), BESIDE * (y1 - y0)
            top, left = max(0, int((y0 - high) * rows)), max(0, int((x0 - wide) * columns))
            more[top : ceil((y1 + high) * rows), left : ceil((x1 + wide) * columns)] = 0
        if more.max() >= least:
            return True
    return False


def _moved(three: Sequence[Gray], boxes: Boxes) -> bool:
    """Whether what the second of three pictures shows more is things on their way: in boxes [n, 2, 4]
    in the first and the last, and halfway between as they look in one of these."""
    if _shows_more(three, FLASH, boxes.reshape(-1, 4)):
        return False
    first, middle, last = three
    for box in boxes:
        halfway = _cut(middle, box.mean(0))
        if not any(
            _alike(_cut(end, place), halfway) for end, place in zip((first, last), box, strict=True)
        ):
            return False
    return True


def _cut(gray: Gray, box: Boxes) -> NDArray[np.float32]:
    """What a box [4] holds, at one size for all."""
    import cv2

    height, width = gray.shape
    x0, y0 = (int(n) for n in box[:2] * (width - 1, height - 1))
    x1, y1 = (ceil(n) for n in box[2:] * (width, height))
    part = gray[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    return np.asarray(cv2.resize(part, (32, 32), interpolation=cv2.INTER_AREA), np.float32)


def _alike(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    """Whether two cut-outs show the same, as far as that can be told: nothing does where it is even."""
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a**2).mean() * (b**2).mean()))
    return bool((a * b).mean() >= ALIKE * spread > 0)


def holds(times: Sequence[float], end: float, breaks: Sequence[float] = ()) -> list[Span]:
    """The span for which each sample stands: until the next sample, the next cut, or ``end``."""
    edges = sorted(breaks)
    spans: list[Span] = []
    for index, t in enumerate(times):
        until = times[index + 1] if index + 1 < len(times) else max(end, t)
        cut = next((edge for edge in edges if t + EPSILON_S < edge < until), until)
        spans.append(Span(float(t), float(cut)))
    return spans
