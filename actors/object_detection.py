"""Objects and persons, followed over time (YOLOv8 on COCO's 80 classes, joined by ByteTrack)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from actors.cut_analysis import Cuts
from tiktok_ray import spans, tracks
from tiktok_ray.analyzer import Analyzer, Needs, Options, Variant, Vram
from tiktok_ray.media import Frames
from tiktok_ray.report import Event, Model, Output, Timed, derived, estimated, measured
from tiktok_ray.sampling import holds, thin
from tiktok_ray.spans import Span
from tiktok_ray.yolo import Eyes, Found, Yolo, checkpoint

Box = tuple[float, float, float, float]

#: COCO's supercategories (Lin et al., ECCV 2014).
SUPERCATEGORIES = {
    "person": "person",
    "vehicle": "bicycle,car,motorcycle,airplane,bus,train,truck,boat",
    "outdoor": "traffic light,fire hydrant,stop sign,parking meter,bench",
    "animal": "bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe",
    "accessory": "backpack,umbrella,handbag,tie,suitcase",
    "sports": "frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,"
    "surfboard,tennis racket",
    "kitchen": "bottle,wine glass,cup,fork,knife,spoon,bowl",
    "food": "banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake",
    "furniture": "chair,couch,potted plant,bed,dining table,toilet",
    "electronic": "tv,laptop,mouse,remote,keyboard,cell phone",
    "appliance": "microwave,oven,toaster,sink,refrigerator",
    "indoor": "book,clock,vase,scissors,teddy bear,hair drier,toothbrush",
}
GROUPS = {label: group for group, all in SUPERCATEGORIES.items() for label in all.split(",")}

#: Least confidence that can carry an existing track on (ByteTrack's second association).
FLOOR = 0.1
#: Longer interruptions part one stretch of a track from the next.
BRIDGED_S = 0.5
#: IoU above which two boxes of one supercategory are one thing named twice.
SAME = 0.8


class ObjectTrack(Timed):
    """One thing, followed from its first to its last sample; never across a cut."""

    track: int = derived("Number of the track, from 1 in order of first appearance")
    label: str = estimated("COCO class that most of its confidence speaks for", method="YOLOv8")
    group: str = derived("COCO supercategory of the class; `other` for a class outside COCO")
    confidence: float = estimated("Mean confidence of its samples", range="0..1")
    seen: list[tuple[float, float]] = derived(
        "Stretches in which it is seen, start and end; interruptions of up to 0.5 s are bridged",
        unit="s",
    )
    times: list[float] = measured("Times of the samples in which it was seen", unit="s")
    boxes: list[Box] = estimated(
        "Its box at each of those times, x0, y0, x1, y1", unit="share of width or height"
    )
    confidences: list[float] = estimated("Confidence at each of those times", range="0..1")
    area: float = derived("Mean share of the picture that its box covers", range="0..1")


class ObjectClass(Model):
    """All tracks of one class."""

    label: str = estimated("COCO class")
    group: str = derived("COCO supercategory of the class")
    tracks: int = derived("Number of tracks; one thing seen in two shots counts twice")
    at_once: int = derived("Most of them in one sample")
    screen_time_s: float = derived("Time with at least one on screen", unit="s")
    screen_share: float = derived("The same as a share of the video", range="0..1")
    area: float = derived(
        "Mean share of the picture that their boxes cover together while on screen, overlaps "
        "counted once",
        range="0..1",
    )


class ObjectGroup(Model):
    """All tracks of one supercategory."""

    group: str = derived("COCO supercategory, e.g. person, vehicle, animal, food")
    labels: list[str] = derived("Its classes that were seen, most screen time first")
    tracks: int = derived("Number of tracks")
    screen_time_s: float = derived("Time with at least one on screen", unit="s")


class Objects(Output):
    """Everything detected, as tracks, by class and by supercategory."""

    tracks: list[ObjectTrack] = estimated(
        "Tracks in order of appearance",
        method="YOLOv8 (Ultralytics 2023); ByteTrack (Zhang et al., ECCV 2022)",
    )
    classes: list[ObjectClass] = derived("Sums by class, most screen time first")
    groups: list[ObjectGroup] = derived("Sums by supercategory, most screen time first")
    samples: int = measured("Pictures looked at")
    step_s: float = measured("Longest time between two of them", unit="s")

    def headline(self) -> str:
        if not self.classes:
            return "nothing recognised"
        named = [c.label + (f" ×{c.tracks}" if c.tracks > 1 else "") for c in self.classes[:4]]
        more = len(self.classes) - len(named)
        return ", ".join(named) + (f" and {more} more" if more else "")

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


class ObjectOptions(Options):
    """Settings of object detection."""

    fps: float = Field(5.0, gt=0, description="Pictures looked at per second, at most")
    confidence: float = Field(
        0.4, ge=FLOOR, le=1, description="Half of a track's samples must be as sure as this"
    )
    lost_s: float = Field(1.5, ge=0, description="A thing out of sight for longer is a new track")


class ObjectDetection(Analyzer):
    """What is on screen, where, and from when to when."""

    name = "object_detection"
    needs = Needs(threads=1, timeout_s=180, cost=15)
    variants = (
        Variant(
            "yolov8m",
            weights={"detector": checkpoint("yolov8m.pt", 0.049)},
            vram=Vram(0.05, 0.4),
            cpu=False,
        ),
        Variant(
            "yolov8n",
            weights={"detector": checkpoint("yolov8n.pt", 0.006)},
            vram=Vram(0.01, 0.2),
            ram_gib=0.75,
        ),
    )
    options_type = ObjectOptions

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:
        from ultralytics.trackers import byte_tracker  # noqa: F401  (load, not analyze, pays for it)

        self.model: Eyes = Yolo(files["detector"], device, floor=FLOOR)

    def analyze(self, dense: Frames, cut_analysis: Cuts | None) -> Objects:
        breaks = cut_analysis.times if cut_analysis else []
        picked = thin(dense.times.tolist(), self.options.fps, breaks)
        found: list[Found] = []
        for start in range(0, len(picked), self.batch):
            found += self.model([dense.rgb(i) for i in picked[start : start + self.batch]])
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


@dataclass(frozen=True)
class Seen:
    """Detections in one sample: boxes [n, 4] in shares of the picture, confidences [n], labels."""

    boxes: NDArray[np.float64]
    confidences: NDArray[np.float64]
    labels: list[str]

    @property
    def groups(self) -> list[str]:
        return [GROUPS.get(label, "other") for label in self.labels]

    def __getitem__(self, keep: Sequence[int]) -> Seen:
        rows = np.asarray(keep, int)
        return Seen(self.boxes[rows], self.confidences[rows], [self.labels[i] for i in keep])

    def distinct(self) -> Seen:
        """Without second names for one thing: of two boxes of different classes of one
        supercategory that overlap by more than ``SAME``, the surer stays."""
        same = tracks.iou(self.boxes, self.boxes) > SAME
        groups = self.groups
        kept: list[int] = []
        for i in np.argsort(-self.confidences, kind="stable"):
            if not any(same[i, k] and groups[i] == groups[k] for k in kept):
                kept.append(int(i))
        return self[sorted(kept)]


#: One track: (sample, detection in it) in order of time.
Sightings = list[tuple[int, int]]


class Detections:
    """Boxes in the form that Ultralytics' trackers read: pixels of the sampled picture."""

    def __init__(
        self, xywh: NDArray[np.float64], conf: NDArray[np.float64], cls: NDArray[np.float64]
    ) -> None:
        self.xywh, self.conf, self.cls = xywh, conf, cls

    @classmethod
    def of(cls, seen: Seen, size: tuple[int, int]) -> Detections:
        low, high = seen.boxes[:, :2] * size, seen.boxes[:, 2:] * size
        middle = np.concatenate([(low + high) / 2, high - low], axis=1)
        return cls(middle, seen.confidences, np.zeros(len(middle)))

    def __len__(self) -> int:
        return len(self.conf)

    def __getitem__(self, mask: NDArray[Any]) -> Detections:
        return Detections(self.xywh[mask], self.conf[mask], self.cls[mask])


