"""Transcription: words with timestamps, their language, and the pitch of the voice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from tiktok_ray.analyzer import Analyzer, Needs, Options, Partial, Skip, Variant, Vram
from tiktok_ray.media import Audio, Speech, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio.pitch import HOP_S, pitch_track
from tiktok_ray.methods.audio.speakers import VOICES, Encoder, Turn, VoiceEncoder, turns
from tiktok_ray.methods.audio.spoken_words import joined, settled, within, wordless
from tiktok_ray.methods.audio.whisper import (
    Asked,
    Heard,
    HeardWord,
    Recogniser,
    Task,
    Whisper,
    checkpoint,
    own_checkpoint,
    stretches,
    windows,
)
from tiktok_ray.methods.onnx_export import ExportFailed
from tiktok_ray.report import Event, Missing, Model, Output, Timed, derived, estimated, measured

NAME = "speech_transcription"

#: A gap between words from which on the second begins a new segment.
BREAK_S = 0.8
#: Speech without words for this long is read again.
WORDLESS_S = 0.8

#: Step of the pitch contour.
CONTOUR_S = 0.05

SENTENCE_END = re.compile(r"[.!?…。！？]['\"”’»)\]]*$")
NO_SENTENCE_END = re.compile(
    r"^(\d+\.|(\w\.)+|(dr|mr|mrs|ms|prof|st|nr|ca|bzw|vgl|usw|evtl|inkl|vs)\.)$", re.IGNORECASE
)


#: Why a checkpoint that knows English only is not used.
ENGLISH_ONLY = (
    "this checkpoint supports English only, and the language is not known to be English: set "
    "language=en, or use a multilingual checkpoint"
)


NO_SPEECH = "there is no speech in this video"
#: Why voices are not told apart.
NO_VOICES = "the package resemblyzer, which contains the speaker model, is not installed"

#: What is named as missing where there are several voices.
NO_OVERLAP = (
    "where two voices overlap, only one is reported: no overlapping-speech model is available, "
    "and what was tried without one was wrong too often, see docs/speech.md"
)


class Word(Timed):
    """One spoken word, from its onset to its end."""

    text: str = estimated("The word with its punctuation")
    probability: float = estimated("Mean probability of its tokens", range="0..1")
    speaker: str | None = estimated(
        "Its speaker, as in `turns`; absent if speakers were not distinguished", default=None
    )


class Segment(Timed):
    """One sentence, or the words between two breaks in the speech."""

    text: str = estimated("Text of the sentence")
    words: list[Word] = estimated("Its words in chronological order")
    language: str | None = estimated(
        "ISO 639-1 code of the language it was recognised in", default=None
    )
    doubtful: bool = derived(
        "Whether the model itself doubts part of it: decoding remained repetitive or improbable",
        method="compression ratio above 2.4 or mean log probability below -1 at every temperature tried (Radford et al. 2022, section 4.5)",
        default=False,
    )


class SpeakerTurn(Timed):
    """A time span of speech by one speaker."""

    speaker: str = estimated("Speaker 1, Speaker 2, … in order of first appearance")
    margin: float | None = estimated(
        "How much more similar the voice is to that speaker than to the next best; absent with "
        "one speaker",
        unit="difference of cosine similarities",
        range="0..1",
    )


class Speaker(Model):
    """One voice, over the whole video."""

    name: str = estimated("Its name in `turns` and words")
    speech_s: float = derived("Seconds of speech", unit="s")
    share: float = derived("Share of all speech", range="0..1")
    word_count: int | None = derived("Number of words; absent without a speech recognition model")


class Before(Model):
    """Speech before the first frame; times are negative."""

    start: float = estimated("Start, before time zero", unit="s", range="..0")
    end: float = estimated("End", unit="s", range="start..0")
    text: str | None = estimated("Text; absent without a usable model", default=None)


class Pitch(Model):
    """Fundamental frequency of the voice, over voiced speech only."""

    median_hz: float = measured("Median", unit="Hz", range="65..600")
    p5_hz: float = measured("5th percentile", unit="Hz", range="65..600")
    p95_hz: float = measured("95th percentile", unit="Hz", range="65..600")
    iqr_hz: float = measured("Interquartile range, from the 25th to the 75th percentile", unit="Hz")
    range_semitones: float = derived(
        "From the 5th to the 95th percentile", unit="semitones", method="12 log2(p95 / p5)"
    )
    voiced_share: float = measured("Voiced share of the analyzed speech", range="0..1")
    analyzed_s: float = measured("Seconds of speech analyzed", unit="s")
    times: list[float] = measured(
        "Times of the contour below: the midpoint of each 50 ms of voiced speech", unit="s"
    )
    hz: list[float] = measured("Median pitch at each of them", unit="Hz", range="65..600")


class Transcript(Output):
    """Timed transcript. Without model weights: only the speech spans and their pitch."""

    language: str | None = estimated(
        "ISO 639-1 code of the detected language, or of the one that was set; absent without a "
        "model"
    )
    language_probability: float | None = estimated(
        "Probability of that language; absent without a usable model, or if the language was set",
        range="0..1",
    )
    text: str | None = estimated("The whole transcript; absent without a usable model")
    text_language: str | None = derived(
        "ISO 639-1 code of the language of the text and words: en if they are translated "
        "(`task`), otherwise that of the speech; absent without a usable model",
        default=None,
    )
    segments: list[Segment] | None = estimated(
        "Sentences in chronological order; absent without a usable model"
    )
    word_count: int | None = derived("Number of words; absent without a usable model")
    words_per_minute: float | None = derived(
        "Words per minute of speech (pauses between the speech spans do not count); absent "
        "without a usable model",
        unit="1/min",
    )
    words_dropped: int | None = derived(
        "Words that the model placed outside of speech, dropped; absent without a usable model"
    )
    wordless: list[Timed] | None = derived(
        "Speech in which no words were recognised in two passes: whole spans, and parts of "
        "`wordless_s` (a setting) or longer, in chronological order; absent without a usable model",
        default=None,
    )
    turns: list[SpeakerTurn] | None = estimated(
        "Who speaks when, in chronological order; where voices overlap, only one is reported; "
        "absent if speakers were not distinguished",
        method="embeddings of 0.8 s by Resemblyzer's encoder (Wan et al. 2018), split where they change (optimal partitioning), means clustered by average linkage; different speakers from a cosine distance of 0.14, or more for segments under 2 s",
        default=None,
    )
    speakers: list[Speaker] | None = estimated(
        "The speakers, up to six, in order of first appearance; absent as above", default=None
    )
    pitch: Pitch | None = measured(
        "Pitch of the voice; absent if none of the speech is voiced",
        method="pYIN (Mauch and Dixon 2014)",
    )
    speech: list[Timed] = estimated("Spans of speech", method="Silero VAD")
    speech_s: float = derived("Total duration of the speech", unit="s")
    speech_share: float = derived("Share of the sound that is speech", range="0..1")
    before: list[Before] = estimated(
        "Speech before the first frame, not counted anywhere else", default_factory=list
    )

    @property
    def words(self) -> list[Word]:
        """All words in order of time; empty without a model."""
        return [word for segment in self.segments or () for word in segment.words]

    @property
    def translated(self) -> bool:
        """Whether the words are a translation, and so not the ones that are said."""
        return self.text_language not in (None, self.language)

    def headline(self) -> str:
        spoken = f"{self.speech_s:.1f} s of speech"
        if self.word_count is None:
            return f"{spoken}, no words"
        lost = spans.total(part.span for part in self.wordless or ())
        without = f", {lost:.1f} s of it untranscribed" if lost else ""
        voices = f", {len(self.speakers)} voices" if self.speakers and self.speakers[1:] else ""
        tongue = f"{self.language} in {self.text_language}" if self.translated else self.language
        return f"{self.word_count} words ({tongue}), {spoken}{without}{voices}"

    def events(self) -> Iterator[Event]:
        """One event a segment, and one for every span of speech without words."""
        for segment in self.segments or ():
            yield Event(
                start=segment.start,
                end=segment.end,
                kind="speech",
                label=segment.text,
                confidence=sum(word.probability for word in segment.words) / len(segment.words),
                analyzer=NAME,
            )
        for part in self.speech if self.segments is None else self.wordless or ():
            yield Event(
                start=part.start, end=part.end, kind="speech", label="speech", analyzer=NAME
            )


#: Checkpoints by name: repository, GiB on disk, GiB of memory on the CPU, GiB of weights on a card.
CHECKPOINTS = {
    "tiny.en": ("Systran/faster-whisper-tiny.en", 0.07, 1.1, 0.1),
    "tiny": ("Systran/faster-whisper-tiny", 0.07, 1.1, 0.1),
    "base.en": ("Systran/faster-whisper-base.en", 0.14, 1.2, 0.2),
    "base": ("Systran/faster-whisper-base", 0.14, 1.2, 0.2),
    "small.en": ("Systran/faster-whisper-small.en", 0.45, 1.5, 0.3),
    "small": ("Systran/faster-whisper-small", 0.45, 1.5, 0.3),
    "distil-small.en": ("Systran/faster-distil-whisper-small.en", 0.31, 1.4, 0.2),
    "distil-large-v3": ("Systran/faster-distil-whisper-large-v3", 1.41, 2.0, 0.8),
    "large-v3": ("Systran/faster-whisper-large-v3", 2.88, 3.1, 1.6),
    "large-v3-turbo": ("mobiuslabsgmbh/faster-whisper-large-v3-turbo", 1.51, 2.0, 0.8),
}
#: Used where none is named, best first: one on a card, and on the CPU what is at hand. Those for
#: English alone stand in only where the language is told to be English.
ON_A_CARD, ON_THE_CPU, ENGLISH_ON_THE_CPU = (
    "large-v3-turbo",
    ("base", "tiny"),
    ("base.en", "base", "tiny.en", "tiny"),
)


class TranscriptionOptions(Options):
    """Settings of ``speech_transcription``."""

    checkpoint: str | None = Field(
        None,
        min_length=1,
        description=f"{', '.join(CHECKPOINTS)}; a repository, organisation/name; or the path of a"
        " folder in CTranslate2's format; none: the best one installed. Names ending in .en support"
        " English only and require language=en",
    )
    language: str | None = Field(
        None, pattern="^[a-z]{2,3}$", description="ISO 639-1 code; none: detected per video"
    )
    several_languages: bool = Field(
        False, description="Detect the language of every window, for videos that switch languages"
    )
    task: Task = Field("transcribe", description="transcribe, or translate into English")
    prompt: str | None = Field(
        None,
        max_length=800,
        description="Prompt text that precedes the transcript: style, spelling, names",
    )
    hotwords: str | None = Field(
        None, max_length=400, description="Words and names that are likely to occur"
    )
    beam_size: int = Field(5, ge=1, le=20, description="Beam size of the decoding")
    speakers: bool = Field(True, description="Distinguish speakers")
    wordless_s: float = Field(
        WORDLESS_S,
        ge=0.3,
        le=30,
        description="Minimum duration of speech without words that is decoded again",
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        name = self.checkpoint
        if name and "/" not in name and name not in CHECKPOINTS:
            raise ValueError(
                f"unknown checkpoint {name!r}; available are {', '.join(CHECKPOINTS)}, or give"
                " organisation/name or the path of a folder"
            )
        if name and name.endswith(".en") and self.language != "en":
            raise ValueError(f"{name} supports English only: set language to en, or choose another")
        if self.language == "en" and self.task == "translate":
            raise ValueError("English is not translated into English: leave task at its default")
        return self


def variant_of(name: str) -> Variant:
    """A checkpoint by its name, by its repository, or in a folder of one's own."""
    if name in CHECKPOINTS:
        repository, size, ram, vram = CHECKPOINTS[name]
        return Variant(
            f"{name}-int8", {"whisper": checkpoint(repository, size)}, ram, Vram(vram, 0.5)
        )
    weights = own_checkpoint(name) if Path(name).is_absolute() else checkpoint(name, None)
    return Variant(Path(name).name, {"whisper": weights}, 3.1, Vram(1.6, 0.5))


