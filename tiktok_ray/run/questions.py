"""Questions of a definition of segments, put to the describer over the video's own frames."""

from __future__ import annotations

from pathlib import Path

from tiktok_ray.analyzer import Answers
from tiktok_ray.media import InputError
from tiktok_ray.reporting.segments import Draft, Segments
from tiktok_ray.run.engine import CapacityError, Engine

DESCRIBER = "qwen2_vl_temporal"


async def answered(draft: Draft, engine: Engine, video: Path) -> Segments:
    """The segments with what the describer of ``engine`` answers; why it does not where it cannot.

    Raises ``SchemaMismatch``.
    """
    if not draft.open:
        return draft.answered([], None)
    asked = [one.question for one in draft.open]
    try:
        reply = await engine.ask(DESCRIBER, asked, video, ("frames",))
    except (CapacityError, InputError) as error:
        return draft.unanswered("failed", str(error))
    if not isinstance(reply.output, Answers):
        return draft.unanswered(reply.status, reply.reason or "no reason given")
    return draft.answered(reply.output.answers, reply.model)
