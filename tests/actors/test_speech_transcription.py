"""Transcription: what is fed, what is kept, and how it is put together."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import groupby, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import speech_transcription
from actors.cross_analyzer_intelligence.sources import Sources
from actors.speech_flow import SpeechFlow
from actors.speech_transcription import (
    CHECKPOINTS,
    SPANS_ONLY,
    WORDLESS_S,
    SpeechTranscription,
    Transcript,
    TranscriptionOptions,
    pitch_of,
    segments,
    transcript,
)
from tests import made_outputs as made
from tests.sounds import audio_of, noise
from tests.spoken import Timbre, buzz, said, speech_of
from tests.tiny_whisper import tiny_whisper
from tiktok_ray.analyzer import Analyzer, Partial, Skip
from tiktok_ray.exports.captions import words_json
from tiktok_ray.media import Audio, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio.speakers import Turn, turns
from tiktok_ray.methods.audio.whisper import (
    ENCODING_TOKENS,
    READING_TOKENS,
    TOKENS_PER_S,
    WINDOW_S,
    Allowance,
    Asked,
    Heard,
    HeardWord,
    Whisper,
    doubtful,
    preload_cublas,
    stretches,
    windows,
)
from tiktok_ray.methods.onnx_export import ExportFailed
from tiktok_ray.report import undeclared


class Ear:
    """Stands for a model: one word for every loud stretch, named after its loudness.

    ``deaf`` are spans in which it hears nothing unless they are given to it on their own.
    """

    english_only = False

    def __init__(self, language: str = "en", deaf: Sequence[tuple[float, float]] = ()) -> None:
        self.language, self.deaf = language, deaf
        self.calls: list[tuple[list[Span], Asked]] = []

    def hear(self, audio, stretches, asked):
        self.calls.append((list(stretches), asked))
        words = []
        for stretch in stretches:
            sound = audio.cut(*stretch)
            power = (sound[: len(sound) // 800 * 800].reshape(-1, 800) ** 2).mean(1)
            times = stretch.start + np.arange(len(power)) * 0.05
            for start, end in spans.runs(times, power > 1e-3, stretch.end):
                loud = float(np.sqrt((audio.cut(start, end) ** 2).mean()))
                if stretch.length < 3 or not spans.covers(self.deaf, start):
                    words.append(
                        HeardWord(
                            f" word{round(100 * loud)}.", start, end, min(1.0, loud),
                            loud < 0.08, self.language,
                        )
                    )  # fmt: skip
        found = asked.language or self.language
        return Heard(found, None if asked.language else 0.5 + len(words) / 100, words)


def _ready(ear: Ear | None, **options: Any) -> SpeechTranscription:
    analyzer = SpeechTranscription(TranscriptionOptions(**options))
    analyzer.recogniser = ear
    analyzer.encoder = Timbre()
    return analyzer


def _told(result: Any) -> Transcript:
    """The transcript of a result, whole or in part."""
    output = result.output if isinstance(result, Partial) else result
    assert isinstance(output, Transcript)
    return output


def _bursts(*at: float, seconds: float = 10.0, hz: float = 150.0):
    sound = np.zeros(round(seconds * 16_000), np.float32)
    for start in at:
        first = round(start * 16_000)
        sound[first : first + 8_000] = buzz(0.5, hz)[: len(sound) - first]
    return sound


def _dialogue() -> np.ndarray:
    """A low voice for 4 s, a high one until 7 s, the low one again until 9 s."""
    return np.concatenate([buzz(4.0, 120.0), buzz(3.0, 320.0), buzz(2.0, 120.0)])


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    return [
        (
            _ready(Ear("de")),
            {"audio": audio_of(_bursts(1.0, 2.0)), "speech": speech_of((0.9, 2.6), (4.0, 5.0))},
        ),
        (
            _ready(Ear("en")),
            {
                "audio": audio_of(
                    np.pad(
                        _bursts(0.5, 3.0, 6.0, seconds=8, hz=220) + buzz(8, 250, 0.05), (0, 32_000)
                    )
                ),
                "speech": speech_of((0.4, 1.1), (5.9, 6.6), (8.5, 9.5)),
            },
        ),
        (
            _ready(Ear()),
            {"audio": audio_of(_dialogue()), "speech": speech_of((0.0, 4.0), (4.2, 9.0))},
        ),
        (
            _ready(None),
            {"audio": audio_of(noise(4)), "speech": speech_of((1.0, 2.0))},
        ),
        (_ready(Ear()), _before(_bursts(0.5, 1.5, seconds=3), (-2.6, -0.9))),
        (_ready(Ear()), _before(0.5 * _bursts(1.0, seconds=2), (-1.1, -0.4))),
    ]


def _before(lead: Any, *spoken: tuple[float, float]) -> dict[str, Any]:
    """Speech after the first picture, and before it in a sound that ends where that begins."""
    audio = replace(audio_of(_bursts(1.0)), before=np.asarray(lead, np.float32))
    before = tuple(Span(*span) for span in spoken)
    return {"audio": audio, "speech": replace(speech_of((0.9, 1.6)), before=before)}


def test_speech_before_the_first_picture_has_negative_times():
    found = _ready(Ear()).analyze(**_before(_bursts(0.5, 1.5, seconds=3), (-2.6, -0.9)))
    assert [(b.start, b.end) for b in found.before] == [
        (pytest.approx(-2.5, abs=0.11), pytest.approx(-2.0, abs=0.11)),
        (pytest.approx(-1.5, abs=0.11), pytest.approx(-1.0, abs=0.11)),
    ]
    assert all(b.text.startswith("word") for b in found.before if b.text)
    assert found.word_count == 1


def test_speech_may_all_lie_before_the_first_picture():
    given = _before(_bursts(0.5, seconds=3), (-2.6, -1.9))
    given["speech"] = replace(given["speech"], spans=())
    found = _ready(Ear()).analyze(**given)
    assert len(found.before) == 1
    assert found.speech == []


def test_every_field_is_declared():
    assert list(undeclared(Transcript)) == []


# --- what is fed -------------------------------------------------------------------------------


def test_what_lies_far_from_speech_is_not_read():
    audio = audio_of(np.zeros(16_000 * 100, np.float32))
    assert stretches([(40.0, 42.0)], audio) == [pytest.approx((25.0, 57.0))]
    assert stretches([(5.0, 6.0), (30.0, 31.0), (80.0, 99.0)], audio) == [
        pytest.approx((0.0, 46.0)), pytest.approx((65.0, 100.0))
    ]  # fmt: skip


def test_speech_without_words_is_read_again_on_its_own():
    ear = Ear(deaf=[(5.9, 6.6)])
    audio = audio_of(_bursts(1.0, 6.0))
    out = _told(_ready(ear).analyze(audio, speech_of((1.0, 1.5), (6.0, 6.5))))
    (first, asked), (second, again) = ear.calls
    assert first == [(0.0, 10.0)]
    assert second == [pytest.approx((5.8, 6.7))]
    assert (asked.carry, again.carry, again.language) == (True, False, "en")
    assert [word.start for word in out.words] == pytest.approx([1.0, 6.0], abs=0.06)
    assert out.wordless == []


def test_speech_with_words_is_read_once():
    ear = Ear()
    _ready(ear).analyze(audio_of(_bursts(1.0, 6.0)), speech_of((1.0, 1.5), (6.0, 6.5)))
    assert len(ear.calls) == 1


def test_what_stays_without_words_is_named_with_its_times():
    sound = _bursts(1.0, 2.5)
    out = _told(_ready(Ear()).analyze(audio_of(sound), speech_of((0.9, 4.0), (5.0, 5.4))))
    assert [part.span for part in out.wordless] == [
        pytest.approx((1.5, 2.5), abs=0.1), pytest.approx((3.0, 4.0), abs=0.06), (5.0, 5.4)
    ]  # fmt: skip
    short = _told(_ready(Ear(), wordless_s=2.0).analyze(audio_of(sound), speech_of((0.9, 4.0))))
    assert short.wordless == []
    assert WORDLESS_S == 0.8


def test_spans_close_together_are_fed_in_one_piece():
    cut = windows([(1.0, 2.0), (3.5, 5.0), (9.0, 9.5)], audio_of(noise(10)))
    assert cut == [pytest.approx((0.8, 5.2)), pytest.approx((8.8, 9.7))]


def test_a_long_span_is_cut_where_it_is_weakest():
    sound = noise(60)
    sound[round(24.0 * 16_000) : round(24.3 * 16_000)] *= 0.01
    cut = windows([(0.0, 60.0)], audio_of(sound))
    assert 24.0 < cut[0].end < 24.3
    assert cut[0].end == cut[1].start
    assert cut[-1].end == 60.0


@cache
def hiss(seed):
    """A hundred seconds."""
    return audio_of(noise(100, seed=seed))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 70)), min_size=1, max_size=8),
    st.integers(0, 3),
)
def test_windows_cover_all_speech_once_and_fit_the_model(pairs, seed):
    audio = hiss(seed)
    speech = spans.intersect([(a, a + b) for a, b in pairs], [(0.0, 100.0)])
    cut = windows(speech, audio)
    assert all(0 < w.length <= WINDOW_S + 1e-6 for w in cut)
    assert all(a.end <= b.start + 1e-9 for a, b in pairwise(cut))
    assert spans.total(spans.subtract(speech, cut)) < 1e-6
    assert bool(cut) == bool(speech)  # a span that begins with the end of the sound is none
    assert all(w.start >= 0 for w in cut)
    assert all(w.end <= 100.0 for w in cut)


def test_options_reach_the_model():
    ear = Ear()
    analyzer = _ready(ear, language="de", beam_size=2)
    out = _told(analyzer.analyze(audio_of(_bursts(1.0)), speech_of((1.0, 1.5))))
    assert ear.calls[0][1] == Asked(language="de", beam_size=2)
    assert (out.language, out.language_probability) == ("de", None)
    with pytest.raises(ValueError, match="language"):
        TranscriptionOptions(language="Deutsch!")


def test_all_options_reach_the_model():
    ear = Ear()
    told = {"several_languages": True, "task": "translate", "prompt": "A", "hotwords": "B"}
    out = _told(_ready(ear, **told).analyze(audio_of(_bursts(1.0)), speech_of((1.0, 1.5))))
    assert ear.calls[0][1] == Asked(several=True, task="translate", prompt="A", hotwords="B")
    assert (out.language, out.text_language, out.translated) == ("en", "en", False)


def test_a_translation_is_told_from_what_is_said():
    audio, speech = audio_of(_bursts(1.0)), speech_of((1.0, 1.5))
    out = _told(_ready(Ear("de"), task="translate").analyze(audio, speech))
    assert (out.language, out.text_language, out.translated) == ("de", "en", True)
    assert out.segments[0].language == "de"
    assert "de in en" in out.headline()
    assert json.loads(words_json(out))["language"] == "en"
    assert {word["language"] for word in json.loads(words_json(out))["words"]} == {"en"}
    delivery = SpeechFlow().analyze(audio, speech, out)
    assert delivery.output.counted == "syllables"
    assert "translation" in delivery.missing[0].reason
    assert Sources(video=made.video(), speech_transcription=out).words is None
    as_said = _told(_ready(Ear("de")).analyze(audio, speech))
    assert Sources(video=made.video(), speech_transcription=as_said).words


def _names(**options: Any) -> list[str]:
    return [v.name for v in SpeechTranscription.variants_for(TranscriptionOptions(**options))]


def test_checkpoints_are_taken_by_name():
    assert _names() == ["large-v3-turbo", "base-int8", "tiny-int8", "spans-only"]
    assert _names(language="en") == [
        "large-v3-turbo", "base.en-int8", "base-int8", "tiny.en-int8", "tiny-int8", "spans-only"
    ]  # fmt: skip
    for name in CHECKPOINTS:
        language = "en" if name.endswith(".en") else None
        assert _names(checkpoint=name, language=language)[0] == f"{name}-int8"
    assert _names(checkpoint="me/my-whisper") == ["my-whisper", "spans-only"]


def test_a_checkpoint_of_ones_own_lies_where_its_path_says(tmp_path):
    (own, _) = SpeechTranscription.variants_for(TranscriptionOptions(checkpoint=str(tmp_path)))
    assert own.weights["whisper"].locate(Path("/nowhere")) is None
    for name in ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt"):
        (tmp_path / name).write_text("{}")
    assert own.weights["whisper"].locate(Path("/nowhere")) == tmp_path


def test_a_checkpoint_for_english_is_refused_for_all_else():
    for language in (None, "de"):
        with pytest.raises(ValueError, match=r"tiny\.en supports English only"):
            TranscriptionOptions(checkpoint="tiny.en", language=language)
    with pytest.raises(ValueError, match="unknown checkpoint 'huge'"):
        TranscriptionOptions(checkpoint="huge")
    with pytest.raises(ValueError, match="not translated"):
        TranscriptionOptions(language="en", task="translate")


def test_weights_that_turn_out_to_know_english_only_give_no_words_in_an_unknown_language():
    ear = Ear()
    ear.english_only = True
    audio, speech = audio_of(_bursts(1.0)), speech_of((1.0, 1.5))
    result = _ready(ear).analyze(audio, speech)
    assert isinstance(result, Partial)
    assert isinstance(result.output, Transcript)
    assert result.output.segments is None
    assert "supports English only" in result.missing[0].reason
    assert ear.calls == []
    assert _ready(ear, language="en").analyze(audio, speech).word_count == 1


# --- what is kept ------------------------------------------------------------------------------


def test_words_where_nobody_speaks_are_left_out_and_counted():
    out = _told(
        _ready(Ear()).analyze(audio_of(_bursts(1.0, 2.5)), speech_of((0.9, 1.6), (3.3, 3.5)))
    )
    assert [word.start for word in out.words] == [pytest.approx(1.0, abs=0.06)]
    assert out.words_dropped == 1


# --- how it is put together --------------------------------------------------------------------


def _words(text: str, step: float = 0.4) -> list[HeardWord]:
    parts = text.split()
    return [HeardWord(" " + w, k * step, k * step + 0.3, 0.9) for k, w in enumerate(parts)]


def test_segments_end_with_sentences_in_german_and_english():
    text = "Am 3. Mai kam Dr. Weiß, z.B. heute. Schön, nicht wahr? “Yes!” It is 3.50 now"
    found = segments(_words(text), [Span(0.0, 100.0)])
    assert [part.text for part in found] == [
        "Am 3. Mai kam Dr. Weiß, z.B. heute.",
        "Schön, nicht wahr?",
        "“Yes!”",
        "It is 3.50 now",
    ]


def test_a_break_in_the_speech_ends_a_segment():
    words = [HeardWord(" one", 0.0, 0.4, 0.9), HeardWord(" two", 1.3, 1.6, 0.9)]
    assert len(segments(words, [Span(0.0, 2.0)])) == 2
    stretched = [HeardWord(" one", 0.0, 1.3, 0.9), HeardWord(" two", 1.3, 3.0, 0.9)]
    assert len(segments(stretched, [Span(0.0, 0.9), Span(1.9, 3.0)])) == 2
    assert len(segments(stretched, [Span(0.0, 3.0)])) == 1


def test_words_without_spaces_between_them_stay_without():
    words = [HeardWord("你", 0.0, 0.2, 0.9), HeardWord("好。", 0.2, 0.4, 0.9)]
    (part,) = segments(words, [Span(0.0, 1.0)])
    assert part.text == "你好。"
    assert [word.text for word in part.words] == ["你", "好。"]


def test_rates_and_shares_are_over_speech_and_sound():
    audio = audio_of(np.zeros(160_000, np.float32), present=[(0.0, 8.0)])
    heard = Heard("en", 0.8, _words("one two three four", step=1.0))
    out = transcript(heard, audio, [Span(0.0, 4.0)])
    assert out.words_per_minute == pytest.approx(60.0)
    assert [out.speech_s, out.speech_share] == pytest.approx([4.0, 0.5])
    assert out.text == "one two three four"
    assert out.pitch is None


def test_events_cover_segments_and_the_speech_without_words():
    out = _told(_ready(Ear()).analyze(audio_of(_bursts(1.0)), speech_of((0.9, 1.6), (5.0, 6.0))))
    said_event, empty = out.events()
    assert (said_event.kind, said_event.label) == ("speech", out.text)
    assert said_event.confidence == pytest.approx(out.words[0].probability)
    assert (empty.start, empty.end, empty.label, empty.confidence) == (5.0, 6.0, "speech", None)


def test_without_a_model_there_are_spans_and_pitch_and_no_words():
    out = _told(_ready(None).analyze(audio_of(_bursts(1.0, hz=180.0)), speech_of((1.0, 1.5))))
    assert (out.text, out.segments, out.word_count, out.language) == (None, None, None, None)
    assert (out.words_per_minute, out.words_dropped, out.words) == (None, None, [])
    assert out.pitch is not None
    assert out.pitch.median_hz == pytest.approx(180.0, rel=0.02)
    assert [e.label for e in out.events()] == ["speech"]
    assert out.headline() == "0.5 s of speech, no words"
    assert SpeechTranscription.variants[-1].lacks == ("words",)


def test_nobody_speaking_is_nothing_to_analyze():
    with pytest.raises(Skip, match="there is no speech in this video"):
        _ready(Ear()).analyze(audio_of(noise(3)), speech_of())


def test_speech_beyond_the_end_of_the_sound_is_no_speech():
    with pytest.raises(Skip):
        _ready(Ear()).analyze(audio_of(noise(3)), speech_of((3.5, 4.0)))
    out = _told(_ready(None).analyze(audio_of(noise(3)), speech_of((2.0, 9.0))))
    assert out.speech_s == pytest.approx(1.0)


# --- who speaks --------------------------------------------------------------------------------


def test_voices_are_told_apart_and_every_word_has_its_speaker():
    words = [HeardWord(f" w{k}", k * 0.5, k * 0.5 + 0.4, 0.9) for k in range(18)]
    audio, speech = audio_of(_dialogue()), [Span(0.0, 9.0)]
    told = turns(audio, speech, Timbre())
    assert [turn.speaker for turn in told] == [0, 1, 0]
    assert [turn.start for turn in told] == pytest.approx([0.0, 4.0, 7.0], abs=0.3)
    assert min(turn.margin for turn in told if turn.margin is not None) > 0.3
    out = transcript(Heard("en", 0.9, words), audio, speech, told=told)
    assert out.turns is not None
    assert out.speakers is not None
    assert out.segments is not None
    assert [part.speaker for part in out.turns] == ["Speaker 1", "Speaker 2", "Speaker 1"]
    assert [s.name for s in out.speakers] == ["Speaker 1", "Speaker 2"]
    assert sum(s.word_count or 0 for s in out.speakers) == 18
    assert sum(s.share for s in out.speakers) == pytest.approx(1.0)
    assert len(out.segments) == 3
    assert {word.speaker for word in out.segments[1].words} == {"Speaker 2"}


def test_one_voice_is_one_speaker_without_a_margin():
    (turn,) = turns(audio_of(buzz(6.0, 150.0)), [Span(0.5, 5.5)], Timbre())
    assert turn == Turn(0.5, 5.5, 0, None)
    assert turns(audio_of(buzz(6.0, 150.0)), [], Timbre()) == []


def test_turns_cover_the_speech():
    speech = [Span(0.3, 0.6), Span(1.0, 4.0), Span(4.4, 8.9)]
    told = turns(audio_of(_dialogue()), speech, Timbre())
    assert spans.total(spans.subtract(speech, [(t.start, t.end) for t in told])) < 1e-6
    assert [t.start for t in told] == sorted(t.start for t in told)


def test_short_turns_are_told_apart_and_a_short_aside_makes_no_voice():
    lively = np.concatenate([buzz(1.2, 120.0 if k % 2 == 0 else 320.0) for k in range(6)])
    speech = [Span(1.2 * k, 1.2 * k + 1.1) for k in range(6)]
    told = turns(audio_of(lively), speech, Timbre())
    assert [turn.speaker for turn in told] == [0, 1, 0, 1, 0, 1]
    aside = np.concatenate([buzz(5.0, 120.0), buzz(0.6, 320.0)])
    told = turns(audio_of(aside), [Span(0.0, 4.9), Span(5.0, 5.6)], Timbre())
    assert {turn.speaker for turn in told} == {0}


@pytest.mark.parametrize("gain", [0.03, 0.3, 4.0])
def test_a_louder_sound_has_the_same_voices(gain):
    """The encoder hears how loud a voice is: it is handed the same whatever the sound's level."""

    class Noting(Timbre):
        def __init__(self):
            self.given = []

        def embed(self, pieces):
            self.given.append(np.stack(pieces))
            return super().embed(pieces)

    first, second = Noting(), Noting()
    speech = [Span(0.5, 4.0), Span(4.2, 9.0)]
    for level, noting in ((0.2, first), (0.2 * gain, second)):
        turns(audio_of(level * _dialogue()), speech, noting)
    for one, other in zip(first.given, second.given, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_that_overlap_is_not_measured_is_named_where_there_are_several_voices():
    result = _ready(Ear()).analyze(audio_of(_dialogue()), speech_of((0.0, 9.0)))
    assert isinstance(result, Partial)
    assert [one.part for one in result.missing] == ["overlap"]
    alone = _ready(Ear()).analyze(audio_of(buzz(6.0, 150.0)), speech_of((0.5, 5.5)))
    assert isinstance(alone, Transcript)


def test_there_are_no_more_than_six_voices():
    many = np.concatenate([buzz(2.5, 100.0 * 1.4**k) for k in range(8)])
    told = turns(audio_of(many), [Span(2.5 * k, 2.5 * k + 2.4) for k in range(8)], Timbre())
    assert len({turn.speaker for turn in told}) <= 6


def test_without_the_model_of_voices_that_part_is_missing():
    analyzer = _ready(Ear())
    analyzer.encoder = None
    audio, speech = audio_of(_bursts(1.0)), speech_of((1.0, 1.5))
    result = analyzer.analyze(audio, speech)
    assert isinstance(result, Partial)
    assert [one.part for one in result.missing] == ["speakers"]
    off = SpeechTranscription(TranscriptionOptions(speakers=False)).analyze(audio, speech)
    assert isinstance(off, Transcript)
    assert off.turns is None


def test_where_the_model_of_voices_cannot_be_made_ready_words_are_still_heard(
    monkeypatch: pytest.MonkeyPatch,
):
    def broken(_: Path) -> None:
        raise ExportFailed("pretrained.pt cannot be exported: no space left")

    monkeypatch.setattr(speech_transcription, "VoiceEncoder", broken)
    bundled = SimpleNamespace(locate=lambda _: Path("pretrained.pt"))
    monkeypatch.setattr(speech_transcription, "VOICES", bundled)
    analyzer = SpeechTranscription()
    analyzer.load(SPANS_ONLY, "cpu", {})
    analyzer.recogniser = Ear()
    result = analyzer.analyze(audio_of(_bursts(1.0)), speech_of((1.0, 1.5)))
    assert isinstance(result, Partial)
    assert isinstance(result.output, Transcript)
    assert [(one.part, one.reason) for one in result.missing] == [
        ("speakers", "pretrained.pt cannot be exported: no space left")
    ]
    assert result.output.segments


# --- pitch -------------------------------------------------------------------------------------


@pytest.mark.parametrize("hz", [80.0, 150.0, 320.0])
def test_pitch_of_a_known_buzz(hz):
    pitch = pitch_of(buzz(2.0, hz), [(0.5, 1.5)])
    assert pitch is not None
    assert pitch.median_hz == pytest.approx(hz, rel=0.015)
    assert pitch.range_semitones < 0.5
    assert pitch.voiced_share > 0.9
    assert pitch.analyzed_s == pytest.approx(1.0, abs=0.05)
    assert min(pitch.times) >= 0.5
    assert max(pitch.times) <= 1.55


def test_the_contour_follows_the_voice():
    sound = np.concatenate([buzz(1.0, 120.0), buzz(1.0, 240.0)])
    pitch = pitch_of(sound, [(0.0, 2.0)])
    assert pitch is not None
    low = [hz for t, hz in zip(pitch.times, pitch.hz, strict=True) if t < 0.9]
    high = [hz for t, hz in zip(pitch.times, pitch.hz, strict=True) if t > 1.1]
    assert np.median(low) == pytest.approx(120.0, rel=0.02)
    assert np.median(high) == pytest.approx(240.0, rel=0.02)
    assert pitch.range_semitones == pytest.approx(12.0, abs=0.5)


def test_noise_mains_hum_and_silence_have_no_pitch():
    for sound in (noise(2), buzz(2.0, 50.0, harmonics=1), np.zeros(32_000, np.float32)):
        assert pitch_of(sound, [(0.0, 2.0)]) is None


def test_a_higher_voice_has_a_higher_pitch():
    low, high = (
        pitch_of(said([(0.0, "All my friends are here today.")], 3.0, pitch=p)[0], [(0.0, 2.0)])
        for p in (20, 80)
    )
    assert low is not None
    assert high is not None
    assert high.median_hz > 1.3 * low.median_hz


# --- the model ---------------------------------------------------------------------------------


class Reading:
    def __init__(self, logprob, compression=1.0):
        self.avg_logprob, self.compression_ratio = logprob, compression


def test_whispers_own_limits():
    assert not doubtful(Reading(-0.3))
    assert doubtful(Reading(-1.2))
    assert doubtful(Reading(-0.3, compression=2.6))


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 120), st.floats(0.02, 30), st.integers(1, 300))
def test_what_reading_costs_is_bounded_by_the_length_of_the_sound(seconds, step, wish):
    """A model that is never content, and steps on as Whisper does, by a word's length or more."""
    allowance = Allowance(seconds)
    at = cost = windows_count = 0.0
    while seconds - at > 1e-6:
        end = min(at + WINDOW_S, seconds)
        for _ in allowance.temperatures((0.0, 0.2, 0.4, 0.6, 0.8, 1.0)):
            tokens = min(wish, allowance.most)
            allowance.spend(tokens)
            cost += tokens
        windows_count += 1
        at = end if allowance.passes(at, end, end) else min(at + step, end)
    paid = TOKENS_PER_S * (seconds + 2 * min(seconds, WINDOW_S))
    assert cost <= paid + READING_TOKENS * (seconds / WINDOW_S + 3)
    assert windows_count * ENCODING_TOKENS <= paid + READING_TOKENS * (seconds / WINDOW_S + 3)


