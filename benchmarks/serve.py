"""What HTTP and durable jobs add to one video, over ``Engine.analyze``; goal at most 150 ms.

    python -m benchmarks.serve [--videos 10]
    python -m benchmarks.serve --url http://127.0.0.1:8000 --at-once 50

Both ways run in this process over the same kind of workers (threads) and the same made clip, by
turns, so that what else the machine does weighs on both. With ``--url`` a running service is asked
instead, and its jobs' own seconds are compared with the client's; ``--at-once`` submits so many to it
at the same moment, and says how long they were accepted, waited and worked on, and how ``/health`` did.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import uvicorn

from actors.audio_analysis import AudioAnalysis
from actors.cut_analysis import CutAnalysis
from tiktok_ray.graph import Graph
from tiktok_ray.media.writer import write_clip
from tiktok_ray.run.engine import Engine, Source
from tiktok_ray.run.placement import plan
from tiktok_ray.run.threads import LocalWorkers
from tiktok_ray.serve.api import create_app
from tiktok_ray.serve.service import Service
from tiktok_ray.settings import Settings

GOAL_MS = 150.0


def clip(folder: Path) -> Path:
    """Three seconds of noise that moves, with a tone."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (640, 360, 3), dtype=np.uint8)
    pictures = [np.roll(base, 4 * k, axis=1) for k in range(90)]
    tone = (0.1 * np.sin(np.arange(3 * 48_000) * 2 * np.pi * 440 / 48_000)).astype(np.float32)
    return write_clip(folder / "clip.mp4", pictures, fps=30, audio=tone)


def graph() -> Graph:
    return Graph([CutAnalysis, AudioAnalysis])


def workers(settings: Settings) -> LocalWorkers:
    made = graph()
    return LocalWorkers(made, plan(made.analyzers.values(), settings), settings)


async def direct(engine: Engine, path: Path) -> float:
    begin = time.perf_counter()
    report = await engine.analyze(Source(path, path.name))
    report.to_json()
    return time.perf_counter() - begin


async def served(client: httpx.AsyncClient, path: Path) -> float:
    data = path.read_bytes()
    begin = time.perf_counter()
    answer = await client.post("/analyze?wait=true", files={"file": (path.name, data)})
    answer.raise_for_status()
    return time.perf_counter() - begin


async def settled(client: httpx.AsyncClient) -> None:
    """Until the poster of the last result is made, which comes after its job."""
    for _ in range(100):
        if (await client.get("/results?limit=1")).json()["results"][0]["has_poster"]:
            return
        await asyncio.sleep(0.1)


async def compare(videos: int) -> tuple[list[float], list[float]]:
    """Seconds of each video directly and over HTTP, by turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(home=folder / "home", models=folder / "models", cache_gib=0)
        path = clip(folder)
        engine = Engine(graph(), workers(settings), settings)
        app = create_app(lambda: Service(graph(), workers(settings), settings))
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="on"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            await asyncio.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        bare, over = [], []
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
            await direct(engine, path)
            await served(client, path)
            await settled(client)
            for _ in range(videos):
                bare.append(await direct(engine, path))
                over.append(await served(client, path))
                await settled(client)
        server.should_exit = True
        await asyncio.to_thread(thread.join, 30)
        return bare, over


async def ask(url: str, path: Path, videos: int) -> list[float]:
    """Seconds that a running service adds to its jobs' walls, as the client sees them."""
    added = []
    async with httpx.AsyncClient(base_url=url, timeout=600) as client:
        for k in range(videos + 1):
            data = path.read_bytes() + bytes(k)
            begin = time.perf_counter()
            answer = await client.post(
                "/analyze?wait=true",
                files={"file": (path.name, data)},
                data={"only": "cut_analysis,audio_analysis"},
            )
            answer.raise_for_status()
            added.append(time.perf_counter() - begin - answer.json()["run"]["wall_s"])
    return added[1:]


async def load(url: str, path: Path, count: int) -> dict[str, list[float]]:
    """Submit so many uploads at once: seconds of each to be accepted, to begin, and at work."""
    data, taken = path.read_bytes(), []
    found: dict[str, list[float]] = {"accepted": [], "waited": [], "at work": [], "/health": []}
    async with httpx.AsyncClient(base_url=url, timeout=600) as client:

        async def submit(k: int) -> None:
            begin = time.perf_counter()
            answer = await client.post(
                "/analyze",
                files={"file": (path.name, data + bytes(k))},
                data={"only": "cut_analysis,audio_analysis"},
            )
            answer.raise_for_status()
            found["accepted"].append(time.perf_counter() - begin)
            taken.append(answer.json()["id"])

        await asyncio.gather(*(submit(k) for k in range(count)))
        waiting = set(taken)
        while waiting:
            begin = time.perf_counter()
            (await client.get("/health")).raise_for_status()
            found["/health"].append(time.perf_counter() - begin)
            for id in list(waiting):
                job = (await client.get(f"/jobs/{id}")).json()
                if job["ended"]:
                    assert job["state"] == "done", job
                    found["waited"].append(job["started"] - job["created"])
                    found["at work"].append(job["ended"] - job["started"])
                    waiting.discard(id)
            await asyncio.sleep(0.2)
    return found


def row(name: str, seconds: list[float]) -> str:
    ms = [1000 * s for s in seconds]
    return f"{name:28} {statistics.median(ms):8.0f} {min(ms):8.0f} {max(ms):8.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=10)
    parser.add_argument("--url", help="ask a running service")
    parser.add_argument("--at-once", type=int, help="submit so many to it at the same moment")
    given = parser.parse_args()
    print(f"{'milliseconds a video':28} {'median':>8} {'least':>8} {'most':>8}")
    if given.url and given.at_once:
        with tempfile.TemporaryDirectory() as name:
            for what, seconds in asyncio.run(
                load(given.url, clip(Path(name)), given.at_once)
            ).items():
                print(row(what, seconds))
        return
    if given.url:
        with tempfile.TemporaryDirectory() as name:
            added = asyncio.run(ask(given.url, clip(Path(name)), given.videos))
        print(row("added by the service", added))
    else:
        bare, over = asyncio.run(compare(given.videos))
        added = [b - a for a, b in zip(bare, over, strict=True)]
        print(row("Engine.analyze", bare))
        print(row("over HTTP, as a job", over))
        print(row("added", added))
    median = 1000 * statistics.median(added)
    print(f"goal: at most {GOAL_MS:.0f} ms added: {'kept' if median <= GOAL_MS else 'missed'}")


if __name__ == "__main__":
    main()
