"""Spans of speech; with Whisper's weights words and their times against plain faster-whisper with
the same weights, and sound without speech; with the model of voices who speaks."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.speech_transcription import (
    SpeechTranscription,
    Transcript,
    TranscriptionOptions,
    Word,
    hear,
)
from benchmarks.accuracy import Absent, Bench, Clips, Figure, Row
from benchmarks.accuracy._calibration import calibration
from benchmarks.accuracy._figures import groups, mean_figure, median_figure, share_figure
from benchmarks.dialogues import (
    MORE_VOICES,
    OTHER_VOICES,
    SHORT_SENTENCES,
    dialogue,
    diarization_error,
)
from tiktok_ray.analyzer import Partial, Skip
from tiktok_ray.demo.speech_synthesis import SpokenWord
from tiktok_ray.media import Audio, Levels, detect_speech, spans
from tiktok_ray.methods.audio.speakers import turns
from tiktok_ray.methods.audio.whisper import Whisper
from tiktok_ray.report import Output

COMPOSITE = "video/short_vertical_composite.mp4"
SPOKEN = ((1.0, 2.1), (3.6, 5.3), (14.6, 16.7))
NOT_SPOKEN = ((6.0, 14.0), (17.3, 20.0))

#: What is said in each file.
WORDS = {
    "audio/jfk.flac": "And so my fellow Americans ask not what your country can do for you ask what"
    " you can do for your country",
    "video/grid_bbaf2n.mpg": "bin blue at f two now",
    "video/grid_swwp2s.mpg": "set white with p two soon",
    "audio/sb_spk1_snt1.wav": "the child almost hurt the small dog",
    "audio/sb_example1.wav": "the birch canoe slid on the smooth planks",
}
SILENT = ("audio/trumpet.ogg", "audio/esc50_carhorn.wav", "video/bigbuckbunny_51.mp4")
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

#: Seconds between turns; under zero the share of a turn that lies under the next.
APART, OVER = (0.15, 1.2), (-0.2, -0.2)
#: Seeds of dialogues that no threshold was set by; lower ones served for that.
HELD_OUT = range(80, 100)


INVENTED = "clips with a word invented"
#: Which fields the figures are errors of.
FIELDS = {
    ("WER", "all"): ("text", "segments.text", "segments.words.text"),
    ("onset error, s, median", "all"): ("segments.words.start",),
    ("offset error, s, median", "all"): ("segments.words.end",),
    ("ECE", "words"): ("segments.words.probability",),
    (INVENTED, "all"): ("segments.words.text",),
    ("diarization error rate", "with pauses"): ("turns.speaker",),
    ("diarization error rate", "overlapping"): ("turns.speaker",),
}
#: Dialogues: condition, voices, how they speak, and the most error that is bound to hold.
DIALOGUES: tuple[tuple[str, int, dict[str, Any], float | None], ...] = (
    *(("with pauses", n, {"pause": APART}, 0.15) for n in (1, 2, 3, 4)),
    *(("overlapping", n, {"pause": OVER}, 0.25) for n in (2, 3)),
    *(("24 other voices", n, {"pause": APART, "among": MORE_VOICES}, 0.15) for n in (2, 3)),
    *(("24 others overlapping", n, {"pause": OVER, "among": MORE_VOICES}, 0.25) for n in (2, 3)),
    *(("other voices", n, {"pause": APART, "among": OTHER_VOICES}, None) for n in (2, 3)),
    *(("others overlapping", n, {"pause": OVER, "among": OTHER_VOICES}, None) for n in (2, 3)),
    *(("short turns", n, {"pause": APART, "sentences": SHORT_SENTENCES}, None) for n in (2, 3)),
)
SEQUENTIAL, BATCHED = "faster-whisper, sequential", "faster-whisper, batched"
PLAIN_EVERY = 5  # of the clips without speech plain reading gets one in so many, for its cost
#: Seeds of dialogues of two voices, one in two with noise.
TWO_VOICES = range(24)


class Said(NamedTuple):
    """What became of the words of one clip: wrong by reader, lost of those that plain reading finds;
    CPU seconds of plain reading and ours.
    """

    words: int
    wrong: dict[str, int]
    lost: int
    cost: tuple[float, float]
    onset: list[float]
    offset: list[float]
    sure: list[tuple[float, bool]]


def figures(bench: Bench) -> Iterator[Figure]:
    bench.load(SpeechTranscription(TranscriptionOptions(language="en")))
    analyzer = bench.analyzer("speech_transcription")
    assert isinstance(analyzer, SpeechTranscription)
    yield from _who(bench, analyzer)
    if not isinstance(analyzer.recogniser, Whisper):
        raise Absent("no weights of Whisper that read without a card")
    made = list(_made(bench, analyzer))
    with tempfile.TemporaryDirectory() as folder:
        real = [
            (
                "real",
                said(analyzer, _samples(bench, playable(bench.file(file), Path(folder))), truth),
            )
            for file, truth in WORDS.items()
        ]
    told: tuple[tuple[Clips, list[tuple[str, Said]]], ...] = (("factory", made), ("real", real))
    for clips, known in told:
        for condition, some in groups(known).items():
            if clips == "factory" or condition == "all":
                yield from _errors(some, condition, clips)
        if pairs := [pair for _, one in known for pair in one.sure]:
            yield from calibration(pairs, "probability of words", "words", clips, unit="words")
    yield from _invented(bench, analyzer)


def _made(bench: Bench, analyzer: SpeechTranscription) -> Iterator[tuple[str, Said]]:
    """Speech over music from the factory, and dialogues of two voices, with and without noise."""
    for clip in bench.clips("sounds", ("speech over music",)):
        words = [SpokenWord(*word) for word in clip.truth["words"]]
        text = " ".join(word.text for word in words)
        yield (
            f"music at {clip.recipe.condition}",
            said(analyzer, _samples(bench, clip.path), text, words),
        )
    for seed in bench.some(TWO_VOICES):
        noise = 0.005 * (seed % 2)
        spoken = dialogue(seed, voices=2, turns=3 + seed % 9, pause=(0.3, 3.0), noise=noise)
        condition = "two voices" + (", noise" if noise else "")
        yield condition, said(analyzer, spoken.samples, spoken.text, spoken.words)


def _samples(bench: Bench, path: Path) -> NDArray[np.float32]:
    tracks = bench.decoded(path, frozenset({"audio", "speech"})).tracks
    samples: NDArray[np.float32] = tracks["audio"].samples
    return samples


def said(
    analyzer: SpeechTranscription,
    samples: NDArray[np.float32],
    truth: str,
    words: Sequence[SpokenWord] = (),
) -> Said:
    """Read a clip with all readers; ``words``: their true times, where known."""
    found = compare(analyzer, samples, truth)
    told = normalised(truth)
    wrong = {
        "tiktok_ray": found.ours, SEQUENTIAL: found.plain,
        BATCHED: distance(told, batched(analyzer, samples)),
    }  # fmt: skip
    paired = list(paired_words(words, found.heard))
    heard = [normalised(word.text) for word in found.heard]
    flat = [part for parts in heard for part in parts]
    right = matched(flat, told)
    places = np.cumsum([0, *(len(parts) for parts in heard)])
    sure = [
        (word.probability, all(k in right for k in range(places[i], places[i + 1])))
        for i, word in enumerate(found.heard)
        if heard[i]
    ]
    return Said(
        found.words,
        wrong,
        len(found.lost),
        found.cost,
        [abs(h.start - w.start) for w, h in paired],
        [abs(h.end - w.end) for w, h in paired],
        sure,
    )


def batched(analyzer: SpeechTranscription, samples: NDArray[np.float32]) -> list[str]:
    """Words by faster-whisper's batched pipeline, the same weights and a beam of 5."""
    from faster_whisper import BatchedInferencePipeline

    assert isinstance(analyzer.recogniser, Whisper)
    pipeline = BatchedInferencePipeline(analyzer.recogniser.model)
    segments, _ = pipeline.transcribe(np.array(samples), language="en", beam_size=5)
    return normalised(" ".join(segment.text for segment in segments))


