"""Which analyzers there are."""

from __future__ import annotations

from tiktok_ray.graph import Graph


def make_graph() -> Graph:
    """The graph of all analyzers that there are. Raises ``GraphError`` where they do not fit."""
    from actors import ANALYZERS

    return Graph(ANALYZERS)
