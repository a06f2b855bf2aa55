"""Eyes over time: hand-made landmarks, a landmarker of coloured squares, and the real one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from actors.age_estimation import AgeEstimation, Faces
from actors.eye_tracking import EyeOptions, Eyes, EyeTrack, EyeTracking, Seat, rate, read, seats_of
from benchmarks.accuracy.eye_tracking import AWAY, BLINKS, agreement, labelled
from tests.actors.test_age_estimation import analyzer as age_analyzer
from tests.actors.test_age_estimation import cuts, faces_of, still, video
from tiktok_ray.analyzer import Analyzer, Skip
from tiktok_ray.media import Frames, decode
from tiktok_ray.methods.vision.eyes import (
    EYES,
    IRIS_HEIGHT,
    IRIS_RADIUS,
    IRISES,
    LIPS,
    MOUTH_CORNERS,
    baseline,
    cut_out,
    extent,
    eye_aspect_ratio,
    find_blinks,
    gaze_angles,
    head_angles,
    matching,
    measure,
    true_runs,
)
from tiktok_ray.methods.vision.faces import (
    Landmarker,
    Landmarks,
    face_landmarker,
    orthonormal,
)
from tiktok_ray.settings import Settings, TrackSettings

SIZE = (160, 96)


# Hand-made landmarks


def rotation(yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """A head turned to the right of the picture, upwards, and tilted clockwise, in degrees."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), np.sin(r), 0], [-np.sin(r), np.cos(r), 0], [0, 0, 1]])
    made: np.ndarray = about_y @ about_x @ about_z
    return made


def direction(yaw: float, pitch: float) -> np.ndarray:
    made: np.ndarray = rotation(yaw, pitch)[:, 2]
    return made


def face(
    ears: tuple[float, float] = (0.3, 0.3),
    mouth: float = 0.1,
    head: tuple[float, float, float] = (0, 0, 0),
    eyes: tuple[float, float] = (0, 0),
    smile: float = 0.0,
    centre: tuple[float, float] = (0.5, 0.5),
    size: float = 0.5,
) -> Landmarks:
    """A face of a width of ``size``; ``eyes`` is how far the eyeballs turn within the head."""
    points = np.zeros((478, 3))
    points[[10, 152, 234, 454]] = [(0, 0.5, 0), (0, -0.5, 0), (-0.5, 0, 0), (0.5, 0, 0)]
    width, turn = 0.2, direction(*eyes)
    for x, eye, iris, ear in zip((-0.2, 0.2), EYES, IRISES, ears, strict=True):
        lid = ear * width / 2
        sides = [(-0.1, 0), (-0.03, lid), (0.03, lid), (0.1, 0), (0.03, -lid), (-0.03, -lid)]
        points[list(eye)] = [(x + a, 0.1 + b, 0.2) for a, b in sides]
        points[iris] = (x, 0.1 + IRIS_HEIGHT * width, 0.2)
        points[iris, :2] += IRIS_RADIUS * width * turn[:2]
    points[list(MOUTH_CORNERS)] = [(-0.2, -0.3, 0.2), (0.2, -0.3, 0.2)]
    points[list(LIPS)] = [(0, -0.3 + 0.2 * mouth, 0.2), (0, -0.3 - 0.2 * mouth, 0.2)]
    pose = rotation(*head)
    turned = points @ pose.T * size * np.array([1, -1, -1]) + np.array([*centre, 0])
    return Landmarks(turned, pose, {"mouthSmileLeft": smile, "mouthSmileRight": smile})


def test_the_eye_aspect_ratio_is_lid_distance_over_width():
    eye = np.array([(0, 0), (1, 1), (2, 2), (4, 0), (2, -1), (1, -1)], float)
    assert eye_aspect_ratio(eye) == pytest.approx((2 + 3) / (2 * 4))
    assert eye_aspect_ratio(eye * [1, 0]) == 0


@given(st.floats(-40, 40), st.floats(-30, 30), st.floats(-40, 40))
def test_head_angles_are_those_the_head_was_turned_by(yaw, pitch, roll):
    assert head_angles(rotation(yaw, pitch))[:2] == pytest.approx((yaw, pitch), abs=1e-6)
    assert head_angles(rotation(0, 0, roll)) == pytest.approx((0, 0, roll), abs=1e-6)


