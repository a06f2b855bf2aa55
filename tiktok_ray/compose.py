"""The one place that assembles the program: analyzers, workers, cache and engine.

The command line, the Python API, the service, batches, benchmarks and tests create what they run
here, so that a setting means the same to all of them.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable, Collection, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiktok_ray.catalog import make_graph
from tiktok_ray.graph import Graph
from tiktok_ray.report import VideoReport
from tiktok_ray.run.cache import open_cache
from tiktok_ray.run.engine import Cache, Engine, Kind, Listener, Source, Workers
from tiktok_ray.settings import Settings, ray_address

if TYPE_CHECKING:
    from tiktok_ray.net.intake import Taken
    from tiktok_ray.run.placement import Card
    from tiktok_ray.serve.service import Service

__all__ = [
    "analyze_source",
    "fork_ahead",
    "make_cache",
    "make_engine",
    "make_graph",
    "make_own_service",
    "make_service",
    "make_workers",
]

log = logging.getLogger("tiktok_ray.compose")

#: How long a source may take to be refused before processes are started for it.
REFUSED_S = 0.3
#: Child processes of a single video: one that decodes, one with all analyzers.
CHILDREN = 2


def make_workers(graph: Graph, settings: Settings, *, single: bool = False) -> Workers:
    """Create workers according to the settings, for many videos or a single one, without starting them."""
    from tiktok_ray.run.placement import plan

    graph.check_options(settings.options)
    made = plan(graph.analyzers.values(), settings)
    kind = _kind(settings, made.cards, single)
    if kind != "ray":
        from tiktok_ray.run.processes import ProcessWorkers

        return ProcessWorkers(graph, made, settings, shared=kind == "threads")
    from tiktok_ray.run.ray_actors import Fleet

    return Fleet(graph, made, settings)


def fork_ahead(settings: Settings) -> None:
    """Have the child processes of a single video ready, where it takes any. To be called before this
    process has threads."""
    from tiktok_ray.run import forking
    from tiktok_ray.run.placement import cards_here

    if _kind(settings, cards_here(settings), single=True) == "threads":
        forking.fork_ahead(CHILDREN, settings)


def _kind(settings: Settings, cards: Sequence[Card], single: bool) -> Kind:
    """The kind of workers that the settings ask for."""
    if settings.workers != "auto":
        return settings.workers
    return "threads" if single and not cards and not ray_address(settings) else "ray"


def make_cache(settings: Settings) -> Cache | None:
    """The cache, if it is enabled and can be opened: it is optional."""
    try:
        return open_cache(settings)
    except OSError as error:
        log.warning("running without a cache: %s", error)
        return None


def make_engine(settings: Settings, *, single: bool = False, cached: bool = True) -> Engine:
    """Create an engine with its own workers; close ``engine.workers`` afterwards.

    ``single``: for one video. ``cached``: with the cache that ``settings.cache_gib`` allows.
    """
    graph = make_graph()
    workers = make_workers(graph, settings, single=single)
    return Engine(graph, workers, settings, cache=make_cache(settings) if cached else None)


def make_service(settings: Settings) -> Service:
    """The service over a detached fleet, on the node where this is called."""
    from tiktok_ray import logs
    from tiktok_ray.run.placement import plan
    from tiktok_ray.run.ray_actors import Fleet, cards_of_node
    from tiktok_ray.serve.service import Service

    logs.write_to(logs.log_file(settings.home))
    graph = make_graph()
    made = plan(graph.analyzers.values(), settings, cards=cards_of_node(settings))
    return Service(graph, Fleet(graph, made, settings, detached=True), settings)


def make_own_service(settings: Settings) -> Service:
    """A service over workers of this process, which end with it."""
    from tiktok_ray.serve.service import Service

    graph = make_graph()
    return Service(graph, make_workers(graph, settings, single=True), settings)


async def _meanwhile(preparing: Coroutine[Any, Any, None], taking: asyncio.Task[Taken]) -> Taken:
    """What is taken, with everything made ready by then."""
    starting = asyncio.create_task(preparing)
    try:
        taken = await taking
    except BaseException:
        starting.cancel()
        raise
    await starting
    return taken


async def analyze_source(
    source: str,
    settings: Settings,
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
    listen: Listener = lambda _: None,
    keep: Callable[[VideoReport, Path], None] = lambda report, video: None,
    cached: bool = True,
) -> VideoReport:
    """Fetch a source if needed and analyze it, on workers that are closed afterwards.

    ``keep`` is called with the report and the video's file, which may be gone afterwards. Raises
    ``InputError``, ``GraphError`` and ``CapacityError``.
    """
    from tiktok_ray.net.fetch import take

    make_graph().select(only, without)
    engine = make_engine(settings, single=True, cached=cached)
    with tempfile.TemporaryDirectory(prefix="tiktok-ray-", ignore_cleanup_errors=True) as folder:
        taking = asyncio.create_task(take(source, settings, Path(folder)))
        # What is refused at once is refused before any process is started for it.
        await asyncio.wait([taking], timeout=REFUSED_S)
        try:
            taken = (
                taking.result()
                if taking.done()
                else await _meanwhile(engine.warm(only, without), taking)
            )
            report = await engine.analyze(
                Source.of(taken), only=only, without=without, listen=listen
            )
            keep(report, taken.path)
            return report
        finally:
            await engine.workers.close()
