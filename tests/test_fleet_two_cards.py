"""Two cards of 16 GiB that Ray only counts: each analyzer lands on the card of its plan."""

import pytest

ray = pytest.importorskip("ray")

from actors import ANALYZERS  # noqa: E402
from tests.test_fleet_card import give_back  # noqa: E402
from tiktok_ray.graph import Graph  # noqa: E402
from tiktok_ray.run.placement import Card, plan  # noqa: E402
from tiktok_ray.run.ray_actors import Fleet, open_ray  # noqa: E402
from tiktok_ray.settings import Settings  # noqa: E402

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def settings():
    made = Settings(cores=2, object_store_gib=0.3)
    open_ray(made, cards=2)
    yield made
    ray.shutdown()


@pytest.mark.parametrize("gib", [8.0, 16.0])
async def test_ray_packs_the_cards_as_the_plan_does(settings, gib):
    graph, cards = Graph(ANALYZERS), [Card(0, gib), Card(1, gib)]
    made = plan(graph.analyzers.values(), settings, cards=cards, assume_weights=True)
    fleet = Fleet(graph, made, settings)
    await fleet.start(list(made.assignments))
    facts = await fleet.facts()
    planned = {n: [a.card] for n, a in made.assignments.items() if a.card is not None}
    assert {n: [int(g) for g in facts[n]["gpus"]] for n in planned} == planned
    assert {card for [card] in planned.values()} == {0, 1}
    await give_back(fleet, 2.0)
