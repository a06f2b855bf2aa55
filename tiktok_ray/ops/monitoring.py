"""The state of a running service, for display, for a log, and for a health verdict.

Only the service's own endpoints are queried, over loopback; memory of processes and GPUs is measured
here if the service runs on this machine. ``python -m tiktok_ray.ops.monitoring`` checks that it responds.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import psutil
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from tiktok_ray.console import table_of
from tiktok_ray.run import nvml
from tiktok_ray.serve import service_home
from tiktok_ray.settings import Settings

if TYPE_CHECKING:
    import httpx
    from prometheus_client import Metric

#: A service may take so long from its start until it is ready.
STARTING_S = 600.0
#: A job that runs longer than this is told.
LONG_JOB_S = 3600.0
ANYWHERE = ("0.0.0.0", "::", "")


class NoAnswer(Exception):
    """The service does not respond; the message says what happened."""


class Refused(NoAnswer):
    """The service refused the request."""


def address(settings: Settings) -> str:
    """The URL of the service from this machine."""
    host = "127.0.0.1" if settings.host in ANYWHERE else settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def client(settings: Settings, timeout_s: float = 10.0) -> httpx.Client:
    """A client of the service, with its token; environment proxies are ignored."""
    import httpx

    headers = {}
    if settings.token is not None:
        headers["Authorization"] = f"Bearer {settings.token.get_secret_value()}"
    return httpx.Client(
        base_url=address(settings), headers=headers, timeout=timeout_s, trust_env=False
    )


def ask(line: httpx.Client, path: str, **query: Any) -> httpx.Response:
    """The response of an endpoint. Raises ``NoAnswer``."""
    import httpx

    try:
        answer = line.get(path, params=query)
    except httpx.HTTPError as error:
        words = str(error) or type(error).__name__
        raise NoAnswer(f"{line.base_url}: {words}") from None
    if answer.status_code == 401:
        raise Refused(f"{line.base_url} needs its token: set TIKTOK_RAY_TOKEN")
    if answer.status_code != 200:
        raise NoAnswer(
            f"{line.base_url}{path} responded with {answer.status_code}: {answer.text[:200]}"
        )
    return answer


def pulse(settings: Settings) -> str | None:
    """A one-line status of the service, or None if it does not respond properly."""
    try:
        with client(settings) as line:
            health = ask(line, "/health").json()
            queue = health["queue"]
            return f"{health['status']}, {queue['running']} running, {queue['queued']} queued"
    except (NoAnswer, ValueError, KeyError, TypeError):
        return None


def snapshot(settings: Settings) -> dict[str, Any]:
    """Everything for the display, as plain values. Raises ``NoAnswer``."""
    from prometheus_client.parser import text_string_to_metric_families

    with client(settings) as line:
        health = ask(line, "/health").json()
        planned = ask(line, "/plan").json()
        counted = list(text_string_to_metric_families(ask(line, "/metrics").text))
        running = ask(line, "/jobs", state="running", limit=20).json()["jobs"]
        failed = [
            job
            for state in ("failed", "quarantined")
            for job in ask(line, "/jobs", state=state, limit=5).json()["jobs"]
        ]
        newest = ask(line, "/results", limit=1).json()["results"]
        run: Mapping[str, Any] = {}
        if newest:
            with contextlib.suppress(NoAnswer):  # it may have been deleted meanwhile
                run = ask(line, f"/results/{newest[0]['id']}").json()["run"]
    return {
        "at": round(time.time(), 3),
        "url": address(settings),
        **{key: health[key] for key in ("status", "ready", "reasons", "queue", "jobs", "disk")},
        "up_s": round(time.time() - health["since"], 1),
        "cards": _cards(health["cards"]),
        "processes": _processes(settings),
        "analyzers": _analyzers(planned, counted, run.get("memory", {})),
        "running": [_told(job) for job in running],
        "errors": [_told(job) for job in sorted(failed, key=lambda j: -(j["ended"] or 0))[:5]],
    }


def _cards(planned: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cards as planned, and what is used of them now, by NVML; None where it cannot tell."""
    used: dict[int, float] = {}
    if planned:
        with contextlib.suppress(nvml.NvmlError):
            used = {card.index: round(card.used_gib, 2) for card in nvml.cards()}
    return [{**card, "used_gib": used.get(card["index"])} for card in planned]


def _processes(settings: Settings) -> dict[str, Any]:
    """How many processes the service has, and their memory: proportional set size, in GiB."""
    count, bytes_ = 0, 0
    for process, _ in service_home.marked(settings):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            memory = process.memory_full_info()
            count, bytes_ = count + 1, bytes_ + (getattr(memory, "pss", 0) or memory.rss)
    return {"count": count, "pss_gib": round(bytes_ / 2**30, 2)}


