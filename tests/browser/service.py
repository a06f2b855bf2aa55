"""A service that speaks as the real one does, whose job goes on when the test says so."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests import viewer_reports
from tiktok_ray import viewer
from tiktok_ray.exports import captions

JOB = "00000000000000aa"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


class FakeService:
    """One job and its events; ``tell`` adds some, ``end`` ends it."""

    def __init__(self) -> None:
        self.report = viewer_reports.report()
        self.results = [self._entry("bb" * 8, "A launch"), self._entry("cc" * 8, "<b>cat</b>")]
        self.hits: list[dict[str, Any]] = []
        self.alike: dict[str, Any] | None = None
        self.same_meaning: dict[str, Any] | None = None
        self.same: dict[str, Any] | None = None
        self.job: dict[str, Any] | None = None
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.changed = threading.Condition()
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.refusal: dict[str, Any] | None = None
        self.break_after: int | None = None
        self.url = ""
        self.video: bytes | None = None

    def _entry(self, id: str, title: str) -> dict[str, Any]:
        statuses = {name: s["status"] for name, s in self.report["analyzers"].items()}
        return {
            "id": id,
            "created": 0,
            "bytes": 1,
            "video_id": id,
            "sha256": self.report["video"]["sha256"],
            "source": "clip.mp4",
            "title": title,
            "uploader": "somebody",
            "duration_s": 20.0,
            "statuses": statuses,
            "has_video": False,
            "has_poster": True,
        }

    def begin(self, request: dict[str, Any]) -> dict[str, Any]:
        self.job = {"id": JOB, "state": "queued", "request": request, "cancelling": False}
        self.tell("job", {"state": "queued"})
        return self.job

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        with self.changed:
            self.events.append((kind, data))
            if kind == "job" and self.job is not None:
                self.job = {**self.job, **data}
            self.changed.notify_all()

    def follow(self, after: int) -> Iterator[str]:
        ended = ("done", "failed", "cancelled")
        while True:
            with self.changed:
                if len(self.events) <= after:
                    self.changed.wait(timeout=0.2)
                news = self.events[after:]
            for kind, data in news:
                after += 1
                yield f"id: {after}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
                if self.break_after == after:
                    self.break_after = None
                    raise ConnectionAbortedError
                if kind == "job" and data["state"] in ended:
                    return
            if not news:
                yield ": still here\n\n"


class Handler(BaseHTTPRequestHandler):
    service: FakeService
    protocol_version = "HTTP/1.0"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def answer(self, body: Any, status: int = 200, kind: str = "application/json") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        service, parts = self.service, urlsplit(self.path)
        service.asked.append(f"GET {self.path}")
        wanted = {k: v[0] for k, v in parse_qs(parts.query).items()}
        match parts.path.strip("/").split("/"):
            case [""]:
                self.answer(viewer.index().encode(), kind="text/html")
            case ["health"]:
                self.answer({"status": "degraded", "reasons": ["no weights"]})
            case ["jobs"]:
                self.answer({"jobs": [service.job] if service.job else [], "next": None})
            case ["jobs", _]:
                self.answer(service.job)
            case ["jobs", _, "events"]:
                self.stream(int(self.headers.get("Last-Event-ID") or 0))
            case ["results"]:
                text = wanted.get("q", "").lower()
                found = [r for r in service.results if text in r["title"].lower()]
                self.answer({"results": found, "next": None})
            case ["search"]:
                made: dict[str, Any] = {"hits": service.hits, "next": None}
                if wanted.get("meaning") == "true":
                    made |= {"alike": service.alike, "same_meaning": service.same_meaning}
                self.answer(made)
            case ["results", _, "duplicates"] if service.same is not None:
                self.answer(service.same)
            case ["results", _, "poster"]:
                self.answer(PIXEL, kind="image/png")
            case ["results", _, "video"] if service.video is not None:
                self.answer(service.video, kind="video/mp4")
            case ["results", name] if name.endswith(".vtt"):
                source: captions.Source = "text" if wanted.get("source") == "text" else "speech"
                text = captions.file_of(service.report, "vtt", source)
                self.answer(text.encode(), kind="text/vtt; charset=utf-8")
            case ["results", _]:
                self.answer(service.report)
            case _:
                self.answer({"title": "Not found", "status": 404}, 404, "application/problem+json")

    def stream(self, after: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            for text in self.service.follow(after):
                self.wfile.write(text.encode())
                self.wfile.flush()
        except (ConnectionError, BrokenPipeError):
            self.close_connection = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.service.asked.append(f"POST {self.path}")
        self.service.bodies.append(body)
        if self.service.refusal is not None:
            status = self.service.refusal["status"]
            self.answer(self.service.refusal, status, "application/problem+json")
        elif self.headers["Content-Type"].startswith("multipart/form-data"):
            self.answer(self.service.begin({"upload": "clip.mp4", "url": None}), 202)
        else:
            self.answer(self.service.begin({"url": json.loads(body)["url"], "upload": None}), 202)

    def do_DELETE(self) -> None:
        self.service.asked.append(f"DELETE {self.path}")
        if self.path.startswith("/jobs/"):
            self.service.tell("job", {"state": "cancelled"})
            self.answer(self.service.job)
        else:
            id = self.path.rsplit("/", 1)[1]
            self.service.results = [r for r in self.service.results if r["id"] != id]
            self.answer(b"", 204)


@contextmanager
def served() -> Iterator[FakeService]:
    """The service on a free port of this machine."""
    service = FakeService()
    handler = type("Bound", (Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
