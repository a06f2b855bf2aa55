import subprocess
import sys

import pytest

from tests import fakes
from tiktok_ray.analyzer import Analyzer
from tiktok_ray.graph import Graph, GraphError
from tiktok_ray.media import Audio, Frames


def test_order_edges_and_tracks_follow_from_signatures():
    graph = Graph([fakes.Needy, fakes.Softly, fakes.Plain, fakes.Listener])
    assert graph.order.index("plain") < graph.order.index("needy")
    assert [(e.source, e.soft) for e in graph.edges["softly"]] == [("plain", True)]
    assert graph.tracks(["plain", "listener"]) == {"thumbs", "audio"}
    assert graph.urgency["plain"] == 2.0


def test_selection_takes_in_hard_producers_only():
    graph = Graph([fakes.Needy, fakes.Softly, fakes.Plain])
    assert graph.select(only=["needy"]) == ("plain", "needy")
    assert graph.select(only=["softly"]) == ("softly",)
    assert set(graph.select(without=["plain"])) == {"softly", "needy"}
    with pytest.raises(GraphError, match="needy cannot run without plain"):
        graph.select(only=["needy"], without=["plain"])
    with pytest.raises(GraphError, match="unknown analyzer 'plian'.*plain"):
        graph.select(only=["plian"])


class Typo(Analyzer):
    name = "typo"

    def analyze(self, thumsb: Frames) -> fakes.Count: ...


class WrongTrack(Analyzer):
    name = "wrong_track"

    def analyze(self, frames: Audio) -> fakes.Count: ...


class WrongOutput(Analyzer):
    name = "wrong_output"

    def analyze(self, plain: fakes.Sum) -> fakes.Count: ...


class NoReturn(Analyzer):
    name = "no_return"

    def analyze(self, thumbs: Frames): ...


class Left(Analyzer):
    name = "left"

    def analyze(self, right: fakes.Count) -> fakes.Sum: ...


class Right(Analyzer):
    name = "right"

    def analyze(self, left: fakes.Sum | None) -> fakes.Count: ...


@pytest.mark.parametrize(
    ("analyzers", "words"),
    [
        ([Typo], "Typo.analyze.thumsb.: no media track or analyzer has this name"),
        ([WrongTrack], "must be annotated Frames"),
        ([WrongOutput, fakes.Plain], "must be annotated Count"),
        ([NoReturn], "must return one Output type"),
        ([Left, Right], "depend on each other"),
    ],
)
def test_what_does_not_fit_is_refused(analyzers, words):
    with pytest.raises(GraphError, match=words):
        Graph(analyzers)


def test_the_real_graph_is_sound_and_its_import_is_light():
    code = (
        "import sys, actors; from tiktok_ray.graph import Graph; Graph(actors.ANALYZERS);"
        "heavy = {'ray', 'torch', 'transformers', 'cv2', 'librosa', 'mediapipe', 'ultralytics'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_nineteen_names_are_there_once():
    import actors

    built = [a.name for a in actors.ANALYZERS]
    assert len(actors.NAMES) == len(set(actors.NAMES)) == 19
    assert sorted(built) == sorted(actors.NAMES)


def test_a_digest_covers_what_an_analyzer_leads_to_and_nothing_else(tmp_path, monkeypatch):
    from tiktok_ray import graph

    (tmp_path / "own").mkdir()
    (tmp_path / "own/a.py").write_text("def f():\n    from own import b\n")
    (tmp_path / "own/b.py").write_text("import own.c\n")
    (tmp_path / "own/c.py").write_text("import numpy\n")
    (tmp_path / "own/d.py").write_text("x = 1\n")
    monkeypatch.setattr(graph, "ROOT", tmp_path)
    found = graph._sources(tmp_path / "own/a.py")
    assert {p.name for p in found} == {"a.py", "b.py", "c.py"}
    before = graph._digest(found)
    (tmp_path / "own/c.py").write_text("import scipy\n")
    assert graph._digest(found) != before


@pytest.mark.parametrize(
    "text",
    [
        "import own.b",
        "import numpy as np, own.b as b",
        "from own import (\n    a,  # nothing\n    b,\n)",
        "from . import b",
        "from .b import x",
        "x = 'import own.c'; from own.b import *",
        "if TYPE_CHECKING:\n    from own.b import x",
        "class A:\n    def f(self):\n        return [g() for _ in 'a'], lambda: __import__('os')\n"
        "    async def h(self):\n        from own import b",
    ],
)
def test_every_form_of_import_is_seen(tmp_path, monkeypatch, text):
    from tiktok_ray import graph

    (tmp_path / "own").mkdir()
    for name, content in {"__init__": "", "a": text, "b": "x = 1", "c": ""}.items():
        (tmp_path / f"own/{name}.py").write_text(content)
    monkeypatch.setattr(graph, "ROOT", tmp_path)
    found = {p.name for p in graph._sources(tmp_path / "own/a.py")}
    assert found - {"__init__.py"} == {"a.py", "b.py"}


def test_what_is_excluded_stays_so_beside_what_is_wanted():
    graph = Graph([fakes.Plain, fakes.Softly, fakes.Needy])
    assert graph.select(only=["softly", "plain"], without=["plain"]) == ("softly",)
    with pytest.raises(GraphError, match="nothing|no analyzer is left"):
        graph.select(only=["plain"], without=["plain"])
    with pytest.raises(GraphError, match="cannot run without plain"):
        graph.select(only=["needy"], without=["plain"])


def test_options_are_of_analyzers_that_there_are_and_take_them():
    graph = Graph([fakes.Behaved, fakes.Softly])
    graph.check_options({"plain": {"how": "skip"}})
    with pytest.raises(GraphError, match="did you mean plain"):
        graph.check_options({"plan": {"how": "skip"}})
    with pytest.raises(GraphError, match="invalid options of plain: hwo"):
        graph.check_options({"plain": {"hwo": "skip"}})
