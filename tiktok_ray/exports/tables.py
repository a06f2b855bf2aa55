"""The timeline as a table: CSV (RFC 4180) and JSON Lines."""

from __future__ import annotations

import csv as csv_files
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from tiktok_ray.exports import Report, line_of
from tiktok_ray.exports.raster import raster_of

Times = Sequence[float] | None
COLUMNS = (
    "start_s", "end_s", "start_frame", "end_frame", "timecode", "kind", "label", "confidence",
    "analyzer", "track",
)  # fmt: skip


def csv(report: Report, times: Times = None) -> str:
    """One row per event, with a header. Unknown values are left empty."""
    file = io.StringIO()
    table = csv_files.DictWriter(file, COLUMNS, restval="")
    table.writeheader()
    table.writerows(rows(report, times))
    return file.getvalue()


def jsonl(report: Report, times: Times = None) -> str:
    """One object per event; unknown values are omitted."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(report, times))


def rows(report: Report, times: Times = None) -> Iterator[dict[str, Any]]:
    """Events in order of time. Frames count from 0; ``end_frame`` is the one after the last, equal
    to the first for an instant. Both only where they are known, the timecode only where the rate is constant."""
    frames = raster_of(report, times)
    for event in report["timeline"]:
        row: dict[str, Any] = {"start_s": event["start"], "end_s": event["end"]}
        if frames.counts:
            first, after = frames.frame(event["start"]), frames.frame(event["end"])
            row |= {"start_frame": first, "end_frame": after}
        if code := frames.timecode(event["start"]):
            row["timecode"] = code
        row |= {"kind": event["kind"], "label": line_of(event["label"])}
        yield row | {k: event[k] for k in ("confidence", "analyzer", "track") if k in event}
