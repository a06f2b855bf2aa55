"""Loudness and silence, from the levels that the decoder measured at the file's own rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import LEVEL_STEP_S, Audio, spans
from tiktok_ray.media.spans import Span

Array = NDArray[Any]

#: How far about the limit of silence a level may hover, in dB.
MARGIN_DB = 3.0
#: How far under the loudness of the whole it must be to be silent, in LU.
UNDER_LU = 10.0


def fitted(levels: Array, duration: float) -> Array:
    """Steps of a level [k] made to last exactly ``duration`` seconds: cut, or padded with zeros."""
    steps = int(np.ceil(duration / LEVEL_STEP_S - 1e-6))
    return np.pad(levels[:steps], (0, max(0, steps - len(levels))))


def lufs(power: Array) -> Array:
    """Loudness of K-weighted mean squares; minus infinity where there is nothing."""
    with np.errstate(divide="ignore"):
        return np.asarray(-0.691 + 10 * np.log10(power))


def blocks(power: Array, steps: int) -> Array:
    """Mean power of every window of so many successive steps: [k - steps + 1], or empty."""
    if len(power) < steps:
        return np.zeros(0)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(power, steps).mean(1))


def windowed(power: Array, steps: int) -> list[float | None]:
    """Loudness of every such window in LUFS, None where it is minus infinity."""
    return [float(v) if np.isfinite(v) else None for v in lufs(blocks(power, steps))]


def gated(power: Array, below_mean: float) -> Array:
    """Blocks above -70 LUFS and above their mean loudness less ``below_mean`` LU."""
    power = power[lufs(power) > -70.0]
    if not len(power):
        return power
    return np.asarray(power[lufs(power) > lufs(power.mean()) - below_mean])


def integrated(power: Array) -> float | None:
    """Integrated loudness in LUFS of steps of 0.1 s (BS.1770-5), None under the gate."""
    kept = gated(blocks(power, 4), 10.0)
    return float(lufs(kept.mean())) if len(kept) else None


def loudness_range(power: Array) -> float | None:
    """Loudness range in LU of steps of 0.1 s (EBU Tech 3342), None for less than 6 s."""
    kept = gated(blocks(power, 30), 20.0)
    if len(kept) < 30:
        return None
    low, high = np.percentile(lufs(kept), (10, 95))
    return float(high - low)


def silent_spans(
    power: Array,
    audio: Audio,
    below: float,
    shortest: float,
    speech: Iterable[tuple[float, float]] = (),
) -> list[Span]:
    """Silences: runs of steps under ``below`` LUFS, their ends refined to 10 ms on the samples.

    A level that hovers about the limit is not cut into pieces: steps up to ``MARGIN_DB`` over it
    interrupt no run, and a run counts only if it lies ``MARGIN_DB`` under it on the whole. A
    quiet recording is not silent: the limit is at most ``UNDER_LU`` under its loudness. Where
    somebody speaks (``speech``) nothing is silent, however low the voice.
    """
    duration = audio.duration_s
    levels = lufs(power)
    loudness = integrated(power)
    if loudness is not None:
        below = min(below, loudness - UNDER_LU)
    times = np.arange(len(power)) * LEVEL_STEP_S
    found = []
    for run in spans.runs(times.tolist(), (levels < below + MARGIN_DB).tolist(), duration):
        first, last = round(run.start / LEVEL_STEP_S), round(run.end / LEVEL_STEP_S + 0.49)
        under = first + np.flatnonzero(levels[first:last] < below)
        if not len(under) or lufs(power[under[0] : under[-1] + 1].mean()) >= below - MARGIN_DB:
            continue
        edges = under[0] * LEVEL_STEP_S, min(duration, (under[-1] + 1) * LEVEL_STEP_S)
        found.append(Span(*_reached(audio, Span(*edges), below)))
    found = spans.intersect(found, [(0.0, duration)])
    return spans.longer(spans.subtract(found, speech), shortest)


def _reached(audio: Audio, span: Span, below: float) -> tuple[float, float]:
    """The span grown by up to 90 ms at each end as long as the samples stay under ``below`` dBFS."""
    size = audio.rate // 100
    limit = 10 ** (below / 10)

    def quiet(part: Array) -> int:
        squares = (part[: len(part) // size * size].astype(float) ** 2).reshape(-1, size).mean(1)
        loud = np.flatnonzero(squares >= limit)
        return int(loud[0]) if len(loud) else len(squares)

    before = audio.cut(span.start - 0.09, span.start) if span.start > 0.09 else np.zeros(0)
    after = audio.cut(span.end, span.end + 0.09)
    return span.start - quiet(before[::-1]) / 100, span.end + quiet(after) / 100
