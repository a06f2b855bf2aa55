"""Rates, pauses, syllables and interludes: made speech whose words are known, and real speech."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from actors.speech_flow import Delivery
from actors.speech_transcription import SpeechTranscription, TranscriptionOptions
from benchmarks.accuracy import Bench, Figure, Row
from benchmarks.accuracy._figures import groups, mean_figure, median_figure, share_figure
from benchmarks.accuracy.audio_analysis import iou
from benchmarks.accuracy.speech_transcription import COMPOSITE, WORDS, playable
from tiktok_ray.analyzer import Skip

#: Syllables of what is said, counted by hand.
SYLLABLES = {
    "audio/jfk.flac": 28,
    "video/grid_bbaf2n.mpg": 6,
    "video/grid_swwp2s.mpg": 6,
    "audio/sb_spk1_snt1.wav": 8,
    "audio/sb_example1.wav": 9,
}


#: Which fields the figures are errors of.
FIELDS = {
    ("error of speaking rate, relative", "all"): ("speaking_rate", "articulation_rate"),
    ("pauses found", "all"): ("pauses_per_minute", "pauses.kind"),
    ("error of a pause's edges, s, median", "all"): ("pauses.start", "pauses.end"),
    ("error of syllables, relative", "real speech"): ("syllables", "syllables_per_s"),
}
LIKE = 0.5  # intersection over union from which a pause is the one that was made


def figures(bench: Bench) -> Iterator[Figure]:
    bench.load(SpeechTranscription(TranscriptionOptions(language="en")))
    known: list[tuple[str, dict[str, Any]]] = []
    for clip in bench.clips("sounds", ("speech over music",)):
        condition = f"music at {clip.recipe.condition}"
        try:
            found: Delivery = bench.output("speech_flow", clip.path)
        except Skip:
            known.append((condition, against(None, clip.truth)))
            continue
        known.append((condition, against(found, clip.truth)))
    for condition, some in groups(known).items():
        rates = [one["rate"] for one in some if one["rate"] is not None]
        yield mean_figure("error of speaking rate, relative", "words", condition, rates)
        yield share_figure(
            "pauses found", "pauses between sentences", condition,
            [(one["found"], one["pauses"]) for one in some],
        )  # fmt: skip
        yield median_figure(
            "error of a pause's edges, s, median", "pauses between sentences", condition,
            [one["edges"] for one in some], unit="edges",
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        off = [
            abs(delivery(bench, file, Path(folder)).syllables / truth - 1)
            for file, truth in SYLLABLES.items()
        ]
    yield mean_figure("error of syllables, relative", "syllables", "real speech", off, clips="real")


def against(found: Delivery | None, truth: dict[str, Any]) -> dict[str, Any]:
    """One clip: error of its rate, and pauses between its sentences found, with their edges."""
    gaps = [(a[1], b[0]) for a, b in pairwise(truth["speech"])]
    out: dict[str, Any] = {"rate": None, "found": 0, "pauses": len(gaps), "edges": []}
    if found is None:
        return out
    words = truth["words"]
    wanted = 60 * len(words) / (words[-1][2] - words[0][1])
    if found.counted == "words" and found.speaking_rate is not None:
        out["rate"] = abs(found.speaking_rate / wanted - 1)
    told = [one.span for one in (*found.pauses, *found.interludes)]
    for gap in gaps:
        best = max(told, key=lambda span: iou([span], [gap]), default=None)
        if best is not None and iou([best], [gap]) >= LIKE:
            out["found"] += 1
            out["edges"] += [abs(best[0] - gap[0]), abs(best[1] - gap[1])]
    return out


def delivery(bench: Bench, file: str, folder: Path) -> Delivery:
    """What is said of a real file."""
    found: Delivery = bench.output("speech_flow", playable(bench.file(file), folder))
    return found


def rows(bench: Bench) -> Iterator[Row]:
    found: Delivery = bench.output("speech_flow", bench.file(COMPOSITE))
    gaps = [(round(one.start, 2), round(one.end, 2)) for one in found.interludes]
    near = len(gaps) == 1 and abs(gaps[0][0] - 5.3) < 0.2 and abs(gaps[0][1] - 14.6) < 0.2
    yield Row(COMPOSITE, "trumpet between the speech of 5.3 and 14.6 s", f"{gaps}", near)
    pauses = [(round(one.start, 2), round(one.end, 2), one.kind) for one in found.pauses]
    near = len(pauses) == 1 and abs(pauses[0][0] - 2.1) < 0.2 and abs(pauses[0][1] - 3.6) < 0.2
    yield Row(COMPOSITE, "a pause from 2.1 to 3.6 s", f"{pauses}", near)
    counted = 0
    with tempfile.TemporaryDirectory() as folder:
        for file, truth in SYLLABLES.items():
            found = delivery(bench, file, Path(folder))
            counted += found.syllables
            yield Row(file, f"{truth} syllables: {WORDS[file]}", f"{found.syllables}")
    truth = sum(SYLLABLES.values())
    holds = abs(counted - truth) <= 0.2 * truth
    yield Row("", f"{truth} syllables in all", f"{counted} ({counted / truth - 1:+.0%})", holds)
