"""The job ledger: accepted jobs, their outcomes, and all their events.

One SQLite file in WAL mode, every commit synced: an accepted job survives whatever happens next. A
job is ``queued``, then ``running``, and ends once: ``done``, ``failed``, ``cancelled``, or
``quarantined`` after its process died three times while running it. Events are numbered from 1
within a job, without gaps, so that a reader can resume where it stopped.

Methods block on the disk: call them from a thread. Several threads and processes may share a file;
``Lease`` determines which process runs the jobs.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from tiktok_ray.serve.database import Records

State = Literal["queued", "running", "done", "failed", "cancelled", "quarantined"]
#: Age at which what belongs to no job is removed from the work folder, in seconds.
ORPHAN_S = 3600.0
ENDED: frozenset[str] = frozenset(("done", "failed", "cancelled", "quarantined"))
#: Deaths after which a job runs alone, so that it takes no other with it, and is given up.
SUSPECT, POISON = 2, 3
#: Seconds before each further try to deliver a webhook; after the last it is given up.
RETRIES_S = (1.0, 5.0, 30.0, 120.0, 600.0, 3600.0)

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,
  request TEXT NOT NULL,
  key TEXT UNIQUE,
  digest TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  deaths INTEGER NOT NULL DEFAULT 0,
  cancelling INTEGER NOT NULL DEFAULT 0,
  created REAL NOT NULL,
  started REAL,
  ended REAL,
  result TEXT,
  problem TEXT
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, seq);
CREATE TABLE IF NOT EXISTS events (
  job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  n INTEGER NOT NULL,
  at REAL NOT NULL,
  kind TEXT NOT NULL,
  data TEXT NOT NULL,
  PRIMARY KEY (job, n)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deliveries (
  job TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
  tries INTEGER NOT NULL DEFAULT 0,
  due REAL,
  outcome TEXT
);
"""


class KeyReused(Exception):
    """An idempotency key was reused with a different body."""


class QueueFull(Exception):
    """The limit of queued and running jobs is reached."""


class Request(BaseModel):
    """The request. ``upload`` is the client's file name, for display."""

    model_config = ConfigDict(frozen=True)

    url: str | None = None
    upload: str | None = None
    only: list[str] = Field(default_factory=list)
    without: list[str] = Field(default_factory=list)
    webhook: str | None = None
    keep: bool = Field(True, description="False: the client fetches and deletes the result itself")


class Job(BaseModel):
    """A job and its state. Times are Unix times in seconds."""

    model_config = ConfigDict(frozen=True)

    id: str
    state: State
    request: Request
    created: float
    started: float | None = Field(None, description="When its latest attempt began")
    ended: float | None = None
    attempts: int = Field(0, description="Number of attempts")
    deaths: int = Field(0, description="Number of times the process working on it died")
    cancelling: bool = Field(False, description="It was asked to stop and has not stopped yet")
    result: str | None = Field(None, description="Id of its result, once it is done")
    problem: dict[str, Any] | None = Field(None, description="Why it has no result (RFC 9457)")


class Entry(NamedTuple):
    """One event of a job, numbered from 1; ``at`` is a Unix time in seconds."""

    n: int
    at: float
    kind: str
    data: dict[str, Any]


class Delivery(NamedTuple):
    """A due webhook delivery: its job and the number of attempts."""

    job: Job
    tries: int


