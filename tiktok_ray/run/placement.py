"""Where each analyzer runs, in which variant, and with which share of which GPU.

Needs are declared in GiB and converted to Ray's GPU fractions for the available GPU. The planner keeps
everything resident: it starts with the best variant of everything on the GPUs, and while that does not
fit, the analyzer with the lowest ``card_priority`` moves to its next smaller variant, down to the CPU.
Memory left over goes back to those with the highest priority that can use it: analyzers that are slow
on a CPU stay on the GPU.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tiktok_ray.analyzer import Analyzer, Variant
from tiktok_ray.methods import inference
from tiktok_ray.run import nvml
from tiktok_ray.settings import Settings

#: What of a card is left to the driver, the display and fragmentation.
RESERVED_GIB = 1.0
#: What a process pays for its CUDA context before its first tensor.
CONTEXT_GIB = 0.45
#: Cards whose sizes differ by less are of one size.
ALIKE_GIB = 0.25
#: Ray's granularity of fractional GPUs.
GRAIN = 1e-4


class DoesNotFit(Exception):
    """No plan works; the message names the analyzer that does not fit, and what would help."""


@dataclass(frozen=True)
class Card:
    """One GPU."""

    index: int
    total_gib: float
    name: str = ""
    driver: str = ""

    @property
    def usable_gib(self) -> float:
        return max(0.0, self.total_gib - RESERVED_GIB)


@dataclass(frozen=True)
class Assignment:
    """One analyzer's placement: its variant, device, share of a GPU, and the location of its weights.

    ``vram_gib`` is what its process takes of the card, context included. ``missing`` are parts
    that this variant cannot make, each with the reason. ``runtime`` runs its networks on the CPU.
    """

    name: str
    variant: Variant
    device: str
    files: Mapping[str, Path]
    gpu_share: float = 0.0
    card: int | None = None
    vram_gib: float = 0.0
    missing: tuple[tuple[str, str], ...] = ()
    runtime: inference.Runtime = inference.DEFAULT


@dataclass(frozen=True)
class Plan:
    """Assignments by name, the reason for every analyzer that has none, and the cards.

    ``unavailable`` lack something; those ``switched_off`` are not wanted by the settings.
    """

    assignments: Mapping[str, Assignment]
    unavailable: Mapping[str, str]
    cards: tuple[Card, ...] = ()
    at_hand: Mapping[str, bool] = field(default_factory=dict)
    switched_off: Mapping[str, str] = field(default_factory=dict)

    def why_not(self, name: str) -> str | None:
        """Why an analyzer is not planned to run; None where it is."""
        return self.unavailable.get(name) or self.switched_off.get(name)

    def table(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """The plan for the named analyzers, as rows of plain values."""
        chosen = [self.assignments[name] for name in names if name in self.assignments]
        return [
            {
                "analyzer": a.name,
                "variant": a.variant.name,
                "device": a.device if a.card is None else f"{a.device}:{a.card}",
                "vram_gib": round(a.vram_gib, 3),
                "gpu_share": a.gpu_share,
                "ram_gib": a.variant.ram_gib,
                "basis": a.variant.basis,
            }
            for a in chosen
        ]

    def used_gib(self, card: int) -> float:
        """Memory planned on one GPU, including contexts."""
        return sum(a.vram_gib for a in self.assignments.values() if a.card == card)


@dataclass(frozen=True)
class _Step:
    """One way to run an analyzer; ``gib`` is what it takes of a card, 0 on the CPU."""

    variant: Variant
    gib: float
    files: Mapping[str, Path]


def cards_here(settings: Settings, counted: int | None = None) -> tuple[Card, ...]:
    """The cards of this machine by NVML: the first ``counted``, or those that
    ``CUDA_VISIBLE_DEVICES`` leaves. ``settings.vram_gib`` replaces them all by one of that size.
    """
    if settings.vram_gib is not None:
        return (Card(0, settings.vram_gib, "as set"),) if settings.vram_gib > 0 else ()
    try:
        here = nvml.cards()
    except nvml.NoDriver:
        return ()
    found = {c.uuid: Card(c.index, c.total_gib, c.name, c.driver) for c in here}
    return _visible(found) if counted is None else tuple(found.values())[:counted]


def _visible(cards: Mapping[str, Card]) -> tuple[Card, ...]:
    """Cards, by UUID, that ``CUDA_VISIBLE_DEVICES`` leaves, read as CUDA does: numbers or
    beginnings of UUIDs, up to the first that names no card."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return tuple(cards.values())
    seen: list[Card] = []
    for word in (part.strip() for part in named.split(",")):
        fits = [c for uuid, c in cards.items() if word == str(c.index) or uuid.startswith(word)]
        if not word or not fits:
            break
        seen.append(fits[0])
    return tuple(seen)


