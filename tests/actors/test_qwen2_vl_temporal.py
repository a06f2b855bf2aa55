"""Descriptions: windows and answers with a describer that computes from its pictures."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.cut_analysis import Cuts, Shot
from actors.qwen2_vl_temporal import (
    DESCRIBERS,
    Description,
    DescriptionOptions,
    Qwen2VlTemporal,
    windows,
)
from actors.qwen2_vl_temporal.describers import Answer, Prompt
from actors.qwen2_vl_temporal.describers.answers import (
    WHOLE,
    WINDOW,
    Fault,
    Parsed,
    foreign,
    loops,
    parse,
    tags_of,
)
from actors.qwen2_vl_temporal.describers.server import SERVER
from actors.qwen2_vl_temporal.describers.small_vl import evenly
from actors.speech_transcription import Transcript
from tiktok_ray.analyzer import Analyzer, Partial
from tiktok_ray.media import Frames
from tiktok_ray.report import undeclared
from tiktok_ray.run.engine import model_used
from tiktok_ray.run.placement import CONTEXT_GIB, Card, plan, variants_of
from tiktok_ray.settings import Settings
from tiktok_ray.weights import rows

COLOURS = {
    "red": (220, 30, 30), "green": (40, 200, 60), "blue": (30, 60, 220), "grey": (128, 128, 128),
}  # fmt: skip


class Painter:
    """Says in each prompt's form what colours it sees, or what ``spoil`` makes of that."""

    follows = True

    def __init__(self, spoil: dict[str, Answer] | None = None) -> None:
        self.spoil = spoil or {}
        self.asked: list[Prompt] = []
        self.batches: list[int] = []

    def answer(self, prompts: Sequence[Prompt], *, tokens: int, seconds: float) -> list[Answer]:
        assert tokens > 0
        assert seconds > 0
        self.asked += prompts
        self.batches.append(len(prompts))
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt: Prompt) -> Answer:
        if not prompt.pictures:
            seen = [name for name in COLOURS if f"{name} room" in prompt.text]
            seen = seen or ["nowhere"]
            said = "hello" if "hello" in prompt.text else "nothing"
            text = (
                f"Title: From {seen[0]} on\nSummary: A walk through {len(seen)} rooms, {said}.\n"
                f"Narrative: First {', then '.join(seen)}.\nTags: {', '.join(seen)}, Walk"
            )
            return self.spoil.get("whole", Answer(text, len(text), True))
        names = [nearest(picture) for picture in prompt.pictures]
        text = (
            f"Setting: a {names[0]} room\nPeople: {len(names)} people\n"
            f"Action: goes from {names[0]} to {names[-1]}\n"
            f"Text: {names[-1].upper()}\nMood: {names[0]}ish"
        )
        return self.spoil.get(names[0], Answer(text, len(text), True))


def nearest(picture: np.ndarray) -> str:
    mean = picture.reshape(-1, 3).mean(0)
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))


def video(*names: str, fps: float = 2.0) -> Frames:
    pictures = [np.full((64, 36, 3), COLOURS[name], np.uint8) for name in names]
    return Frames.of([k / fps for k in range(len(names))], pictures, len(names) / fps)


def cuts(end: float, *times: float) -> Cuts:
    edges = [0.0, *times, end]
    shots = [Shot(start=a, end=b, index=k) for k, (a, b) in enumerate(pairwise(edges))]
    return Cuts.model_construct(shots=shots)


def transcript(text: str) -> Transcript:
    return Transcript.model_construct(text=text)


def analyzer(asked: Any = None, **options: Any) -> Qwen2VlTemporal:
    made = Qwen2VlTemporal(DescriptionOptions(**options))
    made.describer = asked or Painter()
    return made


def bare(result: Description | Partial) -> Description:
    output = result.output if isinstance(result, Partial) else result
    assert isinstance(output, Description)
    return output


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    """Inputs, and in the last case answers, that differ in everything that is described."""
    broken = {"blue": Answer("I cannot say.", 4, True), "whole": Answer("", 0, True)}
    return [
        (
            analyzer(),
            {
                "frames": video(*["red"] * 6, *["green"] * 4),
                "cut_analysis": cuts(5.0, 3.0),
                "speech_transcription": transcript("hello there"),
            },
        ),
        (
            analyzer(),
            {
                "frames": video(*["green"] * 3, *["grey"] * 9),
                "cut_analysis": None,
                "speech_transcription": None,
            },
        ),
        (
            analyzer(Painter(broken)),
            {
                "frames": video(*["blue"] * 4, *["red"] * 2),
                "cut_analysis": cuts(3.0, 2.0),
                "speech_transcription": transcript("nobody"),
            },
        ),
        (
            analyzer(Painter({"red": Answer("", 0, True)}), windows_max=2),
            {
                "frames": video(*["red"] * 4, *["green"] * 3, *["blue"] * 3),
                "cut_analysis": cuts(5.0, 2.0, 3.5),
                "speech_transcription": None,
            },
        ),
    ]


