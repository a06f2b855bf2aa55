"""The comparison with the truth: it reads the outputs as they are, and sees what is wrong."""

import json

import pytest

from actors.age_estimation import Faces
from actors.audio_analysis import Sound
from actors.cut_analysis import Cuts
from actors.object_detection import Objects
from actors.speech_transcription import Transcript
from actors.text_overlay import Overlays
from tiktok_ray import demo
from tiktok_ray.compose import make_graph

READS = {
    Cuts: ("transitions",),
    Sound: ("tempo", "silences"),
    Overlays: ("overlays",),
    Transcript: ("speech",),
    Objects: ("tracks",),
    Faces: ("faces",),
}


@pytest.mark.parametrize("output", READS, ids=lambda o: o.__name__)
def test_the_fields_that_are_compared_exist(output):
    assert set(READS[output]) <= set(output.model_fields)


def truth():
    """A report that is right in every line, in the shape of the JSON."""
    change = lambda kind, s, e: {"kind": kind, "start": s, "end": e}  # noqa: E731
    first, second = demo.speech_spans()
    outputs = {
        "cut_analysis": {
            "transitions": [
                *(change("hard", t, t) for t in demo.CUTS),
                change("dissolve", *demo.DISSOLVE),
                change("fade", *demo.FADE),
            ]
        },
        "audio_analysis": {
            "tempo": {"bpm": demo.TEMPO},
            "silences": [{"start": demo.SILENCE.start, "end": second.start}],
        },
        "text_overlay": {
            "overlays": [{"text": c.text, "start": c.start, "end": c.end} for c in demo.CAPTIONS]
        },
        "speech_transcription": {
            "speech": [{"start": s.start, "end": s.end} for s in (first, second)]
        },
    }
    sections = {
        name: {"status": "ok", "output": outputs[name]}
        if name in outputs
        else {"status": "unavailable", "reason": "no weights"}
        for name in make_graph().order
    }
    return {"analyzers": sections}


def verdicts(report):
    return [line.verdict for line in demo.compare(report)]


def test_what_is_right_is_right_and_what_is_not_measured_says_so():
    lines = demo.compare(truth())
    assert {line.verdict for line in lines if line.truth} == {"right"}
    assert [line.what for line in lines if line.verdict == "not measured"] == [
        "object_detection",
        "age_estimation",
    ]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: r["cut_analysis"]["output"]["transitions"].pop(0),
        lambda r: r["cut_analysis"]["output"]["transitions"].append(
            {"kind": "hard", "start": 9.0, "end": 9.0}
        ),
        lambda r: r["cut_analysis"]["output"]["transitions"][2].update(end=8.8),
        lambda r: r["audio_analysis"]["output"].update(tempo=None),
        lambda r: r["audio_analysis"]["output"].update(silences=[]),
        lambda r: r["text_overlay"]["output"]["overlays"][1].update(text="Schone Grusse"),
        lambda r: r["text_overlay"]["output"]["overlays"][0].update(start=1.2),
        lambda r: r["speech_transcription"]["output"].update(speech=[]),
        lambda r: r["speech_transcription"]["output"]["speech"].append({"start": 5, "end": 9}),
    ],
)
def test_what_is_wrong_is_seen(spoil):
    report = json.loads(json.dumps(truth()))
    spoil(report["analyzers"])
    assert "wrong" in verdicts(report)
