#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93 (OpenCV 5.0.0), numpy 2.4.6.
#
# Phase correlation of a flat picture with itself reports a shift of nearly half its side where the side
# is even, and none where it is odd, for that with full confidence; of two black ones it is exactly half. The
# response of the former, which says how far to trust it, is small but not 0. A fade to grey thus reads as a jump of half a picture.
#
# Seen (shift, response):
#   64 x 64, level 7: [31.0, 31.0] 0.0022
#   65 x 65, level 7: [0.0, 0.0] 0.9999
#   64 x 64, level 0: [32.0, 32.0] 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check numpy==2.4.6 opencv-python-headless==5.0.0.93

venv/bin/python - <<'PYTHON'
import cv2
import numpy as np

seen = {}
for side, level in ((64, 7), (65, 7), (64, 0)):
    picture = np.full((side, side), level, np.float32)
    shift, response = cv2.phaseCorrelate(picture, picture)
    seen[side, level] = [round(abs(v), 3) for v in shift]
    print(f"{side} x {side}, level {level}:", [round(v, 3) for v in shift], round(response, 4))
assert seen == {(64, 7): [31, 31], (65, 7): [0, 0], (64, 0): [32, 32]}
PYTHON
