"""Where each analyzer runs, and in which variant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiktok_ray.analyzer import Analyzer, Variant
from tiktok_ray.settings import Settings


@dataclass(frozen=True)
class Assignment:
    """One analyzer's place: its variant, device, share of a card, and where its weights lie.

    ``missing`` are parts that this variant cannot make, each with the reason.
    """

    name: str
    variant: Variant
    device: str
    files: Mapping[str, Path]
    gpu_share: float = 0.0
    card: int | None = None
    missing: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Plan:
    """Assignments by name, and the reason for every analyzer that has none."""

    assignments: Mapping[str, Assignment]
    unavailable: Mapping[str, str]

    def table(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """What is planned for the named analyzers, as rows of plain values."""
        chosen = [self.assignments[name] for name in names if name in self.assignments]
        return [
            {
                "analyzer": a.name,
                "variant": a.variant.name,
                "device": a.device,
                "gpu_share": a.gpu_share,
                "ram_gib": a.variant.ram_gib,
                "basis": a.variant.basis,
            }
            for a in chosen
        ]


def plan(analyzers: Iterable[type[Analyzer]], settings: Settings) -> Plan:
    """The best variant of each analyzer that this machine can run with the weights it has."""
    assignments: dict[str, Assignment] = {}
    unavailable: dict[str, str] = {}
    for analyzer in analyzers:
        found = _first_at_hand(analyzer, settings.models)
        if found is None:
            unavailable[analyzer.name] = lacking(analyzer)
            continue
        variant, files = found
        reason = lacking(analyzer)
        missing = tuple((part, reason) for part in variant.lacks)
        assignments[analyzer.name] = Assignment(
            analyzer.name, variant, "cpu", files, missing=missing
        )
    return Plan(assignments, unavailable)


def _first_at_hand(
    analyzer: type[Analyzer], models: Path
) -> tuple[Variant, dict[str, Path]] | None:
    for variant in analyzer.variants:
        if not variant.cpu:
            continue
        files = {key: w.locate(models) for key, w in variant.weights.items()}
        if all(files.values()):
            return variant, {key: place for key, place in files.items() if place}
    return None


def lacking(analyzer: type[Analyzer]) -> str:
    """Why the weights of an analyzer are wanted, with the command that gets them."""
    wanted = next((v for v in reversed(analyzer.variants) if v.weights), analyzer.variants[-1])
    names = ", ".join(w.id for w in wanted.weights.values())
    return f"weights not on this machine: {names}; get them: tiktok-ray models pull {analyzer.name}"
