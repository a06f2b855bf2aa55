"""Clips of photographs over which a camera moves, with the boxes of the things in them.

The boxes were drawn by eye on the photographs; their places in each picture follow from the move.
Truth: ``things``, each with ``label`` (a class of COCO) and ``boxes``, for each picture
[x0, y0, x1, y1] in shares of it, cut at its edges, or null where less than half of the thing is in
view; ``aside``, for each picture the boxes of what may be found or not (what is mostly hidden, or
less than half in view); ``fps``, ``duration``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.factory import Recipe, _scenes
from benchmarks.factory._pictures import photograph, view
from tiktok_ray.media.writer import write_clip

VERSION = 2

FPS, SECONDS = 25.0, 4.0
HALF = 0.5  # of a thing in view, from which on it has to be found
GREY = 110  # around a photograph seen from afar
Box = tuple[float, float, float, float]

#: By photograph: its size, its things with their boxes, and what does not count, in pixels.
THINGS: dict[str, tuple[tuple[int, int], tuple[tuple[str, Box], ...], tuple[Box, ...]]] = {
    "bus": (
        (810, 1080),
        (
            ("bus", (5, 232, 805, 735)),
            ("person", (50, 400, 245, 902)),
            ("person", (225, 405, 342, 860)),
            ("person", (670, 400, 810, 880)),
        ),
        ((0, 555, 78, 872),),
    ),
    "zidane": (
        (1280, 720),
        (("person", (123, 200, 1152, 719)), ("person", (747, 42, 1142, 712))),
        (),
    ),
    "astronaut": ((512, 512), (("person", (15, 5, 425, 512)),), ()),
}
#: Size of the clip, and height of the view at its widest, by photograph.
VIEWS = {
    "bus": ((360, 480), 1.0),
    "zidane": ((640, 360), 1.0),
    "astronaut": ((480, 480), 1.0),
}
CONDITIONS = ("plain", "plain", "plain", "noise", "low light", "compression", "shaky", "from afar")


def recipes(edition: int) -> Iterator[Recipe]:
    """Each photograph under each condition."""
    seed = 10_000 * edition
    for name in THINGS:
        for condition in CONDITIONS:
            seed += 1
            yield Recipe("objects", name, condition, seed)


def make(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Write the clip, a slow move over the photograph, and return its truth."""
    rng = np.random.default_rng(recipe.seed)
    size, height = VIEWS[recipe.kind]
    picture = photograph(recipe.kind)
    afar = recipe.condition == "from afar"
    if afar:
        high, wide = (side // 2 for side in picture.shape[:2])
        picture = np.pad(picture, ((high, high), (wide, wide), (0, 0)), constant_values=GREY)
    moves = _moves(rng, recipe.condition, height)
    effect = _effect(recipe.condition, rng)
    seen = (effect(view(picture, size, *look), k) for k, look in enumerate(moves))
    crf = "38" if recipe.condition == "compression" else "20"
    write_clip(path, seen, fps=FPS, options={"preset": "veryfast", "crf": crf})
    taken, things, aside = THINGS[recipe.kind]
    shape = (picture.shape[1], picture.shape[0])

    def places(box: Box, least: float) -> list[list[float] | None]:
        whole = np.array(box) / (*taken, *taken)
        whole = (whole + 0.5) / 2 if afar else whole
        return [placed(whole, shape, size, centre, tall, least) for centre, tall in moves]

    counted = [places(box, HALF) for _, box in things]
    seen_at_all = [places(box, 0.0) for _, box in things]
    hidden = [places(box, 0.0) for box in aside]
    return {
        "fps": FPS,
        "duration": SECONDS,
        "things": [
            {"label": label, "boxes": boxes}
            for (label, _), boxes in zip(things, counted, strict=True)
        ],
        "aside": [
            [boxes[k] for boxes in hidden if boxes[k]]
            + [
                seen_at_all[i][k]
                for i, boxes in enumerate(counted)
                if not boxes[k] and seen_at_all[i][k]
            ]
            for k in range(len(moves))
        ],
    }


def _moves(
    rng: np.random.Generator, condition: str, height: float
) -> list[tuple[tuple[float, float], float]]:
    """Centre and height of the view in each picture: from one view slowly to another."""
    first, last = rng.uniform(0.62, 0.92, 2) * height
    ends = [rng.uniform(0.44, 0.56, 2) for _ in range(2)]
    share = np.linspace(0, 1, round(FPS * SECONDS))
    shake = 0.008 * np.sin(np.outer(np.arange(len(share)) / FPS, 2 * np.pi * np.array([2.3, 3.1])))
    sway = shake if condition == "shaky" else np.zeros_like(shake)
    centres = ends[0] + share[:, None] * (ends[1] - ends[0]) + sway
    tall = first + share * (last - first)
    return [((x, y), float(h)) for (x, y), h in zip(centres.tolist(), tall, strict=True)]


def _effect(condition: str, rng: np.random.Generator) -> _scenes.Effect:
    made = {"noise": _scenes.noise, "low light": _scenes.low_light}.get(condition)
    return made(rng) if made else lambda picture, _: picture


def placed(
    box: Any,
    shape: Sequence[int],
    size: Sequence[int],
    centre: tuple[float, float],
    height: float,
    least: float = HALF,
) -> list[float] | None:
    """A box (shares of a photograph of ``shape``, width and height) as a view of it shows it.

    None where less than the share ``least`` of it lies in the view, or nothing.
    """
    high = height * shape[1]
    wide = high * size[0] / size[1]
    span = np.array([wide / shape[0], high / shape[1]] * 2)
    seen = (box - np.array(centre * 2)) / span + 0.5
    kept = seen.clip(0, 1)
    area = (seen[2] - seen[0]) * (seen[3] - seen[1])
    inside = (kept[2] - kept[0]) * (kept[3] - kept[1])
    return (
        [round(float(side), 4) for side in kept] if inside > 0 and inside >= least * area else None
    )
