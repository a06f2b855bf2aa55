"""Wipes and slides: transitions in which a border goes over the picture.

On one side of it is the old shot, on the other the new one: each in its place (wipe), or pushed
out and in, covered or revealed (slide). Indices count pictures, times are in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.methods.vision.picture_similarity import (
    SOME,
    STILL,
    TEXTURE,
    Array,
    Picture,
    Pictures,
)
from tiktok_ray.methods.vision.shot_changes import (
    HALVES_S,
    Insert,
    Instant,
    Ramp,
    View,
    Ways,
    carried,
    followed,
    motions,
    same_thing,
)

Way = Literal["left", "right", "up", "down"]
Style = Literal["push", "cover", "reveal"]
WAYS: tuple[Way, ...] = ("left", "right", "up", "down")
STYLES: tuple[Style, ...] = ("push", "cover", "reveal")

PIXELS = 0.14  # share of the difference of both shots that a wipe may leave unexplained
ODD = 0.08  # that one may without a way, which much else looks like
REST = 0.28  # that a slide may, of whose pixels none may be a little off
FAINT = 3.0  # least mean difference, in levels, of the pictures either side
TRIES = 3  # candidates looked at closely about one time
BUSY = 2.5  # levels by which pictures change at least while something slides


@dataclass(frozen=True)
class Passage:
    """A border's way over the picture, from ``start`` to ``end`` in seconds.

    ``before``, ``after``: the pictures either side. ``way``: where the border goes; None for an
    iris, a clock, doors. ``style``: how the shots of a slide move; None for a wipe. ``residual``:
    share of their difference that is left unexplained, 0..1.
    """

    start: float
    end: float
    before: int
    after: int
    way: Way | None
    style: Style | None
    residual: float


@dataclass(frozen=True)
class Candidate:
    score: float
    centre: int
    half: float
    way: Way | None = None
    style: Style | None = None


def find_passages(
    p: Pictures, instants: Sequence[Instant] = (), inserts: Sequence[Insert] = ()
) -> list[Passage]:
    """Wipes and slides, without overlap, ordered by start.

    Candidates are pictures whose cells are, each, like those of a picture some time before or of
    one as long after, in their places or shifted; each is then fitted picture by picture.
    """
    found: list[Passage] = []
    tried: list[tuple[float, float]] = []
    stops = np.array([instant.index for instant in instants if instant.alone], int)
    for one in sorted(_candidates(p, stops), key=lambda c: -c.score):
        t = float(p.times[one.centre])
        if any(passage.start <= t <= passage.end for passage in found):
            continue
        if sum(start <= t <= end for start, end in tried) >= TRIES:
            continue
        passage = _fit(p, one, stops)
        if passage is None and p.restless(t - one.half, t + one.half):
            passage = _fit(p, one, stops, soft=True)
        if passage is None or any(_meet(passage, other) for other in found):
            tried.append((t - one.half / 2, t + one.half / 2))
        elif not any(_lit(p, passage, insert) for insert in inserts):
            found.append(passage)
    return sorted(found, key=lambda passage: passage.start)


def _meet(one: Passage, two: Passage) -> bool:
    return one.start < two.end and two.start < one.end


def _lit(p: Pictures, passage: Passage, insert: Insert) -> bool:
    return bool(p.times[insert.first] <= passage.end and p.times[insert.after] >= passage.start)


# --- candidates ---


def _candidates(p: Pictures, stops: NDArray[np.intp]) -> Iterator[Candidate]:
    last = len(p) - 1
    busy = np.minimum(p.change, np.append(p.change[1:], 0)) >= BUSY
    passed = np.searchsorted(stops, np.arange(len(p)), side="right")
    for half in HALVES_S:
        before = np.clip(np.searchsorted(p.times, p.times - half - 1e-6), 0, last)
        after = np.clip(np.searchsorted(p.times, p.times + half + 1e-6, side="right") - 1, 0, last)
        whole = (after - before >= 3) & (passed[after] == passed[before])
        some = np.flatnonzero(whole)
        some = some[_unlike(p, before[some], after[some])]
        if not len(some):
            continue
        score = np.zeros(len(p))
        score[some] = _wiped(p, some, before[some], after[some])
        yield from _best_of_runs(score, half, None, None)
        some = some[busy[some]]
        for way, style, found in _slid(p, some, before[some], after[some]):
            score = np.zeros(len(p))
            score[some] = found
            yield from _best_of_runs(score, half, way, style)


def _unlike(p: Pictures, before: NDArray[np.intp], after: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which pairs of pictures may be of two shots, by their cells of luma."""
    one, two = (p.coarse[index, : p.cells] for index in (before, after))
    one, two = (x - x.mean(1, keepdims=True) for x in (one, two))
    spread = np.sqrt((one**2).sum(1) * (two**2).sum(1)) + 1e-6
    unlike: NDArray[np.bool_] = (one * two).sum(1) / spread < 0.75
    return unlike


