"""The HTTP interface over threads and made analyzers: no Ray, no model."""

import asyncio
import base64
import contextlib
import errno
import hashlib
import hmac
import json
import os
import socket
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from pydantic import SecretStr

from tests import fakes
from tests.conftest import slow
from tiktok_ray.graph import Graph
from tiktok_ray.net import fetch
from tiktok_ray.net.egress_proxy import EgressProxy
from tiktok_ray.net.intake import Taken
from tiktok_ray.run.placement import plan
from tiktok_ray.run.threads import LocalWorkers
from tiktok_ray.serve.api import create_app
from tiktok_ray.serve.jobs import Ledger
from tiktok_ray.serve.listener import marked
from tiktok_ray.serve.service import Arriving, Service

HANG = {"plain": {"how": "hang"}}


class Client(httpx.AsyncClient):
    service: Service


@contextlib.asynccontextmanager
async def served(settings, analyzers=(fakes.Plain, fakes.Softly, fakes.Needy), **client):
    """A client of a service that runs until the block ends; the service is ``client.service``.

    ``direct``: its requests come by the service's own socket, not through Ray Serve's proxy.
    """
    graph = Graph(analyzers)

    def make():
        workers = LocalWorkers(graph, plan(graph.analyzers.values(), settings), settings)
        return Service(graph, workers, settings)

    app = create_app(make)
    address = client.pop("address", ("127.0.0.1", 50_000))
    async with app.router.lifespan_context(app):
        entry = marked(app) if client.pop("direct", True) else app
        transport = httpx.ASGITransport(entry, client=address, raise_app_exceptions=False)
        options = {"base_url": "http://127.0.0.1:8000", "timeout": 60, **client}
        async with Client(transport=transport, **options) as made:
            made.service = app.state.service
            yield made


def form(clip, **fields):
    return {"files": {"file": ("clip.mp4", clip.read_bytes())}, "data": fields}


async def ended(client, id):
    """The job, once it has ended."""
    while True:
        job = (await client.get(f"/jobs/{id}")).json()
        if job["state"] in ("done", "failed", "cancelled", "quarantined"):
            return job
        await asyncio.sleep(0.02)


async def result_of(client, clip):
    """The identifier of a result, once there is one."""
    id = (await client.post("/analyze", **form(clip))).json()["id"]
    assert (await ended(client, id))["state"] == "done"
    return id


@contextlib.contextmanager
def changed_report(client, id):
    """The report that the store keeps, to be changed inside the block."""
    path = client.service.store.report_path(id)
    report = json.loads(path.read_text())
    yield report
    path.write_text(json.dumps(report))


async def at_work(client, count):
    """Until an analyzer is at work, or waits for its turn, in so many jobs."""
    ledger = client.service.ledger
    while True:
        ids = [job["id"] for job in (await client.get("/jobs?state=running")).json()["jobs"]]
        seen = [{e.data.get("state") for e in ledger.events(i, 0, 500) if e.kind == "analyzer"}
                for i in ids]  # fmt: skip
        if sum(bool(states & {"waiting", "running"}) for states in seen) >= count:
            return
        await asyncio.sleep(0.01)


