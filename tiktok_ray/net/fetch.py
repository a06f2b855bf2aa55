"""From a source to a local file: a path, a direct URL, or a page that yt-dlp supports.

``take`` is the only way in. What it fetches goes through ``egress_proxy.EgressProxy``, under limits of size,
length, time and silence; what goes wrong is an ``IntakeError`` whose ``type`` is a stable word.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx

from tiktok_ray.media import InputError
from tiktok_ray.net.egress_proxy import (
    REFUSED_HEADER,
    EgressError,
    EgressProxy,
    OverBudget,
    Refused,
    trust,
)
from tiktok_ray.settings import Settings

T = TypeVar("T")
#: Called with the bytes that have come and, where it is known, their number in all.
Progress = Callable[[int, int | None], None]

#: What a service leads to unless told otherwise: TikTok and where it keeps its media.
TIKTOK_HOSTS = (
    "tiktok.com",
    "tiktokv.com",
    "tiktokv.us",
    "tiktokv.eu",
    "tiktokcdn.com",
    "tiktokcdn-us.com",
    "tiktokcdn-eu.com",
    "ttwstatic.com",
    "byteoversea.com",
    "ibytedtos.com",
    "muscdn.com",
)

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

URL = re.compile(r"[a-z][a-z0-9+.-]*:/", re.IGNORECASE)
BARE_HOST = re.compile(r"(?:[\w-]+\.)+[a-z]{2,}/", re.IGNORECASE)
TIKTOK = re.compile(r"https?://(?:[\w-]+\.)*tiktokv?\.com/", re.IGNORECASE)
MEDIA_SUFFIX = re.compile(
    r"\.(?:mp4|m4v|mov|webm|mkv|avi|mpe?g|ts|flv|gif|ogv|3gp)$", re.IGNORECASE
)
#: TikTok's own codec (bvc2), for which there is no decoder outside of its app.
UNDECODABLE = "bytevc2"
#: No post of TikTok lasts longer: what says so is milliseconds, or nothing.
TIKTOK_LONGEST_S = 3600.0
HASHTAG = re.compile(r"#(\w+)")
ADDRESS_LIMIT = 4096
REDIRECTS = 5
SNIFFED = 2048
WRITTEN = 256 * 1024
PICTURES = 100
PICTURE_BYTES = 64 * 1024**2
#: Pages, playlists and TLS come on top of the media.
PAGES_BYTES = 16 * 1024**2
THREAD_PATIENCE_S = 10.0
USER_AGENT = "Mozilla/5.0 (compatible; tiktok-ray)"

#: Words by which platforms say what is wrong, the most telling first.
WORDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (type, re.compile(pattern, re.IGNORECASE))
    for type, pattern in (
        ("ip_blocked", r"IP address is blocked|geo.?restrict|too many requests|rate.?limit"
         r"|not (?:made this video )?available (?:from|in) your (?:location|country|region)"),
        ("challenge", r"challenge|captcha|not a bot|cloudflare|universal data|universal_data"
         r"|Unexpected response from webpage|status code (?:0|-1)\b"),
        ("private", r"private|permission to view|log.?in\b|sign.?in\b|logged.in|registered users"
         r"|account that has access|members.only|confirm your age|age.restricted|subscribers"),
        ("unsupported", r"livestream|live event|not currently live|is live\b|DRM|unsupported url"
         r"|requested format|no video formats|no working app info|premieres? in"),
        ("removed", r"not available|unavailable|removed|deleted|no longer|does(?: not|n't) exist"
         r"|not exist|been terminated|expired|not found|aweme detail"),
        ("timeout", r"timed? ?out"),
    )
)  # fmt: skip


#: Where a platform says one of these, it is the cause, whatever else could not be reached.
CLEAR = ("ip_blocked", "challenge", "private", "removed")


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


async def take(
    source: str | Path,
    settings: Settings,
    folder: Path,
    progress: Progress | None = None,
    *,
    local: bool = True,
) -> Taken:
    """Turn a source into a local file; a fetched file is in ``folder`` afterwards.

    What is fetched is there whole, as ``source.*``, or not at all. ``source`` is a path (refused unless ``local``), a direct http(s) link to a media file, or the
    address of a page that yt-dlp knows. Raises ``IntakeError``. Cancelling it stops the fetch.
    """
    if isinstance(source, str) and (URL.match(source.strip()) or not local):
        return await _fetched(source.strip(), settings, folder, progress)
    return _local(Path(source), settings)


def _local(path: Path, settings: Settings) -> Taken:
    if not path.exists():
        bare = BARE_HOST.match(str(path)) is not None
        hint = f"for a URL write https://{path}" if bare else "check the path"
        raise IntakeError("not_found", f"the file {path} does not exist", hint)
    if path.is_dir():
        raise IntakeError(
            "not_video", f"{path} is a folder", "give a file, or use tiktok-ray batch"
        )
    if not path.is_file():
        raise IntakeError("not_video", f"{path} is not a regular file")
    if not os.access(path, os.R_OK):
        raise IntakeError("refused", f"no permission to read {path}", "change its permissions")
    size = path.stat().st_size
    if size == 0:
        raise IntakeError("empty", f"{path.name} is empty (0 bytes)")
    if size > settings.max_bytes:
        raise IntakeError("too_large", f"{path.name} has {size} bytes{_limit(settings)}")
    with path.open("rb") as file:
        _refuse_head(file.read(SNIFFED), path.name)
    return Taken(path.resolve(), str(path))


def _limit(settings: Settings) -> str:
    return f", the limit is {settings.max_bytes}"


def checked(address: str) -> str:
    """A well-formed http(s) URL without credentials and fragment. Raises ``IntakeError``."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise IntakeError("unsupported", f"this is not a URL: {error}") from error
    if parts.scheme.lower() not in ("http", "https"):
        scheme = parts.scheme or "a URL without a scheme"
        raise IntakeError("unsupported", f"{scheme} is not supported", "give an http(s) URL")
    if not parts.hostname or port == 0 or re.search(r"[\s\x00-\x1f\x7f\\]", address):
        raise IntakeError("unsupported", "this is not a valid URL")
    if len(address) > ADDRESS_LIMIT:
        raise IntakeError("unsupported", f"the URL is longer than {ADDRESS_LIMIT} characters")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    authority = host if port is None else f"{host}:{port}"
    return urlunsplit((parts.scheme.lower(), authority, parts.path, parts.query, ""))