def test_ordinary_speech_is_read_at_every_temperature():
    allowance = Allowance(30.0)
    for start in (0.0, 28.0, 57.0):
        for _ in allowance.temperatures((0.0, 0.2, 0.4, 0.6, 0.8, 1.0)):
            allowance.spend(110)
        assert not allowance.cut
        assert not allowance.passes(start, start + 30.0, start + 30.0)


def test_a_reading_may_be_as_long_as_its_sound_allows():
    assert [Allowance(s).most for s in (1.0, 14.0, 60.0)] == [34, 164, READING_TOKENS]
    for prompt in (1, 30, 224, 330):
        given = Allowance(1.0).length(prompt, 448) + prompt
        assert min(given // 2, given - prompt) == 34
    assert Allowance(60.0).length(440, 448) == 8


def test_what_the_model_doubts_is_told():
    audio = audio_of(np.concatenate([_bursts(1.0, seconds=3.0), 0.5 * _bursts(1.0, seconds=3.0)]))
    out = _told(_ready(Ear()).analyze(audio, speech_of((0.9, 1.6), (3.9, 4.6))))
    assert [part.doubtful for part in out.segments] == [False, True]


def test_a_folder_that_is_not_whole_is_refused_before_anything_is_fetched(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json, vocabulary"):
        Whisper(tmp_path, "cpu", 1)
    hub = SpeechTranscription.variants[0].weights["whisper"]
    assert not hub.whole(tmp_path)
    for name in ("tokenizer.json", "vocabulary.json"):
        (tmp_path / name).write_text("{}")
    assert hub.whole(tmp_path)


def test_cublas_is_loaded_from_its_wheel_for_all_to_see(monkeypatch, tmp_path):
    import ctypes
    import importlib.machinery
    import importlib.util

    loaded: list[tuple[str, int]] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name, mode: loaded.append((name, mode)))
    wheel = importlib.machinery.ModuleSpec("nvidia.cublas", None, is_package=True)
    wheel.submodule_search_locations = [str(tmp_path)]
    found: dict[str, Any] = {"nvidia.cublas": wheel}
    monkeypatch.setattr(importlib.util, "find_spec", found.get)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libcublas.so.12").touch()
    preload_cublas()
    names = ["libcublasLt.so.12", "libcublas.so.12"]
    assert loaded == [(str(tmp_path / "lib" / name), ctypes.RTLD_GLOBAL) for name in names]
    loaded.clear()
    found.clear()
    preload_cublas()
    assert [name for name, _ in loaded] == names


SCRIPT = (" Schöne", " Grü", "ße", " aus", " Köln.", " Ähm,", " 25", " Hunde!")
SPOKEN = ["Schöne", "Grüße", "aus", "Köln.", "Ähm,", "25", "Hunde!"]


@pytest.fixture(scope="session")
def whisper_folder(tmp_path_factory) -> Path:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return tiny_whisper(tmp_path_factory.mktemp("whisper"), SCRIPT, "de")


@pytest.fixture(scope="session")
def transcriber(whisper_folder) -> SpeechTranscription:
    analyzer = SpeechTranscription()
    analyzer.load(analyzer.variants[1], "cpu", {"whisper": whisper_folder})
    return analyzer


@pytest.mark.slow
def test_a_converted_model_gives_its_words_language_and_times(transcriber):
    sound, words = said([(0.0, "Schöne Grüße aus Köln. Ähm, 25 Hunde!")], 6.0, "de")
    sound = sound[: round(words[-1].end * 16_000)]
    out = _told(transcriber.analyze(audio_of(sound), speech_of((0.0, words[-1].end))))
    assert out.language == "de"
    assert (out.language_probability or 0) > 0.99
    assert [word.text for word in out.words] == SPOKEN
    assert out.segments[0].text == "Schöne Grüße aus Köln."
    assert out.segments[1].text == "Ähm, 25 Hunde!"
    assert max(word.end for word in out.words) <= words[-1].end
    starts = [word.start for word in out.words]
    assert starts == sorted(starts)
    assert all(word.probability > 0.99 for word in out.words)
    assert out.words_dropped == 0
    assert out.words_per_minute == pytest.approx(60 * 7 / words[-1].end, rel=0.01)


@pytest.mark.slow
def test_stretches_keep_their_own_times(transcriber):
    starts = (1.0, 12.0, 30.0, 47.0, 58.0)
    sound, _ = said([(t, "Schöne Grüße aus Köln, 25 Hunde") for t in starts], 65.0, "de")
    audio = audio_of(sound)
    cut = windows([(t, t + 3.0) for t in starts], audio)
    assert len(cut) == 5
    heard = transcriber.recogniser.hear(audio, cut, Asked(beam_size=2, carry=False))
    assert {word.language for word in heard.words} == {"de"}
    for window in cut:
        inside = [w for w in heard.words if window.start <= w.start <= w.end <= window.end + 0.05]
        assert [word.text.strip() for word in inside][:7] == SPOKEN
    assert all(spans.covers(cut, word.start) for word in heard.words)


@pytest.mark.slow
def test_a_told_language_is_kept_and_the_model_says_the_same_each_time(transcriber):
    audio = audio_of(said([(1.0, "Hello to all of you")], 4.0)[0])
    cut = [Span(0.8, 3.0)]
    told = transcriber.recogniser.hear(audio, cut, Asked(language="en"))
    assert (told.language, told.language_probability) == ("en", None)
    assert told == transcriber.recogniser.hear(audio, cut, Asked(language="en"))


class Prompts:
    """A decoder that notes what it is given before each reading, as text, and tells the languages
    of windows as it is told to."""

    def __init__(self, whisper: Whisper, languages: Sequence[str] = ()) -> None:
        self.decoder, self.whisper, self.languages = whisper.model.model.model, whisper, languages
        self.seen: list[str] = []
        whisper.model.model.model = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.decoder, name)

    def generate(self, encoded: Any, prompts: Sequence[list[int]], **options: Any) -> Any:
        tokenizer = self.whisper.model.hf_tokenizer
        self.seen += [tokenizer.decode(p, skip_special_tokens=False) for p in prompts]
        return self.decoder.generate(encoded, prompts, **options)

    def detect_language(self, encoded: Any) -> Any:
        found = self.decoder.detect_language(encoded)
        if not self.languages:
            return found
        told, *self.languages = self.languages
        return [[(f"<|{told}|>", 0.9), *found[0]]]


