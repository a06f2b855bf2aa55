"""Probe a video file and decode it once into the tracks that analyzers read.

Times are seconds from the first displayed frame, from the file's own timestamps. Pictures are
upright and of square pixels; they are kept as planar YUV (I420, BT.601, limited range: half the
bytes of RGB) and converted on read. Memory is bounded whatever the length: sampling thins out,
and ``Coverage`` says so.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tiktok_ray import spans
from tiktok_ray.report import Coverage
from tiktok_ray.settings import Settings, TrackSettings
from tiktok_ray.spans import Span

AUDIO_RATE = 16_000
LEVEL_STEP_S = 0.1


def _fixed(array: Any) -> Any:
    """The same array, read-only, as every analyzer receives it."""
    array.flags.writeable = False
    return array


class InputError(Exception):
    """The input cannot be analyzed. ``type`` is a stable word, ``advice`` says what to do."""

    def __init__(self, type: str, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.type = type
        self.advice = advice

    def __reduce__(self) -> tuple[Any, ...]:
        return InputError, (self.type, str(self), self.advice)


@dataclass(frozen=True)
class Video:
    """What the container says, corrected by what decoding found."""

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
    truncated: bool = False

    @property
    def span(self) -> Span:
        return Span(0.0, self.duration_s)


@dataclass(frozen=True)
class Frames:
    """Sampled pictures.

    ``times``: float64 [n], ascending. ``i420``: uint8 [n, height * 3 / 2, width], read-only.
    ``end``: when the last picture's display ends. Height and width are even.
    """

    times: NDArray[np.float64]
    i420: NDArray[np.uint8]
    end: float

    @classmethod
    def of(
        cls, times: Sequence[float], pictures: Sequence[NDArray[np.uint8]], end: float
    ) -> Frames:
        """Frames made from RGB pictures, uint8 [height, width, 3] of even height and width."""
        import cv2

        planes = [cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420) for picture in pictures]
        return cls(_fixed(np.asarray(times, float)), _fixed(np.stack(planes)), end)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def height(self) -> int:
        return int(self.i420.shape[1]) * 2 // 3

    @property
    def width(self) -> int:
        return int(self.i420.shape[2])

    def gray(self, index: int) -> NDArray[np.uint8]:
        """Luma of one picture, uint8 [height, width], 16..235, a read-only view."""
        return self.i420[index, : self.height]

    @property
    def grays(self) -> NDArray[np.uint8]:
        """Luma of all pictures, uint8 [n, height, width], a read-only view."""
        return self.i420[:, : self.height]

    def rgb(self, index: int) -> NDArray[np.uint8]:
        """One picture, uint8 [height, width, 3], RGB, freshly made."""
        import cv2

        result: Any = cv2.cvtColor(self.i420[index], cv2.COLOR_YUV2RGB_I420)
        return result  # type: ignore[no-any-return]

    def rgbs(self) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """Each picture's time and RGB pixels, one at a time."""
        for index, t in enumerate(self.times):
            yield float(t), self.rgb(index)

    def coverage(self) -> Coverage:
        edges = np.append(self.times, self.end)
        return Coverage(
            samples=len(self),
            span_s=float(edges[-1] - edges[0]),
            max_gap_s=float(np.diff(edges).max()),
        )


@dataclass(frozen=True)
class Levels:
    """Levels of the audio at its own rate, in steps of ``LEVEL_STEP_S`` from time zero.

    ``power``: K-weighted, channel-weighted mean square, float64 [k] (ITU-R BS.1770-5).
    ``peak``: largest absolute value of the signal oversampled four times, float64 [k], 1.0 = full
    scale (BS.1770-5, annex 2). ``clipped``: share of samples at full scale, float64 [k], 0..1.
    """

    power: NDArray[np.float64]
    peak: NDArray[np.float64]
    clipped: NDArray[np.float64]
    rate: int
    channels: int


