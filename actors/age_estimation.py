"""Faces over time: position, and age and sex as estimated by a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np
from pydantic import Field

from actors.cut_analysis import Cuts
from tiktok_ray.analyzer import Analyzer, Needs, Options, Partial, Skip, Variant, Vram
from tiktok_ray.media import Frames, spans
from tiktok_ray.methods.vision.box_tracks import Followed, believed, track
from tiktok_ray.methods.vision.face_tracks import (
    Sighting,
    best_moment,
    largest,
    mean_embedding,
    persons,
    pick,
    sighting,
)
from tiktok_ray.methods.vision.faces import DETECTED, Array, FaceModel, Guess, InsightFace, Sex
from tiktok_ray.methods.vision.sampling import holds, look
from tiktok_ray.report import Event, Missing, Model, Output, Timed, estimated, measured, setting
from tiktok_ray.weights import Asset

Box = tuple[float, float, float, float]

#: Age groups of the distribution: name, first age, last age.
AGE_GROUPS = (
    ("child", 0, 12),
    ("teenager", 13, 19),
    ("young adult", 20, 34),
    ("adult", 35, 49),
    ("middle-aged", 50, 64),
    ("senior", 65, 200),
)
STEP_S = 0.3
GAP_S = 1.0
#: A face is seen as surely as this at least once: those of cartoons are not.
SURE = 0.7
AGREE = 0.75
LICENCE = "non-commercial research only (InsightFace model zoo)"
NOBODY = Missing(
    part="persons across shots",
    reason="the model pack has no recognition model (w600k_r50.onnx or w600k_mbf.onnx)",
)
RELEASES = "https://github.com/deepinsight/insightface/releases/download/v0.7"


class Face(Timed):
    """One face followed within one shot.

    ``times``, ``boxes``, ``confidences`` and ``landmarks`` are parallel, one entry a detection.
    """

    track: int = measured(
        "Number of the face track, from 1; `eye_tracking` uses the same", range="1.."
    )
    person: int | None = estimated(
        "Number of the person, from 1, shared by all tracks of that person; absent without a "
        "recognition model",
        range="1..",
        method="cosine similarity of ArcFace embeddings (Deng et al. 2019), joined across shots",
    )
    age: float | None = estimated(
        "Age; absent if the face is never large enough",
        unit="years",
        range="0..100",
        method="median of the model's age over the largest detections of the track",
    )
    age_spread: float | None = estimated(
        "Spread of the model's estimates over the track",
        unit="years",
        range="0..100",
        method="interquartile range over the same detections; absent with fewer than four",
    )
    age_samples: int = measured(
        "Number of detections used for age and sex", unit="samples", range="0.."
    )
    sex: Sex | None = estimated(
        "Sex as estimated from the image, if at least three quarters of the same detections agree"
    )
    sex_agreement: float | None = estimated(
        "Share of these detections that agree with it", range="0.75..1"
    )
    size_px: float = measured(
        "Median short side of the box in the frame analyzed", unit="pixels", range="0.."
    )
    best_time: float = measured(
        "Time of the best view of the face",
        unit="s",
        range="start..end",
        method="largest detection confidence x square root of the box's area x frontality, the "
        "last from the nose's position between the eyes",
    )
    times: list[float] = measured("When the face was detected", unit="s", range="start..end")
    boxes: list[Box] = measured("Boxes [x0, y0, x1, y1]", range="0..1 of the frame")
    confidences: list[float] = estimated("Detection confidence", range="0..1")
    landmarks: list[tuple[float, ...]] = estimated(
        "x0, y0, x1, y1, ... of the left-hand eye, right-hand eye, nose tip, left-hand and "
        "right-hand mouth corner, as seen in the frame",
        range="0..1 of the frame",
    )
    embedding: list[float] | None = estimated(
        "Mean face embedding of unit length; only with the option `embeddings`"
    )


class AgeGroup(Model):
    """One bar of the age distribution."""

    name: str = setting("Name of the group")
    first: int = setting("Lowest age in the group", unit="years")
    last: int = setting("Highest age in the group", unit="years")
    faces: int = estimated("Number of face tracks", range="0..")
    seconds: float = estimated("Their total time on screen", unit="s", range="0..")


class Faces(Output):
    """Faces on screen, with estimated age and sex."""

    detector: str = setting("File of the face detector")
    age_model: str = setting("File of the age and sex model, with a note if it is a substitute")
    recognition_model: str | None = setting("File of the face recognition model")
    sampling_hz: float = measured(
        "Frames searched for faces per second; shorter appearances may be missed", unit="1/s"
    )
    faces: list[Face] = measured(
        "Face tracks, in order of appearance",
        method="SCRFD detections (Guo et al. 2021), linked by position and motion, ended at cuts",
    )
    people: int | None = estimated(
        "Distinct people among the tracks; absent without a recognition model", range="1.."
    )
    most_at_once: int = measured("Maximum number of faces in one frame", range="1..")
    screen_time_s: float = measured("Time with at least one face", unit="s", range="0..duration")
    screen_share: float = measured("The same as a share of the video", range="0..1")
    ages: list[AgeGroup] = estimated("Face tracks by age group; empty groups are omitted")

    def headline(self) -> str:
        count = f"{len(self.faces)} face{'s' if len(self.faces) != 1 else ''}"
        known = [f"{face.age:.0f}" for face in self.faces if face.age is not None]
        return f"{count}, age {', '.join(known[:4])}{' …' * (len(known) > 4)}" if known else count

    def events(self) -> Iterator[Event]:
        for face in self.faces:
            words: list[str] = [face.sex] if face.sex else []
            words += [f"about {face.age:.0f}"] if face.age is not None else []
            yield Event(
                start=face.start,
                end=face.end,
                kind="face",
                label=", ".join(["face", *words]),
                confidence=max(face.confidences),
                analyzer="age_estimation",
                track=face.track,
            )


class AgeOptions(Options):
    """Settings of age_estimation."""

    enabled: bool = Field(True, description="Whether faces may be analyzed (biometrics)")
    embeddings: bool = Field(False, description="Include face embeddings in the output")
    same_person: float = Field(
        0.4, ge=-1, le=1, description="Cosine similarity from which two tracks count as one person"
    )
    least_px: int = Field(
        32, ge=1, description="Minimum short side of a face for age estimation, in pixels"
    )
    samples: int = Field(12, ge=1, description="Number of detections of a track used for its age")


class AgeEstimation(Analyzer):
    """Face tracks with estimated age and sex (InsightFace)."""

    name = "age_estimation"
    card_priority = 2
    biometric = True
    needs = Needs(threads=1, timeout_s=120, cost=2)
    # InsightFace's alignment takes it from skimage.transform, which loads it at first use.
    imports = ("cv2", "onnxruntime", "skimage.transform._geometric", "insightface.model_zoo")
    options_type = AgeOptions
    variants = (
        Variant(
            "buffalo_l",
            weights={
                "pack": Asset(
                    "insightface/models/buffalo_l",
                    LICENCE,
                    0.33,
                    url=f"{RELEASES}/buffalo_l.zip",
                    elsewhere=("~/.insightface/models/buffalo_l",),
                    needs=(("det_10g.onnx",), ("genderage.onnx",)),
                )
            },
            ram_gib=0.7,
            vram=Vram(0.25, 0.6),
        ),
        Variant(
            "buffalo_s",
            weights={
                "pack": Asset(
                    "insightface/models/buffalo_s",
                    LICENCE,
                    0.16,
                    url=f"{RELEASES}/buffalo_s.zip",
                    elsewhere=("~/.insightface/models/buffalo_s",),
                    needs=(("det_500m.onnx",), ("genderage.onnx", "genderage_faceapi.onnx")),
                )
            },
            ram_gib=0.3,
        ),
    )
    model: FaceModel

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:
        self.model = InsightFace(files["pack"], device)

    def analyze(self, dense: Frames, cut_analysis: Cuts | None) -> Faces | Partial:
        """Detect, track, then estimate on the best detections of each track.

        Partial without a recognition model. Raises ``Skip`` when biometrics are disabled, or
        when there is no face.
        """
        if not self.options.enabled:
            raise Skip("biometrics are disabled")
        breaks = cut_analysis.times if cut_analysis else []
        picked = pick(dense.times, breaks, STEP_S)
        times = [float(dense.times[i]) for i in picked]
        found = look(dense, picked, lambda pictures: [self.model.detect(p) for p in pictures])
        size = (dense.width, dense.height)
        scores = [d.scores for d in found]
        joined = track(
            times,
            [d.boxes for d in found],
            scores,
            lost_s=GAP_S,
            begin=DETECTED,
            aspect=size[0] / size[1],
            breaks=breaks,
        )
        followed = [
            path
            for path in believed(joined, times, scores, sure=DETECTED, breaks=breaks)
            if max(scores[s][k] for s, k in zip(path.samples, path.items, strict=True)) >= SURE
        ]
        if not followed:
            raise Skip("no face found")
        seen = [sighting(path, times, found, size) for path in followed]
        held = holds(times, dense.end, breaks)
        ends = [held[path.samples[-1]].end for path in followed]
        guesses = [
            self._guess(dense, picked, path, s) for path, s in zip(followed, seen, strict=True)
        ]
        means = [mean_embedding(g) for g in guesses]
        people = persons(
            means,
            [(s.times[0], e) for s, e in zip(seen, ends, strict=True)],
            self.options.same_person,
        )
        faces = [
            describe(number, s, end, g, person, m if self.options.embeddings else None)
            for number, (s, end, g, person, m) in enumerate(
                zip(seen, ends, guesses, people, means, strict=True), 1
            )
        ]
        output = summarize(faces, self.model, times, dense.end)
        return output if self.model.recognizer else Partial(output, (NOBODY,))

    def _guess(
        self, dense: Frames, picked: Sequence[int], path: Followed, seen: Sighting
    ) -> list[Guess]:
        """Guesses on the largest, surest detections that are large enough."""
        size = np.array([dense.width, dense.height], float)
        return [
            self.model.guess(
                dense.rgb(picked[path.samples[k]]),
                seen.boxes[k] * np.tile(size, 2),
                seen.landmarks[k] * size,
            )
            for k in largest(seen, self.options.samples, self.options.least_px)
        ]


def describe(
    number: int,
    seen: Sighting,
    end: float,
    guesses: Sequence[Guess],
    person: int | None,
    embedding: Array | None,
) -> Face:
    """One face track as reported."""
    ages = np.array([g.age for g in guesses])
    female = sum(g.sex == "female" for g in guesses) / max(len(guesses), 1)
    agreement = max(female, 1 - female)
    sex: Sex | None = None
    if guesses and agreement >= AGREE:
        sex = "female" if female > 0.5 else "male"
    spread = float(np.subtract(*np.percentile(ages, [75, 25]))) if len(ages) >= 4 else None
    return Face(
        start=seen.times[0],
        end=end,
        track=number,
        person=person,
        age=float(np.median(ages)) if len(ages) else None,
        age_spread=spread,
        age_samples=len(ages),
        sex=sex,
        sex_agreement=agreement if sex else None,
        size_px=float(np.median(seen.sides)),
        best_time=best_moment(seen),
        times=seen.times,
        boxes=[(float(a), float(b), float(c), float(d)) for a, b, c, d in seen.boxes],
        confidences=[float(s) for s in seen.scores],
        landmarks=[tuple(float(v) for v in points.ravel()) for points in seen.landmarks],
        embedding=None if embedding is None else [float(v) for v in embedding],
    )


def distribution(faces: Sequence[Face]) -> list[AgeGroup]:
    """Face tracks and their seconds by age group."""
    groups = []
    for name, first, last in AGE_GROUPS:
        inside = [f for f in faces if f.age is not None and first <= round(f.age) <= last]
        if inside:
            seconds = sum(f.end - f.start for f in inside)
            groups.append(
                AgeGroup(name=name, first=first, last=last, faces=len(inside), seconds=seconds)
            )
    return groups


def summarize(faces: list[Face], model: FaceModel, times: Sequence[float], end: float) -> Faces:
    """The whole output. ``times`` are those of the pictures searched."""
    known = {face.person for face in faces if face.person is not None}
    shown = [(face.start, face.end) for face in faces]
    screen = spans.total(shown)
    steps = np.diff([*times, end])
    return Faces(
        detector=model.detector,
        age_model=model.age_model,
        recognition_model=model.recognizer,
        sampling_hz=1 / median(steps.tolist()),
        faces=faces,
        people=len(known) or None,
        most_at_once=max(sum(t in face.times for face in faces) for t in times),
        screen_time_s=screen,
        screen_share=screen / (end - times[0]),
        ages=distribution(faces),
    )
