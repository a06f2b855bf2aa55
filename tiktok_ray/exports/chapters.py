"""Chapters in FFmpeg's metadata format, which `ffmpeg -i` puts into a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tiktok_ray.exports import Report, line_of, output_of, title_of
from tiktok_ray.exports.raster import raster_of


class _Chapter(NamedTuple):
    start: float
    end: float
    title: str


def chapters(report: Report) -> str:
    """The file's own chapters, or else its scenes, in frames at the video's rate."""
    frames = raster_of(report)
    base = f"{frames.rate.denominator}/{frames.rate.numerator}"
    blocks = [f";FFMETADATA1\ntitle={_escaped(title_of(report))}\n"]
    for one in _own(report) or list(_scenes(report)):
        first, after = frames.span(one.start, one.end)
        blocks.append(
            f"[CHAPTER]\nTIMEBASE={base}\nSTART={first}\nEND={after}\ntitle={_escaped(one.title)}\n"
        )
    return "".join(blocks)


def _own(report: Report) -> list[_Chapter]:
    return [
        _Chapter(one["start"], one["end"], line_of(one.get("title") or f"Chapter {number}"))
        for number, one in enumerate(report["video"].get("chapters") or (), 1)
    ]


def _scenes(report: Report) -> Iterator[_Chapter]:
    """Scenes; a title says what a describer saw where it is longest, if one looked."""
    described = report["analyzers"].get("qwen2_vl_temporal", {}).get("output") or {}
    for number, scene in enumerate(output_of(report, "scene_segmentation")["scenes"], 1):
        start, end = scene["start"], scene["end"]
        seen = [
            (min(end, window["end"]) - max(start, window["start"]), said)
            for window in described.get("windows", ())
            if (said := window.get("action") or window.get("setting"))
        ]
        overlap, said = max(seen, default=(0.0, ""))
        title = f"Scene {number}: {said}" if overlap > 0 else f"Scene {number}"
        yield _Chapter(start, end, line_of(title))


def _escaped(text: str) -> str:
    return re.sub(r"([=;#\\])", r"\\\1", text)
