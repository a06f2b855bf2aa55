"""The HTTP interface: requests to jobs and results, and every error as problem details (RFC 9457).

``create_app`` makes a FastAPI application over a ``Service``; what runs it (Ray Serve, or a test)
is not its concern. Handlers never block: disk goes to threads, work to the service.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import logging
import shutil
import socket
import sqlite3
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    StreamingResponse,
)
from prometheus_client import generate_latest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tiktok_ray import __version__, exports, logs
from tiktok_ray.exports import captions
from tiktok_ray.graph import GraphError
from tiktok_ray.media import InputError
from tiktok_ray.media.probing import probed
from tiktok_ray.media.stills import frame_times, stills
from tiktok_ray.net.egress_proxy import closed, listed
from tiktok_ray.net.fetch import ADDRESS_LIMIT, IntakeError, checked, take
from tiktok_ray.reporting import segments
from tiktok_ray.reporting.schema import report_schema
from tiktok_ray.run.placement import Plan
from tiktok_ray.serve import duplicates, jobs, search_index, uploads
from tiktok_ray.serve.database import no_room
from tiktok_ray.serve.jobs import ENDED, Entry, Job, KeyReused, QueueFull
from tiktok_ray.serve.listener import DIRECT
from tiktok_ray.serve.mcp_server import Mounted
from tiktok_ray.serve.service import (
    Arriving,
    Service,
    input_problem,
    problem,
    settings_for_fetching,
    upload_path,
)
from tiktok_ray.serve.store import Result
from tiktok_ray.settings import Settings

log = logging.getLogger("tiktok_ray.serve.api")

BODY_BYTES = 64 * 1024
HEARTBEAT_S = 15.0
#: Kept videos that are read at once, for pictures and times of frames.
STILLS = 2
LARGEST = 2**62
PROBLEM = "application/problem+json"
#: While an upload comes, the disk is looked at after so many bytes.
LOOK_BYTES = 16 * 2**20
NO_ROOM = ("there is not enough room on the disk", "delete results, or lower TIKTOK_RAY_KEEP_GIB")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1", "testserver")


class Problem(Exception):
    """An answer that is an error."""

    def __init__(
        self,
        word: str,
        status: int,
        detail: str,
        advice: str = "",
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.word = word
        self.made = problem(word, status, detail, advice)
        self.headers = dict(headers or {})


class ProblemDetails(BaseModel):
    """Problem details (RFC 9457). ``advice`` says what to do."""

    type: str
    title: str
    status: int
    detail: str = ""
    advice: str | None = None
    errors: list[dict[str, Any]] | None = None


KEEP = "false: no video is kept, and the report for an hour at most; remove it when you have it"


class Asked(BaseModel):
    """What to analyze: the address of a video, and which analyzers are wanted."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"url": "https://www.tiktok.com/@scout2015/video/6718335390845095173"},
                {
                    "url": "https://www.tiktok.com/@scout2015/video/6718335390845095173",
                    "only": ["cut_analysis", "speech_transcription"],
                },
            ]
        },
    )

    url: str = Field(min_length=1, max_length=ADDRESS_LIMIT, description="An http(s) address")
    only: list[str] = Field(default_factory=list, max_length=100)
    without: list[str] = Field(default_factory=list, max_length=100)
    webhook: str | None = Field(
        None, max_length=ADDRESS_LIMIT, description="Told when the job has ended, signed"
    )
    keep: bool = Field(True, description=KEEP)


class JobAnswer(Job):
    """A job, how many wait before it, and where its events and report are."""

    ahead: int | None = Field(None, description="Jobs before it in the queue, while it waits")
    links: dict[str, str]


class Jobs(BaseModel):
    """A page of jobs, the newest first; ``next`` is the ``before`` of the next page."""

    jobs: list[JobAnswer]
    next: int | None


class Results(BaseModel):
    """A page of results, the newest first; ``next`` is the ``before`` of the next page."""

    results: list[Result]
    next: int | None


class Found(BaseModel):
    """A page of what a search found, the best first; ``next`` is the ``offset`` of the next page."""

    hits: list[search_index.Hit]
    next: int | None


FORM_SCHEMA = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "The video"},
        "only": {"type": "string", "description": "Names of analyzers, joined by commas"},
        "without": {"type": "string", "description": "Names of analyzers, joined by commas"},
        "webhook": {"type": "string", "description": "Told when the job has ended, signed"},
        "keep": {"type": "string", "enum": ["true", "false"], "description": KEEP},
    },
}


