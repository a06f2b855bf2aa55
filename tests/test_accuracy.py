"""The accuracy benchmark: what is absent is said, and truth stands beside the figure."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actors import NAMES
from actors.cut_analysis import CutAnalysis
from benchmarks.accuracy import (
    Absent,
    Bench,
    Figure,
    Row,
    Table,
    _board,
    _peers,
    analyzer_type,
    tables,
)
from benchmarks.accuracy import _measuring as measuring
from benchmarks.accuracy import color_analysis as colors
from benchmarks.accuracy import cut_analysis as cuts
from benchmarks.accuracy.__main__ import main
from benchmarks.accuracy._tables import figures_markdown, markdown
from benchmarks.accuracy.object_detection import against_boxes
from tests.actors.test_object_detection import analyzer, picture, video
from tiktok_ray.catalog import make_graph
from tiktok_ray.reporting import schema


def test_every_table_is_of_an_analyzer():
    assert set(tables()) <= set(NAMES)
    assert {"object_detection", "body_pose", "background_segmentation"} <= set(tables())


def test_figures_are_errors_of_fields_that_there_are():
    known = {
        field.path: field
        for name, model in make_graph().outputs.items()
        for field in schema.fields_of(model, name)
    }
    named = {
        f"{name}.{path}" for name, one in tables().items() for told in one.fields.values() for path in told
    }  # fmt: skip
    assert {path for path in named if path not in known or not known[path].may_be_wrong} == set()


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


def test_figures_say_what_was_measured_what_must_hold_and_what_was_not():
    f1 = Figure("F1", "hard cuts", "plain", "factory", 40, 0.982, 0.96, 1.0, least=0.97)
    none = Figure("WER", "English", "all", "real", 0, None, reason="no weights: tiny.en")
    assert [f1.holds, f1._replace(value=0.9).holds, none.holds] == [True, False, None]
    assert f1._replace(least=None, most=0.5).holds is False
    head, _, first, second = figures_markdown([f1, none]).splitlines()
    assert head.split("|")[7].strip() == "value"
    cells = [cell.strip() for cell in first.split("|")[1:-1]]
    assert cells[5:] == ["40 clips", "0.982", "0.960–1.000", "≥ 0.97", "yes"]
    assert "not measured: no weights: tiny.en" in second


Ran = Callable[[Callable[[Bench], Iterator[Figure]]], tuple[int, dict[str, Any]]]


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Measures cuts by given figures, and colours, which have no table: exit status and JSON."""

    def run(figures: Callable[[Bench], Iterator[Figure]]) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(measuring, "tables", lambda: {"cut_analysis": Table(None, figures)})
        monkeypatch.setenv("TIKTOK_RAY_TEST_MEDIA", str(tmp_path))
        file = tmp_path / "b.json"
        code = main(["cut_analysis", "color_analysis", "--workers", "1", "--json", str(file)])
        return code, json.loads(file.read_text())

    return run


def test_the_board_is_written_as_json(ran: Ran, capsys: pytest.CaptureFixture[str]):
    def figures(bench):
        assert bench.share == 1.0
        yield Figure("F1", "hard cuts", "plain", "factory", 40, 0.982, 0.96, 1.0, least=0.97)
        raise Absent("no more clips")

    code, told = ran(figures)
    assert code == 0
    assert told["analyzers"]["cut_analysis"]["figures"][0]["holds"] is True
    assert told["analyzers"]["cut_analysis"]["not_measured"] == ["no more clips"]
    assert told["analyzers"]["color_analysis"]["not_measured"] == ["no table yet"]
    assert told["versions"]["scenedetect"]
    assert "Not measured: no table yet" in capsys.readouterr().out


