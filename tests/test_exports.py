"""Exports: each format is read back by its own tool where there is one, to the frame."""

import csv
import io
import json
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import av
import opentimelineio
import pytest
from pycocotools.coco import COCO
from typer.testing import CliRunner

from actors.cut_analysis import CutAnalysis
from tests import viewer_reports as made
from tests.files import film, slide
from tiktok_ray.cli import app
from tiktok_ray.exports import FORMATS, CannotExport, file_of, line_of
from tiktok_ray.exports.boxes import COCO_IDS
from tiktok_ray.exports.raster import raster_of
from tiktok_ray.files import sha256_of
from tiktok_ray.graph import Graph
from tiktok_ray.run.engine import Engine, Source
from tiktok_ray.run.placement import plan
from tiktok_ray.run.threads import LocalWorkers

NTSC = Fraction(30_000, 1001)
HOSTILE = (made.hostile, lambda: made.report(title="\n", source="-->=,;#\\ \x00.mp4"))


def shots_at(frames: list[int], rate: Fraction, **about: Any) -> dict[str, Any]:
    """A report of a video with a constant rate whose shots begin at these frames; the last ends it."""
    end = float(frames[-1] / rate)
    report = made.report(20.0, fps=round(float(rate), 4), duration_s=round(end, 4), **about)
    edges = [round(float(frame / rate), 4) for frame in frames]
    report["analyzers"]["cut_analysis"]["output"]["shots"] = [
        {"start": a, "end": b, "index": k} for k, (a, b) in enumerate(pairwise(edges))
    ]
    return report


def about(seconds: float, fps: float, variable: bool = False) -> dict[str, Any]:
    return {"video": {"duration_s": seconds, "fps": fps, "variable_fps": variable}}


# Rates and timecode


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        (29.97, NTSC),
        (29.9703, NTSC),
        (30.0, Fraction(30)),
        (23.976, Fraction(24_000, 1001)),
        (24.0, Fraction(24)),
        (59.9401, Fraction(60_000, 1001)),
        (14.985, Fraction(15_000, 1001)),
        (119.8801, Fraction(120_000, 1001)),
        (12.5, Fraction(25, 2)),
        (10.0, Fraction(10)),
    ],
)
def test_a_mean_rate_is_the_ratio_it_stands_for(fps: float, rate: Fraction):
    assert raster_of(about(10.0, fps)).rate == rate


@pytest.mark.parametrize(
    ("fps", "frame", "code"),
    [
        (29.97, 1799, "00:00:59;29"),
        (29.97, 1800, "00:01:00;02"),
        (29.97, 17_981, "00:09:59;29"),
        (29.97, 17_982, "00:10:00;00"),
        (59.9401, 3599, "00:00:59;59"),
        (59.9401, 3600, "00:01:00;04"),
        (59.9401, 35_964, "00:10:00;00"),
        (30.0, 1800, "00:01:00:00"),
        (25.0, 1500, "00:01:00:00"),
        (23.976, 1440, "00:01:00:00"),
        (60.0, 3661, "00:01:01:01"),
    ],
)
def test_timecode_is_that_of_the_standard(fps: float, frame: int, code: str):
    """Drop-frame leaves out two (or four) numbers each minute but every tenth (ST 12-1)."""
    frames = raster_of(about(1000.0, fps))
    seconds = round(float(frame / frames.rate), 4)
    assert (frames.frame(seconds), frames.timecode(seconds)) == (frame, code)


@pytest.mark.parametrize("fps", [24.0, 23.976, 29.97, 30.0, 59.9401, 60.0])
def test_every_frame_of_twenty_minutes_keeps_its_number(fps: float):
    """Reports hold times to four decimals."""
    frames = raster_of(about(1200.0, fps))
    wrong = [k for k in range(frames.total) if frames.frame(round(float(k / frames.rate), 4)) != k]
    assert wrong == []


def test_a_short_clip_has_the_rate_that_moves_none_of_its_frames():
    """18 frames of a phone: their mean is 60.06, which no editor has."""
    assert raster_of(about(0.2997, 60.06)).rate == 60
    assert raster_of(about(60.0, 60.06)).rate == Fraction(3003, 50)


def test_uneven_frames_have_no_timecode():
    frames = raster_of(about(60.0, 29.4, variable=True))
    assert (frames.rate, frames.steady) == (NTSC, False)
    assert frames.timecode(1.0) is None
    assert raster_of(about(60.0, 10.0)).timecode(1.0) is None


# Editing


