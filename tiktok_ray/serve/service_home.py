"""The home of a service: its folders, its processes, and the leftovers of dead ones.

Processes of a service are identified by an environment variable that they inherit: who started them,
and for which home. A process is stale only if it has the mark of this home, runs under this account,
and the process that started it is dead. No other process is ever killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from tiktok_ray.files import write_whole
from tiktok_ray.run import nvml
from tiktok_ray.settings import Settings

log = logging.getLogger("tiktok_ray.serve.service_home")

MARK = "TIKTOK_RAY_OWNER"
LEDGER, RESULTS, BACKUPS = "jobs.sqlite", "results", "backups"
TEMPORARY, WORK, CACHE = "tmp", "work", "cache"
STARTS = "starts.jsonl"
KEPT_STARTS = 200
#: The kernel takes 107 characters of a socket's path; what is put below the home takes the rest.
LONGEST_HOME = 107 - len("/tmp/1234567-1234567890.12/pymp-12345678/listener-12345678")
#: So often what is left of a service is looked for and killed.
ROUNDS = 5
#: A session of Ray belongs to a start of ours when it began within so many seconds of it.
SESSION_S = 600.0
_SESSION = re.compile(r"session_(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)_\d+_(\d+)")


# Whose process is this


def process_of(pid: int, started: float) -> psutil.Process | None:
    """The running process with that PID, if it started at that Unix time."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


@dataclass(frozen=True)
class Owner:
    """The owner of a process: a PID and start time, for a home."""

    pid: int
    started: float
    home: str

    @classmethod
    def of(cls, text: str) -> Owner | None:
        """An owner parsed from its mark, or None if the text is not one."""
        pid, _, rest = text.partition(":")
        started, _, home = rest.partition(":")
        try:
            return cls(int(pid), float(started), home)
        except ValueError:
            return None

    def mark(self) -> str:
        return f"{self.pid}:{self.started:.2f}:{self.home}"

    def alive(self) -> bool:
        return process_of(self.pid, self.started) is not None


def note_path(settings: Settings) -> Path:
    """The file in which the service records its process, address and Ray cluster."""
    return settings.home / "service.json"


