"""Faces over time: with a model that sees coloured squares, tiny ONNX packs, and the real pack."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from actors.age_estimation import (
    AgeEstimation,
    AgeOptions,
    Faces,
    describe,
    distribution,
)
from actors.cut_analysis import Cuts, Shot
from tiktok_ray.analyzer import Analyzer, Partial, Skip
from tiktok_ray.media import Frames, decode
from tiktok_ray.media.writer import write_clip
from tiktok_ray.methods import inference
from tiktok_ray.methods.vision.face_tracks import (
    Sighting,
    best_moment,
    frontality,
    largest,
    mean_embedding,
    persons,
    pick,
)
from tiktok_ray.methods.vision.faces import Detections, Guess, InsightFace, input_size
from tiktok_ray.settings import Settings

SIZE = (160, 96)
#: Eyes, nose and mouth corners within a face, as shares of its box.
POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


class Squares:
    """Sees each bright red patch as a face: green is its age, blue its sex, red how sure it is."""

    detector, age_model = "squares.onnx", "colours.onnx"
    recognizer: str | None = "colours.onnx"

    def detect(self, picture: np.ndarray) -> Detections:
        height, width = picture.shape[:2]
        patches, _ = ndimage.label(picture[..., 0] > 120)
        boxes, scores = [], []
        for rows, columns in ndimage.find_objects(patches):
            boxes.append((columns.start, rows.start, columns.stop, rows.stop))
            scores.append(float(np.median(picture[rows, columns, 0])) / 255)
        found = np.array(boxes, float).reshape(-1, 4)
        points = found[:, None, :2] + POINTS * (found[:, 2:] - found[:, :2])[:, None]
        size = np.array([width, height])
        return Detections(found / np.tile(size, 2), np.array(scores), points / size)

    def guess(self, picture: np.ndarray, box: np.ndarray, landmarks: np.ndarray) -> Guess:
        x, y = landmarks[2].astype(int)
        _, green, blue = (float(v) for v in picture[y, x])
        return Guess(
            green / 255 * 100,
            "female" if blue > 128 else "male",
            np.array([green - 100, blue - 128, 30.0]),
        )


class Nameless(Squares):
    """The same without a recognition model."""

    recognizer = None

    def guess(self, picture: np.ndarray, box: np.ndarray, landmarks: np.ndarray) -> Guess:
        return super().guess(picture, box, landmarks)._replace(embedding=None)


def picture(*faces: tuple[int, int, int, int, str], sure: float = 0.95) -> np.ndarray:
    """Faces (left, top, side in pixels, age, sex) on black."""
    drawn = np.zeros((*SIZE, 3), np.uint8)
    for x, y, side, age, sex in faces:
        drawn[y : y + side, x : x + side] = (
            round(sure * 255),
            round(age * 2.55),
            200 if sex == "female" else 60,
        )
    return drawn


def video(pictures: list[np.ndarray], fps: float = 10) -> Frames:
    return Frames.of([k / fps for k in range(len(pictures))], pictures, len(pictures) / fps)


def cuts(*times: float) -> Cuts:
    starts = [0.0, *times]
    return Cuts.model_construct(
        shots=[Shot(start=t, end=t + 1, index=i) for i, t in enumerate(starts)]
    )


def analyzer(model: Squares | None = None, **options: Any) -> AgeEstimation:
    made = AgeEstimation(AgeOptions(**options))
    made.model = model or Squares()
    return made


MAN, WOMAN = (10, 20, 40, 50, "male"), (52, 90, 40, 20, "female")


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    """Inputs that differ in everything that faces are described by."""
    alone = [picture(MAN)] * 20
    pair = [picture(MAN, WOMAN)] * 8 + [picture()] * 6
    tiny = [picture((30, 30, 12, 70, "male"), sure=0.8)] * 5
    aging = [picture((10 + k, 20, 36, 30 + 2 * k, "female" if k % 3 else "male")) for k in range(9)]
    return [
        (analyzer(embeddings=True), {"dense": video(alone), "cut_analysis": cuts(1.0)}),
        (analyzer(), {"dense": video(pair, fps=4), "cut_analysis": cuts()}),
        (analyzer(), {"dense": video(tiny), "cut_analysis": None}),
        (analyzer(), {"dense": video(aging, fps=5), "cut_analysis": None}),
    ]


def faces_of(result: Faces | Partial) -> Faces:
    output = result.output if isinstance(result, Partial) else result
    assert isinstance(output, Faces)
    return output


def test_two_faces_have_their_own_age_sex_and_times():
    found = faces_of(
        analyzer().analyze(video([picture(MAN, WOMAN)] * 8 + [picture(MAN)] * 8), None)
    )
    man, woman = found.faces
    assert (man.start, man.end, woman.start) == pytest.approx((0.0, 1.6, 0.0))
    assert 0.8 <= woman.end <= 1.0  # the last picture with her is searched or the next without
    assert (round(man.age or 0), man.sex) == (50, "male")
    assert (round(woman.age or 0), woman.sex) == (20, "female")
    assert man.boxes[0] == pytest.approx((10 / 96, 20 / 160, 50 / 96, 60 / 160), abs=0.015)
    assert found.most_at_once == 2
    assert found.screen_share == pytest.approx(1.0)
    assert [(g.name, g.faces) for g in found.ages] == [("young adult", 1), ("middle-aged", 1)]
    assert found.headline() == "2 faces, age 50, 20"


@pytest.mark.parametrize("fps", [2, 3, 10, 15])
def test_a_face_found_in_every_second_picture_is_one_face_beside_one_that_stays(fps):
    searched = pick([k / fps for k in range(4 * fps)], [], 0.3)
    shown = [picture(MAN, *[WOMAN] * (k in searched[::2]), sure=0.9) for k in range(4 * fps)]
    man, woman = faces_of(analyzer().analyze(video(shown, fps=fps), None)).faces
    assert (man.start, woman.start) == (0.0, 0.0)
    assert woman.end >= 3.0


def test_a_face_of_a_moment_is_no_face():
    shown = [picture(MAN, *[WOMAN] * (k == 6)) for k in range(20)]
    assert len(faces_of(analyzer().analyze(video(shown), None)).faces) == 1


def test_a_cut_ends_a_track_and_its_time_is_exact():
    shown = [picture(MAN)] * 7 + [picture((12, 22, 40, 20, "female"))] * 8
    one = faces_of(analyzer().analyze(video(shown), None))
    two = faces_of(analyzer().analyze(video(shown), cuts(0.7)))
    assert len(one.faces) == 1
    assert [(f.start, f.end, f.sex) for f in two.faces] == [
        (0.0, 0.7, "male"),
        (0.7, 1.5, "female"),
    ]
    assert two.people == 2


def test_one_person_in_two_shots_is_one_person():
    shown = [picture(MAN)] * 5 + [picture((50, 100, 40, 50, "male"))] * 5 + [picture(WOMAN)] * 5
    found = faces_of(analyzer().analyze(video(shown), cuts(0.5, 1.0)))
    assert [f.person for f in found.faces] == [1, 1, 2]
    assert found.people == 2
    lax = faces_of(analyzer(same_person=-1).analyze(video(shown), cuts(0.5, 1.0)))
    assert [f.person for f in lax.faces] == [1, 1, 1]


def test_without_a_recognition_model_nobody_is_told_apart_and_the_report_says_so():
    result = analyzer(Nameless()).analyze(video([picture(MAN)] * 5), None)
    assert isinstance(result, Partial)
    assert [m.part for m in result.missing] == ["persons across shots"]
    found = faces_of(result)
    assert (found.people, found.faces[0].person, found.recognition_model) == (None, None, None)


def test_embeddings_stay_inside_unless_asked_for():
    shown = video([picture(MAN)] * 5)
    kept = faces_of(analyzer().analyze(shown, None)).faces[0]
    assert kept.embedding is None
    assert kept.person == 1
    given_out = faces_of(analyzer(embeddings=True).analyze(shown, None)).faces[0].embedding
    assert np.linalg.norm(given_out or [0]) == pytest.approx(1.0)


def test_biometrics_off_means_no_picture_is_looked_at():
    made = AgeEstimation(AgeOptions(enabled=False))  # no model at all
    with pytest.raises(Skip, match="biometrics are disabled"):
        made.analyze(video([picture(MAN)]), None)


@pytest.mark.parametrize("shown", [picture(), picture(MAN, sure=0.6)])
def test_no_face_and_unsure_faces_are_no_faces(shown):
    with pytest.raises(Skip, match="no face found"):
        analyzer().analyze(video([shown] * 5), None)


def test_small_faces_are_reported_without_an_age():
    found = faces_of(analyzer().analyze(video([picture((30, 30, 20, 70, "male"))] * 5), None))
    [face] = found.faces
    assert (face.age, face.sex, face.age_samples, face.person) == (None, None, 0, None)
    assert face.size_px == pytest.approx(20, abs=2)
    assert found.ages == []
    assert found.headline() == "1 face"
    assert [e.label for e in found.events()] == ["face"]


def test_events_name_sex_and_age():
    [event] = faces_of(analyzer().analyze(video([picture(WOMAN)] * 5), None)).events()
    assert (event.kind, event.label, event.track) == ("face", "face, female, about 20", 1)
    assert event.confidence == pytest.approx(0.95, abs=0.02)


def test_one_picture_is_enough():
    found = faces_of(analyzer().analyze(Frames.of([0.0], [picture(MAN)], 0.04), None))
    assert (found.faces[0].start, found.faces[0].end) == (0.0, 0.04)


# Which pictures are searched


def test_pictures_searched_lie_apart_and_include_both_ends_of_a_shot():
    times = [k / 10 for k in range(20)]
    assert pick(times, [], 0.3) == [0, 3, 6, 9, 12, 15, 18, 19]
    assert pick(times, [0.5], 0.3) == [0, 3, 4, 5, 8, 11, 14, 17, 19]


@given(
    st.lists(st.floats(0, 60), min_size=1, max_size=60, unique=True).map(sorted),
    st.lists(st.floats(0.1, 59), max_size=5),
)
def test_every_shot_is_searched_to_both_ends(times, breaks):
    picked = pick(times, breaks, 0.3)
    assert picked == sorted(set(picked))
    edges = [-1.0, *sorted(breaks), 99.0]
    for a, b in pairwise(edges):
        inside = [i for i, t in enumerate(times) if a <= t + 1e-6 < b]
        if inside:
            assert {inside[0], inside[-1]} <= set(picked)


# What is said of a track


def sighting(**changes: Any) -> Sighting:
    n = 5
    values: dict[str, Any] = {
        "times": [0.0, 0.3, 0.6, 0.9, 1.2],
        "boxes": np.array([[0.1, 0.1, 0.1 + w, 0.1 + w] for w in (0.2, 0.3, 0.5, 0.4, 0.1)]),
        "scores": np.full(n, 0.9),
        "landmarks": np.tile(POINTS, (n, 1, 1)),
        "sides": np.array([40.0, 60.0, 100.0, 80.0, 20.0]),
    }
    return Sighting(**(values | changes))


def test_the_largest_and_surest_detections_are_taken():
    assert largest(sighting(), 3, 32) == [1, 2, 3]
    assert largest(sighting(), 9, 32) == [0, 1, 2, 3]
    assert largest(sighting(scores=np.array([0.9, 0.9, 0.1, 0.9, 0.9])), 2, 32) == [1, 3]
    assert largest(sighting(), 3, 200) == []


def test_frontality_is_where_the_nose_lies_between_the_eyes():
    turned = np.tile(POINTS, (4, 1, 1))
    turned[:, 2, 0] = [0.5, 0.6, 0.7, 0.9]
    assert frontality(turned) == pytest.approx([1.0, 0.5, 0.0, 0.0])
    mirrored = POINTS[None].copy()
    mirrored[0, [0, 1]] = mirrored[0, [1, 0]]  # eyes crossed over: seen from behind
    assert 0 <= frontality(mirrored)[0] <= 1


def test_the_best_moment_prefers_large_frontal_faces():
    assert best_moment(sighting()) == 0.6
    turned = np.tile(POINTS, (5, 1, 1))
    turned[2, 2, 0] = 0.7
    assert best_moment(sighting(landmarks=turned)) == 0.9


def test_age_is_the_median_and_sex_the_majority():
    guesses = [Guess(a, s, None) for a, s in zip((20, 30, 40, 90), "mmfm", strict=True)]  # type: ignore[arg-type]
    guesses = [g._replace(sex="male" if g.sex == "m" else "female") for g in guesses]  # type: ignore[comparison-overlap]
    face = describe(3, sighting(), 1.5, guesses, None, None)
    assert (face.age, face.age_samples, face.sex, face.sex_agreement) == (35, 4, "male", 0.75)
    assert face.age_spread == pytest.approx(52.5 - 27.5)
    split = describe(3, sighting(), 1.5, guesses[:3], None, None)
    assert (split.sex, split.sex_agreement, split.age) == (None, None, 30)
    tie = describe(3, sighting(), 1.5, guesses[1:3], None, None)
    assert (tie.sex, tie.sex_agreement, tie.age_spread, tie.age) == (None, None, None, 35)


def test_age_groups_have_no_gap_and_no_overlap():
    def face(age: float | None) -> Any:
        return describe(0, sighting(), 2.0, [Guess(age, "male", None)] if age else [], None, None)

    for age in (1, 12.4, 12.6, 19, 20, 34.4, 35, 49.7, 50, 64, 65, 100):
        groups = distribution([face(age)])
        assert [g.faces for g in groups] == [1], age
        assert groups[0].first <= round(age) <= groups[0].last
    assert distribution([face(None)]) == []
    assert distribution([face(30), face(31), face(70)])[0].seconds == pytest.approx(4.0)


def unit(*values: float) -> np.ndarray:
    made: np.ndarray = np.array(values) / np.linalg.norm(values)
    return made


def test_persons_are_joined_by_likeness_but_never_across_one_moment():
    a, b, like_a = unit(1, 0, 0), unit(0, 1, 0), unit(1, 0.2, 0)
    apart = [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    assert persons([a, b, like_a], apart, 0.4) == [1, 2, 1]
    together = [(0.0, 1.0), (1.0, 2.0), (0.5, 3.0)]
    assert persons([a, b, like_a], together, 0.4) == [1, 2, 3]
    assert persons([a, None, a], apart, 0.4) == [1, None, 1]
    assert persons([a, b, like_a], apart, 0.99) == [1, 2, 3]
    assert persons([], [], 0.4) == []


def test_persons_average_over_a_group():
    """The middle one is like both others, which are not alike: the closer pair is joined first,
    and the third is too far from the mean of the two."""
    chain = [unit(1, 0), unit(1, 1), unit(0.1, 1)]
    apart = [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    assert persons(chain, apart, 0.6) == [1, 2, 2]


def test_a_mean_embedding_is_a_direction():
    made = mean_embedding(
        [Guess(1, "male", np.array([2.0, 0])), Guess(1, "male", np.array([0, 5.0]))]
    )
    assert made == pytest.approx([2**-0.5, 2**-0.5])
    assert mean_embedding([Guess(1, "male", None)]) is None


@given(st.integers(2, 4000), st.integers(2, 4000))
def test_the_detector_input_keeps_the_shape_within_bounds(width, height):
    w, h = input_size(width, height)
    assert w % 32 == h % 32 == 0
    assert 160 <= max(w, h) <= 640
    scale = np.clip(max(width, height), 160, 640) / max(width, height)
    assert width * scale - 1e-6 <= w < width * scale + 32 + 1e-6
    assert height * scale - 1e-6 <= h < height * scale + 32 + 1e-6


# Loading, on tiny packs of the real shape


def onnx_model(path: Path, nodes: list[Any], size: list[Any], outputs: list[Any], **constants: Any):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def tiny_detector(path: Path) -> None:
    """SCRFD's nine outputs: a face of 48 pixels wherever a cell of 8 is bright red and nothing
    else."""
    from onnx import helper

    nodes = []
    for stride in (8, 16, 32):
        red = "red" if stride == 8 else "none"
        nodes += [
            helper.make_node("AveragePool", ["input.1"], [f"p{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2),
            helper.make_node("Conv", [f"p{stride}", red], [f"c{stride}"]),
            helper.make_node("Relu", [f"c{stride}"], [f"r{stride}"]),
            helper.make_node("Transpose", [f"r{stride}"], [f"t{stride}"], perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", [f"t{stride}", "column"], [f"score_{stride}"]),
            helper.make_node("MatMul", [f"score_{stride}", "zero4"], [f"z{stride}"]),
            helper.make_node("Add", [f"z{stride}", "three"], [f"bbox_{stride}"]),
            helper.make_node("MatMul", [f"score_{stride}", "zero10"], [f"k{stride}"]),
            helper.make_node("Add", [f"k{stride}", "points"], [f"kps_{stride}"]),
        ]  # fmt: skip
    weights = np.zeros((2, 3, 1, 1), np.float32)
    weights[:, 0], weights[:, 1], weights[:, 2] = 0.5, -0.5, -0.5
    names = [
        f"{kind}_{s}" for kind, n in (("score", 1), ("bbox", 4), ("kps", 10)) for s in (8, 16, 32)
    ]
    widths = {"score": 1, "bbox": 4, "kps": 10}
    onnx_model(
        path,
        nodes,
        ["h", "w"],
        [(name, ["n", widths[name.split("_")[0]]]) for name in names],
        red=weights,
        none=0 * weights,
        column=np.array([-1, 1], np.int64),
        zero4=np.zeros((1, 4), np.float32),
        zero10=np.zeros((1, 10), np.float32),
        three=np.full(4, 3, np.float32),
        points=((POINTS - 0.5) * 6).astype(np.float32).ravel(),
    )


def tiny_head(path: Path, side: int, matrix: np.ndarray, bias: np.ndarray) -> None:
    """A linear layer over the mean colour."""
    from onnx import helper

    onnx_model(
        path,
        [
            helper.make_node("GlobalAveragePool", ["input.1"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("Gemm", ["flat", "matrix", "bias"], ["out"]),
        ],
        [side, side],
        [("out", [1, len(bias)])],
        matrix=matrix.astype(np.float32),
        bias=bias.astype(np.float32),
    )


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack of the layout of buffalo_s: age from red, female where blue is low."""
    folder = tmp_path / "insightface" / "models" / "buffalo_s"
    folder.mkdir(parents=True)
    tiny_detector(folder / "det_500m.onnx")
    tiny_head(
        folder / "genderage.onnx",
        96,
        np.array([[0, 0, 0.5], [0, 0, 0], [-1, 1, 0]]),
        np.array([0, 0, 0.5]),
    )
    tiny_head(folder / "w600k_mbf.onnx", 112, np.eye(3), np.zeros(3))
    return folder


