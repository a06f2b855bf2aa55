"""Commands that keep a service running: install-service, monitor, health, maintain.

``register`` adds them to the command line.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.live import Live

from tiktok_ray import __version__, logs
from tiktok_ray.console import console, console_for, problem, table_of
from tiktok_ray.json_text import json_text
from tiktok_ray.ops import maintenance, monitoring, systemd
from tiktok_ray.serve import service_home
from tiktok_ray.settings import Settings

log = logging.getLogger("tiktok_ray.ops.service_commands")

#: Exit codes of ``health`` beside 0: something wants attention; the service is down or stuck.
ATTENTION, ILL = 1, 5
#: ``health --fix`` waits so long for a service that was restarted.
RESTARTED_S = 300.0

maintain_app = typer.Typer(help="Maintenance: backup, restore, retention, logs, cleanup.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done, without doing it")
]


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command("install-service")(install_service)
    app.command("monitor")(monitor)
    app.command("health")(health)
    app.add_typer(maintain_app, name="maintain", no_args_is_help=True)


@contextlib.contextmanager
def serving(settings: Settings) -> Iterator[None]:
    """The environment of a running service: its mark, its log, and the heartbeat for systemd."""
    service_home.private(settings.home)
    service_home.clean(settings)
    service_home.own(settings)
    logs.write_to(logs.log_file(settings.home))
    log.info("service starts", extra={"version": __version__, "url": monitoring.address(settings)})
    try:
        with systemd.heartbeat(lambda: monitoring.pulse(settings)):
            yield
    finally:
        log.info("service ends")
        shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        _fail("invalid setting: " + "; ".join(lines), code=2)
    except SettingsError as error:
        words = f"invalid setting: {error} ({error.__cause__})"
        _fail(words, "its value must be JSON", code=2)


def _fail(words: str, advice: str = "", code: int = 1) -> NoReturn:
    problem(words, advice)
    raise typer.Exit(code)


def _out(value: Any, as_json: bool, words: str) -> None:
    """The answer on stdout."""
    print(json_text(json.loads(json.dumps(value, default=str))) if as_json else words)


# install-service


def install_service(
    user: Annotated[
        bool, typer.Option("--user", help="Install for this account, without root")
    ] = False,
    system: Annotated[
        bool, typer.Option("--system", help="Install for the machine, as root")
    ] = False,
    into: Annotated[
        Path | None, typer.Option("--into", help="Folder to write the units to")
    ] = None,
    program: Annotated[
        Path | None,
        typer.Option("--program", help="The tiktok-ray executable for the units to run"),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Write systemd units for the service and its timers, without enabling them."""
    if user == system:
        _fail("choose one: --user or --system", code=2)
    form: systemd.Form = "user" if user else "system"
    command = (program or systemd.program()).absolute()
    if program is None and not command.is_file():
        _fail(f"the program {command} does not exist", "give it with --program PATH", code=2)
    folder = into or systemd.folder(form)
    environment = systemd.environment_file(form)
    texts = {folder / n: t for n, t in systemd.units(form, command, environment).items()}
    texts[environment] = systemd.environment_text(form)
    if dry_run:
        for path, text in texts.items():
            kept = path == environment and path.exists()
            print(f"# {path}", "(exists, kept)\n" if kept else f"\n{text}")
    else:
        try:
            for path, done in systemd.write(texts, keep=environment):
                console.print(f"{done}: {path}", soft_wrap=True)
        except PermissionError as error:
            _fail(
                f"{error.filename} cannot be written", "run as root, or use install-service --user"
            )
        _verify(form, [path for path in texts if path != environment])
    for step in ("next:", *(f"  {step}" for step in systemd.next_steps(form))):
        console.print(step, soft_wrap=True)


