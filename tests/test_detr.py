"""Detectors of the DETR family, from tiny checkpoints saved as the library saves real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.object_detection import DETECTORS, ObjectDetection, ObjectOptions
from tiktok_ray.media import Frames
from tiktok_ray.methods.onnx_export import ExportFailed
from tiktok_ray.methods.vision.detr import Detr, InTorch, kept

LABELS = {0: "person", 1: "bicycle", 2: "car", 3: "motorbike"}


def spread(model: Any) -> Any:
    """The model with weights that tell places apart. As transformers begins, all of them have the
    same scores, and which of these are the highest is for each library to say."""
    import torch

    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() > 1:
                weights.normal_(0, (2 / weights[0].numel()) ** 0.5)
            elif name.endswith("bias") and "sampling_offsets" not in name:
                weights.normal_(0, 0.1)
    return model


def rt_detr(folder: Path) -> Path:
    import torch
    import transformers as t

    torch.manual_seed(0)
    backbone = t.RTDetrResNetConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 32, 64], embedding_size=8, layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = t.RTDetrV2Config(
        backbone_config=backbone, d_model=32, encoder_hidden_dim=32, encoder_in_channels=[16, 32, 64],
        encoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2, decoder_ffn_dim=32,
        decoder_layers=2, decoder_in_channels=[32, 32, 32], num_queries=20, num_denoising=0,
        id2label=LABELS,
    )  # fmt: skip
    spread(t.RTDetrV2ForObjectDetection(config)).save_pretrained(folder)
    t.RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def d_fine(folder: Path) -> Path:
    import torch
    import transformers as t

    torch.manual_seed(0)
    backbone = t.HGNetV2Config(
        stem_channels=[3, 8, 8], stage_in_channels=[8, 16, 16, 32], stage_mid_channels=[8, 8, 16, 16],
        stage_out_channels=[16, 16, 32, 32], stage_num_blocks=[1, 1, 1, 1], stage_numb_of_layers=[1, 1, 1, 1],
        embedding_size=8, hidden_sizes=[16, 16, 32, 32], depths=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = t.DFineConfig(
        backbone_config=backbone, d_model=32, encoder_hidden_dim=32, encoder_in_channels=[16, 32, 32],
        encoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2, decoder_ffn_dim=32,
        decoder_layers=2, decoder_in_channels=[32, 32, 32], num_queries=20, num_denoising=0,
        hidden_expansion=0.5, depth_mult=0.34, id2label=LABELS,
    )  # fmt: skip
    spread(t.DFineForObjectDetection(config)).save_pretrained(folder)
    t.RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


TINY: dict[Any, Any] = {"rt-detr": rt_detr, "d-fine": d_fine}


def noise(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (96, 64, 3), dtype=np.uint8) for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["rt-detr", "d-fine"])
def test_a_family_runs_from_folder_to_tracks(family, tmp_path):
    place = TINY[family](tmp_path)
    for variant in ObjectDetection.variants_for(ObjectOptions(detector=family)):
        assert all(weights.whole(place) for weights in variant.weights.values())
        made = ObjectDetection(ObjectOptions(detector=family, confidence=0.1))
        made.load(variant, "cpu", {"detector": place})
        assert isinstance(made.model, Detr)
        still = Frames.of([k / 5 for k in range(6)], noise(1) * 6, 1.2)
        made.model.floor = 0.0
        found = made.analyze(still, None)
        assert found.tracks
        assert {t.label for t in found.tracks} <= {"person", "bicycle", "car", "motorcycle"}
        assert found.samples == 3, "between two that show the same nobody looks"
        assert all(len(t.times) == found.samples for t in found.tracks)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["rt-detr", "d-fine"])
def test_a_picture_is_read_the_same_alone_and_in_a_batch(family, tmp_path):
    model = Detr(TINY[family](tmp_path), "cpu", floor=0.0)
    pictures = noise(3)
    together = model(pictures)
    for picture, rows in zip(pictures, together, strict=True):
        assert rows[:, :4].min() >= 0
        assert rows[:, :4].max() <= 1
        np.testing.assert_allclose(model([picture])[0], rows, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["rt-detr", "d-fine"])
def test_a_detector_sees_what_it_sees_in_transformers(family, tmp_path):
    """Its own processor and network, in torch: of pictures wide and tall, larger and smaller than
    what goes through the network. Pillow scales them: torchvision rounds some pixels differently."""
    import torch
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    folder = TINY[family](tmp_path)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    model = AutoModelForObjectDetection.from_pretrained(folder).eval()
    plain, in_torch = Detr(folder, "cpu", floor=0.2), Detr(folder, "cpu", floor=0.2)
    in_torch.network = InTorch(folder, "cpu")
    rng = np.random.default_rng(1)
    for height, width in ((360, 640), (910, 512), (64, 64), (41, 30)):
        picture = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        picture = picture.repeat(8, 0).repeat(8, 1)[:height, :width]
        given = processor(images=[picture], return_tensors="pt")
        with torch.inference_mode():
            outputs = model(**given)
        (found,) = processor.post_process_object_detection(
            outputs, threshold=0.2, target_sizes=[(1, 1)]
        )
        boxes, scores, classes = (found[key] for key in ("boxes", "scores", "labels"))
        wanted = kept(np.column_stack([boxes, scores, classes]), 0.0)
        assert len(wanted) > 3
        for eyes in (plain, in_torch):
            np.testing.assert_allclose(eyes([picture])[0], wanted, atol=1e-4)


@pytest.mark.slow
def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    place = rt_detr(tmp_path) / "model.safetensors"
    held = load_file(place)
    save_file({k: v for k, v in held.items() if "bbox_embed" not in k}, place)
    with pytest.raises(ExportFailed, match="lacks"):
        Detr(tmp_path, "cpu", floor=0.1)
    with pytest.raises(ValueError, match="lacks"):
        InTorch(tmp_path, "cpu")


def test_rows_lie_within_the_picture_and_above_the_floor():
    boxes = [[-0.1, 0.2, 0.5, 1.2], [1.1, 0.2, 1.3, 0.5], [0.1, 0.2, 0.3, 0.4]]
    rows = np.column_stack([boxes, [0.9, 0.8, 0.1], [2, 0, 1]]).astype(np.float32)
    np.testing.assert_allclose(kept(rows, 0.1), [[0, 0.2, 0.5, 1, 0.9, 2]], rtol=1e-6)


def test_only_the_family_asked_for_is_chosen_among():
    names = {v.name for v in ObjectDetection.variants_for(ObjectOptions(detector="rt-detr"))}
    assert names == {"rtdetr-v2-r50", "rtdetr-v2-r18"}
    assert ObjectDetection.variants_for(ObjectOptions()) == DETECTORS["yolov8"]
    licences = {w.licence for v in DETECTORS["rt-detr"] for w in v.weights.values()}
    assert licences == {"Apache-2.0"}


def test_what_runs_on_the_cpu_is_exported_when_it_is_pulled():
    for variant in (v for family in DETECTORS.values() for v in family):
        assert all(bool(weights.recipes) == variant.cpu for weights in variant.weights.values())
