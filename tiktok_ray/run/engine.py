"""From one video to one report. All failure handling is here.

| what happens | what the report says |
|---|---|
| the input cannot be decoded or fetched | no report: ``InputError`` |
| nothing to analyze (no sound, no face) | ``skipped``, with the reason |
| the weights are not installed | ``unavailable``, with the command that gets them |
| one part could not be produced | ``partial``, with what is ``missing`` |
| ``analyze`` or ``load`` raised | ``failed``, with type and message |
| its timeout expired | ``timed_out``; its worker is replaced |
| its worker died | retried once, then ``failed`` |
| any other exception around it | ``failed``, ``internal``; the log has the traceback |
| the summary, or an analyzer's events, could not be produced | listed in ``run.lost`` |

Analyzers that depend on a failed one run without it if the edge is soft, and are ``skipped`` if it is
hard.
"""

from __future__ import annotations

import asyncio
import bisect
import functools
import hashlib
import inspect
import itertools
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel

from tiktok_ray import __version__
from tiktok_ray.analyzer import ASKED, Options
from tiktok_ray.files import sha256_of
from tiktok_ray.graph import Graph, code_digest
from tiktok_ray.media import InputError, Video, decode
from tiktok_ray.methods import inference
from tiktok_ray.report import (
    NOT_SELECTED,
    Coverage,
    Limit,
    MemoryUse,
    Missing,
    ModelUsed,
    Output,
    Planned,
    Run,
    Section,
    Status,
    Summary,
    VideoInfo,
    VideoReport,
    headline,
    readable,
    said,
)
from tiktok_ray.reporting import timeline
from tiktok_ray.run.placement import Assignment, Plan
from tiktok_ray.run.worker import Decoding, Reply, imports_of
from tiktok_ray.settings import Settings
from tiktok_ray.weights import revision_of

if TYPE_CHECKING:
    from tiktok_ray.net.intake import Taken

log = logging.getLogger("tiktok_ray.run.engine")

T = TypeVar("T")
Value = TypeVar("Value", bound=BaseModel)
Found = TypeVar("Found", bound=Output)
DECODER, DECODE_URGENCY = "decoder", float("inf")
#: Tracks that a video without sound does not have.
SOUND = ("audio", "speech")


class CapacityError(Exception):
    """Workers could not be placed; the message names them and what they are waiting for."""


class WorkerDied(Exception):
    """The worker's process died while working; the message says what is known about the cause."""


@dataclass(frozen=True)
class Tracks:
    """A decoded video: its facts, a handle to each track, each track's coverage, and those of them
    that are ``empty``."""

    video: Video
    handles: Mapping[str, Any]
    coverage: Mapping[str, Any]
    seconds: float
    pss_gib: float = 0.0
    empty: Collection[str] = ()


def tracks_of(done: Decoding, handles: Mapping[str, Any]) -> Tracks:
    """A decoding as the engine wants it. Raises its ``InputError``."""
    if done.error is not None:
        raise done.error
    assert done.decoded is not None
    facts = done.decoded.video, handles, done.coverage, done.seconds, done.pss_gib
    return Tracks(*facts, empty=done.empty)


Kind = Literal["ray", "threads", "processes"]


class Workers(Protocol):
    """Where analyzers run: Ray actors (``ray_actors``), child processes (``processes``), or threads of
    this process (``threads``)."""

    kind: Kind
    plan: Plan

    async def start(self, names: Collection[str]) -> None:
        """Start creating the workers of these analyzers. Raises ``CapacityError``."""

    async def decode(self, path: Path, want: Collection[str]) -> Tracks:
        """Decode once. Raises ``InputError``, ``TimeoutError`` or ``WorkerDied``."""

    def copies(self, name: str) -> int:
        """The number of concurrent calls this worker allows."""

    def loading(self, name: str) -> tuple[str, float]:
        """Whose turn it takes to load, one load at a time, and how urgent that is."""

    async def load(self, name: str) -> Reply:
        """Load a model if needed. Raises ``TimeoutError`` or ``WorkerDied``."""

    async def run(self, name: str, inputs: Mapping[str, Any], timeout_s: float) -> Reply:
        """Analyze. Raises ``TimeoutError`` (its worker has been replaced) or ``WorkerDied``."""

    async def close(self) -> None:
        """Release all resources."""


