"""Many videos in a row on one fleet: does memory, or the number of files or actors, grow?

    python -m benchmarks.endurance --videos 200

After each video the memory of all its processes (proportional set size), their open files and their
number are taken. The slope of memory is that of the least-squares line over blocks of ten videos,
the first fifth left out, with its 95 % interval. Exit code 0: the interval holds zero or the growth
is below one percent over all videos, and neither files nor processes became more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from scipy import stats

from tiktok_ray.compose import make_graph
from tiktok_ray.media.writer import write_clip
from tiktok_ray.run.engine import Engine, Source
from tiktok_ray.run.placement import plan
from tiktok_ray.run.ray_actors import Fleet
from tiktok_ray.settings import Settings

ONLY = ("cut_analysis", "audio_analysis", "scene_segmentation")
BLOCK = 10
WARM_UP = 0.2


def make_clip(path: Path, seed: int) -> Path:
    """Two seconds, one cut at 1 s, a tone."""
    rng = np.random.default_rng(seed)
    pictures = [
        np.kron(rng.integers(0, 256, (8, 5, 3), dtype=np.uint8), np.ones((32, 32, 1), np.uint8))
        for _ in range(2)
    ]
    t = np.arange(96_000) / 48_000
    tone = (0.1 * np.sin(2 * np.pi * (300 + seed) * t)).astype(np.float32)
    return write_clip(path, [pictures[k // 30] for k in range(60)], fps=30, audio=tone)


def taken() -> dict[str, float]:
    """Memory in MiB, open files and number of this process and all it started."""
    own = psutil.Process()
    memory, files, count, actors = 0.0, 0, 0, 0
    for process in (own, *own.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            full = process.memory_full_info()
            memory += (getattr(full, "pss", 0) or full.rss) / 2**20
            files += process.num_fds()
            count += 1
            actors += "Actor" in " ".join(process.cmdline())
    return {"memory_mib": memory, "files": files, "processes": count, "actors": actors}


def slope(values: list[float]) -> tuple[float, float]:
    """Slope per video of block medians, and half its 95 % interval."""
    medians = [
        statistics.median(values[k : k + BLOCK]) for k in range(0, len(values) - BLOCK + 1, BLOCK)
    ]
    line = stats.linregress(np.arange(len(medians)) * BLOCK, medians)
    reach = stats.t.ppf(0.975, len(medians) - 2) * line.stderr
    return float(line.slope), float(reach)


async def endure(videos: int, folder: Path, say: Any) -> list[dict[str, float]]:
    """Figures after each video."""
    settings = Settings(
        home=folder / "home", models=folder / "models", object_store_gib=0.3, cores=2
    )
    graph = make_graph()
    fleet = Fleet(graph, plan(graph.analyzers.values(), settings), settings)
    engine = Engine(graph, fleet, settings)
    clips = [make_clip(folder / f"{n}.mp4", n) for n in range(5)]
    seen = []
    try:
        for n in range(videos):
            clip = clips[n % len(clips)]
            begin = time.perf_counter()
            report = await engine.analyze(Source(clip, clip.name), only=ONLY)
            seconds = time.perf_counter() - begin
            if bad := [name for name in ONLY if report.analyzers[name].status != "ok"]:
                raise RuntimeError(f"video {n}: {bad[0]}: {report.analyzers[bad[0]].reason}")
            cuts = [e.start for e in report.timeline if e.kind == "cut"]
            if len(cuts) != 1 or abs(cuts[0] - 1.0) > 0.05:
                raise RuntimeError(f"video {n}: cuts at {cuts}, truly at 1.0")
            seen.append({"seconds": seconds, **taken()})
            if n % 20 == 19:
                say(f"{n + 1} videos: {seen[-1]['memory_mib']:.0f} MiB")
    finally:
        await fleet.close()
    return seen


def judge(seen: list[dict[str, float]]) -> dict[str, Any]:
    """The verdict over figures after each video."""
    warm = seen[round(len(seen) * WARM_UP) :]
    memory = [one["memory_mib"] for one in warm]
    per_video, reach = slope(memory)
    grown = per_video * len(warm) / statistics.mean(memory)
    begin, end = warm[:BLOCK], warm[-BLOCK:]

    def more(key: str) -> float:
        now, then = (statistics.median(one[key] for one in part) for part in (end, begin))
        return now - then

    verdict: dict[str, Any] = {
        "videos": len(seen),
        "seconds_median": round(statistics.median(one["seconds"] for one in warm), 3),
        "memory_mib": [round(memory[0], 1), round(memory[-1], 1)],
        "slope_mib_per_video": round(per_video, 4),
        "interval_95": [round(per_video - reach, 4), round(per_video + reach, 4)],
        "growth_percent": round(100 * grown, 2),
        "more_files": more("files"),
        "more_processes": more("processes"),
        "more_actors": more("actors"),
    }
    steady = per_video - reach <= 0 or abs(grown) < 0.01
    none_more = verdict["more_files"] <= 2 and verdict["more_processes"] <= 0
    return {**verdict, "passed": bool(steady and none_more and verdict["more_actors"] <= 0)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Many videos in a row on one fleet")
    parser.add_argument("--videos", type=int, default=200)
    given = parser.parse_args()
    if given.videos < 50:
        parser.error("a slope needs at least 50 videos")
    with tempfile.TemporaryDirectory(prefix="endurance-") as folder:
        say = lambda words: print(words, file=sys.stderr, flush=True)  # noqa: E731
        seen = asyncio.run(endure(given.videos, Path(folder), say))
    verdict = judge(seen)
    print(json.dumps(verdict, indent=1))
    sys.exit(0 if verdict["passed"] else 1)


if __name__ == "__main__":
    main()
