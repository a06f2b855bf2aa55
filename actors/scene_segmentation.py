"""Scenes (runs of shots in one setting), and recurring settings.

Shots are alike when their pictures are: by CLIP's frame embeddings where there are some for every
shot, otherwise by what colours and edges they show, the border of the picture counting most,
because the setting is what surrounds the subject.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from actors.content_quality import Quality
from actors.cut_analysis import Cuts
from tiktok_ray.analyzer import Analyzer, Needs
from tiktok_ray.media import Frames
from tiktok_ray.methods.vision.picture_quality import active_box, within
from tiktok_ray.report import Event, Model, Output, Timed, derived, measured, setting

Floats = NDArray[np.float64]
Features = Literal["histograms", "clip"]

#: Shots at less than this distance share a setting. Real shots of one studio lie up to 0.33 apart,
#: of different places from 0.44 on; for CLIP a starting point that could not be tried on weights.
THRESHOLDS: dict[Features, float] = {"histograms": 0.38, "clip": 0.2}
SAMPLES = 5
EDGES = 0.25
HUES, SATURATIONS, VALUES, GREYS = 12, 3, 4, 8
PALE = 0.1
ORIENTATIONS, SQUARES = 8, 3
AWAY, AWAY_S = 0.05, 60.0


class Scene(Timed):
    """A run of consecutive shots in one setting."""

    setting: int = measured("Id of its setting; scenes with the same id show the same setting")
    shots: list[int] = derived("Indices of its shots")
    representative_s: float = measured(
        "Time of the frame most similar to all others of the scene", unit="s", range="start..end"
    )
    transition: str | None = derived(
        "Kind of the transition into it; null for the first scene", range="as in cut_analysis"
    )
    distance: float | None = measured(
        "Distance of its first shot from the previous shot; null for the first scene",
        range="0..1.05",
    )


class Setting(Model):
    """A place, look or arrangement that one or more scenes share."""

    id: int = derived("Its id, from 1 in order of first appearance")
    scenes: list[int] = derived("Indices of its scenes")
    seconds: float = derived("Total duration", unit="s")


class Scenes(Output):
    """The scenes of a video."""

    scenes: list[Scene] = measured("Scenes in chronological order, without gaps")
    settings: list[Setting] = derived("Settings in order of first appearance")
    features: Features = measured(
        "What frames were compared by: colour and edge histograms, or CLIP embeddings",
        method="histograms: 3/4 Hellinger distance of border-weighted HSV histograms, 1/4 that of edge orientation histograms; clip: 1 minus the cosine similarity of frame embeddings. Mean over the frames of both shots, plus 0.05 for shots a minute or more apart, less for closer ones",
    )
    threshold: float = setting("Distance below which shots share a setting", range="0..1.05")

    def headline(self) -> str:
        scenes, settings = len(self.scenes), len(self.settings)
        where = f" in {settings} setting{'s' * (settings != 1)}" if settings != scenes else ""
        return f"{scenes} scene{'s' * (scenes != 1)}{where}"

    def events(self) -> Iterator[Event]:
        seen: set[int] = set()
        for number, scene in enumerate(self.scenes, 1):
            back = " again" if scene.setting in seen else ""
            seen.add(scene.setting)
            yield Event(
                start=scene.start,
                end=scene.end,
                kind="scene",
                label=f"scene {number}: setting {scene.setting}{back}",
                analyzer=SceneSegmentation.name,
            )


def sample(frames: Frames, cuts: Cuts) -> list[list[int]]:
    """Indices of up to ``SAMPLES`` pictures of each shot, spread over it, outside transitions.

    A shot that is all transition, or shorter than a frame, gets what pictures it has, or the
    nearest one.
    """
    blends = [t.span for t in cuts.transitions if t.end > t.start]
    clear = np.ones(len(frames), bool)
    for start, end in blends:
        clear &= (frames.times < start) | (frames.times >= end)
    chosen = []
    for shot in cuts.shots:
        within = (frames.times > shot.start - 1e-6) & (frames.times < shot.end - 1e-6)
        inside = np.flatnonzero(within & clear)
        if not len(inside):
            inside = np.flatnonzero(within)
        if not len(inside):
            inside = np.array([np.abs(frames.times - shot.start).argmin()])
        # Middles of equal parts: the first and last pictures are the likeliest to blur or blend.
        places = (np.arange(min(SAMPLES, len(inside))) + 0.5) / min(SAMPLES, len(inside))
        chosen.append([int(k) for k in inside[(places * len(inside)).astype(int)]])
    return chosen


def active_boxes(thumbs: Frames, chosen: Sequence[Sequence[int]]) -> list[list[float]]:
    """Of each shot the picture inside its bars, from its samples, where the video has bars.

    Photographs and clips of several shapes have bars of their own each; they would make all alike.
    """
    whole = [0.0, 0.0, 1.0, 1.0]
    if active_box(thumbs.grays) == whole:
        return [whole] * len(chosen)
    return [active_box(np.stack([thumbs.gray(k) for k in indices])) for indices in chosen]


def colours(rgb: NDArray[np.uint8]) -> Floats:
    """Histogram of a picture's hues, saturations and values, and of its greys, float64 [152].

    It sums to 1. Pixels count from 0.25 in the middle of the picture to 1.25 at its border. Each is
    shared among the nearest bins, so that a small shift of colour stays a small difference; the
    paler or darker it is, the more it counts as grey, whose hue is chance.
    """
    import cv2

    height, width = rgb.shape[:2]
    y, x = np.mgrid[:height, :width]
    rim = np.maximum(np.abs(2 * x + 1 - width) / width, np.abs(2 * y + 1 - height) / height)
    weight = (0.25 + rim**2).ravel()
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV).reshape(-1, 3) / (180.0, 255.0, 255.0)
    colourful = np.clip(hsv[:, 1:] / PALE - 0.5, 0, 1).prod(1)
    full = shared(hsv, colourful * weight, (HUES, SATURATIONS, VALUES), wrap=True)
    grey = shared(hsv[:, 2:], (1 - colourful) * weight, (GREYS,))
    return np.asarray(np.concatenate([full.ravel(), grey]) / weight.sum())


def shared(values: Floats, weights: Floats, bins: Sequence[int], wrap: bool = False) -> Floats:
    """Histogram of ``values`` [n, d], each 0..1, that shares each among the bins around it.

    ``wrap``: the first axis is a circle.
    """
    counts = np.zeros(bins)
    places = values * bins - 0.5
    low = np.floor(places).astype(int)
    part = places - low
    for corner in product((0, 1), repeat=len(bins)):
        index = low + corner
        if wrap:
            index[:, 0] %= bins[0]
        index = np.clip(index, 0, np.array(bins) - 1)
        much = np.where(corner, part, 1 - part).prod(1)
        np.add.at(counts, tuple(index.T), weights * much)
    return counts


def edges(rgb: NDArray[np.uint8]) -> Floats:
    """Orientations of edges in 3 x 3 parts of a picture, by their strength, float64 [81].

    It sums to 1. Each part has a ninth bin of fixed weight, so that noise in an even part counts
    little.
    """
    import cv2

    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    across, down = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    strength = np.hypot(across, down)
    orientation = (np.arctan2(down, across) % np.pi / np.pi * ORIENTATIONS).astype(int)
    height, width = gray.shape
    row = np.arange(height)[:, None] * SQUARES // height
    column = np.arange(width)[None, :] * SQUARES // width
    part = row * SQUARES + column
    counts = np.zeros((SQUARES**2, ORIENTATIONS + 1))
    np.add.at(counts, (part, orientation % ORIENTATIONS), strength)
    counts[:, -1] = 20.0 * height * width / SQUARES**2
    return np.asarray(counts.ravel() / counts.sum())


def hellinger(one: Floats, two: Floats) -> Floats:
    """Hellinger distances, 0..1, of every histogram in one [n, k] from every in two [m, k]."""
    return np.asarray(np.sqrt(np.clip(1.0 - np.sqrt(one) @ np.sqrt(two).T, 0.0, 1.0)))


def shot_distances(pictures: Floats, shot: Sequence[int], times: Sequence[float]) -> Floats:
    """Distances of shots, [m, m], from those of their pictures, [n, n], and how far apart they are.

    ``shot``: index of the shot of each picture. ``times``: middle of each shot, in seconds.
    """
    member = np.zeros((len(times), len(shot)))
    member[list(shot), np.arange(len(shot))] = 1.0
    member /= member.sum(1, keepdims=True)
    middle = np.asarray(times)
    gap = np.abs(middle[:, None] - middle[None, :])
    return np.asarray(member @ pictures @ member.T + AWAY * np.minimum(1.0, gap / AWAY_S))


def settings_of(distances: Floats, threshold: float) -> list[int]:
    """Id of the setting of each shot, from 1, from the distances of all shots, [m, m].

    In order of time, a shot joins the nearest setting below the threshold: that of the shot before,
    by its distance from that shot, or any by its mean distance from the shots there.
    """
    ids: list[int] = []
    for shot in range(len(distances)):
        known = np.array(ids, int)
        near = {int(k): float(distances[shot, :shot][known == k].mean()) for k in np.unique(known)}
        if shot:
            near[ids[-1]] = min(near[ids[-1]], float(distances[shot, shot - 1]))
        best = min(near, key=lambda k: near[k], default=0)
        ids.append(best if best and near[best] < threshold else len(near) + 1)
    return ids


class SceneSegmentation(Analyzer):
    """Scenes and settings."""

    name = "scene_segmentation"
    needs = Needs(threads=1, timeout_s=90, cost=0.5)
    imports = ("cv2",)

    def analyze(
        self, thumbs: Frames, cut_analysis: Cuts, content_quality: Quality | None
    ) -> Scenes:
        """``thumbs``, because every shot has some of them, however short it is."""
        shots = cut_analysis.shots
        chosen = sample(thumbs, cut_analysis)
        flat = [index for indices in chosen for index in indices]
        times = thumbs.times[flat].tolist()
        owner = [shot for shot, indices in enumerate(chosen) for _ in indices]
        features: Features = "histograms"
        embedded = _embedded(content_quality, cut_analysis)
        if embedded:
            features = "clip"
            times, owner, vectors = embedded
            pictures = np.clip(1.0 - vectors @ vectors.T, 0.0, 1.0)
        else:
            boxes = active_boxes(thumbs, chosen)
            seen = [
                within(thumbs.rgb(index), boxes[k]) for index, k in zip(flat, owner, strict=True)
            ]
            hues, lines = np.stack([colours(p) for p in seen]), np.stack([edges(p) for p in seen])
            pictures = (1 - EDGES) * hellinger(hues, hues) + EDGES * hellinger(lines, lines)
        distances = shot_distances(pictures, owner, [(s.start + s.end) / 2 for s in shots])
        ids = settings_of(distances, THRESHOLDS[features])
        scenes: list[Scene] = []
        for first, stop in _runs(ids):
            inside = [k for k, shot in enumerate(owner) if first <= shot < stop]
            typical = inside[int(pictures[np.ix_(inside, inside)].mean(1).argmin())]
            scenes.append(
                Scene(
                    start=shots[first].start,
                    end=shots[stop - 1].end,
                    setting=ids[first],
                    shots=list(range(first, stop)),
                    representative_s=times[typical],
                    transition=_transition(cut_analysis, shots[first].start) if first else None,
                    distance=float(distances[first, first - 1]) if first else None,
                )
            )
        return Scenes(
            scenes=scenes,
            settings=_settings(scenes),
            features=features,
            threshold=THRESHOLDS[features],
        )


def _runs(ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    starts = [k for k, value in enumerate(ids) if k == 0 or value != ids[k - 1]]
    yield from zip(starts, [*starts[1:], len(ids)], strict=True)


def _settings(scenes: Sequence[Scene]) -> list[Setting]:
    made = []
    for id_ in sorted({scene.setting for scene in scenes}):
        inside = [k for k, scene in enumerate(scenes) if scene.setting == id_]
        seconds = sum(scenes[k].end - scenes[k].start for k in inside)
        made.append(Setting(id=id_, scenes=inside, seconds=seconds))
    return made


def _transition(cuts: Cuts, start: float) -> str | None:
    """Kind of the transition into the shot that begins at a time."""
    for change in cuts.transitions:
        if change.new_shot is not None and abs(change.new_shot - start) < 1e-3:
            return f"{change.kind} through {change.through}" if change.through else change.kind
    return None


def _embedded(quality: Quality | None, cuts: Cuts) -> tuple[list[float], list[int], Floats] | None:
    """Times, shots and unit vectors [n, width] of embedded frames, if there are some in every shot."""
    if quality is None or quality.embeddings is None:
        return None
    times = quality.embeddings.times
    starts = np.array(cuts.boundaries)
    owner = [max(0, int(np.searchsorted(starts, t + 1e-6)) - 1) for t in times]
    if set(owner) != set(range(len(starts))):
        return None
    return times, owner, quality.embeddings.array().astype(float)
