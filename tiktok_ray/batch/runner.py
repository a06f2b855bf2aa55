"""Many videos: ``python -m tiktok_ray.batch MANIFEST --out DEST``, also as ``tiktok-ray batch``.

What is done is read from the destination alone, so that the same command goes on after any end,
also on another machine. Each entry of the manifest ends once: with a report, or as a row of the
table ``failures``; a further run tries failures again, except the quarantined.

An entry at work has a file ``state/running/<item>.json``. Those that a dead driver left are suspects:
they run after all others and one at a time. One whose driver dies ``POISON`` times while it alone
is at work, and an entry whose decoder died in as many runs, is quarantined.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Protocol

import typer
from typer.core import TyperGroup

from tiktok_ray import logs
from tiktok_ray.batch.manifest import Entry, entries, item_of
from tiktok_ray.commands import explained, names_of, open_settings, options_of
from tiktok_ray.compose import make_cache, make_engine, make_graph
from tiktok_ray.files import sha256_of
from tiktok_ray.json_text import json_text
from tiktok_ray.media import InputError
from tiktok_ray.net.fetch import URL, take
from tiktok_ray.net.intake import Taken
from tiktok_ray.report import readable, said
from tiktok_ray.run.engine import CapacityError, Engine, Source
from tiktok_ray.serve.jobs import POISON, Lease
from tiktok_ray.settings import Settings, ray_address

if TYPE_CHECKING:
    from tiktok_ray.batch.dataset import Destination
    from tiktok_ray.run.metrics import Metrics

log = logging.getLogger("tiktok_ray.batch")

RUNNING, DEATHS, PROGRESS = "state/running", "state/deaths.json", "state/progress.json"
#: A part of the dataset is written after so many videos or seconds, whichever comes first.
FLUSH_VIDEOS, FLUSH_S = 64, 30.0
TELL_S = 5.0
#: A driver on another machine that has said nothing for so long is taken for dead.
SILENT_S = 60.0


class Exit(IntEnum):
    """Exit codes; one ended by a signal exits with 128 and its number."""

    OK = 0
    USAGE = 2
    FAILURES = 3
    STRICT = 4
    BROKEN = 5


POISONED = "leave it out, or try it alone with tiktok-ray analyze, then use --retry-quarantined"


class Busy(Exception):
    """Another batch is writing to the destination."""


class PortTaken(Exception):
    """The port of the setting ``batch_metrics_port`` is not available."""


class Runner(Protocol):
    """Where videos are analyzed. ``slots`` is the number processed at once."""

    slots: int

    async def analyze(self, source: Source) -> dict[str, Any]:
        """The report as JSON. Raises ``InputError``, ``CapacityError``, or unexpected exceptions."""

    async def close(self) -> None: ...


class OwnFleet:
    """One engine over workers that end with the batch."""

    def __init__(self, engine: Engine, slots: int, only: list[str], without: list[str]) -> None:
        self.engine = engine
        self.slots = slots
        self._only, self._without = only, without

    async def analyze(self, source: Source) -> dict[str, Any]:
        report = await self.engine.analyze(source, only=self._only, without=self._without)
        return await asyncio.to_thread(report.plain)

    async def close(self) -> None:
        await self.engine.workers.close()


@dataclass
class Tally:
    """The progress of a batch."""

    total: int = 0
    before: int = 0
    done: int = 0
    repeats: int = 0
    blank: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    sections_failed: int = 0
    begun: float = field(default_factory=time.time)
    #: Where the steady part begins: the first entry that ended, with or without a report.
    first: float | None = None

    @property
    def ended(self) -> int:
        return self.before + self.done + self.repeats + self.blank + self.failed.total()

    def facts(self, now: float) -> dict[str, Any]:
        span = now - self.first if self.first is not None else 0.0
        rate = (self.done - 1) / span * 60 if self.done > 1 and span > 0 else None
        # Those that fail take their time too; those given up before take none.
        worked = self.done + self.failed.total() - self.failed["quarantined"] - 1
        left = self.total - self.ended
        return {
            "total": self.total,
            "ended": self.ended,
            "done_before": self.before,
            "done": self.done,
            "duplicates": self.repeats,
            "blank": self.blank,
            "failed": self.failed.total(),
            "failed_by_type": dict(self.failed),
            "videos_with_failed_analyzers": self.sections_failed,
            "videos_per_minute": rate and round(rate, 3),
            "seconds_left": round(left * span / worked) if worked > 0 and span > 0 else None,
        }

    def __str__(self) -> str:
        facts = self.facts(time.time())
        words = [f"{facts['ended']} of {facts['total']}", f"{self.before + self.done} reports"]
        words += [f"{self.failed.total()} failed"] if self.failed else []
        words += [f"{self.repeats} duplicates"] if self.repeats else []
        if rate := facts["videos_per_minute"]:
            words.append(f"{rate:.1f}/min, about {facts['seconds_left']} s left")
        return ", ".join(words)


class Batch:
    """One run over a manifest. Call ``run`` once."""

    def __init__(
        self,
        manifest: Sequence[Entry],
        where: Destination,
        runner: Runner,
        settings: Settings,
        *,
        retry_quarantined: bool = False,
        metrics: Metrics | None = None,
        tell_ray: Callable[[], None] = lambda: None,
    ) -> None:
        from tiktok_ray.batch.dataset import Dataset
        from tiktok_ray.run.metrics import Metrics

        self.manifest = manifest
        self.where = where
        self.runner = runner
        self.settings = settings
        self.dataset = Dataset(where)
        self.tally = Tally(total=len(manifest))
        self.failures: dict[str, dict[str, Any]] = {}
        self.stopped: int | None = None
        self._retry_quarantined = retry_quarantined
        self._metrics = metrics or Metrics()
        self._tell_ray = tell_ray
        self._work = work_folder(settings, where)
        self._deaths: dict[str, int] = {}
        self._running: dict[str, tuple[Entry, float]] = {}
        self._makers: dict[str, str] = {}
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(runner.slots)
        self._room = asyncio.Semaphore(2 * runner.slots)
        self._writing = asyncio.Lock()
        self._failures_changed = False
        self._flushed = time.monotonic()
        self._ruin: BaseException | None = None
        self._main: asyncio.Task[Any] | None = None

    # The run

    async def run(self) -> Tally:
        """Process every entry, or until ``stop``. Raises ``CapacityError``."""
        self._main = asyncio.current_task()
        await asyncio.to_thread(self._open)
        ticking = asyncio.create_task(self._tick())
        try:
            suspects = await self._feed(self._chosen())
            await self._drain()
            for entry in sorted(suspects, key=lambda e: (self._deaths[e.item], e.position)):
                if not self._ending:
                    await self._start(entry)
                    await self._drain()
        except asyncio.CancelledError:
            if self.stopped is None:
                raise
        finally:
            ticking.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._write(everything=True)
            if self.stopped is None and self._ruin is None:
                await asyncio.to_thread(self.dataset.compact)
            state = "ruined" if self._ruin else "stopped" if self.stopped else "ended"
            await asyncio.to_thread(self._tell, state)
            self._tell_ray()
            await asyncio.to_thread(self.where.sweep)
            await asyncio.to_thread(shutil.rmtree, self._work, True)
        if self._ruin is not None:
            raise self._ruin
        return self.tally

    @property
    def _ending(self) -> bool:
        return self.stopped is not None or self._ruin is not None

    def stop(self, number: int) -> None:
        """Stop at a signal: SIGINT lets running entries finish; SIGTERM and a second signal do not."""
        hard = self.stopped is not None or number != signal.SIGINT
        self.stopped = self.stopped or number
        log.info("stopping%s …", "" if hard else " once the running ones have finished")
        if hard and self._main is not None:
            self._main.cancel()

    def _open(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)
        mended = self.dataset.open()
        if mended:
            log.info("%d reports were not yet in any part of the dataset", mended)
        for place in self.dataset.set_aside:
            log.warning("not one of our reports, set aside: %s", place)
        self.failures = {
            row["item"]: row
            for row in self.dataset.failures()
            if row["item"] == item_of(row["source"]) and row["item"] not in self.dataset.items
        }
        self._blame()
        self._tell("running")

    def _blame(self) -> None:
        """Count the deaths of entries that a dead driver left at work."""
        if self.where.has(DEATHS):
            try:
                self._deaths = json.loads(self.where.read(DEATHS))
            except ValueError:
                log.warning("unreadable, set aside: %s", self.where.put_aside(DEATHS))
        left = self.where.files(RUNNING)
        for file in left:
            item = file.removesuffix(".json")
            if item not in self.dataset.items:
                self._deaths[item] = self._deaths.get(item, 0) + (len(left) == 1)
        self._keep_deaths()
        for file in left:
            self.where.remove(f"{RUNNING}/{file}")

    def _keep_deaths(self) -> None:
        if self._deaths:
            self.where.write(DEATHS, json.dumps(self._deaths).encode())
        else:
            self.where.remove(DEATHS)

    def _chosen(self) -> Iterator[Entry]:
        """Entries that are to be worked on; the others are settled here."""
        seen: dict[str, int] = {}
        for entry in self.manifest:
            item = entry.item
            if not entry.source:
                self.tally.blank += 1
                self._note(entry, "blank", "the line is empty", item=f"\0blank {entry.position}")
            elif item in seen:
                self.tally.repeats += 1
                reason = f"same as entry {seen[item]}"
                self._note(entry, "duplicate", reason, item=f"\0again {entry.position} {item}")
            else:
                seen[item] = entry.position
                if item in self.dataset.items:
                    self.tally.before += 1
                elif not self._settled(entry):
                    yield entry

    def _settled(self, entry: Entry) -> bool:
        """Whether an earlier run, or the death of one, left nothing to do."""
        row = self.failures.get(entry.item)
        if row is not None and row["type"] == "duplicate" and self.dataset.has(row["video_id"]):
            self.tally.repeats += 1
            return True
        if self._retry_quarantined:
            self._deaths.pop(entry.item, None)
            return False
        if self._deaths.get(entry.item, 0) >= POISON:
            deaths = self._deaths.pop(entry.item)
            reason = f"the driver died {deaths} times while working on this entry alone"
            self._fail(entry, "quarantined", reason, POISONED, deaths=deaths)
            return True
        if row is not None and row["type"] == "quarantined":
            self.tally.failed["quarantined"] += 1
            return True
        return False

    async def _feed(self, chosen: Iterator[Entry]) -> list[Entry]:
        """Start what is chosen; returns the suspects, which are left for later."""
        suspects = []
        for entry in chosen:
            if self._ending:
                break
            if entry.item in self._deaths:
                suspects.append(entry)
            else:
                await self._start(entry)
        return suspects

    async def _start(self, entry: Entry) -> None:
        await self._room.acquire()
        if self._ending:
            self._room.release()
            return
        ready: Ready | None = None
        if not URL.match(entry.source):
            # Paths are looked at in order, so that of equal files the first is the one analyzed.
            try:
                ready = await self._make_ready(entry, self._work)
                self._makes(entry, ready)
            except InputError as error:
                self._fail(entry, error.type, str(error), error.advice)
                self._room.release()
                return
        task = asyncio.create_task(self._one(entry, ready), name=entry.item)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._room.release())

    async def _drain(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    # One entry

    async def _make_ready(self, entry: Entry, folder: Path) -> Ready:
        try:
            taken = await take(entry.place, self.settings, folder)
            digest = await asyncio.to_thread(sha256_of, taken.path)
        except (ValueError, OSError) as error:
            if URL.match(entry.source):
                raise
            words = f"the entry cannot be read: {error}"[:500]
            raise InputError("not_found", words, "check the manifest") from None
        return Ready(taken, digest, taken.id or digest[:16])

    def _makes(self, entry: Entry, ready: Ready) -> bool:
        """Say that this entry makes that video, unless another is at it."""
        keys = (ready.digest, ready.video)
        if any(self._makers.get(key, entry.item) != entry.item for key in keys):
            return False
        self._makers.update(dict.fromkeys(keys, entry.item))
        self._ends.setdefault(entry.item, asyncio.Event())
        return True

    async def _repeats(self, entry: Entry, ready: Ready) -> str | None:
        """The video that is there already, else None; waits for others that are making it."""
        while True:
            if (known := self.dataset.sha256.get(ready.digest)) is not None:
                return known
            if self.dataset.has(ready.video):
                return ready.video
            if self._makes(entry, ready):
                return None
            makers = {self._makers.get(key) for key in (ready.digest, ready.video)} - {entry.item}
            for maker in makers - {None}:
                await self._ends[str(maker)].wait()

    async def _one(self, entry: Entry, ready: Ready | None) -> None:
        folder = self._work / entry.item
        before = self.failures.get(entry.item, {}).get("deaths") or 0
        try:
            if ready is None:
                folder.mkdir(parents=True, exist_ok=True)
                ready = await self._make_ready(entry, folder)
                self._metrics.fetched(ready.taken.path.stat().st_size)
            if (video := await self._repeats(entry, ready)) is not None:
                self.tally.repeats += 1
                self._note(entry, "duplicate", f"the same video as {video}", video_id=video)
                return
            async with self._slots:
                if not self._ending:
                    await self._analyze(entry, ready.taken)
        except InputError as error:
            deaths = before + (error.type == "decoder_died")
            if deaths > before and deaths >= POISON:
                reason = f"its decoder died in {deaths} runs, the last time with: {error}"
                self._fail(entry, "quarantined", reason, POISONED, deaths=deaths)
            else:
                self._fail(entry, error.type, str(error), error.advice, deaths=deaths)
        except (CapacityError, OSError) as error:
            # No room, or a disk that fails: going on would only fail one entry after another.
            self._ruin = self._ruin or error
        except Exception as error:
            log.error("%s: unforeseen", entry.source, exc_info=error)
            self._fail(entry, "internal", said(error), "see the log for details", deaths=before)
        finally:
            for key in [k for k, maker in self._makers.items() if maker == entry.item]:
                del self._makers[key]
            if entry.item in self._ends:
                self._ends.pop(entry.item).set()
            shutil.rmtree(folder, ignore_errors=True)

    async def _analyze(self, entry: Entry, taken: Taken) -> None:
        marker = f"{RUNNING}/{entry.item}.json"
        facts = {"source": entry.source, "since": time.time()}
        await to_the_end(self.where.write, marker, json.dumps(facts).encode())
        self._running[entry.item] = (entry, time.time())
        self._metrics.at_work(len(self._running))
        try:
            source = Source.of(taken, entry.source)
            try:
                report = await self.runner.analyze(source)
            except OSError as error:
                raise RuntimeError(said(error)) from error
            report["run"]["batch"] = {
                "item": entry.item,
                "source": entry.source,
                "analyzed_at": datetime.now(UTC).isoformat(),
            }
            async with self._writing:
                await to_the_end(self.dataset.add, report)
            self._done(entry, report)
        finally:
            del self._running[entry.item]
            self._metrics.at_work(len(self._running))
            self.where.remove(marker)

    def _done(self, entry: Entry, report: dict[str, Any]) -> None:
        if self.failures.pop(entry.item, None) is not None:
            self._failures_changed = True
        if self._deaths.pop(entry.item, None) is not None:
            self._keep_deaths()
        bad = [n for n, s in report["analyzers"].items() if s["status"] in ("failed", "timed_out")]
        self.tally.sections_failed += bool(bad)
        self.tally.done += 1
        self.tally.first = self.tally.first or time.time()
        words = f"; failed: {', '.join(bad)}" if bad else ""
        log.info("done: %s (%.1f s)%s", entry.source, report["run"]["wall_s"], words)
        self._metrics.analyzed(report)

    def _fail(
        self, entry: Entry, type: str, reason: str, advice: str = "", *, deaths: int = 0
    ) -> None:
        self.tally.failed[type] += 1
        if type != "quarantined":
            self.tally.first = self.tally.first or time.time()
        log.warning("failed: %s: %s: %s", entry.source, type, reason)
        self._note(entry, type, reason, advice=advice, deaths=deaths)
        self._metrics.failed(type)

    def _note(
        self,
        entry: Entry,
        type: str,
        reason: str,
        *,
        item: str | None = None,
        advice: str = "",
        deaths: int = 0,
        video_id: str | None = None,
    ) -> None:
        key = entry.item if item is None else sha256(item.encode()).hexdigest()[:16]
        before = self.failures.get(key, {}).get("attempts") or 0
        self.failures[key] = {
            "item": key,
            "position": entry.position,
            "source": entry.source,
            "type": type,
            "reason": readable(reason),
            "advice": advice,
            "attempts": before + 1,
            "deaths": deaths,
            "video_id": video_id,
            "at": datetime.now(UTC),
        }
        self._failures_changed = True

    # What is written on the way

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TELL_S)
            late = time.monotonic() - self._flushed > FLUSH_S
            if self.dataset.waiting >= FLUSH_VIDEOS or (late and self.dataset.waiting):
                await self._write()
            elif self._failures_changed:
                await self._write_failures()
            log.info("%s", self.tally)
            await asyncio.to_thread(self._tell, "running")
            self._tell_ray()

    async def _write(self, *, everything: bool = False) -> None:
        async with self._writing:
            await to_the_end(self.dataset.flush)
        self._flushed = time.monotonic()
        if everything or self._failures_changed:
            await self._write_failures()

    async def _write_failures(self) -> None:
        self._failures_changed = False
        rows = sorted(self.failures.values(), key=lambda row: row["position"])
        async with self._writing:
            await to_the_end(self.dataset.write_failures, rows)

    def _tell(self, state: str) -> None:
        now = time.time()
        facts = {
            "state": state,
            "signal": self.stopped,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "begun": datetime.fromtimestamp(self.tally.begun, UTC).isoformat(),
            "updated": datetime.fromtimestamp(now, UTC).isoformat(),
            **self.tally.facts(now),
            "videos": self.dataset.videos,
            "running": [
                {"source": entry.source, "seconds": round(now - since, 1)}
                for entry, since in list(self._running.values())
            ],
        }
        self.where.write(PROGRESS, json_text(facts).encode())


async def to_the_end(call: Callable[..., Any], *values: Any) -> None:
    """Call in a thread and wait until it has finished, even if cancelled meanwhile."""
    task = asyncio.ensure_future(asyncio.to_thread(call, *values))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


class Ready(NamedTuple):
    """An entry whose file is available: its SHA-256, and the id of the video."""

    taken: Taken
    digest: str
    video: str


def work_folder(settings: Settings, where: Destination) -> Path:
    """Where what a batch fetches lies meanwhile; one place for each destination."""
    return settings.home / "batch" / sha256(where.name.encode()).hexdigest()[:16]


@contextlib.contextmanager
def alone_at(where: Destination) -> Iterator[None]:
    """Lock the destination while the block runs; only a local one can be locked. Raises ``Busy``."""
    if where.local is None:
        yield
        return
    lease = Lease(where.local / "state" / "lock")
    if not lease.acquire():
        raise Busy(f"another batch is writing to {where.name}; see: tiktok-ray batch status")
    try:
        yield
    finally:
        lease.give_back()


# The command


def make_runner(
    settings: Settings,
    only: list[str],
    without: list[str],
    nodes: int | None = None,
    *,
    through: bool = False,
    seconds: Mapping[str, float] | None = None,
) -> Runner:
    """The service that runs here, unless options of the batch's own are given; else a fleet.

    Where ``RAY_ADDRESS`` names a cluster there is a fleet on each of its nodes, with copies of what
    is slowest by ``seconds``.
    """
    graph = make_graph()
    graph.select(only, without)
    if through:
        from tiktok_ray.serve.client import Through, service_here

        if (address := service_here(settings)) is not None:
            log.info("through the service at %s", address)
            return Through(address, settings, only, without)
    if settings.workers in ("auto", "ray") and ray_address(settings):
        from tiktok_ray.batch.cluster import Cluster, working_nodes
        from tiktok_ray.run.ray_actors import open_ray

        open_ray(settings)
        nodes = nodes or max(1, len(working_nodes()))
        more: dict[str, Any] = {"cache": make_cache(settings), "seconds": seconds}
        return Cluster(graph, settings, only, without, nodes=nodes, **more)
    return OwnFleet(make_engine(settings), settings.in_flight, only, without)


async def run_batch(
    manifest: Sequence[Entry],
    where: Destination,
    runner: Runner,
    settings: Settings,
    **more: Any,
) -> Batch:
    """Run a batch that can be stopped by SIGINT and SIGTERM; the runner is closed afterwards."""
    batch = Batch(manifest, where, runner, settings, **more)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, batch.stop, number)
    try:
        await batch.run()
    finally:
        await runner.close()
    return batch


@contextlib.contextmanager
def counted(runner: Runner, settings: Settings) -> Iterator[dict[str, Any]]:
    """Options of a ``Batch`` whose metrics can be scraped while the block runs.

    What goes through a service is counted there, once. Raises ``PortTaken``.
    """
    from tiktok_ray.run.metrics import Metrics, RayMirror, served
    from tiktok_ray.serve.client import Through

    if isinstance(runner, Through):
        yield {}
        return
    planned = runner.engine.workers.plan.assignments if isinstance(runner, OwnFleet) else {}
    metrics = Metrics(make_graph().analyzers, {n: a.device for n, a in planned.items()})
    with contextlib.ExitStack() as stack:
        if port := settings.batch_metrics_port:
            try:
                stack.enter_context(served(metrics.registry, port))
            except OSError as error:
                raise PortTaken(f"metrics cannot be served on port {port}: {error}") from None
            yield {"metrics": metrics}
        else:
            yield {"metrics": metrics, "tell_ray": RayMirror(metrics.registry).update}


def status_of(where: Destination) -> dict[str, Any] | None:
    """The recorded state of the last run at a destination; ``died`` if it ended without recording one."""
    if not where.has(PROGRESS):
        return None
    facts: dict[str, Any] = json.loads(where.read(PROGRESS))
    if facts["state"] == "running":
        updated = datetime.fromisoformat(facts["updated"])
        silent = (datetime.now(UTC) - updated).total_seconds()
        here = facts["host"] == socket.gethostname()
        if silent > SILENT_S or (here and not Path(f"/proc/{facts['pid']}").exists()):
            facts["state"] = "died"
    return facts


class _RunByDefault(TyperGroup):
    """``batch MANIFEST`` means ``batch run MANIFEST``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = ["run", *args]
        return list(super().parse_args(ctx, args))


