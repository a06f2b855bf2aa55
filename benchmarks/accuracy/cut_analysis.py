"""Cuts and gradual transitions, by kind and by condition, beside PySceneDetect's detectors.

A boundary found counts if it is at the first picture of the new shot, or within the extent of a
gradual transition, give or take 0 or 1 picture; each truth is found once, what else is found is
false. Peers run on the same clips at their defaults, and at the setting of some fifty that is best
for each kind on these very clips, which favours them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from actors.cut_analysis import Cuts
from benchmarks.accuracy import Absent, Bench, Figure, Samples, _peers, interval
from benchmarks.factory.transitions import KINDS, NONE

GRADUAL = ("dissolve", "fade", "wipe", "slide")

#: What must hold of F1 at 0 pictures.
LEAST = {"cut": 0.97, "dissolve": 0.9, "fade": 0.9, "wipe": 0.85, "slide": 0.85}
#: Which fields the figures are errors of.
FIELDS = {
    ("F1 ±0", "all"): ("transitions.new_shot",),
    ("F1 ±0", "real clips"): ("transitions.new_shot",),
    ("extent IoU", "found"): ("transitions.start", "transitions.end"),
    ("named so", "found"): ("transitions.kind",),
}
FALSE = 1.0  # false cuts in 100 clips without any

Span = tuple[float, float]


@dataclass(frozen=True)
class Truth:
    """What is true of a clip: extents of its transitions, their kinds, and its pictures' rate."""

    path: Path
    kind: str
    condition: str
    fps: float
    spans: list[Span]
    kinds: list[str]


@dataclass
class Found:
    """What was found in a clip: boundaries, and for the project's own their extents and kinds."""

    times: list[float]
    spans: list[Span] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)


def made(bench: Bench) -> Iterator[Truth]:
    """Clips of the factory."""
    for clip in bench.clips("transitions"):
        changes = clip.truth["transitions"]
        yield Truth(
            clip.path, clip.recipe.kind, clip.recipe.condition, clip.truth["fps"],
            [(c["start"], c["end"]) for c in changes], [c["kind"] for c in changes],
        )  # fmt: skip


F = 1001 / 30_000

#: Real clips: pictures a second, and transitions seen by eye; two times are an extent.
REAL: dict[str, tuple[float, list[tuple[float, ...]]]] = {
    "video/short_vertical_composite.mp4": (30.0, [(3.0,), (6.0,), (9.0,), (14.0,), (17.0,)]),
    "odd/truncated_half_faststart.mp4": (1 / F, [(20 * F,), (82 * F,)]),
    "video/bbb_0_30_vp8.webm": (24.0, [(283 / 24,), (376 / 24,), (551 / 24,)]),
    "video/psd_testvideo.mp4": (
        1 / F,
        [(30 * F,), (180 * F,), (210 * F, 240 * F), (330 * F, 423 * F), (527 * F, 559 * F),
         (663 * F, 693 * F)],
    ),
    "video/bigbuckbunny_51.mp4": (25.0, []),
    "video/exo_face_1s.mp4": (1 / F, []),
    "video/laptop_desk.mp4": (25.0, []),
    "odd/rotated180_dog.mp4": (10.0, []),
    "odd/pigs.gif": (10.0, []),
    "video/psd_counter.mp4": (10.0, []),
    "video/grid_bbaf2n.mpg": (25.0, []),
    "video/grid_swwp2s.mpg": (25.0, []),
    "video/gesture_woman.mp4": (25.0, []),
    "video/carphone.mp4": (1 / F, []),
}  # fmt: skip


def real(bench: Bench) -> Iterator[Truth]:
    """Real clips whose cuts are known."""
    for name, (fps, changes) in REAL.items():
        spans = [(change[0], change[-1]) for change in changes]
        yield Truth(
            bench.file(name), "any" if spans else "none", "real", fps, spans,
            ["cut" if a == b else "gradual" for a, b in spans],
        )  # fmt: skip


def ours(bench: Bench, path: Path) -> Found:
    """What the project says of a clip."""
    out: Cuts = bench.output("cut_analysis", path)
    begun = [t for t in out.transitions if t.new_shot is not None]
    return Found(
        [float(t.new_shot or 0.0) for t in begun],
        [t.span for t in begun],
        [t.kind for t in begun],
    )


