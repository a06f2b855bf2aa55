"""Checks of this machine. Each one yields a line: ok, or what to do."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tiktok_ray import QUIET
from tiktok_ray.graph import Graph, GraphError
from tiktok_ray.net.telemetry_block import token_file
from tiktok_ray.report import said
from tiktok_ray.run import nvml
from tiktok_ray.serve import database, jobs, service_home, store
from tiktok_ray.settings import Settings

log = logging.getLogger("tiktok_ray.ops.doctor")

OPENCV = (
    "opencv-python",
    "opencv-contrib-python",
    "opencv-python-headless",
    "opencv-contrib-python-headless",
)
ONNX = ("onnxruntime", "onnxruntime-gpu")
NEEDED = ("av", "cv2", "onnxruntime", "torch", "transformers", "ray", "faster_whisper")
GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """One finding: ``state`` is ``ok``, ``note`` (works, but be aware) or ``bad``."""

    check: str
    state: Literal["ok", "note", "bad"]
    found: str
    advice: str = ""


def examine(graph: Graph, settings: Settings) -> list[Finding]:
    """All checks, most important first."""
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "python": _python,
        "packages": _packages,
        "memory": lambda: _memory(settings),
        "shared memory": lambda: _shared_memory(settings),
        "disk": lambda: _disk(settings),
        "home": lambda: _home(settings),
        "card": _card,
        "options": lambda: _options(graph, settings),
        "weights": lambda: _weights(graph, settings),
        "networks": lambda: _networks(graph, settings),
        "Ray": _ray,
        "token of Ray": _token,
        "ports": lambda: _ports(settings),
        "service": lambda: _service(settings),
        "open files": _limits,
        "network": _network,
        "silence": _silence,
    }
    return [finding for name, check in checks.items() for finding in _answers(name, check)]


def _answers(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What a check finds. One that cannot be made is a finding too."""
    try:
        yield from check()
    except Exception as error:
        log.error("the check of %s failed", name, exc_info=error)
        words = f"could not be checked: {said(error)}"
        yield Finding(name, "bad", words, "fix what it names, or report a bug")


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    fit = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Finding(
        "python", "ok" if fit else "bad", version, "" if fit else "use Python 3.11 to 3.13"
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Finding]:
    lost = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    versions = ", ".join(f"{n} {_version(n)}" for n in ("ray", "torch", "transformers", "av"))
    advice = "reinstall: deploy/run tiktok-ray doctor" if lost else ""
    found = f"missing: {', '.join(lost)}" if lost else versions
    yield Finding("packages", "bad" if lost else "ok", found, advice)
    for what, names in (("OpenCV", OPENCV), ("ONNX Runtime", ONNX)):
        there = [f"{n} {_version(n)}" for n in names if _version(n)]
        one = len(there) == 1
        advice = "" if one else f"keep only one {what} wheel: they overwrite each other's files"
        yield Finding(what, "ok" if one else "bad", ", ".join(there) or "none", advice)


def _memory(settings: Settings) -> Iterator[Finding]:
    import psutil

    free = psutil.virtual_memory().available / GIB
    low = free < 6
    yield Finding(
        "memory",
        "note" if low else "ok",
        f"{free:.1f} GiB free, {settings.cores} cores",
        "run fewer analyzers at once with --only, or use a smaller object store" if low else "",
    )


def _shared_memory(settings: Settings) -> Iterator[Finding]:
    place = Path("/dev/shm")
    if not place.exists():
        yield Finding("shared memory", "note", "no /dev/shm", "Ray keeps objects on disk instead")
        return
    free = shutil.disk_usage(place).free / GIB
    short = free < settings.object_store_gib
    yield Finding(
        "shared memory",
        "bad" if short else "ok",
        f"{free:.1f} GiB free, the object store needs {settings.object_store_gib:g}",
        "give the container more, e.g. --shm-size=4g, or set TIKTOK_RAY_OBJECT_STORE_GIB"
        if short
        else "",
    )


