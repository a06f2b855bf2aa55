"""Near-duplicates and re-uploads among videos: by picture hash and sound print, with what was changed.

A picture hash is the sign of low DCT coefficients about their median (Zauner, 2010); each picture
has those of its crops too. Two videos are one where the hashes of one, whole, mirrored or cropped,
stay near those of the other along one line of time; of many crops one is a little like any still
head, so that a crop counts only where fine detail of the pictures agrees too (normalised
cross-correlation of what a blur takes away). The sound print is that of Haitsma and Kalker
(2002): it says whether the sound is the same there. One sound alone makes no duplicate.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from tiktok_ray.files import replacing, sha256_of
from tiktok_ray.media import Frames, InputError, decode
from tiktok_ray.media.probing import answer_with, read_apart
from tiktok_ray.report import said
from tiktok_ray.serve.store import VIDEO, reports
from tiktok_ray.settings import Settings

#: Kept prints of another version are made anew.
VERSION = 1
PRINT = "print.npz"
#: Seconds between the pictures that are hashed, and how many of them at most (two minutes).
STEP_S, MOST = 0.25, 480
#: Bits of 64 in which hashes of one picture differ at most, share of the pictures that must be so
#: near, and share of the shorter video that they must cover.
NEAR, SHARE, COVERED = 14, 0.8, 0.4
#: Pictures that must match, and mean distance in bits that is asked where the sound differs.
LEAST, SURE = 4, 6.0
#: Mean distance at which whole pictures are so alike that nothing else is tried.
SURELY = 4.0
#: Bits in which a crop differs at most, how many crops are looked at closely, the correlation from
#: which one counts, and by how much it must be more alike than the whole picture.
CROP_NEAR, CLOSELY, AGREES, RATHER = 18, 6, 0.8, 0.05
#: Correlation that whole pictures need whose hashes alone are not sure; captions take some of it.
ALIKE = 0.55
#: Side at which they are looked at, its share that the blur spans, sizes about that of the crop,
#: and how many pictures.
FINE, BLUR, ZOOMS, LOOKS = 96, 0.125, (0.88, 0.94, 1.0, 1.06, 1.12), 5
#: Standard deviation of the luma below which a picture is too plain to tell anything.
PLAIN = 8.0
SPEEDS = (1.0, 0.5, 0.6, 0.667, 0.75, 0.8, 0.85, 0.9, 0.95, 1.05, 1.1, 1.15, 1.2, 1.25, 1.333, 1.5, 1.75, 2.0)  # fmt: skip
#: Seconds by which lengths differ that are the same.
LENGTH_S = 0.15
#: Mean bits by which another speed must fit better than the unchanged one.
BETTER = 0.4
#: The same where lengths do not say so too, and by which a line may be farther whose lengths fit.
CLEARLY, RIVALS = 3.0, 1.0
#: Sound: samples of a window and a step at 16 kHz, its bands in Hz, seconds that must be heard in
#: both, and the share of bits in which one sound differs at most.
WINDOW, HOP, LOWEST, HIGHEST, BANDS = 4096, 512, 300.0, 3000.0, 33
HEARD_S, ERRORS, QUIET = 2.0, 0.3, 1e-4
#: Side of the pictures compared for overlays; share of full scale, and of the picture, that differ.
SIDE, DIFFERS, LITTLE, MUCH = 32, 0.14, 0.01, 0.4

Change = Literal[
    "re-encoded", "resized", "cropped", "mirrored", "sped up", "slowed down", "trimmed",
    "re-captioned", "sound changed",
]  # fmt: skip
Words = NDArray[np.uint64]


def _crops() -> list[tuple[float, float, float, float]]:
    """x0, y0, width and height of the crops as shares of the picture; the first is the whole."""
    places = (0.0, 0.5, 1.0)
    found = [(0.0, 0.0, 1.0, 1.0)]
    for w, h in ((0.9, 0.9), (0.8, 0.8), (0.7, 0.7), (0.75, 1.0), (0.5625, 1.0), (0.42, 1.0), (0.316, 1.0), (1.0, 0.75), (1.0, 0.5625)):  # fmt: skip
        across = places if w < 1 else (0.0,)
        down = places if h < 1 else (0.0,)
        found += [(x * (1 - w), y * (1 - h), w, h) for x, y in itertools.product(across, down)]
    return found


CROPS = _crops()
#: Those over the full width: what is left of both where a band of one is covered by a caption.
BANDS_LEFT = tuple(k for k, (_, _, w, h) in enumerate(CROPS) if w == 1 and h < 1)


@dataclass(frozen=True)
class Print:
    """What is kept of a video to compare it by.

    ``hashes``: uint64 [n, crops], of pictures every ``STEP_S`` seconds; ``mirrored``: uint64 [n], of
    the whole ones; ``telling``: bool [n], whether a picture is not plain; ``small``: luma, uint8
    [n, 32, 32]; ``sound``: uint32 [k], every 32 ms; ``heard``: bool [k].
    """

    sha256: str
    duration_s: float
    size: tuple[int, int]
    hashes: Words
    mirrored: Words
    telling: NDArray[np.bool_]
    small: NDArray[np.uint8]
    sound: NDArray[np.uint32]
    heard: NDArray[np.bool_]


class Match(BaseModel):
    """A pair of videos that show the same, and what was changed from ``a`` to ``b``, or back."""

    model_config = ConfigDict(frozen=True)

    a: str
    b: str
    same_file: bool
    distance: float = Field(description="Mean Hamming distance of matched frames, in bits of 64")
    share: float = Field(description="Share of the compared frames that match, 0..1")
    a_span: tuple[float, float] = Field(description="The part of a that is in b, in seconds")
    b_span: tuple[float, float] = Field(description="Where it is in b, in seconds")
    speed: float | None = Field(
        description="Seconds of a shown per second of b, approximate. Null if there is too little motion"
        " to tell a changed speed from a trimmed video"
    )
    changes: list[Change] = Field(
        description="What differs; which of the two is older is not known"
    )
    cropped: Literal["a", "b"] | None = Field(None, description="The one that shows less")
    crop: tuple[float, float, float, float] | None = Field(
        None, description="What it shows of the other: x, y, width, height as shares; a rough one"
    )
    sound: Literal["same", "different", "not compared"]


# Prints


def print_of(path: Path, settings: Settings) -> Print:
    """The print of a video file. Raises ``InputError``."""
    decoded = decode(path, {"thumbs", "audio"}, settings)
    frames: Frames = decoded.tracks["thumbs"]  # type: ignore[assignment]
    audio: Any = decoded.tracks.get("audio")
    times = np.arange(0.0, max(STEP_S, frames.end), STEP_S)[:MOST]
    chosen = np.clip(np.searchsorted(frames.times, times + 1e-3, side="right") - 1, 0, None)
    grays = _without_bars(np.stack([frames.gray(int(k)) for k in chosen]))
    made = [_hashes(gray) for gray in grays]
    sound, heard = sound_print(audio.samples) if audio is not None else sound_print(np.zeros(0))
    return Print(
        sha256=sha256_of(path),
        duration_s=float(frames.end),
        size=(decoded.video.width, decoded.video.height),
        hashes=np.array([hashes for hashes, _ in made], np.uint64),
        mirrored=np.array([mirrored for _, mirrored in made], np.uint64),
        telling=np.array([gray.std() >= PLAIN for gray in grays]),
        small=np.stack([_resized(gray) for gray in grays]).astype(np.uint8),
        sound=sound,
        heard=heard,
    )


def _without_bars(grays: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same without borders that stay black throughout; all of it where little else is."""
    lit = grays.max(axis=0) > 32
    rows, columns = np.flatnonzero(lit.mean(axis=1) > 0.05), np.flatnonzero(lit.mean(axis=0) > 0.05)
    if len(rows) < 16 or len(columns) < 16:
        return grays
    return grays[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _resized(gray: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2

    made = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(made, np.float32)


def _hashes(gray: NDArray[np.uint8]) -> tuple[list[int], int]:
    """Hashes of the crops of a picture, and that of the whole one mirrored."""
    import cv2

    height, width = gray.shape
    found, mirrored = [], 0
    for number, (x, y, w, h) in enumerate(CROPS):
        left, top = round(x * width), round(y * height)
        part = gray[top : top + max(1, round(h * height)), left : left + max(1, round(w * width))]
        low = np.asarray(cv2.dct(_resized(part)))[:8, :8]
        found.append(_bits(low))
        if number == 0:
            mirrored = _bits(low * np.where(np.arange(8) % 2, -1, 1))
    return found, mirrored


def _bits(low: NDArray[Any]) -> int:
    """Which coefficients lie above the median; the mean brightness counts for none."""
    values = low.flatten()
    values[0] = 0.0
    return int.from_bytes(np.packbits(values > np.median(values[1:])).tobytes(), "big")


def sound_print(samples: NDArray[Any]) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Signs of the change over time of the difference between neighbouring bands, 32 bits every
    32 ms, and whether anything is heard there. ``samples``: float [n], mono, 16 kHz."""
    if len(samples) < WINDOW + HOP:
        return np.zeros(0, np.uint32), np.zeros(0, bool)
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    edges = np.geomspace(LOWEST, HIGHEST, BANDS + 1) * WINDOW / 16_000
    bounds = np.round(edges).astype(int)
    taper = np.hanning(WINDOW)
    energy = np.empty((len(windows), BANDS))
    for k in range(0, len(windows), 256):  # a few at a time, so that memory stays small
        power = np.abs(np.fft.rfft(windows[k : k + 256] * taper)) ** 2
        energy[k : k + 256] = np.add.reduceat(power, bounds[:-1], axis=1)[:, :BANDS]
    bits = np.diff(np.diff(energy, axis=1), axis=0) < 0
    packed = np.packbits(bits, axis=1).view(">u4")[:, 0].astype(np.uint32)
    heard = np.sqrt((windows[1:] ** 2).mean(axis=1)) > QUIET
    return packed, heard


# Comparison


class _Line(NamedTuple):
    """One line of time: picture i of the shorter is picture ``round(i * speed) + offset``.

    ``unsure``: at another speed they fit as well, and their lengths better.
    """

    mean: float
    share: float
    first: int
    last: int
    speed: float
    offset: int
    unsure: bool = False


class _View(NamedTuple):
    """How one is looked at to be like the other: what is cropped, which crop, mirrored or not."""

    cropped: Literal["short", "long"] | None
    crop: int
    mirrored: bool


def compare(a: Print, b: Print, names: tuple[str, str] = ("a", "b")) -> Match | None:
    """How two videos are the same, or None where they are not, or too plain to tell."""
    swapped = len(a.hashes) > len(b.hashes)
    short, long = (b, a) if swapped else (a, b)
    best = _best(short, long)
    if best is None:
        return None
    view, line = best
    sound = _sound(short, long, line)
    if line.unsure and sound == "different":
        sound = "not compared"
    if sound == "different" and line.mean > SURE and not view.cropped:
        return None
    return _match(a, b, names, swapped, view, line, sound)


def _best(short: Print, long: Print) -> tuple[_View, _Line] | None:
    """How the two are most alike: whole, unless a crop agrees better in its detail."""
    whole: tuple[_View, _Line] | None = None
    crops: list[tuple[_View, _Line]] = []
    for view, one, other in _views(short, long):
        line = _line(one, other, short, long, CROP_NEAR if view.cropped else NEAR)
        if line is None:
            continue
        if view.cropped:
            crops.append((view, line))
        elif whole is None or line.mean < whole[1].mean - 1.0:
            whole = view, line
            if line.mean <= SURELY:
                return whole
    least = AGREES
    if whole is not None:
        agreement = _agreement(short, long, *whole)
        least = max(least, agreement + RATHER)
        if whole[1].mean > SURE and agreement < ALIKE:
            whole = None
    crops.sort(key=lambda found: found[1].mean)
    alike = [(_agreement(short, long, *found), found) for found in crops[:CLOSELY]]
    agreement, crop = max(alike, key=lambda one: one[0], default=(0.0, None))
    return crop if agreement >= least else whole


def _agreement(short: Print, long: Print, view: _View, line: _Line) -> float:
    """Correlation of the detail of what is cropped with the like place of the other, -1..1."""
    import cv2

    i, j = _pairs(line, len(long.small))
    inner, outer = short.small[i], long.small[j]
    if view.cropped == "long":
        inner, outer = outer, inner
    if view.mirrored:
        inner = inner[:, :, ::-1]
    _, _, w, h = CROPS[view.crop] if view.cropped else CROPS[0]
    found = []
    for k in np.unique(np.linspace(0, len(i) - 1, LOOKS).astype(int)):
        large = _detail(outer[k], (FINE, FINE))
        sizes = {
            (min(FINE, round(w * FINE * zoom)), min(FINE, round(h * FINE * zoom))) for zoom in ZOOMS
        }
        fits = (
            cv2.matchTemplate(large, _detail(inner[k], size), cv2.TM_CCOEFF_NORMED).max()
            for size in sizes
        )
        found.append(float(max(fits)))
    return float(np.median(found))


def _detail(small: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    """A picture of that width and height without what is coarse in it."""
    import cv2

    made = cv2.resize(small.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(made - cv2.GaussianBlur(made, (0, 0), FINE * BLUR), np.float32)


def _views(short: Print, long: Print) -> Iterator[tuple[_View, Words, Words]]:
    yield _View(None, 0, False), short.hashes[:, 0], long.hashes[:, 0]
    yield _View(None, 0, True), short.mirrored, long.hashes[:, 0]
    for mirrored in (False, True):
        whole_short = short.mirrored if mirrored else short.hashes[:, 0]
        whole_long = long.mirrored if mirrored else long.hashes[:, 0]
        for crop in BANDS_LEFT if not mirrored else ():
            yield _View(None, crop, mirrored), short.hashes[:, crop], long.hashes[:, crop]
        for crop in range(1, len(CROPS)):
            yield _View("long", crop, mirrored), short.hashes[:, crop], whole_long
            yield _View("short", crop, mirrored), whole_short, long.hashes[:, crop]


def _line(one: Words, other: Words, short: Print, long: Print, most: int) -> _Line | None:
    """The line of time along which hashes stay nearest, if they are near enough."""
    distance = np.bitwise_count(one[:, None] ^ other[None, :]).astype(np.int16)
    both = short.telling[:, None] & long.telling[None, :]
    near = (distance <= most) & both
    least = max(LEAST, round(COVERED * min(short.telling.sum(), long.telling.sum())))
    if near.any(axis=1).sum() < least:
        return None
    found: list[_Line] = []
    rows, columns = np.nonzero(near)
    for speed in SPEEDS:
        steps = np.round(np.arange(len(one)) * speed).astype(int)
        met = np.bincount(columns - steps[rows] + steps[-1])  # by offset
        for offset in (int(k) - int(steps[-1]) for k in np.flatnonzero(met >= least)):
            line = _along(distance, both, steps, offset, speed, least, most)
            if line is not None:
                found.append(line)
    if not found:
        return None
    longest = max(line.last - line.first for line in found)
    found = [line for line in found if line.last - line.first >= 0.8 * longest]
    return _likeliest(found, short.duration_s, long.duration_s)


def _likeliest(found: list[_Line], short_s: float, long_s: float) -> _Line:
    """The nearest line; a changed speed only where the unchanged one is clearly farther."""
    best = min(found, key=lambda line: line.mean)
    fitting = [line for line in found if _fits(line, short_s, long_s)]
    even = min((line for line in found if line.speed == 1.0), key=lambda x: x.mean, default=None)
    fit = min(fitting, key=lambda line: line.mean, default=None)
    if fit is not None and fit.mean <= best.mean + RIVALS:
        best = fit
    if even is None or (best.speed == 1.0 and even.mean <= best.mean):
        if even is None:
            return best
        return even._replace(unsure=_rivals(even, found, short_s, long_s))
    if _fits(even, short_s, long_s):
        return even if even.mean <= best.mean + CLEARLY else best
    if even.mean > best.mean + (BETTER if best is fit else CLEARLY):
        return best
    return even._replace(unsure=True)


def _rivals(even: _Line, found: list[_Line], short_s: float, long_s: float) -> bool:
    """Whether lengths fit at another speed that is about as near, and not at the unchanged one."""
    near = [line for line in found if line.mean <= even.mean + BETTER]
    return not _fits(even, short_s, long_s) and any(_fits(x, short_s, long_s) for x in near)


def _fits(line: _Line, short_s: float, long_s: float) -> bool:
    """Whether both are of one length at that speed."""
    return abs(short_s * line.speed - long_s) <= max(LENGTH_S, 0.02 * long_s)


def _along(
    distance: NDArray[np.int16],
    both: NDArray[np.bool_],
    steps: NDArray[Any],
    offset: int,
    speed: float,
    least: int,
    most: int,
) -> _Line | None:
    at = steps + offset
    inside = np.flatnonzero((at >= 0) & (at < distance.shape[1]))
    if len(inside) < least:
        return None
    inside = inside[both[inside, at[inside]]]
    if len(inside) < least:
        return None
    bits = distance[inside, at[inside]]
    matched = bits <= most
    share = float(matched.mean())
    if share < SHARE or matched.sum() < least:
        return None
    first, last = int(inside[0]), int(inside[-1])
    return _Line(float(bits[matched].mean()), share, first, last, speed, offset)


def _sound(short: Print, long: Print, line: _Line) -> Literal["same", "different", "not compared"]:
    """Whether the sound is the same along that line; not told where the speed was changed."""
    step = HOP / 16_000
    if line.speed != 1.0:
        return "not compared"
    fits, compared = 1.0, False
    near = round(line.offset * STEP_S / step)
    for lag in range(near - 20, near + 21):
        i = np.arange(max(0, -lag), min(len(short.sound), len(long.sound) - lag))
        if not len(i):
            continue
        i = i[short.heard[i] & long.heard[i + lag]]
        if len(i) * step < min(HEARD_S, 0.5 * short.duration_s):
            continue
        compared = True
        errors = np.bitwise_count(short.sound[i] ^ long.sound[i + lag]).mean() / 32
        fits = min(fits, float(errors))
    if not compared:
        silent = [not one.heard.any() for one in (short, long)]
        return "different" if silent[0] != silent[1] else "not compared"
    return "same" if fits <= ERRORS else "different"


def _match(
    a: Print, b: Print, names: tuple[str, str], swapped: bool, view: _View, line: _Line, sound: Any
) -> Match:
    short, long = (b, a) if swapped else (a, b)
    inner = (line.first * STEP_S, min(short.duration_s, (line.last + 1) * STEP_S))
    outer = tuple(
        round(min(long.duration_s, max(0.0, t * line.speed + line.offset * STEP_S)), 2)
        for t in inner
    )
    spans = ((round(inner[0], 2), round(inner[1], 2)), (outer[0], outer[1]))
    a_span, b_span = spans[::-1] if swapped else spans
    speed = line.speed if not swapped else 1 / line.speed  # seconds of b in a second of a
    cropped: Literal["a", "b"] | None = None
    if view.cropped:  # "long": the longer one shows less, a crop of the shorter fits it
        cropped = "a" if (view.cropped == "long") == swapped else "b"
    return Match(
        a=names[0],
        b=names[1],
        same_file=a.sha256 == b.sha256,
        distance=round(line.mean, 2),
        share=round(line.share, 3),
        a_span=a_span,
        b_span=b_span,
        speed=None if line.unsure and sound != "same" else round(1 / speed, 3),
        changes=list(_changes(a, b, view, line, 1 / speed, sound, swapped)),
        cropped=cropped,
        crop=CROPS[view.crop] if view.cropped else None,
        sound=sound,
    )


def _changes(
    a: Print, b: Print, view: _View, line: _Line, speed: float, sound: str, swapped: bool
) -> Iterator[Change]:
    if a.sha256 == b.sha256:
        return
    yield "re-encoded"
    short, long = (b, a) if swapped else (a, b)
    if view.cropped:
        yield "cropped"
    elif a.size != b.size:
        yield "resized"
    if view.mirrored:
        yield "mirrored"
    if speed != 1.0:  # an unsure line is that of the unchanged speed
        yield "sped up" if speed > 1 else "slowed down"
    known = not line.unsure or sound == "same"
    if known and abs(short.duration_s * line.speed - long.duration_s) > 2 * STEP_S:
        yield "trimmed"
    aligned = known and line.speed == 1.0
    if aligned and not view.cropped and _overlaid(short, long, line, view.mirrored):
        yield "re-captioned"
    if sound == "different":
        yield "sound changed"


def _pairs(line: _Line, long: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pictures of the shorter, and those of the longer (of so many) that they lie at."""
    i = np.arange(line.first, line.last + 1)
    j = np.round(i * line.speed).astype(int) + line.offset
    kept = (j >= 0) & (j < long)
    return i[kept], j[kept]


def _overlaid(short: Print, long: Print, line: _Line, mirrored: bool) -> bool:
    """Whether a small part of the picture differs much throughout, while the rest agrees."""
    i, j = _pairs(line, len(long.small))
    one, other = short.small[i].astype(float), long.small[j].astype(float)
    if mirrored:
        one = one[:, :, ::-1]
    apart = np.median(np.abs(one - other), axis=0) / 219 > DIFFERS
    return bool(LITTLE <= apart.mean() <= MUCH)


# Many videos


class Compared(BaseModel):
    """Pairs that show the same, the nearest first, and videos that could not be compared, with why."""

    model_config = ConfigDict(frozen=True)

    matches: list[Match]
    compared: int = Field(description="Videos that were compared")
    not_compared: dict[str, str]


class Video(NamedTuple):
    """A video to compare: its name, its file if that is there, and where its print is kept, if so."""

    name: str
    path: Path | None
    kept: Path | None = None


def of_files(paths: Iterable[Path]) -> Iterator[Video]:
    """Files, and those directly in folders. Their prints are not kept."""
    for path in paths:
        inside = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        yield from (Video(str(one), one) for one in inside)


def of_dataset(folder: Path) -> Iterator[Video]:
    """The videos of a dataset, as far as their files are there; prints are kept in ``prints/``."""
    for report in sorted((folder / "reports").glob("*.json")):
        video = json.loads(report.read_bytes())["video"]
        path = Path(video["source"])
        there = path.is_file() and sha256_of(path) == video["sha256"]
        kept = folder / "prints" / f"{video['sha256']}.npz"
        yield Video(video["id"], path if there else None, kept)


def of_results(folder: Path) -> Iterator[Video]:
    """The results of a service; the print of one lies beside its video and goes with it."""
    for id, report in sorted(reports(folder).items()):
        path = report.parent / VIDEO
        yield Video(id, path if path.is_file() else None, report.parent / PRINT)


def among(videos: Iterable[Video], settings: Settings, only: str | None = None) -> Compared:
    """Compare all videos with each other, or one of them with the others. Blocks.

    Each file is read in a process of its own, unless its print is kept.
    """
    prints: dict[str, Print] = {}
    lacking: dict[str, str] = {}
    for video in videos:
        if video.path is None:
            lacking[video.name] = "its file is missing or has changed"
            continue
        try:
            prints[video.name] = _print(video.path, video.kept, settings)
        except (InputError, OSError) as error:
            lacking[video.name] = said(error)
    found = [
        match
        for one, two in itertools.combinations(prints, 2)
        if only in (None, one, two) and (match := compare(prints[one], prints[two], (one, two)))
    ]
    found.sort(key=lambda m: (m.distance, m.a, m.b))
    return Compared(matches=found, compared=len(prints), not_compared=lacking)


def _print(path: Path, kept: Path | None, settings: Settings) -> Print:
    if kept is not None and (known := read_print(kept)) is not None:
        return known
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / PRINT
        read_apart("tiktok_ray.serve.duplicates", path, (path, place, settings), settings)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with replacing(kept) as part:
                shutil.copyfile(place, part)
        made = read_print(place)
        assert made is not None
        return made


def write_print(path: Path, place: Path, settings: Settings) -> dict[str, Any]:
    """Put the print of a video file there. Raises ``InputError``."""
    np.savez_compressed(place, version=VERSION, **print_of(path, settings).__dict__)
    return {}


def read_print(place: Path) -> Print | None:
    """A print that is kept; None where none of this version is, or it cannot be read."""
    try:
        with np.load(place, allow_pickle=False) as kept:
            values: dict[str, Any] = {name: kept[name] for name in kept.files}
        if int(values.pop("version")) != VERSION:
            return None
        size = tuple(int(side) for side in values["size"])
        plain = {"sha256": str(values["sha256"]), "duration_s": float(values["duration_s"])}
        return Print(**{**values, **plain, "size": size})
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile):
        return None


if __name__ == "__main__":
    answer_with(write_print)
