"""The single pass over a file: every frame and every sample is decoded once, for all tracks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tiktok_ray.media import decord, texts
from tiktok_ray.media.clock import AHEAD_S, Clock, Schedule, schedule
from tiktok_ray.media.container import (
    NO_NUMBERS,
    UNDECODED,
    Demuxed,
    codec_of,
    contents,
    is_text,
    opened,
    unusable,
    words,
)
from tiktok_ray.media.facts import InputError, Video, too_large
from tiktok_ray.media.interlace import Deinterlacer
from tiktok_ray.media.picture import Crop, Turn, View
from tiktok_ray.media.sampling import Sampler, samplers
from tiktok_ray.media.sound import AUDIO_GAP_S, Sound, lasting
from tiktok_ray.media.spans import Span
from tiktok_ray.media.speech import detect_speech
from tiktok_ray.media.tracks import Audio, Decoded, Frames, Speech, fixed
from tiktok_ray.report import Repair, StreamInfo, Subtitle
from tiktok_ray.settings import Settings

#: How much longer than the pictures sound must be before the video lasts as long as it.
PADDING_S = 0.1
SOUND = {"audio", "speech"}


def probe(path: Path, settings: Settings) -> Video:
    """Facts from all packets and the first displayed frame; nothing else is decoded.

    Raises ``InputError`` of type ``not_found``, ``empty``, ``not_video``, ``no_video``,
    ``undecodable``, ``too_large`` or ``too_long``.
    """
    return facts(path, settings).video


def decode(
    path: Path,
    want: Collection[str],
    settings: Settings,
    *,
    progress: Callable[[float], None] | None = None,
) -> Decoded:
    """Decode a file once into the tracks in ``want`` (names in ``TRACKS``).

    The decodable parts of a damaged file are decoded; the damage is counted in ``video``. ``audio`` and
    ``speech`` are absent from the result if the file has no sound. ``progress`` is called with
    seconds decoded. Raises ``InputError`` as ``probe`` does.
    """
    with _typed(path):
        return _Pass(path, want, settings, progress).run()


@contextmanager
def _typed(path: Path) -> Iterator[None]:
    """Whatever decoding raises that nobody expected is an error of the input, with its cause."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            "undecodable",
            f"{path.name} cannot be decoded: {type(error).__name__}: {words(error)}",
            "export it again, as H.264 and AAC in MP4",
        ) from error


def facts(path: Path, settings: Settings) -> decord.Facts:
    """As ``probe``, with what it was concluded from."""
    with _typed(path):
        one = _Pass(path, (), settings, None)
        frame = one.first()
        return decord.Facts(one.contents, one.facts(), frame.format.name)


def decord_objections(path: Path, settings: Settings) -> list[str]:
    """Why decord would give wrong frames or times for this file; empty where it is exact."""
    return decord.objections(facts(path, settings), path, settings)


def _before(audio: Audio) -> tuple[Span, ...]:
    """Speech before the first picture, in negative times."""
    lead = audio.lead()
    if lead is None:
        return ()
    zero = lead.duration_s
    return tuple(Span(start - zero, end - zero) for start, end in detect_speech(lead).spans)


#: Decoders that read the transparency of VP8 and VP9, which FFmpeg's own leave out.
WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def has_alpha_apart(film: Any) -> bool:
    """Whether a stream stores its alpha channel separately, as in WebM."""
    return film.metadata.get("alpha_mode", "").strip("\0 ") == "1" and codec_of(film) in WITH_ALPHA


def alpha_decoder(film: Any) -> Any:
    """The decoder that supports transparency, if one other than the default is needed."""
    import av

    if not has_alpha_apart(film):
        return None
    try:
        return av.CodecContext.create(WITH_ALPHA[codec_of(film)], "r")
    except av.codec.codec.UnknownCodecError:
        return None


#: Codecs whose decoders refuse in threads what begins anew in mid-stream (Ogg files joined).
UNTHREADED = ("theora",)


