"""All nineteen with weights, together in one process, in every mode; and cold runs of the command.

Where no real weights can be had, checkpoints of the real architecture with random weights stand for
them: they prove what loads and runs beside what, and say nothing of worth.
"""

import asyncio
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from actors import NAMES
from benchmarks import cold_runs, random_models
from tests import tiny_describers
from tiktok_ray.compose import make_graph, make_workers
from tiktok_ray.run.engine import Engine, Source
from tiktok_ray.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

RANDOM: dict[str, Callable[[Path], Any]] = {
    "openai--clip-vit-base-patch32": random_models.clip_b32,
    "nvidia--segformer-b0-finetuned-ade-512-512": partial(
        random_models.segformer, depths=(2, 2, 2, 2), widths=(32, 64, 160, 256), decoder=256
    ),
    "superb--wav2vec2-base-superb-er": random_models.wav2vec2_er,
    "Qwen--Qwen2-VL-2B-Instruct": tiny_describers.qwen,
}
#: A describer without knowledge would go on to the end of its answers.
OPTIONS = {
    "qwen2_vl_temporal": {"tokens": 16, "whole_tokens": 16},
    "speech_transcription": {"language": "en"},
}


@pytest.fixture(scope="module")
def all_models(real_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real weights that are at hand, and random ones for the rest."""
    folder = tmp_path_factory.mktemp("models")
    for child in real_models.iterdir():
        if child.name != "hub":
            (folder / child.name).symlink_to(child)
    (folder / "hub").mkdir()
    for child in (real_models / "hub").glob("*"):
        (folder / "hub" / child.name).symlink_to(child)
    for name, make in RANDOM.items():
        place = folder / "hub" / name
        if not place.exists():
            place.mkdir()
            make(place)
    return folder


@pytest.fixture(scope="module")
def clip_of_all(real_media: Path) -> Path:
    """A face, a voice, objects, captions and cuts in twenty seconds."""
    return real_media / "video" / "short_vertical_composite.mp4"


def settings_for(models: Path, home: Path, **more: Any) -> Settings:
    return Settings(models=models, home=home, options=OPTIONS, cores=2, **more)


async def report_of(clip: Path, settings: Settings) -> dict[str, Any]:
    graph = make_graph()
    workers = make_workers(graph, settings)
    try:
        report = await Engine(graph, workers, settings).analyze(Source(clip, clip.name))
    finally:
        await workers.close()
    return dict(json.loads(report.to_json()))


@pytest.fixture(scope="module")
def reference(all_models: Path, clip_of_all: Path, tmp_path_factory) -> dict[str, Any]:
    settings = settings_for(all_models, tmp_path_factory.mktemp("home"), workers="threads")
    return asyncio.run(report_of(clip_of_all, settings))


def test_all_of_them_run_together_in_one_process(reference):
    told = {n: (s["status"], s.get("reason")) for n, s in reference["analyzers"].items()}
    assert {n: t for n, t in told.items() if t[0] not in ("ok", "partial")} == {}
    assert "lost" not in reference["run"]


@pytest.mark.parametrize("mode", ["processes", pytest.param("ray", marks=pytest.mark.ray)])
async def test_every_mode_says_the_same(reference, all_models, clip_of_all, tmp_path, mode):
    settings = settings_for(all_models, tmp_path, workers=mode, object_store_gib=1.0)
    report = await report_of(clip_of_all, settings)
    assert report["run"]["workers"] == mode
    before, after = (cold_runs.comparable(r) for r in (reference, report))
    assert cold_runs.differences(before, after, cold_runs.BOUND) == []


@pytest.fixture(scope="module")
def inputs(all_models: Path, clip_of_all: Path, tmp_path_factory) -> Path:
    """Tracks and outputs of the clip, pickled for the processes of the test below."""
    from tiktok_ray import media
    from tiktok_ray.run.placement import plan
    from tiktok_ray.run.threads import LocalWorkers

    folder = tmp_path_factory.mktemp("inputs")
    settings, graph = settings_for(all_models, folder), make_graph()
    made = plan(graph.analyzers.values(), settings)
    tracks = media.decode(clip_of_all, set(media.TRACKS), settings).tracks
    report = asyncio.run(
        Engine(graph, LocalWorkers(graph, made, settings), settings).analyze(
            Source(clip_of_all, clip_of_all.name)
        )
    )
    outputs = {name: section.output for name, section in report.analyzers.items()}
    place = folder / "inputs.pkl"
    place.write_bytes(pickle.dumps((settings, tracks, outputs), protocol=5))
    return place


@pytest.mark.parametrize("name", NAMES)
def test_analyze_is_never_the_first_to_import_a_library(inputs, name):
    """Others of the process may be importing at that moment, and hand out half of a module."""
    code = f"""
import pickle, sys
from tiktok_ray.compose import make_graph
from tiktok_ray.run.engine import options_for
from tiktok_ray.run.placement import plan
from tiktok_ray.run.worker import Worker
settings, tracks, outputs = pickle.loads(open({str(inputs)!r}, "rb").read())
graph, name = make_graph(), {name!r}
assigned = plan(graph.analyzers.values(), settings).assignments[name]
worker = Worker(graph.analyzers[name], options_for(name, graph, settings), assigned)
print(worker.load().status)
before = set(sys.modules)
given = {{**tracks, **outputs}}
reply = worker.run({{edge.source: given.get(edge.source) for edge in graph.edges[name]}})
print(reply.status)
late = {{module.partition(".")[0] for module in set(sys.modules) - before}}
print(*sorted(late - set(sys.stdlib_module_names) - {{"__mp_main__"}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    load, run, late = done.stdout.splitlines()
    assert load == "ok"
    assert run in ("ok", "partial")
    assert late == ""


@pytest.mark.usefixtures("real_models")
def test_cold_runs_of_the_command_say_the_same_each_time(real_media, tmp_path):
    """Each clip quiet, beside busy processes and on one core, in fresh processes."""
    clips = [real_media / "video" / name for name in ("grid_swwp2s.mpg", "psd_fades.mp4")]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.cold_runs", "6", *map(str, clips)],
        capture_output=True,
        text=True,
        timeout=1400,
        env={**os.environ, "TIKTOK_RAY_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "6 of 6 runs good" in done.stdout
