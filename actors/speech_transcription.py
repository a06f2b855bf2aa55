"""What is said: words with their times, their language, and the pitch of the voice."""

from __future__ import annotations

from collections.abc import Iterator

from tiktok_ray.report import Event, Model, Output, Timed, derived, estimated, measured

NAME = "speech_transcription"


class Word(Timed):
    """One spoken word."""

    text: str = estimated("The word with its punctuation")
    probability: float = estimated("Mean probability of its tokens by the model", range="0..1")


class Segment(Timed):
    """One sentence, or what stands between two breaks in the speech."""

    text: str = estimated("What is said in it")
    words: list[Word] = estimated("Its words in order of time")


class Pitch(Model):
    """Fundamental frequency of the voice, over voiced speech only."""

    median_hz: float = measured("Median", unit="Hz", range="60..600")
    p5_hz: float = measured("5th percentile", unit="Hz", range="60..600")
    p95_hz: float = measured("95th percentile", unit="Hz", range="60..600")
    iqr_hz: float = measured("Distance between the 25th and 75th percentiles", unit="Hz")
    range_semitones: float = derived(
        "From the 5th to the 95th percentile", unit="semitones", method="12 log2(p95 / p5)"
    )
    voiced_share: float = measured("Share of the analyzed speech that is voiced", range="0..1")
    analyzed_s: float = measured("Seconds of speech that were analyzed", unit="s")
    times: list[float] = measured(
        "Times of the contour below: the middle of each 50 ms of voiced speech", unit="s"
    )
    hz: list[float] = measured("Median pitch in each of them", unit="Hz", range="60..600")


class Transcript(Output):
    """What is said and when. Without a model's weights: when somebody speaks, and how high."""

    language: str | None = estimated(
        "ISO 639-1 code of the language heard, or the one it was told; absent without a model"
    )
    language_probability: float | None = estimated(
        "Probability of that language; absent without a model, or if the language was told",
        range="0..1",
    )
    text: str | None = estimated("All that is said; absent without a model")
    segments: list[Segment] | None = estimated("Sentences in order of time; absent without a model")
    word_count: int | None = derived("Number of words; absent without a model")
    words_per_minute: float | None = derived(
        "Words per minute of speech (pauses between the spans of speech do not count);"
        " absent without a model",
        unit="1/min",
    )
    words_dropped: int | None = derived(
        "Words of the model that lay where nobody speaks, left out; absent without a model"
    )
    pitch: Pitch | None = measured(
        "Pitch of the voice; absent where none of the speech is voiced",
        method="pYIN (Mauch and Dixon 2014)",
    )
    speech: list[Timed] = estimated("Spans in which somebody speaks", method="Silero VAD")
    speech_s: float = derived("Their length together", unit="s")
    speech_share: float = derived("Share of the sound in which somebody speaks", range="0..1")

    @property
    def words(self) -> list[Word]:
        """All words in order of time; empty without a model."""
        return [word for segment in self.segments or () for word in segment.words]

    def headline(self) -> str:
        spoken = f"{self.speech_s:.1f} s of speech"
        if self.word_count is None:
            return f"{spoken}, no words"
        return f"{self.word_count} words ({self.language}), {spoken}"

    def events(self) -> Iterator[Event]:
        """One event a segment, and one for every span of speech without words."""
        for segment in self.segments or ():
            yield Event(
                start=segment.start,
                end=segment.end,
                kind="speech",
                label=segment.text,
                analyzer=NAME,
            )
