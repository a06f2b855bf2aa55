"""An analyzer that another package brings: the one of examples/, installed beside ours."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import scene
from tiktok_ray import catalog
from tiktok_ray.analyzer import Analyzer
from tiktok_ray.graph import GraphError
from tiktok_ray.media.writer import write_clip

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "examples" / "plug_in"
BUILD = "import sys, setuptools.build_meta as b; print(b.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package installed in it, as from its wheel."""
    folder = tmp_path_factory.mktemp("plug_in")
    source = folder / "source"
    source.mkdir()
    for file in SOURCE.iterdir():
        if file.is_file():
            (source / file.name).write_bytes(file.read_bytes())
    words = [sys.executable, "-c", BUILD, str(folder)]
    subprocess.run(words, cwd=source, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


#: Commands one after the other in one process, each with what it said.
COMMANDS = """
import json, sys
from typer.testing import CliRunner
from tiktok_ray.cli import app
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    print(json.dumps(done.stdout))
"""


@pytest.fixture(scope="module")
def run(installed, tmp_path_factory):
    """Runs commands in a process in which the package is found; returns what each said."""
    home = tmp_path_factory.mktemp("home")

    def commands(*many):
        words = json.dumps([[str(word) for word in words] for words in many])
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, words],
            capture_output=True,
            text=True,
            cwd=home,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(installed)]),
                "TIKTOK_RAY_HOME": str(home / "home"),
                "TIKTOK_RAY_WORKERS": "threads",
            },
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return [json.loads(line) for line in done.stdout.splitlines()]

    return commands


@pytest.fixture(scope="module")
def still_clip(tmp_path_factory):
    """A second that stands still, and one that moves."""
    picture = scene(1)
    moving = [np.roll(picture, 4 * k, axis=1) for k in range(1, 31)]
    path = tmp_path_factory.mktemp("clips") / "still.mp4"
    return write_clip(path, [picture] * 30 + moving, fps=30)


@pytest.mark.slow
def test_it_is_everywhere_where_ours_are(run, still_clip, tmp_path):
    words = ("analyze", still_clip, "--only", "stillness", "--json", "--html", "--out", tmp_path)
    changed = (*words[:-1], tmp_path / "b", "--set", "stillness.min_s=1.5")
    first, again, longer, listed, form, page_of_all, forms = run(
        words,
        words,
        changed,
        ("analyzers", "--json"),
        ("schema", "stillness"),
        ("schema", "--markdown"),
        ("schema",),
    )
    report = json.loads(first)
    section = report["analyzers"]["stillness"]
    assert section["status"] == "ok"
    [stretch] = section["output"]["stretches"]
    assert stretch["start"] == 0
    assert stretch["end"] == pytest.approx(1.0, abs=0.07)
    assert [e["end"] for e in report["timeline"] if e["analyzer"] == "stillness"] == [
        stretch["end"]
    ]
    assert report["summary"]["found"]["stillness"] == "still for 50% of the time"
    assert len(report["analyzers"]) == 20
    assert json.loads(again)["analyzers"]["stillness"]["cached"]
    [page] = tmp_path.glob("*.html")
    lane = '{"analyzer":"stillness","title":"Stillness","hue":200}'
    assert lane in page.read_text(encoding="utf-8")
    row = next(r for r in json.loads(listed) if r["analyzer"] == "stillness")
    assert row["finds"] == "Time spans in which the video stands still."
    assert json.loads(form)["properties"]["share"]["range"] == "0..1"
    assert "## stillness" in page_of_all
    assert "stillness.Stills" in json.loads(forms)["$defs"]
    assert json.loads(longer)["analyzers"]["stillness"]["output"]["stretches"] == []


@pytest.mark.slow
def test_it_is_in_the_dataset_of_a_batch(run, still_clip, tmp_path):
    out = tmp_path / "out"
    run(("batch", still_clip.parent, "--out", out, "--only", "stillness"))
    [part] = (out / "dataset/analyzers").glob("*.parquet")
    row = next(r for r in pq.read_table(part).to_pylist() if r["analyzer"] == "stillness")
    assert dict(row["figures"])["share"] == pytest.approx(0.5, abs=0.04)


class Entry:
    """An entry point, as an installed package has it."""

    dist = None

    def __init__(self, name, found):
        self.name, self.value, self.found = name, f"somewhere:{name}", found

    def load(self):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class CutAnalysis(Analyzer):
    name = "cut_analysis"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (Entry("new", ImportError("no module x")), "new .* cannot be imported: .*no module x"),
        (Entry("new", dict), "new .* is not an analyzer"),
        (Entry("new", CutAnalysis), "must have the same name"),
        (Entry("cut_analysis", CutAnalysis), "an analyzer named cut_analysis already exists"),
    ],
)
def test_one_that_cannot_be_had_is_named(monkeypatch, entry, words):
    monkeypatch.setattr(catalog, "entry_points", lambda group: [entry])
    with pytest.raises(GraphError, match=words):
        catalog.make_graph()


def test_its_digest_covers_its_own_package(tmp_path):
    from tiktok_ray.graph import code_digest

    (tmp_path / "bring").mkdir()
    for name, text in {
        "__init__": "",
        "one": "from bring import two\nimport numpy",
        "two": "from .three import x",
        "three": "x = 1",
        "four": "y = 1",
    }.items():
        (tmp_path / "bring" / f"{name}.py").write_text(text)
    before = code_digest(tmp_path / "bring/one.py")
    (tmp_path / "bring/four.py").write_text("y = 2")
    assert code_digest(tmp_path / "bring/one.py") == before
    (tmp_path / "bring/three.py").write_text("x = 2 ")
    assert code_digest(tmp_path / "bring/one.py") != before
