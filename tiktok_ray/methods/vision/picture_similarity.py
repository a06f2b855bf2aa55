"""How alike the pictures of a video are: in levels, in what they show, and in motion.

Pictures are the `thumbs`: every displayed frame, some 64 pixels high or wide, I420.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import Frames
from tiktok_ray.methods.vision.framing import BLACK, GREY, WHITE, film

CELLS = 12  # cells along the short side of the coarse picture
BLOCK, REACH = 8, 6  # pixels of the small picture: a block, and how far it is looked for
TEXTURE = 4.0  # least standard deviation of luma at which one block can be told from another
ALIKE, SURE = 0.8, 0.9  # correlations from which two blocks show the same, and surely
LITTLE, SOME = 0.2, 0.54  # shares of their blocks: different things have less, alike ones more
STILL = 0.52  # share of the picture that a new caption leaves as it was, at least
PART = 0.75  # and that where the whole of it is another one leaves, at most
SIDE = 5  # pictures on either side with which a change is compared
SHAKE = 12.0  # of such shares of the short side is the blur that hides shaking
RESTLESS = 4.0  # median change, in levels, of pictures by a hand that shakes
SHAKEN = 0.5  # share of it that a small move may leave unexplained
TURN_S = 0.5  # time within which a quick fade leads to a blank and from it

Array = NDArray[np.float64]
Picture = NDArray[np.float32]
Plain = Literal["black", "white"]


class Pictures:
    """The thumbs and measures of them; indices count thumbs, levels are 0..255.

    ``change``: mean absolute difference to the picture before [n]; ``isolation``: that over what
    is usual around it [n]; ``unmoved``: what small motion does not explain of it
    [n]; ``leap``: isolation of that [n].
    ``coarse``: means of the cells of luma (the first ``cells``, ``columns``
    wide), then of both chroma planes [n, k]. ``luma``: mean luma [n]. ``off``: how far each picture is from plain
    black and from plain white [2, n]. ``plain``: whether it is that [2, n]. ``blank``: whether it
    is, or is the nearest to it in a fade too quick to show it [2, n].
    """

    def __init__(self, thumbs: Frames) -> None:
        import cv2

        self.thumbs, self.gain = film(thumbs)
        thumbs, self.times, self.end = self.thumbs, thumbs.times, thumbs.end
        self.flat = np.ascontiguousarray(thumbs.i420).reshape(len(thumbs), -1)
        self.change = np.zeros(len(thumbs))
        if len(thumbs) > 1:
            steps = cv2.absdiff(self.flat[1:], self.flat[:-1])
            self.change[1:] = cv2.reduce(steps, 1, cv2.REDUCE_AVG, dtype=cv2.CV_64F)[:, 0]
        self.isolation = isolation(self.change)
        self.unmoved = beyond_motion(self.thumbs.grays)
        self.leap = isolation(self.unmoved, 0.15)
        self.coarse, self.cells, self.columns = self._coarse()
        light, color = self.coarse[:, : self.cells], self.coarse[:, self.cells :]
        self.luma: Array = light.mean(1, dtype=float)
        tint = np.abs(color - GREY).mean(1) / 3
        self.off = np.stack([np.abs(light - at).mean(1) * 2 / 3 + tint for at in (BLACK, WHITE)])
        self.plain = (self.off <= 4) & (light.std(1) <= 5)
        self.blank = self.plain | turns(self.off, self.times)
        self.small = lru_cache(256)(self._small)
        self.soft = lru_cache(256)(self._soft)
        self.calm = lru_cache(256)(self._calm)
        self.edges = lru_cache(256)(self._edges)
        self.shared = lru_cache(None)(self._shared)

    def __len__(self) -> int:
        return len(self.times)

    def _chroma(self) -> NDArray[np.uint8]:
        width, height = self.thumbs.width, self.thumbs.height
        return self.flat[:, width * height :].reshape(len(self), 2, height // 2, width // 2)

    def _coarse(self) -> tuple[Picture, int, int]:
        import cv2

        scale = CELLS / min(self.thumbs.width, self.thumbs.height)
        sides = (self.thumbs.width, self.thumbs.height)
        wide, high = (min(4 * CELLS, round(side * scale)) for side in sides)
        half = (wide // 2, high // 2)
        chroma = self._chroma()
        out = np.empty((len(self), wide * high + 2 * half[0] * half[1]), np.float32)
        for i in range(len(self)):
            planes: list[Any] = [
                cv2.resize(self.thumbs.gray(i), (wide, high), interpolation=cv2.INTER_AREA),
                *(cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in chroma[i]),
            ]
            out[i] = np.concatenate([plane.ravel() for plane in planes])
        return out, wide * high, wide

    def _small(self, index: int) -> Picture:
        """One picture at half size, or at full size if it is tiny: [h, w, 3], Y'CbCr."""
        import cv2

        luma, chroma = self.thumbs.gray(index), self._chroma()[index]
        height, width = luma.shape if min(luma.shape) < 48 else chroma[0].shape
        planes = [
            cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
            for plane in (luma, *chroma)
        ]
        return np.dstack(planes).astype(np.float32)

    def _soft(self, index: int) -> Picture:
        """A small picture so blurred that the shaking of a hand no longer shows: [h, w, 3]."""
        small = self.small(index)
        return _blurred(small, min(small.shape[:2]) / SHAKE)

    def _calm(self, index: int) -> Picture:
        """A small picture so blurred that a pixel's part of a move no longer shows: [h, w, 3]."""
        return _blurred(self.small(index), 1.0)

    def _edges(self, index: int) -> Picture:
        """Luma of a small picture less that around it [h, w]: two shots have none in common."""
        luma = np.ascontiguousarray(self.small(index)[..., 0])
        return luma - _blurred(luma, 2.0)

    def restless(self, start: float, end: float) -> bool:
        """Whether the camera shakes before the one time or after the other: pictures change much
        from one to the next, and by little more than a small move explains."""
        for side in ((start - TURN_S, start), (end, end + TURN_S)):
            first, last = np.searchsorted(self.times, side).tolist()
            if last <= first:
                continue
            change, rest = (float(np.median(x[first:last])) for x in (self.change, self.unmoved))
            if change >= RESTLESS and rest <= SHAKEN * change:
                return True
        return False

    def matches(self, a: int, b: int, shift: tuple[int, int] = (0, 0)) -> tuple[Array, Array]:
        """Look for each textured block of either picture in the other.

        Returns the best normalised correlation of each block [k], and by how many pixels of the
        small picture it moved from ``a`` to ``b`` [k, 2]. Gain and offset of the light cancel.
        With a ``shift`` (x, y), blocks are looked for around where it takes them, if it does not
        take them out of the picture.
        """
        import cv2

        found: list[float] = []
        moves: list[tuple[int, int]] = []
        one, two = self.small(a)[..., 0], self.small(b)[..., 0]
        height, width = one.shape
        grain = _grain(height, width)  # a plain window has no correlation; with grain, one near 0
        for here, there, sign in ((one, two + grain, 1), (two, one + grain, -1)):
            for y, x in np.argwhere(_texture(here) >= TEXTURE).tolist():
                top, left = y * BLOCK, x * BLOCK
                down, right = top + sign * shift[1], left + sign * shift[0]
                if not (0 <= right <= width - BLOCK and 0 <= down <= height - BLOCK):
                    continue
                first, start = max(0, down - REACH), max(0, right - REACH)
                scores = cv2.matchTemplate(
                    there[first : down + BLOCK + REACH, start : right + BLOCK + REACH],
                    here[top : top + BLOCK, left : left + BLOCK],
                    cv2.TM_CCOEFF_NORMED,
                )
                _, best, _, at = cv2.minMaxLoc(scores)
                # A block that looks as much alike where it was has not moved.
                stays = shift == (0, 0) and scores[top - first, left - start] > best - 0.01
                if stays:
                    at = (left - start, top - first)
                found.append(best)
                moves.append((sign * (at[0] + start - left), sign * (at[1] + first - top)))
        return np.array(found), np.array(moves, float).reshape(-1, 2)

    def _shared(self, a: int, b: int) -> float | None:
        """Share of the textured blocks of two pictures that the other shows too, 0..1.

        It stays near 1 under motion, noise and changes of light, and falls below 0.3 between
        shots of different things. None if there is too little texture to say.
        """
        found, _ = self.matches(a, b)
        if len(found) < 2:
            return None
        share = float((found >= ALIKE).mean())
        if share >= SOME:
            return share
        right, down = self.shift(a, b)
        again, _ = self.matches(a, b, (round(right), round(down)))
        enough = len(again) >= max(8, len(found) // 3)
        return max(share, float((again >= ALIKE).mean())) if enough else share

    def shift(self, a: int, b: int) -> tuple[float, float]:
        """Shift (x, y) of the whole small picture, by phase correlation."""
        import cv2

        one, two = (np.ascontiguousarray(self.small(i)[..., 0]) for i in (a, b))
        window = cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F)
        (right, down), _ = cv2.phaseCorrelate(one, two, window)
        return float(right), float(down)

    def differ(self, a: int, b: int, levels: float = 8.0) -> bool:
        """Whether two pictures show different things.

        They share next to nothing, and it is not but a part of the picture that changes, as where
        an inset pops up over a plain ground; or little, and most of the picture changes, for a
        caption leaves more as it was, and not by gain and offset, as light would change it.
        Without texture, the levels alone must say.
        """
        shared = self.shared(a, b)
        if shared is None:
            return self.distance(a, b) >= levels
        if shared < LITTLE:
            still = self.still(a, b)
            return still < PART or (still < 0.9 and self.correlation(a, b) < 0.3)
        return shared < SOME and self.still(a, b) < STILL and self.correlation(a, b) < 0.85

    def unlike(self, a: int, b: int) -> bool:
        """Whether two pictures are unlike as wholes, though blocks of one are found in the other.

        Straight edges are found anywhere. In another view of one thing most blocks move together.
        """
        if self.still(a, b) >= 0.35 or self.correlation(a, b) >= 0.3:
            return False
        found, moves = self.matches(a, b)
        together = np.abs(moves - np.median(moves, 0)).max(1, initial=0) <= 1
        return bool(((found >= ALIKE) & together).mean() < 0.6)

    def correlation(self, a: int, b: int) -> float:
        """Correlation of the luma of two pictures, -1..1."""
        one, two = (self.small(i)[..., 0] for i in (a, b))
        one, two = one - one.mean(), two - two.mean()
        return float(np.vdot(one, two) / (np.sqrt(np.vdot(one, one) * np.vdot(two, two)) + 1e-6))

    def still(self, a: int, b: int) -> float:
        """Share of the picture that changes by no more than six levels, 0..1.

        Small motion does not count: a pixel may have the level of any of its neighbours.
        """
        import cv2

        one, two, near = self.small(a)[..., 0], self.small(b)[..., 0], np.ones((3, 3), np.uint8)
        within = [
            (there >= cv2.erode(here, near) - 6) & (there <= cv2.dilate(here, near) + 6)
            for here, there in ((one, two), (two, one))
        ]
        return float(min(share.mean() for share in within))

    def distance(self, a: int, b: int) -> float:
        """Mean absolute difference of two pictures, in levels."""
        return float(np.abs(self.flat[a].astype(np.int16) - self.flat[b]).mean())

    def color(self, index: int) -> Plain | None:
        """The colour of a blank picture."""
        black, white = self.blank[:, index]
        return "black" if black else "white" if white else None


