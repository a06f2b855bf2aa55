"""Onsets, tempo and beats, from the band levels of a sound (100 frames a second)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.methods.audio.spectra import frame_times

Array = NDArray[Any]

#: Levels farther under the loudest band count as this far under it.
DYNAMIC_DB = 60.0
#: The onset strength runs ahead of the sound: half a frame sees it coming.
ONSET_LATENCY_S, ONSET_RISE_DB = 0.010, 4.0
CLARITY_MIN, CLARITY_SECONDS, SUPPORT_MIN = 0.2, 2.5, 0.3


class Pulse(NamedTuple):
    """A tempo in beats per minute, how clear it is (0..1), and the times of its beats.

    ``support``: share of the beats within 50 ms of an onset. ``alternative_bpm``: the next best
    reading at least half as clear.
    """

    bpm: float
    clarity: float
    support: float
    alternative_bpm: float | None
    beats: list[float]


def onset_strength(bands: Array) -> Array:
    """Mean rise of the band levels over 20 ms, in dB [n]; levels under -60 dB of the top count as
    such."""
    levels = np.maximum(bands, bands.max() - DYNAMIC_DB)
    strength = np.zeros(len(levels))
    strength[1:-1] = np.maximum(0, levels[2:] - levels[:-2]).mean(1)
    return strength


def onset_times(strength: Array) -> list[float]:
    """Peaks of the onset strength: highest within 40 ms, and 4 dB above the mean of 300 ms."""
    from scipy.ndimage import maximum_filter1d, uniform_filter1d

    peaks = (strength == maximum_filter1d(strength, 9)) & (
        strength > uniform_filter1d(strength, 31) + ONSET_RISE_DB
    )
    return [round(float(t), 3) for t in frame_times(len(strength))[peaks] + ONSET_LATENCY_S]


def autocorrelation(values: Array, longest: int) -> Array:
    """Normalised autocorrelation at lags 0 to ``longest``, unbiased; zeros if nothing varies."""
    import scipy.fft

    values = values - values.mean()
    count = len(values)
    size = scipy.fft.next_fast_len(2 * count)
    raw = scipy.fft.irfft(np.abs(scipy.fft.rfft(values, size)) ** 2, size)[: longest + 1]
    if raw[0] <= 1e-12:
        return np.zeros(longest + 1)
    return np.asarray(raw / raw[0] * count / (count - np.arange(len(raw))))


def _summit(series: Array, at: int) -> tuple[float, float]:
    """Place and height of the parabola through a peak and its neighbours."""
    left, middle, right = series[at - 1 : at + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return at + shift, float(middle - 0.25 * (left - right) * shift)


def find_pulse(strength: Array, onsets: list[float], heard_s: float) -> Pulse | None:
    """Tempo and beats of an onset strength of 100 values a second, or None without a pulse."""
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(strength, 1.5)
    series = autocorrelation(smooth, min(len(smooth) // 2, 800))
    readings = tempo_readings(series)
    if not readings or heard_s <= 0:
        return None
    best = readings[0]
    for reading in readings:
        double = abs(best.period / reading.period - 2) < 0.06
        if double and reading.period >= 30 and reading.height >= 0.9 * best.height:
            best = reading
    period, clarity = sharpened(series, best.period)
    if clarity < max(CLARITY_MIN, CLARITY_SECONDS / heard_s):
        return None
    beats = frame_times(len(smooth))[track_beats(smooth, period)] + ONSET_LATENCY_S
    near = np.abs(beats[:, None] - np.array(onsets or [np.inf])[None]).min(1) <= 0.05
    if near.mean() < SUPPORT_MIN:
        return None
    rest = [r for r in readings if r is not best and r.height >= 0.5 * best.height]
    return Pulse(
        bpm=float(6000 / period),
        clarity=clarity,
        support=float(near.mean()),
        alternative_bpm=float(6000 / rest[0].period) if rest else None,
        beats=[round(float(t), 3) for t in beats],
    )


class Reading(NamedTuple):
    """A peak of the autocorrelation: its weighted height, its height, its lag in samples."""

    weighted: float
    height: float
    period: float


def tempo_readings(series: Array) -> list[Reading]:
    """Peaks between 40 and 240 bpm, best first, weighted by the preference for 120 bpm."""
    found = []
    for lag in range(25, min(151, len(series) - 1)):
        if series[lag] > 0.05 and series[lag - 1] < series[lag] >= series[lag + 1]:
            period, height = _summit(series, lag)
            weight = float(np.exp(-0.5 * np.log2(period / 50.0) ** 2))
            found.append(Reading(height * weight, height, period))
    return sorted(found, reverse=True)


def sharpened(series: Array, period: float) -> tuple[float, float]:
    """The period found again at up to four times its length, and the mean height of the peaks."""
    heights = []
    for beats in range(1, 5):
        lag = round(period * beats)
        if lag + 2 >= len(series):
            break
        lag += int(np.argmax(series[lag - 1 : lag + 2])) - 1
        heights.append(series[lag])
        if series[lag - 1] < series[lag] >= series[lag + 1]:
            period = _summit(series, lag)[0] / beats
    return period, float(np.clip(np.mean(heights), 0, 1)) if heights else 0.0


def track_beats(strength: Array, period: float) -> list[int]:
    """Indices of the beats that fit onset strength [n] and period (in samples) best: Ellis 2007."""
    score = strength / max(float(strength.std()), 1e-9)
    back = np.arange(-round(2 * period), -round(period / 2) + 1)
    cost = -100.0 * np.log(-back / period) ** 2
    best, link = score.copy(), np.full(len(score), -1)
    for t in range(-int(back[-1]), len(score)):
        low = max(0, -int(back[0]) - t)
        chain = best[t + back[low] : t + back[-1] + 1] + cost[low:]
        k = int(chain.argmax())
        if chain[k] > 0:
            best[t] += chain[k]
            link[t] = t + back[low] + k
    at = int(np.argmax(best))
    beats = []
    while at >= 0:
        beats.append(at)
        at = int(link[at])
    return beats[::-1]
