"""Child processes: what goes wrong in one stays there, and the next video runs clean."""

import asyncio
import os
import signal
import sys
import textwrap
import threading

import numpy as np
import psutil
import pytest

from tests import fakes
from tiktok_ray.first_imports import alone, leave_behind
from tiktok_ray.graph import Graph
from tiktok_ray.media import Frames, InputError, track_files
from tiktok_ray.run.engine import Engine, Source
from tiktok_ray.run.placement import plan
from tiktok_ray.run.processes import SHARED, ProcessWorkers, how_it_ended

MODES = pytest.mark.parametrize("mode", ["threads", "processes"])
INNOCENT = (fakes.Plain, fakes.Softly, fakes.Needy, fakes.Listener)


@pytest.fixture
def no_child_is_left(request):
    """Children of this process that were not there before are gone afterwards; Ray's take longer."""
    before = set(psutil.Process().children())
    yield
    if "ray" not in request.node.name:
        assert set(psutil.Process().children()) <= before


def engine_for(analyzers, settings, mode):
    graph = Graph(analyzers)
    made = plan(graph.analyzers.values(), settings)
    if mode == "ray":
        from tiktok_ray.run.ray_actors import Fleet

        return Engine(graph, Fleet(graph, made, settings), settings)
    workers = ProcessWorkers(graph, made, settings, shared=mode == "threads")
    return Engine(graph, workers, settings)


@pytest.mark.slow
@MODES
@pytest.mark.usefixtures("no_child_is_left")
async def test_a_video_through_child_processes(clip, settings, mode):
    engine = engine_for(INNOCENT, settings, mode)
    try:
        report = await engine.analyze(Source(clip, "clip.mp4"))
    finally:
        await engine.workers.close()
    assert {s.status for s in report.analyzers.values()} == {"ok"}
    assert report.analyzers["needy"].output == fakes.Sum(n=61)
    assert report.run.workers == mode


#: Of the faults, those that two videos meet in the fast tier; the slow one's meet all twice. A
#: process ends the same way for the one as for the other, whether in a load or at work.
ONCE = tuple(name for name in fakes.FAULTS if name not in ("load_exits", "analyze_aborts"))
AGAIN = ("analyze_raises", "analyze_exits", "load_raises")
ALL = tuple(fakes.FAULTS)


@pytest.mark.parametrize(
    ("mode", "met"),
    [
        ("threads", (ONCE, AGAIN)),
        pytest.param("threads", (ALL, ALL), marks=pytest.mark.slow, id="threads-all"),
        pytest.param("processes", (ALL, ALL), marks=pytest.mark.slow),
        pytest.param("ray", (ALL, ALL), marks=[pytest.mark.slow, pytest.mark.ray]),
    ],
)
@pytest.mark.usefixtures("no_child_is_left")
async def test_every_fault_stays_with_whom_it_belongs_to(clip, settings, mode, met):
    settings = settings.model_copy(update={"load_timeout_s": 6.0})
    engine = engine_for((*INNOCENT, *fakes.FAULTS.values()), settings, mode)
    died = "its process died twice: " + ("Actor" if mode == "ray" else "ended ")
    expected = {
        "analyze_raises": ("failed", "ValueError: broken inside"),
        "analyze_asks_to_exit": ("failed", "SystemExit: 3"),
        "analyze_hangs": ("timed_out", "timed out after 1 s"),
        "analyze_exits": ("failed", died + ("" if mode == "ray" else "with exit status 3")),
        "analyze_aborts": ("failed", died + ("" if mode == "ray" else "by SIGABRT")),
        "load_raises": ("failed", "load: ValueError: broken inside"),
        "load_asks_to_exit": ("failed", "load: SystemExit: 3"),
        "load_hangs": ("failed", "load: timed out after 6 s"),
        "load_exits": ("failed", f"load: {died}" + ("" if mode == "ray" else "with exit status 3")),
        "load_aborts": ("failed", f"load: {died}" + ("" if mode == "ray" else "by SIGABRT")),
    }
    innocent = [a.name for a in INNOCENT]
    try:
        for faults in met:
            source = Source(clip, "clip.mp4")
            report = await engine.analyze(source, only=[*innocent, *faults])
            told = {name: (s.status, s.reason or "") for name, s in report.analyzers.items()}
            assert {told[name][0] for name in innocent} == {"ok"}, told
            for name in faults:
                status, reason = told[name]
                assert (status, reason[: len(expected[name][1])]) == expected[name]
                assert status == "failed" or reason == expected[name][1]
                assert "ray::" not in reason
                assert "\x1b" not in reason
    finally:
        await engine.workers.close()


