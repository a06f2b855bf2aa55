import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from tiktok_ray.methods.vision.box_tracks import (
    area,
    believed,
    best_pairs,
    follow,
    iou,
    kept,
    track,
)
from tiktok_ray.methods.vision.sampling import STEADY


def box(x, y=0.1, size=0.2):
    return [x, y, x + size, y + size]


def test_iou_and_area():
    a = np.array([[0, 0, 0.5, 0.5]])
    b = np.array(
        [[0, 0, 0.5, 0.5], [0.25, 0, 0.75, 0.5], [0.6, 0.6, 0.9, 0.9], [0.2, 0.2, 0.2, 0.2]]
    )
    np.testing.assert_allclose(iou(a, b), [[1, 1 / 3, 0, 0]])
    np.testing.assert_allclose(area(b), [0.25, 0.25, 0.09, 0])
    assert iou(np.zeros((0, 4)), b).shape == (0, 4)


@given(
    st.integers(0, 5).flatmap(
        lambda n: st.integers(0, 5).flatmap(
            lambda m: arrays(np.float64, (n, m), elements=st.sampled_from([0, 0, 1, 2, 3, 5, 8]))
        )
    )
)
def test_pairs_gain_as_much_as_any(gain):
    pairs = best_pairs(gain)
    rows, columns = [i for i, _ in pairs], [j for _, j in pairs]
    assert rows == sorted(set(rows))
    assert len(set(columns)) == len(columns)
    assert all(gain[pair] > 0 for pair in pairs)
    assert sum(gain[pair] for pair in pairs) == gain[linear_sum_assignment(-gain)].sum()


def test_two_things_that_swap_order_keep_their_tracks():
    times = [0.0, 0.1, 0.2, 0.3]
    boxes = [np.array([box(0.1 + k * 0.02), box(0.6 - k * 0.02)]) for k in range(4)]
    boxes[2] = boxes[2][::-1]
    tracks = follow(times, boxes, gap_s=0.2)
    assert [t.items for t in tracks] == [[0, 0, 1, 0], [1, 1, 0, 1]]


def test_a_track_survives_a_gap_but_not_a_longer_one_nor_a_cut():
    seen, none = np.array([box(0.3)]), np.zeros((0, 4))
    times = [0.0, 0.1, 0.2, 0.3]
    assert len(follow(times, [seen, none, none, seen], gap_s=0.3)) == 1
    assert len(follow(times, [seen, none, none, seen], gap_s=0.2)) == 2
    assert len(follow(times, [seen] * 4, gap_s=0.3, breaks=[0.2])) == 2
    assert [t.samples for t in follow(times, [seen] * 4, gap_s=0.3, breaks=[0.2])] == [
        [0, 1],
        [2, 3],
    ]


def test_affinity_joins_what_moved_too_far():
    times, boxes = [0.0, 0.5], [np.array([box(0.1)]), np.array([box(0.5)])]
    assert len(follow(times, boxes, gap_s=1)) == 2
    assert len(follow(times, boxes, gap_s=1, affinity=lambda a, b: 0.9)) == 1


# A moving scene, at every rate that videos are sampled at. Things are given by their centre and
# size over time; every box knows whose it is.

RATES = [2, 3, 5, 8, 10, 15]
ASPECT = 9 / 16


