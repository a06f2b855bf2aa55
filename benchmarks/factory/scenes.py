"""Clips whose shots come back to a few settings, for scenes.

A setting is a photograph; each shot of it looks elsewhere in it and moves otherwise. Truth:
``shots``, each with ``start`` and ``end`` in seconds and the number of its ``setting``; ``fps``,
``duration``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.factory import Recipe
from benchmarks.factory._pictures import SCENES, Picture, photograph
from benchmarks.factory._scenes import Shot, actor, whole
from tiktok_ray.media.writer import write_clip

VERSION = 1

SIZE, FPS = (270, 480), 25.0
#: How a setting looks when it comes back, and how many clips there are of each.
CONDITIONS = {"same view": 8, "near view": 8, "other view": 8, "other light": 8, "somebody": 8}
#: How far the centre strays (shares of the photograph) and the view's height changes (a factor).
STRAYS = {"same view": (0.01, 1.03), "near view": (0.06, 1.25), "other view": (0.16, 1.7),
          "other light": (0.02, 1.05), "somebody": (0.04, 1.15)}  # fmt: skip


def recipes(edition: int) -> Iterator[Recipe]:
    """Two to four settings under each condition."""
    seed = 10_000 * edition
    for condition, count in CONDITIONS.items():
        for k in range(count):
            seed += 1
            settings = 2 + k % 3
            yield Recipe("scenes", f"{settings} settings", condition, seed, {"settings": settings})


def make(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Write the clip, seven to ten shots of 1 to 2 s with hard cuts, and return its truth."""
    rng = np.random.default_rng(recipe.seed)
    count = recipe.parameters["settings"]
    names = [SCENES[k] for k in rng.permutation(len(SCENES))[:count]]
    homes = [(rng.uniform(0.4, 0.6, 2), rng.uniform(0.5, 0.65)) for _ in names]
    order = _order(rng, count, int(rng.integers(7, 11)))
    lengths = [int(one) for one in rng.integers(25, 50, len(order))]
    shots = [_shot(rng, recipe.condition, names[k], *homes[k]) for k in order]
    lights = [rng.uniform(0.6, 1.1) if recipe.condition == "other light" else 1.0 for _ in order]

    def pictures() -> Iterator[Picture]:
        for shot, light, length in zip(shots, lights, lengths, strict=True):
            for k in range(length):
                yield whole(light * shot.at(k / FPS, SIZE).astype(np.float32))

    write_clip(path, pictures(), fps=FPS, options={"preset": "veryfast", "crf": "21"}, gop=250)
    ends = np.cumsum(lengths) / FPS
    told = zip(order, (0.0, *ends[:-1].tolist()), ends.tolist(), strict=True)
    return {
        "fps": FPS,
        "duration": float(ends[-1]),
        "shots": [{"setting": k, "start": start, "end": end} for k, start, end in told],
    }


def _order(rng: np.random.Generator, count: int, length: int) -> list[int]:
    """Settings of the shots: each at least once, two of the same never in a row."""
    order = list(range(count))
    while len(order) < length:
        others = [k for k in range(count) if k != order[-1]]
        order.append(others[int(rng.integers(len(others)))])
    return order


def _shot(rng: np.random.Generator, condition: str, name: str, home: Any, height: float) -> Shot:
    stray, factor = STRAYS[condition]
    x, y = (home + rng.uniform(-stray, stray, 2)).clip(0.3, 0.7).tolist()
    tall = float(np.clip(height * factor ** rng.uniform(-1, 1), 0.3, 0.9))
    pan = (float(rng.uniform(-0.02, 0.02)), 0.0)
    made = Shot(photograph(name), (x, y), tall, pan, zoom=float(rng.uniform(-0.03, 0.03)))
    # The same person wherever they are: a setting is what is behind them.
    return replace(made, actor=actor(rng, "grace_hopper")) if condition == "somebody" else made
