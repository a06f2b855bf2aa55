"""Every family of describers on a tiny checkpoint: loaded from its folder, quantised, asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.cut_analysis import Cuts, Shot
from actors.qwen2_vl_temporal import DESCRIBERS, Description, DescriptionOptions, Qwen2VlTemporal
from actors.qwen2_vl_temporal.describers import Answer, Prompt, answer_of, bits_of
from actors.qwen2_vl_temporal.describers.answers import QUESTIONS
from actors.qwen2_vl_temporal.describers.auroracap import AuroraCap, NotAuroraCap, check
from actors.qwen2_vl_temporal.describers.blip2 import Blip2, joined
from actors.qwen2_vl_temporal.describers.qwen_vl import QwenVl, clock, size_within
from actors.qwen2_vl_temporal.describers.small_vl import SmolVlm, conversation
from tests import tiny_describers as tiny
from tiktok_ray.analyzer import Partial
from tiktok_ray.media import Frames
from tiktok_ray.weights import UnsafeCheckpoint

MAKERS: dict[str, Callable[[Path], Path]] = {
    "qwen2-vl": tiny.qwen,
    "qwen2.5-vl": lambda folder: tiny.qwen(folder, "qwen2.5"),
    "qwen3-vl": lambda folder: tiny.qwen(folder, "qwen3"),
    "qwen3.5": lambda folder: tiny.qwen(folder, "qwen3.5"),
    "blip2": tiny.blip2,
    "auroracap": tiny.auroracap,
    "small": tiny.smol,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny checkpoint, made once."""
    root = tmp_path_factory.mktemp("describers")
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = MAKERS[family](root / family)
        return made[family]

    return folder


def noise(seed: int, count: int = 3) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(0, 255, (128, 72, 3), np.uint8) for _ in range(count))


def prompt(seed: int, count: int = 3, text: str = "Describe.") -> Prompt:
    times = tuple(10 + 0.5 * k for k in range(count))
    return Prompt(text, noise(seed, count), times, QUESTIONS)


def video(count: int = 8) -> Frames:
    return Frames.of([k / 2 for k in range(count)], list(noise(9, count)), count / 2)


def shots() -> Cuts:
    return Cuts.model_construct(
        shots=[Shot(start=0.0, end=2.0, index=0), Shot(start=2.0, end=4.0, index=1)]
    )


# The whole way


@pytest.mark.slow
@pytest.mark.parametrize("family", DESCRIBERS)
def test_each_variant_runs_from_folder_to_description(family: str, folders: Any):
    """Random weights speak nonsense: every window has its raw answer, and nothing else is said."""
    for variant in DESCRIBERS[family].variants:
        place = folders(family)
        assert all(weights.whole(place) for weights in variant.weights.values())
        made = Qwen2VlTemporal(DescriptionOptions(describer=family, tokens=16, whole_tokens=16))
        made.load(variant, "cpu", {"describer": place})
        result = made.analyze(video(), shots(), None)
        assert isinstance(result, Partial)
        output = result.output
        assert isinstance(output, Description)
        assert [(w.start, w.end, w.shot) for w in output.windows] == [(0, 2, 0), (2, 4, 1)]
        assert all(w.setting is None and w.tokens for w in output.windows)
        assert output.title is None
        assert "title" in {m.part for m in result.missing}
        again = made.analyze(video(), shots(), None)
        assert again == result  # nothing is drawn by lot


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2-vl", "qwen2.5-vl", "qwen3-vl", "qwen3.5", "small"])
def test_two_windows_are_two_inputs(family: str, folders: Any):
    """Checked where pictures enter the model, behind the processor."""
    made = Qwen2VlTemporal(DescriptionOptions(describer=family, tokens=16, whole_tokens=16))
    made.load(DESCRIBERS[family].variants[-1], "cpu", {"describer": folders(family)})
    made.batch = 1
    entered: list[Any] = []
    inner = made.describer.inputs  # type: ignore[union-attr]

    def watched(prompts: Any) -> Any:
        entered.append(inner(prompts))
        return entered[-1]

    made.describer.inputs = watched  # type: ignore[union-attr]
    made.analyze(video(), shots(), None)
    name = "pixel_values" if family == "small" else "pixel_values_videos"
    first, second, whole = entered
    assert first[name].shape == second[name].shape
    assert (first[name] != second[name]).float().mean() > 0.9
    assert name not in whole


