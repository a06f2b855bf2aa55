"""Peaks of a curve, as ``scipy.signal.find_peaks`` finds them: importing that takes 0.6 CPU seconds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Peak(NamedTuple):
    """A peak: its index, and where on either side the curve has fallen by half its prominence."""

    at: int
    left: float
    right: float


def find_peaks(curve: Floats, *, height: float, prominence: float) -> list[Peak]:
    """Peaks of a curve [n ≥ 1] of at least this height that stand out by at least this prominence.

    A peak is higher than both neighbours, or the middle of a level stretch that is. Its prominence
    is its height over the higher of the two lowest points before the curve rises above it, or ends.
    """
    changes = np.flatnonzero(np.diff(curve)) + 1
    starts, ends = np.r_[0, changes], np.r_[changes, len(curve)] - 1
    levels = curve[starts]
    tops = np.flatnonzero((levels[1:-1] > levels[:-2]) & (levels[1:-1] > levels[2:])) + 1
    found = []
    for top in tops.tolist():
        at, level = int(starts[top] + ends[top]) // 2, levels[top]
        if level < height:
            continue
        before, after = curve[:at][::-1], curve[at + 1 :]
        before, after = (side[: _first(side > level)] for side in (before, after))
        stands_out = float(level - max(before.min(), after.min()))
        if stands_out >= prominence:
            half = level - stands_out / 2
            left, right = (_crossing(np.r_[level, side], half) for side in (before, after))
            found.append(Peak(at, at - left, at + right))
    return found


def _first(flags: NDArray[np.bool_]) -> int:
    """Index of the first true flag; their number where none is."""
    return int(flags.argmax()) if flags.any() else len(flags)


def _crossing(falling: Floats, level: float) -> float:
    """How far along a curve that begins above a level it reaches it, linearly interpolated; its last
    index where it does not."""
    below = _first(falling <= level)
    if below == len(falling):
        return float(below - 1)
    rise, rest = falling[below - 1] - falling[below], level - falling[below]
    return below - float(rest / rise)
