"""The report on a video: outcomes of analyzers, timeline events, and the report itself.

Every field of every output declares its basis: ``measured`` (computed from the signal by a stated
method), ``estimated`` (a model's opinion), ``derived`` (computed from other outputs) or
``setting`` (a parameter the run was made with). Fields are declared with the functions of the
same names below; a test rejects undeclared output fields.
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

    start: float = measured("Start", unit="s", range="0..duration")
    end: float = measured(
        "End; equals start for an instantaneous event", unit="s", range="start..duration"
    )

    @property
    def span(self) -> tuple[float, float]:
        return self.start, self.end


class Evidence(Model):
    """Evidence for a finding: something one analyzer found, and when."""

    analyzer: str = derived("Name of the analyzer that found it")
    start: float = derived("When it starts", unit="s", range="0..duration")
    end: float = derived("When it ends; equals start for an instantaneous event", unit="s")
    what: str = derived("What was found, in that analyzer's words")


class Event(Model):
    """One entry of the merged timeline."""

    start: float = derived("Start", unit="s", range="0..duration")
    end: float = derived(
        "End; equals start for an instantaneous event", unit="s", range="start..duration"
    )
    kind: Kind = derived("Kind of event")
    label: str = derived("What it is, as text")
    confidence: float | None = derived(
        "Confidence of the model that found it, where it gives one", range="0..1", default=None
    )
    analyzer: str = derived("The analyzer that found it; `video` for data of the file itself")
    track: int | None = derived("Number of the track it refers to", default=None)


class Output(Model):
    """What one analyzer found. Subclasses declare their fields and how they are summarised."""

    def headline(self) -> str:
        """What was found, in a few words, for the live table and the summary."""
        raise TypeError(f"{type(self).__name__} has no headline")

    def events(self) -> Iterable[Event]:
        """Contributions to the merged timeline, in any order."""
        return ()


def headline(name: str, output: Output) -> str:
    """An output's one-line summary; empty if it fails to produce one."""
    try:
        return output.headline()
    except Exception as error:
        log.error("%s has no headline", name, exc_info=error)
        return ""


class Missing(Model):
    """A part of an analyzer's output that could not be produced, and why."""

    part: str = derived("Name of the missing part")
    reason: str = derived("Why")
    lacks: list[str] | None = derived(
        "Analyzers whose missing output is the cause; absent for other causes",
        default=None,
    )
    lacks_part: str | None = derived(
        "The part of those analyzers' outputs whose absence is the cause; absent where it is all of"
        " the output",
        default=None,
    )


class Coverage(Model):
    """How densely the media behind an output was sampled."""

    samples: int = measured("Number of frames or audio samples read", range="0..", ge=0)
    span_s: float = measured("Time from the first sample to the end of the last one", unit="s")
    max_gap_s: float = measured("Longest gap between two samples", unit="s")
    short_px: int | None = measured(
        "Short side of the frames read; absent for audio", unit="px", default=None
    )


class Limit(Model):
    """What an analyzer may have missed in this video, given how its media was sampled."""

    of: str = derived("What is being detected")
    shorter_than_s: float | None = derived(
        "Shorter ones may be missed", unit="s", range="0..", default=None
    )
    smaller_than_px: float | None = derived(
        "Smaller ones may be missed", unit="px of the video", range="0..", default=None
    )


class ModelUsed(Model):
    """The checkpoint that produced an output."""

    id: str = setting("Name of the checkpoint; several are comma-separated")
    revision: str | None = setting("Revision of the checkpoint, where recorded", default=None)
    variant: str = setting("Variant of the analyzer it belongs to")
    runtime: str | None = setting(
        "Inference runtime: libraries with their versions, comma-separated", default=None
    )


