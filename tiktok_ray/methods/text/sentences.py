"""Vectors of sentences, in which texts of like meaning lie close together, whatever the language."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from tiktok_ray.methods.vectors import Vectors, unit
from tiktok_ray.weights import Hub

#: Multilingual E5 (Wang et al. 2024): 12 layers, about 100 languages, vectors of 384.
E5_SMALL = Hub(
    "intfloat/multilingual-e5-small",
    "MIT",
    0.46,
    files=("*.json", "model.safetensors", "*.model"),
    needs=("config.json", "model.safetensors", "tokenizer.json"),
)
#: What a text is for: the model was trained with this word before each text.
Role = Literal["query", "passage"]
#: What the model reads of a text, in tokens.
TOKENS = 512


class SentenceEncoder:
    """A checkpoint of the E5 family: means over the last layer, of texts that begin with their role."""

    def __init__(self, folder: Path, device: str) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        self._torch, self._device = torch, device
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        self._model = model.to(device).eval()
        self.width = int(model.config.hidden_size)

    def __call__(self, texts: Sequence[str], role: Role, batch: int) -> Vectors:
        """Unit vectors [texts, width]; of a long text, those of its first 512 tokens."""
        found = [self._encode(texts[i : i + batch], role) for i in range(0, len(texts), batch)]
        return np.concatenate([np.zeros((0, self.width), np.float32), *found])

    def _encode(self, texts: Sequence[str], role: Role) -> Vectors:
        ids = self._tokenizer(
            [f"{role}: {text}" for text in texts],
            max_length=TOKENS,
            truncation=True,
            padding=True,
            return_tensors="pt",
        ).to(self._device)
        with self._torch.inference_mode():
            states = self._model(**ids).last_hidden_state
        there = ids["attention_mask"][..., None]
        means = (states * there).sum(1) / there.sum(1)
        return unit(means.float().cpu().numpy())
