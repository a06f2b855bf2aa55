"""Reports and pages as files. A report is never overwritten by a less complete one.

A report is named after its video. If there is already a report of the same video with output of analyzers
that the new one lacks (not selected, without weights, failed), or a file that is not a report, the new one
is written next to it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tiktok_ray.files import safe_name, write_whole
from tiktok_ray.report import NOT_SELECTED, VideoReport


class CannotWrite(Exception):
    """A folder cannot be written to; the message says why, ``advice`` what to do."""

    def __init__(self, message: str, advice: str = "choose another folder with --out") -> None:
        super().__init__(message)
        self.advice = advice


class Written(NamedTuple):
    """Where something was written, with a remark on the location, if any."""

    path: Path
    remark: str = ""


def check_folder(folder: Path) -> None:
    """Create the folder if needed, and check that it is writable. Raises ``CannotWrite``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise CannotWrite(f"{folder} cannot be written to: {error.strerror}") from None


def write_report(report: VideoReport, folder: Path) -> Written:
    """Write ``<video id>.json``, or a numbered file next to a more complete report of the same video.

    If the folder is no longer writable, the report goes to the system's temporary folder. Raises
    ``CannotWrite`` if that fails too.
    """
    text = report.to_json() + "\n"
    name = file_name(report)
    path, remark = _free_place(report, folder, name)
    try:
        return Written(write_whole(path, text), remark)
    except OSError as error:
        with suppress(OSError):
            aside = Path(tempfile.mkdtemp(prefix="tiktok-ray-report-")) / f"{name}.json"
            remark = (
                f"{path} cannot be written: {error.strerror}; the report was saved here instead"
            )
            return Written(write_whole(aside, text), remark)
        raise CannotWrite(f"{path} cannot be written: {error.strerror}") from None


def file_name(report: VideoReport) -> str:
    """The name, without suffix, of what is written about a video."""
    return safe_name(report.video.id)


def _free_place(report: VideoReport, folder: Path, name: str) -> tuple[Path, str]:
    """The first place whose report, if any, tells of no analyzer that this one leaves out."""
    remark = ""
    for path in _places(folder, name):
        lacking = _told_of(path) - _told(report) if path.exists() else set()
        if not lacking:
            return path, remark
        more = ", ".join(sorted(lacking))
        remark = remark or f"{path} was left unchanged: it also contains {more}"
    raise AssertionError("there is always another number")


def _places(folder: Path, name: str) -> Iterator[Path]:
    yield folder / f"{name}.json"
    number = 2
    while True:
        yield folder / f"{name}-{number}.json"
        number += 1


def _told(report: VideoReport) -> set[str]:
    sections = {name: section.model_dump() for name, section in report.analyzers.items()}
    return set(_measured(sections))


def _measured(sections: Mapping[str, Any]) -> Iterator[str]:
    """The analyzers that ran to an end of their own, whether or not they found anything."""
    for name, section in sections.items():
        idle = section["status"] == "skipped" and section.get("reason") != NOT_SELECTED
        if idle or section["status"] in ("ok", "partial"):
            yield name


def _told_of(path: Path) -> set[str]:
    """The analyzers that a report at this path tells of; what is not a report tells of the unknown."""
    try:
        sections = json.loads(path.read_text(encoding="utf-8"))["analyzers"]
        return set(_measured(sections))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {"something that is not a report"}
