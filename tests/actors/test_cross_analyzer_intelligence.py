"""Findings across analyzers, from hand-made outputs, and on the real thing where it is at hand."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from actors.age_estimation import AgeEstimation
from actors.audio_analysis import AudioAnalysis
from actors.cross_analyzer_intelligence import (
    OTHERS,
    CrossAnalyzerIntelligence,
    Findings,
    findings,
)
from actors.cross_analyzer_intelligence.captions import CaptionAudit, CaptionOptions, caption_audit
from actors.cross_analyzer_intelligence.contradictions import Contradiction
from actors.cross_analyzer_intelligence.findings import beat_match, pieces, text_matches, voices
from actors.cross_analyzer_intelligence.insights import Insight
from actors.cross_analyzer_intelligence.sources import CITED, Sources, cite, collected
from actors.cross_analyzer_intelligence.speakers import SpeakerFace
from actors.cross_analyzer_intelligence.subjects import mentioned
from actors.cross_analyzer_intelligence.tags import Tag
from actors.cut_analysis import CutAnalysis
from actors.eye_tracking import EyeTracking
from actors.object_detection import ObjectDetection
from actors.speech_transcription import SpeechTranscription
from actors.text_overlay import TextOverlay
from tests import made_outputs as made
from tests.conftest import scene
from tests.sounds import clicks, read
from tiktok_ray.analyzer import Analyzer, Partial, Skip
from tiktok_ray.media import AUDIO_RATE, Frames, Speech, decode, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.media.writer import write_clip
from tiktok_ray.methods.audio.coincidence import coincidence
from tiktok_ray.methods.text.alignment import aligned, paired, tokens
from tiktok_ray.methods.vectors import unit
from tiktok_ray.methods.vision.contrast import contrast_ratio
from tiktok_ray.report import undeclared
from tiktok_ray.settings import Settings

NOTHING: dict[str, Any] = dict.fromkeys(OTHERS)


def run(**outputs: Any) -> tuple[Findings, dict[str, str]]:
    """Findings and missing parts of a video of 20 s in which somebody speaks."""
    given: dict[str, Any] = {
        "video": made.video(), "frames": None, "speech": made.speech(*made.SPOKEN)
    }  # fmt: skip
    result = CrossAnalyzerIntelligence().analyze(**{**given, **NOTHING, **outputs})
    if isinstance(result, Partial):
        assert isinstance(result.output, Findings)
        return result.output, {one.part: one.reason for one in result.missing}
    return result, {}


def captioned(tone: int) -> Frames:
    """A picture a second, dark with a block of a tone where the made captions stand."""
    picture = np.full((160, 90, 3), 20, np.uint8)
    picture[132:140, 20:70] = tone
    return Frames.of([float(t) for t in range(20)], [picture] * 20, 20.0)


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    whole = {
        "video": made.video(),
        "frames": captioned(255),
        "speech": made.speech(*made.SPOKEN),
        **made.everything(),
        "speech_transcription": made.transcript(
            (*made.SAID, ("and so on", 8.4, 9.6)), speakers="ABCA"
        ),
    }
    silent = {
        **whole,
        "video": made.video(10.0, has_audio=False),
        "speech": None,
        **dict.fromkeys(
            (
                "speech_transcription", "speech_emotion", "speech_flow", "audio_analysis",
                "audio_environment",
            )
        ),
        "eye_tracking": made.eyes((0.0, 3.0, 0.1), located_by="itself"),
        "age_estimation": None,
        "cut_analysis": made.cuts((3.0,), 10.0),
    }  # fmt: skip
    other = {
        **whole,
        "cut_analysis": made.cuts((2.6, 6.2, 9.1, 11.0, 13.9, 16.7)),
        "frames": captioned(150),
        "text_overlay": made.overlays(
            ("now", 4.0, 5.5, "caption"), ("bin blab so at two now", 0.5, 2.5, "caption")
        ),
        "audio_analysis": made.sound(beats=np.arange(0.5, 20.0, 0.6), sections=(0.0, 7.0)),
        "object_detection": made.objects(("person", 0.0, 20.0, 0.5), ("dog", 6.0, 8.0, 0.2)),
        "age_estimation": None,
        "eye_tracking": None,
        "qwen2_vl_temporal": made.description(
            ("Nobody is there, only a bus.", 2.0, 9.0), language="de", tags=("bus", "street")
        ),
    }
    third = {
        **other,
        "text_overlay": made.overlays(("set whale in z three now", 14.5, 16.5, "caption")),
        "speech_transcription": made.transcript(probability=0.7, speakers="AAB"),
        "eye_tracking": made.eyes((0.0, 6.0, 0.05), (14.0, 17.0, 0.005)),
        "qwen2_vl_temporal": made.description(("A woman and a dog.", 4.0, 9.5)),
        "audio_analysis": None,
    }
    made_by = [reading(), reading(), reading(), CrossAnalyzerIntelligence()]
    return list(zip(made_by, (whole, silent, other, third), strict=True))


class Lengths:
    """A sentence encoder that tells a text by its length and first letter."""

    width = 3

    def __call__(self, texts: Sequence[str], role: str, batch: int) -> Any:
        rows = [[len(text), ord(text[0]), len(role)] for text in texts]
        return np.asarray(rows, np.float32).reshape(-1, self.width)


def reading() -> CrossAnalyzerIntelligence:
    analyzer = CrossAnalyzerIntelligence()
    analyzer._encoder = Lengths()  # type: ignore[assignment]
    return analyzer


# --- passages ----------------------------------------------------------------------------------


def test_what_is_said_written_and_described_has_a_vector_each():
    told = made.description(("A dog runs past.", 6.0, 9.0), ("A dog runs past.", 6.0, 9.0))
    inputs = {**NOTHING, "video": made.video(), "frames": None, "speech": made.speech(*made.SPOKEN)}
    inputs |= {
        "speech_transcription": made.transcript(),
        "text_overlay": made.overlays(("now", 4.0, 5.5, "caption")),
        "qwen2_vl_temporal": told,
    }
    result = reading().analyze(**inputs)
    out = result.output if isinstance(result, Partial) else result
    assert isinstance(out, Findings)
    assert out.passages is not None
    found = out.passages.passages
    assert [p.text for p in found if p.kind == "said"] == [text for text, *_ in made.SAID]
    assert [(p.text, p.start, p.end) for p in found if p.kind == "written"] == [("now", 4.0, 5.5)]
    assert [(p.text, p.start) for p in found if p.kind == "described"] == [
        ("a studio. A dog runs past.", 6.0),
        ("Speaking test", None),
        ("Somebody reads sentences out.", None),
    ]
    rows = Lengths()([p.text for p in found], "passage", 8)
    assert out.passages.array() == pytest.approx(unit(rows), abs=0.01)


def test_without_the_sentence_encoder_there_are_no_vectors_and_no_answer():
    out, _ = run(speech_transcription=made.transcript())
    assert out.passages is None
    with pytest.raises(Skip):
        CrossAnalyzerIntelligence().answer(["a dog"])


# --- voices and faces --------------------------------------------------------------------------


def faces_of(speakers: str, *tracks: tuple[float, float, float]) -> list[SpeakerFace]:
    """Said is from 1.0 to 2.2, 3.6 to 5.4 and 14.6 to 16.8 s; a speaker for each."""
    out, _ = run(
        speech_transcription=made.transcript(speakers=speakers), eye_tracking=made.eyes(*tracks)
    )
    assert out.speaker_faces is not None
    return out.speaker_faces


def test_a_voice_comes_from_the_face_whose_mouth_moves_over_all_its_turns():
    first, second = faces_of("AAB", (0.0, 6.0, 0.1), (0.0, 6.0, 0.005), (14.0, 17.0, 0.1))
    assert (first.speaker, first.tracks) == ("A", [0])
    assert (second.speaker, second.tracks) == ("B", [2])
    assert first.movement == pytest.approx(0.1, abs=0.02)
    assert first.certainty is not None
    assert {each.analyzer for each in first.evidence} == {"speech_transcription", "eye_tracking"}


def test_what_cannot_be_told_of_a_voice_is_said():
    still, unseen = faces_of("AAB", (0.0, 6.0, 0.005))
    assert (still.tracks, unseen.tracks) == ([], [])
    assert "stays still" in still.why
    assert "no face" in unseen.why
    (both, _) = faces_of("AAB", (0.0, 6.0, 0.1), (0.0, 6.0, 0.1))
    assert both.tracks == []
    assert "about as much" in both.why


def test_a_face_that_is_not_read_during_the_turns_is_not_named():
    """Its track goes on while it is turned away: only readings count as seen."""
    track = made.eye_track(0, 0.0, 6.0, 0.1)
    kept = [k for k, t in enumerate(track.times) if not 1.6 < t < 5.2]
    away = track.model_copy(
        update={"times": [track.times[k] for k in kept], "mouth": [track.mouth[k] for k in kept]}
    )
    out, _ = run(
        speech_transcription=made.transcript(speakers="AAB"),
        eye_tracking=made.eyes().model_copy(update={"tracks": [away]}),
    )
    assert out.speaker_faces is not None
    first, second = out.speaker_faces
    assert (first.tracks, first.seen, first.certainty) == ([], None, None)
    assert "seen during half" in first.why
    assert second.tracks == []


def test_a_mouth_that_moves_while_the_voice_is_silent_too_is_not_its_mouth():
    """Somebody chews under a voice-over: less while it is heard than else."""
    track = made.eye_track(0, 0.0, 20.0, 0.1)
    said = [(a - 0.3, b + 0.3) for _, a, b in made.SAID]
    mouth = [
        0.2 + (value - 0.2) * (0.5 if spans.covers(said, t) else 1.0)
        for t, value in zip(track.times, track.mouth, strict=True)
    ]
    out, _ = run(
        speech_transcription=made.transcript(speakers="AAA"),
        eye_tracking=made.eyes().model_copy(
            update={"tracks": [track.model_copy(update={"mouth": mouth})]}
        ),
    )
    assert out.speaker_faces is not None
    (chewing,) = out.speaker_faces
    assert chewing.tracks == []
    assert "while this voice is silent" in chewing.why


def test_one_person_in_several_shots_is_one_face_of_a_voice():
    tracks = ((0.0, 3.0, 0.1), (3.0, 6.0, 0.1), (14.0, 17.0, 0.1))
    given = {
        "speech_transcription": made.transcript(speakers="AAA"), "eye_tracking": made.eyes(*tracks),
    }  # fmt: skip
    faces = made.faces(*[(a, b) for a, b, _ in tracks])
    known = [face.model_copy(update={"person": 0}) for face in faces.faces]
    out, _ = run(**given, age_estimation=faces.model_copy(update={"faces": known}))
    assert out.speaker_faces is not None
    (one,) = out.speaker_faces
    assert one.tracks == [0, 1, 2]
    assert one.seen == pytest.approx(1.0, abs=0.1)
    apart, _ = run(**given)
    assert apart.speaker_faces is not None
    assert apart.speaker_faces[0].tracks == []


def test_voices_not_told_apart_have_no_faces():
    out, _ = run(speech_transcription=made.transcript(), eye_tracking=made.eyes((0.0, 6.0, 0.1)))
    assert out.speaker_faces is None


def test_every_field_is_declared():
    assert list(undeclared(Findings)) == []


# --- captions against the voice ----------------------------------------------------------------


def audit(*captions: tuple[str, float, float], **more: Any) -> CaptionAudit:
    given = {"text_overlay": made.overlays(*[(*one, "caption") for one in captions])}
    out, _ = run(speech_transcription=made.transcript(), **given, **more)
    assert out.caption_audit is not None
    return out.caption_audit


def test_a_caption_is_early_or_late_and_differs_from_the_voice_by_words():
    """Said is "bin blue at f two now" from 1.0 to 2.2 s."""
    whole = audit(("bin blue at f two now", 0.7, 2.7)).captions[0]
    assert (whole.missing, whole.extra, whole.misheard) == ([], [], [])
    assert whole.offset_s == pytest.approx(-0.3)
    less, more, other = audit(
        ("bin blue f two now", 1.5, 2.7), ("bin blue at f two right now", 1.0, 2.7),
        ("bin blob at f two now", 1.0, 2.7),
    ).captions  # fmt: skip
    checks = {tuple(c.text.split()): c for c in (less, more, other)}
    assert checks["bin", "blue", "f", "two", "now"].missing == ["at"]
    assert checks["bin", "blue", "f", "two", "now"].offset_s == pytest.approx(0.5)
    assert checks["bin", "blue", "at", "f", "two", "right", "now"].extra == ["right"]
    misheard = checks["bin", "blob", "at", "f", "two", "now"].misheard
    assert misheard is not None
    [wrong] = misheard
    assert (wrong.heard, wrong.written, wrong.probability) == ("blue", "blob", 0.9)
    assert wrong.span == pytest.approx((1.2, 1.4))


def test_a_message_beside_the_speech_has_no_offset():
    (check,) = audit(("BUS STOP", 1.0, 3.0)).captions
    assert (check.offset_s, check.missing, check.extra, check.misheard) == (None,) * 4
    assert check.characters_per_s == pytest.approx(3.5)
    assert check.language is None


def test_the_language_of_a_caption_is_the_speechs_or_its_scripts():
    found = audit(
        ("bin blue at f two now", 1.0, 3.0), ("こんにちは", 7.0, 9.0), ("Привет", 9.0, 11.0)
    )
    assert [check.language for check in found.captions] == ["en", "ja", None]


def test_contrast_is_that_of_wcag():
    assert contrast_ratio(_letters(0, 255)) == pytest.approx(21.0)
    # #767676, known as the lightest grey that WCAG takes on white.
    assert contrast_ratio(_letters(255, 118)) == pytest.approx(4.54, abs=0.01)
    assert contrast_ratio(np.full((20, 40, 3), 90, np.uint8)) is None
    assert contrast_ratio(np.zeros((0, 0, 3), np.uint8)) is None


def _letters(ground: int, tone: int) -> np.ndarray:
    picture = np.full((40, 100, 3), ground, np.uint8)
    picture[10:30, 10:30] = picture[10:30, 50:60] = tone
    return picture


def test_a_captions_contrast_is_read_from_its_picture():
    (white,) = audit(("BUS STOP", 6.0, 9.0), frames=captioned(255)).captions
    (dim,) = audit(("BUS STOP", 6.0, 9.0), frames=captioned(60)).captions
    assert white.contrast is not None
    assert white.contrast > 15
    assert dim.contrast is not None
    assert dim.contrast < 2
    (between,) = audit(("BUS STOP", 6.4, 6.6), frames=captioned(255)).captions
    assert between.contrast is None


def test_what_lies_under_the_apps_buttons_is_told():
    (low,) = audit(("BUS STOP", 6.0, 9.0)).captions  # from 0.8 to 0.9 of the height
    assert low.unsafe == ["bottom", "right"]
    wide, _ = run(
        video=replace(made.video(), width=960, height=540), text_overlay=made.overlays(
            ("BUS STOP", 6.0, 9.0, "caption")
        )
    )  # fmt: skip
    assert wide.caption_audit.captions[0].unsafe is None
    mine = CaptionOptions(unsafe_bottom=0.05, unsafe_right=0.2)
    sources = Sources(video=made.video(), text_overlay=made.overlays(("A", 6.0, 9.0, "caption")))
    assert caption_audit(sources, mine).captions[0].unsafe == ["right"]


def test_without_captions_there_is_nothing_to_audit():
    assert (
        run(text_overlay=made.overlays(("@grid", 0.0, 20.0, "watermark")))[0].caption_audit is None
    )


@given(
    st.lists(st.sampled_from(["one", "two", "three", "four", "fave", "five"]), max_size=6),
    st.lists(st.sampled_from(["one", "two", "three", "four", "fave", "five"]), max_size=8),
)
def test_pairs_are_in_order_and_use_every_word_of_the_part(part, whole):
    pairs = paired(part, whole)
    assert [i for i, _ in pairs if i is not None] == list(range(len(part)))
    taken = [j for _, j in pairs if j is not None]
    assert taken == sorted(set(taken))


# --- evidence ----------------------------------------------------------------------------------


def test_there_is_no_finding_without_evidence():
    with pytest.raises(ValidationError):
        Tag(tag="dog", value=1.0, rule="seen", evidence=[])
    one_side = [cite("object_detection", 0.0, 1.0, "a"), cite("object_detection", 0.0, 1.0, "b")]
    with pytest.raises(ValidationError, match="two analyzers"):
        Contradiction(
            start=0.0, end=1.0, conflict="face without person", what="", evidence=one_side
        )


def test_evidence_is_cited_once_by_time_and_in_bounds():
    many = [cite("a", float(t), float(t), "x") for t in range(20)] * 2 + [cite("b", 3.0, 4.0, "y")]
    kept = collected(many)
    assert [e.analyzer for e in kept].count("a") == CITED
    assert [e.start for e in kept] == sorted(e.start for e in kept)
    assert cite("b", 3.0, 4.0, "y") in kept


def test_all_that_is_found_cites_an_analyzer_that_gave_something():
    out, missing = run(**made.everything())
    assert missing == {}
    for name, found in every(out).items():
        assert found["evidence"], name
        assert {e["analyzer"] for e in found["evidence"]} <= set(OTHERS), name


def every(out: Findings) -> dict[tuple[Any, ...], dict[str, Any]]:
    """All findings by a key that stays when others come and go; ranks left out."""
    found: dict[tuple[Any, ...], Any] = {}
    if out.beat_match:
        found["beats",] = out.beat_match
    found |= {("voice", v.start, v.end): v for v in out.voices or ()}
    found |= {("text", t.start, t.text): t for t in out.texts or ()}
    found |= {("subject", s.start, s.label): s for s in out.subjects or ()}
    found |= {("contradiction", c.start, c.conflict): c for c in out.contradictions}
    found |= {("tag", t.tag): t for t in out.tags}
    found |= {(i.about, *([i.text] if i.about == "contradiction" else [])): i for i in out.insights}
    return {key: one.model_dump(exclude={"rank"}) for key, one in found.items()}


def cited(finding: dict[str, Any]) -> set[str]:
    return {evidence["analyzer"] for evidence in finding["evidence"]}


@pytest.mark.parametrize("name", OTHERS)
def test_without_an_input_exactly_what_rests_on_it_changes(name):
    world = made.everything()
    before = every(run(**world)[0])
    out, missing = run(**{**world, name: None})
    after = every(out)
    rested = {key for key, finding in before.items() if name in cited(finding)}
    assert rested, "nothing rests on it"
    assert all(after.get(key) != before[key] for key in rested)
    assert {key: before[key] for key in before.keys() - rested} == {
        key: after[key] for key in before.keys() - rested
    }
    assert {key[0] for key in after.keys() - before.keys()} <= {key[0] for key in rested}
    assert not any(name in cited(finding) for finding in after.values())
    assert f"tags from {name}" in missing
    assert all(name in reason for reason in missing.values())


@pytest.mark.parametrize(
    ("name", "other", "kinds"),
    [
        ("cut_analysis", made.cuts((2.8, 5.8, 8.7, 13.7, 16.6)),
         {"beats", "cuts and beats", "voice", "speech and faces", "texts and cuts",
          "sounds and cuts", "key moment", "speech and gaze", "tag"}),
        ("eye_tracking", made.eyes((0.0, 3.0, 0.1), (3.0, 6.0, 0.2), (14.0, 17.0, 0.1)),
         {"voice", "speech and faces", "speech and gaze", "tag"}),
        ("object_detection",
         made.objects(("person", 0.0, 6.0, 0.6), ("bus", 6.0, 9.0, 0.4), ("person", 10.0, 17.0, 0.6)),
         {"contradiction", "tag"}),
        ("audio_environment",
         made.soundscape(("Speech", 1.0, 2.0), ("Speech", 3.5, 5.5), ("Trumpet", 6.0, 9.0),
                         ("Speech", 14.5, 17.0)),
         {"contradiction", "sounds and speech", "tag"}),
        ("text_overlay", made.overlays(("lay white by s zero again", 3.0, 6.0, "caption")),
         {"text", "texts and speech", "texts and cuts", "emphasis and texts", "tag"}),
        ("content_quality", made.quality("pillarbox"), {"tag"}),
    ],
)  # fmt: skip
def test_another_input_changes_only_what_rests_on_it(name, other, kinds):
    world = made.everything()
    before, after = every(run(**world)[0]), every(run(**{**world, name: other})[0])
    changed = {
        key for key in before.keys() | after.keys() if before.get(key) != after.get(key)
    }  # fmt: skip
    assert changed
    assert {key[0] for key in changed} <= kinds
    for key in changed:
        assert name in cited(before.get(key) or after[key])


def test_with_nothing_at_all_there_is_nothing_to_say():
    with pytest.raises(Skip, match="no other analyzer"):
        run()


def test_what_is_missing_is_named_with_the_analyzer():
    world = made.everything()
    out, missing = run(**{**world, "audio_analysis": None, "qwen2_vl_temporal": None})
    assert out.beat_match is None
    assert missing["cuts on the beat"] == "audio_analysis produced no output"
    assert (
        missing["check of sounds and silence for contradictions"]
        == "audio_analysis produced no output"
    )
    assert "qwen2_vl_temporal" in missing["description against detected subjects"]
    assert not {"cuts on the beat", "description against detected subjects"} & {
        one.question for one in out.unanswered
    }


def test_what_cannot_be_expected_is_not_missing():
    """Nothing of sound from a silent video, nothing of people where nobody is."""
    world = {
        **NOTHING,
        "cut_analysis": made.cuts(),
        "object_detection": made.objects(("bus", 0.0, 9.0, 0.4)),
        "text_overlay": made.overlays(("BUS STOP", 6.0, 9.0, "caption")),
    }
    out, missing = run(video=made.video(has_audio=False), **{**world, "speech": None})
    gone = " ".join(missing.values())
    assert not any(
        name in gone
        for name in (
            "audio_analysis", "audio_environment", "speech_transcription", "speech_flow",
            "speech_emotion", "age_estimation", "eye_tracking", "body_pose",
        )
    )  # fmt: skip
    assert "camera_analysis" in gone
    assert out.voices == []
    assert [text.said for text in out.texts or ()] == ["not spoken"]
    assert {one.question: one.reason for one in out.unanswered} == {
        "cuts on the beat": "the video has no sound",
        "speech on camera or voice-over": "no speech",
    }


# --- cuts on the beat --------------------------------------------------------------------------


def on_clicks(seed: int, beats: np.ndarray, count: int = 8) -> np.ndarray:
    """Cuts on some of the beats, at the frame of 30 fps that is nearest."""
    chosen = np.random.default_rng(seed).choice(beats[2:-2], count, replace=False)
    return np.asarray(np.round(np.sort(chosen) * 30) / 30)


def jittered(seed: int, cuts: np.ndarray, period: float) -> np.ndarray:
    """The same cuts, each moved on its own, anywhere between two beats."""
    moved = cuts + np.random.default_rng(1000 + seed).uniform(-0.5, 0.5, len(cuts)) * period
    return np.asarray(np.round(np.sort(moved) * 30) / 30)


def matched(cuts: Iterable[float], beats: Iterable[float]) -> Any:
    sources = Sources(
        video=made.video(),
        cut_analysis=made.cuts([float(t) for t in cuts]),
        audio_analysis=made.sound(beats=[float(t) for t in beats]),
    )
    return beat_match(sources)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("bpm", [90, 128])
def test_cuts_on_a_click_track_are_found_and_jittered_ones_are_not(seed, bpm):
    beats = np.arange(0.3, 20.0, 60 / bpm)
    cuts = on_clicks(seed, beats)
    found = matched(cuts, beats)
    assert found.p_value < 0.01
    assert found.on_the_beat
    assert found.near == found.cuts == 8
    assert found.mean_distance_s <= 1 / 60 + 1e-6
    other = matched(jittered(seed, cuts, 60 / bpm), beats)
    assert other.cuts == 8
    assert not other.on_the_beat
    assert other.p_value >= 0.01


def test_the_p_value_is_what_it_says():
    """By chance it is as often under any level as that level says."""
    beats = np.arange(0.3, 30.0, 0.5)
    values = []
    for seed in range(300):
        times = np.random.default_rng(seed).uniform(1.0, 29.0, 6)
        found = coincidence(times.tolist(), beats.tolist())
        assert found is not None
        values.append(found.p_value)
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(values) < level) == pytest.approx(level, abs=0.07)


def test_cuts_that_keep_beside_the_beat_are_not_on_it():
    beats = np.arange(0.3, 20.0, 1.0)
    late = matched(beats[2:12] + 0.1, beats)
    assert late.p_value < 0.01
    assert late.near == 0
    assert not late.on_the_beat


def test_too_little_to_test_is_said():
    beats = np.arange(0.3, 20.0, 0.5)
    assert "no beat" in matched(beats[:8], [])
    assert "3 cuts" in matched(beats[2:5], beats)
    assert "5 beats" in matched(beats[:5], beats[:5])
    out, missing = run(cut_analysis=made.cuts(), audio_analysis=made.sound())
    assert out.beat_match is None
    assert "cuts on the beat" not in missing
    assert out.unanswered[0].reason == "audio_analysis found no beat"


def test_gaps_between_beats_and_dissolves_are_left_out():
    beats = np.r_[np.arange(0.5, 8.0, 0.5), np.arange(14.0, 20.0, 0.5)]
    assert matched([1.0, 2.0, 10.0, 11.0, 12.0, 15.0, 16.0], beats).cuts == 4
    dissolves = Sources(
        video=made.video(),
        cut_analysis=made.cuts(beats[2:8].tolist(), kind="dissolve"),
        audio_analysis=made.sound(beats=beats.tolist()),
    )
    assert "0 cuts" in str(beat_match(dissolves)) or "6 cuts" not in str(beat_match(dissolves))


# --- voices ------------------------------------------------------------------------------------


def heard(**outputs: Any) -> list[tuple[float, float, str]]:
    out, _ = run(**{"speech_transcription": made.transcript(), **outputs})
    return [(v.start, v.end, v.heard) for v in out.voices or ()]


def kinds(**outputs: Any) -> list[str]:
    return [kind for _, _, kind in heard(**outputs)]


def test_a_talking_head_is_on_camera():
    spans = ((0.0, 6.0), (14.0, 17.0))
    assert (
        kinds(
            age_estimation=made.faces(*spans), eye_tracking=made.eyes(*((*s, 0.09) for s in spans))
        )
        == ["on camera"] * 3
    )


def test_a_voice_over_a_landscape_is_voice_over():
    """No face was found, so that both analyzers of faces gave nothing, and nobody is in view."""
    assert kinds(object_detection=made.objects(("boat", 0.0, 20.0, 0.1))) == ["voice-over"] * 3
    assert kinds(age_estimation=made.faces((9.0, 14.0))) == ["voice-over"] * 3


def test_a_face_that_keeps_its_mouth_shut_does_not_speak():
    whole = (0.0, 20.0)
    seen = {"age_estimation": made.faces(whole)}
    assert kinds(**seen, eye_tracking=made.eyes((*whole, 0.006))) == ["voice-over"] * 3
    assert (
        kinds(**seen, eye_tracking=made.eyes((*whole, 0.006), (*whole, 0.08))) == ["on camera"] * 3
    )


def test_what_cannot_be_told_is_unclear():
    assert kinds(age_estimation=made.faces((0.0, 20.0))) == ["unclear"] * 3
    assert kinds(object_detection=made.objects(("person", 0.0, 20.0, 0.3))) == ["unclear"] * 3
    out, missing = run(speech_transcription=made.transcript())
    assert out.voices is None
    assert out.on_camera_s is None
    assert "object_detection" in missing["speech on camera or voice-over"]


def test_a_voice_that_goes_on_over_other_pictures_is_parted_at_the_cut():
    found = heard(
        speech_transcription=made.transcript([("one two three four", 1.0, 5.0)]),
        cut_analysis=made.cuts((3.0,)),
        age_estimation=made.faces((0.0, 3.0)),
        eye_tracking=made.eyes((0.0, 3.0, 0.09)),
    )
    assert found == [(1.0, 3.0, "on camera"), (3.0, 5.0, "voice-over")]
    assert pieces([Span(1.0, 5.0)], [1.1, 4.9, 7.0]) == [Span(1.0, 5.0)]


def test_nobody_speaks_is_an_answer():
    out, missing = run(
        speech=made.speech(), cut_analysis=made.cuts(), object_detection=made.objects()
    )
    assert out.voices == []
    assert out.on_camera_s == out.voice_over_s == 0.0
    assert not any("speech on camera" in part for part in missing)
    assert [tag.tag for tag in out.tags if tag.tag == "no speech"]


# --- texts -------------------------------------------------------------------------------------


def said(texts: Any, transcript: Any) -> list[tuple[str, float | None]]:
    sources = Sources(
        video=made.video(),
        speech_track=made.speech(*made.SPOKEN),
        text_overlay=made.overlays(*texts),
        speech_transcription=transcript,
    )
    return [(text.said, text.matched_share) for text in text_matches(sources) or ()]


def test_captions_of_the_speech_are_told_from_messages():
    texts = [
        ("bin blue at f two now", 0.8, 2.4, "caption"),
        ("BIN BLUF AT F TWO", 0.8, 2.4, "caption"),
        ("LIP READING TEST", 0.0, 3.0, "caption"),
        ("lay white or green", 3.5, 5.5, "caption"),
        ("BUS STOP", 6.0, 9.0, "caption"),
        ("@grid", 0.0, 20.0, "watermark"),
    ]
    found = said(texts, made.transcript())
    assert [what for what, _ in found] == [
        "spoken", "spoken", "not spoken", "partly spoken", "not spoken"
    ]  # fmt: skip
    assert found[0][1] == 1.0
    assert found[1][1] == 1.0, "one letter read wrong"
    assert found[3][1] == 0.5


def test_without_words_only_texts_beside_the_speech_are_known_not_to_be_spoken():
    texts = [("LIP READING TEST", 0.0, 3.0, "caption"), ("BUS STOP", 6.0, 9.0, "caption")]
    assert said(texts, made.transcript(words=False)) == [("unknown", None), ("not spoken", 0.0)]
    out, missing = run(
        text_overlay=made.overlays(*texts), speech_transcription=made.transcript(words=False)
    )
    assert missing["words in captions against speech"] == (
        "speech_transcription has no words in the original language"
    )
    assert out.captioned_share is None


def test_a_caption_whose_edge_is_uncertain_is_beside_the_speech_if_it_surely_is():
    """Speech ends at 16.8 s; the caption appears somewhere around 16.75 s."""
    silent = made.transcript(words=False)
    sources = Sources(
        video=made.video(),
        speech_track=made.speech(*made.SPOKEN),
        text_overlay=made.overlays(("GREAT BIKE", 16.75, 20.0, "caption")),
        speech_transcription=silent,
    )
    assert [text.said for text in text_matches(sources) or ()] == ["not spoken"]
    assert said([("GREAT BIKE", 16.5, 20.0, "caption")], silent) == [("unknown", None)]


def test_words_spoken_at_another_time_do_not_count():
    texts = [("set white in z three now", 6.0, 9.0, "caption")]
    assert said(texts, made.transcript()) == [("not spoken", 0.0)]


def test_how_much_of_the_speech_is_captioned():
    world = {"speech_transcription": made.transcript()}
    whole = [(text, a, b, "caption") for text, a, b in made.SAID]
    assert run(text_overlay=made.overlays(*whole), **world)[0].captioned_share == 1.0
    third = run(text_overlay=made.overlays(whole[0]), **world)[0].captioned_share
    assert third == pytest.approx(6 / 18)
    assert run(text_overlay=made.overlays(), **world)[0].captioned_share == 0.0


def test_alignment_keeps_order_and_does_not_gather_strewn_words():
    speech = tokens("one two three four five six seven eight nine ten")
    assert aligned(tokens("three four"), speech) == [2, 3]
    assert len(aligned(tokens("four three"), speech)) == 1
    strewn = tokens("the cat sat on a very old and very large mat near the red door of the house")
    assert len(aligned(tokens("the mat the door the house"), strewn)) >= 4
    far = tokens("the " + "x " * 40 + "best " + "x " * 40 + "tip")
    assert len(aligned(tokens("the best tip"), far)) == 1
    assert tokens("GRÖSSE, Größe: 你好, don’t!") == ["grösse", "grösse", "你", "好", "don’t"]
    assert aligned(["2019"], ["2018"]) == []


# --- description, contradictions, tags, insights -----------------------------------------------


def test_descriptions_speak_of_classes():
    def words(text: str) -> set[str]:
        return mentioned(made.description((text, 0.0, 2.0)).windows[0])

    assert words("Two women ride bikes past a bus.") == {"person", "bicycle", "bus"}
    assert words("A scarf, a carpet and a catalogue.") == set()
    nobody = made.description(("A man's empty chair.", 0.0, 2.0)).windows[0]
    assert "person" in mentioned(nobody)
    assert mentioned(nobody.model_copy(update={"people": ""})) == {"chair"}


def test_description_against_detection():
    out, _ = run(**made.everything())
    assert [(s.label, s.start, s.end, s.agreement) for s in out.subjects or ()] == [
        ("person", 0.0, 6.0, "confirmed"),
        ("bus", 6.0, 9.0, "only detected"),
        ("dog", 6.0, 9.0, "only described"),
    ]
    world = {**made.everything(), "qwen2_vl_temporal": made.description(("x", 0, 1), language="de")}
    out, missing = run(**world)
    assert out.subjects is None
    assert "description against detected subjects" not in missing
    assert any("'de'" in one.reason for one in out.unanswered)


def test_contradictions_give_both_sides_and_the_time():
    out, _ = run(**made.everything())
    assert [(c.conflict, c.start, c.end) for c in out.contradictions] == [
        ("speech without a tag", 8.4, pytest.approx(9.6)),
        ("speech in silence", 9.0, pytest.approx(9.6)),
        ("pose without person", 10.0, pytest.approx(11.0)),
        ("sound in silence", 10.0, 11.5),
        ("segment without person", 10.0, 12.0),
        ("face without person", 18.0, 19.0),
    ]


def test_what_agrees_is_no_contradiction():
    out, _ = run(
        object_detection=made.objects(("person", 0.0, 20.0, 0.5)),
        age_estimation=made.faces((0.0, 6.0)),
        body_pose=made.poses((0.1, 19.9)),
        background_segmentation=made.background((0.0, 20.0)),
        audio_analysis=made.sound(silences=((9.0, 12.0),)),
        audio_environment=made.soundscape(*[("Speech", a, b) for a, b in made.SPOKEN]),
        speech_transcription=made.transcript(),
    )
    assert out.contradictions == []


def test_the_other_ways_to_contradict():
    out, _ = run(
        object_detection=made.objects(("person", 0.0, 20.0, 0.5)),
        body_pose=made.poses((0.0, 10.0)),
        background_segmentation=made.background((0.0, 15.0)),
    )
    assert [(c.conflict, round(c.start, 1), c.end) for c in out.contradictions] == [
        ("person without pose", 10.0, 20.0),
        ("person without segment", 15.0, 20.0),
    ]
    out, _ = run(speech=made.speech(), audio_environment=made.soundscape(("Speech", 2.0, 5.0)))
    assert [c.conflict for c in out.contradictions] == ["tag without speech"]


def test_a_body_lost_for_longer_than_between_two_looks_was_not_seen_meanwhile():
    """Elsewhere in the clip only every fourth sample was looked at."""
    poses = made.poses((0.0, 2.0))
    [person] = poses.persons
    times = [0.0, 0.2, 1.2, 1.4, 1.6, 1.8]
    lost = person.model_copy(update={"times": times, "boxes": person.boxes[:6]})
    poses = poses.model_copy(update={"persons": [lost], "step_s": 0.8})
    seen = made.objects(("person", 0.0, 0.4, 0.5), ("person", 1.2, 2.0, 0.5))
    out, _ = run(object_detection=seen, body_pose=poses)
    assert out.contradictions == []


def test_every_tag_gives_its_figure_and_its_rule():
    out, _ = run(**made.everything())
    tags = {tag.tag: tag for tag in out.tags}
    assert tags["person"].value == pytest.approx(9 / 20)
    assert tags["talking head"].value == pytest.approx(3.4 / 6.4)
    assert tags["120 bpm"].value == 120
    assert tags["language: en"].value == 0.95
    assert all(tag.rule for tag in out.tags)
    still = run(**{**made.everything(), "camera_analysis": made.camera(0.0)})[0]
    assert "static camera" in {tag.tag for tag in still.tags}
    assert "moving camera" not in {tag.tag for tag in still.tags}


def test_insights_are_ranked_by_the_formula():
    out, _ = run(**made.everything())
    assert [one.rank for one in out.insights] == list(range(1, len(out.insights) + 1))
    assert [one.score for one in out.insights] == sorted(
        (one.score for one in out.insights), reverse=True
    )
    for one in out.insights:
        assert one.analyzers == len({e.analyzer for e in one.evidence}) >= 2
        assert one.score == one.analyzers + one.covered
        assert (one.start, one.end) == (
            min(e.start for e in one.evidence),
            max(e.end for e in one.evidence),
        )


def insight(out: Findings, about: str) -> Insight:
    return next(one for one in out.insights if one.about == about)


def test_insights_count_what_is_there():
    out, _ = run(**made.everything())
    assert insight(out, "texts and cuts").text.startswith(
        "Captions coincide with a cut in 2 of the 2"
    )
    assert insight(out, "sounds and cuts").text.startswith(
        "The character of the sound changes 3 times, 3 of them"
    )
    assert insight(out, "sounds and speech").text.startswith("0.6 s of the speech overlap other")
    assert insight(out, "emphasis and texts").text.startswith("Of 1 emphasised word, 1 on screen")
    assert "3.4 s are on camera, 3.0 s are voice-over" in insight(out, "speech and faces").text


def test_what_is_not_there_is_no_insight():
    apart = run(**{**made.everything(), "cut_analysis": made.cuts((1.0, 11.0, 12.2, 19.0))})[0]
    told = {one.about for one in apart.insights}
    assert not told & {"texts and cuts", "sounds and cuts", "cuts and beats"}
    clear = {"audio_environment": made.soundscape(("Speech", 1.0, 2.2), ("Trumpet", 18.5, 20.0))}
    out, _ = run(**{**made.everything(), **clear})
    assert "sounds and speech" not in {one.about for one in out.insights}
    unspoken = made.overlays(("BUS STOP", 6.0, 9.0, "caption"))
    out, _ = run(**{**made.everything(), "text_overlay": unspoken})
    assert "texts and speech" not in {one.about for one in out.insights}
    for report in (apart, out):
        assert not any(one.text.startswith("0 ") for one in report.insights)


def test_gestures_are_tagged_only_where_a_person_is_detected():
    world = made.everything()
    out, _ = run(**world)
    (before,) = [tag for tag in out.tags if tag.tag == "gesture: waving"]
    assert before.confidence == 0.8
    nobody = made.objects(("bus", 6.0, 9.0, 0.4))
    out, _ = run(**{**world, "object_detection": nobody})
    assert not any(tag.tag.startswith("gesture") for tag in out.tags)
    out, _ = run(**{**world, "object_detection": None})
    assert any(tag.tag.startswith("gesture") for tag in out.tags), "nothing contradicts it"


def test_what_a_model_is_unsure_of_becomes_no_tag():
    world = made.everything()
    objects = made.objects(("giraffe", 0.0, 9.0, 0.4), ("bus", 6.0, 9.0, 0.4))
    unsure = [
        t.model_copy(update={"confidence": 0.4 if t.label == "giraffe" else 0.9})
        for t in objects.tracks
    ]
    objects = objects.model_copy(update={"tracks": unsure})
    out, _ = run(**{**world, "object_detection": objects})
    tags = {tag.tag: tag.confidence for tag in out.tags}
    assert "giraffe" not in tags
    assert tags["bus"] == 0.9


def test_settings_that_come_back_are_one_tag_and_numbered_from_one():
    out, _ = run(**{**made.everything(), "scene_segmentation": made.scenes(1, 2, 1, 2)})
    (tag,) = [tag for tag in out.tags if "setting" in tag.tag]
    assert (tag.tag, tag.value) == ("returns to a setting", 2)
    assert {e.what for e in tag.evidence} == {"setting 1", "setting 2"}


def test_the_timeline_shows_the_insights():
    out, _ = run(**made.everything())
    events = list(out.events())
    assert {event.kind for event in events} == {"insight"}
    assert [event.label for event in events] == [one.text for one in out.insights]


def test_findings_are_the_same_every_time():
    one, two = (findings(Sources(video=made.video(), **made.everything())) for _ in range(2))
    assert one == two


# --- on the real thing -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_made_clip_is_decoded_cut_and_heard(seed, tmp_path):
    """Pictures that change on the clicks of 100 bpm, and the same number that do not."""
    length, period = 20.0, 0.6
    beats = np.arange(0.2, length, period)
    audio = np.repeat(clicks(100, length), 3).astype(np.float32)
    cut = CutAnalysis()
    listen = AudioAnalysis()
    listen.load(listen.variants[0], "cpu", {})
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(np.arange(1, len(beats) - 1, 2), 9, replace=False))
    on = np.round(beats[chosen] * 30) / 30
    off = np.round((beats[chosen] + rng.uniform(-0.5, 0.5, 9) * period) * 30) / 30
    for times, expected in ((on, True), (off, False)):
        shots = np.searchsorted(times, np.arange(round(length * 30)) / 30 + 1e-6)
        path = write_clip(
            tmp_path / f"{expected}.mp4",
            (scene(100 * seed + int(k), 128, 72) for k in shots),
            fps=30,
            audio=audio,
            options={"preset": "ultrafast", "crf": "20"},
        )
        decoded = decode(path, want={"thumbs", "audio"}, settings=Settings())
        found = beat_match(
            Sources(
                video=decoded.video,
                cut_analysis=cut.analyze(decoded.tracks["thumbs"]),
                audio_analysis=listen.analyze(decoded.tracks["audio"]),
            )
        )
        assert not isinstance(found, str)
        assert found is not None
        assert found.cuts == 9
        assert found.on_the_beat is expected
        assert (found.p_value < 0.01) is expected


def load(analyzer: Analyzer, models: Path, variant: str) -> Analyzer:
    chosen = next(v for v in analyzer.variants if v.name == variant)
    places = {key: w.locate(models) for key, w in chosen.weights.items()}
    files = {key: place for key, place in places.items() if place is not None}
    if len(files) < len(places):
        pytest.skip(f"weights of {analyzer.name} are not under TIKTOK_RAY_MODELS")
    analyzer.load(chosen, "cpu", files)
    return analyzer


def observed(path: Path, models: Path, *, text: bool = False) -> Sources:
    """A real clip, looked at and listened to by the real models as far as speakers go."""
    want = {"thumbs", "dense", "audio", "speech", *(("frames",) if text else ())}
    decoded = decode(path, want=want, settings=Settings())
    tracks = decoded.tracks
    speech: Speech = tracks["speech"]
    cuts = CutAnalysis().analyze(tracks["thumbs"])
    out: dict[str, Any] = {"cut_analysis": cuts}

    def add(name: str, analyzer: Analyzer, variant: str, **inputs: Any) -> None:
        try:
            result = load(analyzer, models, variant).analyze(**inputs)
        except Skip:
            return
        out[name] = result.output if isinstance(result, Partial) else result

    dense: Frames = tracks["dense"]
    add("age_estimation", AgeEstimation(), "buffalo_s", dense=dense, cut_analysis=cuts)
    add(
        "eye_tracking", EyeTracking(), "face_landmarker", dense=dense, cut_analysis=cuts,
        age_estimation=out.get("age_estimation"),
    )  # fmt: skip
    add("object_detection", ObjectDetection(), "yolov8n", dense=dense, cut_analysis=cuts)
    add(
        "speech_transcription", SpeechTranscription(), "spans-only", audio=tracks["audio"],
        speech=speech,
    )  # fmt: skip
    if text:
        add("text_overlay", TextOverlay(), "rapidocr", frames=tracks["frames"], dense=None)
    return Sources(video=decoded.video, speech_track=speech, **out)


@pytest.mark.slow
def test_the_speakers_of_the_composite_are_on_camera_and_its_captions_are_not_spoken(
    real_media, real_models
):
    clip = real_media / "video" / "short_vertical_composite.mp4"
    truth = json.loads(clip.with_suffix(".truth.json").read_text())
    of = observed(clip, real_models, text=True)
    found = voices(of) or []
    assert [voice.heard for voice in found] == ["on camera"] * 3
    for voice, (start, end) in zip(found, truth["spoken_spans_s"], strict=True):
        assert voice.start <= start + 0.1
        assert voice.end >= end - 0.1
    captions = {segment["caption"] for segment in truth["segments"]}
    silent = {s["caption"] for s in truth["segments"] if s["speech"] is None}
    texts = text_matches(of) or []
    assert {text.text for text in texts} == captions
    assert {text.text for text in texts if text.said == "not spoken"} == silent
    spoken = [
        (segment["speech"], *span)
        for segment, span in zip(
            (s for s in truth["segments"] if s["speech"]), truth["spoken_spans_s"], strict=True
        )
    ]
    known = Sources(
        video=of.video,
        speech_track=of.speech_track,
        text_overlay=of.text_overlay,
        speech_transcription=made.transcript(spoken),
    )
    assert {text.said for text in text_matches(known) or ()} == {"not spoken"}


@pytest.mark.slow
def test_a_real_voice_over_a_landscape_is_voice_over(real_media, real_models, tmp_path):
    nature = real_media / "video" / "psd_testvideo.mp4"
    shown = decode(nature, want={"frames"}, settings=Settings()).tracks["frames"]
    picture = shown.rgb(len(shown) // 3)[:280, :480]
    assert picture.std() > 20
    voice = np.repeat(read(real_media / "audio" / "jfk.flac")[: 8 * AUDIO_RATE], 3)
    views = (np.roll(picture, -2 * k, axis=1)[:, :400] for k in range(80))
    clip = write_clip(tmp_path / "landscape.mp4", views, fps=10, audio=voice)
    of = observed(clip, real_models)
    found = voices(of) or []
    assert {voice.heard for voice in found} == {"voice-over"}
    assert sum(voice.end - voice.start for voice in found) > 4.0


@pytest.mark.slow
def test_a_real_talking_head_is_on_camera(real_media, real_models):
    found = voices(observed(real_media / "video" / "grid_bbaf2n.mpg", real_models)) or []
    assert [voice.heard for voice in found] == ["on camera"]
