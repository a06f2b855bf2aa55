"""Peaks of curves, against SciPy's."""

import numpy as np
import pytest

from tiktok_ray.methods.peaks import find_peaks


@pytest.mark.parametrize("seed", range(30))
def test_peaks_are_those_of_scipy(seed):
    from scipy.signal import find_peaks as of_scipy

    random = np.random.default_rng(seed)
    curve = random.normal(size=80)
    if seed % 3 == 0:
        curve = np.round(curve * 2) / 2  # level stretches
    at, shape = of_scipy(curve, height=-0.2, prominence=0.6, width=0)
    found = find_peaks(curve, height=-0.2, prominence=0.6)
    assert [peak.at for peak in found] == at.tolist()
    assert [peak.left for peak in found] == pytest.approx(shape["left_ips"])
    assert [peak.right for peak in found] == pytest.approx(shape["right_ips"])
    assert found


@pytest.mark.parametrize("curve", [[1.0], [1.0, 1.0], [3.0, 2.0, 3.0], [1.0, 2.0, 2.0]])
def test_a_curve_that_only_rises_at_its_ends_has_no_peak(curve):
    assert find_peaks(np.array(curve), height=0.0, prominence=0.0) == []
