"""Shots as a camera takes them, and what happens to their pictures on the way to a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.factory._pictures import Picture, cut_out, pasted, photograph, view

Size = tuple[int, int]  # width, height
Effect = Callable[[Picture, int], Picture]  # of a picture and its position in the clip


@dataclass(frozen=True)
class Actor:
    """Somebody before the camera: where they stand, and how they sway and nod.

    ``left``, ``top``, ``height``: shares of the picture. ``sway``: widths of the picture.
    """

    name: str
    left: float
    top: float
    height: float
    sway: float
    rate: float
    phase: float

    def over(self, picture: Picture, t: float) -> Picture:
        angle = 2 * np.pi * self.rate * t + self.phase
        left = self.left + self.sway * np.sin(angle)
        top = self.top + 0.4 * self.sway * np.sin(1.7 * angle + 1)
        return pasted(picture, cut_out(self.name), left, top, self.height)


@dataclass(frozen=True)
class Shot:
    """One take of a photograph: where the camera looks, how it moves, and who stands before it.

    ``centre``, ``pan``: shares of the photograph, and of it a second; ``height``: of the view;
    ``zoom``: e-folds a second; ``roll``: radians a second; ``shake``: heights of the view.
    """

    picture: Picture
    centre: tuple[float, float] = (0.5, 0.5)
    height: float = 0.7
    pan: tuple[float, float] = (0.0, 0.0)
    zoom: float = 0.0
    roll: float = 0.0
    shake: float = 0.0
    phase: float = 0.0
    actor: Actor | None = None

    def at(self, t: float, size: Size) -> Picture:
        """The picture ``t`` seconds into the shot, RGB, uint8 [h, w, 3]."""
        rates = 2 * np.pi * np.array([2.3, 5.1, 3.1, 4.3])
        way = np.sin(rates * t + self.phase * np.arange(1, 5)) * (1.0, 0.5, 1.0, 0.5)
        ratio = self.picture.shape[0] / self.picture.shape[1]
        centre = (
            self.centre[0] + self.pan[0] * t + self.shake * self.height * ratio * (way[0] + way[1]),
            self.centre[1] + self.pan[1] * t + self.shake * self.height * (way[2] + way[3]),
        )
        height = self.height * float(np.exp(-self.zoom * t))
        seen = view(self.picture, size, centre, height, self.roll * t)
        return self.actor.over(seen, t) if self.actor else seen


def actor(rng: np.random.Generator, name: str) -> Actor:
    """Somebody who talks to the camera."""
    height = float(rng.uniform(0.5, 0.7))
    return Actor(
        name,
        left=float(rng.uniform(0.0, 0.25)),
        top=1.03 - height,
        height=height,
        sway=float(rng.uniform(0.004, 0.015)),
        rate=float(rng.uniform(0.3, 0.8)),
        phase=float(rng.uniform(0, 6)),
    )


def shot(rng: np.random.Generator, name: str, moves: float = 1.0) -> Shot:
    """A take of a photograph by a camera that rests, pans, zooms or is held by hand."""
    way = rng.uniform(-1, 1, 4) * moves
    kind = rng.integers(4)
    return Shot(
        photograph(name),
        centre=(float(rng.uniform(0.35, 0.65)), float(rng.uniform(0.4, 0.6))),
        height=float(rng.uniform(0.5, 0.8)),
        pan=(0.06 * float(way[0]), 0.02 * float(way[1])) if kind in (1, 3) else (0.0, 0.0),
        zoom=0.06 * float(way[2]) if kind in (2, 3) else 0.0,
        roll=0.03 * float(way[3]) if kind == 3 else 0.0,
        shake=0.004 if kind == 3 else 0.0,
        phase=float(rng.uniform(0, 6)),
    )


def shaken(one: Shot, rng: np.random.Generator) -> Shot:
    """The same take by a hand that cannot hold still."""
    return replace(one, shake=float(rng.uniform(0.012, 0.03)))


# --- what happens to all pictures of a clip ---


def noise(rng: np.random.Generator) -> Effect:
    """Grain of 6 to 14 levels, new in every picture."""
    sigma, base = rng.uniform(6, 14), int(rng.integers(1 << 30))

    def effect(picture: Picture, index: int) -> Picture:
        grain = np.random.default_rng((base, index)).standard_normal(picture.shape[:2], np.float32)
        return whole(picture + sigma * grain[..., None])

    return effect


def low_light(rng: np.random.Generator) -> Effect:
    """A twelfth to a quarter of the light, and the grain that comes with it."""
    gain, base = rng.uniform(0.08, 0.25), int(rng.integers(1 << 30))

    def effect(picture: Picture, index: int) -> Picture:
        grain = np.random.default_rng((base, index)).standard_normal(picture.shape, np.float32)
        return whole(gain * picture + 3 + 3 * grain)

    return effect


def blurred_bars(rng: np.random.Generator, size: Size) -> tuple[Size, Effect]:
    """The size of a picture of the other orientation, and how its own blur fills the rest."""
    import cv2

    wide, high = size
    share = rng.uniform(0.35, 0.6)
    inner = (wide, _even(share * high)) if high > wide else (_even(share * wide), high)
    left, top = (wide - inner[0]) // 2, (high - inner[1]) // 2

    def effect(picture: Picture, _: int) -> Picture:
        small: Any = cv2.resize(picture, (max(2, wide // 8), max(2, high // 8)))
        behind: Any = cv2.resize(cv2.GaussianBlur(small, (0, 0), 3), (wide, high))
        out = whole(0.7 * behind.astype(np.float32))
        out[top : top + inner[1], left : left + inner[0]] = picture
        return out

    return inner, effect


def letterbox(rng: np.random.Generator, size: Size) -> tuple[Size, Effect]:
    """The size of a picture between black bars, and how they are put above and below it."""
    inner = (size[0], _even(rng.uniform(0.45, 0.8) * size[1]))
    top = (size[1] - inner[1]) // 2

    def effect(picture: Picture, _: int) -> Picture:
        out = np.zeros((size[1], size[0], 3), np.uint8)
        out[top : top + inner[1]] = picture
        return out

    return inner, effect


def _even(length: float) -> int:
    return max(2, round(length / 2) * 2)


#: Conditions under which the film fills but a part of the picture.
BARS: dict[str, Callable[[np.random.Generator, Size], tuple[Size, Effect]]] = {
    "blurred bars": blurred_bars,
    "letterbox": letterbox,
}

WORDS = (
    "wait",
    "what",
    "this is",
    "how",
    "you make",
    "the best",
    "bread",
    "at home",
    "in ten",
    "minutes",
)


def caption(rng: np.random.Generator, every: int = 18) -> Effect:
    """Words over the picture, others every ``every`` pictures."""
    import cv2

    top, first = rng.uniform(0.2, 0.8), int(rng.integers(len(WORDS)))

    def effect(picture: Picture, index: int) -> Picture:
        high, wide = picture.shape[:2]
        text = WORDS[(first + index // every) % len(WORDS)]
        size = wide / 270
        (w, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, size, 2)
        at = ((wide - w) // 2, round(top * high))
        out = picture.copy()
        cv2.putText(out, text, at, cv2.FONT_HERSHEY_DUPLEX, size, (0, 0, 0), 6, cv2.LINE_AA)
        cv2.putText(out, text, at, cv2.FONT_HERSHEY_DUPLEX, size, (255, 255, 255), 2, cv2.LINE_AA)
        return out

    return effect


def inset(rng: np.random.Generator, fps: float) -> Effect:
    """Somebody in a corner who comments on all of it."""
    wall = shot(rng, "brick", moves=0)
    face = replace(wall, actor=replace(actor(rng, "grace_hopper"), height=0.9, top=0.15))
    share, right = rng.uniform(0.25, 0.35), rng.integers(2)

    def effect(picture: Picture, index: int) -> Picture:
        high, wide = picture.shape[:2]
        side = round(share * min(high, wide)) // 2 * 2
        out, left = picture.copy(), (wide - side - 8) if right else 8
        out[8 : 8 + side, left : left + side] = face.at(index / fps, (side, side))
        return out

    return effect


def whole(picture: Any) -> Picture:
    """Levels as whole numbers of 0..255."""
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)  # type: ignore[no-any-return]
