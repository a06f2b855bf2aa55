"""Caption files from the speech and from on-screen text.

SubRip, WebVTT, plain text and words with their times. Takes outputs or the plain dictionaries that
a loaded report holds. Cues follow common practice for subtitles: two lines of 42 characters, 1 to
7 s, two frames between them, one speaker in each, broken at sentences, pauses and clauses.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from actors.speech_transcription import Transcript
    from actors.text_overlay import Overlays

from tiktok_ray.json_text import json_text

LINE_CHARS, LINES = 42, 2
#: Longest and shortest a cue stays. A short one is joined to the next or held, but not into the
#: next one, with ``GAP_S`` of nothing between them (two frames at 25 per second).
LONGEST_S, SHORTEST_S, GAP_S = 7.0, 1.0, 0.08
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
#: Who speaks where it is known of other cues only.
UNKNOWN = "Unknown speaker"
CLAUSE_END = tuple(",;:–—、，；：")
SENTENCE_END = tuple(".!?…。！？")


Format = Literal["srt", "vtt", "txt", "json"]
Source = Literal["speech", "text"]


class Cue(NamedTuple):
    """One caption: from ``start`` to ``end`` seconds; ``text`` may have several lines.

    ``speaker`` is who says it; ``box`` where it stands on the picture, [x0, y0, x1, y1] of 0..1.
    """

    start: float
    end: float
    text: str
    speaker: str | None = None
    box: tuple[float, float, float, float] | None = None


class _Piece(NamedTuple):
    """One word with what stands before it in the text."""

    before: str
    text: str
    start: float
    end: float
    speaker: str | None


def from_transcript(
    transcript: Transcript | Mapping[str, Any],
    *,
    line_chars: int = LINE_CHARS,
    lines: int = LINES,
) -> list[Cue]:
    """Cues of the speech, with speakers if there are several; none without words."""
    plain = _plain(transcript)
    room = _Room(line_chars, lines)
    groups = [
        group
        for segment in plain.get("segments") or ()
        for group in _groups([part for one in _pieces(segment) for part in room.cut(one)], room)
    ]
    groups = _joined(groups, room)
    several = len({piece.speaker for group in groups for piece in group}) > 1
    cues = []
    for k, group in enumerate(groups):
        following = groups[k + 1][0].start if k + 1 < len(groups) else float("inf")
        start, last = group[0].start, max(piece.end for piece in group)
        end = min(max(last, start + SHORTEST_S), following - GAP_S)
        end = max(end, min(start + (last - start) / 2, following))
        speaker = group[0].speaker if several else None
        cues.append(Cue(start, end, room.broken(_text(group)), speaker))
    return cues


def from_overlays(
    overlays: Overlays | Mapping[str, Any], *, kinds: Collection[str] = ("caption",)
) -> list[Cue]:
    """Cues of on-screen texts of the given kinds, with their own lines."""
    cues = [
        Cue(
            one["start"],
            one["end"],
            "\n".join(one.get("lines") or [one["text"]]),
            box=tuple(one["box"]) if one.get("box") else None,
        )
        for one in _plain(overlays).get("overlays") or ()
        if one["kind"] in kinds
    ]
    return sorted(cues, key=lambda cue: cue[:3])


def file_of(report: Mapping[str, Any], format: Format, source: Source = "speech") -> str:
    """A caption file of a loaded report: of the speech, or of the on-screen captions.

    Raises ``LookupError`` with the reason where the report has nothing to make it of.
    """
    name = "speech_transcription" if source == "speech" else "text_overlay"
    section = report["analyzers"].get(name, {})
    output = section.get("output")
    if output is None:
        why = f"{name} is {section.get('status', 'missing')}: {section.get('reason', '')}"
        raise LookupError(f"this report has no captions: {why}")
    if source == "speech" and output.get("segments") is None:
        raise LookupError(f"this report has no captions: {_unread(section)}")
    if format == "json":
        return words_json(output)
    cues = from_transcript(output) if source == "speech" else from_overlays(output)
    return {"srt": srt, "vtt": vtt, "txt": plain_text}[format](cues)


def _unread(section: Mapping[str, Any]) -> str:
    """Why a section that heard speech has no words of it."""
    missing = {one["part"]: one["reason"] for one in section.get("missing") or ()}
    return f"speech_transcription has no words: {missing.get('words', 'no reason given')}"


def words_json(output: Transcript | Overlays | Mapping[str, Any]) -> str:
    """JSON of every word (or on-screen text) with its timestamps, in seconds."""
    plain = _plain(output)
    written = plain.get("text_language") or plain.get("language")
    translated = written != plain.get("language")

    def tongue(part: Mapping[str, Any]) -> dict[str, Any]:
        code = written if translated else part.get("language")
        return {"language": code} if code else {}

    listed = [
        {**word, **tongue(part)}
        for part in plain.get("segments") or ()
        for word in part.get("words") or ()
    ] or [
        {key: one[key] for key in ("text", "start", "end", "box") if key in one}
        for one in plain.get("overlays") or ()
        if one["kind"] == "caption"
    ]
    return json_text({"language": written, "words": listed}) + "\n"


def plain_text(cues: Iterable[Cue]) -> str:
    """Plain text, one line per cue; a change of speaker is announced, even to an unknown one."""
    lines = []
    speaker = None
    for cue in sorted(cues, key=lambda cue: (cue.start, cue.end)):
        text = " ".join(_clean(cue.text).split())
        if cue.speaker != speaker:
            text = f"{cue.speaker or UNKNOWN}: {text}"
        speaker = cue.speaker
        lines += [text] if text else []
    return "".join(f"{line}\n" for line in lines)


def srt(cues: Iterable[Cue]) -> str:
    """A SubRip file, in UTF-8; empty cues are omitted. Markup is escaped to be shown as text."""
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
    """A WebVTT file (W3C), in UTF-8; empty cues are omitted."""
    blocks = ["WEBVTT\n"]
    for cue in sorted(cues, key=lambda cue: (cue.start, cue.end)):
        text = _escaped(_clean(cue.text))
        if text:
            if cue.speaker:
                text = f"<v {_escaped(_clean(cue.speaker))}>{text}"
            times = f"{_stamp(cue.start, '.')} --> {_stamp(_end(cue), '.')}"
            blocks.append(f"{times}{_placed(cue)}\n{text}\n")
    return "\n".join(blocks)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _placed(cue: Cue) -> str:
    """WebVTT's settings for a cue that has a place on the picture: its top and its middle."""
    if cue.box is None:
        return ""
    x0, y0, x1, _ = (min(max(edge, 0.0), 1.0) for edge in cue.box)
    size = max(1, round(100 * (x1 - x0)))
    return f" line:{round(100 * y0)}% position:{round(50 * (x0 + x1))}% size:{size}% align:center"


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
        yield _Piece(before, word["text"], word["start"], word["end"], word.get("speaker"))


