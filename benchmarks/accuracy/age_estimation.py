"""Faces where they are plain to see, and an age that is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from actors.age_estimation import Faces
from benchmarks.accuracy import Bench, Figure, Row
from benchmarks.accuracy._figures import mean_figure, share_figure
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


#: Which fields the figures are errors of.
FIELDS = {
    ("faces at once, right", "all"): ("most_at_once",),
    ("sex right", "all"): ("faces.sex",),
    ("error of age, years", "all"): ("faces.age",),
    ("frontal face time found", "composite"): ("faces.start", "faces.end"),
}
#: Ages in years, by the dates of photograph and birth.
AGES = {"still/biden_approx69.jpg": 69.0}


def figures(bench: Bench) -> Iterator[Figure]:
    right = [
        ((faces.most_at_once if (faces := found(bench, clip(bench, file))) else 0) == count, 1)
        for file, count in COUNTS
    ]
    yield share_figure(
        "faces at once, right", "faces", "all", right, clips="real", unit="pictures and clips"
    )
    named = []
    for file, sexes in SEXES:
        told = from_the_left(found(bench, clip(bench, file)))
        named.append((sum(a == b for a, b in zip(told, sexes, strict=False)), len(sexes)))
    yield share_figure("sex right", "faces", "all", named, clips="real", unit="pictures")
    off = [
        abs(faces.faces[0].age - age)
        for file, age in AGES.items()
        if (faces := found(bench, clip(bench, file))) and faces.faces[0].age is not None
    ]
    yield mean_figure("error of age, years", "faces", "all", off, clips="real", unit="pictures")
    inside, total, beside = frontal(bench)
    yield share_figure(
        "frontal face time found", "faces", "composite", [(inside, total)], clips="real"
    )
    yield share_figure(
        "face time told beside it", "faces", "composite", [(beside, total)], clips="real"
    )


def from_the_left(faces: Faces | None) -> list[str | None]:
    """Sexes of the faces of a picture, from left to right."""
    return [f.sex for f in sorted(faces.faces, key=lambda f: f.boxes[0][0])] if faces else []


def rows(bench: Bench) -> Iterator[Row]:
    for file, count in COUNTS:
        faces = found(bench, clip(bench, file))
        most = faces.most_at_once if faces else 0
        yield Row(file, f"{count} at once, by eye", f"{most} at once", most == count)
    for file, sexes in SEXES:
        told = from_the_left(found(bench, clip(bench, file)))
        yield Row(file, ", ".join(sexes), ", ".join(map(str, told)), told == sexes)
    yield from composite(bench)
    portrait = found(bench, clip(bench, "still/biden_approx69.jpg"))
    if portrait:
        [face] = portrait.faces
        figure = f"{face.age:.0f} by {portrait.age_model}"
        yield Row("still/biden_approx69.jpg", "about 69 years, by the photograph's date", figure)


def composite(bench: Bench) -> Iterator[Row]:
    """Where large frontal faces are, against the truth file: seconds shared and seconds beside."""
    inside, total, beside = frontal(bench)
    yield Row(
        COMPOSITE,
        "frontal faces " + ", ".join(f"{a:g} to {b:g} s" for a, b in spans.union(wanted(bench))),
        f"{inside:.2f} of {total:.0f} s, {beside:.2f} s beside",
        inside > 0.98 * total and beside < 0.1,
    )


def wanted(bench: Bench) -> list[tuple[float, float]]:
    """When large frontal faces are to be seen, by the truth file."""
    path = bench.file(COMPOSITE).with_suffix(".truth.json")
    known: list[tuple[float, float]] = json.loads(path.read_text(encoding="utf-8"))[
        "frontal_face_s"
    ]
    return known


def frontal(bench: Bench) -> tuple[float, float, float]:
    """Seconds of large frontal faces that are found, that there are, and that are told beside."""
    faces = found(bench, bench.file(COMPOSITE))
    shown = [f.span for f in faces.faces if f.size_px >= FRONTAL_PX] if faces else []
    true = wanted(bench)
    beside = spans.total(spans.subtract(shown, true))
    return spans.overlap(shown, true), spans.total(true), beside


def clip(bench: Bench, file: str) -> Path:
    return bench.still(file) if file.startswith("still/") else bench.file(file)


def found(bench: Bench, path: Path) -> Faces | None:
    """The faces of a clip; None where the analyzer says that there is none."""
    try:
        faces: Faces = bench.output("age_estimation", path)
    except Skip:
        return None
    return faces
