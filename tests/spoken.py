"""A voice of known words and times for the tests, and pitched sound."""

from collections.abc import Iterable, Sequence
from math import gcd

import numpy as np
import pytest
from numpy.typing import NDArray

from tiktok_ray.demo.speech_synthesis import SpokenWord, utter
from tiktok_ray.media import AUDIO_RATE, Speech
from tiktok_ray.media.spans import Span

Samples = NDArray[np.float32]


def speech_of(*pairs: tuple[float, float]) -> Speech:
    """The speech track with these spans."""
    return Speech(tuple(Span(*pair) for pair in pairs))


def buzz(seconds: float, hz: float = 200.0, level: float = 0.1, harmonics: int = 8) -> Samples:
    """A pitched sound with falling harmonics; ``level`` is its root mean square."""
    t = np.arange(round(seconds * AUDIO_RATE)) / AUDIO_RATE
    whole = np.sum([np.sin(2 * np.pi * hz * k * t + k) / k for k in range(1, harmonics + 1)], 0)
    return np.asarray(level * whole / np.sqrt(np.mean(whole**2)), np.float32)


def said(
    parts: Iterable[tuple[float, str]], seconds: float, language: str = "en", **voice: int
) -> tuple[Samples, list[SpokenWord]]:
    """16 kHz sound in which each text is spoken from its time on; and the words with their times.

    The voice is about 20 dB under full scale. Skips the test where there is no voice.
    """
    pytest.importorskip("espeakng_loader", reason="needs the demo extra")
    from scipy.signal import resample_poly

    sound = np.zeros(round(seconds * AUDIO_RATE), np.float32)
    words = []
    for start, text in parts:
        spoken = utter(text, language, **voice)
        k = gcd(AUDIO_RATE, spoken.rate)
        piece = 0.6 * resample_poly(spoken.samples, AUDIO_RATE // k, spoken.rate // k)
        at = round(start * AUDIO_RATE)
        piece = piece[: len(sound) - at]
        sound[at : at + len(piece)] += piece
        words += [SpokenWord(w.text, w.start + start, w.end + start) for w in spoken.words]
    return sound, words


class Timbre:
    """Stands for a model of voices: a direction for each band in which a sound is strongest."""

    def embed(self, pieces: Sequence[Samples]) -> Samples:
        made = np.zeros((len(pieces), 64), np.float32)
        for k, piece in enumerate(pieces):
            hz = np.abs(np.fft.rfft(piece)).argmax() * AUDIO_RATE / len(piece)
            made[k, min(63, int(hz // 40))] = 1.0
        return made