app = typer.Typer(
    cls=_RunByDefault,
    help="Analyze many videos into reports and a Parquet dataset; resumes where it stopped.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command("run")
def run_command(
    manifest: Annotated[
        str, typer.Argument(help="A txt, csv, jsonl or parquet file, a folder, or -")
    ],
    out: Annotated[str, typer.Option("--out", help="A folder, or a URI that pyarrow supports")],
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Analyzer names, comma-separated")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="Analyzer names, comma-separated")
    ] = None,
    column: Annotated[
        str | None, typer.Option("--column", help="Column of a csv, jsonl or parquet manifest")
    ] = None,
    in_flight: Annotated[int | None, typer.Option("--in-flight", min=1)] = None,
    nodes: Annotated[
        int | None,
        typer.Option("--nodes", min=1, help="Cluster nodes to use; missing ones are requested"),
    ] = None,
    workers: Annotated[
        str | None, typer.Option("--workers", help="ray, threads or processes")
    ] = None,
    own_fleet: Annotated[
        bool, typer.Option("--own-fleet", help="Do not use a service running on this machine")
    ] = False,
    retry_quarantined: Annotated[bool, typer.Option("--retry-quarantined")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 4 if an analyzer failed")] = False,
    options: Annotated[
        list[str] | None, typer.Option("--set", help="analyzer.option=value; repeatable")
    ] = None,
) -> None:
    """Analyze the entries of a manifest that are not done yet.

    Exit codes: 0 every entry has a report; 3 some do not, see the failures table; 4 --strict and
    an analyzer failed; 5 the destination failed; 130 or 143 stopped. Run the same command again to resume.
    """
    from tiktok_ray.batch.dataset import Destination, measured_seconds
    from tiktok_ray.console import problem

    logging.basicConfig(
        level=logging.WARNING, handlers=[logs.Words()], format="%(asctime)s %(message)s"
    )
    log.setLevel(logging.INFO)
    with explained():
        given = {"in_flight": in_flight, "workers": workers}
        settings = open_settings(**given, options=options_of(list(options or [])) or None)
        wanted = list(entries(manifest, column))
        where = Destination(out)
        through = not (own_fleet or options or workers)
        seconds = measured_seconds(where)
        chosen = (names_of(only), names_of(without))
        runner = make_runner(settings, *chosen, nodes, through=through, seconds=seconds)
        more = {"retry_quarantined": retry_quarantined}
        try:
            with alone_at(where), logs.native_aside(settings.home), counted(runner, settings) as to:
                more |= to
                batch = asyncio.run(run_batch(wanted, where, runner, settings, **more))
        except Busy as error:
            problem(str(error))
            raise typer.Exit(Exit.USAGE) from None
        except PortTaken as error:
            problem(str(error), "choose another with TIKTOK_RAY_BATCH_METRICS_PORT")
            raise typer.Exit(Exit.USAGE) from None
        except OSError as error:
            problem(
                f"the destination or the disk failed: {error}",
                "fix it, then run this command again",
            )
            raise typer.Exit(Exit.BROKEN) from None
    log.info("%s: %s", "stopped" if batch.stopped else "ended", batch.tally)
    raise typer.Exit(exit_code(batch, strict))


def exit_code(batch: Batch, strict: bool) -> int:
    """The exit code for the outcome of the batch."""
    if batch.stopped is not None:
        return 128 + batch.stopped
    if batch.tally.failed:
        return Exit.FAILURES
    return Exit.STRICT if strict and batch.tally.sections_failed else Exit.OK


@app.command("status")
def status_command(
    out: Annotated[str, typer.Argument(help="The --out of the batch")],
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Show the progress of a batch, as recorded at its destination."""
    from tiktok_ray.batch.dataset import Destination
    from tiktok_ray.console import console_for, problem

    if "://" not in out and not Path(out).is_dir():
        problem(f"the folder {out} does not exist")
        raise typer.Exit(Exit.USAGE)
    facts = status_of(Destination(out))
    if facts is None:
        problem(f"no batch has run at {out}")
        raise typer.Exit(Exit.USAGE)
    if as_json:
        print(json_text(facts))
        return
    shown = console_for(sys.stdout)
    shown.print(
        f"{facts['state']}: {facts['ended']} of {facts['total']} entries, "
        f"{facts['videos']} videos in the dataset (updated {facts['updated']})",
        soft_wrap=True,
    )
    for type, count in sorted(facts["failed_by_type"].items()):
        shown.print(f"failed: {count} {type}")
    if facts["duplicates"] or facts["blank"]:
        shown.print(f"{facts['duplicates']} duplicates, {facts['blank']} blank")
    if facts["videos_per_minute"]:
        left = f", about {facts['seconds_left']} s left" if facts["state"] == "running" else ""
        shown.print(f"{facts['videos_per_minute']:.1f} videos per minute{left}")
    for one in facts["running"]:
        shown.print(f"in progress: {one['source']} ({one['seconds']:.0f} s)", soft_wrap=True)
