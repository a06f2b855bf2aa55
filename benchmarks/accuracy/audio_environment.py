"""Sounds of known kinds and onsets: event F1 at an onset within 200 ms, and shares of the time.

A kind counts as named by any of its names in AudioSet. Events are those of one kind together
(Mesaros et al. 2016, event-based F1, onset only). Real sounds: whether the first tag is right.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from actors.audio_environment import SoundEvent, Soundscape
from benchmarks.accuracy import Bench, Figure
from benchmarks.accuracy._figures import f1_figure, groups, mean_figure, share_figure
from benchmarks.accuracy.audio_analysis import iou
from benchmarks.accuracy.speech_transcription import playable
from tiktok_ray.media import spans

#: Which fields the figures are errors of.
FIELDS = {
    ("event F1, onset ±200 ms", "all"): ("sounds.name", "sounds.start"),
    ("silence IoU", "all"): ("silences.start", "silences.end", "shares.silence"),
    ("error of the share of speech", "all"): ("shares.speech",),
    ("error of the share of music", "all"): ("shares.music",),
    ("first tag right", "all"): ("tags.name",),
}
ONSET_S = 0.2
LIMIT_HELD = 0.95  # least share of sounds told that are as long as the stated limit
BRIDGED_S = 0.5  # events of one kind closer together are one
#: What each kind may be called, in AudioSet's names.
NAMES = {
    "speech": {
        "Speech", "Speech synthesizer", "Narration, monologue", "Conversation",
        "Male speech, man speaking", "Female speech, woman speaking", "Child speech, kid speaking",
    },
    "music": {
        "Music", "Musical instrument", "Plucked string instrument", "Guitar", "Acoustic guitar",
        "Electric guitar", "Bass guitar", "Steel guitar, slide guitar", "Strum", "Banjo", "Sitar",
        "Mandolin", "Ukulele", "Zither", "Harp", "Keyboard (musical)", "Piano", "Electric piano",
        "Harpsichord", "Organ", "Electronic organ", "Synthesizer", "Sampler", "Percussion", "Drum",
        "Drum kit", "Drum machine", "Snare drum", "Marimba, xylophone", "Glockenspiel",
        "Vibraphone", "Steelpan", "Electronic music", "Techno", "House music", "Funk", "Reggae",
    },
    "noise": {"White noise", "Pink noise", "Static", "Noise", "Hiss"},
    "tone": {
        "Sine wave", "Harmonic", "Chirp tone", "Beep, bleep", "Dial tone", "Tuning fork", "Buzzer",
    },
}  # fmt: skip
#: What is to be heard in real files, by any of these names.
HEARD = {
    "audio/jfk.flac": NAMES["speech"],
    "audio/librispeech_5703-47212-0000.ogg": NAMES["speech"],
    "audio/nasa_13013_8k.mp3": NAMES["speech"],
    "audio/trumpet.ogg": {"Trumpet", "Brass instrument", "Music", "Musical instrument"},
    "audio/vibe_ace.ogg": NAMES["music"],
    "audio/esc50_dog.wav": {"Dog", "Bark", "Bow-wow", "Animal", "Domestic animals, pets", "Yip"},
    "audio/esc50_carhorn.wav": {"Vehicle horn, car horn, honking", "Toot", "Car", "Air horn, truck horn"},
}  # fmt: skip


def figures(bench: Bench) -> Iterator[Figure]:
    known: list[tuple[str, dict[str, Any]]] = []
    for clip in bench.clips("soundscapes", ("sounds",)):
        found: Soundscape = bench.output("audio_environment", clip.path)
        known.append((clip.recipe.condition, against(found, clip.truth)))
    for condition, some in groups(known).items():
        for kind in NAMES:
            counts = [one["events"][kind] for one in some]
            yield f1_figure("event F1, onset ±200 ms", kind, condition, counts)
        yield mean_figure(
            "silence IoU", "silence", condition, [o["silence"] for o in some], bounds=(0, 1)
        )
        for kind in ("speech", "music"):
            off = [one[kind] for one in some]
            yield mean_figure(f"error of the share of {kind}", "whole clips", condition, off)
    yield from brief(bench)
    with tempfile.TemporaryDirectory() as folder:
        right = []
        for file, names in HEARD.items():
            path = playable(bench.file(file), Path(folder))
            tags = bench.output("audio_environment", path).tags
            right.append((bool(tags) and tags[0].name in names, 1))
    yield share_figure("first tag right", "tags", "all", right, clips="real", unit="sounds")


def brief(bench: Bench) -> Iterator[Figure]:
    """How many sounds of a length are told, whatever as, and how many as what they are; from the
    stated limit on nearly all must be told."""
    told: dict[str, list[tuple[bool, bool]]] = {}
    stated: dict[str, bool] = {}
    for clip in bench.clips("soundscapes", ("brief",)):
        found: Soundscape = bench.output("audio_environment", clip.path)
        (one,) = clip.truth["sounds"]
        here = [
            sound.name
            for sound in found.sounds
            if sound.start < one["end"] and one["start"] < sound.end
        ]
        condition = f"{clip.recipe.condition} long"
        told.setdefault(condition, []).append((bool(here), not NAMES[one["kind"]].isdisjoint(here)))
        stated[condition] = clip.recipe.parameters["seconds"] >= found.window_s
    for condition, some in told.items():
        least = LIMIT_HELD if stated[condition] else None
        any_, right = ([(pair[k], 1) for pair in some] for k in (0, 1))
        yield share_figure("brief sounds told", "single sounds", condition, any_, least=least)
        yield share_figure("brief sounds told as what they are", "single sounds", condition, right)


def against(found: Soundscape, truth: dict[str, Any]) -> dict[str, Any]:
    """One clip: events right, wrong and missed of each kind, and errors of shares."""
    events = {}
    for kind, names in NAMES.items():
        true = [one["start"] for one in truth["sounds"] if one["kind"] == kind]
        events[kind] = counts(onsets(found.sounds, names), true)
    lengths = {
        kind: sum(one["end"] - one["start"] for one in truth["sounds"] if one["kind"] == kind)
        for kind in ("speech", "music")
    }
    silences = [spans.Span(*one) for one in truth["silences"]]
    return {
        "events": events,
        "silence": iou([one.span for one in found.silences], silences),
        "speech": abs(found.shares.speech - lengths["speech"] / truth["duration"]),
        "music": abs(found.shares.music - lengths["music"] / truth["duration"]),
    }


def onsets(sounds: Sequence[SoundEvent], names: set[str]) -> list[float]:
    """Where the sounds of one kind begin."""
    own = spans.union(one.span for one in sounds if one.name in names)
    begun: list[float] = []
    end = float("-inf")
    for span in own:
        if span.start - end > BRIDGED_S:
            begun.append(span.start)
        end = span.end
    return begun


def counts(found: Sequence[float], truth: Sequence[float]) -> tuple[int, int, int]:
    """Onsets right, wrong and missed, each true one found once."""
    left = list(truth)
    for t in found:
        near = [true for true in left if abs(true - t) <= ONSET_S]
        if near:
            left.remove(min(near, key=lambda true: abs(true - t)))
    right = len(truth) - len(left)
    return right, len(found) - right, len(left)