@pytest.fixture
def own_whisper(whisper_folder) -> Whisper:
    return Whisper(whisper_folder, "cpu", 1)


@pytest.mark.slow
def test_what_is_asked_stands_before_each_reading(own_whisper):
    """Text as if said before, names, language and task, as the model's own tokens."""
    noted = Prompts(own_whisper)
    analyzer = _ready(None, task="translate", prompt="Guten Tag", hotwords="Köln")
    analyzer.recogniser = own_whisper
    sound, words = said([(0.5, "Schöne Grüße aus Köln")], 4.0, "de")
    out = _told(analyzer.analyze(audio_of(sound), speech_of((0.5, words[-1].end))))
    assert (out.language, out.text_language) == ("de", "en")
    assert noted.seen
    for prompt in noted.seen:
        assert prompt.startswith("<|startofprev|>")
        assert " Köln" in prompt
        assert prompt.endswith("<|startoftranscript|><|de|><|translate|>")
    assert "Guten Tag" in noted.seen[0]
    noted.seen.clear()
    plain = _ready(None, language="fr")
    plain.recogniser = own_whisper
    assert plain.analyze(audio_of(sound), speech_of((0.5, words[-1].end))).language == "fr"
    assert noted.seen[0] == "<|startoftranscript|><|fr|><|transcribe|>"


