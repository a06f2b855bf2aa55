"""Every error as problem details (RFC 9457): their content, status codes and responses."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import (
    JSONResponse,
)
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from tiktok_ray.media import InputError
from tiktok_ray.net.intake import STATUS
from tiktok_ray.serve import uploads
from tiktok_ray.serve.database import no_room

PROBLEM = "application/problem+json"
NO_ROOM = ("there is not enough disk space", "delete results, or lower TIKTOK_RAY_KEEP_GIB")


class Problem(Exception):
    """An error response."""

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


#: Statuses of what decoding finds wrong; the rest is in ``intake.STATUS``.
DECODE_STATUS = {
    "no_video": 422, "undecodable": 422, "decoder_died": 422, "decode_timeout": 422,
    "disk_full": 507,
}  # fmt: skip
TITLES = {
    "capacity": "The analyzers do not fit on this machine",
    "internal": "Internal error",
}


def problem(word: str, status: int, detail: str, advice: str = "") -> dict[str, Any]:
    """Problem details (RFC 9457) of what went wrong."""
    title = TITLES.get(word, word.replace("_", " ").capitalize())
    made = {"type": f"urn:tiktok-ray:{word}", "title": title, "status": status, "detail": detail}
    return {**made, "advice": advice} if advice else made


def input_problem(error: InputError) -> dict[str, Any]:
    """Problem details of an input that cannot be analyzed."""
    status = STATUS.get(error.type) or DECODE_STATUS.get(error.type, 422)
    return problem(error.type, status, str(error), error.advice)


def documented(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of the problems that an endpoint may return."""
    about = {
        400: "The request is malformed",
        401: "A token is required",
        403: "Refused",
        404: "Not found",
        408: "The request arrived too slowly",
        409: "The job has already ended",
        410: "The video was removed",
        411: "Content-Length is required",
        413: "Too large",
        415: "Not a video, or an unsupported content type",
        416: "Range not satisfiable",
        422: "The request is invalid",
        429: "The queue is full, or too many uploads are in progress; see Retry-After",
        500: "Internal error",
        502: "The platform returned no video",
        503: "The analyzers do not fit on this machine, or too many clients are waiting",
        504: "Fetching the video timed out",
        507: "The disk is full",
    }
    body = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
    return {c: {"description": about[c], "content": {PROBLEM: body}} for c in (*codes, 401, 403)}


def answer(error: Problem) -> JSONResponse:
    return JSONResponse(error.made, error.made["status"], headers=error.headers, media_type=PROBLEM)


def disk_full() -> Problem:
    return Problem("disk_full", 507, *NO_ROOM)


def invalid_fields(errors: list[Any]) -> Problem:
    """Invalid fields, each location with its message; never the submitted values."""
    told = [{"where": list(map(str, e.get("loc", ()))), "message": str(e["msg"])} for e in errors]
    words = "; ".join(f"{'.'.join(one['where'])}: {one['message']}" for one in told[:3])
    made = Problem("invalid", 422, words)
    made.made["errors"] = told[:20]
    return made


def missing(what: str) -> Problem:
    return Problem("not_found", 404, f"no {what} with this id")


def handle_errors(app: FastAPI) -> None:
    def say(request: Request, error: Problem) -> JSONResponse:
        service = getattr(request.app.state, "service", None)
        if service is not None:
            service.metrics.refused.labels(error.word).inc()
        return answer(error)

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
        return say(request, invalid_fields(list(error.errors())))

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> JSONResponse:
        word = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        headers = dict(error.headers or {})
        return say(request, Problem(word, error.status_code, str(error.detail), headers=headers))

    @app.exception_handler(sqlite3.OperationalError)
    @app.exception_handler(OSError)
    async def unwritten(request: Request, error: Exception) -> JSONResponse:
        if no_room(error):
            return say(request, disk_full())
        raise error

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> JSONResponse:
        return say(
            request, Problem("internal", 500, f"{type(error).__name__}; see the log for details")
        )
