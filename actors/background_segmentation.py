"""Semantic segmentation of the frame, and the environment (SegFormer on ADE20K's 150 classes)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from actors.cut_analysis import Cuts
from tiktok_ray.analyzer import Analyzer, Needs, Options, Variant, Vram
from tiktok_ray.media import Frames, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.vision.sampling import holds, thin
from tiktok_ray.methods.vision.scene_classes import SPEAKS_FOR, Environment, environment_of
from tiktok_ray.methods.vision.segformer import RECIPE, Segmenter
from tiktok_ray.report import Model, Output, Timed, derived, estimated, measured
from tiktok_ray.weights import Hub

PERSON = "person"

#: Samples with less background than this have none to speak of.
BACKGROUND = 0.05
LISTED = 0.01


class ClassShare(Model):
    """How much of the frame one class covers."""

    label: str = estimated("ADE20K class")
    share: float = estimated("Mean share of the frame over time", range="0..1")
    shares: list[float] = estimated(
        "Share in each sampled frame, at the times of `times`", range="0..1"
    )


class EnvironmentSpan(Timed):
    """A time span in one environment."""

    environment: Environment = derived(
        "Environment, judged by the shares of its classes",
        method="indoor if its classes cover more of the background than those of all others; otherwise the largest of street, nature and water; sky if these cover less than a tenth together; unknown if all classes that indicate a place cover less than 0.3",
    )
    evidence: float = derived("Mean share of the background covered by its classes", range="0..1")
    rests_on: list[str] = derived("Those classes, largest first")


class BackgroundChange(Model):
    """A moment at which the background changes."""

    time: float = measured(
        "The cut between two sampled frames, or the first sampled frame that shows the new "
        "background",
        unit="s",
    )
    distance: float = derived(
        "How much of the background belongs to other classes than before, excluding people",
        range="0..1",
        method="total variation distance of the class shares of up to two sampled frames on either side",
    )


class Background(Output):
    """Classes, environment and changes of the background."""

    environment: Environment = derived("Environment with the longest duration")
    environments: list[EnvironmentSpan] = derived("Environments over time")
    classes: list[ClassShare] = estimated(
        "Classes that cover at least 1 % of some sampled frame, largest first",
        method="SegFormer (Xie et al., NeurIPS 2021) on ADE20K, most likely class of each 4 x 4 pixels",
    )
    person_share: float = estimated(
        "Mean share of the frame covered by people over time", range="0..1"
    )
    person_shares: list[float] = estimated("The same in each sampled frame", range="0..1")
    changes: list[BackgroundChange] = derived("Changes of the background")
    times: list[float] = measured("Times of the sampled frames", unit="s")

    def headline(self) -> str:
        largest = [f"{c.label} {c.share:.0%}" for c in self.classes if c.label != PERSON][:3]
        count = len(self.changes)
        return ", ".join([self.environment, *largest, f"{count} change{'' if count == 1 else 's'}"])


class BackgroundOptions(Options):
    """Settings of background segmentation."""

    fps: float = Field(
        1.0,
        gt=0,
        description="Frames analyzed per second, at most, in addition to one in every shot",
    )
    change: float = Field(
        0.4,
        gt=0,
        le=1,
        description="Share of the background that must change to count as a new background",
    )


class BackgroundSegmentation(Analyzer):
    """Semantic classes of the frame, and whether the scene is indoors, in a street or in nature."""

    name = "background_segmentation"
    card_priority = 6
    needs = Needs(threads=1, timeout_s=300, cost=15)
    imports = ("cv2", "PIL.ImageFile")
    variants = (
        Variant(
            "segformer-b2",
            weights={
                "segmenter": Hub(
                    "nvidia/segformer-b2-finetuned-ade-512-512",
                    "NVIDIA Source Code License for SegFormer (non-commercial)",
                    0.1,
                    files=("config.json", "preprocessor_config.json", "pytorch_model.bin"),
                    needs=("config.json", "preprocessor_config.json", "*model.[bs]*"),
                )
            },
            vram=Vram(0.05, 0.5),
            cpu=False,
            card_imports=("torch", "transformers"),
        ),
        Variant(
            "segformer-b0",
            weights={
                "segmenter": Hub(
                    "nvidia/segformer-b0-finetuned-ade-512-512",
                    "NVIDIA Source Code License for SegFormer (non-commercial)",
                    0.014,
                    files=("config.json", "preprocessor_config.json", "model.safetensors"),
                    needs=("config.json", "preprocessor_config.json", "*model.[bs]*"),
                    recipes=(RECIPE,),
                )
            },
            vram=Vram(0.01, 0.3),
            ram_gib=0.6,
            card_imports=("torch", "transformers"),
        ),
    )
    options_type = BackgroundOptions
    batch = 4

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:
        self.model = Segmenter(files["segmenter"], device)

    def analyze(self, frames: Frames, cut_analysis: Cuts | None) -> Background:
        breaks = cut_analysis.times if cut_analysis else []
        picked = thin(frames.times.tolist(), self.options.fps, breaks)
        labels = [self.model.labels[k] for k in range(len(self.model.labels))]
        shares = np.concatenate(
            [
                class_shares(self.model([frames.rgb(i) for i in some]), len(labels))
                for some in np.array_split(picked, -(-len(picked) // self.batch))
            ]
        )
        times = frames.times[picked].tolist()
        return describe(
            shares, labels, holds(times, frames.end, breaks), breaks, self.options.change
        )


def class_shares(maps: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Share of each class [n, classes] in class maps [n, height, width]."""
    counts = [np.bincount(one.ravel(), minlength=classes) for one in maps]
    result: NDArray[np.float64] = np.stack(counts) / maps[0].size
    return result


