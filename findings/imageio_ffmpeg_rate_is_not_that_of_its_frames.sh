#!/usr/bin/env bash
# imageio-ffmpeg 0.8.1 (with the FFmpeg in its wheel), PyAV 18.1.0 to make the file.
#
# read_frames has FFmpeg fill a video of variable frame rate up to a constant one, but the rate that it
# tells is the average of the file: of eight frames in 3.1 s come thirty-two, told to be 2.5 a second. Who
# divides the index by the rate puts the last frame at 12.4 s of a video of 3.1 s. count_frames_and_secs
# counts eight.
#
# Seen:
#   told 2.5 fps, counted 8 frames, read 32: the last at 12.4 s
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check numpy==2.4.6 av==18.1.0 imageio-ffmpeg==0.8.1

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


import imageio_ffmpeg

write("clip.mp4", "libx264", [0, 100, 200, 1000, 1100, 1200, 3000, 3100], {"bf": "0"})
frames = imageio_ffmpeg.read_frames("clip.mp4")
told = next(frames)["fps"]
read = [number(np.frombuffer(frame, np.uint8)) for frame in frames]
counted = imageio_ffmpeg.count_frames_and_secs("clip.mp4")[0]
last = (len(read) - 1) / told
print(f"told {told} fps, counted {counted} frames, read {len(read)}: the last at {last:.1f} s")
assert sorted(set(read)) == list(range(8))
assert (told, counted, len(read)) == (2.5, 8, 32)
PYTHON
