"""Speed and memory as ratios inside one run: ``python -m benchmarks.speed [a b c d e f g h]``.

a  the one-pass decode against a bare PyAV loop that makes the same tracks once by hand
b  the engine with 19 analyzers that do nothing against 19 bare Ray calls
c  warm wall time against the bound max(longest path, solo CPU seconds / cores)
d  what one decode and what parallelism save against the old shape: a plain script in which every
   analyzer opens the file itself and reads all its pictures by OpenCV, one after another
e  decoder memory and track bytes for 1, 3 and 10 minutes
f  cold start by phase, from the command typed to the report
g  four videos in flight against one
h  ten minutes of the clip, repeated, against one: CPU seconds a minute and peak memory

The clip is the composite of ``TIKTOK_RAY_TEST_MEDIA`` where that is set, else the demo's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks import noop
from tiktok_ray import media
from tiktok_ray.compose import make_graph, make_workers
from tiktok_ray.files import sha256_of
from tiktok_ray.graph import Graph
from tiktok_ray.run.engine import Engine, Source, Tracks, options_for
from tiktok_ray.run.placement import Plan, plan
from tiktok_ray.run.worker import Worker, limit_threads, memory_now
from tiktok_ray.settings import Settings

RUNS = 5
#: Picture tracks: every how many pictures of 30 a second, and their short side.
PICTURES = {"thumbs": (1, 64), "dense": (3, 320), "frames": (15, 512), "stills": (100, 540)}


def clip(settings: Settings) -> Path:
    """The clip that is measured."""
    place = os.environ.get("TIKTOK_RAY_TEST_MEDIA")
    if place:
        return Path(place) / "video/short_vertical_composite.mp4"
    from tiktok_ray.demo import demo_clip

    return demo_clip(settings)


def line(*cells: object) -> None:
    """One row of the table."""
    print("| " + " | ".join(str(c) for c in cells) + " |", flush=True)


def median(call: Callable[[], Any], runs: int = RUNS) -> float:
    """Median wall seconds of a call."""
    return statistics.median(timed(call) for _ in range(runs))


def timed(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


# --- a ----------------------------------------------------------------------------------------


def bare_decode(path: Path) -> dict[str, Any]:
    """The same tracks by hand, as short as can be, for a file of 30 pictures a second."""
    import av
    from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

    scale, convert = ({name: VideoReformatter() for name in PICTURES} for _ in range(2))
    kept: dict[str, list[Any]] = {name: [] for name in PICTURES}
    mono: list[Any] = []
    native: list[Any] = []
    to_mono = av.AudioResampler(format="flt", layout="mono", rate=media.AUDIO_RATE)
    index = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for packet in container.demux(stream, container.streams.audio[0]):
            for frame in packet.decode():
                if packet.stream.type == "audio":
                    native.append(frame.to_ndarray())
                    mono += [out.to_ndarray()[0] for out in to_mono.resample(frame)]
                    continue
                for name, (step, short) in PICTURES.items():
                    if index % step:
                        continue
                    k = short / min(frame.width, frame.height)
                    width, height = (2 * round(n * k / 2) for n in (frame.width, frame.height))
                    small = scale[name].reformat(
                        frame, width=width, height=height, format="yuv420p",
                        interpolation=Interpolation.AREA, threads=1,
                    )  # fmt: skip
                    right = convert[name].reformat(
                        small, interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND,
                        src_colorspace=Colorspace.ITU709, dst_colorspace=Colorspace.ITU601,
                        threads=1,
                    )  # fmt: skip
                    kept[name].append(right.to_ndarray())
                index += 1
        rate = container.streams.audio[0].rate
    mono += [out.to_ndarray()[0] for out in to_mono.resample(None)]
    tracks = {name: np.stack(pictures) for name, pictures in kept.items()}
    return {**tracks, "audio": np.concatenate(mono), **bare_levels(np.hstack(native), rate)}


def bare_levels(sound: Any, rate: int) -> dict[str, Any]:
    """Levels by BS.1770 of sound [channels, n], all at once."""
    import pyloudnorm
    from scipy.signal import firwin, lfilter, resample_poly

    step = round(media.LEVEL_STEP_S * rate)
    size = sound.shape[1] // step * step
    weighted = sound[:, :size].astype(float)
    for part in pyloudnorm.Meter(rate)._filters.values():
        weighted = lfilter(part.b, part.a, weighted, axis=1)
    window = firwin(49, 1 / 4, window=("kaiser", 5.0))
    fine = np.abs(resample_poly(sound[:, :size], 4, 1, axis=1, window=window))
    return {
        "power": (weighted**2).reshape(len(sound), -1, step).mean(2).sum(0),
        "peak": fine.reshape(len(sound), -1, 4 * step).max((0, 2)),
    }


def differences(ours: media.Decoded, bare: dict[str, Any]) -> list[str]:
    """Tracks of the two that are not the same."""
    pictures = {name: ours.tracks[name].i420 for name in PICTURES}
    levels = ours.tracks["audio"].levels
    made = {**pictures, "power": levels.power, "peak": levels.peak}
    return [
        name
        for name, one in made.items()
        if not np.allclose(one[: len(bare[name])], bare[name][: len(one)], rtol=1e-3, atol=1e-6)
    ]


def measure_a(settings: Settings) -> None:
    """One-pass decode against the bare loop, in turn."""
    path = clip(settings)
    want = {*PICTURES, "audio"}
    if other := differences(media.decode(path, want, settings), bare_decode(path)):
        line("a", "not the same tracks", ", ".join(other), "", "")
    walls = []
    for _ in range(2 * RUNS):
        bare = timed(lambda: bare_decode(path))
        walls.append((timed(lambda: media.decode(path, want, settings)), bare))
    ratio = statistics.median(ours / bare for ours, bare in walls)
    ours, bare = (statistics.median(column) for column in zip(*walls, strict=True))
    line("a", "one-pass decode / bare PyAV loop", f"{ours:.2f} s / {bare:.2f} s",
         f"{ratio:.2f}", "≤ 1.15")  # fmt: skip


# --- b ----------------------------------------------------------------------------------------


class Canned:
    """Workers whose decoding costs nothing."""

    def __init__(self, inner: Any, video: media.Video) -> None:
        self.inner, self.video, self.plan = inner, video, inner.plan

    async def decode(self, path: Path, want: Any) -> Tracks:
        return Tracks(self.video, {"video": self.video}, {}, 0.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


async def measure_b(settings: Settings) -> None:
    """The engine's own cost a video, against bare calls to the same number of actors."""
    import ray

    from tiktok_ray.run.ray_actors import Fleet

    graph = Graph(noop.ANALYZERS)
    fleet = Fleet(graph, plan(graph.analyzers.values(), settings), settings)
    path = clip(settings)
    engine = Engine(graph, Canned(fleet, media.probe(path, settings)), settings)
    try:
        await engine.analyze(Source(path, "warm"))
        ratios, engines, bares = [], [], []
        actors = [fleet._actors[name] for name in graph.order]
        for _ in range(15):
            begin = time.perf_counter()
            await engine.analyze(Source(path, "b"))
            ours = time.perf_counter() - begin
            bare = timed(lambda: [ray.get(a.load.remote()) for a in actors])
            ratios.append(ours / bare)
            engines.append(ours)
            bares.append(bare)
        sha = median(lambda: sha256_of(path))
    finally:
        await fleet.close()
    line("b", "19 analyzers that do nothing / 19 bare Ray calls, one after another",
         f"{1e3 * statistics.median(engines):.0f} ms / {1e3 * statistics.median(bares):.0f} ms "
         f"(hashing the file {1e3 * sha:.0f} ms of it)",
         f"{statistics.median(ratios):.2f}", "≤ 2")  # fmt: skip


