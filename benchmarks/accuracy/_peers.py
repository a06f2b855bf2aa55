"""PySceneDetect's detectors on a clip, each at many settings for the cost of one pass.

What a detector measures of each picture is computed once by its own code; its own decisions are
then made on these measures, at any setting. Nothing of its method is written again here. What was
found in a file is kept beside the clips of the factory, for a release of PySceneDetect finds the
same each time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import factory

Setting = dict[str, Any]


@dataclass(frozen=True)
class Measures:
    """What the detectors measure of the pictures of a clip: one entry a picture.

    ``times``: seconds from the first displayed picture [n]; ``codes``: their places as
    PySceneDetect counts them.
    """

    times: NDArray[np.float64]
    codes: list[Any]
    scores: list[float]
    hashes: list[NDArray[np.bool_]]
    histograms: list[NDArray[np.float32]]
    levels: list[float]


def measures(path: Path, fps: float) -> Measures:
    """Decode a clip at its full size and take all measures; damaged pictures are left out."""
    import av
    from scenedetect import ContentDetector, FrameTimecode, HashDetector, HistogramDetector

    content = ContentDetector()
    out = Measures(np.zeros(0), [], [], [], [], [])
    times: list[float] = []
    with av.open(str(path)) as container:
        for frame in _pictures(container):
            picture = frame.to_ndarray(format="bgr24")
            at = FrameTimecode(len(times), fps=fps)
            times.append(float(frame.time))
            out.codes.append(at)
            out.scores.append(content._calculate_frame_score(at, picture))
            out.hashes.append(HashDetector.hash_frame(picture, 8, 2))
            out.histograms.append(HistogramDetector.calculate_histogram(picture, bins=128))
            out.levels.append(float(np.mean(picture)))
    return replace(out, times=np.array(times) - times[0])


def _pictures(container: Any) -> Iterator[Any]:
    """All pictures that can be decoded; what is damaged is left out."""
    import av

    for packet in container.demux(video=0):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def _content(m: Measures, setting: Setting) -> tuple[Any, list[Any]]:
    from scenedetect import ContentDetector

    detector = ContentDetector(**setting)
    scores = iter(m.scores)
    detector._calculate_frame_score = lambda timecode, frame_img: next(scores)
    return detector, [np.zeros(0)] * len(m.times)


def _adaptive(m: Measures, setting: Setting) -> tuple[Any, list[Any]]:
    from scenedetect import AdaptiveDetector

    detector = AdaptiveDetector(**setting)
    scores = iter(m.scores)
    detector._calculate_frame_score = lambda timecode, frame_img: next(scores)
    return detector, [np.zeros(0)] * len(m.times)


def _hash(m: Measures, setting: Setting) -> tuple[Any, list[Any]]:
    from scenedetect import HashDetector

    detector = HashDetector(**setting)
    detector.hash_frame = lambda frame_img, hash_size, factor: frame_img
    return detector, list(m.hashes)


def _histogram(m: Measures, setting: Setting) -> tuple[Any, list[Any]]:
    from scenedetect import HistogramDetector

    detector = HistogramDetector(**setting)
    known = iter(m.histograms)
    detector.calculate_histogram = lambda frame_img, bins: next(known)
    return detector, [np.zeros((1, 1, 3), np.uint8)] * len(m.times)


def _threshold(m: Measures, setting: Setting) -> tuple[Any, list[Any]]:
    from scenedetect import ThresholdDetector

    setting = {**setting, "method": ThresholdDetector.Method[setting.get("method", "FLOOR")]}
    return ThresholdDetector(**setting), [np.array([level]) for level in m.levels]


Build = Callable[[Measures, Setting], tuple[Any, list[Any]]]

LENGTHS = (1, 5, 15)  # shortest shots, in pictures; 15 is the default of every detector

#: Each detector: how it is built on measures, and the settings among which the best is looked for.
DETECTORS: dict[str, tuple[Build, dict[str, tuple[Any, ...]]]] = {
    "ContentDetector": (
        _content, {"threshold": (6, 9, 12, 15, 18, 21, 24, 27, 32, 38, 45, 60)},
    ),
    "AdaptiveDetector": (
        _adaptive,
        {"adaptive_threshold": (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 7.0),
         "min_content_val": (3.0, 6.0, 10.0, 15.0, 20.0)},
    ),
    "HashDetector": (_hash, {"threshold": (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)}),
    "HistogramDetector": (
        _histogram, {"threshold": (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7)},
    ),
    "ThresholdDetector": (
        _threshold,
        {"threshold": (4, 8, 12, 16, 20, 30, 225, 240, 250), "method": ("FLOOR", "CEILING")},
    ),
}  # fmt: skip


def settings(name: str) -> Iterator[Setting]:
    """The settings of a detector that are tried; the first are its defaults."""
    yield {}
    grid = {**DETECTORS[name][1], "min_scene_len": LENGTHS}
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def cuts(name: str, m: Measures, setting: Setting) -> list[float]:
    """Times at which a detector, so set, sees new shots begin, in seconds."""
    detector, pictures = DETECTORS[name][0](m, setting)
    found: set[int] = set()
    for at, picture in zip(m.codes, pictures, strict=True):
        found |= {cut.frame_num for cut in detector.process_frame(at, picture)}
    found |= {cut.frame_num for cut in detector.post_process(m.codes[-1])}
    return [float(m.times[k]) for k in sorted(found)]


Told = dict[tuple[str, int], list[float]]  # by detector and position among its settings


def told(path: Path, fps: float) -> Told:
    """What each detector finds in a clip at each setting: as kept, or found now and kept."""
    kept = _place(path, fps)
    if not kept.is_file():
        known = measures(path, fps)
        found = {
            name: [cuts(name, known, setting) for setting in settings(name)] for name in DETECTORS
        }
        kept.parent.mkdir(parents=True, exist_ok=True)
        scratch = kept.with_suffix(".making")
        scratch.write_text(json.dumps(found))
        scratch.replace(kept)
    listed = json.loads(kept.read_text())
    return {(name, k): times for name, some in listed.items() for k, times in enumerate(some)}


def _place(path: Path, fps: float) -> Path:
    """Where what was found in a file is kept: named by all that it hangs on."""
    tried = {name: list(settings(name)) for name in DETECTORS}
    about = json.dumps([version("scenedetect"), version("av"), fps, tried])
    digest = hashlib.sha256(about.encode() + path.read_bytes()).hexdigest()[:16]
    return factory.folder() / "peers" / f"{digest}.json"
