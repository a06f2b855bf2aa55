"""Cuts, dissolves, fades and flashes of made clips whose edits are known, and of real ones."""

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from actors.cut_analysis import CutAnalysis, Cuts
from benchmarks import factory
from tests.conftest import slow
from tiktok_ray.analyzer import Analyzer
from tiktok_ray.demo import photo
from tiktok_ray.media import Frames, InputError, decode
from tiktok_ray.media.writer import write_clip
from tiktok_ray.methods.vision.picture_similarity import Pictures, isolation, turns
from tiktok_ray.methods.vision.shot_changes import (
    Aligned,
    blending,
    elsewhere,
    shape_of,
    swayed,
)

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
    if noise:
        pictures = [p + noise * rng.standard_normal(p.shape) for p in pictures]
    made = [p.round().clip(0, 255).astype(np.uint8) for p in pictures]
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


def test_a_fade_between_like_shots_changes_as_much_as_from_the_blank():
    """To black and back to the same picture: what lies on either side is equal."""
    pictures = [*fade(still(1, 2.5), 0.6, 0.0, True), *fade(still(1, 2.5), 0.6, 0.0, False)]
    [found] = analyze(pictures, noise=2.0).transitions
    assert found.strength > 0.8


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_is_no_cut(length):
    pictures = still(4, 3.0)
    for k in range(length):
        pictures[40 + k] = np.full_like(pictures[0], 250.0)
    out = analyze(pictures, noise=2.0)
    assert out.transitions == []
    assert [f.start for f in out.flashes] == [pytest.approx(40 / FPS)]


@cache
def large(seed):
    """A photograph of scikit-image's wheel, its shorter side 320 pixels."""
    name = PHOTOS[seed % len(PHOTOS)]
    image = Image.fromarray(photo(name if "." in name else f"{name}.png"))
    scale = 320 / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


