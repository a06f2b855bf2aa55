"""Tempo, key, loudness and silence of made sound, beside librosa, pyloudnorm and ffmpeg's ebur128.

Tempo: share of clips within 4 %, as said (accuracy 1), and with octaves and thirds allowed
(accuracy 2; Gouyon et al. 2006). Key: share exactly right; librosa has chroma and no key, so its
chroma is put to the same profiles. Silence: intersection over union of spans.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.audio_analysis import Sound, find_key
from benchmarks.accuracy import Bench, Figure
from benchmarks.accuracy._figures import mean_figure
from tiktok_ray.media import spans

#: Which fields the figures are errors of.
FIELDS = {
    ("LUFS error, absolute", "all"): ("integrated_lufs", "loudness.momentary"),
    ("true peak error, dB", "all"): ("true_peak_dbtp",),
    ("silence IoU", "all"): ("silences.start", "silences.end"),
    ("tempo accuracy 1", "all"): ("tempo.bpm",),
    ("tempo accuracy 2", "all"): ("tempo.bpm",),
    ("beat F1 ±70 ms", "all"): ("beats",),
    ("key exactly right", "all"): ("key.tonic", "key.mode"),
}
NEAR = 0.04
BEAT_S = 0.07  # as in MIREX's F-measure (Davies et al. 2009)
TUNED = (1 / 3, 0.5, 1.0, 2.0, 3.0)

Samples = NDArray[np.float32]


def near(bpm: float | None, truth: float, factors: tuple[float, ...] = (1.0,)) -> bool:
    """Whether a tempo is within 4 % of the truth, or of a multiple of it."""
    return bpm is not None and any(abs(bpm / (truth * f) - 1) <= NEAR for f in factors)


def iou(found: Sequence[tuple[float, float]], truth: Sequence[tuple[float, float]]) -> float:
    """Intersection of two sets of spans over their union; 1 where both are empty."""
    shared = spans.overlap(found, truth)
    whole = sum(b - a for a, b in (*found, *truth)) - shared
    return shared / whole if whole else 1.0


def played(path: Any) -> Samples:
    """The sound of a clip at 48 kHz, mono."""
    import av

    with av.open(str(path)) as container:
        resampler = av.AudioResampler("flt", "mono", 48_000)
        parts = [part for one in container.decode(audio=0) for part in resampler.resample(one)]
        return np.concatenate([part.to_ndarray()[0] for part in parts])


def librosa_tempo(sound: Samples) -> float:
    from librosa.beat import beat_track

    return float(np.atleast_1d(beat_track(y=sound, sr=48_000)[0])[0])


def librosa_beats(sound: Samples) -> list[float]:
    from librosa.beat import beat_track

    return [float(t) for t in beat_track(y=sound, sr=48_000, units="time")[1]]


def librosa_key(sound: Samples) -> tuple[str, str] | None:
    import librosa

    key = find_key(librosa.feature.chroma_cqt(y=sound, sr=48_000).T.astype(float), 1.0)
    return (key.tonic, key.mode) if key else None


def pyloudnorm_lufs(sound: Samples) -> float:
    import pyloudnorm

    return float(pyloudnorm.Meter(48_000).integrated_loudness(sound.astype(float)))


def ebur128(sound: Samples) -> tuple[float, float]:
    """Integrated loudness, LUFS, and true peak, dBTP, by ffmpeg's filter at its defaults."""
    import av

    graph = av.filter.Graph()
    source = graph.add_abuffer(
        sample_rate=48_000, format="flt", layout="mono", time_base=Fraction(1, 48_000)
    )
    meter = graph.add("ebur128", "metadata=1:peak=true")
    sink = graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None]), "flt", "mono")
    frame.sample_rate, frame.pts = 48_000, 0
    graph.push(frame)
    graph.push(None)
    told: dict[str, str] = {}
    while True:
        try:
            told |= graph.pull().metadata  # type: ignore[union-attr]
        except (av.error.EOFError, av.error.BlockingIOError):
            break
    peak = float(told["lavfi.r128.true_peak"])
    return float(told["lavfi.r128.I"]), 20 * float(np.log10(peak))


def figures(bench: Bench) -> Iterator[Figure]:
    told: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    for clip in bench.clips("sounds", COUNTED):
        kind, condition = clip.recipe.kind, clip.recipe.condition
        found: Sound = bench.output("audio_analysis", clip.path)
        for who, measure, value in COUNTED[kind](found, clip.truth, played(clip.path)):
            told[measure, kind, "all", who].append(value)
            if kind != "level":
                told[measure, kind, condition, who].append(value)
    for (measure, kind, condition, who), values in told.items():
        bounds = None if "error" in measure else (0.0, 1.0)
        yield mean_figure(measure, kind, condition, values, bounds=bounds, by=who)


Counted = Iterator[tuple[str, str, float]]


def _tempo(found: Sound, truth: dict[str, Any], sound: Samples) -> Counted:
    bpm = found.tempo.bpm if found.tempo else None
    for who, said in (("tiktok_ray", bpm), ("librosa", librosa_tempo(sound))):
        yield who, "tempo accuracy 1", float(near(said, truth["bpm"]))
        yield who, "tempo accuracy 2", float(near(said, truth["bpm"], TUNED))
    yield "tiktok_ray", "beat F1 ±70 ms", beat_f1(found.beats, truth["beats"])
    yield "librosa", "beat F1 ±70 ms", beat_f1(librosa_beats(sound), truth["beats"])


def beat_f1(found: Sequence[float], truth: Sequence[float]) -> float:
    """F-measure of beats, each found once, within 70 ms."""
    left, right = list(truth), 0
    for beat in found:
        near = min(left, key=lambda t: abs(t - beat), default=None)
        if near is not None and abs(near - beat) <= BEAT_S:
            left.remove(near)
            right += 1
    return 2 * right / (len(found) + len(truth))


def _key(found: Sound, truth: dict[str, Any], sound: Samples) -> Counted:
    right = (truth["tonic"], truth["mode"])
    said = (found.key.tonic, found.key.mode) if found.key else None
    yield "tiktok_ray", "key exactly right", float(said == right)
    yield "librosa chroma, same profiles", "key exactly right", float(librosa_key(sound) == right)


def _level(found: Sound, truth: dict[str, Any], sound: Samples) -> Counted:
    if found.integrated_lufs is not None:
        yield "tiktok_ray", "LUFS error, absolute", abs(found.integrated_lufs - truth["lufs"])
    yield "pyloudnorm", "LUFS error, absolute", abs(pyloudnorm_lufs(sound) - truth["lufs"])
    if found.true_peak_dbtp is not None:
        yield "tiktok_ray", "true peak error, dB", abs(found.true_peak_dbtp - truth["peak_dbfs"])
    level, peak = ebur128(sound)
    yield "ffmpeg ebur128", "LUFS error, absolute", abs(level - truth["lufs"])
    yield "ffmpeg ebur128", "true peak error, dB", abs(peak - truth["peak_dbfs"])


def _silence(found: Sound, truth: dict[str, Any], _: Samples) -> Counted:
    known = [spans.Span(*one) for one in truth["silences"]]
    yield "tiktok_ray", "silence IoU", iou([one.span for one in found.silences], known)


COUNTED: dict[str, Callable[[Sound, dict[str, Any], Samples], Counted]] = {
    "tempo": _tempo, "key": _key, "level": _level, "silence": _silence,
}  # fmt: skip
