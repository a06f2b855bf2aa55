import json
import types

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from actors import ANALYZERS
from tiktok_ray.analyzer import Analyzer, Variant, Vram
from tiktok_ray.report import Output
from tiktok_ray.run.placement import (
    CONTEXT_GIB,
    RESERVED_GIB,
    Card,
    DoesNotFit,
    cards_here,
    gpu_share,
    plan,
)
from tiktok_ray.settings import Settings


def planned(gib, gpus=1, analyzers=ANALYZERS):
    cards = [Card(k, gib) for k in range(gpus)] if gib else []
    return plan(analyzers, Settings(), cards=cards, assume_weights=True)


def made(name, *variants):
    def analyze(self) -> Output: ...

    return type(name, (Analyzer,), {"name": name, "variants": variants, "analyze": analyze})


BIG = Variant("big", vram=Vram(6.0, 1.0), cpu=False)
SMALL = Variant("small", vram=Vram(1.0, 0.5))


@pytest.mark.parametrize("gib", [4, 8, 12, 16, 24, 80])
@pytest.mark.parametrize("gpus", [1, 2])
def test_all_are_placed_and_no_card_is_overfull(gib, gpus):
    p = planned(gib, gpus)
    assert set(p.assignments) == {a.name for a in ANALYZERS}
    for card in p.cards:
        on_it = [a for a in p.assignments.values() if a.card == card.index]
        assert p.used_gib(card.index) <= card.usable_gib + 1e-9
        assert sum(a.gpu_share for a in on_it) <= 1 + 1e-9
        for a in on_it:
            assert a.gpu_share * card.usable_gib >= a.vram_gib - 1e-9
            assert a.vram_gib == pytest.approx(sum(a.variant.vram) + CONTEXT_GIB)
    for a in p.assignments.values():
        assert (a.device == "cuda") == (a.card is not None) == (a.gpu_share > 0)
        assert a.variant.cpu or a.card is not None


def test_more_memory_never_makes_a_worse_plan():
    on_card = [
        sum(a.card is not None for a in planned(g).assignments.values()) for g in (0, 4, 16, 80)
    ]
    assert on_card == sorted(on_card)
    assert on_card[0] == 0
    assert planned(16).used_gib(0) <= 15.0


def test_steps_down_in_the_stated_order():
    first = made("content_quality", BIG, SMALL)
    last = made("speech_transcription", BIG, SMALL)
    p = plan([first, last], Settings(), cards=[Card(0, 12.0)], assume_weights=True)
    assert p.assignments["speech_transcription"].variant.name == "big"
    assert p.assignments["content_quality"].variant.name == "small"
    assert p.assignments["content_quality"].card == 0
    tight = plan([first, last], Settings(), cards=[Card(0, 9.0)], assume_weights=True)
    assert tight.assignments["content_quality"].device == "cpu"


def test_two_cards_take_what_one_cannot():
    pair = [made("a", BIG), made("b", BIG)]
    p = plan(pair, Settings(), cards=[Card(0, 9.0), Card(1, 9.0)], assume_weights=True)
    assert {a.card for a in p.assignments.values()} == {0, 1}
    with pytest.raises(DoesNotFit, match=r"a \(7.45 GiB\), b \(7.45 GiB\) do not fit together"):
        plan(pair, Settings(), cards=[Card(0, 9.0)], assume_weights=True)


def test_who_fits_nowhere_is_named():
    with pytest.raises(DoesNotFit, match=r"huge needs 7.45 GiB.*has 3.00 usable.*--without huge"):
        plan([made("huge", BIG)], Settings(), cards=[Card(0, 4.0)], assume_weights=True)


