"""What is to be heard: AudioSet tags over time, and how clean the speech is."""

from __future__ import annotations

from collections.abc import Iterable

from tiktok_ray.analyzer import Analyzer
from tiktok_ray.media import Audio, Speech
from tiktok_ray.report import Event, Model, Output, Timed, derived, estimated, measured, setting


class Tag(Model):
    """A sound class of AudioSet."""

    name: str = estimated("AudioSet class name")
    probability: float = estimated("Probability by the model", range="0..1")


class TaggedWindow(Timed):
    """What the model hears in one window."""

    tags: list[Tag] = estimated("Classes at or above the report threshold, most probable first")


class RankedTag(Model):
    """One class over the whole video."""

    name: str = estimated("AudioSet class name")
    mean_probability: float = estimated("Mean over the windows classified", range="0..1")
    max_probability: float = estimated("Highest in any window", range="0..1")


class SoundEvent(Timed):
    """One sound from where it sets in to where it ends."""

    name: str = estimated("AudioSet class name")
    probability: float = estimated("Highest probability within", range="0..1")


class Quiet(Timed):
    """A stretch too quiet to classify."""


class Shares(Model):
    """Shares of the time. Speech and music may sound at once, so the sum may exceed 1."""

    speech: float = estimated("Share with speech", range="0..1", method="Silero VAD")
    music: float = estimated(
        "Share with a class of the music branch at or above the entry threshold", range="0..1"
    )
    noise: float = derived("Share that is audible, but neither speech nor music", range="0..1")
    silence: float = measured("Share under the silence threshold", range="0..1")


class Soundscape(Output):
    """Sounds by name, over time and altogether."""

    tags: list[RankedTag] = estimated(
        "Classes of the whole, by highest mean probability over the windows classified"
    )
    windows: list[TaggedWindow] = estimated("Tags of each window that is not silent")
    sounds: list[SoundEvent] = estimated(
        "Sounds merged over windows: begun at or above `enter_at`, kept at or above `stay_at`"
    )
    silences: list[Quiet] = measured("Where the level stays under `silence_below_lufs`")
    shares: Shares = derived("Shares of speech, music, noise and silence")
    snr_db: float | None = measured(
        "Level of the speech over the background between it; null when there is no speech, no "
        "half second of background, or music in it",
        unit="dB",
        method="10 lg((mean power within speech - background) / background); background is the "
        "median power of 50 ms frames at least 0.2 s away from speech",
    )
    window_s: float = setting("Length of a window", unit="s")
    hop_s: float = setting("Time from one window to the next", unit="s")
    enter_at: float = setting("Probability at which a sound begins", range="0..1")
    stay_at: float = setting("Probability under which it ends", range="0..1")
    silence_below_lufs: float = setting("Level under which it is silent", unit="LUFS")

    def headline(self) -> str:
        if not self.tags:
            return "silent"
        return ", ".join(tag.name for tag in self.tags[:3])

    def events(self) -> Iterable[Event]:
        for sound in self.sounds:
            yield Event(
                start=sound.start, end=sound.end, kind="sound", label=sound.name,
                confidence=sound.probability, analyzer="audio_environment",
            )  # fmt: skip


class AudioEnvironment(Analyzer):
    """AudioSet tags over time, sound events, and the cleanness of the speech."""

    name = "audio_environment"

    def analyze(self, audio: Audio, speech: Speech) -> Soundscape:
        raise NotImplementedError