def _analyzers(
    planned: Mapping[str, Any],
    counted: Iterable[Metric],
    peaks: Mapping[str, Mapping[str, float]],
) -> list[dict[str, Any]]:
    """Rows of what is planned, and what was measured: peaks are those of the newest result."""
    worked: defaultdict[str, dict[str, float]] = defaultdict(lambda: {"sum": 0.0, "count": 0.0})
    states: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for sample in (sample for family in counted for sample in family.samples):
        labels = sample.labels
        match sample.name.removeprefix("tiktok_ray_"):
            case "analyzer_seconds_sum" | "analyzer_seconds_count":  # for each device
                worked[labels["analyzer"]][sample.name.rpartition("_")[2]] += sample.value
            case "sections_total":
                states[labels["analyzer"]][labels["status"]] = int(sample.value)
    rows = []
    for row in planned["analyzers"]:
        name = row["analyzer"]
        ended, took = states[name], worked[name]
        ran = sum(n for status, n in ended.items() if status not in ("skipped", "unavailable"))
        peak = peaks.get(name, {})
        rows.append(
            {
                "analyzer": name,
                "device": row["device"],
                "variant": row["variant"],
                "planned_vram_gib": row["vram_gib"],
                "peak_vram_gib": _rounded(peak.get("peak_vram_gib")),
                "planned_ram_gib": row["ram_gib"],
                "peak_ram_gib": _rounded(peak.get("peak_gib")),
                "runs": ran,
                "failed": ended.get("failed", 0) + ended.get("timed_out", 0),
                "mean_s": _rounded(took["sum"] / took["count"] if took["count"] else None),
            }
        )
    return rows


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _told(job: Mapping[str, Any]) -> dict[str, Any]:
    request = job["request"]
    trouble = job.get("problem") or {}
    return {
        "job": job["id"],
        "state": job["state"],
        "source": (request.get("url") or request.get("upload") or "upload")[:200],
        "since": job["started"] if job["state"] == "running" else job["ended"],
        "problem": f"{trouble.get('title', '')}: {trouble.get('detail', '')}" if trouble else None,
    }


def screen(shot: Mapping[str, Any]) -> RenderableType:
    """A snapshot for reading."""
    queue, disk, processes = shot["queue"], shot["disk"], shot["processes"]
    ended = ", ".join(f"{n} {state}" for state, n in shot["jobs"].items() if n)
    style = "green" if shot["ready"] else "bold red"
    head = (
        f"[bold]tiktok_ray[/] {shot['url']}  [{style}]{shot['status']}[/], up {_span(shot['up_s'])}\n"
        f"queue: {queue['running']} of {queue['in_flight_limit']} running, "
        f"{queue['queued']} of {queue['queue_limit']} waiting; jobs: {ended or 'none'}\n"
        f"memory: {processes['count']} processes, {processes['pss_gib']:.2f} GiB; disk: "
        f"{disk['free_gib']:.1f} GiB free, {disk['results']} results, "
        f"{disk['results_bytes'] / 2**30:.2f} GiB"
    )
    parts: list[RenderableType] = [head]
    if shot["cards"]:
        parts.append(table_of(shot["cards"], "cards"))
    parts.append(table_of(shot["analyzers"], "analyzers (peaks from the newest result)"))
    for title in ("running", "errors"):
        if shot[title]:
            rows = [{**row, "since": _ago(row["since"], shot["at"])} for row in shot[title]]
            parts.append(table_of(rows, "last errors" if title == "errors" else title))
    if shot["reasons"]:
        parts.append(_reasons(shot["reasons"]))
    return Group(*parts)


def _reasons(reasons: list[str]) -> Table:
    table = Table(
        title="not fully working because", title_justify="left", show_edge=False, box=None
    )
    table.add_column(overflow="fold")
    for reason in reasons:
        table.add_row(escape(reason))
    return table


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join([f"{n} {unit}" for n, unit in parts if n][:2]) or "0 s"


def _ago(at: float | None, now: float) -> str:
    return "" if at is None else f"{_span(max(0.0, now - at))} ago"


# Verdict

Severity = Literal["ok", "note", "bad"]


@dataclass(frozen=True)
class Verdict:
    """The result of one check. ``ill``: only a restart of the service helps."""

    check: str
    state: Severity
    found: str
    advice: str = ""
    ill: bool = False


