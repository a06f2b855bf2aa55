"""Final Cut Pro XML 1.10, by Apple's document type definition: one clip per shot, with markers.

Written here: the adapter of OpenTimelineIO leaves out the duration of a frame at
30000/1001 per second, and loses frames in reading (``findings/otio_fcpx_xml_whole_rates.sh``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from xml.etree import ElementTree

from tiktok_ray.exports import Report, line_of, media_name, title_of
from tiktok_ray.exports.editing import MARKED, shots_of, url_of
from tiktok_ray.exports.raster import Raster, raster_of

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n'


def fcpxml(report: Report) -> str:
    """A project with one sequence. All times are whole frames, as fractions of seconds."""
    frames = raster_of(report)
    name = title_of(report)
    whole = _seconds(frames.total, frames)
    counted = "DF" if frames.drops else "NDF"
    root = ElementTree.Element("fcpxml", version="1.10")
    _resources(root, report, frames)
    event = ElementTree.SubElement(ElementTree.SubElement(root, "library"), "event", name=name)
    project = ElementTree.SubElement(event, "project", name=name)
    sequence = ElementTree.SubElement(
        project, "sequence", format="r1", duration=whole, tcStart="0s", tcFormat=counted
    )
    spine = ElementTree.SubElement(sequence, "spine")
    marks = list(_marks(report, frames))
    for number, (first, after) in enumerate(shots_of(report, frames), 1):
        at = _seconds(first, frames)
        clip = ElementTree.SubElement(
            spine, "asset-clip", ref="r2", name=f"Shot {number}", offset=at, start=at,
            duration=_seconds(after - first, frames), format="r1", tcFormat=counted,
        )  # fmt: skip
        for frame, last, label, about in marks:
            if first <= frame < after:
                ElementTree.SubElement(
                    clip, "marker", start=_seconds(frame, frames),
                    duration=_seconds(min(last, after) - frame, frames), value=label, note=about,
                )  # fmt: skip
    ElementTree.indent(root)
    return HEAD + ElementTree.tostring(root, encoding="unicode") + "\n"


def _resources(root: ElementTree.Element, report: Report, frames: Raster) -> None:
    video = report["video"]
    resources = ElementTree.SubElement(root, "resources")
    size = {"width": str(video["width"]), "height": str(video["height"])}
    ElementTree.SubElement(
        resources, "format", {"id": "r1", "frameDuration": _seconds(1, frames), **size}
    )
    sound = {"hasAudio": "1", "audioSources": "1"} if video["has_audio"] else {}
    for name, field in (("audioChannels", "audio_channels"), ("audioRate", "audio_rate")):
        if sound and video.get(field):
            sound[name] = str(video[field])
    file = media_name(report)
    asset = ElementTree.SubElement(
        resources, "asset", sound, id="r2", name=line_of(PurePath(file).name), start="0s",
        duration=_seconds(frames.total, frames), hasVideo="1", format="r1",
    )  # fmt: skip
    ElementTree.SubElement(asset, "media-rep", kind="original-media", src=url_of(file))


def _marks(report: Report, frames: Raster) -> Iterator[tuple[int, int, str, str]]:
    for event in report["timeline"]:
        if event["kind"] in MARKED:
            about = f"{event['kind']}, by {event['analyzer']}"
            yield *frames.span(event["start"], event["end"]), line_of(event["label"]), about


def _seconds(frame: int, frames: Raster) -> str:
    """A number of frames as Apple writes times: a fraction over the rate's numerator."""
    rate = frames.rate
    return f"{frame * rate.denominator}/{rate.numerator}s" if frame else "0s"