class Ledger(Records):
    """Jobs on disk. ``clock`` returns the Unix time in seconds."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        super().__init__(path, SCHEMA, "FULL")

    # What clients do

    def accept(
        self,
        id: str,
        request: Request,
        *,
        digest: str,
        key: str | None = None,
        room: int | None = None,
    ) -> tuple[Job, bool]:
        """Queue a job; returns it, and whether it is new.

        With a ``key`` that was used before for the same ``digest`` the job of that time comes
        back. Raises ``KeyReused`` where the digest differs, and ``QueueFull`` when ``room`` jobs
        are queued or running.
        """
        now = self._clock()
        with self._change() as db:
            if key is not None and (known := self._keyed(key, digest)) is not None:
                return known, False
            if room is not None and self.open_jobs() >= room:
                raise QueueFull(f"{room} jobs are queued or running")
            db.execute(
                "INSERT INTO jobs (id, state, request, key, digest, created) VALUES (?,?,?,?,?,?)",
                (id, "queued", request.model_dump_json(), key, digest, now),
            )
            self._append(id, [(now, "job", {"state": "queued"})])
        return self._get(id), True

    def _keyed(self, key: str, digest: str) -> Job | None:
        """The job that was accepted under ``key``. Raises ``KeyReused``."""
        for row in self._rows("SELECT * FROM jobs WHERE key = ?", key):
            if row["digest"] != digest:
                raise KeyReused(f"the key {key!r} was used for another request")
            return _job(row)
        return None

    def knows_key(self, key: str) -> bool:
        """Whether a job was accepted under ``key``."""
        return bool(self._rows("SELECT 1 FROM jobs WHERE key = ?", key))

    def get(self, id: str) -> Job | None:
        rows = self._rows("SELECT * FROM jobs WHERE id = ?", id)
        return _job(rows[0]) if rows else None

    def _get(self, id: str) -> Job:
        job = self.get(id)
        assert job is not None
        return job

    def page(
        self, *, state: str | None = None, limit: int = 50, before: int | None = None
    ) -> tuple[list[Job], int | None]:
        """Jobs, newest first, and the start of the next page."""
        rows = self._rows(
            "SELECT * FROM jobs WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR seq < ?2)"
            " ORDER BY seq DESC LIMIT ?3",
            state,
            before,
            limit + 1,
        )
        more = rows[limit - 1]["seq"] if len(rows) > limit else None
        return [_job(row) for row in rows[:limit]], more

    def open_jobs(self) -> int:
        """How many jobs are queued or running."""
        query = "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')"
        return int(self._rows(query)[0][0])

    def counts(self) -> dict[str, int]:
        """How many jobs there are in each state."""
        found = {
            row[0]: row[1] for row in self._rows("SELECT state, count(*) FROM jobs GROUP BY 1")
        }
        return {state: found.get(state, 0) for state in State.__args__}  # type: ignore[attr-defined]

    def ahead(self, id: str) -> int | None:
        """The number of jobs ahead of this one in the queue; None if it is not queued."""
        rows = self._rows("SELECT seq FROM jobs WHERE id = ? AND state = 'queued'", id)
        if not rows:
            return None
        query = "SELECT count(*) FROM jobs WHERE state = 'queued' AND seq < ?"
        return int(self._rows(query, rows[0]["seq"])[0][0])

    def cancel(self, id: str) -> Job | None:
        """Cancel a queued job, or mark a running one to be stopped; an ended one is left unchanged."""
        with self._change() as db:
            if self._end(id, "cancelled", where="state = 'queued'"):
                return self._get(id)
            db.execute("UPDATE jobs SET cancelling = 1 WHERE id = ? AND state = 'running'", (id,))
        return self.get(id)

    # What the worker does

    def claim(self, *, alone: bool) -> Job | None:
        """Take the oldest queued job and mark it running.

        A job suspected of several deaths is taken only when nothing else runs (``alone``).
        """
        while True:
            with self._change() as db:
                rows = self._rows("SELECT * FROM jobs WHERE state = 'queued' ORDER BY seq LIMIT 1")
                if not rows or (rows[0]["deaths"] >= SUSPECT and not alone):
                    return None
                id, attempt, now = rows[0]["id"], rows[0]["attempts"] + 1, self._clock()
                if _job(rows[0]).problem == UNREADABLE:
                    self._end(id, "failed", problem=UNREADABLE, where="state = 'queued'")
                    continue
                db.execute(
                    "UPDATE jobs SET state = 'running', attempts = ?, started = ? WHERE id = ?",
                    (attempt, now, id),
                )
                self._append(id, [(now, "job", {"state": "running", "attempt": attempt})])
            return self._get(id)

    def finish(
        self,
        id: str,
        state: State,
        *,
        result: str | None = None,
        problem: Mapping[str, Any] | None = None,
    ) -> bool:
        """End a running job; False if it is no longer running."""
        with self._change():
            return self._end(id, state, result, problem)

    def _end(
        self,
        id: str,
        state: State,
        result: str | None = None,
        problem: Mapping[str, Any] | None = None,
        where: str = "state = 'running'",
    ) -> bool:
        now = self._clock()
        changed = self._db.execute(
            "UPDATE jobs SET state = ?, ended = ?, result = ?, problem = ?, cancelling = 0"
            f" WHERE id = ? AND {where}",
            (state, now, result, json.dumps(problem) if problem else None, id),
        ).rowcount
        if changed:
            data = {"state": state, "result": result, "problem": problem}
            self._append(id, [(now, "job", {k: v for k, v in data.items() if v is not None})])
            if self._get(id).request.webhook:
                self._db.execute("INSERT INTO deliveries (job, due) VALUES (?, ?)", (id, now))
        return bool(changed)

    def release(self, id: str) -> None:
        """Put a running job back into the queue because the service stops, without counting the attempt."""
        with self._change() as db:
            changed = db.execute(
                "UPDATE jobs SET state = 'queued', attempts = attempts - 1"
                " WHERE id = ? AND state = 'running'",
                (id,),
            ).rowcount
            if changed:
                data = {"state": "queued", "reason": "the service stopped"}
                self._append(id, [(self._clock(), "job", data)])

    def recover(self) -> tuple[list[Job], list[Job]]:
        """Jobs left running by a dead process: queued again, or quarantined at its third death.

        Only the holder of the lease may call it. Returns both lists.
        """
        again, given_up = [], []
        with self._change() as db:
            for row in self._rows("SELECT * FROM jobs WHERE state = 'running' ORDER BY seq"):
                id, deaths = row["id"], row["deaths"] + 1
                db.execute("UPDATE jobs SET deaths = ? WHERE id = ?", (deaths, id))
                if row["cancelling"]:
                    self._end(id, "cancelled")
                elif deaths >= POISON:
                    self._end(id, "quarantined", problem=_poisoned(deaths, self._last_at_work(id)))
                    given_up.append(id)
                else:
                    db.execute("UPDATE jobs SET state = 'queued' WHERE id = ?", (id,))
                    data = {"state": "queued", "reason": "the process working on it died"}
                    self._append(id, [(self._clock(), "job", {**data, "deaths": deaths})])
                    again.append(id)
        return [self._get(id) for id in again], [self._get(id) for id in given_up]

    def _last_at_work(self, id: str) -> list[str]:
        """What was at work when the last attempt ended, by its events."""
        at_work: dict[str, bool] = {}
        for entry in self.events(id):
            if entry.kind == "job":
                at_work.clear()
            else:
                name = str(entry.data.get("name"))
                at_work[name] = entry.data.get("state") in ("running", "loading")
        return [name for name, busy in at_work.items() if busy]

    def cancelling(self) -> list[str]:
        """Running jobs that are to be stopped."""
        query = "SELECT id FROM jobs WHERE state = 'running' AND cancelling = 1"
        return [row["id"] for row in self._rows(query)]

    # Events

    def record(self, entries: Iterable[tuple[str, float, str, dict[str, Any]]]) -> None:
        """Append events (job, time, kind, data) of running jobs, in one transaction."""
        by_job: dict[str, list[tuple[float, str, dict[str, Any]]]] = {}
        for id, at, kind, data in entries:
            by_job.setdefault(id, []).append((at, kind, data))
        with self._change():
            for id, events in by_job.items():
                if self._rows("SELECT 1 FROM jobs WHERE id = ? AND state = 'running'", id):
                    self._append(id, events)

    def _append(self, id: str, events: list[tuple[float, str, dict[str, Any]]]) -> None:
        last = self._rows("SELECT coalesce(max(n), 0) FROM events WHERE job = ?", id)[0][0]
        self._db.executemany(
            "INSERT INTO events (job, n, at, kind, data) VALUES (?,?,?,?,?)",
            [
                (id, last + k, at, kind, json.dumps(data, ensure_ascii=False))
                for k, (at, kind, data) in enumerate(events, 1)
            ],
        )

    def events(self, id: str, after: int = 0, limit: int = 10_000) -> list[Entry]:
        """Events of a job with numbers above ``after``."""
        rows = self._rows(
            "SELECT n, at, kind, data FROM events WHERE job = ? AND n > ? ORDER BY n LIMIT ?",
            id,
            min(after, 2**62),
            limit,
        )
        return [Entry(r["n"], r["at"], r["kind"], json.loads(r["data"])) for r in rows]

    # Webhooks

    def due(self) -> list[Delivery]:
        """Webhook deliveries that are due."""
        rows = self._rows(
            "SELECT job, tries FROM deliveries WHERE outcome IS NULL AND due <= ?", self._clock()
        )
        return [Delivery(self._get(row["job"]), row["tries"]) for row in rows]

    def delivered(self, id: str, failure: str | None = None) -> None:
        """Record the outcome of a delivery; a failed one is retried later, until it is abandoned."""
        with self._change() as db:
            if failure is None:
                db.execute(
                    "UPDATE deliveries SET tries = tries + 1, outcome = 'delivered' WHERE job = ?",
                    (id,),
                )
                return
            tries = self._rows("SELECT tries FROM deliveries WHERE job = ?", id)[0]["tries"]
            if tries >= len(RETRIES_S):
                outcome = f"gave up: {failure}"[:500]
                db.execute(
                    "UPDATE deliveries SET tries = tries + 1, outcome = ? WHERE job = ?",
                    (outcome, id),
                )
            else:
                db.execute(
                    "UPDATE deliveries SET tries = tries + 1, due = ? WHERE job = ?",
                    (self._clock() + RETRIES_S[tries], id),
                )

    def outcome(self, id: str) -> str | None:
        """The outcome of a job's webhook; None while it is pending or if there is none."""
        rows = self._rows("SELECT outcome FROM deliveries WHERE job = ?", id)
        return rows[0]["outcome"] if rows else None

    def unkept(self, before: float) -> list[str]:
        """Results, not to be kept, of jobs that ended before that time."""
        rows = self._rows(
            "SELECT result FROM jobs WHERE result IS NOT NULL AND ended < ?"
            " AND instr(request, '\"keep\":false')",
            before,
        )
        return [row["result"] for row in rows]

    def prune(self, before: float) -> int:
        """Forget jobs that ended before that time; returns how many."""
        with self._change() as db:
            return db.execute("DELETE FROM jobs WHERE ended < ?", (before,)).rowcount


