"""Blocks telemetry of libraries that offer no switch: they are given a proxy that does not exist.

This project's own requests go through ``egress_proxy.EgressProxy``, which ignores the environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Where a library that ignores every other setting sends its statistics: nowhere.
DEAD_PROXY = "http://127.0.0.1:9"
_LOCAL = ("localhost", "127.0.0.1", "::1")


def block_telemetry(own_address: str = "") -> None:
    """Give every proxy-aware library in this process a dead proxy; local addresses stay reachable.

    For processes that are this project's own: actors, Ray's helpers, replicas.
    """
    local = ",".join((*_LOCAL, own_address)).rstrip(",")
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ[name] = os.environ[name.upper()] = DEAD_PROXY
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = local


@contextmanager
def telemetry_blocked(own_address: str = "") -> Iterator[None]:
    """``block_telemetry`` for processes started inside the block."""
    before = dict(os.environ)
    block_telemetry(own_address)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def token_file() -> Path:
    """The path of Ray's token, whether or not it exists."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(named).expanduser() if named else Path.home() / ".ray" / "auth_token"


def tighten_token() -> None:
    """Make Ray's token file private to its owner. Another account's file is left as is.

    Ray 2.60.0 writes it world-readable.
    """
    with suppress(OSError):
        if token_file().stat().st_mode & 0o077:
            token_file().chmod(0o600)


def block_native_telemetry() -> None:
    """The same for native code only, in a process that may not be ours; permanent.

    MediaPipe posts statistics from a thread of its own, a minute after a task was made, when it
    is closed or later: there is no moment at which the block could be lifted. Its libcurl
    reads the C environment, which ``os.putenv`` sets; Python code goes by ``os.environ``, which
    keeps the user's proxies.
    """
    os.putenv("https_proxy", DEAD_PROXY)
    os.putenv("no_proxy", ",".join(_LOCAL))
