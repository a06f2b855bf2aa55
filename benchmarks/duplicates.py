"""Near-duplicates: how many made variants of real clips are found, and which false pairs.

    TIKTOK_RAY_TEST_MEDIA=… python -m benchmarks.duplicates [CLIP…]

Each clip is changed in each way, and every variant compared with every clip. Clips that show the same
anyhow (``SAME``) count neither way.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.sound_mixing import RATE, sound_of
from tiktok_ray.media.writer import write_clip
from tiktok_ray.serve.duplicates import Match, Print, compare, print_of
from tiktok_ray.settings import Settings

Picture = NDArray[np.uint8]
Sound = NDArray[np.float32] | None
CLIPS = (
    "grid_bbaf2n.mpg", "grid_swwp2s.mpg", "carphone.mp4", "gesture_woman.mp4", "laptop_desk.mp4",
    "bigbuckbunny_51.mp4", "bbb_0_30_vp8.webm", "psd_testvideo.mp4", "short_vertical_composite.mp4",
)  # fmt: skip
#: The composite was cut from these.
SAME = {
    frozenset(("short_vertical_composite.mp4", other))
    for other in ("grid_bbaf2n.mpg", "gesture_woman.mp4")
}
FPS = 25.0


def pictures_of(path: Path) -> list[Picture]:
    """Pictures at 25 per second, long side at most 640, even sides."""
    import av

    found: list[Picture] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            scale = min(1.0, 640 / max(frame.width, frame.height))
            size = [max(2, int(side * scale) // 2 * 2) for side in (frame.width, frame.height)]
            t = float(frame.time or 0.0)
            picture = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
            while len(found) / FPS <= t + 1e-3 and len(found) < 750:
                found.append(np.asarray(picture, np.uint8))
    return found


def even(picture: Picture) -> Picture:
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    return np.ascontiguousarray(picture[:height, :width])


def cropped(picture: Picture, x: float, y: float, w: float, h: float) -> Picture:
    height, width = picture.shape[:2]
    top, left = round(y * height), round(x * width)
    return even(picture[top : top + round(h * height), left : left + round(w * width)])


def captioned(picture: Picture) -> Picture:
    made = picture.copy()
    height, width = made.shape[:2]
    cv2.rectangle(made, (0, int(height * 0.76)), (width, int(height * 0.92)), (250, 230, 40), -1)
    place, size = (width // 20, int(height * 0.88)), height / 400
    cv2.putText(made, "WAIT FOR IT", place, cv2.FONT_HERSHEY_SIMPLEX, size, (10, 10, 10), 2)
    return made


def half(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    size = (max(2, width // 4 * 2), max(2, height // 4 * 2))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def each(change: Callable[[Picture], Picture]) -> Callable[[list[Picture], Sound], tuple]:  # type: ignore[type-arg]
    return lambda pictures, sound: ([change(p) for p in pictures], sound)


def sped(pictures: list[Picture], sound: Sound, by: float) -> tuple[list[Picture], Sound]:
    kept = [pictures[int(k * by)] for k in range(int(len(pictures) / by))]
    if sound is None:
        return kept, None
    at = np.arange(0, len(sound) - 1, by)
    return kept, np.interp(at, np.arange(len(sound)), sound).astype(np.float32)


def trimmed(pictures: list[Picture], sound: Sound) -> tuple[list[Picture], Sound]:
    first, last = int(len(pictures) * 0.2), int(len(pictures) * 0.85)
    cut = None if sound is None else sound[int(first / FPS * RATE) : int(last / FPS * RATE)]
    return pictures[first:last], cut


def other_sound(pictures: list[Picture], _: Sound) -> tuple[list[Picture], Sound]:
    rng = np.random.default_rng(1)
    steps = np.repeat(rng.uniform(200, 1200, 400), RATE // 8)[: int(len(pictures) / FPS * RATE)]
    return pictures, (0.3 * np.sin(2 * np.pi * np.cumsum(steps) / RATE)).astype(np.float32)


#: What is done, and the change that must be named.
WAYS: dict[str, tuple[Callable[[list[Picture], Sound], tuple], str, dict[str, str]]] = {  # type: ignore[type-arg]
    "re-encoded": (lambda p, s: (p, s), "re-encoded", {"crf": "34", "preset": "veryfast"}),
    "half size": (each(half), "resized", {}),
    "cropped to 85 %": (each(lambda p: cropped(p, 0.075, 0.075, 0.85, 0.85)), "cropped", {}),
    "cropped to a corner": (each(lambda p: cropped(p, 0.2, 0.2, 0.8, 0.8)), "cropped", {}),
    "mirrored": (each(lambda p: np.ascontiguousarray(p[:, ::-1])), "mirrored", {}),
    "sped up by 1.25": (lambda p, s: sped(p, s, 1.25), "sped up", {}),
    "slowed to 0.8": (lambda p, s: sped(p, s, 0.8), "slowed down", {}),
    "re-captioned": (each(captioned), "re-captioned", {}),
    "trimmed": (trimmed, "trimmed", {}),
    "other sound": (other_sound, "sound changed", {}),
    "mirrored and trimmed": (
        lambda p, s: trimmed([np.ascontiguousarray(x[:, ::-1]) for x in p], s),
        "mirrored",
        {},
    ),
}


def variants(path: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Each way, and the file made so."""
    pictures = pictures_of(path)
    try:
        sound: Sound = sound_of(path)
    except (IndexError, ValueError):
        sound = None
    for number, (way, (change, _, options)) in enumerate(WAYS.items()):
        made, heard = change(list(pictures), sound)
        name = folder / f"{path.stem}-{number}.mp4"
        coded = options or {"crf": "24", "preset": "veryfast"}
        yield way, write_clip(name, made, fps=FPS, audio=heard, audio_rate=RATE, options=coded)


def main(names: Sequence[str]) -> int:
    root, settings = Path(os.environ["TIKTOK_RAY_TEST_MEDIA"]) / "video", Settings()
    clips = {name: print_of(root / name, settings) for name in names}
    false: list[tuple[str, Match]] = []
    compared = 0
    found: Counter[str] = Counter()
    named: Counter[str] = Counter()

    def strangers(name: str, what: str, made: Print) -> None:
        nonlocal compared
        for other, known in clips.items():
            if other == name or frozenset((name, other)) in SAME:
                continue
            compared += 1
            if match := compare(made, known, (what, other)):
                false.append((what, match))

    for name, known in clips.items():
        strangers(name, name, known)
        with tempfile.TemporaryDirectory() as folder:
            for way, path in variants(root / name, Path(folder)):
                made = print_of(path, settings)
                match = compare(known, made, (name, way))
                found[way] += match is not None
                named[way] += match is not None and WAYS[way][1] in match.changes
                if match is None or WAYS[way][1] not in match.changes:
                    print(f"  {name}, {way}: {match.changes if match else 'not found'}")
                strangers(name, f"{name}, {way}", made)
    for way in WAYS:
        print(f"{way:24} found {found[way]} of {len(clips)}, change named {named[way]}")
    total = len(clips) * len(WAYS)
    print(
        f"found {found.total()} of {total} ({found.total() / total:.1%}), change named {named.total()}"
    )
    print(f"false pairs: {len(false)} of {compared}")
    for what, match in false:
        print(f"  {what} with {match.b}: {match.distance} bits, {match.changes}")
    return 0 if found.total() >= 0.95 * total and not false else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or CLIPS))
