"""Camera moves, things, settings, sounds and their agreement: what is told is in the clips."""

import itertools

import av
import numpy as np
import pytest

from benchmarks import factory
from benchmarks.factory import Recipe, blinks, camera, objects, scenes, soundscapes, together
from benchmarks.factory._pictures import photograph, view
from tests.conftest import slow


def pictures(path, form="gray"):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format=form) for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("move", "speed", "shift"),
    [("pan right", 0.2, (-0.2, 0)), slow("pan left", 0.2, (0.2, 0)), slow("tilt up", 0.1, (0, 0.1)),
     slow("tilt down", 0.1, (0, -0.1))],
)  # fmt: skip
def test_a_pan_or_tilt_moves_the_content_the_other_way(tmp_path, move, speed, shift):
    import cv2

    recipe = Recipe("camera", move, "usual", 3, {"speed": speed})
    truth = camera.make(recipe, tmp_path / "c.mp4")
    shown = pictures(tmp_path / "c.mp4")
    assert np.abs(shown[0].astype(int) - shown[20]).mean() < 1.5  # at rest
    first, last = (round((truth["start"] + s) * truth["fps"]) for s in (0.5, 1.0))
    one, two = (shown[k].astype(np.float32) for k in (first, last))
    window = cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(one, two, window)
    high, wide = one.shape[:2]
    assert (x / wide / 0.5, y / high / 0.5) == pytest.approx(shift, abs=0.02)


def test_zooms_and_rolls_go_as_told():
    ground = np.zeros((480, 640, 3), np.uint8)
    (_, near, _), (_, far, _) = (
        camera._look(m, 1.0, 0.2, 0.0, ground, np.zeros(4)) for m in ("zoom in", "static")
    )
    assert near == pytest.approx(far / 2)
    # A clockwise camera sees its content turn counterclockwise: what is right goes up.
    ground[230:250, 370:390] = 255
    straight = view(ground, (270, 480), (0.5, 0.5), 0.5)
    turned = view(ground, (270, 480), *camera._look("roll clockwise", 20.0, 4.0, 0.0, ground, None))
    rows = [np.argwhere(seen[..., 0] > 100)[:, 0].mean() for seen in (straight, turned)]
    assert rows[0] == pytest.approx(239.5, abs=1)
    assert rows[1] == pytest.approx(239.5 - 120 * np.sin(np.radians(20)), abs=3)


def test_a_shake_is_as_strong_as_told():
    ground = np.zeros((480, 640, 3), np.uint8)
    wide = 0.5 * 480 * camera.SIZE[0] / camera.SIZE[1]
    phases = np.array([0.3, 1.0, 2.0, 4.0])
    centres = [
        camera._look("shake", 0.0, 0.01, t, ground, phases)[0] for t in np.arange(0, 60, 1 / 30)
    ]
    way = (np.array(centres) - 0.5) * (640, 480) / wide
    assert np.sqrt((way**2).sum(1).mean()) == pytest.approx(0.01, rel=0.05)


def test_boxes_go_with_the_view():
    whole = np.array([0.25, 0.25, 0.75, 0.75])
    seen = objects.placed(whole, (400, 400), (200, 200), (0.5, 0.5), 1.0)
    assert seen == pytest.approx([0.25, 0.25, 0.75, 0.75])
    assert objects.placed(whole, (400, 400), (200, 200), (0.5, 0.5), 0.5) == [0, 0, 1, 1]
    half = objects.placed(whole, (400, 400), (200, 200), (0.76, 0.5), 0.5)
    assert half is None
    assert objects.placed(whole, (400, 400), (200, 200), (0.76, 0.5), 0.5, 0.0) == [0, 0, 0.48, 1]
    assert objects.placed(whole, (400, 400), (200, 200), (1.5, 0.5), 0.5, 0.0) is None
    tall = objects.placed(whole, (400, 800), (100, 200), (0.5, 0.5), 1.0)
    assert tall == pytest.approx([0.25, 0.25, 0.75, 0.75])


def test_a_bus_seen_from_afar_stays_in_its_box(tmp_path):
    recipe = next(
        r for r in factory.recipes("objects") if r.name.startswith("objects/bus/from afar")
    )
    truth = objects.make(recipe, tmp_path / "c.mp4")
    shown = pictures(tmp_path / "c.mp4", "rgb24")
    assert len(shown) == len(truth["things"][0]["boxes"]) == round(truth["duration"] * truth["fps"])
    for k in (0, len(shown) - 1):
        x0, y0, x1, y1 = truth["things"][0]["boxes"][k]
        high, wide = shown[k].shape[:2]
        inside = shown[k][round(y0 * high) : round(y1 * high), round(x0 * wide) : round(x1 * wide)]
        grey = np.abs(inside.astype(int) - objects.GREY).max(2) < 6
        assert grey.mean() < 0.1  # nothing of what surrounds the photograph


