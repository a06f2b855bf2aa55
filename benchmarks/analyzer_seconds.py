"""CPU seconds of each analyzer on one video: ``python -m benchmarks.analyzer_seconds VIDEO [NAME …]``.

One after another in this process, with one thread each. CPU time is counted and not wall time, so that
a busy machine does not count, of the second of two calls, so that nothing counts that is done once a
process. The sum is the last line. docs/scale.md is made from it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tiktok_ray import media
from tiktok_ray.compose import make_graph
from tiktok_ray.run.engine import options_for
from tiktok_ray.run.placement import plan
from tiktok_ray.run.worker import Worker, limit_threads
from tiktok_ray.settings import Settings

T = TypeVar("T")


def counted(call: Callable[[], T]) -> tuple[T, float]:
    """What a call returns the second time, and the CPU seconds it takes then."""
    call()
    begin = time.process_time()
    return call(), time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    limit_threads(1)
    settings = Settings()
    graph = make_graph()
    names = graph.select(given.names)
    made = plan(graph.analyzers.values(), settings, cards=())
    decoded, took = counted(lambda: media.decode(given.video, graph.tracks(names), settings))
    minutes = decoded.video.duration_s / 60
    known: dict[str, Any] = dict(decoded.tracks)
    print(
        "| what | variant | load, CPU s | CPU s | CPU s for a minute of video |\n|---|---|---|---|---|"
    )
    print(f"| decoding | | | {took:.2f} | {took / minutes:.1f} |", flush=True)
    total = took
    for name in names:
        if name not in made.assignments:
            continue
        worker = Worker(
            graph.analyzers[name], options_for(name, graph, settings), made.assignments[name]
        )
        t0 = time.process_time()
        loaded = worker.load()
        t1 = time.process_time()
        inputs = {edge.source: known.get(edge.source) for edge in graph.edges[name]}
        if loaded.status != "ok" or any(
            inputs[e.source] is None for e in graph.edges[name] if not e.soft
        ):
            continue
        reply, took = counted(partial(worker.run, inputs))
        known[name] = reply.output
        total += took
        if reply.status in ("ok", "partial"):
            variant = made.assignments[name].variant.name
            print(
                f"| `{name}` | {variant} | {t1 - t0:.1f} | {took:.2f} | {took / minutes:.1f} |",
                flush=True,
            )
    print(f"| all | | | {total:.2f} | {total / minutes:.1f} |")


if __name__ == "__main__":
    main()
