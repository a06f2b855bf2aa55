"""Frames of a video at given times, and the timestamps of its frames, read in a separate process."""

from __future__ import annotations

import base64
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from tiktok_ray import media
from tiktok_ray.media.probing import answer_with, read_apart
from tiktok_ray.settings import Settings

QUALITY = 88


class Still(NamedTuple):
    """A frame: its timestamp in seconds, its size in pixels, and the JPEG."""

    time: float
    width: int
    height: int
    jpeg: bytes


def stills(path: Path, times: Collection[float], short: int, settings: Settings) -> list[Still]:
    """The frames shown at the given times, in order, each once; ``short`` bounds the short side.

    Raises ``InputError`` as ``probing.probed`` does.
    """
    call = ("pictures", path, list(times), short, settings)
    found = read_apart("tiktok_ray.media.stills", path, call, settings)
    return [
        Still(one["time"], one["width"], one["height"], base64.b64decode(one["jpeg"]))
        for one in found["stills"]
    ]


def frame_times(path: Path, settings: Settings) -> list[float]:
    """When each frame begins, in seconds from the first. Raises ``InputError``."""
    found = read_apart("tiktok_ray.media.stills", path, ("times", path, settings), settings)
    return [float(t) for t in found["times"]]


def _answer(what: str, path: Path, *more: Any) -> dict[str, Any]:
    return _pictures(path, *more) if what == "pictures" else _times(path, *more)


def _times(path: Path, settings: Settings) -> dict[str, Any]:
    return {"times": media.frame_times(path, settings)}


def _pictures(path: Path, times: list[float], short: int, settings: Settings) -> dict[str, Any]:
    import cv2

    frames = media.pictures_at(path, times, short, settings)
    made = []
    for k, t in enumerate(frames.times):
        picture = cv2.cvtColor(frames.rgb(k), cv2.COLOR_RGB2BGR)
        good, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        assert good
        height, width = picture.shape[:2]
        jpeg = base64.b64encode(data.tobytes()).decode()
        made.append({"time": float(t), "width": width, "height": height, "jpeg": jpeg})
    return {"stills": made}


if __name__ == "__main__":
    answer_with(_answer)
