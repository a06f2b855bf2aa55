"""Text to speech for generated clips: eSpeak NG, offline, in many languages.

For the demo, the tests and the benchmarks. Needs the ``demo`` extra (``espeakng-loader``: the
library and its language data in a wheel; eSpeak NG itself is under GPL-3.0-or-later).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
PARAMETER_RATE, PARAMETER_PITCH = 1, 3
CHARS_UTF8 = 1
EVENT_LIST_TERMINATED, EVENT_WORD = 0, 1

_lock = threading.Lock()


class SpokenWord(NamedTuple):
    """One word as it was spoken: its text and its times in seconds from the first sample."""

    text: str
    start: float
    end: float


class Utterance(NamedTuple):
    """Spoken text: ``samples`` float32 [n], mono, -1..1, at ``rate`` per second."""

    samples: NDArray[np.float32]
    rate: int
    words: tuple[SpokenWord, ...]


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@contextmanager
def _library() -> Iterator[tuple[Any, int]]:
    """A freshly loaded library and its sample rate.

    The synthesiser keeps its phase and its random state from one text to the next, in variables
    that only loading anew resets (5 ms); without that the same text gives other samples each time.
    """
    import _ctypes

    import espeakng_loader

    with _lock:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        try:
            rate = library.espeak_Initialize(
                AUDIO_OUTPUT_SYNCHRONOUS,
                0,
                espeakng_loader.get_data_path().encode(),
                INITIALIZE_DONT_EXIT,
            )
            if rate <= 0:
                raise RuntimeError(f"eSpeak NG could not read its data: error {rate}")
            yield library, int(rate)
            library.espeak_Terminate()
        finally:
            _ctypes.dlclose(library._handle)


def utter(text: str, language: str = "en", rate: int = 165, pitch: int = 50) -> Utterance:
    """Speak ``text``, and return when each word begins and ends.

    ``language`` is an eSpeak voice name ("en", "en-us", "de", "fr", …), ``rate`` words per minute
    (80..450), ``pitch`` 0..100. The same text gives the same samples. Raises
    ``ValueError`` for an unknown language or a rate or pitch out of range, ``ImportError`` without
    the ``demo`` extra.
    """
    if not 80 <= rate <= 450:
        raise ValueError(f"rate must be 80 to 450 words per minute, not {rate}")
    if not 0 <= pitch <= 100:
        raise ValueError(f"pitch must be 0 to 100, not {pitch}")
    text = text.replace("\0", " ")
    pieces: list[NDArray[np.int16]] = []
    marks: list[tuple[int, int, int]] = []

    def take(samples: Any, count: int, events: Any) -> int:
        if samples and count:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        at = 0
        while events[at].type != EVENT_LIST_TERMINATED:
            if events[at].type == EVENT_WORD:
                marks.append((events[at].text_position, events[at].length, events[at].sample))
            at += 1
        return 0

    with _library() as (library, sample_rate):
        if library.espeak_SetVoiceByName(language.encode()) != 0:
            raise ValueError(f"eSpeak NG has no voice {language!r}")
        library.espeak_SetParameter(PARAMETER_RATE, rate, 0)
        library.espeak_SetParameter(PARAMETER_PITCH, pitch, 0)
        callback = _Callback(take)
        library.espeak_SetSynthCallback(callback)
        data = text.encode() + b"\0"
        error = library.espeak_Synth(data, len(data), 0, 1, 0, CHARS_UTF8, None, None)
        library.espeak_Synchronize()
    if error:
        raise RuntimeError(f"eSpeak NG could not speak: error {error}")
    whole = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
    samples = whole.astype(np.float32) / 32768.0
    return Utterance(samples, sample_rate, _words(text, marks, samples, sample_rate))


def speak(
    text: str, language: str = "en", rate: int = 165, pitch: int = 50
) -> tuple[NDArray[np.float32], int]:
    """Speak ``text``: float32 [n], mono, -1..1, and its sample rate. See ``utter``."""
    spoken = utter(text, language, rate, pitch)
    return spoken.samples, spoken.rate


def _words(
    text: str, marks: list[tuple[int, int, int]], samples: NDArray[np.float32], rate: int
) -> tuple[SpokenWord, ...]:
    """Words from eSpeak's marks (1-based character, length, sample).

    A number spoken as several words has several marks inside one word of the text: they are one.
    A word ends where the next begins, less the silence before that.
    """
    whole: list[tuple[int, int, int]] = []
    for mark in marks:
        if not whole or mark[0] >= whole[-1][0] + whole[-1][1]:
            whole.append(mark)
    found = []
    for k, (position, length, start) in enumerate(whole):
        stop = whole[k + 1][2] if k + 1 < len(whole) else len(samples)
        loud = np.flatnonzero(np.abs(samples[start:stop]) > 0.003)
        if len(loud) == 0:
            continue
        word = text[position - 1 : position - 1 + length].strip()
        end = start + int(loud[-1]) + 1
        found.append(SpokenWord(word, (start + int(loud[0])) / rate, end / rate))
    return tuple(found)
