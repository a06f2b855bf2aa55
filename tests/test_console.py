"""What a terminal of 80 columns shows."""

import io

import pytest
from rich.console import Console

from tests.made_outputs import run
from tests.test_summary import info
from tiktok_ray.console import Display, headline, summary, told
from tiktok_ray.report import Missing, Section, Summary, VideoReport
from tiktok_ray.run.engine import Progress

LONG = "weights not installed: nvidia/segformer-b0; to get them: tiktok-ray models pull x"
UNREAD = "the reader knows no such script: name it in text_overlay.languages, with `tiktok-ray models pull`"


def shown(*things: object, width: int = 80) -> str:
    out = io.StringIO()
    terminal = Console(file=out, width=width, force_terminal=False)
    for thing in things:
        terminal.print(thing)
    return out.getvalue()


def report(**sections: Section) -> VideoReport:
    told = Summary(
        measured=0, of=0, duration_s=info().duration_s, text="What it is. A video.", statements=[],
        topics_not_measured={}, found={}, not_measured={},
    )  # fmt: skip
    return VideoReport(video=info(), analyzers=sections, timeline=[], summary=told, run=run())


@pytest.mark.parametrize("width", [80, 100, 160])
def test_states_and_seconds_are_whole_beside_long_reasons(width):
    display = Display("clip", ["cross_analyzer_intelligence", "background_segmentation"])
    display(Progress("analyzer", "cross_analyzer_intelligence", "timed_out", 123.4, LONG * 3))
    display(Progress("analyzer", "background_segmentation", "unavailable", 0.0, LONG))
    lines = shown(display._table(), width=width).splitlines()
    (line,) = [line for line in lines if "cross_analyzer_intelligence" in line]
    assert "timed_out" in line
    assert "123.4" in line
    assert len(lines) == 4, "one line each"
    assert max(map(len, lines)) <= width


def test_the_table_keeps_states_and_seconds_whole_at_80_columns():
    slow = Section(status="timed_out", reason=LONG * 3, seconds=123.45)
    text = shown(summary(report(cross_analyzer_intelligence=slow)))
    (line,) = [line for line in text.splitlines() if "cross_analyzer_intelligence" in line]
    assert "timed_out" in line
    assert "123.45" in line


def test_missing_weights_are_one_line_and_text_that_cannot_be_read_wants_none():
    parts = [
        Missing(part="some texts", reason=UNREAD),
        Missing(
            part="tags from body_pose", reason="body_pose produced no output", lacks=["body_pose"]
        ),
    ]
    made = report(
        background_segmentation=Section(status="unavailable", reason=LONG),
        content_quality=Section(status="partial", missing=[Missing(part="aesthetic", reason=LONG)]),
        text_overlay=Section(status="partial", missing=parts),
        age_estimation=Section(status="skipped", reason="no face found"),
    )
    assert headline(made, 0.5) == (
        "2 of 3 measured; weights not installed, 0.5 GiB: background_segmentation, content_quality"
        " (partly); to get them: tiktok-ray models pull"
    )
    table = shown(summary(made), width=160)
    assert "background_segmentation" not in table
    assert "no aesthetic: weights not installed" in table
    assert "without body_pose" in table


def test_the_summary_the_transcript_and_the_shots_are_told():
    shots = {"shots": [{"start": 0.0, "end": 61.5}, {"start": 61.5, "end": 80.0}]}
    words = {"segments": [{"start": 1.0, "end": 2.0, "text": "[bin] blue"}]}
    out = io.StringIO()
    made = report(
        cut_analysis=Section(status="ok", output=shots),
        speech_transcription=Section(status="ok", output=words),
    )
    told(made, Console(file=out, width=80))
    text = out.getvalue()
    order = ["What it is. A video.", "0:01.0  [bin] blue", "0:00.0 to 1:01.5   1:01.5 to 1:20.0"]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
