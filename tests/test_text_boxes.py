"""Boxes of text from heat maps, beside RapidOCR's own."""

import cv2
import numpy as np
import pytest

from tiktok_ray.methods.text.text_boxes import text_boxes


def drawn(*lines: tuple[tuple[float, float], tuple[float, float], float]) -> np.ndarray:
    """A heat map of 160 x 96 with rectangles: centre, size and angle in degrees."""
    heat = np.zeros((96, 160), np.float32)
    for centre, size, angle in lines:
        corners = cv2.boxPoints((centre, size, angle))
        cv2.fillPoly(heat, [corners.round().astype(np.int32)], (0.9,))
    return heat


def test_a_line_grows_to_its_letters_and_scales_to_the_picture():
    [box] = text_boxes(drawn(((80, 48), (60, 8), 0)), 320, 192)
    left, top = box[0]
    right, bottom = box[2]
    grown = 1.6 * 60 * 8 / (2 * (60 + 8))
    assert (left, right) == pytest.approx((160 - 60 - 2 * grown, 160 + 60 + 2 * grown), abs=4)
    assert (top, bottom) == pytest.approx((96 - 8 - 2 * grown, 96 + 8 + 2 * grown), abs=4)


def test_what_is_faint_or_tiny_is_no_line():
    assert len(text_boxes(np.float32(0.5) * drawn(((80, 48), (60, 8), 0)), 320, 192)) == 0
    assert len(text_boxes(drawn(((80, 48), (1, 1), 0)), 320, 192)) == 0
    assert text_boxes(drawn(), 320, 192).shape == (0, 4, 2)


def heats() -> list[np.ndarray]:
    """Lines at all angles and places, some over the edge, and noise."""
    rng = np.random.default_rng(5)
    made = []
    for _ in range(40):
        lines = [
            (tuple(rng.uniform(0, (160, 96))), tuple(rng.uniform((3, 2), (70, 20))), rng.uniform(0, 180))
            for _ in range(4)
        ]  # fmt: skip
        made.append(cv2.GaussianBlur(drawn(*lines), (0, 0), float(rng.uniform(0.3, 2))))
        noise = cv2.GaussianBlur(rng.random((96, 160)).astype(np.float32), (0, 0), 3)
        made.append((noise - noise.min()) / np.ptp(noise))
    return made


def test_boxes_are_those_of_rapidocr():
    from rapidocr.ch_ppocr_det.utils import DBPostProcess

    theirs = DBPostProcess(box_thresh=0.5, unclip_ratio=1.6, use_dilation=True)
    count = 0
    for heat in heats():
        expected, _ = theirs(heat[None, None], (311, 533))
        found = text_boxes(heat, 533, 311)
        np.testing.assert_array_equal(found, np.asarray(expected, float).reshape(-1, 4, 2))
        count += len(found)
    assert count > 60
