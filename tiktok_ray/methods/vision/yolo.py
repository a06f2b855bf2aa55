"""YOLOv8 checkpoints of Ultralytics: loaded without running code from them.

On the CPU they run as ONNX, exported once; on a card in torch, in half precision. What the analyzers
of objects and of poses share.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.methods.inference import note, open_session
from tiktok_ray.methods.onnx_export import Recipe, exported, write
from tiktok_ray.methods.vision.box_tracks import iou
from tiktok_ray.weights import Asset

STRIDE = 32
GREY = 114

#: Most boxes kept of one picture, and most that suppression looks at, as in Ultralytics.
MOST_KEPT, MOST_SEEN = 300, 30_000
#: Boxes that are less sure are not worked out on the CPU.
LEAST = 0.05
RECIPE = Recipe("tiktok_ray.methods.vision.yolo:export", 2, ("torch", "ultralytics"))
#: What a variant that runs in torch on a card has to import.
ON_A_CARD = ("torch", "ultralytics")

Rgb = NDArray[np.uint8]
Found = NDArray[np.float64]


def checkpoint(name: str, size_gib: float, *, on_the_cpu: bool = True) -> Asset:
    """One of Ultralytics' published checkpoints; ``on_the_cpu``: it is exported for it."""
    return Asset(
        f"ultralytics/{name}",
        "AGPL-3.0",
        size_gib,
        recipes=(RECIPE,) if on_the_cpu else (),
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
        raise ValueError("the frames of a batch must have the same size")
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


def suppress(rows: NDArray[Any], floor: float, overlap: float, classes: int) -> NDArray[np.float64]:
    """Non-maximum suppression, class by class: of boxes that overlap the surest stays.

    ``rows`` [n, 4 + classes + 3k]: centre x, y, width, height, a confidence for each class, then
    keypoints. Each box has its likeliest class, and goes unless that is surer than ``floor``, or
    where its IoU with a surer one of its class is above ``overlap``. Returns [m, 6 + 3k], surest
    first: x0, y0, x1, y1, confidence, class, keypoints.
    """
    scores = rows[:, 4 : 4 + classes]
    labels = scores.argmax(1)
    sure = scores[np.arange(len(rows)), labels]
    order = np.argsort(-sure, kind="stable")
    order = order[sure[order] > floor][:MOST_SEEN]
    rows, labels, sure = rows[order].astype(np.float64), labels[order], sure[order]
    half = rows[:, 2:4] / 2
    boxes = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1)
    kept = _apart(boxes, labels, overlap)[:MOST_KEPT]
    parts = boxes, sure[:, None], labels[:, None], rows[:, 4 + classes :]
    return np.concatenate([part[kept] for part in parts], axis=1, dtype=np.float64)


def _apart(boxes: NDArray[np.float64], labels: NDArray[np.int64], overlap: float) -> list[int]:
    """Which boxes stay, of those sorted from the surest on."""
    kept: list[int] = []
    left = np.arange(len(boxes))
    while len(left):
        first, left = left[0], left[1:]
        kept.append(int(first))
        same = iou(boxes[first][None], boxes[left])[0] > overlap
        left = left[~(same & (labels[left] == labels[first]))]
    return kept


