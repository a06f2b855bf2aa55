"""Colours: palette, brightness, contrast, temperature, filters, and how they change."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.analyzer import Analyzer, Needs
from tiktok_ray.media import Frames
from tiktok_ray.report import Event, Model, Output, derived, measured

Array = NDArray[np.float64]

LAB = "CIE 1976 L*a*b* from sRGB, D65"
GRID = 32
#: Colours nearer than this look like one (CIEDE2000); a share below the second is no main colour.
MERGE_DELTA, LEAST_SHARE = 10.0, 0.01
CHANGE_DELTA, LASTING_S = 20.0, 1.0
LOCUS_REACH = 0.05
#: Linear sRGB to CIE XYZ, D65 (IEC 61966-2-1).
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


class Swatch(Model):
    """One colour of the palette."""

    name: str = derived(
        "Nearest CSS colour name", method="least CIEDE2000 difference to the CSS named colours"
    )
    hex: str = measured("The colour as sRGB, #rrggbb")
    lab: tuple[float, float, float] = measured(
        "The colour as L*, a*, b*", range="L* 0..100, a* and b* about -128..127", method=LAB
    )
    share: float = measured("Share of the picture over the whole video", range="0..1")


class Filter(Model):
    """A look that a stated test found."""

    kind: Literal["monochrome", "sepia", "strong_grade"] = measured("Which look")
    share: float = measured("Share of the sampled frames that pass the test", range="0..1")
    value: float = measured("What the test measured, median over those frames")
    test: str = measured("The test that those frames pass")


class ColorChange(Model):
    """A lasting change of the dominant colour."""

    time: float = measured("First sample of the new colour", unit="s", range="0..duration")
    before: str = derived("CSS name of the dominant colour until then")
    after: str = derived("CSS name of the dominant colour from then on")
    difference: float = measured(
        "Difference between the two", unit="ΔE00", range="0..", method="CIEDE2000"
    )


class ColorStrip(Model):
    """Colour over time; the lists are parallel."""

    times: list[float] = measured("Times of the samples", unit="s", range="0..duration")
    dominant: list[str] = measured("Colour with the largest share of each sample, as #rrggbb")
    brightness: list[float] = measured("Mean L* of each sample", range="0..100", method=LAB)
    saturation: list[float] = measured("Mean chroma C*ab of each sample", range="0..", method=LAB)


class Colors(Output):
    """The colours of the video."""

    palette: list[Swatch] = measured(
        "Main colours, largest share first", method="k-means in L*a*b*, seeded by median cut"
    )
    brightness: float = measured("Mean L* of all pixels", range="0..100", method=LAB)
    contrast: float = measured(
        "Standard deviation of L* within the picture, mean over frames", range="0..50", method=LAB
    )
    saturation: float = measured("Mean chroma C*ab of all pixels", range="0..", method=LAB)
    temperature_k: float | None = measured(
        "Correlated colour temperature of the mean colour, median over frames; null where it is "
        "undefined: further than 0.05 from the Planckian locus, or outside 1000..15000 K",
        unit="K",
        range="1000..15000",
        method="nearest point of the Planckian locus (Krystek 1985) in CIE 1960 uv",
    )
    filters: list[Filter] = measured("Looks found on at least half of the sampled frames")
    consistency: float = measured(
        "How alike the frames are in colour: 1 when all have the palette's colours in equal shares",
        range="0..1",
        method="mean over frames of the intersection of its palette shares with the video's",
    )
    changes: list[ColorChange] = measured("Lasting changes of the dominant colour")
    strip: ColorStrip = measured("Colour over time")

    def headline(self) -> str:
        return ", ".join(dict.fromkeys(swatch.name for swatch in self.palette[:3]))

    def events(self) -> Iterator[Event]:
        for change in self.changes:
            yield Event(
                start=change.time,
                end=change.time,
                kind="color",
                label=f"{change.before} to {change.after}",
                analyzer=ColorAnalysis.name,
            )


class ColorAnalysis(Analyzer):
    """Palette, brightness, contrast, colour temperature, filters, and colour over time."""

    name = "color_analysis"
    needs = Needs(threads=1, timeout_s=60, cost=0.5)

    def analyze(self, frames: Frames) -> Colors:
        labs, linear = samples(frames)
        centres, labels = palette(labs)
        shares = frame_shares(labels, len(centres))
        total = shares.mean(0)
        order = [
            k for k in np.argsort(-total) if total[k] >= LEAST_SHARE or total[k] == total.max()
        ]
        dominant = dominant_colors(labs, labels, shares)
        chroma = np.hypot(labs[..., 1], labs[..., 2])
        return Colors(
            palette=[
                Swatch(
                    name=css_names(centres[k : k + 1])[0],
                    hex=hexes(centres[k : k + 1])[0],
                    lab=tuple(round(float(v), 2) for v in centres[k]),
                    share=float(total[k]),
                )
                for k in order
            ],
            brightness=float(labs[..., 0].mean()),
            contrast=float(labs[..., 0].std(1).mean()),
            saturation=float(chroma.mean()),
            temperature_k=temperature(linear.mean(1)),
            filters=looks(labs),
            consistency=float(np.minimum(shares, total).sum(1).mean()),
            changes=changes(frames.times, frames.end, dominant),
            strip=ColorStrip(
                times=[float(t) for t in frames.times],
                dominant=hexes(dominant),
                brightness=labs[..., 0].mean(1).tolist(),
                saturation=chroma.mean(1).tolist(),
            ),
        )


def samples(frames: Frames) -> tuple[Array, Array]:
    """Pixels of every picture on a grid of at most 32 x 32: L*a*b* and linear RGB, [n, pixels, 3]."""
    import cv2

    size = (min(GRID, frames.width), min(GRID, frames.height))
    small = np.stack(
        [cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) for _, rgb in frames.rgbs()]
    )
    pixels = small.reshape(len(small), -1, 3).astype(np.float32) / 255
    labs = cv2.cvtColor(pixels, cv2.COLOR_RGB2Lab)
    linear = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    return np.asarray(labs, np.float64), linear.astype(np.float64)


def palette(labs: Array, most: int = 8) -> tuple[Array, NDArray[np.int64]]:
    """Centres [k, 3] of the colours of all pixels, and each pixel's label, [n, pixels].

    k-means from a median cut; centres nearer than ``MERGE_DELTA`` (CIEDE2000) become one.
    """
    import cv2

    flat = labs.reshape(-1, 3).astype(np.float32)
    seeds = median_cut(flat, most)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    count = int(seeds.max()) + 1
    _, labels, centres = cv2.kmeans(
        flat, count, seeds[:, None], criteria, 1, cv2.KMEANS_USE_INITIAL_LABELS
    )
    merged, joined = merge(
        np.asarray(centres, np.float64), np.bincount(labels.ravel(), minlength=count)
    )
    return merged, joined[labels.ravel()].reshape(labs.shape[:2])


def median_cut(flat: NDArray[np.float32], most: int) -> NDArray[np.int32]:
    """Labels of at most ``most`` boxes, each split at the median of its widest axis."""
    boxes = [np.arange(len(flat))]
    while len(boxes) < most:
        spreads = [float(np.ptp(flat[box], axis=0).max()) for box in boxes]
        widest = int(np.argmax(spreads))
        if spreads[widest] < 1.0:
            break
        box = boxes.pop(widest)
        axis = int(np.ptp(flat[box], axis=0).argmax())
        values = flat[box, axis]
        low = values <= np.median(values)
        if low.all():
            low = values < values.max()
        boxes += [box[low], box[~low]]
    labels = np.zeros(len(flat), np.int32)
    for k, box in enumerate(boxes):
        labels[box] = k
    return labels


def merge(centres: Array, counts: NDArray[np.int64]) -> tuple[Array, NDArray[np.int64]]:
    """Join centres that look alike; returns the centres left and where each old one went."""
    groups = [[k] for k in range(len(centres)) if counts[k]]
    while len(groups) > 1:
        means = np.array([np.average(centres[g], axis=0, weights=counts[g]) for g in groups])
        apart = delta_e(means[:, None], means[None]) + 1e6 * np.eye(len(groups))
        i, j = np.unravel_index(int(apart.argmin()), apart.shape)
        if apart[i, j] >= MERGE_DELTA:
            break
        groups[min(i, j)] += groups.pop(max(i, j))
    moved = np.zeros(len(centres), np.int64)
    for k, group in enumerate(groups):
        moved[group] = k
    means = np.array([np.average(centres[g], axis=0, weights=counts[g]) for g in groups])
    return means, moved


def delta_e(a: Array, b: Array) -> Array:
    """CIEDE2000 difference of colours in L*a*b*, broadcast over all but the last axis."""
    from skimage.color import deltaE_ciede2000

    return np.asarray(deltaE_ciede2000(a, b), np.float64)  # type: ignore[no-untyped-call]


def frame_shares(labels: NDArray[np.int64], count: int) -> Array:
    """Share of each label in each picture, [n, count]."""
    return np.stack([np.bincount(row, minlength=count) / labels.shape[1] for row in labels])


def dominant_colors(labs: Array, labels: NDArray[np.int64], shares: Array) -> Array:
    """Mean colour of each picture's largest part, L*a*b*, [n, 3]."""
    largest = shares.argmax(1)
    return np.stack(
        [lab[row == k].mean(0) for lab, row, k in zip(labs, labels, largest, strict=True)]
    )