@given(
    st.tuples(st.floats(-40, 40), st.floats(-30, 30), st.floats(-30, 30)),
    st.tuples(st.floats(-30, 30), st.floats(-20, 20)),
)
def test_gaze_is_the_eyes_turn_on_top_of_the_heads(head, eyes):
    made = face(head=head, eyes=eyes)
    towards = rotation(*head) @ direction(*eyes)
    yaw, pitch = gaze_angles(made.points, made.pose)
    assert direction(yaw, pitch) @ towards == pytest.approx(1, abs=1e-6)


def test_eyes_that_counter_a_turned_head_look_into_the_camera():
    made = face(head=(20, 0, 0), eyes=(-20, 0))
    assert gaze_angles(made.points, made.pose) == pytest.approx((0, 0), abs=0.01)
    assert head_angles(made.pose)[0] == pytest.approx(20)


@given(st.floats(0.2, 3), st.floats(-1, 1), st.floats(-1, 1))
def test_size_and_place_in_the_crop_change_nothing(size, x, y):
    options: dict[str, Any] = {
        "head": (10, 5, 3),
        "eyes": (-8, 4),
        "mouth": 0.4,
        "ears": (0.3, 0.2),
    }
    here, there = face(**options), face(**options, size=size, centre=(x, y))
    one, other = measure(1.0, here), measure(1.0, there)
    for name in one._fields:
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-9), name


def test_measure_reads_each_eye_the_mouth_and_the_smile():
    got = measure(2.5, face(ears=(0.31, 0.12), mouth=0.7, smile=0.8))
    assert (got.time, got.left, got.right, got.mouth, got.smile) == pytest.approx(
        (2.5, 0.31, 0.12, 0.7, 0.8)
    )


def test_a_scaled_rotation_becomes_a_rotation():
    assert orthonormal(1.7 * rotation(20, 10, 5)) == pytest.approx(rotation(20, 10, 5))


# Blinks


def ear(*parts: tuple[int, float]) -> np.ndarray:
    """An EAR series: so many samples of so much openness, joined."""
    return np.concatenate([np.full(n, value) for n, value in parts])


def blinks(left: np.ndarray, right: np.ndarray | None = None, hz: float = 10, missing: Any = ()):
    times = np.arange(len(left)) / hz
    keep = np.array([i not in missing for i in range(len(left))])
    right = left if right is None else right
    found, closures = find_blinks(times[keep], left[keep], right[keep], 1 / hz)
    return [(round(b.start, 2), round(b.end, 2)) for b in found], [tuple(c) for c in closures]


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_shut_eyes_are_a_blink_of_the_right_length(samples):
    found, closures = blinks(ear((20, 0.3), (samples, 0.03), (20, 0.3)))
    assert closures == []
    [(start, end)] = found
    assert (start, end) == pytest.approx((1.95, 1.95 + samples / 10), abs=0.01)


def test_the_moment_and_depth_of_a_blink():
    series = ear((20, 0.4), (1, 0.2), (1, 0.04), (1, 0.3), (20, 0.4))
    [blink], _ = find_blinks(np.arange(43) / 10, series, series, 0.1)
    assert blink.time == pytest.approx(2.1)
    assert blink.openness == pytest.approx(0.1)


@pytest.mark.parametrize("depth", [0.85, 0.7, 0.6, 0.5])
@pytest.mark.parametrize("seconds", [1.0, 2.0, 5.0])
def test_a_smile_is_no_blink(depth, seconds):
    ramp = np.linspace(0.32, 0.32 * depth, 5)[1:-1]
    series = np.concatenate(
        [
            ear((25, 0.32)),
            ramp,
            ear((round(seconds * 10), 0.32 * depth)),
            ramp[::-1],
            ear((25, 0.32)),
        ]
    )
    assert blinks(series) == ([], [])


def test_a_blink_in_a_smile_is_one():
    smiling = ear((25, 0.32), (20, 0.2), (2, 0.03), (20, 0.2), (25, 0.32))
    assert blinks(smiling) == ([(4.45, 4.65)], [])


def test_a_wink_and_a_hand_before_one_eye_are_no_blinks():
    open_eye = ear((60, 0.3))
    assert blinks(ear((20, 0.3), (2, 0.03), (38, 0.3)), open_eye) == ([], [])
    assert blinks(open_eye, ear((20, 0.3), (20, 0.14), (20, 0.3))) == ([], [])


