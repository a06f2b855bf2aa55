"""Pitch of the voice, for every analyzer that listens to how something is said."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tiktok_ray import spans
from tiktok_ray.media import AUDIO_RATE

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
    minute on one core; the first call on a machine also compiles (5 s).
    """
    import librosa

    times, pitches = [np.zeros(0)], [np.zeros(0)]
    for start, end in spans.union(speech):
        for first in np.arange(start, end, PIECE_S):
            piece = samples[
                round(first * AUDIO_RATE) : round(min(first + PIECE_S, end) * AUDIO_RATE)
            ]
            if len(piece) < HOP:
                continue
            hz, _, _ = librosa.pyin(
                piece,
                fmin=MIN_HZ,
                fmax=MAX_HZ,
                sr=AUDIO_RATE,
                frame_length=FRAME,
                hop_length=HOP,
                resolution=0.2,
            )
            hz[(hz < MIN_HZ * 1.01) | (hz > MAX_HZ / 1.01)] = np.nan
            times.append(first + np.arange(len(hz)) * HOP / AUDIO_RATE)
            pitches.append(hz)
    return np.concatenate(times), np.concatenate(pitches)