@pytest.mark.parametrize("rate", [NTSC, Fraction(30), Fraction(25), Fraction(60_000, 1001)])
@pytest.mark.parametrize("to", ["otio", "edl"])
def test_editors_get_the_shots_to_the_frame(to: str, rate: Fraction):
    cuts = [0, 100, 1799, 1800, 3600, 17_982, 18_000]
    text = file_of(shots_at(cuts, rate), to)  # type: ignore[arg-type]
    name, more = ("otio_json", {}) if to == "otio" else ("cmx_3600", {"rate": float(rate)})
    read = opentimelineio.adapters.read_from_string(text, name, **more)
    track = next(t for t in read.tracks if t.kind == "Video")
    clips = list(track.find_clips())
    assert [c.source_range.start_time.value for c in clips] == cuts[:-1]
    assert [c.source_range.end_time_exclusive().value for c in clips] == cuts[1:]
    assert [track.trimmed_range_of_child(c).start_time.value for c in clips] == cuts[:-1]
    assert {c.source_range.start_time.rate for c in clips} == {float(rate)}
    assert [c.name for c in clips] == [f"Shot {k}" for k in range(1, 7)]


def test_an_edit_list_says_how_it_counts():
    drops = file_of(shots_at([0, 1800, 3000], NTSC, title="Soup"), "edl").splitlines()
    assert drops[:2] == ["TITLE: Soup", "FCM: DROP FRAME"]
    assert "00:01:00;02 00:01:40;02" in drops[6]
    assert "FCM: NON-DROP FRAME" in file_of(shots_at([0, 1800, 3000], Fraction(30)), "edl")


def test_an_edit_list_needs_a_rate_with_timecode():
    with pytest.raises(CannotExport, match="12.5 frames per second"):
        file_of(shots_at([0, 50], Fraction(25, 2)), "edl")
    uneven = shots_at([0, 100, 200], NTSC) | {}
    uneven["video"]["variable_fps"] = True
    text = file_of(uneven, "edl")
    assert "not evenly spaced" in text
    assert opentimelineio.adapters.read_from_string(text, "cmx_3600", rate=float(NTSC))


def test_marks_stand_where_events_begin():
    report = made.report()
    read = opentimelineio.adapters.read_from_string(file_of(report, "otio"), "otio_json")
    marks = {(m.name, m.marked_range.start_time.value) for m in read.tracks.markers}
    events = [e for e in report["timeline"] if e["kind"] in ("scene", "text", "speech", "moment")]
    assert {(e["label"], round(e["start"] * 30)) for e in events} <= marks
    assert [t.kind for t in read.tracks] == ["Video", "Audio"]
    assert read.metadata["tiktok_ray"]["sha256"] == report["video"]["sha256"]


def test_the_file_is_named_so_that_editors_find_it():
    def url(**video: Any) -> str:
        text = file_of(made.report(**video), "otio")
        read = opentimelineio.adapters.read_from_string(text, "otio_json")
        return str(read.find_clips()[0].media_reference.target_url)

    assert url(source="/tmp/my clip.mp4") == "file:///tmp/my%20clip.mp4"
    assert url(source="my clip.mp4") == "my%20clip.mp4"
    assert url(source="https://www.tiktok.com/@a/video/1", id="tiktok-1").startswith("tiktok-1.")


def apple_seconds(text: str) -> Fraction:
    return Fraction(text.removesuffix("s"))


@pytest.mark.parametrize("rate", [NTSC, Fraction(24_000, 1001), Fraction(25), Fraction(12)])
def test_final_cut_gets_whole_frames(rate: Fraction):
    cuts = [0, 100, 1799, 1800, 3000]
    root = ElementTree.fromstring(file_of(shots_at(cuts, rate), "fcpxml"))
    clips = root.findall("library/event/project/sequence/spine/asset-clip")
    starts = [apple_seconds(c.attrib["offset"]) * rate for c in clips]
    assert starts == [apple_seconds(c.attrib["start"]) * rate for c in clips] == cuts[:-1]
    assert [apple_seconds(c.attrib["duration"]) * rate for c in clips] == [100, 1699, 1, 1200]
    [format] = root.findall("resources/format")
    assert apple_seconds(format.attrib["frameDuration"]) == 1 / rate
    for clip in clips:
        begin = apple_seconds(clip.attrib["start"])
        end = begin + apple_seconds(clip.attrib["duration"])
        for mark in clip.iter("marker"):
            start, length = (apple_seconds(mark.attrib[n]) for n in ("start", "duration"))
            assert begin <= start < start + length <= end
            assert (start * rate).denominator == (length * rate).denominator == 1
    counted = "DF" if rate == NTSC else "NDF"
    assert {c.attrib["tcFormat"] for c in clips} == {counted}