def events_of(text):
    """The events of a stream as (id, kind, data)."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "id" in lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


def is_problem(answer, status, word=None):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    made = answer.json()
    assert made["status"] == status
    assert made["title"]
    if word:
        assert made["type"] == f"urn:tiktok-ray:{word}"
    return made


async def test_an_upload_becomes_a_report(clip, settings):
    async with served(settings) as client:
        answer = await client.post("/analyze", **form(clip))
        assert answer.status_code == 202
        job = answer.json()
        assert answer.headers["location"] == f"/jobs/{job['id']}" == job["links"]["self"]
        job = await ended(client, job["id"])
        assert job["state"] == "done"
        report = (await client.get(job["links"]["report"])).json()
        assert report["analyzers"]["plain"]["output"] == {"n": 60}
        assert report["analyzers"]["needy"]["output"] == {"n": 61}
        assert report["video"]["source"] == "clip.mp4"
        assert report["video"]["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
        [result] = (await client.get("/results")).json()["results"]
        assert (result["id"], result["statuses"]["plain"]) == (job["result"], "ok")
        while list(client.service.work.iterdir()):  # the upload goes after its job has ended
            await asyncio.sleep(0.01)


async def test_waiting_gives_the_report_itself(clip, settings):
    async with served(settings) as client:
        answer = await client.post("/analyze?wait=true", **form(clip, only="needy"))
        assert answer.status_code == 200
        report = answer.json()
        assert report["analyzers"]["needy"]["output"] == {"n": 61}
        assert report["analyzers"]["softly"]["reason"] == "not selected"
        no_video = {"files": {"file": ("x.mp4", b"\0" * 5000)}}
        is_problem(await client.post("/analyze?wait=true", **no_video), 415, "not_video")


async def test_events_come_as_they_happen_and_resume(clip, settings):
    async with served(settings) as client:
        id = (await client.post("/analyze", **form(clip))).json()["id"]
        whole = await client.get(f"/jobs/{id}/events")
        assert whole.headers["content-type"].startswith("text/event-stream")
        events = events_of(whole.text)
        assert [n for n, _, _ in events] == list(range(1, len(events) + 1))
        assert [d["state"] for _, kind, d in events if kind == "job"] == [
            "queued",
            "running",
            "done",
        ]
        plain = [d["state"] for _, kind, d in events if kind == "analyzer" and d["name"] == "plain"]
        assert plain[-2:] == ["running", "ok"]
        assert {"found": "60 pictures"}.items() <= next(
            d.items() for _, _, d in events if d.get("name") == "plain" and d["state"] == "ok"
        )
        rest = await client.get(f"/jobs/{id}/events", headers={"Last-Event-ID": "4"})
        assert events_of(rest.text) == events[4:]
        last = {"Last-Event-ID": str(len(events))}
        assert (await client.get(f"/jobs/{id}/events", headers=last)).status_code == 204


async def test_the_first_events_come_before_any_analyzer_is_at_work(clip, settings):
    async with served(settings) as client:
        id = (await client.post("/analyze", **form(clip))).json()["id"]
        text = (await client.get(f"/jobs/{id}/events")).text
        told = [(kind, data.get("state")) for _, kind, data in events_of(text)]
        first = next(n for n, (kind, _) in enumerate(told) if kind == "analyzer")
        assert [state for _, state in told[:2]] == ["queued", "running"]
        assert first >= 2


async def test_asking_again_computes_only_what_changed(clip, settings):
    async with served(settings) as client:
        first = (await client.post("/analyze?wait=true", **form(clip))).json()
        again = (await client.post("/analyze?wait=true", **form(clip))).json()
        assert "cached" not in first["analyzers"]["plain"]
        assert {s.get("cached") for s in again["analyzers"].values()} == {True}
        assert again["analyzers"]["needy"]["output"] == first["analyzers"]["needy"]["output"]
        figures = (await client.get("/metrics")).text
        assert figures.count("tiktok_ray_cache_hits_total{") == 3
        for name in again["analyzers"]:
            assert f'tiktok_ray_cache_hits_total{{analyzer="{name}"}} 1.0' in figures


async def test_a_key_is_accepted_once(clip, settings):
    async with served(settings) as client:
        key = {"Idempotency-Key": "one"}
        first = (await client.post("/analyze", headers=key, **form(clip))).json()
        again = (await client.post("/analyze", headers=key, **form(clip))).json()
        assert again["id"] == first["id"]
        other = await client.post("/analyze", headers=key, **form(clip, only="plain"))
        is_problem(other, 422, "key_reused")
        await ended(client, first["id"])
        assert len((await client.get("/jobs")).json()["jobs"]) == 1
        assert len((await client.get("/results")).json()["results"]) == 1


@pytest.mark.slow
async def test_beyond_the_queue_there_is_429_and_the_rest_end(clip, settings):
    settings = settings.model_copy(update={"in_flight": 2, "queue": 4})
    async with served(settings) as client:
        answers = await asyncio.gather(*(client.post("/analyze", **form(clip)) for _ in range(10)))
        taken = [a for a in answers if a.status_code == 202]
        refused = [a for a in answers if a.status_code != 202]
        assert len(taken) >= 6
        for answer in refused:
            is_problem(answer, 429, "queue_full")
            assert int(answer.headers["retry-after"]) >= 1
        assert refused, "ten at once are more than six"
        for answer in taken:
            assert (await ended(client, answer.json()["id"]))["state"] == "done"
        counts = (await client.get("/health")).json()["jobs"]
        assert (counts["done"], counts["running"], counts["queued"]) == (len(taken), 0, 0)


async def test_only_so_many_are_in_flight(clip, settings):
    settings = settings.model_copy(
        update={"in_flight": 2, "options": HANG, "timeout_factor": 100.0}
    )
    async with served(settings, [fakes.Behaved]) as client:
        for _ in range(4):
            await client.post("/analyze", **form(clip))
        await at_work(client, 2)
        queue = (await client.get("/health")).json()["queue"]
        assert (queue["running"], queue["queued"]) == (2, 2)
        waiting = (await client.get("/jobs?state=queued")).json()["jobs"]
        assert [job["ahead"] for job in waiting] == [1, 0]


async def test_cancelling_what_runs_and_what_waits(clip, settings):
    settings = settings.model_copy(
        update={"in_flight": 1, "options": HANG, "timeout_factor": 100.0}
    )
    async with served(settings, [fakes.Behaved]) as client:
        running = (await client.post("/analyze", **form(clip))).json()["id"]
        waiting = (await client.post("/analyze", **form(clip))).json()["id"]
        await at_work(client, 1)
        assert (await client.delete(f"/jobs/{waiting}")).json()["state"] == "cancelled"
        answer = await client.delete(f"/jobs/{running}")
        assert answer.json()["state"] == "cancelled"
        assert (await client.delete(f"/jobs/{running}")).status_code == 200
        text = (await client.get(f"/jobs/{running}/events")).text
        assert events_of(text)[-1][2]["state"] == "cancelled"
        assert (await client.get("/health")).json()["queue"]["running"] == 0
        assert (await client.get("/results")).json()["results"] == []
        is_problem(await client.delete("/jobs/nobody"), 404)


async def test_what_is_done_cannot_be_cancelled(clip, settings):
    async with served(settings) as client:
        id = (await client.post("/analyze", **form(clip))).json()["id"]
        await ended(client, id)
        is_problem(await client.delete(f"/jobs/{id}"), 409, "ended")


async def test_a_client_that_goes_away_does_not_end_its_job(clip, settings):
    async with served(settings) as client:
        waiting = asyncio.create_task(client.post("/analyze?wait=true", **form(clip)))
        while not (listed := (await client.get("/jobs")).json()["jobs"]):
            await asyncio.sleep(0.01)
        waiting.cancel()
        assert (await ended(client, listed[0]["id"]))["state"] == "done"


async def test_a_client_that_goes_away_while_its_job_is_written_keeps_its_upload(
    clip, settings, monkeypatch
):
    accept, begun, gone = Ledger.accept, threading.Event(), threading.Event()

    def slowly(*args, **kwargs):
        begun.set()
        gone.wait()
        return accept(*args, **kwargs)

    monkeypatch.setattr(Ledger, "accept", slowly)
    async with served(settings) as client:
        sending = asyncio.create_task(client.post("/analyze", **form(clip)))
        await asyncio.to_thread(begun.wait)
        sending.cancel()
        await asyncio.sleep(0)
        gone.set()
        while not (listed := (await client.get("/jobs")).json()["jobs"]):
            await asyncio.sleep(0.01)
        assert (await ended(client, listed[0]["id"]))["state"] == "done"


async def test_the_work_folder_is_swept_of_what_nobody_works_on(clip, settings):
    async with served(settings.model_copy(update={"keep_videos": False})) as client:
        id = (await client.post("/analyze", **form(clip))).json()["id"]
        await ended(client, id)
        work = client.service.work
        while (work / id).exists():
            await asyncio.sleep(0.01)
        lost, coming, new = (work / name for name in ("1" * 24, "2" * 24, "3" * 24))
        for folder in (lost, coming, new):
            folder.mkdir()
        (poster := work / f"{id}.jpg").touch()
        for folder in (lost, coming):
            os.utime(folder, (time.time() - 7200,) * 2)
        client.service.arriving[coming.name] = Arriving(0, direct=True)
        await client.service._sweep()
        assert sorted(work.iterdir()) == sorted([coming, new, poster])


@pytest.mark.slow
async def test_a_service_that_stops_and_starts_ends_what_it_accepted(clip, settings):
    hanging = settings.model_copy(update={"options": HANG, "timeout_factor": 100.0})
    async with served(hanging, [fakes.Behaved]) as client:
        ids = [(await client.post("/analyze", **form(clip))).json()["id"] for _ in range(3)]
        await at_work(client, 3)
    async with served(settings, [fakes.Behaved]) as client:
        for id in ids:
            job = await ended(client, id)
            assert (job["state"], job["deaths"], job["attempts"]) == ("done", 0, 1)


async def test_what_a_dead_process_left_runs_again_and_is_published_once(clip, settings):
    async with served(settings) as client:
        id = (await client.post("/analyze", **form(clip))).json()["id"]
        await ended(client, id)
        ledger = client.service.ledger
        ledger._db.execute("UPDATE jobs SET state = 'running', ended = NULL, result = NULL")
    async with served(settings) as client:
        job = await ended(client, id)
        assert (job["state"], job["deaths"], job["attempts"]) == ("done", 1, 2)
        assert len((await client.get("/results")).json()["results"]) == 1


async def test_what_the_disk_does_not_take_is_kept_until_it_does(clip, settings, monkeypatch):
    """The disk is full when the report is written, then when the ledger is: both come later."""
    monkeypatch.setattr("tiktok_ray.serve.service.FULL_S", 0.05)
    fulls = {
        "publish": OSError(errno.ENOSPC, "no space"),
        "finish": sqlite3.OperationalError("full"),
    }
    refused = []

    def full_once(owner, name):
        real = getattr(owner, name)

        def call(*args, **kwargs):
            if refused.count(name) < 3:
                refused.append(name)
                raise fulls[name]
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    async with served(settings) as client:
        full_once(client.service.store, "publish")
        full_once(client.service.ledger, "finish")
        job = await ended(client, (await client.post("/analyze", **form(clip))).json()["id"])
        assert refused == ["publish"] * 3 + ["finish"] * 3
        assert job["state"] == "done"
        assert (await client.get(job["links"]["report"])).status_code == 200
        assert "disk" not in client.service.troubles


@pytest.mark.slow
async def test_a_job_that_cannot_be_written_is_not_accepted(clip, settings):
    """The ledger's own database is full: nothing is accepted, and nothing of it stays."""
    async with served(settings) as client:
        ledger = client.service.ledger
        [[pages]] = ledger._db.execute("PRAGMA page_count").fetchall()
        ledger._db.execute(f"PRAGMA max_page_count = {pages}")
        answers = [await client.post("/analyze", **form(clip)) for _ in range(40)]
        refused = [a for a in answers if a.status_code != 202]
        assert {a.status_code for a in answers} <= {202, 429, 507}
        assert [a for a in refused if a.status_code == 507]
        is_problem(next(a for a in refused if a.status_code == 507), 507, "disk_full")
        accepted = [a.json()["id"] for a in answers if a.status_code == 202]
        ledger._db.execute("PRAGMA max_page_count = 100000")
        for id in accepted:
            assert (await ended(client, id))["state"] == "done"
        listed = (await client.get("/jobs?limit=500")).json()["jobs"]
        assert sorted(job["id"] for job in listed) == sorted(accepted)
        while any(client.service.work.iterdir()):  # posters are still made there
            await asyncio.sleep(0.05)
        after = await client.post("/analyze?wait=true", **form(clip))
        assert after.status_code == 200


