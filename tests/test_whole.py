"""Whole runs on real files, through real actors, with the weights at hand."""

import json
import os
import subprocess
import sys
import time

import pytest
from jsonschema import Draft202012Validator

from tiktok_ray.reporting import schema
from tiktok_ray.reporting.reading import Report

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(1500)]

ODD_REFUSED = {
    "empty.mp4": "empty",
    "text_not_video.mp4": "not_video",
    "truncated_no_moov.mp4": "not_video",
    "audio_only_jfk.mp4": "no_video",
    "mp3_with_cover.mp3": "no_video",
}


def command(*words, **env):
    return subprocess.run(
        [sys.executable, "-m", "tiktok_ray.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=600,
        # An answer out of the cache would prove nothing.
        env={**os.environ, "TIKTOK_RAY_CACHE_GIB": "0", **env},
    )


def leftovers():
    """Processes of Ray that outlive the command that started them."""
    import psutil

    found = []
    for process in psutil.process_iter(["name", "cmdline", "ppid"]):
        line = " ".join(process.info["cmdline"] or [])
        if process.info["ppid"] == 1 and (
            "raylet" in line or "ray::" in line or "gcs_server" in line
        ):
            found.append(line[:80])
    return found


async def test_every_odd_file_ends_in_a_report_or_a_typed_error(real_media, real_models, tmp_path):
    from tiktok_ray.compose import make_graph, make_workers
    from tiktok_ray.media import InputError
    from tiktok_ray.run.engine import Engine, Source
    from tiktok_ray.settings import Settings

    settings = Settings(models=real_models, home=tmp_path)
    graph = make_graph()
    workers = make_workers(graph, settings)
    engine = Engine(graph, workers, settings)
    refused, failed, slow = {}, {}, {}
    try:
        await engine.warm()
        first = real_media / "video/grid_bbaf2n.mpg"
        await engine.analyze(Source(first, first.name))
        for path in sorted((real_media / "odd").iterdir()):
            try:
                report = await engine.analyze(Source(path, path.name))
            except InputError as error:
                refused[path.name] = error.type
                continue
            failed |= {f"{path.name} {n}": report.analyzers[n].reason for n in report.failed()}
            assert len(report.analyzers) == 19
            if report.run.wall_s > 60:
                slow[path.name] = report.run.wall_s
    finally:
        await workers.close()
    assert refused == ODD_REFUSED
    assert failed == {}
    assert slow == {}


def test_the_composite_is_told_truly(real_media, real_models, tmp_path):
    truth = json.loads((real_media / "video/short_vertical_composite.truth.json").read_text())
    before = leftovers()
    done = command(
        "analyze", real_media / "video/short_vertical_composite.mp4", "--json", "--out", tmp_path,
        "--strict", TIKTOK_RAY_MODELS=str(real_models),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    Draft202012Validator(schema.report_schema()).validate(report)
    [file] = tmp_path.glob("*.json")
    read = Report.load(file)
    assert (read.remarks, read.plain()) == ((), report)
    events = report["timeline"]
    cuts = [e["start"] for e in events if e["kind"] == "cut"]
    assert cuts == [pytest.approx(t, abs=1 / 30) for t in truth["cuts_s"]]
    texts = {e["label"].upper(): e for e in events if e["kind"] == "text"}
    for segment in truth["segments"]:
        shown = texts[segment["caption"]]
        assert shown["start"] == pytest.approx(segment["start_s"], abs=0.3)
        assert shown["end"] == pytest.approx(segment["end_s"], abs=0.3)
    buses = [e for e in events if e["kind"] == "object" and e["label"] == "bus"]
    assert all(e["start"] >= 5.9 and e["end"] <= 9.1 for e in buses)
    assert buses
    silences = [(e["start"], e["end"]) for e in events if e["kind"] == "silence"]
    assert any(s <= 9.2 and e >= 13.8 for s, e in silences)
    assert [e["start"] for e in events] == sorted(e["start"] for e in events)
    assert not any(e["kind"] == "object" and e["label"] == "person" for e in events)
    deadline = time.monotonic() + 30
    while len(leftovers()) > len(before) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert len(leftovers()) <= len(before)


def test_the_demo_tells_the_truth_about_its_clip(tmp_path):
    done = command("demo", "--json", "--out", tmp_path, TIKTOK_RAY_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    from tiktok_ray.demo import compare

    lines = compare(json.loads(done.stdout))
    assert [line for line in lines if line.verdict == "wrong"] == []
    assert sum(line.verdict == "right" for line in lines) >= 13


@pytest.mark.parametrize("name", ["empty.mp4", "mp3_with_cover.mp3", "truncated_no_moov.mp4"])
def test_the_command_refuses_by_name(real_media, tmp_path, name):
    done = command("analyze", real_media / "odd" / name, "--json", "--out", tmp_path)
    assert done.returncode == 3
    assert done.stdout == ""
    assert ODD_REFUSED[name] in done.stderr
    assert "Traceback" not in done.stderr