@pytest.mark.slow
def test_each_word_has_the_language_that_its_window_was_read_in(own_whisper):
    noted = Prompts(own_whisper, ["de", "fr"] * 20)
    sound, _ = said([(t, "Schöne Grüße aus Köln, 25 Hunde") for t in (1.0, 32.0, 63.0)], 70.0, "de")
    heard = own_whisper.hear(audio_of(sound), [Span(0.0, 70.0)], Asked(several=True, carry=False))
    windows_in = [re.search(r"<\|([a-z]{2})\|>", prompt).group(1) for prompt in noted.seen]
    told = [language for language, _ in groupby(windows_in)]
    labels = [language for language, _ in groupby(word.language for word in heard.words)]
    assert labels == told[: len(labels)]  # the last window may hold no word
    assert set(labels) == {"de", "fr"}


@pytest.mark.slow
def test_a_repetitive_reading_is_doubtful_and_in_video_time(tmp_path):
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    whisper = Whisper(tiny_whisper(tmp_path, [" na"] * 60, "en"), "cpu", 1)
    heard = whisper.hear(audio_of(noise(20)), [Span(10.0, 14.0)], Asked(beam_size=1))
    assert heard.words
    assert all(word.doubtful for word in heard.words)
    assert all(9.9 <= word.start <= word.end <= 14.1 for word in heard.words)


