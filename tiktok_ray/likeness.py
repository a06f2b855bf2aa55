"""How alike the pictures of a video are: in levels, in what they show, and in motion.

Pictures are the `thumbs`: every displayed frame, some 64 pixels high or wide, I420.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import Frames

CELLS = 12  # cells along the short side of the coarse picture
BLOCK, REACH = 8, 6  # pixels of the small picture: a block, and how far it is looked for
TEXTURE = 4.0  # least standard deviation of luma at which one block can be told from another
ALIKE = 0.8  # correlation from which two blocks show the same
OTHER = 0.38  # pictures that share less than this of their blocks show different things
BLACK, WHITE, GREY = 16.0, 235.0, 128.0  # I420, limited range

Array = NDArray[np.float64]
Picture = NDArray[np.float32]
Plain = Literal["black", "white"]


class Pictures:
    """The thumbs and measures of them; indices count thumbs, levels are 0..255.

    ``change``: mean absolute difference to the picture before [n]. ``coarse``: means of the cells
    of luma, then of both chroma planes [n, k]. ``luma``: mean luma [n]. ``off``: how far each
    picture is from plain black and from plain white [2, n]. ``blank``: whether it is that [2, n].
    """

    def __init__(self, thumbs: Frames) -> None:
        import cv2

        self.thumbs, self.times, self.end = thumbs, thumbs.times, thumbs.end
        self.flat = np.ascontiguousarray(thumbs.i420).reshape(len(thumbs), -1)
        self.change = np.zeros(len(thumbs))
        if len(thumbs) > 1:
            steps = cv2.absdiff(self.flat[1:], self.flat[:-1])
            self.change[1:] = cv2.reduce(steps, 1, cv2.REDUCE_AVG, dtype=cv2.CV_64F)[:, 0]
        self.coarse, cells = self._coarse()
        light, color = self.coarse[:, :cells], self.coarse[:, cells:]
        self.luma: Array = light.mean(1, dtype=float)
        tint = np.abs(color - GREY).mean(1) / 3
        self.off = np.stack([np.abs(light - at).mean(1) * 2 / 3 + tint for at in (BLACK, WHITE)])
        self.blank = (self.off <= 4) & (light.std(1) <= 5)
        self.small = lru_cache(256)(self._small)
        self.shared = lru_cache(None)(self._shared)

    def __len__(self) -> int:
        return len(self.times)

    def _chroma(self) -> NDArray[np.uint8]:
        width, height = self.thumbs.width, self.thumbs.height
        return self.flat[:, width * height :].reshape(len(self), 2, height // 2, width // 2)

    def _coarse(self) -> tuple[Picture, int]:
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
        return out, wide * high

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

    def matches(self, a: int, b: int) -> tuple[Array, Array]:
        """Look for each textured block of either picture in the other.

        Returns the best normalised correlation of each block [k], and by how many pixels of the
        small picture it moved from ``a`` to ``b`` [k, 2]. Gain and offset of the light cancel.
        """
        import cv2

        found: list[float] = []
        moves: list[tuple[int, int]] = []
        one, two = self.small(a)[..., 0], self.small(b)[..., 0]
        grain = _grain(*one.shape)  # a plain window has no correlation; grain gives it one near 0
        for here, there, sign in ((one, two + grain, 1), (two, one + grain, -1)):
            height, width = here.shape
            for y in range(0, height - BLOCK + 1, BLOCK):
                for x in range(0, width - BLOCK + 1, BLOCK):
                    block = here[y : y + BLOCK, x : x + BLOCK]
                    if block.std() < TEXTURE:
                        continue
                    top, left = max(0, y - REACH), max(0, x - REACH)
                    window = there[top : y + BLOCK + REACH, left : x + BLOCK + REACH]
                    scores = cv2.matchTemplate(window, block, cv2.TM_CCOEFF_NORMED)
                    _, best, _, (right, down) = cv2.minMaxLoc(scores)
                    found.append(best)
                    moves.append((sign * (left + right - x), sign * (top + down - y)))
        return np.array(found), np.array(moves, float).reshape(-1, 2)

    def _shared(self, a: int, b: int) -> float | None:
        """Share of the textured blocks of two pictures that the other shows too, 0..1.

        It stays near 1 under motion, noise and changes of light, and falls below 0.3 between
        shots of different things. None if there is too little texture to say.
        """
        found, _ = self.matches(a, b)
        return float((found >= ALIKE).mean()) if len(found) >= 2 else None

    def differ(self, a: int, b: int, levels: float = 8.0) -> bool:
        """Whether two pictures show different things; by ``levels`` alone if both are plain."""
        shared = self.shared(a, b)
        return self.distance(a, b) >= levels if shared is None else shared < OTHER

    def distance(self, a: int, b: int) -> float:
        """Mean absolute difference of two pictures, in levels."""
        return float(np.abs(self.flat[a].astype(np.int16) - self.flat[b]).mean())

    def plain(self, index: int) -> Plain | None:
        """The colour of a picture without content."""
        black, white = self.blank[:, index]
        return "black" if black else "white" if white else None


@lru_cache(4)
def _grain(height: int, width: int) -> Picture:
    return np.random.default_rng(0).normal(0, 0.7, (height, width)).astype(np.float32)


MOTION_S = 0.3  # time over which the motion of a shot is measured


def motion(p: Pictures, a: int, b: int) -> Array:
    """Motion of the camera between two pictures: change per second of the 2 x 3 similarity that
    maps positions in the small picture; zeros if there is none to be seen.

    Pyramidal Lucas-Kanade on a lattice, and RANSAC so that a moving subject does not count.
    """
    import cv2

    still = np.zeros((2, 3))
    if b <= a:
        return still
    one, two = (np.ascontiguousarray(p.thumbs.gray(i)) for i in (a, b))
    ys, xs = np.mgrid[4 : one.shape[0] - 3 : 6, 4 : one.shape[1] - 3 : 6]
    points = np.stack([xs.ravel(), ys.ravel()], 1).astype(np.float32)[:, None]
    if len(points) < 8:
        return still
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        one, two, points, np.empty_like(points), winSize=(11, 11), maxLevel=2
    )
    good = status.ravel() == 1
    if good.sum() < 8:
        return still
    matrix, inliers = cv2.estimateAffinePartial2D(
        points[good], moved[good], method=cv2.RANSAC, ransacReprojThreshold=1.0
    )
    if matrix is None or inliers.mean() < 0.4:
        return still
    change = np.asarray(matrix, float) - np.eye(2, 3)
    change[:, 2] *= p.small(a).shape[1] / one.shape[1]
    speed: Array = change / (p.times[b] - p.times[a])
    return speed
