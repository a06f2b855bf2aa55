"""Sources into local files: paths, direct links, and yt-dlp's real TikTok extractor on made pages.

One local server stands for every host, over plain HTTP and TLS: the proxy under test resolves each
name to a public address and is led to that server, so that all of yt-dlp, curl and httpx is real.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import hashlib
import inspect
import io
import json
import os
import pickle
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.test_egress_proxy import PUBLIC, Server
from tiktok_ray.media import InputError
from tiktok_ray.media.writer import write_clip
from tiktok_ray.net import fetch, platforms
from tiktok_ray.net.egress_proxy import EgressProxy
from tiktok_ray.net.fetch import take
from tiktok_ray.net.intake import ADVICE, STATUS, IntakeError, Taken, kind_of
from tiktok_ray.net.platforms import CLEAR, WORDS, Watch, told, type_of, ytdlp_options
from tiktok_ray.settings import Settings

Answer = Callable[["Request"], None]
ID = "7139980461132074283"
PAGE = f"https://www.tiktok.com/@ada.l/video/{ID}"
CDN = "v16-webapp-prime.tiktokcdn.com"
QUICK = Settings(fetch_timeout_s=30, fetch_silence_s=5)


class Request(BaseHTTPRequestHandler):
    """One request to the server that stands for every host."""

    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        host = (self.headers["Host"] or "").partition(":")[0]
        path = self.path.partition("?")[0]
        self.site.seen.append((host, self.path, dict(self.headers)))
        answer = self.site.answers.get((host, path))
        if answer is None:
            self.give(b"nothing here", status=404, kind="text/html")
        else:
            answer(self)

    def do_HEAD(self) -> None:
        self.do_GET()

    def give(
        self, body: bytes, status: int = 200, kind: str = "application/octet-stream", **headers: str
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return


@dataclass
class Site:
    """What is served, by host and path, and what was asked for."""

    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    dialed: list[tuple[str, int]] = field(default_factory=list)
    hosts: dict[str, list[str]] = field(default_factory=dict)
    ports: dict[int, int] = field(default_factory=dict)

    def serve(self, url: str, body: bytes, **more: Any) -> None:
        host, _, path = url.partition("://")[2].partition("/")
        self.answers[(host, f"/{path}")] = lambda request: request.give(body, **more)

    def on(self, url: str, answer: Answer) -> None:
        host, _, path = url.partition("://")[2].partition("/")
        self.answers[(host, f"/{path}")] = answer

    def proxy(self, settings: Settings, budget: int) -> EgressProxy:
        """The proxy as the settings want it, led to this server."""
        proxy = EgressProxy.of(settings, budget=budget)

        async def dial(address: str, port: int) -> Any:
            self.dialed.append((address, port))
            return await asyncio.open_connection("127.0.0.1", self.ports[port])

        proxy._resolve = lambda host: self.hosts.get(host, [PUBLIC])
        proxy._dial = dial
        return proxy


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate authority's file, and a server's certificate and key signed by it."""
    pytest.importorskip("cryptography", reason="making a certificate needs cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.now(UTC)

    def certificate(name: str, key: Any, issuer: str, by: Any, hosts: list[str]) -> Any:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=not hosts, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
            )
        )
        if hosts:
            names = [x509.DNSName(host) for host in hosts]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(by, hashes.SHA256())

    folder = tmp_path_factory.mktemp("authority")
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    ca = certificate("test root", root, "test root", root, [])
    hosts = ["*.tiktok.com", "tiktok.com", "*.tiktokcdn.com", "clips.example", "other.example"]
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    other = certificate("another root", leaf, "another root", leaf, [])
    (folder / "other.pem").write_bytes(other.public_bytes(pem))
    (folder / "server.pem").write_bytes(
        leaf.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate("server", leaf, "test root", root, hosts).public_bytes(pem)
    )
    return folder / "ca.pem", folder / "server.pem"


