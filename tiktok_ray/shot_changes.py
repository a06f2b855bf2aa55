"""Where the shots of a video change: flashes, instant cuts, and gradual transitions.

Everything is found by comparing pictures; indices count them, times are theirs, in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.likeness import ALIKE, MOTION_S, OTHER, Array, Picture, Pictures, motion

# --- flashes ---

FLASH_S = 0.21  # longest flash
FLASH = 20.0  # levels of mean luma by which it differs from both sides


@dataclass(frozen=True)
class Insert:
    """Pictures ``first`` .. ``after - 1``, brighter or darker than either side of them.

    ``cut``: whether the pictures either side show different things.
    """

    first: int
    after: int
    cut: bool


def find_flashes(p: Pictures) -> list[Insert]:
    """Runs of at most 0.21 s, brighter or darker than both sides.

    What they show is blank, washed out, or what the picture before shows: an inserted picture of
    something else is no flash.
    """
    found: list[Insert] = []
    for first in (np.flatnonzero(np.abs(np.diff(p.luma)) >= FLASH) + 1).tolist():
        if found and first <= found[-1].after:
            continue
        after = _flash_end(p, first)
        if after is None:
            continue
        peak = first + int(np.argmax(np.abs(p.luma[first:after] - p.luma[first - 1])))
        contrast = [float(p.small(i)[..., 0].std()) for i in (first - 1, peak, after)]
        washed = contrast[1] < 0.5 * min(contrast[0], contrast[2])
        cut = p.differ(first - 1, after)
        if washed or p.plain(peak) or not (cut or p.differ(first - 1, peak)):
            found.append(Insert(first, after, cut))
    return found


def _flash_end(p: Pictures, first: int) -> int | None:
    """First picture after a flash that begins at ``first``; None if none does."""
    sign = np.sign(p.luma[first] - p.luma[first - 1])
    for after in range(first + 1, len(p)):
        if p.times[after] - p.times[first] > FLASH_S:
            break
        inside = (p.luma[first:after] * sign).min()
        if inside - max(p.luma[first - 1] * sign, p.luma[after] * sign) >= FLASH:
            return after
    return None


# --- changes from one picture to the next ---

SIDE = 5  # pictures on either side with which a change is compared


@dataclass(frozen=True)
class Instant:
    """A new shot begins with picture ``index``; ``alone``: the change takes but one step."""

    index: int
    kind: Literal["hard", "jump"]
    alone: bool


def isolation(change: Array) -> Array:
    """Each change over what is usual around it [n]: the larger median of five on either side.

    The idea of PySceneDetect's AdaptiveDetector, with medians, and each side for itself.
    """
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(change, SIDE), 2 * SIDE + 1)
    left, right = (np.sort(side)[:, SIDE // 2] for side in (windows[:, :SIDE], windows[:, -SIDE:]))
    isolated: Array = change / (0.5 + np.maximum(left, right))
    return isolated


def find_instants(p: Pictures, inserts: Sequence[Insert] = ()) -> list[Instant]:
    """Hard and jump cuts.

    A change is looked at if it stands out from those around it, and is a hard cut if the pictures
    either side share few of their blocks while their neighbours do share theirs.
    """
    ratio, change = isolation(p.change), p.change
    around = np.pad(change, 1)
    peak = (change >= around[:-2]) & (change >= around[2:])
    spikes = ((change >= 3) & (ratio >= 1.8)) | ((change >= 10) & peak)
    flashing = {i for insert in inserts for i in range(insert.first, insert.after + 1)}
    found: list[Instant] = []
    for index in np.flatnonzero(spikes).tolist():
        if index in flashing or (found and index - found[-1].index == 1):
            continue
        if (new := _hard(p, index, ratio[index] >= 1.8)) is not None:
            near = change[max(1, new - 2) : new + 3]
            found.append(Instant(new, "hard", bool(change[new] > 2 * np.sort(near)[-2:][0])))
        elif ratio[index] >= 2.5 and _jumps(p, index):
            found.append(Instant(index, "jump", True))
    return found


def _hard(p: Pictures, index: int, isolated: bool) -> int | None:
    """First picture of the new shot if one begins at or, blended, just after ``index``."""
    last = len(p) - 1
    shared = p.shared(index - 1, index)
    if shared is None:
        return index if isolated and p.change[index] >= 8 else None
    sides = [p.shared(i, i + 1) for i in (index - 2, index) if 0 <= i < last]
    known = [side for side in sides if side is not None]
    if shared < OTHER:
        steady = min(known, default=1.0) >= 0.5 and shared < 0.5 * min(known, default=1.0)
        return index if steady or (isolated and shared < 0.6 * max(known, default=1.0)) else None
    if not isolated or index == last or p.change[index + 1] < 0.3 * p.change[index]:
        return None
    blended = p.shared(index - 1, index + 1)
    if (
        blended is None
        or blended >= OTHER
        or max(p.change[index - 1], *p.change[index + 2 : index + 3], 0) > 0.3 * p.change[index]
    ):
        return None
    return index if p.change[index] > p.change[index + 1] else index + 1


def _jumps(p: Pictures, index: int) -> bool:
    """Whether things leap within one setting, some of them further than the rest.

    A leap of the whole picture is a jolt of the camera, a change without motion is light or a
    caption, and a late picture only looks like a leap.
    """
    last = len(p) - 1
    if index < 2 or index >= last:
        return False
    steps = np.diff(p.times[max(0, index - SIDE) : index + SIDE])
    if p.times[index] - p.times[index - 1] > 1.7 * np.median(steps):
        return False
    back = p.distance(index - 1, min(last, index + 3))
    if back < 0.6 * p.change[index] or _spread(p, index) < 0.3:
        return False
    uneven = [_uneven(*p.matches(i, i + 1)) for i in (index - 2, index - 1, index)]
    return uneven[1] >= 0.25 + max(uneven[0], uneven[2])


def _spread(p: Pictures, index: int) -> float:
    """Share of the picture in which the change at ``index`` stands out from those around it."""
    first = max(1, index - SIDE + 1)
    pictures = np.stack([p.small(i)[..., 0] for i in range(first - 1, min(len(p), index + SIDE))])
    steps = np.abs(np.diff(pictures, axis=0))
    height, width = (side // 4 * 4 for side in steps.shape[1:])
    cells = steps[:, :height, :width].reshape(len(steps), height // 4, 4, width // 4, 4)
    change = cells.mean((2, 4))
    others = np.delete(change, index - first, 0).max(0)
    return float((change[index - first] > 2 * (others + 0.7)).mean())


def _uneven(found: Array, moves: Array) -> float:
    """Share of the blocks found again that moved unlike the median block."""
    moves = moves[found >= ALIKE]
    if len(moves) < 4:
        return 0.0
    return float((np.abs(moves - np.median(moves, 0)).max(1) >= 1).mean())


# --- gradual changes ---

HALVES_S = (0.15, 0.25, 0.4, 0.65, 1.0)  # half lengths at which dissolves are looked for
LEAST = 8.0  # least difference, in levels (root mean square), of the pictures either side


@dataclass(frozen=True)
class Ramp:
    """A linear blend from picture ``before`` to picture ``after``; ``start``, ``end`` in seconds."""

    start: float
    end: float
    before: int
    after: int


def blending(times: Array, coarse: Picture, half: float) -> tuple[Array, Array]:
    """How much each picture looks like a blend of those ``half`` seconds before and after.

    Returns a score [n], 0 where it does not, and the residual of the blend over the difference of
    the two [n]: 0 in a dissolve or fade, 0.5 and more in a cut, a wipe, or where things move.
    """
    last = len(times) - 1
    before = np.clip(np.searchsorted(times, times - half - 1e-6), 0, last)
    after = np.clip(np.searchsorted(times, times + half + 1e-6, side="right") - 1, 0, last)
    score, residual = np.zeros(len(times)), np.ones(len(times))
    for block in np.array_split(np.arange(len(times)), 1 + len(times) // 4096):
        a, b = coarse[before[block]], coarse[after[block]]
        way, gone = b - a, coarse[block] - a
        length = np.einsum("ij,ij->i", way, way) + 1e-6
        share = np.einsum("ij,ij->i", gone, way) / length
        rest = np.einsum("ij,ij->i", gone, gone) - share**2 * length
        residual[block] = np.sqrt(np.maximum(rest, 0) / length)
        contrast = np.sqrt(length / coarse.shape[1])
        good = (contrast >= LEAST) & (share > 0.2) & (share < 0.8)
        score[block] = np.where(good, contrast * np.maximum(0, 1 - residual[block] / 0.45), 0)
    score[after - before < 3] = 0
    return score, residual


def ramp_of(times: Array, values: Array) -> tuple[float, float, float, float]:
    """Start and end, and the levels before and after, of the ramp that fits best.

    Least squares over all pairs of knots at the samples and half-way between, coarse to fine.
    """
    knots = np.sort(np.concatenate([times, (times[1:] + times[:-1]) / 2]))
    step = max(1, len(knots) // 24)
    start, end = _best_ramp(times, values, knots[::step], knots[::step])
    i, j = np.searchsorted(knots, (start, end)).tolist()
    starts, ends = (knots[max(0, k - step) : k + step + 1] for k in (i, j))
    start, end = _best_ramp(times, values, starts, ends)
    shape = np.clip((times - start) / (end - start), 0, 1)
    slope, level = np.polyfit(shape, values, 1).tolist()
    return start, end, level, level + slope


def _best_ramp(times: Array, values: Array, starts: Array, ends: Array) -> tuple[float, float]:
    begin, stop = (grid.ravel() for grid in np.meshgrid(starts, ends, indexing="ij"))
    begin, stop = begin[stop - begin > 1e-6], stop[stop - begin > 1e-6]
    shapes = np.clip((times - begin[:, None]) / (stop - begin)[:, None], 0, 1)
    shapes -= shapes.mean(1, keepdims=True)
    explained = (shapes @ (values - values.mean())) ** 2 / np.maximum((shapes**2).sum(1), 1e-9)
    best = int(np.argmax(explained))
    return float(begin[best]), float(stop[best])


def find_ramps(
    p: Pictures, instants: Sequence[Instant] = (), inserts: Sequence[Insert] = ()
) -> list[Ramp]:
    """Dissolves and fades, without overlap, ordered by start.

    Candidates are the pictures that look like a blend of earlier and later ones (the linearity of
    dissolves). Each is fitted with the motion of either shot carried on into the blend, so that
    a moving camera neither hides a dissolve nor looks like one.
    """
    stops = sorted(i.index for i in instants if i.alone)
    candidates: list[tuple[float, int, float]] = []
    for half in HALVES_S:
        score, _ = blending(p.times, p.coarse, half)
        hits = np.flatnonzero(score)
        for run in np.split(hits, np.flatnonzero(np.diff(hits) > 1) + 1):
            if len(run):
                best = int(run[np.argmax(score[run])])
                candidates.append((float(score[best]), best, half))
    found: list[Ramp] = []
    refused: list[tuple[float, float]] = []
    for _, centre, half in sorted(candidates, reverse=True):
        t = p.times[centre]
        if any(ramp.start <= t <= ramp.end for ramp in found):
            continue
        if sum(start <= t <= end for start, end in refused) >= 2:
            continue
        first = max((stop for stop in stops if stop <= centre), default=0)
        last = min((stop for stop in stops if stop > centre), default=len(p)) - 1
        ramp = _fit(p, t - half, t + half, first, last)
        if ramp is None or any(ramp.start < r.end and ramp.end > r.start for r in found):
            refused.append((t - half, t + half))
            continue
        if not any(
            p.times[i.first] <= ramp.end and p.times[i.after] >= ramp.start for i in inserts
        ):
            found.append(ramp)
    return sorted(found, key=lambda ramp: ramp.start)


@dataclass(frozen=True)
class Blend:
    """Pictures [n] as blends of two: share of the second, residual over their contrast (root mean
    square, in levels), and share of the picture in which both can be known."""

    share: Array
    residual: Array
    contrast: Array
    overlap: Array


def _fit(p: Pictures, start: float, end: float, first: int, last: int) -> Ramp | None:
    """The blend near ``start`` .. ``end`` within pictures ``first`` .. ``last``, if there is one.

    Fits in turn the shares of the pictures either side, and where these lie.
    """
    before, after = _around(p, start, end, first, last)
    faint = (p.off[:, [before, after]].min(1) < 0.35 * p.off[:, [before, after]].max(1)).any()
    if not faint and not p.differ(before, after, 12):
        return None
    ramp: Ramp | None = None
    for _ in range(4):
        margin = 0.2 + 0.3 * (end - start)
        low, high = np.searchsorted(p.times, (start - margin, end + margin)).tolist()
        some = np.arange(max(first, low), min(last, high) + 1)[:: 1 + int((end - start) / 1.2)]
        blend = _mix(p, before, after, some, first, last)
        if len(some) < 5 or blend.residual.mean() > 0.6:
            return None
        times = p.times[some]
        start, end, floor, top = ramp_of(times, blend.share)
        one, two = _around(p, start, end, first, last)
        if two - one < 3 or end - start < 0.1:
            return None
        inside = (some >= one) & (some <= two)
        model = floor + (top - floor) * np.clip((times - start) / (end - start), 0, 1)
        bend = np.sqrt(np.mean((blend.share - model)[inside] ** 2))
        good = blend.residual[inside].mean() <= 0.22 and bend <= 0.06 and top - floor > 0.6
        seen = blend.overlap[inside].min() >= 0.2 and blend.contrast[inside].mean() >= LEAST
        fitted = Ramp(start, end, one, two) if good and seen else None
        near = 0.1 + 0.15 * (end - start)
        outer = _around(p, start - near, end + near, first, last)
        ramp, settled = fitted, fitted is not None and ramp is not None and outer == (before, after)
        if settled:
            break
        before, after = outer
    if ramp is None:
        return None
    ramp = _to_blank(p, ramp, first, last)
    if p.plain(ramp.before) or p.plain(ramp.after) or p.differ(ramp.before, ramp.after, 12):
        return ramp
    return None


def _around(p: Pictures, start: float, end: float, first: int, last: int) -> tuple[int, int]:
    """Last picture until ``start`` and first from ``end`` on, within ``first`` .. ``last``."""
    before = int(np.searchsorted(p.times, start + 1e-6, side="right")) - 1
    after = int(np.searchsorted(p.times, end - 1e-6))
    return max(first, before), min(last, after)


def _mix(
    p: Pictures, before: int, after: int, some: NDArray[np.intp], first: int, last: int
) -> Blend:
    """Pictures ``some`` as blends of two, each carried on with the motion of its own shot."""
    import cv2

    ends = (before, after)
    reach = np.searchsorted(p.times, (p.times[before] - MOTION_S, p.times[after] + MOTION_S))
    speeds = (
        motion(p, max(first, int(reach[0])), before),
        motion(p, after, min(last, int(reach[1]))),
    )
    height, width = p.small(before).shape[:2]
    whole = np.ones((height, width), np.float32)
    rows: list[tuple[float, float, float, float]] = []
    for index in some.tolist():
        sides, known = [], whole
        for end, speed in zip(ends, speeds, strict=True):
            picture = p.small(end)
            if speed.any():
                move = np.eye(2, 3) + speed * (p.times[index] - p.times[end])
                picture = cv2.warpAffine(picture, move, (width, height))
                known = known * cv2.warpAffine(whole, move, (width, height))
            sides.append(picture)
        mask = (known > 0.99)[..., None]
        way, gone = (sides[1] - sides[0]) * mask, (p.small(index) - sides[0]) * mask
        length = float(np.vdot(way, way)) + 1e-6
        share = float(np.vdot(gone, way)) / length
        rest = max(0.0, float(np.vdot(gone, gone)) - share**2 * length)
        seen = float(mask.mean())
        contrast = np.sqrt(length / max(1.0, 3 * seen * mask.size))
        rows.append((share, np.sqrt(rest / length), contrast, seen))
    return Blend(*np.array(rows, float).reshape(-1, 4).T)


def _to_blank(p: Pictures, ramp: Ramp, first: int, last: int) -> Ramp:
    """Carry a fade on to where it becomes blank: editors ease it in and out."""
    reach = 0.6 * (ramp.end - ramp.start)
    for off in p.off:
        before, after = ramp.before, ramp.after
        while before > first and off[before - 1] < off[before] - 0.05:
            before -= 1
        while after < last and off[after + 1] < off[after] - 0.05:
            after += 1
        if p.plain(before) and ramp.start - p.times[before] <= reach:
            ramp = Ramp(min(ramp.start, p.times[before]), ramp.end, before, ramp.after)
        if p.plain(after) and p.times[after] - ramp.end <= reach:
            ramp = Ramp(ramp.start, max(ramp.end, p.times[after]), ramp.before, after)
    return ramp
