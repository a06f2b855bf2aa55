"""Text on the picture: what is written, where, from when to when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tiktok_ray.report import Event, Output, Timed, derived, estimated, measured, setting

NAME = "text_overlay"

TextKind = Literal["caption", "watermark", "scene_text"]


class Overlay(Timed):
    """One text for as long as it stands on the picture."""

    text: str = estimated("What is written; its lines joined by a space")
    lines: list[str] = estimated(
        "What is written, line by line, top to bottom",
        method="per line, the reading with the largest sum of confidence over the samples read",
    )
    box: list[float] = estimated(
        "Median box over its samples, [x0, y0, x1, y1]", range="0..1 of width and height"
    )
    confidence: float = estimated(
        "Mean probability of its characters by the recogniser", range="0..1"
    )
    kind: TextKind = derived(
        "caption: written onto the picture; watermark: small, near an edge, and there for most of"
        " the video; scene_text: part of what was filmed",
    )
    order: int = derived(
        "Place in reading order among the overlays on the picture when it appears, from 0",
    )
    travel: float = measured(
        "How far its centre moved while it was there", unit="share of the picture's diagonal"
    )
    edge_s: float = measured(
        "Distance between the samples that its start or end lies between, the larger of the two",
        unit="s",
    )


class Overlays(Output):
    """Text on the picture over time."""

    overlays: list[Overlay] = estimated("Overlays by start, then in reading order")
    text: str = derived("All that is written, each text once, a line for each overlay")
    on_screen_s: float = derived("Time during which any text is on the picture", unit="s")
    share: float = derived("Share of the video with text on the picture", range="0..1")
    reading_speed: float | None = derived(
        "Median over the captions of characters (without spaces) per second shown;"
        " absent without captions",
        unit="characters/s",
    )
    languages: list[str] = setting("Languages asked for; empty: whatever the model reads")

    def headline(self) -> str:
        if not self.overlays:
            return "no text"
        kinds = ("caption", "watermark", "scene_text")
        counts = [(sum(o.kind == k for o in self.overlays), k.replace("_", " ")) for k in kinds]
        named = [f"{n} {k}{'s' if n > 1 and k != 'scene text' else ''}" for n, k in counts if n]
        return f"{', '.join(named)}; text on {self.share:.0%} of the video"

    def events(self) -> Iterator[Event]:
        for overlay in self.overlays:
            yield Event(
                start=overlay.start,
                end=overlay.end,
                kind="text",
                label=overlay.text,
                confidence=overlay.confidence,
                analyzer=NAME,
            )
