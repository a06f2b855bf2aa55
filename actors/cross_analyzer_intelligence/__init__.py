"""Findings that combine the other eighteen analyzers: computed, never guessed.

Every finding cites what it rests on, by analyzer and time. A finding whose analyzer gave nothing
is not made, and named as missing; one for which the video gives no occasion is named with the
reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from actors.age_estimation import Faces
from actors.audio_analysis import Sound
from actors.audio_environment import Soundscape
from actors.background_segmentation import Background
from actors.body_pose import Poses
from actors.camera_analysis import Camera
from actors.color_analysis import Colors
from actors.content_quality import Quality, TextVectors
from actors.cross_analyzer_intelligence.captions import CaptionAudit, CaptionOptions, caption_audit
from actors.cross_analyzer_intelligence.contradictions import Contradiction, contradictions
from actors.cross_analyzer_intelligence.contradictions import unmade as uncompared
from actors.cross_analyzer_intelligence.findings import (
    BeatMatch,
    TextMatch,
    Voice,
    beat_match,
    captioned_share,
    text_matches,
    voices,
)
from actors.cross_analyzer_intelligence.insights import Found, Insight, insights
from actors.cross_analyzer_intelligence.insights import unmade as unheld
from actors.cross_analyzer_intelligence.passages import PassageVectors, passage_vectors
from actors.cross_analyzer_intelligence.sources import Sources, counted
from actors.cross_analyzer_intelligence.speakers import SpeakerFace, speaker_faces
from actors.cross_analyzer_intelligence.subjects import Subject, subjects
from actors.cross_analyzer_intelligence.tags import Tag, tags
from actors.cut_analysis import Cuts
from actors.eye_tracking import Eyes
from actors.object_detection import Objects
from actors.qwen2_vl_temporal import Description
from actors.scene_segmentation import Scenes
from actors.speech_emotion import VoiceEmotion
from actors.speech_flow import Delivery
from actors.speech_transcription import Transcript
from actors.temporal_flow import Flow
from actors.text_overlay import Overlays
from tiktok_ray.analyzer import Analyzer, Needs, Partial, Skip, Variant
from tiktok_ray.media import Frames, Speech, Video, spans
from tiktok_ray.methods.text.sentences import E5_SMALL, SentenceEncoder
from tiktok_ray.report import Event, Missing, Model, Output, derived, estimated

NAME = "cross_analyzer_intelligence"
BEATS = "cuts on the beat"
VOICES = "speech on camera or voice-over"
TEXTS = "captions against speech"
SUBJECTS = "description against detected subjects"


class Unanswered(Model):
    """A question that does not apply to the video."""

    question: str = derived("The question")
    reason: str = derived("Why there is no answer")


class Findings(Output):
    """Findings across analyzers. Null: a required analyzer produced no output, see `missing`."""

    beat_match: BeatMatch | None = derived(
        "Cuts compared with the beats; null also where `unanswered`"
    )
    voices: list[Voice] | None = derived(
        "Speech segments, split at cuts, on camera or voice-over, in chronological order"
    )
    on_camera_s: float | None = derived("Speech on camera", unit="s", range="0..")
    voice_over_s: float | None = derived("Speech in voice-over", unit="s", range="0..")
    speaker_faces: list[SpeakerFace] | None = derived(
        "Which face belongs to which voice, voices in order of appearance; null also if "
        "speakers were not distinguished",
        default=None,
    )
    texts: list[TextMatch] | None = derived(
        "Captions compared with the speech, in chronological order"
    )
    captioned_share: float | None = derived(
        "Share of the spoken words that are on screen from 1 s before to 1 s after they are "
        "spoken; null also if no words are known",
        range="0..1",
    )
    caption_audit: CaptionAudit | None = derived(
        "Audit of the captions: agreement with the speech, and legibility; null also if there "
        "are none",
        default=None,
    )
    subjects: list[Subject] | None = derived(
        "Described subjects compared with detected ones, by start; null also where `unanswered`"
    )
    contradictions: list[Contradiction] = derived("Contradictions between two analyzers, by start")
    tags: list[Tag] = derived("Content tags")
    insights: list[Insight] = derived("Insights that combine several analyzers, best first")
    unanswered: list[Unanswered] = derived("Questions that do not apply to this video")
    passages: PassageVectors | None = estimated(
        "What is said, written and described, with vectors for the search by meaning; absent without"
        " the sentence encoder",
        default=None,
    )

    def headline(self) -> str:
        parts = [counted(len(self.insights), "insight"), counted(len(self.tags), "tag")]
        if self.contradictions:
            parts.append(counted(len(self.contradictions), "contradiction"))
        if self.beat_match is not None and self.beat_match.on_the_beat:
            parts.append("cuts on the beat")
        if self.on_camera_s:
            parts.append(f"{self.on_camera_s:.1f} s of speech on camera")
        if self.voice_over_s:
            parts.append(f"{self.voice_over_s:.1f} s of voice-over")
        return ", ".join(parts)

    def events(self) -> Iterator[Event]:
        for insight in self.insights:
            yield Event(
                start=insight.start,
                end=insight.end,
                kind="insight",
                label=insight.text,
                analyzer=NAME,
            )


class CrossAnalyzerIntelligence(Analyzer):
    """Cuts on the beat, speech on camera, texts against speech, contradictions, tags, insights."""

    name = NAME
    needs = Needs(threads=1, timeout_s=60, cost=0.1)
    options_type = CaptionOptions
    imports = ("cv2",)
    variants = (
        Variant(
            "multilingual-e5-small",
            weights={"sentences": E5_SMALL},
            ram_gib=0.9,
            imports=("tokenizers",),
        ),
        Variant("computed", lacks=("passages",)),
    )
    batch = 16
    _encoder: SentenceEncoder | None = None

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:
        if "sentences" in files:
            self._encoder = SentenceEncoder(files["sentences"])

    def analyze(
        self,
        video: Video,
        frames: Frames | None,
        speech: Speech | None,
        qwen2_vl_temporal: Description | None,
        object_detection: Objects | None,
        text_overlay: Overlays | None,
        speech_transcription: Transcript | None,
        body_pose: Poses | None,
        background_segmentation: Background | None,
        camera_analysis: Camera | None,
        scene_segmentation: Scenes | None,
        color_analysis: Colors | None,
        content_quality: Quality | None,
        cut_analysis: Cuts | None,
        age_estimation: Faces | None,
        eye_tracking: Eyes | None,
        audio_analysis: Sound | None,
        audio_environment: Soundscape | None,
        speech_emotion: VoiceEmotion | None,
        speech_flow: Delivery | None,
        temporal_flow: Flow | None,
    ) -> Findings | Partial:
        of = Sources(
            video=video,
            speech_track=speech,
            frames=frames,
            qwen2_vl_temporal=qwen2_vl_temporal,
            object_detection=object_detection,
            text_overlay=text_overlay,
            speech_transcription=speech_transcription,
            body_pose=body_pose,
            background_segmentation=background_segmentation,
            camera_analysis=camera_analysis,
            scene_segmentation=scene_segmentation,
            color_analysis=color_analysis,
            content_quality=content_quality,
            cut_analysis=cut_analysis,
            age_estimation=age_estimation,
            eye_tracking=eye_tracking,
            audio_analysis=audio_analysis,
            audio_environment=audio_environment,
            speech_emotion=speech_emotion,
            speech_flow=speech_flow,
            temporal_flow=temporal_flow,
        )
        if all(of.output(name) is None for name in OTHERS):
            raise Skip("no other analyzer produced output")
        made = findings(of, self.options)
        if self._encoder is not None:
            vectors = passage_vectors(of, self._encoder, self.batch)
            made = made.model_copy(update={"passages": vectors})
        gone = list(missing(of, made))
        return Partial(made, tuple(gone)) if gone else made

    def answer(self, asked: Sequence[str]) -> TextVectors:  # type: ignore[override]
        """Vectors of texts, to look for passages that mean what they say."""
        if self._encoder is None:
            raise Skip("there is no sentence encoder here")
        return TextVectors(vectors=self._encoder(asked, "query", self.batch).tolist())


OTHERS = (
    "qwen2_vl_temporal", "object_detection", "text_overlay", "speech_transcription", "body_pose",
    "background_segmentation", "camera_analysis", "scene_segmentation", "color_analysis",
    "content_quality", "cut_analysis", "age_estimation", "eye_tracking", "audio_analysis",
    "audio_environment", "speech_emotion", "speech_flow", "temporal_flow",
)  # fmt: skip


def findings(of: Sources, options: CaptionOptions | None = None) -> Findings:
    """Everything that can be found with the available outputs."""
    beats, compared = beat_match(of), subjects(of)
    match = beats if isinstance(beats, BeatMatch) else None
    things = compared if isinstance(compared, list) else None
    heard, texts, captioned = voices(of), text_matches(of), captioned_share(of)
    conflicts = contradictions(of)
    return Findings(
        beat_match=match,
        voices=heard,
        on_camera_s=_seconds(heard, "on camera"),
        voice_over_s=_seconds(heard, "voice-over"),
        texts=texts,
        captioned_share=captioned,
        speaker_faces=speaker_faces(of),
        caption_audit=caption_audit(of, options or CaptionOptions()),
        subjects=things,
        contradictions=conflicts,
        tags=tags(of, heard),
        insights=insights(of, Found(match, heard, texts, captioned, things, conflicts)),
        unanswered=[
            Unanswered(question=question, reason=reason)
            for question, reason in (
                (BEATS, beats if isinstance(beats, str) else None),
                (VOICES, "no speech" if heard == [] else None),
                (TEXTS, "there are no captions" if texts == [] else None),
                (SUBJECTS, compared if isinstance(compared, str) else None),
            )
            if reason
        ],
    )


def _seconds(heard: list[Voice] | None, kind: str) -> float | None:
    if heard is None:
        return None
    return spans.total(voice.span for voice in heard if voice.heard == kind)


def missing(of: Sources, made: Findings) -> Iterator[Missing]:
    """Findings that could not be made, and the analyzers they lack."""
    answered = {one.question for one in made.unanswered}
    takes: list[tuple[str, tuple[str, ...]]] = [(BEATS, ("cut_analysis", "audio_analysis"))]
    if of.spoken is None or made.voices is None:
        takes.append((VOICES, ("speech_transcription", "object_detection", "age_estimation")))
    elif made.voices:
        takes.append((f"mouths in {VOICES}", ("eye_tracking",)))
    takes.append((TEXTS, ("text_overlay", "speech_transcription")))
    takes.append((SUBJECTS, ("qwen2_vl_temporal", "object_detection")))
    for part, names in takes:
        if part not in answered:
            yield from of.lacking(part, names)
    if any(text.said == "unknown" for text in made.texts or ()):
        why = "speech_transcription has no words in the original language"
        lacks = ["speech_transcription"]
        yield Missing(part=f"words in {TEXTS}", reason=why, lacks=lacks, lacks_part="words")
    yield from uncompared(of)
    yield from unheld(of)
    for name in OTHERS:
        yield from of.lacking(f"tags from {name}", (name,))
