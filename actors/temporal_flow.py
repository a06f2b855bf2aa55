"""How the video runs: hook, pace, key moments, segments, emotion, calls to action, loop.

Nothing is measured here but the likeness of first and last picture: every finding is put together
from what other analyzers found, and cites it. A finding whose source is missing is not made, and
named as missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from actors.audio_analysis import Sound
from actors.camera_analysis import Camera
from actors.cut_analysis import Cuts
from actors.flow_moments import Moment, Segment, moments, segments
from actors.flow_pacing import Pacing, pacing
from actors.flow_sources import Element, Sources, cite, happenings
from actors.object_detection import Objects
from actors.qwen2_vl_temporal import Description
from actors.speech_emotion import VoiceEmotion
from actors.speech_transcription import Transcript
from actors.text_overlay import Overlays
from tiktok_ray.analyzer import Analyzer, Needs, Partial
from tiktok_ray.media import Frames, Speech, Video
from tiktok_ray.methods.appeals import appeals
from tiktok_ray.report import (
    Event,
    Evidence,
    Missing,
    Model,
    Output,
    Timed,
    derived,
    measured,
    setting,
)

NAME = "temporal_flow"
HOOK_S = 3.0
LOOP = 0.8
FLAT = 2.0


class Hook(Model):
    """What meets the viewer first."""

    end: float = derived("End of the hook, which begins with the video", unit="s", range="0..3")
    what: str = derived("What happens: the elements in order of time")
    elements: list[Element] = derived("The single things, in order of time")


class Feeling(Timed):
    """One emotion for as long as the voice, or the picture, keeps it."""

    what: str = derived(
        "The emotion of the voice as its model labels it, or the mood of the picture in the words of"
        " the model that describes it; the evidence says which"
    )
    evidence: list[Evidence] = derived("What it rests on")


class CallToAction(Timed):
    """Words that ask the viewer to do something."""

    action: str = derived("What is asked for, e.g. follow, comment, visit, buy")
    words: str = derived("The words that ask")
    evidence: list[Evidence] = derived("Where they are spoken or written")


class Loop(Model):
    """Whether the end leads back to the beginning."""

    similarity: float = measured(
        "Likeness of the luma of the first picture and the last",
        range="-1..1",
        method="zero-mean normalised cross-correlation",
    )
    loops: bool = derived("Whether that is at least `threshold`")
    threshold: float = setting("Likeness from which the end counts as leading back")
    last_s: float = measured("Time of the last picture; the first is at 0", unit="s")


class Flow(Output):
    """How the video runs."""

    hook: Hook = derived("What happens in the first 3 s, or in the whole of a shorter video")
    pacing: Pacing = derived("The pace over time, in windows of 3 s")
    moments: list[Moment] = derived(
        "Key moments: at least two of shot, camera, objects, text and what is heard change within"
        " 0.3 s of each other; camera and objects count within shots only, captions if they stay"
        " for a second, pauses of speech from a second on"
    )
    segments: list[Segment] = derived(
        "Stretches of the video between key moments that are cuts, in order, without gaps"
    )
    emotional_course: list[Feeling] | None = derived(
        "Emotion of the voice and mood of the picture over time; null without a source"
    )
    calls_to_action: list[CallToAction] | None = derived(
        "What viewers are asked to do, in German or English; null without words to look at"
    )
    loop: Loop | None = derived(
        "Whether the end leads back to the beginning; null if the first or last"
        " picture is blank, or there is but one"
    )

    def headline(self) -> str:
        moments = len(self.moments)
        mean = sum(self.pacing.pace) / len(self.pacing.pace)
        asks = {ask.action: None for ask in self.calls_to_action or ()}
        parts = [f"{moments} key moment{'s' * (moments != 1)}", f"pace {mean:.2f}", *asks]
        return ", ".join(parts + ["loops"] * bool(self.loop and self.loop.loops))

    def events(self) -> Iterator[Event]:
        yield _event(0.0, self.hook.end, f"hook: {self.hook.what}")
        for moment in self.moments:
            yield _event(moment.start, moment.end, moment.what)
        for ask in self.calls_to_action or ():
            yield _event(ask.start, ask.end, f"call to action: {ask.action}")


def _event(start: float, end: float, label: str) -> Event:
    return Event(start=start, end=end, kind="moment", label=label, analyzer=NAME)


def feelings(of: Sources) -> list[Feeling] | None:
    """Runs of one emotion of the voice and of one mood of the picture; None without any source."""
    named = [_voiced(of.voice), _shown(of.description)]
    if all(rows is None for rows in named):
        return None
    course = [feeling for rows in named for feeling in _runs(rows or [])]
    return sorted(course, key=lambda feeling: (feeling.start, feeling.end))


def _voiced(voice: VoiceEmotion | None) -> list[tuple[str, Evidence]] | None:
    """Emotion of each stretch of speech; None where none was looked for."""
    if voice is None or (voice.segments and all(s.emotion is None for s in voice.segments)):
        return None
    return [
        (e.word, cite("speech_emotion", s.start, s.end, f"{e.word} {e.probability:.2f}"))
        for s in voice.segments
        if (e := s.emotion) is not None
    ]


def _shown(description: Description | None) -> list[tuple[str, Evidence]] | None:
    """Mood of each window described; None where nothing was described."""
    if description is None:
        return None
    return [
        (w.mood, cite("qwen2_vl_temporal", w.start, w.end, f"mood: {w.mood}"))
        for w in description.windows
        if w.mood
    ]


def _runs(named: Sequence[tuple[str, Evidence]]) -> Iterator[Feeling]:
    for what, rows in groupby(named, key=lambda row: row[0]):
        cited = [evidence for _, evidence in rows]
        yield Feeling(start=cited[0].start, end=cited[-1].end, what=what, evidence=cited)


def calls_to_action(of: Sources) -> list[CallToAction] | None:
    """What viewers are asked to do; None where there are neither spoken nor written words."""
    if of.words is None and of.text is None:
        return None
    made = []
    words = of.words or []
    for ask in appeals([word.text for word in words]):
        said = words[ask.first : ask.last + 1]
        made.append(
            _call(
                "speech_transcription",
                ask.action,
                [w.text for w in said],
                said[0].start,
                said[-1].end,
            )
        )
    for overlay in of.text.overlays if of.text else ():
        shown = overlay.text.split()
        made += [
            _call("text_overlay", a.action, shown[a.first : a.last + 1], overlay.start, overlay.end)
            for a in appeals(shown)
        ]
    return sorted(made, key=lambda call: (call.start, call.end, call.action))


def _call(
    analyzer: str, action: str, words: Sequence[str], start: float, end: float
) -> CallToAction:
    text = " ".join(words).strip(" .,!?")
    cited = [cite(analyzer, start, end, f"“{text}”")]
    return CallToAction(start=start, end=end, action=action, words=text, evidence=cited)


def loop(thumbs: Frames) -> Loop | None:
    """Likeness of the first and the last picture; None for a single one, or a blank one."""
    if len(thumbs) < 2:
        return None
    one, two = (thumbs.gray(k).astype(float) for k in (0, len(thumbs) - 1))
    if min(one.std(), two.std()) < FLAT:
        return None
    similarity = float(((one - one.mean()) * (two - two.mean())).mean() / (one.std() * two.std()))
    return Loop(
        similarity=similarity,
        loops=similarity >= LOOP,
        threshold=LOOP,
        last_s=float(thumbs.times[-1]),
    )


def missing(of: Sources, made: Flow, has_audio: bool, pictures: int) -> list[Missing]:
    """Findings that could not be made, and why."""
    gone: list[tuple[str, str]] = []

    def lacks(source: str, *parts: str, why: str = "gave nothing") -> None:
        gone.extend((part, f"{source} {why}") for part in parts)

    if of.camera is None:
        lacks("camera_analysis", "camera in hook and segments", "motion in the pace")
    if of.objects is None:
        lacks("object_detection", "objects in hook, segments and moments")
    if of.text is None:
        lacks("text_overlay", "text in hook, segments and moments", "written calls to action")
    if of.sound is None and has_audio:
        lacks("audio_analysis", "sound in hook, segments and moments", "onsets in the pace")
    if of.transcript is None and not of.quiet:
        lacks("speech_transcription", "speech in hook, segments and moments")
    if of.words is None:
        why = "gave nothing" if of.transcript is None else "knows no words"
        lacks("speech_transcription", "words in the pace", "spoken calls to action", why=why)
    if _voiced(of.voice) is None and not of.quiet:
        why = "gave nothing" if of.voice is None else "heard the voice without its model"
        lacks("speech_emotion", "voice in the emotional course", why=why)
    if of.description is None:
        lacks(
            "qwen2_vl_temporal", "descriptions in hook and segments", "mood in the emotional course"
        )
    if made.loop is None:
        why = "the first or the last picture is blank" if pictures > 1 else "there is one picture"
        gone.append(("loop ending", why))
    return [Missing(part=part, reason=reason) for part, reason in gone]


class TemporalFlow(Analyzer):
    """Hook, pace, key moments, segments, emotional course, calls to action, loop."""

    name = NAME
    needs = Needs(threads=1, timeout_s=60, cost=0.1)

    def analyze(
        self,
        video: Video,
        thumbs: Frames,
        speech: Speech | None,
        cut_analysis: Cuts,
        camera_analysis: Camera | None,
        audio_analysis: Sound | None,
        speech_transcription: Transcript | None,
        text_overlay: Overlays | None,
        object_detection: Objects | None,
        speech_emotion: VoiceEmotion | None,
        qwen2_vl_temporal: Description | None,
    ) -> Flow | Partial:
        of = Sources(
            end=cut_analysis.shots[-1].end,
            cuts=cut_analysis,
            camera=camera_analysis,
            sound=audio_analysis,
            transcript=speech_transcription,
            text=text_overlay,
            objects=object_detection,
            voice=speech_emotion,
            description=qwen2_vl_temporal,
            quiet=not video.has_audio or (speech is not None and not speech.spans),
        )
        found = moments(of)
        first = min(HOOK_S, of.end)
        elements = happenings(0.0, first, of)
        what = "; ".join(element.what for element in elements)
        made = Flow(
            hook=Hook(end=first, what=what, elements=elements),
            pacing=pacing(of),
            moments=found,
            segments=segments(of, found),
            emotional_course=feelings(of),
            calls_to_action=calls_to_action(of),
            loop=loop(thumbs),
        )
        gone = missing(of, made, video.has_audio, len(thumbs))
        return Partial(made, tuple(gone)) if gone else made
