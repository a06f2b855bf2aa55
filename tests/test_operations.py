"""Units, heartbeat, backup, retention, clean-up, monitor and health."""

import errno
import gzip
import json
import os
import select
import shutil
import socket
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from typer.testing import CliRunner

from tests.made_outputs import run as made_run
from tiktok_ray import logs
from tiktok_ray.cli import app
from tiktok_ray.ops import maintenance, monitoring, service_commands, systemd
from tiktok_ray.serve import jobs, service_home
from tiktok_ray.serve.jobs import Ledger
from tiktok_ray.settings import Settings

ROOT = Path(__file__).parents[1]
PROGRAM = Path("/opt/tiktok_ray/.venv/bin/tiktok-ray")


@pytest.fixture
def run(settings, monkeypatch):
    """The command line, over the test's own home."""
    monkeypatch.setenv("TIKTOK_RAY_HOME", str(settings.home))
    monkeypatch.setenv("TIKTOK_RAY_MODELS", str(settings.models))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(settings.home.parent / "config"))

    def invoke(*words):
        return CliRunner().invoke(app, [str(w) for w in words])

    return invoke


# Units


@pytest.mark.parametrize("form", ["user", "system"])
def test_deploy_holds_what_is_made(form):
    made = systemd.units(form, PROGRAM)
    folder = ROOT / "deploy" / "systemd" / form
    assert {p.name: p.read_text() for p in folder.iterdir()} == made


