"""The factory of clips: what is kept, what is made again, and which share of it is taken."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import factory
from benchmarks.accuracy import interval
from benchmarks.factory import Recipe, transitions
from benchmarks.factory import __main__ as command
from benchmarks.factory.__main__ import main


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """A family whose clips are a line of text, in a folder of the test's own."""
    calls: list[str] = []

    def make(recipe, path):
        calls.append(recipe.name)
        path.write_text(f"seed {recipe.seed}")
        if recipe.kind == "broken":
            raise RuntimeError("this one cannot be made")
        return {"seed": recipe.seed}

    def recipes(edition):
        return [Recipe("lines", f"kind {k % 4}", "plain", 100 * edition + k) for k in range(40)]

    made = SimpleNamespace(VERSION=1, recipes=recipes, make=make, calls=calls)
    for module in (factory, command):
        monkeypatch.setattr(module, "families", lambda: {"lines": made})
    monkeypatch.setenv(factory.FOLDER, str(tmp_path))
    return made


def test_a_clip_is_made_once_and_kept_with_its_truth(family, tmp_path):
    recipe = Recipe("lines", "any", "plain", 3)
    first, second = factory.made(recipe), factory.made(recipe)
    assert family.calls == ["lines/any/plain/3"]
    assert first == second
    assert (first.path.read_text(), first.truth) == ("seed 3", {"seed": 3})
    told = json.loads(first.path.with_suffix(".json").read_text())
    assert told["recipe"]["kind"] == "any"
    assert sorted(p.suffix for p in (tmp_path / "lines").iterdir()) == [".json", ".mp4"]


def test_another_recipe_or_version_is_another_clip(family, monkeypatch):
    one = Recipe("lines", "any", "plain", 3, {"speed": 1.0})
    other = Recipe("lines", "any", "plain", 3, {"speed": 2.0})
    assert one.digest() != other.digest()
    before = one.digest()
    family.VERSION = 2
    assert one.digest() != before
    family.VERSION = 1
    assert one.digest() == before
    monkeypatch.setattr(factory, "VERSION", factory.VERSION + 1)
    assert one.digest() != before


@pytest.mark.usefixtures("family")
def test_a_clip_that_cannot_be_made_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError):
        factory.made(Recipe("lines", "broken", "plain", 0))
    assert list((tmp_path / "lines").iterdir()) == []


def test_a_clip_without_its_truth_is_made_again(family):
    clip = factory.made(Recipe("lines", "any", "plain", 3))
    clip.path.with_suffix(".json").unlink()
    assert factory.made(clip.recipe).truth == {"seed": 3}
    assert len(family.calls) == 2


@pytest.mark.usefixtures("family")
def test_a_share_is_the_same_each_time_and_of_all_kinds():
    some = factory.recipes("lines", share=0.25)
    assert len(some) == 10
    assert some == factory.recipes("lines", share=0.25)
    assert {recipe.kind for recipe in some} == {f"kind {k}" for k in range(4)}
    assert len(factory.recipes("lines", share=0.001)) == 1
    assert [r.seed for r in factory.recipes("lines", edition=0)] == list(range(40))


def test_the_command_lists_and_makes(family, capsys):
    assert main(["lines", "--list", "--share", "0.1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert family.calls == []
    assert main(["lines", "--share", "0.1", "--edition", "0"]) == 0
    assert "lines: 4 clips" in capsys.readouterr().out
    assert len(family.calls) == 4
    for wrong in (["nothing"], ["--share", "0"], ["--share", "two"]):
        with pytest.raises(SystemExit):
            main(wrong)


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(100):
        low, high = interval(rng.normal(3.0, 1.0, 60))
        held += low <= 3.0 <= high
    assert held >= 85


def test_clips_that_are_all_right_leave_a_doubt():
    assert interval(np.ones(30), bounds=(0, 1)) == (pytest.approx(0.9), 1.0)
    assert interval(np.zeros(30), bounds=(0, 1)) == (0.0, pytest.approx(0.1))
    assert interval(np.full(30, 0.5), bounds=(0, 1)) == (0.5, 0.5)


def test_recipes_of_transitions_are_many_of_each_kind_and_other_ones_in_each_edition():
    one, two = (list(transitions.recipes(edition)) for edition in (0, 1))
    assert len(one) == len(two) >= 160
    assert {r.kind for r in one} == {*transitions.KINDS, *transitions.NONE}
    assert len({r.name for r in one}) == len(one)
    assert not {r.seed for r in one} & {r.seed for r in two}


def test_a_clip_of_cuts_shows_them_where_its_truth_says(tmp_path):
    import av

    recipe = Recipe("transitions", "cut", "plain", 5, {"size": [64, 114], "fps": 30.0})
    truth = transitions.make(recipe, tmp_path / "a.mp4")
    again = transitions.make(recipe, tmp_path / "b.mp4")
    assert again == truth
    with av.open(str(tmp_path / "a.mp4")) as container:
        pictures = [f.to_ndarray(format="gray").astype(float) for f in container.decode(video=0)]
    assert len(pictures) / 30 == pytest.approx(truth["duration"])
    change = [np.abs(b - a).mean() for a, b in itertools.pairwise(pictures)]
    cuts = [round(one["start"] * 30) for one in truth["transitions"]]
    assert len(cuts) >= 4
    largest = sorted(int(k) + 1 for k in np.argsort(change)[-len(cuts) :])
    assert largest == cuts


@pytest.mark.parametrize(
    ("style", "left_half"), [("right", 1), ("left", 0), ("push right", 1), ("reveal left", 0)]
)
def test_borders_go_where_they_say(style, left_half):
    old, new = np.full((20, 30, 3), 40, np.uint8), np.full((20, 30, 3), 200, np.uint8)
    kind = "slide" if " " in style else "wipe"
    change = transitions.Change(kind, style, 0.0, 1.0)
    seen = transitions._mixed(old, new, change, 0.5)
    assert seen[:, :14].mean() == (200 if left_half else 40)
    assert seen[:, 16:].mean() == (40 if left_half else 200)
