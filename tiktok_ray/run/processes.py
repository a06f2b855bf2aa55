"""Analyzers in child processes, without Ray.

Decoding has a child of its own. Analyzers share one, each call in a thread of it (``threads``: the
least memory and the quickest start), or have a child each (``processes``). What dies in native code
takes its child with it and nothing else. An analyzer that was at work in a shared child when that
died, or that ran past its limit there, has a child of its own from then on: whichever is to blame
dies alone when it is tried again.

A thread cannot be killed. A shared child with an overdue call is given no further one, and is ended
when the others of its calls have ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from tiktok_ray import logs
from tiktok_ray.first_imports import weight
from tiktok_ray.graph import Graph
from tiktok_ray.run.child import no_room
from tiktok_ray.run.engine import (
    DECODER,
    CapacityError,
    Kind,
    Tracks,
    WorkerDied,
    options_for,
    tracks_of,
)
from tiktok_ray.run.forking import Forked, taken
from tiktok_ray.run.placement import Plan
from tiktok_ray.run.worker import CallFailed, Reply, thread_limits
from tiktok_ray.settings import Settings

#: The child that analyzers share.
SHARED = "analyzers"
#: Loading in the shared child is more urgent than any call: most wait for it.
FIRST = 1e6
#: How long a child with an overdue call may take to say that it still lives.
PING_S = 5.0


class ChildProcess:
    """The parent's end of one child process: sends calls and delivers the replies."""

    def __init__(self, settings: Settings) -> None:
        self.made: set[str] = set()
        self._retired = False
        self._death: str | None = None
        self._buried = asyncio.Event()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._count = 0
        self._loop = asyncio.get_running_loop()
        self._sending = threading.Lock()
        self._process: Forked | subprocess.Popen[bytes]
        self._connection, self._process = taken() or _spawn(settings)
        threading.Thread(target=self._receive, daemon=True).start()

    @property
    def takes_calls(self) -> bool:
        return not self._retired and self._death is None

    async def call(self, call: str, *values: Any, limit_s: float) -> Any:
        """What the call returns. Raises ``TimeoutError``, ``WorkerDied`` or ``CallFailed``."""
        if self._death is not None:
            raise WorkerDied(self._death)
        self._count += 1
        number = self._count
        answer = self._waiting[number] = self._loop.create_future()
        packed = pickle.dumps((values, logs.correlation.get()), protocol=5)
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.to_thread(self._send, (number, call, packed))
                worked, result = pickle.loads(await answer)
        except TimeoutError:
            await asyncio.to_thread(self._send, (number, "abandon", b""))
            raise
        finally:
            self._waiting.pop(number, None)
            if self._retired and not self._waiting:
                self.end()
        if not worked:
            raise CallFailed(result)
        return result

    async def retire(self) -> None:
        """Take no further call, and end with the last of those in flight; at once if it hangs."""
        self._retired = True
        try:
            await self.call("ping", limit_s=PING_S)
        except TimeoutError:
            self.end()
        except WorkerDied:
            return

    def end(self) -> None:
        """Kill it; pending calls fail with its death."""
        self._process.kill()

    async def ended(self) -> None:
        """Wait until it has exited."""
        await self._buried.wait()

    def _send(self, message: tuple[int, str, bytes]) -> None:
        # A child that cannot be written to is dead, which ``_receive`` tells.
        with self._sending, contextlib.suppress(OSError):
            self._connection.send(message)

    def _receive(self) -> None:
        """Runs in a thread until the child closes its end, which it does by ending."""
        while True:
            try:
                number, packed = self._connection.recv()
            except (EOFError, OSError):
                break
            self._in_loop(self._settle, number, packed)
        self._in_loop(self._bury, how_it_ended(self._process.wait()))

    def _in_loop(self, act: Callable[..., None], *values: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(act, *values)

    def _settle(self, number: int, packed: bytes) -> None:
        answer = self._waiting.get(number)
        if answer is not None and not answer.done():
            answer.set_result(packed)

    def _bury(self, death: str) -> None:
        self._death = death
        self._connection.close()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(WorkerDied(death))
        self._buried.set()


class ProcessWorkers:
    """Implements ``Workers`` with child processes that end with this one.

    ``shared``: analyzers share a child, and their calls run in its threads.
    """

    def __init__(self, graph: Graph, plan: Plan, settings: Settings, *, shared: bool) -> None:
        self.kind: Kind = "threads" if shared else "processes"
        self.graph = graph
        self.plan = plan
        self.settings = settings
        self._children: dict[str, ChildProcess] = {}
        self._apart: set[str] = set()
        self._past: list[ChildProcess] = []
        self._locks: dict[str, asyncio.Lock] = {}
        self._folder: Path | None = None

    async def start(self, names: Collection[str]) -> None:
        """Begin the processes: the decoder's first, since all wait for it."""
        self._child(DECODER)
        for name in names:
            self._locks.setdefault(name, asyncio.Lock())
            self._child(self._place(name))

    def loading(self, name: str) -> tuple[str, float]:
        """In the shared child one loads after the other, those first that import little."""
        if self._place(name) != SHARED:
            return name, self.graph.urgency[name]
        variant = self.plan.assignments[name].variant
        return SHARED, FIRST - weight((*self.graph.analyzers[name].imports, *variant.imports))

    def _place(self, name: str) -> str:
        """Which child an analyzer is in."""
        return SHARED if self.kind == "threads" and name not in self._apart else name

    def _child(self, place: str) -> ChildProcess:
        """The child of that place; a fresh one when there is none that takes calls."""
        child = self._children.get(place)
        if child is None or not child.takes_calls:
            child = self._children[place] = ChildProcess(self.settings)
        return child

    async def _make(self, name: str, child: ChildProcess) -> None:
        """Have the worker of an analyzer in that child."""
        if name not in child.made:
            analyzer = self.graph.analyzers[name]
            options = options_for(name, self.graph, self.settings)
            given = (name, analyzer, options, self.plan.assignments[name])
            await child.call("make", *given, limit_s=self.settings.start_timeout_s)
            child.made.add(name)

    async def decode(self, path: Path, want: Collection[str]) -> Tracks:
        call = ("decode", path, sorted(want), self.settings, self._tracks_folder())
        limit = self.settings.decode_timeout_s
        child = self._child(DECODER)
        try:
            done, files = await child.call(*call, limit_s=limit)
        except CallFailed as failed:
            raise CapacityError(f"the tracks could not be transferred: {failed}") from None
        except (TimeoutError, asyncio.CancelledError):
            child.end()
            raise
        return tracks_of(done, {name: file.keep() for name, file in files.items()})

    def _tracks_folder(self) -> Path:
        if self._folder is None:
            try:
                self._folder = Path(tempfile.mkdtemp(prefix="tiktok-ray-tracks-"))
            except OSError as error:
                raise no_room(Path(tempfile.gettempdir()) / "tracks", error) from None
        return self._folder

    def copies(self, name: str) -> int:
        return 1

    async def load(self, name: str) -> Reply:
        return await self._reply(name, "load", limit_s=self.settings.load_timeout_s)

    async def run(self, name: str, inputs: Mapping[str, Any], timeout_s: float) -> Reply:
        return await self._reply(name, "run", dict(inputs), limit_s=timeout_s)

    async def _reply(self, name: str, call: str, *values: Any, limit_s: float) -> Reply:
        async with self._locks[name]:
            child = self._child(self._place(name))
            async with self._judged(name, child, wanted_by_others=call == "load"):
                try:
                    await self._make(name, child)
                    reply: Reply = await child.call(call, name, *values, limit_s=limit_s)
                except CallFailed as failed:
                    return failed.reply
            if reply.exhausted:
                await self._give_up(name, child)
            return reply

    @asynccontextmanager
    async def _judged(
        self, name: str, child: ChildProcess, *, wanted_by_others: bool
    ) -> AsyncIterator[None]:
        """What the end of a call means for its child.

        A load that one video no longer wants goes on: the next video wants it.
        """
        try:
            yield
        except WorkerDied:
            self._apart.add(name)
            raise
        except TimeoutError:
            await self._give_up(name, child)
            raise
        except asyncio.CancelledError:
            if not wanted_by_others:
                child.made.discard(name)
            raise

    async def _give_up(self, name: str, child: ChildProcess) -> None:
        """A child that is not to be trusted any more: its analyzer gets another, of its own."""
        self._apart.add(name)
        self._past.append(child)
        await child.retire()

    async def close(self) -> None:
        """End every child, and remove the tracks."""
        children = [*self._children.values(), *self._past]
        self._children.clear()
        self._past.clear()
        for child in children:
            child.end()
        for child in children:
            await child.ended()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def how_it_ended(code: int) -> str:
    """A process's exit status as text."""
    if code < 0:
        try:
            return f"ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"ended by signal {-code}"
    return f"ended with exit status {code}"


def _spawn(settings: Settings) -> tuple[Any, subprocess.Popen[bytes]]:
    """Our end of a new child, and the child; what its libraries print goes to ``logs/native.log``."""
    here, there = Pipe()
    path = os.pathsep.join(place or os.getcwd() for place in sys.path)
    environment = {**os.environ, **thread_limits(), "PYTHONPATH": path}
    log_file = logs.log_file(settings.home)
    words = [sys.executable, "-m", "tiktok_ray.run.child", str(there.fileno()), str(log_file)]
    with there, logs.native_log(settings.home) as sink:
        process = subprocess.Popen(
            words,
            pass_fds=(there.fileno(),),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
    return here, process
