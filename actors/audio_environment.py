"""Environmental sounds: AudioSet tags over time, and the signal-to-noise ratio of the speech."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tiktok_ray.analyzer import Analyzer, Needs, Options, Sees, Skip, Variant, Vram
from tiktok_ray.media import AUDIO_RATE, Audio, Speech, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio import rhythm
from tiktok_ray.methods.audio.audio_tags import (
    BROAD,
    DETAILED,
    Spectrogrammer,
    Tagger,
    Yamnet,
    under,
    yamnet,
)
from tiktok_ray.methods.audio.loudness import fitted, silent_spans
from tiktok_ray.methods.audio.spectra import frame_times, short_frames, within
from tiktok_ray.report import Event, Model, Output, Timed, derived, estimated, measured, setting
from tiktok_ray.weights import Asset, Hub

Array = NDArray[Any]

NAME = "audio_environment"
#: Tags reported: the most probable ones of a window and of the whole, from this probability on.
TAGS, RANKED, REPORTED_FROM = 5, 10, 0.1
SILENCE_MIN_S = 0.5
#: Signal to noise: length of a frame, distance from speech, least background, mean square of a
#: microphone that is off.
FRAME_S, GUARD_S, BACKGROUND_S, DIGITAL_SILENCE = 0.05, 0.2, 0.5, 1e-10
#: How much of an event others must cover to stand for it.
COVERED = 0.7

SILENCE = "Silence"
MUSICAL = ("Music", "Musical instrument", "Singing")


class Tag(Model):
    """A sound class of AudioSet."""

    name: str = estimated("AudioSet class name")
    probability: float = estimated("The model's probability", range="0..1")


class TaggedWindow(Timed):
    """The model's tags for one window."""

    tags: list[Tag] = estimated("Classes above the reporting threshold, most probable first")


class RankedTag(Model):
    """One class over the whole video."""

    name: str = estimated("AudioSet class name")
    mean_probability: float = estimated("Mean over the classified windows", range="0..1")
    max_probability: float = estimated("Maximum over all windows", range="0..1")


class SoundEvent(Timed):
    """One sound from its onset to its end."""

    name: str = estimated("AudioSet class name")
    probability: float = estimated("Highest probability within the event", range="0..1")


class Quiet(Timed):
    """A time span too quiet to classify."""


class Shares(Model):
    """Shares of the time. Speech and music may sound at once, so the sum may exceed 1."""

    speech: float = estimated("Share with speech", range="0..1", method="Silero VAD")
    music: float = estimated(
        "Share with a class of the music branch at or above the onset threshold", range="0..1"
    )
    noise: float = derived("Share that is audible but neither speech nor music", range="0..1")
    silence: float = measured("Share below the silence threshold", range="0..1")


class Soundscape(Output):
    """Named sounds, over time and overall."""

    tags: list[RankedTag] = estimated(
        "Classes over the whole video: by highest probability in steps of 0.1, then by mean; a "
        "broad class (Animal, Music, Vehicle …) comes after the best class below it"
    )
    windows: list[TaggedWindow] = estimated("Tags of each window that is not silent")
    sounds: list[SoundEvent] = estimated(
        "Sounds merged over windows: they begin at or above `enter_at` and last while at or "
        "above `stay_at`; where a class and one of its subclasses stand for the same sound, "
        "only the more informative one is kept. Edges are moved to the strongest onset within "
        "half a hop of the window's edge, if there is one; other edges are accurate to `hop_s`"
    )
    silences: list[Quiet] = measured(
        "Where the level stays below `silence_below_lufs`, as in audio_analysis"
    )
    shares: Shares = derived("Shares of speech, music, noise and silence")
    snr_db: float | None = measured(
        "Signal-to-noise ratio of the speech over the background between it; null without "
        "speech, with less than half a second of background, or with music in it",
        unit="dB",
        method="10 lg((mean power within speech - background) / background); the background is the median power of 50 ms frames at least 0.2 s away from speech",
    )
    window_s: float = setting("Length of a window", unit="s")
    hop_s: float = setting("Hop from one window to the next", unit="s")
    enter_at: float = setting("Probability at which a sound event begins", range="0..1")
    stay_at: float = setting("Probability below which it ends", range="0..1")
    silence_below_lufs: float = setting("Level below which the sound counts as silent", unit="LUFS")

    def surest_music(self) -> float | None:
        """The highest probability of music, an instrument or singing; None where none is ranked."""
        known = [tag.max_probability for tag in self.tags if tag.name in MUSICAL]
        return max(known, default=None)

    def headline(self) -> str:
        if not self.tags:
            return "silent"
        return "; ".join(tag.name for tag in self.tags[:3])

    def events(self) -> Iterable[Event]:
        for sound in self.sounds:
            yield Event(
                start=sound.start, end=sound.end, kind="sound", label=sound.name,
                confidence=sound.probability, analyzer=NAME,
            )  # fmt: skip


