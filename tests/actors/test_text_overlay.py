"""Captions as overlays: with a reader that knows a few words, and with the real one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from actors.text_overlay import (
    Overlay,
    Overlays,
    TextOptions,
    TextOverlay,
    Unread,
    compose,
    doubtful,
    find_lines,
    read_upright,
    report,
    unreadable,
)
from benchmarks.factory import Recipe
from benchmarks.factory import captions as factory_captions
from tests.test_text_lines import stay
from tiktok_ray.analyzer import Analyzer, Partial
from tiktok_ray.media import Frames, decode
from tiktok_ray.media.writer import write_clip
from tiktok_ray.methods.text.text_lines import Line
from tiktok_ray.report import undeclared
from tiktok_ray.settings import Settings

WIDTH, HEIGHT = 270, 480
FONT = cv2.FontFace("sans")
Picture = NDArray[np.uint8]
COMPOSITE = "video/short_vertical_composite.mp4"


NOISE = np.random.default_rng(0).normal(0, 2, (HEIGHT, 4 * WIDTH)).astype(np.float32)


def ground(t: float = 0.0) -> Any:
    """A soft, slowly drifting ground with faint noise, a fresh copy."""
    xs, ys = np.arange(WIDTH)[None], np.arange(HEIGHT)[:, None]
    waves = 90 + 25 * np.sin(xs / 60 + t) + 15 * np.cos(ys / 90 - 2 * t)
    shift = round(t * 1000) * 37 % (3 * WIDTH)
    gray = (waves + NOISE[:, shift : shift + WIDTH]).clip(0, 160).astype(np.uint8)
    return np.repeat(gray[..., None], 3, 2)


def write(picture: Any, text: str, at: tuple[float, float], size: int = 26) -> Any:
    """White text with a dark rim; ``at`` is the left end of its baseline in shares."""
    x, y = round(at[0] * WIDTH), round(at[1] * HEIGHT)
    for dx, dy in ((-2, 0), (2, 0), (0, -2), (0, 2), (-1, -1), (1, 1), (-1, 1), (1, -1)):
        _, picture = cv2.putText(picture, text, (x + dx, y + dy), (0,) * 3, FONT, size, 600)
    _, picture = cv2.putText(picture, text, (x, y), (255,) * 3, FONT, size, 600)
    return picture


def film(show: Callable[[Any, float], Any], fps: float, end: float) -> Frames:
    """Pictures of ``show(ground, t)`` at a rate."""
    times = [k / fps for k in range(round(end * fps))]
    return Frames.of(times, [show(ground(t), t) for t in times], end)


def both(show: Callable[[Any, float], Any], end: float) -> dict[str, Frames]:
    return {"frames": film(show, 2, end), "dense": film(show, 10, end)}


class Words:
    """Reads bright words it knows by how well their drawn shapes fit; counts what it does."""

    def __init__(self, *words: str) -> None:
        self.shapes = {word: self.shape(self.drawn(word)) for word in words}
        self.searched, self.read_count = 0, 0

    @staticmethod
    def drawn(word: str) -> Any:
        canvas: Any = np.zeros((100, 700, 3), np.uint8)
        return write(canvas, word, (0.1, 0.15), 40)

    @staticmethod
    def shape(picture: Picture) -> NDArray[np.float64]:
        bright = picture.min(2) > 170
        ys, xs = np.nonzero(bright)
        if not len(ys):
            return np.zeros((12, 96))
        tight = bright[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1].astype(np.uint8)
        small: Any = cv2.resize(tight * 255, (96, 12), interpolation=cv2.INTER_AREA)
        shape: NDArray[np.float64] = small.astype(float) - small.mean()
        return shape

    def detect(self, rgb: Picture) -> NDArray[np.float64]:
        self.searched += 1
        near = ndimage.binary_dilation(rgb.min(2) > 170, np.ones((5, 25)))
        patches, _ = ndimage.label(near)
        quads = []
        for ys, xs in ndimage.find_objects(patches):
            x0, x1, y0, y1 = xs.start + 8, xs.stop - 8, ys.start, ys.stop
            if x1 - x0 > 8 and y1 - y0 > 8:
                quads.append([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        return np.array(quads, float).reshape(-1, 4, 2)

    def read(self, rgb: Picture) -> tuple[str, float]:
        self.read_count += 1
        seen = self.shape(rgb)
        fits = {
            word: float((seen * s).sum() / max(1e-9, np.sqrt((seen**2).sum() * (s**2).sum())))
            for word, s in self.shapes.items()
        }
        best = max(fits, key=lambda word: fits[word])
        return best, max(0.0, min(1.0, fits[best] + 0.15))


KNOWN = ("FIRST", "second one", "@owner", "LONG CAPTION", "sign here", "NOW", "HERE", "WE", "GO")


def ready(**options: Any) -> TextOverlay:
    analyzer = TextOverlay(TextOptions(**options))
    analyzer._reader = Words(*KNOWN)
    return analyzer


def analyzed(analyzer: TextOverlay, *tracks: Any, **named: Any) -> Overlays:
    """What it finds, whether or not some text could not be read."""
    found = analyzer.analyze(*tracks, **named)
    output = found.output if isinstance(found, Partial) else found
    assert isinstance(output, Overlays)
    return output


class Blind(Words):
    """Finds what is written and is sure of no reading."""

    def read(self, rgb: Picture) -> tuple[str, float]:
        return "illegible", 0.4


def blind() -> TextOverlay:
    analyzer = ready()
    analyzer._reader = Blind(*KNOWN)
    return analyzer


def captions(picture: Any, t: float) -> Any:
    """Two captions one after the other, and an owner's mark throughout."""
    picture = write(picture, "@owner", (0.05, 0.06), 14)
    if t < 1.3 - 1e-6:
        return write(picture, "FIRST", (0.3, 0.5))
    return write(picture, "second one", (0.2, 0.5)) if 2.2 - 1e-6 <= t < 3.7 - 1e-6 else picture