class _Room(NamedTuple):
    """How much a cue may hold."""

    chars: int
    lines: int

    def holds(self, group: Sequence[_Piece]) -> bool:
        """Whether words fit one cue, in length and in time."""
        short = max(piece.end for piece in group) - group[0].start <= LONGEST_S
        return short and len(self.broken(_text(group)).split("\n")) <= self.lines

    def cut(self, piece: _Piece) -> Iterator[_Piece]:
        """Split a word too long for a cue into parts that fit, each with its share of the time."""
        most, size = self.chars * self.lines, len(piece.text)
        per_char = (piece.end - piece.start) / max(1, size)
        for a in range(0, size, most) or (0,):
            b = min(size, a + most)
            start, end = piece.start + a * per_char, piece.end - (size - b) * per_char
            yield _Piece("" if a else piece.before, piece.text[a:b], start, end, piece.speaker)

    def broken(self, text: str) -> str:
        """The text in lines, as even as may be and none over ``chars`` where words allow."""
        if len(text) <= self.chars:
            return text
        for width in range(-(-len(text) // self.lines), self.chars + 1):
            broken = textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
            if len(broken) <= self.lines and all(len(line) <= self.chars for line in broken):
                return "\n".join(broken)
        return "\n".join(textwrap.wrap(text, self.chars))


def _text(group: Sequence[_Piece]) -> str:
    return "".join(piece.before + piece.text for piece in group).strip()


def _groups(pieces: Sequence[_Piece], room: _Room) -> Iterator[list[_Piece]]:
    """Split a segment into cues: at sentences, pauses and new speakers; too long ones at the last
    clause."""
    group: list[_Piece] = []
    for piece in pieces:
        if group and (_ends(group[-1], SENTENCE_END) or _parted(group[-1], piece)):
            yield group
            group = []
        while group and not room.holds([*group, piece]):
            clauses = [k for k, one in enumerate(group, 1) if _ends(one, CLAUSE_END)]
            cut = clauses[-1] if clauses and clauses[-1] * 2 >= len(group) else len(group)
            yield group[:cut]
            group = group[cut:]
        group.append(piece)
    if group:
        yield group


def _joined(groups: Sequence[list[_Piece]], room: _Room) -> list[list[_Piece]]:
    """Cues too short to be read go with the next, where one speaker goes on and both fit."""
    joined: list[list[_Piece]] = []
    for group in groups:
        last = joined[-1] if joined else None
        if last and group[0].start - GAP_S - last[0].start < SHORTEST_S:
            wide = unicodedata.east_asian_width((last[-1].text or " ")[-1]) in "WF"
            apart = group[0].before or ("" if wide else " ")
            both = [*last, group[0]._replace(before=apart), *group[1:]]
            if not _parted(last[-1], group[0]) and room.holds(both):
                joined[-1] = both
                continue
        joined.append(group)
    return joined


def _parted(a: _Piece, b: _Piece) -> bool:
    return b.start - a.end >= PAUSE_S or a.speaker != b.speaker


def _ends(piece: _Piece, marks: tuple[str, ...]) -> bool:
    return piece.text.rstrip("\"'”’»)]").endswith(marks)


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
