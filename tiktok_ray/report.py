"""What is said about a video: outcomes of analyzers, timeline events, and the report itself.

Every field of every output says what it is: ``measured`` (computed from the signal by a stated
method), ``estimated`` (a model's opinion), ``derived`` (computed from other outputs) or
``setting`` (a parameter the run was made with). Fields are declared with the functions of the
same names below; a test refuses an output field that says nothing.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from tiktok_ray.json_text import json_text

log = logging.getLogger("tiktok_ray.report")

#: Of reports; CHANGELOG.md says what changed. ``reading`` reads the older ones.
SCHEMA_VERSION = "1.1"
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

    start: float = derived("First moment", unit="s", range="0..duration")
    end: float = derived("End; equal to start for an instant", unit="s", range="start..duration")
    kind: Kind = derived("Kind of event")
    label: str = derived("What it is, in words")
    confidence: float | None = derived(
        "Of the model that found it, where there is one", range="0..1", default=None
    )
    analyzer: str = derived("Who found it; `video` for what the file itself says")
    track: int | None = derived("Number of the track that it is about", default=None)


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

    part: str = derived("What of the output is missing")
    reason: str = derived("Why")
    lacks: list[str] | None = derived(
        "The analyzers for want of whose output it is missing; absent where it is not for that",
        default=None,
    )


class Coverage(Model):
    """How densely the media behind an output was sampled."""

    samples: int = measured("Number of samples read", range="0..", ge=0)
    span_s: float = measured("From the first to the end of the last sample", unit="s")
    max_gap_s: float = measured("Longest time between two samples", unit="s")
    short_px: int | None = measured(
        "Short side of the pictures read; absent for sound", unit="px", default=None
    )


class Limit(Model):
    """What an analyzer can have missed in this video, by how its media was sampled."""

    of: str = derived("What it looks for")
    shorter_than_s: float | None = derived(
        "Shorter ones can be missed", unit="s", range="0..", default=None
    )
    smaller_than_px: float | None = derived(
        "Smaller ones can be missed", unit="px of the video", range="0..", default=None
    )


class ModelUsed(Model):
    """The checkpoint behind an output."""

    id: str = setting("Its name; of several, joined by commas")
    revision: str | None = setting("Its revision, where one is recorded", default=None)
    variant: str = setting("Which of the analyzer's variants it makes")
    runtime: str | None = setting(
        "What it ran on: libraries with their versions, joined by commas", default=None
    )


class Section(Model):
    """One analyzer's part of the report."""

    status: Status = derived("How it ended")
    reason: str | None = derived("Why it is not `ok`", default=None)
    missing: list[Missing] | None = derived("Parts that could not be made", default=None)
    seconds: float = measured("At work", unit="s", default=0.0)
    queued_s: float = measured("Waiting for its turn", unit="s", default=0.0)
    started_s: float | None = measured(
        "When work began, from the source being a local file", unit="s", default=None
    )
    device: str | None = setting("`cpu` or `cuda`", default=None)
    model: ModelUsed | None = setting("The checkpoint behind it", default=None)
    cached: bool | None = derived(
        "Set where the output was known already, from an earlier run", default=None
    )
    coverage: Coverage | None = measured("How densely its media was sampled", default=None)
    limits: tuple[Limit, ...] | None = derived(
        "What it can have missed, sampled like this; absent where nobody has stated it",
        default=None,
    )
    output: SerializeAsAny[Output] | dict[str, Any] | None = derived(
        "What it found; absent where it found nothing out", default=None
    )


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

    id: str = derived("Its number at the platform, else the first 16 digits of `sha256`")
    sha256: str = measured("SHA-256 of the file")
    source: str = setting("The link or the name of the file that was asked for")
    title: str | None = measured("Its title, by the platform", default=None)
    uploader: str | None = measured("Who published it, by the platform", default=None)
    duration_s: float = measured("From the first displayed frame to the end of the last", unit="s")
    width: int = measured("Displayed width, after rotation and aspect", unit="px")
    height: int = measured("Displayed height, after rotation and aspect", unit="px")
    fps: float = measured("Mean frame rate", unit="frames/s")
    variable_fps: bool = measured("Whether the frame rate varies", default=False)
    frames: int | None = measured("Frames decoded", default=None)
    has_audio: bool = measured("Whether there is sound that can be heard out")
    start_offset_s: float = measured(
        "Audio before the first displayed frame, dropped", unit="s", range="0.."
    )
    rotation: int = measured(
        "By how much the stored pictures were turned counter-clockwise (after mirroring, where "
        "`mirrored`) to be upright: 270, a quarter clockwise, for most phones held upright",
        unit="degrees",
        range="0, 90, 180 or 270",
        default=0,
    )
    video_codec: str = measured("Codec of the pictures, by FFmpeg's name")
    audio_codec: str | None = measured("Codec of the sound, by FFmpeg's name", default=None)
    audio_channels: int | None = measured("Channels of the sound", default=None)
    audio_rate: int | None = measured("Sampling rate of the sound", unit="Hz", default=None)
    container: str = measured("Format of the file, by FFmpeg's names")
    size_bytes: int = measured("Size of the file", unit="bytes")
    damaged_packets: int = measured("Packets that could not be decoded", default=0)
    truncated: bool | None = measured(
        "Whether the file was cut off, by its header, its last packet or what its format ends with; "
        "null where none of them tells (MPEG-TS and PS that end between two packets, raw streams, "
        "live recordings), or its clock was repaired",
        default=False,
    )
    truncated_unknown: str | None = measured(
        "Why it is not known whether the file was cut off, where it is not", default=None
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
    repairs: tuple[Repair, ...] = measured(
        "What was put right in its clocks and sound, and pictures that are damaged", default=()
    )
    chapters: tuple[Chapter, ...] = measured("Chapters that the file names", default=())
    subtitles: tuple[Subtitle, ...] = measured("Subtitles in the file, as text", default=())
    metadata: dict[str, Any] | None = measured("What the platform says of it", default=None)

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


class Ground(Model):
    """What a sentence of the summary rests on."""

    analyzer: str = derived("An analyzer, or `video` for what the container says")
    start: float = derived("From when", unit="s", range="0..duration")
    end: float = derived("Until when; equal to start for an instant", unit="s")


class Statement(Model):
    """One sentence of the summary."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    about: str = derived("Its topic")
    text: str = derived("The sentence")
    grounds: list[Ground] = derived("What it rests on", alias="from")


class Summary(Model):
    """The report in plain sentences, each with what it rests on; and what was not measured."""

    measured: int = derived("Analyzers that gave something: `ok` or `partial`", range="0..of")
    of: int = derived("Analyzers that had something to do: all but those `skipped`")
    duration_s: float = derived("Of the video", unit="s")
    text: str = derived("All sentences, a paragraph a topic; empty where there are none")
    statements: list[Statement] = derived("The sentences, topic by topic")
    topics_not_measured: dict[str, str] = derived("Topics left out, with the reason")
    found: dict[str, str] = derived("What each analyzer found, in a line")
    not_measured: dict[str, str] = derived(
        "What gave nothing (`analyzer`, or `analyzer: part`), with the reason"
    )
    left_out: dict[str, list[int]] | None = derived(
        "By analyzer, the numbers of tracks of which neither the summary nor the timeline tells, since"
        " another analyzer denies them or the model is unsure; absent where there are none",
        default=None,
    )


class Planned(Model):
    """Where an analyzer was planned to run."""

    analyzer: str = setting("Its name")
    variant: str = setting("Which of its variants")
    device: str = setting("`cpu`, or `cuda:` and the number of the card")
    vram_gib: float = setting("Memory of the card, with the context of its process", unit="GiB")
    gpu_share: float = setting("The same as a share of what is usable of the card", range="0..1")
    ram_gib: float = setting("Memory of its process beside the card", unit="GiB")
    basis: str = setting("Whether these figures were `measured` or `estimated`")


class MemoryUse(Model):
    """Memory that a process took, beside what was planned for it."""

    peak_gib: float = measured("Peak of its memory (PSS)", unit="GiB")
    planned_gib: float | None = setting("Planned for it", unit="GiB", default=None)
    planned_vram_gib: float | None = setting("Planned on the card", unit="GiB", default=None)
    peak_vram_gib: float | None = measured("Peak on the card", unit="GiB", default=None)


class BatchItem(Model):
    """Which entry of a batch's manifest a report answers."""

    item: str = setting("Hash of the entry")
    source: str = setting("The entry as it was written")
    analyzed_at: str = measured("When the report was made, ISO 8601")


class Run(Model):
    """How the report was made: what it took, where everything ran, and with which versions."""

    wall_s: float = measured("From the file being there to the report", unit="s")
    startup_s: float = measured("Until the last model was loaded", unit="s")
    load_s: dict[str, float] = measured("Loading, by analyzer", unit="s")
    decode_s: float = measured("Decoding", unit="s")
    realtime_factor: float = derived("`wall_s` by the video's duration")
    cores: int = setting("CPU cores that analyzers shared")
    workers: str = setting("`ray`, `threads` or `processes`")
    decoder: str = setting("`pyav` or `decord`")
    plan: list[Planned] = setting("Where each analyzer was planned to run")
    waits_for: dict[str, list[str]] = setting("Which others each analyzer waited for")
    over_plan: list[str] = derived(
        "Analyzers whose process took more memory than was planned", default=[]
    )
    memory: dict[str, MemoryUse] = measured("Memory by process: `decoder`, and analyzers")
    versions: dict[str, str] = setting("Versions of what made the report")
    lost: list[Missing] | None = derived("Parts of the report that could not be made", default=None)
    batch: BatchItem | None = setting("The batch that it was made in, if any", default=None)


class VideoReport(Model):
    """The answer: one JSON about one video."""

    schema_version: str = setting("Version of this form", default=SCHEMA_VERSION)
    summary: Summary | None = derived(
        "In sentences; absent where it could not be made, as `run.lost` then says", default=None
    )
    video: VideoInfo = measured("The file, and where it came from")
    analyzers: dict[str, Section] = derived("A section of every analyzer, by name")
    timeline: list[Event] = derived("Events of all analyzers and of the file, by start")
    run: Run = measured("How the report was made")

    def plain(self) -> dict[str, Any]:
        """The report as JSON values; floats rounded to 1e-4, absent values left out."""
        return dict(rounded(self.model_dump(mode="json", exclude_none=True)))

    def to_json(self) -> str:
        """The same as text, as it stands in files."""
        return json_text(self.plain())

    def failed(self) -> list[str]:
        """Names of the analyzers that did not end as they should have."""
        bad = ("failed", "timed_out")
        return [name for name, section in self.analyzers.items() if section.status in bad]


def said(error: BaseException, most: int = 500) -> str:
    """An exception as ``Type: message``, of so many characters at most."""
    try:
        words = str(error).strip() or "no message"
    except Exception:  # noqa: BLE001 - an error that cannot say what it is
        words = "its message cannot be read"
    return f"{type(error).__name__}: {words}"[:most]


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
