"""The fleet on one shared local Ray."""

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

ray = pytest.importorskip("ray")

from tests import fakes  # noqa: E402
from tiktok_ray.graph import Graph  # noqa: E402
from tiktok_ray.media import InputError  # noqa: E402
from tiktok_ray.run.engine import CapacityError, Engine, Source  # noqa: E402
from tiktok_ray.run.placement import Card, plan  # noqa: E402
from tiktok_ray.run.ray_actors import Fleet, open_ray  # noqa: E402
from tiktok_ray.settings import Settings  # noqa: E402

# Slow: Ray gives its own node thirty seconds to start, which nobody can set, and beside other test
# processes on a busy machine it needs more.
pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
]

GOOD = ("plain", "softly", "needy", "listener")
#: Each goes wrong with the first video, in its way, and how that is called there.
ONCE = {
    "hangs_once": ("hang once", "timed_out", "timed out after 3 s"),
    "starves_once": ("starved process", "failed", "can't allocate memory"),
    "dies_once": ("die once", "ok", ""),
}


@pytest.fixture(scope="module", autouse=True)
def cluster():
    open_ray(Settings(cores=2, object_store_gib=0.3))
    yield
    ray.shutdown()


class Kept(Fleet):
    """A fleet that gives its actors back but leaves the shared Ray running."""

    async def close(self):
        for actor in self._actors.values():
            ray.kill(actor)


def engine_for(analyzers, settings):
    graph = Graph(analyzers)
    return Engine(graph, Kept(graph, plan(graph.analyzers.values(), settings), settings), settings)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory):
    """One whose actors live through all tests here, as those of a service do: what one does to
    them is nothing to the next."""
    folder = tmp_path_factory.mktemp("fleet")
    once = {name: {"how": how, "flag": str(folder / name)} for name, (how, *_) in ONCE.items()}
    tracked = {"log": str(folder / "tracked"), "seconds": 600.0}
    settings = Settings(
        models=folder / "models", home=folder / "home", cores=2,
        options={**once, "tracked": tracked}, timeout_factor=1.0,
    )  # fmt: skip
    made = engine_for(
        [fakes.Plain, fakes.Softly, fakes.Needy, fakes.Listener, fakes.Wanting, fakes.Tracked,
         fakes.HangsOnce, fakes.StarvesOnce, fakes.DiesOnce],
        settings,
    )  # fmt: skip
    yield made
    await made.workers.close()


def statuses(report, names):
    return {name: report.analyzers[name].status for name in names}


async def test_a_report_through_actors(engine, clip):
    report = await engine.analyze(Source(clip, "clip"), only=[*GOOD, "wanting"])
    assert report.analyzers["plain"].output == fakes.Count(n=60)
    assert report.analyzers["needy"].output == fakes.Sum(n=61)
    assert report.analyzers["listener"].output == fakes.Count(n=32_000)
    assert report.analyzers["wanting"].status == "unavailable"
    assert "wanting" not in engine.workers._actors
    assert report.run.memory["plain"].peak_gib > 0.01


async def test_what_is_loaded_is_not_asked_to_load_again(engine, clip, monkeypatch):
    await engine.analyze(Source(clip, "clip"), only=GOOD)

    async def asked(name):
        raise AssertionError(f"{name} was asked to load")

    monkeypatch.setattr(engine.workers, "_load", asked)
    report = await engine.analyze(Source(clip, "again"), only=GOOD)
    assert set(statuses(report, GOOD).values()) == {"ok"}
    assert report.run.load_s == dict.fromkeys(GOOD, 0.0)


async def test_cpu_actors_see_no_card_and_close_their_doors(engine):
    await engine.workers.start(["plain"])
    seen = await engine.workers.facts()
    assert seen["plain"]["cuda_visible_devices"] == ""
    assert seen["plain"]["proxy"] == "http://127.0.0.1:9"


