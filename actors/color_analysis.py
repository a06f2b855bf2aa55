"""Colours: palette, brightness, contrast, temperature, filters, and how they change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.analyzer import Analyzer, Needs, Skip
from tiktok_ray.media import Frames, Video
from tiktok_ray.report import Event, Model, Output, derived, measured

Array = NDArray[np.float64]

LAB = "CIE 1976 L*a*b* from sRGB, D65"
GRID = 32
#: Colours nearer than this look like one (CIEDE2000); a share below the second is no main colour.
MERGE_DELTA, LEAST_SHARE = 10.0, 0.01
#: Least share of the picture that a change recolours, for how long, and into what else.
CHANGE_SHARE, LASTING_S, CHANGE_DELTA = 0.25, 1.0, 10.0
LOCUS_REACH, LEAST_LIGHT = 0.05, 0.003
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
    share: float = measured("Share of the frame area over the whole video", range="0..1")


Kind = Literal["monochrome", "sepia", "strong_grade"]


class Filter(Model):
    """A look that a stated test found."""

    kind: Kind = measured("Kind of look")
    share: float = measured("Share of the sampled frames that pass the test", range="0..1")
    value: float = measured("The value measured by the test, median over those frames")
    test: str = measured("The test that those frames pass")

    @property
    def words(self) -> str:
        """What it is in words. Whether a cast comes from grading or is the scene's, no pixel tells."""
        return "strong colour cast" if self.kind == "strong_grade" else self.kind


class ColorChange(Model):
    """A lasting change of the colours."""

    time: float = measured(
        "First frame of the new colours",
        unit="s",
        range="0..duration",
        method="of all frames since the previous sample, the one that differs most from its predecessor in the colours of the palette",
    )
    before: str = derived("CSS name of the colour that loses the largest share")
    after: str = derived("CSS name of the colour that gains the largest share")
    share: float = measured(
        "Share of the frame area that changes to other colours of the palette",
        range="0.25..1",
        method="total variation distance of the palette shares a second after to the median before",
    )
    difference: float = measured(
        "Colour difference between the two", unit="ΔE00", range="10..", method="CIEDE2000"
    )


class ColorStrip(Model):
    """Colour over time; the lists are parallel."""

    times: list[float] = measured("Times of the sampled frames", unit="s", range="0..duration")
    dominant: list[str] = measured(
        "Colour with the largest share of each sampled frame, as #rrggbb"
    )
    brightness: list[float] = measured("Mean L* of each sampled frame", range="0..100", method=LAB)
    saturation: list[float] = measured(
        "Mean chroma C*ab of each sampled frame", range="0..", method=LAB
    )


class Colors(Output):
    """The colours of the video."""

    palette: list[Swatch] = measured(
        "Main colours, largest share first; colours of the same name are merged",
        method="k-means in L*a*b*, seeded by median cut",
    )
    brightness: float = measured("Mean L* of all pixels", range="0..100", method=LAB)
    contrast: float = measured(
        "Standard deviation of L* within a frame, mean over frames", range="0..50", method=LAB
    )
    saturation: float = measured("Mean chroma C*ab of all pixels", range="0..", method=LAB)
    temperature_k: float | None = measured(
        "Correlated colour temperature of the mean colour, median over frames; null where it is "
        "undefined: further than 0.05 from the Planckian locus, outside 1000..15000 K, or black",
        unit="K",
        range="1000..15000",
        method="nearest point of the Planckian locus (Krystek 1985) in CIE 1960 uv",
    )
    filters: list[Filter] = measured("Looks found on at least half of the sampled frames")
    consistency: float = measured(
        "Colour consistency of the frames: 1 when all have the palette's colours in equal shares",
        range="0..1",
        method="mean over frames of the intersection of their palette shares with the video's",
    )
    changes: list[ColorChange] = measured(
        "Colour changes, at the time from which the colours are steady for a second"
    )
    strip: ColorStrip = measured("Colour over time")

    def headline(self) -> str:
        looks = [look.words for look in self.filters]
        return "; ".join([", ".join(swatch.name for swatch in self.palette[:3]), *looks])

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
    needs = Needs(threads=1, timeout_s=60, cost=1.2)
    imports = ("cv2", "PIL.ImageColor", "skimage.color.colorconv", "skimage.color.delta_e")

    def analyze(
        self, frames: Frames, thumbs: Frames | None = None, video: Video | None = None
    ) -> Colors:
        if video and video.color and video.color.unreadable:
            raise Skip(f"the colours cannot be decoded: {video.color.unreadable}")
        labs, linear = samples(frames)
        centres, labels, names = palette(labs)
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
                    name=names[k],
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
            changes=[
                placed(change, frames.times, thumbs, centres) if thumbs else change
                for change in changes(frames.times, frames.end, shares, centres, names)
            ],
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