SPANS_ONLY = Variant("spans-only", ram_gib=0.8, lacks=("words",), basis="measured")


def _automatic(name: str) -> Variant:
    """One of those that are chosen among by what is at hand: on a card, or on the CPU."""
    if name == ON_A_CARD:
        return replace(variant_of(name), name=name, ram_gib=1.6, cpu=False)
    return replace(variant_of(name), vram=None)


class SpeechTranscription(Analyzer):
    """Words with timestamps, and their language."""

    name = NAME
    card_priority = 9
    needs = Needs(threads=2, timeout_s=600, cost=8)
    variants = (
        *map(_automatic, (ON_A_CARD, *ON_THE_CPU)),
        *(variant_of(name) for name in CHECKPOINTS if name not in (ON_A_CARD, *ON_THE_CPU)),
        SPANS_ONLY,
    )
    options_type = TranscriptionOptions
    idle_without: ClassVar = {"speech": NO_SPEECH}
    imports = ("ctranslate2", "faster_whisper", "scipy.cluster.hierarchy")

    def __init__(self, options: Options | None = None) -> None:
        super().__init__(options)
        self.recogniser: Recogniser | None = None
        self.encoder: Encoder | None = None
        self.no_voices = NO_VOICES

    @classmethod
    def variants_for(cls, options: Options) -> tuple[Variant, ...]:
        assert isinstance(options, TranscriptionOptions)
        if options.checkpoint:
            return variant_of(options.checkpoint), SPANS_ONLY
        names = ENGLISH_ON_THE_CPU if options.language == "en" else ON_THE_CPU
        return *map(_automatic, (ON_A_CARD, *names)), SPANS_ONLY

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:
        pitch_of(np.zeros(16_000, np.float32), [Span(0.0, 1.0)])  # compiles, once a machine
        if "whisper" in files:
            self.recogniser = Whisper(files["whisper"], device, self.needs.threads)
        place = VOICES.locate(Path())
        if place is not None:
            try:
                self.encoder = VoiceEncoder(place)
            except ExportFailed as error:
                self.no_voices = str(error)

    def analyze(self, audio: Audio, speech: Speech) -> Transcript | Partial:
        heard_spans = spans.intersect(speech.spans, [(0.0, audio.duration_s)])
        if not heard_spans and not speech.before:
            raise Skip(NO_SPEECH)
        missing: list[Missing] = []
        reader = self.recogniser
        if reader is not None and reader.english_only and self.options.language != "en":
            missing.append(Missing(part="words", reason=ENGLISH_ONLY))
            reader = None
        heard = hear(reader, audio, heard_spans, self.options) if reader and heard_spans else None
        told = None
        if self.options.speakers and self.encoder is not None:
            told = turns(audio, heard_spans, self.encoder)
        elif self.options.speakers:
            missing.append(Missing(part="speakers", reason=self.no_voices))
        if told and len({turn.speaker for turn in told}) > 1:
            missing.append(Missing(part="overlap", reason=NO_OVERLAP))
        made = transcript(heard, audio, heard_spans, self.options.wordless_s, told)
        before = said_before(reader, audio, speech.before, self.options)
        made = made.model_copy(update={"before": before})
        return Partial(made, tuple(missing)) if missing else made


