"""The pace of a video over time: rates of cuts, motion, words and sound onsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from actors.camera_analysis import Camera
from actors.temporal_flow.sources import Sources, cite, counted
from tiktok_ray.report import Evidence, Model, derived

Part = Literal["cuts", "motion", "words", "onsets"]

WINDOW_S = 3.0
POINTS = 300
#: Pace at which each part counts as 1.
FAST: dict[Part, float] = {"cuts": 0.5, "motion": 0.3, "words": 3.0, "onsets": 4.0}


class Pacing(Model):
    """The pace over time, as parallel lists. Parts whose source is missing are null."""

    times: list[float] = derived("Midpoints of the windows", unit="s")
    pace: list[float] = derived(
        "Mean over the parts known in the window of min(1, part / reference); references: 0.5 "
        "cuts/s, motion 0.3 widths/s, 3 words/s, 4 onsets/s",
        range="0..1",
    )
    cuts: list[float] = derived("Cuts per second", unit="1/s", range="0..")
    motion: list[float | None] | None = derived(
        "Mean speed of the camera, pan (widths) and tilt (heights) combined; null in windows "
        "where it could not be measured",
        unit="1/s",
        range="0..",
    )
    words: list[float] | None = derived("Words started per second", unit="1/s", range="0..")
    onsets: list[float] | None = derived("Sound onsets per second", unit="1/s", range="0..")
    fastest_s: float = derived("Midpoint of the fastest window", unit="s")
    trend: float | None = derived(
        "Mean pace of the last third of the windows minus that of the first; null with fewer "
        "than three",
        range="-1..1",
    )
    evidence: list[Evidence] = derived("Evidence, one entry per part")


def pacing(of: Sources) -> Pacing:
    """Pace in windows of ``WINDOW_S``, one a second, or ``POINTS`` of them over long videos."""
    step = max(1.0, of.end / POINTS)
    times = np.arange(min(step, of.end) / 2, max(of.end, step), step)
    low, high = np.maximum(0.0, times - WINDOW_S / 2), np.minimum(of.end, times + WINDOW_S / 2)

    def rate(instants: Sequence[float]) -> list[float]:
        order = np.sort(instants)
        count = np.searchsorted(order, high) - np.searchsorted(order, low)
        return [float(v) for v in count / np.maximum(high - low, 1e-6)]

    parts: dict[Part, Sequence[float | None]] = {"cuts": rate(of.cuts.times)}
    cited = [cite("cut_analysis", 0.0, of.end, counted(len(of.cuts.times), "cut"))]
    motion = words = onsets = None
    if of.camera is not None:
        parts["motion"] = motion = _motion(of.camera, low, high)
        share = f"measured in {of.camera.measured_share:.0%}"
        cited.append(cite("camera_analysis", 0.0, of.end, share))
    if of.transcript is not None and of.words is not None:
        parts["words"] = words = rate([word.start for word in of.words])
        cited.append(cite("speech_transcription", 0.0, of.end, counted(len(of.words), "word")))
    if of.sound is not None:
        parts["onsets"] = onsets = rate(of.sound.onsets)
        cited.append(cite("audio_analysis", 0.0, of.end, counted(len(of.sound.onsets), "onset")))
    pace = []
    for k in range(len(times)):
        known = [(part, value) for part, row in parts.items() if (value := row[k]) is not None]
        pace.append(sum(min(1.0, value / FAST[part]) for part, value in known) / len(known))
    third = len(pace) // 3
    trend = float(np.mean(pace[-third:]) - np.mean(pace[:third])) if third else None
    return Pacing(
        times=times.tolist(),
        pace=pace,
        cuts=rate(of.cuts.times),
        motion=motion,
        words=words,
        onsets=onsets,
        fastest_s=float(times[int(np.argmax(pace))]),
        trend=trend,
        evidence=cited,
    )


def _motion(
    camera: Camera, low: NDArray[np.float64], high: NDArray[np.float64]
) -> list[float | None]:
    """Mean speed of the camera in each window; None where it is not known."""
    speeds = [
        None if pan is None or tilt is None else float(np.hypot(pan, tilt))
        for pan, tilt in zip(camera.pan, camera.tilt, strict=True)
    ]
    means: list[float | None] = []
    for a, b in zip(low, high, strict=True):
        inside = [
            v for t, v in zip(camera.times, speeds, strict=True) if a <= t < b and v is not None
        ]
        means.append(sum(inside) / len(inside) if inside else None)
    return means
