"""Contrast of text against what it stands on, by WCAG 2.2."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Text covers at least this share of its box, and at most the rest.
LEAST_SHARE = 0.04


def luminance(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Relative luminance (WCAG 2.2) of sRGB pixels [..., 3]: [...], 0..1."""
    value = rgb.astype(float) / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ (0.2126, 0.7152, 0.0722))


def contrast_ratio(rgb: NDArray[np.uint8]) -> float | None:
    """Contrast ratio, 1..21, of the two tones that a box of text [h, w, 3] falls into.

    The tones are parted where the variance between them is largest (Otsu 1979); each counts with
    its median. None where one of them is next to nothing: there is no text to be seen.
    """
    if rgb.size == 0:
        return None
    tone = luminance(rgb).ravel()
    light = np.cbrt(tone)  # about as the eye sees it, so that dark tones are told apart too
    counts, edges = np.histogram(light, 64, (0.0, 1.0))
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    inside = (below > 0) & (above > 0)
    if not inside.any():
        return None
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    at = edges[int(np.argmax(np.where(inside, between, -1.0))) + 1]
    dark, bright = tone[light < at], tone[light >= at]
    if min(len(dark), len(bright)) < LEAST_SHARE * len(tone):
        return None
    return float((np.median(bright) + 0.05) / (np.median(dark) + 0.05))
