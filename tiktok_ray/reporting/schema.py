"""The published schema of reports: JSON Schema and a page of all fields, derived from the models.

Every field of an output has a ``basis`` (measured, estimated, derived, setting), unit, range and
method in addition to its type, an example, and an ``error``: its deviation from known truth, from
``measured_errors.json``, the only place for such figures; or ``not measured``.

Files omit None values, so the schema has no null where a field may be absent.
"""

from __future__ import annotations

import copy
import json
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel

from tiktok_ray.catalog import make_graph
from tiktok_ray.report import (
    SCHEMA_VERSION,
    Event,
    Output,
    Run,
    Section,
    Summary,
    VideoInfo,
    VideoReport,
)

HERE = Path(__file__).parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"
NOT_MEASURED = "not measured"
#: Parts of a report that belong to no analyzer, as fields of them are named here.
COMMON: Mapping[str, type[BaseModel]] = {
    "summary": Summary,
    "video": VideoInfo,
    "section": Section,
    "timeline": Event,
    "run": Run,
}

Schema = dict[str, Any]


class FieldFacts(NamedTuple):
    """The metadata of a field. ``path`` is dotted, from its analyzer or part of the report, passing
    through lists and dictionaries.
    """

    path: str
    annotation: Any
    about: str
    basis: str
    unit: str
    range: str
    method: str
    holds_fields: bool

    @property
    def may_be_wrong(self) -> bool:
        """Whether an error can be asked for: it is a finding, and not made of others."""
        return self.basis != "setting" and not self.holds_fields


def fields_of(model: type[BaseModel], path: str) -> Iterator[FieldFacts]:
    """All fields of a model, those of models in it right after the field that holds them."""
    for name, field in model.model_fields.items():
        told: Any = field.json_schema_extra or {}
        inner = list(_models_in(field.annotation))
        key = f"{path}.{field.alias or name}"
        yield FieldFacts(
            path=key,
            annotation=field.annotation,
            about=field.description or "",
            basis=str(told.get("basis", "")),
            unit=str(told.get("unit", "")),
            range=str(told.get("range", "")),
            method=str(told.get("method", "")),
            holds_fields=bool(inner),
        )
        for one in inner:
            if one is not Output:  # a section's, which is another with each analyzer
                yield from fields_of(one, key)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


@cache
def measured_errors() -> Mapping[str, str]:
    """By path (``cut_analysis.transitions.start``): how far off it was, against what truth."""
    return dict(json.loads((HERE / "measured_errors.json").read_text(encoding="utf-8")))


@cache
def examples() -> Mapping[str, Any]:
    """By path: a value that the field had in some report."""
    return dict(json.loads((HERE / "field_examples.json").read_text(encoding="utf-8")))


# JSON Schema


def analyzer_schema(name: str) -> Schema:
    """JSON Schema of an analyzer's output. Raises ``GraphError`` for an unknown name."""
    graph = make_graph()
    graph.select([name])
    about = (graph.analyzers[name].__doc__ or "").strip().splitlines()[0]
    return {"$schema": DIALECT, **_plain_schema(graph.outputs[name], name), "description": about}


def report_schema(at: str = "#/$defs/") -> Schema:
    """JSON Schema of a report as written to files, with its parts under ``$defs``.

    ``at``: where references find the parts, for documents that keep them elsewhere.
    """
    made = _plain_schema(VideoReport, "")
    parts: dict[str, Schema] = made.pop("$defs")
    for part, model in COMMON.items():
        _annotate({"$defs": parts}, parts[model.__name__], part, errors=False)
    sections: dict[str, Schema] = {}
    for name, output in sorted(make_graph().outputs.items()):
        schema = _plain_schema(output, name)
        inner = {f"{name}.{key}": value for key, value in schema.pop("$defs", {}).items()}
        inner[f"{name}.{output.__name__}"] = schema
        _move_references(inner, "#/$defs/", f"#/$defs/{name}.")
        section = copy.deepcopy(parts["Section"])
        section["title"] = f"{name} section"
        section["properties"]["output"] = {
            **{k: v for k, v in section["properties"]["output"].items() if k in ("basis",)},
            "$ref": f"#/$defs/{name}.{output.__name__}",
        }
        parts |= inner
        parts[f"{name}.Section"] = section
        sections[name] = {"$ref": f"#/$defs/{name}.Section"}
    made["properties"]["analyzers"] |= {"properties": sections}
    made = {"$schema": DIALECT, "title": f"tiktok_ray report {SCHEMA_VERSION}", **made}
    made["$defs"] = parts
    made["properties"]["schema_version"]["const"] = SCHEMA_VERSION
    if at != "#/$defs/":
        _move_references(made, "#/$defs/", at)
    return made


def _plain_schema(model: type[BaseModel], path: str) -> Schema:
    """The schema of a model as it stands in files: what is None is absent."""
    made = model.model_json_schema(mode="serialization", by_alias=True)
    for one in (made, *made.get("$defs", {}).values()):
        _without_null(one)
    if path:
        _annotate(made, made, path, errors=True)
    return made


