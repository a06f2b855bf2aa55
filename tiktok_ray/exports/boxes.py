"""Bounding boxes over time for annotation and training tools: COCO, CVAT, Label Studio and FiftyOne.

What is boxed: tracks of objects, faces, posed persons and texts on the picture. All but COCO number
frames: they need a constant rate, or the times of the frames.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple
from xml.etree import ElementTree

from tiktok_ray import __version__
from tiktok_ray.exports import CannotExport, Report, line_of, media_name
from tiktok_ray.exports.editing import url_of
from tiktok_ray.exports.raster import Raster, raster_of
from tiktok_ray.methods.vision.object_tracks import GROUPS

Box = Sequence[float]
Times = Sequence[float] | None

#: Numbers that COCO's list of 91 classes has and its data do not use.
UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_IDS = dict(zip(GROUPS, (n for n in range(1, 91) if n not in UNUSED), strict=True))
#: Numbers of what COCO has no class for.
FACE, POSED, TEXT, OTHER = 1001, 1002, 1003, 2001
KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
#: COCO's limbs, as pairs of keypoints counted from 1.
SKELETON = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9),
    (8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip
#: Confidence from which a keypoint counts as visible (COCO's v = 2).
VISIBLE = 0.5
#: Kinds of events that are boxed, and so not told as stretches of time as well.
BOXED = ("object", "person", "face", "text")


class Tracked(NamedTuple):
    """One object with its boxes [x0, y0, x1, y1], 0..1, at the times of its detections.

    ``seen``: stretches of time in which it is there.
    """

    analyzer: str
    label: str
    group: str
    number: int
    times: list[float]
    boxes: list[Box]
    confidences: list[float]
    seen: list[tuple[float, float]]
    keypoints: list[list[float]] | None = None
    text: str | None = None


def tracked(report: Report) -> list[Tracked]:
    """Everything that has boxes. Raises ``CannotExport`` if no analyzer produced any."""
    makers = {
        "object_detection": _objects, "age_estimation": _faces, "body_pose": _posed,
        "text_overlay": _texts,
    }  # fmt: skip
    sections = report["analyzers"]
    outputs = {name: sections.get(name, {}).get("output") for name in makers}
    if not any(output is not None for output in outputs.values()):
        told = [f"{n} is {sections[n]['status'] if n in sections else 'missing'}" for n in makers]
        raise CannotExport(
            f"this report has no bounding boxes: {', '.join(told)}",
            "analyze the video with one of them",
        )
    return [
        one
        for name, output in outputs.items()
        if output is not None
        for one in makers[name](output)
    ]


def _objects(output: Report) -> Iterator[Tracked]:
    for one in output["tracks"]:
        yield Tracked(
            "object_detection", line_of(one["label"]), one["group"], one["track"], one["times"],
            one["boxes"], one["confidences"], [tuple(span) for span in one["seen"]],
        )  # fmt: skip


def _faces(output: Report) -> Iterator[Tracked]:
    for one in output["faces"]:
        yield Tracked(
            "age_estimation", "face", "person", one["track"], one["times"], one["boxes"],
            one["confidences"], [(one["start"], one["end"])],
        )  # fmt: skip


def _posed(output: Report) -> Iterator[Tracked]:
    for one in output["persons"]:
        yield Tracked(
            "body_pose", "posed person", "person", one["track"], one["times"], one["boxes"],
            [one["confidence"]] * len(one["times"]), [(one["start"], one["end"])],
            one["keypoints"],
        )  # fmt: skip


def _texts(output: Report) -> Iterator[Tracked]:
    for number, one in enumerate(output["overlays"], 1):
        yield Tracked(
            "text_overlay", one["kind"], "text", number, [one["start"]], [one["box"]],
            [one["confidence"]], [(one["start"], one["end"])], text=line_of(one["text"]),
        )  # fmt: skip


def counted(report: Report, times: Times) -> Raster:
    """The frames of the video. Raises ``CannotExport`` if frame numbers cannot be derived from times."""
    frames = raster_of(report, times)
    if not frames.counts:
        raise CannotExport(
            "the frame rate of this video varies, and the format numbers frames: frame numbers cannot "
            "be derived from timestamps alone",
            "also give the video (--video), or export to coco, csv or jsonl, which use timestamps",
        )
    return frames


# COCO


def coco(report: Report, times: Times = None) -> str:
    """COCO's format of detections: a picture for each time with boxes, numbered in ``images``.

    Classes have COCO's own numbers, so that it can be compared with COCO's ground truth. Beyond
    COCO: ``timestamp_s``, ``frame_index`` (where it is known), ``track_id``, ``score``.
    """
    frames, video = raster_of(report, times), report["video"]
    width, height = video["width"], video["height"]
    things = tracked(report)
    stem = PurePath(media_name(report)).stem
    moments = sorted({t for one in things for t in one.times})
    numbers = {t: number for number, t in enumerate(moments, 1)}
    images = []
    for t, number in numbers.items():
        name = f"{stem}_{frames.frame(t):06d}.jpg" if frames.counts else f"{stem}_{t:.4f}s.jpg"
        image = {
            "id": number,
            "file_name": name,
            "width": width,
            "height": height,
            "timestamp_s": t,
        }
        images.append(image | ({"frame_index": frames.frame(t)} if frames.counts else {}))
    categories = _categories(things)
    annotations: list[dict[str, Any]] = []
    for track_id, one in enumerate(things, 1):
        category = categories[one.label]["id"]
        for k, t in enumerate(one.times):
            x0, y0, x1, y1 = _pixels(one.boxes[k], width, height)
            made = {
                "id": len(annotations) + 1, "image_id": numbers[t], "category_id": category,
                "bbox": [x0, y0, _short(x1 - x0), _short(y1 - y0)],
                "area": _short((x1 - x0) * (y1 - y0)), "iscrowd": 0, "segmentation": [],
                "score": one.confidences[k], "track_id": track_id, "analyzer": one.analyzer,
            }  # fmt: skip
            if one.text is not None:
                made["text"] = one.text
            if one.keypoints is not None:
                made |= _keypoints(one.keypoints[k], width, height)
            annotations.append(made)
    info = {
        "description": f"Made from the report on {line_of(video['source'])}",
        "version": __version__,
    }
    whole = {
        "info": info, "licenses": [], "images": images, "annotations": annotations,
        "categories": sorted(categories.values(), key=lambda one: one["id"]),
    }  # fmt: skip
    return json.dumps(whole, ensure_ascii=False) + "\n"


def _categories(things: Sequence[Tracked]) -> dict[str, dict[str, Any]]:
    """Classes by label: COCO's 80, those found beyond them, and the rest that is boxed here."""
    made: dict[str, dict[str, Any]] = {
        label: {"id": number, "name": label, "supercategory": GROUPS[label]}
        for label, number in COCO_IDS.items()
    }
    made["face"] = {"id": FACE, "name": "face", "supercategory": "person"}
    made["posed person"] = {
        "id": POSED, "name": "posed person", "supercategory": "person",
        "keypoints": KEYPOINTS, "skeleton": SKELETON,
    }  # fmt: skip
    texts = ("caption", "watermark", "scene_text")
    made |= {t: {"id": TEXT + k, "name": t, "supercategory": "text"} for k, t in enumerate(texts)}
    others = sorted({(one.label, one.group) for one in things if one.label not in made})
    made |= {
        label: {"id": OTHER + k, "name": label, "supercategory": group}
        for k, (label, group) in enumerate(others)
    }
    return made