def sliding(picture: Any, t: float) -> Any:
    """A printed sign, unevenly lit, that the camera passes; two captions below each other."""
    printed: Any = np.zeros_like(picture)
    printed = write(printed, "sign here", (0.1 + 0.06 * t, 0.3), 22)
    light = (
        np.linspace(0.7, 1.0, WIDTH)[None, :, None] * np.linspace(1, 0.75, HEIGHT)[:, None, None]
    )
    picture = np.maximum(picture // 2, (printed * light).astype(np.uint8))
    return write(picture, "LONG CAPTION", (0.1, 0.8)) if t < 2 else picture


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    """An owner's mark with two captions; a sign before a passing camera; nothing written."""
    alone = film(captions, 2, 4)
    return [
        (ready(), both(captions, 4)),
        (ready(), both(sliding, 3)),
        (ready(), both(lambda picture, _: picture, 1)),
        (ready(), {"frames": alone, "dense": None}),
        (blind(), both(captions, 4)),
        (blind(), both(lambda p, _: write(p, "FIRST", (0.3, 0.4), 24), 2)),
    ]


class Upside:
    """A reader that is sure of what stands upright alone: the brighter half is above."""

    def detect(self, rgb):
        return np.zeros((0, 4, 2))

    def read(self, rgb):
        upright = rgb[: len(rgb) // 2].mean() > rgb[len(rgb) // 2 :].mean()
        return ("UP", 0.97) if upright else ("dn", 0.6)


def test_a_line_upside_down_is_read_the_other_way():
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:10] = 200
    assert read_upright(Upside(), picture) == ("UP", 0.97)
    assert read_upright(Upside(), picture[::-1]) == ("UP", 0.97)


def test_what_is_written_and_cannot_be_read_is_told():
    partial = blind().analyze(**both(captions, 4))
    assert isinstance(partial, Partial)
    (missing,) = partial.missing
    assert (missing.part, "easyocr" in missing.reason) == ("reading of some lines", True)
    assert isinstance(partial.output, Overlays)
    starts = [(one.start, one.end) for one in partial.output.unread]
    assert (0.0, 4.0) in starts
    assert any(end - start < 2 for start, end in starts)
    assert partial.output.overlays == []
    count = len(partial.output.unread)
    assert partial.output.headline() == f"unreadable text in {count} places"


@pytest.mark.parametrize(("text", "confidence"), [("?", 0.93), ("T", 0.84)])
def test_a_sign_or_a_letter_too_weak_to_tell_is_named_as_unread(text, confidence):
    detected = [
        [
            Line(
                k / 2,
                np.array([[0.2, 0.4], [0.8, 0.4], [0.8, 0.5], [0.2, 0.5]]),
                text,
                confidence,
                0.9,
            )
        ]
        for k in range(4)
    ]
    frames: Any = SimpleNamespace(times=np.arange(4) / 2, end=2.0)
    (found,) = unreadable(frames, detected, [], 0.8)
    assert (found.start, found.end) == (0.0, 2.0)
    sure = [[replace(line, text="TOP", confidence=0.9) for line in lines] for lines in detected]
    assert unreadable(frames, sure, [], 0.8) == []


def test_a_title_that_fades_in_over_a_busy_ground_is_unread_from_its_first_whole_sample():
    """The ground is taken for a line before, and the fading title for one with it."""
    boxes = (
        [(0.05, 0.2, 1.0, 0.9)] * 3 + [(0.14, 0.11, 0.81, 0.71)] + [(0.24, 0.14, 0.78, 0.63)] * 4
    )
    evens = [0.15] * 3 + [0.05] + [0.6] + [0.8] * 3
    detected = [
        [Line(k / 2, np.array([[a, b], [c, b], [c, d], [a, d]]), "BUNKY", 0.2, even)]
        for k, ((a, b, c, d), even) in enumerate(zip(boxes, evens, strict=True))
    ]
    flat = np.zeros((64, 64, 3), np.uint8)
    frames = Frames.of([k / 2 for k in range(8)], [flat] * 8, 4.0)
    (found,) = unreadable(frames, detected, [], 0.8)
    assert (found.start, found.end) == (2.0, 4.0)


def lines_of(text, confidence, samples, left=0.2, down=0.0):
    """A line of each of some samples, half a second apart."""
    corners = np.array([[left, 0.4], [1 - left, 0.4], [1 - left, 0.5], [left, 0.5]])
    return {
        k: Line(k / 2, corners + np.array([0, down * k]), text, confidence, 0.9) for k in samples
    }


def test_a_line_that_moves_and_cannot_be_read_is_named():
    there = lines_of("?", 0.3, range(4), down=0.04)
    frames: Any = SimpleNamespace(times=np.arange(4) / 2, end=2.0)
    found = unreadable(frames, [[there[k]] for k in range(4)], [], 0.8)
    assert [(one.start, one.end) for one in found] == [(0.0, 1.0), (1.0, 2.0)]


def test_a_brief_word_among_captions_that_cannot_be_read_is_named():
    told = [
        Overlay(text="T", lines=["T"], box=[0.2, 0.4, 0.8, 0.5], confidence=1.0, kind="caption",
                order=0, travel=0.0, edge_s=0.1, start=start, end=start + 0.5)
        for start in (0.0, 1.0)
    ]  # fmt: skip
    there = lines_of("EI", 0.9, range(3))
    frames: Any = SimpleNamespace(times=np.arange(3) / 2, end=1.5)
    detected = [[there[k]] for k in range(3)]
    (found,) = unreadable(frames, detected, told, 0.8)
    assert (found.start, found.end) == (0.5, 1.0)
    assert unreadable(frames, detected[:2], told[:1], 0.8) == []


@pytest.mark.parametrize("begins", [(0.0, 0.5), (1.5, 2.0)])
def test_a_brief_word_that_ends_or_begins_captions_is_named(begins):
    told = [shown("THE", start, start + 0.5) for start in begins]
    there = lines_of("EI", 0.9, range(5))
    frames: Any = SimpleNamespace(times=np.arange(5) / 2, end=2.5)
    detected = [[], [], [there[2]], [], []]
    (found,) = unreadable(frames, detected, told, 0.8)
    assert (found.start, found.end) == (1.0, 1.5)
    assert unreadable(frames, detected, told[-1:] if begins[0] else told[:1], 0.8) == []


def test_a_brief_word_beside_others_that_cannot_be_read_is_named_too():
    brief, long_ = lines_of("?", 0.3, [0], left=0.45), lines_of("?", 0.3, range(1, 4))
    frames: Any = SimpleNamespace(times=np.arange(4) / 2, end=2.0)
    detected = [[brief[0]], *([long_[k]] for k in range(1, 4))]
    found = unreadable(frames, detected, [], 0.8)
    assert sorted((one.start, one.end) for one in found) == [(0.0, 0.5), (0.5, 2.0)]
    assert unreadable(frames, [detected[0], [], [], []], [], 0.8) == []


def test_a_brief_word_beside_one_whose_reading_is_not_trusted_is_named():
    brief = lines_of("7712", 0.7, [0])
    frames: Any = SimpleNamespace(times=np.arange(4) / 2, end=2.0)
    detected = [[brief[0]], [], [], []]
    told = [shown("210", 1.5, 2.0)]
    misread = [Unread(start=1.5, end=2.0, box=[0.2, 0.4, 0.8, 0.5])]
    (found,) = unreadable(frames, detected, told, 0.8, misread)
    assert (found.start, found.end) == (0.0, 0.5), "two samples may lie between"
    assert unreadable(frames, detected, told, 0.8) == []


@pytest.mark.parametrize(("moves", "named"), [(0, True), (12, False)])
def test_words_lit_in_turn_are_told_by_coming_and_going_where_all_around_stays(moves, named):
    """Unevenly filled as what is filmed is; that moves with its ground."""
    shown = []
    for k in range(6):
        picture = np.roll(ground(), moves * k, axis=1)
        if 1 <= k < 5 or moves:
            picture = np.roll(write(picture, "HILLTOP", (0.25, 0.48)), moves * k, axis=1)
        shown.append(picture)
    frames = Frames.of([k / 2 for k in range(6)], shown, 3.0)
    corners = np.array([[0.2, 0.42], [0.8, 0.42], [0.8, 0.5], [0.2, 0.5]])
    by = np.array([moves / WIDTH, 0])
    detected = [
        [Line(k / 2, corners + k * by, "?", 0.3, 0.2)] if 1 <= k < 5 or moves else []
        for k in range(6)
    ]
    found = unreadable(frames, detected, [], 0.8)
    assert [(one.start, one.end) for one in found] == ([(0.5, 2.5)] if named else [])


def shown(text, start, end):
    return Overlay(text=text, lines=[text], box=[0.3, 0.4, 0.7, 0.5], confidence=0.99, order=0,
                   kind="caption", travel=0.0, edge_s=0.1, start=start, end=end)  # fmt: skip


def test_a_short_reading_among_text_that_cannot_be_read_is_not_trusted():
    lost = [Unread(start=1.0, end=3.0, box=[0.2, 0.4, 0.8, 0.5])]
    short, long_ = shown("AULI", 0.4, 1.0), shown("AULIORA", 3.0, 3.6)
    assert doubtful([short, long_], lost) == [short]
    elsewhere = short.model_copy(update={"box": [0.3, 0.1, 0.7, 0.2]})
    later = shown("AULI", 4.5, 5.0)
    assert doubtful([elsewhere, later], lost) == []
    mostly_read = [shown(word, k, k + 0.5) for k, word in ((0.0, "WAIT"), (0.5, "for"), (3, "you"),
                                                           (3.5, "in"), (4.0, "the"))]  # fmt: skip
    assert doubtful(mostly_read, lost) == []


def test_a_word_of_letters_that_look_cyrillic_is_not_trusted_where_the_rest_cannot_be_read():
    lost = [Unread(start=1.0, end=3.0, box=[0.2, 0.4, 0.8, 0.5])]
    city, winter = shown("MOCKBA", 5.0, 6.5), shown("WINTER", 5.0, 6.5)
    assert doubtful([city], lost) == [city]
    assert doubtful([winter], lost) == []
    assert doubtful([city], []) == []
    read = [shown("Watch till the end", 3.0, 4.0), shown("Save this for later", 6.5, 8.0)]
    assert doubtful([*read, city], lost) == []


def test_digits_within_words_are_not_read_upside_down():
    class Jumbled(Upside):
        def read(self, rgb):
            text, confidence = super().read(rgb)
            return ("S0V31 1dX3rl", confidence) if text == "UP" else (text, 0.3)

    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:10] = 200
    assert read_upright(Jumbled(), picture[::-1])[0] != "S0V31 1dX3rl"


