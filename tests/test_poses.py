"""Postures, gestures and activity of bodies drawn by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktok_ray.methods.vision import poses

#: A person upright, seen from the front, arms hanging; lengths in metres, y downwards. The
#: person's left is on the right of the picture.
STANDING = np.array([
    (0, 0), (0.03, -0.03), (-0.03, -0.03), (0.075, -0.02), (-0.075, -0.02),
    (0.18, 0.25), (-0.18, 0.25), (0.22, 0.52), (-0.22, 0.52), (0.22, 0.77), (-0.22, 0.77),
    (0.12, 0.75), (-0.12, 0.75), (0.12, 1.17), (-0.12, 1.17), (0.12, 1.6), (-0.12, 1.6),
])  # fmt: skip
ALL = np.ones(17, bool)


def moved(**points: tuple[float, float]) -> np.ndarray:
    """The standing body with some points elsewhere; `l_` and `r_` are the person's own sides."""
    rows = {
        f"{side}_{name}": pair[k]
        for side, k in (("l", 0), ("r", 1))
        for name, pair in (
            ("elbow", poses.ELBOWS), ("wrist", poses.WRISTS), ("shoulder", poses.SHOULDERS),
            ("hip", poses.HIPS), ("knee", poses.KNEES), ("ankle", poses.ANKLES),
        )
    }  # fmt: skip
    body = STANDING.copy()
    for name, place in points.items():
        body[rows[name]] = place
    return body


def shifted(x: float, y: float) -> np.ndarray:
    return np.asarray(STANDING + np.array((x, y)))


def without(*pairs: tuple[int, int]) -> np.ndarray:
    seen = ALL.copy()
    seen[[i for pair in pairs for i in pair]] = False
    return seen


