"""What is done with any file: hashed, named safely, written whole or not at all."""

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
    """The text as the name of a file: letters, digits, ``-`` and ``_`` stay, all else is ``_``."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in text)


def owner_only(path: str, flags: int) -> int:
    """An opener, for ``open``, of files that are their owner's alone from the first moment."""
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def replacing(path: Path, ending: str = ".part") -> Iterator[Path]:
    """A place beside ``path`` to write to, which replaces ``path`` when the block has ended.

    Where the block raises, ``path`` stays as it was and the part is removed. Its name is this
    thread's own and has that ``ending``.
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
    """Write a text file whole or not at all, its folder too; returns its path. Raises ``OSError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return path
