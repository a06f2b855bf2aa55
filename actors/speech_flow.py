"""How it is said: rate over time, pauses, emphasised words, fillers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tiktok_ray.report import Event, Model, Output, Timed, derived, measured

NAME = "speech_flow"


class Rates(Model):
    """Rates in windows over time; parallel lists. Absent inside where little is said."""

    times: list[float] = derived("Middle of each window", unit="s")
    speaking: list[float | None] = derived("Speaking rate in it", unit="1/min")
    articulation: list[float | None] = derived("Articulation rate in it", unit="1/min")


class Pause(Timed):
    """The speaker stops, and goes on."""

    length_s: float = derived("How long", unit="s")
    kind: Literal["silent", "background", "filled", "break"] = derived(
        "silent: the sound drops at least 20 dB below the speech; background: it drops less, other"
        " sound goes on; filled: with a filler word; break: longer than 3 s"
    )
    drop_db: float = measured(
        "Median level of the speech less the median level in the pause", unit="dB"
    )


class Interlude(Timed):
    """A gap in the speech that pitched sound such as music fills: no pause of the speaker."""

    harmonicity: float = measured(
        "Median height of the autocorrelation's peak over the loud part of the gap",
        range="0..1",
        method="autocorrelation divided by that of the window (Boersma 1993), lags of 60 to 500 Hz",
    )


class EmphasisedWord(Timed):
    """A word said louder, higher or longer than this speaker says words."""

    word: str = derived("The word")
    energy_z: float = measured("Its level against the words of this video", unit="robust z")
    pitch_z: float | None = measured(
        "Its pitch against them; absent where unvoiced", unit="robust z"
    )
    length_z: float | None = measured(
        "Its length per syllable against them; absent where syllables cannot be counted",
        unit="robust z",
    )
    score: float = derived("Mean of those at hand", unit="robust z")


class Filler(Timed):
    """A word that carries no meaning but holds the floor."""

    text: str = derived("The filler as transcribed, lower case")
    kind: Literal["hesitation", "marker"] = derived(
        "hesitation: äh, um …; marker: a word that is a filler only when it stands isolated"
        " (halt, like, …)"
    )


class SpeechFlow(Output):
    """How the speech runs."""

    counted: Literal["words", "syllables"] = derived(
        "What the rates count: the transcript's words, or without them syllable nuclei"
    )
    speaking_rate: float = derived("Per minute, pauses included", unit="1/min")
    articulation_rate: float = derived("Per minute, pauses left out", unit="1/min")
    syllables: int = measured(
        "Syllable nuclei in the speech",
        method="peaks of the energy envelope with dips of 2 dB between them, voiced (de Jong and"
        " Wempe 2009)",
    )
    syllables_per_s: float = derived("Nuclei per second, pauses left out", unit="1/s")
    rates: Rates = derived("Rates over time")
    pauses: list[Pause] = derived("Pauses in order of time")
    pauses_per_minute: float = derived("Pauses per minute of talk, breaks left out", unit="1/min")
    pause_share: float = derived("Share of the talk that is pause, breaks left out", range="0..1")
    pause_median_s: float | None = derived(
        "Median length, breaks left out; absent without pauses", unit="s"
    )
    interludes: list[Interlude] = derived("Gaps filled with pitched sound, in order of time")
    emphasis: list[EmphasisedWord] | None = derived(
        "Emphasised words in order of time; absent without words"
    )
    fillers: list[Filler] | None = derived("Fillers in order of time; absent without words")
    fillers_per_100_words: float | None = derived("Fillers per 100 words; absent without words")

    def headline(self) -> str:
        rate = f"{self.articulation_rate:.0f} {self.counted}/min"
        return f"{rate}, {len(self.pauses)} pauses"

    def events(self) -> Iterator[Event]:
        for pause in self.pauses:
            label = f"{pause.kind} pause, {pause.length_s:.1f} s"
            yield Event(start=pause.start, end=pause.end, kind="pause", label=label, analyzer=NAME)
