"""Examples of fields from reports: ``python -m benchmarks.field_examples REPORT.json …``.

Takes the first value that each field has in the reports, shortens long ones, and keeps the example
that a field has already where the reports have none; where there is none either, takes what the
analyzer says of the inputs that its own test makes. Writes ``tiktok_ray/reporting/field_examples.json``; says
which fields have no example yet, and exits 1 then. Afterwards make the page again:
``tiktok-ray schema --markdown > docs/fields.md``.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tiktok_ray.analyzer import Partial
from tiktok_ray.catalog import make_graph
from tiktok_ray.json_text import json_text
from tiktok_ray.report import rounded
from tiktok_ray.reporting import schema

#: Most items of a list, of one within it (a box has four), and letters of a text in an example.
ITEMS, INNER, LETTERS = 3, 4, 60


def paths() -> list[str]:
    """Every field that wants an example: those that hold no further fields."""
    parts = [*schema.COMMON.items(), *sorted(make_graph().outputs.items())]
    return [
        field.path
        for name, model in parts
        for field in schema.fields_of(model, name)
        if not field.holds_fields
    ]


def values(value: Any, path: str, wanted: set[str]) -> Iterator[tuple[str, Any]]:
    """Fields of a JSON value that are wanted, by path."""
    if path in wanted:
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            # Of a dictionary all values have one path; a model's fields have their own.
            below = f"{path}.{key}"
            known = any(one == below or one.startswith(f"{below}.") for one in wanted)
            yield from values(inner, below if known else path, wanted)
    elif isinstance(value, list):
        for inner in value:
            yield from values(inner, path, wanted)


def shortened(value: Any, items: int = ITEMS) -> Any:
    """A value as an example: long ones cut, and of a path the file's name, not where it lies."""
    if isinstance(value, str) and value.startswith("/"):
        value = Path(value).name
    if isinstance(value, str) and len(value) > LETTERS:
        return value[: LETTERS - 1] + "…"
    if isinstance(value, list):
        return [shortened(one, INNER) for one in value[:items]]
    if isinstance(value, dict):
        return {key: shortened(one) for key, one in list(value.items())[:ITEMS]}
    return value


def collected(reports: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The first value with something in it that each field has; else an empty one."""
    wanted, found = set(paths()), dict[str, Any]()
    for report in reports:
        parts = {name: report.get(name) for name in schema.COMMON if name != "section"}
        parts["section"] = [
            {k: v for k, v in section.items() if k != "output"}
            for section in report["analyzers"].values()
        ]
        parts |= {name: section.get("output") for name, section in report["analyzers"].items()}
        for name, part in parts.items():
            for path, value in values(part, name, wanted):
                if value is not None and not found.get(path):
                    found[path] = shortened(value)
    return found


def made(name: str) -> Iterator[dict[str, Any]]:
    """Outputs of an analyzer for the inputs that its test makes, as in reports."""
    module = importlib.import_module(f"tests.actors.test_{name}")
    for analyzer, inputs in module.varied():
        output = analyzer.analyze(**inputs)
        output = output.output if isinstance(output, Partial) else output
        yield dict(rounded(output.model_dump(mode="json", exclude_none=True, by_alias=True)))


def main() -> int:
    reports = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    file = schema.HERE / "field_examples.json"
    known, wanted = dict(schema.examples()), paths()
    known |= collected(reports)
    for name in sorted(make_graph().outputs):
        if any(path.startswith(f"{name}.") and path not in known for path in wanted):
            outputs = [{"analyzers": {name: {"output": output}}} for output in made(name)]
            known = collected(outputs) | known
    file.write_text(json_text({path: known[path] for path in wanted if path in known}) + "\n")
    lacking = [path for path in wanted if path not in known]
    print("\n".join(lacking) or "every field has an example")
    return bool(lacking)


if __name__ == "__main__":
    sys.exit(main())
