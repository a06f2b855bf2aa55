"""Sound tags: windows, events, shares and noise; by fake, tiny and real models."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import resample_poly

from actors.audio_environment import (
    AudioEnvironment,
    EnvironmentOptions,
    Onset,
    Soundscape,
    hysteresis,
    onsets,
    own_part,
    padded,
    ranked,
    shares,
    signal_to_noise,
    sounds,
    windows,
)
from tests.sounds import audio_of, noise, read, silence, tone, voice
from tests.spoken import speech_of
from tiktok_ray.analyzer import Analyzer, Skip
from tiktok_ray.media import AUDIO_RATE, decode, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.media.writer import write_clip
from tiktok_ray.methods.audio.audio_tags import BROAD, DETAILED, Spectrogrammer, under
from tiktok_ray.report import undeclared
from tiktok_ray.settings import Settings

NAMES = ("Speech", "Animal", "Dog", "Whale vocalization", "Music", "Scary music", "Silence")


class BandTagger:
    """Stands for a model: the share of the energy in each kHz is the probability of a class."""

    names = NAMES
    window_s, hop_s = 1.0, 0.5

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, windows: Sequence[Any], batch: int) -> Any:
        self.seen += [len(window) for window in windows]
        rows = []
        for window in windows:
            power = np.abs(np.fft.rfft(window)) ** 2
            bands = [part.sum() for part in np.array_split(power[: 7 * len(power) // 8], 7)]
            rows.append(np.array(bands) / max(power.sum(), 1e-9))
        return np.array(rows)


def ready(tagger: Any = None, **options: Any) -> AudioEnvironment:
    analyzer = AudioEnvironment(EnvironmentOptions(**options))
    model: Any = tagger or BandTagger()
    analyzer.tagger = lambda: nullcontext(model)
    return analyzer


def heard(samples: Any, *speech: tuple[float, float], **more: Any) -> Any:
    return ready().analyze(audio_of(samples, **more), speech_of(*speech))


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    street = np.concatenate([voice(3.0) + noise(3.0, 0.01), noise(3.0, 0.02), tone(2500, 2.0)])
    music = np.concatenate([tone(4500, 4.0), silence(2.0), tone(1500, 1.2), tone(500, 3.0)])
    quiet = np.concatenate([silence(1.0), noise(2.0, 0.05), voice(2.0), silence(3.0)])
    return [
        (ready(), {"audio": audio_of(street), "speech": speech_of((0.0, 3.0))}),
        (ready(), {"audio": audio_of(music), "speech": speech_of()}),
        (ready(), {"audio": audio_of(quiet), "speech": speech_of((3.0, 5.0))}),
        (ready(), {"audio": audio_of(silence(3.0)), "speech": speech_of()}),
    ]


def test_every_field_is_declared():
    assert list(undeclared(Soundscape)) == []


# --- windows -----------------------------------------------------------------------------------


@given(duration=st.floats(0.05, 40.0), sizes=st.sampled_from([(0.975, 0.4875), (2.0, 1.0)]))
def test_windows_cover_the_sound_and_their_parts_tile_it(duration, sizes):
    window, hop = sizes
    cut = windows(duration, window, hop, [(0.0, duration)])
    assert cut[0].start == 0
    assert cut[-1].end == pytest.approx(duration)
    assert spans.total(cut) == pytest.approx(duration)
    cells = [own_part(span, hop, duration) for span in cut]
    assert cells[0].start == 0
    assert cells[-1].end == duration
    assert spans.total(cells) == pytest.approx(duration)


def test_silent_windows_are_not_shown_to_the_model():
    tagger = BandTagger()
    samples = np.concatenate([tone(500, 2.0), silence(6.0), tone(2500, 2.0)])
    out = ready(tagger).analyze(audio_of(samples), speech_of())
    assert tagger.seen == [16_000] * len(out.windows)
    assert all(span.end <= 3.0 or span.start >= 7.0 for span in out.windows)
    assert not spans.intersect([s.span for s in out.sounds], [(2.05, 7.95)])


def test_a_short_piece_is_filled_up_and_a_fresh_copy():
    audio = audio_of(tone(440, 0.5))
    piece = padded(audio.cut(0.2, 0.5), 1.0, AUDIO_RATE)
    assert len(piece) == 16_000
    assert not piece[round(0.3 * AUDIO_RATE) :].any()
    piece[:] = 1.0
    assert audio.samples.max() < 0.5


# --- tags and events ---------------------------------------------------------------------------


def test_sounds_begin_and_end_where_they_do():
    samples = np.concatenate([tone(500, 4.0), tone(2500, 3.0), tone(4500, 3.0)])
    out = heard(samples)
    found = {event.name: event.span for event in out.sounds}
    assert found.keys() == {"Speech", "Dog", "Music"}
    assert found["Speech"] == pytest.approx((0.0, 4.0), abs=0.3)
    assert found["Dog"] == pytest.approx((4.0, 7.0), abs=0.3)
    assert found["Music"] == pytest.approx((7.0, 10.0), abs=0.3)
    kinds = {(event.kind, event.label) for event in out.events()}
    assert kinds == {("sound", name) for name in found}
    assert out.tags[0].name == "Speech"
    assert out.windows[0].tags[0].name == "Speech"
    assert out.windows[0].tags[0].probability > 0.95


def test_hysteresis_needs_the_upper_limit_and_keeps_to_the_lower():
    cells = [Span(float(k), k + 1.0) for k in range(8)]
    row = np.array([0.2, 0.4, 0.2, 0.1, 0.2, 0.25, 0.2, 0.9])
    assert hysteresis(row, cells, (0.3, 0.15)) == [[0, 1, 2], [4, 5, 6, 7]]
    assert hysteresis(row, cells, (0.95, 0.15)) == []
    apart = [*cells[:1], *(Span(s + 5, e + 5) for s, e in cells[1:])]
    assert hysteresis(row, apart, (0.3, 0.15)) == [[1, 2], [4, 5, 6, 7]]


def events_of(rows: Any, limits: tuple[float, float] = (0.3, 0.15)) -> list[str]:
    cells = [Span(float(k), k + 1.0) for k in range(len(rows))]
    return [e.name for e in sounds(np.array(rows), NAMES, cells, limits, [(0.0, 99.0)])]


def test_of_classes_that_stand_for_one_sound_the_telling_one_stays():
    assert events_of([[0, 0.9, 0.8, 0, 0, 0, 0]] * 3) == ["Dog"]
    assert events_of([[0, 0.9, 0, 0, 0, 0, 0]] * 3) == ["Animal"]
    barely = [[0, 0.9, 0.8, 0, 0, 0, 0]] + [[0, 0.9, 0, 0, 0, 0, 0]] * 3
    assert sorted(events_of(barely)) == ["Animal", "Dog"]
    assert events_of([[0, 0, 0, 0, 0, 0, 1.0]]) == []


def test_a_broad_class_ranks_after_what_it_consists_of():
    rows = np.array([[0.1, 0.96, 0.9, 0.2, 0.5, 0, 0], [0, 0.9, 0.85, 0, 0.4, 0, 0.9]])
    tags = ranked(rows, NAMES)
    assert [tag.name for tag in tags] == [
        "Dog", "Animal", "Music", "Whale vocalization", "Speech",
    ]  # fmt: skip
    assert tags[0].max_probability == 0.9
    assert tags[0].mean_probability == pytest.approx(0.875)
    faint = np.array([[0, 0.9, 0.3, 0, 0, 0, 0]])
    assert [tag.name for tag in ranked(faint, NAMES)] == ["Animal", "Dog"]
    assert ranked(np.zeros((0, 7)), NAMES) == []


def test_an_event_stops_at_a_silence_and_does_not_spread_over_it():
    cells = [Span(float(k), k + 1.0) for k in range(5)]
    rows = np.array([[0.2], [0.25], [0.9], [0.9], [0.8]])
    heard_spans = [(0.0, 1.2), (2.1, 3.5), (4.2, 5.0)]
    found = sounds(rows, ["Dog"], cells, (0.3, 0.15), heard_spans)
    assert [(e.start, e.end, e.probability) for e in found] == [(2.1, 3.5, 0.9), (4.2, 5.0, 0.8)]


def test_an_event_sets_in_with_the_strongest_onset_nearby():
    cells = [Span(0.0, 1.0), Span(1.0, 2.0), Span(2.0, 3.0)]
    rows = np.array([[0.0], [0.9], [0.9]])
    whole = [(0.0, 3.0)]
    near = [Onset(0.6, 3.0), Onset(1.2, 9.0), Onset(1.8, 20.0)]
    assert sounds(rows, ["Dog"], cells, (0.3, 0.15), whole, near)[0].start == 1.2
    assert sounds(rows, ["Dog"], cells, (0.3, 0.15), whole, [Onset(1.8, 20.0)])[0].start == 1.0
    broken = [(0.0, 0.8), (0.95, 3.0)]  # the onset is of what the silence cut off
    (found,) = sounds(rows, ["Dog"], cells, (0.3, 0.15), broken, [Onset(0.6, 9.0)])
    assert (found.start, found.end) == (0.95, 3.0)
    samples = np.concatenate([0.01 * noise(1.7), tone(1500, 2.0)])
    assert max(onsets(audio_of(samples)), key=lambda o: o.strength).time == pytest.approx(
        1.7, abs=0.03
    )


def test_the_limits_are_settings():
    samples = tone(500, 3.0) + 0.3 * tone(2500, 3.0)
    assert "Dog" not in {s.name for s in heard(samples).sounds}
    eager = ready(enter_at=0.05, stay_at=0.02).analyze(audio_of(samples), speech_of())
    assert "Dog" in {s.name for s in eager.sounds}
    assert (eager.enter_at, eager.stay_at) == (0.05, 0.02)


# --- shares and noise --------------------------------------------------------------------------


def test_shares_of_a_known_sound():
    samples = np.concatenate([tone(500, 4.0), tone(4500, 2.0), silence(2.0), tone(1500, 2.0)])
    out = heard(samples, (0.0, 4.0))
    assert out.shares.speech == pytest.approx(0.4)
    assert out.shares.music == pytest.approx(0.2, abs=0.05)
    assert out.shares.silence == pytest.approx(0.2, abs=0.02)
    assert out.shares.noise == pytest.approx(0.2, abs=0.05)


def test_speech_over_music_counts_as_both():
    told = shares([Span(0, 6)], [Span(4, 10)], [Span(9, 10)], 10.0)
    assert (told.speech, told.music, told.noise, told.silence) == (0.6, 0.5, 0.0, 0.1)


@pytest.mark.parametrize("decibels", [0.0, 10.0, 25.0])
def test_a_known_signal_to_noise_ratio(decibels):
    hiss = noise(10.0, 0.01)
    speech = np.zeros(len(hiss))
    speech[3 * AUDIO_RATE : 7 * AUDIO_RATE] = noise(4.0, 0.01 * 10 ** (decibels / 20), seed=5)
    found = signal_to_noise(audio_of(hiss + speech), [Span(3, 7)], [])
    assert found == pytest.approx(decibels, abs=0.5)


def test_a_ratio_that_cannot_be_told_is_null():
    loud = audio_of(np.concatenate([noise(5.0, 0.1), noise(1.0, 0.001)]))
    assert signal_to_noise(loud, [], []) is None
    assert signal_to_noise(loud, [Span(0, 6)], []) is None
    assert signal_to_noise(loud, [Span(0, 5.0)], [Span(4.9, 6.0)]) is None
    assert signal_to_noise(loud, [Span(0, 5.0)], []) == pytest.approx(40, abs=0.5)
    digital = audio_of(np.concatenate([noise(5.0, 0.1), silence(5.0)]))
    assert signal_to_noise(digital, [Span(0, 5.0)], []) is None
    absent = audio_of(noise(5.0, 0.1), duration=10.0)
    assert signal_to_noise(absent, [Span(0, 4.9)], []) is None


# --- odd sound ---------------------------------------------------------------------------------


def test_silence_has_no_tags():
    out = heard(silence(5.0))
    assert out.headline() == "silent"
    assert (out.tags, out.windows, out.sounds) == ([], [], [])
    assert out.shares.silence == 1.0
    assert out.snr_db is None


@pytest.mark.parametrize("length", [0.03, 0.3, 1.0])
def test_short_sound(length):
    out = heard(tone(500, length))
    assert [span.span for span in out.windows] == [(0.0, length)]
    assert [event.span for event in out.sounds] == [(0.0, length)]


def test_sound_shorter_than_the_picture():
    out = heard(tone(500, 3.0), duration=8.0)
    assert out.shares.silence == pytest.approx(5 / 8, abs=0.01)
    assert out.sounds[-1].end == pytest.approx(3.0, abs=0.05)


def test_speech_beyond_the_sound_does_not_count():
    assert heard(tone(500, 4.0), (2.0, 9.0)).shares.speech == pytest.approx(0.5)


def test_no_sound_at_all_is_skipped():
    with pytest.raises(Skip):
        heard(silence(0.0))
    with pytest.raises(Skip):
        heard(silence(2.0), present=[])


# --- a tiny AST --------------------------------------------------------------------------------


def tiny_ast(folder: Path, rate: int = AUDIO_RATE) -> Path:
    """A real checkpoint folder of a random AST that hears two seconds and knows seven classes."""
    import torch
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_length=198,
        id2label=dict(enumerate(NAMES)),
        label2id={name: k for k, name in enumerate(NAMES)},
        initializer_range=0.5,
    )
    ASTForAudioClassification(config).save_pretrained(folder)
    ASTFeatureExtractor(max_length=198, sampling_rate=rate).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_ast_end_to_end_on_a_tiny_checkpoint(tmp_path):
    analyzer = AudioEnvironment()
    analyzer.load(analyzer.variants[0], "cpu", {"ast": tiny_ast(tmp_path)})
    samples = np.concatenate([tone(500, 4.0), silence(3.0), noise(4.0)])
    out = analyzer.analyze(audio_of(samples), speech_of((0.0, 4.0)))
    assert (out.window_s, out.hop_s) == (2.0, 1.0)
    assert [w.start for w in out.windows] == [0, 1, 2, 3, 6, 7, 8, 9]
    assert {tag.name for tag in out.tags} <= set(NAMES)
    assert len({w.tags[0].probability for w in out.windows if w.tags}) > 2


@pytest.mark.slow
def test_ast_says_the_same_in_batches_and_alone(tmp_path):
    model = Spectrogrammer(tiny_ast(tmp_path), "cpu")
    assert list(model.names) == list(NAMES)
    pieces = [noise(2.0, 0.01 * (k + 1), seed=k).astype(np.float32) for k in range(5)]
    together = model(pieces, 2)
    assert together.shape == (5, 7)
    assert ((together > 0) & (together < 1)).all()
    for k, piece in enumerate(pieces):
        np.testing.assert_allclose(model([piece], 8)[0], together[k], rtol=1e-4)
    assert np.ptp(together, axis=0).max() > 1e-3


@pytest.mark.slow
def test_ast_gets_sound_at_its_own_rate(tmp_path):
    model = Spectrogrammer(tiny_ast(tmp_path, rate=8000), "cpu")
    given: list[tuple[int, int]] = []
    extractor = model.extractor

    def spy(pieces, sampling_rate, return_tensors):
        given.extend((len(piece), sampling_rate) for piece in pieces)
        return extractor(pieces, sampling_rate=sampling_rate, return_tensors=return_tensors)

    spy.sampling_rate = extractor.sampling_rate  # type: ignore[attr-defined]
    model.extractor = spy
    model([tone(440, 2.0).astype(np.float32)] * 3, 2)
    assert given == [(16_000, 8000)] * 3


# --- real YAMNet -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def yamnet_ready(real_models) -> AudioEnvironment:
    analyzer = AudioEnvironment()
    path = real_models / "yamnet" / "yamnet_with_metadata.tflite"
    analyzer.load(analyzer.variants[1], "cpu", {"yamnet": path})
    return analyzer


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tag", "event"),
    [
        ("trumpet.ogg", "Trumpet", (0.0, 3.2)),
        ("esc50_dog.wav", "Dog", (2.25, 2.6)),
        ("esc50_carhorn.wav", "Vehicle horn, car horn, honking", (0.7, 2.2)),
        ("jfk.flac", "Speech", (0.0, 11.0)),
    ],
)
def test_yamnet_names_the_right_sound_first(real_media, yamnet_ready, tmp_path, name, tag, event):
    """Each under a black picture, through the encoder and the decoder."""
    sound = resample_poly(read(real_media / "audio" / name), 3, 1).astype(np.float32)
    black = [np.zeros((64, 64, 3), np.uint8)] * (len(sound) * 10 // 48_000)
    path = write_clip(tmp_path / "black.mp4", black, fps=10, audio=sound)
    tracks = decode(path, {"audio", "speech"}, Settings()).tracks
    out = yamnet_ready.analyze(tracks["audio"], tracks["speech"])
    assert out.tags[0].name == tag
    found = [s.span for s in out.sounds if s.name == tag]
    assert spans.overlap(found, [event]) > 0.8 * (event[1] - event[0])


@pytest.mark.slow
def test_yamnet_on_the_composite(real_media, yamnet_ready):
    path = real_media / "video" / "short_vertical_composite.mp4"
    tracks = decode(path, {"audio", "speech"}, Settings()).tracks
    out = yamnet_ready.analyze(tracks["audio"], tracks["speech"])
    trumpet = [s.span for s in out.sounds if s.name in ("Trumpet", "Music")]
    assert spans.total(spans.subtract([(6.0, 9.0), (17.0, 20.0)], trumpet)) < 0.5
    assert spans.overlap(trumpet, [(0.0, 5.5), (9.5, 16.0)]) == 0
    speech = [s.span for s in out.sounds if s.name == "Speech"]
    assert spans.share(speech, [(1.0, 2.1), (3.7, 5.3), (14.7, 16.7)]) > 0.9
    assert spans.share([s.span for s in out.silences], [(9.0, 14.0)]) > 0.98
    assert not spans.intersect([s.span for s in out.sounds], [(9.1, 14.0)])
    assert out.snr_db is not None


@pytest.mark.slow
def test_branches_stand_in_the_order_of_the_real_vocabulary(yamnet_ready):
    with yamnet_ready.tagger() as tagger:
        names = list(tagger.names)
    assert len(names) == 521
    for branches in (BROAD, DETAILED):
        found = under(names, branches)
        assert len(found) == len(branches)
        assert all(len(below) > 0 for below in found.values())
    inside = under(names, BROAD)
    assert names.index("Trumpet") in inside[names.index("Brass instrument")]
    assert names.index("Dog") in inside[names.index("Domestic animals, pets")]
    assert names.index("Wind") not in inside[names.index("Music")]
