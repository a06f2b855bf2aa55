"""Palettes of clips with known colours: CIEDE2000 of each colour, and error of its share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from actors.color_analysis import Colors
from benchmarks.accuracy import Bench, Figure, interval

#: Which fields the figures are errors of.
FIELDS = {
    ("mean ΔE00", "all"): ("palette.lab", "palette.hex"),
    ("mean error of share", "all"): ("palette.share",),
}
JUST_SEEN = 2.3  # of ΔE*ab (Mahy et al., 1994), taken for ΔE00 too


def figures(bench: Bench) -> Iterator[Figure]:
    """Means over the true colours, each beside the nearest of the palette, whole clips drawn."""
    known: list[tuple[str, float, float, int]] = []
    for clip in bench.clips("colors"):
        found: Colors = bench.output("color_analysis", clip.path)
        known.append((clip.recipe.condition, *against(found, clip.truth["colors"])))
    for condition in ("all", *dict.fromkeys(one[0] for one in known)):
        some = [one[1:] for one in known if condition in ("all", one[0])]
        for k, measure in enumerate(("mean ΔE00", "mean error of share", "clips of right number")):
            values = np.array([one[k] for one in some], float)
            low, high = interval(values, bounds=(0, 1) if k == 2 else None)
            most = JUST_SEEN if k == 0 and condition == "all" else None
            yield Figure(
                measure, "palette", condition, "factory", len(values), float(values.mean()),
                low, high, most=most,
            )  # fmt: skip


def against(found: Colors, truth: list[dict[str, Any]]) -> tuple[float, float, int]:
    """Of one clip: mean ΔE and mean error of share, and whether there are as many as in truth."""
    from skimage import color

    difference, rgb2lab = cast(Any, color).deltaE_ciede2000, color.rgb2lab
    labs = np.array([swatch.lab for swatch in found.palette])
    shares = np.array([swatch.share for swatch in found.palette])
    wanted = rgb2lab(np.array([[one["rgb"] for one in truth]]) / 255.0)[0]
    apart = difference(wanted[:, None], labs[None])
    nearest = apart.argmin(1)
    off = np.abs(shares[nearest] - [one["share"] for one in truth])
    return float(apart.min(1).mean()), float(off.mean()), int(len(labs) == len(truth))