# --- counting ---


def pairs(truth: Truth, times: Sequence[float], within: int) -> list[tuple[int, int]]:
    """Which boundary found is which true one, positions in either; nearest to the middle first."""
    slack = (within + 0.5) / truth.fps
    near = sorted(
        (abs(t - (a + b) / 2), i, j)
        for i, (a, b) in enumerate(truth.spans)
        for j, t in enumerate(times)
        if a - slack <= t <= b + slack
    )
    one: dict[int, int] = {}
    for _, i, j in near:
        if i not in one and j not in one.values():
            one[i] = j
    return sorted(one.items())


def counts(truth: Truth, times: Sequence[float], within: int) -> tuple[int, int, int]:
    """True boundaries found, false ones, and those missed."""
    hits = len(pairs(truth, times, within))
    return hits, len(times) - hits, len(truth.spans) - hits


def f1(some: Samples) -> float:
    """F1 of rows of hits, false ones and misses."""
    hits, false, missed = some.sum(0)[:3].tolist()
    return 2 * hits / (2 * hits + false + missed) if hits + false + missed else float("nan")


def precision(some: Samples) -> float:
    hits, false = some.sum(0)[:2].tolist()
    return hits / (hits + false) if hits + false else float("nan")


def recall(some: Samples) -> float:
    hits, _, missed = some.sum(0)[:3].tolist()
    return hits / (hits + missed) if hits + missed else float("nan")


def overlap(one: Span, two: Span) -> float:
    """Intersection of two extents over their union."""
    shared = min(one[1], two[1]) - max(one[0], two[0])
    whole = max(one[1], two[1]) - min(one[0], two[0])
    return max(0.0, shared) / whole if whole > 0 else float(shared >= 0)


@dataclass(frozen=True)
class Judged:
    """A clip's truth, and what everybody says of it: the project, and each peer at each setting."""

    truth: Truth
    found: Found
    peers: _peers.Told


def judged(bench: Bench, clips: Iterable[Truth]) -> list[Judged]:
    out: list[Judged] = []
    for truth in clips:
        peers = _peers.told(truth.path, truth.fps)
        out.append(Judged(truth, ours(bench, truth.path), peers))
    return out


def figures(bench: Bench) -> Iterator[Figure]:
    known = judged(bench, made(bench))
    yield from of_kinds(known, "factory")
    yield from of_none(known, "factory")
    yield from of_conditions(known)
    try:
        yield from of_real(judged(bench, real(bench)))
    except Absent as reason:
        yield Figure("F1 ±0", "all", "real clips", "real", 0, None, reason=str(reason))


Where = Literal["factory", "real"]


def of_kinds(known: Sequence[Judged], clips: Where) -> Iterator[Figure]:
    """F1 of each kind, ours and the peers', and what else is said of its transitions."""
    for kind in KINDS:
        some = [one for one in known if one.truth.kind == kind]
        if not some:
            continue
        yield from of_kind(some, kind, clips)
        for name in _peers.DETECTORS:
            yield from of_peer(some, kind, name, clips)


def of_kind(some: Sequence[Judged], kind: str, clips: Where) -> Iterator[Figure]:
    for within in (0, 1):
        rows = np.array([counts(o.truth, o.found.times, within) for o in some], float)
        least = LEAST.get(kind) if within == 0 else None
        yield figure(f"F1 ±{within}", kind, "all", clips, rows, f1, least=least)
        if kind == "jump cut" and within == 0:
            yield figure("recall ±0", kind, "all", clips, rows, recall, least=0.75)
            yield figure("precision ±0", kind, "all", clips, rows, precision, least=0.9)
    extents, names = [], []
    for o in some:
        for i, j in pairs(o.truth, o.found.times, 1):
            extents.append(overlap(o.truth.spans[i], o.found.spans[j]))
            names.append(float(o.found.kinds[j] == NAMED.get(kind, kind)))
    if kind in GRADUAL and extents:
        yield figure(
            "extent IoU", kind, "found", clips, np.array(extents), None, "transitions", least=0.6
        )
    if names:
        yield figure("named so", kind, "found", clips, np.array(names), None, "transitions")


