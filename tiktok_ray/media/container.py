"""Opening a file, scanning all its packets, and choosing the streams to analyze.

All packets are scanned before anything is decoded: this costs a hundredth of decoding, and shows how
long the content is, where timestamps jump, and which streams are not empty, whereas headers are
unreliable.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media.ending import is_whole
from tiktok_ray.media.facts import InputError, too_large
from tiktok_ray.media.headers import Track, is_fragmented, tracks_of
from tiktok_ray.media.spans import Span
from tiktok_ray.report import StreamInfo
from tiktok_ray.settings import Settings

#: Containers that are opened. Playlists and anything that names other files are left out.
FORMATS = (
    "mov,matroska,avi,mpeg,mpegts,mpegvideo,gif,apng,flv,ogg,mp3,wav,flac,aac,asf,ivf,h264,hevc,m4v,"
    "mxf,dv,obu,yuv4mpegpipe"
)


@contextmanager
def opened(path: Path, settings: Settings, *, edits: bool = True) -> Iterator[Any]:
    """The container; without ``edits`` its edit lists are ignored. Raises ``InputError``."""
    import av

    if not path.exists():
        raise InputError("not_found", f"the file {path} does not exist", "check the path")
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
            options={
                "protocol_whitelist": "file",
                "format_whitelist": FORMATS,
                **({} if edits else {"ignore_editlist": "1"}),
            },
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise _refused(path, error) from error
    with container:
        yield container


#: How files of pictures begin.
PICTURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
#: The flag of an animation in the header of an extended WebP (RFC 9649, 2.7).
ANIMATED = 0x02


def _refused(path: Path, error: BaseException) -> InputError:
    """Why a file cannot be opened, as far as it can be told, and what to do."""
    with path.open("rb") as file:
        head = file.read(32)
    kind = next((name for begin, name in PICTURES.items() if head.startswith(begin)), None)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        kind = "WebP"
        if head[12:16] == b"VP8X" and len(head) > 20 and head[20] & ANIMATED:
            return InputError(
                "not_video",
                f"{path.name} is an animated WebP, which FFmpeg cannot decode",
                'make an animated PNG of it: python -c "from PIL import Image;'
                f" Image.open('{path.name}').save('{path.stem}.png', save_all=True)\"",
            )
    if kind:
        return InputError(
            "not_video", f"{path.name} is a still image ({kind}), not a video", "give a video file"
        )
    return InputError(
        "not_video",
        f"{path.name} cannot be opened as a video: {words(error)}",
        "it may be truncated or not a video at all; fetch or export it again",
    )


#: Formats whose packets count as corrupt for other reasons than that they are cut off.
LOSSY = ("mpegts", "mpeg")


class Demuxed:
    """Packets of some streams (of all, if none are named) in file order, the last ones empty.

    ``ended_early``: whether the file broke off, between two packets or within the last one.
    """

    def __init__(self, container: Any, streams: Sequence[Any] = ()) -> None:
        self._packets = container.demux(*streams)
        self._streams = streams or tuple(container.streams)
        self._marks_damage = container.format.name in LOSSY
        self.ended_early = False

    def __iter__(self) -> Iterator[Any]:
        import av

        while True:
            try:
                packet = next(self._packets)
            except (StopIteration, IndexError):
                return  # PyAV's index error: a stream appeared that was not there at the start
            except av.error.FFmpegError:
                self.ended_early = True
                yield from self._last()
                return
            if packet.size and not self._marks_damage:
                self.ended_early = packet.is_corrupt  # of the last one: its bytes are not all there
            yield packet

    def _last(self) -> Iterator[Any]:
        """Empty packets, for the pictures and samples that decoders still hold."""
        import av

        for stream in self._streams:
            packet = av.Packet()
            packet.stream, packet.time_base = stream, stream.time_base
            yield packet


def words(error: BaseException) -> str:
    """The message of an error, without its number and file."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


