"""The notebooks of examples/ run from top to bottom, and say what they are about."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

BOOKS = Path(__file__).parents[1] / "examples"


def executed(name, folder, monkeypatch):
    """What a notebook prints, run in a folder of its own by a fresh kernel."""
    monkeypatch.setenv("TIKTOK_RAY_HOME", str(folder / "home"))
    monkeypatch.setenv("TIKTOK_RAY_WORKERS", "threads")
    monkeypatch.setenv("PYTHONPATH", str(BOOKS.parent))
    book = nbformat.read(BOOKS / f"{name}.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in book.cells), "kept without outputs"
    client = NotebookClient(book, timeout=280, resources={"metadata": {"path": str(folder)}})
    client.execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    return "".join(o.get("text", "") for o in outputs)


@pytest.mark.slow
def test_the_notebook_over_a_report(tmp_path, monkeypatch):
    said = executed("report", tmp_path, monkeypatch)
    assert "Pace." in said
    assert "shot 0:  0.00" in said
    assert "READY FOR LAUNCH" in said
    assert len(list((tmp_path / "results").glob("*.json"))) == 1


@pytest.mark.slow
def test_the_notebook_over_a_dataset(tmp_path, monkeypatch):
    said = executed("dataset", tmp_path, monkeypatch)
    assert "audio_analysis   skipped" in said
    assert "four_shots.mp4: 45 cuts a minute, median shot 1.00 s" in said
    assert "cut      cut_analysis     3" in said
    assert "one_shot.mp4 [2.0]" in said


def test_no_other_example_is_left_untried():
    assert {book.stem for book in BOOKS.glob("*.ipynb")} == {"report", "dataset"}
