"""Persons, keypoints, postures and gestures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np

from actors.body_pose import Poses
from benchmarks.accuracy import Bench, Figure, Row
from benchmarks.accuracy._figures import share_figure

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


#: Which fields the figures are errors of.
FIELDS = {
    ("persons counted right", "all"): ("at_once", "persons.track"),
    ("OKS", "by eye"): ("persons.keypoints",),
    ("posture right", "by eye"): ("persons.posture",),
    ("gesture found", "by eye"): ("persons.gestures.gesture",),
}


def figures(bench: Bench) -> Iterator[Figure]:
    counted = [(least <= count(bench, file) <= most, 1) for file, least, most in PERSONS]
    unit = "pictures and clips"
    yield share_figure("persons counted right", "persons", "all", counted, clips="real", unit=unit)
    likeness = [similarity(file, bench.output("body_pose", bench.still(file))) for file in BY_EYE]
    yield share_figure(
        "OKS", "keypoints of the left person", "by eye",
        [(sum(some.values()), len(some)) for some in likeness], clips="real", unit="pictures",
    )  # fmt: skip
    stand, cross = standing(bench), crossed(bench)
    yield share_figure(
        "posture right", "three who stand or walk", "by eye", [(min(stand, 3), 3)],
        clips="real", unit="picture",
    )  # fmt: skip
    yield share_figure(
        "gesture found", "two who cross their arms", "by eye", [(min(cross, 2), 2)],
        clips="real", unit="picture",
    )  # fmt: skip


def count(bench: Bench, file: str) -> int:
    """Persons told of a file."""
    path = bench.still(file) if file.startswith("still/") else bench.file(file)
    return len(bench.output("body_pose", path).persons)


def standing(bench: Bench) -> int:
    """Persons told to stand before the bus."""
    bus: Poses = bench.output("body_pose", bench.still("still/bus.jpg"))
    return sum(p.posture == "standing" for p in bus.persons)


def crossed(bench: Bench) -> int:
    """Persons told to cross their arms, of two who do."""
    two: Poses = bench.output("body_pose", bench.still("still/two_people.jpg"))
    return sum(any(g.gesture == "arms crossed" for g in p.gestures) for p in two.persons)


def rows(bench: Bench) -> Iterator[Row]:
    found: Poses = bench.output("body_pose", bench.file(COMPOSITE))
    with_person = sum(
        any(start <= p.start < p.end <= end + 1e-6 for p in found.persons)
        for start, end in pairwise(EDGES)
    )
    yield Row(COMPOSITE, "a person in 6 of 6 segments", f"{with_person} of 6", with_person == 6)
    for file, least, most in PERSONS:
        truth = f"{least}" if least == most else f"{least} to {most}"
        told = count(bench, file)
        yield Row(file, f"{truth} persons, by eye", f"{told}", least <= told <= most)
    crowd = bench.output("body_pose", bench.still("still/rf_crowd.jpg"))
    figure = f"{len(crowd.persons)}"
    yield Row("still/rf_crowd.jpg", "14 to 17 persons, by eye, most of them tiny", figure)
    for file in BY_EYE:
        yield from against_points(file, bench.output("body_pose", bench.still(file)))
    yield from known(bench)


def against_points(file: str, found: Poses) -> Iterator[Row]:
    """Object keypoint similarity (COCO) with the points set by eye."""
    likeness = similarity(file, found)
    worst = min(likeness, key=lambda name: likeness[name])
    mean = float(np.mean(list(likeness.values())))
    yield Row(
        file,
        f"{len(likeness)} keypoints of the left person, by eye",
        f"OKS {mean:.2f}, least for the {worst} ({likeness[worst]:.2f})",
        mean >= 0.75,
    )


def similarity(file: str, found: Poses) -> dict[str, float]:
    """Object keypoint similarity (COCO) of each point set by eye on the leftmost person."""
    size, box, points = BY_EYE[file]
    area = (box[2] - box[0]) * (box[3] - box[1])
    person = min(found.persons, key=lambda p: p.boxes[0][0])
    pose = np.median(person.keypoints, axis=0).reshape(17, 3)
    likeness = {}
    for name, place in points.items():
        off = pose[list(DEVIATIONS).index(name), :2] * size - place
        likeness[name] = float(np.exp(-(off @ off) / (2 * area * (2 * DEVIATIONS[name]) ** 2)))
    return likeness


def known(bench: Bench) -> Iterator[Row]:
    """Postures and gestures seen by eye."""
    stand, cross = standing(bench), crossed(bench)
    yield Row("still/bus.jpg", "three stand or walk", f"{stand} stand", stand >= 2)
    yield Row("still/two_people.jpg", "both cross their arms", f"{cross} do", cross == 2)
    file = "video/gesture_woman.mp4"
    woman: Poses = bench.output("body_pose", bench.file(file))
    seen = [
        f"{g.gesture} ({g.side}) {g.start:.1f} to {g.end:.1f} s"
        for p in woman.persons
        for g in p.gestures
    ]
    yield Row(file, "right fist beside the face 1.5 to 2.3 s", "; ".join(seen) or "none")
