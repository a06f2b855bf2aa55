"""The fleet on one shared local Ray."""

import asyncio
import os
import signal

import psutil
import pytest

ray = pytest.importorskip("ray")

from tests import fakes  # noqa: E402
from tiktok_ray.graph import Graph  # noqa: E402
from tiktok_ray.media import InputError  # noqa: E402
from tiktok_ray.run.engine import CapacityError, Engine, Source  # noqa: E402
from tiktok_ray.run.placement import Card, plan  # noqa: E402
from tiktok_ray.run.ray_actors import Fleet, open_ray  # noqa: E402
from tiktok_ray.settings import Settings  # noqa: E402

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


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


async def run_with(analyzers, settings, clip, *, videos=1, before=None):
    graph = Graph(analyzers)
    fleet = Kept(graph, plan(graph.analyzers.values(), settings), settings)
    engine = Engine(graph, fleet, settings)
    try:
        if before:
            await fleet.start(list(fleet.plan.assignments))
            await before(fleet)
        return [await engine.analyze(Source(clip, "clip")) for _ in range(videos)], fleet
    finally:
        await fleet.close()


def behaved(settings, how, flag=""):
    return settings.model_copy(
        update={"options": {"plain": {"how": how, "flag": str(flag)}}, "timeout_factor": 5.0}
    )


async def test_a_report_through_actors(clip, settings):
    [report], fleet = await run_with(
        [fakes.Plain, fakes.Softly, fakes.Needy, fakes.Listener, fakes.Wanting], settings, clip
    )
    assert report.analyzers["plain"].output == fakes.Count(n=60)
    assert report.analyzers["needy"].output == fakes.Sum(n=61)
    assert report.analyzers["listener"].output == fakes.Count(n=32_000)
    assert report.analyzers["wanting"].status == "unavailable"
    assert "wanting" not in fleet._actors
    assert report.run.memory["plain"].peak_gib > 0.01


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        ("raise", "failed", "ValueError: broken inside"),
        ("load fails", "failed", "load: RuntimeError: bad checkpoint"),
        ("write", "failed", "read-only"),
        ("die", "failed", "died twice"),
    ],
)
async def test_failures_are_contained(clip, settings, how, status, words):
    analyzers = [fakes.Behaved, fakes.Softly, fakes.Needy, fakes.Listener]
    [report], _ = await run_with(analyzers, behaved(settings, how), clip)
    assert report.analyzers["plain"].status == status
    assert words in report.analyzers["plain"].reason
    assert report.analyzers["softly"].output == fakes.Sum(n=None)
    assert report.analyzers["needy"].status == "skipped"
    assert report.analyzers["listener"].status == "ok"


async def test_a_hang_is_killed_and_the_next_video_runs_clean(clip, settings, tmp_path):
    settings = behaved(settings, "hang once", tmp_path / "flag")
    settings = settings.model_copy(update={"timeout_factor": 1.0})
    (first, second), _ = await run_with([fakes.Behaved, fakes.Softly], settings, clip, videos=2)
    assert first.analyzers["plain"].status == "timed_out"
    assert first.analyzers["softly"].status == "ok"
    assert second.analyzers["plain"].status == "ok"


async def test_a_process_without_memory_is_replaced(clip, settings, tmp_path):
    settings = behaved(settings, "starved process", tmp_path / "flag")
    (first, second), _ = await run_with([fakes.Behaved, fakes.Softly], settings, clip, videos=2)
    assert first.analyzers["plain"].status == "failed"
    assert "can't allocate memory" in first.analyzers["plain"].reason
    assert first.analyzers["softly"].status == "ok"
    assert second.analyzers["plain"].status == "ok"


async def test_a_death_is_tried_once_more(clip, settings, tmp_path):
    settings = behaved(settings, "die once", tmp_path / "flag")
    [report], _ = await run_with([fakes.Behaved], settings, clip)
    assert report.analyzers["plain"].status == "ok"


async def test_a_used_up_restart_budget_means_a_fresh_actor(clip, settings):
    async def kill_for_good(fleet):
        await fleet._wait_ready("plain")
        ray.kill(fleet._actors["plain"], no_restart=True)

    [report], _ = await run_with([fakes.Plain], settings, clip, before=kill_for_good)
    assert report.analyzers["plain"].status == "ok"


async def test_a_decoder_that_is_killed_is_replaced(clip, settings):
    async def kill_decoder(fleet):
        facts = await fleet.facts()
        os.kill(facts["decoder"]["pid"], signal.SIGKILL)

    [report], _ = await run_with([fakes.Plain], settings, clip, before=kill_decoder)
    assert report.analyzers["plain"].status == "ok"


async def test_input_errors_keep_their_type(tmp_path, settings):
    path = tmp_path / "no.mp4"
    path.write_text("nothing")
    with pytest.raises(InputError) as caught:
        await run_with([fakes.Plain], settings, path)
    assert caught.value.type == "not_video"
    assert caught.value.advice


async def test_cpu_actors_see_no_card_and_close_their_doors(clip, settings):
    seen = {}

    async def look(fleet):
        seen.update(await fleet.facts())

    await run_with([fakes.Plain], settings, clip, before=look)
    assert seen["plain"]["cuda_visible_devices"] == ""
    assert seen["plain"]["proxy"] == "http://127.0.0.1:9"


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
        with pytest.raises(CapacityError, match=r"plain could not be placed.*1.0 of a GPU"):
            await Engine(graph, fleet, settings).analyze(Source(clip, "clip"))
    finally:
        await fleet.close()


async def test_cancelling_frees_the_actor(clip, settings):
    settings = behaved(settings, "hang").model_copy(update={"timeout_factor": 100.0})
    graph = Graph([fakes.Behaved])
    fleet = Kept(graph, plan(graph.analyzers.values(), settings), settings)
    try:
        await fleet.start(["plain"])
        pid = (await fleet.facts())["plain"]["pid"]
        task = asyncio.create_task(Engine(graph, fleet, settings).analyze(Source(clip, "c")))
        await asyncio.sleep(4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(50):
            if not psutil.pid_exists(pid):
                break
            await asyncio.sleep(0.1)
        assert not psutil.pid_exists(pid)
    finally:
        await fleet.close()


async def test_a_refused_video_leaves_the_models_of_the_next_alone(clip, settings, tmp_path):
    path = tmp_path / "no.mp4"
    path.write_text("nothing")
    graph = Graph([fakes.Plain, fakes.Softly])
    fleet = Kept(graph, plan(graph.analyzers.values(), settings), settings)
    engine = Engine(graph, fleet, settings)
    try:
        for _ in range(3):
            with pytest.raises(InputError):
                await engine.analyze(Source(path, "no"))
            report = await engine.analyze(Source(clip, "clip"))
            assert [s.status for s in report.analyzers.values()] == ["ok", "ok"]
    finally:
        await fleet.close()