@pytest.mark.slow
@pytest.mark.parametrize("family", ["blip2", "auroracap"])
def test_two_windows_are_two_inputs_of_captioners(family: str, folders: Any):
    made = Qwen2VlTemporal(DescriptionOptions(describer=family, tokens=16, whole_tokens=16))
    made.load(DESCRIBERS[family].variants[-1], "cpu", {"describer": folders(family)})
    made.batch = 1
    seen: list[Any] = []
    eyes = made.describer.eyes if family == "auroracap" else made.describer.model.vision_model  # type: ignore[union-attr]
    hook = eyes.embeddings if family == "blip2" else eyes.get_input_embeddings()
    hook.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    made.analyze(video(), shots(), None)
    assert len(seen) == 2
    assert seen[0].shape[1:] == seen[1].shape[1:]
    assert (seen[0][0] != seen[1][0]).float().mean() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2-vl", "small"])
def test_a_batch_is_answered_like_one_by_one(family: str, folders: Any):
    """Prompts of unlike lengths, padded on the left; in float32, where rounding decides nothing."""
    kinds: dict[str, Any] = {"qwen2-vl": QwenVl, "small": SmolVlm}
    describer = kinds[family](folders(family), "cpu")
    describer.model.float()
    prompts = [prompt(1), prompt(2, 1, "A longer text of more words."), Prompt("No pictures.")]
    if family == "small":
        prompts = prompts[:2]
    together = describer.answer(prompts, tokens=8, seconds=60)
    apart = [describer.answer([one], tokens=8, seconds=60)[0] for one in prompts]
    assert together == apart
    assert [a.tokens for a in apart] == [8] * len(apart)
    assert not any(a.ended for a in apart)


@pytest.mark.slow
def test_an_answer_ends_at_the_mark_and_at_the_limits(folders: Any):
    import torch

    describer = QwenVl(folders("qwen2-vl"), "cpu")
    end = describer.model.generation_config.eos_token_id
    with torch.no_grad():
        describer.model.lm_head.weight.zero_()
        describer.model.lm_head.weight[end] = 1.0
    hidden = describer.model.lm_head.register_forward_pre_hook(lambda _, x: (x[0].abs(),))
    assert describer.answer([prompt(1)], tokens=50, seconds=60) == [Answer("", 0, True)]
    with torch.no_grad():
        describer.model.lm_head.weight[end] = 0.0
        describer.model.lm_head.weight[ord("A") - ord("!")] = 1.0  # bytes stand in order of letters
    [endless] = describer.answer([prompt(1)], tokens=50, seconds=60)
    assert (endless.tokens, endless.ended) == (50, False)
    assert len(set(endless.text)) == 1
    [short] = describer.answer([prompt(1)], tokens=5000, seconds=0.2)
    assert not short.ended
    assert 0 < (short.tokens or 0) < 5000
    hidden.remove()


# Quantised


@pytest.mark.slow
def test_nf4_leaves_the_eyes_and_the_last_layer(folders: Any):
    kinds = layer_kinds(QwenVl(folders("qwen2-vl"), "cpu", "nf4").model)
    assert kinds["model.language_model.layers.0.mlp.up_proj"] == "Linear4bit"
    assert kinds["lm_head"] == "Linear"
    assert {k for name, k in kinds.items() if "visual" in name} == {"Linear"}


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "kind"), [("nf4", "Linear4bit"), ("int8", "Linear8bitLt")])
def test_blip2_is_quantised_but_for_what_joins_its_parts(folders: Any, bits: Any, kind: str):
    kinds = layer_kinds(Blip2(folders("blip2"), "cpu", bits).model)
    assert kinds["language_projection"] == "Linear"
    assert kinds["vision_model.encoder.layers.0.mlp.fc1"] == kind
    assert kinds["language_model.model.decoder.layers.0.fc1"] == kind


def layer_kinds(model: Any) -> dict[str, str]:
    return {n: type(m).__name__ for n, m in model.named_modules() if "Linear" in type(m).__name__}


def test_the_name_of_a_variant_says_how_it_is_quantised():
    for family in DESCRIBERS.values():
        for variant in family.variants:
            bits = bits_of(variant)
            assert (bits or "") == variant.name.rpartition("-")[2] or bits is None
            size = variant.weights["describer"].size_gib
            assert size is not None
            if variant.vram is None:
                assert bits is None
            else:
                assert (variant.vram.weights < 0.6 * size) == (bits is not None or size == 1.9)


