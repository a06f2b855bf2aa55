"""The guarded proxy: what it leads to, what it turns away, and what it says about it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktok_ray.net.egress_proxy import (
    REFUSED_HEADER,
    EgressProxy,
    OverBudget,
    Refused,
    Unreachable,
    closed,
    listed,
)
from tiktok_ray.settings import Settings

PUBLIC = "93.184.216.34"


class Server(ThreadingHTTPServer):
    """Clients that go away are part of these tests."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        return


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[ThreadingHTTPServer]:
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Canary(BaseHTTPRequestHandler):
    """Notes every request, answers with what it saw of it."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str, dict[str, str]]]

    def do_GET(self) -> None:
        type(self).seen.append((self.command, self.path, dict(self.headers)))
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://10.0.0.7/inside")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = b"x" * int(self.path.removeprefix("/bytes/")) if "bytes" in self.path else b"hello"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def canary() -> Iterator[tuple[type[Canary], int]]:
    handler = type("Fresh", (Canary,), {"seen": []})
    with serving(handler) as server:
        yield handler, server.server_address[1]


def led_to(port: int, dialed: list[tuple[str, int]]) -> Any:
    """A dial that notes where the proxy went and leads to a local port instead."""

    async def dial(address: str, wanted: int) -> tuple[Any, Any]:
        dialed.append((address, wanted))
        return await asyncio.open_connection("127.0.0.1", port)

    return dial


def client(proxy: EgressProxy, **more: Any) -> httpx.Client:
    return httpx.Client(proxy=proxy.url, trust_env=False, timeout=10, **more)


def asked(proxy: EgressProxy, line: bytes) -> bytes:
    """What the proxy answers to a request line, byte for byte."""
    with socket.create_connection(("127.0.0.1", proxy._port), timeout=10) as raw:
        raw.sendall(line + b"\r\nProxy-Authorization: " + proxy._basic + b"\r\n\r\n")
        return raw.recv(2000)


def drained(raw: socket.socket) -> tuple[int, bool]:
    """Bytes that came until the end, and whether the connection was reset."""
    got = 0
    try:
        while data := raw.recv(65536):
            got += len(data)
    except ConnectionResetError:
        return got, True
    return got, False


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
        "169.254.169.254", "168.63.129.16", "172.16.0.1", "172.31.255.255", "192.0.0.8",
        "192.168.1.1", "198.18.0.1", "203.0.113.9", "224.0.0.1", "239.255.255.250",
        "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:0808:0808::",
        "2001:0:7f00:1::", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254",
        "ff02::1", "2001:db8::1", "100::1", "5f00::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public_are_closed(address: str) -> None:
    assert closed(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111"]
)
def test_public_addresses_are_open(address: str) -> None:
    assert closed(address) is None


@given(st.ip_addresses())
def test_nothing_is_open_that_python_does_not_hold_for_global(address: Any) -> None:
    if closed(str(address)) is None and address not in ipaddress.ip_network("64:ff9b::/96"):
        judged = getattr(address, "ipv4_mapped", None) or address
        assert judged.is_global
        assert not judged.is_multicast


@given(st.integers(0, 2**32 - 1))
def test_an_embedded_address_is_judged_like_the_bare_one(number: int) -> None:
    bare = ipaddress.IPv4Address(number)
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        embedded = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) | number)
        assert (closed(str(embedded)) is None) == (closed(str(bare)) is None)


def test_the_list_of_hosts_takes_names_and_what_lies_under_them() -> None:
    allowed = ("tiktok.com", ".tiktokcdn.com")
    assert listed("tiktok.com", allowed)
    assert listed("v16.tiktokcdn.com", allowed)
    assert not listed("eviltiktok.com", allowed)
    assert not listed("tiktok.com.evil.net", allowed)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "0", "0.0.0.0",
        "localhost", "localhost.", "LOCALHOST", "[::1]", "[::]", "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
    ],
)  # fmt: skip
def test_every_spelling_of_this_machine_is_refused(
    host: str, canary: tuple[type[Canary], int]
) -> None:
    handler, port = canary
    with EgressProxy() as proxy:
        for line in (f"GET http://{host}:{port}/ HTTP/1.1", f"CONNECT {host}:{port} HTTP/1.1"):
            answer = asked(proxy, line.encode())
            assert answer.startswith(b"HTTP/1.1 403")
            assert REFUSED_HEADER.encode() in answer
    assert isinstance(proxy.blame(), Refused)
    assert len(proxy.errors) == 2
    assert handler.seen == []


def test_own_interface_addresses_are_refused() -> None:
    with EgressProxy(resolve=lambda _: [PUBLIC]) as proxy, client(proxy) as http:
        proxy._own = frozenset({PUBLIC})
        assert http.get("http://me.example/").status_code == 403
    assert "this machine" in str(proxy.blame())


def test_a_plain_request_goes_through_with_its_path_and_without_the_credential(
    canary: tuple[type[Canary], int],
) -> None:
    handler, port = canary
    with EgressProxy(private_addresses=True) as proxy, client(proxy) as http:
        first = http.get(f"http://127.0.0.1:{port}/a/b?c=d&e", headers={"X-Mine": "1"})
        second = http.get(f"http://127.0.0.1:{port}/bytes/300000")
        posted = http.post(f"http://127.0.0.1:{port}/", content=b"abc" * 50_000)
    assert first.text == "hello"
    assert second.content == b"x" * 300_000
    assert posted.content == b"cba" * 50_000
    method, path, headers = handler.seen[0]
    assert (method, path) == ("GET", "/a/b?c=d&e")
    assert headers["Host"] == f"127.0.0.1:{port}"
    assert headers["X-Mine"] == "1"
    assert not [name for name in headers if name.lower().startswith("proxy")]
    assert proxy.blame() is None


def test_connect_tunnels_bytes_both_ways() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def echo() -> None:
            peer, _ = listener.accept()
            with peer:
                while data := peer.recv(4096):
                    peer.sendall(data.upper())

        threading.Thread(target=echo, daemon=True).start()
        with EgressProxy(private_addresses=True) as proxy, _connected(proxy, port) as tunnel:
            tunnel.sendall(b"through the proxy")
            assert tunnel.recv(100) == b"THROUGH THE PROXY"
            tunnel.shutdown(socket.SHUT_WR)
            assert tunnel.recv(100) == b""


def _connected(proxy: EgressProxy, port: int) -> socket.socket:
    raw = socket.create_connection(("127.0.0.1", proxy._port), timeout=10)
    credential = proxy._basic.decode()
    raw.sendall(
        f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nProxy-Authorization: {credential}\r\n\r\n".encode()
    )
    assert raw.recv(1000).startswith(b"HTTP/1.1 200")
    return raw


def test_without_its_credential_the_proxy_does_nothing(canary: tuple[type[Canary], int]) -> None:
    handler, port = canary
    with EgressProxy(private_addresses=True) as proxy, EgressProxy() as other:
        assert proxy._secret != other._secret
        bare = f"http://127.0.0.1:{proxy._port}"
        wrong = f"http://proxy:{other._secret}@127.0.0.1:{proxy._port}"
        for address in (bare, wrong):
            with httpx.Client(proxy=address, trust_env=False) as http:
                assert http.get(f"http://127.0.0.1:{port}/").status_code == 407
    assert handler.seen == []


def test_a_redirect_inwards_is_refused(canary: tuple[type[Canary], int]) -> None:
    _, port = canary
    dialed: list[tuple[str, int]] = []

    def resolve(host: str) -> list[str]:
        return [PUBLIC] if host == "clips.example" else [host]

    with (
        EgressProxy(resolve=resolve, dial=led_to(port, dialed)) as proxy,
        client(proxy, follow_redirects=True) as http,
    ):
        answer = http.get("http://clips.example/away")
    assert answer.status_code == 403
    assert dialed == [(PUBLIC, 80)]
    refusal = proxy.blame()
    assert isinstance(refusal, Refused)
    assert refusal.host == "10.0.0.7"
    assert "private" in refusal.reason


def test_a_name_that_changes_its_address_never_leads_inside(
    canary: tuple[type[Canary], int],
) -> None:
    """DNS rebinding: the name is public when it is asked first, loopback afterwards."""
    _, port = canary
    dialed: list[tuple[str, int]] = []
    answers = iter([[PUBLIC], ["127.0.0.1"], ["169.254.169.254", PUBLIC]])
    with (
        EgressProxy(resolve=lambda _: next(answers), dial=led_to(port, dialed)) as proxy,
        client(proxy) as http,
    ):
        assert http.get(f"http://rebind.example:{port}/").text == "hello"
        assert http.get(f"http://rebind.example:{port}/").status_code == 403
        assert http.get(f"http://rebind.example:{port}/").text == "hello"
    # One question a connection, and the very address that was judged; never the closed one.
    assert dialed == [(PUBLIC, port), (PUBLIC, port)]
    assert next(answers, None) is None


def test_hosts_off_the_list_are_refused_unresolved(canary: tuple[type[Canary], int]) -> None:
    _, port = canary
    asked: list[str] = []
    dialed: list[tuple[str, int]] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return [PUBLIC]

    with (
        EgressProxy(
            resolve=resolve, dial=led_to(port, dialed), allowed_hosts=("tiktok.com",)
        ) as proxy,
        client(proxy) as http,
    ):
        assert http.get("http://www.tiktok.com/").text == "hello"
        assert http.get("http://www.tiktok.com.evil.example/").status_code == 403
        assert http.get(f"http://{PUBLIC}/").status_code == 403
    assert asked == ["www.tiktok.com"]
    assert "allowed hosts" in str(proxy.blame())


@pytest.mark.parametrize("port", [22, 25, 111])
def test_ports_of_other_services_are_refused(port: int) -> None:
    with EgressProxy(resolve=lambda _: [PUBLIC]) as proxy, client(proxy) as http:
        assert http.get(f"http://mail.example:{port}/").status_code == 403
    assert f"port {port}" in str(proxy.blame())


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /etc/passwd HTTP/1.1", b"GET ftp://example.org/ HTTP/1.1", b"GET http:/// HTTP/1.1",
        b"GET file:///etc/passwd HTTP/1.1", b"CONNECT example.org HTTP/1.1",
        b"CONNECT example.org:0 HTTP/1.1", b"CONNECT example.org:99999 HTTP/1.1",
        b"GET http://a%00b/ HTTP/1.1", b"CONNECT exa mple.org:443 HTTP/1.1", b"nonsense", b"",
    ],
)  # fmt: skip
def test_malformed_requests_get_an_error_and_the_proxy_stays_open(request_line: bytes) -> None:
    with EgressProxy() as proxy:
        assert int(asked(proxy, request_line).split()[1]) in (400, 403)
        with client(proxy) as http:
            assert http.get("http://127.0.0.1/").status_code == 403


@pytest.mark.parametrize("scheme", ["GET", "CONNECT"])
def test_more_bytes_than_the_budget_break_the_connection(
    scheme: str, canary: tuple[type[Canary], int]
) -> None:
    _, port = canary
    with EgressProxy(private_addresses=True, budget=100_000) as proxy:
        if scheme == "GET":
            with client(proxy) as http, pytest.raises(httpx.HTTPError):
                http.get(f"http://127.0.0.1:{port}/bytes/5000000")
        else:
            with _connected(proxy, port) as tunnel:
                tunnel.sendall(b"GET /bytes/5000000 HTTP/1.1\r\nHost: a\r\n\r\n")
                got, reset = drained(tunnel)
                assert got <= 200_000
                assert reset
    assert isinstance(proxy.blame(), OverBudget)


def test_no_such_name_is_unreachable_and_says_so() -> None:
    def resolve(_: str) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with EgressProxy(resolve=resolve) as proxy, client(proxy) as http:
        answer = http.get("http://nowhere.example/")
    assert answer.status_code == 502
    assert isinstance(proxy.blame(), Unreachable)
    assert "nowhere.example" in str(proxy.blame())


def test_a_resolver_or_host_that_hangs_is_given_up() -> None:
    hang = threading.Event()

    def resolve(host: str) -> list[str]:
        if host == "slow.example":
            hang.wait(20)
        return [PUBLIC]

    async def dial(*_: object) -> tuple[Any, Any]:
        await asyncio.sleep(20)
        raise AssertionError

    began = time.monotonic()
    with (
        EgressProxy(resolve=resolve, dial=dial, connect_timeout_s=0.3) as proxy,
        client(proxy) as http,
    ):
        for host in ("slow.example", "deaf.example"):
            assert http.get(f"http://{host}/").status_code == 502
    hang.set()
    assert time.monotonic() - began < 5
    assert ["resolving" in str(e) or "answer" in str(e) for e in proxy.errors] == [True, True]


def test_a_second_address_is_tried_when_the_first_is_dead(
    canary: tuple[type[Canary], int],
) -> None:
    _, port = canary
    dialed: list[tuple[str, int]] = []
    good = led_to(port, dialed)

    async def dial(address: str, wanted: int) -> Any:
        if address == PUBLIC:
            raise OSError(101, "Network is unreachable")
        return await good(address, wanted)

    with (
        EgressProxy(resolve=lambda _: [PUBLIC, "8.8.8.8"], dial=dial) as proxy,
        client(proxy) as http,
    ):
        assert http.get("http://two.example/").text == "hello"
    assert dialed == [("8.8.8.8", 80)]


def test_silence_ends_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with (
            EgressProxy(private_addresses=True, idle_timeout_s=0.3) as proxy,
            client(proxy) as http,
        ):
            began = time.monotonic()
            assert http.get(f"http://127.0.0.1:{port}/").status_code == 502
            with _connected(proxy, port) as tunnel:
                assert drained(tunnel) == (0, True)
            assert time.monotonic() - began < 5
    assert "silent" in str(proxy.blame())


def test_closing_the_proxy_breaks_what_goes_through_it_and_ends_its_thread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = EgressProxy(private_addresses=True).__enter__()
        tunnel = _connected(proxy, listener.getsockname()[1])
        began = time.monotonic()
        proxy.close()
        proxy.close()
        with tunnel:
            try:
                assert tunnel.recv(10) == b""
            except ConnectionResetError:
                assert time.monotonic() - began < 5
    assert "egress-proxy" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(RuntimeError, match="not open"):
        _ = proxy.url


def test_a_proxy_that_has_to_carry_too_much_at_once_says_so() -> None:
    from tiktok_ray.net import egress_proxy

    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        port = listener.getsockname()[1]
        with EgressProxy(private_addresses=True) as proxy:
            tunnels = [_connected(proxy, port) for _ in range(egress_proxy.CONNECTIONS)]
            with client(proxy) as http:
                assert http.get(f"http://127.0.0.1:{port}/").status_code == 503
            for tunnel in tunnels:
                tunnel.close()


def test_the_settings_make_the_proxy() -> None:
    proxy = EgressProxy.of(
        Settings(private_addresses=True, allowed_hosts=("a.example",), fetch_silence_s=3), budget=7
    )
    assert (proxy.private_addresses, proxy.allowed_hosts, proxy.budget) == (True, ("a.example",), 7)
    assert (proxy.connect_timeout_s, proxy.idle_timeout_s) == (3, 3)
    assert EgressProxy.of(Settings()).private_addresses is False
