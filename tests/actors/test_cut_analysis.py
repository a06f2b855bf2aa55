"""Cuts, dissolves, fades and flashes of made clips whose edits are known, and of real ones."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from actors.cut_analysis import CutAnalysis, Cuts
from tiktok_ray.analyzer import Analyzer
from tiktok_ray.demo import photo
from tiktok_ray.media import Frames, decode

FPS = 30
SIZE = (36, 64)


PHOTOS = (
    "astronaut",
    "coffee",
    "chelsea",
    "rocket.jpg",
    "motorcycle_left",
    "camera",
    "brick",
    "coins",
)


@cache
def wide(seed):
    """A photograph of scikit-image's wheel, 128 high and twice as wide as a picture."""
    name = PHOTOS[seed % len(PHOTOS)]
    image = Image.fromarray(photo(name if "." in name else f"{name}.png"))
    return np.asarray(image.resize((216, 128), Image.Resampling.LANCZOS), float)


def scene(seed, x=0.0):
    """A view of a photograph, ``x`` pictures from its left edge, float [128, 72, 3]."""
    left = min(144, round(x * 72))
    return wide(seed)[:, left : left + 72]


def still(seed, seconds, motion=0.0):
    return [scene(seed, 0.1 + motion * k / FPS) for k in range(round(seconds * FPS))]


def dissolve(a, b, seconds):
    """Pictures of ``a`` ending in pictures of ``b``, mixed over ``seconds``."""
    n = round(seconds * FPS)
    mixed = [
        (1 - (k + 1) / (n + 1)) * p + (k + 1) / (n + 1) * q
        for k, (p, q) in enumerate(zip(a[-n:], b[:n], strict=True))
    ]
    return [*a[:-n], *mixed, *b[n:]]


def fade(pictures, seconds, level, out):
    n = round(seconds * FPS)
    weights = np.ones(len(pictures))
    ramp = np.linspace(1, 0, n)
    if out:
        weights[-n:] = ramp
    else:
        weights[:n] = ramp[::-1]
    return [w * p + (1 - w) * level for w, p in zip(weights, pictures, strict=True)]


