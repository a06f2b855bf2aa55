"""What the report's module says of everything: exceptions in a line."""

import re
from pathlib import Path

import pytest

from tiktok_ray.report import said
from tiktok_ray.run.worker import failure

ROOT = Path(__file__).parent.parent


class Mute(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("no such thing"), "ValueError: no such thing"),
        (TimeoutError(), "TimeoutError: no message"),
        (Mute(), "Mute: its message is unreadable"),
        (OSError(2, "gone"), "FileNotFoundError: [Errno 2] gone"),
        (ValueError("x" * 600), "ValueError: " + "x" * 488),
    ],
)
def test_an_exception_in_a_line(error, line):
    assert said(error) == line
    assert failure(error, "load: ").reason == f"load: {line}"


def test_memory_that_ran_out_is_seen_behind_a_long_message():
    assert failure(RuntimeError("x" * 600 + " CUDA out of memory"), "").exhausted
    assert not failure(Mute(), "").exhausted


def test_nothing_else_puts_an_exception_into_a_line():
    files = [
        f
        for folder in ("tiktok_ray", "actors", "benchmarks")
        for f in ROOT.glob(f"{folder}/**/*.py")
    ]
    own = re.compile(r"__name__\}: \{(error|e|exc)\}")
    assert len(files) > 100
    assert [str(f) for f in files if own.search(f.read_text())] == []