def believe(ca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make one authority's file the only one that every client trusts."""
    import certifi
    import curl_cffi.curl

    monkeypatch.setattr(certifi, "where", lambda: str(ca))
    monkeypatch.setattr(curl_cffi.curl, "DEFAULT_CACERT", str(ca))
    for variable in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(variable, str(ca))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, authority: tuple[Path, Path]) -> Iterator[Site]:
    """The server of all hosts; fetches go to it, and its authority is trusted."""
    ca, server = authority
    believe(ca, monkeypatch)
    made = Site()
    handler = type("Bound", (Request,), {"site": made})
    with ExitStack() as stack:
        for port in (80, 443):
            http = Server(("127.0.0.1", 0), handler)
            if port == 443:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(server)
                http.socket = context.wrap_socket(
                    http.socket, server_side=True, do_handshake_on_connect=False
                )
            thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            stack.callback(http.server_close)
            stack.callback(http.shutdown)
            made.ports[port] = http.server_address[1]
        monkeypatch.setattr(fetch, "opened", made.proxy)
        yield made


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A one-second video with a tone."""
    pictures = [np.full((96, 64, 3), k * 12, np.uint8) for k in range(20)]
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000).astype(np.float32)
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_clip(path, pictures, fps=20, audio=tone).read_bytes()


def fails(source: Any, folder: Path, settings: Settings = QUICK, **more: Any) -> IntakeError:
    """The error that taking ``source`` ends in; nothing may be left of what was fetched."""
    with pytest.raises(IntakeError) as caught:
        asyncio.run(take(source, settings, folder, **more))
    assert not [path for path in folder.iterdir() if path.name.startswith(("source", "fetch"))]
    assert caught.value.advice
    assert caught.value.status == STATUS[caught.value.type]
    return caught.value


def taken(source: Any, folder: Path, settings: Settings = QUICK, **more: Any) -> Taken:
    return asyncio.run(take(source, settings, folder, **more))


# Local files


def test_a_local_file_is_taken_where_it_lies(tmp_path: Path, clip: bytes) -> None:
    path = tmp_path / "my clip: 1.mp4"
    path.write_bytes(clip)
    for source in (path, str(path)):
        assert taken(source, tmp_path) == Taken(path, str(path))


@pytest.mark.parametrize(
    ("make", "type"),
    [
        (lambda path: None, "not_found"),
        (lambda path: path.mkdir(), "not_video"),
        (os.mkfifo, "not_video"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(b"x" * 2000), "too_large"),
        (lambda path: path.write_text("just some words\n"), "not_video"),
        (lambda path: path.write_text("#EXTM3U\nfile:///etc/passwd\n"), "not_video"),
        (lambda path: path.write_text("ffconcat version 1.0\nfile /etc/passwd\n"), "not_video"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0"), "not_video"),
    ],
)
def test_a_local_path_that_is_no_video_fails_by_its_type(
    make: Callable[[Path], object], type: str, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    make(path)
    error = fails(path, tmp_path, Settings(max_bytes=1000))
    assert error.type == type
    assert "it" in str(error)


def test_paths_are_not_taken_where_only_addresses_are(tmp_path: Path, clip: bytes) -> None:
    path = tmp_path / "secret.mp4"
    path.write_bytes(clip)
    for source in (str(path), f"file://{path}", "secret.mp4", "ftp://clips.example/a.mp4"):
        assert fails(source, tmp_path, local=False).type == "unsupported"


def test_an_address_without_its_scheme_is_explained(tmp_path: Path) -> None:
    error = fails("www.tiktok.com/@ada.l/video/1", tmp_path)
    assert error.type == "not_found"
    assert "https://www.tiktok.com/@ada.l/video/1" in error.advice


def test_an_error_survives_pickling_and_has_a_status() -> None:
    error = IntakeError("too_long", "it is 9 s long")
    again = pickle.loads(pickle.dumps(error))
    assert (again.type, str(again), again.advice, again.status) == (
        "too_long", "it is 9 s long", error.advice, 422,
    )  # fmt: skip
    assert isinstance(again, InputError)


# Direct links


def test_a_direct_link_is_fetched_whole(site: Site, tmp_path: Path, clip: bytes) -> None:
    site.serve("https://clips.example/a/film.mp4", clip)
    came: list[tuple[int, int | None]] = []
    source = "https://user:secret@clips.example/a/film.mp4#t=3"
    result = taken(source, tmp_path, progress=lambda done, total: came.append((done, total)))
    assert result == Taken(tmp_path / "source.mp4", "https://clips.example/a/film.mp4")
    assert result.path.read_bytes() == clip
    assert came[-1] == (len(clip), len(clip))
    assert site.dialed == [(PUBLIC, 443)]
    assert "Authorization" not in site.seen[0][2]


def test_a_link_without_a_suffix_is_told_by_what_it_holds(
    site: Site, tmp_path: Path, clip: bytes
) -> None:
    site.serve("http://clips.example/download", clip, kind="text/html")
    assert taken("http://clips.example/download", tmp_path).path.read_bytes() == clip


def test_redirects_are_followed_but_only_to_the_web(
    site: Site, tmp_path: Path, clip: bytes
) -> None:
    def to(place: str) -> Answer:
        return lambda request: request.give(b"", status=302, Location=place)

    site.serve("https://other.example/b.mp4", clip)
    site.on("http://clips.example/a.mp4", to("https://other.example/b.mp4"))
    site.on("http://clips.example/in.mp4", to("http://inside.example/b.mp4"))
    site.on("http://clips.example/file.mp4", to("file:///etc/passwd"))
    site.on("http://clips.example/loop.mp4", to("http://clips.example/loop.mp4"))
    site.hosts["inside.example"] = ["10.1.2.3"]
    assert taken("http://clips.example/a.mp4", tmp_path).path.read_bytes() == clip
    (tmp_path / "source.mp4").unlink()
    refused = fails("http://clips.example/in.mp4", tmp_path)
    assert refused.type == "refused"
    assert "10.1.2.3" in str(refused)
    assert fails("http://clips.example/file.mp4", tmp_path).type == "refused"
    assert fails("http://clips.example/loop.mp4", tmp_path).type == "unreachable"
    assert {address for address, _ in site.dialed} == {PUBLIC}


@pytest.mark.parametrize(
    ("code", "type"),
    [(401, "private"), (403, "private"), (404, "not_found"), (410, "removed"),
     (429, "ip_blocked"), (500, "unreachable"), (503, "unreachable")],
)  # fmt: skip
def test_a_servers_status_gives_the_type(code: int, type: str, site: Site, tmp_path: Path) -> None:
    site.serve("http://clips.example/a.mp4", b"no", status=code)
    error = fails("http://clips.example/a.mp4", tmp_path)
    assert error.type == type
    assert str(code) in str(error)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "kind", "type"),
    [
        (b"", "video/mp4", "empty"),
        (b"plain words", "video/mp4", "not_video"),
        ("Grüße".encode() * 1000, "text/plain", "not_video"),
        (b'{"a": 1}', "application/json", "not_video"),
        (b"\xff\xd8\xff\xe0" + bytes(5000), "image/jpeg", "not_video"),
        (b"<!DOCTYPE html><html><body>nothing</body></html>", "text/html", "unsupported"),
        (b"<!DOCTYPE html><html><body>nothing</body></html>", "video/mp4", "not_video"),
    ],
)
def test_what_is_no_video_fails_by_its_type(
    body: bytes, kind: str, type: str, site: Site, tmp_path: Path
) -> None:
    site.serve("http://clips.example/a.mp4", body, kind=kind)
    assert fails("http://clips.example/a.mp4", tmp_path).type == type


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_over_the_limit_is_not_fetched_whole(
    announced: bool, site: Site, tmp_path: Path
) -> None:
    sent = []

    def answer(request: Request) -> None:
        request.send_response(200)
        request.send_header(*(("Content-Length", "50000000") if announced else ("X", "y")))
        request.send_header("Connection", "close")
        request.end_headers()
        for _ in range(50):
            request.wfile.write(bytes([0, 1, 2, 255]) * 250_000)
            sent.append(1)
        request.close_connection = True

    site.on("http://clips.example/a.mp4", answer)
    error = fails("http://clips.example/a.mp4", tmp_path, Settings(max_bytes=2_000_000))
    assert error.type == "too_large"
    assert "2000000" in str(error)
    assert len(sent) < 50


def _stalling(head: bytes, gap: float) -> Answer:
    def answer(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "100000")
        request.end_headers()
        request.wfile.write(head)
        for _ in range(40):
            time.sleep(gap)
            request.wfile.write(b"\0")

    return answer


@pytest.mark.parametrize(("gap", "silence"), [(20.0, 0.5), (0.1, 5.0)])
def test_silence_and_trickling_end_in_a_timeout(
    gap: float, silence: float, site: Site, tmp_path: Path
) -> None:
    site.on("http://clips.example/a.mp4", _stalling(b"\0\0\0\x18ftypmp42", gap))
    began = time.monotonic()
    settings = Settings(fetch_timeout_s=1.5, fetch_silence_s=silence)
    assert fails("http://clips.example/a.mp4", tmp_path, settings).type == "timeout"
    assert time.monotonic() - began < 6


def test_a_connection_that_breaks_is_no_file(site: Site, tmp_path: Path) -> None:
    def answer(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "100000")
        request.end_headers()
        request.wfile.write(bytes(range(256)) * 20)
        request.close_connection = True

    site.on("http://clips.example/a.mp4", answer)
    assert fails("http://clips.example/a.mp4", tmp_path).type == "unreachable"


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1/a.mp4", "http://2130706433/a.mp4", "http://[::1]/a.mp4",
     "http://169.254.169.254/latest/meta-data", "http://localhost:8265/a.mp4",
     "https://10.0.0.1/a.mp4", "http://[::ffff:192.168.0.1]/a.mp4", "http://clips.example:22/a.mp4"],
)  # fmt: skip
def test_inward_addresses_are_refused(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dial(*_: object) -> Any:
        raise AssertionError("the proxy connected")

    def opened(settings: Settings, budget: int) -> EgressProxy:
        proxy = EgressProxy.of(settings, budget=budget)
        proxy._dial = dial
        return proxy

    monkeypatch.setattr(fetch, "opened", opened)
    assert fails(address, tmp_path).type == "refused"


def test_hosts_off_the_list_are_refused(site: Site, tmp_path: Path, clip: bytes) -> None:
    site.serve("https://clips.example/a.mp4", clip)
    settings = Settings(allowed_hosts=fetch.TIKTOK_HOSTS)
    assert fails("https://clips.example/a.mp4", tmp_path, settings).type == "refused"
    assert site.seen == []


def test_a_private_address_is_taken_when_the_setting_opens_it(
    site: Site, tmp_path: Path, clip: bytes
) -> None:
    site.serve("http://inside.example/a.mp4", clip)
    site.hosts["inside.example"] = ["10.0.0.9"]
    settings = Settings(private_addresses=True)
    assert taken("http://inside.example/a.mp4", tmp_path, settings).path.read_bytes() == clip
    assert site.dialed == [("10.0.0.9", 80)]


@pytest.mark.parametrize(
    "address",
    ["http://", "http:///a.mp4", "http://a b/c.mp4", "http://clips.example:99999/", "gopher://x/",
     "http://clips.example/\r\nHost: x", "https://" + "a" * 5000, "javascript://x/%0aalert(1)"],
)  # fmt: skip
def test_malformed_addresses_are_unsupported(address: str, tmp_path: Path) -> None:
    assert fails(address, tmp_path).type == "unsupported"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x18ftypmp42" + bytes(100), "media"),
        (b"GIF89a" + bytes(20), "media"),
        (b"\xef\xbb\xbf#EXTM3U\n", "playlist"),
        (b'<?xml version="1.0"?>\n<MPD xmlns="x">', "playlist"),
        (b"\n  <html>", "page"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "picture"),
        (b"RIFF\0\0\0\0AVI LIST", "media"),
        ("naïve é".encode()[:-1], "text"),
    ],
)
def test_first_bytes_tell_the_kind(head: bytes, kind: str) -> None:
    assert kind_of(head) == kind


# Any platform: yt-dlp's generic extractor


def test_a_page_with_one_video_is_taken_and_with_two_is_not(
    site: Site, tmp_path: Path, clip: bytes
) -> None:
    video = '<video src="http://clips.example/{}.mp4"></video>'
    for count in (1, 2):
        body = "".join(video.format(k) for k in range(count))
        html = f"<!DOCTYPE html><html><head><title>A film</title></head><body>{body}</body></html>"
        site.serve(f"http://clips.example/page{count}", html.encode(), kind="text/html")
        site.serve(f"http://clips.example/{count - 1}.mp4", clip, kind="video/mp4")
    result = taken("http://clips.example/page1", tmp_path)
    assert result.path.read_bytes() == clip
    assert result.title is not None
    assert result.title.startswith("A film")
    result.path.unlink()
    error = fails("http://clips.example/page2", tmp_path)
    assert error.type == "unsupported"
    assert "several" in str(error)


def _hls(site: Site, segment: str, key: str = "") -> None:
    site.serve(
        "http://clips.example/film.m3u8",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{key}#EXTINF:1.0,\n{segment}\n#EXT-X-ENDLIST\n".encode(),
        kind="application/vnd.apple.mpegurl",
    )


def test_a_playlist_of_segments_is_taken(site: Site, tmp_path: Path) -> None:
    frames = [np.full((64, 64, 3), k * 12, np.uint8) for k in range(20)]
    segment = write_clip(tmp_path / "segment.ts", frames, fps=20).read_bytes()
    site.serve("http://clips.example/1.ts", segment, kind="video/mp2t")
    _hls(site, "1.ts")
    assert taken("http://clips.example/film.m3u8", tmp_path).path.read_bytes() == segment


@pytest.mark.parametrize("key", ["", '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="http://in.example/k"\n'])
@pytest.mark.parametrize("segment", ["http://in.example/1.ts", "file:///etc/hostname"])
def test_a_playlist_cannot_lead_inside(segment: str, key: str, site: Site, tmp_path: Path) -> None:
    """With a key that yt-dlp cannot use itself, ffmpeg fetches: through the same proxy."""
    site.hosts["in.example"] = ["127.0.0.1"]
    site.serve("http://in.example/1.ts", b"G" * 188)
    _hls(site, segment, key)
    error = fails("http://clips.example/film.m3u8", tmp_path)
    assert error.type == ("refused" if segment.startswith("http") else "unsupported")
    assert {host for host, _, _ in site.seen} == {"clips.example"}
    assert not list(tmp_path.iterdir())


# TikTok


def item(**changes: Any) -> dict[str, Any]:
    """A post as TikTok's page describes it."""
    address = f"https://{CDN}/video/tos/clip/?mime_type=video_mp4"
    return {
        "id": ID,
        "desc": "Ein Mädchen & zwei Hüte #fyp #Hüte",
        "createTime": 1662406249,
        "author": {
            "id": "6604511138619654149",
            "uniqueId": "ada.l",
            "nickname": "Ada L.",
            "secUid": "MS4wLjABAAAA",
        },
        "stats": {
            "playCount": 1234567, "diggCount": 7654, "shareCount": 32,
            "commentCount": 98, "collectCount": "41",
        },
        "music": {
            "id": "700", "title": "canon", "authorName": "nathan & ida", "album": "one",
            "original": False, "duration": 30, "playUrl": f"https://{CDN}/music/?mime_type=audio_mp4",
        },
        "challenges": [{"title": "fyp"}],
        "textExtra": [{"hashtagName": "fyp"}, {"hashtagName": "Hüte"}, {"userUniqueId": "bob"}],
        "video": {
            "duration": 1, "width": 576, "height": 1024, "playAddr": address,
            "downloadAddr": f"https://{CDN}/marked/?mime_type=video_mp4",
            "bitrateInfo": [
                {
                    "Bitrate": 100_000,
                    "PlayAddr": {
                        "UrlKey": "v09044g40000_h264_540p_100000",
                        "DataSize": 4000,
                        "UrlList": [address],
                    },
                }
            ],
        },
        **changes,
    }  # fmt: skip


