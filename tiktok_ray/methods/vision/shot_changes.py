"""Where the shots of a video change: flashes, instant cuts, and gradual transitions.

Everything is found by comparing pictures; indices count them, times are theirs, in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.methods.vision.picture_similarity import (
    ALIKE,
    BLOCK,
    MOTION_S,
    SIDE,
    SOME,
    SURE,
    TEXTURE,
    Array,
    Picture,
    Pictures,
    alignment,
    motion,
    shifted,
)

APART = 1.8  # isolation from which a change stands out from those around it
ALONE = 10.0  # isolation of a change between pictures that rest
LATE = 3.0  # times that a late picture changes more amid motion, at most
SPARSE_S = 0.45  # pictures so far apart may each begin a shot: what is around says nothing

# --- flashes ---

FLASH_S = 0.21  # longest flash at full strength
DAZZLE_S = 0.14  # longest that may show anything, if it is brighter
DECAY_S = 0.7  # longest flash that dies away
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
    """Short runs of pictures that are brighter, or darker, than both sides from their first on.

    They are blank or nearly so, or show what the picture before shows: an inserted picture of
    something else is not a flash.
    """
    found: list[Insert] = []
    sudden = (np.diff(p.plain.astype(int)) > 0).any(0) & (p.isolation[1:] >= APART)
    begins = (np.abs(np.diff(p.luma)) >= FLASH) | sudden
    for first in (np.flatnonzero(begins) + 1).tolist():
        if found and first <= found[-1].after:
            continue
        after = _flash_end(p, first)
        if after is None:
            continue
        cut, length = p.differ(first - 1, after), p.times[after] - p.times[first]
        peak = first + int(np.argmax(np.abs(p.luma[first:after] - p.luma[first - 1])))
        contrast = [float(p.small(i)[..., 0].std()) for i in (first - 1, peak, after)]
        faint = contrast[1] < min(8.0, 0.3 * contrast[0], 0.3 * contrast[2])
        faint &= p.gain > 1 or p.off[:, peak].min() < 50  # what is white in the dark is grey
        dazzled = length <= DAZZLE_S and p.luma[peak] > p.luma[first - 1]
        plain = faint or bool(p.plain[:, peak].any())
        if cut and plain and length <= FLASH_S:
            found.append(Insert(first, after, True))
        elif not cut and (plain or dazzled or not p.differ(first - 1, peak)):
            found.append(Insert(first, after, False))
    return found


def _flash_end(p: Pictures, first: int) -> int | None:
    """First picture after a flash that begins at ``first``; None if none does."""
    base = p.luma[first - 1]
    sign = np.sign(p.luma[first] - base)
    for after in range(first + 1, len(p)):
        inside, length = (p.luma[first:after] - base) * sign, p.times[after] - p.times[first]
        left = (p.luma[after] - base) * sign
        if length > DECAY_S or inside.min() <= 0:
            break
        plain = (p.plain[:, first:after].all(1) & ~p.plain[:, [first - 1, after]].any(1)).any()
        plain &= p.isolation[after] >= APART
        if length <= FLASH_S and (plain or inside.min() - max(0, left) >= FLASH):
            return after
        falling = (np.diff(inside[int(np.argmax(inside)) :]) < 1).all()
        if sign > 0 and falling and abs(left) <= 0.25 * inside.max():
            return after
    return None


# --- changes from one picture to the next ---


@dataclass(frozen=True)
class Instant:
    """A new shot begins with picture ``index``.

    ``alone``: the change takes but one step; if not, it may be the end of a gradual one.
    """

    index: int
    kind: Literal["hard", "jump"]
    alone: bool


def find_instants(p: Pictures, inserts: Sequence[Insert] = ()) -> list[Instant]:
    """Hard and jump cuts.

    A change is looked at if it stands out from those around it, and is a hard cut if the pictures
    either side share few of their blocks while their neighbours do share theirs. Of pictures that
    are sparse, each stands for itself: two that are unlike are two shots.
    """
    apart, change = p.isolation >= APART, p.change
    around = np.pad(change, 1)
    peak = (change >= around[:-2]) & (change >= around[2:])
    steps = np.diff(p.times, prepend=p.times[:1])
    sparse = steps >= SPARSE_S
    late = np.clip(steps / max(1e-6, float(np.median(steps))), 1, LATE)
    spikes = ((change >= 3) & apart) | ((change >= 15) & (peak | sparse))
    flashing = {i for insert in inserts for i in range(insert.first, insert.after + 1)}
    found: list[Instant] = []
    for index in np.flatnonzero(spikes).tolist():
        near = found and index <= found[-1].index + 1 - sparse[index]
        if index in flashing or near:
            continue
        if sparse[index] and not apart[index]:
            if p.differ(index - 1, index) and p.correlation(index - 1, index) < 0.3:
                found.append(Instant(index, "hard", True))
            continue
        if (p.isolation[index] < 5 and _swept(p, index)) or _outrun(p, index):
            continue
        new = _hard(p, index, bool(p.isolation[index] >= APART * late[index]))
        if new is not None and not shifted(p, index - 1, new):
            beside = np.delete(change[max(0, new - 2) : new + 3], min(new, 2))
            found.append(Instant(new, "hard", bool(change[new] > 2 * beside.max(initial=0))))
        elif p.isolation[index] >= 2.5 and _jumps(p, index):
            found.append(Instant(index, "jump", True))
    return [i for i in _with_leaps(p, found, flashing) if not _strobed(p, i)]


STROBE_S = 0.5  # time either side of a change in which a light that flickers shows as such
SWITCH = 0.35  # e-folds of light by which it comes or goes
SWITCHES = 3  # times that it does, one way and the other


def _switches(p: Pictures, index: int) -> bool:
    """Whether the light comes or goes at a change: two takes of one setting are lit alike."""
    return bool(abs(np.diff(np.log(p.luma[index - 1 : index + 1] + 8))[0]) >= SWITCH)


def _strobed(p: Pictures, instant: Instant) -> bool:
    """Whether a change is that of a light that comes and goes: in some light, either side shows the
    same. What seems to leap in such a light, or as it is switched, is not told from what it hides."""
    at = instant.index
    if instant.kind == "jump" and _switches(p, at):
        return True
    first, last = np.searchsorted(p.times, p.times[at] + np.array([-STROBE_S, STROBE_S])).tolist()
    light = np.log(p.luma[first:last] + 8)
    steps = np.diff(light)
    switched = np.sign(steps[np.abs(steps) >= SWITCH])
    if np.count_nonzero(switched[1:] != switched[:-1]) < SWITCHES - 1:
        return False
    if instant.kind == "jump":
        return True
    sides = light[: at - first], light[at - first :]
    lit = [{int(side.argmin()), int(side.argmax())} for side in sides]
    return any(not p.differ(first + i, at + k) for i in (*lit[0], at - first - 1) for k in lit[1])


def _with_leaps(p: Pictures, found: Sequence[Instant], flashing: set[int]) -> list[Instant]:
    """The same with the jumps that show only once the camera's motion is taken out."""
    around = np.pad(p.leap, 1)
    peak = (p.leap >= LEAP) & (p.leap >= around[:-2]) & (p.leap >= around[2:])
    taken = {i.index + k for i in found for k in (-1, 0, 1)} | flashing
    more = [i for i in np.flatnonzero(peak).tolist() if i not in taken and leaps_apart(p, i)]
    return sorted([*found, *(Instant(i, "jump", True) for i in more)], key=lambda i: i.index)


