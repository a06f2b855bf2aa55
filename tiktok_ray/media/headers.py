"""What FFmpeg's demuxers read of a track and PyAV does not hand on: its crop, its own codec name, and
pauses in its edit list.

MP4 and QuickTime (ISO/IEC 14496-12) and Matroska (RFC 9559) are read, as far as they are whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tiktok_ray.media.spans import Span

#: Headers beyond this size are not read.
HEADER_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class Track:
    """``code``: its codec, as the container spells it. ``crop``: what of its pictures is shown.

    ``crop`` is width, height, and how far its middle lies right of and below the picture's, pixels.
    ``pauses``: empty edits after the first other one (seconds): FFmpeg plays the beginning again in
    them. ``dolby``: its profile of Dolby Vision, and the number of what its base layer is compatible with.
    """

    code: str
    crop: tuple[float, float, float, float] | None
    dolby: tuple[int, int] | None = None
    pauses: tuple[Span, ...] = ()


def tracks_of(path: Path, format: str, ids: Sequence[int]) -> dict[int, Track]:
    """Tracks by the numbers of their streams, whose identifiers are ``ids``."""
    with path.open("rb") as file:
        if "mov" in format:
            known = _mp4(_moov(file))
            return {index: known[id] for index, id in enumerate(ids) if id in known}
        # FFmpeg's streams are in the order of Matroska's tracks, and without their numbers.
        return dict(enumerate(_matroska(_tracks(file)))) if "matroska" in format else {}


def is_fragmented(path: Path, format: str) -> bool:
    """Whether an MP4 file is in fragments and does not say how long they are together.

    FFmpeg then adds up those that are there.
    """
    if "mov" not in format:
        return False
    with path.open("rb") as file:
        extends = dict(_boxes(_moov(file))).get(b"mvex")
    return extends is not None and not any(kind == b"mehd" for kind, _ in _boxes(extends))


# --- MP4 --------------------------------------------------------------------------------------


def _mp4(moov: bytes) -> dict[int, Track]:
    tracks = {}
    scale = _time_scale(dict(_boxes(moov)).get(b"mvhd", b""))
    for kind, trak in _boxes(moov):
        if kind != b"trak":
            continue
        inner = dict(_boxes(trak))
        table = inner
        for name in (b"mdia", b"minf", b"stbl"):
            table = dict(_boxes(table.get(name, b"")))
        head, entry = inner.get(b"tkhd", b""), table.get(b"stsd", b"")[8:]
        if len(head) < 24 or len(entry) < 8:
            continue
        at = 20 if head[0] == 1 else 12
        code = entry[4:8].decode("latin-1").strip()
        boxes = dict(_boxes(entry[86:]))
        dolby = next((boxes[kind] for kind in DOLBY if kind in boxes), b"")
        number = int.from_bytes(head[at : at + 4], "big")
        edits = dict(_boxes(inner.get(b"edts", b""))).get(b"elst", b"")
        tracks[number] = Track(
            code, _aperture(boxes.get(b"clap", b"")), _dolby(dolby), _pauses(edits, scale)
        )
    return tracks


def _time_scale(mvhd: bytes) -> int:
    """Ticks per second of a movie header (ISO/IEC 14496-12, 8.2.2)."""
    at = 20 if mvhd[:1] == b"\1" else 12
    return int.from_bytes(mvhd[at : at + 4], "big")


def _pauses(elst: bytes, scale: int) -> tuple[Span, ...]:
    """Empty edits after the first other one of an edit list (ISO/IEC 14496-12, 8.6.6)."""
    wide = elst[:1] == b"\1"
    kind = np.dtype([("length", ">u8"), ("media", ">i8"), ("rate", ">i4")] if wide else
                    [("length", ">u4"), ("media", ">i4"), ("rate", ">i4")])  # fmt: skip
    count = min(int.from_bytes(elst[4:8], "big"), (len(elst) - 8) // kind.itemsize)
    if count < 1 or not scale:
        return ()
    edits = np.frombuffer(elst, kind, count, 8)
    ends = np.cumsum(edits["length"].astype(float)) / scale
    empty = edits["media"] == -1
    later = empty & (np.cumsum(~empty) > 0)
    return tuple(Span(ends[k - 1], ends[k]) for k in np.flatnonzero(later).tolist())


#: Boxes that hold the configuration of Dolby Vision.
DOLBY = (b"dvcC", b"dvvC", b"dvwC")


def _dolby(record: bytes) -> tuple[int, int] | None:
    """Profile and compatibility of a decoder configuration record.

    Dolby Vision Streams Within the ISO Base Media File Format, 3.2.
    """
    return (record[2] >> 1, record[4] >> 4) if len(record) >= 5 else None


def _aperture(box: bytes) -> tuple[float, float, float, float] | None:
    """A clean aperture: four fractions (ISO/IEC 14496-12, 12.1.4)."""
    if len(box) < 32:
        return None
    n = np.frombuffer(box[:32], ">i4").astype(float)
    if (n[1::2] == 0).any():
        return None
    width, height, x, y = (n[::2] / n[1::2]).tolist()
    return width, height, x, y


def top_boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Each box of an MP4 file: its kind, and where its body begins and ends. The last may end
    beyond the file; boxes end at the first that says no valid length.
    """
    at = 0
    while True:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        size, used = int.from_bytes(head[:4], "big"), 8
        if size == 1 and len(head) == 16:
            size, used = int.from_bytes(head[8:], "big"), 16
        if size < used:
            return
        yield head[4:8], at + used, at + size
        at += size


