"""How the speech sounds: emotion by a model, pitch and energy by measurement."""

from __future__ import annotations

from collections.abc import Iterable

from tiktok_ray.analyzer import Analyzer
from tiktok_ray.media import Audio, Speech
from tiktok_ray.report import Event, Model, Output, Timed, estimated, measured, setting


class Emotion(Model):
    """What the model takes the speaker's emotion to be."""

    dominant: str = estimated("The most probable emotion, by the model's own labels")
    probability: float = estimated("Its probability", range="0..1")
    distribution: dict[str, float] = estimated("Probability of every emotion", range="0..1")


class Dimensions(Model):
    """Emotion as points on continuous scales, where the model has such outputs."""

    arousal: float | None = estimated("Calm (0) to excited (1)", range="0..1")
    valence: float | None = estimated("Negative (0) to positive (1)", range="0..1")


class Prosody(Model):
    """Pitch and energy of speech. Pitch is null when nothing is voiced."""

    pitch_hz: float | None = measured(
        "Geometric mean of the fundamental frequency", unit="Hz", method="pYIN (Mauch, Dixon 2014)"
    )
    pitch_range_st: float | None = measured(
        "From the 5th to the 95th percentile of the pitch", unit="semitones"
    )
    pitch_slope_st_s: float | None = measured(
        "Slope of the pitch, Theil-Sen; rising is positive", unit="semitones/s"
    )
    voiced_share: float = measured("Share of the frames that are voiced", range="0..1")
    level_db: float = measured("Mean level", unit="dBFS")
    level_range_db: float = measured(
        "From the 10th to the 95th percentile of the level of 50 ms frames", unit="dB"
    )
    level_slope_db_s: float = measured("Slope of the level, Theil-Sen", unit="dB/s")


class SpokenSegment(Timed):
    """A stretch of speech."""

    emotion: Emotion | None = estimated("Emotion; null without the model")
    dimensions: Dimensions | None = estimated("Arousal and valence; null when not in the model")
    prosody: Prosody = measured("Pitch and energy")


class PitchCurve(Model):
    """Pitch over time, as parallel lists; only within speech."""

    times: list[float] = measured("Times", unit="s", range="0..duration")
    hz: list[float | None] = measured("Pitch; null where unvoiced", unit="Hz", method="pYIN")
    level_db: list[float] = measured("Level of the frame", unit="dBFS")


class SpeechEmotionResult(Output):
    """Emotion and prosody per stretch of speech, and of the whole."""

    segments: list[SpokenSegment] = measured("Stretches of speech, in order")
    emotion: Emotion | None = estimated(
        "Emotion of the whole: mean distribution, weighted by length; null without the model"
    )
    dimensions: Dimensions | None = estimated("Their means, weighted by length")
    prosody: Prosody = measured("Pitch and energy of all speech")
    curve: PitchCurve = measured("Pitch and level over time")
    longest_segment_s: float = setting("Longer stretches of speech are split", unit="s")

    def headline(self) -> str:
        parts = []
        if self.emotion:
            parts.append(f"{self.emotion.dominant} {self.emotion.probability:.2f}")
        if self.prosody.pitch_hz:
            parts.append(f"pitch {self.prosody.pitch_hz:.0f} Hz")
        return ", ".join(parts) or "unvoiced speech"

    def events(self) -> Iterable[Event]:
        for segment in self.segments:
            if segment.emotion:
                yield Event(
                    start=segment.start, end=segment.end, kind="emotion",
                    label=segment.emotion.dominant, confidence=segment.emotion.probability,
                    analyzer="speech_emotion",
                )  # fmt: skip


class SpeechEmotion(Analyzer):
    """Emotion and prosody of the speech."""

    name = "speech_emotion"

    def analyze(self, audio: Audio, speech: Speech) -> SpeechEmotionResult:
        raise NotImplementedError