@pytest.mark.slow
def test_shots_of_one_setting_are_alike_and_cuts_lie_where_they_are_told(tmp_path):
    recipe = Recipe("scenes", "2 settings", "same view", 4, {"settings": 2})
    truth = scenes.make(recipe, tmp_path / "c.mp4")
    shown = [p.astype(float) for p in pictures(tmp_path / "c.mp4")]
    change = np.array([np.abs(b - a).mean() for a, b in itertools.pairwise(shown)])
    cuts = [round(shot["start"] * truth["fps"]) for shot in truth["shots"][1:]]
    assert sorted((np.argsort(change)[-len(cuts) :] + 1).tolist()) == cuts
    middles = [shown[round((s["start"] + s["end"]) / 2 * truth["fps"])] for s in truth["shots"]]
    kinds = [shot["setting"] for shot in truth["shots"]]
    apart: dict[bool, list[float]] = {True: [], False: []}
    for i, j in itertools.combinations(range(len(kinds)), 2):
        apart[kinds[i] == kinds[j]].append(float(np.abs(middles[i] - middles[j]).mean()))
    assert max(apart[True]) < min(apart[False])


def test_sounds_begin_where_they_are_told(tmp_path):
    from benchmarks.accuracy.audio_analysis import played

    recipe = Recipe("soundscapes", "sounds", "digital silence", 5)
    truth = soundscapes.make(recipe, tmp_path / "c.mp4")
    sound = np.abs(played(tmp_path / "c.mp4"))
    for one in truth["sounds"]:
        at = round(48_000 * one["start"])
        assert sound[at - 9600 : at - 2400].max() < 0.01
        assert sound[at : at + 9600].max() > 0.03
    spans = [
        *(tuple(s) for s in truth["silences"]),
        *((o["start"], o["end"]) for o in truth["sounds"]),
    ]
    assert sum(b - a for a, b in spans) == pytest.approx(truth["duration"])


@pytest.mark.parametrize("seconds", soundscapes.BRIEF)
def test_a_brief_sound_is_as_long_as_told(tmp_path, seconds):
    from benchmarks.accuracy.audio_analysis import played

    wanted = {"sound": "noise", "seconds": seconds, "ground": "digital silence"}
    recipe = Recipe("soundscapes", "brief", f"{seconds:g} s", 5, wanted)
    truth = soundscapes.make(recipe, tmp_path / "c.mp4")
    (one,) = truth["sounds"]
    loud = np.flatnonzero(np.abs(played(tmp_path / "c.mp4")) > 0.03) / 48_000
    assert (loud[0], loud[-1]) == pytest.approx((one["start"], one["end"]), abs=0.03)
    assert one["end"] - one["start"] == pytest.approx(seconds)


@pytest.mark.parametrize("person", blinks.EYES)
def test_lids_come_down_over_the_eyes_and_change_nothing_else(person):
    open_, half, shut = (blinks.lids(person, share).astype(int) for share in (0.0, 0.5, 1.0))
    assert (open_ == photograph(person)).all()
    inside = np.zeros(open_.shape[:2], bool)
    for upper, lower in blinks.EYES[person][1]:
        wide = upper[-1][0] - upper[0][0]
        (x0, y0), (x1, y1) = np.min(upper, 0), np.max(lower, 0)
        inside[int(y0 - wide) : int(y1) + 2, int(x0) : int(x1) + 2] = True
        eye = np.s_[int(y0) + 2 : int(y1), int(x0) + 4 : int(x1) - 4]
        change = [np.abs(one[eye] - open_[eye]).mean() for one in (half, shut)]
        assert 0 < change[0] < change[1]
    assert (shut[~inside] == open_[~inside]).all()


@pytest.mark.slow
def test_cuts_on_the_beat_are_on_it_and_others_are_where_they_are_told(tmp_path):
    for condition, near in (("on the beat", True), ("anywhere", False)):
        recipe = Recipe("together", "cuts and beats", condition, 7)
        truth = together.make(recipe, tmp_path / "c.mp4")
        off = [min(abs(cut - beat) for beat in truth["beats"]) for cut in truth["cuts"]]
        assert (max(off) <= 0.02) is near is truth["on_the_beat"]
        shown = [p.astype(float) for p in pictures(tmp_path / "c.mp4")]
        change = [np.abs(b - a).mean() for a, b in itertools.pairwise(shown)]
        largest = sorted(int(k) + 1 for k in np.argsort(change)[-len(off) :])
        assert [k / truth["fps"] for k in largest] == pytest.approx(truth["cuts"])


@pytest.mark.slow
def test_captions_come_as_much_later_as_told(tmp_path):
    recipe = Recipe("together", "captions and speech", "+0.3 s", 2, {"offset": 0.3})
    truth = together.make(recipe, tmp_path / "c.mp4")
    shown = [p.astype(float) for p in pictures(tmp_path / "c.mp4")]
    for one in truth["captions"]:
        assert one["offset"] == pytest.approx(0.3, abs=0.02)
        first = next(
            start for _, start, _ in truth["words"] if abs(one["start"] - 0.3 - start) < 0.03
        )
        assert one["start"] - first == pytest.approx(one["offset"])
        k = round(one["start"] * truth["fps"])
        assert np.abs(shown[k] - shown[k - 1]).max() > 60
        assert np.abs(shown[k - 1] - shown[k - 2]).max() < 60