def view(seed, x=0.5, y=0.5, size=0.6, turn=0.0):
    """A view of a photograph, centre in shares of it, [128, 72, 3]; ``size``: of its height."""
    import cv2

    image = large(seed)
    height, width = image.shape[:2]
    scale = size * height / 128
    c, s = scale * np.cos(turn), scale * np.sin(turn)
    matrix = np.array([[c, -s, x * width - 36 * c + 64 * s], [s, c, y * height - 36 * s - 64 * c]])
    flags = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(image, matrix, (72, 128), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(warped, float)


def moved(seed, count, speed=0.0, zoom=0.0, shake=0.0, turn=0.0, blur=1, start=0):
    """A camera that moves: widths and e-folds a second, shake in widths, radians a second."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 6, 4)
    width = 0.6 * 72 / 128 * large(seed).shape[0] / large(seed).shape[1]

    def at(t):
        sway = np.sin(2 * np.pi * t * np.array([3.1, 4.3, 2.7, 5.2]) + phase)
        x = 0.5 + width * (speed * (t - count / FPS / 2) + shake * (sway[0] + sway[1] / 2))
        y = 0.5 + width * shake * (sway[2] + sway[3] / 2)
        return view(seed, x, y, 0.6 * np.exp(-zoom * t), turn * t)

    times = [(k + start) / FPS for k in range(count)]
    return [np.mean([at(t + b / blur / FPS / 2) for b in range(blur)], 0) for t in times]


def lit(pictures):
    return [p * (0.6 + 0.4 * np.sin(k / 12)) for k, p in enumerate(pictures)]


def switched(pictures, gain):
    return [p * gain if k >= 40 else p for k, p in enumerate(pictures)]


def dimmed(pictures, gain):
    return [p * (1 + (gain - 1) * np.clip((k - 30) / 20, 0, 1)) for k, p in enumerate(pictures)]


def shaken(seed, seconds):
    rng = np.random.default_rng(seed)
    return [scene(seed, 0.3 + 0.03 * rng.standard_normal()) for _ in range(round(seconds * FPS))]


def written(picture, text, top=84, box=None):
    """The picture with a caption of three lines, 30 % of its height, in a box or without one."""
    from PIL import ImageDraw

    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    if box is not None:
        draw.rectangle((3, top, 69, top + 38), fill=(box, box, box))
    ink = (20, 20, 20) if box == 245 else (255, 255, 255)
    draw.multiline_text((6, top + 2), text, fill=ink, font_size=12, spacing=0)
    return np.asarray(image, float)


def captioned(pictures, box=None, rise=1):
    """A caption that is there from picture 20 to 60, coming and going within ``rise`` pictures."""
    made = []
    for k, p in enumerate(pictures):
        share = np.clip((k - 19) / rise, 0, 1) * np.clip((60 - k) / rise, 0, 1)
        made.append(p + share * (written(p, "READY\nFOR THE\nLAUNCH", box=box) - p))
    return made


def subtitled(pictures):
    """A caption whose words change four times a second."""
    words = ("AND THEN\nHE SAID", "WELL NOW\nLOOK", "THERE IT\nGOES AND", "THAT IS\nALL")
    return [written(p, words[k // 8 % 4], box=15) for k, p in enumerate(pictures)]


def passed(pictures, seconds=1.0, wide=24, seed=None):
    """Something crosses the picture."""
    thing = np.full((128, wide, 3), 20.0) if seed is None else view(seed)[:, :wide]
    made = []
    for k, p in enumerate(pictures):
        p = p.copy()
        left = round((k - 30) / (seconds * FPS) * (72 + wide)) - wide
        if -wide < left < 72:
            p[:, max(0, left) : left + wide] = thing[:, max(0, -left) : 72 - left]
        made.append(p)
    return made


def jolted(seed):
    """A camera that is knocked aside within one picture, and stays there."""
    return [view(seed, 0.45 if k < 40 else 0.5, 0.5 if k < 40 else 0.53) for k in range(90)]


@pytest.mark.parametrize(
    "made",
    [
        lambda: still(1, 3.0),
        slow(lambda: still(2, 3.0, motion=0.6)),
        lambda: moved(0, 90, speed=1.5, blur=3),
        lambda: moved(2, 90, speed=3.0, blur=3),
        lambda: moved(4, 90, zoom=0.5),
        slow(lambda: moved(5, 90, turn=0.8, speed=0.3)),
        lambda: moved(1, 90, shake=0.08, blur=3),
        lambda: lit(still(3, 3.0)),
        lambda: switched(still(0, 3.0), 0.4),
        slow(lambda: switched(moved(2, 90, speed=0.1), (1.5, 1.0, 0.7))),
        slow(lambda: dimmed(moved(1, 90, speed=0.1), 0.35)),
        lambda: dimmed(still(4, 3.0), 1.8),
        lambda: shaken(4, 3.0),
        lambda: jolted(4),
        lambda: captioned(still(5, 3.0)),
        slow(lambda: captioned(still(2, 3.0), box=245)),
        slow(lambda: captioned(moved(0, 90, speed=0.3), box=15)),
        lambda: captioned(moved(4, 90), box=15, rise=8),
        lambda: subtitled(moved(1, 90, speed=0.2)),
        lambda: passed(still(6, 3.0)),
        slow(lambda: passed(still(1, 3.0), seconds=0.7, wide=64, seed=2)),
        slow(lambda: passed(moved(2, 90, speed=0.2), seconds=0.4, wide=50, seed=0)),
    ],
    ids=[
        "still", "pan", "fast pan", "whip pan", "zoom", "roll", "shake", "light", "light off",
        "light tinted", "dimmed", "brightened", "jitter", "jolt", "caption", "caption on white",
        "caption over a pan", "caption faded in", "subtitles", "passer-by", "van", "hand",
    ],
)  # fmt: skip
def test_what_is_no_cut_is_none(made):
    out = analyze(made(), noise=3.0)
    assert out.transitions == []
    assert [s.span for s in out.shots] == [(0.0, pytest.approx(3.0))]


@pytest.mark.parametrize("kept", [slow("half"), "pairs"])
def test_pictures_that_were_dropped_or_repeated_make_no_cut(kept):
    pictures = moved(4, 90, speed=0.4)
    index = np.arange(90) // 2 * 2
    if kept == "half":
        index = np.sort(np.random.default_rng(3).choice(90, 45, replace=False))
    times = index / FPS if kept == "half" else np.arange(90) / FPS
    made = [pictures[k].clip(0, 255).astype(np.uint8) for k in index]
    assert CutAnalysis().analyze(Frames.of(times - times[0], made, 3.0)).transitions == []


@cache
def filmed(seed, speed):
    """A second by a shaky camera that moves, blurred by it."""
    return moved(seed, 30, speed=speed, shake=0.02, blur=3)


@pytest.mark.parametrize("noise", [0.0, 15.0])
@pytest.mark.parametrize("speed", [0.3, slow(1.0), 2.0])
@pytest.mark.parametrize("seeds", [(0, 2), slow((4, 1)), slow((5, 7))])
def test_hard_cuts_between_moving_cameras(seeds, speed, noise):
    first, second = (filmed(seed, speed) for seed in seeds)
    [cut] = analyze([*first, *second], noise=noise).transitions
    assert (cut.kind, cut.start, cut.end) == ("hard", pytest.approx(1.0), pytest.approx(1.0))


def test_a_cut_under_a_caption_that_stays():
    pictures = [*moved(0, 40, speed=0.1), *moved(4, 40, speed=0.1)]
    held = [written(p, "READY\nFOR THE\nLAUNCH", box=15) for p in pictures]
    assert [t.start for t in analyze(held, noise=3.0).transitions] == [pytest.approx(40 / FPS)]


@pytest.mark.parametrize("each", [4, 6, 10])
def test_a_quick_run_of_shots(each):
    order = (0, 2, 4, 1, 5, 3)
    pictures = [p for k, seed in enumerate(order) for p in still(seed, (each if k else 15) / FPS)]
    found = analyze([*pictures, *still(3, 0.4)], noise=2.0).transitions
    cuts = [(15 + each * k) / FPS for k in range(5)]
    assert [(t.kind, t.start) for t in found] == [("hard", pytest.approx(t)) for t in cuts]


def test_a_cut_through_a_blended_picture():
    """A change of frame rate leaves one picture that is half of either shot."""
    a, b = still(0, 1.0), still(4, 1.0)
    [cut] = analyze([*a, 0.5 * a[-1] + 0.5 * b[0], *b], noise=2.0).transitions
    assert cut.kind == "hard"
    assert cut.start == pytest.approx(30.5 / FPS, abs=0.6 / FPS)


@pytest.mark.parametrize("seed", range(12))
def test_a_cut_between_pictures_of_nothing_but_straight_edges(seed):
    blocks = np.random.default_rng(seed).integers(0, 256, (2, 8, 6, 3)).astype(float)
    one, two = (np.kron(picture, np.ones((16, 12, 1))) for picture in blocks)
    [cut] = analyze([one] * 30 + [two] * 30).transitions
    assert (cut.kind, cut.start) == ("hard", pytest.approx(1.0))


def test_plain_pictures_of_two_colours():
    pictures = [
        np.full((128, 72, 3), c, float) for c in ((255, 0, 0), (0, 0, 255)) for _ in range(30)
    ]
    assert [t.start for t in analyze(pictures).transitions] == [pytest.approx(1.0)]


@pytest.mark.parametrize("speed", [slow(0.1), 0.2])
@pytest.mark.parametrize("seconds", [0.3, 0.6, 1.0, 1.5])
@pytest.mark.parametrize("seeds", [(0, 2), slow((4, 1))])
def test_a_dissolve_between_moving_cameras(seeds, seconds, speed):
    count = round((2 + seconds) * FPS)
    a, b = moved(seeds[0], count, speed, zoom=0.05), moved(seeds[1], count, -speed)
    mix = np.clip((np.arange(count) / FPS - 1) / seconds, 0, 1)
    pictures = [(1 - m) * p + m * q for m, p, q in zip(mix, a, b, strict=True)]
    [found] = analyze(pictures, noise=3.0).transitions
    assert found.kind == "dissolve"
    assert found.start == pytest.approx(1.0, abs=0.15)
    assert found.end == pytest.approx(1.0 + seconds, abs=0.15)
    assert found.new_shot == pytest.approx((found.start + found.end) / 2)


def test_an_eased_dissolve_has_its_whole_extent():
    a, b = still(0, 3.0), still(4, 3.0)
    x = np.clip((np.arange(90) / FPS - 1) / 1.0, 0, 1)
    mix = x * x * (3 - 2 * x)
    pictures = [(1 - m) * p + m * q for m, p, q in zip(mix, a, b, strict=True)]
    [found] = analyze(pictures, noise=2.0).transitions
    assert (found.start, found.end) == (pytest.approx(1.0, abs=0.1), pytest.approx(2.0, abs=0.1))


@pytest.mark.parametrize(("level", "through"), [(0.0, "black"), (255.0, "white")])
@pytest.mark.parametrize("seconds", [0.3, 0.8, 1.5])
def test_fades_that_open_and_close_begin_no_shot(level, through, seconds):
    n = round(seconds * FPS)
    pictures = moved(4, 60 + 2 * n, speed=0.1)
    up = np.clip((np.arange(len(pictures)) - 6) / n, 0, 1)
    mix = np.minimum(up, up[::-1])
    opens, closes = analyze(
        [m * p + (1 - m) * level for m, p in zip(mix, pictures, strict=True)], noise=2.0
    ).transitions
    end = len(pictures) / FPS
    assert [(t.kind, t.through, t.new_shot) for t in (opens, closes)] == [
        ("fade", through, None)
    ] * 2
    assert [(t.fades, t.label) for t in (opens, closes)] == [
        ("in", f"fade from {through}"),
        ("out", f"fade to {through}"),
    ]
    assert opens.start == pytest.approx(6 / FPS, abs=0.15)
    assert opens.end == pytest.approx(6 / FPS + seconds, abs=0.15)
    assert closes.start == pytest.approx(end - 7 / FPS - seconds, abs=0.15)
    assert closes.end == pytest.approx(end - 7 / FPS, abs=0.15)


def test_a_hard_cut_to_black_begins_the_shot_that_fades_in():
    black = [np.zeros((128, 72, 3))] * 20
    pictures = [*still(1, 1.0), *black, *fade(still(2, 1.5), 0.5, 0.0, out=False)]
    out = analyze(pictures, noise=2.0)
    assert [(t.kind, t.start) for t in out.transitions] == [
        ("hard", pytest.approx(1.0)),
        ("fade", pytest.approx(50 / FPS, abs=0.15)),
    ]
    assert out.boundaries == [0.0, pytest.approx(1.0)]


@pytest.mark.parametrize("seconds", [0.5, 1.5, 3.0])
def test_a_blank_held_long_parts_two_fades(seconds):
    black = [np.zeros((128, 72, 3))] * round(seconds * FPS)
    first, second = fade(still(1, 1.5), 0.5, 0.0, True), fade(still(2, 1.5), 0.5, 0.0, False)
    out = analyze([*first, *black, *second], noise=2.0)
    ways = ["through"] if seconds < 2 else ["to", "from"]
    assert [t.label for t in out.transitions] == [f"fade {way} black" for way in ways]
    assert len(out.shots) == 2


@pytest.mark.parametrize(("count", "gain"), [(1, 1.6), (2, 3.0), (3, 4.0)])
def test_an_overexposed_flash_is_no_cut(count, gain):
    pictures = moved(0, 80, speed=0.1)
    pictures[40 : 40 + count] = [p * gain for p in pictures[40 : 40 + count]]
    out = analyze(pictures, noise=2.0)
    assert out.transitions == []
    [flash] = out.flashes
    assert flash.span == (pytest.approx(40 / FPS), pytest.approx((40 + count) / FPS))
    assert flash.brightness > 0.1


def test_a_flash_that_dies_away_is_no_cut():
    pictures = still(4, 3.0)
    for k, share in enumerate((1.0, 0.7, 0.5, 0.33, 0.2, 0.12, 0.06), 40):
        pictures[k] = (1 - share) * pictures[k] + share * 255
    out = analyze(pictures, noise=2.0)
    assert out.transitions == []
    assert [f.start for f in out.flashes] == [pytest.approx(40 / FPS)]


@pytest.mark.parametrize("seed", [0, slow(4), slow(5)])
def test_a_flash_in_the_dark_that_dies_away_is_no_cut(seed):
    """White is grey where there is but a tenth of the light."""
    pictures = [0.1 * p + 3 for p in still(seed, 3.0)]
    for k, share in enumerate(np.exp(-np.arange(20) / 3), 40):
        pictures[k] = (1 - share) * pictures[k] + share * 25.5
    out = analyze(pictures, noise=1.0)
    assert out.transitions == []
    assert [f.start for f in out.flashes] == [pytest.approx(40 / FPS)]


def test_a_black_blink_is_no_cut():
    pictures = still(4, 3.0)
    pictures[40:43] = [np.zeros_like(pictures[0])] * 3
    out = analyze(pictures, noise=2.0)
    assert out.transitions == []
    assert [f.brightness < 0 for f in out.flashes] == [True]


@pytest.mark.parametrize("count", [1, 3])
def test_a_flash_that_hides_a_cut_is_one(count):
    white = [np.full((128, 72, 3), 252.0)] * count
    out = analyze([*still(0, 1.0), *white, *still(2, 1.0)], noise=2.0)
    assert [(t.kind, t.through) for t in out.transitions] == [("flash", "white")]
    assert out.boundaries == [0.0, pytest.approx(1.0 + count / FPS)]
    assert out.flashes == []


def between_bars(pictures):
    """Films of 72 x 64 between black bars above and below."""
    return [np.pad(p[32:96], ((32, 32), (0, 0), (0, 0))) for p in pictures]


def test_a_fade_through_white_between_black_bars_is_one_transition():
    first = fade(still(1, 2.5), 0.6, 255.0, out=True)
    second = fade(still(2, 2.5), 0.6, 255.0, out=False)
    [found] = analyze(between_bars([*first, *second]), noise=1.0).transitions
    assert (found.kind, found.through) == ("fade", "white")


def test_a_dissolve_in_a_tenth_of_the_light_is_found():
    dark = [0.1 * p for p in dissolve(still(1, 3.0), still(2, 3.0), 1.0)]
    [found] = analyze(dark, noise=1.0).transitions
    assert found.kind == "dissolve"
    assert found.start == pytest.approx(2.0, abs=0.2)


@cache
def speaker(x):
    """Somebody before a wall, ``x`` pixels from the left edge."""
    picture = view(1, 0.5, 0.5, 0.9).copy()
    head = Image.fromarray(photo("astronaut.png")[:300, 80:330]).resize((48, 80))
    picture[48:, x : x + 48] = np.asarray(head, float)
    return picture


def test_a_jump_within_one_setting():
    """The speaker leaps aside by a twelfth of the picture; the wall stays."""
    pictures = [speaker(16 if k < 40 else 10) for k in range(80)]
    [jump] = analyze(pictures, noise=2.0).transitions
    assert (jump.kind, jump.start) == ("jump", pytest.approx(40 / FPS))
    steady = [speaker(16) for _ in range(80)]
    assert analyze(steady, noise=2.0).transitions == []


def test_the_same_way_walked_is_no_jump():
    pictures = [speaker(16 - round(np.clip((k - 40) / 12, 0, 1) * 6)) for k in range(80)]
    assert analyze(pictures, noise=2.0).transitions == []


@pytest.mark.parametrize("zoom", [1.1, 1.3])
def test_a_punch_in_is_a_jump(zoom):
    pictures = [view(0, size=0.6 if k < 40 else 0.6 / zoom) for k in range(80)]
    [jump] = analyze(pictures, noise=2.0).transitions
    assert (jump.kind, jump.start) == ("jump", pytest.approx(40 / FPS))


@cache
def speaking(x, seed=1):
    """Somebody before a photograph, ``x`` pixels from the left edge."""
    picture = view(seed, 0.5, 0.5, 0.9).copy()
    head = Image.fromarray(photo("astronaut.png")[:300, 80:330]).resize((40, 70))
    picture[58:, x : x + 40] = np.asarray(head, float)
    return picture


@pytest.mark.parametrize("leap", [14, slow(8)])
def test_a_leap_across_a_wide_picture(leap):
    """By an eighth of its width: half of what changes is what the leap uncovers."""
    wall = np.concatenate([view(4), view(4, 0.4)], 1)[:72]
    head = Image.fromarray(photo("astronaut.png")[:300, 80:330]).resize((24, 36))

    def at(left):
        picture = wall[:, :112].copy()
        picture[36:, left : left + 24] = np.asarray(head, float)
        return picture

    pictures = [at(40 if k < 40 else 40 + leap) for k in range(80)]
    [jump] = analyze(pictures, noise=1.0).transitions
    assert (jump.kind, jump.start) == ("jump", pytest.approx(40 / FPS))


@pytest.mark.parametrize("noise", [1.0, 5.0])
@pytest.mark.parametrize("leap", [4, 7])
def test_what_was_said_in_between_is_cut_out(noise, leap):
    """The camera drifts, and what is behind the speaker leaps a little too."""
    one = [speaking(16, 4) for _ in range(40)]
    two = [np.roll(speaking(16 - leap, 4), 2, 1) for _ in range(40)]
    [jump] = analyze([*one, *two], noise=noise).transitions
    assert (jump.kind, jump.start) == ("jump", pytest.approx(40 / FPS))


def bordered(a, b, seconds, at):
    """Pictures of ``a``, ``at`` of both for a share that grows over ``seconds``, then of ``b``."""
    n = round(seconds * FPS)
    between = [
        at(p, q, (k + 1) / (n + 1)) for k, (p, q) in enumerate(zip(a[-n:], b[:n], strict=True))
    ]
    return [*a[:-n], *between, *b[n:]]


def wiped(way, soft=0.0):
    y, x = np.mgrid[:128, :72]
    order = {"right": x / 72, "left": 1 - x / 72, "down": y / 128, "up": 1 - y / 128,
             "iris": np.hypot(x - 36, y - 64) / 73.5}[way]  # fmt: skip

    def at(p, q, share):
        edge = share * (1 + soft)
        mask = np.clip((edge - order) / soft, 0, 1) if soft else (order < edge).astype(float)
        return p + mask[..., None] * (q - p)

    return at


def slid(style, way):
    axis, sign = {"left": (1, -1), "right": (1, 1), "up": (0, -1), "down": (0, 1)}[way]

    def at(p, q, share):
        old, new = (np.moveaxis(picture, axis, 0)[::sign] for picture in (p, q))
        by, out = round(share * len(old)), np.empty_like(old)
        out[by:] = old[by:] if style == "cover" else old[: len(old) - by]
        out[:by] = new[:by] if style == "reveal" else new[len(new) - by :]
        return np.moveaxis(out[::sign], 0, axis)

    return at


@pytest.mark.parametrize("soft", [0.0, slow(0.15)])
@pytest.mark.parametrize("way", ["left", slow("right"), "up", slow("down")])
def test_a_wipe_is_told_with_its_way_and_extent(way, soft):
    a, b = moved(0, 75, speed=0.05), moved(2, 75, speed=-0.05)
    [found] = analyze(bordered(a, b, 0.8, wiped(way, soft)), noise=2.0).transitions
    assert (found.kind, found.direction) == ("wipe", way)
    assert found.start == pytest.approx(2.5 - 0.8, abs=0.15)
    assert found.end == pytest.approx(2.5, abs=0.15)
    assert found.new_shot == pytest.approx((found.start + found.end) / 2)
    assert found.unexplained is not None
    assert found.unexplained < 0.1


@pytest.mark.parametrize("seeds", [(4, 1), slow((2, 4))])
def test_a_wipe_by_a_shaky_hand_is_found(seeds):
    a, b = (moved(seed, 75, shake=0.08) for seed in seeds)
    [found] = analyze(bordered(a, b, 0.8, wiped("left")), noise=1.0).transitions
    assert (found.kind, found.direction) == ("wipe", "left")
    assert found.start == pytest.approx(2.5 - 0.8, abs=0.15)
    assert found.end == pytest.approx(2.5, abs=0.15)


@pytest.mark.parametrize("seeds", [(4, 1), slow((0, 2)), slow((2, 4))])
def test_a_dissolve_by_a_shaky_hand_is_found(seeds):
    a, b = (moved(seed, 75, shake=0.11) for seed in seeds)
    [found] = analyze(dissolve(a, b, 0.8), noise=1.0).transitions
    assert found.kind == "dissolve"
    assert found.start == pytest.approx(2.5 - 0.8, abs=0.15)
    assert found.end == pytest.approx(2.5, abs=0.15)


def test_how_a_shot_sways_is_seen_through_another():
    """In small pictures, whose pixels are two of these."""
    ways = np.array([(0, 0), (2, 0), (4, -2), (2, -4), (-2, -2)])
    other = view(4)
    mixed = [0.5 * np.roll(view(0), way[::-1], (0, 1)) + 0.5 * other for way in ways]
    p = Pictures(frames([view(0), *mixed]))
    moves = swayed(p, 0, np.arange(1, 6))
    assert moves[:, :, 2] == pytest.approx(ways / 2, abs=0.3)
    assert moves[:, :, :2] == pytest.approx(np.tile(np.eye(2), (5, 1, 1)))


def test_a_wipe_that_opens_has_no_way():
    a, b = still(0, 2.0), still(2, 2.0)
    [found] = analyze(bordered(a, b, 0.8, wiped("iris")), noise=2.0).transitions
    assert (found.kind, found.direction) == ("wipe", None)


@pytest.mark.parametrize("style", ["push", "cover", "reveal"])
@pytest.mark.parametrize("way", ["left", slow("right"), slow("up"), "down"])
def test_a_slide_is_told_with_its_way_and_extent(style, way):
    a, b = moved(4, 75, speed=0.03), moved(1, 75, speed=0.03)
    [found] = analyze(bordered(a, b, 0.6, slid(style, way)), noise=2.0).transitions
    assert (found.kind, found.direction) == ("slide", way)
    assert found.start == pytest.approx(2.5 - 0.6, abs=0.12)
    assert found.end == pytest.approx(2.5, abs=0.12)


def test_a_camera_thrown_from_one_thing_to_another_makes_no_cut():
    import cv2

    wide = np.concatenate([large(seed)[:320, :320] for seed in (0, 2, 4, 5)], 1)

    def at(t):
        share = np.clip((t - 1.2) / 0.35, 0, 1)
        left = 60 + 800 * share * share * (3 - 2 * share)
        return cv2.resize(cv2.getRectSubPix(wide, (180, 320), (left + 90, 160)), (72, 128))

    pictures = [
        np.mean([at(k / FPS + step) for step in np.linspace(0, 1 / 60, 9)], 0).astype(float)
        for k in range(90)
    ]
    assert analyze(pictures, noise=2.0).transitions == []


@pytest.mark.parametrize(("seed", "width", "seconds"), [(0, 58, 1.1), (4, 58, 1.1), (2, 46, 0.7)])
def test_a_wall_that_passes_before_the_camera_makes_no_cut(seed, width, seconds):
    """Its bricks are alike, so that it looks at rest and as another shot."""
    brick = np.asarray(Image.fromarray(large(6)).resize((width, 128)), float)
    pictures = []
    for k, picture in enumerate(moved(seed, 90, speed=0.1)):
        left = round((k - 30) / (seconds * FPS) * (72 + width)) - width
        if -width < left < 72:
            picture[:, max(0, left) : left + width] = brick[:, max(0, -left) : 72 - left]
        pictures.append(picture)
    assert analyze(pictures, noise=1.0).transitions == []


@pytest.mark.parametrize("x", [0.6, 0.8])
def test_an_inset_that_comes_and_goes_over_a_plain_sky_makes_no_cut(x):
    inset = Image.fromarray(view(0).clip(0, 255).astype(np.uint8)).resize((32, 38))
    pictures = [view(3, x, 0.4, 0.4) for _ in range(80)]
    for picture in pictures[20:50]:
        picture[80:118, 2:34] = np.asarray(inset, float)
    assert analyze(pictures, noise=1.0).transitions == []


@pytest.mark.parametrize(("seed", "gain"), [(4, 0.35), (5, 0.6)])
def test_a_light_switched_under_a_shaky_hand_makes_no_cut(seed, gain):
    assert analyze(switched(moved(seed, 90, shake=0.03), gain), noise=1.0).transitions == []


def test_a_page_scrolled_in_uneven_steps_under_a_bar_makes_no_cut():
    from PIL import ImageDraw

    rng = np.random.default_rng(1)
    words = ("wait", "what", "this is", "how", "you make", "the best", "bread", "at home",
             "in ten", "minutes")  # fmt: skip
    page = Image.new("RGB", (216, 1500), (255, 255, 255))
    for k in range(80):
        line = " ".join(words[i] for i in rng.integers(10, size=5))
        ImageDraw.Draw(page).text((12, 12 + 18 * k), line, fill=(20, 20, 20), font_size=11)
    pictures, top = [], 0
    for k in range(80):
        top += (4 if k % 3 == 0 else 3) if 20 <= k < 60 else 0
        seen = page.crop((0, top, 216, top + 384))
        draw = ImageDraw.Draw(seen)
        draw.rectangle((0, 350, 216, 384), fill=(90, 90, 90))
        draw.text((10, 360), "and so it goes on", fill=(255, 255, 255), font_size=11)
        pictures.append(np.asarray(seen.resize((72, 128), Image.Resampling.BOX), float))
    assert analyze(pictures, noise=1.0).transitions == []


@pytest.mark.slow  # makes forty clips
@pytest.mark.parametrize(
    "seed",
    [
        40110,
        40114,
        40179,
        50115,
        50179,
        50187,
        60110,
        60192,
        40136,
        40140,
        40143,
        40273,
        50279,
        70226,
        80127,
        80128,
        80240,
        80122,
        80136,
        40326,
        40343,
        40374,
        40386,
        40397,
        40401,
        50178,
        50273,
        60139,
        60274,
        60283,
        90193,
        100201,
        100214,
        100277,
        100374,
        110182,
        110379,
        120290,
        120372,
        130277,
        130373,
    ],
)  # whip pans, zooms, screen recordings; strobes, flashes, switched lights; insets, occlusions
def test_what_a_camera_or_a_light_goes_past_makes_no_cut(seed, tmp_path, settings):
    recipes = factory.recipes("transitions", seed // 10_000)
    [recipe] = [recipe for recipe in recipes if recipe.seed == seed]
    clip = factory.made(recipe, tmp_path)
    tracks = decode(clip.path, frozenset({"thumbs"}), settings).tracks
    assert CutAnalysis().analyze(tracks["thumbs"]).transitions == []


@pytest.mark.parametrize("scene_and_floor", [(3, 180), slow((6, 160)), slow((7, 180))])
def test_a_light_so_bright_that_it_saturates_makes_no_cut(scene_and_floor):
    """It comes and goes once; most of the picture is white at its height, and the rest is still seen."""
    seed, floor = scene_and_floor
    pictures = [floor + p * (255 - floor) / 255 * 0.8 for p in still(seed, 3.0)]
    light = [0.75 + 0.5 * max(0, np.sin((k - 30) / 9)) * (k < 60) for k in range(90)]
    lit = [np.clip(p * by, 0, 255) for p, by in zip(pictures, light, strict=True)]
    assert analyze(lit, noise=1.0).transitions == []


@pytest.mark.parametrize("rate", [5, 10])
def test_a_strobe_makes_no_cut(rate):
    pictures = moved(4, 90, speed=0.05)
    for k in range(25, 75):
        pictures[k] = pictures[k] * (1.6 if k * rate / FPS % 1 < 0.5 else 0.15)
    assert analyze(pictures, noise=2.0).transitions == []


def test_a_fade_of_which_one_half_is_restless_is_one_transition():
    first = fade(moved(1, 75, shake=0.12), 0.6, 0.0, out=True)
    second = fade(still(2, 2.5), 0.6, 0.0, out=False)
    [found] = analyze([*first, *second], noise=2.0).transitions
    assert (found.kind, found.through) == ("fade", "black")
    assert found.start == pytest.approx(1.9, abs=0.2)
    assert found.end == pytest.approx(3.1, abs=0.2)
    assert found.new_shot is not None


@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    lengths=st.lists(st.integers(6, 30), min_size=1, max_size=5),
    first=st.integers(0, 7),
    rate=st.sampled_from([12.0, 25.0, 60.0]),
)
def test_shots_tile_the_video_whatever_its_cuts(lengths, first, rate):
    seeds = [(first + 3 * k) % 8 for k in range(len(lengths))]
    made = [
        p.round().astype(np.uint8)
        for seed, count in zip(seeds, lengths, strict=True)
        for p in [scene(seed, 0.3)] * count
    ]
    end = len(made) / rate
    out = CutAnalysis().analyze(Frames.of([k / rate for k in range(len(made))], made, end))
    assert out.boundaries == pytest.approx([0.0, *(np.cumsum(lengths)[:-1] / rate)])
    edges = [s.start for s in out.shots] + [out.shots[-1].end]
    assert all(a < b for a, b in pairwise(edges))
    assert [s.end for s in out.shots] == pytest.approx(edges[1:])
    assert out.shots[-1].end == pytest.approx(end)
    assert out.times == out.boundaries[1:]
    assert out.longest_shot_s >= out.median_shot_s >= out.shortest_shot_s > 0


def test_through_a_real_file(tmp_path, settings):
    """Encoded and decoded: a cut at 1 s, a dissolve from 2 to 2.6 s."""
    a, b, c = moved(0, 30, 0.2), moved(2, 48, 0.2), moved(4, 48, 0.1)
    pictures = [*a, *dissolve(b, c, 0.6)]
    full = [
        np.asarray(Image.fromarray(p.clip(0, 255).astype(np.uint8)).resize((216, 384)))
        for p in pictures
    ]
    clip = write_clip(tmp_path / "c.mp4", full, fps=FPS)
    hard, soft = (
        CutAnalysis().analyze(decode(clip, {"thumbs"}, settings).tracks["thumbs"]).transitions
    )
    assert (hard.kind, hard.start) == ("hard", pytest.approx(1.0, abs=0.001))
    assert (soft.kind, soft.start, soft.end) == (
        "dissolve", pytest.approx(2.0, abs=0.1), pytest.approx(2.6, abs=0.1),
    )  # fmt: skip


def test_isolation_tells_a_spike_from_motion_and_from_its_beginning():
    change = np.full(40, 1.0)
    change[20:] = 10.0
    change[10] = 10.0
    found = isolation(change)
    assert found[10] == pytest.approx(10 / 1.5)
    assert found[20] < 1
    assert found[0] == 0
    assert isolation(np.zeros(1)).tolist() == [0.0]


@pytest.mark.parametrize("eased", [False, True])
def test_shape_of_a_change_is_found_under_noise(eased):
    times = np.arange(60) / 30
    share = np.clip((times - 0.5) / 0.8, 0, 1)
    share = share**2 * (3 - 2 * share) if eased else share
    noisy = 0.2 + 0.6 * share + np.random.default_rng(0).normal(0, 0.004, 60)
    shape = shape_of(times, noisy)
    assert (shape.start, shape.end) == (pytest.approx(0.5, abs=0.04), pytest.approx(1.3, abs=0.04))
    assert (shape.low, shape.high) == (pytest.approx(0.2, abs=0.02), pytest.approx(0.8, abs=0.02))
    assert shape.eased is eased
    np.testing.assert_allclose(shape.at(times), 0.2 + 0.6 * share, atol=0.02)


def test_blending_scores_blends_and_neither_cuts_nor_wipes():
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 255, (2, 100)).astype(np.float32)
    share = np.clip((np.arange(40) - 10) / 20, 0, 1)[:, None].astype(np.float32)
    times = np.arange(40) / 30
    score, residual = blending(times, (1 - share) * a + share * b, 0.25)
    assert score[20] > 10
    assert residual[20] < 0.01
    wiped = np.where(np.arange(100) < 100 * share, b, a)
    found = blending(times, wiped, 0.33)
    assert found[0].max() < 0.1 * score[20]
    assert found[1][found[0] > 0].min() > 0.35
    assert blending(times, np.where(share < 0.5, a, b), 0.25)[0].max() == 0


def test_turns_are_where_a_fade_goes_through_a_blank_between_two_samples():
    times = np.arange(20) / 10
    off = np.full((2, 20), 90.0)
    off[0, 8:13] = [60, 30, 7, 30, 60]
    assert np.argwhere(turns(off, times)).tolist() == [[0, 10]]
    off[0, 10] = 25.0
    assert not turns(off, times).any()


def test_what_a_menu_uncovers_has_not_leapt():
    """The word is found elsewhere before, and is still there."""
    word = np.random.default_rng(0).integers(20, 236, (8, 24)).astype(np.float32)
    one = np.full((96, 96), 200, np.float32)
    one[48:56, 16:40] = word
    two, gone = one.copy(), np.full_like(one, 200)
    two[36:44, 16:40] = gone[36:44, 16:40] = word
    out = np.zeros((24, 24), bool)
    out[8:12, 3:11] = True
    step = Aligned(one, two, np.abs(two - one), 0.0, np.zeros(2), 0.0)
    assert elsewhere(step, out)[0] == 0
    share, way = elsewhere(replace(step, two=gone), out)
    assert share > 0.3
    assert way.tolist() == [0, 12]


def test_likeness_survives_motion_light_and_noise_but_not_another_thing():
    rng = np.random.default_rng(0)
    here = view(0)
    pictures = [
        here, view(0, 0.53), view(0, size=0.57), here * 0.5, here + rng.normal(0, 8, here.shape),
        view(2), view(4), here * 0,
    ]  # fmt: skip
    p = Pictures(frames(pictures))
    assert [p.differ(0, k) for k in range(1, 8)] == [False] * 4 + [True] * 3
    assert p.shared(6, 7) == 0.0
    assert p.color(7) == "black"
    assert p.color(0) is None


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
    "odd/truncated_half_faststart.mp4": [20 / 29.97, 82 / 29.97],
    "video/bigbuckbunny_51.mp4": [],
    "video/exo_face_1s.mp4": [],
    "video/laptop_desk.mp4": [],
    "odd/rotated180_dog.mp4": [],
    "odd/pigs.gif": [],
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
    assert [t.label for t in fades] == ["fade from black", "fade through black", "fade to black"]
    assert len(found) == 6


@pytest.mark.slow
def test_black_and_white_fades(real_media, settings):
    thumbs = decode(real_media / "video/psd_fades.mp4", {"thumbs"}, settings).tracks["thumbs"]
    out = CutAnalysis().analyze(thumbs)
    assert {t.kind for t in out.transitions} == {"fade"}
    assert out.times == [pytest.approx(frame / 25, abs=0.1) for frame in (84, 167)]
    ways = ["from", "through", "through", "to"]
    assert [t.label for t in out.transitions] == [f"fade {way} black" for way in ways]


@pytest.mark.parametrize("first", [0.0, 255.0])
def test_what_goes_between_black_and_white_is_told_once(first):
    """Black to white and back, or the other way: one fade in and one out, or one through black."""
    up = np.linspace(first, 255.0 - first, 40)
    levels = [*up, *up[::-1][1:]]
    out = analyze([np.full((128, 72, 3), level) for level in levels])
    if first == 0.0:
        assert [t.label for t in out.transitions] == ["fade from black", "fade to black"]
        assert out.times == []
    else:
        assert [t.label for t in out.transitions] == ["fade through black"]
        assert out.times == [pytest.approx(39 / FPS, abs=0.1)]


@pytest.mark.slow
def test_times_of_a_variable_rate_come_from_timestamps(real_media, settings):
    """The last picture of the old shot is at 7.908 s, the first of the new one at 8.108 s."""
    thumbs = decode(real_media / "odd/vfr_nasa.mp4", {"thumbs"}, settings).tracks["thumbs"]
    hard = [t for t in CutAnalysis().analyze(thumbs).transitions if t.kind == "hard"]
    assert [t.start for t in hard] == [pytest.approx(8.108, abs=0.002)]


@pytest.mark.slow
def test_an_animation(real_media, settings):
    """It opens from black; a title that fades in and out over a still picture is not a dissolve."""
    thumbs = decode(real_media / "video/bbb_0_30_vp8.webm", {"thumbs"}, settings).tracks["thumbs"]
    out = CutAnalysis().analyze(thumbs)
    assert [t.kind for t in out.transitions] == ["fade", "hard", "hard", "hard"]
    assert out.transitions[0].new_shot is None
    assert out.times == pytest.approx([283 / 24, 376 / 24, 551 / 24], abs=1 / 24)


@pytest.mark.slow
def test_a_real_dissolve_has_the_same_extent_at_a_variable_rate(real_media, settings):
    """The same film whole and with half of its pictures dropped.

    The whole one is tagged PQ and shown so: of more contrast, its dissolve is the steeper one.
    """
    extents = []
    for name in ("hevc_hdr_nasa", "vfr_nasa"):
        thumbs = decode(real_media / f"odd/{name}.mp4", {"thumbs"}, settings).tracks["thumbs"]
        soft, hard = CutAnalysis().analyze(thumbs).transitions
        assert (soft.kind, hard.kind) == ("dissolve", "hard")
        extents.append(soft.span)
    assert extents[0] == pytest.approx(extents[1], abs=0.3)


@pytest.mark.slow
def test_every_awkward_file(real_media, settings):
    seen = 0
    for path in sorted((real_media / "odd").iterdir()):
        try:
            thumbs = decode(path, {"thumbs"}, settings).tracks["thumbs"]
        except InputError:
            continue
        out = CutAnalysis().analyze(thumbs)
        assert out.shots[0].start == 0, path.name
        assert out.shots[-1].end == pytest.approx(thumbs.end), path.name
        seen += 1
    assert seen > 10


@pytest.mark.slow
def test_hard_cuts_are_those_of_pyscenedetect(real_media, settings):
    """Its AdaptiveDetector, on the same thumbs."""
    import cv2
    from scenedetect import AdaptiveDetector, FrameTimecode

    path = real_media / "video/short_vertical_composite.mp4"
    thumbs = decode(path, {"thumbs"}, settings).tracks["thumbs"]
    detector = AdaptiveDetector()
    theirs = [
        cut.frame_num
        for k, (_, rgb) in enumerate(thumbs.rgbs())
        for cut in detector.process_frame(
            FrameTimecode(k, fps=30.0), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        )
    ]
    assert CutAnalysis().analyze(thumbs).times == pytest.approx([k / 30 for k in theirs])


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
        frames(bordered(still(0, 2.0), still(2, 2.0), 0.8, wiped("left")), noise=2.0),
        frames(bordered(still(4, 2.0), still(1, 2.0), 0.6, slid("push", "up")), noise=2.0),
    ]
    slower = Frames(cases[0].times * 1.2, cases[0].i420, cases[0].end * 1.2)
    return [(CutAnalysis(), {"thumbs": case}) for case in (*cases, slower)]
