"""The merged timeline: what is in it, in which order, under which name."""

import random
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.cut_analysis import Cuts, Shot, Transition
from tests import made_outputs as made
from tiktok_ray.report import Event, Kind, Output, Section, measured
from tiktok_ray.reporting.timeline import merge


class Anything(Output):
    """Holds the events that it yields."""

    held: list[Event] = measured("Its events")

    def headline(self) -> str:
        return "anything"

    def events(self) -> list[Event]:
        return self.held


def event(start: float, end: float, kind: Any = "sound", label: str = "x", **more: Any) -> Event:
    return Event(start=start, end=end, kind=kind, label=label, analyzer="any", **more)


def section(*events: Event) -> Section:
    return Section(status="ok", output=Anything(held=list(events)))


def test_a_hard_cut_is_an_instant_at_the_first_frame_of_the_new_shot():
    events = merge({"cut_analysis": Section(status="ok", output=made.cuts((3.0, 9.0)))}, 20.0)
    cuts = [event for event in events if event.kind == "cut"]
    assert [(cut.start, cut.end) for cut in cuts] == [(3.0, 3.0), (9.0, 9.0)]
    assert not [event for event in events if event.kind == "transition"]
    shots = [(event.start, event.end) for event in events if event.kind == "shot"]
    assert shots == [(0.0, 3.0), (3.0, 9.0), (9.0, 20.0)]


def test_a_dissolve_has_its_extent_and_its_cut_at_the_midpoint():
    dissolve = Transition(
        start=4.0, end=5.0, kind="dissolve", through=None, new_shot=4.5, strength=0.4
    )
    closing = Transition(start=9.0, end=10.0, kind="fade", through="black", new_shot=None,
                         strength=0.4)  # fmt: skip
    found = Cuts.model_construct(
        transitions=[dissolve, closing],
        shots=[Shot(start=0.0, end=4.5, index=0), Shot(start=4.5, end=10.0, index=1)],
    )
    events = merge({"cut_analysis": Section(status="ok", output=found)}, 10.0)
    assert [(e.kind, e.start, e.end, e.label) for e in events if e.kind != "shot"] == [
        ("transition", 4.0, 5.0, "dissolve"),
        ("cut", 4.5, 4.5, "dissolve"),
        ("transition", 9.0, 10.0, "fade through black"),
    ]


def test_a_person_is_a_person_and_never_also_an_object():
    seen = made.objects(("person", 0.0, 3.0, 0.5), ("bus", 2.0, 5.0, 0.4))
    stray = section(event(1.0, 2.0, "object", "person"), event(1.0, 2.0, "object", "dog"))
    events = merge({"object_detection": Section(status="ok", output=seen), "any": stray}, 20.0)
    assert [(e.kind, e.label) for e in events] == [
        ("person", "person"), ("object", "dog"), ("object", "bus")
    ]  # fmt: skip


def test_events_are_kept_within_the_video():
    events = merge({"any": section(event(-0.5, 1.0), event(9.5, 12.0), event(11.0, 12.0))}, 10.0)
    assert [(e.start, e.end) for e in events] == [(0.0, 1.0), (9.5, 10.0), (10.0, 10.0)]


def test_what_gave_nothing_or_was_read_from_a_file_adds_nothing():
    sections = {
        "a": Section(status="skipped", reason="no sound"),
        "b": Section(status="ok", output={"held": []}),
        "c": section(event(1.0, 2.0)),
    }
    assert len(merge(sections, 10.0)) == 1


@given(
    st.lists(
        st.tuples(
            st.floats(0, 10), st.floats(0, 3), st.sampled_from(get_args(Kind)), st.text(max_size=3)
        ),
        max_size=20,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_is_by_start_and_does_not_depend_on_who_came_first(
    rows: list[tuple[float, float, Any, str]], order: random.Random
):
    events = [event(a, a + length, kind, label) for a, length, kind, label in rows]
    mixed = list(events)
    order.shuffle(mixed)
    one, two = (merge({"any": section(*some)}, 12.0) for some in (events, mixed))
    assert one == two
    assert [e.start for e in one] == sorted(e.start for e in one)
    assert all(0 <= e.start <= e.end <= 12.0 for e in one)


def test_the_kinds_are_those_that_others_read():
    assert set(get_args(Kind)) == {
        "shot", "cut", "transition", "scene", "text", "speech", "object", "person", "face",
        "blink", "gesture", "camera", "sound", "silence", "beat", "pause", "emotion",
        "description", "moment", "insight", "color", "subtitle", "chapter",
    }  # fmt: skip
    with pytest.raises(ValueError, match="kind"):
        event(0.0, 1.0, "flash")


def test_what_the_file_tells_itself_is_on_the_timeline():
    own = [Event(start=1.0, end=14.0, kind="subtitle", label="hello", analyzer="video")]
    (event,) = merge({}, 12.0, own=own)
    assert (event.kind, event.start, event.end) == ("subtitle", 1.0, 12.0)