# --- c, d -------------------------------------------------------------------------------------


class Solo:
    """Every analyzer in this process, one thread, inputs prepared once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.graph = make_graph()
        self.plan: Plan = plan(self.graph.analyzers.values(), settings)
        self.path = clip(settings)
        self.names = [n for n in self.graph.order if n in self.plan.assignments]
        self.workers = {
            name: Worker(
                self.graph.analyzers[name],
                options_for(name, self.graph, settings),
                self.plan.assignments[name],
            )
            for name in self.names
        }
        for worker in self.workers.values():
            worker.load()

    def run(
        self, tracks: dict[str, Any], decode: Callable[..., dict[str, Any]] | None = None
    ) -> dict[str, tuple[float, float]]:
        """Wall and CPU seconds of each analyzer; with ``decode`` each decodes for itself by that."""
        outputs: dict[str, Any] = {}
        spent: dict[str, tuple[float, float]] = {}
        for name in self.names:
            begin, cpu = time.perf_counter(), time.process_time()
            if decode and (want := self.graph.tracks([name])):
                tracks = decode(self.path, want, self.settings)
            edges = self.graph.edges[name]
            hard = [e for e in edges if not e.soft]
            if all(e.source in tracks or outputs.get(e.source) is not None for e in hard):
                given = {e.source: tracks.get(e.source, outputs.get(e.source)) for e in edges}
                outputs[name] = self.workers[name].run(given).output
            spent[name] = time.perf_counter() - begin, time.process_time() - cpu
        return spent


def decode_again(path: Path, want: set[str], settings: Settings) -> dict[str, Any]:
    """What one analyzer needs, by the decoder of this project."""
    return media.decode(path, want, settings).tracks


def plain_decode(path: Path, want: set[str], settings: Settings) -> dict[str, Any]:
    """What one analyzer needs, as a plain script gets it: every picture read by OpenCV."""
    import cv2

    tracks = decode_again(path, want - set(PICTURES), settings)
    chosen = {name: PICTURES[name] for name in PICTURES if name in want}
    if not chosen:
        return tracks
    kept: dict[str, list[Any]] = {name: [] for name in chosen}
    capture = cv2.VideoCapture(str(path))
    rate, index = capture.get(cv2.CAP_PROP_FPS), 0
    while True:
        there, picture = capture.read()
        if not there:
            break
        for name, (step, short) in chosen.items():
            if index % step == 0:
                k = short / min(picture.shape[:2])
                width, height = (2 * round(n * k / 2) for n in picture.shape[1::-1])
                small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
                kept[name].append(cv2.cvtColor(small, cv2.COLOR_BGR2YUV_I420))
        index += 1
    end = index / rate
    for name, pictures in kept.items():
        times = np.arange(len(pictures)) * chosen[name][0] / rate
        tracks[name] = media.Frames(times, np.stack(pictures), end)
    return tracks


def longest_path(graph: Graph, seconds: dict[str, float]) -> float:
    """Seconds of the longest chain of analyzers that wait for each other."""
    ends: dict[str, float] = {}
    for name in graph.order:
        before = max((ends.get(p, 0.0) for p in graph.producers[name]), default=0.0)
        ends[name] = before + seconds.get(name, 0.0)
    return max(ends.values(), default=0.0)


def slow_down(name: str) -> float:
    """How much slower one analyzer is while a second copy of it runs beside it.

    Alone and together in turn, so that a machine that others use weighs on both alike.
    """
    code = (
        "import sys, time; from benchmarks.speed import Solo, Settings; from tiktok_ray import media;"
        "s = Solo(Settings()); w = s.workers[sys.argv[1]];"
        "t = media.decode(s.path, s.graph.tracks([sys.argv[1]]), s.settings).tracks;"
        "g = {e.source: t.get(e.source) for e in s.graph.edges[sys.argv[1]]};"
        "w.run(g); print('ready', flush=True)\n"
        "for _ in sys.stdin: b = time.perf_counter(); w.run(g); print(time.perf_counter() - b, flush=True)"
    )
    copies = [
        subprocess.Popen(
            [sys.executable, "-c", code, name], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]  # fmt: skip

    def seconds(some: list[subprocess.Popen[str]]) -> float:
        for copy in some:
            assert copy.stdin is not None
            copy.stdin.write("go\n")
        return statistics.mean(float(answer(copy)) for copy in some)

    def answer(copy: subprocess.Popen[str]) -> str:
        assert copy.stdout is not None
        return copy.stdout.readline()

    for copy in copies:
        while answer(copy).strip() != "ready":
            pass
    rounds = [(seconds(copies[:1]), seconds(copies)) for _ in range(RUNS)]
    for copy in copies:
        copy.communicate()
    return statistics.median(together / alone for alone, together in rounds)


async def measure_cd(settings: Settings, which: str) -> None:
    """Warm wall time against its bound, and against the old shape."""
    solo = Solo(settings)
    want = solo.graph.tracks(solo.names)
    decoded = media.decode(solo.path, want, settings)
    solo.run(decoded.tracks)
    decode_s = median(lambda: media.decode(solo.path, want, settings), 3)
    spent = solo.run(decoded.tracks)
    wall = {name: s[0] for name, s in spent.items()}
    cpu_total = sum(s[1] for s in spent.values()) + decode_s
    heaviest = max(wall, key=lambda n: wall[n])
    for name in sorted(wall, key=lambda n: -wall[n]):
        line("", name, f"{wall[name]:.2f} s wall, {spent[name][1]:.2f} s CPU alone", "", "")
    old: dict[Any, float] = {}
    for decode in (decode_again, plain_decode) if "d" in which else ():
        begin = time.perf_counter()
        solo.run({}, decode)
        old[decode] = time.perf_counter() - begin
    graph = make_graph()
    workers = make_workers(graph, settings)
    engine = Engine(graph, workers, settings)
    try:
        await engine.analyze(Source(solo.path, "warm"))
        walls = []
        for _ in range(3):
            report = await engine.analyze(Source(solo.path, "c"))
            walls.append(report.run.wall_s)
    finally:
        await workers.close()
    ours = statistics.median(walls)
    if "c" in which:
        bound = max(decode_s + longest_path(graph, wall), cpu_total / settings.cores)
        factor = slow_down(heaviest)
        line("c", "warm wall / bound", f"{ours:.2f} s / {bound:.2f} s", f"{ours / bound:.2f}", "")
        line("", f"two copies of {heaviest} at once slow each other by", "", f"{factor:.2f}", "")
        line("", "warm wall / bound corrected for it", f"{ours:.2f} s / {bound * factor:.2f} s",
             f"{ours / bound / factor:.2f}", "≤ 1.15")  # fmt: skip
    if old:
        one = decode_s + sum(wall.values())
        again, plain = old[decode_again], old[plain_decode]
        line("d", "a decode each by OpenCV / by ours", f"{plain:.2f} s / {again:.2f} s",
             f"{plain / again:.2f}", "")  # fmt: skip
        line("", "a decode each by ours / one decode", f"{again:.2f} s / {one:.2f} s",
             f"{again / one:.2f}", "")  # fmt: skip
        line("", "analyzers in turn / actors", f"{one:.2f} s / {ours:.2f} s",
             f"{one / ours:.2f}", "")  # fmt: skip
        line("", "old shape / ours", f"{plain:.2f} s / {ours:.2f} s",
             f"{plain / ours:.2f}", "≥ 3")  # fmt: skip


# --- e ----------------------------------------------------------------------------------------


def long_clip(folder: Path, minutes: int) -> Path:
    """Moving noise, 270 x 480 at 30 fps with a tone, encoded quickly."""
    from tiktok_ray.media.writer import write_clip

    rng = np.random.default_rng(minutes)
    ground = rng.integers(0, 256, (60, 40, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)

    def pictures() -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
        for k in range(minutes * 60 * 30):
            x, y = k % 300, (k // 3) % 400
            yield ground[y : y + 480, x : x + 270]

    t = np.arange(minutes * 60 * 48_000) / 48_000
    tone = (0.1 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    fast = {"preset": "ultrafast", "crf": "30"}
    return write_clip(folder / f"{minutes}.mp4", pictures(), fps=30, audio=tone, options=fast)


def decoder_memory(path: Path) -> tuple[float, float]:
    """Peak PSS of a fresh process that decodes all tracks, and the tracks' bytes, in GiB."""
    code = (
        "import sys, json; from pathlib import Path; from tiktok_ray import media;"
        "from tiktok_ray.settings import Settings; from tiktok_ray.run.worker import _MemoryWatch, memory_now\n"
        "with _MemoryWatch(memory_now) as watch:\n"
        "    d = media.decode(Path(sys.argv[1]), {'frames','dense','thumbs','stills','audio'}, Settings())\n"
        "size = sum(t.i420.nbytes for t in d.tracks.values() if isinstance(t, media.Frames))\n"
        "size += d.tracks['audio'].samples.nbytes\n"
        "print(json.dumps([watch.peak.pss_gib, size / 2**30]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    pss, size = json.loads(done.stdout)
    return pss, size


def measure_e(_: Settings) -> None:
    """Memory does not grow with length."""
    seen = {}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in (1, 3, 10):
            seen[minutes] = decoder_memory(long_clip(Path(folder), minutes))
    for minutes, (pss, size) in seen.items():
        line("e" if minutes == 1 else "", f"{minutes} min: decoder PSS, track bytes",
             f"{pss:.2f} GiB, {size:.2f} GiB", "", "")  # fmt: skip
    line("", "10 min / 1 min, PSS", "", f"{seen[10][0] / seen[1][0]:.2f}", "≤ 1.5")
    line("", "10 min / 1 min, bytes", "", f"{seen[10][1] / seen[1][1]:.2f}", "≤ 1.5")


# --- f, g -------------------------------------------------------------------------------------


def measure_f(settings: Settings) -> None:
    """From the command typed to the report written."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tiktok_ray.cli", "analyze", str(clip(settings)), "--json"]
        command.append("--no-cache")
        begin = time.perf_counter()
        done = subprocess.run(
            [*command, "--out", folder], capture_output=True, text=True, check=True
        )
        seconds = time.perf_counter() - begin
    run = json.loads(done.stdout)["run"]
    line("f", "command typed to report", f"{seconds:.1f} s", "", "≤ 25 s")
    line("", "until all models are loaded", f"{run['startup_s']:.1f} s", "", "")
    line("", "decoding", f"{run['decode_s']:.1f} s", "", "")
    loads = sorted(run["load_s"].items(), key=lambda item: -item[1])[:5]
    line("", "longest loads", ", ".join(f"{n} {s:.1f} s" for n, s in loads), "", "")
    line("", "from the file to the report", f"{run['wall_s']:.1f} s", "", "")


async def measure_g(settings: Settings) -> None:
    """Throughput of four videos in flight against one after another, and how busy the cores are."""
    graph = make_graph()
    workers = make_workers(graph, settings)
    engine = Engine(graph, workers, settings)
    path = clip(settings)
    try:
        await engine.analyze(Source(path, "warm"))
        begin = time.perf_counter()
        for _ in range(4):
            await engine.analyze(Source(path, "one"))
        one = time.perf_counter() - begin
        psutil.cpu_percent()
        begin = time.perf_counter()
        await asyncio.gather(*(engine.analyze(Source(path, "four")) for _ in range(4)))
        four = time.perf_counter() - begin
        busy = psutil.cpu_percent()
    finally:
        await workers.close()
    line("g", "4 videos, one at a time / 4 in flight", f"{one:.1f} s / {four:.1f} s",
         f"{one / four:.2f}", "")  # fmt: skip
    line("", "cores busy with 4 in flight", f"{busy:.0f} %", "", "≥ 90 %")


# --- h ----------------------------------------------------------------------------------------


def repeated(source: Path, target: Path, seconds: float) -> Path:
    """A clip's packets over and over until it is so long, not encoded again."""
    import av

    with av.open(str(source)) as film, av.open(str(target), "w") as out:
        streams = {s.index: out.add_stream_from_template(s) for s in film.streams}
        length = max(float(s.duration * s.time_base) for s in film.streams if s.duration)
        length += 0.2  # pictures are decoded before the first is shown
        for k in range(math.ceil(seconds / length)):
            film.seek(0)
            for packet in film.demux():
                if packet.dts is None:
                    continue
                later = round(k * length / packet.time_base)
                packet.pts, packet.dts = packet.pts + later, packet.dts + later
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    return target


def measure_h(settings: Settings) -> None:
    """What a minute costs in a long video and in a short one."""
    from benchmarks.versus import COMMAND, Cost, measured

    costs: dict[int, Cost] = {}
    with tempfile.TemporaryDirectory() as folder:
        for minutes in (1, 10):
            film = repeated(clip(settings), Path(folder) / f"{minutes}.mp4", 60 * minutes)
            words = ["-c", COMMAND, "analyze", str(film), "--no-cache", "--out", folder]
            patient = {**os.environ, "TIKTOK_RAY_DECODE_TIMEOUT_S": "3600"}
            costs[minutes], _ = measured(words, patient, Path.cwd())
    for minutes, cost in costs.items():
        line("h" if minutes == 1 else "", f"{minutes} min: CPU s a minute, wall s, peak PSS",
             f"{cost.cpu_s / minutes:.1f}, {cost.wall_s:.0f}, {cost.gib:.2f} GiB", "", "")  # fmt: skip
    one, ten = costs[1], costs[10]
    line("", "10 min / 1 min, CPU s a minute", "", f"{ten.cpu_s / 10 / one.cpu_s:.2f}", "≤ 1.1")
    line("", "10 min / 1 min, peak PSS", "", f"{ten.gib / one.gib:.2f}", "≤ 1.5")


def main() -> None:
    """Run the measurements that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", nargs="*", default=list("abcdefgh"))
    which = "".join(parser.parse_args().which)
    limit_threads(1)
    settings = Settings()
    print(
        f"{settings.cores} cores, {memory_now().pss_gib:.2f} GiB in this process, clip {clip(settings).name}"
    )
    line("", "what", "measured", "ratio", "goal")
    line("---", "---", "---", "---", "---")
    if "a" in which:
        measure_a(settings)
    if "b" in which:
        asyncio.run(measure_b(settings))
    if "c" in which or "d" in which:
        asyncio.run(measure_cd(settings, which))
    if "e" in which:
        measure_e(settings)
    if "f" in which:
        measure_f(settings)
    if "g" in which:
        asyncio.run(measure_g(settings))
    if "h" in which:
        measure_h(settings)


if __name__ == "__main__":
    main()
