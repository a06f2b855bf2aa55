"""The available analyzers: those in the folder ``actors``, and those of installed packages.

A package provides one through an entry point of the group ``tiktok_ray.analyzers`` for its class::

    [project.entry-points."tiktok_ray.analyzers"]
    stillness = "tiktok_ray_stillness:Stillness"
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

from tiktok_ray.analyzer import Analyzer
from tiktok_ray.graph import Graph, GraphError
from tiktok_ray.report import said

GROUP = "tiktok_ray.analyzers"


def make_graph() -> Graph:
    """The graph of all available analyzers. Raises ``GraphError`` if they do not fit together."""
    from actors import ANALYZERS

    classes = {analyzer.name: analyzer for analyzer in ANALYZERS}
    for entry, analyzer in plug_ins():
        if analyzer.name in classes:
            raise GraphError(f"{_told(entry)}: an analyzer named {analyzer.name} already exists")
        classes[analyzer.name] = analyzer
    return Graph(classes.values())


def plug_ins() -> Iterator[tuple[EntryPoint, type[Analyzer]]]:
    """Analyzers of installed packages. Raises ``GraphError`` for one that cannot be loaded: an
    installed analyzer is never silently left out of reports.
    """
    for entry in entry_points(group=GROUP):
        try:
            found = entry.load()
        except Exception as error:
            words = f"{_told(entry)} cannot be imported: {said(error)}"
            raise GraphError(words) from error
        if not (isinstance(found, type) and issubclass(found, Analyzer)):
            raise GraphError(f"{_told(entry)} is not an analyzer")
        if getattr(found, "name", None) != entry.name:
            raise GraphError(
                f"{_told(entry)}: the entry point and its analyzer must have the same name"
            )
        yield entry, found


def _told(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist else "an installed package"
    return f"the analyzer {entry.name} of {package} ({entry.value})"
