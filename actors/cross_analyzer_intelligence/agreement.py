"""Resolves contradictions: what two analyzers disagree on is left out of summary and timeline.

The sections of the report keep all that an analyzer found. Here poses are left out where object
detection, which looks for persons too, sees none in their place, and the sound tagger's ``Speech``
where the speech detector has told of speech, with edges of its own; pauses after which another
voice goes on, or, where voices are not told apart, another shot; and readings of a text that something
still covers, where all of it is read in its place just after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actors.audio_environment import Soundscape
from actors.body_pose import PosedPerson, Poses
from actors.cut_analysis import Cuts
from actors.object_detection import Objects, ObjectTrack
from actors.speech_flow import Delivery
from actors.speech_transcription import Transcript
from actors.temporal_flow.moments import TOGETHER_S, begins
from actors.text_overlay import Overlay, Overlays
from tiktok_ray.media import spans
from tiktok_ray.methods.audio.pauses import Pause
from tiktok_ray.report import Output, Section

#: Share of a body's samples in which a person is detected, and of its box that lies in that one's.
CONFIRMED, INSIDE = 0.5, 0.5
#: A body of less confidence is told nothing of.
SURE = 0.5
#: How far apart the samples may be, in seconds.
NEAR_S = 0.5

Box = Sequence[float]


def settled(sections: Mapping[str, Section]) -> dict[str, Section]:
    """The sections with outputs that contradict no other; ``sections`` itself stays as it is."""
    told = dict(sections)
    poses, objects = _output(sections, "body_pose"), _output(sections, "object_detection")
    if isinstance(poses, Poses) and isinstance(objects, Objects):
        told["body_pose"] = _with(sections["body_pose"], confirmed(poses, objects))
    sounds, speech = (
        _output(sections, name) for name in ("audio_environment", "speech_transcription")
    )
    if isinstance(sounds, Soundscape) and isinstance(speech, Transcript):
        told["audio_environment"] = _with(sections["audio_environment"], besides(sounds, speech))
    talk, cuts = _output(sections, "speech_flow"), _output(sections, "cut_analysis")
    if isinstance(talk, Delivery) and isinstance(speech, Transcript):
        times = cuts.times if isinstance(cuts, Cuts) else []
        told["speech_flow"] = _with(sections["speech_flow"], of_one_voice(talk, speech, times))
    texts = _output(sections, "text_overlay")
    if isinstance(texts, Overlays):
        told["text_overlay"] = _with(sections["text_overlay"], uncovered(texts))
    return told


def _output(sections: Mapping[str, Section], name: str) -> object:
    return sections[name].output if name in sections else None


def _with(section: Section, output: Output) -> Section:
    return section.model_copy(update={"output": output})


def confirmed(poses: Poses, objects: Objects) -> Poses:
    """The bodies of a confidence of 0.5 or more in whose place object detection sees a person, in at
    least half of their samples."""
    people = [track for track in objects.tracks if track.label == "person"]
    kept = [body for body in poses.persons if body.confidence >= SURE and _seen(body, people)]
    return poses.model_copy(update={"persons": kept})


def _seen(body: PosedPerson, people: Sequence[ObjectTrack]) -> bool:
    found = sum(
        any(_at(person, t, box) for person in people)
        for t, box in zip(body.times, body.boxes, strict=True)
    )
    return found >= CONFIRMED * len(body.times)


def _at(person: ObjectTrack, t: float, box: Box) -> bool:
    """Whether the sample of a person nearest in time lies about the box."""
    if not any(start - NEAR_S <= t < end + NEAR_S for start, end in person.seen):
        return False
    k = min(range(len(person.times)), key=lambda k: abs(person.times[k] - t))
    return _inside(box, person.boxes[k]) >= INSIDE


def _inside(box: Box, other: Box) -> float:
    """Share of a box that lies in another."""
    wide = min(box[2], other[2]) - max(box[0], other[0])
    high = min(box[3], other[3]) - max(box[1], other[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max(0.0, wide) * max(0.0, high) / area if area > 0 else 0.0


def besides(sounds: Soundscape, speech: Transcript) -> Soundscape:
    """The sounds less ``Speech`` where the speech detector hears speech too."""
    spoken = spans.union(part.span for part in speech.speech)
    kept = [s for s in sounds.sounds if s.name != "Speech" or not spans.overlap([s.span], spoken)]
    return sounds.model_copy(update={"sounds": kept})


def of_one_voice(talk: Delivery, speech: Transcript, cuts: Sequence[float]) -> Delivery:
    """The delivery less the pauses in which the voice changes, or, voices unknown, the shot."""

    def goes_on(pause: Pause) -> bool:
        if not speech.turns:
            return not any(pause.start < t < pause.end for t in cuts)
        middle = (pause.start + pause.end) / 2
        before = [turn.speaker for turn in speech.turns if turn.start < middle]
        after = [turn.speaker for turn in speech.turns if turn.end > middle]
        return not (before and after) or before[-1] == after[0]

    return talk.model_copy(update={"pauses": [p for p in talk.pauses if goes_on(p)]})


def uncovered(texts: Overlays) -> Overlays:
    """The texts less readings that break off within a word of the text that follows in their place."""

    def cut_off(part: Overlay) -> bool:
        return any(
            0 <= whole.start - part.end <= TOGETHER_S
            and begins(part, whole)
            and not f"{whole.text} ".startswith(f"{part.text} ")
            for whole in texts.overlays
        )

    return texts.model_copy(update={"overlays": [o for o in texts.overlays if not cut_off(o)]})
