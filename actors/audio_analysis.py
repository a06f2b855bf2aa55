"""Loudness, tempo, key and sections of the sound.

Loudness rests on the levels measured at the file's own rate; everything else on the 16 kHz mono
samples, by numpy and scipy alone: librosa compiles for seconds on its first call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tiktok_ray.analyzer import Analyzer, Needs, Options, Sees, Skip, Variant
from tiktok_ray.media import LEVEL_STEP_S, Audio, Speech, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio import rhythm
from tiktok_ray.methods.audio.loudness import (
    fitted,
    integrated,
    loudness_range,
    lufs,
    silent_spans,
    windowed,
)
from tiktok_ray.methods.audio.spectra import (
    ShortFrames,
    frame_times,
    magnitudes,
    short_frames,
    within,
)
from tiktok_ray.report import Event, Model, Output, Timed, derived, measured, setting

Array = NDArray[Any]

NAME = "audio_analysis"
#: A longer silence is no pause in music, and how far before a sound its onset may be placed.
PAUSE_S, EARLY_S = 2.0, 0.05
#: Longest curve written, in points.
CURVE_MAX, SPECTRUM_CURVE_MAX = 1200, 600
#: 256 ms every 100 ms, to tell one semitone from the next.
TONE_FRAME, TONE_HOP = 4096, 1600
#: Sections: 0.25 s steps, compared over 2 s on either side.
SECTION_STEP_S, KERNEL = 0.25, 8
SECTION_NOVELTY, SECTION_LIKENESS = 0.35, 0.7
NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
#: Krumhansl and Kessler 1982, from the tonic upwards.
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


class LoudnessCurve(Model):
    """Loudness over time, as parallel lists; null where it is minus infinity or undefined."""

    times: list[float] = measured("Centre time of each window", unit="s", range="0..duration")
    momentary: list[float | None] = measured(
        "Loudness of the 0.4 s window around each time",
        unit="LUFS",
        method="ITU-R BS.1770-5, EBU Tech 3341",
    )
    short_term: list[float | None] = measured(
        "Loudness of the 3 s window around each time; null within 1.5 s of either end",
        unit="LUFS",
        method="ITU-R BS.1770-5, EBU Tech 3341",
    )


class Silence(Timed):
    """A time span without audible sound."""


class Tempo(Model):
    """The pulse of the sound."""

    bpm: float = measured(
        "Beats per minute",
        unit="1/min",
        range="40..240",
        method="autocorrelation of the onset strength (rise of half-octave band levels), weighted "
        "by a log-normal preference for 120 bpm one octave wide (Ellis 2007); twice as fast where "
        "that period is at least 0.9 times as clear",
    )
    pulse_clarity: float = measured(
        "Pulse clarity: mean of the normalised autocorrelation of the onset strength at one to "
        "four beats; 1 is a metronome. No tempo is reported below 0.2, or below 2.5 s divided "
        "by the seconds of sound (excluding silences longer than 2 s): speech and noise almost "
        "never reach that",
        range="0..1",
        method="pulse clarity by autocorrelation (Lartillot et al. 2008)",
    )
    beat_support: float = measured(
        "Share of the beats within 50 ms of an onset; no tempo is reported below 0.3", range="0..1"
    )
    alternative_bpm: float | None = measured(
        "The next best tempo for the same pulse; null if there is none",
        unit="1/min",
        range="40..240",
    )


class Key(Model):
    """The musical key that fits best."""

    tonic: str = measured("Pitch class of the tonic", range="C, C#, D … B")
    mode: Literal["major", "minor"] = measured("Mode")
    concentration: float = measured(
        "How closely the spectral peaks fit one semitone grid (resultant length of their "
        "positions between semitones); no key is reported below 0.3, as in speech and noise",
        range="0..1",
    )
    correlation: float = measured(
        "Correlation of the mean pitch classes with this key's profile; no key is reported "
        "below 0.6",
        range="-1..1",
        method="profiles of Krumhansl and Kessler 1982",
    )
    runner_up: str = measured("The second best key")
    runner_up_correlation: float = measured("Its correlation", range="-1..1")


class Spectrum(Model):
    """The timbre of the sound up to 8 kHz: medians over the audible windows."""

    centroid_hz: float = measured("Spectral centroid", unit="Hz", range="0..8000")
    bandwidth_hz: float = measured(
        "Spectral spread around the centroid (second moment)", unit="Hz", range="0..8000"
    )
    rolloff_hz: float = measured(
        "Spectral roll-off: frequency below which 85 % of the energy lies",
        unit="Hz",
        range="0..8000",
    )
    flatness: float = measured(
        "Spectral flatness, geometric over arithmetic mean of the power spectrum: 0 is a pure "
        "tone, 1 is white noise",
        range="0..1",
    )
    low_share: float = measured("Share of the energy below 250 Hz", range="0..1")
    high_share: float = measured("Share of the energy above 2 kHz", range="0..1")
    times: list[float] = measured("Times of the curve below", unit="s", range="0..duration")
    centroids_hz: list[float | None] = measured(
        "Centroid over time; null where the sound is inaudible", unit="Hz", range="0..8000"
    )


class SoundSection(Timed):
    """A time span with similar sound throughout."""

    label: str = derived("Letter; sections that sound alike share it", range="A, B, C …")
    lufs: float | None = measured("Ungated loudness; null when silent", unit="LUFS")
    novelty: float | None = measured(
        "How sharply the sound changes at its start; null for the first section",
        range="0..1",
        method="Foote 2000, checkerboard kernel over the cosine similarity of timbre and chroma",
    )


class Sound(Output):
    """Loudness, silence, pulse, key, spectrum and sections."""

    integrated_lufs: float | None = measured(
        "Integrated loudness; null when nothing is above the gate of -70 LUFS",
        unit="LUFS",
        method="ITU-R BS.1770-5: 0.4 s blocks, gates at -70 LUFS and 10 LU below the mean",
    )
    loudness_range_lu: float | None = measured(
        "Loudness range; null when less than 6 s are above the gate",
        unit="LU",
        method="EBU Tech 3342: 10th to 95th percentile of the short-term loudness, gates at -70 LUFS and 20 LU below the mean",
    )
    max_momentary_lufs: float | None = measured(
        "Maximum momentary loudness (0.4 s); null when silent", unit="LUFS", method="EBU Tech 3341"
    )
    max_short_term_lufs: float | None = measured(
        "Maximum short-term loudness (3 s); null when silent or shorter",
        unit="LUFS",
        method="EBU Tech 3341",
    )
    true_peak_dbtp: float | None = measured(
        "True peak: highest peak of the waveform, including between samples; null when "
        "digitally silent",
        unit="dBTP",
        method="ITU-R BS.1770-5 annex 2, fourfold oversampling",
    )
    loudness: LoudnessCurve = measured("Loudness over time")
    silence_below_lufs: float = setting("Loudness threshold of silence", unit="LUFS")
    silences: list[Silence] = measured(
        "Where the K-weighted level stays below `silence_below_lufs` and nobody speaks, "
        "including times without audio",
        method="the threshold is 10 LU below the integrated loudness where that is lower; the average is 3 dB below it, single steps may exceed it by up to 3 dB",
    )
    silence_share: float = measured("Silent share of the time", range="0..1")
    tempo: Tempo | None = measured("Tempo; null when there is no pulse, as in speech or silence")
    beats: list[float] = measured(
        "Times of the beats; empty without a tempo",
        unit="s",
        range="0..duration",
        method="Ellis 2007, dynamic programming over the onset strength",
    )
    onsets: list[float] = measured(
        "Onset times of sounds",
        unit="s",
        range="0..duration",
        method="peaks of the mean rise of half-octave band levels over 20 ms, 4 dB above their surroundings",
    )
    key: Key | None = measured("Key; null when the sound is not tonal")
    spectrum: Spectrum | None = measured("Spectral features; null when the sound is inaudible")
    band_limit_hz: float = setting("Upper frequency limit of the spectral features", unit="Hz")
    sections: list[SoundSection] = measured(
        "Sections of the sound, in order, covering the whole video"
    )

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
                start=silence.start, end=silence.end, kind="silence", label="silence", analyzer=NAME
            )
        for t in self.beats:
            yield Event(start=t, end=t, kind="beat", label="beat", analyzer=NAME)


class AudioOptions(Options):
    """Settings of the audio analysis."""

    silence_lufs: float = Field(
        -50.0, description="Loudness below which the sound counts as silent, in LUFS"
    )
    silence_min_s: float = Field(0.5, gt=0, description="Shortest silence reported, in seconds")


class AudioAnalysis(Analyzer):
    """Loudness, silence, tempo, beats, onsets, key, spectrum and sections of the sound."""

    name = NAME
    needs = Needs(threads=1, timeout_s=120, cost=0.1)
    imports = ("scipy.fft", "scipy.ndimage")
    variants = (Variant("cpu", ram_gib=0.2, basis="measured"),)
    options_type = AudioOptions

    @classmethod
    def sees_for(cls, options: Options) -> tuple[Sees, ...]:
        """Silences as long as the shortest that is reported."""
        shortest = getattr(options, "silence_min_s", 0.0)
        return (Sees("silences", "audio", samples=0, seconds=shortest),)

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:
        import scipy.fft
        import scipy.ndimage  # noqa: F401

    def analyze(self, audio: Audio, speech: Speech | None = None) -> Sound:
        if not audio.present or not len(audio.samples):
            raise Skip("the video has no sound")
        duration = audio.duration_s
        power = fitted(audio.levels.power, duration)
        peak = float(fitted(audio.levels.peak, duration).max(initial=0.0))
        silences = silent_spans(
            power,
            audio,
            self.options.silence_lufs,
            self.options.silence_min_s,
            speech.spans if speech else (),
        )
        heard = spans.invert(silences, (0.0, duration))
        going_on = spans.invert(spans.longer(silences, PAUSE_S), (0.0, duration))
        frames = short_frames(audio.samples, audio.rate)
        strength = rhythm.onset_strength(frames.bands)
        onsets = near(rhythm.onset_times(strength), heard)
        pulse = rhythm.find_pulse(strength, onsets, spans.total(going_on))
        chroma = pitch_classes(audio.samples, audio.rate)
        momentary = windowed(power, 4)
        short_term = windowed(power, 30)
        return Sound(
            integrated_lufs=integrated(power),
            loudness_range_lu=loudness_range(power),
            max_momentary_lufs=max((v for v in momentary if v is not None), default=None),
            max_short_term_lufs=max((v for v in short_term if v is not None), default=None),
            true_peak_dbtp=float(20 * np.log10(peak)) if peak > 0 else None,
            loudness=curve(momentary, short_term),
            silence_below_lufs=self.options.silence_lufs,
            silences=[Silence(start=s.start, end=s.end) for s in silences],
            silence_share=min(1.0, spans.total(silences) / duration),
            tempo=Tempo(
                bpm=pulse.bpm,
                pulse_clarity=pulse.clarity,
                beat_support=pulse.support,
                alternative_bpm=pulse.alternative_bpm,
            )
            if pulse
            else None,
            beats=near(pulse.beats, going_on) if pulse else [],
            onsets=onsets,
            key=find_key(chroma.classes, chroma.concentration),
            spectrum=spectrum(frames, heard),
            band_limit_hz=audio.rate / 2,
            sections=sections(frames.bands, chroma.classes, power, duration),
        )


# --- key ----------------------------------------------------------------------------------------


class PitchClasses(NamedTuple):
    """``classes``: strength of the twelve pitch classes from C up, each 100 ms, [n, 12].

    ``concentration``: how closely the spectral peaks keep to one semitone grid, 0..1.
    """

    classes: Array
    concentration: float


def pitch_classes(samples: Array, rate: int) -> PitchClasses:
    """Pitch classes of the spectral peaks between 80 Hz and 2 kHz, on the grid they share."""
    low, high = round(80 * TONE_FRAME / rate), round(2000 * TONE_FRAME / rate)
    rows, pitches, weights, count = [], [], [], 0
    for block in magnitudes(samples, TONE_FRAME, TONE_HOP):
        part = block[:, low - 1 : high + 2]
        left, middle, right = part[:, :-2], part[:, 1:-1], part[:, 2:]
        peak = (middle > left) & (middle >= right)
        peak &= middle > np.maximum(0.03 * middle.max(1, keepdims=True), 1e-3)
        row, bin_ = np.nonzero(peak)
        a, b, c = (np.log(x[peak] + 1e-12) for x in (left, middle, right))
        frequency = (bin_ + low + 0.5 * (a - c) / np.minimum(a - 2 * b + c, -1e-9)) * (
            rate / TONE_FRAME
        )
        rows.append(row + count)
        pitches.append(69 + 12 * np.log2(frequency / 440))
        weights.append(middle[peak])
        count += len(block)
    row, pitch, weight = (np.concatenate(x) for x in (rows, pitches, weights))
    classes = np.zeros((count, 12))
    if not len(pitch):
        return PitchClasses(classes, 0.0)
    mean = (weight * np.exp(2j * np.pi * pitch)).sum() / weight.sum()
    tuned = np.round(pitch - np.angle(mean) / (2 * np.pi)).astype(int) % 12
    np.add.at(classes, (row, tuned), weight)
    return PitchClasses(classes, float(abs(mean)))


def find_key(classes: Array, concentration: float) -> Key | None:
    """The key whose profile fits the mean pitch classes best; None if the sound is not tonal."""
    total = classes.sum(0)
    if concentration < 0.3 or total.std() == 0:
        return None
    fits = [
        (float(np.corrcoef(np.roll(profile, tonic), total)[0, 1]), NOTES[tonic], mode)
        for mode, profile in (("major", MAJOR), ("minor", MINOR))
        for tonic in range(12)
    ]
    (fit, tonic, mode), second = sorted(fits, reverse=True)[:2]
    if fit < 0.6:
        return None
    return Key(
        tonic=tonic,
        mode=mode,
        concentration=concentration,
        correlation=fit,
        runner_up=f"{second[1]} {second[2]}",
        runner_up_correlation=second[0],
    )


# --- sections -----------------------------------------------------------------------------------


def sections(bands: Array, classes: Array, power: Array, duration: float) -> list[SoundSection]:
    """Split where the sound changes, and give similar sections the same label."""
    features = section_features(bands, classes)
    novelty = novelty_curve(features)
    starts = [0, *boundaries(novelty)]
    labels = labelled([part.mean(0) for part in np.split(features, starts[1:])])
    kept = [k for k in range(len(starts)) if k == 0 or labels[k] != labels[k - 1]]
    edges = [*(starts[k] * SECTION_STEP_S for k in kept), duration]
    found = []
    for k, start, end in zip(kept, edges, edges[1:], strict=False):
        level = power[round(start / LEVEL_STEP_S) : round(end / LEVEL_STEP_S)]
        loud = lufs(level.mean()) if len(level) and level.any() else None
        found.append(
            SoundSection(
                start=start,
                end=end,
                label=labels[k],
                lufs=None if loud is None else float(loud),
                novelty=float(novelty[starts[k]]) if k else None,
            )
        )
    return found


def section_features(bands: Array, classes: Array) -> Array:
    """Timbre and pitch classes of every 0.25 s, each part of unit length: [n, 27]."""
    per = round(SECTION_STEP_S * 100)
    count = max(1, len(bands) // per)
    levels = np.maximum(bands, bands.max() - rhythm.DYNAMIC_DB)
    timbre = np.stack([part.mean(0) for part in np.array_split(levels[: count * per], count)])
    timbre = timbre - timbre.mean(0)
    rows = np.minimum((np.arange(count) + 0.5) * SECTION_STEP_S * 10, len(classes) - 1).astype(int)
    chroma = np.sqrt(classes[rows])
    chroma = chroma - chroma.mean(1, keepdims=True)
    return np.hstack([_unit(timbre), 0.5 * _unit(chroma)])


def _unit(rows: Array) -> Array:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))


def novelty_curve(features: Array) -> Array:
    """Foote's novelty [n], 0..1: likeness within the 2 s before and after, less that across."""
    near = np.exp(-0.5 * ((np.arange(2 * KERNEL) - KERNEL + 0.5) / (KERNEL / 2)) ** 2)
    sign = np.where(np.arange(2 * KERNEL) < KERNEL, -1.0, 1.0)
    kernel = np.outer(near * sign, near * sign) / np.outer(near, near).sum()
    unit = _unit(features)
    novelty = np.zeros(len(unit))
    for k in range(KERNEL, len(unit) - KERNEL + 1):
        part = unit[k - KERNEL : k + KERNEL]
        novelty[k] = max(0.0, float((kernel * (part @ part.T)).sum()))
    return novelty


