"""Questions of a definition of segments: put to a describer, typed, and never filled in."""

import json
import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from actors.cut_analysis import CutAnalysis
from actors.qwen2_vl_temporal import Description, DescriptionOptions, Qwen2VlTemporal
from actors.qwen2_vl_temporal.describers import Answer
from actors.qwen2_vl_temporal.describers.answers import value_of
from tests import tiny_describers
from tests.test_describer_server import (
    COLOURS,
    Handler,
    Served,
    answering,
    colour_of,
    serving,
)
from tests.test_describer_server import video as colours
from tests.test_serve import is_problem, result_of, served
from tiktok_ray import library
from tiktok_ray.analyzer import Answers, Question, Skip
from tiktok_ray.cli import app
from tiktok_ray.media import Frames, InputError
from tiktok_ray.media.writer import write_clip
from tiktok_ray.reporting.segments import (
    BadDefinition,
    Definition,
    SchemaMismatch,
    draft_of,
)

SHOTS = {"event": {"kind": "shot"}}
COLOUR = {
    "question": "Which colour fills the picture?",
    "answer": {"type": "string", "enum": list(COLOURS)},
}
RED = {"question": "Is the picture red?", "answer": "boolean"}


@pytest.fixture
def describer_server() -> Iterator[Served]:
    with serving() as server:
        yield server


def definition(schema: Any = None, **fields: Any) -> dict[str, Any]:
    shot = {"name": "shot", "when": SHOTS, "by_shot": True, "fields": fields}
    return {"segments": [shot]} | ({"schema": schema} if schema else {})


def report(end: float = 6.0, *cuts: float) -> dict[str, Any]:
    """A report of shots between cuts, and of nothing else."""
    edges = [0.0, *cuts, end]
    shots = [
        {"kind": "shot", "label": f"shot {k}", "start": a, "end": b, "analyzer": "cut_analysis"}
        for k, (a, b) in enumerate(pairwise(edges), 1)
    ]
    return {
        "video": {"duration_s": end, "fps": 25.0},
        "timeline": shots,
        "analyzers": {"cut_analysis": {"status": "ok", "output": {"shots": []}}},
    }


def questions(*forms: dict[str, Any]) -> list[Question]:
    """One about each third of the six seconds."""
    return [Question("?", 2.0 * k, 2.0 * k + 2, form) for k, form in enumerate(forms)]


def saying(*texts: str) -> Any:
    """A spoiler of the test's server: one answer after the other."""
    left = list(texts)

    def spoil(handler: Handler, _: int) -> bool:
        choice = {"message": {"content": left.pop(0)}, "finish_reason": "stop"}
        handler.send(200, {"model": "tiny/eyes", "choices": [choice]})
        return True

    return spoil


def by_sight(handler: Handler, _: int) -> bool:
    """An answer by the colour that is shown, to either question."""
    asked = handler.server.requests[-1]
    seen = colour_of(asked)
    value: Any = seen if "Which" in asked["messages"][0]["content"][-1]["text"] else seen == "red"
    return bool(saying(json.dumps({"answer": value}))(handler, 0))


def asked_of(server: Served, *forms: dict[str, Any], **options: Any) -> Answers:
    chosen = DescriptionOptions(
        describer="server", server_url=server.url, server_model="m", **options
    )
    made = Qwen2VlTemporal(chosen)
    made.load(Qwen2VlTemporal.variants_for(chosen)[0], "cpu", {})
    made.batch = 1
    return made.answer(questions(*forms), colours())


def test_each_question_is_answered_from_its_own_pictures(describer_server: Served):
    describer_server.spoil = by_sight
    made = asked_of(describer_server, *[{"type": "boolean"}] * 3)
    assert [(one.status, one.value) for one in made.answers] == [
        ("ok", True),
        ("ok", False),
        ("ok", False),
    ]
    assert [one.picture_times for one in made.answers] == [
        [0.0, 0.5, 1.0, 1.5],
        [2.0, 2.5, 3.0, 3.5],
        [4.0, 4.5, 5.0, 5.5],
    ]
    assert made.answers[0].answered_by == "tiny/eyes"
    text = describer_server.requests[1]["messages"][0]["content"][-1]["text"]
    assert "from 2.0 s to 4.0 s" in text
    assert '{"type": "boolean"}' in text


