"""The MCP server, asked by the SDK's own client: in memory, over HTTP with a token, on stdio."""

import asyncio
import base64
import contextlib
import json
import logging
import sys
import threading
import time

import cv2
import httpx2
import numpy as np
import pytest
import uvicorn
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from pydantic import SecretStr

from actors import ANALYZERS
from actors.content_quality import TextVectors
from tests import fakes, viewer_reports
from tests.test_meaning import MODEL, write
from tests.test_serve import changed_report, result_of, served
from tiktok_ray.exports.text import text as packed
from tiktok_ray.graph import Graph
from tiktok_ray.report import ModelUsed
from tiktok_ray.run.engine import Engine
from tiktok_ray.run.placement import plan
from tiktok_ray.run.threads import LocalWorkers
from tiktok_ray.run.worker import Reply
from tiktok_ray.serve.api import create_app
from tiktok_ray.serve.mcp_server import Late, allowed, make_server
from tiktok_ray.serve.service import Service

TOKEN = "a token of forty characters or so, for a test"


def words(result):
    """The text of an answer that is not an error."""
    assert not result.is_error, result.content
    return result.content[0].text


def complaint(result):
    assert result.is_error
    return result.content[0].text


@contextlib.asynccontextmanager
async def agent(settings, folders=(), **more):
    """An agent's client in memory, and the HTTP client behind its server."""
    async with served(settings, **more) as http:

        async def reach():
            return http

        async with Client(make_server(reach, folders)) as client:
            yield client, http


async def with_report(http, clip, **sections):
    """A result whose report has also these sections' outputs; its identifier."""
    id = await result_of(http, clip)
    with changed_report(http, id) as report:
        for name, output in sections.items():
            report["analyzers"][name] = {"status": "ok", "output": output}
    return id


async def test_tools_tell_what_they_take(settings):
    async with agent(settings) as (client, _):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == {
        "analyze", "status", "cancel", "health", "results", "analyzers", "text_pack",
        "report_sections", "timeline", "captions", "frames", "search", "segments",
    }  # fmt: skip
    assert all(tool.description for tool in tools.values())
    assert tools["analyze"].input_schema["required"] == ["url"]


@pytest.mark.slow
async def test_a_file_is_analyzed_looked_at_and_read(settings, clip):
    async with agent(settings, [clip.parent]) as (client, _):
        job = await client.call_tool("analyze_file", {"path": str(clip), "wait_s": 60})
        made = job.structured_content
        assert made["state"] == "done"
        id = made["result"]
        again = await client.call_tool("status", {"job": made["id"]})
        assert again.structured_content == made
        assert json.loads(words(await client.call_tool("results", {})))[0]["id"] == id
        pack = words(await client.call_tool("text_pack", {"id": id}))
        assert "2.0 s, 144 x 256, 30 frames per second, with sound" in pack
        overview = json.loads(words(await client.call_tool("report_sections", {"id": id})))
        assert overview["analyzers"]["plain"]["status"] == "ok"
        query = {"id": id, "sections": ["plain", "video"]}
        parts = json.loads(words(await client.call_tool("report_sections", query)))
        assert set(parts) == {"plain", "video"}
        assert parts["video"]["width"] == 144
        unknown = {"id": id, "sections": ["soup"]}
        assert "available: video, summary, run" in complaint(
            await client.call_tool("report_sections", unknown)
        )


@pytest.mark.slow
async def test_pictures_come_with_their_times(settings, clip):
    async with agent(settings) as (client, http):
        id = await with_report(http, clip)
        answer = await client.call_tool("frames", {"id": id, "times": [0.25, 1.75], "short": 64})
        assert not answer.is_error
        told, first, later, second = answer.content
        assert (told.text, later.text) == ("0.233 s", "1.733 s")
        shown = []
        for one in (first, second):
            assert (one.type, one.mime_type) == ("image", "image/jpeg")
            raw = np.frombuffer(base64.b64decode(one.data), np.uint8)
            shown.append(cv2.imdecode(raw, cv2.IMREAD_COLOR).astype(int))
        assert {picture.shape for picture in shown} == {(114, 64, 3)}
        assert np.abs(shown[0] - shown[1]).mean() > 20  # the clip cuts at 1 s
        many = {"id": id, "times": [0.0] * 9}
        assert "at most 8" in complaint(await client.call_tool("frames", many))
        await http.delete(f"/results/{id}")
        assert "not_found" in complaint(await client.call_tool("frames", {"id": id, "times": [0]}))


