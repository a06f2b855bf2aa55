"""What is known about a video file, and the error for files that cannot be analyzed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tiktok_ray.media.spans import Span
from tiktok_ray.report import Chapter, Color, Hdr, Repair, StreamInfo, Subtitle


class InputError(Exception):
    """The input cannot be analyzed. ``type`` is a stable identifier, ``advice`` says what to do."""

    def __init__(self, type: str, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.type = type
        self.advice = advice

    def __reduce__(self) -> tuple[Any, ...]:
        return InputError, (self.type, str(self), self.advice)


def too_long(seconds: float, limit: float) -> InputError:
    """The content of a file is longer than the limit."""
    return InputError(
        "too_long",
        f"{seconds:.0f} s long, the limit is {limit:.0f} s",
        "raise the setting TIKTOK_RAY_MAX_DURATION_S",
    )


def too_large(width: int, height: int, limit: int) -> InputError:
    """The frames of a file are larger than the limit."""
    return InputError(
        "too_large",
        f"frames of {width} x {height} exceed the limit of {limit} pixels",
        "raise the setting TIKTOK_RAY_MAX_PIXELS",
    )


@dataclass(frozen=True)
class Video:
    """Data of the container, corrected by decoding.

    ``duration_s`` ends with the last picture or the last sound, whichever is later;
    ``picture_end_s`` with the last picture. ``no_sound`` says why there is none,
    ``truncated_unknown`` why ``truncated`` is None.
    """

    duration_s: float
    width: int
    height: int
    fps: float
    variable_fps: bool
    frames: int | None
    has_audio: bool
    start_offset_s: float
    rotation: int
    video_codec: str
    audio_codec: str | None
    audio_channels: int | None
    audio_rate: int | None
    container: str
    size_bytes: int
    damaged_packets: int = 0
    truncated: bool | None = False
    truncated_unknown: str | None = None
    mirrored: bool = False
    picture_end_s: float | None = None
    frames_dropped: int = 0
    size_changes: int = 0
    clean_aperture: tuple[int, int] | None = None
    interlaced: bool = False
    alpha_over: str | None = None
    color: Color | None = None
    hdr: Hdr | None = None
    no_sound: str | None = None
    sound_mix: str | None = None
    sound_gain_db: float | None = None
    samples_silenced: int = 0
    silenced_share: float = 0.0
    streams: tuple[StreamInfo, ...] = ()
    repairs: tuple[Repair, ...] = ()
    chapters: tuple[Chapter, ...] = ()
    subtitles: tuple[Subtitle, ...] = ()

    @property
    def span(self) -> Span:
        return Span(0.0, self.duration_s)