def _disk(settings: Settings) -> Iterator[Finding]:
    for what, place in (("results", settings.home), ("models", settings.models)):
        there = next(p for p in (place, *place.parents) if p.exists())
        free = shutil.disk_usage(there).free / GIB
        writable = os.access(there, os.W_OK)
        state: Literal["ok", "note", "bad"] = "ok"
        advice = ""
        if not writable and what == "results":
            state, advice = "bad", "choose another folder with TIKTOK_RAY_HOME"
        elif free < 2:
            state, advice = "bad", "free some disk space"
        yield Finding(what, state, f"{place}: {free:.0f} GiB free", advice)


def _home(settings: Settings) -> Iterator[Finding]:
    """Whether what the service keeps can be read, and by its owner alone. Nothing is changed."""
    home = settings.home
    if not home.is_dir():
        return
    found: list[str] = []
    for path, schema in (
        (home / service_home.LEDGER, jobs.SCHEMA),
        (home / service_home.RESULTS / store.INDEX, store.SCHEMA),
    ):
        if path.is_file() and (trouble := database.trouble(path, schema)):
            found.append(f"{path.name} cannot be read: {trouble}")
    if (home / service_home.RESULTS).is_dir():
        unread = store.unreadable(home / service_home.RESULTS)
        found += [f"{len(unread)} reports cannot be read, such as {unread[0]}"] if unread else []
    if found:
        advice = "the next start sets them aside; a backup may have them: docs/operations.md"
        yield Finding("home", "bad", "; ".join(found), advice)
    aside = [*database.set_aside(home), *database.set_aside(home / service_home.RESULTS)]
    if aside:
        names = ", ".join(path.name for path in aside[:5])
        yield Finding("home", "note", f"set aside: {names}", "inspect them, then delete them")
    if home.stat().st_mode & 0o077:
        words = f"{home} is readable by other users"
        yield Finding("home", "note", words, "the next start of the service restricts it")
    if not found and not aside:
        yield Finding("home", "ok", f"{home}: jobs and results can be read")


def _options(graph: Graph, settings: Settings) -> Iterator[Finding]:
    try:
        graph.check_options(settings.options)
    except GraphError as error:
        yield Finding("options", "bad", str(error), "fix TIKTOK_RAY_OPTIONS")


def _token() -> Iterator[Finding]:
    path = token_file()
    if path.is_file():
        open_to_others = bool(path.stat().st_mode & 0o077)
        yield Finding(
            "token of Ray",
            "bad" if open_to_others else "ok",
            f"{path} is {'readable by other users' if open_to_others else 'readable only by its owner'}",
            f"chmod 600 {path}; whoever reads it can run code on this Ray cluster"
            if open_to_others
            else "",
        )


def _card() -> Iterator[Finding]:
    try:
        found = nvml.cards()
    except nvml.NvmlError as error:
        yield Finding("card", "note", f"none ({error})", "models run on the CPU")
        return
    for card in found:
        used = f"{card.used_gib:.1f} of {card.total_gib:.1f} GiB used"
        yield Finding("card", "ok", f"{card.index}: {card.name}, {used}, driver {card.driver}")
        if card.used_gib > card.total_gib / 2:
            yield Finding(
                "card", "note", "more than half of its memory is in use", "see: tiktok-ray monitor"
            )
    if _version("onnxruntime-gpu") is None:
        yield Finding(
            "card",
            "note",
            "ONNX Runtime is installed for the CPU only",
            "install with TIKTOK_RAY_EXTRA=gpu",
        )


def _weights(graph: Graph, settings: Settings) -> Iterator[Finding]:
    from tiktok_ray.run.placement import plan

    made = plan(graph.analyzers.values(), settings)
    partial = [n for n, a in made.assignments.items() if a.missing]
    whole = len(made.assignments) - len(partial)
    found = (
        f"{whole} analyzers complete, {len(partial)} partial, {len(made.unavailable)} unavailable"
    )
    lacking = bool(partial or made.unavailable)
    advice = "tiktok-ray models list; tiktok-ray models pull" if lacking else ""
    yield Finding("weights", "note" if lacking else "ok", found, advice)


