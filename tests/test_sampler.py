"""What a sampler keeps, whatever it was told to expect."""

import numpy as np
import pytest

from tiktok_ray.media.sampling import Sampler


def kept(sampler, count, fps=10):
    for k in range(count):
        sampler.offer(k / fps, lambda size, k=k: np.full((size[1] * 3 // 2, size[0]), k, np.uint8))
    return sampler.frames(count / fps)


@pytest.mark.parametrize("expected", [0, 1, 7, 8, 100])
def test_every_picture_is_kept_however_many_were_expected(expected):
    frames = kept(Sampler((4, 2), 0.0, 50, expected), 8)
    np.testing.assert_allclose(frames.times, np.arange(8) / 10)
    assert [int(picture[0, 0]) for picture in frames.i420] == list(range(8))
    assert frames.i420.shape == (8, 3, 4)
    assert not frames.i420.flags.writeable


@pytest.mark.parametrize("expected", [1, 8, 100])
def test_a_full_one_drops_every_second_picture_and_doubles_its_step(expected):
    frames = kept(Sampler((4, 2), 0.0, 8, expected), 30)
    values = [int(picture[0, 0]) for picture in frames.i420]
    assert len(values) <= 8
    assert values == sorted(values)
    np.testing.assert_allclose(frames.times, np.array(values) / 10)
    assert set(np.diff(values)) == {4}