def without_persons(shares: NDArray[np.float64], labels: Sequence[str]) -> NDArray[np.float64]:
    """Shares of the background: persons left out, the rest adding up to 1, or to 0 where there is
    too little background."""
    rest = shares * (np.array(labels) != PERSON)
    total = rest.sum(axis=-1, keepdims=True)
    result: NDArray[np.float64] = np.divide(
        rest, total, out=np.zeros_like(rest), where=total >= BACKGROUND
    )
    return result


def environment_spans(
    background: NDArray[np.float64], labels: Sequence[str], held: Sequence[Span]
) -> list[EnvironmentSpan]:
    """Runs of samples in one environment."""
    places = [environment_of(row, labels) for row in background]
    found: list[EnvironmentSpan] = []
    start = 0
    for i in range(1, len(places) + 1):
        if i < len(places) and places[i] == places[start]:
            continue
        mean = background[start:i].mean(axis=0)
        mine = [
            k
            for k in np.argsort(-mean, kind="stable")
            if SPEAKS_FOR.get(labels[k]) == places[start] and mean[k] >= LISTED
        ]
        found.append(
            EnvironmentSpan(
                start=held[start].start,
                end=held[i - 1].end,
                environment=places[start],
                evidence=min(1.0, float(mean[mine].sum())),
                rests_on=[labels[k] for k in mine],
            )
        )
        start = i
    return found


def changes_of(
    background: NDArray[np.float64],
    times: Sequence[float],
    breaks: Sequence[float],
    least: float,
) -> list[BackgroundChange]:
    """Moments at which at least ``least`` of the background changes class.

    Before and after are means of up to two samples, none from beyond another cut; of changes in
    neighbouring samples of one shot the largest counts. Samples without background are passed
    over.
    """
    kept = [i for i in range(len(times)) if background[i].any()]
    shot = np.searchsorted(sorted(breaks), np.asarray(times) + 1e-3, side="right")
    distances: list[float] = []
    for a, b in pairwise(kept):
        before = [i for i in kept if i <= a and shot[i] == shot[a]][-2:]
        after = [i for i in kept if i >= b and shot[i] == shot[b]][:2]
        gap = background[before].mean(axis=0) - background[after].mean(axis=0)
        distances.append(float(np.abs(gap).sum()) / 2)
    found: list[BackgroundChange] = []
    for k, distance in enumerate(distances):
        a, b = kept[k], kept[k + 1]
        beside = [
            distances[j]
            for j in (k - 1, k + 1)
            if shot[a] == shot[b] and 0 <= j < len(distances) and shot[kept[j]] == shot[kept[j + 1]]
        ]
        if distance < least or any(other > distance for other in beside):
            continue
        cuts = [edge for edge in breaks if times[a] < edge <= times[b] + 1e-3]
        moment = cuts[0] if len(cuts) == 1 else times[b]
        found.append(BackgroundChange(time=moment, distance=min(1.0, distance)))
    return found


def describe(
    shares: NDArray[np.float64],
    labels: Sequence[str],
    held: Sequence[Span],
    breaks: Sequence[float],
    least: float,
) -> Background:
    """What class shares [n, classes] say; each holds for its span of ``held``."""
    weights = np.array([span.length for span in held])
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(held), 1 / len(held))
    means = weights @ shares
    background = without_persons(shares, labels)
    times = [span.start for span in held]
    environments = environment_spans(background, labels, held)
    lengths = {
        name: spans.total(e.span for e in environments if e.environment == name)
        for name in get_args(Environment)
    }
    persons = shares[:, [label == PERSON for label in labels]].sum(axis=1)
    return Background(
        environment=max(lengths, key=lambda name: lengths[name]),
        environments=environments,
        classes=[
            ClassShare(label=labels[k], share=float(means[k]), shares=shares[:, k].tolist())
            for k in np.argsort(-means, kind="stable")
            if shares[:, k].max() >= LISTED
        ],
        person_share=float(weights @ persons),
        person_shares=persons.tolist(),
        changes=changes_of(background, times, breaks, least),
        times=times,
    )
