"""The face models: InsightFace's detector, age and recognition models, MediaPipe's landmarks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.methods import inference
from tiktok_ray.methods.vision.box_tracks import iou
from tiktok_ray.net.telemetry_block import block_native_telemetry

Sex = Literal["female", "male"]
Task = Literal["detection", "age", "recognition"]
Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

DETECTOR_SIDES = (160, 640)
#: Least confidence of a detection.
DETECTED = 0.5
#: Long side of the input, in pixels, at which faces of at least ``CLOSE_UP`` of the picture's height
#: are looked for again, and the IoU from which two detections are one face.
CLOSE_UP_SIDE, CLOSE_UP, SAME = 160, 0.6, 0.3
DETECTORS = ("det_10g.onnx", "det_500m.onnx")
AGE_MODELS = {
    "genderage.onnx": "genderage.onnx",
    "genderage_faceapi.onnx": "genderage_faceapi.onnx (stand-in: AgeGenderNet of face-api.js)",
}
RECOGNIZERS = ("w600k_r50.onnx", "w600k_mbf.onnx")
CUDA_OPTIONS = {"gpu_mem_limit": 512 * 2**20, "arena_extend_strategy": "kSameAsRequested"}


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
        self._detector = model_of("detection", detector, device)
        self._age = model_of("age", age_model, device)
        self._recognizer = model_of("recognition", recognizer, device) if recognizer else None

    def detect(self, picture: Picture) -> Detections:
        """Faces of all sizes. The detector's largest anchors are smaller than its input: a face
        that fills the picture is found in a second look, at a small input, and taken from there.
        """
        bgr = np.ascontiguousarray(picture[..., ::-1])
        whole = self._look(bgr, DETECTOR_SIDES[1])
        if max(picture.shape[:2]) <= CLOSE_UP_SIDE:
            return whole
        near = self._look(bgr, CLOSE_UP_SIDE)
        heights = near.boxes[:, 3] - near.boxes[:, 1]
        new = (iou(near.boxes, whole.boxes).max(1, initial=0) < SAME) & (heights >= CLOSE_UP)
        return Detections(*(np.concatenate([a, b[new]]) for a, b in zip(whole, near, strict=True)))

    def _look(self, bgr: Picture, longest: int) -> Detections:
        height, width = bgr.shape[:2]
        size_in = input_size(width, height, longest)
        self._detector.prepare(0, input_size=size_in, det_thresh=DETECTED)
        boxes, points = self._detector.detect(bgr)
        size = np.array([width, height], float)
        return Detections(
            boxes=np.clip(boxes[:, :4] / np.tile(size, 2), 0, 1).astype(float),
            scores=boxes[:, 4].astype(float),
            landmarks=(points / size).astype(float),
        )

    def guess(self, picture: Picture, box: Array, landmarks: Array) -> Guess:
        bgr = np.ascontiguousarray(picture[..., ::-1])
        record = _Record(bbox=box, kps=landmarks.astype(np.float32), det_score=1.0)
        sex, age = self._age.get(bgr, record)
        embedding = self._recognizer.get(bgr, record) if self._recognizer else None
        return Guess(
            float(age),
            "male" if sex == 1 else "female",
            None if embedding is None else np.asarray(embedding, float),
        )


def input_size(width: int, height: int, most: int = DETECTOR_SIDES[1]) -> tuple[int, int]:
    """The detector's input for a picture: its own size as far as 160..``most`` on the long side
    allow, rounded up to whole cells of 32 pixels."""
    longest = max(width, height)
    target = min(max(longest, DETECTOR_SIDES[0]), most)
    cells = [-(-side * target // (32 * longest)) for side in (width, height)]
    return 32 * cells[0], 32 * cells[1]


def present(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of these files that lies in the folder."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


class _Record(dict[str, Any]):
    """What InsightFace's models read of a face and write to it, as its ``app.common.Face``, whose
    package imports all of its applications."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__  # type: ignore[assignment]


def model_of(task: Task, path: Path, device: str) -> Any:
    """An InsightFace model on one thread of the device asked for, and on no other.

    Its file is loaded once: InsightFace is given a session, and told what kind of model it is,
    which ``get_model`` would find out by a session of its own.
    """
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX
    from insightface.model_zoo.attribute import Attribute
    from insightface.model_zoo.scrfd import SCRFD

    session = inference.open_session(path) if device == "cpu" else _on_a_card(path)
    if task == "detection":
        return SCRFD(str(path), session, static_shape_sessions=False)
    made = Attribute if task == "age" else ArcFaceONNX
    return made(str(path), session)


def _on_a_card(path: Path) -> Any:
    """A session of ONNX Runtime on the card. Raises ``RuntimeError`` where it is not there."""
    import onnxruntime as ort

    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise RuntimeError("this ONNX Runtime has no CUDAExecutionProvider")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    ort.preload_dlls()
    providers = [("CUDAExecutionProvider", CUDA_OPTIONS), "CPUExecutionProvider"]
    session = ort.InferenceSession(str(path), options, providers=providers)
    inference.note("onnxruntime")
    used = session.get_providers()[0]
    if used != "CUDAExecutionProvider":
        raise RuntimeError(f"{path.name} runs on {used}, not on the GPU")
    return session


class Landmarks(NamedTuple):
    """One face: ``points`` [478, 3], x and y in 0..1 of the picture read, z in the unit of x and
    towards the camera negative; ``pose`` [3, 3], rotation of the head (x right, y up, z towards
    the camera); ``shapes``, blendshapes by name, 0..1."""

    points: Array
    pose: Array
    shapes: dict[str, float]


class Landmarker(Protocol):
    """Finds faces and their landmarks in an RGB picture, uint8 [height, width, 3]."""

    def __call__(self, picture: Picture) -> list[Landmarks]: ...


@contextmanager
def face_landmarker(model: Path) -> Iterator[Landmarker]:
    """MediaPipe's FaceLandmarker without memory of earlier pictures (IMAGE mode), closed at the end.

    MediaPipe's own reports to its maker go nowhere.
    """
    from mediapipe import Image, ImageFormat
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(model)),
        num_faces=4,
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    block_native_telemetry()
    landmarker = vision.FaceLandmarker.create_from_options(options)

    def find(picture: Picture) -> list[Landmarks]:
        found = landmarker.detect(Image(image_format=ImageFormat.SRGB, data=picture))
        return [
            Landmarks(
                np.array([(p.x, p.y, p.z) for p in points]),
                orthonormal(np.asarray(matrix, float)[:3, :3]),
                {shape.category_name: float(shape.score) for shape in shapes},
            )
            for points, shapes, matrix in zip(
                found.face_landmarks,
                found.face_blendshapes,
                found.facial_transformation_matrixes,
                strict=True,
            )
        ]

    try:
        yield find
    finally:
        landmarker.close()


def orthonormal(matrix: Array) -> Array:
    """The rotation nearest to a matrix [3, 3] that also scales (polar decomposition)."""
    left, _, right = np.linalg.svd(matrix)
    result: Array = left @ right
    return result