#: What the project calls the kinds of the factory.
NAMED = {"cut": "hard", "jump cut": "jump"}


def of_peer(some: Sequence[Judged], kind: str, name: str, clips: Where) -> Iterator[Figure]:
    """A peer's F1 at 0 pictures: at its defaults, and at the best setting for these clips."""
    rows = by_setting(some, name, 0)
    for label, k in (("defaults", 0), ("tuned", max(rows, key=lambda k: nan_to_zero(f1(rows[k]))))):
        yield figure("F1 ±0", kind, "all", clips, rows[k], f1, by=f"{name}, {label}")


def by_setting(some: Sequence[Judged], name: str, within: int) -> dict[int, Samples]:
    return {
        k: np.array([counts(o.truth, o.peers[name, k], within) for o in some], float)
        for who, k in some[0].peers
        if who == name
    }


def nan_to_zero(value: float) -> float:
    return 0.0 if np.isnan(value) else value


def of_none(known: Sequence[Judged], clips: Where) -> Iterator[Figure]:
    """False cuts per 100 clips in which there are none."""
    none = [one for one in known if not one.truth.spans]
    for kind in (*NONE, "all"):
        some = [one for one in none if kind in (one.truth.kind, "all")]
        if some:
            yield false_cuts([o.found.times for o in some], kind, clips, most=FALSE)
    if not none:
        return
    shots = [one for one in known if one.truth.spans]
    for name in _peers.DETECTORS:
        yield false_cuts([o.peers[name, 0] for o in none], "all", clips, by=f"{name}, defaults")
        if shots:
            rows = by_setting(shots, name, 0)
            best = max(rows, key=lambda k: nan_to_zero(f1(rows[k])))
            yield false_cuts([o.peers[name, best] for o in none], "all", clips, by=f"{name}, tuned")


def false_cuts(
    found: Sequence[Sequence[float]], kind: str, clips: Where, by: str = "tiktok_ray",
    most: float | None = None,
) -> Figure:  # fmt: skip
    rows = 100 * np.array([len(times) for times in found], float)
    low, high = interval(rows, bounds=(0, 100))
    return Figure(
        "false cuts per 100 clips", kind, "no cut", clips, len(rows), float(rows.mean()),
        low, high, by, most=most,
    )  # fmt: skip


def of_conditions(known: Sequence[Judged]) -> Iterator[Figure]:
    """F1 of all kinds together, by what makes the clips hard."""
    groups: dict[str, list[Judged]] = defaultdict(list)
    for one in known:
        if one.truth.spans:
            groups[one.truth.condition].append(one)
    for condition, some in groups.items():
        rows = np.array([counts(o.truth, o.found.times, 0) for o in some], float)
        yield figure("F1 ±0", "all kinds", condition, "factory", rows, f1)


def of_real(known: Sequence[Judged]) -> Iterator[Figure]:
    """F1 on real clips, ours and the peers', clips without cuts among them."""
    for within in (0, 1):
        rows = np.array([counts(o.truth, o.found.times, within) for o in known], float)
        least = 0.9 if within == 0 else None
        yield figure(f"F1 ±{within}", "all", "real clips", "real", rows, f1, least=least)
        for name in _peers.DETECTORS:
            tried = by_setting(known, name, within)
            best = max(tried, key=lambda k: nan_to_zero(f1(tried[k])))
            for label, k in (("defaults", 0), ("tuned", best)):
                yield figure(
                    f"F1 ±{within}",
                    "all",
                    "real clips",
                    "real",
                    tried[k],
                    f1,
                    by=f"{name}, {label}",
                )


def figure(
    measure: str, of: str, condition: str, clips: Where, rows: Samples,
    statistic: Callable[[Samples], float] | None, unit: str = "clips", **more: Any,
) -> Figure:  # fmt: skip
    """A figure of samples between 0 and 1, with its interval."""
    found = statistic or (lambda some: float(some.mean()))
    value = nan_to_zero(found(rows))
    low, high = interval(rows, lambda some: nan_to_zero(found(some)), (0, 1))
    return Figure(measure, of, condition, clips, len(rows), value, low, high, unit=unit, **more)
