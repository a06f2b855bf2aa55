"""From seconds to frames and timecode, by the frame rate in the report."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from opentimelineio.opentime import RationalTime

#: A measured rate this close to a usual one, as a share of it, is that one. 24 and 24000/1001 are
#: 0.001 apart.
NEAR = 4e-4
#: Rates that SMPTE timecode (ST 12-1, ST 12-3) counts in.
TIMECODE_RATES = tuple(
    Fraction(n) for n in (24, 25, 30, 48, 50, 60)
) + tuple(Fraction(n * 1000, 1001) for n in (24, 30, 48, 60))  # fmt: skip


class Raster(NamedTuple):
    """The frames of a video: ``rate`` per second, ``total`` of them.

    ``steady``: they are evenly spaced, so that a time tells the number of its frame. Where they
    are not, ``rate`` is the nearest one that editors have, to which they conform such a file;
    ``times``, where they were read from the file, are then when its frames begin.
    """

    rate: Fraction
    steady: bool
    total: int
    times: tuple[float, ...] = ()

    @property
    def counts(self) -> bool:
        """Whether the number of a time's frame is known."""
        return self.steady or bool(self.times)

    def frame(self, seconds: float) -> int:
        """Number, from 0, of the frame that begins nearest to a time."""
        if self.times:
            after = bisect_left(self.times, seconds)
            near = range(max(0, after - 1), min(after + 1, self.total))
            return min(near, key=lambda k: abs(self.times[k] - seconds))
        return max(0, round(seconds * self.rate))

    def span(self, start: float, end: float) -> tuple[int, int]:
        """First frame of a stretch, and the one after its last; at least one frame."""
        first = min(self.frame(start), max(0, self.total - 1))
        return first, max(first + 1, min(self.frame(end), self.total))

    def timecode(self, seconds: float) -> str | None:
        """SMPTE timecode of a time, from 00:00:00:00; drop-frame (``;``) at 29.97 and 59.94.

        None where the rate has none, or where frames are not evenly spaced.
        """
        if not (self.steady and self.rate in TIMECODE_RATES):
            return None
        code: str = RationalTime(self.frame(seconds), float(self.rate)).to_timecode()
        return code

    @property
    def drops(self) -> bool:
        """Whether its timecode leaves out numbers, to keep up with the clock."""
        return self.rate in (Fraction(30_000, 1001), Fraction(60_000, 1001))


def raster_of(report: Mapping[str, Any], times: Sequence[float] | None = None) -> Raster:
    """The frames of the video of a loaded report; ``times`` are theirs, where they are known."""
    video = report["video"]
    steady = not video.get("variable_fps", False)
    end = video.get("picture_end_s") or video["duration_s"]
    rate = _exact(video["fps"], end) if steady else _nearest(video["fps"])
    if times and not steady:
        return Raster(rate, steady, len(times), tuple(times))
    return Raster(rate, steady, max(1, round(end * rate)))


def _exact(fps: float, end: float) -> Fraction:
    """The rate that a mean of four decimals stands for: n or n · 1000/1001 where that is as near as
    can be told, or moves no frame by half of one up to the end; else a plain ratio."""
    whole = [Fraction(n) for n in (round(fps), int(fps) + 1) if n]
    near = min([*whole, *(n * Fraction(1000, 1001) for n in whole)], key=lambda r: abs(r - fps))
    off = abs(near - fps)
    return near if off <= NEAR * near or off * end < 0.5 else Fraction(fps).limit_denominator(1001)


def _nearest(fps: float) -> Fraction:
    return min(TIMECODE_RATES, key=lambda rate: abs(rate - fps))