def said_before(
    recogniser: Recogniser | None,
    audio: Audio,
    speech: Sequence[Span],
    options: TranscriptionOptions,
) -> list[Before]:
    """What is said before the first picture, sentence by sentence; ``speech`` is negative."""
    lead = audio.lead()
    if lead is None or not speech:
        return []
    zero = lead.duration_s
    said: list[tuple[float, float, str | None]] = [(start, end, None) for start, end in speech]
    if recogniser is not None:
        from_zero = [Span(start + zero, end + zero) for start, end in speech]
        words = hear(recogniser, lead, from_zero, options).words
        parts = segments(words, from_zero)
        said = [(part.start - zero, part.end - zero, part.text) for part in parts]
    return [Before(start=min(a, 0), end=min(b, 0), text=text) for a, b, text in said]


def hear(
    recogniser: Recogniser, audio: Audio, speech: Sequence[Span], options: TranscriptionOptions
) -> Heard:
    """Read the sound, and speech that gave no words once more on its own."""
    asked = Asked(
        language=options.language,
        beam_size=options.beam_size,
        task=options.task,
        several=options.several_languages,
        prompt=options.prompt,
        hotwords=options.hotwords,
    )
    heard = recogniser.hear(audio, stretches(speech, audio), asked)
    words = within(heard.words, speech)
    outside = len(heard.words) - len(words)
    lost = wordless(words, speech, options.wordless_s)
    if lost:
        again = asked._replace(language=heard.language, carry=False)
        more = recogniser.hear(audio, windows(lost, audio), again)
        words = joined(words, more.words, lost)
    written_in = "en" if options.task == "translate" else None
    return heard._replace(words=settled(words, speech), outside=outside, written_in=written_in)