def boundaries(novelty: Array) -> list[int]:
    """Indices at which the novelty is highest within 2 s and at least ``SECTION_NOVELTY``."""
    from scipy.ndimage import maximum_filter1d

    top = maximum_filter1d(novelty, 2 * KERNEL + 1)
    found: list[int] = []
    for k in np.flatnonzero((novelty == top) & (novelty >= SECTION_NOVELTY)):
        if not found or k - found[-1] > KERNEL:
            found.append(int(k))
    return found


def labelled(means: list[Array]) -> list[str]:
    """A letter for each section: that of the first one whose mean is alike, or a new one."""
    leaders: list[Array] = []
    letters = []
    for mean in _unit(np.stack(means)):
        alike = [float(mean @ leader) for leader in leaders]
        if alike and max(alike) >= SECTION_LIKENESS:
            index = int(np.argmax(alike))
        else:
            index = len(leaders)
            leaders.append(mean)
        letters.append(chr(ord("A") + index) if index < 26 else f"Z{index}")
    return letters


def near(times: Iterable[float], of: list[Span]) -> list[float]:
    """The times that lie in one of the spans or at most ``EARLY_S`` before it."""
    wider = [(start - EARLY_S, end) for start, end in of]
    return [t for t in times if spans.covers(wider, t)]