@pytest.mark.slow
def test_a_pack_is_found_loaded_and_run(pack, tmp_path):
    made = AgeEstimation()
    variant = next(v for v in made.variants if v.name == "buffalo_s")
    place = variant.weights["pack"].locate(tmp_path)
    assert place == pack
    made.load(variant, "cpu", {"pack": pack})
    shown = np.full((192, 128, 3), 20, np.uint8)
    shown[64:72, 48:56] = (255, 0, 0)
    result = made.analyze(Frames.of([0.0, 0.1], [shown, shown], 0.2), None)
    found = faces_of(result)
    assert not isinstance(result, Partial)
    [face] = found.faces
    assert face.boxes[0] == pytest.approx((28 / 128, 40 / 192, 76 / 128, 88 / 192), abs=0.05)
    assert face.size_px == pytest.approx(48, abs=5)
    assert face.sex == "female"
    assert 0 < (face.age or 0) < 30  # red is low nearly everywhere in the crop
    assert (face.person, found.people) == (1, 1)
    assert (found.detector, found.age_model) == ("det_500m.onnx", "genderage.onnx")
    assert found.recognition_model == "w600k_mbf.onnx"


@pytest.mark.slow
def test_a_stand_in_is_named_as_one_and_the_real_model_is_preferred(pack):
    (pack / "genderage_faceapi.onnx").write_bytes((pack / "genderage.onnx").read_bytes())
    assert InsightFace(pack, "cpu").age_model == "genderage.onnx"
    (pack / "genderage.onnx").unlink()
    assert "stand-in" in InsightFace(pack, "cpu").age_model


