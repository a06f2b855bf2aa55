"""How right each analyzer is on clips whose truth is known: ``python -m benchmarks.accuracy``.

One module an analyzer, of the analyzer's name, with any of

- ``figures(bench)``: the field's own measures over many clips, each a ``Figure`` with its n and an
  interval, by condition; real clips and those of ``benchmarks.factory`` apart;
- ``rows(bench)``: a ``Row`` for every single figure it can put beside a truth;
- ``FIELDS``: which fields a figure is the error of, by its measure and condition.

They run the analyzer through ``bench`` on files under ``TIKTOK_RAY_TEST_MEDIA`` and clips of the
factory, with the weights under ``TIKTOK_RAY_MODELS``. Nothing is registered elsewhere.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import tempfile
import time
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks import factory
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


T = TypeVar("T")
Clips = Literal["factory", "real"]


class Figure(NamedTuple):
    """A measure over ``n`` clips (or what ``unit`` counts) of one condition.

    ``clips``: ``factory`` or ``real``. ``by``: who was measured, the project or a peer on the same
    clips. ``low`` .. ``high``: 95 % of bootstrap draws. ``value`` is None where nothing was
    measured; ``reason`` says why. ``least`` or ``most``: what must hold.
    """

    measure: str
    of: str
    condition: str
    clips: Clips
    n: int
    value: float | None
    low: float | None = None
    high: float | None = None
    by: str = "tiktok_ray"
    unit: str = "clips"
    least: float | None = None
    most: float | None = None
    reason: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the value keeps to what must hold; None where nothing must, or none is known."""
        if self.value is None or (self.least is None and self.most is None):
            return None
        return (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )


Samples = NDArray[np.float64]
DRAWS = 1000
KEPT = 40  # files of which is kept what was said


def interval(
    samples: Samples,
    statistic: Callable[[Samples], float] = lambda some: float(some.mean()),
    bounds: tuple[float, float] | None = None,
) -> tuple[float, float]:
    """95 % interval of a statistic of samples [n] or [n, k], one row a clip, by the bootstrap.

    Clips are drawn with replacement, whole, since what lies in one clip is not independent (Efron
    and Tibshirani, An Introduction to the Bootstrap, 1993, percentile method). Where every draw
    is the same and lies on one of the ``bounds``, the bootstrap has nothing to say; the interval
    then reaches inwards by the rule of three, 3 / n of the range (Hanley and Lippman-Hand, 1983).
    """
    rng = np.random.default_rng(0)
    count = len(samples)
    draws = [statistic(samples[rng.integers(0, count, count)]) for _ in range(DRAWS)]
    low, high = np.nanpercentile(draws, (2.5, 97.5)).tolist()
    if bounds is not None and low == high and low in bounds:
        reach = min(1.0, 3 / count) * (bounds[1] - bounds[0])
        low, high = (low - reach, high) if low == bounds[1] else (low, high + reach)
    return low, high


class Absent(Exception):
    """Media or weights are not at hand on this machine; the message says which."""


class Bench:
    """Runs analyzers on files. ``media`` and ``models`` are the folders they lie in.

    ``share``: how many of the factory's clips are measured, 0..1; ``edition``: which seeds.
    """

    def __init__(
        self, media: Path, models: Path, share: float = 1.0, edition: int = factory.REPORTED
    ) -> None:
        self.media = media
        self.share, self.edition = share, edition
        self.settings = Settings(models=models)
        self.seconds: dict[tuple[str, str], float] = {}
        self.weights: dict[str, list[str]] = {}
        self._scratch = tempfile.TemporaryDirectory(prefix="tiktok-ray-accuracy-")
        self._decoded = lru_cache(maxsize=3)(self._decode)
        self._loaded: dict[str, Analyzer] = {}
        self._said: dict[Path, dict[tuple[str, frozenset[str] | None], Any]] = {}

    def file(self, name: str) -> Path:
        """A file of the media folder. Raises ``Absent``."""
        path = self.media / name
        if not path.is_file():
            raise Absent(f"{name} is not among the media")
        return path

    def clips(self, family: str, kinds: Collection[str] = ()) -> Iterator[factory.Clip]:
        """The factory's clips of a family that this run measures, or those of some kinds, made
        where need be.
        """
        for recipe in factory.recipes(family, self.edition, self.share):
            if not kinds or recipe.kind in kinds:
                yield factory.made(recipe)

    def some(self, things: Sequence[T]) -> list[T]:
        """As large a share of other things than clips as is measured, at least one, evenly spread."""
        count = max(1, round(self.share * len(things)))
        return [things[k * len(things) // count] for k in range(count)]

    def still(self, name: str, seconds: float = 3.0) -> Path:
        """A picture of the media folder as a static video at 30 fps."""
        import cv2

        from tiktok_ray.media.writer import write_clip

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
        self.weights[made.name] = [weights.id for weights in variant.weights.values()]
        if made.name in self._loaded:
            self._said.clear()
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

    def output(self, name: str, path: Path, only: frozenset[str] | None = None) -> Any:
        """What the analyzer says of a file, its producers having been run before it.

        ``only``: of what it can do without, as much as it may have (names of analyzers); all where
        None. Soft inputs that cannot be had are None. What was said of the last files is kept.
        Raises ``Absent``, or what the analyzer raises.
        """
        key = name, only
        if key not in self._said.get(path, {}):
            made = self._output(name, path, only)
            self._said.setdefault(path, {})[key] = made
            while len(self._said) > KEPT:
                del self._said[next(iter(self._said))]
        return self._said[path][key]

    def _output(self, name: str, path: Path, only: frozenset[str] | None) -> Any:
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
            soft = type(None) in typing.get_args(hints[source])
            if soft and only is not None and source not in only:
                inputs[source] = None
                continue
            try:
                inputs[source] = self.output(source, path, only)
            except (Absent, Skip):
                if not soft:
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


class Table(NamedTuple):
    """What one module of this package measures; None where it has no such thing.

    ``fields``: by measure and condition, the fields whose error that is, as paths within the
    analyzer's output (``transitions.kind``).
    """

    rows: Callable[[Bench], Iterable[Row]] | None
    figures: Callable[[Bench], Iterable[Figure]] | None
    fields: Mapping[tuple[str, str], Sequence[str]] = {}


def tables() -> dict[str, Table]:
    """Each analyzer's table, by its name, as found in this package."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            made = importlib.import_module(f"{__name__}.{module.name}")
            found[module.name] = Table(
                getattr(made, "rows", None),
                getattr(made, "figures", None),
                getattr(made, "FIELDS", {}),
            )
    return found