@dataclass(frozen=True)
class Progress:
    """A progress event: a phase began or ended, or an analyzer changed state."""

    kind: Literal["phase", "analyzer"]
    name: str
    state: str
    seconds: float = 0.0
    found: str = ""
    section: Section | None = None


Listener = Callable[[Progress], None]


@dataclass(frozen=True)
class Source:
    """A local video file, and what is known about its origin."""

    path: Path
    source: str
    id: str | None = None
    title: str | None = None
    uploader: str | None = None
    metadata: dict[str, Any] | None = None

    @classmethod
    def of(cls, taken: Taken, source: str | None = None) -> Source:
        """What intake has taken, under another name of where it came from if one is given."""
        named = taken.source if source is None else source
        return cls(taken.path, named, taken.id, taken.title, taken.uploader, taken.metadata)


class Cache(Protocol):
    """Keeps what is known by key; the key covers everything that it depends on."""

    def get(self, key: str, kind: type[Value]) -> Value | None: ...

    def put(self, key: str, value: BaseModel) -> None: ...


class KnownVideo(BaseModel):
    """What an earlier decoding told of a video: its facts, which tracks it has, their coverage, and
    which are empty."""

    video: Video
    tracks: list[str]
    coverage: dict[str, Coverage]
    empty: list[str]


class Known(BaseModel, Generic[Found]):
    """What came of an analyzer in an earlier run, and the model behind it."""

    status: Status
    reason: str | None
    missing: tuple[Missing, ...]
    model: ModelUsed | None
    output: Found | None


@functools.cache
def _known_kind(output: type[Output]) -> type[Known[Any]]:
    """``Known`` with an output of this type, made once: pydantic forgets what nobody holds."""
    return Known[output]  # type: ignore[valid-type]


#: How an analyzer ends where another run would end in the same way.
LASTING = ("ok", "partial", "skipped")


@dataclass(order=True)
class _Waiter:
    """Who waits for cores; ordered by urgency, then by coming."""

    rank: tuple[float, int]
    worker: str = field(compare=False)
    threads: int = field(compare=False)
    turn: asyncio.Future[None] = field(compare=False)
    held: int = field(default=0, compare=False)


