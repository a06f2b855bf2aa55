"""The trial by fire: a service of its own is fed and tormented; afterwards nothing may be amiss.

    python -m benchmarks.trial_by_fire --seconds 600

For the set time it submits good, odd and hostile inputs while it kills actors, the ingress and the
whole node, hangs and starves analyzers, fills the disk, drops the network and cancels jobs, breaks files
of its home, and floods it with uploads, streams and half-open requests. Then: every accepted job has exactly one outcome and that is honest, every report about a made clip tells
its known cuts, nothing leaks (processes, files, shared memory, actors), and the service is healthy.
Exit code 0: all of that holds; 1: it does not. Only what it started itself is ever killed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import itertools
import json
import os
import random
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from tiktok_ray.media.writer import write_clip
from tiktok_ray.ops import monitoring
from tiktok_ray.serve import service_home
from tiktok_ray.serve.database import set_aside
from tiktok_ray.serve.jobs import ENDED, discard
from tiktok_ray.settings import Settings

ROOT = Path(__file__).parents[1]
ONLY = ("cut_analysis", "audio_analysis")
DISK_MIB = 256
START_S = 300.0
SETTLE_S = 400.0
#: A cut may be this far from its truth, in seconds.
TOLERANCE_S = 0.05
#: What a good clip may fail with under this fire, by the last word of the problem's type.
HONEST = {
    "decode_timeout", "decoder_died", "capacity", "too_large", "quarantined", "disk_full",
    "not_found",
}  # fmt: skip
#: Under a flood the replica may grow by so many MiB, and ``/health`` may take so many seconds.
GROWTH_MIB, HEALTH_S = 300, 5.0
#: A service whose Ray died ends within so many seconds.
NOTICED_S = 30.0
STREAMS, UPLOADS, HALF_OPEN = 1000, 10, 200
#: What fetching may fail with as well, while the network is dropped.
FETCHING = {"timeout", "unreachable", "empty"}


@dataclass(frozen=True)
class Clip:
    """A made clip: its bytes, what they hash to, and where its cuts are."""

    name: str
    data: bytes
    sha256: str
    duration_s: float
    cuts: tuple[float, ...]


@dataclass
class Accepted:
    """A job that was accepted: what it must find (None: whatever is honest), and by which way."""

    clip: Clip | None
    way: str
    cancelled: bool = False


@dataclass
class Record:
    """What happened, for the verdict."""

    accepted: dict[str, Accepted] = field(default_factory=dict)
    keys: dict[str, Accepted] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    accept_s: list[float] = field(default_factory=list)
    health_s: list[float] = field(default_factory=list)
    replica_mib: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def make_clips(folder: Path, count: int) -> list[Clip]:
    """Clips of different scenes and known cuts, with a tone."""
    made = []
    for n in range(count):
        seconds, cuts = (2.0, (1.0,)) if n % 2 else (3.0, (1.0, 2.0))
        rng = np.random.default_rng(1000 + n)
        frames, bounds = [], [0.0, *cuts, seconds]
        for begin, end in itertools.pairwise(bounds):
            blocks = rng.integers(0, 256, (8, 5, 3), dtype=np.uint8)
            picture = np.kron(blocks, np.ones((32, 32, 1), dtype=np.uint8))
            frames += [picture] * round((end - begin) * 30)
        t = np.arange(round(seconds * 48_000)) / 48_000
        tone = (0.1 * np.sin(2 * np.pi * (300 + 20 * n) * t)).astype(np.float32)
        data = write_clip(folder / f"{n}.mp4", frames, fps=30, audio=tone).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        made.append(Clip(f"clip{n}.mp4", data, digest, seconds, cuts))
    return made


class Net(BaseHTTPRequestHandler):
    """Gives clips over HTTP, as long as the network is not dropped."""

    def do_GET(self) -> None:
        server: Any = self.server
        clip: Clip | None = server.clips.get(self.path.rpartition("/")[2])
        if clip is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(len(clip.data)))
        self.end_headers()
        with contextlib.suppress(OSError):  # the client may be killed at any moment
            if server.dropped:
                self.wfile.write(clip.data[: len(clip.data) // 2])
                if server.stalls:
                    time.sleep(20)
                return
            self.wfile.write(clip.data)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


class Arena:
    """The service under trial, with ports, folders and a small disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.tmp = folder / "tmp"
        for place in (self.home, self.tmp, folder / "models"):
            place.mkdir()
        self.mounted = mount(self.home, DISK_MIB)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("TIKTOK_RAY_", "RAY_"))},
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.tmp),
            "RAY_TMPDIR": str(folder),
            **{f"TIKTOK_RAY_{name}": value for name, value in self._settings().items()},
        }
        with _environment(self.environment):
            self.settings = Settings()
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.guarded = threading.Event()
        self._stop = threading.Event()

    def _settings(self) -> dict[str, str]:
        reserve = 0.02
        if not self.mounted:  # the quota is then what is free now, less 2 GiB
            reserve = shutil.disk_usage(self.home).free / 2**30 - 2.0
        return {
            "HOME": str(self.home),
            "MODELS": str(self.folder / "models"),
            "PORT": str(free_port()),
            "DASHBOARD_PORT": str(free_port()),
            "PRELOAD": "false",
            "IN_FLIGHT": "2",
            "QUEUE": "8",
            "OBJECT_STORE_GIB": "0.2",
            "DISK_RESERVE_GIB": f"{reserve:.3f}",
            "CACHE_GIB": "0.00001",  # some outputs are found again, most are not
            "TIMEOUT_FACTOR": "0.25",
            "MAX_BYTES": str(20 * 2**20),
            "MAX_DURATION_S": "120",
            "UPLOAD_SILENCE_S": "3",
            "FETCH_SILENCE_S": "3",
            "FETCH_TIMEOUT_S": "20",
            "DRAIN_S": "5",
            "DECODER_GIB": "1",
            "ALLOWED_HOSTS": '["*"]',
            "PRIVATE_ADDRESSES": "true",
        }

    def command(self, *words: str) -> list[str]:
        code = "import sys; from tiktok_ray.cli import main; main()"
        return [sys.executable, "-c", code, *words]

    def start(self) -> None:
        """Start the service; a guard starts it again whenever it ends, as systemd would."""

        def guard() -> None:
            while not self._stop.is_set():
                self.starts += 1
                with (self.folder / "serve.log").open("ab") as log:
                    self.process = subprocess.Popen(
                        self.command("serve"),
                        cwd=ROOT,
                        env=self.environment,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                while self.process.poll() is None and not self._stop.wait(0.2):
                    pass
                if self._stop.is_set():
                    self.process.wait()
                else:
                    # As a unit's control group would: nothing of the dead service stays.
                    for process in self.processes():
                        with contextlib.suppress(psutil.NoSuchProcess):
                            process.kill()
                    self._stop.wait(1.0)

        threading.Thread(target=guard, daemon=True).start()

    def answers(self) -> bool:
        return monitoring.pulse(self.settings) is not None

    def wait_up(self, limit_s: float = START_S) -> bool:
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            if self.answers():
                return True
            time.sleep(0.5)
        return False

    def processes(self, title: str = "") -> list[psutil.Process]:
        """Processes that this service started, whose title begins so."""
        found = []
        for process, _ in service_home.marked(self.settings):
            with contextlib.suppress(psutil.NoSuchProcess):
                if " ".join(process.cmdline()).startswith(title):
                    found.append(process)
        return found

    def replica_mib(self) -> float:
        """Memory that is the ingress's alone, in MiB; 0 where there is none."""
        for process in self.processes("ray::ServeReplica"):
            with contextlib.suppress(psutil.NoSuchProcess):
                return float(process.memory_full_info().uss / 2**20)
        return 0.0

    def down(self) -> str:
        """End the service by its own command; what that said."""
        self._stop.set()
        done = subprocess.run(
            self.command("down"), env=self.environment, capture_output=True, text=True, timeout=180
        )
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
        return done.stderr.strip()

    def clear(self) -> None:
        """Whatever happened: end what is left, unmount, remove."""
        self._stop.set()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        left = self.processes()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.home)], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def mount(folder: Path, mib: int) -> bool:
    """Put a small disk in memory there, where this account may; whether it did."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    words = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "tmpfs", str(folder)]
    return subprocess.run(words, capture_output=True).returncode == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# What is submitted


class Crowd:
    """Clients: good ones, odd ones, hostile ones."""

    def __init__(
        self, arena: Arena, clips: list[Clip], record: Record, net: Any, fire: Fire
    ) -> None:
        self.arena, self.clips, self.record, self.net, self.fire = arena, clips, record, net, fire
        self.stop = threading.Event()

    def work(self, seed: int) -> None:
        rng = random.Random(seed)
        ways: list[tuple[Callable[[random.Random, httpx.Client], None], int]] = [
            (self.upload, 10),
            (self.link, 4),
            (self.odd, 3),
            (self.hostile, 3),
            (self.slow, 1),
            (self.cancel, 1),
            (self.look, 2),
        ]
        calls, weights = zip(*ways, strict=True)
        while not self.stop.is_set():
            [call] = rng.choices(calls, weights)
            with monitoring.client(self.arena.settings, 30.0) as line:
                try:
                    call(rng, line)
                except httpx.HTTPError as error:
                    self.count(f"no answer ({type(error).__name__})")
                    self.stop.wait(0.5)
            self.stop.wait(rng.uniform(0.05, 0.4))

    def measure(self) -> None:
        """How long ``/health`` takes, and the ingress's memory, all the while."""
        while not self.stop.wait(2.0):
            begin = time.monotonic()
            if self.arena.answers():
                self.record.health_s.append(time.monotonic() - begin)
            if mib := self.arena.replica_mib():
                self.record.replica_mib.append(mib)

    def count(self, words: str) -> None:
        with self.record.lock:
            self.record.answers[words] += 1

    def note(self, answer: httpx.Response, accepted: Accepted) -> None:
        """Keep an answer to a submission, and the job if there is one."""
        self.count(f"{accepted.way}: {answer.status_code}")
        if answer.status_code == 202:
            with self.record.lock:
                self.record.accepted.setdefault(answer.json()["id"], accepted)
        elif answer.status_code == 429:
            self.stop.wait(min(2.0, float(answer.headers.get("Retry-After", "1"))))
        elif answer.status_code >= 500:
            self.judge_failure(answer)

    def judge_failure(self, answer: httpx.Response) -> None:
        """A 5xx is honest while something is being killed or the disk is full."""
        told = f"{answer.status_code} {answer.text[:200]}"
        if answer.status_code in (502, 504, 507) or self.fire.burning():
            return
        if answer.status_code == 503:
            return
        with self.record.lock:
            self.record.wrong.append(f"answered {told}")

    def submit(self, line: httpx.Client, accepted: Accepted, send: Callable[[str], Any]) -> None:
        """Submit under a key, and again under the same key when no answer came."""
        key = os.urandom(8).hex()
        with self.record.lock:
            self.record.keys[key] = accepted
        for _ in range(4):
            begin = time.monotonic()
            try:
                answer = send(key)
                self.record.accept_s.append(time.monotonic() - begin)
            except httpx.HTTPError as error:
                self.count(f"{accepted.way}: no answer ({type(error).__name__})")
                if self.stop.wait(1.0):
                    return
                continue
            self.note(answer, accepted)
            if answer.status_code < 500 or answer.status_code == 507:
                return
            self.stop.wait(1.0)

    def upload(self, rng: random.Random, line: httpx.Client) -> None:
        clip = rng.choice(self.clips)

        def send(key: str) -> httpx.Response:
            return line.post(
                "/analyze",
                files={"file": (clip.name, clip.data)},
                data={"only": ",".join(ONLY)},
                headers={"Idempotency-Key": key},
            )

        self.submit(line, Accepted(clip, "upload"), send)

    def link(self, rng: random.Random, line: httpx.Client) -> None:
        clip = rng.choice(self.clips)
        url = f"http://127.0.0.1:{self.net.server_address[1]}/{clip.name}"
        body = {"url": url, "only": list(ONLY)}
        self.submit(
            line,
            Accepted(clip, "link"),
            lambda key: line.post("/analyze", json=body, headers={"Idempotency-Key": key}),
        )

    def odd(self, rng: random.Random, line: httpx.Client) -> None:
        """Files that are broken in some way: refused, or accepted and reported honestly."""
        data = rng.choice(self.clips).data
        kinds = [
            data[: len(data) // 2],
            data[:200],
            b"",
            b"just words " * 50,
            data[:40] + rng.randbytes(4000),
            rng.randbytes(2000),
            data[: len(data) // 3] + b"\0" * 3000 + data[len(data) // 3 + 3000 :],
            b"GIF89a" + rng.randbytes(300),
        ]
        files = {
            "file": (rng.choice(["../../etc/passwd", "x.mp4", "ä\u202e.mp4"]), rng.choice(kinds))
        }
        answer = line.post("/analyze", files=files, data={"only": ",".join(ONLY)})
        self.note(answer, Accepted(None, "odd"))

    def hostile(self, rng: random.Random, line: httpx.Client) -> None:
        """Requests that must be refused with a 4xx."""
        url = {"url": "file:///etc/passwd"}
        asks: list[Callable[[], httpx.Response]] = [
            lambda: line.post("/analyze", json=url),
            lambda: line.post("/analyze", content=b"{" * 70_000, headers=_json()),
            lambda: line.post("/analyze", content=b'{"url": ', headers=_json()),
            lambda: line.post("/analyze", json={"url": "http://x/", "only": ["no_such"]}),
            lambda: line.post("/analyze", json={"url": ["http://x/"], "evil": 1}),
            lambda: line.post("/analyze", content=b"x" * 1000),
            lambda: line.get("/results/..%2f..%2fetc%2fpasswd"),
            lambda: line.get("/jobs/" + "0" * 3000),
            lambda: line.get("/jobs?limit=999999999999"),
            lambda: line.get("/health", headers={"Host": "evil.example"}),
            lambda: line.get("/health", headers={"Origin": "https://evil.example"}),
            lambda: line.delete("/results/" + "a" * 24),
            lambda: line.head("/jobs/" + "a" * 24),
            lambda: line.post(
                "/analyze",
                json={"url": "http://x/", "only": ["cut_analysis"], "without": ["cut_analysis"]},
            ),
            lambda: line.post(
                "/analyze",
                content=b"--x\r\nContent-Disposition: form-data; name=file",
                headers={"Content-Type": "multipart/form-data; boundary=x"},
            ),
        ]
        number = rng.randrange(len(asks))
        answer = asks[number]()
        self.count(f"hostile: {answer.status_code}")
        if answer.status_code < 400:
            with self.record.lock:
                self.record.wrong.append(f"hostile {number} was answered {answer.status_code}")
        elif answer.status_code >= 500:
            self.judge_failure(answer)

    def slow(self, rng: random.Random, line: httpx.Client) -> None:
        """Begin an upload and say no more."""
        head = (
            f"POST /analyze HTTP/1.1\r\nHost: 127.0.0.1:{self.arena.settings.port}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 100000\r\n\r\n--x\r\n"
        )
        place = ("127.0.0.1", self.arena.settings.port)
        with contextlib.suppress(OSError), socket.create_connection(place, timeout=10) as wire:
            wire.sendall(head.encode())
            if rng.random() < 0.5:
                wire.recv(4000)
        self.count("slow: ended")

    def cancel(self, rng: random.Random, line: httpx.Client) -> None:
        page = line.get("/jobs", params={"limit": 20})
        if page.status_code != 200:
            return
        open_jobs = [j["id"] for j in page.json()["jobs"] if j["state"] in ("queued", "running")]
        if open_jobs:
            id = rng.choice(open_jobs)
            with self.record.lock:
                if id in self.record.accepted:
                    self.record.accepted[id].cancelled = True
                else:
                    return
            self.count(f"cancel: {line.delete(f'/jobs/{id}').status_code}")

    def look(self, rng: random.Random, line: httpx.Client) -> None:
        path = rng.choice(["/health", "/metrics", "/plan", "/jobs", "/results", "/analyzers"])
        answer = line.get(path)
        self.count(f"look: {answer.status_code}")
        if answer.status_code >= 500:
            self.judge_failure(answer)


def ray_file() -> str:
    """Where Ray lies; it is not imported for that."""
    found = importlib.util.find_spec("ray")
    assert found is not None
    assert found.origin is not None
    return found.origin


def _json() -> dict[str, str]:
    return {"Content-Type": "application/json"}


# What is done to it


class Fire:
    """Faults, one after the other."""

    def __init__(self, arena: Arena, record: Record, net: Any, seed: int) -> None:
        self.arena, self.record, self.net = arena, record, net
        self.rng = random.Random(seed)
        self.stop = threading.Event()
        self.frozen: list[psutil.Process] = []
        self.hot_until = 0.0

    def burning(self) -> bool:
        """Whether something was done so lately that the service may still feel it."""
        return time.monotonic() < self.hot_until

    def burn(self, pause_s: float) -> None:
        faults = [
            self.kill_actor, self.kill_decoder, self.starve, self.hang,
            self.kill_ingress, self.fill_disk, self.drop_network, self.kill_node,
            self.kill_raylet, self.break_files, self.flood_uploads, self.flood_streams,
            self.half_open,
        ]  # fmt: skip
        while not self.stop.is_set():
            for fault in faults:
                if self.stop.wait(pause_s):
                    return
                self.hot_until = time.monotonic() + 120
                with contextlib.suppress(psutil.NoSuchProcess):
                    if fault():
                        self.record.faults[fault.__name__] += 1
                self.hot_until = time.monotonic() + 30
            self.rng.shuffle(faults)

    def _one(self, title: str) -> psutil.Process | None:
        there = self.arena.processes(title)
        busy = [p for p in there if ".run" in " ".join(p.cmdline())]
        return self.rng.choice(busy or there) if there else None

    def _kill(self, title: str) -> bool:
        process = self._one(title)
        if process is None:
            return False
        process.kill()
        return True

    def kill_actor(self) -> bool:
        return self._kill("ray::AnalyzerActor")

    def kill_decoder(self) -> bool:
        return self._kill("ray::DecoderActor")

    def kill_ingress(self) -> bool:
        return self._kill("ray::ServeReplica")

    def kill_node(self) -> bool:
        """SIGKILL everything of the service at once, as a power cut would."""
        there = self.arena.processes()
        process = self.arena.process
        if process is not None and process.poll() is None:
            process.kill()
        for one in there:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.hot_until = time.monotonic() + 120
        self.arena.wait_up(120)
        return True

    def hang(self) -> bool:
        """Stop an actor's process where it stands."""
        process = self._one("ray::AnalyzerActor")
        if process is None:
            return False
        process.suspend()
        self.frozen.append(process)
        return True

    def starve(self) -> bool:
        """Let an actor have no more memory than it has."""
        process = self._one("ray::AnalyzerActor")
        if process is None:
            return False
        limit = process.memory_info().data + 2**20
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (limit, limit))
        return True

    def fill_disk(self) -> bool:
        filler = self.arena.home / "filler"
        try:
            if self.arena.mounted:
                with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                    while True:
                        file.write(b"\0" * 4096)
                self.make_room()
            else:
                with filler.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, round(2.5 * 2**30))
            self.stop.wait(6)
        finally:
            filler.unlink(missing_ok=True)
        return True

    def make_room(self) -> None:
        """What frees space must work while there is none."""
        done = subprocess.run(
            self.arena.command("maintain", "retention"),
            env=self.arena.environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            self._wrong(
                f"retention on a full disk ends with {done.returncode}: {done.stderr[-300:]}"
            )
        with contextlib.suppress(httpx.HTTPError), monitoring.client(self.arena.settings) as line:
            for result in line.get("/results", params={"limit": 1}).json().get("results", []):
                self.record.deleted.add(result["id"])
                code = line.delete(f"/results/{result['id']}").status_code
                if code not in (204, 404):
                    self._wrong(f"DELETE of a result on a full disk is answered {code}")

    def _wrong(self, words: str) -> None:
        with self.record.lock:
            self.record.wrong.append(words)

    def kill_raylet(self) -> bool:
        """Ray dies under the service: that ends, soon, and is started again."""
        there = self.arena.processes(f"{os.path.dirname(ray_file())}/core/src/ray/raylet/raylet")
        process = self.arena.process
        if not there or process is None:
            return False
        there[0].kill()
        begin = time.monotonic()
        while process.poll() is None and time.monotonic() - begin < 2 * NOTICED_S:
            time.sleep(0.2)
        if (took := time.monotonic() - begin) > NOTICED_S:
            self._wrong(f"the service lives on without its Ray after {took:.0f} s")
        self.hot_until = time.monotonic() + 120
        self.arena.wait_up(120)
        return True

    def break_files(self) -> bool:
        """Damage what can be made again, and let the ingress meet it as it starts."""
        home = self.arena.home
        with contextlib.suppress(OSError):
            stranger = home / "results" / f"{self.rng.getrandbits(96):024x}"
            stranger.mkdir()
            (stranger / "report.json").write_text('{"broken": ')
            with (home / service_home.STARTS).open("a") as file:
                file.write("{ broken\n")
            for entry in itertools.islice((home / "cache").glob("*.json"), 3):
                entry.write_text("junk")
            self._kill("ray::ServeReplica")
            (home / "results" / "index.sqlite").write_bytes(b"junk" * 2000)
        return self.arena.wait_up(120)

    def flood_uploads(self) -> bool:
        """Many large uploads at once: neither their bytes nor their number may fill the memory."""
        size = min(self.arena.settings.max_bytes, 16 * 2**20)
        before = self.arena.replica_mib()

        def send() -> None:
            files = {"file": ("large.mp4", bytes(size))}
            with (
                contextlib.suppress(httpx.HTTPError),
                monitoring.client(self.arena.settings, 60.0) as line,
            ):
                line.post("/analyze", files=files)

        peak = self._during([threading.Thread(target=send, daemon=True) for _ in range(UPLOADS)])
        if before and peak - before > GROWTH_MIB:
            self._wrong(f"{UPLOADS} uploads took the replica from {before:.0f} to {peak:.0f} MiB")
        return True

    def _during(self, threads: list[threading.Thread]) -> float:
        """Run threads, and look at the service meanwhile; the replica's peak in MiB."""
        for thread in threads:
            thread.start()
        peak = 0.0
        while any(thread.is_alive() for thread in threads):
            peak = max(peak, self.arena.replica_mib())
            self.check_health()
            time.sleep(0.2)
        return peak

    def check_health(self) -> None:
        begin = time.monotonic()
        with (
            contextlib.suppress(httpx.HTTPError),
            monitoring.client(self.arena.settings, 60.0) as line,
        ):
            line.get("/health")
        took = time.monotonic() - begin
        self.record.health_s.append(took)
        if took > HEALTH_S:
            self._wrong(f"/health took {took:.1f} s under a flood")

    def flood_streams(self) -> bool:
        """More streams of events than there may be: the rest is served."""
        with monitoring.client(self.arena.settings) as line:
            jobs = line.get("/jobs", params={"limit": 1}).json()["jobs"]
        if not jobs:
            return False
        port = self.arena.settings.port
        ask = f"GET /jobs/{jobs[0]['id']}/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
        return self._many(STREAMS, ask)

    def half_open(self) -> bool:
        """Requests that are begun and never finished."""
        return self._many(HALF_OPEN, "POST /analyze HTTP/1.1\r\nHost: 127.0.0.1\r\nX-")

    def _many(self, count: int, words: str) -> bool:
        with contextlib.ExitStack() as open_wires, contextlib.suppress(OSError):
            for _ in range(count):
                place = ("127.0.0.1", self.arena.settings.port)
                wire = open_wires.enter_context(socket.create_connection(place, timeout=10))
                wire.sendall(words.encode())
            for _ in range(5):
                self.check_health()
                self.stop.wait(0.5)
        return True

    def drop_network(self) -> bool:
        self.net.stalls = self.rng.random() < 0.5
        self.net.dropped = True
        self.stop.wait(8)
        self.net.dropped = False
        return True

    def lift(self) -> None:
        """Take every lasting fault away."""
        self.net.dropped = False
        (self.arena.home / "filler").unlink(missing_ok=True)
        # As a person would who has looked at them.
        for path in (*set_aside(self.arena.home), *set_aside(self.arena.home / "results")):
            discard(path)
        for process in self.frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


# The verdict


def settle(arena: Arena, limit_s: float) -> list[str]:
    """Wait until no job is open; which still are."""
    end = time.monotonic() + limit_s
    open_jobs: list[str] = ["unknown"]
    while time.monotonic() < end:
        with (
            contextlib.suppress(monitoring.NoAnswer, httpx.HTTPError),
            monitoring.client(arena.settings) as line,
        ):
            found = [
                job["id"]
                for state in ("queued", "running")
                for job in monitoring.ask(line, "/jobs", state=state, limit=500).json()["jobs"]
            ]
            open_jobs = found
            if not found:
                return []
        time.sleep(1)
    return open_jobs


def read_ledger(home: Path) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Jobs as they lie on the disk, and how many endings each has among its events."""
    with contextlib.closing(
        sqlite3.connect(f"file:{home / 'jobs.sqlite'}?mode=ro", uri=True)
    ) as db:
        db.row_factory = sqlite3.Row
        rows = [dict(row) for row in db.execute("SELECT * FROM jobs ORDER BY seq")]
        endings: Counter[str] = Counter()
        for row in db.execute("SELECT job, data FROM events WHERE kind = 'job'"):
            endings[row["job"]] += json.loads(row["data"])["state"] in ENDED
    return rows, endings


def judge_job(
    row: dict[str, Any],
    known: Accepted | None,
    endings: int,
    results: Path,
    deleted: Collection[str] = (),
) -> tuple[str, str]:
    """``ok``, ``lost``, ``double`` or ``wrong`` for one job, and why."""
    state = row["state"]
    if state not in ENDED:
        return "lost", f"{row['id']} is still {state}"
    if endings != 1:
        return "double", f"{row['id']} ended {endings} times"
    report = results / row["id"] / "report.json"
    if state == "done":
        if row["id"] in deleted:
            return "ok", ""
        if not report.is_file():
            return "lost", f"{row['id']} is done and has no report"
        words = judge_report(json.loads(report.read_text()), known.clip if known else None)
        return ("wrong", f"{row['id']}: {words}") if words else ("ok", "")
    if report.is_file():
        return "wrong", f"{row['id']} is {state} and has a report"
    if state == "cancelled":
        asked = known is not None and known.cancelled
        return ("ok", "") if asked else ("wrong", f"{row['id']}: nobody cancelled it")
    problem = json.loads(row["problem"] or "{}")
    word = str(problem.get("type", "")).rpartition(":")[2]
    if not word or not problem.get("detail"):
        return "wrong", f"{row['id']} failed without a reason"
    if word == "internal":
        return "wrong", f"{row['id']}: internal: {problem['detail']}"
    if known is not None and known.clip is not None:
        fine = HONEST | FETCHING if known.way == "link" else HONEST
        if word not in fine:
            return "wrong", f"{row['id']}, a good clip by {known.way}: {word}: {problem['detail']}"
    return "ok", ""


def judge_report(report: dict[str, Any], clip: Clip | None) -> str:
    """What is wrong with a report; an empty text when nothing is."""
    for name, section in report["analyzers"].items():
        if section["status"] not in ("ok", "partial") and not section.get("reason"):
            return f"{name} is {section['status']} without a reason"
    if clip is None:
        return ""
    if report["video"]["sha256"] != clip.sha256:
        return "it is about another file"
    cuts = report["analyzers"]["cut_analysis"]
    if cuts["status"] != "ok":
        return ""
    found = sorted(e["start"] for e in report["timeline"] if e["kind"] == "cut")
    near = len(found) == len(clip.cuts) and all(
        abs(a - b) <= TOLERANCE_S for a, b in zip(found, clip.cuts, strict=True)
    )
    return "" if near else f"cuts at {found}, truly at {list(clip.cuts)}"


def leaks_while_up(arena: Arena) -> list[str]:
    """What should not be there while the service is idle; it is given a minute to tidy up.

    Uploads that were on their way when their process was killed are retention's to remove.
    """
    for folder in (arena.home / "work").iterdir():  # as if an hour had gone by
        os.utime(folder, (time.time() - 7200,) * 2)
    subprocess.run(
        arena.command("maintain", "retention"),
        env=arena.environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    found: list[str] = []
    for _ in range(60):
        found = []
        names = Counter(
            " ".join(p.cmdline()).split(".")[0] for p in arena.processes("ray::") if p.is_running()
        )
        with monitoring.client(arena.settings) as line:
            planned = monitoring.ask(line, "/health").json()["fleet"]["planned"]
        for title, most in (("ray::AnalyzerActor", planned), ("ray::DecoderActor", 1)):
            if (n := sum(c for name, c in names.items() if name.startswith(title))) > most:
                found.append(f"{n} processes of {title}, planned are {most}")
        found += [f"left of a job: {p.name}" for p in (arena.home / "work").iterdir()]
        found += [f"half a result: {p.name}" for p in (arena.home / "results").glob(".part-*")]
        if not found:
            break
        time.sleep(1)
    return found


def leaks_after(arena: Arena, shared_before: set[str]) -> list[str]:
    """What should not be there when the service has ended."""
    for _ in range(20):
        left = arena.processes()
        if not left:
            break
        time.sleep(0.5)
    found = [f"process {p.pid} {' '.join(p.cmdline())[:60]}" for p in left]
    # What killed Python processes leave is the hourly clean-up's to remove: as if it were time.
    for path in shared_memory():
        ours = path.name.startswith("sem.mp-") and path.name not in shared_before
        if ours and held_by_nobody(path.name):
            os.utime(path, (time.time() - 7200,) * 2)
    subprocess.run(
        arena.command("maintain", "cleanup"),
        env=arena.environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    mine = {p.name for p in shared_memory() if p.stat().st_uid == os.getuid()} - shared_before
    found += [f"shared memory {name}" for name in sorted(mine) if held_by_nobody(name)]
    kept = arena.home / "tmp"
    found += [f"temporary file {p}" for place in (arena.tmp, kept) for p in place.iterdir()]
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", arena.settings.port)) == 0:
            found.append("the port is still listened on")
    return found


def shared_memory() -> list[Path]:
    place = Path("/dev/shm")
    return list(place.iterdir()) if place.is_dir() else []


def held_by_nobody(name: str) -> bool:
    """Whether no process of this account has that shared memory open: others may run here too."""
    target = f"/dev/shm/{name}"
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            if any(m.path.startswith(target) for m in process.memory_maps()):
                return False
    return True


def clean_run(arena: Arena, clip: Clip) -> str:
    """A good clip through the service after the fire; what is wrong, or an empty text."""
    with monitoring.client(arena.settings, 180.0) as line:
        try:
            answer = line.post(
                "/analyze?wait=true",
                files={"file": (clip.name, clip.data)},
                data={"only": ",".join(ONLY)},
            )
        except httpx.HTTPError as error:
            return f"no answer: {error or type(error).__name__}"
    if answer.status_code != 200:
        return f"{answer.status_code} {answer.text[:300]}"
    report = answer.json()
    bad = [n for n in ONLY if report["analyzers"][n]["status"] != "ok"]
    return f"not ok: {', '.join(bad)}" if bad else judge_report(report, clip)


def trial(seconds: float, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """The whole trial; its verdict as plain values."""
    shared_before = {p.name for p in shared_memory()}
    folder = Path(tempfile.mkdtemp(prefix="ttr-", dir="/tmp" if Path("/tmp").is_dir() else None))
    clips = make_clips(folder / "clips", 8)
    shutil.rmtree(folder / "clips")
    net: Any = ThreadingHTTPServer(("127.0.0.1", 0), Net)
    net.daemon_threads = True
    net.clips, net.dropped, net.stalls = {clip.name: clip for clip in clips}, False, False
    threading.Thread(target=net.serve_forever, daemon=True).start()
    arena, record = Arena(folder), Record()
    try:
        say(f"disk: {f'{DISK_MIB} MiB of its own' if arena.mounted else 'a reserve on this one'}")
        begin = time.monotonic()
        arena.start()
        if not arena.wait_up():
            log = (folder / "serve.log").read_text(errors="replace")[-3000:]
            raise RuntimeError(f"the service did not start:\n{log}")
        if words := clean_run(arena, clips[0]):
            raise RuntimeError(f"the service is not well before the trial: {words}")
        say(f"the service is up after {time.monotonic() - begin:.0f} s; {seconds:g} s of fire")
        fire = Fire(arena, record, net, seed)
        record.replica_mib.append(arena.replica_mib())
        crowd = Crowd(arena, clips, record, net, fire)
        threads = [
            threading.Thread(target=crowd.measure, daemon=True),
            *(threading.Thread(target=crowd.work, args=(seed + k,), daemon=True) for k in range(3)),
        ]
        burner = threading.Thread(target=fire.burn, args=(max(2.0, seconds / 40),), daemon=True)
        for thread in (*threads, burner):
            thread.start()
        crowd.stop.wait(seconds)
        fire.stop.set()
        burner.join(150)
        fire.lift()
        crowd.stop.set()
        for thread in threads:
            thread.join(90)
        say("the fire is out; waiting for the jobs")
        up = arena.wait_up()
        still_open = settle(arena, SETTLE_S)
        verdict = _verdict(arena, clips, record, up, still_open)
        say(f"down: {arena.down()}")
        verdict["leaked"] += leaks_after(arena, shared_before)
        verdict["starts"] = arena.starts
        bad = [*verdict["lost"], *verdict["double"], *verdict["wrong"], *verdict["leaked"]]
        verdict["passed"] = not bad and verdict["healthy"] == "yes"
        if not verdict["passed"]:
            verdict["log"] = (folder / "serve.log").read_text(errors="replace")[-2000:]
        return verdict
    finally:
        arena.clear()
        net.shutdown()
        net.server_close()


def _verdict(
    arena: Arena, clips: list[Clip], record: Record, up: bool, still_open: list[str]
) -> dict[str, Any]:
    rows, endings = read_ledger(arena.home)
    known = dict(record.accepted)
    for row in rows:
        if row["id"] not in known and row["key"] in record.keys:
            known[row["id"]] = record.keys[row["key"]]
    judged: dict[str, list[str]] = {"lost": [], "double": [], "wrong": list(record.wrong)}
    there = {row["id"] for row in rows}
    judged["lost"] += [f"{id} was accepted and is not there" for id in known if id not in there]
    speeds = []
    for row in rows:
        kind, why = judge_job(
            row, known.get(row["id"]), endings[row["id"]], arena.home / "results", record.deleted
        )
        if kind != "ok":
            judged[kind].append(why)
        accepted = known.get(row["id"])
        if row["state"] == "done" and accepted is not None and accepted.clip is not None:
            speeds.append((row["ended"] - row["started"]) / accepted.clip.duration_s)
    done = {row["id"] for row in rows if row["state"] == "done"}
    published = {p.parent.name for p in (arena.home / "results").glob("*/report.json")}
    judged["double"] += [f"a result without a job that is done: {id}" for id in published - done]
    healthy = "no answer"
    leaked: list[str] = []
    if up:
        ill = [v.found for v in monitoring.judge(arena.settings) if v.state == "bad"]
        trouble = clean_run(arena, clips[1])
        healthy = "; ".join([*ill, trouble] if trouble else ill) or "yes"
        leaked = leaks_while_up(arena)
    return {
        "jobs": dict(Counter(row["state"] for row in rows)),
        "deaths": sum(row["deaths"] for row in rows),
        "still_open": still_open,
        "answers": dict(sorted(record.answers.items())),
        "faults": dict(record.faults),
        **judged,
        "leaked": leaked,
        "healthy": healthy,
        "seconds_per_video_second": _quantiles(speeds),
        "accept_s": _quantiles(record.accept_s),
        "health_s": _quantiles(record.health_s),
        "replica_mib": _quantiles(record.replica_mib),
    }


def _quantiles(values: list[float]) -> dict[str, float | None]:
    found = {
        f"p{q}" if q < 100 else "most": round(float(np.percentile(values, q)), 2)
        if values
        else None
        for q in (50, 95, 100)
    }
    return {"n": len(values), **found}


def tell(verdict: dict[str, Any]) -> None:
    """The verdict for reading."""
    told = ", ".join(f"{n} {state}" for state, n in verdict["jobs"].items())
    print(f"jobs: {told}; deaths of their process: {verdict['deaths']}")
    print("faults:", ", ".join(f"{n} {name}" for name, n in verdict["faults"].items()))
    print("answers:", ", ".join(f"{n} x {name}" for name, n in verdict["answers"].items()))
    for name in ("seconds_per_video_second", "accept_s", "health_s", "replica_mib"):
        q = verdict[name]
        print(f"{name}: p50 {q['p50']}, p95 {q['p95']}, most {q['most']} (of {q['n']})")
    for kind in ("lost", "double", "wrong", "leaked"):
        print(f"{kind}: {len(verdict[kind])}", *(f"  {words}" for words in verdict[kind]), sep="\n")
    print(f"starts of the service: {verdict['starts']}; healthy at the end: {verdict['healthy']}")
    if "log" in verdict:
        print(f"end of its log:\n{verdict['log']}")
    print("passed" if verdict["passed"] else "NOT passed")


def main() -> None:
    parser = argparse.ArgumentParser(description="Trial by fire of the service")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long the fire burns")
    parser.add_argument("--seed", type=int, default=1, help="of what is chosen by chance")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    verdict = trial(
        given.seconds, given.seed, lambda words: print(words, file=sys.stderr, flush=True)
    )
    if given.json:
        print(json.dumps(verdict, indent=1))
    else:
        tell(verdict)
    sys.exit(0 if verdict["passed"] else 1)


if __name__ == "__main__":
    main()
