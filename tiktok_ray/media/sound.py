"""Audio: decoded samples placed by their timestamps, levels, and the mono mix.

FFmpeg's own mono mix is not normalised, does not support ambisonics and lets inverted channels cancel
each other out; PyAV's arrays of eight planes read beyond their end. So samples are read plane by
plane, made finite, and mixed here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import spans
from tiktok_ray.media.filters import Interpolator, Recursive, k_weighting
from tiktok_ray.media.spans import Span
from tiktok_ray.media.tracks import AUDIO_RATE, LEVEL_STEP_S, Audio, Levels, fixed

Samples = NDArray[np.float32]

AUDIO_GAP_S = 0.05
#: Samples beyond it (24 dB over full scale) are not sound but damage, as what is not a number is.
WILDEST = 16.0
CENTRE = math.sqrt(0.5)

#: Full scale of sample formats that are integers, and what their silence is.
INTEGERS: dict[str, tuple[str, float, float]] = {
    "u8": ("u1", 2.0**7, 2.0**7),
    "s16": ("<i2", 2.0**15, 0.0),
    "s32": ("<i4", 2.0**31, 0.0),
    "s64": ("<i8", 2.0**63, 0.0),
}


def samples_of(frame: Any) -> Samples:
    """Samples of a decoded frame, float32 [channels, n], full scale 1.0."""
    from av.audio.plane import AudioPlane

    name, count, channels = frame.format.name, frame.samples, frame.layout.nb_channels
    kind = name.removesuffix("p")
    dtype, full, zero = INTEGERS.get(kind, ("<f8" if kind == "dbl" else "<f4", 1.0, 0.0))
    if frame.format.is_planar:
        # `frame.planes` counts past the end where there are eight: it looks for a null pointer.
        planes: list[Any] = [AudioPlane(frame, index) for index in range(channels)]
        block = np.stack([np.frombuffer(plane, dtype, count) for plane in planes])
    else:
        packed: Any = AudioPlane(frame, 0)
        flat = np.frombuffer(packed, dtype, count * channels)
        block = flat.reshape(count, channels).T
    if full != 1.0:
        return ((block - zero) / full).astype(np.float32)
    return block.astype(np.float32, copy=False)


def is_sound(block: Samples) -> NDArray[np.bool_]:
    """Which samples are finite, and at most 24 dB above full scale."""
    return np.asarray(np.abs(block) <= WILDEST)


def fold(names: Sequence[str]) -> Samples:
    """Weights that mix channels to one (mono) or two (left and right), float32 [1 | 2, channels].

    Front channels count 1, centre and surrounds 0.71 (ITU-R BS.775), the low-frequency channel 0;
    of ambisonics the omnidirectional W alone. Channels whose place the file does not say are taken
    as left and right by turns. Each row sums to 1, so that nothing can clip.
    """
    if len(names) == 1:
        return np.ones((1, 1), np.float32)
    sides = np.array(_placed(names), np.float32).T
    if names[0] == "AMBI0":
        sides = np.array([[name == "AMBI0" for name in names]], np.float32)
    elif len(names) == 2 and not (sides.sum(1) > 0).all():
        sides = np.eye(2, dtype=np.float32)
    sides = sides[sides.sum(1) > 0]
    if not len(sides):
        sides = np.ones((1, len(names)), np.float32)
    return np.asarray(sides / sides.sum(1, keepdims=True), np.float32)


def folded(names: Sequence[str]) -> str | None:
    """A description of what ``fold`` does; None for mono and stereo."""
    if names[0] == "AMBI0":
        return f"only the omnidirectional channel (W) of {len(names)} ambisonic channels"
    if len(names) <= 2:
        return None
    if all(map(_is_unplaced, names)):
        return f"{len(names)} channels of unknown position, taken as left and right alternately"
    low = any(name.startswith("LFE") for name in names)
    return (
        f"{len(names)} channels ({' '.join(names)}) downmixed according to ITU-R BS.775"
        f"{', without the low-frequency channel' if low else ''}"
    )


def _is_unplaced(name: str) -> bool:
    return name.startswith(("NONE", "UNK", "UNSD", "USR"))


def _placed(names: Sequence[str]) -> list[tuple[float, float]]:
    """How much each channel is heard on the left and on the right."""
    turns = (1.0, 0.0), (0.0, 1.0)
    return [turns[k % 2] if _is_unplaced(name) else _sides(name) for k, name in enumerate(names)]


def _sides(name: str) -> tuple[float, float]:
    if name.startswith("LFE"):
        return 0.0, 0.0
    if name in ("FL", "DL"):
        return 1.0, 0.0
    if name in ("FR", "DR"):
        return 0.0, 1.0
    if name.endswith(("L", "LC")):
        return CENTRE, 0.0
    if name.endswith(("R", "RC")):
        return 0.0, CENTRE
    return CENTRE, CENTRE


class _Phases:
    """Which of three and more channels are inverted, so that folding them would take sound away.

    In every block a channel votes that correlates with the loudest by less than -0.7 (inverted) or
    more than 0.3 (not); a single vote does not turn what many before it said.
    """

    def __init__(self, heard: NDArray[np.bool_]) -> None:
        self.heard = heard
        self.signs = np.ones(len(heard), np.float32)
        self.inverted = np.zeros(len(heard), bool)
        self._votes = np.zeros(len(heard))

    def __call__(self, block: Samples) -> Samples:
        """+1 or -1 for each channel of a block, float32 [channels, 1]."""
        products = block @ block.T
        energy = np.where(self.heard, np.diag(products), 0.0)
        loudest = int(np.argmax(energy))
        if energy[loudest] > 0:
            sounding = energy > 1e-6 * energy[loudest]
            alike = products[loudest] / np.sqrt(np.maximum(energy * energy[loudest], 1e-30))
            votes = np.where(alike < -0.7, -1, np.where(alike > 0.3, 1, 0)) * sounding
            self._votes = 0.6 * self._votes + votes * self.signs[loudest]
            self.signs[self._votes > 0.5] = 1
            self.signs[self._votes < -0.5] = -1
            self.inverted |= sounding & (self.signs < 0)
        return self.signs[:, None]


@dataclass(frozen=True)
class Mixed:
    """The mono sound, how it was mixed, and how much it was attenuated."""

    samples: Samples
    how: str
    gain_db: float | None


def mixed(sides: Samples, rate: int) -> Mixed:
    """Mono from one or two sides, float32 [1 | 2, n].

    The mean of left and right. Where their difference is four times as strong as their sum (6 dB), one
    of them has inverted polarity, which is corrected; where one side is silent relative to the other
    (-60 dB), only the other is used. A result exceeding full scale is attenuated as a whole.
    """
    if len(sides) == 1:
        mono, how = sides[0], "unchanged"
    else:
        left, right = sides
        energy = [float(np.dot(side, side)) for side in sides]
        if min(energy) <= 1e-6 * max(energy):
            louder = int(np.argmax(energy))
            mono, how = sides[louder], f"{('left', 'right')[louder]} only: the other is silent"
        else:
            polarity = _polarity(left, right, rate)
            mono, how = 0.5 * (left + polarity * right), "mean of left and right"
            inverted = float((polarity < 0).mean())
            if inverted:
                how += f"; right has inverted polarity in {inverted:.0%} of it, which was corrected"
    peak = max(float(mono.max(initial=0.0)), -float(mono.min(initial=0.0)))
    if peak <= 1.0:
        return Mixed(np.asarray(mono, np.float32), how, None)
    return Mixed(np.asarray(mono / peak, np.float32), how, -20 * math.log10(peak))


def _polarity(left: Samples, right: Samples, rate: int) -> Samples:
    """+1 where left and right are alike, -1 where they cancel; changes take 50 ms."""
    window = rate // 2
    count = max(1, len(left) // window)
    edges = np.arange(count) * window
    both = np.add.reduceat((left + right) ** 2, edges)
    apart = np.add.reduceat((left - right) ** 2, edges)
    sounding = both + apart > 1e-6 * window
    votes = np.where(sounding, np.where(apart > 4 * both, -1, 1), 0)
    # A single window may be a sound that only happens to be wide: five of them vote.
    sums = np.convolve(np.pad(votes, 2), np.ones(5), mode="valid")
    signs = np.sign(np.where(sums == 0, votes, sums))
    known = np.flatnonzero(signs)
    if not len(known) or (signs[known] > 0).all():
        return np.ones(len(left), np.float32)
    at = np.minimum(np.searchsorted(known, np.arange(count)), len(known) - 1)
    steps = np.repeat(signs[known[at]], window)
    steps = np.pad(steps, (0, max(0, len(left) - len(steps))), mode="edge")[: len(left)]
    ramp = np.ones(rate // 20) / (rate // 20)
    padded = np.pad(steps, (len(ramp) // 2, len(ramp) - 1 - len(ramp) // 2), mode="edge")
    return np.asarray(np.convolve(padded, ramp, mode="valid"), np.float32)


class Sound:
    """Collects decoded audio: levels at its own sample rate, and the mono mix at 16 kHz.

    Gaps in the timestamps become zeros (and holes in ``present``), as do frames without a single
    sample that is a sound; overlaps are dropped and counted. What lies before time zero is kept apart. The
    first frame says rate and channels; frames of another kind are brought to those.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.rate = 0
        self.at = 0
        self.fed = 0
        self.silenced = 0
        self.changes = 0
        self.overlaps = 0
        self._late = 0
        self.present: list[Span] = []
        self.names: list[str] = []
        self._kind: tuple[int, str] | None = None
        self._early: list[Samples] = []
        self._pending: list[Samples] = []
        self._pending_size = 0
        self._sides: list[Samples] = []
        self._converter: _Converter | None = None
        self._down: Resampler | None = None
        self._meter: Meter | None = None
        self._phases: _Phases | None = None
        #: What sound of other channels than the first is turned up by after folding, [1 | 2, 1].
        self._gain = np.ones((1, 1), np.float32)

    @property
    def end(self) -> float:
        return self.at / self.rate if self.rate else 0.0

    @property
    def late_s(self) -> float:
        """Seconds of audio dropped because of overlapping timestamps."""
        return self._late / self.rate if self.rate else 0.0

    @property
    def silenced_share(self) -> float:
        """Share of the samples that were silenced as invalid."""
        return self.silenced / self.fed if self.fed else 0.0

    @property
    def before_s(self) -> float:
        """Seconds of sound before time zero."""
        return sum(b.shape[1] for b in self._early) / self.rate if self.rate else 0.0

    def feed(self, frame: Any, stamp: float | None, zero: float) -> None:
        """Take a decoded frame that begins at ``stamp`` on the clock whose zero is ``zero``."""
        raw = samples_of(frame)
        if not raw.size:
            return
        block, wild = self._finite(raw)
        kind = (frame.sample_rate, frame.layout.name)
        if self._meter is None:
            self.rate = frame.sample_rate
            self.names = [c.name for c in frame.layout.channels]
            self._fold = fold(self.names)
            self._phases = (
                _Phases(np.asarray(self._fold.any(axis=0))) if len(self.names) > 2 else None
            )
            self._meter = Meter(self.rate, self.names)
            self._down = Resampler(len(self._fold), self.rate, AUDIO_RATE)
            self._kind = kind
        elif kind != self._kind:
            self.changes += 1
            self._kind = kind
            if self._pending:
                self._flush()
            self._converter = _Converter(
                [c.name for c in frame.layout.channels], frame.sample_rate, self.names, self.rate
            )
            self._gain = self._converter.gain(self._fold)
        if self._converter is not None:
            block = self._converter(block)
        self._place(block, None if stamp is None else stamp - zero, heard=wild < raw.size)

    def _finite(self, block: Samples) -> tuple[Samples, int]:
        """The samples, zero where they are not sound, and how many those are."""
        self.fed += block.size
        if block.max() <= WILDEST and block.min() >= -WILDEST:
            return block, 0
        wild = ~is_sound(block)
        count = int(wild.sum())
        self.silenced += count
        return np.where(wild, np.float32(0), block), count

    def _place(self, block: Samples, t: float | None, *, heard: bool) -> None:
        where = self.at if t is None else round(t * self.rate)
        if self.at == 0 and not self.present and where < 0:
            early = min(-where, block.shape[1])
            if self.before_s < self.limit_s:
                self._early.append(block[:, :early])
            block, where = block[:, early:], where + early
            if not block.shape[1]:
                return
        if abs(where - self.at) < AUDIO_GAP_S * self.rate and self.present:
            where = self.at
        if where > self.at:
            self._append(np.zeros((len(block), min(where - self.at, self._room())), np.float32))
        elif where < self.at:
            self.overlaps += 1
            self._late += min(self.at - where, block.shape[1])
            block = block[:, self.at - where :]
        block = block[:, : self._room()]
        if not block.shape[1]:
            return
        start = self.at / self.rate
        self._append(block)
        if not heard:
            return
        if self.present and start <= self.present[-1].end + 1e-6:
            self.present[-1] = Span(self.present[-1].start, self.end)
        else:
            self.present.append(Span(start, self.end))

    def _room(self) -> int:
        return max(0, round(self.limit_s * self.rate) - self.at)

    def _append(self, block: Samples) -> None:
        for start in range(0, block.shape[1], self.rate):
            part = block[:, start : start + self.rate]
            self._pending.append(part)
            self._pending_size += part.shape[1]
            self.at += part.shape[1]
            if self._pending_size >= self.rate:
                self._flush()

    def _flush(self) -> None:
        assert self._meter is not None
        assert self._down is not None
        block = np.concatenate(self._pending, axis=1)
        self._pending, self._pending_size = [], 0
        self._meter.feed(block)
        self._sides += self._down(self._gain * self._folded(block))

    def _folded(self, block: Samples) -> Samples:
        """One or two sides of a block, inverted channels turned back, float32 [1 | 2, n]."""
        turned = block if self._phases is None else self._phases(block) * block
        return np.asarray(self._fold @ turned, np.float32)

    def finish(self) -> tuple[Audio, Mixed] | None:
        """The whole sound and how it was mixed, or None when no sample of it is a sound."""
        if self._meter is None or self._down is None or self.silenced == self.fed:
            return None
        if self.at == 0 and not self._early:
            return None
        early = np.zeros((len(self._fold), 0), np.float32)
        if self._early:
            block = self._folded(np.concatenate(self._early, axis=1))
            own = Resampler(len(self._fold), self.rate, AUDIO_RATE)
            early = np.concatenate([*own(block), *own(None), early], axis=1)
        if self._pending:
            self._flush()
        whole = np.concatenate([early, *self._sides, *self._down(None)], axis=1)
        self._sides.clear()
        mono = mixed(whole, AUDIO_RATE)
        if before_that := folded(self.names):
            more = "" if len(self._fold) == 1 else f"; then {mono.how}"
            mono = replace(mono, how=before_that + self._turned_back() + more)
        before, after = np.split(mono.samples, [early.shape[1]])
        levels = self._meter.levels()
        audio = Audio(fixed(after), levels, tuple(self.present), before=fixed(before))
        return audio, mono

    def _turned_back(self) -> str:
        if self._phases is None or not self._phases.inverted.any():
            return ""
        names = [
            n for n, inverted in zip(self.names, self._phases.inverted, strict=True) if inverted
        ]
        return f"; {' '.join(names)} had inverted polarity, which was corrected"