@pytest.mark.parametrize("form", ["user", "system"])
@pytest.mark.parametrize("place", ["/opt/tiktok_ray/bin/tiktok-ray", "/srv/a b/100%/tiktok-ray"])
def test_systemd_accepts_the_units(form, place, tmp_path):
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not on this machine")
    program = tmp_path / Path(place).relative_to("/")
    program.parent.mkdir(parents=True)
    program.symlink_to("/bin/true")
    folder = tmp_path / "units"
    folder.mkdir()
    for name, text in systemd.units(form, program).items():
        (folder / name).write_text(text)
    done = subprocess.run(
        [tool, *(["--user"] if form == "user" else []), "verify", *map(str, folder.iterdir())],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    broken = folder / "tiktok-ray.service"
    broken.write_text(broken.read_text().replace("Restart=always", "Restart=now and then"))
    verify = [tool, *(["--user"] if form == "user" else []), "verify", str(broken)]
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    again = subprocess.run(verify, capture_output=True, text=True, env=env)
    assert "restart specifier" in again.stderr


def test_timers_run_commands_that_exist(run):
    for chore in systemd.CHORES:
        words = chore.words.split()
        shown = run(*(w for w in words if not w.startswith("-")), "--help")
        assert shown.exit_code == 0
        for flag in words:
            assert not flag.startswith("--") or flag in shown.output


def test_each_timer_has_its_time():
    when = {chore.name: chore.when for chore in systemd.CHORES}
    assert when["monitor"] == "*:0/5"
    assert when["health"] == "*:0/10"
    assert when["cleanup"] == "hourly"
    assert when["logs"] == "*-*-* 02:00:00"
    made = systemd.units("user", PROGRAM)
    for name, moment in when.items():
        assert f"OnCalendar={moment}\n" in made[f"tiktok-ray-{name}.timer"]
    assert "Persistent" not in made["tiktok-ray-monitor.timer"]
    assert "Persistent=true" in made["tiktok-ray-backup.timer"]


def test_a_program_in_a_home_stays_readable():
    at_home = systemd.units("system", Path("/home/me/tiktok-ray"))["tiktok-ray.service"]
    elsewhere = systemd.units("system", PROGRAM)["tiktok-ray.service"]
    assert "ProtectHome=read-only" in at_home
    assert "ProtectHome=true" in elsewhere


def test_dry_run_prints_what_is_written_and_writes_nothing(run, tmp_path):
    folder = tmp_path / "units"
    words = ["install-service", "--user", "--into", folder, "--program", PROGRAM]
    said = run(*words, "--dry-run")
    assert said.exit_code == 0
    assert not folder.exists()
    assert not (tmp_path / "config").exists()
    done = run(*words)
    assert done.exit_code == 0, done.stderr
    written = {p: p.read_text() for p in [*folder.iterdir(), tmp_path / "config/tiktok-ray.env"]}
    assert len(written) == 3 + 2 * len(systemd.CHORES)
    for path, text in written.items():
        assert f"# {path} \n{text}" in said.stdout


def test_settings_are_kept_when_the_units_are_written_again(run, tmp_path):
    words = ["install-service", "--user", "--into", tmp_path / "units", "--program", PROGRAM]
    run(*words)
    environment = tmp_path / "config/tiktok-ray.env"
    assert environment.stat().st_mode & 0o077 == 0
    environment.write_text("TIKTOK_RAY_PORT=8003\n")
    again = run(*words)
    assert "kept: " in again.stderr
    assert "unchanged: " in again.stderr
    assert environment.read_text() == "TIKTOK_RAY_PORT=8003\n"


def test_install_service_wants_one_form(run):
    assert run("install-service").exit_code == 2
    assert run("install-service", "--user", "--system").exit_code == 2


def test_environment_files_name_settings_that_exist():
    for form in ("user", "system"):
        for line in systemd.environment_text(form).splitlines():
            name = line.lstrip("#").partition("=")[0]
            if "=" in line and name.startswith("TIKTOK_RAY_"):
                assert name.removeprefix("TIKTOK_RAY_").lower() in Settings.model_fields


# Heartbeat


@pytest.fixture
def listener(tmp_path):
    """What systemd would hear."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(5)
        yield line


def test_systemd_hears_that_the_service_is_ready_while_it_answers(listener, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", listener.getsockname())
    answers: list[str | None] = ["ready, 0 running"]
    with systemd.heartbeat(lambda: answers[0], every_s=0.02):
        assert listener.recv(500) == b"READY=1\nWATCHDOG=1\nSTATUS=ready, 0 running"
        answers[0] = None
        listener.settimeout(0.3)
        while listener in select.select([listener], [], [], 0.3)[0]:
            listener.recv(500)  # what was on its way, then silence
    assert listener.recv(500) == b"STOPPING=1"


def test_without_systemd_nobody_is_asked(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    before = threading.active_count()
    with systemd.heartbeat(lambda: "ready", every_s=0.01):
        assert threading.active_count() == before, "nobody is there to ask"


# Backup and retention


def report_text(source="clip"):
    from tiktok_ray.report import VideoInfo, VideoReport

    info = VideoInfo(
        id="a" * 16, sha256="a" * 64, source=source, duration_s=2.0, width=144, height=256,
        fps=30.0, has_audio=True,
        start_offset_s=0.0, video_codec="h264", container="mp4", size_bytes=1000,
    )  # fmt: skip
    return VideoReport(video=info, analyzers={}, timeline=[], run=made_run())


@pytest.fixture
def lived_in(settings):
    """A home with three jobs, two of them done with results."""
    from tiktok_ray.serve.store import Store

    ledger = Ledger(settings.home / service_home.LEDGER)
    store = Store(settings.home / service_home.RESULTS)
    for n in range(3):
        ledger.accept(f"{n:024x}", jobs.Request(upload=f"clip{n}.mp4"), digest=str(n))
    for n in range(2):
        job = ledger.claim(alone=True)
        store.publish(job.id, report_text(f"clip{n}"))
        (settings.home / service_home.RESULTS / job.id / "video").write_bytes(b"v" * 1000)
        ledger.finish(job.id, "done", result=job.id)
    yield settings
    ledger.close()
    store.close()


def tables(path):
    with sqlite3.connect(path) as db:
        return {
            t: db.execute(f"SELECT * FROM {t} ORDER BY 1, 2").fetchall() for t in ("jobs", "events")
        }


def test_a_backup_comes_back_whole(lived_in, run, tmp_path):
    done = run("maintain", "backup", "--into", tmp_path / "backups")
    assert done.exit_code == 0, done.stderr
    [file] = (tmp_path / "backups").iterdir()
    assert str(file) in done.stdout
    assert file.stat().st_mode & 0o077 == 0
    other = lived_in.model_copy(update={"home": tmp_path / "elsewhere"})
    assert maintenance.restore(other, file) == {"jobs": 3, "results": 2}
    assert tables(other.home / service_home.LEDGER) == tables(lived_in.home / service_home.LEDGER)
    for n in range(2):
        name = f"results/{n:024x}/report.json"
        assert (other.home / name).read_bytes() == (lived_in.home / name).read_bytes()
        assert not (other.home / f"results/{n:024x}/video").exists()
    assert [p.name for p in other.home.iterdir() if p.name.startswith(".")] == []


def test_videos_are_in_the_backup_when_asked_for(lived_in, tmp_path):
    file = maintenance.back_up(lived_in, tmp_path / "b", videos=True)
    with tarfile.open(file) as tar:
        assert sum(name.endswith("/video") for name in tar.getnames()) == 2


def test_a_backup_is_whole_while_jobs_are_accepted(lived_in, tmp_path):
    stop = threading.Event()

    def write():
        ledger, n = Ledger(lived_in.home / service_home.LEDGER), 100
        while not stop.is_set():
            ledger.accept(f"{n:024x}", jobs.Request(upload="x"), digest=str(n))
            n += 1
        ledger.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for n in range(3):
            copy = tmp_path / f"{n}.sqlite"
            maintenance.copy_database(lived_in.home / service_home.LEDGER, copy)
            found = tables(copy)
            assert len(found["jobs"]) + 4 == len(found["events"])
    finally:
        stop.set()
        writer.join()


def test_old_backups_make_room(lived_in, tmp_path):
    folder = tmp_path / "b"
    folder.mkdir()
    old = [folder / f"tiktok-ray-2020010{n}T000000Z.tar.gz" for n in range(1, 4)]
    for path in old:
        path.touch()
    other = folder / "mine.tar.gz"
    other.touch()
    made = maintenance.back_up(lived_in, folder, keep=2)
    assert set(folder.iterdir()) == {old[2], made, other}


def test_a_backup_that_does_not_fit_is_refused(lived_in, tmp_path):
    full = lived_in.model_copy(update={"disk_reserve_gib": 1e9})
    with pytest.raises(maintenance.CannotKeep, match="--into"):
        maintenance.back_up(full, tmp_path)
    assert list(tmp_path.glob("tiktok-ray-*")) == []


def test_nothing_is_restored_over_what_is_there(lived_in, run, tmp_path):
    file = maintenance.back_up(lived_in, tmp_path)
    before = tables(lived_in.home / service_home.LEDGER)
    done = run("maintain", "restore", file)
    assert done.exit_code == 1
    assert "exists; stop the service" in done.stderr
    assert tables(lived_in.home / service_home.LEDGER) == before


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_what_is_no_backup_is_not_restored(settings, tmp_path, content):
    file = tmp_path / "x.tar.gz"
    if content is None:
        with tarfile.open(file, "w:gz") as tar:
            tar.add(__file__, "other.py")
    else:
        file.write_bytes(content)
    with pytest.raises(maintenance.CannotKeep):
        maintenance.restore(settings, file)
    assert list(settings.home.iterdir()) == []


def test_a_backup_that_climbs_out_is_refused(settings, tmp_path):
    file = tmp_path / "evil.tar.gz"
    with tarfile.open(file, "w:gz") as tar:
        tar.add(__file__, "../../escaped.py")
    with pytest.raises(maintenance.CannotKeep):
        maintenance.restore(settings, file)
    assert not (tmp_path / "escaped.py").exists()


def test_retention_removes_what_is_old(lived_in, run):
    assert maintenance.retain(lived_in) == dict.fromkeys(
        ("results", "jobs", "leftovers", "logs"), 0
    )
    with sqlite3.connect(lived_in.home / service_home.LEDGER) as db:
        db.execute("UPDATE jobs SET ended = ended - 31 * 86400")
    for report in (lived_in.home / service_home.RESULTS).glob("*/report.json"):
        os.utime(report, (time.time() - 31 * 86400,) * 2)
    packed = lived_in.home / "logs" / "service-1.jsonl.gz"
    packed.parent.mkdir()
    packed.touch()
    os.utime(packed, (1, 1))
    for name, age in (("a" * 24, 7200), ("b" * 24, 60), (f"{2:024x}", 7200)):
        folder = lived_in.home / service_home.WORK / name
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - age,) * 2)
    picture = lived_in.home / service_home.WORK / f"{'c' * 24}.jpg"
    picture.touch()
    os.utime(picture, (1, 1))
    assert "2 results, 2 jobs, 2 leftovers, 1 logs" in run("maintain", "retention").stdout
    # What still arrives stays, and so does the upload of a job that waits.
    assert {p.name for p in (lived_in.home / service_home.WORK).iterdir()} == {
        "b" * 24,
        f"{2:024x}",
    }
    assert Ledger(lived_in.home / service_home.LEDGER).counts()["queued"] == 1


def test_logs_are_rotated_by_command(run, settings):
    log = settings.home / "logs" / "service.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text(
        '{"at": "2026-01-01T00:00:00", "id": "abc", "message": "hello", "level": "info", "pid": 1}\n'
    )
    made = json.loads(run("maintain", "logs", "--json").stdout)
    assert len(made["packed"]) == 1
    assert "hello" in run("maintain", "trace", "abc").stdout
    assert run("maintain", "trace", "abd").exit_code == 1


# What outlived its service

IDLE = "import time; print('here', flush=True); time.sleep(600)"


def child(mark):
    """A process with that mark, once it runs."""
    made = subprocess.Popen(
        [sys.executable, "-c", IDLE],
        env={**os.environ, service_home.MARK: mark},
        stdout=subprocess.PIPE,
    )
    assert made.stdout is not None
    with made.stdout:
        assert made.stdout.readline() == b"here\n"
    return made


@pytest.fixture
def orphans(settings):
    """Processes: of a dead owner, of a living one, of a dead one with another home, of nobody."""
    home = str(settings.home.resolve())
    settings.home.mkdir()
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    me = psutil.Process()
    marks = {
        "stale": service_home.Owner(gone.pid, time.time() - 5, home).mark(),
        "living": service_home.Owner(me.pid, me.create_time(), home).mark(),
        "elsewhere": service_home.Owner(gone.pid, time.time() - 5, home + "2").mark(),
        "nobody": "",
    }
    made = {name: child(mark) for name, mark in marks.items()}
    yield made
    for process in made.values():
        process.kill()
        process.wait()


def test_only_what_is_truly_stale_is_ended(orphans, settings, run):
    looked = run("maintain", "cleanup", "--dry-run")
    assert "would end: 1 processes" in looked.stdout
    assert str(orphans["stale"].pid) in looked.stdout
    assert orphans["stale"].poll() is None
    assert [v.state for v in monitoring._left(settings)] == ["bad"]
    assert "ended: 1 processes" in run("maintain", "cleanup").stdout
    assert orphans["stale"].poll() is not None
    assert {n for n, p in orphans.items() if p.poll() is None} == {"living", "elsewhere", "nobody"}
    assert service_home.clean(settings).processes == []


def test_a_number_that_another_process_got_is_no_owner():
    me = psutil.Process()
    assert service_home.Owner(me.pid, me.create_time(), "x").alive()
    assert not service_home.Owner(me.pid, me.create_time() - 100, "x").alive()
    assert service_home.process_of(me.pid, me.create_time()) == me
    assert service_home.process_of(2**22 + 1, me.create_time()) is None
    owner = service_home.Owner(12, 34.5, "/a:b/c")
    assert service_home.Owner.of(owner.mark()) == owner
    assert service_home.Owner.of("") is None


def test_semaphores_that_nobody_has_are_removed(tmp_path):
    import mmap

    for name in ("sem.mp-dead", "sem.mp-held", "sem.mp-young", "other"):
        path = tmp_path / name
        path.write_bytes(b"s" * 32)
        if name != "sem.mp-young":
            os.utime(path, (1, 1))
    with (tmp_path / "sem.mp-held").open("r+b") as file, mmap.mmap(file.fileno(), 32):
        assert service_home.abandoned_semaphores(tmp_path) == [tmp_path / "sem.mp-dead"]
    both = [tmp_path / "sem.mp-dead", tmp_path / "sem.mp-held"]
    assert service_home.abandoned_semaphores(tmp_path) == both


def test_sessions_of_dead_services_are_removed_and_no_others(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", "")
    monkeypatch.setattr("tempfile.tempdir", None)
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    monkeypatch.setenv(service_home.MARK, "")
    service_home.own(settings)
    now = time.time()
    with (settings.home / service_home.STARTS).open("a") as file:
        file.write(json.dumps({"pid": gone.pid, "started": now - 30}) + "\n")

    def session(at, pid):
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(at))
        folder = tmp_path / "ray" / f"session_{stamp}_123456_{pid}"
        (folder / "logs").mkdir(parents=True)
        return folder

    ours = session(now - 20, gone.pid)
    others = [session(now - 20, os.getpid()), session(now - 20, gone.pid + 1)]
    others.append(session(now - 86_400, gone.pid))
    (tmp_path / "ray" / "session_latest").symlink_to(ours)
    assert service_home.dead_sessions(settings) == [ours]
    mine = Path(os.environ["TMPDIR"])
    dead = mine.with_name(f"{gone.pid}-{now - 30:.2f}")
    dead.mkdir()
    service_home.clean(settings)
    assert not ours.exists()
    assert not dead.exists()
    assert mine.is_dir()
    assert all(folder.exists() for folder in others)


# Monitor and health, against a service that answers as it is told


class Answering(ThreadingHTTPServer):
    token: str = ""
    answers: dict[str, Any]


class Told(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        assert isinstance(server, Answering)
        if server.token and self.headers.get("Authorization") != f"Bearer {server.token}":
            self.send_error(401)
            return
        path = urlsplit(self.path).path
        state = urlsplit(self.path).query
        body = server.answers.get(f"{path}?{state}", server.answers.get(path))
        if body is None:
            self.send_error(404)
            return
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def job(id, state, **more):
    return {
        "id": id, "state": state, "request": {"url": None, "upload": "clip.mp4"},
        "started": time.time() - 5, "ended": None, "problem": None, **more,
    }  # fmt: skip


def healthy():
    return {
        "status": "ready", "ready": True, "reasons": [],
        "queue": {"queued": 1, "running": 2, "in_flight_limit": 4, "queue_limit": 100},
        "jobs": {"queued": 1, "running": 2, "done": 7, "failed": 1},
        "fleet": {"planned": 2, "loaded": ["cut_analysis"], "unavailable": []},
        "cards": [], "disk": {"free_gib": 50.0, "results": 7, "results_bytes": 2**30},
        "since": time.time() - 3700,
    }  # fmt: skip


@pytest.fixture
def service(monkeypatch):
    """A service that answers what ``answers`` says."""
    server = Answering(("127.0.0.1", 0), Told)
    failed = job(
        "f" * 24,
        "failed",
        ended=time.time() - 60,
        problem={"title": "Gone", "detail": "it was removed"},
    )
    row = {"device": "cpu", "variant": "cpu", "vram_gib": 0.0, "ram_gib": 0.4}
    server.answers = {
        "/health": healthy(),
        "/plan": {"analyzers": [{"analyzer": n, **row} for n in ("cut_analysis", "body_pose")]},
        "/metrics": (
            "# TYPE tiktok_ray_analyzer_seconds histogram\n"
            'tiktok_ray_analyzer_seconds_count{analyzer="cut_analysis",device="cpu"} 3\n'
            'tiktok_ray_analyzer_seconds_sum{analyzer="cut_analysis",device="cpu"} 5.0\n'
            'tiktok_ray_analyzer_seconds_count{analyzer="cut_analysis",device="cuda"} 1\n'
            'tiktok_ray_analyzer_seconds_sum{analyzer="cut_analysis",device="cuda"} 1.0\n'
            "# TYPE tiktok_ray_sections_total counter\n"
            'tiktok_ray_sections_total{analyzer="cut_analysis",status="ok"} 3\n'
            'tiktok_ray_sections_total{analyzer="cut_analysis",status="failed"} 1\n'
            'tiktok_ray_sections_total{analyzer="cut_analysis",status="skipped"} 9\n'
        ),
        "/jobs?state=running&limit=20": {"jobs": [job("1" * 24, "running")]},
        "/jobs?state=running&limit=100": {"jobs": [job("1" * 24, "running")]},
        "/jobs?state=failed&limit=5": {"jobs": [failed]},
        "/jobs?state=quarantined&limit=5": {"jobs": []},
        "/results?limit=1": {"results": [{"id": "abcdef0123"}]},
        "/results/abcdef0123": {
            "run": {"memory": {"cut_analysis": {"peak_gib": 0.31, "peak_vram_gib": 0.0}}}
        },
    }
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("TIKTOK_RAY_PORT", str(server.server_address[1]))
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("service")
def test_monitor_shows_planned_and_measured(run):
    shot = json.loads(run("monitor", "--once", "--json").stdout)
    rows = {row["analyzer"]: row for row in shot["analyzers"]}
    assert rows["cut_analysis"]["planned_ram_gib"] == 0.4
    assert rows["cut_analysis"]["peak_ram_gib"] == 0.31
    assert rows["cut_analysis"]["mean_s"] == 1.5
    assert (rows["cut_analysis"]["runs"], rows["cut_analysis"]["failed"]) == (4, 1)
    assert rows["body_pose"]["peak_ram_gib"] is None
    assert rows["body_pose"]["mean_s"] is None
    assert shot["running"][0]["job"] == "1" * 24
    assert shot["errors"][0]["problem"] == "Gone: it was removed"
    words = run("monitor", "--once").stdout
    for part in ("2 of 4 running", "1 of 100 waiting", "7 done", "Gone: it was removed", "1 min"):
        assert part in words


@pytest.mark.usefixtures("service")
def test_monitor_appends_to_its_log(run, settings):
    for _ in range(2):
        assert run("monitor", "--once", "--log").exit_code == 0
    lines = (settings.home / "logs" / "monitor.jsonl").read_text().splitlines()
    assert [json.loads(line)["queue"]["running"] for line in lines] == [2, 2]


def test_monitor_says_when_nobody_answers(run, monkeypatch, settings):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        monkeypatch.setenv("TIKTOK_RAY_PORT", str(unused.getsockname()[1]))
    done = run("monitor", "--once", "--log")
    assert done.exit_code == service_commands.ILL
    assert "refused" in done.stderr
    assert "down" in (settings.home / "logs" / "monitor.jsonl").read_text()


def test_the_token_is_shown_to_the_service_and_to_nobody_else(service, run, monkeypatch):
    service.token = "hunter2hunter2"
    done = run("health", "--fix")
    # A service that answers is not restarted because this command lacks the token.
    assert done.exit_code == service_commands.ATTENTION
    assert "restart" not in done.stdout
    assert "TIKTOK_RAY_TOKEN" in done.stdout.replace("\n", "")
    monkeypatch.setenv("TIKTOK_RAY_TOKEN", "hunter2hunter2")
    done = run("health")
    assert done.exit_code == 0
    assert "hunter2" not in done.output


@pytest.mark.parametrize(
    ("change", "code", "check"),
    [
        ({}, 0, None),
        ({"reasons": ["body_pose: weights not installed"], "fleet": {"planned": 1, "loaded": [], "unavailable": ["body_pose"]}}, 0, None),
        ({"reasons": ["body_pose could not be loaded: too slow"]}, 1, "trouble"),
        ({"ready": False}, 5, "service"),
        ({"ready": False, "since": 4e9}, 0, None),
        ({"disk": {"free_gib": 0.2, "results": 0, "results_bytes": 0}, "reasons": ["only 0.2 GiB of disk space are free"]}, 1, "disk"),
        ({"queue": {"queued": 100, "running": 4, "in_flight_limit": 4, "queue_limit": 100}}, 1, "queue"),
    ],
)  # fmt: skip
def test_health_by_exit_code(service, run, change, code, check):
    service.answers["/health"] = {**healthy(), **change}
    done = run("health", "--json")
    assert done.exit_code == code, done.output
    bad = [row["check"] for row in json.loads(done.stdout)["checks"] if row["state"] == "bad"]
    assert bad == ([check] if check else [])


def test_a_service_that_starts_is_waited_for(service, run, settings):
    del service.answers["/health"]
    assert run("health").exit_code == service_commands.ILL
    me = psutil.Process()
    here = settings.model_copy(update={"port": service.server_address[1]})
    part = child(service_home.Owner(me.pid, me.create_time(), str(settings.home.resolve())).mark())
    try:
        young = monitoring.judge(here, now=me.create_time() + 30)
        old = monitoring.judge(here, now=me.create_time() + 2 * monitoring.STARTING_S)
    finally:
        part.kill()
        part.wait()
    assert (young[0].state, young[0].ill) == ("note", False)
    assert (old[0].state, old[0].ill) == ("bad", True)


def test_a_job_that_never_ends_is_told(service, run):
    old = job("2" * 24, "running", started=time.time() - 4000)
    service.answers["/jobs?state=running&limit=100"] = {"jobs": [old]}
    done = run("health")
    assert done.exit_code == service_commands.ATTENTION
    assert "2" * 24 in done.stdout.replace("\n", "")


@pytest.mark.usefixtures("service")
def test_fix_ends_leftovers_and_says_so(orphans, run):
    assert run("health").exit_code == service_commands.ATTENTION
    done = run("health", "--fix")
    assert done.exit_code == 0, done.output
    assert "ended 1 processes" in done.stdout
    assert orphans["stale"].poll() is not None


def test_fix_restarts_the_installed_unit_and_waits(service, run, settings, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(settings.home.parent / "config"))
    answers = service.answers.pop("/health")
    ill = monitoring.judge(settings.model_copy(update={"port": service.server_address[1]}))
    asked = []

    def restart(form):
        asked.append(form)
        service.answers["/health"] = answers
        return ""

    here = settings.model_copy(update={"port": service.server_address[1]})
    assert "not restarted" in service_commands.mend(here, ill, restart)[0]
    run("install-service", "--user", "--program", PROGRAM)
    [said] = service_commands.mend(here, ill, restart)
    assert asked == ["user"]
    assert "it responded after" in said
    [said] = service_commands.mend(here, ill, lambda _: "no such bus")
    assert said == "could not restart the user unit: no such bus"


@pytest.mark.parametrize(
    ("state", "code", "asked", "said"),
    [
        ("active", 0, "try-restart", ""),
        ("activating", 0, "try-restart", ""),
        ("active", 1, "try-restart", "denied"),
        ("inactive", 0, "is-active", "stopped"),
    ],
)
def test_a_service_that_was_stopped_stays_so(tmp_path, monkeypatch, state, code, asked, said):
    manager = tmp_path / "systemctl"
    manager.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n'
        f'case "$*" in *is-active*) echo {state};; *) echo denied >&2; exit {code};; esac\n'
    )
    manager.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert said in systemd.restart("user")
    assert bool(systemd.restart("system")) is bool(said)
    calls = (tmp_path / "asked").read_text().splitlines()
    assert asked in calls[-1]
    assert "--user" in calls[0]
    assert "--user" not in calls[-1]


def test_a_setting_that_does_not_fit_is_explained(run, monkeypatch):
    monkeypatch.setenv("TIKTOK_RAY_PORT", "eighty")
    done = run("health")
    assert done.exit_code == 2
    assert "port" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [("doctor",), ("health",), ("maintain", "retention")])
def test_a_setting_that_is_no_json_is_told_in_a_line(run, monkeypatch, command):
    monkeypatch.setenv("TIKTOK_RAY_OPTIONS", "{ broken")
    done = run(*command)
    assert done.exit_code == 2
    assert "options" in done.stderr
    assert "Traceback" not in done.stderr


class TestWhatStopsAStart:
    """Said in one line, before Ray is started."""

    @pytest.fixture
    def refused(self, settings):
        from tiktok_ray.ops import lifecycle

        def refused(**changes):
            said = []
            with pytest.raises(lifecycle.CannotServe) as caught:
                lifecycle._open_home(settings.model_copy(update=changes), said.append)
            return str(caught.value)

        return refused

    def test_options(self, refused):
        assert "did you mean cut_analysis" in refused(options={"cut_analyses": {}})

    def test_a_newer_ledger(self, refused, settings):
        Ledger(settings.home / service_home.LEDGER).close()
        with sqlite3.connect(settings.home / service_home.LEDGER) as db:
            db.execute("PRAGMA user_version = 7")
        assert "newer version" in refused()

    def test_a_home_that_is_a_file(self, refused, settings):
        settings.home.write_text("")
        assert "cannot be used" in refused()

    def test_a_full_disk(self, refused, settings, monkeypatch):
        def refuse(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("tiktok_ray.ops.lifecycle.Store", refuse)
        assert "maintain retention" in refused()

    def test_what_is_set_aside_is_named(self, settings):
        from tiktok_ray.ops import lifecycle

        settings.home.mkdir()
        (settings.home / service_home.LEDGER).write_text("no database" * 500)
        said = []
        lifecycle._open_home(settings, said.append)
        assert len(said) == 1
        assert service_home.LEDGER in said[0]


class TestRayIsWatched:
    """Our own by its processes, another's by whether it answers in time."""

    @pytest.fixture
    def watched(self, monkeypatch):
        from tiktok_ray.ops import lifecycle

        monkeypatch.setattr(lifecycle, "LOOK_S", 0.02)
        monkeypatch.setattr(lifecycle, "OWE_S", 0.5)
        made = lifecycle._Ray()
        yield made
        made.leave()

    def found(self, watched, own, then=lambda: None):
        told = []
        watched.watch(told.append, own=own)
        then()
        while not told:
            time.sleep(0.02)
        return told[0]

    def test_a_dead_part_of_our_own(self, watched, tmp_path):
        raylet = tmp_path / "raylet"
        shutil.copy("/bin/sleep", raylet)
        with subprocess.Popen([raylet, "60"]) as process:
            while psutil.Process(process.pid).name() != "raylet":
                time.sleep(0.01)
            assert "raylet" in self.found(watched, own=True, then=process.kill)
        assert watched.dead
        assert process.pid in [child.pid for child in watched.children]

    def test_a_silent_one_of_others(self, watched, monkeypatch):
        def silent():
            time.sleep(60)
            return []

        self.stand_in(monkeypatch, silent)
        assert "not responded" in self.found(watched, own=False)

    def test_a_node_that_ended(self, watched, monkeypatch):
        self.stand_in(monkeypatch, lambda: [{"NodeID": "here", "Alive": False}])
        assert "Ray node has died" in self.found(watched, own=False)

    def test_one_that_refuses(self, watched, monkeypatch):
        def refuse():
            raise ConnectionError("no GCS")

        self.stand_in(monkeypatch, refuse)
        assert "no GCS" in self.found(watched, own=False)

    def stand_in(self, monkeypatch, nodes):
        context = SimpleNamespace(get_node_id=lambda: "here")
        monkeypatch.setattr("ray.get_runtime_context", lambda: context)
        monkeypatch.setattr("ray.nodes", nodes)


def test_broken_lines_of_starts_stop_nothing(settings):
    settings.home.mkdir()
    (settings.home / service_home.STARTS).write_bytes(b'{"pid": 1}\n[]\n\xff\xfe{\n"x"\n')
    assert service_home.dead_sessions(settings) == []
    service_home._remember(settings.home / service_home.STARTS, service_home.Owner(7, 8.0, ""))
    assert service_home._starts(settings.home / service_home.STARTS) == [(7, 8.0)]
    (settings.home / service_home.STARTS).unlink()
    (settings.home / service_home.STARTS).mkdir()
    service_home._remember(settings.home / service_home.STARTS, service_home.Owner(7, 8.0, ""))


def test_retention_frees_a_disk_that_is_full(lived_in, monkeypatch):
    """Files go although nothing can be written about it, and the cache goes too."""
    for report in (lived_in.home / service_home.RESULTS).glob("*/report.json"):
        os.utime(report, (time.time() - 31 * 86400,) * 2)
    cache = lived_in.home / service_home.CACHE
    cache.mkdir(exist_ok=True)
    (cache / f"plain-{1:032x}.json").write_text("x" * 1000)

    def refuse(*_, **__):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr("tiktok_ray.serve.store.Store", refuse)
    greedy = lived_in.model_copy(update={"disk_reserve_gib": 1e6})
    gone = maintenance.retain(greedy)
    assert (gone["results"], gone["cached_bytes"]) == (2, 1000)
    assert "full" in gone["left undone"]
    assert list((lived_in.home / service_home.RESULTS).glob("*/report.json")) == []
    assert list(cache.iterdir()) == []


def test_a_log_that_cannot_be_packed_is_packed_later(tmp_path, monkeypatch):
    log = tmp_path / "service.jsonl"
    log.write_text("one\n")

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("shutil.copyfileobj", refuse)
        with pytest.raises(OSError, match="No space"):
            logs.rotate(log)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".jsonl", ".jsonl", ".lock"]
    log.write_text("two\n")
    logs.rotate(log)
    packed = sorted(tmp_path.glob("*.gz"))
    assert [gzip.decompress(p.read_bytes()) for p in packed] == [b"one\n", b"two\n"]


