"""The report's summary: plain sentences, each with its evidence by analyzer and time.

A sentence uses only figures in the report and claims no more than they do. A topic on which nothing
was measured is omitted, and listed with the reason.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from actors.age_estimation import Faces
from actors.audio_analysis import Sound
from actors.audio_environment import Soundscape
from actors.background_segmentation import Background
from actors.body_pose import Poses
from actors.camera_analysis import Camera
from actors.color_analysis import Colors
from actors.content_quality import Quality
from actors.cross_analyzer_intelligence import Findings
from actors.cut_analysis import Cuts
from actors.eye_tracking import Eyes
from actors.object_detection import ObjectClass, Objects
from actors.qwen2_vl_temporal import Description
from actors.scene_segmentation import Scenes
from actors.speech_emotion import VoiceEmotion
from actors.speech_flow import Delivery
from actors.speech_transcription import Transcript
from actors.temporal_flow import Flow, Loop
from actors.temporal_flow.sources import LIKELY
from actors.text_overlay import Overlays
from tiktok_ray import report
from tiktok_ray.media import spans
from tiktok_ray.report import (
    Missing,
    Output,
    Section,
    Summary,
    Timed,
    VideoInfo,
    headline,
    said,
)

log = logging.getLogger("tiktok_ray.reporting.summary")

T = TypeVar("T", bound=Output)

#: Most words of a text quoted, most things listed, and most stretches a sentence cites.
WORDS, LISTED, CITED = 40, 6, 8
#: Sound that lasts longer than the pictures, or begins before them, is told from here on, in seconds.
NOTICED_S = 0.5
#: Smaller shares of the sound are not worth a word.
LEAST_SHARE = 0.005

#: How captions stand to the speech, in words.
SAID = {
    "spoken": "spoken",
    "partly spoken": "partly spoken",
    "not spoken": "not spoken",
    "unknown": "shown during speech that was not transcribed",
}


class Source(NamedTuple):
    """What a statement rests on: an analyzer (or ``video``, the container's facts) and a time."""

    analyzer: str
    start: float
    end: float


class Statement(NamedTuple):
    """One sentence on one topic."""

    about: str
    text: str
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Report:
    """What the summary is made from."""

    video: VideoInfo
    sections: Mapping[str, Section]

    def get(self, name: str, kind: type[T]) -> T | None:
        """The output of an analyzer, if it is there and of that type."""
        section = self.sections.get(name)
        output = section.output if section else None
        return output if isinstance(output, kind) else None

    def by(self, name: str) -> str:
        """The model behind an analyzer's output, as a sentence names it."""
        section = self.sections.get(name)
        return section.model.variant if section and section.model else name

    def whole(self, name: str) -> Source:
        """An analyzer over the whole video."""
        return Source(name, 0.0, self.video.duration_s)

    def shown(self, usually: str = "the time") -> str:
        """What shares of what is seen are shares of: the time of the pictures."""
        end = self.video.picture_end_s
        return usually if end is None or not self.goes_on else f"the {end:.1f} s with video"

    @property
    def goes_on(self) -> bool:
        """Whether the sound goes on after the last picture, so that anybody notices."""
        end = self.video.picture_end_s
        return end is not None and self.video.duration_s - end >= NOTICED_S


Sentences = Iterator[tuple[str, Sequence[Source]]]


def summarize(
    video: VideoInfo, sections: Mapping[str, Section], lost: list[Missing] | None = None
) -> Summary:
    """The summary of a report. A topic that cannot be produced is listed in ``lost``.

    ``sections``: as ``actors.cross_analyzer_intelligence.agreement.settled`` gives them.
    """
    made = statements(Report(video, sections), lost)
    counts = Counter(section.status for section in sections.values())
    return Summary(
        measured=counts["ok"] + counts["partial"],
        of=len(sections) - counts["skipped"],
        duration_s=video.duration_s,
        text="\n\n".join(
            f"{about[0].upper()}{about[1:]}. {' '.join(s.text for s in made if s.about == about)}"
            for about in dict.fromkeys(s.about for s in made)
        ),
        statements=[
            report.Statement(
                about=s.about,
                text=s.text,
                grounds=[report.Ground(**source._asdict()) for source in s.sources],
            )
            for s in made
        ],
        topics_not_measured=_topics_left_out(made, sections),
        found={
            name: line
            for name, section in sections.items()
            if isinstance(section.output, Output) and (line := headline(name, section.output))
        },
        not_measured=_not_measured(sections),
    )


def statements(report: Report, lost: list[Missing] | None = None) -> list[Statement]:
    """All sentences, topic by topic. A topic that raises is named in ``lost``, if that is given."""
    made: list[Statement] = []
    for topic in TOPICS:
        try:
            told = [
                Statement(topic.about, text, tuple(at[:CITED])) for text, at in topic.tell(report)
            ]
        except Exception as error:
            if lost is None:
                raise
            log.error("the summary's topic %s could not be produced", topic.about, exc_info=error)
            lost.append(Missing(part=f"summary of {topic.about}", reason=said(error)))
        else:
            made += told
    return made


def _topics_left_out(made: Sequence[Statement], sections: Mapping[str, Section]) -> dict[str, str]:
    told = {statement.about for statement in made}
    return {
        topic.about: "; ".join(
            f"{name} {_why(sections[name])}" for name in topic.analyzers if name in sections
        )
        or "none of its analyzers ran"
        for topic in TOPICS
        if topic.about not in told
    }


def _not_measured(sections: Mapping[str, Section]) -> dict[str, str]:
    lacking: dict[str, str] = {}
    for name, section in sections.items():
        if section.output is None:
            lacking[name] = _why(section)
        for part in section.missing or ():
            lacking[f"{name}: {part.part}"] = part.reason
    return lacking


def _why(section: Section) -> str:
    if section.output is not None:
        return "found nothing on this topic"
    return f"{section.status}: {section.reason}" if section.reason else section.status


# --- words --------------------------------------------------------------------------------------


def listed(things: Iterable[str], most: int = LISTED) -> str:
    """Things in a row, ``and 3 more`` where there are more than ``most``; nothing for none."""
    all_of = list(things)
    shown = all_of[:most]
    more = [f"{len(all_of) - most} more"] if len(all_of) > most else []
    *before, last = [*shown, *more] or [""]
    return f"{', '.join(before)} and {last}" if before else last


def counted(number: int, thing: str, several: str = "") -> str:
    return f"{number} {thing if number == 1 else several or thing + 's'}"


def quoted(text: str, most: int = WORDS) -> str:
    words = text.split()
    return f"“{' '.join(words[:most])}{' …' * (len(words) > most)}”"


def sentence(text: str) -> str:
    """A text with one full stop and a capital."""
    text = text.strip().rstrip(".;, ")
    return f"{text[:1].upper()}{text[1:]}."


def _at(name: str, timed: Iterable[Timed]) -> list[Source]:
    return [Source(name, one.start, one.end) for one in timed]


def _of(findings: Iterable[Any]) -> list[Source]:
    """Sources of the evidence of findings, each once, in order."""
    return list(
        dict.fromkeys(
            Source(e.analyzer, e.start, e.end) for finding in findings for e in finding.evidence
        )
    )


# --- topics -------------------------------------------------------------------------------------


def _what(r: Report) -> Sentences:
    v = r.video
    shape = "portrait" if v.height > v.width else "landscape" if v.width > v.height else "square"
    sound = _sound_of(v)
    title = f" titled {quoted(v.title)}" if v.title else ""
    yield (
        f"A video of {v.duration_s:.1f} s{title}, {v.width} x {v.height} pixels ({shape}),"
        f" {v.fps:.2f} frames per second, {sound}.",
        [r.whole("video")],
    )
    if v.picture_end_s is not None and r.goes_on:
        yield (
            f"The last frame ends at {v.picture_end_s:.1f} s, the sound continues until"
            f" {v.duration_s:.1f} s.",
            [Source("video", v.picture_end_s, v.duration_s)],
        )
    if v.has_audio and v.start_offset_s >= NOTICED_S:
        yield (
            f"The sound starts {v.start_offset_s:.1f} s before the first frame.",
            [Source("video", 0.0, 0.0)],
        )
    if described := r.get("qwen2_vl_temporal", Description):
        for text in (described.title, described.summary):
            if text:
                yield f"According to the describer: {quoted(text)}.", [r.whole("qwen2_vl_temporal")]
    if (objects := r.get("object_detection", Objects)) and objects.classes:
        yield from _in_view(r, objects)
    if (ground := r.get("background_segmentation", Background)) and ground.environments:
        seconds: dict[str, float] = {}
        for part in ground.environments:
            seconds[part.environment] = seconds.get(part.environment, 0) + part.end - part.start
        told = [f"{name} for {s:.1f} s" for name, s in sorted(seconds.items(), key=lambda x: -x[1])]
        sources = _at("background_segmentation", ground.environments)
        yield f"Environment: {listed(told)}.", sources
    if scenes := r.get("scene_segmentation", Scenes):
        many = counted(len(scenes.scenes), "scene")
        where = counted(len(scenes.settings), "setting")
        yield f"{many} in {where}.", _at("scene_segmentation", scenes.scenes)


def _in_view(r: Report, objects: Objects) -> Sentences:
    """Classes of things, the surest ones first, each with its confidence."""
    best = objects.confidences()
    likely, perhaps = [], []
    for c in sorted(objects.classes, key=lambda c: (-c.screen_share * best[c.label], c.label)):
        sure, rest = _surely_and_not(objects, c)
        if sure:
            likely.append(f"{c.label} for {sure:.0%} ({best[c.label]:.2f})")
        if rest >= LEAST_SHARE:
            unsure = [t.confidence for t in objects.tracks if t.label == c.label]
            highest = max(confidence for confidence in unsure if confidence < LIKELY)
            perhaps.append(f"{c.label} for {'another ' if sure else ''}{rest:.0%} ({highest:.2f})")
    model, time = r.by("object_detection"), r.shown()
    source = [r.whole("object_detection")]
    if likely:
        yield (
            f"In view, according to {model} (with confidence): {listed(likely)} of {time}.",
            source,
        )
    if perhaps:
        yield (
            f"Possibly in view, with low confidence of {model}: {listed(perhaps)} of {time}.",
            source,
        )


def _surely_and_not(objects: Objects, kind: ObjectClass) -> tuple[float, float]:
    """Shares of the video with a thing of a class of which the model is sure, and with others only."""
    surely = spans.total(
        part
        for track in objects.tracks
        if track.label == kind.label and track.confidence >= LIKELY
        for part in track.seen
    )
    part = min(1.0, surely / kind.screen_time_s) if kind.screen_time_s else 0.0
    return kind.screen_share * part, kind.screen_share * (1 - part)


def _sound_of(v: VideoInfo) -> str:
    """Whether there is sound, and what of it could not be used."""
    if not v.has_audio:
        track = next((s for s in v.streams if s.kind == "audio"), None)
        if track is None:
            return "without sound"
        return f"with unusable sound ({track.codec or 'unknown codec'}: {track.reason})"
    if v.samples_silenced:
        share = f"{v.silenced_share:.1%}" if v.silenced_share >= 0.001 else "less than 0.1%"
        return f"with sound of which {share} was invalid or far over full scale, and was silenced"
    return "with sound"


def _hook(r: Report) -> Sentences:
    if flow := r.get("temporal_flow", Flow):
        source = Source("temporal_flow", 0.0, flow.hook.end)
        yield (
            sentence(f"The first {flow.hook.end:.1f} s: {flow.hook.what}"),
            [source, *_of(flow.hook.elements)],
        )


def _pace(r: Report) -> Sentences:
    if cuts := r.get("cut_analysis", Cuts):
        kinds = Counter(t.kind for t in cuts.transitions if t.new_shot is not None)
        told = len(kinds) > 1 or "hard" not in kinds
        words = {"jump": "jump cut"}
        named = (
            f"{n} hard" if kind == "hard" else counted(n, words.get(kind, kind))
            for kind, n in kinds.most_common()
        )
        which = listed(named) if told else ""
        if not cuts.times:
            yield "A single shot, without cuts.", [r.whole("cut_analysis")]
        else:
            yield (
                f"{counted(len(cuts.times), 'cut')}{f' ({which})' if which else ''},"
                f" {cuts.cuts_per_minute:.1f} per minute.",
                [Source("cut_analysis", t, t) for t in cuts.times],
            )
        if len(cuts.shots) > 1:
            yield (
                f"{counted(len(cuts.shots), 'shot')} of {cuts.shortest_shot_s:.1f} to"
                f" {cuts.longest_shot_s:.1f} s, median {cuts.median_shot_s:.1f} s.",
                _at("cut_analysis", cuts.shots),
            )
    if flow := r.get("temporal_flow", Flow):
        pace = flow.pacing.pace
        top = max(pace)
        parts = listed(sorted({e.analyzer for e in flow.pacing.evidence}))
        yield (
            f"Pace, on a scale from 0 to 1, from {parts}: {sum(pace) / len(pace):.2f} on average,"
            f" highest ({top:.2f}) at {flow.pacing.fastest_s:.1f} s.",
            [r.whole("temporal_flow")],
        )
    cross = r.get("cross_analyzer_intelligence", Findings)
    if cross and (beats := cross.beat_match) and beats.on_the_beat:
        yield (
            f"Cuts are on the beat: {beats.near} of {beats.cuts} lie within 0.07 s of a beat (mean"
            f" distance {beats.mean_distance_s:.3f} s, {beats.expected_s:.3f} s by chance, p ="
            f" {beats.p_value:.2g}).",
            _of([beats]),
        )


def _speech(r: Report) -> Sentences:
    heard = r.get("speech_transcription", Transcript)
    if heard:
        at = _at("speech_transcription", heard.speech)
        yield (
            f"There is speech for {heard.speech_s:.1f} s, {heard.speech_share:.0%} of the sound"
            f"{' from the first frame on' if r.video.start_offset_s >= NOTICED_S else ''}.",
            at,
        )
        if heard.before:
            yield _before_the_pictures(heard), [Source("speech_transcription", 0.0, 0.0)]
        if heard.language and heard.language_probability is not None:
            yield (
                f"Language: {heard.language}, with a probability of"
                f" {heard.language_probability:.2f}.",
                at,
            )
        if heard.text:
            yield _words(r, heard), at
        if heard.words_dropped:
            dropped = counted(heard.words_dropped, "word")
            yield f"Left out as placed outside of speech: {dropped}.", at
    cross = r.get("cross_analyzer_intelligence", Findings)
    if cross and cross.voices:
        parts = []
        for kind in ("on camera", "voice-over", "unclear"):
            seconds = spans.total(v.span for v in cross.voices if v.heard == kind)
            parts += [f"{seconds:.1f} s are {kind}"] if seconds else []
        yield f"Of the speech, {listed(parts)}.", _of(cross.voices)
    if talk := r.get("speech_flow", Delivery):
        if talk.articulation_rate is not None:
            pauses = talk.pauses
            yield (
                f"Articulation rate about {talk.articulation_rate:.0f} {talk.counted} per minute"
                f" {'as recognised' if talk.counted == 'words' else 'counted by their nuclei'},"
                f" {counted(len(pauses), 'pause') if pauses else 'no pause'} of a quarter second or"
                " more.",
                [r.whole("speech_flow"), *_at("speech_flow", pauses)],
            )
        if talk.fillers:
            words = Counter(filler.text for filler in talk.fillers)
            which = listed(f"“{word}” {n}" for word, n in words.most_common())
            fillers = counted(len(talk.fillers), "filler")
            yield f"{fillers}: {which}.", _at("speech_flow", talk.fillers)
    if voice := r.get("speech_emotion", VoiceEmotion):
        at = _at("speech_emotion", voice.segments)
        if voice.emotion:
            yield (
                f"The voice sounds {voice.emotion.word} according to {r.by('speech_emotion')}, with a"
                f" probability of {voice.emotion.probability:.2f}.",
                at,
            )
        if voice.prosody.pitch_hz is not None and voice.prosody.pitch_range_st is not None:
            yield (
                f"Mean pitch {voice.prosody.pitch_hz:.0f} Hz over a range of"
                f" {voice.prosody.pitch_range_st:.0f} semitones.",
                at,
            )


def _words(r: Report, heard: Transcript) -> str:
    """The words with how sure the model is of them, its doubts included."""
    words = heard.words
    model = r.by("speech_transcription")
    sure = sum(w.probability for w in words) / len(words) if words else None
    how = f", with a mean probability of {sure:.2f}" if sure is not None else ""
    count = counted(heard.word_count or 0, "word")
    doubtful = sum(segment.doubtful for segment in heard.segments or ())
    more = f", {counted(doubtful, 'passage')} uncertain" if doubtful else ""
    return f"{count}, as Whisper ({model}) recognises them{how}{more}: {quoted(heard.text or '')}."


def _before_the_pictures(heard: Transcript) -> str:
    seconds = spans.total((part.start, part.end) for part in heard.before)
    first = -min(part.start for part in heard.before)
    words = " ".join(part.text for part in heard.before if part.text)
    return sentence(
        f"Starting {first:.1f} s before the first frame, there is another {seconds:.1f} s of speech"
        f"{f': {quoted(words)}' if words else ''}"
    )


def _text(r: Report) -> Sentences:
    written = r.get("text_overlay", Overlays)
    if written is None:
        return
    if written.unread:
        cannot = _at("text_overlay", written.unread)
        where = counted(len(written.unread), "place")
        when = listed(
            f"from {s.start:.1f} to {s.end:.1f} s"
            for s in spans.union(one.span for one in written.unread)
        )
        yield f"Text that cannot be read was found in {where}, {when}.", cannot
    elif not written.overlays:
        yield (
            f"No text was found on screen by {r.by('text_overlay')}.",
            [r.whole("text_overlay")],
        )
    if not written.overlays:
        return
    at = _at("text_overlay", written.overlays)
    kinds = Counter(overlay.kind.replace("_", " ") for overlay in written.overlays)
    which = listed(
        f"{n} {kind}" if kind == "scene text" else counted(n, kind)
        for kind, n in kinds.most_common()
    )
    read = "Readable text" if written.unread else "Text"
    yield f"{read} is on screen for {written.share:.0%} of {r.shown()} ({which}).", at
    shown = [
        f"{quoted(o.text)} ({o.confidence:.2f}) readable from {o.start:.1f} to {o.end:.1f} s"
        for o in written.overlays
    ]
    yield f"As read by {r.by('text_overlay')} (with confidence): {listed(shown)}.", at
    if written.reading_speed is not None:
        captions = [overlay for overlay in written.overlays if overlay.kind == "caption"]
        yield (
            f"Median reading speed required by the captions: {written.reading_speed:.1f} characters"
            " per second.",
            _at("text_overlay", captions),
        )
    cross = r.get("cross_analyzer_intelligence", Findings)
    if cross and cross.texts and any(text.said != "not spoken" for text in cross.texts):
        said = Counter(text.said for text in cross.texts)
        counts = listed(
            f"{n} {'is' if n == 1 else 'are'} {SAID[kind]}" for kind, n in said.most_common()
        )
        yield f"Of {counted(len(cross.texts), 'caption')}, {counts}.", _of(cross.texts)


def _sound(r: Report) -> Sentences:
    if sound := r.get("audio_analysis", Sound):
        at = [r.whole("audio_analysis")]
        if sound.integrated_lufs is None:
            yield "The sound is silent: it stays below the gate of -70 LUFS.", at
        else:
            peak = sound.true_peak_dbtp
            more = f", true peak {peak:.1f} dBTP" if peak is not None else ""
            yield f"Integrated loudness {sound.integrated_lufs:.1f} LUFS{more}.", at
        if sound.silences:
            where = _at("audio_analysis", sound.silences)
            yield f"Silent for {sound.silence_share:.0%} of the time.", where
        if sound.tempo:
            yield (
                f"{sound.tempo.bpm:.0f} beats per minute, with a pulse clarity of"
                f" {sound.tempo.pulse_clarity:.2f}.",
                at,
            )
        if sound.key:
            yield (
                f"Key {sound.key.tonic} {sound.key.mode}, with a correlation of"
                f" {sound.key.correlation:.2f}.",
                at,
            )
    if scape := r.get("audio_environment", Soundscape):
        yield _shares(r, scape), [r.whole("audio_environment")]
        yield from _named_sounds(r, scape)
        if scape.snr_db is not None:
            yield (
                f"The speech is {scape.snr_db:.0f} dB above its background.",
                [r.whole("audio_environment")],
            )


def _shares(r: Report, scape: Soundscape) -> str:
    """Shares of speech, music and the rest, of those that there are."""
    shares = scape.shares
    sure = scape.surest_music()
    music = "music" if sure is None or sure >= LIKELY else f"possible music ({sure:.2f})"
    known = (
        ("speech", shares.speech),
        (music, shares.music),
        ("other sound", shares.noise),
    )
    parts = [f"{name} in {share:.0%}" for name, share in known if share >= LEAST_SHARE]
    if not parts:
        return "Neither speech, music nor noise."
    return sentence(f"{listed(parts)} of the time, according to {r.by('audio_environment')}")


def _named_sounds(r: Report, scape: Soundscape) -> Sentences:
    """Sounds by name, the sure ones before those that the tagger is unsure of."""
    seconds: dict[str, float] = {}
    sure: dict[str, float] = {}
    for event in scape.sounds:
        seconds[event.name] = seconds.get(event.name, 0.0) + event.end - event.start
        sure[event.name] = max(sure.get(event.name, 0.0), event.probability)
    order = sorted(seconds, key=lambda name: (-seconds[name], name))
    model = r.by("audio_environment")
    for likely, begin in (
        (True, f"Sounds according to {model} (with probability)"),
        (False, f"Possible sounds, with low probability of {model}"),
    ):
        names = [name for name in order if (sure[name] >= LIKELY) == likely]
        told = [f"{name} for about {seconds[name]:.1f} s ({sure[name]:.2f})" for name in names]
        if told:
            events = [event for event in scape.sounds if event.name in names]
            yield f"{begin}: {listed(told)}.", _at("audio_environment", events)


def _people(r: Report) -> Sentences:
    objects = r.get("object_detection", Objects)
    for kind in objects.classes if objects else ():
        if kind.label == "person":
            seen = [t for t in objects.tracks if t.label == "person"] if objects else []
            low, high = (pick(t.confidence for t in seen) for pick in (min, max))
            sure = f"{low:.2f} to {high:.2f}" if len(seen) > 1 else f"{low:.2f}"
            surely, rest = _surely_and_not(objects, kind) if objects else (0.0, 0.0)
            begin = f"People are in view for {surely:.0%} of {r.shown()}"
            if not surely:
                begin = f"People may be in view for {rest:.0%} of {r.shown()}"
            elif rest >= LEAST_SHARE:
                begin += f" and possibly for another {rest:.0%}"
            yield (
                f"{begin}, at most"
                f" {kind.at_once} at once, according to {r.by('object_detection')} with a confidence of {sure}.",
                _at("object_detection", seen),
            )
    if objects and not any(kind.label == "person" for kind in objects.classes):
        yield (
            f"No people were detected by {r.by('object_detection')}.",
            [r.whole("object_detection")],
        )
    if faces := r.get("age_estimation", Faces):
        known = [face for face in faces.faces if face.age is not None]
        model = r.by("age_estimation")
        people = f" of {counted(faces.people, 'person', 'people')}" if faces.people else ""
        tracks = counted(len(faces.faces), "track")
        surest = max((sum(f.confidences) / len(f.confidences) for f in faces.faces), default=0.0)
        yield (
            f"Faces are on screen for {faces.screen_share:.0%} of {r.shown()}, in {tracks}{people}, at"
            f" most {faces.most_at_once} at once, according to {model} with a confidence of up to {surest:.2f}.",
            _at("age_estimation", faces.faces),
        )
        if known:
            ages = listed(f"{face.age:.0f}" for face in known)
            sexes = Counter(face.sex for face in known if face.sex)
            sex = listed(f"{n} {name}" for name, n in sexes.most_common())
            yield (
                f"Ages estimated by {model} for each face, without a confidence: {ages}"
                f"{f'; sexes: {sex}' if sex else ''}.",
                _at("age_estimation", known),
            )
    if eyes := r.get("eye_tracking", Eyes):
        at = _at("eye_tracking", eyes.tracks)
        if eyes.into_camera_share is not None:
            yield (
                f"The gaze is into the camera in {eyes.into_camera_share:.0%} of the samples"
                f" (within {eyes.tolerance_yaw:.0f} and {eyes.tolerance_pitch:.0f} degrees).",
                at,
            )
        blinks = [blink for track in eyes.tracks for blink in track.blinks]
        found = f"{counted(len(blinks), 'blink')}." if blinks else "No blinks were found."
        yield found, _at("eye_tracking", blinks) or at
    if poses := r.get("body_pose", Poses):
        model = r.by("body_pose")
        if gestures := poses.made():
            made = [g for person in poses.persons for g in person.gestures]
            counts = Counter(gesture.gesture for gesture in made)
            told = listed(f"{name} ({n}, {gestures[name]:.2f})" for name, n in counts.most_common())
            yield (
                f"Gestures, from the keypoints of {model} (count, confidence of the body): {told}.",
                _at("body_pose", made),
            )
        if postures := poses.held():
            still = [p for p in poses.persons if p.posture != "unknown"]
            held = Counter(p.posture for p in still)
            told = listed(f"{name} ({n}, {postures[name]:.2f})" for name, n in held.most_common())
            yield (
                f"Postures, from the same keypoints (tracks, confidence of the body): {told}.",
                _at("body_pose", still),
            )


def _look(r: Report) -> Sentences:
    if colors := r.get("color_analysis", Colors):
        at = [r.whole("color_analysis")]
        palette = listed(f"{swatch.name} {swatch.share:.0%}" for swatch in colors.palette)
        warm = f", {colors.temperature_k:.0f} K" if colors.temperature_k else ""
        yield f"Colours: {palette}.", at
        yield (
            f"Mean lightness {colors.brightness:.0f} of 100, contrast {colors.contrast:.0f}, mean"
            f" chroma {colors.saturation:.0f}{warm}.",
            at,
        )
        for look in colors.filters:
            name = look.words
            yield (
                f"{sentence(name)[:-1]} on {look.share:.0%} of the frames sampled ({look.test}).",
                at,
            )
    if quality := r.get("content_quality", Quality):
        at = [r.whole("content_quality")]
        found = quality.technical
        parts = []
        if found.sharpness is not None:
            parts.append(f"sharpness {found.sharpness:.2f} of 1")
        if found.noise is not None:
            parts.append(f"noise of {found.noise:.1f} of 255 levels")
        if found.effective_resolution:
            parts.append("detail of {} x {} pixels".format(*found.effective_resolution))
        if found.bars.kind != "none":
            parts.append(f"{found.bars.kind} on {found.bars.share:.0%} of the frame")
        if parts:
            yield sentence(listed(parts)), at
        for score in quality.aesthetic or ():
            if score.pair == "aesthetic or not":
                yield f"CLIP, “{score.pair}”: {score.score:.2f} of 1.", at
    camera = r.get("camera_analysis", Camera)
    if camera and camera.moving_share is not None:
        counts = Counter(move.kind for move in camera.moves)
        moves = f": {listed(f'{kind} ({n})' for kind, n in counts.most_common())}" if counts else ""
        shaking = camera.shaking_share or 0.0
        yield (
            f"The camera moves in {camera.moving_share:.0%} and shakes in {shaking:.0%} of the time"
            f" that could be measured, {camera.measured_share:.0%} of {r.shown('the video')}{moves}.",
            _at("camera_analysis", camera.moves) or [r.whole("camera_analysis")],
        )


def _moments(r: Report) -> Sentences:
    if flow := r.get("temporal_flow", Flow):
        if not flow.moments:
            yield (
                "No key moments: no change stands out.",
                [r.whole("temporal_flow")],
            )
        best = sorted(flow.moments, key=lambda m: m.rank)[:LISTED]
        for moment in sorted(best, key=lambda m: m.at):
            source = Source("temporal_flow", moment.start, moment.end)
            yield sentence(f"At {moment.at:.1f} s: {moment.what}"), [source, *_of([moment])]
        for ask in flow.calls_to_action or ():
            yield (
                f"Call to action at {ask.start:.1f} s ({ask.action}): {quoted(ask.words)}.",
                [Source("temporal_flow", ask.start, ask.end), *_of([ask])],
            )
        if flow.loop and flow.loop.loops:
            yield (
                f"The last frame resembles the first with a similarity of {flow.loop.similarity:.2f}, and"
                f" {_sounds_alike(flow.loop)}: the video loops.",
                [Source("temporal_flow", flow.loop.last_s, flow.loop.last_s)],
            )


def _sounds_alike(loop: Loop) -> str:
    if loop.sound_similarity is None:
        return "there is no sound"
    return f"the sound at both ends with {loop.sound_similarity:.2f}"


def _together(r: Report) -> Sentences:
    if cross := r.get("cross_analyzer_intelligence", Findings):
        told = {"speech and faces", "texts and speech", "cuts and beats", "key moment"}
        fresh = [insight for insight in cross.insights if insight.about not in told]
        for insight in fresh[:LISTED]:
            yield sentence(insight.text), _of([insight])


class Topic(NamedTuple):
    """A topic, what tells of it, and the analyzers it takes: any of them will do."""

    about: str
    tell: Callable[[Report], Sentences]
    analyzers: tuple[str, ...]


TOPICS = (
    Topic("what it is", _what, ()),
    Topic("hook", _hook, ("temporal_flow",)),
    Topic("pace", _pace, ("cut_analysis", "temporal_flow")),
    Topic("speech", _speech, ("speech_transcription", "speech_flow", "speech_emotion")),
    Topic("text", _text, ("text_overlay",)),
    Topic("sound", _sound, ("audio_analysis", "audio_environment")),
    Topic("people", _people, ("object_detection", "age_estimation", "eye_tracking", "body_pose")),
    Topic("look", _look, ("color_analysis", "content_quality", "camera_analysis")),
    Topic("key moments", _moments, ("temporal_flow",)),
    Topic("taken together", _together, ("cross_analyzer_intelligence",)),
)
