"""Clips of one take whose camera moves as told: pans, tilts, zooms, rolls, shakes and stands still.

A move begins a second into the clip, on a sample of the track ``dense`` (which flatters what is told
of its edges), and lasts 2.5 s; a shake lasts from beginning to end. Truth: ``move``, its name in
``camera_analysis`` (``static`` where there is none), ``start`` and ``end`` in seconds, and ``speed`` without its sign, in widths/s, heights/s, octaves/s or degrees/s; of a shake
the root mean square of its way, both directions together, in picture widths; ``fps``, ``duration``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.factory import Recipe, _scenes
from benchmarks.factory._pictures import Picture, photograph, view
from benchmarks.factory._scenes import actor
from tiktok_ray.media.writer import write_clip

VERSION = 1

SIZE, FPS = (270, 480), 30.0
START, LENGTH, REST = 1.0, 2.5, 1.0
GROUNDS = ("bus", "china", "coffee", "motorcycle", "party", "rocket")

#: Slow, usual and fast, in units of each kind of move.
SPEEDS = {
    "pan left": (0.05, 0.12, 0.3), "pan right": (0.05, 0.12, 0.3),
    "tilt up": (0.05, 0.1, 0.2), "tilt down": (0.05, 0.1, 0.2),
    "zoom in": (0.08, 0.2, 0.35), "zoom out": (0.08, 0.2, 0.35),
    "roll clockwise": (4.0, 8.0, 16.0), "roll counterclockwise": (4.0, 8.0, 16.0),
    "shake": (0.006, 0.012, 0.024),
    "static": (0.0,),
}  # fmt: skip
PACES = ("slow", "usual", "fast")
CONDITIONS = ("noise", "low light", "compression", "somebody before it")
#: What turns a move about.
SIGNS = {"pan left": -1, "tilt down": -1, "zoom out": -1, "roll counterclockwise": -1}


def recipes(edition: int) -> Iterator[Recipe]:
    """Each move slow, usual and fast; usual ones under each condition; no move as often."""
    seed = 10_000 * edition
    for move, speeds in SPEEDS.items():
        usual = speeds[len(speeds) // 2]
        listed = list(zip(PACES, speeds, strict=True)) if len(speeds) == 3 else [("still", 0.0)] * 3
        for condition, speed in (*listed, *((one, usual) for one in CONDITIONS)):
            seed += 1
            yield Recipe("camera", move, condition, seed, {"speed": speed})


def make(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Write the clip and return its truth."""
    rng = np.random.default_rng(recipe.seed)
    move, speed = recipe.kind, recipe.parameters["speed"]
    duration = START + LENGTH + REST
    still = move in ("static", "shake")
    start, end = (0.0, duration) if still else (START, START + LENGTH)
    ground = photograph(GROUNDS[int(rng.integers(len(GROUNDS)))])
    somebody = actor(rng, "astronaut") if recipe.condition == "somebody before it" else None
    phases = rng.uniform(0, 2 * np.pi, 4)
    effect = _effect(recipe.condition, rng)

    def at(index: int) -> Picture:
        t = index / FPS
        gone = SIGNS.get(move, 1) * speed * (min(max(t, start), end) - (start + end) / 2)
        seen = view(ground, SIZE, *_look(move, gone, speed, t, ground, phases))
        return effect(somebody.over(seen, t) if somebody else seen, index)

    crf = "38" if recipe.condition == "compression" else "20"
    count = round(duration * FPS)
    write_clip(path, map(at, range(count)), fps=FPS, options={"preset": "veryfast", "crf": crf})
    return {
        "fps": FPS, "duration": duration, "move": move, "start": start, "end": end, "speed": speed,
    }  # fmt: skip


def _effect(condition: str, rng: np.random.Generator) -> _scenes.Effect:
    made = {"noise": _scenes.noise, "low light": _scenes.low_light}.get(condition)
    return made(rng) if made else lambda picture, _: picture


def _look(
    move: str, gone: float, speed: float, t: float, ground: Picture, phases: Any
) -> tuple[tuple[float, float], float, float]:
    """Centre, height and turn of the view; ``gone``: how far the move is from its middle."""
    height = 0.5
    high = height * ground.shape[0]  # of the view, in pixels of the photograph
    wide = high * SIZE[0] / SIZE[1]
    across = down = turn = 0.0
    if move.startswith("pan"):
        across = gone * wide
    elif move.startswith("tilt"):
        down = -gone * high
    elif move.startswith("zoom"):
        height *= 2.0**-gone
    elif move.startswith("roll"):
        turn = float(np.radians(gone))
    elif move == "shake":
        rates = 2 * np.pi * np.array([2.3, 3.7, 2.9, 4.3])
        way = np.sin(rates * t + phases) * wide * speed / np.sqrt(2)
        across, down = float(way[0] + way[1]), float(way[2] + way[3])
    centre = (0.5 + across / ground.shape[1], 0.5 + down / ground.shape[0])
    return centre, height, turn
