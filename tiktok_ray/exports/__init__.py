"""A report in the formats of other tools: editing, annotation, tables.

Every format takes the plain dictionaries of a loaded report. Times are told in frames at the
video's own rate; what a format cannot hold, or a report does not have, is an error that says so.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, NamedTuple, get_args

To = Literal[
    "otio", "edl", "fcpxml", "chapters", "csv", "coco", "cvat", "label-studio", "fiftyone",
    "jsonl", "text",
]  # fmt: skip
Report = Mapping[str, Any]


class CannotExport(Exception):
    """A report cannot be exported to a format; the message says why, ``advice`` what to do."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class Format(NamedTuple):
    """How files of one format are made, and what they are called. ``counts``: it numbers frames."""

    suffix: str
    media_type: str
    module: str
    maker: str
    about: str
    counts: bool = False

    @property
    def make(self) -> Callable[..., str]:
        """The function from a loaded report (and, where it ``counts``, the times of the frames) to
        the text of the file. Raises ``CannotExport``."""
        made: Callable[..., str] = getattr(
            import_module(f"tiktok_ray.exports.{self.module}"), self.maker
        )
        return made


FORMATS: dict[To, Format] = {
    "otio": Format(".otio", "application/json", "editing", "otio", "OpenTimelineIO: shots, marks"),
    "edl": Format(".edl", "text/plain", "editing", "edl", "CMX 3600 edit list: shots"),
    "fcpxml": Format(
        ".fcpxml", "application/xml", "fcpxml", "fcpxml", "Final Cut Pro XML 1.10: shots, marks"
    ),
    "chapters": Format(
        ".ffmetadata", "text/plain", "chapters", "chapters", "FFmpeg chapter file: scenes"
    ),
    "csv": Format(".csv", "text/csv", "tables", "csv", "The timeline as a table", True),
    "jsonl": Format(
        ".jsonl", "application/jsonl", "tables", "jsonl", "The timeline, one object per line", True
    ),
    "coco": Format(
        ".coco.json", "application/json", "boxes", "coco", "Bounding boxes in COCO format", True
    ),
    "cvat": Format(
        ".cvat.xml", "application/xml", "boxes", "cvat", "Tracks, CVAT for video 1.1", True
    ),
    "label-studio": Format(
        ".label-studio.json",
        "application/json",
        "boxes",
        "label_studio",
        "Tracks and time spans",
        True,
    ),
    "fiftyone": Format(
        ".fiftyone.json",
        "application/json",
        "boxes",
        "fiftyone",
        "ETA VideoLabels of FiftyOne",
        True,
    ),
    "text": Format(
        ".txt", "text/plain", "text", "text", "The whole report as compact text with timestamps"
    ),
}
assert set(FORMATS) == set(get_args(To))


def file_of(report: Report, to: To, times: Sequence[float] | None = None) -> str:
    """The text of a file, in UTF-8. Raises ``CannotExport``.

    ``times``: when the frames of the video begin, for formats that number them; without these they
    are numbered where the rate is constant (``wants_times``).
    """
    format = FORMATS[to]
    return format.make(report, times) if format.counts else format.make(report)


def wants_times(report: Report, to: To) -> bool:
    """Whether an export needs frame timestamps in addition to the report."""
    return FORMATS[to].counts and bool(report["video"].get("variable_fps"))


def output_of(report: Report, *names: str) -> Report:
    """The output of the first of these analyzers that has one. Raises ``CannotExport``."""
    sections = report["analyzers"]
    for name in names:
        output: Report | None = sections.get(name, {}).get("output")
        if output is not None:
            return output
    told = [
        f"{name} is {sections[name]['status']}: {sections[name].get('reason', 'no reason given')}"
        if name in sections
        else f"{name} is missing"
        for name in names
    ]
    raise CannotExport(
        f"this report lacks data that the format needs: {'; '.join(told)}",
        f"analyze the video again with {' or '.join(names)}",
    )


def line_of(text: str) -> str:
    """A text as one line valid in every format: no control characters, no lone surrogates."""
    held = text if text.isprintable() else "".join(map(_held, text))
    return " ".join(held.split())


def _held(character: str) -> str:
    kind = unicodedata.category(character)
    if kind == "Cc":
        return " " if character.isspace() else ""
    return "\ufffd" if kind == "Cs" or character in "\ufffe\uffff" else character


def title_of(report: Report) -> str:
    """The title of the video, in one line; its id if it has no title."""
    video = report["video"]
    return line_of(video.get("title") or "") or line_of(video["id"])


def media_name(report: Report) -> str:
    """The analyzed file: its path as given, or a file name for a URL."""
    video = report["video"]
    source: str = video["source"].encode("utf-8", "replace").decode()
    if "://" not in source:
        return source
    kinds = {"matroska": ".mkv", "webm": ".webm", "avi": ".avi", "flv": ".flv", "mpegts": ".ts"}
    id: str = line_of(video["id"])
    return id + kinds.get(video["container"].partition(",")[0], ".mp4")
