"""How right each analyzer is, with how much of it is known: ``python -m benchmarks.accuracy``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

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

    def told(self) -> list[bool]:
        """Each answer to whether something holds."""
        answers = [figure.holds for figure in self.figures] + [row.holds for row in self.rows]
        return [holds for holds in answers if holds is not None]

    def as_json(self) -> dict[str, Any]:
        return {
            "figures": [{**figure._asdict(), "holds": figure.holds} for figure in self.figures],
            "rows": [row._asdict() for row in self.rows],
            "not_measured": self.missing,
        }


def measure(name: str, bench: Bench, singly: bool = True) -> Measured:
    """The figures of one analyzer, and where ``singly`` its rows; what is absent is named."""
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
    bench = Bench(
        Path(folders[0]), Path(folders[1] or "models"), share=chosen.share, edition=chosen.edition
    )
    found: dict[str, Measured] = {}
    for name in chosen.names or NAMES:
        print(f"\n## {name}\n", flush=True)
        found[name] = measure(name, bench, singly=not chosen.figures)
        show(found[name], {file: s for (who, file), s in bench.seconds.items() if who == name})
        told = record(found, bench, [*chosen.names, *["--figures"] * chosen.figures])
        if chosen.json:  # after each, so that a run cut short has not run in vain
            chosen.json.write_text(json.dumps(told, indent=1) + "\n")
    if chosen.keep:
        _board.keep(told)
    return 0


def show(found: Measured, spent: dict[str, float]) -> None:
    """Print what was measured of one analyzer."""
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


def record(found: dict[str, Measured], bench: Bench, asked: list[str]) -> dict[str, Any]:
    """All figures with the date, the versions, the weights and the clips they were measured on."""
    command = ["python -m benchmarks.accuracy", *asked]
    command += [f"--share {bench.share:g}"] if bench.share != 1 else []
    command += [f"--edition {bench.edition}"] if bench.edition != REPORTED else []
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(command),
        "weights": bench.weights,
        "versions": {"python": platform.python_version(), **{n: version(n) for n in LIBRARIES}},
        "factory": {"edition": bench.edition, "share": bench.share},
        "analyzers": {name: one.as_json() for name, one in found.items()},
    }


if __name__ == "__main__":
    sys.exit(main())