def _errors(some: Sequence[Said], condition: str, clips: Clips) -> Iterator[Figure]:
    """Word errors of each reader, words lost, and times, of one group of clips."""
    for who in some[0].wrong:
        rates = [(one.wrong[who], one.words) for one in some]
        yield share_figure("WER", "words", condition, rates, clips=clips, by=who)
    lost = [(one.lost, one.words) for one in some]
    most = 0.0 if clips == "real" else None
    measure = "share lost of the words that sequential reading finds"
    yield share_figure(measure, "words", condition, lost, clips=clips, most=most)
    cost = [(one.cost[1], one.cost[0]) for one in some]
    measure = "CPU seconds per one of sequential reading"
    yield share_figure(measure, "words", condition, cost, clips=clips)
    if any(one.onset for one in some):
        for what in ("onset", "offset"):
            far = [getattr(one, what) for one in some]
            for quantile, name in ((0.5, "median"), (0.95, "95th percentile")):
                yield median_figure(
                    f"{what} error, s, {name}", "words", condition, far, clips=clips,
                    quantile=quantile, unit="words",
                )  # fmt: skip


def _invented(bench: Bench, analyzer: SpeechTranscription) -> Iterator[Figure]:
    """Words told of clips in which nobody speaks."""
    whisper = analyzer.recogniser
    assert isinstance(whisper, Whisper)
    ours: list[tuple[str, int]] = []
    plain: list[tuple[str, int]] = []
    for clip in bench.clips("sounds", ("no speech",)):
        try:
            found: Transcript = bench.output("speech_transcription", clip.path)
            ours.append((clip.recipe.condition, len(found.words)))
        except Skip:
            ours.append((clip.recipe.condition, 0))
        if len(ours) % PLAIN_EVERY == 1:
            samples = np.array(_samples(bench, clip.path))
            segments, _ = whisper.model.transcribe(samples, language="en", beam_size=5)
            words = normalised(" ".join(segment.text for segment in segments))
            plain.append((clip.recipe.condition, len(words)))
    for condition, some in groups(ours).items():
        yield share_figure(
            INVENTED, "no speech", condition, [(words > 0, 1) for words in some],
            most=0.0 if condition == "all" else None,
        )  # fmt: skip
    yield share_figure(
        INVENTED, "no speech", f"each {PLAIN_EVERY}th", [(words > 0, 1) for _, words in plain],
        by=SEQUENTIAL,
    )  # fmt: skip


