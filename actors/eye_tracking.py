"""Eyes and mouth over time: where a face looks, its blinks, how far eyes and mouth are open."""

from __future__ import annotations

from collections.abc import Iterator

from tiktok_ray.report import Event, Output, Timed, derived, estimated, measured, setting


class Blink(Timed):
    """Both lids falling and rising again."""

    time: float = measured("When the eyes are shut furthest", unit="s")
    openness: float = measured(
        "Openness at that time, relative to the track's own baseline", range="0.."
    )


class EyeTrack(Timed):
    """Eyes and mouth of one face. The series are parallel to ``times``.

    Directions are in degrees: yaw is positive to the right of the picture, pitch positive
    upwards, roll positive clockwise as seen; all are relative to the line from the face to the
    camera, so that 0, 0 is straight into the lens wherever in the picture the face is.
    """

    track: int = measured(
        "Number of the face track, that of `age_estimation` where it ran", range="0.."
    )
    observed_s: float = measured("Time with landmarks", unit="s", range="0..end - start")
    times: list[float] = measured("When landmarks were found", unit="s")
    openness: list[float] = measured(
        "Eye aspect ratio, mean of both eyes",
        range="0..0.6",
        method="Soukupova and Cech 2016: lid distance over eye width, six landmarks an eye",
    )
    mouth: list[float] = measured(
        "Mouth opening: distance of the inner lips over the width of the mouth",
        range="0..1.5",
    )
    smile: list[float] = estimated(
        "Smile, mean of the blendshapes mouthSmileLeft and mouthSmileRight", range="0..1"
    )
    head_yaw: list[float] = estimated("Direction of the head", unit="degrees", range="-90..90")
    head_pitch: list[float] = estimated("Direction of the head", unit="degrees", range="-90..90")
    head_roll: list[float] = estimated("Tilt of the head", unit="degrees", range="-180..180")
    gaze_yaw: list[float | None] = estimated(
        "Direction of the gaze; absent while the eyes are shut", unit="degrees", range="-90..90"
    )
    gaze_pitch: list[float | None] = estimated(
        "Direction of the gaze; absent while the eyes are shut", unit="degrees", range="-90..90"
    )
    into_camera: list[Timed] = derived(
        "Spans in which the gaze is within `tolerance_deg` of the camera", unit="s"
    )
    into_camera_share: float | None = derived(
        "Share of the samples with a gaze in which it is within `tolerance_deg` of the camera",
        range="0..1",
    )
    eyes_open_share: float = derived("Share of the samples in which the eyes are open")
    smiling_share: float = derived("Share of the samples with a smile above 0.5", range="0..1")
    blinks: list[Blink] = measured(
        "Blinks",
        method="openness below a share of the track's running baseline, and both eyes with it",
    )
    closures: list[Timed] = measured("Eyes shut for longer than a blink", unit="s")
    blinks_per_minute: float | None = derived(
        "Blinks over the observed time; absent below 10 s of it", unit="1/min", range="0.."
    )


class Eyes(Output):
    """Gaze, blinks and mouth opening of every face."""

    tolerance_deg: float = setting("Gaze counts as into the camera within this", unit="degrees")
    sampling_hz: float = measured(
        "Pictures read per second: blinks shorter than one step may fall between two", unit="1/s"
    )
    located_by: str = derived("What found the faces: `age_estimation` or the landmarker itself")
    tracks: list[EyeTrack] = measured("Faces with landmarks, in order of appearance")
    unread: list[int] = measured("Face tracks in which no landmarks could be found")
    blinks: int = derived("Blinks of all faces", range="0..")
    blinks_per_minute: float | None = derived(
        "Blinks of all faces over their observed time; absent below 10 s of it", unit="1/min"
    )
    into_camera_share: float | None = derived(
        "Share of all samples with a gaze in which it is into the camera", range="0..1"
    )

    def headline(self) -> str:
        words = [f"{self.blinks} blink{'s' if self.blinks != 1 else ''}"]
        if self.into_camera_share is not None:
            words.append(f"{self.into_camera_share:.0%} into the camera")
        return ", ".join(words)

    def events(self) -> Iterator[Event]:
        for eyes in self.tracks:
            if self.located_by != "age_estimation":
                yield Event(
                    start=eyes.start,
                    end=eyes.end,
                    kind="face",
                    label="face",
                    analyzer="eye_tracking",
                    track=eyes.track,
                )
            for blink in eyes.blinks:
                yield Event(
                    start=blink.start,
                    end=blink.end,
                    kind="blink",
                    label="blink",
                    analyzer="eye_tracking",
                    track=eyes.track,
                )
