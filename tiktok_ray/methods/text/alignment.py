"""How much of one text occurs in another: word alignment."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache

#: Words this much alike count as the same: readings and transcripts err by a letter or two.
ALIKE = 0.75
TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+(?:['’]\w+)*")


def tokens(text: str) -> list[str]:
    """The words of a text, case and punctuation left out; ideographs one by one."""
    return TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


@lru_cache(maxsize=8192)
def same(a: str, b: str) -> bool:
    """Whether two words are the same but for a letter or two, by Ratcliff and Obershelp's ratio."""
    if a == b:
        return True
    if min(len(a), len(b)) < 4 or (a.isdigit() and b.isdigit()):
        return False
    return SequenceMatcher(None, a, b, autojunk=False).ratio() >= ALIKE


def aligned(part: Sequence[str], whole: Sequence[str]) -> list[int]:
    """Indices into ``whole`` of the words that ``part`` and a stretch of it have in common.

    The longest common subsequence within the best stretch of at most twice as many words and two,
    so that a few common words strewn over a long text do not add up.
    """
    room = 2 * len(part) + 2
    best: list[int] = []
    for start in range(max(1, len(whole) - room + 1)):
        found = _common(part, whole[start : start + room])
        if len(found) > len(best):
            best = [start + k for k in found]
        if len(best) == len(part):
            break
    return best


def _common(part: Sequence[str], whole: Sequence[str]) -> list[int]:
    """Indices into ``whole`` of a longest common subsequence."""
    rows = [[0] * (len(whole) + 1) for _ in range(len(part) + 1)]
    for i, a in enumerate(part):
        for j, b in enumerate(whole):
            above = max(rows[i][j + 1], rows[i + 1][j])
            rows[i + 1][j + 1] = rows[i][j] + 1 if same(a, b) else above
    found: list[int] = []
    i, j = len(part), len(whole)
    while i and j:
        if rows[i][j] == rows[i - 1][j]:
            i -= 1
        elif rows[i][j] == rows[i][j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            found.append(j)
    return found[::-1]


#: What leaving out a word costs, where exchanging it for one with nothing in common costs 1: words
#: less than 0.4 alike do not stand for each other.
GAP = 0.3


def paired(part: Sequence[str], whole: Sequence[str]) -> list[tuple[int | None, int | None]]:
    """Indices into both of words that stand for each other, in order; None where one has none.

    A global alignment (Needleman and Wunsch 1970) in which an exchange costs how unlike the words
    are; words of ``whole`` before and after ``part`` cost nothing and are left out.
    """
    rows = [[0.0] * (len(whole) + 1)] + [[GAP * (i + 1)] for i in range(len(part))]
    for i, a in enumerate(part, 1):
        for j, b in enumerate(whole, 1):
            rows[i].append(
                min(
                    rows[i - 1][j - 1] + _unlike(a, b),
                    rows[i - 1][j] + GAP,
                    rows[i][j - 1] + GAP,
                )
            )
    found: list[tuple[int | None, int | None]] = []
    i, j = len(part), min(range(len(whole) + 1), key=rows[len(part)].__getitem__)
    while i:
        if j and rows[i][j] == rows[i - 1][j - 1] + _unlike(part[i - 1], whole[j - 1]):
            i, j = i - 1, j - 1
            found.append((i, j))
        elif not j or rows[i][j] == rows[i - 1][j] + GAP:
            i -= 1
            found.append((i, None))
        else:
            j -= 1
            found.append((None, j))
    return found[::-1]


@lru_cache(maxsize=8192)
def _unlike(a: str, b: str) -> float:
    """0 for the same word, 1 for one that has nothing in common."""
    if same(a, b):
        return 0.0
    return 1.0 - SequenceMatcher(None, a, b, autojunk=False).ratio()
