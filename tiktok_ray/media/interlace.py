"""Deinterlacing: an interlaced frame holds two moments, in its even and odd lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Deinterlacer(Generic[T]):
    """FFmpeg's bwdif, one frame out per frame in; progressive frames pass unchanged.

    It looks one frame ahead, so frames come out one step later than they go in, each with the data
    passed along with it.
    """

    def __init__(self) -> None:
        self._graph: Any = None
        self._kind: tuple[int, int, str] | None = None
        self._waiting: deque[T] = deque()
        self._count = 0

    def take(self, frame: Any, beside: T) -> Iterator[tuple[Any, T]]:
        """The frames that are ready once this one is fed."""
        kind = (frame.width, frame.height, frame.format.name)
        if kind != self._kind:
            yield from self.finish()
            self._open(frame)
            self._kind = kind
        self._waiting.append(beside)
        base = Fraction(1, 1000)
        frame.pts, frame.time_base = self._count * 40, base  # ascending, whatever the file says
        self._count += 1
        self._graph.vpush(frame)
        yield from self._ready()

    def finish(self) -> Iterator[tuple[Any, T]]:
        """The remaining frames."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._ready()
        self._graph, self._kind = None, None

    def _open(self, frame: Any) -> None:
        import av

        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
        )
        weave = graph.add("bwdif", "mode=send_frame:deint=interlaced")
        graph.link_nodes(source, weave, graph.add("buffersink")).configure()
        self._graph = graph

    def _ready(self) -> Iterator[tuple[Any, T]]:
        import av

        while self._waiting:
            try:
                made = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            yield made, self._waiting.popleft()