def service_note(settings: Settings) -> dict[str, Any]:
    """What the service recorded there; empty if it is missing or unreadable."""
    try:
        note = json.loads(note_path(settings).read_text(errors="replace"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def serving(settings: Settings) -> psutil.Process | None:
    """The serving process, if it is still the recorded one."""
    note = service_note(settings)
    try:
        return process_of(note["pid"], note["started"])
    except (KeyError, TypeError, ValueError):
        return None


def private(home: Path) -> None:
    """Create the home, and make it and its contents private to its owner, now and in future.

    Files of other accounts are left as is. Links are not followed.
    """
    os.umask(0o077)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder, folders, files in os.walk(home):
        for name in (".", *folders, *files):
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                mode = os.lstat(path).st_mode
                if not stat.S_ISLNK(mode) and mode & 0o077:
                    os.chmod(path, stat.S_IMODE(mode) & 0o700)


def _home(settings: Settings) -> str:
    return str(settings.home.resolve())


def own(settings: Settings) -> Owner:
    """Mark this process, and those it will start, as belonging to the service of this home.

    Their temporary files lie in a folder of their own, which goes with them; Ray's stay where Ray
    and its clients look for them.
    """
    process = psutil.Process()
    owner = Owner(process.pid, process.create_time(), _home(settings))
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ[MARK] = owner.mark()
    os.environ.setdefault("RAY_TMPDIR", str(ray_folder().parent))
    temporary = temporaries(settings) / f"{owner.pid}-{owner.started:.2f}"
    temporary.mkdir(parents=True, exist_ok=True, mode=0o700)
    if temporary.parent.stat().st_uid != os.getuid():
        raise PermissionError(f"{temporary.parent} belongs to another account")
    os.environ["TMPDIR"] = str(temporary.resolve())
    tempfile.tempdir = None
    _remember(settings.home / STARTS, owner)
    return owner


def temporaries(settings: Settings) -> Path:
    """Where the temporary files of this home's services lie: in the home, unless its path is so long
    that the sockets of Python's processes would have no place below it.
    """
    home = settings.home.resolve()
    if len(str(home)) <= LONGEST_HOME:
        return home / TEMPORARY
    mark = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return Path("/tmp") / f"tiktok-ray-{os.getuid()}-{mark}"


def _remember(starts: Path, owner: Owner) -> None:
    """Note a start, by which dead Ray sessions are known as ours. A full disk does not stop it."""
    known = [json.dumps({"pid": pid, "started": at}) for pid, at in _starts(starts)]
    entry = json.dumps({"pid": owner.pid, "started": owner.started})
    try:
        write_whole(starts, "\n".join([*known[1 - KEPT_STARTS :], entry]) + "\n")
    except OSError as error:
        log.warning("this start could not be recorded in %s: %s", starts, error)


def _starts(path: Path) -> list[tuple[int, float]]:
    """Process and time of each start that is noted; lines that cannot be read are passed over."""
    found = []
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            found.append((int(entry["pid"]), float(entry["started"])))
    return found


def marked(settings: Settings) -> Iterator[tuple[psutil.Process, Owner]]:
    """Processes of this account that carry the mark of this home, each with its owner."""
    home = _home(settings)
    for process in psutil.process_iter():
        try:
            if process.uids().real != os.getuid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            owner = Owner.of(process.environ().get(MARK, ""))
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue  # it ended meanwhile, or is another's
        if owner is not None and owner.home == home:
            yield process, owner


def stale(settings: Settings) -> list[psutil.Process]:
    """Processes of this home's service whose owner is dead."""
    found = [p for p, owner in marked(settings) if p.pid != os.getpid() and not owner.alive()]
    return found + _agents(dead_sessions(settings), {p.pid for p in found})


def _agents(sessions: list[Path], but: Collection[int]) -> list[psutil.Process]:
    """Ray's agents of these sessions: their title hides their environment, their logs tell."""
    found = []
    for process in psutil.process_iter() if sessions else ():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid in but or process.uids().real != os.getuid():
                continue
            if " ".join(process.cmdline()[:1]).startswith("ray::"):
                files = [Path(file.path) for file in process.open_files()]
                if any(file.is_relative_to(s) for file in files for s in sessions):
                    found.append(process)
    return found


def end_own(settings: Settings, known: Collection[psutil.Process] = ()) -> list[str]:
    """Kill the processes that this one started for its service, even after its end; returns their titles.

    ``known``: processes that it has as well, such as Ray's agents, which hide their mark.
    """
    own, titles = os.getpid(), []
    # Until nothing is left: what is still alive may start another.
    for _ in range(ROUNDS):
        left = [p for p, owner in marked(settings) if owner.pid == own and p.pid != own]
        left += [p for p in known if _runs(p)]
        if not left:
            break
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                titles.append(_title(process))
                process.kill()
        psutil.wait_procs(left, timeout=5)
    return titles


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass
class Cleaned:
    """What a cleanup removed, or would remove."""

    processes: list[str] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    temporary: list[str] = field(default_factory=list)
    semaphores: list[str] = field(default_factory=list)
    card: list[str] = field(default_factory=list)


def clean(settings: Settings, *, dry_run: bool = False) -> Cleaned:
    """Kill stale processes, which frees their GPU memory, and remove dead Ray sessions."""
    on_card = nvml.taken_by_process()
    left = stale(settings)
    made = Cleaned()
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            words = f"{process.pid} {_title(process)}"
            made.processes.append(words)
            if process.pid in on_card:
                made.card.append(f"{words}: {on_card[process.pid]:.2f} GiB of the card")
    if not dry_run:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)
    for folder in dead_temporaries(settings):
        made.temporary.append(folder.name)
        if not dry_run:
            shutil.rmtree(folder, ignore_errors=True)
    for semaphore in abandoned_semaphores():
        made.semaphores.append(semaphore.name)
        if not dry_run:
            semaphore.unlink(missing_ok=True)
    for session in dead_sessions(settings):
        made.sessions.append(str(session))
        if not dry_run:
            shutil.rmtree(session, ignore_errors=True)
    return made


def _title(process: psutil.Process) -> str:
    words = " ".join(process.cmdline()) or process.name()
    return words if len(words) <= 80 else words[:77] + "…"


def dead_temporaries(settings: Settings) -> list[Path]:
    """Folders of temporary files whose service is dead."""
    dead = []
    for folder in sorted(temporaries(settings).glob("*-*")):
        pid, _, started = folder.name.partition("-")
        with contextlib.suppress(ValueError):
            if not Owner(int(pid), float(started), "").alive():
                dead.append(folder)
    return dead


def abandoned_semaphores(folder: Path = Path("/dev/shm"), older_s: float = 3600.0) -> list[Path]:
    """Semaphores left behind by killed Python processes of this account.

    A semaphore's creator keeps it mapped as long as it lives: one that no process has mapped is dead.
    """
    limit = time.time() - older_s
    found = {
        path
        for path in folder.glob("sem.mp-*")
        if path.stat().st_uid == os.getuid() and path.stat().st_mtime < limit
    }
    for process in psutil.process_iter() if found else ():
        try:
            maps = Path(f"/proc/{process.pid}/maps").read_text(errors="replace")
        except FileNotFoundError:
            continue
        except OSError:
            # Another account's process cannot hold what only this one may open.
            continue
        found = {path for path in found if str(path) not in maps}
    return sorted(found)


def ray_folder() -> Path:
    """Where Ray keeps its sessions on this machine."""
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp") / "ray"


def dead_sessions(settings: Settings) -> list[Path]:
    """Folders of Ray sessions that this home's service began, and whose process is dead."""
    if not ray_folder().is_dir():
        return []
    begun: dict[int, list[float]] = {}
    for pid, started in _starts(settings.home / STARTS):
        begun.setdefault(pid, []).append(started)
    dead = []
    for folder in sorted(ray_folder().iterdir()):
        found = _SESSION.fullmatch(folder.name)
        if found is None or folder.is_symlink() or folder.stat().st_uid != os.getuid():
            continue
        at = datetime.strptime(found[1], "%Y-%m-%d_%H-%M-%S").timestamp()
        for started in begun.get(int(found[2]), []):
            ours = -2 <= at - started <= SESSION_S
            if ours and not Owner(int(found[2]), started, "").alive():
                dead.append(folder)
                break
    return dead
