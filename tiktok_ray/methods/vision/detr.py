"""Detectors of the DETR family: RT-DETRv2 and D-FINE, under Apache-2.0.

On the CPU they run as ONNX, exported once; on a card in torch. Single precision everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.methods import checkpoints
from tiktok_ray.methods.inference import note, open_session
from tiktok_ray.methods.onnx_export import Recipe, exported, write
from tiktok_ray.methods.vision.yolo import Found, Rgb
from tiktok_ray.weights import Hub

Rows = NDArray[np.float32]

#: COCO's classes by the older names that some checkpoints give them.
RENAMED = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}
RECIPE = Recipe("tiktok_ray.methods.vision.detr:export", 1, ("torch", "transformers"))


def checkpoint(name: str, size_gib: float, *, on_the_cpu: bool = True) -> Hub:
    """A detector in transformers' format."""
    needs = ("config.json", "preprocessor_config.json", "*.safetensors")
    return Hub(
        name,
        "Apache-2.0",
        size_gib,
        files=needs,
        needs=needs,
        recipes=(RECIPE,) if on_the_cpu else (),
    )


class Network(Protocol):
    """From pixels [n, 3, height, width] to the surest boxes [n, boxes, 6], surest first: x0, y0,
    x1, y1 in shares, confidence, class."""

    def __call__(self, pixels: checkpoints.Pixels) -> Rows:
        raise NotImplementedError


class Detr:
    """A detector ready to look at pictures, as ``yolo.Eyes``; ``names`` maps class numbers to names.

    ``floor`` is the least confidence kept. There is no suppression: the decoder gives each thing
    one box (Zhao et al. 2024, Lv et al. 2024; Peng et al. 2024). Pictures are scaled to the size
    that the checkpoint names. Raises ``OSError`` for a folder that is not whole, and ``ValueError``
    or ``ExportFailed`` for a checkpoint that lacks weights.
    """

    def __init__(self, folder: Path, device: str, *, floor: float) -> None:
        self._prepare = checkpoints.Preparation(folder)
        self._size = _size(self._prepare)
        self.floor = floor
        named = checkpoints.labels(folder)
        self.names = {k: RENAMED.get(name, name) for k, name in named.items()}
        self.network: Network = Exported(folder) if device == "cpu" else InTorch(folder, device)

    def __call__(self, pictures: Sequence[Rgb]) -> list[Found]:
        """What is in each of some pictures: rows of x0, y0, x1, y1 in shares, confidence, class."""
        scaled = [self._prepare.scaled(picture, *self._size) for picture in pictures]
        return [kept(rows, self.floor) for rows in self.network(self._prepare.pixels(scaled))]


def _size(preparation: checkpoints.Preparation) -> tuple[int, int]:
    """Height and width that go through a network."""
    size = preparation.settings["size"]
    return int(size["height"]), int(size["width"])


def kept(rows: Rows, floor: float) -> Found:
    """Rows of a confidence above ``floor``, their boxes clipped to the picture, none outside it."""
    found: Found = rows[rows[:, 4] > floor].astype(np.float64)
    found[:, :4] = found[:, :4].clip(0, 1)
    return found[(found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])]


class Exported:
    """On the CPU: one picture at a time, which costs no more than a batch and less memory."""

    def __init__(self, folder: Path) -> None:
        self._session = open_session(exported(folder, RECIPE))

    def __call__(self, pixels: checkpoints.Pixels) -> Rows:
        return np.concatenate([self._session(one[None])[0] for one in pixels])


class InTorch:
    """In torch."""

    def __init__(self, folder: Path, device: str) -> None:
        note("torch")
        self._model = _loaded(folder, device)

    def __call__(self, pixels: checkpoints.Pixels) -> Rows:
        import torch

        with torch.inference_mode():
            given = torch.from_numpy(pixels).to(self._model.device)
            found: Rows = _surest(self._model(given)).cpu().numpy()
        return found


def _loaded(folder: Path, device: str) -> Any:
    from transformers import AutoModelForObjectDetection

    return checkpoints.in_torch(AutoModelForObjectDetection, folder, device, half=False)


def _surest(outputs: Any) -> Any:
    """Rows as ``Network`` gives them. As transformers' processors do, it takes as many pairs of box
    and class as there are boxes: one box may be there twice, as two classes."""
    import torch

    scores = outputs.logits.sigmoid()
    classes = scores.shape[2]
    confidences, at = scores.flatten(1).topk(scores.shape[1], dim=1)
    x, y, width, height = outputs.pred_boxes.unbind(2)
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    chosen = [side.gather(1, at // classes) for side in corners]
    return torch.stack([*chosen, confidences, (at % classes).to(confidences.dtype)], dim=2)


def export(folder: Path, target: Path) -> None:
    """Make an ONNX file of a checkpoint: ``pixels`` [1, 3, height, width], of the size that it
    names, to ``rows`` [1, boxes, 6]."""
    import torch

    model = _loaded(folder, "cpu")
    write(
        lambda pixels: _surest(model(pixels)),
        target,
        {"pixels": torch.zeros(1, 3, *_size(checkpoints.Preparation(folder)))},
        "rows",
        {},
    )