class Cores:
    """The CPU cores shared by the workers. The most urgent call with a free worker goes first.

    A call of several threads takes as many cores as are free, at least one: would it wait for all, the
    free ones would idle for as long. ``copies`` says how many calls of a worker may run at once: who
    waits for it holds no core. A core that falls free is given away once those have come who waited for
    what was done on it.
    """

    def __init__(self, count: int, copies: Callable[[str], int] = lambda _: 1) -> None:
        self.count = self.free = count
        self._copies = copies
        self._busy: Counter[str] = Counter()
        self._waiting: list[_Waiter] = []
        self._order = itertools.count()
        self._granting = False

    @asynccontextmanager
    async def hold(self, worker: str, threads: int, urgency: float) -> AsyncIterator[None]:
        """Hold a worker and up to so many cores while the block runs."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = _Waiter((-urgency, next(self._order)), worker, threads, turn)
        bisect.insort(self._waiting, waiter)
        self._grant_soon()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting = [other for other in self._waiting if other is not waiter]
            else:
                self._give_back(waiter)
            self._grant_soon()
            raise
        try:
            yield
        finally:
            self._give_back(waiter)
            self._grant_soon()

    def _grant_soon(self) -> None:
        """Grant after two turns of the loop: in the first those wake who waited for what has just ended."""
        if not self._granting:
            self._granting = True
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._grant)

    def _give_back(self, waiter: _Waiter) -> None:
        self.free += waiter.held
        self._busy[waiter.worker] -= 1

    def _grant(self) -> None:
        self._granting = False
        for waiter in list(self._waiting):
            if not self.free:
                return
            if waiter.turn.cancelled() or self._busy[waiter.worker] >= self._copies(waiter.worker):
                continue
            self._waiting.remove(waiter)
            waiter.held = min(waiter.threads, self.free)
            self.free -= waiter.held
            self._busy[waiter.worker] += 1
            waiter.turn.set_result(None)


@dataclass
class _Job:
    """The state of one video on its way through the graph."""

    source: Source
    names: tuple[str, ...]
    listen: Listener
    begin: float
    sections: dict[str, Section] = field(default_factory=dict)
    done: dict[str, asyncio.Event] = field(default_factory=dict)
    tracks: Tracks | None = None
    loads: dict[str, float] = field(default_factory=dict)
    runtimes: dict[str, str] = field(default_factory=dict)
    answering: dict[str, ModelUsed] = field(default_factory=dict)
    memory: dict[str, MemoryUse] = field(default_factory=dict)
    sha256: str = ""
    loaded_at: float = 0.0

    def elapsed(self) -> float:
        return time.perf_counter() - self.begin

    def end(self, name: str, section: Section) -> None:
        section = _explained(_asked_for(section, self.names), self.sections)
        self.sections[name] = section
        self.done[name].set()
        output = section.output
        found = headline(name, output) if isinstance(output, Output) else ""
        said = found or section.reason or ""
        self.tell(Progress("analyzer", name, section.status, section.seconds, said, section))

    def tell(self, progress: Progress) -> None:
        """Notify the listener; its failures do not affect the video."""
        try:
            self.listen(progress)
        except Exception as error:
            log.warning("the listener failed at %s", progress.name, exc_info=error)


class Engine:
    """Runs the graph over ``workers``. Several videos may be in flight at once."""

    def __init__(
        self,
        graph: Graph,
        workers: Workers,
        settings: Settings,
        *,
        cache: Cache | None = None,
    ) -> None:
        graph.check_options(settings.options)
        self.graph = graph
        self.workers = workers
        self.settings = settings
        self.cache = cache
        self.cores = Cores(settings.cores, workers.copies)

    async def analyze(
        self,
        source: Source,
        *,
        only: Collection[str] = (),
        without: Collection[str] = (),
        listen: Listener = lambda _: None,
    ) -> VideoReport:
        """The report of one video. Raises ``InputError`` when it cannot be analyzed at all, and
        ``CapacityError`` when there is no room for what analyzes it.
        """
        names = self.graph.select(only, without)
        job = _Job(source, names, listen, time.perf_counter())
        job.done = {name: asyncio.Event() for name in self.graph.order}
        runnable = [name for name in job.names if name in self.workers.plan.assignments]
        job.sha256 = await asyncio.to_thread(sha256_of, source.path)
        left = self._recall(job, runnable)
        if job.tracks is None or left:
            try:
                async with asyncio.TaskGroup() as group:
                    started = group.create_task(self.workers.start(left))
                    decoding = group.create_task(self._decode(job, runnable, left))
                    for name in left:
                        group.create_task(self._section_of(name, job, decoding, started))
            except BaseExceptionGroup as several:
                raise first_of(several) from several
        return self._report(job)

    async def warm(self, only: Collection[str] = (), without: Collection[str] = ()) -> None:
        """Start creating the workers that ``analyze`` will need with the same arguments."""
        names = self.graph.select(only, without)
        await self.workers.start([n for n in names if n in self.workers.plan.assignments])

    async def ask(
        self, name: str, asked: Any, video: Path | None = None, want: Collection[str] = ()
    ) -> Reply:
        """What an analyzer answers to what is ``asked`` of it, over tracks of a video where it
        ``want``s some. Raises ``InputError`` for a video that cannot be decoded, and
        ``CapacityError``; whatever else goes wrong is in the reply.
        """
        plan = self.workers.plan
        if name not in plan.assignments:
            return Reply("unavailable", reason=plan.why_not(name) or f"there is no {name} here")
        await self.workers.start([name])
        inputs: dict[str, Any] = {ASKED: asked}
        if video is not None:
            handles = (await self._decoded(video, want)).handles
            inputs |= {track: handles[track] for track in want}
        needs = self.graph.analyzers[name].needs
        limit = needs.timeout_s * self.settings.timeout_factor
        try:
            whose, urgency = self.workers.loading(name)
            async with self.cores.hold(whose, 1, urgency):
                loaded = await twice(lambda: self.workers.load(name))
            if loaded.status != "ok":
                return loaded
            async with self.cores.hold(name, needs.threads, self.graph.urgency[name]):
                reply = await twice(lambda: self.workers.run(name, inputs, limit))
        except TimeoutError:
            return Reply("timed_out", reason=f"{name} took longer than its limit")
        except WorkerDied as death:
            return Reply("failed", reason=f"the process of {name} died twice: {death}")
        used = loaded.model or model_used(plan.assignments[name], loaded.runtime)
        return replace(reply, model=used)

    def _settle_the_rest(self, job: _Job) -> None:
        """Sections that need no work: not selected, switched off, or unavailable."""
        plan = self.workers.plan
        for name in self.graph.order:
            if name not in job.names:
                job.end(name, Section(status="skipped", reason=NOT_SELECTED))
            elif name in plan.switched_off:
                job.end(name, Section(status="skipped", reason=plan.switched_off[name]))
            elif name in plan.unavailable:
                job.end(name, Section(status="unavailable", reason=plan.unavailable[name]))

    def _recall(self, job: _Job, runnable: Sequence[str]) -> list[str]:
        """End the sections that an earlier run knows; returns the names of those that are left.

        None of them where the video itself is not known. A model that runs elsewhere is asked first.
        """
        known = self._from_cache(self._video_key(job, runnable), KnownVideo)
        if known is None:
            return list(runnable)
        handles = dict.fromkeys(known.tracks)
        job.tracks = Tracks(known.video, handles, known.coverage, 0.0, empty=known.empty)
        self._settle_the_rest(job)
        left: list[str] = []
        for name in runnable:
            elsewhere = self.workers.plan.assignments[name].variant.elsewhere
            open_ends = elsewhere or not self.graph.producers[name].isdisjoint(left)
            if open_ends or not self._ended_early(name, job, job.tracks):
                left.append(name)
        return left

    def _ended_early(self, name: str, job: _Job, tracks: Tracks) -> bool:
        """End a section that needs no work: for want of an input, or since it is known. Whether it
        was one."""
        if self._idle(name, job, tracks):
            return True
        if lacking := self._lacking_output(name, job):
            job.end(name, self._section(name, Reply("skipped", reason=lacking), job, tracks))
            return True
        known = self._from_cache(self._cache_key(name, job), _known_kind(self.graph.outputs[name]))
        if known is None:
            return False
        reply = Reply(known.status, known.output, known.reason, known.missing)
        section = self._section(name, reply, job, tracks)
        job.end(name, section.model_copy(update={"cached": True, "model": known.model}))
        return True

    async def _decode(self, job: _Job, runnable: Collection[str], left: Collection[str]) -> Tracks:
        """Decode the tracks of those that are ``left``: all that is ``runnable`` unless the video is
        known."""
        await asyncio.sleep(0)  # workers that cannot be placed are refused before a decoder starts
        job.tell(Progress("phase", "decode", "running"))
        tracks = await self._decoded(job.source.path, self.graph.tracks(left))
        if job.tracks is None:
            self._settle_the_rest(job)
            known = KnownVideo(
                video=tracks.video,
                tracks=list(tracks.handles),
                coverage=dict(tracks.coverage),
                empty=sorted(tracks.empty),
            )
            self._into_cache(self._video_key(job, runnable), known)
        else:
            before = job.tracks
            tracks = replace(
                tracks, video=before.video, coverage=before.coverage, empty=before.empty
            )
        job.tracks = tracks
        job.memory[DECODER] = MemoryUse(peak_gib=tracks.pss_gib)
        job.tell(Progress("phase", "decode", "done", tracks.seconds))
        return tracks

    async def _decoded(self, path: Path, want: Collection[str]) -> Tracks:
        async with self.cores.hold(DECODER, 1, DECODE_URGENCY):
            try:
                return await self._decode_with_retry(path, want)
            except TimeoutError:
                raise InputError(
                    "decode_timeout",
                    f"decoding took longer than {self.settings.decode_timeout_s:.0f} s",
                    "raise the setting TIKTOK_RAY_DECODE_TIMEOUT_S",
                ) from None

    async def _decode_with_retry(self, path: Path, want: Collection[str]) -> Tracks:
        try:
            return await twice(lambda: self.workers.decode(path, want))
        except WorkerDied as death:
            raise InputError(
                "decoder_died",
                f"the decoder died twice on this file: {death}",
                "the file may be malicious, or memory too low",
            ) from None

    async def _section_of(
        self,
        name: str,
        job: _Job,
        decoding: asyncio.Task[Tracks],
        started: asyncio.Task[None],
    ) -> None:
        """One analyzer to its section, whatever is raised on the way."""
        await started
        try:
            await self._analyze(name, job, decoding)
        except (InputError, CapacityError):
            raise
        except Exception as error:
            log.error("%s: its section could not be produced", name, exc_info=error)
            if not job.done[name].is_set():
                job.end(name, Section(status="failed", reason=f"internal: {said(error)}"))

    async def _analyze(self, name: str, job: _Job, decoding: asyncio.Task[Tracks]) -> None:
        if self._hears(name):  # where there is no sound, or no speech, nothing is loaded
            tracks = await asyncio.shield(decoding)
            if self._idle(name, job, tracks):
                return
        failed = await self._load(name, job)
        tracks = await asyncio.shield(decoding)
        for producer in self.graph.producers[name]:
            await job.done[producer].wait()
        if failed:
            job.end(name, failed)
            return
        if self._ended_early(name, job, tracks):
            return
        ready = job.elapsed()
        reply, queued, at = await self._run(name, job, tracks, ready)
        if reply.memory.pss_gib:
            job.memory[name] = self._memory(name, reply)
        section = self._section(name, reply, job, tracks)
        if reply.lasting and reply.status in LASTING:
            known = Known[Any](
                status=reply.status,
                reason=reply.reason,
                missing=reply.missing,
                model=section.model,
                output=reply.output,
            )
            self._into_cache(self._cache_key(name, job), known)
        job.end(name, section.model_copy(update={"queued_s": queued, "started_s": at}))

    def _from_cache(self, key: str | None, kind: type[Value]) -> Value | None:
        """What the cache has. A cache that fails has nothing."""
        if self.cache is None or key is None:
            return None
        try:
            return self.cache.get(key, kind)
        except Exception as error:
            log.warning("the cache could not be read", exc_info=error)
            return None

    def _into_cache(self, key: str | None, value: BaseModel) -> None:
        if self.cache is None or key is None:
            return
        try:
            self.cache.put(key, value)
        except Exception as error:
            log.warning("the cache could not be written to", exc_info=error)

    def _memory(self, name: str, reply: Reply) -> MemoryUse:
        """Peak memory of a worker's process beside what was planned for it."""
        assignment = self.workers.plan.assignments[name]
        on_card = bool(assignment.vram_gib)
        return MemoryUse(
            planned_gib=assignment.variant.ram_gib,
            peak_gib=reply.memory.pss_gib,
            planned_vram_gib=assignment.vram_gib if on_card else None,
            peak_vram_gib=reply.memory.vram_gib if on_card else None,
        )

    async def _load(self, name: str, job: _Job) -> Section | None:
        """Load the model; the section if that failed, else None."""
        whose, urgency = self.workers.loading(name)
        try:
            async with self.cores.hold(whose, 1, urgency):
                job.tell(Progress("analyzer", name, "loading"))
                reply = await twice(lambda: self.workers.load(name))
        except TimeoutError:
            limit = self.settings.load_timeout_s
            return Section(status="failed", reason=f"load: timed out after {limit:g} s")
        except WorkerDied as death:
            return Section(status="failed", reason=f"load: its process died twice: {death}")
        job.loads[name] = reply.seconds
        if reply.seconds:
            job.loaded_at = job.elapsed()
        if reply.status != "ok":
            return Section(status=reply.status, reason=reply.reason, seconds=reply.seconds)
        if reply.runtime:
            job.runtimes[name] = reply.runtime
        if reply.model:
            job.answering[name] = reply.model
        job.tell(Progress("analyzer", name, "waiting"))
        return None

    async def _run(
        self, name: str, job: _Job, tracks: Tracks, ready: float
    ) -> tuple[Reply, float, float]:
        """The reply, the seconds it was queued, and when work began."""
        needs = self.graph.analyzers[name].needs
        limit = needs.timeout_s * self.settings.timeout_factor
        inputs = {
            edge.source: tracks.handles.get(edge.source)
            if edge.is_track
            else job.sections[edge.source].output
            for edge in self.graph.edges[name]
        }
        async with self.cores.hold(name, needs.threads, self.graph.urgency[name]):
            at = job.elapsed()
            job.tell(Progress("analyzer", name, "running"))
            try:
                reply = await twice(lambda: self.workers.run(name, inputs, limit))
            except TimeoutError:
                spent = job.elapsed() - at
                reply = Reply("timed_out", reason=f"timed out after {limit:g} s", seconds=spent)
            except WorkerDied as death:
                spent = job.elapsed() - at
                reply = Reply("failed", reason=f"its process died twice: {death}", seconds=spent)
        queued = max(0.0, job.elapsed() - ready - reply.seconds)
        return reply, queued, at

    def _hears(self, name: str) -> bool:
        """Whether an analyzer is nothing without sound."""
        return any(edge.source in SOUND and not edge.soft for edge in self.graph.edges[name])

    def _idle(self, name: str, job: _Job, tracks: Tracks) -> bool:
        """End the section of an analyzer for which there is nothing in the video. Whether that is so."""
        lacking = self._lacking_track(name, tracks)
        if lacking is None:
            return False
        job.end(name, self._section(name, Reply("skipped", reason=lacking), job, tracks))
        return True

    def _lacking_track(self, name: str, tracks: Tracks) -> str | None:
        for edge in self.graph.edges[name]:
            if edge.is_track and not edge.soft and edge.source not in tracks.handles:
                sound = edge.source in SOUND
                return tracks.video.no_sound or "no audio track" if sound else "no pictures"
        nothing_in = self.graph.analyzers[name].idle_without.items()
        return next((reason for track, reason in nothing_in if track in tracks.empty), None)

    def _lacking_output(self, name: str, job: _Job) -> str | None:
        for edge in self.graph.edges[name]:
            producer = None if edge.is_track or edge.soft else job.sections[edge.source]
            if producer is not None and producer.output is None:
                return f"needs {edge.source}, which is {producer.status}: {producer.reason}"
        return None

    def _section(self, name: str, reply: Reply, job: _Job, tracks: Tracks) -> Section:
        assignment = self.workers.plan.assignments[name]
        read = [e.source for e in self.graph.edges[name] if e.source in tracks.coverage]
        return Section(
            status=reply.status,
            reason=reply.reason,
            missing=list(reply.missing) or None,
            seconds=reply.seconds,
            device=assignment.device,
            model=job.answering.get(name) or model_used(assignment, job.runtimes.get(name)),
            coverage=tracks.coverage[read[0]] if read and reply.output else None,
            limits=self._limits(name, tracks) if reply.output else None,
            output=reply.output,
        )

    def _limits(self, name: str, tracks: Tracks) -> tuple[Limit, ...] | None:
        short_px = min(tracks.video.width, tracks.video.height)
        options = options_for(name, self.graph, self.settings)
        variant = self.workers.plan.assignments[name].variant
        return (
            tuple(
                sees.limit(tracks.coverage[sees.track], short_px)
                for sees in (*self.graph.analyzers[name].sees_for(options), *variant.sees)
                if sees.track in tracks.coverage
            )
            or None
        )

    def _decoding(self) -> dict[str, Any]:
        """What of the settings decides what is decoded."""
        settings = self.settings
        return {
            "tracks": settings.tracks.model_dump(mode="json"),
            "decoder": settings.decoder,
            "streams": [settings.video_stream, settings.audio_stream],
        }

    def _video_key(self, job: _Job, runnable: Collection[str]) -> str | None:
        """Everything that a video's facts depend on."""
        if self.cache is None:
            return None
        limits = [self.settings.max_duration_s, self.settings.max_pixels]
        code = code_digest(Path(inspect.getfile(decode)))
        want = sorted(self.graph.tracks(runnable))
        parts = {
            "media": job.sha256,
            **self._decoding(),
            "limits": limits,
            "code": code,
            "want": want,
        }
        return _key("video", parts)

    def _cache_key(self, name: str, job: _Job) -> str | None:
        """Everything the output depends on: media, tracks, code, model, options, inputs."""
        if self.cache is None:
            return None
        assignment = self.workers.plan.assignments[name]
        elsewhere = job.answering.get(name)
        if elsewhere is not None and elsewhere.revision is None:
            return None
        used = elsewhere or model_used(assignment)
        imports = imports_of(self.graph.analyzers[name], assignment)
        inputs = {
            edge.source: job.sections[edge.source].output
            for edge in self.graph.edges[name]
            if not edge.is_track
        }
        parts = {
            "media": job.sha256,
            **self._decoding(),
            "code": self.graph.digests[name],
            "model": used.model_dump(mode="json") if used else None,
            "runtime": inference.decisive(assignment.runtime, imports) if used else None,
            "device": assignment.device,
            "lacks": assignment.missing,
            "options": options_for(name, self.graph, self.settings).model_dump(mode="json"),
            "inputs": {
                source: output.model_dump_json() if isinstance(output, Output) else None
                for source, output in inputs.items()
            },
        }
        return _key(name, parts)

    def _report(self, job: _Job) -> VideoReport:
        assert job.tracks is not None
        video, source = job.tracks.video, job.source
        info = VideoInfo(
            id=source.id or job.sha256[:16],
            sha256=job.sha256,
            source=readable(source.source),
            title=source.title,
            uploader=source.uploader,
            metadata=source.metadata,
            **video.__dict__,
        )
        sections = {name: job.sections[name] for name in sorted(job.sections)}
        wall = job.elapsed()
        lost: list[Missing] = []
        told = _settled(sections)
        events = timeline.merge(told, video.duration_s, lost, info.events())
        summary = _summary(info, told, lost)
        if summary:
            summary = summary.model_copy(update={"left_out": _left_out(sections, told) or None})
        return VideoReport(
            video=info,
            analyzers=sections,
            timeline=events,
            summary=summary,
            run=Run(
                wall_s=wall,
                startup_s=job.loaded_at,
                load_s=job.loads,
                decode_s=job.tracks.seconds,
                realtime_factor=wall / video.duration_s if video.duration_s else 0.0,
                cores=self.settings.cores,
                workers=self.workers.kind,
                decoder=self.settings.decoder,
                plan=[Planned(**row) for row in self.workers.plan.table(job.names)],
                waits_for={name: sorted(self.graph.producers[name]) for name in job.names},
                over_plan=over_plan(job.memory) if self.workers.kind != "threads" else [],
                memory=job.memory,
                versions={"tiktok_ray": __version__},
                lost=lost or None,
            ),
        )


