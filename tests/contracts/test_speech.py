"""What faster-whisper does with sound and times, with the smallest real weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(real_models: Path) -> Any:
    folder = real_models / "hub" / "Systran--faster-whisper-tiny.en"
    if not folder.is_dir():
        pytest.skip("no Whisper among the weights of this machine")
    from faster_whisper import WhisperModel

    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)


@pytest.fixture(scope="module")
def speech(real_media: Path) -> np.ndarray:
    """Eleven seconds of speech, then eight of silence."""
    to_mono = av.AudioResampler(format="flt", layout="mono", rate=16_000)
    with av.open(str(real_media / "audio" / "jfk.flac")) as container:
        pieces = [o.to_ndarray()[0] for f in container.decode(audio=0) for o in to_mono.resample(f)]
    samples = np.concatenate(pieces)
    return np.concatenate([samples / np.abs(samples).max(), np.zeros(8 * 16_000)]).astype("f4")


def heard(model: Any, samples: np.ndarray, **options: Any) -> tuple[list[Any], Any]:
    found, facts = model.transcribe(
        samples, beam_size=1, word_timestamps=True, temperature=0.0, **options
    )
    return list(found), facts


def test_clip_timestamps_switch_the_voice_detector_off(model, speech):
    """Asked for both, it hears all 19 s, the silence too. We find speech ourselves and give
    windows, and ask for no detector."""
    _, alone = heard(model, speech, vad_filter=True)
    _, both = heard(model, speech, vad_filter=True, clip_timestamps=[0, 19])
    assert alone.duration_after_vad == pytest.approx(10.9, abs=0.2)
    assert both.duration_after_vad == pytest.approx(19.0, abs=0.1)


def test_a_segment_may_end_before_its_last_word(model, speech):
    """The ends come from two places. We take times from words alone."""
    segments, _ = heard(model, speech)
    assert any(s.words[-1].end > s.end + 0.02 for s in segments)


def test_whole_numbers_are_taken_as_they_are(model, speech):
    """Samples of 16 bits are not scaled to -1..1: their spectrogram lies 90 dB above, and what is
    heard in them is "No, no, no". We hand over floats."""
    second = speech[16_000:32_000]
    whole = (second * 32_767).astype(np.int16)
    levels = [float(model.feature_extractor(samples).max()) for samples in (second, whole)]
    assert levels[1] - levels[0] == pytest.approx(np.log10(32_767**2) / 4, abs=0.1)


def test_windows_past_the_end_of_the_sound_are_an_assertion_about_a_timestamp(model, speech):
    """In batches only. Ours lie within the sound."""
    from faster_whisper import BatchedInferencePipeline

    end = len(speech) / 16_000
    batched = BatchedInferencePipeline(model)
    window = [{"start": 0.0, "end": end + 0.5}]
    with pytest.raises(AssertionError, match="non-negative timestamp"):
        batched.transcribe(speech, clip_timestamps=window)
