"""Findings put together from hand-made outputs of other analyzers, each with its evidence."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.audio_analysis import AudioAnalysis, LoudnessCurve, Silence, Sound, SoundSection
from actors.camera_analysis import Camera, Move, ShotCamera
from actors.cut_analysis import CutAnalysis, Cuts
from actors.object_detection import Objects, ObjectTrack
from actors.qwen2_vl_temporal import Description, WindowDescription
from actors.speech_emotion import Emotion, SpokenStretch, VoiceEmotion
from actors.speech_transcription import Segment as Sentence
from actors.speech_transcription import Transcript, Word
from actors.temporal_flow import Flow, TemporalFlow, calls_to_action, feelings, loop, motion
from actors.temporal_flow.moments import Change, changes, moments, segments, together
from actors.temporal_flow.pacing import pacing
from actors.temporal_flow.sources import Sources, cite, happenings, quoted
from actors.text_overlay import Overlay, Overlays, Unread
from tests.cameras import cuts_at, photo
from tiktok_ray.analyzer import Analyzer, Partial
from tiktok_ray.media import Audio, Frames, Levels, Speech, Video, decode
from tiktok_ray.media.spans import Span
from tiktok_ray.report import Timed
from tiktok_ray.settings import Settings

SOFT = {
    "camera_analysis",
    "audio_analysis",
    "speech_transcription",
    "text_overlay",
    "object_detection",
    "speech_emotion",
    "qwen2_vl_temporal",
}


def video(seconds: float, has_audio: bool = True) -> Video:
    return Video(
        duration_s=seconds, width=64, height=114, fps=30.0, variable_fps=False, frames=None,
        has_audio=has_audio, start_offset_s=0.0, rotation=0, video_codec="h264",
        audio_codec=None, audio_channels=None, audio_rate=None, container="mp4", size_bytes=1,
    )  # fmt: skip


def thumbs(first: Any, last: Any, seconds: float) -> Frames:
    return Frames.of([0.0, seconds - 0.1], [first, last], seconds)


def picture(name: str = "astronaut") -> Any:
    return np.ascontiguousarray(photo(name)[:1140:10, :640:10])


def spoken(*spans: tuple[float, float], words: list[tuple[str, float]] | None) -> Transcript:
    said = [Word(start=t, end=t + 0.2, text=w, probability=0.9) for w, t in words or ()]
    sentence = Sentence(start=0.0, end=20.0, text="", words=said)
    return Transcript.model_construct(
        segments=None if words is None else [sentence] * bool(said),
        speech=[Timed(start=a, end=b) for a, b in spans],
    )


def written(*overlays: tuple[str, float, float], kind: Any = "caption") -> Overlays:
    made = [
        Overlay.model_construct(
            text=text,
            lines=[text],
            start=a,
            end=b,
            kind=kind,
            confidence=0.9,
            box=[0.1, 0.8, 0.9, 0.86],
        )
        for text, a, b in overlays
    ]
    return Overlays.model_construct(overlays=made)


def heard(
    *silences: tuple[float, float], onsets: list[float], sections: tuple[float, ...] = (0.0,)
) -> Sound:
    return Sound.model_construct(
        silences=[Silence(start=a, end=b) for a, b in silences],
        onsets=onsets,
        loudness=LoudnessCurve(times=[], momentary=[], short_term=[]),
        sections=[
            SoundSection(start=t, end=t + 1, label="A", lufs=None, novelty=None) for t in sections
        ],
    )


def seen(*tracks: tuple[str, float, float]) -> Objects:
    made = [
        ObjectTrack.model_construct(label=label, seen=[(a, b)], confidence=0.9, area=0.04)
        for label, a, b in tracks
    ]
    return Objects.model_construct(tracks=made)


def moved(cuts: Cuts, *moves: tuple[str, float, float], speed: float = 0.1) -> Camera:
    times = list(np.arange(0.05, cuts.shots[-1].end, 0.1))
    busy = [any(a <= t < b for _, a, b in moves) for t in times]
    return Camera.model_construct(
        moves=[
            Move(start=a, end=b, kind=k, shot=0, speed=speed, unit="widths/s", amount=0.1)
            for k, a, b in moves
        ],
        shots=[
            ShotCamera.model_construct(
                start=s.start,
                end=s.end,
                movements=["static"]
                if not any(a < s.end and b > s.start for _, a, b in moves)
                else [],
            )
            for s in cuts.shots
        ],
        times=times,
        pan=[speed if b else 0.0 for b in busy],
        tilt=[0.0] * len(times),
        measured_share=1.0,
    )


def felt(*stretches: tuple[str | None, float, float]) -> VoiceEmotion:
    def emotion(name: str | None) -> Emotion | None:
        return Emotion(dominant=name, probability=0.8, distribution={name: 0.8}) if name else None

    return VoiceEmotion.model_construct(
        segments=[
            SpokenStretch.model_construct(start=a, end=b, emotion=emotion(name))
            for name, a, b in stretches
        ]
    )


def described(*windows: tuple[str, str | None, float, float]) -> Description:
    made = [
        WindowDescription.model_construct(
            start=a, end=b, action=action, setting=None, mood=mood, raw=action
        )
        for action, mood, a, b in windows
    ]
    return Description.model_construct(windows=made)


def everything() -> dict[str, Any]:
    """A video of 12 s with three shots, in which every analyzer found something."""
    cuts = cuts_at([4.0, 8.0], 12.0)
    return {
        "video": video(12.0),
        "thumbs": thumbs(picture(), picture(), 12.0),
        "audio": None,
        "speech": Speech((Span(1.0, 3.5), Span(5.0, 7.0))),
        "cut_analysis": cuts,
        "camera_analysis": moved(cuts, ("pan right", 0.5, 3.0), ("zoom in", 5.0, 7.0)),
        "audio_analysis": heard((8.0, 10.0), onsets=[0.5, 1.0, 1.5, 5.1, 5.3, 11.0]),
        "speech_transcription": spoken(
            (1.0, 3.5),
            (5.0, 7.0),
            words=[("Today", 1.0), ("we", 1.4), ("bake", 2.0), ("Follow", 5.0), ("me", 5.4)],
        ),
        "text_overlay": written(("STEP ONE", 0.2, 3.9), ("STEP TWO", 4.0, 7.9), ("Link in bio", 10.2, 12.0)),
        "object_detection": seen(("person", 0.0, 4.0), ("bowl", 4.0, 8.0), ("cup", 9.9, 12.0)),
        "speech_emotion": felt(("hap", 1.0, 3.5), ("neu", 5.0, 7.0)),
        "qwen2_vl_temporal": described(
            ("A man holds up a bowl.", "cheerful", 0.0, 4.0),
            ("He stirs.", "calm", 4.0, 8.0),
            ("A cup on a table.", None, 8.0, 12.0),
        ),
    }  # fmt: skip


def flow(inputs: dict[str, Any]) -> tuple[Flow, dict[str, str]]:
    result = TemporalFlow().analyze(**inputs)
    if isinstance(result, Partial):
        assert isinstance(result.output, Flow)
        return result.output, {gone.part: gone.reason for gone in result.missing}
    assert isinstance(result, Flow)
    return result, {}


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    short = cuts_at([], 2.0)
    fast = cuts_at([2.0, 3.0, 4.0], 9.0)
    other = {
        "video": video(9.0),
        "thumbs": returning(),
        "audio": sounding(440, 440),
        "speech": Speech((Span(2.1, 8.0),)),
        "cut_analysis": fast,
        "camera_analysis": moved(fast, ("tilt up", 5.0, 8.0), speed=0.2),
        "audio_analysis": heard((0.0, 2.0), onsets=[2.0, 3.0, 8.8]),
        "speech_transcription": spoken((2.1, 8.0), words=[("Kommen", 2.2), ("jetzt", 2.8)]),
        "text_overlay": written(("Jetzt kaufen", 3.0, 9.0)),
        "object_detection": seen(("dog", 5.1, 9.0)),
        "speech_emotion": felt(("sad", 2.1, 8.0)),
        "qwen2_vl_temporal": described(("A dog runs.", "playful", 0.0, 9.0)),
    }
    bare = dict.fromkeys(SOFT) | {
        "video": video(2.0),
        "thumbs": thumbs(picture(), np.zeros((114, 64, 3), np.uint8), 2.0),
        "audio": None,
        "speech": None,
        "cut_analysis": short,
    }
    back = everything() | {"thumbs": clip_of(*AWAY), "audio": sounding(440, 440)}
    changed = everything() | {"thumbs": clip_of(*AWAY), "audio": sounding(440, 3000)}
    return [(TemporalFlow(), inputs) for inputs in (everything(), other, back, changed, bare)]


# --- evidence ---------------------------------------------------------------------------------


def findings(made: Flow) -> Iterator[tuple[str, str, set[str]]]:
    """Every finding: its name, itself as JSON, and the analyzers it cites."""

    def cited(*models: Any) -> set[str]:
        return {e.analyzer for model in models for e in model.evidence}

    for element in made.hook.elements:
        yield f"hook {element.kind}", element.model_dump_json(), cited(element)
    for name in ("cuts", "motion", "words", "onsets"):
        source = {
            "cuts": "cut_analysis",
            "motion": "camera_analysis",
            "words": "speech_transcription",
            "onsets": "audio_analysis",
        }[name]
        if (row := getattr(made.pacing, name)) is not None:
            assert source in cited(made.pacing)
            yield f"pace {name}", str(row), {source}
    yield "pace", str(made.pacing.pace), cited(made.pacing)
    for moment in made.moments:
        yield f"moment {moment.start}", moment.model_dump_json(exclude={"rank"}), cited(moment)
    for segment in made.segments:
        yield (
            f"segment {segment.start}",
            segment.model_dump_json(),
            cited(segment, *segment.elements),
        )
    for feeling in made.emotional_course or ():
        yield f"feeling {feeling.start}", feeling.model_dump_json(), cited(feeling)
    for call in made.calls_to_action or ():
        yield f"call {call.start}", call.model_dump_json(), cited(call)
    if made.loop:
        yield "loop", made.loop.model_dump_json(), {"the pictures"}


def test_with_every_source_nothing_is_missing_and_every_source_is_cited() -> None:
    made, gone = flow(everything())
    assert gone == {}
    cited = {analyzer for *_, analyzers in findings(made) for analyzer in analyzers}
    assert cited == SOFT | {"cut_analysis", "the pictures"}
    assert all(analyzers for *_, analyzers in findings(made)), "no finding without evidence"


@pytest.mark.parametrize("source", sorted(SOFT))
def test_removing_a_source_changes_exactly_the_findings_that_rest_on_it(source: str) -> None:
    before, _ = flow(everything())
    after, gone = flow(everything() | {source: None})
    kept = {(name, what) for name, what, _ in findings(after)}
    for name, what, analyzers in findings(before):
        if source in analyzers:
            assert (name, what) not in kept, f"{name} rests on {source} and stayed the same"
        else:
            assert (name, what) in kept, f"{name} does not rest on {source} and changed"
    assert not any(source in analyzers for *_, analyzers in findings(after))
    assert any(source in reason for reason in gone.values())


def test_changing_a_source_changes_exactly_the_findings_that_rest_on_it() -> None:
    source = "text_overlay"
    other = written(("CUT THE BUTTER", 0.2, 3.9), ("STIR", 4.0, 7.9), ("Swipe up", 10.2, 12.0))
    before, _ = flow(everything())
    after, _ = flow(everything() | {source: other})
    kept = {(name, what) for name, what, _ in findings(after)}
    for name, what, analyzers in findings(before):
        assert ((name, what) in kept) == (source not in analyzers), name


def test_what_is_missing_is_named_with_its_source() -> None:
    made, gone = flow(everything() | dict.fromkeys(SOFT))
    assert gone["motion in the pace"] == "camera_analysis produced no output"
    assert gone["spoken calls to action"] == "speech_transcription produced no output"
    assert gone["written calls to action"] == "text_overlay produced no output"
    assert gone["voice in the emotional course"] == "speech_emotion produced no output"
    assert gone["mood in the emotional course"] == "qwen2_vl_temporal produced no output"
    assert (made.emotional_course, made.calls_to_action) == (None, None)
    assert (made.pacing.motion, made.pacing.words, made.pacing.onsets) == (None, None, None)
    assert [m.what for m in made.moments] == ["cut", "cut"], "nothing else is known to change"
    assert [e.kind for e in made.hook.elements] == ["cuts"]


def test_speech_without_words_lacks_only_the_words() -> None:
    wordless = spoken((1.0, 3.5), (5.0, 7.0), words=None)
    made, gone = flow(everything() | {"speech_transcription": wordless})
    assert gone == {
        "words in the pace": "speech_transcription has no words",
        "spoken calls to action": "speech_transcription has no words",
    }
    assert "speech for 2.0 s from 1.0 s" in made.hook.what
    assert [call.words for call in made.calls_to_action or ()] == ["Link in bio"]


def test_where_nobody_speaks_no_words_are_missing() -> None:
    silent = {"speech_transcription": None, "speech_emotion": None, "speech": Speech(())}
    made, gone = flow(everything() | silent)
    assert gone == {}
    assert made.pacing.words is None
    mute = {"speech": None, "audio_analysis": None, "video": video(12.0, has_audio=False)}
    _, gone = flow(everything() | silent | mute)
    assert gone == {}


def test_a_voice_without_its_model_has_no_emotional_course() -> None:
    deaf = {"speech_emotion": felt((None, 1.0, 3.0))}
    made, gone = flow(everything() | deaf)
    assert [f.what for f in made.emotional_course or ()] == ["cheerful", "calm"]
    reason = "speech_emotion has no emotion"
    assert gone == {"voice in the emotional course": reason}
    made, _ = flow(everything() | deaf | {"qwen2_vl_temporal": None})
    assert made.emotional_course is None


# --- findings ---------------------------------------------------------------------------------


def test_the_hook_says_what_happens_first_and_when() -> None:
    made, _ = flow(everything())
    assert made.hook.end == 3.0
    assert made.hook.what == (
        "one shot; shown: “A man holds up a bowl.”; in view: person (0.90); sound throughout;"
        " text “STEP ONE” (0.90); camera: pan right;"
        " speech “Today we bake” (0.90) from 1.0 s"
    )
    (speech,) = [e for e in made.hook.elements if e.kind == "speech"]
    assert [(e.analyzer, e.start, e.end) for e in speech.evidence] == [
        ("speech_transcription", 1.0, 2.2)
    ]
    assert all(0.0 <= e.start <= e.end <= 3.0 for x in made.hook.elements for e in x.evidence)


def test_the_hook_of_a_short_video_is_all_of_it() -> None:
    *_, (_, bare) = varied()
    made, _ = flow(bare)
    assert made.hook.end == 2.0
    assert made.pacing.trend is None


def test_happenings_in_words() -> None:
    cuts = cuts_at([1.0, 2.0], 6.0)

    def says(start: float, end: float, **sources: Any) -> dict[str, str]:
        return {e.kind: e.what for e in happenings(start, end, Sources(6.0, cuts, **sources))}

    assert says(0.0, 3.0) == {"cuts": "2 cuts"}
    assert says(1.5, 3.0) == {"cuts": "cut at 2.0 s"}
    assert says(3.0, 6.0, camera=moved(cuts))["camera"] == "static camera"
    assert says(0, 3, sound=heard((0.0, 0.9), onsets=[]))["sound"] == "silent until 0.9 s"
    assert says(0, 3, sound=heard((0.0, 5.0), onsets=[]))["sound"] == "silence"
    assert says(0, 3, sound=heard((1.0, 1.5), onsets=[]))["sound"] == "silent for 0.5 s"
    assert says(0, 3, sound=heard(onsets=[]))["sound"] == "sound throughout"
    assert says(0, 3, transcript=spoken(words=None))["speech"] == "no speech"
    three = written(("a", 0, 3), ("b", 0, 3), ("c", 0, 3))
    assert says(0, 3, text=three)["text"] == "text “a” (0.90), “b” (0.90) and 1 more"
    mark = written(("@me", 0, 3), kind="watermark")
    assert "text" not in says(0, 3, text=mark)
    many = seen(("dog", 2.5, 3), ("person", 0, 3))
    assert says(0, 3, objects=many)["objects"] == "in view: person (0.90), dog (0.90)"
    assert quoted("one " * 20).count("one") == 12


def test_pace_counts_what_lies_in_its_windows() -> None:
    cuts = cuts_at([5.0, 5.5, 6.0], 12.0)
    words = spoken((0.0, 3.0), words=[("a", t / 4) for t in range(12)])
    sources = Sources(12.0, cuts, moved(cuts, ("pan left", 9.0, 12.0), speed=-0.3), None, words)
    made = pacing(sources)
    assert made.times == [k + 0.5 for k in range(12)]
    assert made.cuts[5] == pytest.approx(3 / 3.0)
    assert made.cuts[0] == 0.0
    assert made.words is not None
    assert made.words[1] == pytest.approx(12 / 3.0)
    assert made.motion is not None
    assert made.motion[10] == pytest.approx(0.3)
    assert made.onsets is None
    assert made.pace[1] == pytest.approx((0 + 0 + 1) / 3), "4 words/s are capped at 1"
    assert made.pace[5] == pytest.approx((1 + 0 + 0) / 3)
    assert made.pace[10] == pytest.approx((0 + 1 + 0) / 3)
    assert made.fastest_s in (0.5, 1.5, 5.5, 10.5)
    first, last = np.mean(made.pace[:4]), np.mean(made.pace[-4:])
    assert made.trend == pytest.approx(last - first)
    assert [e.what for e in made.evidence] == ["3 cuts", "measured in 100%", "12 words"]


def test_pace_leaves_out_motion_that_is_not_known() -> None:
    cuts = cuts_at([], 6.0)
    camera = moved(cuts).model_copy(update={"pan": [None] * 60})
    made = pacing(Sources(6.0, cuts, camera))
    assert made.motion == [None] * 6
    assert made.pace == [0.0] * 6


def test_one_picture_neither_loops_nor_paces_beyond_its_end() -> None:
    one = {"thumbs": Frames.of([0.0], [picture()], 0.04), "cut_analysis": cuts_at([], 0.04)}
    made, gone = flow(
        dict.fromkeys(SOFT) | {"video": video(0.04), "speech": None, "audio": None} | one
    )
    assert made.loop is None
    assert gone["loop ending"] == "there is only one frame"
    assert made.pacing.times == [0.02]
    assert made.hook.end == 0.04


def test_the_series_of_a_long_video_stays_bounded() -> None:
    assert len(pacing(Sources(1200.0, cuts_at([600.0], 1200.0))).times) <= 300


def test_key_moments_are_where_several_things_change_at_once() -> None:
    made, _ = flow(everything())
    assert [(m.start, m.end, m.weight) for m in made.moments] == [
        (4.0, 4.0, 2),
        (5.0, 5.0, 2),
        (8.0, 8.0, 2),
        (9.9, 10.2, 3),
    ]
    first, second, third, fourth = made.moments
    assert first.what == "cut; text “STEP TWO” (0.90)"
    assert second.kinds == ["camera", "speech"]
    assert third.what == "cut; sound stops"
    assert fourth.what == (
        "text “Link in bio” (0.90); sound sets in (10.0 s); cup (0.90) comes into view (9.9 s)"
    )
    assert fourth.at == 10.2
    assert first.score == pytest.approx(0.5 + 0.9 * 0.06 / 0.1)
    assert [m.rank for m in made.moments] == [2, 4, 3, 1]
    assert [e.analyzer for e in fourth.evidence] == [
        "object_detection", "audio_analysis", "text_overlay",
    ]  # fmt: skip


def test_speech_and_its_sound_are_one_thing() -> None:
    cuts = cuts_at([], 6.0)
    sources = Sources(
        6.0, cuts, sound=heard((0.0, 2.0), onsets=[]), transcript=spoken((2.1, 4.0), words=None)
    )
    assert len(changes(sources)) == 3
    assert [m.weight for m in moments(sources)] == [1], "never counted as two things"


def test_what_a_cut_brings_with_it_is_no_change_of_its_own() -> None:
    cuts = cuts_at([3.0], 6.0)
    camera = moved(cuts, ("zoom in", 3.0, 6.0))
    sources = Sources(6.0, cuts, camera, objects=seen(("dog", 3.1, 6.0)))
    assert [change.evidence.what for change in changes(sources)] == ["cut"]


def test_segments_begin_at_key_moments_that_are_cuts() -> None:
    made, _ = flow(everything())
    assert [(s.start, s.end) for s in made.segments] == [(0.0, 4.0), (4.0, 8.0), (8.0, 12.0)]
    assert made.segments[0].evidence == made.moments[0].evidence
    assert made.segments[1].evidence == [*made.moments[0].evidence, *made.moments[2].evidence]
    assert "text “STEP TWO”" in made.segments[1].what
    still = Sources(12.0, cuts_at([], 12.0))
    assert [(s.start, s.end) for s in segments(still, moments(still))] == [(0.0, 12.0)]


# --- single strong changes --------------------------------------------------------------------


def test_cuts_of_a_silent_clip_are_key_moments() -> None:
    made = moments(Sources(24.0, cuts_at([1.0, 6.0, 12.5, 18.0], 24.0)))
    assert [(m.at, m.what, m.weight) for m in made] == [
        (t, "cut", 1) for t in (1.0, 6.0, 12.5, 18.0)
    ]


def test_of_many_cuts_only_about_one_in_five_seconds_is_a_key_moment() -> None:
    made = moments(Sources(20.0, cuts_at([float(t) for t in range(2, 20, 2)], 20.0)))
    assert 1 <= len(made) <= 5


def test_where_nothing_changes_there_is_no_key_moment_and_one_where_anything_does() -> None:
    still = Sources(6.0, cuts_at([], 6.0))
    assert moments(still) == []
    weak = Sources(6.0, cuts_at([], 6.0), moved(cuts_at([], 6.0), ("pan left", 3.0, 4.0)))
    assert [m.what for m in moments(weak)] == ["pan left begins"]


def test_a_loud_hit_and_a_large_title_are_key_moments_and_quiet_ones_are_not() -> None:
    times = [round(0.1 * k, 1) for k in range(60)]

    def sound(hit: float) -> Sound:
        levels = [-30.0 + hit if 3.0 <= t <= 3.3 else -30.0 for t in times]
        curve = LoudnessCurve(times=times, momentary=levels, short_term=levels)
        return heard(onsets=[]).model_copy(update={"loudness": curve})

    cuts = cuts_at([], 6.0)
    loud, quiet = (moments(Sources(6.0, cuts, sound=sound(hit))) for hit in (15.0, 4.0))
    assert [m.what for m in loud] == ["loudness rises by 15 LU"]
    assert loud[0].at == pytest.approx(3.0, abs=0.25)
    assert quiet == []
    title = written(("THE TITLE", 2.0, 5.0))
    assert [m.what for m in moments(Sources(6.0, cuts, text=title))] == ["text “THE TITLE” (0.90)"]
    flash = written(("THE TITLE", 2.0, 2.5))
    assert moments(Sources(6.0, cuts, text=flash)) == []


def test_a_large_text_that_cannot_be_read_is_a_key_moment_and_small_print_is_not() -> None:
    for height, told in ((0.4, ["text that cannot be read appears"]), (0.03, [])):
        unread = [Unread(start=2.0, end=6.0, box=[0.2, 0.1, 0.8, 0.1 + height])]
        text = written(("small", 0.0, 6.0)).model_copy(update={"unread": unread})
        cut = Sources(9.0, cuts_at([7.0], 9.0), text=text)
        assert [m.what for m in moments(cut)] == [*told, "cut"]


def test_speech_that_goes_on_after_a_pause_is_no_change_of_the_sound() -> None:
    times = [round(0.1 * k, 1) for k in range(100)]
    levels = [-15.0 if t < 2.0 or t >= 3.2 else -40.0 for t in times]
    curve = LoudnessCurve(times=times, momentary=levels, short_term=levels)
    sections = [
        SoundSection(start=t, end=t + 3.2, label=label, lufs=None, novelty=novelty)
        for t, label, novelty in ((0.0, "A", None), (2.2, "B", 0.5), (3.2, "C", 0.5))
    ]
    sound = heard(onsets=[]).model_copy(update={"loudness": curve, "sections": sections})
    speaks = spoken((0.2, 2.3), (3.2, 9.9), words=None)
    found = [c.evidence.what for c in changes(Sources(10.0, cuts_at([], 10.0), sound=sound))]
    assert "loudness rises by 25 LU" in found
    of = Sources(10.0, cuts_at([], 10.0), sound=sound, transcript=speaks)
    assert [c.evidence.what for c in changes(of)] == []


def test_what_the_detector_is_unsure_of_does_not_come_into_view() -> None:
    for confidence, told in ((0.9, ["dog (0.90) comes into view"]), (0.3, [])):
        things = seen(("dog", 3.0, 6.0))
        things.tracks[0].__dict__["confidence"] = confidence
        found = changes(Sources(9.0, cuts_at([], 9.0), objects=things))
        assert [c.evidence.what for c in found] == told
        hook = happenings(3.0, 6.0, Sources(9.0, cuts_at([], 9.0), objects=things))
        begins = "in view: dog (0.90)" if told else "possibly: dog (0.30)"
        assert [e.what for e in hook if e.kind == "objects"] == [begins]


@pytest.mark.parametrize(
    ("before", "at"),
    [
        (("THE PEACH OPEI", 1.5, 2.0), 1.5),  # behind a bird at first
        (("THE P", 1.2, 1.9), 1.2),  # typed letter by letter
        (("A WHOLLY OTHER", 1.5, 2.0), 2.0),
        (("THE PEACH OPEN", 0.4, 1.0), 2.0),  # gone for a second
        (("THE PEACH OPEN MOVIE PROJECT", 1.5, 2.0), 2.0),  # no beginning of it: the whole
    ],
)
def test_a_text_appears_when_its_first_part_does(before: Any, at: float) -> None:
    texts = written(before, ("THE PEACH OPEN MOVIE", 2.0, 5.0))
    found = [
        c for c in changes(Sources(6.0, cuts_at([], 6.0), text=texts)) if "MOVIE”" in c[1].what
    ]
    assert [change.time for change in found] == [at]


def test_the_time_of_a_moment_is_that_of_its_cut() -> None:
    cuts = cuts_at([17.0], 20.0)
    speech = spoken((14.6, 16.8), words=None)
    (moment,) = moments(Sources(20.0, cuts, transcript=speech))
    assert (moment.at, moment.what) == (17.0, "cut; speech ends (16.8 s)")


def test_where_nothing_else_changes_the_picture_that_moves_most_is_the_moment() -> None:
    one, two = picture(), picture("coffee")
    times = [k / 10 for k in range(60)]
    waved = Frames.of(times, [two if 3.0 <= t < 3.4 else one for t in times], 6.0)
    (change,) = motion(waved)
    assert change.time == pytest.approx(3.0, abs=0.5)
    assert motion(Frames.of(times, [one] * 60, 6.0)) == []
    steps = [np.roll(one, (k if k < 45 else 3 * k), 1) for k in range(60)]
    assert motion(Frames.of(times, steps, 6.0)), "what never stands still has a strongest motion"
    (moment,) = moments(Sources(6.0, cuts_at([], 6.0)), [change])
    assert moment.what == "strongest motion"


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 20)), max_size=25))
def test_changes_of_different_analyzers_join_and_none_is_lost(raw: list[tuple[str, float]]) -> None:
    ordered = sorted(raw, key=lambda r: r[1])
    found = [Change("cuts", cite(name, t, t, "x"), 0.5) for name, t in ordered]
    groups = together(found)
    assert sorted(map(id, (c for g in groups for c in g))) == sorted(map(id, found))
    place = {id(c): k for k, g in enumerate(groups) for c in g}
    for a in found:
        for b in found:
            near = abs(a.time - b.time) <= 0.3 - 1e-6
            if near and a.evidence.analyzer != b.evidence.analyzer:
                assert place[id(a)] == place[id(b)]
    for group in groups:
        if len(group) > 1:
            assert len({change.evidence.analyzer for change in group}) > 1


def test_the_emotional_course_joins_stretches_of_one_emotion() -> None:
    voice = felt(("hap", 0.0, 1.0), ("hap", 1.5, 3.0), (None, 3.0, 3.2), ("sad", 4.0, 5.0))
    moods = described(("Rain.", "gloomy", 0.0, 2.0), ("Rain.", "gloomy", 2.0, 4.0))
    course = feelings(Sources(6.0, cuts_at([], 6.0), voice=voice, description=moods))
    assert course is not None
    assert [(f.start, f.end, len(f.evidence)) for f in course] == [
        (0.0, 3.0, 2),
        (0.0, 4.0, 2),
        (4.0, 5.0, 1),
    ]
    assert course[1].what == "gloomy"
    assert {e.analyzer for e in course[1].evidence} == {"qwen2_vl_temporal"}
    assert feelings(Sources(6.0, cuts_at([], 6.0), voice=felt())) == []
    assert feelings(Sources(6.0, cuts_at([], 6.0))) is None


def test_calls_to_action_cite_where_they_are_said_or_written() -> None:
    made, _ = flow(everything())
    assert made.calls_to_action is not None
    assert [(c.action, c.words, c.start, c.end) for c in made.calls_to_action] == [
        ("follow", "Follow me", 5.0, pytest.approx(5.6)),
        ("visit", "Link in bio", 10.2, 12.0),
    ]
    assert [c.evidence[0].analyzer for c in made.calls_to_action] == [
        "speech_transcription", "text_overlay",
    ]  # fmt: skip
    assert [e.label for e in made.events() if "call" in e.label] == [
        "call to action: follow",
        "call to action: visit",
    ]
    quiet = Sources(12.0, cuts_at([], 12.0), quiet=True)
    assert calls_to_action(quiet) == []


def clip_of(*names: str) -> Frames:
    """Two pictures a second, each as named."""
    pictures = [picture(name) for name in names]
    return Frames.of([k / 2 for k in range(len(names))], pictures, len(names) / 2)


def returning() -> Frames:
    """One that ends nearly as it begins, a little noisier."""
    noise = np.random.default_rng(1).normal(0, 4, picture().shape)
    last = np.clip(picture() + noise, 0, 255).astype(np.uint8)
    return Frames.of([0.0, 3.0, 6.0], [picture(), picture("coffee"), last], 9.0)


def sounding(first: float, last: float) -> Audio:
    """Three seconds of sound that begins with one tone and ends with another, in Hz."""
    t = np.arange(3 * 16_000) / 16_000
    samples = 0.1 * np.where(t < 1.5, np.sin(2 * np.pi * first * t), np.sin(2 * np.pi * last * t))
    none = np.zeros(0)
    return Audio(samples.astype(np.float32), Levels(none, none, none, 16_000, 1), (Span(0.0, 3.0),))


AWAY = ("astronaut", "coffee", "coffee", "astronaut")


@pytest.mark.parametrize(
    ("names", "audio", "loops"),
    [
        (AWAY, None, True),
        (AWAY, sounding(440, 440), True),
        (AWAY, sounding(440, 3000), False),
        (("astronaut",) * 4, None, False),
        (("astronaut", "coffee", "astronaut", "coffee"), None, False),
    ],
    ids=["picture", "picture and sound", "another sound", "never away", "another picture"],
)
def test_an_end_leads_back_where_picture_and_sound_do(names, audio, loops) -> None:
    made = loop(clip_of(*names), audio)
    assert made is not None
    assert made.loops == loops


def test_a_look_alike_with_other_light_does_not_loop() -> None:
    darker = (picture() * 0.6).astype(np.uint8)
    frames = Frames.of([0.0, 1.0, 2.0], [picture(), picture("coffee"), darker], 3.0)
    made = loop(frames, None)
    assert made is not None
    assert made.similarity > 0.95, "the correlation does not see the light"
    assert not made.loops


def test_a_blank_picture_has_no_loop() -> None:
    black = np.zeros((114, 64, 3), np.uint8)
    assert loop(thumbs(picture(), black, 5.0), None) is None
    _, gone = flow(everything() | {"thumbs": thumbs(black, picture(), 12.0)})
    assert gone == {"loop ending": "the first or last frame is blank"}


def test_it_reads_well_in_a_line() -> None:
    made, _ = flow(everything())
    pace = np.mean(made.pacing.pace)
    assert made.headline() == f"4 key moments, pace {pace:.2f}, follow, visit"
    labels = [event.label for event in made.events()]
    assert labels[0].startswith("hook: one shot; shown: “A man holds up a bowl.”; in view: person")


@pytest.mark.slow
def test_pace_and_key_moments_of_the_composite_cite_its_cuts(real_media: Path) -> None:
    """Sound and cuts as measured; captions and speech from the truth file."""
    truth = json.loads((real_media / "video" / "short_vertical_composite.truth.json").read_text())
    file = real_media / "video" / "short_vertical_composite.mp4"
    decoded = decode(file, {"thumbs", "audio"}, Settings())
    captions = [(s["caption"], s["start_s"], s["end_s"]) for s in truth["segments"]]
    spoken_spans = [(a, b) for a, b in truth["spoken_spans_s"]]
    made, gone = flow(
        dict.fromkeys(SOFT)
        | {
            "video": decoded.video,
            "thumbs": decoded.tracks["thumbs"],
            "audio": decoded.tracks["audio"],
            "speech": Speech(tuple(Span(a, b) for a, b in spoken_spans)),
            "cut_analysis": CutAnalysis().analyze(decoded.tracks["thumbs"]),
            "audio_analysis": AudioAnalysis().analyze(decoded.tracks["audio"]),
            "speech_transcription": spoken(*spoken_spans, words=None),
            "text_overlay": written(*captions),
        }
    )
    cuts = truth["cuts_s"]
    cited = [e for m in made.moments for e in m.evidence if e.analyzer == "cut_analysis"]
    assert [e.start for e in cited] == pytest.approx(cuts, abs=0.02)
    assert made.pacing.evidence[0].what == "5 cuts"
    assert [s.start for s in made.segments] == pytest.approx([0.0, *cuts], abs=0.02)
    heard_at = {round(e.start) for m in made.moments for e in m.evidence if "sound" in e.what}
    assert heard_at >= {6, 9, 17}, "the trumpet sets in, stops, sets in"
    assert "silence" in made.segments[3].what
    assert "LIP READING TEST" in made.hook.what
    assert made.loop is not None
    assert not made.loop.loops
    assert "camera in hook and segments" in gone
