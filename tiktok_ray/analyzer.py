"""The contract every analyzer keeps.

An analyzer is one class with one ``analyze`` method whose signature *is* its place in the graph:
a parameter named like a media track receives that track, one named like another analyzer receives
that analyzer's output, and ``X | None`` makes the edge soft (None comes when nothing came of the
producer). It raises; it never returns a default. It keeps nothing about a video on itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict

from tiktok_ray.report import Coverage, Limit, Missing, ModelUsed, Output
from tiktok_ray.weights import Weights


class Skip(Exception):
    """Raised by ``analyze`` when there is nothing to analyze; the message is the reason."""


class Vram(NamedTuple):
    """Memory on the card in GiB, without the CUDA context."""

    weights: float
    activations: float


class Sees(NamedTuple):
    """What something must be like for an analyzer to tell it.

    ``what`` must last for ``samples`` samples of the ``track``, and for ``seconds``, whichever is
    more; and be ``pixels`` of the track's pictures in size. Where the analyzer looks at no more
    than ``rate`` samples a second, those that it looks at must fill the ``seconds``.
    """

    what: str
    track: str
    samples: int = 1
    seconds: float = 0.0
    pixels: float = 0.0
    rate: float | None = None

    def limit(self, coverage: Coverage, short_px: int) -> Limit:
        """What can be missed, so sampled, of a video whose short side has ``short_px`` pixels.

        Where samples are not evenly spaced, the longest gap counts.
        """
        scale = short_px / coverage.short_px if coverage.short_px else 1.0
        gap, seconds = coverage.max_gap_s, self.seconds
        if self.rate and gap:
            gap *= max(1, ceil(1 / self.rate / gap - 1e-6))
            seconds = ceil(seconds / gap - 1e-6) * gap
        return Limit(
            of=self.what,
            shorter_than_s=max(self.samples * gap, seconds),
            smaller_than_px=self.pixels * scale or None,
        )


class Lane(NamedTuple):
    """How an analyzer's lane of the viewer's timeline looks: its title, and its hue in degrees."""

    title: str
    hue: int


@dataclass(frozen=True)
class Needs:
    """What one call costs.

    ``threads`` are CPU threads while it works (its share of the engine's cores); ``timeout_s`` is
    the limit of one call from the moment it gets its worker; ``cost`` is CPU seconds per minute of
    video on one core, roughly: the longest is started first.
    """

    threads: int = 1
    timeout_s: float = 120.0
    cost: float = 1.0


@dataclass(frozen=True)
class Variant:
    """One way to run an analyzer. Variants stand best first.

    ``vram`` None means that it has no use for a card; ``cpu`` says whether it can do without one.
    ``ram_gib`` is the memory of its process on the CPU. ``lacks`` names the parts of the output
    that this variant cannot make, so that a report made with it is ``partial``. ``imports`` are
    the libraries it needs beside those of its analyzer, ``card_imports`` those that it needs on a
    card alone. ``basis`` says whether the figures were ``estimated`` or ``measured``.
    """

    name: str
    weights: Mapping[str, Weights] = field(default_factory=dict)
    ram_gib: float = 0.2
    vram: Vram | None = None
    cpu: bool = True
    lacks: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    card_imports: tuple[str, ...] = ()
    basis: str = "estimated"


class Options(BaseModel):
    """Settings of one analyzer; every field has a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Partial(NamedTuple):
    """Returned by ``analyze`` instead of the bare output when a part could not be made."""

    output: Output
    missing: tuple[Missing, ...]


class Analyzer(ABC):
    """Base class of all analyzers, also of those that other packages bring.

    Class attributes: ``name`` is the key in the report; ``variants`` are all there are, best first
    (``variants_for`` says which of them some options choose among); ``imports`` are the libraries
    that any of them needs, imported before ``load``: neither ``load`` nor ``analyze`` may be the
    first to import one, since others of the process may import too; ``batch`` is how many samples
    go through a model at once (halved by the worker after the device ran out of memory).
    ``options`` are the settings it was made with.

    ``card_priority``: where a card is short of room, who has less leaves it first. ``biometric``: it
    looks at who somebody is, so that it neither starts nor loads where biometrics are switched off.
    ``sees``: the least that it can tell, from which each section's ``limits`` follow
    (``sees_for``: with some options).
    ``lane``: its lane of the viewer's timeline; without one, the lane is called as the analyzer is.
    """

    name: ClassVar[str]
    needs: ClassVar[Needs] = Needs()
    variants: ClassVar[tuple[Variant, ...]] = (Variant("cpu"),)
    options_type: ClassVar[type[Options]] = Options
    imports: ClassVar[tuple[str, ...]] = ()
    card_priority: ClassVar[int] = 0
    biometric: ClassVar[bool] = False
    lane: ClassVar[Lane | None] = None
    sees: ClassVar[tuple[Sees, ...]] = ()
    batch: int = 8

    def __init__(self, options: Options | None = None) -> None:
        self.options: Any = options or self.options_type()

    @classmethod
    def variants_for(cls, options: Options) -> tuple[Variant, ...]:
        """The variants that these options choose among, best first."""
        return cls.variants

    @classmethod
    def sees_for(cls, options: Options) -> tuple[Sees, ...]:
        """The least that it can tell with these options."""
        return cls.sees

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:  # noqa: B027
        """Make ready to analyze. Heavy imports live here.

        ``device`` is ``"cpu"`` or ``"cuda"``; ``files`` maps the keys of ``variant.weights`` to
        where each lies.
        """

    def answering(self) -> ModelUsed | None:
        """The model that answers, where it runs elsewhere: asked anew for each video. None where
        the variant's own weights answer. Without a ``revision`` no output of it is kept in the
        cache, since another model could answer under the same name."""
        return None

    @abstractmethod
    def analyze(self, *args: Any, **kwargs: Any) -> Output | Partial:
        """Analyze one video. Parameters are the edges of the graph.

        Raises ``Skip`` when there is nothing to analyze, and any other exception when it failed.
        """