def texts(found: Overlays) -> list[str]:
    return [overlay.text for overlay in found.overlays]


def one(found: Overlays, text: str) -> Overlay:
    (overlay,) = (o for o in found.overlays if o.text == text)
    return overlay


def test_each_text_is_one_overlay_with_its_edges_kind_and_order():
    found = analyzed(ready(), **both(captions, 4))
    assert texts(found) == ["@owner", "FIRST", "second one"]
    mark, first, second = found.overlays
    assert (mark.start, mark.end) == (0, 4)
    assert (first.start, first.end) == pytest.approx((0, 1.3))
    assert (second.start, second.end) == pytest.approx((2.2, 3.7))
    assert [o.kind for o in found.overlays] == ["watermark", "caption", "caption"]
    assert [o.order for o in found.overlays] == [0, 1, 1]
    assert first.box[0] == pytest.approx(0.3, abs=0.05)
    assert first.box[3] == pytest.approx(0.51, abs=0.03)
    assert found.share == 1
    assert found.reading_speed == pytest.approx((5 / 1.3 + 9 / 1.5) / 2)
    assert found.headline() == "2 captions, 1 watermark; text in 100% of the frames"
    (event,) = (e for e in found.events() if e.label == "FIRST")
    assert (event.kind, event.start, event.end) == ("text", first.start, first.end)


