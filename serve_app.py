"""The HTTP ingress of tiktok_ray on Ray Serve: ``serve run serve_app:app``.

One replica serves requests, and works on the jobs with the fleet's detached actors: when it dies,
the next one finds their models warm. It has a socket of its own, past Serve's proxy, which would
hold whole uploads in memory: ``tiktok-ray serve`` has no other, and ``serve run`` has it beside
Serve's (port 8000, or as Serve's configuration says) where ``TIKTOK_RAY_PORT`` is set.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve

from tiktok_ray.compose import make_service
from tiktok_ray.net.telemetry_block import block_telemetry, tighten_token
from tiktok_ray.settings import Settings

NAME = "tiktok_ray"


def application(
    settings: Settings,
    make: Callable[[Settings], Any] = make_service,
    *,
    listens: bool = True,
) -> Any:
    """The Serve application with these settings, which the replica is given as they are.

    ``listens``: it answers on the settings' host and port itself.
    """

    def build() -> FastAPI:
        from tiktok_ray.serve.api import create_app
        from tiktok_ray.serve.listener import listening

        @asynccontextmanager
        async def beside(app: FastAPI) -> AsyncIterator[None]:
            async with listening(app, settings) as app.state.listener:
                yield

        return create_app(lambda: make(settings), beside if listens else nullcontext)

    @serve.deployment(
        name="ingress",
        num_replicas=1,
        ray_actor_options={"num_cpus": 0},
        # Streams and waiting requests never take the place of others.
        max_ongoing_requests=settings.streams + 256,
        max_queued_requests=256,
        graceful_shutdown_timeout_s=10,
    )
    @serve.ingress(build)
    class Ingress:
        """The application, as a replica of Serve."""

        app: FastAPI

        def check_health(self) -> None:
            """Serve replaces the replica when its worker has ended."""
            service = getattr(self.app.state, "service", None)
            if service is not None and not service.alive():
                raise RuntimeError("the worker has ended")
            listener = getattr(self.app.state, "listener", None)
            if listener is not None and listener.done():
                raise RuntimeError("the listener has stopped")

    return Ingress.bind()  # type: ignore[attr-defined]


if not ray.is_initialized():
    # Ray's own processes inherit this: one of them would ask where it runs.
    tighten_token()
    block_telemetry(ray.util.get_node_ip_address())
_settings = Settings()
app = application(_settings, listens="port" in _settings.model_fields_set)
