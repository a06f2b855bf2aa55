"""Boxes, classes, tracks and times of objects, beside Ultralytics' own ``track`` on the same clips.

Factory clips: at each sample a box is right where a true one of its class overlaps it by half; of a
track, IDF1 (Ristani et al. 2016): samples in which thing and track agree, under the best pairing of
the two. Classes that no thing of the clip has are left out, as nobody drew their boxes.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.object_detection import Objects, ObjectTrack
from benchmarks.accuracy import Bench, Figure, Row
from benchmarks.accuracy._calibration import calibration
from benchmarks.accuracy._figures import f1_figure, groups, share_figure
from benchmarks.factory.objects import THINGS, Box
from tiktok_ray.media.spans import covers, share
from tiktok_ray.methods.vision.box_tracks import iou

COMPOSITE = "video/short_vertical_composite.mp4"
EDGES = (0.0, 3.0, 6.0, 9.0, 14.0, 17.0, 20.0)

BUS_SIZE, BUS, HALF_OF_ONE = THINGS["bus"]
#: Boxes drawn by eye, in pixels: x0, y0, x1, y1.
BY_EYE: Mapping[str, tuple[tuple[int, int], tuple[tuple[str, Box], ...]]] = {
    "still/bus.jpg": (BUS_SIZE, (*BUS, *(("person", box) for box in HALF_OF_ONE))),
    "still/two_people.jpg": (
        (1126, 661),
        (
            ("person", (10, 8, 560, 661)),
            ("person", (582, 5, 1121, 661)),
            ("tie", (262, 275, 322, 482)),
            ("tie", (830, 283, 896, 475)),
        ),
    ),
}

#: Objects counted by eye.
COUNTED = (
    ("still/rf_license_plate.jpg", "car", 3, 3),
    ("video/laptop_desk.mp4", "laptop", 1, 1),
    ("video/laptop_desk.mp4", "cell phone", 1, 1),
    ("video/laptop_desk.mp4", "person", 1, 1),
    ("odd/hevc_testsrc2_720p.mp4", "anything", 0, 0),
)


#: Which fields the figures are errors of.
FIELDS = {
    ("F1 of boxes", "all"): ("tracks.boxes", "tracks.label"),
    ("mean IoU", "all"): ("tracks.boxes",),
    ("IDF1", "all"): ("tracks.track",),
    ("ECE", "boxes"): ("tracks.confidences", "tracks.confidence"),
    ("counted right", "stills and clips"): ("classes.tracks",),
}
OVERLAP = 0.5
STEP_S = 0.2
ASIDE = 0.5  # share of a box within one that does not count
PEER = "Ultralytics track, defaults"


class Sight(NamedTuple):
    """One box in one sample."""

    box: NDArray[np.float64]
    label: str
    track: int
    confidence: float


class Judged(NamedTuple):
    """One clip: boxes right, wrong and missed; the same of identities; overlaps; confidences."""

    boxes: tuple[int, int, int]
    identities: tuple[int, int, int]
    overlaps: list[float]
    sure: list[tuple[float, bool]]


def figures(bench: Bench) -> Iterator[Figure]:
    peer = track_by_ultralytics(bench)
    if isinstance(peer, str):
        yield Figure("F1 of boxes", "things", "all", "factory", 0, None, by=PEER, reason=peer)
    known: dict[str, list[tuple[str, Judged]]] = {}
    for clip in bench.clips("objects"):
        found: Objects = bench.output("object_detection", clip.path, frozenset())
        every = sightings(found, clip.truth["duration"])
        told = {"tiktok_ray": every}
        if not isinstance(peer, str):
            told[PEER] = peer(clip.path, list(every))
        for who, seen in told.items():
            known.setdefault(who, []).append((clip.recipe.condition, judged(seen, clip.truth)))
    for who, clips in known.items():
        for condition, some in groups(clips).items():
            yield f1_figure("F1 of boxes", "things", condition, [j.boxes for j in some], by=who)
            rows_ = [(j.boxes[0], j.boxes[0] + j.boxes[2]) for j in some]
            yield share_figure("recall of boxes", "things", condition, rows_, by=who)
            rows_ = [(sum(j.overlaps), len(j.overlaps)) for j in some]
            yield share_figure("mean IoU", "boxes found", condition, rows_, by=who)
            yield f1_figure("IDF1", "things", condition, [j.identities for j in some], by=who)
    ours = [pair for _, one in known["tiktok_ray"] for pair in one.sure]
    yield from calibration(ours, "confidence of boxes", "boxes", "factory", unit="boxes")
    yield from _real(bench)


def sightings(found: Objects, end: float) -> dict[float, list[Sight]]:
    """All boxes five times a second: between two detections of a track in proportion, as they are
    shown, since not every sample is looked at."""
    every: dict[float, list[Sight]] = {}
    for t in np.arange(0.0, end - 1e-3, STEP_S).tolist():
        every[t] = [
            Sight(
                _at(track, t),
                track.label,
                track.track,
                np.interp(t, track.times, track.confidences),
            )
            for track in found.tracks
            if covers(track.seen, t)
        ]
    return every


def _at(track: ObjectTrack, t: float) -> NDArray[np.float64]:
    return np.array([np.interp(t, track.times, side) for side in zip(*track.boxes, strict=True)])


def judged(seen: dict[float, list[Sight]], truth: dict[str, Any]) -> Judged:
    """What is right of all boxes of a clip."""
    labels = {thing["label"] for thing in truth["things"]}
    right = wrong = missed = 0
    together: Counter[tuple[int, int]] = Counter()
    of_track: Counter[int] = Counter()
    overlaps: list[float] = []
    sure: list[tuple[float, bool]] = []
    for t, sights in seen.items():
        at = min(round(t * truth["fps"]), len(truth["things"][0]["boxes"]) - 1)
        true = [
            (k, thing["label"], np.array(thing["boxes"][at]))
            for k, thing in enumerate(truth["things"])
            if thing["boxes"][at]
        ]
        aside = [np.array(box) for box in truth["aside"][at]]
        sights = [s for s in sights if s.label in labels]
        pairs = paired(true, sights)
        counted = [
            j for j, s in enumerate(sights)
            if j in pairs.values() or all(within(s.box, a) < ASIDE for a in aside)
        ]  # fmt: skip
        right, missed = right + len(pairs), missed + len(true) - len(pairs)
        wrong += len(counted) - len(pairs)
        sure += [(sights[j].confidence, j in pairs.values()) for j in counted]
        of_track.update(sights[j].track for j in counted)
        for i, j in pairs.items():
            together[true[i][0], sights[j].track] += 1
            overlaps.append(float(iou(true[i][2][None], sights[j].box[None])[0, 0]))
    same = _identities(together)
    identities = (same, of_track.total() - same, right + missed - same)
    return Judged((right, wrong, missed), identities, overlaps, sure)


def paired(
    true: Sequence[tuple[int, str, NDArray[np.float64]]], sights: Sequence[Sight]
) -> dict[int, int]:
    """Each true box with the one that shows it, by the largest overlaps, each once."""
    near = sorted(
        (
            (float(iou(box[None], s.box[None])[0, 0]), i, j)
            for i, (_, label, box) in enumerate(true)
            for j, s in enumerate(sights)
            if s.label == label
        ),
        reverse=True,
    )
    pairs: dict[int, int] = {}
    for overlap, i, j in near:
        if overlap >= OVERLAP and i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs


def within(box: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Share of a box that lies in another."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    return float(np.prod((high - low).clip(0)) / max(1e-9, float(np.prod(box[2:] - box[:2]))))


def _identities(together: Counter[tuple[int, int]]) -> int:
    """Samples in which thing and track agree, under the best pairing of things and tracks."""
    from scipy.optimize import linear_sum_assignment

    things, tracks = ({key[k]: None for key in together} for k in (0, 1))
    table = np.array([[together[i, j] for j in tracks] for i in things])
    if not table.size:
        return 0
    i, j = linear_sum_assignment(-table)
    return int(table[i, j].sum())


Track = Callable[[Path, Sequence[float]], dict[float, list[Sight]]]


def track_by_ultralytics(bench: Bench) -> Track | str:
    """Ultralytics' ``track`` at its defaults with the same weights, on all pictures; or why not."""
    if importlib.util.find_spec("lap") is None:
        return "Ultralytics' track needs the package lap"
    bench.analyzer("object_detection")
    weights = bench.settings.models / bench.weights["object_detection"][0]

    def track(path: Path, times: Sequence[float]) -> dict[float, list[Sight]]:
        from ultralytics import YOLO

        model = YOLO(weights)
        results = model.track(source=str(path), stream=True, verbose=False, device="cpu")
        told: list[list[Sight]] = []
        for result in results:
            boxes = result.boxes
            ids = boxes.id.int().tolist() if boxes.id is not None else []
            told.append([
                Sight(np.array(box), result.names[int(kind)], number, sure)
                for box, kind, number, sure in zip(
                    boxes.xyxyn.tolist(), boxes.cls.tolist(), ids, boxes.conf.tolist(),
                    strict=False,
                )
            ])  # fmt: skip
        fps = factory_fps(path)
        return {t: told[min(round(t * fps), len(told) - 1)] for t in times}

    return track


