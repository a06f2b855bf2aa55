#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93 (OpenCV 5.0.0, its own FFmpeg), PyAV 18.1.0 to make the file.
#
# The wheel's FFmpeg has no decoder for AV1, but VideoCapture opens such a file and tells its size,
# frame rate and number of frames as of any other; only the first read fails, as at the end of a video.
# Who asks isOpened takes the video for an empty one.
#
# Seen:
#   opened True, 160 x 96, 10.0 fps, 20 frames, first read False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check numpy==2.4.6 opencv-python-headless==5.0.0.93 av==18.1.0

venv/bin/python - <<'PYTHON'
from fractions import Fraction

import av
import numpy as np

av.logging.set_level(av.logging.PANIC)


def write(path, codec, times, options=None, size=(160, 96)):
    """One grey level a frame, 4 k + 5 for frame k, at times in ms."""
    with av.open(path, "w") as container:
        quiet = {"x264-params": "log-level=none"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=10, options=quiet | (options or {}))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for k, t in enumerate(times):
            picture = np.full((size[1], size[0], 3), 4 * k + 5, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = t, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def number(picture):
    """Which frame a picture is."""
    return round((float(np.mean(picture)) - 5) / 4)


import os

import cv2

os.environ["SVT_LOG"] = "1"
write("clip.mp4", "libsvtav1", range(0, 2000, 100))
with av.open("clip.mp4") as container:
    assert sum(1 for _ in container.decode(video=0)) == 20  # the file is whole
capture = cv2.VideoCapture("clip.mp4")
told = [int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
count, fps = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
opened, read = capture.isOpened(), capture.read()[0]
print(f"opened {opened}, {told[0]} x {told[1]}, {fps} fps, {count:.0f} frames, first read {read}")
assert (opened, told, count, read) == (True, [160, 96], 20, False)
PYTHON
