"""Examples of fields from reports: ``python -m benchmarks.field_examples REPORT.json …``.

Takes the first value that each field has in the reports, shortens long ones, and keeps the example
that a field has already where the reports have none. Writes ``tiktok_ray/field_examples.json``;
says which fields have no example yet, and exits 1 then. Afterwards make the page again:
``tiktok-ray schema --markdown > docs/fields.md``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tiktok_ray import schema
from tiktok_ray.catalog import make_graph
from tiktok_ray.json_text import json_text

#: Most items of a list and letters of a text that an example shows.
ITEMS, LETTERS = 3, 60


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


def shortened(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LETTERS:
        return value[: LETTERS - 1] + "…"
    if isinstance(value, list):
        return [shortened(one) for one in value[:ITEMS]]
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


def main() -> int:
    reports = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    file = schema.HERE / "field_examples.json"
    known, wanted = dict(schema.examples()), paths()
    known |= collected(reports)
    file.write_text(json_text({path: known[path] for path in wanted if path in known}) + "\n")
    lacking = [path for path in wanted if path not in known]
    print("\n".join(lacking) or "every field has an example")
    return bool(lacking)


if __name__ == "__main__":
    sys.exit(main())