def palette(labs: Array, most: int = 8) -> tuple[Array, NDArray[np.int64], list[str]]:
    """Centres [k, 3] of the colours of all pixels, each pixel's label [n, pixels], and CSS names.

    k-means from a median cut; centres nearer than ``MERGE_DELTA`` (CIEDE2000), or of one name,
    become one.
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
    return merged, joined[labels.ravel()].reshape(labs.shape[:2]), css_names(merged)


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
    while True:
        means = np.array([np.average(centres[g], axis=0, weights=counts[g]) for g in groups])
        if len(groups) == 1:
            break
        names = np.array(css_names(means))
        apart = delta_e(means[:, None], means[None])
        apart[names[:, None] == names] = 0
        np.fill_diagonal(apart, np.inf)
        i, j = np.unravel_index(int(apart.argmin()), apart.shape)
        if apart[i, j] >= MERGE_DELTA:
            break
        groups[min(i, j)] += groups.pop(max(i, j))
    moved = np.zeros(len(centres), np.int64)
    for k, group in enumerate(groups):
        moved[group] = k
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
    lit = xyz[:, 1] > LEAST_LIGHT
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


class Look(NamedTuple):
    """What the pixels of one picture that are neither dark nor blown out say, in L*a*b*.

    ``high``: 95th percentile of chroma. ``cast``, ``hue``: of their mean colour, hue in degrees.
    ``off``: mean distance of a*, b* from the line of that hue. ``neutral``: chroma of the mean of
    the tenth with the least chroma. ``contrast``: standard deviation of L*, of all pixels.
    """

    high: float
    cast: float
    hue: float
    off: float
    neutral: float
    contrast: float


def look(lab: Array) -> Look | None:
    """The look of one picture's pixels [pixels, 3]; None if it shows too little to tell."""
    contrast = float(lab[:, 0].std())
    lit = lab[(lab[:, 0] >= 15) & (lab[:, 0] <= 95)]
    if contrast < 5 or len(lit) < 0.2 * len(lab):
        return None
    chroma = np.hypot(lit[:, 1], lit[:, 2])
    a, b = lit[:, 1:].mean(0)
    cast = float(np.hypot(a, b))
    off = float(np.abs(lit[:, 1] * b - lit[:, 2] * a).mean() / max(cast, 1e-6))
    least = lit[np.argsort(chroma, kind="stable")[: max(1, len(lit) // 10)], 1:].mean(0)
    hue = float(np.degrees(np.arctan2(b, a)) % 360)
    high = float(np.percentile(chroma, 95))
    return Look(high, cast, hue, off, float(np.hypot(*least)), contrast)


#: Each look: which, what its value is, whether a picture passes, and the test in words.
LOOKS: tuple[tuple[Kind, str, Callable[[Look], bool], str], ...] = (
    ("monochrome", "high", lambda of: of.high < 6, "95th percentile of chroma C*ab below 6"),
    (
        "sepia",
        "off",
        lambda of: of.high >= 6 and of.off <= 1.2 and 45 <= of.hue <= 100,
        "one hue, 45 to 100 degrees: a*, b* at most 1.2 off its line on average",
    ),
    (
        "strong_grade",
        "neutral",
        lambda of: of.neutral >= 10 and of.cast >= 15 and 1.2 < of.off <= 1.5 * of.cast <= 135
        and of.contrast >= 7,
        "even the tenth with the least chroma has a mean colour of C*ab 10 or more, and the "
        "whole frame one of 15 to 90; a*, b* on average no more than 1.5 times that off its "
        "hue: a colour cast, from grading, lighting or what is shown",
    ),
)  # fmt: skip


def looks(labs: Array) -> list[Filter]:
    """Looks that at least half of the pictures have; pixels with L* from 15 to 95 count."""
    seen = [look(lab) for lab in labs]
    found: list[Filter] = []
    for kind, value, passes, test in LOOKS:
        values = [getattr(of, value) for of in seen if of is not None and passes(of)]
        if 2 * len(values) >= len(labs):
            share = len(values) / len(labs)
            found.append(Filter(kind=kind, share=share, value=float(np.median(values)), test=test))
    return found


def changes(
    times: Array, end: float, shares: Array, centres: Array, names: list[str]
) -> list[ColorChange]:
    """Times from which the palette shares [n, k] are others than until then, and steady soon.

    For ``LASTING_S`` they stay within half of ``CHANGE_SHARE`` (total variation) of their mean,
    and at least ``CHANGE_SHARE`` from the median since the last change; and what loses most
    differs from what gains most by ``CHANGE_DELTA``.
    """
    edges = np.append(times, end)
    found: list[ColorChange] = []
    since = 0
    for k in range(1, len(times)):
        until = int(np.searchsorted(edges, times[k] + LASTING_S - 1e-6))
        if until >= len(edges):
            break
        before, now = np.median(shares[since:k], axis=0), shares[k:until]
        steady = np.abs(now - now.mean(0)).sum(1).max() / 2 <= CHANGE_SHARE / 2
        if not steady or np.abs(now - before).sum(1).min() / 2 < CHANGE_SHARE:
            continue
        moved = now.mean(0) - before
        lost, gained = int(moved.argmin()), int(moved.argmax())
        difference = float(delta_e(centres[lost], centres[gained]))
        apart = np.abs(shares[since : k + 1] - before).sum(1) / 2 >= CHANGE_SHARE
        begun = k - int(np.argmin(apart[::-1])) + 1 if not apart.all() else k
        since = k
        if difference >= CHANGE_DELTA:
            found.append(
                ColorChange(
                    time=float(times[begun]),
                    before=names[lost],
                    after=names[gained],
                    share=float(np.abs(moved).sum() / 2),
                    difference=difference,
                )
            )
    return found


def placed(change: ColorChange, times: Array, thumbs: Frames, centres: Array) -> ColorChange:
    """The change at its picture: where, from the sample before on, the palette shares jump most."""
    k = int(np.searchsorted(times, change.time - 1e-6))
    low, high = times[max(0, k - 1)], times[k]
    first, last = (int(np.searchsorted(thumbs.times, t + 1e-6)) for t in (low, high))
    near = range(max(0, first - 1), min(len(thumbs), last))
    if len(near) < 2:
        return change
    shares = np.stack([_shares(thumbs.rgb(j), centres) for j in near])
    steps = np.abs(np.diff(shares, axis=0)).sum(1)
    return change.model_copy(update={"time": float(thumbs.times[near[int(steps.argmax()) + 1]])})


def _shares(rgb: NDArray[np.uint8], centres: Array) -> Array:
    """Share of each palette colour in one picture: every pixel counts for the nearest."""
    import cv2

    pixels = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab).reshape(-1, 1, 3)
    nearest = np.linalg.norm(pixels - centres[None], axis=2).argmin(1)
    return np.bincount(nearest, minlength=len(centres)) / len(nearest)