def html(post: dict[str, Any] | None, status: int = 0) -> bytes:
    """TikTok's page about a post."""
    detail = {"statusCode": status, "itemInfo": {"itemStruct": post} if post else {}}
    data = json.dumps({"__DEFAULT_SCOPE__": {"webapp.video-detail": detail}})
    return (
        "<!DOCTYPE html><html><body>"
        '<script id="__UNIVERSAL_DATA_FOR_REHYDRATION__" type="application/json">'
        f"{data}</script></body></html>"
    ).encode()


def serve_post(
    site: Site, post: dict[str, Any] | None, status: int = 0, user: str = "ada.l"
) -> None:
    url = f"https://www.tiktok.com/@{user}/video/{ID}"
    site.serve(url, html(post, status), kind="text/html")


@pytest.fixture
def tiktok(site: Site, clip: bytes) -> Site:
    """A post whose video can be fetched."""
    serve_post(site, item())
    site.serve(f"https://{CDN}/video/tos/clip/", clip, kind="video/mp4")
    return site


def test_a_post_is_taken_with_what_tiktok_says_of_it(
    tiktok: Site, tmp_path: Path, clip: bytes
) -> None:
    came: list[tuple[int, int | None]] = []
    settings = Settings(allowed_hosts=fetch.TIKTOK_HOSTS)
    result = taken(PAGE, tmp_path, settings, progress=lambda *step: came.append(step))
    assert result.path.read_bytes() == clip
    assert (result.source, result.id, result.uploader) == (PAGE, ID, "ada.l")
    assert result.title == "Ein Mädchen & zwei Hüte #fyp #Hüte"
    assert result.metadata == {
        "platform": "TikTok",
        "id": ID,
        "url": PAGE,
        "description": "Ein Mädchen & zwei Hüte #fyp #Hüte",
        "uploader_id": "6604511138619654149",
        "uploader_name": "Ada L.",
        "published": "2022-09-05T19:30:49+00:00",
        "duration_s": 1,
        "counts": {"views": 1234567, "likes": 7654, "reposts": 32, "comments": 98, "saves": 41},
        "music": {
            "id": "700", "title": "canon", "artist": "nathan & ida", "album": "one",
            "original": False, "duration_s": 30,
        },
        "hashtags": ["fyp", "Hüte"],
    }  # fmt: skip
    assert came[-1][0] == len(clip)
    # The page was asked for as a browser would, through the proxy.
    asked = next(headers for host, _, headers in tiktok.seen if host == "www.tiktok.com")
    assert "Chrome/" in asked["User-Agent"] or "Safari/" in asked["User-Agent"]
    assert set(tiktok.dialed) == {(PUBLIC, 443)}


