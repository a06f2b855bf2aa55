"""Scenes and settings on made clips whose settings are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.content_quality import Embeddings, Quality
from actors.scene_segmentation import (
    Scenes,
    SceneSegmentation,
    colours,
    edges,
    hellinger,
    sample,
    settings_of,
    shot_distances,
)
from tests.cameras import cuts_at, photo
from tiktok_ray.analyzer import Analyzer
from tiktok_ray.media import Frames

RATE = 10.0


def view(name: str, x: int, y: int, side: int = 600) -> Any:
    """What a camera sees of a photograph from a corner on, uint8 [114, 64, 3]."""
    import cv2

    crop = photo(name)[y : y + side, x : x + side * 9 // 16]
    return np.asarray(cv2.resize(crop, (64, 114), interpolation=cv2.INTER_AREA), np.uint8)


def person(picture: Any, colour: tuple[int, int, int], x: int) -> Any:
    """A head and shoulders in one colour in front."""
    import cv2

    made = picture.copy()
    cv2.ellipse(made, (x, 50), (11, 15), 0, 0, 360, colour, -1)
    cv2.ellipse(made, (x, 100), (22, 34), 0, 180, 360, colour[::-1], -1)
    return made


def film(shots: list[tuple[Any, float]]) -> tuple[Frames, Any]:
    """Thumbs of shots, each a picture held for some seconds with a little noise, and their cuts."""
    rng = np.random.default_rng(0)
    pictures, cuts, t = [], [], 0.0
    for picture, seconds in shots:
        cuts.append(t)
        t += seconds
        for _ in range(round(seconds * RATE)):
            noisy = picture.astype(int) + rng.integers(-4, 5, picture.shape)
            pictures.append(np.clip(noisy, 0, 255).astype(np.uint8))
    times = [k / RATE for k in range(len(pictures))]
    return Frames.of(times, pictures, t), cuts_at(cuts[1:], t)


def analyze(shots: list[tuple[Any, float]], quality: Quality | None = None) -> Scenes:
    thumbs, cuts = film(shots)
    return SceneSegmentation().analyze(thumbs, cuts, quality)


def quality(times: list[float], vectors: Any) -> Quality:
    embeddings = Embeddings.of(times, np.asarray(vectors, np.float32))
    return Quality.model_construct(embeddings=embeddings)


def kitchen() -> Any:
    return view("coffee", 0, 0)


def street() -> Any:
    return view("astronaut", 300, 0)


def photograph(picture: Any, high: int) -> Any:
    """A picture of some height between black bars."""
    made = np.zeros_like(picture)
    top = (len(made) - high) // 2
    made[top : top + high] = picture[top : top + high]
    return made


def test_photographs_between_bars_of_their_own_are_settings_of_their_own() -> None:
    kept, other = photograph(kitchen(), 36), photograph(street(), 44)
    found = analyze([(kept, 2.0), (other, 2.0), (kept, 2.0)])
    assert [scene.setting for scene in found.scenes] == [1, 2, 1]
    (scene,) = analyze([(kept, 2.0), (photograph(kitchen(), 40), 2.0)]).scenes
    assert scene.setting == 1


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    a, b = film([(kitchen(), 1.0), (street(), 2.0), (kitchen(), 1.0)]), film([(street(), 1.5)])
    vectors = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]]
    embedded = quality([0.5, 2.0, 3.5], vectors)
    cases = [(*a, None), (*b, None), (*a, embedded)]
    return [
        (SceneSegmentation(), {"thumbs": t, "cut_analysis": c, "content_quality": q})
        for t, c, q in cases
    ]


def test_two_settings_that_alternate() -> None:
    a = [person(kitchen(), (200, 150, 120), x) for x in (28, 36)]
    b = [person(street(), (90, 60, 50), x) for x in (34, 30)]
    made = analyze([(a[0], 1.0), (b[0], 2.0), (a[1], 1.5), (b[1], 1.0)])
    assert [scene.setting for scene in made.scenes] == [1, 2, 1, 2]
    assert [scene.shots for scene in made.scenes] == [[0], [1], [2], [3]]
    assert [(s.start, s.end) for s in made.scenes] == [
        (0.0, 1.0),
        (1.0, 3.0),
        (3.0, 4.5),
        (4.5, 5.5),
    ]
    assert [(s.id, s.scenes, s.seconds) for s in made.settings] == [
        (1, [0, 2], 2.5),
        (2, [1, 3], 3.0),
    ]
    assert made.headline() == "4 scenes in 2 settings"
    assert made.features == "histograms"
    labels = [event.label for event in made.events()]
    assert labels[0] == "scene 1: setting 1"
    assert labels[2] == "scene 3: setting 1 again"


def test_shots_in_one_setting_are_one_scene() -> None:
    """Jump cuts: the person moves, the camera steps nearer, another person takes the place."""
    here = [
        person(kitchen(), (200, 150, 120), 30),
        person(view("coffee", 40, 60, 500), (200, 150, 120), 34),
        person(kitchen(), (70, 60, 90), 36),
    ]
    made = analyze([(picture, 1.0) for picture in here] + [(street(), 1.0)])
    assert [scene.shots for scene in made.scenes] == [[0, 1, 2], [3]]
    assert made.scenes[0].distance is None
    assert made.scenes[1].distance is not None
    assert made.scenes[1].distance > made.threshold


def test_the_transition_into_a_scene_is_that_of_its_cut() -> None:
    thumbs, _ = film([(kitchen(), 2.0), (street(), 2.0), (view("chelsea", 300, 100), 1.0)])
    cuts = cuts_at([4.0], 5.0, blends=[(1.6, 2.4)])
    made = SceneSegmentation().analyze(thumbs, cuts, None)
    assert [scene.transition for scene in made.scenes] == [None, "dissolve", "hard"]


def test_the_representative_picture_is_the_typical_one() -> None:
    import cv2

    odd = cv2.flip(person(kitchen(), (250, 20, 20), 20), 0)
    thumbs, cuts = film([(odd, 0.4), (kitchen(), 1.6)])
    one = cuts_at([], 2.0)
    made = SceneSegmentation().analyze(thumbs, one, None)
    assert made.scenes[0].representative_s >= 0.4
    assert len(cuts.shots) == 2


def test_shots_shorter_than_half_a_second_count() -> None:
    made = analyze([(kitchen(), 0.2), (street(), 0.2), (kitchen(), 0.1), (street(), 0.3)])
    assert [scene.setting for scene in made.scenes] == [1, 2, 1, 2]


def test_embeddings_decide_where_every_shot_has_one() -> None:
    shots = [(kitchen(), 1.0), (street(), 1.0), (kitchen(), 1.0)]
    alike = quality([0.5, 1.5, 2.5], [[1, 0, 0], [0.98, 0.1, 0], [0, 1, 0]])
    made = analyze(shots, alike)
    assert made.features == "clip"
    assert [scene.shots for scene in made.scenes] == [[0, 1], [2]]
    assert made.scenes[0].representative_s in (0.5, 1.5)
    some = quality([0.5, 0.9, 2.5], [[1, 0, 0], [0.98, 0.1, 0], [0, 1, 0]])
    made = analyze(shots, some)
    assert made.features == "histograms", "the second shot has no embedding"
    assert [scene.setting for scene in made.scenes] == [1, 2, 1]


def test_pictures_are_taken_outside_transitions() -> None:
    thumbs, _ = film([(kitchen(), 2.0), (street(), 2.0)])
    cuts = cuts_at([], 4.0, blends=[(1.5, 2.5)])
    one, two = sample(thumbs, cuts)
    assert max(thumbs.times[one]) < 1.5
    assert min(thumbs.times[two]) >= 2.5
    assert len(one) == len(two) == 5
    covered = cuts_at([], 4.0, blends=[(0.0, 4.0)])
    assert [len(indices) for indices in sample(thumbs, covered)] == [5, 5]


def test_a_shot_between_two_pictures_takes_the_nearest() -> None:
    thumbs, _ = film([(kitchen(), 1.0)])
    assert sample(thumbs, cuts_at([0.52, 0.55], 1.0))[1] == [5]


# Pure functions


def test_histograms_know_colours_and_not_the_hue_of_grey() -> None:
    def plain(*rgb: int) -> Any:
        return colours(np.full((20, 20, 3), rgb, np.uint8))

    def far(a: Any, b: Any) -> float:
        return float(hellinger(a[None], b[None])[0, 0])

    assert plain(10, 60, 200).sum() == pytest.approx(1.0)
    assert far(plain(10, 60, 200), plain(10, 60, 200)) == pytest.approx(0.0, abs=1e-6)
    assert far(plain(10, 60, 200), plain(200, 60, 10)) > 0.9
    assert far(plain(120, 121, 120), plain(121, 120, 121)) < 0.01
    assert far(plain(0, 0, 0), plain(250, 250, 250)) > 0.9
    assert far(plain(10, 60, 200), plain(12, 62, 190)) < 0.15


def test_the_border_counts_more_than_the_middle() -> None:
    base = np.full((100, 100, 3), (30, 90, 200), np.uint8)
    middle, border = base.copy(), base.copy()
    middle[35:65, 35:65] = (200, 90, 30)
    border[:9] = (200, 90, 30)
    plain, inner, outer = colours(base), colours(middle), colours(border)
    distances = hellinger(np.stack([inner, outer]), plain[None])[:, 0]
    assert distances[0] < distances[1], "the same number of pixels"


def test_edges_know_their_direction_and_place() -> None:
    bars = np.zeros((60, 60, 3), np.uint8)
    bars[:, ::6] = bars[:, 1::6] = 255
    upright, lying = edges(bars), edges(np.ascontiguousarray(bars.swapaxes(0, 1)))
    assert upright.sum() == pytest.approx(1.0)
    assert float(hellinger(upright[None], lying[None])[0, 0]) > 0.6
    half = bars.copy()
    half[:, 30:] = 0
    other = bars.copy()
    other[:, :30] = 0
    assert float(hellinger(edges(half)[None], edges(other)[None])[0, 0]) > 0.4


@given(st.integers(2, 6), st.integers(0, 1000))
def test_hellinger_is_a_distance(count: int, seed: int) -> None:
    made = np.random.default_rng(seed).dirichlet(np.ones(5), count)
    distance = hellinger(made, made)
    assert np.allclose(distance, distance.T)
    assert np.allclose(np.diag(distance), 0.0, atol=1e-6)
    assert (distance <= 1.0).all()


def test_shots_far_apart_must_be_more_alike() -> None:
    pictures = np.zeros((3, 3))
    distance = shot_distances(pictures, [0, 1, 2], [0.0, 30.0, 300.0])
    assert distance[0, 1] == pytest.approx(0.025)
    assert distance[0, 2] == pytest.approx(0.05)
    pictures = np.array([[0.0, 0.2, 0.4], [0.2, 0.0, 0.6], [0.4, 0.6, 0.0]])
    assert shot_distances(pictures, [0, 0, 1], [1.0, 1.0])[0, 1] == pytest.approx(0.5)


def test_a_shot_joins_the_nearest_setting() -> None:
    close, far = 0.1, 0.9
    distances = np.array(
        [[0, far, close, far], [far, 0, far, far], [close, far, 0, far], [far, far, far, 0]]
    )
    assert settings_of(distances, 0.34) == [1, 2, 1, 3]
    assert settings_of(distances, 0.05) == [1, 2, 3, 4]
    assert settings_of(distances[:1, :1], 0.34) == [1]
    drifting = np.abs(np.subtract.outer(np.arange(5), np.arange(5))) * 0.2
    assert settings_of(drifting, 0.34) == [1, 1, 1, 1, 1], "each like the one before"


@pytest.mark.slow
def test_the_composite_has_five_scenes(real_media: Path) -> None:
    """The first two talking heads sit before the same blue wall; the third wall is green.

    Medians of the wall: CIELAB hue 207 to 233 degrees in the first two, 170 to 182 in the third.
    """
    from tiktok_ray.media import decode
    from tiktok_ray.settings import Settings

    file = real_media / "video" / "short_vertical_composite.mp4"
    thumbs = decode(file, {"thumbs"}, Settings()).tracks["thumbs"]
    cuts = cuts_at([3.0, 6.0, 9.0, 14.0, 17.0], 20.0)
    made = SceneSegmentation().analyze(thumbs, cuts, None)
    assert [scene.shots for scene in made.scenes] == [[0, 1], [2], [3], [4], [5]]
    assert len(made.settings) == 5
    assert made.scenes[1].transition == "hard"