@lru_cache(maxsize=1)
def _css() -> tuple[tuple[str, ...], Array]:
    from PIL import ImageColor

    names = tuple(name for name in ImageColor.colormap if "grey" not in name)
    rgb = np.array([ImageColor.getrgb(name)[:3] for name in names])
    return names, _lab(rgb / 255)


def _lab(rgb: Array) -> Array:
    from skimage.color import rgb2lab

    return np.asarray(rgb2lab(rgb), np.float64)


def css_names(labs: Array) -> list[str]:
    """Nearest CSS colour name of each colour [n, 3]."""
    names, known = _css()
    return [names[int(delta_e(lab[None], known).argmin())] for lab in labs]


def hexes(labs: Array) -> list[str]:
    """sRGB of each colour [n, 3], ``#rrggbb``; what lies outside sRGB is clipped."""
    import cv2

    rgb = cv2.cvtColor(labs[None].astype(np.float32), cv2.COLOR_Lab2RGB)[0]
    rows = (rgb.clip(0, 1) * 255).round().astype(int).tolist()
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in rows]


def temperature(linear: Array) -> float | None:
    """Median correlated colour temperature in kelvin of mean linear RGB colours [n, 3]."""
    xyz = linear @ TO_XYZ.T
    weight = xyz @ (1.0, 15.0, 3.0)
    lit = weight > 1e-3
    if not lit.any():
        return None
    uv = np.stack([4 * xyz[lit, 0], 6 * xyz[lit, 1]], 1) / weight[lit, None]
    kelvin = np.geomspace(1000, 15_000, 400)
    apart = np.linalg.norm(uv[:, None] - planck(kelvin)[None], axis=2)
    near = apart.argmin(1)
    inside = (apart.min(1) <= LOCUS_REACH) & (near > 0) & (near < len(kelvin) - 1)
    if 2 * inside.sum() < len(linear):
        return None
    return float(np.median(kelvin[near[inside]]))