def _canonical(url: str) -> str:
    """The spelling of a TikTok address that yt-dlp's extractor knows."""
    url = re.sub(
        r"^https?://(?:m\.)?tiktok(v?)\.com/", r"https://www.tiktok\1.com/", url, flags=re.I
    )
    players = r"(?:v|embed|embed/v\d+|player/v\d+|embed/video)"
    return re.sub(
        rf"^(https://www\.tiktokv?\.com/){players}/(\d+)(?:\.html)?(?=[/?#]|$)",
        r"\1share/video/\2",
        url,
    )


async def _fetched(
    source: str, settings: Settings, folder: Path, progress: Progress | None
) -> Taken:
    given = checked(source)
    url = _canonical(given)
    budget = settings.max_bytes + settings.max_bytes // 10 + PAGES_BYTES
    report = progress or (lambda *_: None)
    with (
        tempfile.TemporaryDirectory(
            dir=folder, prefix="fetch-", ignore_cleanup_errors=True
        ) as name,
        opened(settings, budget) as proxy,
    ):
        work = Path(name)
        try:
            async with asyncio.timeout(settings.fetch_timeout_s):
                path = None
                if MEDIA_SUFFIX.search(urlsplit(url).path) or not await _known(url):
                    path = await _direct(url, proxy, settings, work, report)
                if path is not None:
                    taken = Taken(path, given)
                else:
                    taken = await _from_platform(url, proxy, settings, work, report)
        except TimeoutError as error:
            waited = f"fetching it took longer than {settings.fetch_timeout_s:g} s"
            raise IntakeError("timeout", waited) from error
        place = folder / f"source{taken.path.suffix}"
        taken.path.replace(place)
        return replace(taken, path=place, source=given)