def _errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of the problems that an endpoint answers with."""
    about = {
        400: "The request is malformed",
        401: "The token is wanted",
        403: "Refused",
        404: "There is no such thing",
        408: "The request came too slowly",
        409: "It has ended already",
        410: "The video was removed",
        411: "The length must be said",
        413: "Too large",
        415: "Not a video, or not a form that is understood",
        416: "The range is not there",
        422: "The request does not fit",
        429: "The queue is full, or what comes in is; see Retry-After",
        500: "Something went wrong here",
        502: "The platform gave no video",
        503: "There is no room for the analyzers, or for one more who waits",
        504: "The video was not fetched in time",
        507: "The disk is full",
    }
    body = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
    return {c: {"description": about[c], "content": {PROBLEM: body}} for c in (*codes, 401, 403)}


def create_app(
    make: Callable[[], Service],
    beside: Callable[[FastAPI], AbstractAsyncContextManager[Any]] = nullcontext,
) -> FastAPI:
    """The application. ``make`` is called when it starts, in a thread; ``beside`` is entered then,
    in its event loop, and left before the service stops.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        try:
            app.state.service = service = await asyncio.to_thread(make)
            app.state.guard.settings = service.settings
            await service.start()
        except Exception as error:
            # Whoever runs the application may say no more than that it did not start.
            log.error("the service cannot start: %s", error, exc_info=error)
            raise
        try:
            async with beside(app):
                yield
        finally:
            await agents.close()
            await service.stop()

    app = FastAPI(
        title="tiktok_ray",
        version=__version__,
        summary="One true, complete JSON about a short video",
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    agents = Mounted(app, lambda: _watching(app.state.service))
    app.router.routes.append(Route("/mcp", agents, methods=["POST"], include_in_schema=False))
    app.state.guard = Guard()
    app.add_middleware(_Door, owner=app)
    _handle_errors(app)
    _add_jobs(app)
    _add_results(app)
    _add_search(app)
    _add_facts(app)
    _complete_schema(app)
    return app


class Guard:
    """Who may speak: on loopback anybody who means this host; elsewhere who has the token.

    Without a token requests from other machines are refused, and those whose ``Host`` is not this
    one too: a page that a browser was lured to could otherwise reach it through a name of its own.
    """

    def __init__(self) -> None:
        self.settings: Settings | None = None

    def refusal(self, scope: Scope) -> Problem | None:
        settings = self.settings
        if settings is None:
            return Problem("starting", 503, "the service is starting", headers={"Retry-After": "2"})
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        host = headers.get("host", "")
        if settings.token is None:
            client = scope.get("client")
            if client and not _is_loopback(client[0]):
                detail = "without a token this service speaks only to its own machine"
                return Problem("forbidden", 403, detail, "set TIKTOK_RAY_TOKEN")
            if _hostname(host) not in LOOPBACK_NAMES:
                return Problem("misdirected", 421, "this host name is not this service's")
        elif not _authorized(headers.get("authorization", ""), settings.token.get_secret_value()):
            asks = {"WWW-Authenticate": 'Bearer, Basic realm="tiktok_ray", charset="UTF-8"'}
            return Problem(
                "unauthorized",
                401,
                "a token is wanted",
                "send Authorization: Bearer …",
                headers=asks,
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return Problem("cross_origin", 403, "pages of other sites may not use this service")
        return None


def _authorized(header: str, token: str) -> bool:
    """Whether a header carries the token: as a bearer, or as the password that a browser asks for."""
    scheme, _, given = header.partition(" ")
    if scheme.lower() == "basic":
        try:
            given = b64decode(given, validate=True).decode("utf-8").partition(":")[2]
        except ValueError:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address in LOOPBACK_NAMES or address == "testclient"
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


class _Door:
    """Middleware: the guard at the entrance, and headers that every answer carries.

    Every request has an identifier, ``X-Correlation-ID``. The job that it begins has the same one.
    """

    HEADERS = (
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
    )

    def __init__(self, app: ASGIApp, owner: FastAPI) -> None:
        self.app = app
        self.owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        id = logs.new_id()
        headers = (*self.HEADERS, (b"x-correlation-id", id.encode()))

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
                if scope["method"] not in ("GET", "HEAD") or message["status"] >= 400:
                    words = (scope["method"], scope["path"], message["status"])
                    log.info("%s %s: %d", *words)
            await send(message)

        guard: Guard = self.owner.state.guard
        with logs.correlated(id):
            refusal = guard.refusal(scope)
            app = self.app if refusal is None else _answer(refusal)
            if scope["method"] == "HEAD":
                app = _head_of(app)
            await app(scope, receive, with_headers)


def _head_of(app: ASGIApp) -> ASGIApp:
    """Answers HEAD as ``app`` answers GET, up to the body."""

    async def head(scope: Scope, receive: Receive, send: Send) -> None:
        begun = asyncio.Event()

        async def without_body(message: Any) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                begun.set()

        work = asyncio.ensure_future(app({**scope, "method": "GET"}, receive, without_body))
        enough = asyncio.ensure_future(begun.wait())
        try:
            await asyncio.wait({work, enough}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            enough.cancel()
            if begun.is_set():
                work.cancel()
            [failure] = await asyncio.gather(work, return_exceptions=True)
        if not begun.is_set() and isinstance(failure, BaseException):
            raise failure
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return head


# Errors


def _answer(error: Problem) -> JSONResponse:
    return JSONResponse(error.made, error.made["status"], headers=error.headers, media_type=PROBLEM)


def _handle_errors(app: FastAPI) -> None:
    def say(request: Request, error: Problem) -> JSONResponse:
        service: Service | None = getattr(request.app.state, "service", None)
        if service is not None:
            service.metrics.refused.labels(error.word).inc()
        return _answer(error)

    @app.exception_handler(Problem)
    async def known(request: Request, error: Problem) -> JSONResponse:
        return say(request, error)

    @app.exception_handler(uploads.UploadError)
    async def upload(request: Request, error: uploads.UploadError) -> JSONResponse:
        # What is left of the body is not read: the connection cannot serve another request.
        close = {"Connection": "close"}
        return say(
            request, Problem(error.word, error.status, str(error), error.advice, headers=close)
        )

    @app.exception_handler(InputError)
    async def unfit(request: Request, error: InputError) -> JSONResponse:
        made = input_problem(error)
        return say(request, Problem(error.type, made["status"], str(error), error.advice))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return say(request, _invalid(list(error.errors())))

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> JSONResponse:
        word = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        headers = dict(error.headers or {})
        return say(request, Problem(word, error.status_code, str(error.detail), headers=headers))

    @app.exception_handler(sqlite3.OperationalError)
    @app.exception_handler(OSError)
    async def unwritten(request: Request, error: Exception) -> JSONResponse:
        if no_room(error):
            return say(request, _disk_full())
        raise error

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        return say(request, Problem("internal", 500, f"{type(error).__name__}; the log says more"))


def _invalid(errors: list[Any]) -> Problem:
    """What does not fit, each place with its message; never what was sent."""
    told = [{"where": list(map(str, e.get("loc", ()))), "message": str(e["msg"])} for e in errors]
    words = "; ".join(f"{'.'.join(one['where'])}: {one['message']}" for one in told[:3])
    made = Problem("invalid", 422, words)
    made.made["errors"] = told[:20]
    return made


def _missing(what: str) -> Problem:
    return Problem("not_found", 404, f"there is no {what} of that name")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


# Jobs

CaptionSource = Annotated[
    captions.Source, Query(description="What is said, or captions on the picture")
]
Limit = Annotated[int, Query(ge=1, le=500, description="Entries on a page")]
Before = Annotated[int | None, Query(ge=0, le=LARGEST, description="`next` of the page before")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="The same key with the same request gives the same job",
    ),
]


def _add_jobs(app: FastAPI) -> None:
    @app.post(
        "/analyze",
        status_code=202,
        response_model=JobAnswer,
        tags=["jobs"],
        responses={
            200: {
                "description": "With `wait=true`: the report",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **_errors(400, 404, 408, 410, 411, 413, 415, 422, 429, 500, 502, 503, 504, 507),
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Asked"}},
                    "multipart/form-data": {"schema": FORM_SCHEMA},
                },
            }
        },
    )
    async def analyze(
        request: Request,
        response: Response,
        wait: Annotated[bool, Query(description="Answer with the report, when it is done")] = False,
        key: Key = None,
    ) -> Any:
        """Analyze a video: JSON with its address, or a form with its file.

        The job is on disk before the answer leaves. A client that goes away does not end it.
        """
        service = _service(request)
        with _watching(service) if wait else nullcontext():
            job = await _submitted(request, service, key)
            if wait:
                return await _waited(service, job.id)
        answer = await _job_answer(service, job)
        response.headers["Location"] = answer.links["self"]
        return answer

    @app.get("/jobs", response_model=Jobs, tags=["jobs"], responses=_errors(422))
    async def list_jobs(
        request: Request,
        state: jobs.State | None = None,
        limit: Limit = 50,
        before: Before = None,
    ) -> Jobs:
        """Jobs, the newest first."""
        service = _service(request)
        found, more = await asyncio.to_thread(
            service.ledger.page, state=state, limit=limit, before=before
        )
        return Jobs(jobs=[await _job_answer(service, job) for job in found], next=more)

    @app.get("/jobs/{id}", response_model=JobAnswer, tags=["jobs"], responses=_errors(404, 422))
    async def get_job(request: Request, id: str) -> JobAnswer:
        """How a job stands."""
        service = _service(request)
        return await _job_answer(service, await _job(service, id))

    @app.delete(
        "/jobs/{id}", response_model=JobAnswer, tags=["jobs"], responses=_errors(404, 409, 422)
    )
    async def cancel_job(request: Request, id: str) -> JobAnswer:
        """Stop a job: one that runs gives its actors back within seconds."""
        service = _service(request)
        before = await _job(service, id)
        if before.state in ENDED and before.state != "cancelled":
            raise Problem("ended", 409, f"the job is {before.state} already")
        job = await service.cancel(id)
        if job is None:
            raise _missing("job")
        return await _job_answer(service, job)

    @app.get(
        "/jobs/{id}/events",
        tags=["jobs"],
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Server-sent events, from the first or after `Last-Event-ID`",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            204: {"description": "The job has ended and every event was read"},
            **_errors(404, 422, 503),
        },
    )
    async def job_events(
        request: Request,
        id: str,
        last: Annotated[int, Header(alias="Last-Event-ID", ge=0, le=LARGEST)] = 0,
    ) -> Response:
        """What happens in a job, as it happens, up to its end."""
        service = _service(request)
        job = await _job(service, id)
        if job.state in ENDED and not await asyncio.to_thread(service.ledger.events, id, last, 1):
            return Response(status_code=204)
        return _Watched(service, _stream(service, id, last))