SMEARED = 0.5  # contrast along the way of a camera, over that across it, in what it is swept past
DULLED = 0.6  # the same over that of what it was and will be held at
SWEEP_S = 0.4  # longest half of a sweep
QUICK, SURELY_QUICK = 0.25, 0.4  # shares of a change that those beside it have in a sweep
LATER, RUNNING = 1.7, 5.0  # times as late, and change in levels, from which much may have passed


def _swept(p: Pictures, index: int) -> bool:
    """Whether both pictures at a change, and what is around, are smeared by one quick sweep."""
    beside = p.change[[index - 1, min(index + 1, len(p) - 1)]].max() / p.change[index]
    if beside < QUICK:
        return False
    pair = np.stack([_contrast(p, i) for i in (index - 1, index)])
    first, last = np.searchsorted(p.times, p.times[index] + np.array([-SWEEP_S, SWEEP_S])).tolist()
    sides = [range(first, index - 1), range(index + 1, last)]
    held = [np.max([_contrast(p, i) for i in side], 0) for side in sides if side]
    if len(held) == 2 and bool((pair.max(0) < DULLED * np.min(held, 0)).any()):
        return True
    if beside < SURELY_QUICK:
        return False
    return bool((pair < SMEARED * pair[:, ::-1]).all(0).any()) or _bursts(p, index)


def _bursts(p: Pictures, index: int) -> bool:
    """Whether a change is one of several as large, picture after picture, between two rests."""
    still = np.flatnonzero(p.change < QUICK * p.change[index])
    k = int(np.searchsorted(still, index))
    if k in (0, len(still)):
        return False
    first, last = int(still[k - 1]), int(still[k])
    return last - first > 4 and bool(p.times[last] - p.times[first] <= 1.5 * SWEEP_S)


def _outrun(p: Pictures, index: int) -> bool:
    """Whether a picture comes so late that what goes as fast as before or after it has left the
    picture meanwhile: where nothing can be shared, that nothing is shared says nothing."""
    if not 2 <= index < len(p) - 1 or _lateness(p, index) < LATER:
        return False
    size = np.array(p.small(index).shape[1::-1])
    for k in (index - 1, index + 1):
        spans = np.diff(p.times[[k - 1, k, index - 1, index]])
        gone = np.abs(p.shift(k - 1, k)) / size * spans[2] / spans[0]
        if p.change[k] >= RUNNING and gone.max() >= 1:
            return True
    return False


