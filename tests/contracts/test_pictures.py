"""What detectors and readers of text do with pictures, and how it is met."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tiktok_ray.methods.vision.faces import InsightFace
from tiktok_ray.methods.vision.yolo import Yolo, pack


def written(*lines: tuple[str, int, int]) -> np.ndarray:
    """Words (text, left, baseline) on white."""
    page = np.full((200, 700, 3), 255, np.uint8)
    for text, left, base in lines:
        cv2.putText(page, text, (left, base), 0, 1.3, (0, 0, 0), 3)
    return page


@pytest.fixture(scope="module")
def reader() -> Any:
    from rapidocr import RapidOCR

    # A page is enlarged no further than the words need, and no thread waits in a loop for work.
    return RapidOCR(
        params={
            "Global.log_level": "error",
            "Det.limit_side_len": 256,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        }
    )


@pytest.mark.slow
def test_what_one_call_asks_of_rapidocr_holds_for_the_next(reader):
    """The arguments of a call are written to the reader. We run its two models ourselves."""
    page = written(("LEFT TOP", 20, 60))
    assert reader(page).txts == ("LEFT TOP",)
    assert reader(page, text_score=0.99999).txts is None
    assert reader(page).txts is None  # no argument any more
    assert reader(page, text_score=0.5).txts == ("LEFT TOP",)  # as it was, for the next test


@pytest.mark.parametrize(("higher", "order"), [(8, ("FIRST", "SECOND")), (12, ("SECOND", "FIRST"))])
def test_rapidocr_reads_a_slanted_line_from_the_right(reader, higher, order):
    """Boxes are rows where their tops are within 10 pixels, whatever the size of the letters."""
    page = written(("FIRST", 20, 100), ("SECOND", 400, 100 - higher))
    assert reader(page).txts == order


def test_pictures_of_one_batch_must_have_one_size():
    """A padded picture is another picture (below): we refuse it instead."""
    with pytest.raises(ValueError, match="must have the same size"):
        pack([np.zeros((64, 64, 3), np.uint8), np.zeros((64, 96, 3), np.uint8)], 640)


@pytest.fixture
def street(real_media: Path) -> np.ndarray:
    return np.asarray(cv2.imread(str(real_media / "still" / "bus.jpg")))


@pytest.mark.slow
def test_ultralytics_sees_other_things_in_a_batch_of_mixed_sizes(real_models, real_media, street):
    """Alone a picture is padded to multiples of 32, in such a batch to a square."""
    checkpoint = real_models / "ultralytics" / "yolov8n.pt"
    if not checkpoint.is_file():
        pytest.skip("no yolov8n.pt among the weights of this machine")
    from ultralytics import YOLO

    model = YOLO(str(checkpoint))
    other = cv2.imread(str(real_media / "still" / "two_people.jpg"))
    assert len(model(street, verbose=False)[0].boxes) == 6
    assert len(model([street, street], verbose=False)[0].boxes) == 6
    assert len(model([street, other], verbose=False)[0].boxes) == 5
    ours = Yolo(checkpoint, "cpu", floor=0.25)
    rgb = street[..., ::-1]
    assert [len(rows) for rows in [*ours([rgb]), *ours([rgb, rgb])]] == [6, 6, 6]


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.9, 1.0, 1.15, 1.3])
def test_a_face_that_fills_a_portrait_picture_is_found(real_models, real_media, share):
    """SCRFD finds none much higher than its input; a second look at 160 pixels does."""
    pack_of = real_models / "insightface" / "models" / "buffalo_s"
    if not pack_of.is_dir():
        pytest.skip("no face models on this machine")
    model = InsightFace(pack_of, "cpu")
    picture = cv2.imread(str(real_media / "still" / "astronaut.png"))[..., ::-1]
    middle, height = (226, 120), 120 / share
    top, left = (max(0, int(middle[1] - height / 2)), int(middle[0] - height * 9 / 32))
    crop = picture[top : top + int(height), left : left + int(height * 9 / 16)]
    shown = cv2.resize(crop, (320, 568))
    model._detector.prepare(0, input_size=(320, 576), det_thresh=0.5)
    seen_alone = len(model._detector.detect(np.ascontiguousarray(shown[..., ::-1]))[0])
    assert seen_alone == (1 if share <= 1 else 0)
    found = model.detect(shown)
    assert len(found.boxes) == 1
    low, high = found.boxes[0, :2], found.boxes[0, 2:]
    assert (low < 0.5).all()
    assert (high > 0.5).all()
    assert ((found.landmarks[0] > 0) & (found.landmarks[0] < 1)).all()
