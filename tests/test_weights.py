"""Weights: listing, pulling from a made hub, verifying, and refusing code.

The hub is a local server with the routes of Hugging Face's HTTP interface; a test asks it with
``huggingface_hub`` itself, so that its shape is not only ours.
"""

from __future__ import annotations

import base64
import fcntl
import gzip
import hashlib
import io
import json
import os
import pickle
import socket
import stat
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.test_egress_proxy import Server
from tiktok_ray import weights as kept
from tiktok_ray.analyzer import Analyzer, Variant
from tiktok_ray.net import pull_weights as pulling
from tiktok_ray.net.pull_weights import PullError, pull, unpack
from tiktok_ray.report import Output
from tiktok_ray.settings import Settings
from tiktok_ray.weights import (
    Asset,
    Bundled,
    Hub,
    UnsafeCheckpoint,
    recorded,
    refuse_code,
    revision_of,
    rows,
    verify,
)

COMMIT = "5c2e1f0a9b8d7c6e5f4a3b2c1d0e9f8a7b6c5d4e"
BIG = bytes(range(256)) * 12_000  # 3 MB
LOCAL = Settings(private_addresses=True, fetch_silence_s=5)


@dataclass
class Hubbub:
    """What the made hub has, how it misbehaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    assets: dict[str, bytes] = field(default_factory=dict)
    asset_headers: dict[str, str] = field(default_factory=dict)
    commit: str = COMMIT
    status: tuple[int, str] | None = None
    break_after: list[int] = field(default_factory=list)
    silent: str = ""
    ranges: bool = True
    compress: bool = False
    redirect: str = ""
    lie: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""
    hang: threading.Event = field(default_factory=threading.Event)

    def asked(self, part: str) -> list[dict[str, str]]:
        return [headers for path, headers in self.seen if part in path]

    def entry(self, name: str) -> dict[str, Any]:
        body = self.files[name]
        git = hashlib.sha1(f"blob {len(body)}\0".encode() + body).hexdigest()
        made: dict[str, Any] = {"rfilename": name, "size": len(body), "blobId": git}
        if len(body) > 1000:
            sha256 = hashlib.sha256(body).hexdigest()
            made["lfs"] = {"sha256": sha256, "size": len(body), "pointerSize": 133}
        return made | self.lie.get(name, {})


class HubHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hubbub

    def do_GET(self) -> None:
        hub = self.hub
        path = unquote(urlsplit(self.path).path)
        hub.seen.append((self.path, dict(self.headers)))
        if hub.silent and hub.silent in path:
            hub.hang.wait(20)
            return
        if hub.status and "/api/" in path:
            self.answer(b'{"error": "no"}', hub.status[0], {"X-Error-Code": hub.status[1]})
        elif path == "/api/models/org/name/revision/main":
            told = {"id": "org/name", "modelId": "org/name", "sha": hub.commit, "private": False,
                    "tags": [], "downloads": 1, "likes": 1,
                    "siblings": [hub.entry(name) for name in hub.files]}  # fmt: skip
            self.answer(json.dumps(told).encode(), 200, {"Content-Type": "application/json"})
        elif path.startswith(f"/org/name/resolve/{hub.commit}/"):
            name = path.split("/", 5)[5]
            if hub.redirect:
                place = f"{hub.redirect}/cdn/{name}"
                self.answer(b"", 302, {"Location": place, **self.told(name)})
            else:
                self.give(hub.files.get(name), self.told(name))
        elif path.startswith("/cdn/"):
            self.give(hub.files.get(path.removeprefix("/cdn/")), {})
        else:
            self.give(hub.assets.get(path), hub.asset_headers)

    def do_HEAD(self) -> None:
        self.do_GET()

    def told(self, name: str) -> dict[str, str]:
        """The headers by which the hub's own client knows a file."""
        entry = self.hub.entry(name) if name in self.hub.files else {}
        etag = (entry.get("lfs") or {}).get("sha256") or entry.get("blobId", "")
        size = str(entry.get("size", 0))
        return {"X-Repo-Commit": self.hub.commit, "ETag": f'"{etag}"', "X-Linked-Size": size}

    def give(self, body: bytes | None, headers: dict[str, str]) -> None:
        if body is None:
            self.answer(b"", 404, {"X-Error-Code": "EntryNotFound"})
            return
        asked = self.headers.get("Range")
        current = self.headers.get("If-Range") in (None, headers.get("ETag"))
        if self.hub.compress and len(body) < 1000:
            self.answer(gzip.compress(body), 200, headers | {"Content-Encoding": "gzip"})
        elif asked and self.hub.ranges and current:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.answer(b"", 416, {"Content-Range": f"bytes */{len(body)}"})
                return
            place = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
            self.answer(body[start:], 206, headers | place)
        else:
            self.answer(body, 200, headers)

    def answer(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if body and self.hub.break_after and "/api/" not in self.path:
            body = body[: self.hub.break_after.pop(0)]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hubbub]:
    made = Hubbub(
        files={
            "config.json": b'{"model_type": "made"}',
            "model.safetensors": BIG,
            "pytorch_model.bin": b"pickled",
            "tokenizer/vocab.json": b"{}",
            "README.md": b"read me",
            "modeling_made.py": b"import os",
        }
    )
    server = Server(("127.0.0.1", 0), type("Bound", (HubHandler,), {"hub": made}))
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield made
    made.hang.set()
    server.shutdown()
    server.server_close()


