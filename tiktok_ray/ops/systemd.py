"""systemd units of the service and its upkeep, and the watchdog's heartbeat.

``units`` makes the texts; ``deploy/systemd`` holds what it makes for a program in ``/opt/tiktok_ray``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from tiktok_ray.files import owner_only, replacing

Form = Literal["user", "system"]
SERVICE = "tiktok-ray.service"
ACCOUNT = "tiktok-ray"
STATE = "/var/lib/tiktok-ray"
SYSTEM_ENVIRONMENT = Path("/etc/tiktok-ray.env")
MADE_BY = "# Made by: tiktok-ray install-service"

#: What the system's manager can shut off for this service. Not shut off: writable code pages (models
#: compile kernels), devices (the card), and /tmp (Ray's sockets, which ``down`` and batches need).
SYSTEM_SANDBOX = """\
ProtectSystem=strict
ProtectClock=true
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
ProtectControlGroups=true
RestrictNamespaces=true
CapabilityBoundingSet=
ReadWritePaths=/tmp /dev/shm
"""
#: What a user's manager can shut off too, without root and without namespaces.
SANDBOX = """\
NoNewPrivileges=true
LockPersonality=true
RestrictRealtime=true
RestrictSUIDSGID=true
SystemCallArchitectures=native
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
UMask=0077
"""


@dataclass(frozen=True)
class Chore:
    """Something that a timer does; ``failures`` are exit codes that do not count as one."""

    name: str
    about: str
    words: str
    when: str
    fine: str = ""
    on_failure: str = ""


CHORES = (
    Chore("monitor", "figures of tiktok-ray", "monitor --once --log", "*:0/5"),
    Chore(
        "health",
        "health of tiktok-ray",
        "health --fix",
        "*:0/10",
        fine="1",
        on_failure="tiktok-ray-restart.service",
    ),
    Chore("cleanup", "leaked processes of tiktok-ray", "maintain cleanup", "hourly"),
    Chore("logs", "rotation of tiktok-ray's logs", "maintain logs", "*-*-* 02:00:00"),
    Chore("retention", "retention of tiktok-ray's results", "maintain retention", "*-*-* 02:30:00"),
    Chore("backup", "backup of tiktok-ray", "maintain backup", "Sun *-*-* 03:00:00"),
)


def program() -> Path:
    """The ``tiktok-ray`` of this Python."""
    return Path(sys.executable).with_name("tiktok-ray")


def folder(form: Form) -> Path:
    """Where the units of a form belong."""
    if form == "system":
        return Path("/etc/systemd/system")
    return Path(platformdirs.user_config_dir()) / "systemd" / "user"


def environment_file(form: Form) -> Path:
    """Where a form's settings belong."""
    if form == "system":
        return SYSTEM_ENVIRONMENT
    return Path(platformdirs.user_config_dir()) / "tiktok-ray.env"


def units(form: Form, command: Path, environment: Path | None = None) -> dict[str, str]:
    """Texts of all units by file name, for a program and the file of its settings."""
    run = _quoted(command)
    usual = "%h/.config/tiktok-ray.env" if form == "user" else str(SYSTEM_ENVIRONMENT)
    common = f"EnvironmentFile=-{_escaped(environment) if environment else usual}\n" + (
        f"User={ACCOUNT}\nGroup={ACCOUNT}\nEnvironment=HOME={STATE}\nStateDirectory=tiktok-ray\n"
        if form == "system"
        else ""
    )
    sandbox = SANDBOX
    if form == "system":
        at_home = command.is_relative_to("/home") or command.is_relative_to("/root")
        sandbox += f"ProtectHome={'read-only' if at_home else 'true'}\n{SYSTEM_SANDBOX}"
    made = {SERVICE: _service(form, run, common, sandbox)}
    # The service's own account may not restart it; its manager may.
    manager = "systemctl" if form == "system" else "systemctl --user"
    made["tiktok-ray-restart.service"] = (
        f"{MADE_BY}\n[Unit]\nDescription=Restart of an ill tiktok-ray\n\n[Service]\n"
        f"Type=oneshot\nExecStart=/usr/bin/{manager} try-restart {SERVICE}\n"
    )
    for chore in CHORES:
        made[f"tiktok-ray-{chore.name}.service"] = _chore(chore, run, common, sandbox)
        made[f"tiktok-ray-{chore.name}.timer"] = _timer(chore)
    return made


def _service(form: Form, run: str, common: str, sandbox: str) -> str:
    target = "multi-user.target" if form == "system" else "default.target"
    after = "After=network-online.target\nWants=network-online.target\n" * (form == "system")
    return f"""\
{MADE_BY}
[Unit]
Description=tiktok-ray, analysis of short videos
{after}StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={run} serve
{common}Restart=always
RestartSec=5
TimeoutStartSec=15min
# Answered while /health answers, see tiktok_ray/ops/systemd.py.
WatchdogSec=3min
TimeoutStopSec=90
# The program ends its actors; what outlives it is killed with it.
KillMode=mixed
# An analyzer that the kernel ends for want of memory is replaced by the engine.
OOMPolicy=continue
MemoryMax=90%
TasksMax=16384
LimitNOFILE=65536
LimitCORE=0
{sandbox}
[Install]
WantedBy={target}
"""


