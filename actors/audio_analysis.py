"""How loud the sound is, whether it has a pulse and a key, and where it changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from tiktok_ray.analyzer import Analyzer
from tiktok_ray.media import Audio
from tiktok_ray.report import Event, Model, Output, Timed, derived, measured, setting


class LoudnessCurve(Model):
    """Loudness over time, as parallel lists; null where it is minus infinity or undefined."""

    times: list[float] = measured("Centre of each window", unit="s", range="0..duration")
    momentary: list[float | None] = measured(
        "Loudness of the 0.4 s around each time",
        unit="LUFS",
        method="ITU-R BS.1770-5, EBU Tech 3341",
    )
    short_term: list[float | None] = measured(
        "Loudness of the 3 s around each time; null nearer than 1.5 s to an end",
        unit="LUFS",
        method="ITU-R BS.1770-5, EBU Tech 3341",
    )


class Silence(Timed):
    """A stretch in which nothing is to be heard."""


class Tempo(Model):
    """The pulse of the sound."""

    bpm: float = measured(
        "Beats per minute",
        unit="1/min",
        range="40..240",
        method="autocorrelation of the onset strength (log-mel spectral flux), weighted by a "
        "log-normal preference for 120 bpm one octave wide",
    )
    pulse_clarity: float = measured(
        "How sure the pulse is: the normalised autocorrelation of the onset strength at the beat "
        "period; 1 is a metronome",
        range="0..1",
        method="Lartillot et al. 2008, maximum of the autocorrelation",
    )
    alternative_bpm: float | None = measured(
        "The next best reading of the same pulse; null when there is none",
        unit="1/min",
        range="40..240",
    )


class Key(Model):
    """The musical key that fits best."""

    tonic: str = measured("Pitch class of the tonic", range="C, C#, D … B")
    mode: Literal["major", "minor"] = measured("Mode")
    correlation: float = measured(
        "Correlation of the mean chroma with this key's profile",
        range="-1..1",
        method="Krumhansl and Kessler 1982 profiles",
    )
    runner_up: str = measured("The next best key")
    runner_up_correlation: float = measured("Its correlation", range="-1..1")


class Spectrum(Model):
    """The colour of the sound up to 8 kHz: medians over the windows that can be heard."""

    centroid_hz: float = measured("Centre of gravity of the spectrum", unit="Hz", range="0..8000")
    bandwidth_hz: float = measured(
        "Spread about the centroid (second moment)", unit="Hz", range="0..8000"
    )
    rolloff_hz: float = measured(
        "Frequency under which 85 % of the energy lies", unit="Hz", range="0..8000"
    )
    flatness: float = measured(
        "Geometric over arithmetic mean of the power spectrum: 0 is a tone, 1 is white noise",
        range="0..1",
    )
    low_share: float = measured("Share of the energy under 250 Hz", range="0..1")
    high_share: float = measured("Share of the energy over 2 kHz", range="0..1")
    times: list[float] = measured("Times of the curve below", unit="s", range="0..duration")
    centroids_hz: list[float | None] = measured(
        "Centroid over time; null where nothing is to be heard", unit="Hz", range="0..8000"
    )


class SoundSection(Timed):
    """A stretch whose sound stays alike."""

    label: str = derived("Letter; sections that sound alike share it", range="A, B, C …")
    lufs: float | None = measured("Ungated loudness; null when silent", unit="LUFS")
    novelty: float | None = measured(
        "How sharply it sets in; null for the first",
        range="0..1",
        method="Foote 2000, checkerboard kernel over the cosine similarity of timbre and chroma",
    )


class Sound(Output):
    """Loudness, silence, pulse, key, spectrum and sections."""

    integrated_lufs: float | None = measured(
        "Loudness of the whole; null when nothing is above the gate of -70 LUFS",
        unit="LUFS",
        method="ITU-R BS.1770-5: 0.4 s blocks, gates at -70 LUFS and 10 LU under the mean",
    )
    loudness_range_lu: float | None = measured(
        "Spread of the short-term loudness; null when there are less than 3 s above the gate",
        unit="LU",
        method="EBU Tech 3342: 10th to 95th percentile, gates at -70 LUFS and 20 LU under the mean",
    )
    max_momentary_lufs: float | None = measured(
        "Loudest 0.4 s; null when silent", unit="LUFS", method="EBU Tech 3341"
    )
    max_short_term_lufs: float | None = measured(
        "Loudest 3 s; null when silent or shorter", unit="LUFS", method="EBU Tech 3341"
    )
    true_peak_dbtp: float | None = measured(
        "Highest peak of the waveform between samples too; null when digitally silent",
        unit="dBTP",
        method="ITU-R BS.1770-5 annex 2, four times oversampled",
    )
    loudness: LoudnessCurve = measured("Loudness over time")
    silence_below_lufs: float = setting("Loudness under which it is silent", unit="LUFS")
    silences: list[Silence] = measured(
        "Where the K-weighted level stays under `silence_below_lufs`, times without audio included"
    )
    silence_share: float = measured("Share of the time that is silent", range="0..1")
    tempo: Tempo | None = measured("Pulse; null when there is none, as in speech or silence")
    beats: list[float] = measured(
        "Times of the beats; empty without a tempo",
        unit="s",
        range="0..duration",
        method="Ellis 2007, dynamic programming over the onset strength",
    )
    onsets: list[float] = measured(
        "Times at which sounds set in",
        unit="s",
        range="0..duration",
        method="peaks of the log-mel spectral flux",
    )
    key: Key | None = measured("Key; null when the sound is not tonal")
    spectrum: Spectrum | None = measured("Spectral features; null when nothing is to be heard")
    band_limit_hz: float = setting("Spectral features see nothing above this", unit="Hz")
    sections: list[SoundSection] = measured("Sections of sound, in order, covering the whole")

    def headline(self) -> str:
        if self.integrated_lufs is None:
            return "silent"
        parts = [f"{self.integrated_lufs:.1f} LUFS"]
        if self.tempo:
            parts.append(f"{self.tempo.bpm:.0f} bpm")
        if self.key:
            parts.append(f"{self.key.tonic} {self.key.mode}")
        return ", ".join(parts)

    def events(self) -> Iterable[Event]:
        for silence in self.silences:
            yield Event(
                start=silence.start, end=silence.end, kind="silence", label="silence",
                analyzer="audio_analysis",
            )  # fmt: skip
        for t in self.beats:
            yield Event(start=t, end=t, kind="beat", label="beat", analyzer="audio_analysis")


class AudioAnalysis(Analyzer):
    """Loudness, silence, tempo, beats, onsets, key, spectrum and sections of the sound."""

    name = "audio_analysis"

    def analyze(self, audio: Audio) -> Sound:
        raise NotImplementedError
