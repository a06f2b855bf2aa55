"""What goes into YOLOv8, what comes out, and what is refused."""

import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiktok_ray.methods.inference import DEFAULT, Runtime, choose
from tiktok_ray.methods.onnx_export import ExportFailed
from tiktok_ray.methods.vision.yolo import (
    GREY,
    LEAST,
    InTorch,
    Yolo,
    checkpoint,
    pack,
    suppress,
    unpack,
)


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 200, np.uint8)


def test_portraits_stay_portraits_and_are_padded_right_and_below():
    packed, scale = pack([grey(568, 320)], 640)
    assert packed.shape == (1, 576, 320, 3)
    assert scale == 1
    assert (packed[0, :568] == 200).all()
    assert (packed[0, 568:] == GREY).all()


def test_large_pictures_are_scaled_down_and_small_ones_never_up():
    assert pack([grey(1280, 720)], 640)[0].shape == (1, 640, 384, 3)
    assert pack([grey(1280, 720)], 640)[1] == 0.5
    packed, scale = pack([grey(144, 176)] * 3, 640)
    assert packed.shape == (3, 160, 192, 3)
    assert scale == 1


def test_packing_leaves_the_pictures_alone():
    picture = grey(64, 64)
    picture.flags.writeable = False
    packed, _ = pack([picture], 640)
    packed[:] = 0
    assert (picture == 200).all()


def test_rows_become_shares_of_the_picture():
    rows = np.array([[180.0, 320, 360, 640, 0.9, 5, 90, 160, 0.7]])
    found = unpack(rows, 0.5, 1280, 720)
    assert found.tolist() == [[0.5, 0.5, 1.0, 1.0, 0.9, 5, 0.25, 0.25, 0.7]]


def test_boxes_are_clipped_and_those_in_the_padding_dropped():
    rows = np.array([[-10.0, 500, 160, 576, 0.9, 0], [0, 570, 320, 576, 0.8, 0]])
    found = unpack(rows, 1.0, 568, 320)
    assert found.tolist() == [[0, 500 / 568, 0.5, 1.0, 0.9, 0]]


def test_no_rows_are_no_finds():
    assert unpack(np.zeros((0, 57), np.float32), 1.0, 64, 64).shape == (0, 57)


@given(st.integers(32, 2000), st.integers(32, 2000), st.floats(0.1, 0.4), st.floats(0.5, 0.9))
def test_a_box_comes_back_where_it_was(height, width, low, high):
    packed, scale = pack([np.zeros((height, width, 3), np.uint8)], 640)
    assert max(packed.shape[1:3]) <= 640 + 31
    assert packed.shape[1] % 32 == packed.shape[2] % 32 == 0
    seen = np.array([[low * width, low * height, high * width, high * height]]) * scale
    found = unpack(np.concatenate([seen, [[0.5, 0]]], axis=1), scale, height, width)
    assert found[0, :4] == pytest.approx([low, low, high, high])


def test_checkpoints_name_their_address_and_licence():
    asset = checkpoint("yolov8n.pt", 0.006)
    assert asset.id == "ultralytics/yolov8n.pt"
    assert asset.url.endswith("/v8.3.0/yolov8n.pt")
    assert asset.licence == "AGPL-3.0"


