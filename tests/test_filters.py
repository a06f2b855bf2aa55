"""Filters of sound, beside SciPy's and pyloudnorm's."""

import numpy as np
import pyloudnorm
import pytest
from scipy.signal import firwin, lfilter, resample_poly, sosfilt

from tiktok_ray.media.filters import Interpolator, Recursive, k_weighting

RATES = (8_000, 11_025, 44_100, 48_000, 192_000)


def noise(size: int, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(7).normal(0, 0.3, (channels, size))


@pytest.mark.parametrize("rate", RATES)
def test_the_weighting_is_that_of_pyloudnorm(rate: int):
    stages = pyloudnorm.Meter(rate)._filters.values()
    sos = np.array([[*stage.b, *stage.a] for stage in stages])
    sound = noise(rate)
    ours = sound
    for b, a in k_weighting(rate):
        ours = Recursive(b, a, 2)(ours)
    np.testing.assert_allclose(ours, sosfilt(sos, sound), atol=1e-9)


@pytest.mark.parametrize("sizes", [(5000,), (1, 2, 3, 255, 256, 257, 1000), (100,) * 30])
def test_a_filter_goes_on_where_it_stopped(sizes: tuple[int, ...]):
    b, a = k_weighting(48_000)[1]
    sound, step = noise(sum(sizes)), Recursive(b, a, 2)
    parts = [step(part) for part in np.split(sound, np.cumsum(sizes)[:-1], axis=1)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), lfilter(b, a, sound), atol=1e-9)


@pytest.mark.parametrize("times", [2, 4])
def test_the_interpolator_is_a_kaiser_windowed_one(times: int):
    window = firwin(12 * times + 1, 1 / times, window=("kaiser", 5.0))
    sound = noise(3000).astype(np.float32)
    theirs = resample_poly(sound, times, 1, axis=1, window=window)
    np.testing.assert_allclose(Interpolator(times)(sound), theirs, atol=2e-6)
