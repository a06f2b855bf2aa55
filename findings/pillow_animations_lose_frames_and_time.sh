#!/usr/bin/env bash
# Pillow 13.0.0.
#
# Equal pictures in a row become one when an animation is saved, also where each was given its own place:
# six go in and three come out, of GIF, APNG and WebP alike, so that frame numbers no longer
# agree with those of the video they came from. In GIF their time is cut down to hundredths of a second
# after it was summed: 198 ms become 180, and how much is lost depends on which were equal.
#
# Seen:
#   GIF: 3 frames, [60, 90, 30] ms
#   PNG: 3 frames, [66, 99, 33] ms
#   WEBP: 3 frames, [66, 99, 33] ms
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check pillow==13.0.0

venv/bin/python - <<'PYTHON'
import io

from PIL import Image

pictures = [Image.new("RGB", (40, 40), c) for c in ("red", "red", "blue", "blue", "blue", "red")]
seen = {}
for kind in ("GIF", "PNG", "WEBP"):
    file = io.BytesIO()
    pictures[0].save(file, kind, save_all=True, append_images=pictures[1:], duration=33)
    again = Image.open(io.BytesIO(file.getvalue()))
    lengths = []
    for k in range(again.n_frames):
        again.seek(k)
        again.load()
        lengths.append(round(again.info["duration"]))
    seen[kind] = lengths
    print(f"{kind}: {len(lengths)} frames, {lengths} ms")
assert seen["GIF"] == [60, 90, 30]
assert [len(lengths) for lengths in seen.values()] == [3, 3, 3]
PYTHON