class _Pass:
    """The state of one pass over a file."""

    def __init__(
        self,
        path: Path,
        want: Collection[str],
        settings: Settings,
        progress: Callable[[float], None] | None,
    ) -> None:
        self.path = path
        self.want = want
        self.settings = settings
        self.progress = progress or (lambda _: None)
        self.contents = contents(path, settings)
        self.wants_sound = self.contents.audio is not None and bool(SOUND & set(want))
        self.sound = Sound(settings.max_duration_s) if self.wants_sound else None
        self.sound_failed: str | None = None
        self.samplers: dict[str, Sampler] = {}
        self.views: dict[tuple[Any, ...], View] = {}
        self.view: View | None = None
        self.size_changes = 0
        self.interlaced = False
        self.deinterlacer: Deinterlacer[tuple[float, View]] = Deinterlacer()
        self.damaged = 0
        self.concealed = 0
        self.subtitles: list[Subtitle] = []

    # What is decoded, in file order

    def run(self) -> Decoded:
        """Decode everything requested."""
        by_decord = self.settings.decoder == "decord"
        film = facts(self.path, self.settings) if by_decord else None
        others = decord.pictures(film, self.path, self.settings) if film else None
        waiting: list[Any] = []
        with self._opened() as container:
            for packet in self._packets(container):
                kind = packet.stream.type
                if kind == "video":
                    for frame in self._decoded(packet):
                        self._picture(frame, by_decord)
                elif kind == "subtitle":
                    self.subtitles += texts.subtitles_of(packet)
                elif self.clock.zero is None:
                    waiting.append(packet)
                    continue
                else:
                    self._hear(packet)
                if waiting and self.clock.zero is not None:
                    for early in waiting:
                        self._hear(early)
                    waiting = []
        for whole, (at, seen) in self.deinterlacer.finish():
            self._keep(whole, at, seen)
        if others is not None:
            self._take(others)
        if self.clock.count == 0:
            raise self._nothing()
        return self._result()

    def first(self) -> Any:
        """The first frame that is displayed."""
        with self._opened() as container:
            for packet in self._packets(container):
                if packet.stream.type != "video":
                    continue
                for frame in self._decoded(packet):
                    if self._tick(frame) is not None:
                        self._look(frame)
                        return frame
        raise self._nothing()

    def _nothing(self) -> InputError:
        damage = f" ({self.damaged} damaged packets)" if self.damaged else ""
        return InputError(
            "undecodable",
            f"no frame of {self.path.name} can be decoded{damage}",
            "fetch or export it again",
        )

    def _opened(self) -> AbstractContextManager[Any]:
        """The container; where a clock stands still, edit lists would cut everything off."""
        stand = any(packets.stand for packets in self.contents.played().values())
        return opened(self.path, self.settings, edits=not stand)

    def _packets(self, container: Any) -> Iterator[Any]:
        """Packets of the analyzed streams in file order, their times put right."""
        self.film = container.streams[self.contents.video]
        self.film.thread_type = self._threads()
        self.alpha = alpha_decoder(self.film)
        self.first_aspect = self.film.codec_context.sample_aspect_ratio
        self.crop = Crop.of(self.contents.crop, self.film.width, self.film.height)
        b_frames = bool(self.film.codec_context.has_b_frames)
        limit = self.settings.max_duration_s
        self.plan: Schedule = schedule(self.contents, b_frames, limit)
        self.clock = Clock(self.plan, limit)
        chosen = [self.film, *(s for s in container.streams.subtitles if is_text(s))]
        if self.wants_sound:
            chosen.append(container.streams[self.contents.audio])
        moves = {
            index: moved.per_packet(len(self.contents.packets[index]))
            for index, moved in self.plan.moves.items()
            if moved
        }
        seen = dict.fromkeys(moves, 0)
        for packet in Demuxed(container, chosen):
            index = packet.stream_index
            if index in moves and packet.size:
                self._move(packet, float(moves[index][min(seen[index], len(moves[index]) - 1)]))
                seen[index] += 1
            yield packet

    def _threads(self) -> str:
        """What of the pictures is decoded at once.

        Where whole ones are and the last packet is broken, PyAV loses those before it.
        """
        if codec_of(self.film) in UNTHREADED:
            return "NONE"
        return "SLICE" if self.contents.ended_early else "AUTO"

    @staticmethod
    def _move(packet: Any, seconds: float) -> None:
        """Move a packet's times, so that its frames come out with times that are right."""
        ticks = round(seconds / packet.time_base)
        if packet.pts is not None:
            packet.pts += ticks
        if packet.dts is not None:
            packet.dts += ticks

    def _decoded(self, packet: Any) -> list[Any]:
        import av

        if not packet.size and packet.pts is not None:
            return []  # Theora's way to say that the picture before stays
        own = self.alpha if packet.stream_index == self.contents.video else None
        try:
            frames = list(own.decode(packet if packet.size else None) if own else packet.decode())
        except av.error.FFmpegError:
            self.damaged += 1
            return []
        if packet.stream_index == self.contents.video:
            self.concealed += sum(frame.is_corrupt for frame in frames)
        return frames

    # Pictures

    def _tick(self, frame: Any) -> float | None:
        base = frame.time_base or self.film.time_base
        stamp = None if frame.pts is None else float(frame.pts * base)
        if self._pauses(self.contents.video, stamp):
            return None
        return self.clock.tick(stamp, float((frame.duration or 0) * base))

    def _pauses(self, index: int | None, stamp: float | None) -> bool:
        """Whether nothing of a stream is to be shown or heard at a time of the file's clock."""
        pauses = self.contents.pauses.get(index, ()) if index is not None else ()
        return stamp is not None and any(p.start - 1e-3 <= stamp < p.end - 1e-3 for p in pauses)

    def _picture(self, frame: Any, by_decord: bool) -> None:
        if by_decord:
            if self.clock.zero is None:
                self.clock.zero = float(frame.pts * frame.time_base) if frame.pts else 0.0
                self._look(frame)
            return
        t = self._tick(frame)
        if t is None:
            return
        view = self._look(frame)
        if not self.interlaced:
            self._keep(frame, t, view)
            return
        for whole, (at, seen) in self.deinterlacer.take(frame, (t, view)):
            self._keep(whole, at, seen)

    def _keep(self, frame: Any, t: float, view: View) -> None:
        for sampler in self.samplers.values():
            sampler.offer(t, lambda size: view.i420(frame, size))
        self.progress(t)

    def _look(self, frame: Any) -> View:
        """How pictures like this one are shown."""
        coded = self.film.codec_context.sample_aspect_ratio
        turn = self.view.turn if self.view else Turn()
        kind = (
            frame.width, frame.height, frame.format.name, frame.rotation or turn, frame.colorspace,
            frame.color_range, frame.color_trc, frame.color_primaries, coded,
        )  # fmt: skip
        self.interlaced |= frame.interlaced_frame
        view = self.views.get(kind)
        if view is None:
            if frame.width * frame.height > self.settings.max_pixels:
                raise too_large(frame.width, frame.height, self.settings.max_pixels)
            canvas = self.view.canvas if self.view else None
            view = View.of(frame, self._aspect(coded), self.crop, canvas, self.contents.dolby, turn)
            if len(self.views) > 64:
                self.views.clear()
            self.views[kind] = view
        if self.view is None:
            self.samplers = samplers(
                self.want, view.canvas, self.plan.content_s, self.plan.pictures,
                self.settings.tracks,
            )  # fmt: skip
            self.first_view = view
        elif self.view.shape != view.shape:
            self.size_changes += 1
        self.view = view
        return view

    def _aspect(self, coded: Any) -> float:
        """Width of a pixel over its height: the container's word, until the stream's changes."""
        said = self.film.sample_aspect_ratio if coded == self.first_aspect else coded
        aspect = float(said or 1)
        return aspect if 0.05 < aspect < 20 else 1.0

    def _take(self, pictures: Iterator[tuple[float, float, Any]]) -> None:
        for t, until, picture in pictures:
            self.clock.at(t, until)
            for sampler in self.samplers.values():
                sampler.offer(t, partial(decord.i420, picture))

    # Sound

    def _hear(self, packet: Any) -> None:
        if self.sound is None or self.sound_failed:
            return
        for frame in self._decoded(packet):
            stamp = None if frame.pts is None else float(frame.pts * frame.time_base)
            if self.plan.sound_stands and self.sound.fed:
                stamp = None
            if self._pauses(self.contents.audio, stamp):
                continue
            try:
                self.sound.feed(frame, stamp, self.clock.zero or 0.0)
            except Exception as error:  # noqa: BLE001 - a fault of the sound costs the sound alone
                self.sound_failed = f"{type(error).__name__}: {words(error)}"
                return

    # What comes of it

    def _result(self) -> Decoded:
        clock, sound = self.clock, self.sound
        heard = sound.finish() if sound and not self.sound_failed else None
        end = clock.end
        if heard and sound and sound.end > end + PADDING_S:
            end = sound.end
        tracks: dict[str, Any] = {n: s.frames(clock.end) for n, s in self.samplers.items()}
        if heard:
            audio = lasting(heard[0], end)
            tracks["audio"] = audio
            if "speech" in self.want:
                tracks["speech"] = Speech(detect_speech(audio).spans, _before(audio))
        zero = clock.zero or 0.0
        truncated = self._truncated(max(clock.end, sound.end if sound else 0.0))
        video = replace(
            self.facts(),
            duration_s=end,
            fps=clock.fps,
            variable_fps=clock.variable,
            frames=clock.count,
            picture_end_s=clock.end,
            frames_dropped=clock.dropped,
            start_offset_s=sound.before_s if sound else 0.0,
            damaged_packets=self.damaged,
            truncated=truncated,
            truncated_unknown=self._unknown(truncated),
            sound_mix=heard[1].how if heard else None,
            sound_gain_db=heard[1].gain_db if heard else None,
            samples_silenced=sound.silenced if sound else 0,
            silenced_share=sound.silenced_share if sound else 0.0,
            chapters=texts.chapters(self.contents, zero, end),
            subtitles=texts.shown(self.subtitles, zero, end),
        )
        if sound and not heard:
            video = self._soundless(video)
        tracks["video"] = video
        return Decoded(video, tracks)

    def _truncated(self, reached: float) -> bool | None:
        """Whether the file was cut off; None where that is not known."""
        promised = self.contents.promised_s
        if self.contents.ended_early:
            return True
        if promised is None or any(self.plan.moves.values()) or self.plan.counted:
            return False if self.contents.whole else None
        zero = self.clock.zero or 0.0
        if zero > AHEAD_S:  # live streams count their uptime in
            reached += zero
        else:
            reached += max(0.0, zero - self.contents.start)
        return max(reached, self.plan.content_s) < promised - 0.5

    def _unknown(self, truncated: bool | None) -> str | None:
        """Why it is not known whether the file was cut off, where it is not."""
        if truncated is not None:
            return None
        if self.contents.promised_s is None:
            return "nothing in the file tells its length or where it ends"
        return "its timestamps were repaired, so the length in its header cannot be compared"

    def _soundless(self, video: Video) -> Video:
        """The facts where an audio stream gave nothing."""
        why = UNDECODED
        if self.sound_failed:
            why = f"decoding it failed: {self.sound_failed}"
        elif self.sound and self.sound.fed:
            why = NO_NUMBERS
        streams = tuple(
            s.model_copy(update={"used": False, "reason": why})
            if s.index == self.contents.audio
            else s
            for s in video.streams
        )
        no_sound = unusable(video.audio_codec, why)
        return replace(video, has_audio=False, no_sound=no_sound, streams=streams)

    def facts(self) -> Video:
        """What is known after the first frame."""
        view, held, plan = self.first_view, self.contents, self.plan
        sound = self._sound_stream()
        video = next(s for s in held.streams if s.index == held.video)
        rate = 1 / plan.usual_s if plan.usual_s > 0 else 0.0
        truncated = self._truncated(plan.content_s)
        aperture = None
        if view.crop:
            aperture = view.shape
        return Video(
            duration_s=plan.content_s,
            width=view.canvas[0],
            height=view.canvas[1],
            fps=rate,
            variable_fps=False,
            frames=None,
            has_audio=held.audio is not None,
            start_offset_s=0.0,
            rotation=view.turn.degrees,
            video_codec=video.codec or "unknown",
            audio_codec=sound.codec if sound else None,
            audio_channels=held.audio_channels,
            audio_rate=held.audio_rate,
            container=held.format,
            size_bytes=self.path.stat().st_size,
            truncated=truncated,
            truncated_unknown=self._unknown(truncated),
            mirrored=view.turn.mirrored,
            size_changes=self.size_changes,
            clean_aperture=aperture,
            interlaced=self.interlaced,
            alpha_over="black" if view.coding.alpha else None,
            color=view.coding.color,
            hdr=view.coding.hdr,
            no_sound=held.no_sound,
            streams=held.streams,
            repairs=self._repairs(),
            chapters=texts.chapters(held, self.clock.zero or 0.0, plan.content_s),
        )

    def _sound_stream(self) -> StreamInfo | None:
        """The audio stream that is analyzed; else the first, so that its codec is named."""
        sounds = [s for s in self.contents.streams if s.kind == "audio"]
        chosen = [s for s in sounds if s.index == self.contents.audio]
        return next(iter([*chosen, *sounds]), None)

    def _repairs(self) -> tuple[Repair, ...]:
        repairs = list(self.clock.repairs())
        if has_alpha_apart(self.film) and self.alpha is None:
            about = "the video has transparency, which is ignored: FFmpeg here lacks libvpx"
            repairs.append(Repair(kind="alpha_unread", count=1, about=about))
        if self.concealed:
            about = "frames are damaged: FFmpeg concealed the missing parts"
            repairs.append(Repair(kind="damaged_pictures", count=self.concealed, about=about))
        if self.sound and self.sound.changes:
            about = "the audio changes its channels or sample rate: it was converted to the initial format"
            repairs.append(Repair(kind="sound_changed", count=self.sound.changes, about=about))
        if self.sound and self.sound.late_s > AUDIO_GAP_S:
            about = f"{self.sound.late_s:.2f} s of audio with overlapping timestamps was dropped"
            repairs.append(Repair(kind="sound_overlaps", count=self.sound.overlaps, about=about))
        return tuple(repairs)


