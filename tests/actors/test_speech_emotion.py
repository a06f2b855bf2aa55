"""Emotion and prosody of speech, by fake and tiny models and made voices."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.speech_emotion import (
    CURVE_MAX,
    LONGEST_S,
    SpeechEmotion,
    Voice,
    VoiceEmotion,
    curve,
    dimensions_of,
    emotion_of,
    mean_scores,
    movement,
    prosody,
    said,
    slope,
    stretches,
)
from actors.speech_transcription import Segment, Transcript, Word
from tests.sounds import audio_of, noise, silence, voice
from tests.spoken import speech_of
from tiktok_ray.analyzer import Analyzer, Skip
from tiktok_ray.media import AUDIO_RATE, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio.wav2vec2 import Classifier, InTorch, batches, scored
from tiktok_ray.methods.onnx_export import ExportFailed
from tiktok_ray.report import Timed, undeclared


class Ear:
    """Stands for a model: the louder, the angrier; the rougher, the more aroused."""

    labels = ("neu", "ang", "arousal", "valence")

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, pieces: Sequence[Any], batch: int) -> Any:
        self.seen += [len(piece) for piece in pieces]
        loud = np.array([5 * np.sqrt(np.mean(piece**2)) for piece in pieces]).clip(0, 1)
        rough = np.array([np.mean(np.diff(np.sign(piece)) != 0) for piece in pieces])
        return np.stack([1 - loud, loud, rough, 1 - rough], 1)


def ready(model: Any = None) -> SpeechEmotion:
    analyzer = SpeechEmotion()
    analyzer.model = model
    return analyzer


def heard(samples: Any, *speech: tuple[float, float], model: Any = None, **more: Any) -> Any:
    return ready(model).analyze(audio_of(samples, **more), speech_of(*speech), None)


class Scales(Ear):
    """Knows scales only."""

    labels = ("arousal", "valence")  # type: ignore[assignment]

    def __call__(self, pieces: Sequence[Any], batch: int) -> Any:
        return super().__call__(pieces, batch)[:, 2:]


def transcript_of(*sentences: tuple[float, float, str]) -> Transcript:
    """A transcript whose words share each sentence's time evenly."""
    segments = []
    for start, end, text in sentences:
        parts = text.split()
        step = (end - start) / len(parts)
        words = [
            Word(start=start + k * step, end=start + (k + 1) * step, text=part, probability=0.9)
            for k, part in enumerate(parts)
        ]
        segments.append(Segment(start=start, end=end, text=text, words=words))
    return Transcript(
        language="en",
        language_probability=0.9,
        text=" ".join(text for *_, text in sentences),
        segments=segments,
        word_count=sum(len(s.words) for s in segments),
        words_per_minute=120.0,
        words_dropped=0,
        pitch=None,
        speech=[Timed(start=s, end=e) for s, e, _ in sentences],
        speech_s=sum(e - s for s, e, _ in sentences),
        speech_share=0.5,
    )


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    calm = np.concatenate([silence(0.5), voice(3.0, 110, -2), silence(1.0)])
    lively = np.concatenate([0.3 * voice(2.0, 180, 10), 4 * voice(2.5, 240, -5, 3.0)])
    hiss = noise(4.0, 0.05)
    return [
        (
            ready(Ear()),
            {
                "audio": audio_of(calm),
                "speech": speech_of((0.5, 3.5)),
                "speech_transcription": transcript_of((0.5, 2.0, "good day"), (2.0, 3.5, "bye")),
            },
        ),
        (
            ready(Ear()),
            {
                "audio": audio_of(lively),
                "speech": speech_of((0.0, 1.5), (2.0, 4.5)),
                "speech_transcription": None,
            },
        ),
        (
            ready(),
            {
                "audio": audio_of(hiss),
                "speech": speech_of((1.0, 3.0)),
                "speech_transcription": None,
            },
        ),
    ]


def test_every_field_is_declared():
    assert list(undeclared(VoiceEmotion)) == []


# --- prosody -----------------------------------------------------------------------------------


