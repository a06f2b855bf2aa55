"""Clips with every kind of transition, and clips with what looks like one and is none.

Truth: ``transitions``, each with ``kind``, ``start`` and ``end`` in seconds (the same for cuts:
the first picture of the new shot) and ``style``; ``fps``, ``duration``. A gradual transition
begins when the new picture, or the blank, begins to show and ends when nothing of the old is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.factory import Recipe, _scenes
from benchmarks.factory._pictures import (
    SCENES,
    SHORT,
    Picture,
    panorama,
    photograph,
)
from benchmarks.factory._scenes import Effect, Shot, Size, actor, shaken, shot
from tiktok_ray.media.writer import write_clip

VERSION = 2

SIZES: tuple[Size, ...] = ((270, 480), (270, 480), (360, 640), (480, 270))

#: Kinds of clips with transitions, and with none.
KINDS = ("cut", "jump cut", "dissolve", "fade", "wipe", "slide")
NONE = (
    "whip pan", "flash", "strobe", "zoom", "screen recording", "split screen",
    "picture in picture", "shake", "light", "occlusion",
)  # fmt: skip

RATES = {"24 fps": 24.0, "25 fps": 25.0, "29.97 fps": 30000 / 1001, "50 fps": 50.0,
         "59.94 fps": 60000 / 1001, "variable rate": 30.0}  # fmt: skip
TREATED = ("shaky", "low light", "noise", "compression", "blurred bars", "letterbox", "captions",
           "inset")  # fmt: skip
CONDITIONS = ("plain",) * 4 + TREATED + tuple(RATES)
FEW = ("plain", "plain", "noise", "low light", "compression", "50 fps", "variable rate")
#: Of what is no cut so many more, small and quickly made, that one false cut in 100 clips shows.
MANY = ("plain",) * 11 + TREATED + ("24 fps", "25 fps", "29.97 fps", "variable rate")
SMALL: tuple[Size, ...] = ((180, 320), (180, 320), (320, 180))


def recipes(edition: int) -> Iterator[Recipe]:
    """Each kind under each condition; plain ones several times."""
    seed = 10_000 * edition
    for kinds, conditions, sizes in (
        (KINDS, CONDITIONS, SIZES), (NONE, FEW, SIZES), (NONE, MANY, SMALL)
    ):  # fmt: skip
        for kind in kinds:
            for condition in conditions:
                seed += 1
                parameters = {
                    "size": sizes[seed % len(sizes)],
                    "fps": RATES.get(condition, 30.0),
                }
                yield Recipe("transitions", kind, condition, seed, parameters)


def make(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Write the clip and return its truth."""
    rng = np.random.default_rng(recipe.seed)
    size, fps = tuple(recipe.parameters["size"]), recipe.parameters["fps"]
    frame: Effect | None = None
    inner = size
    if recipe.condition in _scenes.BARS:
        inner, frame = _scenes.BARS[recipe.condition](rng, size)
    film = MADE[recipe.kind](Shoot(rng, inner, recipe.condition == "shaky"))
    times = np.arange(round(film.duration * fps)) / fps
    if recipe.condition == "variable rate":
        kept = rng.choice(len(times), round(rng.uniform(0.5, 0.8) * len(times)), replace=False)
        times = times[np.sort(kept)]
        times -= times[0]
    effect = frame or _effect(recipe.condition, rng, fps)
    coding = {"preset": "veryfast", "crf": "40" if recipe.condition == "compression" else "21"}
    pictures = (effect(film.at(t), k) for k, t in enumerate(times.tolist()))
    write_clip(path, pictures, fps=fps, times=times.tolist(), options=coding, gop=250)
    return {
        "fps": fps,
        "duration": float(times[-1]) + 1 / fps,
        "transitions": [change.told(times) for change in film.changes],
    }


def _effect(condition: str, rng: np.random.Generator, fps: float) -> Effect:
    made: dict[str, Callable[[], Effect]] = {
        "low light": lambda: _scenes.low_light(rng),
        "noise": lambda: _scenes.noise(rng),
        "captions": lambda: _scenes.caption(rng),
        "inset": lambda: _scenes.inset(rng, fps),
    }
    return made[condition]() if condition in made else lambda picture, _: picture


