"""Settings that come back: of each two shots, whether they show the same one, by precision and recall.

The setting of a true shot is what is told of its middle, so that errors of cuts count too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from actors.scene_segmentation import Scenes
from benchmarks.accuracy import Bench, Figure
from benchmarks.accuracy._figures import f1_figure, groups, mean_figure, share_figure

#: Which fields the figures are errors of.
FIELDS = {
    ("pairwise F1", "all"): ("scenes.setting",),
    ("error of the number of settings", "all"): ("settings.id",),
}


def figures(bench: Bench) -> Iterator[Figure]:
    known: list[tuple[str, tuple[int, int, int, int]]] = []
    for clip in bench.clips("scenes"):
        found: Scenes = bench.output("scene_segmentation", clip.path, frozenset())
        shots = clip.truth["shots"]
        told = [setting_at(found, (shot["start"] + shot["end"]) / 2) for shot in shots]
        truth = [shot["setting"] for shot in shots]
        count = len(set(truth))
        known.append((clip.recipe.condition, (*pairs(truth, told), len(found.settings) - count)))
    for condition, some in groups(known).items():
        yield f1_figure("pairwise F1", "same setting", condition, [one[:3] for one in some])
        yield share_figure(
            "pairwise precision", "same setting", condition, [(r, r + w) for r, w, _, _ in some]
        )
        yield share_figure(
            "pairwise recall", "same setting", condition, [(r, r + m) for r, _, m, _ in some]
        )
        yield mean_figure(
            "error of the number of settings", "settings", condition,
            [abs(one[3]) for one in some],
        )  # fmt: skip


def setting_at(found: Scenes, t: float) -> int:
    """The setting told of a time."""
    return next((one.setting for one in found.scenes if one.start <= t < one.end), -1)


def pairs(truth: Sequence[int], told: Sequence[int]) -> tuple[int, int, int]:
    """Pairs of shots rightly, wrongly and not said to show the same setting."""
    right = wrong = missed = 0
    for i, j in combinations(range(len(truth)), 2):
        same, said = truth[i] == truth[j], told[i] == told[j]
        right, wrong, missed = right + (same and said), wrong + (said and not same), missed + (same and not said)  # fmt: skip
    return right, wrong, missed