def test_two_blinks_between_which_the_eyes_open_by_half_are_two():
    found, _ = blinks(ear((20, 0.35), (2, 0.02), (2, 0.2), (2, 0.02), (20, 0.35)))
    assert len(found) == 2


def test_long_shut_and_cut_off_eyes_are_closures():
    assert blinks(ear((30, 0.3), (12, 0.02), (30, 0.3))) == ([], [(3.0, 4.2)])
    assert blinks(ear((3, 0.02), (30, 0.3))) == ([], [(0.0, 0.3)])
    found, [(start, end)] = blinks(ear((30, 0.3), (3, 0.02)))
    assert found == []
    assert (start, end) == pytest.approx((3.0, 3.3))
    assert blinks(ear((30, 0.02))) == ([], [(0.0, 3.0)])


def test_a_lowered_gaze_is_neither():
    assert blinks(ear((30, 0.3), (20, 0.2), (30, 0.3))) == ([], [])


def test_eyes_not_seen_while_the_landmarks_are_lost_do_not_blink():
    series = ear((20, 0.3), (2, 0.03), (20, 0.3))
    assert len(blinks(series)[0]) == 1
    assert blinks(series, missing=range(20, 24))[0] == []
    assert blinks(series, missing=range(22, 26))[0] == []  # never seen to open again


def test_few_samples_are_no_ground_for_blinks():
    for n in range(1, 3):
        assert blinks(ear((n, 0.3))) == ([], [])


@pytest.mark.slow
@given(st.integers(0, 10_000), st.floats(0.4, 1.5), st.sampled_from([5, 10, 25]))
def test_narrow_eyes_blink_as_wide_ones_do(seed, scale, hz):
    rng = np.random.default_rng(seed)
    series = np.clip(0.33 + rng.normal(0, 0.01, 120), 0.2, 0.45)
    for start in rng.choice(np.arange(10, 110, 12), 4, replace=False):
        series[start : start + rng.integers(1, 3)] = 0.1
    one = find_blinks(np.arange(120) / hz, series, series, 1 / hz)[0]
    other = find_blinks(np.arange(120) / hz, series * scale, series * scale, 1 / hz)[0]
    assert [b.time for b in one] == [b.time for b in other]
    assert len(one) == 4
    for before, after in pairwise(one):
        assert before.start < before.time < before.end <= after.start


def test_the_baseline_follows_a_step_at_once():
    times = np.arange(60) / 10
    series = ear((30, 0.3), (30, 0.2))
    assert baseline(times, series)[[0, 28, 31, 59]] == pytest.approx([0.3, 0.3, 0.2, 0.2])


def test_runs_of_flags():
    assert true_runs(np.array([True, False, True, True])) == [(0, 1), (2, 4)]
    assert true_runs(np.array([], bool)) == []


def test_rates_need_ten_seconds():
    assert rate(3, 9.9) is None
    assert rate(3, 20) == 9


# Crops


def test_a_crop_is_square_and_says_where_the_box_lies():
    shown = np.arange(100 * 80 * 3, dtype=np.uint32).reshape(100, 80, 3).astype(np.uint8)
    patch, box = cut_out(shown, np.array([30, 40, 50, 60], float))
    assert patch.shape == (40, 40, 3)
    assert (patch == shown[30:70, 20:60]).all()
    assert box == pytest.approx([0.25, 0.25, 0.75, 0.75])


@given(st.integers(-5, 70), st.integers(-5, 70), st.integers(1, 60), st.integers(1, 60))
def test_beyond_the_picture_a_crop_is_black(x, y, w, h):
    shown = np.full((64, 64, 3), 200, np.uint8)
    patch, box = cut_out(shown, np.array([x, y, x + w, y + h], float))
    side = patch.shape[0]
    assert side == patch.shape[1] == max(2, 2 * max(w, h))
    assert (box[2:] - box[:2]) * side == pytest.approx([w, h])
    corner = np.round(np.array([x, y]) - box[:2] * side)
    ys, xs = np.mgrid[:side, :side]
    inside = (
        (xs + corner[0] >= 0)
        & (xs + corner[0] < 64)
        & (ys + corner[1] >= 0)
        & (ys + corner[1] < 64)
    )
    assert (patch[..., 0] == np.where(inside, 200, 0)).all()


