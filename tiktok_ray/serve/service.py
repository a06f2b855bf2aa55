"""The worker behind the ingress: takes jobs from the ledger and runs them on one engine.

One process at a time holds the lease and runs jobs; others may serve requests meanwhile. A job's
folder ``<home>/work/<id>`` contains its uploaded or fetched file, and is removed when the job ends.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import logging
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import Counter, Metric, Summary
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from tiktok_ray import logs
from tiktok_ray.graph import Graph
from tiktok_ray.media import InputError
from tiktok_ray.net.fetch import TIKTOK_HOSTS, take
from tiktok_ray.report import NOT_SELECTED, Output, VideoReport, rounded, said
from tiktok_ray.reporting.reading import Report
from tiktok_ray.run.cache import DiskCache, open_cache
from tiktok_ray.run.engine import CapacityError, Engine, Progress, Source, WorkerDied, Workers
from tiktok_ray.run.metrics import Metrics
from tiktok_ray.serve import service_home, webhooks
from tiktok_ray.serve.database import no_room, no_room_behind, set_aside
from tiktok_ray.serve.jobs import (
    ENDED,
    ORPHAN_S,
    SUSPECT,
    Delivery,
    Entry,
    Job,
    Lease,
    Ledger,
    State,
    discard,
    orphans,
)
from tiktok_ray.serve.problems import input_problem, problem
from tiktok_ray.serve.search_index import INDEX as SEARCHED
from tiktok_ray.serve.search_index import Finder
from tiktok_ray.serve.store import Store
from tiktok_ray.settings import Settings

log = logging.getLogger("tiktok_ray.serve.service")

POLL_S = 0.5
GATHER_S = 0.02
NEWS_S = 5.0
SWEEP_S = 600.0
#: A result that nobody wants kept is removed after so long, if its sender has not done that.
UNKEPT_S = 3600.0
POSTER_S = 20.0
#: Those who wait for a report are answered before its poster is begun.
POSTER_PAUSE_S = 0.2
#: Webhooks that are sent at once, and those of them to one host.
HOOKS, HOST_HOOKS = 16, 2
#: How often a full disk is tried again.
FULL_S = 1.0
#: Most entries of the timeline that a job's event carries.
SHOWN = 200


def settings_for_fetching(settings: Settings) -> Settings:
    """Settings for fetching by the service: TikTok's hosts unless configured; ``*`` means any."""
    hosts = settings.allowed_hosts
    hosts = TIKTOK_HOSTS if hosts is None else None if "*" in hosts else hosts
    return settings.model_copy(update={"allowed_hosts": hosts})


class ServiceMetrics(Metrics):
    """The service's metrics in addition to those of videos, including gauges read at a scrape."""

    def __init__(self, service: Service) -> None:
        planned = service.engine.workers.plan.assignments
        super().__init__(service.graph.analyzers, {n: a.device for n, a in planned.items()})
        made = self.registry
        self.jobs_ended = Counter(
            "tiktok_ray_jobs_ended", "Jobs ended since startup", ["state"], registry=made
        )
        self.job_s = Summary(
            "tiktok_ray_job_seconds", "Duration of completed jobs, in seconds", registry=made
        )
        self.refused = Counter(
            "tiktok_ray_requests_refused", "Requests refused, by problem", ["problem"],
            registry=made,
        )  # fmt: skip
        self.uploaded = Counter("tiktok_ray_uploaded_bytes", "Bytes uploaded", registry=made)
        for state in ENDED:
            self.jobs_ended.labels(state)
        self.refused.labels("queue_full")
        made.register(_AtScrape(service))


