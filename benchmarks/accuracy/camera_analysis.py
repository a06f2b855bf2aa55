"""Moves of a camera of known kind and speed: F1 of kinds, errors of speed and of edges.

A move is found where one of its kind overlaps it by half (intersection over union) and every other
move of the clip is one too many. A camera that stands still is found where no move is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from actors.camera_analysis import Camera, Move
from benchmarks.accuracy import Bench, Figure
from benchmarks.accuracy._figures import f1_figure, groups, mean_figure, median_figure, share_figure
from tiktok_ray.media import spans

#: Which fields the figures are errors of.
FIELDS = {
    ("F1 of moves", "all"): ("moves.kind", "shots.movements"),
    ("error of speed, relative", "all"): ("moves.speed", "moves.amount"),
    ("error of strength, relative", "all"): ("shots.shake",),
    ("error of edges, s, median", "all"): ("moves.start", "moves.end"),
}
ALIKE = 0.5  # intersection over union from which a move is the one that was made


class Told(NamedTuple):
    """What became of the move of one clip."""

    kind: str
    right: int
    wrong: int
    missed: int
    speed: list[float]  # relative error
    edges: list[float]  # s


def figures(bench: Bench) -> Iterator[Figure]:
    known: list[tuple[str, Told]] = []
    for clip in bench.clips("camera"):
        found: Camera = bench.output("camera_analysis", clip.path)
        known.append((clip.recipe.condition, against(found.moves, clip.truth)))
    for condition, some in groups(known).items():
        moving = [one for one in some if one.kind != "static"]
        yield f1_figure(
            "F1 of moves", "moves", condition, [(t.right, t.wrong, t.missed) for t in moving]
        )
        yield share_figure(
            "clips in which nothing moves, told so", "static", condition,
            [(not one.wrong, 1) for one in some if one.kind == "static"],
        )  # fmt: skip
        intended = [one for one in moving if one.kind != "shake"]
        yield mean_figure(
            "error of speed, relative", "moves but shakes", condition,
            [error for one in intended for error in one.speed], unit="moves",
        )  # fmt: skip
        yield mean_figure(
            "error of strength, relative", "shake", condition,
            [error for one in moving if one.kind == "shake" for error in one.speed], unit="moves",
        )  # fmt: skip
        yield median_figure(
            "error of edges, s, median", "moves but shakes", condition,
            [one.edges for one in intended], unit="edges",
        )  # fmt: skip
    for kind in dict.fromkeys(told.kind for _, told in known if told.kind != "static"):
        rows = [(t.right, t.wrong, t.missed) for _, t in known if t.kind == kind]
        yield f1_figure("F1 of moves", kind, "each kind", rows)


def against(found: Sequence[Move], truth: dict[str, Any]) -> Told:
    """One clip's moves beside the one that was made."""
    kind, extent = truth["move"], (truth["start"], truth["end"])
    if kind == "static":
        return Told(kind, 0, len(found), 0, [], [])
    same = [move for move in found if move.kind == kind and iou(move.span, extent) >= ALIKE]
    best = max(same, key=lambda move: iou(move.span, extent), default=None)
    if best is None:
        return Told(kind, 0, len(found), 1, [], [])
    return Told(
        kind, 1, len(found) - 1, 0,
        [abs(best.speed / truth["speed"] - 1)],
        [abs(best.start - extent[0]), abs(best.end - extent[1])],
    )  # fmt: skip


def iou(one: tuple[float, float], two: tuple[float, float]) -> float:
    """Intersection of two spans over their union."""
    shared = spans.overlap([one], [two])
    return shared / (one[1] - one[0] + two[1] - two[0] - shared)
