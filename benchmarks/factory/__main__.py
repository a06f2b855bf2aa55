"""Make clips whose truth is known, or list them: ``python -m benchmarks.factory [FAMILY …]``."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from benchmarks.factory import REPORTED, Unmakeable, families, folder, made, recipes


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.factory", description=__doc__)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="all where left out")
    parser.add_argument("--share", type=share, default=1.0, help="how many of the clips, 0..1")
    parser.add_argument("--edition", type=int, default=REPORTED, help="which seeds")
    parser.add_argument("--list", action="store_true", help="list the recipes and make nothing")
    chosen = parser.parse_args(arguments)
    known = families()
    if unknown := set(chosen.families) - set(known):
        parser.error(f"no family {', '.join(sorted(unknown))}; available: {', '.join(known)}")
    for name in chosen.families or known:
        found = recipes(name, chosen.edition, chosen.share)
        if chosen.list:
            for recipe in found:
                print(recipe.digest(), recipe.name)
            continue
        start = time.perf_counter()
        size = 0
        lacking: dict[str, None] = {}
        for recipe in found:
            try:
                size += made(recipe).path.stat().st_size
            except Unmakeable as error:
                lacking[str(error)] = None
        seconds = time.perf_counter() - start
        print(f"{name}: {len(found)} clips, {size / 2**20:.0f} MiB, {seconds:.0f} s")
        for kind, count in Counter(recipe.kind for recipe in found).items():
            print(f"  {kind}: {count}")
        for reason in lacking:
            print(f"  not made: {reason}")
    if not chosen.list:
        print(f"in {folder()}")
    return 0


def share(text: str) -> float:
    """A share, more than 0 and at most 1. Raises ``ArgumentTypeError``."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share: more than 0 and at most 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
