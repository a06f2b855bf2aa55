"""The pace of clips whose cuts are known, and endings that lead back or do not.

Cuts per second in each window of 3 s beside those that are true; hook, moments, feelings and calls
to action have no truth here. The fastest window is told by motion and speech too, so that how often
it is the one of most cuts is no error of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from actors.cut_analysis import Cuts
from actors.temporal_flow import Flow
from actors.temporal_flow.pacing import WINDOW_S
from benchmarks.accuracy import Bench, Figure
from benchmarks.accuracy._figures import groups, mean_figure, share_figure

#: Which fields the figures are errors of.
FIELDS = {
    ("error of cuts per minute", "all"): ("pacing.cuts",),
}
NEEDED = frozenset({"cut_analysis"})


def figures(bench: Bench) -> Iterator[Figure]:
    known: list[tuple[str, dict[str, Any]]] = []
    for clip in bench.clips("transitions"):
        flow: Flow = bench.output("temporal_flow", clip.path, NEEDED)
        cuts: Cuts = bench.output("cut_analysis", clip.path, NEEDED)
        known.append((clip.recipe.condition, against(flow, cuts, clip.truth)))
    for condition, some in groups(known).items():
        edited = [one for one in some if one["fastest"] is not None]
        yield mean_figure(
            "error of cuts per minute", "windows of 3 s", condition, [o["pace"] for o in some]
        )
        yield mean_figure(
            "error of shots per minute", "whole clips", condition, [o["rate"] for o in some]
        )
        yield mean_figure(
            "error of the median shot, s", "whole clips", condition, [o["median"] for o in some]
        )
        yield share_figure(
            "fastest window right",
            "clips with cuts",
            condition,
            [(o["fastest"], 1) for o in edited],
        )


def against(flow: Flow, cuts: Cuts, truth: dict[str, Any]) -> dict[str, Any]:
    """One clip: errors of its pace, and whether the window told to be fastest is one of those."""
    end = truth["duration"]
    true = [new_shot(one) for one in truth["transitions"]]
    wanted = rates(true, flow.pacing.times, end)
    off = 60 * np.abs(np.array(flow.pacing.cuts) - wanted)
    fastest = None
    if true:
        at = flow.pacing.times.index(flow.pacing.fastest_s)
        fastest = bool(wanted[at] >= wanted.max() - 1e-6)
    shots = [one.end - one.start for one in cuts.shots]
    return {
        "pace": float(off.mean()),
        "rate": abs(len(shots) - len(true) - 1) * 60 / end,
        "median": abs(float(np.median(shots)) - float(np.median(np.diff([0.0, *true, end])))),
        "fastest": fastest,
    }


def new_shot(change: dict[str, Any]) -> float:
    """When the new shot takes over: the middle of a gradual transition."""
    return float(change["start"] + change["end"]) / 2


def rates(cuts: Sequence[float], times: Sequence[float], end: float) -> Any:
    """Cuts per second in the windows about some times."""
    low = np.maximum(0.0, np.array(times) - WINDOW_S / 2)
    high = np.minimum(end, np.array(times) + WINDOW_S / 2)
    count = np.searchsorted(cuts, high) - np.searchsorted(cuts, low)
    return count / np.maximum(high - low, 1e-6)
