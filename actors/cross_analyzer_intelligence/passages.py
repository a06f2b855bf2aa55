"""Passages of what is said, written and described, with vectors of their meaning.

They are made here, once for each video, and not when a result is indexed: this analyzer has the texts
of all others, the report carries the vectors wherever it goes, and a search compares vectors only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from actors.cross_analyzer_intelligence.sources import Sources
from tiktok_ray.methods.text.sentences import SentenceEncoder
from tiktok_ray.methods.vectors import PACKING, Vectors, packed, unpacked
from tiktok_ray.report import Model, Timed, derived, estimated, setting

Kind = Literal["said", "written", "described"]


class Passage(Model):
    """A text in the video or about it."""

    kind: Kind = derived(
        "said: a sentence of the transcript; written: a text on screen; described: by the describer"
    )
    analyzer: str = derived("The analyzer whose text it is")
    start: float | None = derived("Start; null if it is about the whole video", unit="s")
    end: float | None = derived("End; null likewise", unit="s")
    text: str = derived("The text")


class PassageVectors(Model):
    """Passages, and one unit vector for each, in a space that texts of all languages share."""

    passages: list[Passage] = derived("What is said, written and described, in this order")
    width: int = setting("Dimension of the vectors")
    data: str = estimated(
        "The vectors: signed bytes, passage after passage, base64; ``array`` reads them",
        method=f"mean over the last layer of multilingual E5 (Wang et al. 2024), {PACKING}",
    )

    def array(self) -> Vectors:
        """The vectors, float32 [passages, width], of unit length; cosines within 0.01."""
        return unpacked(self.data, self.width)


def passage_vectors(of: Sources, encoder: SentenceEncoder, batch: int) -> PassageVectors:
    """Vectors of all passages of a video, each text once for each of its times."""
    found = list(dict.fromkeys(p for p in passages(of) if p.text.strip()))
    vectors = encoder([p.text for p in found], "passage", batch)
    return PassageVectors(
        passages=found,
        width=encoder.width,
        data=packed(vectors) if found else "",
    )


def _passage(kind: Kind, analyzer: str, text: str, when: Timed | None = None) -> Passage:
    start, end = when.span if when else (None, None)
    return Passage(kind=kind, analyzer=analyzer, start=start, end=end, text=text)


def passages(of: Sources) -> Iterator[Passage]:
    """What is said, written and described, in this order."""
    heard, read, told = of.speech_transcription, of.text_overlay, of.qwen2_vl_temporal
    for segment in (heard.segments or ()) if heard else ():
        yield _passage("said", "speech_transcription", segment.text, segment)
    for overlay in read.overlays if read else ():
        yield _passage("written", "text_overlay", overlay.text, overlay)
    if told:
        name = "qwen2_vl_temporal"
        for window in told.windows:
            parts = (window.setting, window.people, window.action, window.mood)
            text = ". ".join(part for part in parts if part)
            yield _passage("described", name, text, window)
        for part in (told.title, told.summary, told.narrative):
            yield _passage("described", name, part or "")