@pytest.mark.parametrize("hz", [90.0, 140.0, 250.0])
def test_a_steady_voice_has_its_pitch_and_no_movement(hz):
    out = heard(voice(3.0, hz), (0.0, 3.0))
    assert out.prosody.pitch_hz == pytest.approx(hz, rel=0.02)
    assert out.prosody.pitch_range_st < 0.5
    assert out.prosody.voiced_share > 0.9
    (segment,) = out.segments
    assert segment.prosody.pitch_slope_st_s == pytest.approx(0, abs=0.1)
    assert segment.prosody.level_slope_db_s == pytest.approx(0, abs=1)
    assert "Hz" in out.headline()


@pytest.mark.parametrize("semitones", [-12.0, -4.0, 6.0])
def test_a_gliding_voice_has_its_slope_and_range(semitones):
    out = heard(voice(3.0, 150, semitones, syllables=0.0), (0.0, 3.0))
    (segment,) = out.segments
    assert segment.prosody.pitch_slope_st_s == pytest.approx(semitones / 3, abs=0.15)
    assert segment.prosody.pitch_range_st == pytest.approx(0.9 * abs(semitones), abs=0.4)


def test_a_fading_voice_has_its_slope():
    fade = 10 ** (-6.0 * np.arange(3 * AUDIO_RATE) / AUDIO_RATE / 20)
    (segment,) = heard(voice(3.0, 150, syllables=0.0) * fade, (0.0, 3.0)).segments
    assert segment.prosody.level_slope_db_s == pytest.approx(-6.0, abs=0.3)


def test_stretches_stand_against_the_whole():
    samples = np.concatenate([0.2 * voice(2.0, 100), silence(1.0), voice(2.0, 200)])
    low, high = heard(samples, (0.0, 2.0), (3.0, 5.0)).segments
    difference = high.prosody.pitch_against_whole_st - low.prosody.pitch_against_whole_st
    assert difference == pytest.approx(12, abs=0.5)
    louder = high.prosody.level_against_whole_db - low.prosody.level_against_whole_db
    assert louder == pytest.approx(14, abs=0.5)


def test_unvoiced_speech_has_no_pitch_but_a_level():
    out = heard(noise(3.0, 0.1), (0.5, 2.5))
    assert out.prosody.pitch_hz is None
    assert out.prosody.voiced_share < 0.05
    assert out.prosody.level_db == pytest.approx(-20, abs=0.3)
    assert out.headline() == "unvoiced speech"


def test_the_curve_follows_the_voice_within_speech_only():
    samples = np.concatenate([voice(2.0, 120), silence(1.0), voice(2.0, 240)])
    series = heard(samples, (0.0, 2.0), (3.0, 5.0)).curve
    assert not [t for t in series.times if 2.0 < t < 3.0]
    at = dict(zip(series.times, series.pitch_hz, strict=True))
    assert at[1.05] == pytest.approx(120, rel=0.02)
    assert at[4.05] == pytest.approx(240, rel=0.02)


def test_a_long_curve_is_thinned():
    times = np.arange(0, 600, 0.02)
    whole = Voice(times, np.full(len(times), 100.0), np.full(12_000, 0.01))
    series = curve(whole, [Span(0.0, 600.0)])
    assert len(series.times) <= CURVE_MAX
    assert series.times[-1] == pytest.approx(600, abs=1)
    assert series.level_db == pytest.approx([-20] * len(series.times))


def test_known_pitch_and_power_by_hand():
    hz = np.array([100, 100, np.nan, 200, 200, np.nan, np.nan, np.nan])
    whole = Voice(np.arange(8) * 0.02, hz, np.array([0.01, 0.0001, 0.01]))
    found = prosody(whole, [Span(0, 0.16)])
    assert found.pitch_hz == pytest.approx(100 * 2**0.5)
    assert found.voiced_share == 0.5
    assert found.level_db == pytest.approx(10 * np.log10(0.0201 / 3))
    moved = movement(whole, [Span(0, 0.05)], found)
    assert moved.pitch_against_whole_st == pytest.approx(-6)
    assert moved.pitch_slope_st_s is None