def factory_fps(path: Path) -> float:
    """Pictures a second of a clip."""
    import av

    with av.open(str(path)) as container:
        return float(container.streams.video[0].average_rate or 25)


def _real(bench: Bench) -> Iterator[Figure]:
    """Boxes drawn, and things counted, by eye."""
    overlaps: list[list[float]] = []
    for file, (size, drawn) in BY_EYE.items():
        found: Objects = bench.output("object_detection", bench.still(file))
        boxes = [box for box in drawn if box[1][0] > 0]
        overlaps.append([best(found, label, box, size)[0] for label, box in boxes])
    recall = [(sum(o >= OVERLAP for o in some), len(some)) for some in overlaps]
    yield share_figure(
        "recall of boxes", "drawn by eye", "stills", recall, clips="real", unit="pictures"
    )
    kept = [[o for o in some if o >= OVERLAP] for some in overlaps]
    yield share_figure(
        "mean IoU", "drawn by eye", "stills", [(sum(some), len(some)) for some in kept],
        clips="real", unit="pictures",
    )  # fmt: skip
    right = []
    for file, label, least, most in COUNTED:
        path = bench.still(file) if file.startswith("still/") else bench.file(file)
        found = bench.output("object_detection", path)
        count = sum(label in (track.label, "anything") for track in found.tracks)
        right.append((least <= count <= most, 1))
    yield share_figure(
        "counted right", "classes", "stills and clips", right, clips="real", unit="counts"
    )