MODEL = Hub("org/name", "MIT", 0.003)


def pull_fails(weights: kept.Weights, models: Path, settings: Settings = LOCAL) -> PullError:
    with pytest.raises(PullError) as caught:
        pull(weights, models, settings)
    assert caught.value.advice
    assert weights.locate(models) is None
    return caught.value


# From a hub


def test_a_model_is_pulled_checked_and_recorded(hub: Hubbub, tmp_path: Path) -> None:
    steps: list[pulling.Pulling] = []
    place = pull(MODEL, tmp_path, LOCAL, steps.append)
    assert place == tmp_path / "hub" / "org--name" == MODEL.locate(tmp_path)
    assert (place / "model.safetensors").read_bytes() == BIG
    # Only what was asked for, at the top; no pickle beside safetensors; never code.
    assert {path.name for path in place.iterdir()} == {
        "config.json", "model.safetensors", kept.MANIFEST,
    }  # fmt: skip
    manifest = recorded(place)
    assert manifest is not None
    assert (manifest.revision, manifest.licence) == (COMMIT, "MIT")
    assert manifest.source == f"{hub.url}/org/name"
    assert manifest.files["model.safetensors"] == {
        "size": len(BIG),
        "sha256": hashlib.sha256(BIG).hexdigest(),
    }
    assert revision_of(place) == COMMIT
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert steps[-1].done == steps[-1].total == len(BIG) + len(hub.files["config.json"])
    assert {f"resolve/{COMMIT}" in path for path, _ in hub.seen if "resolve" in path} == {True}
    assert not list((tmp_path / pulling.STAGING).glob("*/*"))
    assert verify(MODEL, tmp_path) == kept.Verdict("org/name", "ok", place, COMMIT)


def test_what_lies_there_is_not_pulled_again(hub: Hubbub, tmp_path: Path) -> None:
    pull(MODEL, tmp_path, LOCAL)
    count = len(hub.seen)
    pull(MODEL, tmp_path, LOCAL)
    assert len(hub.seen) == count


def test_the_made_hub_speaks_to_the_hubs_own_client(hub: Hubbub, tmp_path: Path) -> None:
    """The listing we read has the shape that ``huggingface_hub`` reads."""
    import subprocess
    import sys

    code = (
        "import json,sys; from huggingface_hub import HfApi, hf_hub_download;"
        "info = HfApi().model_info('org/name', revision='main', files_metadata=True);"
        "path = hf_hub_download('org/name', 'model.safetensors', revision=info.sha, local_dir=sys.argv[1]);"
        "print(json.dumps({'sha': info.sha, 'path': path, 'files': {s.rfilename: "
        "[s.size, s.blob_id, s.lfs and s.lfs.sha256] for s in info.siblings}}))"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "theirs")],
        env=environment, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["sha"] == COMMIT
    assert Path(told["path"]).read_bytes() == BIG
    entry = hub.entry("model.safetensors")
    assert told["files"]["model.safetensors"] == [len(BIG), entry["blobId"], entry["lfs"]["sha256"]]


