"""Results on disk: one folder each, published atomically, found through an index.

``<folder>/<id>/`` holds ``report.json``, and where they were kept ``video`` and ``poster.jpg``. The
folders are authoritative; the index, an SQLite file next to them, is rebuilt from them if it is
missing, corrupt or out of date. An unreadable report is set aside; links are not followed.
Methods block on the disk: call them from a thread.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tiktok_ray.files import owner_only
from tiktok_ray.report import VideoReport
from tiktok_ray.serve.database import NewerRecords, Records, no_room, put_aside

log = logging.getLogger("tiktok_ray.serve.store")

INDEX, REPORT, VIDEO, POSTER = "index.sqlite", "report.json", "video", "poster.jpg"
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
    created: float = Field(description="Unix time, in seconds")
    bytes: int = Field(description="Size on disk")
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
    """Results by id, which is 8 to 64 hexadecimal digits."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self._clock = clock
        try:
            super().__init__(folder / INDEX, SCHEMA, "NORMAL")
        except NewerRecords:  # the folders are the truth
            put_aside(folder / INDEX)
            super().__init__(folder / INDEX, SCHEMA, "NORMAL")
        self._reconcile()

    def _reconcile(self) -> None:
        """Index the folders that are not, and forget entries whose folder is gone."""
        there = {id: path.stat().st_mtime for id, path in reports(self.folder).items()}
        known = {row["id"] for row in self._rows("SELECT id FROM results")}
        try:
            for id in known - there.keys():
                self._forget(id)
            for id in sorted(there.keys() - known, key=there.__getitem__):
                self._take_in(id, there[id])
        except sqlite3.OperationalError as error:
            if not no_room(error):
                raise
            log.warning("the disk is full: the index of results is incomplete")

    def _take_in(self, id: str, written: float) -> None:
        """Index a report that lies there, whichever version wrote it; else set it aside."""
        entry = _read(self.folder / id / REPORT)
        if entry is None:
            put_aside(self.folder / id)
        else:
            self._index(id, entry, written)

    def publish(self, id: str, report: VideoReport, video: Path | None = None) -> bool:
        """Store a report, moving or copying its ``video`` there. False if ``id`` exists.

        A crash at any moment, or a full disk, leaves the complete result or nothing. Raises ``OSError``
        and ``sqlite3.OperationalError`` if it cannot be written.
        """
        place = self._place(id)
        if place.exists():
            return False
        part = self.folder / f"{PART}{id}"
        shutil.rmtree(part, ignore_errors=True)
        now = self._clock()
        try:
            part.mkdir(mode=0o700)
            _write(part / REPORT, report.to_json() + "\n")
            os.utime(part / REPORT, (now, now))
            if video is not None:
                _bring(video, part / VIDEO)
            _sync(part)
            part.rename(place)
            _sync(self.folder)
            self._index(id, _entry(report.model_dump(mode="json")), now)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(place, ignore_errors=True)
            raise
        return True

    def _index(self, id: str, entry: Mapping[str, Any], created: float) -> None:
        with self._change() as db:
            db.execute(
                "INSERT OR REPLACE INTO results (id, created, bytes, video_id, sha256, source,"
                " title, uploader, duration_s, statuses) VALUES (?,?,?,?,?,?,?,?,?,?)",
                (
                    id,
                    created,
                    size_of(self._place(id)),
                    entry["id"],
                    entry["sha256"],
                    entry["source"],
                    entry["title"],
                    entry["uploader"],
                    entry["duration_s"],
                    json.dumps(entry["statuses"]),
                ),
            )

    def _place(self, id: str) -> Path:
        if not NAME.fullmatch(id):
            raise ValueError(f"{id!r} is not the id of a result")
        return self.folder / id

    def get(self, id: str) -> Result | None:
        rows = self._rows("SELECT * FROM results WHERE id = ?", id)
        return self._result(rows[0]) if rows and self.report_path(id) else None

    def report_path(self, id: str) -> Path | None:
        """The path of the report, or None if there is none with this id."""
        return self._file(id, REPORT)

    def video_path(self, id: str) -> Path | None:
        """The path of the video, if it was kept."""
        return self._file(id, VIDEO)

    def poster_path(self, id: str) -> Path | None:
        """The path of the poster, if there is one."""
        return self._file(id, POSTER)

    def _file(self, id: str, name: str) -> Path | None:
        place = self.folder / id
        if not NAME.fullmatch(id) or place.is_symlink() or (place / name).is_symlink():
            return None
        return place / name if (place / name).is_file() else None

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
        """Results, newest first, and the start of the next page.

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
        # While the disk is full the index may name some that are gone.
        return [self._result(row) for row in rows[:limit] if self.report_path(row["id"])], more

    def count(self) -> int:
        return int(self._rows("SELECT count(*) FROM results")[0][0])

    def total_bytes(self) -> int:
        """Total size of all results on disk."""
        return int(self._rows("SELECT coalesce(sum(bytes), 0) FROM results")[0][0])

    def add_poster(self, id: str, picture: Path) -> None:
        """Add a poster to a result, unless it has been deleted meanwhile."""
        place = self._place(id)
        if self.report_path(id) is not None:
            picture.replace(place / POSTER)
            with self._change() as db:
                db.execute("UPDATE results SET bytes = ? WHERE id = ?", (size_of(place), id))

    def delete(self, id: str) -> bool:
        """Delete a result with its video; returns whether it existed. Works even on a full disk."""
        there = bool(NAME.fullmatch(id)) and remove(self.folder / id)
        if there:
            self._forget_if_it_can(id)
        return there

    def _forget_if_it_can(self, id: str) -> None:
        """On a full disk an entry stays for later; nothing shows it without its folder."""
        try:
            self._forget(id)
        except sqlite3.OperationalError as error:
            if not no_room(error):
                raise
            log.warning("the disk is full: %s stays in the index", id)

    def _forget(self, id: str) -> None:
        with self._change() as db:
            db.execute("DELETE FROM results WHERE id = ?", (id,))

    def prune(self, *, older_than_s: float, max_bytes: float) -> list[str]:
        """Remove results beyond that age, then the oldest until the rest fits; returns their ids."""
        gone = [
            id
            for id in past(self.folder, self._clock() - older_than_s, max_bytes)
            if self.delete(id)
        ]
        for row in self._rows("SELECT id FROM results"):
            if self.report_path(row["id"]) is None:
                self._forget_if_it_can(row["id"])
        return gone

    def sweep(self) -> None:
        """Remove partially written results after a crash. Only while nobody publishes."""
        for part in self.folder.glob(f"{PART}*"):
            shutil.rmtree(part, ignore_errors=True)


def reports(folder: Path) -> dict[str, Path]:
    """Reports that lie in a folder of results, by identifier."""
    places = [p for p in folder.iterdir() if NAME.fullmatch(p.name) and not p.is_symlink()]
    return {p.name: p / REPORT for p in places if _is_plain(p / REPORT)}


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def past(folder: Path, before: float, max_bytes: float) -> list[str]:
    """Results from before that Unix time, then the oldest until the rest fits.

    Uses only the folders, so it works even if the index cannot be opened.
    """
    found = sorted((path.stat().st_mtime, id) for id, path in reports(folder).items())
    sizes = {id: size_of(folder / id) for _, id in found}
    left, gone = sum(sizes.values()), []
    for written, id in found:
        if written < before or left > max_bytes:
            left -= sizes[id]
            gone.append(id)
    return gone


def remove(place: Path) -> bool:
    """Remove the folder of a result; returns whether it existed. Link targets are left alone."""
    # A folder is renamed at once and removed in many steps: after a crash none is half there.
    gone = place.with_name(f"{PART}{place.name}-{time.monotonic_ns()}")
    try:
        place.rename(gone)
    except FileNotFoundError:
        return False
    if gone.is_symlink():
        gone.unlink()
    else:
        shutil.rmtree(gone, ignore_errors=True)
    return True


def size_of(place: Path) -> int:
    """Bytes of the files of a result."""
    return sum(file.lstat().st_size for file in place.iterdir())


def unreadable(folder: Path) -> list[str]:
    """Ids of results whose report is invalid."""
    return [id for id, path in sorted(reports(folder).items()) if _read(path) is None]


def _read(path: Path) -> dict[str, Any] | None:
    """What the index holds of a report that lies there; None where it cannot be read."""
    try:
        return _entry(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _entry(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the index holds of a report. Raises ``KeyError`` or ``TypeError`` where it is none."""
    video = report["video"]
    wanted = {name: str(video[name]) for name in ("id", "sha256", "source")}
    return {
        **wanted,
        "title": video.get("title"),
        "uploader": video.get("uploader"),
        "duration_s": float(video["duration_s"]),
        "statuses": {name: str(part["status"]) for name, part in report["analyzers"].items()},
    }


def _write(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8", opener=owner_only) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _bring(source: Path, target: Path) -> None:
    """Move a file, by a link where both lie on one disk, and by a copy elsewhere."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    target.chmod(0o600)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