def test_without_the_dense_track_edges_are_known_to_half_a_sample():
    found = analyzed(ready(), film(captions, 2, 4), None)
    assert texts(found) == ["@owner", "FIRST", "second one"]
    second = one(found, "second one")
    assert (second.start, second.end) == pytest.approx((2.25, 4.0))
    assert second.edge_s == pytest.approx(0.5)


def test_a_sign_before_a_passing_camera_is_scene_text():
    found = analyzed(ready(), **both(sliding, 3))
    sign = one(found, "sign here")
    assert sign.kind == "scene_text"
    assert sign.travel == pytest.approx(0.06 * 2.5 / 2**0.5, abs=0.02)
    assert one(found, "LONG CAPTION").kind == "caption"


def test_words_shorter_than_the_sampling_are_found_between_samples():
    words = ("NOW", "HERE", "WE", "GO")

    def show(picture: Any, t: float) -> Any:
        k = int((t + 1e-6) / 0.3)
        return write(picture, words[k], (0.3, 0.6)) if k < len(words) else picture

    found = analyzed(ready(), **both(show, 2))
    assert [(o.text, round(o.start, 2), round(o.end, 2)) for o in found.overlays] == [
        ("NOW", 0, 0.3),
        ("HERE", 0.3, 0.6),
        ("WE", 0.6, 0.9),
        ("GO", 0.9, 1.2),
    ]
    sparse = analyzed(ready(searches=0), **both(show, 2))
    assert texts(sparse) == ["NOW", "HERE", "GO"]


