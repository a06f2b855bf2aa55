"""Filler words of German and English, found in a transcript by whole words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, Protocol

from tiktok_ray.report import Timed, derived

#: Sounds that are never anything but fillers.
HESITATIONS = {
    "de": r"ä+h+m*|ä+m+|ö+h+m*|h+m+|m+h+|m{2,}|eh+m+",
    "en": r"u+h+m*|u+m+|e+r+m*|a+h+m+|h+m+|m{2,}",
}

#: Words and phrases that are fillers only where they stand isolated.
MARKERS = {
    "de": (
        "halt", "quasi", "sozusagen", "also", "ne", "na ja", "naja", "tja", "weißt du",
        "irgendwie", "sag ich mal",
    ),
    "en": ("like", "you know", "i mean", "sort of", "kind of", "well", "basically"),
}  # fmt: skip

VOWELS = re.compile(r"ie|ei|ai|au|eu|äu|ee|oo|aa|ou|ea|oa|[aeiouyäöüéèêáàâóòôíú]")

#: A gap to the neighbouring word from which on a word stands apart.
APART_S = 0.25


class Said(Protocol):
    """A word with its times in seconds."""

    @property
    def text(self) -> str: ...
    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...


class Filler(Timed):
    """A filler word, which carries no meaning and holds the floor."""

    text: str = derived("The filler as transcribed, in lower case")
    kind: Literal["hesitation", "marker"] = derived(
        "hesitation: äh, ähm, um, uh …; marker: a word that is a filler only where it stands"
        " isolated by punctuation or gaps (halt, like …)"
    )


def is_hesitation(text: str, language: str) -> bool:
    """Whether a word is a hesitation; never one in a language without a list."""
    return bool(re.fullmatch(HESITATIONS.get(language, "(?!)"), _bare(text)))


def find_fillers(words: Sequence[Said], language: str) -> list[Filler]:
    """Fillers in order of time. Raises ``KeyError`` for a language without a list.

    A marker counts only where it is isolated: a comma, a dash, an ellipsis, a sentence's edge or
    a gap of ``APART_S`` on both sides, and no question or exclamation mark after it. "Halt!" and
    "das ist halt so" are none, "das ist, halt, so" is one.
    """
    markers = sorted((tuple(marker.split()) for marker in MARKERS[language]), key=len)
    bare = [_bare(word.text) for word in words]
    found = []
    first = 0
    while first < len(words):
        here = [m for m in markers if tuple(bare[first : first + len(m)]) == m]
        size = len(here[-1]) if here else 1
        last = first + size - 1
        if is_hesitation(words[first].text, language):
            found.append(_filler(words[first : first + 1], bare[first], "hesitation"))
            size = 1
        elif here and _isolated(words, first, last):
            found.append(_filler(words[first : last + 1], " ".join(here[-1]), "marker"))
        else:
            size = 1
        first += size
    return found


def _filler(words: Sequence[Said], text: str, kind: Literal["hesitation", "marker"]) -> Filler:
    return Filler(start=words[0].start, end=words[-1].end, text=text, kind=kind)


def _bare(text: str) -> str:
    """A word in lower case without what is not a letter, digit, apostrophe or hyphen within."""
    return re.sub(r"[^\w'’-]", "", text.lower()).strip("-'’")


def _isolated(words: Sequence[Said], first: int, last: int) -> bool:
    before = words[first - 1] if first else None
    after = words[last + 1] if last + 1 < len(words) else None
    closed = words[last].text.rstrip("\"'”’»)")
    if closed.endswith(("!", "?")):
        return False
    opens = before is None or _ends(before) or words[first].start - before.end >= APART_S
    closes = after is None or _ends(words[last]) or after.start - words[last].end >= APART_S
    return opens and closes


def _ends(word: Said) -> bool:
    return word.text.rstrip("\"'”’»)").endswith((",", ";", ":", ".", "…", "–", "—", "-", "!", "?"))


def syllables_of(text: str, language: str) -> int | None:
    """Syllables of a word by its vowel groups; None where it has digits or no vowel.

    An estimate: spelling decides. A silent e ends no syllable in English.
    """
    text = text.lower()
    if any(c.isdigit() for c in text):
        return None
    if language == "en":
        text = re.sub(r"(?<=[aeiouy])([^aeiouy\W]+)(?<!l)(e|es|ed)\b", r"\1", text)
    return len(VOWELS.findall(text)) or None
