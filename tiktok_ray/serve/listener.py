"""The socket of the service: uvicorn in the serving process, without a proxy in between.

Ray Serve's HTTP proxy forwards a body as fast as it arrives, without backpressure, and answers some
paths by itself. Here a body is read no faster than it is consumed, every request passes the guard,
and a connection that never finishes its request headers is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tiktok_ray.settings import Settings

log = logging.getLogger("tiktok_ray.serve.listener")

#: Key of an ASGI scope whose request came by this socket, and not through Ray Serve's proxy.
DIRECT = "tiktok_ray.direct"
BACKLOG = 2048
#: A replica that takes the place of another waits so long for its port.
TAKEN_S = 30.0
STEP_S = 0.2
#: What is being answered when the service ends has so long.
GRACE_S = 3


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 with a timeout for the headers of each request (``timeout_keep_alive``)."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._expect_head()

    def _expect_head(self) -> None:
        self._head_came()
        self._late = self.loop.call_later(self.timeout_keep_alive, self.transport.abort)

    def _head_came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


@asynccontextmanager
async def listening(app: ASGIApp, settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    """Serve on ``settings.host`` and ``port`` while the block runs; yields the serving task.

    Raises ``OSError`` if the port stays in use.
    """
    opened = await _opened(settings.host, settings.port)
    server = uvicorn.Server(
        uvicorn.Config(
            marked(app),
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=round(settings.head_timeout_s),
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[opened]), name="listener")
    try:
        yield task
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await task


def marked(app: ASGIApp) -> ASGIApp:
    """The application, with each request marked as direct."""

    async def direct(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, DIRECT: True}, receive, send)

    return direct


async def _opened(host: str, port: int) -> socket.socket:
    """A listening socket. The replica before may have the port for some seconds more."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    end = time.monotonic() + TAKEN_S
    while True:
        try:
            return socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            if time.monotonic() > end:
                words = f"{host}:{port} cannot be bound ({error.strerror})"
                raise OSError(error.errno, words) from None
            await asyncio.sleep(STEP_S)