def test_every_field_says_what_it_rests_on():
    assert list(undeclared(Description)) == []


def test_each_shot_is_described_from_its_own_pictures():
    made = analyzer()
    found = made.analyze(
        video(*["red"] * 6, *["green"] * 4), cuts(5.0, 3.0), transcript("hello there")
    )
    assert isinstance(found, Description)
    first, second = found.windows
    assert (first.start, first.end, first.shot) == (0.0, 3.0, 0)
    assert (second.start, second.end, second.shot) == (3.0, 5.0, 1)
    assert first.setting == "a red room"
    assert second.setting == "a green room"
    assert second.picture_times == [3.0, 3.5, 4.0, 4.5]
    assert second.visible_text == "GREEN"
    assert found.title == "From red on"
    assert found.summary == "A walk through 2 rooms, hello."
    assert found.tags == ["red", "green", "walk"]
    assert found.described_share == found.answered_share == 1.0
    assert found.headline() == "2 windows: From red on"
    assert [(e.start, e.end, e.kind, e.label) for e in found.events()] == [
        (0.0, 3.0, "description", "goes from red to red"),
        (3.0, 5.0, "description", "goes from green to green"),
    ]


def test_the_transcript_goes_to_the_whole_alone():
    """So that what is seen can be held against what is said."""
    made = Painter()
    analyzer(made).analyze(video(*["red"] * 6), None, transcript("hello there"))
    *of_windows, whole = made.asked
    assert all("hello" not in prompt.text for prompt in of_windows)
    assert "hello there" in whole.text
    assert "0.0-3.0 s: Setting: a red room" in whole.text
    assert whole.pictures == ()


def test_windows_without_shots_have_no_shot():
    found = bare(analyzer().analyze(video(*["red"] * 20), None, None))
    assert [w.shot for w in found.windows] == [None] * 3
    assert [w.end for w in found.windows] == pytest.approx([10 / 3, 20 / 3, 10])


@pytest.mark.parametrize(
    ("batch", "sizes"), [(1, [1, 1, 1, 1, 1]), (4, [4, 1]), (16, [5])], ids=str
)
def test_batches_change_nothing(batch: int, sizes: list[int]):
    describer = Painter()
    made = analyzer(describer)
    made.batch = batch
    frames = video(*["red", "green", "blue", "grey", "red"] * 2, *["blue"] * 4)
    found = bare(made.analyze(frames, cuts(7.0, 1, 2, 3, 4), None))
    assert describer.batches == [*sizes, 1]
    assert found == bare(analyzer().analyze(frames, cuts(7.0, 1, 2, 3, 4), None))


def test_pictures_of_a_window_are_limited_and_spread():
    describer = Painter()
    analyzer(describer, pictures=2).analyze(video(*["red"] * 8), None, None)
    assert describer.asked[0].times == (1.0, 3.0)


def test_too_many_windows_are_thinned_and_named():
    frames = video(*["red"] * 24)
    result = analyzer(window_s=1.0, windows_max=4).analyze(frames, None, None)
    assert isinstance(result, Partial)
    assert bare(result).described_share == pytest.approx(4 / 12)
    assert [w.start for w in bare(result).windows] == pytest.approx([1, 4, 7, 10])
    assert [(m.part, m.reason) for m in result.missing] == [
        ("windows", "8 of 12 not described: limit of 4 windows")
    ]


def test_shots_between_pictures_are_no_windows():
    found = bare(analyzer().analyze(video("red", "red"), cuts(1.0, 0.1, 0.4), None))
    assert [(w.start, w.shot) for w in found.windows] == [(0.0, 0), (0.4, 2)]
    assert found.described_share == pytest.approx(0.7)


