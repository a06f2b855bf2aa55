"""Following lines of text: which readings are one, when they come and go, what belongs together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tiktok_ray.media import Frames
from tiktok_ray.methods.text.text_lines import (
    CHANGED,
    DRAWN,
    Line,
    Stay,
    absorb,
    alike,
    blocks,
    cut,
    evenness,
    grows,
    in_reading_order,
    join,
    legible,
    link,
    places,
    refine,
    rows,
    same_text,
    split,
    straighten,
    tilt,
    unread,
    vote,
)
from tiktok_ray.methods.vision.sampling import unchanged

WIDTH, HEIGHT = 320, 192
FONT = cv2.FontFace("sans")


def line(
    text: str,
    t: float = 0.0,
    at: tuple[float, float] = (0.3, 0.5),
    size: tuple[float, float] | None = None,
    confidence: float = 0.99,
    **more: object,
) -> Line:
    """A level line at a corner; as wide as its text unless told."""
    x, y = at
    w, h = size or (0.03 * len(text), 0.08)
    corners = np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)])
    return Line(t, corners, text, confidence, **more)  # type: ignore[arg-type]


def stay(text: str, start: float, end: float, **place: object) -> Stay:
    """A stay with one line at its start and one at its end."""
    ends = [line(text, t, **place) for t in (start, end)]  # type: ignore[arg-type]
    return Stay((), tuple(ends), text, 0.99, start, end, 0.1)


def picture(
    text: str, at: tuple[float, float] = (0.3, 0.55), *, shade: int = 90, seed: int = 0
) -> NDArray[np.uint8]:
    """White text with its baseline's left end at a place, before faint noise."""
    noise = np.random.default_rng(seed).normal(shade, 3, (HEIGHT, WIDTH, 1))
    drawn = np.repeat(noise, 3, 2).clip(0, 255).astype(np.uint8)
    where = round(at[0] * WIDTH), round(at[1] * HEIGHT)
    if text:
        _, drawn = cv2.putText(drawn, text, where, (255, 255, 255), FONT, 24, 700)
    return drawn


def film(show: Callable[[float], str], fps: float, end: float) -> Frames:
    times = np.arange(0, end - 1e-9, 1 / fps).tolist()
    return Frames.of(times, [picture(show(t), seed=round(t * 100)) for t in times], end)


BOX = {"at": (0.28, 0.42), "size": (0.36, 0.18)}


def seen(text: str, times: Sequence[float], frames: Frames) -> Stay:
    """A stay as ``link`` makes it of the samples at these times."""
    samples = tuple(int(np.abs(frames.times - t).argmin()) for t in times)
    lines = tuple(line(text, t, **BOX) for t in times)  # type: ignore[arg-type]
    return Stay(samples, lines, text, 0.99, times[0], times[-1], 0.0)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("STEP ONE", "step one", True),
        ("STEP ONE", "STEPONE", True),
        ("STEP ONE", "STEP TWO", False),
        ("LIP READING TEST", "LIP READlNG TEST", True),
        ("BUS STOP", "8US STOP", True),
        ("Frame = 1", "Frame = 2", False),
        ("Frame = 1", "Frame = 11", False),
        ("Grüße", "Grüße", True),
        ("!", "?", False),
        ("!", "!", True),
    ],
)
def test_readings_of_one_text(a, b, same):
    assert same_text(a, b) is same
    assert same_text(b, a) is same


def test_a_text_being_typed_grows_in_words_and_width():
    assert grows(line("I really"), line("I really love"))
    assert not grows(line("I really love"), line("I really"))
    assert not grows(line("I really"), line("I really love", at=(0.3, 0.8)))
    assert not grows(line("Frame 1"), line("Frame 11"))
    narrow = line("I really love", size=(0.24, 0.08))
    assert not grows(line("I really"), narrow)


def test_the_vote_goes_to_the_surest_sum_and_to_what_stands_at_the_end():
    readings = [line("C0FFEE", confidence=0.9), *[line("COFFEE", confidence=0.8)] * 2]
    text, confidence = vote(readings)
    assert text == "COFFEE"
    assert confidence == pytest.approx(0.8)
    taken_over = [line("AB"), line("XY", fresh=False), line("XY", fresh=False)]
    assert vote(taken_over)[0] == "AB"
    typed = [line("I"), line("I rea"), line("I really"), line("I really"), line("I really love")]
    assert vote(typed)[0] == "I really love"