@pytest.mark.parametrize(
    "address",
    [f"https://m.tiktok.com/@ada.l/video/{ID}?lang=de", f"http://tiktok.com/@ada.l/video/{ID}",
     f"https://m.tiktok.com/v/{ID}.html", f"https://www.tiktok.com/embed/{ID}",
     f"https://www.tiktok.com/embed/v2/{ID}?lang=de", f"https://tiktok.com/player/v1/{ID}",
     "https://vm.tiktok.com/ZTR45GpSF/", "https://www.tiktok.com/t/ZTRC5xgJp"],
)  # fmt: skip
def test_every_spelling_of_a_post_is_taken(
    address: str, tiktok: Site, tmp_path: Path, clip: bytes
) -> None:
    serve_post(tiktok, item(), user="_")
    for short in ("https://vm.tiktok.com/ZTR45GpSF/", "https://www.tiktok.com/t/ZTRC5xgJp"):
        tiktok.on(short, lambda request: request.give(b"", status=302, Location=PAGE + "?_r=1"))
    result = taken(address, tmp_path)
    assert result.path.read_bytes() == clip
    assert (result.id, result.source) == (ID, address)


def in_formats(*keys: str) -> dict[str, Any]:
    """A post whose video comes in formats by the keys of their addresses, and in no other."""
    formats = [
        {
            "Bitrate": 100_000,
            "PlayAddr": {
                "UrlKey": key,
                "DataSize": 4000,
                "UrlList": [f"https://{CDN}/{key}/?mime_type=video_mp4"],
            },
        }
        for key in keys
    ]
    video = {"duration": 1, "width": 1080, "height": 1920, "bitrateInfo": formats}
    return item(video=video)