async def test_what_the_disk_did_not_take_runs_again_after_a_stop(clip, settings, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "no space")

    async with served(settings) as client:
        monkeypatch.setattr(client.service.store, "publish", full)
        id = (await client.post("/analyze", **form(clip))).json()["id"]
        while "disk" not in client.service.troubles:
            await asyncio.sleep(0.01)
        health = (await client.get("/health")).json()
        assert any("the disk cannot be written to" in reason for reason in health["reasons"])
    async with served(settings) as client:
        assert (await ended(client, id))["state"] == "done"


async def test_poison_is_given_up(clip, settings):
    async with served(settings) as client:
        id = (await client.post("/analyze", **form(clip))).json()["id"]
        await ended(client, id)
        db = client.service.ledger._db
        db.execute("UPDATE jobs SET state = 'running', deaths = 2, ended = NULL, result = NULL")
    async with served(settings) as client:
        job = await ended(client, id)
        assert job["state"] == "quarantined"
        assert "died 3 times" in job["problem"]["detail"]


@pytest.mark.slow
async def test_media_of_a_result(clip, settings):
    async with served(settings) as client:
        id = (await client.post("/analyze", **form(clip))).json()["id"]
        await ended(client, id)
        video = await client.get(f"/results/{id}/video")
        assert video.content == clip.read_bytes()
        assert video.headers["content-type"] == "video/mp4"
        part = await client.get(f"/results/{id}/video", headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, clip.read_bytes()[10:20])
        while (poster := await client.get(f"/results/{id}/poster")).status_code != 200:
            await asyncio.sleep(0.05)
        assert poster.content[:2] == b"\xff\xd8"
        probed = (await client.get(f"/results/{id}/probe")).json()
        assert [stream["kind"] for stream in probed["streams"]] == ["video", "audio"]
        is_problem(await client.get(f"/results/{id}.vtt"), 404)
        assert (await client.delete(f"/results/{id}")).status_code == 204
        for path in ("", "/video", "/poster", "/probe"):
            is_problem(await client.get(f"/results/{id}{path}"), 404)
        is_problem(await client.delete(f"/results/{id}"), 404)


