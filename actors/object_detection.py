"""Objects and people tracked over time: COCO's 80 classes by YOLOv8, RT-DETRv2 or D-FINE."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from actors.cut_analysis import Cuts
from tiktok_ray.analyzer import Analyzer, Needs, Options, Sees, Variant, Vram
from tiktok_ray.media import Frames, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.vision import box_tracks, detr, yolo
from tiktok_ray.methods.vision.detr import Detr
from tiktok_ray.methods.vision.object_tracks import (
    BEGIN,
    FLOOR,
    GROUPS,
    Seen,
    Sightings,
    covered,
    join,
)
from tiktok_ray.methods.vision.sampling import Kept, holds, look_closer, thin
from tiktok_ray.methods.vision.yolo import Eyes, Found, Yolo
from tiktok_ray.report import Event, Model, Output, Timed, derived, estimated, measured

Box = tuple[float, float, float, float]

#: Longer interruptions part one stretch of a track from the next.
BRIDGED_S = 0.5


class ObjectTrack(Timed):
    """One object, tracked from its first to its last detection; never across a cut."""

    track: int = derived("Number of the track, from 1 in order of first appearance")
    label: str = estimated(
        "COCO class with the most total confidence", method="the detector chosen"
    )
    group: str = derived("COCO supercategory of the class; `other` for a class outside COCO")
    confidence: float = estimated("Mean confidence of its detections", range="0..1")
    seen: list[tuple[float, float]] = derived(
        "Time spans in which it is visible; gaps of up to 0.5 s are bridged",
        unit="s",
    )
    times: list[float] = measured("Timestamps of the frames in which it was detected", unit="s")
    boxes: list[Box] = estimated(
        "Bounding box at each of those times, x0, y0, x1, y1", unit="share of width or height"
    )
    confidences: list[float] = estimated("Confidence at each of those times", range="0..1")
    area: float = derived("Mean share of the frame covered by its box", range="0..1")


class ObjectClass(Model):
    """All tracks of one class."""

    label: str = estimated("COCO class")
    group: str = derived("COCO supercategory of the class")
    tracks: int = derived("Number of tracks; an object seen in two shots counts twice")
    at_once: int = derived("Maximum number in one frame")
    screen_time_s: float = derived("Time with at least one on screen", unit="s")
    screen_share: float = derived("The same as a share of the video", range="0..1")
    area: float = derived(
        "Mean share of the frame covered by their boxes together while on screen, overlaps "
        "counted once",
        range="0..1",
    )


class ObjectGroup(Model):
    """All tracks of one supercategory."""

    group: str = derived("COCO supercategory, e.g. person, vehicle, animal, food")
    labels: list[str] = derived("Its classes that were detected, most screen time first")
    tracks: int = derived("Number of tracks")
    screen_time_s: float = derived("Time with at least one on screen", unit="s")


class Objects(Output):
    """Everything detected, as tracks, by class and by supercategory."""

    tracks: list[ObjectTrack] = estimated(
        "Tracks in order of appearance",
        method="YOLOv8 (Ultralytics 2023) or the detector chosen; ByteTrack (Zhang et al., ECCV 2022), "
        "in seconds",
    )
    classes: list[ObjectClass] = derived("Totals by class, most screen time first")
    groups: list[ObjectGroup] = derived("Totals by supercategory, most screen time first")
    samples: int = measured("Number of frames analyzed")
    step_s: float = measured("Longest time between two of them", unit="s")

    def headline(self) -> str:
        if not self.classes:
            return "no objects detected"
        sure = self.confidences()
        named = [
            f"{c.label}{f' ×{c.at_once}' if c.at_once > 1 else ''}"
            + (f" ({sure[c.label]:.2f})" if c.label in sure else "")
            for c in self.classes[:4]
        ]
        more = len(self.classes) - len(named)
        return ", ".join(named) + (f" and {more} more" if more else "")

    def confidences(self) -> dict[str, float]:
        """By class, the mean confidence of its surest track, 0..1."""
        best: dict[str, float] = {}
        for t in self.tracks:
            best[t.label] = max(best.get(t.label, 0.0), t.confidence)
        return best

    def events(self) -> Iterator[Event]:
        for t in self.tracks:
            for start, end in t.seen:
                yield Event(
                    start=start,
                    end=end,
                    kind="person" if t.label == "person" else "object",
                    label=t.label,
                    confidence=t.confidence,
                    analyzer=ObjectDetection.name,
                    track=t.track,
                )


Detector = Literal["yolov8", "rt-detr", "d-fine"]


class ObjectOptions(Options):
    """Settings of object detection."""

    detector: Detector = Field("yolov8", description="Detector family; see docs/models.md")
    fps: float = Field(
        5.0,
        gt=0,
        description="Frames analyzed per second, at most; half as many where all goes on as before, a quarter where nothing changes",
    )
    confidence: float = Field(
        0.4,
        ge=FLOOR,
        le=1,
        description="Minimum confidence of a track's detections to count as evidence",
    )
    lost_s: float = Field(1.5, ge=0, description="Seconds after which a lost track is not resumed")


DETECTORS: dict[Detector, tuple[Variant, ...]] = {
    "yolov8": (
        Variant(
            "yolov8m",
            weights={"detector": yolo.checkpoint("yolov8m.pt", 0.049, on_the_cpu=False)},
            vram=Vram(0.05, 0.4),
            cpu=False,
            card_imports=yolo.ON_A_CARD,
        ),
        Variant(
            "yolov8n",
            weights={"detector": yolo.checkpoint("yolov8n.pt", 0.006)},
            vram=Vram(0.01, 0.2),
            ram_gib=0.8,
            card_imports=yolo.ON_A_CARD,
        ),
    ),
    "rt-detr": (
        Variant(
            "rtdetr-v2-r50",
            weights={
                "detector": detr.checkpoint("PekingU/rtdetr_v2_r50vd", 0.16, on_the_cpu=False)
            },
            vram=Vram(0.17, 0.8),
            cpu=False,
            imports=("PIL.ImageFile",),
            card_imports=("torch", "transformers"),
        ),
        Variant(
            "rtdetr-v2-r18",
            weights={"detector": detr.checkpoint("PekingU/rtdetr_v2_r18vd", 0.08)},
            vram=Vram(0.08, 0.5),
            ram_gib=0.7,
            imports=("PIL.ImageFile",),
            card_imports=("torch", "transformers"),
        ),
    ),
    "d-fine": (
        Variant(
            "dfine-s",
            weights={"detector": detr.checkpoint("ustc-community/dfine-small-coco", 0.04)},
            vram=Vram(0.04, 0.5),
            ram_gib=0.7,
            imports=("PIL.ImageFile",),
            card_imports=("torch", "transformers"),
        ),
    ),
}


class ObjectDetection(Analyzer):
    """Objects on screen: which, where and when."""

    name = "object_detection"
    card_priority = 8
    needs = Needs(threads=1, timeout_s=180, cost=4.5)
    imports = ("cv2",)
    variants = tuple(variant for family in DETECTORS.values() for variant in family)
    options_type = ObjectOptions

    @classmethod
    def variants_for(cls, options: Options) -> tuple[Variant, ...]:
        """The variants of the selected detector family."""
        return DETECTORS[getattr(options, "detector", "yolov8")]

    @classmethod
    def sees_for(cls, options: Options) -> tuple[Sees, ...]:
        """Things that are seen for as long as a track must be to be believed."""
        rate = getattr(options, "fps", None)
        return (Sees("things", "dense", seconds=box_tracks.BELIEVED_S, rate=rate),)

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:
        made = Yolo if variant in DETECTORS["yolov8"] else Detr
        self.model: Eyes = made(files["detector"], device, floor=FLOOR)

    def analyze(self, dense: Frames, cut_analysis: Cuts | None) -> Objects:
        breaks = cut_analysis.times if cut_analysis else []
        picked = thin(dense.times.tolist(), self.options.fps, breaks)
        picked, found = look_closer(
            dense,
            picked,
            self.model,
            self._kept,
            breaks=breaks,
            lost_s=self.options.lost_s,
            batch=self.batch,
        )
        labels = self.model.names
        seen = [
            Seen(rows[:, :4], rows[:, 4], [labels[int(c)] for c in rows[:, 5]]).distinct()
            for rows in found
        ]
        times = dense.times[picked].tolist()
        held = holds(times, dense.end, breaks)
        joined = join(
            times,
            seen,
            breaks,
            size=(dense.width, dense.height),
            sure=self.options.confidence,
            lost_s=self.options.lost_s,
        )
        return describe(joined, seen, held)

    def _kept(self, a: Found, b: Found) -> Kept | None:
        return box_tracks.kept(a, b, begin=BEGIN, sure=self.options.confidence)


def describe(joined: Sequence[Sightings], seen: Sequence[Seen], held: Sequence[Span]) -> Objects:
    """Tracks and their sums; ``held`` is the span for which each sample stands."""
    found = [track_of(number, path, seen, held) for number, path in enumerate(joined, 1)]
    length = held[-1].end - held[0].start

    def sightings(chosen: Sequence[int]) -> dict[int, list[int]]:
        by_sample: dict[int, list[int]] = {}
        for k in chosen:
            for sample, j in joined[k]:
                by_sample.setdefault(sample, []).append(j)
        return by_sample

    classes: list[ObjectClass] = []
    for label in {t.label for t in found}:
        chosen = [k for k, t in enumerate(found) if t.label == label]
        by_sample = sightings(chosen)
        seconds = spans.total(held[i] for i in by_sample)
        areas = [covered(seen[i].boxes[items]) * held[i].length for i, items in by_sample.items()]
        classes.append(
            ObjectClass(
                label=label,
                group=GROUPS.get(label, "other"),
                tracks=len(chosen),
                at_once=max(len(items) for items in by_sample.values()),
                screen_time_s=seconds,
                screen_share=seconds / length if length else 0.0,
                area=sum(areas) / seconds if seconds else 0.0,
            )
        )
    classes.sort(key=lambda c: (-c.screen_time_s, c.label))
    groups = [
        ObjectGroup(
            group=group,
            labels=[c.label for c in classes if c.group == group],
            tracks=sum(t.group == group for t in found),
            screen_time_s=spans.total(
                held[i] for i in sightings([k for k, t in enumerate(found) if t.group == group])
            ),
        )
        for group in {t.group for t in found}
    ]
    groups.sort(key=lambda g: (-g.screen_time_s, g.group))
    starts = [span.start for span in held]
    return Objects(
        tracks=found,
        classes=classes,
        groups=groups,
        samples=len(held),
        step_s=float(np.diff([*starts, held[-1].end]).max()),
    )


def track_of(
    number: int, path: Sightings, seen: Sequence[Seen], held: Sequence[Span]
) -> ObjectTrack:
    votes: Counter[str] = Counter()
    for i, j in path:
        votes[seen[i].labels[j]] += seen[i].confidences[j]
    label = votes.most_common(1)[0][0]
    boxes = np.array([seen[i].boxes[j] for i, j in path])
    confidences = [float(seen[i].confidences[j]) for i, j in path]
    return ObjectTrack(
        start=held[path[0][0]].start,
        end=held[path[-1][0]].end,
        track=number,
        label=label,
        group=GROUPS.get(label, "other"),
        confidence=float(np.mean(confidences)),
        seen=[(s.start, s.end) for s in spans.union((held[i] for i, _ in path), BRIDGED_S)],
        times=[held[i].start for i, _ in path],
        boxes=[tuple(box) for box in boxes.tolist()],
        confidences=confidences,
        area=float(box_tracks.area(boxes).mean()),
    )