def test_time_runs_out(monkeypatch: pytest.MonkeyPatch):
    """Windows that were not reached are named; nothing is said about them."""
    now = [0.0]
    monkeypatch.setattr("actors.qwen2_vl_temporal.time.monotonic", lambda: now[0])

    class Slow(Painter):
        def answer(self, prompts: Sequence[Prompt], **limits: Any) -> list[Answer]:
            now[0] += 30.0
            return super().answer(prompts, **limits)

    made = analyzer(Slow(), seconds=100)
    made.batch = 1
    result = made.analyze(video(*["red"] * 40), None, None)
    assert isinstance(result, Partial)
    assert len(bare(result).windows) == 3  # begun at 0, 30 and 60 s of the 80 for windows
    assert bare(result).title == "From red on"
    assert result.missing[0].reason == "2 of 5 not described: timeout of 100 s"


def spoilt(text: str, *, ended: bool = True, tokens: int = 9, **options: Any) -> Partial:
    """What comes of a video whose only window is answered by ``text``."""
    describer = Painter({"red": Answer(text, tokens, ended)})
    result = analyzer(describer, **options).analyze(video(*["red"] * 4), None, None)
    assert isinstance(result, Partial)
    return result


def test_an_empty_answer_says_nothing():
    result = spoilt("")
    [window] = bare(result).windows
    assert window.model_dump(include=set(WINDOW)) == dict.fromkeys(WINDOW)
    assert window.faults == ["empty"]
    assert bare(result).described_share == 0.0
    assert list(bare(result).events()) == []
    reasons = {m.part: m.reason for m in result.missing}
    assert set(reasons) == {*WINDOW, *WHOLE}
    assert reasons["mood"] == "missing for 1 of 1 windows: an empty answer (1)"
    assert reasons["title"] == "there was nothing to summarise, or no time left for it"


def test_prose_is_kept_raw_and_parsed_into_nothing():
    text = "A woman in a kitchen shows a cake to the camera and smiles."
    result = spoilt(text)
    [window] = bare(result).windows
    assert window.raw == text
    assert window.setting is None
    assert window.faults == ["format"]
    assert bare(result).answered_share == 0.0
    assert [e.label for e in bare(result).events()] == [text]
    assert "not in the requested format (1)" in result.missing[0].reason


def test_an_endless_answer_loses_what_was_cut_off():
    result = spoilt("Setting: a kitchen\nPeople: one woman\nAction: she cuts the", ended=False)
    [window] = bare(result).windows
    assert (window.setting, window.people, window.action) == ("a kitchen", "one woman", None)
    assert window.faults == ["cut_off"]
    assert {m.part for m in result.missing} >= {"action", "visible_text", "mood"}


def test_an_answer_in_circles_is_no_answer():
    result = spoilt("Setting: a kitchen\nPeople: " + "and a man and a woman " * 40, ended=False)
    [window] = bare(result).windows
    assert (window.setting, window.people) == ("a kitchen", None)
    result = spoilt("Setting: a room\nAction: " + "he jumps, " * 9 + "\nMood: calm\nText: none")
    [window] = bare(result).windows
    assert (window.action, window.mood, window.visible_text) == (None, "calm", "")
    assert window.faults == ["loop"]


def test_an_answer_in_another_language_is_no_answer():
    text = "Setting: 一个红色的房间\nPeople: 一个女人\nAction: 她在切蛋糕\nText: none\nMood: 开心"
    result = spoilt(text)
    [window] = bare(result).windows
    assert window.raw == text
    assert (window.setting, window.faults) == (None, ["language"])
    assert bare(spoilt(text[:-2], language="zh")).windows[0].people == "一个女人"


def test_a_broken_whole_is_named_and_not_made_up():
    describer = Painter({"whole": Answer("It is a nice video.", 6, True)})
    result = analyzer(describer).analyze(video(*["red"] * 4), None, None)
    assert isinstance(result, Partial)
    assert bare(result).title is None
    assert bare(result).tags is None
    assert bare(result).raw == "It is a nice video."
    assert {m.part for m in result.missing} == set(WHOLE)
    assert bare(result).headline() == "1 window: goes from red to red"


def test_one_that_follows_no_instructions_is_not_asked_to_sum_up():
    describer = Painter()
    describer.follows = False
    result = analyzer(describer, describer="blip2").analyze(video(*["red"] * 4), None, None)
    assert isinstance(result, Partial)
    assert bare(result).raw is None
    assert len(describer.asked) == 1
    assert {m.reason for m in result.missing} == {
        "blip2 does not follow instructions, so it cannot summarise"
    }


# Windows


