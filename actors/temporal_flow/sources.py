"""What other analyzers found, and which of it happens in a part of the video.

Everything said here cites what it rests on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from actors.audio_analysis import Sound
from actors.camera_analysis import Camera
from actors.cut_analysis import Cuts
from actors.object_detection import Objects
from actors.qwen2_vl_temporal import Description
from actors.speech_emotion import VoiceEmotion
from actors.speech_transcription import Transcript, Word
from actors.text_overlay import Overlay, Overlays
from tiktok_ray.media import spans
from tiktok_ray.report import Evidence, Model, derived

Kind = Literal["cuts", "camera", "seen", "objects", "text", "speech", "sound", "motion"]

LEAST_S = 0.3
LATE_S = 0.2
CITED = 8
WORDS = 12
#: From this confidence on a text is quoted without it.
CERTAIN = 0.95
#: From this confidence on a model's finding is told as such, and not as possible, here and in the summary.
LIKELY = 0.6


class Element(Model):
    """One thing that happens in a part of the video."""

    kind: Kind = derived("Kind of element")
    what: str = derived("What happens, from the evidence")
    evidence: list[Evidence] = derived("Evidence for it; at most eight entries")


@dataclass(frozen=True)
class Sources:
    """What other analyzers found. ``quiet``: nobody speaks, whether or not words were looked for."""

    end: float
    cuts: Cuts
    camera: Camera | None = None
    sound: Sound | None = None
    transcript: Transcript | None = None
    text: Overlays | None = None
    objects: Objects | None = None
    voice: VoiceEmotion | None = None
    description: Description | None = None
    quiet: bool = False

    @property
    def words(self) -> list[Word] | None:
        """Spoken words; None where nobody knows them."""
        if self.transcript is None or self.transcript.segments is None:
            return [] if self.quiet else None
        return self.transcript.words

    @property
    def overlays(self) -> list[Overlay] | None:
        """Texts that are not watermarks."""
        if self.text is None:
            return None
        return [overlay for overlay in self.text.overlays if overlay.kind != "watermark"]


def cite(analyzer: str, start: float, end: float, what: str) -> Evidence:
    return Evidence(analyzer=analyzer, start=start, end=end, what=what)


def quoted(text: str) -> str:
    """A text in quotes, cut after ``WORDS`` words."""
    words = text.split()
    return f"“{' '.join(words[:WORDS])}{' …' * (len(words) > WORDS)}”"


def doubted(confidence: float) -> str:
    """The confidence of a reading or of recognised words, where that is not nearly certain."""
    return f" ({confidence:.2f})" if confidence < CERTAIN else ""


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def happenings(start: float, end: float, of: Sources) -> list[Element]:
    """What happens between two times, in order of time, as far as there are sources."""
    ways = (_cuts, _camera, _seen, _objects, _text, _speech, _sound)
    found = [element for way in ways if (element := way(start, end, of))]
    return sorted(found, key=lambda element: element.evidence[0].start)


def _since(evidence: Sequence[Evidence], start: float) -> str:
    """From when on, where that is not from the beginning."""
    first = min(each.start for each in evidence)
    return f" from {first:.1f} s" if first > start + LATE_S else ""


def _element(kind: Kind, what: str, evidence: Sequence[Evidence]) -> Element:
    ordered = sorted(evidence, key=lambda e: (e.start, e.end))
    return Element(kind=kind, what=what, evidence=ordered[:CITED])


def _cuts(start: float, end: float, of: Sources) -> Element:
    times = [t for t in of.cuts.times if start < t < end]
    if not times:
        return _element("cuts", "one shot", [cite("cut_analysis", start, end, "no cut")])
    cited = [cite("cut_analysis", t, t, "cut") for t in times]
    what = f"cut at {times[0]:.1f} s" if len(times) == 1 else counted(len(times), "cut")
    return _element("cuts", what, cited)


def _camera(start: float, end: float, of: Sources) -> Element | None:
    if of.camera is None:
        return None
    moves = [
        (move.kind, max(start, move.start), min(end, move.end))
        for move in of.camera.moves
        if min(end, move.end) - max(start, move.start) >= LEAST_S
    ]
    if moves:
        kinds = list(dict.fromkeys(kind for kind, *_ in moves))
        cited = [cite("camera_analysis", a, b, kind) for kind, a, b in moves]
        return _element("camera", f"camera: {', '.join(kinds)}", cited)
    still = [
        cite("camera_analysis", max(start, shot.start), min(end, shot.end), "static")
        for shot in of.camera.shots
        if shot.movements == ["static"] and min(end, shot.end) > max(start, shot.start)
    ]
    return _element("camera", "static camera", still) if still else None


def _seen(start: float, end: float, of: Sources) -> Element | None:
    if of.description is None:
        return None
    cited = [
        cite("qwen2_vl_temporal", max(start, w.start), min(end, w.end), w.label())
        for w in of.description.windows
        if w.label() and min(end, w.end) - max(start, w.start) >= LEAST_S
    ]
    if not cited:
        return None
    said = list(dict.fromkeys(each.what for each in cited))
    more = f" and {len(said) - 2} more" if len(said) > 2 else ""
    return _element("seen", f"shown: {'; '.join(map(quoted, said[:2]))}{more}", cited)


def _objects(start: float, end: float, of: Sources) -> Element | None:
    if of.objects is None:
        return None
    seconds: dict[str, float] = {}
    sure: dict[str, float] = {}
    cited: list[Evidence] = []
    for track in of.objects.tracks:
        for a, b in spans.intersect(track.seen, [(start, end)]):
            what = f"{track.label} ({track.confidence:.2f})"
            cited.append(cite("object_detection", a, b, what))
            seconds[track.label] = seconds.get(track.label, 0.0) + b - a
            sure[track.label] = max(sure.get(track.label, 0.0), track.confidence)
    if not cited:
        return None
    labels = sorted(seconds, key=lambda label: -seconds[label])[:4]
    shown = [each for each in cited if each.what.rpartition(" (")[0] in labels]
    likely, perhaps = (
        ", ".join(f"{n} ({sure[n]:.2f})" for n in labels if (sure[n] >= LIKELY) is certain)
        for certain in (True, False)
    )
    parts = (f"in view: {likely}" if likely else "", f"possibly: {perhaps}" if perhaps else "")
    what = ", ".join(part for part in parts if part)
    return _element("objects", f"{what}{_since(shown, start)}", shown)


def _text(start: float, end: float, of: Sources) -> Element | None:
    shown = [o for o in of.overlays or () if min(end, o.end) > max(start, o.start)]
    if not shown:
        return None
    cited = [
        cite(
            "text_overlay",
            max(start, o.start),
            min(end, o.end),
            quoted(o.text) + doubted(o.confidence),
        )
        for o in shown
    ]
    texts = list(dict.fromkeys(each.what for each in cited))
    more = f" and {len(texts) - 2} more" if len(texts) > 2 else ""
    return _element("text", f"text {', '.join(texts[:2])}{more}{_since(cited, start)}", cited)


def _speech(start: float, end: float, of: Sources) -> Element | None:
    name = "speech_transcription"
    if of.transcript is None:
        return None
    words = [w for w in of.words or () if start <= w.start < end]
    if words:
        sure = sum(word.probability for word in words) / len(words)
        said = quoted(" ".join(word.text for word in words)) + doubted(sure)
        cited = [cite(name, words[0].start, min(end, words[-1].end), said)]
        return _element("speech", f"speech {said}{_since(cited, start)}", cited)
    spoken = spans.intersect([s.span for s in of.transcript.speech], [(start, end)])
    if spoken:
        cited = [cite(name, a, b, "speech") for a, b in spoken]
        what = f"speech for {spans.total(spoken):.1f} s{_since(cited, start)}"
        return _element("speech", what, cited)
    return _element("speech", "no speech", [cite(name, start, end, "no speech")])


def _sound(start: float, end: float, of: Sources) -> Element | None:
    name = "audio_analysis"
    if of.sound is None:
        return None
    silent = spans.intersect([s.span for s in of.sound.silences], [(start, end)])
    cited = [cite(name, a, b, "silence") for a, b in silent]
    if spans.total(silent) >= 0.9 * (end - start):
        return _element("sound", "silence", cited)
    if silent and silent[0].start <= start + 1e-6:
        return _element("sound", f"silent until {silent[0].end:.1f} s", cited)
    if silent:
        return _element("sound", f"silent for {spans.total(silent):.1f} s", cited)
    return _element("sound", "sound throughout", [cite(name, start, end, "no silence")])
