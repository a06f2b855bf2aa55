"""Caption files, SRT and WebVTT, from what is said and from what is written on the picture.

Takes outputs or the plain dictionaries that a loaded report holds. Cues follow common practice for
subtitles: two lines of 42 characters, at most 7 s, broken at sentences, pauses and clauses.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from actors.speech_transcription import Transcript
    from actors.text_overlay import Overlays

LINE_CHARS, LINES = 42, 2
#: Longest and shortest a cue stays; a cue is held only until the next one begins.
LONGEST_S, SHORTEST_S = 7.0, 0.8
#: A gap between words from which on a new cue begins.
PAUSE_S = 0.6

#: SubRip has no escapes. A word joiner, which has no width, keeps arrows, tags and backslash codes
#: from being read as such; braces, which players hide with what is in them, become wide ones.
JOINER = "\u2060"
SUBRIP = {
    "-->": f"--{JOINER}>",
    "<": f"<{JOINER}",
    "\\": f"\\{JOINER}",
    "{": "\uff5b",
    "}": "\uff5d",
}
CLAUSE_END = tuple(",;:–—、，；：")
SENTENCE_END = tuple(".!?…。！？")


class Cue(NamedTuple):
    """One caption: from ``start`` to ``end`` seconds; ``text`` may have several lines."""

    start: float
    end: float
    text: str


class _Piece(NamedTuple):
    """One word with what stands before it in the text."""

    before: str
    text: str
    start: float
    end: float


def from_transcript(
    transcript: Transcript | Mapping[str, Any],
    *,
    line_chars: int = LINE_CHARS,
    lines: int = LINES,
) -> list[Cue]:
    """Cues of what is said; none where the transcript has no words."""
    plain = _plain(transcript)
    groups: list[list[_Piece]] = []
    for segment in plain.get("segments") or ():
        groups += _groups(list(_pieces(segment)), line_chars * lines)
    cues = []
    for k, group in enumerate(groups):
        following = groups[k + 1][0].start if k + 1 < len(groups) else float("inf")
        start = group[0].start
        end = max(piece.end for piece in group)
        end = max(min(end, following), min(start + SHORTEST_S, following))
        text = "".join(piece.before + piece.text for piece in group).strip()
        cues.append(Cue(start, end, _wrapped(text, line_chars, lines)))
    return cues


def from_overlays(
    overlays: Overlays | Mapping[str, Any], *, kinds: Collection[str] = ("caption",)
) -> list[Cue]:
    """Cues of the texts on the picture of the given kinds, with their own lines."""
    cues = [
        Cue(one["start"], one["end"], "\n".join(one.get("lines") or [one["text"]]))
        for one in _plain(overlays).get("overlays") or ()
        if one["kind"] in kinds
    ]
    return sorted(cues)


def srt(cues: Iterable[Cue]) -> str:
    """A SubRip file, in UTF-8; empty cues are left out. What looks like mark-up is shown as text."""
    blocks: list[str] = []
    for cue in sorted(cues, key=lambda cue: (cue.start, cue.end)):
        text = _clean(cue.text)
        for mark, harmless in SUBRIP.items():
            text = text.replace(mark, harmless)
        if text:
            times = f"{_stamp(cue.start, ',')} --> {_stamp(_end(cue), ',')}"
            blocks.append(f"{len(blocks) + 1}\n{times}\n{text}\n")
    return "\n".join(blocks)


def vtt(cues: Iterable[Cue]) -> str:
    """A WebVTT file (W3C), in UTF-8; empty cues are left out."""
    blocks = ["WEBVTT\n"]
    for cue in sorted(cues, key=lambda cue: (cue.start, cue.end)):
        text = _clean(cue.text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        if text:
            times = f"{_stamp(cue.start, '.')} --> {_stamp(_end(cue), '.')}"
            blocks.append(f"{times}\n{text}\n")
    return "\n".join(blocks)


def _plain(output: Any) -> Mapping[str, Any]:
    dumped: Mapping[str, Any] = (
        output if isinstance(output, Mapping) else output.model_dump(mode="json")
    )
    return dumped


def _pieces(segment: Mapping[str, Any]) -> Iterator[_Piece]:
    """The words of a segment; between them stands what stands there in its text."""
    text, at = segment["text"], 0
    for word in segment.get("words") or ():
        found = text.find(word["text"], at)
        before = text[at:found] if found >= 0 else " "
        at = found + len(word["text"]) if found >= 0 else at
        yield _Piece(before, word["text"], word["start"], word["end"])


def _groups(pieces: Sequence[_Piece], chars: int) -> Iterator[list[_Piece]]:
    """Split a segment into cues: at sentences and pauses; too long ones at the last clause."""
    group: list[_Piece] = []
    for piece in pieces:
        if group and (_ends(group[-1], SENTENCE_END) or piece.start - group[-1].end >= PAUSE_S):
            yield group
            group = []
        while group and _too_long([*group, piece], chars):
            clauses = [k for k, one in enumerate(group, 1) if _ends(one, CLAUSE_END)]
            cut = clauses[-1] if clauses and clauses[-1] * 2 >= len(group) else len(group)
            yield group[:cut]
            group = group[cut:]
        group.append(piece)
    if group:
        yield group


def _ends(piece: _Piece, marks: tuple[str, ...]) -> bool:
    return piece.text.rstrip("\"'”’»)]").endswith(marks)


def _too_long(group: Sequence[_Piece], chars: int) -> bool:
    text = "".join(piece.before + piece.text for piece in group).strip()
    return len(text) > chars or group[-1].end - group[0].start > LONGEST_S


def _wrapped(text: str, line_chars: int, lines: int) -> str:
    """Break a text into lines, as even as may be and none over ``line_chars`` where words allow."""
    if len(text) <= line_chars:
        return text
    for width in range(-(-len(text) // lines), line_chars + 1):
        broken = textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
        if len(broken) <= lines and all(len(line) <= line_chars for line in broken):
            return "\n".join(broken)
    return "\n".join(textwrap.wrap(text, line_chars))


def _clean(text: str) -> str:
    """Lines without blank ones, and without characters that no file may hold."""
    lines = ("".join(_kept(c) for c in line) for line in text.splitlines())
    bare = (" ".join(line.split()) for line in lines)
    return "\n".join(line for line in bare if line)


def _kept(character: str) -> str:
    kind = unicodedata.category(character)
    if character.isspace():
        return " "
    return "\ufffd" if kind == "Cs" else "" if kind == "Cc" else character


def _end(cue: Cue) -> float:
    """A cue lasts at least a millisecond: neither format allows an empty one."""
    return max(cue.end, cue.start + 0.001)


def _stamp(seconds: float, point: str) -> str:
    ms = max(0, round(seconds * 1000))
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"