def planck(kelvin: Array) -> Array:
    """The Planckian locus in CIE 1960 uv, [n, 2] (Krystek 1985)."""
    t = kelvin
    u = (0.860117757 + 1.54118254e-4 * t + 1.28641212e-7 * t**2) / (
        1 + 8.42420235e-4 * t + 7.08145163e-7 * t**2
    )
    v = (0.317398726 + 4.22806245e-5 * t + 4.20481691e-8 * t**2) / (
        1 - 2.89741816e-5 * t + 1.61456053e-7 * t**2
    )
    return np.stack([u, v], 1)


def looks(labs: Array) -> list[Filter]:
    """Filters whose test at least half of the pictures pass."""
    chroma = np.hypot(labs[..., 1], labs[..., 2])
    high = np.percentile(chroma, 95, axis=1)
    mean_a, mean_b = labs[..., 1].mean(1), labs[..., 2].mean(1)
    cast, hue = np.hypot(mean_a, mean_b), np.degrees(np.arctan2(mean_b, mean_a)) % 360
    along = (labs[..., 1] * mean_a[:, None] + labs[..., 2] * mean_b[:, None]) / np.maximum(
        cast, 1e-6
    )[:, None]
    spread = np.sqrt(np.maximum(chroma**2 - along**2, 0)).mean(1)
    one_hue = (high >= 6) & (spread <= 2.5)
    tests: list[tuple[Any, NDArray[np.bool_], Array, str]] = [
        (
            "monochrome",
            high < 6,
            high,
            "95th percentile of chroma C*ab below 6",
        ),
        (
            "sepia",
            one_hue & (hue >= 45) & (hue <= 100),
            spread,
            "one hue, 45 to 100 degrees: mean chroma off the line of that hue at most 2.5",
        ),
        (
            "strong_grade",
            ~one_hue
            & (cast >= 15)
            & (_quarter_cast(labs, 0) >= 10)
            & (_quarter_cast(labs, 1) >= 10),
            cast,
            "mean a*, b* at least 15 from neutral, in the darkest and brightest quarter at least 10",
        ),
    ]
    return [
        Filter(
            kind=kind, share=float(passed.mean()), value=float(np.median(value[passed])), test=test
        )
        for kind, passed, value, test in tests
        if 2 * passed.sum() >= len(labs)
    ]


def _quarter_cast(labs: Array, bright: int) -> Array:
    """Distance from neutral of the mean colour of each picture's darkest or brightest quarter."""
    order = np.argsort(labs[..., 0], axis=1, kind="stable")
    count = max(1, labs.shape[1] // 4)
    part = order[:, -count:] if bright else order[:, :count]
    mean = np.take_along_axis(labs[..., 1:], part[..., None], axis=1).mean(1)
    cast: Array = np.hypot(mean[:, 0], mean[:, 1])
    return cast


def changes(times: Array, end: float, dominant: Array) -> list[ColorChange]:
    """Changes of the dominant colour by at least ``CHANGE_DELTA`` that last ``LASTING_S``."""
    edges = np.append(times, end)
    found: list[ColorChange] = []
    held = 0
    for k in range(1, len(times)):
        if delta_e(dominant[held], dominant[k]) < CHANGE_DELTA:
            continue
        last = k
        while last + 1 < len(times) and delta_e(dominant[k], dominant[last + 1]) < CHANGE_DELTA:
            last += 1
        if edges[last + 1] - edges[k] < LASTING_S:
            continue
        before, after = css_names(dominant[[held, k]])
        difference = float(delta_e(dominant[held], dominant[k]))
        found.append(
            ColorChange(time=float(times[k]), before=before, after=after, difference=difference)
        )
        held = k
    return found