def test_of_two_faces_in_a_crop_the_one_in_the_box_is_read():
    left, right = face(centre=(0.3, 0.5), size=0.3), face(centre=(0.75, 0.5), size=0.3)
    assert matching([left, right], extent(right.points)) is right
    assert matching([left], extent(right.points)) is None
    assert matching([], extent(right.points)) is None


def test_a_box_between_two_detections_is_in_proportion():
    seat = Seat(0, 0.0, 1.0, [0.0, 0.5], np.array([[0, 0, 0.2, 0.2], [0.4, 0.2, 0.6, 0.4]]))
    assert seat.at(0.25) == pytest.approx([0.2, 0.1, 0.4, 0.3])
    assert seat.at(0.9) == pytest.approx([0.4, 0.2, 0.6, 0.4])
    assert [seat.holds(t) for t in (-0.1, 0.0, 0.99, 1.0)] == [False, True, True, False]


# The analyzer, with a landmarker of coloured squares


def squares(picture: np.ndarray) -> list[Landmarks]:
    """Sees each red patch that is large in the picture: green is how open the eyes are, blue the
    mouth and the smile, red how far the head is turned; tall patches are tilted."""
    patches, _ = ndimage.label(picture[..., 0] > 120)
    found = []
    for rows, columns in ndimage.find_objects(patches):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if height < 0.25 * picture.shape[0]:
            continue
        red, green, blue = np.median(picture[rows, columns].reshape(-1, 3), 0) / 255
        made = face(
            (green / 2, green / 2),
            mouth=float(blue),
            head=((0.98 - red) * 300, 20 * (blue - 0.5), 30 * (height / width - 1)),
            smile=float(blue),
        )
        low, high = np.array([columns.start, rows.start]), np.array([columns.stop, rows.stop])
        shape = np.array(picture.shape[1::-1])
        zoom = 2 * (high - low).mean()
        made.points[:, :2] = ((made.points[:, :2] - 0.5) * zoom + (low + high) / 2) / shape
        made.points[:, 2] *= zoom / shape[0]
        made.points[[10, 152, 234, 454], :2] = [low / shape, high / shape] * 2
        found.append(made)
    return found


@contextmanager
def opened() -> Iterator[Landmarker]:
    yield squares


def picture(
    *faces: tuple[int, int, int, float], turn: float = 0, mouth: float = 0.5, tall: float = 1.0
):
    """Faces (left, top, side in pixels, EAR) on black, turned by so many degrees."""
    drawn = np.zeros((*SIZE, 3), np.uint8)
    for x, y, side, openness in faces:
        colour = (round((0.98 - turn / 300) * 255), round(openness * 2 * 255), round(mouth * 255))
        drawn[y : y + round(side * tall), x : x + side] = colour
    return drawn


def analyzer(**options: Any) -> EyeTracking:
    made = EyeTracking(EyeOptions(**options))
    made.landmarker = opened
    return made


def located(dense: Frames, *breaks: float) -> Faces:
    return faces_of(age_analyzer().analyze(dense, cuts(*breaks)))


OPEN, SHUT = (20, 40, 48, 0.3), (20, 40, 48, 0.03)


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    """Inputs that differ in everything that eyes are described by."""
    long = [picture(SHUT if k in (30, 31, 60) or k > 117 else OPEN) for k in range(120)]
    turned = [picture(OPEN, turn=20 if k > 8 else 0, mouth=0.8, tall=1.2) for k in range(20)]
    pair = [
        picture(
            (60, 100, 14, 0.3),
            *([(8, 10, 36, 0.03 if k == 8 else 0.25)] if k > 3 else []),
            mouth=0.1 * (k % 9),
        )
        for k in range(16)
    ]
    asleep = [picture(SHUT, turn=5, mouth=0.2)] * 6
    return [
        (analyzer(), {"dense": d, "age_estimation": faces, "cut_analysis": None})
        for d, faces in (
            (video(long), located(video(long))),
            (video(turned), None),
            (video(pair, fps=5), located(video(pair, fps=5))),
            (video(asleep), None),
        )
    ]


