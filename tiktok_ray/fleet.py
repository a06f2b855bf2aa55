"""Analyzers as Ray actors. The only module that owns any.

Each analyzer is one actor in a process of its own, one call in flight, queued by the engine and
never by Ray. Ray gives actors no CPUs (``num_cpus=0``): the engine's cores decide what runs. A call
that runs past its limit is ended by killing its actor, since a synchronous call cannot be
cancelled; Ray restarts it, and a used-up restart budget means a fresh actor.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import exceptions

from tiktok_ray import media
from tiktok_ray.analyzer import Analyzer, Options
from tiktok_ray.engine import CapacityError, Tracks, WorkerDied, options_for
from tiktok_ray.graph import Graph
from tiktok_ray.media import InputError
from tiktok_ray.placement import Assignment, Plan
from tiktok_ray.settings import Settings
from tiktok_ray.worker import (
    Reply,
    Worker,
    close_doors,
    doors_closed,
    limit_threads,
    memory_now,
)

NAMESPACE = "tiktok_ray"
DECODER = "decoder"
RESTARTS = 10


class AnalyzerActor:
    """One analyzer in a process of its own. Nothing heavy is imported before ``load``."""

    def __init__(
        self, analyzer: type[Analyzer], options: Options, assignment: Assignment, threads: int
    ) -> None:
        limit_threads(threads)
        close_doors(ray.util.get_node_ip_address())
        self.worker = Worker(analyzer, options, assignment)

    def load(self) -> Reply:
        return self.worker.load()

    def run(self, names: Sequence[str], *values: Any) -> Reply:
        return self.worker.run(dict(zip(names, values, strict=True)))

    def facts(self) -> dict[str, Any]:
        """What this process is and sees."""
        return {
            "pid": os.getpid(),
            "gpus": ray.get_gpu_ids(),
            "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "loaded": self.worker.loaded,
            "proxy": os.environ.get("https_proxy"),
        }


class DecoderActor:
    """Decodes in a process of its own: a hostile file kills no more than that."""

    def __init__(self, threads: int) -> None:
        limit_threads(threads)
        close_doors(ray.util.get_node_ip_address())

    def decode(self, path: str, want: Sequence[str], settings: Settings) -> tuple[Any, ...]:
        """An envelope, then one value for each track in ``want`` (None where there is none)."""
        begin = time.perf_counter()
        try:
            decoded = media.decode(Path(path), want, settings)
        except InputError as error:
            return ({"error": error}, *[None] * len(want))
        envelope = {
            "video": decoded.video,
            "coverage": decoded.coverage(),
            "present": [name for name in want if name in decoded.tracks],
            "seconds": time.perf_counter() - begin,
            "pss_gib": memory_now().pss_gib,
        }
        return (envelope, *[decoded.tracks.get(name) for name in want])

    def facts(self) -> dict[str, Any]:
        return {"pid": os.getpid()}


def open_ray(settings: Settings, cards: int = 0) -> None:
    """Start a Ray of our own in this process, unless one is connected."""
    if ray.is_initialized():
        return
    # Ray's dashboard process asks cloud metadata addresses where it runs, whatever the settings.
    with doors_closed(ray.util.get_node_ip_address()):
        ray.init(
            address="local",
            namespace=NAMESPACE,
            num_cpus=settings.cores,
            num_gpus=cards,
            object_store_memory=round(settings.object_store_gib * 2**30),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


class Fleet:
    """Implements ``Workers`` with Ray actors that die with this process."""

    def __init__(self, graph: Graph, plan: Plan, settings: Settings) -> None:
        self.graph = graph
        self.plan = plan
        self.settings = settings
        self._actors: dict[str, Any] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._ready: set[str] = set()
        self._loaded: set[str] = set()
        self._opening = asyncio.Lock()

    async def start(self, names: Collection[str]) -> None:
        async with self._opening:
            self._check_shares(names)
            await asyncio.to_thread(open_ray, self.settings, len(self.plan.cards))
            for name in (DECODER, *sorted(names, key=self._precedence)):
                if name not in self._actors:
                    self._locks[name] = asyncio.Lock()
                    self._actors[name] = self._create(name)

    def _precedence(self, name: str) -> tuple[float, float]:
        """Large shares first, so that Ray packs cards as the plan did; then the most urgent."""
        return -self.plan.assignments[name].gpu_share, -self.graph.urgency[name]

    def _check_shares(self, names: Collection[str]) -> None:
        """Raise ``CapacityError`` before any actor is made if the shares exceed the cards."""
        shares = {
            n: self.plan.assignments[n].gpu_share for n in {*names, *self._actors} - {DECODER}
        }
        if sum(shares.values()) > len(self.plan.cards) + 1e-9:
            asked = ", ".join(f"{n} {share:.4f}" for n, share in shares.items() if share)
            raise CapacityError(
                f"shares of {len(self.plan.cards)} cards do not add up: {asked}; see: tiktok-ray plan"
            )

    def _create(self, name: str) -> Any:
        shape: dict[str, Any] = {"num_cpus": 0, "max_restarts": RESTARTS, "max_concurrency": 1}
        if name == DECODER:
            return ray.remote(DecoderActor).options(**shape).remote(1)
        assignment = self.plan.assignments[name]
        analyzer = self.graph.analyzers[name]
        options = options_for(name, self.graph, self.settings)
        actor = ray.remote(AnalyzerActor).options(num_gpus=assignment.gpu_share, **shape)
        return actor.remote(analyzer, options, assignment, analyzer.needs.threads)

    async def decode(self, path: Path, want: Collection[str]) -> Tracks:
        await self.start(())
        names = sorted(want)
        limit = self.settings.decode_timeout_s
        async with self._locks[DECODER]:
            method = self._actors[DECODER].decode.options(num_returns=1 + len(names))
            refs = method.remote(str(path), names, self.settings)
            first, *rest = refs if names else [refs]
            envelope = await self._reply(DECODER, first, limit)
        if "error" in envelope:
            raise envelope["error"]
        handles = dict(zip(names, rest, strict=True))
        return Tracks(
            envelope["video"],
            {name: handles[name] for name in envelope["present"]},
            envelope["coverage"],
            envelope["seconds"],
            envelope["pss_gib"],
        )

    async def load(self, name: str) -> Reply:
        async with self._locks[name]:
            return await self._load(name)

    async def _load(self, name: str) -> Reply:
        await self._wait_ready(name)
        ref = self._actors[name].load.remote()
        reply: Reply = await self._reply(name, ref, self.settings.load_timeout_s)
        if reply.status == "ok":
            self._loaded.add(name)
        return reply

    async def _wait_ready(self, name: str) -> None:
        """Until the actor's process is up. Raises ``CapacityError`` past the deadline."""
        if name in self._ready:
            return
        limit = self.settings.start_timeout_s
        try:
            await asyncio.wait_for(_future(self._actors[name].__ray_ready__.remote()), limit)
        except TimeoutError:
            free = ray.available_resources()
            raise CapacityError(
                f"{name} could not be placed within {limit:.0f} s; it asks for "
                f"{self.plan.assignments[name].gpu_share} of a GPU, free are {free.get('GPU', 0)}"
            ) from None
        except exceptions.RayError as error:
            raise self._died(name, error) from None
        self._ready.add(name)

    async def run(self, name: str, inputs: Mapping[str, Any], timeout_s: float) -> Reply:
        async with self._locks[name]:
            if name not in self._loaded:
                reply = await self._load(name)
                if reply.status != "ok":
                    return reply
            ref = self._actors[name].run.remote(list(inputs), *inputs.values())
            result: Reply = await self._reply(name, ref, timeout_s)
            return result

    async def _reply(self, name: str, ref: Any, limit_s: float) -> Any:
        """What a call returns. Its actor is replaced when it is late, dead or no longer wanted."""
        try:
            return await asyncio.wait_for(_future(ref), limit_s)
        except (TimeoutError, asyncio.CancelledError):
            self._restart(name)
            raise
        except exceptions.RayError as error:
            raise self._died(name, error) from None

    def _restart(self, name: str) -> None:
        self._forget(name)
        with contextlib.suppress(exceptions.RayError, ValueError):
            ray.kill(self._actors[name], no_restart=False)

    def _died(self, name: str, error: Exception) -> WorkerDied:
        self._forget(name)
        if isinstance(error, exceptions.ActorDiedError):
            self._actors[name] = self._create(name)
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return WorkerDied(f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:300])

    def _forget(self, name: str) -> None:
        self._ready.discard(name)
        self._loaded.discard(name)

    async def facts(self) -> dict[str, dict[str, Any]]:
        """What each actor's process is and sees, by name."""
        return {
            name: await asyncio.wait_for(_future(actor.facts.remote()), 30)
            for name, actor in self._actors.items()
        }

    async def close(self) -> None:
        self._actors.clear()
        self._forget_all()
        await asyncio.to_thread(ray.shutdown)

    def _forget_all(self) -> None:
        self._ready.clear()
        self._loaded.clear()


def _future(ref: Any) -> asyncio.Future[Any]:
    return asyncio.wrap_future(ref.future())
