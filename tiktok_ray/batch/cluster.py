"""A batch over the nodes of a Ray cluster: a complete fleet on each, decoding next to its analyzers.

What crosses the network is the file of a video and its report, never its tracks: each node decodes
for the analyzers that it runs itself. Within a node the slowest analyzers get further processes
while its cards have room (``replicas``). A node that is lost takes nothing with it but time: its
videos go to another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tiktok_ray.graph import Graph
from tiktok_ray.media import InputError
from tiktok_ray.run import placement
from tiktok_ray.run.engine import (
    DECODER,
    Cache,
    CapacityError,
    Engine,
    Kind,
    Source,
    Tracks,
    Workers,
)
from tiktok_ray.run.placement import Plan
from tiktok_ray.run.ray_actors import Fleet, cards_of_node, open_ray
from tiktok_ray.run.worker import Reply
from tiktok_ray.settings import Settings

log = logging.getLogger("tiktok_ray.batch")
LOOK_S = 2.0
PING_S = 10.0
#: Nodes on which one video may be lost before its failure is told.
NODES_TRIED = 4


# What is copied


def replicas(
    seconds: Mapping[str, float], plan: Plan, *, cores: int, most: int = 8
) -> dict[str, int]:
    """The number of processes of each analyzer on one node.

    ``seconds`` are measured seconds of one video. Each step gives the analyzer that takes longest,
    its seconds divided by its processes, one process more, while the cards have room for its share,
    or the cores for one that runs on the CPU. It ends where the slowest cannot be copied: copies of
    others would not make the node faster.
    """
    made = dict.fromkeys(plan.assignments, 1)
    room = {card.index: 1.0 for card in plan.cards}
    for a in plan.assignments.values():
        if a.card is not None:
            room[a.card] -= a.gpu_share
    on_cpu = [n for n, a in plan.assignments.items() if a.card is None]
    work = {n: seconds.get(n, 0.0) for n in made}
    while work:
        slowest = max(work, key=lambda n: (work[n] / made[n], n))
        share = plan.assignments[slowest].gpu_share
        if work[slowest] <= 0 or made[slowest] >= most:
            break
        if slowest in on_cpu:
            # Beyond one process for each core, copies only wait for each other.
            if (
                made[slowest] >= cores
                or sum(work[n] for n in on_cpu) / cores >= work[slowest] / (made[slowest])
            ):
                break
        else:
            card = max(room, key=lambda index: room[index])
            if room[card] + 1e-9 < share:
                break
            room[card] -= share
        made[slowest] += 1
    return made


class Spread:
    """Several fleets as one: calls of a replicated analyzer go to the least busy fleet."""

    kind: Kind = "ray"

    def __init__(self, first: Fleet, others: Collection[Fleet]) -> None:
        self.plan = first.plan
        self._fleets = [first, *others]
        self._busy: Counter[tuple[int, str]] = Counter()

    def _having(self, name: str) -> list[Fleet]:
        return [f for f in self._fleets if name in f.plan.assignments]

    async def start(self, names: Collection[str]) -> None:
        for fleet in self._fleets:
            await fleet.start([n for n in names if n in fleet.plan.assignments])

    async def decode(self, path: Path, want: Collection[str]) -> Tracks:
        with self._least(self._fleets, DECODER) as fleet:
            return await fleet.decode(path, want)

    def loading(self, name: str) -> tuple[str, float]:
        return self._having(name)[0].loading(name)

    def copies(self, name: str) -> int:
        return len(self._fleets) if name == DECODER else len(self._having(name))

    async def load(self, name: str) -> Reply:
        wanting = [f for f in self._having(name) if not f.has_loaded(name)]
        replies = await asyncio.gather(*(f.load(name) for f in wanting))
        return next((r for r in replies if r.status != "ok"), Reply("ok"))

    async def run(self, name: str, inputs: Mapping[str, Any], timeout_s: float) -> Reply:
        with self._least(self._having(name), name) as fleet:
            return await fleet.run(name, inputs, timeout_s)

    @contextlib.contextmanager
    def _least(self, fleets: list[Fleet], name: str) -> Iterator[Fleet]:
        """The fleet with least to do for that analyzer; it counts as busy within the block."""
        fleet = min(fleets, key=lambda f: self._busy[id(f), name])
        self._busy[id(fleet), name] += 1
        try:
            yield fleet
        finally:
            self._busy[id(fleet), name] -= 1

    async def close(self) -> None:
        for fleet in self._fleets:
            await fleet.close()


# One node


class Depot:
    """Stores videos as files on its node while they are decoded there."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tiktok-ray-")

    def keep(self, name: str, data: bytes) -> str:
        path = Path(self._folder.name) / f"{time.monotonic_ns()}{Path(name).suffix}"
        path.write_bytes(data)
        return str(path)

    def drop(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)

    def plan(self, analyzers: Collection[Any], settings: Settings) -> Plan:
        """What fits this node, by its own cards and weights."""
        return placement.plan(analyzers, settings, cards=cards_of_node(settings))