@given(st.lists(st.floats(0.01, 30), min_size=1, max_size=8), st.floats(0.5, 10))
def test_windows_tile_the_shots(lengths: list[float], longest: float):
    edges = np.cumsum([0.0, *lengths])
    shots = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    found = windows(shots, longest)
    assert found[0][1].start == 0
    assert found[-1][1].end == pytest.approx(edges[-1])
    for (_, a), (_, b) in pairwise(found):
        assert a.end == pytest.approx(b.start)
    for shot, span in found:
        assert span.length <= longest * (1 + 1e-6)
        assert shots[shot][0] - 1e-9 <= span.start <= span.end <= shots[shot][1] + 1e-9


@given(st.integers(0, 300), st.integers(1, 60))
def test_even_choice(count: int, most: int):
    chosen = evenly(count, most)
    assert len(chosen) == min(count, most)
    assert chosen == sorted(set(chosen))
    assert all(0 <= k < count for k in chosen)


# Answers

GOOD = {
    "setting": "a kitchen", "people": "one woman, red apron", "action": "She cuts a cake.",
    "visible_text": "RECIPE: 3 eggs", "mood": "calm",
}  # fmt: skip


def read(text: str, *, ended: bool = True, language: str = "en") -> Parsed:
    return parse(text, WINDOW, ended=ended, language=language)


@pytest.mark.parametrize(
    "text",
    [
        "Setting: a kitchen\nPeople: one woman, red apron\nAction: She cuts a cake.\n"
        "Text: RECIPE: 3 eggs\nMood: calm",
        "Sure! Here you are:\n\n**Setting:** a kitchen\n**People**: one woman, red apron\n"
        '- Action: She cuts\n  a cake.\n4. Text: "RECIPE: 3 eggs"\n* mood : calm\n\nI hope it helps',
        "```json\n" + json.dumps({**GOOD, "age": 3}) + "\n```",
        json.dumps({"Place": "a kitchen", "People": ["one woman", "red apron"],
                    "Activity": "She cuts a cake.", "Text": "RECIPE: 3 eggs", "Atmosphere": "calm"}),
        "SETTING：a kitchen\r\nPEOPLE：one woman, red apron\r\nACTION：She cuts a cake.\r\n"
        "VISIBLE_TEXT：RECIPE: 3 eggs\r\nMOOD：calm",
        "Setting:\na kitchen\nPeople:\none woman, red apron\nAction:\nShe cuts a cake.\n"
        "Text:\nRECIPE: 3 eggs\nMood:\ncalm\nMood: calm",
    ],
    ids=["lines", "marked", "fenced", "json", "wide", "below"],
)  # fmt: skip
def test_forms_of_good_answers(text: str):
    assert read(text) == Parsed(GOOD, [])


@pytest.mark.parametrize(
    ("text", "values", "faults"),
    [
        ("   \n ", {}, ["empty"]),
        ("Setting: <the place, indoors or outdoors>\nMood: calm", {"mood": "calm"}, ["format"]),
        ("Setting: unknown\nMood: N/A.\nText: none", {"visible_text": ""}, ["format"]),
        ("People: none\nText: No visible text.", {"people": "", "visible_text": ""}, ["format"]),
        ("Setting: sea\nSetting: moon", {"setting": "sea"}, ["format"]),
        ("Setting: sea\nCamera: shaky\nMood: calm", {"setting": "sea", "mood": "calm"}, ["format"]),
        ('{"setting": "sea", "people": 3, "mood": null}', {"setting": "sea"}, ["format"]),
        ('{"setting": "sea"', {}, ["format"]),
        ("{" * 3000, {}, ["loop"]),
        ("Ort: Küche\nPersonen: eine Frau", {}, ["format"]),
        ("Setting: a sea\nMood:", {"setting": "a sea"}, ["format"]),
        ("setting" * 500, {}, ["loop"]),
    ],
)
def test_forms_of_bad_answers(text: str, values: dict[str, str], faults: list[Fault]):
    assert read(text) == Parsed(values, faults)


def test_the_form_itself_is_no_answer():
    from actors.qwen2_vl_temporal.describers.answers import window_prompt

    values, faults = read(window_prompt(0, 4, "en"))
    assert values == {}
    assert faults == ["format"]


@given(st.text(alphabet=string.printable + "äß：，{}一の🙂", max_size=300), st.booleans())
def test_no_text_breaks_the_reading(text: str, ended: bool):
    for asked in (WINDOW, WHOLE):
        values, faults = parse(text, asked, ended=ended, language="en")
        assert set(values) <= set(asked)
        assert faults or len(values) == len(asked)


