"""The summary: what it says, what each sentence rests on, and what it leaves out."""

import re
from typing import Any

import pytest

from actors.cross_analyzer_intelligence import findings
from actors.cross_analyzer_intelligence.sources import Sources
from actors.speech_transcription import Before
from actors.text_overlay import Unread
from tests import made_outputs as made
from tiktok_ray.report import Missing, Output, Section, StreamInfo, VideoInfo, measured
from tiktok_ray.reporting import summary as module
from tiktok_ray.reporting.summary import SAID, TOPICS, counted, listed, quoted, sentence


def summarize(*given: Any) -> dict[str, Any]:
    """The summary as it stands in a report's file."""
    return module.summarize(*given).model_dump(mode="json")


def info(**more: Any) -> VideoInfo:
    facts = {**made.video().__dict__, **more}
    return VideoInfo(id="abc", sha256="abc", source="clip.mp4", **facts)


class Plain(Output):
    """An output that no topic knows."""

    n: int = measured("Anything")

    def headline(self) -> str:
        return f"{self.n} of something"


def world() -> dict[str, Section]:
    outputs = made.everything()
    cross = findings(Sources(video=made.video(), **outputs))
    return {
        name: Section(status="ok", output=output)
        for name, output in sorted({**outputs, "cross_analyzer_intelligence": cross}.items())
    }