def _key(name: str, parts: Mapping[str, Any]) -> str:
    text = json.dumps(parts, sort_keys=True, default=str)
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _settled(sections: Mapping[str, Section]) -> Mapping[str, Section]:
    """The sections as they are told; as they are, when that fails."""
    # Here, since it imports the types of all analyzers.
    from actors.cross_analyzer_intelligence.agreement import settled

    try:
        return settled(sections)
    except Exception as error:
        log.error("disagreements between analyzers could not be resolved", exc_info=error)
        return sections


def _left_out(sections: Mapping[str, Section], told: Mapping[str, Section]) -> dict[str, list[int]]:
    """By analyzer, the numbers of tracks that are not told since another analyzer denies them."""
    name = "body_pose"
    if name not in sections:
        return {}
    here, kept = (getattr(each[name].output, "persons", ()) for each in (sections, told))
    tracks = {body.track for body in here} - {body.track for body in kept}
    return {name: sorted(tracks)} if tracks else {}


def _asked_for(section: Section, names: Collection[str]) -> Section:
    """The section without the parts that lack only what nobody asked for."""
    if not section.missing:
        return section
    kept = [m for m in section.missing if not m.lacks or set(m.lacks) & set(names)]
    if len(kept) == len(section.missing):
        return section
    status = "ok" if section.status == "partial" and not kept else section.status
    return section.model_copy(update={"missing": kept or None, "status": status})


