"""Objects and persons, followed over time (YOLOv8 on COCO's 80 classes, joined by ByteTrack)."""

from __future__ import annotations

from collections.abc import Iterator

from tiktok_ray.report import Event, Model, Output, Timed, derived, estimated, measured

Box = tuple[float, float, float, float]


class ObjectTrack(Timed):
    """One thing, followed from its first to its last sample; never across a cut."""

    track: int = derived("Number of the track, from 1 in order of first appearance")
    label: str = estimated("COCO class that most of its confidence speaks for", method="YOLOv8")
    group: str = derived("COCO supercategory of the class")
    confidence: float = estimated("Mean confidence of its samples", range="0..1")
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