# --- films ---


@dataclass(frozen=True)
class Change:
    """A transition of a film: what it does, and from when to when, in seconds."""

    kind: str
    style: str
    start: float
    end: float
    eased: bool = False
    soft: float = 0.0

    def share(self, t: float) -> float:
        x = min(1.0, max(0.0, (t - self.start) / (self.end - self.start)))
        return x * x * (3 - 2 * x) if self.eased else x

    def told(self, times: np.ndarray[Any, Any]) -> dict[str, Any]:
        start, end = self.start, self.end
        if start == end:
            start = end = float(times[np.searchsorted(times, start - 1e-6)])
        return {"kind": self.kind, "style": self.style, "start": start, "end": end}


@dataclass(frozen=True)
class Film:
    """What can be seen at each time, and where its shots change."""

    duration: float
    at: Callable[[float], Picture]
    changes: Sequence[Change] = ()


def _edited(shots: Sequence[Shot], changes: Sequence[Change], duration: float, size: Size) -> Film:
    """Shots one after the other, with a change between each two."""

    def at(t: float) -> Picture:
        done = sum(t >= change.end - 1e-6 for change in changes)
        one = _begin(changes, done)
        if done < len(changes) and t > changes[done].start + 1e-6:
            change = changes[done]
            two = _begin(changes, done + 1)
            first, second = shots[done].at(t - one, size), shots[done + 1].at(t - two, size)
            return _mixed(first, second, change, change.share(t))
        return shots[done].at(t - one, size)

    return Film(duration, at, changes)


def _begin(changes: Sequence[Change], index: int) -> float:
    return changes[index - 1].start if index else 0.0


def _mixed(one: Picture, two: Picture, change: Change, share: float) -> Picture:
    if change.kind == "dissolve":
        return _blend(one, two, share)
    if change.kind == "fade":
        level = 255 if change.style.endswith("white") else 0
        held = 0.1  # of the whole extent, blank
        blank = np.full_like(one, level)
        if share < 0.5:
            return _blend(one, blank, min(1.0, share / (0.5 - held / 2)))
        return _blend(blank, two, max(0.0, (share - 0.5 - held / 2) / (0.5 - held / 2)))
    if change.kind == "wipe":
        return _wiped(one, two, change.style, share, change.soft)
    return _slid(one, two, change.style, share)


def _blend(one: Picture, two: Picture, share: float) -> Picture:
    mixed = (1 - share) * one.astype(np.float32) + share * two
    return _scenes.whole(mixed)


def _wiped(one: Picture, two: Picture, style: str, share: float, soft: float) -> Picture:
    """A border goes over the picture; behind it is the new one."""
    high, wide = one.shape[:2]
    x, y = np.meshgrid((np.arange(wide) + 0.5) / wide, (np.arange(high) + 0.5) / high)
    order = {
        "right": x,
        "left": 1 - x,
        "down": y,
        "up": 1 - y,
        "diagonal": (x + y) / 2,
        "iris": np.hypot(x - 0.5, y - 0.5) / np.hypot(0.5, 0.5),
        "doors": np.abs(x - 0.5) * 2,
        "clock": (np.arctan2(x - 0.5, 0.5 - y) / (2 * np.pi)) % 1,
    }[style]
    edge = share * (1 + soft)
    mask = np.clip((edge - order) / soft, 0, 1) if soft else (order < edge).astype(float)
    return _scenes.whole(one + mask[..., None] * (two.astype(np.float32) - one))


def _slid(one: Picture, two: Picture, style: str, share: float) -> Picture:
    """Push: both move; cover: the new one comes over the old; reveal: the old one goes away."""
    how, where = style.split()
    axis, sign = {"left": (1, -1), "right": (1, 1), "up": (0, -1), "down": (0, 1)}[where]
    by = round(share * one.shape[axis])
    old, new = (
        np.moveaxis(picture, axis, 0)[::sign] for picture in (one, two)
    )  # now everything moves towards higher positions
    out = np.empty_like(old)
    out[by:] = old[by:] if how == "cover" else old[: len(old) - by]
    out[:by] = new[:by] if how == "reveal" else new[len(new) - by :]
    return np.ascontiguousarray(np.moveaxis(out[::sign], 0, axis))