@contextmanager
def _watching(service: Service) -> Iterator[None]:
    """One of the streams and waiting requests that there may be at once."""
    most = service.settings.streams
    if service.watching >= most:
        raise Problem(
            "too_many_streams",
            503,
            f"{most} streams of events and waiting requests are open, which is all there may be",
            "ask GET /jobs/{id} instead, or raise TIKTOK_RAY_STREAMS",
            headers={"Retry-After": "5", "Connection": "close"},
        )
    service.watching += 1
    try:
        yield
    finally:
        service.watching -= 1


class _Watched(StreamingResponse):
    """A stream of events, which counts as one as long as it is sent."""

    def __init__(self, service: Service, content: AsyncIterator[str]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(content, media_type="text/event-stream", headers=headers)
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with _watching(self._service):
                await super().__call__(scope, receive, send)
        except Problem as error:
            self._service.metrics.refused.labels(error.word).inc()
            await _answer(error)(scope, receive, send)


async def _submitted(request: Request, service: Service, key: str | None) -> Job:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    announced = _announced(request, service.settings)
    if kind == "multipart/form-data":
        return await _uploaded(request, service, key, announced)
    if service.lacks(announced):
        raise _disk_full()
    if kind == "application/json":
        return await _asked(request, service, key)
    raise Problem(
        "unsupported_media_type",
        415,
        "the body must be application/json or multipart/form-data",
        'send {"url": …}, or a form with a part named file',
    )


def _announced(request: Request, settings: Settings) -> int:
    """Bytes of the body as its head says, 0 where it does not. Refuses what is too large."""
    length = request.headers.get("content-length", "")
    announced = int(length) if length.isdecimal() and len(length) < 19 else 0
    if length and not announced and length.strip("0"):
        raise Problem("bad_request", 400, "Content-Length is not a number")
    if announced > settings.max_bytes + uploads.FORM_BYTES:
        raise uploads.too_large(settings.max_bytes)
    return announced


def _disk_full() -> Problem:
    return Problem("disk_full", 507, *NO_ROOM)


async def _small_body(request: Request, service: Service) -> bytes:
    return await uploads.read_all(
        request.stream(),
        max_bytes=BODY_BYTES,
        timeout_s=service.settings.upload_silence_s * 2,
        silence_s=service.settings.upload_silence_s,
    )


async def _asked(request: Request, service: Service, key: str | None) -> Job:
    body = await _small_body(request, service)
    try:
        asked = Asked.model_validate_json(body)
    except ValidationError as error:
        broken = any(one["type"] == "json_invalid" for one in error.errors())
        if broken:
            raise Problem("bad_json", 400, "the body is not JSON") from None
        raise _invalid(list(error.errors())) from None
    _refuse_address(asked.url, settings_for_fetching(service.settings))
    wanted = jobs.Request(**asked.model_dump())
    _refuse_request(wanted, service)
    digest = hashlib.sha256(wanted.model_dump_json().encode()).hexdigest()
    id = logs.correlation.get()
    return await _accept(service, id, wanted, digest, key)


async def _uploaded(request: Request, service: Service, key: str | None, announced: int) -> Job:
    known = key is not None and await asyncio.to_thread(service.ledger.knows_key, key)
    id = logs.correlation.get()
    folder = service.work / id
    async with service.admission:
        open_jobs = await asyncio.to_thread(service.ledger.open_jobs) + len(service.arriving)
        if open_jobs >= service.room() and not known:
            raise _busy(service, open_jobs)
        arriving = Arriving(announced, direct=DIRECT in request.scope)
        _refuse_bytes(service, arriving)
        service.arriving[id] = arriving
    try:
        wanted, digest = await _received(request, service, folder, arriving)
    except BaseException:
        service.arriving.pop(id, None)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        raise
    # A client that goes away from here on changes nothing: what was accepted keeps its upload.
    return await asyncio.shield(_settled(service, id, wanted, digest, key, folder))


def _refuse_bytes(service: Service, upload: Arriving) -> None:
    """Refuse an upload that the disk does not hold beside those that come already, and one that
    Ray Serve's proxy would have to hold: it reads on whether or not anybody takes what it read.
    """
    if service.lacks(upload.announced):
        raise _disk_full()
    if service.lacks(upload.announced, beside_arriving=True):
        raise Problem(
            "uploads_full",
            429,
            "the uploads that are coming in take what the disk has left",
            "come again when they have ended, or free some disk",
            headers={"Retry-After": "10", "Connection": "close"},
        )
    if upload.direct:
        return
    most = service.settings.proxied_mib * 2**20
    if not upload.announced:
        detail = "through Ray Serve's proxy an upload must say its length"
        raise uploads.UploadError("length_required", 411, detail, "send Content-Length")
    if upload.announced > most:
        raise uploads.UploadError(
            "too_large",
            413,
            f"through Ray Serve's proxy an upload may have {most} bytes",
            "send it to the service's own port (TIKTOK_RAY_PORT), "
            "or raise the setting TIKTOK_RAY_PROXIED_MIB",
        )
    proxied = sum(one.announced for one in service.arriving.values() if not one.direct)
    if proxied + upload.announced > most:
        raise Problem(
            "uploads_full",
            429,
            f"the uploads that are coming in through Ray Serve's proxy have {proxied} bytes; "
            f"all at once may have {most}",
            "come again when they have ended, or use the service's own port (TIKTOK_RAY_PORT)",
            headers={"Retry-After": "5", "Connection": "close"},
        )


async def _received(
    request: Request, service: Service, folder: Path, arriving: Arriving
) -> tuple[jobs.Request, str]:
    """Receive an upload into its folder: what is wanted of it, and a digest of the request."""
    settings, target = service.settings, upload_path(folder)
    await asyncio.to_thread(folder.mkdir, mode=0o700)

    def came(count: int) -> None:
        arriving.came = count
        if arriving.looks(LOOK_BYTES) and service.lacks(0):
            raise uploads.UploadError("disk_full", 507, *NO_ROOM)

    form = await uploads.receive(
        request.stream(),
        request.headers["content-type"],
        target,
        max_bytes=settings.max_bytes,
        timeout_s=settings.upload_timeout_s,
        silence_s=settings.upload_silence_s,
        came=came,
    )
    service.metrics.uploaded.inc(form.bytes)
    wanted = _form_request(form)
    _refuse_request(wanted, service)
    with _named(form.name):
        await take(target, settings, folder)
    parts = [form.sha256, wanted.model_dump_json()]
    return wanted, hashlib.sha256(json.dumps(parts).encode()).hexdigest()


async def _settled(
    service: Service, id: str, wanted: jobs.Request, digest: str, key: str | None, folder: Path
) -> Job:
    """The job of an upload; its folder stays only if that job is a new one."""
    job: Job | None = None
    try:
        job = await _accept(service, id, wanted, digest, key)
    finally:
        service.arriving.pop(id, None)
        if job is None or job.id != id:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    return job


@contextmanager
def _named(name: str | None) -> Any:
    """Errors about an upload name it as its client did, not as it lies on the disk."""
    try:
        yield
    except IntakeError as error:
        words = str(error).replace("upload", name or "the upload", 1)
        raise IntakeError(error.type, words, error.advice) from None


def _form_request(form: uploads.Form) -> jobs.Request:
    unknown = set(form.fields) - {"only", "without", "webhook", "keep"}
    if unknown:
        raise _invalid(
            [{"loc": ("form", n[:100]), "msg": "no such field"} for n in sorted(unknown)]
        )
    for name in ("webhook", "keep"):
        if len(form.fields.get(name, [])) > 1:
            raise _invalid([{"loc": ("form", name), "msg": "given twice"}])
    [hook] = form.fields.get("webhook") or [""]
    [keep] = form.fields.get("keep") or ["true"]
    if keep not in ("true", "false"):
        raise _invalid([{"loc": ("form", "keep"), "msg": "must be true or false"}])

    def names(field: str) -> list[str]:
        given = (name.strip() for text in form.fields.get(field, []) for name in text.split(","))
        return [name for name in given if name]

    return jobs.Request(
        upload=form.name,
        only=names("only"),
        without=names("without"),
        webhook=hook or None,
        keep=keep == "true",
    )


def _refuse_request(wanted: jobs.Request, service: Service) -> None:
    """Refuse analyzers that do not exist, and webhooks that may not be."""
    try:
        service.graph.select(wanted.only, wanted.without)
    except GraphError as error:
        raise Problem("unknown_analyzer", 422, str(error)[:1000], "see /analyzers") from None
    if wanted.webhook is not None:
        if service.settings.webhook_secret is None:
            advice = "set TIKTOK_RAY_WEBHOOK_SECRET"
            raise Problem("no_webhooks", 422, "webhooks are off on this service", advice)
        _refuse_address(wanted.webhook, service.settings.model_copy(update={"allowed_hosts": None}))


def _refuse_address(url: str, settings: Settings) -> None:
    """Refuse at once what the proxy would refuse later: bad forms, hosts off the list, addresses.

    Names are not resolved here: the proxy does that when it connects, and checks what comes.
    """
    host = (urlsplit(checked(url.strip())).hostname or "").strip(".")
    if not host:
        raise IntakeError("unsupported", "this is not a valid address")
    if settings.allowed_hosts is not None and not listed(host, settings.allowed_hosts):
        raise IntakeError("refused", f"{host[:200]} is not on the list of allowed hosts")
    if settings.private_addresses:
        return
    if host == "localhost" or host.endswith(".localhost"):
        raise IntakeError("refused", f"{host[:200]} is this machine")
    with suppress(OSError, UnicodeError):
        for entry in socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST):
            if why := closed(str(entry[4][0])):
                raise IntakeError("refused", f"{host[:200]} is {why}")