def test_a_broken_connection_goes_on_where_it_ended(hub: Hubbub, tmp_path: Path) -> None:
    hub.break_after = [1_000_000, 1_500_000]
    hub.files = {"config.json": b"{}", "model.safetensors": BIG}
    only = Hub("org/name", "MIT", files=("*.safetensors",), needs=("*.safetensors",))
    place = pull(only, tmp_path, LOCAL)
    assert (place / "model.safetensors").read_bytes() == BIG
    starts = [headers.get("Range") for headers in hub.asked("model.safetensors")]
    assert starts[0] is None
    assert len(starts) == 3
    places = [int((start or "").removeprefix("bytes=").removesuffix("-")) for start in starts[1:]]
    assert 0 < places[0] <= 1_000_000 < places[1] <= 2_500_000


def test_a_pull_that_ended_goes_on_in_the_next_one(hub: Hubbub, tmp_path: Path) -> None:
    stop = threading.Event()

    def step(now: pulling.Pulling) -> None:
        if now.file == "model.safetensors" and now.done > 1_000_000:
            stop.set()

    with pytest.raises(PullError) as caught:
        pull(MODEL, tmp_path, LOCAL, step, stop)
    assert caught.value.type == "stopped"
    assert MODEL.locate(tmp_path) is None
    hub.seen.clear()
    steps: list[pulling.Pulling] = []
    place = pull(MODEL, tmp_path, LOCAL, steps.append)
    assert (place / "model.safetensors").read_bytes() == BIG
    assert not hub.asked("config.json")
    asked = hub.asked("model.safetensors")
    assert len(asked) == 1
    assert asked[0]["Range"].startswith("bytes=")
    assert steps[-1].done == steps[-1].total


def test_a_new_commit_starts_anew(hub: Hubbub, tmp_path: Path) -> None:
    hub.break_after = [10, 1000, 0, 0]
    pull_fails(MODEL, tmp_path)
    hub.break_after = []
    hub.commit = "f" * 40
    hub.files["model.safetensors"] = BIG[::-1]
    place = pull(MODEL, tmp_path, LOCAL)
    assert (place / "model.safetensors").read_bytes() == BIG[::-1]
    assert revision_of(place) == "f" * 40


def test_a_server_without_ranges_is_asked_for_all_again(hub: Hubbub, tmp_path: Path) -> None:
    hub.ranges = False
    hub.files = {"config.json": b"{}", "model.safetensors": BIG}
    hub.break_after = [2, 1_000_000]
    steps: list[pulling.Pulling] = []
    place = pull(MODEL, tmp_path, LOCAL, steps.append)
    assert (place / "model.safetensors").read_bytes() == BIG
    assert steps[-1].done == steps[-1].total


def test_a_file_that_comes_compressed_is_taken_as_it_is(hub: Hubbub, tmp_path: Path) -> None:
    """The hub compresses small texts whatever it was asked for."""
    hub.compress = True
    hub.files["config.json"] = json.dumps({"words": ["the same"] * 50}).encode()
    place = pull(MODEL, tmp_path, LOCAL)
    assert (place / "config.json").read_bytes() == hub.files["config.json"]
    assert hub.asked("config.json")


def test_the_token_stays_with_the_hub(hub: Hubbub, tmp_path: Path) -> None:
    """Files come from other hosts by redirect; these must not see it."""
    port = urlsplit(hub.url).port
    hub.redirect = f"http://localhost:{port}"
    place = pull(MODEL, tmp_path, LOCAL)
    assert (place / "model.safetensors").read_bytes() == BIG
    assert {h.get("Authorization") for h in hub.asked("/api/")} == {"Bearer hf_secret"}
    assert {h.get("Authorization") for h in hub.asked("/resolve/")} == {"Bearer hf_secret"}
    assert len(hub.asked("/cdn/")) == 2
    assert {h.get("Authorization") for h in hub.asked("/cdn/")} == {None}


@pytest.mark.parametrize(
    ("lie", "type"),
    [
        ({"lfs": {"sha256": "0" * 64, "size": len(BIG)}}, "corrupt"),
        ({"lfs": {"sha256": "0" * 64, "size": len(BIG) + 1}}, "corrupt"),
        ({"lfs": {"sha256": "0" * 64, "size": 10}}, "corrupt"),
        ({"lfs": None, "size": len(BIG), "blobId": "0" * 40}, "corrupt"),
    ],
)
def test_other_content_than_announced_is_refused(
    lie: dict[str, Any], type: str, hub: Hubbub, tmp_path: Path
) -> None:
    hub.lie["model.safetensors"] = lie
    error = pull_fails(MODEL, tmp_path)
    assert error.type == type
    assert "model.safetensors" in str(error)
    hub.lie.clear()
    assert (pull(MODEL, tmp_path, LOCAL) / "model.safetensors").read_bytes() == BIG


