"""Boxes, classes and times of objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np

from actors.object_detection import Objects, ObjectTrack
from benchmarks.accuracy import Bench, Row
from tiktok_ray.media.spans import share
from tiktok_ray.methods.vision.box_tracks import iou

COMPOSITE = "video/short_vertical_composite.mp4"
EDGES = (0.0, 3.0, 6.0, 9.0, 14.0, 17.0, 20.0)

#: Boxes drawn by eye, in pixels: x0, y0, x1, y1.
BY_EYE: Mapping[str, tuple[tuple[int, int], tuple[tuple[str, tuple[int, int, int, int]], ...]]] = {
    "still/bus.jpg": (
        (810, 1080),
        (
            ("bus", (5, 232, 805, 735)),
            ("person", (50, 400, 245, 902)),
            ("person", (225, 405, 342, 860)),
            ("person", (670, 400, 810, 880)),
            ("person", (0, 555, 78, 872)),
        ),
    ),
    "still/two_people.jpg": (
        (1126, 661),
        (
            ("person", (10, 8, 560, 661)),
            ("person", (582, 5, 1121, 661)),
            ("tie", (262, 275, 322, 482)),
            ("tie", (830, 283, 896, 475)),
        ),
    ),
}

#: Objects counted by eye.
COUNTED = (
    ("still/rf_license_plate.jpg", "car", 3, 3),
    ("video/laptop_desk.mp4", "laptop", 1, 1),
    ("video/laptop_desk.mp4", "cell phone", 1, 1),
    ("video/laptop_desk.mp4", "person", 1, 1),
    ("odd/hevc_testsrc2_720p.mp4", "anything", 0, 0),
)


def rows(bench: Bench) -> Iterator[Row]:
    yield from composite(bench.output("object_detection", bench.file(COMPOSITE)))
    for file, (size, drawn) in BY_EYE.items():
        found: Objects = bench.output("object_detection", bench.still(file))
        yield from against_boxes(file, found, size, drawn)
    for file, label, least, most in COUNTED:
        path = bench.still(file) if file.startswith("still/") else bench.file(file)
        found = bench.output("object_detection", path)
        tracks = [t for t in found.tracks if label in (t.label, "anything")]
        truth = f"{least}" if least == most else f"{least} to {most}"
        figure = f"{len(tracks)} {label}"
        yield Row(file, f"{truth} {label}, by eye", figure, least <= len(tracks) <= most)
    crowd = bench.output("object_detection", bench.still("still/rf_crowd.jpg"))
    persons = sum(t.label == "person" for t in crowd.tracks)
    yield Row(
        "still/rf_crowd.jpg", "14 to 17 person, by eye, most of them tiny", f"{persons} person"
    )


def composite(found: Objects) -> Iterator[Row]:
    """Persons in every segment, the bus in its own, a bicycle in the last."""
    with_person = sum(
        any(t.label == "person" and start <= t.start < t.end <= end + 1e-6 for t in found.tracks)
        for start, end in pairwise(EDGES)
    )
    yield Row(COMPOSITE, "a person in 6 of 6 segments", f"{with_person} of 6", with_person == 6)
    for label, truth in (("bus", (6.0, 9.0)), ("bicycle", (17.0, 20.0))):
        tracks = [t for t in found.tracks if t.label == label]
        figure = ", ".join(f"{t.start:.2f} to {t.end:.2f} s" for t in tracks) or "none"
        inside = all(share([t.span], [truth]) > 0 and truth[0] <= t.start for t in tracks)
        ends = all(t.end <= truth[1] + 1e-6 for t in tracks)
        yield Row(
            COMPOSITE,
            f"{label} in {truth[0]:g} to {truth[1]:g} s and nowhere else",
            figure,
            bool(tracks) and inside and ends,
        )


def against_boxes(
    file: str,
    found: Objects,
    size: tuple[int, int],
    drawn: tuple[tuple[str, tuple[int, int, int, int]], ...],
) -> Iterator[Row]:
    """Each drawn box against the track that overlaps it most; then tracks that match none."""
    matched: set[int] = set()
    for label, box in drawn:
        truth = np.array([box]) / (*size, *size)
        best: tuple[float, ObjectTrack | None] = (0.0, None)
        for track in found.tracks:
            overlap = float(iou(np.median([track.boxes], axis=1), truth)[0, 0])
            if track.label == label and overlap > best[0]:
                best = (overlap, track)
        figure = "not found"
        if best[1] is not None and best[0] >= 0.5:
            matched.add(best[1].track)
            figure = f"IoU {best[0]:.2f}, confidence {best[1].confidence:.2f}"
        cut_off = box[0] == 0
        yield Row(
            file,
            f"{label} at {box}, by eye" + (", mostly outside the picture" if cut_off else ""),
            figure,
            None if cut_off else best[0] >= 0.5,
        )
    extra = [t.label for t in found.tracks if t.track not in matched]
    yield Row(file, "nothing else", ", ".join(extra) or "nothing else", not extra)