@pytest.mark.parametrize(
    ("text", "language", "other"),
    [
        ("She cuts a cake in the kitchen and smiles at the camera", "en", False),
        ("Sie schneidet in der Küche eine Torte an und lacht in die Kamera", "en", True),
        ("Sie schneidet in der Küche eine Torte an und lacht in die Kamera", "de", False),
        ("She cuts a cake in the kitchen and smiles at the camera", "de", True),
        ("Elle coupe un gâteau dans la cuisine et sourit avec une amie", "en", True),
        ("Corta una tarta en la cocina y sonríe con su amiga en el sofá", "fr", True),
        ("Женщина режет торт", "en", True),
        ("Женщина режет торт", "ru", False),
        ("ケーキを切る", "ja", False),
        ("dance, sofa, selfie", "de", False),
        ("", "en", False),
    ],
)
def test_languages(text: str, language: str, other: bool):
    assert foreign(text, language) is other


def test_loops():
    assert loops("yes, " * 5)
    assert not loops("a very, very, very good cake")
    assert not loops("ha ha")


def test_tags():
    assert tags_of('#cake, "Baking"; kitchen\n- cake, ') == ["cake", "baking", "kitchen"]
    assert tags_of("#cake #baking") == ["cake", "baking"]


# Which describer


def test_every_variant_belongs_to_one_describer():
    names = [v.name for family in DESCRIBERS.values() for v in family.variants] + [SERVER.name]
    assert sorted(names) == sorted({v.name for v in Qwen2VlTemporal.variants})
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("describer", DESCRIBERS)
def test_the_option_chooses_the_variants_of_the_plan(
    describer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    settings = Settings(options={"qwen2_vl_temporal": {"describer": describer}})
    assert variants_of(Qwen2VlTemporal, settings)[0] is DESCRIBERS[describer].variants[0]
    for cards in ([], [Card(0, 4.0)], [Card(0, 16.0)]):
        chosen = plan([Qwen2VlTemporal], settings, cards=cards, assume_weights=True)
        variant = chosen.assignments["qwen2_vl_temporal"].variant
        assert variant in DESCRIBERS[describer].variants
        assert variant in Qwen2VlTemporal.variants
    empty = settings.model_copy(update={"models": tmp_path})
    lacking = plan([Qwen2VlTemporal], empty, cards=[])
    wanted = next(v for v in DESCRIBERS[describer].variants if v.cpu)
    assert wanted.weights["describer"].id in lacking.unavailable["qwen2_vl_temporal"]


@pytest.mark.parametrize(("total", "size"), [(8.0, "2B"), (16.0, "7B"), (80.0, "7B")])
def test_the_weights_named_as_wanted_are_those_that_fit_the_card(
    total: float, size: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    found = plan([Qwen2VlTemporal], Settings(models=tmp_path), cards=[Card(0, total)])
    assert f"Qwen/Qwen2-VL-{size}-Instruct;" in found.unavailable["qwen2_vl_temporal"]


@pytest.mark.parametrize("describer", DESCRIBERS)
def test_plan_list_and_report_agree_on_names_and_sizes(
    describer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    settings = Settings(options={"qwen2_vl_temporal": {"describer": describer}}, models=tmp_path)
    chosen = plan([Qwen2VlTemporal], settings, cards=[Card(0, 16.0)], assume_weights=True)
    assignment = chosen.assignments["qwen2_vl_temporal"]
    [row] = chosen.table(["qwen2_vl_temporal"])
    used = model_used(assignment)
    assert used is not None
    listed = {row.id: row for row in rows([Qwen2VlTemporal], tmp_path)}
    own = DESCRIBERS[describer].variants
    fitting = next(v for v in own if sum(v.vram or ()) + CONTEXT_GIB <= 15)
    assert row["variant"] == used.variant == fitting.name
    assert f"qwen2_vl_temporal ({used.variant})" in listed[used.id].needed_by
    weights = assignment.variant.weights["describer"]
    assert listed[used.id].size_gib == weights.size_gib
    assert row["vram_gib"] == pytest.approx(sum(assignment.variant.vram or ()) + CONTEXT_GIB)
    assert row["basis"] == "estimated"


def test_an_unknown_describer_is_refused():
    with pytest.raises(ValueError, match="describer"):
        DescriptionOptions(describer="oracle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="language"):
        DescriptionOptions(language="klingon")
