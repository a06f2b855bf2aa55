"""Cuts and transitions, and the shots between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from tiktok_ray.analyzer import Analyzer, Needs, Sees
from tiktok_ray.media import Frames
from tiktok_ray.methods.vision.framing import BLACK, WHITE
from tiktok_ray.methods.vision.picture_similarity import Array, Pictures
from tiktok_ray.methods.vision.shot_changes import (
    Insert,
    Instant,
    Ramp,
    find_flashes,
    find_instants,
    find_ramps,
)
from tiktok_ray.methods.vision.wipes import Passage, find_passages
from tiktok_ray.report import Event, Output, Timed, derived, measured

Kind = Literal["hard", "jump", "flash", "dissolve", "fade", "wipe", "slide"]


class Transition(Timed):
    """A change from one shot to the next, or a fade that opens or closes the video.

    ``hard``: from one frame to the next. ``jump``: the same, within one setting. ``flash``: behind
    one to a few blank frames. ``dissolve``, ``fade``, ``wipe`` and ``slide`` have an extent.
    """

    kind: Kind = measured(
        "How the shot changes: instantly (hard; jump within one setting; flash hidden by a few blank "
        "frames) or gradually (dissolve; fade; wipe: a boundary sweeps across the frame, both shots "
        "staying in place; slide: a shot moves in, out, or both)"
    )
    through: Literal["black", "white"] | None = measured(
        "The blank frame that a fade or flash passes"
    )
    fades: Literal["in", "out"] | None = measured(
        "Whether a fade only emerges from the blank frame (in) or only goes to it (out); null"
        " for one that passes through it, and for other kinds",
        default=None,
    )
    new_shot: float | None = derived(
        "Time at which the new shot begins: its first frame for an instant change, the midpoint of "
        "a gradual one; null for a fade that opens or closes the video",
        unit="s",
        range="start..end",
    )
    strength: float = measured(
        "How much the frame changes",
        range="0..1",
        method="total variation distance of the histograms of the frames on either side (of a fade: "
        "of a shot and the blank frame, the larger), 8 x 8 x 8 bins of Y'CbCr, without bars; dark "
        "videos are brightened",
    )
    direction: Literal["left", "right", "up", "down"] | None = measured(
        "Direction in which the boundary of a wipe or slide moves; null for other kinds, and for wipes that open, "
        "rotate or move diagonally",
        default=None,
    )
    unexplained: float | None = measured(
        "How far the frames in between deviate from what this kind predicts from the frames on either"
        " side; null for instant changes",
        range="0..1",
        method="residual of a blend (dissolve, fade), or of the two shots side by side (wipe, "
        "slide), relative to the difference of the two shots; mean over the extent",
        default=None,
    )

    @property
    def label(self) -> str:
        """Its kind in words, such as ``fade from black``."""
        way = {"in": "from", "out": "to"}.get(self.fades or "", "through")
        return f"{self.kind} {way} {self.through}" if self.through else self.kind


class Flash(Timed):
    """A few blank or much brighter frames after which the same shot goes on: no cut."""

    brightness: float = measured(
        "Mean luma of the flash minus that of the frames around it", unit="share of full scale",
        range="-1..1",
    )  # fmt: skip


class Shot(Timed):
    """A run of frames from one take."""

    index: int = derived("Index of the shot, from 0")


class Cuts(Output):
    """Where one shot ends and the next begins."""

    transitions: list[Transition] = measured(
        "Cuts, dissolves, fades, wipes and slides, ordered by start",
        method="block matching of neighbouring frames where their difference stands out from "
        "that around them; linearity of dissolves, and the areas of the two shots in the "
        "frames of a wipe or slide, with the motion of both shots extrapolated",
    )
    flashes: list[Flash] = measured("Flashes within a shot, ordered by start")
    shots: list[Shot] = derived("Shots, from the first frame to the end, without gaps")
    cuts_per_minute: float = derived("New shots per minute of video", unit="1/min", range="0..")
    median_shot_s: float = derived("Median duration of the shots", unit="s", range="0..")
    shortest_shot_s: float = derived("Duration of the shortest shot", unit="s", range="0..")
    longest_shot_s: float = derived("Duration of the longest shot", unit="s", range="0..")
    variation: float | None = derived(
        "Rhythm: coefficient of variation of shot lengths, 0 for even lengths; null with one shot",
        range="0..",
        method="population standard deviation of shot lengths over their mean",
    )
    trend: float | None = derived(
        "Rhythm: whether shots grow longer (positive) or shorter (negative: the cutting speeds up);"
        " null with fewer than three shots or equal lengths",
        range="-1..1",
        method="Kendall's tau-b of shot length against shot order",
    )
    frame_s: float = measured("Median time between the frames compared", unit="s", range="0..")

    @property
    def boundaries(self) -> list[float]:
        """Times at which shots begin, in seconds; the first is that of the first frame."""
        return [shot.start for shot in self.shots]

    @property
    def times(self) -> list[float]:
        """Times at which one shot gives way to the next, in seconds: ``boundaries[1:]``."""
        return self.boundaries[1:]

    def headline(self) -> str:
        count = len(self.times)
        return f"{count} cut{'' if count == 1 else 's'}, {self.cuts_per_minute:.1f}/min"

    def events(self) -> Iterator[Event]:
        name = CutAnalysis.name
        for shot in self.shots:
            label = f"shot {shot.index + 1}"
            yield Event(start=shot.start, end=shot.end, kind="shot", label=label, analyzer=name)
        for change in self.transitions:
            label = change.label
            if change.end > change.start:
                yield Event(
                    start=change.start,
                    end=change.end,
                    kind="transition",
                    label=label,
                    analyzer=name,
                )
            if (t := change.new_shot) is not None:
                yield Event(start=t, end=t, kind="cut", label=label, analyzer=name)


class CutAnalysis(Analyzer):
    """Cuts, dissolves, fades, wipes, slides and flashes, and the shots between them."""

    name = "cut_analysis"
    needs = Needs(threads=1, timeout_s=60, cost=0.5)
    imports = ("cv2",)
    #: One picture of something else, and what comes after, is one change.
    sees = (Sees("shots", "thumbs", samples=2),)

    def analyze(self, thumbs: Frames) -> Cuts:
        pictures = Pictures(thumbs)
        inserts = find_flashes(pictures)
        instants = find_instants(pictures, inserts)
        passages = find_passages(pictures, instants, inserts)
        ramps = [
            ramp
            for ramp in find_ramps(pictures, instants, inserts)
            if not any(ramp.start < p.end and p.start < ramp.end for p in passages)
        ]
        return assemble(pictures, instants, ramps, inserts, passages)


HOLD_S = 2.0  # longest blank that still belongs to one fade through it


def assemble(
    p: Pictures,
    instants: Sequence[Instant],
    ramps: Sequence[Ramp],
    inserts: Sequence[Insert],
    passages: Sequence[Passage] = (),
) -> Cuts:
    """Join fades through a blank, drop what lies within them, and lay out the shots."""
    transitions = [*_gradual(p, ramps, instants), *(_bordered(p, one) for one in passages)]
    spans = [transition.span for transition in transitions]
    for instant in instants:
        t = float(p.times[instant.index])
        if instant.alone or not any(start <= t <= end + 0.05 for start, end in spans):
            transitions.append(_instant(p, instant.kind, instant.index, instant.index))
    transitions += [_instant(p, "flash", i.first, i.after) for i in inserts if i.cut]
    transitions.sort(key=lambda transition: transition.start)
    starts = sorted({0.0, *(t.new_shot for t in transitions if t.new_shot is not None)})
    end = float(p.end)
    shots = [Shot(start=a, end=b, index=i) for i, (a, b) in enumerate(pairwise([*starts, end]))]
    lengths = np.array([shot.end - shot.start for shot in shots])
    return Cuts(
        transitions=transitions,
        flashes=[_flash(p, i) for i in inserts if not i.cut],
        shots=shots,
        cuts_per_minute=60 * (len(shots) - 1) / end if len(shots) > 1 else 0.0,
        median_shot_s=float(np.median(lengths)),
        shortest_shot_s=float(lengths.min()),
        longest_shot_s=float(lengths.max()),
        variation=float(lengths.std() / lengths.mean()) if len(shots) > 1 else None,
        trend=_trend(lengths),
        frame_s=float(np.median(np.diff(np.append(p.times, end)))),
    )


def _gradual(p: Pictures, ramps: Sequence[Ramp], instants: Sequence[Instant]) -> list[Transition]:
    """Ramps as transitions; one to a blank and the next one from it are one, through it.

    A fade alone opens or closes what a hard cut, or the video, ends: it begins no shot. Only after
    a long blank it does.
    """
    found: list[Transition] = []
    rest = list(ramps)
    faded: Ramp | None = None
    while rest:
        ramp = rest.pop(0)
        into, out = p.color(ramp.before), p.color(ramp.after)
        between = bool(into and out)
        if between:  # between two blanks: a fade through black has white for its shots
            into, out = (into, None) if into == "black" else (None, out)
        last = ramp
        if (
            out
            and rest
            and p.color(rest[0].before) == out
            and not _cut_between(ramp, rest[0], instants)
        ):
            if rest[0].start - ramp.end <= HOLD_S:
                last = rest.pop(0)
            else:
                faded = rest[0]
        start, end = max(0.0, float(ramp.start)), min(float(p.end), float(last.end))
        whole = last is not ramp
        if whole and _dazzled(p, ramp, last):
            continue
        if (into or out) and not (whole or between) and ramp is not faded:
            far = _other_half(p, ramp, instants)
            if far is not None:
                whole, start, end = True, min(start, far), max(end, far)
        begins = whole or ramp is faded or not (into or out)
        found.append(
            Transition(
                start=start,
                end=end,
                kind="fade" if into or out else "dissolve",
                through=into or out,
                fades=None if whole or not (into or out) else "in" if into else "out",
                new_shot=(start + end) / 2 if begins else None,
                strength=max(_strength(p, *sides) for sides in _sides(ramp, last, into or out)),
                unexplained=min(1.0, max(ramp.residual, last.residual)),
            )
        )
    fades = [one.span for one in found if one.kind == "fade"]
    return [
        one
        for one in found
        if one.kind == "fade" or not any(a <= (one.start + one.end) / 2 <= b for a, b in fades)
    ]


def _sides(ramp: Ramp, last: Ramp, blank: str | None) -> list[tuple[int, int]]:
    """The frames to compare: of a fade each shot with the blank frame, else both shots."""
    if blank:
        return [(ramp.before, ramp.after), (last.before, last.after)]
    return [(ramp.before, last.after)]


def _bordered(p: Pictures, one: Passage) -> Transition:
    start, end = float(one.start), min(float(p.end), float(one.end))
    return Transition(
        start=start,
        end=end,
        kind="slide" if one.style else "wipe",
        through=None,
        new_shot=(start + end) / 2,
        strength=_strength(p, one.before, one.after),
        direction=one.way,
        unexplained=min(1.0, one.residual),
    )


def _dazzled(p: Pictures, ramp: Ramp, last: Ramp) -> bool:
    """Whether it is but the light that came and went: what is nearest to a blank is none, and shows
    the one shot that is on either side."""
    if p.plain[:, ramp.after : last.before + 1].any():
        return False
    return not any(p.differ(ramp.before, index) for index in (ramp.after, last.after))


STEEP = 20.0  # least distance from the blank, in levels, that the other half of a fade goes


def _other_half(p: Pictures, ramp: Ramp, instants: Sequence[Instant]) -> float | None:
    """Time at which the other half of a fade begins or ends: its pictures, too restless for a
    blend to be seen, come nearer to the blank, or go from it, step by step all the same."""
    step, index = (-1, ramp.before) if p.color(ramp.before) else (1, ramp.after)
    off = p.off[int(np.argmin(p.off[:, index]))]
    edge, blank = index, p.times[index]
    while 0 <= edge + step < len(p) and off[edge + step] <= off[index] + 4:
        edge += step
    if abs(p.times[edge] - blank) > HOLD_S:
        return None
    far = edge
    while 0 <= far + step < len(p) and off[far + step] > off[far] + 0.3:
        far += step
    first, last = sorted((index, far))
    cut = any(first < instant.index <= last and instant.alone for instant in instants)
    if abs(far - edge) < 3 or off[far] - off[edge] < STEEP or cut:
        return None
    return float(p.times[far])


def _cut_between(one: Ramp, two: Ramp, instants: Sequence[Instant]) -> bool:
    return any(one.after < instant.index <= two.before for instant in instants)


def _instant(
    p: Pictures, kind: Literal["hard", "jump", "flash"], first: int, after: int
) -> Transition:
    """A change of shot from picture ``first - 1`` to ``after``."""
    lit: Literal["black", "white"] = "white" if p.luma[first] > p.luma[first - 1] else "black"
    return Transition(
        start=float(p.times[first]),
        end=float(p.times[after]),
        kind=kind,
        through=lit if kind == "flash" else None,
        new_shot=float(p.times[after]),
        strength=_strength(p, first - 1, after),
    )


def _flash(p: Pictures, insert: Insert) -> Flash:
    sides = (p.luma[insert.first - 1] + p.luma[insert.after]) / 2
    level = p.luma[insert.first : insert.after].mean() - sides
    return Flash(
        start=float(p.times[insert.first]),
        end=float(p.times[insert.after]),
        brightness=float(np.clip(level / p.gain / (WHITE - BLACK), -1, 1)),
    )


def _strength(p: Pictures, a: int, b: int) -> float:
    """Total variation distance of the two pictures' histograms, 8 x 8 x 8 bins of Y'CbCr."""
    one, two = (
        np.bincount((p.small(i).reshape(-1, 3) // 32).astype(np.intp) @ (64, 8, 1), minlength=512)
        for i in (a, b)
    )
    return float(np.abs(one - two).sum() / (2 * one.sum()))


def _trend(lengths: Array) -> float | None:
    """Kendall's tau-b of length against order."""
    order = np.arange(len(lengths))
    signs = np.sign(lengths[:, None] - lengths)[np.triu_indices(len(order), 1)]
    if len(lengths) < 3 or not signs.any():
        return None
    return float(-signs.sum() / np.sqrt(len(signs) * np.count_nonzero(signs)))