def frames(pictures, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    made = [
        (p + noise * rng.standard_normal(p.shape)).round().clip(0, 255).astype(np.uint8)
        for p in pictures
    ]
    return Frames.of([k / FPS for k in range(len(made))], made, len(made) / FPS)


def analyze(pictures, **more) -> Cuts:
    return CutAnalysis().analyze(frames(pictures, **more))


@pytest.mark.parametrize("noise", [0.0, 4.0, 10.0])
@pytest.mark.parametrize("motion", [0.0, 0.2])
def test_hard_cuts_are_exact_to_the_frame(noise, motion):
    pictures = [p for seed, s in ((1, 1.0), (2, 1.5), (3, 0.5)) for p in still(seed, s, motion)]
    out = analyze(pictures, noise=noise)
    assert [(t.kind, t.start, t.end) for t in out.transitions] == [
        ("hard", pytest.approx(t), pytest.approx(t)) for t in (1.0, 2.5)
    ]
    assert out.boundaries == [0.0, pytest.approx(1.0), pytest.approx(2.5)]
    assert out.cuts_per_minute == pytest.approx(40.0)
    assert [s.index for s in out.shots] == [0, 1, 2]
    assert out.shots[-1].end == pytest.approx(3.0)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("seeds", [(1, 2), (5, 8)])
def test_a_dissolve_is_found_with_its_extent(seconds, seeds):
    a, b = (still(seed, 3.0) for seed in seeds)
    [found] = analyze(dissolve(a, b, seconds), noise=2.0).transitions
    assert found.kind == "dissolve"
    assert found.start == pytest.approx(3.0 - seconds, abs=0.15)
    assert found.end == pytest.approx(3.0, abs=0.15)


@pytest.mark.parametrize(("level", "through"), [(0.0, "black"), (255.0, "white")])
@pytest.mark.parametrize("seconds", [0.4, 1.0])
def test_a_fade_through_a_blank_is_one_transition(level, through, seconds):
    first = fade(still(1, 2.5), seconds, level, out=True)
    second = fade(still(2, 2.5), seconds, level, out=False)
    [found] = analyze([*first, *second], noise=2.0).transitions
    assert (found.kind, found.through) == ("fade", through)
    assert found.start == pytest.approx(2.5 - seconds, abs=0.15)
    assert found.end == pytest.approx(2.5 + seconds, abs=0.15)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_no_cut(length):
    pictures = still(4, 3.0)
    for k in range(length):
        pictures[40 + k] = np.full_like(pictures[0], 250.0)
    out = analyze(pictures, noise=2.0)
    assert out.transitions == []
    assert [f.start for f in out.flashes] == [pytest.approx(40 / FPS)]


def lit(pictures):
    return [p * (0.6 + 0.4 * np.sin(k / 12)) for k, p in enumerate(pictures)]


def shaken(seed, seconds):
    rng = np.random.default_rng(seed)
    return [scene(seed, 0.3 + 0.03 * rng.standard_normal()) for _ in range(round(seconds * FPS))]


def captioned(pictures):
    for k, p in enumerate(pictures):
        if 20 <= k < 60:
            p[100:116, 10:62] = 255 if k % 2 else 250
    return [p.copy() for p in pictures]


def passed(pictures):
    """A dark object crosses the picture within a second."""
    made = []
    for k, p in enumerate(pictures):
        p = p.copy()
        left = (k - 30) * 4
        p[40:128, max(0, left) : max(0, left + 24)] = 20
        made.append(p)
    return made


@pytest.mark.parametrize(
    "pictures",
    [
        still(1, 3.0),
        still(2, 3.0, motion=0.6),
        lit(still(3, 3.0)),
        shaken(4, 3.0),
        captioned([p.copy() for p in still(5, 3.0)]),
        passed(still(6, 3.0)),
    ],
    ids=["still", "pan", "light", "shake", "caption", "passer-by"],
)
def test_what_is_no_cut_is_none(pictures):
    out = analyze(pictures, noise=3.0)
    assert out.transitions == []
    assert [s.span for s in out.shots] == [(0.0, pytest.approx(3.0))]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_shortest_clips(count):
    out = analyze(still(1, count / FPS))
    assert len(out.shots) == 1
    assert out.cuts_per_minute == 0


def test_timeline_events():
    pictures = dissolve([*still(1, 2.0), *still(2, 3.0)], still(3, 3.0), 1.0)
    out = analyze(pictures, noise=2.0)
    events = list(out.events())
    cuts = [e for e in events if e.kind == "cut"]
    [gradual] = [e for e in events if e.kind == "transition"]
    assert all(e.start == e.end for e in cuts)
    assert cuts[0].start == pytest.approx(2.0)
    assert cuts[1].start == pytest.approx((gradual.start + gradual.end) / 2)
    assert len([e for e in events if e.kind == "shot"]) == 3


REAL = {
    "video/short_vertical_composite.mp4": [3.0, 6.0, 9.0, 14.0, 17.0],
    "video/psd_counter.mp4": [],
    "video/grid_bbaf2n.mpg": [],
    "video/grid_swwp2s.mpg": [],
    "video/gesture_woman.mp4": [],
    "video/carphone.mp4": [],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_clips_without_gradual_changes(real_media, settings, name):
    thumbs = decode(real_media / name, {"thumbs"}, settings).tracks["thumbs"]
    found = CutAnalysis().analyze(thumbs).transitions
    assert [t.start for t in found] == [pytest.approx(t, abs=1 / 30) for t in REAL[name]]
    assert all(t.end == t.start for t in found)


@pytest.mark.slow
def test_nature_stills_with_fades(real_media, settings):
    """Frames 30 and 180 are cuts; 210 to 240, 330 to 423 and 663 to 693 fade through black, 527 to
    559 dissolve (seen by eye)."""
    thumbs = decode(real_media / "video/psd_testvideo.mp4", {"thumbs"}, settings).tracks["thumbs"]
    found = CutAnalysis().analyze(thumbs).transitions
    frame = 1001 / 30_000
    assert [t.start for t in found if t.kind == "hard"] == [
        pytest.approx(30 * frame, abs=frame),
        pytest.approx(180 * frame, abs=frame),
    ]
    fades = [t for t in found if t.kind == "fade"]
    assert all(t.through == "black" for t in fades)
    assert any(t.start < 394 * frame < t.end for t in fades)
    assert len(found) == 6


@pytest.mark.slow
def test_black_and_white_fades(real_media, settings):
    thumbs = decode(real_media / "video/psd_fades.mp4", {"thumbs"}, settings).tracks["thumbs"]
    found = CutAnalysis().analyze(thumbs).transitions
    assert {t.kind for t in found} == {"fade"}
    for frame in (84, 167):
        assert any(t.start <= frame / 25 <= t.end for t in found), frame


@pytest.mark.slow
def test_times_of_a_variable_rate_come_from_timestamps(real_media, settings):
    """The last picture of the old shot is at 7.908 s, the first of the new one at 8.108 s."""
    thumbs = decode(real_media / "odd/vfr_nasa.mp4", {"thumbs"}, settings).tracks["thumbs"]
    hard = [t for t in CutAnalysis().analyze(thumbs).transitions if t.kind == "hard"]
    assert [t.start for t in hard] == [pytest.approx(8.108, abs=0.002)]


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    flashed = [*still(1, 2.0), *still(2, 2.5), *still(6, 1.0), *still(7, 0.8)]
    flashed[20] = np.full_like(flashed[0], 250.0)
    flashed[100] = flashed[101] = np.full_like(flashed[0], 230.0)
    again = still(3, 2.0)
    again[30] = again[31] = np.full_like(again[0], 0.0)
    cases = [
        frames(dissolve([*still(1, 2.0), *still(2, 3.0)], still(3, 3.0), 1.0), noise=2.0),
        frames(
            [*fade(still(1, 2.5), 0.6, 0.0, True), *fade(still(2, 2.5), 0.6, 0.0, False)], noise=2.0
        ),
        frames(
            [*fade(still(3, 2.5), 0.6, 255.0, True), *fade(still(4, 2.5), 0.6, 255.0, False)],
            noise=2.0,
        ),
        frames(flashed, noise=2.0),
        frames(still(5, 1.0)),
        frames(again),
    ]
    slower = Frames(cases[0].times * 1.2, cases[0].i420, cases[0].end * 1.2)
    return [(CutAnalysis(), {"thumbs": case}) for case in (*cases, slower)]
