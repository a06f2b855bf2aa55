"""wav2vec2 classifiers of sound (Baevski et al., NeurIPS 2020): classes, or points on scales.

On the CPU they run as ONNX, exported once; on a card in torch, in half precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.methods import checkpoints
from tiktok_ray.methods.audio.spectra import resampled
from tiktok_ray.methods.inference import note, open_session
from tiktok_ray.methods.onnx_export import Recipe, exported, write

Array = NDArray[Any]

#: Labels that are points on a scale, not classes.
SCALES = ("arousal", "valence", "dominance")
RECIPE = Recipe("tiktok_ray.methods.audio.wav2vec2:export", 1, ("torch", "transformers"))


class Network(Protocol):
    """From samples [n, samples] to logits [n, labels]."""

    def __call__(self, samples: NDArray[np.float32]) -> Array:
        raise NotImplementedError


class Classifier:
    """A checkpoint ready to listen. ``labels`` are its own: classes, scales (``SCALES``), or both.

    Raises ``OSError`` for a folder that is not whole, and ``ValueError`` or ``ExportFailed`` for a
    checkpoint that lacks weights.
    """

    def __init__(self, folder: Path, device: str) -> None:
        wanted = checkpoints.told(folder, "preprocessor_config.json")
        self.rate = int(wanted.get("sampling_rate", 16_000))
        self._normalised = bool(wanted.get("do_normalize", True))
        self.labels = list(checkpoints.labels(folder).values())
        self.network: Network = Exported(folder) if device == "cpu" else InTorch(folder, device)

    def __call__(self, pieces: Sequence[Array], batch: int) -> Array:
        """Scores [pieces, labels], 0..1, of pieces of 16 kHz samples.

        Only pieces of one length go through at once: the base model knows no padding, it would
        take it for sound.
        """
        scores = np.zeros((len(pieces), len(self.labels)))
        for some in batches([len(piece) for piece in pieces], batch):
            sound = np.stack([self._prepared(pieces[k]) for k in some])
            scores[some] = scored(self.network(sound), self.labels)
        return scores

    def _prepared(self, piece: Array) -> NDArray[np.float32]:
        """Samples as the checkpoint was trained on: at its rate, of mean 0 and deviation 1."""
        sound = resampled(np.array(piece), self.rate).astype(np.float32)
        if self._normalised:
            sound = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
        return sound


class Exported:
    """On the CPU."""

    def __init__(self, folder: Path) -> None:
        self._session = open_session(exported(folder, RECIPE))

    def __call__(self, samples: NDArray[np.float32]) -> Array:
        return self._session(samples)[0]


class InTorch:
    """In torch; half precision on a card."""

    def __init__(self, folder: Path, device: str) -> None:
        note("torch")
        self._model = _loaded(folder, device)

    def __call__(self, samples: NDArray[np.float32]) -> Array:
        import torch

        with torch.inference_mode():
            given = torch.from_numpy(samples).to(self._model.device, self._model.dtype)
            found: Array = self._model(given).logits.float().cpu().numpy()
        return found


def _loaded(folder: Path, device: str) -> Any:
    from transformers import Wav2Vec2ForSequenceClassification

    return checkpoints.in_torch(Wav2Vec2ForSequenceClassification, folder, device)


def export(folder: Path, target: Path) -> None:
    """Make an ONNX file of a checkpoint: ``samples`` [n, any length] to ``logits`` [n, labels]."""
    import torch

    model = _loaded(folder, "cpu")
    model.set_attn_implementation("eager")
    write(
        lambda samples: model(samples).logits,
        target,
        {"samples": torch.zeros(1, 32_000)},
        "logits",
        {"samples": {0: "n", 1: "length"}, "logits": {0: "n"}},
    )


def batches(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Indices of equal lengths together, at most ``size`` at once."""
    same: dict[int, list[int]] = {}
    for k, length in enumerate(lengths):
        same.setdefault(length, []).append(k)
    return [group[i : i + size] for group in same.values() for i in range(0, len(group), size)]


def scored(logits: Array, labels: Sequence[str]) -> Array:
    """Softmax over the classes; scales as they are, held to 0..1."""
    scale = np.array([label.lower() in SCALES for label in labels])
    scores: Array = np.clip(logits.astype(float), 0, 1)
    if not scale.all():
        classes = logits[:, ~scale].astype(float)
        grown = np.exp(classes - classes.max(1, keepdims=True))
        scores[:, ~scale] = grown / grown.sum(1, keepdims=True)
    return scores
