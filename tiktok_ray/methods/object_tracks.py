"""Detections over time: COCO's supercategories, second names for one thing, and ByteTrack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiktok_ray import tracks

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
#: IoU above which two boxes of one supercategory are one thing named twice.
SAME = 0.8


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
