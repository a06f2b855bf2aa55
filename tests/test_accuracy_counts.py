"""How what analyzers say is counted against what is true of a clip."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy import audio_analysis as audio
from benchmarks.accuracy import audio_environment as environment
from benchmarks.accuracy import camera_analysis as camera
from benchmarks.accuracy import cross_analyzer_intelligence as cross
from benchmarks.accuracy import object_detection as objects
from benchmarks.accuracy import scene_segmentation as scenes
from benchmarks.accuracy import speech_flow as flow
from benchmarks.accuracy import speech_transcription as speech
from benchmarks.accuracy import temporal_flow as pace
from benchmarks.accuracy._figures import f1_figure, groups, mean_figure, median_figure

made: Any = SimpleNamespace


def spanned(start: float, end: float, **more: Any) -> Any:
    return made(start=start, end=end, span=(start, end), **more)


def test_figures_of_nothing_are_not_measured_and_those_of_all_come_first():
    for figure in (
        mean_figure("m", "o", "c", []), f1_figure("m", "o", "c", [(0, 0, 0)]),
        median_figure("m", "o", "c", [[], []]),
    ):  # fmt: skip
        assert (figure.value, figure.reason, figure.holds) == (None, "nothing to count", None)
    assert median_figure("m", "o", "c", [[1.0, 5.0], [2.0]]).value == 2.0
    assert f1_figure("m", "o", "c", [(1, 0, 1), (1, 1, 0)]).value == pytest.approx(2 / 3)
    assert groups([("a", 1), ("b", 2), ("a", 3)]) == {"all": [1, 2, 3], "a": [1, 3], "b": [2]}


def test_a_move_is_found_once_and_others_are_too_much():
    truth = {"move": "pan left", "start": 1.0, "end": 3.0, "speed": 0.2}
    right = spanned(1.1, 3.0, kind="pan left", speed=0.25)
    other = spanned(0.0, 3.0, kind="zoom in", speed=0.1)
    told = camera.against([other, right], truth)
    assert (told.right, told.wrong, told.missed) == (1, 1, 0)
    assert told.speed == pytest.approx([0.25])
    assert told.edges == pytest.approx([0.1, 0.0])
    assert camera.against([spanned(2.5, 3.0, kind="pan left", speed=1)], truth)[1:4] == (0, 1, 1)
    still = {"move": "static", "start": 0.0, "end": 3.0, "speed": 0.0}
    assert camera.against([], still)[1:4] == (0, 0, 0)
    assert camera.against([other], still).wrong == 1


def test_pairs_of_shots_in_one_setting_are_counted():
    assert scenes.pairs([0, 1, 0, 1], [4, 5, 4, 5]) == (2, 0, 0)
    assert scenes.pairs([0, 1, 0], [0, 0, 1]) == (0, 1, 1)


def test_pace_is_compared_window_by_window():
    assert pace.rates([1.0, 1.2, 5.0], [1.5, 4.5], 6.0).tolist() == pytest.approx([2 / 3, 1 / 3])
    cuts = made(shots=[spanned(0.0, 2.0), spanned(2.0, 6.0)])
    told = made(pacing=made(times=[1.5, 4.5], cuts=[1 / 3, 0.0], fastest_s=1.5))
    truth = {
        "duration": 6.0,
        "transitions": [{"start": 1.0, "end": 3.0}, {"start": 4.0, "end": 4.0}],
    }
    found = pace.against(told, cuts, truth)
    assert found["pace"] == pytest.approx(10.0)
    assert found["rate"] == pytest.approx(10.0)
    assert found["median"] == pytest.approx(1.0)
    assert found["fastest"] is True


def sight(box: tuple[float, ...], track: int, label: str = "person") -> objects.Sight:
    return objects.Sight(np.array(box), label, track, 0.9)


def test_boxes_and_identities_are_counted_and_what_is_aside_is_not():
    left, right, hidden = (0.0, 0.0, 0.4, 1.0), (0.5, 0.0, 0.9, 1.0), (0.92, 0.0, 1.0, 1.0)
    truth = {
        "fps": 2.0,
        "things": [
            {"label": "person", "boxes": [left] * 4},
            {"label": "person", "boxes": [right, right, None, None]},
        ],
        "aside": [[hidden]] * 4,
    }
    seen = {
        0.0: [sight(left, 1), sight(right, 2), sight(hidden, 3), sight(right, 9, "tie")],
        0.5: [sight(left, 1)],
        1.0: [sight(left, 4), sight((0.5, 0.0, 0.6, 0.1), 5)],
        1.5: [sight(left, 4)],
    }
    found = objects.judged(seen, truth)
    assert found.boxes == (5, 1, 1)  # one too many at 1 s, the second person lost at 0.5 s
    assert found.identities == (3, 3, 3)  # the first person is two tracks
    assert found.overlaps == pytest.approx([1.0] * 5)
    assert [right for _, right in found.sure].count(False) == 1


def test_boxes_count_five_times_a_second_also_between_looks_and_where_there_are_none():
    boxes = [(0.0, 0.0, 0.4, 0.4), (0.2, 0.0, 0.6, 0.4)]
    track = made(
        times=[0.2, 0.6],
        boxes=boxes,
        confidences=[0.5, 0.7],
        label="bus",
        track=1,
        seen=[(0.2, 0.8)],
    )
    every = objects.sightings(made(tracks=[track]), 1.0)
    assert [len(sights) for sights in every.values()] == [0, 1, 1, 1, 0]
    [between] = list(every.values())[2]
    assert between.box == pytest.approx((0.1, 0.0, 0.5, 0.4))
    assert between.confidence == pytest.approx(0.6)


def test_onsets_of_one_kind_are_found_once():
    names = environment.NAMES["music"]
    sounds = [
        spanned(1.0, 2.0, name="Music"), spanned(1.2, 3.0, name="Guitar"),
        spanned(6.0, 7.0, name="Piano"), spanned(0.0, 1.0, name="Speech"),
    ]  # fmt: skip
    assert environment.onsets(sounds, names) == [1.0, 6.0]
    assert environment.counts([1.0, 6.0], [1.15, 9.0]) == (1, 1, 1)


def test_offsets_of_captions_are_those_of_the_caption_shown_then():
    audit = made(captions=[
        spanned(1.0, 2.0, text="one", offset_s=0.25), spanned(3.0, 4.0, text="two", offset_s=None),
    ])  # fmt: skip
    found = made(caption_audit=audit, texts=[spanned(1.0, 2.0, said="spoken")])
    truth = [
        {"text": "one", "start": 1.0, "end": 2.0, "offset": 0.2},
        {"text": "two", "start": 3.0, "end": 4.0, "offset": 0.2},
    ]
    told = cross.against(found, truth)
    assert told == {"off": [pytest.approx(0.05)], "spoken": 1, "captions": 2}


def test_rates_and_pauses_of_speech_are_held_against_its_words():
    truth = {
        "words": [["a", 0.0, 0.5], ["b", 1.5, 2.0]] * 1,
        "speech": [[0.0, 0.5], [1.5, 2.0]],
    }
    told = made(counted="words", speaking_rate=66.0, pauses=[spanned(0.6, 1.5)], interludes=[])
    found = flow.against(told, truth)
    assert found["rate"] == pytest.approx(0.1)
    assert (found["found"], found["pauses"]) == (1, 1)
    assert found["edges"] == pytest.approx([0.1, 0.0])
    assert flow.against(None, truth)["found"] == 0


def test_beats_are_found_once_each():
    assert audio.beat_f1([0.0, 0.5, 1.0], [0.0, 0.55, 1.0]) == 1.0
    assert audio.beat_f1([0.0, 0.01], [0.0, 1.0]) == 0.5
    assert audio.beat_f1([], [1.0]) == 0.0


def test_ebur128_measures_a_sine_as_defined():
    sine = 0.1 * np.sin(2 * np.pi * 997 * np.arange(3 * 48_000) / 48_000)
    level, peak = audio.ebur128(sine.astype(np.float32))
    assert level == pytest.approx(-23.0, abs=0.1)
    assert peak == pytest.approx(-20.0, abs=0.1)


def test_words_are_right_if_all_of_what_they_say_is_said():
    truth, heard = ["two", "now"], ["too", "now"]
    assert speech.matched(heard, truth) == {1}
