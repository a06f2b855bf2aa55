"""File helpers: hashing, safe names, atomic writing."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    return digest_of(path, "sha256")


def digest_of(path: Path, algorithm: str) -> str:
    """Digest of a file's bytes by an algorithm of ``hashlib``, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def safe_name(text: str) -> str:
    """The text as a file name: letters, digits, ``-`` and ``_`` are kept, all else becomes ``_``."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in text)


def owner_only(path: str, flags: int) -> int:
    """An opener, for ``open``, of files that are private to their owner from the first moment."""
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def replacing(path: Path, ending: str = ".part") -> Iterator[Path]:
    """A temporary file next to ``path``, which replaces ``path`` when the block ends.

    If the block raises, ``path`` is left unchanged and the temporary file is removed. Its name is
    unique to this thread and has the given ``ending``.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}{ending}")
    try:
        yield part
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # what is told is why it could not be written
            part.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> Path:
    """Write a text file atomically, creating its folder; returns its path. Raises ``OSError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return path