def _keypoints(flat: Sequence[float], width: int, height: int) -> dict[str, Any]:
    points: list[float] = []
    for k in range(0, len(flat), 3):
        x, y, confidence = flat[k : k + 3]
        points += [_short(x * width), _short(y * height), 2] if confidence >= VISIBLE else [0, 0, 0]
    return {"keypoints": points, "num_keypoints": sum(v > 0 for v in points[2::3])}


def _pixels(box: Box, width: int, height: int) -> list[float]:
    return [_short(v * size) for v, size in zip(box, (width, height, width, height), strict=True)]


def _short(value: float) -> float:
    return round(value, 2)


# CVAT, Label Studio, FiftyOne


class Keyframe(NamedTuple):
    """A box at a frame; ``there`` is False at the first frame without the object."""

    frame: int
    time: float
    box: Box
    there: bool


def keyframes(one: Tracked, frames: Raster) -> list[Keyframe]:
    """Detections of a track by ascending frame, with the end of each span after its last detection."""
    made: dict[int, Keyframe] = {}
    for start, end in one.seen:
        near = [k for k, t in enumerate(one.times) if start - 1e-3 <= t <= end + 1e-3]
        if not near:
            continue
        for k in near:
            frame = min(frames.frame(one.times[k]), frames.total - 1)
            made[frame] = Keyframe(frame, one.times[k], one.boxes[k], True)
        last = max(made)
        after = max(frames.frame(end), last + 1)
        if after < frames.total:
            made[after] = Keyframe(after, end, one.boxes[near[-1]], False)
    return [made[frame] for frame in sorted(made)]


