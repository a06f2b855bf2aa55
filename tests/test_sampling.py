"""Thinning of samples, and the spans they stand for."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktok_ray.media import Frames
from tiktok_ray.methods.vision.sampling import Kept, holds, look_closer, thin


def test_every_second_sample_of_ten_a_second_remains_at_five():
    assert thin([k / 10 for k in range(10)], 5) == [0, 2, 4, 6, 8]


def test_first_sample_of_every_shot_is_looked_at():
    times = [k / 10 for k in range(10)]
    assert thin(times, 5, [0.3]) == [0, 2, 3, 5, 7, 9]
    assert thin(times, 5, [0.25, 0.26]) == [0, 2, 3, 5, 7, 9]


def test_timestamps_that_jitter_do_not_halve_the_rate():
    times = [0.0, 0.0999, 0.1998, 0.3003, 0.3997]
    assert thin(times, 5) == [0, 2, 4]


def test_sparse_samples_all_remain():
    assert thin([0.0, 1.0, 5.0], 5) == [0, 1, 2]


def test_a_sample_stands_until_the_next_the_cut_or_the_end():
    assert holds([0.0, 0.5, 1.0], 1.2, [0.8]) == [(0.0, 0.5), (0.5, 0.8), (1.0, 1.2)]


def test_a_cut_at_a_sample_takes_nothing_from_it():
    assert holds([0.0, 0.5], 1.0, [0.0, 0.5]) == [(0.0, 0.5), (0.5, 1.0)]


times = st.lists(st.floats(0, 60), min_size=1, max_size=60, unique=True).map(sorted)


@given(
    st.lists(st.integers(0, 600), min_size=1, max_size=60, unique=True).map(sorted),
    st.floats(0.5, 20),
    st.lists(st.integers(0, 600), max_size=5),
)
def test_each_shot_that_was_sampled_keeps_its_first_sample(tenths, fps, cuts):
    times, breaks = [k / 10 for k in tenths], [k / 10 + 0.05 for k in cuts]
    kept = thin(times, fps, breaks)
    assert kept[0] == 0
    assert kept == sorted(set(kept))
    for edge in breaks:
        assert next((i for i, t in enumerate(times) if t > edge), kept[0]) in kept


@given(times, st.floats(0.5, 20))
def test_no_two_kept_samples_are_closer_than_asked(times, fps):
    kept = [times[i] for i in thin(times, fps)]
    assert np.all(np.diff(kept) >= 1 / fps - 1.1e-3)


@given(times, st.floats(0, 5), st.lists(st.floats(0, 60), max_size=5))
def test_held_spans_never_overlap_and_never_cross_a_cut(times, tail, breaks):
    spans = holds(times, times[-1] + tail, breaks)
    assert [span.start for span in spans] == times
    for span, following in pairwise(spans):
        assert span.end <= following.start
    for edge in breaks:
        assert not any(span.start + 1e-3 < edge < span.end for span in spans)


def test_the_last_sample_ends_no_earlier_than_it_starts():
    assert holds([2.0], 1.0)[0] == pytest.approx((2.0, 2.0))


NOWHERE = np.zeros((0, 2, 4))


def alike(a, b):
    return Kept(1.0, NOWHERE) if a == b else None


def looked_at(pictures, fps=5.0, breaks=(), kept=alike, lost_s=1.0):
    """Which of some pictures are looked at, and what is seen: the shade of one corner."""
    pictures = [
        np.full((64, 64, 3), one, np.uint8) if np.isscalar(one) else one for one in pictures
    ]
    frames = Frames.of([k / fps for k in range(len(pictures))], pictures, len(pictures) / fps)

    def see(seen):
        return [int(picture[0, 0, 0]) // 32 for picture in seen]

    return look_closer(frames, range(len(pictures)), see, kept, breaks=breaks, lost_s=lost_s)


def test_between_pictures_alike_none_is_looked_at():
    picked, seen = looked_at([100] * 10)
    assert picked == [0, 4, 8, 9]
    assert len(set(seen)) == 1


def test_where_something_changes_looks_are_closer():
    assert looked_at([100] * 4 + [130] * 5)[0] == [0, 2, 3, 4, 8]
    assert looked_at([60] * 3 + [120] * 5)[0] == [0, 2, 3, 4, 7]


def test_every_shot_begins_with_a_picture_that_is_looked_at():
    assert looked_at([60] * 3 + [120] * 5, breaks=[0.6])[0] == [0, 2, 3, 7]
    assert looked_at([60] * 2 + [120] * 5, breaks=[0.4])[0] == [0, 1, 2, 6]


def test_what_flashes_up_between_two_pictures_alike_is_looked_at():
    picked, seen = looked_at([100, 100, 100, 200, 100, 100, 100])
    assert picked == [0, 2, 3, 4, 6]
    assert seen[2] != seen[1]


def test_a_fainter_change_is_looked_at_in_a_longer_gap():
    assert looked_at([100, 124, 100])[0] == [0, 2]
    assert looked_at([100, 100, 124, 100, 100])[0] == [0, 2, 4]
    assert looked_at([100, 100, 110, 100, 100])[0] == [0, 4]


def test_pictures_further_apart_are_all_looked_at():
    assert looked_at([100] * 5, fps=2)[0] == [0, 1, 2, 3, 4]
    assert looked_at([100] * 5, lost_s=0.3)[0] == [0, 1, 2, 3, 4]
    assert looked_at([100] * 5, lost_s=0.4)[0] == [0, 2, 4]


def bar(x):
    picture = np.full((160, 160, 3), 60, np.uint8)
    picture[:, x : x + 48 : 2] = 220
    return picture


def as_a_bar(overlap):
    """The bar is known by its left edge; a picture without one shows something else."""

    def kept(a, b):
        if a < 0 or b < 0:
            return None if a != b else Kept(1.0, NOWHERE)
        boxes = [[x / 160, 0.0, (x + 48) / 160, 1.0] for x in (a, b)]
        return Kept(overlap, np.array([boxes]))

    return kept


def looks_at_bars(pictures, overlap=0.6):
    frames = Frames.of([k / 5 for k in range(len(pictures))], pictures, len(pictures) / 5)

    def see(seen):
        found = [np.flatnonzero(picture[0, :, 0] > 140) for picture in seen]
        return [int(columns[0]) if len(columns) else -1 for columns in found]

    return look_closer(frames, range(len(pictures)), see, as_a_bar(overlap), lost_s=1.0)[0]


def test_what_moves_on_is_looked_at_in_every_second_picture():
    assert looks_at_bars([bar(x) for x in (0, 16, 32, 48, 64)]) == [0, 2, 4]
    assert looks_at_bars([bar(x) for x in (0, 16, 32, 48, 64)], overlap=0.4) == [0, 1, 2, 3, 4]


def test_what_is_gone_halfway_or_comes_beside_it_is_looked_at():
    empty = np.full((160, 160, 3), 60, np.uint8)
    assert looks_at_bars([bar(16), empty, bar(16)]) == [0, 1, 2]
    beside = bar(16)
    beside[:, 112:144] = 130
    assert looks_at_bars([bar(0), beside, bar(32)]) == [0, 1, 2]


def test_a_picture_that_does_not_differ_is_not_looked_at_again():
    calls = []

    def see(seen):
        calls.extend(seen)
        return [0] * len(seen)

    frames = Frames.of([0.0, 0.2, 0.4], [np.full((32, 32, 3), 90, np.uint8)] * 3, 0.6)
    picked, found = look_closer(frames, range(3), see, lambda a, b: None, lost_s=1.0)
    assert (picked, found, len(calls)) == ([0, 1, 2], [0, 0, 0], 1)
