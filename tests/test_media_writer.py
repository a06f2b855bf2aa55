"""Clips are written at the size of their pictures."""

import av
import numpy as np
import pytest

from tiktok_ray.media.writer import write_clip


@pytest.mark.parametrize("size", [(640, 360), (640, 640), (320, 480), (854, 480)])
def test_a_clip_has_the_size_of_its_pictures(tmp_path, size):
    width, height = size
    path = write_clip(tmp_path / "clip.mp4", [np.zeros((height, width, 3), np.uint8)] * 2)
    with av.open(str(path)) as container:
        [stream] = container.streams.video
        assert (stream.width, stream.height) == size