def eyes_of(pictures: list[np.ndarray], *, fps: float = 10, **options: Any) -> Eyes:
    dense = video(pictures, fps=fps)
    return analyzer(**options).analyze(dense, located(dense), cuts())


def only(eyes: Eyes) -> EyeTrack:
    [track] = eyes.tracks
    return track


def test_blinks_rate_and_events_of_a_face():
    found = eyes_of([picture(SHUT if k in (30, 31, 60) else OPEN) for k in range(120)])
    track = only(found)
    assert [(round(b.start, 2), round(b.end, 2)) for b in track.blinks] == [
        (2.95, 3.15),
        (5.95, 6.05),
    ]
    assert track.observed_s == pytest.approx(12.0)
    assert found.blinks_per_minute == track.blinks_per_minute == pytest.approx(10.0)
    assert [(e.kind, e.track) for e in found.events()] == [("blink", 1), ("blink", 1)]
    assert found.headline() == "2 blinks, 100% into the camera"
    assert track.eyes_open_share == pytest.approx(117 / 120)
    assert [track.gaze_yaw[k] is None for k in (29, 30, 31, 32)] == [False, True, True, False]


def test_a_face_that_does_not_differ_is_read_once():
    looks = 0

    def counted(picture: np.ndarray) -> list[Landmarks]:
        nonlocal looks
        looks += 1
        return squares(picture)

    dense = video([picture(SHUT if k in (30, 31, 60) else OPEN) for k in range(120)])
    seats = seats_of(located(dense))
    [readings] = read(dense, counted, seats)
    assert [r.time for r in readings] == dense.times.tolist()
    assert [r.left < 0.1 for r in readings] == [k in (30, 31, 60) for k in range(120)]
    assert looks == 5  # open, shut, open, shut, open


def test_series_follow_mouth_openness_and_head():
    found = only(eyes_of([picture(OPEN, mouth=0.2 + 0.05 * k, turn=k) for k in range(10)]))
    assert found.mouth == pytest.approx([0.2 + 0.05 * k for k in range(10)], abs=0.03)
    assert found.openness == pytest.approx([0.3] * 10, abs=0.02)
    assert found.head_yaw == pytest.approx(list(range(10)), abs=2.5)
    assert found.times == pytest.approx([k / 10 for k in range(10)])


def test_gaze_into_the_camera_has_spans_and_a_share():
    shown = [picture(OPEN, turn=25 if 10 <= k < 15 else 0) for k in range(20)]
    found = eyes_of(shown)
    track = only(found)
    assert [s.span for s in track.into_camera] == [
        pytest.approx((0, 1.0)),
        pytest.approx((1.5, 2.0)),
    ]
    assert found.into_camera_share == track.into_camera_share == pytest.approx(0.75)
    assert only(eyes_of(shown, tolerance_yaw=40)).into_camera_share == 1.0


def test_small_faces_are_cut_out_first():
    """The landmarker sees no face below a quarter of the picture; the detector's crop shows it."""
    shown = video([picture((30, 50, 34, 0.3))] * 8)
    with pytest.raises(Skip, match="no face found"):
        analyzer().analyze(shown, None, None)
    found = analyzer().analyze(shown, located(shown), None)
    assert only(found).openness == pytest.approx([0.3] * 8, abs=0.02)
    assert found.located_by == "age_estimation"


def test_without_a_detector_the_landmarker_finds_large_faces_and_reports_them():
    found = analyzer().analyze(video([picture(OPEN)] * 10), None, None)
    assert found.located_by == "landmarker"
    [event] = found.events()
    assert (event.kind, event.start) == ("face", 0.0)
    assert event.end == pytest.approx(1.0)


def test_a_cut_ends_a_face_found_by_the_landmarker():
    found = analyzer().analyze(video([picture(OPEN)] * 10), None, cuts(0.6))
    assert [(t.start, round(t.end, 3)) for t in found.tracks] == [(0.0, 0.6), (0.6, 1.0)]


def test_tracks_keep_their_numbers_and_unreadable_faces_are_listed():
    shown = video([picture((60, 100, 16, 0.3), (5, 10, 40, 0.3))] * 6)
    faces = located(shown)
    sizes = {f.track: f.size_px for f in faces.faces}
    found = analyzer().analyze(shown, faces, None)
    assert [sizes[t.track] > 30 for t in found.tracks] == [True]
    assert [sizes[n] < 20 for n in found.unread] == [True]


