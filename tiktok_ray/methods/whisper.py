"""Whisper in CTranslate2's format, run by faster-whisper: windows of sound in, words out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from tiktok_ray import spans
from tiktok_ray.media import Audio
from tiktok_ray.spans import Span
from tiktok_ray.weights import Hub

#: What Whisper sees at once, in seconds; the longest gap between two spans that are fed in one
#: piece; and the sound fed before and after a span.
WINDOW_S, JOIN_S, MARGIN_S = 30.0, 2.0, 0.2

#: Whisper's own limits (Radford et al. 2022, section 4.5): a reading beyond them is done again at
#: rising temperatures; one under the second and above the third is no speech.
COMPRESSION_MAX, LOGPROB_MIN, NO_SPEECH_MAX = 2.4, -1.0, 0.6
TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)

FOLDER = ("config.json", "model.bin", "tokenizer.json", "vocabulary.*")


def checkpoint(name: str, size_gib: float) -> Hub:
    """A Whisper model converted for CTranslate2."""
    return Hub(
        name,
        licence="MIT",
        size_gib=size_gib,
        files=(*FOLDER, "preprocessor_config.json"),
        needs=FOLDER,
    )


class HeardWord(NamedTuple):
    """A word as the model gives it: ``text`` with the space before it, times in video time."""

    text: str
    start: float
    end: float
    probability: float


class Heard(NamedTuple):
    """What a recogniser heard."""

    language: str
    language_probability: float | None
    words: list[HeardWord]


class Recogniser(Protocol):
    """Hears words in windows of the sound, each at most ``WINDOW_S`` long."""

    def hear(
        self,
        audio: Audio,
        windows: Sequence[Span],
        *,
        language: str | None,
        beam_size: int,
        batch: int,
    ) -> Heard: ...


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
        from faster_whisper import WhisperModel

        self.model = WhisperModel(
            str(folder),
            device=device,
            compute_type="int8_float16" if device == "cuda" else "int8",
            cpu_threads=threads,
            local_files_only=True,
        )

    def hear(
        self,
        audio: Audio,
        windows: Sequence[Span],
        *,
        language: str | None,
        beam_size: int,
        batch: int,
    ) -> Heard:
        """Transcribe the windows, ``batch`` at a time.

        The language is found from the first 30 s of speech. No text is carried from one window to
        the next: an error would carry on too.
        """
        from faster_whisper import BatchedInferencePipeline

        segments, info = BatchedInferencePipeline(self.model).transcribe(
            np.asarray(audio.samples),
            language=language,
            beam_size=beam_size,
            word_timestamps=True,
            temperature=0.0,
            batch_size=batch,
            clip_timestamps=[{"start": start, "end": end} for start, end in windows],
        )
        starts = np.array([window.start for window in windows])
        readings: list[list[Any]] = [[] for _ in windows]
        for segment in segments:
            readings[int(np.abs(starts - segment.seek / 100).argmin())].append(segment)
        words: list[HeardWord] = []
        for window, found in zip(windows, readings, strict=True):
            offset = 0.0
            if any(doubtful(one) for one in found):
                found, offset = self._again(audio, window, info.language, beam_size), window.start
            words += [
                _heard(word, offset, window)
                for one in found
                if not silent(one)
                for word in one.words or ()
            ]
        told = language is not None
        return Heard(info.language, None if told else float(info.language_probability), words)

    def _again(self, audio: Audio, window: Span, language: str, beam_size: int) -> list[Any]:
        """Read one window at rising temperatures, until the reading keeps Whisper's limits."""
        segments, _ = self.model.transcribe(
            np.array(audio.cut(*window)),
            language=language,
            beam_size=beam_size,
            word_timestamps=True,
            without_timestamps=True,
            condition_on_previous_text=False,
            temperature=TEMPERATURES,
        )
        return list(segments)


def _heard(word: Any, offset: float, window: Span) -> HeardWord:
    """A word in video time. The library rounds windows up to whole seconds, and so may lie past
    the end of the sound it was given."""
    start, end = (
        min(max(offset + float(t), window.start), window.end) for t in (word.start, word.end)
    )
    return HeardWord(word.word, start, end, float(word.probability))


def windows(speech: Iterable[tuple[float, float]], audio: Audio) -> list[Span]:
    """What of the sound to feed: spans of speech with a margin, joined to at most ``WINDOW_S``.

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
    """Whether a reading is repetitive or improbable by Whisper's own limits."""
    return bool(
        segment.compression_ratio > COMPRESSION_MAX or segment.avg_logprob < LOGPROB_MIN
    ) and not silent(segment)


def silent(segment: Any) -> bool:
    """Whether Whisper itself takes a window for silence."""
    return bool(segment.no_speech_prob > NO_SPEECH_MAX and segment.avg_logprob < LOGPROB_MIN)