def test_a_missing_checkpoint_is_an_error_and_makes_no_folder(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        Yolo(tmp_path / "nowhere" / "yolov8n.pt", "cpu", floor=0.25)
    assert not (tmp_path / "nowhere").exists()


def tiny_checkpoint(path: Path, task: str = "detect") -> Path:
    """A real YOLOv8 checkpoint of a few channels, with random weights."""
    import torch
    from ultralytics.nn.tasks import DetectionModel, PoseModel
    from ultralytics.utils import YAML
    from ultralytics.utils.checks import check_yaml

    torch.manual_seed(1)
    name, kind = {
        "detect": ("yolov8.yaml", DetectionModel),
        "pose": ("yolov8-pose.yaml", PoseModel),
    }[task]
    layout = YAML.load(check_yaml(name))
    layout["scales"] = {"t": [0.33, 0.0625, 1024]}
    layout["scale"] = "t"
    model = kind(layout, ch=3, verbose=False)
    model.names = dict(enumerate(["person", "bicycle"])) if task == "detect" else {0: "person"}
    if task == "detect":
        layout["nc"] = 2
        model = kind(layout, ch=3, nc=2, verbose=False)
        model.names = {0: "person", 1: "bicycle"}
    for level in model.model[-1].cv3:  # some boxes are sure, others not
        level[-1].bias.data.fill_(-2.9)
    torch.save({"model": model.half(), "train_args": {}}, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("task", "columns"), [("detect", 6), ("pose", 6 + 51)])
def test_a_checkpoint_is_loaded_and_looks_at_batches(tmp_path: Path, task: str, columns: int):
    model = Yolo(tiny_checkpoint(tmp_path / "tiny.pt", task), "cpu", floor=LEAST)
    assert model.names[0] == "person"
    noise = np.random.default_rng(1).integers(0, 255, (3, 96, 64, 3), np.uint8)
    together = model(list(noise))
    assert [rows.shape[1] for rows in together] == [columns] * 3
    assert all(len(rows) for rows in together)
    alone = [model([picture])[0] for picture in noise]
    for a, b in zip(together, alone, strict=True):
        assert a == pytest.approx(b, abs=1e-3)
    boxes = np.concatenate(together)[:, :4]
    assert boxes.min() >= 0
    assert boxes.max() <= 1


@pytest.mark.slow
def test_half_precision_agrees_with_full(tmp_path: Path):
    model = Yolo(tiny_checkpoint(tmp_path / "tiny.pt"), "cpu", floor=LEAST, in_torch=True)
    network = model.network
    assert isinstance(network, InTorch)
    noise = np.random.default_rng(1).integers(0, 255, (2, 96, 64, 3), np.uint8)
    full = model(list(noise))
    network.half, network.model = True, network.model.half()
    for a, b in zip(full, model(list(noise)), strict=True):
        assert np.sort(b[:, 4])[-5:] == pytest.approx(np.sort(a[:, 4])[-5:], abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["detect", "pose"])
@pytest.mark.parametrize("choice", ["onnxruntime", "openvino"])
def test_an_export_sees_what_the_checkpoint_sees(tmp_path: Path, task: str, choice: Runtime):
    path = tiny_checkpoint(tmp_path / "tiny.pt", task)
    noise = np.random.default_rng(1).integers(0, 255, (2, 160, 96, 3), np.uint8)
    in_torch = Yolo(path, "cpu", floor=LEAST, in_torch=True)
    choose(choice)
    try:
        exported = Yolo(path, "cpu", floor=LEAST)
    finally:
        choose(DEFAULT)
    assert exported.names == in_torch.names
    packed = pack(list(noise), 640)[0]
    classes = slice(4, 4 + len(exported.names))
    for a, b in zip(exported.network(packed), in_torch.network(packed), strict=True):
        sure = b[:, classes].max(1)
        likely = sure >= min(LEAST, sure.max())
        assert a == pytest.approx(b[likely], rel=1e-4, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov8n.pt", "yolov8n-pose.pt"])
def test_real_pictures_give_what_ultralytics_itself_gives(
    name: str, real_media: Path, real_models: Path
):
    """Boxes, classes and keypoints of the export and our suppression, against Ultralytics'."""
    import torch
    from ultralytics.utils.nms import non_max_suppression

    path = checkpoint(name, 0).locate(real_models)
    if path is None:
        pytest.skip(f"no {name}")
    ours = Yolo(path, "cpu", floor=0.1)
    theirs = InTorch(path, "cpu")
    seen = 0
    for still in ("bus.jpg", "two_people.jpg", "rf_crowd.jpg", "rf_license_plate.jpg"):
        picture = cv2.cvtColor(cv2.imread(str(real_media / "still" / still)), cv2.COLOR_BGR2RGB)
        packed, scale = pack([np.asarray(picture, np.uint8)], 640)
        batch = torch.from_numpy(packed).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            raw = theirs.model(batch)[0]
            kept = non_max_suppression(raw, 0.1, 0.6, nc=len(ours.names))[0].numpy()
        wanted = unpack(kept, scale, *picture.shape[:2])
        found = ours([np.asarray(picture, np.uint8)])[0]
        assert found == pytest.approx(wanted, abs=1e-4), still
        seen += len(found)
    assert seen > 10


def test_suppression_keeps_the_surest_of_each_class():
    rows = np.array(
        [
            [50.0, 50, 20, 20, 0.6, 0.1, 1, 2, 0.5],
            [51.0, 50, 20, 20, 0.9, 0.1, 3, 4, 0.5],  # the same thing, surer
            [50.0, 50, 20, 20, 0.1, 0.7, 5, 6, 0.5],  # another class in its place
            [200.0, 50, 20, 20, 0.3, 0.2, 7, 8, 0.5],
            [300.0, 50, 20, 20, 0.2, 0.1, 9, 9, 0.5],  # not surer than the floor
        ]
    )
    kept = suppress(rows, 0.2, 0.6, classes=2)
    assert kept[:, 4].tolist() == [0.9, 0.7, 0.3]
    assert kept[:, 5].tolist() == [0, 1, 0]
    assert kept[0, :4].tolist() == [41, 40, 61, 60]
    assert kept[:, 6].tolist() == [3, 5, 7]


def test_suppression_of_nothing_is_nothing():
    assert suppress(np.zeros((0, 57)), 0.1, 0.6, classes=2).shape == (0, 57)
    assert suppress(np.zeros((4, 6)), 0.1, 0.6, classes=2).shape == (0, 6)


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.slow
def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path):
    import torch

    torch.save({"model": Bomb(tmp_path / "ran")}, tmp_path / "evil.pt")
    with pytest.raises((TypeError, pickle.UnpicklingError)):
        Yolo(tmp_path / "evil.pt", "cpu", floor=0.25, in_torch=True)
    with pytest.raises(ExportFailed):
        Yolo(tmp_path / "evil.pt", "cpu", floor=0.25)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_a_truncated_checkpoint_is_an_error(tmp_path: Path):
    whole = tiny_checkpoint(tmp_path / "tiny.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ExportFailed, match="half.pt cannot be exported"):
        Yolo(tmp_path / "half.pt", "cpu", floor=0.25)
    assert not list(tmp_path.glob("*.onnx"))
