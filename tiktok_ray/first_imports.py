"""First imports of heavy libraries: one at a time, in a fixed order.

Threads that first import mutually dependent libraries can see a partially initialised module, since
Python breaks the would-be deadlock by handing it out. So every first import of a model library
happens here or inside ``alone``, and the declared imports of an analyzer happen before it is loaded.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

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
    "PIL.ImageFile",  # which the first resizing imports
    "PIL.ImageColor",
    "skimage.color.colorconv",
    "skimage.color.delta_e",
    "skimage.transform._geometric",
    "tokenizers",
    "onnxruntime",
    "openvino",
    "pyclipper",
    "mediapipe",
    "insightface.model_zoo",
    "faster_whisper",
    "torch",
    "torchvision",
    "transformers",
    "ultralytics",
    "easyocr",
)

#: What a library imports for uses that nobody here has for it. MediaPipe's drawings and microphones cost
#: two thirds of its import, 0.65 CPU seconds; InsightFace's downloads 0.1.
UNUSED = {
    "mediapipe": ("matplotlib", "matplotlib.pyplot", "sounddevice"),
    "insightface.model_zoo": ("requests",),
}

#: What libraries import on their way and hardly anybody touches: loaded once somebody does. SciPy lists
#: all of NumPy, InsightFace its applications; that was a sixth of what a command spends on imports.
LATER = frozenset(
    {
        "numpy.f2py",
        "numpy.testing",
        "insightface.app",
        "mediapipe.tasks.python.audio",
        "mediapipe.tasks.python.decision",
        "mediapipe.tasks.python.retrieval",
        "mediapipe.tasks.python.text",
    }
)

_changed = threading.Condition()
#: The thread that is inside ``alone``, by its identifier.
_inside: int | None = None


@contextmanager
def alone() -> Iterator[None]:
    """Inside the block no other thread imports a declared module or loads a model."""
    global _inside
    me = threading.get_ident()
    with _changed:
        again = _inside == me
        _changed.wait_for(lambda: _inside in (None, me))
        _inside = me
    try:
        yield
    finally:
        if not again:
            leave_behind(me)


def leave_behind(thread: int | None = None) -> None:
    """Release threads waiting for ``alone`` when the one inside hangs.

    With a ``thread`` identifier: only if it is that thread.
    """
    global _inside
    with _changed:
        if thread is None or thread == _inside:
            _inside = None
            _changed.notify_all()


def import_first(modules: Collection[str]) -> None:
    """Import modules in ``ORDER``, each by itself. Raises what the imports raise."""
    for name in sorted({*NUMPY, *modules}, key=lambda module: (_rank(module), module)):
        with alone(), _empty(UNUSED.get(name, ())), _lazily():
            importlib.import_module(name)


@contextmanager
def _empty(modules: Collection[str]) -> Iterator[None]:
    """Inside the block these modules are empty, unless they have been imported before. Whoever imports
    them afterwards gets the real ones."""
    made = {name: ModuleType(name) for name in modules if name not in sys.modules}
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


@contextmanager
def _lazily() -> Iterator[None]:
    """Inside the block modules of ``LATER`` are found, but not loaded before they are used."""
    finder = _Lazily()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Lazily(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname in LATER else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


def weight(modules: Collection[str]) -> int:
    """How late in ``ORDER`` the last of these modules stands; 0 for none."""
    return max((_rank(module) + 1 for module in modules), default=0)


def _rank(module: str) -> int:
    return ORDER.index(module) if module in ORDER else len(ORDER)
