"""Vectors of sentences, in which texts of like meaning lie close together, whatever the language."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tiktok_ray.methods import checkpoints
from tiktok_ray.methods.inference import open_session
from tiktok_ray.methods.onnx_export import Recipe, exported, write
from tiktok_ray.methods.vectors import Vectors, unit
from tiktok_ray.weights import Hub

RECIPE = Recipe("tiktok_ray.methods.text.sentences:export", 1, ("torch", "transformers"))
#: Multilingual E5 (Wang et al. 2024): 12 layers, about 100 languages, vectors of 384.
E5_SMALL = Hub(
    "intfloat/multilingual-e5-small",
    "MIT",
    0.46,
    files=("*.json", "model.safetensors", "*.model"),
    needs=("config.json", "model.safetensors", "tokenizer.json"),
    recipes=(RECIPE,),
)
#: What a text is for: the model was trained with this word before each text.
Role = Literal["query", "passage"]
#: What the model reads of a text, in tokens.
TOKENS = 512


class SentenceEncoder:
    """A checkpoint of the E5 family: means over the last layer, of texts that begin with their role.

    It runs on the CPU, as ONNX, exported once. Raises ``OSError`` for a folder that is not whole, and
    ``ExportFailed`` for a checkpoint that lacks weights.
    """

    def __init__(self, folder: Path) -> None:
        config = checkpoints.told(folder, "config.json")
        self.width = int(config["hidden_size"])
        self._tokens = checkpoints.Tokens(folder, TOKENS, config.get("pad_token_id") or 0)
        self._session = open_session(exported(folder, RECIPE))

    def __call__(self, texts: Sequence[str], role: Role, batch: int) -> Vectors:
        """Unit vectors [texts, width]; of a long text, those of its first 512 tokens."""
        found = [self._encode(texts[i : i + batch], role) for i in range(0, len(texts), batch)]
        return np.concatenate([np.zeros((0, self.width), np.float32), *found])

    def _encode(self, texts: Sequence[str], role: Role) -> Vectors:
        return unit(self._session(*self._tokens([f"{role}: {text}" for text in texts]))[0])


def means(model: Any, tokens: Any, there: Any) -> Any:
    """Means over the last layer's states of the tokens that are there."""
    states = model(input_ids=tokens, attention_mask=there).last_hidden_state
    return (states * there[..., None]).sum(1) / there.sum(1)[..., None]


def export(folder: Path, target: Path) -> None:
    """Make an ONNX file of a checkpoint: ``tokens`` and ``there`` to ``means``."""
    import torch
    from transformers import AutoModel

    model = checkpoints.in_torch(AutoModel, folder, "cpu")
    model.set_attn_implementation("eager")
    tokens = torch.ones(2, 9, dtype=torch.int64)
    there = torch.ones_like(tokens)
    there[1, 5:] = 0
    sides = {0: "n", 1: "longest"}
    write(
        lambda tokens, there: means(model, tokens, there),
        target,
        {"tokens": tokens, "there": there},
        "means",
        {"tokens": sides, "there": sides, "means": {0: "n"}},
    )
