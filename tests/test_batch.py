"""Batches over threads: manifests, typed failures, resumption, quarantine and stopping."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests import fakes
from tests.conftest import scene
from tests.test_dataset import read
from tests.test_serve import served
from tiktok_ray.batch.dataset import Destination
from tiktok_ray.batch.manifest import Entry, entries, item_of
from tiktok_ray.batch.runner import (
    Batch,
    OwnFleet,
    Tally,
    alone_at,
    exit_code,
    run_batch,
    status_of,
)
from tiktok_ray.graph import Graph
from tiktok_ray.media import InputError
from tiktok_ray.media.writer import write_clip
from tiktok_ray.run.engine import CapacityError, Engine
from tiktok_ray.run.placement import plan
from tiktok_ray.run.threads import LocalWorkers
from tiktok_ray.serve.client import Through, service_here

ROOT = Path(__file__).parent.parent


def make_clips(folder, count, seconds=0.4):
    """Clips of different contents, named so that their order is that of their numbers."""
    for k in range(count):
        pictures = [scene(k)] * round(30 * seconds)
        tone = np.sin(2 * np.pi * (200 + 20 * k) * np.arange(int(48_000 * seconds)) / 48_000)
        write_clip(folder / f"c{k:02}.mp4", pictures, audio=(0.1 * tone).astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return make_clips(tmp_path_factory.mktemp("clips"), 6)


@pytest.fixture
def out(tmp_path):
    return Destination(tmp_path / "out")


def runner_of(settings, analyzers=(fakes.Plain, fakes.Listener)):
    graph = Graph(analyzers)
    workers = LocalWorkers(graph, plan(graph.analyzers.values(), settings), settings)
    return OwnFleet(Engine(graph, workers, settings), 2, [], [])


class Scripted:
    """A runner that does as a function of the source says, around a real one."""

    def __init__(self, settings, script, slots=2):
        self.inner, self.script, self.slots = runner_of(settings), script, slots
        self.asked, self.at_once, self.most = [], 0, 0

    async def analyze(self, source):
        self.asked.append(source.path.name)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.script(source.path.name)
            return await self.inner.analyze(source)
        finally:
            self.at_once -= 1

    async def close(self):
        await self.inner.close()


async def nothing(_):
    await asyncio.sleep(0)


async def go(manifest, out, settings, script=nothing, **more):
    runner = Scripted(settings, script)
    batch = Batch(list(manifest), out, runner, settings, **more)
    await batch.run()
    return batch, runner


def types(out):
    return {row["source"]: row["type"] for row in read(out, "failures")}


# Manifests


def sources(manifest, column=None):
    return [e.source for e in entries(str(manifest), column)]


def test_kinds_of_manifests(tmp_path, monkeypatch):
    lines = ["a.mp4", "https://x.org/b.mp4"]
    (tmp_path / "m.txt").write_text("# ours\n a.mp4 \n\nhttps://x.org/b.mp4\n")
    (tmp_path / "m.csv").write_text('n,URL\n1,a.mp4\n\n2,"https://x.org/b.mp4"\n')
    (tmp_path / "bare.csv").write_text("a.mp4,1\nhttps://x.org/b.mp4,2\n")
    (tmp_path / "m.jsonl").write_text('{"url": "a.mp4"}\n\n"https://x.org/b.mp4"\n{"n": 1}\n')
    pq.write_table(pa.table({"n": [1, 2], "path": lines}), tmp_path / "m.parquet")
    pq.write_table(pa.table({"n": lines}), tmp_path / "other.parquet")
    assert sources(tmp_path / "m.txt") == ["a.mp4", "", "https://x.org/b.mp4"]
    assert sources(tmp_path / "m.csv") == ["a.mp4", "", "https://x.org/b.mp4"]
    assert sources(tmp_path / "bare.csv") == lines
    assert sources(tmp_path / "m.jsonl") == ["a.mp4", "", "https://x.org/b.mp4", '{"n": 1}']
    assert sources(tmp_path / "m.parquet") == lines
    assert sources(tmp_path / "other.parquet", "n") == lines
    for bad in (tmp_path / "other.parquet", tmp_path / "none.txt"):
        with pytest.raises(InputError):
            sources(bad)
    with pytest.raises(InputError, match="'x'"):
        sources(tmp_path / "m.csv", "x")
    monkeypatch.setattr(sys, "stdin", ["a.mp4\n", "https://x.org/b.mp4\n"])
    assert sources("-") == lines


def test_a_folder_stands_for_its_media(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/b.mp4").touch()
    (tmp_path / "a.MOV").touch()
    (tmp_path / "notes.txt").touch()
    assert sources(tmp_path) == [str(tmp_path / "a.MOV"), str(tmp_path / "in/b.mp4")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no media"):
        sources(tmp_path / "empty")


def test_relative_paths_are_found_beside_the_manifest(tmp_path):
    (tmp_path / "here.mp4").touch()
    (tmp_path / "m.txt").write_text("here.mp4\ngone.mp4\n")
    here, gone = entries(str(tmp_path / "m.txt"))
    assert (here.source, here.place) == ("here.mp4", str(tmp_path / "here.mp4"))
    assert gone.place == "gone.mp4"
    assert here.item == item_of("here.mp4") != gone.item


# Runs


@pytest.mark.slow
async def test_every_video_ends_in_the_dataset(clips, out, settings):
    batch, runner = await go(entries(str(clips)), out, settings)
    assert (batch.tally.done, batch.tally.ended) == (6, 6)
    assert exit_code(batch, strict=True) == 0
    videos = read(out, "videos")
    assert sorted(v["source"] for v in videos) == [str(p) for p in sorted(clips.iterdir())]
    assert len(out.files("reports")) == len({v["video_id"] for v in videos}) == 6
    counted = {row["video_id"]: dict(row["figures"])["n"] for row in read(out, "analyzers")
               if row["analyzer"] == "plain"}  # fmt: skip
    assert set(counted.values()) == {12.0}
    assert runner.most == 2
    assert status_of(out)["state"] == "ended"
    assert out.files("state/running") == out.files("tmp") == []


@pytest.mark.slow
async def test_a_second_run_does_nothing(clips, out, settings):
    await go(entries(str(clips)), out, settings)
    before = {f: out.read(f"reports/{f}") for f in out.files("reports")}
    batch, runner = await go(entries(str(clips)), out, settings)
    assert runner.asked == []
    assert (batch.tally.before, batch.tally.done) == (6, 0)
    assert {f: out.read(f"reports/{f}") for f in out.files("reports")} == before


async def test_a_messy_manifest(clips, out, settings, tmp_path):
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "odd.mp4").write_text("these are words\n" * 40)
    (tmp_path / "copy.mp4").write_bytes((clips / "c00.mp4").read_bytes())
    (tmp_path / "broken.mp4").write_bytes((clips / "c00.mp4").read_bytes()[:3000])
    lines = [clips / "c00.mp4", "", clips / "c01.mp4", clips / "c00.mp4", "zero.mp4", "odd.mp4",
             "missing.mp4", "https://", "ftp://x.org/a.mp4", "http://127.0.0.1:1/a.mp4",
             "x" * 5000, "nul\0.mp4", tmp_path, "copy.mp4", "broken.mp4", ""]  # fmt: skip
    (tmp_path / "m.txt").write_text("\n".join(map(str, lines)) + "\n")
    for attempt in (1, 2):
        batch, runner = await go(entries(str(tmp_path / "m.txt")), out, settings)
        failed = read(out, "failures")
        found = sorted((row["position"], row["type"]) for row in failed)
        assert found == [
            (2, "blank"), (4, "duplicate"), (5, "empty"), (6, "not_video"), (7, "not_found"),
            (8, "unsupported"), (9, "unsupported"), (10, "refused"), (11, "not_found"),
            (12, "not_found"), (13, "not_video"), (14, "duplicate"), (15, found[12][1]),
            (16, "blank"),
        ]  # fmt: skip
        assert found[12][1] in ("not_video", "undecodable")
        assert len({row["item"] for row in failed}) == len(failed)
        assert all(row["reason"] and row["at"] for row in failed)
        assert {row["attempts"] for row in failed if row["type"] == "empty"} == {attempt}
        assert len(read(out, "videos")) == 2
        assert batch.tally.ended == batch.tally.total == 16
        assert exit_code(batch, strict=False) == 3
        assert runner.asked == (["c00.mp4", "c01.mp4", "broken.mp4"] if attempt == 1
                                else ["broken.mp4"])  # fmt: skip
    [copy] = [row for row in failed if row["position"] == 14]
    assert out.has(f"reports/{copy['video_id']}.json")


@pytest.mark.slow
async def test_what_was_mended_leaves_the_failures(clips, out, settings, tmp_path):
    late = tmp_path / "late.mp4"
    manifest = [Entry(1, str(late), str(late)), *entries(str(clips))]
    await go(manifest, out, settings)
    assert types(out) == {str(late): "not_found"}
    write_clip(late, [scene(50)] * 12)
    batch, runner = await go(manifest, out, settings)
    assert runner.asked == ["late.mp4"]
    assert types(out) == {}
    assert len(read(out, "videos")) == 7
    assert exit_code(batch, strict=False) == 0


async def test_of_equal_files_the_first_is_analyzed(clips, out, settings, tmp_path):
    copies = [tmp_path / f"{name}.mp4" for name in "abc"]
    for path in copies:
        path.write_bytes((clips / "c00.mp4").read_bytes())

    async def slowly(_):
        await asyncio.sleep(0.3)

    _, runner = await go(entries(str(tmp_path)), out, settings, slowly)
    assert runner.asked == ["a.mp4"]
    assert types(out) == {str(p): "duplicate" for p in copies[1:]}


async def test_when_the_first_of_equal_files_fails_the_next_is_tried(
    clips, out, settings, tmp_path
):
    for name in "ab":
        (tmp_path / f"{name}.mp4").write_bytes((clips / "c00.mp4").read_bytes())

    async def first_fails(name):
        await asyncio.sleep(0.1)
        if name == "a.mp4":
            raise ValueError("bad luck")

    await go(entries(str(tmp_path)), out, settings, first_fails)
    assert types(out) == {str(tmp_path / "a.mp4"): "internal"}
    assert [v["source"] for v in read(out, "videos")] == [str(tmp_path / "b.mp4")]


@pytest.mark.slow
async def test_no_room_ends_the_batch_and_keeps_what_is_done(clips, out, settings):
    async def full(name):
        if name == "c02.mp4":
            while not out.files("reports"):
                await asyncio.sleep(0.01)
            raise CapacityError("plain could not be placed")

    with pytest.raises(CapacityError):
        await go(entries(str(clips)), out, settings, full)
    assert 1 <= len(read(out, "videos")) < 6
    assert status_of(out)["state"] == "ruined"
    batch, _ = await go(entries(str(clips)), out, settings)
    assert batch.tally.ended == 6


@pytest.mark.slow
async def test_a_decoder_that_dies_in_three_runs_is_quarantined(clips, out, settings):
    async def deadly(name):
        if name == "c01.mp4":
            raise InputError("decoder_died", "the decoder died twice on this file", "")

    for expected in ("decoder_died", "decoder_died", "quarantined"):
        await go(entries(str(clips)), out, settings, deadly)
        assert types(out) == {str(clips / "c01.mp4"): expected}
    batch, runner = await go(entries(str(clips)), out, settings, deadly)
    assert runner.asked == []
    assert exit_code(batch, strict=False) == 3
    await go(entries(str(clips)), out, settings, retry_quarantined=True)
    assert types(out) == {}


@pytest.mark.slow
async def test_what_kills_the_driver_three_times_alone_is_quarantined(clips, out, settings):
    """Markers as deaths of the driver leave them, and what the next run makes of them."""
    killer, bystander = [
        e for e in entries(str(clips)) if e.source.endswith(("c00.mp4", "c03.mp4"))
    ]

    def die(*at_work):
        for entry in at_work:
            out.write(f"state/running/{entry.item}.json", b"{}")

    async def stop_first(_):
        raise CapacityError("the test ends this run here")

    die(killer, bystander)
    for deaths in (1, 2):
        with pytest.raises(CapacityError):
            await go([killer], out, settings, stop_first)
        die(killer)
        assert deaths < 3
    with pytest.raises(CapacityError):
        await go([killer], out, settings, stop_first)
    die(killer)
    _, runner = await go(entries(str(clips)), out, settings)
    assert str(clips / "c00.mp4") not in {v["source"] for v in read(out, "videos")}
    assert types(out) == {killer.source: "quarantined"}
    [row] = read(out, "failures")
    assert row["deaths"] == 3
    assert runner.asked[-1] == "c03.mp4", "a suspect runs after the others"
    assert len(read(out, "videos")) == 5


@pytest.mark.slow
async def test_an_entry_whose_report_was_written_is_not_blamed(clips, out, settings):
    batch, _ = await go(entries(str(clips)), out, settings)
    out.write(f"state/running/{next(entries(str(clips))).item}.json", b"{}")
    batch, runner = await go(entries(str(clips)), out, settings)
    assert (runner.asked, batch._deaths) == ([], {})


@pytest.mark.slow
@pytest.mark.parametrize(("number", "ended"), [(signal.SIGINT, 2), (signal.SIGTERM, 0)])
async def test_stopping_loses_nothing(clips, out, settings, number, ended):
    asked = 0

    async def stop_at_second(_):
        nonlocal asked
        asked += 1
        if asked == 2:
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.5)

    runner = Scripted(settings, stop_at_second)
    batch = await run_batch(list(entries(str(clips))), out, runner, settings)
    assert exit_code(batch, strict=False) == 128 + number
    if ended:
        assert len(runner.asked) == batch.tally.done == ended
    assert len(read(out, "videos")) == batch.tally.done < 6
    assert read(out, "failures") == []
    assert out.files("state/running") == []
    assert status_of(out)["state"] == "stopped"
    batch, _ = await go(entries(str(clips)), out, settings)
    assert batch.tally.ended == 6
    assert len({v["video_id"] for v in read(out, "videos")}) == 6


def test_one_batch_at_a_destination(out):
    program = (
        "import sys, time; from tiktok_ray.batch.runner import alone_at; "
        "from tiktok_ray.batch.dataset import Destination\n"
        f"with alone_at(Destination({out.name!r})): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert other.stdout.readline() == b"held\n"
        from tiktok_ray.batch.runner import Busy

        with pytest.raises(Busy, match="another batch"), alone_at(out):
            pass
    finally:
        other.kill()
        other.wait()
    with alone_at(out):
        pass


def test_the_status_of_a_dead_driver(out):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    facts = {"state": "running", "host": socket.gethostname(), "pid": process.pid,
             "updated": datetime.now(UTC).isoformat()}  # fmt: skip
    out.write("state/progress.json", json.dumps(facts).encode())
    assert status_of(out)["state"] == "died"
    out.write("state/progress.json", json.dumps({**facts, "pid": os.getpid()}).encode())
    assert status_of(out)["state"] == "running"


def test_what_is_left_is_told_by_all_that_ended():
    tally = Tally(total=110, before=10, done=11, first=1000.0)
    tally.failed["undecodable"] = 10
    tally.failed["quarantined"] = 9
    facts = tally.facts(1100.0)
    assert facts["videos_per_minute"] == 6.0
    assert facts["seconds_left"] == 350, "70 are left, 20 after the first took 100 s"
    assert Tally(total=5).facts(1000.0)["seconds_left"] is None


# Through the service


@pytest.mark.slow
async def test_a_batch_through_the_service(clips, out, settings, tmp_path):
    (tmp_path / "odd.mp4").write_bytes((clips / "c00.mp4").read_bytes()[:3000])
    manifest = [*entries(str(clips)), Entry(7, "odd", str(tmp_path / "odd.mp4"))]
    async with served(settings.model_copy(update={"queue": 1, "in_flight": 1})) as client:
        runner = Through("", settings, ["plain"], [], client)
        batch = Batch(manifest, out, runner, settings)
        await batch.run()
        jobs = (await client.get("/jobs")).json()["jobs"]
        kept = (await client.get("/results")).json()["results"]
    assert kept == [], "the service's store is for others"
    assert batch.tally.done == 6
    assert sorted(v["source"] for v in read(out, "videos")) == [e.source for e in manifest[:6]]
    assert types(out)["odd"] in ("undecodable", "not_video")
    assert [job["state"] for job in jobs].count("done") == 6
    statuses = {(r["analyzer"], r["status"]) for r in read(out, "analyzers")}
    assert statuses == {("plain", "ok"), ("softly", "skipped"), ("needy", "skipped")}


async def test_a_stopped_batch_cancels_its_jobs_at_the_service(clips, out, settings):
    hang = {"options": {"plain": {"how": "hang"}}, "timeout_factor": 600.0}
    slow = settings.model_copy(update=hang)
    async with served(slow, (fakes.Behaved,)) as client:
        runner = Through("", settings, [], [], client)
        batch = Batch(list(entries(str(clips))), out, runner, settings)
        running = asyncio.create_task(batch.run())
        while not (await client.get("/jobs", params={"state": "running"})).json()["jobs"]:
            await asyncio.sleep(0.05)
        batch.stop(signal.SIGTERM)
        await running
        while {job["state"] for job in (await client.get("/jobs")).json()["jobs"]} != {"cancelled"}:
            await asyncio.sleep(0.05)
    assert batch.tally.done == 0


def test_the_service_is_found_by_its_note(settings):
    assert service_here(settings) is None
    settings.home.mkdir(parents=True)
    note = settings.home / "service.json"
    own = psutil.Process()
    facts = {"pid": own.pid, "started": own.create_time(), "url": "http://127.0.0.1:8003"}
    note.write_text(json.dumps(facts))
    assert service_here(settings) == "http://127.0.0.1:8003"
    note.write_text(json.dumps(facts | {"started": own.create_time() - 100}))
    assert service_here(settings) is None
    note.write_text("[]")
    assert service_here(settings) is None


# The command


def run_cli(*words, module="tiktok_ray.batch", **more):
    command = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, **more)


@pytest.mark.slow
def test_the_command(clips, tmp_path, monkeypatch):
    from tiktok_ray.cli import app

    monkeypatch.setenv("TIKTOK_RAY_HOME", str(tmp_path / "home"))
    only = ("--workers", "threads", "--only", "audio_analysis")
    manifest = tmp_path / "m.txt"
    manifest.write_text(f"{clips / 'c00.mp4'}\nnowhere.mp4\n")
    done = run_cli(manifest, "--out", tmp_path / "out", *only)
    assert done.returncode == 3, done.stderr
    assert "failed: nowhere.mp4: not_found" in done.stderr
    shown = CliRunner().invoke(app, ["batch", "status", str(tmp_path / "out")])
    assert "ended: 2 of 2 entries, 1 videos" in shown.stdout
    assert "failed: 1 not_found" in shown.stdout
    told = CliRunner().invoke(app, ["batch", "status", str(tmp_path / "out"), "--json"])
    assert json.loads(told.stdout)["failed_by_type"] == {"not_found": 1}
    assert CliRunner().invoke(app, ["batch", "status", str(tmp_path / "no")]).exit_code == 2
    assert CliRunner().invoke(app, ["batch", str(tmp_path / "no.txt"), "--out", "x"]).exit_code == 3
    assert CliRunner().invoke(app, ["batch", str(manifest)]).exit_code == 2


def union(folder):
    """What a run has found, without times: reports and rows by video."""
    where = Destination(folder)
    kept = {}
    for file in where.files("reports"):
        report = json.loads(where.read(f"reports/{file}"))
        outputs = {n: s.get("output") for n, s in report["analyzers"].items()}
        kept[file] = (report["video"], outputs, report["timeline"])
    rows = sorted((r["video_id"], r["source"], r["item"]) for r in read(where, "videos"))
    events = sorted(json.dumps(r, sort_keys=True) for r in read(where, "timeline"))
    return kept, rows, events


def until_work(folder, driver, reports):
    """Wait until that driver works on the destination, and there are so many reports."""
    while driver.poll() is None:
        facts = status_of(Destination(folder))
        there = len(list((folder / "reports").glob("*.json")))
        if facts and facts["pid"] == driver.pid and there >= reports:
            return
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_kills_at_random_moments(tmp_path):
    """SIGKILL of the driver ten times: the union is that of an undisturbed run."""
    clips = make_clips(tmp_path / "clips", 60, seconds=3.0)
    env = {**os.environ, "TIKTOK_RAY_HOME": str(tmp_path / "home"), "TIKTOK_RAY_CACHE_GIB": "0"}
    words = [str(clips), "--workers", "threads", "--only", "cut_analysis,audio_analysis"]
    whole = run_cli(*words, "--out", tmp_path / "whole", env=env)
    assert whole.returncode == 0, whole.stderr
    facts = status_of(Destination(tmp_path / "whole"))
    begun, ended = (datetime.fromisoformat(facts[key]) for key in ("begun", "updated"))
    at_work_s = (ended - begun).total_seconds()
    seed = random.randrange(10**6)
    rng = random.Random(seed)
    command = [sys.executable, "-m", "tiktok_ray.batch", *words, "--out", str(tmp_path / "hurt")]
    kills, progress = 0, []
    for number in range(10):
        driver = subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.DEVNULL)
        # Every third death comes before there is anything new, the others while reports come.
        new = (progress or [0])[-1] + rng.randrange(1, 8) if number % 3 else 0
        until_work(tmp_path / "hurt", driver, new)
        try:
            driver.wait(rng.random() * at_work_s / 30)
        except subprocess.TimeoutExpired:
            driver.kill()
            driver.wait()
            kills += 1
        progress.append(len(list((tmp_path / "hurt/reports").glob("*.json"))))
    last = run_cli(*words, "--out", tmp_path / "hurt", env=env)
    print(f"seed {seed}: {kills} kills, reports after each: {progress}")
    assert last.returncode == 0, last.stderr
    assert kills >= 5
    assert len(set(progress)) > 3, "the kills came while it worked"
    assert union(tmp_path / "hurt") == union(tmp_path / "whole")
    left = {p.relative_to(tmp_path / "hurt") for p in (tmp_path / "hurt").rglob("*") if p.is_file()}
    assert {p.parts[0] for p in left} == {"reports", "dataset", "state"}
    assert {p.name for p in left if p.parts[0] == "state"} == {"lock", "progress.json"}
    assert not any((tmp_path / "home/batch").iterdir())
