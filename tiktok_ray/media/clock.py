"""When each frame is shown, even if the file's own timestamps cannot be trusted.

Two faults are repaired before decoding, from the packets. *Jumps*: timestamps that start over or leap
ahead (joined recordings, live streams): what follows is moved to the end of the preceding frames, for
all streams alike. *Timestamps that are not display times* (AVI with B-frames, raw streams, muxers that
write decode times): the n-th frame gets the n-th of the sorted timestamps, or, if there are none or
they are all equal, n times the duration of a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media.container import SHORTEST_S, Contents, Packets
from tiktok_ray.media.facts import InputError, too_long
from tiktok_ray.media.spans import Span
from tiktok_ray.report import Repair

#: A clock that goes back by more than this has started again. Decode times never go back; where
#: there are none, times of display do, by reordering.
BACK_S = 0.2
REORDERED_S = 1.0
#: A step ahead by more than this may be a jump: FFmpeg's `dts_delta_threshold`.
AHEAD_S = 10.0
#: Containers of broadcast and live streams: their clocks are known to jump.
LIVE = ("mpegts", "mpeg", "flv")
#: Pictures per second of raw streams that do not say: FFmpeg's default.
RAW_FPS = 25.0


@dataclass(frozen=True)
class Moves:
    """Offsets to add to the times of a stream, each from one packet (by index) to the next entry."""

    starts: tuple[int, ...] = (0,)
    seconds: tuple[float, ...] = (0.0,)

    def __bool__(self) -> bool:
        return len(self.starts) > 1

    def per_packet(self, count: int) -> NDArray[np.float64]:
        """Seconds to add to each of the first ``count`` packets."""
        lengths = np.diff([*(min(s, count) for s in self.starts), count])
        return np.repeat(self.seconds, lengths)


@dataclass(frozen=True)
class Schedule:
    """How the timestamps of a file are interpreted.

    ``stamps``: times of the n-th displayed picture from zero, where its own stamp does not tell
    them, with ``zero`` on the file's clock; else None, and ``zero`` is the time of the first picture
    if it has none of its own.
    ``counted``: whether those stamps are a count of pictures, so that each lasts ``usual_s``.
    ``sound_stands``: whether the clock of the sound does not run, so that it has to be counted.
    ``content_s``: from the first packet to the end of the last, over all analyzed streams.
    """

    moves: Mapping[int, Moves]
    stamps: NDArray[np.float64] | None
    zero: float | None
    usual_s: float
    content_s: float
    pictures: int
    repairs: tuple[Repair, ...]
    counted: bool = False
    sound_stands: bool = False


def schedule(contents: Contents, has_b_frames: bool, limit_s: float) -> Schedule:
    """Analyze the timestamps of a file. Raises ``InputError`` if its content is too long."""
    played = contents.played()
    video = played.get(contents.video)
    if video is None or not len(video):
        raise InputError(
            "undecodable", "the video stream contains no frames", "fetch or export it again"
        )
    moves, repairs = _moves(contents, limit_s)
    stamps, zero, more = _stamps(contents.format, video, has_b_frames)
    usual = video.usual or 1 / RAW_FPS
    sound = played.get(contents.audio) if contents.audio is not None else None
    stands = sound is not None and sound.stand
    if stands:
        about = "the audio timestamps do not advance: the audio was timed by counting its samples"
        more.append(Repair(kind="no_sound_times", count=len(sound or ()), about=about))
    lengths = [_length(packets, moves[index]) for index, packets in played.items() if len(packets)]
    content = max([*lengths, stamps[-1] - stamps[0] + usual if stamps is not None else 0.0])
    if content > limit_s:
        raise too_long(content, limit_s)
    counted = any(repair.kind == "no_times" for repair in more)
    for index in played:
        more += [_pause(span) for span in contents.pauses.get(index, ())]
    repairs += more
    return Schedule(
        moves, stamps, zero, usual, content, len(video.shown), tuple(repairs), counted, stands
    )


def _pause(span: Span) -> Repair:
    about = f"the edit list is empty from {span.start:.2f} to {span.end:.2f} s: no new frames there"
    return Repair(kind="empty_edit", count=1, about=about)


def _clock(packets: Packets) -> NDArray[np.float64]:
    """Decode times, else those of display, gaps filled from before; empty where there are none."""
    times = packets.dts if np.isfinite(packets.dts).any() else packets.pts
    known = np.flatnonzero(np.isfinite(times))
    if not len(known):
        return np.empty(0)
    at = np.maximum(np.searchsorted(known, np.arange(len(times)), "right") - 1, 0)
    return times[known[at]]


def _length(packets: Packets, moves: Moves) -> float:
    """From the first moment of a stream to its last, moved; 0 if no packet has a time."""
    times = np.where(np.isfinite(packets.pts), packets.pts, packets.dts)
    times = times + moves.per_packet(len(packets))
    if packets.hidden is not None:
        times[packets.hidden] = np.nan
    if not np.isfinite(times).any():
        return 0.0
    last = int(np.nanargmax(times))
    return float(times[last] + packets.duration[last] - np.nanmin(times))


@dataclass(frozen=True)
class _Break:
    packet: int
    before: float
    after: float

    @property
    def step(self) -> float:
        return self.after - self.before


def _breaks(packets: Packets) -> list[_Break]:
    """Where a stream's clock goes back, or leaps ahead."""
    shown = packets.shown
    times = _clock(packets)
    if len(times) < 2 or len(shown) < 2:
        return []
    times, lengths = times[shown], packets.duration[shown]
    steps = np.diff(times)
    ends = times[:-1] + np.minimum(lengths[:-1], AHEAD_S)
    back = BACK_S if np.isfinite(packets.dts).any() else REORDERED_S
    odd = np.flatnonzero((steps < -back) | (times[1:] - ends > AHEAD_S))
    return [_Break(int(shown[k + 1]), float(ends[k]), float(times[k + 1])) for k in odd]


