"""Captions of the factory: their truth is what stands in the pictures."""

from itertools import pairwise

import av
import numpy as np
import pytest

from benchmarks.factory import Recipe, Unmakeable, captions


@pytest.fixture
def latin():
    """The font of most captions, which comes with the system or not at all."""
    try:
        captions._font("Latin", 20)
    except Unmakeable as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.usefixtures("latin")
def test_a_caption_stands_in_its_box_and_at_its_times(tmp_path):
    recipe = Recipe("captions", "Latin", "plain", 7)
    truth = captions.make(recipe, tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        pictures = [f.to_ndarray(format="rgb24").astype(int) for f in container.decode(video=0)]
    assert len(pictures) == round(truth["duration"] * truth["fps"])
    for one in truth["captions"]:
        x0, y0, x1, y1 = (round(v * s) for v, s in zip(one["box"], (360, 640) * 2, strict=True))
        first, last = (round(one[k] * truth["fps"]) for k in ("start", "end"))
        inside = [
            np.ptp(pictures[k][y0:y1, x0:x1].mean(2))
            for k in (first, (first + last) // 2, last - 1)
        ]
        assert min(inside) > 200  # white letters with black edges
        for edge in (first, last):
            change = np.abs(pictures[edge] - pictures[edge - 1]).mean(2)
            outside = np.ones(change.shape, bool)
            outside[y0:y1, x0:x1] = False
            assert change[y0:y1, x0:x1].mean() > 4 * change[outside].mean()


@pytest.mark.usefixtures("latin")
def test_word_by_word_shows_each_word_of_two_texts_in_order(tmp_path):
    recipe = Recipe("captions", "Latin", "word by word", 3)
    truth = captions.make(recipe, tmp_path / "clip.mp4")["captions"]
    said = " ".join(one["text"] for one in truth)
    assert any(said == f"{a} {b}" for a in captions.TEXTS["Latin"] for b in captions.TEXTS["Latin"])
    assert all(a["end"] == b["start"] for a, b in pairwise(truth))


def test_a_script_without_its_font_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(captions, "folders", lambda: [tmp_path])
    captions._font.cache_clear()
    with pytest.raises(Unmakeable, match=r"Thai need .* \(apt-get install fonts-noto-core\)"):
        captions.make(Recipe("captions", "Thai", "plain", 1), tmp_path / "clip.mp4")


def test_every_script_has_every_condition():
    made = {(r.kind, r.condition) for r in captions.recipes(1)}
    assert made == {(s, c) for s in captions.TEXTS for c in captions.CONDITIONS}
    assert len({r.name for r in captions.recipes(1)}) == len(list(captions.recipes(1)))
