"""What every analyzer must keep, tried on all of them.

Each analyzer's test module has ``varied()``: the analyzer ready to run, with at least three
different inputs, over which every field that is not a setting must take two values. A field that
stays the same whatever comes in is the fault this project was made to end.
"""

import copy
import importlib
from collections import defaultdict
from functools import cache
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from actors import ANALYZERS
from tiktok_ray.analyzer import Analyzer, Partial, Skip
from tiktok_ray.graph import Graph
from tiktok_ray.media import Audio, Frames
from tiktok_ray.report import Output, rounded, undeclared
from tiktok_ray.reporting.schema import analyzer_schema

GRAPH = Graph(ANALYZERS)
EVERY = pytest.mark.parametrize("analyzer", ANALYZERS, ids=lambda a: a.name)


def varied(analyzer: type[Analyzer]) -> list[tuple[Analyzer, dict[str, Any]]]:
    module = importlib.import_module(f"tests.actors.test_{analyzer.name}")
    made: list[tuple[Analyzer, dict[str, Any]]] = module.varied()
    return made


def output_of(result: Output | Partial) -> Output:
    return result.output if isinstance(result, Partial) else result


@cache
def outputs_of(analyzer: type[Analyzer]) -> list[Output]:
    return [output_of(a.analyze(**inputs)) for a, inputs in varied(analyzer)]


@EVERY
def test_every_field_says_what_it_rests_on(analyzer):
    assert list(undeclared(GRAPH.outputs[analyzer.name])) == []


@EVERY
def test_the_class_says_what_it_is(analyzer):
    assert analyzer.__doc__
    assert analyzer.variants
    assert len({v.name for v in analyzer.variants}) == len(analyzer.variants)
    assert analyzer.needs.timeout_s > 0
    assert any(v.cpu for v in analyzer.variants), "nothing of it runs on a laptop"
    for variant in analyzer.variants:
        for weights in variant.weights.values():
            assert weights.licence


@EVERY
def test_no_field_is_constant(analyzer):
    outputs = outputs_of(analyzer)
    assert len(outputs) >= 3
    seen: dict[str, set[str]] = defaultdict(set)
    for output in outputs:
        for path, values in leaves(output).items():
            seen[path].add(repr(values))
    constant = {p for p in fields(GRAPH.outputs[analyzer.name]) if len(seen.get(p, ())) < 2}
    assert not constant


@EVERY
def test_outputs_survive_json_and_have_events_in_time(analyzer):
    for output in outputs_of(analyzer):
        assert type(output).model_validate_json(output.model_dump_json()) == output
        written = rounded(output.model_dump(mode="json", exclude_none=True))
        Draft202012Validator(analyzer_schema(analyzer.name)).validate(written)
        assert output.headline()
        for event in output.events():
            assert event.analyzer == analyzer.name
            assert event.end >= event.start >= 0


@EVERY
def test_no_state_between_videos_and_inputs_untouched(analyzer):
    cases = varied(analyzer)
    a = cases[0][0]
    if all(type(b) is type(a) for b, _ in cases):
        before = copy.deepcopy(cases[1][1])
        cases[1][0].analyze(**cases[1][1])
        for name, value in cases[1][1].items():
            assert same(value, before[name]), name
    assert output_of(a.analyze(**cases[0][1])) == outputs_of(analyzer)[0]


@EVERY
def test_tracks_without_content_do_not_crash(analyzer):
    """One flat picture, and one second of silence: a result or a reasoned skip."""
    a, inputs = varied(analyzer)[0]
    flat = np.full((96, 64, 3), 128, np.uint8)
    inputs = dict(inputs)
    for edge in GRAPH.edges[analyzer.name]:
        value = inputs.get(edge.source)
        if isinstance(value, Frames):
            inputs[edge.source] = Frames.of([0.0], [flat], 0.04)
        elif isinstance(value, Audio):
            inputs[edge.source] = silence()
        elif edge.soft:
            inputs[edge.source] = None
    try:
        words = output_of(a.analyze(**inputs)).headline()
    except Skip as reason:
        words = str(reason)
    assert words


def silence() -> Audio:
    from tiktok_ray.media import Levels
    from tiktok_ray.media.spans import Span

    zero = np.zeros(10)
    samples = np.zeros(16_000, np.float32)
    for array in (zero, samples):
        array.flags.writeable = False
    return Audio(samples, Levels(zero, zero, zero, 48_000, 1), (Span(0.0, 1.0),))


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Frames):
        return bool((a.i420 == b.i420).all() and (a.times == b.times).all())
    if isinstance(a, Audio):
        return bool((a.samples == b.samples).all())
    return bool(a == b)


def leaves(model: BaseModel, prefix: str = "") -> dict[str, list[Any]]:
    """Values by dotted field path; the items of a list share a path."""
    found: dict[str, list[Any]] = defaultdict(list)
    for name in type(model).model_fields:
        value, path = getattr(model, name), f"{prefix}{name}"
        found[path].append(repr(value))
        items = value.values() if isinstance(value, dict) else value
        for item in (
            items if isinstance(items, list | tuple) or isinstance(value, dict) else [value]
        ):
            if isinstance(item, BaseModel):
                for inner, values in leaves(item, f"{path}.").items():
                    found[inner] += values
    return found


def fields(model: type[BaseModel], prefix: str = "", depth: int = 4) -> set[str]:
    """Paths of all fields that are not settings."""
    from tiktok_ray.report import _models_in

    found = set()
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("basis") == "setting":
            continue
        found.add(f"{prefix}{name}")
        if depth:
            for inner in _models_in(field.annotation):
                found |= fields(inner, f"{prefix}{name}.", depth - 1)
    return found
