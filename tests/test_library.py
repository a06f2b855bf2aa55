"""The Python API, over child processes."""

import ast
import asyncio
import time
from pathlib import Path

import psutil
import pytest

import tiktok_ray
from actors.audio_analysis import Sound
from actors.cut_analysis import Cuts
from tiktok_ray import (
    GraphError,
    InputError,
    NoReport,
    Report,
    Settings,
    aanalyze,
    analyze,
    analyze_many,
)
from tiktok_ray.library import _settings

ONLY = ("cut_analysis", "audio_analysis")


@pytest.fixture
def quick(settings):
    return settings.model_copy(update={"workers": "threads"})


def test_what_is_exported_is_there_and_explained():
    package = Path(tiktok_ray.__file__)
    for name in tiktok_ray.__all__:
        found = getattr(tiktok_ray, name)
        assert name == "__version__" or found.__doc__, name
    assert sorted({*tiktok_ray._PLACES, "__version__"}) == sorted(tiktok_ray.__all__)
    seen_by_type_checkers = {
        alias.asname
        for node in ast.walk(ast.parse(package.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("tiktok_ray.")
        for alias in node.names
    }
    assert seen_by_type_checkers == set(tiktok_ray._PLACES)
    assert (package.parent / "py.typed").is_file()
    assert set(tiktok_ray.__all__) <= set(dir(tiktok_ray))
    with pytest.raises(ImportError, match="nonsense"):
        exec("from tiktok_ray import nonsense")


@pytest.mark.slow
def test_one_video_gives_a_typed_report(clip, quick, tmp_path):
    seen = []
    report = analyze(clip, only=ONLY, settings=quick, listen=seen.append)
    cuts = report.output(Cuts)
    assert [t.start for t in cuts.transitions] == [pytest.approx(1.0, abs=0.001)]
    assert report.output(Sound).integrated_lufs == pytest.approx(-23, abs=3)
    assert report.summary.measured == 2
    assert report.run.workers == "threads"
    assert {p.name for p in seen if p.state == "ok"} == set(ONLY)
    again = Report.load(report.save(tmp_path))
    assert again.remarks == ()
    assert again.plain() == report.plain()
    assert len(again.output(Cuts).shots) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_what_is_known_is_not_computed_again(clip, quick):
    cuts = analyze(clip, only=ONLY, settings=quick).output(Cuts)
    known = analyze(clip, only=ONLY, settings=quick)
    assert known.analyzers["cut_analysis"].cached
    assert known.output(Cuts) == cuts
    fresh = analyze(clip, only=ONLY[:1], settings=quick, cached=False)
    assert fresh.analyzers["cut_analysis"].cached is None


@pytest.mark.usefixtures("in_this_process")
async def test_in_a_running_loop_both_work(clip, quick):
    """As in a notebook, where ``analyze`` runs in a loop beside it."""
    first = await aanalyze(clip, only=ONLY[:1], settings=quick)
    second = analyze(clip, only=ONLY[:1], settings=quick)
    assert first.output(Cuts) == second.output(Cuts)


@pytest.mark.usefixtures("in_this_process")
def test_many_videos_end_each_for_itself(clip, quick, tmp_path):
    (tmp_path / "words.mp4").write_text("words")
    sources = [clip, tmp_path / "nowhere.mp4", tmp_path / "words.mp4", str(clip)]
    ended = list(analyze_many(sources, only=ONLY[:1], in_flight=2, settings=quick))
    errors = {Path(one.source).name: one.error.type for one in ended if one.error}
    assert errors == {"nowhere.mp4": "not_found", "words.mp4": "not_video"}
    reports = [one.report for one in ended if one.report]
    assert [len(report.output(Cuts).shots) for report in reports] == [2, 2]


def children():
    return set(psutil.Process().children(recursive=True))


@pytest.mark.slow
def test_workers_end_with_an_iteration_that_is_left(clip, quick):
    before = children()
    for one in analyze_many([clip] * 50, only=ONLY[:1], in_flight=1, settings=quick):
        assert one.report
        assert children() > before
        break
    while children() - before:
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"only": ["cut_anlysis"]}, GraphError, "did you mean cut_analysis"),
        ({"options": {"cut_analysis": {"nope": 1}}}, GraphError, "options of cut_analysis"),
        ({"workers": "elves"}, ValueError, "'ray'"),
    ],
)
def test_what_does_not_fit_is_said_before_any_work(clip, quick, monkeypatch, more, error, words):
    def refuse(*_, **__):
        raise AssertionError("a process was started")

    monkeypatch.setattr("tiktok_ray.run.processes._spawn", refuse)
    with pytest.raises(error, match=words):
        analyze(clip, settings=quick, **more)
    with pytest.raises(error, match=words):
        analyze_many([clip], settings=quick, **more)


def test_a_video_that_is_none_is_a_typed_error(tmp_path, quick):
    with pytest.raises(InputError) as raised:
        analyze(tmp_path / "nowhere.mp4", settings=quick)
    assert raised.value.type == "not_found"
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(NoReport, match=r"x\.json: this is not a report"):
        Report.load(tmp_path / "x.json")


def test_options_are_laid_over_those_of_the_settings(quick):
    base = quick.model_copy(update={"options": {"audio_analysis": {"silence_lufs": -40.0}}})
    made = _settings(base, {"audio_analysis": {"silence_min_s": 1.0}}, None, None)
    assert made.options == {"audio_analysis": {"silence_lufs": -40.0, "silence_min_s": 1.0}}
    assert (made.home, made.cores) == (base.home, base.cores)
    assert _settings(base, None, None, None) is base


def test_an_address_leads_to_that_ray(settings, monkeypatch):
    import ray

    from tiktok_ray.compose import make_graph, make_workers
    from tiktok_ray.run.ray_actors import open_ray

    asked = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", lambda **given: asked.append(given["address"]))
    made = _settings(settings, None, None, "127.0.0.1:6379")
    assert isinstance(made, Settings)
    assert make_workers(make_graph(), made, single=True).kind == "ray"
    open_ray(made)
    assert asked == ["127.0.0.1:6379"]


async def test_cancelling_leaves_nothing(clip, quick):
    before = children()
    begun = asyncio.Event()
    task = asyncio.create_task(
        aanalyze(clip, settings=quick, listen=lambda _: begun.set(), cached=False)
    )
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() <= before
