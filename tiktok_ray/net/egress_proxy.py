"""The single guarded way out to the network.

yt-dlp, curl and HTTP clients each resolve names themselves, so checking an address before handing
it to them proves nothing. ``EgressProxy`` is a forward proxy on loopback that they are all told to use:
it resolves a name once, refuses what is not public, and connects to the very address it checked,
again for every redirect. A random credential locks out other users of the machine.

    with EgressProxy.of(settings) as proxy:
        httpx.Client(proxy=proxy.url, trust_env=False, verify=trust()).get(address)

The proxy remembers what it refused or could not reach: ``proxy.blame()`` is the typed reason behind a
client's vague error.

    EgressError
    ├── Refused          the address, host or port is not allowed
    │   └── OverBudget   more bytes were received than allowed
    └── Unreachable      unknown name, no response, or a stalled connection
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import ipaddress
import os
import re
import secrets
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

import certifi
import psutil

from tiktok_ray.settings import Settings

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
#: Turns a name into addresses; blocks.
Resolve = Callable[[str], list[str]]
#: Connects to one checked address and port.
Dial = Callable[[str, int], Awaitable[tuple[Reader, Writer]]]

REFUSED_HEADER = "X-Outbound-Refused"
HEAD_LIMIT = 64 * 1024
CHUNK = 64 * 1024
CONNECTIONS = 64
REMEMBERED = 100
HEAD_END = b"\r\n\r\n"
HOP_HEADERS = ("connection", "proxy-connection", "keep-alive", "proxy-authorization", "upgrade")

#: IANA's special-purpose blocks (RFC 6890), and what clouds keep for themselves.
CLOSED_V4 = tuple(
    (ipaddress.IPv4Network(block), what)
    for block, what in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a shared address"),
        ("127.0.0.0/8", "a loopback address"),
        ("168.63.129.16/32", "a metadata address"),
        ("169.254.0.0/16", "a link-local address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "a reserved address"),
        ("192.0.2.0/24", "a documentation address"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
)
#: IPv6 is closed but for the global unicast block, and these are closed within it.
OPEN_V6 = ipaddress.IPv6Network("2000::/3")
CLOSED_V6 = tuple(
    (ipaddress.IPv6Network(block), what)
    for block, what in (
        ("2001::/23", "a Teredo or protocol address"),
        ("2001:db8::/32", "a documentation address"),
        ("2002::/16", "a 6to4 address"),
        ("3fff::/20", "a documentation address"),
    )
)
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class EgressError(Exception):
    """``host`` could not be reached through the proxy, for ``reason``."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(reason if reason.startswith(host) else f"{host}: {reason}")
        self.host = host
        self.reason = reason


class Refused(EgressError):
    """The proxy does not allow this destination."""


class OverBudget(Refused):
    """More bytes were received than allowed."""


class Unreachable(EgressError):
    """Unknown name, no response, or a stalled connection."""


