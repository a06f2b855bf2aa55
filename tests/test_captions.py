"""Captions: cues that read well, and files that real parsers take as they are meant."""

import io
import json
from itertools import pairwise
from typing import Any

import av
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.speech_transcription import segments, transcript
from actors.text_overlay import Overlay, Overlays
from tests.sounds import audio_of, noise
from tiktok_ray.exports.captions import (
    GAP_S,
    JOINER,
    LINE_CHARS,
    LONGEST_S,
    SHORTEST_S,
    SUBRIP,
    Cue,
    file_of,
    from_overlays,
    from_transcript,
    plain_text,
    srt,
    vtt,
)
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio.whisper import Heard, HeardWord

HOSTILE = [
    "a --> b",
    "<b>bold</b> <i>x",
    "5\n00:00:01,000 --> 00:00:02,000\nno cue",
    "Tom & Jerry &amp; &lt;",
    "one\n\n\ntwo\r\nthree\rfour",
    "{\\an8}top {code} \\N \\h",
    "NOTE not a note",
    "WEBVTT",
    "STYLE\n::cue { color: red }",
    "</c><v Bob>",
    "\u202eright to left\u2028next",
    "schöne Grüße – „äh“ … 😀",
    "1 < 2 > 0",
]


def parsed(text: str, format: str) -> list[tuple[float, float, str]]:
    """Start, end and displayed text of every cue, by FFmpeg's parser and decoder."""
    cues = []
    with av.open(io.BytesIO(text.encode()), format=format) as container:
        for packet in container.demux():
            if not packet.size:
                continue
            start, length = packet.pts / 1000, packet.duration / 1000
            shown = "\n".join(_shown(rect.ass.decode()) for rect in packet.decode())
            cues.append((start, start + length, shown))
    return cues


def _shown(dialogue: str) -> str:
    """The text of an ASS line as FFmpeg made it, its escapes undone; any style code is an error."""
    text = dialogue.split(",", 8)[8].replace("\\N", "\n").replace("\\{{}", "\0")
    assert "{" not in text, dialogue
    text = text.replace("\0", "{").replace(JOINER, "")
    return text.replace(SUBRIP["{"], "{").replace(SUBRIP["}"], "}")


def _clean(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(("write", "format"), [(srt, "srt"), (vtt, "webvtt")])
def test_hostile_text_is_shown_as_it_is(write, format, text):
    cues = [Cue(0.5, 1.5, "before"), Cue(2.0, 3.25, text), Cue(4.0, 5.0, "after")]
    assert parsed(write(cues), format) == [
        (0.5, 1.5, "before"),
        (2.0, 3.25, _clean(text)),
        (4.0, 5.0, "after"),
    ]


@settings(max_examples=150, deadline=None)
@example([(0.0, 0.0, "\ud800 lone surrogate")])
@example([(359999.0, 1.0, "late"), (0.0, 0.0, "\x1b\r0")])
@given(
    st.lists(st.tuples(st.floats(0, 90_000), st.floats(0, 100), st.text(max_size=40)), max_size=5)
)
def test_whatever_the_text_the_cues_come_back(pieces):
    cues = [Cue(start, start + length, text) for start, length, text in pieces]
    for write, format in ((srt, "srt"), (vtt, "webvtt")):
        text = write(cues)
        text.encode()
        back = parsed(text, format) if any(c.isalnum() for cue in cues for c in cue.text) else []
        kept = [cue for cue in sorted(cues) if any(ch.isalnum() for ch in cue.text)]
        times = [(start, end) for start, end, _ in back]
        for cue in kept:
            assert any(
                start == pytest.approx(cue.start, abs=0.00051)
                and end == pytest.approx(max(cue.end, cue.start + 0.001), abs=0.0016)
                for start, end in times
            )
        assert text.count("-->") <= len(cues)


def test_the_files_read_as_their_formats_say():
    cues = [Cue(3661.5, 3662.0, "b"), Cue(0.0, 1.2, "a\nz"), Cue(2.0, 3.0, " \n ")]
    assert srt(cues) == (
        "1\n00:00:00,000 --> 00:00:01,200\na\nz\n\n2\n01:01:01,500 --> 01:01:02,000\nb\n"
    )
    assert vtt(cues) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.200\na\nz\n\n01:01:01.500 --> 01:01:02.000\nb\n"
    )
    assert srt([]) == ""
    assert vtt([]) == "WEBVTT\n"


# --- cues of speech ----------------------------------------------------------------------------


def script(
    text: str, step: float = 0.3, gaps: dict[int, float] | None = None, glue: str = " "
) -> dict[str, Any]:
    """The segments of a transcript, as a loaded report holds them."""
    words, t = [], 0.0
    for k, word in enumerate(text.split()):
        t += (gaps or {}).get(k, 0.0)
        words.append(HeardWord(glue + word, t, t + step, 0.9))
        t += step
    parts = segments(words, [Span(0.0, t)])
    return {"segments": [part.model_dump(mode="json") for part in parts]}


