"""The published form: what reports keep to, what every field says of itself, and where it is shown."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter
from typer.testing import CliRunner

from benchmarks.field_examples import collected, paths
from tests.made_outputs import run as made_run
from tests.viewer_reports import every_status, report
from tiktok_ray.catalog import make_graph
from tiktok_ray.cli import app
from tiktok_ray.json_text import WIDTH, json_text
from tiktok_ray.report import SCHEMA_VERSION, VideoReport, undeclared
from tiktok_ray.reporting import schema
from tiktok_ray.serve.api import create_app

GRAPH = make_graph()
WHOLE = Draft202012Validator(schema.report_schema())
PAGE = Path(__file__).parents[1] / "docs" / "fields.md"


def faults(value):
    return [f"{error.json_path}: {error.message}" for error in WHOLE.iter_errors(value)]


def test_every_field_of_a_report_says_what_it_rests_on():
    assert list(undeclared(VideoReport)) == []


def test_the_schema_is_one():
    Draft202012Validator.check_schema(schema.report_schema())
    for name in GRAPH.order:
        Draft202012Validator.check_schema(schema.analyzer_schema(name))


@pytest.mark.parametrize("made", [report, every_status], ids=["all nineteen", "every status"])
def test_reports_keep_to_it(made):
    value = made()
    assert len(value["analyzers"]) == 19
    assert faults(value) == []
    for name, section in value["analyzers"].items():
        if "output" in section:
            Draft202012Validator(schema.analyzer_schema(name)).validate(section["output"])


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.update(more=1),
        lambda r: r.update(schema_version="1.0"),
        lambda r: r.pop("run"),
        lambda r: r["run"].pop("wall_s"),
        lambda r: r["summary"].pop("text"),
        lambda r: r["summary"]["statements"][0].update(grounds=[]),
        lambda r: r["timeline"][0].update(kind="nonsense"),
        lambda r: r["analyzers"]["cut_analysis"].update(status="fine"),
        lambda r: r["analyzers"]["cut_analysis"]["output"].pop("shots"),
        lambda r: r["analyzers"]["cut_analysis"]["output"].update(trend=None),
        lambda r: r["analyzers"]["cut_analysis"]["output"]["shots"][0].update(start="0"),
        lambda r: r["analyzers"]["cut_analysis"].update(
            output=r["analyzers"]["color_analysis"]["output"]
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(change):
    value = report()
    change(value)
    assert len(faults(value)) >= 1


def test_a_plug_in_s_section_may_stand_beside_the_others():
    value = report()
    value["analyzers"]["of_a_plug_in"] = {"status": "ok", "seconds": 1, "queued_s": 0, "output": {"n": 1}}  # fmt: skip
    assert faults(value) == []


def properties(node):
    """Every property that a schema defines, by the title of what it belongs to."""
    for part in (node, *node.get("$defs", {}).values()):
        for name, one in part.get("properties", {}).items():
            yield f"{part.get('title')}.{name}", one


@pytest.mark.parametrize("name", GRAPH.order)
def test_every_field_of_an_output_says_all_that_there_is_to_say(name):
    told = dict(properties(schema.analyzer_schema(name)))
    assert told
    for key, one in told.items():
        assert one["basis"] in ("measured", "estimated", "derived", "setting"), key
        assert one["description"], key
        holds = list(schema._references(one))
        assert ("error" in one) == (one["basis"] != "setting" and not holds), key
        assert holds or one["examples"], key


def test_errors_come_from_one_place(monkeypatch):
    path = "cut_analysis.transitions.start"
    monkeypatch.setattr(schema, "measured_errors", lambda: {path: "0.02 s against 40 cuts"})
    made = schema.analyzer_schema("cut_analysis")
    assert made["$defs"]["Transition"]["properties"]["start"]["error"] == "0.02 s against 40 cuts"
    assert made["$defs"]["Transition"]["properties"]["end"]["error"] == "not measured"
    assert "0.02 s against 40 cuts" in schema.markdown()


def test_errors_and_examples_are_of_fields_that_there_are():
    parts = [*schema.COMMON.items(), *GRAPH.outputs.items()]
    known = {f.path: f for name, model in parts for f in schema.fields_of(model, name)}
    wrong = {
        path
        for path, text in schema.measured_errors().items()
        if path not in known or not known[path].may_be_wrong or not text
    }
    assert wrong == set()
    assert set(schema.examples()) <= set(known)
    for path, value in schema.examples().items():
        TypeAdapter(known[path].annotation).validate_python(value)


def test_every_field_has_an_example():
    assert [path for path in paths() if path not in schema.examples()] == []


def test_examples_are_taken_from_reports():
    found = collected([report()])
    assert found["cut_analysis.shots.start"] == 4.0, "the first is 0, which shows less"
    assert found["run.load_s"].keys() <= set(GRAPH.order)
    assert found["summary.statements.from.analyzer"] == "cut_analysis"
    assert len(found["eye_tracking.tracks.times"]) == 3


def test_the_service_s_document_has_the_same():
    def never():
        raise AssertionError("no service is wanted here")

    parts = create_app(never).openapi()["components"]["schemas"]
    text = json.dumps(schema.report_schema()["$defs"]).replace("#/$defs/", "#/components/schemas/")
    for name, part in json.loads(text).items():
        assert parts[name] == part
    assert parts["VideoReport"]["properties"]["run"]["$ref"] == "#/components/schemas/Run"


def test_the_command_prints_it():
    def said(*words):
        done = CliRunner().invoke(app, ["schema", *words])
        return done.exit_code, done.stdout

    assert json.loads(said()[1]) == schema.report_schema()
    assert json.loads(said("cut_analysis")[1]) == schema.analyzer_schema("cut_analysis")
    assert said("cut_anlysis")[0] == 2
    assert said("cut_analysis", "--markdown")[0] == 2
    assert said("--markdown") == (0, schema.markdown())


def test_the_page_of_all_fields_is_current():
    """Else: ``tiktok-ray schema --markdown > docs/fields.md``."""
    assert PAGE.read_text(encoding="utf-8") == schema.markdown()


def test_the_summary_stands_second_and_absent_values_nowhere():
    value = report()
    assert list(value) == ["schema_version", "summary", "video", "analyzers", "timeline", "run"]
    bare = VideoReport.model_validate(
        {**value, "summary": None, "analyzers": {}, "timeline": [], "run": made_run()}
    )
    assert "null" not in bare.to_json()
    assert "summary" not in bare.plain()
    assert bare.plain()["schema_version"] == SCHEMA_VERSION


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -1.5, 1e300, 1e-7, "", "ü \u2028 \" \\ \n", [], {}, [[]], [{}], {"": []},
        [None, [1, "a"], {"b": [True]}], list(range(300)), [[k / 7, k] for k in range(90)],
        [{"start": k, "words": ["a" * k, "b"]} for k in range(60)], {"a": {"b": {"c": "d" * 200}}},
    ],
)  # fmt: skip
def test_json_as_text_is_json_and_every_line_is_short(value):
    text = json_text(value)
    assert json.loads(text) == value
    assert text == text.strip()
    for line in text.splitlines():
        assert len(line) <= WIDTH + 2 or '"dd' in line


def test_json_as_text_is_compact_and_has_a_line_for_each_event():
    value = report()
    text = json_text(value)
    least = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    assert len(text) < 1.4 * least
    lines = [line.strip(" ,") for line in text.splitlines()]
    events = [json.dumps(event, ensure_ascii=False) for event in value["timeline"]]
    assert [event for event in events if len(event) < WIDTH - 5 and event not in lines] == []
    assert sum(event in lines for event in events) > 0.8 * len(events), "longer ones are few"
    for bad in (float("nan"), [float("inf")]):
        with pytest.raises(ValueError, match="JSON"):
            json_text(bad)
    with pytest.raises(TypeError):
        json_text({"a": object()})
