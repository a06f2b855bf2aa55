"""What all other analyzers found, and how findings across them cite it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from actors.age_estimation import Faces
from actors.audio_analysis import Sound
from actors.audio_environment import Soundscape
from actors.background_segmentation import Background
from actors.body_pose import Poses
from actors.camera_analysis import Camera
from actors.color_analysis import Colors
from actors.content_quality import Quality
from actors.cross_analyzer_intelligence.agreement import confirmed
from actors.cut_analysis import Cuts
from actors.eye_tracking import Eyes
from actors.object_detection import Objects
from actors.qwen2_vl_temporal import Description
from actors.scene_segmentation import Scenes
from actors.speech_emotion import VoiceEmotion
from actors.speech_flow import Delivery
from actors.speech_transcription import Transcript, Word
from actors.temporal_flow import Flow
from actors.text_overlay import Overlay, Overlays
from tiktok_ray.media import Frames, Speech, Video, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.report import Evidence, Missing, Model, derived

#: Most entries cited of one analyzer.
CITED = 8

HEARING = ("audio_analysis", "audio_environment")
SPEAKING = ("speech_transcription", "speech_emotion", "speech_flow")
PEOPLE = ("age_estimation", "eye_tracking", "body_pose")


class Finding(Model):
    """Something found across analyzers, always with evidence."""

    evidence: list[Evidence] = derived(
        "Evidence, by analyzer and time; at most eight entries per analyzer",
        min_length=1,
    )


@dataclass(frozen=True)
class Sources:
    """The video and the outputs of all other analyzers; None for those without output."""

    video: Video
    speech_track: Speech | None = None
    frames: Frames | None = None
    qwen2_vl_temporal: Description | None = None
    object_detection: Objects | None = None
    text_overlay: Overlays | None = None
    speech_transcription: Transcript | None = None
    body_pose: Poses | None = None
    background_segmentation: Background | None = None
    camera_analysis: Camera | None = None
    scene_segmentation: Scenes | None = None
    color_analysis: Colors | None = None
    content_quality: Quality | None = None
    cut_analysis: Cuts | None = None
    age_estimation: Faces | None = None
    eye_tracking: Eyes | None = None
    audio_analysis: Sound | None = None
    audio_environment: Soundscape | None = None
    speech_emotion: VoiceEmotion | None = None
    speech_flow: Delivery | None = None
    temporal_flow: Flow | None = None

    @property
    def end(self) -> float:
        return self.video.duration_s

    @property
    def quiet(self) -> bool:
        """There is no speech, whether or not words were searched for."""
        heard = self.speech_track
        return not self.video.has_audio or (heard is not None and not heard.spans)

    @property
    def spoken(self) -> list[Span] | None:
        """Spans of speech; None if unknown."""
        if self.quiet:
            return []
        if self.speech_transcription is None:
            return None
        return spans.union(part.span for part in self.speech_transcription.speech)

    @property
    def words(self) -> list[Word] | None:
        """The spoken words; None if unknown."""
        if self.quiet:
            return []
        heard = self.speech_transcription
        if heard is None or heard.segments is None or heard.translated:
            return None
        return heard.words

    @property
    def captions(self) -> list[Overlay] | None:
        """Overlaid texts, excluding watermarks."""
        if self.text_overlay is None:
            return None
        return [overlay for overlay in self.text_overlay.overlays if overlay.kind == "caption"]

    @property
    def persons(self) -> list[Span] | None:
        """Where object detection finds a person."""
        if self.object_detection is None:
            return None
        tracks = self.object_detection.tracks
        return spans.union(s for track in tracks if track.label == "person" for s in track.seen)

    @property
    def bodies(self) -> Poses | None:
        """Bodies with poses, less those in whose place object detection sees nobody."""
        if self.body_pose is None or self.object_detection is None:
            return self.body_pose
        return confirmed(self.body_pose, self.object_detection)

    @property
    def faces(self) -> tuple[str, list[Span]] | None:
        """Where a face is, and which analyzer says so."""
        if self.age_estimation is not None:
            return "age_estimation", spans.union(face.span for face in self.age_estimation.faces)
        if self.eye_tracking is not None and self.eye_tracking.located_by != "age_estimation":
            return "eye_tracking", spans.union(track.span for track in self.eye_tracking.tracks)
        return None

    def output(self, name: str) -> Any:
        """The output of an analyzer by its name."""
        return getattr(self, name)

    def gave(self, name: str) -> bool:
        """Whether an analyzer says something; of silence, ``speech_transcription`` does."""
        if name == "speech_transcription" and self.quiet:
            return self.video.has_audio
        return self.output(name) is not None

    def wanted(self, name: str) -> bool:
        """Whether there is reason to expect something of an analyzer on this video.

        None of those that listen without sound, of those about speech where nobody speaks, of
        those about people where object detection sees nobody.
        """
        if name in HEARING:
            return self.video.has_audio
        if name in SPEAKING:
            return not self.quiet
        return name not in PEOPLE or self.persons is None or bool(self.persons)

    def lacking(self, part: str, names: Iterable[str]) -> Iterator[Missing]:
        """That a part could not be made, where analyzers it takes gave nothing though wanted."""
        gone = [name for name in names if not self.gave(name) and self.wanted(name)]
        if gone:
            yield Missing(part=part, reason=f"{' and '.join(gone)} produced no output", lacks=gone)


def cite(analyzer: str, start: float, end: float, what: str) -> Evidence:
    return Evidence(analyzer=analyzer, start=start, end=end, what=what)


def collected(evidence: Iterable[Evidence]) -> list[Evidence]:
    """Evidence by time, each once, at most ``CITED`` entries of one analyzer."""
    kept: list[Evidence] = []
    count: dict[str, int] = {}
    for each in sorted(set(_hashable(evidence)), key=lambda e: (e[1], e[2], e[0], e[3])):
        count[each[0]] = count.get(each[0], 0) + 1
        if count[each[0]] <= CITED:
            kept.append(cite(*each))
    return kept


def _hashable(evidence: Iterable[Evidence]) -> Iterable[tuple[str, float, float, str]]:
    return ((e.analyzer, e.start, e.end, e.what) for e in evidence)


def extent(evidence: Sequence[Evidence]) -> tuple[float, float]:
    """From the first moment cited to the last."""
    return min(e.start for e in evidence), max(e.end for e in evidence)


def quoted(text: str, most: int = 12) -> str:
    """A text in quotes, cut after ``most`` words."""
    words = text.split()
    return f"“{' '.join(words[:most])}{' …' * (len(words) > most)}”"


def counted(number: int, thing: str, several: str = "") -> str:
    return f"{number} {thing if number == 1 else several or thing + 's'}"