def rows(bench: Bench) -> Iterator[Row]:
    yield from composite(bench.output("object_detection", bench.file(COMPOSITE)))
    for file, (size, drawn) in BY_EYE.items():
        found: Objects = bench.output("object_detection", bench.still(file))
        yield from against_boxes(file, found, size, drawn)
    for file, label, least, most in COUNTED:
        path = bench.still(file) if file.startswith("still/") else bench.file(file)
        found = bench.output("object_detection", path)
        tracks = [t for t in found.tracks if label in (t.label, "anything")]
        truth = f"{least}" if least == most else f"{least} to {most}"
        figure = f"{len(tracks)} {label}"
        yield Row(file, f"{truth} {label}, by eye", figure, least <= len(tracks) <= most)
    crowd = bench.output("object_detection", bench.still("still/rf_crowd.jpg"))
    persons = sum(t.label == "person" for t in crowd.tracks)
    yield Row(
        "still/rf_crowd.jpg", "14 to 17 person, by eye, most of them tiny", f"{persons} person"
    )


def composite(found: Objects) -> Iterator[Row]:
    """Persons in every segment, the bus in its own, a bicycle in the last."""
    with_person = sum(
        any(t.label == "person" and start <= t.start < t.end <= end + 1e-6 for t in found.tracks)
        for start, end in pairwise(EDGES)
    )
    yield Row(COMPOSITE, "a person in 6 of 6 segments", f"{with_person} of 6", with_person == 6)
    for label, truth in (("bus", (6.0, 9.0)), ("bicycle", (17.0, 20.0))):
        tracks = [t for t in found.tracks if t.label == label]
        figure = ", ".join(f"{t.start:.2f} to {t.end:.2f} s" for t in tracks) or "none"
        inside = all(share([t.span], [truth]) > 0 and truth[0] <= t.start for t in tracks)
        ends = all(t.end <= truth[1] + 1e-6 for t in tracks)
        yield Row(
            COMPOSITE,
            f"{label} in {truth[0]:g} to {truth[1]:g} s and nowhere else",
            figure,
            bool(tracks) and inside and ends,
        )


def against_boxes(
    file: str,
    found: Objects,
    size: tuple[int, int],
    drawn: tuple[tuple[str, Box], ...],
) -> Iterator[Row]:
    """Each drawn box against the track that overlaps it most; then tracks that match none."""
    matched: set[int] = set()
    for label, box in drawn:
        overlap, track = best(found, label, box, size)
        figure = "not found"
        if track is not None and overlap >= OVERLAP:
            matched.add(track.track)
            figure = f"IoU {overlap:.2f}, confidence {track.confidence:.2f}"
        cut_off = box[0] == 0
        yield Row(
            file,
            f"{label} at {box}, by eye" + (", mostly outside the picture" if cut_off else ""),
            figure,
            None if cut_off else overlap >= OVERLAP,
        )
    extra = [t.label for t in found.tracks if t.track not in matched]
    yield Row(file, "nothing else", ", ".join(extra) or "nothing else", not extra)


def best(
    found: Objects, label: str, box: Box, size: tuple[int, int]
) -> tuple[float, ObjectTrack | None]:
    """The track of a class that overlaps a box (pixels of a picture of ``size``) most."""
    truth = np.array([box]) / (*size, *size)
    tracks = [track for track in found.tracks if track.label == label]
    overlaps = [float(iou(np.median([track.boxes], axis=1), truth)[0, 0]) for track in tracks]
    return max(zip(overlaps, tracks, strict=True), key=lambda one: one[0], default=(0.0, None))
