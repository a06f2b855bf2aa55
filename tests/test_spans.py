import itertools

from hypothesis import given
from hypothesis import strategies as st

from tiktok_ray.media import spans

PAIRS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8)


def seconds(pairs):
    """The unit seconds that pairs cover: a model of the algebra that cannot be wrong."""
    return {k for start, end in pairs for k in range(start, end)}


@given(PAIRS, PAIRS)
def test_algebra_agrees_with_sets(a, b):
    assert seconds([(int(s), int(e)) for s, e in spans.union(a)]) == seconds(a)
    assert seconds([(int(s), int(e)) for s, e in spans.intersect(a, b)]) == seconds(a) & seconds(b)
    assert seconds([(int(s), int(e)) for s, e in spans.subtract(a, b)]) == seconds(a) - seconds(b)
    assert spans.total(a) == len(seconds(a))
    assert spans.overlap(a, b) == len(seconds(a) & seconds(b))


@given(PAIRS)
def test_results_are_ordered_and_disjoint(a):
    merged = spans.union(a)
    assert all(x.end < y.start for x, y in itertools.pairwise(merged))
    assert spans.union(spans.invert(a, (0, 40)) + merged) == ([(0, 40)])


def test_gap_bridges_up_to_and_including_it():
    assert spans.union([(0, 1), (1.5, 2)], gap=0.5) == [(0, 2)]
    assert spans.union([(0, 1), (1.6, 2)], gap=0.5) == [(0, 1), (1.6, 2)]


def test_runs_hold_until_the_next_sample():
    assert spans.runs([0.0, 0.4, 1.0], [True, False, True], end=1.5) == [(0.0, 0.4), (1.0, 1.5)]
    assert spans.runs([], [], end=3.0) == []


def test_share_longer_and_covers():
    assert spans.share([(0, 5)], [(0, 10)]) == 0.5
    assert spans.share([(0, 5)], []) == 0.0
    assert spans.longer([(0, 0.2), (1, 2)], 0.5) == [(1, 2)]
    assert spans.covers([(0, 1)], 0.0)
    assert not spans.covers([(0, 1)], 1.0)