class EnvironmentOptions(Options):
    """Settings of audio_environment."""

    enter_at: float = Field(
        0.3, ge=0, le=1, description="Probability at which a sound event begins"
    )
    stay_at: float = Field(0.15, ge=0, le=1, description="Probability below which it ends")
    silence_lufs: float = Field(
        -50.0, description="Level below which the sound counts as silent, in LUFS"
    )


def whole_window(seconds: float) -> Sees:
    """Sounds as long as a model's window: what is shorter never fills one."""
    return Sees("sounds", "audio", samples=0, seconds=seconds)


class AudioEnvironment(Analyzer):
    """AudioSet tags over time, sound events, and the signal-to-noise ratio of the speech."""

    name = NAME
    card_priority = 4
    needs = Needs(threads=1, timeout_s=180, cost=0.3)
    imports = ("scipy.fft", "scipy.ndimage")
    sees = (Sees("silences", "audio", samples=0, seconds=SILENCE_MIN_S),)
    variants = (
        Variant(
            "ast",
            weights={
                "ast": Hub(
                    "MIT/ast-finetuned-audioset-10-10-0.4593",
                    "BSD-3-Clause",
                    0.33,
                    files=("config.json", "preprocessor_config.json", "model.safetensors"),
                    needs=("config.json", "preprocessor_config.json", "model.safetensors"),
                )
            },
            vram=Vram(0.17, 0.4),
            cpu=False,
            imports=("torch", "transformers"),
            sees=(whole_window(Spectrogrammer.window_s),),
        ),
        Variant(
            "yamnet",
            weights={
                "yamnet": Asset(
                    "yamnet/yamnet_with_metadata.tflite",
                    "Apache-2.0",
                    0.004,
                    url="https://storage.googleapis.com/mediapipe-models/audio_classifier/yamnet/"
                    "float32/1/yamnet.tflite",
                )
            },
            ram_gib=0.25,
            imports=("mediapipe",),
            basis="measured",
            sees=(whole_window(Yamnet.window_s),),
        ),
    )
    options_type = EnvironmentOptions
    tagger: Callable[[], AbstractContextManager[Tagger]]

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:
        if "ast" in files:
            spectrogrammer = Spectrogrammer(files["ast"], device)
            self.tagger = lambda: nullcontext(spectrogrammer)
        else:
            self.tagger = partial(yamnet, files["yamnet"])
            with self.tagger() as tagger:
                tagger([np.zeros(round(tagger.window_s * AUDIO_RATE), np.float32)], 1)

    def analyze(self, audio: Audio, speech: Speech) -> Soundscape:
        if not audio.present or not len(audio.samples):
            raise Skip("the video has no sound")
        whole = (0.0, audio.duration_s)
        power = fitted(audio.levels.power, audio.duration_s)
        spoken = spans.intersect(speech.spans, [whole])
        silences = silent_spans(power, audio, self.options.silence_lufs, SILENCE_MIN_S, spoken)
        heard = spans.invert(silences, whole)
        with self.tagger() as tagger:
            names, window_s, hop_s = list(tagger.names), tagger.window_s, tagger.hop_s
            cut = windows(audio.duration_s, window_s, hop_s, heard)
            pieces = [padded(audio.cut(*span), window_s, audio.rate) for span in cut]
            probabilities = tagger(pieces, self.batch) if cut else np.zeros((0, len(names)))
        cells = [own_part(span, hop_s, audio.duration_s) for span in cut]
        limits = (self.options.enter_at, self.options.stay_at)
        music = music_spans(probabilities, names, cells, limits)
        return Soundscape(
            tags=ranked(probabilities, names),
            windows=[
                TaggedWindow(start=span.start, end=span.end, tags=tags_of(row, names))
                for span, row in zip(cut, probabilities, strict=True)
            ],
            sounds=sounds(probabilities, names, cells, limits, heard, onsets(audio)),
            silences=[Quiet(start=s.start, end=s.end) for s in silences],
            shares=shares(spoken, music, silences, audio.duration_s),
            snr_db=signal_to_noise(audio, spoken, music),
            window_s=window_s,
            hop_s=hop_s,
            enter_at=limits[0],
            stay_at=limits[1],
            silence_below_lufs=self.options.silence_lufs,
        )


