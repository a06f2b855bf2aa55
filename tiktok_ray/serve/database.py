"""Records on disk: SQLite with a write-ahead log, shared by the threads of a process."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

log = logging.getLogger("tiktok_ray.serve.database")

#: What cannot be read gets this in its name, and stays for a person to look at.
ASIDE = ".unreadable-"
BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


class NewerRecords(Exception):
    """Records written by a newer version; the message says what to do."""


def no_room(error: BaseException) -> bool:
    """Whether a write failed because the disk, or the share of it, is full."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) in FULL
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def no_room_behind(error: BaseException | None) -> bool:
    """Whether a full disk caused an error, judging by its chain of causes."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if no_room(error):
            return True
        seen.append(error)
        told = getattr(error, "exc_info", None)  # as yt-dlp's errors have it
        error = (told[1] if told else None) or error.__cause__ or error.__context__
    return False


def put_aside(path: Path) -> Path:
    """Rename an unreadable file, so that nothing trips over it again; returns its new path."""
    target = path.with_name(f"{ASIDE}{path.name}-{time.strftime('%Y%m%dT%H%M%S')}")
    path.rename(target)
    log.error("%s is unreadable and was set aside as %s", path, target.name)
    return target


def set_aside(folder: Path) -> list[Path]:
    """The files set aside in a folder."""
    return sorted(folder.glob(f"{ASIDE}*"))


class Records:
    """One database. With ``synchronous`` FULL a change is on disk when its block has ended; with
    NORMAL the last ones may be lost when the machine loses power, never when a process dies. Reading
    waits for no writing: a slow disk holds up what is changed, not what is asked.

    A database that is broken, or has other columns, is set aside and begun anew. Raises
    ``NewerRecords`` where its version is above ``VERSION``.
    """

    VERSION = 1

    def __init__(self, path: Path, schema: str, synchronous: Literal["FULL", "NORMAL"]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.RLock()
        self._schema = schema
        self._synchronous = synchronous
        try:
            self._db = self._opened(path)
        except sqlite3.DatabaseError as error:
            if not _broken(error):
                raise
            for suffix in ("-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
            put_aside(path)
            self._db = self._opened(path)
        self._changing: int | None = None
        self._reading = threading.Lock()
        self._reader = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, check_same_thread=False, timeout=30
        )
        self._reader.row_factory = sqlite3.Row

    def _opened(self, path: Path) -> sqlite3.Connection:
        with contextlib.suppress(FileExistsError):  # its companions take its permissions
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            db.execute("PRAGMA foreign_keys = ON")
            self._check(db, path)
        except BaseException:
            db.close()
            raise
        return db

    def _check(self, db: sqlite3.Connection, path: Path) -> None:
        """See that the database is whole and of this version, and make its tables."""
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > self.VERSION:
            raise NewerRecords(
                f"{path} was written by a newer version of tiktok_ray: use that version, or restore a "
                "backup into an empty home (docs/deployment.md)"
            )
        if (verdict := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise _Unfit(verdict)
        wanted = _columns_of(self._schema)
        known = _columns(db)
        for table, columns in wanted.items():
            if table in known and not columns <= known[table]:
                raise _Unfit(f"{table} lacks {', '.join(sorted(columns - known[table]))}")
        if not wanted.keys() <= known.keys():
            db.executescript(self._schema)
        if version < self.VERSION:
            try:
                db.execute(f"PRAGMA user_version = {self.VERSION}")
            except sqlite3.OperationalError as error:
                if not no_room(error):  # else it is written when there is room again
                    raise

    def close(self) -> None:
        with self._lock, self._reading:
            self._reader.close()
            self._db.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """A transaction that happened whole when the block has ended, or did not."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            self._changing = threading.get_ident()
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # on a full disk SQLite may have ended it itself
                    self._db.execute("ROLLBACK")
                raise
            finally:
                self._changing = None

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """What a query finds: inside a change with what it has changed, elsewhere what is written."""
        if self._changing == threading.get_ident():
            return self._db.execute(query, values).fetchall()
        with self._reading:
            return self._reader.execute(query, values).fetchall()


class _Unfit(sqlite3.DatabaseError):
    """A database that SQLite reads, and whose content is damaged or another's."""


def _broken(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, _Unfit) or (code is not None and code & 0xFF in BROKEN)


def trouble(path: Path, schema: str) -> str | None:
    """What is wrong with a database, or None; read-only."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        ) as db:
            if db.execute("PRAGMA user_version").fetchone()[0] > Records.VERSION:
                return "it was written by a newer version"
            verdict = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
            lacking = {
                f"{table}.{column}"
                for table, columns in _columns_of(schema).items()
                for column in columns - _columns(db).get(table, set())
            }
    except sqlite3.Error as error:
        return str(error)
    if verdict != "ok":
        return verdict
    return f"it lacks {', '.join(sorted(lacking))}" if lacking else None


def _columns_of(schema: str) -> dict[str, set[str]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.executescript(schema)
        return _columns(db)


def _columns(db: sqlite3.Connection) -> dict[str, set[str]]:
    """Columns of each table."""
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        table: {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
        for table in tables
        if not table.startswith("sqlite_")
    }