@dataclass(frozen=True)
class Audio:
    """The sound: ``samples`` float32 [n], mono, -1..1, at 16 kHz; sample k is at k / rate seconds.

    ``present`` are the spans in which the file carries audio at all; elsewhere samples are zero.
    """

    samples: NDArray[np.float32]
    levels: Levels
    present: tuple[Span, ...]
    rate: int = AUDIO_RATE

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate

    def cut(self, start: float, end: float) -> NDArray[np.float32]:
        """Samples between two times, a read-only view."""
        return self.samples[max(0, round(start * self.rate)) : max(0, round(end * self.rate))]

    def coverage(self) -> Coverage:
        inside = (0.0, self.duration_s)
        gaps = spans.invert(self.present, inside)
        return Coverage(
            samples=len(self.samples),
            span_s=spans.total(self.present),
            max_gap_s=max((gap.length for gap in gaps), default=0.0),
        )


@dataclass(frozen=True)
class Speech:
    """Spans in which somebody speaks, by Silero VAD."""

    spans: tuple[Span, ...]


#: Every media track by the name an analyzer's parameter has, with its type.
TRACKS: dict[str, type] = {
    "video": Video,
    "frames": Frames,
    "dense": Frames,
    "thumbs": Frames,
    "stills": Frames,
    "audio": Audio,
    "speech": Speech,
}


@dataclass(frozen=True)
class Decoded:
    """One video, decoded: its corrected facts and the tracks that were asked for."""

    video: Video
    tracks: dict[str, Any]

    def coverage(self) -> dict[str, Coverage]:
        """How densely each track covers the video, by name."""
        return {n: t.coverage() for n, t in self.tracks.items() if isinstance(t, Frames | Audio)}


#: Containers that are opened. Playlists and anything that names other files are left out.
FORMATS = (
    "mov,matroska,avi,mpeg,mpegts,mpegvideo,gif,flv,ogg,mp3,wav,flac,aac,asf,ivf,h264,hevc,m4v,mxf"
)
PADDING_S = 0.1
AUDIO_GAP_S = 0.05


