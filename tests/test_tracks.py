import numpy as np

from tiktok_ray.tracks import area, follow, iou


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