async def test_captions_and_timeline(settings, clip):
    word = {"text": "soup", "start": 0.5, "end": 1.0}
    said = {"segments": [{"text": "soup", "words": [word], "start": 0.5, "end": 1.0}]}
    async with agent(settings) as (client, http):
        id = await with_report(http, clip, speech_transcription=said)
        captions = words(await client.call_tool("captions", {"id": id, "format": "srt"}))
        assert "00:00:00,500 --> 00:00:01,500\nsoup" in captions
        asked = {"id": id, "format": "json"}
        assert json.loads(words(await client.call_tool("captions", asked)))["words"] == [word]
        with changed_report(http, id) as report:
            report["timeline"] = viewer_reports.report()["timeline"]
        asked = {"id": report["video"]["id"], "kinds": ["shot"], "start": 5, "end": 9}
        shots = json.loads(words(await client.call_tool("timeline", asked)))
        assert [shot["label"] for shot in shots] == ["shot 2", "shot 3"]


async def test_segments_are_found_by_definition(settings, clip):
    async with agent(settings) as (client, http):
        shots = {"shots": [{"start": 0.0, "end": 1.0, "index": 0}]}
        id = await with_report(http, clip, cut_analysis=shots)
        shot = {"kind": "shot", "label": "shot 1", "start": 0.0, "end": 1.0}
        with changed_report(http, id) as whole:
            whole["timeline"] = [{**shot, "analyzer": "cut_analysis"}]
        rules = [
            {"name": "first", "when": {"event": {"kind": "shot"}}},
            {"name": "alone", "when": {"not": {"event": {"kind": "person"}}}},
        ]
        asked = {"id": id, "definition": {"segments": rules}}
        made = json.loads(words(await client.call_tool("segments", asked)))
        assert [(one["name"], one["end"]) for one in made["segments"]] == [("first", 1.0)]
        assert [one["name"] for one in made["not_measured"]] == ["alone"]
        wrong = {"id": id, "definition": {"segments": []}}
        assert "bad_definition" in complaint(await client.call_tool("segments", wrong))


async def test_a_question_without_a_describer_is_told_and_not_answered(settings):
    write(settings.home / "results", "0000000a", None, cuts=(4.0,))
    question = {"question": "Is it red?", "answer": "boolean"}
    rule = {"name": "shots", "when": {"event": {"kind": "shot"}}, "by_shot": True}
    asked = {"segments": [{**rule, "fields": {"red": question}}]}
    async with agent(settings) as (client, _):
        told = await client.call_tool("segments", {"id": "0000000a", "definition": asked})
        made = json.loads(words(told))
    assert [(one["start"], one["end"]) for one in made["segments"]] == [(0.0, 4.0), (4.0, 10.0)]
    for one in made["segments"]:
        assert "red" not in one["fields"]
        [answer] = one["asked"]
        assert answer["status"] == "unavailable"


async def test_what_is_meant_is_found_beside_what_is_said(settings, tmp_path, monkeypatch):
    """The vectors are given; that a model's own order is kept is tested in test_meaning."""
    clip_like = tmp_path / "hub" / "openai--clip-vit-base-patch32"
    e5_like = tmp_path / "hub" / "intfloat--multilingual-e5-small"
    for folder in (clip_like, e5_like):
        folder.mkdir(parents=True)
        for name in ("config.json", "model.safetensors", "tokenizer.json"):
            (folder / name).write_text("{}")

    async def ask(_engine, _name, asked):
        vectors = TextVectors(vectors=[[1.0, 0.0] for _ in asked])
        return Reply("ok", output=vectors, model=ModelUsed(**MODEL))

    monkeypatch.setattr(Engine, "ask", ask)
    said = (("said", "Stir the soup", 1.0, 2.0), [1, 0])
    shown = (("written", "SOUP", 0.0, 4.0), [0, 1])
    write(settings.home / "results", "0000000a", [[0, 1], [1, 0]], texts=[said, shown])
    chosen = settings.model_copy(update={"models": tmp_path})
    async with agent(chosen, analyzers=ANALYZERS) as (client, _):
        asked = {"q": "Suppe rühren", "meaning": True}
        found = json.loads(words(await client.call_tool("search", asked)))
        only = {**asked, "kinds": ["written"]}
        written = json.loads(words(await client.call_tool("search", only)))
    assert found["hits"] == []
    assert [shot["at"] for shot in found["alike"]["shots"]] == [1.0]
    meant = found["same_meaning"]
    assert [(one["text"], one["cosine"]) for one in meant["passages"]] == [
        ("Stir the soup", 1.0),
        ("SOUP", 0.0),
    ]
    assert meant["model"]["id"] == MODEL["id"]
    assert [one["text"] for one in written["same_meaning"]["passages"]] == ["SOUP"]


