"""What landmarks say of eyes and mouth: openness, direction of head and gaze, blinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media.spans import Span
from tiktok_ray.methods.peaks import find_peaks
from tiktok_ray.methods.vision.box_tracks import iou
from tiktok_ray.methods.vision.faces import Array, Landmarks, Picture

#: Six landmarks an eye, in the order of Soukupova and Cech 2016, the picture's left eye first.
EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
IRISES = (468, 473)
LIPS = (13, 14)
MOUTH_CORNERS = (78, 308)
#: From the eye's centre of rotation to the iris, 11 mm, over the width of the eye, 30 mm.
IRIS_RADIUS = 0.37
#: Height of the iris above the line between the eye's corners when the eye looks straight ahead,
#: in widths of the eye: mean over ten faces that look into the lens (standard deviation 0.011, or
#: 1.7 degrees).
IRIS_HEIGHT = 0.065
CROP = 2.0
MOST_YAW = 45.0
SAME_FACE = 0.3
BASELINE_S = 1.5
FALLEN = 0.75
LEAST_DEPTH = 0.2
MOST_BLINK_S = 0.6
SHUT = 0.12


class Reading(NamedTuple):
    """What one picture says of one face."""

    time: float
    left: float
    right: float
    mouth: float
    smile: float
    head: tuple[float, float, float]
    gaze: tuple[float, float]


class Dip(NamedTuple):
    """A blink: from half its depth to half its depth, and the ``openness`` left at ``time``,
    relative to the running median."""

    start: float
    end: float
    time: float
    openness: float


def extent(points: Array) -> Array:
    """The box [4] around landmarks [n, 3], within the picture."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    box: Array = np.clip(np.concatenate([low, high]), 0, 1)
    return box