@pytest.mark.slow
def test_one_thread_and_no_silent_change_of_device(pack, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(inference, "_choice", "onnxruntime")
    made = InsightFace(pack, "cpu")
    for model in (made._detector, made._age, made._recognizer):
        assert model is not None
        session = model.session._session  # ONNX Runtime's own, behind ours
        assert session.get_session_options().intra_op_num_threads == 1
        assert session.get_providers() == ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(RuntimeError, match="CUDAExecutionProvider"):
            InsightFace(pack, "cuda")


@pytest.mark.slow
def test_each_file_of_a_pack_is_loaded_once(pack, monkeypatch):
    from onnxruntime import InferenceSession

    loaded: list[str] = []
    load = InferenceSession.__init__

    def counted(self, path, *args, **named):
        loaded.append(Path(path).name)
        load(self, path, *args, **named)

    monkeypatch.setattr(inference, "_choice", "onnxruntime")
    monkeypatch.setattr(InferenceSession, "__init__", counted)
    InsightFace(pack, "cpu")
    assert sorted(loaded) == ["det_500m.onnx", "genderage.onnx", "w600k_mbf.onnx"]


def test_a_pack_without_its_files_is_no_pack(tmp_path):
    small = AgeEstimation.variants[1].weights["pack"]
    folder = tmp_path / "insightface" / "models" / "buffalo_s"
    folder.mkdir(parents=True)
    (folder / "det_500m.onnx").write_bytes(b"x")
    assert not small.whole(folder)
    (folder / "genderage_faceapi.onnx").write_bytes(b"x")
    assert small.whole(folder)
    assert not AgeEstimation.variants[0].weights["pack"].whole(folder)
    with pytest.raises(FileNotFoundError, match="no face detector"):
        InsightFace(tmp_path, "cpu")


# The real pack on real media


@pytest.fixture(scope="module")
def real(real_models: Path) -> AgeEstimation:
    made = AgeEstimation()
    variant = next(v for v in made.variants if v.name == "buffalo_s")
    place = variant.weights["pack"].locate(real_models)
    if place is None:
        pytest.skip("no buffalo_s under TIKTOK_RAY_MODELS")
    made.load(variant, "cpu", {"pack": place})
    return made


def still(path: Path, folder: Path, seconds: float = 1.0) -> Path:
    """A still picture as a clip of even size."""
    shown = np.asarray(Image.open(path).convert("RGB"))
    shown = shown[: shown.shape[0] // 2 * 2, : shown.shape[1] // 2 * 2]
    return write_clip(folder / f"{path.stem}.mp4", [shown] * round(seconds * 10), fps=10)


def dense(path: Path) -> Frames:
    made: Frames = decode(path, want={"dense"}, settings=Settings()).tracks["dense"]
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sexes"),
    [
        ("two_people.jpg", ["male", "male"]),
        ("astronaut.png", ["female"]),
        ("biden_approx69.jpg", ["male"]),
    ],
)
def test_portraits(real, real_media, tmp_path, name, sexes):
    found = faces_of(real.analyze(dense(still(real_media / "still" / name, tmp_path)), None))
    assert [f.sex for f in found.faces] == sexes
    assert found.most_at_once == len(sexes)
    assert found.screen_share == pytest.approx(1.0)


@pytest.mark.slow
def test_one_frame_with_two_faces(real, real_media):
    found = faces_of(real.analyze(dense(real_media / "odd" / "one_frame_zidane.mp4"), None))
    assert (len(found.faces), found.most_at_once) == (2, 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["laptop_desk.mp4", "bigbuckbunny_51.mp4", "bbb_0_30_vp8.webm", "psd_testvideo.mp4"]
)
def test_nobody_is_seen_where_nobody_faces_the_camera(real, real_media, name):
    with pytest.raises(Skip, match="no face found"):
        real.analyze(dense(real_media / "video" / name), None)


@pytest.mark.slow
def test_frontal_faces_of_the_composite(real, real_media):
    clip = real_media / "video" / "short_vertical_composite.mp4"
    truth = json.loads(clip.with_suffix(".truth.json").read_text())
    found = faces_of(real.analyze(dense(clip), cuts(*truth["cuts_s"])))
    large = [(round(f.start, 2), round(f.end, 2)) for f in found.faces if f.size_px > 100]
    assert np.array(large) == pytest.approx(np.array([(0, 3), (3, 6), (9, 14), (14, 17)]), abs=0.05)
    # Two passers-by before the bus and the cyclist are there to see, small.
    small = [f for f in found.faces if f.size_px <= 100]
    assert [f.size_px < 20 for f in small] == [True, True, False]
    assert all(f.start >= 6 and f.end <= 9 for f in small[:2])
    assert small[2].start >= 17
    assert all(f.age is None for f in small[:2])
