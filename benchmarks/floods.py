"""Floods of a running service: its memory and its ``/health`` under large uploads and many streams.

    tiktok-ray serve &
    python -m benchmarks.floods http://127.0.0.1:8000 --uploads 10 --mib 1536
    python -m benchmarks.floods http://127.0.0.1:8000 --streams 1000

Uploads are a made clip with a free box of zeros behind it, sent at once; what the ingress and Ray
Serve's proxy take of memory alone (USS) is printed before, at its peak, and a minute later. Streams
follow the events of a job that ended long ago or runs: those beyond the limit are answered 503.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from benchmarks.serve import clip

BOUNDARY = "a-boundary"
PIECE = bytes(2**20)
CALM_S = 60.0


def memory_mib() -> dict[str, float]:
    """Memory that ingress and proxy have alone, in MiB."""
    found: Counter[str] = Counter()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            title = " ".join(process.cmdline())
            for name in ("ServeReplica", "ProxyActor"):
                if title.startswith(f"ray::{name}"):
                    found[name] += round(process.memory_full_info().uss / 2**20)
    return dict(found)


def upload(url: str, data: bytes, mib: int) -> str:
    """Send ``data`` and zeros behind it, together so many MiB; the status line of the answer."""
    place = urlsplit(url)
    padding = max(0, mib * 2**20 - len(data) - 16)
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="only"\r\n\r\ncut_analysis\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="large.mp4"\r\n\r\n'
    ).encode()
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    body = head + data + struct.pack(">I4sQ", 1, b"free", padding + 16)
    length = len(body) + padding + len(tail)
    with socket.create_connection((place.hostname or "", place.port or 80)) as wire:
        wire.sendall(
            f"POST /analyze HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {length}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
        )
        with contextlib.suppress(OSError):  # it may be refused meanwhile
            wire.sendall(body)
            for _ in range(padding // len(PIECE)):
                wire.sendall(PIECE)
            wire.sendall(PIECE[: padding % len(PIECE)] + tail)
        return wire.recv(65536).split(b"\r\n")[0].decode()


def flood_uploads(url: str, count: int, mib: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = clip(Path(folder)).read_bytes()
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(upload(url, data, mib)))
        for _ in range(count)
    ]
    before, begin = memory_mib(), time.monotonic()
    for thread in threads:
        thread.start()
    peak, health = measured(url, lambda: any(thread.is_alive() for thread in threads))
    print(f"{count} uploads of {mib} MiB in {time.monotonic() - begin:.1f} s: {Counter(answers)}")
    print(f"memory in MiB: before {before}, peak {peak}")
    print(f"/health: most {max(health):.2f} s of {len(health)}")
    time.sleep(CALM_S)
    print(f"memory in MiB, {CALM_S:g} s later: {memory_mib()}")


def measured(url: str, goes_on: Callable[[], bool]) -> tuple[dict[str, float], list[float]]:
    """Peaks of memory, and seconds of ``/health``, as long as something goes on."""
    peak: dict[str, float] = {}
    health = []
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as line:
        while goes_on():
            begin = time.perf_counter()
            line.get("/health").raise_for_status()
            health.append(time.perf_counter() - begin)
            peak = {n: max(v, peak.get(n, 0)) for n, v in memory_mib().items()}
            time.sleep(0.2)
    return peak, health


async def flood_streams(url: str, count: int) -> None:
    limits = httpx.Limits(max_connections=None)
    codes: Counter[str] = Counter()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as line:
            link = f"http://127.0.0.1:{silent.getsockname()[1]}/a.mp4"
            job = (await line.post("/analyze", json={"url": link})).raise_for_status().json()

            async def follow() -> None:
                try:
                    async with line.stream("GET", job["links"]["events"]) as stream:
                        codes[str(stream.status_code)] += 1
                        async for _ in stream.aiter_lines():
                            pass
                except httpx.HTTPError as error:
                    codes[type(error).__name__] += 1

            following = [asyncio.create_task(follow()) for _ in range(count)]
            await asyncio.sleep(5)
            _, health = await asyncio.to_thread(measured, url, _times(20))
            print(f"{count} streams: {dict(codes)}; /health: most {max(health):.2f} s of 20")
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
            await line.delete(f"/jobs/{job['id']}")


def _times(count: int) -> Callable[[], bool]:
    left = iter(range(count))
    return lambda: next(left, None) is not None


def main() -> None:
    parser = argparse.ArgumentParser(description="Floods of a running service")
    parser.add_argument("url")
    parser.add_argument("--uploads", type=int, default=0)
    parser.add_argument("--mib", type=int, default=1536, help="of each upload")
    parser.add_argument(
        "--streams", type=int, default=0, help="needs TIKTOK_RAY_PRIVATE_ADDRESSES=true there"
    )
    given = parser.parse_args()
    if given.uploads:
        flood_uploads(given.url, given.uploads, given.mib)
    if given.streams:
        asyncio.run(flood_streams(given.url, given.streams))


if __name__ == "__main__":
    main()
