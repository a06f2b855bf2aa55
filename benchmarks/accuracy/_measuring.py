"""Measuring analyzers for the board, several at once.

Not in ``__main__``: processes that are spawned do not find what a package's ``__main__`` has.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.accuracy import Absent, Bench, Figure, Row, _board, tables
from benchmarks.accuracy._figures import NOTHING
from tiktok_ray.report import said


@dataclass
class Measured:
    """What was measured of one analyzer, and why not more; ``failed``: the measuring itself raised."""

    figures: list[Figure] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)
    by_file: dict[str, float] = field(default_factory=dict)  # seconds of the analyzer
    seconds: float = 0.0  # all that it took: clips made, peers asked
    failed: bool = False

    def told(self) -> list[bool]:
        """Each answer to whether something holds."""
        answers = [figure.holds for figure in self.figures] + [row.holds for row in self.rows]
        return [holds for holds in answers if holds is not None]

    def as_json(self) -> dict[str, Any]:
        return {
            "figures": [{**figure._asdict(), "holds": figure.holds} for figure in self.figures],
            "rows": [row._asdict() for row in self.rows],
            "not_measured": self.missing,
            "seconds": round(self.seconds),
        }


class Asked(NamedTuple):
    """What a run is to measure: folders of media and weights, the share and edition of clips, and
    whether single rows too."""

    media: Path
    models: Path
    share: float
    edition: int
    singly: bool

    def bench(self) -> Bench:
        return Bench(self.media, self.models, share=self.share, edition=self.edition)


def measure(name: str, bench: Bench, singly: bool = True) -> Measured:
    """The figures of one analyzer, and where ``singly`` its rows; what is absent is named, and what is
    raised, which takes no other analyzer along."""
    start = time.perf_counter()
    try:
        out = _measured(name, bench, singly)
    except Exception as error:  # noqa: BLE001 - told in its place, and by the exit status
        traceback.print_exc()
        out = Measured(missing=[f"measuring failed: {said(error)}"], failed=True)
    out.weights = bench.weights.get(name, [])
    out.by_file = {file: s for (who, file), s in bench.seconds.items() if who == name}
    out.seconds = time.perf_counter() - start
    return out


def _measured(name: str, bench: Bench, singly: bool) -> Measured:
    out, table = Measured(), tables().get(name)
    if table is None:
        out.missing.append("no table yet")
        return out
    try:
        for figure in table.figures(bench) if table.figures else ():
            if figure.n or figure.reason != NOTHING:
                out.figures.append(figure)
    except Absent as reason:
        out.missing.append(str(reason))
    try:
        for row in table.rows(bench) if table.rows and singly else ():
            out.rows.append(row)
    except Absent as reason:
        out.missing += [str(reason)] if str(reason) not in out.missing else []
    return out


def measurements(
    names: Sequence[str], asked: Asked, workers: int
) -> Iterator[tuple[str, Measured]]:
    """Each analyzer's figures as they come, ``workers`` at a time, a fresh process each; with one
    worker in this process, in the order of the names."""
    if workers < 2:
        bench = asked.bench()
        yield from ((name, measure(name, bench, asked.singly)) for name in names)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, max_tasks_per_child=1) as pool:
        running = {pool.submit(alone, name, asked): name for name in longest_first(names)}
        try:
            yield from ((running[done], done.result()) for done in as_completed(running))
        finally:
            pool.shutdown(cancel_futures=True)


def alone(name: str, asked: Asked) -> Measured:
    """The figures of one analyzer, in a process of its own."""
    return measure(name, asked.bench(), asked.singly)


def longest_first(names: Sequence[str]) -> list[str]:
    """By what each took the last time, so that none is left to run alone at the end."""
    kept = _board.board()

    def seconds(name: str) -> float:
        one = kept.get(name, {})
        return float(one.get("seconds", 0)) / float(one.get("factory", {}).get("share", 1))

    return sorted(names, key=seconds, reverse=True)