def opened(settings: Settings, budget: int) -> EgressProxy:
    """The proxy that a fetch goes through."""
    return EgressProxy.of(settings, budget=budget)


async def _known(url: str) -> bool:
    return TIKTOK.match(url) is not None or await asyncio.to_thread(_has_extractor, url)


def _has_extractor(url: str) -> bool:
    """Whether yt-dlp has an extractor made for this address."""
    from yt_dlp.extractor import gen_extractor_classes

    return any(c.suitable(url) for c in gen_extractor_classes() if c.ie_key() != "Generic")


# Direct links


def _client(proxy: EgressProxy, settings: Settings) -> httpx.AsyncClient:
    patience = httpx.Timeout(settings.fetch_silence_s, connect=settings.fetch_silence_s + 1)
    return httpx.AsyncClient(
        proxy=proxy.url,
        trust_env=False,
        verify=trust(),
        timeout=patience,
        follow_redirects=True,
        max_redirects=REDIRECTS,
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
    )


async def _direct(
    url: str, proxy: EgressProxy, settings: Settings, folder: Path, report: Progress
) -> Path | None:
    """Fetch a media file; None when there is a page or a playlist instead."""
    part = folder / "direct"
    try:
        async with _client(proxy, settings) as client:
            head = await _download(client, url, part, settings.max_bytes, report)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _network_failure(error, proxy) from error
    if kind_of(head) in ("page", "playlist"):
        return None
    return part.rename(part.with_suffix(_suffix(head)))


async def _download(
    client: httpx.AsyncClient, url: str, part: Path, limit: int, report: Progress
) -> bytes:
    """Stream ``url`` into ``part``; returns its first bytes. Stops early where it is not media."""
    async with client.stream("GET", url) as answer:
        _refuse_status(answer)
        length = answer.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        if total is not None and total > limit:
            raise IntakeError("too_large", f"the file has {total} bytes, the limit is {limit}")
        head, done, judged = b"", 0, False
        with part.open("wb") as file:
            async for chunk in answer.aiter_bytes(WRITTEN):
                done += len(chunk)
                if done > limit:
                    raise IntakeError("too_large", f"more than {limit} bytes were received")
                file.write(chunk)
                report(done, total)
                if not judged:
                    head = (head + chunk)[:SNIFFED]
                    judged = len(head) >= SNIFFED
                    if judged and kind_of(head) in ("page", "playlist"):
                        return head
                    if judged:
                        _refuse_head(head, "this address")
    if not done:
        raise IntakeError("empty", "the server sent an empty file")
    if not judged and kind_of(head) not in ("page", "playlist"):
        _refuse_head(head, "this address")
    return head


def _refuse_status(answer: httpx.Response) -> None:
    code = answer.status_code
    if code < 300 or REFUSED_HEADER in answer.headers:
        answer.raise_for_status()
        return
    words = f"the server responded with {code} {answer.reason_phrase}".strip()
    types = {401: "private", 403: "private", 404: "not_found", 410: "removed", 429: "ip_blocked",
             408: "timeout", 504: "timeout", 451: "ip_blocked"}  # fmt: skip
    raise IntakeError(types.get(code, "unreachable"), words)


def _network_failure(error: Exception, proxy: EgressProxy) -> IntakeError:
    """What a client's error means, told by the proxy where the proxy knows better."""
    blame = proxy.blame()
    if blame is not None:
        return _blamed(blame)
    if isinstance(error, httpx.TimeoutException):
        return IntakeError("timeout", "the server stopped sending")
    if isinstance(error, httpx.UnsupportedProtocol):
        return IntakeError("refused", f"a redirect does not lead to http(s): {error}")
    if isinstance(error, httpx.InvalidURL):
        return IntakeError("unreachable", f"a redirect leads to an invalid URL: {error}")
    if isinstance(error, httpx.TooManyRedirects):
        return IntakeError("unreachable", f"more than {REDIRECTS} redirects")
    return IntakeError("unreachable", f"the connection failed: {error or type(error).__name__}")


