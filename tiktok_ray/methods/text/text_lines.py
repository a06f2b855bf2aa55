"""Lines of text tracked over time: which readings belong to one text, and when it appears and disappears.

Boxes and corners are shares of the picture's width and height; times are seconds.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import Frames, spans
from tiktok_ray.methods.vision.box_tracks import follow, iou

Gray = NDArray[np.uint8]
Floats = NDArray[np.float64]

#: Mean change of luma in a cell of 16 x 16 pixels that counts as a change of the picture.
CHANGED = 4.0
#: Least correlation of the weakest part of two pictures of a line for them to show the same.
ALIKE = 0.8
#: Least similarity of two readings of one text (difflib's ratio over letters and digits).
SIMILAR = 0.8
#: Travel of a line that counts as standing still: what detection jitters by.
STILL = 0.01
#: Evenness from which on a text counts as drawn onto the picture.
DRAWN = 0.35
#: Share of a line that its strokes fill at least; what letters enclose fills less.
LEAST_STROKES = 0.1
#: A text counts as there when at least this much of the way from absent to present is gone.
PRESENT = 0.65


@dataclass(frozen=True)
class Line:
    """One line of text in one sample.

    ``t`` is the sample's time, ``even`` what ``evenness`` says. ``readings`` counts those of an
    unchanged text so far, and is the most there may be once its text is settled; ``fresh`` says that this sample was read and its text not taken over
    from the one before.
    """

    t: float
    corners: Floats
    text: str
    confidence: float
    even: float = 0.0
    fresh: bool = True
    readings: int = 1

    @property
    def box(self) -> Floats:
        result: Floats = np.r_[self.corners.min(0), self.corners.max(0)]
        return result


@dataclass(frozen=True)
class Stay:
    """One line of text while it is on screen."""

    samples: tuple[int, ...]
    lines: tuple[Line, ...]
    text: str
    confidence: float
    start: float
    end: float
    edge_s: float

    @property
    def whole(self) -> tuple[Line, ...]:
        """The lines that read as the text, without those in which it was still being typed."""
        wanted = plain(self.text)
        return tuple(x for x in self.lines if plain(x.text) == wanted) or self.lines

    @property
    def box(self) -> Floats:
        result: Floats = np.median([line.box for line in self.whole], axis=0)
        return result

    @property
    def height(self) -> float:
        """Median height of the line itself, upright or not, as a share of the picture's."""
        return float(np.median([_sides(line.corners)[1] for line in self.whole]))

    @property
    def travel(self) -> float:
        """How far its centre moved between its outermost places, as a share of the diagonal."""
        centres = np.array([(line.box[:2] + line.box[2:]) / 2 for line in self.whole])
        return float(np.linalg.norm(np.ptp(centres, axis=0)) / math.sqrt(2))


def _sides(corners: Floats) -> tuple[float, float]:
    return math.dist(corners[0], corners[1]), math.dist(corners[0], corners[3])


def plain(text: str) -> str:
    """Letters and digits only, without case: what two readings are compared by."""
    return "".join(c for c in text.casefold() if c.isalnum())


def same_text(a: str, b: str) -> bool:
    """Whether two readings are one text, allowing for misread letters but not for other digits."""
    x, y = plain(a), plain(b)
    if x == y:
        return bool(x) or a == b
    digits = ["".join(c for c in text if c.isdigit()) for text in (x, y)]
    if all(digits) and digits[0] != digits[1]:
        return False
    return similarity(x, y) >= SIMILAR


def similarity(a: str, b: str) -> float:
    """Ratio of difflib: twice the matching characters over all characters, 0..1."""
    return SequenceMatcher(None, a, b, autojunk=False).ratio()