@pytest.mark.parametrize("sound", [True, False])
def test_a_post_in_tiktoks_own_codec_alone_is_refused_by_its_name(
    sound: bool, site: Site, tmp_path: Path
) -> None:
    post = in_formats("v09044g40000_bytevc2_1080p_900000")
    if not sound:
        post["music"] = {}
    serve_post(site, post)
    site.serve(f"https://{CDN}/music/", b"ID3\x03" + bytes(400), kind="audio/mpeg")
    error = fails(PAGE, tmp_path)
    assert error.type == "unsupported"
    assert "bytevc2" in str(error)
    assert not list(tmp_path.iterdir())


def test_of_formats_the_one_that_can_be_decoded_is_taken(
    site: Site, tmp_path: Path, clip: bytes
) -> None:
    keys = ("v0_bytevc2_1080p_900000", "v0_h264_540p_100000", "v0_bytevc1_720p_200000")
    serve_post(site, in_formats(*keys))
    for key in keys[1:]:
        site.serve(f"https://{CDN}/{key}/", clip, kind="video/mp4")
    assert taken(PAGE, tmp_path).path.read_bytes() == clip
    paths = [path for host, path, _ in site.seen if host == CDN]
    assert any("bytevc1_720p" in path for path in paths)
    assert not any("bytevc2" in path for path in paths)


def test_the_limit_of_1080_is_that_of_the_short_side(tmp_path: Path) -> None:
    """yt-dlp's `res` is the smaller of width and height, so that it holds for portraits too."""
    import yt_dlp

    options = ytdlp_options(
        PAGE, "http://127.0.0.1:9", Settings(), tmp_path, Watch(Settings(), lambda *_: None)
    )
    formats = [
        {"format_id": f"{w}", "url": f"https://x/{w}", "ext": "mp4", "width": w, "height": h,
         "vcodec": "h264", "acodec": "aac"}
        for w, h in ((576, 1024), (720, 1280), (1080, 1920), (2160, 3840))
    ]  # fmt: skip
    with yt_dlp.YoutubeDL({**options, "simulate": True}) as ydl:
        info = {"id": "1", "title": "t", "formats": formats, "extractor": "x", "extractor_key": "X"}
        chosen = ydl.process_ie_result(info, download=False)
    assert (chosen["width"], chosen["height"]) == (1080, 1920)


@pytest.mark.parametrize("duration", [15_000, -3, 0, None, float("inf"), "soon"])
def test_a_spoilt_duration_is_no_reason_to_refuse(duration: Any) -> None:
    info = {"duration": duration, "extractor_key": "TikTok"}
    assert Watch(Settings(), lambda *_: None).match(info, incomplete=False) is None


def test_a_duration_that_can_be_is_believed() -> None:
    watch = Watch(Settings(), lambda *_: None)
    info = {"duration": 1800, "extractor_key": "TikTok"}
    assert watch.match(info, incomplete=False) is not None
    assert watch.verdict is not None
    assert watch.verdict.type == "too_long"


@pytest.mark.parametrize(
    ("status", "type"),
    [(10216, "private"), (10222, "private"), (10204, "ip_blocked"), (10215, "removed"),
     (10221, "removed"), (10231, "removed")],
)  # fmt: skip
def test_tiktoks_status_gives_the_type(status: int, type: str, site: Site, tmp_path: Path) -> None:
    serve_post(site, None, status)
    error = fails(PAGE, tmp_path)
    assert error.type == type
    assert "--cookies" not in str(error) + error.advice


def test_content_behind_a_login_is_private(site: Site, tmp_path: Path) -> None:
    classified = item(isContentClassified=True)
    del classified["video"]
    serve_post(site, classified)
    assert fails(PAGE, tmp_path).type == "private"
    site.on(PAGE, lambda r: r.give(b"", status=302, Location="https://www.tiktok.com/login?x=1"))
    site.serve("https://www.tiktok.com/login", b"<html>log in</html>", kind="text/html")
    assert fails(PAGE, tmp_path).type == "private"


def _challenge(solution: int | None) -> bytes:
    """TikTok's proof-of-work page; None makes one that has no solution."""
    salt = b"salt"
    found = hashlib.sha256(salt + str(solution).encode()).digest() if solution else bytes(32)
    coded = {"a": base64.b64encode(salt).decode(), "c": base64.b64encode(found).decode()}
    data = base64.b64encode(json.dumps({"v": coded}).encode()).decode().rstrip("=")
    return (
        f'<html><body>Please wait...<p id="cs" class="{data}"></p>'
        '<p id="wci" class="_wafchallengeid"></p></body></html>'
    ).encode()


