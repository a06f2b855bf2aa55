"""The input of a batch: URLs and paths from a file, a folder or standard input."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tiktok_ray.media import InputError
from tiktok_ray.net.fetch import MEDIA_SUFFIX, URL
from tiktok_ray.report import readable

#: Columns and keys that hold the source, the first that there is.
COLUMNS = ("source", "url", "path", "video", "file", "link")
ROWS_AT_ONCE = 10_000


class Entry(NamedTuple):
    """One entry: its place from 1, what is written there (readably), and where that is."""

    position: int
    source: str
    place: str

    @property
    def item(self) -> str:
        """The entry's id in every run: a hash of its text."""
        return item_of(self.source)


def item_of(source: str) -> str:
    """Id of a manifest entry, 16 hexadecimal digits."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def entries(manifest: str, column: str | None = None) -> Iterator[Entry]:
    """The entries of a manifest, including blank ones; its kind follows from the name.

    ``-`` is standard input; a folder stands for the media files under it; ``.csv``, ``.jsonl`` (or
    ``.ndjson``) and ``.parquet`` have the source in ``column``, or in the first of ``COLUMNS``
    that there is; anything else is read as lines, where ``#`` begins a comment. A relative path is
    looked for in the working folder, then beside the manifest. Raises ``InputError``.
    """
    if manifest == "-":
        yield from _placed(_lines(sys.stdin, column), Path.cwd())
        return
    path = Path(manifest)
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file() and MEDIA_SUFFIX.search(p.name))
        if not found:
            raise InputError("empty", f"no media files in {path}", "check the folder")
        yield from _placed((str(p) for p in found), Path.cwd())
        return
    if not path.is_file():
        raise InputError("not_found", f"the manifest {path} does not exist", "check the path")
    yield from _placed(_read(path, column), path.parent)


def _placed(sources: Iterable[str], beside: Path) -> Iterator[Entry]:
    for position, source in enumerate(sources, 1):
        text = source.strip()
        yield Entry(position, readable(text), _place(text, beside))


def _place(source: str, beside: Path) -> str:
    if not source or URL.match(source) or os.path.exists(source):
        return source
    place = os.path.join(beside, source)
    return place if os.path.exists(place) else source


def _read(path: Path, column: str | None) -> Iterator[str]:
    kind = path.suffix.lower()
    if kind == ".parquet":
        yield from _parquet(path, column)
        return
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        if kind == ".csv":
            yield from _csv(file, column)
        else:
            yield from _lines(file, column, json_lines=kind in (".jsonl", ".ndjson"))


def _lines(lines: Iterable[str], column: str | None, *, json_lines: bool = False) -> Iterator[str]:
    for line in lines:
        text = line.strip()
        if text.startswith("#"):
            continue
        if text.startswith(("{", '"')) or (json_lines and text):
            yield _of_json(text, column)
        else:
            yield text


def _of_json(text: str, column: str | None) -> str:
    """The source in one line of JSON; what is not understood stays as it is, to fail by name."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, dict):
        names = (column,) if column else COLUMNS
        value = next((value[name] for name in names if value.get(name)), None)
    return value if isinstance(value, str) else text


def _csv(file: Iterable[str], column: str | None) -> Iterator[str]:
    lines = csv.reader(file)
    header = next(lines, [])
    index = _column(header, column)
    if index is None:
        index = 0
        yield header[0] if header else ""
    for line in lines:
        yield line[index] if index < len(line) else ""


def _column(names: list[str], column: str | None) -> int | None:
    """Which column holds the source; None where there is no header. Raises ``InputError``."""
    lower = [name.strip().lower() for name in names]
    for wanted in (column.lower(),) if column else COLUMNS:
        if wanted in lower:
            return lower.index(wanted)
    if column:
        raise InputError("unsupported", f"no column named {column!r}", f"available: {names}")
    return None


def _parquet(path: Path, column: str | None) -> Iterator[str]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = list(file.schema_arrow.names)
        index = _column(names, column)
        if index is None:
            advice = f"available: {', '.join(names)}; choose with --column"
            raise InputError("unsupported", f"no column of {path.name} contains sources", advice)
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=[names[index]]):
            yield from (str(value or "") for value in batch.column(0).to_pylist())
