"""Persons, keypoints, postures and gestures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np

from actors.body_pose import Poses
from benchmarks.accuracy import Bench, Row

Points = Mapping[str, tuple[int, int]]

COMPOSITE = "video/short_vertical_composite.mp4"
EDGES = (0.0, 3.0, 6.0, 9.0, 14.0, 17.0, 20.0)

#: COCO's keypoints in order, with the deviation that keypoint similarity allows each.
DEVIATIONS = {
    "nose": 0.026, "left eye": 0.025, "right eye": 0.025, "left ear": 0.035, "right ear": 0.035,
    "left shoulder": 0.079, "right shoulder": 0.079, "left elbow": 0.072, "right elbow": 0.072,
    "left wrist": 0.062, "right wrist": 0.062, "left hip": 0.107, "right hip": 0.107,
    "left knee": 0.087, "right knee": 0.087, "left ankle": 0.089, "right ankle": 0.089,
}  # fmt: skip

#: Of the leftmost person in full view: the picture's size, the person's box and some keypoints,
#: all drawn by eye, in pixels.
BY_EYE: Mapping[str, tuple[tuple[int, int], tuple[int, int, int, int], Points]] = {
    "still/bus.jpg": (
        (810, 1080),
        (50, 400, 245, 902),
        {
            "nose": (142, 440),
            "left eye": (149, 433),
            "left shoulder": (175, 490),
            "right shoulder": (85, 495),
            "right knee": (85, 790),
            "right ankle": (75, 855),
            "left ankle": (188, 855),
        },
    ),
    "still/two_people.jpg": (
        (1126, 661),
        (10, 8, 560, 661),
        {
            "nose": (325, 130),
            "left eye": (360, 103),
            "right eye": (285, 97),
            "right ear": (217, 140),
            "left wrist": (240, 545),
        },
    ),
}

#: File, persons in it by eye (least and most), and what is known of them.
PERSONS = (
    ("still/bus.jpg", 3, 4),
    ("still/two_people.jpg", 2, 2),
    ("still/astronaut.png", 1, 1),
    ("video/grid_bbaf2n.mpg", 1, 1),
    ("video/carphone.mp4", 1, 1),
)


def rows(bench: Bench) -> Iterator[Row]:
    found: Poses = bench.output("body_pose", bench.file(COMPOSITE))
    with_person = sum(
        any(start <= p.start < p.end <= end + 1e-6 for p in found.persons)
        for start, end in pairwise(EDGES)
    )
    yield Row(COMPOSITE, "a person in 6 of 6 segments", f"{with_person} of 6", with_person == 6)
    for file, least, most in PERSONS:
        path = bench.still(file) if file.startswith("still/") else bench.file(file)
        found = bench.output("body_pose", path)
        truth = f"{least}" if least == most else f"{least} to {most}"
        count = len(found.persons)
        yield Row(file, f"{truth} persons, by eye", f"{count}", least <= count <= most)
    crowd = bench.output("body_pose", bench.still("still/rf_crowd.jpg"))
    figure = f"{len(crowd.persons)}"
    yield Row("still/rf_crowd.jpg", "14 to 17 persons, by eye, most of them tiny", figure)
    for file in BY_EYE:
        yield from against_points(file, bench.output("body_pose", bench.still(file)))
    yield from known(bench)


def against_points(file: str, found: Poses) -> Iterator[Row]:
    """Object keypoint similarity (COCO) with the points set by eye."""
    size, box, points = BY_EYE[file]
    area = (box[2] - box[0]) * (box[3] - box[1])
    person = min(found.persons, key=lambda p: p.boxes[0][0])
    pose = np.median(person.keypoints, axis=0).reshape(17, 3)
    likeness = []
    for name, place in points.items():
        off = pose[list(DEVIATIONS).index(name), :2] * size - place
        likeness.append(float(np.exp(-(off @ off) / (2 * area * (2 * DEVIATIONS[name]) ** 2))))
    similarity = float(np.mean(likeness))
    worst = min(zip(likeness, points, strict=True))
    yield Row(
        file,
        f"{len(points)} keypoints of the left person, by eye",
        f"OKS {similarity:.2f}, least for the {worst[1]} ({worst[0]:.2f})",
        similarity >= 0.75,
    )


def known(bench: Bench) -> Iterator[Row]:
    """Postures and gestures seen by eye."""
    bus: Poses = bench.output("body_pose", bench.still("still/bus.jpg"))
    standing = sum(p.posture == "standing" for p in bus.persons)
    yield Row("still/bus.jpg", "three stand or walk", f"{standing} stand", standing >= 2)
    two: Poses = bench.output("body_pose", bench.still("still/two_people.jpg"))
    crossed = sum(any(g.gesture == "arms crossed" for g in p.gestures) for p in two.persons)
    yield Row("still/two_people.jpg", "both cross their arms", f"{crossed} do", crossed == 2)
    file = "video/gesture_woman.mp4"
    woman: Poses = bench.output("body_pose", bench.file(file))
    seen = [
        f"{g.gesture} ({g.side}) {g.start:.1f} to {g.end:.1f} s"
        for p in woman.persons
        for g in p.gestures
    ]
    yield Row(file, "right fist beside the face 1.5 to 2.3 s", "; ".join(seen) or "none")
