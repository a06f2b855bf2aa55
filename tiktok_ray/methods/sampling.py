"""Which samples of a track to look at, and how long what is seen in each holds."""

from collections.abc import Sequence

from tiktok_ray.spans import Span

EPSILON_S = 1e-3


def thin(times: Sequence[float], fps: float, breaks: Sequence[float] = ()) -> list[int]:
    """Indices of the samples to look at so that at most ``fps`` a second remain.

    ``times`` ascend; the first sample, and the first at or after each of ``breaks`` (cuts), is
    always among them, so that every shot that was sampled is looked at.
    """
    kept: list[int] = []
    edges = sorted(breaks)
    for index, t in enumerate(times):
        last = times[kept[-1]] if kept else None
        if (
            last is None
            or t - last >= 1 / fps - EPSILON_S
            or any(last < edge - EPSILON_S and edge <= t + EPSILON_S for edge in edges)
        ):
            kept.append(index)
    return kept


def holds(times: Sequence[float], end: float, breaks: Sequence[float] = ()) -> list[Span]:
    """The span for which each sample stands: until the next sample, the next cut, or ``end``."""
    edges = sorted(breaks)
    spans: list[Span] = []
    for index, t in enumerate(times):
        until = times[index + 1] if index + 1 < len(times) else max(end, t)
        cut = next((edge for edge in edges if t + EPSILON_S < edge < until), until)
        spans.append(Span(float(t), float(cut)))
    return spans