def _who(bench: Bench, analyzer: SpeechTranscription) -> Iterator[Figure]:
    """Error rates of who speaks, by number of voices."""
    if analyzer.encoder is None:
        yield Figure(
            "diarization error rate", "voices", "with pauses", "factory", 0, None,
            reason="the model of voices is not at hand (install resemblyzer)",
        )  # fmt: skip
        return
    for condition, voices, how, most in DIALOGUES:
        told = [_told(analyzer, voices, seed, how) for seed in bench.some(HELD_OUT)]
        yield mean_figure(
            "diarization error rate", f"{voices} voices", condition, [e for e, _ in told],
            most=most, unit="dialogues",
        )  # fmt: skip
        yield mean_figure(
            "number of voices right", f"{voices} voices", condition, [r for _, r in told],
            bounds=(0, 1), least=None if most is None else 0.8, unit="dialogues",
        )  # fmt: skip


def _told(
    analyzer: SpeechTranscription, voices: int, seed: int, how: dict[str, Any]
) -> tuple[float, int]:
    """Error rate, and whether the number of voices is right, of one dialogue."""
    assert analyzer.encoder is not None
    spoken = dialogue(100 * voices + seed, voices=voices, turns=8, noise=0.002, **how)
    audio = sound(spoken.samples)
    told = turns(audio, detect_speech(audio).spans, analyzer.encoder)
    found = [(turn.start, turn.end, str(turn.speaker)) for turn in told]
    right = len({turn.speaker for turn in told}) == voices
    return diarization_error(list(spoken.turns), found), int(right)


def rows(bench: Bench) -> Iterator[Row]:
    bench.load(SpeechTranscription(TranscriptionOptions(language="en")))
    with tempfile.TemporaryDirectory() as folder:
        yield from _spans(bench, Path(folder))
        yield from _words(bench, Path(folder))


class Compared(NamedTuple):
    """Ours beside plain faster-whisper: words wrong, reference words that only it found, CPU."""

    words: int
    plain: int
    ours: int
    lost: list[str]
    cost: tuple[float, float]
    heard: list[Word]


def compare(analyzer: SpeechTranscription, samples: NDArray[np.float32], truth: str) -> Compared:
    """Read sound with both, plain faster-whisper with a beam of 5 and the same weights."""
    whisper = analyzer.recogniser
    assert isinstance(whisper, Whisper)
    audio = sound(samples)
    spoken = detect_speech(audio)
    start = time.process_time()
    segments, _ = whisper.model.transcribe(
        np.array(samples), language="en", beam_size=5, word_timestamps=True
    )
    plain = normalised(" ".join(segment.text for segment in segments))
    between = time.process_time()
    read = hear(whisper, audio, list(spoken.spans), analyzer.options)
    cost = between - start, time.process_time() - between
    said, ours = normalised(truth), normalised(" ".join(word.text for word in read.words))
    only = sorted(matched(said, plain) - matched(said, ours))
    heard = [
        Word(start=w.start, end=w.end, text=w.text.strip(), probability=w.probability)
        for w in read.words
    ]
    return Compared(
        len(said), distance(said, plain), distance(said, ours), [said[k] for k in only], cost, heard
    )


def matched(truth: Sequence[str], heard: Sequence[str]) -> set[int]:
    """Indices of the words of a truth that were heard, in order."""
    blocks = SequenceMatcher(None, truth, heard, autojunk=False).get_matching_blocks()
    return {k for block in blocks for k in range(block.a, block.a + block.size)}