def join(
    times: Sequence[float],
    seen: Sequence[Seen],
    breaks: Sequence[float],
    *,
    size: tuple[int, int],
    sure: float,
    lost_s: float,
) -> list[Sightings]:
    """Join detections into tracks by ByteTrack, one tracker for each supercategory and shot.

    A supercategory keeps its own tracker so that a rider is never taken for the bicycle, while a
    van that is called car and truck in turn stays one thing. Detections of at least 0.25, those
    between ``FLOOR`` and that only to carry a track on. At a few samples a second boxes move far
    between two: association asks for an IoU of 0.15 with the predicted box, whatever the
    confidence (``match_thresh``, ``fuse_score``). A track is kept if at least half of its
    samples are as ``sure`` and, in a shot of several samples, if it has two. In order of
    appearance.
    """
    kept: list[Sightings] = []
    for shot in shots(times, breaks, lost_s):
        steps = np.diff([times[i] for i in shot])
        patience = int(lost_s / float(np.median(steps)) + 1e-6) if len(steps) else 0
        for group in sorted({group for i in shot for group in seen[i].groups}):
            for track in byte_track(shot, seen, group, size, patience):
                middling = float(np.median([seen[i].confidences[j] for i, j in track]))
                if middling >= sure and (len(track) > 1 or len(shot) == 1):
                    kept.append(track)
    return sorted(kept)


