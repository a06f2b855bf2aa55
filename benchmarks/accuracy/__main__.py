"""How right each analyzer is, with how much of it is known: ``python -m benchmarks.accuracy``."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from actors import NAMES
from benchmarks.accuracy import Absent, Bench, Figure, Row, _board, tables
from benchmarks.accuracy._figures import NOTHING
from benchmarks.accuracy._tables import figures_markdown, markdown
from benchmarks.factory import REPORTED
from benchmarks.factory.__main__ import share

LIBRARIES = ("tiktok-ray", "av", "numpy", "opencv-python-headless", "scenedetect")


@dataclass
class Measured:
    """What was measured of one analyzer, and why not more."""

    figures: list[Figure] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)
    by_file: dict[str, float] = field(default_factory=dict)  # seconds of the analyzer
    seconds: float = 0.0  # all that it took: clips made, peers asked

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
    """The figures of one analyzer, and where ``singly`` its rows; what is absent is named."""
    start = time.perf_counter()
    out = _measured(name, bench, singly)
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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="analyzers; all where left out")
    parser.add_argument("--share", type=share, default=1.0, help="share of made clips, 0..1")
    parser.add_argument("--figures", action="store_true", help="figures only, no single rows")
    parser.add_argument("--edition", type=int, default=REPORTED, help="seeds of made clips")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N",
        help="analyzers measured at once, a process each; all cores where left out",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON too")
    parser.add_argument("--keep", action="store_true", help="put what is measured in board.json")
    parser.add_argument(
        "--take",
        type=Path,
        nargs="+",
        metavar="FILE",
        default=[],
        help="measure nothing: put what other runs wrote with --json in board.json",
    )
    parser.add_argument(
        "--publish", action="store_true",
        help="measure nothing: make docs/accuracy.md and the errors of fields from board.json",
    )  # fmt: skip
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - set(NAMES):
        parser.error(f"no analyzer {', '.join(sorted(unknown))}; available: {', '.join(NAMES)}")
    for file in chosen.take:
        _board.keep(json.loads(file.read_text(encoding="utf-8")))
    if chosen.publish:
        _board.publish()
    if chosen.take or chosen.publish:
        return 0
    folders = [os.environ.get(name) for name in ("TIKTOK_RAY_TEST_MEDIA", "TIKTOK_RAY_MODELS")]
    if not folders[0]:
        parser.error("TIKTOK_RAY_TEST_MEDIA must name the folder of real clips")
    about = Asked(
        Path(folders[0]), Path(folders[1] or "models"),
        chosen.share, chosen.edition, singly=not chosen.figures,
    )  # fmt: skip
    names, start = chosen.names or list(NAMES), time.perf_counter()
    found: dict[str, Measured] = {}
    for name, measured in measurements(names, about, min(chosen.workers, len(names))):
        print(f"\n## {name}\n", flush=True)
        found[name] = measured
        show(measured)
        ordered = {name: found[name] for name in names if name in found}
        told = record(ordered, about, [*chosen.names, *["--figures"] * chosen.figures])
        if chosen.json:  # after each, so that a run cut short has not run in vain
            chosen.json.write_text(json.dumps(told, indent=1) + "\n")
    if chosen.keep:
        _board.keep(told)
    took = sum(one.seconds for one in found.values())
    print(f"\n{(time.perf_counter() - start) / 60:.1f} minutes; one by one {took / 60:.1f}")
    return 0


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


def show(found: Measured) -> None:
    """Print what was measured of one analyzer."""
    spent = found.by_file
    if found.figures:
        print(figures_markdown(found.figures), end="\n\n")
    if found.rows:
        print(markdown(found.rows), end="\n\n")
    if told := found.told():
        print(f"{sum(told)} of {len(told)} hold.")
    for reason in found.missing:
        print(f"Not measured{' further' if told else ''}: {reason}.")
    if len(spent) > 20:
        print(f"\nSeconds: {sum(spent.values()):.1f} for {len(spent)} files")
    elif spent:
        print("\nSeconds: " + ", ".join(f"{file} {s:.1f}" for file, s in spent.items()))


def record(found: Mapping[str, Measured], about: Asked, arguments: list[str]) -> dict[str, Any]:
    """All figures with the date, the versions, the weights and the clips they were measured on."""
    command = ["python -m benchmarks.accuracy", *arguments]
    command += [f"--share {about.share:g}"] if about.share != 1 else []
    command += [f"--edition {about.edition}"] if about.edition != REPORTED else []
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(command),
        "weights": {name: one.weights for name, one in found.items()},
        "versions": {"python": platform.python_version(), **{n: version(n) for n in LIBRARIES}},
        "factory": {"edition": about.edition, "share": about.share},
        "analyzers": {name: one.as_json() for name, one in found.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