def _without_null(schema: Schema) -> None:
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        kinds = field.get("anyOf", [])
        if {"type": "null"} not in kinds:
            continue
        others = [kind for kind in kinds if kind != {"type": "null"}]
        del field["anyOf"]
        field |= others[0] if len(others) == 1 else {"anyOf": others}
        if field.get("default", ...) is None:
            del field["default"]
        if name in required:
            required.remove(name)


def _annotate(root: Schema, schema: Schema, path: str, *, errors: bool) -> None:
    """Give fields their examples and errors, through references, lists and dictionaries."""
    for name, field in schema.get("properties", {}).items():
        key = f"{path}.{name}"
        inner = list(_references(field))
        for reference in inner:
            _annotate(root, root["$defs"][reference.rpartition("/")[2]], key, errors=errors)
        if key in examples():
            field.setdefault("examples", [examples()[key]])
        if errors and not inner and field.get("basis") != "setting":
            known = measured_errors().get(key)
            if known or "error" not in field:
                field["error"] = known or NOT_MEASURED


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(reference := value.get("$ref"), str):
            yield reference
        for key, inner in value.items():
            if key not in ("examples", "default", "properties"):
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _move_references(value: Any, before: str, after: str) -> None:
    if isinstance(value, dict):
        if str(value.get("$ref", "")).startswith(before):
            value["$ref"] = after + value["$ref"].removeprefix(before)
        for inner in value.values():
            _move_references(inner, before, after)
    elif isinstance(value, list):
        for inner in value:
            _move_references(inner, before, after)


# The page

HEAD = f"""# Fields of a report

Every field of schema version {SCHEMA_VERSION}; this page is generated by `tiktok-ray schema --markdown`;
`tiktok-ray schema` prints the same as JSON Schema, `tiktok-ray schema NAME` that of one analyzer's
`output`, and the service includes it in `/openapi.json`.

- **basis**: `measured` by a stated method, `estimated` by a model, `derived` from other findings, or a
  `setting`.
- **error**: how far off it was against known truth; `{NOT_MEASURED}` where this has not been measured yet.
- A field that is absent was not measured or does not apply; there are no placeholder values.
- `[]` stands for the items of a list, `{{}}` for the values of a dictionary. Times are seconds from the first
  displayed frame; numbers are rounded to four decimals.
- Examples are from the report of a real video; those it lacked are from analyzer output on inputs
  generated by the tests.

| part | what |
|---|---|
| `schema_version` | the schema version, `{SCHEMA_VERSION}` |
| [`summary`](#summary) | the report in sentences |
| [`video`](#video) | the file and its origin |
| `analyzers` | the [section](#section) of each analyzer, by name; its `output` is described below |
| [`timeline`](#timeline) | a list of events |
| [`run`](#run) | how the report was made |
"""


def markdown() -> str:
    """The page of all fields, docs/fields.md."""
    graph = make_graph()
    parts = [HEAD]
    for name, model in COMMON.items():
        about = (model.__doc__ or "").strip().splitlines()[0]
        parts.append(_table(name, about, fields_of(model, name), errors=False))
    for name in sorted(graph.outputs):
        about = (graph.analyzers[name].__doc__ or "").strip().splitlines()[0]
        parts.append(_table(name, about, fields_of(graph.outputs[name], name), errors=True))
    return "\n".join(parts)


def _table(name: str, about: str, fields: Iterator[FieldFacts], *, errors: bool) -> str:
    heads = ["field", "type", "what", "basis", "unit", "range", "method"]
    heads += ["error"] if errors else []
    rows = [[*heads, "example"], ["---"] * (len(heads) + 1)]
    marks: dict[str, str] = {name: ""}
    for one in fields:
        above, _, last = one.path.rpartition(".")
        shown = marks[above] + last
        marks[one.path] = shown + _opening(one.annotation) + "."
        row = [f"`{shown}`", _type(one.annotation), one.about, one.basis, one.unit, one.range]
        row.append(one.method)
        if errors:
            known = measured_errors().get(one.path, NOT_MEASURED)
            row.append(known if one.may_be_wrong else "")
        row.append(_shown(examples()[one.path]) if one.path in examples() else "")
        rows.append([cell.replace("|", "\\|").replace("\n", " ") for cell in row])
    lines = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([f"## {name}", "", about, "", *lines, ""])


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _opening(annotation: Any) -> str:
    """How one gets from a field to the fields of what it holds."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return _opening(_some(annotation)[0])
    if origin is typing.Annotated:
        return _opening(typing.get_args(annotation)[0])
    return "[]" if origin in (list, tuple) else "{}" if origin is dict else ""


def _some(annotation: Any) -> list[Any]:
    return [a for a in typing.get_args(annotation) if a is not type(None)]


def _type(annotation: Any) -> str:
    """A type in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(a) for a in _some(annotation)))
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{a}`" for a in arguments)
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is tuple:
        several = arguments[-1] is ...
        return f"{'list' if several else len(arguments)} of {_type(arguments[0])}"
    if origin is dict or annotation is dict:
        return f"{_type(arguments[1])} by name" if arguments else "anything"
    names = {float: "number", int: "integer", str: "text", bool: "true or false", Any: "anything"}
    return names.get(annotation) or f"{getattr(annotation, '__name__', annotation)}"
