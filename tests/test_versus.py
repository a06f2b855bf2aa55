"""What the comparison of two revisions says of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import versus
from benchmarks.versus import (
    TRIES,
    Cost,
    Difference,
    Revision,
    differences,
    measured,
    row,
    statuses,
    tried,
    uneven,
)


def event(
    start: float, end: float, label: str = "person", kind: str = "object"
) -> dict[str, object]:
    return {"start": start, "end": end, "label": label, "kind": kind, "analyzer": "it"}


def test_events_are_the_same_moved_gained_or_lost():
    old = {"timeline": [event(0, 1), event(2, 3), event(5, 6), event(7, 8, "cat")]}
    new = {"timeline": [event(0, 1.01), event(2.2, 3), event(9, 10), event(7, 8, "dog")]}
    assert differences(old, new) == [Difference("it: object", same=1, moved=1, gained=2, lost=2)]


def test_each_event_is_matched_with_the_nearest_and_once():
    old = {"timeline": [event(0, 1), event(0.5, 1.5)]}
    new = {"timeline": [event(0.5, 1.5)]}
    assert differences(old, new) == [Difference("it: object", same=1, moved=0, gained=0, lost=1)]


def test_kinds_are_told_apart():
    old = {"timeline": [event(0, 0, "cut", "cut")]}
    new = {"timeline": [event(0, 0, "cut", "fade")]}
    assert [d.what for d in differences(old, new)] == ["it: cut", "it: fade"]


def test_costs_are_those_of_the_process_and_its_children(tmp_path: Path):
    burn = "import time\nt = time.process_time()\nwhile time.process_time() - t < 0.3: pass"
    words = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print('done')"
    )
    cost, said = measured(["-c", words], {}, tmp_path)
    assert said == "done\n"
    assert cost.cpu_s >= 0.3
    assert cost.wall_s >= 0.3
    assert cost.gib > 0


def test_what_fails_says_so(tmp_path: Path):
    with pytest.raises(RuntimeError, match=r"ended with 3: .*no such luck"):
        measured(
            ["-c", "import sys; print('no such luck', file=sys.stderr); sys.exit(3)"], {}, tmp_path
        )


def test_a_run_that_fails_is_tried_again_and_then_given_up(tmp_path: Path, capsys):
    words = "open('runs', 'a').write('x'); import sys; sys.exit(len(open('runs').read()) < %d)"
    _, said = tried(["-c", words % 2 + "; print('never')"], {}, tmp_path)
    assert said == ""
    assert (tmp_path / "runs").read_text() == "xx"
    assert "tried again" in capsys.readouterr().err
    (tmp_path / "runs").unlink()
    with pytest.raises(RuntimeError, match="ended with 1"):
        tried(["-c", words % 99], {}, tmp_path)
    assert (tmp_path / "runs").read_text() == "x" * TRIES


def test_a_row_shows_medians_and_their_ratios():
    old = [Cost(40, 20, 1.0), Cost(44, 22, 1.2), Cost(60, 90, 1.1)]
    new = [Cost(22, 11, 0.55)] * 3
    assert (
        row("x", old, new) == "| x | 22.0 / 44.0 = 0.50 | 11.0 / 22.0 = 0.50 | 0.55 / 1.10 = 0.50 |"
    )


def report(**ends: str) -> dict[str, object]:
    """A report whose sections end in these ways, without events."""
    sections = {
        name: {"status": words.split()[0], "reason": words.partition(" ")[2] or None}
        for name, words in ends.items()
    }
    return {"analyzers": sections, "timeline": []}


def test_what_ended_otherwise_is_told_and_what_worked_in_one_alone_is_uneven():
    old = report(a="ok", b="failed no lap", c="ok", d="unavailable", e="failed", f="ok")
    new = report(a="ok", b="ok", c="partial no words", d="ok", e="failed")
    found = statuses(old, new)
    assert found == {
        "b": ("failed no lap", "ok"),
        "c": ("ok", "partial no words"),
        "d": ("unavailable", "ok"),
        "f": ("ok", "absent"),
    }
    assert uneven(found) == ["b", "d", "f"]


def test_costs_of_unequal_work_are_not_compared(tmp_path: Path, monkeypatch, capsys):
    ends = {"old": report(a="ok", b="failed no lap"), "now": report(a="ok", b="ok")}

    def cold(self, clip):
        worse = clip.name == "bad.mp4" and self.name == "old"
        return Cost(2.0, 1.0, 0.5), ends["old" if worse else "now"]

    monkeypatch.setattr(Revision, "cold", cold)
    clips = [tmp_path / "bad.mp4", tmp_path / "good.mp4"]
    versus.compare(Revision("old", tmp_path), Revision("now", tmp_path), clips, 1, False)
    lines = capsys.readouterr().out.splitlines()
    assert "| bad.mp4 | not compared: b ran in one alone | | |" in lines
    assert not any(line.startswith("| bad.mp4, cold") for line in lines)
    assert "| good.mp4, cold | 2.0 / 2.0 = 1.00 | 1.0 / 1.0 = 1.00 | 0.50 / 0.50 = 1.00 |" in lines
    assert "| bad.mp4 | `b` | failed no lap | ok |" in lines


def test_an_unknown_revision_is_an_error():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.versus", "no-such-revision", "x.mp4"],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
