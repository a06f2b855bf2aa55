"""The HTTP API: jobs and results, with every error as problem details (RFC 9457).

``create_app`` makes a FastAPI application over a ``Service``; what runs it (Ray Serve, or a test)
is not its concern. Handlers never block: disk goes to threads, work to the service.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    StreamingResponse,
)
from prometheus_client import generate_latest
from pydantic import BaseModel, Field
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tiktok_ray import __version__, exports
from tiktok_ray.exports import captions
from tiktok_ray.media.probing import probed
from tiktok_ray.media.stills import frame_times, stills
from tiktok_ray.reporting import segments
from tiktok_ray.reporting.schema import report_schema
from tiktok_ray.run.placement import Plan
from tiktok_ray.run.questions import answered
from tiktok_ray.serve import duplicates, jobs, search_index
from tiktok_ray.serve.admission import KEEP, Asked, small_body, submitted
from tiktok_ray.serve.guard import Entrance, Guard
from tiktok_ray.serve.jobs import ENDED, Entry, Job
from tiktok_ray.serve.mcp_server import Mounted
from tiktok_ray.serve.meaning import Alike, SameMeaning, alike, same_meaning
from tiktok_ray.serve.problems import (
    PROBLEM,
    Problem,
    ProblemDetails,
    answer,
    documented,
    handle_errors,
    missing,
    problem,
)
from tiktok_ray.serve.service import Service
from tiktok_ray.serve.store import Result

log = logging.getLogger("tiktok_ray.serve.api")

HEARTBEAT_S = 15.0
#: Kept videos that are read at once, for pictures and times of frames.
STILLS = 2
LARGEST = 2**62


class JobAnswer(Job):
    """A job, the number of jobs ahead of it, and links to its events and report."""

    ahead: int | None = Field(None, description="Jobs ahead of it in the queue, while it waits")
    links: dict[str, str]


class Jobs(BaseModel):
    """A page of jobs, newest first; ``next`` is the ``before`` of the next page."""

    jobs: list[JobAnswer]
    next: int | None


class Results(BaseModel):
    """A page of results, newest first; ``next`` is the ``before`` of the next page."""

    results: list[Result]
    next: int | None


class Found(BaseModel):
    """A page of search results, best match first; ``next`` is the ``offset`` of the next page."""

    hits: list[search_index.Hit]
    next: int | None
    alike: Alike | None = Field(None, description="With `meaning`: shots that look as `q` says")
    same_meaning: SameMeaning | None = Field(
        None, description="With `meaning`: passages that mean what `q` says, of the kinds wanted"
    )


FORM_SCHEMA = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "The video"},
        "only": {"type": "string", "description": "Analyzer names, comma-separated"},
        "without": {"type": "string", "description": "Analyzer names, comma-separated"},
        "webhook": {
            "type": "string",
            "description": "URL that receives a signed notification when the job ends",
        },
        "keep": {"type": "string", "enum": ["true", "false"], "description": KEEP},
    },
}


def create_app(
    make: Callable[[], Service],
    beside: Callable[[FastAPI], AbstractAsyncContextManager[Any]] = nullcontext,
) -> FastAPI:
    """The application. ``make`` is called at startup, in a thread; ``beside`` is entered at startup, in
    the event loop, and left before the service stops.
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
        summary="A complete, truthful JSON report on a short video",
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    agents = Mounted(app, lambda: _watching(app.state.service))
    app.router.routes.append(Route("/mcp", agents, methods=["POST"], include_in_schema=False))
    app.state.guard = Guard()
    app.add_middleware(Entrance, owner=app)
    handle_errors(app)
    _add_jobs(app)
    _add_results(app)
    _add_search(app)
    _add_facts(app)
    _complete_schema(app)
    return app


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


# Jobs