def test_a_caption_that_slides_in_and_out_is_one():
    def show(picture: Any, t: float) -> Any:
        x = 0.1 + max(0.0, 1.2 - t) * 1.5 - max(0.0, t - 3) * 1.5
        return write(picture, "LONG CAPTION", (x, 0.6))

    found = analyzed(ready(), **both(show, 4))
    assert texts(found) == ["LONG CAPTION"]
    (overlay,) = found.overlays
    assert overlay.start == pytest.approx(1.1, abs=0.3)
    assert overlay.end == pytest.approx(3.1, abs=0.3)
    assert overlay.kind == "caption"


def test_still_pictures_are_searched_once_and_a_still_line_read_few_times():
    def still(_: Any, __: float) -> Any:
        return write(ground(0), "FIRST", (0.3, 0.5))

    words = Words("FIRST")
    found = find_lines(film(still, 2, 6), words, 3)
    assert [len(lines) for lines in found] == [1] * 12
    assert (words.searched, words.read_count) == (1, 1)

    def shaken(_: Any, t: float) -> Any:
        noise = np.random.default_rng(round(t * 10)).integers(0, 60, (60, WIDTH, 1))
        picture = write(ground(0), "FIRST", (0.3, 0.5))
        picture[400:460] = noise
        return picture

    words = Words("FIRST")
    found = find_lines(film(shaken, 2, 6), words, 3)
    assert [line.text for lines in found for line in lines] == ["FIRST"] * 12
    assert (words.searched, words.read_count) == (12, 2)  # a third could not outvote these


