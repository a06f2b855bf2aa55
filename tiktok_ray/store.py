"""Results on disk: one folder each, published whole or not at all, found through an index.

``<folder>/<id>/`` holds ``report.json``, and where they were kept ``video`` and ``poster.jpg``. The
folders are the truth; the index, an SQLite file beside them, is made again from them where it is
missing or out of step. Methods block on the disk: call them from a thread.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tiktok_ray.records import Records
from tiktok_ray.report import VideoReport

REPORT, VIDEO, POSTER = "report.json", "video", "poster.jpg"
NAME = re.compile(r"[0-9a-f]{8,64}")
PART = ".part-"

SCHEMA = """
CREATE TABLE IF NOT EXISTS results (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  created REAL NOT NULL,
  bytes INTEGER NOT NULL,
  video_id TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  source TEXT NOT NULL,
  title TEXT,
  uploader TEXT,
  duration_s REAL NOT NULL,
  statuses TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS results_by_sha256 ON results (sha256);
CREATE INDEX IF NOT EXISTS results_by_video ON results (video_id);
"""


class Result(BaseModel):
    """One entry of the list of results."""

    model_config = ConfigDict(frozen=True)

    id: str
    created: float = Field(description="Seconds since 1970")
    bytes: int = Field(description="What it takes on the disk")
    video_id: str
    sha256: str
    source: str
    title: str | None = None
    uploader: str | None = None
    duration_s: float
    statuses: dict[str, str] = Field(description="Status of each analyzer")
    has_video: bool = False
    has_poster: bool = False


class Store(Records):
    """Results by identifier, which is 8 to 64 hexadecimal digits."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._clock = clock
        super().__init__(folder / "index.sqlite", SCHEMA, "NORMAL")
        self._reconcile()

    def _reconcile(self) -> None:
        """Index the folders that are not, and forget entries whose folder is gone."""
        there = {p.name for p in self.folder.iterdir() if NAME.fullmatch(p.name)}
        there = {name for name in there if (self.folder / name / REPORT).is_file()}
        known = {row["id"] for row in self._rows("SELECT id FROM results")}
        for id in known - there:
            self._forget(id)
        for id in sorted(there - known, key=self._written):
            self._index(id, VideoReport.read(self.folder / id / REPORT), self._written(id))

    def _written(self, id: str) -> float:
        return (self.folder / id / REPORT).stat().st_mtime

    def publish(self, id: str, report: VideoReport, video: Path | None = None) -> bool:
        """Put a report there; its ``video`` is moved or copied to it. False if ``id`` is there.

        A crash at any moment, or a full disk, leaves the whole result or none. Raises ``OSError``
        and ``sqlite3.OperationalError`` where it cannot be written.
        """
        place = self._place(id)
        if place.exists():
            return False
        part = self.folder / f"{PART}{id}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        _write(part / REPORT, report.to_json() + "\n")
        if video is not None:
            _bring(video, part / VIDEO)
        _sync(part)
        part.rename(place)
        try:
            _sync(self.folder)
            self._index(id, report, self._clock())
        except BaseException:
            shutil.rmtree(place)
            raise
        return True

    def _index(self, id: str, report: VideoReport, created: float) -> None:
        video = report.video
        statuses = {name: section.status for name, section in report.analyzers.items()}
        with self._change() as db:
            db.execute(
                "INSERT OR REPLACE INTO results (id, created, bytes, video_id, sha256, source,"
                " title, uploader, duration_s, statuses) VALUES (?,?,?,?,?,?,?,?,?,?)",
                (
                    id,
                    created,
                    self._size(id),
                    video.id,
                    video.sha256,
                    video.source,
                    video.title,
                    video.uploader,
                    video.duration_s,
                    json.dumps(statuses),
                ),
            )

    def _size(self, id: str) -> int:
        return sum(file.stat().st_size for file in self._place(id).iterdir())

    def _place(self, id: str) -> Path:
        if not NAME.fullmatch(id):
            raise ValueError(f"{id!r} is no identifier of a result")
        return self.folder / id

    def get(self, id: str) -> Result | None:
        rows = self._rows("SELECT * FROM results WHERE id = ?", id)
        return self._result(rows[0]) if rows else None

    def report_path(self, id: str) -> Path | None:
        """Where the report lies, or None if there is none of that name."""
        return self._file(id, REPORT)

    def video_path(self, id: str) -> Path | None:
        """Where the video lies, if it was kept."""
        return self._file(id, VIDEO)

    def poster_path(self, id: str) -> Path | None:
        """Where the poster lies, if one could be made."""
        return self._file(id, POSTER)

    def _file(self, id: str, name: str) -> Path | None:
        if not NAME.fullmatch(id) or not (self.folder / id / name).is_file():
            return None
        return self.folder / id / name

    def _result(self, row: sqlite3.Row) -> Result:
        plain = {name: row[name] for name in row.keys() if name not in ("seq", "statuses")}  # noqa: SIM118
        return Result(
            statuses=json.loads(row["statuses"]),
            has_video=self.video_path(row["id"]) is not None,
            has_poster=self.poster_path(row["id"]) is not None,
            **plain,
        )

    def page(
        self,
        *,
        limit: int = 50,
        before: int | None = None,
        text: str | None = None,
        video_id: str | None = None,
        sha256: str | None = None,
        uploader: str | None = None,
        analyzer: str | None = None,
        status: str | None = None,
        since: float | None = None,
        until: float | None = None,
        shortest_s: float | None = None,
        longest_s: float | None = None,
    ) -> tuple[list[Result], int | None]:
        """Results, the newest first, and where the next page begins.

        ``text`` is looked for in title, uploader and source, whatever the case. ``status`` is that
        of ``analyzer``, or of any analyzer when none is named.
        """
        clauses: list[str] = []
        values: list[Any] = []

        def want(clause: str, *given: Any) -> None:
            if all(value is not None for value in given):
                clauses.append(clause)
                values.extend(given)

        want("seq < ?", before)
        want("video_id = ?", video_id)
        want("sha256 = ?", sha256)
        want("uploader = ?", uploader)
        want("created >= ?", since)
        want("created <= ?", until)
        want("duration_s >= ?", shortest_s)
        want("duration_s <= ?", longest_s)
        if text is not None:
            words = "coalesce(title,'') || char(10) || coalesce(uploader,'') || char(10) || source"
            want(f"instr(lower({words}), lower(?)) > 0", text)
        entry = "SELECT 1 FROM json_each(statuses) AS s WHERE 1"
        if analyzer is not None or status is not None:
            named = " AND s.key = ?" if analyzer is not None else ""
            ended = " AND s.value = ?" if status is not None else ""
            given = [value for value in (analyzer, status) if value is not None]
            want(f"EXISTS ({entry}{named}{ended})", *given)
        where = " AND ".join(clauses) or "1"
        rows = self._rows(
            f"SELECT * FROM results WHERE {where} ORDER BY seq DESC LIMIT ?", *values, limit + 1
        )
        more = rows[limit - 1]["seq"] if len(rows) > limit else None
        return [self._result(row) for row in rows[:limit]], more

    def count(self) -> int:
        return int(self._rows("SELECT count(*) FROM results")[0][0])

    def total_bytes(self) -> int:
        """What all results take on the disk."""
        return int(self._rows("SELECT coalesce(sum(bytes), 0) FROM results")[0][0])

    def add_poster(self, id: str, picture: Path) -> None:
        """Give a result its poster; one that was deleted meanwhile takes none."""
        place = self._place(id)
        if place.is_dir():
            picture.replace(place / POSTER)
            with self._change() as db:
                db.execute("UPDATE results SET bytes = ? WHERE id = ?", (self._size(id), id))

    def delete(self, id: str) -> bool:
        """Remove a result with its video; whether there was one."""
        if not NAME.fullmatch(id) or not (self.folder / id).is_dir():
            return False
        # A folder is renamed at once and removed in many steps: after a crash none is half there.
        gone = self.folder / f"{PART}{id}-{time.monotonic_ns()}"
        (self.folder / id).rename(gone)
        self._forget(id)
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def _forget(self, id: str) -> None:
        with self._change() as db:
            db.execute("DELETE FROM results WHERE id = ?", (id,))

    def prune(self, *, older_than_s: float, max_bytes: float) -> list[str]:
        """Remove results of that age, then the oldest until the rest fits; returns their names."""
        limit = self._clock() - older_than_s
        rows = self._rows("SELECT id, created, bytes FROM results ORDER BY seq")
        left = sum(row["bytes"] for row in rows)
        gone = []
        for row in rows:
            if row["created"] < limit or left > max_bytes:
                left -= row["bytes"]
                if self.delete(row["id"]):
                    gone.append(row["id"])
        return gone

    def sweep(self) -> None:
        """Remove what a crash left half written. Only where nobody publishes."""
        for part in self.folder.glob(f"{PART}*"):
            shutil.rmtree(part, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _bring(source: Path, target: Path) -> None:
    """Move a file, by a link where both lie on one disk, and by a copy elsewhere."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
