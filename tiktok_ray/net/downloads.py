"""Files over HTTP, through the guarded proxy: direct links to media, and what their failures mean."""

from __future__ import annotations

from pathlib import Path

import httpx

from tiktok_ray.net.egress_proxy import (
    REFUSED_HEADER,
    EgressError,
    EgressProxy,
    OverBudget,
    Refused,
    trust,
)
from tiktok_ray.net.intake import SNIFFED, IntakeError, Progress, kind_of, refuse_head
from tiktok_ray.settings import Settings

REDIRECTS = 5
WRITTEN = 256 * 1024
USER_AGENT = "Mozilla/5.0 (compatible; tiktok-ray)"


def client(proxy: EgressProxy, settings: Settings) -> httpx.AsyncClient:
    """A client whose every connection goes through ``proxy``."""
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


async def direct(
    url: str, proxy: EgressProxy, settings: Settings, folder: Path, report: Progress
) -> Path | None:
    """Fetch a media file; None when there is a page or a playlist instead."""
    part = folder / "direct"
    try:
        async with client(proxy, settings) as http:
            head = await _download(http, url, part, settings.max_bytes, report)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise network_failure(error, proxy) from error
    if kind_of(head) in ("page", "playlist"):
        return None
    return part.rename(part.with_suffix(_suffix(head)))


async def _download(
    http: httpx.AsyncClient, url: str, part: Path, limit: int, report: Progress
) -> bytes:
    """Stream ``url`` into ``part``; returns its first bytes. Stops early where it is not media."""
    async with http.stream("GET", url) as answer:
        refuse_status(answer)
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
                        refuse_head(head, "this address")
    if not done:
        raise IntakeError("empty", "the server sent an empty file")
    if not judged and kind_of(head) not in ("page", "playlist"):
        refuse_head(head, "this address")
    return head


def refuse_status(answer: httpx.Response) -> None:
    """Raise ``IntakeError`` for an HTTP status that is not a success, or what httpx raises."""
    code = answer.status_code
    if code < 300 or REFUSED_HEADER in answer.headers:
        answer.raise_for_status()
        return
    words = f"the server responded with {code} {answer.reason_phrase}".strip()
    types = {401: "private", 403: "private", 404: "not_found", 410: "removed", 429: "ip_blocked",
             408: "timeout", 504: "timeout", 451: "ip_blocked"}  # fmt: skip
    raise IntakeError(types.get(code, "unreachable"), words)


def network_failure(error: Exception, proxy: EgressProxy) -> IntakeError:
    """What a client's error means, told by the proxy where the proxy knows better."""
    blame = proxy.blame()
    if blame is not None:
        return blamed(blame)
    if isinstance(error, httpx.TimeoutException):
        return IntakeError("timeout", "the server stopped sending")
    if isinstance(error, httpx.UnsupportedProtocol):
        return IntakeError("refused", f"a redirect does not lead to http(s): {error}")
    if isinstance(error, httpx.InvalidURL):
        return IntakeError("unreachable", f"a redirect leads to an invalid URL: {error}")
    if isinstance(error, httpx.TooManyRedirects):
        return IntakeError("unreachable", f"more than {REDIRECTS} redirects")
    return IntakeError("unreachable", f"the connection failed: {error or type(error).__name__}")


def blamed(blame: EgressError) -> IntakeError:
    """The failure of a fetch that the proxy ended."""
    if isinstance(blame, OverBudget):
        return IntakeError("too_large", str(blame))
    if isinstance(blame, Refused):
        return IntakeError("refused", str(blame))
    return IntakeError("timeout" if "silent" in blame.reason else "unreachable", str(blame))


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
