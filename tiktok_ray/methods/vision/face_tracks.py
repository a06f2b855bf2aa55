"""Face tracks: which pictures to search, what is seen of a track, who is the same person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tiktok_ray.media import spans
from tiktok_ray.methods.vision.box_tracks import Followed, area
from tiktok_ray.methods.vision.faces import Array, Detections, Guess


@dataclass(frozen=True)
class Sighting:
    """The detections of one track: ``times`` [n], ``boxes`` [n, 4], ``scores`` [n], ``landmarks``
    [n, 5, 2], and ``sides`` [n], the boxes' short sides in pixels."""

    times: list[float]
    boxes: Array
    scores: Array
    landmarks: Array
    sides: Array


def pick(times: Iterable[float], breaks: Sequence[float], step: float) -> list[int]:
    """Indices of pictures at least about ``step`` seconds apart, and the first and the last of each
    shot, so that a face is seen from the beginning of its shot to the end."""
    times = list(times)
    shot = np.searchsorted(sorted(breaks), np.asarray(times) + 1e-6)
    picked: list[int] = []
    for i, t in enumerate(times):
        first = i == 0 or shot[i] != shot[i - 1]
        last = i == len(times) - 1 or shot[i] != shot[i + 1]
        if first or last or t - times[picked[-1]] >= step - 0.02:
            picked.append(i)
    return picked


def sighting(
    track: Followed, times: Sequence[float], found: Sequence[Detections], size: tuple[int, int]
) -> Sighting:
    """Gather a track's detections; ``size`` is the picture's width and height in pixels."""
    pairs = list(zip(track.samples, track.items, strict=True))
    boxes = np.array([found[s].boxes[k] for s, k in pairs])
    sides = (boxes[:, 2:] - boxes[:, :2]) * np.array(size)
    return Sighting(
        times=[times[s] for s, _ in pairs],
        boxes=boxes,
        scores=np.array([found[s].scores[k] for s, k in pairs]),
        landmarks=np.array([found[s].landmarks[k] for s, k in pairs]),
        sides=sides.min(-1),
    )


def largest(seen: Sighting, count: int, least_px: float) -> list[int]:
    """The ``count`` detections of greatest area times confidence, none below ``least_px``."""
    order = np.argsort(-area(seen.boxes) * seen.scores, kind="stable").tolist()
    return sorted([k for k in order if seen.sides[k] >= least_px][:count])


def frontality(landmarks: Array) -> Array:
    """How far the nose tip lies between the eyes, [n]: 1 midway, 0 beside one of them or beyond.

    ``landmarks`` [n, 5, 2]: left-hand eye, right-hand eye, nose, mouth corners.
    """
    left, right, nose = landmarks[:, 0, 0], landmarks[:, 1, 0], landmarks[:, 2, 0]
    width = np.where(right > left, right - left, np.inf)
    result: Array = np.clip(1 - np.abs(2 * (nose - left) / width - 1), 0, 1)
    return result


def best_moment(seen: Sighting) -> float:
    """Time of the largest confidence x square root of area x frontality."""
    merit = seen.scores * np.sqrt(area(seen.boxes)) * (0.01 + frontality(seen.landmarks))
    return seen.times[int(np.argmax(merit))]


def mean_embedding(guesses: Sequence[Guess]) -> Array | None:
    """Mean direction of the embeddings, of unit length; None without any."""
    units = [g.embedding / np.linalg.norm(g.embedding) for g in guesses if g.embedding is not None]
    if not units:
        return None
    total = np.sum(units, 0)
    result: Array = total / np.linalg.norm(total)
    return result


def persons(
    embeddings: Sequence[Array | None], extents: Sequence[tuple[float, float]], same: float
) -> list[int | None]:
    """Number the persons behind tracks, from 1: the most similar pair of groups is joined first, by the
    mean cosine similarity between them, down to ``same``; tracks that overlap in time are never
    one person. None for a track without an embedding."""
    groups = [[k] for k, e in enumerate(embeddings) if e is not None]
    while True:
        best, pair = same, None
        for i, a in enumerate(groups):
            for j in range(i):
                b = groups[j]
                if spans.overlap([extents[k] for k in a], [extents[k] for k in b]) > 0:
                    continue
                alike = float(np.mean([[embeddings[p] @ embeddings[q] for p in a] for q in b]))  # type: ignore[operator]
                if alike >= best:
                    best, pair = alike, (j, i)
        if pair is None:
            break
        groups[pair[0]] += groups.pop(pair[1])
    numbers: list[int | None] = [None] * len(embeddings)
    for number, group in enumerate(sorted(groups, key=min), 1):
        for k in group:
            numbers[k] = number
    return numbers
