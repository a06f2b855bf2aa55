"""The command line, in this process and over threads."""

import itertools
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from tiktok_ray.cli import app
from tiktok_ray.compose import make_graph, make_workers
from tiktok_ray.run import placement
from tiktok_ray.settings import Settings, UnknownSetting

ONLY = ["--workers", "threads", "--only", "cut_analysis,audio_analysis"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOK_RAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TIKTOK_RAY_MODELS", str(tmp_path / "models"))

    def invoke(*words):
        return CliRunner().invoke(app, [str(w) for w in words])

    return invoke


@pytest.mark.parametrize(
    ("chosen", "single", "cards", "address", "kind"),
    [
        ("auto", True, 0, None, "threads"),
        ("auto", True, 1, None, "ray"),
        ("auto", False, 0, None, "ray"),
        ("auto", True, 0, "127.0.0.1:6379", "ray"),
        ("ray", True, 0, None, "ray"),
        ("threads", False, 1, None, "threads"),
    ],
)
def test_where_analyzers_run(monkeypatch, tmp_path, chosen, single, cards, address, kind):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    here = [placement.Card(n, 16.0) for n in range(cards)]
    monkeypatch.setattr(placement, "cards_here", lambda settings: here)
    settings = Settings(models=tmp_path, workers=chosen)
    assert make_workers(make_graph(), settings, single=single).kind == kind


def test_analyze_writes_the_report_and_json_stands_alone_on_stdout(run, clip, tmp_path):
    done = run("analyze", clip, *ONLY, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    [written] = (tmp_path / "out").iterdir()
    assert json.loads(written.read_text()) == report
    assert written.stem == report["video"]["id"]
    assert len(report["analyzers"]) == 19
    assert report["analyzers"]["cut_analysis"]["status"] == "ok"
    assert [e["start"] for e in report["timeline"] if e["kind"] == "cut"] == [
        pytest.approx(1.0, abs=0.001)
    ]
    assert report["analyzers"]["color_analysis"]["reason"] == "not selected"
    assert "2 of 2 measured" in done.stderr
    assert "cut_analysis: ok" in done.stderr


@pytest.mark.usefixtures("in_this_process")
def test_without_json_stdout_is_empty(run, clip, tmp_path):
    done = run("analyze", clip, *ONLY, "--out", tmp_path)
    assert done.exit_code == 0
    assert done.stdout == ""


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "not_found"),
        (lambda p: p.write_bytes(b""), "empty"),
        (lambda p: p.write_text("words"), "not_video"),
        (lambda p: p.mkdir(), "not_video"),
    ],
)
def test_bad_input_exits_3_and_names_the_cause(run, tmp_path, make, words):
    path = tmp_path / "x.mp4"
    make(path)
    done = run("analyze", path, *ONLY)
    assert done.exit_code == 3
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["analyze"], "missing argument"),
        (["analyze", ""], "give a file or a url"),
        (["analyze", "  "], "give a file or a url"),
        (["analyze", "CLIP", "CLIP"], "unexpected extra argument"),
        (["analyze", "CLIP", "--onyl", "cut_analysis"], "no such option"),
        (
            ["analyze", "CLIP", "--only", "cut_anlysis"],
            "unknown analyzer 'cut_anlysis'; did you mean cut_analysis?",
        ),
        (["analyze", "CLIP", "--only", ""], "at least one analyzer"),
        (["analyze", "CLIP", "--without", " , "], "at least one analyzer"),
        (["analyze", "CLIP", "--only", ""], "age_estimation, audio_analysis"),
        (["analyze", "CLIP", "--out", ""], "name a folder with --out"),
        (["analyze", "CLIP", "--set", "nonsense"], "not in the form"),
        (["analyze", "CLIP", "--set", "nonsense"], "analyzers --options"),
        (["analyze", "CLIP", "--set", "object_detection.fsp=3"], "its options: detector, fps"),
        (["analyze", "CLIP", "--set", "cut_analysis.nope=3"], "invalid options of cut_analysis"),
        (["analyze", "CLIP", "--set", "cut_anlysis.x=3"], "did you mean cut_analysis?"),
        (["analyze", "CLIP", "--workers", "elves"], "'ray'"),
        (["analyze", "CLIP", "--describer", "gpt"], "'qwen2-vl', 'qwen2.5-vl'"),
        (["analyze", "CLIP", "--out", "CLIP/below"], "cannot be written to"),
        (["frobnicate"], "no such command"),
    ],
)
def test_bad_usage_exits_2_before_any_work(run, clip, monkeypatch, words, said):
    def refuse(*_, **__):
        raise AssertionError("a process was started")

    monkeypatch.setattr("tiktok_ray.run.processes._spawn", refuse)
    done = run(*(word.replace("CLIP", str(clip)) for word in words))
    assert done.exit_code == 2
    within_its_frame = done.stderr.lower().replace("│", " ")
    assert said in " ".join(within_its_frame.split())
    assert "traceback" not in done.stderr.lower()
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TIKTOK_RAY_CROES", "TIKTOK_RAY_CORES"),
        ("TIKTOK_RAY_MODEL", "TIKTOK_RAY_MODELS"),
        ("TIKTOK_RAY_TRACKS__DENSE_FSP", "TIKTOK_RAY_TRACKS__DENSE_FPS"),
        ("tiktok_ray_max_pixel", "TIKTOK_RAY_MAX_PIXELS"),
    ],
)
@pytest.mark.parametrize("command", [["plan", "--cpu"], ["models", "list"], ["doctor"]])
def test_a_misspelt_setting_is_an_error_that_names_the_nearest(
    run, monkeypatch, command, name, meant
):
    monkeypatch.setenv(name, "1")
    done = run(*command)
    assert done.exit_code == 2
    assert done.stderr == f"error: unknown setting {name}; did you mean {meant}?\n"


