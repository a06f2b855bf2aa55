"""Which face speaks with which voice: mouths that move while a voice is heard and else are still."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from actors.cross_sources import Finding, Sources, cite, collected
from actors.eye_tracking import EyeTrack
from actors.speech_transcription import SpeakerTurn
from tiktok_ray import spans
from tiktok_ray.report import Evidence, derived
from tiktok_ray.spans import Span

#: Standard deviation of a mouth's opening from which on it moves, over this many readings at least.
MOVING, READINGS = 0.03, 5
#: A face belongs to a voice if it is seen for this share of its turns, and if its mouth moves this
#: much more than every other one then.
SEEN, AHEAD = 0.5, 1.5


class SpeakerFace(Finding):
    """A voice, and the face it comes from, if that can be told."""

    speaker: str = derived("Name of the voice, as in `speech_transcription`")
    track: int | None = derived(
        "Face track, as in `eye_tracking`; null where it cannot be told, see `why`",
        method="over all turns of the voice: the mouth moves (its opening has a standard deviation"
        " of 0.03 mouth widths or more), the face is seen for half of them, and no other mouth seen"
        " then moves two thirds as much",
    )
    movement: float | None = derived(
        "Movement of that mouth during the turns; null without one",
        unit="mouth widths",
        range="0..",
    )
    elsewhere: float | None = derived(
        "Movement of the same mouth while others speak or nobody does; null where it is not seen"
        " then",
        unit="mouth widths",
        range="0..",
    )
    certainty: float | None = derived(
        "How sure: movement of the next best mouth (or of the same while the voice is silent,"
        " whichever is more) against that of this one, from 1; null without a face",
        range="0..1",
        method="1 - next / movement, not under 0",
    )
    why: str = derived("What decides it")


def speaker_faces(of: Sources) -> list[SpeakerFace] | None:
    """Each voice with its face; None where voices were not told apart, or mouths not read."""
    heard = of.speech_transcription
    if heard is None or heard.turns is None or of.eye_tracking is None:
        return None
    names = list(dict.fromkeys(turn.speaker for turn in heard.turns))
    return [_face(name, heard.turns, of.eye_tracking.tracks) for name in names]


def _face(speaker: str, turns: Sequence[SpeakerTurn], tracks: Sequence[EyeTrack]) -> SpeakerFace:
    own = [Span(*turn.span) for turn in turns if turn.speaker == speaker]
    cited = [cite("speech_transcription", *span, f"{speaker} speaks") for span in own]
    moves = {track.track: _movement(track, own) for track in tracks}
    moves = {number: moved for number, moved in moves.items() if moved is not None}
    seen = [t for t in tracks if spans.share([t.span], own) >= SEEN and t.track in moves]
    best = max(seen, key=lambda track: moves[track.track] or 0.0, default=None)
    if best is None:
        why = "no face whose mouth is read is seen for half of its turns"
        return _unknown(speaker, why, cited)
    most = moves[best.track] or 0.0
    cited.append(
        cite("eye_tracking", *best.span, f"mouth of face {best.track} moves by {most:.3f}")
    )
    rest = max((m or 0.0 for number, m in moves.items() if number != best.track), default=0.0)
    if most < MOVING:
        return _unknown(speaker, f"every mouth keeps still: {most:.3f}, under {MOVING}", cited)
    if most < AHEAD * rest:
        why = f"two mouths move about as much: {most:.3f} and {rest:.3f}"
        return _unknown(speaker, why, cited)
    silent = spans.subtract([best.span], own)
    elsewhere = _movement(best, silent)
    against = max(rest, elsewhere or 0.0)
    return SpeakerFace(
        speaker=speaker,
        track=best.track,
        movement=most,
        elsewhere=elsewhere,
        certainty=max(0.0, 1 - against / most),
        why=f"the mouth of face {best.track} moves by {most:.3f} in its turns, others by"
        f" {rest:.3f} at most",
        evidence=collected(cited),
    )


def _unknown(speaker: str, why: str, cited: Sequence[Evidence]) -> SpeakerFace:
    return SpeakerFace(
        speaker=speaker, track=None, movement=None, elsewhere=None, certainty=None, why=why,
        evidence=collected(cited),
    )  # fmt: skip


def _movement(track: EyeTrack, during: Sequence[Span]) -> float | None:
    """Standard deviation of the opening of a mouth over spans of time; None of few readings."""
    opening = [
        value for t, value in zip(track.times, track.mouth, strict=True) if spans.covers(during, t)
    ]
    return float(np.std(opening)) if len(opening) >= READINGS else None
