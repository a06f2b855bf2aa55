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


#: Who can be cut out of a photograph: the photograph, and the part of it (x, y, width, height in
#: shares) outside which nothing of them lies.
PEOPLE = {
    "astronaut": (0.12, 0.0, 0.58, 1.0),
    "grace_hopper": (0.24, 0.02, 0.74, 0.98),
    "chelsea": (0.1, 0.02, 0.75, 0.98),
    "flower": (0.3, 0.15, 0.4, 0.6),
}


@cache
def cut_out(name: str) -> Picture:
    """One of ``PEOPLE`` without what is behind them, RGBA, uint8 [h, w, 4]; read-only."""
    import cv2

    picture = photograph(name)
    height, width = picture.shape[:2]
    x, y, w, h = PEOPLE[name]
    part = (round(x * width), round(y * height), round(w * width), round(h * height))
    mask, models = np.zeros((height, width), np.uint8), [np.zeros((1, 65)) for _ in range(2)]
    cv2.setRNGSeed(0)
    grab: Any = cv2.grabCut
    grab(picture[..., ::-1].copy(), mask, part, *models, 4, cv2.GC_INIT_WITH_RECT)
    inside = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    inside = cv2.morphologyEx(inside, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(inside, [max(outlines, key=cv2.contourArea)], -1, 2, cv2.FILLED)
    inside = (inside == 2).astype(np.uint8)
    alpha = cv2.GaussianBlur(255 * inside, (0, 0), 1.5)
    out: Picture = np.dstack([picture, alpha])[
        part[1] : part[1] + part[3], part[0] : part[0] + part[2]
    ]
    out = np.ascontiguousarray(out)
    out.setflags(write=False)
    return out


def pasted(picture: Picture, thing: Picture, left: float, top: float, height: float) -> Picture:
    """A picture with a cut-out over it, in whole pixels and fractions of them.

    ``left``, ``top``, ``height``: of the cut-out, in shares of the picture's width and height.
    """
    import cv2

    high, wide = picture.shape[:2]
    scale = height * high / thing.shape[0]
    move = np.array([[scale, 0, left * wide], [0, scale, top * high]])
    over: Any = cv2.warpAffine(thing, move, (wide, high), flags=cv2.INTER_LINEAR)
    alpha = over[..., 3:].astype(np.uint16)
    mixed = (over[..., :3] * alpha + picture * (255 - alpha) + 127) // 255
    return mixed.astype(np.uint8)  # type: ignore[no-any-return]


def panorama(names: Sequence[str], seam: int = 60) -> Picture:
    """Photographs side by side as one wide one, uint8 [``SHORT``, w, 3], each blending into the next."""
    import cv2

    wide: NDArray[np.float32] | None = None
    for name in names:
        picture = photograph(name)
        scale = SHORT / picture.shape[0]
        right: Any = cv2.resize(picture, (round(picture.shape[1] * scale), SHORT)).astype(
            np.float32
        )
        if wide is None:
            wide = right
            continue
        share = np.linspace(0, 1, seam, dtype=np.float32)[:, None]
        joined = (1 - share) * wide[:, -seam:] + share * right[:, :seam]
        wide = np.concatenate([wide[:, :-seam], joined, right[:, seam:]], 1)
    if wide is None:
        raise ValueError("a panorama needs at least one photograph")
    return wide.round().astype(np.uint8)
