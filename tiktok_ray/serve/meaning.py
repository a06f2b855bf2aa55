"""Search by meaning: shots whose pictures are like a text, by one checkpoint that reads both."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel, Field

from tiktok_ray.report import ModelUsed, Status
from tiktok_ray.run.engine import CapacityError, Engine
from tiktok_ray.serve.search_index import Finder, Shown, checkpoint_of

ANALYZER, PART = "content_quality", "embeddings"


class Alike(BaseModel):
    """Shots whose pictures are like a text, the likest first; or why nothing was looked at."""

    status: Status
    reason: str | None = None
    model: ModelUsed | None = None
    shots: list[Shown] = []
    not_looked_at: int = Field(0, description="Results without vectors of that checkpoint")


async def alike(text: str, engine: Engine, finder: Finder, limit: int = 20) -> Alike:
    """The shots most like a text. What is missing is told, with what gets it."""
    from actors.content_quality import TextVectors

    plan = engine.workers.plan
    placed = plan.assignments.get(ANALYZER)
    lacking = dict(placed.missing).get(PART) if placed else plan.why_not(ANALYZER)
    if placed is None or lacking:
        reason = lacking or f"there is no {ANALYZER} here"
        return Alike(status="unavailable", reason=reason)
    try:
        reply = await engine.ask(ANALYZER, [text])
    except CapacityError as error:
        return Alike(status="failed", reason=str(error))
    if not isinstance(reply.output, TextVectors) or reply.model is None:
        return Alike(status=reply.status, reason=reply.reason or "no reason given")
    [vector] = reply.output.vectors
    checkpoint = checkpoint_of(reply.model.model_dump())
    shots, without = await asyncio.to_thread(finder.like, vector, checkpoint, limit)
    return Alike(status="ok", model=reply.model, shots=shots, not_looked_at=without)
