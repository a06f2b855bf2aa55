"""Reports read back: of this form and of those that earlier versions wrote.

``reports/`` has made reports of all analyzers, written by the versions of their names.
"""

import json
from pathlib import Path

import pytest

from actors.cut_analysis import Cuts
from actors.speech_transcription import Transcript
from tests.viewer_reports import every_status, report
from tiktok_ray.report import SCHEMA_VERSION, Output
from tiktok_ray.reporting.reading import NoReport, Report

HERE = Path(__file__).parent
OLD = sorted((HERE / "reports").glob("*.json"))


def saved(tmp_path, value):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.mark.parametrize("made", [report, every_status], ids=["all", "every status"])
def test_a_report_of_today_comes_back_as_it_was(tmp_path, made):
    value = made()
    found = Report.load(saved(tmp_path, value))
    assert found.remarks == ()
    assert found.plain() == value
    outputs = [s.output for s in found.analyzers.values() if s.output is not None]
    assert all(type(one) is not Output and isinstance(one, Output) for one in outputs)
    assert found.output(Cuts).shots[1].start == 4.0
    for name, line in found.summary.found.items():
        if made is report:
            assert found.analyzers[name].output.headline() == line


def test_what_a_file_leaves_out_is_none_again(tmp_path):
    value = every_status()
    assert "text" not in value["analyzers"]["speech_transcription"]["output"]
    assert Report.load(saved(tmp_path, value)).output(Transcript).text is None


@pytest.mark.parametrize("file", OLD, ids=lambda p: p.stem)
def test_older_reports_have_typed_outputs_too(file):
    found = Report.load(file)
    before = json.loads(file.read_text())
    assert found.schema_version == before["schema_version"] == "1.0"
    assert len(found.analyzers) == 19
    for name, section in found.analyzers.items():
        assert isinstance(section.output, Output), name
        assert section.output.headline(), name
    assert found.output(Cuts).shots[0].end == 3.0
    # What it did not say is said to be absent, and never made up.
    assert "run.plan.vram_gib is missing" in found.remarks
    with pytest.raises(AttributeError, match="vram_gib"):
        _ = found.run.plan[0].vram_gib
    assert "vram_gib" not in found.plain()["run"]["plan"][0]
    assert found.plain()["timeline"] == before["timeline"]


def test_what_is_not_known_any_more_is_named():
    value = json.loads(OLD[0].read_text())
    value["analyzers"]["cut_analysis"]["output"]["shots"][0]["colour"] = "red"
    value["analyzers"]["eye_tracking"]["output"]["tracks"] = 7
    found = Report.of(value)
    assert "cut_analysis.shots.colour is no longer known" in found.remarks
    assert found.output(Cuts).shots[0].end == 3.0
    assert found.analyzers["eye_tracking"].output["tracks"] == 7
    assert any(
        remark.startswith("the output of eye_tracking is left as is: eye_tracking.tracks: ")
        for remark in found.remarks
    )


def test_the_output_of_an_analyzer_that_is_not_here_is_left_as_it_is():
    value = report()
    value["analyzers"]["of_a_plug_in"] = {"status": "ok", "output": {"n": [1, {"x": 2}]}}
    found = Report.of(value)
    assert found.analyzers["of_a_plug_in"].output == {"n": [1, {"x": 2}]}
    assert found.remarks == (
        "of_a_plug_in: no such analyzer is installed; its output is left as is",
    )
    assert found.plain()["analyzers"]["of_a_plug_in"]["output"] == {"n": [1, {"x": 2}]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.update(schema_version="2.0"), f"has schema version 2.0, .* reads 1.0, {SCHEMA_VERSION}"),
        (lambda r: r.pop("video"), "neither video nor analyzers"),
        (lambda r: r["run"].update(nonsense=1), "run.nonsense"),
        (lambda r: r["analyzers"]["cut_analysis"]["output"].pop("shots"), "shots: Field required"),
        (lambda r: r.update(analyzers=[]), "neither video nor analyzers"),
        (lambda r: r["analyzers"].update(cut_analysis=7), "cut_analysis"),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused_in_words(tmp_path, change, words):
    value = report()
    change(value)
    with pytest.raises(NoReport, match=words):
        Report.load(saved(tmp_path, value))
    with pytest.raises(FileNotFoundError):
        Report.load(tmp_path / "nowhere.json")