def shots(times: Sequence[float], breaks: Sequence[float], gap_s: float) -> list[list[int]]:
    """Samples between cuts; a gap in the sampling longer than ``gap_s`` divides them too."""
    groups: list[list[int]] = []
    for i, t in enumerate(times):
        last = times[i - 1] if i else t
        cut = any(last < edge <= t + 1e-3 for edge in breaks)
        if i == 0 or cut or t - last > gap_s:
            groups.append([])
        groups[-1].append(i)
    return groups


def byte_track(
    shot: Sequence[int], seen: Sequence[Seen], group: str, size: tuple[int, int], patience: int
) -> list[Sightings]:
    """Tracks of one supercategory in one shot; from one sighting to the next lie at most
    ``patience`` samples."""
    from ultralytics.trackers.byte_tracker import BYTETracker

    tracker = BYTETracker(
        SimpleNamespace(
            track_high_thresh=0.25,
            track_low_thresh=FLOOR,
            new_track_thresh=0.25,
            track_buffer=patience,
            match_thresh=0.85,
            fuse_score=False,
        )
    )
    paths: dict[int, Sightings] = {}
    confirmed: set[int] = set()
    for sample in shot:
        members = [j for j, name in enumerate(seen[sample].groups) if name == group]
        # Ultralytics lets go of a lost track one to three samples later than it is told to.
        tracker.lost_stracks = [
            track
            for track in tracker.lost_stracks
            if tracker.frame_id + 1 - track.end_frame <= patience
        ]
        tracker.update(Detections.of(seen[sample][members], size))
        for track in tracker.tracked_stracks:
            # The detection itself is kept, not the filter's smoothed box; tracks that ByteTrack
            # confirms at their second sample keep their first.
            if track.frame_id == tracker.frame_id:
                paths.setdefault(track.track_id, []).append((sample, members[int(track.idx)]))
                if track.is_activated:
                    confirmed.add(track.track_id)
    return [path for number, path in paths.items() if number in confirmed]


def covered(boxes: NDArray[np.float64]) -> float:
    """Share of the picture that boxes [n, 4] cover together, overlaps counted once."""
    xs, ys = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    inside = np.zeros((len(ys) - 1, len(xs) - 1), bool)
    for x0, y0, x1, y1 in boxes:
        inside |= np.outer((ys[:-1] >= y0) & (ys[1:] <= y1), (xs[:-1] >= x0) & (xs[1:] <= x1))
    return float((np.outer(np.diff(ys), np.diff(xs)) * inside).sum())


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
        area=float(tracks.area(boxes).mean()),
    )
