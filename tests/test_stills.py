"""Pictures at given times: the frame that is shown then, read in a process of its own."""

import cv2
import numpy as np
import pytest

from tests.files import film
from tiktok_ray.media import InputError, pictures_at
from tiktok_ray.media.stills import stills

LEVELS = [20, 60, 100, 140, 180, 220]


@pytest.fixture
def steps(tmp_path):
    """Six frames at 10 per second, each of a grey of its own."""
    pictures = [np.full((64, 96, 3), level, np.uint8) for level in LEVELS]
    return film(tmp_path / "steps.mp4", pictures, fps="10")


def level(picture):
    return min(LEVELS, key=lambda known: abs(known - float(picture.mean())))


def test_the_frame_that_is_shown_at_each_time(steps, settings):
    frames = pictures_at(steps, [0.55, 0.0, 0.1, 0.199, 9.0, 0.11], 512, settings)
    assert frames.times.tolist() == pytest.approx([0.0, 0.1, 0.5])
    assert [level(frames.rgb(k)) for k in range(3)] == [LEVELS[0], LEVELS[1], LEVELS[5]]


@pytest.mark.slow
def test_every_frame_by_its_own_time(steps, settings):
    for number, wanted in enumerate(LEVELS):
        [still] = stills(steps, [number / 10 + 0.05], 32, settings)
        assert still.time == pytest.approx(number / 10)
        picture = cv2.imdecode(np.frombuffer(still.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert (level(picture), picture.shape) == (wanted, (32, 48, 3))
        assert (still.width, still.height) == (48, 32)


def test_a_late_start_is_time_zero(tmp_path, settings):
    """Sound begins half a second before the pictures: zero is the first picture."""
    from tests.files import wav

    tone = np.sin(np.arange(2 * 48_000) / 20)[None] * 0.1
    pictures = [np.full((64, 96, 3), one, np.uint8) for one in LEVELS]
    sound = wav(tmp_path / "tone.wav", tone)
    late = film(tmp_path / "late.mp4", pictures, fps="10", sound=sound,
                extra=("-filter:v", "setpts=PTS+0.5/TB"))  # fmt: skip
    [still] = stills(late, [0.25], 64, settings)
    picture = cv2.imdecode(np.frombuffer(still.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert level(picture) == LEVELS[2]


def test_what_is_no_video_is_a_typed_error(tmp_path, settings):
    path = tmp_path / "no.mp4"
    path.write_bytes(b"soup " * 100)
    with pytest.raises(InputError) as caught:
        stills(path, [0.0], 64, settings)
    assert caught.value.type == "not_video"
