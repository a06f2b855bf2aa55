"""Set operations on time intervals.

A span is half-open, ``[start, end)``, in seconds from the first displayed frame. Every function
takes any iterable of ``(start, end)`` pairs, in any order and overlapping as they like, and
returns a list of disjoint spans ordered by start.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """A half-open interval of time in seconds."""

    start: float
    end: float

    @property
    def length(self) -> float:
        return max(0.0, self.end - self.start)


Pairs = Iterable[tuple[float, float]]


def union(spans: Pairs, gap: float = 0.0) -> list[Span]:
    """Merge spans that touch, overlap, or lie at most ``gap`` seconds apart; drop empty ones."""
    merged: list[Span] = []
    for start, end in sorted((s, e) for s, e in spans if e > s):
        if merged and start <= merged[-1].end + gap:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, end))
        else:
            merged.append(Span(start, end))
    return merged


def intersect(a: Pairs, b: Pairs) -> list[Span]:
    """The parts that are in both."""
    left, right = union(a), union(b)
    both: list[Span] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start = max(left[i].start, right[j].start)
        end = min(left[i].end, right[j].end)
        if end > start:
            both.append(Span(start, end))
        if left[i].end <= right[j].end:
            i += 1
        else:
            j += 1
    return both


def subtract(a: Pairs, b: Pairs) -> list[Span]:
    """The parts of ``a`` that are not in ``b``."""
    holes = union(b)
    rest: list[Span] = []
    for start, end in union(a):
        at = start
        for hole in holes:
            if hole.end <= at or hole.start >= end:
                continue
            if hole.start > at:
                rest.append(Span(at, hole.start))
            at = max(at, hole.end)
        if at < end:
            rest.append(Span(at, end))
    return rest


def invert(spans: Pairs, within: tuple[float, float]) -> list[Span]:
    """The parts of ``within`` not covered by any span."""
    return subtract([within], spans)


def total(spans: Pairs) -> float:
    """Seconds covered, counted once."""
    return sum(s.length for s in union(spans))


def overlap(a: Pairs, b: Pairs) -> float:
    """Seconds that are in both."""
    return total(intersect(a, b))


def share(part: Pairs, of: Pairs) -> float:
    """Share of ``of`` that ``part`` covers, 0..1; 0 when ``of`` is empty."""
    whole = total(of)
    return overlap(part, of) / whole if whole > 0 else 0.0


def longer(spans: Pairs, than: float) -> list[Span]:
    """Drop spans shorter than ``than`` seconds."""
    return [s for s in union(spans) if s.length >= than]


def covers(spans: Pairs, t: float) -> bool:
    """Whether ``t`` is inside one of the spans."""
    return any(start <= t < end for start, end in spans)


def runs(times: Sequence[float], flags: Sequence[bool], end: float) -> list[Span]:
    """Runs of true flags. Each sample holds until the next one, the last until ``end``."""
    edges = [*times, max(end, times[-1])] if len(times) else []
    return union((edges[i], edges[i + 1]) for i, flag in enumerate(flags) if flag)
