"""Interruptions of a talk: pauses of the speaker, distinguished from gaps filled by music."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import AUDIO_RATE, Audio, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio.pitch import harmonicity
from tiktok_ray.report import Timed, derived, measured

#: Shortest pause (Goldman-Eisler 1968), and from where on it is a break in the talk.
PAUSE_S, BREAK_S = 0.25, 3.0
#: How far under the loudest speech (95th percentile) sound is a pause (de Jong and Wempe 2009).
QUIET_DB = 25.0
#: How far under the speech a pause is silent; and sound that fills a gap is at least this near.
SILENT_DB, FILLED_DB = 20.0, 10.0
#: Harmonicity from which on sound counts as pitched (noise of any colour stays under it), how long
#: that must last to be an interlude, and which holes in it do not matter.
PITCHED, INTERLUDE_S, HOLE_S = 0.45, 0.5, 0.3
#: Step of the levels.
STEP_S = 0.01

Floats = NDArray[np.float64]


class Pause(Timed):
    """A pause of the speaker."""

    length_s: float = derived("Duration", unit="s", range="0.25..")
    kind: Literal["silent", "background", "filled", "break"] = derived(
        "filled: with a hesitation; break: longer than 3 s; silent: the sound drops at least "
        "20 dB below the speech; background: it drops less because other sound continues"
    )
    drop_db: float = measured(
        "Median level of the speech minus the median level in the pause", unit="dB"
    )


class Interlude(Timed):
    """A gap in the speech filled by pitched sound such as music: not a pause of the speaker."""

    harmonicity: float = measured(
        "Median harmonicity of the loud part of the gap",
        range="0..1",
        method="highest autocorrelation peak, lags of 60 to 500 Hz (Boersma 1993)",
    )
    filled_s: float = measured(
        "Duration of the gap that is pitched (harmonicity 0.45 or more) and at most 10 dB "
        "below the speech, bridging holes under 0.3 s; from 0.5 s on it is an interlude",
        unit="s",
    )


class Talk(NamedTuple):
    """Where the talk is: ``extent`` without interludes and breaks, ``phonation`` without pauses."""

    whole: Span
    extent: list[Span]
    phonation: list[Span]
    pauses: list[Pause]
    interludes: list[Interlude]

    @property
    def seconds(self) -> float:
        return spans.total(self.extent)


def levels(samples: NDArray[np.float32]) -> Floats:
    """Level of 16 kHz sound every 10 ms over 30 ms, dB re full scale, not under -100: [n]."""
    size = round(STEP_S * AUDIO_RATE)
    blocks = samples[: len(samples) // size * size].reshape(-1, size).astype(float)
    power = np.convolve((blocks**2).mean(1), np.ones(3) / 3, mode="same")
    return np.asarray(10 * np.log10(power + 1e-10))


def levels_in(level: Floats, parts: Sequence[tuple[float, float]]) -> Floats:
    """Levels inside the spans; all of them if the spans are too short to hold one."""
    cut = [level[round(start / STEP_S) : round(end / STEP_S)] for start, end in parts]
    inside = np.concatenate(cut) if cut else level[:0]
    return inside if len(inside) else level


def find_talk(
    audio: Audio,
    level: Floats,
    spoken: Sequence[Span],
    hesitations: Sequence[tuple[float, float]] = (),
) -> Talk:
    """Split the time from the first to the last speech into phonation, pauses and interludes."""
    voice = voiced_spans(level, spoken)
    whole = Span(voice[0].start, voice[-1].end)
    loudness = float(np.median(levels_in(level, voice)))
    gaps, interludes = [], []
    for gap in spans.longer(spans.invert(voice, whole), PAUSE_S):
        filling = interlude(gap, audio, level, loudness)
        if filling:
            interludes.append(filling)
        else:
            gaps.append(gap)
    held = spans.subtract(spans.intersect(hesitations, [whole]), (one.span for one in interludes))
    pauses = classified(gaps, held, level, loudness)
    breaks = [pause.span for pause in pauses if pause.kind == "break"]
    extent = spans.subtract([whole], [*(one.span for one in interludes), *breaks])
    phonation = spans.subtract(extent, [pause.span for pause in pauses])
    return Talk(whole, extent, phonation, pauses, interludes)


def voiced_spans(level: Floats, spoken: Sequence[Span]) -> list[Span]:
    """The spans of speech without what in them is quiet; pieces under 50 ms do not count."""
    loudest = float(np.percentile(levels_in(level, spoken), 95))
    times = np.arange(len(level)) * STEP_S
    quiet = spans.runs(times.tolist(), (level < loudest - QUIET_DB).tolist(), len(level) * STEP_S)
    voice = spans.longer(spans.subtract(spoken, spans.longer(quiet, 0.05)), 0.05)
    return voice or list(spoken)


def interlude(gap: Span, audio: Audio, level: Floats, loudness: float) -> Interlude | None:
    """The gap as an interlude if loud pitched sound fills ``INTERLUDE_S`` of it with no hole."""
    times, values = harmonicity(audio.cut(*gap))
    if not len(times):
        return None
    frames = np.clip(np.round((gap.start + times) / STEP_S).astype(int), 0, len(level) - 1)
    loud = level[frames] >= loudness - FILLED_DB
    flags = (loud & (values >= PITCHED)).tolist()
    sounding = spans.runs((gap.start + times).tolist(), flags, gap.end)
    lasting = spans.longer(spans.union(sounding, gap=HOLE_S), INTERLUDE_S)
    if not lasting:
        return None
    return Interlude(
        start=gap.start,
        end=gap.end,
        harmonicity=float(np.median(values[loud])),
        filled_s=spans.total(lasting),
    )


def classified(
    gaps: Sequence[Span],
    hesitations: Sequence[tuple[float, float]],
    level: Floats,
    loudness: float,
) -> list[Pause]:
    """Pauses from gaps; a hesitation joins the gaps within 0.2 s of it into one filled pause."""
    silent, filled = list(gaps), []
    for start, end in hesitations:
        near = [gap for gap in silent if gap.start <= end + 0.2 and gap.end >= start - 0.2]
        silent = [gap for gap in silent if gap not in near]
        filled.append(
            Span(min([start, *(g.start for g in near)]), max([end, *(g.end for g in near)]))
        )
    pauses = [_pause(gap, "filled", level, loudness) for gap in spans.longer(filled, PAUSE_S)]
    pauses += [_pause(gap, None, level, loudness) for gap in spans.subtract(silent, filled)]
    return sorted(pauses, key=lambda pause: pause.start)


def _pause(gap: Span, kind: Literal["filled"] | None, level: Floats, loudness: float) -> Pause:
    inner = (gap.start + 0.05, gap.end - 0.05) if gap.length >= 0.2 else gap
    drop = loudness - float(np.median(levels_in(level, [inner])))
    quiet: Literal["break", "silent", "background"] = (
        "break" if gap.length > BREAK_S else "silent" if drop >= SILENT_DB else "background"
    )
    return Pause(
        start=gap.start, end=gap.end, length_s=gap.length, kind=kind or quiet, drop_db=drop
    )