async def _accept(
    service: Service, id: str, wanted: jobs.Request, digest: str, key: str | None
) -> Job:
    """Put a job into the queue. The places of uploads that are still coming are kept."""
    try:
        async with service.admission:
            service.arriving.pop(id, None)
            room = service.room() - len(service.arriving)
            job, _ = await asyncio.to_thread(
                service.ledger.accept, id, wanted, digest=digest, key=key, room=room
            )
    except KeyReused as error:
        advice = "use a new key for a new request"
        raise Problem("key_reused", 422, str(error)[:300], advice) from None
    except QueueFull:
        open_jobs = await asyncio.to_thread(service.ledger.open_jobs) + len(service.arriving)
        raise _busy(service, open_jobs) from None
    if job.id != id:
        log.info("the key was used before: this is job %s", job.id)
    service.nudge()
    return job


def _busy(service: Service, open_jobs: int) -> Problem:
    seconds = service.retry_after_s(open_jobs)
    return Problem(
        "queue_full",
        429,
        f"{open_jobs} jobs are queued, running or being received; there may be {service.room()}",
        f"come again in {seconds} s",
        headers={"Retry-After": str(seconds), "Connection": "close"},
    )


async def _job(service: Service, id: str) -> Job:
    job = await asyncio.to_thread(service.ledger.get, id)
    if job is None:
        raise _missing("job")
    return job