def judge(settings: Settings, now: float | None = None) -> list[Verdict]:
    """Check the health of the service. Missing weights are a note: a choice, not a fault."""
    now = time.time() if now is None else now
    try:
        with client(settings, 20.0) as line:
            health = ask(line, "/health").json()
            running = ask(line, "/jobs", state="running", limit=100).json()["jobs"]
    except Refused as error:
        advice = "the service is running; this command lacks its token"
        return [Verdict("service", "bad", str(error), advice), *_left(settings)]
    except NoAnswer as error:
        if (seconds := _starting_s(settings, now)) is not None:
            words = f"{error}; its process started {_span(seconds)} ago"
            return [Verdict("service", "note", words, "wait"), *_left(settings)]
        advice = "start it with tiktok-ray serve or systemctl --user start tiktok-ray"
        down = Verdict("service", "bad", str(error), advice, ill=True)
        return [down, *_disk_here(settings), *_left(settings)]
    up_s = now - health["since"]
    return [
        _service(settings, health, up_s),
        *_troubles(health),
        _queue(health["queue"]),
        *_jobs(running, now),
        _disk(settings, health["disk"]),
        *_left(settings),
    ]


def _starting_s(settings: Settings, now: float) -> float | None:
    """How long ago the service's process began, while it still may be starting; else None."""
    ages = [now - owner.started for _, owner in service_home.marked(settings) if owner.alive()]
    return min(ages) if ages and min(ages) < STARTING_S else None


def _service(settings: Settings, health: Mapping[str, Any], up_s: float) -> Verdict:
    words = f"{address(settings)} answers, up {_span(up_s)}"
    if health["ready"]:
        return Verdict("service", "ok", words)
    if up_s < STARTING_S:
        return Verdict("service", "note", f"{words}, not ready yet", "wait, or check its log")
    return Verdict("service", "bad", f"{words}, not ready", "restart it", ill=True)


def _troubles(health: Mapping[str, Any]) -> Iterable[Verdict]:
    """The service's reasons: what lacks weights or is not built is a note, the rest is bad."""
    fleet = health["fleet"]
    settled = tuple(f"{name}: " for name in fleet["unavailable"])
    lacking = [r for r in health["reasons"] if r.startswith(settled)]
    troubles = [r for r in health["reasons"] if r not in lacking]
    found = f"{fleet['planned']} analyzers planned, {len(fleet['loaded'])} loaded"
    if lacking:
        words = f"{found}, {len(lacking)} cannot run"
        yield Verdict("fleet", "note", words, "tiktok-ray models list; tiktok-ray models pull")
    else:
        yield Verdict("fleet", "ok", found)
    for trouble in troubles:
        if "of disk space are free" not in trouble:
            yield Verdict("trouble", "bad", trouble, "check the log: docs/operations.md")


def _queue(queue: Mapping[str, Any]) -> Verdict:
    words = (
        f"{queue['running']} running, {queue['queued']} of {queue['queue_limit']} queue slots used"
    )
    full = queue["queued"] >= queue["queue_limit"] > 0
    advice = "new jobs are refused with 429 until some finish" if full else ""
    return Verdict("queue", "bad" if full else "ok", words, advice)


def _jobs(running: list[dict[str, Any]], now: float) -> Iterable[Verdict]:
    for job in running:
        seconds = now - (job["started"] or now)
        if seconds > LONG_JOB_S:
            words = f"job {job['id']} has been running for {_span(seconds)}"
            yield Verdict("jobs", "bad", words, f"cancel it with DELETE /jobs/{job['id']}")


def _disk(settings: Settings, disk: Mapping[str, Any]) -> Verdict:
    words = f"{disk['free_gib']:.1f} GiB free, the reserve is {settings.disk_reserve_gib:g}"
    short = disk["free_gib"] < settings.disk_reserve_gib
    advice = "free some disk space, or lower TIKTOK_RAY_KEEP_GIB or TIKTOK_RAY_KEEP_DAYS"
    return Verdict("disk", "bad" if short else "ok", words, advice if short else "")


def _disk_here(settings: Settings) -> Iterable[Verdict]:
    """The disk of the home, as it is seen without the service."""
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(settings.home).free
        yield _disk(settings, {"free_gib": free / 2**30})


def _left(settings: Settings) -> Iterable[Verdict]:
    left = service_home.clean(settings, dry_run=True)
    if left.processes:
        words = f"{len(left.processes)} processes outlived their service"
        yield Verdict("leftovers", "bad", words, "tiktok-ray maintain cleanup")
    else:
        yield Verdict("leftovers", "ok", "no process outlived its service")


def main() -> None:
    """Exit 0 if the service responds, for a container's health check."""
    status = pulse(Settings())
    print(status or "no answer")
    sys.exit(0 if status else 1)


if __name__ == "__main__":
    main()
