"""Words that stand out in level, pitch and duration from the other words of a video."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tiktok_ray.methods.audio.pauses import Floats, levels_in
from tiktok_ray.methods.text.fillers import Said, syllables_of
from tiktok_ray.report import Timed, derived, measured

#: Words needed to know how a speaker speaks, and what makes one stand out.
BASELINE_WORDS, EMPHASIS_Z, EACH_Z = 8, 1.5, 1.0
#: Least spread of level (dB), pitch (semitones) and length per syllable (s).
FLOORS = (1.0, 0.5, 0.02)
PUNCTUATION = " .,;:!?…\"'“”„«»()[]–—-"


class EmphasisedWord(Timed):
    """A word spoken louder, higher or longer than usual in this video."""

    word: str = derived("The word")
    energy_z: float = measured("Its level", unit="robust z")
    pitch_z: float | None = measured(
        "Upper quartile of its pitch; absent where unvoiced", unit="robust z"
    )
    length_z: float | None = measured(
        "Its duration per syllable, by the vowel groups of its spelling; absent for numbers",
        unit="robust z",
    )
    score: float = derived("Mean of the available ones", unit="robust z", range="1.5..")


def emphasised(
    words: Sequence[Said], language: str, level: Floats, times: Floats, hz: Floats
) -> list[EmphasisedWord]:
    """The words that stand out against all the others, by level, pitch and length.

    ``level``: dB every 10 ms; ``times`` and ``hz``: the pitch contour, seconds and Hz.
    """
    rated = [word for word in words if word.end - word.start >= 0.05]
    features = np.array([_features(word, language, level, times, hz) for word in rated]).reshape(
        -1, 3
    )
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


def _features(
    word: Said, language: str, level: Floats, times: Floats, hz: Floats
) -> tuple[float, float, float]:
    """Level in dB, pitch in semitones, seconds per syllable; NaN where there is none."""
    power = 10 ** (levels_in(level, [(word.start, word.end)]) / 10)
    inside = hz[(times >= word.start) & (times <= word.end)]
    pitch = float(12 * np.log2(np.percentile(inside, 75))) if len(inside) else float("nan")
    syllables = syllables_of(word.text, language)
    length = (word.end - word.start) / syllables if syllables else float("nan")
    return float(10 * np.log10(power.mean())), pitch, length


def robust_z(values: Floats, floor: float) -> Floats:
    """(x - median) / max(1.4826 MAD, floor), over the finite values; the others stay NaN."""
    known = values[np.isfinite(values)]
    if not len(known):
        return values
    median = np.median(known)
    return np.asarray((values - median) / max(1.4826 * np.median(np.abs(known - median)), floor))
