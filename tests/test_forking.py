"""Children forked ahead: they answer like any other, and none is forked where threads are."""

import json
import os
import subprocess
import sys
import textwrap

import psutil
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forked on Linux only")

START = """
import asyncio, json, os, signal, sys, threading
from pathlib import Path
from tests import fakes
from tests.test_processes import engine_for
from tiktok_ray.run import forking
from tiktok_ray.run.engine import Source
from tiktok_ray.settings import Settings
clip, home = sys.argv[1:]
settings = Settings(home=Path(home))
children = lambda: len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
"""


def said(clip, home, program):
    """What a fresh process without threads says, which runs that after ``START``."""
    done = subprocess.run(
        [sys.executable, "-c", START + textwrap.dedent(program), str(clip), str(home)],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_video_through_forked_children(clip, tmp_path):
    told = said(
        clip, tmp_path,
        """
        forking.fork_ahead(2, settings)
        ready = children()
        async def main():
            engine = engine_for([fakes.Plain, fakes.Softly, fakes.Needy], settings, "threads")
            report = await engine.analyze(Source(Path(clip), "clip.mp4"))
            at_work = children()
            await engine.workers.close()
            return report, at_work
        report, at_work = asyncio.run(main())
        print(json.dumps({
            "status": {name: s.status for name, s in report.analyzers.items()},
            "counts": [ready, at_work, children()],
            "needy": report.analyzers["needy"].output.n,
        }))
        """,
    )  # fmt: skip
    assert told["status"] == {"plain": "ok", "softly": "ok", "needy": "ok"}
    assert told["counts"] == [2, 2, 0]
    assert told["needy"] == 61


def test_a_forked_child_that_dies_is_replaced_by_one_of_its_own(clip, tmp_path):
    told = said(
        clip, tmp_path,
        """
        forking.fork_ahead(2, settings)
        async def main():
            engine = engine_for([fakes.Plain, fakes.FAULTS["analyze_aborts"]], settings, "threads")
            report = await engine.analyze(Source(Path(clip), "clip.mp4"))
            await engine.workers.close()
            return report
        report = asyncio.run(main())
        print(json.dumps({n: [s.status, s.reason] for n, s in report.analyzers.items()}))
        """,
    )  # fmt: skip
    assert told == {
        "plain": ["ok", None],
        "analyze_aborts": ["failed", "its process died twice: ended by SIGABRT"],
    }


def test_forked_children_end_with_their_parent(clip, tmp_path):
    program = START + (
        "forking.fork_ahead(2, settings)\n"
        "print(*(child.pid for _, child in forking._ahead), flush=True)\n"
        "signal.pause()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(clip), str(tmp_path)],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdout is not None
    children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def test_nothing_is_forked_where_there_are_threads(clip, tmp_path):
    told = said(
        clip, tmp_path,
        """
        thread = threading.Thread(target=threading.Event().wait, daemon=True)
        thread.start()
        forking.fork_ahead(2, settings)
        print(json.dumps([children(), forking.taken() is None]))
        """,
    )  # fmt: skip
    assert told == [0, True]


def test_the_command_forks_its_children(clip, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import pathlib, sys\n"
        "if 'tiktok_ray.run.child' in sys.orig_argv:\n"
        f"    pathlib.Path({str(tmp_path / 'started')!r}).touch()\n"
    )
    words = ["analyze", clip, "--only", "cut_analysis", "--no-cache", "--out", tmp_path, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "tiktok_ray.cli", *map(str, words)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(tmp_path), os.getcwd())),
            "TIKTOK_RAY_HOME": str(tmp_path / "home"),
            "TIKTOK_RAY_WORKERS": "threads",
        },
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["analyzers"]["cut_analysis"]["status"] == "ok"
    assert not (tmp_path / "started").exists()
