"""Segments by the caller's definition: what holds, what does not, and what nobody measured."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from tests.test_serve import changed_report, is_problem, result_of, served
from tiktok_ray.cli import app
from tiktok_ray.reporting.segments import BadDefinition, Definition, SchemaMismatch, draft_of


def event(kind, label, start, end, analyzer, confidence=None):
    made = {"kind": kind, "label": label, "start": start, "end": end, "analyzer": analyzer}
    return made | ({} if confidence is None else {"confidence": confidence})


def report(**sections):
    """Ten seconds: a cup twice, a person, two sentences, a text, a cut."""
    timeline = [
        event("object", "cup", 1.0, 3.0, "object_detection", 0.9),
        event("person", "person", 2.0, 8.0, "object_detection", 0.8),
        event("object", "cup", 3.5, 4.0, "object_detection", 0.5),
        event("speech", "Where is the soup?", 2.5, 4.5, "speech_transcription", 0.9),
        event("cut", "hard", 5.0, 5.0, "cut_analysis"),
        event("text", "SALE", 6.0, 7.0, "text_overlay", 0.9),
        event("speech", "Here it is.", 6.5, 7.5, "speech_transcription", 0.9),
    ]
    names = ("object_detection", "speech_transcription", "cut_analysis", "text_overlay")
    found = {name: {"status": "ok", "output": {"segments": []}} for name in names}
    return {
        "video": {"duration_s": 10.0, "fps": 25.0},
        "timeline": timeline,
        "analyzers": found | sections,
    }


CUP = {"event": {"kind": "object", "label": "cup"}}
PERSON = {"event": {"kind": "person"}}
TALK = {"event": {"kind": "speech"}}


def segments_of(report, definition):
    """The segments, with no describer to ask."""
    return draft_of(report, definition).unanswered("unavailable", "no describer was asked")


def found(when, of=None, **more):
    wanted = {"segments": [{"name": "wanted", "when": when, **more}]}
    made = segments_of(of or report(), Definition.read(json.dumps(wanted)))
    assert made.not_measured == []
    return [(one.start, one.end) for one in made.segments]


def test_conditions_are_an_algebra_of_time():
    assert found(CUP) == [(1.0, 3.0), (3.5, 4.0)]
    assert found({"all": [CUP, PERSON]}) == [(2.0, 3.0), (3.5, 4.0)]
    assert found({"any": [CUP, TALK]}) == [(1.0, 4.5), (6.5, 7.5)]
    assert found({"all": [PERSON, {"not": TALK}]}) == [(2.0, 2.5), (4.5, 6.5), (7.5, 8.0)]
    assert found({"not": {"any": [PERSON, CUP]}}) == [(0.0, 1.0), (8.0, 10.0)]


def test_words_confidence_and_who_found_it_narrow():
    assert found({"event": {"kind": "speech", "contains": "SOUP?"}}) == [(2.5, 4.5)]
    assert found({"event": {"kind": "object", "label": "Cup", "confidence": 0.6}}) == [(1.0, 3.0)]
    assert found({"event": {"kind": "object", "analyzer": "text_overlay"}}) == []
    assert found({"event": {"kind": "object", "label": "cu"}}) == []


def test_gaps_lengths_and_moments_around_events():
    assert found(CUP, join_s=0.5) == [(1.0, 4.0)]
    assert found(CUP, at_least_s=1.0) == [(1.0, 3.0)]
    assert found({"event": {"kind": "cut"}}) == [(5.0, 5.04)]  # a frame
    cut = {"event": {"kind": "cut", "before_s": 6.0, "after_s": 0.5}}
    assert found(cut) == [(0.0, 5.54)]  # and never beyond the video


def test_fields_are_filled_in_and_evidence_is_cited():
    fields = {
        "cups": {"value": "count", "of": CUP["event"]},
        "said": {"value": "text", "of": TALK["event"]},
        "things": {"value": "labels", "of": {"kind": "object"}},
        "first": {"value": "first_label", "of": {"kind": "text"}},
        "cup_s": {"value": "seconds", "of": CUP["event"]},
    }
    wanted = {"segments": [{"name": "person", "when": PERSON, "fields": fields}]}
    [one] = segments_of(report(), Definition.read(json.dumps(wanted))).segments
    assert one.fields == {
        "cups": 2,
        "said": "Where is the soup? Here it is.",
        "things": ["cup"],
        "first": "SALE",
        "cup_s": 1.5,
    }
    [cited] = one.evidence
    assert (cited.analyzer, cited.start, cited.what) == ("object_detection", 2.0, "person")


def test_what_nobody_measured_is_not_absent():
    """A negated condition above all: no detector means no “nobody is there”."""
    failed = {"object_detection": {"status": "failed", "reason": "ValueError: soup"}}
    wanted = {
        "segments": [{"name": "alone", "when": {"not": PERSON}}, {"name": "talk", "when": TALK}]
    }
    made = segments_of(report(**failed), Definition.read(json.dumps(wanted)))
    assert {one.name for one in made.segments} == {"talk"}
    [lost] = made.not_measured
    assert (lost.name, lost.reason) == ("alone", "object_detection is failed: ValueError: soup")


def test_what_is_said_is_not_known_without_words():
    spans_only = {"speech_transcription": {
        "status": "partial", "output": {"speech": []},
        "missing": [{"part": "words", "reason": "weights not installed"}],
    }}  # fmt: skip
    asked = [{"name": "soup", "when": {"event": {"kind": "speech", "contains": "soup"}}},
             {"name": "talk", "when": TALK}]  # fmt: skip
    made = segments_of(report(**spans_only), Definition.read(json.dumps({"segments": asked})))
    assert [one.name for one in made.not_measured] == ["soup"]
    [partly] = made.partly_measured
    assert (partly.name, partly.reason) == (
        "talk", "speech_transcription, words: weights not installed",
    )  # fmt: skip


SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "start", "end", "fields"],
        "properties": {
            "name": {"const": "cup"},
            "fields": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}},
        },
    },
}


def test_the_list_satisfies_the_callers_schema():
    one = {"name": "cup", "when": CUP, "fields": {"n": {"value": "count", "of": CUP["event"]}}}
    made = segments_of(report(), Definition.read(json.dumps({"segments": [one], "schema": SCHEMA})))
    Draft202012Validator(SCHEMA).validate(made.model_dump(mode="json")["segments"])
    text = {**one, "fields": {"n": {"value": "text", "of": CUP["event"]}}}
    wanted = Definition.read(json.dumps({"segments": [text], "schema": SCHEMA}))
    with pytest.raises(SchemaMismatch, match="0/fields/n: 'cup' is not of type 'integer'"):
        segments_of(report(), wanted)


def deep(times):
    made: dict[str, Any] = CUP
    for _ in range(times):
        made = {"not": made}
    return made


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ("soup", "Invalid JSON"),
        ({"segments": []}, "segments"),
        ({"segments": [{"name": "a", "when": {}}]}, "exactly one of event, all, any, not"),
        ({"segments": [{"name": "a", "when": {**CUP, "not": CUP}}]}, "exactly one"),
        ({"segments": [{"name": "a", "when": {"event": {"kind": "smell"}}}]}, "kind"),
        ({"segments": [{"name": "a", "when": CUP, "wen": 1}]}, "wen"),
        ({"segments": [{"name": "a", "when": deep(20)}]}, "12 deep"),
        ({"segments": [{"name": "a", "when": CUP}], "schema": {"type": "soup"}}, "schema: "),
        (
            {"segments": [{"name": "a", "when": CUP}], "schema": {"$ref": "http://a/b.json"}},
            "refers to an external schema",
        ),
        (
            {"segments": [{"name": "a", "when": CUP}], "schema": {"pattern": "(a+)+$"}},
            "pattern is not supported",
        ),
    ],
)
def test_a_definition_that_is_none_is_refused_by_name(definition, said):
    text = definition if isinstance(definition, str) else json.dumps(definition)
    with pytest.raises(BadDefinition) as caught:
        Definition.read(text)
    assert said in str(caught.value)


def test_a_schema_that_refers_to_itself_or_to_nothing_ends():
    for schema in ({"$ref": "#"}, {"$ref": "#/$defs/none"}):
        wanted = {"segments": [{"name": "a", "when": CUP}], "schema": schema}
        with pytest.raises(SchemaMismatch):
            segments_of(report(), Definition.read(json.dumps(wanted)))


async def test_segments_over_http(clip, settings):
    async with served(settings) as client:
        id = await result_of(client, clip)
        made = report()
        with changed_report(client, id) as kept:
            kept |= {"timeline": made["timeline"], "analyzers": made["analyzers"]}
        wanted = {"segments": [{"name": "cup", "when": {"all": [CUP, PERSON]}}]}
        answer = await client.post(f"/results/{id}/segments", json=wanted)
        assert answer.status_code == 200
        # The clip has two seconds: what lies beyond is nowhere.
        assert answer.json() == {"segments": [], "not_measured": [], "partly_measured": []}
        wanted = {"segments": [{"name": "cup", "when": CUP}]}
        [one] = (await client.post(f"/results/{id}/segments", json=wanted)).json()["segments"]
        assert (one["name"], one["start"], one["end"]) == ("cup", 1.0, 2.0)
        is_problem(await client.post(f"/results/{id}/segments", json={}), 422, "bad_definition")
        wrong = {**wanted, "schema": {"maxItems": 0}}
        is_problem(await client.post(f"/results/{id}/segments", json=wrong), 422, "schema_mismatch")
        is_problem(await client.post("/results/0123456789/segments", json=wanted), 404)
        large = b'{"segments": "' + b"a" * 70_000 + b'"}'
        is_problem(await client.post(f"/results/{id}/segments", content=large), 413)


def test_the_command_finds_segments(tmp_path):
    from tests import viewer_reports

    run = CliRunner().invoke
    (tmp_path / "report.json").write_text(json.dumps(viewer_reports.report()))
    wanted = {"segments": [{"name": "talk", "when": TALK, "join_s": 1.0}]}
    (tmp_path / "wanted.json").write_text(json.dumps(wanted))
    call = ["segments", str(tmp_path / "report.json"), "--define"]
    shown = run(app, [*call, str(tmp_path / "wanted.json")])
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["segments"][0]["start"] == 0.0
    assert run(app, [*call, str(tmp_path / "none.json")]).exit_code == 2
    (tmp_path / "wanted.json").write_text("{}")
    assert run(app, [*call, str(tmp_path / "wanted.json")]).exit_code == 2