@pytest.mark.slow
def test_the_composite_has_words_only_where_its_truth_has_speech(real_media, transcriber):
    import json

    from tiktok_ray.media import decode
    from tiktok_ray.settings import Settings

    path = real_media / "video" / "short_vertical_composite.mp4"
    truth = json.loads(path.with_suffix(".truth.json").read_text())
    tracks = decode(path, {"audio", "speech"}, Settings()).tracks
    out = _told(transcriber.analyze(tracks["audio"], tracks["speech"]))
    spoken = [part.span for part in out.speech]
    for start, end in truth["spoken_spans_s"]:
        assert spans.total(spans.subtract([(start, end)], spoken)) <= 0.05
    events = [(event.start, event.end) for event in out.events()]
    assert spans.overlap(spoken, [(6.0, 14.0), (17.3, 20.0)]) == 0
    assert spans.overlap(events, [(6.0, 14.0), (17.3, 20.0)]) == 0
    assert 90 < out.pitch.median_hz < 220


# --- odd sound ---------------------------------------------------------------------------------


def _decoded(path: Path, seconds: float, sound, rate: int, start: float = 0.0):
    """The tracks of a clip of grey pictures with this sound, and how long the video is."""
    from tiktok_ray.media import decode
    from tiktok_ray.media.writer import write_clip
    from tiktok_ray.settings import Settings

    grey = np.full((64, 64, 3), 128, np.uint8)
    frames = [grey] * round(seconds * 10)
    write_clip(path, frames, fps=10, audio=sound, audio_rate=rate, audio_start=start)
    decoded = decode(path, {"audio", "speech"}, Settings())
    return decoded.tracks, decoded.video


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "start", "rate"),
    [
        (6.0, 0.0, 48_000),
        (6.0, 0.0, 8_000),
        (12.0, 0.0, 44_100),
        (4.0, 0.0, 48_000),
        (8.0, 2.0, 48_000),
        (6.0, -0.7, 48_000),
    ],
    ids=["even", "8 kHz", "audio shorter", "audio longer", "audio later", "audio earlier"],
)
def test_words_stand_where_they_are_spoken_whatever_the_container(tmp_path, seconds, start, rate):
    from scipy.signal import resample_poly

    text = [(1.0, "Schöne Grüße aus Köln."), (4.0, "Wie geht es euch heute?")]
    sound, words = said(text, 6.0, "de")
    up = resample_poly(sound, rate // 100, 160).astype(np.float32)
    video = tmp_path / ("clip.mp4" if start >= 0 else "clip.mkv")
    tracks, facts = _decoded(video, seconds, up, rate, start)
    out = _told(_ready(Ear("de")).analyze(tracks["audio"], tracks["speech"]))
    heard_until = min(facts.duration_s, tracks["audio"].duration_s)
    truth = [(w.start + start, w.end + start) for w in words if w.start + start < heard_until]
    spoken = [part.span for part in out.speech]
    assert len(truth) == 9
    assert spans.total(spans.subtract(truth, spoken)) < 0.15
    assert spoken[0][0] == pytest.approx(truth[0][0], abs=0.2)
    assert spoken[-1][1] == pytest.approx(truth[-1][1], abs=0.25)
    between = (words[3].end + start + 0.2, words[4].start + start - 0.2)
    assert spans.overlap(spoken, [between]) == 0
    assert all(0 <= word.start <= word.end for word in out.words)
    assert out.word_count


@pytest.mark.slow
def test_what_speaks_not_is_not_called_speech(tmp_path):
    for k, sound in enumerate(
        (np.zeros(96_000, np.float32), noise(2.0, 0.1).astype(np.float32), buzz(2.0, 440.0, 0.2))
    ):
        tracks, _ = _decoded(tmp_path / f"{k}.mp4", 2.0, np.resize(sound, 96_000), 48_000)
        with pytest.raises(Skip):
            _ready(Ear()).analyze(tracks["audio"], tracks["speech"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "speaks"),
    [
        ("audio/trumpet.ogg", False),
        ("audio/vibe_ace.ogg", False),
        ("audio/esc50_dog.wav", False),
        ("audio/esc50_carhorn.wav", False),
        ("video/bigbuckbunny_51.mp4", False),
        ("video/bbb_0_30_vp8.webm", False),
        ("audio/jfk.flac", True),
        ("audio/nasa_13013_8k.mp3", True),
    ],
)
def test_real_sounds_are_told_from_speech(real_media, tmp_path, name, speaks):
    import av

    with av.open(str(real_media / name)) as container:
        resampler = av.AudioResampler("flt", "mono", 48_000)
        parts = [
            p.to_ndarray()[0] for f in container.decode(audio=0) for p in resampler.resample(f)
        ]
    sound = np.concatenate(parts)
    tracks, _ = _decoded(tmp_path / "clip.mp4", len(sound) / 48_000, sound, 48_000)
    assert bool(tracks["speech"].spans) == speaks
    if speaks:
        out = _told(_ready(None).analyze(tracks["audio"], tracks["speech"]))
        assert out.speech_share > 0.5


def test_a_second_of_sound_with_a_word_in_it():
    out = _told(_ready(Ear()).analyze(audio_of(_bursts(0.3, seconds=1.0)), speech_of((0.25, 0.85))))
    assert out.word_count == 1
    assert 0 <= out.words[0].start <= out.words[0].end <= 1.0


def test_two_videos_do_not_touch_each_other():
    analyzer = _ready(Ear())
    first: dict[str, Any] = {"audio": audio_of(_bursts(1.0)), "speech": speech_of((0.9, 1.6))}
    alone = analyzer.analyze(**first)
    analyzer.analyze(audio=audio_of(_bursts(2.0, hz=300)), speech=speech_of((1.9, 2.6)))
    assert analyzer.analyze(**first) == alone


def _audio_type_is_read_only(audio: Audio) -> bool:
    return not audio.samples.flags.writeable


def test_the_inputs_are_left_alone():
    for analyzer, inputs in varied():
        before = inputs["audio"].samples.copy()
        assert _audio_type_is_read_only(inputs["audio"])
        analyzer.analyze(**inputs)
        assert np.array_equal(before, inputs["audio"].samples)
