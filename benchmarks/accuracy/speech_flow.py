"""Syllables, pauses and interludes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from actors.speech_flow import Delivery
from benchmarks.accuracy import Bench, Row
from benchmarks.accuracy.speech_transcription import COMPOSITE, WORDS, playable

#: Syllables of what is said, counted by hand.
SYLLABLES = {
    "audio/jfk.flac": 28,
    "video/grid_bbaf2n.mpg": 6,
    "video/grid_swwp2s.mpg": 6,
    "audio/sb_spk1_snt1.wav": 8,
    "audio/sb_example1.wav": 9,
}


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
            found = bench.output("speech_flow", playable(bench.file(file), Path(folder)))
            counted += found.syllables
            yield Row(file, f"{truth} syllables: {WORDS[file]}", f"{found.syllables}")
    truth = sum(SYLLABLES.values())
    holds = abs(counted - truth) <= 0.2 * truth
    yield Row("", f"{truth} syllables in all", f"{counted} ({counted / truth - 1:+.0%})", holds)