def pictures_at(path: Path, times: Collection[float], short: int, settings: Settings) -> Frames:
    """The frames shown at the given times, in chronological order, each once.

    ``times`` are seconds from the first displayed frame; ``short`` bounds the short side in
    pixels. A time past the last frame yields that frame. Raises ``InputError`` like ``probe``.
    """
    with _typed(path):
        return _Look(path, times, short, settings).frames()


class _Look(_Pass):
    """A pass that keeps the pictures shown at some times, and ends after the last of these."""

    def __init__(
        self, path: Path, times: Collection[float], short: int, settings: Settings
    ) -> None:
        super().__init__(path, (), settings, None)
        self.wanted = sorted(times)
        self.short = short
        self.found: dict[float, Any] = {}
        self.shown: tuple[Any, float, View] | None = None

    def frames(self) -> Frames:
        with opened(self.path, self.settings) as container:
            for packet in self._packets(container):
                if packet.stream.type == "video":
                    for frame in self._decoded(packet):
                        self._picture(frame, False)
                if not self.wanted:
                    break
        for whole, (at, seen) in self.deinterlacer.finish():
            self._keep(whole, at, seen)
        if self.wanted:
            self._take_shown()
        if not self.found:
            raise self._nothing()
        pictures = np.stack(list(self.found.values()))
        return Frames(fixed(np.array(list(self.found))), fixed(pictures), self.clock.end)

    def _keep(self, frame: Any, t: float, view: View) -> None:
        if self.wanted and self.wanted[0] < t - 1e-6:
            self._take_shown()
            self.wanted = [one for one in self.wanted if one >= t - 1e-6]
        self.shown = (frame, t, view)

    def _take_shown(self) -> None:
        if self.shown is not None:
            frame, t, view = self.shown
            width, height = view.canvas
            scale = min(1.0, self.short / min(width, height))
            size = (max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2)))
            self.found[t] = view.i420(frame, size)


def frame_times(path: Path, settings: Settings) -> list[float]:
    """When each displayed frame begins, in seconds from the first. Raises ``InputError``."""
    with _typed(path):
        return _Times(path, (), settings, None).all()


class _Times(_Pass):
    """A pass that keeps nothing but the times of the frames."""

    def all(self) -> list[float]:
        found: list[float] = []
        with opened(self.path, self.settings) as container:
            for packet in self._packets(container):
                if packet.stream.type != "video":
                    continue
                for frame in self._decoded(packet):
                    t = self._tick(frame)
                    if t is not None:
                        found.append(t)
                        self._look(frame)
        if not found:
            raise self._nothing()
        return found