# Folders that are not what they should be


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2-vl", "blip2", "small"])
def test_absent_weights_are_an_error(family: str, folders: Any, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "copy"
    shutil.copytree(folders(family), folder)
    weights = load_file(folder / "model.safetensors")
    gone = next(name for name in weights if "layers.0" in name and "mlp" in name)
    save_file({n: w for n, w in weights.items() if n != gone}, folder / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    with pytest.raises(ValueError, match=r"lacks .*layers\.0"):
        DESCRIBERS[family].load(DESCRIBERS[family].variants[-1], "cpu", folder, 10_000)
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match="safetensors"):
        DESCRIBERS[family].load(DESCRIBERS[family].variants[-1], "cpu", folder, 10_000)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2-vl", "blip2", "small", "auroracap"])
def test_code_in_a_folder_is_refused(family: str, folders: Any, tmp_path: Path):
    folder = tmp_path / "copy"
    shutil.copytree(folders(family), folder)
    variant = DESCRIBERS[family].variants[-1]
    (folder / "modeling_evil.py").write_text("raise SystemExit")
    with pytest.raises(UnsafeCheckpoint, match="code"):
        DESCRIBERS[family].load(variant, "cpu", folder, 10_000)
    (folder / "modeling_evil.py").unlink()
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "modeling_evil.Evil"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsafeCheckpoint, match="auto_map"):
        DESCRIBERS[family].load(variant, "cpu", folder, 10_000)