def scene(times, things, rng, seen=lambda who, k: 0.9):
    """Boxes, scores and owners of each sample, in random order; ``things``: functions of time to
    (centre x, centre y, width, height) or None; ``seen(who, sample)``: confidence, 0 for a miss."""
    boxes, scores, owners = [], [], []
    for k, t in enumerate(times):
        rows = []
        for who, thing in enumerate(things):
            at, sure = thing(t), seen(who, k)
            if not at or not sure:
                continue
            x, y, w, h = np.array(at) + rng.normal(0, 0.02, 4) * (at[2], at[3], at[2], at[3])
            shown = np.clip([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 0, 1)
            if area(shown)[0] > 0.2 * w * h:
                rows.append((who, sure, shown))
        rng.shuffle(rows)
        boxes.append(np.array([row[2] for row in rows]).reshape(-1, 4))
        scores.append(np.array([row[1] for row in rows]))
        owners.append([row[0] for row in rows])
    return boxes, scores, owners


def tracks_of(times, boxes, scores, lost_s=1.5, sure=0.4):
    joined = track(times, boxes, scores, lost_s=lost_s, begin=0.25, aspect=ASPECT)
    return believed(joined, times, scores, sure=sure)


def whose(path, owners):
    return [owners[s][k] for s, k in zip(path.samples, path.items, strict=True)]


def sampled(rate, seconds, rng=None):
    """Times of samples, every one of them moved by up to a third of a step if ``rng`` is given."""
    times = np.arange(round(seconds * rate)) / rate
    if rng is not None:
        times = times + rng.uniform(0, 0.33, len(times)) / rate
    return times.tolist()


def standing(x, y=0.5, w=0.2, h=0.25, start=0.0, end=99.0):
    return lambda t: (x, y, w, h) if start <= t < end else None


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("other", [0, 0.15])
@pytest.mark.parametrize("seconds", [1, 4])
def test_who_is_seen_on_every_second_sample_is_one_track_beside_one_who_stays(rate, other, seconds):
    """The other samples miss them, or all but."""
    times = sampled(rate, 5)

    def seen(who, k):
        return (0.5 if (k - rate) % 2 == 0 else other) if who else 0.9

    here = [standing(0.25), standing(0.7, start=1, end=1 + seconds)]
    boxes, scores, owners = scene(times, here, np.random.default_rng(1), seen)
    assert sorted(set(whose(p, owners)).pop() for p in tracks_of(times, boxes, scores)) == [0, 1]


@pytest.mark.parametrize("rate", RATES)
def test_who_comes_in_the_middle_of_a_shot_has_one_track_from_the_first_sighting(rate):
    times = sampled(rate, 6)

    def walker(t):
        return (0.1 + 0.15 * (t - 2), 0.5, 0.2, 0.3) if t >= 2 else None

    boxes, scores, owners = scene(times, [standing(0.8), walker], np.random.default_rng(2))
    first, second = tracks_of(times, boxes, scores)
    assert whose(first, owners) == [0] * len(times)
    assert [times[s] for s in second.samples] == [t for t in times if t >= 2]


@pytest.mark.parametrize("rate", RATES)
def test_who_is_hidden_for_a_second_behind_another_stays_who_they_are(rate):
    """A walker passes behind one who stands; a hidden thing is not detected."""
    times = sampled(rate, 6)

    def walker(t):
        return (-0.1 + 0.2 * t, 0.5, 0.15, 0.28)

    hidden = [abs(walker(t)[0] - 0.5) < 0.1 for t in times]
    boxes, scores, owners = scene(
        times,
        [standing(0.5, w=0.2, h=0.35), walker],
        np.random.default_rng(3),
        lambda who, k: 0 if who and hidden[k] else 0.9,
    )
    paths = tracks_of(times, boxes, scores)
    assert sorted(set(whose(p, owners)).pop() for p in paths) == [0, 1]
    assert all(len(set(whose(p, owners))) == 1 for p in paths)


@pytest.mark.slow
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("irregular", [False, True])
def test_of_a_hundred_crossings_at_most_one_changes_identities(rate, irregular):
    """Two walk past each other, one lower than the other, both seen all the time."""
    rng = np.random.default_rng(4)
    changed = 0
    for _ in range(100):
        times = sampled(rate, 4, rng if irregular else None)
        middle, place, wide = rng.uniform(1.5, 2.5), rng.uniform(0.45, 0.55), rng.uniform(0.1, 0.2)
        tall = wide * rng.uniform(1.6, 2.4) * ASPECT
        fast, slow = rng.uniform(0.1, 0.45), -rng.uniform(0.1, 0.45)
        lower = tall * rng.uniform(0.25, 0.4)

        def walking(speed, y, place=place, middle=middle, wide=wide, tall=tall):
            def thing(t):
                x = place + speed * (t - middle)
                return (x, y, wide, tall) if 0 < x < 1 else None

            return thing

        things = [walking(fast, 0.5), walking(slow, 0.5 + lower)]
        boxes, scores, owners = scene(times, things, rng)
        paths = tracks_of(times, boxes, scores)
        changed += len(paths) != 2 or any(len(set(whose(p, owners))) > 1 for p in paths)
    assert changed <= 1


@pytest.mark.parametrize("rate", RATES)
def test_a_detection_of_a_moment_is_nothing_and_a_second_of_it_is(rate):
    """What is seen surely for 0.35 s is believed, however many samples that takes."""
    times = sampled(rate, 4)
    for lasts, there in ((0.2, 1 / rate > 0.35), (1.0, True)):
        boxes, scores, _ = scene(
            times, [standing(0.5, start=1, end=1 + lasts)], np.random.default_rng(5)
        )
        assert bool(tracks_of(times, boxes, scores)) is there, (rate, lasts)


def test_a_shot_shorter_than_evidence_must_show_a_thing_throughout():
    times, none = [0.0, 0.1, 0.2, 0.3], np.zeros((0, 4))
    seen = [np.array([box(0.4)])] * 4
    faint = [np.array([0.9]), np.array([0.3]), np.array([0.9]), np.array([0.9])]
    paths = track(times, seen, faint, lost_s=1, begin=0.25, breaks=[0.2])
    assert [p.samples for p in paths] == [[0, 1], [2, 3]]
    assert believed(paths, times, faint, sure=0.4, breaks=[0.2]) == [paths[1]]
    [one] = track([0.0], seen[:1], faint[:1], lost_s=1, begin=0.25)
    assert believed([one], [0.0], faint[:1], sure=0.4) == [one]
    assert track(times, [none] * 4, [np.zeros(0)] * 4, lost_s=1, begin=0.25) == []


def test_faint_boxes_do_not_keep_a_track_alive_for_ever():
    times = sampled(5, 10)
    boxes, scores, _ = scene(
        times, [standing(0.5)], np.random.default_rng(6), lambda who, k: 0.9 if k < 10 else 0.15
    )
    [path] = tracks_of(times, boxes, scores, lost_s=1.0)
    assert times[path.samples[-1]] == pytest.approx(times[9] + 1.0)


def test_one_who_vanishes_does_not_take_the_place_of_a_neighbour():
    """Three stand in a row; the first goes: nobody is passed on along the row."""
    times = sampled(5, 4)
    row = [standing(0.2, w=0.18, end=2), standing(0.4, w=0.18), standing(0.6, w=0.18)]
    boxes, scores, owners = scene(times, row, np.random.default_rng(7))
    paths = tracks_of(times, boxes, scores)
    assert sorted(len(set(whose(p, owners))) for p in paths) == [1, 1, 1]


def sighting(x, confidence=0.9, kind=0, size=0.2):
    return [*box(x, size=size), confidence, kind]


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        ([], [], True),
        ([sighting(0.1)], [sighting(0.105)], True),
        ([sighting(0.1), sighting(0.6)], [sighting(0.6), sighting(0.1)], True),
        ([sighting(0.1)], [sighting(0.15)], False),
        ([sighting(0.1)], [sighting(0.1, kind=1)], False),
        ([sighting(0.1)], [sighting(0.1), sighting(0.6)], False),
        ([sighting(0.1)], [sighting(0.1, 0.3)], False),
        ([sighting(0.1)], [sighting(0.1), sighting(0.6, 0.15)], True),
    ],
)
def test_samples_are_steady_that_show_the_same_in_the_same_places_without_doubt(a, b, alike):
    rows = [np.array(side).reshape(-1, 6) for side in (a, b)]
    for pair in (rows, rows[::-1]):
        found = kept(*pair, begin=0.25, sure=0.4)
        assert (found is not None and found.overlap >= STEADY) is alike


def test_faint_sightings_do_not_count_unless_the_others_have_moved():
    def between(x):
        rows = [np.array([sighting(0.1)]), np.array([sighting(x), sighting(0.6, 0.15)])]
        return kept(*rows, begin=0.25, sure=0.4)

    assert between(0.105).overlap > STEADY
    assert between(0.14) is None
    moved = kept(np.array([sighting(0.1)]), np.array([sighting(0.14)]), begin=0.25, sure=0.4)
    assert moved.overlap == pytest.approx(2 / 3)
    assert moved.boxes.shape == (1, 2, 4)