class _AtScrape(Collector):
    """Figures that are read when they are asked for. They touch the disk: collect in a thread."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def describe(self) -> Iterator[Metric]:
        """Nothing is read to register it."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        service = self._service
        jobs = GaugeMetricFamily("tiktok_ray_jobs", "Jobs in the ledger", labels=["state"])
        for state, count in service.ledger.counts().items():
            jobs.add_metric([state], count)
        yield jobs
        for name, about, value in self._values():
            yield GaugeMetricFamily(f"tiktok_ray_{name}", about, value)
        if service.cache is not None:
            facts = service.cache.facts()
            about = "Cache misses of analyzer outputs"
            yield CounterMetricFamily("tiktok_ray_cache_misses", about, facts["misses"])
            yield GaugeMetricFamily(
                "tiktok_ray_cache_bytes", "Size of the cache, in bytes", facts["bytes"]
            )

    def _values(self) -> Iterator[tuple[str, str, float]]:
        service, store = self._service, self._service.store
        yield "streams", "Open event streams and waiting requests", service.watching
        yield "uploads_arriving", "Uploads in progress", len(service.arriving)
        yield "in_flight_limit", "Limit of videos analyzed at once", service.settings.in_flight
        yield "queue_limit", "Limit of queued jobs", service.settings.queue
        yield "disk_free_bytes", "Free disk", round(service.free_gib() * 2**30)
        yield "results", "Results kept", store.count()
        yield "results_bytes", "Total size of results, in bytes", store.total_bytes()
        yield "ready", "Whether this process runs jobs", int(service.lease.held)


@dataclass
class Arriving:
    """An upload in progress: its announced bytes (0: unknown), and those received.

    ``direct``: it arrives on the service's own socket, not through Ray Serve's proxy.
    """

    announced: int
    direct: bool
    came: int = 0
    looked: int = 0

    @property
    def left(self) -> int:
        """Bytes still to be received, as far as known."""
        return max(0, self.announced - self.came)

    def looks(self, every: int) -> bool:
        """Whether so many bytes came since the last time that this was true."""
        due = self.came - self.looked >= every
        if due:
            self.looked = self.came
        return due