async def test_without_weights_for_meanings_an_agent_is_told_what_gets_them(settings):
    write(settings.home / "results", "0000000a", None)
    async with agent(settings, analyzers=ANALYZERS) as (client, _):
        asked = {"q": "soup", "meaning": True}
        found = json.loads(words(await client.call_tool("search", asked)))
    for part, name in (
        ("alike", "content_quality"),
        ("same_meaning", "cross_analyzer_intelligence"),
    ):
        assert found[part]["status"] == "unavailable"
        assert f"tiktok-ray models pull {name}" in found[part]["reason"]


@pytest.mark.slow
async def test_words_are_found_over_all_results(settings, clip):
    async with agent(settings) as (client, http):
        id = await with_report(http, clip)
        with changed_report(http, id) as report:
            report["timeline"] = viewer_reports.report()["timeline"]
        asked = {"q": "launch", "kinds": ["said"], "limit": 3}
        hits = json.loads(words(await client.call_tool("search", asked)))
        assert {hit["result"] for hit in hits} == {id}
        assert [(hit["start"], hit["kind"]) for hit in hits] == [
            (0.0, "said"),
            (2.0, "said"),
            (6.0, "said"),
        ]
        assert "from the [launch]" in hits[0]["snippet"]
        assert "contains no words" in complaint(await client.call_tool("search", {"q": "..."}))


async def test_what_is_too_long_is_refused_and_not_cut(settings, clip):
    async with agent(settings) as (client, http):
        id = await with_report(http, clip, speech_transcription={"text": "soup " * 20_000})
        query = {"id": id, "sections": ["speech_transcription"]}
        refused = await client.call_tool("report_sections", query)
        assert "the limit is 60000" in complaint(refused)


# Access


async def test_the_doors_are_those_of_the_service(settings):
    async with agent(settings.model_copy(update={"allowed_hosts": ("*",)})) as (client, _):
        for url in ("http://127.0.0.1:9/a.mp4", "http://169.254.169.254/", "file:///etc/passwd"):
            said = complaint(await client.call_tool("analyze", {"url": url}))
            assert "refused: " in said or "unsupported: " in said
    async with agent(settings) as (client, _):
        said = complaint(await client.call_tool("analyze", {"url": "https://example.com/a.mp4"}))
        assert "not on the list of allowed hosts" in said
        unknown = {"url": "https://www.tiktok.com/@a/video/1", "only": ["soup"]}
        assert "unknown_analyzer" in complaint(await client.call_tool("analyze", unknown))


async def test_no_files_unless_a_folder_is_allowed(settings, clip, tmp_path):
    async with agent(settings) as (client, _):
        assert (await client.call_tool("analyze_file", {"path": str(clip)})).is_error
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder in (mine, theirs):
        folder.mkdir()
    (theirs / "secret.mp4").write_bytes(clip.read_bytes())
    (mine / "link.mp4").symlink_to(theirs / "secret.mp4")
    async with agent(settings, [mine]) as (client, http):
        for path in (theirs / "secret.mp4", theirs / "none.mp4", mine / "link.mp4", mine,
                     mine / ".." / "theirs" / "secret.mp4", "/etc/passwd", "soup\0.mp4"):  # fmt: skip
            said = complaint(await client.call_tool("analyze_file", {"path": str(path)}))
            assert "no such file in the allowed folders" in said
        assert (await http.get("/jobs")).json()["jobs"] == []
    assert allowed(str(theirs / "secret.mp4"), [theirs.resolve()]) == theirs / "secret.mp4"


async def test_names_lead_nowhere_else(settings):
    async with agent(settings) as (client, _):
        for id in ("..", "../health", "a/b", "%2e%2e", ""):
            assert (await client.call_tool("text_pack", {"id": id})).is_error
        assert "not_found" in complaint(await client.call_tool("text_pack", {"id": "0123456789"}))


