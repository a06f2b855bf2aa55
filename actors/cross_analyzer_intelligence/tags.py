"""Content tags for the video, each with the figure and the rule it is based on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from actors.cross_analyzer_intelligence.findings import Voice
from actors.cross_analyzer_intelligence.sources import (
    Finding,
    Sources,
    cite,
    collected,
    counted,
    quoted,
)
from tiktok_ray.media import spans
from tiktok_ray.report import Evidence, derived, estimated

MUSICAL = ("Music", "Musical instrument", "Singing")


#: How sure a model must be of what becomes a tag.
SURE = 0.5


class Tag(Finding):
    """A content tag."""

    tag: str = derived("The tag")
    value: float = derived("The figure it is based on, in the unit its rule names")
    rule: str = derived("The condition for the tag")
    confidence: float | None = estimated(
        "Confidence of the underlying model, at least 0.5; absent if it gives none",
        range="0.5..1",
        default=None,
    )


def tags(of: Sources, heard: Sequence[Voice] | None) -> list[Tag]:
    """All tags, in the order of the analyzers they are based on."""
    found: list[Tag] = []
    ways = (
        _cuts, _camera, _scenes, _colors, _quality, _objects, _people, _eyes, _poses, _ground,
        _text, _speech, _emotion, _delivery, _sounds, _pulse, _flow, _description,
    )  # fmt: skip
    for way in ways:
        found += way(of)
    return found + list(_voices(of, heard or []))


def _tag(
    tag: str, value: float, rule: str, evidence: Sequence[Evidence], sure: float | None = None
) -> Tag:
    cited = collected(evidence)
    return Tag(tag=tag, value=value, rule=rule, confidence=sure, evidence=cited)


def _cuts(of: Sources) -> Iterator[Tag]:
    name, cuts = "cut_analysis", of.cut_analysis
    if cuts is None:
        return
    median = cuts.median_shot_s
    cited = [cite(name, 0.0, of.end, f"{counted(len(cuts.shots), 'shot')}, median {median:.2f} s")]
    if len(cuts.shots) == 1:
        yield _tag("one shot", 1, "shots: 1", cited)
    elif len(cuts.shots) >= 4 and median <= 2.0:
        yield _tag(
            "quick cuts", median, "median shot length in s, at most 2, over 4 shots or more", cited
        )


def _camera(of: Sources) -> Iterator[Tag]:
    name, camera = "camera_analysis", of.camera_analysis
    if camera is None or camera.moving_share is None or camera.measured_share < 0.5:
        return
    shake = camera.shaking_share or 0.0
    for tag, value, rule, holds in (
        ("moving camera", camera.moving_share, "share of the measured time with pan, tilt, zoom or"
         " roll, at least 0.5", camera.moving_share >= 0.5),
        ("handheld", shake, "share of the measured time with shake, at least 0.3", shake >= 0.3),
        ("static camera", camera.moving_share, "share of the measured time with pan, tilt, zoom or"
         " roll, at most 0.05, with shake in at most 0.05", camera.moving_share <= 0.05
         and shake <= 0.05),
    ):  # fmt: skip
        if holds:
            what = f"moving {camera.moving_share:.0%}, shaking {shake:.0%} of the measured time"
            yield _tag(tag, value, rule, [cite(name, 0.0, of.end, what)])


def _scenes(of: Sources) -> Iterator[Tag]:
    """Settings that come back, in one tag; numbered from 1, as scenes are."""
    if of.scene_segmentation is None:
        return
    again = [one for one in of.scene_segmentation.settings if len(one.scenes) > 1]
    cited = [
        cite("scene_segmentation", *of.scene_segmentation.scenes[k].span, f"setting {one.id}")
        for one in again
        for k in one.scenes
    ]
    if again:
        rule = "settings shown in two or more scenes, at least 1"
        yield _tag("returns to a setting", len(again), rule, cited)


def _colors(of: Sources) -> Iterator[Tag]:
    for look in of.color_analysis.filters if of.color_analysis else ():
        what = f"{look.kind} on {look.share:.0%} of the sampled frames"
        rule = f"share of the sampled frames, at least 0.5; test: {look.test}"
        cited = [cite("color_analysis", 0.0, of.end, what)]
        yield _tag(look.words, look.share, rule, cited)


def _quality(of: Sources) -> Iterator[Tag]:
    if of.content_quality is None:
        return
    found = of.content_quality.technical
    if found.bars.kind != "none":
        what = f"bars on {found.bars.share:.0%} of the frame"
        cited = [cite("content_quality", 0.0, of.end, what)]
        yield _tag(
            found.bars.kind, found.bars.share, "share of the frame covered by bars, above 0", cited
        )
    if found.blurred_share is not None and found.blurred_share >= 0.5:
        what = f"{found.blurred_share:.0%} of the sampled frames with sharpness below 0.4"
        cited = [cite("content_quality", 0.0, of.end, what)]
        rule = "share of the sampled frames with sharpness below 0.4, at least 0.5"
        yield _tag("blurred", found.blurred_share, rule, cited)


def _objects(of: Sources) -> Iterator[Tag]:
    if of.object_detection is None:
        return
    sure = of.object_detection.confidences()
    for kind in of.object_detection.classes:
        if kind.screen_share < 0.1 or sure[kind.label] < SURE:
            continue
        tracks = [t for t in of.object_detection.tracks if t.label == kind.label]
        cited = [
            cite("object_detection", a, b, f"{t.label} {t.confidence:.2f}")
            for t in tracks
            for a, b in t.seen
        ]
        rule = "share of the video in view, at least 0.1, with a mean confidence of 0.5 or more"
        yield _tag(kind.label, kind.screen_share, rule, cited, sure[kind.label])
        if kind.label == "person" and kind.at_once >= 3:
            yield _tag("group", kind.at_once, "people at once, at least 3", cited, sure[kind.label])


def _people(of: Sources) -> Iterator[Tag]:
    faces = of.age_estimation.faces if of.age_estimation else []
    large = [
        face
        for face in faces
        if sum(box[3] - box[1] for box in face.boxes) / len(face.boxes) >= 0.25
    ]
    share = spans.total(face.span for face in large) / of.end
    if share >= 0.25:
        cited = [
            cite("age_estimation", *f.span, "a face at least 25 % of the frame height")
            for f in large
        ]
        rule = (
            "share of the video with a face at least a quarter of the frame height, at least 0.25"
        )
        yield _tag("close-up of a face", share, rule, cited)


def _eyes(of: Sources) -> Iterator[Tag]:
    eyes = of.eye_tracking
    if eyes is None or eyes.into_camera_share is None or eyes.into_camera_share < 0.5:
        return
    cited = [
        cite("eye_tracking", part.start, part.end, "gaze into the camera")
        for track in eyes.tracks
        for part in track.into_camera
    ]
    if spans.total((e.start, e.end) for e in cited) >= 2.0:
        rule = "share of the samples with the gaze into the camera, at least 0.5, over 2 s or more"
        yield _tag("looks into the camera", eyes.into_camera_share, rule, cited)


def _poses(of: Sources) -> Iterator[Tag]:
    found: dict[str, list[Evidence]] = {}
    bodies = of.bodies.persons if of.bodies else []
    sure = of.bodies.made() if of.bodies else {}
    for person in bodies:
        for gesture in person.gestures:
            what = f"{gesture.gesture} ({gesture.side}), body {person.confidence:.2f}"
            cited = cite("body_pose", gesture.start, gesture.end, what)
            found.setdefault(gesture.gesture, []).append(cited)
            if of.object_detection is not None:
                seen = cite("object_detection", gesture.start, gesture.end, "a person in its place")
                found[gesture.gesture].append(seen)
    for kind, evidence in sorted(found.items()):
        if sure[kind] >= SURE:
            rule = "number of times the gesture is made by a body with a confidence of 0.5 or more"
            times = sum(each.analyzer == "body_pose" for each in evidence)
            yield _tag(f"gesture: {kind}", times, rule, evidence, sure[kind])


def _ground(of: Sources) -> Iterator[Tag]:
    ground = of.background_segmentation
    if ground is None or ground.environment == "unknown":
        return
    parts = [part for part in ground.environments if part.environment == ground.environment]
    share = spans.total(part.span for part in parts) / of.end
    cited = [
        cite("background_segmentation", *p.span, f"{p.environment}: {', '.join(p.rests_on[:3])}")
        for p in parts
    ]
    if share >= 0.5:
        rule = "share of the video in that environment, at least 0.5"
        yield _tag(ground.environment, share, rule, cited)


def _text(of: Sources) -> Iterator[Tag]:
    if of.text_overlay is None:
        return
    captions = of.captions or []
    share = spans.total(caption.span for caption in captions) / of.end
    if share >= 0.5:
        cited = [cite("text_overlay", *c.span, quoted(c.text)) for c in captions]
        rule = "share of the video with a caption, at least 0.5"
        yield _tag("captions", share, rule, cited)
    for mark in of.text_overlay.overlays:
        if mark.kind == "watermark":
            cited = [cite("text_overlay", *mark.span, quoted(mark.text))]
            seconds = mark.end - mark.start
            yield _tag(f"watermark: {mark.text}", seconds, "seconds on screen, above 0", cited)


def _speech(of: Sources) -> Iterator[Tag]:
    heard = of.speech_transcription
    if not of.video.has_audio:
        unusable = any(s.kind == "audio" for s in of.video.streams)
        tag = "unusable sound" if unusable else "no sound"
        cited = [cite("video", 0.0, of.end, of.video.no_sound or tag)]
        yield _tag(tag, 0.0, "share of the video with usable sound, 0", cited)
    elif of.quiet:
        cited = [cite("speech_transcription", 0.0, of.end, "no speech")]
        yield _tag("no speech", 0.0, "share of the sound with speech, 0", cited)
    elif heard is not None:
        cited = [cite("speech_transcription", *part.span, "speech") for part in heard.speech]
        if heard.speech_share >= 0.1:
            rule = "share of the sound with speech, at least 0.1"
            yield _tag("speech", heard.speech_share, rule, cited)
        if heard.language and (heard.language_probability or 0.0) >= 0.5:
            rule = "probability of the language, at least 0.5"
            yield _tag(
                f"language: {heard.language}", heard.language_probability or 0.0, rule, cited
            )


def _emotion(of: Sources) -> Iterator[Tag]:
    felt = of.speech_emotion.emotion if of.speech_emotion else None
    if of.speech_emotion and felt and felt.probability >= 0.5:
        cited = [
            cite("speech_emotion", *s.span, f"{s.emotion.word} {s.emotion.probability:.2f}")
            for s in of.speech_emotion.segments
            if s.emotion
        ]
        rule = "mean probability over the speech, at least 0.5"
        yield _tag(f"voice: {felt.word}", felt.probability, rule, cited)


def _delivery(of: Sources) -> Iterator[Tag]:
    talk = of.speech_flow
    if talk is None:
        return
    if talk.fillers and (talk.fillers_per_100_words or 0.0) >= 5:
        cited = [cite("speech_flow", *f.span, quoted(f.text)) for f in talk.fillers]
        rule = "fillers per 100 words, at least 5"
        yield _tag("fillers", talk.fillers_per_100_words or 0.0, rule, cited)
    if talk.pauses and (talk.pause_share or 0.0) >= 0.3:
        cited = [cite("speech_flow", *p.span, f"{p.kind} pause") for p in talk.pauses]
        rule = "share of the talk spent in pauses, at least 0.3"
        yield _tag("many pauses", talk.pause_share or 0.0, rule, cited)


def _sounds(of: Sources) -> Iterator[Tag]:
    name, scape = "audio_environment", of.audio_environment
    if scape is None:
        return
    sure_of_music = scape.surest_music()
    if scape.shares.music >= 0.1 and (sure_of_music is None or sure_of_music >= SURE):
        what = f"music in {scape.shares.music:.0%} of the time"
        rule = "share of the time with music, at least 0.1"
        whole = [cite(name, 0.0, of.end, what)]
        yield _tag("music", scape.shares.music, rule, whole, sure_of_music)
    named: dict[str, list[Evidence]] = {}
    sure: dict[str, float] = {}
    for sound in scape.sounds:
        if sound.name not in ("Speech", *MUSICAL) and sound.probability >= 0.5:
            cited = cite(name, *sound.span, f"{sound.name} {sound.probability:.2f}")
            named.setdefault(sound.name, []).append(cited)
            sure[sound.name] = max(sure.get(sound.name, 0.0), sound.probability)
    for sound_name, evidence in named.items():
        seconds = spans.total((e.start, e.end) for e in evidence)
        if seconds >= 1.0:
            rule = "seconds it is audible, at least 1, with a probability of 0.5 or more"
            yield _tag(f"sound: {sound_name}", seconds, rule, evidence, sure[sound_name])


def _pulse(of: Sources) -> Iterator[Tag]:
    name, sound = "audio_analysis", of.audio_analysis
    if sound is None:
        return
    if sound.silence_share >= 0.9:
        cited = [cite(name, *s.span, "silence") for s in sound.silences]
        yield _tag("silent", sound.silence_share, "share of silence, at least 0.9", cited)
    if sound.tempo and sound.beats:
        what = f"{counted(len(sound.beats), 'beat')}, clarity {sound.tempo.pulse_clarity:.2f}"
        cited = [cite(name, sound.beats[0], sound.beats[-1], what)]
        yield _tag(f"{sound.tempo.bpm:.0f} bpm", sound.tempo.bpm, "beats per minute", cited)


def _flow(of: Sources) -> Iterator[Tag]:
    flow = of.temporal_flow
    if flow is None:
        return
    asked: dict[str, list[Evidence]] = {}
    for ask in flow.calls_to_action or ():
        words = cite("temporal_flow", ask.start, ask.end, f"“{ask.words}”")
        asked.setdefault(ask.action, []).append(words)
    for action, evidence in asked.items():
        yield _tag(f"call to action: {action}", len(evidence), "number of requests", evidence)
    if flow.loop and flow.loop.loops:
        what = f"last frame similar to the first by {flow.loop.similarity:.2f}"
        cited = [cite("temporal_flow", flow.loop.last_s, flow.loop.last_s, what)]
        rule = f"similarity of last and first frame, at least {flow.loop.threshold}, similar sound"
        yield _tag("loops", flow.loop.similarity, rule, cited)


def _description(of: Sources) -> Iterator[Tag]:
    described = of.qwen2_vl_temporal
    for tag in dict.fromkeys((described.tags if described else None) or ()):
        cited = [cite("qwen2_vl_temporal", 0.0, of.end, f"tag “{tag}”")]
        share = described.described_share if described else 0.0
        yield _tag(tag, share, "tag by the describer; share of the video described", cited)


def _voices(of: Sources, heard: Sequence[Voice]) -> Iterator[Tag]:
    spoken = spans.total(voice.span for voice in heard)
    for kind, tag in (("on camera", "talking head"), ("voice-over", "voice-over")):
        these = [voice for voice in heard if voice.heard == kind]
        seconds = spans.total(voice.span for voice in these)
        if these and seconds >= 0.5 * spoken and seconds >= 0.1 * of.end:
            rule = f"share of the speech that is {kind}, at least 0.5, and a tenth of the video"
            evidence = [e for voice in these for e in voice.evidence]
            yield _tag(tag, seconds / spoken, rule, evidence)
