"""Metrics, the dashboard that draws them, and the file that says where they are scraped."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.test_dataset import report
from tests.test_serve import form, served
from tiktok_ray import metrics
from tiktok_ray.metrics import METRICS, Metrics
from tiktok_ray.watch import samples

DEPLOY = Path(__file__).parent.parent / "deploy"
EXPORTED = {
    f"ray_{m.name}{suffix}": set(m.tags) | ({"le"} if suffix == "_bucket" else set())
    for m in METRICS
    for suffix in (("_bucket", "_sum", "_count") if m.kind == "histogram" else ("",))
}


def panels():
    found = json.loads((DEPLOY / "grafana/tiktok_ray.json").read_text())
    return [(p["title"], t["expr"]) for p in found["panels"] for t in p["targets"]]


def check_panel(title, expr, exported):
    named = re.findall(r"\b((?:ray_)?tiktok_ray_\w+)(?:\{([^}]*)\})?", expr)
    assert named, title
    for name, chosen in named:
        assert name in exported, title
        by = {tag for group in re.findall(r"by \(([^)]*)\)", expr) for tag in group.split(", ")}
        assert by | set(re.findall(r"(\w+)(?:=|!=|=~)\"", chosen)) <= exported[name], title


def of_service(title):
    return title.startswith("Service: ")


@pytest.mark.parametrize(("title", "expr"), [p for p in panels() if not of_service(p[0])])
def test_the_dashboard_draws_metrics_that_there_are(title, expr):
    check_panel(title, expr, EXPORTED)


async def test_the_dashboard_draws_what_the_service_says(clip, settings):
    async with served(settings) as client:
        await client.post("/analyze?wait=true", **form(clip))
        await client.post("/analyze", json={"url": "file:///etc/passwd"})
        told = (await client.get("/metrics")).text
    exported = {}
    for name, labels, _ in samples(told):
        exported.setdefault(f"tiktok_ray_{name}", set()).update(labels)
    drawn = [(title, expr) for title, expr in panels() if of_service(title)]
    for title, expr in drawn:
        check_panel(title, expr, exported)
    words = " ".join(expr for _, expr in drawn)
    assert [name for name in exported if name not in words] == []


def test_the_dashboard_draws_every_metric():
    drawn = " ".join(expr for _, expr in panels())
    assert [m.name for m in METRICS if m.name not in drawn] == []


def test_no_panel_believes_a_sum_of_a_histogram_of_ray():
    assert [title for title, expr in panels() if re.search(r"\bray_\w+_seconds_sum", expr)] == []


def test_panels_do_not_overlap():
    found = json.loads((DEPLOY / "grafana/tiktok_ray.json").read_text())["panels"]
    cells = [
        (x, y)
        for p in (panel["gridPos"] for panel in found)
        for x in range(p["x"], p["x"] + p["w"])
        for y in range(p["y"], p["y"] + p["h"])
    ]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)


def test_the_scrape_file():
    found = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in found["scrape_configs"]}
    assert set(jobs) == {"ray", "tiktok_ray_service"}
    assert jobs["tiktok_ray_service"]["static_configs"][0]["targets"] == ["127.0.0.1:8000"]


class Recorded:
    """Stands for the classes of ``ray.util.metrics``: keeps what is reported."""

    def __init__(self):
        self.values = {}

    def make(self, name, *, tag_keys, **_):
        def put(value, tags=None):
            assert set(tags or {}) == set(tag_keys), name
            self.values.setdefault((name, *sorted((tags or {}).values())), []).append(value)

        return SimpleNamespace(inc=put, observe=put, set=put)


@pytest.fixture
def recorded(monkeypatch):
    pytest.importorskip("ray")
    from ray.util import metrics as of_ray

    made = Recorded()
    for kind in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(of_ray, kind, made.make)
    return made.values


def test_a_report_is_counted(recorded):
    facts = report(
        sections={
            "plain": {"status": "ok", "seconds": 0.5, "queued_s": 0.2, "device": "cuda",
                      "output": {}},
            "known": {"status": "ok", "cached": True, "output": {}},
            "idle": {"status": "skipped"},
        }
    )  # fmt: skip
    facts["run"] |= {
        "plan": [{"analyzer": "plain", "vram_gib": 1.5}],
        "memory": {"plain": {"peak_gib": 0.7, "peak_vram_gib": 1.2}, "decoder": {"peak_gib": 0.3}},
    }
    told = Metrics()
    told.heard("done", facts)
    facts["run"]["memory"]["plain"]["peak_vram_gib"] = 0.9
    told.heard("done", facts)
    told.heard("failed", {"type": "empty"})
    told.heard("fetched", {"bytes": 10})
    told.heard("at work", {"count": 3})
    assert recorded["tiktok_ray_videos_total", "done"] == [1, 1]
    assert recorded["tiktok_ray_videos_total", "empty"] == [1]
    assert recorded["tiktok_ray_sections_total", "idle", "skipped"] == [1, 1]
    assert recorded["tiktok_ray_analyzer_seconds", "cuda", "plain"] == [0.5, 0.5]
    assert ("tiktok_ray_analyzer_seconds", "", "known") not in recorded
    assert recorded["tiktok_ray_queue_seconds", "plain"] == [0.2, 0.2]
    assert recorded["tiktok_ray_analyzer_work_seconds_total", "cuda", "plain"] == [0.5, 0.5]
    assert recorded["tiktok_ray_queue_wait_seconds_total", "plain"] == [0.2, 0.2]
    assert recorded["tiktok_ray_cache_hits_total", "known"] == [1, 1]
    assert recorded["tiktok_ray_planned_vram_gib", "plain"] == [1.5, 1.5]
    assert recorded["tiktok_ray_peak_vram_gib", "plain"] == [1.2, 1.2]
    assert recorded["tiktok_ray_peak_ram_gib", "decoder"] == [0.3, 0.3]
    assert recorded["tiktok_ray_media_bytes_total",] == [1000, 1000]
    assert recorded["tiktok_ray_fetched_bytes_total",] == [10]
    assert recorded["tiktok_ray_in_flight",] == [3]
    assert {key[0] for key in recorded} == {m.name for m in METRICS}


def test_without_ray_nothing_is_reported(recorded):
    metrics.listener()("failed", {"type": "empty"})
    assert recorded == {}