# --- films with transitions ---


@dataclass(frozen=True)
class Shoot:
    """What a film is made with."""

    rng: np.random.Generator
    size: Size
    shaky: bool


Maker = Callable[[Shoot], Film]


def _names(rng: np.random.Generator, count: int) -> list[str]:
    """Scenes, no two that follow each other the same."""
    names: list[str] = []
    while len(names) < count:
        more = [SCENES[k] for k in rng.permutation(len(SCENES))]
        names += more if not names or more[0] != names[-1] else more[1:]
    return names[:count]


def _shots(on: Shoot, count: int) -> list[Shot]:
    made = [shot(on.rng, name) for name in _names(on.rng, count)]
    for k, one in enumerate(made):
        if on.rng.random() < 0.35:
            who = ("astronaut", "grace_hopper")[int(on.rng.integers(2))]
            made[k] = replace(one, actor=actor(on.rng, who))
    return [shaken(one, on.rng) for one in made] if on.shaky else made


def _cuts(on: Shoot) -> Film:
    """Shots of 0.4 to 2.5 s; now and then another view of the same scene."""
    count = int(on.rng.integers(5, 8))
    shots = _shots(on, count)
    for k in range(1, count):
        if on.rng.random() < 0.15:
            side = 0.75 if shots[k - 1].centre[0] < 0.5 else 0.25
            shots[k] = replace(shots[k - 1], centre=(side, 0.5), height=0.4, actor=None)
    starts = np.cumsum(on.rng.uniform(0.4, 2.5, count))
    changes = [Change("cut", "cut", t, t) for t in _rounded(starts[:-1])]
    return _edited(shots, changes, max(3.0, float(starts[-1])), on.size)


def _jumps(on: Shoot) -> Film:
    """Somebody talks; what they said in between is cut out, or the picture is punched in."""
    first = shot(on.rng, _names(on.rng, 1)[0], moves=0.3)
    first = replace(
        first, actor=actor(on.rng, ("astronaut", "grace_hopper")[int(on.rng.integers(2))])
    )
    if on.shaky:
        first = shaken(first, on.rng)
    shots, changes, t = [first], [], 0.0
    for _ in range(int(on.rng.integers(3, 6))):
        t += float(on.rng.uniform(0.7, 2.5))
        last, style = shots[-1], ("moved", "moved", "punch")[int(on.rng.integers(3))]
        who = last.actor
        if who is None:
            raise ValueError("nobody is before the camera")
        if style == "moved":
            by = on.rng.uniform(0.03, 0.12) * on.rng.choice((-1, 1))
            left = who.left + by if -0.1 < who.left + by < 0.4 else who.left - by
            who = replace(who, left=float(left), top=float(who.top + on.rng.uniform(-0.03, 0.03)),
                          phase=float(on.rng.uniform(0, 6)))  # fmt: skip
            shots.append(replace(last, actor=who))
        else:
            scale = float(on.rng.uniform(1.1, 1.35))
            scale = 1 / scale if last.height < 0.5 else scale
            shots.append(_punched(last, scale))
        changes.append(Change("jump cut", style, t, t))
    changes = [
        replace(c, start=s, end=s)
        for c, s in zip(changes, _rounded([c.start for c in changes]), strict=True)
    ]
    return _edited(shots, changes, t + float(on.rng.uniform(0.7, 2)), on.size)


def _punched(one: Shot, scale: float) -> Shot:
    """The same take, enlarged about the middle of the picture."""
    who = one.actor
    if who is not None:
        who = replace(who, left=0.5 + (who.left - 0.5) * scale, top=0.5 + (who.top - 0.5) * scale,
                      height=who.height * scale, sway=who.sway * scale)  # fmt: skip
    return replace(one, height=one.height / scale, actor=who)


Draw = Callable[[float, float], Change]  # a change from start to end


def _graduals(on: Shoot, lengths: tuple[float, float], draw: Draw) -> Film:
    """Shots of 0.8 to 2 s with a drawn change, of such a length, between each two."""
    count = int(on.rng.integers(3, 6))
    shots, t, changes = _shots(on, count), 0.0, []
    for _ in range(count - 1):
        t += float(on.rng.uniform(0.8, 2))
        length = float(np.exp(on.rng.uniform(*np.log(lengths))))
        changes.append(draw(t, t + length))
        t += length
    return _edited(shots, changes, t + float(on.rng.uniform(0.8, 2)), on.size)


