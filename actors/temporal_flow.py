"""How the video runs: hook, pace, key moments, segments, call to action, loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tiktok_ray.report import Event, Evidence, Model, Output, Timed, derived, setting

Element = Literal["picture", "cut", "camera", "speech", "text", "sound", "objects"]
MomentKind = Literal["cut", "speech", "text", "camera", "sound", "objects"]


class HookElement(Model):
    """One thing that happens in the hook."""

    kind: Element = derived("What sort of thing")
    what: str = derived("What happens, in words taken from the evidence")
    evidence: list[Evidence] = derived("What it rests on")


class Hook(Timed):
    """The first seconds: what meets the viewer before the decision to stay."""

    what: str = derived("What happens, composed from `elements` in order of time")
    elements: list[HookElement] = derived("The single things, in order of time")


class Pacing(Model):
    """The pace over time. Compact parallel lists; a part is absent where its source is missing."""

    times: list[float] = derived("Middle of each window", unit="s")
    pace: list[float] = derived(
        "Mean over the parts at hand, each divided by its reference value and capped at 1:"
        " cuts 1/s, motion 0.5 widths/s, words 3.5/s, onsets 4/s",
        range="0..1",
    )
    cuts: list[float] = derived("Cuts per second", unit="1/s")
    motion: list[float | None] | None = derived(
        "Mean speed of the camera; absent inside where it could not be measured", unit="widths/s"
    )
    words: list[float] | None = derived("Words begun per second", unit="1/s")
    onsets: list[float] | None = derived("Onsets of sound per second", unit="1/s")
    parts: list[str] = derived("Names of the parts that the pace is made of")
    trend: float | None = derived(
        "Mean pace of the last third minus that of the first third", range="-1..1"
    )
    evidence: list[Evidence] = derived("What it rests on")


class Moment(Timed):
    """A moment at which several things change at once, or one thing changes strongly."""

    what: str = derived("What happens")
    kinds: list[MomentKind] = derived("What changes")
    weight: float = derived(
        "Number of analyzers in whose output something begins within 0.4 s of it", range="1.."
    )
    evidence: list[Evidence] = derived("What it rests on")


class Segment(Timed):
    """A stretch of the video between two key moments."""

    what: str = derived("What it consists of")
    pace: float = derived("Mean pace", range="0..1")
    evidence: list[Evidence] = derived("What it rests on")


class CallToAction(Timed):
    """Words that ask the viewer to do something."""

    action: str = derived("What is asked for")
    words: str = derived("The words that say it")
    evidence: list[Evidence] = derived("What it rests on")


class Loop(Model):
    """Whether the end leads back to the beginning."""

    similarity: float = derived(
        "Zero-mean normalised cross-correlation of first and last picture", range="-1..1"
    )
    loops: bool = derived("Whether similarity reaches the threshold")
    evidence: list[Evidence] = derived("What it rests on")


class Feeling(Timed):
    """The emotion of one stretch, as its source names it."""

    what: str = derived("Emotion as the source names it")
    evidence: list[Evidence] = derived("What it rests on")


class Flow(Output):
    """How the video runs. Every finding cites the evidence it rests on."""

    hook: Hook | None = derived("What happens in the first 3 s")
    pacing: Pacing = derived("The pace over time")
    moments: list[Moment] = derived("Key moments, in order of time")
    segments: list[Segment] = derived("Stretches between key moments")
    emotional_course: list[Feeling] | None = derived(
        "Emotions over time; absent where no source of emotion is at hand"
    )
    calls_to_action: list[CallToAction] | None = derived(
        "What the viewer is asked to do; absent where there are no words to look at"
    )
    loop: Loop | None = derived("Whether the end leads back to the beginning")
    hook_s: float = setting("Length of the hook", unit="s")

    def headline(self) -> str:
        return f"{len(self.moments)} key moments, {len(self.segments)} segments"

    def events(self) -> Iterator[Event]:
        for moment in self.moments:
            yield Event(
                start=moment.start,
                end=moment.end,
                kind="moment",
                label=moment.what,
                analyzer="temporal_flow",
            )