@pytest.mark.parametrize(
    ("text", "value", "wrong"),
    [
        ('{"answer": true}', True, None),
        ('```json\n{"answer": 3}\n```', 3, None),
        ("false", False, None),
        ('"a cup"', "a cup", None),
        ('{"answer": null}', None, None),
        ('{"answer": "yes"}', "yes", None),  # its type is looked at with the form
        ("Yes, it is.", None, "not in the form asked for"),
        ("I'm sorry, but I can't help with that.", None, "not in the form asked for"),
        ('{"answer": true, "sure": 1}', None, "not in the form asked for"),
        ('{"answer": [1]}', None, "not in the form asked for"),
        ('{"answer": 1e999}', None, "not in the form asked for"),
        ('{"answer": NaN}', None, "not in the form asked for"),
        ('"\\ud800"', None, "not in the form asked for"),
        ("[" * 100_000, None, "not in the form asked for"),
        ("9" * 10_000, None, "not in the form asked for"),
        ("", None, "an empty answer"),
    ],
)
def test_an_answer_is_read_and_never_guessed(text: str, value: Any, wrong: str | None):
    assert value_of(text, ended=True) == (value, wrong)
    assert type(value_of(text, ended=True)[0]) is type(value)


def test_an_answer_that_was_cut_off_is_none():
    assert value_of("t", ended=False) == (None, "cut off at the limit")


BOOLEAN, NUMBER = {"type": "boolean"}, {"type": "number", "minimum": 0}


@pytest.mark.parametrize(
    ("form", "value", "said"),
    [
        (BOOLEAN, "yes", "'yes' is not of type 'boolean'"),
        (BOOLEAN, 1, "1 is not of type 'boolean'"),
        (NUMBER, True, "True is not of type 'number'"),
        (NUMBER, "3", "'3' is not of type 'number'"),
        (NUMBER, -1, "-1 is less than the minimum of 0"),
        ({"type": "integer"}, 2.5, "2.5 is not of type 'integer'"),
        ({"type": "string", "enum": ["red"]}, "Red", "'Red' is not one of ['red']"),
        ({"type": "string", "maxLength": 2}, "red", "'red' is too long"),
    ],
)
def test_an_answer_of_another_type_is_said_and_not_coerced(
    describer_server: Served, form: Any, value: Any, said: str
):
    describer_server.spoil = saying(json.dumps({"answer": value}))
    wanted = Definition.read(json.dumps(definition(seen={"question": "Is it?", "answer": form})))
    draft = draft_of(report(), wanted)
    [one] = draft.answered(asked_of(describer_server, form).answers, None).segments
    assert one.fields == {}
    [asked] = one.asked or []
    assert (asked.field, asked.status) == ("seen", "failed")
    assert said in (asked.reason or "")
    assert json.loads(asked.raw or "") == {"answer": value}


def test_what_the_pictures_do_not_tell_is_not_answered(describer_server: Served):
    describer_server.spoil = saying('{"answer": null}')
    [one] = asked_of(describer_server, BOOLEAN).answers
    assert (one.status, one.value) == ("skipped", None)
    assert "do not tell" in (one.reason or "")


def test_a_server_that_fails_answers_nothing_from_then_on(describer_server: Served):
    describer_server.spoil = lambda handler, number: (
        by_sight(handler, number) if number < 2 else answering(503, b"gone")(handler, number)
    )
    made = asked_of(describer_server, *[BOOLEAN] * 3).answers
    assert [one.status for one in made] == ["ok", "failed", "failed"]
    assert "responded with 503: gone" in (made[1].reason or "")


@pytest.mark.timeout(60)
def test_time_is_up(describer_server: Served):
    over = threading.Event()
    describer_server.spoil = lambda handler, _: over.wait(30)
    try:
        made = asked_of(describer_server, BOOLEAN, BOOLEAN, seconds=0.5).answers
    finally:
        over.set()
    assert [one.status for one in made] == ["failed", "timed_out"]
    assert "no response within" in (made[0].reason or "")
    assert made[1].reason == "time limit of 0.5 s"


