"""Running a batch through the service: its models are loaded, and a GPU holds only one set of them."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tiktok_ray.media import InputError
from tiktok_ray.report import said
from tiktok_ray.run.engine import CapacityError, Source
from tiktok_ray.serve import service_home
from tiktok_ray.settings import Settings

POLL_S = 0.5
#: Pauses while the queue of the service is full, or it does not answer.
PATIENCE_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)


def service_here(settings: Settings) -> str | None:
    """URL of the running service with the same home, or None."""
    if service_home.serving(settings) is None:
        return None
    url = service_home.service_note(settings).get("url")
    return None if url is None else str(url)


class Through:
    """Implements ``batch.Runner`` with a service's jobs. Files are uploaded; URLs are fetched here.

    The service keeps none of the videos, and the results only until they have been fetched.
    """

    def __init__(
        self,
        address: str,
        settings: Settings,
        only: list[str],
        without: list[str],
        client: httpx.AsyncClient | None = None,
    ) -> None:
        self.slots = settings.in_flight
        headers = {}
        if settings.token is not None:
            headers["Authorization"] = f"Bearer {settings.token.get_secret_value()}"
        limit = httpx.Timeout(settings.upload_timeout_s, connect=10)
        self._client = client or httpx.AsyncClient(
            base_url=address, headers=headers, timeout=limit, trust_env=False
        )
        self._form = {"only": ",".join(only), "without": ",".join(without)}
        self._form = {name: value for name, value in self._form.items() if value}
        self._form["keep"] = "false"

    async def analyze(self, source: Source) -> dict[str, Any]:
        """The report. A job that is no longer needed is cancelled at the service."""
        sending = asyncio.ensure_future(self._accepted(source))
        try:
            job = await asyncio.shield(sending)
            while job["state"] in ("queued", "running"):
                await asyncio.sleep(POLL_S)
                job = await self._ask("GET", f"/jobs/{job['id']}")
        except asyncio.CancelledError:
            # Also a job that is just being accepted.
            await self._client.delete(f"/jobs/{(await sending)['id']}")
            raise
        if job["state"] != "done":
            raise _failure(job.get("problem") or {"detail": f"the job was {job['state']}"})
        report = await self._ask("GET", f"/results/{job['result']}")
        with contextlib.suppress(httpx.HTTPError):  # else the service removes it by itself
            await self._client.delete(f"/results/{job['result']}")
        facts = {
            "source": source.source,
            "title": source.title,
            "uploader": source.uploader,
            "metadata": source.metadata,
        }
        if source.id is not None:
            facts["id"] = source.id
        report["video"] |= {name: value for name, value in facts.items() if value is not None}
        return report

    async def _accepted(self, source: Source) -> dict[str, Any]:
        """Send the file; while the queue is full, wait. The key makes a repeated sending harmless."""
        with source.path.open("rb") as file:
            return await self._ask(
                "POST",
                "/analyze",
                data=self._form,
                files={"file": (Path(source.path).name, file)},
                headers={"Idempotency-Key": f"batch-{uuid4().hex}"},
            )

    async def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        for pause in (*PATIENCE_S, None):
            trouble = "it does not respond"
            try:
                answer = await self._client.request(method, path, **more)
            except httpx.TransportError as error:
                trouble = said(error)
            else:
                if answer.status_code < 400:
                    found: dict[str, Any] = answer.json()
                    return found
                if answer.status_code not in (429, 503):
                    raise _failure(answer.json())
                trouble = str(answer.json().get("detail"))
            if pause is not None:
                await asyncio.sleep(pause)
        raise CapacityError(f"the service at {self._client.base_url} accepts no jobs: {trouble}")

    async def close(self) -> None:
        await self._client.aclose()


def _failure(problem: dict[str, Any]) -> Exception:
    """The error that problem details (RFC 9457) stand for."""
    word = str(problem.get("type", "")).rpartition(":")[2] or "internal"
    words = str(problem.get("detail") or problem.get("title") or "no reason given")
    if word in ("internal", "cancelled", "unauthorized"):
        return RuntimeError(words)
    return InputError(word, words, str(problem.get("advice") or ""))
