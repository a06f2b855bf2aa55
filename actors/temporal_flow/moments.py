"""Key moments, at which one strong change or several at once occur, and the segments in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from actors.cut_analysis import Transition
from actors.temporal_flow.sources import (
    LIKELY,
    Element,
    Kind,
    Sources,
    cite,
    doubted,
    happenings,
    quoted,
)
from actors.text_overlay import Overlay
from tiktok_ray.media import spans
from tiktok_ray.report import Evidence, Timed, derived

TOGETHER_S = 0.3
PAUSE_S = 1.0
#: Share of the letters in which the beginning of a text and a reading of it must agree.
ALIKE = 0.8
LEAST_TEXT_S = 1.0
#: A single change is a key moment from this strength on, this far from others, and at most once
#: in so many seconds.
STRONG, APART_S, EVERY_S = 0.3, 0.75, 5.0
#: How strong the edges of speech and of silence count, and the confidence that a text which cannot
#: be read counts with.
SPEECH, SILENCE, UNREAD = 0.25, 0.5, 0.5
#: A share of the picture's height from which a text counts as large, and a rise in LU as loud.
LARGE_TEXT, LOUD_LU, RISE_LU = 0.1, 20.0, 10.0
#: The rise of the loudness, in half a second, is that over its highest in the second before.
AFTER_S, BEFORE_S = 0.5, 1.0


class Moment(Timed):
    """A moment at which something strong changes, or several things at once."""

    at: float = derived("Time of its cut, or else of its strongest change", unit="s")
    what: str = derived("What changes, strongest first; with its own time if that is not `at`")
    kinds: list[Kind] = derived("Kinds of change")
    weight: int = derived(
        "Number of kinds that change: shot, camera, objects, text, sound (speech or other), "
        "motion in the frame",
        range="1..5",
    )
    score: float = derived(
        "Sum over these kinds of the strongest change of each, 0..1: a cut or fade by the "
        "distance of its frames; a camera movement by its extent; a subject by confidence x "
        "root of its area; a text by confidence (0.5 if it cannot be read) x height / 10 % of the "
        "frame; speech 0.25; "
        "silence 0.5; another sound by its novelty; a rise in loudness by LU / 20; motion by "
        "its rise above the median",
        range="0..5",
    )
    rank: int = derived("Rank by score, from 1; ties by time", range="1..")
    evidence: list[Evidence] = derived("The changes, in chronological order")


class Segment(Timed):
    """A part of the video between two key moments that are cuts, or an end of the video."""

    what: str = derived("Summary of its elements")
    elements: list[Element] = derived("What happens in it, in chronological order")
    evidence: list[Evidence] = derived("The changes at which it begins and ends")


class Change(NamedTuple):
    """Something that changes at an instant, and how strongly, 0..1."""

    kind: Kind
    evidence: Evidence
    strength: float

    @property
    def time(self) -> float:
        return self.evidence.start


def changes(of: Sources) -> list[Change]:
    """Everything that changes inside the video, each as an instant, by time."""
    ways = (_cuts, _moves, _subjects, _texts, _speech, _sounds)
    found = [change for way in ways for change in way(of)]
    inside = [c for c in found if TOGETHER_S < c.time < of.end - TOGETHER_S]
    return sorted(inside, key=lambda c: (c.time, c.kind, c.evidence.what))


def _change(kind: Kind, analyzer: str, t: float, what: str, strength: float) -> Change:
    return Change(kind, cite(analyzer, t, t, what), min(1.0, max(0.0, strength)))


def _cuts(of: Sources) -> Iterator[Change]:
    for cut in of.cuts.transitions:
        t = cut.start if cut.new_shot is None else cut.new_shot
        yield _change("cuts", "cut_analysis", t, _named(cut), cut.strength)


def _named(cut: Transition) -> str:
    return {"hard": "cut", "jump": "jump cut"}.get(cut.kind, cut.label)


def _within_shot(of: Sources, t: float) -> bool:
    return all(abs(t - start) > TOGETHER_S for start in of.cuts.boundaries)


def _moves(of: Sources) -> Iterator[Change]:
    for move in of.camera.moves if of.camera else ():
        if move.kind != "shake" and _within_shot(of, move.start):
            what = f"{move.kind} begins"
            yield _change("camera", "camera_analysis", move.start, what, move.amount or 0.0)


def _subjects(of: Sources) -> Iterator[Change]:
    """The first time that a thing of each class comes into view, within a shot; by what the detector
    is sure of."""
    known: set[str] = set()
    sure = (
        [track for track in of.objects.tracks if track.confidence >= LIKELY] if of.objects else []
    )
    for track in sorted(sure, key=lambda t: t.seen[0][0]):
        t = track.seen[0][0]
        if track.label not in known and _within_shot(of, t):
            what = f"{track.label} ({track.confidence:.2f}) comes into view"
            strength = track.confidence * float(np.sqrt(track.area))
            yield _change("objects", "object_detection", t, what, strength)
        known.add(track.label)


def _texts(of: Sources) -> Iterator[Change]:
    shown = of.overlays or ()
    for text in shown:
        if text.kind == "caption" and text.end - text.start >= LEAST_TEXT_S:
            height = (text.box[3] - text.box[1]) / max(1, len(text.lines))
            what = f"text {quoted(text.text)}{doubted(text.confidence)}"
            strength = text.confidence * height / LARGE_TEXT
            yield _change("text", "text_overlay", _appears(text, shown), what, strength)
    for unread in of.text.unread if of.text else ():
        height = unread.box[3] - unread.box[1]
        what = "text that cannot be read appears"
        strength = UNREAD * height / LARGE_TEXT
        yield _change("text", "text_overlay", unread.start, what, strength)


def _appears(text: Overlay, shown: Sequence[Overlay]) -> float:
    """When a text appears: with its first part, where that was read in its place just before."""
    before = [o for o in shown if 0 <= text.start - o.end <= TOGETHER_S and begins(o, text)]
    return min((_appears(part, shown) for part in before), default=text.start)


def begins(part: Overlay, whole: Overlay) -> bool:
    """Whether a text is the beginning of another, in its place: hidden in part, or not all there yet."""
    left, top, right, bottom = whole.box
    x, y = (part.box[0] + part.box[2]) / 2, (part.box[1] + part.box[3]) / 2
    alike = SequenceMatcher(None, part.text, whole.text[: len(part.text)]).ratio()
    shorter = len(part.text) < len(whole.text)
    return shorter and alike >= ALIKE and left <= x <= right and top <= y <= bottom


def _speech(of: Sources) -> Iterator[Change]:
    if of.transcript is None:
        return
    for a, b in spans.union((s.span for s in of.transcript.speech), gap=PAUSE_S):
        yield _change("speech", "speech_transcription", a, "speech begins", SPEECH)
        yield _change("speech", "speech_transcription", b, "speech ends", SPEECH)


def _sounds(of: Sources) -> Iterator[Change]:
    if of.sound is None:
        return
    edges = [(s.start, "sound stops", SILENCE) for s in of.sound.silences]
    edges += [(s.end, "sound sets in", SILENCE) for s in of.sound.silences]
    told = [t for t, *_ in edges] + _pauses(of)
    for t, rise in rises(of.sound.loudness.times, of.sound.loudness.momentary):
        if all(abs(t - other) > PAUSE_S for other in told):
            edges.append((t, f"loudness rises by {rise:.0f} LU", rise / LOUD_LU))
    told = [t for t, *_ in edges] + _pauses(of)
    for section in of.sound.sections[1:]:
        if all(abs(section.start - t) > PAUSE_S for t in told):
            edges.append((section.start, "sound changes", section.novelty or 0.0))
    for t, what, strength in edges:
        yield _change("sound", "audio_analysis", t, what, strength)


def _pauses(of: Sources) -> list[float]:
    """When speech stops for a pause and goes on: its sound changes there, and its loudness, anyway."""
    spoken = spans.union(s.span for s in of.transcript.speech) if of.transcript else []
    pauses = [(a.end, b.start) for a, b in pairwise(spoken) if b.start - a.end <= PAUSE_S]
    return [t for pause in pauses for t in pause]


def rises(times: Sequence[float], levels: Sequence[float | None]) -> list[tuple[float, float]]:
    """Where the loudness rises by 10 LU or more over all of the second before: time and rise in LU.

    ``levels``: momentary loudness at ``times``, None for silence. Rises out of silence are told as
    the end of that silence, and left out here.
    """
    found: list[tuple[float, float]] = []
    for k, t in enumerate(times):
        before = [v for u, v in zip(times[:k], levels[:k], strict=True) if u >= t - BEFORE_S]
        after = [v for u, v in zip(times[k:], levels[k:], strict=True) if u <= t + AFTER_S]
        known = [v for v in before if v is not None]
        peaks = [v for v in after if v is not None]
        if not peaks or len(known) < len(before) or len(known) < 2 or times[0] > t - BEFORE_S:
            continue
        rise = max(peaks) - max(known)
        if rise < RISE_LU:
            continue
        at = _steepest(times, levels, k)
        if not found or at - found[-1][0] > BEFORE_S:
            found.append((at, rise))
        elif rise > found[-1][1]:
            found[-1] = (at, rise)
    return found


def _steepest(times: Sequence[float], levels: Sequence[float | None], k: int) -> float:
    """Time of the largest step up within ``AFTER_S`` from index ``k`` on."""
    last = [j for j in range(k, len(times)) if times[j] <= times[k] + AFTER_S]
    steps = {j: (levels[j] or -100.0) - (levels[j - 1] or -100.0) for j in last if j > 0}
    return times[max(steps, key=lambda j: steps[j])]


def together(found: Sequence[Change]) -> list[list[Change]]:
    """Changes joined where those of two analyzers lie at most ``TOGETHER_S`` apart."""
    group = list(range(len(found)))
    for j, later in enumerate(found):
        for i in range(j - 1, -1, -1):
            earlier = found[i]
            if later.time - earlier.time > TOGETHER_S + 1e-6:
                break
            if earlier.evidence.analyzer != later.evidence.analyzer and group[i] != group[j]:
                old, new = group[j], group[i]
                group = [new if g == old else g for g in group]
    return [[c for c, g in zip(found, group, strict=True) if g == k] for k in dict.fromkeys(group)]


def _sort(change: Change) -> str:
    return "heard" if change.kind in ("speech", "sound") else change.kind


def _strongest(group: Sequence[Change]) -> dict[str, float]:
    best: dict[str, float] = {}
    for change in group:
        best[_sort(change)] = max(best.get(_sort(change), 0.0), change.strength)
    return best


def moments(of: Sources, motion: Sequence[Change] = ()) -> list[Moment]:
    """Key moments, by time.

    Where two sorts of things change at once; and the strongest single changes, apart from these. At
    least one where anything changes: ``motion`` are changes that count only where nothing else does.
    """
    groups = together(changes(of))
    several = [group for group in groups if len(_strongest(group)) > 1]
    single = [[max(g, key=lambda c: c.strength)] for g in groups if len(_strongest(g)) == 1]
    chosen = [*several, *_singles(single, several, of.end)]
    if not chosen:
        rest = [*single, *([change] for change in motion)]
        chosen = [max(rest, key=lambda g: g[0].strength)] if rest else []
    made = [_moment(group) for group in chosen]
    made.sort(key=lambda m: (-m.score, m.at))
    ranked = [m.model_copy(update={"rank": rank}) for rank, m in enumerate(made, 1)]
    return sorted(ranked, key=lambda m: (m.start, m.end))


def _singles(
    single: Sequence[list[Change]], several: Sequence[list[Change]], end: float
) -> list[list[Change]]:
    """Single changes that are strong enough, strongest first, apart, and not too many."""
    chosen: list[list[Change]] = []
    taken = [change.time for group in several for change in group]
    for group in sorted(single, key=lambda g: (-g[0].strength, g[0].time)):
        (change,) = group
        if change.strength < STRONG or len(chosen) > end / EVERY_S:
            break
        if all(abs(change.time - t) > APART_S for t in taken):
            chosen.append(group)
            taken.append(change.time)
    return chosen


def _moment(group: Sequence[Change]) -> Moment:
    best = _strongest(group)
    main = max(group, key=lambda c: (c.kind == "cuts", c.strength))
    others = sorted((c for c in group if c is not main), key=lambda c: -c.strength)
    told = [main.evidence.what, *(_told(change, main.time) for change in others)]
    return Moment(
        start=group[0].time,
        end=group[-1].time,
        at=main.time,
        what="; ".join(dict.fromkeys(told)),
        kinds=list(dict.fromkeys(change.kind for change in group)),
        weight=len(best),
        score=sum(best.values()),
        rank=1,
        evidence=[change.evidence for change in group],
    )


def _told(change: Change, at: float) -> str:
    apart = f"{change.time:.1f}" != f"{at:.1f}"
    return f"{change.evidence.what} ({change.time:.1f} s)" if apart else change.evidence.what


def segments(of: Sources, found: Sequence[Moment]) -> list[Segment]:
    """Stretches between the key moments at which a shot begins."""
    edges: list[tuple[float, list[Evidence]]] = [(0.0, [])]
    for moment in found:
        cut = [e.start for e in moment.evidence if e.start in of.cuts.times]
        if cut and moment.at in cut:
            edges.append((moment.at, moment.evidence))
    made = []
    for (start, why), (end, then) in zip(edges, [*edges[1:], (of.end, [])], strict=True):
        elements = happenings(start, end, of)
        made.append(
            Segment(
                start=start,
                end=end,
                what="; ".join(element.what for element in elements),
                elements=elements,
                evidence=[*why, *then],
            )
        )
    return made