class Resampler:
    """Streaming resampler for planes of audio."""

    def __init__(self, channels: int, source: int, target: int) -> None:
        import av

        self.layout = ("mono", "stereo")[channels - 1]
        self.source = source
        self._own = av.AudioResampler(format="fltp", layout=self.layout, rate=target)

    def __call__(self, block: Samples | None) -> list[Samples]:
        """What is ready after a block, float32 [1 | 2, n]; None says that it was the last."""
        import av

        frame = None
        if block is not None:
            if not block.shape[1]:
                return []
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block, np.float32), format="fltp", layout=self.layout
            )
            frame.sample_rate = self.source
        return [np.asarray(out.to_ndarray(), np.float32) for out in self._own.resample(frame)]


class _Converter:
    """Brings sound of another rate or other channels to those that the file began with."""

    def __init__(
        self, names: Sequence[str], rate: int, target: Sequence[str], target_rate: int
    ) -> None:
        self.same = list(names) == list(target) and rate == target_rate
        self._down = fold(names)
        sides = np.array(_placed(target), np.float32)
        if len(target) == 1 or not sides.any():
            sides = np.full((len(target), 2), 0.5, np.float32)
        front = np.isin(list(target), ("FL", "FR", "DL", "DR"))
        if front.any():
            sides[~front] = 0
        self._up = sides
        channels = len(self._down)
        self._rate = None if rate == target_rate else Resampler(channels, rate, target_rate)

    def gain(self, fold: Samples) -> Samples:
        """What folded sound has to be turned up by to be as loud as before it was spread.

        Stereo in the front of 5.1 is folded with four silent channels.
        """
        if self.same:
            return np.ones((1, 1), np.float32)
        return np.asarray(1 / (fold @ self._up).sum(1, keepdims=True), np.float32)

    def __call__(self, block: Samples) -> Samples:
        if self.same:
            return block
        sides = self._down @ block
        if self._rate is not None:
            empty = np.zeros((len(sides), 0), np.float32)
            sides = np.concatenate([empty, *self._rate(sides)], axis=1)
        if len(sides) == 1:
            sides = np.repeat(sides, 2, axis=0)
        return np.asarray(self._up @ sides, np.float32)


