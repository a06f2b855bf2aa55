"""Short-time spectra of the 16 kHz sound, by numpy and scipy: nothing here compiles at first use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.first_imports import import_first
from tiktok_ray.media import AUDIO_RATE

Array = NDArray[Any]

#: 32 ms every 10 ms, in half-octave bands from 40 Hz.
FRAME, HOP = 512, 160
BANDS, LOW_HZ = 15, 40.0
#: Samples that are transformed at once.
BLOCK_SAMPLES = 2**20


class ShortFrames(NamedTuple):
    """Short-time spectra, one row each 10 ms.

    ``bands``: level of half-octave bands in dB [n, 15]. The rest [n] are of the magnitude spectrum
    (flatness and shares: of the power spectrum), as librosa defines them; 0 where there is nothing.
    """

    bands: Array
    centroid: Array
    bandwidth: Array
    rolloff: Array
    flatness: Array
    low: Array
    high: Array


def magnitudes(samples: Array, frame: int, hop: int) -> Iterator[Array]:
    """Magnitude spectra [n, frame / 2 + 1] in blocks; row k is centred at k * hop samples."""
    import scipy.fft

    window = np.hanning(frame + 1)[:-1].astype(np.float32)
    padded = np.pad(samples, frame // 2)
    rows = np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop]
    count = BLOCK_SAMPLES // frame
    for start in range(0, len(rows), count):
        yield np.abs(scipy.fft.rfft(rows[start : start + count] * window, axis=1))


def band_filters(frequencies: Array) -> Array:
    """Triangular filters [frequencies, bands], half an octave apart, each of sum 1."""
    edges = LOW_HZ * 2 ** (np.arange(-1, BANDS + 1) / 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    f = frequencies[:, None]
    rising, falling = (f - low) / (centre - low), (high - f) / (high - centre)
    filters = np.clip(np.minimum(rising, falling), 0, None)
    for band in np.flatnonzero(filters.sum(0) == 0):
        filters[np.argmin(np.abs(frequencies - centre[band])), band] = 1.0
    return np.asarray(filters / filters.sum(0))


def short_frames(samples: Array, rate: int) -> ShortFrames:
    """Band levels and spectral features of every 10 ms."""
    f = np.fft.rfftfreq(FRAME, 1 / rate)
    filters = band_filters(f)
    parts = [_described(block, f, filters) for block in magnitudes(samples, FRAME, HOP)]
    return ShortFrames(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _described(block: Array, f: Array, filters: Array) -> ShortFrames:
    power = block**2
    mass = np.maximum(block.sum(1), 1e-12)
    energy = np.maximum(power.sum(1), 1e-20)
    centroid = block @ f / mass
    spread = block @ f**2 / mass - centroid**2
    rolled = np.cumsum(block, axis=1) >= 0.85 * block.sum(1, keepdims=True)
    floored = np.maximum(power, 1e-10)
    return ShortFrames(
        bands=10 * np.log10(np.maximum(power @ filters / (FRAME / 4) ** 2, 1e-12)),
        centroid=centroid,
        bandwidth=np.sqrt(np.maximum(spread, 0)),
        rolloff=f[rolled.argmax(1)],
        flatness=np.exp(np.log(floored).mean(1)) / floored.mean(1),
        low=power[:, f < 250].sum(1) / energy,
        high=power[:, f > 2000].sum(1) / energy,
    )


def frame_times(count: int) -> Array:
    return np.arange(count) * (HOP / AUDIO_RATE)


def within(times: Array, of: Iterable[tuple[float, float]]) -> Array:
    """Which of the times [n] lie in one of the spans: bool [n]."""
    inside = np.zeros(len(times), bool)
    for start, end in of:
        inside |= (times >= start) & (times < end)
    return inside


def resampled(samples: Array, rate: int) -> Array:
    """16 kHz samples at another rate."""
    if rate == AUDIO_RATE:
        return samples
    import_first(("scipy.signal",))  # rarely needed, and slow
    from scipy.signal import resample_poly

    return np.asarray(resample_poly(samples, rate, AUDIO_RATE), np.float32)
