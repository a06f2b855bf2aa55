#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93 (OpenCV 5.0.0), numpy 2.4.6.
#
# OpenCV 5 knows arrays of one axis, and some functions that used to return a column of rows lost the
# axis in the middle while their neighbours kept it. calcHist gave (8, 1), findNonZero (n, 1, 2) and
# HoughLinesP (n, 1, 4) before; code that says line[0] now gets a number. HoughLines, HoughCircles,
# contours, approxPolyDP and goodFeaturesToTrack are as they were.
#
# Seen:
#   calcHist (8,)
#   findNonZero (3, 2)
#   HoughLinesP (1, 4)
#   HoughLines (1, 1, 2)
#   goodFeaturesToTrack (4, 1, 2)
#   approxPolyDP (3, 1, 2)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install -qq --disable-pip-version-check numpy==2.4.6 opencv-python-headless==5.0.0.93

venv/bin/python - <<'PYTHON'
import cv2
import numpy as np

diagonal = np.eye(200, dtype=np.uint8) * 255
square = np.pad(np.full((8, 8), 255, np.uint8), 8)
triangle = np.array([[0, 0], [4, 0], [4, 4]], np.int32)
shapes = {
    "calcHist": cv2.calcHist([square], [0], None, [8], [0, 256]).shape,
    "findNonZero": cv2.findNonZero(np.eye(3, dtype=np.uint8)).shape,
    "HoughLinesP": cv2.HoughLinesP(diagonal, 1, np.pi / 180, 50).shape,
    "HoughLines": cv2.HoughLines(diagonal[:100, :100].copy(), 1, np.pi / 180, 50).shape,
    "goodFeaturesToTrack": cv2.goodFeaturesToTrack(square, 5, 0.01, 3).shape,
    "approxPolyDP": cv2.approxPolyDP(triangle, 0.1, True).shape,
}
for name, shape in shapes.items():
    print(name, shape)
assert shapes == {
    "calcHist": (8,),
    "findNonZero": (3, 2),
    "HoughLinesP": (1, 4),
    "HoughLines": (1, 1, 2),
    "goodFeaturesToTrack": (4, 1, 2),
    "approxPolyDP": (3, 1, 2),
}
PYTHON
