"""The contract of every analyzer.

An analyzer is a class with an ``analyze`` method whose signature *is* its place in the graph: a
parameter named after a media track receives that track, one named after another analyzer receives
that analyzer's output, and ``X | None`` makes the edge soft (None if the producer had no output).
It raises; it never returns a default. It keeps no state about a video.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict

from tiktok_ray.report import (
    Coverage,
    Limit,
    Missing,
    Model,
    ModelUsed,
    Output,
    Status,
    derived,
    estimated,
    measured,
)
from tiktok_ray.weights import Weights


class Skip(Exception):
    """Raised by ``analyze`` when there is nothing to analyze; the message is the reason."""


class Vram(NamedTuple):
    """GPU memory in GiB, without the CUDA context."""

    weights: float
    activations: float


class Sees(NamedTuple):
    """The minimum duration and size that an analyzer can detect.

    ``what`` must last for ``samples`` samples of the ``track`` and for ``seconds``, whichever is
    longer, and have a size of ``pixels`` in the track's frames. If the analyzer looks at no more
    than ``rate`` samples per second, those it looks at must span the ``seconds``.
    """

    what: str
    track: str
    samples: int = 1
    seconds: float = 0.0
    pixels: float = 0.0
    rate: float | None = None

    def limit(self, coverage: Coverage, short_px: int) -> Limit:
        """What may be missed at this sampling in a video whose short side has ``short_px`` pixels.

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
    """An analyzer's lane on the viewer's timeline: its title, and its hue in degrees."""

    title: str
    hue: int


@dataclass(frozen=True)
class Needs:
    """What one call costs.

    ``threads`` are its CPU threads: it holds so many of the engine's cores, or as many as are free;
    ``timeout_s`` limits one call from the moment it gets its worker; ``cost`` is roughly the CPU seconds per minute of video on
    one core: the longest is started first.
    """

    threads: int = 1
    timeout_s: float = 120.0
    cost: float = 1.0


@dataclass(frozen=True)
class Variant:
    """One way to run an analyzer. Variants are listed best first.

    ``vram`` None means that it does not use a GPU; ``cpu`` says whether it can run without one.
    ``ram_gib`` is the host memory of its process. ``lacks`` names the parts of the output that this
    variant cannot produce, so that its result is ``partial``. ``imports`` are the libraries it needs
    in addition to those of its analyzer, ``card_imports`` those it needs only on a GPU. ``basis``
    says whether the figures were ``estimated`` or ``measured``. ``elsewhere`` means that its model
    runs on another machine; ``Analyzer.answering`` names it once loaded. ``sees`` are the smallest
    things that it can detect, where that depends on its model.
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
    elsewhere: bool = False
    sees: tuple[Sees, ...] = ()


class Options(BaseModel):
    """Settings of one analyzer; every field has a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Partial(NamedTuple):
    """Returned by ``analyze`` instead of the bare output if a part could not be produced.

    ``lasting``: another attempt with the same inputs would produce no more.
    """

    output: Output
    missing: tuple[Missing, ...]
    lasting: bool = True


class Question(NamedTuple):
    """What somebody wants to know of a stretch of a video, in seconds. ``form`` is the JSON Schema of
    the answer's value."""

    text: str
    start: float
    end: float
    form: Mapping[str, Any]


class Answered(Model):
    """What came of one question: a value of JSON as the model wrote it, or why there is none."""

    status: Status = derived("Whether there is an answer, or how it went wrong")
    reason: str | None = derived("Why there is none", default=None)
    value: bool | int | float | str | None = estimated(
        "The answer; its type is not checked yet", default=None
    )
    raw: str | None = estimated("The whole answer, unchanged", default=None)
    picture_times: list[float] = measured("Times of the pictures shown", unit="s")
    answered_by: str | None = derived("Model that answered, by a server's word", default=None)


class Answers(Output):
    """What came of several questions, in their order."""

    answers: list[Answered] = estimated("One for each question")

    def headline(self) -> str:
        return f"{sum(a.status == 'ok' for a in self.answers)} of {len(self.answers)} answered"


#: The input of a call that holds what an analyzer is asked, where it is asked and does not analyze.
ASKED = "asked"


class Analyzer(ABC):
    """Base class of all analyzers, including those of other packages.

    Class attributes: ``name`` is the key in the report; ``variants`` lists all variants, best first
    (``variants_for`` returns those that given options allow); ``imports`` are the libraries that any
    of them needs, imported before ``load``: neither ``load`` nor ``analyze`` may be the first to
    import one, since other threads of the process may be importing too; ``batch`` is the model's
    batch size (halved by the worker after the device ran out of memory). ``options`` are the settings
    it was created with.

    ``card_priority``: if GPU memory is short, analyzers with lower priority leave the GPU first.
    ``biometric``: it identifies people, so it neither starts nor loads if biometrics are disabled.
    ``sees``: the smallest things it can detect, from which each section's ``limits`` follow
    (``sees_for``: with given options).
    ``idle_without``: tracks in which there must be something for it, each with the reason to skip it
    where there is nothing; its models are then not loaded.
    ``lane``: its lane on the viewer's timeline; by default the lane is named after the analyzer.
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
    idle_without: ClassVar[Mapping[str, str]] = {}
    batch: int = 8

    def __init__(self, options: Options | None = None) -> None:
        self.options: Any = options or self.options_type()

    @classmethod
    def variants_for(cls, options: Options) -> tuple[Variant, ...]:
        """The variants that these options allow, best first."""
        return cls.variants

    @classmethod
    def sees_for(cls, options: Options) -> tuple[Sees, ...]:
        """The least that it can tell with these options."""
        return cls.sees

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:  # noqa: B027
        """Prepare to analyze. Heavy imports belong here.

        ``device`` is ``"cpu"`` or ``"cuda"``; ``files`` maps the keys of ``variant.weights`` to
        where each lies.
        """

    def answering(self) -> ModelUsed | None:
        """The remote model that will answer, queried anew for each video; None if the variant's own
        weights are used. Without a ``revision`` its outputs are not cached, since another model
        could answer under the same name."""
        return None

    @abstractmethod
    def analyze(self, *args: Any, **kwargs: Any) -> Output | Partial:
        """Analyze one video. Parameters are the edges of the graph.

        Raises ``Skip`` if there is nothing to analyze, and any other exception on failure.
        """

    def answer(self, asked: Any, **tracks: Any) -> Output:
        """Answer what is ``asked`` of it apart from any analysis, over these media tracks."""
        raise TypeError(f"{self.name} answers no questions")