def test_final_cut_xml_is_read_by_the_adapter_of_opentimelineio():
    """Where it keeps to the frame: at whole rates, and not at every frame (``findings/``)."""
    cuts = [0, 100, 1800, 3000]
    text = file_of(shots_at(cuts, Fraction(25)), "fcpxml")
    clips = list(opentimelineio.adapters.read_from_string(text, "fcpx_xml").find_clips())
    assert [c.source_range.start_time.to_frames() for c in clips] == cuts[:-1]
    assert [c.source_range.end_time_exclusive().to_frames() for c in clips] == cuts[1:]


def test_chapters_are_read_by_ffmpeg():
    report = made.report(fps=29.97, title="a=b;c#d\\e")
    with av.open(io.BytesIO(file_of(report, "chapters").encode()), format="ffmetadata") as read:
        found = read.chapters()
        assert read.metadata["title"] == "a=b;c#d\\e"
    scenes = report["analyzers"]["scene_segmentation"]["output"]["scenes"]
    assert len(found) == len(scenes) > 1
    for number, (chapter, scene) in enumerate(zip(found, scenes, strict=True), 1):
        assert chapter["time_base"] == 1 / NTSC
        assert chapter["start"] == round(scene["start"] * NTSC)
        assert chapter["metadata"]["title"].startswith(f"Scene {number}: ")


def test_a_file_with_chapters_keeps_its_own():
    report = made.report()
    report["video"]["chapters"] = [
        {"start": 1.0, "end": 2.0, "title": "Soup"},
        {"start": 2.0, "end": 9.0},
    ]
    with av.open(io.BytesIO(file_of(report, "chapters").encode()), format="ffmetadata") as read:
        assert [c["metadata"]["title"] for c in read.chapters()] == ["Soup", "Chapter 2"]


