"""Persons with poses: with a model that sees coloured figures, and with the real one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from actors.body_pose import BodyPose, PoseOptions, Poses, held_gestures, posture_spans
from actors.cut_analysis import Cuts, Shot
from tests.test_poses import CHIN_R, STANDING, UP_L, UP_R, moved
from tiktok_ray.analyzer import Analyzer, Skip
from tiktok_ray.media import Frames, decode
from tiktok_ray.media.writer import write_clip
from tiktok_ray.methods.vision.box_tracks import iou
from tiktok_ray.methods.vision.sampling import holds
from tiktok_ray.report import undeclared
from tiktok_ray.settings import Settings

HEIGHT, WIDTH = 192, 128
#: What a figure's colour says that it does.
ARMS = {"red": {}, "green": UP_L, "blue": UP_L | UP_R}
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class Figures:
    """Sees each patch of colour as a person, the surer the brighter: upright where it is taller
    than wide, else on their back, with the arms that the colour stands for."""

    def __init__(self) -> None:
        self.names = {0: "person"}

    def __call__(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self.look(picture.astype(float)) for picture in pictures]

    def look(self, picture: np.ndarray) -> np.ndarray:
        rows = []
        for name, colour in COLOURS.items():
            on = np.array(colour) > 0
            bright = picture[..., on].min(-1)
            patches, _ = ndimage.label((bright > 40) & (picture[..., ~on].max(-1) < 0.4 * bright))
            for k, (ys, xs) in enumerate(ndimage.find_objects(patches), 1):
                if min(xs.stop - xs.start, ys.stop - ys.start) < 6:
                    continue  # colours bleed by a pixel where chroma is halved
                sure = float(np.median(bright[patches == k])) / 255
                box = (xs.start / WIDTH, ys.start / HEIGHT, xs.stop / WIDTH, ys.stop / HEIGHT)
                points = fit(moved(**ARMS[name]), box)
                body = np.column_stack([points, np.full(17, sure)])
                rows.append([*box, sure, 0, *body.ravel()])
        return np.array(rows, float).reshape(-1, 57)


def fit(body: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """The body stretched over a box; turned on its side where the box is wider than tall."""
    wide = (box[2] - box[0]) * WIDTH > (box[3] - box[1]) * HEIGHT
    body = body[:, ::-1] if wide else body
    low, high = body.min(0), body.max(0)
    return np.asarray((body - low) / (high - low) * np.subtract(box[2:], box[:2]) + box[:2])


def picture(*figures: tuple[str, float, float, float, float, float]) -> np.ndarray:
    """Figures (colour, centre x, centre y, width, height, brightness), shares of the picture."""
    drawn = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for name, x, y, w, h, bright in figures:
        rows = slice(round(max(0, y - h / 2) * HEIGHT), round((y + h / 2) * HEIGHT))
        columns = slice(round(max(0, x - w / 2) * WIDTH), round((x + w / 2) * WIDTH))
        drawn[rows, columns] = np.array(COLOURS[name]) * bright
    return drawn


def video(pictures: list[np.ndarray], fps: float = 10) -> Frames:
    return Frames.of([k / fps for k in range(len(pictures))], pictures, len(pictures) / fps)


def cuts(*times: float) -> Cuts:
    starts = [0.0, *times]
    return Cuts.model_construct(
        shots=[Shot(start=t, end=t + 1, index=i) for i, t in enumerate(starts)]
    )


def analyzer(**options: Any) -> BodyPose:
    made = BodyPose(PoseOptions(**options))
    made.model = Figures()
    return made


STILL = ("red", 0.5, 0.5, 0.3, 0.7, 1.0)


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    """Inputs that differ in everything that persons are described by."""
    walk = [picture(("red", 0.2 + 0.03 * k, 0.5, 0.2, 0.6, 0.9)) for k in range(20)]
    raise_hands = [
        picture(("green" if k < 8 else "blue", 0.5, 0.5, 0.3, 0.7, 1)) for k in range(16)
    ]
    crowd = [
        picture(("red", 0.25, 0.5, 0.2, 0.6, 0.8), ("blue", 0.75, 0.5, 0.2, 0.6, 0.7))
        for _ in range(9)
    ]
    lying = [picture(("green", 0.5, 0.5, 0.8, 0.2, 0.9)) for _ in range(9)]
    dim = [picture(("red", 0.5, 0.5, 0.3, 0.7, 0.45)) for _ in range(9)]
    return [
        (analyzer(), {"dense": video(walk), "cut_analysis": None}),
        (analyzer(), {"dense": video(raise_hands), "cut_analysis": None}),
        (analyzer(), {"dense": video(crowd, fps=4), "cut_analysis": cuts(1.0)}),
        (analyzer(), {"dense": video(lying), "cut_analysis": cuts()}),
        (analyzer(), {"dense": video(dim), "cut_analysis": None}),
    ]


def test_every_field_says_what_it_rests_on():
    assert list(undeclared(Poses)) == []


def test_a_walker_stands_and_moves_at_the_speed_drawn():
    pictures = [picture(("red", 0.2 + 0.03 * k, 0.5, 0.2, 0.6, 1)) for k in range(20)]
    found = analyzer().analyze(video(pictures), None)
    [person] = found.persons
    assert (person.start, person.end) == pytest.approx((0.0, 2.0))
    assert person.posture == "standing"
    assert [(p.start, p.end) for p in person.postures] == [pytest.approx((0.0, 2.0))]
    assert person.gestures == []
    assert len(person.keypoints) == len(person.times) == len(person.boxes) == 10
    assert all(len(row) == 51 for row in person.keypoints)
    hips, shoulders = np.array(person.keypoints[0]).reshape(17, 3)[[11, 5], :2]
    torso = max((hips - shoulders)[1], 0)
    assert person.activity == pytest.approx(0.3 * WIDTH / HEIGHT / torso, rel=0.1)
    assert found.samples == 10
    assert found.screen_time_s == pytest.approx(2.0)


def test_keypoints_keep_their_place_in_pictures_of_any_shape():
    [person] = analyzer().analyze(video([picture(STILL)] * 5), None).persons
    nose, *_ = np.array(person.keypoints[0]).reshape(17, 3)
    assert nose[:2] == pytest.approx((0.5, 0.17), abs=0.02)
    assert person.boxes[0] == pytest.approx((0.35, 0.15, 0.65, 0.85), abs=0.02)


def test_a_raised_hand_then_both():
    pictures = [picture(("green" if k < 8 else "blue", 0.5, 0.5, 0.3, 0.7, 1)) for k in range(16)]
    found = analyzer().analyze(video(pictures), None)
    one, both = found.persons[0].gestures
    assert (one.gesture, one.side) == ("hand raised", "left")
    assert one.span == pytest.approx((0.0, 0.8))
    assert (both.gesture, both.side) == ("both hands raised", "both")
    assert both.span == pytest.approx((0.8, 1.6))
    events = [(e.kind, e.label, e.track) for e in found.events()]
    assert events == [("gesture", "hand raised", 1), ("gesture", "both hands raised", 1)]
    assert found.headline() == (
        "1 track of bodies, standing (1.00), both hands raised (1.00), hand raised (1.00)"
    )


def test_somebody_on_their_back_lies():
    lying = [picture(("red", 0.5, 0.5, 0.8, 0.2, 1))] * 6
    [person] = analyzer().analyze(video(lying), None).persons
    assert person.posture == "lying"


def test_two_at_once_are_two_and_stay_who_they_are():
    pictures = [
        picture(("red", 0.2, 0.5, 0.2, 0.6, 1), ("blue", 0.75 - 0.01 * k, 0.5, 0.2, 0.6, 1))
        for k in range(10)
    ]
    found = analyzer().analyze(video(pictures), None)
    assert found.at_once == len(found.persons) == 2
    assert [[g.gesture for g in p.gestures] for p in found.persons] == [[], ["both hands raised"]]


@pytest.mark.parametrize("rate", [2, 5, 10, 15])
def test_who_is_seen_on_every_second_picture_is_one_person_beside_one_who_stays(rate: int):
    seldom = ("red", 0.75, 0.5, 0.2, 0.6, 0.6)
    pictures = [
        picture(("red", 0.2, 0.5, 0.2, 0.6, 1), *[seldom] * (k >= rate and (k - rate) % 2 == 0))
        for k in range(4 * rate)
    ]
    first, second = analyzer(fps=rate).analyze(video(pictures, fps=rate), None).persons
    assert len(second.times) == -(-3 * rate // 2)
    assert sum(t > 0.99 for t in first.times) == 3 * rate, "nothing is passed over beside a flicker"


def test_a_walker_faster_than_their_own_width_per_sample_is_one_person():
    pictures = [picture(("red", 0.1 + 0.13 * k, 0.5, 0.12, 0.5, 1)) for k in range(7)]
    [person] = analyzer().analyze(video(pictures, fps=5), None).persons
    assert len(person.times) == 7


def test_nobody_crosses_a_cut():
    found = analyzer().analyze(video([picture(STILL)] * 20), cuts(1.0))
    assert [(p.track, p.start, p.end) for p in found.persons] == [(1, 0.0, 1.0), (2, 1.0, 2.0)]
    assert found.at_once == 1


def test_a_video_without_people_is_skipped():
    with pytest.raises(Skip, match="no body detected in any of 2 frames"):
        analyzer().analyze(video([picture()] * 10), None)


def test_somebody_seen_once_or_hardly_is_nobody():
    once = [picture(STILL)] * 2 + [picture()] * 8
    faint = [picture(("red", 0.5, 0.5, 0.3, 0.7, 0.3))] * 10
    for pictures in (once, faint):
        with pytest.raises(Skip):
            analyzer().analyze(video(pictures), None)
    assert len(analyzer(confidence=0.25).analyze(video(faint), None).persons) == 1


def test_keypoints_of_little_confidence_tell_nothing():
    dim = [picture(("green", 0.5, 0.5, 0.3, 0.7, 0.45))] * 10
    [person] = analyzer().analyze(video(dim), None).persons
    assert (person.posture, person.gestures, person.activity) == ("unknown", [], None)


def test_one_picture_is_enough():
    [person] = analyzer().analyze(Frames.of([0.0], [picture(STILL)], 0.04), None).persons
    assert (person.start, person.end, person.activity) == (0.0, 0.04, None)


def test_batches_change_nothing():
    pictures = [picture(("red", 0.2 + 0.03 * k, 0.5, 0.2, 0.6, 1)) for k in range(20)]
    one = analyzer()
    one.batch = 1
    assert one.analyze(video(pictures), None) == analyzer().analyze(video(pictures), None)


def test_one_different_sample_is_voted_down_and_moments_are_no_posture():
    held = holds([0, 0.2, 0.4, 0.6, 0.8, 1.0], 1.2)
    spans = posture_spans(held, ["standing", "standing", None, "standing", "sitting", None])
    assert [(p.posture, p.start, p.end) for p in spans] == [("standing", 0, 0.8)]


def test_gestures_bridge_a_missed_sample_and_need_two():
    bodies = [
        moved(**CHIN_R),
        moved(**CHIN_R),
        STANDING,
        moved(**CHIN_R),
        STANDING,
        STANDING,
        moved(**UP_L),
    ]
    held = holds([0.2 * k for k in range(7)], 1.4)
    [gesture] = held_gestures(held, np.array(bodies), np.ones((7, 17), bool))
    assert (gesture.gesture, gesture.side) == ("hand near face", "right")
    assert gesture.span == pytest.approx((0.0, 0.8))


# Real weights and real media.

COMPOSITE_CUTS = (3.0, 6.0, 9.0, 14.0, 17.0)


@pytest.fixture(scope="module")
def real(real_models: Path) -> BodyPose:
    made = BodyPose()
    variant = made.variants[-1]
    place = variant.weights["poser"].locate(real_models)
    if place is None:
        pytest.skip("no yolov8n-pose.pt among the weights of this machine")
    made.load(variant, "cpu", {"poser": place})
    return made


def still(path: Path, folder: Path, seconds: float = 3.0) -> Frames:
    """A picture as a video, decoded again."""
    import cv2

    shown: Any = cv2.imread(str(path))
    shown = cv2.cvtColor(shown, cv2.COLOR_BGR2RGB)
    shown = shown[: shown.shape[0] // 2 * 2, : shown.shape[1] // 2 * 2]
    clip = write_clip(folder / "still.mp4", [shown] * round(seconds * 30), fps=30)
    dense: Frames = decode(clip, {"dense"}, Settings()).tracks["dense"]
    return dense


@pytest.mark.slow
def test_composite(real: BodyPose, real_media: Path):
    clip = real_media / "video" / "short_vertical_composite.mp4"
    found = real.analyze(decode(clip, {"dense"}, Settings()).tracks["dense"], cuts(*COMPOSITE_CUTS))
    for start, end in pairwise((0.0, *COMPOSITE_CUTS, 20.0)):
        here = [p for p in found.persons if start <= p.start and p.end <= end + 1e-6]
        assert here, (start, end)
        if end <= 6.0 or start in (9.0, 14.0):  # a talking head, close up
            assert len(here) == 1
            assert here[0].posture == "unknown"
    at_the_stop = [p for p in found.persons if p.start >= 6.0 and p.end <= 9.01]
    assert len(at_the_stop) >= 3
    assert sum(p.posture == "standing" for p in at_the_stop) >= 2


@pytest.mark.slow
def test_people_at_a_bus_stop_stand_still(real: BodyPose, real_media: Path, tmp_path: Path):
    found = real.analyze(still(real_media / "still" / "bus.jpg", tmp_path), None)
    assert len(found.persons) in (3, 4)
    standing = [p for p in found.persons if p.posture == "standing"]
    assert len(standing) >= 2
    for person in standing:
        assert (person.start, person.end) == pytest.approx((0.0, 3.0), abs=0.05)
        assert person.activity is not None
        assert person.activity < 0.1
    left = min(found.persons, key=lambda p: p.boxes[0][0])
    nose = np.array(left.keypoints[0]).reshape(17, 3)[0]
    assert nose[:2] == pytest.approx((0.18, 0.41), abs=0.02)  # (142, 442) of 810 x 1080, by eye


@pytest.mark.slow
def test_two_people_with_their_arms_crossed(real: BodyPose, real_media: Path, tmp_path: Path):
    found = real.analyze(still(real_media / "still" / "two_people.jpg", tmp_path), None)
    assert len(found.persons) == found.at_once == 2
    one, other = (np.array(p.boxes[:1]) for p in found.persons)
    assert iou(one, other)[0, 0] < 0.2
    assert [[g.gesture for g in p.gestures] for p in found.persons] == [["arms crossed"]] * 2


@pytest.mark.slow
def test_a_hand_before_the_face_is_seen_when_it_is_there(real: BodyPose, real_media: Path):
    """She lifts her right fist past her temple at about 1.5 to 2.3 s, then holds a thumb out."""
    clip = real_media / "video" / "gesture_woman.mp4"
    [person] = real.analyze(decode(clip, {"dense"}, Settings()).tracks["dense"], None).persons
    [hand] = [g for g in person.gestures if g.gesture == "hand near face"]
    assert hand.side == "right"
    assert 1.3 <= hand.start <= 2.0
    assert 2.0 <= hand.end <= 2.8
