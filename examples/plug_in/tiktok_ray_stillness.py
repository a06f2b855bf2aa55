"""An analyzer in a separate package: finds where the video stands still."""

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from tiktok_ray.analyzer import Analyzer, Lane, Needs, Options, Skip
from tiktok_ray.media import Frames
from tiktok_ray.report import Event, Output, Timed, derived, measured, setting


class StillnessOptions(Options):
    """Settings of ``stillness``, as in ``--set stillness.min_s=1``."""

    max_change: float = Field(0.5, gt=0, description="Maximum change that counts as still, 0..255")
    min_s: float = Field(0.5, gt=0, description="Shortest still span reported, in seconds")


class Stills(Output):
    """Time spans without motion."""

    stretches: list[Timed] = measured(
        "Time spans in which consecutive frames are the same",
        method="mean absolute difference of luma between thumbnails",
    )
    share: float = derived("Share of the video covered by them", range="0..1")
    max_change: float = setting("Difference up to which frames count as the same", unit="of 255")

    def headline(self) -> str:
        return f"still for {self.share:.0%} of the time"

    def events(self) -> Iterator[Event]:
        for stretch in self.stretches:
            yield Event(
                start=stretch.start,
                end=stretch.end,
                kind="shot",
                label="still frame",
                analyzer="stillness",
            )


class Stillness(Analyzer):
    """Time spans in which the video stands still."""

    name = "stillness"
    needs = Needs(cost=0.2)
    lane = Lane("Stillness", 200)
    options_type = StillnessOptions

    def analyze(self, thumbs: Frames) -> Stills:
        """From ``thumbs``, every frame in miniature. Raises ``Skip`` for a single frame."""
        if len(thumbs) < 2:
            raise Skip("there is only one frame")
        luma = thumbs.grays.astype(np.float32)
        change = np.abs(np.diff(luma, axis=0)).mean((1, 2))
        edges = np.diff(np.concatenate([[0], change <= self.options.max_change, [0]]).astype(int))
        times = np.append(thumbs.times, thumbs.end)
        pairs = zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0) + 1, strict=True)
        found = [Timed(start=float(times[a]), end=float(times[b])) for a, b in pairs]
        long = [one for one in found if one.end - one.start >= self.options.min_s]
        seconds = sum(one.end - one.start for one in long)
        return Stills(
            stretches=long,
            share=min(1.0, seconds / float(thumbs.end - thumbs.times[0])),
            max_change=self.options.max_change,
        )
