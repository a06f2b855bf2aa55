"""Made sounds whose truth is known, 16 kHz mono, and the ``Audio`` they come in."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import AUDIO_RATE, LEVEL_STEP_S, Audio, Levels
from tiktok_ray.media.spans import Span

Samples = NDArray[Any]


def audio_of(
    samples: Samples,
    present: Iterable[tuple[float, float]] | None = None,
    duration: float | None = None,
) -> Audio:
    """``Audio`` of 16 kHz mono samples, with zeros up to ``duration``, all of it read-only."""
    import pyloudnorm
    from scipy.signal import lfilter, resample_poly

    count = round((duration or 0) * AUDIO_RATE) or len(samples)
    mono = np.zeros(count, np.float32)
    mono[: len(samples)] = samples[:count]
    step = round(LEVEL_STEP_S * AUDIO_RATE)
    steps = -(-count // step)
    whole = np.zeros(steps * step)
    whole[:count] = mono
    weighted = whole
    for stage in pyloudnorm.Meter(AUDIO_RATE)._filters.values():
        weighted = lfilter(stage.b, stage.a, weighted)
    peak = np.abs(resample_poly(whole, 4, 1)).reshape(steps, -1).max(1) if steps else np.zeros(0)
    levels = Levels(
        power=(weighted**2).reshape(steps, step).mean(1),
        peak=peak,
        clipped=(np.abs(whole) >= 0.9999).reshape(steps, step).mean(1),
        rate=AUDIO_RATE,
        channels=1,
    )
    for array in (mono, levels.power, levels.peak, levels.clipped):
        array.flags.writeable = False
    spans = present if present is not None else [(0.0, len(samples) / AUDIO_RATE)]
    return Audio(mono, levels, tuple(Span(*s) for s in spans if s[1] > s[0]))


def read(path: Path) -> Samples:
    """The sound of a media file, 16 kHz mono."""
    import av

    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", AUDIO_RATE)
        frames: list[Any] = []
        for frame in container.decode(audio=0):
            frames += resampler.resample(frame)
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def seconds(count: float) -> Samples:
    """Times of so many seconds of samples."""
    return np.arange(round(count * AUDIO_RATE)) / AUDIO_RATE


def tone(hz: float, length: float, amplitude: float = 0.3) -> Samples:
    return amplitude * np.sin(2 * np.pi * hz * seconds(length))


def noise(length: float, amplitude: float = 0.1, seed: int = 0) -> Samples:
    return amplitude * np.random.default_rng(seed).standard_normal(round(length * AUDIO_RATE))


def silence(length: float) -> Samples:
    return np.zeros(round(length * AUDIO_RATE))


def placed(length: float, times: Iterable[float], sound: Samples) -> Samples:
    """``sound`` begun at each of the times."""
    whole = np.zeros(round(length * AUDIO_RATE) + len(sound))
    for t in times:
        start = round(t * AUDIO_RATE)
        if start < len(whole) - len(sound):
            whole[start : start + len(sound)] += sound
    return whole[: round(length * AUDIO_RATE)]


def _decay(length: float, tau: float) -> Samples:
    return np.exp(-seconds(length) / tau)


CLICK = 0.5 * np.sin(2 * np.pi * 1000 * seconds(0.03)) * _decay(0.03, 0.008)
KICK = 0.6 * np.sin(2 * np.pi * (55 * seconds(0.2) + 0.9 * (1 - _decay(0.2, 0.03))))
KICK *= _decay(0.2, 0.06)
SNARE = noise(0.15, 0.25, seed=1) * _decay(0.15, 0.04)
HAT = np.diff(noise(0.05, 0.06, seed=2), n=2, prepend=[0, 0]) * _decay(0.05, 0.012)


def beat_times(bpm: float, length: float, first: float = 0.2) -> Samples:
    return np.arange(first, length, 60 / bpm)


def clicks(bpm: float, length: float = 15.0) -> Samples:
    return placed(length, beat_times(bpm, length), CLICK)


def drums(bpm: float, length: float = 15.0) -> Samples:
    """Kick on one and three, snare on two and four, hats on every eighth."""
    beats = beat_times(bpm, length)
    return (
        placed(length, beats[::2], KICK)
        + placed(length, beats[1::2], SNARE)
        + placed(length, beat_times(bpm * 2, length), HAT)
    )


def four_on_the_floor(bpm: float, length: float = 15.0) -> Samples:
    """Kick on every beat, hats between."""
    beats = beat_times(bpm, length)
    return placed(length, beats, KICK) + placed(length, beats + 30 / bpm, HAT)


def chord(notes: Iterable[float], length: float, amplitude: float = 0.05) -> Samples:
    """MIDI notes held together, five harmonics each."""
    t = seconds(length)
    whole = np.zeros(len(t))
    for note in notes:
        for harmonic in range(1, 6):
            hz = 440 * 2 ** ((note - 69) / 12) * harmonic
            whole += amplitude / harmonic**1.5 * np.sin(2 * np.pi * hz * t)

    return np.asarray(whole * np.clip(np.minimum(t / 0.02, (length - t) / 0.05), 0, 1))


def cadence(tonic: int, minor: bool = False, times: int = 2, detune: float = 0.0) -> Samples:
    """I, IV, V, I in the key whose tonic is the MIDI note ``tonic``, 1 s each."""
    first, fourth = ((0, 3, 7), (5, 8, 12)) if minor else ((0, 4, 7), (5, 9, 12))
    bars = [first, fourth, (7, 11, 14), first] * times
    return np.concatenate([chord([tonic + detune + n for n in bar], 1.0) for bar in bars])


def voice(
    length: float, hz: float = 120.0, glide_st: float = 0.0, syllables: float = 4.0
) -> Samples:
    """A buzz like a voice: harmonics of a gliding pitch, loud and soft ``syllables`` a second."""
    t = seconds(length)
    pitch = hz * 2 ** (glide_st * (t / length - 0.5) / 12)
    phase = 2 * np.pi * np.cumsum(pitch) / AUDIO_RATE
    whole = sum(np.sin(k * phase) / k for k in range(1, 20))
    return 0.1 * whole * (0.55 + 0.45 * np.sin(2 * np.pi * syllables * t - np.pi / 2))