def test_the_version_and_help_are_where_one_looks_for_them(run):
    assert run("--version").stdout == run("version").stdout
    assert "analyze" in run("-h").stdout
    assert "--only" in run("analyze", "-h").stdout


def test_settings_given_by_name_are_checked_too():
    with pytest.raises(UnknownSetting, match="unknown setting core; did you mean cores"):
        Settings(core=2)


def test_whatever_is_raised_ends_in_words_and_a_traceback_in_the_log(
    run, clip, tmp_path, monkeypatch
):
    def broken(*_, **__):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("tiktok_ray.compose.make_workers", broken)
    done = run("analyze", clip, "--out", tmp_path)
    assert done.exit_code == 3
    assert "error: internal: ZeroDivisionError: by zero" in done.stderr
    assert "Traceback" not in done.stderr
    [line] = (tmp_path / "home" / "logs" / "service.jsonl").read_text().splitlines()
    assert "in broken" in json.loads(line)["trace"]


@pytest.mark.usefixtures("in_this_process")
def test_a_smaller_report_never_replaces_a_fuller_one(run, clip, tmp_path):
    run("analyze", clip, *ONLY, "--out", tmp_path / "out")
    [full] = (tmp_path / "out").iterdir()
    before = full.read_text()
    done = run("analyze", clip, *ONLY[:2], "--only", "cut_analysis", "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert full.read_text() == before
    assert (tmp_path / "out" / f"{full.stem}-2.json").is_file()
    assert "was left unchanged: it also contains audio_analysis" in done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_a_second_run_says_what_it_knows_already(run, clip, tmp_path):
    def sections(*more):
        done = run("analyze", clip, *ONLY, "--out", tmp_path / "out", "--json", *more)
        assert done.exit_code == 0, done.stderr
        found = json.loads(done.stdout)["analyzers"]
        chosen = [found["cut_analysis"], found["audio_analysis"]]
        return [s.get("cached") for s in chosen], [s["output"] for s in chosen], done.stderr

    cold, first, _ = sections("--no-cache")
    assert cold == [None, None]
    assert not list((tmp_path / "home" / "cache").glob("*.json"))
    assert sections()[0] == [None, None], "the first run kept nothing"
    known, second, words = sections()
    assert known == [True, True]
    assert second == first
    assert "cached" in words
    assert sections("--no-cache")[0] == [None, None]
    changed = sections("--set", "audio_analysis.silence_lufs=-40")[0]
    assert changed == [True, None], "other options make another output"


@pytest.mark.usefixtures("in_this_process")
def test_strict_exits_4_when_something_failed(run, clip, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("bad checkpoint")

    monkeypatch.setattr("actors.cut_analysis.CutAnalysis.load", broken)
    done = run("analyze", clip, *ONLY, "--out", tmp_path, "--strict")
    assert done.exit_code == 4
    assert run("analyze", clip, *ONLY, "--out", tmp_path).exit_code == 0


@pytest.mark.usefixtures("in_this_process")
def test_names_given_one_after_the_other_are_all_kept(run, clip, tmp_path):
    twice = ["--only", "cut_analysis", "--only", "audio_analysis"]
    done = run("analyze", clip, *ONLY[:2], *twice, "--out", tmp_path, "--json")
    sections = json.loads(done.stdout)["analyzers"]
    assert {n for n, s in sections.items() if s["status"] == "ok"} == {
        "cut_analysis", "audio_analysis",
    }  # fmt: skip


def test_what_can_be_set_is_listed(run):
    rows = {
        row["option"]: row for row in json.loads(run("analyzers", "--options", "--json").stdout)
    }
    assert rows["object_detection.fps"]["default"] == "5.0"
    assert "yolov8, rt-detr, d-fine" in rows["object_detection.detector"]["about"]


@pytest.mark.usefixtures("in_this_process")
def test_what_was_found_comes_first_and_missing_weights_in_one_line(run, clip, tmp_path):
    names = "cut_analysis,qwen2_vl_temporal,background_segmentation"
    done = run("analyze", clip, *ONLY[:2], "--only", names, "--out", tmp_path)
    said = done.stderr[done.stderr.index("What it is.") :]
    assert said.index("What it is.") < said.index("Shots") < said.index("analyzer ")
    (line,) = [line for line in said.splitlines() if "weights not installed" in line]
    assert line.startswith("1 of 3 measured")
    assert "background_segmentation, qwen2_vl_temporal; to get them: tiktok-ray models pull" in line


def test_analyzers_and_graph_speak_json_and_words(run):
    rows = json.loads(run("analyzers", "--json").stdout)
    assert len(rows) == 19
    graph = json.loads(run("graph", "--json").stdout)
    assert {"from": "thumbs", "to": "cut_analysis", "soft": False} in graph["edges"]
    assert "thumbs --> cut_analysis" in run("graph").stdout
    assert "cut_analysis" in run("analyzers").stdout


def test_the_demo_clip_is_made_once(settings, monkeypatch):
    """Its first half second; the whole is analyzed in the slow tier."""
    from tiktok_ray import demo
    from tiktok_ray.demo import demo_clip

    frames = list(itertools.islice(demo.pictures(), 15))
    monkeypatch.setattr(demo, "pictures", lambda: frames)
    monkeypatch.setattr(demo, "sound", lambda: np.zeros(demo.RATE // 2, np.float32))
    first = demo_clip(settings)
    made = first.stat().st_mtime_ns
    assert demo_clip(settings) == first
    assert first.stat().st_mtime_ns == made
    assert [p.name for p in first.parent.iterdir()] == [first.name]