CaptionSource = Annotated[
    captions.Source, Query(description="The speech, or the captions shown on screen")
]
Limit = Annotated[int, Query(ge=1, le=500, description="Entries per page")]
Before = Annotated[int | None, Query(ge=0, le=LARGEST, description="`next` of the previous page")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="Repeating a request with the same key returns the same job",
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
                "description": "With `wait=true`, the report",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            **documented(400, 404, 408, 410, 411, 413, 415, 422, 429, 500, 502, 503, 504, 507),
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
        wait: Annotated[
            bool, Query(description="Wait for the job and answer with its report")
        ] = False,
        key: Key = None,
    ) -> Any:
        """Analyze a video, given as JSON with its URL or as a form with its file.

        The job is on disk before the response is sent. It continues even if the client disconnects.
        """
        service = _service(request)
        with _watching(service) if wait else nullcontext():
            job = await submitted(request, service, key)
            if wait:
                return await _waited(service, job.id)
        answer = await _job_answer(service, job)
        response.headers["Location"] = answer.links["self"]
        return answer

    @app.get("/jobs", response_model=Jobs, tags=["jobs"], responses=documented(422))
    async def list_jobs(
        request: Request,
        state: jobs.State | None = None,
        limit: Limit = 50,
        before: Before = None,
    ) -> Jobs:
        """Jobs, newest first."""
        service = _service(request)
        found, more = await asyncio.to_thread(
            service.ledger.page, state=state, limit=limit, before=before
        )
        return Jobs(jobs=[await _job_answer(service, job) for job in found], next=more)

    @app.get("/jobs/{id}", response_model=JobAnswer, tags=["jobs"], responses=documented(404, 422))
    async def get_job(request: Request, id: str) -> JobAnswer:
        """The state of a job."""
        service = _service(request)
        return await _job_answer(service, await _job(service, id))

    @app.delete(
        "/jobs/{id}", response_model=JobAnswer, tags=["jobs"], responses=documented(404, 409, 422)
    )
    async def cancel_job(request: Request, id: str) -> JobAnswer:
        """Cancel a job; a running one releases its actors within seconds."""
        service = _service(request)
        before = await _job(service, id)
        if before.state in ENDED and before.state != "cancelled":
            raise Problem("ended", 409, f"the job is already {before.state}")
        job = await service.cancel(id)
        if job is None:
            raise missing("job")
        return await _job_answer(service, job)

    @app.get(
        "/jobs/{id}/events",
        tags=["jobs"],
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Server-sent events, from the first one or from the one after `Last-Event-ID`",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            204: {"description": "The job has ended and all its events were read"},
            **documented(404, 422, 503),
        },
    )
    async def job_events(
        request: Request,
        id: str,
        last: Annotated[int, Header(alias="Last-Event-ID", ge=0, le=LARGEST)] = 0,
    ) -> Response:
        """The events of a job, as they happen, until it ends."""
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
            f"{most} event streams and waiting requests are open, which is the limit",
            "poll GET /jobs/{id} instead, or raise TIKTOK_RAY_STREAMS",
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
            await answer(error)(scope, receive, send)