def _chore(chore: Chore, run: str, common: str, sandbox: str) -> str:
    on_failure = f"OnFailure={chore.on_failure}\n" if chore.on_failure else ""
    fine = f"SuccessExitStatus={chore.fine}\n" if chore.fine else ""
    return f"""\
{MADE_BY}
[Unit]
Description={chore.about[0].upper()}{chore.about[1:]}
{on_failure}
[Service]
Type=oneshot
ExecStart={run} {chore.words}
{common}{fine}TimeoutStartSec=1h
Nice=10
IOSchedulingClass=idle
{sandbox}"""


def _timer(chore: Chore) -> str:
    late = "Persistent=true\n" if chore.when[0] != "*" or "-" in chore.when else ""
    return f"""\
{MADE_BY}
[Unit]
Description=When: {chore.about}

[Timer]
OnCalendar={chore.when}
AccuracySec=30s
{late}
[Install]
WantedBy=timers.target
"""


def environment_text(form: Form) -> str:
    """A first environment file: every line a comment but what the form needs."""
    own = f"TIKTOK_RAY_HOME={STATE}\nTIKTOK_RAY_MODELS={STATE}/models\n" if form == "system" else ""
    return f"""\
# Settings of the tiktok-ray service, NAME=value. All of them: docs/deployment.md
{own}#TIKTOK_RAY_PORT=8000
#TIKTOK_RAY_IN_FLIGHT=4
#TIKTOK_RAY_KEEP_DAYS=30
#TIKTOK_RAY_KEEP_GIB=20
# Beyond this machine only with a token:
#TIKTOK_RAY_HOST=0.0.0.0
#TIKTOK_RAY_TOKEN=
"""


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")


def _quoted(path: Path) -> str:
    text = _escaped(path).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{text}"' if any(c in text for c in " '\";\\") else text


def next_steps(form: Form) -> list[str]:
    """Commands that follow upon the writing of the units."""
    timers = " ".join(f"tiktok-ray-{chore.name}.timer" for chore in CHORES)
    if form == "user":
        return [
            "systemctl --user daemon-reload",
            f"systemctl --user enable --now {SERVICE} {timers}",
            "loginctl enable-linger",
        ]
    return [
        f"useradd --system --home-dir {STATE} --shell /usr/sbin/nologin {ACCOUNT}",
        "systemctl daemon-reload",
        f"systemctl enable --now {SERVICE} {timers}",
    ]


def write(texts: Mapping[Path, str], keep: Path) -> Iterator[tuple[Path, str]]:
    """Write files; says of each ``written``, ``unchanged`` or, of ``keep`` when there, ``kept``."""
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if path == keep and path.exists():
            yield path, "kept"
        elif path.exists() and path.read_text() == text:
            yield path, "unchanged"
        else:
            # Settings may hold a token; the file is never readable by others, not for a moment.
            opener = owner_only if path == keep else _public
            with replacing(path) as part, open(part, "w", opener=opener) as file:
                file.write(text)
            yield path, "written"


def _public(path: str, flags: int) -> int:
    return os.open(path, flags, 0o644)


def restart(form: Form) -> str:
    """Ask the manager to restart the service; what went wrong, or an empty text.

    One that was stopped on purpose stays so.
    """
    words = ["systemctl", *(["--user"] if form == "user" else []), "--no-ask-password"]
    try:
        state = subprocess.run(
            [*words, "is-active", SERVICE], capture_output=True, text=True, timeout=30
        )
        if state.stdout.strip() == "inactive":
            return "it was stopped, and stays so until it is started"
        done = subprocess.run(
            [*words, "try-restart", SERVICE], capture_output=True, text=True, timeout=300
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"exit {done.returncode}")


def installed() -> Form | None:
    """The form whose service unit lies in its folder."""
    forms: tuple[Form, ...] = ("user", "system")
    return next((form for form in forms if (folder(form) / SERVICE).is_file()), None)


def notify(words: str, address: str | None = None) -> bool:
    """Tell systemd something (``READY=1``, ``WATCHDOG=1``); False where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET") if address is None else address
    if not address:
        return False
    if address[0] == "@":
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
        try:
            line.connect(address)
            line.sendall(words.encode())
        except OSError:
            return False
    return True


@contextlib.contextmanager
def heartbeat(answers: Callable[[], str | None], every_s: float | None = None) -> Iterator[None]:
    """While the block runs, tell systemd that the service is ready, and then that it lives.

    ``answers`` gives what the service says of itself, or None when it does not answer: then nothing
    is told, and systemd's watchdog ends what is stuck. Without systemd nothing is done at all.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        yield
        return
    watchdog_s = int(os.environ.get("WATCHDOG_USEC", "60000000")) / 1e6
    pause = every_s or min(10.0, watchdog_s / 6)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(pause):
            if (status := answers()) is not None:
                notify(f"READY=1\nWATCHDOG=1\nSTATUS={status}", address)

    thread = threading.Thread(target=beat, daemon=True, name="heartbeat")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        notify("STOPPING=1", address)
        thread.join(pause + 15)
