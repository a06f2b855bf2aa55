"""Clips whose sound is known: speech over music, tempos, keys, levels, silences, and no speech.

All have a small black picture and AAC sound at 48 kHz, mono. Truth by kind: ``bpm``; ``tonic`` and
``mode``; ``lufs`` and ``peak_dbfs`` (of a 997 Hz sine, by the definition of BS.1770: 3.01 under its
peak); ``silences`` as spans in seconds; ``words`` (text, start, end) and ``speech`` as spans, by
eSpeak NG's own times. Clips of the kind ``no speech`` have no words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import dialogues
from benchmarks.factory import Recipe
from tiktok_ray.media.writer import write_clip

VERSION = 1
RATE = 48_000
CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

Samples = NDArray[np.float32]
Made = tuple[Samples, dict[str, Any]]


def recipes(edition: int) -> Iterator[Recipe]:
    """Speech at 6 ratios, 9 tempos in 2 rhythms, 24 keys, 6 levels, 4 silences, 100 without speech."""
    listed: list[tuple[str, str, dict[str, Any]]] = []
    for db in (-5, 0, 5, 10, 15, 20):
        listed += [("speech over music", f"{db} dB", {"db": db})] * 3
    for bpm in range(60, 181, 15):
        listed += [("tempo", how, {"bpm": bpm}) for how in ("clicks", "chords and drum")]
    for tonic in range(12):
        listed += [("key", mode, {"tonic": tonic}) for mode in ("major", "minor")]
    for level in (-40, -30, -23, -16, -9, -3):
        listed.append(("level", f"{level} dBFS", {"level": level}))
    listed += [("silence", how, {}) for how in ("digital", "digital", "hiss", "hiss")]
    for k in range(100):
        listed.append(("no speech", list(dialogues.KINDS)[k % len(dialogues.KINDS)], {}))
    for k, (kind, condition, parameters) in enumerate(listed):
        yield Recipe("sounds", kind, condition, 10_000 * edition + k, parameters)


def make(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Write the clip and return its truth."""
    samples, truth = MADE[recipe.kind](recipe, np.random.default_rng(recipe.seed))
    black = np.zeros((64, 64, 3), np.uint8)
    count = int(np.ceil(10 * len(samples) / RATE))
    write_clip(path, [black] * count, fps=10, audio=samples, audio_rate=RATE)
    return {"duration": len(samples) / RATE, **truth}


def _at_48k(samples: NDArray[Any]) -> Samples:
    """Sound of 16 kHz at 48 kHz."""
    from scipy.signal import resample_poly

    return np.asarray(resample_poly(samples, 3, 1), np.float32)


def _speech(recipe: Recipe, rng: np.random.Generator) -> Made:
    """Three sentences; music at a ratio of powers while somebody speaks."""
    said = dialogues.dialogue(recipe.seed, voices=1, turns=3, pause=(0.6, 1.5))
    music = dialogues.KINDS["music"](rng, len(said.samples))
    active = np.zeros(len(music), bool)
    for start, end, _ in said.turns:
        active[round(16_000 * start) : round(16_000 * end)] = True
    power = [float(np.mean(np.square(one[active]))) for one in (said.samples, music)]
    gain = np.sqrt(power[0] / power[1]) * 10 ** (-recipe.parameters["db"] / 20)
    mixed = said.samples + gain * music
    mixed *= 0.8 / np.abs(mixed).max()
    return _at_48k(mixed), {
        "words": [list(word) for word in said.words],
        "speech": [[start, end] for start, end, _ in said.turns],
    }


def _none(recipe: Recipe, rng: np.random.Generator) -> Made:
    size = round(16_000 * rng.uniform(3, 12))
    sound = dialogues.KINDS[recipe.condition](rng, size)
    return _at_48k(np.asarray(sound, np.float32)), {"words": [], "speech": []}