@pytest.mark.parametrize("where", ["/api/", "model.safetensors"])
def test_a_silent_hub_is_given_up_in_seconds(where: str, hub: Hubbub, tmp_path: Path) -> None:
    hub.silent = where
    began = time.monotonic()
    error = pull_fails(MODEL, tmp_path, Settings(private_addresses=True, fetch_silence_s=0.7))
    assert error.type == "silent"
    assert time.monotonic() - began < 6


def test_a_hub_that_falls_silent_midway_is_given_up(tmp_path: Path, hub: Hubbub) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def half() -> None:
            peer, _ = listener.accept()
            peer.recv(4096)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
            hub.hang.wait(20)
            peer.close()

        threading.Thread(target=half, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/it.onnx"
        settings = Settings(private_addresses=True, fetch_silence_s=0.7)
        began = time.monotonic()
        error = pull_fails(Asset("packs/it.onnx", "MIT", url=url), tmp_path, settings)
        assert error.type == "silent"
        assert time.monotonic() - began < 6


def test_an_unreachable_hub_fails_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: Hubbub
) -> None:
    del hub
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    began = time.monotonic()
    for address in (f"http://127.0.0.1:{port}", "https://hub.invalid"):
        monkeypatch.setenv("HF_ENDPOINT", address)
        error = pull_fails(MODEL, tmp_path)
        assert error.type == "unreachable"
        assert str(urlsplit(address).hostname) in str(error)
    assert time.monotonic() - began < 15


def test_a_hub_inside_is_refused_unless_opened(hub: Hubbub, tmp_path: Path) -> None:
    error = pull_fails(MODEL, tmp_path, Settings())
    assert error.type == "refused"
    assert "TIKTOK_RAY_PRIVATE_ADDRESSES" in error.advice
    assert hub.seen == []


@pytest.mark.parametrize(
    ("status", "type"),
    [((401, "RepoNotFound"), "not_found"), ((404, "RevisionNotFound"), "not_found"),
     ((403, "GatedRepo"), "gated"), ((401, "GatedRepo"), "gated"), ((500, ""), "unreachable"),
     ((429, ""), "unreachable"), ((400, ""), "unreachable")],
)  # fmt: skip
def test_the_hubs_refusals_have_their_type(
    status: tuple[int, str], type: str, hub: Hubbub, tmp_path: Path
) -> None:
    hub.status = status
    error = pull_fails(MODEL, tmp_path)
    assert error.type == type
    assert str(status[0]) in str(error)


def test_a_hub_that_is_busy_for_a_moment_is_asked_again(hub: Hubbub, tmp_path: Path) -> None:
    hub.status = (503, "")
    threading.Timer(0.25, lambda: setattr(hub, "status", None)).start()
    assert pull(MODEL, tmp_path, LOCAL).is_dir()


def test_what_the_repository_lacks_or_should_not_bring_is_refused(
    hub: Hubbub, tmp_path: Path
) -> None:
    lacking = Hub("org/name", "MIT", needs=("config.json", "model.onnx"))
    error = pull_fails(lacking, tmp_path)
    assert error.type == "incomplete"
    assert "model.onnx" in str(error)
    code = Hub("org/name", "MIT", files=("*",))
    assert pull_fails(code, tmp_path).type == "unsafe"
    for name in ("../evil.json", "/etc/evil.json", "a/../../evil.json", "C:\\evil.json"):
        hub.files = {"config.json": b"{}", name: b"{}", "model.safetensors": BIG}
        assert pull_fails(MODEL, tmp_path).type == "unsafe"
    assert not hub.asked("/resolve/")


def test_folders_of_a_repository_are_pulled_by_name(hub: Hubbub, tmp_path: Path) -> None:
    deep = Hub(
        "org/name", "MIT", files=("*.json", "tokenizer/*.json"), needs=("tokenizer/vocab.json",)
    )
    place = pull(deep, tmp_path, LOCAL)
    assert (place / "tokenizer" / "vocab.json").read_bytes() == b"{}"
    assert hub.asked("tokenizer/vocab.json")
    assert verify(deep, tmp_path).state == "ok"