@pytest.mark.slow
async def test_cuts_of_a_drop_frame_file_come_out_at_their_frames(settings: Any, tmp_path: Path):
    """The whole way, from a file of 30000/1001 per second: cuts at frames 900 and 1800."""
    slides = [slide(k, 96, 64) for k in range(3)]
    path = film(tmp_path / "ntsc.mp4", [slides[k // 900] for k in range(1900)], fps="30000/1001")
    graph = Graph([CutAnalysis])
    workers = LocalWorkers(graph, plan(graph.analyzers.values(), settings), settings)
    report = await Engine(graph, workers, settings).analyze(Source(path, path.name))
    text = file_of(json.loads(report.to_json()), "edl")
    assert "00:00:30;00 00:01:00;02 00:00:30;00 00:01:00;02" in text
    read = opentimelineio.adapters.read_from_string(text, "cmx_3600", rate=float(NTSC))
    assert [c.source_range.start_time.value for c in read.find_clips()] == [0, 900, 1800]


# Tables


def test_the_table_has_every_event_with_its_frames():
    report = made.report(fps=29.97)
    table = list(csv.DictReader(io.StringIO(file_of(report, "csv"), newline="")))
    lines = [json.loads(line) for line in file_of(report, "jsonl").splitlines()]
    assert len(table) == len(lines) == len(report["timeline"]) > 20
    for row, line, event in zip(table, lines, report["timeline"], strict=True):
        assert float(row["start_s"]) == line["start_s"] == event["start"]
        assert int(row["start_frame"]) == line["start_frame"] == round(event["start"] * NTSC)
        assert row["kind"] == line["kind"] == event["kind"]
        assert ("confidence" in line) == (row["confidence"] != "") == ("confidence" in event)
    uneven = made.report(variable_fps=True)
    assert {row["start_frame"] for row in csv.DictReader(io.StringIO(file_of(uneven, "csv")))} == {
        ""
    }


# Boxes


def test_coco_is_read_by_its_own_tools(tmp_path: Path):
    report = made.report()
    path = tmp_path / "boxes.json"
    path.write_text(file_of(report, "coco"), encoding="utf-8")
    read = COCO(str(path))
    [track] = report["analyzers"]["object_detection"]["output"]["tracks"][:1]
    assert read.loadCats(1)[0]["name"] == "person"
    found = [a for a in read.loadAnns(read.getAnnIds()) if a["track_id"] == 1]
    assert {a["category_id"] for a in found} == {COCO_IDS[track["label"]]}
    assert len(found) == len(track["times"])
    width, height = report["video"]["width"], report["video"]["height"]
    for one, t, (x0, y0, x1, y1) in zip(found, track["times"], track["boxes"], strict=True):
        image = read.loadImgs(one["image_id"])[0]
        assert (image["timestamp_s"], image["frame_index"]) == (t, round(t * 30))
        expected = [x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height]
        assert one["bbox"] == pytest.approx(expected, abs=0.02)
    [posed] = {a["category_id"] for a in read.anns.values() if "keypoints" in a}
    assert len(read.loadCats(posed)[0]["keypoints"]) == 17
    kept = ("image_id", "category_id", "bbox", "score")
    results = [{k: a[k] for k in kept} for a in read.anns.values() if "keypoints" not in a]
    again = read.loadRes(results)
    assert len(again.anns) == len(results)


def test_classes_have_the_numbers_of_coco():
    numbers = {"person": 1, "stop sign": 13, "umbrella": 28, "cup": 47, "tv": 72, "toothbrush": 90}
    assert {label: COCO_IDS[label] for label in numbers} == numbers
    assert len(COCO_IDS) == 80


def one_track(times: list[float], seen: list[tuple[float, float]]) -> dict[str, Any]:
    """A report of 4 s at 30 per second with one cup, and nothing else that has boxes."""
    report = made.report(4.0)
    for name in ("age_estimation", "body_pose", "text_overlay"):
        del report["analyzers"][name]["output"]
    track = {
        "start": times[0], "end": seen[-1][1], "track": 1, "label": "cup", "group": "kitchen",
        "confidence": 0.8, "seen": seen, "times": times, "area": 0.1,
        "boxes": [[0.1, 0.2, 0.5, 0.6]] * len(times), "confidences": [0.8] * len(times),
    }  # fmt: skip
    report["analyzers"]["object_detection"]["output"]["tracks"] = [track]
    return report


def test_a_track_ends_with_each_stretch_in_which_it_is_seen():
    """From the frame after a stretch nothing is drawn, until the next begins."""
    report = one_track([0.0, 0.5, 2.0, 3.5], [(0.0, 1.0), (2.0, 4.0)])
    frames = [(0, "0"), (15, "0"), (30, "1"), (60, "0"), (105, "0")]
    [track] = ElementTree.fromstring(file_of(report, "cvat")).findall("track")
    assert [(int(b.attrib["frame"]), b.attrib["outside"]) for b in track.iter("box")] == frames
    [task] = json.loads(file_of(report, "label-studio"))
    [box] = [r for r in task["predictions"][0]["result"] if r["type"] == "videorectangle"]
    sequence = box["value"]["sequence"]
    assert [(k["frame"] - 1, str(int(not k["enabled"]))) for k in sequence] == frames
    labels = json.loads(file_of(report, "fiftyone"))
    assert [int(f) - 1 for f in labels["frames"]] == [0, 15, 60, 105]


def test_boxes_lie_where_they_were_found():
    report = one_track([0.0, 0.5], [(0.0, 1.0)])
    box = next(ElementTree.fromstring(file_of(report, "cvat")).iter("box"))
    corners = [float(box.attrib[n]) for n in ("xtl", "ytl", "xbr", "ybr")]
    width, height = report["video"]["width"], report["video"]["height"]
    assert corners == pytest.approx([0.1 * width, 0.2 * height, 0.5 * width, 0.6 * height])
    [task] = json.loads(file_of(report, "label-studio"))
    first = task["predictions"][0]["result"][0]["value"]["sequence"][0]
    assert [first[n] for n in ("x", "y", "width", "height")] == pytest.approx([10, 20, 40, 40])
    labels = json.loads(file_of(report, "fiftyone"))
    [thing] = labels["frames"]["1"]["objects"]["objects"]
    assert thing["bounding_box"]["bottom_right"] == {"x": 0.5, "y": 0.6}


def test_the_labelling_interface_knows_every_label():
    [task] = json.loads(file_of(made.report(), "label-studio"))
    root = ElementTree.fromstring(task["meta"]["label_config"])
    known = {label.attrib["value"] for label in root.iter("Label")}
    names = {tag.attrib["name"] for tag in root}
    for one in task["predictions"][0]["result"]:
        assert one["from_name"] in names
        assert set(one["value"].get("labels") or one["value"]["timelinelabels"]) <= known


def test_stretches_are_told_to_fiftyone_in_frames_from_one():
    labels = json.loads(file_of(made.report(), "fiftyone"))
    shots = [e for e in labels["events"]["events"] if e["name"] == "shot"]
    assert [e["support"]["ranges"] for e in shots][:2] == ["1-120", "121-240"]


# What every format keeps to


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_words_stay_words(to: Any, hostile: Callable[[], dict[str, Any]]):
    text = file_of(hostile(), to)
    text.encode()
    if FORMATS[to].media_type == "application/xml":
        ElementTree.fromstring(text)
    elif to == "jsonl":
        assert all(json.loads(line) for line in text.split("\n") if line)
    elif FORMATS[to].media_type == "application/json":
        json.loads(text)
    elif to == "csv":
        assert {len(row) for row in csv.reader(io.StringIO(text, newline=""))} == {10}
    elif to == "edl":
        read = opentimelineio.adapters.read_from_string(text, "cmx_3600", rate=30)
        assert len(list(read.find_clips())) == 5
    elif to == "text":
        assert text.count("\nSHOTS, seconds\n") == 1
        assert not any(character in text for character in "\x00\ud800\u2028")
    else:
        with av.open(io.BytesIO(text.encode()), format="ffmetadata") as read:
            assert len(read.chapters()) == 3


def test_a_line_holds_no_controls():
    assert (
        line_of(" a\r\nb\u2028c\x00\x1b[1m \ud800 \ufffe 👩\u200d🍳 ")
        == "a b c[1m \ufffd \ufffd 👩\u200d🍳"
    )


@pytest.mark.parametrize(
    ("to", "lacking"),
    [
        ("otio", ["cut_analysis"]),
        ("edl", ["cut_analysis"]),
        ("fcpxml", ["cut_analysis"]),
        ("chapters", ["scene_segmentation"]),
        *((to, ["object_detection", "age_estimation", "body_pose", "text_overlay"])
          for to in ("coco", "cvat", "label-studio", "fiftyone")),
    ],
)  # fmt: skip
def test_what_a_report_lacks_is_named(to: Any, lacking: list[str]):
    report = made.report()
    for name in lacking:
        report["analyzers"][name] = {"status": "failed", "reason": "ValueError: soup"}
    with pytest.raises(CannotExport, match=f"{lacking[0]} is failed") as caught:
        file_of(report, to)
    assert lacking[0] in caught.value.advice or len(lacking) > 1


@pytest.mark.parametrize("to", ["cvat", "label-studio", "fiftyone"])
def test_frames_are_not_counted_where_times_do_not_tell_them(to: Any):
    with pytest.raises(CannotExport, match="rate of this video varies"):
        file_of(made.report(variable_fps=True), to)
    boxes = json.loads(file_of(made.report(variable_fps=True), "coco"))
    assert not any("frame_index" in image for image in boxes["images"])


def test_the_command_exports(tmp_path: Path):
    run = CliRunner().invoke
    result = tmp_path / "report.json"
    result.write_text(json.dumps(made.report()))
    out = tmp_path / "boxes.json"
    assert run(app, ["export", str(result), "--to", "coco", "-o", str(out)]).exit_code == 0
    assert COCO(str(out)).anns
    assert run(app, ["export", str(result), "--to", "edl"]).stdout.startswith("TITLE: ")
    unknown = run(app, ["export", str(result), "--to", "avi"])
    assert unknown.exit_code == 2
    assert "label-studio" in unknown.stderr
    assert run(app, ["export", str(tmp_path / "none.json"), "--to", "csv"]).exit_code == 3
    result.write_text(json.dumps(made.report(variable_fps=True)))
    refused = run(app, ["export", str(result), "--to", "cvat"])
    assert refused.exit_code == 3
    assert "also give the video (--video)" in refused.stderr


@pytest.mark.slow
def test_the_video_tells_the_frames_where_their_rate_varies(tmp_path: Path):
    """Ten frames at 10 per second whose third to fifth are gone: what stands at 0.8 s is frame 5."""
    run = CliRunner().invoke
    path = film(
        tmp_path / "uneven.mp4", [slide(k, 96, 64) for k in range(10)], fps="10",
        extra=("-filter:v", "select='not(between(n,2,4))'", "-fps_mode", "vfr"),
    )  # fmt: skip
    report = one_track([0.1, 0.8], [(0.1, 0.9)])
    report["video"] |= {"variable_fps": True, "fps": 7.0, "duration_s": 1.0}
    report["video"]["sha256"] = sha256_of(path)
    result = tmp_path / "report.json"
    result.write_text(json.dumps(report))
    call = ["export", str(result), "--to", "cvat"]
    assert run(app, call).exit_code == 3
    made = run(app, [*call, "--video", str(path)])
    assert made.exit_code == 0, made.stderr
    [track] = ElementTree.fromstring(made.stdout).findall("track")
    boxes = [(int(b.attrib["frame"]), b.attrib["outside"]) for b in track.iter("box")]
    assert boxes == [(1, "0"), (5, "0"), (6, "1")]
    other = film(tmp_path / "other.mp4", [slide(1, 96, 64)] * 3, fps="10")
    assert run(app, [*call, "--video", str(other)]).exit_code == 2
