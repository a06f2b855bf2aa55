"""Photo posts: the pictures are fetched and made a video, with the post's sound."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx

from tiktok_ray.net.downloads import WRITTEN, blamed, client, refuse_status
from tiktok_ray.net.egress_proxy import EgressProxy, Refused
from tiktok_ray.net.intake import IntakeError, is_animated, kind_of
from tiktok_ray.settings import Settings

PICTURES = 100
PICTURE_BYTES = 64 * 1024**2


async def slideshow(
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
    async with client(proxy, settings) as http:
        for number, urls in enumerate(pictures, 1):
            path = folder / f"picture-{number:03d}"
            await _picture(http, urls, path, f"image {number} of {len(pictures)}", proxy)
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
    http: httpx.AsyncClient, urls: list[str], path: Path, what: str, proxy: EgressProxy
) -> None:
    failure: Exception | None = None
    for url in urls:
        try:
            head = b""
            async with http.stream("GET", url) as answer:
                refuse_status(answer)
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
        if kind_of(head) == "picture" or is_animated(head):
            return
        failure = IntakeError("not_video", "no image was returned")
    blame = proxy.blame()
    if isinstance(blame, Refused):
        raise blamed(blame) from failure
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
