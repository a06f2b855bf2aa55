"""Boxes of text lines from a detector's heat map: the post-processing of Differentiable Binarization.

Liao et al., AAAI 2020, as in RapidOCR, box for box: importing RapidOCR brings a second of other
libraries along.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Heat from which on a pixel is text, least mean heat of a line, and most lines.
TEXT, LINE, MOST = 0.3, 0.5, 1000
#: The detector learnt shrunk lines: they grow by this times their area over their circumference.
GROWTH = 1.6
#: Least sides of a line in pixels: of the heat map before and after it grew, and of the picture.
LEAST, LEAST_GROWN, LEAST_SHOWN = 3, 5, 4


def text_boxes(heat: NDArray[np.float32], width: int, height: int) -> NDArray[np.float64]:
    """Corners of the lines in pixels of a picture [n, 4, 2]: top left, top right, then clockwise.

    ``heat``: [rows, columns], 0..1, over the whole picture.
    """
    import cv2

    rows, columns = heat.shape
    mask = cv2.dilate((heat > TEXT).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour in contours[:MOST]:
        corners, side = _rectangle(contour)
        if side < LEAST or _mean(heat, corners) < LINE:
            continue
        corners, side = _rectangle(_grown(corners))
        if side < LEAST_GROWN:
            continue
        shown = np.round(corners / (columns, rows) * (width, height)).clip(0, (width, height))
        box = _clockwise(shown).clip(0, (width - 1, height - 1))
        sides = np.linalg.norm(box[0] - box[[1, 3]], axis=1)
        if sides.min() >= LEAST_SHOWN:
            found.append(box)
    return np.array(found, np.float64).reshape(-1, 4, 2)


def _rectangle(points: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """The smallest rectangle about points: its corners as in ``text_boxes``, and its short side."""
    import cv2

    whole = cv2.minAreaRect(points)
    one, two, three, four = sorted(cv2.boxPoints(whole), key=lambda point: float(point[0]))
    left = sorted((two, one), key=lambda point: float(point[1]))
    right = sorted((four, three), key=lambda point: float(point[1]))
    return np.array([left[0], right[0], right[1], left[1]]), min(whole[1])


def _mean(heat: NDArray[np.float32], corners: NDArray[np.float32]) -> float:
    """Mean heat inside a rectangle."""
    import cv2

    most = np.array(heat.shape[::-1]) - 1
    low = np.floor(corners.min(0)).astype(int).clip(0, most)
    high = np.ceil(corners.max(0)).astype(int).clip(0, most)
    part = heat[low[1] : high[1] + 1, low[0] : high[0] + 1]
    mask = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(mask, [(corners - low.astype(np.float32)).astype(np.int32)], (1.0,))
    return float(cv2.mean(part, mask)[0])


def _grown(corners: NDArray[np.float32]) -> NDArray[np.int32]:
    """Points of a rectangle moved outward, its corners rounded."""
    import pyclipper

    exact = corners.astype(np.float64)
    after = np.roll(exact, -1, axis=0)
    area = abs((exact[:, 0] * after[:, 1] - exact[:, 1] * after[:, 0]).sum()) / 2
    length = np.linalg.norm(after - exact, axis=1).sum()
    offset = pyclipper.PyclipperOffset()
    offset.AddPath(corners, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    return np.array(offset.Execute(GROWTH * area / length), np.int32).reshape(-1, 1, 2)


def _clockwise(corners: NDArray[Any]) -> NDArray[np.float64]:
    """Corners in order, after rounding may have changed it."""
    order = corners[np.argsort(corners[:, 0], kind="stable")]
    left = order[:2][np.argsort(order[:2, 1], kind="stable")]
    right = order[2:][np.argsort(order[2:, 1], kind="stable")]
    return np.array([left[0], right[0], right[1], left[1]], np.float64)