def test_who_is_left_behind_takes_nobodys_turn():
    """Those who wait go on, one at a time, also when the one who hung comes to an end after all."""
    order, came = [], threading.Condition()
    free = {name: threading.Event() for name in ("hung", "second", "third")}

    def enter(name):
        with alone():
            with came:
                order.append(name)
                came.notify_all()
            free[name].wait(60)

    def there(*names):
        with came:
            return came.wait_for(lambda: order == list(names), 60)

    threads = {name: threading.Thread(target=enter, args=(name,), daemon=True) for name in free}
    threads["hung"].start()
    assert there("hung")
    threads["second"].start()
    leave_behind(threads["second"].ident)  # who only waits is not inside
    assert order == ["hung"]
    leave_behind(threads["hung"].ident)
    assert there("hung", "second")
    free["hung"].set()
    threads["hung"].join(60)
    threads["third"].start()
    threads["third"].join(0.1)
    assert order == ["hung", "second"]
    free["second"].set()
    assert there("hung", "second", "third")
    free["third"].set()
    threads["third"].join(60)


@pytest.mark.slow
@pytest.mark.usefixtures("no_child_is_left")
async def test_nobody_waits_for_a_load_that_hangs_in_a_shared_child(settings):
    """Neither who is made there meanwhile, nor who was made before and is still to load."""
    settings = settings.model_copy(update={"load_timeout_s": 1.0})
    hanging, first, second = "load_hangs", "plain", "softly"
    workers = engine_for((*INNOCENT, fakes.FAULTS[hanging]), settings, "threads").workers
    try:
        await workers.start([hanging, first, second])
        shared = workers._child(SHARED)
        await workers._make(first, shared)
        await workers._make(hanging, shared)
        overdue = asyncio.create_task(workers.load(hanging))
        while not shared._waiting:
            await asyncio.sleep(0)
        await shared.call("ping", limit_s=30.0)
        waiting = asyncio.gather(
            shared.call("load", first, limit_s=60.0), workers._make(second, shared)
        )
        with pytest.raises(TimeoutError):
            await overdue
        loaded, _ = await waiting
        assert loaded.status == "ok"
    finally:
        await workers.close()


#: What may be wrong with a decoder: how, the type of the error, and words of it.
DECODERS = {
    "raises": ("raise ValueError('no such layout')", "undecodable", "ValueError: no such layout"),
    "leaves": ("raise SystemExit(1)", "undecodable", "SystemExit: 1"),
    "exits": ("os._exit(3)", "decoder_died", "ended with exit status 3"),
    "aborts": ("os.abort()", "decoder_died", "ended by SIGABRT"),
}


def in_children(folder, code, module="tiktok_ray.run.child"):
    """Have our child processes run that before all else: Python imports this module as it starts.
    ``module``: who is to run it; of a command its forked children know it, too."""
    (folder / "sitecustomize.py").write_text(
        f"import sys\nif {module!r} in sys.orig_argv:\n{textwrap.indent(code, '    ')}\n"
    )


