"""Clips with captions whose words, places and times are known, in ten scripts.

Truth: ``captions``, each with ``text``, ``start`` and ``end`` in seconds (the first picture that
shows it, and the first that no longer does) and ``box``, [x0, y0, x1, y1] in shares of the
picture, at the first of its pictures; ``fps``, ``duration``. Right-to-left text is in its order of
reading. A script whose font is not on the machine raises ``Unmakeable``, which names the package.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.factory import Recipe, Unmakeable
from benchmarks.factory._pictures import SCENES, Picture, bundled, photograph, view
from tiktok_ray.media.writer import write_clip

VERSION = 2

SIZE, FPS = (360, 640), 25.0

#: The font that matplotlib carries, and the scripts it holds.
CARRIED = ("matplotlib", "mpl-data/fonts/ttf/DejaVuSans-Bold.ttf")
IN_CARRIED = ("Latin", "Greek", "Cyrillic", "Hebrew", "Arabic")
#: Fonts of other scripts: file and Debian package.
_CJK = ("NotoSansCJK-Bold.ttc", "fonts-noto-cjk")
FONTS = {
    "Devanagari": ("NotoSansDevanagari-Bold.ttf", "fonts-noto-core"),
    "Thai": ("NotoSansThai-Bold.ttf", "fonts-noto-core"),
    "Korean": _CJK,
    "Japanese": _CJK,
    "Chinese": _CJK,
}
#: Faces of the one CJK collection: the first draws Japanese forms, and so on.
_FACES = {"Japanese": 0, "Korean": 1, "Chinese": 2}

TEXTS = {
    "Latin": (
        "How to bake bread at home", "Ten minutes is enough", "You will not believe this",
        "Schöne Grüße aus Köln", "Où êtes-vous, ça va?", "El niño y la señora", "Stir until smooth",
        "Save this for later", "Łódź, Plzeň, Győr", "Part 2 is out now!", "Até amanhã, coração",
        "Wait for the end", "Only 15 minutes", "Çok güzel bir gün",
    ),
    "Greek": ("Καλημέρα σε όλους", "Δες το μέχρι το τέλος", "Φρέσκο ψωμί στο σπίτι", "Πάμε μια βόλτα"),
    "Cyrillic": ("Доброе утро всем", "Смотри до конца", "Свежий хлеб дома", "Подпишись на канал"),
    "Hebrew": ("בוקר טוב לכולם", "חכו עד הסוף", "לחם טרי בבית", "שמרו את הסרטון"),
    "Arabic": ("صباح الخير للجميع", "انتظر حتى النهاية", "خبز طازج في البيت", "احفظ هذا الفيديو"),
    "Devanagari": ("सुप्रभात दोस्तों", "अंत तक देखिए", "घर पर ताज़ी रोटी", "इसे सहेज लें"),
    "Thai": ("สวัสดีตอนเช้า", "ดูให้จบนะ", "ขนมปังสดที่บ้าน", "บันทึกไว้ดูทีหลัง"),
    "Korean": ("좋은 아침입니다", "끝까지 봐 주세요", "집에서 만든 빵", "나중에 보려면 저장"),
    "Japanese": ("おはようございます", "最後まで見てください", "家で焼くパン", "あとで見るために保存"),
    "Chinese": ("大家早上好", "请看到最后", "在家做新鲜面包", "收藏起来以后看"),
}  # fmt: skip
#: Written without spaces: shown word by word in pieces of this many characters.
UNSPACED = {"Thai": 0, "Japanese": 4, "Chinese": 3}

CONDITIONS = ("plain", "word by word", "karaoke", "moving", "outlined", "busy ground")
REPEATS = {"Latin": 3}  # clips of each condition; one of all other scripts


def recipes(edition: int) -> Iterator[Recipe]:
    """Each script under each condition, Latin several times."""
    seed = 10_000 * edition
    for script in TEXTS:
        for condition in CONDITIONS * REPEATS.get(script, 1):
            seed += 1
            yield Recipe("captions", script, condition, seed)


@dataclass(frozen=True)
class Caption:
    """A text from one picture to another; ``lit``: its karaoke words, lit one after the other."""

    text: str
    first: int
    last: int
    centre: tuple[float, float]
    way: tuple[float, float] = (0.0, 0.0)
    lit: bool = False

    def at(self, index: int) -> tuple[float, float]:
        gone = (index - self.first) / FPS
        return self.centre[0] + self.way[0] * gone, self.centre[1] + self.way[1] * gone


def make(recipe: Recipe, path: Path) -> dict[str, Any]:
    """Write the clip and return its truth."""
    rng = np.random.default_rng(recipe.seed)
    font = _font(recipe.kind, int(rng.integers(26, 32)))
    captions = _captions(recipe.kind, recipe.condition, rng)
    count = captions[-1].last + 15
    scene = photograph(SCENES[int(rng.integers(len(SCENES)))])
    busy = recipe.condition == "busy ground"
    drawn = {one: _drawn(one, font, recipe.condition) for one in captions}

    def pictures() -> Iterator[Picture]:
        for index in range(count):
            speed = 0.06 if busy else 0.006
            centre = (0.4 + speed * index / FPS, 0.5)
            ground = view(scene, SIZE, centre, 0.9 if busy else 0.6)
            shown = next((one for one in captions if one.first <= index < one.last), None)
            yield ground if shown is None else _over(ground, drawn[shown], shown, index)

    write_clip(path, pictures(), fps=FPS, options={"preset": "veryfast", "crf": "21"})
    return {
        "fps": FPS,
        "duration": count / FPS,
        "captions": [
            {"text": one.text, "start": one.first / FPS, "end": one.last / FPS,
             "box": _box(drawn[one][0], one)}
            for one in captions
        ],
    }  # fmt: skip


def _captions(script: str, condition: str, rng: np.random.Generator) -> list[Caption]:
    """Three texts, or all of the words of two of them, with and without gaps between them."""
    texts = [TEXTS[script][k] for k in rng.permutation(len(TEXTS[script]))[:3]]
    if condition == "word by word":
        texts = [word for text in texts[:2] for word in _words(script, text)]
    centre = (0.5, float(rng.uniform(0.25, 0.75)))
    way = (0.0, float(rng.choice((-0.05, 0.05)))) if condition == "moving" else (0.0, 0.0)
    out, index = [], int(rng.integers(10, 20))
    for text in texts:
        brief = condition == "word by word"
        length = int(rng.integers(12, 20) if brief else rng.integers(32, 45))
        out.append(Caption(text, index, index + length, centre, way, condition == "karaoke"))
        index += length + (0 if brief else int(rng.choice((0, 10))))
    return out


def _words(script: str, text: str) -> list[str]:
    size = UNSPACED.get(script)
    if size is None:
        return text.split()
    return [text] if size == 0 else [text[k : k + size] for k in range(0, len(text), size)]


def folders() -> list[Path]:
    """Where fonts lie, by the XDG base directory specification and by Debian's custom."""
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return [
        Path(home).expanduser() / "fonts",
        Path("/usr/local/share/fonts"),
        Path("/usr/share/fonts"),
    ]


