"""What weights exist, under which licence, and where they lie.

Weights are looked for under the models folder (setting ``models``, environment
``TIKTOK_RAY_MODELS``), then in the caches of the libraries that use them. Nothing here opens a
connection; that is ``pull``'s alone.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Weights:
    """One checkpoint. ``id`` is its name everywhere: in the report, the plan and ``models list``.

    ``size_gib`` is what it takes on disk; None where that is not known before it is pulled.
    """

    id: str
    licence: str
    size_gib: float | None = None

    def places(self, models: Path) -> Iterator[Path]:
        """Where it may lie, best place first."""
        yield models / self.id

    def locate(self, models: Path) -> Path | None:
        """The first place where it lies whole, or None."""
        return next((place for place in self.places(models) if self.whole(place)), None)

    def whole(self, place: Path) -> bool:
        """Whether everything needed lies at ``place``."""
        return place.exists() and (place.is_dir() or place.stat().st_size > 0)


@dataclass(frozen=True)
class Hub(Weights):
    """A model repository; ``id`` is ``organisation/name``.

    ``files`` are the patterns pulled; ``needs`` are the files that must lie in a folder for it to
    count as whole (a pattern each).
    """

    files: tuple[str, ...] = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
    needs: tuple[str, ...] = ("config.json", "*.safetensors")

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
    inside the folder, where ``id`` is a folder; of each tuple of names any one will do.
    """

    url: str = ""
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
    """Weights that come inside an installed package, so that they are always at hand."""

    package: str = ""
    path: str = ""

    def places(self, models: Path) -> Iterator[Path]:
        spec = importlib.util.find_spec(self.package)
        for root in (spec.submodule_search_locations or []) if spec else []:
            yield Path(root) / self.path
