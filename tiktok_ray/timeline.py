"""The merged timeline: every analyzer's events in one list, ordered by time."""

from __future__ import annotations

from collections.abc import Mapping

from tiktok_ray.report import Event, Output, Section


def merge(sections: Mapping[str, Section], duration_s: float) -> list[Event]:
    """Events of all outputs by start, kept within the video's 0..``duration_s`` seconds.

    A person is a ``person``, never also an ``object``.
    """
    events = [
        _within(event, duration_s)
        for section in sections.values()
        if isinstance(section.output, Output)
        for event in section.output.events()
        if not (event.kind == "object" and event.label == "person")
    ]
    return sorted(events, key=lambda e: (e.start, e.end, e.kind, e.analyzer, e.label))


def _within(event: Event, end: float) -> Event:
    start, stop = (min(max(t, 0.0), end) for t in (event.start, event.end))
    if (start, stop) == (event.start, event.end):
        return event
    return event.model_copy(update={"start": start, "end": max(start, stop)})
