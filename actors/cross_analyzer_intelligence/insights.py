"""Insights that combine several analyzers, one sentence each, ranked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from actors.cross_analyzer_intelligence.contradictions import Contradiction
from actors.cross_analyzer_intelligence.findings import BeatMatch, TextMatch, Voice
from actors.cross_analyzer_intelligence.sources import (
    CITED,
    Finding,
    Sources,
    cite,
    collected,
    counted,
    extent,
)
from actors.cross_analyzer_intelligence.subjects import Subject
from tiktok_ray.media import spans
from tiktok_ray.methods.text.alignment import aligned, tokens
from tiktok_ray.report import Evidence, Missing, Timed, derived

About = Literal[
    "cuts and beats", "speech and faces", "speech and gaze", "texts and speech", "texts and cuts",
    "sounds and speech", "sounds and cuts", "emphasis and texts", "key moment",
    "description and objects", "contradiction",
]  # fmt: skip

#: How far a text or a sound may set in from a cut to come with it; a text by its own precision
#: more.
TEXT_S, SOUND_S = 0.2, 0.3


class Insight(Timed, Finding):
    """One sentence on what several analyzers found together."""

    about: About = derived("Topic of the insight")
    text: str = derived("The sentence")
    analyzers: int = derived("Number of analyzers cited", range="2..")
    covered: float = derived("Share of the video covered by the evidence", range="0..1")
    score: float = derived("analyzers + covered; the insights are ranked by it", range="2..20")
    rank: int = derived("Rank by score, from 1; ties by start, then by subject", range="1..")


class Found(NamedTuple):
    """The findings that insights put into words; None where one could not be made."""

    beats: BeatMatch | None
    voices: list[Voice] | None
    texts: list[TextMatch] | None
    captioned: float | None
    subjects: list[Subject] | None
    contradictions: list[Contradiction]


Draft = tuple[About, str, Sequence[Evidence]]


def insights(of: Sources, found: Found) -> list[Insight]:
    """All insights, best first."""
    drafts: list[Draft] = [
        *_beats(found), *_voices(found), *_gaze(of, found), *_texts(found), *_subjects(found),
        *_contradictions(found), *_moment(of),
    ]  # fmt: skip
    for pair in PAIRS:
        if all(of.gave(name) for name in pair.analyzers):
            drafts += pair.find(of)
    made = [_insight(draft, of.end) for draft in drafts]
    made.sort(key=lambda i: (-i.score, i.start, i.about, i.text))
    return [one.model_copy(update={"rank": rank}) for rank, one in enumerate(made, 1)]


def unmade(of: Sources) -> Iterator[Missing]:
    """Insights that could not be looked for, and why."""
    for pair in PAIRS:
        yield from of.lacking(f"insight on {pair.about}", pair.analyzers)


def _insight(draft: Draft, end: float) -> Insight:
    about, text, evidence = draft
    cited = collected(evidence)
    analyzers = len({each.analyzer for each in cited})
    covered = spans.share(((e.start, e.end) for e in cited), [(0.0, end)])
    start, stop = extent(cited)
    return Insight(
        start=start, end=stop, about=about, text=text, analyzers=analyzers, covered=covered,
        score=analyzers + covered, rank=1, evidence=cited,
    )  # fmt: skip


def _beats(found: Found) -> Iterator[Draft]:
    """Cuts on the beat; that they are not is no insight."""
    if (match := found.beats) is not None and match.on_the_beat:
        yield (
            "cuts and beats",
            f"The cuts are on the beat: {match.near} of {match.cuts} lie within 0.07 s of a beat; mean"
            f" distance {match.mean_distance_s:.3f} s, by chance {match.expected_s:.3f} s, p ="
            f" {match.p_value:.2g}",
            match.evidence,
        )


def _voices(found: Found) -> Iterator[Draft]:
    if not found.voices:
        return
    spoken = spans.total(voice.span for voice in found.voices)
    parts = []
    for heard in ("on camera", "voice-over", "unclear"):
        seconds = spans.total(voice.span for voice in found.voices if voice.heard == heard)
        if seconds:
            parts.append(f"{seconds:.1f} s are {heard}")
    evidence = [each for voice in found.voices for each in voice.evidence]
    text = f"Of {spoken:.1f} s of speech, {', '.join(parts)}"
    yield "speech and faces", text, evidence


def _gaze(of: Sources, found: Found) -> Iterator[Draft]:
    on_camera = [voice for voice in found.voices or () if voice.heard == "on camera"]
    if not on_camera or of.eye_tracking is None:
        return
    seen = [voice.span for voice in on_camera]
    looks = [part.span for track in of.eye_tracking.tracks for part in track.into_camera]
    meets = spans.intersect(looks, seen)
    if not meets:
        return
    evidence = [cite("eye_tracking", *part, "gaze into the camera") for part in meets]
    evidence += [each for voice in on_camera for each in voice.evidence]
    yield (
        "speech and gaze",
        f"Of {spans.total(seen):.1f} s of speech on camera, {spans.total(meets):.1f} s are spoken"
        " while looking into the camera",
        evidence,
    )


def _texts(found: Found) -> Iterator[Draft]:
    """Captions against the voice; where none is spoken, that is not an insight."""
    if not found.texts or all(text.said == "not spoken" for text in found.texts):
        return
    told = {
        "spoken": "spoken",
        "partly spoken": "partly spoken",
        "not spoken": "not spoken",
        "unknown": "shown during speech that was not transcribed",
    }
    count = {said: sum(text.said == said for text in found.texts) for said in told}
    words = ", ".join(f"{n} {told[said]}" for said, n in count.items() if n)
    more = ""
    if found.captioned:
        more = f"; {found.captioned:.0%} of the spoken words are on screen"
    evidence = [each for text in found.texts for each in text.evidence]
    yield "texts and speech", f"Of {counted(len(found.texts), 'caption')}: {words}{more}", evidence


def _subjects(found: Found) -> Iterator[Draft]:
    if not found.subjects:
        return
    parts = []
    for agreement in ("confirmed", "only described", "only detected"):
        labels = dict.fromkeys(s.label for s in found.subjects if s.agreement == agreement)
        if labels:
            parts.append(f"{agreement}: {', '.join(labels)}")
    evidence = [each for subject in found.subjects for each in subject.evidence]
    yield "description and objects", f"Subjects {'; '.join(parts)}", evidence


def _contradictions(found: Found) -> Iterator[Draft]:
    """What analyzers disagree on, in a sentence for each way of disagreeing."""
    alike: dict[str, list[Contradiction]] = {}
    for conflict in found.contradictions:
        alike.setdefault(conflict.what, []).append(conflict)
    for what, cases in alike.items():
        when = [f"{case.start:.1f} to {case.end:.1f} s" for case in cases[:CITED]]
        more = " and more" if len(cases) > CITED else ""
        evidence = [each for case in cases for each in case.evidence]
        yield (
            "contradiction",
            f"Two analyzers disagree ({', '.join(when)}{more}), and which one is wrong is not known: {what}",
            evidence,
        )


def _moment(of: Sources) -> Iterator[Draft]:
    """The key moment of the highest score, where it cites anything besides its own analyzer."""
    best = (
        min(of.temporal_flow.moments, key=lambda m: m.rank, default=None)
        if of.temporal_flow
        else None
    )
    changes = [each for each in best.evidence if of.gave(each.analyzer)] if best else []
    if best is None or not any(each.analyzer != "temporal_flow" for each in changes):
        return
    own = cite("temporal_flow", best.at, best.at, f"key moment, score {best.score:.2f}")
    text = f"The strongest key moment is at {best.at:.1f} s: {best.what}"
    yield "key moment", text, [own, *changes]


def _texts_and_cuts(of: Sources) -> Iterator[Draft]:
    """Captions that come with a cut; that none does is no insight."""
    assert of.cut_analysis is not None
    later = [caption for caption in of.captions or () if caption.start > TEXT_S]
    cuts = of.cut_analysis.times
    with_cut = [
        (caption, cut)
        for caption in later
        for cut in cuts
        if abs(caption.start - cut) <= TEXT_S + caption.edge_s
    ]
    if not with_cut:
        return
    evidence = [cite("text_overlay", c.start, c.start, f"text “{c.text}” appears") for c in later]
    evidence += [cite("cut_analysis", cut, cut, "cut") for _, cut in with_cut]
    count = len({caption.start for caption, _ in with_cut})
    times = len({c.start for c in later})
    text = f"Captions coincide with a cut in {count} of the {times} times that they appear after the start"
    if times == 1:
        text = "The one caption that appears after the start coincides with a cut"
    yield "texts and cuts", text, evidence


def _sounds_and_speech(of: Sources) -> Iterator[Draft]:
    """Named sounds under speech; that there are none is no insight."""
    assert of.audio_environment is not None
    other = [
        s
        for s in of.audio_environment.sounds
        if s.name != "Speech" and spans.overlap([s.span], of.spoken or []) > 0
    ]
    if not other:
        return
    sure: dict[str, float] = {}
    for sound in other:
        sure[sound.name] = max(sure.get(sound.name, 0.0), sound.probability)
    names = ", ".join(f"{name} ({probability:.2f})" for name, probability in sure.items())
    both = spans.overlap((sound.span for sound in other), of.spoken or [])
    evidence = [cite("audio_environment", *s.span, f"{s.name} {s.probability:.2f}") for s in other]
    evidence += [cite("speech_transcription", *part, "speech") for part in of.spoken or []]
    yield (
        "sounds and speech",
        f"{both:.1f} s of the speech overlap other sounds, with the tagger's probability: {names}",
        evidence,
    )


def _sounds_and_cuts(of: Sources) -> Iterator[Draft]:
    """Changes of the sound at cuts; that none is at one is not an insight."""
    assert of.audio_analysis is not None
    assert of.cut_analysis is not None
    changes = [section.start for section in of.audio_analysis.sections[1:]]
    near = [(t, c) for t in changes for c in of.cut_analysis.times if abs(t - c) <= SOUND_S]
    if not near:
        return
    evidence = [cite("audio_analysis", t, t, "the sound changes") for t in changes]
    evidence += [cite("cut_analysis", c, c, "cut") for _, c in near]
    count = len({t for t, _ in near})
    text = f"The character of the sound changes {len(changes)} times, {count} of them within {SOUND_S} s of a cut"
    if len(changes) == 1:
        text = f"The character of the sound changes once, within {SOUND_S} s of a cut"
    yield "sounds and cuts", text, evidence


def _emphasis_and_texts(of: Sources) -> Iterator[Draft]:
    """Emphasised words on the picture; that none is there is no insight."""
    assert of.speech_flow is not None
    stressed = of.speech_flow.emphasis or []
    shown = [
        (e, caption)
        for e in stressed
        for caption in of.captions or []
        if caption.start <= e.end
        and e.start <= caption.end
        and aligned(tokens(e.word), tokens(caption.text))
    ]
    if not shown:
        return
    evidence = [cite("speech_flow", *e.span, f"“{e.word}” emphasised") for e in stressed]
    evidence += [cite("text_overlay", *c.span, f"text “{c.text}”") for _, c in shown]
    count = len({e.start for e, _ in shown})
    yield (
        "emphasis and texts",
        f"Of {counted(len(stressed), 'emphasised word')}, {count} on screen at the same time",
        evidence,
    )


class Pair(NamedTuple):
    """An insight made straight from the outputs of these analyzers."""

    about: About
    analyzers: tuple[str, ...]
    find: Callable[[Sources], Iterator[Draft]]


PAIRS = (
    Pair("texts and cuts", ("text_overlay", "cut_analysis"), _texts_and_cuts),
    Pair("sounds and speech", ("audio_environment", "speech_transcription"), _sounds_and_speech),
    Pair("sounds and cuts", ("audio_analysis", "cut_analysis"), _sounds_and_cuts),
    Pair("emphasis and texts", ("speech_flow", "text_overlay"), _emphasis_and_texts),
)