def _moov(file: BinaryIO) -> bytes:
    """The body of the first `moov` box; empty if there is none."""
    for kind, begin, end in top_boxes(file):
        if kind == b"moov":
            file.seek(begin)
            return file.read(min(end - begin, HEADER_BYTES))
    return b""


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of each box; ends at the first that is not whole."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size < 8 or at + size > len(data):
            return
        yield data[at + 4 : at + 8], data[at + 8 : at + size]
        at += size


# --- Matroska ---------------------------------------------------------------------------------

SEGMENT, TRACKS, ENTRY, CODEC, VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0x86, 0xE0
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 0xB0, 0xBA, 0x54CC, 0x54DD, 0x54BB, 0x54AA
ADDITION, ADDITION_TYPE, ADDITION_DATA = 0x41E4, 0x41E7, 0x41ED


def _matroska(tracks: bytes) -> list[Track]:
    found = []
    for kind, entry in _elements(tracks):
        if kind != ENTRY:
            continue
        inner = dict(_elements(entry))
        shown = {k: int.from_bytes(v, "big") for k, v in _elements(inner.get(VIDEO, b""))}
        left, right, top, bottom = (shown.get(side, 0) for side in (LEFT, RIGHT, TOP, BOTTOM))
        crop = None
        if left or right or top or bottom:
            width, height = shown.get(WIDTH, 0) - left - right, shown.get(HEIGHT, 0) - top - bottom
            crop = float(width), float(height), (left - right) / 2, (top - bottom) / 2
        code = inner.get(CODEC, b"").decode("latin-1").strip("\0 ")
        added = [dict(_elements(body)) for kind, body in _elements(entry) if kind == ADDITION]
        records = {one.get(ADDITION_TYPE, b""): one.get(ADDITION_DATA, b"") for one in added}
        dolby = next((records[kind] for kind in DOLBY if kind in records), b"")
        found.append(Track(code, crop, _dolby(dolby)))
    return found


def _tracks(file: BinaryIO) -> bytes:
    """The body of the first `Tracks` element; empty if there is none before other large ones."""
    head = file.read(1024**2)
    at = 0
    while element := _element(head, at):
        kind, body, size = element
        if kind == SEGMENT:
            at = body
        elif kind == TRACKS:
            file.seek(body)
            return file.read(min(size, HEADER_BYTES))
        else:
            at = body + size
    return b""


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Identifier and body of each element; ends at the first that is not whole."""
    at = 0
    while element := _element(data, at):
        kind, body, size = element
        if body + size > len(data):
            return
        yield kind, data[body : body + size]
        at = body + size


def _element(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Identifier, place of the body and its size of the element at a place, if there is one."""
    if at >= len(data) or not data[at]:
        return None
    wide = 9 - data[at].bit_length()
    kind = int.from_bytes(data[at : at + wide], "big")
    at += wide
    if at >= len(data) or not data[at]:
        return None
    wide = 9 - data[at].bit_length()
    size = int.from_bytes(data[at : at + wide], "big") & ((1 << 7 * wide) - 1)
    return kind, at + wide, size