def test_sentences_make_cues_in_lines_of_their_length():
    cues = from_transcript(script("Schöne Grüße aus Köln. Wie geht es euch?"))
    assert [cue.text for cue in cues] == ["Schöne Grüße aus Köln.", "Wie geht es euch?"]
    assert cues[0].start == 0.0
    assert cues[0].end == pytest.approx(1.2 - GAP_S)
    assert cues[1].start == pytest.approx(1.2)


def test_a_long_sentence_is_cut_at_a_clause_and_wrapped_evenly():
    text = (
        "Heute backen wir ein ganz einfaches Brot aus Mehl und Wasser, und danach zeige ich euch"
        " noch, wie man es lange frisch hält"
    )
    cues = from_transcript(script(text, step=0.2))
    assert cues[0].text.replace("\n", " ").endswith("Wasser,")
    assert " ".join(cue.text.replace("\n", " ") for cue in cues) == text
    first, second = cues[0].text.split("\n")
    assert abs(len(first) - len(second)) < 14


def test_a_pause_ends_a_cue():
    cues = from_transcript(script("eins zwei drei vier", gaps={2: 0.7}))
    assert [cue.text for cue in cues] == ["eins zwei", "drei vier"]


def test_cues_too_short_to_read_go_with_the_next_or_are_held():
    assert [cue.text for cue in from_transcript(script("Ja. Nein. So ist es dann.", step=0.2))] == [
        "Ja. Nein. So ist es dann."
    ]
    (alone,) = from_transcript(script("Ja.", step=0.2))
    assert alone.end == pytest.approx(1.0)
    apart = from_transcript(script("Ja. Nein.", step=0.2, gaps={1: 0.7}))
    assert [(cue.text, round(cue.end - cue.start, 2)) for cue in apart] == [
        ("Ja.", 0.82), ("Nein.", 1.0)
    ]  # fmt: skip


def test_each_cue_has_one_speaker():
    spoken = script("Who is there? It is me. Come in then, it is open", step=0.4)
    words = [word for part in spoken["segments"] for word in part["words"]]
    for word in words:
        word["speaker"] = (
            "Speaker 1" if word["start"] < 1.2 or word["start"] >= 2.4 else "Speaker 2"
        )
    cues = from_transcript(spoken)
    assert [(cue.speaker, cue.text) for cue in cues] == [
        ("Speaker 1", "Who is there?"),
        ("Speaker 2", "It is me."),
        ("Speaker 1", "Come in then, it is open"),
    ]
    assert plain_text(cues) == (
        "Speaker 1: Who is there?\nSpeaker 2: It is me.\nSpeaker 1: Come in then, it is open\n"
    )


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text("abcäöü,.!", min_size=1, max_size=15), min_size=1, max_size=60),
    st.floats(0.05, 3.0),
    st.dictionaries(st.integers(0, 59), st.floats(0, 5), max_size=5),
)
def test_cues_keep_all_words_in_order_and_keep_to_their_limits(words, step, gaps):
    text = " ".join(words)
    cues = from_transcript(script(text, step, gaps))
    assert " ".join(cue.text.replace("\n", " ") for cue in cues).split() == text.split()
    for cue in cues:
        assert max(len(line) for line in cue.text.split("\n")) <= LINE_CHARS
        assert len(cue.text.split("\n")) <= 2
        assert cue.start < cue.end
        assert cue.end - cue.start <= LONGEST_S + 1e-6
    assert all(a.end <= b.start + 1e-6 for a, b in pairwise(cues))
    for a, b in pairwise(cues):
        if b.start - a.start >= SHORTEST_S + GAP_S:
            assert a.end - a.start >= SHORTEST_S - 1e-6
            assert b.start - a.end >= GAP_S - 1e-6


def test_languages_without_spaces_stay_without():
    (cue,) = from_transcript(script("你 好 吗？", glue=""))
    assert cue.text == "你好吗？"


def test_an_output_and_a_loaded_report_give_the_same_cues():
    words = [HeardWord(" Schöne", 0.0, 0.3, 0.9), HeardWord(" Grüße!", 0.3, 1.2, 0.9)]
    made = transcript(Heard("de", 0.9, words), audio_of(noise(2.0)), [Span(0.0, 1.5)])
    loaded: dict[str, Any] = made.model_dump(mode="json", exclude_none=True)
    assert from_transcript(made) == [Cue(0.0, 1.2, "Schöne Grüße!")]
    assert from_transcript(loaded) == from_transcript(made)