# --- series -------------------------------------------------------------------------------------


def curve(momentary: list[float | None], short_term: list[float | None]) -> LoudnessCurve:
    """Both series over the centres of the momentary windows, thinned to ``CURVE_MAX`` points."""
    every = max(1, -(-len(momentary) // CURVE_MAX))
    shift = 15 - 2
    kept = range(0, len(momentary), every)
    return LoudnessCurve(
        times=[round((k + 2) * LEVEL_STEP_S, 3) for k in kept],
        momentary=[momentary[k] for k in kept],
        short_term=[
            short_term[k - shift] if 0 <= k - shift < len(short_term) else None for k in kept
        ],
    )


def spectrum(frames: ShortFrames, heard: list[Span]) -> Spectrum | None:
    """Medians over the frames that are heard, and the centroid over time."""
    times = frame_times(len(frames.centroid))
    inside = within(times, heard)
    if not inside.any():
        return None
    step = max(0.25, times[-1] / SPECTRUM_CURVE_MAX)
    slots = (times / step).astype(int)
    counts = np.bincount(slots, inside)
    sums = np.bincount(slots, np.where(inside, frames.centroid, 0))

    def middle(values: Array) -> float:
        return float(np.median(values[inside]))

    return Spectrum(
        centroid_hz=middle(frames.centroid),
        bandwidth_hz=middle(frames.bandwidth),
        rolloff_hz=middle(frames.rolloff),
        flatness=middle(frames.flatness),
        low_share=middle(frames.low),
        high_share=middle(frames.high),
        times=[round((slot + 0.5) * step, 3) for slot in range(len(counts))],
        centroids_hz=[float(s / c) if c else None for s, c in zip(sums, counts, strict=True)],
    )