@given(st.lists(st.booleans(), max_size=12))
def test_split_miscalls_fewest(flags):
    k = split(np.array(flags, bool))

    def wrong(at: int) -> int:
        return sum(not f for f in flags[:at]) + sum(bool(f) for f in flags[at:])

    assert wrong(k) == min(wrong(at) for at in range(len(flags) + 1))


def test_a_still_text_is_linked_over_a_missed_sample_and_a_new_one_is_not():
    times = [0.0, 0.5, 1.0, 1.5, 2.0]
    found = [[line("ONE FISH", t)] for t in times[:2]] + [[]] + [[line("ONE FISH", 1.5)]]
    found.append([line("TWO FISH", 2.0)])
    linked = link(times, found, gap_s=1.1)
    assert [(s.text, s.samples) for s in linked] == [("ONE FISH", (0, 1, 3)), ("TWO FISH", (4,))]


def test_a_moving_text_is_one_and_so_is_one_being_typed():
    times = [0.0, 0.5, 1.0, 1.5]
    slides = [[line("NEWS", t, at=(0.1 + 0.2 * k, 0.5))] for k, t in enumerate(times)]
    (one,) = link(times, slides, gap_s=1.1)
    assert one.travel == pytest.approx(0.6 / 2**0.5)
    typed = [[line("I really love"[: 3 + 3 * k], t)] for k, t in enumerate(times)]
    (whole,) = link(times, typed, gap_s=1.1)
    assert whole.text == "I really lov"
    assert whole.travel == 0
    far = [[line("NEWS", 0.0, at=(0.0, 0.0))], [line("NEWS", 0.5, at=(0.7, 0.8))]]
    assert len(link(times[:2], far, gap_s=1.1)) == 2


@pytest.mark.parametrize(("start", "end"), [(0.8, 2.3), (1.1, 2.6), (0.6, 2.9)])
def test_edges_are_placed_between_the_samples(start, end):
    def show(t: float) -> str:
        return "HELLO YOU" if start - 1e-6 <= t < end - 1e-6 else ""

    frames, dense = film(show, 2, 4), film(show, 10, 4)
    times = [t for t in frames.times.tolist() if show(t)]
    placed = refine(seen("HELLO YOU", times, frames), [], frames, dense)
    assert (placed.start, placed.end) == pytest.approx((start, end))
    assert placed.edge_s == pytest.approx(0.1)
    rough = refine(seen("HELLO YOU", times, frames), [], frames, None)
    assert abs(rough.start - start) <= 0.25 + 1e-6
    assert rough.edge_s == 0.5


def test_a_text_that_was_there_and_not_found_is_taken_in():
    def show(t: float) -> str:
        return "HELLO YOU" if t >= 1.2 - 1e-6 else ""

    frames, dense = film(show, 2, 4), film(show, 10, 4)
    placed = refine(seen("HELLO YOU", [2.5, 3.0], frames), [], frames, dense)
    assert (placed.start, placed.end) == pytest.approx((1.2, 4.0))


def test_a_changed_digit_ends_a_text():
    def show(t: float) -> str:
        return f"TAKE {int(t / 0.7 + 1e-6)}"

    frames, dense = film(show, 2, 3.5), film(show, 10, 3.5)
    stays = [seen(show(t), [t], frames) for t in (1.0, 1.5)]
    first, second = (refine(s, [], frames, dense) for s in stays)
    assert (first.start, first.end) == pytest.approx((0.7, 1.4))
    assert (second.start, second.end) == pytest.approx((1.4, 2.1))


def test_the_last_text_ends_where_the_dense_track_says():
    def show(t: float) -> str:
        return "HELLO YOU" if t < 3.3 - 1e-6 else ""

    frames, dense = film(show, 2, 3.5), film(show, 10, 3.5)
    placed = refine(seen("HELLO YOU", [2.5, 3.0], frames), [], frames, dense)
    assert placed.end == pytest.approx(3.3)


def test_unchanged_pictures_and_alike_lines():
    def gray(text: str, seed: int) -> NDArray[np.uint8]:
        return Frames.of([0], [picture(text, seed=seed)], 1).gray(0)

    assert unchanged(gray("HELLO YOU", 1), gray("HELLO YOU", 2), CHANGED)
    assert not unchanged(gray("HELLO YOU", 1), gray("HELLO TOO", 1), CHANGED)
    box = line("", **BOX).box  # type: ignore[arg-type]
    assert alike(gray("TAKE 12", 1), gray("TAKE 12", 2), box)
    assert not alike(gray("TAKE 12", 1), gray("TAKE 13", 1), box)


