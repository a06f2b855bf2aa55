"""Whisper in CTranslate2's format, run by faster-whisper: spans of audio in, words out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from tiktok_ray.media import Audio, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.weights import Asset, Hub

#: What Whisper sees at once, in seconds; the longest gap between two spans that are fed in one
#: piece; and the sound fed before and after a span.
WINDOW_S, JOIN_S, MARGIN_S = 30.0, 2.0, 0.2

#: Whisper's own limits (Radford et al. 2022, section 4.5): a reading beyond them is done again at
#: rising temperatures.
COMPRESSION_MAX, LOGPROB_MIN = 2.4, -1.0

#: What one reading may hold: Whisper's own most, and by the length of the sound, which is a third
#: more a second than that most in a whole window; the rest is for time stamps in short sound.
READING_TOKENS, READING_TOKENS_PER_S, STAMP_TOKENS = 224, 10, 24
#: What reading may cost in all for each second of sound: six readings of ordinary speech, which
#: has 3 to 4 tokens a second. Encoding a window costs as much as so many tokens of the decoder.
TOKENS_PER_S, ENCODING_TOKENS = 25, 32

FOLDER = ("config.json", "model.bin", "tokenizer.json", "vocabulary.*")

Task = Literal["transcribe", "translate"]


def checkpoint(name: str, size_gib: float | None) -> Hub:
    """A Whisper model converted for CTranslate2."""
    return Hub(
        name,
        licence="MIT",
        size_gib=size_gib,
        files=(*FOLDER, "preprocessor_config.json"),
        needs=FOLDER,
    )


def own_checkpoint(folder: str) -> Asset:
    """A Whisper model converted for CTranslate2 in a folder of the user's own."""
    vocabulary = ("vocabulary.json", "vocabulary.txt")
    return Asset(
        folder,
        licence="user-supplied",
        needs=(("config.json",), ("model.bin",), ("tokenizer.json",), vocabulary),
    )


class HeardWord(NamedTuple):
    """A word as the model gives it: ``text`` with the space before it, times in video time.

    ``doubtful`` if its reading stayed beyond Whisper's own limits at every temperature;
    ``language`` is that of its window; ``phrase`` numbers what the model set off as one.
    """

    text: str
    start: float
    end: float
    probability: float
    doubtful: bool = False
    language: str | None = None
    phrase: int = 0


class Heard(NamedTuple):
    """What a recogniser heard, in order of time; ``outside`` counts words left out of it, and
    ``written_in`` is the language of its words where they are translated."""

    language: str
    language_probability: float | None
    words: list[HeardWord]
    outside: int = 0
    written_in: str | None = None


class Asked(NamedTuple):
    """Decoding options of a recogniser.

    ``language`` None: found from the first window; ``several``: found for each window anew.
    ``prompt`` is text as if said before, ``hotwords`` are names likely to be said. ``carry`` hands
    each window the text of the one before.
    """

    language: str | None = None
    beam_size: int = 5
    task: Task = "transcribe"
    several: bool = False
    prompt: str | None = None
    hotwords: str | None = None
    carry: bool = True


class Recogniser(Protocol):
    """Hears words in stretches of the sound; ``english_only`` if it knows no other language."""

    english_only: bool

    def hear(self, audio: Audio, stretches: Sequence[Span], asked: Asked) -> Heard: ...


