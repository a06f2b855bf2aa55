"""Whether a file ends as its format requires, for formats without a length in the header."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from tiktok_ray.media.headers import top_boxes

#: How much of a file's end is searched: the longest page of Ogg, and packet of a program stream.
TAIL_BYTES = 128 * 1024
HEAD_BYTES = 64 * 1024


def is_whole(path: Path, format: str) -> bool | None:
    """Whether a file is complete; None if its end does not tell."""
    judge = next((judge for name, judge in JUDGES.items() if name in format.split(",")), None)
    if judge is None:
        return None
    with path.open("rb") as file:
        return judge(file, path.stat().st_size)


def _tail(file: BinaryIO, size: int) -> bytes:
    file.seek(max(0, size - TAIL_BYTES))
    return file.read(TAIL_BYTES)


def _transport(_file: BinaryIO, size: int) -> bool | None:
    """MPEG-TS: packets of 188, 192 or 204 bytes; nothing says which one is the last."""
    return None if any(size % length == 0 for length in (188, 192, 204)) else False


def _program(file: BinaryIO, size: int) -> bool | None:
    """MPEG-PS (ISO/IEC 13818-1, 2.5.3): an end code, or a last packet as long as it says."""
    data = _tail(file, size).rstrip(b"\0")
    if data.endswith(b"\0\0\1\xb9"):
        return True
    starts = (data.rfind(b"\0\0\1" + bytes([kind])) for kind in range(0xBD, 0xF0))
    at = max(starts)
    if at < 0 or at + 6 > len(data):
        return None
    end = at + 6 + int.from_bytes(data[at + 4 : at + 6], "big")
    return False if end > len(_tail(file, size)) else None


def _gif(file: BinaryIO, size: int) -> bool:
    """GIF 89a, 27: the trailer."""
    return _tail(file, size).rstrip(b"\0\r\n").endswith(b";")


def _ogg(file: BinaryIO, size: int) -> bool | None:
    """Ogg (RFC 3533, 6): the last page of a stream says so."""
    data = _tail(file, size)
    at = data.rfind(b"OggS\0")
    return None if at < 0 or at + 6 > len(data) else bool(data[at + 5] & 4)


#: The object of an ASF file that tells its size, and where.
PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def _asf(file: BinaryIO, size: int) -> bool | None:
    """ASF 3.2: the size of the file, if it is no broadcast."""
    data = file.read(HEAD_BYTES)
    at = data.find(PROPERTIES)
    if at < 0 or at + 96 > len(data) or data[at + 88] & 1:
        return None
    said = int.from_bytes(data[at + 40 : at + 48], "little")
    return size >= said if said else None


def _boxes(file: BinaryIO, size: int) -> bool | None:
    """MP4: boxes that end with the file; `mfra`, an index of fragments, is the last of all."""
    last, _, end = max(top_boxes(file), key=lambda box: box[2], default=(b"", 0, 0))
    if end > size:
        return False
    return True if last == b"mfra" and end + 8 > size else None


JUDGES: Mapping[str, Callable[[BinaryIO, int], bool | None]] = {
    "mpegts": _transport, "mpeg": _program, "gif": _gif, "ogg": _ogg, "asf": _asf, "mov": _boxes,
}  # fmt: skip
