"""The describer behind an OpenAI-compatible server, against a server of the test's own."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from actors.qwen2_vl_temporal import Description, DescriptionOptions, Qwen2VlTemporal
from actors.qwen2_vl_temporal.describers import Answer, DescriberFailed, Prompt
from actors.qwen2_vl_temporal.describers.answers import WHOLE, WINDOW
from actors.qwen2_vl_temporal.describers.server import SERVER, Server
from tests.made_outputs import cuts
from tests.test_engine import engine_for
from tiktok_ray.analyzer import Partial
from tiktok_ray.media import Frames
from tiktok_ray.run.engine import Source
from tiktok_ray.run.placement import plan
from tiktok_ray.run.worker import Worker
from tiktok_ray.settings import Settings

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220)}


class Served(ThreadingHTTPServer):
    """A chat server that names the colour it is shown. ``spoil`` answers a request otherwise."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models = ["tiny/eyes"]
        self.says: dict[str, Any] = {"owned_by": "vllm", "root": "/weights/one"}
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.spoil: Callable[[Handler, int], bool] = lambda handler, number: False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Served

    def log_message(self, *_: object) -> None:
        pass

    def send(self, status: int, body: Any, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        listed = [{"id": name, "created": time.time()} for name in self.server.models]
        self.send(200, {"data": [one | self.server.says for one in listed]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(asked)
        self.server.keys.append(self.headers.get("Authorization"))
        if not self.server.spoil(self, len(self.server.requests)):
            self.send(200, completion(colour_of(asked), asked["model"]))


def completion(said: str, model: str, **more: Any) -> dict[str, Any]:
    labels = {label: said for label, _ in (WINDOW | WHOLE).values()}
    text = "\n".join(f"{label}: {value}" for label, value in labels.items())
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"model": model, "choices": [choice], "usage": {"completion_tokens": 12}} | more


def pictures_of(asked: dict[str, Any]) -> list[Any]:
    """The pictures of a request, decoded, in BGR."""
    content = asked["messages"][0]["content"]
    addresses = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    assert all(address.startswith("data:image/jpeg;base64,") for address in addresses)
    raw = [base64.b64decode(address.partition(",")[2]) for address in addresses]
    return [cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) for one in raw]


def colour_of(asked: dict[str, Any]) -> str:
    found = pictures_of(asked)
    if not found:
        return "nothing to see"
    mean = found[0].mean((0, 1))[::-1]
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))


@contextlib.contextmanager
def serving() -> Iterator[Served]:
    """A chat server that runs until the block ends."""
    server = Served()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as server:
        yield server


def video() -> Frames:
    """Six seconds: red, green and blue, two pictures a second."""
    names = [name for name in COLOURS for _ in range(4)]
    pictures = [np.full((128, 72, 3), COLOURS[name], np.uint8) for name in names]
    return Frames.of([k / 2 for k in range(12)], pictures, 6.0)


def prompt(text: str = "Describe.", side: int = 64) -> Prompt:
    return Prompt(text, (np.full((side, side, 3), 128, np.uint8),), (1.5,))


def describe(served: Served, **options: Any) -> Description | Partial:
    made = Qwen2VlTemporal(DescriptionOptions(describer="server", server_url=served.url, **options))
    made.load(SERVER, "cpu", {})
    return made.analyze(video(), cuts((2.0, 4.0), 6.0), None)


def test_a_video_is_described_from_its_pictures(served: Served):
    output = describe(served)
    assert isinstance(output, Description)
    assert [window.action for window in output.windows] == ["red", "green", "blue"]
    assert [window.tokens for window in output.windows] == [12, 12, 12]
    assert (output.describer, output.answered_by) == ("server", ["tiny/eyes"])
    assert output.title == "nothing to see"
    windows = served.requests[:3]
    assert {(asked["model"], asked["temperature"], asked["max_tokens"]) for asked in windows} == {
        ("tiny/eyes", 0, 160)
    }
    assert served.keys[0] is None
    whole = served.requests[-1]
    assert pictures_of(whole) == []
    assert "red" in whole["messages"][0]["content"][-1]["text"]


def test_pictures_come_in_order_with_their_times_and_within_their_size(served: Served):
    describer = Server(served.url, pixels=10_000)
    pictures = tuple(np.full((200, 400, 3), level, np.uint8) for level in (40, 120, 200))
    describer.answer([Prompt("Go.", pictures, (0.0, 0.5, 1.0))], tokens=16, seconds=10)
    [asked] = served.requests
    content = asked["messages"][0]["content"]
    texts = [part["text"] for part in content if part["type"] == "text"]
    assert texts == ["Picture at 0.0 s:", "Picture at 0.5 s:", "Picture at 1.0 s:", "Go."]
    shown = pictures_of(asked)
    assert [round(float(one.mean())) for one in shown] == [40, 120, 200]
    assert {one.shape for one in shown} == {(70, 141, 3)}