def test_a_tilted_line_is_straightened_and_its_angle_known():
    flat = picture("STRAIGHT", (0.25, 0.55))
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 10, 1)
    tilted = cv2.warpAffine(flat, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    corners = np.array([(70, 82), (250, 82), (250, 116), (70, 116)], float)
    moved = np.c_[corners, np.ones(4)] @ turn.T / (WIDTH, HEIGHT)
    level = straighten(tilted, moved)
    wanted = flat[82:116, 70:250]
    assert level.shape == wanted.shape
    assert np.corrcoef(level.ravel(), wanted.ravel())[0, 1] > 0.95
    found = Line(0.0, moved, "STRAIGHT", 0.9)
    assert tilt([found], WIDTH / HEIGHT) == pytest.approx(10, abs=0.3)
    assert tilt([line("STRAIGHT")], WIDTH / HEIGHT) == 0
    standing = straighten(
        np.rot90(flat), np.array([(0.4, 0.1), (0.6, 0.1), (0.6, 0.9), (0.4, 0.9)])
    )
    assert standing.shape[1] > standing.shape[0]


def test_drawn_strokes_are_even_and_printed_ones_are_not():
    drawn = picture("EVENLY", (0.3, 0.55))[80:120, 90:220]
    light = np.linspace(0.35, 1, 130)[None, :, None]
    printed = (drawn * light).astype(np.uint8)
    assert evenness(drawn) > DRAWN > evenness(printed)


@pytest.mark.parametrize(("low", "high"), [(235, 255), (185, 235)])
def test_letters_with_a_rim_are_even_on_a_ground_as_bright_as_they_are(low, high):
    """Half of the ground is bright, as a plate or a coin behind a caption is."""
    letters = picture("EVENLY", (0.3, 0.55), shade=0)[75:125, 80:230].max(2)
    ground = np.full(letters.shape, 40, np.uint8)
    bright = np.random.default_rng(0).integers(low, high, letters.shape, dtype=np.uint8)
    ground[:, 40:115] = bright[:, 40:115]
    rim = cv2.dilate(letters, np.ones((7, 7), np.uint8))
    ground[rim > 128] = 0
    drawn = np.dstack([np.maximum(ground, letters)] * 3)
    assert evenness(drawn) > DRAWN
    bare = np.dstack([cv2.GaussianBlur(ground, (0, 0), 2)] * 3)
    assert evenness(bare) < DRAWN


def test_what_is_filmed_in_the_dark_is_not_even_for_want_of_levels():
    waves = 20 + 9 * np.sin(np.arange(150)[None] / 9) * np.cos(np.arange(50)[:, None] / 7)
    noise = np.random.default_rng(0).normal(0, 1, waves.shape)
    dark = np.dstack([(waves + noise).clip(0, 255).astype(np.uint8)] * 3)
    assert evenness(dark) < DRAWN


def test_lines_of_one_caption_are_a_block_in_reading_order():
    first = stay("first line here", 0, 2, at=(0.2, 0.6))
    second = stay("and a second", 0, 2, at=(0.25, 0.7))
    beside = stay("apart", 0, 2, at=(0.2, 0.1))
    later = stay("later", 2, 4, at=(0.2, 0.7))
    found = blocks([later, second, beside, first], 1.0)
    assert sorted([s.text for s in group] for group in found) == [
        ["apart"],
        ["first line here", "and a second"],
        ["later"],
    ]


def test_words_of_one_row_read_from_the_left():
    world = stay("WORLD", 0, 2, at=(0.5, 0.505))
    hello = stay("HELLO", 0, 2, at=(0.3, 0.5))
    below = stay("below", 0, 2, at=(0.35, 0.6))
    (group,) = blocks([world, below, hello], 1.0)
    assert [[s.text for s in row] for row in rows(group)] == [["HELLO", "WORLD"], ["below"]]


@given(st.permutations(range(6)))
def test_reading_order_does_not_depend_on_the_order_given(order):
    grid = [
        stay(f"{r}{c}", 0, 1, at=(0.1 + 0.4 * c, 0.2 + 0.2 * r)) for r in range(3) for c in (0, 1)
    ]
    assert in_reading_order([grid[k] for k in order]) == grid


def test_moving_lines_are_ordered_by_where_they_stand_together():
    def rising(text: str, y: float, times: Sequence[float]) -> Stay:
        lines = tuple(line(text, t, at=(0.2, y - 0.2 * t)) for t in times)
        return Stay((), lines, text, 0.9, times[0], times[-1] + 0.5, 0.1)

    credits = [rising("music", 0.9, [0.5, 1, 1.5, 2]), rising("film", 0.8, [0, 0.5, 1, 1.5])]
    assert [s.text for s in in_reading_order(credits)] == ["film", "music"]


def test_stays_that_follow_each_other_are_joined():
    one = join([stay("WORDS", 0, 1), stay("WORDS", 1.1, 2), stay("OTHER", 2, 3)], gap_s=0.15)
    assert [(s.text, s.start, s.end) for s in one] == [("WORDS", 0, 2), ("OTHER", 2, 3)]
    assert len(join([stay("WORDS", 0, 1), stay("WORDS", 1.5, 2)], gap_s=0.15)) == 2
    elsewhere = stay("WORDS", 1, 2, at=(0.3, 0.1))
    assert len(join([stay("WORDS", 0, 1), elsewhere], gap_s=0.15)) == 2


def test_pieces_at_the_edge_belong_to_the_whole_and_words_do_not():
    whole = stay("SLIDING TITLE", 1.0, 3.0, at=(0.2, 0.5))
    piece = stay("SLID", 0.8, 1.0, at=(0.88, 0.5), size=(0.12, 0.08))
    (one,) = absorb([piece, whole])
    assert (one.text, one.start, one.end) == ("SLIDING TITLE", 0.8, 3.0)
    word = stay("SLID", 0.8, 1.0, at=(0.4, 0.5))
    assert len(absorb([word, whole])) == 2
    typed = stay("SLID", 0.8, 1.0, at=(0.2, 0.5))
    assert len(absorb([typed, whole])) == 1
    assert len(absorb([stay("SLID", 0.0, 1.0, at=(0.2, 0.5)), stay("SLIDING", 1.0, 2.0)])) == 2


def test_pieces_of_a_moving_text_lie_on_its_path():
    def rising(text: str, ys: dict[float, float]) -> Stay:
        lines = tuple(line(text, t, at=(0.2, y)) for t, y in ys.items())
        return Stay((), lines, text, 0.9, min(ys), max(ys), 0.1)

    whole = rising("MUSIC BY", {1.5: 0.8, 2.0: 0.6, 2.5: 0.4})
    (one,) = absorb([rising("MUSIC BV", {1.2: 0.92, 1.4: 0.91}), whole])
    assert (one.text, one.start) == ("MUSIC BY", 1.2)
    assert len(absorb([rising("MUSIC BY", {0.5: 0.92, 0.7: 0.91}), whole])) == 2
    assert len(absorb([rising("FILM BY", {1.2: 0.92, 1.4: 0.91}), whole])) == 2


def test_short_and_cut_off_readings_need_more():
    assert legible(stay("YES", 0, 0.1), 0.8)
    assert not legible(Stay((), (line("NO"),), "NO", 0.9, 0, 1, 0.1), 0.8)
    assert legible(Stay((), (line("NO"),), "NO", 0.96, 0, 1, 0.1), 0.8)
    assert not legible(Stay((), (line("--"),), "--", 0.99, 0, 1, 0.1), 0.8)
    torn = stay("CAPTI", 0, 0.5, at=(0.9, 0.5), size=(0.1, 0.08))
    assert cut(torn.box)
    assert not legible(torn, 0.8)
    assert legible(stay("CAPTI", 0, 1.5, at=(0.9, 0.5), size=(0.1, 0.08)), 0.8)


def test_unread_times_lie_between_samples_that_show_text_there():
    one, two = stay("ONE", 0.5, 0.8), stay("TWO", 1.0, 1.2)
    (place,) = places([[one], [two]], [one, two])
    assert place.box[0] < 0.3
    times = np.arange(30) / 10
    samples = np.arange(6) / 2
    runs = unread(place, times, samples, 3.0)
    assert runs == [[1, 2, 3, 4], [8, 9], [12, 13, 14]]
    assert len(places([[one], [stay("LOW", 0, 1, at=(0.3, 0.8))]], [one])) == 2
