"""From a source to a local file: a path, a direct URL, or a page that yt-dlp supports.

``take`` is the only way in. What it fetches goes through ``egress_proxy.EgressProxy``, under limits of size,
length, time and silence; what goes wrong is an ``IntakeError`` whose ``type`` is a stable word.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from tiktok_ray.net.intake import SNIFFED, IntakeError, Progress, Taken, refuse_head
from tiktok_ray.settings import Settings

# What fetches is imported when there is something to fetch: most commands have a file.
if TYPE_CHECKING:
    from tiktok_ray.net.egress_proxy import EgressProxy

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

URL = re.compile(r"[a-z][a-z0-9+.-]*:/", re.IGNORECASE)
BARE_HOST = re.compile(r"(?:[\w-]+\.)+[a-z]{2,}/", re.IGNORECASE)
MEDIA_SUFFIX = re.compile(
    r"\.(?:mp4|m4v|mov|webm|mkv|avi|mpe?g|ts|flv|gif|ogv|3gp)$", re.IGNORECASE
)
ADDRESS_LIMIT = 4096


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
        raise IntakeError(
            "too_large", f"{path.name} has {size} bytes, the limit is {settings.max_bytes}"
        )
    with path.open("rb") as file:
        refuse_head(file.read(SNIFFED), path.name)
    return Taken(path.resolve(), str(path))


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
    from tiktok_ray.net.downloads import direct
    from tiktok_ray.net.platforms import PAGES_BYTES, from_platform

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
                    path = await direct(url, proxy, settings, work, report)
                if path is not None:
                    taken = Taken(path, given)
                else:
                    taken = await from_platform(url, proxy, settings, work, report)
        except TimeoutError as error:
            waited = f"fetching it took longer than {settings.fetch_timeout_s:g} s"
            raise IntakeError("timeout", waited) from error
        place = folder / f"source{taken.path.suffix}"
        taken.path.replace(place)
        return replace(taken, path=place, source=given)


def opened(settings: Settings, budget: int) -> EgressProxy:
    """The proxy that a fetch goes through."""
    from tiktok_ray.net.egress_proxy import EgressProxy

    return EgressProxy.of(settings, budget=budget)


async def _known(url: str) -> bool:
    from tiktok_ray.net.platforms import TIKTOK

    return TIKTOK.match(url) is not None or await asyncio.to_thread(_has_extractor, url)


def _has_extractor(url: str) -> bool:
    """Whether yt-dlp has an extractor made for this address."""
    from yt_dlp.extractor import gen_extractor_classes

    return any(c.suitable(url) for c in gen_extractor_classes() if c.ie_key() != "Generic")