#: Of an entry of the ledger that is damaged, or a newer version's.
UNREADABLE: dict[str, Any] = {
    "type": "urn:tiktok-ray:unreadable",
    "title": "The job's ledger entry is unreadable",
    "status": 500,
    "detail": "the ledger entry of this request has become unreadable",
    "advice": "send the request again",
}


def _job(row: sqlite3.Row) -> Job:
    plain = {name: row[name] for name in Job.model_fields if name not in ("request", "problem")}
    try:
        problem = json.loads(row["problem"]) if row["problem"] else None
        request = Request.model_validate_json(row["request"])
        return Job(request=request, problem=problem, **plain)
    except (ValueError, TypeError):
        return Job(
            id=str(row["id"]), state="failed", request=Request(), created=0.0, problem=UNREADABLE
        )


def _poisoned(deaths: int, at_work: list[str]) -> dict[str, Any]:
    where = f"; running at the time: {', '.join(at_work)}" if at_work else ""
    return {
        "type": "urn:tiktok-ray:quarantined",
        "title": "The job was abandoned",
        "status": 500,
        "detail": f"the process working on it died {deaths} times{where}",
        "advice": "the file may be malicious; exclude the analyzers that were running, or use another file",
    }


class Lease:
    """The exclusive right to run the jobs of a ledger, held by one process until it exits.

    It is a lock that the kernel releases when the process dies, however it dies.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._file: int | None = None

    @property
    def held(self) -> bool:
        return self._file is not None

    def acquire(self) -> bool:
        """Take it if it is free; returns whether it is now held."""
        if self._file is None:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                return False
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode())
            self._file = file
        return True

    def give_back(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def orphans(work: Path, ledger: Ledger, ended_s: float = ORPHAN_S) -> list[Path]:
    """Orphaned folders in the work folder: of no job for an hour, or of a job that has ended.

    ``ended_s``: how old what belongs to an ended job must be; its poster may be in the making.
    """
    found = []
    for path in sorted(work.glob("*")):
        with contextlib.suppress(FileNotFoundError):  # its job ended meanwhile
            job = ledger.get(path.stem)  # a folder, or a picture in the making
            age = time.time() - path.stat().st_mtime
            if age > ORPHAN_S if job is None else job.state in ENDED and age > ended_s:
                found.append(path)
    return found


def discard(path: Path) -> None:
    """Remove a file, or a folder with its contents, if it exists."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
