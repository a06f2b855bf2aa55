"""Colours: palette, brightness, contrast, temperature, filters, and how they change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tiktok_ray.analyzer import Analyzer, Needs
from tiktok_ray.media import Frames
from tiktok_ray.report import Event, Model, Output, derived, measured

LAB = "CIE 1976 L*a*b* from sRGB, D65"


class Swatch(Model):
    """One colour of the palette."""

    name: str = derived(
        "Nearest CSS colour name", method="least CIEDE2000 difference to the CSS named colours"
    )
    hex: str = measured("The colour as sRGB, #rrggbb")
    lab: tuple[float, float, float] = measured(
        "The colour as L*, a*, b*", range="L* 0..100, a* and b* about -128..127", method=LAB
    )
    share: float = measured("Share of the picture over the whole video", range="0..1")


class Filter(Model):
    """A look that a stated test found."""

    kind: Literal["monochrome", "sepia", "strong_grade"] = measured("Which look")
    share: float = measured("Share of the sampled frames that pass the test", range="0..1")
    value: float = measured("What the test measured, median over those frames")
    test: str = measured("The test that those frames pass")


class ColorChange(Model):
    """A lasting change of the dominant colour."""

    time: float = measured("First sample of the new colour", unit="s", range="0..duration")
    before: str = derived("CSS name of the dominant colour until then")
    after: str = derived("CSS name of the dominant colour from then on")
    difference: float = measured(
        "Difference between the two", unit="ΔE00", range="0..", method="CIEDE2000"
    )


class ColorStrip(Model):
    """Colour over time; the lists are parallel."""

    times: list[float] = measured("Times of the samples", unit="s", range="0..duration")
    dominant: list[str] = measured("Colour with the largest share of each sample, as #rrggbb")
    brightness: list[float] = measured("Mean L* of each sample", range="0..100", method=LAB)
    saturation: list[float] = measured("Mean chroma C*ab of each sample", range="0..", method=LAB)


class Colors(Output):
    """The colours of the video."""

    palette: list[Swatch] = measured(
        "Main colours, largest share first", method="k-means in L*a*b*, seeded by median cut"
    )
    brightness: float = measured("Mean L* of all pixels", range="0..100", method=LAB)
    contrast: float = measured(
        "Standard deviation of L* within the picture, mean over frames", range="0..50", method=LAB
    )
    saturation: float = measured("Mean chroma C*ab of all pixels", range="0..", method=LAB)
    temperature_k: float | None = measured(
        "Correlated colour temperature of the mean colour, median over frames; null where it is "
        "undefined: further than 0.05 from the Planckian locus, or outside 1000..15000 K",
        unit="K",
        range="1000..15000",
        method="nearest point of the Planckian locus (Krystek 1985) in CIE 1960 uv",
    )
    filters: list[Filter] = measured("Looks found on at least half of the sampled frames")
    consistency: float = measured(
        "How alike the frames are in colour: 1 when all have the palette's colours in equal shares",
        range="0..1",
        method="mean over frames of the intersection of its palette shares with the video's",
    )
    changes: list[ColorChange] = measured("Lasting changes of the dominant colour")
    strip: ColorStrip = measured("Colour over time")

    def headline(self) -> str:
        return ", ".join(dict.fromkeys(swatch.name for swatch in self.palette[:3]))

    def events(self) -> Iterator[Event]:
        for change in self.changes:
            yield Event(
                start=change.time,
                end=change.time,
                kind="color",
                label=f"{change.before} to {change.after}",
                analyzer=ColorAnalysis.name,
            )


class ColorAnalysis(Analyzer):
    """Palette, brightness, contrast, colour temperature, filters, and colour over time."""

    name = "color_analysis"
    needs = Needs(threads=1, timeout_s=60, cost=0.5)

    def analyze(self, frames: Frames) -> Colors:
        raise NotImplementedError
