"""Sound of known words, turns and kinds for the benchmarks and tests of speech, made by eSpeak NG."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.demo.speech_synthesis import SpokenWord, utter
from tiktok_ray.media import AUDIO_RATE

Samples = NDArray[np.float32]

#: Harvard sentences (IEEE 1969), lists 1 to 3.
SENTENCES = (
    "The birch canoe slid on the smooth planks.", "Glue the sheet to the dark blue background.",
    "It is easy to tell the depth of a well.", "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.", "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.", "The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us.", "A large size in stockings is hard to sell.",
    "The boy was there when the sun rose.", "A rod is used to catch pink salmon.",
    "The source of the huge river is the clear spring.", "Kick the ball straight and follow through.",
    "Help the woman get back to her feet.", "A pot of tea helps to pass the evening.",
    "Smoky fires lack flame and heat.", "The soft cushion broke the man's fall.",
    "The salt breeze came across from the sea.", "The girl at the booth sold fifty bonds.",
    "The small pup gnawed a hole in the sock.", "The fish twisted and turned on the bent hook.",
    "Press the pants and sew a button on the vest.", "The swan dive was far short of perfect.",
    "The beauty of the view stunned the young boy.", "Two blue fish swam in the tank.",
    "Her purse was full of useless trash.", "The colt reared and threw the tall rider.",
    "It snowed, rained, and hailed the same morning.", "Read verse out loud for pleasure.",
)  # fmt: skip
#: Said in about a second each.
SHORT_SENTENCES = (
    "Yes, of course I do.", "No, I never did.", "Where are you going?", "Come over here.",
    "What is it now?", "I told you so.", "That is not true.", "Open the window, please.",
    "Tell me about it.", "Nobody knows that.",
)  # fmt: skip
#: Voices of eSpeak NG that Whisper's smallest models understand, as far as they do.
VOICES = ("en-us+f2", "en-us+edward", "en-us+Gene", "en-us", "en-us+m7", "en-us+adam")
#: Voices that no threshold was set by: eSpeak NG's variants with names of their own, and six of its
#: numbered ones, which differ little (three of them are women's).
MORE_VOICES = tuple(
    f"en-us+{name}"
    for name in (
        "Alicia", "Andy", "Denis", "Henrique", "Jacky", "Marco", "Mike", "Storm", "announcer",
        "aunty", "benjamin", "caleb", "ed", "iven", "linda", "m5", "m8", "max", "norbert",
        "paul", "quincy", "robert", "travis", "zac",
    )
)  # fmt: skip
OTHER_VOICES = ("en-us+m1", "en-us+m3", "en-us+f1", "en-us+f4", "en-us+m4", "en-us+f5")


class Dialogue(NamedTuple):
    """Sound at 16 kHz, its words with their times, and its turns: start, end, voice."""

    samples: Samples
    words: tuple[SpokenWord, ...]
    turns: tuple[tuple[float, float, str], ...]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


def dialogue(
    seed: int,
    *,
    voices: int,
    turns: int,
    pause: tuple[float, float],
    noise: float = 0.0,
    sentences: Sequence[str] = SENTENCES,
    among: Sequence[str] = VOICES,
) -> Dialogue:
    """Voices that speak in turn, a sentence each, with pauses of seconds between them.

    A negative pause is an overlap, as a share of the turn before it. ``noise`` is the standard
    deviation of white noise. The same seed gives the same samples.
    """
    draw = random.Random(seed)
    cast = draw.sample(among, voices)
    sound = np.zeros(0, np.float32)
    words: list[SpokenWord] = []
    told: list[tuple[float, float, str]] = []
    at = 0.5
    for k in range(turns):
        voice = cast[k % voices]
        spoken = utter(draw.choice(sentences), voice, rate=draw.choice((140, 155, 170)))
        piece = 0.6 * _at_16k(spoken.samples, spoken.rate)
        end = spoken.words[-1].end
        first = round(at * AUDIO_RATE)
        piece = piece[: round((end + 0.05) * AUDIO_RATE)]
        sound = np.pad(sound, (0, max(0, first + len(piece) - len(sound))))
        sound[first : first + len(piece)] += piece
        words += [SpokenWord(w.text, w.start + at, w.end + at) for w in spoken.words]
        told.append((at, at + end, voice))
        gap = draw.uniform(*pause)
        at += end + (gap if gap >= 0 else gap * end)
    sound = np.pad(sound, (0, AUDIO_RATE))
    hiss = np.random.default_rng(seed).standard_normal(len(sound)) * noise
    return Dialogue((sound + hiss).astype(np.float32), tuple(words), tuple(told))


def _at_16k(samples: Samples, rate: int) -> Samples:
    from scipy.signal import resample_poly

    k = gcd(AUDIO_RATE, rate)
    return np.asarray(resample_poly(samples, AUDIO_RATE // k, rate // k), np.float32)


def without_speech(count: int) -> Iterator[tuple[str, Samples]]:
    """Clips of 3 to 12 s in which nobody speaks, by kind, each kind as often as the others."""
    for k in range(count):
        kind = list(KINDS)[k % len(KINDS)]
        random_ = np.random.default_rng(k)
        size = round(AUDIO_RATE * random_.uniform(3, 12))
        sound = KINDS[kind](random_, size)
        yield f"{kind} {k}", np.asarray(sound, np.float32)


Draw = np.random.Generator
Sound = NDArray[np.float64]


def _tone(draw: Draw, size: int) -> Sound:
    return np.asarray(
        0.3 * np.sin(2 * np.pi * draw.uniform(80, 3000) * np.arange(size) / AUDIO_RATE)
    )


def _noise(draw: Draw, size: int) -> Sound:
    """White, pink or brown."""
    spectrum = np.fft.rfft(draw.standard_normal(size))
    spectrum /= np.maximum(1, np.arange(len(spectrum))) ** draw.choice([0, 0.5, 1.0])
    sound = np.fft.irfft(spectrum, size)
    return np.asarray(0.2 * sound / np.abs(sound).max())


def music(draw: Draw, size: int) -> Sound:
    """Plucked chords on a beat, with a drum."""
    sound = np.zeros(size)
    beat = int(AUDIO_RATE * 60 / draw.uniform(70, 150))
    for start in range(0, size, beat):
        root = draw.choice([110, 130.8, 146.8, 164.8, 196, 220, 261.6])
        t = np.arange(min(beat, size - start)) / AUDIO_RATE
        decay = np.exp(-t * draw.uniform(1, 6))
        for step in (1, 1.25, 1.5, 2):
            for k in (1, 2, 3, 4):
                sound[start : start + len(t)] += (
                    decay * np.sin(2 * np.pi * root * step * k * t) / k**1.5
                )
        drum = min(2000, len(t))
        hit = 2 * draw.standard_normal(drum) * np.exp(-np.arange(drum) / 300)
        sound[start : start + drum] += hit
    return np.asarray(0.4 * sound / np.abs(sound).max())


def _laughter(draw: Draw, size: int) -> Sound:
    """Bursts of falling voiced breath through one formant."""
    sound = np.zeros(size)
    pitch = draw.uniform(180, 450)
    at = int(draw.integers(0, AUDIO_RATE // 2))
    while at < size - 4000:
        for _ in range(int(draw.integers(3, 8))):
            length = int(AUDIO_RATE * draw.uniform(0.08, 0.14))
            if at + length >= size:
                break
            falling = pitch * np.linspace(1.0, 0.7, length) * draw.uniform(0.9, 1.1)
            phase = 2 * np.pi * np.cumsum(falling) / AUDIO_RATE
            burst = 0.3 * draw.standard_normal(length)
            for k in range(1, 15):
                burst += np.sin(k * phase) / k * np.exp(-(((k * pitch - 800) / 900) ** 2))
            sound[at : at + length] += burst * np.hanning(length)
            at += length + int(AUDIO_RATE * draw.uniform(0.06, 0.12))
        at += int(AUDIO_RATE * draw.uniform(0.3, 1.5))
    return np.asarray(0.5 * sound / max(1e-9, float(np.abs(sound).max())))


def _scream(draw: Draw, size: int) -> Sound:
    t = np.arange(size) / AUDIO_RATE
    pitch = (
        900 + 300 * np.sin(2 * np.pi * 0.4 * t + draw.uniform(0, 6)) + 40 * np.sin(12 * np.pi * t)
    )
    phase = 2 * np.pi * np.cumsum(pitch) / AUDIO_RATE
    voice = np.sum([np.sin(k * phase) / k for k in range(1, 7)], 0)
    return np.asarray(
        0.2 * voice * (np.sin(0.6 * np.pi * t) > 0) + 0.02 * draw.standard_normal(size)
    )


def _silence(draw: Draw, size: int) -> Sound:
    return np.asarray(1e-5 * draw.standard_normal(size))


KINDS: dict[str, Callable[[Draw, int], Sound]] = {
    "tone": _tone, "noise": _noise, "music": music, "laughter": _laughter, "scream": _scream,
    "silence": _silence,
}  # fmt: skip


def diarization_error(
    truth: list[tuple[float, float, str]], found: list[tuple[float, float, str]]
) -> float:
    """Diarization error rate: missed, false and confused speech over all speech, with no collar,
    under the best pairing of names (NIST RT-09)."""
    from scipy.optimize import linear_sum_assignment

    step = 0.01
    size = int(max(end for _, end, _ in (*truth, *found)) / step) + 1

    def grid(turns: list[tuple[float, float, str]]) -> NDArray[np.bool_]:
        names = sorted({name for *_, name in turns})
        made = np.zeros((len(names), size), bool)
        for start, end, name in turns:
            made[names.index(name), round(start / step) : round(end / step)] = True
        return made

    reference, heard = grid(truth), grid(found)
    both = (reference[:, None] & heard[None]).sum(2)
    right = np.zeros(size)
    for i, j in zip(*linear_sum_assignment(-both), strict=True):
        right += reference[i] & heard[j]
    wrong = np.maximum(reference.sum(0), heard.sum(0)) - right
    return float(wrong.sum() / reference.sum())