def _dissolves(on: Shoot) -> Film:
    def draw(start: float, end: float) -> Change:
        return Change("dissolve", "dissolve", start, end, eased=bool(on.rng.random() < 0.3))

    return _graduals(on, (0.2, 2.0), draw)


def _fades(on: Shoot) -> Film:
    def draw(start: float, end: float) -> Change:
        style = ("through black", "through black", "through white")[int(on.rng.integers(3))]
        return Change("fade", style, start, end, eased=bool(on.rng.random() < 0.3))

    return _graduals(on, (0.5, 2.5), draw)


def _wipes(on: Shoot) -> Film:
    styles = ("right", "left", "down", "up") * 2 + ("diagonal", "iris", "doors", "clock")

    def draw(start: float, end: float) -> Change:
        style, soft = styles[int(on.rng.integers(len(styles)))], on.rng.choice((0, 0, 0.05, 0.15))
        return Change("wipe", style, start, end, bool(on.rng.random() < 0.3), float(soft))

    return _graduals(on, (0.3, 1.5), draw)


def _slides(on: Shoot) -> Film:
    def draw(start: float, end: float) -> Change:
        how = ("push", "push", "cover", "reveal")[int(on.rng.integers(4))]
        where = ("left", "right", "up", "down")[int(on.rng.integers(4))]
        return Change("slide", f"{how} {where}", start, end, eased=bool(on.rng.random() < 0.5))

    return _graduals(on, (0.25, 1.2), draw)


def _rounded(times: Any) -> list[float]:
    """Times on a raster that 24, 25, 30, 50 and 60 fps share only in part, as cuts are."""
    return [round(float(t), 3) for t in times]


# --- films without any ---


def _whip_pans(on: Shoot) -> Film:
    """A camera that is thrown from one thing to another, blurred by its speed, once or twice."""
    wide = panorama(_names(on.rng, 4))
    ratio = SHORT / wide.shape[1]
    stops = np.sort(on.rng.uniform(0.1, 0.9, 3))[:: int(on.rng.choice((-1, 1)))]
    begins = np.cumsum(on.rng.uniform(1.0, 1.8, 2))
    spans = on.rng.uniform(0.2, 0.45, 2)
    one = Shot(wide, height=float(on.rng.uniform(0.6, 0.9)), shake=0.003)

    def place(t: float) -> float:
        x = float(stops[0])
        for begin, span, gap in zip(begins, spans, np.diff(stops), strict=True):
            share = min(1.0, max(0.0, (t - begin) / span))
            x += float(gap) * share * share * (3 - 2 * share)
        return float(x + 0.01 * ratio * t)

    def at(t: float) -> Picture:
        taken = [place(t + step) for step in np.linspace(0, 1 / 60, 9)]
        if abs(taken[-1] - taken[0]) * wide.shape[1] < 3:
            return replace(one, centre=(taken[0], 0.5)).at(t, on.size)
        views = [replace(one, centre=(x, 0.5)).at(t, on.size) for x in taken]
        return _scenes.whole(np.mean(views, 0))

    return Film(float(begins[-1] + 1.7), at)


def _lit(on: Shoot, light: Callable[[Picture, float], Picture], duration: float) -> Film:
    one = _shots(on, 1)[0]
    return Film(duration, lambda t: light(one.at(t, on.size), t))


def _flashes(on: Shoot) -> Film:
    """Photographers' flashes: white or overexposed for 1 to 4 pictures, some that die away."""
    begins = np.cumsum(on.rng.uniform(0.5, 1.4, 4))
    lengths, kinds = on.rng.uniform(0.03, 0.12, 4), on.rng.integers(3, size=4)
    gains = on.rng.uniform(1.8, 4, 4)

    def light(picture: Picture, t: float) -> Picture:
        for begin, length, kind, gain in zip(begins, lengths, kinds, gains, strict=True):
            past = t - begin
            if kind == 2 and 0 <= past < 4 * length:
                share = float(np.exp(-past / length))
                return _blend(picture, np.full_like(picture, 255), share)
            if 0 <= past < length:
                if kind == 0:
                    return np.full_like(picture, 252)
                return _scenes.whole(gain * picture.astype(np.float32) + 30)
        return picture

    return _lit(on, light, float(begins[-1] + 1))