def on_node(node: str) -> dict[str, Any]:
    """Options that pin an actor to that node."""
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


class CellFleet(Fleet):
    """A fleet on one node. Files of this machine reach it through its depot."""

    def __init__(self, graph: Graph, plan: Plan, settings: Settings, node: str, depot: Any) -> None:
        super().__init__(graph, plan, settings, where=on_node(node))
        self._depot = depot

    async def decode(self, path: Path, want: Collection[str]) -> Tracks:
        data = await asyncio.to_thread(path.read_bytes)
        place = await asyncio.wrap_future(self._depot.keep.remote(path.name, data).future())
        try:
            return await super().decode(Path(place), want)
        finally:
            self._depot.drop.remote(place)

    async def close(self) -> None:
        for actor in self._actors.values():
            with contextlib.suppress(exceptions.RayError):
                ray.kill(actor)
        self._actors.clear()
        self._forget_all()


@dataclass
class Cell:
    """A working node."""

    node: str
    depot: Any
    engine: Engine
    busy: int = 0

    async def lost(self) -> bool:
        """Whether the node no longer responds."""
        try:
            ready = asyncio.wrap_future(self.depot.__ray_ready__.remote().future())
            await asyncio.wait_for(ready, PING_S)
        except (exceptions.RayError, TimeoutError):
            return True
        return False


async def open_cell(
    node: Mapping[str, Any],
    graph: Graph,
    settings: Settings,
    *,
    cache: Cache | None,
    seconds: Mapping[str, float],
) -> Cell:
    """Plan for a node and create its fleet there, without loading anything."""
    name = node["NodeID"]
    depot = ray.remote(Depot).options(num_cpus=0, **on_node(name)).remote()
    resources = node["Resources"]
    cores = max(1, int(resources.get("CPU", 1)))
    settings = settings.model_copy(update={"cores": cores})
    found = depot.plan.remote(list(graph.analyzers.values()), settings)
    plan: Plan = await asyncio.wait_for(
        asyncio.wrap_future(found.future()), settings.start_timeout_s
    )
    copies = replicas(seconds, plan, cores=cores)
    first = CellFleet(graph, plan, settings, name, depot)
    others = [
        CellFleet(graph, only_those(plan, copies, number), settings, name, depot)
        for number in range(1, max(copies.values(), default=1))
    ]
    workers: Workers = Spread(first, others) if others else first
    return Cell(name, depot, Engine(graph, workers, settings, cache=cache))


def only_those(plan: Plan, copies: Mapping[str, int], number: int) -> Plan:
    """The plan of the copies with that number, from 1: analyzers that have more than so many."""
    chosen = {n: a for n, a in plan.assignments.items() if copies[n] > number}
    return replace(plan, assignments=chosen)


# The cluster


