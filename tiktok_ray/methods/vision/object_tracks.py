"""Detections over time: COCO's supercategories, second names for one thing, and their tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.methods.vision import box_tracks

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

#: Least confidence that begins a track, and that carries one on (ByteTrack's two associations).
BEGIN, FLOOR = 0.25, 0.1
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
        same = box_tracks.iou(self.boxes, self.boxes) > SAME
        groups = self.groups
        kept: list[int] = []
        for i in np.argsort(-self.confidences, kind="stable"):
            if not any(same[i, k] and groups[i] == groups[k] for k in kept):
                kept.append(int(i))
        return self[sorted(kept)]


#: One track: (sample, detection in it) in order of time.
Sightings = list[tuple[int, int]]


def join(
    times: Sequence[float],
    seen: Sequence[Seen],
    breaks: Sequence[float],
    *,
    size: tuple[int, int],
    sure: float,
    lost_s: float,
) -> list[Sightings]:
    """Join detections into tracks, one tracker for each supercategory; see ``tracks.track``.

    So a rider is never taken for the bicycle, while a van that is called car and truck in turn
    stays one thing. Detections of at least ``BEGIN`` begin tracks, those between ``FLOOR`` and
    that only carry one on. Kept are the tracks that sightings as ``sure`` make ``believed``.
    ``size``: width and height of the picture in pixels. In order of appearance.
    """
    kept: list[Sightings] = []
    for group in sorted({group for sample in seen for group in sample.groups}):
        rows = [[j for j, name in enumerate(sample.groups) if name == group] for sample in seen]
        scores = [sample.confidences[own] for sample, own in zip(seen, rows, strict=True)]
        joined = box_tracks.track(
            times,
            [sample.boxes[own] for sample, own in zip(seen, rows, strict=True)],
            scores,
            lost_s=lost_s,
            begin=BEGIN,
            aspect=size[0] / size[1],
            breaks=breaks,
        )
        kept += [
            [(i, rows[i][k]) for i, k in zip(path.samples, path.items, strict=True)]
            for path in box_tracks.believed(joined, times, scores, sure=sure, breaks=breaks)
        ]
    return sorted(kept)


def covered(boxes: NDArray[np.float64]) -> float:
    """Share of the picture that boxes [n, 4] cover together, overlaps counted once."""
    xs, ys = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    inside = np.zeros((len(ys) - 1, len(xs) - 1), bool)
    for x0, y0, x1, y1 in boxes:
        inside |= np.outer((ys[:-1] >= y0) & (ys[1:] <= y1), (xs[:-1] >= x0) & (xs[1:] <= x1))
    return float((np.outer(np.diff(ys), np.diff(xs)) * inside).sum())
