#!/usr/bin/env bash
# PyAV 18.1.0 with the libx264 of its wheel (libavcodec 62.28), on a processor with AVX-512.
#
# libx264 encodes the same pictures, with the same settings and on one thread, to other bytes from one time to
# the next, within one process. With macroblock-tree rate control off (mbtree=0), or without the AVX-512
# routines (asm up to AVX2), it is the same each time. So a clip that tests make and do not keep need not be the
# clip they saw before. Without AVX-512 nothing of this was seen, and the script says so.
#
# Seen (different results of 40 encodings each of 180x320 and of 192x320):
#   as it is: 13 and 8
#   mbtree=0: 1 and 1
#   asm up to AVX2: 1 and 1
# The first two vary (2 to 13 were seen); not both of them are 1.
set -euo pipefail
if ! grep -qw avx512f /proc/cpuinfo; then
    echo "no AVX-512 here: nothing to see"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check numpy==2.4.6 av==18.1.0

venv/bin/python - <<'PYTHON'
import hashlib
import io

import av
import numpy as np

av.logging.set_level(av.logging.PANIC)
TIMES = 40
UP_TO_AVX2 = "MMX2,SSE2,SSE2Fast,LZCNT,SSSE3,SSE4.1,SSE4.2,AVX,FMA3,BMI1,BMI2,AVX2"


def pictures(width, height):
    """Thirty pictures of smooth noise."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        coarse = rng.integers(0, 255, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
        yield coarse.repeat(4, 0).repeat(4, 1)[:height, :width].copy()


def encoded(shown, more):
    packets = hashlib.sha256()
    with av.open(io.BytesIO(), "w", format="mp4") as container:
        params = ":".join(["log-level=none", *more])
        options = {"preset": "veryfast", "crf": "16", "threads": "1", "x264-params": params}
        stream = container.add_stream("libx264", rate=30, options=options)
        stream.height, stream.width = shown[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        frames = [av.VideoFrame.from_ndarray(p, format="rgb24") for p in shown]
        for k, frame in enumerate([*frames, None]):
            if frame is not None:
                frame.pts = k
            for packet in stream.encode(frame):
                packets.update(bytes(packet))
    return packets.hexdigest()


seen = {}
for name, more in {"as it is": [], "mbtree=0": ["mbtree=0"], "asm up to AVX2": [f"asm={UP_TO_AVX2}"]}.items():
    of_sizes = [list(pictures(*size)) for size in ((180, 320), (192, 320))]
    seen[name] = [len({encoded(shown, more) for _ in range(TIMES)}) for shown in of_sizes]
    print(f"{name}: {seen[name][0]} and {seen[name][1]}")
assert max(seen.pop("as it is")) > 1
assert all(counts == [1, 1] for counts in seen.values()), seen
PYTHON
