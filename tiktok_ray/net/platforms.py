"""Posts of platforms, by yt-dlp under our limits, and what platforms say of them."""

from __future__ import annotations

import asyncio
import functools
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from tiktok_ray.net.downloads import blamed
from tiktok_ray.net.egress_proxy import EgressProxy
from tiktok_ray.net.intake import BY_HAND, SNIFFED, IntakeError, Progress, Taken, refuse_head
from tiktok_ray.net.photo_posts import slideshow
from tiktok_ray.settings import Settings

T = TypeVar("T")

TIKTOK = re.compile(r"https?://(?:[\w-]+\.)*tiktokv?\.com/", re.IGNORECASE)
#: TikTok's own codec (bvc2), for which there is no decoder outside of its app.
UNDECODABLE = "bytevc2"
#: No post of TikTok lasts longer: what says so is milliseconds, or nothing.
TIKTOK_LONGEST_S = 3600.0
HASHTAG = re.compile(r"#(\w+)")
#: Pages, playlists and TLS come on top of the media.
PAGES_BYTES = 16 * 1024**2
THREAD_PATIENCE_S = 10.0

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


class Watch:
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
            self.verdict = IntakeError(
                "too_large", f"it has {size} bytes, the limit is {self.settings.max_bytes}"
            )
            raise DownloadCancelled("too large")
        if status.get("status") == "finished" and Path(name).is_file():
            with Path(name).open("rb") as file:
                head = file.read(SNIFFED)
            try:
                refuse_head(head, "the platform's file")
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


async def from_platform(
    url: str, proxy: EgressProxy, settings: Settings, folder: Path, report: Progress
) -> Taken:
    """Fetch the one video, or photo post, of a page that yt-dlp knows, into ``folder``.

    Raises ``IntakeError``. Cancelling it stops yt-dlp.
    """
    loop = asyncio.get_running_loop()

    def relayed(done: int, total: int | None) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(report, done, total)

    # Pages are read into memory: they get less than the media, which is written to disk.
    budget, proxy.budget = proxy.budget, PAGES_BYTES

    def begun() -> None:
        proxy.budget = budget

    watch, post = Watch(settings, relayed, begun), _Post()

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
        film, made = await slideshow(post.pictures, path, proxy, settings, folder)
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
    url: str, proxy: str, settings: Settings, folder: Path, watch: Watch, post: _Post
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
    url: str, proxy: str, settings: Settings, folder: Path, watch: Watch
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


def _nothing_came(watch: Watch) -> IntakeError:
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


def _platform_failure(error: Exception, url: str, proxy: EgressProxy, watch: Watch) -> IntakeError:
    if watch.verdict is not None:
        return watch.verdict
    failure = told(error, tiktok=TIKTOK.match(url) is not None)
    blame = proxy.blame()
    clear = failure.type in CLEAR and failure.type == type_of(str(failure))
    return failure if clear or blame is None else blamed(blame)


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