class Service:
    """Accepts, runs and publishes jobs. Create, ``start`` and ``stop`` it in one event loop."""

    def __init__(self, graph: Graph, workers: Workers, settings: Settings) -> None:
        home = settings.home
        service_home.private(home)
        self.settings = settings
        self.graph = graph
        self.ledger = Ledger(home / "jobs.sqlite")
        self.store = Store(home / "results")
        self.troubles: dict[str, str] = {}
        self.cache = self._cache()
        self.engine = Engine(graph, workers, settings, cache=self.cache)
        self.lease = Lease(home / "jobs.lock")
        self.work = home / "work"
        self.work.mkdir(exist_ok=True, mode=0o700)
        self.begun = time.time()
        self.metrics = ServiceMetrics(self)
        self.aside = [*set_aside(home), *set_aside(home / "results")]
        self.loaded: set[str] = set()
        self.arriving: dict[str, Arriving] = {}
        self.watching = 0
        self.admission = asyncio.Lock()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._job_s: collections.deque[float] = collections.deque(maxlen=50)
        self._work: dict[str, asyncio.Task[tuple[VideoReport, Path | None]]] = {}
        self._sending: dict[str, str] = {}
        self._hooks: set[asyncio.Task[None]] = set()
        self._suspect = ""
        self._posters: asyncio.Queue[str] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._news: dict[str, asyncio.Event] = {}
        self._entries: list[tuple[str, float, str, dict[str, Any]]] = []
        self._writing = asyncio.Lock()
        self._stopping = False

    def _cache(self) -> DiskCache | None:
        """The cache, where it is wanted and can be had: it is optional."""
        try:
            return open_cache(self.settings)
        except OSError as error:
            self.troubles["cache"] = f"running without a cache: {error}"
            return None

    # Life

    async def start(self) -> None:
        """Start running jobs as soon as no other process does."""
        self._tasks = [
            asyncio.create_task(self._lead(), name="lead"),
            asyncio.create_task(self._again("events", self._flush, GATHER_S), name="events"),
        ]

    async def stop(self) -> None:
        """Stop; running jobs go back into the queue."""
        self._stopping = True
        for task in [*self._tasks, *self._work.values(), *self._hooks]:
            task.cancel()
        ending = [*self._tasks, *self._running.values(), *self._hooks]
        await asyncio.gather(*ending, return_exceptions=True)
        self.lease.give_back()
        await self.engine.workers.close()
        self.ledger.close()
        self.store.close()
        if "finder" in self.__dict__:
            self.finder.close()

    def alive(self) -> bool:
        """Whether it is still running jobs."""
        return not any(task.done() for task in self._tasks)

    async def _lead(self) -> None:
        while not self.lease.acquire():
            self.troubles["lease"] = "another process runs the jobs"
            await asyncio.sleep(POLL_S)
        self.troubles.pop("lease", None)
        await asyncio.to_thread(self.store.sweep)
        await asyncio.to_thread(self._tidy, 0.0)
        again, given_up = await asyncio.to_thread(self.ledger.recover)
        for job in again:
            log.warning("job %s is retried: the process working on it died", job.id)
        for job in given_up:
            log.error("job %s is abandoned: %s", job.id, (job.problem or {}).get("detail"))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._again("queue", self._consume, 0.0))
            group.create_task(self._again("retention", self._sweep, SWEEP_S))
            group.create_task(self._again("webhooks", self._deliver, POLL_S))
            group.create_task(self._again("posters", self._make_poster, 0.0))
            group.create_task(self._prepare())

    async def _again(self, name: str, step: Callable[[], Awaitable[None]], pause_s: float) -> None:
        """Do something over and over. A step that fails (a full disk, say) is told and repeated."""
        while not self._stopping:
            try:
                await step()
            except Exception as error:
                log.error("%s", name, exc_info=error)
                self.troubles[name] = f"{name}: {said(error)}"
                await asyncio.sleep(1.0)
            else:
                self.troubles.pop(name, None)
                await asyncio.sleep(pause_s)

    def _tidy(self, ended_s: float = ORPHAN_S) -> None:
        """Remove what is left in the work folder of no open job."""
        for path in orphans(self.work, self.ledger, ended_s):
            if path.name not in self.arriving:
                discard(path)

    async def _prepare(self) -> None:
        """Make the actors, and load the models where the settings want it."""
        workers = self.engine.workers
        try:
            await self.engine.warm()
        except CapacityError as error:
            self.troubles["capacity"] = str(error)
            log.error("%s", error)
            return
        if not self.settings.preload:
            return
        names = [n for n in self.graph.order if n in workers.plan.assignments]

        async def load(name: str) -> None:
            try:
                async with self.engine.cores.hold(name, 1, self.graph.urgency[name]):
                    reply = await workers.load(name)
            except (TimeoutError, CapacityError, WorkerDied) as error:
                self.troubles[name] = f"{name} could not be loaded: {error or 'too slow'}"
                return
            if reply.status == "ok":
                self.loaded.add(name)
            else:
                self.troubles[name] = f"{name}: {reply.reason}"

        await asyncio.gather(*(load(name) for name in names))

    async def _sweep(self) -> None:
        """Hold results and jobs to the settings' age and size, and the work folder tidy."""
        await asyncio.to_thread(self._tidy)
        age = self.settings.keep_days * 86_400
        await asyncio.to_thread(
            self.store.prune, older_than_s=age, max_bytes=self.settings.keep_gib * 2**30
        )
        for id in await asyncio.to_thread(self.ledger.unkept, time.time() - UNKEPT_S):
            await asyncio.to_thread(self.store.delete, id)
        await asyncio.to_thread(self.forget_gone)
        await asyncio.to_thread(self.ledger.prune, time.time() - age)

    # Jobs

    async def _consume(self) -> None:
        """Run queued jobs, as many at once as may be in flight."""
        self._wake.clear()
        for id in await asyncio.to_thread(self.ledger.cancelling):
            if id in self._work:
                self._work[id].cancel()
        while len(self._running) < self.settings.in_flight and self._suspect not in self._running:
            job = await asyncio.to_thread(self.ledger.claim, alone=not self._running)
            if job is None:
                break
            if job.deaths >= SUSPECT:
                self._suspect = job.id
            task = asyncio.create_task(self._run(job), name=f"job-{job.id}")
            self._running[job.id] = task
            self.metrics.at_work(len(self._running))
            task.add_done_callback(partial(self._ended, job.id))
            self._tell(job.id)
        await _until(self._wake, POLL_S)

    def _ended(self, id: str, _: asyncio.Task[None]) -> None:
        self._running.pop(id, None)
        self.metrics.at_work(len(self._running))
        self._work.pop(id, None)
        self._tell(id)
        self.nudge()

    def nudge(self) -> None:
        """Check the queue now."""
        self._wake.set()

    async def _run(self, job: Job) -> None:
        """Work on one job to its end. Not to be cancelled itself: its work is."""
        begin = time.perf_counter()
        logs.correlation.set(job.id)
        log.info("job begins", extra={"attempt": job.attempts, "deaths": job.deaths})
        work = asyncio.create_task(self._work_on(job), name=f"work-{job.id}")
        self._work[job.id] = work
        await asyncio.wait([work])
        state: State = "failed"
        result: str | None = None
        trouble: dict[str, Any] | None = None
        try:
            report, video = work.result()
            await self._on_disk(
                lambda: asyncio.to_thread(self.store.publish, job.id, report, video)
            )
            state, result = "done", job.id
            self.metrics.analyzed(report)
        except InputError as error:
            trouble = input_problem(error)
        except CapacityError as error:
            trouble = problem("capacity", 503, str(error), "see: tiktok-ray plan")
        except asyncio.CancelledError:
            state = "cancelled"
        except Exception as error:
            log.error("job %s failed", job.id, exc_info=error)
            trouble = problem(
                "internal", 500, said(error), "see the log of the service for details"
            )
        released = state == "cancelled" and self._stopping
        try:
            await self._on_disk(self._flush)
            if released:
                await self._on_disk(lambda: asyncio.to_thread(self.ledger.release, job.id))
                return
            await self._on_disk(
                lambda: asyncio.to_thread(
                    self.ledger.finish, job.id, state, result=result, problem=trouble
                )
            )
        except asyncio.CancelledError:  # it stands as running, and runs again after the next start
            return
        seconds = time.perf_counter() - begin
        log.info("job ends: %s", state, extra={"seconds": round(seconds, 3), "problem": trouble})
        self._ended_as(state, seconds, trouble)
        self._tell(job.id)
        if state == "done":
            self._posters.put_nowait(job.id)
        await asyncio.to_thread(shutil.rmtree, self.work / job.id, ignore_errors=True)

    def _ended_as(self, state: State, seconds: float, trouble: dict[str, Any] | None) -> None:
        """Count how a job ended."""
        self.metrics.jobs_ended.labels(state).inc()
        if state == "done":
            self.metrics.job_s.observe(seconds)
            self._job_s.append(seconds)
        elif trouble is not None:
            self.metrics.failed(trouble["type"].rpartition(":")[2])

    async def _on_disk(self, write: Callable[[], Awaitable[object]]) -> None:
        """Write as soon as the disk takes it: while it is full, nothing is lost.

        Raises ``CancelledError`` if the service stops before that.
        """
        while True:
            try:
                await write()
            except (sqlite3.OperationalError, OSError) as error:
                if isinstance(error, OSError) and not no_room(error):
                    raise
                self.troubles["disk"] = f"the disk cannot be written to: {error}"
                if self._stopping:
                    raise asyncio.CancelledError from error
                await asyncio.sleep(FULL_S)
            else:
                self.troubles.pop("disk", None)
                return

    async def _work_on(self, job: Job) -> tuple[VideoReport, Path | None]:
        """Fetch and analyze: the report, and the video that is kept with it."""
        if (known := self.store.report_path(job.id)) is not None:
            # It was published, and the process died before it could say so.
            return await asyncio.to_thread(Report.load, known), None
        source = await self._at_hand_in_time(job)
        report = await self.engine.analyze(
            source,
            only=job.request.only,
            without=job.request.without,
            listen=lambda progress: self._heard(job.id, progress),
        )
        kept = self.settings.keep_videos and job.request.keep
        return report, source.path if kept else None

    async def _at_hand_in_time(self, job: Job) -> Source:
        """The video, as soon as the disk holds it; one that it can never hold fails."""
        folder = self.work / job.id
        while True:
            try:
                return await self._at_hand(job, folder)
            except (OSError, InputError) as error:
                if job.request.url is None or not no_room_behind(error):
                    raise
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
                if not self.lacks(0):
                    words = "there is not enough disk space for this video"
                    raise InputError("disk_full", words, "free some disk space") from None
                while self.lacks(0):
                    self.troubles["disk"] = f"the disk cannot be written to: {error}"
                    await asyncio.sleep(FULL_S)
                self.troubles.pop("disk", None)

    async def _at_hand(self, job: Job, folder: Path) -> Source:
        request = job.request
        if request.url is None:
            path = upload_path(folder)
            if not path.is_file():
                raise InputError(
                    "not_found", "the upload no longer exists", "send the request again"
                )
            return Source(path, request.upload or "upload")
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        fetching: dict[str, Any] = {"name": "fetch", "state": "running"}
        self._record(job.id, "phase", fetching)
        begin = told = time.perf_counter()

        def progress(done: int, total: int | None) -> None:
            nonlocal told
            if time.perf_counter() - told >= 0.5:
                told = time.perf_counter()
                facts = {**fetching, "bytes": done, "of": total}
                loop.call_soon_threadsafe(self._record, job.id, "phase", facts)

        loop = asyncio.get_running_loop()
        limits = settings_for_fetching(self.settings)
        taken = await take(request.url, limits, folder, progress, local=False)
        seconds = round(time.perf_counter() - begin, 3)
        self._record(job.id, "phase", {"name": "fetch", "state": "done", "seconds": seconds})
        self.metrics.fetched(taken.path.stat().st_size)
        return Source.of(taken)

    async def _make_poster(self) -> None:
        """A still of a video, by ffmpeg in a process of its own, one at a time."""
        id = await self._posters.get()
        await asyncio.sleep(POSTER_PAUSE_S)
        video = self.store.video_path(id)
        if video is None:
            return
        picture = self.work / f"{id}.jpg"
        try:
            await poster(video, picture)
            await asyncio.to_thread(self.store.add_poster, id, picture)
        except (TimeoutError, OSError, RuntimeError, sqlite3.OperationalError) as error:
            log.info("no poster for %s: %s", id, error)
        finally:
            picture.unlink(missing_ok=True)

    async def cancel(self, id: str) -> Job | None:
        """Stop a job, and wait a little until it has stopped.

        On a full disk, deleting the files of a queued job makes room for recording its cancellation.
        """
        try:
            job = await asyncio.to_thread(self.ledger.cancel, id)
        except sqlite3.OperationalError as error:
            job = await asyncio.to_thread(self.ledger.get, id)
            if not no_room(error) or job is None:
                raise
            if id in self._work:
                self._work[id].cancel()
                return job.model_copy(update={"cancelling": True})
            await asyncio.to_thread(shutil.rmtree, self.work / id, ignore_errors=True)
            job = await asyncio.to_thread(self.ledger.cancel, id)
        self.nudge()
        if job is not None and job.cancelling and id in self._work:
            self._work[id].cancel()
            await asyncio.wait([self._running[id]], timeout=5.0)
            return await asyncio.to_thread(self.ledger.get, id)
        if job is not None and job.state == "cancelled":
            self._tell(id)
            await asyncio.to_thread(shutil.rmtree, self.work / id, ignore_errors=True)
        return job

    async def ended(self, id: str) -> Job | None:
        """The job once it has ended; None if it no longer exists."""
        while True:
            news = self._next_news(id)
            job = await asyncio.to_thread(self.ledger.get, id)
            if job is None or job.state in ENDED:
                return job
            await _until(news, self._news_s)

    # Events

    def _heard(self, id: str, progress: Progress) -> None:
        if progress.found == NOT_SELECTED:
            return
        data: dict[str, Any] = {"name": progress.name, "state": progress.state}
        if progress.seconds:
            data["seconds"] = round(progress.seconds, 3)
        section = progress.section
        if progress.found:
            ok = section is None or section.output is not None
            data["found" if ok else "reason"] = progress.found
        if section is not None and section.cached:
            data["cached"] = True
        if section is not None and section.missing:
            data["missing"] = [missing.model_dump() for missing in section.missing]
        if section is not None and isinstance(section.output, Output):
            # Enough to fill a lane of the viewer; the report has them all.
            events = itertools.islice(section.output.events(), SHOWN)
            data["events"] = rounded([e.model_dump(exclude_none=True) for e in events])
        self._record(id, progress.kind, data)

    def _record(self, id: str, kind: str, data: dict[str, Any]) -> None:
        self._entries.append((id, time.time(), kind, data))

    async def _flush(self) -> None:
        async with self._writing:
            if self._entries:
                entries = self._entries[:]
                await asyncio.to_thread(self.ledger.record, entries)
                del self._entries[: len(entries)]
                self._tell(*{id for id, *_ in entries})

    def _tell(self, *ids: str) -> None:
        """Wake who waits for news of these jobs."""
        for id in ids:
            if (news := self._news.pop(id, None)) is not None:
                news.set()

    def _next_news(self, id: str) -> asyncio.Event:
        """Set when something happens in that job; ask for it before looking at the job."""
        return self._news.setdefault(id, asyncio.Event())

    @property
    def _news_s(self) -> float:
        """How long to wait for news before looking again: another process tells none."""
        return NEWS_S if self.lease.held else POLL_S

    async def follow(self, id: str, after: int, quiet_s: float) -> AsyncIterator[Entry | None]:
        """A job's events after number ``after`` as they occur, until it ends.

        Yields None when nothing happened for ``quiet_s``.
        """
        last = time.monotonic()
        while True:
            news = self._next_news(id)
            job = await asyncio.to_thread(self.ledger.get, id)
            entries = await asyncio.to_thread(self.ledger.events, id, after, 500)
            for entry in entries:
                after, last = entry.n, time.monotonic()
                yield entry
            if entries:
                continue
            if job is None or job.state in ENDED:
                return
            if time.monotonic() - last >= quiet_s:
                last = time.monotonic()
                yield None
            await _until(news, min(quiet_s, self._news_s))

    # Webhooks

    async def _deliver(self) -> None:
        """Send what is due, none waiting for another, and no host taking all the places."""
        if self.settings.webhook_secret is None:
            return
        busy = collections.Counter(self._sending.values())
        for delivery in await asyncio.to_thread(self.ledger.due):
            id, host = delivery.job.id, _host(delivery.job.request.webhook)
            if id in self._sending or busy[host] >= HOST_HOOKS or busy.total() >= HOOKS:
                continue
            busy[host] += 1
            self._sending[id] = host
            task = asyncio.create_task(self._deliver_one(delivery), name=f"webhook-{id}")
            self._hooks.add(task)
            task.add_done_callback(self._hooks.discard)

    async def _deliver_one(self, delivery: Delivery) -> None:
        id = delivery.job.id
        try:
            failure = await webhooks.send(delivery, self.settings)
            await self._on_disk(lambda: asyncio.to_thread(self.ledger.delivered, id, failure))
        finally:
            del self._sending[id]

    # What it says of itself

    def free_gib(self) -> float:
        """Free space on the disk of results and jobs, in GiB."""
        return shutil.disk_usage(self.settings.home).free / 2**30

    def lacks(self, bytes_: int, *, beside_arriving: bool = False) -> bool:
        """Whether the disk lacks space for so many bytes plus the reserve.

        ``beside_arriving``: beside what is still to come of other uploads.
        """
        if beside_arriving:
            bytes_ += sum(one.left for one in list(self.arriving.values()))
        return self.free_gib() - bytes_ / 2**30 < self.settings.disk_reserve_gib

    @cached_property
    def finder(self) -> Finder:
        """The search over all results, opened on first use."""
        return Finder(self.store.folder)

    def forget_gone(self) -> None:
        """Let the search, if there ever was one, forget results that are gone. Blocks."""
        if (self.store.folder / SEARCHED).is_file():
            self.finder.forget_gone()

    def room(self) -> int:
        """The limit of queued and running jobs together."""
        return self.settings.queue + self.settings.in_flight

    @property
    def _usual_s(self) -> float:
        """Seconds that a job usually takes, by the last fifty."""
        return sum(self._job_s) / len(self._job_s) if self._job_s else 10.0

    def retry_after_s(self, open_jobs: int) -> int:
        """When a client should retry after a full queue."""
        beyond = max(1, open_jobs + 1 - self.room())
        return max(1, min(600, round(self._usual_s * beyond / self.settings.in_flight)))

    async def health(self) -> dict[str, Any]:
        """Whether it works, what does not and why, and its queue, fleet and GPUs."""
        counts = await asyncio.to_thread(self.ledger.counts)
        plan = self.engine.workers.plan
        free = await asyncio.to_thread(self.free_gib)
        reasons = [*self.troubles.values()]
        if aside := [path.name for path in self.aside if path.exists()]:
            reasons.append(f"unreadable, so set aside: {', '.join(aside)}")
        if free < self.settings.disk_reserve_gib:
            reasons.append(f"only {free:.1f} GiB of disk space are free")
        reasons += [f"{name}: {reason}" for name, reason in sorted(plan.unavailable.items())]
        ready = self.lease.held and "capacity" not in self.troubles
        return {
            "status": "degraded" if reasons else "ready",
            "ready": ready,
            "reasons": reasons,
            "queue": {
                "queued": counts["queued"],
                "running": counts["running"],
                "in_flight_limit": self.settings.in_flight,
                "queue_limit": self.settings.queue,
            },
            "jobs": counts,
            "fleet": {
                "planned": len(plan.assignments),
                "loaded": sorted(self.loaded),
                "unavailable": sorted(plan.unavailable),
            },
            "cards": [
                {
                    "index": card.index,
                    "name": card.name,
                    "total_gib": round(card.total_gib, 2),
                    "planned_gib": round(plan.used_gib(card.index), 2),
                }
                for card in plan.cards
            ],
            "disk": {
                "free_gib": round(free, 2),
                "results": await asyncio.to_thread(self.store.count),
                "results_bytes": await asyncio.to_thread(self.store.total_bytes),
            },
            "cache": self.cache.facts() if self.cache else None,
            "since": self.begun,
        }


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Until the event, or for so long. (``wait_for`` of Python 3.11 can lose a cancellation.)"""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _host(url: str | None) -> str:
    try:
        return urlsplit(url or "").hostname or ""
    except ValueError:
        return ""


def upload_path(folder: Path) -> Path:
    """The path of a job's upload: never under a name given by a client."""
    return folder / "upload"