def closed(address: str) -> str | None:
    """Why an IP address is not public, or None if it is.

    Mapped (``::ffff:0:0/96``) and NAT64 (``64:ff9b::/96``) addresses are judged by the IPv4
    address within; 6to4, Teredo and everything outside 2000::/3 is closed.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip in NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    if isinstance(ip, ipaddress.IPv4Address):
        return next((what for block, what in CLOSED_V4 if ip in block), None)
    if ip not in OPEN_V6:
        return "not a global address"
    return next((what for block, what in CLOSED_V6 if ip in block), None)


def listed(host: str, allowed: Iterable[str]) -> bool:
    """Whether ``host`` is one of the allowed names or a subdomain of one."""
    return any(host == name or host.endswith("." + name) for name in map(_plain, allowed))


def _plain(host: str) -> str:
    return host.lower().strip(".")


def _addresses(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _dial(address: str, port: int) -> tuple[Reader, Writer]:
    return await asyncio.open_connection(address, port, limit=HEAD_LIMIT)


class EgressProxy:
    """A loopback forward proxy (absolute-form HTTP and CONNECT) that leads to public hosts only.

    ``allowed_hosts`` are names under which a host must lie (None: any). ``budget`` is the number
    of bytes that may come in, in all. ``connect_timeout_s`` bounds resolving and connecting,
    ``idle_timeout_s`` the silence on a connection. Use it as a context manager; ``url`` is what
    clients take as their proxy.
    """

    def __init__(
        self,
        *,
        private_addresses: bool = False,
        allowed_hosts: Iterable[str] | None = None,
        budget: int | None = None,
        connect_timeout_s: float = 10.0,
        idle_timeout_s: float = 30.0,
        resolve: Resolve = _addresses,
        dial: Dial = _dial,
    ) -> None:
        self.private_addresses = private_addresses
        self.allowed_hosts = None if allowed_hosts is None else tuple(allowed_hosts)
        self.budget = budget
        self.connect_timeout_s = connect_timeout_s
        self.idle_timeout_s = idle_timeout_s
        self.received = 0
        self.errors: list[EgressError] = []
        self._resolve = resolve
        self._dial = dial
        self._secret = secrets.token_urlsafe(24)
        self._basic = b"Basic " + base64.b64encode(f"proxy:{self._secret}".encode())
        self._port = 0
        self._own = frozenset() if private_addresses else _own_addresses()
        self._open: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, settings: Settings, *, budget: int | None = None) -> EgressProxy:
        """A proxy configured according to the settings."""
        return cls(
            private_addresses=settings.private_addresses,
            allowed_hosts=settings.allowed_hosts,
            budget=budget,
            connect_timeout_s=min(10.0, settings.fetch_silence_s),
            idle_timeout_s=settings.fetch_silence_s,
        )

    @property
    def url(self) -> str:
        """The proxy's URL including its credential."""
        if self._thread is None:
            raise RuntimeError("the proxy is not open; use it as a context manager")
        return f"http://proxy:{self._secret}@127.0.0.1:{self._port}"

    def blame(self) -> EgressError | None:
        """What the proxy itself refused or could not reach; refusals take precedence."""
        for kind in (OverBudget, Refused, EgressError):
            for error in self.errors:
                if isinstance(error, kind):
                    return error
        return None

    def __enter__(self) -> EgressProxy:
        listener = socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS)
        self._port = listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(listener,), name="egress-proxy", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Shut it down, closing every connection through it. May be called twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(5.0)

    def _run(self, listener: socket.socket) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(
            asyncio.start_server(self._serve, sock=listener, limit=HEAD_LIMIT)
        )
        try:
            loop.run_forever()
        finally:
            server.close()
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(asyncio.sleep(0))  # transports close in the next turn
            loop.close()

    async def _serve(self, reader: Reader, writer: Writer) -> None:
        """One connection of a client, from its request to the end."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if len(self._open) > CONNECTIONS:
                await _answer(writer, "503 Too Many Connections")
            else:
                await self._request(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The client went away, never finished its request, or the proxy is being shut.
            _reset(writer)
        except EgressError as error:
            self._remember(error)
            status = "403 Refused" if isinstance(error, Refused) else "502 Unreachable"
            with suppress(OSError):
                await _answer(writer, status, error.reason)
        finally:
            self._open.discard(task)
            writer.close()

    def _remember(self, error: EgressError) -> None:
        if len(self.errors) < REMEMBERED:
            self.errors.append(error)

    async def _request(self, reader: Reader, writer: Writer) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(HEAD_END), self.connect_timeout_s)
            method, target, headers = _parsed(head)
        except (ValueError, asyncio.LimitOverrunError):
            await _answer(writer, "400 Bad Request")
            return
        sent = next((v for k, v in headers if k.lower() == "proxy-authorization"), "")
        if not hmac.compare_digest(sent.encode("latin-1"), self._basic):
            await _answer(writer, "407 Proxy Authentication Required")
            return
        try:
            host, port, path = _destination(method, target)
        except ValueError as error:
            raise Refused(target[:200], str(error)) from error
        theirs, ours = await self._connect(host, port)
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                ours.write(_forwarded(method, path, _authority(host, port), headers))
            await self._relay(host, (reader, ours), (theirs, writer), plain=method != "CONNECT")
        finally:
            ours.close()

    async def _connect(self, host: str, port: int) -> tuple[Reader, Writer]:
        """A connection to an address of ``host`` that was checked, or a ``EgressError``."""
        if self.allowed_hosts is not None and not listed(host, self.allowed_hosts):
            raise Refused(host, "not on the list of allowed hosts")
        if not self.private_addresses and port < 1024 and port not in (80, 443):
            raise Refused(host, f"port {port} is not a web port")
        deadline = self._loop.time() + self.connect_timeout_s
        try:
            addresses = await asyncio.wait_for(
                _in_daemon(self._resolve, host), self.connect_timeout_s
            )
        except TimeoutError as error:
            raise Unreachable(host, "resolving its name timed out") from error
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise Unreachable(host, f"this name has no address ({why})") from error
        good = self._checked(host, addresses)
        failure = ""
        for left, address in zip(range(len(good), 0, -1), good, strict=True):
            patience = max(0.1, (deadline - self._loop.time()) / left)
            try:
                return await asyncio.wait_for(self._dial(address, port), patience)
            except TimeoutError:
                failure = f"{address} did not answer within {patience:.1f} s"
            except OSError as error:
                failure = f"{address} could not be reached ({error.strerror or error})"
        raise Unreachable(host, failure or "it has no address")

    def _checked(self, host: str, addresses: list[str]) -> list[str]:
        """Those of the addresses that the proxy leads to; ``Refused`` if none is left."""
        if self.private_addresses:
            return addresses
        reasons = [
            (a, closed(a) or ("this machine" if a in self._own else None)) for a in addresses
        ]
        good = [address for address, reason in reasons if reason is None]
        if reasons and not good:
            address, reason = reasons[0]
            raise Refused(host, f"{address} is {reason}")
        return good

    def _count(self, host: str, data: bytes) -> bytes:
        self.received += len(data)
        if self.budget is not None and self.received > self.budget:
            raise OverBudget(host, f"more than {self.budget} bytes were received")
        return data

    async def _relay(
        self, host: str, up: tuple[Reader, Writer], down: tuple[Reader, Writer], plain: bool
    ) -> None:
        """Carry bytes both ways until the far side ends, a budget is spent, or all is silent.

        ``plain`` means that the far side answers with an HTTP response, whose head is rewritten.
        """
        moved = self._loop.time()
        begun = not plain

        async def send() -> None:
            nonlocal moved
            while data := await up[0].read(CHUNK):
                moved = self._loop.time()
                up[1].write(data)
                await up[1].drain()
            if up[1].can_write_eof():
                up[1].write_eof()

        async def receive() -> None:
            nonlocal moved, begun
            if plain:
                head = await _reply(down[0], host)
                self._count(host, head)
                begun = True
                down[1].write(head)
            while data := await down[0].read(CHUNK):
                moved = self._loop.time()
                down[1].write(self._count(host, data))
                await down[1].drain()

        sending, receiving = asyncio.create_task(send()), asyncio.create_task(receive())
        try:
            while not receiving.done():
                left = moved + self.idle_timeout_s - self._loop.time()
                if left <= 0:
                    raise Unreachable(host, f"silent for {self.idle_timeout_s:g} s")
                pending = {task for task in (sending, receiving) if not task.done()}
                await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            receiving.result()
        # Once the answer has begun, a broken connection is the only way left to say it.
        except OSError as error:
            if not begun:
                raise Unreachable(host, error.strerror or str(error)) from error
            _reset(down[1])
        except EgressError as error:
            if not begun:
                raise
            self._remember(error)
            _reset(down[1])
        finally:
            sending.cancel()
            receiving.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)


async def _reply(theirs: Reader, host: str) -> bytes:
    """The head of the final response to a plain request, made to end its connection."""
    while True:
        try:
            head = await theirs.readuntil(HEAD_END)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
            raise Unreachable(host, "its response is not HTTP") from error
        if not re.match(rb"HTTP/1\.[01] \d\d\d[ \r]", head):
            raise Unreachable(host, "its response is not HTTP")
        if head[9:10] != b"1":
            return _closing(head)


def _reset(writer: Writer) -> None:
    """End a connection so that the other side cannot take it for a proper end."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def trust() -> ssl.SSLContext:
    """The trusted certificates: certifi's list, and those given by the usual variables."""
    context = ssl.create_default_context(cafile=certifi.where())
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        place = os.environ.get(variable)
        if place and os.path.isdir(place):
            context.load_verify_locations(capath=place)
        elif place and os.path.isfile(place):
            context.load_verify_locations(cafile=place)
    return context


