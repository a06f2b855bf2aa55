"""What a body's keypoints say: posture, gestures, waving, activity. Geometry alone, no model.

Poses are COCO's 17 keypoints, ``points`` [17, 2] in one unit for both axes with y growing
downwards, and ``seen`` [17]; over time [n, 17, 2] and [n, 17]. Sides are the person's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media.spans import Span
from tiktok_ray.methods.vision.sampling import STEP_S

Posture = Literal["standing", "sitting", "lying", "bending", "crouching"]
GestureKind = Literal[
    "hand raised", "both hands raised", "pointing", "hand near face", "arms crossed", "waving"
]
Side = Literal["left", "right", "both"]
Points = NDArray[np.float64]
Seen = NDArray[np.bool_]

POINTS = 17
NOSE, EYES, EARS, SHOULDERS, ELBOWS, WRISTS, HIPS, KNEES, ANKLES = (
    0, (1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16),
)  # fmt: skip
SIDES: tuple[tuple[Literal["left", "right"], int], ...] = (("left", 0), ("right", 1))

#: Torso length (shoulders to hips) of an adult in shoulder widths and in head widths.
TORSO_PER_SHOULDERS = 1.4
TORSO_PER_HEAD = 3.3
#: Longest time between two samples that tell a speed: where nobody moves, few are looked at.
LONGEST_S = 4 * STEP_S


def middle(points: Points, seen: Seen, pair: tuple[int, int]) -> Points | None:
    """Midpoint of a pair, or the one of them that is seen, or None. ``points`` [17, 2]."""
    there = [points[i] for i in pair if seen[i]]
    return np.mean(there, axis=0) if there else None


def lean(vector: Points) -> float:
    """Angle between a vector and the vertical, 0..90 degrees. y grows downwards."""
    return float(np.degrees(np.arctan2(abs(vector[0]), abs(vector[1]))))


def bend(a: Points, joint: Points, b: Points) -> float:
    """Angle at a joint, 0..180 degrees; 180 is straight."""
    u, v = a - joint, b - joint
    cosine = float(u @ v) / max(float(np.linalg.norm(u) * np.linalg.norm(v)), 1e-9)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def posture_of(points: Points, seen: Seen) -> Posture | None:
    """Posture in one sample, None where shoulders, hips or knees are not seen or no test holds.

    Trunk: hips to shoulders; thigh:
    hips to knees; both against the vertical of the picture, lengths in trunk lengths.

    - lying: trunk and thigh lean more than 60 degrees;
    - bending: trunk leans more than 40 degrees, or the shoulders are below the hips, and the
      thigh leans less than 35 degrees downwards;
    - otherwise the trunk leans at most 40 degrees, and
      crouching: ankles seen, less than 0.5 below the hips;
      sitting: thigh leans more than 50 degrees, or is shorter than 0.5 (it points at the camera);
      standing: thigh leans less than 30 degrees, at least 0.5 long, and where ankles are seen the
      knee's angle is at least 140 degrees.
    """
    shoulders, hips, knees, ankles = (
        middle(points, seen, pair) for pair in (SHOULDERS, HIPS, KNEES, ANKLES)
    )
    if shoulders is None or hips is None or knees is None:
        return None
    trunk, thigh = shoulders - hips, knees - hips
    unit = float(np.linalg.norm(trunk))
    if unit < 1e-6:
        return None
    upright = lean(trunk) <= 40 and trunk[1] < 0
    if not upright:
        if lean(trunk) > 60 and lean(thigh) > 60:
            return "lying"
        return "bending" if lean(thigh) < 35 and thigh[1] > 0.4 * unit else None
    if ankles is not None and ankles[1] - hips[1] < 0.5 * unit:
        return "crouching"
    if lean(thigh) > 50 or np.linalg.norm(thigh) < 0.5 * unit:
        return "sitting"
    straight = ankles is None or bend(hips, knees, ankles) >= 140
    return "standing" if lean(thigh) < 30 and thigh[1] > 0 and straight else None


def gestures_of(points: Points, seen: Seen) -> set[tuple[GestureKind, Side]]:
    """Gestures visible in one sample.

    - hand near face: wrist within 1.2 head widths of the nose, and not below the shoulders;
    - hand raised: wrist above the nose and above its elbow, and not on the face;
    - pointing: arm straight (elbow at least 150 degrees), 60 to 135 degrees away from hanging, not
      raised, and the other arm not so (that is spreading one's arms). An arm that points at the
      camera is not recognised;
    - arms crossed: along the line of the shoulders the wrists have changed sides by more than a
      tenth of the shoulders' width, each lies within three quarters of it of the other elbow,
      below the shoulders, and both elbows are bent below 120 degrees.
    """
    found: set[tuple[GestureKind, Side]] = set()
    reach = reach_of_face(points, seen)
    raised: list[Side] = []
    straight: list[Side] = []
    for side, k in SIDES:
        shoulder, elbow, wrist = SHOULDERS[k], ELBOWS[k], WRISTS[k]
        if not seen[wrist]:
            continue
        if (
            reach is not None
            and np.linalg.norm(points[wrist] - points[NOSE]) <= reach
            and not (seen[shoulder] and points[wrist, 1] > points[shoulder, 1])
        ):
            found.add(("hand near face", side))
        elif seen[NOSE] and seen[elbow] and points[wrist, 1] < min(points[[NOSE, elbow], 1]):
            raised.append(side)
        elif seen[elbow] and seen[shoulder]:
            arm = points[wrist] - points[shoulder]
            hanging = bend(points[shoulder] + (0, 1), points[shoulder], points[shoulder] + arm)
            if bend(*points[[shoulder, elbow, wrist]]) >= 150 and 60 <= hanging <= 135:
                straight.append(side)
    if len(raised) == 2:
        found.add(("both hands raised", "both"))
    else:
        found |= {("hand raised", side) for side in raised}
    if len(straight) == 1:
        found.add(("pointing", straight[0]))
    if crossed(points, seen):
        found.add(("arms crossed", "both"))
    return found


def head_width(points: Points, seen: Seen) -> float | None:
    """The larger of the distance between the ears and 2.4 times that between the eyes, where
    seen."""
    sizes = [
        factor * float(np.linalg.norm(points[a] - points[b]))
        for (a, b), factor in ((EARS, 1.0), (EYES, 2.4))
        if seen[a] and seen[b]
    ]
    return max(sizes, default=None)


def reach_of_face(points: Points, seen: Seen) -> float | None:
    """How far from the nose a wrist lies at most whose hand is on the face; None where the nose
    or the head's width is not seen. A head in profile is as wide as the torso says."""
    head, shoulders, hips = (
        head_width(points, seen),
        *(middle(points, seen, pair) for pair in (SHOULDERS, HIPS)),
    )
    if shoulders is not None and hips is not None:
        head = max(head or 0.0, float(np.linalg.norm(shoulders - hips)) / TORSO_PER_HEAD)
    return 1.2 * head if head is not None and seen[NOSE] else None


def crossed(points: Points, seen: Seen) -> bool:
    """Whether the arms are crossed; see ``gestures_of``."""
    if not seen[[*SHOULDERS, *ELBOWS, *WRISTS]].all():
        return False
    left, right = points[list(SHOULDERS)]
    across = right - left
    width = float(np.linalg.norm(across))
    if width < 1e-6:
        return False
    place = (points[list(WRISTS)] - (left + right) / 2) @ across / width**2
    near = [
        np.linalg.norm(points[WRISTS[k]] - points[ELBOWS[1 - k]]) <= 0.75 * width for k in (0, 1)
    ]
    below = points[list(WRISTS), 1].min() > max(left[1], right[1])
    bent = [bend(*points[[SHOULDERS[k], ELBOWS[k], WRISTS[k]]]) < 120 for k in (0, 1)]
    return bool(place[0] - place[1] > 0.1 and all(near) and below and all(bent))


def waves(times: Sequence[float], points: Points, seen: Seen) -> list[tuple[Span, Side]]:
    """Waving: the forearm upright or raised, the wrist swinging to and fro about the elbow.

    The wrist is above the elbow; its horizontal place relative to the elbow, in forearm lengths
    (median over time), turns at least three times, each swing at least 0.3 long and at most 1 s.
    Swings faster than half the sampling rate cannot be seen.
    """
    found: list[tuple[Span, Side]] = []
    for side, k in SIDES:
        elbow, wrist = ELBOWS[k], WRISTS[k]
        arm = points[:, wrist] - points[:, elbow]
        up = forearm_up(points, seen, k)
        if up.sum() < 4:
            continue
        swing = arm[:, 0] / max(float(np.median(np.linalg.norm(arm[up], axis=1))), 1e-9)
        for stretch in stretches(up):
            turning = turns([float(swing[i]) for i in stretch], 0.3)
            moments = [times[stretch[i]] for i in turning]
            runs = split(moments, 1.0)
            found += [(Span(run[0], run[-1]), side) for run in runs if len(run) >= 3]
    return found


def forearm_up(points: Points, seen: Seen, side: int) -> Seen:
    """Where the wrist of a side is seen above its elbow, [n]: as it is wherever somebody waves."""
    elbow, wrist = ELBOWS[side], WRISTS[side]
    return seen[:, wrist] & seen[:, elbow] & (points[:, wrist, 1] < points[:, elbow, 1])


def stretches(flags: Seen) -> list[list[int]]:
    """Indices of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return [list(range(a, b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def split(moments: Sequence[float], gap: float) -> list[list[float]]:
    """Ascending moments in runs that nowhere pause for longer than ``gap``."""
    runs: list[list[float]] = []
    for moment in moments:
        if not runs or moment - runs[-1][-1] > gap:
            runs.append([])
        runs[-1].append(moment)
    return runs


def turns(values: Sequence[float], least: float) -> list[int]:
    """Indices of the turning points of a curve whose swings are at least ``least`` high."""
    found: list[int] = []
    low = high = 0
    rising: bool | None = None
    for i, value in enumerate(values):
        low = i if value < values[low] else low
        high = i if value > values[high] else high
        if rising is not False and values[high] - value >= least:
            found.append(high)
            rising, low, high = False, i, i
        elif rising is not True and value - values[low] >= least:
            found.append(low)
            rising, low, high = True, i, i
    return found


def torso(points: Points, seen: Seen) -> float | None:
    """Length of the torso: the larger of shoulders to hips and 1.4 shoulder widths, else 3.3 head
    widths; None where none of them is seen."""
    shoulders, hips = middle(points, seen, SHOULDERS), middle(points, seen, HIPS)
    sizes = []
    if shoulders is not None and hips is not None:
        sizes.append(float(np.linalg.norm(shoulders - hips)))
    if seen[list(SHOULDERS)].all():
        across = np.linalg.norm(points[SHOULDERS[0]] - points[SHOULDERS[1]])
        sizes.append(TORSO_PER_SHOULDERS * float(across))
    if not sizes and (head := head_width(points, seen)) is not None:
        sizes.append(TORSO_PER_HEAD * head)
    return max(sizes, default=None)


def activity(
    times: Sequence[float], points: Points, seen: Seen, longest_s: float = LONGEST_S
) -> tuple[list[float], list[float]]:
    """Times and mean keypoint speeds, in torso lengths (median over time) per second.

    Each value is over the keypoints seen in a sample and in the one before, at least three of
    them, where the two lie at most ``longest_s`` apart. Empty where nothing tells the torso.
    """
    sizes = [size for p, s in zip(points, seen, strict=True) if (size := torso(p, s))]
    if not sizes:
        return [], []
    unit = float(np.median(sizes))
    moments: list[float] = []
    speeds: list[float] = []
    for a, b in pairwise(range(len(times))):
        both, step = seen[a] & seen[b], times[b] - times[a]
        if both.sum() >= 3 and step <= longest_s:
            moved = np.linalg.norm(points[b, both] - points[a, both], axis=1)
            moments.append(times[b])
            speeds.append(float(moved.mean()) / step / unit)
    return moments, speeds