def test_without_words_there_are_no_cues():
    audio = audio_of(noise(2.0))
    assert from_transcript(transcript(None, audio, [Span(0.0, 1.0)])) == []
    assert from_transcript({"speech": []}) == []


# --- cues of overlays --------------------------------------------------------------------------


def overlays() -> Overlays:
    def one(start: float, end: float, kind: Any, *lines: str) -> Overlay:
        return Overlay(
            start=start,
            end=end,
            text=" ".join(lines),
            lines=list(lines),
            box=[0.1, 0.7, 0.9, 0.8],
            confidence=0.9,
            kind=kind,
            order=0,
            travel=0.0,
            edge_s=0.1,
        )

    return Overlays(
        overlays=[
            one(3.0, 5.0, "caption", "STEP TWO"),
            one(0.0, 9.0, "watermark", "@cook"),
            one(1.0, 2.5, "caption", "SCHÖNE", "GRÜSSE & <b>"),
            one(4.0, 5.0, "scene_text", "BUS"),
        ],
        text="",
        on_screen_s=9.0,
        share=1.0,
        reading_speed=5.0,
        languages=[],
    )


def test_captions_on_the_picture_become_cues_with_their_lines():
    box = (0.1, 0.7, 0.9, 0.8)
    assert from_overlays(overlays()) == [
        Cue(1.0, 2.5, "SCHÖNE\nGRÜSSE & <b>", box=box),
        Cue(3.0, 5.0, "STEP TWO", box=box),
    ]
    every = from_overlays(overlays().model_dump(), kinds=("caption", "watermark", "scene_text"))
    assert [cue.text for cue in every] == ["@cook", "SCHÖNE\nGRÜSSE & <b>", "STEP TWO", "BUS"]
    assert parsed(vtt(from_overlays(overlays())), "webvtt")[0] == (1.0, 2.5, "SCHÖNE\nGRÜSSE & <b>")
    assert from_overlays({}) == []


# --- whole files -------------------------------------------------------------------------------


def report() -> dict[str, Any]:
    """A loaded report with words, speakers and captions on the picture."""
    spoken = script("Who is there? It is me, & nobody else. Come in then", step=0.4)
    for part in spoken["segments"]:
        for word in part["words"]:
            word["speaker"] = "A & B" if word["start"] < 1.2 else "Speaker 2"
    return {
        "analyzers": {
            "speech_transcription": {"status": "ok", "output": {**spoken, "language": "en"}},
            "text_overlay": {"status": "ok", "output": overlays().model_dump(mode="json")},
        }
    }


def test_another_parser_reads_webvtt_with_speakers_and_places():
    webvtt = pytest.importorskip("webvtt", reason="needs webvtt-py")
    cues = from_transcript(report()["analyzers"]["speech_transcription"]["output"])
    read = list(webvtt.from_string(file_of(report(), "vtt")))
    assert [(one.voice, one.text) for one in read] == [
        (cue.speaker.replace("&", "&amp;"), cue.text.replace("&", "&amp;")) for cue in cues
    ]
    for one, cue in zip(read, cues, strict=True):
        for stamp, seconds in ((one.start, cue.start), (one.end, cue.end)):
            assert float(stamp.split(":")[-1]) == pytest.approx(seconds, abs=0.001)
    shown = file_of(report(), "vtt", "text")
    assert "00:00:01.000 --> 00:00:02.500 line:70% position:50% size:80% align:center\n" in shown
    assert [one.text for one in webvtt.from_string(shown)] == [
        "SCHÖNE\nGRÜSSE &amp; &lt;b&gt;", "STEP TWO"
    ]  # fmt: skip


def test_another_parser_reads_subrip():
    srt_parser = pytest.importorskip("srt", reason="needs srt")
    text = file_of(report(), "srt")
    read = list(srt_parser.parse(text, ignore_errors=False))
    cues = from_transcript(report()["analyzers"]["speech_transcription"]["output"])
    assert [one.content for one in read] == [cue.text for cue in cues]
    assert [one.index for one in read] == list(range(1, len(cues) + 1))
    assert srt_parser.compose(read) == text + "\n"


def test_words_and_text_alone():
    words = json.loads(file_of(report(), "json"))
    assert words["language"] == "en"
    assert [word["text"] for word in words["words"]][:3] == ["Who", "is", "there?"]
    assert set(words["words"][0]) >= {"text", "start", "end", "probability", "speaker"}
    assert file_of(report(), "txt").startswith("A & B: Who is there?\nSpeaker 2: It is me,")
    written = json.loads(file_of(report(), "json", "text"))
    assert [one["text"] for one in written["words"]] == ["STEP TWO", "SCHÖNE GRÜSSE & <b>"]


