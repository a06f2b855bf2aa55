"""Words that stand out by level, pitch and length against the other words of a video."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actors.speech_fillers import syllables_of
from actors.speech_pauses import Floats, levels_in
from actors.speech_transcription import Transcript, Word
from tiktok_ray.report import Timed, derived, measured

#: Words needed to know how a speaker speaks, and what makes one stand out.
BASELINE_WORDS, EMPHASIS_Z, EACH_Z = 8, 1.5, 1.0
#: Least spread of level (dB), pitch (semitones) and length per syllable (s).
FLOORS = (1.0, 0.5, 0.02)
PUNCTUATION = " .,;:!?…\"'“”„«»()[]–—-"


class EmphasisedWord(Timed):
    """A word said louder, higher or longer than words are said in this video."""

    word: str = derived("The word")
    energy_z: float = measured("Its level", unit="robust z")
    pitch_z: float | None = measured(
        "Upper quartile of its pitch; absent where unvoiced", unit="robust z"
    )
    length_z: float | None = measured(
        "Its length per syllable, by the vowel groups of its spelling; absent for numbers",
        unit="robust z",
    )
    score: float = derived("Mean of those at hand", unit="robust z", range="1.5..")


def emphasised(words: Sequence[Word], heard: Transcript, level: Floats) -> list[EmphasisedWord]:
    """The words that stand out against all the others, by level, pitch and length."""
    rated = [word for word in words if word.end - word.start >= 0.05]
    features = np.array([_features(word, heard, level) for word in rated]).reshape(-1, 3)
    z = np.stack(
        [robust_z(features[:, k], floor) for k, floor in enumerate(FLOORS)],
        axis=1,
    )
    found = []
    for word, row in zip(rated, z, strict=True):
        known = row[np.isfinite(row)]
        if len(known) >= 2 and known.mean() >= EMPHASIS_Z and (known >= EACH_Z).sum() >= 2:
            pitch, length = (float(v) if np.isfinite(v) else None for v in row[1:])
            found.append(
                EmphasisedWord(
                    start=word.start,
                    end=word.end,
                    word=word.text.strip(PUNCTUATION),
                    energy_z=float(row[0]),
                    pitch_z=pitch,
                    length_z=length,
                    score=float(known.mean()),
                )
            )
    return found


def _features(word: Word, heard: Transcript, level: Floats) -> tuple[float, float, float]:
    """Level in dB, pitch in semitones, seconds per syllable; NaN where there is none."""
    power = 10 ** (levels_in(level, [word.span]) / 10)
    pitch = float("nan")
    if heard.pitch:
        times, hz = np.array(heard.pitch.times), np.array(heard.pitch.hz)
        inside = hz[(times >= word.start) & (times <= word.end)]
        if len(inside):
            pitch = float(12 * np.log2(np.percentile(inside, 75)))
    syllables = syllables_of(word.text, heard.language or "")
    length = (word.end - word.start) / syllables if syllables else float("nan")
    return float(10 * np.log10(power.mean())), pitch, length


def robust_z(values: Floats, floor: float) -> Floats:
    """(x - median) / max(1.4826 MAD, floor), over the finite values; the others stay NaN."""
    known = values[np.isfinite(values)]
    if not len(known):
        return values
    median = np.median(known)
    return np.asarray((values - median) / max(1.4826 * np.median(np.abs(known - median)), floor))