def test_too_many_questions_and_too_short_stretches_are_named(describer_server: Served):
    describer_server.spoil = by_sight
    made = asked_of(describer_server, *[BOOLEAN] * 3, questions_max=2).answers
    assert [one.status for one in made] == ["ok", "ok", "skipped"]
    assert "questions_max (2)" in (made[2].reason or "")
    chosen = DescriptionOptions(describer="server", server_url=describer_server.url)
    between = Qwen2VlTemporal(chosen)
    between.load(Qwen2VlTemporal.variants_for(chosen)[0], "cpu", {})
    [one] = between.answer([Question("?", 0.1, 0.4, BOOLEAN)], colours()).answers
    assert (one.status, one.picture_times) == ("skipped", [])
    assert "no picture" in (one.reason or "")


def test_one_that_follows_no_instructions_is_not_asked():
    class Captioner:
        follows = False

        def answer(self, *_: Any, **__: Any) -> list[Answer]:
            raise AssertionError("it was asked")

    made = Qwen2VlTemporal(DescriptionOptions(describer="blip2"))
    made.describer = Captioner()
    [one] = made.answer(questions(BOOLEAN), colours()).answers
    assert one.status == "skipped"
    assert "blip2 follows no instructions" in (one.reason or "")


@pytest.mark.slow
def test_a_real_architecture_is_asked_and_answers_in_no_form(tmp_path: Any):
    """Random weights answer at random: what counts is that nothing is made of it."""
    chosen = DescriptionOptions(tokens=16)
    made = Qwen2VlTemporal(chosen)
    variant = next(v for v in made.variants if v.name == "qwen2-vl-2b-cpu")
    made.load(variant, "cpu", {"describer": tiny_describers.qwen(tmp_path)})
    answers = made.answer(questions(BOOLEAN, NUMBER), colours()).answers
    assert [one.status for one in answers] == ["failed", "failed"]
    assert all(one.value is None and one.raw is not None for one in answers)
    assert [one.picture_times for one in answers] == [[0.0, 0.5, 1.0, 1.5], [2.0, 2.5, 3.0, 3.5]]


# Definitions


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"question": "Is it?"}, "question.answer: Field required"),
        ({"question": "Is it?", "answer": "soup"}, "boolean"),
        ({"question": "Is it?", "answer": {"type": "boolean", "minimum": 1}}, "minimum narrows no"),
        ({"question": "Is it?", "answer": {"type": "integer", "enum": ["a"]}}, "enum narrows no"),
        ({"question": "", "answer": "boolean"}, "at least 1"),
        ({"question": "Is it?", "answer": "boolean", "value": "count"}, "value: Extra inputs"),
        ({"value": "count"}, "events.of: Field required"),
    ],
)
def test_a_question_that_is_none_is_refused_by_name(field: Any, said: str):
    with pytest.raises(BadDefinition) as caught:
        Definition.read(json.dumps(definition(seen=field)))
    assert said in str(caught.value)


def test_segments_end_where_a_shot_does():
    made = draft_of(report(6.0, 2.0, 4.0), Definition.read(json.dumps(definition(red=RED))))
    assert [(s.start, s.end) for s in made.found.segments] == [(0.0, 2.0), (2.0, 4.0), (4.0, 6.0)]
    assert [(o.segment, o.question.start) for o in made.open] == [(0, 0.0), (1, 2.0), (2, 4.0)]
    shots = [[cited.what for cited in s.evidence] for s in made.found.segments]
    assert shots == [["shot 1"], ["shot 2"], ["shot 3"]]
    blind = report(6.0) | {"analyzers": {}}
    [lost] = draft_of(blind, Definition.read(json.dumps(definition(red=RED)))).found.not_measured
    assert "cut_analysis is not in the report" in lost.reason


SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "fields"],
        "properties": {
            "fields": {
                "type": "object",
                "required": ["red"],
                "properties": {"red": {"type": "boolean"}},
            }
        },
    },
}


def test_a_schema_that_wants_an_answer_says_why_there_is_none():
    made = draft_of(report(), Definition.read(json.dumps(definition(SCHEMA, red=RED))))
    with pytest.raises(SchemaMismatch, match="'red' is a required property .*unavailable: no eyes"):
        made.unanswered("unavailable", "no eyes")


# From a file to its segments, over each entrance


@pytest.fixture
def film(tmp_path: Any) -> Any:
    """Six seconds: red, green and blue."""
    import numpy as np

    pictures = (np.full((128, 72, 3), COLOURS[n], np.uint8) for n in COLOURS for _ in range(20))
    return write_clip(tmp_path / "film.mp4", pictures, fps=10)