def test_auroracap_names_all_that_it_does_not_find(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(NotAuroraCap) as error:
        check(tmp_path)
    for name in (
        "*.safetensors", "tokenizer_config.json", "visual_encoder/config.json",
        "visual_encoder/*.safetensors", "projector/*.safetensors",
        "tokenizer.json or tokenizer.model",
    ):  # fmt: skip
        assert name in str(error.value)


@pytest.mark.slow
def test_auroracap_refuses_another_layout(folders: Any, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "copy"
    shutil.copytree(folders("auroracap"), folder)
    projector = folder / "projector" / "model.safetensors"
    good = load_file(projector)
    renamed = {name.replace("model.2", "layers.2"): w for name, w in good.items()}
    save_file(renamed, projector)
    words = (
        r"lacks model\.2\.weight, model\.2\.bias and contains layers\.2\.bias, layers\.2\.weight"
    )
    with pytest.raises(NotAuroraCap, match=words):
        AuroraCap(folder, "cpu")
    save_file({**good, "model.0.weight": good["model.0.weight"][:, :40].contiguous()}, projector)
    with pytest.raises(NotAuroraCap, match=r"shape \(64, 40\), not \(64, 48\)"):
        AuroraCap(folder, "cpu")
    save_file(good, projector)
    facts = json.loads((folder / "projector" / "config.json").read_text())
    (folder / "projector" / "config.json").write_text(json.dumps(facts | {"depth": 3}))
    with pytest.raises(NotAuroraCap, match="depth 3, not 2"):
        AuroraCap(folder, "cpu")


# AuroraCap's eyes


@pytest.mark.slow
def test_without_merging_auroracap_sees_what_clip_sees(folders: Any):
    import torch
    from transformers import CLIPVisionModel

    from actors.qwen2_vl_temporal.describers.auroracap import merged_tokens, normalised

    eyes = CLIPVisionModel.from_pretrained(folders("auroracap") / "visual_encoder").eval()
    pixels = normalised(noise(3, 2), 56)
    with torch.inference_mode():
        mine = merged_tokens(eyes, pixels, 1.0)
        clip = eyes(pixels, output_hidden_states=True, interpolate_pos_encoding=True)
        fewer = merged_tokens(eyes, pixels, 0.25)
    assert torch.allclose(mine, clip.hidden_states[-2][:, 1:], atol=1e-5)
    assert mine.shape[1] == 16
    assert fewer.shape[1] == 16 - 2 * 4  # int(16 * 0.75 / 3 layers) in each layer but the last


@pytest.mark.slow
def test_merging_joins_the_most_alike_and_keeps_the_sum():
    import torch

    from actors.qwen2_vl_temporal.describers.auroracap import merge

    keys = torch.tensor([[[1.0, 0], [0, 1], [0.0, 1.0], [1, 0.1], [-1, 0.2], [0.3, 1]]])
    hidden = torch.arange(6.0).reshape(1, 6, 1)
    size = torch.ones(1, 6, 1)
    merged, sizes = merge(hidden, size, keys, 1)
    # Of tokens 2 and 4 (0 is the class), 2 is most alike to a token of the other half: token 1.
    assert merged.ravel().tolist() == [0, 4, 1.5, 3, 5]
    assert sizes.ravel().tolist() == [1, 1, 2, 1, 1]
    assert (merged * sizes).sum() == hidden.sum()
    twice, sizes = merge(hidden, size, keys, 9)
    assert twice.shape[1] == 4  # never more than half, never the class
    assert float((twice * sizes).sum()) == pytest.approx(float(hidden.sum()))


@pytest.mark.slow
def test_pixels_are_normalised_as_clip_was_trained():
    from actors.qwen2_vl_temporal.describers.auroracap import normalised

    orange = np.full((100, 60, 3), (255, 128, 0), np.uint8)
    pixels = normalised([orange], 28)
    assert tuple(pixels.shape) == (1, 3, 28, 28)
    expected = (np.array([1, 128 / 255, 0]) - (0.48145466, 0.4578275, 0.40821073)) / (
        0.26862954, 0.26130258, 0.27577711,
    )  # fmt: skip
    assert pixels[0, :, 5, 5].numpy() == pytest.approx(expected, abs=1e-4)


# Around the models


@given(st.integers(2, 3000), st.integers(2, 3000), st.integers(3136, 1_003_520))
def test_pictures_keep_their_shape_within_the_pixels(height: int, width: int, pixels: int):
    high, wide = size_within(height, width, pixels, 28)
    assert high % 28 == wide % 28 == 0
    assert high * wide <= max(pixels, 2 * 28 * 28)
    assert high <= height + 28
    assert wide <= width + 28
    if min(high, wide) >= 140:
        assert high / wide == pytest.approx(height / width, rel=0.25)


@pytest.mark.slow
def test_times_reach_the_processor_as_they_are():
    from transformers.video_utils import VideoMetadata

    facts = VideoMetadata(**clock([10.0, 10.5, 11.0]))
    assert facts.timestamps == [10.0, 10.5, 11.0]
    assert facts.sampled_fps == pytest.approx(2.0)
    assert VideoMetadata(**clock([3.0])).timestamps == [3.0]


@pytest.mark.slow
def test_qwen3_reads_the_times_of_its_pictures(folders: Any):
    describer = QwenVl(folders("qwen3-vl"), "cpu", pixels=10_000)
    ids = describer.inputs([prompt(1, 4)])["input_ids"][0]
    text = describer.processor.tokenizer.decode(ids)
    assert "<10.2 seconds>" in text  # of 10.0 and 10.5 s, which are merged
    assert "<11.2 seconds>" in text


@pytest.mark.slow
def test_pixels_limit_the_tokens(folders: Any):
    few = QwenVl(folders("qwen2-vl"), "cpu", pixels=3136).inputs([prompt(1, 4)])
    many = QwenVl(folders("qwen2-vl"), "cpu", pixels=9216).inputs([prompt(1, 4)])
    mark = tiny.letters(tiny.QWEN_MARKS)["<|video_pad|>"]
    assert (few["input_ids"] == mark).sum() == 2 * 2 * 1  # two pairs of pictures of 56 x 28
    assert (many["input_ids"] == mark).sum() == 2 * 4 * 2


def test_smolvlm_is_asked_in_its_own_form():
    text = conversation(Prompt("What?", noise(1, 2), (1.0, 62.5)), [1.0, 62.5], 2)
    picture = "<fake_token_around_image><global-img><image><image><fake_token_around_image>"
    assert text == (
        "<|im_start|>User: You are provided the following series of two frames from a 0:01:02 "
        f"[H:MM:SS] video.\n\nFrame from 00:01:{picture}\nFrame from 01:02:{picture}\n\n"
        "What?<end_of_utterance>\nAssistant:"
    )
    assert conversation(Prompt("Sum up."), [], 2) == (
        "<|im_start|>User: Sum up.<end_of_utterance>\nAssistant:"
    )


def test_of_blip2s_replies_the_first_line_counts():
    replies = {
        "setting": Answer("a kitchen\nQuestion: who? Answer: me", 24, False),
        "people": Answer("a woman", 3, True),
        "mood": Answer("happy happy happy happy happy", 24, False),
    }
    found = joined(replies, 24)
    assert found == Answer("setting: a kitchen\npeople: a woman\nmood: ", 51, True)


@pytest.mark.slow
def test_blip2_is_asked_each_question_about_the_middle_picture(folders: Any):
    describer = Blip2(folders("blip2"), "cpu")
    asked: list[Any] = []
    inner = describer.inputs

    def watched(pictures: Any, questions: Any) -> Any:
        asked.append((pictures, questions))
        return inner(pictures, questions)

    describer.inputs = watched  # type: ignore[method-assign]
    first, second = prompt(1, 3), prompt(2, 1)
    found = describer.answer([first, second], tokens=6, seconds=60)
    [(pictures, questions)] = asked
    assert list(questions) == list(QUESTIONS.values()) * 2
    assert [any((p == q).all() for q in [first.pictures[1]]) for p in pictures[:5]] == [True] * 5
    assert all((p == second.pictures[0]).all() for p in pictures[5:])
    assert [line.partition(":")[0] for line in found[0].text.splitlines()] == list(QUESTIONS)


def test_answers_end_where_a_token_says_so():
    class Letters:
        def decode(self, row: Any, *, skip_special_tokens: bool) -> str:
            assert skip_special_tokens
            return "".join(chr(k) for k in row)

    assert answer_of([65, 66, 7, 7], {7, 9}, Letters()) == Answer("AB", 2, True)
    assert answer_of([65, 66], {7}, Letters()) == Answer("AB", 2, False)
    assert answer_of([7], {7}, Letters()) == Answer("", 0, True)