def fingerprint(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def probe(path: Path, settings: Settings) -> Video:
    """Facts from the header and the first displayed frame; nothing more is decoded.

    Raises ``InputError`` of type ``not_found``, ``empty``, ``not_video``, ``no_video``,
    ``undecodable``, ``too_large`` or ``too_long``.
    """
    with _opened(path, settings) as (container, stream):
        first = _first_frame(container, stream)
        return _facts(path, container, stream, first, settings)


def decode(
    path: Path,
    want: Collection[str],
    settings: Settings,
    *,
    progress: Callable[[float], None] | None = None,
) -> Decoded:
    """Decode a file once into the tracks in ``want`` (names in ``TRACKS``).

    What of a damaged file can be decoded is; the damage is counted in ``video``. ``audio`` and
    ``speech`` are absent from the result when the file has no sound. ``progress`` is called with
    seconds decoded. Raises ``InputError`` as ``probe`` does.
    """
    with _opened(path, settings) as (container, stream):
        first = _first_frame(container, stream)
        video = _facts(path, container, stream, first, settings)
        promised = _promised_duration(container)
    zero = float(first.time or 0.0)
    samplers = _samplers(want, video, settings.tracks)
    wants_sound = video.has_audio and bool({"audio", "speech"} & set(want))
    sound = _Sound(settings.max_duration_s) if wants_sound else None
    clock = _Clock(settings.max_duration_s)
    if settings.decoder == "decord":
        pictures = _decord_pictures(path, zero, settings)
    else:
        pictures = None
    damage = _Damage()
    with _opened(path, settings) as (container, stream):
        for kind, frame in _frames(container, stream, sound is not None, pictures is None, damage):
            if kind == "audio":
                assert sound is not None
                sound.feed(frame, zero)
                continue
            t = clock.tick(frame, zero)
            if t is None:
                continue
            for sampler in samplers.values():
                sampler.offer(t, lambda size, f=frame: _i420(f, size))  # type: ignore[misc]
            if progress:
                progress(t)
    if pictures is not None:
        for t, until, picture in pictures:
            clock.at(t, until)
            for sampler in samplers.values():
                sampler.offer(t, lambda size, p=picture: _i420_of_rgb(p, size))  # type: ignore[misc]
    if clock.count == 0:
        raise InputError("undecodable", "no picture of this file can be decoded")
    heard = sound.finish() if sound else None
    end = clock.end
    if heard and sound and sound.end > end + PADDING_S:
        end = sound.end
    tracks: dict[str, Any] = {name: s.frames(end) for name, s in samplers.items()}
    if heard:
        audio = _clipped(heard, end)
        tracks["audio"] = audio
        if "speech" in want:
            tracks["speech"] = detect_speech(audio)
    reached = max(clock.end, sound.end if sound else 0.0)
    video = replace(
        video,
        duration_s=end,
        fps=clock.fps,
        variable_fps=clock.variable,
        frames=clock.count,
        start_offset_s=sound.dropped_s if sound else 0.0,
        damaged_packets=damage.packets,
        truncated=damage.ended_early or (promised is not None and reached < promised - 0.5),
    )
    tracks["video"] = video
    return Decoded(video, tracks)


def detect_speech(audio: Audio) -> Speech:
    """Spans of speech by Silero VAD (v6, the model in faster-whisper's wheel).

    A span begins where the probability reaches 0.5 and ends where it stays under 0.35; pauses
    under 0.3 s are bridged. Music lifts the probability too, but seldom far: a span counts only
    if within 10 s there is one of which at least 0.15 s lie above 0.9. Silero hears voices and
    misses the voiceless consonants before and after them, so either edge moves outward for as
    long as the sound stays 6 dB above what lies beyond, at most 0.3 s; then 50 ms are added.
    """
    from faster_whisper.vad import get_vad_model

    window = 512
    padded = np.pad(audio.samples, (0, -len(audio.samples) % window))
    if not len(padded):
        return Speech(())
    probability = np.asarray(get_vad_model()(padded)).ravel()
    step = window / audio.rate
    parts = _hysteresis(probability, step)
    sure = [part for part in parts if _above(probability, part, 0.9, step) >= 0.15]
    near = spans.union((start - 10.0, end + 10.0) for start, end in sure)
    frame = round(_EDGE_STEP_S * audio.rate)
    whole = audio.samples[: len(audio.samples) // frame * frame].reshape(-1, frame)
    power = np.convolve((whole.astype(float) ** 2).mean(1), np.ones(3) / 3, mode="same")
    level = 10 * np.log10(power + 1e-10)
    spoken = []
    for start, end in parts:
        if spans.overlap([(start, end)], near):
            before = level[: round(start / _EDGE_STEP_S)][::-1]
            after = level[round(end / _EDGE_STEP_S) :]
            spoken.append((start - _reach(before) - 0.05, end + _reach(after) + 0.05))
    return Speech(tuple(spans.intersect(spoken, audio.present)))


_EDGE_STEP_S = 0.01


def _hysteresis(probability: NDArray[np.float32], step: float) -> list[Span]:
    """Runs at or above 0.35 that reach 0.5, joined over pauses under 0.3 s."""
    times, end = np.arange(len(probability)) * step, len(probability) * step
    likely = spans.runs(times.tolist(), (probability >= 0.35).tolist(), end)
    return spans.union((p for p in likely if _above(probability, p, 0.5, step)), gap=0.299)


def _above(probability: NDArray[np.float32], part: Span, least: float, step: float) -> float:
    """Seconds of a span in which the probability reaches ``least``."""
    inside = probability[round(part.start / step) : round(part.end / step)]
    return float((inside >= least).sum() * step)


def _reach(level: NDArray[np.float64]) -> float:
    """How far an edge moves outward over levels in dB (every 10 ms, going away from the speech)."""
    near, beyond = level[:30], level[30:80]
    if len(beyond) < 20:
        return 0.0
    under = np.flatnonzero(near < np.median(beyond) + 6.0)
    return float(under[0] if len(under) else len(near)) * _EDGE_STEP_S


# --- opening ----------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path, settings: Settings) -> Iterator[tuple[Any, Any]]:
    """The container and its best video stream."""
    import av

    if not path.exists():
        raise InputError("not_found", f"there is no file {path}", "check the path")
    if not path.is_file():
        raise InputError("not_video", f"{path} is not a regular file", "give a video file")
    size = path.stat().st_size
    if size == 0:
        raise InputError("empty", f"{path.name} is empty (0 bytes)", "fetch or export it again")
    if size > settings.max_bytes:
        raise InputError(
            "too_large",
            f"{path.name} has {size} bytes, the limit is {settings.max_bytes}",
            "raise the setting TIKTOK_RAY_MAX_BYTES",
        )
    try:
        container = av.open(
            str(path),
            metadata_errors="ignore",
            options={"protocol_whitelist": "file", "format_whitelist": FORMATS},
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            "not_video",
            f"{path.name} cannot be opened as a video: {_words(error)}",
            "it may be cut off or not a video at all; fetch or export it again",
        ) from error
    with container:
        streams = [
            s
            for s in container.streams.video
            if not s.disposition & av.stream.Disposition.attached_pic
        ]
        if not streams:
            raise InputError(
                "no_video", f"{path.name} has no video stream", "give a file that has pictures"
            )
        stream = max(streams, key=lambda s: (_is_default(s), s.width * s.height))
        if stream.width * stream.height > settings.max_pixels:
            raise InputError(
                "too_large",
                f"pictures of {stream.width} x {stream.height} are over the limit of "
                f"{settings.max_pixels} pixels",
                "raise the setting TIKTOK_RAY_MAX_PIXELS",
            )
        yield container, stream


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _is_default(stream: Any) -> bool:
    import av

    return bool(stream.disposition & av.stream.Disposition.default)


def _first_frame(container: Any, stream: Any) -> Any:
    damage = _Damage()
    for _, frame in _frames(container, stream, False, True, damage):
        if frame.time is not None:
            return frame
    raise InputError(
        "undecodable",
        "no picture of this file can be decoded"
        + (f" ({damage.packets} damaged packets)" if damage.packets else ""),
        "fetch or export it again",
    )


def _promised_duration(container: Any) -> float | None:
    return container.duration / 1e6 if container.duration else None


def _facts(path: Path, container: Any, stream: Any, first: Any, settings: Settings) -> Video:
    promised = _promised_duration(container) or 0.0
    if promised > settings.max_duration_s:
        raise InputError(
            "too_long",
            f"{promised:.0f} s long, the limit is {settings.max_duration_s:.0f} s",
            "raise the setting TIKTOK_RAY_MAX_DURATION_S",
        )
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    width, height = max(1, round(first.width * aspect)), first.height
    if first.rotation % 180:
        width, height = height, width
    sound = container.streams.best("audio")
    return Video(
        duration_s=promised,
        width=width,
        height=height,
        fps=float(stream.average_rate or stream.guessed_rate or 0.0),
        variable_fps=False,
        frames=None,
        has_audio=sound is not None,
        start_offset_s=0.0,
        rotation=first.rotation % 360,
        video_codec=stream.codec_context.name,
        audio_codec=sound.codec_context.name if sound else None,
        audio_channels=sound.codec_context.channels if sound else None,
        audio_rate=sound.codec_context.sample_rate if sound else None,
        container=container.format.name,
        size_bytes=path.stat().st_size,
    )


# --- the one pass -----------------------------------------------------------------------------


@dataclass
class _Damage:
    packets: int = 0
    ended_early: bool = False


def _frames(
    container: Any, stream: Any, with_audio: bool, with_video: bool, damage: _Damage
) -> Iterator[tuple[str, Any]]:
    """Decoded frames of both streams in file order; what cannot be decoded is counted."""
    import av

    chosen = [stream] if with_video else []
    sound = container.streams.best("audio") if with_audio else None
    if sound is not None:
        chosen.append(sound)
    if not chosen:
        return
    stream.thread_type = "AUTO"
    packets = container.demux(chosen)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            damage.ended_early = True
            return
        try:
            decoded = packet.decode()
        except av.error.FFmpegError:
            damage.packets += 1
            continue
        for frame in decoded:
            yield packet.stream.type, frame


class _Clock:
    """Times of displayed frames: ascending, from zero, within the limit."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.count = 0
        self.end = 0.0
        self.last = -1.0
        self._shortest = np.inf
        self._longest = 0.0

    def tick(self, frame: Any, zero: float) -> float | None:
        """The frame's time, or None when it is not displayed (no timestamp, or not ascending)."""
        if frame.time is None:
            return None
        t = float(frame.time) - zero
        if t <= self.last or t < 0:
            return None
        length = float(frame.duration * frame.time_base) if frame.duration else 0.0
        self.at(t, t + length)
        return t

    def at(self, t: float, end: float) -> None:
        if t > self.limit_s:
            raise InputError(
                "too_long",
                f"longer than the limit of {self.limit_s:.0f} s",
                "raise the setting TIKTOK_RAY_MAX_DURATION_S",
            )
        if self.count:
            step = t - self.last
            self._shortest = min(self._shortest, step)
            self._longest = max(self._longest, step)
        self.count += 1
        self.last = t
        usual = (t / (self.count - 1)) if self.count > 1 else 0.04
        self.end = end if end > t else t + usual

    @property
    def fps(self) -> float:
        return self.count / self.end if self.end > 0 else 0.0

    @property
    def variable(self) -> bool:
        """Whether the longest step is over 1.5 times the shortest."""
        return self.count > 2 and self._longest > 1.5 * self._shortest


class _Sampler:
    """Keeps pictures at least ``step`` seconds apart, at most ``most`` of them.

    When it is full every second one is dropped and the step doubles, so that a file longer than
    its header promised stays within bounds too.
    """

    def __init__(self, size: tuple[int, int], step: float, most: int) -> None:
        self.size = size
        self.step = step
        self.most = max(2, most)
        self.times: list[float] = []
        self.pictures: list[NDArray[np.uint8]] = []
        self.next = 0.0

    def offer(self, t: float, convert: Callable[[tuple[int, int]], NDArray[np.uint8]]) -> None:
        if t + 1e-6 < self.next:
            return
        if self.step:
            self.next += self.step * (np.floor((t + 1e-6 - self.next) / self.step) + 1)
        self.times.append(t)
        self.pictures.append(convert(self.size))
        if len(self.times) > self.most:
            gap = (self.times[-1] - self.times[0]) / (len(self.times) - 1)
            self.step = 2 * (self.step or gap)
            self.times, self.pictures = self.times[::2], self.pictures[::2]
            self.next = self.times[-1] + self.step

    def frames(self, end: float) -> Frames:
        stacked = np.empty((len(self.pictures), *self.pictures[0].shape), np.uint8)
        for index in range(len(stacked)):
            stacked[index] = self.pictures[index]
            self.pictures[index] = stacked[index, :0]
        return Frames(_fixed(np.array(self.times)), _fixed(stacked), end)


def _samplers(want: Collection[str], video: Video, sizes: TrackSettings) -> dict[str, _Sampler]:
    duration = max(video.duration_s, 1e-3)

    def fit(short: int) -> tuple[int, int]:
        scale = min(1.0, short / min(video.width, video.height))
        scale = min(scale, 4 * short / max(video.width, video.height))
        return tuple(max(2, 2 * round(n * scale / 2)) for n in (video.width, video.height))  # type: ignore[return-value]

    made: dict[str, _Sampler] = {}
    if "frames" in want:
        step = max(1 / sizes.frames_fps, duration / sizes.frames_max)
        made["frames"] = _Sampler(fit(sizes.frames_short), step, sizes.frames_max)
    if "dense" in want:
        step = max(1 / sizes.dense_fps, duration / sizes.dense_max)
        made["dense"] = _Sampler(fit(sizes.dense_short), step, sizes.dense_max)
    if "thumbs" in want:
        expected = min(sizes.thumbs_max, max(1.0, duration * (video.fps or 30.0)))
        width, height = fit(sizes.thumbs_short)
        room = sizes.thumbs_mib * 2**20 / expected / (1.5 * width * height)
        if room < 1:
            width, height = fit(max(16, int(min(width, height) * room**0.5)))
        made["thumbs"] = _Sampler((width, height), 0.0, sizes.thumbs_max)
    if "stills" in want:
        size = fit(min(video.width, video.height))
        most = min(sizes.stills_max, int(sizes.stills_mib * 2**20 / (1.5 * size[0] * size[1])))
        made["stills"] = _Sampler(size, duration / max(1, most), max(2, most))
    return made


def _i420(frame: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    """An upright I420 picture [height * 3 / 2, width] of the size, BT.601, limited range."""
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    turns = frame.rotation // 90 % 4
    width, height = size if turns % 2 == 0 else size[::-1]
    small = _scaler(size).reformat(
        frame,
        width=width,
        height=height,
        format="yuv420p",
        interpolation=Interpolation.AREA,
        threads=1,
    )
    # Converted when small: one step for both takes four times as long.
    if _matrix(frame) != Colorspace.ITU601 or frame.color_range == ColorRange.JPEG:
        small = _scaler((*size, 0)).reformat(
            small,
            interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND,
            src_colorspace=_matrix(frame),
            dst_colorspace=Colorspace.ITU601,
            src_color_range=frame.color_range,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
    planes: NDArray[np.uint8] = small.to_ndarray()
    return _turned(planes, turns) if turns else planes


#: Colour matrices by their number in H.273, as far as the scaler knows them.
MATRICES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020"}


def _matrix(frame: Any) -> Any:
    """The frame's colour matrix; where it does not say, by its size.

    mpv's rule: https://mpv.io/manual/stable/#video-filters-format
    """
    from av.video.reformatter import Colorspace

    guess = "ITU709" if frame.width >= 1280 or frame.height > 576 else "ITU601"
    return Colorspace[MATRICES.get(int(frame.colorspace), guess)]


_scalers = threading.local()


def _scaler(size: tuple[int, ...]) -> Any:
    """This thread's scaler for a size: a scaler keeps its set-up from frame to frame."""
    from av.video.reformatter import VideoReformatter

    kept = _scalers.__dict__.setdefault("by_size", {})
    if size not in kept:
        if len(kept) > 16:
            kept.clear()
        kept[size] = VideoReformatter()
    return kept[size]


def _turned(planes: NDArray[np.uint8], turns: int) -> NDArray[np.uint8]:
    width = planes.shape[1]
    height = planes.shape[0] * 2 // 3
    flat = planes.reshape(-1)
    luma, chroma = width * height, width * height // 4
    parts = (
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(height // 2, width // 2),
        flat[luma + chroma :].reshape(height // 2, width // 2),
    )
    turned = [np.rot90(part, turns) for part in parts]
    return np.concatenate([part.reshape(-1) for part in turned]).reshape(-1, turned[0].shape[1])


def _i420_of_rgb(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    import cv2

    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    result: NDArray[np.uint8] = cv2.cvtColor(small, cv2.COLOR_RGB2YUV_I420)
    return result


# --- decord -----------------------------------------------------------------------------------


def decord_objections(path: Path, settings: Settings) -> list[str]:
    """Why decord would give wrong frames or times for this file; empty where it is exact.

    decord rebases timestamps to zero, counts hidden frames, and misplaces frames of open groups
    of pictures.
    """
    with _opened(path, settings) as (container, stream):
        name = stream.codec_context.name
        reasons = (
            [] if name == "h264" else [f"the codec is {name}; only H.264 is known to be exact"]
        )
        if "mp4" not in container.format.name:
            reasons.append("the container is not MP4")
        if stream.codec_context.pix_fmt not in ("yuv420p", "yuvj420p"):
            reasons.append(f"the pixel format is {stream.codec_context.pix_fmt}")
        key_pts, stamps, hidden, leading = None, [], 0, 0
        for packet in container.demux(stream):
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
            reasons.append(f"groups of pictures are open ({leading} leading pictures)")
        if stamps and min(stamps) != 0:
            reasons.append("the first frame is not at time zero")
    return reasons


def _decord_pictures(
    path: Path, zero: float, settings: Settings
) -> Iterator[tuple[float, float, NDArray[np.uint8]]]:
    """Start, end and RGB pixels of every frame, by decord."""
    reasons = decord_objections(path, settings)
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
        yield float(start) - zero, float(end) - zero, _unpadded(reader.next().asnumpy())


def _unpadded(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB [height, width, 3] of what decord2 3.4 returns: at some widths its rows are padded."""
    height, width = picture.shape[:2]
    return picture.reshape(height, -1)[:, : width * 3].reshape(height, width, 3)


# --- sound ------------------------------------------------------------------------------------


class _Sound:
    """Collects decoded sound from time zero on: 16 kHz mono samples, and levels at its own rate.

    Gaps in the timestamps become zeros (and holes in ``present``), overlaps are dropped, and so is
    what lies before time zero.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.rate = 0
        self.at = 0
        self.dropped = 0
        self.present: list[Span] = []
        self.mono: list[NDArray[np.float32]] = []
        self.pending: list[NDArray[np.float32]] = []
        self.pending_size = 0
        self._native: Any = None
        self._to_mono: Any = None
        self.meter: _Meter | None = None

    @property
    def end(self) -> float:
        return self.at / self.rate if self.rate else 0.0

    @property
    def dropped_s(self) -> float:
        return self.dropped / self.rate if self.rate else 0.0

    def feed(self, frame: Any, zero: float) -> None:
        import av

        if self._native is None:
            self.rate = frame.sample_rate
            self.layout = frame.layout.name
            self._native = av.AudioResampler(format="fltp", layout=self.layout, rate=self.rate)
            self._to_mono = av.AudioResampler(format="flt", layout="mono", rate=AUDIO_RATE)
            self.meter = _Meter(self.rate, [c.name for c in frame.layout.channels])
        t = frame.time
        frame.pts = None
        for block in self._native.resample(frame):
            self._place(block.to_ndarray(), None if t is None else float(t) - zero)
            t = None

    def _place(self, block: NDArray[np.float32], t: float | None) -> None:
        where = self.at if t is None else round(t * self.rate)
        if self.at == 0 and not self.present and where < 0:
            early = min(-where, block.shape[1])
            self.dropped += early
            block, where = block[:, early:], where + early
            if not block.shape[1]:
                return
        if abs(where - self.at) < AUDIO_GAP_S * self.rate and self.present:
            where = self.at
        if where > self.at:
            self._append(np.zeros((len(block), min(where - self.at, self._room())), np.float32))
        elif where < self.at:
            block = block[:, self.at - where :]
        block = block[:, : self._room()]
        if not block.shape[1]:
            return
        start = self.at / self.rate
        self._append(block)
        if self.present and start <= self.present[-1].end + 1e-6:
            self.present[-1] = Span(self.present[-1].start, self.end)
        else:
            self.present.append(Span(start, self.end))

    def _room(self) -> int:
        return max(0, round(self.limit_s * self.rate) - self.at)

    def _append(self, block: NDArray[np.float32]) -> None:
        for start in range(0, block.shape[1], self.rate):
            part = block[:, start : start + self.rate]
            self.pending.append(part)
            self.pending_size += part.shape[1]
            self.at += part.shape[1]
            if self.pending_size >= self.rate:
                self._flush()

    def _flush(self) -> None:
        import av

        assert self.meter is not None
        block = np.concatenate(self.pending, axis=1)
        self.pending, self.pending_size = [], 0
        self.meter.feed(block)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block), format="fltp", layout=self.layout
        )
        frame.sample_rate = self.rate
        self.mono += [out.to_ndarray()[0] for out in self._to_mono.resample(frame)]

    def finish(self) -> Audio | None:
        """The whole sound, or None when no sample was decoded."""
        if self.at == 0 or self.meter is None:
            return None
        if self.pending:
            self._flush()
        self.mono += [out.to_ndarray()[0] for out in self._to_mono.resample(None)]
        samples = np.clip(np.concatenate(self.mono), -1.0, 1.0)
        return Audio(_fixed(samples), self.meter.levels(), tuple(self.present))


def _clipped(audio: Audio, end: float) -> Audio:
    """The same sound, made to last exactly until ``end``: padded with zeros or cut."""
    size = round(end * audio.rate)
    samples = np.zeros(size, np.float32)
    kept = min(size, len(audio.samples))
    samples[:kept] = audio.samples[:kept]
    steps = math.ceil(end / LEVEL_STEP_S - 1e-6)
    levels = replace(
        audio.levels,
        **{n: _fixed(_fit(getattr(audio.levels, n), steps)) for n in ("power", "peak", "clipped")},
    )
    return replace(
        audio,
        samples=_fixed(samples),
        levels=levels,
        present=tuple(spans.intersect(audio.present, [(0.0, end)])),
    )


def _fit(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The first ``size`` values; zeros where there are fewer."""
    return np.pad(values[:size], (0, max(0, size - len(values))))


class _Meter:
    """Levels of sound at its own rate, as it streams by (ITU-R BS.1770-5)."""

    #: Channel weights of BS.1770-5, table 3; every other channel counts 1.
    WEIGHTS: ClassVar[dict[str, float]] = {
        "SL": 1.41, "SR": 1.41, "BL": 1.41, "BR": 1.41, "LFE": 0.0,
    }  # fmt: skip

    def __init__(self, rate: int, channels: Sequence[str]) -> None:
        import pyloudnorm
        from scipy.signal import firwin

        self.rate = rate
        self.step = max(1, round(LEVEL_STEP_S * rate))
        self.weights = np.array([self.WEIGHTS.get(name, 1.0) for name in channels])
        filters = pyloudnorm.Meter(rate)._filters.values()
        self.filters = [(f.b, f.a, np.zeros((len(channels), 2))) for f in filters]
        #: 12 taps a phase, as the interpolator of BS.1770-5, annex 2.
        self.interpolator = {n: firwin(12 * n + 1, 1 / n, window=("kaiser", 5.0)) for n in (2, 4)}
        self.rest = np.zeros((len(channels), 0), np.float32)
        self.tail = np.zeros((len(channels), 32), np.float32)
        self.power: list[float] = []
        self.peak: list[float] = []
        self.clipped: list[float] = []

    def feed(self, block: NDArray[np.float32]) -> None:
        block = np.concatenate([self.rest, block], axis=1)
        whole = block.shape[1] // self.step * self.step
        self.rest = block[:, whole:]
        if whole:
            self._measure(block[:, :whole])

    def _measure(self, block: NDArray[np.float32]) -> None:
        from scipy.signal import lfilter, resample_poly

        weighted: NDArray[np.float64] = block.astype(np.float64)
        for index, (b, a, state) in enumerate(self.filters):
            weighted, state = lfilter(b, a, weighted, axis=1, zi=state)
            self.filters[index] = (b, a, state)
        channels = len(block)
        steps = block.shape[1] // self.step
        squares = (weighted**2).reshape(channels, steps, -1).mean(2)
        self.power += (self.weights @ squares).tolist()
        over = 4 if self.rate < 96_000 else 2
        joined = np.concatenate([self.tail, block], axis=1)
        fine = np.abs(resample_poly(joined, over, 1, axis=1, window=self.interpolator[over]))[
            :, self.tail.shape[1] * over :
        ]
        self.peak += fine.reshape(channels, steps, -1).max((0, 2)).tolist()
        full = np.abs(block) >= 0.9999
        self.clipped += full.reshape(channels, steps, -1).mean((0, 2)).tolist()
        self.tail = joined[:, -32:]

    def levels(self) -> Levels:
        if self.rest.shape[1]:
            short = self.rest.shape[1] / self.step
            pad = np.zeros((len(self.rest), self.step - self.rest.shape[1]), np.float32)
            self._measure(np.concatenate([self.rest, pad], axis=1))
            self.power[-1] /= short
        return Levels(
            _fixed(np.array(self.power)),
            _fixed(np.array(self.peak)),
            _fixed(np.array(self.clipped)),
            self.rate,
            len(self.weights),
        )
