"""Detectors of the DETR family from transformers: RT-DETRv2 and D-FINE, under Apache-2.0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tiktok_ray.methods.vision.yolo import Found, Rgb
from tiktok_ray.weights import Hub

#: COCO's classes by the older names that some checkpoints give them.
RENAMED = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}


def checkpoint(name: str, size_gib: float) -> Hub:
    """A detector in transformers' format."""
    needs = ("config.json", "preprocessor_config.json", "*.safetensors")
    return Hub(name, "Apache-2.0", size_gib, files=needs, needs=needs)


class Detr:
    """A detector ready to look at pictures, as ``yolo.Eyes``; ``names`` maps class numbers to names.

    ``floor`` is the least confidence kept. There is no suppression: the decoder gives each thing
    one box (Zhao et al. 2024, Lv et al. 2024; Peng et al. 2024). The checkpoint's own processor
    scales the pictures. Single precision everywhere. Raises ``OSError`` for a folder that is not
    whole and ``ValueError`` for a checkpoint that lacks weights.
    """

    def __init__(self, folder: Path, device: str, *, floor: float) -> None:
        import torch
        from transformers import AutoImageProcessor, AutoModelForObjectDetection

        safe = {"local_files_only": True, "trust_remote_code": False}
        self.processor = AutoImageProcessor.from_pretrained(folder, **safe)
        model, info = AutoModelForObjectDetection.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, dtype=torch.float32, **safe
        )
        if info["missing_keys"]:
            raise ValueError(f"{folder} lacks {', '.join(sorted(info['missing_keys'])[:8])}")
        self.device, self.floor = torch.device(device), floor
        self.model = model.eval().to(self.device)
        named: dict[int, str] = {int(k): str(v) for k, v in model.config.id2label.items()}
        self.names = {k: RENAMED.get(name, name) for k, name in named.items()}

    def __call__(self, pictures: Sequence[Rgb]) -> list[Found]:
        """What is in each of some pictures: rows of x0, y0, x1, y1 in shares, confidence, class."""
        import torch

        inputs = self.processor(images=list(pictures), return_tensors="pt")
        with torch.inference_mode():
            outputs = self.model(pixel_values=inputs["pixel_values"].to(self.device))
        found = self.processor.post_process_object_detection(
            outputs, threshold=self.floor, target_sizes=[(1, 1)] * len(pictures)
        )
        return [
            rows_of(*(one[key].cpu().numpy() for key in ("boxes", "scores", "labels")))
            for one in found
        ]


def rows_of(boxes: Found, scores: Found, classes: Found) -> Found:
    """Rows as ``yolo.unpack`` gives them: boxes clipped to the picture, none outside it."""
    rows = np.column_stack([np.clip(boxes, 0, 1), scores, classes]).astype(np.float64)
    kept: Found = rows[(rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])]
    return kept
