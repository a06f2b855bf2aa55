"""What fetching a source comes to: a local file and what is known of it, or a typed failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiktok_ray.media import InputError

#: Called with the bytes that have come and, where it is known, their number in all.
Progress = Callable[[int, int | None], None]

#: HTTP status of each type of failure.
STATUS: Mapping[str, int] = {
    "not_found": 404,
    "private": 403,
    "refused": 403,
    "removed": 410,
    "too_large": 413,
    "not_video": 415,
    "empty": 422,
    "photo_post": 422,
    "too_long": 422,
    "unsupported": 422,
    "challenge": 502,
    "ip_blocked": 502,
    "unreachable": 502,
    "timeout": 504,
}
BY_HAND = "save the video with the app or a browser and give the file"
ADVICE: Mapping[str, str] = {
    "not_found": "check the URL or the path",
    "private": f"give the cookies of an account that may see it (TIKTOK_RAY_COOKIES_FILE), or {BY_HAND}",
    "refused": "private addresses and hosts that are not on the list are blocked; see TIKTOK_RAY_ALLOWED_HOSTS"
    " and TIKTOK_RAY_PRIVATE_ADDRESSES",
    "removed": "open the URL in a browser to see whether it still exists",
    "too_large": "raise the setting TIKTOK_RAY_MAX_BYTES, or give a smaller file",
    "not_video": "give a video file or its URL",
    "empty": "fetch or export it again",
    "photo_post": "save the images, or record the post as a video, and give the file",
    "too_long": "raise the setting TIKTOK_RAY_MAX_DURATION_S, or cut the video",
    "unsupported": f"give the URL of a single video, or {BY_HAND}",
    "challenge": f"retry later, give cookies (TIKTOK_RAY_COOKIES_FILE), or {BY_HAND}",
    "ip_blocked": f"try from another network, or {BY_HAND}",
    "unreachable": "check the network and the URL, then retry",
    "timeout": "retry, or raise TIKTOK_RAY_FETCH_TIMEOUT_S and TIKTOK_RAY_FETCH_SILENCE_S",
}

#: How many of a file's first bytes tell what it is.
SNIFFED = 2048


class IntakeError(InputError):
    """A source cannot be turned into a local file. ``type`` is a key of ``STATUS``."""

    def __init__(self, type: str, message: str, advice: str | None = None) -> None:
        super().__init__(type, message, ADVICE[type] if advice is None else advice)

    @property
    def status(self) -> int:
        """The HTTP status that fits."""
        return STATUS[self.type]

    def __reduce__(self) -> tuple[Any, ...]:
        return IntakeError, (self.type, str(self), self.advice)


@dataclass(frozen=True)
class Taken:
    """A source available as a local file.

    ``source`` is as it was given, without credentials; ``id`` is the platform's. ``metadata``
    holds what the platform says: description, counts, music, hashtags and so on.
    """

    path: Path
    source: str
    id: str | None = None
    title: str | None = None
    uploader: str | None = None
    metadata: dict[str, Any] | None = None


def kind_of(head: bytes) -> str:
    """The kind of a file by its first bytes: media, page, playlist, picture or text.

    Playlists are recognised because a decoder would open what they reference.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:512].lower()
    if text.startswith((b"#extm3u", b"ffconcat", b"[playlist]", b"<smil")) or b"<mpd" in text:
        return "playlist"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<!--")):
        return "page"
    if head.startswith((b"\xff\xd8\xff", b"\x89PNG", b"BM")) or head[8:12] in (b"WEBP", b"avif"):
        return "media" if is_animated(head) else "picture"
    with suppress(UnicodeDecodeError):
        # The last bytes may be the beginning of a character.
        words = head[: max(1, len(head) - 3)].decode("utf-8")
        if all(c.isprintable() or c.isspace() for c in words):
            return "text"
    return "media"


def is_animated(head: bytes) -> bool:
    """Whether a picture is a film: an animated PNG, or a WebP (whose decoder refuses by name)."""
    if head[8:12] == b"WEBP":
        return head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 0x02)
    return head.startswith(b"\x89PNG") and b"acTL" in head.partition(b"IDAT")[0]


def refuse_head(head: bytes, what: str) -> None:
    """Raise ``IntakeError`` unless a file that begins like this can be a video."""
    kind = kind_of(head)
    if kind != "media":
        article = "text" if kind == "text" else f"a {kind}"
        raise IntakeError("not_video", f"{what} contains {article}, not a video")
