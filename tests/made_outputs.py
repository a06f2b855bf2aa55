"""Hand-made outputs of analyzers, which agree on one short video of 20 s. Fields that a test has no
use for are left out."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from actors.age_estimation import Face, Faces
from actors.audio_analysis import Key, LoudnessCurve, Silence, Sound, SoundSection, Tempo
from actors.audio_environment import RankedTag, Shares, SoundEvent, Soundscape, Tag, TaggedWindow
from actors.background_segmentation import Background, ClassShare, EnvironmentSpan
from actors.body_pose import Gesture, PosedPerson, Poses
from actors.camera_analysis import Camera, Move, ShotCamera
from actors.color_analysis import Colors, Filter, Swatch
from actors.content_quality import Bars, Quality, Technical
from actors.cut_analysis import Cuts, Shot, Transition
from actors.eye_tracking import Blink, Eyes, EyeTrack
from actors.object_detection import ObjectClass, Objects, ObjectTrack
from actors.qwen2_vl_temporal import Description, WindowDescription
from actors.scene_segmentation import Scene, Scenes, Setting
from actors.speech_emotion import Emotion, Prosody, SpokenStretch, VoiceEmotion
from actors.speech_flow import Delivery
from actors.speech_transcription import Segment, SpeakerTurn, Transcript, Word
from actors.temporal_flow import CallToAction, Flow, Hook, Loop
from actors.temporal_flow.moments import Moment
from actors.temporal_flow.pacing import Pacing
from actors.temporal_flow.sources import Element, cite
from actors.text_overlay import Overlay, Overlays
from tiktok_ray.media import Speech, Video, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio.emphasis import EmphasisedWord
from tiktok_ray.methods.audio.pauses import Pause
from tiktok_ray.methods.text.fillers import Filler
from tiktok_ray.report import Run, Timed

END = 20.0
CUTS = (3.0, 6.0, 9.0, 14.0, 17.0)
SAID = (
    ("bin blue at f two now", 1.0, 2.2),
    ("lay white by s zero again", 3.6, 5.4),
    ("set white in z three now", 14.6, 16.8),
)
SPOKEN = tuple((start, end) for _, start, end in SAID)


def video(seconds: float = END, has_audio: bool = True) -> Video:
    return Video(
        duration_s=seconds, width=540, height=960, fps=30.0, variable_fps=False, frames=None,
        has_audio=has_audio, start_offset_s=0.0, rotation=0, video_codec="h264",
        audio_codec=None, audio_channels=None, audio_rate=None, container="mp4", size_bytes=1,
    )  # fmt: skip


def run(**facts: Any) -> Run:
    """How a report was made, of which a test may say what it likes."""
    known: dict[str, Any] = {
        "wall_s": 1.0, "startup_s": 0.1, "load_s": {}, "decode_s": 0.5, "realtime_factor": 0.05,
        "cores": 2, "workers": "threads", "decoder": "pyav", "plan": [], "waits_for": {},
        "memory": {}, "versions": {"tiktok_ray": "0.1.0"},
    }  # fmt: skip
    return Run(**{**known, **facts})


def speech(*found: tuple[float, float]) -> Speech:
    return Speech(tuple(Span(*span) for span in found))


def cuts(times: Iterable[float] = CUTS, end: float = END, kind: Any = "hard") -> Cuts:
    changes = [
        Transition(start=t, end=t, kind=kind, through=None, new_shot=t, strength=0.5) for t in times
    ]
    edges = [0.0, *(c.start for c in changes), end]
    shots = [Shot(start=a, end=b, index=i) for i, (a, b) in enumerate(pairwise(edges))]
    lengths = np.diff(edges)
    return Cuts(
        transitions=changes, flashes=[], shots=shots, cuts_per_minute=60 * len(changes) / end,
        median_shot_s=float(np.median(lengths)), shortest_shot_s=float(lengths.min()),
        longest_shot_s=float(lengths.max()), variation=None, trend=None, frame_s=1 / 30,
    )  # fmt: skip


def sound(
    beats: Iterable[float] = (),
    silences: Sequence[tuple[float, float]] = ((9.0, 12.0),),
    sections: Sequence[float] = (0.0, 6.0, 9.0, 14.0),
) -> Sound:
    pulse = list(beats)
    gap = float(np.median(np.diff(pulse))) if pulse else 0.5
    return Sound.model_construct(
        integrated_lufs=-18.0,
        true_peak_dbtp=-1.2,
        silences=[Silence(start=a, end=b) for a, b in silences],
        silence_share=spans.total(silences) / END,
        tempo=Tempo(bpm=60 / gap, pulse_clarity=0.6, beat_support=0.8, alternative_bpm=None)
        if pulse
        else None,
        beats=pulse,
        onsets=pulse,
        loudness=LoudnessCurve(times=[], momentary=[], short_term=[]),
        key=Key(
            tonic="C", mode="major", concentration=0.5, correlation=0.8, runner_up="A minor",
            runner_up_correlation=0.6,
        ),
        sections=[
            SoundSection(start=a, end=b, label="A", lufs=-18.0, novelty=None)
            for a, b in pairwise([*sections, END])
        ],
    )  # fmt: skip


def soundscape(*sounds: tuple[str, float, float]) -> Soundscape:
    events = [SoundEvent(name=n, start=a, end=b, probability=0.9) for n, a, b in sounds]
    windows = [
        TaggedWindow(
            start=k,
            end=k + 1,
            tags=[
                Tag(name=e.name, probability=0.9) for e in events if e.start < k + 1 and k < e.end
            ],
        )
        for k in range(int(END))
    ]
    music = spans.total(e.span for e in events if e.name == "Trumpet")
    talk = spans.total(e.span for e in events if e.name == "Speech")
    return Soundscape.model_construct(
        tags=[RankedTag(name=e.name, mean_probability=0.4, max_probability=0.9) for e in events],
        windows=windows,
        sounds=events,
        silences=[],
        shares=Shares(speech=talk / END, music=music / END, noise=0.1, silence=0.15),
        snr_db=24.0,
    )


def transcript(
    said: Sequence[tuple[str, float, float]] = SAID,
    words: bool = True,
    language: str = "en",
    probability: float = 0.9,
    speakers: Sequence[str] = (),
) -> Transcript:
    """What is said from when to when, its words evenly over the time."""
    segments = []
    for text, start, end in said:
        parts = text.split()
        step = (end - start) / len(parts)
        segments.append(
            Segment(
                start=start,
                end=end,
                text=text,
                words=[
                    Word(
                        start=start + k * step,
                        end=start + (k + 1) * step,
                        text=part,
                        probability=probability,
                    )
                    for k, part in enumerate(parts)
                ],
            )
        )
    seconds = spans.total((a, b) for _, a, b in said)
    count = sum(len(segment.words) for segment in segments)
    return Transcript(
        language=language if words else None,
        language_probability=0.95 if words else None,
        text=" ".join(segment.text for segment in segments) if words else None,
        segments=segments if words else None,
        word_count=count if words else None,
        words_per_minute=60 * count / seconds if words else None,
        words_dropped=0 if words else None,
        turns=[
            SpeakerTurn(start=a, end=b, speaker=name, margin=0.2)
            for (_, a, b), name in zip(said, speakers, strict=True)
        ]
        if speakers
        else None,
        pitch=None,
        speech=[Timed(start=a, end=b) for _, a, b in said],
        speech_s=seconds,
        speech_share=seconds / END,
    )


def overlays(*written: tuple[str, float, float, str]) -> Overlays:
    """Texts with start, end and kind."""
    made = [
        Overlay(
            start=a, end=b, text=text, lines=[text], box=[0.1, 0.8, 0.9, 0.9], confidence=0.95,
            kind=kind,  # type: ignore[arg-type]
            order=0, travel=0.0, edge_s=0.1,
        )
        for text, a, b, kind in written
    ]  # fmt: skip
    shown = spans.total((a, b) for _, a, b, _ in written)
    return Overlays(
        overlays=made, text="\n".join(o.text for o in made), on_screen_s=shown, share=shown / END,
        reading_speed=8.0 if made else None, languages=[],
    )  # fmt: skip


def face(track: int, start: float, end: float, height: float = 0.4) -> Face:
    times = np.arange(start, end, 0.3).tolist()
    return Face.model_construct(
        track=track, start=start, end=end, person=None, age=30.0 + track, sex="female",
        size_px=200.0, times=times, boxes=[(0.3, 0.2, 0.7, 0.2 + height)] * len(times),
        confidences=[0.9] * len(times),
    )  # fmt: skip


def faces(*found: tuple[float, float]) -> Faces:
    made = [face(k, a, b) for k, (a, b) in enumerate(found)]
    return Faces.model_construct(
        faces=made, people=None, most_at_once=1, screen_share=spans.total(found) / END
    )


def eye_track(track: int, start: float, end: float, movement: float) -> EyeTrack:
    """A face whose mouth opens and shuts with the standard deviation ``movement``."""
    times = np.round(np.arange(start, end, 0.1), 3).tolist()
    return EyeTrack.model_construct(
        track=track, start=start, end=end, observed_s=end - start, times=times,
        mouth=[0.2 + movement * (-1) ** k for k in range(len(times))],
        into_camera=[Timed(start=start + 0.1, end=end - 0.1)],
        blinks=[Blink(start=start + 0.5, end=start + 0.7, time=start + 0.6, openness=0.2)],
    )  # fmt: skip


def eyes(*tracks: tuple[float, float, float], located_by: str = "age_estimation") -> Eyes:
    made = [eye_track(k, *track) for k, track in enumerate(tracks)]
    return Eyes.model_construct(
        tracks=made, located_by=located_by, into_camera_share=0.8, blinks=len(made), unread=[],
        tolerance_yaw=10.0, tolerance_pitch=15.0, sampling_hz=10.0,
    )  # fmt: skip


def objects(*seen: tuple[str, float, float, float]) -> Objects:
    """Tracks with label, start, end and share of the picture."""
    tracks = [
        ObjectTrack.model_construct(
            track=k,
            label=label,
            start=a,
            end=b,
            seen=[(a, b)],
            area=area,
            confidence=0.9,
            times=[a],
            boxes=[(0.1, 0.1, 0.9, 0.9)],
        )
        for k, (label, a, b, area) in enumerate(seen, 1)
    ]
    classes = []
    for label in dict.fromkeys(t.label for t in tracks):
        share = spans.total(s for t in tracks if t.label == label for s in t.seen) / END
        classes.append(
            ObjectClass(
                label=label, group="any", tracks=1, at_once=1, screen_time_s=share * END,
                screen_share=share, area=0.2,
            )
        )  # fmt: skip
    return Objects.model_construct(tracks=tracks, classes=classes, samples=100, step_s=0.2)


def poses(*seen: tuple[float, float]) -> Poses:
    persons = [
        PosedPerson.model_construct(
            track=k, start=a, end=b, times=np.round(np.arange(a, b, 0.2), 3).tolist(),
            boxes=[(0.2, 0.2, 0.8, 0.9)] * len(np.arange(a, b, 0.2)), confidence=0.8,
            posture="standing",
            gestures=[Gesture(start=a + 0.2, end=a + 0.8, gesture="waving", side="left")],
        )
        for k, (a, b) in enumerate(seen, 1)
    ]  # fmt: skip
    return Poses.model_construct(
        persons=persons, at_once=1, screen_time_s=10.0, samples=100, step_s=0.2
    )


def background(*people: tuple[float, float]) -> Background:
    """Persons take 30 % of the picture in the given stretches; indoors throughout."""
    times = np.arange(0.0, END).tolist()
    return Background.model_construct(
        environment="indoor",
        environments=[
            EnvironmentSpan(
                start=0.0, end=END, environment="indoor", evidence=0.7, rests_on=["wall", "floor"]
            )
        ],
        classes=[ClassShare(label="wall", share=0.5, shares=[0.5] * len(times))],
        person_share=0.2,
        person_shares=[0.3 if spans.covers(people, t) else 0.0 for t in times],
        changes=[],
        times=times,
    )


def camera(moving: float = 0.6, shaking: float = 0.0) -> Camera:
    return Camera.model_construct(
        shots=[ShotCamera.model_construct(start=0.0, end=END, movements=["pan left"])],
        moves=[Move(start=4.0, end=5.0, kind="pan left", shot=1, speed=0.1, unit="widths/s",
                    amount=0.1)],
        measured_share=0.9, moving_share=moving, shaking_share=shaking, stability=0.8,
    )  # fmt: skip


def scenes(*settings: int) -> Scenes:
    """Scenes of equal length in the settings given."""
    step = END / len(settings)
    made = [
        Scene(
            start=k * step, end=(k + 1) * step, setting=s, shots=[k],
            representative_s=(k + 0.5) * step, transition="hard" if k else None,
            distance=0.6 if k else None,
        )
        for k, s in enumerate(settings)
    ]  # fmt: skip
    places = [
        Setting(id=s, scenes=[k for k, one in enumerate(settings) if one == s], seconds=step)
        for s in sorted(set(settings))
    ]
    return Scenes(scenes=made, settings=places, features="histograms", threshold=0.38)


def colors(*looks: Any) -> Colors:
    return Colors.model_construct(
        palette=[Swatch(name="teal", hex="#008080", lab=(48.0, -28.0, -8.0), share=0.6)],
        brightness=52.0, contrast=20.0, saturation=31.0, temperature_k=5200.0,
        filters=[Filter(kind=look, share=0.8, value=3.0, test="a test") for look in looks],
        changes=[],
    )  # fmt: skip


def quality(bars: Any = "letterbox", blurred: float = 0.1) -> Quality:
    share = 0.0 if bars == "none" else 0.25
    return Quality.model_construct(
        technical=Technical.model_construct(
            sharpness=0.6, blurred_share=blurred, noise=1.2, resolution=[540, 960],
            effective_resolution=[400, 711], audio_clipped=0.0,
            bars=Bars(kind=bars, box=[0.0, 0.1, 1.0, 0.9], share=share),
        ),
        aesthetic=None, embeddings=None,
    )  # fmt: skip


def voice(name: str = "hap", probability: float = 0.7) -> VoiceEmotion:
    felt = Emotion(dominant=name, probability=probability, distribution={name: probability})
    return VoiceEmotion.model_construct(
        segments=[SpokenStretch.model_construct(start=a, end=b, emotion=felt) for a, b in SPOKEN],
        emotion=felt,
        prosody=Prosody(
            pitch_hz=180.0, pitch_range_st=9.0, voiced_share=0.6, level_db=-20.0,
            level_range_db=20.0,
        ),
    )  # fmt: skip


def delivery(*emphasised: tuple[str, float, float], per_hundred: float = 8.0) -> Delivery:
    return Delivery.model_construct(
        counted="words",
        articulation_rate=190.0,
        pauses=[Pause(start=2.2, end=3.6, length_s=1.4, kind="silent", drop_db=30.0)],
        pause_share=0.2,
        interludes=[],
        emphasis=[
            EmphasisedWord(
                word=w, start=a, end=b, energy_z=2.0, pitch_z=2.0, length_z=None, score=2.0
            )
            for w, a, b in emphasised
        ],
        fillers=[Filler(start=2.0, end=2.2, text="um", kind="hesitation")],
        fillers_per_100_words=per_hundred,
    )


def flow(moment: float = 6.0, loops: bool = True) -> Flow:
    changes = [
        cite("cut_analysis", moment, moment, "cut"),
        cite("text_overlay", moment, moment, "text “BUS STOP”"),
    ]
    return Flow.model_construct(
        hook=Hook(
            end=3.0,
            what="one shot; speech “bin blue”",
            elements=[
                Element(
                    kind="speech", what="speech “bin blue”",
                    evidence=[cite("speech_transcription", 1.0, 2.2, "“bin blue”")],
                )
            ],
        ),
        pacing=Pacing(
            times=[5.0, 10.0, 15.0], pace=[0.2, 0.5, 0.2], cuts=[0.2, 0.4, 0.2], motion=None,
            words=None, onsets=None, fastest_s=10.0, trend=0.0,
            evidence=[cite("cut_analysis", 0.0, END, "5 cuts")],
        ),
        moments=[
            Moment(
                start=moment, end=moment, at=moment, what="cut; text “BUS STOP”",
                kinds=["cuts", "text"], weight=2, score=1.2, rank=1, evidence=changes,
            )
        ],
        segments=[],
        emotional_course=None,
        calls_to_action=[
            CallToAction(
                start=18.0, end=19.0, action="follow", words="follow me",
                evidence=[cite("text_overlay", 18.0, 19.0, "“follow me”")],
            )
        ],
        loop=Loop(
            similarity=0.97, difference=0.01, farthest=0.1, sound_similarity=0.9, loops=loops,
            threshold=0.95, last_s=19.9,
        ),
    )  # fmt: skip


def description(
    *windows: tuple[str, float, float], language: str = "en", tags: Sequence[str] = ("studio",)
) -> Description:
    """Windows with the people or things that they speak of."""
    made = [
        WindowDescription(
            start=a, end=b, shot=None, picture_times=[a], setting="a studio", people=None,
            action=text, visible_text="", mood=None, raw=text, faults=[], tokens=9,
        )
        for text, a, b in windows
    ]  # fmt: skip
    return Description(
        windows=made, title="Speaking test", summary="Somebody reads sentences out.",
        narrative=None, tags=list(tags), raw="", faults=[], described_share=1.0,
        answered_share=0.8, describer="qwen2-vl", language=language,
    )  # fmt: skip


def everything() -> dict[str, Any]:
    """The outputs of the eighteen, by name."""
    return {
        "qwen2_vl_temporal": description(
            ("A man speaks to the camera.", 0.0, 6.0), ("A dog runs past.", 6.0, 9.0)
        ),
        "object_detection": objects(
            ("person", 0.0, 6.0, 0.6), ("bus", 6.0, 9.0, 0.4), ("person", 14.0, 17.0, 0.6)
        ),
        "text_overlay": overlays(
            ("LIP READING TEST", 0.0, 3.0, "caption"),
            ("lay white by s zero again", 3.0, 6.0, "caption"),
            ("BUS STOP", 6.0, 9.0, "caption"),
            ("@grid", 0.0, 20.0, "watermark"),
        ),
        "speech_transcription": transcript((*SAID, ("and so on", 8.4, 9.6))),
        "body_pose": poses((0.0, 6.0), (10.0, 11.0), (14.0, 17.0)),
        "background_segmentation": background((0.0, 6.0), (10.0, 12.0), (14.0, 17.0)),
        "camera_analysis": camera(),
        "scene_segmentation": scenes(1, 2, 1),
        "color_analysis": colors("sepia"),
        "content_quality": quality(),
        "cut_analysis": cuts(),
        "age_estimation": faces((0.0, 6.0), (14.0, 17.0), (18.0, 19.0)),
        "eye_tracking": eyes((0.0, 3.0, 0.1), (3.0, 6.0, 0.005), (14.0, 17.0, 0.1)),
        "audio_analysis": sound(beats=np.arange(0.5, 20.0, 0.5)),
        "audio_environment": soundscape(
            ("Speech", 1.0, 2.0), ("Speech", 3.5, 5.5), ("Trumpet", 6.0, 9.0), ("Dog", 10.0, 11.5),
            ("Speech", 14.5, 17.0),
        ),
        "speech_emotion": voice(),
        "speech_flow": delivery(("white", 3.9, 4.2)),
        "temporal_flow": flow(),
    }  # fmt: skip