@given(
    rise=st.floats(-20, 20), count=st.integers(3, 500), outlier=st.sampled_from([0.0, 40.0, -40.0])
)
def test_the_slope_does_not_mind_an_outlier(rise, count, outlier):
    times = np.arange(count) * 0.02
    values = rise * times
    values[count // 2] += outlier if count > 10 else 0
    assert slope(times, values) == pytest.approx(rise, abs=1e-6 if outlier == 0 else 8)


# --- stretches ---------------------------------------------------------------------------------


def test_runs_close_together_are_one_stretch_and_sentences_split_it():
    audio = audio_of(noise(12.0))
    runs = [Span(1.0, 3.0), Span(3.2, 6.0), Span(8.0, 9.0)]
    assert stretches(runs, audio, []) == [(1.0, 6.0), (8.0, 9.0)]
    assert stretches(runs, audio, [1.0, 4.5, 5.5, 8.4]) == [(1.0, 4.5), (4.5, 6.0), (8.0, 9.0)]


def test_a_long_run_is_split_where_it_is_quietest():
    samples = noise(25.0)
    samples[round(8.0 * AUDIO_RATE) : round(8.1 * AUDIO_RATE)] = 0
    found = stretches([Span(0.0, 25.0)], audio_of(samples), [])
    assert found[0].end == pytest.approx(8.05, abs=0.06)
    assert max(span.length for span in found) <= LONGEST_S + 1e-6
    assert spans.total(found) == pytest.approx(25.0)


MINUTE = audio_of(noise(60.0))


@settings(deadline=None)
@given(
    pairs=st.lists(st.tuples(st.floats(0, 60), st.floats(0.2, 40)), min_size=1, max_size=4),
    sentences=st.lists(st.floats(0, 60), max_size=8),
)
def test_stretches_cover_all_speech_once(pairs, sentences):
    audio = MINUTE
    speech = spans.intersect([(s, s + n) for s, n in pairs], [(0.0, 60.0)])
    found = stretches(speech, audio, sentences)
    assert spans.total(spans.subtract(speech, found)) < 1e-6
    assert sum(s.length for s in found) == pytest.approx(spans.total(found))
    assert max((span.length for span in found), default=0) <= LONGEST_S + 1e-6


def test_words_go_with_the_stretch_they_are_said_in():
    words = transcript_of((0.5, 2.0, "good day"), (2.0, 3.0, "bye"))
    samples = np.concatenate([silence(0.5), voice(2.5, 110), silence(1.0)])
    out = ready().analyze(audio_of(samples), speech_of((0.5, 3.0)), words)
    assert [segment.text for segment in out.segments] == ["good day", "bye"]
    assert said(words, Span(0.0, 1.0)) == "good"
    assert said(None, Span(0.0, 1.0)) is None
    wordless = words.model_copy(update={"segments": None})
    assert said(wordless, Span(0.0, 1.0)) is None


# --- emotion -----------------------------------------------------------------------------------


def test_scores_become_emotions_and_scales():
    rows = scored(np.array([[2.0, 0.0, 1.7, -0.2]]), ["neu", "hap", "arousal", "Valence"])
    assert rows[0, :2].sum() == pytest.approx(1)
    assert rows[0, 0] == pytest.approx(1 / (1 + np.exp(-2)))
    assert rows[0, 2:].tolist() == [1.0, 0.0]
    by_label = dict(zip(["neu", "hap", "arousal", "Valence"], rows[0].tolist(), strict=True))
    emotion: Any = emotion_of(by_label)
    assert (emotion.dominant, emotion.word) == ("neu", "neutral")
    assert emotion.distribution.keys() == {"neu", "hap"}
    dimensions: Any = dimensions_of(by_label)
    assert (dimensions.arousal, dimensions.valence) == (1.0, 0.0)


def test_without_scores_there_is_neither():
    assert emotion_of({}) is None
    assert dimensions_of({}) is None
    assert dimensions_of({"neu": 1.0}) is None
    assert emotion_of({"arousal": 0.4}) is None
    assert mean_scores([{}, {}], [1.0, 2.0]) == {}


def test_the_mean_is_weighted_by_length():
    assert mean_scores([{"neu": 1.0}, {}, {"neu": 0.0}], [3.0, 9.0, 1.0]) == {"neu": 0.75}


def test_each_stretch_has_its_emotion_and_the_whole_their_mean():
    samples = np.concatenate([0.1 * voice(2.0), silence(1.0), 2.4 * voice(2.0)])
    out = heard(samples, (0.0, 2.0), (3.0, 5.0), model=Ear())
    assert [segment.emotion.dominant for segment in out.segments] == ["neu", "ang"]
    first, second = (segment.emotion.distribution["ang"] for segment in out.segments)
    assert out.emotion.distribution["ang"] == pytest.approx((first + second) / 2)
    events = [(e.kind, e.label, e.start, e.end) for e in out.events()]
    assert events == [("emotion", "neutral", 0.0, 2.0), ("emotion", "angry", 3.0, 5.0)]
    assert out.headline().startswith(("neutral", "angry"))


def test_neighbours_of_one_emotion_are_one_event():
    samples = np.concatenate([voice(2.0), silence(1.0), voice(4.0)])
    out = heard(samples, (0.0, 2.0), (3.0, 7.0), model=Ear())
    (event,) = out.events()
    assert (event.start, event.end, event.label) == (0.0, 7.0, "neutral")
    a, b = (segment.emotion.probability for segment in out.segments)
    assert event.confidence == pytest.approx((2 * a + 4 * b) / 6)


def test_a_short_cry_is_not_shown_to_the_model():
    ear = Ear()
    out = heard(voice(4.0), (0.0, 0.4), (1.0, 3.0), model=ear)
    assert ear.seen == [2 * AUDIO_RATE]
    assert out.segments[0].emotion is None
    assert out.segments[0].prosody.pitch_hz == pytest.approx(120, rel=0.03)


@pytest.mark.parametrize(
    ("model", "speech", "why"), [(Ear(), (1.0, 1.4), "shorter"), (Scales(), (0.5, 2.5), "scales")]
)
def test_a_model_that_names_no_emotion_says_why(model, speech, why):
    out, (missing,), _ = heard(voice(3.0), speech, model=model)
    assert out.emotion is None
    assert missing.part == "emotion"
    assert why in missing.reason


def test_without_the_model_there_is_prosody_alone():
    out = heard(voice(3.0), (0.5, 2.5))
    assert (out.emotion, out.dimensions, out.segments[0].emotion) == (None, None, None)
    assert list(out.events()) == []
    assert SpeechEmotion.variants[-1].lacks == ("emotion",)
    assert not SpeechEmotion.variants[-1].weights


# --- odd sound ---------------------------------------------------------------------------------


def test_no_speech_is_skipped():
    with pytest.raises(Skip):
        heard(noise(3.0))
    with pytest.raises(Skip):
        heard(noise(3.0), (4.0, 5.0))


def test_one_second():
    out = heard(voice(1.0, 130), (0.2, 0.9), model=Ear())
    assert out.prosody.pitch_hz == pytest.approx(130, rel=0.02)
    assert out.segments[0].emotion is not None


def test_a_moment_of_speech():
    out, _, _ = heard(voice(1.0, 130), (0.50, 0.51), model=Ear())
    assert out.segments[0].emotion is None
    assert out.prosody.level_db is not None


def test_speech_beyond_the_sound_is_cut_off():
    out = heard(voice(2.0), (1.0, 6.0), duration=3.0)
    assert out.segments[-1].end == 3.0
    digital = heard(silence(2.0), (0.5, 1.5))
    assert digital.prosody.level_db is None
    assert digital.segments[0].prosody.level_against_whole_db is None


# --- a tiny wav2vec2 ---------------------------------------------------------------------------


def tiny_wav2vec2(folder: Path, labels: Sequence[str], rate: int = AUDIO_RATE) -> Path:
    """A real checkpoint folder of a random wav2vec2 classifier with the labels."""
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForSequenceClassification,
    )

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        id2label=dict(enumerate(labels)),
        label2id={label: k for k, label in enumerate(labels)},
        classifier_proj_size=16,
        initializer_range=0.5,
    )
    Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=rate).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_wav2vec2_end_to_end_on_a_tiny_checkpoint(tmp_path):
    folder = tiny_wav2vec2(tmp_path, ["neu", "hap", "ang", "sad"])
    analyzer = SpeechEmotion()
    analyzer.load(analyzer.variants[0], "cpu", {"emotion": folder})
    samples = np.concatenate([voice(3.0, 120, 4), silence(1.0), 2 * voice(2.0, 220, -6)])
    out = analyzer.analyze(audio_of(samples), speech_of((0.0, 3.0), (4.0, 6.0)), None)
    assert [segment.span for segment in out.segments] == [(0.0, 3.0), (4.0, 6.0)]
    for segment in out.segments:
        assert segment.emotion is not None
        assert segment.emotion.distribution.keys() == {"neu", "hap", "ang", "sad"}
        assert sum(segment.emotion.distribution.values()) == pytest.approx(1)
        assert segment.dimensions is None
    first, second = (segment.emotion for segment in out.segments)
    assert first != second


