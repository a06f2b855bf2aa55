"""Clips of areas of known colours, for palettes.

Truth: ``colors``, each with ``rgb`` (0..255) and ``share`` of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.factory import Recipe, _scenes
from benchmarks.factory._pictures import Picture
from tiktok_ray.media.writer import write_clip

VERSION = 1

SIZE = (180, 320)
FPS, SECONDS = 10.0, 3.0
CONDITIONS = ("plain", "plain", "plain", "noise", "noise", "compression")
APART = 30.0  # CIEDE2000 between each two colours of a clip, at least


def recipes(edition: int) -> Iterator[Recipe]:
    """Two to five colours under each condition."""
    seed = 10_000 * edition
    for count in (2, 3, 4, 5):
        for condition in CONDITIONS:
            seed += 1
            yield Recipe("colors", f"{count} colours", condition, seed, {"count": count})


def make(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Write the clip, upright stripes of each colour, and return its truth."""
    rng = np.random.default_rng(recipe.seed)
    colors = _distinct(rng, recipe.parameters["count"])
    wide, high = SIZE
    shares = rng.dirichlet(np.full(len(colors), 6.0)) * 0.5 + 0.5 / len(colors)
    edges = np.rint(np.cumsum(shares) * wide).astype(int)
    owner = np.searchsorted(edges, np.arange(wide), side="right").clip(max=len(colors) - 1)
    still: Picture = np.broadcast_to(colors[owner], (high, wide, 3)).astype(np.uint8)
    grain = _scenes.noise(rng)
    noisy = recipe.condition == "noise"
    shown = (grain(still, k) if noisy else still for k in range(round(FPS * SECONDS)))
    crf = "40" if recipe.condition == "compression" else "18"
    write_clip(path, shown, fps=FPS, options={"preset": "veryfast", "crf": crf})
    counts = np.bincount(owner, minlength=len(colors)) / wide
    told = zip(colors.tolist(), counts.tolist(), strict=True)
    return {"colors": [{"rgb": rgb, "share": share} for rgb, share in told]}


def _distinct(rng: np.random.Generator, count: int) -> Picture:
    """Colours that nobody takes for one another, uint8 [count, 3]; none near black or white, where
    grain would be clipped.
    """
    from skimage import color

    difference, rgb2lab = cast(Any, color).deltaE_ciede2000, color.rgb2lab
    found: list[Any] = []
    while len(found) < count:
        rgb = rng.integers(40, 216, 3)
        lab = rgb2lab(rgb / 255.0)
        if all(difference(lab, rgb2lab(one / 255.0)) >= APART for one in found):
            found.append(rgb)
    return np.array(found, np.uint8)