#: Durations below it say nothing: some muxers write one tick.
SHORTEST_S = 0.001


@dataclass(frozen=True)
class Packets:
    """The timing of one stream's packets, in file order; seconds, NaN where unspecified.

    ``hidden``: which are decoded but not shown (by an edit list); None: none is.
    """

    pts: NDArray[np.float64]
    dts: NDArray[np.float64]
    duration: NDArray[np.float64]
    hidden: NDArray[np.bool_] | None = None

    @property
    def shown(self) -> NDArray[np.intp]:
        """The numbers of those that are shown."""
        every = np.arange(len(self))
        return every if self.hidden is None else every[~self.hidden]

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def stand(self) -> bool:
        """Whether (nearly) all packets have the same few times, whatever their durations."""
        times = self.pts[np.isfinite(self.pts)]
        return len(times) > 2 and len(np.unique(times)) <= max(1, len(times) // 10)

    @property
    def usual(self) -> float:
        """The median duration of a packet, or of the steps between them; 0 if nothing says it."""
        said = self.duration[self.duration > SHORTEST_S]
        if len(said):
            return float(np.median(said))
        steps = np.diff(self.dts if np.isfinite(self.dts).any() else np.unique(self.pts))
        steps = steps[steps > SHORTEST_S]
        return float(np.median(steps)) if len(steps) else 0.0


@dataclass(frozen=True)
class Contents:
    """The contents of a file, and which of its streams are analyzed (by index).

    ``promised_s``: how long its header says that pictures and sound are. ``crop`` and
    ``dolby``: see ``headers.Track``. ``pauses``: when nothing new is shown or heard, by the stream's
    number, in seconds of the file's clock. ``whole``: whether it ends as its format says; None where
    that is not known.
    """

    format: str
    promised_s: float | None
    packets: Mapping[int, Packets]
    ended_early: bool
    streams: tuple[StreamInfo, ...]
    video: int
    audio: int | None
    audio_channels: int | None
    audio_rate: int | None
    crop: tuple[float, float, float, float] | None
    dolby: tuple[int, int] | None = None
    chapters: list[dict[str, Any]] = field(default_factory=list)
    pauses: Mapping[int, tuple[Span, ...]] = field(default_factory=dict)
    whole: bool | None = None

    @property
    def no_sound(self) -> str | None:
        """Why there is no sound to analyze, where there is none."""
        if self.audio is not None:
            return None
        sounds = [s for s in self.streams if s.kind == "audio"]
        return unusable(sounds[0].codec, sounds[0].reason) if sounds else "no audio track"

    @property
    def start(self) -> float:
        """The first time of what is shown or heard, on the file's clock; infinite if none has one."""
        known = np.concatenate([p.pts[p.shown] for p in self.played().values()])
        return float(np.nanmin(known)) if np.isfinite(known).any() else float("inf")

    def played(self) -> dict[int, Packets]:
        """The packets of the streams that are analyzed."""
        chosen = [self.video] if self.audio is None else [self.video, self.audio]
        none = Packets(*np.zeros((3, 0)))
        return {index: self.packets.get(index, none) for index in chosen}


def unusable(codec: str | None, reason: str | None) -> str:
    """Why there is no sound although the file has an audio track."""
    return f"the audio track ({codec or 'of an unknown codec'}) cannot be used: {reason}"


def contents(path: Path, settings: Settings) -> Contents:
    """Scan all packets and choose the streams to analyze. Raises ``InputError``."""
    with opened(path, settings) as container:
        packets, ended_early = _scan(container)
        tracks = tracks_of(path, container.format.name, [s.id for s in container.streams])
        told = not is_fragmented(path, container.format.name)
        whole = is_whole(path, container.format.name)
        named = {s.index: _name(s, tracks) for s in container.streams}
        video, why = _film(container, packets, named, path, settings)
        audio, reasons = _sound(container, packets, path, settings)
        reasons[video] = why
        streams = tuple(
            StreamInfo(
                index=s.index,
                kind=s.type or "unknown",
                codec=named[s.index],
                language=_tag(s, "language"),
                title=_tag(s, "title") or _tag(s, "name") or _tag(s, "filename"),
                default=_has(s, "default"),
                used=s.index in (video, audio) or is_text(s),
                reason=reasons.get(s.index) or _left(s, named[s.index], packets, video),
            )
            for s in container.streams
        )
        heard = container.streams[audio].codec_context if audio is not None else None
        return Contents(
            container.format.name,
            _promised(container, [i for i in (video, audio) if i is not None], packets)
            if told
            else None,
            packets,
            ended_early or whole is False,
            streams,
            video,
            audio,
            heard.channels if heard else None,
            heard.sample_rate if heard else None,
            track.crop if (track := tracks.get(video)) else None,
            track.dolby if track else None,
            list(container.chapters()),
            {index: one.pauses for index, one in tracks.items() if one.pauses},
            whole,
        )


def _scan(container: Any) -> tuple[dict[int, Packets], bool]:
    rows: dict[int, list[tuple[float, float, float, bool]]] = defaultdict(list)
    base = {s.index: float(s.time_base or 0) for s in container.streams}
    nan = float("nan")
    packets = Demuxed(container)
    ends: dict[int, Any] = {}
    for packet in packets:
        if not packet.size:
            continue
        ends[packet.stream_index] = packet
        tick = base[packet.stream_index]
        pts, dts = packet.pts, packet.dts
        rows[packet.stream_index].append(
            (
                nan if pts is None else pts * tick,
                nan if dts is None else dts * tick,
                (packet.duration or 0) * tick,
                packet.is_discard,
            )
        )
    early = packets.ended_early or any(map(_is_blank, ends.values()))
    return {index: _packets(row) for index, row in rows.items()}, early


def _is_blank(packet: Any) -> bool:
    """Whether a coded picture is all zeros: a place in the file that was never written."""
    stream = packet.stream
    coded = stream.type == "video" and stream.codec_context is not None
    return coded and codec_of(stream) != "rawvideo" and not any(bytes(packet))


def _packets(rows: Sequence[tuple[float, float, float, bool]]) -> Packets:
    pts, dts, duration, hidden = np.array(rows, float).reshape(-1, 4).T
    return Packets(pts, dts, duration, hidden > 0 if hidden.any() else None)


#: Formats without a header that says how long they are: FFmpeg looks at their end.
UNTOLD = (
    "mpegts", "mpeg", "mpegvideo", "h264", "hevc", "m4v", "obu", "ogg", "gif", "apng", "ivf", "dv",
    "yuv4mpegpipe",
    "mp3", "aac",
)  # fmt: skip


def _promised(
    container: Any, played: Sequence[int], packets: Mapping[int, Packets]
) -> float | None:
    """How long the header says that the streams that are analyzed are, if it does.

    Where it speaks of the whole file alone, which ends with what is longest, that counts only if
    no other stream (subtitles, a second sound) lasts so long.
    """
    if container.format.name == "avi":  # FFmpeg shortens the duration, but not the count
        films = [container.streams[i] for i in played if container.streams[i].type == "video"]
        return max((float(s.frames * s.time_base) for s in films), default=0.0) or None
    if not container.duration or container.format.name in UNTOLD:
        return None
    whole = float(container.duration / 1e6)
    said = [span for index in played if (span := _said(container.streams[index]))]
    if said:
        return min(whole, max(end for _, end in said) - min(start for start, _ in said))
    others = [p for index, p in packets.items() if index not in played]
    ends = np.concatenate([[0.0], *(p.pts + p.duration for p in others)])
    return None if np.nanmax(ends) > whole - 0.5 else whole


def _said(stream: Any) -> tuple[float, float] | None:
    """From when to when a stream lasts by the file's header (of Matroska: by its tags)."""
    start = float((stream.start_time or 0) * (stream.time_base or 0))
    if stream.duration:
        return start, start + float(stream.duration * stream.time_base)
    hours, _, rest = stream.metadata.get("DURATION", "").strip("\0 ").partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        end = 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return None
    return start, end


def _has(stream: Any, disposition: str) -> bool:
    import av

    return bool(stream.disposition & av.stream.Disposition[disposition])


def _tag(stream: Any, name: str) -> str | None:
    value = (stream.metadata.get(name) or "").strip("\0 ")
    return value if value and value != "und" else None


def _name(stream: Any, tracks: Mapping[int, Track]) -> str | None:
    if stream.codec_context is not None:
        return codec_of(stream)
    return tracks[stream.index].code if stream.index in tracks else None


def codec_of(stream: Any) -> str:
    """FFmpeg's name of the codec; ``codec_context.name`` is that of the decoder."""
    return str(stream.codec_context.codec.canonical_name)


#: What QuickTime's data tracks hold, by their codes.
DATA = {
    "tmcd": "a clock (timecode)",
    "text": "chapter titles, read as chapters",
    "gpmd": "camera sensor data",
    "camm": "camera sensor data",
    "mebx": "phone sensor data",
    "rtmd": "camera metadata",
}


def _left(stream: Any, codec: str | None, packets: Mapping[int, Packets], film: int) -> str | None:
    """Why a stream is left out, where nothing else has been said of it."""
    if stream.type == "attachment":
        return "an attached file: neither video, audio nor text"
    if stream.type not in ("video", "audio", "subtitle"):
        return DATA.get(codec or "", "data: neither video, audio nor text")
    if stream.codec_context is None:
        return "no decoder supports it"
    if stream.type == "subtitle":
        return "read as text" if is_text(stream) else "bitmap subtitles are not read"
    still = next((words for name, words in STILLS.items() if _has(stream, name)), None)
    if still:
        return still
    if stream.index not in packets:
        return "it is declared but empty"
    if stream.type == "video":
        count, most = len(packets[stream.index]), len(packets.get(film, ()))
        few = (
            f"{count} frames, far fewer than the main video"
            if count < most / 10
            else "another video"
        )
        return f"{few}; the setting video_stream can select it"
    aside = next(
        (words for name, words in ASIDES.items() if _has(stream, name)), "another audio track"
    )
    return f"{aside}; the setting audio_stream can select it"


def is_text(stream: Any) -> bool:
    """Whether a stream holds subtitles as text."""
    return (
        stream.type == "subtitle"
        and stream.codec_context is not None
        and codec_of(stream) not in PICTURED
    )


#: Codecs of subtitles that are pictures.
PICTURED = ("dvd_subtitle", "hdmv_pgs_subtitle", "dvb_subtitle", "xsub")
#: What a picture stream may be other than a film: dispositions, and what they are.
STILLS = {
    "attached_pic": "a cover image",
    "timed_thumbnails": "thumbnails",
    "still_image": "a still image",
    "dependent": "it can only be shown with another stream",
}
#: What a sound may be other than what is to be heard with the film.
ASIDES = {
    "comment": "a commentary",
    "visual_impaired": "for the visually impaired",
    "descriptions": "an audio description",
    "karaoke": "karaoke",
    "lyrics": "lyrics",
}


def _film(
    container: Any,
    packets: Mapping[int, Packets],
    named: Mapping[int, str | None],
    path: Path,
    settings: Settings,
) -> tuple[int, str]:
    """The video stream that is analyzed, and why that one."""
    films = [s for s in container.streams.video if not any(_has(s, d) for d in STILLS)]
    if not films:
        raise InputError("no_video", f"{path.name} has no video stream", "give a file with video")
    known = [s for s in films if s.codec_context is not None]
    if not known:
        codecs = ", ".join(sorted({named[s.index] or "an unnamed codec" for s in films}))
        raise InputError(
            "undecodable",
            f"the video of {path.name} is encoded as {codecs}, which no decoder here supports",
            "fetch it in another format, or export it as H.264",
        )
    wanted = settings.video_stream
    if wanted is not None:
        film = next((s for s in known if s.index == wanted), None)
        if film is None:
            raise InputError(
                "no_video",
                f"stream {wanted} of {path.name} is not a decodable video stream",
                f"set TIKTOK_RAY_VIDEO_STREAM to one of {[s.index for s in known]}",
            )
        reason = "selected by the setting video_stream"
    else:
        counts = {s.index: len(packets.get(s.index, ())) for s in known}
        most = max(counts.values())
        moving = [s for s in known if counts[s.index] >= most / 10]
        film = max(moving, key=lambda s: (_has(s, "default"), s.width * s.height, -s.index))
        if len(films) == 1:
            reason = "the only video stream"
        elif len(moving) == 1:
            reason = f"the main video: {counts[film.index]} frames, the others have far fewer"
        else:
            reason = "the default, or else the largest, of the moving video streams"
    if film.width * film.height > settings.max_pixels:
        raise too_large(film.width, film.height, settings.max_pixels)
    return film.index, reason


def _sound(
    container: Any,
    packets: Mapping[int, Packets],
    path: Path,
    settings: Settings,
) -> tuple[int | None, dict[int, str]]:
    """The audio stream that is analyzed, if any, and why that one."""
    known = [s for s in container.streams.audio if s.codec_context and s.index in packets]
    known.sort(
        key=lambda s: (
            any(_has(s, d) for d in ASIDES),
            not _has(s, "default"),
            not _has(s, "original"),
            s.index,
        )
    )
    wanted = settings.audio_stream
    if wanted is not None:
        named_so = [s for s in known if wanted in (str(s.index), _tag(s, "language"))]
        if not named_so:
            have = ", ".join(f"{s.index} ({_tag(s, 'language') or '?'})" for s in known) or "none"
            raise InputError(
                "no_audio",
                f"no audio stream of {path.name} matches {wanted!r}",
                f"set TIKTOK_RAY_AUDIO_STREAM to a number or language of: {have}",
            )
        return named_so[0].index, {named_so[0].index: "selected by the setting audio_stream"}
    if not known:
        return None, {}
    if len(known) == 1:
        only = len(container.streams.audio) == 1
        reason = "the only audio stream" if only else "the only one that can be decoded"
        return known[0].index, {known[0].index: reason}
    silent: dict[int, str] = {}
    for stream in known:
        fault = _not_heard(path, stream.index, settings)
        if fault is None:
            reason = "the first that is not silent" if silent else "the default, or the first"
            return stream.index, {**silent, stream.index: reason}
        silent[stream.index] = fault
    first = next((index for index, fault in silent.items() if fault == SILENT), known[0].index)
    return first, {**silent, first: "no audio stream contains sound: the default, or the first"}


UNDECODED = "no sample of it can be decoded"
SILENT = "it is silent throughout"
NO_NUMBERS = "none of its samples is a finite number within 24 dB of full scale"
#: Sound that never rises above it (-60 dB of full scale) holds nothing.
SILENCE = 0.001


def _not_heard(path: Path, index: int, settings: Settings) -> str | None:
    """Why a stream has no sound in it, where it has none; decodes until there is some."""
    import av

    from tiktok_ray.media.sound import is_sound, samples_of

    fault = UNDECODED
    with opened(path, settings) as container:
        for packet in Demuxed(container, [container.streams[index]]):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue
            for frame in frames:
                block = samples_of(frame)
                sane = np.abs(block[is_sound(block)])
                if block.size and fault != SILENT:
                    fault = SILENT if sane.size else NO_NUMBERS
                if sane.max(initial=0.0) > SILENCE:
                    return None
    return fault
