"""Loudness, silence, pulse, key, spectrum and sections against made and real sound."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.audio_analysis import (
    CURVE_MAX,
    NOTES,
    AudioAnalysis,
    AudioOptions,
    Sound,
    boundaries,
    curve,
    find_key,
    labelled,
    novelty_curve,
)
from tests.sounds import (
    CLICK,
    HAT,
    KICK,
    SNARE,
    audio_of,
    beat_times,
    cadence,
    chord,
    clicks,
    drums,
    four_on_the_floor,
    noise,
    placed,
    read,
    silence,
    tone,
    voice,
)
from tiktok_ray.analyzer import Analyzer, Skip
from tiktok_ray.media import AUDIO_RATE, Speech
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio import loudness, rhythm, spectra
from tiktok_ray.report import undeclared


def heard(samples: Any, **more: Any) -> Any:
    return AudioAnalysis().analyze(audio_of(samples, **more))


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    music = drums(110, 16) + np.concatenate([cadence(57, minor=True), cadence(60)])
    speech = np.concatenate([silence(1.0), voice(4.0, 140, 6), silence(2.0), noise(4.0, 0.3)])
    beat = np.concatenate([four_on_the_floor(150, 10), chord([64, 68, 71], 4.0)])
    return [
        (AudioAnalysis(), {"audio": audio_of(sound)})
        for sound in (music, speech, beat, silence(3.0), noise(0.2))
    ]


def test_every_field_is_declared():
    assert list(undeclared(Sound)) == []


# --- loudness ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [-36.0, -23.0, -14.0])
def test_a_tone_of_known_loudness(target):
    """EBU Tech 3341: a 997 Hz sine of peak A has 20 lg A - 3.01 LUFS in one channel."""
    sound = heard(tone(997.0, 10.0, 10 ** ((target + 3.01) / 20)))
    assert sound.integrated_lufs == pytest.approx(target, abs=0.1)
    assert sound.max_momentary_lufs == pytest.approx(target, abs=0.1)
    assert sound.max_short_term_lufs == pytest.approx(target, abs=0.1)
    assert sound.true_peak_dbtp == pytest.approx(target + 3.01, abs=0.1)
    assert sound.loudness_range_lu == pytest.approx(0.0, abs=0.1)


@settings(max_examples=15, deadline=None)
@given(
    levels=st.lists(st.floats(-75, -3), min_size=2, max_size=6),
    seed=st.integers(0, 99),
)
def test_integrated_loudness_agrees_with_pyloudnorm(levels, seed):
    import pyloudnorm

    parts = [noise(1.5, 10 ** (level / 20), seed + k) for k, level in enumerate(levels)]
    samples = np.clip(np.concatenate(parts), -1, 1)
    theirs = pyloudnorm.Meter(AUDIO_RATE).integrated_loudness(samples)
    ours = loudness.integrated(audio_of(samples).levels.power)
    if theirs < -69.5:
        assert ours is None or ours < -69
    else:
        assert ours == pytest.approx(theirs, abs=0.1)


def test_the_gates_leave_silence_out():
    loud = tone(997.0, 5.0, 0.1)
    alone = heard(loud).integrated_lufs
    padded = heard(np.concatenate([loud, silence(20.0)])).integrated_lufs
    assert padded == pytest.approx(alone, abs=0.2)


def test_loudness_range_of_two_levels():
    """EBU Tech 3342, test 1: 20 s at -20 then 20 s at -30 LUFS has a range of 10 LU."""
    parts = [tone(997.0, 20.0, 10 ** ((level + 3.01) / 20)) for level in (-20, -30)]
    assert heard(np.concatenate(parts)).loudness_range_lu == pytest.approx(10.0, abs=0.5)
    assert heard(tone(997.0, 5.0)).loudness_range_lu is None


def test_true_peak_lies_between_the_samples():
    between = np.sin(2 * np.pi * AUDIO_RATE / 4 * np.arange(32_000) / AUDIO_RATE + np.pi / 4)
    sound = heard(0.5 * between)
    assert np.abs(0.5 * between).max() == pytest.approx(0.354, abs=0.001)
    assert sound.true_peak_dbtp == pytest.approx(20 * np.log10(0.5), abs=0.3)


def test_the_curve_follows_and_is_undefined_where_there_is_nothing():
    sound = heard(np.concatenate([silence(4.0), tone(997.0, 4.0, 0.1)]))
    series = sound.loudness
    at = dict(zip(series.times, series.momentary, strict=True))
    assert at[2.0] is None
    assert at[6.0] == pytest.approx(-23.0, abs=0.1)
    short = dict(zip(series.times, series.short_term, strict=True))
    assert short[1.0] is None
    assert short[6.0] == pytest.approx(-23.0, abs=0.1)
    assert short[4.0] == pytest.approx(-26.0, abs=0.3)
    assert short[7.0] is None


def test_a_long_curve_is_thinned():
    series = curve([float(k) for k in range(9000)], [float(k) for k in range(8974)])
    assert len(series.times) <= CURVE_MAX
    assert series.times[1] == pytest.approx(series.times[0] + 0.8)
    assert series.momentary[1] == 8.0
    assert series.short_term[2] == 16 - 13


def test_sound_beyond_the_picture_does_not_count():
    loud_later = audio_of(np.concatenate([tone(997.0, 5.5, 0.01), tone(997.0, 5.0, 0.9)]))
    cut = audio_of(tone(997.0, 5.0, 0.01))
    longer = type(cut)(cut.samples, loud_later.levels, cut.present)
    assert AudioAnalysis().analyze(longer).integrated_lufs == pytest.approx(-43.0, abs=0.2)
    assert AudioAnalysis().analyze(longer).true_peak_dbtp == pytest.approx(-40.0, abs=0.2)


# --- silence -----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(start=st.floats(0.5, 3.0), length=st.floats(0.6, 3.0), hiss=st.sampled_from([0.0, 1e-4]))
def test_silences_stand_within_a_tenth_of_a_second(start, length, hiss):
    samples = np.concatenate([tone(440, start), silence(length), tone(300, 1.0)])
    found = heard(samples + noise(len(samples) / AUDIO_RATE, hiss)[: len(samples)]).silences
    assert len(found) == 1
    assert found[0].start == pytest.approx(start, abs=0.05)
    assert found[0].end == pytest.approx(start + length, abs=0.05)


def steps(*levels: float) -> np.ndarray:
    """A tone of 997 Hz at these levels in LUFS, a tenth of a second each."""
    return np.concatenate([tone(997.0, 0.1, 10 ** (level / 20)) for level in levels])


def test_a_level_that_hovers_about_the_limit_is_not_silent():
    hovering = steps(*[-20.0] * 10, *[-49.0, -51.0, -48.5, -51.5] * 5, *[-20.0] * 10)
    assert heard(hovering).silences == []


def test_a_silence_is_not_cut_by_a_single_step_just_over_the_limit():
    (found,) = heard(
        steps(*[-20.0] * 10, *[-60.0] * 5, -48.5, *[-60.0] * 5, *[-20.0] * 10)
    ).silences
    assert found.span == pytest.approx((1.0, 2.1), abs=0.1)


def test_a_quiet_recording_is_not_silent():
    quiet = steps(*[-75.0] * 10, *[-50.0, -54.0, -52.0] * 10)
    (found,) = heard(quiet).silences
    assert found.span == pytest.approx((0.0, 1.0), abs=0.1)


def test_where_somebody_speaks_it_is_not_silent_however_low():
    samples = steps(*[-20.0] * 10, *[-60.0] * 20, *[-20.0] * 10)
    spoken = Speech((Span(1.2, 2.1),))
    (found,) = AudioAnalysis().analyze(audio_of(samples), spoken).silences
    assert found.span == pytest.approx((2.1, 3.0), abs=0.1)


def test_the_threshold_is_a_setting():
    samples = np.concatenate([tone(440, 2.0), tone(440, 2.0, 0.001), tone(440, 2.0)])
    assert len(heard(samples).silences) == 1
    quiet = AudioAnalysis(AudioOptions(silence_lufs=-70.0)).analyze(audio_of(samples))
    assert quiet.silences == []
    assert quiet.silence_below_lufs == -70.0
    brief = AudioAnalysis(AudioOptions(silence_min_s=2.5)).analyze(audio_of(samples))
    assert brief.silences == []


# --- pulse -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bpm", [60, 68, 83, 97, 113, 128, 140, 157, 180])
@pytest.mark.parametrize("pattern", [clicks, drums, four_on_the_floor])
def test_known_tempo_and_beats(pattern, bpm):
    sound = heard(pattern(bpm))
    assert sound.tempo is not None
    assert sound.tempo.bpm == pytest.approx(bpm, rel=0.02)
    assert sound.tempo.pulse_clarity > 0.5
    truth = beat_times(bpm, 15.0)
    off = [min(abs(t - beat) for beat in sound.beats) for t in truth]
    assert max(off) < 0.03
    assert len(sound.beats) == pytest.approx(len(truth), abs=1)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(bpm=st.floats(60, 180), first=st.floats(0, 1), length=st.floats(8, 25))
def test_unambiguous_clicks_at_any_tempo(bpm, first, length):
    sound = heard(placed(length, beat_times(bpm, length, first), CLICK))
    assert sound.tempo is not None
    assert sound.tempo.bpm == pytest.approx(bpm, rel=0.02)


@pytest.mark.parametrize("bpm", [75, 100, 130])
def test_a_beat_under_chords_and_hiss(bpm):
    music = drums(bpm, 16.0) + np.concatenate([cadence(60), cadence(57)]) + noise(16.0, 0.003)
    assert heard(music).tempo.bpm == pytest.approx(bpm, rel=0.02)


@pytest.mark.parametrize("seed", range(6))
def test_noise_and_random_clicks_have_no_pulse(seed):
    gaps = np.random.default_rng(seed).exponential(0.4, 100)
    for samples in (noise(12.0, seed=seed), placed(12.0, np.cumsum(gaps), CLICK)):
        sound = heard(samples)
        assert sound.tempo is None
        assert sound.beats == []


def test_a_tone_and_a_steady_chord_have_no_pulse():
    assert heard(tone(440, 10)).tempo is None
    assert heard(chord([60, 64, 67], 10.0)).tempo is None


def test_beats_stop_with_the_music():
    sound = heard(np.concatenate([clicks(120, 10.0), silence(6.0)]))
    assert sound.tempo.bpm == pytest.approx(120, rel=0.02)
    assert sound.beats[-1] < 10.1


def test_onsets_stand_where_sounds_set_in():
    truth = [0.5, 1.3, 2.0, 2.25, 3.9]
    for hit in (CLICK, KICK, SNARE, HAT):
        found = heard(placed(5.0, truth, hit) + noise(5.0, 1e-4)).onsets
        assert len(found) == len(truth)
        assert np.abs(np.array(found) - truth).max() < 0.02


def test_beats_of_a_known_strength():
    strength = np.zeros(1000)
    strength[10::50] = 1.0
    strength[[260, 510]] = 0.0
    assert rhythm.track_beats(strength, 50.0) == list(range(10, 1000, 50))


def test_nothing_varies_nothing_correlates():
    assert not rhythm.autocorrelation(np.ones(500), 100).any()
    assert rhythm.find_pulse(np.zeros(500), [], 5.0) is None


# --- key ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("minor", [False, True])
@pytest.mark.parametrize("tonic", range(12))
def test_a_cadence_has_its_key(tonic, minor):
    key = heard(cadence(57 + tonic, minor)).key
    assert key is not None
    assert (key.tonic, key.mode) == (NOTES[(9 + tonic) % 12], "minor" if minor else "major")
    assert key.correlation > 0.7
    assert key.runner_up_correlation < key.correlation


@pytest.mark.parametrize("cents", [-40, 40])
def test_a_detuned_instrument_keeps_its_key(cents):
    key = heard(cadence(60, detune=cents / 100)).key
    assert (key.tonic, key.mode) == ("C", "major")


def test_noise_drums_and_gliding_voices_have_no_key():
    for samples in (noise(8.0), drums(100, 8.0), voice(8.0, 150, 12), silence(4.0)):
        assert heard(samples).key is None


def test_flat_pitch_classes_are_no_key():
    assert find_key(np.ones((5, 12)), 0.9) is None
    assert find_key(np.zeros((5, 12)), 0.9) is None


# --- spectrum ----------------------------------------------------------------------------------


def test_spectral_features_of_a_tone_and_of_noise():
    pure = heard(tone(2500, 3.0)).spectrum
    assert pure.centroid_hz == pytest.approx(2500, rel=0.02)
    assert pure.rolloff_hz == pytest.approx(2500, rel=0.03)
    assert pure.flatness < 0.01
    assert (pure.low_share, pure.high_share) == pytest.approx((0, 1), abs=0.01)
    rough = heard(noise(3.0)).spectrum
    assert rough.centroid_hz == pytest.approx(4000, rel=0.05)
    assert rough.flatness > 0.5
    assert rough.bandwidth_hz > 4 * pure.bandwidth_hz


def test_the_centroid_curve_is_null_in_silence():
    spectrum = heard(np.concatenate([tone(1000, 2), silence(2), tone(3000, 2)])).spectrum
    at = dict(zip(spectrum.times, spectrum.centroids_hz, strict=True))
    assert at[0.875] == pytest.approx(1000, rel=0.03)
    assert at[3.125] is None
    assert at[5.125] == pytest.approx(3000, rel=0.03)


@pytest.mark.slow
def test_spectral_features_agree_with_librosa():
    import librosa

    samples = (voice(3.0, 150, 5) + noise(3.0, 0.02)).astype(np.float32)
    ours = spectra.short_frames(samples, AUDIO_RATE)
    stft = np.abs(librosa.stft(samples, n_fft=512, hop_length=160, pad_mode="constant"))
    for mine, theirs in (
        (ours.centroid, librosa.feature.spectral_centroid(S=stft, sr=AUDIO_RATE)),
        (ours.bandwidth, librosa.feature.spectral_bandwidth(S=stft, sr=AUDIO_RATE)),
        (ours.rolloff, librosa.feature.spectral_rolloff(S=stft, sr=AUDIO_RATE)),
        (ours.flatness, librosa.feature.spectral_flatness(S=stft)),
    ):
        np.testing.assert_allclose(mine, theirs[0], rtol=2e-3, atol=1e-4)


# --- sections ----------------------------------------------------------------------------------


def test_sections_that_come_back_share_a_letter():
    verse, chorus = cadence(60, times=2), drums(120, 8.0)
    sound = heard(np.concatenate([verse, chorus, verse]))
    assert [part.label for part in sound.sections] == ["A", "B", "A"]
    assert [part.start for part in sound.sections] == pytest.approx([0, 8, 16], abs=0.5)
    assert sound.sections[0].novelty is None
    assert min(part.novelty for part in sound.sections[1:]) > 0.4


def test_what_stays_alike_is_one_section():
    for samples in (noise(12.0), chord([60, 64, 67], 12.0), silence(12.0)):
        assert len(heard(samples).sections) == 1


def test_novelty_is_one_at_opposites_half_at_strangers_and_zero_in_sameness():
    unlike = np.repeat([[1.0, 0.0], [0.0, 1.0]], 20, axis=0)
    opposite = np.repeat([[1.0, 0.0], [-1.0, 0.0]], 20, axis=0)
    for features, height in ((unlike, 0.5), (opposite, 1.0)):
        novelty = novelty_curve(features)
        assert boundaries(novelty) == [20]
        assert novelty[20] == pytest.approx(height)
    assert boundaries(novelty_curve(np.ones((40, 2)))) == []


def test_labels_go_to_the_one_most_alike():
    a, b = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert labelled([a, b, 0.9 * a + 0.1 * b, b]) == ["A", "B", "A", "B"]


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.floats(0.3, 6.0), min_size=1, max_size=5))
def test_sections_cover_the_whole_without_gaps(lengths):
    parts = [
        tone(200 + 300 * k, length) if k % 2 else noise(length, seed=k)
        for k, length in enumerate(lengths)
    ]
    audio = audio_of(np.concatenate(parts))
    found: Any = AudioAnalysis().analyze(audio).sections
    assert found[0].start == 0
    assert found[-1].end == audio.duration_s
    for before, after in pairwise(found):
        assert before.end == after.start
        assert before.label != after.label


# --- odd sound ---------------------------------------------------------------------------------


def test_silence_is_measured_as_silence():
    sound = heard(silence(5.0))
    assert sound.headline() == "silent"
    assert sound.integrated_lufs is None
    assert sound.true_peak_dbtp is None
    assert [part.span for part in sound.silences] == [(0.0, 5.0)]
    assert sound.silence_share == 1.0
    assert (sound.tempo, sound.key, sound.spectrum) == (None, None, None)
    assert (sound.onsets, sound.beats) == ([], [])
    assert set(sound.loudness.momentary) == {None}


@pytest.mark.parametrize("length", [0.01, 0.1, 0.29, 1.0])
def test_short_sound(length):
    sound = heard(tone(440, length))
    assert sound.tempo is None
    assert (sound.integrated_lufs is None) == (length < 0.3)
    assert sound.sections[-1].end == pytest.approx(length)


def test_sound_shorter_than_the_picture_is_silent_after_its_end():
    sound = heard(tone(440, 4.0), duration=10.0)
    assert [part.span for part in sound.silences] == [pytest.approx((4.0, 10.0), abs=0.05)]
    assert sound.integrated_lufs == pytest.approx(heard(tone(440, 4.0)).integrated_lufs, abs=0.3)


def test_no_sound_at_all_is_skipped():
    with pytest.raises(Skip):
        heard(silence(0.0))
    with pytest.raises(Skip):
        heard(silence(3.0), present=[])


def test_events_are_silences_and_beats():
    sound = heard(np.concatenate([clicks(120, 8.0), silence(2.0)]))
    kinds = [event.kind for event in sound.events()]
    assert kinds.count("beat") == len(sound.beats) > 10
    assert kinds.count("silence") == 1
    assert "120 bpm" in sound.headline()


# --- real sound --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_composite(real_media):
    sound = heard(read(real_media / "video" / "short_vertical_composite.mp4"))
    assert any(s.start <= 9.1 and s.end >= 13.9 for s in sound.silences)
    assert sound.tempo is None
    for truth in (6.0, 9.0, 14.0, 17.0):
        assert min(abs(part.start - truth) for part in sound.sections) < 0.8
    trumpets = [p.label for p in sound.sections if 6 <= p.start < 7 or 16 <= p.start < 18]
    assert len(trumpets) == 2
    assert len(set(trumpets)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "jfk.flac",
        "librispeech_5703-47212-0000.ogg",
        "fw_multilingual.mp3",
        "nasa_13013_8k.mp3",
        "sb_example1.wav",
        "sb_spk1_snt1.wav",
        "esc50_dog.wav",
        "esc50_carhorn.wav",
    ],
)
def test_speech_and_noises_have_neither_pulse_nor_key(real_media, name):
    sound = heard(read(real_media / "audio" / name))
    assert sound.tempo is None
    assert sound.key is None


@pytest.mark.slow
def test_music_has_a_pulse_and_a_key(real_media):
    sound = heard(read(real_media / "audio" / "vibe_ace.ogg"))
    readings = [sound.tempo.bpm, sound.tempo.bpm / 2]
    assert min(abs(reading / 64.6 - 1) for reading in readings) < 0.02
    assert sound.key is not None
    assert heard(read(real_media / "audio" / "trumpet.ogg")).key is not None


@pytest.mark.slow
def test_loudness_at_the_rate_of_the_file(tmp_path):
    """A stereo tone at 48 kHz through the encoder and the decoder: within 0.5 LU and 0.1 s."""
    from tiktok_ray.media import decode
    from tiktok_ray.media.writer import write_clip
    from tiktok_ray.settings import Settings

    t = np.arange(48_000 * 8) / 48_000
    amplitude = 10 ** ((-18.0) / 20) * ((t < 3.0) | (t >= 5.0))
    stereo = np.tile((amplitude * np.sin(2 * np.pi * 997 * t)).astype(np.float32), (2, 1))
    black = [np.zeros((64, 64, 3), np.uint8)] * 80
    path = write_clip(tmp_path / "tone.mp4", black, fps=10, audio=stereo)
    audio = decode(path, {"audio"}, Settings()).tracks["audio"]
    sound = AudioAnalysis().analyze(audio)
    assert sound.integrated_lufs == pytest.approx(-18.0, abs=0.5)
    assert [part.span for part in sound.silences] == [pytest.approx((3.0, 5.0), abs=0.1)]