def test_profiles_are_not_read():
    with pytest.raises(Skip, match="large and frontal enough"):
        eyes_of([picture(OPEN, turn=60)] * 6)


def test_at_most_four_faces_of_a_picture_are_read_the_largest():
    places = [(4, 4), (52, 4), (4, 56), (52, 56), (4, 108)]
    sides = (40, 38, 33, 36, 42)
    shown = video([picture(*((x, y, s, 0.3) for (x, y), s in zip(places, sides, strict=True)))] * 4)
    faces = located(shown)
    smallest = min(faces.faces, key=lambda f: f.size_px).track
    found = analyzer().analyze(shown, faces, None)
    assert (len(found.tracks), found.unread) == (4, [smallest])


def test_shut_eyes_have_no_gaze():
    found = eyes_of([picture(SHUT)] * 6)
    track = only(found)
    assert (track.gaze_yaw, track.into_camera_share) == ([None] * 6, None)
    assert (found.into_camera_share, track.eyes_open_share) == (None, 0.0)
    assert [c.span for c in track.closures] == [pytest.approx((0, 0.6))]
    assert found.headline() == "0 blinks"


def test_biometrics_off_means_no_picture_is_looked_at():
    with pytest.raises(Skip, match="biometrics are disabled"):
        EyeTracking(EyeOptions(enabled=False)).analyze(video([picture(OPEN)]), None, None)


def test_one_picture_is_enough():
    found = analyzer().analyze(Frames.of([0.0], [picture(OPEN)], 0.04), None, None)
    assert only(found).blinks == []
    assert only(found).observed_s == pytest.approx(0.04)


# The real landmarker on real media


@pytest.fixture(scope="module")
def real(real_models: Path) -> EyeTracking:
    made = EyeTracking()
    place = made.variants[0].weights["model"].locate(real_models)
    if place is None:
        pytest.skip("no face_landmarker.task under TIKTOK_RAY_MODELS")
    made.load(made.variants[0], "cpu", {"model": place})
    return made


@pytest.fixture(scope="module")
def detector(real_models: Path) -> AgeEstimation:
    made = AgeEstimation()
    place = made.variants[1].weights["pack"].locate(real_models)
    if place is None:
        pytest.skip("no buffalo_s under TIKTOK_RAY_MODELS")
    made.load(made.variants[1], "cpu", {"pack": place})
    return made


def dense(path: Path, **tracks: Any) -> Frames:
    settings = Settings(tracks=TrackSettings(**tracks))
    made: Frames = decode(path, want={"dense"}, settings=settings).tracks["dense"]
    return made


def breaks(name: str) -> Any:
    return cuts(3.0, 6.0, 9.0, 14.0, 17.0) if "composite" in name else cuts()


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in BLINKS if "composite" not in n])
def test_at_the_videos_own_rate_every_labelled_blink_is_found_and_no_other(
    real, detector, real_media, name
):
    shown = dense(real_media / name, dense_fps=30)
    found = real.analyze(shown, faces_of(detector.analyze(shown, None)), None)
    truth = labelled(name)
    assert agreement(found, truth) == (len(truth), 0)


@pytest.mark.slow
def test_at_ten_pictures_a_second_most_are_found_and_no_other(real, detector, real_media):
    right = false = 0
    for name in BLINKS:
        shown = dense(real_media / name)
        found = real.analyze(shown, faces_of(detector.analyze(shown, breaks(name))), breaks(name))
        assert found.sampling_hz == pytest.approx(10, rel=0.25)
        got, more = agreement(found, labelled(name))
        right, false = right + got, false + more
    assert false == 0
    assert right >= 7  # of ten: two last less than a step, one is cut off by the clip's end


@pytest.mark.slow
def test_a_hand_before_one_eye_and_a_blur_are_no_blinks(real, detector, real_media):
    """The thumb covers an eye from 2.2 s; from 4 s the face is out of focus, with what may be half
    a blink at 6.3 s."""
    shown = dense(real_media / "video" / "gesture_woman.mp4")
    found = real.analyze(shown, faces_of(detector.analyze(shown, None)), None)
    assert all(6.2 <= b.time <= 6.5 for b in only(found).blinks)
    assert only(found).closures == []


