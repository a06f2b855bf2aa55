"""Movement of the camera: pan, tilt, zoom, roll and handheld shake, shot by shot and over time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tiktok_ray.report import Event, Output, Timed, derived, measured, setting

Movement = Literal[
    "static", "pan left", "pan right", "tilt up", "tilt down", "zoom in", "zoom out",
    "roll clockwise", "roll counterclockwise", "shake",
]  # fmt: skip
Unit = Literal["widths/s", "heights/s", "octaves/s", "degrees/s"]

PAN = "Camera turning right (content moving left) is positive"
TILT = "Camera turning up (content moving down) is positive"
ZOOM = "Picture content growing is positive; one octave doubles its size"
ROLL = "Camera turning clockwise (content turning counterclockwise) is positive"


class Move(Timed):
    """One uninterrupted movement of the camera along one axis."""

    kind: Movement = measured("What the camera does")
    shot: int = measured("Shot it lies in, counted from 0")
    speed: float = measured(
        "Mean speed, always positive; for shake the RMS of the deviation from the smooth path",
        range="0..",
    )
    unit: Unit | Literal["widths"] = measured("Unit of `speed`")
    amount: float | None = derived(
        "Movement over the whole span: speed times length, in widths, heights, octaves or degrees;"
        " absent for shake"
    )


class ShotCamera(Timed):
    """The camera in one shot. Figures are absent where no movement could be measured."""

    shot: int = measured("Number of the shot, from 0")
    movements: list[Movement] = measured(
        "What the camera does, most of the shot first; empty where it could not be measured"
    )
    measured_share: float = measured(
        "Share of the shot in which movement could be measured: not in black or flat pictures",
        range="0..1",
    )
    pan: float | None = measured(f"Mean speed. {PAN}", unit="picture widths/s")
    tilt: float | None = measured(f"Mean speed. {TILT}", unit="picture heights/s")
    zoom: float | None = measured(f"Mean speed. {ZOOM}", unit="octaves/s")
    roll: float | None = measured(f"Mean speed. {ROLL}", unit="degrees/s")
    shake: float | None = measured(
        "RMS deviation of the picture's position from its path smoothed over 1 s",
        unit="picture widths",
        range="0..",
    )
    stability: float | None = derived(
        "1 / (1 + shake / 0.005): 1 on a tripod, 0.5 where the picture strays by 0.5 % of its width",
        range="0..1",
    )
    background: float | None = measured(
        "Share of the tracked points that move with the camera; the rest moves by itself",
        range="0..1",
        method="RANSAC on sparse optical flow (Lucas and Kanade 1981; Fischler and Bolles 1981)",
    )


class Camera(Output):
    """Movement of the camera."""

    shots: list[ShotCamera] = measured("The camera in each shot")
    moves: list[Move] = measured("Every movement with its extent, in order of start")
    times: list[float] = measured("Times of the series below: middle of each step", unit="s")
    pan: list[float | None] = measured(f"Speed. {PAN}", unit="picture widths/s")
    tilt: list[float | None] = measured(f"Speed. {TILT}", unit="picture heights/s")
    zoom: list[float | None] = measured(f"Speed. {ZOOM}", unit="octaves/s")
    roll: list[float | None] = measured(f"Speed. {ROLL}", unit="degrees/s")
    measured_share: float = measured(
        "Share of the video in which movement could be measured", range="0..1"
    )
    moving_share: float | None = derived(
        "Share of the measured time with a pan, tilt, zoom or roll", range="0..1"
    )
    shake_share: float | None = derived(
        "Share of the measured time with handheld shake", range="0..1"
    )
    stability: float | None = derived(
        "Mean stability of the shots, weighted by their length", range="0..1"
    )
    step_s: float = setting("Time between the two pictures that one speed comes from", unit="s")

    def headline(self) -> str:
        if not self.measured_share:
            return "nothing to measure"
        kinds = list(dict.fromkeys(move.kind for move in self.moves))
        return ", ".join(kinds[:4]) or "static"

    def events(self) -> Iterator[Event]:
        for move in self.moves:
            label = f"{move.kind}, {move.speed:.2g} {move.unit}"
            yield Event(
                start=move.start,
                end=move.end,
                kind="camera",
                label=label,
                analyzer="camera_analysis",
            )