class Section(Model):
    """One analyzer's part of the report."""

    status: Status = derived("Status of the analyzer")
    reason: str | None = derived("Reason where the status is not `ok`", default=None)
    missing: list[Missing] | None = derived(
        "Parts of the output that could not be produced", default=None
    )
    seconds: float = measured("Time spent working", unit="s", default=0.0)
    queued_s: float = measured("Time spent in the queue", unit="s", default=0.0)
    started_s: float | None = measured(
        "When work began, from the moment the source was a local file", unit="s", default=None
    )
    device: str | None = setting("`cpu` or `cuda`", default=None)
    model: ModelUsed | None = setting("The checkpoint used", default=None)
    cached: bool | None = derived(
        "Set if the output was taken from the cache of an earlier run", default=None
    )
    coverage: Coverage | None = measured("How densely its media was sampled", default=None)
    limits: tuple[Limit, ...] | None = derived(
        "What it may have missed at this sampling; absent where this is not specified",
        default=None,
    )
    output: SerializeAsAny[Output] | dict[str, Any] | None = derived(
        "What it found; absent where it produced nothing", default=None
    )


class StreamInfo(Model):
    """One stream of the file: what it is, and whether it was used."""

    index: int = measured("Index of the stream in the file")
    kind: str = measured("`video`, `audio`, `subtitle`, `data` or `attachment`")
    codec: str | None = measured("Codec, by FFmpeg's name or the file's own", default=None)
    language: str | None = measured("Language tag in the file", default=None)
    title: str | None = measured("Title tag in the file", default=None)
    default: bool = measured("Whether the file marks it as the default", default=False)
    used: bool = derived("Whether it was analyzed", default=False)
    reason: str | None = derived("Why it was or was not used", default=None)


class Repair(Model):
    """An error in the file, and how it was repaired."""

    kind: str = measured("Stable identifier of the kind of fault")
    count: int = measured("Number of occurrences", range="1..")
    about: str = measured("What was found and how it was repaired")


class Color(Model):
    """How the colours are encoded; `unspecified` where the file does not say."""

    primaries: str = measured("Colour primaries", method="ITU-T H.273")
    transfer: str = measured("Transfer characteristics", method="ITU-T H.273")
    matrix: str = measured("Matrix coefficients, guessed from the frame size where unspecified")
    range: str = measured("`limited` or `full`")
    converted: str | None = derived("Conversions applied to obtain BT.709 SDR", default=None)
    unreadable: str | None = derived(
        "Why the colours cannot be decoded, in which case the frames are grey", default=None
    )


class Hdr(Model):
    """How HDR or wide-gamut frames were mapped to SDR."""

    transfer: str = measured("`PQ`, `HLG` or `SDR` (of a wide gamut)")
    peak_nits: float = measured("Peak luminance of the frames", unit="cd/m²", range="1..10000")
    peak_from: str = measured("Source of the peak luminance")
    method: str = derived("Tone-mapping method")


class Chapter(Timed):
    """A chapter in the file."""

    title: str | None = measured("Its title", default=None)


class Subtitle(Timed):
    """A text subtitle in the file."""

    text: str = measured("Text of the subtitle")
    language: str | None = measured("Language tag of its track", default=None)
    stream: int = measured("Index of its stream")


