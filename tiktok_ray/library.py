"""The Python API: ``from tiktok_ray import analyze, analyze_many, aanalyze, segments, Report``.

Work is done in child processes, or on Ray: workers are started for a call and end with it, so pass
several videos to ``analyze_many`` together. Settings are the same as for the command line, read from
the environment unless ``settings`` is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import tempfile
import threading
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tiktok_ray.compose import analyze_source, make_engine, make_graph
from tiktok_ray.files import sha256_of
from tiktok_ray.media import InputError
from tiktok_ray.report import VideoReport
from tiktok_ray.reporting.reading import Report
from tiktok_ray.reporting.segments import Definition, Segments, draft_of
from tiktok_ray.run.engine import Engine, Listener, Source
from tiktok_ray.settings import Settings

T = TypeVar("T")

Options = Mapping[str, Mapping[str, Any]]


class Analyzed(NamedTuple):
    """The result for one of many sources: a report, or the error that explains why there is none."""

    source: str
    report: Report | None
    error: InputError | None


def analyze(
    source: str | Path,
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
    options: Options | None = None,
    workers: str | None = None,
    ray_address: str | None = None,
    cached: bool = True,
    settings: Settings | None = None,
    listen: Listener = lambda _: None,
) -> Report:
    """Analyze one video, given as a file or a URL, and return its report.

    ``only`` and ``without`` name analyzers; ``options`` are settings of single analyzers, by name;
    ``workers`` is ``"auto"``, ``"threads"`` (of one child process), ``"processes"`` or ``"ray"``;
    ``ray_address`` is the Ray cluster to run on (``"auto"`` for the one on this machine); ``cached``
    controls whether outputs are read from and written to the cache; ``listen`` is called with each
    ``Progress``.

    Raises ``InputError`` when the video cannot be fetched or decoded, ``GraphError`` for unknown
    names and invalid options, ``CapacityError`` if the workers do not fit. What a single analyzer
    could not do is stated in its section of the report. In a coroutine use ``aanalyze``.
    """
    return _run(
        aanalyze(
            source, only=only, without=without, options=options, workers=workers,
            ray_address=ray_address, cached=cached, settings=settings, listen=listen,
        )
    )  # fmt: skip


async def aanalyze(
    source: str | Path,
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
    options: Options | None = None,
    workers: str | None = None,
    ray_address: str | None = None,
    cached: bool = True,
    settings: Settings | None = None,
    listen: Listener = lambda _: None,
) -> Report:
    """Like ``analyze``, in a running event loop. Cancelling it stops the workers."""
    chosen = _settings(settings, options, workers, ray_address)
    report = await analyze_source(
        str(source), chosen, only=only, without=without, listen=listen, cached=cached
    )
    return Report.typed(report)


def analyze_many(
    sources: Iterable[str | Path],
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
    options: Options | None = None,
    workers: str | None = None,
    ray_address: str | None = None,
    in_flight: int | None = None,
    cached: bool = True,
    settings: Settings | None = None,
) -> Iterator[Analyzed]:
    """Analyze several sources, yielding results in order of completion; models are loaded once.

    ``in_flight`` videos are processed at once (default: the setting of that name). A video that
    cannot be analyzed yields its ``error`` and does not stop the others. Workers start with the first
    step of the iteration and stop with it, even if it is abandoned early. Raises ``GraphError`` at
    once, and ``CapacityError`` while iterating. For thousands of videos, with resuming and a Parquet
    dataset, see ``tiktok-ray batch``.
    """
    chosen = _settings(settings, options, workers, ray_address)
    graph = make_graph()
    graph.select(only, without)
    graph.check_options(chosen.options)
    slots = chosen.in_flight if in_flight is None else in_flight
    if slots < 1:
        raise ValueError(f"in_flight must be at least 1, not {slots}")
    return _each(sources, chosen, only, without, slots, cached)


def segments(
    report: VideoReport | str | Path,
    definition: Definition | Mapping[str, Any],
    *,
    video: str | Path | None = None,
    options: Options | None = None,
    settings: Settings | None = None,
) -> Segments:
    """Stretches of a video by a definition of your own (docs/segments.md).

    ``report`` is a report or its file. Questions of the definition are put to the describer over the
    frames of ``video``, the file that was analyzed; without it their fields are ``unavailable``.

    Raises ``BadDefinition`` and ``SchemaMismatch`` (both ``ValueError``), ``NoReport``,
    ``GraphError`` for unknown options, and ``InputError`` where ``video`` is not the video of the
    report. In a coroutine use ``asegments``.
    """
    return _run(asegments(report, definition, video=video, options=options, settings=settings))


async def asegments(
    report: VideoReport | str | Path,
    definition: Definition | Mapping[str, Any],
    *,
    video: str | Path | None = None,
    options: Options | None = None,
    settings: Settings | None = None,
) -> Segments:
    """As ``segments``, in a running event loop."""
    from tiktok_ray.run.questions import answered

    chosen = _settings(settings, options, None, None)
    if chosen.options:
        make_graph().check_options(chosen.options)
    read = report if isinstance(report, VideoReport) else Report.load(Path(report))
    if not isinstance(definition, Definition):
        definition = Definition.read(json.dumps(definition))
    facts = read.plain()
    draft = draft_of(facts, definition)
    if not draft.open or video is None:
        return draft.unanswered("unavailable", "questions need the video that was analyzed")
    if not Path(video).is_file() or sha256_of(Path(video)) != facts["video"]["sha256"]:
        raise InputError("other_video", f"{video} is not the video that the report is about",
                         "name the file that was analyzed")  # fmt: skip
    engine = make_engine(chosen, single=True, cached=False)
    try:
        return await answered(draft, engine, Path(video))
    finally:
        await engine.workers.close()


def _settings(
    settings: Settings | None,
    options: Options | None,
    workers: str | None,
    ray_address: str | None,
) -> Settings:
    """The settings with what was given. Raises ``pydantic.ValidationError`` for what does not fit."""
    base = settings or Settings()
    given: dict[str, Any] = {}
    if workers is not None:
        given["workers"] = workers
    if ray_address is not None:
        given |= {"ray_address": ray_address, "workers": "ray"}
    if options is not None:
        together = {name: {**base.options.get(name, {}), **one} for name, one in options.items()}
        given["options"] = {**base.options, **together}
    if not given:
        return base
    return Settings(**{**{n: getattr(base, n) for n in Settings.model_fields}, **given})


def _each(
    sources: Iterable[str | Path],
    settings: Settings,
    only: Collection[str],
    without: Collection[str],
    slots: int,
    cached: bool,
) -> Iterator[Analyzed]:
    ended: queue.SimpleQueue[Analyzed | None] = queue.SimpleQueue()
    # As many as are at work may wait to be asked for.
    room = asyncio.Semaphore(2 * slots)
    with _loop_beside() as loop:
        engine = make_engine(settings, cached=cached)
        work = _all(sources, engine, only, without, slots, room, ended.put)
        future = asyncio.run_coroutine_threadsafe(work, loop)
        future.add_done_callback(lambda _: ended.put(None))
        while (one := ended.get()) is not None:
            loop.call_soon_threadsafe(room.release)
            yield one
        future.result()


async def _all(
    sources: Iterable[str | Path],
    engine: Engine,
    only: Collection[str],
    without: Collection[str],
    slots: int,
    room: asyncio.Semaphore,
    tell: Callable[[Analyzed], None],
) -> None:
    at_work = asyncio.Semaphore(slots)

    async def one(source: str) -> None:
        try:
            report = await _report(engine, source, only, without)
        except InputError as error:
            tell(Analyzed(source, None, error))
        else:
            tell(Analyzed(source, report, None))
        finally:
            at_work.release()

    try:
        async with asyncio.TaskGroup() as group:
            for source in sources:
                await at_work.acquire()
                await room.acquire()
                group.create_task(one(str(source)))
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    finally:
        await engine.workers.close()


async def _report(
    engine: Engine, source: str, only: Collection[str], without: Collection[str]
) -> Report:
    from tiktok_ray.net.fetch import take

    with tempfile.TemporaryDirectory(prefix="tiktok-ray-", ignore_cleanup_errors=True) as folder:
        taken = await take(source, engine.settings, Path(folder))
        report = await engine.analyze(Source.of(taken), only=only, without=without)
        return Report.typed(report)


def _run(work: Coroutine[Any, Any, T]) -> T:
    """The result of work, whether or not an event loop runs in this thread, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with _loop_beside() as loop:
        return asyncio.run_coroutine_threadsafe(work, loop).result()


@contextlib.contextmanager
def _loop_beside() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own; what still runs in it at the end is cancelled."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="tiktok-ray", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_cancelled(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancelled() -> None:
    """Cancel all other tasks of this loop, and wait for their end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()