def test_prompts_are_answered_at_once_and_in_order(served: Served):
    together = threading.Barrier(4)
    served.spoil = lambda handler, number: together.wait(10) < 0
    prompts = [Prompt(str(k), (np.full((8, 8, 3), c, np.uint8),), (0.0,)) for k, c in enumerate(
        [*COLOURS.values(), COLOURS["red"]])]  # fmt: skip
    answers = Server(served.url).answer(prompts, tokens=16, seconds=10)
    assert [answer.text.split()[1] for answer in answers] == ["red", "green", "blue", "red"]


def test_the_key_is_that_of_its_file_each_time(served: Served, tmp_path: Path):
    key = tmp_path / "key"
    describer = Server(served.url, key_file=key)
    with pytest.raises(DescriberFailed, match="API key cannot be read"):
        describer.answer([prompt()], tokens=16, seconds=10)
    for word in ("soup", "salad"):
        key.write_text(f"{word}\n")
        describer.answer([prompt()], tokens=16, seconds=10)
    assert served.keys == ["Bearer soup", "Bearer salad"]


def test_of_several_models_one_must_be_named(served: Served):
    served.models = ["a/one", "b/two"]
    with pytest.raises(DescriberFailed, match="a/one, b/two; choose one with server_model"):
        Server(served.url).answer([prompt()], tokens=16, seconds=10)
    Server(served.url, "b/two").answer([prompt()], tokens=16, seconds=10)
    assert [asked["model"] for asked in served.requests] == ["b/two"]


def test_what_is_not_said_is_not_made_up(served: Served):
    """No count of tokens, no model, and an answer that was cut off."""

    def bare(handler: Handler, _: int) -> bool:
        choice = {"message": {"content": "Setting: a kit"}, "finish_reason": "length"}
        handler.send(200, {"choices": [choice]})
        return True

    served.spoil = bare
    [answer] = Server(served.url).answer([prompt()], tokens=16, seconds=10)
    assert answer == Answer("Setting: a kit", None, False, None)
    made = describe(served)
    assert isinstance(made, Partial)
    output = made.output
    assert isinstance(output, Description)
    assert {tuple(window.faults) for window in output.windows} == {("cut_off",)}
    assert {(window.setting, window.tokens) for window in output.windows} == {(None, None)}
    assert output.answered_by is None


# What goes wrong


def answering(status: int, body: Any, **headers: str) -> Callable[[Handler, int], bool]:
    def spoil(handler: Handler, _: int) -> bool:
        handler.send(status, body, **headers)
        return True

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            answering(500, {"error": {"message": "out of soup"}}),
            "responded with 500: .*out of soup",
        ),
        (answering(401, {"error": "no key"}), "responded with 401"),
        (answering(302, b"", Location="http://127.0.0.1:9/v1"), "responded with 302"),
        (answering(200, b"<html>"), "did not return JSON"),
        (answering(200, {"choices": []}), "did not return a chat completion"),
        (answering(200, {"choices": [{"message": None}]}), "did not return a chat completion"),
        (answering(200, [1]), "did not return a chat completion"),
        (answering(200, {"choices": [{"message": {"content": [1]}}]}), "not text"),
        (answering(200, b"x" * (17 * 2**20)), "more than 16777216 bytes were received"),
    ],
)
def test_an_answer_that_is_none_is_named(served: Served, spoil: Any, said: str):
    served.spoil = spoil
    with pytest.raises(DescriberFailed, match=said):
        Server(served.url, "m").answer([prompt()], tokens=16, seconds=20)


def test_a_server_that_is_not_there_is_named():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DescriberFailed, match="127.0.0.1 could not be reached"):
        Server(f"http://127.0.0.1:{port}/v1", "m").answer([prompt()], tokens=16, seconds=10)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("how", ["silent", "dawdling"])
def test_time_is_up_whatever_the_server_does(served: Served, how: str):
    """A byte now and then keeps a connection alive, and not the question."""
    over = threading.Event()

    def spoil(handler: Handler, _: int) -> bool:
        if how == "dawdling":
            handler.send_response(200)
            handler.send_header("Content-Length", "1000000")
            handler.end_headers()
        while not over.wait(0.05):
            if how == "dawdling":
                try:
                    handler.wfile.write(b" ")
                except OSError:
                    break
        return True

    served.spoil = spoil
    try:
        with pytest.raises(DescriberFailed, match="no response within 0.5 s"):
            Server(served.url, "m", seconds=0.5).answer([prompt()], tokens=16, seconds=60)
    finally:
        over.set()


