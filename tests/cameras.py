"""Clips filmed by a made camera over a real photograph, so that its movement is known."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.cut_analysis import Cuts, Shot, Transition
from tiktok_ray.media import Frames

Picture = NDArray[np.uint8]
#: Where the camera is at a time: x and y of the middle, size of the content, degrees clockwise.
Path = Callable[[float], tuple[float, float, float, float]]
WIDTH, HEIGHT = 180, 320


@cache
def photo(name: str = "astronaut", side: int = 1200) -> Picture:
    """A photograph of scikit-image's wheel, its short side made ``side`` pixels long."""
    import cv2

    data = pytest.importorskip("skimage.data")
    picture = np.ascontiguousarray(getattr(data, name)()[..., :3])
    factor = side / min(picture.shape[:2])
    made = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return np.asarray(made, np.uint8)


def filmed(
    path: Path,
    seconds: float = 3.0,
    *,
    fps: float = 10.0,
    of: Picture | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> list[Picture]:
    """Pictures of a photograph, as the camera sees it on its path in pixels of the photograph."""
    import cv2

    of = photo() if of is None else of
    width, height = size
    seen = []
    for k in range(round(seconds * fps)):
        x, y, grown, turned = path(k / fps)
        c, s = np.cos(np.radians(-turned)) * grown, np.sin(np.radians(-turned)) * grown
        matrix = np.array([[c, -s, width / 2 - c * x + s * y], [s, c, height / 2 - s * x - c * y]])
        flags = {"flags": cv2.INTER_AREA, "borderMode": cv2.BORDER_REFLECT}
        seen.append(np.asarray(cv2.warpAffine(of, matrix, (width, height), **flags), np.uint8))
    return seen


def tracks(pictures: Sequence[Picture], fps: float = 10.0) -> dict[str, Frames]:
    """The tracks that camera analysis reads; ``thumbs`` are as small as the decoder makes them."""
    import cv2

    times = [k / fps for k in range(len(pictures))]
    height, width = pictures[0].shape[:2]
    short = 64 / min(height, width)
    size = round(width * short / 2) * 2, round(height * short / 2) * 2
    small = [
        np.asarray(cv2.resize(p, size, interpolation=cv2.INTER_AREA), np.uint8) for p in pictures
    ]
    end = len(pictures) / fps
    return {"dense": Frames.of(times, pictures, end), "thumbs": Frames.of(times, small, end)}


def cuts_at(times: Sequence[float], end: float, blends: Sequence[tuple[float, float]] = ()) -> Cuts:
    """Hard cuts at ``times``, and dissolves over ``blends``, in a video that lasts ``end``."""
    middles = [(a + b) / 2 for a, b in blends]
    starts = sorted([0.0, *times, *middles])
    lengths = np.diff([*starts, end])
    changes = [
        Transition(start=t, end=t, kind="hard", through=None, new_shot=t, strength=0.5)
        for t in times
    ] + [
        Transition(start=a, end=b, kind="dissolve", through=None, new_shot=m, strength=0.5)
        for (a, b), m in zip(blends, middles, strict=True)
    ]
    return Cuts(
        transitions=sorted(changes, key=lambda change: change.start),
        flashes=[],
        shots=[
            Shot(start=a, end=b, index=k)
            for k, (a, b) in enumerate(zip(starts, [*starts[1:], end], strict=True))
        ],
        cuts_per_minute=(len(starts) - 1) * 60 / end,
        median_shot_s=float(np.median(lengths)),
        shortest_shot_s=float(lengths.min()),
        longest_shot_s=float(lengths.max()),
        variation=None,
        trend=None,
        frame_s=0.1,
    )