def _explained(section: Section, sections: Mapping[str, Section]) -> Section:
    """The section whose missing parts also say why what they lack is missing: in the words of the
    analyzers concerned, since those that depend on them cannot know."""
    if not any(missing.lacks for missing in section.missing or ()):
        return section
    told = [_with_cause(missing, sections) for missing in section.missing or ()]
    return section.model_copy(update={"missing": told})


def _with_cause(missing: Missing, sections: Mapping[str, Section]) -> Missing:
    names = [name for name in missing.lacks or () if name in sections]
    causes = {
        name: cause for name in names if (cause := _cause(sections[name], missing.lacks_part))
    }
    if not causes:
        return missing
    several = len(missing.lacks or ()) > 1
    told = "; ".join(f"{name} {cause}" if several else cause for name, cause in causes.items())
    return missing.model_copy(update={"reason": f"{missing.reason} ({told})"})


def _cause(section: Section, part: str | None) -> str:
    """Why a section has no output, or a part of it not; empty if it does not say."""
    if section.output is None:
        return f"{section.status}: {section.reason}"
    reasons = [missing.reason for missing in section.missing or () if missing.part == part]
    return "; ".join(dict.fromkeys(reasons))


def _summary(
    info: VideoInfo, sections: Mapping[str, Section], lost: list[Missing]
) -> Summary | None:
    """The summary; None, and named in ``lost``, when it could not be made."""
    from tiktok_ray.reporting.summary import summarize  # imports the types of all analyzers

    try:
        return summarize(info, sections, lost)
    except Exception as error:
        log.error("the summary could not be produced", exc_info=error)
        lost.append(Missing(part="summary", reason=said(error)))
        return None


