"""On-screen text: what it says, where and when."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tiktok_ray.analyzer import Analyzer, Needs, Options, Partial, Sees, Variant, Vram
from tiktok_ray.media import Frames, spans
from tiktok_ray.methods.text.text_lines import (
    CHANGED,
    DRAWN,
    STILL,
    Line,
    Look,
    Stay,
    absorb,
    alike,
    blocks,
    evenness,
    frame_of,
    in_place,
    in_reading_order,
    join,
    legible,
    link,
    overlapping,
    places,
    plain,
    refine,
    rows,
    same_text,
    straighten,
    sure_enough,
    tilt,
    unread,
)
from tiktok_ray.methods.text.text_readers import (
    EASY_OCR,
    PP_OCR,
    PPOCR,
    EasyOCR,
    Reader,
    looks_cyrillic,
)
from tiktok_ray.methods.vision.sampling import unchanged
from tiktok_ray.report import (
    Event,
    Missing,
    Output,
    Timed,
    derived,
    estimated,
    measured,
    setting,
)

NAME = "text_overlay"
OWNER = re.compile(r"©|\(c\)|copyright|(?:^|\s)@\w|\bwww\.|\b\w+\.(?:com|de|org|net|tv|io)\b", re.I)

#: A reading so sure need not be tried upside down; one upside down must be surer, for letters that
#: the reader does not know look like others then, digits within words among them.
SURE, SURELY = 0.9, 0.96
JUMBLED = re.compile(r"[^\W\d_]\d+[^\W\d_]|\d[^\W\d_]+\d")

#: Least height of its capitals in a sample, in pixels: on four photographs all eight lines of 7 px
#: were read, and of eight of 4 px five were not found and two misread.
CAPITAL_PX = 7.0

TextKind = Literal["caption", "watermark", "scene_text"]


class Overlay(Timed):
    """One text while it is on screen."""

    text: str = estimated("The text; its lines joined by a space")
    lines: list[str] = estimated(
        "The text line by line, top to bottom",
        method="per line, the reading with the largest sum of confidence over the samples read",
    )
    box: list[float] = estimated(
        "Median bounding box over its samples, [x0, y0, x1, y1]", range="0..1 of width and height"
    )
    confidence: float = estimated(
        "Mean recognition probability of its characters, lower where the reading is uncertain",
        range="0..1",
        method="PP-OCR: multiplied by 0.36 over the doubt per character if that is larger (entropy"
        " between letters, and letters seen but not read), and by at most 0.5 for a word with"
        " Greek letters",
    )
    kind: TextKind = derived(
        "caption: overlaid on the video; watermark: names an owner; scene_text: part of what"
        " was filmed",
        method="watermark: lines of at most 9 % of the frame's short side, centre in the outer"
        " half, and it names an owner (©, @name, web address) or is on screen for 60 % of a video of 6 s"
        " or more; scene_text: neither its strokes nor those of other text in its place are filled"
        " evenly (less than 35 % of the pixels within 30 % of the contrast from the brightest or"
        " darkest are within 8 levels of it), and it moves by over 2 % of the diagonal, is tilted"
        " by 2 degrees or more, or is visible in one sample only; caption: all else, including upright signs"
        " in front of a static camera",
    )
    order: int = derived(
        "Index in reading order among the overlays on screen when it appears, from 0",
    )
    travel: float = measured(
        "How far its centre moved while it was on screen", unit="share of the frame's diagonal"
    )
    edge_s: float = measured(
        "Distance between the samples that its start or end lies between, the larger of the two",
        unit="s",
    )


class Unread(Timed):
    """A place with overlaid text that the reader cannot read."""

    box: list[float] = estimated(
        "Median bounding box over its samples, [x0, y0, x1, y1]", range="0..1 of width and height"
    )


class Overlays(Output):
    """On-screen text over time."""

    overlays: list[Overlay] = estimated("Overlays by start, then in reading order")
    text: str = derived("All texts, each once, one line per overlay")
    on_screen_s: float = derived("Time during which readable text is on screen", unit="s")
    share: float = derived(
        "Share of the time up to the end of the last frame with readable text on screen",
        range="0..1",
    )
    reading_speed: float | None = derived(
        "Median over the captions of characters (without spaces) per second shown;"
        " absent without captions",
        unit="characters/s",
    )
    unread: list[Unread] = estimated(
        "Where unreadable lines of text are on screen for a second or longer in succession: in a"
        " script that the reader does not support, or too small",
        method="lines that the detector finds in one place, filled as evenly as overlaid graphics"
        " (see `kind`), no reading of which reaches the minimum confidence",
        default_factory=list,
    )
    languages: list[str] = setting("Languages requested; empty: all that the model reads")

    def headline(self) -> str:
        where = f"in {len(self.unread)} place{'s' if len(self.unread) > 1 else ''}"
        if not self.overlays:
            return f"unreadable text {where}" if self.unread else "no text"
        kinds = ("caption", "watermark", "scene_text")
        counts = [(sum(o.kind == k for o in self.overlays), k.replace("_", " ")) for k in kinds]
        named = [f"{n} {k}{'s' if n > 1 and k != 'scene text' else ''}" for n, k in counts if n]
        more = f"; unreadable text {where}" if self.unread else ""
        return f"{', '.join(named)}; text in {self.share:.0%} of the frames{more}"

    def events(self) -> Iterator[Event]:
        for overlay in self.overlays:
            yield Event(
                start=overlay.start,
                end=overlay.end,
                kind="text",
                label=overlay.text,
                confidence=overlay.confidence,
                analyzer=NAME,
            )


class TextOptions(Options):
    """Settings of ``text_overlay``."""

    reader: Literal["rapidocr", "easyocr"] = Field(
        "rapidocr", description="Text recognition library"
    )
    languages: tuple[str, ...] = Field(
        (),
        description="Languages of the text, ISO 639-1; empty: all that the reader supports (RapidOCR)"
        " or the larger European languages (EasyOCR)",
    )
    detect_short: int = Field(
        320, ge=64, description="Short side of the frames searched, in pixels"
    )
    least_confidence: float = Field(0.8, ge=0, le=1, description="Minimum confidence of a reading")
    readings: int = Field(
        3, ge=1, description="Number of readings of a line whose appearance does not change"
    )
    searches: float = Field(
        8.0,
        ge=0,
        description="Searches per second of video for texts that come and go between samples",
    )


class TextOverlay(Analyzer):
    """Captions, watermarks and text in the scene, each once, with its time and position."""

    name = NAME
    card_priority = 1
    needs = Needs(threads=1, timeout_s=180, cost=7)
    imports = ("cv2",)
    sees = (
        Sees("text", "frames", pixels=CAPITAL_PX),
        Sees("text where other text stood before", "dense", pixels=CAPITAL_PX),
    )
    variants = (
        Variant(
            "rapidocr",
            weights=PP_OCR,
            ram_gib=0.4,
            imports=("pyclipper",),
            basis="measured",
        ),
        Variant(
            "easyocr",
            weights=EASY_OCR,
            ram_gib=1.2,
            vram=Vram(0.1, 0.7),
            imports=("torch", "easyocr"),
        ),
    )
    options_type = TextOptions
    _reader: Reader

    @classmethod
    def variants_for(cls, options: Options) -> tuple[Variant, ...]:
        wanted = TextOptions.model_validate(options.model_dump()).reader
        return tuple(variant for variant in cls.variants if variant.name == wanted)

    def load(self, variant: Variant, device: str, files: Mapping[str, Path]) -> None:
        short, languages = self.options.detect_short, self.options.languages
        if variant.name == "easyocr":
            self._reader = EasyOCR(files["folder"], device=device, short=short, languages=languages)
        else:
            self._reader = PPOCR(
                files, threads=self.needs.threads, short=short, languages=languages
            )

    def analyze(self, frames: Frames, dense: Frames | None) -> Overlays | Partial:
        options: TextOptions = self.options
        detected = find_lines(frames, self._reader, options.readings)
        found = [[line for line in lines if line.text] for lines in detected]
        times = frames.times.tolist()
        step = float(np.median(np.diff(times))) if len(times) > 1 else 0.5
        linked = link(times, found, gap_s=min(2.2 * step, max(1.2, 1.2 * step)))
        kept = [stay for stay in linked if legible(stay, options.least_confidence)]
        stays = [refine(stay, kept, frames, dense) for stay in kept]
        if dense is not None and len(dense) > 1:
            most = round(options.searches * frames.end)
            short = read_between(stays, frames, dense, self._reader, most)
            least = max(options.least_confidence, 0.93)
            stays += [stay for stay in short if legible(stay, least)]
            stays = absorb(join(stays, gap_s=1.5 * float(np.median(np.diff(dense.times)))))
        overlays = compose(stays, frames.width / frames.height, frames.end)
        made = report(overlays, frames.end, options.languages)
        unread = unreadable(frames, detected, overlays, options.least_confidence)
        if doubted := doubtful(overlays, unread):
            kept_overlays = [overlay for overlay in overlays if overlay not in doubted]
            made = report(kept_overlays, frames.end, options.languages)
            misread = [Unread(start=o.start, end=o.end, box=o.box) for o in doubted]
            lost = unreadable(frames, detected, overlays, options.least_confidence, misread)
            unread = sorted([*lost, *misread], key=lambda one: one.start)
        if not unread:
            return made
        where = f"in {len(unread)} places" if len(unread) > 1 else "in one place"
        reason = f"{where} there is text that {UNREADABLE}"
        missing = Missing(part="reading of some lines", reason=reason)
        return Partial(made.model_copy(update={"unread": unread}), (missing,))


#: What may be done about text that was found and not read.
UNREADABLE = (
    "this reader cannot read: its script is unsupported, or it is too small. It supports Latin, Chinese"
    " and Japanese best; neither reader supports Greek or Hebrew; for others:"
    " --set text_overlay.reader=easyocr and"
    " text_overlay.languages (ar, ru, ko, th or hi), with `tiktok-ray models pull text_overlay`"
)
#: How long text must stand to be missed, and how much places, and boxes of one text, overlap.
MISSED_S, SAME_PLACE, SAME_BOX = 1.0, 0.3, 0.85
#: What comes or goes: least mean change of its luma, how often that of its surroundings, and the
#: rim between the two, in heights of its box.
APPEARED, POPS, RIM = 16.0, 2.5, 0.4
#: Most letters of a reading that is not trusted among text that cannot be read.
SHORT = 5
#: Among captions that follow one another, what stands for one sample is missed too; how far apart:
#: two samples and what their times jitter by, for of words on end one or two may not be found.
AMONG_S = 1.1


def unreadable(
    frames: Frames,
    detected: Sequence[Sequence[Line]],
    known: Sequence[Overlay],
    least: float,
    misread: Sequence[Unread] = (),
) -> list[Unread]:
    """Lines that stand in one place, drawn, and of which no reading is sure: for ``MISSED_S`` or
    longer, between captions that were read, or right beside others that were not, or of which
    the reading is not trusted (``misread``)."""
    untold = [
        [line for line in lines if not any(_told(line, one) for one in known)] for lines in detected
    ]
    runs: list[list[tuple[int, Line]]] = []
    for k, lines in enumerate(untold):
        for line in lines:
            run = next(
                (r for r in runs if k - r[-1][0] in (1, 2)
                 and overlapping(r[-1][1].box, line.box) > SAME_PLACE),
                None,
            )  # fmt: skip
            if run is None:
                runs.append([(k, line)])
            else:
                run.append((k, line))
    edges = np.append(frames.times, frames.end)
    found: list[Unread] = []
    brief: list[Unread] = []
    for run in (part for whole in runs for part in apart(whole, edges)):
        lines = [line for _, line in run]
        box = np.median([line.box for line in lines], axis=0)
        first = appeared(run[0][0], box, untold)
        start, end = float(edges[first]), float(edges[run[-1][0] + 1])
        drawn = float(np.median([line.even for line in lines])) >= DRAWN
        if not drawn and not (stands(lines) and pops(frames, first, run[-1][0] + 1, box)):
            continue
        if not any(sure_enough(line.text, line.confidence, least) for line in lines):
            missed = end - start >= MISSED_S or _among(start, end, box, known)
            (found if missed else brief).append(Unread(start=start, end=end, box=box.tolist()))
    lost = [*found, *misread]
    return found + [one for one in brief if any(_beside(one, other) for other in lost)]


def _beside(one: Unread, other: Unread) -> bool:
    """Whether two follow each other in one place."""
    gap = max(one.start, other.start) - min(one.end, other.end)
    return gap < AMONG_S and in_place(np.array(one.box), np.array(other.box))


def appeared(k: int, box: NDArray[np.float64], detected: Sequence[Sequence[Line]]) -> int:
    """The first of the samples up to ``k`` in which a drawn line fills the box without a break: what
    fades in over a busy ground is at first taken for one thing with it."""
    while k and any(
        line.even >= DRAWN and overlapping(line.box, box) >= SAME_BOX for line in detected[k - 1]
    ):
        k -= 1
    return k


def stands(lines: Sequence[Line]) -> bool:
    """Whether lines of successive samples have one centre."""
    centres = np.array([(line.box[:2] + line.box[2:]) / 2 for line in lines])
    return float(np.linalg.norm(np.ptp(centres, axis=0))) <= STILL * math.sqrt(2)


def pops(frames: Frames, first: int, after: int, box: NDArray[np.float64]) -> bool:
    """Whether what fills a box comes at the sample ``first`` and goes at ``after``, as far as the
    video shows either, while what is around it changes far less.

    Nothing filmed does that where it stands; and what is drawn need not be filled evenly: words
    that are lit in turn are not.
    """
    edges = [k for k in (first, after) if 0 < k < len(frames)]
    return bool(edges) and all(_changes_alone(frames, k, box) for k in edges)


def _changes_alone(frames: Frames, k: int, box: NDArray[np.float64]) -> bool:
    change = np.abs(frames.gray(k).astype(np.int16) - frames.gray(k - 1))
    high = box[3] - box[1]
    near, far = (
        _grown(box, share * high, frames.width / frames.height) for share in (RIM, RIM + 1.0)
    )
    around = np.zeros(change.shape, bool)
    around[_pixels(far, change.shape)] = True
    around[_pixels(near, change.shape)] = False
    there = change[_pixels(box, change.shape)]
    if not around.any() or not there.size:
        return False
    return bool(there.mean() > max(APPEARED, POPS * change[around].mean()))


def _grown(box: NDArray[np.float64], by: float, aspect: float) -> NDArray[np.float64]:
    """A box with a rim of so much of the picture's height around it."""
    wide = np.array([by / aspect, by])
    grown: NDArray[np.float64] = np.r_[box[:2] - wide, box[2:] + wide].clip(0, 1)
    return grown


