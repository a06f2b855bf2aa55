"""The command line, in this process and over threads."""

import json

import pytest
from typer.testing import CliRunner

from tiktok_ray import placement
from tiktok_ray.cli import app, make_graph, make_workers
from tiktok_ray.settings import Settings

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
    assert "2 of 19 measured" in done.stderr
    assert "cut_analysis: ok" in done.stderr


def test_without_json_stdout_is_empty(run, clip, tmp_path):
    done = run("analyze", clip, *ONLY, "--out", tmp_path)
    assert done.exit_code == 0
    assert done.stdout == ""


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
    "words",
    [
        ["analyze"],
        ["analyze", "x.mp4", "--only", "cut_anlysis"],
        ["analyze", "x.mp4", "--set", "nonsense"],
        ["analyze", "x.mp4", "--workers", "elves"],
        ["frobnicate"],
    ],
)
def test_bad_usage_exits_2(run, words):
    done = run(*words)
    assert done.exit_code == 2
    assert "Traceback" not in done.stderr


def test_strict_exits_4_when_something_failed(run, clip, tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOK_RAY_LOAD_TIMEOUT_S", "0.001")
    done = run("analyze", clip, *ONLY, "--out", tmp_path, "--strict")
    assert done.exit_code == 4
    assert run("analyze", clip, *ONLY, "--out", tmp_path).exit_code == 0


def test_analyzers_and_graph_speak_json_and_words(run):
    rows = json.loads(run("analyzers", "--json").stdout)
    assert len(rows) == 19
    graph = json.loads(run("graph", "--json").stdout)
    assert {"from": "thumbs", "to": "cut_analysis", "soft": False} in graph["edges"]
    assert "thumbs --> cut_analysis" in run("graph").stdout
    assert "cut_analysis" in run("analyzers").stdout


def test_the_demo_clip_is_made_once(settings):
    from tiktok_ray.demo import demo_clip

    first = demo_clip(settings)
    made = first.stat().st_mtime_ns
    assert demo_clip(settings) == first
    assert first.stat().st_mtime_ns == made
    assert [p.name for p in first.parent.iterdir()] == [first.name]