class Cluster:
    """Implements ``batch.Runner`` over the available nodes, and those that join later."""

    def __init__(
        self,
        graph: Graph,
        settings: Settings,
        only: list[str],
        without: list[str],
        *,
        nodes: int,
        cache: Cache | None = None,
        seconds: Mapping[str, float] | None = None,
    ) -> None:
        self.slots = settings.in_flight * nodes
        self.graph, self.settings, self.nodes = graph, settings, nodes
        self._only, self._without = only, without
        self._more: dict[str, Any] = {"cache": cache, "seconds": seconds or {}}
        self.cells: dict[str, Cell] = {}
        self.lost: list[str] = []
        self._free = asyncio.Condition()
        self._watching: asyncio.Task[None] | None = None

    async def analyze(self, source: Source) -> dict[str, Any]:
        """The report, from any node; losing a node meanwhile is not a failure."""
        for tried in range(1, NODES_TRIED + 1):
            cell = await self._take()
            trouble: Exception | None = None
            report = None
            try:
                report = await cell.engine.analyze(source, only=self._only, without=self._without)
            except InputError as error:
                trouble = error
            except (exceptions.RayError, CapacityError) as error:
                trouble = error
            finally:
                await self._give_back(cell)
            suspect = trouble is not None or (report is not None and report.failed())
            if suspect and tried < NODES_TRIED and await cell.lost():
                await self._forget(cell)
                log.warning("a node was lost; moving %s to another", source.source)
                continue
            if trouble is not None:
                raise trouble
            assert report is not None
            return await asyncio.to_thread(report.plain)
        raise CapacityError(f"{NODES_TRIED} nodes were lost while working on {source.source}")

    async def _take(self) -> Cell:
        """The cell with least to do, with room for one more. Raises ``CapacityError``."""
        async with self._free:
            if self._watching is None:
                await asyncio.to_thread(open_ray, self.settings)
                self._watching = asyncio.create_task(self._watch())
            while True:
                cells = [c for c in self.cells.values() if c.busy < self.settings.in_flight]
                if cells:
                    cell = min(cells, key=lambda c: c.busy)
                    cell.busy += 1
                    return cell
                if self._watching.done():
                    self._watching.result()
                await self._free.wait()

    async def _give_back(self, cell: Cell) -> None:
        async with self._free:
            cell.busy -= 1
            self._free.notify_all()

    async def _forget(self, cell: Cell) -> None:
        if self.cells.get(cell.node) is cell:
            del self.cells[cell.node]
            self.lost.append(cell.node)
            ray.kill(cell.depot)

    async def _watch(self) -> None:
        """Open a cell on every node that comes; ask the autoscaler for the nodes wanted."""
        begin = time.monotonic()
        await asyncio.to_thread(ask_for, self.nodes)
        try:
            while True:
                there = await asyncio.to_thread(working_nodes)
                for node in there[: self.nodes]:
                    if node["NodeID"] not in self.cells:
                        await self._open(node)
                if self.cells:
                    begin = time.monotonic()
                elif time.monotonic() - begin > self.settings.node_timeout_s:
                    limit = self.settings.node_timeout_s
                    raise CapacityError(f"no cluster node became usable within {limit:g} s")
                await asyncio.sleep(LOOK_S)
        finally:
            async with self._free:
                self._free.notify_all()

    async def _open(self, node: Mapping[str, Any]) -> None:
        try:
            cell = await open_cell(node, self.graph, self.settings, **self._more)
        except (exceptions.RayError, TimeoutError) as error:
            log.warning("node %s cannot be used: %s", node["NodeManagerAddress"], error)
            return
        async with self._free:
            self.cells[cell.node] = cell
            self._free.notify_all()
        log.info("node %s is ready", node["NodeManagerAddress"])

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        for cell in self.cells.values():
            await cell.engine.workers.close()
            ray.kill(cell.depot)
        if ray.is_initialized():
            await asyncio.to_thread(ask_for, 0)
            await asyncio.to_thread(ray.shutdown)


def working_nodes() -> list[dict[str, Any]]:
    """Live nodes: those with GPUs if there are any, otherwise those with CPUs."""
    alive = [n for n in ray.nodes() if n["Alive"]]
    with_cards = [n for n in alive if n["Resources"].get("GPU", 0) > 0]
    with_cores = [n for n in alive if n["Resources"].get("CPU", 0) > 0]
    return sorted(with_cards or with_cores, key=lambda n: str(n["NodeID"]))


def ask_for(nodes: int) -> None:
    """Tell the autoscaler, where there is one, how many nodes with a card are wanted."""
    from ray.autoscaler import sdk

    sdk.request_resources(bundles=[{"GPU": 1}] * nodes)
