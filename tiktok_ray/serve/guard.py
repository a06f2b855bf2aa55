"""Access control of the service, and the headers of every response."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
from base64 import b64decode
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from tiktok_ray import logs
from tiktok_ray.serve.problems import Problem, answer
from tiktok_ray.settings import Settings

log = logging.getLogger("tiktok_ray.serve.guard")

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1", "testserver")


class Guard:
    """Access control: on loopback any request addressed to this host; elsewhere only with the token.

    Without a token, requests from other machines are refused, and so are those with a foreign
    ``Host``: a malicious web page could otherwise reach the service through DNS rebinding.
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
                detail = "without a token this service answers only requests from its own machine"
                return Problem("forbidden", 403, detail, "set TIKTOK_RAY_TOKEN")
            if _hostname(host) not in LOOPBACK_NAMES:
                return Problem("misdirected", 421, "this host name does not belong to this service")
        elif not _authorized(headers.get("authorization", ""), settings.token.get_secret_value()):
            asks = {"WWW-Authenticate": 'Bearer, Basic realm="tiktok_ray", charset="UTF-8"'}
            return Problem(
                "unauthorized",
                401,
                "a token is required",
                "send Authorization: Bearer …",
                headers=asks,
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return Problem("cross_origin", 403, "pages from other sites may not use this service")
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


class Entrance:
    """Middleware: the guard, and the headers of every response.

    Every request has an id, ``X-Correlation-ID``. The job that it starts has the same id.
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
            app = self.app if refusal is None else answer(refusal)
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