def _verify(form: systemd.Form, paths: list[Path]) -> None:
    """Let systemd judge the units, where it is at hand."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        console.print("not verified: systemd-analyze is not installed")
        return
    words = [tool, *(["--user"] if form == "user" else []), "verify", *map(str, paths)]
    with tempfile.TemporaryDirectory() as runtime:  # which it wants, and a bare login lacks
        environment = {"XDG_RUNTIME_DIR": runtime, **os.environ}
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment)
    told = (done.stderr + done.stdout).strip()
    if done.returncode == 0 and not told:
        console.print("verified by systemd-analyze")
    else:
        problem(f"systemd-analyze says: {told or f'exit {done.returncode}'}")


# monitor


def monitor(
    as_json: AsJson = False,
    once: Annotated[bool, typer.Option("--once", help="Take one reading and exit")] = False,
    log: Annotated[
        bool, typer.Option("--log", help="Append the reading to logs/monitor.jsonl in the home")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", min=0.2, help="Seconds between readings")
    ] = 2.0,
) -> None:
    """Watch the service: queue, jobs, planned and measured memory, run times, latest errors."""
    settings = _settings()
    if once or as_json or log or not sys.stdout.isatty():
        _look(settings, as_json, log)
        return
    with Live(console=console_for(sys.stdout), screen=True, auto_refresh=False) as live:
        try:
            while True:
                try:
                    shown: Any = monitoring.screen(monitoring.snapshot(settings))
                except monitoring.NoAnswer as error:
                    shown = f"no response: {error}"
                live.update(shown, refresh=True)
                time.sleep(every)
        except KeyboardInterrupt:
            return


def _look(settings: Settings, as_json: bool, log: bool) -> None:
    try:
        shot = monitoring.snapshot(settings)
    except monitoring.NoAnswer as error:
        if log:
            _note(settings, {"at": time.time(), "down": str(error)})
        _fail(f"no response: {error}", "is it running? check with: tiktok-ray health", ILL)
    if log:
        _note(settings, shot)
    if as_json:
        print(json_text(shot))
    elif not log:
        console_for(sys.stdout).print(monitoring.screen(shot))


def _note(settings: Settings, look: dict[str, Any]) -> None:
    """Append a look to the log of looks, where the disk takes it."""
    told: dict[str, Any] = {}
    with maintenance.unless_full(told):
        maintenance.append(settings, "monitor.jsonl", look)
    for words in told.values():
        problem(f"this reading could not be added to logs/monitor.jsonl: {words}")


# health


def health(
    fix: Annotated[bool, typer.Option("--fix", help="Fix what can be fixed")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the health of the service. Exit 0: healthy, 1: needs attention, 5: down or stuck."""
    settings = _settings()
    verdicts = monitoring.judge(settings)
    done: list[str] = []
    if fix and any(v.state == "bad" for v in verdicts):
        done = mend(settings, verdicts)
        verdicts = monitoring.judge(settings)
    rows = [{k: v for k, v in vars(one).items() if k != "ill"} for one in verdicts]
    if as_json:
        print(json_text({"checks": rows, "done": done}))
    else:
        console_for(sys.stdout).print(table_of(rows))
        for words in done:
            print(f"done: {words}")
    if any(v.ill for v in verdicts):
        raise typer.Exit(ILL)
    if any(v.state == "bad" for v in verdicts):
        raise typer.Exit(ATTENTION)


def mend(
    settings: Settings,
    verdicts: list[monitoring.Verdict],
    restart: Callable[[systemd.Form], str] = systemd.restart,
    wait_s: float = RESTARTED_S,
) -> list[str]:
    """Fix what the verdicts report; returns what was done, and what could not be."""
    done = []
    checks = {v.check for v in verdicts if v.state == "bad"}
    if "leftovers" in checks:
        cleaned = service_home.clean(settings)
        done.append(f"ended {len(cleaned.processes)} processes that outlived their service")
    if "disk" in checks:
        gone = maintenance.retain(settings)
        rotated = maintenance.rotate_logs(settings)
        told = _told_of(gone)
        done.append(f"packed {len(rotated['packed'])} logs; removed expired data: {told}")
    if any(v.ill for v in verdicts):
        form = systemd.installed()
        if form is None:
            done.append("not restarted: no systemd unit of the service is installed here")
        elif failure := restart(form):
            done.append(f"could not restart the {form} unit: {failure}")
        else:
            done.append(f"restarted the {form} unit; {_waited(settings, wait_s)}")
    return done


