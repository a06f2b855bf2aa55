"""Association of boxes over time, for every analyzer that follows something.

Boxes are normalised ``[x0, y0, x1, y1]``, each 0..1 of the displayed picture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.first_imports import import_first
from tiktok_ray.methods.vision.sampling import STEADY, Kept

Boxes = NDArray[np.float64]


def iou(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union of every box in ``a`` [n, 4] with every box in ``b`` [m, 4]: [n, m]."""
    a, b = np.asarray(a, float).reshape(-1, 4), np.asarray(b, float).reshape(-1, 4)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(-1)
    union = area(a)[:, None] + area(b)[None, :] - inter
    result: NDArray[np.float64] = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return result


def area(boxes: Boxes) -> NDArray[np.float64]:
    """Areas [n] of boxes [n, 4] as a share of the picture."""
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    result: NDArray[np.float64] = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1)
    return result


def best_pairs(gain: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of a row and a column, each in one at most, with the largest sum of ``gain`` [n, m], 0 or
    more; pairs without gain are left out. Sorted by row.

    Where every row can have its best column, or every column its best row, that is it; the Hungarian
    method decides where several want the same.
    """
    if not gain.any():
        return []
    rows, columns = np.flatnonzero(gain.max(1) > 0), np.flatnonzero(gain.max(0) > 0)
    by_row, by_column = gain[rows].argmax(1), gain[:, columns].argmax(0)
    if len(np.unique(by_row)) == len(rows):
        return list(zip(rows.tolist(), by_row.tolist(), strict=True))
    if len(np.unique(by_column)) == len(columns):
        return sorted(zip(by_column.tolist(), columns.tolist(), strict=True))
    import_first(("scipy.optimize",))  # 0.2 CPU seconds, where seldom needed
    from scipy.optimize import linear_sum_assignment

    found = zip(*(side.tolist() for side in linear_sum_assignment(-gain)), strict=True)
    return [(i, j) for i, j in found if gain[i, j] > 0]


def kept(a: Boxes, b: Boxes, *, begin: float, sure: float) -> Kept | None:
    """The same things in two samples; None where they are not the same, or one is in doubt.

    Rows [n, 6 or more]: box, confidence, class. Things of less confidence than ``sure`` are in doubt;
    of less than ``begin`` they do not count, unless the others have moved.
    """
    faint = bool((a[:, 4] < begin).any() or (b[:, 4] < begin).any())
    a, b = (rows[rows[:, 4] >= begin] for rows in (a, b))
    if len(a) != len(b) or min(a[:, 4].min(initial=1), b[:, 4].min(initial=1)) < sure:
        return None
    overlap = iou(a[:, :4], b[:, :4]) * (a[:, None, 5] == b[None, :, 5])
    pairs = best_pairs(overlap)
    least = min((float(overlap[pair]) for pair in pairs), default=1.0)
    if len(pairs) < len(a) or (faint and least < STEADY):
        return None
    return Kept(least, np.stack([a[:, :4], b[[j for _, j in pairs], :4]], axis=1))


@dataclass
class Followed:
    """One thing followed over time: indices into the samples and into each sample's boxes."""

    samples: list[int] = field(default_factory=list)
    items: list[int] = field(default_factory=list)


Affinity = Callable[[tuple[int, int], tuple[int, int]], float]


def follow(
    times: Sequence[float],
    boxes: Sequence[Boxes],
    *,
    gap_s: float,
    iou_min: float = 0.3,
    breaks: Sequence[float] = (),
    affinity: Affinity | None = None,
) -> list[Followed]:
    """Join boxes of successive samples into tracks.

    One optimal assignment per sample (Hungarian method) on IoU with each live track's last box;
    ``affinity((sample, item), (sample, item))``, 0..1, is added to the IoU where it is given, and
    ``iou_min`` is the least sum that joins. A track lives on for ``gap_s`` seconds without a box,
    and ends at each time in ``breaks`` (cuts). Returned in order of first appearance.
    """
    done: list[Followed] = []
    live: list[Followed] = []
    edges = sorted(breaks)
    for sample, (t, found) in enumerate(zip(times, boxes, strict=True)):
        kept: list[Followed] = []
        for track in live:
            last = times[track.samples[-1]]
            cut = any(last < edge <= t + 1e-6 for edge in edges)
            (done if cut or t - last > gap_s + 1e-6 else kept).append(track)
        live = kept
        found = np.asarray(found, float).reshape(-1, 4)
        free = set(range(len(found)))
        if live and len(found):
            last_boxes = np.array([boxes[k.samples[-1]][k.items[-1]] for k in live])
            score = iou(last_boxes, found)
            if affinity:
                for i, track in enumerate(live):
                    for j in range(len(found)):
                        score[i, j] += affinity((track.samples[-1], track.items[-1]), (sample, j))
            for i, j in best_pairs(score):
                if score[i, j] >= iou_min:
                    live[i].samples.append(sample)
                    live[i].items.append(j)
                    free.discard(j)
        live += [Followed([sample], [j]) for j in sorted(free)]
    return sorted(done + live, key=lambda track: (track.samples[0], track.items[0]))


@dataclass(frozen=True)
class Pace:
    """What a tracker expects of things, in sides of their box (the root of its area).

    ``jitter`` of a box, ``speed`` per second when first seen, ``change`` of it per second squared:
    standard deviations. ``reach``: how far from where it is expected a box may lie at most.
    """

    jitter: float = 0.1
    speed: float = 1.0
    change: float = 1.5
    reach: float = 2.0


#: Things people film: a walker crosses about their own size in a second.
PACE = Pace()
#: Four measures a box has: centre x, centre y, logarithms of width and height.
SIZES = slice(2, 4)
#: Width and height are noisier than they move: bodies bend and are cut off.
STRETCH, GROWTH, SURGE = 0.25, 0.3, 0.5
#: Squared Mahalanobis distance of four measures that one match in a hundred exceeds.
GATE = 13.3
#: What leaving a track or a box without a partner costs, in the same unit: more than a match.
ALONE = 26.0
#: Faint boxes carry on what was seen surely or faintly this short a time ago, in seconds.
FAINT_S = 0.55
#: What is seen surely for so many seconds is there.
BELIEVED_S = 0.35
EPSILON_S = 1e-3


class Motion:
    """Where one box is and goes: four Kalman filters of constant velocity (centre, log of size).

    Time is in seconds, so that missed and irregular samples count for as long as they lasted.
    """

    def __init__(self, t: float, measures: NDArray[np.float64], pace: Pace) -> None:
        side = float(np.exp(measures[SIZES].mean()))
        self.t, self.at, self.by = t, measures.copy(), np.zeros(4)
        self.noise = np.array([pace.jitter * side] * 2 + [STRETCH] * 2) ** 2
        self.drive = np.array([pace.change * side] * 2 + [SURGE] * 2) ** 2
        self.cap = np.array([pace.reach * side] * 2 + [1.0] * 2) ** 2 / GATE
        self.own, self.cross = self.noise.copy(), np.zeros(4)
        self.speed = np.array([pace.speed * side] * 2 + [GROWTH] * 2) ** 2

    def ahead(self, t: float) -> tuple[NDArray[np.float64], ...]:
        """Measures expected at ``t``, and the covariances of place, of both, and of velocity."""
        dt = t - self.t
        own = self.own + 2 * dt * self.cross + dt**2 * self.speed + self.drive * dt**4 / 4
        cross = self.cross + dt * self.speed + self.drive * dt**3 / 2
        return self.at + dt * self.by, own, cross, self.speed + self.drive * dt**2

    def costs(self, t: float, measures: NDArray[np.float64]) -> NDArray[np.float64]:
        """How unlikely boxes [n, 4] are to be this one at ``t``: ``ALONE`` where out of reach."""
        at, own, _, _ = self.ahead(t)
        spread = np.minimum(own, np.maximum(self.cap - self.noise, 0)) + self.noise
        distance = ((measures - at) ** 2 / spread).sum(1)
        cost = distance + float(np.log(spread / self.noise).sum())
        return np.where(distance <= GATE, np.minimum(cost, ALONE), ALONE)

    def see(self, t: float, measures: NDArray[np.float64]) -> None:
        """Take in the box [4] seen at ``t``."""
        at, own, cross, speed = self.ahead(t)
        total = own + self.noise
        off = measures - at
        self.t, self.at, self.by = t, at + own / total * off, self.by + cross / total * off
        self.own, self.cross = own - own**2 / total, cross - own * cross / total
        self.speed = speed - cross**2 / total


def measured(boxes: Boxes, aspect: float) -> NDArray[np.float64]:
    """Boxes [n, 4] as ``Motion`` takes them [n, 4], in shares of the picture's height."""
    boxes = np.asarray(boxes, float).reshape(-1, 4) * (aspect, 1.0, aspect, 1.0)
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([(low + high) / 2, np.log(np.maximum(high - low, 1e-4))], axis=1)


def track(
    times: Sequence[float],
    boxes: Sequence[Boxes],
    scores: Sequence[NDArray[np.float64]],
    *,
    lost_s: float,
    begin: float,
    aspect: float = 1.0,
    breaks: Sequence[float] = (),
    pace: Pace = PACE,
) -> list[Followed]:
    """Join the detections of a moving scene into tracks.

    ByteTrack's two associations (Zhang et al., ECCV 2022) over filters that count in seconds:
    boxes of at least ``begin`` in ``scores`` are assigned to the tracks first, and begin new ones
    where they fit none; fainter ones only carry on tracks seen at most ``FAINT_S`` before. From its
    first sighting on a track lives on for ``lost_s`` seconds without a box that is not faint, and
    it ends at each time in ``breaks`` (cuts). Which of them to believe, ``believed`` says. ``aspect``: width of the
    picture over its height. In order of first appearance.
    """
    done: list[Moving] = []
    live: list[Moving] = []
    edges = sorted(breaks)
    for sample, (t, found, sure) in enumerate(zip(times, boxes, scores, strict=True)):
        last = times[sample - 1] if sample else t
        cut = any(last < edge <= t + EPSILON_S for edge in edges)
        staying = [k for k in live if not cut and t - k.clear_t <= lost_s + EPSILON_S]
        done += [k for k in live if k not in staying]
        live = staying
        measures = measured(found, aspect)
        clear = np.flatnonzero(np.asarray(sure) >= begin)
        faint = np.flatnonzero(np.asarray(sure) < begin)
        taken = set()
        for moving, item in assigned(t, live, clear, measures):
            moving.see(sample, item, t, measures[item])
            moving.clear_t = t
            taken.add(item)
        waiting = [k for k in live if k.clear_t < t and t - k.motion.t <= FAINT_S + EPSILON_S]
        for moving, item in assigned(t, waiting, faint, measures):
            moving.see(sample, item, t, measures[item])
        for item in clear.tolist():
            if item not in taken:
                first = Followed([sample], [item])
                live.append(Moving(first, Motion(t, measures[item], pace), t))
    return sorted(
        (moving.followed for moving in done + live), key=lambda k: (k.samples[0], k.items[0])
    )


@dataclass(eq=False)
class Moving:
    """A track in the making; ``clear_t``: when it was last seen otherwise than faintly."""

    followed: Followed
    motion: Motion
    clear_t: float

    def see(self, sample: int, item: int, t: float, measures: NDArray[np.float64]) -> None:
        """Take in a box of a sample."""
        self.followed.samples.append(sample)
        self.followed.items.append(item)
        self.motion.see(t, measures)


def assigned(
    t: float, live: Sequence[Moving], items: NDArray[np.int64], measures: NDArray[np.float64]
) -> list[tuple[Moving, int]]:
    """The cheapest assignment of some boxes to tracks (Hungarian method), without the pairs that
    cost as much as leaving both alone."""
    if not live or not len(items):
        return []
    cost = np.array([k.motion.costs(t, measures[items]) for k in live])
    return [(live[i], int(items[j])) for i, j in best_pairs(ALONE - cost)]


def believed(
    paths: Sequence[Followed],
    times: Sequence[float],
    scores: Sequence[NDArray[np.float64]],
    *,
    sure: float,
    breaks: Sequence[float] = (),
) -> list[Followed]:
    """Those tracks of which there is evidence for long enough, in seconds and not in samples.

    A sample stands until the next of its shot, the last as long as is usual in it. A track is
    believed where, in some stretch of it, sightings with ``scores`` of at least ``sure`` stand for
    ``BELIEVED_S`` and for at least half of the stretch. In a shot that is shorter it must be seen
    surely in all samples.
    """
    shot = np.searchsorted(sorted(breaks), np.asarray(times) + EPSILON_S, side="right")
    held, least = np.zeros(len(times)), np.zeros(len(times))
    for number in np.unique(shot):
        inside = shot == number
        steps = np.diff(np.asarray(times)[inside])
        held[inside] = [*steps, np.median(steps)] if len(steps) else [BELIEVED_S]
        least[inside] = min(BELIEVED_S, held[inside].sum())

    def enough(path: Followed) -> bool:
        first, last = path.samples[0], path.samples[-1] + 1
        pairs = zip(path.samples, path.items, strict=True)
        surely = np.zeros(len(times), bool)
        surely[[s for s, k in pairs if scores[s][k] >= sure]] = True
        lasted = np.concatenate([[0.0], held[first:last].cumsum()])
        seen = np.concatenate([[0.0], (held * surely)[first:last].cumsum()])
        # A stretch from i to k holds at least half where 2 seen - lasted has not sunk.
        lowest = np.minimum.accumulate(2 * seen - lasted)
        starts = np.searchsorted(seen, seen - least[first] + EPSILON_S, side="right") - 1
        ends = np.flatnonzero(starts >= 0)
        return bool(((2 * seen - lasted)[ends] >= lowest[starts[ends]] - EPSILON_S).any())

    return [path for path in paths if enough(path)]