def test_measuring_that_fails_takes_no_other_analyzer_along(
    ran: Ran, capsys: pytest.CaptureFixture[str]
):
    def figures(_):
        yield Figure("F1", "hard cuts", "plain", "factory", 40, 0.982, 0.96, 1.0)
        raise ZeroDivisionError("no frame")

    code, told = ran(figures)
    assert code == 1
    assert list(told["analyzers"]) == ["color_analysis"]
    assert "measuring failed: ZeroDivisionError: no frame" in capsys.readouterr().out


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board in a folder of its own."""
    for name in ("BOARD", "PAGE", "ERRORS", "ALL_FIELDS"):
        monkeypatch.setattr(_board, name, tmp_path / name)
    return tmp_path


def record(date: str, name: str, *figures: Figure) -> dict[str, object]:
    one = {"figures": [f._asdict() for f in figures], "rows": [], "not_measured": ["no weights: w"]}
    return {
        "date": date,
        "command": f"python -m benchmarks.accuracy {name}",
        "versions": {"python": "3.11"},
        "weights": {name: ["w.pt"]},
        "factory": {"edition": 1, "share": 1.0},
        "analyzers": {name: one},
    }


def test_what_a_run_measured_replaces_what_was_known_of_its_analyzers_alone(kept: Path):
    cut = Figure("F1 ±0", "cut", "all", "factory", 18, 0.99451, 0.98, 1.0, least=0.97)
    _board.keep(record("2026-11-01", "cut_analysis", cut, cut._replace(by="another", value=0.5)))
    _board.keep(record("2026-11-01", "color_analysis"))
    _board.keep(record("2026-11-02", "color_analysis"))
    told = _board.board()
    assert [told[n]["date"] for n in ("color_analysis", "cut_analysis")] == [
        "2026-11-02",
        "2026-11-01",
    ]
    assert _board.figures_of(told["cut_analysis"])[0] == cut._replace(value=0.9945)
    _board.publish()
    page = (kept / "PAGE").read_text()
    assert "| cut_analysis" not in page
    assert "0.995 | 0.980–1.000 | ≥ 0.97 | yes" in page
    beside = next(line for line in page.splitlines() if "0.500" in line and "≥" not in line)
    assert [cell.strip() for cell in beside.split("|")[1:-1]] == ["F1 ±0", "cut", "0.995", "0.500"]
    assert "w.pt" in page
    assert "Not measured: no weights: w." in page
    assert "## age_estimation\n\nNot measured: nobody has yet." in page
    assert json.loads((kept / "ERRORS").read_text()) == {
        "cut_analysis.transitions.new_shot": "F1 ±0 of cut, factory: 0.995 (0.980–1.000), "
        "n = 18 clips; 2026-11-01"
    }


@pytest.mark.usefixtures("kept")
def test_a_row_over_all_files_is_kept():
    told = record("2026-11-01", "color_analysis")
    rows = [Row("", "9 in all", "8 in all", None)]
    told["analyzers"]["color_analysis"]["rows"] = [row._asdict() for row in rows]  # type: ignore[index]
    _board.keep(told)
    assert _board.rows_of(_board.board()["color_analysis"]) == rows


def test_the_page_and_the_errors_of_fields_are_those_of_the_board():
    kept = _board.board()
    again = "run python -m benchmarks.accuracy --publish"
    assert _board.PAGE.read_text(encoding="utf-8") == _board.page(kept), again
    assert json.loads(_board.ERRORS.read_text(encoding="utf-8")) == _board.field_errors(kept), again
    assert _board.BOARD.read_text(encoding="utf-8") == _board.written(kept)


def test_no_machine_s_paths_are_published():
    assert "/tmp" not in _board.BOARD.read_text(encoding="utf-8")
    assert "/work" not in _board.BOARD.read_text(encoding="utf-8")


def test_a_share_of_things_is_spread_over_them(tmp_path: Path):
    assert Bench(tmp_path, tmp_path, share=0.3).some(range(10)) == [0, 3, 6]
    assert Bench(tmp_path, tmp_path, share=0.01).some("abc") == ["a"]
    assert Bench(tmp_path, tmp_path).some("abc") == ["a", "b", "c"]


def test_what_an_analyzer_can_do_without_may_be_kept_from_it(tmp_path: Path):
    from tiktok_ray.media.writer import write_clip

    grey = np.full((64, 64, 3), 90, np.uint8)
    clip = write_clip(tmp_path / "c.mp4", [grey] * 20 + [grey + 100] * 20, fps=20)
    bench = Bench(tmp_path, tmp_path)
    alone = bench.output("temporal_flow", clip, frozenset())
    with_camera = bench.output("temporal_flow", clip, frozenset({"camera_analysis"}))
    assert alone.pacing.motion is None
    assert with_camera.pacing.motion is not None
    assert bench.output("temporal_flow", clip, frozenset()) is alone
    assert ("text_overlay", clip.name) not in bench.seconds


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


@pytest.mark.slow
def test_analyzers_are_measured_in_processes_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TIKTOK_RAY_TEST_MEDIA", str(tmp_path))
    monkeypatch.setenv("TIKTOK_RAY_MODELS", str(tmp_path))
    file = tmp_path / "board.json"
    names = ["background_segmentation", "qwen2_vl_temporal"]
    words = [sys.executable, "-m", "benchmarks.accuracy", *names, "--workers", "2"]
    subprocess.run([*words, "--json", str(file)], check=True)
    told = json.loads(file.read_text())["analyzers"]
    assert list(told) == names
    assert all(one["seconds"] >= 0 and one["not_measured"] for one in told.values())


@pytest.mark.usefixtures("kept")
def test_what_took_longest_last_time_comes_first():
    for name, seconds in (("cut_analysis", 100), ("text_overlay", 300), ("body_pose", 200)):
        told = record("2026-11-01", name)
        told["analyzers"][name]["seconds"] = seconds  # type: ignore[index]
        told["factory"]["share"] = 0.25 if name == "cut_analysis" else 1.0  # type: ignore[index]
        _board.keep(told)
    names = ["body_pose", "color_analysis", "text_overlay", "cut_analysis"]
    assert measuring.longest_first(names) == [
        "cut_analysis", "text_overlay", "body_pose", "color_analysis",
    ]  # fmt: skip


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


def test_each_true_boundary_is_found_once_and_what_else_is_found_is_false():
    truth = cuts.Truth(Path("x"), "cut", "plain", 30.0, [(1.0, 1.0), (2.0, 2.5)], ["cut", "wipe"])
    assert cuts.counts(truth, [1.0, 2.2], 0) == (2, 0, 0)
    assert cuts.counts(truth, [1.0 + 1 / 30, 2.2, 2.3], 0) == (1, 2, 1)
    assert cuts.counts(truth, [1.0 + 1 / 30, 2.2, 2.3], 1) == (2, 1, 0)
    assert cuts.f1(np.array([[1.0, 2.0, 1.0]])) == pytest.approx(0.4)
    assert np.isnan(cuts.f1(np.zeros((2, 3))))
    assert cuts.overlap((2.0, 3.0), (2.5, 3.5)) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("ContentDetector", {}),
        ("AdaptiveDetector", {"adaptive_threshold": 2.0, "min_scene_len": 5}),
        ("HashDetector", {}),
        ("HistogramDetector", {"threshold": 0.1}),
        ("ThresholdDetector", {"threshold": 30}),
    ],
)
def test_peers_on_measures_say_what_they_say_of_the_pictures(tmp_path: Path, name, setting):
    import av
    import scenedetect

    from tiktok_ray.media.writer import write_clip

    rng = np.random.default_rng(0)
    shots = [np.kron(rng.integers(0, 256, (8, 6, 3)), np.ones((8, 8, 1))) for _ in range(4)]
    shots[2] *= 0.05
    made = [(shot * (1 - 0.01 * (k % 3))).astype(np.uint8) for shot in shots for k in range(20)]
    clip = write_clip(tmp_path / "c.mp4", made, fps=30)
    found = _peers.cuts(name, _peers.measures(clip, 30.0), setting)
    detector, theirs = getattr(scenedetect, name)(**setting), []
    with av.open(str(clip)) as container:
        for k, frame in enumerate(container.decode(video=0)):
            at = scenedetect.FrameTimecode(k, fps=30.0)
            theirs += detector.process_frame(at, frame.to_ndarray(format="bgr24"))
    assert found
    assert found == pytest.approx(sorted({cut.frame_num / 30 for cut in theirs}), abs=1e-3)


def test_palettes_are_held_against_true_colours():
    made: Any = SimpleNamespace
    grey = made(lab=(53.59, 0.0, 0.0), share=0.7)
    red = made(lab=(53.24, 80.09, 67.2), share=0.3)
    truth = [{"rgb": [128, 128, 128], "share": 0.6}, {"rgb": [255, 0, 0], "share": 0.4}]
    apart, off, right = colors.against(made(palette=[red, grey]), truth)
    assert apart == pytest.approx(0.0, abs=0.02)
    assert (off, right) == (pytest.approx(0.1), 1)
    apart, _, right = colors.against(made(palette=[grey]), truth)
    assert apart > 10
    assert right == 0
