"""Which frames each track keeps, and at what size: bounded regardless of the file."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media.tracks import Frames, fixed
from tiktok_ray.settings import TrackSettings

Size = tuple[int, int]


class Sampler:
    """Keeps frames at least ``step`` seconds apart, at most ``most`` of them; ``expected`` are likely.

    When it is full, every second frame is dropped and the step doubles, so that even a file longer
    than its header promised stays within bounds.
    """

    def __init__(self, size: Size, step: float, most: int, expected: int) -> None:
        self.size = size
        self.step = step
        self.most = max(2, most)
        self.times: list[float] = []
        self.pictures = self._room(min(expected, self.most + 1))
        self.next = 0.0

    def _room(self, count: int) -> NDArray[np.uint8]:
        """Room for so many pictures, which takes memory once they are there."""
        width, height = self.size
        return np.empty((count, height * 3 // 2, width), np.uint8)

    def offer(self, t: float, convert: Callable[[Size], NDArray[np.uint8]]) -> None:
        if t + 1e-6 < self.next:
            return
        if self.step:
            self.next += self.step * (np.floor((t + 1e-6 - self.next) / self.step) + 1)
        self._append(convert(self.size))
        self.times.append(t)
        if len(self.times) > self.most:
            gap = (self.times[-1] - self.times[0]) / (len(self.times) - 1)
            self.step = 2 * (self.step or gap)
            self.times = self.times[::2]
            for index in range(len(self.times)):
                self.pictures[index] = self.pictures[2 * index]
            self.next = self.times[-1] + self.step

    def _append(self, picture: NDArray[np.uint8]) -> None:
        count = len(self.times)
        if count == len(self.pictures):
            more = self._room(min(2 * count + 1, self.most + 1))
            more[:count] = self.pictures
            self.pictures = more
        self.pictures[count] = picture

    def frames(self, end: float) -> Frames:
        kept = self.pictures[: len(self.times)]
        return Frames(fixed(np.array(self.times)), fixed(kept), end)


def samplers(
    want: Collection[str], shown: Size, duration_s: float, pictures: int, sizes: TrackSettings
) -> dict[str, Sampler]:
    """A sampler for each requested track of frames.

    ``shown``: width and height of the pictures as displayed; ``pictures``: how many there are.
    """
    duration = max(duration_s, 1e-3)

    def fit(short: int) -> Size:
        scale = min(1.0, short / min(shown), 4 * short / max(shown))
        width, height = (max(2, 2 * round(n * scale / 2)) for n in shown)
        return width, height

    def room(size: Size, mib: int) -> int:
        return int(mib * 2**20 / (1.5 * size[0] * size[1]))

    def every(step: float, short: int, most: int) -> Sampler:
        return Sampler(fit(short), step, most, min(pictures, int(duration / step) + 2))

    made: dict[str, Sampler] = {}
    if "frames" in want:
        step = max(1 / sizes.frames_fps, duration / sizes.frames_max)
        made["frames"] = every(step, sizes.frames_short, sizes.frames_max)
    if "dense" in want:
        step = max(1 / sizes.dense_fps, duration / sizes.dense_max)
        made["dense"] = every(step, sizes.dense_short, sizes.dense_max)
    if "thumbs" in want:
        expected = min(sizes.thumbs_max, max(1, pictures))
        size = fit(sizes.thumbs_short)
        share = room(size, sizes.thumbs_mib) / expected
        if share < 1:
            size = fit(max(16, int(min(size) * share**0.5)))
        most = min(sizes.thumbs_max, max(2, room(size, sizes.thumbs_mib)))
        made["thumbs"] = Sampler(size, 0.0, most, pictures)
    if "stills" in want:
        size = fit(min(shown))
        most = min(sizes.stills_max, room(size, sizes.stills_mib))
        made["stills"] = every(duration / max(1, most), min(shown), max(2, most))
    return made
