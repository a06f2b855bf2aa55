"""One decoded frame as a player shows it: upright, with square pixels, cropped, on its canvas.

Frames become planar YUV (I420, BT.601, limited range), the format in which tracks store them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import colour

Plane = NDArray[np.uint8]
BLACK = (16, 128, 128)
#: Shapes that differ by less are taken for the same: rounding of aspect ratios.
SAME_SHAPE = 0.01


@dataclass(frozen=True)
class Turn:
    """How a stored frame becomes upright: transposed first, then flipped.

    From a display matrix, to the nearest of its eight cases; editors write 89.99 degrees.
    """

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of(cls, frame: Any, before: Turn) -> Turn:
        """That of a frame; without a matrix that of the frame before it.

        A container's matrix comes with every frame, one in the stream (H.264, D.2.27) with some.
        """
        matrix = next((d for d in frame.side_data if d.type.name == "DISPLAYMATRIX"), None)
        if matrix is None:
            return before
        a, b, _, c, d = np.frombuffer(matrix, np.int32, 5).astype(float)
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, bool(c < 0), bool(b < 0))
        return cls(False, bool(a < 0), bool(d < 0))

    @property
    def degrees(self) -> int:
        """Counter-clockwise rotation, 0, 90, 180 or 270, after mirroring if there is any."""
        if self.transpose:
            return 90 if self.flip_y else 270
        return 180 if self.flip_y else 0

    @property
    def mirrored(self) -> bool:
        """Whether left and right are swapped."""
        return (self.transpose + self.flip_x + self.flip_y) % 2 == 1

    def __bool__(self) -> bool:
        return self.transpose or self.flip_x or self.flip_y

    def of_plane(self, plane: Plane) -> Plane:
        """A plane of pixels made upright; a view."""
        plane = plane.T if self.transpose else plane
        return plane[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]

    def of_size(self, width: float, height: float) -> tuple[float, float]:
        return (height, width) if self.transpose else (width, height)


@dataclass(frozen=True)
class Crop:
    """The displayed part of a coded frame, in fractions of its width and height."""

    x: float = 0.0
    y: float = 0.0
    width: float = 1.0
    height: float = 1.0

    @classmethod
    def of(cls, shown: tuple[float, float, float, float] | None, width: int, height: int) -> Crop:
        """From what of the picture is shown: its size, and how far its middle is off."""
        if shown is None:
            return cls()
        w, h, dx, dy = shown
        x, y = (width - w) / 2 + dx, (height - h) / 2 + dy
        if w < 1 or h < 1 or x < -1 or y < -1 or x + w > width + 1 or y + h > height + 1:
            return cls()  # FFmpeg ignores an aperture beyond the picture too
        return cls(max(x, 0) / width, max(y, 0) / height, w / width, h / height)

    def __bool__(self) -> bool:
        return (self.width, self.height) != (1.0, 1.0)


@dataclass(frozen=True)
class View:
    """How frames of one kind (size, aspect ratio, rotation, colours) are shown.

    ``shape``: displayed width and height. ``canvas``: those of the first picture of the file, into
    which others are fitted with black bars, never squeezed.
    """

    turn: Turn
    crop: Crop
    shape: tuple[int, int]
    canvas: tuple[int, int]
    coding: colour.Coding

    @classmethod
    def of(
        cls,
        frame: Any,
        aspect: float,
        crop: Crop,
        canvas: tuple[int, int] | None = None,
        dolby: tuple[int, int] | None = None,
        before: Turn | None = None,
    ) -> View:
        """The view of a frame with pixels of an aspect ratio.

        ``dolby``: see ``Coding.of``; ``before``: how the frame before it was turned.
        """
        turn = Turn.of(frame, before or Turn())
        width = frame.width * crop.width * aspect
        w, h = turn.of_size(width, frame.height * crop.height)
        shape = max(1, round(w)), max(1, round(h))
        coding = colour.Coding.of(frame, turn.of_size(frame.width, frame.height), dolby)
        return cls(turn, crop, shape, canvas or shape, coding)

    @property
    def fits(self) -> bool:
        """Whether frames have the shape of the canvas."""
        a, b = self.shape[0] / self.shape[1], self.canvas[0] / self.canvas[1]
        return abs(a / b - 1) < SAME_SHAPE

    def i420(self, frame: Any, size: tuple[int, int]) -> Plane:
        """The frame on a canvas of an (even) size, uint8 [height * 3 / 2, width]."""
        inner = size
        if not self.fits:
            scale = min(size[0] / self.shape[0], size[1] / self.shape[1])
            inner = (_even(self.shape[0] * scale), _even(self.shape[1] * scale))
            inner = min(inner[0], size[0]), min(inner[1], size[1])
        planes = self._filled(frame, inner)
        return planes if inner == size else _boxed(planes, inner, size)

    def _filled(self, frame: Any, size: tuple[int, int]) -> Plane:
        stored = (int(n) for n in self.turn.of_size(*size))
        width, height = stored
        if not self.crop:
            planes = self.coding.i420(frame, (width, height))
        else:
            whole = _even(width / self.crop.width), _even(height / self.crop.height)
            x, y = (
                min(_even(share * n, 0), n - least)
                for share, n, least in zip(
                    (self.crop.x, self.crop.y), whole, (width, height), strict=True
                )
            )
            planes = _cut(self.coding.i420(frame, whole), whole, (x, y, width, height))
        if not self.turn:
            return planes
        return _joined([self.turn.of_plane(p) for p in _planes(planes, width, height)])


def _even(n: float, least: int = 2) -> int:
    return max(least, 2 * round(n / 2))


def _planes(i420: Plane, width: int, height: int) -> tuple[Plane, Plane, Plane]:
    flat = i420.reshape(-1)
    luma, chroma = width * height, width * height // 4
    return (
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(height // 2, width // 2),
        flat[luma + chroma :].reshape(height // 2, width // 2),
    )


def _joined(planes: list[Plane]) -> Plane:
    width = planes[0].shape[1]
    return np.concatenate([plane.reshape(-1) for plane in planes]).reshape(-1, width)


def _cut(i420: Plane, size: tuple[int, int], box: tuple[int, int, int, int]) -> Plane:
    x, y, width, height = box
    parts = []
    for plane, by in zip(_planes(i420, *size), (1, 2, 2), strict=True):
        rows = slice(y // by, (y + height) // by)
        parts.append(plane[rows, x // by : (x + width) // by])
    return _joined(parts)


def _boxed(i420: Plane, inner: tuple[int, int], size: tuple[int, int]) -> Plane:
    """A picture in the middle of a black canvas."""
    x, y = ((n - m) // 4 * 2 for n, m in zip(size, inner, strict=True))
    parts = []
    for plane, by, fill in zip(_planes(i420, *inner), (1, 2, 2), BLACK, strict=True):
        whole = np.full((size[1] // by, size[0] // by), fill, np.uint8)
        whole[y // by : y // by + plane.shape[0], x // by : x // by + plane.shape[1]] = plane
        parts.append(whole)
    return _joined(parts)
