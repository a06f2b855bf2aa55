"""Key moments, at which several things change at once, and the segments between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from actors.flow_sources import Element, Kind, Sources, cite, happenings, quoted
from tiktok_ray import spans
from tiktok_ray.report import Evidence, Timed, derived

TOGETHER_S = 0.3
PAUSE_S = 1.0
LEAST_TEXT_S = 1.0


class Moment(Timed):
    """A moment at which several things change at once."""

    what: str = derived("What changes, in order of time")
    kinds: list[Kind] = derived("Sorts of what changes")
    weight: int = derived(
        "How many of these change: shot, camera, objects, text, what is heard (speech or other sound)",
        range="2..5",
    )
    evidence: list[Evidence] = derived("The changes")


class Segment(Timed):
    """A stretch between two key moments that are cuts, or an end of the video."""

    what: str = derived("What it consists of: its elements")
    elements: list[Element] = derived("What happens in it, in order of time")
    evidence: list[Evidence] = derived("The changes at which it begins and ends")


Change = tuple[Kind, Evidence]


def changes(of: Sources) -> list[Change]:
    """Everything that changes inside the video, each as an instant, by time."""
    found: list[Change] = []
    for cut in of.cuts.transitions:
        if cut.new_shot is not None:
            label = "cut" if cut.kind == "hard" else cut.kind
            found.append(("cuts", cite("cut_analysis", cut.new_shot, cut.new_shot, label)))

    def within_shot(t: float) -> bool:
        return all(abs(t - start) > TOGETHER_S for start in of.cuts.boundaries)

    for move in of.camera.moves if of.camera else ():
        if move.kind != "shake" and within_shot(move.start):
            what = f"{move.kind} begins"
            found.append(("camera", cite("camera_analysis", move.start, move.start, what)))
    first: dict[str, float] = {}
    for track in of.objects.tracks if of.objects else ():
        first[track.label] = min(first.get(track.label, of.end), track.seen[0][0])
    found += [
        ("objects", cite("object_detection", t, t, f"{label} comes into view"))
        for label, t in first.items()
        if within_shot(t)
    ]
    found += [
        ("text", cite("text_overlay", o.start, o.start, f"text {quoted(o.text)}"))
        for o in of.overlays or ()
        if o.kind == "caption" and o.end - o.start >= LEAST_TEXT_S
    ]
    if of.transcript is not None:
        for a, b in spans.union((s.span for s in of.transcript.speech), gap=PAUSE_S):
            found.append(("speech", cite("speech_transcription", a, a, "speech begins")))
            found.append(("speech", cite("speech_transcription", b, b, "speech ends")))
    found += [("sound", cite("audio_analysis", t, t, what)) for t, what in _sound_changes(of)]
    inside = [c for c in found if TOGETHER_S < c[1].start < of.end - TOGETHER_S]
    return sorted(inside, key=lambda change: (change[1].start, change[0], change[1].what))


def _sound_changes(of: Sources) -> Iterator[tuple[float, str]]:
    if of.sound is None:
        return
    edges = [(s.start, "sound stops") for s in of.sound.silences]
    edges += [(s.end, "sound sets in") for s in of.sound.silences]
    yield from edges
    for section in of.sound.sections[1:]:
        if all(abs(section.start - t) > PAUSE_S for t, _ in edges):
            yield section.start, "sound changes"


def together(found: Sequence[Change]) -> list[list[Change]]:
    """Changes joined where those of two analyzers lie at most ``TOGETHER_S`` apart."""
    group = list(range(len(found)))
    for j, (_, later) in enumerate(found):
        for i in range(j - 1, -1, -1):
            earlier = found[i][1]
            if later.start - earlier.start > TOGETHER_S + 1e-6:
                break
            if earlier.analyzer != later.analyzer and group[i] != group[j]:
                old, new = group[j], group[i]
                group = [new if g == old else g for g in group]
    return [[c for c, g in zip(found, group, strict=True) if g == k] for k in dict.fromkeys(group)]


def moments(of: Sources) -> list[Moment]:
    """Key moments, by time."""
    made = []
    for group in together(changes(of)):
        evidence = [change[1] for change in group]
        weight = len({"heard" if kind in ("speech", "sound") else kind for kind, _ in group})
        if weight < 2:
            continue
        made.append(
            Moment(
                start=evidence[0].start,
                end=evidence[-1].start,
                what="; ".join(dict.fromkeys(e.what for e in evidence)),
                kinds=list(dict.fromkeys(kind for kind, _ in group)),
                weight=weight,
                evidence=evidence,
            )
        )
    return made


def segments(of: Sources, found: Sequence[Moment]) -> list[Segment]:
    """Stretches between the key moments that are cuts."""
    edges: list[tuple[float, list[Evidence]]] = [(0.0, [])]
    for moment in found:
        cut = [e.start for e in moment.evidence if e.analyzer == "cut_analysis"]
        if cut:
            edges.append((cut[0], moment.evidence))
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
