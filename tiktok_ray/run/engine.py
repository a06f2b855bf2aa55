"""One video to one report. All failure policy is here.

| what happens | what the report says |
|---|---|
| the input cannot be decoded or fetched | no report: ``InputError`` |
| nothing to analyze (no sound, no face) | ``skipped``, with the reason |
| the weights are not on this machine | ``unavailable``, with the command that gets them |
| one part could not be made | ``partial``, with what is ``missing`` |
| ``analyze`` or ``load`` raised | ``failed``, with type and message |
| past its time limit | ``timed_out``; its worker is replaced |
| its worker died | tried once more, then ``failed`` |
| anything else was raised around it | ``failed``, ``internal``; the log has the traceback |
| the summary, or events of one analyzer, could not be made | named in ``run.lost`` |

Dependants of what did not end well run without it where the edge is soft and are ``skipped`` where
it is hard.
"""

from __future__ import annotations

import asyncio
import bisect
import hashlib
import itertools
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from tiktok_ray import __version__
from tiktok_ray.analyzer import Options
from tiktok_ray.files import sha256_of
from tiktok_ray.graph import Graph
from tiktok_ray.media import InputError, Video
from tiktok_ray.report import (
    NOT_SELECTED,
    Limit,
    MemoryUse,
    Missing,
    ModelUsed,
    Output,
    Planned,
    Run,
    Section,
    Summary,
    VideoInfo,
    VideoReport,
    headline,
    readable,
    said,
)
from tiktok_ray.reporting import timeline
from tiktok_ray.run.placement import Assignment, Plan
from tiktok_ray.run.worker import Decoding, Reply
from tiktok_ray.settings import Settings
from tiktok_ray.weights import revision_of

if TYPE_CHECKING:
    from tiktok_ray.net.fetch import Taken

log = logging.getLogger("tiktok_ray.run.engine")

T = TypeVar("T")
DECODER, DECODE_URGENCY = "decoder", float("inf")


class CapacityError(Exception):
    """Workers could not be placed; the message names them and what they wait for."""


class WorkerDied(Exception):
    """The worker's process ended while it worked; the message says what is known of the cause."""


@dataclass(frozen=True)
class Tracks:
    """A decoded video: its facts, a handle to each track, and each track's coverage."""

    video: Video
    handles: Mapping[str, Any]
    coverage: Mapping[str, Any]
    seconds: float
    pss_gib: float = 0.0


def tracks_of(done: Decoding, handles: Mapping[str, Any]) -> Tracks:
    """A decoding as the engine wants it. Raises its ``InputError``."""
    if done.error is not None:
        raise done.error
    assert done.decoded is not None
    return Tracks(done.decoded.video, handles, done.coverage, done.seconds, done.pss_gib)


Kind = Literal["ray", "threads", "processes"]


class Workers(Protocol):
    """Where analyzers run: Ray actors (``ray_actors``), child processes (``processes``), or threads of
    this process (``threads``)."""

    kind: Kind
    plan: Plan

    async def start(self, names: Collection[str]) -> None:
        """Begin to make the workers of these analyzers. Raises ``CapacityError``."""

    async def decode(self, path: Path, want: Collection[str]) -> Tracks:
        """Decode once. Raises ``InputError``, ``TimeoutError`` or ``WorkerDied``."""

    def copies(self, name: str) -> int:
        """How many calls of this worker may run at once."""

    def loading(self, name: str) -> tuple[str, float]:
        """Whose turn it takes to load, one load at a time, and how urgent that is."""

    async def load(self, name: str) -> Reply:
        """Load a model unless it is loaded. Raises ``TimeoutError`` or ``WorkerDied``."""

    async def run(self, name: str, inputs: Mapping[str, Any], timeout_s: float) -> Reply:
        """Analyze. Raises ``TimeoutError`` (its worker has been replaced) or ``WorkerDied``."""

    async def close(self) -> None:
        """Give everything back."""


@dataclass(frozen=True)
class Progress:
    """Something happened: a phase began or ended, or an analyzer changed its state."""

    kind: Literal["phase", "analyzer"]
    name: str
    state: str
    seconds: float = 0.0
    found: str = ""
    section: Section | None = None


Listener = Callable[[Progress], None]


@dataclass(frozen=True)
class Source:
    """A video at hand: the local file, and what is known of where it came from."""

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
    """Keeps outputs by key; the key covers everything an output depends on."""

    def get(self, key: str, kind: type[Output]) -> Output | None: ...

    def put(self, key: str, output: Output) -> None: ...


@dataclass(order=True)
class _Waiter:
    """Who waits for cores; ordered by urgency, then by coming."""

    rank: tuple[float, int]
    worker: str = field(compare=False)
    threads: int = field(compare=False)
    turn: asyncio.Future[None] = field(compare=False)


