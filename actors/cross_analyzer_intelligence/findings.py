"""Findings that need two or three analyzers at once: beats, voices, texts, descriptions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from actors.cross_analyzer_intelligence.sources import (
    Finding,
    Sources,
    cite,
    collected,
    counted,
    quoted,
)
from actors.text_overlay import Overlay
from tiktok_ray.media import spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio.coincidence import DRAWS, LEAST_INSTANTS, LEAST_MARKS, coincidence
from tiktok_ray.methods.text.alignment import aligned, tokens
from tiktok_ray.report import Evidence, Timed, derived, setting

Heard = Literal["on camera", "voice-over", "unclear"]
Said = Literal["spoken", "partly spoken", "not spoken", "unknown"]

#: Shorter remains of speech beside a cut go with the longer part.
LEAST_PIECE_S = 0.3
#: Standard deviation of the mouth opening from which on a mouth moves, and readings it takes.
MOVING, READINGS = 0.03, 5
HALF = 0.5
#: How long before and after its speech a caption may stand, and shares of its words.
ASIDE_S, SPOKEN, PARTLY = 1.0, 0.6, 0.3


class BeatMatch(Finding):
    """Cuts compared with the beats of the sound."""

    cuts: int = derived("Cuts tested: from one frame to the next, between beats", range="4..")
    beats: int = derived("Beats found in the sound", range="8..")
    near: int = derived("Cuts within 0.07 s of a beat")
    mean_distance_s: float = derived(
        "Mean distance of the cuts from the nearest beat: the test statistic", unit="s"
    )
    expected_s: float = derived(
        "Expected value by chance: a quarter of the mean time between beats", unit="s"
    )
    p_value: float = derived(
        "p-value: how often chance puts the cuts at least as close",
        range="0.00005..1",
        method="randomisation test: every cut is rotated within the interval of its two beats by an amount of its own (interval jitter, Amarasingham et al. 2012); one-sided, mean distance to the nearest beat; (1 + draws as close) / (1 + draws)",
    )
    on_the_beat: bool = derived(
        "Whether p is below 0.01 and at least half of the cuts are within 0.07 s of a beat"
    )
    draws: int = setting("Number of random draws")


class Voice(Timed, Finding):
    """A speech segment within one shot, and whether the speaker is seen speaking."""

    heard: Heard = derived(
        "on camera: during at least half of it, a face with a moving mouth is measured; "
        "voice-over: during at least half of it there is no face, or every mouth measured "
        "stays still; unclear: a face is there but its mouth cannot be measured, or faces were "
        "not searched for and a person is in view",
        method="a mouth moves if its opening has a standard deviation of at least 0.03 mouth widths over at least 5 samples",
    )
    face_share: float | None = derived(
        "Share of it with a face in view; null if faces were not searched for", range="0..1"
    )
    mouth_movement: float | None = derived(
        "Standard deviation of the mouth opening during it, for the face whose mouth moves "
        "most; null if none could be measured",
        unit="mouth widths",
        range="0..",
    )
    why: str = derived("Evidence for the decision")


class TextMatch(Timed, Finding):
    """A caption compared with the speech around it."""

    text: str = derived("Text of the caption")
    said: Said = derived(
        "spoken: a caption of the speech; not spoken: a separate message; unknown: there is "
        "speech meanwhile, but its words are not known",
        method="share of its words that align, in order, with those spoken from 1 s before to 1 s after it (longest common subsequence, words with a similarity of at least 0.75 by Ratcliff and Obershelp's ratio): spoken from 0.6, partly spoken from 0.3; not spoken where there is no speech while it is certainly on screen (its edges are accurate to `edge_s`)",
    )
    matched_share: float | None = derived(
        "Share of its words that are spoken; null if the words are not known", range="0..1"
    )


# --- cuts and beats -----------------------------------------------------------------------------


def beat_match(of: Sources) -> BeatMatch | str | None:
    """Cuts against beats; why there is nothing to test; None where an analyzer is missing."""
    cuts, sound = of.cut_analysis, of.audio_analysis
    if cuts is None or sound is None:
        return None if of.wanted("audio_analysis") else "the video has no sound"
    if not sound.beats:
        return "audio_analysis found no beat"
    instants = [
        cut.new_shot
        for cut in cuts.transitions
        if cut.new_shot is not None and cut.kind in ("hard", "jump", "flash")
    ]
    found = coincidence(instants, sound.beats)
    if found is None:
        return (
            f"{counted(len(instants), 'cut')} and {counted(len(sound.beats), 'beat')}: the test"
            f" needs {LEAST_INSTANTS} cuts between {LEAST_MARKS} beats"
        )
    bpm = f", {sound.tempo.bpm:.0f} per minute" if sound.tempo else ""
    cited = [
        cite("cut_analysis", t, t, f"cut, {d:.3f} s from a beat")
        for t, d in zip(found.instants, found.distances, strict=True)
    ]
    cited.append(
        cite(
            "audio_analysis", sound.beats[0], sound.beats[-1],
            f"{counted(len(sound.beats), 'beat')}{bpm}",
        )
    )  # fmt: skip
    return BeatMatch(
        cuts=len(found.instants),
        beats=len(sound.beats),
        near=len(found.near),
        mean_distance_s=found.mean_s,
        expected_s=found.expected_s,
        p_value=found.p_value,
        on_the_beat=found.p_value < 0.01 and len(found.near) >= HALF * len(found.instants),
        draws=DRAWS,
        evidence=collected(cited),
    )


# --- voices -------------------------------------------------------------------------------------


def pieces(spoken: Iterable[Span], cuts: Sequence[float]) -> list[Span]:
    """Spans of speech, parted at cuts; remains shorter than ``LEAST_PIECE_S`` are not parted."""
    made: list[Span] = []
    for start, end in spoken:
        inside = [t for t in cuts if start + LEAST_PIECE_S <= t <= end - LEAST_PIECE_S]
        made += [Span(a, b) for a, b in pairwise([start, *inside, end])]
    return made


def voices(of: Sources) -> list[Voice] | None:
    """Whether each stretch of speech is on camera; None where an analyzer is missing."""
    if of.spoken is None:
        return None
    if of.spoken and of.faces is None and of.eye_tracking is None and of.persons is None:
        return None
    cuts = of.cut_analysis.times if of.cut_analysis else []
    return [_voice(piece, of) for piece in pieces(of.spoken, cuts)]


def _voice(piece: Span, of: Sources) -> Voice:
    cited = [cite("speech_transcription", *piece, "speech")]
    if of.cut_analysis:
        edges = [t for t in of.cut_analysis.times if t in piece]
        cited += [cite("cut_analysis", t, t, "cut") for t in edges]
        cited += [] if edges else [cite("cut_analysis", *piece, "one shot")]
    mouths = _mouths(piece, of)
    cited += [evidence for _, evidence in mouths]
    most = max((movement for movement, _ in mouths), default=None)
    faces = of.faces
    share = None if faces is None else spans.share(faces[1], [piece])
    if faces is not None:
        cited.append(cite(faces[0], *piece, f"face in view for {share:.0%}"))
    heard: Heard
    if most is not None and most >= MOVING:
        heard, why = "on camera", f"a mouth moves by {most:.3f}, at least {MOVING} needed"
    elif share is not None and share < HALF:
        heard, why = "voice-over", f"a face is in view for {share:.0%} of it"
    elif most is not None:
        heard, why = "voice-over", f"every measured mouth stays still: {most:.3f}, under {MOVING}"
    elif share is not None:
        heard, why = "unclear", "a face is in view, but its mouth could not be measured"
    elif of.persons is not None:
        seen = spans.share(of.persons, [piece])
        why = f"a person is in view for {seen:.0%} of it; no analyzer produced faces"
        cited.append(cite("object_detection", *piece, f"person in view for {seen:.0%}"))
        heard = "voice-over" if seen < HALF else "unclear"
    else:
        heard, why = "unclear", "no mouth could be measured; no analyzer produced faces or persons"
    return Voice(
        start=piece.start,
        end=piece.end,
        heard=heard,
        face_share=share,
        mouth_movement=most,
        why=why,
        evidence=collected(cited),
    )


def _mouths(piece: Span, of: Sources) -> list[tuple[float, Evidence]]:
    """Movement of every mouth that is read in at least half of a stretch of speech."""
    found = []
    for track in of.eye_tracking.tracks if of.eye_tracking else ():
        inside = [
            opening
            for t, opening in zip(track.times, track.mouth, strict=True)
            if piece.start <= t < piece.end
        ]
        share = spans.share([track.span], [piece])
        if len(inside) >= READINGS and share >= HALF:
            start, end = max(piece.start, track.start), min(piece.end, track.end)
            moves = float(np.std(inside))
            what = f"mouth opening varies by {moves:.3f} over {len(inside)} samples"
            found.append((moves, cite("eye_tracking", start, end, what)))
    return found


# --- texts --------------------------------------------------------------------------------------


def text_matches(of: Sources) -> list[TextMatch] | None:
    """Captions compared with the speech; None if an analyzer is missing."""
    if of.captions is None or (of.captions and of.spoken is None):
        return None
    spoken = of.spoken or []
    made = []
    for caption in of.captions:
        start, end = max(0.0, caption.start - ASIDE_S), min(of.end, caption.end + ASIDE_S)
        shown = cite("text_overlay", *caption.span, quoted(caption.text))
        said: Said
        share = None
        if not spans.intersect(spoken, [_surely(caption)]):
            said, share = "not spoken", 0.0
            other = cite("speech_transcription", *caption.span, "no speech")
        elif of.words is None:
            said = "unknown"
            during = spans.intersect(spoken, [caption.span])
            other = cite(
                "speech_transcription", during[0].start, during[-1].end,
                f"speech for {spans.total(during):.1f} s, words unknown",
            )  # fmt: skip
        else:
            words = [w for w in of.words if start <= (w.start + w.end) / 2 < end]
            heard = [token for word in words for token in tokens(word.text)]
            written = tokens(caption.text)
            share = len(aligned(written, heard)) / len(written) if written else 0.0
            said = (
                "spoken"
                if share >= SPOKEN
                else "partly spoken"
                if share >= PARTLY
                else "not spoken"
            )
            around = (words[0].start, words[-1].end) if words else caption.span
            what = quoted(" ".join(word.text for word in words)) if words else "no words"
            other = cite("speech_transcription", *around, what)
        made.append(
            TextMatch(
                start=caption.start,
                end=caption.end,
                text=caption.text,
                said=said,
                matched_share=share,
                evidence=collected([shown, other]),
            )
        )
    return made


def _surely(caption: Overlay) -> Span:
    """When a caption stands for certain: between the samples that show it."""
    start, end = caption.start + caption.edge_s, caption.end - caption.edge_s
    return Span(start, end) if start < end else Span(*caption.span)


def captioned_share(of: Sources) -> float | None:
    """Share of the spoken words that stand on the picture while they are spoken, 1 s either way."""
    if not of.words or of.captions is None:
        return None
    shown: set[tuple[int, int]] = set()
    heard = [(k, token) for k, word in enumerate(of.words) for token in tokens(word.text)]
    for caption in of.captions:
        near = [
            (n, token)
            for n, (k, token) in enumerate(heard)
            if caption.start - ASIDE_S
            <= (of.words[k].start + of.words[k].end) / 2
            < caption.end + ASIDE_S
        ]
        found = aligned(tokens(caption.text), [token for _, token in near])
        shown |= {(near[i][0], 0) for i in found}
    return len(shown) / len(heard) if heard else None
