"""Near-duplicates: how many made variants of real clips are found, and which false pairs.

    TIKTOK_RAY_TEST_MEDIA=… python -m benchmarks.duplicates [chosen|other|photographs|CLIP…]

Each clip is changed in each way, and every variant compared with every clip. Clips that show the same
anyhow (``SAME``) count neither way. ``chosen`` are those on which limits were once chosen, ``other``
and ``photographs`` (takes of one photograph each, made here) those on which they were not. A clip is
a file in the folder of media or elsewhere; ``FILE@3-6`` is what lies between those seconds of it.
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

from benchmarks.factory._pictures import SCENES
from benchmarks.factory._scenes import shot
from benchmarks.sound_mixing import RATE, sound_of
from tiktok_ray.media.writer import write_clip
from tiktok_ray.serve.duplicates import Match, Print, compare, print_of
from tiktok_ray.settings import Settings

Picture = NDArray[np.uint8]
Sound = NDArray[np.float32] | None
COMPOSITE = "video/short_vertical_composite.mp4"
SETS = {
    "chosen": (
        "video/grid_bbaf2n.mpg", "video/grid_swwp2s.mpg", "video/carphone.mp4",
        "video/gesture_woman.mp4", "video/laptop_desk.mp4", "video/bigbuckbunny_51.mp4",
        "video/bbb_0_30_vp8.webm", "video/psd_testvideo.mp4", COMPOSITE,
    ),
    "other": (
        f"{COMPOSITE}@3-6", f"{COMPOSITE}@14-17", f"{COMPOSITE}@9-14", "video/exo_face_1s.mp4",
        "odd/rotated180_dog.mp4", "odd/hevc_hdr_nasa.mp4", "odd/pigs.gif",
        "odd/av1_noaudio.mkv",
    ),
    "photographs": tuple(f"photograph:{name}" for name in SCENES),
}  # fmt: skip
#: Shots of the composite were cut from these, and two clips are of one film.
SAME = {
    frozenset(pair)
    for pair in (
        (COMPOSITE, "video/grid_bbaf2n.mpg"),
        (COMPOSITE, "video/gesture_woman.mp4"),
        (COMPOSITE, f"{COMPOSITE}@3-6"),
        (COMPOSITE, f"{COMPOSITE}@14-17"),
        (COMPOSITE, f"{COMPOSITE}@9-14"),
        (f"{COMPOSITE}@9-14", "video/gesture_woman.mp4"),
        (COMPOSITE, "photograph:bus"),
    )
}
FPS = 25.0
#: Seconds of a clip that are used, and those of a take of a photograph.
MOST_S, TAKE_S = 15.0, 4.0


def source(name: str, folder: Path) -> Path:
    """The clip of that name as a file; a part of another, or a take, is made in ``folder``."""
    if name.startswith("photograph:"):
        one = shot(np.random.default_rng(SCENES.index(name[11:])), name[11:])
        take = [one.at(k / FPS, (480, 640)) for k in range(int(TAKE_S * FPS))]
        return write_clip(folder / f"{name[11:]}.mp4", take, fps=FPS)
    file, _, span = name.partition("@")
    path = Path(os.environ["TIKTOK_RAY_TEST_MEDIA"]) / file
    if not span:
        return path
    first, last = (float(t) for t in span.split("-"))
    sound = sound_of(path)[int(first * RATE) : int(last * RATE)]
    part = pictures_of(path, last)[round(first * FPS) :]
    made = folder / f"{path.stem}-{span}.mp4"
    return write_clip(made, part, fps=FPS, audio=sound, audio_rate=RATE, options={"crf": "12"})


def pictures_of(path: Path, most_s: float = MOST_S) -> list[Picture]:
    """Pictures at 25 per second, long side at most 640, even sides."""
    import av

    found: list[Picture] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            t = float(frame.time or 0.0)
            if len(found) >= most_s * FPS:
                break
            scale = min(1.0, 640 / max(frame.width, frame.height))
            size = [max(2, int(side * scale) // 2 * 2) for side in (frame.width, frame.height)]
            picture = frame.to_ndarray(format="rgba", width=size[0], height=size[1])
            onto_black = (picture[..., :3] * (picture[..., 3:] / 255)).astype(np.uint8)
            turned = np.rot90(onto_black, round(frame.rotation / 90))
            while len(found) / FPS <= t + 1e-3 and len(found) < most_s * FPS:
                found.append(np.ascontiguousarray(turned))
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
        sound: Sound = sound_of(path)[: int(len(pictures) / FPS * RATE)]
    except (IndexError, ValueError):
        sound = None
    for number, (way, (change, _, options)) in enumerate(WAYS.items()):
        made, heard = change(list(pictures), sound)
        name = folder / f"{path.stem}-{number}.mp4"
        coded = options or {"crf": "24", "preset": "veryfast"}
        yield way, write_clip(name, made, fps=FPS, audio=heard, audio_rate=RATE, options=coded)


def printed(name: str, settings: Settings) -> dict[str, Print]:
    """The prints of a clip, under no name, and of its variants."""
    with tempfile.TemporaryDirectory() as made:
        path = source(name, Path(made))
        return {
            "": print_of(path, settings),
            **{way: print_of(one, settings) for way, one in variants(path, Path(made))},
        }


def untrue(way: str, known: Print, made: Print, match: Match) -> set[str]:
    """Named changes that were not made."""
    true = {"re-encoded", WAYS[way][1]}
    if "trimmed" in way or known.duration_s > MOST_S + 1:
        true.add("trimmed")
    if known.size != made.size:
        true.add("resized")
    return {change for change in match.changes if change not in true}


def main(arguments: Sequence[str]) -> int:
    settings = Settings()
    names = [name for one in arguments for name in SETS.get(one, (one,))]
    return told({name: printed(name, settings) for name in names})


def told(clips: dict[str, dict[str, Print]]) -> int:
    """Compare every clip with its variants, and each of those with every other clip."""
    false: list[tuple[str, Match]] = []
    compared = 0
    found: Counter[str] = Counter()
    named: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for name, prints in clips.items():
        known = prints[""]
        for way, made in prints.items():
            for other, theirs in clips.items():
                if other == name or frozenset((name, other)) in SAME:
                    continue
                compared += 1
                if match := compare(made, theirs[""], (f"{name}, {way or 'as it is'}", other)):
                    false.append((match.a, match))
            if not way:
                continue
            mine = compare(known, made, (name, way))
            right = mine is not None and WAYS[way][1] in mine.changes
            lies = untrue(way, known, made, mine) if mine else set()
            found[way] += mine is not None
            named[way] += right
            wrong[way] += len(lies)
            if not right or lies:
                print(f"  {name}, {way}: {mine.changes if mine else 'not found'}")
    for way in WAYS:
        print(
            f"{way:24} found {found[way]} of {len(clips)}, change named {named[way]},"
            f" other changes named that were not made {wrong[way]}"
        )
    total = len(clips) * len(WAYS)
    print(
        f"found {found.total()} of {total} ({found.total() / total:.1%}),"
        f" change named {named.total()}, untrue ones {wrong.total()}"
    )
    print(f"false pairs: {len(false)} of {compared}")
    for what, match in false:
        print(f"  {what} with {match.b}: {match.distance} bits, {match.changes}")
    return 0 if found.total() >= 0.95 * total and not false else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(SETS)))
