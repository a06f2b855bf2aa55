"""A sample of the board, a twentieth of its clips: nothing is contradicted that must hold."""

import json
from pathlib import Path

import pytest

from actors import NAMES
from benchmarks.accuracy import Figure, tables
from benchmarks.accuracy.__main__ import main

pytestmark = pytest.mark.slow

SHARE = "0.05"
LEAST_CLIPS = 3  # whose bootstrap says something


def contradicted(figure: Figure) -> bool:
    """Whether what must hold lies beyond the whole interval: a few clips can show no less."""
    if figure.value is None or figure.n < LEAST_CLIPS:
        return False
    low = figure.value if figure.low is None else figure.low
    high = figure.value if figure.high is None else figure.high
    return (figure.least is not None and high < figure.least) or (
        figure.most is not None and low > figure.most
    )


def test_only_what_lies_beyond_the_interval_is_contradicted():
    figure = Figure("F1", "cuts", "all", "factory", 3, 0.9, 0.8, 0.98, least=0.97)
    assert not contradicted(figure)
    assert contradicted(figure._replace(high=0.96))
    assert contradicted(figure._replace(least=None, most=0.5))
    assert not contradicted(figure._replace(value=None))
    assert not contradicted(figure._replace(high=0.96, n=2))


@pytest.mark.timeout(900)  # cuts make their clips and ask the peers, too
@pytest.mark.parametrize("name", NAMES)
def test_a_sample_of_the_board(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_media: Path, real_models: Path
):
    monkeypatch.setenv("TIKTOK_RAY_TEST_MEDIA", str(real_media))
    monkeypatch.setenv("TIKTOK_RAY_MODELS", str(real_models))
    file = tmp_path / "board.json"
    assert main([name, "--share", SHARE, "--figures", "--json", str(file)]) == 0
    told = json.loads(file.read_text())["analyzers"][name]
    if told["not_measured"]:
        assert all(told["not_measured"])
    else:
        assert told["figures"] or tables()[name].figures is None
    figures = [Figure(**{k: v for k, v in f.items() if k != "holds"}) for f in told["figures"]]
    assert all(figure.value is not None or figure.reason for figure in figures)
    assert [figure for figure in figures if contradicted(figure)] == []
