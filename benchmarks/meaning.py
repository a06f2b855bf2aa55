"""How long exact search by meaning takes: ``python -m benchmarks.meaning``.

Vectors of 512 signed bytes, as CLIP ViT-B/32 gives them, at random, 90 to a video of 15 shots, in an
index on disk. Each search reads them all. Printed are the medians of nine searches for the best 20.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from tiktok_ray.serve.search_index import Finder

WIDTH, EACH, SHOTS, TIMES = 512, 90, 15, 9
CHECKPOINT = "random@0"


def filled(folder: Path, count: int) -> Finder:
    """An index of so many vectors, of reports that need not be there."""
    finder = Finder(folder, lambda _: {})
    finder._sync = lambda: None  # type: ignore[method-assign]
    random = np.random.default_rng(0)
    places = [(4.0 * (k * SHOTS // EACH), 4.0 * (k * SHOTS // EACH + 1), float(k))
              for k in range(EACH)]  # fmt: skip
    with finder._change() as db:
        for number in range(-(-count // EACH)):
            size = min(EACH, count - number * EACH)
            vectors = random.integers(-127, 128, (size, WIDTH), np.int8).tobytes()
            row = (f"{number:08x}", 0.0, CHECKPOINT, json.dumps(places[:size]), vectors)
            db.execute("INSERT INTO indexed VALUES (?, ?, ?, ?)", (row[0], 0.0, row[0], None))
            db.execute("INSERT INTO pictured VALUES (?, ?, ?, ?, ?)", row)
    return finder


def main() -> None:
    """Print a line for each size."""
    query = np.random.default_rng(1).normal(size=WIDTH).tolist()
    for count in (10_000, 100_000):
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.closing(filled(Path(folder), count)) as finder,
        ):
            took, worked = [], []
            for _ in range(TIMES):
                begin, cpu = time.perf_counter(), time.process_time()
                finder.like(query, CHECKPOINT)
                took.append(time.perf_counter() - begin)
                worked.append(time.process_time() - cpu)
        print(
            f"{count} vectors: {1000 * statistics.median(took):.0f} ms,"
            f" {1000 * statistics.median(worked):.0f} ms of a core"
        )


if __name__ == "__main__":
    main()
