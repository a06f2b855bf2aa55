"""Clips in which picture and sound go together, or do not, as told.

``captions and speech``: sentences by eSpeak NG, and captions of them that come so much earlier or
later. Truth: ``captions``, each with ``text``, ``start``, ``end`` and ``offset``, seconds after the
first of its words begins; ``words`` (text, start, end). ``cuts and beats``: clicks, and cuts on them
or anywhere. Truth: ``on_the_beat``, ``cuts`` and ``beats`` in seconds. All: ``fps``, ``duration``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from benchmarks import dialogues
from benchmarks.factory import Recipe
from benchmarks.factory._pictures import SCENES, Picture, bundled, photograph, view
from benchmarks.factory.captions import CARRIED
from tiktok_ray.media.writer import write_clip

VERSION = 1

SIZE, FPS = (360, 640), 25.0
OFFSETS = (-0.6, -0.3, 0.0, 0.3, 0.6)
RATE = 48_000
CODING = {"preset": "veryfast", "crf": "21"}


def recipes(edition: int) -> Iterator[Recipe]:
    """Captions at five offsets, twice each; cuts on the beat and anywhere, ten clips each."""
    seed = 10_000 * edition
    for offset in OFFSETS * 2:
        seed += 1
        parameters = {"offset": offset}
        yield Recipe("together", "captions and speech", f"{offset:+.1f} s", seed, parameters)
    for condition in ("on the beat", "anywhere") * 10:
        seed += 1
        yield Recipe("together", "cuts and beats", condition, seed)


def make(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Write the clip and return its truth."""
    return MADE[recipe.kind](recipe, path, np.random.default_rng(recipe.seed))


def _captions(recipe: Recipe, path: Path, rng: np.random.Generator) -> dict[str, Any]:
    said = dialogues.dialogue(
        recipe.seed, voices=1, turns=4, pause=(1.0, 1.6), sentences=dialogues.SHORT_SENTENCES
    )
    offset = recipe.parameters["offset"]
    told, words = [], list(said.words)
    for start, end, _ in said.turns:
        own = [word for word in words if start - 1e-6 <= word.start < end]
        shown = round((own[0].start + offset) * FPS) / FPS
        told.append({
            "text": " ".join(word.text for word in own),
            "start": shown,
            "end": round((end + offset) * FPS) / FPS,
            "offset": shown - own[0].start,
        })  # fmt: skip
    samples = np.asarray(resample_poly(said.samples, 3, 1), np.float32)
    duration = len(samples) / RATE
    scene = photograph(SCENES[int(rng.integers(len(SCENES)))])
    ground = view(scene, SIZE, (0.45, 0.5), 0.6)
    drawn = {one["text"]: _written(ground, str(one["text"])) for one in told}

    def at(index: int) -> Picture:
        t = index / FPS + 1e-6
        shown = next((one for one in told if one["start"] <= t < one["end"]), None)
        return drawn[shown["text"]] if shown else ground

    pictures = map(at, range(int(duration * FPS)))
    write_clip(path, pictures, fps=FPS, audio=samples, audio_rate=RATE, options=CODING)
    return {"fps": FPS, "duration": duration, "captions": told, "words": [list(w) for w in words]}


def _written(ground: Picture, text: str) -> Picture:
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(str(bundled(*CARRIED)), 26)
    image = Image.fromarray(ground)
    place = (SIZE[0] / 2, 0.6 * SIZE[1])
    ImageDraw.Draw(image).text(
        place, text, font=font, fill=(255, 255, 255), stroke_width=3, stroke_fill=(0, 0, 0),
        anchor="mm",
    )  # fmt: skip
    return np.array(image)


def _cuts(recipe: Recipe, path: Path, rng: np.random.Generator) -> dict[str, Any]:
    bpm, duration = float(rng.uniform(85, 140)), 14.0
    beats = np.arange(float(rng.uniform(0.2, 0.5)), duration - 0.2, 60 / bpm)
    sound = np.zeros(round(duration * RATE))
    for beat in beats:
        first, size = round(beat * RATE), round(0.05 * RATE)
        hit = rng.standard_normal(size) * np.exp(-np.arange(size) / (0.008 * RATE))
        sound[first : first + size] += hit[: len(sound) - first]
    on = recipe.condition == "on the beat"
    wanted = np.sort(rng.choice(beats[1:-1], 8, replace=False)) if on else _anywhere(rng, duration)
    cuts = (np.round(wanted * FPS) / FPS).tolist()
    names = [SCENES[k] for k in rng.permutation(len(SCENES))[: len(cuts) + 1]]
    shots = [view(photograph(name), (180, 320), (0.45, 0.5), 0.6) for name in names]

    def at(index: int) -> Picture:
        return shots[int(np.searchsorted(cuts, index / FPS + 1e-6, side="right"))]

    samples = (0.5 * sound / np.abs(sound).max()).astype(np.float32)
    pictures = map(at, range(round(duration * FPS)))
    write_clip(path, pictures, fps=FPS, audio=samples, audio_rate=RATE, options=CODING)
    return {
        "fps": FPS, "duration": duration, "on_the_beat": on, "cuts": cuts, "beats": beats.tolist(),
    }  # fmt: skip


def _anywhere(rng: np.random.Generator, duration: float) -> Any:
    """Eight times, none within 0.4 s of another."""
    while True:
        times = np.sort(rng.uniform(0.6, duration - 0.6, 8))
        if np.diff(times).min() >= 0.4:
            return times


MADE: dict[str, Callable[[Recipe, Path, np.random.Generator], dict[str, Any]]] = {
    "captions and speech": _captions, "cuts and beats": _cuts,
}  # fmt: skip
