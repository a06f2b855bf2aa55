"""What faster-whisper does with sound and times, with the smallest real weights."""

from __future__ import annotations

import inspect
from dataclasses import fields
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


PRIVATE = {
    "_split_segments_by_timestamps": (
        "self", "tokenizer", "tokens", "time_offset", "segment_size", "segment_duration", "seek"
    ),
    "generate_with_fallback": ("self", "encoder_output", "prompt", "tokenizer", "options"),
    "get_prompt": (
        "self", "tokenizer", "previous_tokens", "without_timestamps", "prefix", "hotwords"
    ),
}  # fmt: skip


def test_what_we_override_takes_what_it_took():
    """``Model`` in ``methods/whisper.py`` overrides these to tell the language of a window, to keep
    to the allowance, and to move on where it is spent."""
    from faster_whisper import WhisperModel
    from faster_whisper.transcribe import TranscriptionOptions

    for name, parameters in PRIVATE.items():
        assert tuple(inspect.signature(getattr(WhisperModel, name)).parameters) == parameters, name
    assert {"temperatures", "max_new_tokens"} <= {f.name for f in fields(TranscriptionOptions)}


def test_where_a_window_ends_is_where_the_next_one_begins(model, speech):
    """The seek that the private method returns is followed, when it says that the end is single;
    it is called once a window, with names, after the reading."""
    from faster_whisper import WhisperModel

    calls: list[dict[str, Any]] = []
    order: list[str] = []

    class Moving(WhisperModel):  # type: ignore[misc]
        def generate_with_fallback(self, encoded, prompt, tokenizer, options):
            order.append("read")
            result = super().generate_with_fallback(encoded, prompt, tokenizer, options)
            chosen, logprob, temperature, compression = result
            assert chosen.sequences_ids[0]
            assert temperature in options.temperatures
            assert logprob <= 0 < compression
            return result

        def _split_segments_by_timestamps(self, **window):
            order.append("split")
            calls.append(window)
            segments, seek, ended = super()._split_segments_by_timestamps(**window)
            assert isinstance(ended, bool)
            assert window["seek"] < seek <= window["seek"] + window["segment_size"]
            return segments, window["seek"] + 400, True

    moving = object.__new__(Moving)
    moving.__dict__ = model.__dict__
    heard(moving, speech[: 11 * 16_000])
    assert [call["seek"] for call in calls] == [0, 400, 800]
    assert order == ["read", "split"] * 3
    assert model.frames_per_second == 100
    assert model.max_length == 448
