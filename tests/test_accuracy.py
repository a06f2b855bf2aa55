"""The accuracy benchmark: what is absent is said, and truth stands beside the figure."""

from pathlib import Path

import numpy as np
import pytest

from actors import NAMES
from actors.cut_analysis import CutAnalysis
from benchmarks.accuracy import Absent, Bench, Row, analyzer_type, tables
from benchmarks.accuracy.__main__ import main, markdown
from benchmarks.accuracy.object_detection import against_boxes
from tests.actors.test_object_detection import analyzer, picture, video


def test_every_table_is_of_an_analyzer():
    assert set(tables()) <= set(NAMES)
    assert {"object_detection", "body_pose", "background_segmentation"} <= set(tables())


def test_tables_are_markdown():
    rows = [Row("a.mp4", "1 bus", "2 buses", False), Row("b.mp4", "a cut", "3.0 s", True)]
    lines = markdown(rows).splitlines()
    assert lines[0] == "| file  | truth | figure  | holds |"
    assert lines[2] == "| a.mp4 | 1 bus | 2 buses | NO    |"
    assert len({len(line) for line in lines}) == 1


def test_missing_media_and_weights_are_named(tmp_path: Path):
    bench = Bench(tmp_path, tmp_path)
    with pytest.raises(Absent, match=r"video/no\.mp4"):
        bench.file("video/no.mp4")
    with pytest.raises(Absent, match="ultralytics/yolov8n.pt"):
        bench.analyzer("object_detection")


def test_analyzers_are_found_by_name():
    assert analyzer_type("cut_analysis") is CutAnalysis


def test_a_machine_without_media_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("TIKTOK_RAY_TEST_MEDIA", str(tmp_path))
    monkeypatch.setenv("TIKTOK_RAY_MODELS", str(tmp_path))
    assert main(["object_detection"]) == 0
    assert "is not among the media" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["no_such_analyzer"])


def test_stills_become_videos(tmp_path: Path):
    import cv2

    cv2.imwrite(str(tmp_path / "grey.png"), np.full((65, 33, 3), 90, np.uint8))
    bench = Bench(tmp_path, tmp_path)
    clip = bench.still("grey.png", 0.5)
    video = bench._decode(clip, frozenset({"dense"})).video
    assert (video.width, video.height) == (32, 64)
    assert video.duration_s == pytest.approx(0.5)


def test_drawn_boxes_are_compared_with_tracks():
    found = analyzer().analyze(
        video([picture((1, 0.5, 0.5, 0.5, 0.25, 0.9), (3, 0.1, 0.1, 0.1, 0.1, 0.9))] * 5), None
    )
    drawn = (("bus", (24, 60, 72, 100)), ("person", (10, 10, 20, 20)))
    bus, person, extra = against_boxes("x", found, (96, 160), drawn)
    assert bus.holds
    assert bus.figure.startswith("IoU 0.9") or bus.figure.startswith("IoU 1.0")
    assert (person.figure, person.holds) == ("not found", False)
    assert (extra.figure, extra.holds) == ("cup", False)
