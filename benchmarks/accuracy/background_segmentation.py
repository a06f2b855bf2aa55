"""Environments of pictures whose place is plain to see."""

from __future__ import annotations

from collections.abc import Iterator

from actors.background_segmentation import Background
from benchmarks.accuracy import Bench, Row

PLACES = (
    ("still/bus.jpg", "street"),
    ("still/rf_crowd.jpg", "street"),
    ("still/rf_license_plate.jpg", "street"),
    ("video/laptop_desk.mp4", "indoor"),
)


def rows(bench: Bench) -> Iterator[Row]:
    for file, place in PLACES:
        path = bench.still(file) if file.startswith("still/") else bench.file(file)
        found: Background = bench.output("background_segmentation", path)
        yield Row(file, f"{place}, by eye", found.headline(), found.environment == place)
