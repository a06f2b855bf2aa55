"""What was tried to tell two voices at once from two that follow each other, without a model of it.

For pieces of 0.48 s: how much more the voice is like a mix of two of the video's voices than like
one of them, a second pitch beside the first (iterative harmonic summation, Klapuri 2006), and how
much lies beside the first one's harmonics. A logistic regression is fitted to one set of made
voices and tried on another, on music, and on real speech of one voice. ``python -m
benchmarks.overlap`` prints precision and recall; docs/speech.md says what follows from them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.speech_transcription import APART, OVER, sound
from benchmarks.dialogues import OTHER_VOICES, VOICES, dialogue, music
from tiktok_ray.media import AUDIO_RATE, Audio, detect_speech, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio import speakers

Values = NDArray[np.float64]

PIECE_S, STEP_S = 0.48, 0.12
#: Pauses of turns: as elsewhere, and turns that follow each other at once.
KINDS = (OVER, APART, (0.0, 0.03))
SEEDS = range(6)
WINDOW, HOP, FFT = 1024, 320, 4096
PITCHES = np.geomspace(75, 380, 180)
BIN_HZ = AUDIO_RATE / FFT
#: Real speech of one voice.
ALONE = ("librispeech_5703-47212-0000.ogg", "nasa_13013_8k.mp3", "sb_example1.wav")


def combs() -> Values:
    """Where the harmonics of each pitch lie in a spectrum up to 4 kHz, 0..1."""
    bins = np.arange(FFT // 2 + 1) * BIN_HZ
    number = np.maximum(1, np.round(bins[None] / PITCHES[:, None]))
    off = np.abs(bins[None] - number * PITCHES[:, None])
    return np.asarray(np.maximum(0, 1 - off / 40) * (bins < 4000))


COMBS = combs()


def pitches(samples: NDArray[np.float32]) -> tuple[Values, Values]:
    """Times [n], and [n, 3]: strength of the second pitch against the first, how clear it is, and
    the share of the spectrum beside the first one's harmonics."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), FFT))[:, : FFT // 2 + 1] ** 0.5
    spectrum[:, np.arange(FFT // 2 + 1) * BIN_HZ >= 4000] = 0
    width = COMBS.sum(1) ** 0.5
    strength = spectrum @ COMBS.T / width
    first = strength.argmax(1)
    rest = spectrum * (1 - COMBS[first])
    second = (rest @ COMBS.T / width).max(1)
    whole = spectrum.sum(1) + 1e-9
    figures = [
        second / (strength.max(1) + 1e-9),
        second / (rest.sum(1) + 1e-9),
        rest.sum(1) / whole,
    ]
    times = (np.arange(len(frames)) * HOP + WINDOW / 2) / AUDIO_RATE
    return times, np.stack(figures, 1)


def evidence(audio: Audio, encoder: speakers.Encoder) -> tuple[list[Span], Values]:
    """Pieces of the speech, and what speaks for two voices in each, [n, 7]; none of one voice."""
    speech = spans.union(detect_speech(audio).spans)
    told = speakers.turns(audio, speech, encoder)
    pieces = [
        Span(float(t), float(t) + PIECE_S)
        for span in speech
        for t in np.arange(span.start, span.end - PIECE_S, STEP_S)
    ]
    names = sorted({turn.speaker for turn in told})
    if len(names) < 2 or not pieces:
        return [], np.zeros((0, 7))
    voices = encoder.embed([np.resize(audio.cut(*p), round(PIECE_S * AUDIO_RATE)) for p in pieces])
    middles = [(p.start + p.end) / 2 for p in pieces]
    of = [next((t.speaker for t in told if t.start <= m < t.end), -1) for m in middles]
    kept = [name for name in names if name in of]
    if len(kept) < 2:
        return [], np.zeros((0, 7))
    centres = np.stack([_unit(voices[np.array(of) == name].mean(0)) for name in kept])
    likeness = np.sort(voices @ centres.T, 1)
    mixes = np.stack([_unit(a + b) for a, b in combinations(centres, 2)])
    mixed = (voices @ mixes.T).max(1) - likeness[:, -1]
    around = np.convolve(mixed, np.ones(5) / 5, "same")[: len(mixed)]
    times, figures = pitches(audio.samples)
    heard = np.stack(
        [
            figures[np.searchsorted(times, p.start) : np.searchsorted(times, p.end)].mean(0)
            for p in pieces
        ]
    )
    return pieces, np.column_stack([likeness[:, -1], likeness[:, -2], mixed, around, heard])


def _unit(vector: Values) -> Values:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9))


def examples(
    encoder: speakers.Encoder, among: Sequence[str], louder: float = 0.0
) -> Iterator[tuple[Values, NDArray[np.bool_]]]:
    """Evidence and truth of made dialogues; ``louder`` is the level of music under them. A piece
    holds overlap if half of it does; those that hold less, but some, are left out."""
    for seed in SEEDS:
        for voices in (2, 3):
            for pause in KINDS:
                made = dialogue(
                    100 * voices + seed,
                    voices=voices,
                    turns=8,
                    pause=pause,
                    noise=0.002,
                    among=among,
                )
                under = louder * music(np.random.default_rng(seed), len(made.samples))
                pieces, found = evidence(sound((made.samples + under).astype(np.float32)), encoder)
                both = spans.union(
                    (max(a[0], b[0]), min(a[1], b[1])) for a, b in combinations(made.turns, 2)
                )
                share = np.array([spans.overlap([p], both) / PIECE_S for p in pieces])
                clear = (share == 0) | (share >= 0.5)
                yield found[clear], share[clear] >= 0.5


def main() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from tests.sounds import read

    place = speakers.VOICES.locate(Path())
    assert place is not None, "the package resemblyzer is not installed"
    encoder = speakers.VoiceEncoder(place)
    fitted = list(examples(encoder, VOICES))
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(np.concatenate([x for x, _ in fitted]), np.concatenate([y for _, y in fitted]))
    for what, among, louder in (
        ("the voices it was fitted to", VOICES, 0.0), ("other voices", OTHER_VOICES, 0.0),
        ("other voices over music", OTHER_VOICES, 0.2),
    ):  # fmt: skip
        tried = list(examples(encoder, among, louder))
        truth = np.concatenate([y for _, y in tried])
        likely = model.predict_proba(np.concatenate([x for x, _ in tried]))[:, 1]
        for least in (0.5, 0.7, 0.85):
            named = likely > least
            right = (named & truth).sum()
            print(
                f"{what}, from {least:g} on: precision {right / max(1, named.sum()):.2f},"
                f" recall {right / truth.sum():.2f}, overlap in {truth.mean():.0%} of"
                f" {len(truth)} pieces"
            )
    folder = os.environ.get("TIKTOK_RAY_TEST_MEDIA")
    if folder:
        both = [read(Path(folder) / "audio" / name) for name in ALONE]
        _, found = evidence(sound(np.concatenate(both)), encoder)
        named = model.predict_proba(found)[:, 1] > 0.5 if len(found) else np.zeros(1)
        print(f"real voices one after another: overlap named in {named.mean():.0%} of the pieces")


if __name__ == "__main__":
    main()
