"""Speech detection."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import spans
from tiktok_ray.media.spans import Span
from tiktok_ray.media.tracks import Audio, Speech


def detect_speech(audio: Audio) -> Speech:
    """Spans of speech by Silero VAD (v6, the model in faster-whisper's wheel).

    A span begins where the probability reaches 0.5 and ends where it stays under 0.35; pauses
    under 0.3 s are bridged. Music lifts the probability too, but seldom far: a span counts only
    if within 10 s there is one of which at least 0.15 s lie above 0.9. Silero hears voices and
    misses the voiceless consonants before and after them, so either edge moves outward for as
    long as the sound stays 6 dB above what lies beyond, at most 0.3 s; then 50 ms are added.
    """
    from faster_whisper.vad import get_vad_model

    window = 512
    padded = np.pad(audio.samples, (0, -len(audio.samples) % window))
    if not len(padded):
        return Speech(())
    probability = np.asarray(get_vad_model()(padded)).ravel()
    step = window / audio.rate
    parts = _hysteresis(probability, step)
    sure = [part for part in parts if _above(probability, part, 0.9, step) >= 0.15]
    near = spans.union((start - 10.0, end + 10.0) for start, end in sure)
    frame = round(_EDGE_STEP_S * audio.rate)
    whole = audio.samples[: len(audio.samples) // frame * frame].reshape(-1, frame)
    power = np.convolve((whole.astype(float) ** 2).mean(1), np.ones(3) / 3, mode="same")
    level = 10 * np.log10(power + 1e-10)
    spoken = []
    for start, end in parts:
        if spans.overlap([(start, end)], near):
            before = level[: round(start / _EDGE_STEP_S)][::-1]
            after = level[round(end / _EDGE_STEP_S) :]
            spoken.append((start - _reach(before) - 0.05, end + _reach(after) + 0.05))
    return Speech(tuple(spans.intersect(spoken, audio.present)))


_EDGE_STEP_S = 0.01


def _hysteresis(probability: NDArray[np.float32], step: float) -> list[Span]:
    """Runs at or above 0.35 that reach 0.5, joined over pauses under 0.3 s."""
    times, end = np.arange(len(probability)) * step, len(probability) * step
    likely = spans.runs(times.tolist(), (probability >= 0.35).tolist(), end)
    return spans.union((p for p in likely if _above(probability, p, 0.5, step)), gap=0.299)


def _above(probability: NDArray[np.float32], part: Span, least: float, step: float) -> float:
    """Seconds of a span in which the probability reaches ``least``."""
    inside = probability[round(part.start / step) : round(part.end / step)]
    return float((inside >= least).sum() * step)


def _reach(level: NDArray[np.float64]) -> float:
    """How far an edge moves outward over levels in dB (every 10 ms, going away from the speech)."""
    near, beyond = level[:30], level[30:80]
    if len(beyond) < 20:
        return 0.0
    under = np.flatnonzero(near < np.median(beyond) + 6.0)
    return float(under[0] if len(under) else len(near)) * _EDGE_STEP_S