def _best_of_runs(
    score: Array, half: float, way: Way | None, style: Style | None
) -> Iterator[Candidate]:
    hits = np.flatnonzero(score)
    for run in np.split(hits, np.flatnonzero(np.diff(hits) > 1) + 1):
        if len(run):
            best = int(run[np.argmax(score[run])])
            yield Candidate(float(score[best]), best, half, way, style)


def _score(rest: Array, contrast: Array) -> Array:
    """Of a residual and the difference it is left of; 0 where nothing is to be seen."""
    good = contrast >= FAINT
    share = rest / np.maximum(contrast, 1e-6)
    score: Array = np.where(good, contrast * np.maximum(0, 1 - share / 0.45), 0)
    return score


def _wiped(
    p: Pictures, some: NDArray[np.intp], before: NDArray[np.intp], after: NDArray[np.intp]
) -> Array:
    """How much some pictures look like parts of two others, cell by cell in its place [k]."""
    a, b, m = p.coarse[before], p.coarse[after], p.coarse[some]
    old, new, apart = np.abs(m - a), np.abs(m - b), np.abs(a - b)
    contrast = apart.mean(1) + 1e-6
    share = (apart * (new < old)).mean(1) / contrast
    even = (share > 0.25) & (share < 0.75)
    mix = np.clip((m - a) * (b - a) / ((b - a) ** 2 + 1e-6), 0, 1)
    mean = (apart * mix).mean(1) / contrast
    spread = (apart * (mix - mean[:, None]) ** 2).mean(1) / contrast
    even &= spread >= 0.35 * mean * (1 - mean)
    return np.asarray(_score(np.minimum(old, new).mean(1), contrast) * even)


def _slid(
    p: Pictures, some: NDArray[np.intp], before: NDArray[np.intp], after: NDArray[np.intp]
) -> Iterator[tuple[Way, Style, Array]]:
    """How much some pictures look as if two others were half way slid over each other [k]."""
    if not len(some):
        return
    high = p.cells // p.columns
    a, b, m = (
        p.coarse[index, : p.cells].reshape(-1, high, p.columns) for index in (before, after, some)
    )
    contrast = np.abs(a - b).mean((1, 2))
    for way in WAYS:
        old, new, seen = (turned(x, way) for x in (a, b, m))
        side = seen.shape[1]
        middle = range(round(0.4 * side), round(0.6 * side) + 1)
        for style in STYLES:
            rest = np.min([_apart(old, new, seen, by, style) for by in middle], 0)
            yield way, style, _score(rest, contrast)


def turned(pictures: Picture, way: Way) -> Picture:
    """Pictures [n, h, w, …] so turned that what goes ``way`` goes to higher positions of axis 1."""
    if way in ("left", "right"):
        pictures = np.swapaxes(pictures, 1, 2)
    return pictures[:, ::-1] if way in ("left", "up") else pictures


