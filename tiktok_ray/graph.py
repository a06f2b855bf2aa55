"""The graph of analyzers, read from their signatures and checked before any model loads."""

from __future__ import annotations

import difflib
import dis
import hashlib
import inspect
import itertools
import os
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from graphlib import CycleError, TopologicalSorter
from importlib.machinery import SourceFileLoader
from modulefinder import ModuleFinder
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
IMPORT_NAME = dis.opmap["IMPORT_NAME"]


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
    found: set[Path] = set()
    for level, module, members in _import_statements(file):
        names = [module, *(f"{module}.{member}" for member in members)]
        if level:
            bases = [file.parents[level - 1]]
        elif package is not None and module.partition(".")[0] == package.name:
            bases = [ROOT, package.parent]
        else:
            bases = [ROOT]
        for base in bases:
            found.update(*(_module_files(base, name.strip(".")) for name in names))
    return tuple(sorted(found))


@lru_cache(maxsize=4096)
def _module_files(folder: Path, module: str) -> tuple[Path, ...]:
    """The files that a module by its dotted name would have in a folder, as far as they exist."""
    place = os.path.join(folder, *module.split("."))
    files = (f"{place}.py", os.path.join(place, "__init__.py"))
    return tuple(Path(file) for file in files if os.path.isfile(file))


def _import_statements(file: Path) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Level, module and members of each import in a module.

    They are read from its compiled code, which Python keeps while the source stays the same: a tenth
    of the time of parsing it.
    """
    finder = ModuleFinder()
    for code in _code_objects(SourceFileLoader(file.stem, str(file)).get_code(file.stem)):
        if IMPORT_NAME not in code.co_code[::2]:
            continue
        for kind, what in finder.scan_opcodes(code):
            if kind == "absolute_import":
                members, module = what
                yield 0, module, members or ()
            elif kind == "relative_import":
                level, members, module = what
                yield level, module, members or ()


def _code_objects(code: types.CodeType | None) -> Iterator[types.CodeType]:
    """A piece of compiled code and all that is defined inside."""
    if code is not None:
        yield code
        for const in code.co_consts:
            if isinstance(const, types.CodeType):
                yield from _code_objects(const)


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
