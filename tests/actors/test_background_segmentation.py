"""Backgrounds: with a model that sees colours, hand-made class shares, and a tiny checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from actors.background_segmentation import (
    Background,
    BackgroundOptions,
    BackgroundSegmentation,
    changes_of,
    class_shares,
    describe,
    environment_spans,
    without_persons,
)
from actors.cut_analysis import Cuts, Shot
from tiktok_ray.analyzer import Analyzer
from tiktok_ray.media import Frames
from tiktok_ray.methods.onnx_export import ExportFailed
from tiktok_ray.methods.vision.sampling import holds
from tiktok_ray.methods.vision.scene_classes import SPEAKS_FOR, environment_of
from tiktok_ray.methods.vision.segformer import InTorch, Segmenter, network_size
from tiktok_ray.report import undeclared

LABELS = ["wall", "building", "sky", "floor", "tree", "road", "person", "sea", "plant"]
COLOURS = np.array([
    (200, 200, 200), (120, 60, 40), (90, 160, 250), (150, 110, 60), (30, 130, 40), (70, 70, 75),
    (230, 170, 140), (20, 60, 140), (120, 220, 60),
])  # fmt: skip


class Nearest:
    """Sees in each pixel the class whose colour is nearest."""

    def __init__(self) -> None:
        self.labels = dict(enumerate(LABELS))

    def __call__(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        pixels = np.stack(pictures).astype(int)[..., None, :]
        return np.asarray(np.abs(pixels - COLOURS).sum(-1).argmin(-1))


def picture(**shares: float) -> np.ndarray:
    """Stripes of classes, top to bottom, of given shares of a 160 x 96 picture."""
    rows = np.concatenate([
        np.full(round(share * 160), LABELS.index(name)) for name, share in shares.items()
    ])  # fmt: skip
    return np.repeat(COLOURS[rows].astype(np.uint8)[:, None], 96, axis=1)


ROOM = {"wall": 0.5, "floor": 0.3, "person": 0.2}
STREET = {"sky": 0.3, "building": 0.4, "road": 0.3}
WOOD = {"sky": 0.2, "tree": 0.7, "plant": 0.1}


def video(pictures: list[np.ndarray], fps: float = 2) -> Frames:
    return Frames.of([k / fps for k in range(len(pictures))], pictures, len(pictures) / fps)


def cuts(*times: float) -> Cuts:
    starts = [0.0, *times]
    return Cuts.model_construct(
        shots=[Shot(start=t, end=t + 1, index=i) for i, t in enumerate(starts)]
    )


def analyzer(**options: Any) -> BackgroundSegmentation:
    made = BackgroundSegmentation(BackgroundOptions(**options))
    made.model = Nearest()  # type: ignore[assignment]
    return made


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    """Inputs that differ in everything that backgrounds are described by."""
    room, street, wood = (picture(**shares) for shares in (ROOM, STREET, WOOD))
    mixed = picture(wall=0.4, floor=0.2, tree=0.1, person=0.3)
    return [
        (analyzer(), {"frames": video([room] * 6), "cut_analysis": None}),
        (analyzer(), {"frames": video([street] * 3 + [wood] * 5), "cut_analysis": cuts(1.4)}),
        (analyzer(), {"frames": video([mixed] * 4 + [street] * 4), "cut_analysis": None}),
    ]


def test_every_field_says_what_it_rests_on():
    assert list(undeclared(Background)) == []


def test_a_room_with_somebody_in_it():
    found = analyzer().analyze(video([picture(**ROOM)] * 6), None)
    assert found.environment == "indoor"
    [span] = found.environments
    assert (span.start, span.end) == (0.0, 3.0)
    assert span.rests_on == ["wall", "floor"]
    assert span.evidence == pytest.approx(1.0)
    assert [(c.label, round(c.share, 2)) for c in found.classes] == [
        ("wall", 0.5), ("floor", 0.3), ("person", 0.2),
    ]  # fmt: skip
    assert found.person_share == pytest.approx(0.2)
    assert found.changes == []
    assert found.times == [0.0, 1.0, 2.0]
    assert found.headline() == "indoor, wall 50%, floor 30%, 0 changes"


def test_a_street_then_a_wood_changes_at_the_cut():
    pictures = [picture(**STREET)] * 3 + [picture(**WOOD)] * 5
    found = analyzer().analyze(video(pictures), cuts(1.4))
    assert [(e.environment, e.start, e.end) for e in found.environments] == [
        ("street", 0.0, 1.4), ("nature", 1.5, 4.0),
    ]  # fmt: skip
    assert found.environment == "nature"
    [change] = found.changes
    assert change.time == 1.4
    assert change.distance == pytest.approx(0.8)
    [without] = analyzer(fps=2).analyze(video(pictures), None).changes
    assert without.time == 1.5


def test_a_person_who_walks_in_changes_no_background():
    empty, taken = picture(wall=0.6, floor=0.4), picture(wall=0.18, floor=0.12, person=0.7)
    found = analyzer().analyze(video([empty] * 4 + [taken] * 4), None)
    assert found.changes == []
    assert found.person_shares == pytest.approx([0, 0, 0.7, 0.7], abs=0.01)
    assert found.person_share == pytest.approx(0.35, abs=0.01)


def test_every_shot_is_looked_at():
    pictures = [picture(**STREET), picture(**ROOM), picture(**WOOD), picture(**ROOM)]
    found = analyzer().analyze(video(pictures), cuts(0.4, 0.9, 1.4))
    assert found.times == [0.0, 0.5, 1.0, 1.5]
    assert [c.time for c in found.changes] == [0.4, 0.9, 1.4]


def test_batches_change_nothing():
    frames = video([picture(**STREET)] * 5 + [picture(**WOOD)] * 4)
    one = analyzer(fps=2)
    one.batch = 1
    assert one.analyze(frames, None) == analyzer(fps=2).analyze(frames, None)


def test_samples_count_by_the_time_they_stand_for():
    shares = np.array([[1.0, 0, 0], [0, 0, 1.0]])
    found = describe(shares, ["wall", "sky", "person"], holds([0, 3], 4), [], 0.4)
    assert [c.share for c in found.classes] == [0.75, 0.25]
    assert found.person_share == 0.25


def test_shares_are_counted_pixels():
    maps = np.array([[[0, 0], [0, 2]], [[1, 1], [1, 1]]])
    assert class_shares(maps, 4).tolist() == [[0.75, 0, 0.25, 0], [0, 1, 0, 0]]


@pytest.mark.parametrize(
    ("shares", "environment"),
    [
        ({"wall": 0.6, "floor": 0.4}, "indoor"),
        ({"wall": 0.5, "tree": 0.3, "sky": 0.2}, "nature"),
        ({"wall": 0.6, "tree": 0.2, "sky": 0.2}, "indoor"),
        ({"building": 0.5, "tree": 0.3, "sky": 0.2}, "street"),
        ({"sky": 0.7, "tree": 0.2, "building": 0.1}, "nature"),
        ({"sky": 0.95, "tree": 0.05}, "sky"),
        ({"sea": 0.4, "sky": 0.6}, "water"),
        ({"plant": 0.8, "wall": 0.2}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_environments(shares, environment):
    background = np.array([shares.get(label, 0.0) for label in LABELS])
    assert environment_of(background, LABELS) == environment


def test_all_classes_that_speak_for_a_place_are_classes_of_ade20k():
    """Names as in the label list of the ADE20K scene parsing benchmark."""
    ade20k = {
        "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane",
        "grass", "cabinet", "sidewalk", "person", "earth", "door", "table", "mountain", "plant",
        "curtain", "chair", "car", "water", "painting", "sofa", "shelf", "house", "sea", "mirror",
        "rug", "field", "armchair", "seat", "fence", "desk", "rock", "wardrobe", "lamp",
        "bathtub", "railing", "cushion", "base", "box", "column", "signboard", "chest of drawers",
        "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand",
        "path", "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway",
        "river", "bridge", "bookcase", "blind", "coffee table", "toilet", "flower", "book",
        "hill", "bench", "countertop", "stove", "palm", "kitchen island", "computer",
        "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus", "towel", "light",
        "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television receiver",
        "airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman",
        "bottle", "buffet", "poster", "stage", "van", "ship", "fountain", "conveyer belt",
        "canopy", "washer", "plaything", "swimming pool", "stool", "barrel", "basket",
        "waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food", "step", "tank",
        "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen",
        "blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan",
        "fan", "pier", "crt screen", "plate", "monitor", "bulletin board", "shower", "radiator",
        "glass", "clock", "flag",
    }  # fmt: skip
    assert len(ade20k) == 150
    assert set(SPEAKS_FOR) <= ade20k


def test_an_environment_names_its_classes_largest_first():
    background = np.zeros((2, len(LABELS)))
    background[:, [LABELS.index(x) for x in ("wall", "floor", "tree")]] = [0.3, 0.6, 0.1]
    [span] = environment_spans(background, LABELS, holds([0, 1], 2))
    assert span.rests_on == ["floor", "wall"]
    assert span.evidence == pytest.approx(0.9)


def vector(**shares: float) -> list[float]:
    return [shares.get(label, 0.0) for label in LABELS]


def test_of_a_gradual_change_the_steepest_moment_counts():
    rows = [vector(wall=1 - x, tree=x) for x in (0, 0, 0.3, 0.8, 1, 1)]
    [change] = changes_of(np.array(rows), [0, 1, 2, 3, 4, 5], [], 0.4)
    assert change.time == 3
    assert change.distance == pytest.approx(0.9 - 0.15)


def test_a_slow_pan_and_one_odd_sample_are_no_change():
    pan = [vector(wall=1 - x, tree=x) for x in np.linspace(0, 1, 12)]
    assert changes_of(np.array(pan), list(range(12)), [], 0.4) == []
    odd = [vector(wall=1)] * 3 + [vector(wall=0.4, tree=0.6)] + [vector(wall=1)] * 3
    assert changes_of(np.array(odd), list(range(7)), [], 0.4) == []


def test_samples_full_of_a_person_are_passed_over():
    rows = np.array([vector(wall=1), vector(), vector(), vector(wall=1), vector(tree=1)])
    [change] = changes_of(rows, [0, 1, 2, 3, 4], [2.5, 3.5], 0.4)
    assert change.time == 3.5


shares = arrays.arrays(float, (5, len(LABELS)), elements=st.floats(0, 1)).map(
    lambda rows: (rows + 1e-3) / (rows + 1e-3).sum(axis=1, keepdims=True)
)


@given(shares)
def test_backgrounds_add_up_and_know_no_persons(rows):
    background = without_persons(rows, LABELS)
    persons = rows[:, LABELS.index("person")]
    assert background[:, LABELS.index("person")].max() == 0
    for total, person in zip(background.sum(axis=1), persons, strict=True):
        if abs(1 - person - 0.05) > 1e-9:
            assert total == pytest.approx(1 if 1 - person >= 0.05 else 0)


@given(shares, st.lists(st.floats(0, 5), max_size=4))
def test_changes_lie_in_the_video_and_distances_in_range(rows, breaks):
    for change in changes_of(without_persons(rows, LABELS), [0, 1, 2, 3, 4], breaks, 0.1):
        assert 0 < change.time <= 4
        assert 0.1 <= change.distance <= 1


@pytest.mark.parametrize(
    ("shape", "size"),
    [((512, 512), (512, 512)), ((910, 512), (672, 384)), ((512, 910), (384, 672)), ((2, 2), (512, 512))],
)  # fmt: skip
def test_pictures_keep_their_shape_in_the_network(shape, size):
    assert network_size(*shape) == size


# Loading: a tiny checkpoint with random weights, as the library saves it.


def tiny(folder: Path, *, pickled: bool = False) -> Path:
    import torch
    import transformers

    torch.manual_seed(3)
    names = {k: f"class {k}" for k in range(150)} | {0: "wall", 7: "bed ", 12: "person"}
    config = transformers.SegformerConfig(
        num_labels=150, hidden_sizes=[8, 16, 20, 32], depths=[1, 1, 1, 1], decoder_hidden_size=16,
        id2label=names, label2id={v: k for k, v in names.items()},
    )  # fmt: skip
    model = transformers.SegformerForSemanticSegmentation(config)
    model.save_pretrained(folder)
    transformers.SegformerImageProcessor(do_reduce_labels=True).save_pretrained(folder)
    if pickled:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "bin"])
def test_a_checkpoint_is_loaded_and_segments_batches(tmp_path: Path, pickled: bool):
    folder = tiny(tmp_path / "tiny", pickled=pickled)
    for variant in BackgroundSegmentation.variants:
        assert variant.weights["segmenter"].whole(folder)
    made = BackgroundSegmentation()
    made.load(made.variants[-1], "cpu", {"segmenter": folder})
    assert made.model.labels[7] == "bed"
    noise = np.random.default_rng(2).integers(0, 255, (3, 96, 54, 3), np.uint8)
    maps = made.model(list(noise))
    height, width = network_size(96, 54)
    assert maps.shape == (3, height // 4, width // 4)
    assert (maps[1] == made.model([noise[1]])[0]).mean() > 0.999
    found = made.analyze(video(list(noise), fps=1), None)
    assert found.times == [0, 1, 2]
    means = class_shares(maps, 150).mean(axis=0)
    largest = found.classes[0]
    assert largest.label == made.model.labels[int(means.argmax())]
    assert largest.share == pytest.approx(means.max(), abs=0.02)  # frames are halved in chroma


@pytest.mark.slow
def test_pictures_are_normalised_as_the_checkpoint_says(tmp_path: Path):
    """What reaches the network: RGB in 0..1, less ImageNet's means, over its deviations."""
    segment = Segmenter(tiny(tmp_path / "tiny"), "cpu")
    seen: list[Any] = []

    def network(pixels: Any) -> Any:
        seen.append(pixels)
        return np.array([[[0, 5], [0, 0]]])

    segment.network = network
    orange = np.full((64, 64, 3), (255, 128, 0), np.uint8)
    assert segment([orange]).tolist() == [[[0, 5], [0, 0]]]
    [pixels] = seen
    assert pixels.shape == (1, 3, 512, 512)
    expected = (np.array([1, 128 / 255, 0]) - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    assert pixels[0, :, 100, 100] == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
def test_pictures_are_segmented_as_transformers_does_it(tmp_path: Path):
    """Its own processor and network, in torch, at the size that we give it."""
    import torch
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    folder = tiny(tmp_path / "tiny")
    noise = np.random.default_rng(5).integers(0, 255, (2, 130, 75, 3), np.uint8)
    noise = noise.repeat(3, 1).repeat(3, 2)
    height, width = network_size(*noise[0].shape[:2])
    processor = AutoImageProcessor.from_pretrained(folder)
    size = {"height": height, "width": width}
    given = processor(images=list(noise), size=size, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        wanted = AutoModelForSemanticSegmentation.from_pretrained(folder)(given).logits.argmax(1)
    plain = Segmenter(folder, "cpu")
    assert (plain(list(noise)) == wanted.numpy()).mean() > 0.99
    plain.network = InTorch(folder, "cpu")
    assert (plain(list(noise)) == wanted.numpy()).mean() > 0.99


@pytest.mark.slow
def test_a_checkpoint_without_its_head_is_an_error(tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = tiny(tmp_path / "tiny")
    weights = load_file(folder / "model.safetensors")
    kept = {name: w for name, w in weights.items() if "classifier" not in name}
    assert 0 < len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ExportFailed, match="classifier"):
        Segmenter(folder, "cpu")
    with pytest.raises(ValueError, match="classifier"):
        InTorch(folder, "cpu")


@pytest.mark.slow
def test_an_empty_folder_is_an_error(tmp_path: Path):
    with pytest.raises((OSError, ValueError)):
        Segmenter(tmp_path, "cpu")
