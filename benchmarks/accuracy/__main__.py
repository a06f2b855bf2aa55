"""How right each analyzer is, with how much of it is known: ``python -m benchmarks.accuracy``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from actors import NAMES
from benchmarks.accuracy import _board
from benchmarks.accuracy._measuring import Asked, Measured, measurements
from benchmarks.accuracy._tables import figures_markdown, markdown
from benchmarks.factory import REPORTED
from benchmarks.factory.__main__ import share

LIBRARIES = ("tiktok-ray", "av", "numpy", "opencv-python-headless", "scenedetect")


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
        whole = {name for name, one in found.items() if not one.failed}
        ordered = {name: found[name] for name in names if name in whole}
        told = record(ordered, about, [*chosen.names, *["--figures"] * chosen.figures])
        if chosen.json:  # after each, so that a run cut short has not run in vain
            chosen.json.write_text(json.dumps(told, indent=1) + "\n")
    if chosen.keep:
        _board.keep(told)
    took = sum(one.seconds for one in found.values())
    print(f"\n{(time.perf_counter() - start) / 60:.1f} minutes; one by one {took / 60:.1f}")
    return int(any(one.failed for one in found.values()))


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
