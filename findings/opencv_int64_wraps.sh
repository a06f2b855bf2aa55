#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93 (OpenCV 5.0.0), numpy 2.4.6.
#
# OpenCV 5 takes arrays of 64-bit integers, which OpenCV 4 refused, and makes 32-bit ones of them:
# values beyond 31 bits wrap without an error or a warning, even where nothing is computed (flip,
# transpose). uint32, which is new as well, keeps its values.
#
# Seen:
#   flip of int64 [2**33 + 5, 7]: int32 [7, 5]
#   add of int64 1: int32 [6, 8]
#   flip of uint32 [2**32 - 1, 7]: uint32 [7, 4294967295]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check numpy==2.4.6 opencv-python-headless==5.0.0.93

venv/bin/python - <<'PYTHON'
import cv2
import numpy as np

wide = np.array([[2**33 + 5, 7]], np.int64)
flipped, added = cv2.flip(wide, 1), cv2.add(wide, np.ones_like(wide))
narrow = cv2.flip(np.array([[2**32 - 1, 7]], np.uint32), 1)
print("flip of int64 [2**33 + 5, 7]:", flipped.dtype, flipped.ravel().tolist())
print("add of int64 1:", added.dtype, added.ravel().tolist())
print("flip of uint32 [2**32 - 1, 7]:", narrow.dtype, narrow.ravel().tolist())
assert (flipped.dtype, flipped.ravel().tolist()) == (np.int32, [7, 5])
assert (added.dtype, added.ravel().tolist()) == (np.int32, [6, 8])
assert (narrow.dtype, narrow.ravel().tolist()) == (np.uint32, [7, 4294967295])
PYTHON
