"""Figures from what was counted, clip by clip: means, shares of sums, F1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.accuracy import DRAWS, Clips, Figure, Samples, interval

NOTHING = "nothing to count"


def ratio(some: Samples) -> float:
    """The first column over the second, summed over clips."""
    total = float(some[:, 1].sum())
    return float(some[:, 0].sum()) / total if total else float("nan")


def f1(some: Samples) -> float:
    """F1 of columns: right, wrongly found, missed; summed over clips."""
    right, wrong, missed = some.sum(0).tolist()
    return 2 * right / (2 * right + wrong + missed) if right + wrong + missed else float("nan")


def share_figure(
    measure: str, of: str, condition: str, rows: Sequence[tuple[float, float]], *,
    clips: Clips = "factory", **more: Any,
) -> Figure:  # fmt: skip
    """A ratio of sums over clips, with its interval; not measured where there is nothing to count."""
    some = np.array(rows, float).reshape(-1, 2)
    if not some[:, 1].sum():
        return _nothing(measure, of, condition, clips, len(some), more)
    low, high = interval(some, ratio, (0, 1))
    return Figure(measure, of, condition, clips, len(some), ratio(some), low, high, **more)


def f1_figure(
    measure: str, of: str, condition: str, rows: Sequence[tuple[float, float, float]], *,
    clips: Clips = "factory", **more: Any,
) -> Figure:  # fmt: skip
    """F1 over clips of what was rightly found, wrongly found and missed in each."""
    some = np.array(rows, float).reshape(-1, 3)
    if not some.sum():
        return _nothing(measure, of, condition, clips, len(some), more)
    low, high = interval(some, f1, (0, 1))
    return Figure(measure, of, condition, clips, len(some), f1(some), low, high, **more)


def mean_figure(
    measure: str, of: str, condition: str, values: Sequence[float], *,
    clips: Clips = "factory", bounds: tuple[float, float] | None = None, **more: Any,
) -> Figure:  # fmt: skip
    """A mean of one value a clip; not measured where there is none."""
    some = np.array(values, float)
    if not len(some):
        return _nothing(measure, of, condition, clips, 0, more)
    low, high = interval(some, bounds=bounds)
    return Figure(measure, of, condition, clips, len(some), float(some.mean()), low, high, **more)


def median_figure(
    measure: str, of: str, condition: str, groups: Sequence[Sequence[float]], *,
    quantile: float = 0.5, clips: Clips = "factory", **more: Any,
) -> Figure:  # fmt: skip
    """A median (or another quantile) over all values of all clips, whole clips drawn; n counts the
    values.
    """
    filled = [np.asarray(one, float) for one in groups if len(one)]
    if not filled:
        return _nothing(measure, of, condition, clips, 0, more)
    rng, whole = np.random.default_rng(0), np.concatenate(filled)
    draws = [
        np.quantile(
            np.concatenate([filled[k] for k in rng.integers(0, len(filled), len(filled))]), quantile
        )
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(draws, (2.5, 97.5)).tolist()
    value = float(np.quantile(whole, quantile))
    return Figure(measure, of, condition, clips, len(whole), value, low, high, **more)


def _nothing(
    measure: str, of: str, condition: str, clips: Clips, n: int, more: dict[str, Any]
) -> Figure:
    kept = {key: value for key, value in more.items() if key not in ("least", "most")}
    return Figure(measure, of, condition, clips, n, None, reason=NOTHING, **kept)


def groups(known: Sequence[tuple[str, Any]]) -> dict[str, list[Any]]:
    """What was counted, by condition: that of all first, then each."""
    told: dict[str, list[Any]] = {"all": [one for _, one in known]}
    for condition, one in known:
        told.setdefault(condition, []).append(one)
    return told
