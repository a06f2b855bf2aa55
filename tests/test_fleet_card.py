"""All nineteen analyzers as actors on a card of 16 GiB that Ray only counts."""

import asyncio
import time

import pytest

ray = pytest.importorskip("ray")

from actors import ANALYZERS  # noqa: E402
from tiktok_ray.graph import Graph  # noqa: E402
from tiktok_ray.run.engine import DECODER, CapacityError  # noqa: E402
from tiktok_ray.run.placement import Card, plan  # noqa: E402
from tiktok_ray.run.ray_actors import Fleet, open_ray  # noqa: E402
from tiktok_ray.settings import Settings  # noqa: E402

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]


async def give_back(fleet, cards):
    """Kill all actors; their shares of so many cards are free again within ten seconds."""
    for actor in fleet._actors.values():
        ray.kill(actor)
    fleet._actors.clear()
    for _ in range(100):
        if ray.available_resources().get("GPU") == cards:
            break
        await asyncio.sleep(0.1)
    assert ray.available_resources().get("GPU") == cards


@pytest.fixture(scope="module")
def fleet():
    settings = Settings(cores=2, object_store_gib=0.3)
    open_ray(settings, cards=1)
    graph = Graph(ANALYZERS)
    made = plan(graph.analyzers.values(), settings, cards=[Card(0, 16.0)], assume_weights=True)
    yield Fleet(graph, made, settings)
    ray.shutdown()


async def test_shares_beyond_the_card_are_refused_before_any_actor(fleet):
    share = fleet.plan.assignments["qwen2_vl_temporal"].gpu_share
    smaller = plan(
        fleet.graph.analyzers.values(), fleet.settings, cards=[Card(0, 16.0)], assume_weights=True
    )
    for assignment in smaller.assignments.values():
        object.__setattr__(assignment, "gpu_share", share)
    crowded = Fleet(fleet.graph, smaller, fleet.settings)
    begin = time.perf_counter()
    with pytest.raises(CapacityError, match="do not add up"):
        await crowded.start(list(smaller.assignments))
    assert time.perf_counter() - begin < 1
    assert crowded._actors == {}


async def test_all_start_and_only_those_with_a_share_see_the_card(fleet):
    await fleet.start(list(fleet.plan.assignments))
    facts = await fleet.facts()
    assert set(facts) == {DECODER, *fleet.plan.assignments}
    assert len({one["pid"] for one in facts.values()}) == 20
    sees = {name for name, one in facts.items() if one.get("gpus")}
    assert sees == {n for n, a in fleet.plan.assignments.items() if a.card is not None}
    assert len(sees) == 7
    blind = {facts[n]["cuda_visible_devices"] for n in set(fleet.plan.assignments) - sees}
    assert blind == {""}


async def test_the_shares_of_killed_actors_are_free_again(fleet):
    await fleet.start(list(fleet.plan.assignments))
    await fleet.facts()
    await give_back(fleet, 1.0)
