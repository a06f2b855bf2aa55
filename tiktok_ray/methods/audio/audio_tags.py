"""Models that tag sound with AudioSet's classes, and the hierarchy of those classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import AUDIO_RATE
from tiktok_ray.methods import checkpoints
from tiktok_ray.methods.audio.spectra import resampled
from tiktok_ray.net.telemetry_block import block_native_telemetry

Array = NDArray[Any]

#: AudioSet classes that say little where a class under them is heard, with the last such class.
BROAD = {
    "Animal": "Whale vocalization",
    "Domestic animals, pets": "Caterwaul",
    "Livestock, farm animals, working animals": "Honk",
    "Wild animals": "Whale vocalization",
    "Music": "Scary music",
    "Musical instrument": "Scratching (performance technique)",
    "Plucked string instrument": "Ukulele",
    "Keyboard (musical)": "Harpsichord",
    "Percussion": "Steelpan",
    "Brass instrument": "Trombone",
    "Bowed string instrument": "Double bass",
    "Wind instrument, woodwind instrument": "Clarinet",
    "Vehicle": "Skateboard",
    "Motor vehicle (road)": "Traffic noise, roadway noise",
    "Rail transport": "Subway, metro, underground",
    "Aircraft": "Fixed-wing aircraft, airplane",
    "Engine": "Accelerating, revving, vroom",
    "Alarm": "Steam whistle",
    "Mechanisms": "Single-lens reflex camera",
    "Tools": "Drill",
    "Explosion": "Boom",
}
#: Classes that say enough, with the last class under them.
DETAILED = {
    "Speech": "Speech synthesizer",
    "Laughter": "Chuckle, chortle",
    "Crying, sobbing": "Wail, moan",
    "Singing": "Humming",
    "Dog": "Whimper (dog)",
    "Cat": "Caterwaul",
    "Bird": "Bird flight, flapping wings",
    "Insect": "Bee, wasp, etc.",
    "Guitar": "Strum",
    "Piano": "Electric piano",
    "Drum kit": "Drum machine",
    "Thunderstorm": "Thunder",
    "Rain": "Rain on surface",
    "Ocean": "Waves, surf",
    "Vehicle horn, car horn, honking": "Toot",
    "Train": "Train wheels squealing",
}


def under(names: Sequence[str], branches: Mapping[str, str]) -> dict[int, range]:
    """Classes and the classes under them, by index, the smallest branch first.

    ``branches`` maps a class to the last one under it; AudioSet's order is depth first.
    """
    at = {name: k for k, name in enumerate(names)}
    found = {
        at[top]: range(at[top] + 1, at[last] + 1)
        for top, last in branches.items()
        if top in at and last in at
    }
    return dict(sorted(found.items(), key=lambda item: len(item[1])))


class Tagger(Protocol):
    """A model that tags sound. ``names``: its classes in AudioSet's order; ``window_s`` and
    ``hop_s``: how it wants the sound cut."""

    names: Sequence[str]
    window_s: float
    hop_s: float

    def __call__(self, windows: Sequence[Array], batch: int) -> Array:
        """Probability of every class [windows, classes] for windows of 16 kHz samples."""


class Spectrogrammer:
    """An Audio Spectrogram Transformer checkpoint.

    It was trained on 10 s, shorter sound padded; it gets 2 s here, so that sounds keep their
    times.
    """

    window_s, hop_s = 2.0, 1.0

    def __init__(self, path: Path, device: str) -> None:
        from transformers import ASTForAudioClassification, AutoFeatureExtractor

        self.extractor = AutoFeatureExtractor.from_pretrained(path, local_files_only=True)
        self.model = checkpoints.in_torch(ASTForAudioClassification, path, device)
        self.names: Sequence[str] = list(checkpoints.labels(path).values())

    def __call__(self, windows: Sequence[Array], batch: int) -> Array:
        import torch

        rate = self.extractor.sampling_rate
        found = []
        for first in range(0, len(windows), batch):
            pieces = [resampled(piece, rate) for piece in windows[first : first + batch]]
            features = self.extractor(pieces, sampling_rate=rate, return_tensors="pt")
            with torch.inference_mode():
                given = features["input_values"].to(self.model.device, self.model.dtype)
                logits = self.model(given).logits
                found.append(logits.float().sigmoid().cpu().numpy())
        return np.concatenate(found)


@contextmanager
def yamnet(path: Path) -> Iterator[Tagger]:
    """YAMNet by MediaPipe, open as long as the context. Its reports go nowhere."""
    from mediapipe.tasks.python import BaseOptions, audio

    options = audio.AudioClassifierOptions(
        base_options=BaseOptions(model_asset_path=str(path)),
        running_mode=audio.RunningMode.AUDIO_CLIPS,
    )
    block_native_telemetry()
    with audio.AudioClassifier.create_from_options(options) as classifier:
        yield Yamnet(classifier)


class Yamnet:
    """MediaPipe's AudioClassifier with the class names and the window of its model."""

    window_s, hop_s = 0.975, 0.4875

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier
        silent = self._categories(np.zeros(round(self.window_s * AUDIO_RATE), np.float32))
        self.names: Sequence[str] = [category.category_name for category in silent]

    def _categories(self, window: Array) -> list[Any]:
        from mediapipe.tasks.python.components.containers import AudioData

        data = AudioData.create_from_array(window, AUDIO_RATE)
        (result,) = self.classifier.classify(data)
        return sorted(result.classifications[0].categories, key=lambda c: c.index)

    def __call__(self, windows: Sequence[Array], batch: int) -> Array:
        return np.array([[c.score for c in self._categories(window)] for window in windows])
