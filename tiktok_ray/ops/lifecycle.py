"""Starts the service on a local or an existing Ray cluster, and stops it again.

``<home>/service.json`` records the serving process and its Ray cluster.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import psutil
import ray
from ray import serve

from tiktok_ray import logs
from tiktok_ray.catalog import make_graph
from tiktok_ray.files import write_whole
from tiktok_ray.graph import GraphError
from tiktok_ray.net.telemetry_block import telemetry_blocked, tighten_token
from tiktok_ray.ops import monitoring
from tiktok_ray.run.placement import cards_here
from tiktok_ray.run.ray_actors import NAMESPACE, open_ray, remove_actors
from tiktok_ray.serve import service_home
from tiktok_ray.serve.database import NewerRecords, no_room, set_aside
from tiktok_ray.serve.jobs import Ledger
from tiktok_ray.serve.store import Store
from tiktok_ray.settings import Settings

log = logging.getLogger("tiktok_ray.ops.lifecycle")

STOP_S = 40.0
#: Ray's own ending may hang when a part of it is dead; what is left then is killed.
END_S = 30.0
#: How often Ray is looked at, and how long a Ray of others may owe an answer.
LOOK_S, OWE_S = 1.0, 20.0
#: When Ray is dead this process has so long to end as it should.
LEAVE_S = 5.0
DIED = 5
VITAL = ("raylet", "gcs_server")
APP = "tiktok_ray"


class CannotServe(Exception):
    """The service cannot be started as requested; the message says why, and what to do."""


class Died(Exception):
    """Ray died while the service was running. This was reported; the service can be restarted."""


def run(settings: Settings, say: Callable[[str], None]) -> None:
    """Serve until the process is stopped (SIGINT, SIGTERM).

    Raises ``CannotServe`` with the cause, and ``Died`` if Ray died meanwhile.
    """
    _check(settings)
    _open_home(settings, say)
    stop = threading.Event()
    _stop_on_signals(stop)
    address = os.environ.get("RAY_ADDRESS")
    watched = _Ray()
    try:
        say("starting Ray …" if not address else f"connecting to Ray at {address} …")
        with _told("Ray could not be started", settings):
            _connect(settings, address)
        # Ray has put its own handler there: it would end the node at once, and running jobs with it.
        _stop_on_signals(stop)

        def end_with_ray(trouble: str) -> None:
            say(f"{trouble}; the service is stopping, restart it with: tiktok-ray serve")
            log.error("%s; the service is stopping", trouble)
            service_home.end_own(settings, watched.children)
            stop.set()
            # Whoever waits for Ray now, as its client library does, waits for long.
            time.sleep(LEAVE_S)
            service_home.note_path(settings).unlink(missing_ok=True)
            os._exit(DIED)

        watched.watch(end_with_ray, own=not address)
        with _told("the service could not be started", settings):
            _deploy(settings, own=not address)
        say(f"serving at http://{settings.host}:{settings.port} (docs: /docs)")
        stop.wait()
        if watched.dead:
            raise Died
        say("stopping …")
    finally:
        if not watched.dead:
            watched.leave()
            _end(own=not address)
        if not address:
            service_home.end_own(settings, watched.children)
        service_home.note_path(settings).unlink(missing_ok=True)


def _open_home(settings: Settings, say: Callable[[str], None]) -> None:
    """Open what the service will open, so that what stops it is said here and now."""
    home = settings.home
    try:
        make_graph().check_options(settings.options)
        service_home.private(home)
        Ledger(home / service_home.LEDGER).close()
        Store(home / service_home.RESULTS).close()
        (home / service_home.WORK).mkdir(exist_ok=True, mode=0o700)
    except (NewerRecords, GraphError) as error:
        raise CannotServe(str(error)) from None
    except (OSError, sqlite3.Error) as error:
        advice = "choose another home with TIKTOK_RAY_HOME"
        if no_room(error):
            advice = "free some disk space, manually or with: tiktok-ray maintain retention"
        raise CannotServe(f"{home} cannot be used ({error}); {advice}") from None
    for path in (*set_aside(home), *set_aside(home / service_home.RESULTS)):
        say(f"unreadable, so set aside: {path}")


@contextlib.contextmanager
def _told(what: str, settings: Settings) -> Iterator[None]:
    """Turn whatever goes wrong into its cause, as this process or the replica's log has it."""
    begin = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        yield
    except CannotServe:
        raise
    except Exception as error:
        log.error(what, exc_info=error)
        raise CannotServe(f"{what}: {_cause(settings, begin) or _last_line(error)}") from None


def _cause(settings: Settings, since: str) -> str:
    """What the replica's log says since then of why it does not start."""
    file = logs.log_file(settings.home)
    try:
        said = [e for e in logs.read(file) if e.get("at", "") >= since]
    except OSError:
        return ""
    causes = [str(e["message"]) for e in said if e.get("logger") == "tiktok_ray.serve.api"]
    return causes[-1].removeprefix("the service cannot start: ") if causes else ""


def _last_line(error: Exception) -> str:
    if no_room(error):
        return "the disk is full; free some space with: tiktok-ray maintain retention"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # What Ray quotes of its own logs ends with what went wrong.
    return f"{type(error).__name__}: {lines[-1] if lines else 'no reason given'}; see the log"


