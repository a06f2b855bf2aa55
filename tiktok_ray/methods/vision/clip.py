"""CLIP (Radford et al., ICML 2021): vectors of pictures and of texts in one space.

On the CPU both of its networks run as ONNX, exported once; on a card in torch, in half precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.methods import checkpoints
from tiktok_ray.methods.inference import note, open_session
from tiktok_ray.methods.onnx_export import Recipe, exported, write
from tiktok_ray.methods.vectors import Vectors

#: What the model reads of a text, in tokens.
TOKENS = 77
#: The token that ends a text where a checkpoint does not say: that of the published ones.
END = 49_407
PICTURES = Recipe("tiktok_ray.methods.vision.clip:export_pictures", 1, ("torch", "transformers"))
TEXTS = Recipe("tiktok_ray.methods.vision.clip:export_texts", 1, ("torch", "transformers"))


class Towers(Protocol):
    """The two networks. ``scale``: the factor by which the model multiplies cosines."""

    scale: float

    def pictures(self, pixels: checkpoints.Pixels) -> Vectors:
        """Vectors [n, width] of pixels [n, 3, height, width]."""
        raise NotImplementedError

    def texts(self, tokens: NDArray[np.int64]) -> Vectors:
        """Vectors [n, width] of tokens [n, longest]."""
        raise NotImplementedError


class Clip:
    """A checkpoint ready to look and read, with the vectors of some ``prompts`` made once.

    Raises ``OSError`` for a folder that is not whole, and ``ValueError`` or ``ExportFailed`` for a
    checkpoint that lacks weights.
    """

    def __init__(self, folder: Path, device: str, prompts: Sequence[str]) -> None:
        self._prepare = checkpoints.Preparation(folder)
        self._side = shortest_edge(self._prepare.settings)
        # What follows the first token that ends a text is not looked at.
        end = checkpoints.told(folder, "config.json")["text_config"].get("eos_token_id", END)
        self._tokens = checkpoints.Tokens(folder, TOKENS, end)
        self._towers: Towers = Exported(folder) if device == "cpu" else InTorch(folder, device)
        self.scale = self._towers.scale
        self.prompts = self.embed_texts(prompts)

    def embed(self, pictures: Sequence[checkpoints.Rgb]) -> Vectors:
        """Vectors [pictures, width] of the middle squares of RGB pictures of one size."""
        height, width = pictures[0].shape[:2]
        size = (self._side, self._side * width // height)
        if height > width:
            size = (self._side * height // width, self._side)
        top, left = (side // 2 - self._side // 2 for side in size)
        squares = [
            self._prepare.scaled(picture, *size)[top : top + self._side, left : left + self._side]
            for picture in pictures
        ]
        return self._towers.pictures(self._prepare.pixels(squares))

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Vectors [texts, width]; of a long text, that of its first 77 tokens."""
        return self._towers.texts(self._tokens(texts)[0])


def shortest_edge(settings: Mapping[str, Any]) -> int:
    """The side of the square that a checkpoint looks at, in any of the ways of saying it."""
    size = settings["size"]
    return int(size.get("shortest_edge") or size["height"]) if isinstance(size, dict) else int(size)


class Exported:
    """On the CPU: one at a time, which costs no more than a batch and less memory."""

    def __init__(self, folder: Path) -> None:
        self._pictures = open_session(exported(folder, PICTURES))
        self._texts = open_session(exported(folder, TEXTS))
        self.scale = float(self._pictures.metadata["scale"])

    def pictures(self, pixels: checkpoints.Pixels) -> Vectors:
        return np.concatenate([self._pictures(one[None])[0] for one in pixels])

    def texts(self, tokens: NDArray[np.int64]) -> Vectors:
        return np.concatenate([self._texts(one[None])[0] for one in tokens])


class InTorch:
    """In torch; half precision on a card."""

    def __init__(self, folder: Path, device: str) -> None:
        note("torch")
        self._model = _loaded(folder, device)
        self.scale = _scale(self._model)

    def pictures(self, pixels: checkpoints.Pixels) -> Vectors:
        import torch

        with torch.inference_mode():
            given = torch.from_numpy(pixels).to(self._model.device, self._model.dtype)
            found: Vectors = pooled_pictures(self._model, given).float().cpu().numpy()
        return found

    def texts(self, tokens: NDArray[np.int64]) -> Vectors:
        import torch

        with torch.inference_mode():
            given = torch.from_numpy(tokens).to(self._model.device)
            found: Vectors = pooled_texts(self._model, given).float().cpu().numpy()
        return found


def _loaded(folder: Path, device: str) -> Any:
    from transformers import AutoModel

    return checkpoints.in_torch(AutoModel, folder, device)


def _scale(model: Any) -> float:
    return float(model.logit_scale.exp())


def pooled_pictures(model: Any, pixels: Any) -> Any:
    return model.get_image_features(pixel_values=pixels).pooler_output


def pooled_texts(model: Any, tokens: Any) -> Any:
    """Each token sees those before it, and the first that ends a text stands for it: what follows
    it does not matter."""
    return model.get_text_features(input_ids=tokens).pooler_output


def export_pictures(folder: Path, target: Path) -> None:
    """Make an ONNX file of the pictures' network: ``pixels`` to ``vectors``."""
    import torch

    model = _loaded(folder, "cpu")
    side = model.config.vision_config.image_size
    write(
        lambda pixels: pooled_pictures(model, pixels),
        target,
        {"pixels": torch.zeros(1, 3, side, side)},
        "vectors",
        {"pixels": {0: "n"}, "vectors": {0: "n"}},
        {"scale": repr(_scale(model))},
    )


def export_texts(folder: Path, target: Path) -> None:
    """Make an ONNX file of the texts' network: ``tokens`` to ``vectors``."""
    import torch

    model = _loaded(folder, "cpu")
    model.set_attn_implementation("eager")
    write(
        lambda tokens: pooled_texts(model, tokens),
        target,
        {"tokens": torch.zeros(1, 9, dtype=torch.int64)},
        "vectors",
        {"tokens": {0: "n", 1: "longest"}, "vectors": {0: "n"}},
    )
