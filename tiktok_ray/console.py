"""What a person sees on a terminal: the live table, the plain lines, and the summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterable, Sequence
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from tiktok_ray.engine import Progress
from tiktok_ray.report import NOT_SELECTED, StreamInfo, VideoReport

WIDTH_WHEN_PIPED = 160


def console_for(file: TextIO) -> Console:
    """A console for a stream; wide where nobody's terminal limits it."""
    return Console(file=file, highlight=False, width=None if file.isatty() else WIDTH_WHEN_PIPED)


#: Everything but the answer itself goes to stderr.
console = Console(
    stderr=True, highlight=False, width=None if sys.stderr.isatty() else WIDTH_WHEN_PIPED
)

STYLES = {
    "ok": "green",
    "partial": "yellow",
    "skipped": "dim",
    "unavailable": "dim",
    "failed": "bold red",
    "timed_out": "bold red",
    "running": "bold cyan",
    "loading": "cyan",
}


class Display:
    """Shows progress: a live table on a terminal, one line per event elsewhere."""

    def __init__(self, title: str, names: Collection[str]) -> None:
        self.title = title
        self.rows: dict[str, Progress] = {}
        self.names = list(names)
        self.since: dict[str, float] = {}
        self.begin = time.perf_counter()
        self.live = (
            Live(get_renderable=self._table, console=console, refresh_per_second=8, transient=True)
            if console.is_terminal
            else None
        )

    def __call__(self, progress: Progress) -> None:
        self.rows[progress.name] = progress
        self.since[progress.name] = time.perf_counter()
        if self.live is None and progress.state not in ("waiting", "loading"):
            self._line(progress)

    def _line(self, p: Progress) -> None:
        if p.found == NOT_SELECTED:
            return
        at = time.perf_counter() - self.begin
        seconds = f" {p.seconds:.2f} s" if p.seconds else ""
        found = f"  {p.found}" if p.found else ""
        print(f"[{at:6.1f} s] {p.name}: {p.state}{seconds}{found}", file=sys.stderr, flush=True)

    def _table(self) -> Table:
        now = time.perf_counter()
        table = Table(title=f"{self.title}  {now - self.begin:.1f} s", title_justify="left")
        for column, width in (("analyzer", 28), ("state", 12), ("s", 6)):
            table.add_column(column, width=width, justify="right" if column == "s" else "left")
        table.add_column("found", ratio=1, no_wrap=True)
        for name in ("decode", *self.names):
            p = self.rows.get(name)
            if p is None or p.found == NOT_SELECTED:
                continue
            working = p.state in ("running", "loading")
            seconds = now - self.since[name] if working else p.seconds
            table.add_row(
                name,
                f"[{STYLES.get(p.state, 'white')}]{p.state}",
                f"{seconds:.1f}" if seconds else "",
                escape(p.found),
            )
        return table

    def __enter__(self) -> Display:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live:
            self.live.stop()


def _soundless(streams: Iterable[StreamInfo]) -> str:
    return ", no usable sound" if any(s.kind == "audio" for s in streams) else ", no sound"


def summary(report: VideoReport, lacking: Sequence[str]) -> Table:
    """The report for reading: what was measured first, then what was not and why."""
    v = report.video
    table = Table(
        title=f"{escape(v.title or v.id)}: {v.duration_s:.1f} s, {v.width} x {v.height}, "
        f"{v.fps:.2f} fps" + ("" if v.has_audio else _soundless(v.streams)),
        title_justify="left",
        caption="\n".join(map(escape, lacking)),
        caption_justify="left",
        show_edge=False,
    )
    table.add_column("analyzer", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("found, or why not", overflow="fold")
    order = ("ok", "partial", "failed", "timed_out", "skipped", "unavailable")
    for name, section in sorted(
        report.analyzers.items(), key=lambda item: (order.index(item[1].status), item[0])
    ):
        if section.reason == NOT_SELECTED:
            continue
        found = report.summary.found.get(name, "") if report.summary else ""
        lost = "; ".join(f"no {m.part}: {m.reason}" for m in section.missing or [])
        words = ". ".join(w for w in (found, lost, section.reason or "") if w)
        state = f"[{STYLES[section.status]}]{section.status}"
        took = f"{section.seconds:.2f}" if section.seconds else ""
        table.add_row(name, state, "cached" if section.cached else took, escape(words))
    return table


def headline(report: VideoReport, weights_gib: float | None) -> str:
    """``9 of 19 measured; 10 need weights, 3.1 GiB: tiktok-ray models pull``."""
    statuses = [s.status for s in report.analyzers.values()]
    measured = statuses.count("ok") + statuses.count("partial")
    parts = [f"{measured} of {len(statuses)} measured"]
    wanting = [
        name
        for name, s in report.analyzers.items()
        if "models pull" in (s.reason or "")
        or any("models pull" in m.reason for m in s.missing or [])
    ]
    if wanting:
        size = f", {weights_gib:.1f} GiB" if weights_gib else ""
        parts.append(f"{len(wanting)} need weights{size}: tiktok-ray models pull")
    for status, words in (("failed", "failed"), ("timed_out", "timed out")):
        if n := statuses.count(status):  # type: ignore[arg-type]
            parts.append(f"{n} {words}")
    return "; ".join(parts)


def problem(what: str, advice: str = "") -> None:
    """An error for a person: what happened, and what to do."""
    console.print(f"[bold red]error:[/] {escape(what)}", soft_wrap=True)
    if advice:
        console.print(f"  {escape(advice)}", soft_wrap=True)


def table_of(rows: Sequence[dict[str, Any]], title: str = "") -> Table:
    """Rows of equal keys as a table."""
    table = Table(title=title or None, title_justify="left", show_edge=False)
    for key in rows[0] if rows else ():
        table.add_column(key, overflow="fold")
    for row in rows:
        table.add_row(*(escape("" if value is None else str(value)) for value in row.values()))
    return table
