"""How the speech sounds: emotion estimated by a model, pitch and energy measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from actors.speech_transcription import Transcript
from tiktok_ray.analyzer import Analyzer, Needs, Partial, Skip, Variant, Vram
from tiktok_ray.media import AUDIO_RATE, Audio, Speech, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio.pitch import pitch_track
from tiktok_ray.methods.audio.spectra import within
from tiktok_ray.methods.audio.wav2vec2 import RECIPE, SCALES, Classifier
from tiktok_ray.report import (
    Event,
    Missing,
    Model,
    Output,
    Timed,
    derived,
    estimated,
    measured,
    setting,
)
from tiktok_ray.weights import Hub

Array = NDArray[Any]

NAME = "speech_emotion"
#: Stretches of speech: joined over shorter gaps, split into at most and at least so many seconds.
JOIN_S, LONGEST_S, SHORTEST_S = 0.3, 10.0, 1.0
#: Shorter stretches are not shown to the model, and their pitch gets no slope.
HEARD_S, SLOPE_S = 0.5, 0.3
FRAME_S, FLOOR_DB = 0.05, -100.0
CURVE_S, CURVE_MAX = 0.1, 1200
NO_SPEECH = "no speech found"

#: Why a model named no emotion.
TOO_SHORT = f"all speech comes in pieces shorter than {HEARD_S:g} s, too short for the model"
NO_CLASSES = "this model outputs scales such as arousal and valence, not emotions"
WORDS = {"neu": "neutral", "hap": "happy", "ang": "angry", "sad": "sad"}


class Emotion(Model):
    """What the model takes the speaker's emotion to be.

    The default model learnt it from acted English dialogues (IEMOCAP); on other speech its
    probabilities say less.
    """

    dominant: str = estimated("The most probable emotion, by the model's own label")
    probability: float = estimated("Its probability", range="0..1")
    distribution: dict[str, float] = estimated(
        "Probability of every emotion, by the model's own labels", range="0..1"
    )

    @property
    def word(self) -> str:
        """The dominant emotion as a word."""
        return WORDS.get(self.dominant, self.dominant)


class Dimensions(Model):
    """Emotion as points on scales, for models that have them."""

    arousal: float | None = estimated("Calm (0) to excited (1)", range="0..1")
    valence: float | None = estimated("Negative (0) to positive (1)", range="0..1")


class Prosody(Model):
    """Pitch and energy of speech. The pitch fields are null where nothing is voiced."""

    pitch_hz: float | None = measured(
        "Geometric mean of the fundamental frequency", unit="Hz", method="pYIN (Mauch, Dixon 2014)"
    )
    pitch_range_st: float | None = measured(
        "From the 5th to the 95th percentile of the pitch", unit="semitones"
    )
    voiced_share: float = measured("Share of the time that is voiced", range="0..1")
    level_db: float | None = measured(
        "Level, from the mean square; null when digitally silent", unit="dBFS"
    )
    level_range_db: float = measured(
        "From the 10th to the 95th percentile of the level of 50 ms frames, with a floor of "
        "-100 dBFS",
        unit="dB",
    )


class Movement(Prosody):
    """Pitch and energy of one speech segment, and their trends."""

    pitch_slope_st_s: float | None = measured(
        "Slope of the pitch, rising is positive; null with less than 0.3 s of voice",
        unit="semitones/s",
        method="Theil-Sen",
    )
    level_slope_db_s: float = measured(
        "Slope of the level of 50 ms frames, rising is positive", unit="dB/s", method="Theil-Sen"
    )
    pitch_against_whole_st: float | None = derived(
        "Its mean pitch relative to that of all speech in the video", unit="semitones"
    )
    level_against_whole_db: float | None = derived(
        "Its level relative to that of all speech in the video", unit="dB"
    )


class SpokenStretch(Timed):
    """A speech segment: one sentence where there is a transcript, else one run of speech."""

    text: str | None = derived("Transcript of the segment; null without a transcript")
    emotion: Emotion | None = estimated(
        "Emotion; null without the model, and for less than half a second of speech"
    )
    dimensions: Dimensions | None = estimated(
        "Arousal and valence; null if the model does not output them"
    )
    prosody: Movement = measured("Pitch and energy")


class VoiceCurve(Model):
    """Pitch and level over time, as parallel lists; only within speech."""

    times: list[float] = measured("Midpoint of each step", unit="s", range="0..duration")
    pitch_hz: list[float | None] = measured(
        "Median pitch of the step; null where unvoiced", unit="Hz", method="pYIN"
    )
    level_db: list[float] = measured("Level, with a floor of -100", unit="dBFS")


class VoiceEmotion(Output):
    """Emotion and prosody per speech segment, and of the whole video."""

    segments: list[SpokenStretch] = measured("Speech segments, in order")
    emotion: Emotion | None = estimated(
        "Emotion of the whole video: mean distribution of the segments, weighted by their "
        "length; null without the model"
    )
    dimensions: Dimensions | None = estimated("Their mean, weighted by length")
    prosody: Prosody = measured("Pitch and energy of all speech")
    curve: VoiceCurve = measured("Pitch and level over time")
    longest_segment_s: float = setting("Longer speech segments are split", unit="s")

    def headline(self) -> str:
        parts = []
        if self.emotion:
            parts.append(f"{self.emotion.word} {self.emotion.probability:.2f}")
        if self.prosody.pitch_hz is not None:
            parts.append(f"pitch {self.prosody.pitch_hz:.0f} Hz")
        return ", ".join(parts) or "unvoiced speech"

    def events(self) -> Iterable[Event]:
        """One event for each run of stretches with the same dominant emotion."""
        run: list[SpokenStretch] = []
        for segment in [*self.segments, None]:
            emotion = segment.emotion if segment else None
            if run and (emotion is None or emotion.dominant != _felt(run[0]).dominant):
                yield Event(
                    start=run[0].start,
                    end=run[-1].end,
                    kind="emotion",
                    label=_felt(run[0]).word,
                    confidence=float(
                        np.average(
                            [_felt(s).probability for s in run], weights=[_length(s) for s in run]
                        )
                    ),
                    analyzer=NAME,
                )
                run = []
            if segment and emotion:
                run.append(segment)


def _felt(segment: SpokenStretch) -> Emotion:
    assert segment.emotion is not None
    return segment.emotion


def _length(timed: Timed) -> float:
    return timed.end - timed.start


class SpeechEmotion(Analyzer):
    """Emotion of the speech (wav2vec2); pitch and energy."""

    name = NAME
    card_priority = 5
    needs = Needs(threads=1, timeout_s=240, cost=12.0)
    idle_without: ClassVar = {"speech": NO_SPEECH}
    imports = ("scipy.fft", "scipy.special")
    variants = (
        Variant(
            "wav2vec2-er",
            weights={
                "emotion": Hub(
                    "superb/wav2vec2-base-superb-er",
                    "Apache-2.0",
                    0.35,
                    files=("config.json", "preprocessor_config.json", "pytorch_model.bin"),
                    needs=("config.json", "preprocessor_config.json", "*model.[bs]*"),
                    recipes=(RECIPE,),
                )
            },
            vram=Vram(0.18, 0.4),
            ram_gib=1.1,
            card_imports=("torch", "transformers"),
        ),
        Variant("prosody", ram_gib=0.3, lacks=("emotion",), basis="measured"),
    )
    batch = 2

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:
        self.model = Classifier(files["emotion"], device) if "emotion" in files else None
        pitch_track(np.zeros(AUDIO_RATE, np.float32), [(0.0, 1.0)])  # compiles, once a machine

    def analyze(
        self, audio: Audio, speech: Speech, speech_transcription: Transcript | None
    ) -> VoiceEmotion | Partial:
        spoken = spans.intersect(speech.spans, [(0.0, audio.duration_s)])
        if not spoken:
            raise Skip(NO_SPEECH)
        sentences = (speech_transcription.segments if speech_transcription else None) or []
        found = stretches(spoken, audio, [sentence.start for sentence in sentences])
        voice = Voice.of(audio, spoken)
        whole = prosody(voice, spoken)
        scores = self._scores(audio, found)
        segments = [
            SpokenStretch(
                start=span.start,
                end=span.end,
                text=said(speech_transcription, span),
                emotion=emotion_of(score),
                dimensions=dimensions_of(score),
                prosody=movement(voice, spans.intersect([span], spoken), whole),
            )
            for span, score in zip(found, scores, strict=True)
        ]
        mean = mean_scores(scores, [span.length for span in found])
        made = VoiceEmotion(
            segments=segments,
            emotion=emotion_of(mean),
            dimensions=dimensions_of(mean),
            prosody=whole,
            curve=curve(voice, spoken),
            longest_segment_s=LONGEST_S,
        )
        if made.emotion is None and self.model:
            reason = NO_CLASSES if mean else TOO_SHORT
            return Partial(made, (Missing(part="emotion", reason=reason),))
        return made

    def _scores(self, audio: Audio, found: Sequence[Span]) -> list[dict[str, float]]:
        """What the model makes of each stretch, by label; empty where it was not asked."""
        heard = [k for k, span in enumerate(found) if span.length >= HEARD_S]
        scores: list[dict[str, float]] = [{} for _ in found]
        if self.model and heard:
            rows = self.model([audio.cut(*found[k]) for k in heard], self.batch)
            for k, row in zip(heard, rows, strict=True):
                scores[k] = dict(zip(self.model.labels, row.tolist(), strict=True))
        return scores


def emotion_of(scores: Mapping[str, float]) -> Emotion | None:
    """The emotion that scores by label speak for; None without classes among them."""
    classes = {label: value for label, value in scores.items() if label.lower() not in SCALES}
    if not classes:
        return None
    dominant = max(classes, key=lambda label: classes[label])
    return Emotion(dominant=dominant, probability=classes[dominant], distribution=classes)


def dimensions_of(scores: Mapping[str, float]) -> Dimensions | None:
    """Arousal and valence among scores by label; None without either."""
    by_name = {label.lower(): value for label, value in scores.items()}
    if not by_name.keys() & {"arousal", "valence"}:
        return None
    return Dimensions(arousal=by_name.get("arousal"), valence=by_name.get("valence"))


def mean_scores(
    scores: Sequence[Mapping[str, float]], lengths: Sequence[float]
) -> dict[str, float]:
    """Mean by label over the stretches that have scores, weighted by their lengths."""
    kept = [(row, length) for row, length in zip(scores, lengths, strict=True) if row]
    total = sum(length for _, length in kept)
    if not kept:
        return {}
    return {label: sum(row[label] * w for row, w in kept) / total for label in kept[0][0]}


# --- stretches --------------------------------------------------------------------------------


def stretches(speech: Iterable[Span], audio: Audio, sentences: Sequence[float]) -> list[Span]:
    """Runs of speech, split where sentences begin, and where they are too long."""
    found = []
    for span in spans.union(speech, gap=JOIN_S):
        edges = [span.start]
        for t in sorted(sentences):
            if edges[-1] + SHORTEST_S <= t <= span.end - SHORTEST_S:
                edges.append(t)
        for start, end in zip(edges, [*edges[1:], span.end], strict=True):
            found += split(Span(start, end), audio)
    return found


def split(span: Span, audio: Audio) -> list[Span]:
    """Parts of at most ``LONGEST_S``, cut at the quietest moment of the half that may end one."""
    parts = []
    start = span.start
    while span.end - start > LONGEST_S:
        low = start + LONGEST_S / 2
        window = audio.cut(low, min(start + LONGEST_S, span.end - SHORTEST_S))
        quietest = int(np.argmin(frame_powers(window)))
        at = low + (quietest + 0.5) * FRAME_S
        parts.append(Span(start, at))
        start = at
    return [*parts, Span(start, span.end)]


def said(transcript: Transcript | None, span: Span) -> str | None:
    """The words whose middle lies in the span; None without a transcript of words."""
    if transcript is None or transcript.segments is None:
        return None
    inside = [w.text for w in transcript.words if spans.covers([span], (w.start + w.end) / 2)]
    return " ".join(word.strip() for word in inside)


# --- prosody ----------------------------------------------------------------------------------


class Voice:
    """Pitch every 20 ms within speech, and mean squares every 50 ms of the whole sound.

    ``times`` [n], ``semitones`` [n] above 1 Hz, NaN where unvoiced; ``power`` [k].
    """

    def __init__(self, times: Array, hz: Array, power: Array) -> None:
        self.times = times
        self.semitones = 12 * np.log2(hz)
        self.power = power
        self.power_times = (np.arange(len(power)) + 0.5) * FRAME_S

    @classmethod
    def of(cls, audio: Audio, speech: Sequence[Span]) -> Voice:
        times, hz = pitch_track(audio.samples, speech)
        return cls(times, hz, frame_powers(audio.samples))

    def pitch_within(self, part: Sequence[Span]) -> tuple[Array, Array]:
        """Times and semitones, NaN where unvoiced."""
        inside = within(self.times, part)
        return self.times[inside], self.semitones[inside]

    def power_within(self, part: Sequence[Span]) -> tuple[Array, Array]:
        """Times and mean squares; of a part shorter than a frame, the frame it lies in."""
        inside = within(self.power_times, part)
        if not inside.any():
            nearest = int(np.argmin(np.abs(self.power_times - part[0].start)))
            inside[nearest] = True
        return self.power_times[inside], self.power[inside]


def frame_powers(samples: Array) -> Array:
    """Mean squares of 50 ms frames; of the whole where it is shorter."""
    size = min(round(FRAME_S * AUDIO_RATE), max(1, len(samples)))
    count = len(samples) // size
    frames = samples[: count * size].reshape(count, size).astype(float)
    return np.asarray((frames**2).mean(1))


def decibels(power: Array) -> Array:
    """Levels in dBFS, at least -100."""
    return np.asarray(10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10))))


def slope(times: Array, values: Array) -> float:
    """Theil-Sen slope: the median over all pairs, of at most 200 points."""
    if len(times) > 200:
        kept = np.linspace(0, len(times) - 1, 200).astype(int)
        times, values = times[kept], values[kept]
    i, j = np.triu_indices(len(times), 1)
    return float(np.median((values[j] - values[i]) / (times[j] - times[i])))


def prosody(voice: Voice, part: Sequence[Span]) -> Prosody:
    """Pitch and energy within spans."""
    _, semitones = voice.pitch_within(part)
    _, power = voice.power_within(part)
    voiced = semitones[np.isfinite(semitones)]
    mean = float(power.mean())
    levels = decibels(power)
    return Prosody(
        pitch_hz=float(2 ** (voiced.mean() / 12)) if len(voiced) else None,
        pitch_range_st=float(np.ptp(np.percentile(voiced, (5, 95)))) if len(voiced) else None,
        voiced_share=len(voiced) / len(semitones) if len(semitones) else 0.0,
        level_db=10 * float(np.log10(mean)) if mean > 0 else None,
        level_range_db=float(np.ptp(np.percentile(levels, (10, 95)))),
    )


def movement(voice: Voice, part: Sequence[Span], whole: Prosody) -> Movement:
    """Pitch and energy within spans, how they move, and how they stand against the whole."""
    own = prosody(voice, part)
    times, semitones = voice.pitch_within(part)
    voiced = np.isfinite(semitones)
    power_times, power = voice.power_within(part)
    higher = None
    if own.pitch_hz is not None and whole.pitch_hz is not None:
        higher = 12 * float(np.log2(own.pitch_hz / whole.pitch_hz))
    louder = None
    if own.level_db is not None and whole.level_db is not None:
        louder = own.level_db - whole.level_db
    enough = voiced.sum() * 0.02 >= SLOPE_S
    return Movement(
        **own.model_dump(),
        pitch_slope_st_s=slope(times[voiced], semitones[voiced]) if enough else None,
        level_slope_db_s=slope(power_times, decibels(power)) if len(power) > 1 else 0.0,
        pitch_against_whole_st=higher,
        level_against_whole_db=louder,
    )


def curve(voice: Voice, speech: Sequence[Span]) -> VoiceCurve:
    """Pitch and level of speech in steps of 0.1 s, or longer where that gives too many."""
    step = max(CURVE_S, spans.total(speech) / CURVE_MAX)
    times: list[float] = []
    pitch: list[float | None] = []
    level: list[float] = []
    for span in speech:
        for k in range(max(1, round(span.length / step))):
            part = [Span(span.start + k * step, min(span.end, span.start + (k + 1) * step))]
            _, semitones = voice.pitch_within(part)
            voiced = semitones[np.isfinite(semitones)]
            times.append(round((part[0].start + part[0].end) / 2, 3))
            pitch.append(float(2 ** (np.median(voiced) / 12)) if len(voiced) else None)
            level.append(float(decibels(voice.power_within(part)[1].mean())))
    return VoiceCurve(times=times, pitch_hz=pitch, level_db=level)