def _pixels(box: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[slice, slice]:
    height, width = shape
    x0, y0, x1, y1 = (box * (width, height, width, height)).round().astype(int).tolist()
    return slice(y0, y1), slice(x0, x1)


def doubtful(overlays: Sequence[Overlay], unread: Sequence[Unread]) -> list[Overlay]:
    """Short readings in a place where mostly text is shown that cannot be read: a word or two in
    unknown letters look like Latin ones now and then, and are read as those with full confidence.

    Words of any length whose letters all look like Cyrillic ones are taken for those where most
    of what is ever shown in their place cannot be read; their shape tells nothing.
    """
    return [
        one
        for one in overlays
        if one.kind != "scene_text"
        and (
            (len(plain(one.text)) <= SHORT and _mostly_unread(one, overlays, unread, AMONG_S))
            or (looks_cyrillic(one.text) and _mostly_unread(one, overlays, unread, math.inf))
        )
    ]


def _mostly_unread(
    one: Overlay, overlays: Sequence[Overlay], unread: Sequence[Unread], gap_s: float
) -> bool:
    """Whether of what follows in the place of an overlay, without breaks of more than ``gap_s``,
    most is unread."""
    place = np.array(one.box)
    shown, lost = (
        [each.span for each in some if in_place(place, np.array(each.box))]
        for some in (overlays, unread)
    )
    runs = spans.union([*shown, *lost], gap=gap_s)
    run = next(run for run in runs if run.start <= one.start and one.end <= run.end)
    read = spans.intersect(spans.union(shown), [run])
    rest = spans.subtract(spans.intersect(spans.union(lost), [run]), read)
    return spans.total(rest) > spans.total(read)


def _told(line: Line, one: Overlay) -> bool:
    """Whether an overlay is what a line says, or stands where it does."""
    return one.start <= line.t < one.end and overlapping(np.array(one.box), line.box) > 0.2


def _among(start: float, end: float, box: NDArray[np.float64], known: Sequence[Overlay]) -> bool:
    """Whether captions were read in one place right before and right after, or two on end on one
    side: it is one of them, or the last or first."""
    there = [o for o in known if o.kind == "caption" and in_place(box, np.array(o.box))]
    before = [o for o in there if o.start < start and abs(start - o.end) <= AMONG_S]
    after = [o for o in there if o.end > end and abs(o.start - end) <= AMONG_S]
    if before and after:
        return True
    beside = before or after
    return any(
        abs(o.end - one.start) <= AMONG_S or abs(o.start - one.end) <= AMONG_S
        for one in beside
        for o in there
        if o is not one
    )


def apart(
    run: Sequence[tuple[int, Line]], edges: NDArray[np.float64]
) -> list[list[tuple[int, Line]]]:
    """Texts of other widths that follow one another in one place, each as a run of its own.

    A text begins where two lines on end are unlike the box of those before; what lasts too briefly
    to be missed stays with what came before.
    """
    parts: list[list[tuple[int, Line]]] = [[run[0]]]
    for n, (k, line) in enumerate(run[1:], 1):
        box = np.median([one.box for _, one in parts[-1]], axis=0)
        ahead = [one for _, one in run[n : n + 2]]
        changed = all(overlapping(box, one.box) < SAME_BOX for one in ahead)
        if changed and edges[k] - edges[parts[-1][0][0]] >= MISSED_S:
            parts.append([])
        parts[-1].append((k, line))
    last = parts[-1]
    if len(parts) > 1 and edges[last[-1][0] + 1] - edges[last[0][0]] < MISSED_S:
        parts[-2:] = [parts[-2] + last]
    return parts


def read_upright(reader: Reader, picture: NDArray[np.uint8]) -> tuple[str, float]:
    """Text and confidence of a line that may be upside down: the surer reading, if it is sure."""
    text, confidence = reader.read(picture)
    if confidence >= SURE:
        return text, confidence
    turned = reader.read(np.ascontiguousarray(picture[::-1, ::-1]))
    if turned[1] < max(SURELY, confidence + 0.05) or JUMBLED.search(turned[0]):
        return text, confidence
    return turned


def find_lines(frames: Frames, reader: Reader, readings: int) -> list[list[Line]]:
    """The lines of every sample; those that cannot be read have no text.

    A picture in which nothing changed is not searched again. A line that looks as it did in the
    sample before is read ``readings`` times at most, and no more once those left could not outvote
    what it was read as.
    """
    found: list[list[Line]] = []
    searched = -1
    size = np.array([frames.width, frames.height])
    for k in range(len(frames)):
        if searched >= 0 and unchanged(frames.gray(searched), frames.gray(k), CHANGED):
            found.append(
                [replace(line, t=float(frames.times[k]), fresh=False) for line in found[-1]]
            )
            continue
        searched = k
        rgb = frames.rgb(k)
        lines = []
        for corners in reader.detect(rgb) / size:
            before = _as_before(found, frames, k, corners)
            if before is not None and before.readings >= readings:
                lines.append(
                    replace(before, t=float(frames.times[k]), corners=corners, fresh=False)
                )
                continue
            picture = straighten(rgb, corners)
            text, confidence = read_upright(reader, picture)
            even = evenness(picture)
            count = before.readings + 1 if before else 1
            if before and before.text == text:
                settled = before.confidence + confidence > readings - count
                count = readings if settled else count
            lines.append(
                Line(float(frames.times[k]), corners, text, confidence, even, readings=count)
            )
        found.append(lines)
    return found


def read_between(
    stays: Sequence[Stay], frames: Frames, dense: Frames, reader: Reader, searches: int
) -> list[Stay]:
    """What is written between two samples, where longer texts stand before or after.

    Captions that come word by word change faster than ``frames`` is sampled. ``dense`` is
    searched in the places of text, at the times that no text found so far covers, at most
    ``searches`` times.
    """
    found: list[Stay] = []
    aspect = dense.width / dense.height
    groups = blocks(stays, aspect)
    drawn = [g for g in groups if kind_of(g, groups, aspect, frames.end) != "scene_text"]
    seeds = [g for g in drawn if max(s.travel for s in g) <= STILL]
    for place in places(seeds, stays):
        for run in unread(place, dense.times, frames.times, frames.end):
            looks: list[Look | None] = []
            for k in run:
                end = float(dense.times[k + 1]) if k + 1 < len(dense) else dense.end
                if looks and all(look and look.distance(k) <= look.same for look in looks):
                    found[-len(looks) :] = [replace(s, end=end) for s in found[-len(looks) :]]
                    continue
                if searches == 0:
                    return found
                searches -= 1
                lines = _read_place(dense, k, place.box, reader)
                t = float(dense.times[k])
                found += [
                    Stay((), (line,), line.text, line.confidence, t, end, end - t) for line in lines
                ]
                looks = [Look.over(dense, line.box, [k], 2, by_parts=True) for line in lines]
    return found


def _read_place(dense: Frames, k: int, box: NDArray[np.float64], reader: Reader) -> list[Line]:
    """The lines at one place of a dense sample, but for those that its edge cuts."""
    rgb = dense.rgb(k)
    x0, y0, x1, y1 = (box * ([dense.width, dense.height] * 2)).astype(int).tolist()
    part = rgb[y0 : max(y1, y0 + 2), x0 : max(x1, x0 + 2)]
    lines = []
    t = float(dense.times[k])
    left = box[0] + (0.015 if box[0] > 0 else 0.004)
    right = box[2] - (0.015 if box[2] < 1 else 0.004)
    for corners in reader.detect(part):
        picture = straighten(part, corners / (part.shape[1], part.shape[0]))
        text, confidence = reader.read(picture)
        if text:
            place = (corners + np.array([x0, y0])) / (dense.width, dense.height)
            line = Line(t, place, text, confidence, evenness(picture))
            if left < place[:, 0].min() and place[:, 0].max() < right:
                lines.append(line)
    return lines


def _as_before(
    found: Sequence[Sequence[Line]], frames: Frames, k: int, corners: NDArray[np.float64]
) -> Line | None:
    """The line of the sample before that stands in the same place and looks the same."""
    if not found:
        return None
    here = np.r_[corners.min(0), corners.max(0)]
    for line in found[-1]:
        if overlapping(line.box, here) > 0.6:
            return line if alike(frames.gray(k - 1), frames.gray(k), line.box) else None
    return None


def compose(stays: Sequence[Stay], aspect: float, end: float) -> list[Overlay]:
    """Overlays from lines: blocks of lines that stand together, each with its kind and order."""
    groups = blocks(stays, aspect)
    made = []
    for group in groups:
        lines = [" ".join(stay.text for stay in row) for row in rows(group)]
        weights = [max(1, len(stay.text)) for stay in group]
        made.append(
            Overlay(
                start=min(stay.start for stay in group),
                end=max(stay.end for stay in group),
                text=" ".join(lines),
                lines=lines,
                box=frame_of(group).tolist(),
                confidence=float(np.average([s.confidence for s in group], weights=weights)),
                kind=kind_of(group, groups, aspect, end),
                order=_order(group, groups),
                travel=max(stay.travel for stay in group),
                edge_s=max(stay.edge_s for stay in group),
            )
        )
    return sorted(made, key=lambda o: (o.start, o.order))


def _order(group: Sequence[Stay], groups: Sequence[Sequence[Stay]]) -> int:
    start = min(stay.start for stay in group)
    there = [g for g in groups if min(s.start for s in g) <= start + 1e-6 < max(s.end for s in g)]
    firsts = in_reading_order([g[0] for g in there])
    return next(k for k, stay in enumerate(firsts) if stay is group[0])


def kind_of(
    group: Sequence[Stay], groups: Sequence[Sequence[Stay]], aspect: float, end: float
) -> TextKind:
    """Kind of a block of lines, by the rules that ``Overlay.kind`` states."""
    text = " ".join(stay.text for stay in group)
    box = frame_of(group)
    small = max(stay.height for stay in group) <= 0.09 * min(1.0, aspect)
    outer = bool((np.abs((box[:2] + box[2:]) / 2 - 0.5) > 0.25).any())
    if small and outer:
        alike = [g for g in groups if same_text(text, " ".join(stay.text for stay in g))]
        there = spans.total((stay.start, stay.end) for g in alike for stay in g)
        if OWNER.search(text) or (end >= 6 and there >= 0.6 * end):
            return "watermark"
    if any(_drawn(g) for g in groups if g is group or in_place(box, frame_of(g))):
        return "caption"
    longest = max(group, key=lambda stay: len(stay.text))
    moves = max(stay.travel for stay in group) > 2 * STILL
    once = len(longest.lines) == 1
    return "scene_text" if moves or once or tilt(longest.lines, aspect) >= 2 else "caption"


def _drawn(group: Sequence[Stay]) -> bool:
    longest = max(group, key=lambda stay: len(stay.text))
    return float(np.median([line.even for line in longest.lines])) >= DRAWN


def report(overlays: list[Overlay], end: float, languages: Sequence[str]) -> Overlays:
    """The output over all overlays of a video that ends at ``end``."""
    on_screen = spans.total(o.span for o in overlays)
    texts = dict.fromkeys(o.text for o in overlays)
    speeds = [
        sum(not c.isspace() for c in o.text) / (o.end - o.start)
        for o in overlays
        if o.kind == "caption" and o.end > o.start
    ]
    return Overlays(
        overlays=overlays,
        text="\n".join(texts),
        on_screen_s=on_screen,
        share=min(1.0, on_screen / end) if end > 0 else 0.0,
        reading_speed=float(np.median(speeds)) if speeds else None,
        languages=list(languages),
    )
