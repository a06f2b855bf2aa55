"""The two text readers of ``text_overlay``: PP-OCR (RapidOCR) and EasyOCR."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.methods.inference import Session, open_session
from tiktok_ray.methods.text.text_boxes import text_boxes
from tiktok_ray.weights import Asset, Bundled

Picture = NDArray[np.uint8]

PP_OCR = {
    "detector": Bundled(
        "rapidocr/PP-OCRv6_det_small",
        "Apache-2.0",
        0.0093,
        package="rapidocr",
        path="models/PP-OCRv6_det_small.onnx",
    ),
    "recogniser": Bundled(
        "rapidocr/PP-OCRv6_rec_small",
        "Apache-2.0",
        0.0198,
        package="rapidocr",
        path="models/PP-OCRv6_rec_small.onnx",
    ),
}

_RELEASES = "https://github.com/JaidedAI/EasyOCR/releases/download"
#: The detector, and the scripts that PP-OCR does not read (of those that EasyOCR does, the most
#: widely used) beside Latin.
EASY_OCR = {
    "folder": Asset(
        "easyocr",
        "Apache-2.0",
        url=f"{_RELEASES}/pre-v1.1.6/craft_mlt_25k.zip",
        urls=(
            f"{_RELEASES}/v1.3/latin_g2.zip",
            f"{_RELEASES}/v1.3/english_g2.zip",
            f"{_RELEASES}/v1.6.1/cyrillic_g2.zip",
            f"{_RELEASES}/v1.3/korean_g2.zip",
            f"{_RELEASES}/pre-v1.1.6/arabic.zip",
            f"{_RELEASES}/pre-v1.1.6/thai.zip",
            f"{_RELEASES}/pre-v1.1.6/devanagari.zip",
        ),
        elsewhere=("~/.EasyOCR/model",),
        needs=(
            ("craft_mlt_25k.pth",),
            (
                "latin_g2.pth",
                "english_g2.pth",
                "zh_sim_g2.pth",
                "japanese_g2.pth",
                "korean_g2.pth",
                "cyrillic_g2.pth",
                "arabic.pth",
                "thai.pth",
                "devanagari.pth",
            ),
        ),
    )
}

#: First words of the Unicode names of the letters that languages outside the Latin script use.
SCRIPTS: Mapping[str, frozenset[str]] = {
    "zh": frozenset({"CJK"}),
    "ja": frozenset({"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}),
    "el": frozenset({"GREEK"}),
    "ko": frozenset({"HANGUL"}),
    "th": frozenset({"THAI"}),
    "he": frozenset({"HEBREW"}),
    **dict.fromkeys(("ar", "fa", "ur", "ug"), frozenset({"ARABIC"})),
    **dict.fromkeys(("ru", "uk", "be", "bg", "mk", "mn", "sr"), frozenset({"CYRILLIC"})),
    **dict.fromkeys(("hi", "mr", "ne"), frozenset({"DEVANAGARI"})),
    **dict.fromkeys(("bn", "as"), frozenset({"BENGALI"})),
    "ta": frozenset({"TAMIL"}),
    "te": frozenset({"TELUGU"}),
    "kn": frozenset({"KANNADA"}),
}
#: Probability from which on a space is read between two characters.
SPACE = 0.05
#: Least probability of an ß read in place of a B after a small letter. For a true B it was 0.006
#: at most, for an ß taken for a B 0.08 at least, over 60 pictures of words in four typefaces.
SHARP_S = 0.03
#: Letters whose capitals look the same but for their size, and least probability of the capital at
#: the beginning of a line: for a true small letter it was 0.003 at most, for a true capital 0.026
#: at least, over 200 lines in five typefaces and 25 captions.
TWINS = frozenset("coöóòôõsuüvwxzç")
CAPITAL = 0.015
#: Doubt per character (``doubt``) from which on a reading is less sure. Letters that the reader does
#: not know leave it with many guesses, each weak. Chosen on drawn lines of ten scripts.
TORN = 0.36
#: Least probability of a guess that counts towards the doubt: below lies a tail of thousands.
GUESS = 1e-4
#: What the confidence of a word that mixes Greek letters with others, or the case of letters that
#: look Cyrillic, is multiplied by.
MIXED = 0.5
WIDE = ("IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH", "VERTICAL")
#: What EasyOCR is asked for when no language is: those that its one Latin model serves best.
EASY_DEFAULT = ("en", "de", "fr", "es", "it", "pt", "nl", "pl", "tr")
EASY_CODES = {"zh": "ch_sim", "sr": "rs_cyrillic"}


class Reader(Protocol):
    """Finds lines of text in a frame and reads them."""

    def detect(self, rgb: Picture) -> NDArray[np.float64]:
        """Corners of the lines in pixels [n, 4, 2]: top left, top right, then clockwise."""

    def read(self, rgb: Picture) -> tuple[str, float]:
        """Text and how sure it is, 0..1, of a picture of one line."""


def scripts_of(languages: Sequence[str]) -> frozenset[str]:
    """Scripts of the languages, the Latin one included; ``SCRIPTS`` names all others."""
    return frozenset({"LATIN"}).union(*(SCRIPTS.get(code, frozenset()) for code in languages))


def allowed(characters: Sequence[str], languages: Sequence[str]) -> NDArray[np.bool_]:
    """Which characters may be read, [n]: all when no language is named.

    Otherwise letters of the languages' scripts, and digits and signs but the East Asian wide
    ones. Raises ``ValueError`` when a language is written in letters that are not among them.
    """
    if not languages:
        return np.ones(len(characters), bool)
    names = [unicodedata.name(c[:1], "") if c else "" for c in characters]
    first = [name.split(" ")[0] for name in names]
    at_hand = set(first)
    if not any(name.startswith("GREEK") and name.endswith("WITH TONOS") for name in names):
        at_hand.discard("GREEK")  # signs of formulas: no words are written without accents
    for code in languages:
        if not (SCRIPTS.get(code, frozenset({"LATIN"})) & at_hand):
            raise ValueError(f"this reader knows no letters of the language {code!r}")
    scripts = scripts_of(languages)
    wide = bool(scripts & {"CJK"})
    return np.array(
        [
            (not c[:1].isalpha() and (wide or not word.startswith(WIDE))) or word in scripts
            for c, word in zip(characters, first, strict=True)
        ]
    )


def decode_ctc(
    probabilities: NDArray[np.float32], alphabet: Sequence[str], may: NDArray[np.bool_]
) -> tuple[str, float]:
    """Greedy reading of CTC output [steps, characters]: the first is the blank, the last a space.

    Characters that ``may`` excludes are passed over. A space stands between two characters where
    its probability rises above ``SPACE``: a narrow gap gives the blank most of it. A B after a
    small letter is an ß where that has a chance of ``SHARP_S``, and as sure as both; so is the first
    letter a capital, at ``CAPITAL``, where only its size tells. Returns the text and the mean
    probability of its characters (0 for no text).
    """
    held = np.where(may, probabilities, 0.0)
    best = held.argmax(1)
    space = len(alphabet) - 1
    sharp = alphabet.index("ß") if "ß" in alphabet else None
    text, sure, gap = "", [], 0.0
    for k, index in enumerate(best.tolist()):
        gap = max(gap, float(held[k, space]))
        if index not in (0, space) and (k == 0 or index != best[k - 1]):
            p = float(held[k, index])
            other, least = None, SHARP_S
            if alphabet[index] == "B" and text[-1:].islower() and gap <= SPACE:
                other = sharp
            elif not text and alphabet[index] in TWINS and alphabet[index].upper() in alphabet:
                other, least = alphabet.index(alphabet[index].upper()), CAPITAL
            if other is not None and held[k, other] >= least:
                index, p = other, p + float(held[k, other])
            text += " " * (bool(text) and gap > SPACE) + alphabet[index]
            sure.append(p)
            gap = 0.0
    # Composed letters: some fonts' umlauts come as a letter and a combining mark.
    return unicodedata.normalize("NFC", text), float(np.mean(sure)) if sure else 0.0


def doubt(probabilities: NDArray[np.float32], characters: int) -> float:
    """How torn CTC output [steps, characters] is, per character read (at least one); 0 or more.

    Entropy in nats between the characters, blank and space aside, weighted by their share of each
    step; and that share where the blank or the space won over them: characters that were seen and
    not read. Where the blank and one character share a step nothing is in doubt but the place.
    """
    steps, kinds = np.nonzero(probabilities > GUESS)
    p = probabilities[steps, kinds].astype(np.float64)
    is_letter = (kinds > 0) & (kinds < probabilities.shape[1] - 1)
    steps, p = steps[is_letter], p[is_letter]
    letters = np.bincount(steps, p, minlength=len(probabilities))
    torn = -(p * np.log(p / letters[steps])).sum()
    passed = letters[np.isin(probabilities.argmax(1), (0, probabilities.shape[1] - 1))].sum()
    return float(torn + passed) / max(1, characters)


def mixes_greek(text: str) -> bool:
    """Whether a word of two or more letters holds a Greek one, units in Ω and μ aside.

    PP-OCR knows Greek letters as signs of formulas, without accents and the final sigma: words in
    Greek come out as Latin letters with a few of them.
    """
    return any(
        any(unicodedata.name(c, "").startswith("GREEK") for c in word)
        for word in re.findall(r"[^\W\d_]{2,}", text)
        if not re.fullmatch(r"[kMGm]?[ΩΩ]|[μµ][A-Za-z]{1,3}", word)
    )


#: Latin letters that letters of the Cyrillic script look like, capitals and small ones.
CYRILLIC_TWINS = frozenset("ABCEHKMOPTXYaceopxy")


def looks_cyrillic(text: str) -> bool:
    """Whether a text of letters holds none but those that Cyrillic ones look like."""
    letters = [c for c in text if c.isalpha()]
    return bool(letters) and CYRILLIC_TWINS.issuperset(letters)


def mixes_case(text: str) -> bool:
    """Whether a word of Latin letters that Cyrillic ones look like has capitals after small ones,
    or small ones after two capitals: Cyrillic letters look like capitals half as often."""
    return any(
        CYRILLIC_TWINS.issuperset(word) and re.search("[a-z][A-Z]|[A-Z][A-Z]+[a-z]", word)
        for word in re.findall(r"[^\W\d_]{3,}", text)
    )


def assured(text: str, probabilities: NDArray[np.float32]) -> float:
    """What the confidence of a reading is to be multiplied by, 0..1.

    1 for what is read whole; less the more guesses the reader was torn between (``TORN`` over the
    doubt per character), and ``MIXED`` at most for words in Greek or Cyrillic letters: a line in letters
    that it does not know is read as a few it knows, each probable enough.
    """
    share = TORN / max(TORN, doubt(probabilities, len(text.replace(" ", ""))))
    return min(share, MIXED) if mixes_greek(text) or mixes_case(text) else share


class PPOCR:
    """PP-OCRv6 small (DB detector, SVTR recogniser) of RapidOCR's wheel."""

    def __init__(
        self,
        files: Mapping[str, Path],
        *,
        threads: int,
        short: int,
        languages: Sequence[str],
    ) -> None:
        self._detector = open_session(files["detector"], threads=threads)
        self._recogniser = open_session(files["recogniser"], threads=threads)
        listed = self._recogniser.metadata["character"].splitlines()
        self._alphabet = ["", *listed, " "]
        self._may = np.r_[True, allowed(listed, languages), True]
        self._short = short

    def detect(self, rgb: Picture) -> NDArray[np.float64]:
        import cv2

        height, width = rgb.shape[:2]
        scale = min(2.0, self._short / min(height, width))
        size = [max(32, round(n * scale / 32) * 32) for n in (width, height)]
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(rgb, size, interpolation=how)
        heat = self._run(self._detector, small)
        return text_boxes(heat[0, 0], width, height)

    def read(self, rgb: Picture) -> tuple[str, float]:
        import cv2

        height, width = rgb.shape[:2]
        wide = max(16, min(2400, round(48 * width / height)))
        line = cv2.resize(rgb, (wide, 48), interpolation=cv2.INTER_LINEAR)
        padded = np.full((48, max(320, wide), 3), 127.5, np.float32)
        padded[:, :wide] = line
        probabilities = self._run(self._recogniser, padded)[0]
        text, confidence = decode_ctc(probabilities, self._alphabet, self._may)
        return text, confidence * assured(text, probabilities)

    @staticmethod
    def _run(session: Session, rgb: NDArray[Any]) -> NDArray[np.float32]:
        planes = rgb[..., ::-1].astype(np.float32).transpose(2, 0, 1)[None] / 127.5 - 1.0
        return session(planes)[0]


