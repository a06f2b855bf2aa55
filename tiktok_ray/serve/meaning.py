"""Search by meaning: shots whose pictures are like a text, and passages that mean what it says.

Each by one checkpoint that has made the vectors of a report and now makes that of the text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, Field

from tiktok_ray.report import ModelUsed, Status
from tiktok_ray.run.engine import CapacityError, Engine
from tiktok_ray.serve.search_index import Finder, Kind, Related, Shown, checkpoint_of


class Compared(BaseModel):
    """What was compared with a text; or why nothing was looked at."""

    status: Status
    reason: str | None = None
    model: ModelUsed | None = None
    not_looked_at: int = Field(0, description="Results without vectors of that checkpoint")


Found = TypeVar("Found", bound=Compared)


class Alike(Compared):
    """Shots whose pictures are like a text, the likest first."""

    shots: list[Shown] = []


class SameMeaning(Compared):
    """Passages whose meaning is like that of a text, the likest first."""

    passages: list[Related] = []


async def alike(text: str, engine: Engine, finder: Finder, limit: int = 20) -> Alike:
    """The shots most like a text. What is missing is told, with what gets it."""

    def look(vector: list[float], checkpoint: str) -> Alike:
        shots, without = finder.like(vector, checkpoint, limit)
        return Alike(status="ok", shots=shots, not_looked_at=without)

    return await _compared(Alike, text, engine, ("content_quality", "embeddings"), look)


async def same_meaning(
    text: str, engine: Engine, finder: Finder, kinds: tuple[Kind, ...] = (), limit: int = 20
) -> SameMeaning:
    """The passages that mean most what a text says, likewise."""

    def look(vector: list[float], checkpoint: str) -> SameMeaning:
        passages, without = finder.related(vector, checkpoint, kinds, limit)
        return SameMeaning(status="ok", passages=passages, not_looked_at=without)

    return await _compared(
        SameMeaning, text, engine, ("cross_analyzer_intelligence", "passages"), look
    )


async def _compared(
    kind: type[Found],
    text: str,
    engine: Engine,
    made_by: tuple[str, str],
    look: Callable[[list[float], str], Found],
) -> Found:
    """What is found with the vector of a text, by the analyzer that makes those of its part."""
    from actors.content_quality import TextVectors

    analyzer, part = made_by
    plan = engine.workers.plan
    placed = plan.assignments.get(analyzer)
    lacking = dict(placed.missing).get(part) if placed else plan.why_not(analyzer)
    if placed is None or lacking:
        reason = lacking or f"there is no {analyzer} here"
        return kind(status="unavailable", reason=reason)
    try:
        reply = await engine.ask(analyzer, [text])
    except CapacityError as error:
        return kind(status="failed", reason=str(error))
    if not isinstance(reply.output, TextVectors) or reply.model is None:
        return kind(status=reply.status, reason=reply.reason or "no reason given")
    [vector] = reply.output.vectors
    checkpoint = checkpoint_of(reply.model.model_dump())
    found = await asyncio.to_thread(look, vector, checkpoint)
    return found.model_copy(update={"model": reply.model})
