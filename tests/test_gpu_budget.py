"""The benchmark of memory and time: its table of jobs against the analyzers, its figures."""

import json
from pathlib import Path

import numpy as np
import pytest

import actors
from benchmarks import gpu_budget as budget
from tiktok_ray.graph import Graph
from tiktok_ray.run.placement import Card, plan
from tiktok_ray.settings import Settings


@pytest.mark.parametrize("job", budget.JOBS, ids=lambda job: job.variant)
def test_every_job_is_a_variant_of_an_analyzer(job):
    vram = budget.variant_of(job).vram
    assert (vram is None) == (job.variant == "qwen2-vl-2b-cpu")
    assert budget.assigned(job, Path("x"), "cuda", 0.5).vram_gib > sum(vram or ())
    assert budget.assigned(job, Path("x"), "cpu", 0.0).vram_gib == 0.0


def test_what_the_planner_puts_on_a_card_is_built_or_said_not_to_be():
    made = plan(actors.ANALYZERS, Settings(), cards=[Card(0, 16.0)], assume_weights=True)
    on_card = {name for name, a in made.assignments.items() if a.device == "cuda"}
    built = {job.analyzer for job in budget.resident()}
    assert on_card - built <= set(budget.NOT_BUILT)
    assert "qwen2_vl_temporal" in built


def test_the_clip_is_what_it_is_said_to_be():
    kinds = {a.name: a for a in actors.ANALYZERS}
    edges = Graph(actors.ANALYZERS).edges
    for name in {job.analyzer for job in budget.JOBS}:
        inputs = budget.inputs_of(kinds[name])
        assert set(inputs) == {e.source for e in edges[name]}
        assert all(inputs[e.source] is not None or e.soft for e in edges[name])
    frames = budget.pictures(2.0, 910, 512)
    assert (len(frames), frames.height, frames.width, frames.end) == (40, 910, 512, 20.0)
    assert not np.array_equal(frames.gray(0), frames.gray(1))
    assert budget.sound().duration_s == 20.0


def test_targets_are_judged_by_four_videos_in_flight():
    one = {"seconds_a_video": 500.0, "realtime_factor": 25.0, "gpu_use_percent": 10.0,
           "nvml_peak_gib": 20.0}  # fmt: skip
    four = {"seconds_a_video": 15.0, "realtime_factor": 0.75, "gpu_use_percent": 97.0,
            "nvml_peak_gib": 15.2}  # fmt: skip
    rows = {row["target"]: row for row in budget.against_targets([one, four])}
    assert set(rows) == set(budget.OLD_TARGETS)
    assert [rows[name]["holds"] for name in budget.OLD_TARGETS] == [True, True, False, True]


def test_rows_are_written_in_order_of_the_jobs_and_as_a_table():
    rows = [{"variant": "yolov8n", "seconds": 2.0}, {"variant": "qwen2-vl-2b", "seconds": 91.26}]
    found = json.loads(budget.written({"date": "2026-01-01", "models": rows}))
    assert [row["variant"] for row in found["models"]] == ["qwen2-vl-2b", "yolov8n"]
    assert budget.table(rows).splitlines() == [
        "| variant | s a clip |", "|---|---|", "| yolov8n | 2.00 |", "| qwen2-vl-2b | 91.26 |",
    ]  # fmt: skip


def test_a_row_says_whether_it_keeps_to_the_plan():
    job = next(job for job in budget.JOBS if job.variant == "segformer-b0")
    variant = budget.variant_of(job)
    row = {"variant": job.variant, "seconds": 2.0, "peak_pss_gib": variant.ram_gib - 0.1,
           "reserved_gib": 0.1, "context_gib": 0.4}  # fmt: skip
    found = budget.judged(row, "cpu")
    assert found["planned_gib"] == variant.ram_gib
    assert found["within_limits"] is True
    late = {**row, "seconds": found["timeout_s"] + 1}
    assert budget.judged(late, "cpu")["within_limits"] is False
    assert budget.judged({**row, "peak_pss_gib": 9.0}, "cpu")["within_limits"] is False
    assert budget.judged({**row, "variant": "ast"}, "cpu")["within_limits"] is None
    card = budget.judged(row, "cuda")
    assert card["planned_gib"] == pytest.approx(sum(variant.vram or ()) + 0.45)
    assert card["within_limits"] is True
    assert budget.judged({**row, "reserved_gib": 5.0}, "cuda")["within_limits"] is False


def test_results_are_collected_and_documented(tmp_path):
    facts = {
        "date": "2026-01-01",
        "cpu": "a CPU",
        "cores": 2,
        "threads": 1,
        "counts": {"clip": "20 s"},
    }
    for_all = {"peak_pss_gib": 0.5}
    runs = [
        [
            {"variant": "yolov8n", "seconds": 1.0} | for_all,
            {"variant": "ast", "seconds": 4.0} | for_all,
        ],
        [{"variant": "yolov8n", "seconds": 2.0} | for_all],
    ]
    for k, rows in enumerate(runs):
        (tmp_path / f"{k}.json").write_text(json.dumps({**facts, "models": rows}))
    found = budget.collected([tmp_path / "0.json", tmp_path / "1.json"])
    assert {row["variant"]: row["seconds"] for row in found["models"]} == {
        "yolov8n": 2.0,
        "ast": 4.0,
    }
    text = budget.documented(f"before {budget.MARKS[0]} old {budget.MARKS[1]} after", found)
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines] == ["| variant", "| ast", "| yolov8n"]
    assert " | 2.00 | " in lines[2]
    assert "old" not in text
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert budget.documented(text, found) == text


def test_the_document_shows_what_was_measured():
    path = Path(budget.__file__).with_name("gpu_budget_cpu.json")
    text = budget.DOCUMENT.read_text("utf-8")
    assert budget.documented(text, json.loads(path.read_text("utf-8"))) == text


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("variant", ["segformer-b0", "yolov8n"])
def test_a_small_model_is_made_loaded_and_run_in_a_process_of_its_own(tmp_path, variant):
    import argparse

    job = next(job for job in budget.JOBS if job.variant == variant)
    args = argparse.Namespace(ray=False, threads=1, repeat=1)
    row = budget.alone(job, budget.place_of(job, tmp_path), "cpu", args)
    assert row["seconds_per_video_minute"] == pytest.approx(3 * row["seconds"])
    assert row["cpu_s"] > 0
    assert 0.1 < row["loaded_pss_gib"] <= row["peak_pss_gib"] < 4
