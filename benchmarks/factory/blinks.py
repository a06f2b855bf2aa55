"""Clips of people whose eyes are shut for a known time: their lids are drawn down over them.

In a photograph the skin between the upper lid and the brow is stretched down to the lower lid, as
a lid is, column by column; lashes come down with it. A camera drifts slowly. Each blink has a
picture with half-shut eyes before and after. Truth: ``blinks``, ``start`` and ``end`` in seconds, of
the shut eyes alone; ``fps``, ``duration``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.factory import Recipe
from benchmarks.factory._pictures import Picture, photograph, view
from tiktok_ray.media.writer import write_clip

VERSION = 1

SIZE, FPS = (360, 640), 30
#: Pictures with shut eyes, and how long that is.
SHUT = {"shut for 33 ms": 1, "shut for 100 ms": 3, "shut for 200 ms": 6}
BLINKS = 3  # of each clip
#: How far above the upper lid its skin begins to stretch, in widths of the eye.
LID = 0.4

Points = Sequence[tuple[float, float]]
#: Upper and lower lids of both eyes of a photograph, in its pixels, as seen by eye; where to look.
EYES: dict[str, tuple[tuple[float, float], Sequence[tuple[Points, Points]]]] = {
    "astronaut": (
        (0.44, 0.24),
        (
            (
                ((182.9, 94.3), (184.7, 92.9), (189.8, 91.7), (196.4, 93.8), (200.0, 97.1)),
                ((182.9, 94.3), (185.8, 96.5), (191.3, 97.7), (197.4, 97.3), (200.0, 97.1)),
            ),
            (
                ((221.8, 98.2), (225.6, 95.2), (232.5, 93.8), (237.6, 95.6), (239.3, 97.1)),
                ((221.8, 98.2), (224.3, 98.7), (230.5, 99.7), (236.2, 99.0), (239.3, 97.1)),
            ),
        ),
    ),
    "zidane": (
        (0.76, 0.27),
        (
            (
                ((636.0, 110.2), (638.7, 108.9), (643.7, 108.3), (649.6, 110.5), (652.8, 113.5)),
                ((636.0, 110.2), (639.0, 112.3), (644.2, 113.6), (649.9, 113.6), (652.8, 113.5)),
            ),
            (
                ((672.7, 115.3), (675.9, 112.9), (681.9, 112.3), (685.9, 114.0), (687.6, 115.4)),
                ((672.7, 115.3), (675.2, 116.0), (680.7, 116.9), (685.0, 116.6), (687.6, 115.4)),
            ),
        ),
    ),
}


def recipes(edition: int) -> Iterator[Recipe]:
    """Each person with eyes shut for each time, four times."""
    seed = 10_000 * edition
    for condition in SHUT:
        for person in EYES:
            for _ in range(4):
                seed += 1
                yield Recipe("blinks", person, condition, seed)


def make(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Write the clip, open eyes but for three blinks, and return its truth."""
    rng = np.random.default_rng(recipe.seed)
    shut = SHUT[recipe.condition]
    starts = [int(start) for start in (np.arange(BLINKS) + 0.6) * 50 + rng.integers(0, 20, BLINKS)]
    count = 50 * BLINKS + 50
    closed = np.zeros(count)
    for start in starts:
        closed[start : start + shut] = 1.0
        closed[[start - 1, start + shut]] = 0.5
    drawn = {share: lids(recipe.kind, share) for share in (0.0, 0.5, 1.0)}
    x, y = EYES[recipe.kind][0]
    way = rng.uniform(-0.004, 0.004, 2)

    def pictures() -> Iterator[Picture]:
        for k in range(count):
            centre = (x + way[0] * k / FPS, y + way[1] * k / FPS)
            yield view(drawn[float(closed[k])], SIZE, centre, 0.55)

    write_clip(path, pictures(), fps=FPS, options={"preset": "veryfast", "crf": "21"})
    return {
        "fps": FPS,
        "duration": count / FPS,
        "blinks": [{"start": k / FPS, "end": (k + shut) / FPS} for k in starts],
    }


def lids(person: str, share: float) -> Picture:
    """The photograph with the eyes shut by a share, 0..1: RGB, uint8 [h, w, 3]."""
    import cv2

    picture = photograph(person)
    height, width = picture.shape[:2]
    ys, xs = (a.astype(np.float32) for a in np.mgrid[:height, :width])
    for upper, lower in EYES[person][1]:
        ys = _drawn_down(ys, xs, np.array(upper), np.array(lower), share)
    return np.asarray(cv2.remap(picture, xs, ys, cv2.INTER_CUBIC), np.uint8)


def _drawn_down(
    ys: NDArray[np.float32],
    xs: NDArray[np.float32],
    upper: NDArray[np.float64],
    lower: NDArray[np.float64],
    share: float,
) -> NDArray[np.float32]:
    """Where each pixel comes from [h, w], in rows, once one eye's upper lid has come down."""
    lid, rim = (np.interp(xs, *line.T) for line in (upper, lower))
    begin = lid - LID * (upper[-1, 0] - upper[0, 0])
    down = lid + share * (rim - lid)
    rows = np.arange(len(ys), dtype=np.float32)[:, None]
    inside = (xs >= upper[0, 0]) & (xs <= upper[-1, 0]) & (rows >= begin) & (rows < down)
    stretched = begin + (rows - begin) * (lid - begin) / (down - begin)
    return np.where(inside, stretched, ys).astype(np.float32)