def _contrast(p: Pictures, index: int) -> Array:
    """Mean difference of neighbouring pixels of a picture, along its rows and along its columns."""
    luma = p.small(index)[..., 0]
    return np.array([np.abs(np.diff(luma, axis=axis)).mean() + 0.1 for axis in (1, 0)])


HURRIED = 0.35  # share of blocks, over that of the neighbours, that a cut amid quick motion leaves


def _hard(p: Pictures, index: int, isolated: bool) -> int | None:
    """First picture of the new shot if one begins at or, blended, just after ``index``."""
    last, change = len(p) - 1, p.change
    shared = p.shared(index - 1, index)
    if shared is None:
        return index if isolated and p.differ(index - 1, index) else None
    if p.isolation[index] >= ALONE and p.unlike(index - 1, index):
        return index
    if p.differ(index - 1, index):
        sides = [p.shared(i, i + 1) for i in (index - 2, index) if 0 <= i < last]
        known = [side for side in sides if side is not None] or [1.0]
        steady = min(known) >= 0.5 and shared < (0.6 if isolated else HURRIED) * min(known)
        peak = change[index] >= change[min(index + 1, last)]
        return index if steady or (isolated and peak and shared < 0.6 * max(known)) else None
    if not isolated or index == last or change[index + 1] < 0.3 * change[index]:
        return None
    around = change[[index - 1, min(index + 2, last)]].max() if index + 2 <= last else 0
    if around > 0.5 * change[index] or not p.differ(index - 1, index + 1):
        return None
    return index if change[index] > change[index + 1] else index + 1


def _jumps(p: Pictures, index: int) -> bool:
    """Whether things leap within one setting, some of them further than the rest.

    A leap of the whole picture is a jolt of the camera, a change without motion is light or a
    caption, and a late picture may only look like a leap.
    """
    last = len(p) - 1
    if index < 2 or index >= last:
        return False
    late = _lateness(p, index) > LATER
    back, spread = p.distance(index - 1, min(last, index + 3)), _spread(p, index)
    if back < 0.6 * p.change[index] or spread < 0.25:
        return False
    whole = shifted(p, index - 1, index)
    around = [p.matches(i, i + 1) for i in (index - 2, index - 1, index)]
    uneven = _peak([_uneven(*one) for one in around])
    if uneven >= 0.2 and not whole and not late:
        return True
    clear = p.isolation[index] >= (5 if whole or late else 3.5)
    leap = _peak([_displaced(*one) for one in around]) >= 0.17
    return bool(clear and leap and (uneven >= 0.15 or not whole))


def _lateness(p: Pictures, index: int) -> float:
    """How many times as late a picture comes after the one before as its neighbours do, at least 1."""
    spans = np.diff(p.times[index - 2 : index + 2])
    return max(1.0, float(spans[1] / spans[[0, 2]].min()))


LEAP = 3.5  # isolation from which a change beyond small motion may be a leap
CLEAR = 7.0  # isolation from which on little of the picture may do
MOST, FEW_CELLS, SOME_CELLS = 0.5, 0.1, 0.03  # shares of the picture: anew, little, too little
FOUND = 0.6  # share of a change that must be explained by what leapt having been elsewhere
RELIT = 3.0  # levels by which another light brightens or darkens most of what is seen, at least
NEAR, ONLY = 2, 0.05  # pixels about the place where a block is found, and how much better it fits
AWAY = 0.15  # share of the picture's width, and of its height, that something leaps at most
PUNCH = 0.05  # e-folds by which a picture is enlarged, at least, when it is punched in


def leaps_apart(p: Pictures, index: int) -> bool:
    """Whether, the camera's motion and the light taken out, something in the picture leaps.

    It stands out from the steps before and after, and was elsewhere before, unlike a caption or
    an inset that pops up; or most of the picture changes, or is enlarged at once.
    """
    last = len(p) - 1
    if not 2 <= index < last or p.distance(index - 1, min(last, index + 3)) < 0.6 * p.change[index]:
        return False
    late = _lateness(p, index)  # and moved as much further
    steps = [
        _aligned(p, k - 1, k, round(reach))
        for k, reach in ((index - 1, 1), (index, late), (index + 1, 1))
    ]
    growth = [abs(step.growth) for step in steps]
    if growth[1] >= PUNCH and growth[1] > 3 * late * max(growth[0], growth[2]):
        return True
    before, now, after = (_cells(step.rest) for step in steps)
    out = now > 2 * late * np.maximum(before, after) + 1.5
    share = float(out.mean())
    if share < SOME_CELLS or (share < FEW_CELLS and p.leap[index] < CLEAR):
        return False  # a hand is as quick
    if _relit(steps[1], out):
        return False
    found, way = elsewhere(steps[1], out)
    if found >= FOUND:
        whole = steps[1].way - way
        return all(
            np.hypot(*(_goes(step, out) - whole)) > 0.5 * min(np.hypot(*way), np.hypot(*whole))
            for step in (steps[0], steps[2])
        )  # what goes on, or went before, as it leapt is on its way
    return share >= MOST


