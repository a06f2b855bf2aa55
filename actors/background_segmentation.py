"""What the picture consists of, and where it plays (SegFormer on ADE20K's 150 classes)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tiktok_ray.report import Model, Output, Timed, derived, estimated, measured

Environment = Literal["indoor", "street", "nature", "water", "sky", "unknown"]


class ClassShare(Model):
    """How much of the picture one class takes."""

    label: str = estimated("ADE20K class")
    share: float = estimated("Mean share of the picture", range="0..1")
    shares: list[float] = estimated("Share in each sample, at the times of `times`", range="0..1")


class EnvironmentSpan(Timed):
    """A stretch that plays in one environment."""

    environment: Environment = derived("Environment by the shares of the classes behind it")
    evidence: float = derived("Share of the picture that its classes take", range="0..1")
    rests_on: list[str] = derived("Those classes, largest first")


class BackgroundChange(Model):
    """A moment at which the background becomes another."""

    time: float = measured("Time of the first sample that shows the new background", unit="s")
    distance: float = derived(
        "Total variation distance between the class shares before and after, persons left out",
        range="0..1",
    )


class Background(Output):
    """Classes, environment and changes of the background."""

    environment: Environment = derived("Environment that holds for the longest time")
    environments: list[EnvironmentSpan] = derived("Environments over time")
    classes: list[ClassShare] = estimated(
        "Classes that take at least 1 % of some sample, largest first",
        method="SegFormer (Xie et al., NeurIPS 2021) on ADE20K",
    )
    person_share: float = estimated("Mean share of the picture that persons take", range="0..1")
    person_shares: list[float] = estimated("The same in each sample", range="0..1")
    changes: list[BackgroundChange] = derived("Changes of the background")
    times: list[float] = measured("Times of the samples", unit="s")