async def test_captions_of_a_result(clip, settings):
    async with served(settings) as client:
        id = await result_of(client, clip)
        word = {"text": "soup", "start": 0.5, "end": 1.0}
        segment = {"text": "soup", "words": [word], "start": 0.5, "end": 1.0}
        output = {"segments": [segment]}
        with changed_report(client, id) as report:
            report["analyzers"]["speech_transcription"] = {"status": "ok", "output": output}
        vtt = await client.get(f"/results/{id}.vtt")
        assert vtt.headers["content-type"] == "text/vtt; charset=utf-8"
        assert vtt.text.startswith("WEBVTT\n")
        assert "00:00:00.500 --> 00:00:01.500\nsoup" in vtt.text
        for name in (id, report["video"]["id"]):
            srt = await client.get(f"/results/{name}.srt")
            assert "00:00:00,500 --> 00:00:01,500\nsoup" in srt.text
            assert (await client.get(f"/results/{name}.txt")).text == "soup\n"
            words = (await client.get(f"/results/{name}.words.json")).json()["words"]
            assert words == [word]
        is_problem(await client.get("/results/0123456789.txt"), 404)


@pytest.mark.slow
async def test_a_picture_of_a_result(clip, settings):
    async with served(settings) as client:
        id = (await client.post("/analyze", **form(clip))).json()["id"]
        await ended(client, id)
        made = await client.get(f"/results/{id}/frame?t=0.5&short=64")
        assert made.headers["content-type"] == "image/jpeg"
        assert made.headers["x-frame-time"] == "0.5000"
        assert made.content[:2] == b"\xff\xd8"
        later = await client.get(f"/results/{id}/frame?t=1.51&short=64")
        assert later.headers["x-frame-time"] == "1.5000"
        assert later.content != made.content
        is_problem(await client.get(f"/results/{id}/frame?t=-1"), 422)
        is_problem(await client.get("/results/0123456789/frame?t=0"), 404)


async def test_exports_of_a_result(clip, settings):
    async with served(settings) as client:
        id = await result_of(client, clip)
        is_problem(await client.get(f"/results/{id}/export?to=edl"), 422, "cannot_export")
        shots = [{"start": 0.0, "end": 1.0, "index": 0}, {"start": 1.0, "end": 2.0, "index": 1}]
        with changed_report(client, id) as report:
            report["analyzers"]["cut_analysis"] = {"status": "ok", "output": {"shots": shots}}
        for name in (id, report["video"]["id"]):
            made = await client.get(f"/results/{name}/export?to=edl")
            assert made.headers["content-type"] == "text/plain; charset=utf-8"
            assert made.headers["content-disposition"] == f'attachment; filename="{id}.edl"'
            assert "00:00:01:00 00:00:02:00 00:00:01:00 00:00:02:00" in made.text
        unknown = await client.get(f"/results/{id}/export?to=avi")
        assert "label-studio" in is_problem(unknown, 422)["detail"]
        is_problem(await client.get(f"/results/{id}/export"), 422)
        is_problem(await client.get("/results/0123456789/export?to=csv"), 404)


async def test_results_are_paged_and_filtered(clip, settings):
    async with served(settings) as client:
        for name in ("soup.mp4", "stairs.mp4", "soup again.mp4"):
            files = {"file": (name, clip.read_bytes())}
            await client.post("/analyze?wait=true", files=files)
        page = (await client.get("/results?q=SOUP&limit=1")).json()
        assert [r["source"] for r in page["results"]] == ["soup again.mp4"]
        rest = (await client.get(f"/results?q=SOUP&limit=1&before={page['next']}")).json()
        assert [r["source"] for r in rest["results"]] == ["soup.mp4"]
        assert rest["next"] is None
        assert (await client.get("/results?analyzer=plain&status=failed")).json()["results"] == []


async def test_facts(settings):
    settings = settings.model_copy(update={"preload": True})
    async with served(settings, [fakes.Plain, fakes.Wanting]) as client:
        while not (health := (await client.get("/health")).json())["fleet"]["loaded"]:
            await asyncio.sleep(0.02)
        assert health["ready"]
        assert health["status"] == "degraded"
        assert any("nowhere/big.pt" in reason for reason in health["reasons"])
        assert health["fleet"]["loaded"] == ["plain"]
        listed = {a["name"]: a for a in (await client.get("/analyzers")).json()}
        assert listed["plain"]["finds"] == "Counts pictures."
        assert not listed["wanting"]["available"]
        planned = (await client.get("/plan")).json()
        assert [row["analyzer"] for row in planned["analyzers"]] == ["plain"]
        schema = (await client.get("/openapi.json")).json()
        assert "Asked" in schema["components"]["schemas"]
        assert schema["components"]["schemas"]["Asked"]["examples"]
        docs = (await client.get("/docs")).text
        assert "/jobs/{id}/events" in docs
        assert "http" not in docs.replace("http://127.0.0.1:8000", "").replace(
            "https://www.tiktok.com", ""
        ).replace("http(s)", ""), "the page fetches nothing from elsewhere"


# Webhooks