def transcript(
    heard: Heard | None,
    audio: Audio,
    speech: Sequence[Span],
    wordless_s: float = WORDLESS_S,
    told: Sequence[Turn] | None = None,
) -> Transcript:
    """Put together what was heard (None without a model), when somebody speaks, and who."""
    kept = heard.words if heard else []
    seconds = spans.total(speech)
    parts = segments(kept, speech, told or ())
    return Transcript(
        language=heard.language if heard else None,
        text_language=(heard.written_in or heard.language) if heard else None,
        language_probability=heard.language_probability if heard else None,
        text=" ".join(part.text for part in parts) if heard else None,
        segments=parts if heard else None,
        word_count=len(kept) if heard else None,
        words_per_minute=60 * len(kept) / seconds if heard else None,
        words_dropped=heard.outside if heard else None,
        wordless=[Timed(start=start, end=end) for start, end in wordless(kept, speech, wordless_s)]
        if heard
        else None,
        turns=None if told is None else [_turn(turn) for turn in told],
        speakers=None if told is None else _speakers(told, parts if heard else None),
        pitch=pitch_of(audio.samples, speech),
        speech=[Timed(start=start, end=end) for start, end in speech],
        speech_s=seconds,
        speech_share=spans.share(speech, audio.present),
    )


def segments(
    words: Sequence[HeardWord], speech: Sequence[Span], told: Sequence[Turn] = ()
) -> list[Segment]:
    """Sentences: words up to one that ends a sentence, to a break in the speech, or to another
    speaker."""
    groups: list[list[HeardWord]] = [[]]
    speakers = [_speaker(word, told) for word in words]
    for k, word in enumerate(words):
        last = groups[-1][-1] if groups[-1] else None
        if last and (
            _ends_sentence(last.text)
            or _apart(last, word, speech)
            or speakers[k] != speakers[k - 1]
        ):
            groups.append([])
        groups[-1].append(word)
    return [_segment(group, _speaker(group[0], told)) for group in groups if group]


