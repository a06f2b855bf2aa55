"""Reports as files: nothing is lost, and nothing is overwritten by less."""

import json

import pytest

from tests.made_outputs import run as made_run
from tests.test_summary import info
from tiktok_ray.report import Section, VideoReport
from tiktok_ray.reporting.files import CannotWrite, check_folder, write_report


def report(*names):
    sections = {
        n: Section(status="ok") if n in names else Section(status="skipped", reason="not selected")
        for n in ("cut_analysis", "text_overlay", "body_pose")
    }
    return VideoReport(video=info(), analyzers=sections, timeline=[], run=made_run())


def told(path):
    sections = json.loads(path.read_text())["analyzers"]
    return {n for n, s in sections.items() if s["status"] == "ok"}


def test_a_smaller_report_stands_beside_a_fuller_one_and_says_so(tmp_path):
    full = write_report(report("cut_analysis", "text_overlay"), tmp_path)
    assert full.remark == ""
    less = write_report(report("cut_analysis"), tmp_path)
    assert told(full.path) == {"cut_analysis", "text_overlay"}
    assert told(less.path) == {"cut_analysis"}
    assert less.remark == f"{full.path} was left unchanged: it also contains text_overlay"
    again = write_report(report("cut_analysis"), tmp_path)
    assert again.path == less.path
    other = write_report(report("body_pose"), tmp_path)
    assert {told(p).pop() for p in (less.path, other.path)} == {"cut_analysis", "body_pose"}


@pytest.mark.parametrize("status", ["unavailable", "failed", "timed_out"])
def test_a_report_in_which_something_did_not_work_out_is_a_smaller_one(tmp_path, status):
    full = write_report(report("cut_analysis", "text_overlay"), tmp_path)
    without = report("cut_analysis", "text_overlay")
    without.analyzers["text_overlay"] = Section(status=status, reason="weights not installed")
    less = write_report(without, tmp_path)
    assert told(full.path) == {"cut_analysis", "text_overlay"}
    assert less.remark == f"{full.path} was left unchanged: it also contains text_overlay"
    nothing_there = report("cut_analysis", "text_overlay")
    nothing_there.analyzers["text_overlay"] = Section(status="skipped", reason="nothing to read")
    assert write_report(nothing_there, tmp_path).path == full.path, "that is an answer too"


def test_one_that_tells_of_as_much_replaces_it(tmp_path):
    first = write_report(report("cut_analysis"), tmp_path)
    second = write_report(report("cut_analysis", "text_overlay"), tmp_path)
    assert (second.path, second.remark) == (first.path, "")
    assert told(first.path) == {"cut_analysis", "text_overlay"}


@pytest.mark.parametrize(
    "text", ["words", "[]", "{}", '{"analyzers": []}', '{"analyzers": {"a": 1}}']
)
def test_a_strangers_file_is_not_overwritten(tmp_path, text):
    place = write_report(report("cut_analysis"), tmp_path).path
    place.write_text(text)
    written = write_report(report("cut_analysis"), tmp_path)
    assert place.read_text() == text
    assert told(written.path) == {"cut_analysis"}
    assert "something that is not a report" in written.remark


def test_a_report_that_cannot_be_written_where_it_should_is_kept_elsewhere(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.write_text("a file")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    written = write_report(report("cut_analysis"), folder)
    assert told(written.path) == {"cut_analysis"}
    assert "the report was saved here instead" in written.remark
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(CannotWrite, match="cannot be written"):
        write_report(report("cut_analysis"), folder)


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(tmp_path):
    check_folder(tmp_path / "new" / "one")
    assert (tmp_path / "new" / "one").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="cannot be written to: Not a directory"):
        check_folder(tmp_path / "file" / "below")
