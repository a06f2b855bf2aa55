"""The face models: InsightFace's detector, age and recognition models."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Sex = Literal["female", "male"]
Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

DETECTOR_SIDES = (160, 640)
DETECTORS = ("det_10g.onnx", "det_500m.onnx")
AGE_MODELS = {
    "genderage.onnx": "genderage.onnx",
    "genderage_faceapi.onnx": "genderage_faceapi.onnx (stand-in: AgeGenderNet of face-api.js)",
}
RECOGNIZERS = ("w600k_r50.onnx", "w600k_mbf.onnx")


class Detections(NamedTuple):
    """Faces of one picture: ``boxes`` [n, 4] and ``landmarks`` [n, 5, 2] in 0..1, ``scores`` [n]."""

    boxes: Array
    scores: Array
    landmarks: Array


class Guess(NamedTuple):
    """What the models say of one face: age in years, sex, and its embedding if there is one."""

    age: float
    sex: Sex
    embedding: Array | None


class FaceModel(Protocol):
    """What the analyzer needs of InsightFace. Pictures are RGB, uint8 [height, width, 3]."""

    detector: str
    age_model: str
    recognizer: str | None

    def detect(self, picture: Picture) -> Detections: ...

    def guess(self, picture: Picture, box: Array, landmarks: Array) -> Guess: ...


class InsightFace:
    """Detector, age and sex model and, where the pack has one, recognition model of one folder.

    Raises ``RuntimeError`` when ``device`` is ``"cuda"`` and ONNX Runtime cannot use it.
    """

    def __init__(self, pack: Path, device: str) -> None:
        import cv2

        cv2.setNumThreads(1)
        detector = present(pack, DETECTORS)
        age_model = present(pack, AGE_MODELS)
        recognizer = present(pack, RECOGNIZERS)
        if detector is None or age_model is None:
            raise FileNotFoundError(f"{pack} holds no face detector or no age model")
        self.detector = detector.name
        self.age_model = AGE_MODELS[age_model.name]
        self.recognizer = recognizer.name if recognizer else None
        self._detector = session(detector, device)
        self._age = session(age_model, device)
        self._recognizer = session(recognizer, device) if recognizer else None

    def detect(self, picture: Picture) -> Detections:
        height, width = picture.shape[:2]
        self._detector.prepare(0, input_size=input_size(width, height), det_thresh=0.5)
        boxes, points = self._detector.detect(np.ascontiguousarray(picture[..., ::-1]))
        size = np.array([width, height], float)
        return Detections(
            boxes=np.clip(boxes[:, :4] / np.tile(size, 2), 0, 1).astype(float),
            scores=boxes[:, 4].astype(float),
            landmarks=(points / size).astype(float),
        )

    def guess(self, picture: Picture, box: Array, landmarks: Array) -> Guess:
        from insightface.app.common import Face as Record

        bgr = np.ascontiguousarray(picture[..., ::-1])
        record = Record(bbox=box, kps=landmarks.astype(np.float32), det_score=1.0)
        sex, age = self._age.get(bgr, record)
        embedding = self._recognizer.get(bgr, record) if self._recognizer else None
        return Guess(
            float(age),
            "male" if sex == 1 else "female",
            None if embedding is None else np.asarray(embedding, float),
        )


def input_size(width: int, height: int) -> tuple[int, int]:
    """The detector's input for a picture: its own size as far as 160..640 on the long side allow,
    rounded up to whole cells of 32 pixels."""
    scale = np.clip(max(width, height), *DETECTOR_SIDES) / max(width, height)
    return (int(-(-width * scale // 32)) * 32, int(-(-height * scale // 32)) * 32)


def present(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of these files that lies in the folder."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def session(path: Path, device: str) -> Any:
    """An InsightFace model on one thread of the device asked for, and on no other."""
    import onnxruntime as ort
    from insightface.model_zoo import get_model

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    if device == "cuda":
        providers.insert(0, "CUDAExecutionProvider")
    model = get_model(
        str(path), providers=providers, sess_options=options, static_shape_sessions=False
    )
    if model.session.get_providers()[0] != providers[0]:
        raise RuntimeError(f"ONNX Runtime has no {providers[0]} here")
    return model
