"""What models and measures of sound do at the edges, and how it is met."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiktok_ray.media import AUDIO_RATE
from tiktok_ray.methods.audio.audio_tags import Yamnet, yamnet
from tiktok_ray.methods.audio.pyin import pyin
from tiktok_ray.methods.audio.rhythm import find_pulse, onset_strength
from tiktok_ray.methods.audio.wav2vec2 import batches

NOISE = np.random.default_rng(0).normal(0, 0.1, 3 * AUDIO_RATE).astype(np.float32)


def test_padding_reads_louder_than_silence_to_the_spectrogram_transformer():
    """A second is padded to ten with zeros before the mean of AudioSet's levels is taken off, as
    in the authors' own code: to the network padding is louder than quiet noise."""
    from transformers import ASTFeatureExtractor

    quiet = NOISE[:AUDIO_RATE] / 100
    levels = ASTFeatureExtractor()(quiet, sampling_rate=AUDIO_RATE, return_tensors="np")
    levels = levels["input_values"][0]
    silent = ASTFeatureExtractor()(0 * quiet, sampling_rate=AUDIO_RATE, return_tensors="np")
    assert levels.shape == (1024, 128)
    assert levels[:98].mean() == pytest.approx(-0.62, abs=0.05)
    assert levels[110:].mean() == pytest.approx(0.47, abs=0.01)
    assert silent["input_values"][0][:98].mean() == pytest.approx(-1.28, abs=0.01)


def test_wav2vec2_takes_padding_for_sound_and_so_gets_pieces_of_one_length():
    """Without an attention mask, which base models have none of, a short piece in a batch with a
    long one is another sound."""
    from transformers import Wav2Vec2FeatureExtractor

    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False)
    short, long = NOISE[:AUDIO_RATE] + 0.05, NOISE
    alone = extractor([short], sampling_rate=AUDIO_RATE, return_tensors="np")["input_values"][0]
    both = extractor([short, long], sampling_rate=AUDIO_RATE, padding=True, return_tensors="np")
    together = both["input_values"][0][:AUDIO_RATE]
    assert np.abs(alone - together).max() > 1
    assert together.std() == pytest.approx(1.6, abs=0.05)
    assert batches([len(short), len(long), len(short)], 8) == [[0, 2], [1]]


@pytest.mark.slow
def test_silence_has_a_tempo_and_a_pitch_in_librosa_and_none_here():
    import librosa

    silence = np.zeros(5 * 22_050, np.float32)
    assert librosa.feature.tempo(y=silence, sr=22_050)[0] == pytest.approx(117.45, abs=0.01)
    pitch = librosa.yin(silence, fmin=65, fmax=500, sr=22_050)
    assert np.unique(pitch).round() == [501]
    assert find_pulse(onset_strength(np.full((500, 40), -100.0)), [], 5.0) is None
    here = pyin(
        np.zeros(5 * AUDIO_RATE, np.float32),
        AUDIO_RATE,
        65,
        500,
        frame=1024,
        hop=160,
        resolution=0.1,
    )
    assert not np.isfinite(here).any()


@pytest.mark.slow
def test_mediapipe_makes_up_a_window_of_what_is_left_over(real_models: Path):
    """Of one second of noise, 25 ms fall into a second window, filled with zeros, and are tagged
    as anything. We give windows of the model's own length."""
    model = next(real_models.glob("yamnet/*.tflite"), None)
    if model is None:
        pytest.skip("no YAMNet among the weights of this machine")
    with yamnet(model) as tagger:
        assert isinstance(tagger, Yamnet)
        from mediapipe.tasks.python.components.containers import AudioData

        found = tagger.classifier.classify(AudioData.create_from_array(NOISE[:16_000], 16_000))
        first, made_up = [
            max(f.classifications[0].categories, key=lambda c: c.score) for f in found
        ]
        assert [f.timestamp_ms for f in found] == [0, 975]
        assert first.score > 0.5
        assert made_up.category_name not in ("Static", "White noise", "Noise")
        [row] = tagger([NOISE[: round(tagger.window_s * AUDIO_RATE)]], 1)
        assert tagger.names[int(row.argmax())] == "Static"
