"""Fundamental frequency by pYIN, using only numpy and scipy.

Mauch and Dixon 2014, over the difference function of YIN (de Cheveigné and Kawahara 2002), with
the parameters of the authors' software. It agrees with librosa's, which compiles for seconds at
its first use on a machine and takes 100 MB more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

THRESHOLDS, BETA = 100, (2, 18)
BOLTZMANN = 2.0
NO_TROUGH = 0.01
SWITCH = 0.01
OCTAVES_PER_S = 35.92
BLOCK = 512


class PitchGrid(NamedTuple):
    """What is told apart: ``bins`` pitches from ``low`` Hz up, ``per_semitone`` of them each."""

    low: float
    per_semitone: int
    bins: int

    @property
    def hz(self) -> Array:
        return np.asarray(self.low * 2 ** (np.arange(self.bins) / (12 * self.per_semitone)))


def pyin(
    samples: Array, rate: int, low: float, high: float, *, frame: int, hop: int, resolution: float
) -> Array:
    """Pitch in Hz [n], NaN where unvoiced; value k is that of ``frame`` samples about k * hop.

    ``low`` and ``high`` bound it in Hz, ``resolution`` is its step in semitones.
    """
    per_semitone = int(np.ceil(1 / resolution))
    bins = int(12 * per_semitone * np.log2(high / low)) + 1
    grid = PitchGrid(low, per_semitone, bins)
    shortest, longest = int(rate / high), min(int(np.ceil(rate / low)), frame - 1)
    padded = np.pad(np.asarray(samples, float), frame // 2)
    rows = np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop]
    voiced = np.zeros((len(rows), bins))
    prior = threshold_chances()
    for first in range(0, len(rows), BLOCK):
        difference = normalised_difference(rows[first : first + BLOCK], longest)
        for k, row in enumerate(difference[:, shortest:], start=first):
            lags, chances = candidates(row, prior)
            where = np.log2(rate / (shortest + lags) / low) * 12 * per_semitone
            voiced[k, np.clip(np.round(where), 0, bins - 1).astype(int)] = chances
    reach = round(OCTAVES_PER_S * 12 * hop / rate) * per_semitone // 2
    path = most_likely(voiced, reach)
    return np.where(path >= 0, grid.hz[path], np.nan)


def normalised_difference(rows: Array, longest: int) -> Array:
    """YIN's cumulative mean normalised difference [n, longest + 1] of frames [n, samples]."""
    import scipy.fft

    size = scipy.fft.next_fast_len(2 * rows.shape[1])
    spectrum = scipy.fft.rfft(rows, size, axis=1)
    products = scipy.fft.irfft(np.abs(spectrum) ** 2, size, axis=1)[:, : longest + 1]
    energy = np.cumsum(rows**2, axis=1)[:, :longest]
    difference = np.zeros_like(products)
    difference[:, 1:] = 2 * (products[:, :1] - products[:, 1:]) - energy
    lags = np.arange(1, longest + 1)
    mean = np.cumsum(difference[:, 1:], axis=1) / lags
    difference[:, 1:] /= mean + np.finfo(float).tiny
    return np.asarray(difference)


_EDGES = np.linspace(0, 1, THRESHOLDS + 1)


def threshold_chances() -> Array:
    """Prior of each threshold: a beta distribution in steps."""
    from scipy.special import betainc

    return np.asarray(np.diff(betainc(*BETA, _EDGES)))


def candidates(difference: Array, prior: Array) -> tuple[Array, Array]:
    """Lags of the troughs, between samples, and the chance that each is the period.

    Every threshold votes for the troughs under it, the earlier the more; with none under it, a
    little for the deepest.
    """
    inner = (difference[1:-1] < difference[:-2]) & (difference[1:-1] <= difference[2:])
    ends = difference[0] < difference[1], difference[-1] < difference[-2]
    troughs = np.flatnonzero(np.concatenate([ends[:1], inner, ends[1:]]))
    if not len(troughs):
        return np.zeros(0), np.zeros(0)
    under = difference[troughs][:, None] < _EDGES[None, 1:]
    order = np.cumsum(under, axis=0) - 1
    weight = np.exp(-BOLTZMANN * order) * (1 - np.exp(-BOLTZMANN))
    weight /= 1 - np.exp(-BOLTZMANN * np.maximum(under.sum(0), 1))
    chances = (weight * under) @ prior
    deepest = int(np.argmin(difference[troughs]))
    chances[deepest] += NO_TROUGH * prior[: np.count_nonzero(~under[deepest])].sum()
    return troughs + between(difference, troughs), chances


def between(series: Array, at: Array) -> Array:
    """How far beside each index the parabola through it has its vertex; 0 at the ends."""
    inside = np.clip(at, 1, len(series) - 2)
    left, middle, right = series[inside - 1], series[inside], series[inside + 1]
    bend, lean = left + right - 2 * middle, (right - left) / 2
    good = (np.abs(lean) < np.abs(bend)) & (inside == at)
    return np.asarray(np.where(good, -lean / np.where(good, bend, 1.0), 0.0))


def most_likely(voiced: Array, reach: int) -> Array:
    """The path through chances [n, bins] of each pitch: bins [n], -1 where unvoiced (Viterbi).

    From one value to the next the pitch moves by at most ``reach`` bins, less likely the farther,
    and now and then the voice begins or ends.
    """
    count, bins = voiced.shape
    tiny = np.finfo(float).tiny
    unvoiced = np.log((1 - np.clip(voiced.sum(1), 0, 1)) / bins + tiny)
    seen = np.log(voiced + tiny)
    weight = 1 - np.abs(np.arange(-reach, reach + 1)) / (reach + 1)
    near = np.log(weight)
    mass = np.log(np.convolve(np.ones(bins), weight)[reach : reach + bins])
    stay, switch = np.log(1 - SWITCH), np.log(SWITCH)
    best = np.log(np.full((2, bins), 1 / (2 * bins)))
    best[0] += seen[0]
    best[1] += unvoiced[0]
    links = np.zeros((count, 2, bins), np.int32)
    room = np.full((2, bins + 2 * reach), -np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(room, 2 * reach + 1, axis=1)
    bin_numbers = np.arange(bins)
    for t in range(1, count):
        kept, changed = best + stay, best[::-1] + switch
        room[:, reach : reach + bins] = np.maximum(kept, changed) - mass
        moved = windows + near
        step = moved.argmax(2)
        origin = bin_numbers + step - reach
        other = np.take_along_axis(changed > kept, origin, 1)
        links[t] = np.where(other, -1 - origin, origin)
        best = np.take_along_axis(moved, step[:, :, None], 2)[:, :, 0]
        best[0] += seen[t]
        best[1] += unvoiced[t]
    side, at = divmod(int(best.argmax()), bins)
    path = np.full(count, -1)
    for t in range(count - 1, -1, -1):
        path[t] = at if side == 0 else -1
        link = int(links[t, side, at])
        side, at = (1 - side, -1 - link) if link < 0 else (side, link)
    return path
