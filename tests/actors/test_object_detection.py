"""Objects as tracks: with a model that sees coloured rectangles, and with the real one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from actors.cut_analysis import Cuts, Shot
from actors.object_detection import ObjectDetection, ObjectOptions, Objects, describe
from tiktok_ray.analyzer import Analyzer
from tiktok_ray.media import Frames, decode
from tiktok_ray.media.writer import write_clip
from tiktok_ray.methods.vision.object_tracks import GROUPS, Seen, covered, join
from tiktok_ray.methods.vision.sampling import holds
from tiktok_ray.report import undeclared
from tiktok_ray.settings import Settings

SIZE = (160, 96)
COLOURS = {0: (255, 0, 0), 1: (0, 255, 0), 2: (0, 0, 255), 3: (255, 255, 255)}


class Colours:
    """Sees each patch of pure colour as an object, the surer the brighter it is."""

    def __init__(self) -> None:
        self.names = {0: "person", 1: "bus", 2: "cat", 3: "cup"}

    def __call__(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [self.look(picture.astype(float)) for picture in pictures]

    def look(self, picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        rows = []
        for number, colour in COLOURS.items():
            on = np.array(colour) > 0
            low, high = picture[..., on].min(-1), np.zeros((height, width))
            if not on.all():
                high = picture[..., ~on].max(-1)
            patches, _ = ndimage.label((low > 60) & (high < 0.4 * low))
            for k, (ys, xs) in enumerate(ndimage.find_objects(patches), 1):
                sure = float(np.median(low[patches == k])) / 255
                if min(xs.stop - xs.start, ys.stop - ys.start) < 5:
                    continue  # colours bleed by a pixel where chroma is halved
                box = [xs.start / width, ys.start / height, xs.stop / width, ys.stop / height]
                rows.append([*box, sure, number])
        return np.array(rows, float).reshape(-1, 6)


def picture(*patches: tuple[int, float, float, float, float, float]) -> np.ndarray:
    """Patches (class, centre x, centre y, width, height, brightness) in shares of the picture."""
    drawn = np.zeros((*SIZE, 3), np.uint8)
    for number, x, y, w, h, bright in patches:
        rows = slice(round(max(0, y - h / 2) * SIZE[0]), round((y + h / 2) * SIZE[0]))
        columns = slice(round(max(0, x - w / 2) * SIZE[1]), round((x + w / 2) * SIZE[1]))
        drawn[rows, columns] = np.array(COLOURS[number]) * bright
    return drawn


def video(pictures: list[np.ndarray], fps: float = 10) -> Frames:
    return Frames.of([k / fps for k in range(len(pictures))], pictures, len(pictures) / fps)


def cuts(*times: float) -> Cuts:
    starts = [0.0, *times]
    return Cuts.model_construct(
        shots=[Shot(start=t, end=t + 1, index=i) for i, t in enumerate(starts)]
    )


def analyzer(**options: Any) -> ObjectDetection:
    made = ObjectDetection(ObjectOptions(**options))
    made.model = Colours()
    return made


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    """Inputs that differ in everything that objects are described by."""
    walk = [picture((0, 0.2 + 0.03 * k, 0.5, 0.2, 0.5, 0.9)) for k in range(20)]
    two = [
        picture((1, 0.3, 0.3, 0.3, 0.2, 0.8), (2, 0.7, 0.8, 0.2, 0.2, 0.6), (2, 0.2, 0.8, 0.2, 0.2, 0.7))
        for _ in range(12)
    ]  # fmt: skip
    late = [picture()] * 6 + [picture((3, 0.5, 0.5, 0.1, 0.1, 1.0))] * 9
    return [
        (analyzer(), {"dense": video(walk), "cut_analysis": None}),
        (analyzer(), {"dense": video(two, fps=4), "cut_analysis": cuts(1.5)}),
        (analyzer(), {"dense": video(late), "cut_analysis": cuts()}),
        (analyzer(), {"dense": video([picture()] * 5), "cut_analysis": None}),
    ]


def test_every_field_says_what_it_rests_on():
    assert list(undeclared(Objects)) == []


def test_all_coco_classes_have_a_supercategory():
    assert len(GROUPS) == 80
    assert (GROUPS["bus"], GROUPS["dog"], GROUPS["pizza"]) == ("vehicle", "animal", "food")


def test_a_walker_is_one_person_with_times_and_boxes():
    pictures = [picture((0, 0.2 + 0.03 * k, 0.5, 0.2, 0.5, 0.9)) for k in range(20)]
    found = analyzer().analyze(video(pictures), None)
    [track] = found.tracks
    assert (track.label, track.group) == ("person", "person")
    assert (track.start, track.end) == pytest.approx((0.0, 2.0))
    assert track.times == pytest.approx([0.2 * k for k in range(10)])
    assert track.boxes[0] == pytest.approx((0.1, 0.25, 0.3, 0.75), abs=0.02)
    assert track.boxes[-1] == pytest.approx((0.64, 0.25, 0.84, 0.75), abs=0.02)
    assert track.confidence == pytest.approx(0.9, abs=0.05)
    assert track.area == pytest.approx(0.1, abs=0.01)
    assert found.samples == 10
    assert found.step_s == pytest.approx(0.2)
    [event] = found.events()
    assert (event.kind, event.label, event.track) == ("person", "person", 1)


def test_a_bus_between_two_cuts_is_there_and_nowhere_else():
    bus = picture((1, 0.5, 0.5, 0.6, 0.3, 0.9))
    found = analyzer().analyze(
        video([picture()] * 11 + [bus] * 9 + [picture()] * 10), cuts(1.1, 2.0)
    )
    [track] = found.tracks
    assert (track.start, track.end) == pytest.approx((1.1, 2.0))
    assert found.classes[0].screen_time_s == pytest.approx(0.9)
    assert found.classes[0].screen_share == pytest.approx(0.3)
    assert [event.kind for event in found.events()] == ["object"]


def test_no_track_crosses_a_cut():
    bus = picture((1, 0.5, 0.5, 0.6, 0.3, 0.9))
    whole = analyzer().analyze(video([bus] * 20), None)
    split = analyzer().analyze(video([bus] * 20), cuts(1.0))
    assert [(t.start, t.end) for t in whole.tracks] == [(0.0, 2.0)]
    assert [(t.start, t.end) for t in split.tracks] == [(0.0, 1.0), (1.0, 2.0)]
    assert split.classes[0].tracks == 2
    assert split.classes[0].screen_time_s == pytest.approx(2.0)


def test_out_of_sight_for_a_moment_is_the_same_thing_and_its_absence_is_not_counted():
    bus = picture((1, 0.5, 0.5, 0.6, 0.3, 0.9))
    found = analyzer().analyze(video([bus] * 6 + [picture()] * 6 + [bus] * 8), None)
    [track] = found.tracks
    assert (track.start, track.end) == pytest.approx((0.0, 2.0))
    assert found.classes[0].screen_time_s == pytest.approx(1.4)
    assert [(e.start, e.end) for e in found.events()] == [
        pytest.approx((0.0, 0.6)), pytest.approx((1.2, 2.0)),
    ]  # fmt: skip
    later = analyzer(lost_s=0.3).analyze(video([bus] * 6 + [picture()] * 6 + [bus] * 8), None)
    assert len(later.tracks) == 2


def test_a_missed_sample_interrupts_nothing_on_the_timeline():
    bus = picture((1, 0.5, 0.5, 0.6, 0.3, 0.9))
    found = analyzer(fps=10).analyze(video([bus] * 6 + [picture()] + [bus] * 4), None)
    [event] = found.events()
    assert (event.start, event.end) == pytest.approx((0.0, 1.1))
    assert found.classes[0].screen_time_s == pytest.approx(1.0)


def test_two_that_pass_each_other_keep_their_numbers():
    pictures = [
        picture((0, 0.15 + 0.035 * k, 0.3, 0.15, 0.3, 0.9), (0, 0.85 - 0.035 * k, 0.7, 0.15, 0.3, 0.8))
        for k in range(20)
    ]  # fmt: skip
    first, second = analyzer().analyze(video(pictures), None).tracks
    for track, y in ((first, 0.3), (second, 0.7)):
        assert len(track.times) == 10
        assert all((box[1] + box[3]) / 2 == pytest.approx(y, abs=0.02) for box in track.boxes)


@pytest.mark.parametrize("rate", [2, 5, 10, 15])
def test_two_that_cross_in_a_clip_are_two_though_one_is_seen_on_every_second_picture(
    rate: int, tmp_path: Path
):
    """Factory clip: who is who is known by the height at which they walk."""
    pictures = [
        picture(
            (0, 0.15 + 0.7 * k / (4 * rate), 0.3, 0.15, 0.3, 0.9),
            *[(0, 0.85 - 0.7 * k / (4 * rate), 0.7, 0.15, 0.3, 0.8)] * (k % 2 == 0),
        )
        for k in range(4 * rate)
    ]
    clip = write_clip(tmp_path / "crossing.mp4", pictures, fps=rate)
    settings = Settings.model_validate({"tracks": {"dense_fps": 15}})
    dense = decode(clip, {"dense"}, settings).tracks["dense"]
    first, second = analyzer(fps=15).analyze(dense, None).tracks
    # What is fainter than a flash, and in one picture alone, may be passed over.
    assert 4 * rate - 1 <= len(first.times) <= 4 * rate
    assert 2 * rate - 1 <= len(second.times) <= 2 * rate
    for track, y in ((first, 0.3), (second, 0.7)):
        assert all((box[1] + box[3]) / 2 == pytest.approx(y, abs=0.03) for box in track.boxes)


def test_a_rider_is_not_taken_for_what_carries_them():
    """A person and a vehicle in one place, each missed in turn, stay two things."""
    person, bus = (0, 0.5, 0.5, 0.3, 0.3, 0.9), (1, 0.5, 0.5, 0.3, 0.3, 0.9)
    found = analyzer(fps=10).analyze(
        video([picture(person if k // 2 % 2 else bus) for k in range(12)]), None
    )
    assert sorted(t.label for t in found.tracks) == ["bus", "person"]


def test_what_is_seen_once_or_hardly_is_left_out():
    cup = picture((3, 0.5, 0.5, 0.2, 0.2, 1.0))
    faint = picture((1, 0.5, 0.5, 0.6, 0.3, 0.35))
    once = analyzer().analyze(video([picture()] * 4 + [cup, cup] + [picture()] * 4), None)
    assert once.tracks == []
    assert once.headline() == "no objects detected"
    assert analyzer().analyze(video([faint] * 10), None).tracks == []
    assert len(analyzer(confidence=0.3).analyze(video([faint] * 10), None).tracks) == 1


def test_a_single_picture_is_enough_for_a_track():
    cup = picture((3, 0.5, 0.5, 0.2, 0.2, 1.0))
    [track] = analyzer().analyze(Frames.of([0.0], [cup], 0.04), None).tracks
    assert (track.label, track.start, track.end) == ("cup", 0.0, 0.04)


def test_faint_samples_carry_a_track_on_but_begin_none():
    strong, faint = (
        picture((1, 0.5, 0.5, 0.6, 0.3, 0.8)),
        picture((1, 0.5, 0.5, 0.6, 0.3, 0.24)),
    )
    found = analyzer(fps=10).analyze(video([faint] * 3 + [strong] * 5 + [faint] * 3), None)
    [track] = found.tracks
    assert (track.start, track.end) == pytest.approx((0.3, 1.1))


def test_batches_change_nothing():
    pictures = [picture((0, 0.2 + 0.03 * k, 0.5, 0.2, 0.5, 0.9)) for k in range(20)]
    one = analyzer()
    one.batch = 1
    assert one.analyze(video(pictures), None) == analyzer().analyze(video(pictures), None)


def test_nothing_is_kept_from_one_video_to_the_next():
    bus = video([picture((1, 0.5, 0.5, 0.6, 0.3, 0.9))] * 10)
    made = analyzer()
    first = made.analyze(bus, None)
    made.analyze(video([picture((0, 0.5, 0.5, 0.6, 0.3, 0.9))] * 10), None)
    assert made.analyze(bus, None) == first


def seen(*rows: tuple[tuple[float, float, float, float], float, str]) -> Seen:
    return Seen(
        np.array([row[0] for row in rows]).reshape(-1, 4),
        np.array([row[1] for row in rows]),
        [row[2] for row in rows],
    )


def test_of_two_names_for_one_thing_the_surer_stays():
    box, near, apart = (0.1, 0.1, 0.5, 0.5), (0.1, 0.1, 0.5, 0.51), (0.1, 0.1, 0.5, 0.9)
    both = seen((box, 0.4, "car"), (near, 0.7, "truck"), (near, 0.3, "person"))
    assert both.distinct().labels == ["truck", "person"]
    assert seen((box, 0.4, "car"), (apart, 0.7, "truck")).distinct().labels == ["car", "truck"]


def test_a_thing_called_two_names_in_turn_is_what_most_confidence_says():
    box = (0.1, 0.1, 0.5, 0.5)
    samples = [seen((box, 0.5, "car") if k % 2 else (box, 0.9, "truck")) for k in range(6)]
    times = [k / 5 for k in range(6)]
    [path] = join(times, samples, [], size=(100, 100), sure=0.4, lost_s=1)
    found = describe([path], samples, holds(times, 1.2))
    assert [t.label for t in found.tracks] == ["truck"]
    assert found.tracks[0].confidence == pytest.approx(0.7)


def test_a_class_outside_coco_is_of_another_group():
    samples = [seen(((0.1, 0.1, 0.5, 0.5), 0.9, "zeppelin"))] * 3
    [path] = join([0, 0.2, 0.4], samples, [], size=(100, 100), sure=0.4, lost_s=1)
    assert describe([path], samples, holds([0, 0.2, 0.4], 0.6)).tracks[0].group == "other"


def test_first_sample_of_a_track_that_begins_late_is_kept():
    box = (0.1, 0.1, 0.5, 0.5)
    samples = [seen(), seen(), *[seen((box, 0.9, "cat"))] * 3]
    times = [k / 5 for k in range(5)]
    [path] = join(times, samples, [], size=(100, 100), sure=0.4, lost_s=1)
    assert path == [(2, 0), (3, 0), (4, 0)]


def test_fast_things_are_followed_at_five_samples_a_second():
    """Half a width per sample from the first, then faster still."""
    xs = np.cumsum([0, 0.08, 0.1, 0.12, 0.14, 0.16])
    samples = [seen(((x, 0.3, x + 0.16, 0.6), 0.9, "person")) for x in xs]
    times = [k / 5 for k in range(6)]
    [path] = join(times, samples, [], size=(320, 320), sure=0.4, lost_s=1)
    assert len(path) == 6


def test_sums_by_class_and_group():
    samples = [
        seen(((0, 0, 0.5, 0.5), 0.9, "cup"), ((0.25, 0, 0.75, 0.5), 0.8, "cup"), ((0.8, 0.8, 1, 1), 0.9, "fork")),
        seen(((0, 0, 0.5, 0.5), 0.9, "cup"), ((0.8, 0.8, 1, 1), 0.9, "fork")),
    ]  # fmt: skip
    held = holds([0, 1], 4)
    found = describe([[(0, 0), (1, 0)], [(0, 1)], [(0, 2), (1, 1)]], samples, held)
    cup, fork = found.classes
    assert (cup.label, cup.tracks, cup.at_once, cup.screen_time_s) == ("cup", 2, 2, 4)
    assert cup.area == pytest.approx((0.375 * 1 + 0.25 * 3) / 4)
    assert (fork.label, fork.tracks, fork.at_once) == ("fork", 1, 1)
    [kitchen] = found.groups
    assert (kitchen.group, kitchen.labels, kitchen.tracks) == ("kitchen", ["cup", "fork"], 3)
    assert found.headline() == "cup ×2 (0.90), fork (0.90)"


boxes = st.lists(
    st.tuples(*[st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.01, 0.1), st.floats(0.01, 0.1)]),
    min_size=1,
    max_size=6,
).map(lambda rows: np.array([(x, y, x + w, y + h) for x, y, w, h in rows]))


@given(boxes)
def test_area_together_lies_between_the_largest_and_the_sum(rows):
    areas = (rows[:, 2:] - rows[:, :2]).prod(1)
    assert areas.max() - 1e-9 <= covered(rows) <= areas.sum() + 1e-9
    assert covered(np.concatenate([rows, rows])) == pytest.approx(covered(rows))


# Real weights and real media.

COMPOSITE_CUTS = (3.0, 6.0, 9.0, 14.0, 17.0)


@pytest.fixture(scope="module")
def real(real_models: Path) -> ObjectDetection:
    made = ObjectDetection()
    variant = made.variants[-1]
    files = {key: weights.locate(real_models) for key, weights in variant.weights.items()}
    if files["detector"] is None:
        pytest.skip("no yolov8n.pt among the weights of this machine")
    made.load(variant, "cpu", {"detector": files["detector"]})
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
def test_composite(real: ObjectDetection, real_media: Path):
    clip = real_media / "video" / "short_vertical_composite.mp4"
    found = real.analyze(decode(clip, {"dense"}, Settings()).tracks["dense"], cuts(*COMPOSITE_CUTS))
    edges = (0.0, *COMPOSITE_CUTS, 20.0)
    persons = [t for t in found.tracks if t.label == "person"]
    for start, end in pairwise(edges):
        assert any(start <= t.start and t.end <= end + 1e-6 for t in persons), (start, end)
    [bus] = [t for t in found.tracks if t.label == "bus"]
    assert (bus.start, bus.end) == pytest.approx((6.0, 9.0), abs=0.11)
    bicycles = [t for t in found.tracks if t.label == "bicycle"]
    assert bicycles
    assert all(t.start >= 17.0 for t in bicycles)
    for t in found.tracks:
        assert not any(t.start < edge - 0.05 < t.end - 0.1 for edge in COMPOSITE_CUTS)


@pytest.mark.slow
def test_a_static_bus_stop_has_one_track_per_thing(
    real: ObjectDetection, real_media: Path, tmp_path: Path
):
    found = real.analyze(still(real_media / "still" / "bus.jpg", tmp_path), None)
    counts = {c.label: c.tracks for c in found.classes}
    assert counts["bus"] == 1
    assert counts["person"] in (3, 4)
    assert all((t.start, t.end) == pytest.approx((0.0, 3.0), abs=0.05) for t in found.tracks)


@pytest.mark.slow
def test_two_people_in_ties(real: ObjectDetection, real_media: Path, tmp_path: Path):
    found = real.analyze(still(real_media / "still" / "two_people.jpg", tmp_path), None)
    assert {c.label: c.tracks for c in found.classes} == {"person": 2, "tie": 2}


@pytest.mark.slow
def test_a_desk(real: ObjectDetection, real_media: Path):
    dense = decode(real_media / "video" / "laptop_desk.mp4", {"dense"}, Settings()).tracks["dense"]
    found = real.analyze(dense, None)
    counts = {c.label: c.tracks for c in found.classes}
    assert counts["laptop"] == counts["cell phone"] == 1
    assert counts["person"] >= 1


@pytest.mark.slow
def test_a_test_pattern_has_nothing_in_it(real: ObjectDetection, real_media: Path):
    clip = real_media / "odd" / "hevc_testsrc2_720p.mp4"
    found = real.analyze(decode(clip, {"dense"}, Settings()).tracks["dense"], None)
    assert found.tracks == []
