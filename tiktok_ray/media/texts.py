"""Subtitles and chapters in a file."""

from __future__ import annotations

import re
from typing import Any

from tiktok_ray.media.container import Contents
from tiktok_ray.report import Chapter, Subtitle

OVERRIDE = re.compile(r"\{[^}]*\}|<[^>]*>")
#: Commas before the text in what FFmpeg makes of every subtitle: an event of ASS.
ASS_FIELDS = 8


def chapters(contents: Contents, zero: float, end: float) -> tuple[Chapter, ...]:
    """Chapters within the video, from time zero on."""
    found = []
    for chapter in contents.chapters:
        tick = float(chapter["time_base"])
        start = min(max(chapter["start"] * tick - zero, 0.0), end)
        stop = min(max(chapter["end"] * tick - zero, start), end)
        if stop > start:
            title = chapter["metadata"].get("title")
            found.append(Chapter(start=start, end=stop, title=title))
    return tuple(found)


def subtitles_of(packet: Any) -> list[Subtitle]:
    """The subtitles in a packet, on the file's clock."""
    import av

    if packet.pts is None or not packet.size:
        return []
    tick = float(packet.stream.time_base)
    start = packet.pts * tick
    length = (packet.duration or 0) * tick
    try:
        decoded = packet.decode()
    except av.error.FFmpegError:
        return []
    texts = []
    for entry in decoded:
        rects = [entry] if hasattr(entry, "ass") else list(entry)
        texts += [text for rect in rects if (text := _text(rect))]
    if not texts:
        return []
    language = packet.stream.metadata.get("language")
    return [
        Subtitle(
            start=start,
            end=start + length,
            text="\n".join(texts),
            language=None if language in (None, "und") else language,
            stream=packet.stream_index,
        )
    ]


def _text(rect: Any) -> str:
    """The words of one subtitle, without its styles; empty for pictures."""
    event = getattr(rect, "ass", b"") or getattr(rect, "text", b"")
    said = event.decode("utf-8", "replace") if isinstance(event, bytes) else str(event)
    parts = said.split(",", ASS_FIELDS)
    words = parts[-1] if len(parts) == ASS_FIELDS + 1 else said
    words = OVERRIDE.sub("", words).replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
    return words.strip()


def shown(subtitles: list[Subtitle], zero: float, end: float) -> tuple[Subtitle, ...]:
    """Subtitles within the video, from time zero on, in order."""
    placed = []
    for one in subtitles:
        start = max(one.start - zero, 0.0)
        stop = min(max(one.end - zero, start), end)
        if start < end and one.end > zero:
            placed.append(one.model_copy(update={"start": start, "end": stop}))
    return tuple(sorted(placed, key=lambda s: (s.start, s.end, s.stream)))
