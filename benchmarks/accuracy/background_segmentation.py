"""Environments of pictures whose place is plain to see."""

from __future__ import annotations

from collections.abc import Iterator

from actors.background_segmentation import Background
from benchmarks.accuracy import Bench, Figure, Row
from benchmarks.accuracy._figures import share_figure

PLACES = (
    ("still/bus.jpg", "street"),
    ("still/rf_crowd.jpg", "street"),
    ("still/rf_license_plate.jpg", "street"),
    ("video/laptop_desk.mp4", "indoor"),
)


#: Which fields the figures are errors of.
FIELDS = {("place right", "all"): ("environment",)}


def figures(bench: Bench) -> Iterator[Figure]:
    right = [(seen(bench, file).environment == place, 1) for file, place in PLACES]
    yield share_figure(
        "place right", "environment", "all", right, clips="real", unit="pictures and clips"
    )


def seen(bench: Bench, file: str) -> Background:
    """What is said of a file."""
    path = bench.still(file) if file.startswith("still/") else bench.file(file)
    found: Background = bench.output("background_segmentation", path)
    return found


def rows(bench: Bench) -> Iterator[Row]:
    for file, place in PLACES:
        found = seen(bench, file)
        yield Row(file, f"{place}, by eye", found.headline(), found.environment == place)
