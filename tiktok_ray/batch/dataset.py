"""Reports as tables: the dataset that a batch produces.

A destination holds ``reports/<video id>.json``, one for each video, and ``dataset/<table>/`` with
Parquet files of eight tables. Schemas are fixed (``SCHEMAS``) and described in docs/dataset.md.

A part is one file of each table under one name. ``videos`` is written last and is the commit: files
of other tables without their ``videos`` file are of no part and are removed by the next run. A
part made of others names them in its metadata (``replaces``), so that a crash between its commit
and the removal of the others leaves no video twice. ``failures`` is a single file, always whole.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from tiktok_ray.files import safe_name
from tiktok_ray.json_text import json_text

SCHEMA_VERSION = "1"
#: Videos in a part at most; parts of fewer than half of it are joined.
PART_VIDEOS = 4096
#: Stores where a file appears when its writer is closed and never before.
WHOLE_ON_CLOSE = frozenset(("s3", "gcs", "abfs"))
REPLACES = b"tiktok_ray.replaces"
PART = re.compile(r"part-.*\.parquet")

_TIME = pa.timestamp("us", tz="UTC")
_BOX = pa.list_(pa.float32(), 4)


def _schema(about: str, *fields: tuple[str, pa.DataType, str]) -> pa.Schema:
    return pa.schema(
        [pa.field(name, kind, metadata={"about": text}) for name, kind, text in fields],
        metadata={"about": about, "tiktok_ray.schema_version": SCHEMA_VERSION},
    )


_VIDEO = ("video_id", pa.string(), "Id of the video; its report is reports/<video_id>.json")
_SPAN = (
    ("start", pa.float64(), "Seconds from the first displayed frame"),
    ("end", pa.float64(), "End, likewise; equals start for an instantaneous event"),
)

SCHEMAS: Mapping[str, pa.Schema] = {
    "videos": _schema(
        "One row per video",
        _VIDEO,
        ("item", pa.string(), "Hash of the manifest entry it came from"),
        ("source", pa.string(), "The manifest entry verbatim"),
        ("sha256", pa.string(), "SHA-256 of the file"),
        ("title", pa.string(), "Title on the platform"),
        ("uploader", pa.string(), "Uploader on the platform"),
        ("duration_s", pa.float64(), "From the start of the first frame to the end of the last"),
        ("width", pa.int32(), "Displayed width, in pixels"),
        ("height", pa.int32(), "Displayed height, in pixels"),
        ("fps", pa.float64(), "Mean frame rate"),
        ("variable_fps", pa.bool_(), "Whether the frame rate varies"),
        ("frames", pa.int64(), "Frames decoded"),
        ("has_audio", pa.bool_(), "Whether there is sound"),
        ("rotation", pa.int32(), "Rotation in degrees, from the container"),
        ("container", pa.string(), "FFmpeg's names of the container format"),
        ("video_codec", pa.string(), "FFmpeg's name of the video codec"),
        ("audio_codec", pa.string(), "FFmpeg's name of the audio codec"),
        ("size_bytes", pa.int64(), "Size of the file"),
        ("damaged_packets", pa.int64(), "Packets that could not be decoded"),
        ("truncated", pa.bool_(), "Whether the file was cut off; null: unknown"),
        ("metadata", pa.string(), "The platform's metadata, as JSON"),
        ("summary", pa.string(), "The report's summary, as JSON"),
        ("wall_s", pa.float64(), "Seconds from the file being available to the report"),
        ("decode_s", pa.float64(), "Seconds of decoding"),
        ("analyzed_at", _TIME, "When the report was made"),
        ("version", pa.string(), "Version of tiktok_ray"),
    ),
    "analyzers": _schema(
        "One row per video and analyzer, including those that found nothing",
        _VIDEO,
        ("analyzer", pa.string(), "Name of the analyzer"),
        ("status", pa.string(), "ok, partial, skipped, unavailable, failed or timed_out"),
        ("reason", pa.string(), "Reason where the status is not ok"),
        ("missing", pa.string(), "Parts that could not be produced, as JSON"),
        ("seconds", pa.float64(), "Seconds of work"),
        ("queued_s", pa.float64(), "Seconds spent in the queue"),
        ("started_s", pa.float64(), "When work began, in seconds from the file being available"),
        ("device", pa.string(), "cpu or cuda"),
        ("model_id", pa.string(), "Checkpoint"),
        ("model_revision", pa.string(), "Revision of the checkpoint"),
        ("model_variant", pa.string(), "Variant of the analyzer"),
        ("cached", pa.bool_(), "Whether the output came from the cache"),
        ("samples", pa.int64(), "Number of frames or audio samples read"),
        ("max_gap_s", pa.float64(), "Longest gap between two of them, in seconds"),
        ("figures", pa.map_(pa.string(), pa.float64()),
         "Scalar figures of the output by path, such as cuts_per_minute"),
        ("output", pa.string(), "The output, as JSON"),
    ),
    "timeline": _schema(
        "One row per event of the merged timeline",
        _VIDEO,
        *_SPAN,
        ("kind", pa.string(), "Kind of event, such as cut, text or speech"),
        ("label", pa.string(), "What it is, as text"),
        ("confidence", pa.float64(), "The model's confidence, where it gives one"),
        ("analyzer", pa.string(), "The analyzer that found it"),
        ("track", pa.int64(), "Number of the track it refers to"),
    ),
    "words": _schema(
        "One row per spoken word",
        _VIDEO,
        ("segment", pa.int32(), "Index of its sentence, from 0"),
        ("word", pa.int32(), "Index within the video, from 0"),
        *_SPAN,
        ("text", pa.string(), "The word with its punctuation"),
        ("probability", pa.float64(), "The model's probability of the word"),
        ("language", pa.string(), "Language of the whole transcript"),
    ),
    "overlays": _schema(
        "One row per on-screen text",
        _VIDEO,
        *_SPAN,
        ("text", pa.string(), "The text"),
        ("kind", pa.string(), "Kind of text, judged by its position and motion"),
        ("confidence", pa.float64(), "Confidence of the recognition"),
        ("box", _BOX, "x0, y0, x1, y1 as fractions of the frame"),
    ),
    "tracks": _schema(
        "One row per tracked object, person or face",
        _VIDEO,
        ("analyzer", pa.string(), "The analyzer that tracked it"),
        ("track", pa.int64(), "Track number, as in the analyzer's output"),
        ("label", pa.string(), "COCO class; person; face"),
        ("confidence", pa.float64(), "Mean confidence over its detections"),
        *_SPAN,
        ("times", pa.list_(pa.float64()), "Times of its detections"),
        ("boxes", pa.list_(_BOX), "A bounding box for each: x0, y0, x1, y1 as fractions of the frame"),
    ),
    "embeddings": _schema(
        "One row per embedding",
        _VIDEO,
        ("analyzer", pa.string(), "The analyzer that computed it"),
        ("kind", pa.string(), "frame or face"),
        ("time", pa.float64(), "Time of the frame; null for a face"),
        ("track", pa.int64(), "Track of the face; null for a frame"),
        ("model", pa.string(), "Checkpoint"),
        ("vector", pa.list_(pa.float32()), "The embedding, of unit length"),
    ),
    "failures": _schema(
        "One row per manifest entry without a report of its own",
        ("item", pa.string(), "Hash of the entry"),
        ("position", pa.int64(), "Position in the manifest, from 1"),
        ("source", pa.string(), "The entry verbatim"),
        ("type", pa.string(), "A stable identifier, such as not_found, duplicate, blank or quarantined"),
        ("reason", pa.string(), "The reason, as text"),
        ("advice", pa.string(), "What to do about it"),
        ("attempts", pa.int32(), "Number of runs in which it failed"),
        ("deaths", pa.int32(), "Deaths of its decoder, or of the driver while it alone was in progress"),
        ("video_id", pa.string(), "For a duplicate, the id of the original video"),
        ("at", _TIME, "When it last failed"),
    ),
}  # fmt: skip
TABLES = tuple(SCHEMAS)
#: Tables that come in parts; ``videos`` is last since it commits.
IN_PARTS = (*(t for t in TABLES if t not in ("videos", "failures")), "videos")


# Rows of one report


def rows(report: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The rows that one report (as JSON) adds to each table except ``failures``."""
    outputs = {
        name: section["output"]
        for name, section in report["analyzers"].items()
        if section.get("output") is not None
    }
    made: dict[str, list[dict[str, Any]]] = {
        "videos": [_video(report)],
        "analyzers": [_analyzer(n, s) for n, s in sorted(report["analyzers"].items())],
        "timeline": [dict(event) for event in report["timeline"]],
        "words": list(_words(outputs.get("speech_transcription", {}))),
        "overlays": [dict(o) for o in outputs.get("text_overlay", {}).get("overlays", ())],
        "tracks": list(_tracks(outputs)),
        "embeddings": list(_embeddings(outputs, report["analyzers"])),
    }
    for table in made.values():
        for row in table:
            row["video_id"] = report["video"]["id"]
    return made


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _video(report: Mapping[str, Any]) -> dict[str, Any]:
    video, run = report["video"], report["run"]
    batch = run.get("batch", {})
    made_at = batch.get("analyzed_at")
    return {
        **video,
        "item": batch.get("item"),
        "source": batch.get("source", video["source"]),
        "metadata": _json(video.get("metadata")),
        "summary": _json(report.get("summary")),
        "wall_s": run.get("wall_s"),
        "decode_s": run.get("decode_s"),
        "analyzed_at": datetime.fromisoformat(made_at) if made_at else None,
        "version": run.get("versions", {}).get("tiktok_ray"),
    }


