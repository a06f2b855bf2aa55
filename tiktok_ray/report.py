"""What is said about a video: outcomes of analyzers, timeline events, and the report itself.

Every field of every output says what it is: ``measured`` (computed from the signal by a stated
method), ``estimated`` (a model's opinion), ``derived`` (computed from other outputs) or
``setting`` (a parameter the run was made with). Fields are declared with the functions of the
same names below; a test refuses an output field that says nothing.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

log = logging.getLogger("tiktok_ray.report")

SCHEMA_VERSION = "1.0"
#: Why an analyzer that nobody asked for is skipped.
NOT_SELECTED = "not selected"

Status = Literal["ok", "partial", "skipped", "unavailable", "failed", "timed_out"]
Kind = Literal[
    "shot", "cut", "transition", "scene", "text", "speech", "object", "person", "face", "blink",
    "gesture", "camera", "sound", "silence", "beat", "pause", "emotion", "description", "moment",
    "insight", "color", "subtitle", "chapter",
]  # fmt: skip
Basis = Literal["measured", "estimated", "derived", "setting"]


def _declare(
    basis: Basis, about: str, unit: str | None, range: str | None, method: str | None, **more: Any
) -> Any:
    extra: dict[str, Any] = {"basis": basis}
    extra |= {k: v for k, v in (("unit", unit), ("range", range), ("method", method)) if v}
    return Field(description=about, json_schema_extra=extra, **more)


def measured(
    about: str,
    *,
    unit: str | None = None,
    range: str | None = None,
    method: str | None = None,
    **more: Any,
) -> Any:
    """A field computed from the signal by a stated method."""
    return _declare("measured", about, unit, range, method, **more)


def estimated(
    about: str,
    *,
    unit: str | None = None,
    range: str | None = None,
    method: str | None = None,
    **more: Any,
) -> Any:
    """A field that is a model's opinion."""
    return _declare("estimated", about, unit, range, method, **more)


def derived(
    about: str,
    *,
    unit: str | None = None,
    range: str | None = None,
    method: str | None = None,
    **more: Any,
) -> Any:
    """A field computed from other outputs or fields."""
    return _declare("derived", about, unit, range, method, **more)


def setting(about: str, *, unit: str | None = None, range: str | None = None, **more: Any) -> Any:
    """A parameter the output was made with; the same for every video."""
    return _declare("setting", about, unit, range, None, **more)


class Model(BaseModel):
    """Frozen, closed, and free of NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Timed(Model):
    """Something with an extent in time."""

    start: float = measured("First moment", unit="s", range="0..duration")
    end: float = measured("End; equal to start for an instant", unit="s", range="start..duration")

    @property
    def span(self) -> tuple[float, float]:
        return self.start, self.end


class Evidence(Model):
    """What a finding rests on: something one analyzer found, and when."""

    analyzer: str = derived("Name of the analyzer that found it")
    start: float = derived("First moment of it", unit="s", range="0..duration")
    end: float = derived("Its end; equal to start for an instant", unit="s")
    what: str = derived("What was found, in that analyzer's words")


class Event(Model):
    """One entry of the merged timeline."""

    start: float
    end: float
    kind: Kind
    label: str
    confidence: float | None = None
    analyzer: str
    track: int | None = None


class Output(Model):
    """What one analyzer found. Subclasses declare their fields and say how they read."""

    def headline(self) -> str:
        """What was found, in a few words, for the live table and the summary."""
        raise TypeError(f"{type(self).__name__} has no headline")

    def events(self) -> Iterable[Event]:
        """Contributions to the merged timeline, in any order."""
        return ()


def headline(name: str, output: Output) -> str:
    """What an output says of itself in a line; nothing where it fails to."""
    try:
        return output.headline()
    except Exception as error:
        log.error("%s has no headline", name, exc_info=error)
        return ""


class Missing(Model):
    """A part of an analyzer's output that could not be made, and why."""

    part: str
    reason: str


class Coverage(Model):
    """How densely the media behind an output was sampled."""

    samples: int = Field(description="Number of samples read", ge=0)
    span_s: float = Field(description="Seconds from the first to the end of the last sample")
    max_gap_s: float = Field(description="Longest time between two samples, in seconds")


