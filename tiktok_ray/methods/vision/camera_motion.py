"""Movement of the camera from picture to picture, by sparse optical flow.

Corners spread over the picture are followed (Lucas and Kanade 1981) for up to half a second, and
a similarity transform is fitted to what most of them do (RANSAC, Fischler and Bolles 1981), those
near the border counting most: the subject tends to stand in the middle. Where what is left to
follow cannot carry a statement, because the picture is black, flat or blurred, or because a
subject moves in front of nothing, there is none.

Points are complex numbers, x + iy, in pixels from the middle of the picture, y down. A similarity
is then ``factor * point + shift``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import Frames

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Points = NDArray[np.complex128]
Corners = NDArray[np.float32]
Gray = NDArray[np.uint8]

SIDE = 160  # short side of the pictures compared, in pixels
STEP_S = 0.1  # least time between two of them
BASE_S = 0.5  # longest time that points are followed
LEAST_POINTS = 8
LEAST_SPREAD = 0.47
#: Smaller eigenvalue of the structure tensor, as OpenCV scales it, from which on a corner is one
#: where the levels of the picture span ``CONTRAST``, and where they span next to nothing: white
#: noise of one level reaches 2.9e-5 in one cell of 16 pixels in a hundred.
LEAST_CORNER, FAINTEST_CORNER = 1.5e-4, 3e-5
CONTRAST = 80.0
UNKNOWN = complex(np.nan, np.nan)


class Fit(NamedTuple):
    """How the content moves between two pictures.

    ``shift``: of the picture's middle. ``factor``: growth and turn, NaN where the points lie too
    close together to tell. ``chosen``: the points that move so. ``still``: whether it is that the
    camera stands still.
    """

    shift: complex
    factor: complex
    chosen: Flags
    still: bool


class Steps(NamedTuple):
    """Movement from each picture to the next, [n] steps; NaN where it could not be measured.

    ``speed``: [n, 4]: pan (picture widths/s, to the right positive), tilt (heights/s, up), zoom
    (octaves/s, in) and roll (degrees/s, clockwise) of the camera. ``share``: of the points
    followed that move so. ``still``: whether standing still explains it. ``shot``: index.
    """

    start: Floats
    end: Floats
    shot: NDArray[np.int_]
    speed: Floats
    share: Floats
    still: Flags

    @property
    def length(self) -> Floats:
        return self.end - self.start

    @property
    def known(self) -> Flags:
        return np.isfinite(self.speed[:, 0])

    def only(self, which: Flags) -> Steps:
        return Steps(
            self.start[which], self.end[which], self.shot[which], self.speed[which],
            self.share[which], self.still[which],
        )  # fmt: skip

    def without(self, spans: Sequence[tuple[float, float]]) -> Steps:
        """The same, knowing nothing of the steps that touch a span."""
        touched = np.zeros(len(self.start), bool)
        for start, end in spans:
            touched |= (self.end > start) & (self.start < end)
        return self._replace(
            speed=np.where(touched[:, None], np.nan, self.speed),
            share=np.where(touched, np.nan, self.share),
        )


def measure(pictures: Frames, starts: Sequence[float]) -> Steps:
    """Movement in every shot, from pictures at least ``STEP_S`` apart, never across two shots.

    ``starts``: times at which shots begin.
    """
    rows: list[tuple[Any, ...]] = []
    for shot, (start, end) in enumerate(zip(starts, [*starts[1:], np.inf], strict=True)):
        chosen: list[int] = []
        for index in np.flatnonzero(
            (pictures.times > start - 1e-6) & (pictures.times < end - 1e-6)
        ):
            if not chosen or pictures.times[index] - pictures.times[chosen[-1]] > STEP_S - 0.02:
                chosen.append(int(index))
        if len(chosen) > 1:
            grays = [_small(pictures.gray(index)) for index in chosen]
            rows += _rows(pictures.times[chosen].tolist(), grays, shot)
    columns: list[Any] = [list(column) for column in zip(*rows, strict=True)] or [[]] * 6
    return Steps(
        np.array(columns[0], float),
        np.array(columns[1], float),
        np.array(columns[2], int),
        np.array(columns[3], float).reshape(-1, 4),
        np.array(columns[4], float),
        np.array(columns[5], bool),
    )


def _small(gray: Gray) -> Gray:
    import cv2

    factor = min(gray.shape) / SIDE
    if factor <= 1.0:
        return np.ascontiguousarray(gray)
    size = round(gray.shape[1] / factor), round(gray.shape[0] / factor)
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA))


def _rows(times: Sequence[float], pictures: Sequence[Gray], shot: int) -> list[tuple[Any, ...]]:
    """Rows of ``Steps`` for the pictures of one shot."""
    whole = pictures[0].shape[1], pictures[0].shape[0]
    inside = active(np.stack(pictures[:: max(1, len(pictures) // 5)]))
    pictures = [np.ascontiguousarray(picture[inside]) for picture in pictures]
    size = pictures[0].shape[1], pictures[0].shape[0]
    rows: list[tuple[Any, ...]] = []
    first = 0
    while first < len(pictures) - 1:
        seen, found = follow(times[first:], pictures[first:])
        places = [(0j, 1 + 0j)]
        if found:
            places += [place(seen[0], points, found.chosen, size) for points in seen[1:]]
        for k, (one, two) in enumerate(pairwise(places), first):
            speed = _speed(one, two, times[k + 1] - times[k], whole)
            share = float(found.chosen.mean()) if found else np.nan
            rows.append((times[k], times[k + 1], shot, speed, share, bool(found and found.still)))
        if not found:
            rows.append((times[first], times[first + 1], shot, [np.nan] * 4, np.nan, False))
        first += max(1, len(places) - 1)
    return rows


def active(grays: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Rows and columns of a shot's pictures, uint8 [n, height, width], that are not bars.

    Bars are dark and even, and alike at two opposite sides; text may stand in them.
    """
    full = slice(0, grays.shape[1]), slice(0, grays.shape[2])
    rows, columns = _between_bars(grays), _between_bars(grays.swapaxes(1, 2))
    if rows and not columns:
        return rows, full[1]
    return (full[0], columns) if columns and not rows else full


