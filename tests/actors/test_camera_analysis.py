"""Camera movement against cameras whose movement is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.camera_analysis import (
    Camera,
    CameraAnalysis,
    ShotCamera,
    movements,
    names,
    running,
    runs,
    shakiness,
    smoothed,
)
from tests.cameras import HEIGHT, WIDTH, cuts_at, filmed, photo, tracks
from tiktok_ray.analyzer import Analyzer, Skip
from tiktok_ray.media import Frames
from tiktok_ray.methods.vision.camera_motion import Steps, active, fit, similarity, spread, weights

X, Y = 600.0, 600.0
STILL = (X, Y, 1.0, 0.0)


def analyze(pictures: Any, fps: float = 10.0, cuts: Any = None) -> Camera:
    return CameraAnalysis().analyze(**tracks(pictures, fps), cut_analysis=cuts)


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    black = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pan = filmed(lambda t: (X - 100 + 0.3 * WIDTH * t, Y, 2 ** (0.1 * t), 4 * t), 2.0)
    back = filmed(lambda t: (X + 0.2 * WIDTH * t, Y + 0.1 * HEIGHT * t, 1.0, 0.0), 2.0)
    cases = [
        (pan + back, cuts_at([2.0], 4.0)),
        (filmed(swaying(0.01)), None),
        (filmed(lambda _: STILL, 1.0) + [black] * 10, None),
    ]
    return [(CameraAnalysis(), {**tracks(p), "cut_analysis": cuts}) for p, cuts in cases]


def swaying(amplitude: float, across: float = 0.0) -> Any:
    """A hand that shakes by ``amplitude`` picture widths both ways, and pans ``across`` widths/s."""

    def path(t: float) -> tuple[float, float, float, float]:
        x = np.sin(2 * np.pi * 3.1 * t) + 0.7 * np.sin(2 * np.pi * 4.3 * t + 1)
        y = 0.8 * np.sin(2 * np.pi * 2.5 * t + 2)
        move = amplitude * WIDTH
        return X - 60 + move * x + across * WIDTH * t, Y + move * y, 1.0, 0.0

    return path


MOVES = {
    "pan right": (lambda t: (X - 30 + 0.1 * WIDTH * t, Y, 1.0, 0.0), 0.1),
    "pan right, slow": (lambda t: (X + 0.03 * WIDTH * t, Y, 1.0, 0.0), 0.03),
    "pan left": (lambda t: (X + 130 - 0.5 * WIDTH * t, Y, 1.0, 0.0), 0.5),
    "tilt up": (lambda t: (X, Y + 90 - 0.2 * HEIGHT * t, 1.0, 0.0), 0.2),
    "tilt down": (lambda t: (X, Y + 0.05 * HEIGHT * t, 1.0, 0.0), 0.05),
    "zoom in": (lambda t: (X, Y, 2 ** (0.3 * t), 0.0), 0.3),
    "zoom in, slow": (lambda t: (X, Y, 2 ** (0.04 * t), 0.0), 0.04),
    "zoom out": (lambda t: (X, Y, 2 ** (0.9 - 0.3 * t), 0.0), 0.3),
    "roll clockwise": (lambda t: (X, Y, 1.0, 3 * t), 3.0),
    "roll counterclockwise": (lambda t: (X, Y, 1.0, -20 * t), 20.0),
}


@pytest.mark.parametrize("title", MOVES)
def test_kind_direction_and_speed_of_a_known_movement(title: str) -> None:
    path, speed = MOVES[title]
    made = analyze(filmed(path))
    (move,) = made.moves
    assert move.kind == title.split(",")[0]
    assert move.speed == pytest.approx(speed, rel=0.1)
    assert move.amount == pytest.approx(move.speed * (move.end - move.start))
    assert move.start == 0.0
    assert move.end == pytest.approx(2.9, abs=0.15)
    assert made.shots[0].movements == [move.kind]
    assert move.kind in made.headline()
    assert [event.label.split(",")[0] for event in made.events()] == [move.kind]


def test_signs_of_the_series_are_those_of_the_camera() -> None:
    made = analyze(
        filmed(lambda t: (X + 0.2 * WIDTH * t, Y - 0.1 * HEIGHT * t, 2 ** (0.2 * t), 5 * t), 1.5)
    )
    for series, truth in ((made.zoom, 0.2), (made.roll, 5.0)):
        assert np.mean([v for v in series if v is not None]) == pytest.approx(truth, rel=0.1)
    assert min(v for v in made.pan if v is not None) > 0.1
    assert min(v for v in made.tilt if v is not None) > 0.05


def test_a_pan_has_the_extent_it_had() -> None:
    path = lambda t: (X - 50 + 0.5 * WIDTH * np.clip(t - 1, 0, 1), Y, 1.0, 0.0)  # noqa: E731
    made = analyze(filmed(path))
    (move,) = made.moves
    assert move.start == pytest.approx(1.0, abs=0.11)
    assert move.end == pytest.approx(2.0, abs=0.11)
    assert move.speed == pytest.approx(0.5, rel=0.1)
    assert made.shots[0].movements == ["static", "pan right"]
    assert made.shots[0].shake == pytest.approx(0.0, abs=0.001), "a start is not a shake"


@pytest.mark.parametrize("amplitude", [0.006, 0.02])
def test_shake_is_measured_in_picture_widths(amplitude: float) -> None:
    made = analyze(filmed(swaying(amplitude), 4.0))
    assert made.shots[0].movements == ["shake"]
    truth = amplitude * np.sqrt((1 + 0.7**2 + 0.8**2) / 2)
    shake = made.shots[0].shake
    assert shake == pytest.approx(truth, rel=0.2)
    assert shake is not None
    assert made.stability == pytest.approx(1 / (1 + shake / 0.005))
    assert made.shaking_share == pytest.approx(1.0, abs=0.1)


def test_a_shaky_pan_is_both() -> None:
    made = analyze(filmed(swaying(0.01, across=0.2), 3.0))
    assert set(made.shots[0].movements) == {"pan right", "shake"}
    (pan,) = [move for move in made.moves if move.kind == "pan right"]
    assert pan.speed == pytest.approx(0.2, rel=0.2)


def in_front(pictures: Any, share: float, place: Any) -> list[Any]:
    """A detailed subject of ``share`` of the area in front; ``place``: how far aside, in widths."""
    import cv2

    width, height = round(WIDTH * share**0.5), round(HEIGHT * share**0.5)
    subject = cv2.resize(photo("chelsea"), (width, height), interpolation=cv2.INTER_AREA)
    made = []
    for k, picture in enumerate(pictures):
        x = round((WIDTH - width) / 2 + place(k / 10) * WIDTH)
        left, right = max(0, x), min(WIDTH, x + width)
        picture = picture.copy()
        top = (HEIGHT - height) // 2
        picture[top : top + height, left:right] = subject[:, left - x : right - x]
        made.append(picture)
    return made


@pytest.mark.parametrize("share", [0.15, 0.4])
@pytest.mark.parametrize("background", ["coffee", "brick"])
@pytest.mark.parametrize(
    "place",
    [lambda t: 0.15 * np.sin(np.pi * t), lambda t: 0.1 * t - 0.15],
    ids=["to and fro", "across"],
)
def test_a_moving_subject_does_not_move_the_camera(share, background, place) -> None:
    picture = photo(background) if background == "coffee" else np.dstack([brick()] * 3)
    made = analyze(in_front(filmed(lambda _: STILL, of=picture), share, place))
    assert made.shots[0].movements == ["static"]
    assert made.moves == []
    assert made.shots[0].background is not None
    assert made.shots[0].background < 0.9, "the subject's own points are told apart"


def brick() -> Any:
    import cv2

    return cv2.resize(pytest.importorskip("skimage.data").brick(), (1200, 1200))


def test_a_camera_that_pans_behind_a_subject_pans() -> None:
    pictures = filmed(lambda t: (X - 100 + 0.2 * WIDTH * t, Y, 1.0, 0.0))
    made = analyze(in_front(pictures, 0.1, lambda _: 0.0))
    assert made.shots[0].movements == ["pan right"]
    assert made.moves[0].speed == pytest.approx(0.2, rel=0.1)


def test_a_subject_in_front_of_nothing_says_nothing_of_the_camera() -> None:
    plain = [np.full((HEIGHT, WIDTH, 3), (40, 90, 170), np.uint8)] * 30
    made = analyze(in_front(plain, 0.2, lambda t: 0.1 * t - 0.15))
    assert made.moves == []
    assert made.shots[0].movements == []


@pytest.mark.parametrize("level", [0, 128])
def test_black_and_flat_pictures_say_nothing(level: int) -> None:
    made = analyze([np.full((HEIGHT, WIDTH, 3), level, np.uint8)] * 20)
    (shot,) = made.shots
    assert shot.movements == []
    assert (shot.pan, shot.tilt, shot.zoom, shot.roll, shot.shake, shot.stability) == (None,) * 6
    assert made.measured_share == 0.0
    assert (made.moving_share, made.shaking_share, made.stability) == (None, None, None)
    assert set(made.pan) == {None}
    assert made.headline() == "no motion measurable"


def test_noise_alone_is_no_movement() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, HEIGHT, WIDTH, 3), dtype=np.uint8)
    made = analyze(list(noise))
    assert made.moves == []
    assert made.shots[0].movements == []


def in_the_dark(pictures: Any, grain: float) -> list[Any]:
    """Pictures of a twelfth of the light, with grain of so many levels."""
    rng = np.random.default_rng(0)
    noise = (grain * rng.standard_normal((HEIGHT, WIDTH, 1)) for _ in pictures)
    dark = (picture / 12 + 6 + one for picture, one in zip(pictures, noise, strict=True))
    return [np.rint(picture).clip(0, 255).astype(np.uint8) for picture in dark]


@pytest.mark.parametrize("grain", [0.5, 2.0])
@pytest.mark.parametrize("title", ["pan right", "tilt down", "zoom in", "roll clockwise"])
def test_a_camera_moves_in_the_dark_as_in_the_light(title: str, grain: float) -> None:
    path, speed = MOVES[title]
    sharp = lambda t: (path(t)[0] - X / 2, path(t)[1] - Y / 2, *path(t)[2:])  # noqa: E731
    made = analyze(in_the_dark(filmed(sharp, of=photo(side=600)), grain))
    (move,) = made.moves
    assert move.kind == title
    assert move.speed == pytest.approx(speed, rel=0.1)


@pytest.mark.parametrize("grain", [0.5, 1.0, 2.0, 4.0, 8.0])
def test_grain_in_the_dark_does_not_move_the_camera(grain: float) -> None:
    flat = [np.full((HEIGHT, WIDTH, 3), 60, np.uint8)] * 20
    for still in (filmed(lambda _: STILL), flat):
        made = analyze(in_the_dark(still, grain))
        assert made.moves == []
        assert made.shots[0].movements in ([], ["static"])


def test_camera_per_shot_and_never_across_a_cut() -> None:
    right = filmed(lambda t: (X - 60 + 0.3 * WIDTH * t, Y, 1.0, 0.0), 1.5)
    left = filmed(lambda t: (X + 60 - 0.3 * WIDTH * t, Y, 1.0, 0.0), 1.5, of=photo("coffee"))
    still = filmed(lambda _: STILL, 1.5)
    cuts = cuts_at([1.5, 3.0], 4.5)
    made = analyze(right + left + still, cuts=cuts)
    assert [shot.movements for shot in made.shots] == [["pan right"], ["pan left"], ["static"]]
    assert [(move.kind, move.shot) for move in made.moves] == [("pan right", 0), ("pan left", 1)]
    for move in made.moves:
        shot = cuts.shots[move.shot]
        assert shot.start <= move.start < move.end <= shot.end
    assert not [t for t in made.times if 1.4 < t < 1.5 or 2.9 < t < 3.0]
    assert [(s.start, s.end) for s in made.shots] == [(s.start, s.end) for s in cuts.shots]


def test_a_dissolve_is_left_out() -> None:
    one, two = filmed(lambda _: STILL), filmed(lambda _: STILL, of=photo("coffee"))
    shares = np.clip((np.arange(30) / 10 - 1) / 1.0, 0, 1)
    mixed = [
        (a * (1.0 - share) + b * share).astype(np.uint8)
        for a, b, share in zip(one, two, shares, strict=True)
    ]
    made = analyze(mixed, cuts=cuts_at([], 3.0, blends=[(1.0, 2.0)]))
    unknown = [t for t, v in zip(made.times, made.pan, strict=True) if v is None]
    assert min(unknown) > 0.9
    assert max(unknown) < 2.1
    assert [t for t in made.times if 1.0 < t < 2.0] == pytest.approx(unknown)
    assert made.moves == []


def test_a_picture_between_bars_moves_all_the_same() -> None:
    import cv2

    inner = filmed(lambda t: (X - 60 + 0.2 * WIDTH * t, Y, 1.0, 0.0), size=(WIDTH, 102))
    boxed = []
    for picture in inner:
        frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        frame[109:211] = picture
        cv2.putText(frame, "A CAPTION", (12, 60), 0, 0.8, (255, 255, 255), 2)
        boxed.append(frame)
    made = analyze(boxed)
    assert made.shots[0].movements == ["pan right"]
    assert made.moves[0].speed == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("kind", ["pan right", "zoom in", "roll clockwise"])
def test_thumbs_serve_where_dense_is_thinned_out(kind: str) -> None:
    path, speed = MOVES[kind]
    made = tracks(filmed(path, fps=30.0), 30.0)
    thin = tracks(filmed(path, fps=2.0), 2.0)["dense"]
    camera = CameraAnalysis().analyze(dense=thin, thumbs=made["thumbs"], cut_analysis=None)
    (move,) = camera.moves
    assert move.kind == kind
    assert move.speed == pytest.approx(speed, rel=0.2)


def test_one_picture_is_skipped() -> None:
    one = Frames.of([0.0], [photo()[:320, :180]], 0.04)
    with pytest.raises(Skip, match="a single frame shows no movement"):
        CameraAnalysis().analyze(dense=one, thumbs=one, cut_analysis=None)


@pytest.mark.slow
def test_long_videos_have_a_bounded_series() -> None:
    made = analyze(filmed(lambda _: STILL, 2.0) * 32)
    assert len(made.times) == len(made.pan) <= 600
    assert made.times == sorted(made.times)


# Pure functions


@given(st.floats(0.5, 2.0), st.floats(-1.0, 1.0), st.floats(-20, 20), st.floats(-20, 20))
def test_similarity_is_recovered(size: float, turn: float, x: float, y: float) -> None:
    points = np.random.default_rng(1).normal(0, 40, (20, 2)).view(complex).ravel()
    factor, shift = similarity(points, size * np.exp(1j * turn) * points + complex(x, y))
    assert factor == pytest.approx(size * np.exp(1j * turn), abs=1e-6)
    assert shift == pytest.approx(complex(x, y), abs=1e-6)


def grid(step: float = 16.0) -> Any:
    x, y = np.meshgrid(np.arange(-72, 73, step), np.arange(-136, 137, step))
    return (x + 1j * y).ravel()


def test_a_fit_finds_the_background_among_what_moves_by_itself() -> None:
    points = grid()
    subject = np.maximum(abs(points.real) / 80, abs(points.imag) / 142) < 0.63
    after = 1.02 * points + 3.0
    after[subject] += 6.0
    found = fit(points, after, (160, 284))
    assert found is not None
    assert not found.still
    assert found.factor == pytest.approx(1.02, abs=1e-6)
    assert found.shift == pytest.approx(3.0, abs=1e-6)
    assert (found.chosen == ~subject).all()


def test_a_fit_knows_when_only_the_subject_moves() -> None:
    points = grid()
    after = np.where(abs(points) < 80, points + 5.0, points)
    found = fit(points, after, (160, 284))
    assert found is not None
    assert found.still
    assert found.shift == pytest.approx(0.0, abs=1e-9)


def test_a_fit_needs_points_all_over_the_picture() -> None:
    points = grid(8.0)
    middle = points[abs(points) < 50]
    assert fit(middle, middle + 5.0, (160, 284)) is None
    assert fit(points[:5], points[:5], (160, 284)) is None
    assert fit(points, points + 5.0, (160, 284)) is not None


def test_points_close_together_do_not_tell_growth() -> None:
    points = grid(4.0)
    found = fit(points[abs(points) < 20], points[abs(points) < 20], (160, 284))
    assert found is not None
    assert found.still
    assert np.isnan(found.factor)


def test_weights_make_squares_alike() -> None:
    half = complex(80, 80)
    crowd, lone = np.full(9, -70 - 70j), np.array([70 + 70j])
    weight = weights(np.concatenate([crowd, lone]), half)
    assert weight.sum() == pytest.approx(1.0)
    assert weight[:9].sum() == pytest.approx(weight[9])
    edge, centre = weights(np.array([79 + 0j, 0j]), half)
    assert edge > 4 * centre


def test_spread_counts_what_is_in_both_pictures() -> None:
    points = grid()
    half = complex(80, 142)
    assert spread(points, points, half) == pytest.approx(0.86, abs=0.05)
    near = points[np.maximum(abs(points.real) / 80, abs(points.imag) / 142) < 0.63]
    assert spread(near, near, half) < 0.4
    left = points[points.real < 32]
    assert spread(left, left + 48, half) == pytest.approx(0.86, abs=0.1)


def test_bars_are_found_whatever_is_written_in_them() -> None:
    picture = np.random.default_rng(2).integers(60, 200, (3, 200, 100), dtype=np.uint8)
    whole = slice(0, 200), slice(0, 100)
    assert active(picture) == whole
    picture[:, :60] = picture[:, -60:] = 16
    assert active(picture) == (slice(60, 140), whole[1])
    picture[:, 20:30, 10:90] = 235
    assert active(picture) == (slice(60, 140), whole[1])
    picture[:, -60:] = 90
    assert active(picture) == whole
    assert active(np.full((3, 200, 100), 16, np.uint8)) == whole
    sides = np.ascontiguousarray(
        np.random.default_rng(2).integers(60, 200, (3, 100, 200), np.uint8)
    )
    sides[:, :, :50] = sides[:, :, -55:] = 16
    assert active(sides) == (slice(0, 100), slice(50, 145))


def steps_of(pan: Any, still: bool = False) -> Steps:
    pan = np.asarray(pan, float)
    start = np.arange(len(pan)) / 10
    speed = np.zeros((len(pan), 4))
    speed[:, 0] = pan
    speed[np.isnan(pan)] = np.nan
    flags = np.full(len(pan), still)
    return Steps(start, start + 0.1, np.zeros(len(pan), int), speed, np.ones(len(pan)), flags)


def test_movements_need_length_and_amount() -> None:
    def found(pan: Any) -> list[tuple[str, int, int]]:
        return [(m.kind, m.first, m.stop) for m in movements(steps_of(pan))]

    assert found([0.0] * 10 + [0.2] * 10 + [0.0] * 10) == [("pan right", 10, 20)]
    assert found([-0.2] * 10) == [("pan left", 0, 10)]
    assert found([0.0] * 10 + [0.2] * 2 + [0.0] * 10) == []
    assert found([0.01] * 40) == []
    assert found([0.025] * 5) == []
    assert found([0.2] * 5 + [np.nan] + [0.2] * 5) == [("pan right", 0, 11)]
    assert found([np.nan] * 20) == []


def test_a_smoothed_path_is_that_of_scipy() -> None:
    from scipy.signal import savgol_filter

    path = np.random.default_rng(0).normal(size=(40, 2)).cumsum(0)
    for some in (path, path[:9]):
        assert smoothed(some, 9) == pytest.approx(savgol_filter(some, 9, 2, axis=0))


def test_shakiness_ignores_starts_and_stops() -> None:
    sway = 0.2 * np.sin(np.arange(40) * 2.0)
    assert np.nanmax(shakiness(steps_of([0.0] * 15 + [0.5] * 10 + [0.0] * 15), 2.0)) < 1e-9
    assert np.nanmin(shakiness(steps_of(sway), 2.0)) > 0.005
    assert np.isnan(shakiness(steps_of(sway[:8]), 2.0)).all()


def test_what_could_hardly_be_measured_is_not_called_static() -> None:
    assert names(steps_of([0.0] * 20), []) == ["static"]
    assert names(steps_of([0.0] * 9 + [np.nan] * 11), []) == []
    assert names(steps_of([np.nan] * 20), []) == []


@given(st.lists(st.floats(-5, 5) | st.just(float("nan")), min_size=1, max_size=30))
def test_running_mean_is_that_of_what_is_known(values: list[float]) -> None:
    array = np.array(values)
    made = running(array, 5)
    for k, value in enumerate(made):
        near = array[max(0, k - 2) : k + 3]
        known = near[np.isfinite(near)]
        if 2 * len(known) >= len(near):
            assert value == pytest.approx(known.mean())
        else:
            assert np.isnan(value)


@given(st.lists(st.booleans(), max_size=20))
def test_runs_cover_what_is_true(flags: list[bool]) -> None:
    covered = [False] * len(flags)
    for first, stop in runs(np.array(flags, bool)):
        assert all(flags[first:stop])
        covered[first:stop] = [True] * (stop - first)
    assert covered == flags


# Files


@pytest.mark.slow
def test_a_decoded_file_moves_as_it_was_filmed(tmp_path: Path) -> None:
    from tiktok_ray.media import decode
    from tiktok_ray.media.writer import write_clip
    from tiktok_ray.settings import Settings

    path = lambda t: (X - 60 + 0.15 * WIDTH * t, Y, 2 ** (0.1 * t), 0.0)  # noqa: E731
    file = write_clip(tmp_path / "pan.mp4", filmed(path, 4.0, fps=30.0), fps=30.0)
    decoded = decode(file, {"dense", "thumbs"}, Settings()).tracks
    made = CameraAnalysis().analyze(
        dense=decoded["dense"], thumbs=decoded["thumbs"], cut_analysis=None
    )
    kinds = {move.kind: move for move in made.moves}
    assert set(kinds) == {"pan right", "zoom in"}
    assert kinds["zoom in"].speed == pytest.approx(0.1, rel=0.2)
    grown = 0.15 * np.mean(2 ** (0.1 * np.arange(0, 4, 0.1)))
    assert kinds["pan right"].speed == pytest.approx(grown, rel=0.2)


def real(file: Path, cuts: Any = None) -> Camera:
    from tiktok_ray.media import decode
    from tiktok_ray.settings import Settings

    decoded = decode(file, {"dense", "thumbs"}, Settings()).tracks
    return CameraAnalysis().analyze(
        dense=decoded["dense"], thumbs=decoded["thumbs"], cut_analysis=cuts
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "file", ["grid_bbaf2n.mpg", "grid_swwp2s.mpg", "psd_counter.mp4", "laptop_desk.mp4"]
)
def test_real_cameras_on_a_tripod_are_static(real_media: Path, file: str) -> None:
    made = real(real_media / "video" / file)
    assert made.shots[0].movements == ["static"]
    assert made.moves == []


@pytest.mark.slow
def test_the_composite_zooms_into_the_bus_and_moves_with_the_cyclist(real_media: Path) -> None:
    cuts = cuts_at([3.0, 6.0, 9.0, 14.0, 17.0], 20.0)
    made = real(real_media / "video" / "short_vertical_composite.mp4", cuts)
    assert [shot.movements for shot in made.shots[:5]] == [
        ["static"], ["static"], ["zoom in"], ["static"], ["static"],
    ]  # fmt: skip
    zoom = made.moves[0]
    assert zoom.start == pytest.approx(6.0, abs=0.1)
    assert zoom.end == pytest.approx(9.0, abs=0.15)
    assert zoom.speed == pytest.approx(0.049, rel=0.1), "by registering SIFT points at full size"
    assert "tilt down" in made.shots[5].movements
    assert {type(shot) for shot in made.shots} == {ShotCamera}
