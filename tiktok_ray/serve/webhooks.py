"""Webhooks: signed notifications of ended jobs, sent to the URL given in the request."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time

import httpx

from tiktok_ray.net.egress_proxy import EgressProxy, trust
from tiktok_ray.report import said
from tiktok_ray.serve.jobs import Delivery
from tiktok_ray.settings import Settings

#: Seconds that a receiver has to answer.
TIMEOUT_S = 15.0


async def send(delivery: Delivery, settings: Settings) -> str | None:
    """Send a webhook about its job's end through the guarded proxy; returns the failure, or None."""
    job, secret = delivery.job, settings.webhook_secret
    assert job.request.webhook is not None
    assert secret is not None
    body = json.dumps({"type": f"job.{job.state}", "job": job.model_dump(mode="json")}).encode()
    headers = signed(job.id, body, secret.get_secret_value(), int(time.time()))
    limits = settings.model_copy(update={"allowed_hosts": None})
    try:
        with EgressProxy.of(limits, budget=2**20) as proxy:
            async with (
                asyncio.timeout(TIMEOUT_S),
                httpx.AsyncClient(proxy=proxy.url, trust_env=False, verify=trust()) as client,
                client.stream("POST", job.request.webhook, content=body, headers=headers) as r,
            ):
                return None if r.is_success else f"it answered {r.status_code}"
    except TimeoutError:
        return f"no answer within {TIMEOUT_S:g} s"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return said(error)


def signed(id: str, body: bytes, secret: str, at: int) -> dict[str, str]:
    """Headers of a webhook by the Standard Webhooks specification: HMAC-SHA256 of id, time, body.

    A secret that starts with ``whsec_`` is base64, as specified; any other is used as is.
    """
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    digest = hmac.new(key, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