def _blamed(blame: EgressError) -> IntakeError:
    if isinstance(blame, OverBudget):
        return IntakeError("too_large", str(blame))
    if isinstance(blame, Refused):
        return IntakeError("refused", str(blame))
    return IntakeError("timeout" if "silent" in blame.reason else "unreachable", str(blame))


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
        return "media" if _is_animated(head) else "picture"
    with suppress(UnicodeDecodeError):
        # The last bytes may be the beginning of a character.
        words = head[: max(1, len(head) - 3)].decode("utf-8")
        if all(c.isprintable() or c.isspace() for c in words):
            return "text"
    return "media"


def _is_animated(head: bytes) -> bool:
    """Whether a picture is a film: an animated PNG, or a WebP (whose decoder refuses by name)."""
    if head[8:12] == b"WEBP":
        return head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 0x02)
    return head.startswith(b"\x89PNG") and b"acTL" in head.partition(b"IDAT")[0]


def _refuse_head(head: bytes, what: str) -> None:
    kind = kind_of(head)
    if kind != "media":
        article = "text" if kind == "text" else f"a {kind}"
        raise IntakeError("not_video", f"{what} contains {article}, not a video")


def _suffix(head: bytes) -> str:
    if head[4:8] == b"ftyp":
        return ".mp4"
    known = {
        b"\x1aE\xdf\xa3": ".mkv",
        b"GIF8": ".gif",
        b"\x89PNG": ".png",
        b"OggS": ".ogv",
        b"FLV\x01": ".flv",
    }
    return known.get(head[:4], ".avi" if head[8:11] == b"AVI" else ".bin")


# Platforms


@dataclass
class _Post:
    """What TikTok's page says of a post, beyond what the extractor returns."""

    pictures: list[list[str]] = field(default_factory=list)
    hashtags: list[str] = field(default_factory=list)
    music: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    def note(self, item: Any, info: dict[str, Any]) -> None:
        """Take what there is of the page's ``itemStruct``, and what the extractor made of it."""
        self.info = info
        self.pictures = [
            [url for url in _list(_at(image, "imageURL", "urlList")) if isinstance(url, str)]
            for image in _list(_at(item, "imagePost", "images"))
        ]
        tags = [
            *(_at(entry, "hashtagName") for entry in _list(_at(item, "textExtra"))),
            *(_at(entry, "title") for entry in _list(_at(item, "challenges"))),
        ]
        self.hashtags = list(dict.fromkeys(t for t in tags if isinstance(t, str) and t))
        music = _at(item, "music")
        if isinstance(music, dict):
            names = {"id": "id", "title": "title", "authorName": "artist", "album": "album",
                     "original": "original", "duration": "duration_s"}  # fmt: skip
            self.music = {
                new: music[old] for old, new in names.items() if music.get(old) not in (None, "")
            }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _seconds(info: Mapping[str, Any]) -> float:
    """How long a platform says its video is; 0 where it says nothing that can be.

    What it says wrongly is not the end: the file itself is measured when it is decoded.
    """
    said = info.get("duration")
    if not isinstance(said, int | float) or not 0 < said < float("inf"):
        return 0.0
    spoilt = info.get("extractor_key") == "TikTok" and said > TIKTOK_LONGEST_S
    return 0.0 if spoilt else float(said)


