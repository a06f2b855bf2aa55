"""Eyes and mouth over time: gaze, blinks, and opening of eyes and mouth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from actors.age_estimation import Faces
from actors.cut_analysis import Cuts
from tiktok_ray.analyzer import Analyzer, Needs, Options, Sees, Skip, Variant
from tiktok_ray.media import Frames, spans
from tiktok_ray.methods.vision.box_tracks import area, follow
from tiktok_ray.methods.vision.eyes import (
    MOST_YAW,
    SHUT,
    Reading,
    cut_out,
    extent,
    find_blinks,
    matching,
    measure,
)
from tiktok_ray.methods.vision.face_tracks import pick
from tiktok_ray.methods.vision.faces import Array, Landmarker, Picture, face_landmarker
from tiktok_ray.methods.vision.sampling import holds, unchanged
from tiktok_ray.report import Event, Output, Timed, derived, estimated, measured, setting
from tiktok_ray.weights import Asset

Gray = NDArray[np.uint8]

LEAST_PX = 32
#: Mean change of luma in a cell of 16 x 16 pixels from which on a face is read again: far less
#: than a blink makes on the smallest face that is read.
FACE_DIFFERS = 0.5
MOST_FACES = 4
LOCATE_STEP_S = 0.3
GAP_S = 0.7
LEAST_RATED_S = 10.0
GAZE = (
    "head rotation x rotation of the eyeballs, from the irises' position between the eye corners (iris 11 "
    "mm from the centre of rotation of an eye 30 mm wide); a few degrees off at best, more for a "
    "lowered head or a blurred face"
)


class Blink(Timed):
    """Both eyelids closing and opening again."""

    time: float = measured("When the eyes are most closed", unit="s")
    openness: float = measured(
        "Openness at that time, relative to the track's own baseline", range="0.."
    )


class EyeTrack(Timed):
    """Eyes and mouth of one face. The series are parallel to ``times``.

    Directions are in degrees: yaw is positive to the right of the picture, pitch positive
    upwards, roll positive clockwise as seen; yaw and pitch are relative to the line from the face
    to the camera, so that 0, 0 is straight into the lens wherever in the picture the face is.
    """

    track: int = measured(
        "Number of the face track, from 1, as in `age_estimation` if that ran", range="1.."
    )
    observed_s: float = measured("Time with landmarks", unit="s", range="0..end - start")
    times: list[float] = measured("When landmarks were found", unit="s")
    openness: list[float] = measured(
        "Eye aspect ratio, mean of both eyes",
        range="0..0.6",
        method="Soukupova and Cech 2016: lid distance over eye width, six landmarks an eye",
    )
    mouth: list[float] = measured(
        "Mouth opening: distance of the inner lips over the width of the mouth",
        range="0..1.5",
    )
    smile: list[float] = estimated(
        "Smile, mean of the blendshapes mouthSmileLeft and mouthSmileRight", range="0..1"
    )
    head_yaw: list[float] = estimated(
        "Direction of the head; faces turned further are not measured",
        unit="degrees",
        range="-45..45",
        method="rotation of MediaPipe's canonical face onto the landmarks",
    )
    head_pitch: list[float] = estimated(
        "Direction of the head", unit="degrees", range="-90..90", method="as head_yaw"
    )
    head_roll: list[float] = estimated(
        "Tilt of the head", unit="degrees", range="-180..180", method="as head_yaw"
    )
    gaze_yaw: list[float | None] = estimated(
        "Direction of the gaze; absent while the eyes are closed",
        unit="degrees",
        range="-90..90",
        method=GAZE,
    )
    gaze_pitch: list[float | None] = estimated(
        "Direction of the gaze; absent while the eyes are closed",
        unit="degrees",
        range="-90..90",
        method=GAZE,
    )
    into_camera: list[Timed] = derived(
        "Spans in which the gaze is within the tolerances of the camera", unit="s"
    )
    into_camera_share: float | None = derived(
        "Share of the samples with a gaze in which it is within the tolerances of the camera",
        range="0..1",
    )
    eyes_open_share: float = derived("Share of the samples in which the eyes are open")
    smiling_share: float = derived("Share of the samples with a smile above 0.5", range="0..1")
    blinks: list[Blink] = measured(
        "Blinks",
        method="dips of the eye aspect ratio below 0.75 of its running median (3 s) in both eyes, "
        "standing out by 0.2 and at most 0.6 s long at half depth; seen open before and after",
    )
    closures: list[Timed] = measured("Eyes closed for longer than a blink", unit="s")
    blinks_per_minute: float | None = derived(
        "Blinks over the observed time; absent below 10 s of it", unit="1/min", range="0.."
    )


class Eyes(Output):
    """Gaze, blinks and mouth opening of every face."""

    tolerance_yaw: float = setting(
        "Horizontal tolerance for a gaze into the camera", unit="degrees"
    )
    tolerance_pitch: float = setting(
        "Vertical tolerance for a gaze into the camera", unit="degrees"
    )
    sampling_hz: float = measured(
        "Frames analyzed per second: shorter blinks may be missed between two frames", unit="1/s"
    )
    located_by: str = derived("Source of the faces: `age_estimation` or the landmarker itself")
    tracks: list[EyeTrack] = measured("Faces with landmarks, in order of appearance")
    unread: list[int] = measured("Face tracks in which no landmarks could be found")
    blinks: int = derived("Blinks of all faces", range="0..")
    blinks_per_minute: float | None = derived(
        "Blinks of all faces over their observed time; absent below 10 s of it", unit="1/min"
    )
    into_camera_share: float | None = derived(
        "Share of all samples with a gaze in which it is into the camera", range="0..1"
    )

    def headline(self) -> str:
        words = [f"{self.blinks} blink{'s' if self.blinks != 1 else ''}"]
        if self.into_camera_share is not None:
            words.append(f"{self.into_camera_share:.0%} into the camera")
        return ", ".join(words)

    def events(self) -> Iterator[Event]:
        for eyes in self.tracks:
            if self.located_by != "age_estimation":
                yield Event(
                    start=eyes.start,
                    end=eyes.end,
                    kind="face",
                    label="face",
                    analyzer="eye_tracking",
                    track=eyes.track,
                )
            for blink in eyes.blinks:
                yield Event(
                    start=blink.start,
                    end=blink.end,
                    kind="blink",
                    label="blink",
                    analyzer="eye_tracking",
                    track=eyes.track,
                )


class EyeOptions(Options):
    """Settings of eye_tracking."""

    enabled: bool = Field(True, description="Whether faces may be analyzed (biometrics)")
    tolerance_yaw: float = Field(
        10.0, gt=0, le=90, description="Horizontal tolerance for a gaze into the camera, in degrees"
    )
    tolerance_pitch: float = Field(
        15.0, gt=0, le=90, description="Vertical tolerance for a gaze into the camera, in degrees"
    )


class EyeTracking(Analyzer):
    """Gaze, blinks and mouth opening of every face (MediaPipe FaceLandmarker)."""

    name = "eye_tracking"
    biometric = True
    needs = Needs(threads=1, timeout_s=180, cost=5)
    imports = ("cv2", "numpy.ctypeslib", "mediapipe")
    sees = (Sees("blinks", "dense"), Sees("faces with their eyes", "dense", pixels=LEAST_PX))
    options_type = EyeOptions
    variants = (
        Variant(
            "face_landmarker",
            weights={
                "model": Asset(
                    "mediapipe/face_landmarker.task",
                    "Apache-2.0",
                    0.0036,
                    url="https://storage.googleapis.com/mediapipe-models/face_landmarker/"
                    "face_landmarker/float16/1/face_landmarker.task",
                )
            },
            ram_gib=0.3,
        ),
    )
    landmarker: Callable[[], AbstractContextManager[Landmarker]]

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:
        self.landmarker = partial(face_landmarker, files["model"])
        with self.landmarker() as find:
            find(np.zeros((64, 64, 3), np.uint8))

    def analyze(
        self, dense: Frames, age_estimation: Faces | None, cut_analysis: Cuts | None
    ) -> Eyes:
        """Read every face in every picture, each cut out of the picture first.

        Raises ``Skip`` when biometrics are disabled, when there is no face, and when no face
        shows its eyes.
        """
        if not self.options.enabled:
            raise Skip("biometrics are disabled")
        breaks = cut_analysis.times if cut_analysis else []
        with self.landmarker() as find:
            if age_estimation:
                seats = seats_of(age_estimation)
            else:
                seats = locate(dense, find, breaks)
            if not seats:
                raise Skip("no face found")
            readings = read(dense, find, seats)
        if not any(readings):
            raise Skip("no face is large and frontal enough to measure its eyes")
        step = float(np.median(np.diff([*dense.times, dense.end])))
        limits = (self.options.tolerance_yaw, self.options.tolerance_pitch)
        tracks = [
            describe(seat, found, step, limits)
            for seat, found in zip(seats, readings, strict=True)
            if found
        ]
        return Eyes(
            tolerance_yaw=limits[0],
            tolerance_pitch=limits[1],
            sampling_hz=1 / step,
            located_by="age_estimation" if age_estimation else "landmarker",
            tracks=tracks,
            unread=[s.track for s, found in zip(seats, readings, strict=True) if not found],
            blinks=sum(len(t.blinks) for t in tracks),
            blinks_per_minute=rate(
                sum(len(t.blinks) for t in tracks), sum(t.observed_s for t in tracks)
            ),
            into_camera_share=overall_share(tracks),
        )


@dataclass(frozen=True)
class Seat:
    """Where a face is: ``boxes`` [n, 4] at ``times`` [n], present from ``start`` to ``end``."""

    track: int
    start: float
    end: float
    times: list[float]
    boxes: Array

    def holds(self, t: float) -> bool:
        """Whether the face is there at a time; times in reports are rounded to 0.1 ms."""
        return self.start - 1e-3 <= t < self.end - 1e-3

    def at(self, t: float) -> Array:
        """The box [4] at a time, between two detections in proportion."""
        return np.array([np.interp(t, self.times, self.boxes[:, k]) for k in range(4)])


def seats_of(faces: Faces) -> list[Seat]:
    """Seats from the tracks of ``age_estimation``."""
    return [
        Seat(face.track, face.start, face.end, list(face.times), np.array(face.boxes))
        for face in faces.faces
    ]


def locate(dense: Frames, find: Landmarker, breaks: Sequence[float]) -> list[Seat]:
    """Seats from the landmarker itself, which finds large faces only."""
    picked = pick(dense.times, breaks, LOCATE_STEP_S)
    times = [float(dense.times[i]) for i in picked]
    boxes = [
        np.array([extent(face.points) for face in find(dense.rgb(i))]).reshape(-1, 4)
        for i in picked
    ]
    held = holds(times, dense.end, breaks)
    seats = []
    for number, track in enumerate(follow(times, boxes, gap_s=GAP_S, breaks=breaks), 1):
        at = [times[s] for s in track.samples]
        here = np.array([boxes[s][k] for s, k in zip(track.samples, track.items, strict=True)])
        seats.append(Seat(number, at[0], held[track.samples[-1]].end, at, here))
    return seats


def read(dense: Frames, find: Landmarker, seats: Sequence[Seat]) -> list[list[Reading]]:
    """Readings of each seat, of at most ``MOST_FACES`` in a picture, the largest first.

    A face that does not differ from when it was last read is not read again.
    """
    readings: list[list[Reading]] = [[] for _ in seats]
    last: dict[int, tuple[Gray, Reading | None]] = {}
    size = np.array([dense.width, dense.height])
    for i, t in enumerate(dense.times):
        boxes = {k: seat.at(t) for k, seat in enumerate(seats) if seat.holds(t)}
        boxes = {k: b for k, b in boxes.items() if ((b[2:] - b[:2]) * size).min() >= LEAST_PX}
        ranked = sorted(boxes, key=lambda k: -float(area(boxes[k])[0]))[:MOST_FACES]
        picture = dense.rgb(i) if ranked else None
        for k in ranked:
            assert picture is not None
            patch, inside = cut_out(picture, boxes[k] * np.tile(size, 2))
            gray = luma(patch)
            shown, reading = last.get(k, (None, None))
            if shown is not None and same_face(shown, gray):
                reading = reading and reading._replace(time=float(t))
            else:
                face = matching(find(patch), inside)
                reading = measure(float(t), face) if face else None
                last[k] = (gray, reading)
            if reading and abs(reading.head[0]) <= MOST_YAW:
                readings[k].append(reading)
    return readings


def luma(picture: Picture) -> Gray:
    """The luma of an RGB picture, uint8 [h, w]."""
    import cv2

    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def same_face(before: Gray, now: Gray) -> bool:
    """Whether the luma of two cut out faces shows no difference worth another reading."""
    return before.shape == now.shape and unchanged(before, now, FACE_DIFFERS)


def rate(count: int, seconds: float) -> float | None:
    """Events per minute; None when less than ``LEAST_RATED_S`` was observed."""
    return 60 * count / seconds if seconds >= LEAST_RATED_S else None


def describe(
    seat: Seat, readings: Sequence[Reading], step: float, limits: tuple[float, float]
) -> EyeTrack:
    """One face as it is reported. ``limits`` are the tolerances of yaw and pitch in degrees."""
    times = np.array([r.time for r in readings])
    left, right = np.array([r.left for r in readings]), np.array([r.right for r in readings])
    openness = (left + right) / 2
    shut = openness < max(SHUT, 0.5 * float(np.percentile(openness, 90)))
    into = [
        not closed and abs(r.gaze[0]) <= limits[0] and abs(r.gaze[1]) <= limits[1]
        for r, closed in zip(readings, shut, strict=True)
    ]
    held = [
        (t, min(after, t + 1.5 * step))
        for t, after in zip(times.tolist(), [*times[1:].tolist(), seat.end], strict=True)
    ]
    blinks, closures = find_blinks(times, left, right, step)
    observed = spans.total(held)
    watching = spans.union(span for span, yes in zip(held, into, strict=True) if yes)
    smiles = [r.smile for r in readings]
    return EyeTrack(
        start=readings[0].time,
        end=held[-1][1],
        track=seat.track,
        observed_s=observed,
        times=times.tolist(),
        openness=openness.tolist(),
        mouth=[r.mouth for r in readings],
        smile=smiles,
        head_yaw=[r.head[0] for r in readings],
        head_pitch=[r.head[1] for r in readings],
        head_roll=[r.head[2] for r in readings],
        gaze_yaw=[None if s else r.gaze[0] for r, s in zip(readings, shut, strict=True)],
        gaze_pitch=[None if s else r.gaze[1] for r, s in zip(readings, shut, strict=True)],
        into_camera=[Timed(start=span.start, end=span.end) for span in watching],
        into_camera_share=float(sum(into) / (~shut).sum()) if (~shut).any() else None,
        eyes_open_share=float(np.mean(~shut)),
        smiling_share=float(np.mean(np.array(smiles) > 0.5)),
        blinks=[Blink(**blink._asdict()) for blink in blinks],
        closures=[Timed(start=span.start, end=span.end) for span in closures],
        blinks_per_minute=rate(len(blinks), observed),
    )


def overall_share(tracks: Sequence[EyeTrack]) -> float | None:
    """Share of all samples with a gaze in which it is into the camera."""
    known = [(t.into_camera_share, sum(g is not None for g in t.gaze_yaw)) for t in tracks]
    total = sum(count for _, count in known)
    return sum((share or 0.0) * count for share, count in known) / total if total else None