async def poster(video: Path, picture: Path) -> None:
    """Write a still of ``video`` as a JPEG 480 pixels high. Raises ``RuntimeError``."""
    import imageio_ffmpeg

    ffmpeg = await asyncio.to_thread(imageio_ffmpeg.get_ffmpeg_exe)
    maker = await asyncio.create_subprocess_exec(
        ffmpeg,
        *("-nostdin", "-loglevel", "error", "-threads", "1", "-protocol_whitelist", "file"),
        *("-i", str(video), "-an", "-sn", "-vf", "thumbnail=24,scale=-2:480", "-frames:v", "1"),
        *("-f", "image2", "-c:v", "mjpeg", "-y", str(picture)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _limit(maker.pid)
    try:
        async with asyncio.timeout(POSTER_S):
            _, said = await maker.communicate()
    finally:
        if maker.returncode is None:
            maker.kill()
            await maker.wait()
    if maker.returncode or not picture.is_file():
        lines = said.decode("utf-8", "replace").strip().splitlines()
        raise RuntimeError(lines[-1] if lines else f"ffmpeg ended with {maker.returncode}")


def _limit(pid: int) -> None:
    """Limit a process that parses a stranger's file: its memory, time, and what it writes."""
    if sys.platform == "linux":
        import resource

        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, pid, 10)
            resource.prlimit(pid, resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30))
            resource.prlimit(pid, resource.RLIMIT_CPU, (int(POSTER_S), int(POSTER_S)))
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (16 * 2**20, 16 * 2**20))
