"""Pitch of the voice and of other sound, for analyzers of delivery."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import AUDIO_RATE, spans
from tiktok_ray.methods.audio.pyin import pyin

MIN_HZ, MAX_HZ = 65.0, 600.0
FRAME, HOP = 2048, 320
HOP_S = HOP / AUDIO_RATE
PIECE_S = 20.0


def pitch_track(
    samples: NDArray[np.float32], speech: Iterable[tuple[float, float]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pitch within spans of 16 kHz sound, every 20 ms: times [n] in seconds, Hz [n], NaN unvoiced.

    pYIN (Mauch and Dixon 2014), 65 to 600 Hz in steps of a fifth of a semitone, over 128 ms. What
    lies at either limit is taken for unvoiced: there hum and rumble end up. Takes about 1 s a
    minute on one core.
    """
    times, pitches = [np.zeros(0)], [np.zeros(0)]
    for start, end in spans.union(speech):
        for first in np.arange(start, end, PIECE_S):
            piece = samples[
                round(first * AUDIO_RATE) : round(min(first + PIECE_S, end) * AUDIO_RATE)
            ]
            if len(piece) < HOP:
                continue
            hz = pyin(piece, AUDIO_RATE, MIN_HZ, MAX_HZ, frame=FRAME, hop=HOP, resolution=0.2)
            hz[(hz < MIN_HZ * 1.01) | (hz > MAX_HZ / 1.01)] = np.nan
            times.append(first + np.arange(len(hz)) * HOP / AUDIO_RATE)
            pitches.append(hz)
    return np.concatenate(times), np.concatenate(pitches)


def harmonicity(
    samples: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How strongly 16 kHz sound repeats itself, every 20 ms: times [n] in seconds, values [n] 0..1.

    The highest peak of the autocorrelation divided by that of the window (Boersma 1993, "Accurate
    short-term analysis of the fundamental frequency"), over 64 ms, lags of 60 to 500 Hz, above
    100 Hz. Voices and instruments come near 1, noise of any colour stays under 0.4.
    """
    size = 1024
    if len(samples) < size:
        return np.zeros(0), np.zeros(0)
    above = _above(samples, 100.0)
    frames = np.lib.stride_tricks.sliding_window_view(above, size)[::HOP]
    window = np.hanning(size + 2)[1:-1]
    own = _autocorrelation(window)
    shortest, longest = AUDIO_RATE // 500, AUDIO_RATE // 60
    values = []
    for block in np.array_split(frames, -(-len(frames) // 500)):
        found = _autocorrelation((block - block.mean(1, keepdims=True)) * window)
        ratio = found / np.maximum(found[:, :1], 1e-9) / (own / own[0])
        middle = ratio[:, shortest : longest + 1]
        before, after = ratio[:, shortest - 1 : longest], ratio[:, shortest + 1 : longest + 2]
        values.append(np.where((middle >= before) & (middle >= after), middle, 0.0).max(1))
    times = (np.arange(len(frames)) * HOP + size / 2) / AUDIO_RATE
    return times, np.clip(np.concatenate(values), 0.0, 1.0)


def _above(samples: NDArray[np.float32], hz: float) -> NDArray[np.float64]:
    """16 kHz sound without what is below a frequency: a Butterworth filter of first order, run
    forwards and backwards, as a product of spectra (importing ``scipy.signal`` takes 0.6 CPU seconds)."""
    beyond = AUDIO_RATE // 16
    padded = np.pad(samples.astype(np.float64), beyond, "reflect", reflect_type="odd")
    warped = np.tan(np.pi * np.fft.rfftfreq(len(padded))) ** 2
    gain = warped / (warped + np.tan(np.pi * hz / AUDIO_RATE) ** 2)
    filtered = np.fft.irfft(np.fft.rfft(padded) * gain, len(padded))
    result: NDArray[np.float64] = filtered[beyond:-beyond]
    return result


def _autocorrelation(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Along the last axis, for lags from 0 to a third of its length."""
    size = rows.shape[-1]
    power = np.abs(np.fft.rfft(rows, 2 * size)) ** 2
    result: NDArray[np.float64] = np.fft.irfft(power)[..., : size // 3]
    return result