def paired_words(
    said: Sequence[SpokenWord], heard: Sequence[Word]
) -> Iterator[tuple[SpokenWord, Word]]:
    """Words said and heard alike."""
    left = [" ".join(normalised(word.text)) for word in said]
    right = [" ".join(normalised(word.text)) for word in heard]
    for block in SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks():
        for k in range(block.size):
            yield said[block.a + k], heard[block.b + k]


def sound(samples: NDArray[np.float32]) -> Audio:
    """The audio track of bare samples; its levels are empty."""
    fixed = np.ascontiguousarray(samples, np.float32)
    fixed.flags.writeable = False
    none = np.zeros(1)
    none.flags.writeable = False
    levels = Levels(none, none, none, 48_000, 1)
    return Audio(fixed, levels, (spans.Span(0.0, len(fixed) / 16_000),))


def transcript_of(result: Output | Partial) -> Transcript:
    output = result.output if isinstance(result, Partial) else result
    assert isinstance(output, Transcript)
    return output


def _spans(bench: Bench, folder: Path) -> Iterator[Row]:
    found: Transcript = bench.output("speech_transcription", bench.file(COMPOSITE))
    spoken = [part.span for part in found.speech]
    covered = [round(spans.share(spoken, [truth]), 3) for truth in SPOKEN]
    truth = "spoken 1.0-2.1, 3.6-5.3, 14.6-16.7 s, from the level curve in 0.1 s"
    yield Row(COMPOSITE, truth, f"covered by {covered}", min(covered) >= 0.97)
    wrong = spans.overlap(spoken, NOT_SPOKEN)
    yield Row(COMPOSITE, "no speech in 6-14 s and after 17.3 s", f"{wrong:.2f} s", wrong == 0)
    file = "video/grid_swwp2s.mpg"
    found = bench.output("speech_transcription", bench.file(file))
    (start, end), (first, last) = found.speech[0].span, (0.49, 2.21)
    near = abs(start - first) <= 0.1 and abs(end - last) <= 0.1
    yield Row(file, f"words {first}-{last} s, its alignment", f"{start:.2f}-{end:.2f} s", near)
    for file in SILENT:
        try:
            found = bench.output("speech_transcription", playable(bench.file(file), folder))
            figure, holds = f"{found.speech_s:.1f} s", False
        except Skip as reason:
            figure, holds = str(reason), True
        yield Row(file, "nobody speaks", figure, holds)


def _words(bench: Bench, folder: Path) -> Iterator[Row]:
    analyzer = bench.analyzer("speech_transcription")
    assert isinstance(analyzer, SpeechTranscription)
    if analyzer.recogniser is None:
        yield Row("", "word error rate", "not measured: Whisper's weights are not at hand")
        return
    wrong = total = 0
    for file, truth in WORDS.items():
        path = playable(bench.file(file), folder)
        tracks = bench.decoded(path, frozenset({"audio", "speech"})).tracks
        found = compare(analyzer, tracks["audio"].samples, truth)
        wrong, total = wrong + found.ours, total + found.words
        text = " ".join(word.text for word in found.heard)
        figure = f"{text} ({found.ours} of {found.words} words wrong, plain {found.plain})"
        yield Row(file, truth, figure, found.ours <= found.plain and not found.lost)
    yield Row("", "word error rate over these", f"{wrong / total:.1%}", wrong <= 0.15 * total)


def normalised(text: str) -> list[str]:
    """Words in lower case without punctuation; digits as words, letters apart from digits."""
    apart = re.sub(r"(?<=\d)(?=\D)|(?<=\D)(?=\d)|(?<=\d)(?=\d)", " ", text.lower())
    words = re.findall(r"[\w']+", apart)
    return [DIGITS[int(word)] if word.isascii() and word.isdigit() else word for word in words]


def distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Least number of words to insert, delete or replace (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]


def playable(path: Path, folder: Path) -> Path:
    """The file itself if it has pictures, else its sound under a black one."""
    import av

    from tiktok_ray.media.writer import write_clip

    with av.open(str(path)) as container:
        attached = av.stream.Disposition.attached_pic
        if any(not stream.disposition & attached for stream in container.streams.video):
            return path
        resampler = av.AudioResampler("flt", "mono", 48_000)
        frames = [part for one in container.decode(audio=0) for part in resampler.resample(one)]
        sound = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    clip = folder / f"{path.stem}.mp4"
    if not clip.is_file():
        black = np.zeros((64, 64, 3), np.uint8)
        write_clip(clip, [black] * round(10 * len(sound) / 48_000), fps=10, audio=sound)
    return clip