@pytest.fixture
def listening(settings):
    """The service with a token, on a socket; its address."""
    made = settings.model_copy(update={"token": SecretStr(TOKEN)})

    def make():
        graph = Graph([fakes.Plain])
        workers = LocalWorkers(graph, plan(graph.analyzers.values(), made), made)
        return Service(graph, workers, made)

    config = uvicorn.Config(create_app(make), port=0, log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


async def test_over_http_the_token_of_the_service_is_wanted(listening):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"{listening}/mcp", http_client=http)
        async with Client(transport) as client:
            assert (await client.call_tool("health", {})).structured_content["status"]
            listed = json.loads(words(await client.call_tool("analyzers", {})))
            assert [one["name"] for one in listed] == ["plain"]
            # Tools ask with the service's own token, and still get nothing that it refuses.
            refused = await client.call_tool("analyze", {"url": "http://127.0.0.1:9/a.mp4"})
            assert "refused" in complaint(refused)
            assert (await client.call_tool("analyze_file", {"path": "/etc/passwd"})).is_error
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    async with httpx2.AsyncClient(timeout=60) as http:
        for more in ({}, {"Authorization": "Bearer soup"}):
            answer = await http.post(f"{listening}/mcp", json=body, headers=more)
            assert answer.status_code == 401
            assert answer.json()["type"] == "urn:tiktok-ray:unauthorized"
        other = {**headers, "Origin": "http://evil.example"}
        assert (await http.post(f"{listening}/mcp", json=body, headers=other)).status_code == 403
        assert (await http.get(f"{listening}/mcp", headers=headers)).status_code == 405


async def test_requests_of_agents_count_among_those_that_wait(settings):
    async with served(settings.model_copy(update={"streams": 1})) as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        kinds = {"Accept": "application/json, text/event-stream"}
        assert (await http.post("/mcp", json=body, headers=kinds)).status_code != 503
        http.service.watching = 1
        refused = await http.post("/mcp", json=body, headers=kinds)
        assert refused.status_code == 503
        assert refused.json()["type"] == "urn:tiktok-ray:too_many_streams"
        http.service.watching = 0


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_on_stdio_with_a_service_of_its_own(clip, tmp_path):
    """The command as a client starts it: nothing but the protocol reaches its standard output."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "tiktok_ray.cli", "mcp", "--allow", str(clip.parent)],
        env={
            "TIKTOK_RAY_HOME": str(tmp_path / "home"),
            "TIKTOK_RAY_WORKERS": "threads",
            "TIKTOK_RAY_PRELOAD": "false",
            "PYTHONPATH": ":".join(sys.path),
        },
    )
    async with Client(server, read_timeout_seconds=200) as client:
        asked = {"path": str(clip), "only": ["cut_analysis"], "wait_s": 180}
        made = (await client.call_tool("analyze_file", asked)).structured_content
        assert made["state"] == "done", made
        query = {"id": made["result"], "sections": ["cut_analysis"], "fields": ["shots"]}
        found = json.loads(words(await client.call_tool("report_sections", query)))
        shots = found["cut_analysis"]["output"]["shots"]
        assert [shot["start"] for shot in shots] == [0.0, 1.0]


# What it is made of


async def test_what_begins_late_begins_once_and_ends():
    begun, over = [], []

    @contextlib.asynccontextmanager
    async def thing():
        begun.append(1)
        if len(begun) == 1:
            raise RuntimeError("not yet")
        yield "soup"
        over.append(1)

    late = Late(thing)
    with pytest.raises(RuntimeError, match="not yet"):
        await late()
    assert await asyncio.gather(late(), late()) == ["soup", "soup"]
    assert (len(begun), over) == (2, [])
    await late.close()
    assert over == [1]
    await Late(thing).close()


def test_the_logs_of_the_process_stay_as_they_were():
    root = logging.getLogger()
    before = root.level, list(root.handlers)

    async def reach():
        raise AssertionError("nothing is asked")

    make_server(reach)
    assert (root.level, list(root.handlers)) == before


def test_a_pack_tells_what_it_leaves_out():
    report = viewer_reports.report(120.0, pace=4.0)
    whole = packed(report)
    assert whole.startswith(f"VIDEO {report['video']['id']}\n")
    for most in (500, 2000, 20_000):
        short = packed(report, most)
        assert len(short) <= most
        assert "\nOmitted for length: " in short
    assert packed(report, len(whole)) == whole


def test_a_pack_names_what_was_not_measured():
    pack = packed(viewer_reports.every_status(), 4000)
    assert "body_pose: failed, ValueError: no such file" in pack
    assert "speech_transcription, words: weights not installed" in pack
    assert "color_analysis: skipped" not in pack  # nobody asked for it


def test_hostile_words_stay_in_their_lines():
    lines = packed(viewer_reports.hostile()).splitlines()
    assert not any("\u2028" in line or "\x00" in line for line in lines)