def test_a_challenge_is_solved(tiktok: Site, tmp_path: Path, clip: bytes) -> None:
    def answer(request: Request) -> None:
        solved = "_wafchallengeid=" in request.headers.get("Cookie", "")
        request.give(html(item()) if solved else _challenge(321), kind="text/html")

    tiktok.on(PAGE, answer)
    assert taken(PAGE, tmp_path).path.read_bytes() == clip


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [_challenge(None), b"<html>Please wait...</html>", b"<html>robots?</html>", html(None, 0)],
    ids=["unsolvable", "waiting", "unknown", "without the post"],
)
def test_an_unsolved_challenge_says_so(page: bytes, site: Site, tmp_path: Path) -> None:
    site.serve(PAGE, page, kind="text/html")
    error = fails(PAGE, tmp_path)
    assert error.type == "challenge"
    assert "COOKIES_FILE" in error.advice


@pytest.mark.parametrize(
    ("code", "type"),
    [(403, "ip_blocked"), (404, "not_found"), (429, "ip_blocked"), (500, "unreachable")],
)
def test_the_status_of_tiktoks_page_gives_the_type(
    code: int, type: str, site: Site, tmp_path: Path
) -> None:
    site.serve(PAGE, b"<html></html>", status=code, kind="text/html")
    assert fails(PAGE, tmp_path).type == type


def test_a_silent_page_and_a_silent_video_are_timeouts(tiktok: Site, tmp_path: Path) -> None:
    settings = Settings(fetch_timeout_s=20, fetch_silence_s=1)
    began = time.monotonic()
    tiktok.on(f"https://{CDN}/video/tos/clip/", _stalling(b"\0\0\0\x18ftypmp42", 8))
    assert fails(PAGE, tmp_path, settings).type == "timeout"
    tiktok.on(PAGE, lambda request: time.sleep(8))
    assert fails(PAGE, tmp_path, settings).type == "timeout"
    assert time.monotonic() - began < 20


def test_limits_hold_for_platforms_too(tiktok: Site, tmp_path: Path, clip: bytes) -> None:
    large = fails(PAGE, tmp_path, Settings(max_bytes=1000))
    assert large.type == "too_large"
    assert str(len(clip)) in str(large)
    long = fails(PAGE, tmp_path, Settings(max_duration_s=0.5))
    assert long.type == "too_long"
    tiktok.on(f"https://{CDN}/video/tos/clip/", _stalling(bytes([0, 0, 0, 24]) + b"ftypmp42", 0.1))
    began = time.monotonic()
    assert fails(PAGE, tmp_path, Settings(fetch_timeout_s=3)).type == "timeout"
    assert time.monotonic() - began < 10


def test_a_post_whose_video_lies_inside_is_refused(site: Site, tmp_path: Path) -> None:
    site.hosts["in.example"] = ["192.168.1.1"]
    video = {"duration": 1, "width": 576, "height": 1024, "playAddr": "http://in.example/v.mp4"}
    serve_post(site, item(video=video, music={}))
    error = fails(PAGE, tmp_path)
    assert error.type == "refused"
    assert "192.168.1.1" in str(error)
    assert {host for host, _, _ in site.seen} == {"www.tiktok.com"}


def test_words_in_host_names_mean_nothing(site: Site, tmp_path: Path) -> None:
    site.hosts["private.removed.example"] = ["192.168.1.1"]
    video = {"duration": 1, "playAddr": "https://private.removed.example/v.mp4"}
    serve_post(site, item(video=video, music={}))
    assert fails(PAGE, tmp_path).type == "refused"


@pytest.mark.parametrize("silent", [False, True])
def test_the_music_of_a_post_is_not_taken_for_its_sound(
    silent: bool, site: Site, tmp_path: Path
) -> None:
    """Neither alone nor merged with a format that has no sound of its own."""
    place = f"https://{CDN}/video/media-video-hvc1/"
    formats = [{"PlayAddr": {"UrlKey": "v09_bytevc1_540p_1", "UrlList": [place]}}]
    video = {"duration": 1, "width": 576, "height": 1024, "bitrateInfo": formats if silent else []}
    serve_post(site, item(video=video))
    pictures = [np.full((96, 64, 3), k * 12, np.uint8) for k in range(20)]
    tone = 0.3 * np.sin(np.arange(48_000) / 17).astype(np.float32)
    film = write_clip(tmp_path / "film.mp4", pictures, fps=20).read_bytes()
    site.serve(place, film, kind="video/mp4")
    sound = write_clip(tmp_path / "sound.mp4", pictures[:1], audio=tone).read_bytes()
    site.serve(f"https://{CDN}/music/", sound, kind="audio/mp4")
    folder = tmp_path / "work"
    folder.mkdir()
    error = fails(PAGE, folder)
    assert error.type == "not_video"
    assert "sound" in str(error)


def test_an_unknown_certificate_is_not_trusted(
    tiktok: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: tuple[Path, Path]
) -> None:
    believe(authority[0].with_name("other.pem"), monkeypatch)
    tiktok.serve("https://clips.example/a.mp4", b"\0" * 5000)
    for address in (PAGE, "https://clips.example/a.mp4"):
        error = fails(address, tmp_path)
        assert error.type == "unreachable"
        assert "certificate" in str(error).lower()
    assert tiktok.seen == []