def grows(before: Line, after: Line) -> bool:
    """Whether ``after`` is ``before`` with more written behind it: text typed out on the picture."""
    x, y = plain(before.text), plain(after.text)
    if len(x) < 2 or len(y) <= len(x) or not y.startswith(x):
        return False
    if any(c.isdigit() for c in y[len(x) :]):
        return False
    a, b = before.box, after.box
    shared = min(a[3], b[3]) - max(a[1], b[1])
    wider = (b[2] - b[0]) / max(a[2] - a[0], 1e-6)
    return bool(shared > 0.5 * (a[3] - a[1]) and wider > 0.5 + 0.5 * len(y) / len(x))


def alike(a: Gray, b: Gray, box: Floats) -> bool:
    """Whether a line looks the same in two pictures, in each part along it.

    Parts half as wide as high, so that one changed digit of a long line shows.
    """
    x, y = _detail(_cut(a, box)), _detail(_cut(b, box))
    height, width = x.shape
    if height < 4 or width < 4:
        return False
    count = max(1, round(2 * width / height))
    for part in np.array_split(np.arange(width), count):
        p, q = x[:, part], y[:, part]
        power = math.sqrt(float((p * p).sum() * (q * q).sum()))
        # A part without detail (a gap between words) says nothing.
        if max(p.std(), q.std()) > 6 and float((p * q).sum()) < ALIKE * power:
            return False
    return True


def _cut(gray: Gray, box: Floats, pad: int = 0) -> Gray:
    height, width = gray.shape
    x0, y0 = int(box[0] * width) - pad, int(box[1] * height) - pad
    x1, y1 = math.ceil(box[2] * width) + pad, math.ceil(box[3] * height) + pad
    return gray[max(0, y0) : min(height, y1), max(0, x0) : min(width, x1)]


