"""Speech detection."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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
    probability = _voices(audio.samples)
    if not len(probability):
        return Speech(())
    step = _WINDOW / audio.rate
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


_WINDOW, _CONTEXT, _STATE, _AT_ONCE = 512, 64, 128, 10_000
_EDGE_STEP_S = 0.01


def _voices(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probability of a voice in every 32 ms of 16 kHz sound.

    The numbers of ``faster_whisper.vad``, whose import takes 0.25 CPU seconds for CTranslate2 and
    others; but that one silences the last 4 ms.
    """
    windows = np.pad(samples, (0, -len(samples) % _WINDOW)).reshape(-1, _WINDOW)
    if not len(windows):
        return np.zeros(0, np.float32)
    before = np.zeros((len(windows), _CONTEXT), np.float32)
    before[1:] = windows[:-1, -_CONTEXT:]
    heard = np.concatenate([before, windows], axis=1)
    state = {name: np.zeros((1, 1, _STATE), np.float32) for name in ("h", "c")}
    found = []
    for first in range(0, len(heard), _AT_ONCE):
        part = heard[first : first + _AT_ONCE]
        probability, *after = _silero().run(None, {"input": part, **state})
        state = dict(zip(state, after, strict=True))
        found.append(probability)
    return np.concatenate(found).ravel()


@cache
def _silero() -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    package = find_spec("faster_whisper")
    assert package is not None
    assert package.origin is not None
    model = Path(package.origin).parent / "assets/silero_vad_v6.onnx"
    return InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


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