def _networks(graph: Graph, settings: Settings) -> Iterator[Finding]:
    """What runs networks on this CPU, and which checkpoints have yet to be exported for it."""
    from tiktok_ray.methods import inference, onnx_export
    from tiktok_ray.run.placement import plan

    inference.choose(settings.runtime)
    made = plan(graph.analyzers.values(), settings)
    waiting = [
        weights.id
        for a in made.assignments.values()
        for key, weights in a.variant.weights.items()
        if a.device == "cpu"
        if not all(onnx_export.at_hand(a.files[key], recipe) for recipe in weights.recipes)
    ]
    try:
        found = inference.named(inference.runtime())
    except inference.RuntimeMissing as error:
        yield Finding("networks", "bad", str(error), "unset TIKTOK_RAY_RUNTIME")
        return
    if waiting:
        found += f"; still to be exported, once, at first use: {', '.join(waiting)}"
    advice = "tiktok-ray models pull exports them now" if waiting else ""
    yield Finding("networks", "note" if waiting else "ok", found, advice)


def _ray() -> Iterator[Finding]:
    address = os.environ.get("RAY_ADDRESS")
    if address:
        if address == "auto":  # the Ray that was started last on this machine
            there = (_ray_folder() / "ray_current_cluster").is_file()
        else:
            host, _, port = address.removeprefix("ray://").rpartition(":")
            there = port.isdecimal() and _listens(host, int(port))
        advice = (
            ""
            if there
            else "start that Ray cluster, or unset RAY_ADDRESS so that each run starts its own"
        )
        found = f"RAY_ADDRESS is {address}, which {'responds' if there else 'does not respond'}"
        yield Finding("Ray", "ok" if there else "bad", found, advice)
        return
    # Ray's sockets lie below its folder, and the kernel takes at most 107 characters of a path.
    longest = 107 - len("/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
    folder = _ray_folder()
    too_long = len(str(folder)) > longest
    yield Finding(
        "Ray",
        "bad" if too_long else "ok",
        f"{_version('ray')}, each run starts its own; sessions in {folder}",
        f"set RAY_TMPDIR to a path of at most {longest - 4} characters" if too_long else "",
    )


def _ray_folder() -> Path:
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"


def _listens(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.settimeout(3)
            return probe.connect_ex((host.strip("[]"), port)) == 0
    except OSError:
        return False


def _ports(settings: Settings) -> Iterator[Finding]:
    for what, port in (
        ("service port", settings.port),
        ("dashboard port", settings.dashboard_port),
    ):
        taken = _listens("127.0.0.1", port)
        yield Finding(
            what,
            "note" if taken else "ok",
            f"{port} is {'in use' if taken else 'free'}",
            "fine if that is this service; otherwise choose another port" if taken else "",
        )


def _service(settings: Settings) -> Iterator[Finding]:
    from tiktok_ray.ops import monitoring, systemd

    status = monitoring.pulse(settings)
    found = f"{monitoring.address(settings)}: {status}" if status else "not running here"
    unit = systemd.installed()
    how = f"{'user' if unit == 'user' else 'system'} unit of systemd" if unit else "no unit"
    yield Finding("service", "ok" if status else "note", f"{found}; {how}")


def _limits() -> Iterator[Finding]:
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = most != resource.RLIM_INFINITY and most < 4096
    advice = "ulimit -n 65536; the unit of install-service sets it" if few else ""
    yield Finding("open files", "note" if few else "ok", f"limit {most}", advice)


def _network() -> Iterator[Finding]:
    """What can be said without a connection: none is opened here."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            fine = _listens("127.0.0.1", listener.getsockname()[1])
    except OSError:
        fine = False
    proxies = [n for n in ("http_proxy", "https_proxy", "all_proxy") if _proxy(n)]
    told = f"proxy set: {', '.join(proxies)}" if proxies else "no proxy set"
    words = "loopback works" if fine else "loopback does not work"
    yield Finding(
        "network",
        "ok" if fine else "bad",
        f"{words}; {told}; outside access was not tested",
        "" if fine else "Ray and the service need 127.0.0.1",
    )


def _proxy(name: str) -> str | None:
    return os.environ.get(name) or os.environ.get(name.upper())


def _silence() -> Iterator[Finding]:
    changed = [name for name, value in QUIET.items() if os.environ.get(name) != value]
    yield Finding(
        "silence",
        "note" if changed else "ok",
        f"overridden: {', '.join(changed)}" if changed else "telemetry and hub requests are off",
        "unset them to keep the model libraries silent" if changed else "",
    )
