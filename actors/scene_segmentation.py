"""Scenes: runs of shots that belong together, and settings that come back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tiktok_ray.report import Event, Model, Output, Timed, derived, measured, setting


class Scene(Timed):
    """A run of successive shots in one setting."""

    setting: int = measured("Id of the setting, from 0 in order of appearance; it may come back")
    shots: list[int] = measured("Numbers of its shots, from 0")
    representative_s: float = measured(
        "Time of the frame most like all others of the scene", unit="s", range="start..end"
    )
    transition: str | None = derived(
        "How the scene begins: the kind of the cut into it; absent at the start of the video"
    )
    distance: float | None = measured(
        "Distance from the scene before it: that of the two shots at the border", range="0..1"
    )


class Setting(Model):
    """A place, look or arrangement that one or more scenes share."""

    id: int = measured("Its id, from 0 in order of appearance")
    scenes: list[int] = measured("Indices of its scenes")
    seconds: float = derived("Time spent in it", unit="s")


class Scenes(Output):
    """The scenes of a video."""

    scenes: list[Scene] = measured("Scenes in order of time")
    settings: list[Setting] = measured("Settings in order of appearance")
    features: Literal["histograms", "clip"] = measured(
        "What shots were compared by: histograms of colour and edges, or CLIP frame embeddings"
    )
    threshold: float = setting("Shots whose distance is below this share a setting", range="0..1")

    def headline(self) -> str:
        scenes, settings = len(self.scenes), len(self.settings)
        again = "" if settings == scenes else f" in {settings} setting{'s' * (settings != 1)}"
        return f"{scenes} scene{'s' * (scenes != 1)}{again}"

    def events(self) -> Iterator[Event]:
        seen: set[int] = set()
        for number, scene in enumerate(self.scenes, 1):
            back = ", back again" if scene.setting in seen else ""
            seen.add(scene.setting)
            yield Event(
                start=scene.start,
                end=scene.end,
                kind="scene",
                label=f"scene {number}, setting {scene.setting + 1}{back}",
                analyzer="scene_segmentation",
            )