def test_the_containers_health_check_shows_the_token(monkeypatch, capsys):
    asked = []

    class Guarded(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers["Authorization"])
            body = b'{"status": "ready", "queue": {"running": 0, "queued": 0}}'
            self.send_response(200 if asked[-1] == "Bearer s3cret" else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("TIKTOK_RAY_PORT", str(server.server_port))
    monkeypatch.setenv("TIKTOK_RAY_HOST", "0.0.0.0")
    try:
        for token, code in (("s3cret", 0), ("wrong", 1)):
            monkeypatch.setenv("TIKTOK_RAY_TOKEN", token)
            with pytest.raises(SystemExit) as ended:
                monitoring.main()
            assert ended.value.code == code
    finally:
        server.shutdown()
        server.server_close()
    assert "ready" in capsys.readouterr().out


def test_a_home_with_a_long_path_has_its_sockets_elsewhere(settings, tmp_path):
    short = settings.model_copy(update={"home": Path("/tmp/h")})
    assert service_home.temporaries(short) == Path("/tmp/h/tmp")
    long = settings.model_copy(update={"home": tmp_path / ("x" * 60)})
    place = service_home.temporaries(long)
    socket_below = place / "1234567-1234567890.12" / "pymp-12345678" / "listener-12345678"
    assert len(str(socket_below)) <= 107
    assert place == service_home.temporaries(long)
    assert place != service_home.temporaries(
        long.model_copy(update={"home": tmp_path / ("y" * 60)})
    )