async def _job(service: Service, id: str) -> Job:
    job = await asyncio.to_thread(service.ledger.get, id)
    if job is None:
        raise missing("job")
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
        raise missing("job")
    if job.state == "done" and job.result:
        path = await asyncio.to_thread(service.store.report_path, job.result)
        if path is None:
            raise missing("result")
        headers = {"Location": f"/results/{job.result}"}
        return FileResponse(path, media_type="application/json", headers=headers)
    if job.state == "cancelled":
        raise Problem("cancelled", 409, "the job was cancelled")
    made = job.problem or problem("internal", 500, "the job ended without giving a reason")
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

    @app.get("/results", response_model=Results, tags=["results"], responses=documented(422))
    async def list_results(
        request: Request,
        limit: Limit = 50,
        before: Before = None,
        q: Annotated[
            str | None, Query(max_length=200, description="Text in the title, uploader or source")
        ] = None,
        video_id: Annotated[str | None, Query(max_length=200)] = None,
        sha256: Annotated[str | None, Query(max_length=64)] = None,
        uploader: Annotated[str | None, Query(max_length=200)] = None,
        analyzer: Annotated[str | None, Query(max_length=100)] = None,
        status: Annotated[str | None, Query(max_length=20)] = None,
        since: Annotated[float | None, Query(description="Unix time, in seconds")] = None,
        until: Annotated[float | None, Query(description="Unix time, in seconds")] = None,
        shortest_s: Annotated[float | None, Query(ge=0)] = None,
        longest_s: Annotated[float | None, Query(ge=0)] = None,
    ) -> Results:
        """Results, newest first. A result must match every filter given."""
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
        responses={**kind("Captions, WebVTT", "text/vtt"), **documented(404, 422)},
    )
    async def captions_vtt(request: Request, id: str, source: CaptionSource = "speech") -> Response:
        """Captions as WebVTT, with speakers; `id` is the id of a result or a video."""
        text = await _captions(_service(request), id, "vtt", source)
        return Response(text, media_type="text/vtt; charset=utf-8")

    @app.get(
        "/results/{id}.srt",
        tags=["results"],
        response_class=PlainTextResponse,
        responses={**kind("Captions, SubRip", "application/x-subrip"), **documented(404, 422)},
    )
    async def captions_srt(request: Request, id: str, source: CaptionSource = "speech") -> Response:
        """Captions as SubRip; `id` is the id of a result or a video."""
        text = await _captions(_service(request), id, "srt", source)
        return Response(text, media_type="application/x-subrip; charset=utf-8")

    @app.get(
        "/results/{id}.txt",
        tags=["results"],
        response_class=PlainTextResponse,
        responses={**kind("The plain text", "text/plain"), **documented(404, 422)},
    )
    async def captions_txt(request: Request, id: str, source: CaptionSource = "speech") -> Response:
        """The spoken (or written) text only; `id` is the id of a result or a video."""
        return PlainTextResponse(await _captions(_service(request), id, "txt", source))

    @app.get(
        "/results/{id}.words.json",
        tags=["results"],
        responses={
            200: {"content": {"application/json": {"schema": {"type": "object"}}}},
            **documented(404, 422),
        },
    )
    async def captions_json(
        request: Request, id: str, source: CaptionSource = "speech"
    ) -> Response:
        """Every word with its timestamps; `id` is the id of a result or a video."""
        text = await _captions(_service(request), id, "json", source)
        return Response(text, media_type="application/json")

    @app.get(
        "/results/{id}/export",
        tags=["results"],
        response_class=PlainTextResponse,
        responses={
            **kind("The file", *sorted({one.media_type for one in exports.FORMATS.values()})),
            **documented(404, 422),
        },
    )
    async def export(
        request: Request,
        id: str,
        to: Annotated[exports.To, Query(description="Format of the file; see docs/exports.md")],
    ) -> Response:
        """The report in the format of a video editor, an annotation tool or a table; `id` is the id
        of a result or a video."""
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
        responses=documented(400, 404, 408, 413, 422, 503),
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
        """Segments of the video that match the caller's own definition; see docs/segments.md.

        Its questions are put to the describer, and the answer waits for it."""
        service = _service(request)
        body = await small_body(request, service)
        try:
            wanted = await asyncio.to_thread(segments.Definition.read, body)
            id = await _newest(service, id)
            draft = await asyncio.to_thread(segments.draft_of, await _report(service, id), wanted)
            video = await asyncio.to_thread(service.store.video_path, id)
            if not draft.open or video is None:
                reason = "questions need the video, which was not kept"
                return await asyncio.to_thread(draft.unanswered, "unavailable", reason)
            with _watching(service):
                return await answered(draft, service.engine, video)
        except segments.BadDefinition as error:
            raise Problem("bad_definition", 422, str(error)[:1000]) from None
        except segments.SchemaMismatch as error:
            raise Problem("schema_mismatch", 422, str(error)[:1000]) from None

    @app.get(
        "/results/{id}.html",
        tags=["results"],
        response_class=HTMLResponse,
        responses=documented(404, 413, 422),
    )
    async def report_html(
        request: Request,
        id: str,
        embed: Annotated[
            bool, Query(description="Embed the video in the page, so that it plays anywhere")
        ] = False,
    ) -> Response:
        """The report as one HTML page. If the video was kept, the page plays it from this service."""
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
            detail = "the video is too large to embed in a page"
            raise Problem("too_large", 413, detail, "omit embed") from None

    @app.get(
        "/results/{id}/video",
        tags=["results"],
        response_class=FileResponse,
        responses={**kind("The video", "video/*"), **documented(400, 404, 416, 422)},
    )
    async def result_video(request: Request, id: str) -> Response:
        """The video of a result, if it was kept; supports range requests."""
        path = await asyncio.to_thread(_service(request).store.video_path, id)
        if path is None:
            raise missing("video")
        return FileResponse(path, media_type=await asyncio.to_thread(media_type_of, path))

    @app.get("/results/{id}/duplicates", tags=["results"], responses=documented(404, 422))
    async def result_duplicates(request: Request, id: str) -> duplicates.Compared:
        """Results whose videos duplicate this one's, and how they were altered. Only videos that were
        kept are compared; each is read once."""
        service = _service(request)
        if await asyncio.to_thread(service.store.video_path, id) is None:
            raise missing("video")
        return await asyncio.to_thread(
            lambda: duplicates.among(
                duplicates.of_results(service.store.folder), service.settings, only=id
            )
        )

    @app.get("/results/{id}/probe", tags=["results"], responses=documented(400, 404, 422))
    async def result_probe(request: Request, id: str) -> dict[str, Any]:
        """The container data of a result's kept video: streams, timestamps, colours."""
        service = _service(request)
        path = await asyncio.to_thread(service.store.video_path, id)
        if path is None:
            raise missing("video")
        return await asyncio.to_thread(probed, path, service.settings)

    @app.get(
        "/results/{id}/frame",
        tags=["results"],
        response_class=Response,
        responses={**kind("The frame, as JPEG", "image/jpeg"), **documented(404, 422)},
    )
    async def result_frame(
        request: Request,
        id: str,
        t: Annotated[float, Query(ge=0, le=1e6, description="Seconds from the first frame")],
        short: Annotated[
            int, Query(ge=16, le=1080, description="Maximum short side, in pixels")
        ] = 512,
    ) -> Response:
        """The frame that a result's kept video shows at a given time. `X-Frame-Time` is the frame's
        timestamp; past the end it is the last frame."""
        service = _service(request)
        path = await asyncio.to_thread(service.store.video_path, id)
        if path is None:
            raise missing("video")
        async with looking:
            [still] = await asyncio.to_thread(stills, path, [t], short, service.settings)
        headers = {"X-Frame-Time": f"{still.time:.4f}"}
        return Response(still.jpeg, media_type="image/jpeg", headers=headers)

    @app.get(
        "/results/{id}/poster",
        tags=["results"],
        response_class=FileResponse,
        responses={**kind("A still frame", "image/jpeg"), **documented(400, 404, 416, 422)},
    )
    async def result_poster(request: Request, id: str) -> Response:
        """A still frame of the video."""
        path = await asyncio.to_thread(_service(request).store.poster_path, id)
        if path is None:
            raise missing("poster")
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
            **documented(400, 404, 416, 422),
        },
    )
    async def result(request: Request, id: str) -> Response:
        """A report."""
        path = await asyncio.to_thread(_service(request).store.report_path, id)
        if path is None:
            raise missing("result")
        return FileResponse(path, media_type="application/json")

    @app.delete("/results/{id}", status_code=204, tags=["results"], responses=documented(404, 422))
    async def delete_result(request: Request, id: str) -> Response:
        """Delete a result together with its video."""
        service = _service(request)
        if not await asyncio.to_thread(service.store.delete, id):
            raise missing("result")
        await asyncio.to_thread(service.forget_gone)
        return Response(status_code=204)


