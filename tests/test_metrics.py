"""Metrics, the dashboard that draws them, and the file that says where they are scraped."""

import json
import math
import re
import socket
import time
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tests import fakes, promql
from tests.test_batch import make_clips, runner_of
from tests.test_dataset import report
from tests.test_serve import form, served
from tiktok_ray.batch.dataset import Destination
from tiktok_ray.batch.manifest import entries
from tiktok_ray.batch.runner import Batch, PortTaken, counted
from tiktok_ray.run.metrics import Metrics, RayMirror
from tiktok_ray.serve.client import Through

DEPLOY = Path(__file__).parent.parent / "deploy"


def panels():
    found = json.loads((DEPLOY / "grafana/tiktok_ray.json").read_text())
    return [(p["title"], t["expr"]) for p in found["panels"] for t in p["targets"]]


def of_service(title):
    return title.startswith("Service: ")


def unanswered(drawn, before, after):
    """Titles of panels with a query that finds nothing, or only what is not a number."""
    before, after = promql.samples(before), promql.samples(after)
    bad = []
    for title, expression in drawn:
        value = promql.Query(expression, before, after, 10.0).value()
        if not [v for v in value.values() if not math.isnan(v)]:
            bad.append(f"{title}: {expression}")
    return bad


def undrawn(text):
    """Metrics of an exposition that no panel draws."""
    drawn = " ".join(expression for _, expression in panels())
    names = re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)
    return [name for name in names if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", drawn)]


async def test_while_only_the_service_runs_every_panel_has_data(clip, settings):
    """From the first video on."""
    async with served(settings) as client:
        before = (await client.get("/metrics")).text
        await client.post("/analyze?wait=true", **form(clip))
        after = (await client.get("/metrics")).text
    assert unanswered(panels(), before, after) == []
    assert undrawn(after) == []


async def test_what_the_service_counts(clip, settings):
    async with served(settings) as client:
        await client.post("/analyze?wait=true", **form(clip))
        await client.post("/analyze?wait=true", files={"file": ("no.mp4", b"no film at all" * 99)})
        await client.post("/analyze", json={"url": "file:///etc/passwd"})
        figures = promql.samples((await client.get("/metrics")).text)

    def value(name, **labels):
        return figures[f"tiktok_ray_{name}"][frozenset(labels.items())]

    assert value("videos_total", status="done") == 1
    assert value("sections_total", analyzer="plain", status="ok") == 1
    assert value("sections_total", analyzer="plain", status="failed") == 0
    assert value("jobs_ended_total", state="done") == value("job_seconds_count") == 1
    assert value("media_bytes_total") == clip.stat().st_size
    assert value("uploaded_bytes_total") >= clip.stat().st_size
    assert value("video_seconds_count") == value("decode_seconds_count") == 1
    assert value("in_flight") == 0
    assert sum(figures["tiktok_ray_requests_refused_total"].values()) >= 1
    assert not [name for name in figures if name.endswith("_created")]


@pytest.mark.slow
async def test_a_batch_feeds_every_panel_but_the_services(tmp_path, settings):
    out = Destination(tmp_path / "out")
    port = free_port()
    settings = settings.model_copy(update={"batch_metrics_port": port})
    runner = runner_of(settings, (fakes.Plain, fakes.Listener))
    manifest = list(entries(str(make_clips(tmp_path / "in", 2)), None))
    with counted(runner, settings) as options:
        url = f"http://127.0.0.1:{port}/metrics"
        await Batch(manifest[:1], out, runner, settings, **options).run()
        before = httpx.get(url, trust_env=False).text
        await Batch(manifest, out, runner, settings, **options).run()
        after = httpx.get(url, trust_env=False).text
        with pytest.raises(PortTaken, match=str(port)), counted(runner, settings):
            pass
    await runner.close()
    drawn = [(title, expression) for title, expression in panels() if not of_service(title)]
    assert unanswered(drawn, before, after) == []
    assert promql.samples(after)["tiktok_ray_videos_total"][frozenset({("status", "done")})] == 2
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


async def test_what_goes_through_the_service_is_counted_there_alone(settings):
    runner = Through("http://127.0.0.1:1", settings, [], [])
    with counted(runner, settings) as options:
        assert options == {}
    await runner.close()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


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


def scrape_jobs():
    found = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    return {job["job_name"]: job for job in found["scrape_configs"]}


def test_the_scrape_file():
    jobs = scrape_jobs()
    assert set(jobs) == {"ray", "tiktok_ray_service", "tiktok_ray_batch"}
    assert jobs["tiktok_ray_service"]["static_configs"][0]["targets"] == ["127.0.0.1:8000"]


def as_prometheus_keeps_it(text):
    """What Ray says under the names that ``prometheus.yml`` gives it."""
    (rule,) = scrape_jobs()["ray"]["metric_relabel_configs"]
    assert (rule["source_labels"], rule["target_label"]) == (["__name__"], "__name__")
    put = rule["replacement"].replace("$1", r"\1")
    kept = {}
    for name, series in promql.samples(text).items():
        found = re.fullmatch(rule["regex"], name)
        kept[found.expand(put) if found else name] = series
    return kept


# The part of PromQL


def test_the_evaluator_is_right():
    registry = CollectorRegistry()
    jobs = Counter("jobs", "", ["state"], registry=registry)
    took = Histogram("took", "", ["kind"], buckets=(1.0, 2.0, 4.0), registry=registry)
    Gauge("room", "", registry=registry).set(7)
    for state in ("done", "failed", "lost"):
        jobs.labels(state)
    took.labels("a")
    before = promql.samples(generate_latest(registry).decode())
    jobs.labels("done").inc(30)
    jobs.labels("failed").inc(10)
    for value in (0.5, 1.5, 1.5, 3.0):
        took.labels("a").observe(value)
    after = promql.samples(generate_latest(registry).decode())

    def ask(expression):
        value = promql.Query(expression, before, after, 10.0).value()
        return {tuple(sorted(k)): v for k, v in value.items()} if isinstance(value, dict) else value

    assert ask("1 + 2 * 3") == 7
    assert ask("max(room)") == {(): 7}
    assert ask("room / 2") == {(): 3.5}
    assert ask('60 * sum(rate(jobs_total{state="done"}[5m]))') == {(): 180}
    shares = ask('sum(increase(jobs_total{state!="done"}[1h])) / sum(increase(jobs_total[1h]))')
    assert shares == {(): 0.25}
    by_state = ask('sum by (state) (rate(jobs_total{state=~"failed|lost"}[5m]))')
    assert by_state == {(("state", "failed"),): 1.0, (("state", "lost"),): 0.0}
    median = "histogram_quantile(0.5, sum by (le, kind) (rate(took_bucket[5m])))"
    assert ask(median) == {(("kind", "a"),): pytest.approx(1.5)}
    assert ask("sum(rate(took_sum[5m])) / sum(rate(took_count[5m]))") == {(): 6.5 / 4}
    assert ask("sum(none)") == {}
    assert math.isnan(
        ask('jobs_total{state="lost"} / jobs_total{state="lost"}')[("state", "lost"),]
    )
    for bad in ("sum(", "rate(jobs_total)", "avg(room)", "room room", "sum(room) -"):
        with pytest.raises((SyntaxError, AttributeError)):
            ask(bad)


# Counting


def test_a_report_is_counted():
    facts = report(
        sections={
            "plain": {"status": "ok", "seconds": 0.125, "queued_s": 0.2, "device": "cuda",
                      "output": {}},
            "known": {"status": "ok", "cached": True, "output": {}},
            "idle": {"status": "skipped"},
        }
    )  # fmt: skip
    facts["run"] |= {
        "plan": [
            {"analyzer": "plain", "device": "cuda:0", "vram_gib": 1.5},
            {"analyzer": "known", "device": "cpu", "vram_gib": 0.0},
        ],
        "memory": {
            "plain": {"peak_gib": 0.7, "peak_vram_gib": 1.2},
            "decoder": {"peak_gib": 0.3, "peak_vram_gib": None},
        },
    }
    told = Metrics(["plain"])
    told.analyzed(facts)
    facts["run"]["memory"]["plain"]["peak_vram_gib"] = 0.9
    told.analyzed(facts)
    told.failed("empty")
    told.fetched(10)
    told.at_work(3)

    def value(name, **labels):
        return told.registry.get_sample_value(f"tiktok_ray_{name}", labels)

    assert value("videos_total", status="done") == 2
    assert value("videos_total", status="empty") == 1
    assert value("sections_total", analyzer="idle", status="skipped") == 2
    assert value("sections_total", analyzer="plain", status="timed_out") == 0
    assert value("analyzer_seconds_sum", analyzer="plain", device="cuda") == 0.25
    assert value("analyzer_seconds_count", analyzer="plain", device="cuda") == 2
    assert value("analyzer_seconds_count", analyzer="known", device="") is None
    assert value("queue_seconds_sum", analyzer="plain") == 0.4
    assert value("video_seconds_sum") == 2.0
    assert value("decode_seconds_sum") == 0.2
    assert value("video_duration_seconds_total") == 4.0
    assert value("cache_hits_total", analyzer="known") == 2
    assert value("planned_vram_gib", analyzer="plain") == 1.5
    assert value("peak_vram_gib", analyzer="plain") == 1.2
    assert value("peak_vram_gib", analyzer="known") == 0
    assert value("peak_ram_gib", analyzer="decoder") == 0.3
    assert value("media_bytes_total") == 2000
    assert value("fetched_bytes_total") == 10
    assert value("in_flight") == 3


# By way of Ray


def test_without_ray_nothing_is_mirrored(monkeypatch):
    from ray.util import metrics as of_ray

    monkeypatch.setattr(of_ray, "Gauge", None)
    RayMirror(Metrics().registry).update()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(180)
def test_ray_shows_the_very_numbers():
    import ray

    told = Metrics(["plain"])
    mirror = RayMirror(told.registry)
    facts = report(sections={"plain": {"status": "ok", "seconds": 0.125, "device": "cpu"}})
    facts["run"] |= {"plan": [], "memory": {"plain": {"peak_gib": 0.7}}}
    told.analyzed(facts)
    port = free_port()
    fast = {"metrics_report_interval_ms": 1000}
    ray.init(
        address="local", num_cpus=1, include_dashboard=False, object_store_memory=100 * 2**20,
        _metrics_export_port=port, _system_config=fast, log_to_driver=False,
    )  # fmt: skip
    try:
        wanted = promql.samples(generate_latest(told.registry).decode())
        shown = {}
        while not set(wanted) <= set(shown):
            mirror.update()
            time.sleep(0.5)
            text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
            shown = as_prometheus_keeps_it(text)
    finally:
        ray.shutdown()
    for name, series in wanted.items():
        found = {
            frozenset(pair for pair in labels if pair[0] in {key for key, _ in one}): value
            for labels, value in shown[name].items()
            for one in series
        }
        assert found == series, name
