"""Sounds of the factory: what is told of them is in the samples; and how they are counted."""

import numpy as np
import pytest

from benchmarks.accuracy.audio_analysis import TUNED, iou, near, played
from benchmarks.factory import Recipe, sounds


def made(kind, condition, **parameters):
    recipe = Recipe("sounds", kind, condition, 5, parameters)
    return sounds.MADE[kind](recipe, np.random.default_rng(5))


def test_a_level_is_that_of_its_sine_also_in_the_file(tmp_path):
    recipe = Recipe("sounds", "level", "-16 dBFS", 1, {"level": -16})
    truth = sounds.make(recipe, tmp_path / "clip.mp4")
    middle = played(tmp_path / "clip.mp4")[48_000:-48_000]
    assert 20 * np.log10(np.abs(middle).max()) == pytest.approx(truth["peak_dbfs"], abs=0.1)
    assert 10 * np.log10(np.mean(middle**2)) == pytest.approx(truth["lufs"], abs=0.1)


def test_beats_begin_where_they_are_told():
    sound, truth = made("tempo", "clicks", bpm=120)
    assert np.diff(truth["beats"]) == pytest.approx(0.5)
    for beat in truth["beats"]:
        at = round(48_000 * beat)
        assert np.abs(sound[at - 2400 : at - 2]).max() == 0
        assert np.abs(sound[at : at + 480]).max() > 0.02


def test_silences_are_silent_and_the_rest_is_not():
    sound, truth = made("silence", "digital")
    for start, end in truth["silences"]:
        assert not np.abs(sound[round(48_000 * start) + 1 : round(48_000 * end) - 1]).any()
    assert np.abs(sound[:48_000]).max() > 0.1


def test_a_key_holds_the_notes_of_its_tonic():
    sound, truth = made("key", "major", tonic=9)
    assert truth == {"tonic": "A", "mode": "major"}
    spectrum = np.abs(np.fft.rfft(sound[:24_000]))
    loudest = 2 * np.argmax(spectrum)
    assert min(abs(loudest - 220 * 2 ** (k / 12)) for k in (0, 4, 7, 12, 16, 19)) < 3


def test_each_of_a_hundred_clips_without_speech_says_so():
    listed = list(sounds.recipes(1))
    assert sum(one.kind == "no speech" for one in listed) == 100
    assert len({one.name for one in listed}) == len(listed)


def test_tempos_within_four_percent_and_octaves_apart():
    assert near(124, 120)
    assert not near(60, 120)
    assert near(60, 120, TUNED)
    assert not near(None, 120, TUNED)


def test_spans_are_compared_by_what_they_share():
    assert iou([(0.0, 2.0)], [(1.0, 3.0)]) == pytest.approx(1 / 3)
    assert iou([], []) == 1.0
    assert iou([], [(1.0, 2.0)]) == 0.0