async def _job_answer(service: Service, job: Job) -> JobAnswer:
    ahead = await asyncio.to_thread(service.ledger.ahead, job.id) if job.state == "queued" else None
    links = {"self": f"/jobs/{job.id}", "events": f"/jobs/{job.id}/events"}
    if job.result:
        links["report"] = f"/results/{job.result}"
    return JobAnswer(**job.model_dump(), ahead=ahead, links=links)


async def _waited(service: Service, id: str) -> Response:
    job = await service.ended(id)
    if job is None:
        raise _missing("job")
    if job.state == "done" and job.result:
        path = await asyncio.to_thread(service.store.report_path, job.result)
        if path is None:
            raise _missing("result")
        headers = {"Location": f"/results/{job.result}"}
        return FileResponse(path, media_type="application/json", headers=headers)
    if job.state == "cancelled":
        raise Problem("cancelled", 409, "the job was cancelled")
    made = job.problem or problem("internal", 500, "the job ended without saying why")
    return JSONResponse(made, made["status"], media_type=PROBLEM)


async def _stream(service: Service, id: str, after: int) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    async for entry in service.follow(id, after, HEARTBEAT_S):
        yield ": still here\n\n" if entry is None else _event(entry)


def _event(entry: Entry) -> str:
    data = json.dumps({"at": round(entry.at, 3), **entry.data}, ensure_ascii=False)
    return f"id: {entry.n}\nevent: {entry.kind}\ndata: {data}\n\n"


