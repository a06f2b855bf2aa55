#!/usr/bin/env bash
# scenedetect (PySceneDetect) 0.7.2, PyAV 18.1.0 to make the files.
#
# AdaptiveDetector compares a frame with two on either side, and so does not see a hard cut to the last
# frame, to the last two, or after the first, even with min_scene_len=1; ContentDetector sees each of
# them. And a video without any cut has no scene at all, in place of one.
#
# Seen (scenes found by AdaptiveDetector and ContentDetector in 20 frames):
#   cut in the middle: 2 2
#   cut before the last two: 0 2
#   cut before the last: 0 2
#   cut after the first: 0 2
#   cut none: 0 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check numpy==2.4.6 av==18.1.0 opencv-python-headless==5.0.0.93 click==8.4.0 platformdirs==4.5.0 tqdm==4.67.1 && venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps scenedetect==0.7.2

venv/bin/python - <<'PYTHON'
import logging

import av
import numpy as np
from scenedetect import AdaptiveDetector, ContentDetector, detect

logging.disable(logging.CRITICAL)
av.logging.set_level(av.logging.PANIC)
RED, BLUE = (np.full((96, 160, 3), colour, np.uint8) for colour in ((200, 30, 30), (30, 30, 200)))


def scenes(pictures, detector):
    with av.open("clip.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return len(detect("clip.mp4", detector, backend="pyav"))


seen = {}
for name, first in (("in the middle", 10), ("before the last two", 18), ("before the last", 19),
                    ("after the first", 1), ("none", 20)):
    pictures = [RED] * first + [BLUE] * (20 - first)
    seen[name] = [scenes(pictures, kind(min_scene_len=1)) for kind in (AdaptiveDetector, ContentDetector)]
    print(f"cut {name}:", *seen[name])
assert seen == {
    "in the middle": [2, 2],
    "before the last two": [0, 2],
    "before the last": [0, 2],
    "after the first": [0, 2],
    "none": [0, 0],
}
PYTHON
