"""Movement of the camera: pan, tilt, zoom, roll and handheld shake, shot by shot and over time.

How the camera moves from picture to picture comes from ``tiktok_ray.methods.vision.camera_motion``; here it becomes
movements with an extent. Where nothing could be measured (black, flat or blurred pictures, a
dissolve, a subject in front of nothing), nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from actors.cut_analysis import Cuts
from tiktok_ray.analyzer import Analyzer, Needs, Sees, Skip
from tiktok_ray.media import Frames
from tiktok_ray.methods.vision.camera_motion import Flags, Floats, Steps, measure
from tiktok_ray.report import Event, Output, Timed, derived, measured

Axis = Literal["pan", "tilt", "zoom", "roll"]
Movement = Literal[
    "static", "pan left", "pan right", "tilt up", "tilt down", "zoom in", "zoom out",
    "roll clockwise", "roll counterclockwise", "shake",
]  # fmt: skip

AXES: tuple[Axis, ...] = get_args(Axis)
#: What a movement along an axis is called when its speed is negative or positive.
NAMES: dict[Axis, tuple[Movement, Movement]] = {
    "pan": ("pan left", "pan right"),
    "tilt": ("tilt down", "tilt up"),
    "zoom": ("zoom out", "zoom in"),
    "roll": ("roll counterclockwise", "roll clockwise"),
}
UNITS: dict[Axis, str] = {
    "pan": "widths/s", "tilt": "heights/s", "zoom": "octaves/s", "roll": "degrees/s",
}  # fmt: skip
#: Slowest speed and smallest whole amount that count as a movement, in those units.
LEAST: dict[Axis, tuple[float, float]] = {
    "pan": (0.02, 0.03), "tilt": (0.02, 0.03), "zoom": (0.015, 0.03), "roll": (2.0, 3.0),
}  # fmt: skip
LEAST_S = 0.4  # shortest movement
LEAST_SHAKE = 0.003  # least RMS deviation from the smoothed path that is a shake, in widths
SMOOTH_S = 0.5
PATH_S = 1.1
STEADY = 0.005
THIN_S = 0.25  # pictures further apart than this are too far apart to follow
SERIES = 600  # most entries of the series

PAN = "Positive when the camera turns right and content moves left"
TILT = "Positive when the camera turns up and content moves down"
ZOOM = "Positive when content grows; an octave is a doubling"
ROLL = "Positive when the camera turns clockwise and content counterclockwise"
FLOW = "sparse optical flow (Lucas and Kanade 1981), RANSAC (Fischler and Bolles 1981)"


class Move(Timed):
    """One uninterrupted movement of the camera."""

    kind: Movement = measured("Kind of camera movement")
    shot: int = derived("Index of its shot")
    speed: float = measured(
        "Mean speed without sign; for shake the RMS deviation from the smoothed path",
        range="0..",
    )
    unit: str = measured("Unit of `speed`: widths/s, heights/s, octaves/s, degrees/s, or widths")
    amount: float | None = derived(
        "Speed times duration, without sign, in widths, heights, octaves or degrees; null for shake"
    )


class ShotCamera(Timed):
    """The camera in one shot. A figure is null where no movement could be measured."""

    index: int = derived("Index of the shot")
    movements: list[Movement] = derived(
        "Camera movements during at least a quarter of the measured time, longest first; "
        "static if the camera is still for at least half of the shot; empty where too little "
        "could be measured to tell"
    )
    measured_share: float = measured(
        "Share of the shot in which motion could be measured", range="0..1"
    )
    pan: float | None = measured(f"Mean speed. {PAN}", unit="frame widths/s")
    tilt: float | None = measured(f"Mean speed. {TILT}", unit="frame heights/s")
    zoom: float | None = measured(f"Mean speed. {ZOOM}", unit="octaves/s")
    roll: float | None = measured(f"Mean speed. {ROLL}", unit="degrees/s")
    shake: float | None = measured(
        "RMS deviation of the frame position from its path smoothed over 1.1 s, both "
        "directions together; null in shots too short to tell",
        unit="frame widths",
        range="0..",
        method="second-order Savitzky-Golay filter; starts and stops of movements do not count",
    )
    stability: float | None = derived(
        "1 / (1 + shake / 0.005): 1 on a tripod, 0.5 where the frame strays by 0.5 % of its width",
        range="0..1",
    )
    background: float | None = measured(
        "Share of the tracked points that move with the camera; the others move on their own",
        range="0..1",
        method=FLOW,
    )


class Camera(Output):
    """Movement of the camera."""

    shots: list[ShotCamera] = measured("The camera in each shot")
    moves: list[Move] = measured(
        "Every movement with its extent, ordered by start: pans and tilts from 0.02 widths or "
        "heights per second and 0.03 in total, zooms from 0.015 octaves/s and 0.03 octaves, "
        "rolls from 2 degrees/s and 3 degrees, shakes from 0.003 widths RMS; each lasting at "
        "least 0.4 s"
    )
    times: list[float] = measured(
        "Times of the series: midpoints of the averaged intervals", unit="s"
    )
    pan: list[float | None] = measured(f"Speed. {PAN}", unit="frame widths/s", method=FLOW)
    tilt: list[float | None] = measured(f"Speed. {TILT}", unit="frame heights/s", method=FLOW)
    zoom: list[float | None] = measured(f"Speed. {ZOOM}", unit="octaves/s", method=FLOW)
    roll: list[float | None] = measured(f"Speed. {ROLL}", unit="degrees/s", method=FLOW)
    measured_share: float = measured(
        "Share of the video in which motion could be measured", range="0..1"
    )
    moving_share: float | None = derived(
        "Share of the measured time in which the camera pans, tilts, zooms or rolls", range="0..1"
    )
    shaking_share: float | None = derived(
        "Share of the measured time with handheld shake", range="0..1"
    )
    stability: float | None = derived(
        "Mean stability of the shots, weighted by their length", range="0..1"
    )

    def headline(self) -> str:
        kinds = [kind for shot in self.shots for kind in shot.movements]
        return ", ".join(list(dict.fromkeys(kinds))[:4]) or "no motion measurable"

    def events(self) -> Iterator[Event]:
        for move in self.moves:
            label = f"{move.kind}, {move.speed:.2g} {move.unit}"
            yield _event(move, label)
        for shot in self.shots:
            if shot.movements == ["static"]:
                yield _event(shot, "static")


def _event(extent: Timed, label: str) -> Event:
    return Event(
        start=extent.start, end=extent.end, kind="camera", label=label, analyzer=CameraAnalysis.name
    )


class Found(NamedTuple):
    """A movement from step ``first`` up to, not including, step ``stop``."""

    kind: Movement
    first: int
    stop: int
    speed: float
    unit: str


def running(values: Floats, width: int, reduce: Callable[..., Floats] = np.nanmean) -> Floats:
    """Centred mean (or median) of ``width`` (odd) values, of those that are known.

    NaN where fewer than half of those that the list holds are known.
    """
    pad = np.full(width // 2, np.nan)
    around = np.lib.stride_tricks.sliding_window_view(np.concatenate([pad, values, pad]), width)
    order = np.arange(len(values))
    held = np.minimum(order, width // 2) + np.minimum(order[::-1], width // 2) + 1
    enough = 2 * np.isfinite(around).sum(1) >= held
    result = np.full(len(values), np.nan)
    if enough.any():
        result[enough] = reduce(around[enough], axis=1)
    return result


def mean(values: Floats, weights: Floats) -> float | None:
    """Weighted mean of the values that are known; None where none is."""
    known = np.isfinite(values) & (weights > 0)
    return float(np.average(values[known], weights=weights[known])) if known.any() else None


def runs(flags: Flags) -> Iterator[tuple[int, int]]:
    """First index and end of every run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _window(steps: Steps, seconds: float) -> int:
    return max(1, round(seconds / float(np.median(steps.length)))) | 1