class ModelUsed(Model):
    """The checkpoint behind an output."""

    id: str
    revision: str | None = None
    variant: str


class Section(Model):
    """One analyzer's part of the report."""

    status: Status
    reason: str | None = None
    missing: list[Missing] | None = None
    seconds: float = 0.0
    queued_s: float = 0.0
    started_s: float | None = Field(
        None, description="When work began, in seconds from the source being a local file"
    )
    device: str | None = None
    model: ModelUsed | None = None
    cached: bool | None = None
    coverage: Coverage | None = None
    output: SerializeAsAny[Output] | dict[str, Any] | None = None


class StreamInfo(Model):
    """One stream of the file: what it is, and whether it was used."""

    index: int = measured("Its number in the file")
    kind: str = measured("`video`, `audio`, `subtitle`, `data` or `attachment`")
    codec: str | None = measured("Its codec, by FFmpeg's name or the file's own", default=None)
    language: str | None = measured("Its language, as the file tags it", default=None)
    title: str | None = measured("Its title, as the file tags it", default=None)
    default: bool = measured("Whether the file marks it as the default", default=False)
    used: bool = derived("Whether it was analyzed", default=False)
    reason: str | None = derived("Why it was used, or was not", default=None)


class Repair(Model):
    """Something the file says wrongly, and how it was put right."""

    kind: str = measured("A stable word for the kind of fault")
    count: int = measured("How often it was found", range="1..")
    about: str = measured("What was found, and what was done")


class Color(Model):
    """How the colours of the pictures are coded; `unspecified` where the file does not say."""

    primaries: str = measured("Colour primaries", method="ITU-T H.273")
    transfer: str = measured("Transfer characteristics", method="ITU-T H.273")
    matrix: str = measured("Matrix coefficients, guessed by size where unspecified")
    range: str = measured("`limited` or `full`")
    converted: str | None = derived(
        "What was converted, so that pictures are SDR of BT.709", default=None
    )
    unreadable: str | None = derived(
        "Why their colours cannot be told, where they cannot: pictures are grey then", default=None
    )


class Hdr(Model):
    """How pictures of a high dynamic range, or of a wide gamut, were made SDR."""

    transfer: str = measured("`PQ`, `HLG` or `SDR` (of a wide gamut)")
    peak_nits: float = measured("Brightest the pictures may be", unit="cd/m²", range="1..10000")
    peak_from: str = measured("What says so")
    method: str = derived("How they were mapped")


class Chapter(Timed):
    """A chapter that the file names."""

    title: str | None = measured("Its title", default=None)


class Subtitle(Timed):
    """A subtitle that the file carries as text."""

    text: str = measured("What it says")
    language: str | None = measured("The language its track is tagged with", default=None)
    stream: int = measured("Number of its stream")