def test_missing_weights_choose_the_next_variant_or_none(tmp_path):
    from tiktok_ray.weights import Asset

    absent = Variant("best", weights={"w": Asset("x/best.pt", "MIT")})
    (tmp_path / "x").mkdir()
    (tmp_path / "x/next.pt").write_bytes(b"weights")
    present = Variant("next", weights={"w": Asset("x/next.pt", "MIT")})
    bare = Variant("bare", lacks=("model",))
    p = plan(
        [made("a", absent, present), made("b", absent), made("c", absent, bare)],
        Settings(models=tmp_path),
        cards=[],
    )
    assert p.assignments["a"].variant.name == "next"
    assert p.assignments["a"].files == {"w": tmp_path / "x/next.pt"}
    assert "x/best.pt" in p.unavailable["b"]
    [(part, reason)] = p.assignments["c"].missing
    assert part == "model"
    assert "models pull c" in reason


@hypothesis_settings(max_examples=60)
@given(st.floats(0.01, 80), st.floats(2, 192))
def test_shares_are_rounded_up_to_rays_grain(gib, total):
    card = Card(0, total)
    share = gpu_share(gib, card)
    assert share * (total - RESERVED_GIB) >= gib * (1 - 1e-6)
    assert round(share * 1e4) == pytest.approx(share * 1e4, abs=1e-6)
    assert share - gib / card.usable_gib <= 1.0001e-4


def test_the_set_size_replaces_the_card():
    assert [c.total_gib for c in cards_here(Settings(vram_gib=16))] == [16]
    assert cards_here(Settings(vram_gib=0)) == ()


@pytest.mark.usefixtures("nvml")
@pytest.mark.parametrize(
    ("named", "seen"),
    [
        (None, [0, 1, 2]), ("", []), ("-1", []), ("1", [1]), ("2,0", [2, 0]), ("0, 7, 1", [0]),
        ("GPU-1", [1]), ("GPU-2a2,0", [2, 0]), ("GPU-9", []),
    ],
)  # fmt: skip
def test_only_cards_that_cuda_would_show_are_planned_for(monkeypatch, named, seen):
    if named is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert [card.index for card in cards_here(Settings())] == seen


@pytest.mark.usefixtures("nvml")
def test_in_ray_its_count_of_cards_holds(monkeypatch):
    """Ray empties CUDA_VISIBLE_DEVICES for processes that asked for no card."""
    import ray

    from tiktok_ray.run.ray_actors import cards_of_node

    nodes = [
        {"NodeID": "there", "Resources": {"GPU": 3.0}},
        {"NodeID": "here", "Resources": {"GPU": 2.0, "CPU": 8.0}},
    ]
    context = types.SimpleNamespace(get_node_id=lambda: "here")
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [card.index for card in cards_of_node(Settings())] == [0, 1]


def test_cards_of_different_sizes_count_as_the_smallest():
    cards = [Card(0, 24.0, "large"), Card(1, 11.9, "small"), Card(2, 12.0, "small")]
    p = plan(ANALYZERS, Settings(), cards=cards, assume_weights=True)
    assert [card.total_gib for card in p.cards] == [11.9, 11.9, 12.0]
    assert p.cards[0].name == "large of 24.0 GiB, as the smallest"
    for a in p.assignments.values():
        assert a.card is None or a.gpu_share * 10.9 >= a.vram_gib - 0.1


def test_plan_command_speaks_json_and_words():
    from typer.testing import CliRunner

    from tiktok_ray.cli import app

    done = CliRunner().invoke(app, ["plan", "--vram", "16", "--json"])
    spoken = json.loads(done.stdout)
    assert spoken["cards"][0]["planned_gib"] <= 15.0
    assert len(spoken["analyzers"]) == len(ANALYZERS)
    assert "usable_gib" in CliRunner().invoke(app, ["plan", "--vram", "8", "--gpus", "2"]).stdout
    assert "cuda" not in CliRunner().invoke(app, ["plan", "--cpu"]).stdout


def test_what_is_free_in_the_end_goes_to_who_leaves_last():
    made = plan(ANALYZERS, Settings(), cards=[Card(0, 8.0)], assume_weights=True)
    on_card = {n: a.variant.name for n, a in made.assignments.items() if a.card is not None}
    assert on_card == {
        "qwen2_vl_temporal": "qwen2-vl-2b",
        "object_detection": "yolov8m",
        "body_pose": "yolov8n-pose",
    }
    assert made.used_gib(0) <= 7.0