def _name(speaker: int) -> str:
    return f"Speaker {speaker + 1}"


def _turn(turn: Turn) -> SpeakerTurn:
    return SpeakerTurn(
        start=turn.start, end=turn.end, speaker=_name(turn.speaker), margin=turn.margin
    )


def _speaker(word: HeardWord, told: Sequence[Turn]) -> str | None:
    """Whose turn a word shares most with, or lies nearest to."""
    if not told:
        return None
    shares = [min(word.end, turn.end) - max(word.start, turn.start) for turn in told]
    return _name(told[int(np.argmax(shares))].speaker)


def _speakers(told: Sequence[Turn], parts: Sequence[Segment] | None) -> list[Speaker]:
    made = []
    seconds = sum(turn.end - turn.start for turn in told)
    for number in sorted({turn.speaker for turn in told}):
        own = sum(turn.end - turn.start for turn in told if turn.speaker == number)
        name = _name(number)
        words = None
        if parts is not None:
            words = sum(word.speaker == name for part in parts for word in part.words)
        made.append(Speaker(name=name, speech_s=own, share=own / seconds, word_count=words))
    return made


def _ends_sentence(text: str) -> bool:
    text = text.strip()
    return bool(SENTENCE_END.search(text)) and not NO_SENTENCE_END.match(text)


def _apart(a: HeardWord, b: HeardWord, speech: Sequence[Span]) -> bool:
    """Whether a break lies between two words: between their times or, where the model stretched
    a word over it, between the spans of speech that their middles lie in."""
    if b.start - a.end >= BREAK_S:
        return True
    middle = (a.start + a.end) / 2, (b.start + b.end) / 2
    return any(
        second.start - first.end >= BREAK_S
        and middle[0] < (first.end + second.start) / 2 <= middle[1]
        for first, second in pairwise(speech)
    )


def _segment(words: Sequence[HeardWord], speaker: str | None) -> Segment:
    return Segment(
        start=words[0].start,
        end=max(word.end for word in words),
        text="".join(word.text for word in words).strip(),
        words=[
            Word(
                start=w.start,
                end=w.end,
                text=w.text.strip(),
                probability=float(w.probability),
                speaker=speaker,
            )
            for w in words
        ],
        language=words[0].language,
        doubtful=any(w.doubtful for w in words),
    )


def pitch_of(samples: NDArray[np.float32], speech: Iterable[tuple[float, float]]) -> Pitch | None:
    """Statistics and contour of the pitch over the given spans; None where nothing is voiced."""
    times, hz = pitch_track(samples, speech)
    voiced = np.isfinite(hz)
    if not voiced.any():
        return None
    p5, p25, p50, p75, p95 = (float(p) for p in np.percentile(hz[voiced], (5, 25, 50, 75, 95)))
    bins = np.floor(times[voiced] / CONTOUR_S).astype(int)
    steps = np.unique(bins)
    return Pitch(
        median_hz=p50,
        p5_hz=p5,
        p95_hz=p95,
        iqr_hz=p75 - p25,
        range_semitones=float(12 * np.log2(p95 / p5)),
        voiced_share=float(voiced.mean()),
        analyzed_s=len(hz) * HOP_S,
        times=[round(float(step + 0.5) * CONTOUR_S, 3) for step in steps],
        hz=[round(float(np.median(hz[voiced][bins == step])), 1) for step in steps],
    )