@pytest.mark.slow
def test_wav2vec2_says_the_same_in_batches_and_alone(tmp_path):
    model = Classifier(tiny_wav2vec2(tmp_path, ["neu", "hap", "ang", "sad"]), "cpu")
    lengths = [1.0, 2.0, 1.0, 1.5, 2.0, 1.0]
    pieces = [noise(s, 0.1, seed=k).astype(np.float32) for k, s in enumerate(lengths)]
    together = model(pieces, 2)
    np.testing.assert_allclose(together.sum(1), 1)
    for k, piece in enumerate(pieces):
        np.testing.assert_allclose(model([piece], 4)[0], together[k], rtol=1e-3, atol=1e-5)
    assert np.ptp(together, axis=0).max() > 1e-3


@pytest.mark.slow
def test_wav2vec2_gets_sound_at_its_own_rate(tmp_path):
    model = Classifier(tiny_wav2vec2(tmp_path, ["arousal", "valence"], rate=8000), "cpu")
    given: list[tuple[int, ...]] = []
    network = model.network

    def spy(samples):
        given.append(samples.shape)
        return network(samples)

    model.network = spy
    scores = model([voice(2.0).astype(np.float32)] * 3, 2)
    assert given == [(2, 16_000), (1, 16_000)]
    assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.slow