class VideoInfo(Model):
    """What the container says, and where the video came from."""

    id: str
    sha256: str
    source: str
    title: str | None = None
    uploader: str | None = None
    duration_s: float = Field(description="From the first displayed frame to the end of the last")
    width: int = Field(description="Displayed width in pixels, after rotation and aspect")
    height: int = Field(description="Displayed height in pixels, after rotation and aspect")
    fps: float = Field(description="Mean frame rate, frames per second")
    variable_fps: bool = False
    frames: int | None = Field(None, description="Frames decoded")
    has_audio: bool
    start_offset_s: float = Field(description="Seconds of audio before the first displayed frame")
    rotation: int = measured(
        "By how much the stored pictures were turned counter-clockwise (after mirroring, where "
        "`mirrored`) to be upright: 270, a quarter clockwise, for most phones held upright",
        unit="degrees",
        range="0, 90, 180 or 270",
        default=0,
    )
    video_codec: str
    audio_codec: str | None = None
    audio_channels: int | None = None
    audio_rate: int | None = None
    container: str
    size_bytes: int
    damaged_packets: int = Field(0, description="Packets that could not be decoded")
    truncated: bool | None = Field(
        False,
        description="Whether the file ends before its header says it does; null where no header says"
        " how long it is (MPEG-TS and PS, raw streams, live recordings), or its clock was repaired",
    )
    mirrored: bool = measured("Whether its display matrix mirrors the pictures", default=False)
    picture_end_s: float | None = measured(
        "End of the last picture; sound may go on", unit="s", range="0..duration", default=None
    )
    frames_dropped: int = measured(
        "Pictures left out because their time does not come after that of the one before", default=0
    )
    size_changes: int = measured(
        "How often the shape of the pictures changes; others are fitted into the first one's, "
        "with black bars",
        default=0,
    )
    clean_aperture: tuple[int, int] | None = measured(
        "Width and height of what of the coded picture is shown", unit="px", default=None
    )
    interlaced: bool = measured(
        "Whether pictures were interlaced (and deinterlaced)", default=False
    )
    alpha_over: str | None = derived(
        "Ground of the pictures, where their format may be transparent", default=None
    )
    color: Color | None = measured("How its colours are coded", default=None)
    hdr: Hdr | None = derived("How its colours were made SDR, where they were not", default=None)
    no_sound: str | None = measured("Why there is no sound, where there is none", default=None)
    sound_mix: str | None = derived("How the channels became the mono that is heard", default=None)
    sound_gain_db: float | None = derived(
        "Change of level of the mono sound, where it went over full scale", unit="dB", default=None
    )
    samples_silenced: int = measured(
        "Samples that were no number, or over 24 dB above full scale, and were silenced", default=0
    )
    silenced_share: float = measured(
        "Share of all samples of the sound that `samples_silenced` are", range="0..1", default=0.0
    )
    streams: tuple[StreamInfo, ...] = measured("What streams the file has", default=())
    repairs: tuple[Repair, ...] = measured("What was put right in its clocks", default=())
    chapters: tuple[Chapter, ...] = measured("Chapters that the file names", default=())
    subtitles: tuple[Subtitle, ...] = measured("Subtitles in the file, as text", default=())
    metadata: dict[str, Any] | None = Field(None, description="What the platform says of it")

    def events(self) -> Iterator[Event]:
        """What the file itself tells of its course: chapters and subtitles."""
        for chapter in self.chapters:
            label = chapter.title or "chapter"
            yield Event(
                start=chapter.start, end=chapter.end, kind="chapter", label=label, analyzer="video"
            )
        for one in self.subtitles:
            yield Event(
                start=one.start, end=one.end, kind="subtitle", label=one.text, analyzer="video"
            )


class VideoReport(Model):
    """The answer: one JSON about one video."""

    schema_version: str = SCHEMA_VERSION
    video: VideoInfo
    analyzers: dict[str, Section]
    timeline: list[Event]
    summary: dict[str, Any]
    run: dict[str, Any]

    def to_json(self) -> str:
        """The report as JSON text; floats rounded to 1e-4, absent values left out."""
        return json.dumps(
            rounded(self.model_dump(mode="json", exclude_none=True)), ensure_ascii=False, indent=1
        )

    @classmethod
    def read(cls, path: Path) -> VideoReport:
        """Read a report that ``to_json`` wrote. Outputs come back as plain dictionaries."""
        return cls.model_validate_json(path.read_text(encoding="utf-8"))

    def failed(self) -> list[str]:
        """Names of the analyzers that did not end as they should have."""
        bad = ("failed", "timed_out")
        return [name for name, section in self.analyzers.items() if section.status in bad]


def said(error: BaseException) -> str:
    """An exception in a line."""
    return f"{type(error).__name__}: {error}"[:500]


def readable(text: str) -> str:
    """The text as it can be written; bytes of file names that are not UTF-8 become ``\\xNN``."""
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair that stands for no byte
        raw = text.encode("utf-8", "backslashreplace")
    return raw.decode("utf-8", "backslashreplace")


def rounded(value: Any, digits: int = 4) -> Any:
    """The same JSON value with every float rounded to ``digits`` decimals."""
    if isinstance(value, float):
        return round(value, digits) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: rounded(v, digits) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v, digits) for v in value]
    return value


def undeclared(model: type[BaseModel], seen: frozenset[type] = frozenset()) -> Iterator[str]:
    """Names of fields, nested ones included, that do not say what they rest on."""
    if model in seen:
        return
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        if not (isinstance(extra, dict) and extra.get("basis")):
            yield f"{model.__name__}.{name}"
        for inner in _models_in(field.annotation):
            yield from undeclared(inner, seen | {model})


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)
