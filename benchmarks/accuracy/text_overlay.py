"""Caption recall, character error rate, and when captions come and go.

Factory clips by script and by condition, beside plain RapidOCR and EasyOCR (English), which read
the picture in the middle of each caption; real clips as single rows.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actors.text_overlay import Overlay, Overlays
from benchmarks.accuracy import Absent, Bench, Figure, Row
from benchmarks.accuracy._calibration import calibration
from benchmarks.accuracy._figures import share_figure
from benchmarks.accuracy._texts import (
    DENSE_S,
    Peer,
    Reading,
    easy_ocr,
    edits,
    measured,
    rapid_ocr,
)
from benchmarks.factory.captions import CONDITIONS, TEXTS
from tiktok_ray.media.writer import write_clip

COMPOSITE = "video/short_vertical_composite.mp4"
SLIDE = (
    "Reduce your risk of coronavirus infection:",
    "Clean hands with soap and water",
    "or alcohol-based hand rub",
    "Cover nose and mouth when coughing and",
    "sneezing with tissue or flexed elbow",
    "Avoid close contact with anyone with",
    "cold or flu-like symptoms",
    "Thoroughly cook meat and eggs",
    "No unprotected contact with live wild",
    "or farm animals",
    "World Health",
    "Organization",
)
ACCENTS = (
    "Schöne Grüße, Café!",
    "Übermäßig süß",
    "Où êtes-vous, ça va?",
    "El niño y la señora",
    "Łódź, Plzeň, Győr",
)


#: Which fields the figures are errors of.
FIELDS = {
    ("CER", "all"): ("overlays.text",),
    ("edges within one dense frame", "all"): ("overlays.start", "overlays.end"),
    ("ECE", "Latin"): ("overlays.confidence",),
}
#: A reader so slow on the CPU that it reads but few of the clips, fewer of a share.
EASY, EASY_CLIPS = "EasyOCR English, plain", 4
#: Most characters wrong in Latin scripts, and least share of edges within a picture of ``dense``.
MOST_WRONG, LEAST_IN_TIME = 0.02, 1.0


def figures(bench: Bench) -> Iterator[Figure]:
    peers = {"RapidOCR, plain": Peer(rapid_ocr())}
    if few := round(EASY_CLIPS * bench.share):
        try:
            peers[EASY] = Peer(easy_ocr(bench.settings.models), frozenset({"Latin"}), few)
        except Absent as reason:
            yield Figure("CER", "Latin", "all", "factory", 0, None, by=EASY, reason=str(reason))
    known, lacking = measured(bench, peers)
    for lack in lacking:
        yield Figure("CER", lack.split()[2], "all", "factory", 0, None, reason=lack)
    for script in TEXTS:
        if some := [one for one in known if one.kind == script]:
            yield from of_captions(some, script, "all", script == "Latin")
    for condition in CONDITIONS:
        if some := [one for one in known if one.kind == "Latin" and one.condition == condition]:
            yield from of_captions(some, "Latin", condition, False)
    if some := [one for one in known if EASY in one.peers]:
        yield from of_captions(some, "Latin", "clips that EasyOCR read too", False)
    if sure := [pair for one in known if one.kind == "Latin" for pair in one.sure]:
        yield from calibration(sure, "confidence of captions", "Latin", "factory")


def of_captions(
    some: Sequence[Reading], script: str, condition: str, bound: bool
) -> Iterator[Figure]:
    """Errors, times, what was named as unread and what was said too much, of one group."""

    def told(measure: str, pair: Callable[[Reading], tuple[float, float]], **more: Any) -> Figure:
        return share_figure(measure, script, condition, [pair(one) for one in some], **more)

    yield told("CER", lambda one: (one.wrong, one.characters), most=MOST_WRONG if bound else None)
    for name in some[0].peers:
        if any(name not in one.peers for one in some):
            continue
        yield told("CER", lambda one, who=name: (one.peers[who], one.characters), by=name)  # type: ignore[misc]
    yield told("read or named unread", lambda one: (one.read + one.named, one.captions), least=1.0)
    yield told(
        "edges within one dense frame",
        lambda one: (sum(abs(t) <= DENSE_S + 1e-6 for t in one.off), len(one.off)),
        least=LEAST_IN_TIME if bound else None,
    )
    yield told("texts too many per caption", lambda one: (one.extra, one.captions))


def rows(bench: Bench) -> Iterator[Row]:
    truth = json.loads(bench.file(COMPOSITE.replace(".mp4", ".truth.json")).read_text())
    captions = [(s["caption"], s["start_s"], s["end_s"]) for s in truth["segments"]]
    yield from against(
        COMPOSITE, bench.output("text_overlay", bench.file(COMPOSITE)), captions, ("caption",)
    )
    yield from slide(bench)
    yield from counter(bench)
    yield from accents(bench)
    found: Overlays = bench.output("text_overlay", bench.file("video/psd_testvideo.mp4"))
    marks = [(o.text, o.kind) for o in found.overlays]
    wanted = [
        ("Copyright © 2013 Brandon Castellano", "watermark"),
        ("www.bcastell.com", "watermark"),
    ]
    yield Row(
        "video/psd_testvideo.mp4",
        "; ".join(f"{text} ({kind})" for text, kind in wanted),
        "; ".join(f"{text} ({kind})" for text, kind in marks),
        marks == wanted,
    )
    for file in ("video/laptop_desk.mp4", "video/gesture_woman.mp4", "still/astronaut.png"):
        path = bench.still(file) if file.startswith("still/") else bench.file(file)
        found = bench.output("text_overlay", path)
        figure = "; ".join(o.text for o in found.overlays) or "no text"
        yield Row(file, "no text, by eye", figure, not found.overlays)


def error_rate(pairs: Sequence[tuple[str, str]]) -> float:
    """Character error rate over pairs of truth and reading."""
    return sum(edits(t, r) for t, r in pairs) / max(1, sum(len(t) for t, _ in pairs))


def against(
    file: str, found: Overlays, truth: Sequence[tuple[str, float, float]], kinds: tuple[str, ...]
) -> Iterator[Row]:
    """Recall, character error rate, edges and doubles of captions with known times."""
    taken: list[Overlay] = []
    pairs: list[tuple[str, str]] = []
    off: list[float] = []
    for text, start, end in truth:
        overlapping = [o for o in found.overlays if min(o.end, end) - max(o.start, start) > 0]
        best = min(overlapping, key=lambda o: edits(text, o.text), default=None)
        pairs.append((text, best.text if best else ""))
        if best is not None and edits(text, best.text) <= 0.2 * len(text):
            taken.append(best)
            off += [abs(best.start - start), abs(best.end - end)]
    count = len(truth)
    yield Row(file, f"{count} captions", f"recall {len(taken)} of {count}", len(taken) == count)
    rate = error_rate(pairs)
    yield Row(file, "their characters", f"character error rate {rate:.1%}", rate == 0)
    worst = max(off, default=float("inf"))
    yield Row(file, "edges within 0.3 s", f"farthest {worst:.2f} s off", worst <= 0.3)
    rest = [o.text for o in found.overlays if o.kind in kinds and o not in taken]
    yield Row(file, "nothing twice, nothing else", "; ".join(rest) or "nothing else", not rest)


def slide(bench: Bench) -> Iterator[Row]:
    """A slide of twelve lines as a static clip."""
    file = "still/easyocr_english.png"
    found: Overlays = bench.output("text_overlay", bench.still(file, seconds=2.0))
    lines = [line for o in found.overlays for line in o.lines]
    pairs = [(t, min(lines, key=lambda r: edits(t, r), default="")) for t in SLIDE]
    read = sum(t == r for t, r in pairs)
    yield Row(file, "12 lines", f"{read} read exactly", read == len(SLIDE))
    yield Row(file, "their characters", f"character error rate {error_rate(pairs):.1%}")
    in_order = [r for _, r in pairs] == lines
    yield Row(file, "in reading order, nothing else", "yes" if in_order else "no", in_order)


def counter(bench: Bench) -> Iterator[Row]:
    """Thirty frames in three seconds, frame k showing k + 1."""
    file = "video/psd_counter.mp4"
    found: Overlays = bench.output("text_overlay", bench.file(file))
    right = 0
    for k in range(30):
        middle = (k + 0.5) / 10
        shown = [o.text for o in found.overlays if o.start <= middle < o.end]
        right += any(text.startswith(f"Frame = {k + 1} ") for text in shown)
    yield Row(file, "frame k shows k + 1", f"{right} of 30 at their time", right == 30)


def accents(bench: Bench) -> Iterator[Row]:
    """Drawn captions of one second each, before a moving ground."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_clip(Path(folder) / "accents.mp4", drawn(ACCENTS), fps=20)
        found: Overlays = bench.output("text_overlay", path)
    truth = [(text, float(k), k + 1.0) for k, text in enumerate(ACCENTS)]
    yield from against("made: accents", found, truth, ("caption", "watermark", "scene_text"))


def drawn(texts: Sequence[str]) -> Iterator[Any]:
    """Pictures at 20 per second: each text for a second."""
    import cv2

    font = cv2.FontFace("sans")
    ys, xs = np.mgrid[:960, :540]
    for k in range(20 * len(texts)):
        gray = 100 + 40 * np.sin(xs / 70 + k / 10) + 20 * np.cos(ys / 110)
        picture: Any = np.repeat(gray[..., None], 3, 2).astype(np.uint8)
        for (dx, dy), shade in (
            ((2, 2), 0),
            ((-2, -2), 0),
            ((2, -2), 0),
            ((-2, 2), 0),
            ((0, 0), 255),
        ):
            place = (30 + dx, 500 + dy)
            _, picture = cv2.putText(picture, texts[k // 20], place, (shade,) * 3, font, 44, 600)
        yield picture
