"""decord as the decoder where it is exact; elsewhere refused with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media.container import Contents, opened
from tiktok_ray.media.facts import InputError, Video
from tiktok_ray.settings import Settings

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Facts:
    """What is known of a file before it is decoded."""

    contents: Contents
    video: Video
    pixel_format: str


def objections(film: Facts, path: Path, settings: Settings) -> list[str]:
    """Why decord would give wrong frames or times for this file; empty where it is exact.

    decord rebases timestamps to zero, counts hidden frames, misplaces frames of open groups of
    pictures, and knows of display matrices only the rotation.
    """
    video = film.video
    reasons = []
    if video.video_codec != "h264":
        reasons.append(f"the codec is {video.video_codec}; only H.264 is known to be exact")
    if "mp4" not in video.container:
        reasons.append("the container is not MP4")
    if film.pixel_format not in ("yuv420p", "yuvj420p"):
        reasons.append(f"the pixel format is {film.pixel_format}")
    reasons += [repair.about for repair in video.repairs]
    if video.mirrored:
        reasons.append("the display matrix mirrors the video")
    if video.clean_aperture:
        reasons.append("a clean aperture crops the frames")
    if video.color and (video.color.converted or video.color.unreadable):
        reasons.append("the video is not BT.709 SDR")
    if sum(stream.kind == "video" for stream in video.streams) > 1:
        reasons.append("there are several video streams")
    key_pts, stamps, hidden, leading = None, [], 0, 0
    with opened(path, settings) as container:
        for packet in container.demux(container.streams[film.contents.video]):
            if packet.pts is None:
                continue
            hidden += bool(packet.is_discard)
            if packet.is_keyframe:
                key_pts = packet.pts
            elif key_pts is not None and packet.pts < key_pts:
                leading += 1
            stamps.append(packet.pts)
    if hidden:
        reasons.append(f"{hidden} frames are hidden by an edit list")
    if leading:
        reasons.append(f"groups of pictures are open ({leading} leading frames)")
    if stamps and min(stamps) != 0:
        reasons.append("the first frame is not at time zero")
    return reasons


def pictures(film: Facts, path: Path, settings: Settings) -> Iterator[tuple[float, float, Picture]]:
    """Start, end and RGB pixels of every frame, by decord. Raises ``InputError``."""
    reasons = objections(film, path, settings)
    if reasons:
        raise InputError(
            "decoder_refused",
            f"decord would be wrong on this file: {'; '.join(reasons)}",
            "leave out --decoder decord",
        )
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    stamps = reader.get_frame_timestamp(range(len(reader)))
    for start, end in stamps:
        yield float(start), float(end), _unpadded(reader.next().asnumpy())


def _unpadded(picture: Picture) -> Picture:
    """RGB [height, width, 3] of what decord2 3.4 returns: at some widths its rows are padded."""
    height, width = picture.shape[:2]
    return picture.reshape(height, -1)[:, : width * 3].reshape(height, width, 3)


def i420(picture: Picture, size: tuple[int, int]) -> Picture:
    """An RGB frame as I420 at an (even) size."""
    import cv2

    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    result: Picture = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2YUV_I420), np.uint8)
    return result
