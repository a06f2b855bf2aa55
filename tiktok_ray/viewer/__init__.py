"""The viewer: a report as one self-contained HTML page, and the page of the service.

``page`` and ``index`` return whole documents: styles, scripts and data inside, no request to any
host but, for ``index``, the service that gave it. Their policy (CSP) lets no script run but the one
they came with, by its hash; data is only ever shown as text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from tiktok_ray.files import sha256_of
from tiktok_ray.viewer.bundle import bundle
from tiktok_ray.viewer.hints import hints, lanes

HERE = Path(__file__).parent
#: Longest video that is put into a page: as base64 it must fit into one string of a browser.
VIDEO_MAX = 300 * 2**20

DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<noscript><p>This page needs JavaScript to show the report, and JavaScript is disabled.</p></noscript>
<main id="app"></main>
{data}<script>{script}</script>
</body>
</html>
"""


def page(report: dict[str, Any], video: Path | None = None, *, video_url: str | None = None) -> str:
    """One report as an HTML document that works from disk, with its video embedded if one is given.

    ``report``: as ``VideoReport.to_json`` writes it. ``video``: the file the report is about;
    raises ``ValueError`` when it is another one, or larger than a page can hold. ``video_url``:
    a path on the serving host to play instead.
    """
    blocks = [_block("report", "application/json", as_json(report))]
    blocks.append(_block("hints", "application/json", as_json(hints())))
    blocks.append(_block("lanes", "application/json", as_json(lanes(report["analyzers"]))))
    if video is not None:
        check(report, video)
        data = video.read_bytes()
        kind = "video/webm" if data[:4] == b"\x1a\x45\xdf\xa3" else "video/mp4"
        blocks.append(_block("video", f"{kind};base64", base64.b64encode(data).decode("ascii")))
    elif video_url is not None:
        blocks.append(_block("video-url", "text/plain", as_json(video_url)))
    about = report["video"]
    return _document(
        "main",
        f"{about.get('title') or about['id']} · tiktok-ray",
        "".join(blocks),
        connect="'none'",
        media="blob:" if video_url is None else "'self' blob:",
    )


def index() -> str:
    """The page of the service: upload or link, live progress, results, search."""
    data = _block("hints", "application/json", as_json(hints()))
    data += _block("lanes", "application/json", as_json(lanes()))
    return _document("live", "tiktok-ray", data, connect="'self'", media="'self' blob:")


def check(report: dict[str, Any], video: Path) -> None:
    """Raise ``ValueError`` unless ``video`` is the file of the report and small enough to embed."""
    size = video.stat().st_size
    if size > VIDEO_MAX:
        raise ValueError(
            f"{video} is too large to embed in a page: {size / 2**20:.0f} MiB, the limit is"
            f" {VIDEO_MAX / 2**20:.0f}"
        )
    if sha256_of(video) != report["video"]["sha256"]:
        raise ValueError(f"{video} is not the video of this report: its SHA-256 differs")


def as_json(value: Any) -> str:
    """JSON that is safe inside a ``<script>`` element, whatever strings it contains."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return re.sub(r"[<>&\u2028\u2029\ud800-\udfff]", lambda m: f"\\u{ord(m[0]):04x}", text)


def _block(id: str, kind: str, text: str) -> str:
    return f'<script type="{kind}" id="{id}">{text}</script>\n'


def _document(entry: str, title: str, data: str, *, connect: str, media: str) -> str:
    style, script = _assets(entry)
    picture = "data: blob:" if connect == "'none'" else "'self' data: blob:"
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}';"
        f" img-src {picture}; media-src {media}; connect-src {connect};"
        " base-uri 'none'; form-action 'none'"
    )
    plain = title.encode("utf-8", "replace").decode("utf-8")
    return DOCUMENT.format(
        policy=policy, title=html.escape(plain), style=style, script=script, data=data
    )


@cache
def _assets(entry: str) -> tuple[str, str]:
    """Style and script of a page; the script ends with the module ``entry``."""
    vendor = HERE / "vendor" / "uplot"
    style = (vendor / "uPlot.min.css").read_text("utf-8") + (HERE / "style.css").read_text("utf-8")
    script = (vendor / "uPlot.iife.min.js").read_text("utf-8") + bundle(HERE / "js", entry)
    return style, script


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