def decoding_badly(faults):
    """Code by which files of those names meet those faults when they are decoded."""
    return (
        "import os, time\n"
        "from tiktok_ray import media\n"
        "whole = media.decode\n"
        "def decode(path, *more, **named):\n"
        f"    exec({faults!r}.get(path.stem, ''))\n"
        "    return whole(path, *more, **named)\n"
        "media.decode = decode\n"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("no_child_is_left")
async def test_a_decoder_that_goes_wrong_is_the_requests_error_and_no_more(
    clip, settings, tmp_path, monkeypatch
):
    in_children(tmp_path, decoding_badly({name: fault for name, (fault, *_) in DECODERS.items()}))
    monkeypatch.syspath_prepend(str(tmp_path))
    engine = engine_for([fakes.Plain], settings, "threads")
    try:
        for name, (_, type, words) in DECODERS.items():
            bad = tmp_path / f"{name}.mp4"
            bad.write_bytes(clip.read_bytes())
            with pytest.raises(InputError) as raised:
                await engine.analyze(Source(bad, bad.name))
            assert raised.value.type == type
            assert words in str(raised.value)
            report = await engine.analyze(Source(clip, "clip.mp4"))
            assert report.analyzers["plain"].status == "ok"
    finally:
        await engine.workers.close()


@pytest.mark.slow
@pytest.mark.usefixtures("no_child_is_left")
async def test_a_decoder_that_hangs_is_ended(clip, settings, tmp_path, monkeypatch):
    in_children(tmp_path, decoding_badly({"bad": "time.sleep(600)"}))
    monkeypatch.syspath_prepend(str(tmp_path))
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(clip.read_bytes())
    short = settings.model_copy(update={"decode_timeout_s": 1.0})
    engine = engine_for([fakes.Plain], short, "threads")
    try:
        with pytest.raises(InputError, match="decoding took longer than 1 s") as raised:
            await engine.analyze(Source(bad, "bad.mp4"))
        assert raised.value.type == "decode_timeout"
        engine.settings = engine.workers.settings = settings  # the next one has its time
        report = await engine.analyze(Source(clip, "clip.mp4"))
        assert report.analyzers["plain"].status == "ok"
    finally:
        await engine.workers.close()


async def test_children_end_with_their_parent(clip, tmp_path, monkeypatch):
    """Also when that is killed in the middle of the work, and they take the tracks along."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = (
        "import asyncio\n"
        "from pathlib import Path\n"
        "from tests import fakes\n"
        "from tests.test_processes import engine_for\n"
        "from tiktok_ray.settings import Settings\n"
        "async def main():\n"
        f"    settings = Settings(home=Path({str(tmp_path)!r}))\n"
        "    engine = engine_for([fakes.Plain], settings, 'processes')\n"
        "    await engine.workers.start(['plain'])\n"
        "    await engine.workers.load('plain')\n"
        f"    tracks = await engine.workers.decode(Path({str(clip)!r}), ['thumbs'])\n"
        "    print('ready', flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"ready\n"
    children = psutil.Process(parent.pid).children()
    assert len(children) == 2
    assert len(list(tmp_path.glob("tiktok-ray-tracks-*/*.track"))) == 2  # thumbs, video
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert list(tmp_path.glob("tiktok-ray-tracks-*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_command_that_is_told_to_end_leaves_nothing(clip, tmp_path, monkeypatch, number):
    """Whether the signal reaches the command alone or, as here, its children too.

    An analyzer is at work when it comes, and would be for ten minutes.
    """
    in_children(
        tmp_path,
        "import functools, time\n"
        "from actors.cut_analysis import CutAnalysis\n"
        "wrapped = functools.wraps(CutAnalysis.analyze)\n"
        "CutAnalysis.analyze = wrapped(lambda *_, **__: time.sleep(600))\n",
        "tiktok_ray.cli",
    )
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("TIKTOK_RAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), *filter(None, sys.path))))
    words = ["analyze", clip, "--only", "cut_analysis", "--workers", "threads", "--no-cache"]
    words += ["--out", tmp_path / "out"]
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tiktok_ray.cli", *map(str, words),
        stderr=asyncio.subprocess.PIPE, start_new_session=True,
        # Whoever started the tests in the background had them ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert command.stderr is not None
    async for line in command.stderr:
        if b"cut_analysis: running" in line:
            break
    assert len(list(tmp_path.glob("tiktok-ray-tracks-*/*.track"))) > 0
    os.killpg(command.pid, number)
    said = await command.stderr.read()
    assert await command.wait() in (128 + number, 130), said
    assert b"Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.killpg(command.pid, 0)
    assert list(tmp_path.glob("tiktok-ray-*")) == []


@pytest.mark.slow
async def test_no_room_for_the_tracks_is_a_typed_error(clip, settings, monkeypatch):
    engine = engine_for([fakes.Plain], settings, "threads")
    monkeypatch.setattr(engine.workers, "_folder", settings.home / "nowhere" / "tracks")
    try:
        with pytest.raises(InputError, match="cannot be written to .*nowhere") as raised:
            await engine.analyze(Source(clip, "clip.mp4"))
    finally:
        await engine.workers.close()
    assert raised.value.type == "no_room"
    assert "TMPDIR" in raised.value.advice


@pytest.mark.slow
async def test_a_file_whose_name_is_not_utf_8(clip, settings, tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4")
    os.link(clip, odd)
    engine = engine_for([fakes.Plain], settings, "threads")
    try:
        report = await engine.analyze(Source(type(clip)(odd), odd))
    finally:
        await engine.workers.close()
    assert report.analyzers["plain"].status == "ok"
    assert report.video.source.endswith("caf\\xe9.mp4")
    assert "caf\\\\xe9.mp4" in report.to_json()


def test_tracks_survive_the_way_through_a_file_and_are_read_only(tmp_path):
    i420 = np.arange(3 * 6 * 4, dtype=np.uint8).reshape(3, 6, 4)
    track = Frames(np.array([0.0, 0.5, 1.0]), i420, 1.5)
    written = track_files.write(track, tmp_path)
    read = written.open()
    assert np.array_equal(read.i420, i420)
    assert read.times.tolist() == [0.0, 0.5, 1.0]
    assert not read.i420.flags.writeable
    assert track_files.write(Frames(np.zeros(0), i420[:0], 0.0), tmp_path).open().i420.shape == (
        0, 6, 4,
    )  # fmt: skip
    path = written.path
    del written
    assert path.exists(), "only who keeps it removes it"
    track_files.TrackFile(path).keep()
    assert not path.exists()


def test_how_a_process_ended_is_said_in_words():
    assert how_it_ended(-signal.SIGSEGV) == "ended by SIGSEGV"
    assert how_it_ended(3) == "ended with exit status 3"
    assert how_it_ended(-63) == "ended by signal 63"