# --- windows ----------------------------------------------------------------------------------


def windows(
    duration: float, window_s: float, hop_s: float, heard: Sequence[tuple[float, float]]
) -> list[Span]:
    """Windows over the sound, the last one ending with it, less those that are silent."""
    last = max(0.0, duration - window_s)
    starts = [k * hop_s for k in range(int(last / hop_s + 1e-6) + 1)]
    if last - starts[-1] > 1e-6:
        starts.append(last)
    cut = [Span(start, min(start + window_s, duration)) for start in starts]
    return [span for span in cut if spans.overlap([span], heard) >= min(0.1, duration)]


def padded(samples: Array, length: float, rate: int) -> Array:
    """A fresh copy of the samples with zeros up to ``length`` seconds."""
    size = round(length * rate)
    return np.pad(samples[:size], (0, max(0, size - len(samples))))


def own_part(window: Span, hop_s: float, duration: float) -> Span:
    """The part of the time that a window speaks for: one hop about its middle, and what lies
    beyond it at either end of the sound."""
    middle = (window.start + window.end) / 2
    start = 0.0 if window.start < 1e-6 else middle - hop_s / 2
    end = duration if window.end > duration - 1e-6 else middle + hop_s / 2
    return Span(start, end)


# --- tags -------------------------------------------------------------------------------------


def tags_of(row: Array, names: Sequence[str]) -> list[Tag]:
    """The most probable classes of one window, at most ``TAGS``."""
    order = np.argsort(-row, kind="stable")[:TAGS]
    return [Tag(name=names[k], probability=float(row[k])) for k in order if row[k] >= REPORTED_FROM]


def ranked(probabilities: Array, names: Sequence[str]) -> list[RankedTag]:
    """Classes of the whole: by highest probability in steps of 0.1, then by mean; a broad class
    comes after the best class under it that reaches half its probability."""
    if not len(probabilities):
        return []
    mean, top = probabilities.mean(0), probabilities.max(0)
    keys: dict[int, tuple[float, ...]] = {
        k: (round(float(top[k]), 1), float(mean[k]), 0.0)
        for k in range(len(names))
        if top[k] >= REPORTED_FROM and names[k] != SILENCE
    }
    for above, below in under(names, BROAD).items():
        details = [keys[k] for k in below if k in keys and top[k] >= 0.5 * top[above]]
        if above in keys and details:
            best = max(details)
            keys[above] = min(keys[above], (best[0], best[1], best[2] - 1))
    order = sorted(keys, key=lambda k: keys[k], reverse=True)[:RANKED]
    return [
        RankedTag(name=names[k], mean_probability=float(mean[k]), max_probability=float(top[k]))
        for k in order
    ]


def hysteresis(row: Array, cells: Sequence[Span], limits: tuple[float, float]) -> list[list[int]]:
    """Runs of adjoining cells that stay at or above the lower limit and reach the upper one."""
    runs: list[list[int]] = []
    for k, value in enumerate(row):
        if value < limits[1]:
            continue
        if runs and runs[-1][-1] == k - 1 and cells[k].start <= cells[k - 1].end + 1e-6:
            runs[-1].append(k)
        else:
            runs.append([k])
    return [run for run in runs if max(row[k] for k in run) >= limits[0]]


