"""Cuts and transitions, and the shots between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tiktok_ray.analyzer import Analyzer, Needs
from tiktok_ray.media import Frames
from tiktok_ray.report import Event, Output, Timed, derived, measured


class Transition(Timed):
    """A change from one shot to the next, or a fade that opens or closes the video.

    ``hard``: from one frame to the next. ``jump``: the same, within one setting. ``flash``: behind
    one to a few blank frames. ``dissolve`` and ``fade`` have an extent.
    """

    kind: Literal["hard", "jump", "flash", "dissolve", "fade"] = measured(
        "How the picture changes: at once (hard; jump within one setting; flash behind a few blank "
        "frames) or over an extent (dissolve, fade)"
    )
    through: Literal["black", "white"] | None = measured("The blank picture a fade or flash passes")
    new_shot: float | None = derived(
        "Time at which the new shot begins: its first frame for an instant change, the midpoint of "
        "the extent of a gradual one; null for a fade that opens or closes the video",
        unit="s",
        range="start..end",
    )
    strength: float = measured(
        "How much the picture changes",
        range="0..1",
        method="mean absolute difference of the two pictures either side, Y'CbCr, over full scale",
    )


class Flash(Timed):
    """A few blank or much brighter frames after which the same shot goes on: no cut."""

    brightness: float = measured(
        "Mean luma of the flash less that of the frames around it", unit="share of full scale",
        range="-1..1",
    )  # fmt: skip


class Shot(Timed):
    """A run of frames from one take."""

    index: int = derived("Position among the shots, from 0")


class Cuts(Output):
    """Where one shot ends and the next begins."""

    transitions: list[Transition] = measured("Cuts, dissolves and fades, ordered by start")
    flashes: list[Flash] = measured("Flashes within a shot, ordered by start")
    shots: list[Shot] = derived("Shots, from the first frame to the end, without gaps")
    cuts_per_minute: float = derived("New shots per minute of video", unit="1/min", range="0..")
    median_shot_s: float = derived("Median length of the shots", unit="s", range="0..")
    shortest_shot_s: float = derived("Length of the shortest shot", unit="s", range="0..")
    longest_shot_s: float = derived("Length of the longest shot", unit="s", range="0..")
    variation: float | None = derived(
        "Rhythm: coefficient of variation of shot lengths, 0 for even lengths; null with one shot",
        range="0..",
        method="population standard deviation of shot lengths over their mean",
    )
    trend: float | None = derived(
        "Rhythm: whether shots grow longer (positive) or shorter (negative: the cutting speeds up);"
        " null with fewer than three shots or equal lengths",
        range="-1..1",
        method="Kendall's tau-b of shot length against shot order",
    )
    frame_s: float = measured("Median time between the pictures compared", unit="s", range="0..")

    @property
    def boundaries(self) -> list[float]:
        """Times at which shots begin, in seconds; the first is that of the first frame."""
        return [shot.start for shot in self.shots]

    @property
    def times(self) -> list[float]:
        """Times at which one shot gives way to the next, in seconds: ``boundaries[1:]``."""
        return self.boundaries[1:]

    def headline(self) -> str:
        count = len(self.times)
        return f"{count} cut{'' if count == 1 else 's'}, {self.cuts_per_minute:.1f}/min"

    def events(self) -> Iterator[Event]:
        name = CutAnalysis.name
        for shot in self.shots:
            label = f"shot {shot.index + 1}"
            yield Event(start=shot.start, end=shot.end, kind="shot", label=label, analyzer=name)
        for change in self.transitions:
            label = f"{change.kind} through {change.through}" if change.through else change.kind
            if change.end > change.start:
                yield Event(
                    start=change.start,
                    end=change.end,
                    kind="transition",
                    label=label,
                    analyzer=name,
                )
            if (t := change.new_shot) is not None:
                yield Event(start=t, end=t, kind="cut", label=label, analyzer=name)


class CutAnalysis(Analyzer):
    """Cuts, dissolves, fades and flashes, and the shots between them."""

    name = "cut_analysis"
    needs = Needs(threads=1, timeout_s=60, cost=0.5)

    def analyze(self, thumbs: Frames) -> Cuts:
        raise NotImplementedError