def test_wav2vec2_says_what_it_says_in_transformers(tmp_path):
    """Its own extractor and network, in torch, of pieces of several lengths."""
    import torch
    from transformers import AutoFeatureExtractor, Wav2Vec2ForSequenceClassification

    folder = tiny_wav2vec2(tmp_path, ["neu", "hap", "ang", "sad"])
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    model = Wav2Vec2ForSequenceClassification.from_pretrained(folder)
    plain = Classifier(folder, "cpu")
    in_torch = Classifier(folder, "cpu")
    in_torch.network = InTorch(folder, "cpu")
    for seconds in (0.5, 1.0, 3.7):
        piece = (0.02 + noise(seconds, 0.1, seed=3)).astype(np.float32)
        given = extractor(piece, sampling_rate=AUDIO_RATE, return_tensors="pt")["input_values"]
        with torch.inference_mode():
            wanted = model(given).logits.softmax(1).numpy()
        np.testing.assert_allclose(plain([piece], 1), wanted, atol=1e-4)
        np.testing.assert_allclose(in_torch([piece], 1), wanted, atol=1e-4)


@pytest.mark.slow
def test_a_checkpoint_without_its_head_is_an_error(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tiny_wav2vec2(tmp_path, ["neu", "hap", "ang", "sad"])
    weights = load_file(folder / "model.safetensors")
    kept = {name: w for name, w in weights.items() if "classifier" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ExportFailed, match="classifier"):
        Classifier(folder, "cpu")


def test_only_equal_lengths_go_through_together():
    assert batches([5, 7, 5, 5, 7], 2) == [[0, 2], [3], [1, 4]]
    assert batches([], 2) == []


# --- real sound --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_speakers_of_the_composite(real_media):
    """Three speakers: men at 1.0 and 14.6 s, a woman at 3.6 s."""
    from tiktok_ray.media import decode
    from tiktok_ray.settings import Settings

    path = real_media / "video" / "short_vertical_composite.mp4"
    tracks = decode(path, {"audio", "speech"}, Settings()).tracks
    out = ready().analyze(tracks["audio"], tracks["speech"], None)
    assert len(out.segments) == 3
    first, second, third = (segment.prosody.pitch_hz or 0 for segment in out.segments)
    assert 85 < first < 160
    assert 165 < second < 255
    assert 85 < third < 180
