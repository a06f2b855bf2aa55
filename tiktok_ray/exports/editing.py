"""The shots of a video as a timeline for editors: OpenTimelineIO, and CMX 3600 by its adapter.

A clip a shot, cut from the one file. Dissolves and fades are in its pictures, so that they are
marked and not made again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from urllib.parse import quote

import opentimelineio
from opentimelineio import schema
from opentimelineio.opentime import RationalTime, TimeRange

from tiktok_ray import __version__
from tiktok_ray.exports import CannotExport, Report, line_of, media_name, output_of, title_of
from tiktok_ray.exports.raster import TIMECODE_RATES, Raster, raster_of

#: Kinds of events that become marks, with the colour of each.
MARKED = {
    "transition": "PURPLE", "scene": "BLUE", "chapter": "BLUE", "text": "YELLOW",
    "speech": "GREEN", "subtitle": "GREEN", "moment": "RED",
}  # fmt: skip
REEL_CHARS = 8


def otio(report: Report) -> str:
    """A timeline in OpenTimelineIO's JSON: one clip per shot, the sound, and markers."""
    text: str = opentimelineio.adapters.write_to_string(timeline(report), "otio_json")
    return text


def edl(report: Report) -> str:
    """A CMX 3600 list: one event per shot. Source and record times start at 00:00:00:00.

    Raises ``CannotExport`` for a rate that has no timecode.
    """
    frames = raster_of(report)
    if frames.rate not in TIMECODE_RATES:
        raise CannotExport(
            f"an edit list counts in timecode, which {float(frames.rate):g} frames per second does not have",
            "export to otio or fcpxml instead",
        )
    made = timeline(report, marked=False)
    for clip in made.find_clips():
        clip.metadata["cmx_3600"] = {"reel": _reel(report)}
    rate = float(frames.rate)
    text: str = opentimelineio.adapters.write_to_string(made, "cmx_3600", rate=rate, style="nucoda")
    title, _, events = text.partition("\n")
    count = "DROP FRAME" if frames.drops else "NON-DROP FRAME"
    remark = "" if frames.steady else f"* {_conformed(frames)}\n"
    return f"{title}\nFCM: {count}\n{events}{remark}"


def timeline(report: Report, *, marked: bool = True) -> schema.Timeline:
    """The timeline. Raises ``CannotExport`` if shots are not known."""
    frames = raster_of(report)
    shots = shots_of(report, frames)
    video = report["video"]
    made = schema.Timeline(title_of(report))
    made.global_start_time = _time(0, frames)
    made.metadata["tiktok_ray"] = {
        "version": __version__,
        "source": video["source"],
        "sha256": video["sha256"],
        "fps_measured": video["fps"],
        "variable_fps": not frames.steady,
    } | ({} if frames.steady else {"remark": _conformed(frames)})
    pictures = schema.Track("V1", kind=schema.TrackKind.Video)
    made.tracks.append(pictures)
    for number, (first, after) in enumerate(shots, 1):
        pictures.append(_clip(f"Shot {number}", report, frames, first, after))
    if video["has_audio"]:
        sound = schema.Track("A1", kind=schema.TrackKind.Audio)
        sound.append(_clip("Sound", report, frames, 0, shots[-1][1]))
        made.tracks.append(sound)
    if marked:
        made.tracks.markers.extend(_marks(report, frames))
    return made


def shots_of(report: Report, frames: Raster) -> list[tuple[int, int]]:
    """Shots in frames, each to the first of the next, without gaps."""
    shots = output_of(report, "cut_analysis")["shots"]
    starts = sorted({frames.span(shot["start"], shot["end"])[0] for shot in shots} | {0})
    return list(zip(starts, [*starts[1:], max(frames.total, starts[-1] + 1)], strict=True))


def url_of(name: str) -> str:
    """A path as a URL: ``file:`` where it is absolute, else relative to the exported file."""
    path = PurePath(name)
    return path.as_uri() if path.is_absolute() else quote(name)


def _clip(name: str, report: Report, frames: Raster, first: int, after: int) -> schema.Clip:
    whole = TimeRange(_time(0, frames), _time(frames.total, frames))
    source = schema.ExternalReference(url_of(media_name(report)), whole)
    source.name = line_of(PurePath(media_name(report)).name)
    part = TimeRange(_time(first, frames), _time(after - first, frames))
    return schema.Clip(name, source, part)


def _time(frame: int, frames: Raster) -> RationalTime:
    return RationalTime(frame, float(frames.rate))


def _marks(report: Report, frames: Raster) -> Iterator[schema.Marker]:
    for event in report["timeline"]:
        if event["kind"] in MARKED:
            first, after = frames.span(event["start"], event["end"])
            about = {
                k: event[k]
                for k in ("analyzer", "kind", "start", "end", "confidence")
                if k in event
            }
            yield schema.Marker(
                name=line_of(event["label"]),
                marked_range=TimeRange(_time(first, frames), _time(after - first, frames)),
                color=MARKED[event["kind"]],
                metadata={"tiktok_ray": about},
            )


def _reel(report: Report) -> str:
    """A name of at most eight letters and digits, as CMX 3600 has them."""
    stem = PurePath(media_name(report)).stem
    return re.sub(r"[^A-Za-z0-9]", "", stem)[:REEL_CHARS].upper() or "AX"


def _conformed(frames: Raster) -> str:
    return (
        "The frames of this file are not evenly spaced: times are to the nearest frame of "
        f"{float(frames.rate):.5g} per second, to which an editor conforms it"
    )