def _deploy(settings: Settings, own: bool) -> None:
    facts = psutil.Process()
    note = {
        "pid": facts.pid,
        "started": facts.create_time(),
        "ray": ray.get_runtime_context().gcs_address,
        "own_ray": own,
        "url": monitoring.address(settings),
    }
    write_whole(service_home.note_path(settings), json.dumps(note))
    from serve_app import application

    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # it names a port that nobody has
    serve.start(proxy_location="Disabled")
    serve.run(application(settings), name=APP, route_prefix="/")


class _Ray:
    """Whether the Ray that the service stands on lives: our own by its processes, another's by
    whether it answers. Ray's own calls would wait a minute and more for a dead one.
    """

    def __init__(self) -> None:
        self.children: list[psutil.Process] = []
        self._vital: list[tuple[psutil.Process, str]] = []
        self._node = ""
        self.dead = False
        self._left = threading.Event()
        self._asking: threading.Thread | None = None
        self._since = time.monotonic()
        self._found = ""

    def watch(self, then: Callable[[str], None], own: bool) -> None:
        """Look from now on, in a thread; what is found dead is told once."""
        if own:
            self.children = psutil.Process().children(recursive=True)
            self._vital = [(p, p.name()) for p in self.children if p.name() in VITAL]
        else:
            self._node = ray.get_runtime_context().get_node_id()

        def look() -> None:
            while not self._left.wait(LOOK_S):
                if trouble := self._trouble():
                    self.dead = True
                    then(trouble)
                    return

        threading.Thread(target=look, daemon=True, name="watch-ray").start()

    def leave(self) -> None:
        """Look no more."""
        self._left.set()

    def _trouble(self) -> str:
        for process, name in self._vital:
            if _gone(process):
                return f"Ray's {name} (process {process.pid}) has died"
        if not self._node:
            return ""
        if self._asking is None or not self._asking.is_alive():
            self._since = time.monotonic()
            self._asking = threading.Thread(target=self._ask, daemon=True, name="ask-ray")
            self._asking.start()
        if time.monotonic() - self._since > OWE_S:
            return f"Ray has not responded for {OWE_S:g} s"
        return self._found

    def _ask(self) -> None:
        try:
            alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        except (ray.exceptions.RayError, RuntimeError, ConnectionError) as error:
            self._found = f"Ray does not respond ({_last_line(error)})"
        else:
            self._found = "" if self._node in alive else "this machine's Ray node has died"
        time.sleep(LOOK_S * 5)


def _stop_on_signals(stop: threading.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())


def _check(settings: Settings) -> None:
    if not _is_loopback(settings.host) and settings.token is None:
        raise CannotServe(
            f"to listen on {settings.host}, beyond this machine, set a token: TIKTOK_RAY_TOKEN"
        )
    if (other := service_home.serving(settings)) is not None:
        raise CannotServe(f"process {other.pid} is already serving; stop it with: tiktok-ray down")
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        raise CannotServe(
            f"{settings.host}:{settings.port} cannot be bound ({error.strerror}); "
            "choose another port with TIKTOK_RAY_PORT or --port"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _connect(settings: Settings, address: str | None) -> None:
    if address:
        tighten_token()
        with telemetry_blocked(ray.util.get_node_ip_address()):
            ray.init(address=address, namespace=NAMESPACE, log_to_driver=False)
    else:
        open_ray(settings, len(cards_here(settings)), dashboard=True)


def _end(own: bool) -> None:
    """End Serve, the actors, and our own Ray; what hangs is not waited for."""

    def end() -> None:
        with contextlib.suppress(ray.exceptions.RayError, RuntimeError, ConnectionError):
            if ray.is_initialized():
                serve.shutdown()
                if own:
                    remove_actors()
            ray.shutdown()

    ending = threading.Thread(target=end, daemon=True, name="end-ray")
    ending.start()
    ending.join(END_S)


def down(settings: Settings, say: Callable[[str], None]) -> bool:
    """Stop the service and its models: the process, or the app on its Ray cluster.

    Returns whether anything was running.
    """
    found = False
    serving = service_home.serving(settings)
    note = service_home.service_note(settings)
    if serving is not None:
        say(f"process {serving.pid} is being stopped …")
        serving.terminate()
        found = True
        if not _ended(serving, STOP_S):
            say(f"process {serving.pid} did not stop within {STOP_S:g} s, killing it")
            serving.kill()
            _ended(serving, 10)
    address = os.environ.get("RAY_ADDRESS") or ("" if note.get("own_ray") else note.get("ray"))
    if address:
        found = _clear(address, say) or found
    found = bool(service_home.clean(settings).processes) or found
    service_home.note_path(settings).unlink(missing_ok=True)
    return found


def _ended(process: psutil.Process, limit_s: float) -> bool:
    """Wait for a process to end; one that has ended and nobody reaps (no init) counts as ended."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if _gone(process):
            return True
        time.sleep(0.1)
    return False


def _gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _clear(address: str, say: Callable[[str], None]) -> bool:
    """Remove the app and its actors from a Ray that runs; whether there were any."""
    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False)
    except ConnectionError:
        say(f"no Ray cluster responds at {address}")
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
