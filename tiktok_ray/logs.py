"""Structured logs: one JSON object per line, and one id from a request to the actors' work.

Every process appends to the same file: a line is one ``write`` to a file opened for appending, which
the kernel keeps intact. ``rotate`` renames the file; writers notice and open the new one.
Anything that looks like a secret is redacted before it is written.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import json
import logging
import os
import re
import secrets
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from tiktok_ray.files import owner_only, replacing

FOLDER, FILE = "logs", "service.jsonl"
#: What native libraries write to standard error while one command runs, in the same folder.
NATIVE = "native.log"
#: A line is shortened to so many characters of message, and of traceback.
LONGEST = 8000
#: Bytes of a file at which its writer rotates it, whatever the hour.
LARGEST = 64 * 2**20
#: Lines between two looks at the size.
LOOK_EVERY = 200

#: Identifier of the request, and of the job that came of it, that is being worked on.
correlation: ContextVar[str] = ContextVar("correlation", default="")

_SECRETS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<keep>\b(?:authorization|proxy-authorization|cookie|set-cookie)\W{1,4})[^\r\n'\"]+",
        r"(?P<keep>\b(?:bearer|basic) +)[\w.~+/=-]{6,}",
        r"(?P<keep>[?&;][\w-]*(?:token|secret|signature|password|passwd|key|sig|auth)[\w-]*=)[^&\s'\"#]+",
        r"(?P<keep>\b[\w-]*(?:token|secret|password|passwd|api_?key)[\w-]*['\"]?\s*[:=]\s*['\"]?)[^\s'\",}]+",
        r"(?P<keep>\b\w+://[^/\s:@]*:)[^@/\s]+(?=@)",
    )
)
_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def new_id() -> str:
    """An identifier for a request: 24 hexadecimal digits."""
    return secrets.token_hex(12)


@contextlib.contextmanager
def correlated(id: str) -> Iterator[None]:
    """Everything logged inside the block carries ``id``."""
    mark = correlation.set(id)
    try:
        yield
    finally:
        correlation.reset(mark)


def redact(text: str) -> str:
    """The text without tokens, passwords and cookies."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\g<keep>***", text)
    return text


class Lines(logging.Formatter):
    """Formats a record as one JSON object: time, level, logger, message, process, identifier.

    What is given as ``extra`` becomes further keys.
    """

    def format(self, record: logging.LogRecord) -> str:
        made: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage())[:LONGEST],
            "pid": record.process,
        }
        if id := correlation.get():
            made["id"] = id
        for key, value in record.__dict__.items():
            if key not in _PLAIN and key not in made and not key.startswith("_"):
                made[key] = redact(value)[:LONGEST] if isinstance(value, str) else value
        if record.exc_info and record.exc_info[1] is not None:
            told = "".join(traceback.format_exception(record.exc_info[1]))
            made["trace"] = redact(told)[-LONGEST:]
        return json.dumps(made, ensure_ascii=False, default=str)


class SharedFile(logging.Handler):
    """Appends lines to a file that other processes append to, and that any of them may rotate."""

    def __init__(self, path: Path, largest: int = LARGEST) -> None:
        super().__init__()
        self.path = path
        self.largest = largest
        self._file: int | None = None
        self._inode = 0
        self._count = 0
        self.setFormatter(Lines())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
            os.write(self._opened(), line)
            self._count += 1
            if self._count % LOOK_EVERY == 0 and self.path.stat().st_size > self.largest:
                rotate(self.path)
        except Exception:  # noqa: BLE001 - a log that cannot be written must not end the work
            self.handleError(record)

    def _opened(self) -> int:
        """The file's handle; a new one after the file was renamed or removed."""
        try:
            same = self._file is not None and os.stat(self.path).st_ino == self._inode
        except FileNotFoundError:
            same = False
        if not same or self._file is None:
            self._release()
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(self.path, flags, 0o600)
            self._inode = os.fstat(self._file).st_ino
        return self._file

    def _release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def close(self) -> None:
        self._release()
        super().close()


class Words(logging.Handler):
    """Lines on ``sys.stderr`` as it is at that moment. Tracebacks are for the log file."""

    def emit(self, record: logging.LogRecord) -> None:
        plain = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})
        print(self.format(plain), file=sys.stderr, flush=True)


