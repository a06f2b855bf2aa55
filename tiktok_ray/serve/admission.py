"""Admission control: URLs and uploads are checked against every limit before they become jobs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import shutil
import socket
from contextlib import (
    contextmanager,
    suppress,
)
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tiktok_ray import logs
from tiktok_ray.graph import GraphError
from tiktok_ray.net.egress_proxy import closed, listed
from tiktok_ray.net.fetch import ADDRESS_LIMIT, checked, take
from tiktok_ray.net.intake import IntakeError
from tiktok_ray.serve import jobs, uploads
from tiktok_ray.serve.jobs import Job, KeyReused, QueueFull
from tiktok_ray.serve.listener import DIRECT
from tiktok_ray.serve.problems import NO_ROOM, Problem, disk_full, invalid_fields
from tiktok_ray.serve.service import (
    Arriving,
    Service,
    settings_for_fetching,
    upload_path,
)
from tiktok_ray.settings import Settings

log = logging.getLogger("tiktok_ray.serve.admission")

BODY_BYTES = 64 * 1024
#: While an upload comes, the disk is looked at after so many bytes.
LOOK_BYTES = 16 * 2**20
KEEP = (
    "false: the video is not kept, and the report for at most an hour; delete it once you have it"
)


class Asked(BaseModel):
    """What to analyze: the URL of a video, and the selected analyzers."""

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

    url: str = Field(min_length=1, max_length=ADDRESS_LIMIT, description="An http(s) URL")
    only: list[str] = Field(default_factory=list, max_length=100)
    without: list[str] = Field(default_factory=list, max_length=100)
    webhook: str | None = Field(
        None,
        max_length=ADDRESS_LIMIT,
        description="URL that receives a signed notification when the job ends",
    )
    keep: bool = Field(True, description=KEEP)


async def submitted(request: Request, service: Service, key: str | None) -> Job:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    announced = _announced(request, service.settings)
    if kind == "multipart/form-data":
        return await _uploaded(request, service, key, announced)
    if service.lacks(announced):
        raise disk_full()
    if kind == "application/json":
        return await _asked(request, service, key)
    raise Problem(
        "unsupported_media_type",
        415,
        "the body must be application/json or multipart/form-data",
        'send {"url": …}, or a form with a file in the part named file',
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


async def small_body(request: Request, service: Service) -> bytes:
    return await uploads.read_all(
        request.stream(),
        max_bytes=BODY_BYTES,
        timeout_s=service.settings.upload_silence_s * 2,
        silence_s=service.settings.upload_silence_s,
    )


async def _asked(request: Request, service: Service, key: str | None) -> Job:
    body = await small_body(request, service)
    try:
        asked = Asked.model_validate_json(body)
    except ValidationError as error:
        broken = any(one["type"] == "json_invalid" for one in error.errors())
        if broken:
            raise Problem("bad_json", 400, "the body is not JSON") from None
        raise invalid_fields(list(error.errors())) from None
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
        raise disk_full()
    if service.lacks(upload.announced, beside_arriving=True):
        raise Problem(
            "uploads_full",
            429,
            "the uploads in progress need the remaining disk space",
            "retry once they have finished, or free some disk space",
            headers={"Retry-After": "10", "Connection": "close"},
        )
    if upload.direct:
        return
    most = service.settings.proxied_mib * 2**20
    if not upload.announced:
        detail = "uploads through Ray Serve's proxy must state their length"
        raise uploads.UploadError("length_required", 411, detail, "send Content-Length")
    if upload.announced > most:
        raise uploads.UploadError(
            "too_large",
            413,
            f"uploads through Ray Serve's proxy are limited to {most} bytes",
            "send it to the service's own port (TIKTOK_RAY_PORT), "
            "or raise the setting TIKTOK_RAY_PROXIED_MIB",
        )
    proxied = sum(one.announced for one in service.arriving.values() if not one.direct)
    if proxied + upload.announced > most:
        raise Problem(
            "uploads_full",
            429,
            f"the uploads in progress through Ray Serve's proxy have {proxied} bytes; "
            f"together they are limited to {most}",
            "retry once they have finished, or use the service's own port (TIKTOK_RAY_PORT)",
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
        raise invalid_fields(
            [{"loc": ("form", n[:100]), "msg": "unknown field"} for n in sorted(unknown)]
        )
    for name in ("webhook", "keep"):
        if len(form.fields.get(name, [])) > 1:
            raise invalid_fields([{"loc": ("form", name), "msg": "given twice"}])
    [hook] = form.fields.get("webhook") or [""]
    [keep] = form.fields.get("keep") or ["true"]
    if keep not in ("true", "false"):
        raise invalid_fields([{"loc": ("form", "keep"), "msg": "must be true or false"}])

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
            raise Problem("no_webhooks", 422, "webhooks are disabled on this service", advice)
        _refuse_address(wanted.webhook, service.settings.model_copy(update={"allowed_hosts": None}))


def _refuse_address(url: str, settings: Settings) -> None:
    """Refuse at once what the proxy would refuse later: bad forms, hosts off the list, addresses.

    Names are not resolved here: the proxy does that when it connects, and checks what comes.
    """
    host = (urlsplit(checked(url.strip())).hostname or "").strip(".")
    if not host:
        raise IntakeError("unsupported", "this is not a valid URL")
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
        advice = "use a new key for each new request"
        raise Problem("key_reused", 422, str(error)[:300], advice) from None
    except QueueFull:
        open_jobs = await asyncio.to_thread(service.ledger.open_jobs) + len(service.arriving)
        raise _busy(service, open_jobs) from None
    if job.id != id:
        log.info("the key was used before, by job %s", job.id)
    service.nudge()
    return job


def _busy(service: Service, open_jobs: int) -> Problem:
    seconds = service.retry_after_s(open_jobs)
    return Problem(
        "queue_full",
        429,
        f"{open_jobs} jobs are queued, running or being received; the limit is {service.room()}",
        f"retry in {seconds} s",
        headers={"Retry-After": str(seconds), "Connection": "close"},
    )