def beyond_motion(grays: NDArray[np.uint8]) -> Array:
    """Mean change of luma [n, h, w] beyond what a move by one pixel explains [n].

    A hand that cannot hold still changes all pixels a little in every picture; what it is held at
    leaps from one picture to the next.
    """
    import cv2

    change, near = np.zeros(len(grays)), np.ones((3, 3), np.uint8)
    for k, (before, here) in enumerate(pairwise(grays), 1):
        above, below = cv2.dilate(before, near), cv2.erode(before, near)
        rest = cv2.add(cv2.subtract(here, above), cv2.subtract(below, here))
        change[k] = cv2.mean(rest)[0]
    return change


def isolation(change: Array, least: float = 0.5) -> Array:
    """Each change over what is usual around it [n]: the larger median of five on either side.

    The idea of PySceneDetect's AdaptiveDetector, with medians, and each side for itself. At either
    end of the video the changes are mirrored. The first, which is none, has 0. ``least`` is added
    to what is usual.
    """
    isolated = np.zeros(len(change))
    if len(change) > 1:
        padded = np.pad(change[1:], SIDE, mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * SIDE + 1)
        sides = np.stack([windows[:, :SIDE], windows[:, -SIDE:]])
        isolated[1:] = change[1:] / (least + np.sort(sides)[..., SIDE // 2].max(0))
    return isolated


def turns(off: Array, times: Array) -> NDArray[np.bool_]:
    """Where a distance from a blank [k, n] turns round near 0 between two samples [k, n]."""
    near = max(1, round(TURN_S / float(np.median(np.diff(times))))) if len(times) > 1 else 1
    padded = np.pad(off, ((0, 0), (near, near)))
    highest = np.lib.stride_tricks.sliding_window_view(padded, near, axis=1).max(2)
    count = off.shape[1]
    sides = np.minimum(highest[:, :count], highest[:, -count:])
    left, right = padded[:, near - 1 : near - 1 + count], padded[:, near + 1 : near + 1 + count]
    turned: NDArray[np.bool_] = (off <= 20) & (off <= 0.2 * sides) & (off <= left) & (off <= right)
    return turned


def _blurred(picture: Picture, deviation: float) -> Picture:
    """A picture blurred by a Gaussian of that standard deviation in pixels."""
    import cv2

    return np.asarray(cv2.GaussianBlur(picture, (0, 0), deviation))


def _texture(luma: Picture) -> Picture:
    """Standard deviation of each block of a picture [h / BLOCK, w / BLOCK]."""
    rows, columns = (side // BLOCK for side in luma.shape)
    blocks = luma[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    deviation: Picture = blocks.std((1, 3))
    return deviation


@lru_cache(4)
def _grain(height: int, width: int) -> Picture:
    return np.random.default_rng(0).normal(0, 0.7, (height, width)).astype(np.float32)


MOTION_S = 0.3  # time over which the motion of a shot is measured


def motion(p: Pictures, a: int, b: int) -> Array:
    """Motion of the camera between two pictures: change per second of the 2 x 3 similarity that
    maps positions in the small picture; zeros if there is none to be seen."""
    if b <= a or (matrix := similarity(p, a, b)) is None:
        return np.zeros((2, 3))
    speed: Array = (matrix - np.eye(2, 3)) / (p.times[b] - p.times[a])
    return speed


def similarity(p: Pictures, a: int, b: int) -> Array | None:
    """The 2 x 3 similarity that maps positions in one small picture to those in another."""
    found = alignment(p, a, b)
    if found is not None:
        found[:, 2] *= p.small(a).shape[1] / p.thumbs.width
    return found


def alignment(p: Pictures, a: int, b: int) -> Array | None:
    """The 2 x 3 similarity that maps positions in one thumb to those in another.

    Pyramidal Lucas-Kanade on a lattice, and RANSAC so that a moving subject does not count; None
    if too few points agree.
    """
    import cv2

    one, two = (np.ascontiguousarray(p.thumbs.gray(i)) for i in (a, b))
    ys, xs = np.mgrid[4 : one.shape[0] - 3 : 6, 4 : one.shape[1] - 3 : 6]
    points = np.stack([xs.ravel(), ys.ravel()], 1).astype(np.float32)[:, None]
    if len(points) < 8:
        return None
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        one, two, points, np.empty_like(points), winSize=(11, 11), maxLevel=2
    )
    good = status.ravel() == 1
    if good.sum() < 8:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(
        points[good], moved[good], method=cv2.RANSAC, ransacReprojThreshold=1.0
    )
    if matrix is None or inliers.mean() < 0.4:
        return None
    return np.asarray(matrix, float)


def shifted(p: Pictures, a: int, b: int) -> bool:
    """Whether one picture is the other, shifted or turned as a whole, but not zoomed.

    The move leaves less than half of the difference, and no part that stays explains better.
    """
    import cv2

    one, two = (np.ascontiguousarray(p.small(i)[..., 0]) for i in (a, b))
    size = (one.shape[1], one.shape[0])
    stayed = cv2.blur(np.abs(one - two), (5, 5))
    right, down = p.shift(a, b)
    tries = [np.array([[1.0, 0, right], [0, 1, down]])]
    if (matrix := similarity(p, a, b)) is not None and abs(np.hypot(*matrix[:, 0]) - 1) < 0.03:
        tries.append(matrix)
    for move in tries:
        seen = cv2.warpAffine(np.ones_like(one), move, size) > 0.99
        moved = cv2.blur(np.abs(cv2.warpAffine(one, move, size) - two), (5, 5))
        better = (stayed < moved - 2)[seen]
        less = moved[seen].mean() < 0.45 * stayed[seen].mean() if seen.mean() > 0.6 else False
        if less and better.mean() < 0.15:
            return True
    return False
