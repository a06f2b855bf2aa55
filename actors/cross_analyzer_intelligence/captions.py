"""On-screen captions compared with the speech: timing, words, and legibility."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from actors.cross_analyzer_intelligence.sources import Finding, Sources, cite, collected, quoted
from actors.speech_transcription import Word
from actors.text_overlay import Overlay
from tiktok_ray.analyzer import Options
from tiktok_ray.methods.text.alignment import paired, same, tokens
from tiktok_ray.methods.vision.contrast import contrast_ratio
from tiktok_ray.report import Model, Timed, derived, measured

#: How long before and after a caption its words are looked for in the speech.
ASIDE_S = 2.0
#: Share of a caption's words that are said for it to be a caption of the speech.
SPOKEN = 0.5
#: Pictures whose sides differ from 9:16 by more than this share have no buttons over them.
ASPECT = 0.02
#: Scripts that only one language of today uses, by their Unicode blocks.
SCRIPTS = (
    ("ja", 0x3040, 0x30FF), ("ko", 0xAC00, 0xD7AF), ("el", 0x0370, 0x03FF),
    ("he", 0x0590, 0x05FF), ("hy", 0x0530, 0x058F), ("ka", 0x10A0, 0x10FF),
    ("th", 0x0E00, 0x0E7F),
)  # fmt: skip

Area = Literal["top", "bottom", "left", "right"]


class CaptionOptions(Options):
    """Settings of ``cross_analyzer_intelligence``: what the app lays over a picture of 9:16."""

    unsafe_top: float = Field(
        0.07, ge=0, le=0.5, description="Share of the height covered by the tabs"
    )
    unsafe_bottom: float = Field(
        0.19,
        ge=0,
        le=0.5,
        description="Share of the height covered by account, description and sound",
    )
    unsafe_left: float = Field(
        0.055, ge=0, le=0.5, description="Share of the width covered by the edge"
    )
    unsafe_right: float = Field(
        0.11, ge=0, le=0.5, description="Share of the width covered by the buttons"
    )


class Misheard(Timed):
    """A word recognised differently from how it is written: the caption is trusted."""

    heard: str = derived("The word in the transcript")
    written: str = derived("The word in the caption")
    probability: float = derived("Probability of the recognised word", range="0..1")


class CaptionCheck(Timed, Finding):
    """A caption compared with the speech."""

    text: str = derived("Text of the caption")
    offset_s: float | None = derived(
        "Start of the caption minus the start of its first word in the speech: negative if the "
        "caption comes first; null if it is not a caption of the speech, or words are not "
        "known",
        unit="s",
        method="a caption of the speech: at least half of its words occur, in order, among those spoken from 2 s before to 2 s after it (Needleman and Wunsch 1970, words with a similarity of at least 0.75 by Ratcliff and Obershelp's ratio)",
    )
    missing: list[str] | None = derived(
        "Words spoken between its first and last one that it lacks; null as above"
    )
    extra: list[str] | None = derived("Words in the caption that are not spoken; null as above")
    misheard: list[Misheard] | None = derived(
        "Words recognised differently from how they are written, one for one, with a "
        "similarity of at least 0.4; null as above"
    )
    characters_per_s: float = derived(
        "Reading speed: characters without spaces per second shown", unit="1/s", range="0.."
    )
    contrast: float | None = measured(
        "Contrast ratio of the text; WCAG requires 4.5, or 3 for large text; null if no frame "
        "shows it",
        range="1..21",
        method="WCAG 2.2; the two tones of its box separated by Otsu's threshold, medians, on the frame at its midpoint",
    )
    unsafe: list[Area] | None = derived(
        "Areas covered by the app (settings) that the caption overlaps; null if the frame is "
        "not 9:16"
    )
    language: str | None = derived(
        "ISO 639-1 code: that of the speech it is a caption of, or the only language that uses "
        "its script; null if neither is known"
    )


class CaptionAudit(Model):
    """All captions compared with the speech."""

    captions: list[CaptionCheck] = derived("Each caption, in chronological order")
    median_offset_s: float | None = derived(
        "Median of their offsets; null if none is a caption of the speech", unit="s"
    )
    least_contrast: float | None = derived("Lowest contrast ratio; null if there is none")
    fastest_per_s: float | None = derived(
        "Highest reading speed; null without captions", unit="1/s"
    )


class _Said(NamedTuple):
    """A word spoken, as it is compared."""

    token: str
    word: Word


def caption_audit(of: Sources, options: CaptionOptions) -> CaptionAudit | None:
    """All captions; None where nobody read the picture, or there is none to check."""
    if not of.captions:
        return None
    checks = [_check(caption, of, options) for caption in of.captions]
    offsets = [check.offset_s for check in checks if check.offset_s is not None]
    return CaptionAudit(
        captions=checks,
        median_offset_s=float(np.median(offsets)) if offsets else None,
        least_contrast=min((c.contrast for c in checks if c.contrast is not None), default=None),
        fastest_per_s=max(check.characters_per_s for check in checks),
    )


def _check(caption: Overlay, of: Sources, options: CaptionOptions) -> CaptionCheck:
    cited = [cite("text_overlay", *caption.span, quoted(caption.text))]
    near = [
        _Said(token, word)
        for word in of.words or ()
        if caption.start - ASIDE_S <= (word.start + word.end) / 2 < caption.end + ASIDE_S
        for token in tokens(word.text)
    ]
    written = tokens(caption.text)
    pairs = paired(written, [one.token for one in near])
    agree = [
        k
        for k, (i, j) in enumerate(pairs)
        if i is not None and j is not None and same(written[i], near[j].token)
    ]
    spoken = bool(agree) and len(agree) >= SPOKEN * len(written)
    offset = missing = extra = misheard = None
    language = _script(caption.text)
    if spoken:
        first, last = agree[0], agree[-1]
        heard = [near[j].word for _, j in pairs if j is not None]
        cited.append(
            cite(
                "speech_transcription", heard[0].start, heard[-1].end,
                quoted(" ".join(dict.fromkeys(word.text for word in heard))),
            )
        )  # fmt: skip
        offset = caption.start - heard[0].start
        misheard = [
            _misheard(written[i], near[j])
            for k, (i, j) in enumerate(pairs)
            if i is not None and j is not None and k not in agree
        ]
        missing = [near[j].token for i, j in pairs[first:last] if i is None and j is not None]
        extra = [written[i] for i, j in pairs if j is None and i is not None]
        language = language or _spoken_in(of, heard[0].start)
    return CaptionCheck(
        start=caption.start,
        end=caption.end,
        text=caption.text,
        offset_s=offset,
        missing=missing,
        extra=extra,
        misheard=misheard,
        characters_per_s=len("".join(caption.text.split())) / max(caption.end - caption.start, 0.1),
        contrast=_contrast(caption, of),
        unsafe=_unsafe(caption.box, of, options),
        language=language,
        evidence=collected(cited),
    )


def _misheard(written: str, heard: _Said) -> Misheard:
    word = heard.word
    return Misheard(
        start=word.start, end=word.end, heard=heard.token, written=written,
        probability=word.probability,
    )  # fmt: skip


def _script(text: str) -> str | None:
    """The language that alone uses the script of a text."""
    letters = [ord(character) for character in text if character.isalpha()]
    for code, low, high in SCRIPTS:
        if letters and sum(low <= letter <= high for letter in letters) * 2 > len(letters):
            return code
    return None


def _spoken_in(of: Sources, t: float) -> str | None:
    heard = of.speech_transcription
    if heard is None:
        return None
    for part in heard.segments or ():
        if part.start <= t <= part.end and part.language:
            return part.language
    return heard.language


def _contrast(caption: Overlay, of: Sources) -> float | None:
    frames = of.frames
    if frames is None or not len(frames.times):
        return None
    k = int(np.argmin(np.abs(frames.times - (caption.start + caption.end) / 2)))
    if not caption.start <= float(frames.times[k]) <= caption.end:
        return None
    picture = frames.rgb(k)
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = caption.box
    rows = slice(int(y0 * height), max(int(y0 * height) + 1, round(y1 * height)))
    columns = slice(int(x0 * width), max(int(x0 * width) + 1, round(x1 * width)))
    return contrast_ratio(picture[rows, columns])


def _unsafe(box: Sequence[float], of: Sources, options: CaptionOptions) -> list[Area] | None:
    video = of.video
    if abs(video.width * 16 / (video.height * 9) - 1) > ASPECT:
        return None
    x0, y0, x1, y1 = box
    reached: list[tuple[Area, bool]] = [
        ("top", y0 < options.unsafe_top),
        ("bottom", y1 > 1 - options.unsafe_bottom),
        ("left", x0 < options.unsafe_left),
        ("right", x1 > 1 - options.unsafe_right),
    ]
    return [area for area, there in reached if there]
