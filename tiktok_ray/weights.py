"""Which weights exist, their licences, where they are, and whether they are unchanged.

Weights are looked up in the models folder (setting ``models``, environment variable
``TIKTOK_RAY_MODELS``), then in the caches of the libraries that use them. Nothing here opens a
connection: ``pull``, in a separate module, does. It records what it downloads in a manifest, which
``verify`` checks against; hashes are never made up.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from tiktok_ray.methods.onnx_export import Recipe

from tiktok_ray.files import sha256_of

MANIFEST = ".tiktok_ray.json"
#: Suffixes of files that torch or pickle may run code from.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


@dataclass(frozen=True)
class Weights:
    """One checkpoint. ``id`` is its name everywhere: in the report, the plan and ``models list``.

    ``size_gib`` is its size on disk; None if that is not known before it is pulled.
    ``recipes`` say how it is exported for the CPU, if it is.
    """

    id: str
    licence: str
    size_gib: float | None = None
    recipes: tuple[Recipe, ...] = field(default=(), kw_only=True)

    def places(self, models: Path) -> Iterator[Path]:
        """Where it may be, best place first."""
        yield models / self.id

    def locate(self, models: Path) -> Path | None:
        """The first place where it is complete, or None."""
        return next((place for place in self.places(models) if self.whole(place)), None)

    def whole(self, place: Path) -> bool:
        """Whether ``place`` contains everything needed."""
        return place.exists() and (place.is_dir() or place.stat().st_size > 0)


@dataclass(frozen=True)
class Hub(Weights):
    """A model repository; ``id`` is ``organisation/name``.

    ``files`` are the patterns to pull, each for the folder it names (without a slash: the top);
    ``needs`` are patterns of the files a folder must contain to count as complete.
    ``revision`` is resolved to a commit when it is pulled.
    """

    files: tuple[str, ...] = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
    needs: tuple[str, ...] = ("config.json", "*.safetensors")
    revision: str = "main"

    def places(self, models: Path) -> Iterator[Path]:
        yield models / "hub" / self.id.replace("/", "--")
        cache = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
        yield from sorted(
            (cache / "hub" / f"models--{self.id.replace('/', '--')}" / "snapshots").glob("*")
        )

    def whole(self, place: Path) -> bool:
        return place.is_dir() and all(any(place.glob(pattern)) for pattern in self.needs)


@dataclass(frozen=True)
class Asset(Weights):
    """Files at a fixed address; ``id`` is their path under the models folder.

    ``elsewhere`` are further places, each a path that may start with ``~``. ``needs`` are files
    inside the folder, where ``id`` is a folder; of each tuple of names any one will do. Files
    whose address ends in ``.zip`` are unpacked where ``id`` is a folder. ``urls`` are further
    files of the same folder.
    """

    url: str = ""
    urls: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    needs: tuple[tuple[str, ...], ...] = ()

    def places(self, models: Path) -> Iterator[Path]:
        yield models / self.id
        for place in self.elsewhere:
            yield Path(place).expanduser()

    def whole(self, place: Path) -> bool:
        if self.needs:
            return all(any((place / name).is_file() for name in names) for names in self.needs)
        return place.is_file() and place.stat().st_size > 0


@dataclass(frozen=True)
class Bundled(Weights):
    """Weights that are part of an installed package, and so are always available."""

    package: str = ""
    path: str = ""

    def places(self, models: Path) -> Iterator[Path]:
        spec = importlib.util.find_spec(self.package)
        for root in (spec.submodule_search_locations or []) if spec else []:
            yield Path(root) / self.path


# What there is


class Varied(Protocol):
    """As much of an analyzer's variant as matters here."""

    @property
    def name(self) -> str: ...

    @property
    def weights(self) -> Mapping[str, Weights]: ...


class User(Protocol):
    """As much of an analyzer (its class will do) as matters here."""

    @property
    def name(self) -> str: ...

    @property
    def variants(self) -> Iterable[Varied]: ...


@dataclass(frozen=True)
class Row:
    """One checkpoint as ``models list`` shows it.

    ``size_gib`` is its size on disk, or its declared size while it is absent.
    ``needed_by`` names analyzers with the variant that needs it: ``object_detection (yolov8s)``.
    """

    weights: Weights
    needed_by: tuple[str, ...]
    place: Path | None
    size_gib: float | None
    revision: str | None

    @property
    def id(self) -> str:
        return self.weights.id

    @property
    def licence(self) -> str:
        return self.weights.licence


