"""Made reports for the viewer: every analyzer, every status, as long and as hostile as wanted.

Outputs are instances of the analyzers' own types, so that the viewer is tested on the shapes that
they have. Fields that do not matter here are filled in by type.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from actors import ANALYZERS
from tiktok_ray.graph import Graph
from tiktok_ray.report import (
    Coverage,
    Missing,
    ModelUsed,
    Output,
    Run,
    Section,
    Summary,
    VideoInfo,
    VideoReport,
)
from tiktok_ray.reporting.timeline import merge

GRAPH = Graph(ANALYZERS)
HOSTILE = (
    "</script><script>window.hurt=1</script>",
    "<img src=x onerror=window.hurt=1>",
    "<!--<script>\u2028\u2029 javascript:window.hurt=1",
    "\u202etxt.exe \ud800 ${window.hurt=1} {{hurt}} &lt;b&gt; \"'`",
)


def filled(kind: Any, given: Any = None) -> Any:
    """A value of a type, from what is given of it; the rest is filled in."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        inner = next(a for a in arguments if a is not type(None))
        return None if given is None else filled(inner, given)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if isinstance(given, kind):
            return given
        given = given or {}
        assert set(given) <= set(kind.model_fields), set(given) - set(kind.model_fields)
        return kind(
            **{
                name: filled(field.annotation, given.get(name))
                for name, field in kind.model_fields.items()
            }
        )
    if origin is list:
        return [filled(arguments[0], item) for item in given or []]
    if given is not None:
        return given
    if origin is Literal:
        return arguments[0]
    if origin is tuple:
        return tuple(filled(a) for a in arguments if a is not ...)
    return {float: 0.5, int: 1, str: "words", bool: False, dict: {}}[origin or kind]


def grid(end: float, step: float) -> list[float]:
    return [round(k * step, 3) for k in range(math.ceil(end / step))]


def wave(times: list[float], low: float, high: float, period: float) -> list[float]:
    middle, reach = (low + high) / 2, (high - low) / 2
    return [round(middle + reach * math.sin(2 * math.pi * t / period), 3) for t in times]


def parts(end: float, step: float) -> list[tuple[float, float]]:
    return [(t, min(end, round(t + step, 3))) for t in grid(end, step)]


def evidence(analyzer: str, start: float, end: float, what: str) -> dict[str, Any]:
    return {"analyzer": analyzer, "start": start, "end": end, "what": what}


