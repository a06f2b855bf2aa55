#!/usr/bin/env bash
# decord2 3.4.0, PyAV 18.1.0 to make the file (libx264, open groups of pictures, B frames).
#
# In a file with open groups of pictures, which broadcasters' encoders and x265 make by default, a frame
# that is asked for by its index is another one, one or two further on; all frames in turn are
# right, and so is a batch with the same indices. There is no error.
#
# Seen:
#   in turn: 40 of 40 right
#   asked for [3, 9, 12, 19, 23, 31, 37] one by one: [3, 11, 14, 20, 24, 33, 39]
#   asked for [37, 3, 12] in a batch: [37, 3, 12]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check numpy==2.4.6 av==18.1.0 decord2==3.4.0

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


import decord

decord.logging.set_level(decord.logging.QUIET)
parameters = "open-gop=1:keyint=10:min-keyint=10:bframes=3:threads=1:log-level=none"
write("clip.mp4", "libx264", range(0, 4000, 100), {"x264-params": parameters})


def reader():
    return decord.VideoReader("clip.mp4", num_threads=1)


video = reader()
in_turn = [number(video[i].asnumpy()) for i in range(len(video))]
asked = [3, 9, 12, 19, 23, 31, 37]
video = reader()
one_by_one = [number(video[i].asnumpy()) for i in asked]
batch = [number(picture) for picture in reader().get_batch([37, 3, 12]).asnumpy()]
print("in turn:", sum(a == b for a, b in enumerate(in_turn)), "of", len(in_turn), "right")
print("asked for", asked, "one by one:", one_by_one)
print("asked for [37, 3, 12] in a batch:", batch)
assert in_turn == list(range(40))
assert one_by_one == [3, 11, 14, 20, 24, 33, 39]
assert batch == [37, 3, 12]
PYTHON
