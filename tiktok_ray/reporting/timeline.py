"""The merged timeline: every analyzer's events in one list, ordered by time."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from tiktok_ray.report import Event, Missing, Output, Section, said

log = logging.getLogger("tiktok_ray.reporting.timeline")


def merge(
    sections: Mapping[str, Section],
    duration_s: float,
    lost: list[Missing] | None = None,
    own: Iterable[Event] = (),
) -> list[Event]:
    """Events of all outputs by start, kept within the video's 0..``duration_s`` seconds.

    A person is a ``person``, never also an ``object``. An output whose events cannot be told
    contributes none, and is named in ``lost``. ``own`` are the events of the file itself.
    """
    events = [_within(event, duration_s) for event in own]
    for name, section in sections.items():
        if not isinstance(section.output, Output):
            continue
        try:
            events += [_within(event, duration_s) for event in section.output.events()]
        except Exception as error:
            if lost is None:
                raise
            log.error("the events of %s could not be produced", name, exc_info=error)
            lost.append(Missing(part=f"timeline of {name}", reason=said(error)))
    events = [e for e in events if not (e.kind == "object" and e.label == "person")]
    return sorted(events, key=lambda e: (e.start, e.end, e.kind, e.analyzer, e.label))


def _within(event: Event, end: float) -> Event:
    start, stop = (min(max(t, 0.0), end) for t in (event.start, event.end))
    if (start, stop) == (event.start, event.end):
        return event
    return event.model_copy(update={"start": start, "end": max(start, stop)})