def _goes(step: Aligned, out: NDArray[np.bool_]) -> Array:
    """How far (x, y) what is within some cells goes, with the camera and by itself."""
    found, way = elsewhere(step, out)
    gone: Array = step.way - way if found >= FOUND else step.way
    return gone


@dataclass(frozen=True)
class Aligned:
    """Two thumbs [h, w], the first moved and lit like the second; what neither that, give or take
    some pixels, nor its having stayed in its place leaves of their difference [h, w]; by how many
    e-folds the first was enlarged, how far (x, y) its middle was moved, and by how many levels it
    was brightened."""

    one: Picture
    two: Picture
    rest: Picture
    growth: float
    way: Array
    light: float


def _aligned(p: Pictures, a: int, b: int, reach: int = 1) -> Aligned:
    import cv2

    one, two = (p.thumbs.gray(i).astype(np.float32) for i in (a, b))
    stayed, move = _beyond(one, two), alignment(p, a, b)
    if move is None:
        move = np.eye(2, 3)
        if shifted(p, a, b):
            move[:, 2] = np.array(p.shift(a, b)) * one.shape[1] / p.small(a).shape[1]
    size = (one.shape[1], one.shape[0])
    known = np.asarray(cv2.warpAffine(np.ones_like(one), move, size)) > 0.99
    one = np.asarray(cv2.warpAffine(one, move, size))
    growth = float(np.log(np.hypot(*move[:, 0])))
    level, spread = (np.array([f(x[known]) for x in (one, two)]) for f in (np.mean, np.std))
    lit = (one - level[0]) * (spread[1] / max(spread[0], 1.0)) + level[1]
    tries = [(x, _beyond(x, two, reach) * known) for x in (one, lit)]
    of_light = tries[1][1].mean() < 0.5 * tries[0][1].mean()
    one, rest = tries[bool(of_light)]
    light = float(level[1] - level[0]) if of_light else 0.0
    middle = np.array([size[0] / 2, size[1] / 2])
    way = move[:, :2] @ middle + move[:, 2] - middle
    return Aligned(one, two, np.minimum(rest, stayed), growth, way, light)


def _beyond(one: Picture, two: Picture, reach: int = 1) -> Picture:
    """By how much each pixel is off all those of another picture at most so far away [h, w]."""
    import cv2

    near = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    rest: Picture = np.maximum(
        0, np.maximum(two - cv2.dilate(one, near), cv2.erode(one, near) - two)
    )
    return rest