def _analyzer(name: str, section: Mapping[str, Any]) -> dict[str, Any]:
    model, coverage = section.get("model") or {}, section.get("coverage") or {}
    output = section.get("output")
    return {
        **section,
        "analyzer": name,
        "missing": _json(section.get("missing")),
        "model_id": model.get("id"),
        "model_revision": model.get("revision"),
        "model_variant": model.get("variant"),
        "samples": coverage.get("samples"),
        "max_gap_s": coverage.get("max_gap_s"),
        "figures": list(figures(output)) if output is not None else None,
        "output": _json(output),
    }


def figures(output: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, float]]:
    """Scalar numbers of an output, each with its path; lists are omitted."""
    for name, value in output.items():
        if isinstance(value, Mapping):
            yield from figures(value, f"{path}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{path}{name}", float(value)


def _words(transcript: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    count = 0
    for number, segment in enumerate(transcript.get("segments") or ()):
        for word in segment["words"]:
            yield {
                **word,
                "segment": number,
                "word": count,
                "language": transcript.get("language"),
            }
            count += 1


def _tracks(outputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for found in outputs.get("object_detection", {}).get("tracks", ()):
        start, end = found["seen"][0][0], found["seen"][-1][1]
        yield {**found, "analyzer": "object_detection", "start": start, "end": end}
    for person in outputs.get("body_pose", {}).get("persons", ()):
        yield {**person, "analyzer": "body_pose", "label": "person"}
    for face in outputs.get("age_estimation", {}).get("faces", ()):
        confidences = face["confidences"]
        mean = sum(confidences) / len(confidences) if confidences else None
        yield {**face, "analyzer": "age_estimation", "label": "face", "confidence": mean}


def _embeddings(
    outputs: Mapping[str, Any], sections: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    def model(name: str) -> str | None:
        return (sections[name].get("model") or {}).get("id")

    packed = outputs.get("content_quality", {}).get("embeddings")
    if packed:
        from actors.content_quality import Embeddings

        frames = Embeddings.model_validate(packed)
        for time, vector in zip(frames.times, frames.array().tolist(), strict=True):
            yield {"analyzer": "content_quality", "kind": "frame", "time": time, "vector": vector,
                   "model": model("content_quality")}  # fmt: skip
    for face in outputs.get("age_estimation", {}).get("faces", ()):
        if face.get("embedding"):
            yield {"analyzer": "age_estimation", "kind": "face", "track": face["track"],
                   "vector": face["embedding"], "model": model("age_estimation")}  # fmt: skip


def table(name: str, values: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table of the fixed schema; unknown keys are dropped."""
    return pa.Table.from_pylist(list(values), schema=SCHEMAS[name])


# The destination


class Destination:
    """A folder on a file system that pyarrow supports: a path, or a URI such as ``s3://…``.

    Files are written atomically: on local disks to a temporary file that is then renamed.
    """

    def __init__(self, where: str | Path | fs.FileSystem) -> None:
        if isinstance(where, fs.FileSystem):
            self.name, self.fs = where.type_name, where
        elif re.match(r"[a-z][a-z0-9+.-]*://", str(where)):
            inner, path = fs.FileSystem.from_uri(str(where))
            inner.create_dir(path, recursive=True)
            self.name, self.fs = str(where), fs.SubTreeFileSystem(path, inner)
        else:
            place = Path(where).expanduser().absolute()
            place.mkdir(parents=True, exist_ok=True)
            self.name = str(place)
            self.fs = fs.SubTreeFileSystem(str(place), fs.LocalFileSystem())
        base = self.fs.base_fs if isinstance(self.fs, fs.SubTreeFileSystem) else self.fs
        self._whole_on_close = base.type_name in WHOLE_ON_CLOSE
        self.local = Path(self.name) if isinstance(base, fs.LocalFileSystem) else None
        self._folders: set[str] = set()

    def files(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted."""
        chosen = fs.FileSelector(folder, allow_not_found=True)
        found = self.fs.get_file_info(chosen)
        return sorted(f.base_name for f in found if f.type == fs.FileType.File)

    def has(self, path: str) -> bool:
        return bool(self.fs.get_file_info([path])[0].type == fs.FileType.File)

    def read(self, path: str) -> bytes:
        with self.fs.open_input_stream(path) as file:
            return bytes(file.read())

    def write(self, path: str, data: bytes) -> None:
        """Write a file atomically, replacing an existing one."""
        self._ensure(str(PurePosixPath(path).parent))
        if self._whole_on_close:
            with self.fs.open_output_stream(path) as file:
                file.write(data)
            return
        self._ensure("tmp")
        part = f"tmp/{uuid.uuid4().hex}"
        with self.fs.open_output_stream(part) as file:
            file.write(data)
        self.fs.move(part, path)

    def _ensure(self, folder: str) -> None:
        if folder not in self._folders:
            self.fs.create_dir(folder, recursive=True)
            self._folders.add(folder)

    def remove(self, path: str) -> None:
        """Remove a file, if it exists."""
        if self.has(path):
            self.fs.delete_file(path)

    def put_aside(self, path: str) -> str:
        """Move a file to ``set-aside/`` without overwriting anything; returns its new path."""
        self._ensure(ASIDE)
        name, number = PurePosixPath(path), 1
        place = f"{ASIDE}/{name.name}"
        while self.has(place):
            number += 1
            place = f"{ASIDE}/{name.stem}-{number}{name.suffix}"
        self.fs.move(path, place)
        return place

    def sweep(self) -> None:
        """Remove partially written files after a crash. Only while nobody else writes."""
        if self.fs.get_file_info(["tmp"])[0].type == fs.FileType.Directory:
            self.fs.delete_dir("tmp")
        self._folders.discard("tmp")


#: Where files go that stand where reports should, and are none.
ASIDE = "set-aside"


def _report_path(video_id: str) -> str:
    return f"reports/{safe_name(video_id)}.json"


class Dataset:
    """The tables at a destination. One process writes; ``open`` it first.

    ``items`` maps the manifest's entries that are done to their videos.
    """

    def __init__(self, where: Destination) -> None:
        self.where = where
        self.items: dict[str, str] = {}
        self.sha256: dict[str, str] = {}
        self._parts: dict[str, int] = {}
        self._waiting: dict[str, list[pa.Table]] = {name: [] for name in IN_PARTS}
        self._videos: set[str] = set()
        self.set_aside: list[str] = []

    @property
    def waiting(self) -> int:
        """Videos that are not in a part yet."""
        return len(self._waiting["videos"])

    @property
    def videos(self) -> int:
        """Videos in all."""
        return len(self._videos)

    def has(self, video: str | None) -> bool:
        """Whether there is a video of that name."""
        return video in self._videos

    def open(self) -> int:
        """Recover from a crash and read the existing state; returns the number of reports recovered.

        Reports that reached no part are read and added; what cannot be read as a report is moved to
        ``set-aside/``, and its new place is in ``set_aside``.
        """
        self.where.sweep()
        self._mend_parts()
        for name in self._parts:
            found = self._read("videos", name, ["video_id", "item", "sha256"])
            for row in found.to_pylist():
                self._know(row["video_id"], row["item"], row["sha256"])
        mended = 0
        known = {_report_path(video) for video in self._videos}
        for file in self.where.files("reports"):
            if f"reports/{file}" in known or not file.endswith(".json"):
                continue
            try:
                report = json.loads(self.where.read(f"reports/{file}"))
                self._take(report)
            except (ValueError, LookupError, TypeError, AttributeError, pa.ArrowException):
                self.set_aside.append(self.where.put_aside(f"reports/{file}"))
            else:
                mended += 1
        return mended

    def _mend_parts(self) -> None:
        self._parts, replaced = {}, set()
        for file in self.where.files("dataset/videos"):
            try:
                with self.where.fs.open_input_file(f"dataset/videos/{file}") as opened:
                    facts = pq.read_metadata(opened)
            except pa.ArrowException:
                # Its videos come back from their reports.
                self.set_aside.append(self.where.put_aside(f"dataset/videos/{file}"))
                continue
            self._parts[file] = facts.num_rows
            replaced |= set(json.loads((facts.metadata or {}).get(REPLACES, b"[]")))
        for file in replaced & set(self._parts):
            self.where.remove(f"dataset/videos/{file}")
            del self._parts[file]
        for name in IN_PARTS[:-1]:
            for file in self.where.files(f"dataset/{name}"):
                if file not in self._parts and PART.fullmatch(file):
                    self.where.remove(f"dataset/{name}/{file}")

    def _know(self, video: str, item: str | None, sha256: str) -> None:
        self._videos.add(video)
        self.sha256[sha256] = video
        if item is not None:
            self.items[item] = video

    def _read(self, name: str, part: str, columns: list[str] | None = None) -> pa.Table:
        with self.where.fs.open_input_file(f"dataset/{name}/{part}") as file:
            return pq.read_table(file, columns=columns)

    def add(self, report: Mapping[str, Any]) -> None:
        """Write the report of a video, and buffer its rows for the next part."""
        text = json_text(report) + "\n"
        self.where.write(_report_path(report["video"]["id"]), text.encode())
        self._take(report)

    def _take(self, report: Mapping[str, Any]) -> None:
        made = {name: table(name, values) for name, values in rows(report).items()}
        for name, found in made.items():
            self._waiting[name].append(found)
        video = report["video"]
        item = report["run"].get("batch", {}).get("item")
        self._know(video["id"], item, video["sha256"])

    def flush(self) -> None:
        """Write the buffered rows as a part, and merge parts if there are many small ones."""
        if self.waiting:
            waiting = {name: pa.concat_tables(found) for name, found in self._waiting.items()}
            self._write_part(waiting, ())
            self._waiting = {name: [] for name in IN_PARTS}
        if len(self._small()) > 16:
            self.compact()

    def _write_part(self, tables: Mapping[str, pa.Table], replaces: Iterable[str]) -> None:
        name = f"part-{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:8]}.parquet"
        for kind in IN_PARTS:
            found = tables[kind]
            if kind == "videos":
                known = {**(found.schema.metadata or {}), REPLACES: json.dumps([*replaces])}
                found = found.replace_schema_metadata(known)
            self.where.write(f"dataset/{kind}/{name}", parquet(found))
        self._parts[name] = tables["videos"].num_rows

    def _small(self) -> list[str]:
        return [name for name, videos in self._parts.items() if videos < PART_VIDEOS // 2]

    def compact(self) -> None:
        """Merge small parts, each video once: of several, the most recently analyzed."""
        batch: list[str] = []
        for name in sorted(self._small()):
            batch.append(name)
            if sum(self._parts[n] for n in batch) >= PART_VIDEOS:
                self._join(batch)
                batch = []
        if len(batch) > 1:
            self._join(batch)

    def _join(self, names: list[str]) -> None:
        import pyarrow.compute as pc

        winners: dict[str, int] = {}
        for k, name in enumerate(names):
            for video in self._read("videos", name, ["video_id"])["video_id"].to_pylist():
                winners[video] = k
        joined = {}
        for kind in IN_PARTS:
            kept = []
            for k, name in enumerate(names):
                found = self._read(kind, name)
                mine = pa.array([v for v, owner in winners.items() if owner == k], pa.string())
                kept.append(found.filter(pc.is_in(found["video_id"], value_set=mine)))
            joined[kind] = pa.concat_tables(kept).replace_schema_metadata(SCHEMAS[kind].metadata)
        self._write_part(joined, names)
        for kind in reversed(IN_PARTS):
            for name in names:
                self.where.remove(f"dataset/{kind}/{name}")
        for name in names:
            del self._parts[name]

    def failures(self) -> list[dict[str, Any]]:
        """The rows of ``failures`` as they are at the destination."""
        path = "dataset/failures/failures.parquet"
        if not self.where.has(path):
            return []
        return list(self._read("failures", "failures.parquet").to_pylist())

    def write_failures(self, values: Iterable[Mapping[str, Any]]) -> None:
        """Replace the table ``failures``."""
        self.where.write("dataset/failures/failures.parquet", parquet(table("failures", values)))


def measured_seconds(where: Destination, parts: int = 4) -> dict[str, float]:
    """Mean seconds of one video for each analyzer, by the latest parts at a destination."""
    seconds: dict[str, list[float]] = {}
    for part in where.files("dataset/analyzers")[-parts:]:
        with where.fs.open_input_file(f"dataset/analyzers/{part}") as file:
            found = pq.read_table(file, columns=["analyzer", "status", "seconds", "cached"])
        for row in found.to_pylist():
            if row["status"] in ("ok", "partial") and not row["cached"] and row["seconds"]:
                seconds.setdefault(row["analyzer"], []).append(row["seconds"])
    return {name: sum(values) / len(values) for name, values in seconds.items()}


def parquet(found: pa.Table) -> bytes:
    """A table as one Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(found, sink, compression="zstd")
    return bytes(sink.getvalue())
