"""Pitch and level of speech that is made higher, lower or quieter by a known amount.

Nobody's emotion is known of any clip at hand, and the weights that name emotions are not either;
what is measured is prosody: played at another rate, the same speech is so many semitones higher.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.speech_emotion import VoiceEmotion
from benchmarks.accuracy import Bench, Figure
from benchmarks.accuracy._figures import mean_figure
from benchmarks.accuracy.speech_transcription import WORDS, sound
from benchmarks.dialogues import VOICES, dialogue
from tiktok_ray.analyzer import Partial
from tiktok_ray.media import detect_speech

#: Which fields the figures are errors of.
FIELDS = {
    ("error of a change of pitch, semitones", "made speech"): ("prosody.pitch_hz",),
    ("error of a change of pitch, semitones", "real speech"): ("prosody.pitch_hz",),
    ("error of a change of level, dB", "made speech"): ("prosody.level_db",),
    ("error of a change of level, dB", "real speech"): ("prosody.level_db",),
}
#: Rates of playing, and a gain in dB.
FASTER, SLOWER, GAIN_DB = Fraction(9, 8), Fraction(7, 8), -12.0
REASON = "no clip at hand says what its speaker feels"


def figures(bench: Bench) -> Iterator[Figure]:
    analyzer: Any = bench.analyzer("speech_emotion")
    made = [
        dialogue(seed, voices=1, turns=2, pause=(0.4, 0.8), among=(VOICES[seed % len(VOICES)],))
        for seed in bench.some(range(8))
    ]
    real = [
        np.array(bench.decoded(bench.file(file), frozenset({"audio"})).tracks["audio"].samples)
        for file in bench.some([name for name in WORDS if name.startswith("video/")])
    ]
    sets = (("made speech", "factory", [d.samples for d in made]), ("real speech", "real", real))
    for condition, clips, some in sets:
        changes = [change(analyzer, samples) for samples in some]
        pitch = [error for one in changes for error in one[0]]
        kind: Any = clips
        yield mean_figure(
            "error of a change of pitch, semitones", "all speech", condition, pitch, clips=kind,
            unit="changes",
        )  # fmt: skip
        yield mean_figure(
            "error of a change of level, dB", "all speech", condition,
            [one[1] for one in changes], clips=kind,
        )  # fmt: skip
    yield Figure("emotion right", "speech", "all", "real", 0, None, reason=REASON)


def change(analyzer: Any, samples: NDArray[np.float32]) -> tuple[list[float], float]:
    """Errors of the pitch when played faster and slower, in semitones, and of a gain, in dB."""
    from scipy.signal import resample_poly

    usual = prosody(analyzer, samples)
    off = []
    for rate in (FASTER, SLOWER):
        played = resample_poly(samples, rate.denominator, rate.numerator).astype(np.float32)
        rise = 12 * np.log2(prosody(analyzer, played).pitch_hz / usual.pitch_hz)
        off.append(abs(float(rise - 12 * np.log2(float(rate)))))
    quiet = prosody(analyzer, (10 ** (GAIN_DB / 20) * samples).astype(np.float32))
    return off, abs(quiet.level_db - usual.level_db - GAIN_DB)


def prosody(analyzer: Any, samples: NDArray[np.float32]) -> Any:
    """Pitch and level of all speech of some samples at 16 kHz."""
    audio = sound(samples)
    result = analyzer.analyze(audio, detect_speech(audio), None)
    told = result.output if isinstance(result, Partial) else result
    assert isinstance(told, VoiceEmotion)
    return told.prosody
