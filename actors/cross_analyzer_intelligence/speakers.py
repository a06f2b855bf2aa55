"""Assigns voices to faces: mouths that move while a voice is heard and are otherwise still."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from actors.age_estimation import Faces
from actors.cross_analyzer_intelligence.sources import Finding, Sources, cite, collected
from actors.eye_tracking import Eyes, EyeTrack
from actors.speech_transcription import SpeakerTurn
from tiktok_ray.media import spans
from tiktok_ray.media.spans import Span
from tiktok_ray.report import Evidence, derived

#: Standard deviation of a mouth's opening from which on it moves, over this many readings at least.
MOVING, READINGS = 0.03, 5
#: A face belongs to a voice if it is read for this share of its turns, and if its mouth moves this
#: much more than every other one then.
SEEN, AHEAD = 0.5, 1.5
#: Mouths open before the voice and shut after it: this far from its turns they count as silent.
ASIDE_S = 0.3


class SpeakerFace(Finding):
    """A voice, and the face it belongs to, if that can be determined."""

    speaker: str = derived("Name of the voice, as in `speech_transcription`")
    tracks: list[int] = derived(
        "Face tracks, as in `eye_tracking`, in which it is measured during the turns: several "
        "for one person across shots, where identities are known; none if it cannot be "
        "determined, see `why`",
        method="over all turns of the voice: the mouth moves (its opening has a standard deviation of at least 0.03 mouth widths around its mean in each track), it is measured during half of them, no other measured mouth then moves two thirds as much, and the same mouth moves less while the voice is silent",
    )
    seen: float | None = derived(
        "Share of the turns during which that face is measured; null without a face", range="0..1"
    )
    movement: float | None = derived(
        "Movement of that mouth during the turns; null without a face",
        unit="mouth widths",
        range="0..",
    )
    elsewhere: float | None = derived(
        "Movement of the same mouth during other or no speech, at least 0.3 s away from the "
        "turns; null if it is not measured then",
        unit="mouth widths",
        range="0..",
    )
    certainty: float | None = derived(
        "Confidence: 1 minus the movement of the next best mouth (or of the same one while the "
        "voice is silent, whichever is larger) relative to this one's, times the share that is "
        "seen; null without a face",
        range="0..1",
        method="seen (1 - next / movement), at least 0",
    )
    why: str = derived("Evidence for the decision")


class _Face(NamedTuple):
    """The tracks of one person, or a single one; ``step_s`` lies between two readings."""

    tracks: list[EyeTrack]
    step_s: float

    @property
    def read(self) -> list[Span]:
        """When its mouth is read: not from the beginning of its tracks to the end."""
        return spans.union((t, t + self.step_s) for each in self.tracks for t in each.times)

    def movement(self, during: Sequence[Span]) -> float | None:
        """Standard deviation of the opening, around its mean in each track; None of few readings."""
        parts = [_openings(track, during) for track in self.tracks]
        around = [value - np.mean(part) for part in parts for value in part]
        return float(np.std(around)) if len(around) >= READINGS else None

    def within(self, during: Sequence[Span]) -> list[int]:
        return [track.track for track in self.tracks if _openings(track, during)]


def speaker_faces(of: Sources) -> list[SpeakerFace] | None:
    """Each voice with its face; None where voices were not told apart, or mouths not read."""
    heard = of.speech_transcription
    if heard is None or heard.turns is None or of.eye_tracking is None:
        return None
    names = list(dict.fromkeys(turn.speaker for turn in heard.turns))
    faces = list(_faces(of.eye_tracking, of.age_estimation))
    return [_face(name, heard.turns, faces) for name in names]


def _faces(eyes: Eyes, known: Faces | None) -> Iterator[_Face]:
    """Tracks by person; each alone where the person is not known."""
    persons = {face.track: face.person for face in known.faces} if known else {}
    groups: dict[tuple[bool, int], list[EyeTrack]] = {}
    for track in eyes.tracks:
        person = persons.get(track.track)
        key = (False, track.track) if person is None else (True, person)
        groups.setdefault(key, []).append(track)
    for tracks in groups.values():
        yield _Face(tracks, 1 / eyes.sampling_hz)


def _face(speaker: str, turns: Sequence[SpeakerTurn], faces: Sequence[_Face]) -> SpeakerFace:
    own = [Span(*turn.span) for turn in turns if turn.speaker == speaker]
    cited = [cite("speech_transcription", *span, f"{speaker} speaks") for span in own]
    moves = [(face.movement(own) or 0.0, face) for face in faces if face.movement(own) is not None]
    seen = [(moved, face) for moved, face in moves if spans.share(face.read, own) >= SEEN]
    if not seen:
        why = "no face with a measurable mouth is seen during half of its turns"
        return _unknown(speaker, why, cited)
    most, best = max(seen, key=lambda each: each[0])
    tracks = best.within(own)
    named = f"mouth of face {', '.join(map(str, tracks))}"
    cited += [
        cite("eye_tracking", *span, f"{named} moves by {most:.3f}")
        for span in spans.intersect(best.read, own)
    ]
    rest = max((moved for moved, face in moves if face is not best), default=0.0)
    silent = spans.subtract(best.read, ((a - ASIDE_S, b + ASIDE_S) for a, b in own))
    elsewhere = best.movement(silent)
    if most < MOVING:
        return _unknown(speaker, f"every mouth stays still: {most:.3f}, under {MOVING}", cited)
    if most < AHEAD * rest:
        why = f"two mouths move about as much: {most:.3f} and {rest:.3f}"
        return _unknown(speaker, why, cited)
    if elsewhere is not None and most <= elsewhere:
        why = f"the {named} moves as much while this voice is silent: {elsewhere:.3f}, {most:.3f}"
        return _unknown(speaker, why, cited)
    share = spans.share(best.read, own)
    return SpeakerFace(
        speaker=speaker,
        tracks=tracks,
        seen=share,
        movement=most,
        elsewhere=elsewhere,
        certainty=share * (1 - max(rest, elsewhere or 0.0) / most),
        why=f"the {named} moves by {most:.3f} in {share:.0%} of its turns, others by {rest:.3f} at"
        " most",
        evidence=collected(cited),
    )


def _unknown(speaker: str, why: str, cited: Sequence[Evidence]) -> SpeakerFace:
    return SpeakerFace(
        speaker=speaker, tracks=[], seen=None, movement=None, elsewhere=None, certainty=None,
        why=why, evidence=collected(cited),
    )  # fmt: skip


def _openings(track: EyeTrack, during: Sequence[Span]) -> list[float]:
    """What was read of a mouth over spans of time."""
    read = zip(track.times, track.mouth, strict=True)
    return [value for t, value in read if spans.covers(during, t)]