@pytest.mark.slow
def test_the_composite(real, detector, real_media):
    name = "video/short_vertical_composite.mp4"
    shown = dense(real_media / name)
    faces = faces_of(detector.analyze(shown, breaks(name)))
    found = real.analyze(shown, faces, breaks(name))
    extents = np.array([t.span for t in found.tracks])
    assert extents == pytest.approx(np.array([(0, 3), (3, 6), (9, 14), (14, 17)]), abs=0.11)
    assert [len(t.blinks) for t in found.tracks] == [2, 0, 0, 0]
    assert [t.track for t in found.tracks] == [f.track for f in faces.faces if f.size_px > 100]
    for track in (found.tracks[0], found.tracks[1], found.tracks[3]):
        assert (track.into_camera_share or 0) > 0.9  # read aloud into the lens
    speaking, silent = (only_mouth(t) for t in (found.tracks[1], found.tracks[2]))
    assert speaking > 3 * silent  # spread of the mouth's opening


def only_mouth(track: EyeTrack) -> float:
    low, high = np.percentile(track.mouth, [10, 90])
    return float(high - low)


@pytest.mark.slow
def test_a_smile_with_open_eyes(real, detector, real_media, tmp_path):
    shown = dense(still(real_media / "still" / "astronaut.png", tmp_path))
    found = only(real.analyze(shown, faces_of(detector.analyze(shown, None)), None))
    assert (found.smiling_share, found.eyes_open_share) == (1.0, 1.0)
    assert (found.blinks, found.closures) == ([], [])


@pytest.mark.slow
def test_faces_too_small_for_the_landmarker_are_read_from_the_detectors_crop(
    real, detector, real_media
):
    shown = dense(real_media / "odd" / "one_frame_zidane.mp4")
    with pytest.raises(Skip, match="no face found"):
        real.analyze(shown, None, None)
    found = real.analyze(shown, faces_of(detector.analyze(shown, None)), None)
    assert (len(found.tracks), len(found.unread)) == (1, 1)  # the other is a profile


@pytest.mark.slow
def test_a_singer_who_turns_to_the_audience_does_not_look_into_the_camera(
    real, detector, real_media
):
    name, (start, end) = AWAY
    shown = dense(real_media / name)
    found = real.analyze(shown, faces_of(detector.analyze(shown, None)), cuts(3.3))
    yaws = [y for t in found.tracks for at, y in zip(t.times, t.gaze_yaw, strict=True) if start <= at < end]  # fmt: skip
    assert len(yaws) >= 8
    assert all(y is not None and -45 < y < -10 for y in yaws)
    assert not any(s.start < end and start < s.end for t in found.tracks for s in t.into_camera)


@pytest.mark.slow
def test_both_people_are_read(real, detector, real_media, tmp_path):
    shown = dense(still(real_media / "still" / "two_people.jpg", tmp_path))
    found = real.analyze(shown, faces_of(detector.analyze(shown, None)), None)
    assert len(found.tracks) == 2
    assert all(t.into_camera_share == 1.0 for t in found.tracks)
    assert found.blinks == 0


@pytest.mark.slow
def test_nobody_faces_the_camera(real, real_media):
    with pytest.raises(Skip, match="no face found"):
        real.analyze(dense(real_media / "video" / "laptop_desk.mp4"), None, None)


@pytest.mark.slow
def test_earlier_pictures_change_nothing(real_models, real_media, tmp_path):
    one = dense(still(real_media / "still" / "astronaut.png", tmp_path)).rgb(0)
    other = dense(still(real_media / "still" / "biden_approx69.jpg", tmp_path)).rgb(0)
    with face_landmarker(real_models / "mediapipe" / "face_landmarker.task") as find:
        first = find(one)[0].points
        find(other)
        assert (find(one)[0].points == first).all()


@pytest.mark.slow
def test_nothing_is_sent_out(real_models, monkeypatch):
    """MediaPipe reports on closing, through the proxy of the environment; none is reached."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(1.0)
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with face_landmarker(real_models / "mediapipe" / "face_landmarker.task") as find:
            assert find(np.zeros((64, 64, 3), np.uint8)) == []
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.slow
def test_a_missing_model_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), face_landmarker(tmp_path / "none.task"):
        raise AssertionError("it was opened")