def eyes(server: Served) -> dict[str, dict[str, Any]]:
    named = {"describer": "server", "server_url": server.url, "server_model": "m"}
    return {"qwen2_vl_temporal": named}


ASKED = definition(SCHEMA, red=RED, colour=COLOUR)


def check(found: dict[str, Any]) -> None:
    made = found["segments"]
    Draft202012Validator(SCHEMA).validate(made)
    assert [one["fields"] for one in made] == [
        {"red": True, "colour": "red"},
        {"red": False, "colour": "green"},
        {"red": False, "colour": "blue"},
    ]
    for one in made:
        for asked in one["asked"]:
            assert (asked["status"], asked["model"]) == ("ok", "tiny/eyes")
            assert all(one["start"] <= t < one["end"] for t in asked["picture_times"])
            assert len(asked["picture_times"]) == 4


@pytest.mark.slow
def test_by_the_command_and_the_python_api(
    film: Any, settings: Any, tmp_path: Any, describer_server: Served, monkeypatch: Any
):
    monkeypatch.setenv("TIKTOK_RAY_HOME", str(settings.home))
    monkeypatch.setenv("TIKTOK_RAY_MODELS", str(tmp_path / "none"))
    describer_server.spoil = by_sight
    made = library.analyze(film, only=["cut_analysis"], settings=settings, workers="threads")
    made_file = tmp_path / "report.json"
    made_file.write_text(made.to_json())
    found = library.segments(
        made, ASKED, video=film, options=eyes(describer_server), settings=settings
    )
    check(found.model_dump(mode="json", exclude_none=True))
    (tmp_path / "wanted.json").write_text(json.dumps(ASKED))
    call = ["segments", str(made_file), "--define", str(tmp_path / "wanted.json")]
    address = f"qwen2_vl_temporal.server_url={describer_server.url}"
    how = ["--video", str(film), "--describer", "server", "--set", address]
    shown = CliRunner().invoke(app, [*call, *how])
    assert shown.exit_code == 0, shown.output
    check(json.loads(shown.stdout))
    # Without a describer, or the video, the field is unavailable, and says what gets it.
    loose = {**ASKED, "schema": {"type": "array", "minItems": 3}}
    (tmp_path / "wanted.json").write_text(json.dumps(loose))
    for more, said in (
        (["--video", str(film)], "get them: tiktok-ray models pull qwen2_vl_temporal"),
        ([], "questions need the video"),
    ):
        shown = CliRunner().invoke(app, [*call, *more])
        assert shown.exit_code == 0, shown.output
        for one in json.loads(shown.stdout)["segments"]:
            assert one["fields"] == {}
            assert {asked["status"] for asked in one["asked"]} == {"unavailable"}
            assert all(said in asked["reason"] for asked in one["asked"])
    with pytest.raises(InputError, match="not the video"):
        library.segments(made, ASKED, video=made_file, settings=settings)
    assert CliRunner().invoke(app, [*call, "--video", str(made_file)]).exit_code == 3


class Watching(Qwen2VlTemporal):
    """The describer, which describes nothing."""

    def analyze(self, frames: Frames) -> Description:  # type: ignore[override]
        raise Skip("only questions are of interest here")


async def test_over_http(film: Any, settings: Any, describer_server: Served):
    describer_server.spoil = by_sight
    chosen = settings.model_copy(update={"options": eyes(describer_server)})
    async with served(chosen, (CutAnalysis, Watching)) as client:
        id = await result_of(client, film)
        answer = await client.post(f"/results/{id}/segments", json=ASKED)
        assert answer.status_code == 200, answer.text
        check(answer.json())
        client.service.watching = chosen.streams
        busy = await client.post(f"/results/{id}/segments", json=ASKED)
        is_problem(busy, 503, "too_many_streams")
        client.service.watching = 0
        client.service.store.video_path(id).unlink()
        loose = {**ASKED, "schema": {"maxItems": 3}}
        gone = (await client.post(f"/results/{id}/segments", json=loose)).json()
        [first, _] = gone["segments"][0]["asked"]
        assert first["status"] == "unavailable"
        assert "was not kept" in first["reason"]
        is_problem(await client.post(f"/results/{id}/segments", json=ASKED), 422, "schema_mismatch")