def _moves(contents: Contents, limit_s: float) -> tuple[dict[int, Moves], list[Repair]]:
    played = contents.played()
    breaks = {index: _breaks(packets) for index, packets in played.items()}
    lead = contents.video if breaks[contents.video] else next(iter(played))
    others = [index for index in played if index != lead]
    moves = {index: ([0], [0.0]) for index in played}
    restarts = jumps = 0
    hours = 0.0
    used: dict[int, int] = dict.fromkeys(others, 0)
    ends = [*(b.packet for b in breaks[lead]), None][1:]
    for found, until in zip(breaks[lead], ends, strict=True):
        partners = {i: _partner(found, breaks[i][used[i] :]) for i in others}
        if found.step > 0 and not _is_jump(found, contents, partners, played, limit_s):
            continue
        packets = played[lead]
        begin = moves[lead][0][-1]
        shift = _continued(packets, begin, found.packet, until) + moves[lead][1][-1]
        moves[lead][0].append(found.packet)
        moves[lead][1].append(shift)
        for index, partner in partners.items():
            if partner is not None:
                used[index] = breaks[index].index(partner) + 1
                moves[index][0].append(partner.packet)
                moves[index][1].append(shift)
        restarts += found.step < 0
        jumps += found.step > 0
        hours = max(hours, abs(found.step))
    repairs = []
    if restarts:
        repairs.append(
            Repair(
                kind="clock_restarted",
                count=restarts,
                about="the timestamps start over: what follows was placed after what came before",
            )
        )
    if jumps:
        repairs.append(
            Repair(
                kind="clock_jumped",
                count=jumps,
                about=f"the timestamps jump ahead by up to {hours:.0f} s: the gap was closed",
            )
        )
    return {i: Moves(tuple(starts), tuple(by)) for i, (starts, by) in moves.items()}, repairs


def _partner(found: _Break, others: list[_Break]) -> _Break | None:
    """The break of another stream that is the same event."""
    alike = [o for o in others if (o.step > 0) == (found.step > 0)]
    near = [o for o in alike if abs(o.after - found.after) < AHEAD_S]
    return near[0] if near else None


def _is_jump(
    found: _Break,
    contents: Contents,
    partners: Mapping[int, _Break | None],
    played: Mapping[int, Packets],
    limit_s: float,
) -> bool:
    """Whether a step ahead is a jump of the clock, and not a picture that stands for long.

    A clock jumps for all streams at once. Where there is no other stream at that time, it is
    judged by the kind of container, and by whether a video that long would be taken at all.
    """
    if any(partner is not None for partner in partners.values()):
        return True
    for index in partners:
        times = _clock(played[index])
        if ((times > found.before) & (times < found.after)).any():
            return False
    return contents.format in LIVE or found.step > limit_s


def _continued(packets: Packets, begin: int, at: int, until: int | None) -> float:
    """What to add from a break until the next so that pictures go on without a gap after those
    before it."""
    times = np.where(np.isfinite(packets.pts), packets.pts, packets.dts)
    if packets.hidden is not None:
        times[packets.hidden] = np.nan
    before, after = times[begin:at], times[at:until][:32]
    if not (np.isfinite(before).any() and np.isfinite(after).any()):
        return 0.0
    last = begin + int(np.nanargmax(before))
    length = packets.duration[last]
    length = length if SHORTEST_S < length <= AHEAD_S else packets.usual
    return float(times[last] + length - np.nanmin(after))


