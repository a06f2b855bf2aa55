"""Captions so much before or after the voice, and cuts on the beat or anywhere.

Which face speaks with which voice has no truth here: it takes two people who speak in one picture.
Tags, insights and contradictions are words about what others measure; theirs is the error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from actors.cross_analyzer_intelligence import Findings
from actors.speech_transcription import SpeechTranscription, TranscriptionOptions
from benchmarks.accuracy import Absent, Bench, Figure
from benchmarks.accuracy._figures import groups, mean_figure, share_figure
from benchmarks.accuracy._texts import edits
from tiktok_ray.media import spans

NAME = "cross_analyzer_intelligence"
#: Which fields the figures are errors of.
FIELDS = {
    ("error of a caption's offset, s", "all"): (
        "caption_audit.captions.offset_s", "caption_audit.median_offset_s",
    ),
    ("told to be spoken", "all"): ("texts.said", "texts.matched_share"),
    ("on the beat, told so", "on the beat"): ("beat_match.on_the_beat",),
    ("on the beat, told so", "anywhere"): ("beat_match.on_the_beat",),
}  # fmt: skip
TEXTS = frozenset({"text_overlay", "speech_transcription"})
BEATS = frozenset({"cut_analysis", "audio_analysis"})


def figures(bench: Bench) -> Iterator[Figure]:
    yield from _beats(bench)
    reason = "no clip at hand shows two people who speak in turn"
    yield Figure("face of a voice right", "speakers", "all", "real", 0, None, reason=reason)
    yield from _captions(bench)


def _beats(bench: Bench) -> Iterator[Figure]:
    told: list[tuple[str, bool]] = []
    for clip in bench.clips("together", ("cuts and beats",)):
        found: Findings = bench.output(NAME, clip.path, BEATS)
        match = found.beat_match
        told.append((clip.recipe.condition, match is not None and match.on_the_beat))
    for condition in dict.fromkeys(one for one, _ in told):
        some = [(said, 1) for known, said in told if known == condition]
        yield share_figure("on the beat, told so", "cuts", condition, some)


def _captions(bench: Bench) -> Iterator[Figure]:
    bench.load(SpeechTranscription(TranscriptionOptions(language="en")))
    analyzer: Any = bench.analyzer("speech_transcription")
    if analyzer.recogniser is None:
        raise Absent("no weights of Whisper that read without a card, so no offsets of captions")
    known: list[tuple[str, dict[str, Any]]] = []
    for clip in bench.clips("together", ("captions and speech",)):
        found: Findings = bench.output(NAME, clip.path, TEXTS)
        known.append((clip.recipe.condition, against(found, clip.truth["captions"])))
    for condition, some in groups(known).items():
        off = [error for one in some for error in one["off"]]
        yield mean_figure(
            "error of a caption's offset, s", "captions", condition, off, unit="captions"
        )
        yield share_figure(
            "captions with an offset", "captions", condition,
            [(len(one["off"]), one["captions"]) for one in some],
        )  # fmt: skip
        yield share_figure(
            "told to be spoken", "captions", condition,
            [(one["spoken"], one["captions"]) for one in some],
        )  # fmt: skip


def against(found: Findings, truth: list[dict[str, Any]]) -> dict[str, Any]:
    """One clip: errors of the offsets told, and captions told to be spoken."""
    checks = found.caption_audit.captions if found.caption_audit else []
    off: list[float] = []
    spoken = 0
    for caption in truth:
        extent = (caption["start"], caption["end"])
        near = [one for one in checks if spans.overlap([one.span], [extent]) > 0]
        check = min(near, key=lambda one: edits(one.text, caption["text"]), default=None)
        if check is not None and check.offset_s is not None:
            off.append(abs(check.offset_s - caption["offset"]))
        spoken += any(
            text.said == "spoken" and spans.overlap([text.span], [extent]) > 0
            for text in found.texts or ()
        )
    return {"off": off, "spoken": spoken, "captions": len(truth)}
