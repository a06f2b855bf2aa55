#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93 (OpenCV 5.0.0, its own FFmpeg), PyAV 18.1.0 to make the files.
#
# Of a video whose first frame stands at 5 s (a clip cut from a stream), VideoCapture sets the clock to
# zero in Matroska; in AVI only the first frame is said to stand at zero, and the second at 5.1 s, so
# that their distance is 5.1 s in place of 0.1. Seeking counts from zero in both, and the number of
# frames is told as if the first five seconds were full of them.
#
# Seen (CAP_PROP_POS_MSEC after two reads, CAP_PROP_FRAME_COUNT, frame after seeking to 500 ms):
#   mkv: 0 100, 70 of 20 frames, frame 5
#   avi: 0 5100, 70 of 20 frames, frame 5
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check numpy==2.4.6 opencv-python-headless==5.0.0.93 av==18.1.0

venv/bin/python - <<'PYTHON'
from fractions import Fraction

import av
import cv2
import numpy as np

av.logging.set_level(av.logging.PANIC)


def write(path):
    """Twenty frames at 10 a second from 5 s on; frame k has the grey level 4 k + 5."""
    with av.open(path, "w") as container:
        quiet = {"bf": "0", "x264-params": "log-level=none"}
        stream = container.add_stream("libx264", rate=10, options=quiet)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for k in range(20):
            picture = np.full((96, 160, 3), 4 * k + 5, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = 50 + k, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


seen = {}
for kind in ("mkv", "avi"):
    write(f"clip.{kind}")
    capture = cv2.VideoCapture(f"clip.{kind}")
    clock = []
    for _ in range(2):
        assert capture.read()[0]
        clock.append(round(capture.get(cv2.CAP_PROP_POS_MSEC)))
    count = round(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.set(cv2.CAP_PROP_POS_MSEC, 500)
    found = round((float(capture.read()[1].mean()) - 5) / 4)
    seen[kind] = [*clock, count, found]
    print(f"{kind}: {clock[0]} {clock[1]}, {count} of 20 frames, frame {found}")
assert seen == {"mkv": [0, 100, 70, 5], "avi": [0, 5100, 70, 5]}
PYTHON