def _tone(hertz: float, seconds: float) -> NDArray[np.float64]:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def _tempo(recipe: Recipe, rng: np.random.Generator) -> Made:
    """Ten seconds of clicks, or of chords that change each fourth beat over a drum on each."""
    bpm, sound = recipe.parameters["bpm"], np.zeros(10 * RATE)
    beats = np.arange(float(rng.uniform(0.1, 0.5)), 9.8, 60 / bpm)
    roots = rng.choice([110.0, 130.8, 146.8, 164.8, 196.0], 64)
    for k, beat in enumerate(beats):
        first, size = round(beat * RATE), round(0.05 * RATE)
        fall = np.exp(-np.arange(size) / (0.008 * RATE))
        sound[first : first + size] += (rng.standard_normal(size) * fall)[: len(sound) - first]
        if recipe.condition == "clicks":
            continue
        length = min(60 / bpm, (len(sound) - first) / RATE)
        chord = np.sum([_tone(roots[k // 4] * step, length) for step in (1, 1.26, 1.5)], 0)
        sound[first : first + len(chord)] += (
            0.15 * chord * np.exp(-np.arange(len(chord)) / RATE * 3)
        )
    return _scaled(sound), {"bpm": float(bpm), "beats": beats.tolist()}


def _key(recipe: Recipe, rng: np.random.Generator) -> Made:
    """A cadence of I, IV, V and I in major, or i, iv, V and i in minor, twice, a melody above."""
    tonic, minor = recipe.parameters["tonic"], recipe.condition == "minor"
    third = 3 if minor else 4
    chords = [(0, third, 7), (5, 5 + third, 12), (7, 11, 14), (0, third, 7)] * 2
    scale = (0, 2, 3, 5, 7, 8, 11) if minor else (0, 2, 4, 5, 7, 9, 11)
    parts = []
    for chord in chords:
        notes = [(step + tonic, 0.3) for step in chord]
        part = np.sum([gain * _note(step, 1.0) for step, gain in notes], 0)
        for k in range(2):
            step = tonic + 12 + int(rng.choice(scale if k else chord))
            part[k * RATE // 2 : (k + 1) * RATE // 2] += 0.2 * _note(step, 0.5)
        parts.append(part)
    return _scaled(np.concatenate(parts)), {
        "tonic": CLASSES[tonic], "mode": recipe.condition,
    }  # fmt: skip


def _note(step: int, seconds: float) -> NDArray[np.float64]:
    """A plucked note, semitones above C3."""
    hertz = 130.813 * 2 ** (step / 12)
    sound = np.sum([_tone(k * hertz, seconds) / k**2 for k in (1, 2, 3)], 0)
    return np.asarray(sound * np.exp(-np.arange(len(sound)) / RATE * 2))


def _level(recipe: Recipe, _: np.random.Generator) -> Made:
    level = recipe.parameters["level"]
    sound = 10 ** (level / 20) * _tone(997.0, 6.0)
    return sound.astype(np.float32), {"lufs": level - 3.01, "peak_dbfs": float(level)}


def _silence(recipe: Recipe, rng: np.random.Generator) -> Made:
    """Music with silences of 0.7 to 2 s; the hiss of others lies at -70 dBFS."""
    sound = _at_48k(dialogues.KINDS["music"](rng, 12 * 16_000)).astype(np.float64)
    starts = np.array([2.0, 5.5, 9.0]) + rng.uniform(-0.5, 0.5, 3)
    spans = [[float(a), float(a + rng.uniform(0.7, 2.0))] for a in starts]
    hiss = 10 ** (-70 / 20) * rng.standard_normal(len(sound))
    for start, end in spans:
        part = slice(round(start * RATE), round(end * RATE))
        sound[part] = hiss[part] if recipe.condition == "hiss" else 0.0
    return sound.astype(np.float32), {"silences": spans}


def _scaled(sound: NDArray[np.float64]) -> Samples:
    sound32: Samples = (0.5 * sound / np.abs(sound).max()).astype(np.float32)
    return sound32


MADE: dict[str, Callable[[Recipe, np.random.Generator], Made]] = {
    "speech over music": _speech, "tempo": _tempo, "key": _key, "level": _level,
    "silence": _silence, "no speech": _none,
}  # fmt: skip
