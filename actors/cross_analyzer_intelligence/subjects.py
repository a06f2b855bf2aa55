"""Subjects mentioned by a describer compared with detected objects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

from actors.cross_analyzer_intelligence.sources import Finding, Sources, cite, collected
from actors.qwen2_vl_temporal import WindowDescription
from tiktok_ray.media import spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.vision.object_tracks import GROUPS
from tiktok_ray.report import Evidence, Timed, derived

Agreement = Literal["confirmed", "only described", "only detected"]

#: Seen for so much of a window, and on so much of the picture, a thing should be described.
SEEN_SHARE, PROMINENT = 0.5, 0.05
SYNONYMS: dict[str, str] = {
    "person": "people|man|men|woman|women|boy|girl|child|children|kid|baby|guy|lady|crowd|someone"
    "|speaker|presenter|dancer|player|cyclist|rider|runner|he|she",
    "cell phone": "phone|smartphone|mobile|iphone",
    "tv": "television|monitor",
    "bicycle": "bike",
    "motorcycle": "motorbike",
    "couch": "sofa",
    "dining table": "table",
    "potted plant": "plant",
    "airplane": "plane|aeroplane|aircraft",
    "sports ball": "ball|football",
    "hair drier": "hair dryer",
    "wine glass": "glass",
    "donut": "doughnut",
    "refrigerator": "fridge",
}


class Subject(Timed, Finding):
    """One kind of object over windows of the description, and which analyzers report it."""

    label: str = derived("COCO class")
    agreement: Agreement = derived(
        "confirmed: described and detected; only described: not detected in that time; only "
        "detected: in view for at least half of a window, its boxes covering at least 5 % of "
        "the frame, and not described",
        method="English words for the class in the windows' people, action, setting and raw answer",
    )


@lru_cache(maxsize=1)
def _patterns() -> dict[str, re.Pattern[str]]:
    return {
        label: re.compile(rf"\b(?:{re.escape(label)}|{SYNONYMS.get(label, label)})(?:e?s)?\b", re.I)
        for label in GROUPS
    }


def mentioned(window: WindowDescription) -> set[str]:
    """Classes that a window's description speaks of."""
    parts = (window.setting, window.people, window.action)
    known = [part for part in parts if part is not None]
    text = ". ".join(known) if known else window.raw
    found = {label for label, pattern in _patterns().items() if pattern.search(text)}
    if window.people:
        found.add("person")
    return found - {"person"} if window.people == "" else found


def subjects(of: Sources) -> list[Subject] | str | None:
    """Agreement by class and time; why there is nothing to compare; None where one is missing."""
    described, objects = of.qwen2_vl_temporal, of.object_detection
    if described is None or objects is None:
        return None
    if described.language != "en":
        return f"the description is in {described.language!r}, subjects are searched for in English"
    windows = [w for w in described.windows if w.label()]
    if not windows:
        return "qwen2_vl_temporal gave no answer"
    made: list[Subject] = []
    last: dict[str, Subject] = {}
    for window in windows:
        for label, agreement, evidence in _in_window(window, of):
            before = last.get(label)
            if before and (before.agreement, before.end) == (agreement, window.start):
                made.remove(before)
            else:
                before = None
            last[label] = Subject(
                start=before.start if before else window.start,
                end=window.end,
                label=label,
                agreement=agreement,
                evidence=collected([*(before.evidence if before else ()), *evidence]),
            )
            made.append(last[label])
    return sorted(made, key=lambda s: (s.start, s.label))


def _in_window(
    window: WindowDescription, of: Sources
) -> Iterator[tuple[str, Agreement, list[Evidence]]]:
    assert of.object_detection is not None
    said = mentioned(window)
    seen: dict[str, list[Span]] = {}
    area: dict[str, float] = {}
    for track in of.object_detection.tracks:
        if within := spans.intersect(track.seen, [window.span]):
            seen[track.label] = spans.union([*seen.get(track.label, []), *within])
            area[track.label] = area.get(track.label, 0.0) + track.area
    for label in sorted(said | set(seen)):
        sights = seen.get(label, [])
        large = spans.share(sights, [window.span]) >= SEEN_SHARE and area[label] >= PROMINENT
        if label not in said and not large:
            continue
        agreement: Agreement = (
            "only detected" if label not in said else "confirmed" if sights else "only described"
        )
        words = window.label() if label in said else f"no mention of a {label}: {window.label()}"
        evidence = [cite("qwen2_vl_temporal", window.start, window.end, words)]
        evidence += [cite("object_detection", a, b, label) for a, b in sights]
        if not sights:
            evidence.append(cite("object_detection", window.start, window.end, f"no {label}"))
        yield label, agreement, evidence
