"""Speech on the real thing: nothing lost, nothing made up, words where they are said, and by whom."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from actors.speech_transcription import SpeechTranscription, TranscriptionOptions, hear, variant_of
from benchmarks.accuracy.speech_transcription import (
    WORDS,
    compare,
    paired_words,
    sound,
    transcript_of,
)
from benchmarks.dialogues import dialogue, diarization_error, without_speech
from tests import spoken
from tests.sounds import read
from tiktok_ray.media import detect_speech
from tiktok_ray.methods.audio.speakers import VOICES, VoiceEncoder, turns
from tiktok_ray.methods.audio.whisper import READING_TOKENS, TOKENS_PER_S, WINDOW_S

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def english(real_models: Path) -> SpeechTranscription:
    """The smallest model there is, for English."""
    pytest.importorskip("espeakng_loader", reason="needs the demo extra")
    variant = variant_of("tiny.en")
    place = variant.weights["whisper"].locate(real_models)
    if place is None:
        pytest.skip("no tiny.en under TIKTOK_RAY_MODELS")
    made = SpeechTranscription(TranscriptionOptions(checkpoint="tiny.en", language="en"))
    made.load(variant, "cpu", {"whisper": place})
    return made


def test_no_word_that_the_plain_library_finds_is_lost(english, real_media):
    for file, truth in WORDS.items():
        found = compare(english, read(real_media / file), truth)
        assert (found.lost, found.ours <= found.plain) == ([], True), file


def test_the_same_on_made_dialogues_at_no_more_cost(english):
    plain = ours = 0.0
    for seed in range(8):
        made = dialogue(seed, voices=2, turns=3 + seed, pause=(0.3, 3.0), noise=0.005 * (seed % 2))
        found = compare(english, made.samples, made.text)
        assert (found.lost, found.ours <= found.plain) == ([], True), seed
        plain, ours = plain + found.cost[0], ours + found.cost[1]
    assert ours < 1.3 * plain


def test_words_stand_where_they_are_said(english, real_media):
    onset, offset = [], []
    for seed in range(5):
        made = dialogue(seed, voices=2, turns=6, pause=(0.3, 3.0))
        found = compare(english, made.samples, made.text)
        for said, heard in paired_words(made.words, found.heard):
            onset.append(abs(heard.start - said.start))
            offset.append(abs(heard.end - said.end))
    assert len(onset) > 100
    for far in (onset, offset):
        assert np.median(far) <= 0.08
        assert np.percentile(far, 95) <= 0.2
    first = compare(english, read(real_media / "video/grid_swwp2s.mpg"), "set white").heard
    assert [word.text for word in first][:3] == ["Set", "white", "with"]
    assert [word.start for word in first[:3]] == pytest.approx([0.49, 0.77, 1.09], abs=0.08)
    assert first[-1].end == pytest.approx(2.21, abs=0.08)


def test_where_nobody_speaks_there_is_no_word(english):
    for name, samples in without_speech(100):
        audio = sound(samples)
        speech = detect_speech(audio)
        words = transcript_of(english.analyze(audio, speech)).words if speech.spans else []
        assert words == [], name


def test_a_chant_is_doubtful_or_right(english, real_media):
    """ "Go go go go", twelve times: Whisper repeats itself or makes sentences of it."""
    path = real_media.parent / "cases" / "chant.flac"
    if not path.is_file():
        pytest.skip("no chant among the cases")
    audio = sound(read(path))
    made = transcript_of(english.analyze(audio, detect_speech(audio)))
    for part in made.segments or ():
        assert part.doubtful or {w.text.lower().strip(".,!") for w in part.words} == {"go"}


def test_reading_a_chant_costs_no_more_than_its_length_allows(english, monkeypatch):
    """The readings of repetitions are cut, not begun anew word by word at every temperature."""
    decoder = english.recogniser.model.model
    generate, tokens = decoder.model.generate, []

    def counted(*args, **options):
        results = generate(*args, **options)
        tokens.append(max(len(ids) for result in results for ids in result.sequences_ids))
        return results

    class Counting:
        def __getattr__(self, name):
            return counted if name == "generate" else getattr(wrapped, name)

    wrapped = decoder.model
    monkeypatch.setattr(decoder, "model", Counting())
    chant = spoken.said([(0.5, "Go go go go. " * 12)], 14.0)[0]
    for samples in (chant, chant, np.concatenate([chant, chant, chant])):
        audio = sound(samples)
        tokens.clear()
        read_all = hear(
            english.recogniser, audio, list(detect_speech(audio).spans), english.options
        )
        assert tokens
        # Twice, as what gave no words is read again.
        most = TOKENS_PER_S * (audio.duration_s + 2 * min(audio.duration_s, WINDOW_S))
        assert sum(tokens) <= 2 * (most + READING_TOKENS * (audio.duration_s / WINDOW_S + 3))
        assert read_all.words
        assert all(w.doubtful or w.text.lower().strip(" .,!") == "go" for w in read_all.words)


def test_a_model_for_english_only_reads_nothing_where_the_language_is_not_known(english):
    """Its weights say so themselves, whatever they are called."""
    audio = sound(dialogue(0, voices=1, turns=1, pause=(0.3, 0.3)).samples)
    assert english.recogniser.english_only
    for language in (None, "de"):
        unsure = SpeechTranscription(TranscriptionOptions(language=language, speakers=False))
        unsure.recogniser = english.recogniser
        result = unsure.analyze(audio, detect_speech(audio))
        assert [one.part for one in result.missing] == ["words"]
        assert transcript_of(result).segments is None
        assert transcript_of(result).speech


@pytest.fixture(scope="module")
def voices() -> VoiceEncoder:
    place = VOICES.locate(Path())
    if place is None:
        pytest.skip("the package resemblyzer is not installed")
    return VoiceEncoder(place)


def _told(
    voices: VoiceEncoder, count: int, pause: tuple[float, float]
) -> Iterator[tuple[float, int]]:
    """Error rate and number of voices found."""
    for seed in range(10):
        made = dialogue(100 * count + seed, voices=count, turns=8, pause=pause, noise=0.002)
        audio = sound(made.samples)
        found = turns(audio, detect_speech(audio).spans, voices)
        named = [(turn.start, turn.end, str(turn.speaker)) for turn in found]
        yield diarization_error(list(made.turns), named), len({turn.speaker for turn in found})


@pytest.mark.parametrize(
    ("count", "pause", "limit"),
    [
        (1, (0.15, 1.2), 0.15),
        (2, (0.15, 1.2), 0.15),
        (3, (0.15, 1.2), 0.15),
        (2, (-0.2, -0.2), 0.25),
        (3, (-0.2, -0.2), 0.25),
    ],
)
def test_made_voices_are_told_apart_and_counted(voices, count, pause, limit):
    told = list(_told(voices, count, pause))
    assert np.mean([error for error, _ in told]) <= limit
    assert np.mean([number == count for _, number in told]) >= 0.8


def test_real_voices_one_after_another_are_two_and_one_is_one(voices, real_media):
    one = read(real_media / "audio/nasa_13013_8k.mp3")
    other = read(real_media / "audio/librispeech_5703-47212-0000.ogg")
    audio = sound(np.concatenate([one, other, one]))
    found = turns(audio, detect_speech(audio).spans, voices)
    truth = [
        (start, end, "A" if start < len(one) / 16_000 or start > (len(one) + len(other)) / 16_000 - 0.5 else "B")
        for start, end in detect_speech(audio).spans
    ]  # fmt: skip
    named = [(turn.start, turn.end, str(turn.speaker)) for turn in found]
    assert diarization_error(truth, named) <= 0.1
    for alone in (one, other):
        heard = detect_speech(sound(alone)).spans
        for gain in (0.1, 1.0, 2.0):  # as loud as the clip is, or as quiet
            louder = sound(np.float32(gain) * alone)
            assert {turn.speaker for turn in turns(louder, heard, voices)} == {0}
