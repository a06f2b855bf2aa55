"""What is known of videos on disk, by a key that covers everything they depend on.

Bounded: the least recently read entries are evicted. A file that cannot be read back is deleted and its
output computed again. The cache is optional: no job fails because of its disk.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tiktok_ray.files import owner_only, replacing
from tiktok_ray.settings import Settings

log = logging.getLogger("tiktok_ray.run.cache")

T = TypeVar("T", bound=BaseModel)

KEY = re.compile(r"[a-z0-9_]+-[0-9a-f]{16,64}")


class DiskCache:
    """Implements ``engine.Cache``. Several processes may share the folder."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self.max_bytes = max_bytes
        self.hits = self.misses = self.failures = 0
        self._lock = threading.Lock()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        files = [(p.stat(), p) for p in folder.glob("*.json") if KEY.fullmatch(p.stem)]
        for facts, path in sorted(files, key=lambda entry: entry[0].st_mtime):
            self._sizes[path.stem] = facts.st_size
        self._total = sum(self._sizes.values())
        self._make_room()

    @property
    def total_bytes(self) -> int:
        return self._total

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not a cache key")
        return self.folder / f"{key}.json"

    def get(self, key: str, kind: type[T]) -> T | None:
        """What is kept under ``key``, or None."""
        path = self._path(key)
        try:
            text = path.read_bytes()
            kept = kind.model_validate_json(text)
        except FileNotFoundError:
            self.misses += 1
            return None
        except (OSError, ValidationError) as error:
            self.misses += 1
            self._failed("read", key, error)
            self._drop(key)
            return None
        self.hits += 1
        with self._lock:
            self._note(key, len(text))
        with suppress(OSError):  # another process made room, say
            os.utime(path)
        return kept

    def put(self, key: str, value: BaseModel) -> None:
        """Store a value, unless it exceeds the whole cache or the free disk space."""
        path = self._path(key)
        text = value.model_dump_json().encode()
        if len(text) > self.max_bytes:
            return
        try:
            with replacing(path) as part, open(part, "wb", opener=owner_only) as file:
                file.write(text)
        except OSError as error:
            self._failed("kept", key, error)
            return
        with self._lock:
            self._note(key, len(text))
            self._make_room()

    def _note(self, key: str, size: int) -> None:
        self._total += size - self._sizes.pop(key, 0)
        self._sizes[key] = size

    def _make_room(self) -> None:
        while self._total > self.max_bytes and self._sizes:
            key, size = self._sizes.popitem(last=False)
            self._total -= size
            self._remove(key)

    def _drop(self, key: str) -> None:
        with self._lock:
            self._total -= self._sizes.pop(key, 0)
        self._remove(key)

    def _remove(self, key: str) -> None:
        with suppress(OSError):
            self._path(key).unlink(missing_ok=True)

    def _failed(self, what: str, key: str, error: Exception) -> None:
        self.failures += 1
        log.warning("%s could not be %s: %s", key, what, error)

    def empty(self) -> int:
        """Clear the cache; returns the number of bytes freed."""
        with self._lock:
            freed, self._total = self._total, 0
            keys, self._sizes = list(self._sizes), OrderedDict()
        for key in keys:
            self._remove(key)
        for part in self.folder.glob("*.part"):
            with suppress(OSError):
                part.unlink()
        return freed

    def facts(self) -> dict[str, Any]:
        """Its size and hit rate."""
        return {
            "entries": len(self._sizes),
            "bytes": self._total,
            "hits": self.hits,
            "misses": self.misses,
            "failures": self.failures,
        }


def open_cache(settings: Settings) -> DiskCache | None:
    """The cache of a home, or None if the setting ``cache_gib`` disables it. Raises ``OSError``."""
    size = round(settings.cache_gib * 2**30)
    return DiskCache(settings.home / "cache", size) if size else None