def test_what_was_described_stays_when_the_server_goes(served: Served):
    served.spoil = lambda handler, number: number > 2 and answering(503, b"gone")(handler, number)
    made = Qwen2VlTemporal(
        DescriptionOptions(describer="server", server_url=served.url, server_model="m")
    )
    made.load(SERVER, "cpu", {})
    made.batch = 1
    result = made.analyze(video(), cuts((2.0, 4.0), 6.0), None)
    assert isinstance(result, Partial)
    assert isinstance(result.output, Description)
    assert [window.action for window in result.output.windows] == ["red", "green"]
    reasons = {one.part: one.reason for one in result.missing}
    assert "1 of 3 not described: the describer's server responded with 503" in reasons["windows"]
    assert "responded with 503" in reasons["title"]


def test_a_worker_whose_server_fails_ends_as_failed(served: Served, settings: Settings):
    served.spoil = answering(500, b"no")
    options = {"describer": "server", "server_url": served.url, "server_model": "m"}
    chosen = settings.model_copy(update={"options": {"qwen2_vl_temporal": options}})
    assignment = plan([Qwen2VlTemporal], chosen, cards=[]).assignments["qwen2_vl_temporal"]
    assert assignment.variant is SERVER
    worker = Worker(Qwen2VlTemporal, DescriptionOptions(**options), assignment)
    assert worker.load().status == "ok"
    inputs = {"frames": video(), "cut_analysis": None, "speech_transcription": None}
    reply = worker.run(inputs)
    assert (reply.status, reply.output) == ("failed", None)
    assert "the describer's server responded with 500: no" in (reply.reason or "")


class Watched(Qwen2VlTemporal):
    """The describer, asking for pictures alone."""

    def analyze(self, frames: Frames) -> Description | Partial:  # type: ignore[override]
        return super().analyze(frames, None, None)


class Kept:
    """A cache in memory."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def get(self, key: str, kind: Any) -> Any:
        return kind.model_validate_json(self.texts[key]) if key in self.texts else None

    def put(self, key: str, output: Any) -> None:
        self.texts[key] = output.model_dump_json()


@pytest.mark.slow
async def test_the_section_names_the_model_and_another_one_describes_anew(
    served: Served, settings: Settings, clip: Path
):
    options = {"describer": "server", "server_url": served.url}
    chosen = settings.model_copy(update={"options": {"qwen2_vl_temporal": options}})
    engine = engine_for([Watched], chosen, cache=Kept())

    async def section() -> Any:
        return (await engine.analyze(Source(clip, "a"))).analyzers["qwen2_vl_temporal"]

    first = await section()
    assert (first.model.id, first.model.variant, first.cached) == ("tiny/eyes", "server", None)
    assert first.model.revision.startswith("listed-")
    again = await section()
    assert (again.cached, again.model) == (True, first.model)
    served.says["root"] = "/weights/other"
    other = await section()
    assert (other.cached, other.model.id) == (None, "tiny/eyes")
    assert other.model.revision != first.model.revision
    served.says = {"owned_by": "me"}
    for _ in range(2):
        unsure = await section()
        assert (unsure.cached, unsure.model.revision) == (None, None)


def test_which_model_answers_is_not_made_up(served: Served):
    served.models = ["one", "two"]
    assert Server(served.url, "two").which().id == "two"
    with pytest.raises(DescriberFailed, match="several models: one, two"):
        Server(served.url).which()
    unknown = Server(served.url, "three").which()
    assert (unknown.id, unknown.revision) == ("three", None)


def test_proxies_of_the_environment_are_not_asked(served: Served, monkeypatch: pytest.MonkeyPatch):
    """Those of workers lead nowhere, and a user's would see the pictures."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert Server(served.url).answer([prompt()], tokens=16, seconds=10)


def test_nothing_is_reached_unless_a_server_is_named():
    assert DescriptionOptions().server_url is None
    with pytest.raises(ValidationError, match="requires server_url"):
        DescriptionOptions(describer="server")
    chosen = Qwen2VlTemporal.variants_for(DescriptionOptions(server_url="http://127.0.0.1:1/v1"))
    assert SERVER not in chosen


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://a/v1", "http:///v1", "http://me:key@a/v1", "http://a/v1?k=1"]
)
def test_an_address_that_is_none_is_refused(url: str):
    with pytest.raises(ValidationError, match="the server URL must"):
        DescriptionOptions(describer="server", server_url=url)


def test_the_proxy_closes_behind_each_batch(served: Served):
    Server(served.url).answer([prompt()], tokens=16, seconds=10)
    while "egress-proxy" in {thread.name for thread in threading.enumerate()}:
        time.sleep(0.01)
