"""Checkpoints as transformers saves them: what their files say, and their networks in torch.

On the CPU they run as ONNX, exported once (``onnx_export``), and what goes into them is made here
without transformers: importing it and torch takes longer than a short video.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Weights of which training alone makes use.
UNUSED = ("masked_spec_embed",)

Pixels = NDArray[np.float32]
Rgb = NDArray[np.uint8]


def told(folder: Path, *files: str) -> dict[str, Any]:
    """What the first of these JSON files says that the folder has. Raises ``FileNotFoundError``
    where it has none, and ``ValueError`` for one that is no JSON object."""
    for file in files:
        if (folder / file).is_file():
            found = json.loads((folder / file).read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError(f"{folder / file} is not a JSON object")
            return found
    raise FileNotFoundError(f"{folder} has no {' or '.join(files)}")


def labels(folder: Path) -> dict[int, str]:
    """The names of a classifier's classes by their numbers, in order."""
    named = told(folder, "config.json")["id2label"]
    return {int(k): str(named[k]).strip() for k in sorted(named, key=int)}


class Preparation:
    """How a checkpoint wants its pictures: the means and deviations of their channels, if any."""

    def __init__(self, folder: Path) -> None:
        found = told(folder, "preprocessor_config.json", "processor_config.json")
        self.settings: Mapping[str, Any] = found.get("image_processor", found)
        means, deviations = [0.0] * 3, [1.0] * 3
        if self.settings.get("do_normalize", True):
            means, deviations = self.settings["image_mean"], self.settings["image_std"]
        self._means = np.array(means, np.float32)
        self._deviations = np.array(deviations, np.float32)

    def scaled(self, picture: Rgb, height: int, width: int) -> Rgb:
        """An RGB picture [h, w, 3] at another size, filtered as the checkpoint says (Pillow's, which
        weighs all pixels that fall on one)."""
        from PIL import Image

        how = Image.Resampling(self.settings.get("resample", Image.Resampling.BILINEAR))
        return np.asarray(Image.fromarray(picture).resize((width, height), how))

    def pixels(self, pictures: Sequence[Rgb]) -> Pixels:
        """RGB pictures of one size as float32 [n, 3, height, width]."""
        values = np.stack(pictures).astype(np.float32) / 255
        return np.ascontiguousarray(
            ((values - self._means) / self._deviations).transpose(0, 3, 1, 2), np.float32
        )


class Tokens:
    """A checkpoint's tokenizer: texts become rows of numbers, of at most so many, filled up with one."""

    def __init__(self, folder: Path, most: int, filler: int) -> None:
        from tokenizers import Tokenizer

        file = folder / "tokenizer.json"
        if not file.is_file():
            raise FileNotFoundError(f"{folder} has no tokenizer.json")
        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_padding()
        self._filler = filler
        self._tokenizer.enable_truncation(most)

    def __call__(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens [texts, longest], and 1 where there are any, 0 where a row is filled up."""
        rows = [encoded.ids for encoded in self._tokenizer.encode_batch(list(texts))]
        longest = max(map(len, rows))
        tokens = np.array(
            [[*row, *[self._filler] * (longest - len(row))] for row in rows], np.int64
        )
        there = np.arange(longest) < np.array([len(row) for row in rows])[:, None]
        return tokens, there.astype(np.int64)


def in_torch(kind: Any, folder: Path, device: str, *, half: bool = True) -> Any:
    """A network ready to run in torch; ``kind`` is the class of transformers that loads it. In half
    precision on a card, unless ``half`` is false.

    Raises ``OSError`` for a folder that is not whole, and ``ValueError`` where it lacks weights:
    transformers would make them up.
    """
    import torch

    precision = torch.float16 if half and device == "cuda" else torch.float32
    model, found = kind.from_pretrained(
        folder, local_files_only=True, dtype=precision, output_loading_info=True
    )
    lacking = sorted(key for key in found["missing_keys"] if not key.endswith(UNUSED))
    if lacking:
        raise ValueError(f"{folder.name} lacks {', '.join(lacking[:8])}")
    return model.eval().requires_grad_(False).to(device)
