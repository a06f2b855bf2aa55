"""Words kept to the speech they were said in, and speech in which none was heard."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiktok_ray.media import spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio.spoken_words import (
    LATE_S,
    TOLERANCE_S,
    joined,
    settled,
    within,
    wordless,
)
from tiktok_ray.methods.audio.whisper import HeardWord


def word(text: str, start: float, end: float, doubtful: bool = False) -> HeardWord:
    return HeardWord(f" {text}", start, end, 0.9, doubtful)


def times(words: list[HeardWord]) -> list[tuple[str, float, float]]:
    return [(w.text.strip(), round(w.start, 3), round(w.end, 3)) for w in words]


def test_a_last_word_stretched_over_the_pause_is_kept_and_cut_to_the_speech():
    kept = within([word("fall.", 2.58, 3.46)], [Span(0.45, 2.67), Span(4.38, 9.12)])
    assert times(kept) == [("fall.", 2.58, 2.67)]


def test_a_first_word_begun_in_the_pause_is_kept_near_the_speech():
    kept = within([word("The", 4.72, 5.36), word("fish", 5.36, 6.0)], [Span(5.47, 7.95)])
    assert times(kept) == [("The", 5.22, 5.36), ("fish", 5.47, 6.0)]


def test_a_squeezed_word_shares_the_time_of_the_one_before():
    kept = within([word("the", 5.02, 6.62), word("tank.", 6.62, 6.62)], [Span(3.57, 5.55)])
    assert times(kept) == [("the", 5.02, 5.219), ("tank.", 5.219, 5.55)]


def test_a_word_over_two_spans_goes_with_the_one_it_shares_most_with():
    kept = within([word("a", 1.0, 4.0)], [Span(0.0, 1.2), Span(2.0, 2.6)])
    assert times(kept) == [("a", 2.0, 2.6)]


def test_words_after_the_speech_are_left_out():
    speech = [Span(1.0, 2.0)]
    for middle, kept in ((2.0 + TOLERANCE_S - 0.01, 1), (2.0 + TOLERANCE_S + 0.01, 0)):
        assert len(within([word("a", middle - 0.02, middle + 0.02)], speech)) == kept
    made_up = [word("thank", 2.1, 2.7), word("you.", 2.7, 2.7)]
    assert within(made_up, speech) == []
    assert within([HeardWord("  ", 1.0, 1.2, 0.9)], speech) == []


def test_a_phrase_made_up_in_the_silence_before_speech_is_left_out_whole():
    """As tiny.en did, once handed what had been said before."""
    made_up = [word("Bimblue", 13.72, 14.66), word("F2", 14.66, 14.66), word("now.", 14.66, 14.66)]
    told = [word("Set", 14.78, 15.18)._replace(phrase=1)]
    assert times(within([*made_up, *told], [Span(14.57, 16.82)])) == [("Set", 14.78, 15.18)]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1, 20), st.floats(0, 5)), max_size=20),
    st.lists(st.tuples(st.floats(0, 20), st.floats(0.1, 5)), min_size=1, max_size=5),
)
def test_no_word_outside_speech_whatever_the_model_says(heard, spoken):
    speech = spans.union((a, a + b) for a, b in spoken)
    wide = [(a - 2 * TOLERANCE_S, b + 2 * TOLERANCE_S) for a, b in speech]
    for one in within([HeardWord(" x", a, a + b, 0.5) for a, b in heard], speech):
        assert 0 <= one.start <= one.end
        assert spans.total(spans.subtract([(one.start, one.end)], wide)) < 1e-6


def test_speech_without_words_from_a_length_on_and_whole_spans():
    words = [word("a", 1.0, 1.5), word("b", 2.0, 2.4)]
    speech = [(0.9, 4.0), (5.0, 5.3)]
    assert wordless(words, speech, 0.8) == [pytest.approx((2.4, 4.0)), (5.0, 5.3)]
    assert wordless(words, speech, 0.5)[0] == pytest.approx((1.5, 2.0))
    assert wordless([], [(1.0, 1.2)], 0.8) == [(1.0, 1.2)]


def test_a_second_reading_adds_only_what_it_is_sure_of_where_the_first_had_nothing():
    first = [word("one", 1.0, 1.5)]
    again = [
        word("one", 1.0, 1.5), word("two", 2.0, 2.4), word("three", 3.0, 3.3, doubtful=True)
    ]  # fmt: skip
    assert times(joined(first, again, [Span(1.9, 4.0)])) == [("one", 1.0, 1.5), ("two", 2.0, 2.4)]


def test_words_fill_their_speech_and_begin_earlier_within_it():
    words = [word("one", 1.2, 1.6), word("two", 1.6, 2.0), word("three", 2.0, 2.4)]
    found = settled(words, [Span(1.0, 2.8)])
    assert times(found) == [
        ("one", 1.05, 1.6 - LATE_S), ("two", 1.6 - LATE_S, 2.0 - LATE_S),
        ("three", 2.0 - LATE_S, 2.75),
    ]  # fmt: skip
    far = settled([word("one", 5.0, 5.2)], [Span(1.0, 9.0)])
    assert times(far) == [("one", 5.0, 5.2)]
    outside = [word("a", 9.5, 9.6)]
    assert settled(outside, [Span(1.0, 9.0)]) == outside


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 3)), max_size=12))
def test_settled_words_keep_their_number_and_stay_in_the_speech(heard):
    speech = [Span(1.0, 4.0), Span(6.0, 15.0)]
    one_each = [HeardWord(" x", a, a + b, 0.5, phrase=k) for k, (a, b) in enumerate(heard)]
    words = within(one_each, speech)
    found = settled(words, speech)
    assert len(found) == len(words)
    for one in found:
        assert one.start <= one.end
        wide = [(a - 2 * TOLERANCE_S, b + 2 * TOLERANCE_S) for a, b in speech]
        assert spans.total(spans.subtract([(one.start, one.end)], wide)) < 1e-6
