"""How captions are counted against their truth, and confidences against what was right."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy._calibration import calibration, ece, isotonic
from benchmarks.accuracy._figures import share_figure
from benchmarks.accuracy._texts import bare, reading


def overlay(text, start, end, kind="caption", confidence=0.9):
    span = (start, end)
    return SimpleNamespace(
        text=text, start=start, end=end, span=span, kind=kind, confidence=confidence
    )


def counted(overlays: Any, unread: Any = ()) -> Any:
    truth = {
        "captions": [
            {"text": "one two", "start": 1.0, "end": 2.0},
            {"text": "three", "start": 2.0, "end": 3.0},
        ]
    }
    clip: Any = SimpleNamespace(
        truth=truth, recipe=SimpleNamespace(kind="Latin", condition="plain")
    )
    found: Any = SimpleNamespace(overlays=overlays, unread=list(unread))
    return reading(clip, found)


def test_captions_are_matched_once_and_the_rest_is_too_much():
    found = counted(
        [overlay("one two", 1.0, 2.1), overlay("thrce", 2.1, 3.0), overlay("BUS", 0.0, 3.0),
         overlay("YAMAHA", 0.0, 3.0, "scene_text")]
    )  # fmt: skip
    assert (found.wrong, found.characters, found.read, found.extra) == (1, 12, 2, 1)
    assert found.off == pytest.approx([0.0, 0.1, 0.1, 0.0])
    assert [right for _, right in found.sure] == [True, False]


def test_what_is_not_read_is_wrong_and_may_be_named():
    found = counted([overlay("one two", 1.0, 2.0)], [SimpleNamespace(span=(2.0, 3.0))])
    assert (found.wrong, found.read, found.named) == (5, 1, 1)
    assert counted([]).wrong == 12
    assert counted([]).named == 0


def test_spaces_count_where_a_script_has_them():
    assert bare("a  b\n") == "a b"
    assert bare("家で 焼く") == "家で焼く"
    assert bare("u\u0308") == "ü"


def test_a_share_of_nothing_is_not_measured():
    figure = share_figure("CER", "Latin", "all", [(0, 0)], most=0.02)
    assert figure.value is None
    assert figure.holds is None
    assert share_figure("CER", "Latin", "all", [(1, 10), (1, 90)], most=0.02).value == 0.02


def test_calibration_is_the_gap_between_confidence_and_truth():
    sure = [(0.95, True)] * 95 + [(0.95, False)] * 5
    assert ece(np.array(sure, float)) == pytest.approx(0.0, abs=1e-9)
    boasting = [(0.95, k % 4 < 2) for k in range(100)]
    told = {f.measure: f.value or 0.0 for f in calibration(boasting, "words", "all", "factory")}
    assert told["ECE"] == pytest.approx(0.45)
    assert told["confidence less share right"] == pytest.approx(0.45)
    assert told["right at confidence 0.9–1.0"] == 0.5
    assert told["ECE of it, calibrated on the other"] < 0.05 < told["ECE of one half"]
    before, after = isotonic([(0.95, k % 4 < 2) for k in range(100)])
    assert before == pytest.approx(0.45)
    assert after < 0.05
