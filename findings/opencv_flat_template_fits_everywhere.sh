#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93 (OpenCV 5.0.0), numpy 2.4.6.
#
# A template without contrast is a perfect match to OpenCV's normalised correlation coefficient
# (TM_CCOEFF_NORMED), wherever it is laid and whatever is there: the quotient of 0 and 0 is given as
# 1.0. So a grey template is "found" in a black picture, and in a noisy one at every place, with the
# highest score there is.
#
# Seen (lowest score of all places):
#   TM_CCOEFF_NORMED, grey 200 in a picture of grey 7: 1.0
#   TM_CCOEFF_NORMED, grey 200 in noise: 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check numpy==2.4.6 opencv-python-headless==5.0.0.93

venv/bin/python - <<'PYTHON'
import cv2
import numpy as np

template = np.full((8, 8), 200, np.uint8)
flat = np.full((40, 40), 7, np.uint8)
noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
for name, picture in (("a picture of grey 7", flat), ("noise", noise)):
    scores = cv2.matchTemplate(picture, template, cv2.TM_CCOEFF_NORMED)
    print(f"TM_CCOEFF_NORMED, grey 200 in {name}:", float(scores.min()))
    assert scores.min() == scores.max() == 1.0
PYTHON