def _cells(picture: Picture) -> Picture:
    """Means of the cells of 4 x 4 pixels of a picture."""
    height, width = (side // 4 for side in picture.shape)
    cells: Picture = picture[: height * 4, : width * 4].reshape(height, 4, width, 4).mean((1, 3))
    return cells


@dataclass(frozen=True)
class Sought:
    """A block of the second picture, whose corner is at ``place`` (x, y), looked for in what of the
    first is ``around`` there: correlations [y, x], the position among them of its own place, and
    whether it is within the cells in question."""

    place: tuple[int, int]
    block: Picture
    around: Picture
    scores: Picture
    own: tuple[int, int]
    inside: bool

    @cached_property
    def peak(self) -> tuple[int, int]:
        """Where (y, x) the correlation is best."""
        y, x = divmod(int(self.scores.argmax()), self.scores.shape[1])
        return y, x

    def best(self) -> tuple[float, Array]:
        """The best correlation, and how far (x, y) from its place."""
        y, x = self.peak
        return float(self.scores[y, x]), np.array([x - self.own[1], y - self.own[0]])

    def brighter(self) -> float:
        """By how many levels than what is most like it."""
        y, x = self.peak
        return float(self.block.mean() - self.around[y : y + BLOCK, x : x + BLOCK].mean())

    def remains(self, two: Picture, move: Array) -> bool:
        """Whether the second picture shows it so far (x, y) from its place as well."""
        import cv2

        x, y = (int(a + b) for a, b in zip(self.place, move, strict=True))
        there = two[y : y + BLOCK, x : x + BLOCK]
        return bool(cv2.matchTemplate(there, self.block, cv2.TM_CCOEFF_NORMED)[0, 0] >= ALIKE)

    def near(self, way: Array, by: int) -> tuple[slice, slice]:
        """Positions at most ``by`` pixels from so far (x, y) from its place."""
        y, x = (round(float(a + b)) for a, b in zip(self.own, way[::-1], strict=True))
        rows = slice(max(0, y - by), max(0, y + by + 1))
        return rows, slice(max(0, x - by), max(0, x + by + 1))


def _sought(step: Aligned, out: NDArray[np.bool_], all_over: bool = False) -> Iterator[Sought]:
    """The textured blocks within some cells, or beside them those of all the picture."""
    import cv2

    tall, wide = (round(AWAY * side) for side in step.one.shape)
    inside = out[:-1, :-1] & out[1:, 1:]
    lattice = np.zeros_like(inside)
    lattice[::2, ::2] = all_over
    for y, x in np.argwhere(inside | lattice).tolist():
        top, left = 4 * y, 4 * x
        block = step.two[top : top + BLOCK, left : left + BLOCK]
        if block.std() < TEXTURE:
            continue
        first, start = max(0, top - tall), max(0, left - wide)
        there = step.one[first : top + BLOCK + tall, start : left + BLOCK + wide]
        scores = np.asarray(cv2.matchTemplate(there, block, cv2.TM_CCOEFF_NORMED))
        yield Sought(
            (left, top), block, there, scores, (top - first, left - start), bool(inside[y, x])
        )


def elsewhere(step: Aligned, out: NDArray[np.bool_]) -> tuple[float, Array]:
    """Share of the textured blocks within some cells that show what was elsewhere before, in one
    place only, where it no longer is, all of them about as far away, and how far (x, y) that is:
    straight edges and rows of text are found anywhere. What it uncovers is left out."""
    moves: list[Array] = []
    places: list[Array] = []
    blocks: list[Array] = []
    for sought in _sought(step, out):
        blocks.append(np.array(sought.place))
        best, move = sought.best()
        if best >= ALIKE and best > sought.scores[sought.own] + 0.1:
            sought.scores[sought.near(move, NEAR)] = -1
            if best > sought.scores.max() + ONLY and not sought.remains(step.two, move):
                moves.append(move)
                places.append(blocks[-1])
    if len(moves) < 3:
        return 0.0, np.zeros(2)
    middle: Array = np.median(moves, 0)
    together = np.abs(moves - middle).max(1) <= 1.5
    left = np.array(places)[together] + middle
    apart = np.abs(np.array(blocks)[:, None] - left).max(2).min(1, initial=np.inf)
    count = int(np.count_nonzero(together))
    return count / max(1, count, int(np.count_nonzero(apart >= BLOCK))), middle


def _relit(step: Aligned, out: NDArray[np.bool_]) -> bool:
    """Whether the light changes, and what changes shows what it did: most of the textured blocks
    within some cells are where all of the picture has gone."""
    blocks = list(_sought(step, out, all_over=True))
    known = [sought for sought in blocks if sought.best()[0] >= ALIKE]
    inside = [sought for sought in blocks if sought.inside]
    if not known or not inside:
        return False
    if abs(step.light + np.median([sought.brighter() for sought in known])) < RELIT:
        return False
    way: Array = np.median([sought.best()[1] for sought in known], 0)
    there = [
        sought.scores[sought.near(way, 1)].max(initial=0) >= max(ALIKE, sought.best()[0] - ONLY)
        for sought in inside
    ]
    return float(np.mean(there)) >= SOME


def _peak(around: list[float]) -> float:
    """By how much the middle one of three exceeds both others."""
    return around[1] - max(around[0], around[2])


def _displaced(found: Array, moves: Array) -> float:
    """Share of the blocks that are found again in another place."""
    if not len(found):
        return 0.0
    return float(((found >= ALIKE) & (np.abs(moves).max(1) >= 1)).mean())


def _spread(p: Pictures, index: int) -> float:
    """Share of the picture in which the change at ``index`` stands out from those around it."""
    first = max(1, index - SIDE + 1)
    some = range(first - 1, min(len(p), index + SIDE))
    pictures = np.stack([p.small(i)[..., 0] for i in some])
    steps = np.abs(np.diff(pictures, axis=0))
    height, width = (side // 4 * 4 for side in steps.shape[1:])
    cells = steps[:, :height, :width].reshape(len(steps), height // 4, 4, width // 4, 4)
    change = cells.mean((2, 4))
    others = np.delete(change, index - first, 0).max(0)
    return float((change[index - first] > 2 * (others + 0.7)).mean())


def _uneven(found: Array, moves: Array) -> float:
    """Share of the blocks found again that moved unlike the median block."""
    moves = moves[found >= SURE]
    if len(moves) < 6:
        return 0.0
    unlike = np.abs(moves - np.median(moves, 0)).max(1, initial=0) >= 1
    return float(unlike.mean()) if unlike.sum() >= 6 else 0.0


# --- gradual changes ---

HALVES_S = (0.15, 0.25, 0.4, 0.65, 1.0)  # half lengths at which dissolves are looked for
LEAST = 6.0  # least difference, in levels (root mean square), of the pictures either side


@dataclass(frozen=True)
class Ramp:
    """A linear blend from picture ``before`` to picture ``after``; ``start``, ``end`` in seconds.

    ``residual``: what a blend leaves unexplained, as a share of the difference of both.
    """

    start: float
    end: float
    before: int
    after: int
    residual: float = 0.0


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


@dataclass(frozen=True)
class Shape:
    """A change from level ``low`` until ``start`` to level ``high`` from ``end`` on.

    Straight, or eased in and out by the cubic 3 x^2 - 2 x^3.
    """

    start: float
    end: float
    low: float
    high: float
    eased: bool

    def at(self, times: Array) -> Array:
        share = _ramps(times, np.array([self.start]), np.array([self.end]), self.eased)[0]
        level: Array = self.low + (self.high - self.low) * share
        return level


def shape_of(times: Array, values: Array) -> Shape:
    """The shape that fits best, by least squares, with knots at the samples and half-way between.

    Knots are searched coarse to fine, first for a straight change.
    """
    knots = np.sort(np.concatenate([times, (times[1:] + times[:-1]) / 2]))
    step = max(1, len(knots) // 24)
    start, end, _ = _best(times, values, knots[::step], knots[::step], False)
    fits: list[tuple[float, Shape]] = []
    for eased in (False, True):
        widen = 0.1 * (end - start) if eased else 0.0
        i, j = np.searchsorted(knots, (start - widen, end + widen)).tolist()
        near = [knots[max(0, k - step) : k + step + 1] for k in (i, j)]
        one, two, error = _best(times, values, near[0], near[1], eased)
        share = _ramps(times, np.array([one]), np.array([two]), eased)[0]
        slope, level = np.polyfit(share, values, 1).tolist()
        fits.append((error, Shape(one, two, level, level + slope, eased)))
        start, end = one, two
    (straight, line), (curved, curve) = fits
    return curve if curved < 0.4 * straight else line


def _ramps(times: Array, starts: Array, ends: Array, eased: bool) -> Array:
    """Rises from 0 to 1 between each start and end [k], at all times [n]: [k, n]."""
    share = np.clip((times - starts[:, None]) / (ends - starts)[:, None], 0, 1)
    curve: Array = share**2 * (3 - 2 * share) if eased else share
    return curve


def _best(
    times: Array, values: Array, starts: Array, ends: Array, eased: bool
) -> tuple[float, float, float]:
    """Start, end and squared error of the rise, between any levels, that fits best."""
    begin, stop = (grid.ravel() for grid in np.meshgrid(starts, ends, indexing="ij"))
    begin, stop = begin[stop - begin > 1e-6], stop[stop - begin > 1e-6]
    shapes = _ramps(times, begin, stop, eased)
    shapes -= shapes.mean(1, keepdims=True)
    rest = values - values.mean()
    explained = (shapes @ rest) ** 2 / np.maximum((shapes**2).sum(1), 1e-9)
    best = int(np.argmax(explained))
    return float(begin[best]), float(stop[best]), float(rest @ rest - explained[best])


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
        first, last = max(first, _blank_end(p, centre, -1)), min(last, _blank_end(p, centre, 1))
        ramp = _fit(p, t - half, t + half, first, last)
        if ramp is None and p.restless(t - half, t + half):
            ramp = _fit(p, t - half, t + half, first, last, soft=True)
        if ramp is None or any(_overlap(ramp, other) for other in found):
            refused.append((t - half, t + half))
            continue
        if not any(
            p.times[i.first] <= ramp.end and p.times[i.after] >= ramp.start for i in inserts
        ):
            found.append(ramp)
    return sorted(found, key=lambda ramp: ramp.start)


def _overlap(one: Ramp, two: Ramp) -> bool:
    """Whether two ramps are rather one; two fades may meet in a blank picture."""
    shared = min(one.end, two.end) - max(one.start, two.start)
    return shared > 0.2 * min(one.end - one.start, two.end - two.start)


def _blank_end(p: Pictures, index: int, step: Literal[-1, 1]) -> int:
    """Far end of the first blank run met from ``index`` on: another blend may follow there."""
    ahead = p.blank[:, index::step]
    ends: list[int] = []
    for one in ahead:
        inside = np.flatnonzero(one)
        if len(inside):
            gaps = np.flatnonzero(np.diff(inside) > 1)
            ends.append(int(inside[gaps[0]] if len(gaps) else inside[-1]))
    return index + step * min(ends, default=ahead.shape[1] - 1)


@dataclass(frozen=True)
class Blend:
    """Pictures [n] as blends of two: share of the second, residual over their contrast (root mean
    square, in levels), and share of the picture in which both can be known."""

    share: Array
    residual: Array
    contrast: Array
    overlap: Array


def _fit(
    p: Pictures, start: float, end: float, first: int, last: int, soft: bool = False
) -> Ramp | None:
    """The blend near ``start`` .. ``end`` within pictures ``first`` .. ``last``, if there is one.

    Fits in turn the shares of the pictures either side, and where these lie. ``soft``: both are looked
    for in each picture, for a hand that shakes moves none the way it moved the last.
    """
    before, after = _around(p, start, end, first, last)
    faint = (p.off[:, [before, after]].min(1) < 0.35 * p.off[:, [before, after]].max(1)).any()
    if not faint and not p.differ(before, after, 12):
        return None
    ramp: Ramp | None = None
    for _ in range(4):
        margin = 0.2 + 0.3 * (end - start)
        low, high = np.searchsorted(p.times, (start - margin, end + margin)).tolist()
        low, high = max(first, low), min(last, high)
        some = np.arange(low, high + 1)[:: 1 + (high - low) // 40]
        ways = followed(p, (before, after), some, None if soft else (first, last))
        blend = _mix(p.calm if soft else p.small, (before, after), some, ways)
        if len(some) < 5 or blend.residual.mean() > 0.6:
            return None
        times = p.times[some]
        shape = shape_of(times, blend.share)
        start, end = shape.start, shape.end
        one, two = _around(p, start, end, first, last)
        if two - one < 3 or end - start < 0.1:
            return None
        inside = (some >= one) & (some <= two)
        bend = np.sqrt(np.mean((blend.share - shape.at(times))[inside] ** 2))
        rise, left = shape.high - shape.low, float(blend.residual[inside].mean())
        good = left <= 0.22 and bend <= 0.05 and rise > 0.6
        good |= (
            not soft and left <= 0.32 and bend <= 0.025 and rise > 0.85
        )  # things move, evenly mixed
        seen = blend.overlap[inside].min() >= 0.2 and blend.contrast[inside].mean() >= LEAST
        fitted = Ramp(start, end, one, two, left) if good and seen else None
        near = 0.1 + 0.15 * (end - start)
        outer = _around(p, start - near, end + near, first, last)
        ramp, settled = fitted, fitted is not None and ramp is not None and outer == (before, after)
        if settled:
            break
        before, after = outer
    if ramp is None:
        return None
    ramp = _to_blank(p, ramp, first, last)
    if p.color(ramp.before) or p.color(ramp.after):
        return ramp
    alike = not p.differ(ramp.before, ramp.after, 12) or same_thing(p, ramp, first, last)
    return None if alike or _travels(p, ramp) else ramp


FAR = 0.5  # of the picture, that a camera goes within what would be a dissolve
GROWN = 0.3  # e-folds by which it enlarges the picture, or reduces it


def _travels(p: Pictures, ramp: Ramp) -> bool:
    """Whether picture after picture is the one before, moved or zoomed on: what a camera is swept
    past mixes along its way, and a dissolve stays in place."""
    pairs = [(i, i + 1) for i in range(ramp.before, ramp.after)]
    height, width = p.small(ramp.before).shape[:2]
    gone = np.abs(np.sum([p.shift(*pair) for pair in pairs], 0))
    if (gone > FAR * np.array([width, height])).any():
        return True
    moves = [move for pair in pairs if (move := alignment(p, *pair)) is not None]
    growth = sum(float(np.log(np.hypot(*move[:, 0]))) for move in moves)
    return abs(growth) > GROWN


def _around(p: Pictures, start: float, end: float, first: int, last: int) -> tuple[int, int]:
    """Last picture until ``start`` and first from ``end`` on, within ``first`` .. ``last``."""
    before = int(np.searchsorted(p.times, start + 1e-6, side="right")) - 1
    after = int(np.searchsorted(p.times, end - 1e-6))
    return max(first, before), min(last, after)


def _mix(view: View, ends: tuple[int, int], some: NDArray[np.intp], ways: Ways) -> Blend:
    """Pictures ``some`` as blends of two, each carried on the way of its own shot."""
    rows: list[tuple[float, float, float, float]] = []
    for k, index in enumerate(some.tolist()):
        (one, seen), (two, also) = (
            carried(view(end), way[k]) for end, way in zip(ends, ways, strict=True)
        )
        mask = (seen & also)[..., None]
        way, gone = (two - one) * mask, (view(index) - one) * mask
        length = float(np.vdot(way, way)) + 1e-6
        share = float(np.vdot(gone, way)) / length
        rest = max(0.0, float(np.vdot(gone, gone)) - share**2 * length)
        contrast = np.sqrt(length / (1 + 3 * int(mask.sum())))
        rows.append((share, np.sqrt(rest / length), contrast, float(mask.mean())))
    return Blend(*np.array(rows, float).reshape(-1, 4).T)


View = Callable[[int], Picture]  # of the index of a picture
Ways = tuple[Array, Array]  # of two shots: where each was or will be in other pictures [k, 2, 3]


def followed(
    p: Pictures, ends: tuple[int, int], some: NDArray[np.intp], within: tuple[int, int] | None
) -> Ways:
    """Where the shots of two pictures are in some others, as 2 x 3 maps of positions: their motion
    within some pictures is carried on, or, where a hand shakes, they are looked for."""
    if within is None:
        return swayed(p, ends[0], some), swayed(p, ends[1], some)
    one, two = (
        np.eye(2, 3) + speed * (p.times[some] - p.times[end])[:, None, None]
        for end, speed in zip(ends, motions(p, *ends, *within), strict=True)
    )
    return one, two


SWAY = 6  # pixels of the small picture that a shaking hand moves it at most
TETHER = 0.01  # correlation that a pixel more away from where it was last must gain


def swayed(p: Pictures, end: int, some: NDArray[np.intp]) -> Array:
    """Shifts [k, 2, 3] of what one picture shows in others that may show but a part of it, or mix it
    with something else: the best correlation of their edges, near to that of the picture before."""
    import cv2

    moves = np.tile(np.eye(2, 3), (len(some), 1, 1))
    reach = min(SWAY, min(p.small(end).shape[:2]) // 5)
    if reach < 1:
        return moves
    template = p.edges(end)[reach:-reach, reach:-reach]
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    for side in (np.flatnonzero(some < end)[::-1], np.flatnonzero(some > end)):
        last = np.zeros(2)
        for k in side.tolist():
            found = cv2.matchTemplate(p.edges(int(some[k])), template, cv2.TM_CCOEFF_NORMED)
            near = found - TETHER * np.hypot(x - last[0], y - last[1])
            row, column = divmod(int(near.argmax()), 2 * reach + 1)
            last = np.array([column - reach, row - reach], float)
            moves[k, :, 2] = last + _between(found, row, column)
    return moves


def _between(scores: Picture, row: int, column: int) -> Array:
    """How far (x, y) from its peak's pixel a parabola through scores [y, x] has its own."""
    out = np.zeros(2)
    for axis, (line, k) in enumerate(((scores[row], column), (scores[:, column], row))):
        if 0 < k < len(line) - 1:
            left, here, right = line[k - 1 : k + 2].tolist()
            bend = 2 * here - left - right
            out[axis] = np.clip((right - left) / (2 * bend), -0.5, 0.5) if bend > 1e-6 else 0.0
    return out


def motions(p: Pictures, before: int, after: int, first: int, last: int) -> tuple[Array, Array]:
    """Motion of the shot that ends with ``before``, and of that which begins with ``after``."""
    edges = (p.times[before] - MOTION_S, p.times[after] + MOTION_S)
    start, stop = np.searchsorted(p.times, edges).tolist()
    return motion(p, max(first, start), before), motion(p, after, min(last, stop))


def carried(picture: Picture, move: Array) -> tuple[Picture, NDArray[np.bool_]]:
    """A picture moved by a 2 x 3 map of positions, and where that is known [h, w]."""
    import cv2

    height, width = picture.shape[:2]
    if (move == np.eye(2, 3)).all():
        return picture, np.ones((height, width), bool)
    known = cv2.warpAffine(np.ones((height, width), np.float32), move, (width, height))
    return np.asarray(cv2.warpAffine(picture, move, (width, height))), known > 0.99


def same_thing(p: Pictures, ramp: Ramp, first: int, last: int) -> bool:
    """Whether one side of a ramp, moved on, shows the other in another light."""
    ends = (ramp.before, ramp.after)
    ways = followed(p, ends, np.array(ends), (first, last))
    for end, to, move in zip(ends, ends[::-1], (ways[0][1], ways[1][0]), strict=True):
        picture, known = carried(p.small(end), move)
        one, two = picture[..., 0][known], p.small(to)[..., 0][known]
        enough = known.mean() > 0.3 and min(one.std(), two.std()) > 1
        if enough and np.corrcoef(one, two)[0, 1] > 0.6:
            return True
    return False


def _to_blank(p: Pictures, ramp: Ramp, first: int, last: int) -> Ramp:
    """Carry a fade on to where it becomes blank: editors ease it in and out."""
    reach = 0.6 * (ramp.end - ramp.start)
    for off in p.off:
        before, after = ramp.before, ramp.after
        while before > first and off[before - 1] < off[before] - 0.05:
            before -= 1
        while after < last and off[after + 1] < off[after] - 0.05:
            after += 1
        if p.color(before) and ramp.start - p.times[before] <= reach:
            ramp = replace(ramp, start=min(ramp.start, p.times[before]), before=before)
        if p.color(after) and p.times[after] - ramp.end <= reach:
            ramp = replace(ramp, end=max(ramp.end, p.times[after]), after=after)
    return ramp
