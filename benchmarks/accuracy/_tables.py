"""Rows and figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.accuracy import Figure, Row

SIGNS = {True: "yes", False: "NO", None: ""}


def markdown(rows: Iterable[Row]) -> str:
    """Rows as a Markdown table."""
    return grid(
        ("file", "truth", "figure", "holds"),
        [(row.file, row.truth, row.figure, SIGNS[row.holds]) for row in rows],
    )


def figures_markdown(figures: Iterable[Figure]) -> str:
    """Figures as a Markdown table."""
    return grid(
        ("measure", "of", "condition", "clips", "by", "n", "value", "95 %", "must", "holds"),
        [
            (
                f.measure, f.of, f.condition, f.clips, f.by, f"{f.n} {f.unit}",
                "not measured" + (f": {f.reason}" if f.reason else "")
                if f.value is None else number(f.value),
                spread(f),
                bound(f), SIGNS[f.holds],
            )
            for f in figures
        ],
    )  # fmt: skip


def number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def bound(figure: Figure) -> str:
    """What must hold of a figure, in words of one sign."""
    sides = (("≥", figure.least), ("≤", figure.most))
    return " ".join(f"{sign} {at:g}" for sign, at in sides if at is not None)


def grid(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up."""
    cells = [tuple(head), *body]
    widths = [max(len(line[k]) for line in cells) for k in range(len(head))]
    lines = [
        f"| {' | '.join(cell.ljust(w) for cell, w in zip(line, widths, strict=True))} |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def spread(figure: Figure) -> str:
    """The interval of a figure, where there is one."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{number(figure.low)}–{number(figure.high)}"


def interval_of(figure: Figure) -> str:
    """The value of a figure that was measured, with its interval."""
    between = spread(figure)
    return number(figure.value or 0.0) + (f" ({between})" if between else "")
