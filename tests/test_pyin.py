"""pYIN against known pitches, and against librosa's."""

import numpy as np
import pytest

from tests.sounds import noise, silence, tone, voice
from tiktok_ray.media import AUDIO_RATE
from tiktok_ray.methods.audio.pyin import (
    between,
    candidates,
    most_likely,
    normalised_difference,
    pyin,
)
from tiktok_ray.methods.audio.pyin import threshold_chances as prior


def track(samples):
    return pyin(samples, AUDIO_RATE, 65.0, 600.0, frame=2048, hop=320, resolution=0.2)


@pytest.mark.parametrize("hz", [70.0, 110.0, 220.0, 440.0, 590.0])
def test_a_steady_voice(hz):
    found = track(voice(1.0, hz))[5:-5]
    assert np.isfinite(found).all()
    assert np.abs(12 * np.log2(found / hz)).max() < 0.15


def test_a_glide_is_followed():
    found = track(voice(2.0, 150, 12.0, syllables=0.0))[5:-5]
    truth = 150 * 2 ** (np.linspace(-0.5, 0.5, len(found) + 10)[5:-5])
    assert np.abs(12 * np.log2(found / truth)).max() < 0.3


@pytest.mark.parametrize("samples", [noise(1.0), silence(1.0), silence(0.01)])
def test_without_a_period_there_is_no_pitch(samples):
    assert not np.isfinite(track(samples)[3:-3]).any()


def test_the_voice_begins_and_ends():
    found = track(np.concatenate([silence(1.0), voice(1.0, 150), silence(1.0)]))
    voiced = np.flatnonzero(np.isfinite(found)) * 0.02
    assert voiced[0] == pytest.approx(1.0, abs=0.1)
    assert voiced[-1] == pytest.approx(2.0, abs=0.1)


def test_the_difference_vanishes_at_the_period():
    row = normalised_difference(tone(160.0, 0.128)[None, :], 250)[0]
    assert row[100] < 0.05
    assert row[50] > 1


def test_earlier_troughs_have_the_better_chance():
    row = np.ones(100)
    row[[20, 40, 60]] = (0.05, 0.05, 0.3)
    lags, chances = candidates(row, prior())
    assert lags.tolist() == [20, 40, 60]
    assert chances[0] > 5 * chances[1] > 10 * chances[2] > 0
    assert chances.sum() <= 1
    assert candidates(np.arange(100.0, 0, -1)[:0:-1], prior())[0].tolist() == [0]


def test_the_vertex_lies_between_the_samples():
    at = np.arange(10.0)
    assert between((at - 4.3) ** 2, np.array([4])) == pytest.approx(0.3)
    assert between(at, np.array([0, 9])).tolist() == [0, 0]


def test_the_path_passes_over_an_outlier():
    chances = np.zeros((9, 50))
    chances[:, 20] = 0.9
    chances[4, 20] = 0.05
    chances[4, 48] = 0.9
    assert most_likely(chances, 5).tolist() == [20] * 9
    assert most_likely(np.zeros((4, 50)), 5).tolist() == [-1] * 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jfk.flac", "sb_example1.wav"])
def test_it_agrees_with_librosa(real_media, name):
    import librosa

    from tests.sounds import read

    samples = read(real_media / "audio" / name)
    ours = track(samples)
    theirs, _, _ = librosa.pyin(
        samples, fmin=65, fmax=600, sr=AUDIO_RATE, frame_length=2048, hop_length=320, resolution=0.2
    )
    assert len(ours) == len(theirs)
    voiced, as_well = np.isfinite(ours), np.isfinite(theirs)
    assert np.mean(voiced == as_well) > 0.98
    both = voiced & as_well
    assert np.mean(np.isclose(ours[both], theirs[both])) > 0.99
