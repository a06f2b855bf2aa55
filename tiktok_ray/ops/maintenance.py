"""Backup, restore and retention of a service's home, and log rotation."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tiktok_ray import logs
from tiktok_ray.files import owner_only, replacing
from tiktok_ray.run.cache import DiskCache
from tiktok_ray.serve import search_index, store
from tiktok_ray.serve.database import no_room
from tiktok_ray.serve.jobs import Ledger, discard, orphans
from tiktok_ray.serve.service_home import BACKUPS, CACHE, LEDGER, RESULTS, WORK
from tiktok_ray.settings import Settings

KEPT_BACKUPS = 8


class CannotKeep(Exception):
    """A backup cannot be made or restored; the message says why, and what to do."""


# Backup


def back_up(
    settings: Settings, into: Path | None = None, *, videos: bool = False, keep: int = KEPT_BACKUPS
) -> Path:
    """Write ``tiktok-ray-<time>.tar.gz`` with the ledger and all results; returns its path.

    The ledger is copied by SQLite's online backup, so that the service goes on meanwhile. Of all
    backups in the folder the newest ``keep`` stay. Raises ``CannotKeep``.
    """
    home = settings.home
    if not (home / LEDGER).is_file():
        raise CannotKeep(f"no ledger in {home}: no service has ever run there")
    folder = into or home / BACKUPS
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = _size(home / RESULTS, videos) + 2 * (home / LEDGER).stat().st_size
    free = shutil.disk_usage(folder).free - settings.disk_reserve_gib * 2**30
    if wanted > free:
        raise CannotKeep(
            f"{folder} has {max(0.0, free) / 2**30:.1f} GiB beyond the reserve, the backup may need "
            f"{wanted / 2**30:.1f}; choose another disk with --into DIR"
        )
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    target = folder / f"tiktok-ray-{stamp}.tar.gz"
    with replacing(target) as part:
        with tempfile.TemporaryDirectory(prefix=".ledger-", dir=folder) as scratch:
            copy = Path(scratch) / LEDGER
            copy_database(home / LEDGER, copy)
            with tarfile.open(part, "w:gz", compresslevel=3) as tar:
                tar.add(copy, LEDGER)
                for file in _result_files(home / RESULTS, videos):
                    # A result that is deleted meanwhile is not in the backup.
                    with contextlib.suppress(FileNotFoundError):
                        tar.add(file, str(file.relative_to(home)))
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.chmod(0o600)
    for old in sorted(folder.glob("tiktok-ray-*.tar.gz"))[:-keep]:
        old.unlink()
    return target


def copy_database(source: Path, target: Path) -> None:
    """Take a consistent copy of an SQLite database that is in use. Raises ``CannotKeep``."""
    with (
        contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=60)) as old,
        contextlib.closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)
        verdict = new.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        raise CannotKeep(f"the copy of {source.name} is incomplete: {verdict}")


def _result_files(results: Path, videos: bool) -> Iterator[Path]:
    for folder in sorted(p for p in results.glob("*") if p.is_dir() and p.name[0] != "."):
        for name in ("report.json", "poster.jpg", *(["video"] if videos else [])):
            if (folder / name).is_file():
                yield folder / name


def _size(results: Path, videos: bool) -> int:
    total = 0
    for file in _result_files(results, videos):
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def restore(settings: Settings, backup: Path) -> dict[str, int]:
    """Restore a backup into an empty home; returns the numbers of jobs and results. ``CannotKeep``."""
    home = settings.home
    for there in (LEDGER, RESULTS):
        if (home / there).exists():
            raise CannotKeep(
                f"{home / there} exists; stop the service and move it aside, "
                "or restore elsewhere with TIKTOK_RAY_HOME"
            )
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=home) as scratch:
        try:
            with tarfile.open(backup) as tar:
                tar.extractall(scratch, filter="data")
        except (OSError, tarfile.TarError, EOFError) as error:
            raise CannotKeep(f"{backup} cannot be read: {error}") from None
        ledger = Path(scratch) / LEDGER
        if not ledger.is_file():
            raise CannotKeep(f"{backup} is not a backup of tiktok-ray: it contains no {LEDGER}")
        with contextlib.closing(sqlite3.connect(ledger)) as db:
            if (verdict := db.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                raise CannotKeep(f"the ledger in {backup} is corrupt: {verdict}")
            jobs = db.execute("SELECT count(*) FROM jobs").fetchone()[0]
        results = Path(scratch) / RESULTS
        results.mkdir(exist_ok=True)
        count = sum(1 for _ in results.glob("*/report.json"))
        results.rename(home / RESULTS)
        ledger.rename(home / LEDGER)
    return {"jobs": jobs, "results": count}


# Retention


def retain(settings: Settings) -> dict[str, Any]:
    """Enforce the age and size limits of results, jobs, leftovers and logs; returns what was removed.

    The service does the same with all but logs by itself; this works without it too, and on a disk
    that is full to the last byte: files go first, then what is known of them. While the disk is
    short of its reserve, the cache goes too.
    """
    home, before = settings.home, time.time() - settings.keep_days * 86_400
    gone: dict[str, Any] = {"results": 0, "jobs": 0, "leftovers": 0, "logs": 0}
    if not home.is_dir():
        return gone
    gone["logs"] = len(logs.forget(home / logs.FOLDER, keep_days=settings.keep_days))
    if (home / RESULTS).is_dir():
        old = store.past(home / RESULTS, before, settings.keep_gib * 2**30)
        gone["results"] = sum(store.remove(home / RESULTS / id) for id in old)
    if shutil.disk_usage(home).free < settings.disk_reserve_gib * 2**30 and (home / CACHE).is_dir():
        gone["cached_bytes"] = DiskCache(home / CACHE, 2**62).empty()
    with unless_full(gone):
        if (home / RESULTS).is_dir():
            store.Store(home / RESULTS).close()  # which forgets what is gone
            search_index.forget_gone(home / RESULTS)
        if (home / LEDGER).is_file():
            with contextlib.closing(Ledger(home / LEDGER)) as ledger:
                lost = orphans(home / WORK, ledger)
                for path in lost:
                    discard(path)
                gone["leftovers"] = len(lost)
                gone["jobs"] = ledger.prune(before)
    return gone


@contextlib.contextmanager
def unless_full(told: dict[str, Any]) -> Iterator[None]:
    """Continue if the disk is full, adding a note to ``told``."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        if not no_room(error):
            raise
        told["left undone"] = f"the disk is full ({error})"


def rotate_logs(settings: Settings) -> dict[str, Any]:
    """Rotate and compress today's logs, and delete old ones."""
    folder = settings.home / logs.FOLDER
    made: dict[str, Any] = {"packed": [], "removed": []}
    gone = logs.forget(folder, keep_days=settings.keep_days)
    made["removed"] = [path.name for path in gone]
    with unless_full(made):
        for path in sorted(folder.glob("*.jsonl")):
            if not logs.is_aside(path) and (packed := logs.rotate(path)):
                made["packed"].append(packed.name)
    return made


def append(settings: Settings, name: str, entry: dict[str, Any]) -> Path:
    """Append one line to the log with that name."""
    path = settings.home / logs.FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(path, "a", encoding="utf-8", opener=owner_only) as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    return path
