"""SegFormer (Xie et al., NeurIPS 2021): the class of every 4 x 4 pixels of a picture.

On the CPU it runs as ONNX, exported once; on a card in torch, in half precision.
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

Classes = NDArray[np.int64]

#: Pixels that go through the network, as many as in the 512 x 512 it was trained on.
PIXELS = 512 * 512
STRIDE = 32
RECIPE = Recipe("tiktok_ray.methods.vision.segformer:export", 1, ("torch", "transformers"))


class Network(Protocol):
    """From pixels [n, 3, height, width] to the most likely class [n, height / 4, width / 4]."""

    def __call__(self, pixels: checkpoints.Pixels) -> Classes:
        raise NotImplementedError


class Segmenter:
    """A checkpoint ready to look at pictures; ``labels`` maps class numbers to names.

    Raises ``OSError`` for a folder that is not whole, and ``ValueError`` or ``ExportFailed`` for a
    checkpoint that lacks weights.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self._prepare = checkpoints.Preparation(folder)
        self.labels = checkpoints.labels(folder)
        self.network: Network = Exported(folder) if device == "cpu" else InTorch(folder, device)

    def __call__(self, pictures: Sequence[checkpoints.Rgb]) -> Classes:
        """Most likely class, int64 [n, height, width], of each 4 x 4 pixels of n pictures."""
        height, width = network_size(*pictures[0].shape[:2])
        scaled = [self._prepare.scaled(picture, height, width) for picture in pictures]
        return self.network(self._prepare.pixels(scaled))


def network_size(height: int, width: int) -> tuple[int, int]:
    """Height and width that go through the network: the picture's own shape, about ``PIXELS``
    pixels, multiples of 32."""
    scale = (PIXELS / (height * width)) ** 0.5
    sides = [max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in (height, width)]
    return sides[0], sides[1]


class Exported:
    """On the CPU: one picture at a time, which costs no more than a batch and less memory."""

    def __init__(self, folder: Path) -> None:
        self._session = open_session(exported(folder, RECIPE))

    def __call__(self, pixels: checkpoints.Pixels) -> Classes:
        return np.concatenate([self._session(one[None])[0] for one in pixels])


class InTorch:
    """In torch; half precision on a card."""

    def __init__(self, folder: Path, device: str) -> None:
        note("torch")
        self._model = _loaded(folder, device)

    def __call__(self, pixels: checkpoints.Pixels) -> Classes:
        import torch

        with torch.inference_mode():
            given = torch.from_numpy(pixels).to(self._model.device, self._model.dtype)
            found: Classes = self._model(given).logits.argmax(1).cpu().numpy()
        return found


def _loaded(folder: Path, device: str) -> Any:
    from transformers import AutoModelForSemanticSegmentation

    return checkpoints.in_torch(AutoModelForSemanticSegmentation, folder, device)


def export(folder: Path, target: Path) -> None:
    """Make an ONNX file of a checkpoint: ``pixels`` [n, 3, height, width] to ``classes``."""
    import torch

    model = _loaded(folder, "cpu")
    write(
        lambda pixels: model(pixels).logits.argmax(1),
        target,
        {"pixels": torch.zeros(1, 3, 512, 288)},
        "classes",
        {
            "pixels": {0: "n", 2: "height", 3: "width"},
            "classes": {0: "n", 1: "quarter height", 2: "quarter width"},
        },
    )