def cvat(report: Report, times: Times = None) -> str:
    """CVAT for video 1.1: tracks, whose boxes CVAT interpolates between keyframes."""
    frames, video = counted(report, times), report["video"]
    things = tracked(report)
    root = ElementTree.Element("annotations")
    _text(root, "version", "1.1")
    task = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    for name, value in (
        ("size", frames.total), ("mode", "interpolation"), ("overlap", 0), ("start_frame", 0),
        ("stop_frame", frames.total - 1),
    ):  # fmt: skip
        _text(task, name, str(value))
    labels = ElementTree.SubElement(task, "labels")
    for name in sorted({one.label for one in things}):
        label = ElementTree.SubElement(labels, "label")
        _text(label, "name", name)
        attribute = ElementTree.SubElement(ElementTree.SubElement(label, "attributes"), "attribute")
        for field, value in (
            ("name", "text"), ("mutable", "False"), ("input_type", "text"),
            ("default_value", ""), ("values", ""),
        ):  # fmt: skip
            _text(attribute, field, value)
    size = ElementTree.SubElement(task, "original_size")
    _text(size, "width", str(video["width"]))
    _text(size, "height", str(video["height"]))
    _text(task, "source", line_of(PurePath(media_name(report)).name))
    for number, one in enumerate(things):
        track = ElementTree.SubElement(
            root, "track", id=str(number), label=one.label, source="auto"
        )
        for key in keyframes(one, frames):
            corners = map(str, _pixels(key.box, video["width"], video["height"]))
            place = dict(zip(("xtl", "ytl", "xbr", "ybr"), corners, strict=True))
            box = ElementTree.SubElement(
                track, "box", place, frame=str(key.frame), outside=str(int(not key.there)),
                occluded="0", keyframe="1", z_order="0",
            )  # fmt: skip
            attribute = ElementTree.SubElement(box, "attribute", name="text")
            attribute.text = one.text or ""
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(
        root, encoding="unicode"
    )


