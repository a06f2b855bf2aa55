"""Clips of sounds of known kinds with silence between them, for names and onsets of sounds.

Speech by eSpeak NG, plucked chords with a drum, white noise and a steady tone, in any order; or one
of them alone, cut to a given length (``brief``, whose condition is that length). Truth:
``sounds``, each with ``kind``, ``start`` and ``end`` in seconds; ``silences`` as spans; ``duration``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from benchmarks import dialogues
from benchmarks.factory import Recipe
from tiktok_ray.demo.speech_synthesis import utter
from tiktok_ray.media import AUDIO_RATE
from tiktok_ray.media.writer import write_clip

VERSION = 1

KINDS = ("speech", "music", "noise", "tone")
#: Level of everything else beside the sounds, dBFS: none, or a room's.
CONDITIONS = {"digital silence": None, "quiet hiss": -66.0}
RAMP_S = 0.005
BRIEF = (0.1, 0.3, 1.0)  # s


def recipes(edition: int) -> Iterator[Recipe]:
    """Twelve clips over digital silence and twelve over a hiss; and of each kind of sound two a
    length over each."""
    seed = 10_000 * edition
    for condition in CONDITIONS:
        for _ in range(12):
            seed += 1
            yield Recipe("soundscapes", "sounds", condition, seed)
    for seconds in BRIEF:
        for k, (sound, ground) in enumerate(product(KINDS * 2, CONDITIONS)):
            seed = 10_000 * edition + 1000 * (1 + BRIEF.index(seconds)) + k
            wanted = {"sound": sound, "seconds": seconds, "ground": ground}
            yield Recipe("soundscapes", "brief", f"{seconds:g} s", seed, wanted)


def make(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Write the clip and return its truth: three sounds of 2 to 4 s with 1.2 to 2.5 s between them,
    or one brief one."""
    rng = np.random.default_rng(recipe.seed)
    at, parts, told = float(rng.uniform(1.2, 2.0)), [], []
    wanted = recipe.parameters
    kinds = [wanted["sound"]] if wanted else rng.permutation(KINDS)[:3].tolist()
    for kind in kinds:
        sound = _sound(kind, rng, wanted.get("seconds"))
        end = at + len(sound) / AUDIO_RATE
        parts.append((round(at * AUDIO_RATE), sound))
        told.append({"kind": kind, "start": at, "end": end})
        at = end + float(rng.uniform(1.2, 2.5))
    whole = np.zeros(round(at * AUDIO_RATE))
    for first, sound in parts:
        whole[first : first + len(sound)] += sound
    level = CONDITIONS[wanted.get("ground", recipe.condition)]
    if level is not None:
        whole += 10 ** (level / 20) * rng.standard_normal(len(whole))
    samples = np.asarray(resample_poly(whole, 3, 1), np.float32)
    black = np.zeros((64, 64, 3), np.uint8)
    write_clip(path, [black] * int(np.ceil(10 * at)), fps=10, audio=samples, audio_rate=48_000)
    edges = [0.0, *(t for one in told for t in (one["start"], one["end"])), at]
    silences = [[edges[k], edges[k + 1]] for k in range(0, len(edges), 2)]
    return {"duration": at, "sounds": told, "silences": silences}


def _sound(
    kind: str, rng: np.random.Generator, seconds: float | None = None
) -> NDArray[np.float64]:
    """A sound at 16 kHz whose first and last samples are of it, faded over 5 ms; its first
    ``seconds``, or all."""
    size = round(AUDIO_RATE * rng.uniform(2, 4))
    if kind == "speech":
        made = _speech(rng)
    elif kind == "music":
        made = dialogues.music(rng, size)
    elif kind == "noise":
        made = 0.15 * rng.standard_normal(size)
    else:
        made = 0.3 * np.sin(2 * np.pi * rng.uniform(300, 1500) * np.arange(size) / AUDIO_RATE)
    ramp = np.linspace(0, 1, round(RAMP_S * AUDIO_RATE))
    made = made[: None if seconds is None else round(seconds * AUDIO_RATE)].copy()
    made[: len(ramp)] *= ramp
    made[-len(ramp) :] *= ramp[::-1]
    return made


def _speech(rng: np.random.Generator) -> NDArray[np.float64]:
    """A sentence from its first word to its last."""
    sentence = dialogues.SENTENCES[int(rng.integers(len(dialogues.SENTENCES)))]
    spoken = utter(sentence, dialogues.VOICES[int(rng.integers(len(dialogues.VOICES)))], rate=155)
    first, last = (round(t * spoken.rate) for t in (spoken.words[0].start, spoken.words[-1].end))
    cut = spoken.samples[first:last].astype(float)
    return np.asarray(resample_poly(cut, AUDIO_RATE, spoken.rate)) * 0.6
