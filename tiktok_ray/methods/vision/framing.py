"""What of a video's pictures is the film: without the bars around it, and no darker than needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import Frames

Grays = NDArray[np.uint8]
Part = tuple[int, int]  # first row or column, and the one after the last

BLACK, WHITE, GREY = 16, 235, 128  # I420, limited range
DARK = BLACK + 12  # level that nothing in a black bar goes beyond
LOOKED_AT = 32  # pictures by which bars and light are judged
LEAST_BAR = 0.1  # of the side, of a bar that is not black
LEAST_FILM = 0.25  # of the side, between two such bars
SMOOTH = 0.3  # contrast of neighbouring pixels in a bar, at most, as a share of that in the middle
STEP = 2.5  # by how much the step at a bar's edge exceeds those within it, at least
TINY = 16  # pixels that each side must keep
DIM, MOST_GAIN = 1.5, 6.0  # gains from which on, and up to which, pictures are brightened


def film(frames: Frames) -> tuple[Frames, float]:
    """The pictures without bars, dark ones brightened, and the gain with which they are.

    Bars are black, or blurred or plain on two opposite sides. A video is dark where hardly any of
    its pictures uses the upper two thirds of the range.
    """
    some = frames.grays[:: -(-len(frames) // LOOKED_AT)]
    return _brightened(_cropped(frames, *inner(some)), some)


def inner(grays: Grays) -> tuple[Part, Part]:
    """Rows and columns of pictures [n, h, w] that are not bars; first and last ones are even."""
    lit = grays.max(0) > DARK
    parts = [_whole(_lit(lit.any(1 - axis))) for axis in (0, 1)]
    rows, columns = parts
    seen = grays[:, slice(*rows), slice(*columns)]
    for axis in (0, 1):
        found = _between_smooth(np.swapaxes(seen, 1, 2) if axis else seen)
        if found is not None:
            first = parts[axis][0]
            parts[axis] = _whole((first + found[0], first + found[1]))
            break
    return parts[0], parts[1]


def _lit(lit: NDArray[np.bool_]) -> Part:
    some = np.flatnonzero(lit)
    if len(some) < TINY:
        return 0, len(lit)
    return int(some[0]), int(some[-1]) + 1


def _whole(part: Part) -> Part:
    """The even rows or columns within a part."""
    return -(-part[0] // 2) * 2, part[1] // 2 * 2


def _between_smooth(grays: Grays) -> Part | None:
    """Rows between two bars, each a blur of the picture or plain; None without such bars."""
    if grays.shape[1] < TINY:
        return None
    levels = grays.astype(np.int16)
    across = np.abs(np.diff(levels, axis=2)).mean((0, 2))
    steps = np.abs(np.diff(levels, axis=1)).mean((0, 2))
    high = len(across)
    smooth = across < SMOOTH * float(np.median(across[high // 3 : -(high // 3)]))
    if smooth.all() or not (smooth[0] and smooth[-1]):
        return None
    first, last = int(np.argmin(smooth)), int(np.argmin(smooth[::-1]))
    small, large = sorted((first, last))
    if small < max(3, LEAST_BAR * high) or large > 1.5 * small + 2:
        return None
    if high - first - last < max(TINY + 2, LEAST_FILM * high):
        return None
    for edge, bar in ((first, steps[: first - 2]), (high - last - 1, steps[high - last + 1 :])):
        if steps[max(0, edge - 2) : edge + 2].max() < STEP * float(np.median(bar)) + 1:
            return None
    return first + 1, high - last - 1


def _cropped(frames: Frames, rows: Part, columns: Part) -> Frames:
    height, width = frames.height, frames.width
    if (rows, columns) == ((0, height), (0, width)):
        return frames
    count = len(frames)
    high, wide = rows[1] - rows[0], columns[1] - columns[0]
    luma = frames.grays[:, slice(*rows), slice(*columns)]
    chroma = frames.i420[:, height:].reshape(count, 2, height // 2, width // 2)
    halves = (slice(rows[0] // 2, rows[1] // 2), slice(columns[0] // 2, columns[1] // 2))
    planes = chroma[:, :, *halves].reshape(count, high // 2, wide)
    return Frames(frames.times, np.concatenate([luma, planes], 1), frames.end)


def _brightened(frames: Frames, grays: Grays) -> tuple[Frames, float]:
    """Levels stretched so that what is bright in most pictures is white."""
    import cv2

    low, high = np.percentile(grays, (1, 99), axis=(1, 2))
    dark, bright = float(np.percentile(low, 10)), float(np.percentile(high, 90))
    gain = min(MOST_GAIN, (WHITE - BLACK) / max(1.0, bright - dark))
    if gain < DIM:
        return frames, 1.0
    levels = np.arange(256)
    luma, chroma = BLACK + gain * (levels - dark), GREY + gain * (levels - GREY)
    out = np.empty_like(frames.i420)
    high_rows = frames.height
    for part, table in ((slice(0, high_rows), luma), (slice(high_rows, None), chroma)):
        lut = np.clip(np.rint(table), 0, 255).astype(np.uint8)
        flat = np.ascontiguousarray(frames.i420[:, part]).reshape(len(frames), -1)
        seen: Any = cv2.LUT(flat, lut)
        out[:, part] = seen.reshape(frames.i420[:, part].shape)
    return Frames(frames.times, out, frames.end), gain
