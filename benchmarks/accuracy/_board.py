"""What was measured last of each analyzer, kept in ``board.json``, and the pages made from it.

``board.json`` is the one place: docs/accuracy.md and the package's ``measured_errors.json`` (what
schema, docs/fields.md and viewer say of a field's error) are made from it by ``publish``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from actors import NAMES
from benchmarks.accuracy import Figure, Row, tables
from benchmarks.accuracy._tables import figures_markdown, grid, interval_of, markdown, number
from tiktok_ray.reporting import schema

ROOT = Path(__file__).parents[2]
BOARD = Path(__file__).parent / "board.json"
PAGE = ROOT / "docs" / "accuracy.md"
ALL_FIELDS = ROOT / "docs" / "fields.md"
ERRORS = Path(schema.__file__).parent / "measured_errors.json"
US = Figure._field_defaults["by"]

Board = dict[str, dict[str, Any]]  # by analyzer

HEAD = """# How right it is

Made by `python -m benchmarks.accuracy --publish` from `benchmarks/accuracy/board.json`; the command
of each part measures it again, and with `--keep` puts it there. Clips of the factory
(`python -m benchmarks.factory`) are made, so that their truth is known exactly; real ones were
labelled by eye. Either stand apart. Values are followed by 95 % of bootstrap draws over whole clips;
where all clips agree, by the rule of three. `not measured` is what nobody has measured here, with the
reason. What is measured of a field stands in its `error` too, in [fields.md](fields.md), the JSON Schema
and the viewer.
"""


def board() -> Board:
    """What is kept."""
    kept: Board = json.loads(BOARD.read_text(encoding="utf-8"))
    return kept


def keep(record: Mapping[str, Any]) -> None:
    """Take what a run measured (its ``--json``) in the place of what was known of its analyzers."""
    kept = board() if BOARD.is_file() else {}
    about = {key: record[key] for key in ("date", "command", "versions", "factory")}
    for name, one in record["analyzers"].items():
        weights = record["weights"].get(name, [])
        kept[name] = {**about, "weights": weights, **one}
    BOARD.write_text(written(kept), encoding="utf-8")


def written(kept: Board) -> str:
    """The board as JSON, a figure or row a line, so that changes can be read."""
    lines = []
    for name, one in sorted(kept.items()):
        parts = []
        for key, value in one.items():
            if key in ("figures", "rows"):
                items = ",\n".join(f"   {_line(_shortened(item))}" for item in value)
                parts.append(f"  {_line(key)}: [\n{items}\n  ]" if value else f"  {_line(key)}: []")
            else:
                parts.append(f"  {_line(key)}: {_line(value)}")
        lines.append(f" {_line(name)}: {{\n" + ",\n".join(parts) + "\n }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _shortened(item: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not there, and with four decimals."""
    return {
        key: round(value, 4) if isinstance(value, float) else value
        for key, value in item.items()
        if value is not None and value != "" and not (key == "holds" and "measure" in item)
    }


def figures_of(one: Mapping[str, Any]) -> list[Figure]:
    return [Figure(**{"value": None, **told}) for told in one["figures"]]


def rows_of(one: Mapping[str, Any]) -> list[Row]:
    return [Row(**{"file": "", **told}) for told in one["rows"]]


def publish() -> None:
    """Write the page, the errors of fields, and the page of fields that tells them."""
    kept = board()
    PAGE.write_text(page(kept), encoding="utf-8")
    errors = json.dumps(field_errors(kept), ensure_ascii=False, indent=1, sort_keys=True)
    ERRORS.write_text(errors + "\n", encoding="utf-8")
    schema.measured_errors.cache_clear()
    ALL_FIELDS.write_text(schema.markdown(), encoding="utf-8")


# The errors of fields