def turned(body: np.ndarray, degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    turn = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    return np.asarray(body @ np.array(turn))


LEGS_OF_A_CHAIR = {
    "l_knee": (0.14, 0.85), "r_knee": (-0.14, 0.85), "l_ankle": (0.14, 1.28), "r_ankle": (-0.14, 1.28),
}  # fmt: skip
SITTING_SIDEWAYS = {
    "l_knee": (0.5, 0.78), "r_knee": (0.5, 0.78), "l_ankle": (0.52, 1.2), "r_ankle": (0.52, 1.2),
}  # fmt: skip
SQUAT = {
    "l_knee": (0.3, 0.7), "r_knee": (0.25, 0.7), "l_ankle": (0.1, 0.92), "r_ankle": (-0.1, 0.92),
}  # fmt: skip


def bent_over() -> np.ndarray:
    """Trunk level, head forward, legs straight below the hips."""
    body = STANDING.copy()
    upper = list(range(11))
    hips = np.array((0, 0.75))
    body[upper] = turned(STANDING[upper] - hips, 80) + hips
    return body


@pytest.mark.parametrize(
    ("body", "posture"),
    [
        (STANDING, "standing"),
        (turned(STANDING, 15), "standing"),
        (moved(**LEGS_OF_A_CHAIR), "sitting"),
        (moved(**SITTING_SIDEWAYS), "sitting"),
        (moved(**SQUAT), "crouching"),
        (turned(STANDING, 90), "lying"),
        (turned(STANDING, -75), "lying"),
        (bent_over(), "bending"),
        (turned(STANDING, 50), None),
        (turned(STANDING, 180), None),
    ],
)
def test_postures(body, posture):
    assert poses.posture_of(body, ALL) == posture


@pytest.mark.parametrize("hidden", [poses.SHOULDERS, poses.HIPS, poses.KNEES])
def test_posture_is_unknown_where_a_joint_it_rests_on_is_hidden(hidden):
    assert poses.posture_of(STANDING, without(hidden)) is None


def test_one_side_of_the_body_is_enough_for_a_posture():
    assert poses.posture_of(STANDING, ALL & (np.arange(17) % 2 == 1)) == "standing"


def test_without_ankles_a_straight_thigh_stands():
    assert poses.posture_of(STANDING, without(poses.ANKLES)) == "standing"


@given(st.floats(0.01, 1000), st.floats(-500, 500), st.floats(-500, 500))
def test_posture_knows_neither_size_nor_place(size, x, y):
    for body in (STANDING, moved(**LEGS_OF_A_CHAIR), turned(STANDING, 90)):
        assert poses.posture_of(body * size + (x, y), ALL) == poses.posture_of(body, ALL)


UP_L = {"l_elbow": (0.3, 0.05), "l_wrist": (0.32, -0.25)}
UP_R = {"r_elbow": (-0.3, 0.05), "r_wrist": (-0.32, -0.25)}
OUT_L = {"l_elbow": (0.46, 0.25), "l_wrist": (0.72, 0.24)}
OUT_R = {"r_elbow": (-0.46, 0.25), "r_wrist": (-0.72, 0.24)}
CHIN_R = {"r_elbow": (-0.25, 0.4), "r_wrist": (-0.05, 0.14)}
FOLDED = {
    "l_elbow": (0.24, 0.5), "r_elbow": (-0.24, 0.5), "l_wrist": (-0.12, 0.46), "r_wrist": (0.12, 0.5),
}  # fmt: skip


@pytest.mark.parametrize(
    ("points", "gestures"),
    [
        ({}, set()),
        (UP_L, {("hand raised", "left")}),
        (UP_R, {("hand raised", "right")}),
        (UP_L | UP_R, {("both hands raised", "both")}),
        (OUT_L, {("pointing", "left")}),
        (OUT_L | OUT_R, set()),
        (CHIN_R, {("hand near face", "right")}),
        (CHIN_R | OUT_L, {("hand near face", "right"), ("pointing", "left")}),
        (FOLDED, {("arms crossed", "both")}),
        ({"l_wrist": (0.1, 0.6), "r_wrist": (-0.1, 0.6)}, set()),
        ({"l_wrist": (0.01, 0.6), "r_wrist": (0.01, 0.6)}, set()),
    ],
)
def test_gestures(points, gestures):
    assert poses.gestures_of(moved(**points), ALL) == gestures


def test_a_hidden_wrist_gestures_nothing():
    for points in (UP_L | UP_R, OUT_L, CHIN_R, FOLDED):
        assert poses.gestures_of(moved(**points), without(poses.WRISTS)) == set()


def test_a_hand_is_not_raised_above_a_hidden_nose():
    seen = ALL.copy()
    seen[poses.NOSE] = False
    assert poses.gestures_of(moved(**UP_L), seen) == set()


def test_mirrored_bodies_gesture_with_the_other_side():
    pairs = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    other = {"left": "right", "right": "left", "both": "both"}
    for points in (UP_L, OUT_R, CHIN_R, FOLDED, UP_L | UP_R):
        body = moved(**points)
        mirrored = body[pairs] * (-1, 1)
        expected = {(name, other[side]) for name, side in poses.gestures_of(body, ALL)}
        assert poses.gestures_of(mirrored, ALL) == expected


def test_a_small_head_in_profile_is_as_wide_as_the_torso_says():
    body = moved(**CHIN_R)
    seen = without(poses.EYES, poses.EARS)
    assert poses.gestures_of(body, seen) == {("hand near face", "right")}
    assert poses.gestures_of(body, seen & without(poses.HIPS)) == set()


def waving(seconds: float, rate: float, hz: float, reach: float) -> tuple[list[float], np.ndarray]:
    """Left forearm upright, swinging to and fro."""
    times = list(np.arange(0, seconds, 1 / rate))
    bodies = [
        moved(l_elbow=(0.3, 0.3), l_wrist=(0.3 + reach * np.sin(2 * np.pi * hz * t + 0.4), 0.06))
        for t in times
    ]
    return times, np.array(bodies)


def test_waving_is_seen_from_the_first_turn_to_the_last():
    times, bodies = waving(3.0, 10, 1.0, 0.12)
    [(span, side)] = poses.waves(times, bodies, np.ones((len(times), 17), bool))
    assert side == "left"
    assert span == pytest.approx((0.2, 2.7), abs=0.15)


@pytest.mark.parametrize(
    ("seconds", "hz", "reach"),
    [(3.0, 1.0, 0.02), (3.0, 0.3, 0.12), (1.0, 0.5, 0.12)],
    ids=["too small", "too slow", "too short"],
)
def test_what_is_no_waving(seconds, hz, reach):
    times, bodies = waving(seconds, 10, hz, reach)
    assert poses.waves(times, bodies, np.ones((len(times), 17), bool)) == []


def test_a_swinging_hand_below_the_elbow_does_not_wave():
    times, bodies = waving(3.0, 10, 1.0, 0.12)
    bodies[:, poses.WRISTS[0], 1] = 0.6
    assert poses.waves(times, bodies, np.ones((len(times), 17), bool)) == []


def test_a_hand_out_of_sight_between_turns_does_not_wave_on():
    times, bodies = waving(3.0, 10, 1.0, 0.12)
    seen = np.ones((len(times), 17), bool)
    seen[::4, poses.WRISTS[0]] = False
    assert poses.waves(times, bodies, seen) == []


def test_turning_points():
    assert poses.turns([0, 1, 2, 1, 0, 1, 2], 1.5) == [0, 2, 4]
    assert poses.turns([0, 0.2, 0, 0.2, 0], 0.5) == []
    assert poses.turns([], 1) == []


@given(st.lists(st.floats(-10, 10), max_size=40), st.floats(0.1, 5))
def test_turning_points_alternate_and_are_far_enough_apart(values, least):
    found = [values[i] for i in poses.turns(values, least)]
    swings = np.diff(found)
    assert (np.abs(swings) >= least).all()
    assert (np.sign(swings[1:]) == -np.sign(swings[:-1])).all()


def test_activity_is_in_torso_lengths_per_second():
    times = [0.0, 0.2, 0.4]
    bodies = np.array([STANDING, shifted(0.1, 0), shifted(0.1, 0)])
    moments, speeds = poses.activity(times, bodies, np.ones((3, 17), bool))
    torso = 1.4 * 0.36  # the shoulders say a little more than the 0.5 m between them and the hips
    assert moments == [0.2, 0.4]
    assert speeds == pytest.approx([0.1 / 0.2 / torso, 0])


def test_activity_of_a_face_alone_rests_on_the_head():
    times, seen = [0.0, 0.2], np.zeros((2, 17), bool)
    seen[:, :5] = True
    _, speeds = poses.activity(times, np.array([STANDING, shifted(0, 0.01)]), seen)
    assert speeds == pytest.approx([0.01 / 0.2 / (3.3 * 0.15)])


def test_activity_is_unknown_where_nothing_tells_the_size_or_samples_lie_apart():
    bodies = np.array([STANDING, STANDING])
    nose = np.zeros((2, 17), bool)
    nose[:, 0] = True
    assert poses.activity([0, 0.2], bodies, nose) == ([], [])
    assert poses.activity([0, 3.0], bodies, np.ones((2, 17), bool)) == ([], [])
    moments, _ = poses.activity([0, 0.8], bodies, np.ones((2, 17), bool))
    assert moments == [0.8], "of somebody still only every fourth sample is looked at"


@given(st.floats(0.01, 100), st.floats(0.01, 1))
def test_activity_does_not_depend_on_the_size_of_the_picture(size, step):
    bodies = np.array([STANDING, shifted(step, 0)])
    seen = np.ones((2, 17), bool)
    assert poses.activity([0, 0.2], bodies * size, seen)[1] == pytest.approx(
        poses.activity([0, 0.2], bodies, seen)[1]
    )
