from typing import Any

import numpy as np
import pytest

from actors import color_analysis as ca
from actors.color_analysis import ColorAnalysis
from tiktok_ray.analyzer import Analyzer
from tiktok_ray.demo import photo
from tiktok_ray.media import Frames, decode
from tiktok_ray.media.writer import write_clip

SIZE = (64, 48)


def plain(rgb):
    return np.full((*SIZE, 3), rgb, np.uint8)


def frames(*pictures, step=0.5):
    return Frames.of([k * step for k in range(len(pictures))], pictures, len(pictures) * step)


def halves(left, right):
    picture = plain(left)
    picture[:, SIZE[1] // 2 :] = right
    return picture


def noise(seed, low=0, high=256):
    blocks = np.random.default_rng(seed).integers(low, high, (8, 6, 3), dtype=np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


def gray(picture):
    return picture.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8)


def sepia(picture):
    light = gray(picture)[..., :1] / 255
    return (light * (255, 214, 160)).clip(0, 255).astype(np.uint8)


def graded(picture):
    return (picture * 0.5 + np.array((0, 90, 110))).clip(0, 255).astype(np.uint8)


def analyze(*pictures, **more):
    return ColorAnalysis().analyze(frames(*pictures, **more))


NAMED = {
    "red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "teal": (0, 128, 128),
    "gold": (255, 215, 0), "gray": (128, 128, 128), "black": (0, 0, 0), "white": (255, 255, 255),
    "tomato": (255, 99, 71), "navy": (0, 0, 128), "orchid": (218, 112, 214), "khaki": (240, 230, 140),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
def test_known_colours_are_named_right(name):
    out = analyze(plain(NAMED[name]), plain(NAMED[name]))
    assert [s.name for s in out.palette] == [name]
    assert out.palette[0].share == 1.0
    seen = [int(out.palette[0].hex[k : k + 2], 16) for k in (1, 3, 5)]
    np.testing.assert_allclose(seen, NAMED[name], atol=6)


def test_colours_through_a_real_file(tmp_path, settings):
    pictures = [
        np.full((128, 72, 3), NAMED[n], np.uint8) for n in ("teal", "tomato") for _ in range(45)
    ]
    clip = write_clip(tmp_path / "c.mp4", pictures, fps=30)
    out = ColorAnalysis().analyze(decode(clip, {"frames"}, settings).tracks["frames"])
    assert {s.name for s in out.palette} == {"teal", "tomato"}
    [change] = out.changes
    assert change.time == pytest.approx(1.5, abs=0.01)
    assert (change.before, change.after) == ("teal", "tomato")


def test_shares_of_the_palette_are_those_of_the_picture():
    picture = plain(NAMED["navy"])
    picture[:, :12] = NAMED["gold"]
    out = analyze(picture, picture)
    assert [s.name for s in out.palette] == ["navy", "gold"]
    assert [s.share for s in out.palette] == pytest.approx([0.75, 0.25], abs=0.03)


def test_brightness_contrast_and_saturation_are_lab_figures():
    black_white = analyze(halves((0, 0, 0), (255, 255, 255)))
    assert black_white.brightness == pytest.approx(50, abs=2)
    assert black_white.contrast == pytest.approx(50, abs=2)
    assert black_white.saturation < 2
    red = analyze(plain((255, 0, 0)))
    assert red.brightness == pytest.approx(53.2, abs=1.5)
    assert red.saturation == pytest.approx(104.6, abs=3)
    assert red.contrast == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize(
    ("rgb", "kelvin"), [((255, 255, 255), 6500), ((255, 177, 110), 3200), ((204, 219, 255), 9300)]
)
def test_temperature_of_white_light(rgb, kelvin):
    assert analyze(plain(rgb)).temperature_k == pytest.approx(kelvin, rel=0.12)


@pytest.mark.parametrize("rgb", [(0, 255, 0), (0, 0, 0), (255, 0, 255)])
def test_temperature_is_undefined_far_from_white_light(rgb):
    assert analyze(plain(rgb)).temperature_k is None


def test_the_locus_passes_through_known_points():
    """Illuminants A (2856 K) and the locus near D65, CIE 1960 uv."""
    uv = ca.planck(np.array([2856.0, 6500.0]))
    np.testing.assert_allclose(uv, [[0.2560, 0.3495], [0.2003, 0.3103]], atol=1e-3)


@pytest.mark.parametrize(
    ("treatment", "expected"),
    [(gray, ["monochrome"]), (sepia, ["sepia"]), (graded, ["strong_grade"]), (lambda p: p, [])],
)
def test_filters(treatment, expected):
    out = analyze(*(treatment(noise(k, 40, 220)) for k in range(6)))
    assert [f.kind for f in out.filters] == expected
    assert all(f.share == 1.0 for f in out.filters)
    assert out.headline().endswith("".join(f.words for f in out.filters))


@pytest.mark.parametrize("name", ["astronaut.png", "motorcycle_left.png", "rocket.jpg"])
def test_a_photograph_has_no_look_until_it_is_given_one(name):
    taken = photo(name)[:320:4, :320:4]
    violet = (taken * (1.0, 0.7, 1.1)).clip(0, 255).astype(np.uint8)
    assert analyze(taken).filters == []
    assert [f.kind for f in analyze(violet).filters] == ["strong_grade"]
    assert [f.kind for f in analyze(gray(taken)).filters] == ["monochrome"]
    assert [f.kind for f in analyze(sepia(taken)).filters] == ["sepia"]


def test_a_cast_is_not_claimed_to_be_a_grade():
    words = [f.words for f in analyze(*(graded(noise(k, 40, 220)) for k in range(6))).filters]
    assert words == ["strong colour cast"]
    assert [f.words for f in analyze(gray(noise(0, 40, 220))).filters] == ["monochrome"]


@pytest.mark.parametrize("name", ["black", "blue", "gray"])
def test_one_plain_colour_is_no_look(name):
    assert analyze(plain(NAMED[name])).filters == []


def test_black_has_no_temperature_and_one_name():
    dark = [halves((0, 0, 0), (v, v, v)) for v in (2, 8, 14, 20)]
    out = analyze(*dark)
    assert [s.name for s in out.palette] == ["black"]
    assert analyze(plain((0, 0, 0))).temperature_k is None


def test_a_filter_on_a_minority_of_pictures_is_none():
    out = analyze(gray(noise(1)), *(noise(k) for k in range(4)))
    assert out.filters == []


def test_consistency_falls_with_variety():
    same = analyze(noise(1), noise(1), noise(1)).consistency
    other = analyze(plain(NAMED["red"]), plain(NAMED["teal"]), plain(NAMED["gold"])).consistency
    assert same == pytest.approx(1.0)
    assert other == pytest.approx(1 / 3, abs=0.01)


def test_a_flash_of_colour_is_no_lasting_change():
    red, blue = plain(NAMED["red"]), plain(NAMED["blue"])
    assert analyze(red, red, blue, red, red).changes == []
    assert [c.time for c in analyze(red, red, blue, blue, blue, red, red).changes] == [1.0, 2.5]


def test_two_colours_of_nearly_equal_share_do_not_take_turns():
    pictures = []
    for k in range(8):
        picture = plain(NAMED["navy"])
        picture[:, : 24 + (-1) ** (k // 3) * 2] = NAMED["gold"]
        pictures.append(picture)
    assert analyze(*pictures).changes == []


def test_a_gradual_change_is_one_change():
    ramp = [
        halves((r, 0, b), (30, 30, 30)) for r, b in ((255, 0), (190, 60), (120, 130), (50, 200))
    ]
    pictures = [ramp[0]] * 4 + ramp[1:] + [halves((0, 0, 255), (30, 30, 30))] * 4
    [change] = analyze(*pictures).changes
    assert 2.0 <= change.time <= 3.5
    assert (change.before, change.after) == ("red", "blue")


def test_a_change_is_placed_at_its_picture_where_all_pictures_are_known():
    """The cut lies between two samples, and the new shot takes a while to be steady."""
    red, blue, other = (
        plain(NAMED["red"]),
        plain(NAMED["blue"]),
        halves(NAMED["teal"], NAMED["blue"]),
    )
    sampled = frames(red, red, red, other, blue, blue, blue, blue)
    times = [k / 10 for k in range(40)]
    every = Frames.of(times, [red if t < 1.2 else blue for t in times], 4.0)
    [change] = ColorAnalysis().analyze(sampled, every).changes
    assert change.time == pytest.approx(1.2)


def test_a_change_names_what_goes_and_what_comes():
    """Half stays black; the other half goes from red to teal."""
    first, second = halves((0, 0, 0), NAMED["red"]), halves((0, 0, 0), NAMED["teal"])
    [change] = analyze(first, first, first, second, second).changes
    assert (change.time, change.before, change.after) == (1.5, "red", "teal")
    assert change.share == pytest.approx(0.5, abs=0.03)
    assert change.difference > 40


def test_median_cut_ends_on_one_colour_and_splits_two():
    one = np.zeros((50, 3), np.float32)
    assert ca.median_cut(one, 8).max() == 0
    two = np.concatenate([one, one + 50])
    assert len(set(ca.median_cut(two, 2)[:50])) == 1


def test_the_same_clip_gives_the_same_answer_twice():
    pictures = [noise(k) for k in range(5)]
    assert analyze(*pictures) == analyze(*pictures)


def test_names_that_were_looked_up_before_do_no_harm():
    """Pillow keeps what it looked up in the table of names itself."""
    from PIL import ImageColor

    ImageColor.getrgb("black")
    ca._css.cache_clear()
    assert ca.css_names(np.zeros((1, 3))) == ["black"]


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    red, blue = plain(NAMED["red"]), plain(NAMED["blue"])
    white = plain((255, 240, 220))
    cases = [
        frames(red, red, blue, blue, white, white),
        frames(*(gray(noise(k)) for k in range(4)), noise(9), noise(8)),
        frames(*(sepia(noise(k)) for k in range(5))),
        frames(plain(NAMED["teal"]), *(plain(NAMED["gold"]) for _ in range(3)), step=0.6),
        frames(*(graded(noise(k, 40, 220)) for k in range(3))),
    ]
    return [(ColorAnalysis(), {"frames": case}) for case in cases]


@pytest.mark.slow
def test_colours_of_the_composite(real_media, settings):
    """Colours change where the shots do, except from one dark picture to another at 9 s; a talking
    head before one wall does not change at all."""
    path = real_media / "video/short_vertical_composite.mp4"
    tracks = decode(path, {"frames", "thumbs"}, settings).tracks
    out = ColorAnalysis().analyze(tracks["frames"], tracks["thumbs"])
    assert [c.time for c in out.changes] == pytest.approx([3.0, 6.0, 14.0, 17.0], abs=0.02)
    assert out.filters == []
    assert 0 < sum(s.share for s in out.palette) <= 1.0001
    head = decode(real_media / "video/grid_bbaf2n.mpg", {"frames"}, settings).tracks["frames"]
    still = ColorAnalysis().analyze(head)
    assert still.changes == []
    assert still.consistency > 0.95
    assert still.palette[0].name == "cadetblue"