def test_cookies_are_sent_and_their_file_is_left_alone(
    tiktok: Site, tmp_path: Path, clip: bytes
) -> None:
    jar = tmp_path / "jar.txt"
    line = "\t".join((".tiktok.com", "TRUE", "/", "TRUE", "4102444800", "sid_tt", "s3cret"))
    jar.write_text(f"# Netscape HTTP Cookie File\n{line}\n")
    before = jar.read_bytes()
    folder = tmp_path / "work"
    folder.mkdir()
    settings = Settings(cookies_file=jar, impersonate="Chrome")
    assert taken(PAGE, folder, settings).path.read_bytes() == clip
    assert jar.read_bytes() == before
    page = next(headers for host, _, headers in tiktok.seen if host == "www.tiktok.com")
    assert "sid_tt=s3cret" in page["Cookie"]


def test_cancelling_stops_the_fetch(tiktok: Site, tmp_path: Path) -> None:
    started = threading.Event()

    def answer(request: Request) -> None:
        started.set()
        _stalling(b"\0\0\0\x18ftypmp42", 0.2)(request)

    tiktok.on(f"https://{CDN}/video/tos/clip/", answer)

    async def cancelled() -> float:
        task = asyncio.create_task(take(PAGE, Settings(), tmp_path))
        while not started.is_set():
            await asyncio.sleep(0.05)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began

    assert asyncio.run(cancelled()) < 5
    for thread in threading.enumerate():
        if thread.name.startswith(("egress-proxy", "intake")):
            thread.join(5)
            assert not thread.is_alive()


# Photo posts

COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200))


def picture(colour: tuple[int, int, int], size: tuple[int, int], form: str) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, form)
    return file.getvalue()


def photo_post(site: Site, **changes: Any) -> None:
    """A post of three pictures: portrait JPEG, landscape PNG, portrait WebP; one has two places."""
    shapes = (((720, 1280), "JPEG"), ((1280, 720), "PNG"), ((360, 640), "WEBP"))
    images = []
    for k, (colour, (size, form)) in enumerate(zip(COLOURS, shapes, strict=True)):
        url = f"https://p16.tiktokcdn.com/photo{k}.img"
        site.serve(url, picture(colour, size, form), kind="image/jpeg")
        urls = ["https://p16.tiktokcdn.com/gone.img", url] if k == 1 else [url]
        images.append(
            {"imageURL": {"urlList": urls}, "imageWidth": size[0], "imageHeight": size[1]}
        )
    video = {"duration": 0, "cover": "https://p16.tiktokcdn.com/cover.img"}
    serve_post(site, item(imagePost={"images": images}, video=video, **changes))


def _seen(path: Path) -> tuple[Any, Any]:
    from tiktok_ray.media import decode

    decoded = decode(path, {"frames", "audio"}, Settings())
    return decoded.video, decoded.tracks


