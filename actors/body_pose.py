"""People with 17 keypoints over time: posture, gestures and activity (YOLOv8-pose)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from pydantic import Field

from actors.cut_analysis import Cuts
from tiktok_ray.analyzer import Analyzer, Needs, Options, Skip, Variant, Vram
from tiktok_ray.media import Frames, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.vision import poses
from tiktok_ray.methods.vision.box_tracks import Followed, believed, kept, track
from tiktok_ray.methods.vision.poses import GestureKind, Points, Posture, Seen, Side
from tiktok_ray.methods.vision.sampling import Kept, holds, look_closer, thin
from tiktok_ray.methods.vision.yolo import ON_A_CARD, Eyes, Found, Yolo, checkpoint
from tiktok_ray.report import Event, Output, Timed, derived, estimated, measured

Box = tuple[float, float, float, float]

#: Keypoints of less confidence count as not seen.
VISIBLE = 0.5
#: Detections of at least this confidence begin a track; fainter ones are not asked for.
BEGIN = 0.25
SHORTEST_S = 0.3


class PostureSpan(Timed):
    """A time span in which one person keeps one posture."""

    posture: Posture = derived(
        "Posture by angles between keypoints; see `tiktok_ray.methods.vision.poses`"
    )


class Gesture(Timed):
    """A gesture of one person."""

    gesture: GestureKind = derived(
        "Gesture by the place of keypoints; see `tiktok_ray.methods.vision.poses`"
    )
    side: Side = derived("The side from the person's own view")


class PosedPerson(Timed):
    """One person, tracked from the first to the last detection; never across a cut."""

    track: int = derived("Number of the person, from 1 in order of first appearance")
    confidence: float = estimated("Mean confidence of the detections", range="0..1")
    times: list[float] = measured(
        "Timestamps of the frames in which the person was detected", unit="s"
    )
    boxes: list[Box] = estimated(
        "Bounding box at each of those times, x0, y0, x1, y1", unit="share of width or height"
    )
    keypoints: list[list[float]] = estimated(
        "At each of those times 17 x (x, y, confidence) in COCO's order: nose, eyes, ears, "
        "shoulders, elbows, wrists, hips, knees, ankles, each left before right",
        unit="share of width or height; confidence 0..1",
    )
    posture: Posture | Literal["unknown"] = derived(
        "Posture held longest; unknown if hips or knees are never visible"
    )
    postures: list[PostureSpan] = derived("Postures over time, where they can be determined")
    gestures: list[Gesture] = derived("Gestures over time")
    activity: float | None = derived(
        "Median of `activity_values`; null if it is never known", unit="torso lengths/s"
    )
    activity_times: list[float] = measured("Times at which activity is known", unit="s")
    activity_values: list[float] = derived(
        "Mean speed of the keypoints visible in this and the previous frame; a moving camera counts "
        "too",
        unit="torso lengths/s",
        method="torso: shoulders to hips or 1.4 shoulder widths, else 3.3 head widths; median",
    )


class Poses(Output):
    """All people with keypoints."""

    persons: list[PosedPerson] = estimated(
        "People in order of appearance", method="YOLOv8-pose (Ultralytics 2023)"
    )
    at_once: int = derived("Maximum number of people in one frame")
    screen_time_s: float = derived("Time with at least one person on screen", unit="s")
    samples: int = measured("Number of frames analyzed")
    step_s: float = measured("Longest time between two of them", unit="s")

    def headline(self) -> str:
        count = len(self.persons)
        if not count:
            return "no body confirmed by another analyzer"
        parts = [f"{count} track{'s' * (count != 1)} of bodies"]
        for names in (self.held(), self.made()):
            parts += [f"{name} ({names[name]:.2f})" for name in sorted(names)]
        return ", ".join(parts)

    def held(self) -> dict[str, float]:
        """Postures held, each with the highest mean confidence of a body that holds it."""
        return _surest((p.posture, p.confidence) for p in self.persons if p.posture != "unknown")

    def made(self) -> dict[str, float]:
        """Gestures made, each with the highest mean confidence of a body that makes it."""
        return _surest((g.gesture, p.confidence) for p in self.persons for g in p.gestures)

    def events(self) -> Iterator[Event]:
        for person in self.persons:
            for gesture in person.gestures:
                yield Event(
                    start=gesture.start,
                    end=gesture.end,
                    kind="gesture",
                    label=gesture.gesture,
                    confidence=person.confidence,
                    analyzer=BodyPose.name,
                    track=person.track,
                )


def _surest(found: Iterable[tuple[str, float]]) -> dict[str, float]:
    best: dict[str, float] = {}
    for name, confidence in found:
        best[name] = max(best.get(name, 0.0), confidence)
    return best


class PoseOptions(Options):
    """Settings of pose analysis."""

    fps: float = Field(
        5.0,
        gt=0,
        description="Frames analyzed per second, at most; half as many where all goes on as before, a quarter where nothing changes",
    )
    confidence: float = Field(
        0.4,
        ge=BEGIN,
        le=1,
        description="Minimum confidence of a person's detections to count as evidence",
    )
    lost_s: float = Field(1.0, ge=0, description="Seconds after which a lost track is not resumed")


class BodyPose(Analyzer):
    """Postures, gestures and activity of people."""

    name = "body_pose"
    card_priority = 7
    needs = Needs(threads=1, timeout_s=180, cost=4.5)
    imports = ("cv2",)
    variants = (
        Variant(
            "yolov8m-pose",
            weights={"poser": checkpoint("yolov8m-pose.pt", 0.05, on_the_cpu=False)},
            vram=Vram(0.05, 0.4),
            cpu=False,
            card_imports=ON_A_CARD,
        ),
        Variant(
            "yolov8n-pose",
            weights={"poser": checkpoint("yolov8n-pose.pt", 0.007)},
            vram=Vram(0.01, 0.2),
            ram_gib=0.8,
            card_imports=ON_A_CARD,
        ),
    )
    options_type = PoseOptions

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:
        self.model: Eyes = Yolo(files["poser"], device, floor=BEGIN)

    def analyze(self, dense: Frames, cut_analysis: Cuts | None) -> Poses:
        breaks = cut_analysis.times if cut_analysis else []
        picked = thin(dense.times.tolist(), self.options.fps, breaks)
        picked, found = look_closer(
            dense,
            picked,
            self.model,
            self._kept,
            breaks=breaks,
            lost_s=self.options.lost_s,
            batch=self.batch,
        )
        times = dense.times[picked].tolist()
        held = holds(times, dense.end, breaks)
        boxes, scores = [rows[:, :4] for rows in found], [rows[:, 4] for rows in found]
        joined = track(
            times,
            boxes,
            scores,
            lost_s=self.options.lost_s,
            begin=BEGIN,
            aspect=dense.width / dense.height,
            breaks=breaks,
        )
        kept = believed(joined, times, scores, sure=self.options.confidence, breaks=breaks)
        if not kept:
            raise Skip(f"no body detected in any of {len(times)} frames")
        persons = [
            pose_person(number, path, found, held, dense.width / dense.height)
            for number, path in enumerate(kept, 1)
        ]
        counts = np.bincount([i for path in kept for i in path.samples])
        return Poses(
            persons=persons,
            at_once=int(counts.max()),
            screen_time_s=spans.total(held[i] for i in np.flatnonzero(counts)),
            samples=len(times),
            step_s=float(np.diff([*times, held[-1].end]).max()),
        )

    def _kept(self, a: Found, b: Found) -> Kept | None:
        """The same people in two samples; None also where somebody may wave between them."""
        body = np.concatenate([a, b])[:, 6:].reshape(-1, poses.POINTS, 3)
        seen = body[..., 2] >= VISIBLE
        up = [poses.forearm_up(body[..., :2], seen, side).any() for side in (0, 1)]
        return None if any(up) else kept(a, b, begin=BEGIN, sure=self.options.confidence)


def pose_person(
    number: int, path: Followed, found: Sequence[Found], held: Sequence[Span], aspect: float
) -> PosedPerson:
    """One person's record; ``aspect`` is the picture's width over its height."""
    rows = np.array([found[i][j] for i, j in zip(path.samples, path.items, strict=True)])
    body = rows[:, 6:].reshape(len(rows), poses.POINTS, 3)
    points = body[..., :2] * (aspect, 1.0)
    seen = body[..., 2] >= VISIBLE
    mine = [held[i] for i in path.samples]
    times = [span.start for span in mine]
    postures = posture_spans(
        mine, [poses.posture_of(p, s) for p, s in zip(points, seen, strict=True)]
    )
    lengths = {
        p: spans.total(x.span for x in postures if x.posture == p) for p in get_args(Posture)
    }
    posture = max(lengths, key=lambda p: lengths[p])
    moved, speeds = poses.activity(times, points, seen)
    gestures = held_gestures(mine, points, seen)
    gestures += [
        Gesture(start=span.start, end=span.end, gesture="waving", side=side)
        for span, side in poses.waves(times, points, seen)
    ]
    return PosedPerson(
        start=mine[0].start,
        end=mine[-1].end,
        track=number,
        confidence=float(rows[:, 4].mean()),
        times=times,
        boxes=[tuple(box) for box in rows[:, :4].tolist()],
        keypoints=rows[:, 6:].tolist(),
        posture=posture if lengths[posture] else "unknown",
        postures=postures,
        gestures=sorted(gestures, key=lambda g: (g.start, g.gesture, g.side)),
        activity=float(np.median(speeds)) if speeds else None,
        activity_times=moved,
        activity_values=speeds,
    )


def posture_spans(held: Sequence[Span], postures: Sequence[Posture | None]) -> list[PostureSpan]:
    """Runs of one posture of at least 0.3 s, a single different sample within one voted down."""
    smooth = list(postures)
    for i in range(1, len(postures) - 1):
        if postures[i - 1] == postures[i + 1]:
            smooth[i] = postures[i - 1]
    found = [
        PostureSpan(start=span.start, end=span.end, posture=posture)
        for posture in get_args(Posture)
        for span in spans.longer(
            (h for h, p in zip(held, smooth, strict=True) if p == posture), SHORTEST_S
        )
    ]
    return sorted(found, key=lambda span: span.start)


def held_gestures(held: Sequence[Span], points: Points, seen: Seen) -> list[Gesture]:
    """Gestures that last at least 0.3 s; interruptions of as long are bridged.

    ``points`` [n, 17, 2], ``seen`` [n, 17], ``held`` the span for which each sample stands.
    """
    at: dict[tuple[GestureKind, Side], list[Span]] = {}
    for span, p, s in zip(held, points, seen, strict=True):
        for gesture in poses.gestures_of(p, s):
            at.setdefault(gesture, []).append(span)
    return [
        Gesture(start=span.start, end=span.end, gesture=gesture, side=side)
        for (gesture, side), found in at.items()
        for span in spans.longer(spans.union(found, SHORTEST_S), SHORTEST_S)
    ]