def _strobes(on: Shoot) -> Film:
    """Light that comes and goes 4 to 12 times a second, white or coloured, for a while."""
    rate, duty = on.rng.uniform(4, 12), on.rng.uniform(0.3, 0.6)
    begin, end = 0.8, 0.8 + on.rng.uniform(1.5, 3)
    color = on.rng.choice(((1, 1, 1), (1, 1, 1), (1, 0.3, 0.3), (0.4, 0.4, 1)))
    dark, bright = on.rng.uniform(0.05, 0.4), on.rng.uniform(1.0, 2.2)

    def light(picture: Picture, t: float) -> Picture:
        if not begin <= t < end:
            return picture
        on = ((t - begin) * rate) % 1 < duty
        gain = bright * np.asarray(color, float) if on else np.full(3, dark)
        return _scenes.whole(picture * gain)

    return _lit(on, light, float(end + 1))


def _zooms(on: Shoot) -> Film:
    """A crash zoom in or out, 1.8 to 3 times within 0.25 to 0.8 s, and a slow one."""
    one = _shots(on, 1)[0]
    begin, span, factor = on.rng.uniform(1, 1.5), on.rng.uniform(0.25, 0.8), on.rng.uniform(1.8, 3)
    inward = bool(on.rng.integers(2))

    def at(t: float) -> Picture:
        share = float(np.clip((t - begin) / span, 0, 1))
        share = share * share * (3 - 2 * share)
        scale = factor ** (share if inward else share - 1)
        return _punched(replace(one, height=0.8, zoom=0.03), scale).at(t, on.size)

    return Film(float(begin + span + 1.5), at)


