"""The course of the video: hook, pace, key moments, segments, emotion, calls to action, loop.

Nothing is measured here but the likeness of the end and the beginning, and, where nothing else
changes, when the picture moves most: every other finding is put together from what other analyzers
found, and cites it. A finding whose source is missing is not made, and
named as missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.audio_analysis import Sound
from actors.camera_analysis import Camera
from actors.cut_analysis import Cuts
from actors.object_detection import Objects
from actors.qwen2_vl_temporal import Description
from actors.speech_emotion import VoiceEmotion
from actors.speech_transcription import Transcript
from actors.temporal_flow.moments import Change, Moment, Segment, moments, segments
from actors.temporal_flow.pacing import Pacing, pacing
from actors.temporal_flow.sources import Element, Sources, cite, happenings
from actors.text_overlay import Overlays
from tiktok_ray.analyzer import Analyzer, Needs, Partial
from tiktok_ray.media import Audio, Frames, Speech, Video
from tiktok_ray.methods.text.calls_to_action import appeals
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

Array = NDArray[Any]

NAME = "temporal_flow"
HOOK_S = 3.0
FLAT = 2.0
#: The end leads back: likeness of the pictures, their largest difference, how far the video has
#: been away in between, and likeness of the sounds over so many seconds.
LOOP, LOOP_DIFFERENCE, AWAY, LOOP_SOUND, LOOP_S = 0.95, 0.05, 0.8, 0.8, 0.25
#: Sounds more than this apart in dB are not alike; under this level in dBFS there is none.
LOOP_DB, HUSH_DB = 6.0, -60.0
#: Motion in the picture: over how long, least mean difference in luma, and rise over the median.
MOTION_S, LEAST_MOTION, MOTION_RISE = 0.5, 2.0, 1.25


class Hook(Model):
    """The opening of the video."""

    end: float = derived("End of the hook, which starts with the video", unit="s", range="0..3")
    what: str = derived("Summary of its elements in chronological order")
    elements: list[Element] = derived("Individual elements, in chronological order")


class Feeling(Timed):
    """One emotion, for as long as the voice or the frames keep it."""

    what: str = derived(
        "The emotion of the voice by its model's label, or the mood of the frames in the "
        "describer's words; the evidence tells which"
    )
    evidence: list[Evidence] = derived("Evidence for it")


class CallToAction(Timed):
    """Words that ask the viewer to do something."""

    action: str = derived("The requested action, e.g. follow, comment, visit, buy")
    words: str = derived("The words of the request")
    evidence: list[Evidence] = derived("Where they are spoken or written")


class Loop(Model):
    """Whether the end leads back to the beginning."""

    similarity: float = measured(
        "Similarity of the luma of the first and last frame",
        range="-1..1",
        method="zero-mean normalised cross-correlation",
    )
    difference: float = measured(
        "Mean absolute difference of the first and last frame in Y, Cb and Cr",
        unit="share of full scale",
        range="0..1",
    )
    farthest: float = measured(
        "Similarity of the first frame and the frame least similar to it", range="-1..1"
    )
    sound_similarity: float | None = measured(
        "Similarity of the first and last quarter second of the sound; null without sound",
        range="0..1",
        method="1 if both are below -60 dBFS, 0 if their levels are more than 6 dB apart, otherwise the cosine similarity of their magnitude spectra in half-octave bands",
    )
    loops: bool = derived(
        "Whether the similarity is at least `threshold`, the difference at most 0.05, the "
        "sound similarity at least 0.8 or absent, and the frames differed in between "
        "(similarity below 0.8)"
    )
    threshold: float = setting(
        "Similarity from which the end may count as leading back to the beginning"
    )
    last_s: float = measured("Time of the last frame; the first is at 0", unit="s")


class Flow(Output):
    """The course of the video."""

    hook: Hook = derived("What happens in the first 3 s, or in the whole of a shorter video")
    pacing: Pacing = derived("The pace over time, in windows of 3 s")
    moments: list[Moment] = derived(
        "Key moments: where at least two of shot, camera, objects, text and sound change "
        "within 0.3 s of each other; and single changes with a strength of 0.3 or more at "
        "least a second from any other, the strongest ones, about one per 5 s. If there is "
        "none, the strongest change of all, or else the point of most motion. Camera and "
        "objects count within shots only, captions if they stay for a second, pauses of speech "
        "from a second on"
    )
    segments: list[Segment] = derived(
        "Parts of the video between key moments that are cuts, in order, without gaps"
    )
    emotional_course: list[Feeling] | None = derived(
        "Emotion of the voice and mood of the frames over time; null without a source"
    )
    calls_to_action: list[CallToAction] | None = derived(
        "Calls to action, in German or English; null without words to search"
    )
    loop: Loop | None = derived(
        "Whether the end leads back to the beginning, in image and sound; null if the first or "
        "last frame is blank, or there is only one"
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
            yield _event(moment.at, moment.at, moment.what)
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
    """Calls to action; None if there are neither spoken nor written words."""
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


def loop(thumbs: Frames, audio: Audio | None) -> Loop | None:
    """Similarity of the end and the beginning; None for a single frame, or a blank one."""
    if len(thumbs) < 2:
        return None
    one, two = (thumbs.gray(k).astype(float) for k in (0, len(thumbs) - 1))
    if min(one.std(), two.std()) < FLAT:
        return None
    similarity = likeness(one, two)
    first, last = (thumbs.i420[k].astype(float) for k in (0, len(thumbs) - 1))
    difference = float(np.abs(first - last).mean() / 255)
    between = range(0, len(thumbs), max(1, len(thumbs) // 200))
    farthest = min(likeness(one, thumbs.gray(k).astype(float)) for k in between)
    sounds = None if audio is None or not len(audio.samples) else sound_likeness(audio)
    return Loop(
        similarity=similarity,
        difference=difference,
        farthest=farthest,
        sound_similarity=sounds,
        loops=similarity >= LOOP
        and difference <= LOOP_DIFFERENCE
        and farthest < AWAY
        and (sounds is None or sounds >= LOOP_SOUND),
        threshold=LOOP,
        last_s=float(thumbs.times[-1]),
    )


def likeness(one: Array, two: Array) -> float:
    """Zero-mean normalised cross-correlation of two frames; 0 if one is blank."""
    if min(one.std(), two.std()) < FLAT:
        return 0.0
    product = ((one - one.mean()) * (two - two.mean())).mean()
    return float(np.clip(product / (one.std() * two.std()), -1, 1))


def sound_likeness(audio: Audio) -> float:
    """Likeness of the first and the last quarter second, 0..1; see ``Loop.sound_similarity``."""
    size = min(round(LOOP_S * audio.rate), len(audio.samples))
    ends = [np.asarray(audio.samples[:size], float), np.asarray(audio.samples[-size:], float)]
    levels = [10 * np.log10(float((end**2).mean()) + 1e-12) for end in ends]
    if max(levels) < HUSH_DB:
        return 1.0
    if abs(levels[0] - levels[1]) > LOOP_DB:
        return 0.0
    hertz = np.fft.rfftfreq(size, 1 / audio.rate)
    bands = np.searchsorted(60 * 2 ** (np.arange(14) / 2), hertz)
    one, two = (np.sqrt(np.bincount(bands, np.abs(np.fft.rfft(end)) ** 2)) for end in ends)
    return float(one @ two / (np.linalg.norm(one) * np.linalg.norm(two)))


def motion(thumbs: Frames) -> list[Change]:
    """Where the picture moves most, if it does so clearly more than usual: at most one change."""
    step = int(np.searchsorted(thumbs.times, thumbs.times[0] + MOTION_S)) if len(thumbs) else 0
    every = max(1, len(thumbs) // 1200)
    at = list(range(step, len(thumbs), every))
    if step < 1 or len(at) < 3:
        return []
    moved = np.array(
        [np.abs(thumbs.gray(k).astype(float) - thumbs.gray(k - step)).mean() for k in at]
    )
    top, usual = float(moved.max()), float(np.median(moved))
    if top < LEAST_MOTION or top < MOTION_RISE * usual:
        return []
    k = at[int(moved.argmax())]
    t = float(thumbs.times[k - step] + thumbs.times[k]) / 2
    rise = 1 - usual / top
    return [Change("motion", cite(NAME, t, t, "strongest motion"), rise)]


def missing(of: Sources, made: Flow, has_audio: bool, pictures: int) -> list[Missing]:
    """Findings that could not be made, and why."""
    gone: list[Missing] = []

    def lacks(source: str, *parts: str, of_it: str | None = None) -> None:
        reason = f"{source} has no {of_it}" if of_it else f"{source} produced no output"
        gone.extend(
            Missing(part=part, reason=reason, lacks=[source], lacks_part=of_it) for part in parts
        )

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
        of_it = "words" if of.transcript else None
        lacks("speech_transcription", "words in the pace", "spoken calls to action", of_it=of_it)
    if _voiced(of.voice) is None and not of.quiet:
        of_it = "emotion" if of.voice else None
        lacks("speech_emotion", "voice in the emotional course", of_it=of_it)
    if of.description is None:
        lacks(
            "qwen2_vl_temporal", "descriptions in hook and segments", "mood in the emotional course"
        )
    if made.loop is None:
        why = "the first or last frame is blank" if pictures > 1 else "there is only one frame"
        gone.append(Missing(part="loop ending", reason=why))
    return gone


class TemporalFlow(Analyzer):
    """Hook, pace, key moments, segments, emotional course, calls to action, loop."""

    name = NAME
    needs = Needs(threads=1, timeout_s=60, cost=0.1)

    def analyze(
        self,
        video: Video,
        thumbs: Frames,
        audio: Audio | None,
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
        found = moments(of, motion(thumbs))
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
            loop=loop(thumbs, audio),
        )
        gone = missing(of, made, video.has_audio, len(thumbs))
        return Partial(made, tuple(gone)) if gone else made