def _own_addresses() -> frozenset[str]:
    """Addresses of this machine's own interfaces: services on them are not meant for the world."""
    families = (socket.AF_INET, socket.AF_INET6)
    return frozenset(
        entry.address.partition("%")[0]
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family in families
    )


async def _in_daemon(work: Resolve, host: str) -> list[str]:
    """Run a blocking resolver in a thread that nobody waits for when it hangs."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[str]] = loop.create_future()

    def settle(value: list[str] | None, error: Exception | None) -> None:
        if not future.done():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value or [])

    def run() -> None:
        value, error = None, None
        try:
            value = work(host)
        except (OSError, UnicodeError) as caught:
            error = caught
        with suppress(RuntimeError):  # the proxy was closed meanwhile
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=run, name="outbound-resolve", daemon=True).start()
    return await future


def _parsed(head: bytes) -> tuple[str, str, list[tuple[str, str]]]:
    """Method, target and headers of a request head."""
    first, *rest = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, target, version = first.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    headers = []
    for line in rest:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip() or not name:
            raise ValueError(line)
        headers.append((name, value.strip()))
    return method, target, headers


def _destination(method: str, target: str) -> tuple[str, int, str]:
    """Host, port and path of a request; ``ValueError`` says what is wrong with it."""
    parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
    if parts.scheme not in ("", "http") or (method != "CONNECT" and not parts.scheme):
        raise ValueError(f"{parts.scheme or 'no'} scheme: only http and https are allowed")
    host = _plain(parts.hostname or "")
    if not re.fullmatch(r"[\w.:-]{1,253}", host, re.ASCII):
        raise ValueError("not a valid host name")
    port = parts.port
    if port == 0 or (method == "CONNECT" and port is None):
        raise ValueError("not a valid port")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return host, port or 80, path


def _authority(host: str, port: int) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port == 80 else f"{name}:{port}"


def _forwarded(method: str, path: str, authority: str, headers: list[tuple[str, str]]) -> bytes:
    """The request as its origin shall see it: one request, then the connection ends."""
    kept = [(k, v) for k, v in headers if k.lower() not in (*HOP_HEADERS, "host", "expect")]
    lines = [("Host", authority), *kept, ("Connection", "close")]
    text = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines) + "\r\n"
    return text.encode("latin-1")


def _closing(head: bytes) -> bytes:
    """A response head that tells the client not to reuse the connection."""
    lines = head.removesuffix(HEAD_END).split(b"\r\n")
    gone = (b"connection", b"keep-alive", b"proxy-connection")
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in gone]
    return b"\r\n".join([*kept, b"Connection: close"]) + HEAD_END


async def _answer(writer: Writer, status: str, reason: str = "") -> None:
    """The proxy's own answer. The reason stands in a header and in the body."""
    text = re.sub(r"[^\x20-\x7e]", "?", reason)
    body = f"{text or status}\n"
    challenge = 'Proxy-Authenticate: Basic realm="proxy"\r\n' if status.startswith("407") else ""
    refused = f"{REFUSED_HEADER}: {text}\r\n" if text else ""
    writer.write(
        f"HTTP/1.1 {status}\r\n{challenge}{refused}Content-Type: text/plain\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode("latin-1")
    )
    await writer.drain()