def lasting(audio: Audio, end: float) -> Audio:
    """The same audio, zero-padded or trimmed to last exactly until ``end``."""
    size = round(end * audio.rate)
    samples = audio.samples[:size]
    if len(samples) < size:
        samples = np.pad(samples, (0, size - len(samples)))
    steps = math.ceil(end / LEVEL_STEP_S - 1e-6)
    levels = replace(
        audio.levels,
        **{n: fixed(_fit(getattr(audio.levels, n), steps)) for n in ("power", "peak", "clipped")},
    )
    return replace(
        audio,
        samples=fixed(samples),
        levels=levels,
        present=tuple(spans.intersect(audio.present, [(0.0, end)])),
    )


def _fit(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The first ``size`` values; zeros where there are fewer."""
    return np.pad(values[:size], (0, max(0, size - len(values))))


class Meter:
    """Streaming level meter at the audio's own sample rate (ITU-R BS.1770-5)."""

    #: Channel weights of BS.1770-5, table 3; every other channel counts 1.
    WEIGHTS: ClassVar[dict[str, float]] = {
        "SL": 1.41, "SR": 1.41, "BL": 1.41, "BR": 1.41, "LFE": 0.0,
    }  # fmt: skip

    def __init__(self, rate: int, channels: Sequence[str]) -> None:
        self.rate = rate
        self.step = max(1, round(LEVEL_STEP_S * rate))
        self.weights = np.array([self.WEIGHTS.get(name, 1.0) for name in channels])
        self.weighting = [Recursive(b, a, len(channels)) for b, a in k_weighting(rate)]
        self.over = 4 if rate < 96_000 else 2
        self.interpolate = Interpolator(self.over)
        self.rest = np.zeros((len(channels), 0), np.float32)
        self.tail = np.zeros((len(channels), 32), np.float32)
        self.power: list[float] = []
        self.peak: list[float] = []
        self.clipped: list[float] = []

    def feed(self, block: NDArray[np.float32]) -> None:
        block = np.concatenate([self.rest, block], axis=1)
        whole = block.shape[1] // self.step * self.step
        self.rest = block[:, whole:]
        if whole:
            self._measure(block[:, :whole])

    def _measure(self, block: NDArray[np.float32]) -> None:
        weighted: NDArray[np.float64] = block.astype(np.float64)
        for stage in self.weighting:
            weighted = stage(weighted)
        channels = len(block)
        steps = block.shape[1] // self.step
        squares = (weighted**2).reshape(channels, steps, -1).mean(2)
        self.power += (self.weights @ squares).tolist()
        joined = np.concatenate([self.tail, block], axis=1)
        fine = np.abs(self.interpolate(joined))[:, self.tail.shape[1] * self.over :]
        self.peak += fine.reshape(channels, steps, -1).max((0, 2)).tolist()
        full = np.abs(block) >= 0.9999
        self.clipped += full.reshape(channels, steps, -1).mean((0, 2)).tolist()
        self.tail = joined[:, -32:]

    def levels(self) -> Levels:
        if self.rest.shape[1]:
            short = self.rest.shape[1] / self.step
            pad = np.zeros((len(self.rest), self.step - self.rest.shape[1]), np.float32)
            self._measure(np.concatenate([self.rest, pad], axis=1))
            self.power[-1] /= short
        return Levels(
            fixed(np.array(self.power)),
            fixed(np.array(self.peak)),
            fixed(np.array(self.clipped)),
            self.rate,
            len(self.weights),
        )