def _stamps(
    format: str, video: Packets, has_b_frames: bool
) -> tuple[NDArray[np.float64] | None, float | None, list[Repair]]:
    """Times of the n-th displayed picture, where packets do not tell them, and their zero."""
    usual = video.usual or 1 / RAW_FPS
    timed = np.isfinite(video.pts)
    if video.stand:
        about = f"the frame timestamps do not advance: each frame was given {usual:.4g} s"
        count = len(video)
        repair = Repair(kind="no_times", count=count, about=about)
        return np.arange(count, dtype=float) * usual, float(np.nanmin(video.pts)), [repair]
    if timed.mean() < 0.5:
        if np.isfinite(video.dts).mean() < 0.5:
            about = f"the file has no timestamps: each frame was given {usual:.4g} s"
            count = len(video)
            repair = Repair(kind="no_times", count=count, about=about)
            return np.arange(count, dtype=float) * float(usual), 0.0, [repair]
        times = video.dts
    elif format == "avi" or (
        has_b_frames and len(video) > 2 and np.array_equal(video.pts[timed], video.dts[timed])
    ):
        times = video.dts
    else:
        first = int(np.argmax(timed))  # Matroska's clock has no times below zero: they are missing
        return None, float(video.pts[first]) - first * usual, []
    ordered: NDArray[np.float64] = np.sort(times[np.isfinite(times)])
    zero = float(ordered[0])
    ordered = ordered - zero
    if len(ordered) > 2 and usual * 1.5 < ordered[1] <= usual * 8:
        # Chunks left empty while the encoder of packed B frames fills up.
        ordered[1:] -= ordered[1] - usual
    if np.array_equal(video.pts[timed], np.sort(video.pts[timed])) and not has_b_frames:
        return ordered, zero, []
    about = "the file has decode timestamps only: frames were timed in display order"
    return ordered, zero, [Repair(kind="decode_times", count=len(ordered), about=about)]


class Clock:
    """Times of displayed frames: ascending, from zero, within the limit."""

    def __init__(self, plan: Schedule, limit_s: float) -> None:
        self.plan = plan
        self.limit_s = limit_s
        self.zero: float | None = None
        self.count = 0
        self.dropped = 0
        self.untimed = 0
        self.end = 0.0
        self.last = -1.0
        self._shown = 0
        self._shortest = np.inf
        self._longest = 0.0

    def tick(self, stamp: float | None, length: float) -> float | None:
        """The time of the next decoded frame, or None if it is not displayed."""
        stamps = self.plan.stamps
        self._shown += 1
        if self.zero is None:
            own = stamp if stamps is None else None
            self.zero = own if own is not None else self.plan.zero or 0.0
        if self.plan.counted:
            length = self.plan.usual_s
        if stamps is not None:
            n = self._shown - 1
            more = max(0, n - len(stamps) + 1)
            t = float(stamps[min(n, len(stamps) - 1)]) + more * self.plan.usual_s
        elif stamp is None:
            self.untimed += 1
            t = self.end
        else:
            t = stamp - self.zero
        if t <= self.last:
            self.dropped += 1
            return None
        self.at(t, t + length if SHORTEST_S < length <= self.limit_s else t)
        return t

    def at(self, t: float, end: float) -> None:
        """A frame is shown from ``t`` until ``end`` (or for the usual frame duration)."""
        if t > self.limit_s:
            raise too_long(t, self.limit_s)
        if self.count:
            step = t - self.last
            self._shortest = min(self._shortest, step)
            self._longest = max(self._longest, step)
        self.count += 1
        self.last = t
        usual = (t / (self.count - 1)) if self.count > 1 else self.plan.usual_s
        self.end = end if end > t else t + usual

    def repairs(self) -> tuple[Repair, ...]:
        """Repairs made before and during decoding."""
        found = list(self.plan.repairs)
        if self.untimed:
            about = "frames without a timestamp were placed after the previous one"
            found.append(Repair(kind="missing_times", count=self.untimed, about=about))
        if self.dropped:
            about = "frames whose timestamp does not follow the previous one were dropped"
            found.append(Repair(kind="not_ascending", count=self.dropped, about=about))
        return tuple(found)

    @property
    def fps(self) -> float:
        return self.count / self.end if self.end > 0 else 0.0

    @property
    def variable(self) -> bool:
        """Whether the longest step is over 1.5 times the shortest."""
        return self.count > 2 and self._longest > 1.5 * self._shortest
