"""The voice of made clips speaks what it is given, and says when."""

import numpy as np
import pytest

pytest.importorskip("espeakng_loader")

from tiktok_ray.demo.speech_synthesis import speak, utter


def test_words_have_the_text_and_ascending_times():
    spoken = utter("Schöne Grüße aus Köln, Ähm!", "de")
    assert [word.text for word in spoken.words] == ["Schöne", "Grüße", "aus", "Köln", "Ähm"]
    edges = [edge for word in spoken.words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert edges[-1] <= len(spoken.samples) / spoken.rate


def test_words_are_loud_and_the_pause_after_a_sentence_is_not():
    spoken = utter("One two three. Four five six.", "en")
    level = {
        word.text: float(
            np.abs(
                spoken.samples[int(word.start * spoken.rate) : int(word.end * spoken.rate)]
            ).max()
        )
        for word in spoken.words
    }
    assert set(level) == {"One", "two", "three", "Four", "five", "six"}
    assert min(level.values()) > 0.05
    three, four = spoken.words[2], spoken.words[3]
    gap = spoken.samples[int(three.end * spoken.rate) : int(four.start * spoken.rate)]
    assert len(gap) / spoken.rate > 0.15
    assert np.abs(gap).max() < 0.01


def test_a_number_spoken_as_several_words_is_one_word():
    words = utter("Es sind 3,50 Meter", "de").words
    assert [word.text for word in words] == ["Es", "sind", "3,50", "Meter"]
    assert words[2].end - words[2].start > 2 * (words[1].end - words[1].start)


def test_the_same_text_gives_the_same_samples_and_another_language_others():
    first, rate = speak("Halt, das ist schön", "de")
    again, _ = speak("Halt, das ist schön", "de")
    other, _ = speak("Halt, das ist schön", "en")
    assert rate == 22_050
    assert first.dtype == np.float32
    assert np.array_equal(first, again)
    assert len(other) != len(first) or not np.array_equal(first, other)


def test_rate_and_pitch_do_what_they_say():
    slow = utter("one two three four five", rate=100)
    fast = utter("one two three four five", rate=300)
    assert len(slow.samples) > 2 * len(fast.samples)
    low, high = (_zero_crossings(speak("aaaa", pitch=p)[0]) for p in (0, 99))
    assert high > low


def _zero_crossings(samples):
    return int(np.count_nonzero(np.diff(np.signbit(samples))))


def test_nothing_to_say_is_silence():
    assert utter("").words == ()
    assert np.abs(speak("")[0]).max(initial=0.0) < 0.01


@pytest.mark.parametrize("wrong", [{"language": "nowhere"}, {"rate": 20}, {"pitch": 200}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        speak("hello", **wrong)
