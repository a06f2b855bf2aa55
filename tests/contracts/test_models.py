"""What transformers, accelerate and bitsandbytes do with pictures, memory and numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.qwen2_vl_temporal.describers import Prompt
from actors.qwen2_vl_temporal.describers.qwen_vl import QwenVl, clock
from actors.qwen2_vl_temporal.describers.small_vl import SmolVlm
from tests import tiny_describers as tiny
from tiktok_ray.run.worker import _is_out_of_memory

pytestmark = pytest.mark.slow  # transformers takes seconds to import

PICTURES = [np.full((64, 64, 3), 8 * k, np.uint8) for k in range(30)]


def test_qwen3_keeps_four_of_thirty_pictures_of_which_it_is_told_no_rate():
    """It takes them for 24 a second and two of these for enough, and its times with it. With our
    metadata and no sampling all are kept."""
    from transformers import Qwen3VLVideoProcessor

    processor = Qwen3VLVideoProcessor()
    video = np.stack(PICTURES)
    left = processor(videos=[video], return_tensors="pt", return_metadata=True)
    facts = left["video_metadata"][0]
    assert left["video_grid_thw"][0, 0] == 2  # pairs
    assert (facts.fps, list(facts.frames_indices)) == (24, [0, 10, 19, 29])
    kept = processor(
        videos=[video],
        video_metadata=[clock([0.5 * k for k in range(30)])],
        do_sample_frames=False,
        return_tensors="pt",
        return_metadata=True,
    )
    assert kept["video_grid_thw"][0, 0] == 15
    assert kept["video_metadata"][0].timestamps == [0.5 * k for k in range(30)]


def test_qwen2_keeps_all_pictures():
    from transformers import Qwen2VLVideoProcessor

    kept = Qwen2VLVideoProcessor()(videos=[np.stack(PICTURES)], return_tensors="pt")
    assert kept["video_grid_thw"][0, 0] == 15


@pytest.mark.parametrize(("shape", "tiles"), [((512, 512), 17), ((360, 640), 13), ((100, 100), 17)])
def test_smolvlm_cuts_a_picture_into_tiles_by_its_shape_and_not_by_its_size(shape, tiles):
    """A picture of 100 x 100 is blown up to 17 tiles, each as dear as a picture."""
    from transformers import SmolVLMImageProcessor

    made = SmolVLMImageProcessor()([[np.zeros((*shape, 3), np.uint8)]], return_tensors="np")
    assert made["pixel_values"].shape[1] == tiles


def test_a_picture_is_one_tile_of_smolvlm_here(tmp_path: Path):
    describer = SmolVlm(tiny.smol(tmp_path), "cpu")
    made = describer.inputs([Prompt("what?", tuple(PICTURES[:3]), (0.0, 0.5, 1.0), {})])
    assert made["pixel_values"].shape[1] == 3


def test_qwen3_is_given_every_picture_here(tmp_path: Path):
    describer = QwenVl(tiny.qwen(tmp_path, "qwen3"), "cpu", pixels=10_000)
    times = tuple(0.25 * k for k in range(8))
    made = describer.inputs([Prompt("what?", tuple(PICTURES[:8]), times, {})])
    assert made["video_grid_thw"][0, 0] == 4


def test_int8_ignores_its_threshold_on_a_cpu():
    """Outliers are to be kept in 16 bits (LLM.int8()); on a CPU every threshold gives one result."""
    import torch
    from bitsandbytes.nn.modules import Linear8bitLt

    torch.manual_seed(0)
    plain = torch.nn.Linear(256, 64, bias=False)
    inputs = torch.randn(8, 256)
    inputs[:, 3] *= 200

    def outputs(threshold: float) -> Any:
        layer = Linear8bitLt(256, 64, bias=False, has_fp16_weights=False, threshold=threshold)
        layer.load_state_dict(plain.state_dict())
        return layer.to("cpu")(inputs)

    assert torch.equal(outputs(0.0), outputs(6.0))


@pytest.mark.parametrize(
    ("error", "caught"),
    [
        (MemoryError(), False),
        (RuntimeError("CUDA out of memory."), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"), True),
    ],
)
def test_accelerates_search_for_a_batch_size_lets_a_memory_error_pass(error, caught):
    """Python's own error has no text to be known by. Ours knows it by its type."""
    from accelerate.utils import find_executable_batch_size

    tried: list[int] = []

    def attempt(batch_size: int) -> int:
        tried.append(batch_size)
        if batch_size > 3:
            raise error
        return batch_size

    work = find_executable_batch_size(attempt, starting_batch_size=4)
    if caught:
        assert work() == 3
    else:
        with pytest.raises(MemoryError):
            work()
        assert tried == [4]
    assert _is_out_of_memory(error)


def test_once_lowered_accelerates_batch_size_stays_low():
    """One call that ran out of memory makes all later calls of the function small."""
    from accelerate.utils import find_executable_batch_size

    tried: list[int] = []

    def attempt(batch_size: int, most: int) -> int:
        tried.append(batch_size)
        if batch_size > most:
            raise RuntimeError("CUDA out of memory.")
        return batch_size

    work = find_executable_batch_size(attempt, starting_batch_size=4)
    assert (work(2), work(9)) == (2, 2)
    assert tried == [4, 3, 2, 2]


def test_an_export_refuses_weights_that_ask_for_gradients_in_a_closure(tmp_path):
    """The exporter takes a function; weights that it closes over become constants. The error has
    every one of them in its message."""
    import torch

    inner = torch.nn.Linear(64, 3)

    class Outer(torch.nn.Module):  # type: ignore[misc]
        forward = staticmethod(inner)

    def export():
        torch.onnx.export(
            Outer(), (torch.zeros(1, 64),), str(tmp_path / "a.onnx"), dynamo=False, opset_version=17
        )

    with pytest.raises(RuntimeError, match="requires grad as a constant") as raised:
        export()
    assert str(raised.value).count("0.") >= 3 * 64  # the weights themselves
    inner.requires_grad_(False)
    export()
    assert (tmp_path / "a.onnx").stat().st_size > 4 * 64 * 3