def field_errors(kept: Board) -> dict[str, str]:
    """By path of a field: its measured error in words, with n and date."""
    errors: dict[str, str] = {}
    for name, table in tables().items():
        if name not in kept:
            continue
        ours = [f for f in figures_of(kept[name]) if f.by == US and f.value is not None]
        paths = {path for told in table.fields.values() for path in told}
        for path in sorted(paths):
            about = [f for f in ours if path in table.fields.get((f.measure, f.condition), ())]
            if about:
                errors[f"{name}.{path}"] = f"{in_words(about)}; {kept[name]['date']}"
    return errors


def in_words(figures: Iterable[Figure]) -> str:
    """Figures in a line, those of one measure together."""
    by_measure: dict[str, list[str]] = {}
    for f in figures:
        of = f"{f.of}, {f.clips}: {interval_of(f)}, n = {f.n} {f.unit}"
        by_measure.setdefault(f.measure, []).append(of)
    return "; ".join(f"{measure} of {'; '.join(told)}" for measure, told in by_measure.items())


# The page


def page(kept: Board) -> str:
    """docs/accuracy.md."""
    return "\n".join([HEAD, summary(kept), "", *(section(n, kept.get(n)) for n in sorted(NAMES))])


def summary(kept: Board) -> str:
    """One line an analyzer: how much was measured, when, and how much of what must hold does."""
    lines = []
    for name in sorted(NAMES):
        one = kept.get(name)
        told = holding(one) if one else []
        measured = one and (one["rows"] or any(f.value is not None for f in figures_of(one)))
        lines.append((
            f"[{name}](#{name})", one["date"] if one and measured else "not measured",
            f"{sum(told)} of {len(told)}" if told else "",
        ))  # fmt: skip
    return grid(("analyzer", "measured", "holds"), lines)


def holding(one: Mapping[str, Any]) -> list[bool]:
    answers = [f.holds for f in figures_of(one)] + [r.holds for r in rows_of(one)]
    return [holds for holds in answers if holds is not None]


def section(name: str, one: Mapping[str, Any] | None) -> str:
    """All that is known of one analyzer."""
    parts = [f"## {name}", ""]
    if one is None:
        return "\n".join([*parts, "Not measured: nobody has yet.", ""])
    versions = ", ".join(f"{library} {v}" for library, v in one["versions"].items())
    weights = ", ".join(f"`{w}`" for w in one["weights"]) or "none needed or none at hand"
    edition, share = one["factory"]["edition"], one["factory"]["share"]
    took = f"; {one['seconds']} s" if "seconds" in one else ""
    parts += [
        f"{one['date']}, `{one['command']}`; weights: {weights}; {versions}; "
        f"edition {edition} of the factory, {share:.0%} of its clips{took}.",
        "",
    ]
    figures = figures_of(one)
    for clips, title in (("factory", "Clips of the factory"), ("real", "Real clips")):
        some = [f for f in figures if f.clips == clips]
        if some:
            ours = figures_markdown(f for f in some if f.by == US)
            parts += [f"### {title}: {name}", "", ours, ""]
            if others := beside(some):
                parts += ["Beside others, on the same clips in the same run:", "", others, ""]
    if one["rows"]:
        parts += [f"### One by one: {name}", "", markdown(rows_of(one)), ""]
    parts += [f"Not measured: {reason}.\n" for reason in one["not_measured"]]
    return "\n".join(parts)


def beside(figures: Sequence[Figure]) -> str:
    """Ours and the peers' values, a column each; nothing where there are no peers."""
    names = list(dict.fromkeys(f.by for f in figures))
    if len(names) < 2:
        return ""
    lines: dict[tuple[str, str, str], dict[str, Figure]] = {}
    for f in figures:
        lines.setdefault((f.measure, f.of, f.condition), {})[f.by] = f
    return grid(
        ("measure", "of", *names),
        [
            (measure, of, *(_value(told.get(name)) for name in names))
            for (measure, of, _), told in lines.items()
            if len(told) > 1
        ],
    )


def _value(figure: Figure | None) -> str:
    return "" if figure is None or figure.value is None else number(figure.value)
