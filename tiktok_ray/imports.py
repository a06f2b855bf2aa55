"""First imports of heavy libraries: one at a time, in one order.

Threads that first import libraries which import one another can meet a half-imported module, since
Python breaks what would be a deadlock by handing it out. So every first import of a model library
happens in here or inside ``alone``, and what an analyzer declares is imported before it is loaded.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

#: What numpy itself imports late, and nearly everything uses.
NUMPY = ("numpy.fft", "numpy.ma", "numpy.random")
#: The order of first imports: what others build on, and what is quick, before the rest. Modules
#: that are not here come last, by name.
ORDER = (
    *NUMPY,
    "cv2",
    "scipy.fft",
    "scipy.ndimage",
    "scipy.signal",
    "scipy.special",
    "scipy.optimize",
    "PIL.ImageColor",
    "skimage.color.colorconv",
    "skimage.color.delta_e",
    "onnxruntime",
    "openvino",
    "rapidocr",
    "mediapipe",
    "insightface.model_zoo",
    "faster_whisper",
    "torch",
    "torchvision",
    "transformers",
    "ultralytics",
    "easyocr",
)

_lock = threading.RLock()


@contextmanager
def alone() -> Iterator[None]:
    """Nobody else in this process imports a declared module, or loads a model, inside the block."""
    with _lock:
        yield


def leave_behind() -> None:
    """Go on without whoever is inside ``alone``, who hangs there."""
    global _lock
    _lock = threading.RLock()


def import_first(modules: Collection[str]) -> None:
    """Import modules in ``ORDER``, each by itself. Raises what the imports raise."""
    for name in sorted({*NUMPY, *modules}, key=lambda module: (_rank(module), module)):
        with _lock:
            importlib.import_module(name)


def weight(modules: Collection[str]) -> int:
    """How late in ``ORDER`` the last of these modules stands; 0 for none."""
    return max((_rank(module) + 1 for module in modules), default=0)


def _rank(module: str) -> int:
    return ORDER.index(module) if module in ORDER else len(ORDER)