def _screens(on: Shoot) -> Film:
    """A page on a screen: it rests, is scrolled, written on, and a menu opens over part of it."""
    import cv2

    wide, high = on.size
    page = np.full((3 * high, wide, 3), int(on.rng.choice((255, 245, 30))), np.uint8)
    ink = (20, 20, 20) if page[0, 0, 0] > 128 else (220, 220, 220)
    y = 30
    while y < len(page) - 130:
        if on.rng.random() < 0.12:
            picture: Any = cv2.resize(
                photograph(SCENES[int(on.rng.integers(len(SCENES)))]), (wide - 40, 90)
            )
            page[y : y + 90, 20 : wide - 20] = picture
            y += 110
        text = " ".join(_scenes.WORDS[int(k)] for k in on.rng.integers(len(_scenes.WORDS), size=5))
        cv2.putText(page, text, (16, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, ink, 1, cv2.LINE_AA)
        y += 18
    scrolls = [
        (float(t), float(on.rng.uniform(0.3, 1)), float(on.rng.uniform(80, 300)))
        for t in (2.0, 6.0)
    ]
    menu = (4.0, 5.2)

    def at(t: float) -> Picture:
        top = sum(by * float(np.clip((t - begin) / span, 0, 1)) for begin, span, by in scrolls)
        first = min(round(top), len(page) - high)
        out = page[first : first + high].copy()
        if menu[0] <= t < menu[1]:
            cv2.rectangle(
                out, (20, high // 3), (wide // 2, high // 3 + high // 5), (200, 200, 200), -1
            )
        written = "and so it goes on"[: max(0, int(8 * (t - 0.5)))]
        cv2.rectangle(out, (0, high - 30), (wide, high), (90, 90, 90), -1)
        cv2.putText(
            out,
            written,
            (10, high - 10),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.4,
            (255, 255, 255),
            1,
            cv2.LINE_AA,
        )
        return out

    return Film(9.0, at)


def _splits(on: Shoot) -> Film:
    """Two shots at once, one above the other, or four."""
    rows, columns = ((2, 1), (1, 2), (2, 2))[int(on.rng.integers(3))]
    shots = _shots(on, rows * columns)
    part = (on.size[0] // columns, on.size[1] // rows)

    def at(t: float) -> Picture:
        out = np.zeros((on.size[1], on.size[0], 3), np.uint8)
        for k, one in enumerate(shots):
            y, x = k // columns * part[1], k % columns * part[0]
            out[y : y + part[1], x : x + part[0]] = one.at(t, part)
        return out

    return Film(float(on.rng.uniform(4, 7)), at)


def _insets(on: Shoot) -> Film:
    """A small picture that comes up over part of another, moves and goes."""
    import cv2

    main, other = _shots(on, 2)
    part = (round(on.size[0] * 0.45) // 2 * 2, round(on.size[1] * 0.3) // 2 * 2)
    left, top = (int(on.rng.integers(0, on.size[k] - part[k])) for k in (0, 1))
    pops = bool(on.rng.integers(2))

    def at(t: float) -> Picture:
        out = main.at(t, on.size)
        grown = float(np.clip((t - 1.5) / 0.3, 0, 1)) * float(np.clip((4.5 - t) / 0.3, 0, 1))
        grown = float(grown > 0) if pops else grown
        if grown > 0.05:
            w, h = (max(2, round(grown * side)) for side in part)
            seen: Any = cv2.resize(other.at(t, part), (w, h))
            out = out.copy()
            out[top : top + h, left : left + w] = seen
        return out

    return Film(6.0, at)


def _shakes(on: Shoot) -> Film:
    """A camera that is run with, knocked aside once, and put down."""
    one = replace(_shots(replace(on, shaky=True), 1)[0], shake=float(on.rng.uniform(0.03, 0.06)))
    begin, way = on.rng.uniform(1.5, 2.5), on.rng.uniform(-0.06, 0.06, 2)

    def at(t: float) -> Picture:
        gone = float(np.exp(-(t - begin) / 0.15)) if t >= begin else 0.0
        moved = (one.centre[0] + gone * way[0], one.centre[1] + gone * way[1])
        return replace(one, centre=moved).at(t, on.size)

    return Film(float(begin + 2.5), at)


def _lights(on: Shoot) -> Film:
    """Light that is switched, dims and is put right by the camera, and changes its colour."""
    gain, tint = on.rng.uniform(0.3, 0.6), on.rng.uniform(0.7, 1.3, 3)

    def light(picture: Picture, t: float) -> Picture:
        by = np.ones(3)
        if t >= 1.2:
            by = by * (gain + (1 - gain) * np.clip((t - 1.6) / 0.8, 0, 1))
        if t >= 3.5:
            by = by * tint
        if t >= 4.5:
            by = by * (1 + 0.3 * np.sin(6 * (t - 4.5)))
        return _scenes.whole(picture * by)

    return _lit(on, light, 6.5)


def _occlusions(on: Shoot) -> Film:
    """Somebody or something passes close before the camera, over most of the picture."""
    import cv2

    one = _shots(on, 1)[0]
    wide, high = on.size
    thing: Any = cv2.resize(
        photograph(("brick", "bus", "motorcycle")[int(on.rng.integers(3))]),
        (round(wide * on.rng.uniform(0.5, 0.85)), high),
    )
    begins, spans = (1.2, 3.2), on.rng.uniform(0.5, 1.2, 2)

    def at(t: float) -> Picture:
        out = one.at(t, on.size)
        for begin, span in zip(begins, spans, strict=True):
            left = round((t - begin) / span * (wide + thing.shape[1])) - thing.shape[1]
            if -thing.shape[1] < left < wide:
                out = out.copy()
                first, last = max(0, left), min(wide, left + thing.shape[1])
                out[:, first:last] = thing[:, first - left : last - left]
        return out

    return Film(5.5, at)


MADE: dict[str, Maker] = {
    "cut": _cuts,
    "jump cut": _jumps,
    "dissolve": _dissolves,
    "fade": _fades,
    "wipe": _wipes,
    "slide": _slides,
    "whip pan": _whip_pans,
    "flash": _flashes,
    "strobe": _strobes,
    "zoom": _zooms,
    "screen recording": _screens,
    "split screen": _splits,
    "picture in picture": _insets,
    "shake": _shakes,
    "light": _lights,
    "occlusion": _occlusions,
}