class Cores:
    """The CPU cores that workers share. The most urgent goes first whose worker is free.

    ``copies`` says how many calls of a worker may run at once: who waits for it holds no core.
    """

    def __init__(self, count: int, copies: Callable[[str], int] = lambda _: 1) -> None:
        self.count = self.free = count
        self._copies = copies
        self._busy: Counter[str] = Counter()
        self._waiting: list[_Waiter] = []
        self._order = itertools.count()

    @asynccontextmanager
    async def hold(self, worker: str, threads: int, urgency: float) -> AsyncIterator[None]:
        """Hold a worker and so many cores (at most all of them) while the block runs."""
        threads = min(threads, self.count)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = _Waiter((-urgency, next(self._order)), worker, threads, turn)
        bisect.insort(self._waiting, waiter)
        self._grant()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting = [other for other in self._waiting if other is not waiter]
            else:
                self._give_back(waiter)
            self._grant()
            raise
        try:
            yield
        finally:
            self._give_back(waiter)
            self._grant()

    def _give_back(self, waiter: _Waiter) -> None:
        self.free += waiter.threads
        self._busy[waiter.worker] -= 1

    def _grant(self) -> None:
        for waiter in list(self._waiting):
            if waiter.turn.cancelled() or self._busy[waiter.worker] >= self._copies(waiter.worker):
                continue
            if waiter.threads > self.free:
                return  # or who wants several cores would wait for ever
            self._waiting.remove(waiter)
            self.free -= waiter.threads
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
        section = _asked_for(section, self.names)
        self.sections[name] = section
        self.done[name].set()
        output = section.output
        found = headline(name, output) if isinstance(output, Output) else ""
        said = found or section.reason or ""
        self.tell(Progress("analyzer", name, section.status, section.seconds, said, section))

    def tell(self, progress: Progress) -> None:
        """Tell the listener, whose failure is not the video's."""
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
        try:
            async with asyncio.TaskGroup() as group:
                decoding = group.create_task(self._decode(job, runnable))
                started = group.create_task(self.workers.start(runnable))
                for name in runnable:
                    group.create_task(self._section_of(name, job, decoding, started))
        except BaseExceptionGroup as several:
            raise first_of(several) from several
        return self._report(job)

    async def warm(self, only: Collection[str] = (), without: Collection[str] = ()) -> None:
        """Begin to make the workers that ``analyze`` with the same arguments will want."""
        names = self.graph.select(only, without)
        await self.workers.start([n for n in names if n in self.workers.plan.assignments])

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

    async def _decode(self, job: _Job, runnable: Collection[str]) -> Tracks:
        job.tell(Progress("phase", "decode", "running"))
        want = self.graph.tracks(runnable)
        job.sha256 = await asyncio.to_thread(sha256_of, job.source.path)
        async with self.cores.hold(DECODER, 1, DECODE_URGENCY):
            try:
                tracks = await self._decode_with_retry(job.source.path, want)
            except TimeoutError:
                raise InputError(
                    "decode_timeout",
                    f"decoding took longer than {self.settings.decode_timeout_s:.0f} s",
                    "raise the setting TIKTOK_RAY_DECODE_TIMEOUT_S",
                ) from None
        job.tracks = tracks
        job.tell(Progress("phase", "decode", "done", tracks.seconds))
        self._settle_the_rest(job)
        return tracks

    async def _decode_with_retry(self, path: Path, want: Collection[str]) -> Tracks:
        try:
            return await twice(lambda: self.workers.decode(path, want))
        except WorkerDied as death:
            raise InputError(
                "decoder_died",
                f"the decoder died twice on this file: {death}",
                "the file may be hostile, or memory too short",
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
            log.error("%s: its section could not be made", name, exc_info=error)
            if not job.done[name].is_set():
                job.end(name, Section(status="failed", reason=f"internal: {said(error)}"))

    async def _analyze(self, name: str, job: _Job, decoding: asyncio.Task[Tracks]) -> None:
        failed = await self._load(name, job)
        tracks = await asyncio.shield(decoding)
        for producer in self.graph.producers[name]:
            await job.done[producer].wait()
        if failed:
            job.end(name, failed)
            return
        lacking = self._lacking_input(name, job, tracks)
        if lacking:
            job.end(name, self._section(name, Reply("skipped", reason=lacking), job, tracks))
            return
        ready = job.elapsed()
        key = self._cache_key(name, job)
        known = self._from_cache(name, key)
        if known is not None:
            section = self._section(name, Reply("ok", output=known), job, tracks)
            job.end(name, section.model_copy(update={"cached": True}))
            return
        reply, queued, at = await self._run(name, job, tracks, ready)
        if reply.status == "ok" and reply.output is not None:
            self._into_cache(key, reply.output)
        if reply.memory.pss_gib:
            job.memory[name] = self._memory(name, reply)
        section = self._section(name, reply, job, tracks)
        job.end(name, section.model_copy(update={"queued_s": queued, "started_s": at}))

    def _from_cache(self, name: str, key: str | None) -> Output | None:
        """What the cache has. A cache that fails has nothing."""
        if self.cache is None or key is None:
            return None
        try:
            return self.cache.get(key, self.graph.outputs[name])
        except Exception as error:
            log.warning("the cache could not be read", exc_info=error)
            return None

    def _into_cache(self, key: str | None, output: Output) -> None:
        if self.cache is None or key is None:
            return
        try:
            self.cache.put(key, output)
        except Exception as error:
            log.warning("the cache could not be written", exc_info=error)

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
            return Section(status="failed", reason=f"load: took longer than {limit:g} s")
        except WorkerDied as death:
            return Section(status="failed", reason=f"load: its process died twice: {death}")
        job.loads[name] = reply.seconds
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
                reply = Reply(
                    "timed_out", reason=f"took longer than its limit of {limit:g} s", seconds=spent
                )
            except WorkerDied as death:
                spent = job.elapsed() - at
                reply = Reply("failed", reason=f"its process died twice: {death}", seconds=spent)
        queued = max(0.0, job.elapsed() - ready - reply.seconds)
        return reply, queued, at

    def _lacking_input(self, name: str, job: _Job, tracks: Tracks) -> str | None:
        for edge in self.graph.edges[name]:
            if edge.soft:
                continue
            if edge.is_track and edge.source not in tracks.handles:
                if edge.source in ("audio", "speech"):
                    return tracks.video.no_sound or "no audio track"
                return "no pictures"
            if not edge.is_track and job.sections[edge.source].output is None:
                producer = job.sections[edge.source]
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
        return (
            tuple(
                sees.limit(tracks.coverage[sees.track], short_px)
                for sees in self.graph.analyzers[name].sees_for(options)
                if sees.track in tracks.coverage
            )
            or None
        )

    def _cache_key(self, name: str, job: _Job) -> str | None:
        """Everything the output depends on: media, tracks, code, model, options, inputs."""
        if self.cache is None:
            return None
        assignment = self.workers.plan.assignments[name]
        elsewhere = job.answering.get(name)
        if elsewhere is not None and elsewhere.revision is None:
            return None
        used = elsewhere or model_used(assignment, job.runtimes.get(name))
        inputs = {
            edge.source: job.sections[edge.source].output
            for edge in self.graph.edges[name]
            if not edge.is_track
        }
        parts = {
            "media": job.sha256,
            "tracks": self.settings.tracks.model_dump(mode="json"),
            "decoder": self.settings.decoder,
            "streams": [self.settings.video_stream, self.settings.audio_stream],
            "code": self.graph.digests[name],
            "model": used.model_dump(mode="json") if used else None,
            "device": assignment.device,
            "options": options_for(name, self.graph, self.settings).model_dump(mode="json"),
            "inputs": {
                source: output.model_dump_json() if isinstance(output, Output) else None
                for source, output in inputs.items()
            },
        }
        text = json.dumps(parts, sort_keys=True, default=str)
        return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"

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
                memory={DECODER: MemoryUse(peak_gib=job.tracks.pss_gib), **job.memory},
                versions={"tiktok_ray": __version__},
                lost=lost or None,
            ),
        )


def _settled(sections: Mapping[str, Section]) -> Mapping[str, Section]:
    """The sections as they are told; as they are, when that fails."""
    # Here, since it imports the types of all analyzers.
    from actors.cross_analyzer_intelligence.agreement import settled

    try:
        return settled(sections)
    except Exception as error:
        log.error("what analyzers disagree on could not be settled", exc_info=error)
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


def _summary(
    info: VideoInfo, sections: Mapping[str, Section], lost: list[Missing]
) -> Summary | None:
    """The summary; None, and named in ``lost``, when it could not be made."""
    from tiktok_ray.reporting.summary import summarize  # imports the types of all analyzers

    try:
        return summarize(info, sections, lost)
    except Exception as error:
        log.error("the summary could not be made", exc_info=error)
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
    """Names of the analyzers whose process took more memory than was planned for it."""
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
    """The options of one analyzer. Raises ``pydantic.ValidationError`` for what does not fit."""
    return graph.analyzers[name].options_type.model_validate(settings.options.get(name, {}))