class Allowance:
    """What the decoder may still do, in tokens: each second of sound read through pays for some.

    The first window is read on credit. Whisper begins the next window where the last word ended
    and reads each at up to six temperatures, so that where it repeats itself it would go on
    hundreds of times for a few seconds of sound. Here the readings of a sound cost at most
    ``TOKENS_PER_S`` for each of its seconds and those of two windows, and for each window one
    reading more.
    """

    def __init__(self, longest_s: float) -> None:
        """``longest_s``: length of the longest stretch that is to be read."""
        window_s = min(longest_s, WINDOW_S)
        self.most = min(READING_TOKENS, round(READING_TOKENS_PER_S * window_s) + STAMP_TOKENS)
        self.left = max(READING_TOKENS, TOKENS_PER_S * window_s)
        self.read_to: float | None = None
        self.cut = False

    def spend(self, tokens: int) -> None:
        self.left -= tokens

    def temperatures(self, wanted: Sequence[float]) -> Iterator[float]:
        """The first one, and more while there is something left; ``cut`` if not all."""
        self.cut = False
        for k, temperature in enumerate(wanted):
            if k and self.left <= 0:
                self.cut = True
                return
            yield temperature

    def passes(self, start: float, seek: float, end: float) -> bool:
        """Count a window that was read, from ``start`` to ``end`` in seconds; whether to go on at
        its end, come what may, and not at ``seek``, or earlier, where the last word ended."""
        if self.read_to is not None:
            self.left += TOKENS_PER_S * (start - self.read_to)
        self.spend(ENCODING_TOKENS)
        spent = self.left <= 0
        self.read_to = end if spent else seek
        self.left += TOKENS_PER_S * (self.read_to - start)
        return spent

    def length(self, prompt: int, whole: int) -> int:
        """Tokens to allow beside a prompt so that a reading has ``most``: CTranslate2 allows no
        more than half of prompt and reading together, and ``whole`` is all the model holds."""
        return min(max(2 * self.most - prompt, self.most), whole - prompt)


class Decoder:
    """CTranslate2's model, counting the tokens that it generates."""

    def __init__(self, model: Any) -> None:
        self.model, self.allowance = model, Allowance(WINDOW_S)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def generate(self, *args: Any, **options: Any) -> Any:
        results = self.model.generate(*args, **options)
        for result in results:
            self.allowance.spend(max(len(tokens) for tokens in result.sequences_ids))
        return results


class Whisper:
    """A Whisper model in CTranslate2's format, run by faster-whisper.

    Raises ``FileNotFoundError`` for a folder that is not whole: the library would fetch what lacks.
    """

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        lacking = [name for name in FOLDER if not any(folder.glob(name))]
        if lacking:
            raise FileNotFoundError(f"{folder} lacks {', '.join(lacking)}")
        if device == "cuda":
            preload_cublas()
        import ctranslate2
        from faster_whisper import WhisperModel

        class Model(WhisperModel):  # type: ignore[misc]
            """Tells the language of the window it reads, which the library's segments do not, and
            keeps to an allowance."""

            read_in: str | None = None
            model: Decoder

            def get_prompt(self, tokenizer: Any, *args: Any, **more: Any) -> Any:
                self.read_in = tokenizer.language_code
                return super().get_prompt(tokenizer, *args, **more)

            def generate_with_fallback(
                self, encoded: Any, prompt: list[int], tokenizer: Any, options: Any
            ) -> Any:
                allowance = self.model.allowance
                kept = replace(
                    options,
                    temperatures=allowance.temperatures(options.temperatures),
                    max_new_tokens=allowance.length(len(prompt), self.max_length),
                )
                read = super().generate_with_fallback(encoded, prompt, tokenizer, kept)
                # As after the last temperature: the next window is not read in the light of this.
                hot = options.temperatures[-1] if allowance.cut else read[2]
                return (*read[:2], hot, read[3])

            def _split_segments_by_timestamps(self, **window: Any) -> Any:
                segments, seek, ended = super()._split_segments_by_timestamps(**window)
                end = window["seek"] + window["segment_size"]
                at = (frame / self.frames_per_second for frame in (window["seek"], seek, end))
                if self.model.allowance.passes(*at):
                    return segments, end, True
                return segments, seek, ended

        ctranslate2.set_random_seed(0)
        self.model = Model(
            str(folder),
            device=device,
            compute_type="int8_float16" if device == "cuda" else "int8",
            cpu_threads=threads,
            local_files_only=True,
        )
        self.model.model = Decoder(self.model.model)
        self.english_only = not self.model.model.is_multilingual

    def hear(self, audio: Audio, stretches: Sequence[Span], asked: Asked) -> Heard:
        """Read the stretches one after another, each window from where the one before ended.

        This is Whisper's own way (Radford et al. 2022, section 4.5), at temperatures up to 1 where
        a reading is beyond its limits. Windows read in a batch are faster, but end for good where
        the model first sets a full stop. What all of it costs is bounded: see ``Allowance``.
        """
        self.model.model.allowance = Allowance(max((s.length for s in stretches), default=0.0))
        # The last clip is left open: a rounded end would cut the last hundredth of a second.
        ends = [s.end if s.end < audio.duration_s else audio.duration_s + 1 for s in stretches]
        segments, info = self.model.transcribe(
            np.array(audio.samples),
            language=asked.language,
            task=asked.task,
            beam_size=asked.beam_size,
            multilingual=asked.several and not self.english_only,
            initial_prompt=asked.prompt,
            hotwords=asked.hotwords,
            condition_on_previous_text=asked.carry,
            word_timestamps=True,
            clip_timestamps=[
                t for s, end in zip(stretches, ends, strict=True) for t in (s.start, end)
            ],
        )
        words = [
            HeardWord(
                word.word,
                max(0.0, min(float(word.start), audio.duration_s)),
                max(0.0, min(float(word.end), audio.duration_s)),
                float(word.probability),
                doubtful(segment),
                self.model.read_in,
                phrase,
            )
            for phrase, segment in enumerate(segments)
            for word in segment.words or ()
        ]
        told = asked.language is not None or self.english_only
        return Heard(info.language, None if told else float(info.language_probability), words)


