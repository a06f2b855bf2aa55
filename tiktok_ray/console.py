"""Terminal output: the live table, plain progress lines, and the summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterable, Sequence
from types import TracebackType
from typing import Any, Literal, TextIO

from pydantic import BaseModel
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from tiktok_ray.report import NOT_SELECTED, Section, StreamInfo, VideoReport
from tiktok_ray.run.engine import Progress

WIDTH_WHEN_PIPED = 160
#: Most sentences, and most shots, that are listed.
LISTED = 60
#: How the reason begins where weights are not here; what cannot be read has another.
NO_WEIGHTS = "weights not installed"


def console_for(file: TextIO) -> Console:
    """A console for a stream; wide if no terminal limits it."""
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
        """State and seconds stay whole in a window of 80 columns; what was found is cut short."""
        now = time.perf_counter()
        table = Table(
            title=f"{self.title}  {now - self.begin:.1f} s", title_justify="left", box=None,
            expand=True, padding=(0, 1, 0, 0),
        )  # fmt: skip
        for column, width in (("analyzer", 27), ("state", 11), ("s", 6)):
            justify: Literal["left", "right"] = "right" if column == "s" else "left"
            table.add_column(column, width=width, min_width=width, justify=justify, no_wrap=True)
        table.add_column("found", ratio=1, no_wrap=True, overflow="ellipsis")
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


def told(report: VideoReport, file: Console | None = None) -> None:
    """Print the findings for reading: the summary, the transcript, and the shots."""
    v, out = report.video, file or console
    title = f"{v.title or v.id}: {v.duration_s:.1f} s, {v.width} x {v.height}, {v.fps:.2f} fps"
    out.print(f"[bold]{escape(title + ('' if v.has_audio else _soundless(v.streams)))}[/]\n")
    if report.summary and report.summary.text:
        out.print(escape(report.summary.text) + "\n")
    spoken = _lines(report, "speech_transcription", "segments")
    shots = _lines(report, "cut_analysis", "shots")
    _listed(out, "Transcript", [f"{_clock(s['start'])}  {s['text']}" for s in spoken])
    _listed(out, "Shots", [f"{_clock(s['start'])} to {_clock(s['end'])}" for s in shots], several=4)


def _lines(report: VideoReport, name: str, part: str) -> list[dict[str, Any]]:
    """A list of an output as plain dictionaries; nothing where there is none."""
    section = report.analyzers.get(name)
    output = section.output if section else None
    plain = output.model_dump() if isinstance(output, BaseModel) else output or {}
    return list(plain.get(part) or ())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{minutes:.0f}:{rest:04.1f}"


def _listed(out: Console, title: str, lines: Sequence[str], several: int = 1) -> None:
    """A heading and its lines, at most ``LISTED``, so many of them in a row."""
    if not lines:
        return
    out.print(f"[bold]{title}[/] ({len(lines)})")
    for k in range(0, min(len(lines), LISTED), several):
        out.print("  " + escape("   ".join(lines[k : min(k + several, LISTED)])))
    if len(lines) > LISTED:
        out.print(f"  … {len(lines) - LISTED} more, in the report")
    out.print()


def lacks_weights(section: Section) -> bool:
    """Whether an analyzer, or part of it, could not run because weights are not installed."""
    reasons = [section.reason or "", *(m.reason for m in section.missing or ())]
    return any(reason.startswith(NO_WEIGHTS) for reason in reasons)


def summary(report: VideoReport) -> Table:
    """The analyzers one by one: their status, what they found, and what they could not."""
    table = Table(show_edge=False)
    for column, width in (("analyzer", 27), ("status", 11), ("s", 6)):
        justify: Literal["left", "right"] = "right" if column == "s" else "left"
        table.add_column(column, min_width=width, justify=justify, no_wrap=True)
    table.add_column("result or reason", overflow="fold")
    order = ("ok", "partial", "failed", "timed_out", "skipped", "unavailable")
    for name, section in sorted(
        report.analyzers.items(), key=lambda item: (order.index(item[1].status), item[0])
    ):
        if section.reason == NOT_SELECTED:
            continue
        if section.status == "unavailable" and lacks_weights(section):
            continue  # told in one line for all of them
        found = report.summary.found.get(name, "") if report.summary else ""
        words = ". ".join(w for w in (found, _lost(section), section.reason or "") if w)
        state = f"[{STYLES[section.status]}]{section.status}"
        took = f"{section.seconds:.2f}" if section.seconds else ""
        table.add_row(name, state, "cached" if section.cached else took, escape(words))
    return table


def _lost(section: Section) -> str:
    """What parts are missing, each reason once; those for want of weights or of others in short."""
    reasons: dict[str, list[str]] = {}
    others: dict[str, None] = {}
    for missing in section.missing or ():
        if missing.lacks:
            others |= dict.fromkeys(missing.lacks)
        elif missing.reason.startswith(NO_WEIGHTS):
            reasons.setdefault("weights not installed", []).append(missing.part)
        else:
            reasons.setdefault(missing.reason, []).append(missing.part)
    parts = [f"no {', '.join(parts)}: {reason}" for reason, parts in reasons.items()]
    return "; ".join([*parts, *([f"without {', '.join(others)}"] if others else [])])


def headline(report: VideoReport, weights_gib: float | None) -> str:
    """``7 of 14 measured; weights not installed, 3.1 GiB: …; to get them: tiktok-ray models pull``.

    Counts only analyzers that had work to do, not those skipped.
    """
    statuses = [s.status for s in report.analyzers.values()]
    measured = statuses.count("ok") + statuses.count("partial")
    parts = [f"{measured} of {len(statuses) - statuses.count('skipped')} measured"]
    for status, words in (("failed", "failed"), ("timed_out", "timed out")):
        if n := statuses.count(status):  # type: ignore[arg-type]
            parts.append(f"{n} {words}")
    wanting = [name for name, s in report.analyzers.items() if lacks_weights(s)]
    if wanting:
        some = {name for name in wanting if report.analyzers[name].status == "partial"}
        names = ", ".join(f"{name} (partly)" if name in some else name for name in wanting)
        size = f", {weights_gib:.1f} GiB" if weights_gib else ""
        parts.append(f"weights not installed{size}: {names}; to get them: tiktok-ray models pull")
    return "; ".join(parts)


def problem(what: str, advice: str = "") -> None:
    """Print an error: what happened, and what to do."""
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
