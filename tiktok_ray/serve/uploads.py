"""Uploads straight to disk: multipart/form-data streamed with limits."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, TypeVar

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

T = TypeVar("T")
FIELDS, FIELD_BYTES = 20, 16 * 1024
#: What boundaries, headers and fields may add to the bytes of the file.
FORM_BYTES = 1024**2
#: Bodies are parsed, hashed and written here: neither the event loop nor the threads that answer
#: everything else wait for the disk.
WRITERS = ThreadPoolExecutor(4, thread_name_prefix="upload")


class UploadError(Exception):
    """A rejected upload. ``word`` identifies the problem, ``status`` is the HTTP status."""

    def __init__(self, word: str, status: int, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.word = word
        self.status = status
        self.advice = advice


@dataclass
class Form:
    """The received form: its fields, and the client's file name, with the file's size and hash."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    name: str | None = None
    bytes: int = 0
    sha256: str = ""


class _Receiver:
    """Callbacks of the parser: the part named ``file`` goes to disk, the others into fields."""

    def __init__(self, target: Path, max_bytes: int) -> None:
        self.form = Form()
        self.done = False
        only_new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._out = os.fdopen(os.open(target, only_new, 0o600), "wb")
        self._hash = hashlib.sha256()
        self._max = max_bytes
        self._header = self._value = b""
        self._disposition = b""
        self._field: str | None = None
        self._text = b""
        self._parts = 0

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._disposition, self._field, self._text = b"", None, b""
        self._parts += 1
        if self._parts > FIELDS:
            raise UploadError("bad_form", 400, f"the form has more than {FIELDS} parts")

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise UploadError("bad_form", 400, "a part of the form has no name")
        self._field = name.decode("utf-8", "replace")
        if self._field == "file":
            if self.form.name is not None:
                raise UploadError("bad_form", 400, "the form has more than one file")
            self.form.name = shown(options.get(b"filename", b"").decode("utf-8", "replace"))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field != "file":
            self._text += data[start:end]
            if len(self._text) > FIELD_BYTES:
                raise UploadError("too_large", 413, f"a field has more than {FIELD_BYTES} bytes")
            return
        self.form.bytes += end - start
        if self.form.bytes > self._max:
            raise too_large(self._max)
        piece = data[start:end]
        self._hash.update(piece)
        self._out.write(piece)

    def _part_end(self) -> None:
        if self._field is not None and self._field != "file":
            text = self._text.decode("utf-8", "replace")
            self.form.fields.setdefault(self._field, []).append(text)

    def _end(self) -> None:
        self.done = True

    def finish(self) -> Form:
        """The form, with its file on the disk for good."""
        self._out.flush()
        os.fsync(self._out.fileno())
        self.form.sha256 = self._hash.hexdigest()
        return self.form

    def close(self) -> None:
        self._out.close()


async def receive(
    chunks: AsyncIterator[bytes],
    content_type: str,
    target: Path,
    *,
    max_bytes: int,
    timeout_s: float,
    silence_s: float,
    came: Callable[[int], None] = lambda count: None,
) -> Form:
    """Read a form, writing its file to ``target``. Raises ``UploadError``; leaves no partial file.

    Nothing more is read before what came is written. ``came`` is told the bytes so far, in a thread
    of its own, and may raise to refuse the rest.
    """
    receiver = await _in_writers(_Receiver, target, max_bytes)
    try:
        parser = MultipartParser(_boundary(content_type), receiver.callbacks())  # type: ignore[arg-type]
        count = 0

        def take(chunk: bytes) -> None:
            came(count)
            parser.write(chunk)

        async with asyncio.timeout(timeout_s):
            while True:
                chunk = await _next(chunks, silence_s)
                if chunk is None:
                    break
                count += len(chunk)
                if count > max_bytes + FORM_BYTES:
                    raise too_large(max_bytes)
                await _in_writers(take, chunk)
        if not receiver.done:
            raise UploadError("bad_form", 400, "the form is incomplete")
        if receiver.form.name is None:
            raise UploadError("bad_form", 422, "the form has no part named file")
        return await _in_writers(receiver.finish)
    except BaseException as error:
        await _in_writers(target.unlink, True)  # a large file takes a while
        if isinstance(error, FormParserError):
            raise UploadError("bad_form", 400, f"this is not a form: {error}") from None
        if isinstance(error, TimeoutError):
            slow = f"the upload took longer than {timeout_s:g} s"
            raise UploadError("timeout", 408, slow) from None
        raise
    finally:
        receiver.close()


async def _in_writers(work: Callable[..., T], *given: Any) -> T:
    """Work in a thread of the writers. It has ended when this has, even if that is cancelled."""
    future = asyncio.get_running_loop().run_in_executor(WRITERS, work, *given)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()
        raise


async def read_all(
    chunks: AsyncIterator[bytes], *, max_bytes: int, timeout_s: float, silence_s: float
) -> bytes:
    """Read a small body completely. Raises ``UploadError``."""
    body = b""
    try:
        async with asyncio.timeout(timeout_s):
            while (chunk := await _next(chunks, silence_s)) is not None:
                body += chunk
                if len(body) > max_bytes:
                    raise too_large(max_bytes)
    except TimeoutError:
        raise UploadError("timeout", 408, f"the request took longer than {timeout_s:g} s") from None
    return body


def too_large(limit: int) -> UploadError:
    """The problem of a body that exceeds the limit."""
    return UploadError(
        "too_large",
        413,
        f"the body exceeds the limit of {limit} bytes",
        "send a smaller file, or raise the setting TIKTOK_RAY_MAX_BYTES",
    )


async def _next(chunks: AsyncIterator[bytes], silence_s: float) -> bytes | None:
    try:
        async with asyncio.timeout(silence_s):
            return await anext(chunks)
    except StopAsyncIteration:
        return None
    except TimeoutError:
        raise UploadError("timeout", 408, f"no data for {silence_s:g} s") from None


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary")
    if not isinstance(boundary, str) or not boundary:
        raise UploadError("bad_form", 400, "the content type has no boundary")
    return boundary.encode("latin-1", "replace")


def shown(name: str) -> str:
    """A client's file name, safe to display; it never becomes a path."""
    last = re.split(r"[\\/]", name)[-1]
    return "".join(c for c in last if c.isprintable())[:200] or "upload"