def stretches(speech: Iterable[tuple[float, float]], audio: Audio) -> list[Span]:
    """What of the sound to read first: all of it but what lies further than half a window from any
    speech. With what is around it Whisper reads better than cut to the speech."""
    wide = ((start - WINDOW_S / 2, end + WINDOW_S / 2) for start, end in speech)
    return spans.intersect(wide, [(0.0, audio.duration_s)])


def windows(speech: Iterable[tuple[float, float]], audio: Audio) -> list[Span]:
    """Spans of speech on their own, with a margin, joined to at most ``WINDOW_S``.

    A span that is longer is cut where the sound is weakest in its last third.
    """
    wide = [(start - MARGIN_S, end + MARGIN_S) for start, end in speech]
    pieces = [
        piece
        for span in spans.intersect(wide, [(0.0, audio.duration_s)])
        for piece in _pieces(span, audio)
    ]
    joined: list[Span] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if last and piece.start - last.end <= JOIN_S and piece.end - last.start <= WINDOW_S:
            joined[-1] = Span(last.start, piece.end)
        else:
            joined.append(piece)
    return joined


def _pieces(span: Span, audio: Audio) -> Iterator[Span]:
    step = 0.02
    while span.length > WINDOW_S:
        first = span.start + WINDOW_S * 2 / 3
        late = audio.cut(first, span.start + WINDOW_S)
        size = round(step * audio.rate)
        power = (late[: len(late) // size * size].reshape(-1, size) ** 2).mean(1)
        smooth = np.convolve(power, np.ones(5) / 5, mode="valid")
        at = first + (int(np.argmin(smooth)) + 2.5) * step
        yield Span(span.start, at)
        span = Span(at, span.end)
    yield span


def preload_cublas() -> None:
    """Load cuBLAS 12, which CTranslate2 opens by name, from its wheel or from the system.

    Raises ``OSError`` where neither has it.
    """
    import ctypes
    import importlib.util

    spec = importlib.util.find_spec("nvidia.cublas")
    folders = (
        [Path(root) / "lib" for root in (spec.submodule_search_locations or [])] if spec else []
    )
    place = next((f for f in folders if (f / "libcublas.so.12").is_file()), Path())
    for name in ("libcublasLt.so.12", "libcublas.so.12"):
        ctypes.CDLL(str(place / name), mode=ctypes.RTLD_GLOBAL)


def doubtful(segment: Any) -> bool:
    """Whether a decoding is repetitive or improbable by Whisper's own thresholds."""
    return bool(segment.compression_ratio > COMPRESSION_MAX or segment.avg_logprob < LOGPROB_MIN)