def _waited(settings: Settings, limit_s: float) -> str:
    begin = time.monotonic()
    while time.monotonic() - begin < limit_s:
        if monitoring.pulse(settings) is not None:
            return f"it responded after {time.monotonic() - begin:.0f} s"
        time.sleep(1)
    return f"it did not respond within {limit_s:.0f} s"


# maintain


@maintain_app.command()
def backup(
    into: Annotated[Path | None, typer.Option("--into", help="Folder for the backups")] = None,
    videos: Annotated[bool, typer.Option("--videos", help="Include the kept videos")] = False,
    keep: Annotated[int, typer.Option("--keep", min=1, help="Number of backups to keep")] = 8,
) -> None:
    """Back up the ledger and all results into one file, while the service runs."""
    try:
        made = maintenance.back_up(_settings(), into, videos=videos, keep=keep)
    except maintenance.CannotKeep as error:
        _fail(str(error))
    print(f"{made} ({made.stat().st_size / 2**20:.2f} MiB)")


@maintain_app.command()
def restore(file: Annotated[Path, typer.Argument(help="A backup")]) -> None:
    """Restore a backup into an empty home."""
    settings = _settings()
    try:
        came = maintenance.restore(settings, file)
    except maintenance.CannotKeep as error:
        _fail(str(error))
    print(f"{settings.home}: {came['jobs']} jobs, {came['results']} results")


@maintain_app.command()
def retention(as_json: AsJson = False) -> None:
    """Remove results, jobs and logs beyond the limits on age and size."""
    gone = maintenance.retain(_settings())
    _out(gone, as_json, "removed: " + _told_of(gone))


def _told_of(gone: dict[str, Any]) -> str:
    """What ``upkeep.retain`` removed, in words."""
    left = gone.get("left undone")
    counts = ", ".join(
        f"{n} {what.replace('_', ' ')}" for what, n in gone.items() if what != "left undone"
    )
    return f"{counts}; not everything could be removed: {left}" if left else counts


@maintain_app.command("logs")
def rotate(as_json: AsJson = False) -> None:
    """Rotate and compress today's logs; remove old ones."""
    made = maintenance.rotate_logs(_settings())
    words = f"packed: {', '.join(made['packed']) or 'nothing'}; removed: {len(made['removed'])}"
    _out(made, as_json, words)


@maintain_app.command()
def cleanup(dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """End processes that outlived their service, and remove dead Ray sessions (only our own)."""
    made = service_home.clean(_settings(), dry_run=dry_run)
    lines = [
        f"{'would end' if dry_run else 'ended'}: {len(made.processes)} processes",
        *(f"  {words}" for words in made.processes),
        *(f"  on the GPU: {words}" for words in made.card),
        f"{'would remove' if dry_run else 'removed'}: {len(made.sessions)} Ray sessions, "
        f"{len(made.temporary)} folders of temporary files, {len(made.semaphores)} semaphores",
    ]
    _out(vars(made), as_json, "\n".join(lines))


@maintain_app.command("trace")
def trace(
    id: Annotated[str, typer.Argument(help="Id of a request or job")],
    as_json: AsJson = False,
) -> None:
    """Show all log lines about one request or job."""
    folder = _settings().home / logs.FOLDER
    files = [*sorted(folder.glob("service-*.jsonl.gz")), folder / logs.FILE]
    lines = [entry for file in files if file.is_file() for entry in logs.read(file, id)]
    if not lines:
        _fail(f"the logs in {folder} have no lines about {id}")
    lines.sort(key=lambda entry: str(entry.get("at")))
    told = [_told(entry) for entry in lines]
    _out(lines, as_json, "\n".join(told))


def _told(entry: dict[str, Any]) -> str:
    known = ("at", "level", "logger", "message", "pid", "id", "trace")
    more = " ".join(f"{k}={v}" for k, v in entry.items() if k not in known and v is not None)
    name = str(entry.get("logger", "")).removeprefix("tiktok_ray.")
    words = f"{entry['at']} {entry['level']:7} {name} [{entry['pid']}] {entry['message']} {more}"
    return "\n".join([words.rstrip(), *([str(entry["trace"])] if "trace" in entry else [])])
