"""Whether a confidence means what it says: the reliability curve and its mean gap, ECE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.accuracy import Clips, Figure, Samples, interval

BINS = 10
ENOUGH = 60  # pairs from which on a half of them can be fitted
HALVES = ("ECE of one half", "ECE of it, calibrated on the other")


def ece(some: Samples) -> float:
    """Expected calibration error of rows of confidence, 0..1, and right, 0 or 1.

    Mean over ten equal bins, weighted by what lies in them, of the gap between mean confidence and
    share right (Naeini, Cooper and Hauskrecht, 2015).
    """
    bins = np.minimum((some[:, 0] * BINS).astype(int), BINS - 1)
    sums = np.stack([np.bincount(bins, some[:, k], BINS) for k in (0, 1)])
    return float(np.abs(sums[0] - sums[1]).sum() / len(some))


def calibration(
    pairs: Sequence[tuple[float, bool]],
    what: str,
    condition: str,
    clips: Clips,
    unit: str = "texts",
) -> Iterator[Figure]:
    """ECE, its sign (mean confidence less share right), and the curve of the bins that are filled."""
    some = np.array(pairs, float)
    low, high = interval(some, ece)
    yield Figure("ECE", what, condition, clips, len(some), ece(some), low, high, unit=unit)
    gap = float((some[:, 0] - some[:, 1]).mean())
    low, high = interval(some[:, 0] - some[:, 1])
    yield Figure(
        "confidence less share right", what, condition, clips, len(some), gap, low, high, unit=unit
    )
    if len(some) >= ENOUGH:
        for name, value in zip(HALVES, isotonic(pairs), strict=True):
            yield Figure(name, what, condition, clips, len(some) // 2, value, unit=unit)
    bins = np.minimum((some[:, 0] * BINS).astype(int), BINS - 1)
    for k in np.unique(bins).tolist():
        right = some[bins == k, 1]
        low, high = interval(right, bounds=(0, 1))
        yield Figure(
            f"right at confidence {k / BINS:.1f}–{(k + 1) / BINS:.1f}", what, condition, clips,
            len(right), float(right.mean()), low, high, unit=unit,
        )  # fmt: skip


def isotonic(pairs: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """ECE of the half at odd places before and after calibration on the half at even ones.

    Isotonic regression (Zadrozny and Elkan, 2002).
    """
    from sklearn.isotonic import IsotonicRegression

    some = np.array(pairs, float)
    fitted, tested = some[::2], some[1::2]
    fit = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(fitted[:, 0], fitted[:, 1])
    mended = np.column_stack([fit.predict(tested[:, 0]), tested[:, 1]])
    return ece(tested), ece(mended)
