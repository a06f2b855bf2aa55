"""Captions of the factory against what a reader says of them, and plain readers beside it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from actors.text_overlay import Overlay, Overlays
from benchmarks import factory
from benchmarks.accuracy import Absent, Bench
from tiktok_ray.media import spans

DENSE_S = 0.1  # between two pictures of the track ``dense``
READ = 0.2  # share of characters wrong up to which a caption counts as read

#: Reads a picture, RGB uint8 [h, w, 3], into its lines, top to bottom.
PlainReader = Callable[[Any], list[str]]


def edits(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def bare(text: str) -> str:
    """Text composed (NFC) and with single spaces; without them where its script has none."""
    text = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()
    spaced = not any(re.match("CJK|HIRAGANA|KATAKANA|THAI", unicodedata.name(c, "")) for c in text)
    return text if spaced else text.replace(" ", "")


@dataclass
class Reading:
    """What became of the captions of one clip."""

    kind: str
    condition: str
    wrong: int = 0
    characters: int = 0
    captions: int = 0
    read: int = 0
    named: int = 0  # not read, and said so
    extra: int = 0  # overlays that match no caption
    off: list[float] = field(default_factory=list)  # s, onset and offset of those read
    sure: list[tuple[float, bool]] = field(default_factory=list)  # confidence, and read exactly
    peers: dict[str, int] = field(default_factory=dict)  # characters wrong


def pairs(truth: Sequence[dict[str, Any]], found: Sequence[Overlay]) -> list[Overlay | None]:
    """The overlay of each caption: the most alike among those shown with it, each once."""
    near = sorted(
        (edits(bare(c["text"]), bare(o.text)), -spans.overlap([(c["start"], c["end"])], [o.span]), i, j)
        for i, c in enumerate(truth)
        for j, o in enumerate(found)
        if spans.overlap([(c["start"], c["end"])], [o.span]) > 0
    )  # fmt: skip
    one: dict[int, int] = {}
    for _, _, i, j in near:
        if i not in one and j not in one.values():
            one[i] = j
    return [found[one[i]] if i in one else None for i in range(len(truth))]


def reading(clip: factory.Clip, found: Overlays) -> Reading:
    """Count a clip; text of the scene, which its photograph may hold, is left out."""
    truth = clip.truth["captions"]
    written = [o for o in found.overlays if o.kind != "scene_text"]
    out = Reading(clip.recipe.kind, clip.recipe.condition, captions=len(truth))
    matched = pairs(truth, written)
    for caption, overlay in zip(truth, matched, strict=True):
        text, told = bare(caption["text"]), bare(overlay.text) if overlay else ""
        wrong = min(len(text), edits(text, told))
        out.characters, out.wrong = out.characters + len(text), out.wrong + wrong
        if overlay is not None:
            out.sure.append((overlay.confidence, told == text))
        if overlay is not None and wrong <= READ * len(text):
            out.read += 1
            out.off += [overlay.start - caption["start"], overlay.end - caption["end"]]
        elif (
            spans.overlap([(caption["start"], caption["end"])], [u.span for u in found.unread]) > 0
        ):
            out.named += 1
    out.extra = len(written) - sum(overlay is not None for overlay in matched)
    return out


@dataclass
class Peer:
    """A plain reader, the scripts it knows (all where empty), and how many clips it can afford."""

    read: PlainReader
    scripts: frozenset[str] = frozenset()
    clips: float = float("inf")

    def takes(self, script: str) -> bool:
        """Whether it reads one more clip, of that script."""
        if self.clips <= 0 or (self.scripts and script not in self.scripts):
            return False
        self.clips -= 1
        return True


def measured(bench: Bench, peers: dict[str, Peer]) -> tuple[list[Reading], list[str]]:
    """Each caption clip's reading, with the peers' for the scripts they know; and what is lacking."""
    out: list[Reading] = []
    lacking: dict[str, None] = {}
    for recipe in factory.recipes("captions", bench.edition, bench.share):
        try:
            clip = factory.made(recipe)
        except factory.Unmakeable as reason:
            lacking[str(reason)] = None
            continue
        one = reading(clip, bench.output("text_overlay", clip.path))
        for name, peer in peers.items():
            if peer.takes(recipe.kind):
                one.peers[name] = peer_errors(clip, peer.read)
        out.append(one)
    return out, list(lacking)


def peer_errors(clip: factory.Clip, read: PlainReader) -> int:
    """Characters wrong of a plain reader, in the picture at the middle of each caption."""
    wrong = 0
    captions = clip.truth["captions"]
    for caption, picture in zip(captions, middles(clip.path, captions), strict=True):
        text = bare(caption["text"])
        lines = read(picture)
        tried = [*lines, " ".join(lines), ""]
        wrong += min(len(text), *(edits(text, bare(line)) for line in tried))
    return wrong


def middles(path: Path, captions: Sequence[dict[str, Any]]) -> Iterator[Any]:
    """The picture in the middle of each caption."""
    import av

    wanted = [(c["start"] + c["end"]) / 2 for c in captions]
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if wanted and frame.time is not None and frame.time >= wanted[0] - 0.021:
                wanted.pop(0)
                yield frame.to_ndarray(format="rgb24")


def rapid_ocr() -> PlainReader:
    """RapidOCR at its defaults."""
    import logging

    from rapidocr import RapidOCR

    logging.getLogger("RapidOCR").setLevel(logging.ERROR)
    engine: Any = RapidOCR()

    def read(rgb: Any) -> list[str]:
        return list(engine(np.ascontiguousarray(rgb[..., ::-1])).txts or ())

    return read


def easy_ocr(models: Path) -> PlainReader:
    """EasyOCR in English at its defaults. Raises ``Absent``."""
    folder = models / "easyocr"
    if not (folder / "english_g2.pth").is_file():
        raise Absent("no weights: easyocr")
    import easyocr

    reader = easyocr.Reader(
        ["en"],
        gpu=False,
        model_storage_directory=str(folder),
        download_enabled=False,
        verbose=False,
    )

    def read(rgb: Any) -> list[str]:
        return [str(text) for _, text, _ in reader.readtext(rgb)]

    return read
