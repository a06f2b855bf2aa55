"""Loading reports from files, of this schema version or an older one, with typed outputs.

Files omit None values; loading restores them. Data missing from an older report is not made up: a
field that it lacks and that has no default is absent, so accessing it raises ``AttributeError``, and
``Report.remarks`` names it.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, PrivateAttr, TypeAdapter, ValidationError

from tiktok_ray.catalog import make_graph
from tiktok_ray.report import SCHEMA_VERSION, Output, Section, VideoReport
from tiktok_ray.reporting.files import write_report

T = TypeVar("T", bound=Output)
M = TypeVar("M", bound=BaseModel)


class NoReport(ValueError):
    """A file is not a report, or has a newer schema version; the message says which."""


class _DoesNotFit(ValueError):
    """A value is not what its field takes; the message says which and why."""


class Report(VideoReport):
    """A report on one video, with typed outputs of its analyzers.

    ``remarks`` lists what could not be interpreted, in an older report or of an analyzer that is not
    installed; it is empty for reports written by this version.
    """

    _remarks: tuple[str, ...] = PrivateAttr(())

    @property
    def remarks(self) -> tuple[str, ...]:
        return self._remarks

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """Read a report from its file. Raises ``OSError`` and ``NoReport``."""
        try:
            value = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise NoReport(f"{path} is not a report: it is not JSON: {error}") from None
        try:
            return cls.of(value)
        except NoReport as error:
            raise NoReport(f"{path}: {error}") from None

    @classmethod
    def of(cls, value: Any) -> Report:
        """A report from its JSON value. Raises ``NoReport``."""
        sections = value.get("analyzers") if isinstance(value, dict) else None
        if not isinstance(sections, dict) or "video" not in value:
            raise NoReport("this is not a report: it has neither video nor analyzers")
        version = str(value.get("schema_version"))
        if version == SCHEMA_VERSION:
            reader = _Reader(older=False)
        elif version in OLDER:
            reader = _Reader(older=True)
        else:
            raise NoReport(
                f"this report has schema version {version}, but this version reads"
                f" {', '.join((*OLDER, SCHEMA_VERSION))}; use a newer tiktok_ray"
            )
        try:
            return reader.report(cls, value)
        except ValidationError as error:
            raise NoReport(f"this is not a report: {_first(error)}") from None
        except _DoesNotFit as error:
            raise NoReport(f"this is not a report: {error}") from None

    @classmethod
    def typed(cls, report: VideoReport) -> Report:
        """A newly made report, whose outputs are already typed."""
        return cls.model_construct(**{n: getattr(report, n) for n in VideoReport.model_fields})

    def save(self, folder: str | Path) -> Path:
        """Write it to ``<video id>.json``, or next to a more complete report of the same video, like the
        command ``analyze``; returns the path. Raises ``report_files.CannotWrite``.
        """
        return write_report(self, Path(folder)).path

    def output(self, kind: type[T]) -> T | None:
        """The output of that type, such as ``Cuts``; None where there is none."""
        return next((one for one in self._outputs() if isinstance(one, kind)), None)

    def _outputs(self) -> Iterator[Output]:
        for section in self.analyzers.values():
            if isinstance(section.output, Output):
                yield section.output


#: Older forms that are read. Since 1.0 fields were added, and none was renamed or removed.
OLDER = ("1.0",)


def _first(error: ValidationError) -> str:
    one = error.errors()[0]
    return ": ".join(filter(None, (".".join(map(str, one["loc"])), one["msg"])))


@cache
def _types() -> Mapping[str, type[Output]]:
    return make_graph().outputs


class _Reader:
    """Reads one report; ``older`` says whether it may lack and hold what today's form does not."""

    def __init__(self, *, older: bool) -> None:
        self.older = older
        self.remarks: list[str] = []

    def report(self, kind: type[Report], value: Mapping[str, Any]) -> Report:
        outputs = {
            name: self._output(name, section["output"])
            for name, section in value["analyzers"].items()
            if isinstance(section, dict) and section.get("output") is not None
        }
        sections = {
            name: {k: v for k, v in section.items() if k != "output"}
            if name in outputs
            else section
            for name, section in value["analyzers"].items()
        }
        made = self._model(kind, {**value, "analyzers": sections}, "")
        typed: dict[str, Section] = {
            name: section.model_copy(update={"output": outputs.get(name)})
            for name, section in made.analyzers.items()
        }
        made = made.model_copy(update={"analyzers": typed})
        made._remarks = tuple(dict.fromkeys(self.remarks))
        return made

    def _output(self, name: str, value: Any) -> Output | dict[str, Any]:
        """The output as its type; as it stands where that type is not known or does not fit."""
        kind = _types().get(name)
        if kind is None:
            self.remarks.append(f"{name}: no such analyzer is installed; its output is left as is")
            return dict(value)
        try:
            return self._model(kind, value, name)
        except ValidationError as error:
            raise _DoesNotFit(f"{name}.{_first(error)}") from None
        except _DoesNotFit as error:
            self.remarks.append(f"the output of {name} is left as is: {error}")
            return dict(value)

    def _model(self, kind: type[M], value: Any, where: str) -> M:
        """A model. That of an older report is put together field by field, without what it lacks."""
        whole = _completed(kind, value)
        if not self.older:
            return kind.model_validate(whole)
        try:
            return kind.model_validate(whole)
        except ValidationError:
            return self._pieces(kind, value, where)

    def _pieces(self, kind: type[M], value: Any, where: str) -> M:
        if not isinstance(value, dict):
            return kind.model_validate(value)  # which says what is wrong
        made: dict[str, Any] = {}
        keys = {field.alias or name: name for name, field in kind.model_fields.items()}
        at = f"{where}." if where else ""
        for key, name in keys.items():
            field = kind.model_fields[name]
            if key in value:
                try:
                    made[name] = self._value(field.annotation, value[key], f"{at}{name}")
                except ValidationError as error:
                    raise _DoesNotFit(f"{at}{name}: {_first(error)}") from None
            elif not field.is_required():
                made[name] = field.get_default(call_default_factory=True)
            elif _may_be_none(field.annotation):
                made[name] = None
            else:
                self.remarks.append(f"{at}{name} is missing")
        self.remarks += [f"{at}{key} is no longer known" for key in value if key not in keys]
        return kind.model_construct(_fields_set=set(made), **made)

    def _value(self, annotation: Any, value: Any, where: str) -> Any:
        """A field's value by its annotation, models in it by ``_model``."""
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if value is None and _may_be_none(annotation):
            return None
        if origin in (typing.Union, types.UnionType) and (model := _model_of(annotation, value)):
            return self._value(model, value, where)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return self._model(annotation, value, where)
        if origin in (list, tuple) and isinstance(value, list) and _has_models(annotation):
            return origin(self._value(arguments[0], one, where) for one in value)
        if origin is dict and isinstance(value, dict) and _has_models(annotation):
            return {k: self._value(arguments[1], one, where) for k, one in value.items()}
        return _adapter(annotation).validate_python(value)


def _completed(annotation: Any, value: Any) -> Any:
    """The JSON value with None where a file leaves it out."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        model = _model_of(annotation, value)
        return value if model is None else _completed(model, value)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not isinstance(value, dict):
            return value
        whole = dict(value)
        for name, field in annotation.model_fields.items():
            key = field.alias or name
            if key in value:
                if _has_models(field.annotation):
                    whole[key] = _completed(field.annotation, value[key])
            elif field.is_required() and _may_be_none(field.annotation):
                whole[key] = None
        return whole
    if origin in (list, tuple) and isinstance(value, list) and _has_models(annotation):
        return [_completed(arguments[0], one) for one in value]
    if origin is dict and isinstance(value, dict) and _has_models(annotation):
        return {key: _completed(arguments[1], one) for key, one in value.items()}
    return value


def _model_of(annotation: Any, value: Any) -> Any:
    """What of a union a JSON value stands for, where that is a model or holds models."""
    if value is None:
        return None
    kinds = [a for a in typing.get_args(annotation) if _has_models(a)]
    return kinds[0] if len(kinds) == 1 else None


def _may_be_none(annotation: Any) -> bool:
    return type(None) in typing.get_args(annotation)


def _has_models(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(map(_has_models, typing.get_args(annotation)))


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)
