"""Start the service on a Ray of its own, or on one that runs, and end it again.

``<home>/service.json`` says which process serves and where its Ray is.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import ray
from ray import serve

from tiktok_ray.doors import doors_closed
from tiktok_ray.fleet import NAMESPACE, open_ray, remove_actors
from tiktok_ray.placement import cards_here
from tiktok_ray.settings import Settings

STOP_S = 40.0
APP = "tiktok_ray"


class CannotServe(Exception):
    """The service cannot be started as it is asked for; the message says why, and what to do."""


def run(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve until the process is told to stop (SIGINT, SIGTERM). Raises ``CannotServe``."""
    _check(settings)
    stop = threading.Event()
    _stop_on_signals(stop)
    address = os.environ.get("RAY_ADDRESS")
    say("starting Ray …" if not address else f"connecting to Ray at {address} …")
    _connect(settings, address)
    # Ray has put its own handler there: it would end the node at once, and running jobs with it.
    _stop_on_signals(stop)
    try:
        note = _note(settings)
        facts = psutil.Process()
        note.write_text(
            json.dumps(
                {
                    "pid": facts.pid,
                    "started": facts.create_time(),
                    "ray": ray.get_runtime_context().gcs_address,
                    "own_ray": not address,
                }
            )
        )
        from serve_app import application

        serve.start(proxy_location="Disabled")
        serve.run(application(settings), name=APP, route_prefix="/")
        say(f"serving at http://{settings.host}:{settings.port} (docs: /docs)")
        while not stop.wait(0.5):
            pass
        say("stopping …")
    finally:
        _end(own=not address)
        _note(settings).unlink(missing_ok=True)


def _stop_on_signals(stop: threading.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())


def _check(settings: Settings) -> None:
    if not _is_loopback(settings.host) and settings.token is None:
        raise CannotServe(
            f"to listen on {settings.host}, beyond this machine, set a token: TIKTOK_RAY_TOKEN"
        )
    if (other := _serving(settings)) is not None:
        raise CannotServe(f"process {other.pid} serves already; end it with: tiktok-ray down")
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        raise CannotServe(
            f"{settings.host}:{settings.port} cannot be listened on ({error.strerror}); "
            "choose another with TIKTOK_RAY_PORT or --port"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _connect(settings: Settings, address: str | None) -> None:
    if address:
        with doors_closed(ray.util.get_node_ip_address()):
            ray.init(address=address, namespace=NAMESPACE, log_to_driver=False)
    else:
        open_ray(settings, len(cards_here(settings)), dashboard=True)


def _end(own: bool) -> None:
    with contextlib.suppress(ray.exceptions.RayError, RuntimeError):
        serve.shutdown()
        if own:
            remove_actors()
    ray.shutdown()


def down(settings: Settings, say: Callable[[str], None]) -> bool:
    """End what serves, with its models: the process, or the app on the Ray that runs it.

    Returns whether anything was there.
    """
    found = False
    serving = _serving(settings)
    note = _read(settings)
    if serving is not None:
        say(f"process {serving.pid} is told to stop …")
        serving.terminate()
        found = True
        if not _ended(serving, STOP_S):
            say(f"process {serving.pid} did not stop within {STOP_S:g} s and is killed")
            serving.kill()
            _ended(serving, 10)
    address = os.environ.get("RAY_ADDRESS") or ("" if note.get("own_ray") else note.get("ray"))
    if address:
        found = _clear(address, say) or found
    _note(settings).unlink(missing_ok=True)
    return found


def _ended(process: psutil.Process, limit_s: float) -> bool:
    """Wait for a process to end; one that has ended and nobody reaps (no init) counts as ended."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.1)
    return False


def _clear(address: str, say: Callable[[str], None]) -> bool:
    """Remove the app and its actors from a Ray that runs; whether there were any."""
    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False)
    except ConnectionError:
        say(f"no Ray answers at {address}")
        return False
    try:
        there = APP in serve.status().applications
        if there:
            serve.delete(APP)
        begin, gone = time.monotonic(), remove_actors()
        say(f"removed {'the app and ' if there else ''}{len(gone)} actors ({_since(begin)})")
        return there or bool(gone)
    finally:
        ray.shutdown()


def _since(begin: float) -> str:
    return f"{time.monotonic() - begin:.1f} s"


def _note(settings: Settings) -> Path:
    settings.home.mkdir(parents=True, exist_ok=True)
    return settings.home / "service.json"


def _read(settings: Settings) -> dict[str, Any]:
    try:
        note: dict[str, Any] = json.loads(_note(settings).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return note


def _serving(settings: Settings) -> psutil.Process | None:
    """The process that serves, if it still is the one that the note means."""
    note = _read(settings)
    try:
        process = psutil.Process(note["pid"])
        return process if abs(process.create_time() - note["started"]) < 1 else None
    except (KeyError, psutil.NoSuchProcess):
        return None