def _alike(cards: Sequence[Card]) -> tuple[Card, ...]:
    """Cards of different sizes, each taken for the smallest: Ray gives a share of whichever has
    room, so that a share must be enough on any of them."""
    least = min((c.total_gib for c in cards), default=0.0)
    return tuple(
        c
        if c.total_gib - least < ALIKE_GIB
        else replace(c, total_gib=least, name=f"{c.name} of {c.total_gib:.1f} GiB, as the smallest")
        for c in cards
    )


def plan(
    analyzers: Iterable[type[Analyzer]],
    settings: Settings,
    *,
    cards: Sequence[Card] | None = None,
    assume_weights: bool = False,
) -> Plan:
    """The best plan for these analyzers on ``cards`` (this machine's when None).

    Only variants whose weights are at hand count, unless ``assume_weights``. Raises ``DoesNotFit``
    when an analyzer can run neither on a card nor on the CPU although its weights are there.
    """
    cards = _alike(cards if cards is not None else cards_here(settings))
    largest = max((c.usable_gib for c in cards), default=0.0)
    chosen: dict[str, list[_Step]] = {}
    unavailable: dict[str, str] = {}
    variants: dict[str, tuple[Variant, ...]] = {}
    by_name = {a.name: a for a in analyzers}
    wanted = {} if assume_weights else _with_all_weights(by_name, settings, cards)
    off: dict[str, str] = {}
    for name, analyzer in by_name.items():
        if analyzer.biometric and not settings.biometrics:
            off[name] = "biometrics are disabled"
            continue
        variants[name] = variants_of(analyzer, settings)
        steps = _steps(variants[name], settings.models, bool(cards), assume_weights)
        if not steps:
            unavailable[name] = lacking(analyzer, wanted.get(name), variants[name])
            continue
        fitting = [s for s in steps if s.gib <= largest]
        if not fitting:
            least = min(s.gib for s in steps)
            raise DoesNotFit(
                f"{name} needs {least:.2f} GiB of GPU memory, the largest GPU here has {largest:.2f} usable"
                f" and it cannot run on the CPU; leave it out: --without {name}"
            )
        chosen[name] = fitting
    steps_taken, where = _fit(chosen, cards, {n: by_name[n].card_priority for n in chosen})
    assignments = {
        name: _assignment(
            by_name[name],
            step,
            where.get(name),
            cards,
            lacking(by_name[name], wanted.get(name), variants[name]),
            settings.runtime,
        )
        for name, step in steps_taken.items()
    }
    here = {n: all(p.exists() for p in a.files.values()) for n, a in assignments.items()}
    return Plan(assignments, unavailable, cards, here, off)


def variants_of(analyzer: type[Analyzer], settings: Settings) -> tuple[Variant, ...]:
    """The variants that the settings allow, best first."""
    given = settings.options.get(analyzer.name, {})
    return analyzer.variants_for(analyzer.options_type.model_validate(given))


def _steps(
    variants: Iterable[Variant], models: Path, with_card: bool, assume_weights: bool
) -> list[_Step]:
    """Ways to run an analyzer, best first, each smaller on the card than the one before."""
    steps: list[_Step] = []
    for variant in variants:
        places = {key: w.locate(models) for key, w in variant.weights.items()}
        if not assume_weights and not all(places.values()):
            continue
        files = {key: place or Path(variant.weights[key].id) for key, place in places.items()}
        if variant.vram and with_card:
            steps.append(_Step(variant, sum(variant.vram) + CONTEXT_GIB, files))
        if variant.cpu:
            steps.append(_Step(variant, 0.0, files))
    falling: list[_Step] = []
    for step in steps:
        if not falling or step.gib < falling[-1].gib:
            falling.append(step)
    return falling