async def twice(call: Callable[[], Awaitable[T]]) -> T:
    """Call, and once more if the worker died."""
    try:
        return await call()
    except WorkerDied:
        return await call()


def first_of(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first single exception inside a group."""
    inner = several.exceptions[0]
    return first_of(inner) if isinstance(inner, BaseExceptionGroup) else inner


def over_plan(memory: Mapping[str, MemoryUse]) -> list[str]:
    """Names of the analyzers whose process used more memory than planned."""
    return [
        name
        for name, row in memory.items()
        if (row.peak_vram_gib or 0) > (row.planned_vram_gib or 0)
        or (row.planned_vram_gib is None and row.peak_gib > (row.planned_gib or 0))
    ]


def model_used(assignment: Assignment, runtime: str | None = None) -> ModelUsed | None:
    """The checkpoint an assignment runs, and on what, or None when it runs without one."""
    weights = assignment.variant.weights
    if not weights:
        return None
    revisions = [revision_of(place) for place in assignment.files.values()]
    return ModelUsed(
        id=", ".join(w.id for w in weights.values()),
        revision=", ".join(r for r in revisions if r) or None,
        variant=assignment.variant.name,
        runtime=runtime,
    )


def options_for(name: str, graph: Graph, settings: Settings) -> Options:
    """The options of one analyzer. Raises ``pydantic.ValidationError`` if they are invalid."""
    return graph.analyzers[name].options_type.model_validate(settings.options.get(name, {}))
