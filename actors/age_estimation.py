"""Faces over time: where each is, how old and of which sex a model takes it to be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tiktok_ray.report import Event, Model, Output, Timed, derived, estimated, measured, setting

Box = tuple[float, float, float, float]
Sex = Literal["female", "male"]

#: Age groups of the distribution: name, first age, last age.
AGE_GROUPS = (
    ("child", 0, 12),
    ("teenager", 13, 19),
    ("young adult", 20, 34),
    ("adult", 35, 49),
    ("middle-aged", 50, 64),
    ("senior", 65, 200),
)


class Face(Timed):
    """One face followed within one shot.

    ``times``, ``boxes``, ``confidences`` and ``landmarks`` are parallel, one entry a detection.
    """

    track: int = measured("Number of the face track; `eye_tracking` uses the same", range="0..")
    person: int | None = estimated(
        "Number of the person, the same for tracks of one person; absent without a recognition "
        "model",
        range="0..",
        method="cosine similarity of ArcFace embeddings (Deng et al. 2019), joined across shots",
    )
    age: float | None = estimated(
        "Age; absent where the face is never large enough",
        unit="years",
        range="0..100",
        method="median of the model's age over the largest detections of the track",
    )
    age_spread: float | None = estimated(
        "How far the model disagrees with itself over the track",
        unit="years",
        range="0..100",
        method="interquartile range over the same detections; absent with fewer than four",
    )
    age_samples: int = measured("Detections that age and sex rest on", unit="samples", range="0..")
    sex: Sex | None = estimated(
        "Sex as the model takes it from the picture, by majority over the same detections; "
        "absent where they are split evenly"
    )
    sex_agreement: float | None = estimated(
        "Share of these detections that agree with it", range="0.5..1"
    )
    size_px: float = measured(
        "Median short side of the box in the picture that was read", unit="pixels", range="0.."
    )
    best_time: float = measured(
        "When the face is seen best",
        unit="s",
        range="start..end",
        method="largest detection confidence x square root of the box's area x frontality, the "
        "last from the nose's place between the eyes",
    )
    times: list[float] = measured("When the face was detected", unit="s", range="start..end")
    boxes: list[Box] = measured("Boxes [x0, y0, x1, y1]", range="0..1 of the picture")
    confidences: list[float] = estimated("The detector's confidence", range="0..1")
    landmarks: list[tuple[float, ...]] = estimated(
        "x0, y0, x1, y1, ... of the left-hand eye, right-hand eye, nose tip, left-hand and "
        "right-hand mouth corner, as seen in the picture",
        range="0..1 of the picture",
    )
    embedding: list[float] | None = estimated(
        "Mean face embedding of unit length; only where the option `embeddings` asks for it"
    )


class AgeGroup(Model):
    """One bar of the age distribution."""

    name: str = setting("Name of the group")
    first: int = setting("Youngest age in it", unit="years")
    last: int = setting("Oldest age in it", unit="years")
    faces: int = estimated("Face tracks in it", range="0..")
    seconds: float = estimated("Their time on screen, summed", unit="s", range="0..")


class Faces(Output):
    """Faces on screen, with estimated age and sex."""

    detector: str = setting("File of the face detector")
    age_model: str = setting("File of the age and sex model, with a remark if it is a stand-in")
    recognition_model: str | None = setting("File of the face recognition model")
    sampling_hz: float = measured(
        "Pictures searched for faces per second; shorter appearances may be missed", unit="1/s"
    )
    faces: list[Face] = measured(
        "Face tracks, in order of appearance",
        method="SCRFD detections (Guo et al. 2021), joined by IoU and ended at cuts",
    )
    people: int | None = estimated(
        "Distinct persons among the tracks; absent without a recognition model", range="1.."
    )
    most_at_once: int = measured("Most faces in one picture", range="1..")
    screen_time_s: float = measured("Time with at least one face", unit="s", range="0..duration")
    screen_share: float = measured("The same as a share of the video", range="0..1")
    ages: list[AgeGroup] = estimated("Face tracks by age group; groups without one are left out")

    def headline(self) -> str:
        count = f"{len(self.faces)} face{'s' if len(self.faces) != 1 else ''}"
        known = [f"{face.age:.0f}" for face in self.faces if face.age is not None]
        return f"{count}, age {', '.join(known[:4])}{' …' * (len(known) > 4)}" if known else count

    def events(self) -> Iterator[Event]:
        for face in self.faces:
            words = [face.sex] if face.sex else []
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