def _fit(
    chosen: Mapping[str, Sequence[_Step]], cards: Sequence[Card], staying: Mapping[str, int]
) -> tuple[dict[str, _Step], dict[str, int]]:
    """The step of each analyzer so that all fits, and the card of each that has one.

    Who leaves first steps down until all fits; what is free then goes to those who leave last.
    """
    level = dict.fromkeys(chosen, 0)

    def packed(**other: int) -> dict[str, int] | None:
        return _pack({n: chosen[n][k].gib for n, k in {**level, **other}.items()}, cards)

    while (where := packed()) is None:
        movable = [n for n, k in level.items() if chosen[n][k].gib > 0 and k + 1 < len(chosen[n])]
        if not movable:
            held = {n: chosen[n][k].gib for n, k in level.items() if chosen[n][k].gib}
            stuck = ", ".join(f"{n} ({gib:.2f} GiB)" for n, gib in sorted(held.items()))
            room = sum(c.usable_gib for c in cards)
            raise DoesNotFit(
                f"{stuck} do not fit together into {room:.2f} GiB usable and "
                "cannot run on the CPU; leave one out with --without"
            )
        level[min(movable, key=staying.__getitem__)] += 1
    for name in sorted(level, key=staying.__getitem__, reverse=True):
        for better in range(level[name]):
            if (found := packed(**{name: better})) is not None:
                level[name], where = better, found
                break
    return {name: chosen[name][k] for name, k in level.items()}, where


def packing_order(name: str, gib: float) -> tuple[float, str]:
    """Sort key of analyzers on cards: largest first, equals by name. Ray packs them as the plan did
    only if they start in the order of the plan."""
    return -gib, name


def _pack(needs: Mapping[str, float], cards: Sequence[Card]) -> dict[str, int] | None:
    """First-fit decreasing over the cards, in shares as Ray will count them; None if it fails."""
    free = {c.index: 1.0 for c in cards}
    size = {c.index: c for c in cards}
    where: dict[str, int] = {}
    for name, gib in sorted(needs.items(), key=lambda need: packing_order(*need)):
        if gib == 0:
            continue
        fitting = [i for i in free if gpu_share(gib, size[i]) <= free[i] + 1e-9]
        if not fitting:
            return None
        where[name] = fitting[0]
        free[fitting[0]] -= gpu_share(gib, size[fitting[0]])
    return where


def gpu_share(gib: float, card: Card) -> float:
    """The GPU share requested from Ray: of the usable memory, rounded up to its granularity."""
    return math.ceil(round(gib / card.usable_gib / GRAIN, 6)) * GRAIN


def _assignment(
    analyzer: type[Analyzer],
    step: _Step,
    card: int | None,
    cards: Sequence[Card],
    reason: str,
    runtime: inference.Runtime,
) -> Assignment:
    share = 0.0
    if card is not None:
        share = round(gpu_share(step.gib, next(c for c in cards if c.index == card)), 4)
    return Assignment(
        analyzer.name,
        step.variant,
        "cpu" if card is None else "cuda",
        step.files,
        share,
        card,
        step.gib,
        tuple((part, reason) for part in step.variant.lacks),
        runtime,
    )


def _with_all_weights(
    analyzers: Mapping[str, type[Analyzer]], settings: Settings, cards: Sequence[Card]
) -> dict[str, Variant]:
    """The variants that ``models pull`` fetches for these cards; none where not all would fit."""
    try:
        ideal = plan(analyzers.values(), settings, cards=cards, assume_weights=True)
    except DoesNotFit:
        return {}
    return {name: a.variant for name, a in ideal.assignments.items()}


def lacking(analyzer: type[Analyzer], wanted: Variant | None, variants: Sequence[Variant]) -> str:
    """Which weights of an analyzer are wanted, with the command that gets them.

    ``wanted``: the variant they are for; where it needs none, or is None, the first of
    ``variants`` that does.
    """
    if wanted is None or not wanted.weights:
        wanted = next((v for v in variants if v.weights), wanted)
    names = ", ".join(w.id for w in wanted.weights.values()) if wanted else "none known"
    return f"weights not installed: {names}; to get them: tiktok-ray models pull {analyzer.name}"