class Site(ThreadingHTTPServer):
    """Answers with ``content``, and keeps what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Hook)
        self.calls: list[tuple[dict[str, str], bytes | str]] = []
        self.content = b""


class Hook(BaseHTTPRequestHandler):
    server: Site

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.calls.append((dict(self.headers), body))
        self.send_response(500 if len(self.server.calls) == 1 else 204)
        self.end_headers()

    def do_GET(self):
        if self.path.startswith("/redirect"):
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/secret.mp4")
            self.end_headers()
            return
        self.server.calls.append((dict(self.headers), self.path))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_):
        return


@pytest.fixture
def site():
    server = Site()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


async def test_a_webhook_is_signed_and_tried_again(clip, settings, site):
    settings = settings.model_copy(
        update={"webhook_secret": SecretStr("quiet"), "private_addresses": True}
    )
    async with served(settings) as client:
        hook = f"http://127.0.0.1:{site.server_port}/hook"
        id = (await client.post("/analyze", **form(clip, webhook=hook))).json()["id"]
        await ended(client, id)
        while not client.service.ledger.outcome(id):
            await asyncio.sleep(0.05)
        assert client.service.ledger.outcome(id) == "delivered"
        assert len(site.calls) == 2, "it answered 500 the first time"
        headers, body = site.calls[1]
        headers = {k.lower(): v for k, v in headers.items()}
        said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        mac = base64.b64encode(hmac.new(b"quiet", said, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{mac}"
        assert json.loads(body)["type"] == "job.done"
        assert json.loads(body)["job"]["id"] == id == headers["webhook-id"]


async def test_webhooks_are_off_without_a_secret(clip, settings):
    async with served(settings) as client:
        answer = await client.post("/analyze", **form(clip, webhook="https://example.org/"))
        is_problem(answer, 422, "no_webhooks")


# Fetching


async def test_a_clip_by_its_address_when_that_is_opened(clip, settings, site):
    site.content = clip.read_bytes()
    settings = settings.model_copy(update={"private_addresses": True, "allowed_hosts": ("*",)})
    async with served(settings) as client:
        url = f"http://127.0.0.1:{site.server_port}/clip.mp4"
        answer = await client.post("/analyze?wait=true", json={"url": url})
        assert answer.status_code == 200, answer.text
        assert answer.json()["analyzers"]["plain"]["output"] == {"n": 60}
        job = (await client.get("/jobs")).json()["jobs"][0]
        states = events_of((await client.get(f"/jobs/{job['id']}/events")).text)
        assert ["fetch", "done"] in [[d.get("name"), d["state"]] for _, _, d in states]


async def test_a_redirect_to_a_private_address_is_refused(settings, site, monkeypatch):
    site.content = b"secret"

    def opened(_, budget):
        def resolve(host):
            return ["93.184.216.34"] if host == "public.example" else [host]

        async def dial(*_):
            return await asyncio.open_connection("127.0.0.1", site.server_port)

        return EgressProxy(resolve=resolve, dial=dial, budget=budget)

    monkeypatch.setattr(fetch, "opened", opened)
    settings = settings.model_copy(update={"allowed_hosts": ("*",)})
    async with served(settings) as client:
        answer = await client.post(
            "/analyze?wait=true", json={"url": "http://public.example/redirect.mp4"}
        )
        made = is_problem(answer, 403, "refused")
        assert "loopback" in made["detail"]
        assert site.calls == [], "nobody asked for the secret"


# Who may speak


async def test_elsewhere_a_token_is_wanted(clip, settings):
    settings = settings.model_copy(update={"token": SecretStr("s3cret"), "host": "0.0.0.0"})
    far = {"address": ("203.0.113.9", 4000), "base_url": "http://far.example"}
    async with served(settings, **far) as client:
        refused = await client.get("/health")
        is_problem(refused, 401, "unauthorized")
        assert refused.headers["www-authenticate"].startswith("Bearer")
        good = {"Authorization": "Bearer s3cret"}
        assert (await client.get("/health", headers=good)).status_code == 200
        assert (await client.get("/health", auth=("anyone", "s3cret"))).status_code == 200
        for bad in ("Bearer s3cre", "Bearer s3cret1", "Bearer", "s3cret", "Basic !!!", "Digest x"):
            answer = await client.get("/health", headers={"Authorization": bad})
            is_problem(answer, 401)
        is_problem(await client.post("/analyze", **form(clip)), 401)
        assert (await client.get("/jobs", headers=good)).json()["jobs"] == []


async def test_without_a_token_only_this_machine_is_heard(settings):
    async with served(settings, address=("203.0.113.9", 4000)) as client:
        is_problem(await client.get("/health"), 403, "forbidden")
    async with served(settings, base_url="http://rebound.example") as client:
        is_problem(await client.get("/health"), 421, "misdirected")
    async with served(settings) as client:
        other = {"Origin": "https://evil.example"}
        is_problem(await client.post("/analyze", headers=other, json={}), 403, "cross_origin")
        own = {"Origin": "http://127.0.0.1:8000"}
        answer = await client.get("/health", headers=own)
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers


# Bounds


async def test_bounds_of_size_time_and_disk(clip, settings):
    small = settings.model_copy(update={"max_bytes": 1000})
    async with served(small) as client:
        is_problem(await client.post("/analyze", **form(clip)), 413, "too_large")
        assert list(client.service.work.iterdir()) == []
    short = settings.model_copy(update={"max_duration_s": 1.0})
    async with served(short) as client:
        is_problem(await client.post("/analyze?wait=true", **form(clip)), 422, "too_long")
    full = settings.model_copy(update={"disk_reserve_gib": 10.0**9})
    async with served(full) as client:
        is_problem(await client.post("/analyze", **form(clip)), 507, "disk_full")
        assert any("disk" in reason for reason in (await client.get("/health")).json()["reasons"])


async def test_slow_bodies_are_dropped(settings):
    settings = settings.model_copy(update={"upload_silence_s": 0.2, "upload_timeout_s": 0.6})
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'

    async def silent():
        yield head
        await asyncio.sleep(600)

    async def dripping():
        yield head
        while True:
            await asyncio.sleep(0.05)
            yield b"x"

    async with served(settings) as client:
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        for body in (silent, dripping):
            answer = await client.post("/analyze", content=body(), headers=kind)
            is_problem(answer, 408, "timeout")
        assert list(client.service.work.iterdir()) == []
        kind = {"Content-Type": "application/json"}
        is_problem(await client.post("/analyze", content=silent(), headers=kind), 408)


async def test_a_body_without_a_length_is_held_to_the_limit(settings):
    settings = settings.model_copy(update={"max_bytes": 100_000})

    async def endless():
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        while True:
            yield bytes(50_000)

    async with served(settings) as client:
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = await client.post("/analyze", content=endless(), headers=kind)
        is_problem(answer, 413, "too_large")
        assert list(client.service.work.iterdir()) == []


# Hostile requests

PRIVATE = (
    "http://127.0.0.1/a.mp4",
    "http://127.1/a.mp4",
    "http://2130706433/a.mp4",
    "http://0x7f000001/a.mp4",
    "http://0177.0.0.1/a.mp4",
    "http://[::1]/a.mp4",
    "http://[::ffff:127.0.0.1]/a.mp4",
    "http://[::ffff:7f00:1]/a.mp4",
    "http://localhost/a.mp4",
    "http://LOCALHOST./a.mp4",
    "http://x.localhost/a.mp4",
    "http://①②⑦.⓪.⓪.①/a.mp4",
    "http://0.0.0.0/a.mp4",
    "http://10.0.0.1/a.mp4",
    "http://192.168.1.1:8080/a.mp4",
    "http://169.254.169.254/latest/meta-data",
    "http://[fe80::1]/a.mp4",
    "http://[fd00:ec2::254]/a.mp4",
    "http://[64:ff9b::7f00:1]/a.mp4",
    "http://user:pass@127.0.0.1/a.mp4",
    "http://tiktok.com@127.0.0.1/a.mp4",
)
NO_ADDRESS = (
    "file:///etc/passwd",
    "/etc/passwd",
    "../../etc/passwd",
    "C:\\Windows\\win.ini",
    "ftp://tiktok.com/a.mp4",
    "gopher://127.0.0.1:6379/_x",
    "data:video/mp4;base64,AAAA",
    "javascript:alert(1)",
    "http://",
    "http://[::1",
    "http://tiktok.com:99999/",
    "http://tiktok.com\\@127.0.0.1/",
    "http://tik tok.com/",
    "pipe:0",
    "concat:/etc/passwd",
)
BODIES = (
    (b"", 400),
    (b"{", 400),
    (b"null", 422),
    (b"[]", 422),
    (b'"http://tiktok.com"', 422),
    (b"{}", 422),
    (b'{"url": 5}', 422),
    (b'{"url": null}', 422),
    (b'{"url": ""}', 422),
    (b'{"url": ["http://tiktok.com"]}', 422),
    (b'{"url": "https://tiktok.com/", "extra": 1}', 422),
    (b'{"url": "https://tiktok.com/", "only": "cut"}', 422),
    (b'{"url": "https://tiktok.com/", "only": [1]}', 422),
    (b'{"url": "https://tiktok.com/", "only": ["nobody"]}', 422),
    (b'{"url": "https://tiktok.com/", "without": ["' + b"x" * 5000 + b'"]}', 422),
    (b'{"url": "https://tiktok.com/' + b"x" * 5000 + b'"}', 422),
    (b'{"url": "\\ud800"}', 400),
    (b"\xff\xfe\x00", 400),
    (b"[" * 50_000, 400),
    (b"x" * 70_000, 413),
    (b'{"url": "https://tiktok.com/", "webhook": "http://127.0.0.1/"}', 422),
)
FORMS = (
    (b"", "multipart/form-data", 400),
    (b"", "multipart/form-data; boundary=", 400),
    (b"no form at all", "multipart/form-data; boundary=b", 400),
    (b"--b\r\n\r\n", "multipart/form-data; boundary=b", 400),
    (b"--b--\r\n", "multipart/form-data; boundary=b", 422),
    (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nhalf',
        "multipart/form-data; boundary=b",
        400,
    ),
    (
        b'--b\r\nContent-Disposition: form-data; name="only"\r\n\r\nplain\r\n--b--\r\n',
        "multipart/form-data; boundary=b",
        422,
    ),
    (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n\r\n--b--\r\n',
        "multipart/form-data; boundary=b",
        422,
    ),
    (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        b"<html>hello</html>\r\n--b--\r\n",
        "multipart/form-data; boundary=b",
        415,
    ),
    (b"a=1", "application/x-www-form-urlencoded", 415),
    (b"<x/>", "text/xml", 415),
    (b"x", "", 415),
    (b"", "multipart/form-data; boundary=" + "b" * 5000, 400),
)
PATHS = (
    ("GET", "/results/../../etc/passwd", 404),
    ("GET", "/results/..%2f..%2fetc%2fpasswd", 404),
    ("GET", "/results/%2e%2e/%2e%2e/jobs.sqlite", 404),
    ("GET", "/results/index.sqlite", 404),
    ("GET", "/results/%00", 404),
    ("GET", "/results/' OR 1=1 --", 404),
    ("GET", "/jobs/' OR 1=1 --", 404),
    ("GET", "/jobs/x/events", 404),
    ("GET", "/jobs?limit=0", 422),
    ("GET", "/jobs?limit=1e9", 422),
    ("GET", "/jobs?before=99999999999999999999999", 422),
    ("GET", "/jobs?state=nonsense", 422),
    ("GET", "/results?limit=-1", 422),
    ("GET", "/results?since=abc", 422),
    ("GET", "/results?q=" + "x" * 300, 422),
    ("DELETE", "/results/..%2f..", 404),
    ("DELETE", "/jobs", 405),
    ("PUT", "/analyze", 405),
    ("TRACE", "/", 405),
    ("GET", "/nothing", 404),
)


async def test_hostile_requests_are_refused_and_the_service_stays_well(clip, settings):
    opened = settings.model_copy(update={"allowed_hosts": ("*",)})
    tried = 0
    async with served(opened) as client:
        for url in PRIVATE:
            made = is_problem(await client.post("/analyze", json={"url": url}), 403, "refused")
            assert "is" in made["detail"], url
            tried += 1
        for url in NO_ADDRESS:
            answer = await client.post("/analyze", json={"url": url})
            is_problem(answer, 422, "unsupported")
            tried += 1
        for body, status in BODIES:
            kind = {"Content-Type": "application/json"}
            is_problem(await client.post("/analyze", content=body, headers=kind), status)
            tried += 1
        for body, form_type, status in FORMS:
            headers = {"Content-Type": form_type} if form_type else {}
            is_problem(await client.post("/analyze", content=body, headers=headers), status)
            tried += 1
        for method, path, status in PATHS:
            is_problem(await client.request(method, path), status)
            tried += 1
        assert tried >= 60
        for headers in ({"Content-Length": "-5"}, {"Content-Length": "1" * 30}):
            answer = await client.post("/analyze", content=b"{}", headers=headers)
            assert 400 <= answer.status_code < 500
        assert (await client.get("/jobs")).json()["jobs"] == [], "none of it was accepted"
        assert list(client.service.work.iterdir()) == []
        report = await client.post("/analyze?wait=true", **form(clip))
        assert report.status_code == 200, "the service is well"


async def test_by_default_only_the_platform_is_fetched_from(settings):
    async with served(settings) as client:
        for url in ("https://example.org/a.mp4", "https://tiktok.com.evil.example/a.mp4"):
            made = is_problem(await client.post("/analyze", json={"url": url}), 403, "refused")
            assert "list of allowed hosts" in made["detail"]


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd",
        slow("/etc/passwd"),
        "..\\..\\x.mp4",
        "a\x00b.mp4",
        slow(""),
        slow("x" * 5000),
    ],
)
async def test_upload_names_are_never_paths(clip, settings, tmp_path, name):
    before = {p for p in tmp_path.parent.rglob("*") if settings.home not in p.parents}
    async with served(settings) as client:
        boundary = b"b0undary"
        body = (
            b"--" + boundary + b'\r\nContent-Disposition: form-data; name="file"; filename="'
            + name.encode() + b'"\r\n\r\n' + clip.read_bytes() + b"\r\n--" + boundary + b"--\r\n"
        )  # fmt: skip
        kind = {"Content-Type": "multipart/form-data; boundary=b0undary"}
        answer = await client.post("/analyze?wait=true", content=body, headers=kind)
        if answer.status_code == 200:
            shown = answer.json()["video"]["source"]
            assert "/" not in shown
            assert "\\" not in shown
            assert len(shown) <= 200
        else:
            is_problem(answer, 400)
    after = {p for p in tmp_path.parent.rglob("*") if settings.home not in p.parents}
    assert after - before <= {settings.home}


def full_disk():
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


async def test_streams_have_a_number_of_their_own(clip, settings):
    settings = settings.model_copy(update={"streams": 2, "options": HANG})
    async with served(settings, [fakes.Behaved]) as client:
        id = (await client.post("/analyze", **form(clip))).json()["id"]
        streams = [asyncio.create_task(client.get(f"/jobs/{id}/events")) for _ in range(2)]
        while client.service.watching < 2:
            await asyncio.sleep(0.01)
        refused = await client.get(f"/jobs/{id}/events")
        is_problem(refused, 503, "too_many_streams")
        assert refused.headers["retry-after"]
        is_problem(await client.post("/analyze?wait=true", **form(clip)), 503, "too_many_streams")
        assert (await client.get("/health")).status_code == 200
        assert (await client.post("/analyze", **form(clip))).status_code == 202
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        await client.delete(f"/jobs/{id}")
        while client.service.watching:
            await asyncio.sleep(0.01)
        assert (await client.get(f"/jobs/{id}/events")).status_code == 200


async def test_uploads_that_come_at_once_share_the_room(clip, settings, monkeypatch):
    gate = asyncio.Event()

    async def slowly(data):
        yield data[:100]
        await gate.wait()
        yield data[100:]

    async with served(settings) as client:
        settled = httpx.Request("POST", "http://x/", **form(clip))
        data, size = settled.read(), int(settled.headers["content-length"])
        headers = {name: settled.headers[name] for name in ("content-type", "content-length")}
        free = settings.disk_reserve_gib + 1.5 * size / 2**30
        monkeypatch.setattr(client.service, "free_gib", lambda: free)
        first = asyncio.create_task(client.post("/analyze", content=slowly(data), headers=headers))
        while not client.service.arriving:
            await asyncio.sleep(0.01)
        second = await client.post("/analyze", content=data, headers=headers)
        is_problem(second, 429, "uploads_full")
        gate.set()
        assert (await first).status_code == 202
        assert (await client.post("/analyze", content=data, headers=headers)).status_code == 202
        free = settings.disk_reserve_gib + 0.5 * size / 2**30
        is_problem(await client.post("/analyze", content=data, headers=headers), 507, "disk_full")


async def test_an_upload_is_refused_as_soon_as_it_has_filled_the_disk(settings, monkeypatch):
    async def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        for _ in range(100):
            yield bytes(2**20)

    async with served(settings) as client:
        free = iter([9.0] * 2)
        monkeypatch.setattr(client.service, "free_gib", lambda: next(free, 0.5))
        headers = {"content-type": "multipart/form-data; boundary=x"}
        answer = await client.post("/analyze", content=endless(), headers=headers)
        is_problem(answer, 507, "disk_full")
        assert list(client.service.work.iterdir()) == []


async def test_serves_proxy_is_given_little_to_hold(clip, settings):
    settings = settings.model_copy(update={"proxied_mib": 1})
    async with served(settings, direct=False) as client:
        assert (await client.post("/analyze", **form(clip))).status_code == 202
        large = {"files": {"file": ("x.mp4", bytes(2**20 + 1))}}
        is_problem(await client.post("/analyze", **large), 413, "too_large")

        async def unsaid():
            yield b"--x\r\n"

        headers = {"content-type": "multipart/form-data; boundary=x"}
        answer = await client.post("/analyze", content=unsaid(), headers=headers)
        is_problem(answer, 411, "length_required")


async def test_no_job_fails_of_a_cache_without_room(clip, settings, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    async with served(settings) as client:
        with monkeypatch.context() as disk:
            disk.setattr("pathlib.Path.replace", refuse)
            report = (await client.post("/analyze?wait=true", **form(clip))).json()
        assert report["analyzers"]["needy"]["status"] == "ok"
        # three outputs, and what is known of the video
        assert client.service.cache.facts()["failures"] == 4


async def test_a_waiting_job_is_cancelled_on_a_full_disk(clip, settings, monkeypatch):
    settings = settings.model_copy(update={"options": HANG, "in_flight": 1})
    async with served(settings, [fakes.Behaved]) as client:
        ids = [(await client.post("/analyze", **form(clip))).json()["id"] for _ in range(2)]
        while not (await client.get(f"/jobs/{ids[0]}")).json()["started"]:
            await asyncio.sleep(0.01)
        cancel, upload = client.service.ledger.cancel, client.service.work / ids[1]

        def until_there_is_room(id):
            if upload.exists():
                raise full_disk()
            return cancel(id)

        monkeypatch.setattr(client.service.ledger, "cancel", until_there_is_room)
        assert (await client.delete(f"/jobs/{ids[1]}")).json()["state"] == "cancelled"
        assert (await client.delete(f"/jobs/{ids[0]}")).status_code == 200
        assert (await ended(client, ids[0]))["state"] == "cancelled"


async def test_a_download_waits_for_the_disk(clip, settings, monkeypatch):
    tries = []

    async def taking(url, _, folder, *__, **___):
        tries.append(url)
        if len(tries) == 1:
            client.service.free_gib = lambda: 0.0
            asyncio.get_running_loop().call_later(0.3, delattr, client.service, "free_gib")
            raise OSError(errno.ENOSPC, "No space left on device")
        if url.endswith("never"):
            raise OSError(errno.ENOSPC, "No space left on device")
        target = folder / "video"
        target.write_bytes(clip.read_bytes())
        return Taken(target, url)

    monkeypatch.setattr("tiktok_ray.serve.service.take", taking)
    monkeypatch.setattr("tiktok_ray.serve.service.FULL_S", 0.05)
    async with served(settings) as client:
        url = "https://www.tiktok.com/@a/video/1"
        id = (await client.post("/analyze", json={"url": url})).json()["id"]
        assert (await ended(client, id))["state"] == "done"
        assert len(tries) == 2
        id = (await client.post("/analyze", json={"url": f"{url}never"})).json()["id"]
        job = await ended(client, id)
        assert (job["state"], job["problem"]["type"]) == ("failed", "urn:tiktok-ray:disk_full")


async def test_everything_in_the_home_is_for_its_owner_alone(clip, settings):
    settings.home.mkdir(mode=0o755)
    (settings.home / "results").mkdir(mode=0o755)
    (settings.home / "results" / "old").write_text("readable")
    (settings.home / "results" / "old").chmod(0o644)
    before = os.umask(0o022)
    try:
        async with served(settings) as client:
            await client.post("/analyze?wait=true", **form(clip))
            open_to_others = [
                str(path)
                for path in (settings.home, *settings.home.rglob("*"))
                if path.stat().st_mode & 0o077
            ]
    finally:
        os.umask(before)
    assert open_to_others == []


async def test_it_starts_without_a_cache_where_there_can_be_none(clip, settings):
    settings.home.mkdir()
    (settings.home / "cache").write_text("in the way")
    async with served(settings) as client:
        assert (await client.post("/analyze?wait=true", **form(clip))).status_code == 200
        assert any(
            "without a cache" in why for why in (await client.get("/health")).json()["reasons"]
        )


@pytest.mark.slow
async def test_it_starts_over_whatever_cannot_be_read(clip, settings):
    async with served(settings) as client:
        for _ in range(2):
            await client.post("/analyze?wait=true", **form(clip))
        broken, whole = [r["id"] for r in (await client.get("/results")).json()["results"]]
    (settings.home / "results" / broken / "report.json").write_text("{ broken")
    (settings.home / "results" / "index.sqlite").write_bytes(b"junk" * 1000)
    (settings.home / "jobs.sqlite").write_bytes(b"junk" * 1000)
    for entry in (settings.home / "cache").iterdir():
        entry.write_text("junk")
    async with served(settings) as client:
        health = (await client.get("/health")).json()
        assert health["ready"]
        [named] = [r for r in health["reasons"] if "set aside" in r]
        assert all(name in named for name in (broken, "index.sqlite", "jobs.sqlite"))
        assert [r["id"] for r in (await client.get("/results")).json()["results"]] == [whole]
        answer = await client.post("/analyze?wait=true", **form(clip))
        assert answer.status_code == 200


async def test_what_nobody_wants_kept_goes(clip, settings, monkeypatch):
    async with served(settings) as client:
        answer = await client.post("/analyze?wait=true", **form(clip, keep="false"))
        id = answer.headers["location"].rpartition("/")[2]
        assert (await client.get(f"/results/{id}")).status_code == 200
        assert (await client.get(f"/results/{id}/video")).status_code == 404
        kept = (await client.post("/analyze?wait=true", **form(clip))).headers["location"]
        await client.service._sweep()
        assert (await client.get(f"/results/{id}")).status_code == 200, "its sender has an hour"
        monkeypatch.setattr("tiktok_ray.serve.service.UNKEPT_S", -1.0)
        await client.service._sweep()
        assert (await client.get(f"/results/{id}")).status_code == 404
        assert (await client.get(kept)).status_code == 200
        is_problem(await client.post("/analyze", **form(clip, keep="maybe")), 422, "invalid")


@pytest.mark.slow
async def test_webhooks_do_not_wait_for_one_another(clip, settings, site):
    settings = settings.model_copy(
        update={"webhook_secret": SecretStr("quiet"), "private_addresses": True}
    )
    with socket.create_server(("127.0.0.2", 0)) as silent:
        dead = f"http://127.0.0.2:{silent.getsockname()[1]}/"
        async with served(settings) as client:
            for hook in (dead, dead, dead, f"http://127.0.0.1:{site.server_port}/hook"):
                id = (await client.post("/analyze", **form(clip, webhook=hook))).json()["id"]
                await ended(client, id)
            begin = time.monotonic()
            while client.service.ledger.outcome(id) != "delivered":
                await asyncio.sleep(0.05)
                assert time.monotonic() - begin < 10, "it waits for the dead ones"
            assert sorted(client.service._sending.values()) == ["127.0.0.2"] * 2


async def test_head_is_answered_as_get_without_a_body(clip, settings):
    async with served(settings, [fakes.Behaved]) as client:
        id = (await client.post("/analyze?wait=true", **form(clip))).headers["location"]
        for path in ("/health", id, f"{id}/video", "/metrics", "/"):
            head = await client.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert (
                head.headers["content-length"] == (await client.get(path)).headers["content-length"]
                or path == "/health"
            )
        assert (await client.head("/jobs/nothing")).status_code == 404
        assert (await client.head("/analyze")).status_code == 405
        job = id.replace("results", "jobs")
        assert (await client.head(f"{job}/events")).status_code == 200
        assert client.service.watching == 0


@pytest.mark.parametrize("place", ["http://[::1", "http://x:port/", "//\x01/", "http://a..b/"])
async def test_a_redirect_to_no_address_has_its_type(settings, place):
    class Lost(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", place)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Lost)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = settings.model_copy(update={"private_addresses": True, "allowed_hosts": ("*",)})
    try:
        async with served(settings) as client:
            url = f"http://127.0.0.1:{server.server_port}/a.mp4"
            id = (await client.post("/analyze", json={"url": url})).json()["id"]
            job = await ended(client, id)
            assert job["problem"]["type"] in (
                "urn:tiktok-ray:unreachable",
                "urn:tiktok-ray:refused",
            )
    finally:
        server.shutdown()
        server.server_close()