class Wavering(Words):
    """Words that read a line in another way each time, as they are told."""

    def __init__(self, *readings: tuple[str, float]) -> None:
        super().__init__("FIRST")
        self.readings = readings

    def read(self, rgb: Picture) -> tuple[str, float]:
        super().read(rgb)
        return self.readings[min(self.read_count, len(self.readings)) - 1]


@pytest.mark.parametrize(
    ("readings", "times"),
    [
        ((("FIRST", 0.95), ("FIRST", 0.95)), 2),
        ((("FIRST", 0.95), ("F1RST", 0.95), ("FIRST", 0.95)), 3),
        ((("FIRST", 0.95), ("F1RST", 0.95), ("F1RST", 0.95), ("FIRST", 0.95)), 3),
    ],
)
def test_a_line_is_read_until_no_other_reading_could_win(readings, times):
    def shaken(_: Any, t: float) -> Any:
        picture = write(ground(0), "FIRST", (0.3, 0.5))
        picture[400:460] = np.random.default_rng(round(t * 10)).integers(0, 60, (60, WIDTH, 1))
        return picture

    reader = Wavering(*readings)
    find_lines(film(shaken, 2, 6), reader, 3)
    assert reader.read_count == times


def test_weak_readings_that_agree_are_not_enough():
    def shaken(_: Any, t: float) -> Any:
        picture = write(ground(0), "FIRST", (0.3, 0.5))
        picture[400:460] = np.random.default_rng(round(t * 10)).integers(0, 60, (60, WIDTH, 1))
        return picture

    reader = Wavering(*[("FIRST", 0.4)] * 9)
    find_lines(film(shaken, 2, 6), reader, 3)
    assert reader.read_count == 3 * 2  # each weak one upside down, too


def test_an_owners_mark_by_name_and_by_presence():
    edge: dict[str, Any] = {"at": (0.05, 0.05), "size": (0.2, 0.03)}
    middle: dict[str, Any] = {"at": (0.4, 0.5), "size": (0.2, 0.03)}
    large: dict[str, Any] = {"at": (0.05, 0.05), "size": (0.4, 0.1)}

    def kinds(*stays: Any, end: float = 10) -> list[str]:
        return [o.kind for o in compose(stays, 0.5625, end)]

    assert kinds(stay("© Jane Doe", 1, 2, **edge)) == ["watermark"]
    assert kinds(stay("www.example.com", 1, 2, **edge)) == ["watermark"]
    assert kinds(stay("Jane Doe", 1, 9, **edge)) == ["watermark"]
    assert kinds(stay("Jane Doe", 1, 4, **edge)) == ["caption"]
    assert kinds(stay("Jane Doe", 0, 4, **edge), stay("Jane Doe", 6, 9, **edge)) == [
        "watermark",
        "watermark",
    ]
    assert kinds(stay("© Jane Doe", 1, 9, **middle)) == ["caption"]
    assert kinds(stay("Jane Doe", 1, 9, **large)) == ["caption"]


def test_a_block_takes_its_lines_ends_and_weighs_their_confidence():
    upper = stay("ten letters", 1.0, 3.0, at=(0.2, 0.5))
    lower = stay("x", 1.1, 3.1, at=(0.2, 0.59))
    (overlay,) = compose([lower, upper], 0.5625, 5)
    assert overlay.lines == ["ten letters", "x"]
    assert overlay.text == "ten letters x"
    assert (overlay.start, overlay.end) == (1.0, 3.1)
    assert overlay.confidence == pytest.approx(0.99)


