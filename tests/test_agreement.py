"""What two analyzers disagree on is told by neither: in the summary, the timeline, the headline."""

from typing import Any

import pytest

from actors.cross_analyzer_intelligence.agreement import confirmed, of_one_voice, settled, uncovered
from actors.speech_transcription import SpeakerTurn
from tests import made_outputs as made
from tiktok_ray.report import Section
from tiktok_ray.reporting.timeline import merge


def sections(**outputs: Any) -> dict[str, Section]:
    return {name: Section(status="ok", output=output) for name, output in outputs.items()}


def gestures(told: dict[str, Section]) -> list[float]:
    return [e.start for e in merge(told, made.END) if e.kind == "gesture"]


def test_a_pose_is_told_only_where_a_person_is_detected_in_its_place() -> None:
    poses = made.poses((0.0, 3.0), (10.0, 12.0))
    seen = made.objects(("person", 0.0, 3.0, 0.5), ("sheep", 10.0, 12.0, 0.3))
    given = sections(body_pose=poses, object_detection=seen)
    assert gestures(given) == [0.2, 10.2]
    told = settled(given)
    assert gestures(told) == [0.2]
    assert gestures(given) == [0.2, 10.2], "the sections keep what was found"


def test_a_wheel_beside_a_person_is_no_second_one() -> None:
    poses = made.poses((0.0, 3.0), (0.0, 3.0))
    wheel = poses.persons[1].model_copy(update={"boxes": [(0.92, 0.92, 1.0, 1.0)] * 15})
    poses = poses.model_copy(update={"persons": [poses.persons[0], wheel]})
    kept = confirmed(poses, made.objects(("person", 0.0, 3.0, 0.5)))
    assert [p.track for p in kept.persons] == [1]


def test_of_a_body_that_the_model_is_unsure_of_nothing_is_told() -> None:
    poses = made.poses((0.0, 3.0))
    unsure = poses.persons[0].model_copy(update={"confidence": 0.43})
    poses = poses.model_copy(update={"persons": [unsure]})
    assert confirmed(poses, made.objects(("person", 0.0, 3.0, 0.5))).persons == []


def test_without_object_detection_nothing_contradicts_a_pose() -> None:
    given = sections(body_pose=made.poses((0.0, 3.0)))
    assert gestures(settled(given)) == [0.2]


def test_a_headline_without_a_confirmed_body_says_so() -> None:
    kept = confirmed(made.poses((0.0, 3.0)), made.objects(("bus", 0.0, 3.0, 0.5)))
    assert kept.headline() == "no body confirmed by another analyzer"


def test_seconds_of_speech_are_told_by_the_speech_detector_alone() -> None:
    scape = made.soundscape(("Speech", 1.0, 2.0), ("Speech", 18.0, 19.0), ("Dog", 1.0, 2.0))
    given = sections(audio_environment=scape, speech_transcription=made.transcript())
    told = [(e.label, e.start) for e in merge(settled(given), made.END) if e.kind == "sound"]
    assert told == [("Dog", 1.0), ("Speech", 18.0)], "what it denies is kept, for all to see"


@pytest.mark.parametrize(
    ("turns", "cuts", "told"),
    [
        ([("Speaker 1", 1.0, 2.2), ("Speaker 2", 3.6, 5.4)], [3.0], 0),
        ([("Speaker 1", 1.0, 2.2), ("Speaker 1", 3.6, 5.4)], [3.0], 1),
        ([("Speaker 1", 1.0, 2.2), ("Speaker 1", 3.6, 5.4)], [], 1),
        (None, [3.0], 0),
        (None, [6.0], 1),
    ],
    ids=["two speakers", "one speaker over a cut", "one speaker", "over a cut", "in a shot"],
)
def test_a_pause_is_of_one_voice(turns: Any, cuts: list[float], told: int) -> None:
    heard = made.transcript().model_copy(
        update={
            "turns": turns
            and [SpeakerTurn(start=a, end=b, speaker=who, margin=None) for who, a, b in turns]
        }
    )
    assert len(of_one_voice(made.delivery(), heard, cuts).pauses) == told


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (("THE PEACH OPEI", 1.5, 2.0), False),  # behind a bird, which breaks a word off
        (("THE PEACH", 1.5, 2.0), True),  # word by word
        (("THE PEACH OPEI", 0.2, 1.0), True),  # gone for a second
        (("SOMETHING ELSE", 1.5, 2.0), True),
    ],
)
def test_a_reading_broken_off_in_a_word_is_left_out_where_all_of_it_follows(before, told):
    texts = made.overlays((*before, "caption"), ("THE PEACH OPEN MOVIE", 2.0, 5.0, "caption"))
    kept = [overlay.text for overlay in uncovered(texts).overlays]
    assert kept == [before[0]] * told + ["THE PEACH OPEN MOVIE"]
    events = merge(settled(sections(text_overlay=texts)), made.END)
    assert [e.label for e in events if e.kind == "text"] == kept