class Network(Protocol):
    """A checkpoint as something that can be called: raw rows of pictures, before suppression."""

    names: dict[int, str]

    def __call__(self, packed: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """For packed pictures [n, height, width, 3] the rows of each, as ``suppress`` takes them."""
        raise NotImplementedError


class Yolo:
    """A checkpoint ready to look at pictures; ``names`` maps class numbers to names.

    ``floor`` is the least confidence kept, at least ``LEAST``, ``overlap`` the IoU above which the
    less sure of two boxes of one class goes. On the CPU without torch, unless ``in_torch``.
    """

    def __init__(
        self,
        path: Path,
        device: str,
        *,
        floor: float,
        overlap: float = 0.6,
        longest: int = 640,
        in_torch: bool = False,
    ) -> None:
        if not path.is_file():  # Ultralytics would make its folder and look for it online
            raise FileNotFoundError(f"no checkpoint at {path}")
        if floor < LEAST:
            raise ValueError(f"boxes of less than {LEAST} are not looked for: floor is {floor}")
        plain = device == "cpu" and not in_torch
        self.network: Network = Exported(path) if plain else InTorch(path, device)
        self.names = self.network.names
        self.floor, self.overlap, self.longest = floor, overlap, longest

    def __call__(self, pictures: Sequence[Rgb]) -> list[Found]:
        """What is in each of some pictures of one size; see ``unpack`` for the rows."""
        packed, scale = pack(pictures, self.longest)
        height, width = pictures[0].shape[:2]
        classes = len(self.names)
        return [
            unpack(suppress(rows, self.floor, self.overlap, classes), scale, height, width)
            for rows in self.network(packed)
        ]


class Exported:
    """On the CPU: one picture at a time, which costs no more than a batch and less memory."""

    def __init__(self, path: Path) -> None:
        self._session = open_session(exported(path, RECIPE))
        named = json.loads(self._session.metadata["names"])
        self.names = {int(number): str(name) for number, name in named.items()}

    def __call__(self, packed: NDArray[np.uint8]) -> list[NDArray[Any]]:
        return [self._session(picture[None])[0][0].T for picture in packed]


class InTorch:
    """In torch; half precision on a card."""

    def __init__(self, path: Path, device: str) -> None:
        import torch

        note("torch")
        model, self.names = _loaded(path)
        self.device = torch.device(device)
        self.half = self.device.type == "cuda"
        model = model.to(self.device)
        self.model = model.half() if self.half else model

    def __call__(self, packed: NDArray[np.uint8]) -> list[NDArray[Any]]:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(packed).to(self.device).permute(0, 3, 1, 2)
            batch = (batch.half() if self.half else batch.float()) / 255
            raw = self.model(batch)[0].float().transpose(1, 2).cpu()
            return [np.asarray(rows.numpy()) for rows in raw]


def _loaded(path: Path) -> tuple[Any, dict[int, str]]:
    """The network of a checkpoint in torch, without running code from it, and its names."""
    from ultralytics.nn.tasks import torch_safe_load

    checkpoint, _ = torch_safe_load(str(path), safe_only=True)
    model = checkpoint.get("ema") or checkpoint["model"]
    names = {int(k): str(v) for k, v in model.names.items()}
    return model.float().fuse(verbose=False).eval().requires_grad_(False), names


def export(checkpoint: Path, target: Path) -> None:
    """Make an ONNX file of a checkpoint: a picture as it is packed, uint8 [1, height, width, 3], to
    raw rows [1, 4 + classes + 3k, boxes] of what is at least as sure as ``LEAST``, or surest of
    all: nothing else is worked out."""
    import torch
    from ultralytics.utils.tal import make_anchors

    model, names = _loaded(checkpoint)
    head = model.model[-1]
    head.training = True  # it gives its parts, and leaves the rest to us

    def rows(pictures: Any) -> Any:
        parts = model(pictures.permute(0, 3, 1, 2).float() / 255)
        levels = parts.pop("feats")
        sure = parts["scores"].amax(1)[0]
        likely = sure >= sure.amax().clamp(max=math.log(LEAST / (1 - LEAST)))
        grid = make_anchors(levels, head.stride, 0.5)
        head.anchors, head.strides = (side.transpose(0, 1)[:, likely] for side in grid)
        head.shape = levels[0].shape
        return head._inference({k: v[:, :, likely] for k, v in parts.items()} | {"feats": levels})

    write(
        rows,
        target,
        {"pictures": torch.zeros(1, 64, 96, 3, dtype=torch.uint8)},
        "rows",
        {"pictures": {1: "height", 2: "width"}, "rows": {2: "boxes"}},
        {"names": json.dumps(names)},
    )