class EasyOCR:
    """EasyOCR (CRAFT detector, CRNN recogniser), on the CPU or a GPU."""

    def __init__(self, folder: Path, *, device: str, short: int, languages: Sequence[str]) -> None:
        import sys

        import torch
        from easyocr import Reader as EasyReader

        for file in sorted(folder.glob("*.pth")):
            # EasyOCR unpickles what it finds; a file that holds more than tensors stops here.
            torch.load(file, map_location="cpu", weights_only=True)
        codes = [EASY_CODES.get(code, code) for code in languages or EASY_DEFAULT]
        self._reader = EasyReader(
            codes,
            gpu=device if device != "cpu" else False,
            model_storage_directory=str(folder),
            user_network_directory=str(folder),
            download_enabled=False,
            verbose=False,
        )
        # The reader looks for modules of its own there; nobody else shall.
        sys.path.remove(str(folder))
        self._short = short

    def detect(self, rgb: Picture) -> NDArray[np.float64]:
        long = round(self._short * max(rgb.shape[:2]) / min(rgb.shape[:2]))
        level, free = self._reader.detect(np.ascontiguousarray(rgb), canvas_size=long, min_size=8)
        quads = [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)] for x0, x1, y0, y1 in level[0]]
        return np.array([*quads, *free[0]], float).reshape(-1, 4, 2)

    def read(self, rgb: Picture) -> tuple[str, float]:
        import cv2

        gray = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
        found = self._reader.recognize(gray)
        if not found:
            return "", 0.0
        text = " ".join(part[1] for part in found)
        return unicodedata.normalize("NFC", text).strip(), float(np.mean([p[2] for p in found]))