@pytest.fixture(autouse=True)
def _headlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand-made outputs lack what their headlines need."""
    for output in made.everything().values():
        monkeypatch.setattr(type(output), "headline", lambda self: type(self).__name__)


def sentences(summary: dict[str, Any], about: str) -> list[str]:
    return [s["text"] for s in summary["statements"] if s["about"] == about]


def without(*names: str, **instead: Section) -> dict[str, Section]:
    gone = Section(status="unavailable", reason="weights not installed")
    return {**world(), **dict.fromkeys(names, gone), **instead}


def test_every_topic_is_told_in_order():
    told = list(dict.fromkeys(s["about"] for s in summarize(info(), world())["statements"]))
    assert told == [topic.about for topic in TOPICS]
    assert told[:9] == [
        "what it is", "hook", "pace", "speech", "text", "sound", "people", "look", "key moments",
    ]  # fmt: skip


def test_every_sentence_names_analyzers_that_gave_something_and_times():
    sections = world()
    for statement in summarize(info(), sections)["statements"]:
        assert statement["from"], statement["text"]
        for source in statement["from"]:
            assert source["analyzer"] == "video" or source["analyzer"] in sections
            assert 0 <= source["start"] <= source["end"] <= made.END


def test_sentences_are_whole_and_without_placeholders():
    summary = summarize(info(), world())
    for statement in summary["statements"]:
        text = statement["text"]
        assert text.endswith(".")
        assert not text.endswith("..")
        assert text[0].isupper() or text[0].isdigit() or text[0] == "“"
        assert not re.search(r"\bNone\b|\bnan\b|\{|\}|  ", text), text
    assert summary["text"].count("\n\n") == len(TOPICS) - 1
    assert summary["text"].startswith("What it is. A video of 20.0 s, 540 x 960 pixels (portrait)")


def test_the_figures_are_those_of_the_outputs():
    summary = summarize(info(title="My clip"), world())
    expected = {
        "what it is": ["“My clip”", "In view, according to object_detection (with confidence): person for 45% (0.90)", "bus for 15% (0.90)", "3 scenes in 2 settings"],
        "hook": ["The first 3.0 s: one shot; speech “bin blue”."],
        "pace": ["5 cuts, 15.0 per minute.", "6 shots of 3.0 to 5.0 s", "(0.50) at 10.0 s",
                 "on the beat: 5 of 5 lie within 0.07 s of a beat", "p = 5e-05"],
        "speech": ["for 6.4 s, 32% of the sound", "en, with a probability of 0.95",
                   "“bin blue at f two now lay", "3.4 s are on camera and 3.0 s are voice-over",
                   "190 words per minute", "1 filler: “um” 1.", "happy according to speech_emotion, with a probability of 0.70",
                   "180 Hz"],
        "text": ["100% of the time (3 captions and 1 watermark)", "“BUS STOP” (0.95) readable from 6.0 to 9.0 s",
                 "8.0 characters per second", "Of 3 captions, 2 are not spoken and 1 is spoken."],
        "sound": ["-18.0 LUFS, true peak -1.2 dBTP", "Silent for 15%", "120 beats per minute",
                  "C major", "music in 15%", "(with probability): Speech for about 5.5 s (0.90), Trumpet for about", "24 dB above"],
        "people": ["45% of the time", "in 3 tracks", "for each face, without a confidence: 30, 31 and 32",
                   "into the camera in 80%", "3 blinks.", "waving (3, 0.80)", "standing (3, 0.80)"],
        "look": ["teal 60%", "5200 K", "Sepia on 80%", "Sharpness 0.60 of 1",
                 "detail of 400 x 711", "letterbox on 25%", "moves in 60%", "pan left (1)"],
        "key moments": ["At 6.0 s: cut; text “BUS STOP”.", "Call to action at 18.0 s (follow)",
                        "the first with a similarity of 0.97, and the sound at both ends with 0.90"],
    }  # fmt: skip
    for about, parts in expected.items():
        told = " ".join(sentences(summary, about))
        for part in parts:
            assert part in told, (about, told)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("hard", "2 cuts, 6.0 per"),
        ("fade", "2 cuts (2 fades), 6.0 per"),
        ("jump", "2 cuts (2 jump cuts), 6.0 per"),
    ],
)
def test_cuts_that_are_no_hard_ones_are_named(kind, told):
    found = Section(status="ok", output=made.cuts((6.0, 12.0), kind=kind))
    assert told in " ".join(sentences(summarize(info(), without(cut_analysis=found)), "pace"))


@pytest.mark.parametrize("topic", [topic for topic in TOPICS if topic.analyzers])
def test_a_topic_of_which_nothing_was_measured_is_left_out_and_named(topic):
    gone = {*topic.analyzers, "cross_analyzer_intelligence"}
    summary = summarize(info(), without(*gone))
    assert not sentences(summary, topic.about)
    reason = summary["topics_not_measured"][topic.about]
    for name in topic.analyzers:
        assert f"{name} unavailable: weights not installed" in reason
        assert summary["not_measured"][name] == "unavailable: weights not installed"
    assert f"{topic.about[0].upper()}{topic.about[1:]}. " not in summary["text"]


@pytest.mark.parametrize("name", sorted(world()))
def test_without_an_analyzer_no_sentence_rests_on_it_and_the_others_stay(name):
    """Cross findings cite others: they are made anew without it."""
    outputs = {**made.everything(), name: None} if name in made.everything() else made.everything()
    sections = without(name)
    if name != "cross_analyzer_intelligence":
        cross = findings(Sources(video=made.video(), **outputs))
        sections["cross_analyzer_intelligence"] = Section(status="ok", output=cross)
    if name in ("cut_analysis", "text_overlay", "speech_transcription"):
        sections["temporal_flow"] = Section(status="skipped", reason="it rests on it")
    after, before = (summarize(info(), s)["statements"] for s in (sections, world()))
    used = [s for s in after if name in {source["analyzer"] for source in s["from"]}]
    assert not used
    lost = [s for s in before if s not in after]
    assert lost


def test_partial_and_failed_sections_say_what_they_lack():
    lacking = Section(
        status="partial",
        output=made.transcript(words=False),
        missing=[Missing(part="words", reason="weights not installed")],
    )
    summary = summarize(
        info(),
        without(
            speech_transcription=lacking,
            camera_analysis=Section(status="failed", reason="ValueError: bad"),
            color_analysis=Section(status="skipped", reason="not selected"),
        ),
    )
    assert summary["not_measured"] == {
        "speech_transcription: words": "weights not installed",
        "camera_analysis": "failed: ValueError: bad",
        "color_analysis": "skipped: not selected",
    }
    assert summary["measured"] == summary["of"] - 1 == 17, "what was not selected does not count"
    assert "speech_transcription" in summary["found"]
    assert "camera_analysis" not in summary["found"]


def test_with_nothing_measured_only_the_containers_facts_are_left():
    nothing = {name: Section(status="failed", reason="it broke") for name in world()}
    summary = summarize(info(has_audio=False, width=1920, height=1080), nothing)
    assert [s["text"] for s in summary["statements"]] == [
        "A video of 20.0 s, 1920 x 1080 pixels (landscape), 30.00 frames per second, without sound."
    ]
    assert set(summary["topics_not_measured"]) == {t.about for t in TOPICS} - {"what it is"}
    assert summary["measured"] == 0
    assert summary["of"] == 19


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "with sound."),
        (
            {"samples_silenced": 40, "silenced_share": 0.25},
            "with sound of which 25.0% was invalid",
        ),
        ({"samples_silenced": 1, "silenced_share": 1e-6}, "less than 0.1% was invalid"),
        ({"has_audio": False}, "without sound."),
        (
            {
                "has_audio": False,
                "streams": (
                    StreamInfo(index=0, kind="video"),
                    StreamInfo(
                        index=1, kind="audio", codec="ac-4", reason="no decoder supports it"
                    ),
                ),
            },
            "with unusable sound (ac-4: no decoder supports it).",
        ),
    ],
)
def test_what_of_the_sound_could_be_used_is_told(facts, said):
    (first,) = [s["text"] for s in summarize(info(**facts), {})["statements"]]
    assert said in first


def test_outputs_of_other_types_are_counted_but_not_read():
    sections = {"cut_analysis": Section(status="ok", output=Plain(n=3))}
    summary = summarize(info(), sections)
    assert summary["found"] == {"cut_analysis": "3 of something"}
    assert summary["measured"] == summary["of"] == 1
    assert "pace" in summary["topics_not_measured"]


def test_nothing_found_is_said_where_it_was_looked_for():
    summary = summarize(
        info(),
        without(
            text_overlay=Section(status="ok", output=made.overlays()),
            object_detection=Section(status="ok", output=made.objects()),
            cut_analysis=Section(status="ok", output=made.cuts(())),
        ),
    )
    assert sentences(summary, "text") == ["No text was found on screen by text_overlay."]
    assert "No people were detected by object_detection." in sentences(summary, "people")
    assert sentences(summary, "pace")[0] == "A single shot, without cuts."


def test_of_a_class_the_time_that_the_model_is_unsure_of_is_told_apart():
    seen = made.objects(
        ("person", 0.0, 10.0, 0.5), ("person", 9.0, 14.0, 0.5), ("tv", 2.0, 3.0, 0.1)
    )
    for track, confidence in zip(seen.tracks, (0.91, 0.27, 0.43), strict=True):
        track.__dict__["confidence"] = confidence
    summary = summarize(info(), without(object_detection=Section(status="ok", output=seen)))
    told = sentences(summary, "what it is")
    assert any("person for 50% (0.91) of the time" in text for text in told)
    assert any("person for another 20% (0.27) and tv for 5% (0.43)" in text for text in told)
    people = sentences(summary, "people")[0]
    assert people.startswith(
        "People are in view for 50% of the time and possibly for another 20%, "
    )


def test_text_that_could_not_be_read_is_not_called_none():
    unread = [Unread(start=a, end=b, box=[0, 0, 1, 1]) for a, b in ((0, 3), (1, 2), (5, 9.5))]
    for overlays in (made.overlays(), made.everything()["text_overlay"]):
        output = overlays.model_copy(update={"unread": unread})
        told = without(text_overlay=Section(status="partial", output=output))
        first, *more = sentences(summarize(info(), told), "text")
        assert first == (
            "Text that cannot be read was found in 3 places, from 0.0 to 3.0 s and from 5.0 to 9.5 s."
        )
        assert all("No text" not in text for text in more)
        if overlays.overlays:
            assert more[0].startswith("Readable text is on screen for")


def test_sound_that_outlasts_the_pictures_is_told_and_shares_are_of_the_pictures():
    summary = summarize(info(picture_end_s=9.0), world())
    assert "The last frame ends at 9.0 s, the sound continues until 20.0 s." in sentences(
        summary, "what it is"
    )
    assert "100% of the 9.0 s with video" in " ".join(sentences(summary, "text"))
    for about in ("what it is", "text", "people"):
        assert "of the time" not in " ".join(sentences(summary, about)).replace(
            "of the time that", ""
        )
    usual = summarize(info(picture_end_s=19.9), world())
    assert "frame ends" not in usual["text"]
    assert "100% of the time" in " ".join(sentences(usual, "text"))


def test_speech_before_the_first_picture_is_told():
    said = [Before(start=-3.5, end=-2.0, text="Come in"), Before(start=-1.5, end=-0.5, text="now.")]
    heard = made.transcript().model_copy(update={"before": said})
    told = without(speech_transcription=Section(status="ok", output=heard))
    summary = summarize(info(start_offset_s=4.0), told)
    assert "The sound starts 4.0 s before the first frame." in sentences(summary, "what it is")
    first, second, *_ = sentences(summary, "speech")
    assert first.endswith("of the sound from the first frame on.")
    assert second == (
        "Starting 3.5 s before the first frame, there is another 2.5 s of speech: “Come in now.”."
    )


def test_it_is_the_same_every_time():
    assert summarize(info(), world()) == summarize(info(), world())


def test_words():
    assert listed(["a"]) == "a"
    assert listed("abc") == "a, b and c"
    assert listed("abcdefgh", most=3) == "a, b, c and 5 more"
    assert counted(1, "cut") == "1 cut"
    assert counted(2, "person", "persons") == "2 persons"
    assert quoted("one two three", most=2) == "“one two …”"
    assert sentence("at 3 s: cut. ") == "At 3 s: cut."
    assert set(SAID) == {"spoken", "partly spoken", "not spoken", "unknown"}


@pytest.mark.parametrize(
    ("things", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_things_in_a_row(things, text):
    assert listed(things) == text


def test_ages_without_an_agreed_sex_lose_no_summary():
    sections = world()
    faces = sections["age_estimation"].output
    unsexed = faces.model_copy(
        update={"faces": [f.model_copy(update={"sex": None, "age": 30.0}) for f in faces.faces]}
    )
    sections["age_estimation"] = sections["age_estimation"].model_copy(update={"output": unsexed})
    text = summarize(info(), sections)["text"]
    assert "for each face, without a confidence: 30" in text
    assert "sex:" not in text


def test_a_topic_that_cannot_be_told_is_named_and_the_others_are_told(monkeypatch):
    def broken(_):
        raise ZeroDivisionError("by zero")
        yield

    topics = tuple(t._replace(tell=broken) if t.about == "pace" else t for t in TOPICS)
    monkeypatch.setattr("tiktok_ray.reporting.summary.TOPICS", topics)
    lost = []
    told = {s["about"] for s in summarize(info(), world(), lost)["statements"]}
    assert told == {t.about for t in TOPICS} - {"pace"}
    assert [(part.part, part.reason) for part in lost] == [
        ("summary of pace", "ZeroDivisionError: by zero")
    ]