def outputs(end: float, pace: float = 1.0, text: Callable[[str], str] = str) -> dict[str, Output]:
    """An output of every analyzer for a video of ``end`` seconds; ``pace`` times as many things."""
    shot, second = 4.0 / pace, 1.0 / pace
    shots = parts(end, shot)
    spoken = [s for k, s in enumerate(parts(end, 2.0)) if k % 3 != 2]
    dense, tenth = grid(end, 0.2), grid(end, 0.1)
    box = [0.2, 0.15, 0.8, 0.9]
    moving = [[round(v + 0.05 * math.sin(t), 3) for v in box] for t in grid(shot, 0.2)]

    def sentence(start: float, stop: float) -> dict[str, Any]:
        step = (stop - start) / 5
        words = [
            {
                "start": round(start + k * step, 3),
                "end": round(start + (k + 0.8) * step, 3),
                "text": text(word),
                "probability": 0.9,
            }
            for k, word in enumerate(["Schöne", "Grüße", "from", "the", "launch"])
        ]
        said = " ".join(str(word["text"]) for word in words)
        return {"start": start, "end": words[-1]["end"], "text": said, "words": words}

    def person(k: int, start: float, stop: float) -> dict[str, Any]:
        times = [round(start + t, 3) for t in grid(stop - start, 0.2)]
        points = [0.5, 0.25, 0.47, 0.22, 0.53, 0.22, 0.44, 0.25, 0.56, 0.25, 0.35, 0.42, 0.65, 0.42]
        points += [0.3, 0.58, 0.7, 0.58, 0.34, 0.7, 0.66, 0.7, 0.4, 0.7, 0.6, 0.7]
        points += [0.4, 0.85, 0.6, 0.85, 0.4, 0.98, 0.6, 0.98]
        pose = [v for j in range(17) for v in (points[2 * j], points[2 * j + 1], 0.9)]
        return {
            "start": start,
            "end": stop,
            "track": k + 1,
            "times": times,
            "boxes": [tuple(box)] * len(times),
            "keypoints": [pose] * len(times),
            "posture": "standing",
            "gestures": [{"start": start, "end": min(stop, start + 1), "gesture": "waving"}],
        }

    def track(k: int, label: str, start: float, stop: float) -> dict[str, Any]:
        times = [round(start + t, 3) for t in grid(stop - start, 0.2)]
        return {
            "start": start,
            "end": stop,
            "track": k + 1,
            "label": text(label),
            "group": label,
            "seen": [(start, stop)],
            "times": times,
            "boxes": [tuple(b) for b in moving[: len(times)]],
            "confidences": [0.9] * len(times),
            "confidence": 0.9,
        }

    def face(k: int, start: float, stop: float) -> dict[str, Any]:
        times = [round(start + t, 3) for t in grid(stop - start, 0.3)]
        frame = (0.38, 0.18, 0.62, 0.36)
        return {
            "start": start,
            "end": stop,
            "track": k,
            "age": 30.0 + k % 9,
            "sex": "female",
            "times": times,
            "boxes": [frame] * len(times),
            "confidences": [0.9] * len(times),
        }

    def eyes(k: int, start: float, stop: float) -> dict[str, Any]:
        times = [round(start + t, 3) for t in grid(stop - start, 0.1)]
        curve = wave(times, -20, 20, 3.0)
        return {
            "start": start,
            "end": stop,
            "track": k,
            "times": times,
            "gaze_yaw": curve,
            "gaze_pitch": curve,
            "into_camera": [{"start": start, "end": start + (stop - start) / 2}],
            "blinks": [{"start": start + 0.3, "end": start + 0.5, "time": start + 0.4}],
        }

    emotions = ("happy", "neutral", "angry", "sad")
    given: dict[str, dict[str, Any]] = {
        "cut_analysis": {
            "shots": [{"start": a, "end": b, "index": k} for k, (a, b) in enumerate(shots)],
            "transitions": [
                {"start": a, "end": a, "kind": "hard", "new_shot": a, "strength": 0.6}
                for a, _ in shots[1:]
            ],
        },
        "scene_segmentation": {
            "scenes": [
                {"start": a, "end": b, "setting": k % 2} for k, (a, b) in enumerate(parts(end, 8.0))
            ]
        },
        "camera_analysis": {
            "moves": [
                {"start": a, "end": b, "kind": ("pan left", "zoom in")[k % 2], "unit": "widths/s"}
                for k, (a, b) in enumerate(shots)
                if k % 3
            ],
        },
        "qwen2_vl_temporal": {
            "windows": [
                {"start": a, "end": b, "action": text("An astronaut smiles at the camera")}
                for a, b in shots
            ],
            "title": text("A launch, a cup and a cat"),
            "summary": text("Four photographs, with captions and a voice."),
            "tags": [text("space"), text("cat")],
        },
        "text_overlay": {
            "overlays": [
                {
                    "start": a,
                    "end": min(end, a + 2.5),
                    "text": text(("READY FOR LAUNCH", "Schöne Grüße")[k % 2]),
                    "box": [0.1, 0.82, 0.9, 0.9],
                    "confidence": 0.98,
                }
                for k, (a, _) in enumerate(parts(end, 3.0))
            ],
            "share": 0.8,
            "on_screen_s": 0.8 * end,
        },
        "speech_transcription": {
            "language": "en",
            "text": text("Schöne Grüße from the launch"),
            "segments": [sentence(*s) for s in spoken],
            "word_count": 5 * len(spoken),
            "speech": [{"start": a, "end": b} for a, b in spoken],
            "speech_s": sum(b - a for a, b in spoken),
        },
        "speech_flow": {
            "counted": "words",
            "rates": {"times": grid(end, 1.0), "speaking": wave(grid(end, 1.0), 80, 190, 9)},
            "pauses": [{"start": b, "end": min(end, b + 0.6)} for _, b in spoken[1::2] if b < end],
            "emphasis": [{"start": a, "end": a + 0.3, "word": text("Grüße")} for a, _ in spoken],
            "fillers": [{"start": a + 1.2, "end": a + 1.5, "text": "uh"} for a, _ in spoken[::4]],
        },
        "speech_emotion": {
            "segments": [
                {
                    "start": a,
                    "end": b,
                    "emotion": {
                        "dominant": emotions[k % 4],
                        "probability": 0.7,
                        "distribution": {emotions[k % 4]: 0.7, emotions[(k + 1) % 4]: 0.3},
                    },
                    "prosody": {"pitch_hz": 180.0},
                }
                for k, (a, b) in enumerate(spoken)
            ],
            "curve": {
                "times": tenth,
                "pitch_hz": wave(tenth, 120, 240, 2.3),
                "level_db": wave(tenth, -40, -12, 1.7),
            },
        },
        "object_detection": {
            "tracks": [
                track(k, ("person", "cup", "cat")[k % 3], a, b) for k, (a, b) in enumerate(shots)
            ],
            "classes": [
                {"label": text(label), "at_once": 1, "screen_share": s, "screen_time_s": s * end}
                for label, s in (("person", 0.7), ("cup", 0.3))[: len(shots)]
            ],
        },
        "body_pose": {"persons": [person(k, *s) for k, s in enumerate(shots)]},
        "age_estimation": {
            "faces": [face(k, *s) for k, s in enumerate(shots)],
            "screen_share": 0.6,
        },
        "eye_tracking": {
            "located_by": "age_estimation",
            "tracks": [eyes(k, *s) for k, s in enumerate(shots)],
        },
        "background_segmentation": {
            "environments": [
                {"start": a, "end": b, "environment": "indoor", "rests_on": [text("wall"), "floor"]}
                for a, b in parts(end, 8.0)
            ],
            "times": dense,
            "person_shares": wave(dense, 0.1, 0.7, 6),
            "changes": [{"time": a} for a, _ in parts(end, 8.0)[1:]],
        },
        "audio_environment": {
            "sounds": [
                {"start": a, "end": min(end, a + 0.7 * second), "name": text(name)}
                for k, (a, _) in enumerate(parts(end, second))
                for name in [("Speech", "Music", "Trumpet")[k % 3]]
            ],
            "shares": {"speech": 0.5, "music": 0.3, "noise": 0.1, "silence": 0.1},
        },
        "audio_analysis": {
            "integrated_lufs": -18.2,
            "loudness": {
                "times": tenth,
                "momentary": wave(tenth, -45, -10, 4.1),
                "short_term": wave(tenth, -30, -14, 8.0),
            },
            "silences": [{"start": end / 2, "end": end / 2 + 1}],
            "tempo": {"bpm": 120.0},
            "beats": grid(end, 0.5 * second),
        },
        "color_analysis": {
            "palette": [
                {"name": "steelblue", "hex": "#4682b4", "lab": (52.0, -4.0, -32.0), "share": 0.5},
                {"name": "coral", "hex": "#ff7f50", "lab": (67.0, 45.0, 47.0), "share": 0.3},
                {"name": "khaki", "hex": "#f0e68c", "lab": (90.0, -9.0, 45.0), "share": 0.2},
            ],
            "strip": {
                "times": grid(end, 0.5),
                "dominant": [
                    ("#4682b4", "#ff7f50", "#f0e68c", "#2e2e38")[int(t // shot) % 4]
                    for t in grid(end, 0.5)
                ],
            },
            "changes": [{"time": a, "before": "coral", "after": "khaki"} for a, _ in shots[1::2]],
        },
        "content_quality": {
            "technical": {
                "times": grid(end, 0.5),
                "sharpness_curve": wave(grid(end, 0.5), 0.3, 0.7, 7),
                "resolution": [540, 960],
                "effective_resolution": [500, 880],
            },
        },
        "temporal_flow": {
            "hook": {"end": 3.0, "what": text("a person; text “READY FOR LAUNCH”; speech")},
            "pacing": {"times": grid(end, 1.0), "pace": wave(grid(end, 1.0), 0.1, 0.9, 11)},
            "moments": [
                {
                    "start": a,
                    "end": a,
                    "what": text("cut; sound sets in"),
                    "evidence": [
                        evidence("cut_analysis", a, a, "cut"),
                        evidence("audio_analysis", a, a, "sound sets in"),
                    ],
                }
                for a, _ in shots[1:]
            ],
        },
        "cross_analyzer_intelligence": {
            "insights": [
                {
                    "start": a,
                    "end": b,
                    "text": text("Cut and beat fall together, and the voice sets in."),
                    "evidence": [
                        evidence("cut_analysis", a, a, "cut"),
                        evidence("speech_transcription", a, b, "“Grüße”"),
                        evidence("audio_analysis", a, a, "beat"),
                    ],
                }
                for a, b in shots[1::2]
            ],
            "tags": [
                {"tag": text("fast cuts"), "value": 15.0, "rule": "cuts per minute ≥ 12",
                 "evidence": [evidence("cut_analysis", 0, end, "cuts")]},
            ],
        },
    }  # fmt: skip
    return {name: filled(GRAPH.outputs[name], fields) for name, fields in given.items()}


def video(end: float, **given: Any) -> VideoInfo:
    facts = {
        "id": "7000000000000000001",
        "sha256": "ab" * 32,
        "source": "clip.mp4",
        "duration_s": end,
        "width": 540,
        "height": 960,
        "fps": 30.0,
        "has_audio": True,
        "start_offset_s": 0.0,
        "rotation": 0,
        "video_codec": "h264",
        "audio_codec": "aac",
        "audio_channels": 1,
        "container": "mp4",
        "size_bytes": 1000,
        "damaged_packets": 0,
    }
    return VideoInfo(**(facts | given))


def report(
    end: float = 20.0,
    pace: float = 1.0,
    text: Callable[[str], str] = str,
    sections: dict[str, Section] | None = None,
    **about: Any,
) -> dict[str, Any]:
    """A report as JSON holds it: all analyzers well, but for those in ``sections``."""
    found = outputs(end, pace, text)
    starts = {name: 2.0 + 0.8 * k for k, name in enumerate(GRAPH.order)}
    all_sections: dict[str, Section] = {
        name: Section(
            status="ok",
            seconds=1.5,
            queued_s=0.4,
            started_s=starts[name],
            device="cpu",
            model=ModelUsed(id="maker/model", revision="abc", variant="small"),
            coverage=Coverage(samples=int(end * 10), span_s=end, max_gap_s=0.1),
            output=output,
        )
        for name, output in found.items()
    } | (sections or {})
    names = sorted(all_sections)
    info = video(end, **about)
    made = VideoReport(
        video=info,
        analyzers={name: all_sections[name] for name in names},
        timeline=merge(all_sections, end),
        summary=Summary.model_validate({
            "measured": sum(s.status in ("ok", "partial") for s in all_sections.values()),
            "of": len(names),
            "duration_s": end,
            "text": text("The picture changes often."),
            "not_measured": {},
            "found": {
                n: text(s.output.headline())
                for n, s in all_sections.items()
                if isinstance(s.output, Output)
            },
            "statements": [
                {
                    "about": "cuts",
                    "text": text("The picture changes often."),
                    "from": [{"analyzer": "cut_analysis", "start": 4.0, "end": 4.0}],
                }
            ],
            "topics_not_measured": {},
        }),
        run=Run.model_validate({
            "wall_s": 19.0,
            "startup_s": 3.0,
            "load_s": dict.fromkeys(names, 0.3),
            "decode_s": 1.8,
            "realtime_factor": 19.0 / end,
            "cores": 2,
            "workers": "ray",
            "decoder": "pyav",
            "plan": [
                {"analyzer": n, "variant": "small", "device": "cpu", "vram_gib": 0.0, "gpu_share": 0.0,
                 "ram_gib": 0.3, "basis": "measured"}
                for n in names
            ],
            "waits_for": {n: sorted(GRAPH.producers[n]) for n in names},
            "memory": {"decoder": {"peak_gib": 0.4}}
            | {n: {"peak_gib": 0.2 + 0.02 * k} for k, n in enumerate(names)},
            "versions": {"tiktok_ray": "0.1.0"},
        }),
    )  # fmt: skip
    return json.loads(made.to_json())  # type: ignore[no-any-return]


def every_status() -> dict[str, Any]:
    """A report in which each status comes up."""
    ended = {"seconds": 1.0, "queued_s": 0.1, "started_s": 3.0, "device": "cpu"}
    words = outputs(20.0)["speech_transcription"].model_copy(
        update={"segments": None, "text": None, "word_count": None, "language": None}
    )
    return report(
        sections={
            "body_pose": Section(status="failed", reason="ValueError: no such file", **ended),
            "eye_tracking": Section(status="timed_out", reason="took longer than 180 s", **ended),
            "color_analysis": Section(status="skipped", reason="not selected"),
            "qwen2_vl_temporal": Section(
                status="unavailable", reason="weights not installed: Qwen/Qwen2-VL-2B"
            ),
            "speech_transcription": Section(
                status="partial",
                missing=[Missing(part="words", reason="weights not installed")],
                output=words,
                **ended,
            ),
        }
    )


def hostile() -> dict[str, Any]:
    """A report whose strings try to become markup or script wherever they are shown."""
    return report(
        text=lambda plain: f"{HOSTILE[len(plain) % len(HOSTILE)]} {plain}",
        title=HOSTILE[0],
        uploader=HOSTILE[1],
        source="javascript:window.hurt=1",
        sections={"color_analysis": Section(status="failed", reason=HOSTILE[1])},
    )


def long() -> dict[str, Any]:
    """Ten minutes with 20,000 entries in the timeline."""
    made = report(600.0, pace=4.0)
    lacking = 20_000 - len(made["timeline"])
    made["timeline"] += [
        {
            "start": round(600 * k / lacking, 3),
            "end": round(600 * k / lacking + 0.4, 3),
            "kind": "object",
            "label": f"cup {k}",
            "confidence": 0.8,
            "analyzer": "object_detection",
        }
        for k in range(lacking)
    ]
    made["timeline"].sort(key=lambda event: event["start"])
    return made