# Results


def _add_results(app: FastAPI) -> None:
    looking = asyncio.Semaphore(STILLS)

    @app.get("/results", response_model=Results, tags=["results"], responses=_errors(422))
    async def list_results(
        request: Request,
        limit: Limit = 50,
        before: Before = None,
        q: Annotated[
            str | None, Query(max_length=200, description="In title, uploader or source")
        ] = None,
        video_id: Annotated[str | None, Query(max_length=200)] = None,
        sha256: Annotated[str | None, Query(max_length=64)] = None,
        uploader: Annotated[str | None, Query(max_length=200)] = None,
        analyzer: Annotated[str | None, Query(max_length=100)] = None,
        status: Annotated[str | None, Query(max_length=20)] = None,
        since: Annotated[float | None, Query(description="Seconds since 1970")] = None,
        until: Annotated[float | None, Query(description="Seconds since 1970")] = None,
        shortest_s: Annotated[float | None, Query(ge=0)] = None,
        longest_s: Annotated[float | None, Query(ge=0)] = None,
    ) -> Results:
        """Results, the newest first. Every filter that is given must hold."""
        found, more = await asyncio.to_thread(
            _service(request).store.page,
            limit=limit,
            before=before,
            text=q,
            video_id=video_id,
            sha256=sha256,
            uploader=uploader,
            analyzer=analyzer,
            status=status,
            since=since,
            until=until,
            shortest_s=shortest_s,
            longest_s=longest_s,
        )
        return Results(results=found, next=more)

    def kind(about: str, *types: str) -> dict[int | str, dict[str, Any]]:
        content = {name: {"schema": {"type": "string"}} for name in types}
        return {200: {"description": about, "content": content}}

    @app.get(
        "/results/{id}.vtt",
        tags=["results"],
        response_class=PlainTextResponse,
        responses={**kind("Captions, WebVTT", "text/vtt"), **_errors(404, 422)},
    )
    async def captions_vtt(request: Request, id: str, source: CaptionSource = "speech") -> Response:
        """Captions as WebVTT, with speakers; `id` is that of a result or of a video."""
        text = await _captions(_service(request), id, "vtt", source)
        return Response(text, media_type="text/vtt; charset=utf-8")

    @app.get(
        "/results/{id}.srt",
        tags=["results"],
        response_class=PlainTextResponse,
        responses={**kind("Captions, SubRip", "application/x-subrip"), **_errors(404, 422)},
    )
    async def captions_srt(request: Request, id: str, source: CaptionSource = "speech") -> Response:
        """Captions as SubRip; `id` is that of a result or of a video."""
        text = await _captions(_service(request), id, "srt", source)
        return Response(text, media_type="application/x-subrip; charset=utf-8")

    @app.get(
        "/results/{id}.txt",
        tags=["results"],
        response_class=PlainTextResponse,
        responses={**kind("The text alone", "text/plain"), **_errors(404, 422)},
    )
    async def captions_txt(request: Request, id: str, source: CaptionSource = "speech") -> Response:
        """What is said (or written) alone; `id` is that of a result or of a video."""
        return PlainTextResponse(await _captions(_service(request), id, "txt", source))

    @app.get(
        "/results/{id}.words.json",
        tags=["results"],
        responses={
            200: {"content": {"application/json": {"schema": {"type": "object"}}}},
            **_errors(404, 422),
        },
    )
    async def captions_json(
        request: Request, id: str, source: CaptionSource = "speech"
    ) -> Response:
        """Every word with its times; `id` is that of a result or of a video."""
        text = await _captions(_service(request), id, "json", source)
        return Response(text, media_type="application/json")

    @app.get(
        "/results/{id}/export",
        tags=["results"],
        response_class=PlainTextResponse,
        responses={
            **kind("The file", *sorted({one.media_type for one in exports.FORMATS.values()})),
            **_errors(404, 422),
        },
    )
    async def export(
        request: Request,
        id: str,
        to: Annotated[exports.To, Query(description="Format of the file; see docs/exports.md")],
    ) -> Response:
        """The report in the format of an editor, an annotator or a table; `id` is that of a
        result or of a video."""
        service = _service(request)
        id = await _newest(service, id)
        report, format = await _report(service, id), exports.FORMATS[to]
        times = None
        video = await asyncio.to_thread(service.store.video_path, id)
        if video is not None and exports.wants_times(report, to):
            async with looking:
                times = await asyncio.to_thread(frame_times, video, service.settings)
        try:
            text = await asyncio.to_thread(exports.file_of, report, to, times)
        except exports.CannotExport as error:
            raise Problem("cannot_export", 422, str(error), error.advice) from None
        named = {"Content-Disposition": f'attachment; filename="{id}{format.suffix}"'}
        return Response(text, media_type=format.media_type, headers=named)

    @app.post(
        "/results/{id}/segments",
        response_model=segments.Segments,
        response_model_exclude_none=True,
        tags=["results"],
        responses=_errors(400, 404, 408, 413, 422),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Definition"}}
                },
            }
        },
    )
    async def result_segments(request: Request, id: str) -> segments.Segments:
        """Stretches of the video by the caller's own definition; see docs/segments.md."""
        service = _service(request)
        body = await _small_body(request, service)
        try:
            wanted = await asyncio.to_thread(segments.Definition.read, body)
            report = await _report(service, await _newest(service, id))
            return await asyncio.to_thread(segments.segments_of, report, wanted)
        except segments.BadDefinition as error:
            raise Problem("bad_definition", 422, str(error)[:1000]) from None
        except segments.SchemaMismatch as error:
            raise Problem("schema_mismatch", 422, str(error)[:1000]) from None

    @app.get(
        "/results/{id}.html",
        tags=["results"],
        response_class=HTMLResponse,
        responses=_errors(404, 413, 422),
    )
    async def report_html(
        request: Request,
        id: str,
        embed: Annotated[
            bool, Query(description="Put the video into the page, so that it plays anywhere")
        ] = False,
    ) -> Response:
        """The report as one page. It plays the video, where that was kept, from here."""
        from tiktok_ray.viewer import page

        service = _service(request)
        report = await _report(service, id)
        video = await asyncio.to_thread(service.store.video_path, id)
        if video is None or not embed:
            url = None if video is None else f"/results/{id}/video"
            make = partial(page, report, video_url=url)
        else:
            make = partial(page, report, video)
        try:
            return HTMLResponse(await asyncio.to_thread(make))
        except ValueError:
            detail = "the video is too large to be put into a page"
            raise Problem("too_large", 413, detail, "leave out embed") from None

    @app.get(
        "/results/{id}/video",
        tags=["results"],
        response_class=FileResponse,
        responses={**kind("The video", "video/*"), **_errors(400, 404, 416, 422)},
    )
    async def result_video(request: Request, id: str) -> Response:
        """The video of a result, where it was kept; ranges are answered."""
        path = await asyncio.to_thread(_service(request).store.video_path, id)
        if path is None:
            raise _missing("video")
        return FileResponse(path, media_type=await asyncio.to_thread(media_type_of, path))

    @app.get("/results/{id}/duplicates", tags=["results"], responses=_errors(404, 422))
    async def result_duplicates(request: Request, id: str) -> duplicates.Compared:
        """Results whose videos show the same as this one's, and what was changed. Only videos that
        were kept are compared; each is read once."""
        service = _service(request)
        if await asyncio.to_thread(service.store.video_path, id) is None:
            raise _missing("video")
        return await asyncio.to_thread(
            lambda: duplicates.among(
                duplicates.of_results(service.store.folder), service.settings, only=id
            )
        )

    @app.get("/results/{id}/probe", tags=["results"], responses=_errors(400, 404, 422))
    async def result_probe(request: Request, id: str) -> dict[str, Any]:
        """What the file of a result's kept video says of itself: streams, clocks, colours."""
        service = _service(request)
        path = await asyncio.to_thread(service.store.video_path, id)
        if path is None:
            raise _missing("video")
        return await asyncio.to_thread(probed, path, service.settings)

    @app.get(
        "/results/{id}/frame",
        tags=["results"],
        response_class=Response,
        responses={**kind("The picture, JPEG", "image/jpeg"), **_errors(404, 422)},
    )
    async def result_frame(
        request: Request,
        id: str,
        t: Annotated[float, Query(ge=0, le=1e6, description="Seconds from the first frame")],
        short: Annotated[int, Query(ge=16, le=1080, description="Short side at most, px")] = 512,
    ) -> Response:
        """The picture that a result's kept video shows at a time. `X-Frame-Time` is when its frame
        begins; past the last picture it is that one."""
        service = _service(request)
        path = await asyncio.to_thread(service.store.video_path, id)
        if path is None:
            raise _missing("video")
        async with looking:
            [still] = await asyncio.to_thread(stills, path, [t], short, service.settings)
        headers = {"X-Frame-Time": f"{still.time:.4f}"}
        return Response(still.jpeg, media_type="image/jpeg", headers=headers)

    @app.get(
        "/results/{id}/poster",
        tags=["results"],
        response_class=FileResponse,
        responses={**kind("A still", "image/jpeg"), **_errors(400, 404, 416, 422)},
    )
    async def result_poster(request: Request, id: str) -> Response:
        """A still of the video."""
        path = await asyncio.to_thread(_service(request).store.poster_path, id)
        if path is None:
            raise _missing("poster")
        return FileResponse(path, media_type="image/jpeg")

    @app.get(
        "/results/{id}",
        tags=["results"],
        response_class=FileResponse,
        responses={
            200: {
                "description": "The report",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **_errors(400, 404, 416, 422),
        },
    )
    async def result(request: Request, id: str) -> Response:
        """A report."""
        path = await asyncio.to_thread(_service(request).store.report_path, id)
        if path is None:
            raise _missing("result")
        return FileResponse(path, media_type="application/json")

    @app.delete("/results/{id}", status_code=204, tags=["results"], responses=_errors(404, 422))
    async def delete_result(request: Request, id: str) -> Response:
        """Remove a result, its video and all."""
        service = _service(request)
        if not await asyncio.to_thread(service.store.delete, id):
            raise _missing("result")
        await asyncio.to_thread(service.forget_gone)
        return Response(status_code=204)


async def _report(service: Service, id: str) -> dict[str, Any]:
    path = await asyncio.to_thread(service.store.report_path, id)
    if path is None:
        raise _missing("result")
    report: dict[str, Any] = json.loads(await asyncio.to_thread(path.read_bytes))
    return report


async def _newest(service: Service, id: str) -> str:
    """The identifier of a result: the same, or that of the newest one of a video."""
    if service.store.report_path(id) is None:
        newest, _ = await asyncio.to_thread(service.store.page, limit=1, video_id=id)
        return newest[0].id if newest else id
    return id


async def _captions(
    service: Service, id: str, format: captions.Format, source: captions.Source
) -> str:
    """A caption file of a result, or of the newest one of a video. Raises a 404 ``Problem`` where
    there is none, or nothing to make it of."""
    id = await _newest(service, id)
    try:
        return captions.file_of(await _report(service, id), format, source)
    except LookupError as error:
        raise Problem("not_found", 404, str(error)) from None


def media_type_of(path: Path) -> str:
    """Media type of a video file, by its first bytes."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:10] == b"qt" else "video/mp4"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "video/webm"
    return "application/octet-stream"


# Facts


def _add_search(app: FastAPI) -> None:
    @app.get("/search", response_model=Found, tags=["results"], responses=_errors(422))
    async def search(
        request: Request,
        q: Annotated[
            str, Query(min_length=1, max_length=200, description='Words, "a phrase", begin*')
        ],
        kind: Annotated[
            list[search_index.Kind] | None,
            Query(max_length=9, description="Kinds of passages; all"),
        ] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        offset: Annotated[int, Query(ge=0, le=10_000)] = 0,
    ) -> Found:
        """What is said, written, seen, heard and told in all results, with time; passages that hold
        all the words, the best first."""
        service = _service(request)
        try:
            hits, more = await asyncio.to_thread(
                lambda: service.finder.search(
                    q, kinds=tuple(kind or ()), limit=limit, offset=offset
                )
            )
        except search_index.NothingToFind as error:
            raise Problem("nothing_to_find", 422, str(error)) from None
        return Found(hits=hits, next=more)


def _add_facts(app: FastAPI) -> None:
    @app.get("/health", tags=["service"], responses=_errors(503))
    async def health(request: Request) -> JSONResponse:
        """Whether it works, what it cannot do and why, its queue, fleet, cards and disk."""
        made = await _service(request).health()
        return JSONResponse(made)

    @app.get("/analyzers", tags=["service"], responses=_errors())
    async def analyzers(request: Request) -> list[dict[str, Any]]:
        """The analyzers: what each finds and reads, and how it runs here."""
        return described(_service(request))

    @app.get("/plan", tags=["service"], responses=_errors())
    async def plan(request: Request) -> dict[str, Any]:
        """Where each analyzer runs, in which variant, and what it takes of which card."""
        service = _service(request)
        made: Plan = service.engine.workers.plan
        return {
            "cards": [
                {
                    "card": card.index,
                    "name": card.name,
                    "total_gib": round(card.total_gib, 2),
                    "usable_gib": round(card.usable_gib, 2),
                    "planned_gib": round(made.used_gib(card.index), 2),
                }
                for card in made.cards
            ],
            "analyzers": made.table(service.graph.order),
            "unavailable": dict(made.unavailable),
        }

    @app.get(
        "/metrics",
        tags=["service"],
        response_class=PlainTextResponse,
        responses=_errors(),
    )
    async def metrics(request: Request) -> Response:
        """Figures in Prometheus' text format."""
        service = _service(request)
        text = await asyncio.to_thread(generate_latest, service.metrics.registry)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        from tiktok_ray.serve.api_docs import docs_page

        return HTMLResponse(docs_page(request.app.openapi()))

    @app.get("/", include_in_schema=False)
    async def home() -> Response:
        from tiktok_ray.viewer import index

        return HTMLResponse(await asyncio.to_thread(index))


def described(service: Service) -> list[dict[str, Any]]:
    """The analyzers of a service as plain rows."""
    graph, plan = service.graph, service.engine.workers.plan
    rows: list[dict[str, Any]] = []
    for name in graph.order:
        place = plan.assignments.get(name)
        about = (graph.analyzers[name].__doc__ or "").strip().splitlines()
        rows.append(
            {
                "name": name,
                "finds": about[0] if about else "",
                "reads": [{"from": e.source, "soft": e.soft} for e in graph.edges[name]],
                "available": place is not None,
                "reason": plan.why_not(name),
                "variant": place.variant.name if place else None,
                "device": place.device if place else None,
                "lacks": list(place.variant.lacks) if place else [],
            }
        )
    return rows


# The OpenAPI document


def _complete_schema(app: FastAPI) -> None:
    """Add to the OpenAPI document what FastAPI cannot see in the handlers' signatures."""
    plain: Callable[[], dict[str, Any]] = app.openapi

    def complete() -> dict[str, Any]:
        made = plain()
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        for model in (Asked, ProblemDetails):
            shape = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(shape.pop("$defs", {}))
            schemas[model.__name__] = shape
        whole = report_schema("#/components/schemas/")
        schemas.update(whole.pop("$defs"))
        schemas["VideoReport"] = {k: v for k, v in whole.items() if k != "$schema"}
        report = {"schema": {"$ref": "#/components/schemas/VideoReport"}}
        done = [("/analyze", "post"), ("/results/{id}", "get")]
        for path, method in done:
            answers = made["paths"][path][method]["responses"]
            answers["200"]["content"]["application/json"] = report
        return made

    app.openapi = complete  # type: ignore[method-assign]
