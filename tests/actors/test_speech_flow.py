"""Speech flow: rates, pauses, emphasis and fillers of talk whose truth is known."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.speech_flow import Delivery, SpeechFlow, rates, syllable_nuclei
from actors.speech_transcription import Transcript, Word, transcript
from tests.sounds import audio_of, noise
from tests.spoken import buzz, said, speech_of
from tiktok_ray.analyzer import Analyzer, Partial, Skip
from tiktok_ray.media import AUDIO_RATE, detect_speech, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio.emphasis import robust_z
from tiktok_ray.methods.audio.pauses import find_talk, levels
from tiktok_ray.methods.audio.pitch import _above, harmonicity
from tiktok_ray.methods.audio.whisper import Heard, HeardWord
from tiktok_ray.methods.text.fillers import find_fillers, is_hesitation, syllables_of
from tiktok_ray.report import undeclared


def syllable(seconds: float = 0.14, hz: float = 140.0, level: float = 0.1):
    sound = buzz(seconds, hz, level)
    return sound * np.hanning(len(sound)).astype(np.float32) ** 0.3


def speaker(
    words: Sequence[tuple[float, str, dict[str, float]]], seconds: float, background=None
) -> tuple[np.ndarray, list[HeardWord]]:
    """One syllable a word at the given times, 0.02 s of silence inside each end of a word."""
    sound = np.zeros(round(seconds * AUDIO_RATE), np.float32)
    if background is not None:
        sound += background[: len(sound)]
    heard = []
    for start, text, how in words:
        piece = syllable(**how)
        first = round((start + 0.02) * AUDIO_RATE)
        sound[first : first + len(piece)] += piece
        heard.append(HeardWord(" " + text, start, start + len(piece) / AUDIO_RATE + 0.04, 0.9))
    return sound, heard


def even(count: int, start: float = 0.5, step: float = 0.25, **how: float):
    """So many words ``wort`` at even steps, each a little different in level and pitch."""
    return [
        (
            start + k * step,
            "wort",
            {"hz": 138.0 + 2 * (k % 3), "level": 0.1 + 0.004 * (k % 4), **how},
        )
        for k in range(count)
    ]


def _inputs(
    sound, heard: list[HeardWord] | None, *speech: tuple[float, float], language: str = "de"
) -> dict[str, Any]:
    audio, track = audio_of(sound), speech_of(*speech)
    known = None if heard is None else Heard(language, 0.9, heard)
    script = transcript(known, audio, list(track.spans))
    return {"audio": audio, "speech": track, "speech_transcription": script}


def _run(**inputs: Any) -> tuple[Delivery, dict[str, str]]:
    out = SpeechFlow().analyze(**inputs)
    if isinstance(out, Partial):
        assert isinstance(out.output, Delivery)
        return out.output, {one.part: one.reason for one in out.missing}
    return out, {}


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    loud = {"hz": 190.0, "level": 0.3, "seconds": 0.3}
    talk = [*even(8), (2.5, "Ähm,", {}), (3.2, "JETZT", loud), (3.8, "also,", {}), *even(5, 4.4)]
    first, heard = speaker(talk, 8.0)
    first[round(7.0 * AUDIO_RATE) :] += syllable(1.0, 150)
    one = _inputs(first, heard, (0.45, 5.7), (6.95, 7.95))

    other = [*even(9, 0.5, 0.3), (3.4, "NOW", loud), (3.9, "THIS", loud | {"level": 0.25})]
    other += [(6.5, "um", {}), (6.8, "like,", {}), *even(4, 12.0)]
    second, heard = speaker(other, 16.0, noise(16.0, 0.004).astype(np.float32))
    second[round(4.7 * AUDIO_RATE) : round(6.3 * AUDIO_RATE)] += buzz(1.6, 330.0, 0.08, 3)
    two = _inputs(second, heard, (0.45, 4.3), (6.45, 7.2), (11.95, 13.3), language="en")
    third, _ = speaker(even(6, 0.4, 0.4), 5.0, noise(5.0, 0.02).astype(np.float32))
    third[round(3.3 * AUDIO_RATE) : round(4.2 * AUDIO_RATE)] += buzz(0.9, 260.0, 0.1)
    third[round(4.5 * AUDIO_RATE) : round(4.7 * AUDIO_RATE)] += buzz(0.2, 150.0)
    three = _inputs(third, None, (0.4, 2.7), (4.45, 4.75))
    return [(SpeechFlow(), one), (SpeechFlow(), two), (SpeechFlow(), three)]


def test_every_field_is_declared():
    assert list(undeclared(Delivery)) == []


# --- rates -------------------------------------------------------------------------------------


def test_words_are_counted_with_and_without_pauses():
    sound, heard = speaker([*even(10, 1.0, 0.2), *even(10, 5.0, 0.2)], 8.0)
    out, missing = _run(**_inputs(sound, heard, (1.0, 3.0), (5.0, 7.0)))
    assert missing == {}
    assert out.counted == "words"
    assert out.talk_s == pytest.approx(6.0, abs=0.1)
    assert out.speaking_rate == pytest.approx(60 * 20 / 6.0, rel=0.03)
    assert out.articulation_rate == pytest.approx(60 * 20 / 4.0, rel=0.03)
    assert out.syllables == 20
    assert out.syllables_per_s == pytest.approx(5.0, rel=0.03)


def test_the_rate_follows_the_speaker():
    words = [*even(20, 1.0, 0.5), *even(50, 11.0, 0.2)]
    sound, heard = speaker(words, 22.0)
    out, _ = _run(**_inputs(sound, heard, (1.0, 21.0)))
    curve = dict(zip(out.rates.times, out.rates.speaking, strict=True))
    assert curve[min(curve)] == pytest.approx(120, rel=0.1)
    assert curve[max(curve)] == pytest.approx(300, rel=0.1)
    assert out.rates.window_s == 5.0


def test_hesitations_are_no_words_of_the_rate():
    words = even(12, 1.0, 0.25)
    sound, heard = speaker(words, 5.0)
    plain, _ = _run(**_inputs(sound, heard, (1.0, 4.0)))
    heard[3] = heard[3]._replace(text=" ähm")
    held, _ = _run(**_inputs(sound, heard, (1.0, 4.0)))
    assert plain.speaking_rate
    assert held.speaking_rate == pytest.approx(11 / 12 * plain.speaking_rate)


def test_without_words_syllables_are_counted_and_it_says_so():
    sound, _ = speaker(even(12, 1.0, 0.25), 5.0)
    for script in (None, _inputs(sound, None, (1.0, 4.0))["speech_transcription"]):
        out, missing = _run(
            audio=audio_of(sound), speech=speech_of((1.0, 4.0)), speech_transcription=script
        )
        assert out.counted == "syllables"
        assert out.syllables == 12
        assert out.speaking_rate == pytest.approx(60 * 12 / 2.9, rel=0.05)
        assert (out.emphasis, out.fillers, out.fillers_per_100_words) == (None, None, None)
        assert set(missing) == {"emphasis", "fillers"}
        named = "no words" if script else "no output"
        assert missing["fillers"] == missing["emphasis"]
        assert missing["fillers"].endswith(named)


def test_unvoiced_noise_has_no_syllables():
    bursts = np.zeros(3 * AUDIO_RATE, np.float32)
    for k in range(8):
        first = round((0.5 + 0.25 * k) * AUDIO_RATE)
        bursts[first : first + 2000] = noise(2000 / AUDIO_RATE)
    assert len(syllable_nuclei(bursts, levels(bursts), [Span(0.5, 2.5)])) == 0


@pytest.mark.parametrize(
    ("text", "language", "count"),
    [
        ("My brother has a little yellow banana under the table", "en", 16),
        ("Meine Mutter hat gestern eine kleine gelbe Banane gegessen", "de", 20),
    ],
)
def test_syllables_of_a_spoken_sentence(text, language, count):
    sound, words = said([(0.3, text)], 6.0, language, rate=130)
    nuclei = syllable_nuclei(sound, levels(sound), [Span(0.25, words[-1].end + 0.05)])
    assert len(nuclei) == pytest.approx(count, abs=0.25 * count)


def test_under_a_second_there_is_no_rate():
    sound, heard = speaker(even(2, 0.2), 1.0)
    out, missing = _run(**_inputs(sound, heard, (0.2, 0.7)))
    assert (out.speaking_rate, out.articulation_rate, out.pauses_per_minute) == (None, None, None)
    assert "too few" in missing["emphasis"]
    assert out.headline() == "no pauses"


# --- pauses ------------------------------------------------------------------------------------


def test_a_pause_has_its_time_length_and_kind():
    sound, heard = speaker([*even(8, 1.0), *even(8, 4.0)], 7.0)
    out, _ = _run(**_inputs(sound, heard, (0.95, 3.0), (3.95, 6.0)))
    (pause,) = out.pauses
    assert (pause.start, pause.end) == pytest.approx((2.91, 4.02), abs=0.05)
    assert pause.length_s == pytest.approx(pause.end - pause.start)
    assert (pause.kind, pause.drop_db > 60) == ("silent", True)
    assert out.pause_share == pytest.approx(pause.length_s / out.talk_s)
    assert out.pause_median_s == pause.length_s
    (event,) = out.events()
    assert (event.kind, event.label, event.start) == ("pause", "silent pause", pause.start)


def test_a_pause_inside_a_span_of_speech_is_found():
    sound, heard = speaker([*even(8, 1.0), *even(8, 3.4)], 6.0)
    out, _ = _run(**_inputs(sound, heard, (1.0, 5.5)))
    (pause,) = out.pauses
    assert (pause.start, pause.end) == pytest.approx((2.91, 3.42), abs=0.05)


def test_a_pause_over_other_sound_is_a_background_pause():
    hum = noise(7.0, 0.02).astype(np.float32)
    sound, heard = speaker([*even(8, 1.0), *even(8, 4.0)], 7.0, hum)
    out, _ = _run(**_inputs(sound, heard, (0.95, 2.95), (3.95, 6.0)))
    (pause,) = out.pauses
    assert pause.kind == "background"
    assert 5 < pause.drop_db < 20


@pytest.mark.parametrize("name", ["one tone", "a chord"])
def test_a_gap_that_music_fills_is_no_pause(name):
    sound, heard = speaker([*even(8, 1.0), *even(8, 6.0)], 9.0)
    tones = [220.0] if name == "one tone" else [220.0, 277.2, 329.6]
    music = sum(buzz(2.5, hz, 0.1 / len(tones), 4) for hz in tones)
    sound[round(3.2 * AUDIO_RATE) : round(5.7 * AUDIO_RATE)] += music
    out, _ = _run(**_inputs(sound, heard, (0.95, 2.95), (5.95, 8.0)))
    assert out.pauses == []
    (gap,) = out.interludes
    assert gap.filled_s == pytest.approx(2.5, abs=0.1)
    assert gap.harmonicity > (0.95 if name == "one tone" else 0.45)
    assert out.talk_s == pytest.approx(3.9, abs=0.15)


def test_soft_music_under_the_talk_leaves_its_pauses():
    music = buzz(9.0, 220.0, 0.01, 4)
    sound, heard = speaker([*even(8, 1.0), *even(8, 4.0)], 7.0, music)
    out, _ = _run(**_inputs(sound, heard, (0.95, 2.95), (3.95, 6.0)))
    assert [pause.kind for pause in out.pauses] == ["background"]
    assert out.interludes == []


def test_loud_noise_in_a_gap_is_no_music():
    sound, heard = speaker([*even(8, 1.0), *even(8, 6.0)], 9.0)
    sound[round(3.2 * AUDIO_RATE) : round(5.7 * AUDIO_RATE)] += noise(2.5, 0.1)
    out, _ = _run(**_inputs(sound, heard, (0.95, 2.95), (5.95, 8.0)))
    assert out.interludes == []
    assert [pause.kind for pause in out.pauses] == ["break"]


def test_a_break_is_listed_and_counts_in_no_rate():
    sound, heard = speaker([*even(8, 1.0), *even(8, 9.0)], 12.0)
    out, _ = _run(**_inputs(sound, heard, (0.95, 2.95), (8.95, 11.0)))
    assert [pause.kind for pause in out.pauses] == ["break"]
    assert out.talk_s == pytest.approx(3.8, abs=0.15)
    assert (out.pauses_per_minute, out.pause_share, out.pause_median_s) == (0, 0, None)
    assert [event.label for event in out.events()] == ["break in the talk"]


def test_a_hesitation_joins_the_gaps_beside_it_to_a_filled_pause():
    words = [*even(8, 1.0), (3.3, "Ähm,", {}), *even(8, 4.0)]
    sound, heard = speaker(words, 7.0)
    out, _ = _run(**_inputs(sound, heard, (0.95, 2.95), (3.25, 3.55), (3.95, 6.0)))
    (pause,) = out.pauses
    assert pause.kind == "filled"
    assert (pause.start, pause.end) == pytest.approx((2.91, 4.02), abs=0.05)


def test_sound_before_and_after_the_talk_is_no_pause():
    sound, heard = speaker(even(8, 3.0), 9.0)
    out, _ = _run(**_inputs(sound, heard, (2.95, 4.95)))
    assert (out.pauses, out.interludes) == ([], [])


def test_nobody_speaking_is_nothing_to_analyze():
    with pytest.raises(Skip):
        SpeechFlow().analyze(audio_of(noise(2)), speech_of(), None)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0.05, 3)), min_size=1, max_size=6),
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), max_size=3),
    st.integers(0, 2),
)
def test_talk_pauses_and_interludes_never_overlap(spoken, hesitations, seed):
    sound = noise(10.0, 0.02, seed).astype(np.float32)
    sound[40_000:90_000] += buzz(50_000 / AUDIO_RATE, 200.0, 0.1)
    audio = audio_of(sound)
    speech = spans.intersect([(a, a + b) for a, b in spoken], [(0.0, 10.0)])
    held = [(a, a + b) for a, b in hesitations]
    talk = find_talk(audio, levels(audio.samples), spans.longer(speech, 0.05) or [Span(0, 1)], held)
    pauses = [pause.span for pause in talk.pauses]
    assert sum(end - start for start, end in pauses) == pytest.approx(spans.total(pauses))
    assert spans.overlap(pauses, [one.span for one in talk.interludes]) < 1e-6
    assert spans.overlap(talk.phonation, pauses) < 1e-6
    assert spans.total(spans.subtract(talk.extent, [talk.whole])) < 1e-6


def test_what_is_under_100_hz_is_taken_out_as_scipy_does_it():
    from scipy.signal import butter, sosfiltfilt

    sound = noise(1.0).astype(np.float32)
    ours = _above(sound, 100.0)
    theirs = sosfiltfilt(butter(1, 100, "high", fs=16000, output="sos"), sound)
    assert ours[400:-400] == pytest.approx(theirs[400:-400], abs=1e-6)


def test_harmonicity_tells_pitch_from_noise():
    _, tones = harmonicity(buzz(1.0, 150.0))
    _, hiss = harmonicity(noise(1.0).astype(np.float32))
    brown = np.cumsum(noise(1.0)).astype(np.float32)
    _, rumble = harmonicity(brown)
    assert np.median(tones) > 0.95
    assert np.percentile(hiss, 95) < 0.4
    assert np.median(rumble) < 0.5


# --- emphasis ----------------------------------------------------------------------------------


def _emphasis(**how: float) -> list[str]:
    words = even(12)
    words[6] = (words[6][0], "WICHTIG", words[6][2] | how)
    words = words[:7] + [(t + 0.3, text, h) for t, text, h in words[7:]]
    sound, heard = speaker(words, 6.0)
    out, _ = _run(**_inputs(sound, heard, (0.45, 4.5)))
    assert out.emphasis is not None
    return [one.word for one in out.emphasis]


def test_a_word_louder_and_higher_or_longer_stands_out():
    assert _emphasis(level=0.3, hz=190.0) == ["WICHTIG"]
    assert _emphasis(level=0.3, seconds=0.4) == ["WICHTIG"]


def test_one_sign_alone_is_no_emphasis():
    assert _emphasis() == []
    assert _emphasis(level=0.3) == []
    assert _emphasis(seconds=0.4) == []


def test_scores_are_against_the_speaker_not_absolute():
    words = [(t, w, h | {"level": h["level"] * 0.3}) for t, w, h in even(12)]
    words[6] = (words[6][0], "DA", {"level": 0.1, "hz": 180.0})
    sound, heard = speaker(words, 6.0)
    out, _ = _run(**_inputs(sound, heard, (0.45, 4.0)))
    (one,) = out.emphasis or []
    assert one.word == "DA"
    assert one.score == pytest.approx(
        np.mean([z for z in (one.energy_z, one.pitch_z, one.length_z) if z is not None])
    )


def test_robust_z():
    z = robust_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0, np.nan]), 0.1)
    assert z[2] == 0
    assert z[4] == pytest.approx(97 / 1.4826)
    assert np.isnan(z[5])
    assert robust_z(np.array([5.0, 5.0, 6.0]), 0.5)[2] == pytest.approx(2.0)


# --- fillers -----------------------------------------------------------------------------------


def _text(text: str, step: float = 0.3, gaps: dict[int, float] | None = None) -> list[Word]:
    words, t = [], 0.0
    for k, one in enumerate(text.split()):
        t += (gaps or {}).get(k, 0.0)
        words.append(Word(start=t, end=t + step, text=one, probability=0.9))
        t += step
    return words


@pytest.mark.parametrize(
    ("language", "text", "found"),
    [
        ("de", "Ähm, ich äh wollte öhm gehen, hm.", ["ähm", "äh", "öhm", "hm"]),
        ("de", "Das ist, halt, so.", ["halt"]),
        ("de", "Das ist halt so.", []),
        ("de", "Halt! Stehen bleiben.", []),
        ("de", "Wir machen in Anhalt halt, genau dort, Pause", []),
        ("de", "Er geht um das Haus", []),
        ("de", "Also, weißt du, es geht", ["also", "weißt du"]),
        ("de", "Na ja, sag ich mal, gut", ["na ja", "sag ich mal"]),
        ("en", "Um, I was, like, uh there erm and, you know, it's hmm",
         ["um", "like", "uh", "erm", "you know", "hmm"]),
        ("en", "I like you. You know him.", []),
        ("en", "An umbrella, a human, the album", []),
        ("en", "“Uh,” he said", ["uh"]),
        ("en", "Well, that went well, I mean, sort of", ["well", "i mean", "sort of"]),
    ],
)  # fmt: skip
def test_fillers_with_word_boundaries(language, text, found):
    assert [one.text for one in find_fillers(_text(text), language)] == found


def test_gaps_isolate_too():
    text = "das ist halt so"
    assert find_fillers(_text(text, gaps={2: 0.3}), "de") == []
    (one,) = find_fillers(_text(text, gaps={2: 0.3, 3: 0.3}), "de")
    assert one.kind == "marker"
    assert one.span == pytest.approx((0.9, 1.2))


def test_languages_do_not_mix():
    assert not is_hesitation("um", "de")
    assert is_hesitation("Um,", "en")
    assert not is_hesitation("ähm", "fr")
    with pytest.raises(KeyError):
        find_fillers(_text("euh bonjour"), "fr")


def test_a_language_without_a_list_is_said_to_be_missing():
    sound, heard = speaker(even(10, 1.0), 5.0)
    out, missing = _run(**_inputs(sound, heard, (1.0, 4.0), language="fr"))
    assert list(missing) == ["fillers"]
    assert "'fr'" in missing["fillers"]
    assert out.fillers is None
    assert out.emphasis == []


def test_fillers_per_100_words():
    words = [*even(9, 1.0), (3.4, "ähm,", {})]
    sound, heard = speaker(words, 5.0)
    out, _ = _run(**_inputs(sound, heard, (1.0, 4.0)))
    assert out.fillers_per_100_words == pytest.approx(10.0)
    assert "1 filler" in out.headline()


@pytest.mark.parametrize(
    ("word", "language", "count"),
    [
        ("Straße", "de", 2), ("Bäume", "de", 2), ("Ähm,", "de", 1), ("fünfundzwanzig", "de", 4),
        ("banana", "en", 3), ("like", "en", 1), ("table", "en", 2), ("25", "de", None),
        ("hm", "de", None),
    ],
)  # fmt: skip
def test_syllables_of_a_word(word, language, count):
    assert syllables_of(word, language) == count


# --- real and spoken sound -----------------------------------------------------------------------


def test_a_voice_that_pauses_is_heard_to_pause():
    parts = [
        (0.5, "Today we will bake a very simple bread."),
        (4.5, "First you need some flour and a little water."),
    ]
    sound, words = said(parts, 8.5)
    sound = sound + noise(8.5, 0.0005).astype(np.float32)
    audio = audio_of(sound)
    first_end = max(word.end for word in words if word.start < 4.0)
    heard = [HeardWord(" " + w.text, w.start, w.end, 0.9) for w in words]
    speech = detect_speech(audio)
    script = transcript(Heard("en", 0.9, heard), audio, list(speech.spans))
    out, missing = _run(audio=audio, speech=speech, speech_transcription=script)
    assert missing == {}
    longest = max(out.pauses, key=lambda pause: pause.length_s)
    assert (longest.start, longest.end) == pytest.approx((first_end, 4.5), abs=0.12)
    assert longest.kind == "silent"
    assert out.articulation_rate
    assert out.speaking_rate
    assert out.articulation_rate > out.speaking_rate
    assert out.fillers == []


@pytest.mark.slow
def test_the_composite_has_an_interlude_where_its_truth_has_music(real_media):
    from tiktok_ray.media import decode
    from tiktok_ray.settings import Settings

    path = real_media / "video" / "short_vertical_composite.mp4"
    tracks = decode(path, {"audio", "speech"}, Settings()).tracks
    out, missing = _run(audio=tracks["audio"], speech=tracks["speech"], speech_transcription=None)
    (gap,) = out.interludes
    assert (gap.start, gap.end) == pytest.approx((5.4, 14.6), abs=0.15)
    assert 2.0 < gap.filled_s <= 3.1
    (pause,) = out.pauses
    assert (pause.start, pause.end) == pytest.approx((2.1, 3.6), abs=0.15)
    assert pause.kind == "silent"
    assert out.syllables == pytest.approx(20, abs=6)
    assert set(missing) == {"emphasis", "fillers"}


def test_rates_in_windows_say_where_too_little_is_said():
    whole = Span(0.0, 12.0)
    audio = audio_of(np.concatenate([buzz(3.0), np.zeros(6 * AUDIO_RATE), buzz(3.0)]))
    talk = find_talk(audio, levels(audio.samples), [Span(0.0, 3.0), Span(9.0, 12.0)])
    assert talk.whole == pytest.approx(whole, abs=0.05)
    found = rates(np.arange(0.1, 3.0, 0.2), talk)
    assert found.speaking[0] == pytest.approx(300, rel=0.1)
    assert None in found.speaking
    assert found.speaking[-1] == 0


def test_two_videos_do_not_touch_each_other_and_inputs_are_left_alone():
    analyzer = SpeechFlow()
    inputs = [one for _, one in varied()]
    before = [one["audio"].samples.copy() for one in inputs]
    first = analyzer.analyze(**inputs[0])
    for one in inputs[1:]:
        analyzer.analyze(**one)
    assert analyzer.analyze(**inputs[0]) == first
    for one, samples in zip(inputs, before, strict=True):
        assert np.array_equal(one["audio"].samples, samples)


def test_outputs_survive_json():
    for _, one in varied():
        out, _ = _run(**one)
        assert Delivery.model_validate_json(out.model_dump_json()) == out
        script: Transcript = one["speech_transcription"]
        assert Transcript.model_validate_json(script.model_dump_json()) == script