class VideoInfo(Model):
    """Data of the container, and the origin of the video."""

    id: str = derived("Id on the platform, or else the first 16 digits of `sha256`")
    sha256: str = measured("SHA-256 of the file")
    source: str = setting("The URL or file name that was requested")
    title: str | None = measured("Title on the platform", default=None)
    uploader: str | None = measured("Uploader on the platform", default=None)
    duration_s: float = measured(
        "From the start of the first displayed frame to the end of the last", unit="s"
    )
    width: int = measured("Displayed width, after rotation and aspect-ratio correction", unit="px")
    height: int = measured(
        "Displayed height, after rotation and aspect-ratio correction", unit="px"
    )
    fps: float = measured("Mean frame rate", unit="frames/s")
    variable_fps: bool = measured("Whether the frame rate varies", default=False)
    frames: int | None = measured("Frames decoded", default=None)
    has_audio: bool = measured("Whether there is usable audio")
    start_offset_s: float = measured(
        "Audio before the first displayed frame, dropped", unit="s", range="0.."
    )
    rotation: int = measured(
        "Counter-clockwise rotation that makes the stored frames upright (after mirroring, if "
        "`mirrored`): 270, a quarter turn clockwise, for most phones held upright",
        unit="degrees",
        range="0, 90, 180 or 270",
        default=0,
    )
    video_codec: str = measured("Video codec, by FFmpeg's name")
    audio_codec: str | None = measured("Audio codec, by FFmpeg's name", default=None)
    audio_channels: int | None = measured("Number of audio channels", default=None)
    audio_rate: int | None = measured("Audio sample rate", unit="Hz", default=None)
    container: str = measured("Container format, by FFmpeg's names")
    size_bytes: int = measured("Size of the file", unit="bytes")
    damaged_packets: int = measured("Packets that could not be decoded", default=0)
    truncated: bool | None = measured(
        "Whether the file is truncated, judged by its header, its last packet or its format's end "
        "marker; null where none of them tells (MPEG-TS and PS that end between two packets, raw streams, "
        "live recordings), or its timestamps were repaired",
        default=False,
    )
    truncated_unknown: str | None = measured(
        "Why `truncated` is unknown, where it is", default=None
    )
    mirrored: bool = measured("Whether its display matrix mirrors the frames", default=False)
    picture_end_s: float | None = measured(
        "End of the last frame; the sound may continue", unit="s", range="0..duration", default=None
    )
    frames_dropped: int = measured(
        "Frames dropped because their timestamp does not follow the previous one", default=0
    )
    size_changes: int = measured(
        "Number of changes of the frame size; other sizes are letterboxed into the first one",
        default=0,
    )
    clean_aperture: tuple[int, int] | None = measured(
        "Width and height of the displayed part of the coded frame", unit="px", default=None
    )
    interlaced: bool = measured(
        "Whether frames were interlaced (and have been deinterlaced)", default=False
    )
    alpha_over: str | None = derived(
        "Background colour, where the pixel format has transparency", default=None
    )
    color: Color | None = measured("How the colours are encoded", default=None)
    hdr: Hdr | None = derived(
        "How HDR or wide-gamut colours were mapped to SDR, where needed", default=None
    )
    no_sound: str | None = measured("Why there is no sound, if there is none", default=None)
    sound_mix: str | None = derived("How the channels were mixed down to mono", default=None)
    sound_gain_db: float | None = derived(
        "Gain applied to the mono mix, where it exceeded full scale", unit="dB", default=None
    )
    samples_silenced: int = measured(
        "Samples that were not finite, or more than 24 dB above full scale, and were silenced",
        default=0,
    )
    silenced_share: float = measured(
        "`samples_silenced` as a share of all audio samples", range="0..1", default=0.0
    )
    streams: tuple[StreamInfo, ...] = measured("The streams of the file", default=())
    repairs: tuple[Repair, ...] = measured(
        "Repairs to timestamps and sound, and damaged frames", default=()
    )
    chapters: tuple[Chapter, ...] = measured("Chapters in the file", default=())
    subtitles: tuple[Subtitle, ...] = measured("Text subtitles in the file", default=())
    metadata: dict[str, Any] | None = measured("The platform's metadata", default=None)

    def events(self) -> Iterator[Event]:
        """Events from the file itself: chapters and subtitles."""
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
    """Evidence for a sentence of the summary."""

    analyzer: str = derived("An analyzer, or `video` for data of the container")
    start: float = derived("Start", unit="s", range="0..duration")
    end: float = derived("End; equals start for an instantaneous event", unit="s")


