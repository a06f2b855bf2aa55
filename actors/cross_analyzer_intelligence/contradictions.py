"""Where two analyzers cannot both be right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, Self

from pydantic import model_validator

from actors.cross_analyzer_intelligence.sources import Finding, Sources, cite, collected
from tiktok_ray.media import spans
from tiktok_ray.media.spans import Span
from tiktok_ray.report import Missing, Timed, derived

Conflict = Literal[
    "face without person", "pose without person", "person without pose", "sound in silence",
    "speech in silence", "speech without a tag", "tag without speech",
    "segment without person", "person without segment",
]  # fmt: skip

#: Shortest disagreement about the picture, and about silence and speech.
PICTURE_S, SOUND_S, SPEECH_S, TAG_S = 0.5, 0.5, 0.3, 1.0
#: Shares of the frame for segments: clearly there, as good as absent.
THERE, ABSENT = 0.1, 0.01
#: AudioSet classes that a voice may be given.
VOICES = ("speech", "conversation", "narration", "singing", "rapping", "shout", "whisper", "vocal")


class Contradiction(Timed, Finding):
    """Two analyzers contradict each other. Which one is wrong is not known."""

    conflict: Conflict = derived(
        "Kind of contradiction; in video and silence from 0.5 s on, speech in silence from 0.3 "
        "s, speech against sound tags from 1 s; segments: people on at least 10 % of the frame "
        "according to one analyzer and under 1 % according to the other"
    )
    what: str = derived("Both sides, as text")

    @model_validator(mode="after")
    def _two_sides(self) -> Self:
        if len({each.analyzer for each in self.evidence}) < 2:
            raise ValueError("a contradiction must cite two analyzers")
        return self


class Pair(NamedTuple):
    """Two analyzers that are compared."""

    part: str
    first: str
    second: str
    find: Callable[[Sources], Iterator[Contradiction]]


def contradictions(of: Sources) -> list[Contradiction]:
    """All contradictions between the available outputs, in chronological order."""
    found = [
        each
        for pair in PAIRS
        if of.gave(pair.first) and of.gave(pair.second)
        for each in pair.find(of)
    ]
    return sorted(found, key=lambda c: (c.start, c.end, c.conflict))


def unmade(of: Sources) -> Iterator[Missing]:
    """Pairs with an analyzer that produced no output although some was expected."""
    for pair in PAIRS:
        yield from of.lacking(f"check of {pair.part} for contradictions", (pair.first, pair.second))


def _conflicts(
    conflict: Conflict, where: Iterable[Span], one: str, says: str, other: str, denies: str
) -> Iterator[Contradiction]:
    for start, end in where:
        sides = [cite(one, start, end, says), cite(other, start, end, denies)]
        yield Contradiction(
            start=start,
            end=end,
            conflict=conflict,
            what=f"{one}: {says}; {other}: {denies}",
            evidence=collected(sides),
        )


def _faces(of: Sources) -> Iterator[Contradiction]:
    assert of.age_estimation is not None
    faces = spans.union(face.span for face in of.age_estimation.faces)
    where = spans.longer(spans.subtract(faces, of.persons or []), PICTURE_S)
    yield from _conflicts(
        "face without person", where, "age_estimation", "a face", "object_detection", "no person"
    )


def _poses(of: Sources) -> Iterator[Contradiction]:
    assert of.body_pose is not None
    step = of.body_pose.step_s
    steps = (b - a for p in of.body_pose.persons for a, b in pairwise(p.times))
    # Nobody is looked for in every sample: what lies between two looks is no interruption.
    gap = max(PICTURE_S, step, 2 * min(steps, default=step))
    posed = spans.union(
        (a, b) for p in of.body_pose.persons for a, b in _sighted(p.times, p.end, gap)
    )
    seen = of.persons or []
    yield from _conflicts(
        "pose without person", spans.longer(spans.subtract(posed, seen), PICTURE_S),
        "body_pose", "a person", "object_detection", "no person",
    )  # fmt: skip
    yield from _conflicts(
        "person without pose", spans.longer(spans.subtract(seen, posed), PICTURE_S),
        "object_detection", "a person", "body_pose", "no person",
    )  # fmt: skip


def _sighted(times: Sequence[float], end: float, gap: float) -> Iterator[tuple[float, float]]:
    """Stretches in which samples follow each other within ``gap`` seconds, the last up to ``end``."""
    for a, b in zip(times, [*times[1:], end], strict=True):
        yield a, b if b - a <= gap + 1e-6 else a + gap / 2


def _sounds(of: Sources) -> Iterator[Contradiction]:
    assert of.audio_environment is not None
    assert of.audio_analysis is not None
    silent = [s.span for s in of.audio_analysis.silences]
    for sound in of.audio_environment.sounds:
        where = spans.longer(spans.intersect([sound.span], silent), SOUND_S)
        yield from _conflicts(
            "sound in silence", where, "audio_environment", sound.name, "audio_analysis", "silence"
        )


def _silences(of: Sources) -> Iterator[Contradiction]:
    assert of.audio_analysis is not None
    silent = [s.span for s in of.audio_analysis.silences]
    where = spans.longer(spans.intersect(of.spoken or [], silent), SPEECH_S)
    yield from _conflicts(
        "speech in silence", where, "speech_transcription", "speech", "audio_analysis", "silence"
    )


def _tags(of: Sources) -> Iterator[Contradiction]:
    scape, spoken = of.audio_environment, of.spoken or []
    assert scape is not None
    voiced = [w.span for w in scape.windows if any(_vocal(tag.name) for tag in w.tags)]
    tagged = [s.span for s in scape.sounds if s.name == "Speech"]
    where = spans.longer(spans.subtract(spoken, voiced), TAG_S)
    yield from _conflicts(
        "speech without a tag", where, "speech_transcription", "speech", "audio_environment",
        "no voice tag at 0.1 or more",
    )  # fmt: skip
    where = spans.longer(spans.subtract(tagged, spoken), TAG_S)
    yield from _conflicts(
        "tag without speech", where, "audio_environment", "Speech", "speech_transcription",
        "no speech",
    )  # fmt: skip


def _vocal(name: str) -> bool:
    return any(word in name.lower() for word in VOICES)


def _segments(of: Sources) -> Iterator[Contradiction]:
    ground, objects = of.background_segmentation, of.object_detection
    assert ground is not None
    assert objects is not None
    people = [t for t in objects.tracks if t.label == "person"]
    for kind in ("segment without person", "person without segment"):
        flags = []
        for t, share in zip(ground.times, ground.person_shares, strict=True):
            near = any(
                a - objects.step_s <= t <= b + objects.step_s for p in people for a, b in p.seen
            )
            boxes = sum(p.area for p in people if spans.covers(p.seen, t))
            flags.append(
                share >= THERE and not near
                if kind == "segment without person"
                else share < ABSENT and boxes >= THERE
            )
        where = spans.longer(spans.runs(ground.times, flags, of.end), PICTURE_S)
        one, other = ("background_segmentation", "object_detection")
        says = f"people on at least {THERE:.0%} of the frame"
        if kind == "segment without person":
            yield from _conflicts("segment without person", where, one, says, other, "no person")
        else:
            denies = f"people on under {ABSENT:.0%} of the frame"
            yield from _conflicts("person without segment", where, other, says, one, denies)


PAIRS = (
    Pair("faces and persons", "age_estimation", "object_detection", _faces),
    Pair("poses and persons", "body_pose", "object_detection", _poses),
    Pair("sounds and silence", "audio_environment", "audio_analysis", _sounds),
    Pair("speech and silence", "speech_transcription", "audio_analysis", _silences),
    Pair("speech and sound tags", "speech_transcription", "audio_environment", _tags),
    Pair("segments and persons", "background_segmentation", "object_detection", _segments),
)