_lock = threading.Lock()


def log_file(home: Path) -> Path:
    """Where the service's log lies."""
    return home / FOLDER / FILE


def write_to(path: Path, level: int = logging.INFO) -> None:
    """Send this process's tiktok_ray logs from ``level`` up to ``path`` only."""
    logger = logging.getLogger("tiktok_ray")
    with _lock:
        for handler in list(logger.handlers):
            if isinstance(handler, SharedFile):
                logger.removeHandler(handler)
                handler.close()
        handler = SharedFile(path)
        handler.setLevel(level)
        logger.addHandler(handler)
        logger.setLevel(level)


def native_log(home: Path) -> BinaryIO:
    """The file for output of native libraries, opened for appending; a null device if it is not writable."""
    path = home / FOLDER / NATIVE
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        full = path.exists() and path.stat().st_size > LARGEST
        how = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if full else os.O_APPEND)
        return os.fdopen(os.open(path, how, 0o600), "ab", buffering=0)
    except OSError:
        return open(os.devnull, "ab", buffering=0)


@contextlib.contextmanager
def native_aside(home: Path) -> Iterator[None]:
    """Keep what native libraries write to standard error out of a command's own output.

    It goes to ``logs/native.log``, which each command truncates; ``sys.stderr`` is unaffected.
    Nothing changes if there is no standard error, or the file cannot be written.
    """
    path = home / FOLDER / NATIVE
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        anew = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        sink = os.fdopen(os.open(path, anew, 0o600), "wb", buffering=0)
        own = os.dup(2)
    except OSError:
        yield
        return
    before = sys.stderr
    with sink, os.fdopen(own, "w", buffering=1, encoding="utf-8", errors="replace") as words:
        before.flush()
        os.dup2(sink.fileno(), 2)
        if _is_standard_error(before):
            sys.stderr = words
        try:
            yield
        finally:
            words.flush()
            sys.stderr = before
            os.dup2(own, 2)


def _is_standard_error(stream: TextIO) -> bool:
    """Whether a stream is the process's own, and not one that somebody put in its place."""
    try:
        return stream.fileno() == 2
    except OSError:  # it has no number
        return False


def rotate(path: Path, now: float | None = None) -> Path | None:
    """Rotate the log to ``<name>-<time>.jsonl.gz``; None if it is empty or missing.

    Writers in other processes continue in a new file. Only one process rotates at a time. A log that
    could not be compressed for lack of space is compressed the next time. Raises ``OSError``.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in sorted(path.parent.glob(f"{path.stem}-*.jsonl")):
            _pack(left)
        if not path.is_file() or not path.stat().st_size:
            return None
        at = datetime.fromtimestamp(time.time() if now is None else now, UTC)
        aside = path.with_name(f"{path.stem}-{at:%Y%m%dT%H%M%S.%f}.jsonl")
        path.rename(aside)
        path.touch(0o600)
        # A writer that opened the old file just now ends its line before it is read.
        time.sleep(0.05)
        return _pack(aside)
    finally:
        os.close(lock)


def is_aside(path: Path) -> bool:
    """Whether a log was put aside, and waits to be packed."""
    return re.search(r"-\d{8}T[\d.]+$", path.stem) is not None


def _pack(aside: Path) -> Path:
    packed = aside.with_name(aside.name + ".gz")
    with (
        replacing(packed) as part,
        aside.open("rb") as source,
        open(part, "wb", opener=owner_only) as file,
        gzip.open(file, "wb") as target,
    ):
        shutil.copyfileobj(source, target)
    aside.unlink()
    return packed


def forget(folder: Path, *, keep_days: float, now: float | None = None) -> list[Path]:
    """Delete compressed logs older than that; returns them."""
    limit = (time.time() if now is None else now) - keep_days * 86_400
    gone = [p for p in sorted(folder.glob("*.jsonl.gz")) if p.stat().st_mtime < limit]
    for path in gone:
        path.unlink()
    return gone


def read(path: Path, id: str = "") -> Iterator[dict[str, Any]]:
    """Lines of a log, compressed or not, with the given id or all; lines that are not JSON are skipped."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if not id or entry.get("id") == id:
                yield entry
