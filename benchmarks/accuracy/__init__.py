"""How right each analyzer is on clips whose truth is known: ``python -m benchmarks.accuracy``.

One module an analyzer, of the analyzer's name, with ``rows(bench)``: it runs the analyzer through
``bench`` on files under ``TIKTOK_RAY_TEST_MEDIA`` with the weights under ``TIKTOK_RAY_MODELS`` and
yields a ``Row`` for every figure it can put beside a truth. Nothing is registered elsewhere.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import tempfile
import time
import typing
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from tiktok_ray.analyzer import Analyzer, Partial, Skip, Variant
from tiktok_ray.media import TRACKS, Decoded, decode
from tiktok_ray.report import Output
from tiktok_ray.settings import Settings


class Row(NamedTuple):
    """One figure: the file it was found in, the truth (and who says so), and what was found.

    ``holds`` says whether the two agree, where that is a question of yes or no.
    """

    file: str
    truth: str
    figure: str
    holds: bool | None = None


class Absent(Exception):
    """Media or weights are not at hand on this machine; the message says which."""


class Bench:
    """Runs analyzers on files. ``media`` and ``models`` are the folders they lie in."""

    def __init__(self, media: Path, models: Path) -> None:
        self.media = media
        self.settings = Settings(models=models)
        self.seconds: dict[tuple[str, str], float] = {}
        self._scratch = tempfile.TemporaryDirectory(prefix="tiktok-ray-accuracy-")
        self._decoded = lru_cache(maxsize=3)(self._decode)
        self._loaded: dict[str, Analyzer] = {}

    def file(self, name: str) -> Path:
        """A file of the media folder. Raises ``Absent``."""
        path = self.media / name
        if not path.is_file():
            raise Absent(f"{name} is not among the media")
        return path

    def still(self, name: str, seconds: float = 3.0) -> Path:
        """A picture of the media folder as a static video at 30 fps."""
        import cv2

        from tiktok_ray.clips import write_clip

        clip = Path(self._scratch.name) / f"{Path(name).name}-{seconds:g}s.mp4"
        if not clip.is_file():
            picture: Any = cv2.imread(str(self.file(name)))
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
            write_clip(clip, [picture] * round(30 * seconds), fps=30)
        return clip

    def analyzer(self, name: str) -> Analyzer:
        """The analyzer, loaded on the CPU with its best variant whose weights are at hand."""
        if name not in self._loaded:
            self.load(analyzer_type(name)())
        return self._loaded[name]

    def load(self, made: Analyzer) -> None:
        """Take an analyzer with options of its own from here on. Raises ``Absent``."""
        variant, files = self._at_hand(made)
        made.load(variant, "cpu", files)
        self._loaded[made.name] = made

    def _at_hand(self, made: Analyzer) -> tuple[Variant, dict[str, Path]]:
        lacking: list[str] = []
        for variant in (v for v in made.variants_for(made.options) if v.cpu):
            places = {k: w.locate(self.settings.models) for k, w in variant.weights.items()}
            files = {key: place for key, place in places.items() if place is not None}
            if len(files) == len(places):
                return variant, files
            lacking += [w.id for key, w in variant.weights.items() if key not in files]
        raise Absent(f"no weights: {', '.join(dict.fromkeys(lacking))}")

    def output(self, name: str, path: Path) -> Any:
        """What the analyzer says of a file, its producers having been run before it.

        Soft inputs that cannot be had are None. Raises ``Absent``, or what the analyzer raises.
        """
        made = self.analyzer(name)
        inputs: dict[str, Any] = {}
        hints = typing.get_type_hints(made.analyze)
        sources = list(inspect.signature(made.analyze).parameters)
        wanted = frozenset(source for source in sources if source in TRACKS)
        tracks = self._decoded(path, wanted).tracks
        for source in sources:
            if source in TRACKS:
                inputs[source] = tracks.get(source)
                continue
            try:
                inputs[source] = self.output(source, path)
            except (Absent, Skip):
                if type(None) not in typing.get_args(hints[source]):
                    raise
                inputs[source] = None
        start = time.perf_counter()
        result = made.analyze(**inputs)
        self.seconds[name, path.name] = time.perf_counter() - start
        output: Output = result.output if isinstance(result, Partial) else result
        return output

    def decoded(self, path: Path, wanted: frozenset[str]) -> Decoded:
        """The tracks of a file."""
        return self._decoded(path, wanted)

    def _decode(self, path: Path, wanted: frozenset[str]) -> Decoded:
        return decode(path, wanted, self.settings)


def analyzer_type(name: str) -> type[Analyzer]:
    """The analyzer of that name, whether or not it is among those that are served."""
    module = importlib.import_module(f"actors.{name}")
    return next(
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Analyzer) and vars(kind).get("name") == name
    )


def tables() -> dict[str, Callable[[Bench], Iterable[Row]]]:
    """Each analyzer's ``rows``, by its name, as found in this package."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            found[module.name] = importlib.import_module(f"{__name__}.{module.name}").rows
    return found
