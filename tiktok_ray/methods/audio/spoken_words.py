"""Aligns words with the speech spans, and finds speech without recognised words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tiktok_ray.media import spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.audio.whisper import HeardWord

#: How far outside speech a word may lie.
TOLERANCE_S = 0.25
#: A word this short that follows another without a gap has no time of its own: the alignment ran
#: out of sound. How far apart "without a gap" may be.
SQUEEZED_S, TOUCHING_S = 0.06, 0.03
#: Characters per second that nobody says: a phrase that would have to be said faster in the speech
#: under it, and some slack, lies beside the speech.
TOO_FAST, SLACK_S = 40.0, 0.1
#: How late Whisper's alignment sets a word off from the one before: the median over 860 words made
#: by eSpeak NG, with tiny.en (GRID's speakers agree).
LATE_S = 0.09
#: Sound that a span of speech holds before its first word and after its last one; and how far off
#: the model may put these for them to be moved there.
PADDING_S, EDGE_S = 0.05, 0.4


def within(words: Iterable[HeardWord], speech: Sequence[Span]) -> list[HeardWord]:
    """The words that lie in speech, or at most ``TOLERANCE_S`` outside; in order.

    Models stretch the last word before a pause over it, and squeeze what follows against its end.
    A word belongs to the span of speech that it shares most with and is cut to it; a squeezed word
    goes with the one before and gets its share of that one's time, by letters. Phrases that the
    model made up in a silence, and that only touch the speech, are left out whole.
    """
    spoken = spans.union(speech)
    words = list(words)
    made_up = set(_made_up(words, spoken))
    kept: list[HeardWord] = []
    before: tuple[HeardWord, Span] | None = None
    for word in sorted(words, key=lambda word: word.start):
        if not word.text.strip() or word.phrase in made_up:
            continue
        home = _home(word, spoken)
        if home is None and before and _squeezed(word, before[0]):
            home = before[1]
            kept[-1:] = _shared(kept[-1], word)
        elif home is not None:
            kept.append(_cut(word, home))
        before = (word, home) if home else None
    return kept


def settled(words: Sequence[HeardWord], speech: Iterable[tuple[float, float]]) -> list[HeardWord]:
    """The same words with better times.

    Within a span of speech each begins and ends ``LATE_S`` earlier; the first one begins with the
    speech and the last one ends with it.
    """
    spoken = spans.union(speech)
    homes = [_around(word, spoken) for word in words]
    moved = []
    for k, (word, home) in enumerate(zip(words, homes, strict=True)):
        if home is None:
            moved.append(word)
            continue
        start, end = max(home.start, word.start - LATE_S), word.end - LATE_S
        if home not in homes[:k]:
            edge = home.start + PADDING_S
            start = edge if edge < word.start <= edge + EDGE_S else max(home.start, word.start)
        if home not in homes[k + 1 :]:
            edge = home.end - PADDING_S
            end = edge if word.end >= edge - EDGE_S else word.end
        start = min(start, word.end)
        moved.append(word._replace(start=start, end=max(start, end)))
    return moved


def _around(word: HeardWord, spoken: Sequence[Span]) -> Span | None:
    middle = (word.start + word.end) / 2
    return next((span for span in spoken if span.start <= middle <= span.end), None)


def wordless(
    words: Iterable[HeardWord], speech: Iterable[tuple[float, float]], least: float
) -> list[Span]:
    """Speech without a word for ``least`` seconds or more, and whole spans of it without any."""
    spoken = spans.union(speech)
    silent = spans.subtract(spoken, ((word.start, word.end) for word in words))
    return [span for span in silent if span.length >= least or span in spoken]


def joined(
    words: Sequence[HeardWord], again: Iterable[HeardWord], lost: Sequence[Span]
) -> list[HeardWord]:
    """The words of a first reading, and those of a second that lie where the first had none.

    A second reading is not believed where it is doubtful: it was made for want of words.
    """
    found = [
        word
        for word in within(again, lost)
        if not word.doubtful and spans.covers(lost, (word.start + word.end) / 2)
    ]
    return sorted([*words, *found], key=lambda word: word.start)


def _made_up(words: Sequence[HeardWord], spoken: Sequence[Span]) -> Iterator[int]:
    """Numbers of phrases with next to no speech under them."""
    phrases: dict[int, list[HeardWord]] = {}
    for word in words:
        phrases.setdefault(word.phrase, []).append(word)
    for number, phrase in phrases.items():
        letters = sum(len(word.text.strip()) for word in phrase)
        extent = (phrase[0].start, phrase[-1].end)
        if letters > TOO_FAST * (spans.overlap([extent], spoken) + SLACK_S):
            yield number


def _home(word: HeardWord, spoken: Sequence[Span]) -> Span | None:
    """The span that a word shares most with, or else the nearest one within the tolerance."""
    return max(
        (span for span in spoken if _shares(word, span) >= -TOLERANCE_S),
        key=lambda span: _shares(word, span),
        default=None,
    )


def _shares(word: HeardWord, span: Span) -> float:
    """Seconds that lie in both; below zero, how far apart they are.

    A first word may begin far ahead of the speech, and then its end counts; what is made up comes
    after the speech, and there the middle counts.
    """
    if word.start >= span.end:
        return span.end - (word.start + word.end) / 2
    return min(word.end, span.end) - max(word.start, span.start)


def _cut(word: HeardWord, home: Span) -> HeardWord:
    aside = 0.0 if _shares(word, home) > 0 else TOLERANCE_S
    start, end = max(word.start, home.start - aside), min(word.end, home.end + aside)
    return word._replace(start=max(0.0, start), end=max(0.0, end))


def _squeezed(word: HeardWord, before: HeardWord) -> bool:
    return word.end - word.start < SQUEEZED_S and word.start - before.end < TOUCHING_S


def _shared(before: HeardWord, word: HeardWord) -> tuple[HeardWord, HeardWord]:
    """Two words over the time of the first."""
    letters = len(before.text.strip()), len(word.text.strip())
    at = before.start + (before.end - before.start) * letters[0] / sum(letters)
    return before._replace(end=at), word._replace(start=at, end=before.end)