def test_a_pickle_beside_safetensors_is_left_there(hub: Hubbub, tmp_path: Path) -> None:
    either = Hub(
        "org/name", "MIT", files=("config.json", "*.safetensors", "*.bin"), needs=("*model.[bs]*",)
    )
    place = pull(either, tmp_path / "a", LOCAL)
    assert not (place / "pytorch_model.bin").exists()
    del hub.files["model.safetensors"]
    place = pull(either, tmp_path / "b", LOCAL)
    assert (place / "pytorch_model.bin").read_bytes() == b"pickled"


def test_two_pulls_of_the_same_do_not_meet(hub: Hubbub, tmp_path: Path) -> None:
    staging = tmp_path / pulling.STAGING
    staging.mkdir()
    with (staging / "org--name.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert pull_fails(MODEL, tmp_path).type == "busy"
    assert hub.seen == []
    assert pull(MODEL, tmp_path, LOCAL).is_dir()


def test_a_full_disk_is_said_before_it_is_full(
    hub: Hubbub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1_000_000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    error = pull_fails(MODEL, tmp_path)
    assert error.type == "no_space"
    assert hub.asked("model.safetensors")


def test_files_the_user_put_there_are_kept(hub: Hubbub, tmp_path: Path) -> None:
    place = tmp_path / "hub" / "org--name"
    place.mkdir(parents=True)
    (place / "notes.txt").write_text("mine")
    pull(MODEL, tmp_path, LOCAL)
    assert (place / "notes.txt").read_text() == "mine"
    assert (place / "model.safetensors").read_bytes() == BIG
    assert verify(MODEL, tmp_path).state == "ok"
    assert hub.seen


# From a fixed address


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, body in files.items():
            made.writestr(name, body)
    return file.getvalue()


def test_one_file_is_pulled_to_its_name(hub: Hubbub, tmp_path: Path) -> None:
    hub.assets["/v8/other-name.pt"] = BIG
    hub.asset_headers = {"ETag": '"abc"'}
    weights = Asset("ultralytics/yolov8n.pt", "AGPL-3.0", url=f"{hub.url}/v8/other-name.pt?x=1")
    steps: list[pulling.Pulling] = []
    place = pull(weights, tmp_path, LOCAL, steps.append)
    assert place == tmp_path / "ultralytics" / "yolov8n.pt"
    assert place.read_bytes() == BIG
    assert steps[-1].done == steps[-1].total == len(BIG)
    manifest = recorded(place)
    assert manifest is not None
    assert manifest.revision == '"abc"'
    assert "length only" in manifest.checked
    assert verify(weights, tmp_path).state == "ok"
    assert {h.get("Authorization") for h in hub.asked("/v8/")} == {None}


def test_a_broken_asset_goes_on_only_if_it_is_the_same(hub: Hubbub, tmp_path: Path) -> None:
    hub.assets["/it.onnx"] = BIG
    weights = Asset("packs/it.onnx", "MIT", url=f"{hub.url}/it.onnx")
    hub.asset_headers = {"ETag": '"one"'}
    hub.break_after = [2_000_000, 0, 0]
    assert pull_fails(weights, tmp_path).type == "unreachable"
    assert hub.asked("/it.onnx")[-1]["If-Range"] == '"one"'
    hub.asset_headers = {"ETag": '"two"'}
    hub.assets["/it.onnx"] = BIG[::-1]
    hub.break_after = []
    assert pull(weights, tmp_path, LOCAL).read_bytes() == BIG[::-1]
    manifest = recorded(tmp_path / "packs" / "it.onnx")
    assert manifest is not None
    assert manifest.revision == '"two"'


def test_a_part_of_unknown_state_is_not_gone_on_with(hub: Hubbub, tmp_path: Path) -> None:
    hub.assets["/it.onnx"] = BIG
    weights = Asset("packs/it.onnx", "MIT", url=f"{hub.url}/it.onnx")
    hub.break_after = [2_000_000, 0, 0]
    pull_fails(weights, tmp_path)
    hub.seen.clear()
    hub.break_after = []
    hub.assets["/it.onnx"] = BIG[::-1]
    assert pull(weights, tmp_path, LOCAL).read_bytes() == BIG[::-1]
    assert "Range" not in hub.asked("/it.onnx")[0]


def test_a_stated_hash_is_checked(hub: Hubbub, tmp_path: Path) -> None:
    hub.assets["/it.task"] = BIG
    weights = Asset("packs/it.task", "MIT", url=f"{hub.url}/it.task")
    for body, good in ((b"other", False), (BIG, True)):
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        hub.asset_headers = {"x-goog-hash": f"crc32c=AAAAAA==,md5={md5}", "ETag": '"a"'}
        if good:
            place = pull(weights, tmp_path, LOCAL)
            manifest = recorded(place)
            assert manifest is not None
            assert manifest.checked.startswith("MD5")
        else:
            assert pull_fails(weights, tmp_path).type == "corrupt"


@pytest.mark.parametrize("top", ["", "buffalo_s/"])
def test_a_pack_is_unpacked(top: str, hub: Hubbub, tmp_path: Path) -> None:
    files = {f"{top}det.onnx": BIG[:5000], f"{top}age.onnx": b"age"}
    hub.assets["/v0.7/buffalo_s.zip"] = zipped(files)
    hub.assets["/more/extra.bin"] = b"extra"
    weights = Asset(
        "insightface/models/buffalo_s",
        "research",
        url=f"{hub.url}/v0.7/buffalo_s.zip",
        urls=(f"{hub.url}/more/extra.bin",),
        needs=(("det.onnx",), ("other.onnx", "age.onnx"), ("extra.bin",)),
    )
    place = pull(weights, tmp_path, LOCAL)
    assert {path.name for path in place.iterdir()} == {
        "det.onnx", "age.onnx", "extra.bin", kept.MANIFEST,
    }  # fmt: skip
    assert verify(weights, tmp_path).state == "ok"
    (place / "age.onnx").write_bytes(b"AGE")
    changed = verify(weights, tmp_path)
    assert changed.state == "changed"
    assert changed.problems == ("age.onnx differs from the recorded content",)


def test_a_pack_that_lacks_something_is_incomplete(hub: Hubbub, tmp_path: Path) -> None:
    hub.assets["/p.zip"] = zipped({"det.onnx": b"x"})
    weights = Asset("packs/p", "MIT", url=f"{hub.url}/p.zip", needs=(("other.onnx",),))
    assert pull_fails(weights, tmp_path).type == "incomplete"


def _linked() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(link, "/etc/passwd")
    return file.getvalue()


def _damaged() -> bytes:
    body = bytearray(zipped({"a.onnx": os.urandom(3000)}))
    body[1500] ^= 0xFF
    return bytes(body)


@pytest.mark.parametrize(
    ("body", "type"),
    [
        (zipped({"../evil": b"x"}), "unsafe"),
        (zipped({"/etc/evil": b"x"}), "unsafe"),
        (zipped({"a/../../evil": b"x"}), "unsafe"),
        (_linked(), "unsafe"),
        (_damaged(), "corrupt"),
        (b"not a zip at all", "corrupt"),
    ],
)
def test_hostile_and_damaged_packs_are_refused(body: bytes, type: str, tmp_path: Path) -> None:
    archive = tmp_path / "p.zip"
    archive.write_bytes(body)
    with pytest.raises(PullError) as caught:
        unpack(archive, tmp_path / "deep" / "out", "p")
    assert caught.value.type == type
    assert not list(tmp_path.rglob("evil"))
    assert not list(tmp_path.rglob("link"))


def test_a_pack_that_swells_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "p.zip"
    archive.write_bytes(zipped({"a": bytes(5_000_000)}))
    monkeypatch.setattr(pulling, "UNPACKED_LIMIT", 1_000_000)
    with pytest.raises(PullError, match="too many bytes"):
        unpack(archive, tmp_path / "out", "p")


def test_weights_without_a_source_say_so(tmp_path: Path) -> None:
    inside = Bundled("x/y", "MIT", package="nowhere_at_all", path="y.onnx")
    assert pull_fails(inside, tmp_path).type == "no_source"
    assert pull_fails(Asset("easyocr", "Apache-2.0"), tmp_path).type == "no_source"


def test_an_error_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(PullError("gated", "no")))
    assert (again.type, str(again), again.advice) == ("gated", "no", pulling.ADVICE["gated"])


# What there is


class Found(Output):
    """Nothing."""


class Sees(Analyzer):
    """Wants two checkpoints in two variants."""

    name = "sees"
    variants = (
        Variant("large", weights={"a": Hub("org/large", "MIT", 2.0), "b": MODEL}),
        Variant("small", weights={"b": MODEL}),
    )

    def analyze(self) -> Found:
        return Found()


class Hears(Analyzer):
    """Wants one of them too, and one that comes in a package."""

    name = "hears"
    variants = (
        Variant("one", weights={"m": MODEL, "p": Bundled("pytest/x", "MIT", package="pytest",
                                                         path="__init__.py")}),
    )  # fmt: skip

    def analyze(self) -> Found:
        return Found()


def test_rows_say_who_needs_what_and_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    place = tmp_path / "hub" / "org--name"
    place.mkdir(parents=True)
    (place / "config.json").write_bytes(b"{}")
    (place / "model.safetensors").write_bytes(bytes(1024**2))
    large, name, package = rows([Sees, Hears()], tmp_path)
    assert (large.id, large.place, large.size_gib, large.licence) == ("org/large", None, 2.0, "MIT")
    assert large.needed_by == ("sees (large)",)
    assert name.place == place
    assert name.size_gib == pytest.approx(1 / 1024, rel=0.01)
    assert name.needed_by == ("sees (large)", "sees (small)", "hears (one)")
    assert package.place is not None
    assert package.place.name == "__init__.py"


def test_weights_of_other_origin_are_unrecorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    assert verify(MODEL, tmp_path).state == "absent"
    snapshot = tmp_path / "hf" / "hub" / "models--org--name" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).write_bytes(b"{}")
    found = verify(MODEL, tmp_path)
    assert (found.state, found.revision, found.problems) == ("unrecorded", COMMIT, ())
    inside = Bundled("pytest/x", "MIT", package="pytest", path="__init__.py")
    assert verify(inside, tmp_path).state == "bundled"


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (lambda place: (place / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda place: (place / "config.json").write_bytes(b"{}"), "config.json has 2 bytes"),
        (
            lambda place: (place / "model.safetensors").write_bytes(BIG[::-1]),
            "differs from the recorded content",
        ),
    ],
)
def test_verify_finds_what_changed(harm: Any, problem: str, hub: Hubbub, tmp_path: Path) -> None:
    harm(pull(MODEL, tmp_path, LOCAL))
    found = verify(MODEL, tmp_path)
    assert found.state == "changed"
    assert problem in found.problems[0]
    assert found.revision == hub.commit


