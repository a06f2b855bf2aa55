"""The service's own socket: it reads no faster than is taken, and waits for nobody for ever."""

import asyncio
import contextlib
import hashlib
import socket
import time

import httpx
import pytest
from fastapi import FastAPI

from tests.test_serve import form
from tiktok_ray.serve import listener, uploads
from tiktok_ray.serve.listener import DIRECT, listening


@contextlib.asynccontextmanager
async def listens(app, settings, **changes):
    """Where an application is answered by the listener."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    async with listening(app, settings.model_copy(update={"port": port, **changes})):
        yield port


async def answer(send, body=b"ok"):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def test_requests_are_told_to_be_direct(settings):
    async def app(scope, _, send):
        await answer(send, str(scope.get(DIRECT)).encode())

    async with listens(app, settings) as port, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/")).text == "True"


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]
)
async def test_a_request_that_is_never_finished_is_ended(settings, begun):
    """One that is finished is answered, and the connection ended when no other comes."""

    async def app(_, __, send):
        await answer(send)

    async with listens(app, settings, head_timeout_s=1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        begin = time.monotonic()
        writer.write(begun)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                said = await reader.read()
                assert said.startswith(b"HTTP/1.1 200") == begun.endswith(b"\r\n\r\n")
        assert time.monotonic() - begin >= 0.9
        writer.close()


async def test_a_trickle_of_head_is_ended_too(settings):
    async def app(_, __, send):
        await answer(send)

    async with listens(app, settings, head_timeout_s=1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n")

        async def trickle():
            while True:
                writer.write(b"X: y\r\n")
                await asyncio.sleep(0.1)

        trickling = asyncio.create_task(trickle())
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                assert await reader.read() == b""
        trickling.cancel()
        writer.close()


async def test_a_body_that_is_not_taken_is_not_read(settings):
    """A sender is held back after what the buffers of both kernels and one piece hold."""
    gate = asyncio.Event()

    async def app(_, receive, send):
        await gate.wait()
        while (await receive()).get("more_body"):
            pass
        await answer(send)

    size = 64 * 2**20
    async with listens(app, settings) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode())
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < size:
                writer.write(bytes(2**18))
                sent += 2**18
                async with asyncio.timeout(1.0):
                    await writer.drain()
        assert sent < size / 2
        gate.set()
        while sent < size:
            writer.write(bytes(2**18))
            await writer.drain()
            sent += 2**18
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_port_that_stays_taken_is_told(settings, monkeypatch):
    monkeypatch.setattr(listener, "TAKEN_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as one:
        taken = settings.model_copy(update={"port": one.getsockname()[1]})
        with pytest.raises(OSError, match="cannot be bound"):
            async with listening(FastAPI(), taken):
                pass


async def test_pieces_are_written_one_after_the_other(clip, tmp_path):
    """The next piece is asked for when the last one is on the disk."""
    request = httpx.Request("POST", "http://x/", **form(clip, only="plain"))
    body, target = request.read(), tmp_path / "upload"

    async def pieces():
        for begin in range(0, len(body), 1000):
            written = target.stat().st_size if target.exists() else 0
            assert begin - written < 100_000, "what came is kept in memory"
            yield body[begin : begin + 1000]

    got = await uploads.receive(
        pieces(), request.headers["content-type"], target,
        max_bytes=10**9, timeout_s=60, silence_s=10,
    )  # fmt: skip
    assert target.read_bytes() == clip.read_bytes()
    assert got.sha256 == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert got.fields == {"only": ["plain"]}
