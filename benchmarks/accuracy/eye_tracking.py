"""Blinks against labels made by eye, and gaze where somebody plainly looks into the lens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from actors.eye_tracking import Eyes
from benchmarks.accuracy import Bench, Figure, Row
from benchmarks.accuracy._figures import mean_figure, share_figure
from tiktok_ray.settings import Settings, TrackSettings

#: Rate of the file, and its blinks as labelled by eye on its own frames: the first in which the
#: lids have clearly begun to fall, and the last before the eyes are open again. In
#: grid_swwp2s.mpg the last one is cut off by the end; gesture_woman.mp4 is left out, as it is out
#: of focus where there may be half a blink.
BLINKS: dict[str, tuple[float, list[tuple[int, int]]]] = {
    "video/carphone.mp4": (30000 / 1001, [(41, 43), (92, 93), (112, 113)]),
    "video/grid_bbaf2n.mpg": (25, [(42, 45), (50, 55)]),
    "video/grid_swwp2s.mpg": (25, [(26, 30), (43, 47), (71, 74)]),
    "video/exo_face_1s.mp4": (30000 / 1001, []),
    "video/short_vertical_composite.mp4": (30, [(50, 54), (60, 66)]),
}
#: People who look into the lens throughout, as seen by eye. The height of the iris in a straight
#: look (``IRIS_HEIGHT``) was fitted on these, so that they do not prove it.
INTO_CAMERA = (
    "still/two_people.jpg",
    "still/astronaut.png",
    "still/biden_approx69.jpg",
    "video/grid_bbaf2n.mpg",
    "video/grid_swwp2s.mpg",
    "video/exo_face_1s.mp4",
)
#: A singer who turns to the audience at the left of the picture; span in seconds, by eye.
AWAY = ("odd/truncated_half_faststart.mp4", (3.3, 4.3))


#: The height of the iris was fitted on these, so that they flatter.
GAZE, FITTED = "gaze of faces that it was fitted on", "into the lens, fitted on these"
#: Which fields the figures are errors of.
FIELDS = {
    ("blinks found", "10 pictures/s"): ("tracks.blinks.start", "blinks"),
    ("blinks found", "30 pictures/s"): ("tracks.blinks.start", "blinks"),
    ("time into the camera", FITTED): ("into_camera_share",),
    ("gaze off the lens, degrees", FITTED): (
        "tracks.gaze_yaw", "tracks.gaze_pitch",
    ),
}  # fmt: skip


def figures(bench: Bench) -> Iterator[Figure]:
    for condition, eyes in blinking(bench).items():
        pairs = [(*agreement(eyes[file], labelled(file)), len(labelled(file))) for file in BLINKS]
        yield share_figure(
            "blinks found", "blinks", condition, [(r, n) for r, _, n in pairs], clips="real"
        )
        yield share_figure(
            "of blinks told, true", "blinks", condition, [(r, r + f) for r, f, _ in pairs],
            clips="real",
        )  # fmt: skip
    yield from drawn_lids(bench)
    looks = [looking(bench, file) for file in INTO_CAMERA]
    unit, condition = "pictures and clips", FITTED
    yield mean_figure(
        "time into the camera", GAZE, condition, [e.into_camera_share or 0.0 for e in looks],
        clips="real", bounds=(0, 1), unit=unit,
    )  # fmt: skip
    off = [
        float(np.hypot(median(t.gaze_yaw), median(t.gaze_pitch))) for e in looks for t in e.tracks
    ]
    yield mean_figure(
        "gaze off the lens, degrees",
        GAZE,
        condition,
        off,
        clips="real",
        unit="faces",
    )


def drawn_lids(bench: Bench) -> Iterator[Figure]:
    """How many blinks of a length are told on faces whose lids are drawn down; all whose eyes are
    shut for as long as the stated limit."""
    told: dict[str, list[tuple[int, int, int]]] = {}
    must: dict[str, float | None] = {}
    for clip in bench.clips("blinks"):
        eyes: Eyes = bench.output("eye_tracking", clip.path)
        truth = [(one["start"], one["end"]) for one in clip.truth["blinks"]]
        right, false = agreement(eyes, truth)
        told.setdefault(clip.recipe.condition, []).append((right, false, len(truth)))
        shut, stated = truth[0][1] - truth[0][0], 1 / eyes.sampling_hz
        must[clip.recipe.condition] = 1.0 if shut >= stated - 1e-6 else None
    for condition, some in told.items():
        found, true = [(r, n) for r, _, n in some], [(r, r + f) for r, f, _ in some]
        least = must[condition]
        yield share_figure("blinks found", "drawn lids", condition, found, least=least)
        yield share_figure("of blinks told, true", "drawn lids", condition, true)


@lru_cache(maxsize=1)
def blinking(bench: Bench) -> dict[str, dict[str, Eyes]]:
    """What is said of the labelled files, at the default rate of pictures and at 30 a second."""
    fast = Bench(bench.media, bench.settings.models)
    fast.settings = Settings(models=bench.settings.models, tracks=TrackSettings(dense_fps=30))
    return {
        f"{rate} pictures/s": {
            file: made.output("eye_tracking", made.file(file)) for file in BLINKS
        }
        for rate, made in ((10, bench), (30, fast))
    }


def looking(bench: Bench, file: str) -> Eyes:
    """What is said of somebody who looks into the lens."""
    path = bench.still(file) if file.startswith("still/") else bench.file(file)
    eyes: Eyes = bench.output("eye_tracking", path)
    return eyes


def rows(bench: Bench) -> Iterator[Row]:
    for file in BLINKS:
        truth = labelled(file)
        for condition, said in blinking(bench).items():
            eyes = said[file]
            right, false = agreement(eyes, truth)
            figure = f"{right} found, {false} others, at {eyes.sampling_hz:.0f} pictures/s"
            # What falls between two samples at the default rate is a limit, not an error.
            limited = right < len(truth) and not false and condition.startswith("10 ")
            holds = None if limited else right == len(truth) and not false
            yield Row(file, f"{len(truth)} blinks, by eye", figure, holds)
    for file in INTO_CAMERA:
        eyes = looking(bench, file)
        share = eyes.into_camera_share or 0.0
        off = [f"{median(t.gaze_yaw):+.0f}/{median(t.gaze_pitch):+.0f}" for t in eyes.tracks]
        figure = f"{share:.0%} of samples; median yaw/pitch {', '.join(off)} degrees"
        yield Row(file, "into the camera, by eye", figure, share > 0.9)
    file, (start, end) = AWAY
    eyes = bench.output("eye_tracking", bench.file(file))
    yaws = [y for t in eyes.tracks for at, y in zip(t.times, t.gaze_yaw, strict=True) if y is not None and start <= at < end]  # fmt: skip
    figure = f"yaw {min(yaws):+.0f} to {max(yaws):+.0f} degrees" if yaws else "nothing read"
    yield Row(file, "looks to the left, by eye", figure, bool(yaws) and max(yaws) < -eyes.tolerance_yaw)  # fmt: skip
    smile: Eyes = bench.output("eye_tracking", bench.still("still/astronaut.png"))
    figure = f"smiling {smile.tracks[0].smiling_share:.0%}, {smile.blinks} blinks"
    yield Row("still/astronaut.png", "smiles, eyes open", figure, not smile.blinks)


def labelled(file: str) -> list[tuple[float, float]]:
    """The labelled blinks of a file, in seconds."""
    fps, frames = BLINKS[file]
    return [(first / fps, (last + 1) / fps) for first, last in frames]


def agreement(eyes: Eyes, truth: Sequence[tuple[float, float]]) -> tuple[int, int]:
    """Labelled blinks found, each by a blink of its own, and how many blinks were found besides."""
    found = [blink.span for track in eyes.tracks for blink in track.blinks]
    right = 0
    for start, end in truth:
        match = next((span for span in found if span[0] < end and start < span[1]), None)
        if match:
            found.remove(match)
            right += 1
    return right, len(found)


def median(values: Sequence[float | None]) -> float:
    known = sorted(v for v in values if v is not None)
    return known[len(known) // 2]
