"""Full-text search over all results of a service, or all reports of a dataset: what is said,
written, seen and heard, with time.

An SQLite FTS5 index beside the results. The results are the truth: every search first takes in
what came since the last one, and forgets what is gone. The first search over many results that
were there before takes longer.
"""

from __future__ import annotations

import base64
import bisect
import contextlib
import heapq
import json
import logging
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from tiktok_ray.exports import line_of
from tiktok_ray.serve.database import NewerRecords, Records, no_room, put_aside
from tiktok_ray.serve.store import reports

log = logging.getLogger("tiktok_ray.serve.search_index")

INDEX = "search.sqlite"
Kind = Literal["said", "written", "described", "seen", "heard", "colour", "tag", "finding", "about"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: Kinds of passages by the kind of the timeline's event.
OF_EVENTS: dict[str, Kind] = {
    "speech": "said", "subtitle": "said", "text": "written", "description": "described",
    "object": "seen", "person": "seen", "face": "seen", "gesture": "seen", "sound": "heard",
    "color": "colour", "moment": "finding", "insight": "finding", "chapter": "about",
}  # fmt: skip
#: Scripts that write words without spaces between them: each character counts as a word.
SCRIPTS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
BEGIN, END, WORDS = "[", "]", 14

SCHEMA = """
CREATE TABLE IF NOT EXISTS indexed (
  result TEXT PRIMARY KEY, written REAL NOT NULL, video_id TEXT NOT NULL, title TEXT
);
CREATE TABLE IF NOT EXISTS passages (
  id INTEGER PRIMARY KEY, result TEXT NOT NULL, kind TEXT NOT NULL, analyzer TEXT NOT NULL,
  start REAL, end REAL, words TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS pictured (
  result TEXT PRIMARY KEY, written REAL NOT NULL, checkpoint TEXT, places TEXT, vectors BLOB
);
CREATE TABLE IF NOT EXISTS worded (
  result TEXT PRIMARY KEY, written REAL NOT NULL, checkpoint TEXT, places TEXT, vectors BLOB
);
CREATE INDEX IF NOT EXISTS passages_by_result ON passages (result);
CREATE VIRTUAL TABLE IF NOT EXISTS found USING fts5(
  words, content='passages', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
);
CREATE TRIGGER IF NOT EXISTS passage_in AFTER INSERT ON passages BEGIN
  INSERT INTO found (rowid, words) VALUES (new.id, new.words);
END;
CREATE TRIGGER IF NOT EXISTS passage_out AFTER DELETE ON passages BEGIN
  INSERT INTO found (found, rowid, words) VALUES ('delete', old.id, old.words);
END;
"""


class NothingToFind(ValueError):
    """A query without a word in it."""


def kinds_of(names: str | None) -> tuple[Kind, ...]:
    """Kinds joined by commas; all where none is named. Raises ``ValueError`` for any other."""
    named = [name.strip() for name in (names or "").split(",") if name.strip()]
    if unknown := [name for name in named if name not in KINDS]:
        raise ValueError(f"no such kind: {', '.join(unknown)}; available: {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in named)


class InResult(BaseModel):
    """A place in one of the results."""

    model_config = ConfigDict(frozen=True)

    result: str = Field(description="Id of the result")
    video_id: str
    title: str | None = None


class Hit(InResult):
    """One passage that was found. Times are seconds, absent for what has none."""

    kind: Kind
    analyzer: str = Field(
        description="The analyzer that found it; `video` for data of the file or platform"
    )
    start: float | None = None
    end: float | None = None
    snippet: str = Field(description="The passage around the match, which is marked by [ ]")
    score: float = Field(description="BM25 score of the passage; higher is better")


class Shown(InResult):
    """A shot whose picture is like a text."""

    start: float
    end: float
    at: float = Field(description="Time of the picture, the likest one of its shot")
    cosine: float = Field(description="Of the vectors of picture and text, -1..1")


class Related(InResult):
    """A passage whose meaning is like that of a text."""

    kind: Kind
    analyzer: str = Field(description="The analyzer whose text it is")
    start: float | None = None
    end: float | None = None
    text: str
    cosine: float = Field(description="Of the vectors of passage and text, -1..1")


class Passage(NamedTuple):
    """Something in a report that can be found."""

    kind: Kind
    analyzer: str
    start: float | None
    end: float | None
    text: str


def forget_gone(folder: Path) -> None:
    """Let the search index of a folder of results, if there is one, forget what is gone."""
    if (folder / INDEX).is_file():
        with contextlib.closing(Finder(folder)) as finder:
            finder.forget_gone()


def dataset_reports(folder: Path) -> dict[str, Path]:
    """Reports of a dataset on this machine, by the name of their file."""
    files = (folder / "reports").glob("*.json")
    return {path.stem: path for path in files if path.is_file() and not path.is_symlink()}


class Finder(Records):
    """The search index of a folder of results. Methods block: call them from a thread.

    ``listed`` finds the reports of the folder by identifier: those of a service, or
    ``dataset_reports``.
    """

    def __init__(
        self, folder: Path, listed: Callable[[Path], Mapping[str, Path]] = reports
    ) -> None:
        self.folder = folder
        self._listed = listed
        self._syncing = threading.Lock()
        try:
            super().__init__(folder / INDEX, SCHEMA, "NORMAL")
        except NewerRecords:
            put_aside(folder / INDEX)
            super().__init__(folder / INDEX, SCHEMA, "NORMAL")

    def search(
        self, query: str, *, kinds: tuple[Kind, ...] = (), limit: int = 20, offset: int = 0
    ) -> tuple[list[Hit], int | None]:
        """Passages that hold all words of a query, the best first, and where the next page begins.

        Words are found whatever their case and accents; ``"two words"`` stand so in a row, and
        ``soup*`` begins so. Raises ``NothingToFind``.
        """
        match = matching(query)
        self._sync()
        some = f" AND kind IN ({','.join('?' * len(kinds))})" if kinds else ""
        rows = self._rows(
            "SELECT passages.*, video_id, title, bm25(found) AS rank,"
            f" snippet(found, 0, '{BEGIN}', '{END}', '…', {WORDS}) AS snippet"
            " FROM found JOIN passages ON passages.id = found.rowid"
            " JOIN indexed ON indexed.result = passages.result"
            f" WHERE found MATCH ?{some} ORDER BY rank, passages.id LIMIT ? OFFSET ?",
            match, *kinds, limit + 1, offset,
        )  # fmt: skip
        return [_hit(row) for row in rows[:limit]], offset + limit if len(rows) > limit else None

    def like(
        self, vector: Sequence[float], checkpoint: str, limit: int = 20
    ) -> tuple[list[Shown], int]:
        """Shots with pictures most like a text's vector, the likest first, by exact search; and how
        many results have no vectors of that checkpoint, so that they were not looked at."""
        rows, without = self._with_vectors("pictured", checkpoint)
        wanted = np.asarray(vector, np.float32)
        found = ((cosine, row, place) for row in rows for cosine, place in _shots_of(row, wanted))
        return [_shown(*one) for one in heapq.nlargest(limit, found, key=_cosine)], without

    def related(
        self,
        vector: Sequence[float],
        checkpoint: str,
        kinds: tuple[Kind, ...] = (),
        limit: int = 20,
    ) -> tuple[list[Related], int]:
        """Passages whose meaning is most like a text's vector, likewise."""
        rows, without = self._with_vectors("worded", checkpoint)
        wanted = np.asarray(vector, np.float32)
        found = (
            (cosine, row, place)
            for row in rows
            for cosine, place in zip(*_cosines(row, wanted), strict=True)
            if not kinds or place["kind"] in kinds
        )
        return [_related(*one) for one in heapq.nlargest(limit, found, key=_cosine)], without

    def _with_vectors(
        self, table: Literal["pictured", "worded"], checkpoint: str
    ) -> tuple[list[sqlite3.Row], int]:
        """The results with vectors of a checkpoint, and how many there are without."""
        self._sync()
        rows = self._rows(
            f"SELECT {table}.*, video_id, title FROM {table} JOIN indexed USING (result)"
            " WHERE checkpoint = ? ORDER BY result",
            checkpoint,
        )
        [(count,)] = self._rows("SELECT count(*) FROM indexed")
        return rows, int(count) - len(rows)

    def _sync(self) -> None:
        """Take in results that came or were changed, and forget those that are gone."""
        with self._syncing:
            self._forget_gone()
            known = {
                r["result"]: r["written"]
                for r in self._rows(
                    "SELECT * FROM indexed JOIN pictured USING (result, written)"
                    " JOIN worded USING (result, written)"
                )
            }
            for id, path in self._listed(self.folder).items():
                with contextlib.suppress(FileNotFoundError):  # it went meanwhile
                    written = path.stat().st_mtime
                    if known.get(id) != written:
                        self._take_in(id, path, written)

    def forget_gone(self) -> None:
        """Forget what results that are gone said. On a full disk it waits for the next time."""
        try:
            with self._syncing:
                self._forget_gone()
        except sqlite3.OperationalError as error:
            if not no_room(error):
                raise
            log.warning("the disk is full: deleted results stay in the search index for now")

    def _forget_gone(self) -> None:
        known = {row["result"] for row in self._rows("SELECT result FROM indexed")}
        gone = known - self._listed(self.folder).keys()
        if gone:
            with self._change() as db:
                for id in gone:
                    _remove(db, id)

    def _take_in(self, id: str, path: Path, written: float) -> None:
        try:
            report = json.loads(path.read_bytes())
            found = list(passages(report))
            facts = str(report["video"]["id"]), report["video"].get("title")
            vectors = {"pictured": pictures(report), "worded": worded(report)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s cannot be searched: %s", id, error)
            return
        with self._change() as db:
            _remove(db, id)
            db.execute("INSERT INTO indexed VALUES (?, ?, ?, ?)", (id, written, *facts))
            for table, made in vectors.items():
                row = (made[0], json.dumps(made[1]), made[2]) if made else (None,) * 3
                db.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?)", (id, written, *row))
            db.executemany(
                "INSERT INTO passages (result, kind, analyzer, start, end, words)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                ((id, *one[:4], spaced(one.text)) for one in found),
            )


def _remove(db: sqlite3.Connection, id: str) -> None:
    for table in ("passages", "indexed", "pictured", "worded"):
        db.execute(f"DELETE FROM {table} WHERE result = ?", (id,))


def _hit(row: sqlite3.Row) -> Hit:
    names = ("result", "video_id", "title", "kind", "analyzer", "start", "end")
    snippet = unspaced(row["snippet"])
    return Hit(snippet=snippet, score=round(-row["rank"], 4), **{n: row[n] for n in names})


class Placed(NamedTuple):
    """Vectors of a report, signed bytes, and what each is of: of a picture the shot [start, end) and
    time, of a passage the passage."""

    checkpoint: str
    places: list[Any]
    vectors: bytes


def checkpoint_of(model: Mapping[str, Any]) -> str:
    """One checkpoint's name: vectors of others lie in other spaces."""
    return f"{model['id']}@{model.get('revision') or ''}"


def pictures(report: Mapping[str, Any]) -> Placed | None:
    """The vectors that CLIP has made of a report's pictures; None where it was not there."""
    made, model = _made(report, "content_quality", "embeddings")
    if not made:
        return None
    shots = [(e["start"], e["end"]) for e in report["timeline"] if e["kind"] == "shot"]
    shots = shots or [(0.0, report["video"]["duration_s"])]
    starts = [start for start, _ in shots]
    places = [(*shots[max(0, bisect.bisect_right(starts, t + 1e-6) - 1)], t) for t in made["times"]]
    return _placed(model, places, made)


def worded(report: Mapping[str, Any]) -> Placed | None:
    """The vectors of a report's passages; None where the sentence encoder was not there."""
    made, model = _made(report, "cross_analyzer_intelligence", "passages")
    return _placed(model, made["passages"], made) if made else None


def _made(report: Mapping[str, Any], analyzer: str, part: str) -> tuple[Any, Any]:
    """A part of an analyzer's output with the model that made it; None for both without either."""
    section = report["analyzers"].get(analyzer) or {}
    made, model = (section.get("output") or {}).get(part), section.get("model")
    return (made, model) if made and model else (None, None)


def _placed(model: Mapping[str, Any], places: list[Any], made: Mapping[str, Any]) -> Placed:
    vectors = base64.b64decode(made["data"])
    if len(vectors) != len(places) * made["width"]:
        raise ValueError("vectors are not as many as what they are of")
    return Placed(checkpoint_of(model), places, vectors)


def _cosine(one: tuple[float, sqlite3.Row, Any]) -> float:
    return one[0]


def _cosines(row: sqlite3.Row, vector: NDArray[np.float32]) -> tuple[list[float], list[Any]]:
    """The cosines of a result's vectors with another, and what each is of; none of another width."""
    places = json.loads(row["places"])
    known = np.frombuffer(row["vectors"], np.int8).astype(np.float32)
    if len(known) != len(places) * len(vector):
        return [], []
    known = known.reshape(len(places), len(vector))
    lengths = np.linalg.norm(known, axis=1) * np.linalg.norm(vector)
    return (known @ vector / np.maximum(lengths, 1e-12)).tolist(), places


def _shots_of(
    row: sqlite3.Row, vector: NDArray[np.float32]
) -> Iterator[tuple[float, tuple[float, float, float]]]:
    """Each shot of a result with the cosine and the time of its likest picture."""
    cosines, places = _cosines(row, vector)
    best: dict[tuple[float, float], int] = {}
    for k, (start, end, _) in enumerate(places):
        shot = (start, end)
        if shot not in best or cosines[k] > cosines[best[shot]]:
            best[shot] = k
    yield from ((cosines[k], places[k]) for k in best.values())


def _related(cosine: float, row: sqlite3.Row, passage: Mapping[str, Any]) -> Related:
    facts = {name: row[name] for name in ("result", "video_id", "title")}
    return Related(**facts, **passage, cosine=round(cosine, 4))


def _shown(cosine: float, row: sqlite3.Row, place: tuple[float, float, float]) -> Shown:
    facts = {name: row[name] for name in ("result", "video_id", "title")}
    start, end, at = place
    return Shown(**facts, start=start, end=end, at=at, cosine=round(cosine, 4))


def passages(report: Mapping[str, Any]) -> Iterator[Passage]:
    """What can be found in a loaded report, each text once for each of its times."""
    seen: set[Passage] = set()
    for passage in _all(report):
        line = passage._replace(text=line_of(passage.text))
        if line.text and line not in seen:
            seen.add(line)
            yield line


def _all(report: Mapping[str, Any]) -> Iterator[Passage]:
    video = report["video"]
    for name in ("title", "uploader", "source", "id"):
        if video.get(name):
            yield Passage("about", "video", None, None, str(video[name]))
    for event in report["timeline"]:
        kind = OF_EVENTS.get(event["kind"])
        if kind is not None:
            yield Passage(kind, event["analyzer"], event["start"], event["end"], event["label"])
    yield from _beside_the_timeline(report["analyzers"])


def _beside_the_timeline(sections: Mapping[str, Any]) -> Iterator[Passage]:
    """What outputs tell of the whole, and descriptions in full."""
    outputs = {name: section.get("output") or {} for name, section in sections.items()}
    name = "qwen2_vl_temporal"
    described = outputs.get(name, {})
    for window in described.get("windows", ()):
        for part in ("setting", "people", "action", "visible_text", "mood"):
            if window.get(part):
                yield Passage("described", name, window["start"], window["end"], window[part])
    for part in ("title", "summary", "narrative"):
        if described.get(part):
            yield Passage("described", name, None, None, described[part])
    for tag in described.get("tags") or ():
        yield Passage("tag", name, None, None, tag)
    name = "cross_analyzer_intelligence"
    for tag in outputs.get(name, {}).get("tags", ()):
        first = min((e["start"] for e in tag.get("evidence", ())), default=None)
        yield Passage("tag", name, first, first, tag["tag"])
    name = "color_analysis"
    for swatch in outputs.get(name, {}).get("palette", ()):
        yield Passage("colour", name, None, None, f"{swatch['name']} {swatch['hex']}")


def matching(query: str) -> str:
    """A query as FTS5's: every word quoted, so that none is an operator. Raises ``NothingToFind``."""
    terms = []
    for phrase, word in re.findall(r'"([^"]*)"?|([^\s"]+)', query):
        text = phrase or word.rstrip("*")
        if re.search(r"\w", text):
            begins = "*" if word.endswith("*") else ""
            terms.append('"' + spaced(line_of(text)) + '"' + begins)
    if not terms:
        raise NothingToFind("the query contains no words")
    return " ".join(terms)


def spaced(text: str) -> str:
    """A text in which each character of scripts without spaces is a word."""
    return " ".join(re.sub(f"([{SCRIPTS}])", r" \1 ", text).split())


def unspaced(text: str) -> str:
    """The same without the spaces that ``spaced`` put there, marks of a snippet between or not."""
    return re.sub(rf"(?<=[{SCRIPTS}\]]) (?=[{SCRIPTS}\[])", "", text)
