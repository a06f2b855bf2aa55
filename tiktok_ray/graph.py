"""The graph of analyzers, read from their signatures and checked before any model loads."""

from __future__ import annotations

import ast
import difflib
import hashlib
import inspect
import itertools
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tiktok_ray.analyzer import Analyzer, Partial
from tiktok_ray.media import TRACKS
from tiktok_ray.report import Output


class GraphError(Exception):
    """The analyzers do not fit together: a typo, a wrong type, or a cycle."""


@dataclass(frozen=True)
class Edge:
    """One input of an analyzer: a media track or another analyzer's output."""

    source: str
    soft: bool

    @property
    def is_track(self) -> bool:
        return self.source in TRACKS


class Graph:
    """Analyzers by name, with what each reads. Raises ``GraphError`` when they do not fit."""

    def __init__(self, analyzers: Iterable[type[Analyzer]]) -> None:
        self.analyzers = {a.name: a for a in analyzers}
        self.outputs = {name: _output_type(a) for name, a in self.analyzers.items()}
        self.edges = {name: self._edges_of(a) for name, a in self.analyzers.items()}
        try:
            self.order = tuple(
                TopologicalSorter({n: sorted(p) for n, p in self.producers.items()}).static_order()
            )
        except CycleError as error:
            raise GraphError(
                f"analyzers depend on each other: {' → '.join(error.args[1])}"
            ) from None

    def _edges_of(self, analyzer: type[Analyzer]) -> tuple[Edge, ...]:
        hints = typing.get_type_hints(analyzer.analyze)
        edges = []
        for name in list(inspect.signature(analyzer.analyze).parameters)[1:]:
            where = f"{analyzer.__name__}.analyze({name})"
            expected = TRACKS.get(name) or self.outputs.get(name)
            if expected is None:
                raise GraphError(f"{where}: no media track or analyzer has this name")
            kinds = _alternatives(hints.get(name))
            soft = types.NoneType in kinds
            if kinds - {types.NoneType} != {expected}:
                raise GraphError(f"{where}: must be annotated {expected.__name__}")
            edges.append(Edge(name, soft))
        return tuple(edges)

    @cached_property
    def producers(self) -> dict[str, set[str]]:
        """Each analyzer's producers, soft and hard."""
        return {n: {e.source for e in edges if not e.is_track} for n, edges in self.edges.items()}

    def tracks(self, names: Iterable[str]) -> set[str]:
        """Media tracks that the named analyzers read."""
        return {e.source for name in names for e in self.edges[name] if e.is_track}

    def select(self, only: Collection[str] = (), without: Collection[str] = ()) -> tuple[str, ...]:
        """The chosen analyzers and their required producers, in a valid order.

        ``without`` takes precedence over ``only``. Raises ``GraphError`` for an unknown name, for
        an excluded analyzer that a chosen one requires, and if nothing is left.
        """
        for name in (*only, *without):
            self._known(name)
        chosen = (set(only) or set(self.analyzers)) - set(without)
        if not chosen:
            raise GraphError("no analyzer is left: all selected analyzers are excluded")
        waiting = list(chosen)
        while waiting:
            name = waiting.pop()
            for edge in self.edges[name]:
                if edge.is_track or edge.soft or edge.source in chosen:
                    continue
                if edge.source in without and name in only:
                    raise GraphError(f"{name} cannot run without {edge.source}")
                if edge.source not in without:
                    chosen.add(edge.source)
                    waiting.append(edge.source)
        return tuple(name for name in self.order if name in chosen)

    def _known(self, name: str) -> None:
        if name not in self.analyzers:
            near = difflib.get_close_matches(name, self.order, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise GraphError(
                f"unknown analyzer {name!r}{meant}; available: {', '.join(self.order)}"
            )

    def check_options(self, options: Mapping[str, Mapping[str, Any]]) -> None:
        """Raise ``GraphError`` for options of an unknown analyzer, and for invalid options."""
        for name, given in options.items():
            self._known(name)
            try:
                self.analyzers[name].options_type.model_validate(given)
            except ValidationError as error:
                told = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
                there = ", ".join(self.analyzers[name].options_type.model_fields) or "none"
                raise GraphError(
                    f"invalid options of {name}: {'; '.join(told)}; its options: {there}"
                ) from None

    @cached_property
    def urgency(self) -> dict[str, float]:
        """Estimated cost of an analyzer plus the longest chain of analyzers that depend on it."""
        worth: dict[str, float] = {}
        for name in reversed(self.order):
            after = [worth[n] for n, producers in self.producers.items() if name in producers]
            worth[name] = self.analyzers[name].needs.cost + max(after, default=0.0)
        return worth

    @cached_property
    def digests(self) -> dict[str, str]:
        """Hash of the code behind each analyzer: its file and all of ours that it imports."""
        return {name: code_digest(_file(a)) for name, a in self.analyzers.items()}


def _output_type(analyzer: type[Analyzer]) -> type[Output]:
    kinds = _alternatives(typing.get_type_hints(analyzer.analyze).get("return")) - {Partial}
    if len(kinds) == 1 and isinstance(kind := kinds.pop(), type) and issubclass(kind, Output):
        return kind
    raise GraphError(f"{analyzer.__name__}.analyze: must return one Output type")


def _alternatives(annotation: object) -> set[object]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return set(typing.get_args(annotation))
    return {annotation}


def _file(analyzer: type[Analyzer]) -> Path:
    return Path(inspect.getfile(analyzer))


ROOT = Path(__file__).parent.parent


def code_digest(file: Path) -> str:
    """Hash of a module's file and of the files of all modules of ours that it leads to."""
    return _digest(_sources(file))


def _sources(file: Path) -> set[Path]:
    """A module's file and the files that it leads to: of this project, and of its own package where
    another brings it.
    """
    found: set[Path] = set()
    waiting, package = [file], _package(file)
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imports(file, package)
    return found


def _package(file: Path) -> Path | None:
    """The outermost package that a module lies in; None for one that stands alone."""
    folders = itertools.takewhile(lambda folder: (folder / "__init__.py").is_file(), file.parents)
    return max(folders, key=lambda folder: -len(folder.parts), default=None)


@lru_cache(maxsize=512)
def _imports(file: Path, package: Path | None) -> tuple[Path, ...]:
    """Files of this project, and of a package, that a module imports, also inside functions."""
    names: set[str] = set()
    places: list[Path] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            places += [base, *(base / alias.name for alias in node.names)]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    for name in names:
        places.append(ROOT / name.replace(".", "/"))
        if package is not None and name.partition(".")[0] == package.name:
            places.append(package.parent / name.replace(".", "/"))
    files = (p for place in places for p in (place.with_suffix(".py"), place / "__init__.py"))
    return tuple(sorted(p for p in files if p.is_file()))


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