@pytest.mark.parametrize(
    "address",
    [
        PAGE,
        pytest.param(f"https://www.tiktok.com/@ada.l/photo/{ID}", marks=pytest.mark.slow),
        pytest.param("https://vm.tiktok.com/ZTphoto/", marks=pytest.mark.slow),
    ],
)
def test_a_photo_post_becomes_a_slide_show_with_its_sound(
    address: str, site: Site, tmp_path: Path
) -> None:
    photo_post(site)
    photo = f"https://www.tiktok.com/@ada.l/photo/{ID}"
    site.on("https://vm.tiktok.com/ZTphoto/", lambda r: r.give(b"", status=302, Location=photo))
    site.serve(photo, b"<html>no data here</html>", kind="text/html")
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(4 * 48_000) / 48_000).astype(np.float32)
    black = [np.zeros((16, 16, 3), np.uint8)]
    sound = write_clip(tmp_path / "sound.mp4", black, audio=tone).read_bytes()
    site.serve(f"https://{CDN}/music/", sound, kind="audio/mp4")
    result = taken(address, tmp_path)
    assert result.metadata is not None
    assert result.metadata["slideshow"] == {
        "pictures": 3, "seconds_per_picture": 2.5, "sound": True,
    }  # fmt: skip
    assert result.metadata["music"]["title"] == "canon"
    assert (result.id, result.uploader) == (ID, "ada.l")
    video, tracks = _seen(result.path)
    assert (video.width, video.height) == (720, 1280)
    assert video.duration_s == pytest.approx(7.5, abs=0.11)
    frames = tracks["frames"]
    middle = frames.height // 2
    for k, colour in enumerate(COLOURS):
        for t in (2.5 * k + 0.3, 2.5 * k + 2.2):
            index = int(np.abs(frames.times - t).argmin())
            seen = frames.rgb(index)[middle, frames.width // 2]
            assert np.abs(seen.astype(int) - colour).max() < 20
    landscape = frames.rgb(int(np.abs(frames.times - 3.7).argmin()))
    assert landscape[10].max() < 20
    audio = tracks["audio"]
    assert np.abs(audio.cut(0.5, 3.5)).max() > 0.2
    assert np.abs(audio.cut(4.5, 7.0)).max(initial=0.0) < 0.01


@pytest.mark.slow
def test_a_photo_post_without_sound_is_a_silent_slide_show(site: Site, tmp_path: Path) -> None:
    photo_post(site, music={"title": "none"})
    result = taken(PAGE, tmp_path)
    assert result.metadata is not None
    assert result.metadata["slideshow"]["sound"] is False
    assert result.metadata["counts"]["likes"] == 7654
    assert result.id == ID
    video, _ = _seen(result.path)
    assert not video.has_audio


@pytest.mark.slow
@pytest.mark.parametrize("body", [None, b"<html>gone</html>", b"\xff\xd8\xff broken"])
def test_a_picture_that_cannot_be_had_makes_a_typed_failure(
    body: bytes | None, site: Site, tmp_path: Path
) -> None:
    photo_post(site, music={})
    if body is None:
        del site.answers[("p16.tiktokcdn.com", "/photo2.img")]
    else:
        site.serve("https://p16.tiktokcdn.com/photo2.img", body)
    error = fails(PAGE, tmp_path)
    assert error.type == "photo_post"
    assert body == b"\xff\xd8\xff broken" or "image 3 of 3" in str(error)


@pytest.mark.slow
def test_a_photo_post_keeps_to_the_limits(site: Site, tmp_path: Path) -> None:
    photo_post(site, music={})
    assert fails(PAGE, tmp_path, Settings(max_duration_s=6)).type == "too_long"
    tight = fails(PAGE, tmp_path, Settings(max_pixels=100_000))
    assert tight.type == "photo_post"
    assert "pixels" in str(tight)


def test_the_maker_of_slide_shows_ends_with_the_fetch(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo_post(site, music={})
    stuck, note = tmp_path / "stuck", tmp_path / "pid"
    stuck.write_text(f"#!/bin/sh\necho $$ > {note}\nexec sleep 60\n")
    stuck.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(stuck))
    folder = tmp_path / "work"
    folder.mkdir()
    assert fails(PAGE, folder, Settings(fetch_timeout_s=3)).type == "timeout"
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_a_page_without_end_is_not_read_into_memory(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    monkeypatch.setattr(platforms, "PAGES_BYTES", 3_000_000)

    def answer(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/html")
        request.send_header("Connection", "close")
        request.end_headers()
        request.wfile.write(b"<!DOCTYPE html><html>")
        for _ in range(200):
            request.wfile.write(b"<p>more and more</p>" * 50_000)
            sent.append(1)
        request.close_connection = True

    site.on(PAGE, answer)
    assert fails(PAGE, tmp_path).type == "too_large"
    assert len(sent) < 40


# Words of failure, against yt-dlp's own source

EXPECTED = {
    "No working app info is available": "unsupported",
    "Unable to extract aweme detail info": "removed",
    "Unable to extract challenge data": "challenge",
    "Unexpected response from webpage request": "challenge",
    "Unable to solve JS challenge": "challenge",
    "TikTok is requiring login for access to this content": "private",
    "Unable to extract universal data for rehydration": "challenge",
    "This post may not be comfortable for some audiences. Log in for access": "private",
    "You do not have permission to view this post. Log into an account that has access": "private",
    "Your IP address is blocked from accessing this post": "ip_blocked",
    "Video not available, status code ": "removed",
    "This livestream has ended": "unsupported",
}


def _raised(cls: type) -> set[str]:
    """Every message literal with which a yt-dlp extractor class raises."""
    found: set[str] = set()
    names: dict[str, str] = {}
    for node in ast.walk(ast.parse(inspect.getsource(cls).lstrip())):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id == "message":
                    names[str(node.value.value)] = "message"
        if not (isinstance(node, ast.Call) and node.args):
            continue
        called = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if called not in ("ExtractorError", "raise_login_required"):
            continue
        first = node.args[0]
        if isinstance(first, ast.JoinedStr):
            first = first.values[0]
        if isinstance(first, ast.Constant):
            found.add(str(first.value))
    return found | set(names)


def test_every_message_of_yt_dlps_tiktok_extractor_has_its_type() -> None:
    from yt_dlp.extractor import tiktok

    classes = (tiktok.TikTokBaseIE, tiktok.TikTokIE, tiktok.TikTokVMIE, tiktok.TikTokLiveIE)
    raised = set().union(*(_raised(cls) for cls in classes))
    assert raised == set(EXPECTED)
    assert {words: type_of(words) for words in raised} == EXPECTED
    assert type_of("Video not available, status code 0") == "challenge"


@pytest.mark.parametrize(
    ("words", "type"),
    [
        ("Private video. Sign in if you've been granted access to this video", "private"),
        ("Sign in to confirm your age. This video may be inappropriate for some users", "private"),
        ("Sign in to confirm you’re not a bot. This helps protect our community", "challenge"),
        ("Video unavailable. This video has been removed by the uploader", "removed"),
        ("This video is no longer available because the account has been terminated", "removed"),
        ("The uploader has not made this video available in your country", "ip_blocked"),
        ("This video is only available for registered users", "private"),
        ("This video is DRM protected", "unsupported"),
        ("Requested format is not available", "unsupported"),
        ("No video formats found!", "unsupported"),
        ("The read operation timed out", "timeout"),
        ("something nobody foresaw", None),
    ],
)
def test_words_of_other_platforms_give_the_type(words: str, type: str | None) -> None:
    assert type_of(words) == type


def test_exceptions_of_yt_dlp_give_the_type() -> None:
    from yt_dlp.networking.exceptions import TransportError
    from yt_dlp.utils import (
        DownloadError,
        ExtractorError,
        GeoRestrictedError,
        UnsupportedError,
        UserNotLive,
    )

    def wrapped(error: Exception) -> Any:
        return DownloadError(f"ERROR: {error}", (type(error), error, None))

    cases = [
        (GeoRestrictedError("not here"), "ip_blocked"),
        (UnsupportedError("https://clips.example/"), "unsupported"),
        (UserNotLive(), "unsupported"),
        (ExtractorError("x", cause=TransportError("reset by peer")), "unreachable"),
        (ExtractorError("private.example", cause=TransportError("no answer")), "unreachable"),
        (ExtractorError("private.example: timed out", cause=TransportError("late")), "timeout"),
        (
            ExtractorError("x", cause=TransportError("it timed out", cause=TimeoutError())),
            "timeout",
        ),
        (ExtractorError("nobody foresaw it"), "unsupported"),
    ]
    for error, expected in cases:
        assert told(wrapped(error), tiktok=False).type == expected, error
    login = ExtractorError("Log in for access. Use --cookies, --username and so on", expected=True)
    assert str(told(wrapped(login), tiktok=True)) == "Log in for access"


def test_every_type_has_a_status_and_advice() -> None:
    assert set(STATUS) == set(ADVICE)
    assert {type for type, _ in WORDS} | set(CLEAR) <= set(STATUS)
    assert all(400 <= code < 600 for code in STATUS.values())