class _Watch:
    """Watches over one yt-dlp run: its limits, its progress, and whether it shall stop."""

    def __init__(
        self, settings: Settings, report: Progress, begun: Callable[[], None] = lambda: None
    ) -> None:
        self.settings = settings
        self.report = report
        self.begun = begun
        self.stopped = threading.Event()
        self.verdict: IntakeError | None = None
        self.sizes: dict[str, int] = {}
        self.warnings: list[str] = []

    def match(self, info: Mapping[str, Any], *, incomplete: bool) -> str | None:
        """yt-dlp's match filter: why this entry is not taken, or None."""
        del incomplete
        several = max(info.get("n_entries") or 1, info.get("playlist_count") or 1)
        live = info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming")
        duration = _seconds(info)
        if several > 1:
            self.verdict = IntakeError("unsupported", "the URL leads to several videos")
        elif live:
            self.verdict = IntakeError(
                "unsupported", "this is a live stream", "wait until it has ended"
            )
        elif duration > self.settings.max_duration_s:
            words = f"it is {duration:.0f} s long, the limit is {self.settings.max_duration_s:g} s"
            self.verdict = IntakeError("too_long", words)
        else:
            return None
        return str(self.verdict)

    def progress(self, status: Mapping[str, Any]) -> None:
        """yt-dlp's progress hook."""
        from yt_dlp.utils import DownloadCancelled

        if self.stopped.is_set():
            raise DownloadCancelled("stopped")
        name = str(status.get("filename"))
        self.sizes[name] = status.get("downloaded_bytes") or self.sizes.get(name, 0)
        others = sum(self.sizes.values()) - self.sizes[name]
        total = status.get("total_bytes")
        if max(sum(self.sizes.values()), others + (total or 0)) > self.settings.max_bytes:
            size = others + (total or self.sizes[name])
            self.verdict = IntakeError("too_large", f"it has {size} bytes{_limit(self.settings)}")
            raise DownloadCancelled("too large")
        if status.get("status") == "finished" and Path(name).is_file():
            with Path(name).open("rb") as file:
                head = file.read(SNIFFED)
            try:
                _refuse_head(head, "the platform's file")
            except IntakeError as error:
                self.verdict = error
                raise DownloadCancelled(str(error)) from error
        self.report(sum(self.sizes.values()), others + total if total else None)

    def debug(self, message: str) -> None:
        """yt-dlp's logger: where it begins to write a file, pages are behind it."""
        if message.startswith("[download] Destination"):
            self.begun()

    def warning(self, message: str) -> None:
        """yt-dlp's logger: warnings stand in for an error that says nothing."""
        self.warnings = [*self.warnings[-20:], message]

    def error(self, message: str) -> None:
        """yt-dlp's logger: errors come as exceptions."""


async def _from_platform(
    url: str, proxy: EgressProxy, settings: Settings, folder: Path, report: Progress
) -> Taken:
    loop = asyncio.get_running_loop()

    def relayed(done: int, total: int | None) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(report, done, total)

    # Pages are read into memory: they get less than the media, which is written to disk.
    budget, proxy.budget = proxy.budget, PAGES_BYTES

    def begun() -> None:
        proxy.budget = budget

    watch, post = _Watch(settings, relayed, begun), _Post()

    def stop() -> None:
        watch.stopped.set()
        proxy.close()

    work = functools.partial(_extract, url, proxy.url, settings, folder, watch, post)
    try:
        path, info = await _in_thread(work, stop)
    except _Failed as failure:
        if _has_only_own_codec(post.info) and not post.pictures:
            raise _own_codec() from failure.cause
        if not (post.pictures and failure.soundless):
            raise _platform_failure(failure.cause, url, proxy, watch) from failure.cause
        path, info = None, post.info
    proxy.budget = budget
    if post.pictures:
        film, made = await _slideshow(post.pictures, path, proxy, settings, folder)
        return _described(film, url, info, post, made)
    if path is None:
        raise watch.verdict or _nothing_came(watch)
    if _is_sound_only(info) and _has_only_own_codec(info):
        raise _own_codec()
    if _is_sound_only(info):
        raise IntakeError(
            "not_video", "the platform returned sound, but no video with its own sound", BY_HAND
        )
    return _described(path, url, info, post)


class _Failed(Exception):
    """yt-dlp gave up, for ``cause``."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause

    @property
    def soundless(self) -> bool:
        return "No video formats found" in str(self.cause)


async def _in_thread(work: Callable[[], T], stop: Callable[[], None]) -> T:
    """Run blocking work; when cancelled, stop it and wait until it has ended."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="intake")
    future = asyncio.wrap_future(pool.submit(work))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait({future}, timeout=THREAD_PATIENCE_S)
        if future.done() and not future.cancelled():
            future.exception()  # it was stopped: what it says of it is of no interest
        raise
    finally:
        pool.shutdown(wait=False)


