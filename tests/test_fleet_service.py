"""The fleet in service: detached actors that outlive their owner, and none that should not."""

import asyncio
import os
import signal

import pytest

ray = pytest.importorskip("ray")

from tests import fakes  # noqa: E402
from tiktok_ray.graph import Graph  # noqa: E402
from tiktok_ray.run.engine import Engine, Source  # noqa: E402
from tiktok_ray.run.placement import plan  # noqa: E402
from tiktok_ray.run.ray_actors import (  # noqa: E402
    NAMESPACE,
    RESTARTS,
    Fleet,
    open_ray,
    remove_actors,
)
from tiktok_ray.run.worker import limit_memory  # noqa: E402
from tiktok_ray.settings import Settings  # noqa: E402

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    open_ray(Settings(cores=2, object_store_gib=0.3))
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def clean():
    yield
    remove_actors()


def fleet_of(analyzers, settings):
    graph = Graph(analyzers)
    return Fleet(graph, plan(graph.analyzers.values(), settings), settings, detached=True)


async def analyzed(fleet, settings, clip):
    return await Engine(fleet.graph, fleet, settings).analyze(Source(clip, "clip"))


def living():
    listed = ray.util.list_named_actors(all_namespaces=True)
    return {e["name"] for e in listed if e["namespace"] == NAMESPACE}


def behaved(settings, how="work", flag="", **more):
    options = {"plain": {"how": how, "flag": str(flag)}}
    return settings.model_copy(update={"options": options, **more})


async def test_the_next_owner_finds_the_models_warm(clip, settings):
    first = fleet_of([fakes.Plain], settings)
    await analyzed(first, settings, clip)
    pids = {name: facts["pid"] for name, facts in (await first.facts()).items()}
    await first.close()
    second = fleet_of([fakes.Plain], settings)
    report = await analyzed(second, settings, clip)
    assert report.analyzers["plain"].status == "ok"
    assert {name: facts["pid"] for name, facts in (await second.facts()).items()} == pids
    assert report.run.load_s["plain"] < 0.05, "it was loaded already"


async def test_what_was_made_otherwise_is_removed(settings):
    old = fleet_of([fakes.Behaved], behaved(settings, flag="a"))
    await old.start(["plain"])
    names = living()
    assert names == {old.actor_name("plain"), old.actor_name("decoder")}
    new = fleet_of([fakes.Behaved], behaved(settings, flag="b"))
    assert new.actor_name("plain") != old.actor_name("plain")
    await new.start(["plain"])
    for _ in range(50):
        if old.actor_name("plain") not in living():
            break
        await asyncio.sleep(0.1)
    assert living() == {new.actor_name("plain"), new.actor_name("decoder")}


async def test_one_that_is_busy_for_a_dead_owner_is_waited_for(clip, settings, tmp_path):
    log = tmp_path / "log"
    settings = settings.model_copy(
        update={"options": {"tracked": {"log": str(log), "seconds": 3.0}}, "drain_s": 30.0}
    )
    first = fleet_of([fakes.Tracked], settings)
    task = asyncio.create_task(analyzed(first, settings, clip))
    while not log.exists() or "begin" not in log.read_text():
        await asyncio.sleep(0.05)
    first._actors.clear()  # its owner is gone; the call goes on
    second = fleet_of([fakes.Tracked], settings)
    report = await analyzed(second, settings, clip)
    assert report.analyzers["tracked"].status == "ok"
    lines = [line.split() for line in log.read_text().splitlines()]
    assert [what for what, _, _ in lines] == ["load", "begin", "end", "begin", "end"]
    assert len({pid for _, pid, _ in lines}) == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_one_that_stays_busy_for_a_dead_owner_is_replaced(clip, settings, tmp_path):
    settings = behaved(settings, "hang once", tmp_path / "flag", timeout_factor=600.0, drain_s=1.0)
    first = fleet_of([fakes.Behaved], settings)
    task = asyncio.create_task(analyzed(first, settings, clip))
    while not (tmp_path / "flag").exists():
        await asyncio.sleep(0.05)
    first._actors.clear()
    second = fleet_of([fakes.Behaved], settings)
    report = await asyncio.wait_for(analyzed(second, settings, clip), 60)
    assert report.analyzers["plain"].status == "ok"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_used_up_restart_budget_means_a_fresh_actor(clip, settings):
    fleet = fleet_of([fakes.Plain], settings)
    await analyzed(fleet, settings, clip)
    for _ in range(RESTARTS + 1):
        try:
            pid = (await fleet.facts())["plain"]["pid"]
        except ray.exceptions.RayError:
            break
        os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.3)
        for _ in range(40):
            try:
                await asyncio.wait_for(
                    asyncio.wrap_future(fleet._actors["plain"].facts.remote().future()), 20
                )
                break
            except ray.exceptions.ActorDiedError:
                break
            except ray.exceptions.RayError:
                await asyncio.sleep(0.25)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(fleet._actors["plain"].facts.remote())
    report = await analyzed(fleet, settings, clip)
    assert report.analyzers["plain"].status == "ok"
    assert living() == {fleet.actor_name("plain"), fleet.actor_name("decoder")}


async def test_down_leaves_no_actor(clip, settings):
    fleet = fleet_of([fakes.Plain, fakes.Needy], settings)
    await analyzed(fleet, settings, clip)
    assert len(remove_actors()) == 3
    for _ in range(50):
        if not living():
            break
        await asyncio.sleep(0.1)
    assert living() == set()
    assert remove_actors() == []


@ray.remote(max_calls=1)
def greedy(gib, wanted):
    limit_memory(gib)
    try:
        return len(bytearray(round(wanted * 2**30)))
    except MemoryError:
        return "refused"


def test_memory_of_a_process_is_limited():
    assert ray.get(greedy.remote(0.2, 0.1)) > 0
    assert ray.get(greedy.remote(0.2, 0.5)) == "refused"