def intended(speed: Floats, steps: Steps) -> Floats:
    """Speed without shake: the running median over half a second, which keeps starts and stops."""
    return running(speed, _window(steps, SMOOTH_S), np.nanmedian)


def movements(steps: Steps) -> Iterator[Found]:
    """Pans, tilts, zooms and rolls in the steps of one shot.

    The intended speed keeps its sign and the least speed. The ends are trimmed to where it is half
    of its median. What is too short or too little in all is not a movement.
    """
    for axis, values in zip(AXES, steps.speed.T, strict=True):
        smooth = running(intended(values, steps), 3)
        slowest, least = LEAST[axis]
        for sign, kind in zip((-1.0, 1.0), NAMES[axis], strict=True):
            for first, stop in runs(np.nan_to_num(sign * smooth) >= slowest):
                part = sign * smooth[first:stop]
                fast = first + np.flatnonzero(part >= np.median(part) / 2)
                first, stop = int(fast[0]), int(fast[-1]) + 1
                took = steps.length[first:stop]
                speed = mean(sign * values[first:stop], took)
                seconds = float(took.sum())
                if speed and seconds > LEAST_S - 1e-6 and speed * seconds >= least:
                    yield Found(kind, first, stop, speed, UNITS[axis])


def shakiness(steps: Steps, aspect: float) -> Floats:
    """How far the picture strays from its path around each step of a shot: RMS in widths, [n].

    The path is smoothed in two ways, over the 1.1 s around it, and the smaller deviation counts: a
    Savitzky-Golay filter of second order errs where a movement starts or stops at once, a running
    median of the speed where the shake is strong. ``aspect``: height over width. NaN where a run of
    known steps is too short.
    """
    strays = np.full(len(steps.start), np.nan)
    width = _window(steps, PATH_S)
    speeds = steps.speed[:, :2] * (1.0, aspect)
    jerks = speeds - np.stack([intended(v, steps) for v in speeds.T], 1)
    for first, stop in runs(np.isfinite(jerks[:, 0])):
        if width < 7 or stop - first < width:
            continue
        ways = []
        for speed in (speeds, jerks):
            path = (speed[first:stop] * steps.length[first:stop, None]).cumsum(0)
            square = ((path - smoothed(path, width)) ** 2).sum(1)
            ways.append(running(square, width))
        strays[first:stop] = np.sqrt(np.minimum(*ways))
    return strays