# Code in checkpoints


def checkpoint(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    "files",
    [
        {"config.json": "{}", "modeling_x.py": "pass"},
        {"config.json": "{}", "sub/deep.py": "pass"},
        {"config.json": '{"auto_map": {"AutoModel": "modeling_x.X"}}'},
        {"config.json": '{"inner": [{"auto_map": {}}]}'},
        {"tokenizer_config.json": '{"auto_map": {"AutoTokenizer": ["x.X", null]}}'},
        {"config.json": "{}", "pytorch_model.bin": "x"},
        {"config.json": "{}", "sub/weights.pth": "x", "model.safetensors": "x"},
        {"config.json": "{not json"},
    ],
)
def test_checkpoints_that_could_run_code_are_refused(files: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UnsafeCheckpoint):
        refuse_code(checkpoint(tmp_path, files))


def test_plain_checkpoints_pass(tmp_path: Path) -> None:
    plain = {"config.json": "{}", "model.safetensors": "x", "vocab.json": '{"auto_map": 7}'}
    refuse_code(checkpoint(tmp_path / "a", plain))
    refuse_code(checkpoint(tmp_path / "b", plain | {"pytorch_model.bin": "x"}))
    pickled = checkpoint(tmp_path / "c", {"config.json": "{}", "pytorch_model.bin": "x"})
    refuse_code(pickled, weights_only=True)


def test_looking_at_weights_imports_no_client() -> None:
    """Actors import this module: it must stay light."""
    import subprocess
    import sys

    code = "import sys, tiktok_ray.weights; print([m for m in ('httpx', 'asyncio', 'torch', "
    code += "'huggingface_hub', 'yt_dlp') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
