"""Faces where they are plain to see, and an age that is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from actors.age_estimation import Faces
from benchmarks.accuracy import Bench, Row
from tiktok_ray.analyzer import Skip
from tiktok_ray.media import spans

COMPOSITE = "video/short_vertical_composite.mp4"
#: Most faces at once, by eye.
COUNTS = (
    ("still/two_people.jpg", 2),
    ("still/astronaut.png", 1),
    ("odd/one_frame_zidane.mp4", 2),
    ("video/carphone.mp4", 1),
    ("video/gesture_woman.mp4", 1),
    ("video/grid_bbaf2n.mpg", 1),
    ("video/grid_swwp2s.mpg", 1),
    ("video/exo_face_1s.mp4", 1),
    ("still/bus.jpg", 2),
    ("video/laptop_desk.mp4", 0),
    ("video/bigbuckbunny_51.mp4", 0),
    ("video/psd_testvideo.mp4", 0),
)
#: Female or male, from left to right.
SEXES = (
    ("still/two_people.jpg", ["male", "male"]),
    ("still/astronaut.png", ["female"]),
    ("still/biden_approx69.jpg", ["male"]),
)
FRONTAL_PX = 100


def rows(bench: Bench) -> Iterator[Row]:
    for file, count in COUNTS:
        faces = found(bench, clip(bench, file))
        most = faces.most_at_once if faces else 0
        yield Row(file, f"{count} at once, by eye", f"{most} at once", most == count)
    for file, sexes in SEXES:
        faces = found(bench, clip(bench, file))
        seen = sorted(faces.faces, key=lambda f: f.boxes[0][0]) if faces else []
        yield Row(file, ", ".join(sexes), ", ".join(str(f.sex) for f in seen), [f.sex for f in seen] == sexes)  # fmt: skip
    yield from composite(bench)
    portrait = found(bench, clip(bench, "still/biden_approx69.jpg"))
    if portrait:
        [face] = portrait.faces
        figure = f"{face.age:.0f} by {portrait.age_model}"
        yield Row("still/biden_approx69.jpg", "about 69 years, by the photograph's date", figure)


def composite(bench: Bench) -> Iterator[Row]:
    """Where large frontal faces are, against the truth file: seconds shared and seconds beside."""
    path = bench.file(COMPOSITE)
    truth = json.loads(path.with_suffix(".truth.json").read_text(encoding="utf-8"))
    faces = found(bench, path)
    shown = [f.span for f in faces.faces if f.size_px >= FRONTAL_PX] if faces else []
    wanted = truth["frontal_face_s"]
    inside, beside = spans.overlap(shown, wanted), spans.total(spans.subtract(shown, wanted))
    total = spans.total(wanted)
    yield Row(
        COMPOSITE,
        "frontal faces " + ", ".join(f"{a:g} to {b:g} s" for a, b in spans.union(wanted)),
        f"{inside:.2f} of {total:.0f} s, {beside:.2f} s beside",
        inside > 0.98 * total and beside < 0.1,
    )


def clip(bench: Bench, file: str) -> Path:
    return bench.still(file) if file.startswith("still/") else bench.file(file)


def found(bench: Bench, path: Path) -> Faces | None:
    """The faces of a clip; None where the analyzer says that there is none."""
    try:
        faces: Faces = bench.output("age_estimation", path)
    except Skip:
        return None
    return faces