def _extract(
    url: str, proxy: str, settings: Settings, folder: Path, watch: _Watch, post: _Post
) -> tuple[Path | None, dict[str, Any]]:
    """Run yt-dlp on one address; returns the file and what it says of it. Raises ``_Failed``."""
    import yt_dlp
    from yt_dlp.utils import YoutubeDLError

    try:
        with yt_dlp.YoutubeDL(ytdlp_options(url, proxy, settings, folder, watch)) as ydl:
            ydl.add_info_extractor(_tiktok_extractor(post)())
            info = ydl.extract_info(url, download=True) or {}
    except YoutubeDLError as error:
        raise _Failed(error) from error
    entries = info.get("entries")
    if entries:
        info = entries[0] or {}
    files = info.get("requested_downloads") or [{}]
    place = files[0].get("filepath")
    return (Path(place) if place and Path(place).is_file() else None), info


def ytdlp_options(
    url: str, proxy: str, settings: Settings, folder: Path, watch: _Watch
) -> dict[str, Any]:
    """yt-dlp's parameters: one video, limited, everything through ``proxy``."""
    import imageio_ffmpeg
    from yt_dlp.networking.impersonate import ImpersonateTarget

    # TikTok lists a post's music beside it: merged with a silent format it would be another sound.
    # Its own codec is left out: nothing decodes it, and yt-dlp takes it where there is no other.
    own = f"[vcodec!=?{UNDECODABLE}]"
    chosen = f"b{own}/bv*[acodec!=none]{own}/ba" if TIKTOK.match(url) else "bv*+ba/b/ba"
    options: dict[str, Any] = {
        "format": chosen,
        "format_sort": ["res:1080"],
        "outtmpl": {"default": str(folder / "platform.%(ext)s")},
        "noplaylist": True,
        "playlist_items": "1:2",
        "cachedir": False,
        "quiet": True,
        "noprogress": True,
        "logger": watch,
        "color": "no_color",
        "overwrites": True,
        "updatetime": False,
        "proxy": proxy,
        "socket_timeout": settings.fetch_silence_s,
        "retries": 1,
        "fragment_retries": 1,
        "extractor_retries": 0,
        "skip_unavailable_fragments": False,
        "fixup": "never",
        "match_filter": watch.match,
        "progress_hooks": [watch.progress],
        "ffmpeg_location": imageio_ffmpeg.get_ffmpeg_exe(),
        # Where ffmpeg has to fetch after all, it keeps to the proxy and to these protocols.
        "external_downloader": "native",
        "external_downloader_args": {
            "ffmpeg_i": ["-protocol_whitelist", "http,https,tls,tcp,httpproxy,crypto,data"]
        },
    }
    if settings.cookies_file is not None:
        # yt-dlp writes its jar back: it gets a copy.
        copy = folder / "cookies.txt"
        shutil.copyfile(settings.cookies_file, copy)
        copy.chmod(0o600)
        options["cookiefile"] = str(copy)
    if settings.impersonate:
        options["impersonate"] = ImpersonateTarget.from_str(settings.impersonate.lower())
    return options


def _tiktok_extractor(post: _Post) -> Any:
    """yt-dlp's extractor of TikTok, which takes photo posts too and notes what the page says."""
    from yt_dlp.extractor.tiktok import TikTokIE as Theirs

    class TikTokIE(Theirs):  # type: ignore[misc]
        _VALID_URL = Theirs._VALID_URL.replace("/video)", "/(?:video|photo))")

        def _parse_aweme_video_web(self, aweme_detail: Any, *args: Any, **kwargs: Any) -> Any:
            info = super()._parse_aweme_video_web(aweme_detail, *args, **kwargs)
            post.note(aweme_detail, info)
            return info

    return TikTokIE


def _is_sound_only(info: Mapping[str, Any]) -> bool:
    parts = info.get("requested_formats") or [info]
    return all(part.get("vcodec") == "none" for part in parts)