def test_a_report_counts_each_text_and_second_once():
    same = [stay("HELLO YOU", 0, 2, at=(0.2, 0.2)), stay("HELLO YOU", 1, 3, at=(0.2, 0.7))]
    found = report(compose(same, 1.0, 6), 6, ["de"])
    assert found.text == "HELLO YOU"
    assert found.on_screen_s == 3
    assert found.share == 0.5
    assert found.reading_speed == 4
    assert report([], 6, []).headline() == "no text"


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.floats(0.15, 1.4), st.floats(1.9, 3.2))
def test_edges_follow_the_truth(start, end):
    def show(picture: Any, t: float) -> Any:
        return write(picture, "FIRST", (0.3, 0.5)) if start <= t < end else picture

    found = analyzed(ready(), **both(show, 4))
    (overlay,) = found.overlays
    assert 0 <= overlay.start - start <= 0.1 + 1e-6
    assert 0 <= overlay.end - end <= 0.1 + 1e-6


def test_the_reader_is_an_option():
    assert [v.name for v in TextOverlay.variants_for(TextOptions())] == ["rapidocr"]
    easy = TextOptions.model_validate({"reader": "easyocr"})
    assert [v.name for v in TextOverlay.variants_for(easy)] == ["easyocr"]
    with pytest.raises(ValueError, match="reader"):
        TextOptions.model_validate({"reader": "tesseract"})


def test_every_field_is_declared():
    assert list(undeclared(Overlays)) == []


# --- the real reader --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> TextOverlay:
    analyzer = TextOverlay()
    variant = analyzer.variants[0]
    files = {key: w.locate(Path("/nowhere")) for key, w in variant.weights.items()}
    analyzer.load(variant, "cpu", {key: place for key, place in files.items() if place})
    return analyzer


def read(real: TextOverlay, path: Path) -> Overlays:
    tracks = decode(path, {"frames", "dense"}, Settings()).tracks
    return analyzed(real, tracks["frames"], tracks["dense"])


@pytest.mark.slow
def test_accents_come_back_as_written(real, tmp_path):
    def show(t: float) -> Any:
        drawn = ground(t)
        return write(drawn, "Schöne Grüße, Café!", (0.04, 0.4), 24) if 0.6 <= t < 1.8 else drawn

    clip = write_clip(tmp_path / "clip.mp4", (show(k / 20) for k in range(50)), fps=20)
    (overlay,) = read(real, clip).overlays
    assert overlay.text == "Schöne Grüße, Café!"
    assert overlay.kind == "caption"
    assert (overlay.start, overlay.end) == pytest.approx((0.6, 1.8), abs=0.11)
    assert overlay.confidence > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("seed", [40004, 40010, 60004])