async def _report(service: Service, id: str) -> dict[str, Any]:
    path = await asyncio.to_thread(service.store.report_path, id)
    if path is None:
        raise missing("result")
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
    @app.get(
        "/search",
        response_model=Found,
        response_model_exclude_unset=True,
        tags=["results"],
        responses=documented(422),
    )
    async def search(
        request: Request,
        q: Annotated[
            str, Query(min_length=1, max_length=200, description='Words, "a phrase", prefix*')
        ],
        kind: Annotated[
            list[search_index.Kind] | None,
            Query(max_length=9, description="Kinds of passages; default: all"),
        ] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        offset: Annotated[int, Query(ge=0, le=10_000)] = 0,
        meaning: Annotated[
            bool,
            Query(description="Look for frames that show what `q` says, and passages that mean it"),
        ] = False,
    ) -> Found:
        """Search all results for what was said, written, seen, heard or described, with timestamps;
        passages contain all the words, best match first."""
        service = _service(request)
        try:
            hits, more = await asyncio.to_thread(
                lambda: service.finder.search(
                    q, kinds=tuple(kind or ()), limit=limit, offset=offset
                )
            )
        except search_index.NothingToFind as error:
            raise Problem("nothing_to_find", 422, str(error)) from None
        if not meaning:
            return Found(hits=hits, next=more)
        like = await alike(q, service.engine, service.finder, limit)
        same = await same_meaning(q, service.engine, service.finder, tuple(kind or ()), limit)
        return Found(hits=hits, next=more, alike=like, same_meaning=same)


def _add_facts(app: FastAPI) -> None:
    @app.get("/health", tags=["service"], responses=documented(503))
    async def health(request: Request) -> JSONResponse:
        """Whether the service works, what it cannot do and why, and its queue, fleet, GPUs and disk."""
        made = await _service(request).health()
        return JSONResponse(made)

    @app.get("/analyzers", tags=["service"], responses=documented())
    async def analyzers(request: Request) -> list[dict[str, Any]]:
        """The analyzers: what each one finds and reads, and how it runs here."""
        return described(_service(request))

    @app.get("/plan", tags=["service"], responses=documented())
    async def plan(request: Request) -> dict[str, Any]:
        """Where each analyzer runs, in which variant, and how much memory of which GPU it uses."""
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
        responses=documented(),
    )
    async def metrics(request: Request) -> Response:
        """Metrics in the Prometheus text format."""
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
