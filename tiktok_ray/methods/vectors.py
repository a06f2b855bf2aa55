"""Vectors of pictures and texts: unit length, and packed for reports."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

#: How ``packed`` packs, for the fields that hold its data.
PACKING = "each divided by its largest component and times 127"


def unit(vectors: Vectors) -> Vectors:
    """The vectors [n, width] at unit length; a zero vector stays zero."""
    result: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return result


def packed(vectors: Vectors) -> str:
    """Vectors [n, width] of any length as signed bytes, row after row, in base64."""
    largest = np.maximum(np.abs(vectors).max(1, keepdims=True), 1e-12)
    levels = (vectors / largest * 127).round().astype(np.int8)
    return base64.b64encode(levels.tobytes()).decode("ascii")


def unpacked(data: str, width: int) -> Vectors:
    """The packed vectors, float32 [n, width], of unit length; cosines within 0.01."""
    raw = np.frombuffer(base64.b64decode(data), dtype=np.int8)
    return unit(raw.reshape(-1, width).astype(np.float32))