def test_captions_that_move_and_follow_each_other_keep_their_times(real, tmp_path, seed):
    path = tmp_path / "clip.mp4"
    truth = factory_captions.make(Recipe("captions", "Latin", "moving", seed), path)["captions"]
    found = {overlay.text: overlay for overlay in read(real, path).overlays}
    for one in truth:
        told = found[one["text"]]
        assert (told.start, told.end) == pytest.approx((one["start"], one["end"]), abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("words", ["Really love this", "We love this thing a lot"])
def test_a_text_being_typed_is_one_overlay(real, words):
    def show(picture: Any, t: float) -> Any:
        return write(picture, words[: max(0, int((t - 0.4) * 14))], (0.05, 0.6), 16)

    found = analyzed(real, **both(show, 4))
    assert texts(found) == [words]
    assert found.overlays[0].start == pytest.approx(0.55, abs=0.3)


@pytest.mark.slow
def test_a_fading_caption_is_one_with_its_edges_in_the_fades(real):
    def show(picture: Any, t: float) -> Any:
        share = np.clip(min(t - 0.5, 3.5 - t), 0, 1)
        return cv2.addWeighted(
            write(picture.copy(), "FADING SLOWLY", (0.05, 0.5)), share, picture, 1 - share, 0
        )

    found = analyzed(real, **both(show, 4))
    assert texts(found) == ["FADING SLOWLY"]
    assert 0.5 < found.overlays[0].start < 1.1
    assert 2.9 < found.overlays[0].end <= 3.5


@pytest.mark.slow
def test_rising_credits_are_read_in_order(real):
    lines = ("Directed by", "Anna Schmidt", "Music by", "Jean Dupont")

    def show(picture: Any, t: float) -> Any:
        for k, text in enumerate(lines):
            picture = write(picture, text, (0.15, 1.15 + 0.08 * k - 0.25 * t), 20)
        return picture

    found = analyzed(real, **both(show, 5))
    assert " ".join(texts(found)) == " ".join(lines)


def plain(text: str) -> list[str]:
    return re.findall(r"[\w.]+", text.casefold())


@pytest.mark.slow
def test_composite_captions(real, real_media):
    found = read(real, real_media / COMPOSITE)
    wanted = [
        ("LIP READING TEST", 0, 3),
        ("STEP ONE", 3, 6),
        ("BUS STOP", 6, 9),
        ("THUMBS UP", 9, 14),
        ("STEP TWO", 14, 17),
        ("GREAT BIKE", 17, 20),
    ]
    drawn = [o for o in found.overlays if o.kind == "caption"]
    assert [o.text for o in drawn] == [text for text, *_ in wanted]
    for overlay, (_, start, end) in zip(drawn, wanted, strict=True):
        assert abs(overlay.start - start) <= 0.15
        assert abs(overlay.end - end) <= 0.15
    others = [o for o in found.overlays if o.kind != "caption"]
    assert all(o.kind == "scene_text" and o.start >= 6 and o.end <= 9 for o in others)


@pytest.mark.slow
def test_counter_shows_every_frame(real, real_media):
    found = read(real, real_media / "video/psd_counter.mp4")
    shown = [o for o in found.overlays if "Frame" in o.text]
    assert len(shown) == 30
    for k, overlay in enumerate(shown):
        assert overlay.lines == [f"Frame = {k + 1}", f"PTS = {k / 10:.1f}s"]
        assert (overlay.start, overlay.end) == pytest.approx((k / 10, (k + 1) / 10), abs=0.01)


@pytest.mark.slow
def test_copyright_is_a_watermark(real, real_media):
    found = read(real, real_media / "video/psd_testvideo.mp4")
    assert [(o.text, o.kind) for o in found.overlays] == [
        ("Copyright © 2013 Brandon Castellano", "watermark"),
        ("www.bcastell.com", "watermark"),
    ]
    assert all(o.start < 0.6 and o.end > 23.7 for o in found.overlays)


@pytest.mark.slow
def test_a_slide_is_read_line_by_line(real, real_media, tmp_path):
    still: Any = cv2.imread(str(real_media / "still/easyocr_english.png"))
    still = still[: still.shape[0] // 2 * 2, : still.shape[1] // 2 * 2, ::-1]
    clip = write_clip(tmp_path / "slide.mp4", [still] * 30, fps=15)
    found = read(real, clip)
    wanted = (
        "Reduce your risk of coronavirus infection:",
        "Clean hands with soap and water",
        "or alcohol-based hand rub",
        "Cover nose and mouth when coughing and",
        "sneezing with tissue or flexed elbow",
        "Avoid close contact with anyone with",
        "cold or flu-like symptoms",
        "Thoroughly cook meat and eggs",
        "No unprotected contact with live wild",
        "or farm animals",
        "World Health",
        "Organization",
    )
    lines: Sequence[str] = [line for o in found.overlays for line in o.lines]
    assert [plain(line) for line in lines] == [plain(line) for line in wanted]
    assert all((o.start, o.end) == pytest.approx((0, 2)) for o in found.overlays)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["video/laptop_desk.mp4", "video/gesture_woman.mp4"])
def test_nothing_is_read_where_nothing_is_written(real, real_media, file):
    assert texts(read(real, real_media / file)) == []
