"""The metadata of the fields of analyzer outputs, for the viewer's tooltips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import sha256
from typing import Any

from pydantic import BaseModel

from tiktok_ray.analyzer import Lane

Hint = dict[str, str]


@cache
def hints() -> dict[str, dict[str, Hint]]:
    """By analyzer and field (``loudness.momentary``): about, basis, unit, range, method, and its
    error, where that was measured.
    """
    from tiktok_ray.catalog import make_graph
    from tiktok_ray.reporting.schema import measured_errors

    made = {name: dict(_fields(output)) for name, output in make_graph().outputs.items()}
    for path, error in measured_errors().items():
        name, _, field = path.partition(".")
        if field in made.get(name, {}):
            made[name][field]["error"] = error
    return made


def lanes(names: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Lanes of the timeline beside those that the viewer draws in its own way: of installed analyzers
    and of those with these names, each with title and hue.
    """
    from tiktok_ray.catalog import make_graph

    analyzers = make_graph().analyzers
    made = {}
    for name in (*analyzers, *names):
        lane = analyzers[name].lane if name in analyzers else None
        if lane is None:
            title = name.replace("_", " ").capitalize()
            lane = Lane(title, int(sha256(name.encode()).hexdigest(), 16) % 360)
        made[name] = {"analyzer": name, "title": lane.title, "hue": lane.hue}
    return list(made.values())


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Hint]]:
    """Fields of a model and of the single models it holds; lists of models are left out."""
    for name, field in model.model_fields.items():
        extra: Any = field.json_schema_extra or {}
        hint = {
            key: str(extra[key]) for key in ("basis", "unit", "range", "method") if key in extra
        }
        yield prefix + name, {"about": field.description or "", **hint}
        for inner in _single(field.annotation):
            yield from _fields(inner, f"{prefix}{name}.")


def _single(annotation: Any) -> Iterator[type[BaseModel]]:
    """The model that an annotation names, alone or beside None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif type(None) in getattr(annotation, "__args__", ()):
        for argument in annotation.__args__:
            yield from _single(argument)
