"""Delivery of the speech: rate over time, pauses, emphasised words, fillers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from actors.speech_transcription import Transcript, Word
from tiktok_ray.analyzer import Analyzer, Needs, Partial, Sees, Skip, Variant
from tiktok_ray.media import AUDIO_RATE, Audio, Speech, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio.emphasis import BASELINE_WORDS, EmphasisedWord, emphasised
from tiktok_ray.methods.audio.pauses import (
    PAUSE_S,
    QUIET_DB,
    STEP_S,
    Floats,
    Interlude,
    Pause,
    Talk,
    find_talk,
    levels,
    levels_in,
)
from tiktok_ray.methods.audio.pitch import harmonicity
from tiktok_ray.methods.peaks import find_peaks
from tiktok_ray.methods.text.fillers import HESITATIONS, Filler, find_fillers, is_hesitation
from tiktok_ray.report import Event, Missing, Model, Output, derived, measured, setting

NAME, HEARD = "speech_flow", "speech_transcription"

#: Prominence of a syllable nucleus, and the harmonicity of a voiced one (Praat's threshold).
DIP_DB, VOICED = 2.0, 0.45
#: Windows of the rates over time.
WINDOW_S, HOP_S = 5.0, 1.0


class Rates(Model):
    """Rates in windows over time, as parallel lists. Null where there is little speech."""

    times: list[float] = derived("Midpoint of each window", unit="s")
    speaking: list[float | None] = derived("Speaking rate in the window", unit="1/min")
    articulation: list[float | None] = derived("Articulation rate in the window", unit="1/min")
    window_s: float = setting("Length of a window; the hop is 1 s", unit="s")


class Delivery(Output):
    """Delivery of the speech. The talk lasts from the first speech to the last, without interludes."""

    counted: Literal["words", "syllables"] = derived(
        "What the rates count: the transcript's words without hesitations, or syllable nuclei "
        "where there are no words"
    )
    speaking_rate: float | None = derived(
        "Speaking rate: counted per minute of talk, including pauses but not breaks; absent "
        "for less than 1 s of talk",
        unit="1/min",
    )
    articulation_rate: float | None = derived(
        "Articulation rate: counted per minute of talk without pauses; absent for less than 1 "
        "s of talk",
        unit="1/min",
    )
    syllables: int = measured(
        "Syllable nuclei: voiced peaks of the energy envelope, 2 dB above the dips beside them",
        method="de Jong and Wempe 2009",
    )
    syllables_per_s: float | None = derived(
        "Nuclei per second of talk without pauses; absent for less than 1 s of talk", unit="1/s"
    )
    talk_s: float = derived("Duration of the talk, excluding breaks", unit="s")
    rates: Rates = derived("Rates over time")
    pauses: list[Pause] = measured(
        "Pauses: gaps of 0.25 s and more in the talk, in chronological order; speech within 25 "
        "dB of its loudest parts is not a gap",
        method="Silero VAD and the energy envelope",
    )
    pauses_per_minute: float | None = derived(
        "Pauses per minute of talk, excluding breaks; absent for less than 1 s of talk",
        unit="1/min",
    )
    pause_share: float | None = derived(
        "Share of the talk spent in pauses, excluding breaks; absent for less than 1 s of talk",
        range="0..1",
    )
    pause_median_s: float | None = derived(
        "Median length, excluding breaks; absent without pauses", unit="s"
    )
    interludes: list[Interlude] = measured(
        "Gaps filled by music or the like, in chronological order"
    )
    emphasis: list[EmphasisedWord] | None = derived(
        "Emphasised words, in chronological order, relative to all words of the video "
        "(speakers are not distinguished); absent with fewer than 8 words",
        method="robust z: (x - median) / max(1.4826 MAD, 1 dB or 0.5 semitones or 0.02 s); a word"
        " stands out if the mean of level, pitch and length is at least 1.5 and two of them are at"
        " least 1",
    )
    fillers: list[Filler] | None = derived(
        "Fillers in chronological order, as far as they were transcribed; absent without "
        "words, and in languages other than German and English"
    )
    fillers_per_100_words: float | None = derived("Fillers per 100 words")

    def headline(self) -> str:
        parts = []
        if self.articulation_rate is not None:
            parts.append(f"{self.articulation_rate:.0f} {self.counted}/min")
        count = len(self.pauses)
        parts.append(f"{count} pause{'' if count == 1 else 's'}" if count else "no pauses")
        if self.fillers:
            parts.append(f"{len(self.fillers)} filler{'' if len(self.fillers) == 1 else 's'}")
        return ", ".join(parts)

    def events(self) -> Iterator[Event]:
        for pause in self.pauses:
            yield Event(
                start=pause.start,
                end=pause.end,
                kind="pause",
                label="break in the talk" if pause.kind == "break" else f"{pause.kind} pause",
                analyzer=NAME,
            )


class SpeechFlow(Analyzer):
    """Rates, pauses, emphasis and fillers."""

    name = NAME
    needs = Needs(cost=0.1)
    #: Levels are taken over 30 ms, so that a pause seems that much shorter.
    sees = (Sees("pauses of a speaker", "audio", samples=0, seconds=PAUSE_S + 3 * STEP_S),)
    variants = (Variant("cpu"),)

    def analyze(
        self, audio: Audio, speech: Speech, speech_transcription: Transcript | None
    ) -> Delivery | Partial:
        spoken = spans.longer(spans.intersect(speech.spans, [(0.0, audio.duration_s)]), 0.05)
        if not spoken:
            raise Skip("there is no speech in this video")
        heard = speech_transcription
        words = heard.words if heard and not heard.translated else []
        language = (heard.language if heard else None) or ""
        missing = tuple(_missing(heard, words, language))
        absent = {one.part for one in missing}

        fillers = find_fillers(words, language) if language in HESITATIONS else []
        hesitations = [one.span for one in fillers if one.kind == "hesitation"]
        fluent = [word for word in words if not is_hesitation(word.text, language)]
        level = levels(audio.samples)
        talk = find_talk(audio, level, spoken, hesitations)
        nuclei = syllable_nuclei(audio.samples, level, spoken)
        moments = np.array([(word.start + word.end) / 2 for word in fluent]) if words else nuclei
        short = [pause for pause in talk.pauses if pause.kind != "break"]
        paused = spans.overlap((pause.span for pause in short), talk.extent)
        pitch = heard.pitch if heard else None
        contour = np.array(pitch.times if pitch else []), np.array(pitch.hz if pitch else [])
        output = Delivery(
            counted="words" if words else "syllables",
            speaking_rate=per_minute(len(moments), talk.seconds),
            articulation_rate=per_minute(len(moments), spans.total(talk.phonation)),
            syllables=len(nuclei),
            syllables_per_s=per_second(len(nuclei), spans.total(talk.phonation)),
            talk_s=talk.seconds,
            rates=rates(moments, talk),
            pauses=talk.pauses,
            pauses_per_minute=per_minute(len(short), talk.seconds),
            pause_share=per_second(paused, talk.seconds),
            pause_median_s=float(np.median([pause.length_s for pause in short])) if short else None,
            interludes=talk.interludes,
            emphasis=None
            if "emphasis" in absent
            else emphasised(fluent, language, level, *contour),
            fillers=None if "fillers" in absent else fillers,
            fillers_per_100_words=None if "fillers" in absent else 100 * len(fillers) / len(words),
        )
        return Partial(output, missing) if missing else output


def _missing(heard: Transcript | None, words: Sequence[Word], language: str) -> Iterator[Missing]:
    if words:
        if len(words) < BASELINE_WORDS:
            few = f"{len(words)} words are too few for a baseline of the speaker"
            yield Missing(part="emphasis", reason=few)
        if language not in HESITATIONS:
            yield Missing(part="fillers", reason=f"no filler list for language {language!r}")
        return
    cause: dict[str, Any] = {}
    if heard is None:
        reason, cause = "speech_transcription produced no output", {"lacks": [HEARD]}
    elif heard.segments is None:
        reason = "speech_transcription has no words"
        cause = {"lacks": [HEARD], "lacks_part": "words"}
    elif heard.translated:
        reason = "the words are a translation, not the original speech"
    else:
        reason = "no words were recognised"
    yield Missing(part="emphasis", reason=reason, **cause)
    yield Missing(part="fillers", reason=reason, **cause)


def per_second(amount: float, seconds: float) -> float | None:
    """None under one second: too little to speak of a rate."""
    return amount / seconds if seconds >= 1 else None


def per_minute(amount: float, seconds: float) -> float | None:
    """None under one second: too little to speak of a rate."""
    return 60 * amount / seconds if seconds >= 1 else None


# --- rates -------------------------------------------------------------------------------------


def syllable_nuclei(samples: NDArray[np.float32], level: Floats, spoken: Sequence[Span]) -> Floats:
    """Times of syllable nuclei in the spans, seconds [n] (de Jong and Wempe 2009).

    Peaks of the level, smoothed over 50 ms, that stand 2 dB above the dips beside them, lie at
    most 25 dB under the loudest speech and are voiced.
    """
    smooth = 10 * np.log10(np.convolve(10 ** (level / 10), np.ones(5) / 5, mode="same") + 1e-10)
    loudest = float(np.percentile(levels_in(level, spoken), 95))
    found: list[float] = []
    for start, end in spoken:
        first = round(start / STEP_S)
        part = smooth[first : round(end / STEP_S)]
        padded = np.concatenate([[-100.0], part, [-100.0]])
        peaks = find_peaks(padded, height=loudest - QUIET_DB, prominence=DIP_DB)
        times, values = harmonicity(samples[round(start * AUDIO_RATE) : round(end * AUDIO_RATE)])
        if len(times):
            at = (np.array([peak.at for peak in peaks]) - 0.5) * STEP_S
            nearest = np.abs(times[None, :] - at[:, None]).argmin(1)
            found += (start + at[values[nearest] >= VOICED]).tolist()
    return np.array(found)


def rates(moments: Floats, talk: Talk) -> Rates:
    """Rates in windows of ``WINDOW_S``, or in one over the whole where that is shorter."""
    last = max(talk.whole.start, talk.whole.end - WINDOW_S)
    starts = np.arange(talk.whole.start, last + 1e-9, HOP_S)
    times, speaking, articulation = [], [], []
    for start in starts.tolist():
        window = Span(start, min(start + WINDOW_S, talk.whole.end))
        count = int(((moments >= window.start) & (moments < window.end)).sum())
        times.append((window.start + window.end) / 2)
        speaking.append(per_minute(count, spans.overlap([window], talk.extent)))
        articulation.append(per_minute(count, spans.overlap([window], talk.phonation)))
    return Rates(times=times, speaking=speaking, articulation=articulation, window_s=WINDOW_S)