class Statement(Model):
    """One sentence of the summary."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    about: str = derived("Topic of the sentence")
    text: str = derived("The sentence")
    grounds: list[Ground] = derived("Evidence for the sentence", alias="from")


class Summary(Model):
    """The report in plain sentences, each with its evidence; and what was not measured."""

    measured: int = derived("Analyzers that produced output: `ok` or `partial`", range="0..of")
    of: int = derived("Analyzers that had work to do: all except those `skipped`")
    duration_s: float = derived("Duration of the video", unit="s")
    text: str = derived("All sentences, one paragraph per topic; empty if there are none")
    statements: list[Statement] = derived("The sentences, topic by topic")
    topics_not_measured: dict[str, str] = derived("Topics left out, with the reason")
    found: dict[str, str] = derived("One line on what each analyzer found")
    not_measured: dict[str, str] = derived(
        "What produced nothing (`analyzer`, or `analyzer: part`), with the reason"
    )
    left_out: dict[str, list[int]] | None = derived(
        "By analyzer, the numbers of tracks left out of summary and timeline because another analyzer"
        " contradicts them or the model is unsure; absent if there are none",
        default=None,
    )


class Planned(Model):
    """Where an analyzer was planned to run."""

    analyzer: str = setting("Its name")
    variant: str = setting("Variant of the analyzer")
    device: str = setting("`cpu`, or `cuda:` and the index of the GPU")
    vram_gib: float = setting("GPU memory, including the CUDA context of its process", unit="GiB")
    gpu_share: float = setting("The same as a share of the GPU's usable memory", range="0..1")
    ram_gib: float = setting("Host memory of its process", unit="GiB")
    basis: str = setting("Whether these figures were `measured` or `estimated`")


class MemoryUse(Model):
    """Memory that a process used, next to what was planned for it."""

    peak_gib: float = measured("Peak memory (PSS)", unit="GiB")
    planned_gib: float | None = setting("Planned memory", unit="GiB", default=None)
    planned_vram_gib: float | None = setting("Planned GPU memory", unit="GiB", default=None)
    peak_vram_gib: float | None = measured("Peak GPU memory", unit="GiB", default=None)


class BatchItem(Model):
    """The entry of a batch's manifest that a report belongs to."""

    item: str = setting("Hash of the manifest entry")
    source: str = setting("The manifest entry verbatim")
    analyzed_at: str = measured("When the report was made, ISO 8601")


class Run(Model):
    """How the report was made: its cost, where everything ran, and with which versions."""

    wall_s: float = measured("Time from the file being available to the report", unit="s")
    startup_s: float = measured("Time until the last model was loaded", unit="s")
    load_s: dict[str, float] = measured("Loading time, by analyzer", unit="s")
    decode_s: float = measured("Decoding time", unit="s")
    realtime_factor: float = derived("`wall_s` divided by the video's duration")
    cores: int = setting("CPU cores shared by the analyzers")
    workers: str = setting("`ray`, `threads` or `processes`")
    decoder: str = setting("`pyav` or `decord`")
    plan: list[Planned] = setting("Where each analyzer was planned to run")
    waits_for: dict[str, list[str]] = setting("Analyzers that each analyzer waited for")
    over_plan: list[str] = derived(
        "Analyzers whose process used more memory than planned", default=[]
    )
    memory: dict[str, MemoryUse] = measured("Memory by process: `decoder` and the analyzers")
    versions: dict[str, str] = setting("Versions of the software that made the report")
    lost: list[Missing] | None = derived(
        "Parts of the report that could not be produced", default=None
    )
    batch: BatchItem | None = setting("The batch entry it belongs to, if any", default=None)


class VideoReport(Model):
    """The report: one JSON document about one video."""

    schema_version: str = setting("Version of the report schema", default=SCHEMA_VERSION)
    summary: Summary | None = derived(
        "The report in sentences; absent if it could not be produced, see `run.lost`", default=None
    )
    video: VideoInfo = measured("The file and its origin")
    analyzers: dict[str, Section] = derived("The section of each analyzer, by name")
    timeline: list[Event] = derived("Events of all analyzers and of the file, ordered by start")
    run: Run = measured("How the report was made")

    def plain(self) -> dict[str, Any]:
        """The report as JSON values; floats rounded to 1e-4, absent values left out."""
        return dict(rounded(self.model_dump(mode="json", exclude_none=True)))

    def to_json(self) -> str:
        """The same as text, as written to files."""
        return json_text(self.plain())

    def failed(self) -> list[str]:
        """Names of the analyzers that failed or timed out."""
        bad = ("failed", "timed_out")
        return [name for name, section in self.analyzers.items() if section.status in bad]


def said(error: BaseException, most: int = 500) -> str:
    """An exception as ``Type: message``, truncated to a maximum length."""
    try:
        words = str(error).strip() or "no message"
    except Exception:  # noqa: BLE001 - an error that cannot say what it is
        words = "its message is unreadable"
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
    """Names of fields, including nested ones, that do not declare their basis."""
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
