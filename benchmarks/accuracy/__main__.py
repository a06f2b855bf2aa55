"""Print a table of truth and figure for each analyzer: ``python -m benchmarks.accuracy [NAME …]``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.accuracy import Absent, Bench, Row, tables

SIGNS = {True: "yes", False: "NO", None: ""}


def markdown(rows: Iterable[Row]) -> str:
    """Rows as a Markdown table."""
    cells = [("file", "truth", "figure", "holds")]
    cells += [(row.file, row.truth, row.figure, SIGNS[row.holds]) for row in rows]
    widths = [max(len(line[k]) for line in cells) for k in range(4)]
    lines = [
        f"| {' | '.join(cell.ljust(w) for cell, w in zip(line, widths, strict=True))} |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="analyzers; all where left out")
    chosen = parser.parse_args(arguments).names
    known = tables()
    if unknown := set(chosen) - set(known):
        parser.error(f"no table for {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    folders = [os.environ.get(name) for name in ("TIKTOK_RAY_TEST_MEDIA", "TIKTOK_RAY_MODELS")]
    if not folders[0]:
        parser.error("TIKTOK_RAY_TEST_MEDIA must name the folder of real clips")
    bench = Bench(Path(folders[0]), Path(folders[1] or "models"))
    for name in chosen or known:
        print(f"\n## {name}\n", flush=True)
        rows: list[Row] = []
        missing = ""
        try:
            for row in known[name](bench):
                rows.append(row)  # noqa: PERF402  (what came before an absence is kept)
        except Absent as reason:
            missing = f"\nNot measured further: {reason}."
        if rows:
            print(markdown(rows))
            told = [row.holds for row in rows if row.holds is not None]
            print(f"\n{sum(told)} of {len(told)} hold.")
        print(missing, end="\n" if missing else "")
        spent = {file: s for (who, file), s in bench.seconds.items() if who == name}
        if spent:
            print("\nSeconds: " + ", ".join(f"{file} {s:.1f}" for file, s in spent.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
