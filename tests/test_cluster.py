"""Clusters: what is copied where, nodes that are lost, and the files that make clusters."""

import asyncio
from pathlib import Path

import pytest

from tests import fakes
from tests.test_batch import make_clips
from tests.test_dataset import read
from tiktok_ray.analyzer import Variant, Vram
from tiktok_ray.placement import Assignment, Card, Plan

ROOT = Path(__file__).parent.parent


def planned(cards=1, **places):
    """A plan: a number is a share of card 0, None the CPU."""
    assignments = {
        name: Assignment(
            name,
            Variant("v", vram=Vram(1, 1) if share else None),
            "cuda" if share else "cpu",
            {},
            gpu_share=share or 0.0,
            card=0 if share else None,
        )
        for name, share in places.items()
    }
    return Plan(assignments, {}, tuple(Card(k, 16.0) for k in range(cards)))


@pytest.fixture(scope="module")
def cluster_module():
    pytest.importorskip("ray")
    from tiktok_ray import cluster

    return cluster


@pytest.mark.parametrize(
    ("plan", "seconds", "cores", "expected"),
    [
        (planned(a=0.3, b=0.2), {"a": 4, "b": 1}, 4, {"a": 2, "b": 1}),
        (planned(a=0.3, b=0.6), {"a": 4, "b": 1}, 4, {"a": 1, "b": 1}),
        (planned(2, a=0.3, b=0.2), {"a": 4, "b": 3}, 4, {"a": 4, "b": 4}),
        (planned(2, a=0.3, b=0.7), {"a": 2, "b": 4}, 4, {"a": 1, "b": 2}),
        (planned(a=None, b=None), {"a": 4, "b": 1}, 4, {"a": 4, "b": 1}),
        (planned(a=None, b=None), {"a": 4, "b": 4}, 2, {"a": 1, "b": 1}),
        (planned(a=0.1), {}, 4, {"a": 1}),
        (planned(), {}, 4, {}),
    ],
)
def test_the_slowest_is_copied_first_and_only_while_it_helps(
    cluster_module, plan, seconds, cores, expected
):
    made = cluster_module.replicas(seconds, plan, cores=cores)
    assert made == expected
    shares = sum(plan.assignments[n].gpu_share * k for n, k in made.items())
    assert shares <= len(plan.cards) + 1e-9


def test_the_bottleneck_is_named(cluster_module):
    assert cluster_module.bottleneck({"a": 4.0, "b": 3.0}, {"a": 2, "b": 1}) == (
        "b",
        pytest.approx(1 / 3),
    )


def test_copies_of_a_plan_hold_the_copied_alone(cluster_module):
    plan = planned(a=0.3, b=0.1, c=0.1)
    copies = {"a": 3, "b": 2, "c": 1}
    names = [set(cluster_module.only_those(plan, copies, k).assignments) for k in (1, 2)]
    assert names == [{"a", "b"}, {"a"}]


# Real raylets


def free_ports(count):
    import socket

    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture
def raylets():
    """A cluster of a head without cores and two nodes with one each."""
    import ray
    from ray.cluster_utils import Cluster

    more = {"object_store_memory": 150 * 2**20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **more})
    nodes = [made.add_node(num_cpus=1, object_store_memory=150 * 2**20) for _ in range(2)]
    yield made, nodes
    ray.shutdown()
    made.shutdown()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_raylet_is_killed_and_every_video_ends_once(
    raylets, tmp_path, settings, monkeypatch, cluster_module
):
    import ray

    from tiktok_ray.batch import Batch
    from tiktok_ray.dataset import Destination
    from tiktok_ray.graph import Graph
    from tiktok_ray.manifest import entries

    made, nodes = raylets
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    clips = make_clips(tmp_path / "clips", 12)
    settings = settings.model_copy(
        update={"in_flight": 2, "options": {"plain": {"how": "slow"}}, "timeout_factor": 20.0}
    )
    graph = Graph([fakes.Behaved, fakes.Softly, fakes.Listener])
    runner = cluster_module.Cluster(graph, settings, [], [], nodes=2)
    out = Destination(tmp_path / "out")
    batch = Batch(list(entries(str(clips))), out, runner, settings)
    killed = []

    async def kill_one():
        while batch.tally.done < 3 or len(runner.cells) < 2:
            await asyncio.sleep(0.05)
        placed = {a: c.busy for a, c in runner.cells.items()}
        victim = nodes[0]
        killed.append((victim.node_id, placed.get(victim.node_id)))
        made.remove_node(victim, allow_graceful=False)

    killing = asyncio.create_task(kill_one())
    await batch.run()
    await killing
    cells = dict(runner.cells)
    await runner.close()
    print(f"killed {killed}, lost {runner.lost}, left {list(cells)}")
    assert runner.lost == [nodes[0].node_id]
    assert set(cells) == {nodes[1].node_id}
    videos = [row["source"] for row in read(out, "videos")]
    assert sorted(videos) == [str(p) for p in sorted(clips.iterdir())]
    assert {row["status"] for row in read(out, "analyzers")} == {"ok"}
    assert read(out, "failures") == []
    assert ray.is_initialized() is False