def _apart(old: Picture, new: Picture, seen: Picture, by: int, style: Style) -> Array:
    """Mean difference of pictures [n, side, other, …] from two, slid by so many rows [n]."""
    side = seen.shape[1]
    kept = old[:, by:] if style == "cover" else old[:, : side - by]
    come = new[:, :by] if style == "reveal" else new[:, side - by :]
    axes = tuple(range(1, seen.ndim))
    apart = np.abs(seen[:, by:] - kept).sum(axes) + np.abs(seen[:, :by] - come).sum(axes)
    mean: Array = apart / float(np.prod(seen.shape[1:]))
    return mean


# --- fitting ---

EDGE = 0.02  # share from which on a border is in the picture
FEW, MANY = 8, 30  # pictures looked at first, and then
MARGIN_S = 0.12  # time for which either shot must be seen alone
LONGEST_S = 3.0


def _fit(
    p: Pictures, one: Candidate, stops: NDArray[np.intp], soft: bool = False
) -> Passage | None:
    """The passage around a candidate, if picture after picture it is one.

    Widens or narrows the time looked at until either shot is seen alone for a moment. ``soft``: by a
    hand that shakes.
    """
    least = int(stops[stops <= one.centre].max(initial=0))
    most = int(stops[stops > one.centre].min(initial=len(p))) - 1
    start, end = float(p.times[one.centre]) - one.half, float(p.times[one.centre]) + one.half
    view = p.small if not soft else p.soft if one.way else p.calm
    for turn in range(6):
        before = max(least, int(np.searchsorted(p.times, start + 1e-6, side="right")) - 1)
        after = min(most, int(np.searchsorted(p.times, end - 1e-6)))
        if after - before < 3 or end - start > LONGEST_S:
            return None
        count = FEW if turn == 0 else MANY
        some = np.unique(np.append(np.arange(before, after, 1 + (after - before) // count), after))
        ways = _ways(p, one, some, None if soft else (least, most), turn == 0)
        seen = _seen(view, one, some, ways)
        inside = np.flatnonzero((seen.share > EDGE) & (seen.share < 1 - EDGE))
        if len(inside) < 2 - (turn == 0) or not _likely(seen, inside, one):
            return None
        first, final = int(inside[0]) - 1, int(inside[-1]) + 1
        longer = 0.3 * (end - start) + 0.05
        times = p.times[some]
        low = start - longer if first < 0 else float(times[first]) - MARGIN_S
        high = end + longer if final >= len(times) else float(times[final]) + MARGIN_S
        if turn and abs(low - start) + abs(high - end) < 0.1:
            break
        start, end = low, high
    first, final = max(0, first), min(len(times) - 1, final)
    way = one.way or _way(seen)
    most_rest = REST if one.way else PIXELS if way else ODD
    if final - first < 3 or not _passes(seen, first, final, most_rest):
        return None
    if not _other(p, before, after):
        return None
    ramp = Ramp(float(times[first]), float(times[final]), int(some[first]), int(some[final]))
    if p.blank[:, ramp.before + 1 : ramp.after].any() or _smeared(p, ramp, one.way):
        return None
    if not _rests(p, ramp, (least, most), soft) or same_thing(p, ramp, least, most):
        return None
    if any(_panned(p, ramp, to) for to in ([one.way] if one.way else WAYS)):
        return None
    if _returns(p, ramp, (least, most)):
        return None
    if one.way and (_swept(p, ramp, one.way, (least, most)) or not _seamed(p, one, seen, some)):
        return None
    residual = float(seen.rest[first : final + 1].mean())
    return Passage(ramp.start, ramp.end, ramp.before, ramp.after, way, one.style, residual)


def _ways(
    p: Pictures, one: Candidate, some: NDArray[np.intp], within: tuple[int, int] | None, first: bool
) -> Ways:
    """Where the shots of the first and the last picture are in all of them: their motion ``within``
    some pictures is carried on, though at first both are taken to rest; or, where a hand shakes,
    they are looked for, or in a slide, which moves them too, blurred instead."""
    rest = one.way if within is None else first
    if rest:
        still = np.tile(np.eye(2, 3), (len(some), 1, 1))
        return still, still
    return followed(p, (int(some[0]), int(some[-1])), some, within)


def _likely(seen: Seen, inside: NDArray[np.intp], one: Candidate) -> bool:
    """Whether it is worth while to look on."""
    limit = 1.5 * (REST if one.way else PIXELS)
    return bool(np.median(seen.rest[inside]) <= limit and seen.parted[inside].mean() >= 0.45)


def _other(p: Pictures, before: int, after: int) -> bool:
    """Whether two pictures may be of two shots: bars around both may be the same, but not most of
    both, as where a page is scrolled or a menu closes over it."""
    shared = p.shared(before, after)
    if shared is None:
        return p.differ(before, after, 12)
    return shared < SOME and p.still(before, after) < STILL


def _rests(p: Pictures, ramp: Ramp, within: tuple[int, int], soft: bool) -> bool:
    """Whether either shot, where it is seen alone, is so for a moment: what passes before the
    camera is not."""
    ends = (ramp.before, ramp.after)
    early = int(np.searchsorted(p.times, ramp.start - MARGIN_S + 1e-6, side="right")) - 1
    beside = (early, int(np.searchsorted(p.times, ramp.end + MARGIN_S - 1e-6)))
    view = p.soft if soft else p.small
    apart = float(off(view(ends[0]), view(ends[1])).mean()) + 1e-6
    for index, near in zip(ends, beside, strict=True):
        near = min(within[1], max(within[0], near))
        if (
            abs(p.times[near] - p.times[index]) < 0.6 * MARGIN_S
            or float(off(view(near), view(index)).mean()) > 0.35 * apart
        ):
            return False
    return True


def _returns(p: Pictures, ramp: Ramp, within: tuple[int, int]) -> bool:
    """Whether the old shot is soon seen again, or the new one was just before: something passes
    before the camera, which goes as quickly as it comes."""
    length = ramp.end - ramp.start
    early, late = np.searchsorted(p.times, (ramp.start - length, ramp.end + length)).tolist()
    sides = (
        (ramp.before, range(ramp.after + 1, min(within[1] + 1, late))),
        (ramp.after, range(max(within[0], early), ramp.before)),
    )
    return any((p.shared(i, k) or 0) >= SOME for i, some in sides for k in some)


def _swept(p: Pictures, ramp: Ramp, way: Way, within: tuple[int, int]) -> bool:
    """Whether either shot moves along a slide's way by itself, as fast as a third of it."""
    axis = 0 if way in ("left", "right") else 1
    side = p.small(ramp.before).shape[1 - axis]
    speeds = motions(p, ramp.before, ramp.after, *within)
    return bool(
        max(abs(float(one[axis, 2])) for one in speeds) > side / (ramp.end - ramp.start) / 3
    )


SAME, SURELY = 0.8, 0.9  # correlations from which what a sweep's ends share is the same
MUCH = 1 / 3  # of the picture, from which on the lesser will do
CHANGES = 6.0  # levels by which a pixel changes at least that does not stay as it is


def _panned(p: Pictures, ramp: Ramp, way: Way) -> bool:
    """Whether a part of the old shot is in the new one, where a camera that turns, or a page that
    is scrolled, would have taken it. A bar or a margin that stays in its place is left out."""
    views = np.stack([p.small(i)[..., 0] for i in range(ramp.before, ramp.after + 1)])
    views = turned(views, way)
    moving = np.ptp(views, axis=0) > CHANGES
    side = views.shape[1]
    for by in range(side // 8, side - max(3, side // 8)):
        within = moving[: side - by] & moving[by:]
        one, two = views[0, : side - by][within], views[-1, by:][within]
        if within.mean() < 0.2 or min(one.std(), two.std()) < TEXTURE:
            continue
        least = SAME if 1 - by / side >= MUCH else SURELY
        if np.corrcoef(one, two)[0, 1] > least:
            return True
    return False


SEAM = 1.6  # by how much the step at a border exceeds that within either shot, at least
THROUGH = 60  # percentage of its length that shows it: an edge of a thing does not go right through
SHARP = 0.5  # share of the difference about a border that lies at it, at least


def _seamed(p: Pictures, one: Candidate, seen: Seen, some: NDArray[np.intp]) -> bool:
    """Whether a border can be seen between the shots of a slide, and a sharp one: what a camera is
    swept past has none, for it goes on from one picture to the next."""
    found: list[tuple[float, float]] = []
    for index, share in zip(some.tolist(), seen.share.tolist(), strict=True):
        if not 0.2 <= share <= 0.8 or one.way is None:
            continue
        picture = turned(p.small(index)[None], one.way)[0]
        by, side = round(share * len(picture)), len(picture)
        steps = np.percentile(np.abs(picture[2:] - picture[:-2]).mean(2), 100 - THROUGH, axis=1)
        first, last = max(0, by - 3), min(side - 2, by + 1)
        near = float(steps[first:last].max(initial=0))
        wide = np.abs(picture[8:] - picture[:-8]).mean((1, 2))
        about = np.abs(picture[5:-3] - picture[3:-5]).mean((1, 2)) / (wide + 0.5)
        sharp = float(about[max(0, first - 3) : last - 3].max(initial=0))
        found.append((near / (float(np.median(steps)) + 0.5), sharp))
    if not found:
        return True
    ratio, sharp = np.median(found, axis=0).tolist()
    return bool(ratio >= SEAM and sharp >= SHARP)


def _smeared(p: Pictures, ramp: Ramp, way: Way | None) -> bool:
    """Whether what is in between is blurred along its way, as what a camera is swept past is."""
    if way is None:
        return False
    axis = 1 if way in ("left", "right") else 0
    edges = [
        float(np.abs(np.diff(p.small(i)[..., 0], axis=axis)).mean())
        for i in range(ramp.before, ramp.after + 1)
    ]
    middle = edges[1 + len(edges) // 4 : -1 - len(edges) // 4] or edges[1:-1]
    return float(np.median(middle)) < 0.82 * (edges[0] + edges[-1]) / 2


@dataclass(frozen=True)
class Seen:
    """Pictures [n] as parts of two.

    Share of the new one, what is left unexplained of their difference, and how far from a blend of
    both each picture is, 0..1 (0.5 where nothing can be said); where the new one is in the middle
    picture [h, w], and the share of pixels that are of the old one again after the new one.
    """

    share: Array
    rest: Array
    parted: Array
    mask: Array
    back: float


def _passes(seen: Seen, first: int, final: int, most: float) -> bool:
    """Whether a border goes over the picture once, and the two shots explain all of it."""
    rise = np.diff(seen.share)
    falls = float(-rise[rise < 0].sum())
    return bool(
        seen.share[first] <= 0.06
        and seen.share[final] >= 0.94
        and falls <= 0.12
        and rise.max() <= 0.6
        and seen.rest[first : final + 1].mean() <= most
        and seen.rest.max() <= 2 * most
        and seen.back <= 0.2
        and seen.parted[first + 1 : final].mean() >= PARTED
        and not _halts(seen.share[first : final + 1])
    )


HALT = 0.4  # of its way in time, that a border stands still at most


def _halts(share: Array) -> bool:
    """Whether a border stands still on its way: two things changed, one after the other."""
    on = np.flatnonzero((np.abs(np.diff(share)) > STEP) | (share[1:] > 0.9) | (share[1:] < 0.1))
    longest = np.diff(on, prepend=-1, append=len(share) - 1).max(initial=0)
    return bool(longest > HALT * len(share) + 1)


STEP = 0.004  # least share of the picture that a border goes from one picture to the next
PARTED = 0.6  # least part that pixels of either shot, and of no blend, have in a wipe


def _seen(view: View, one: Candidate, some: NDArray[np.intp], ways: Ways) -> Seen:
    """Pictures as parts of the first and the last of them, these carried on the ways of their shots."""
    ends = (int(some[0]), int(some[-1]))
    rows: list[tuple[float, float, float]] = []
    masks: list[Array] = []
    for k, index in enumerate(some.tolist()):
        (old, known), (new, also) = (
            carried(view(end), way[k]) for end, way in zip(ends, ways, strict=True)
        )
        picture = view(index)
        if one.way is None:
            row, mask = _parts(picture, old, new, known & also)
            masks.append(mask)
        else:
            views = (picture, old, new)
            row = (*_offset(*views, one.way, one.style or "push"), 1.0)
        rows.append(row)
    share, rest, parted = np.array(rows).T
    back, middle = 0.0, np.zeros((0, 0))
    if masks:
        stack = np.stack(masks)
        back = float(((stack[:-1] - stack[1:]) > 0.5).any(0).mean())
        middle = masks[int(np.argmin(np.abs(share - 0.5)))]
    return Seen(share, rest, parted, middle, back)


def _parts(
    picture: Picture, old: Picture, new: Picture, known: NDArray[np.bool_]
) -> tuple[tuple[float, float, float], Array]:
    """A picture in which each pixel is of one of two, in its place.

    Returns the share of the new one, what is left unexplained of their difference, how far from a
    blend it is, 0..1; and where the new one is [h, w]: 1, and 0.5 where both look the same.
    """
    to_old, to_new = off(picture, old), off(picture, new)
    apart = np.minimum(off(old, new), off(new, old))
    weight = np.minimum(apart, 60) * known
    total = float(weight.sum()) + 1e-6
    is_new = to_new < to_old
    share = float((weight * is_new).sum()) / total
    rest = float((np.minimum(to_old, to_new) * known).sum()) / (float((apart * known).sum()) + 1e-6)
    way = new - old
    gone, length = (np.einsum("ijk,ijk->ij", x, way) for x in (picture - old, way))
    mix = gone / (length + 1e-6)
    mix = np.clip(mix, 0, 1)
    mean = float((weight * mix).sum()) / total
    spread = float((weight * (mix - mean) ** 2).sum()) / total
    parted = spread / (mean * (1 - mean)) if 0.1 < mean < 0.9 else 0.5
    unsure = (np.abs(to_new - to_old) < 8) | ~known
    return (share, rest, parted), np.where(unsure, 0.5, is_new)


def off(one: Picture, two: Picture) -> Picture:
    """By how much each pixel differs from all those around it in another picture [h, w]."""
    import cv2

    near = np.ones((3, 3), np.uint8)
    apart = np.maximum(one - cv2.dilate(two, near), cv2.erode(two, near) - one)
    out: Picture = np.maximum(apart, 0) @ np.ones(3, np.float32)
    return out


def _offset(
    picture: Picture, old: Picture, new: Picture, way: Way, style: Style
) -> tuple[float, float]:
    """How far one shot has slid over or after another, and what that leaves unexplained."""
    seen, one, two = (np.ascontiguousarray(turned(x[None], way)) for x in (picture, old, new))
    side = seen.shape[1]
    apart = float(np.abs(one - two).mean()) + 1e-6
    left: dict[int, float] = {}
    for near in (range(0, side + 1, 4), range(-3, 4)):
        best = min(left, key=left.__getitem__) if left else 0
        for by in near:
            by = min(side, max(0, best + by))
            if by not in left:
                left[by] = float(_apart(one, two, seen, by, style)[0])
    by = min(left, key=left.__getitem__)
    return by / side, left[by] / apart


def _way(seen: Seen) -> Way | None:
    """Where a border goes, from where the new shot is when it has half of the picture."""
    new = seen.mask - seen.mask.mean()
    height, width = new.shape
    y, x = np.mgrid[:height, :width]
    across = float((new * (x - (width - 1) / 2)).mean()) / width
    down = float((new * (y - (height - 1) / 2)).mean()) / height
    if max(abs(across), abs(down)) < 0.06 or min(abs(across), abs(down)) > 0.05:
        return None
    if abs(across) > abs(down):
        return "right" if across < 0 else "left"
    return "down" if down < 0 else "up"
