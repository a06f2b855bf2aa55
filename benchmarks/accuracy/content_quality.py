"""Blur, noise, clipping, bars, blocking and true size of pictures made from photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from actors.content_quality import Quality, Technical, measure
from benchmarks.accuracy import Absent, Bench, Row
from tiktok_ray.media import Frames

PHOTOGRAPHS = ("still/astronaut.png", "still/bus.jpg", "still/two_people.jpg", "still/rf_crowd.jpg")


def rows(bench: Bench) -> Iterator[Row]:
    for file in PHOTOGRAPHS:
        yield from treated(file, photograph(bench, file))
    file = "video/short_vertical_composite.mp4"
    found: Quality = bench.output("content_quality", bench.file(file))
    size = found.technical.effective_resolution or [0, 0]
    yield Row(
        file,
        "540x960, half of it enlarged from 360x288",
        "detail of {}x{}".format(*size),
        size[0] < 400,
    )
    yield Row(file, "no bars", found.technical.bars.kind, found.technical.bars.kind == "none")
    if found.embeddings is None:
        raise Absent("no weights: openai/clip-vit-base-patch32, so no aesthetic scores")


def photograph(bench: Bench, file: str) -> Any:
    """A photograph, RGB, short side 360 pixels: at that size it is full of detail."""
    import cv2

    picture: Any = cv2.imread(str(bench.file(file)))
    scale = 360 / min(picture.shape[:2])
    size = [round(n * scale / 2) * 2 for n in picture.shape[1::-1]]
    small: Any = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2RGB)


def treated(file: str, picture: Any) -> Iterator[Row]:
    """The photograph after one known treatment at a time."""
    import cv2

    def seen(*pictures: Any) -> Technical:
        frames = Frames.of(range(len(pictures)), pictures, len(pictures))
        return measure(frames, frames, None)

    plain = seen(picture)
    for sigma in (1.5, 3.0):
        blur = seen(cv2.GaussianBlur(picture, (0, 0), sigma)).edge_blur
        # The photograph's own blur adds to what was put on it.
        truth = float(np.hypot(sigma, plain.edge_blur or 0.0))
        yield close(file, f"edges blurred by {truth:.1f} px", [blur], [truth], 0.25)
    rng = np.random.default_rng(0)
    for sigma in (3.0, 8.0):
        grain = rng.normal(0, sigma, picture.shape[:2])[..., None]
        noise = seen((picture + grain).clip(0, 255).round().astype(np.uint8)).noise
        truth = float(np.hypot(sigma, plain.noise or 0.0))
        yield close(file, f"noise of {truth:.1f} levels", [noise], [truth], 0.2)
    for factor in (2, 3):
        large = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        truth_size = [float(n) for n in picture.shape[1::-1]]
        found = seen(large).effective_resolution or []
        yield close(file, f"enlarged {factor} times", found, truth_size, 0.3)
    boxed = picture.copy()
    boxed[:60] = boxed[-60:] = 0
    bars = seen(boxed).bars
    height = picture.shape[0]
    wanted = [0, 60 / height, 1, 1 - 60 / height]
    off = float(np.abs(np.array(bars.box) - wanted).max() * height)
    yield Row(file, "bars of 60 px above and below", f"{bars.kind}, {off:.1f} px off", off <= 2)
    _, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 15])
    blocks = seen(cv2.imdecode(coded, cv2.IMREAD_COLOR)).blocking
    yield Row(
        file,
        "a block grid after JPEG at quality 15",
        f"{plain.blocking or 0:.2f} before, {blocks or 0:.2f} after",
        (blocks or 0) > (plain.blocking or 0) + 0.1,
    )


def close(
    file: str, truth: str, found: Sequence[float | None], wanted: Sequence[float], within: float
) -> Row:
    """Whether figures lie within a share of the truth."""
    known = [f for f in found if f is not None]
    figure = " x ".join(f"{f:.1f}" if f < 100 else f"{f:.0f}" for f in known) or "none"
    right = len(known) == len(wanted) and all(
        abs(f - w) <= within * w for f, w in zip(known, wanted, strict=True)
    )
    return Row(file, f"{truth}, within {within:.0%}", figure, right)