def rows(analyzers: Iterable[User], models: Path) -> list[Row]:
    """Every checkpoint that some variant of some analyzer needs, once, in their order."""
    users: dict[str, list[str]] = {}
    found: dict[str, Weights] = {}
    for analyzer in analyzers:
        for variant in analyzer.variants:
            for weights in variant.weights.values():
                found.setdefault(weights.id, weights)
                users.setdefault(weights.id, []).append(f"{analyzer.name} ({variant.name})")
    result = []
    for ident, weights in found.items():
        place = weights.locate(models)
        size = weights.size_gib if place is None else disk_size(place) / 1024**3
        revision = None if place is None else revision_of(place)
        result.append(Row(weights, tuple(dict.fromkeys(users[ident])), place, size, revision))
    return result


def disk_size(place: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if place.is_file():
        return place.stat().st_size
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def revision_of(place: Path) -> str | None:
    """The commit that lies at ``place``: by its manifest, or by its name in the hub's own cache."""
    manifest = recorded(place)
    if manifest is not None:
        return manifest.revision
    return place.name if place.parent.name == "snapshots" else None


# Records


@dataclass(frozen=True)
class Manifest:
    """What ``pull`` recorded. ``files`` maps names to ``{"size": bytes, "sha256": hex}``.

    ``revision`` is the commit of a hub's model, the ETag of a file elsewhere, None if there is
    none. ``checked`` says by what the files were checked when they came.
    """

    id: str
    source: str
    revision: str | None
    licence: str
    pulled: str
    checked: str
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def manifest_path(place: Path) -> Path:
    """Where the manifest of weights at ``place`` lies: in the folder, or beside the file."""
    return place / MANIFEST if place.is_dir() else place.with_name(place.name + MANIFEST)


def recorded(place: Path) -> Manifest | None:
    """The manifest of what lies at ``place``, or None: it was not pulled by this program."""
    path = manifest_path(place)
    if not path.is_file():
        return None
    return Manifest(**json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Verdict:
    """What ``verify`` found. ``unrecorded`` weights were not pulled, so nothing is known about them."""

    id: str
    state: Literal["ok", "changed", "unrecorded", "bundled", "absent"]
    place: Path | None = None
    revision: str | None = None
    problems: tuple[str, ...] = ()


def verify(weights: Weights, models: Path) -> Verdict:
    """Compare the files on disk with those recorded when they were pulled: names, sizes, SHA-256."""
    place = weights.locate(models)
    manifest = next((m for p in weights.places(models) if (m := recorded(p))), None)
    if place is None and manifest is None:
        return Verdict(weights.id, "absent")
    if isinstance(weights, Bundled):
        return Verdict(weights.id, "bundled", place)
    if manifest is None:
        return Verdict(weights.id, "unrecorded", place, revision_of(place) if place else None)
    home = next(p for p in weights.places(models) if recorded(p))
    folder = home if home.is_dir() else home.parent
    problems = []
    for name, fact in manifest.files.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif path.stat().st_size != fact["size"]:
            problems.append(
                f"{name} has {path.stat().st_size} bytes instead of the recorded {fact['size']}"
            )
        elif sha256_of(path) != fact["sha256"]:
            problems.append(f"{name} differs from the recorded content")
    if place is None:
        problems.append("it is incomplete")
    state: Literal["ok", "changed"] = "changed" if problems else "ok"
    return Verdict(weights.id, state, home, manifest.revision, tuple(problems))


# Code in checkpoints


class UnsafeCheckpoint(Exception):
    """Loading this checkpoint could run code that came with it."""


def refuse_code(folder: Path, *, weights_only: bool = False) -> None:
    """Raise ``UnsafeCheckpoint`` if loading a transformers folder could run code from it.

    Refused are Python files, configurations that name code of their own (``auto_map``), and
    pickled weights, unless the same folder offers safetensors or the caller loads with
    ``weights_only`` (torch's restricted unpickler).
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.suffix == ".py":
            raise UnsafeCheckpoint(f"{folder.name} contains code: {name}")
        if path.suffix == ".json" and path.name.endswith("config.json") and _names_code(path):
            raise UnsafeCheckpoint(f"{folder.name} names code of its own (auto_map): {name}")
        if (
            path.suffix in PICKLES
            and not weights_only
            and not any(path.parent.glob("*.safetensors"))
        ):
            raise UnsafeCheckpoint(f"{folder.name} contains pickled weights: {name}")


def _names_code(path: Path) -> bool:
    def inside(value: Any) -> bool:
        if isinstance(value, dict):
            return "auto_map" in value or any(map(inside, value.values()))
        return isinstance(value, list) and any(map(inside, value))

    try:
        return inside(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UnsafeCheckpoint(f"{path.name} is not readable JSON: {error}") from error
