"""Clips whose truth is known exactly, made on demand: ``python -m benchmarks.factory``.

A family is a module of this package whose name has no underscore before it, with

- ``VERSION``: raised whenever the same recipe would give another clip;
- ``recipes(edition)``: its recipes. Editions 0, 1, 2 … hold the same kinds and conditions with
  other seeds: what is tuned on one edition is reported on another;
- ``make(recipe, path)``: writes the clip (a video or a sound, as ``recipe.suffix`` says) to
  ``path`` and returns its truth, which JSON can hold. It raises ``Unmakeable`` where the machine
  lacks what the clip needs.

Nothing is registered elsewhere. Clips are kept in a folder (``TIKTOK_RAY_FACTORY``, or one under
the user's cache folder), named by a digest of the recipe and the versions, with the truth as JSON
beside each; the truth is written last, so a clip with its truth is a whole one.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pkgutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import platformdirs

VERSION = 1  # raised whenever what is common to all families would give other clips
FOLDER = "TIKTOK_RAY_FACTORY"
TUNED, REPORTED = 0, 1  # editions: what methods are tuned on, and what the board reports


@dataclass(frozen=True)
class Recipe:
    """One clip to be made.

    ``kind`` is what the clip is for (a dissolve, a caption in Greek); ``condition`` what makes it
    hard (``plain``, ``noise``, ``24 fps``); ``parameters`` whatever ``make`` needs beside the
    seed, in types that JSON has.
    """

    family: str
    kind: str
    condition: str
    seed: int
    parameters: dict[str, Any] = field(default_factory=dict, hash=False)
    suffix: str = ".mp4"

    @property
    def name(self) -> str:
        """A name for people; unique within a family and edition."""
        return f"{self.family}/{self.kind}/{self.condition}/{self.seed}"

    def digest(self) -> str:
        """Names the recipe, its family's version and the factory's, 16 hexadecimal digits."""
        told = [VERSION, families()[self.family].VERSION, asdict(self)]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


class Unmakeable(Exception):
    """A clip needs what this machine lacks, such as a font; the message says what to install."""


class Family(Protocol):
    """What a module of the package has to offer."""

    VERSION: int

    def recipes(self, edition: int) -> Iterable[Recipe]: ...

    def make(self, recipe: Recipe, path: Path) -> dict[str, Any]: ...


class Clip(NamedTuple):
    """A clip that was made, and what is true of it."""

    recipe: Recipe
    path: Path
    truth: dict[str, Any]


def families() -> dict[str, Family]:
    """The families, by name, as found in this package."""
    names = [m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")]
    return {name: cast(Family, importlib.import_module(f"{__name__}.{name}")) for name in names}


def recipes(family: str, edition: int = REPORTED, share: float = 1.0) -> list[Recipe]:
    """The recipes of a family, or a share of them, 0..1, at least one: as much of every kind."""
    found = list(families()[family].recipes(edition))
    places: dict[str, float] = {}
    for kind in {recipe.kind: None for recipe in found}:
        names = sorted((r.name for r in found if r.kind == kind), key=_drawn)
        places |= {name: (k + 0.5) / len(names) for k, name in enumerate(names)}
    order = sorted(found, key=lambda recipe: (places[recipe.name], _drawn(recipe.name)))
    taken = {r.name for r in order[: max(1, round(share * len(found)))]}
    return [recipe for recipe in found if recipe.name in taken]


def _drawn(name: str) -> str:
    """A lot that falls the same way each time."""
    return hashlib.sha256(name.encode()).hexdigest()


def folder() -> Path:
    """Where clips are kept."""
    named = os.environ.get(FOLDER)
    return Path(named) if named else Path(platformdirs.user_cache_dir("tiktok_ray")) / "factory"


def made(recipe: Recipe, kept: Path | None = None) -> Clip:
    """The clip of a recipe: the one that is kept, or made now and kept from here on.

    Raises ``Unmakeable``.
    """
    place = (kept or folder()) / recipe.family
    path = place / f"{recipe.digest()}{recipe.suffix}"
    told = path.with_suffix(".json")
    if not (told.is_file() and path.is_file()):
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place, prefix=".making-") as scratch:
            clip, record = Path(scratch) / path.name, Path(scratch) / told.name
            truth = families()[recipe.family].make(recipe, clip)
            record.write_text(json.dumps({"recipe": asdict(recipe), "truth": truth}, indent=1))
            clip.replace(path)
            record.replace(told)
    return Clip(recipe, path, json.loads(told.read_text())["truth"])


def clips(names: Sequence[str] = (), edition: int = REPORTED, share: float = 1.0) -> Iterator[Clip]:
    """The clips of some families, or of all, one after the other."""
    for name in names or families():
        for recipe in recipes(name, edition, share):
            yield made(recipe)