@cache
def _font(script: str, size: int) -> Any:
    """The font of a script, size in pixels. Raises ``Unmakeable`` where it is not installed."""
    from PIL import ImageFont, features

    found = bundled(*CARRIED) if script in IN_CARRIED else _installed(script)
    if script in ("Arabic", "Hebrew", "Devanagari", "Thai") and not features.check("raqm"):
        raise Unmakeable(f"captions in {script} need a Pillow with Raqm")
    return ImageFont.truetype(str(found), size, index=_FACES.get(script, 0))


def _installed(script: str) -> Path:
    file, package = FONTS[script]
    found = next((path for folder in folders() for path in folder.rglob(file)), None)
    if found is None:
        raise Unmakeable(f"captions in {script} need {file} (apt-get install {package})")
    return found


def _drawn(one: Caption, font: Any, condition: str) -> list[Picture]:
    """A caption as RGBA pictures: one, or for karaoke one for each word that is lit.

    What is lit is coloured by its place across the line, as players do.
    """
    from PIL import Image, ImageDraw

    stroke = {"plain": 2, "busy ground": 3}.get(condition, 4)
    left, top, right, bottom = font.getbbox(one.text, stroke_width=stroke)
    if right - left > 0.96 * SIZE[0]:
        font = font.font_variant(size=int(font.size * 0.96 * SIZE[0] / (right - left)))
        left, top, right, bottom = font.getbbox(one.text, stroke_width=stroke)
    size = (int(np.ceil(right - left)) + 2, int(np.ceil(bottom - top)) + 2)

    def drawn(color: tuple[int, int, int]) -> Picture:
        image = Image.new("RGBA", size, (0, 0, 0, 0))
        ImageDraw.Draw(image).text(
            (1 - left, 1 - top), one.text, font=font, fill=color, stroke_width=stroke,
            stroke_fill=(0, 0, 0),
        )  # fmt: skip
        return np.array(image)

    white = drawn((255, 255, 255))
    if not one.lit:
        return [white]
    yellow, words = drawn((255, 221, 0)), max(1, len(one.text.split()))
    out = []
    for k in range(words):
        edge = round(size[0] * (k + 1) / words)
        out.append(np.concatenate([yellow[:, :edge], white[:, edge:]], 1))
    return out


def _place(drawn: Picture, one: Caption, index: int) -> tuple[int, int]:
    """Left and top of a drawn caption, in pixels."""
    x, y = one.at(index)
    return round(x * SIZE[0] - drawn.shape[1] / 2), round(y * SIZE[1] - drawn.shape[0] / 2)


def _over(ground: Picture, drawn: list[Picture], one: Caption, index: int) -> Picture:
    share = (index - one.first) / (one.last - one.first)
    text = drawn[min(len(drawn) - 1, int(share * len(drawn)))]
    left, top = _place(text, one, index)
    high, wide = text.shape[:2]
    out = ground.copy()
    under = out[top : top + high, left : left + wide].astype(np.uint16)
    alpha = text[..., 3:].astype(np.uint16)
    mixed = (text[..., :3] * alpha + under * (255 - alpha) + 127) // 255
    out[top : top + high, left : left + wide] = mixed.astype(np.uint8)
    return out


def _box(drawn: Picture, one: Caption) -> list[float]:
    left, top = _place(drawn, one, one.first)
    wide, high = SIZE
    corners = (
        left / wide,
        top / high,
        (left + drawn.shape[1]) / wide,
        (top + drawn.shape[0]) / high,
    )
    return [round(side, 4) for side in corners]