def sounds(
    probabilities: Array,
    names: Sequence[str],
    cells: Sequence[Span],
    limits: tuple[float, float],
    heard: Sequence[tuple[float, float]],
    onsets: Sequence[Onset] = (),
) -> list[SoundEvent]:
    """Sound events in order of time, none over a silence, setting in with an onset nearby.

    Left out: silence, which is measured; a broad class where classes under it cover most of it;
    and a class where a more probable one above it does.
    """
    found: dict[int, list[SoundEvent]] = {}
    for column, name in enumerate(names):
        row = probabilities[:, column]
        for run in hysteresis(row, cells, limits) if name != SILENCE else ():
            begin, end = set_in(cells[run[0]], onsets), cells[run[-1]].end
            for part in spans.intersect([(begin, end)], heard):
                within = [float(row[k]) for k in run if spans.overlap([cells[k]], [part]) > 0]
                top = max(within, default=0.0)  # none: a sound before, cut off by a silence
                if top >= limits[0]:
                    found.setdefault(column, []).append(
                        SoundEvent(start=part.start, end=part.end, name=name, probability=top)
                    )
    for above, below in under(names, DETAILED).items():
        for k in below:
            found[k] = [
                event
                for event in found.get(k, ())
                if not covered(
                    event,
                    [a for a in found.get(above, ()) if a.probability >= event.probability],
                )
            ]
    for above, below in under(names, BROAD).items():
        details = [event for k in below for event in found.get(k, ())]
        found[above] = [event for event in found.get(above, ()) if not covered(event, details)]
    events = [event for some in found.values() for event in some]
    return sorted(events, key=lambda event: (event.start, -event.probability, event.name))


class Onset(NamedTuple):
    """The onset of a sound, and its strength in dB."""

    time: float
    strength: float


def onsets(audio: Audio) -> list[Onset]:
    """Onsets of sounds, as in audio_analysis."""
    strength = rhythm.onset_strength(short_frames(audio.samples, audio.rate).bands)
    times = frame_times(len(strength)) + rhythm.ONSET_LATENCY_S
    found = rhythm.onset_times(strength)
    return [Onset(t, float(strength[int(np.abs(times - t).argmin())])) for t in found]


def set_in(cell: Span, onsets: Sequence[Onset]) -> float:
    """Time of the strongest onset within half a cell of where it begins, or that itself."""
    reach = cell.length / 2
    near = [one for one in onsets if cell.start > 0 and abs(one.time - cell.start) <= reach]
    return max(near, key=lambda one: one.strength).time if near else cell.start


def covered(event: SoundEvent, others: Sequence[SoundEvent]) -> bool:
    """Whether the others together cover most of the event."""
    return spans.share([other.span for other in others], [event.span]) >= COVERED


def music_spans(
    probabilities: Array,
    names: Sequence[str],
    cells: Sequence[Span],
    limits: tuple[float, float],
) -> list[Span]:
    """Where music, an instrument or singing is heard."""
    columns = [k for k, name in enumerate(names) if name in MUSICAL]
    if not columns or not len(probabilities):
        return []
    runs = hysteresis(probabilities[:, columns].max(1), cells, limits)
    return spans.union((cells[run[0]].start, cells[run[-1]].end) for run in runs)


# --- shares and noise -------------------------------------------------------------------------


def shares(
    speech: Sequence[Span], music: Sequence[Span], silences: Sequence[Span], duration: float
) -> Shares:
    """Shares of the time. What is silent is neither music nor noise, whatever a window says."""
    whole = [(0.0, duration)]
    music = spans.subtract(music, silences)
    rest = spans.subtract(whole, [*speech, *music, *silences])
    return Shares(
        speech=spans.share(speech, whole),
        music=spans.share(music, whole),
        noise=spans.share(rest, whole),
        silence=spans.share(silences, whole),
    )


def signal_to_noise(audio: Audio, speech: Sequence[Span], music: Sequence[Span]) -> float | None:
    """Level of the speech over the background between it in dB, None where it cannot be told."""
    size = round(FRAME_S * audio.rate)
    count = len(audio.samples) // size
    frames = audio.samples[: count * size].reshape(count, size).astype(float)
    power = (frames**2).mean(1)
    times = (np.arange(count) + 0.5) * FRAME_S
    near = [(start - GUARD_S, end + GUARD_S) for start, end in speech]
    voiced = within(times, spans.subtract(speech, music))
    apart = within(times, spans.subtract(audio.present, [*near, *music]))
    background = power[apart & (power > DIGITAL_SILENCE)]
    if not voiced.any() or len(background) * FRAME_S < BACKGROUND_S:
        return None
    noise = float(np.median(background))
    signal = float(power[voiced].mean()) - noise
    return 10 * float(np.log10(signal / noise)) if signal > 0 else None