def _detail(gray: Gray) -> NDArray[np.float32]:
    """The picture less its local mean: strokes stay, shades go."""
    import cv2

    values = gray.astype(np.float32)
    side = max(3, min(gray.shape) // 2 * 2 + 1) if gray.size else 3
    result: NDArray[np.float32] = values - cv2.blur(values, (side, side)) if gray.size else values
    return result


def straighten(rgb: NDArray[np.uint8], corners: Floats) -> NDArray[np.uint8]:
    """The line inside the corners as a level picture; a standing one is turned to lie."""
    import cv2

    height, width = rgb.shape[:2]
    points = (corners * (width, height)).astype(np.float32)
    wide = max(math.dist(points[0], points[1]), math.dist(points[2], points[3]))
    high = max(math.dist(points[0], points[3]), math.dist(points[1], points[2]))
    size = max(2, round(wide)), max(2, round(high))
    goal = np.array([(0, 0), (size[0], 0), size, (0, size[1])], np.float32)
    turned = cv2.warpPerspective(
        rgb,
        cv2.getPerspectiveTransform(points, goal),
        size,
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    upright: Any = np.rot90(turned) if size[1] > 1.5 * size[0] else turned
    return np.ascontiguousarray(upright)


def evenness(rgb: NDArray[np.uint8]) -> float:
    """How evenly the strokes of a straightened line are filled, 0..1.

    Of the pixels within 30 % of the contrast from the brightest (or the darkest), the share that
    is within 8 levels of it, or 8 % of the contrast where that is less: in the dark all levels
    are near each other. The largest of those that do not fill the line's rim, which makes them its
    ground. Ground as bright as the strokes that a rim of the letters parts from them reaches the
    line's rim, and strokes do not: those alone are looked at too. In luma, and in the strongest
    channel: words that are lit one after the other are white and yellow. What a program drew lies
    above 0.35 where strokes are wider than two pixels; print in a photograph lies below.
    """
    import cv2

    gray: Any = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.int16)
    shares = [0.0]
    for values in (gray, 255 - gray, rgb.max(2).astype(np.int16)):
        low, high = np.percentile(values, [1, 99.5])
        strokes = values >= high - 0.3 * (high - low)
        full = values >= high - min(8.0, 0.08 * (high - low))
        count, parts = cv2.connectedComponents(strokes.astype(np.uint8), connectivity=4)
        rim = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
        if (rim > 0).mean() < 0.3:
            shares.append(float(full.sum() / max(1, strokes.sum())))
        within = np.arange(count) > 0
        within[rim] = False
        inside = within[parts]
        if inside.mean() >= LEAST_STROKES:
            shares.append(float(full[inside].mean()))
    return max(shares)


def link(times: Sequence[float], found: Sequence[Sequence[Line]], gap_s: float) -> list[Stay]:
    """Join lines of successive samples that are one text, still or moving or being typed.

    Edges are those of the samples: from the first that shows it to the last.
    """

    def affinity(a: tuple[int, int], b: tuple[int, int]) -> float:
        before, after = found[a[0]][a[1]], found[b[0]][b[1]]
        p, q = before.box, after.box
        if math.dist((p[:2] + p[2:]) / 2, (q[:2] + q[2:]) / 2) > 0.3:
            return -1.0
        return 1.0 if same_text(before.text, after.text) or grows(before, after) else -1.0

    boxes = [np.array([line.box for line in lines]).reshape(-1, 4) for lines in found]
    stays = []
    for track in follow(times, boxes, gap_s=gap_s, iou_min=1.0, affinity=affinity):
        lines = [found[s][i] for s, i in zip(track.samples, track.items, strict=True)]
        text, confidence = vote(lines)
        start, end = times[track.samples[0]], times[track.samples[-1]]
        stays.append(
            Stay(tuple(track.samples), tuple(lines), text, confidence, start, end, end - start)
        )
    return stays


def vote(lines: Sequence[Line]) -> tuple[str, float]:
    """The reading with the largest sum of confidence, and its mean confidence.

    Of a text that is typed out, only what stands at the end takes part.
    """
    last = lines[-1]
    fresh = [line for line in lines if line.fresh]
    if any(grows(line, last) for line in fresh):
        fresh = [line for line in fresh if plain(line.text) == plain(last.text)]
    weights: dict[str, list[float]] = defaultdict(list)
    for line in fresh or [last]:
        weights[line.text].append(line.confidence)
    text = max(weights, key=lambda t: sum(weights[t]))
    return text, float(np.mean(weights[text]))


def cut(box: Floats) -> bool:
    """Whether the picture's left or right edge, and only one of them, cuts a line off."""
    return bool((box[0] < 0.004) != (box[2] > 0.996))


def sure_enough(text: str, confidence: float, least: float) -> bool:
    """Whether a reading holds letters or digits and is sure: one or two of them surer still."""
    letters = len(plain(text))
    return letters > 0 and confidence >= (least if letters > 2 else max(least, 0.95))


def legible(stay: Stay, least: float) -> bool:
    """Whether a reading is worth reporting: sure enough, and a whole word.

    What the picture's edge cuts off is not a word, unless it stands there for a second.
    """
    if stay.end - stay.start < 1.0 and all(cut(line.box) for line in stay.lines):
        return False
    return sure_enough(stay.text, stay.confidence, least)


def refine(stay: Stay, others: Sequence[Stay], frames: Frames, dense: Frames | None) -> Stay:
    """Place the edges between the samples, by comparing the line's region in the dense track.

    A start is the first dense sample that shows the text, an end the first that does not.
    Where the region does not tell (or without the dense track) the edge is the middle between
    the sample that shows the text and its neighbour that does not. A sample in which the region
    looks no different is taken in: the text was there and was not found.
    """
    start, before = _edge(stay, others, frames, dense, -1)
    end, after = _edge(stay, others, frames, dense, 1)
    return replace(stay, start=start, end=end, edge_s=max(before, after))


def _edge(
    stay: Stay, others: Sequence[Stay], frames: Frames, dense: Frames | None, step: int
) -> tuple[float, float]:
    """Time of one edge (``step`` -1: start, 1: end) and how far apart the samples around it are."""
    times = frames.times
    shown = first = stay.samples[0] if step < 0 else stay.samples[-1]
    while 0 <= shown + step < len(times):
        beside = shown + step
        absent_t, shown_t = float(times[beside]), float(times[shown])
        middle = (absent_t + shown_t) / 2, abs(absent_t - shown_t)
        replaced = any(
            beside in other.samples and _same_place(stay.box, other.box)
            for other in others
            if other is not stay
        )
        # Parts of what moves differ by its ground and its place between pixels.
        by_parts = replaced and stay.travel <= STILL
        look = Look.of(stay, frames, dense, first, by_parts) if dense else None
        if dense is None or look is None:
            return middle
        here = _nearest(dense, absent_t)
        if not replaced and look.shows([here])[0]:
            shown = beside
            continue
        low, high = sorted((absent_t, shown_t))
        inside = np.flatnonzero((dense.times > low + 1e-6) & (dense.times < high - 1e-6))
        flags = look.present(here, inside)
        if flags is None:
            return middle
        stamps = [low, *dense.times[inside].tolist(), high]
        k = split(flags if step > 0 else ~flags)
        return stamps[k + 1], stamps[k + 1] - stamps[k]
    if step < 0:
        return float(times[0]), 0.0
    return _tail(stay, frames, dense, first) if dense else (frames.end, 0.0)


def _tail(stay: Stay, frames: Frames, dense: Frames, shown: int) -> tuple[float, float]:
    """End of a text that the last sample shows, from the dense samples after it."""
    look = Look.of(stay, frames, dense, shown, by_parts=False)
    after = np.flatnonzero(dense.times > frames.times[-1] + 1e-6)
    if look is None or not len(after):
        return frames.end, 0.0
    there = look.shows(after)
    stamps = [float(frames.times[-1]), *dense.times[after].tolist(), frames.end]
    k = split(there)
    return stamps[k + 1], 0.0 if k == len(after) else stamps[k + 1] - stamps[k]


def split(flags: NDArray[np.bool_]) -> int:
    """How many leading flags to call true so that fewest are miscalled, the rest being false."""
    wrong = np.r_[0, np.cumsum(~flags)] + np.r_[np.cumsum(flags[::-1])[::-1], 0]
    return int(wrong.argmin())


def _nearest(frames: Frames, t: float) -> int:
    return int(np.abs(frames.times - t).argmin())


def _same_place(a: Floats, b: Floats) -> bool:
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return bool(shared > 0.3 * min((a[2:] - a[:2]).prod(), (b[2:] - b[:2]).prod()))


@dataclass(frozen=True)
class Look:
    """How a line looks in the dense track: its strokes, and where to look for them.

    ``parts`` lie along the line, half as wide as high, or are the whole line as one: a picture is
    as far from the look as its farthest part. ``residue`` is the median distance of the
    ``chosen`` samples, which show it.
    """

    dense: Frames
    box: Floats
    pad: int
    strokes: NDArray[np.float32]
    mask: NDArray[np.float32]
    parts: tuple[slice, ...]
    by_parts: bool
    chosen: tuple[int, ...]
    residue: float = 0.0

    @classmethod
    def of(
        cls, stay: Stay, frames: Frames, dense: Frames, shown: int, by_parts: bool
    ) -> Look | None:
        """The median look while a text stands."""
        still = stay.travel <= STILL
        box = stay.box if still else stay.lines[stay.samples.index(shown)].box
        samples = stay.samples if still else (shown,)
        low, high = frames.times[samples[0]], frames.times[samples[-1]]
        inside = np.flatnonzero((dense.times >= low - 1e-6) & (dense.times <= high + 1e-6))
        if not len(inside):
            inside = np.array([_nearest(dense, frames.times[shown])])
        chosen = inside[np.linspace(0, len(inside) - 1, min(7, len(inside))).round().astype(int)]
        pad = 2 if still else max(2, round(0.1 * dense.width))
        return cls.over(dense, box, chosen.tolist(), pad, by_parts)

    @classmethod
    def over(
        cls, dense: Frames, box: Floats, chosen: Sequence[int], pad: int, by_parts: bool
    ) -> Look | None:
        """The median look in the chosen samples; None where there is too little to compare."""
        looks = np.stack([_detail(_cut(dense.gray(k), box)) for k in chosen])
        strokes = np.median(looks, axis=0).astype(np.float32)
        height, width = strokes.shape
        if min(height, width) < 4 or strokes.std() < 3:
            return None
        mask = (np.abs(strokes) > 0.5 * np.abs(strokes).max()).astype(np.float32)
        look = cls(dense, box, pad, strokes, mask, (slice(None),), by_parts, tuple(chosen))
        if by_parts:
            look = replace(look, parts=look.cut_up())
        return replace(look, residue=float(np.median([look.distance(k) for k in chosen])))

    def cut_up(self) -> tuple[slice, ...]:
        """Parts of the line about half as wide as high."""
        height, width = self.strokes.shape
        edges = np.linspace(0, width, max(1, round(2 * width / height)) + 1).round().astype(int)
        return tuple(slice(int(x), int(y)) for x, y in itertools.pairwise(edges))

    def distance(self, k: int) -> float:
        """Squared difference from the strokes at the best shift, over their power, 0 for none."""
        import cv2

        around = _detail(_cut(self.dense.gray(k), self.box, self.pad))
        fit = cv2.matchTemplate(around, self.strokes, cv2.TM_SQDIFF, mask=self.mask)
        y, x = np.unravel_index(fit.argmin(), fit.shape)
        height, width = self.strokes.shape
        there = around[y : y + height, x : x + width]
        if not self.by_parts:
            weight, least = self.mask, 0.0
        else:
            # Strokes of another text outside our own count as well.
            weight = np.ones_like(self.mask)
            least = float((self.strokes**2).sum()) / len(self.parts)
        off, power = (there - self.strokes) ** 2 * weight, self.strokes**2 * weight
        return max(
            float(off[:, p].sum()) / max(least, float(power[:, p].sum())) for p in self.parts
        )

    def shows(self, samples: Sequence[int] | NDArray[np.int64]) -> NDArray[np.bool_]:
        """For each dense sample whether the strokes are there as in those that show the text.

        Each part of the line must be, where the ground is still enough to compare parts.
        """
        limit = self.residue + 0.2 * max(0.0, 1 - self.residue)
        there = [self.distance(int(k)) < limit for k in samples]
        fine = replace(self, by_parts=True, parts=self.cut_up())
        fine = replace(fine, residue=float(np.median([fine.distance(k) for k in self.chosen])))
        if fine.residue < 0.05:
            there = [
                yes and fine.distance(int(k)) <= fine.same
                for yes, k in zip(there, samples, strict=True)
            ]
        return np.array(there, bool)

    @property
    def same(self) -> float:
        """Distance up to which no letter differs, when compared by parts."""
        return self.residue + max(0.12, 0.5 * self.residue)

    def present(self, absent: int, inside: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """For each dense sample whether it shows the text; None where that cannot be told."""
        away = self.distance(absent)
        if away - self.residue < 0.2 * away:
            return None
        limit = self.residue + (1 - PRESENT) * (away - self.residue)
        if self.by_parts:
            limit = min(limit, self.same)
        return np.array([self.distance(int(k)) <= limit for k in inside], bool)


def tilt(lines: Sequence[Line], aspect: float) -> float:
    """Median angle of the lines from the horizontal or vertical, degrees 0..45.

    ``aspect`` is the picture's width over its height. Lines less than 2.5 times as long as high
    say nothing: a pixel turns them too far.
    """
    angles = [0.0]
    for line in lines:
        corners = line.corners * (aspect, 1.0)
        along, across = _sides(corners)
        x, y = corners[1] - corners[0] + corners[2] - corners[3]
        angle = abs(math.degrees(math.atan2(y, x))) % 90
        if max(along, across) >= 2.5 * min(along, across):
            angles.append(min(angle, 90 - angle))
    return float(np.median(angles[1:] or angles))


def blocks(stays: Sequence[Stay], aspect: float) -> list[list[Stay]]:
    """Group lines that stand together in time and place, each group in reading order."""
    group = list(range(len(stays)))
    for i, a in enumerate(stays):
        for j in range(i):
            if _belong(a, stays[j], aspect):
                old, new = group[i], group[j]
                group = [new if g == old else g for g in group]
    members: dict[int, list[Stay]] = defaultdict(list)
    for stay, g in zip(stays, group, strict=True):
        members[g].append(stay)
    return [in_reading_order(m) for m in members.values()]


def _belong(a: Stay, b: Stay, aspect: float) -> bool:
    together = min(a.end, b.end) - max(a.start, b.start)
    if together < 0.6 * (max(a.end, b.end) - min(a.start, b.start)):
        return False
    small, large = sorted((a.height, b.height))
    if large > 1.7 * small:
        return False
    p, q = side_by_side([a, b])
    across = min(p[2], q[2]) - max(p[0], q[0])
    down = min(p[3], q[3]) - max(p[1], q[1])
    if down > 0.5 * min(p[3] - p[1], q[3] - q[1]):
        return bool(-across * aspect < 1.2 * large)
    return bool(-down < 0.9 * large and across > 0.3 * min(p[2] - p[0], q[2] - q[0]))


def side_by_side(stays: Sequence[Stay]) -> list[Floats]:
    """Boxes by which to compare places: at the time that most of them share, else the median."""
    counts = Counter(line.t for stay in stays for line in stay.lines)
    when = max(counts, key=lambda t: (counts[t], -t))
    at = [[line.box for line in stay.lines if line.t == when] for stay in stays]
    return [boxes[0] if boxes else stay.box for stay, boxes in zip(stays, at, strict=True)]


def rows(stays: Sequence[Stay]) -> list[list[Stay]]:
    """Lines by rows, top to bottom, each row left to right."""
    found: list[list[tuple[Floats, Stay]]] = []
    placed = zip(side_by_side(stays), stays, strict=True)
    for box, stay in sorted(placed, key=lambda pair: float(pair[0][1] + pair[0][3])):
        middle = (box[1] + box[3]) / 2
        if found and middle < found[-1][0][0][3] - 0.3 * stay.height:
            found[-1].append((box, stay))
        else:
            found.append([(box, stay)])
    return [[stay for _, stay in sorted(row, key=lambda pair: float(pair[0][0]))] for row in found]


def in_reading_order(stays: Sequence[Stay]) -> list[Stay]:
    """Row by row from the top, each row from the left."""
    return [stay for row in rows(stays) for stay in row]


def overlapping(a: Floats, b: Floats) -> float:
    """Intersection over union of two boxes."""
    return float(iou(a[None], b[None])[0, 0])


def join(stays: Sequence[Stay], gap_s: float) -> list[Stay]:
    """Make one of stays of one text in one place, or of a text being typed out there, that follow
    each other within ``gap_s``."""
    joined: list[Stay] = []
    for stay in sorted(stays, key=lambda s: s.start):
        for k, before in enumerate(joined):
            near = abs(stay.start - before.end) <= gap_s + 1e-6
            a, b = before.lines[-1], stay.lines[0]
            one = same_text(before.text, stay.text) or grows(a, b)
            if near and one and _same_place(before.box, stay.box):
                text, confidence = vote((*before.lines, *stay.lines))
                joined[k] = replace(
                    before,
                    samples=before.samples + stay.samples,
                    lines=before.lines + stay.lines,
                    text=text,
                    confidence=confidence,
                    end=max(before.end, stay.end),
                    edge_s=max(before.edge_s, stay.edge_s),
                )
                break
        else:
            joined.append(stay)
    return joined


def absorb(stays: Sequence[Stay], near_s: float = 0.3) -> list[Stay]:
    """Take pieces of a text that moves into or out of the picture as that text.

    A piece stands right before, after or during the text, at most half as long. It is part of the
    text, in its rows, and moves or is cut by the picture's edge; or the text moves, and the piece,
    or what is left of it at the picture's edge, lies on its path; or it is how the text began as
    it was typed out.
    """
    whole = sorted(stays, key=lambda s: s.start - s.end)
    gone: set[int] = set()
    for i, small in enumerate(whole):
        for j, large in enumerate(whole[:i]):
            if j not in gone and _is_piece(small, large, near_s):
                gone.add(i)
                whole[j] = replace(
                    large, start=min(small.start, large.start), end=max(small.end, large.end)
                )
                break
    return sorted((s for i, s in enumerate(whole) if i not in gone), key=lambda s: s.start)


def _is_piece(small: Stay, large: Stay, near_s: float) -> bool:
    gap = max(small.start, large.start) - min(small.end, large.end)
    brief = small.end - small.start <= 0.5 * (large.end - large.start)
    if gap > near_s or not brief:
        return False
    piece, text = plain(small.text), plain(large.text)
    middle = (small.box[1] + small.box[3]) / 2
    if large.travel > 0.05:
        path = np.array([line.box for line in large.lines])
        near = path[:, 1].min() - 0.1 < middle < path[:, 3].max() + 0.1
        return bool(near and (piece in text or similarity(piece, text) > 0.6))
    if piece not in text or piece == text or not large.box[1] < middle < large.box[3]:
        return False
    typed = text.startswith(piece) and abs(small.box[0] - large.box[0]) < 0.03
    moves = small.travel > STILL or all(cut(line.box) for line in small.lines)
    return moves or typed


@dataclass(frozen=True)
class Place:
    """Where texts follow one another: the box around them, and when one stands there."""

    box: Floats
    covered: tuple[spans.Span, ...]


def frame_of(group: Sequence[Stay]) -> Floats:
    """The box around a block of lines."""
    boxes = np.array([stay.box for stay in group])
    result: Floats = np.r_[boxes[:, :2].min(0), boxes[:, 2:].max(0)]
    return result


def in_place(box: Floats, place: Floats) -> bool:
    """Whether a box stands in the rows of a place and near its middle."""
    shared = min(place[3], box[3]) - max(place[1], box[1])
    apart = abs(place[0] + place[2] - box[0] - box[2]) / 2
    return bool(shared > 0.6 * (box[3] - box[1]) and apart < 0.25)


def places(seeds: Sequence[Sequence[Stay]], stays: Sequence[Stay]) -> list[Place]:
    """Places of the seeds (blocks of lines), one for all that stand in the same rows.

    Whatever stands in a place covers it.
    """
    found: list[Floats] = []
    for box in map(frame_of, sorted(seeds, key=lambda g: min(s.start for s in g))):
        for k, around in enumerate(found):
            if in_place(box, around):
                found[k] = np.r_[np.minimum(around[:2], box[:2]), np.maximum(around[2:], box[2:])]
                break
        else:
            found.append(box)
    result = []
    for box in found:
        grow = np.array([0.1, 0.3 * (box[3] - box[1])])
        wide = np.r_[box[:2] - grow, box[2:] + grow].clip(0, 1)
        there = [(s.start, s.end) for s in stays if in_place(s.box, box)]
        result.append(Place(wide, tuple(spans.union(there))))
    return result


def unread(place: Place, times: Floats, samples: Floats, end: float) -> list[list[int]]:
    """Runs of dense samples at a place of text that no text there covers.

    Only between samples of which one at least shows text there: elsewhere the search of the
    samples themselves found none.
    """
    covered = place.covered
    runs: list[list[int]] = []
    for low, high in itertools.pairwise([*samples.tolist(), end]):
        if not (spans.covers(covered, low) or spans.covers(covered, high)):
            continue
        run: list[int] = []
        for k in np.flatnonzero((times > low + 1e-6) & (times < high - 1e-6)).tolist():
            if spans.covers(covered, float(times[k]) + 1e-6):
                if run:
                    runs.append(run)
                run = []
            else:
                run.append(k)
        if run:
            runs.append(run)
    return runs