def _between_bars(grays: NDArray[np.uint8]) -> slice | None:
    """Rows between two bars; None without bars."""
    low, middle, high = np.percentile(grays, (25, 50, 75), axis=2)
    bar = ((high - low <= 6) & (middle <= 40)).all(0)
    edges = np.flatnonzero(np.diff(np.concatenate([[1], bar, [1]])))
    if not len(edges):
        return None
    start, end = max(zip(edges[::2], edges[1::2], strict=True), key=lambda run: run[1] - run[0])
    above, below = bar[:start], bar[end:]
    small, large = sorted((len(above), len(below)))
    if small < 0.04 * len(bar) or large > 1.5 * small or min(above.mean(), below.mean()) < 0.5:
        return None
    return slice(int(start), int(end))


def _speed(
    one: tuple[complex, complex], two: tuple[complex, complex], dt: float, size: tuple[int, int]
) -> list[float]:
    """Speeds of the camera between two places of the content."""
    shift, growth = two[0] - one[0], two[1] / one[1]
    zoom, roll = float(np.log2(np.abs(growth))), -float(np.degrees(np.angle(growth)))
    return [-shift.real / size[0] / dt, shift.imag / size[1] / dt, zoom / dt, roll / dt]


def follow(times: Sequence[float], pictures: Sequence[Gray]) -> tuple[list[Points], Fit | None]:
    """Follow points from the first picture, and say what the camera does up to the last one used.

    They are followed for up to ``BASE_S`` seconds, as long as most stay in view: what moves slowly
    shows only over several pictures, and so does what moves by itself. Returns the points in each
    picture used, and None where no pictures, however near, can say.
    """
    one = pictures[0]
    size = one.shape[1], one.shape[0]
    start = corners(one, max(5, min(size) // 10))
    if len(start) < LEAST_POINTS:
        return [], None
    seen, kept = [start], [np.ones(len(start), bool)]
    for t, picture in zip(times[1:], pictures[1:], strict=False):
        if len(seen) > 1 and t - times[0] > BASE_S + 1e-6:
            break
        there, back = optical_flow(one, picture, start, seen[-1])
        seen.append(there)
        kept.append(kept[-1] & back)
        left = kept[-1].sum()
        if left < 0.7 * len(start) or _far(start[kept[-1]], there[kept[-1]]) > 0.1 * min(size):
            break
    middle = complex(*size) / 2
    for used in _halves(len(seen)):
        alive = kept[used - 1]
        points = [p[alive].astype(float).view(complex).ravel() - middle for p in seen[:used]]
        found = fit(points[0], points[-1], size)
        if found and unexplained(one, pictures[used - 1], found) <= 0.4:
            return points, found
    return [], None


def _far(one: Corners, two: Corners) -> float:
    return float(np.median(np.abs(two - one).max(1))) if len(one) else 0.0


def _halves(pictures: int) -> Iterator[int]:
    """How many pictures to try: all, half of the way, half of that, down to two."""
    while pictures > 1:
        yield pictures
        pictures = (pictures + 1) // 2


def corners(gray: Gray, cell: int) -> Corners:
    """The strongest corner of each square of ``cell`` pixels that has one: [n, 2], x and y."""
    import cv2

    quality = cv2.cornerMinEigenVal(gray, 5)
    rows, columns = quality.shape[0] // cell, quality.shape[1] // cell
    cells = quality[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell)
    cells = cells.swapaxes(1, 2).reshape(rows, columns, cell * cell)
    y, x = np.mgrid[:rows, :columns] * cell + np.stack(np.divmod(cells.argmax(-1), cell))
    found = cells.max(-1) > least_corner(gray)
    return np.stack([x[found], y[found]], -1).astype(np.float32)


def least_corner(gray: Gray) -> float:
    """How strong a corner has to be in a picture: less where there is less light.

    A share of the light leaves that share of all differences, and its square of a corner. Levels
    span what lies between 5 and 95 % of them, so that a lamp or a caption does not count.
    """
    dark, bright = np.percentile(gray[::3, ::3], (5, 95))
    share = (bright - dark) / CONTRAST
    return float(LEAST_CORNER * np.clip(share**2, FAINTEST_CORNER / LEAST_CORNER, 1.0))


def optical_flow(one: Gray, two: Gray, before: Corners, guess: Corners) -> tuple[Corners, Flags]:
    """Where points [n, 2] of one picture are in another, and which of them lead back again."""
    import cv2

    window = max(7, min(one.shape) // 11 | 1)
    settings: dict[str, Any] = {
        "winSize": (window, window),
        "criteria": (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 12, 0.02),
        "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
    }
    after, there, _ = cv2.calcOpticalFlowPyrLK(
        one, two, before, guess.copy(), maxLevel=3, **settings
    )
    again, back, _ = cv2.calcOpticalFlowPyrLK(
        two, one, after, before.copy(), maxLevel=1, **settings
    )
    kept = (there.ravel() > 0) & (back.ravel() > 0) & (np.abs(again - before).max(1) < 0.5)
    return after, kept


def fit(before: Points, after: Points, size: tuple[int, int]) -> Fit | None:
    """What the camera did to points [n] in a picture of ``size`` (width, height), if they can say.

    Three explanations compete: that the camera stands still, what most points do, and what most
    points near the border do. It counts how much of the picture each explains to within 1/320 of
    the short side; standing still counts one and a half times. A camera that moves has to move
    points all over the picture.
    """
    if len(before) < LEAST_POINTS:
        return None
    half = complex(*size) / 2
    tolerance = _tolerance(size)
    rim = np.maximum(np.abs(before.real) / half.real, np.abs(before.imag) / half.imag)
    weight = weights(before, half)
    chosen = np.abs(after - before) < tolerance
    best, still = 1.5 * float(weight[chosen].sum()), True
    for among in (rim >= 0.0, rim > 0.6) if best < 1.4 else ():
        moving = agreeing(before, after, among, tolerance)
        score = float(weight[moving].sum())
        if score > best:
            chosen, best, still = moving, score, False
    if still:
        chosen = settled(before, after, chosen, tolerance)
    if best < 0.3 or chosen.sum() < LEAST_POINTS:
        return None
    if not still and spread(before[chosen], after[chosen], half) < LEAST_SPREAD:
        return None
    return Fit(*place(before, after, chosen, size), chosen, still)


def weights(points: Points, half: complex) -> Floats:
    """What each point [n] counts: all together 1, every square of a fifth of the short side alike.

    Squares count from 0.25 in the middle of the picture to 1.25 at its border, and share that among
    their points, so that a subject full of detail does not outvote a plain background.
    """
    side = min(half.real, half.imag) * 2 / 5
    column, row = ((points.real + half.real) // side, (points.imag + half.imag) // side)
    _, square, count = np.unique(column + 1j * row, return_inverse=True, return_counts=True)
    rim = np.maximum(np.abs(points.real) / half.real, np.abs(points.imag) / half.imag)
    weight = (0.25 + rim**2) / count[square]
    return np.asarray(weight / weight.sum())


def _tolerance(size: tuple[int, int]) -> float:
    return max(0.2, min(size) / 320)


def place(
    before: Points, after: Points, chosen: Flags, size: tuple[int, int]
) -> tuple[complex, complex]:
    """Shift and factor of the chosen points, without those that went astray.

    The factor is NaN where they lie too close together to tell growth and turn.
    """
    factor, shift = similarity(before[chosen], after[chosen])
    near = chosen & (np.abs(factor * before + shift - after) < 4 * _tolerance(size))
    if near.sum() < LEAST_POINTS:
        return UNKNOWN, UNKNOWN
    one, two = before[near], after[near]
    if np.abs(one - one.mean()).mean() < 0.2 * min(size):
        return complex((two - one).mean()), UNKNOWN
    factor, shift = similarity(one, two)
    return shift, factor


def similarity(before: Points, after: Points) -> tuple[complex, complex]:
    """Least squares ``after = factor * before + shift``: factor and shift."""
    middle, goal = before.mean(), after.mean()
    arms = before - middle
    factor = complex(np.vdot(arms, after - goal) / max(np.vdot(arms, arms).real, 1e-9))
    return factor, complex(goal - factor * middle)


def settled(before: Points, after: Points, chosen: Flags, tolerance: float) -> Flags:
    """The points that move like the chosen ones, after refitting three times."""
    for _ in range(3):
        if chosen.sum() < LEAST_POINTS:
            break
        factor, shift = similarity(before[chosen], after[chosen])
        chosen = np.abs(factor * before + shift - after) < tolerance
    return chosen


def agreeing(before: Points, after: Points, among: Flags, tolerance: float) -> Flags:
    """The largest set of points, looked for among some of them, that one similarity moves."""
    import cv2

    chosen = np.zeros(len(before), bool)
    if among.sum() < LEAST_POINTS:
        return chosen
    one, two = (p[among].view(float).reshape(-1, 2).astype(np.float32) for p in (before, after))
    _, inliers = cv2.estimateAffinePartial2D(
        one, two, method=cv2.RANSAC, ransacReprojThreshold=tolerance, maxIters=300, refineIters=0
    )
    if inliers is not None:
        chosen[among] = inliers.ravel() > 0
    return settled(before, after, chosen, tolerance)


def spread(before: Points, after: Points, half: complex) -> float:
    """Share of what both pictures show that lies within the convex hull of points [n].

    On photographs 0.5 to 0.9 for points of the background, and no more than the share of the
    picture that a subject fills for points of the subject.
    """
    import cv2

    shift = np.median(after.real - before.real) + 1j * np.median(after.imag - before.imag)
    shared = (2 * half.real - abs(shift.real)) * (2 * half.imag - abs(shift.imag))
    hull = cv2.convexHull(before.view(float).reshape(-1, 2).astype(np.float32))
    return float(cv2.contourArea(hull) / max(shared, 1.0))


def unexplained(one: Gray, two: Gray, found: Fit, limit: float = 16.0) -> float:
    """Share of the picture that differs by more than ``limit`` levels from what the fit foretells.

    A change of brightness as a whole does not count.
    """
    import cv2

    if not found.still:
        factor = found.factor if np.isfinite(found.factor) else 1.0 + 0.0j
        middle = complex(one.shape[1], one.shape[0]) / 2
        shift = found.shift + middle - factor * middle
        matrix = np.array(
            [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
        )
        one = cv2.warpAffine(
            one, matrix, one.shape[::-1], dst=two.copy(), borderMode=cv2.BORDER_TRANSPARENT
        )
    change = two.astype(np.int16) - one
    return float((np.abs(change - np.median(change)) > limit).mean())
