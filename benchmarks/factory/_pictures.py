"""Photographs that installed packages carry, and views of them, for clips of known content."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

SHORT = 480  # short side at which photographs are kept, in pixels

#: Photographs, each unlike all others: package and file.
PHOTOGRAPHS: dict[str, tuple[str, str]] = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "brick": ("skimage", "data/brick.png"),
    "bus": ("ultralytics", "assets/bus.jpg"),
    "camera": ("skimage", "data/camera.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "coffee": ("skimage", "data/coffee.png"),
    "coins": ("skimage", "data/coins.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "hubble": ("skimage", "data/hubble_deep_field.jpg"),
    "ihc": ("skimage", "data/ihc.png"),
    "moon": ("skimage", "data/moon.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "page": ("skimage", "data/page.png"),
    "party": ("insightface", "data/images/t1.jpg"),
    "retina": ("skimage", "data/retina.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "text": ("skimage", "data/text.png"),
    "zidane": ("ultralytics", "assets/zidane.jpg"),
}

#: Photographs of scenes as a camera would film them: no plain textures, scans or documents.
SCENES = (
    "astronaut", "bus", "camera", "chelsea", "china", "coffee", "coins", "flower", "grace_hopper",
    "motorcycle", "party", "rocket", "zidane",
)  # fmt: skip


def bundled(package: str, file: str) -> Path:
    """A file that comes inside an installed package. Raises ``FileNotFoundError``."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the factory needs {package}, which is not installed")
    path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        raise FileNotFoundError(f"the installed {package} does not carry {file}")
    return path


@cache
def photograph(name: str) -> Picture:
    """A photograph, RGB, uint8 [h, w, 3], its short side ``SHORT`` pixels; read-only."""
    from PIL import Image

    with Image.open(bundled(*PHOTOGRAPHS[name])) as image:
        scale = SHORT / min(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        picture = np.array(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    picture.setflags(write=False)
    return picture


def view(
    picture: Picture,
    size: tuple[int, int],
    centre: tuple[float, float] = (0.5, 0.5),
    height: float = 0.7,
    turn: float = 0.0,
) -> Picture:
    """A view (width, height in pixels) of a picture, as a camera before it would take it.

    ``centre``: in shares of the picture's width and height; ``height``: of the view, as a share of
    the picture's height; ``turn``: radians, clockwise. Beyond its edges the picture is mirrored.
    """
    import cv2

    wide, high = size
    scale = height * picture.shape[0] / high
    c, s = scale * np.cos(turn), scale * np.sin(turn)
    x, y = centre[0] * picture.shape[1], centre[1] * picture.shape[0]
    matrix = np.array(
        [
            [c, -s, x - c * (wide - 1) / 2 + s * (high - 1) / 2],
            [s, c, y - s * (wide - 1) / 2 - c * (high - 1) / 2],
        ]
    )
    flags = (cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    seen: Any = cv2.warpAffine(picture, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT)
    return seen  # type: ignore[no-any-return]


def two_of(rng: np.random.Generator, names: Sequence[str], count: int = 2) -> list[str]:
    """``count`` different names in random order."""
    return [names[k] for k in rng.permutation(len(names))[:count]]
