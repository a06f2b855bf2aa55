"""Filters over sound that streams by, by numpy alone: importing SciPy's takes a second of CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BLOCK = 128
#: K-weighting of BS.1770-5, annex 1, as gain in dB, quality and corner in Hz of biquads of R.
#: Bristow-Johnson's Audio EQ Cookbook: that form holds at any rate.
SHELF, HIGH_PASS = (4.0, 0.5**0.5, 1500.0), (0.5, 38.0)


def k_weighting(rate: int) -> list[tuple[Floats, Floats]]:
    """Numerator and denominator [3] of each of the two stages of the weighting."""
    gain, quality, corner = SHELF
    a = 10 ** (gain / 40)
    cos, alpha = _corner(corner, quality, rate)
    root = 2 * a**0.5 * alpha
    up, down = (a + 1) + (a - 1) * cos, (a + 1) - (a - 1) * cos
    shelf = (
        [a * (up + root), -2 * a * (a - 1 + (a + 1) * cos), a * (up - root)],
        [down + root, 2 * (a - 1 - (a + 1) * cos), down - root],
    )
    quality, corner = HIGH_PASS
    cos, alpha = _corner(corner, quality, rate)
    high = [(1 + cos) / 2, -(1 + cos), (1 + cos) / 2], [1 + alpha, -2 * cos, 1 - alpha]
    return [(np.array(b) / a[0], np.array(a) / a[0]) for b, a in (shelf, high)]


def _corner(hz: float, quality: float, rate: int) -> tuple[float, float]:
    angle = 2 * np.pi * hz / rate
    return float(np.cos(angle)), float(np.sin(angle)) / (2 * quality)


class Recursive:
    """The filter with numerator ``b`` and denominator ``a`` [order + 1], ``a[0]`` being 1.

    It goes on where it stopped. Within a block of samples the recursion is solved as a triangular
    system, whose inverse is the same for all.
    """

    def __init__(self, b: Sequence[float] | Floats, a: Sequence[float] | Floats, channels: int):
        self.b, self.order = b, len(a) - 1
        rows = np.arange(BLOCK)
        system = np.zeros((BLOCK, self.order + BLOCK))
        for k, value in enumerate(a):
            system[rows, rows + self.order - k] = value
        self.solve = np.linalg.inv(system[:, self.order :])
        self.recall = -self.solve @ system[:, : self.order]
        self.given = np.zeros((channels, self.order))
        self.gave = np.zeros((channels, self.order))

    def __call__(self, sound: Floats) -> Floats:
        """The sound [channels, n] filtered."""
        channels, size = sound.shape
        heard = np.concatenate([self.given, sound], axis=1)
        self.given = heard[:, size:]
        driven = np.zeros((channels, -(-size // BLOCK) * BLOCK))
        for k, value in enumerate(self.b):
            driven[:, :size] += value * heard[:, self.order - k : self.order - k + size]
        blocks = driven.reshape(channels, -1, BLOCK) @ self.solve.T
        last = self.gave
        for k in range(blocks.shape[1]):
            blocks[:, k] += last @ self.recall.T
            last = blocks[:, k, -self.order :]
        given: Floats = blocks.reshape(channels, -1)[:, :size]
        self.gave = np.concatenate([self.gave, given], axis=1)[:, -self.order :]
        return given


class Interpolator:
    """Sound at ``times`` its rate: 12 taps a phase, as the interpolator of BS.1770-5, annex 2."""

    REACH = 6

    def __init__(self, times: int) -> None:
        width = 2 * self.REACH
        at = np.arange(width * times + 1) - self.REACH * times
        taps = np.sinc(at / times) * np.kaiser(len(at), 5.0)
        phases = np.zeros((width + 1) * times)
        phases[: len(taps)] = taps * times / taps.sum()
        self.phases = phases.reshape(width + 1, times)[::-1]

    def __call__(self, sound: NDArray[np.float32]) -> Floats:
        """The sound [channels, n] at the higher rate, as if it were silent before and after."""
        around = np.pad(sound, ((0, 0), (self.REACH, self.REACH)))
        windows = np.lib.stride_tricks.sliding_window_view(around, 2 * self.REACH + 1, axis=1)
        fine: Floats = (windows @ self.phases).reshape(len(sound), -1)
        return fine
