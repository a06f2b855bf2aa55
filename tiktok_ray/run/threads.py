"""Analyzers in threads of this process, for tests and benchmarks. A crash takes down the process.

A thread cannot be killed: one that runs past its limit is abandoned with its analyzer and ends
when it ends; the next call gets a fresh one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tiktok_ray.first_imports import leave_behind
from tiktok_ray.graph import Graph
from tiktok_ray.run.engine import Kind, Tracks, options_for, tracks_of
from tiktok_ray.run.placement import Plan
from tiktok_ray.run.worker import Reply, Worker, decode
from tiktok_ray.settings import Settings

T = TypeVar("T")


class LocalWorkers:
    """Implements ``Workers`` with one thread per call, one call at a time per analyzer."""

    kind: Kind = "threads"

    def __init__(self, graph: Graph, plan: Plan, settings: Settings) -> None:
        self.graph = graph
        self.plan = plan
        self.settings = settings
        self._workers: dict[str, Worker] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def start(self, names: Collection[str]) -> None:
        for name in names:
            self._locks.setdefault(name, asyncio.Lock())
            if name not in self._workers:
                self._workers[name] = self._make(name)

    def _make(self, name: str) -> Worker:
        options = options_for(name, self.graph, self.settings)
        return Worker(self.graph.analyzers[name], options, self.plan.assignments[name])

    async def decode(self, path: Path, want: Collection[str]) -> Tracks:
        done = await in_thread(
            lambda: decode(path, want, self.settings), self.settings.decode_timeout_s
        )
        return tracks_of(done, done.decoded.tracks if done.decoded else {})

    def loading(self, name: str) -> tuple[str, float]:
        return name, self.graph.urgency[name]

    def copies(self, name: str) -> int:
        return 1

    async def load(self, name: str) -> Reply:
        async with self._locks[name]:
            worker = self._workers[name]
            try:
                return await in_thread(worker.load, self.settings.load_timeout_s)
            except TimeoutError:
                leave_behind()
                self._workers[name] = self._make(name)
                raise

    async def run(self, name: str, inputs: Mapping[str, Any], timeout_s: float) -> Reply:
        async with self._locks[name]:
            worker = self._workers[name]
            if not worker.loaded:
                reply = await in_thread(worker.load, self.settings.load_timeout_s)
                if reply.status != "ok":
                    return reply
            try:
                reply = await in_thread(lambda: worker.run(inputs), timeout_s)
                if reply.exhausted:
                    self._workers[name] = self._make(name)
                return reply
            except (TimeoutError, asyncio.CancelledError):
                self._workers[name] = self._make(name)
                raise

    async def close(self) -> None:
        self._workers.clear()


async def in_thread(call: Callable[[], T], timeout_s: float) -> T:
    """Run ``call`` in a daemon thread of its own. Raises what it raises, or ``TimeoutError``."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(setter: Callable[..., None], value: Any) -> None:
        if not result.done():
            setter(value)

    def work() -> None:
        try:
            value = call()
        except BaseException as error:  # noqa: BLE001 - handed to the waiting task
            outcome: tuple[Callable[..., None], Any] = (result.set_exception, error)
        else:
            outcome = (result.set_result, value)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=work, daemon=True).start()
    async with asyncio.timeout(timeout_s):
        return await result
