"""YOLOv8 checkpoints of Ultralytics: loaded without running code from them, fed in batches.

What the analyzers of objects and of poses share.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.weights import Asset

STRIDE = 32
GREY = 114

Rgb = NDArray[np.uint8]
Found = NDArray[np.float64]


def checkpoint(name: str, size_gib: float) -> Asset:
    """One of Ultralytics' published checkpoints."""
    return Asset(
        f"ultralytics/{name}",
        "AGPL-3.0",
        size_gib,
        url=f"https://github.com/ultralytics/assets/releases/download/v8.3.0/{name}",
    )


def pack(pictures: Sequence[Rgb], longest: int) -> tuple[NDArray[np.uint8], float]:
    """Pictures of one size as the network takes them, and the factor they were scaled by.

    Scaled down, never up, to a long side of at most ``longest`` pixels, then padded with grey on
    the right and below to multiples of 32 (a portrait stays a portrait: no square letterbox).
    Returns uint8 [n, height, width, 3] and the factor, 0..1. Raises ``ValueError`` for pictures of
    several sizes: shaped alike they would lie about where things are.
    """
    height, width = pictures[0].shape[:2]
    if any(picture.shape[:2] != (height, width) for picture in pictures):
        raise ValueError("pictures of one batch have one size")
    scale = min(1.0, longest / max(height, width))
    if scale < 1:
        import cv2

        height, width = max(1, round(height * scale)), max(1, round(width * scale))
        pictures = [
            np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            for picture in pictures
        ]
    padded = (-(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE)
    packed = np.full((len(pictures), *padded, 3), GREY, np.uint8)
    for target, picture in zip(packed, pictures, strict=True):
        target[:height, :width] = picture
    return packed, scale


def unpack(rows: NDArray[Any], scale: float, height: int, width: int) -> Found:
    """Rows of one picture after suppression, in shares of the picture.

    ``rows`` [n, 6 + 3k]: x0, y0, x1, y1, confidence, class, then k keypoints of x, y, confidence,
    in pixels of the packed picture. ``height`` and ``width`` are those of the picture before
    packing. Boxes are clipped to it; what lies in the padding alone is dropped. Keypoints are not
    clipped: a joint may lie outside the picture.
    """
    found = np.array(rows, np.float64)
    size = np.array([width, height], float) * scale
    found[:, :4] = np.clip(found[:, :4] / np.tile(size, 2), 0, 1)
    found[:, 6::3] /= size[0]
    found[:, 7::3] /= size[1]
    inside = (found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])
    kept: Found = found[inside]
    return kept


class Eyes(Protocol):
    """Looks at pictures: what ``Yolo`` is, and what a test puts in its place."""

    names: dict[int, str]

    def __call__(self, pictures: Sequence[Rgb], /) -> list[Found]:
        """What is in each of some pictures of one size; see ``unpack`` for the rows."""
        raise NotImplementedError


class Yolo:
    """A checkpoint ready to look at pictures; ``names`` maps class numbers to names.

    ``floor`` is the least confidence kept, ``overlap`` the IoU above which the less sure of two
    boxes of one class goes (non-maximum suppression). Half precision on a card.
    """

    def __init__(
        self, path: Path, device: str, *, floor: float, overlap: float = 0.6, longest: int = 640
    ) -> None:
        if not path.is_file():  # Ultralytics would make its folder and look for it online
            raise FileNotFoundError(f"no checkpoint at {path}")
        import torch
        from ultralytics.nn.tasks import torch_safe_load

        checkpoint, _ = torch_safe_load(str(path), safe_only=True)
        model = checkpoint.get("ema") or checkpoint["model"]
        self.names: dict[int, str] = {int(k): str(v) for k, v in model.names.items()}
        self.device = torch.device(device)
        self.half = self.device.type == "cuda"
        model = model.float().fuse(verbose=False).eval().requires_grad_(False).to(self.device)
        self.model = model.half() if self.half else model
        self.floor, self.overlap, self.longest = floor, overlap, longest

    def __call__(self, pictures: Sequence[Rgb]) -> list[Found]:
        """What is in each of some pictures of one size; see ``unpack`` for the rows."""
        import torch
        from ultralytics.utils.nms import non_max_suppression

        packed, scale = pack(pictures, self.longest)
        height, width = pictures[0].shape[:2]
        with torch.inference_mode():
            batch = torch.from_numpy(packed).to(self.device).permute(0, 3, 1, 2)
            batch = (batch.half() if self.half else batch.float()) / 255
            # Suppression sets classes apart by offsets that half precision cannot hold.
            raw = self.model(batch)[0].float()
            kept = non_max_suppression(
                raw, self.floor, self.overlap, nc=len(self.names), max_time_img=60.0
            )
        return [unpack(rows.cpu().numpy(), scale, height, width) for rows in kept]