def _text(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text


#: The labelling interface in Label Studio for which its tasks are made.
LABEL_STUDIO = """<View>
 <Video name="video" value="$video" framerate="{fps}"/>
 <VideoRectangle name="box" toName="video"/>
 <Labels name="label" toName="video">{labels}</Labels>
 <TimelineLabels name="event" toName="video">{kinds}</TimelineLabels>
</View>"""


def label_studio(report: Report, times: Times = None) -> str:
    """A task with predictions for Label Studio: boxes by track, time spans by kind.

    ``meta.label_config`` is the labelling interface that it fits.
    """
    frames, video = counted(report, times), report["video"]
    things = tracked(report)
    stretches = _stretches(report, frames)
    base = {"to_name": "video", "origin": "prediction"}
    result: list[dict[str, Any]] = []
    for number, one in enumerate(things):
        sequence = [
            {
                "frame": key.frame + 1, "time": key.time, "enabled": key.there, "rotation": 0,
                "x": _percent(key.box[0]), "y": _percent(key.box[1]),
                "width": _percent(key.box[2] - key.box[0]),
                "height": _percent(key.box[3] - key.box[1]),
            }
            for key in keyframes(one, frames)
        ]  # fmt: skip
        value = {
            "framesCount": frames.total, "duration": video["duration_s"], "sequence": sequence,
            "labels": [one.label],
        }  # fmt: skip
        meta = {"text": [one.text]} if one.text else {}
        score = sum(one.confidences) / len(one.confidences)
        result.append(
            {**base, "id": f"box{number}", "from_name": "box", "type": "videorectangle",
             "value": value, "score": round(score, 4), "meta": meta}
        )  # fmt: skip
    for number, (kind, label, first, after) in enumerate(stretches):
        value = {"ranges": [{"start": first + 1, "end": after}], "timelinelabels": [kind]}
        result.append(
            {**base, "id": f"event{number}", "from_name": "event", "type": "timelinelabels",
             "value": value, "meta": {"text": [label]}}
        )  # fmt: skip
    task = {
        "data": {"video": url_of(media_name(report))},
        "predictions": [{"model_version": f"tiktok_ray {__version__}", "result": result}],
        "meta": {"label_config": _interface(things, stretches, frames)},
    }
    return json.dumps([task], ensure_ascii=False) + "\n"


def _interface(
    things: Sequence[Tracked], stretches: Sequence[tuple[str, str, int, int]], frames: Raster
) -> str:
    from xml.sax.saxutils import quoteattr

    def values(names: set[str]) -> str:
        return "".join(f"<Label value={quoteattr(name)}/>" for name in sorted(names))

    return LABEL_STUDIO.format(
        fps=f"{float(frames.rate):.5g}",
        labels=values({one.label for one in things}),
        kinds=values({kind for kind, *_ in stretches}),
    )


def _percent(share: float) -> float:
    return round(100 * share, 3)


def _stretches(report: Report, frames: Raster) -> list[tuple[str, str, int, int]]:
    """Kind, label, first frame and the one after the last of what has no boxes."""
    return [
        (event["kind"], line_of(event["label"]), *frames.span(event["start"], event["end"]))
        for event in report["timeline"]
        if event["kind"] not in BOXED
    ]


def fiftyone(report: Report, times: Times = None) -> str:
    """Labels of one video in ETA's VideoLabels, which FiftyOne imports as
    ``FiftyOneVideoLabelsDataset``; frames count from 1, and only those looked at have boxes."""
    frames = counted(report, times)
    things = tracked(report)
    by_frame: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for number, one in enumerate(things, 1):
        for t, box, confidence in zip(one.times, one.boxes, one.confidences, strict=True):
            frame = min(frames.frame(t), frames.total - 1) + 1
            corners = {
                "top_left": {"x": box[0], "y": box[1]},
                "bottom_right": {"x": box[2], "y": box[3]},
            }
            made = {
                "type": "eta.core.objects.DetectedObject", "label": one.label,
                "bounding_box": corners, "confidence": confidence, "index": number,
                "frame_number": frame,
            }  # fmt: skip
            if one.text is not None:
                value = {
                    "type": "eta.core.data.CategoricalAttribute",
                    "name": "text",
                    "value": one.text,
                }
                made["attrs"] = {"attrs": [value]}
            by_frame[frame].append(made)
    events = [
        {
            "type": "eta.core.events.VideoEvent", "name": kind, "label": label,
            "support": {"ranges": f"{first + 1}-{after}" if after > first + 1 else f"{after}"},
        }
        for kind, label, first, after in _stretches(report, frames)
    ]  # fmt: skip
    whole = {
        "filename": PurePath(media_name(report)).name,
        "frames": {
            str(frame): {"frame_number": frame, "objects": {"objects": found}}
            for frame, found in sorted(by_frame.items())
        },
        "events": {"events": events},
    }
    return json.dumps(whole, ensure_ascii=False) + "\n"