def _has_only_own_codec(info: Mapping[str, Any]) -> bool:
    """Whether all formats with pictures are in TikTok's own codec."""
    codecs = {f.get("vcodec") for f in _list(info.get("formats")) if f.get("vcodec") != "none"}
    return codecs == {UNDECODABLE}


def _own_codec() -> IntakeError:
    words = (
        f"TikTok offers this video only in its own codec {UNDECODABLE}, which no decoder supports"
    )
    return IntakeError("unsupported", words, f"retry later, or {BY_HAND}")


def _nothing_came(watch: _Watch) -> IntakeError:
    words = watch.warnings[-1] if watch.warnings else "the platform returned no video"
    return IntakeError(type_of(words) or "unsupported", words)


def type_of(words: str) -> str | None:
    """The failure type for a message of a platform or yt-dlp."""
    return next((type for type, pattern in WORDS if pattern.search(words)), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and everything behind it."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        error = waiting.pop(0)
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        behind = getattr(error, "exc_info", None)
        waiting += [
            behind[1] if isinstance(behind, tuple) else None,
            getattr(error, "cause", None),
            error.__cause__,
        ]


def _platform_failure(error: Exception, url: str, proxy: EgressProxy, watch: _Watch) -> IntakeError:
    if watch.verdict is not None:
        return watch.verdict
    failure = told(error, tiktok=TIKTOK.match(url) is not None)
    blame = proxy.blame()
    clear = failure.type in CLEAR and failure.type == type_of(str(failure))
    return failure if clear or blame is None else _blamed(blame)


def told(error: Exception, *, tiktok: bool) -> IntakeError:
    """The meaning of a yt-dlp exception: by its class, its HTTP status, then its message."""
    from yt_dlp.networking.exceptions import HTTPError, TransportError
    from yt_dlp.utils import ExtractorError, GeoRestrictedError, UnsupportedError, UserNotLive

    chain = list(_causes(error))
    own = next((e for e in chain if isinstance(e, ExtractorError)), error)
    words = _first_sentence(str(getattr(own, "orig_msg", None) or own))
    for cause in chain:
        if isinstance(cause, GeoRestrictedError):
            return IntakeError("ip_blocked", words)
        if isinstance(cause, (UnsupportedError, UserNotLive)):
            return IntakeError("unsupported", words)
        if isinstance(cause, HTTPError):
            return IntakeError(_type_of_status(cause.status, tiktok), words)
    if any(isinstance(cause, TimeoutError) for cause in chain):
        return IntakeError("timeout", words)
    if any(isinstance(cause, TransportError) for cause in chain):
        # Its words hold host names, which say nothing.
        late = re.search("timed? ?out", words, re.IGNORECASE)
        return IntakeError("timeout" if late else "unreachable", words)
    return IntakeError(type_of(words) or "unsupported", words)


def _type_of_status(code: int, tiktok: bool) -> str:
    if code in (401, 403):
        return "ip_blocked" if tiktok else "private"
    return {404: "not_found", 410: "removed", 429: "ip_blocked", 451: "ip_blocked"}.get(
        code, "unreachable"
    )


def _first_sentence(words: str) -> str:
    """The message without colours, prefixes and yt-dlp's advice about its own command line."""
    words = re.sub(r"\x1b\[[0-9;]*m", "", words).removeprefix("ERROR: ")
    words = re.split(r"[;.]\s+(?:Use --|See +http|please report|You might want)", words)[0]
    return words.split("\n")[0].strip().rstrip(".")[:500]


# What the platform says


def _described(
    path: Path,
    url: str,
    info: Mapping[str, Any],
    post: _Post,
    slideshow: dict[str, Any] | None = None,
) -> Taken:
    text = str(info.get("description") or "")
    uploader = info.get("uploader") or info.get("channel")
    stamp = info.get("timestamp")
    music = post.music or {
        "title": info.get("track"),
        "artist": ", ".join(info.get("artists") or []),
        "album": info.get("album"),
    }
    facts = {
        "platform": info.get("extractor_key") or ("TikTok" if post.info else None),
        "id": info.get("id"),
        "url": info.get("webpage_url") or url,
        "description": text,
        "uploader_id": info.get("uploader_id"),
        "uploader_name": info.get("channel"),
        "published": datetime.fromtimestamp(stamp, UTC).isoformat() if stamp else None,
        "duration_s": info.get("duration") if slideshow is None else None,
        "counts": {
            name: info[key]
            for name, key in (
                ("views", "view_count"),
                ("likes", "like_count"),
                ("comments", "comment_count"),
                ("reposts", "repost_count"),
                ("saves", "save_count"),
            )
            if info.get(key) is not None
        },
        "music": {name: value for name, value in music.items() if value not in (None, "")},
        "hashtags": post.hashtags or list(dict.fromkeys(HASHTAG.findall(text))),
        "tags": info.get("tags"),
        "slideshow": slideshow,
    }
    known = {name: value for name, value in facts.items() if value not in (None, "", [], {})}
    title = info.get("title") or text[:72]
    return Taken(path, url, info.get("id"), title or None, uploader, json.loads(json.dumps(known)))


# Photo posts


async def _slideshow(
    pictures: list[list[str]],
    sound: Path | None,
    proxy: EgressProxy,
    settings: Settings,
    folder: Path,
) -> tuple[Path, dict[str, Any]]:
    """Fetch the pictures of a photo post and make a video of them and its sound."""
    from tiktok_ray.media.slideshow import SECONDS_PER_PICTURE

    seconds = SECONDS_PER_PICTURE * len(pictures)
    if len(pictures) > PICTURES or seconds > settings.max_duration_s:
        words = f"{len(pictures)} images would make {seconds:.0f} s"
        raise IntakeError("too_long", f"{words}, the limit is {settings.max_duration_s:g} s")
    files = []
    async with _client(proxy, settings) as client:
        for number, urls in enumerate(pictures, 1):
            path = folder / f"picture-{number:03d}"
            await _picture(client, urls, path, f"image {number} of {len(pictures)}", proxy)
            files.append(path)
    target, spec = folder / "slideshow.mp4", folder / "slideshow.json"
    wanted = {
        "target": str(target),
        "pictures": [str(path) for path in files],
        "sound": str(sound) if sound else None,
        "max_pixels": settings.max_pixels,
    }
    spec.write_text(json.dumps(wanted), encoding="utf-8")
    return target, await _made(spec)


async def _picture(
    client: httpx.AsyncClient, urls: list[str], path: Path, what: str, proxy: EgressProxy
) -> None:
    failure: Exception | None = None
    for url in urls:
        try:
            head = b""
            async with client.stream("GET", url) as answer:
                _refuse_status(answer)
                size = 0
                with path.open("wb") as file:
                    async for chunk in answer.aiter_bytes(WRITTEN):
                        head = head or chunk
                        size += len(chunk)
                        if size > PICTURE_BYTES:
                            raise IntakeError(
                                "too_large", f"{what} has more than {PICTURE_BYTES} bytes"
                            )
                        file.write(chunk)
        except (httpx.HTTPError, httpx.InvalidURL, IntakeError) as error:
            failure = error
            continue
        if kind_of(head) == "picture" or _is_animated(head):
            return
        failure = IntakeError("not_video", "no image was returned")
    blame = proxy.blame()
    if isinstance(blame, Refused):
        raise _blamed(blame) from failure
    raise IntakeError("photo_post", f"{what} could not be fetched: {failure}") from failure


async def _made(spec: Path) -> dict[str, Any]:
    """Run the slide show's maker as a process of its own, which ends with this call."""
    maker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tiktok_ray.media.slideshow",
        str(spec),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "OPENBLAS_NUM_THREADS": "1",
        },
    )
    try:
        out, err = await maker.communicate()
    finally:
        if maker.returncode is None:
            maker.kill()
            await maker.wait()
    if maker.returncode != 0:
        lines = err.decode("utf-8", "replace").strip().splitlines()
        why = lines[-1] if lines else f"its process exited with {maker.returncode}"
        raise IntakeError("photo_post", f"this post could not be turned into a slide show: {why}")
    made: dict[str, Any] = json.loads(out)
    return made
