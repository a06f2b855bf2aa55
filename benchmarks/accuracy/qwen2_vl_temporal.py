"""Descriptions of pictures whose subject is plain to see: whether they name it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.accuracy import Bench, Figure, Row
from benchmarks.accuracy._figures import share_figure

#: What is to be seen, by any of these words.
SUBJECTS = {
    "still/bus.jpg": ("bus",),
    "still/astronaut.png": ("astronaut", "spacesuit", "space suit"),
    "still/rf_license_plate.jpg": ("car", "cars", "traffic"),
    "still/two_people.jpg": ("two men", "two people", "man", "men"),
    "video/laptop_desk.mp4": ("laptop", "computer"),
}
#: Which fields the figures are errors of.
FIELDS = {("subject named", "all"): ("windows.raw", "windows.setting", "windows.action")}


def figures(bench: Bench) -> Iterator[Figure]:
    right = [(named(description(bench, file), words), 1) for file, words in SUBJECTS.items()]
    unit = "pictures and clips"
    yield share_figure("subject named", "descriptions", "all", right, clips="real", unit=unit)


def rows(bench: Bench) -> Iterator[Row]:
    for file, words in SUBJECTS.items():
        text = description(bench, file)
        yield Row(file, f"{words[0]}, by eye", text, named(text, words))


def description(bench: Bench, file: str) -> str:
    """All that is said of a file."""
    path = bench.still(file) if file.startswith("still/") else bench.file(file)
    found: Any = bench.output("qwen2_vl_temporal", path)
    return " ".join(window.raw for window in found.windows)


def named(text: str, words: tuple[str, ...]) -> bool:
    """Whether a description holds one of the words, as a whole one."""
    padded = f" {''.join(c if c.isalnum() else ' ' for c in text.lower())} "
    return any(f" {word} " in padded for word in words)
