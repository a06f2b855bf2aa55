"""Persons with 17 keypoints over time: posture, gestures and activity (YOLOv8-pose)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tiktok_ray.report import Event, Output, Timed, derived, estimated, measured

Box = tuple[float, float, float, float]
Posture = Literal["standing", "sitting", "lying", "bending", "crouching", "unknown"]
GestureKind = Literal[
    "hand raised", "both hands raised", "pointing", "hand on face", "arms crossed", "waving"
]


class PostureSpan(Timed):
    """A stretch in which one person keeps one posture."""

    posture: Posture = derived("Posture by angles between keypoints; see `body_pose.posture_of`")


class Gesture(Timed):
    """A gesture of one person."""

    gesture: GestureKind = derived("Gesture by the place of keypoints; see `body_pose.gestures_of`")
    side: Literal["left", "right", "both"] = derived("The person's own side")


class PosedPerson(Timed):
    """One person, followed from first to last sample; never across a cut."""

    track: int = derived("Number of the person, from 1 in order of first appearance")
    confidence: float = estimated("Mean confidence of the detections", range="0..1")
    times: list[float] = measured("Times of the samples in which the person was seen", unit="s")
    boxes: list[Box] = estimated(
        "Box at each of those times, x0, y0, x1, y1", unit="share of width or height"
    )
    keypoints: list[list[float]] = estimated(
        "At each of those times 17 x (x, y, confidence) in COCO's order: nose, eyes, ears, "
        "shoulders, elbows, wrists, hips, knees, ankles, each left before right",
        unit="share of width or height; confidence 0..1",
    )
    posture: Posture = derived("Posture held for the longest time")
    postures: list[PostureSpan] = derived("Postures over time")
    gestures: list[Gesture] = derived("Gestures over time")
    activity: float | None = derived(
        "Median over time of the mean speed of the visible keypoints relative to the torso's "
        "centre, plus the speed of that centre; None where the torso is not seen",
        unit="torso lengths/s",
    )
    activity_times: list[float] = measured("Times at which activity is known", unit="s")
    activity_values: list[float] = derived("Activity at those times", unit="torso lengths/s")


class Poses(Output):
    """All persons with keypoints."""

    persons: list[PosedPerson] = estimated(
        "Persons in order of appearance", method="YOLOv8-pose (Ultralytics 2023)"
    )
    at_once: int = derived("Most persons in one sample")
    screen_time_s: float = derived("Time with at least one person on screen", unit="s")
    samples: int = measured("Pictures looked at")
    step_s: float = measured("Longest time between two of them", unit="s")
