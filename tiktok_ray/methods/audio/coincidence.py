"""Tests whether instants coincide with marks, such as cuts with beats, more closely than by chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

#: Instants and marks needed, and how often chance is tried.
LEAST_INSTANTS, LEAST_MARKS, DRAWS = 4, 8, 19_999
#: Draws made at a time, to bound the memory.
BLOCK = 1000
#: An interval this many times as long as the median one is a gap between marks.
GAP = 1.75
#: How near counts as on a mark: the window of beat tracking evaluation (Davies et al. 2009).
NEAR_S = 0.07


class Coincidence(NamedTuple):
    """How closely instants coincide with marks.

    ``distances``: seconds from each instant tested to the mark nearest to it, parallel to
    ``instants``. ``expected_s``: mean of their mean by chance. ``p_value``: how often chance is at
    least as close.
    """

    instants: list[float]
    distances: list[float]
    expected_s: float
    p_value: float

    @property
    def mean_s(self) -> float:
        return sum(self.distances) / len(self.distances)

    @property
    def near(self) -> list[float]:
        """The instants at most ``NEAR_S`` from a mark."""
        return [t for t, d in zip(self.instants, self.distances, strict=True) if d <= NEAR_S + 1e-6]


def coincidence(instants: Sequence[float], marks: Sequence[float]) -> Coincidence | None:
    """Test instants against marks, both in seconds; None with fewer than 4 or 8 of them.

    Each instant is shifted round within the interval between the two marks about it, every one by
    an amount of its own, uniform over the interval (interval jitter, Amarasingham et al. 2012).
    That keeps how many instants lie where and breaks only their nearness to marks. The statistic
    is the mean distance to the nearest mark. The p-value is (1 + draws at least as close) / (1 +
    draws), so that it is never under 1 / 20,000. Instants outside the marks, or in a gap of theirs
    (1.75 times the median interval), are not tested.
    """
    grid = np.unique(np.asarray(marks, float))
    if len(grid) < LEAST_MARKS:
        return None
    lengths = np.diff(grid)
    times = np.sort(np.asarray(instants, float))
    # A mark may be known a little later than the instant on it: the ends get half an interval.
    half = float(np.median(lengths)) / 2
    ends = np.concatenate([[grid[0] - 2 * half], grid, [grid[-1] + 2 * half]])
    times = times[(times >= grid[0] - half) & (times < grid[-1] + half)]
    at = np.searchsorted(ends, times, side="right") - 1
    widths = np.diff(ends)[at]
    tested = widths <= GAP * 2 * half
    times, at, widths = times[tested], at[tested], widths[tested]
    if len(times) < LEAST_INSTANTS:
        return None
    offsets = times - ends[at]
    distances = np.minimum(offsets, widths - offsets)
    chance = np.random.default_rng(0)
    closer = 0
    for first in range(0, DRAWS, BLOCK):
        moved = chance.random((min(BLOCK, DRAWS - first), len(times))) * widths
        drawn = np.minimum(moved, widths - moved).mean(1)
        closer += int((drawn <= distances.mean() + 1e-9).sum())
    return Coincidence(
        instants=times.tolist(),
        distances=distances.tolist(),
        expected_s=float(widths.mean() / 4),
        p_value=(1 + closer) / (1 + DRAWS),
    )
