"""Which frames each track keeps, and at what size: bounded regardless of the file."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media.tracks import Frames, fixed
from tiktok_ray.settings import TrackSettings

Size = tuple[int, int]


class Sampler:
    """Keeps frames at least ``step`` seconds apart, at most ``most`` of them.

    When it is full, every second frame is dropped and the step doubles, so that even a file longer
    than its header promised stays within bounds.
    """

    def __init__(self, size: Size, step: float, most: int) -> None:
        self.size = size
        self.step = step
        self.most = max(2, most)
        self.times: list[float] = []
        self.pictures: list[NDArray[np.uint8]] = []
        self.next = 0.0

    def offer(self, t: float, convert: Callable[[Size], NDArray[np.uint8]]) -> None:
        if t + 1e-6 < self.next:
            return
        if self.step:
            self.next += self.step * (np.floor((t + 1e-6 - self.next) / self.step) + 1)
        self.times.append(t)
        self.pictures.append(convert(self.size))
        if len(self.times) > self.most:
            gap = (self.times[-1] - self.times[0]) / (len(self.times) - 1)
            self.step = 2 * (self.step or gap)
            self.times, self.pictures = self.times[::2], self.pictures[::2]
            self.next = self.times[-1] + self.step

    def frames(self, end: float) -> Frames:
        stacked = np.empty((len(self.pictures), *self.pictures[0].shape), np.uint8)
        for index in range(len(stacked)):
            stacked[index] = self.pictures[index]
            self.pictures[index] = stacked[index, :0]
        return Frames(fixed(np.array(self.times)), fixed(stacked), end)


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

    made: dict[str, Sampler] = {}
    if "frames" in want:
        step = max(1 / sizes.frames_fps, duration / sizes.frames_max)
        made["frames"] = Sampler(fit(sizes.frames_short), step, sizes.frames_max)
    if "dense" in want:
        step = max(1 / sizes.dense_fps, duration / sizes.dense_max)
        made["dense"] = Sampler(fit(sizes.dense_short), step, sizes.dense_max)
    if "thumbs" in want:
        expected = min(sizes.thumbs_max, max(1, pictures))
        size = fit(sizes.thumbs_short)
        share = room(size, sizes.thumbs_mib) / expected
        if share < 1:
            size = fit(max(16, int(min(size) * share**0.5)))
        most = min(sizes.thumbs_max, max(2, room(size, sizes.thumbs_mib)))
        made["thumbs"] = Sampler(size, 0.0, most)
    if "stills" in want:
        size = fit(min(shown))
        most = min(sizes.stills_max, room(size, sizes.stills_mib))
        made["stills"] = Sampler(size, duration / max(1, most), max(2, most))
    return made
