"""A report as compact text with timestamps, for readers with limited input: language models, mail, logs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tiktok_ray.exports import Report, line_of, title_of

#: Kinds of events in the order in which they are told, with the heading of each.
TOLD = {
    "description": "Described by a model",
    "speech": "Said",
    "subtitle": "Subtitles in the file",
    "text": "On-screen text",
    "moment": "Key moments",
    "insight": "Findings",
    "scene": "Scenes",
    "shot": "Shots",
    "transition": "Transitions",
    "camera": "Camera",
    "sound": "Sounds",
    "silence": "Silences",
    "person": "Persons",
    "object": "Objects",
    "face": "Faces",
    "gesture": "Gestures",
    "emotion": "Emotion of the voice",
    "color": "Colours",
    "chapter": "Chapters in the file",
}
#: Kinds of which only the number is told.
COUNTED = ("cut", "beat", "blink", "pause")


class _Part(NamedTuple):
    heading: str
    lines: list[str]


def text(report: Report, most: int | None = None) -> str:
    """The report in lines: what the video is, what was not measured, the summary, then events by
    kind, ``start-end`` in seconds. With ``most`` characters (at least 500) whatever does not fit is
    left out from the end, and the last line says what that was.
    """
    parts = list(_parts(report))
    whole = "\n\n".join("\n".join([heading, *lines]) for heading, lines in parts) + "\n"
    return whole if most is None or len(whole) <= most else _cut(parts, max(500, most))


def _cut(parts: list[_Part], most: int) -> str:
    room = most - 200  # for the line that says what was left out
    kept: list[str] = []
    left: list[str] = []
    for heading, lines in parts:
        fitting = [heading]
        for line in lines:
            if left or sum(map(len, fitting)) + len(fitting) + len(line) + 2 > room:
                break
            fitting.append(line)
        if missing := len(lines) - len(fitting) + 1:
            left.append(f"{heading} ({missing} of {len(lines)} lines)")
        if len(fitting) > 1:
            kept.append("\n".join(fitting))
            room -= len(kept[-1]) + 2
    told = "Omitted for length: " + ", ".join(left)
    return "\n\n".join([*kept, told if len(told) < 200 else told[:197] + " …"]) + "\n"


def _parts(report: Report) -> Iterator[_Part]:
    video, sections = report["video"], report["analyzers"]
    sound = "with sound" if video["has_audio"] else "no sound"
    facts = (
        f"{video['duration_s']:.1f} s, {video['width']} x {video['height']}, "
        f"{video['fps']:.4g} frames per second, {sound}"
    )
    by = [f"by {line_of(video['uploader'])}"] if video.get("uploader") else []
    yield _Part(f"VIDEO {title_of(report)}", [*by, facts, f"from {line_of(video['source'])}"])
    lacking = [
        f"{name}: {one['status']}{', ' + line_of(one['reason']) if one.get('reason') else ''}"
        for name, one in sections.items()
        if one["status"] not in ("ok", "partial") and one.get("reason") != "not selected"
    ]
    partly = [
        f"{name}, {part['part']}: {line_of(part['reason'])}"
        for name, one in sections.items()
        for part in one.get("missing") or ()
    ]
    if lacking or partly:
        yield _Part("NOT MEASURED", [*lacking, *partly])
    statements = report["summary"].get("statements") or ()
    if told := [f"{one['about']}: {line_of(one['text'])}" for one in statements]:
        yield _Part("SUMMARY", told)
    yield from _events(report)


def _events(report: Report) -> Iterator[_Part]:
    by_kind: dict[str, list[str]] = {kind: [] for kind in TOLD}
    counts: Counter[str] = Counter()
    for event in report["timeline"]:
        if event["kind"] in COUNTED:
            counts[event["kind"]] += 1
            continue
        start, end = event["start"], event["end"]
        when = f"{start:.1f}" if end <= start else f"{start:.1f}-{end:.1f}"
        sure = f" ({event['confidence']:.2f})" if event.get("confidence") is not None else ""
        by_kind.setdefault(event["kind"], []).append(f"{when} {line_of(event['label'])}{sure}")
    for kind, lines in by_kind.items():
        if lines:
            yield _Part(f"{TOLD.get(kind, kind).upper()}, seconds", lines)
    if counts:
        yield _Part("COUNTED", [f"{kind}: {counts[kind]}" for kind in COUNTED if counts[kind]])