def test_a_report_without_them_says_why():
    gone = {"analyzers": {"text_overlay": {"status": "skipped", "reason": "not selected"}}}
    with pytest.raises(LookupError, match="text_overlay is skipped: not selected"):
        file_of(gone, "vtt", "text")
    with pytest.raises(LookupError, match="speech_transcription is missing"):
        file_of(gone, "srt")


def odd(spoken: dict[str, Any], **section: Any) -> dict[str, Any]:
    section = {"status": "ok", "output": spoken, **section}
    return {"analyzers": {"speech_transcription": section}}


def parsed_by_others(report: dict[str, Any]) -> list[list[str]]:
    """The texts of the cues as two parsers that are not ours read them."""
    webvtt = pytest.importorskip("webvtt", reason="needs webvtt-py")
    srt_parser = pytest.importorskip("srt", reason="needs srt")
    shown = [cue.text for cue in webvtt.from_string(file_of(report, "vtt"))]
    return [shown, [cue.content for cue in srt_parser.parse(file_of(report, "srt"))]]


def test_words_that_were_never_read_are_no_empty_file():
    unread = odd(
        {"speech": [{"start": 0.0, "end": 2.0}]},
        status="partial",
        missing=[{"part": "words", "reason": "weights not installed"}],
    )
    for format in ("srt", "vtt", "txt", "json"):
        with pytest.raises(LookupError, match="no words: weights not installed"):
            file_of(unread, format)
    silent = {
        "speech_transcription": {"status": "skipped", "reason": "there is no speech in this video"}
    }
    with pytest.raises(LookupError, match="skipped: there is no speech in this video"):
        file_of({"analyzers": silent}, "srt")


def test_speech_in_which_no_word_was_heard_is_an_empty_file():
    heard_none = odd({"language": "en", "segments": []})
    assert parsed_by_others(heard_none) == [[], []]
    assert file_of(heard_none, "txt") == ""
    assert json.loads(file_of(heard_none, "json")) == {"language": "en", "words": []}


def test_text_from_right_to_left_comes_back_as_it_was_said():
    text = "مرحبا بكم في المطبخ، اليوم نطبخ الحساء."
    spoken = odd({"language": "ar", **script(text)})
    for cues in parsed_by_others(spoken):
        assert " ".join(" ".join(cues).split()) == text
    assert "".join(file_of(spoken, "txt")).split() == text.split()
    assert [one["text"] for one in json.loads(file_of(spoken, "json"))["words"]] == text.split()


@pytest.mark.parametrize("length", [43, 84, 85, 500])
def test_a_word_longer_than_a_cue_goes_on_in_the_next(length):
    word = "".join(chr(ord("a") + k % 26) for k in range(length))
    spoken = odd(script(f"Say {word} now.", step=1.0))
    for texts in parsed_by_others(spoken):
        assert "".join("".join(texts).split()) == f"Say{word}now."
        assert all(len(text.split("\n")) <= 2 for text in texts)
        assert all(len(line) <= LINE_CHARS for text in texts for line in text.split("\n"))
    cues = from_transcript(spoken["analyzers"]["speech_transcription"]["output"])
    assert all(a.end <= b.start for a, b in pairwise(cues))
    assert all(cue.start < cue.end for cue in cues)


def test_a_speaker_who_is_not_known_is_not_taken_for_the_one_before():
    spoken = script("Come in then. Who is it? Me again.", step=0.5)
    words = [word for segment in spoken["segments"] for word in segment["words"]]
    for word, who in zip(words, ["A"] * 3 + [None] * 3 + ["B"] * 2, strict=True):
        word["speaker"] = who
    told = "A: Come in then.\nUnknown speaker: Who is it?\nB: Me again.\n"
    assert file_of(odd(spoken), "txt") == told
    assert "\nWho is it?\n" in file_of(odd(spoken), "vtt")
    for word in words:
        word["speaker"] = None
    assert ":" not in file_of(odd(spoken), "txt")


def test_the_command_writes_each_file_and_says_what_is_wrong(tmp_path):
    from typer.testing import CliRunner

    from tests import viewer_reports
    from tiktok_ray.cli import app

    result = tmp_path / "report.json"
    made_report = viewer_reports.report()
    result.write_text(json.dumps(made_report), encoding="utf-8")
    run = CliRunner().invoke
    assert run(app, ["captions", str(result)]).stdout.startswith("WEBVTT\n")
    made = tmp_path / "made.srt"
    assert run(app, ["captions", str(result), "--format", "srt", "-o", str(made)]).exit_code == 0
    assert made.read_text(encoding="utf-8").startswith("1\n00:00:")
    assert run(app, ["captions", str(result), "--format", "xml"]).exit_code == 2
    assert run(app, ["captions", str(tmp_path / "none.json")]).exit_code == 3
    result.write_text("{}", encoding="utf-8")
    assert run(app, ["captions", str(result)]).exit_code == 3