async def test_failures_are_contained(clip, settings):
    """A death, an error while loading and one at work, and a write into shared memory."""
    dying = settings.model_copy(update={"options": {"plain": {"how": "die"}}})
    dying = dying.model_copy(update={"timeout_factor": 20.0})
    failing = [fakes.FAULTS["load_raises"], fakes.FAULTS["analyze_raises"], fakes.Overwriting]
    engine = engine_for([fakes.Behaved, fakes.Softly, fakes.Needy, fakes.Listener, *failing], dying)
    try:
        report = await engine.analyze(Source(clip, "clip"))
    finally:
        await engine.workers.close()
    for name, words in {
        "plain": "died twice",
        "load_raises": "load: ValueError: broken inside",
        "analyze_raises": "ValueError: broken inside",
        "overwriting": "read-only",
    }.items():
        assert report.analyzers[name].status == "failed"
        assert words in report.analyzers[name].reason
    assert report.analyzers["softly"].output == fakes.Sum(n=None)
    assert report.analyzers["needy"].status == "skipped"
    assert report.analyzers["listener"].status == "ok"


async def test_what_goes_wrong_once_is_clean_with_the_next_video(engine, clip):
    """A hang is killed, a process without memory replaced, a death tried once more."""
    first, second = [
        await engine.analyze(Source(clip, "clip"), only=["listener", *ONCE]) for _ in range(2)
    ]
    assert first.analyzers["listener"].status == "ok"
    for name, (_, status, words) in ONCE.items():
        assert first.analyzers[name].status == status
        assert words in (first.analyzers[name].reason or "")
        assert Path(engine.settings.options[name]["flag"]).exists()
    assert set(statuses(second, ["listener", *ONCE]).values()) == {"ok"}


async def test_a_used_up_restart_budget_means_a_fresh_actor(engine, clip):
    fleet = engine.workers
    await fleet.start(["plain"])
    await fleet._wait_ready("plain")
    ray.kill(fleet._actors["plain"], no_restart=True)
    report = await engine.analyze(Source(clip, "clip"), only=["plain"])
    assert report.analyzers["plain"].status == "ok"


async def test_a_decoder_that_is_killed_is_replaced(engine, clip):
    await engine.workers.start(["plain"])
    facts = await engine.workers.facts()
    os.kill(facts["decoder"]["pid"], signal.SIGKILL)
    report = await engine.analyze(Source(clip, "clip"), only=["plain"])
    assert report.analyzers["plain"].status == "ok"


async def test_a_refused_video_keeps_its_type_and_leaves_the_next_alone(engine, clip, tmp_path):
    path = tmp_path / "no.mp4"
    path.write_text("nothing")
    for _ in range(3):
        with pytest.raises(InputError) as caught:
            await engine.analyze(Source(path, "no"), only=["plain", "softly"])
        assert caught.value.type == "not_video"
        assert caught.value.advice
        report = await engine.analyze(Source(clip, "clip"), only=["plain", "softly"])
        assert statuses(report, ["plain", "softly"]) == {"plain": "ok", "softly": "ok"}


async def test_what_cannot_be_placed_is_named(clip, settings):
    from dataclasses import replace

    settings = settings.model_copy(update={"start_timeout_s": 2.0})
    graph = Graph([fakes.Plain])
    made = plan(graph.analyzers.values(), settings)
    greedy = {n: replace(a, gpu_share=1.0) for n, a in made.assignments.items()}
    overfull = Kept(graph, replace(made, assignments=greedy), settings)
    with pytest.raises(CapacityError, match=r"shares of 0 cards do not add up: plain 1.0000"):
        await Engine(graph, overfull, settings).analyze(Source(clip, "clip"))
    assert overfull._actors == {}
    promised = replace(made, assignments=greedy, cards=(Card(0, 16.0),))
    fleet = Kept(graph, promised, settings)
    try:
        await fleet.start(["plain"])
        with pytest.raises(CapacityError, match=r"plain could not be placed.*1.0 of a GPU"):
            await fleet._wait_ready("plain")
    finally:
        await fleet.close()


async def test_cancelling_frees_the_actor(engine, clip):
    log = Path(engine.settings.options["tracked"]["log"])
    task = asyncio.create_task(engine.analyze(Source(clip, "c"), only=["tracked"]))
    while not log.exists() or "begin" not in log.read_text():
        assert not task.done()
        await asyncio.sleep(0.05)
    pid = int(log.read_text().split()[1])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while psutil.pid_exists(pid):
        await asyncio.sleep(0.05)
