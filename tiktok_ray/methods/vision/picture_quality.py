"""Sharpness, blur, noise, blocking, detail and bars of pictures, from luma alone.

Luma is of limited range, 16..235, uint8 [height, width].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]

#: Luma of limited range that counts as black and as white.
BLACK, WHITE = 17, 234
#: Luma levels of the full range, 0..255, in one of the limited range, 16..235.
FULL = 255 / 219
#: Variance in square pixels that an ideal edge has for `edge_blur`, by trial on drawn edges.
OWN_WIDTH = 0.5
#: Variance of rounding to whole levels.
ROUNDING = 1 / 12
#: Side of the tiles that detail is measured in, in pixels.
TILE = 128
#: Longest side of a still that is measured: its middle, if it is larger.
MIDDLE = 1920
#: Least share of a border's length that shows an edge, in a quarter of the pictures, where a bar
#: ends.
BAR_EDGE = 0.5


def within(picture: Gray, box: Sequence[float]) -> Gray:
    """The part of a picture, grey or in colour, inside a box, a view."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = (round(v * n) for v, n in zip(box, (width, height) * 2, strict=True))
    return picture[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def middle(gray: Gray) -> Gray:
    """The middle of a large picture, a view that begins on the 8 x 8 grid."""
    y, x = (max(0, (n - MIDDLE) // 2) // 8 * 8 for n in gray.shape)
    return gray[y : y + MIDDLE, x : x + MIDDLE]


def sharpness(gray: Gray) -> float | None:
    """1 - blur effect, 0..1: how much blurring again takes from differences of neighbours.

    Crete, Dolmiere, Ladret & Nicolas 2007, the worse of the two directions. None for a picture
    without contrast.
    """
    import cv2

    if min(gray.shape) < 16 or float(cv2.meanStdDev(gray)[1][0, 0]) < 2:
        return None
    kept = []
    for lines in (gray, cv2.transpose(gray)):
        steps = cv2.absdiff(lines[1:], lines[:-1])
        # Means over nine differ from one to the next by a ninth of what enters and leaves.
        wide = cv2.copyMakeBorder(lines, 4, 4, 0, 0, cv2.BORDER_REFLECT_101)
        left = cv2.absdiff(wide[9:], wide[:-9])
        taken = cv2.subtract(np.multiply(steps, 9, dtype=np.uint16), left.astype(np.uint16))
        total = 9 * _sum(steps)
        kept.append(_sum(taken) / total if total > 0 else 0.0)
    return min(kept)


def _sum(values: NDArray[Any]) -> float:
    import cv2

    return float(cv2.sumElems(values)[0])


def edge_blur(gray: Gray) -> float | None:
    """Standard deviation in pixels of the Gaussian blur of edges, median; None without edges.

    Zhuo & Sim 2011: blurred once more by a known Gaussian, the gradient at an edge falls by a
    factor that tells how wide the edge was. Less the width that sampling and the gradient's own
    kernel give to any edge.
    """
    import cv2

    known = 1.0
    # Eight times the gradient, in levels per pixel.
    across, down = (g.astype(np.float32) for g in cv2.spatialGradient(gray))
    steep = cv2.magnitude(across, down)
    ridge = steep == cv2.dilate(steep, np.ones((3, 3), np.uint8))
    edges = np.flatnonzero(ridge & (steep >= _tenth_steepest(steep, 8 * 4.0)))
    if len(edges) < 50:
        return None
    again = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), known)
    flat = np.hypot(*(cv2.Sobel(again, -1, *way).ravel()[edges] for way in ((1, 0), (0, 1))))
    ratio = steep.ravel()[edges] / np.maximum(flat, 8 * 1e-3)
    variance = float(np.median(known**2 / (np.maximum(ratio, 1.01) ** 2 - 1)))
    return math.sqrt(max(0.0, variance - OWN_WIDTH))


def _tenth_steepest(steep: NDArray[np.float32], least: float) -> float:
    """What a tenth of the values reach, if that is ``least`` or more. Only those are sorted: most
    of a picture is flat."""
    above = steep[steep >= least]
    wanted = steep.size - math.ceil(0.9 * (steep.size - 1))
    if len(above) <= wanted:
        return least
    return float(np.partition(above, len(above) - wanted)[len(above) - wanted])


def noise(gray: Gray) -> float | None:
    """Standard deviation of noise in levels of 255; None where all pixels are clipped.

    Immerkaer 1996: the mean absolute response to a kernel that is blind to planes. Taken where
    the gradient is weaker than its median, because texture responds as well; for white noise the
    two are independent.
    """
    import cv2

    if min(gray.shape) < 8:
        return None
    kernel = np.outer([1, -2, 1], [1, -2, 1]).astype(np.float32)
    # All responses are whole numbers.
    response = cv2.filter2D(gray, cv2.CV_16S, kernel)
    slope, down = cv2.spatialGradient(gray)
    for values in (response, slope, down):
        np.abs(values, out=values)
    np.add(slope, down, out=slope)
    inner = (slice(1, -1), slice(1, -1))
    response, slope, gray = response[inner], slope[inner], gray[inner]
    open_ = (gray > BLACK + 1) & (gray < WHITE)
    if open_.sum() < 100:
        return None
    calm = open_ & (slope <= _whole_median(slope[open_]))
    mean = float(cv2.mean(response, calm.view(np.uint8))[0])
    return FULL * math.sqrt(math.pi / 2) / 6 * mean


def _whole_median(values: NDArray[np.int16]) -> float:
    """The median of whole numbers from 0, by counting: sorting a large picture's takes ten times as long."""
    running = np.cumsum(np.bincount(values))
    middles = (len(values) - 1) // 2, len(values) // 2
    return float(np.searchsorted(running, middles, side="right").mean())


def blocking(gray: Gray, corner: tuple[int, int] = (0, 0)) -> float | None:
    """Strength of the 8 x 8 grid, -1..1, about 0 without one; None without any step.

    ``corner`` is where the picture lies (x, y) in the one whose corner the grid begins at.
    """
    import cv2

    if min(gray.shape) < 32:
        return None
    across = cv2.absdiff(gray[:, 1:], gray[:, :-1])
    down = cv2.absdiff(gray[1:], gray[:-1])
    strengths = []
    for steps, axis, first in zip((across, down), (0, 1), corner, strict=True):
        means = (
            cv2.reduce(steps, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel() / steps.shape[axis]
        )
        grid = (np.arange(len(means)) + first) % 8 == 7
        on, off = float(means[grid].mean()), float(means[~grid].mean())
        if on + off > 0:
            strengths.append((on - off) / (on + off))
    return float(np.mean(strengths)) if strengths else None


def detail(gray: Gray) -> float | None:
    """Frequency below which 90 % of the gradient's energy lies, as a share of Nyquist, 0..1.

    From power spectra of every other row and column over tiles. The squared frequency weighs them, which
    levels the spectrum of a photograph: what falls off early was enlarged or blurred. Taken from
    the tiles with more energy than half but less than a tenth of them (neither a blurred
    background nor a sharp caption decides), less twice the spectrum of the calmest tiles (noise,
    traces of compression). None without such energy.
    """
    import cv2

    side = min(TILE, *gray.shape) // 2 * 2
    if side < 32:
        return None
    shares = [_cutoff(_tiles(lines, side)[:, ::2]) for lines in (gray, cv2.transpose(gray))]
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None


def _tiles(gray: Gray, side: int) -> NDArray[np.float32]:
    """Whole tiles [n, side, side] of a picture from its upper left corner."""
    rows, columns = (n // side for n in gray.shape)
    cut = gray[: rows * side, : columns * side].astype(np.float32)
    return cut.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)


def _cutoff(tiles: NDArray[np.float32]) -> float | None:
    """``detail`` along the last axis of tiles [n, lines, samples]."""
    count, _, side = tiles.shape
    window = np.hanning(side).astype(np.float32)
    frequency = np.linspace(0, 1, side // 2 + 1)
    weight = np.where(frequency < 0.05, 0, frequency**2)
    level = tiles - tiles.mean(2, keepdims=True)
    power = _power(level * window).mean(1) / (window**2).sum()
    energy = power @ weight
    order = np.argsort(energy)
    calm = power[order[: max(1, round(0.1 * count))]].mean(0)
    # Where even the calmest tile is full of detail, its spectrum is no noise.
    floor = 2 * calm if calm @ weight < 0.3 * np.median(energy) else 0 * calm
    first = count // 2
    busy = power[order[first : max(first + 1, math.ceil(0.9 * count))]]
    clean = np.maximum(0, busy - floor - ROUNDING) * weight
    clean = clean[clean.sum(1) > 1]
    if not len(clean):
        return None
    running = np.cumsum(clean, 1) / clean.sum(1, keepdims=True)
    return float(np.median(frequency[(running < 0.9).sum(1)]))


def _power(lines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Power spectra along the last axis, which is even, [..., n] to [..., n / 2 + 1]."""
    import cv2

    side = lines.shape[-1]
    packed = cv2.dft(lines.reshape(-1, side), flags=cv2.DFT_ROWS)  # re 0, re 1, im 1, ... re n / 2
    np.square(packed, out=packed)
    ends, pairs = packed[:, [0, -1]], packed[:, 1:-1]
    inside = pairs[:, ::2] + pairs[:, 1::2]
    power = np.concatenate([ends[:, :1], inside, ends[:, 1:]], axis=1)
    return power.reshape(*lines.shape[:-1], -1)


def active_box(grays: NDArray[np.uint8]) -> list[float]:
    """The picture inside its bars, [x0, y0, x1, y1] 0..1, from luma [n, height, width].

    Pictures without contrast (black ones of a fade, say) have no voice.
    """
    lit = grays[[bool(np.ptp(y) > 16) for y in grays]]
    _, height, width = grays.shape
    top, bottom, left, right = 0, 0, 0, 0
    if len(lit):
        top, bottom = _bar(lit), _bar(lit[:, ::-1])
        core = lit[:, top : height - bottom]
        left = _bar(core.transpose(0, 2, 1))
        right = _bar(core[:, :, ::-1].transpose(0, 2, 1))
    return [left / width, top / height, 1 - right / width, 1 - bottom / height]


def _bar(grays: NDArray[np.uint8]) -> int:
    """Rows from the top that are bar in every picture [n, height, width]; 0 without a bar."""
    height = grays.shape[1]
    for even in (_dark, _bright):
        rows = _leading(grays, even)
        if 0.01 * height <= rows <= 0.45 * height:
            # The first row of the picture may be half bar: look two rows on.
            step = np.abs(grays[:, min(rows + 2, height - 1)].astype(int) - grays[:, rows - 1])
            if np.quantile((step >= 8).mean(1), 0.75) >= BAR_EDGE:
                return rows
    return 0


def _leading(grays: NDArray[np.uint8], even: Callable[[Gray], NDArray[np.bool_]]) -> int:
    """Rows from the top that are all ``even``; most pictures have none, and no others are looked at."""
    for first in range(0, grays.shape[1], 16):
        passed = even(grays[:, first : first + 16])
        if not passed.all():
            return first + int(np.argmin(passed))
    return int(grays.shape[1])


def _dark(grays: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which rows are black in every picture; two fifths may carry a caption that stands on the bar."""
    return np.asarray(np.percentile(grays, 60, axis=2).max(0) <= BLACK + 7)


def _bright(grays: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The same for white."""
    return np.asarray(np.percentile(grays, 40, axis=2).min(0) >= WHITE - 4)