def cut_out(picture: Picture, box: Array) -> tuple[Picture, Array]:
    """A square of ``CROP`` times the box's longer side around it, black beyond the picture.

    ``box`` [4] is in pixels. Returns the square and the box within it, 0..1.
    """
    side = max(2, round(CROP * float((box[2:] - box[:2]).max())))
    x, y = (np.round((box[:2] + box[2:]) / 2) - side // 2).astype(int).tolist()
    patch = np.zeros((side, side, 3), np.uint8)
    height, width = picture.shape[:2]
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = max(x0, min(width, x + side)), max(y0, min(height, y + side))
    patch[y0 - y : y1 - y, x0 - x : x1 - x] = picture[y0:y1, x0:x1]
    return patch, (box - np.array([x, y, x, y])) / side


def matching(faces: Sequence[Landmarks], box: Array) -> Landmarks | None:
    """The face whose landmarks cover the box best, if by at least ``SAME_FACE`` (IoU)."""
    if not faces:
        return None
    covers = iou(np.array([extent(face.points) for face in faces]), box)[:, 0]
    best = int(np.argmax(covers))
    return faces[best] if covers[best] >= SAME_FACE else None


def measure(t: float, face: Landmarks) -> Reading:
    """Openness, mouth, head and gaze from the landmarks of one face in a square picture."""
    shapes = face.shapes
    return Reading(
        time=t,
        left=eye_aspect_ratio(face.points[list(EYES[0]), :2]),
        right=eye_aspect_ratio(face.points[list(EYES[1]), :2]),
        mouth=distance(face.points, LIPS) / max(distance(face.points, MOUTH_CORNERS), 1e-9),
        smile=(shapes["mouthSmileLeft"] + shapes["mouthSmileRight"]) / 2,
        head=head_angles(face.pose),
        gaze=gaze_angles(face.points, face.pose),
    )


def distance(points: Array, pair: tuple[int, int]) -> float:
    """Distance of two landmarks in the picture."""
    return float(np.linalg.norm(points[pair[0], :2] - points[pair[1], :2]))


def eye_aspect_ratio(eye: Array) -> float:
    """EAR of six landmarks [6, 2] (Soukupova and Cech 2016): mean lid distance over width."""
    lids = np.linalg.norm(eye[1] - eye[5]) + np.linalg.norm(eye[2] - eye[4])
    return float(lids / (2 * max(float(np.linalg.norm(eye[0] - eye[3])), 1e-9)))


def direction(vector: Array) -> tuple[float, float]:
    """Yaw and pitch in degrees of a vector [3] (x right, y up, z towards the camera)."""
    x, y, z = vector / np.linalg.norm(vector)
    return float(np.degrees(np.arctan2(x, z))), float(np.degrees(np.arcsin(np.clip(y, -1, 1))))


def head_angles(pose: Array) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees of a head's rotation [3, 3]."""
    return *direction(pose[:, 2]), float(np.degrees(np.arctan2(-pose[1, 0], pose[0, 0])))


def gaze_angles(points: Array, pose: Array) -> tuple[float, float]:
    """Yaw and pitch of the gaze in degrees.

    The landmarks are turned back by the head's rotation; there the iris's place between the
    corners of its eye, mean of both eyes, gives the turn of the eyeball (``IRIS_RADIUS``,
    ``IRIS_HEIGHT``), which is then turned with the head again. As each face is cut out around its
    middle, the result is relative to the line from the face to the camera.
    """
    upright = (points * np.array([1.0, -1.0, -1.0])) @ pose
    offsets = []
    for eye, iris in zip(EYES, IRISES, strict=True):
        corners = upright[[eye[0], eye[3]]]
        width = max(float(np.linalg.norm(corners[1] - corners[0])), 1e-9)
        offsets.append((upright[iris] - corners.mean(0))[:2] / width)
    x, y = (np.mean(offsets, 0) - np.array([0.0, IRIS_HEIGHT])) / IRIS_RADIUS
    away = min(float(np.hypot(x, y)), 1.0)
    return direction(pose @ np.array([x, y, np.sqrt(1 - away**2)]))


def baseline(times: Array, values: Array) -> Array:
    """Running median [n] of a series over ``BASELINE_S`` before and after each sample."""
    near = np.abs(times[:, None] - times[None, :]) <= BASELINE_S
    return np.array([np.median(values[row]) for row in near])


def find_blinks(
    times: Array, left: Array, right: Array, step: float
) -> tuple[list[Dip], list[Span]]:
    """Blinks, and spans of shut eyes that are none. Arguments are EAR series [n].

    Openness is relative to each eye's running median, which follows a smile or a lowered gaze; the
    more open eye counts, so that a wink or a hand before one eye is none. A blink is a dip below
    ``FALLEN`` that stands out by ``LEAST_DEPTH`` (prominence), from half its depth on the way down
    to half on the way up, at most ``MOST_BLINK_S`` long, with no gap in the landmarks. Other runs
    with both eyes below ``SHUT`` are closures: longer ones, and those that the beginning or the
    end of the track cuts off.
    """
    relative = np.maximum(
        left / np.maximum(baseline(times, left), 1e-9),
        right / np.maximum(baseline(times, right), 1e-9),
    )
    blinks = []
    for part in np.split(np.arange(len(times)), np.flatnonzero(np.diff(times) > 2.5 * step) + 1):
        at = np.arange(len(part))
        for dip in find_peaks(1 - relative[part], height=1 - FALLEN, prominence=LEAST_DEPTH):
            start, end = np.interp([dip.left, dip.right], at, times[part]).tolist()
            if end - start <= MOST_BLINK_S:
                lowest = part[dip.at]
                blinks.append(Dip(start, end, float(times[lowest]), float(relative[lowest])))
    inside = np.array([any(b.start <= t <= b.end for b in blinks) for t in times], bool)
    closures = [
        Span(float(times[i]), float(times[j] if j < len(times) else times[-1] + step))
        for i, j in true_runs((np.maximum(left, right) < SHUT) & ~inside)
    ]
    return blinks, closures


def true_runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of true flags as half-open pairs of indices."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(i), int(j)) for i, j in edges.reshape(-1, 2)]
