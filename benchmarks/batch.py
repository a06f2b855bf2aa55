"""A batch in its steady part: ``python -m benchmarks.batch [VIDEOS] [--in-flight 4]``.

Short clips of different contents (made, of so many ``--seconds``; with ``--media`` those of
``TIKTOK_RAY_TEST_MEDIA``, each several times with other bytes) go through one warm fleet of Ray actors, several in flight, and then
some of them again one at a time. Printed are the cores' share of work in the steady part (CPU time
of this process and all it started, over wall time and cores), the slope of their memory, and the
throughput of both ways beside the bound: cores over the CPU seconds that one video takes alone.

On a shared machine the cores are not all ours: the line ``machine`` says how busy they were in all.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from tiktok_ray import media
from tiktok_ray.batch.dataset import Destination
from tiktok_ray.batch.manifest import entries
from tiktok_ray.batch.runner import Batch, OwnFleet
from tiktok_ray.compose import make_graph, make_workers
from tiktok_ray.media.writer import write_clip
from tiktok_ray.run.engine import Engine, Source
from tiktok_ray.settings import Settings

ONLY = ["cut_analysis", "audio_analysis", "camera_analysis"]


def make_clips(folder: Path, count: int, seconds: float) -> None:
    """Clips of different contents: shots of soft colours that move, and a tone."""
    rng = np.random.default_rng(0)
    frames = round(30 * seconds)
    for number in range(count):
        shots = 1 + number % 4
        fields = rng.integers(0, 256, (shots, 10, 6, 3), dtype=np.uint8)
        fields = fields.repeat(64, axis=1).repeat(64, axis=2)
        pictures = (
            np.roll(fields[k * shots // frames], 2 * k, axis=1)[:480, :270] for k in range(frames)
        )
        t = np.arange(round(48_000 * seconds)) / 48_000
        tone = (0.1 * np.sin(2 * np.pi * (200 + 10 * number) * t)).astype(np.float32)
        write_clip(folder / f"{number:03}.mp4", pictures, audio=tone)


def copy_clips(folder: Path, count: int) -> None:
    """Real clips of at most 12 s, in turn; zeros at the end make each a file of its own."""
    given = Path(os.environ["TIKTOK_RAY_TEST_MEDIA"]) / "video"
    settings = Settings()
    short = [p for p in sorted(given.glob("*.mp4")) if media.probe(p, settings).duration_s <= 12]
    folder.mkdir(parents=True)
    for number in range(count):
        data = short[number % len(short)].read_bytes()
        (folder / f"{number:03}.mp4").write_bytes(data + bytes(number))


class Watch:
    """CPU seconds and memory of this process and all it started, twice a second."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float, float]] = []
        self._done = threading.Event()
        self._known: dict[int, float] = {}

    def sample(self) -> None:
        memory = 0.0
        own = psutil.Process()
        for process in [own, *own.children(recursive=True)]:
            try:
                times = process.cpu_times()
                memory += process.memory_full_info().pss / 2**20
                self._known[process.pid] = times.user + times.system
            except psutil.NoSuchProcess:
                continue
        self.samples.append((time.perf_counter(), sum(self._known.values()), memory))

    def watch(self) -> None:
        while not self._done.wait(0.5):
            self.sample()

    def __enter__(self) -> Watch:
        self.sample()
        threading.Thread(target=self.watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.sample()


def busy(samples: list[tuple[float, float, float]], cores: int) -> float:
    """Share of the cores that was at work between the first and the last sample."""
    (t0, c0, _), (t1, c1, _) = samples[0], samples[-1]
    return (c1 - c0) / (t1 - t0) / cores


def slope(samples: list[tuple[float, float, float]]) -> float:
    """MiB per minute, by least squares."""
    times, memory = np.array([s[0] for s in samples]), np.array([s[2] for s in samples])
    return float(np.polyfit((times - times[0]) / 60, memory, 1)[0])


async def measure(count: int, seconds: float | None, in_flight: int, only: list[str]) -> None:
    settings = Settings(cache_gib=0.0, in_flight=in_flight, object_store_gib=1.0)
    graph = make_graph()
    workers = make_workers(graph, settings)
    engine = Engine(graph, workers, settings)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if seconds is None:
            copy_clips(folder / "clips", count)
        else:
            make_clips(folder / "clips", count, seconds)
        first = sorted((folder / "clips").iterdir())[0]
        for _ in range(2):
            await engine.analyze(Source(first, "warm"), only=only)

        ten = sorted((folder / "clips").iterdir())[:: max(1, count // 10)][:10]
        with Watch() as alone:
            begin = time.perf_counter()
            for path in ten:
                await engine.analyze(Source(path, path.name), only=only)
            one_at_a_time = len(ten) / (time.perf_counter() - begin)
        cpu_each = (alone.samples[-1][1] - alone.samples[0][1]) / len(ten)

        runner = OwnFleet(engine, in_flight, only, [])
        manifest = list(entries(str(folder / "clips")))
        batch = Batch(manifest, Destination(folder / "out"), runner, settings)
        machine0, all0 = psutil.cpu_times(), time.perf_counter()
        with Watch() as watch:
            tally = await batch.run()
        machine1, all1 = psutil.cpu_times(), time.perf_counter()
        await runner.close()

    # The steady part: without the first and the last in_flight videos' time.
    cut = max(1, round(len(watch.samples) * in_flight / count))
    steady = watch.samples[cut : len(watch.samples) - cut]
    idle = (machine1.idle - machine0.idle) / (all1 - all0) / (os.cpu_count() or 1)
    rate = tally.done / (all1 - all0)
    bound = settings.cores / cpu_each
    kind = "real" if seconds is None else f"of {seconds:g} s"
    print(f"videos: {count} {kind}, {tally.done} reports, {in_flight} in flight")
    print(f"steady part: {steady[-1][0] - steady[0][0]:.1f} s of {all1 - all0:.1f} s")
    print(f"cores busy with the batch: {busy(steady, settings.cores):.0%} of {settings.cores}")
    print(f"machine: {1 - idle:.0%} busy in all")
    memory = [s[2] for s in steady]
    late = slope(steady[len(steady) // 2 :])
    print(
        f"memory: {min(memory):.0f} to {max(memory):.0f} MiB, slope {slope(steady):+.1f} MiB/min,"
    )
    print(f"  in the second half {late:+.1f} MiB/min; MiB each tenth of the way:")
    print("  " + " ".join(f"{m:.0f}" for m in memory[:: max(1, len(memory) // 10)]))
    print(f"one at a time: {60 * one_at_a_time:.1f} videos/min")
    print(f"batch: {60 * rate:.1f} videos/min, {rate / one_at_a_time:.2f} times as many")
    print(
        f"bound: {60 * bound:.1f} videos/min ({cpu_each:.2f} CPU s each on {settings.cores} cores)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="?", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--in-flight", type=int, default=4)
    parser.add_argument("--media", action="store_true", help="real clips instead of made ones")
    parser.add_argument("--all", action="store_true", help="all analyzers instead of three")
    given = parser.parse_args()
    seconds = None if given.media else given.seconds
    asyncio.run(measure(given.videos, seconds, given.in_flight, [] if given.all else ONLY))


if __name__ == "__main__":
    main()