def smoothed(path: Floats, width: int) -> Floats:
    """A path [n, k] after a Savitzky-Golay filter of second order over an odd number of its points:
    at each point the parabola that fits those around it best, at both ends that of the outermost.

    SciPy's is the same; importing ``scipy.signal`` takes 0.6 CPU seconds.
    """
    powers = np.vander(np.arange(width) - width // 2, 3).astype(float)
    fit = powers @ np.linalg.pinv(powers)
    half = width // 2
    inside = np.lib.stride_tricks.sliding_window_view(path, width, axis=0) @ fit[half]
    ends = fit[:half] @ path[:width], fit[half + 1 :] @ path[-width:]
    return np.concatenate([ends[0], inside, ends[1]])


def rms(values: Floats) -> float | None:
    """Root mean square of the values that are known; None where none is."""
    known = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else None


def shaking(steps: Steps, strays: Floats) -> Iterator[Found]:
    """Handheld shake in the steps of one shot, from how far the picture strays around each.

    What moves but may as well stand still (a head in front of a wall) is not a shake.
    """
    moved = running((~steps.still).astype(float), _window(steps, PATH_S)) >= 0.5
    for first, stop in runs((np.nan_to_num(strays) >= LEAST_SHAKE) & moved):
        strength = rms(strays[first:stop])
        if strength and steps.length[first:stop].sum() > LEAST_S - 1e-6:
            yield Found("shake", first, stop, strength, "widths")


def names(steps: Steps, found: Sequence[Found]) -> list[Movement]:
    """What the camera does in a shot, longest first."""
    length = np.where(steps.known, steps.length, 0.0)
    busy = {move.kind: np.zeros(len(length), bool) for move in found}
    for move in found:
        busy[move.kind][move.first : move.stop] = True
    seconds = {kind: float(length[flags].sum()) for kind, flags in busy.items()}
    idle = float(length[~np.any(list(busy.values()), axis=0)].sum() if busy else length.sum())
    if idle >= max(LEAST_S, float(steps.length.sum()) / 2):
        seconds["static"] = idle
    order = sorted(seconds, key=lambda kind: -seconds[kind])
    return [kind for kind in order if seconds[kind] >= length.sum() / 4] or order[:1]


def _shot(
    index: int, extent: tuple[float, float], steps: Steps, found: Sequence[Found], strays: Floats
) -> ShotCamera:
    length = np.where(steps.known, steps.length, 0.0)
    shake = rms(strays)
    pan, tilt, zoom, roll = (mean(values, length) for values in steps.speed.T)
    return ShotCamera(
        start=extent[0],
        end=extent[1],
        index=index,
        movements=names(steps, found),
        measured_share=float(length.sum() / steps.length.sum()) if len(length) else 0.0,
        pan=pan,
        tilt=tilt,
        zoom=zoom,
        roll=roll,
        shake=shake,
        stability=None if shake is None else 1 / (1 + shake / STEADY),
        background=mean(steps.share, length),
    )


def _move(found: Found, steps: Steps, shot: int) -> Move:
    start, end = float(steps.start[found.first]), float(steps.end[found.stop - 1])
    amount = None if found.kind == "shake" else found.speed * (end - start)
    return Move(
        start=start, end=end, kind=found.kind, shot=shot, speed=found.speed, unit=found.unit,
        amount=amount,
    )  # fmt: skip


def _series(steps: Steps) -> tuple[list[float], list[list[float | None]]]:
    """Times, and speeds along each axis, averaged so that there are at most ``SERIES`` of each."""
    every = max(1, -(-len(steps.start) // SERIES))
    parts = [slice(k, k + every) for k in range(0, len(steps.start), every)]
    times = [float(steps.start[p][0] + steps.end[p][-1]) / 2 for p in parts]
    return times, [[mean(v[p], steps.length[p]) for p in parts] for v in steps.speed.T]


def describe(steps: Steps, extents: Sequence[tuple[float, float]], aspect: float) -> Camera:
    """The camera over the whole video. ``extents``: of the shots; ``aspect``: height over width."""
    shots: list[ShotCamera] = []
    moves: list[Move] = []
    moving, shaken = np.zeros(len(steps.start), bool), np.zeros(len(steps.start), bool)
    for index, extent in enumerate(extents):
        mine = np.flatnonzero(steps.shot == index)
        own = steps.only(steps.shot == index)
        strays = shakiness(own, aspect) if len(mine) else np.zeros(0)
        found = [*movements(own), *shaking(own, strays)] if len(mine) else []
        shots.append(_shot(index, extent, own, found, strays))
        for move in found:
            moves.append(_move(move, own, index))
            (shaken if move.kind == "shake" else moving)[mine[move.first : move.stop]] = True
    length = np.where(steps.known, steps.length, 0.0)
    seconds = float(length.sum())
    times, (pan, tilt, zoom, roll) = _series(steps)
    stable = np.array([np.nan if s.stability is None else s.stability for s in shots])
    return Camera(
        shots=shots,
        moves=sorted(moves, key=lambda move: (move.start, move.end)),
        times=times,
        pan=pan,
        tilt=tilt,
        zoom=zoom,
        roll=roll,
        measured_share=seconds / float(steps.length.sum()) if len(length) else 0.0,
        moving_share=float(length[moving].sum()) / seconds if seconds else None,
        shaking_share=float(length[shaken].sum()) / seconds if seconds else None,
        stability=mean(stable, np.array([end - start for start, end in extents])),
    )


class CameraAnalysis(Analyzer):
    """Camera motion, shot by shot and over time."""

    name = "camera_analysis"
    needs = Needs(threads=1, timeout_s=90, cost=1.2)
    imports = ("cv2",)
    sees = (Sees("camera motion", "thumbs", samples=1, seconds=LEAST_S),)

    def analyze(self, dense: Frames, thumbs: Frames, cut_analysis: Cuts | None) -> Camera:
        """Measured on ``dense``, or on ``thumbs`` where a long video has thinned ``dense`` out."""
        if len(thumbs) < 2:
            raise Skip("a single frame shows no movement")
        thin = len(dense) < 2 or float(np.median(np.diff(dense.times))) > THIN_S
        extents = [shot.span for shot in cut_analysis.shots] if cut_analysis else []
        extents = extents or [(float(thumbs.times[0]), thumbs.end)]
        changes = cut_analysis.transitions if cut_analysis else []
        steps = measure(thumbs if thin else dense, [start for start, _ in extents])
        steps = steps.without([change.span for change in changes if change.end > change.start])
        return describe(steps, extents, thumbs.height / thumbs.width)
