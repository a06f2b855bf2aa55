"""Spans of speech; with Whisper's weights words and their times against plain faster-whisper with
the same weights, and sound without speech; with the model of voices who speaks."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.speech_transcription import (
    SpeechTranscription,
    Transcript,
    TranscriptionOptions,
    Word,
    hear,
)
from benchmarks.accuracy import Bench, Row
from benchmarks.dialogues import (
    OTHER_VOICES,
    SENTENCES,
    SHORT_SENTENCES,
    VOICES,
    dialogue,
    diarization_error,
    without_speech,
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


def rows(bench: Bench) -> Iterator[Row]:
    bench.load(SpeechTranscription(TranscriptionOptions(language="en")))
    with tempfile.TemporaryDirectory() as folder:
        yield from _spans(bench, Path(folder))
        yield from _words(bench, Path(folder))
    yield from made(bench)


def made(bench: Bench) -> Iterator[Row]:
    """Figures on made sound of known truth."""
    analyzer = bench.analyzer("speech_transcription")
    assert isinstance(analyzer, SpeechTranscription)
    if isinstance(analyzer.recogniser, Whisper):
        yield from _against_plain(analyzer, 24)
        yield _nothing_made_up(analyzer, 100)
    if analyzer.encoder is None:
        yield Row("", "diarization error rate", "not measured: the model of voices is not at hand")
        return
    for voices in (1, 2, 3, 4):
        yield _voices(analyzer, voices, APART)
    for voices in (2, 3):
        yield _voices(analyzer, voices, OVER)
        yield _voices(analyzer, voices, APART, among=OTHER_VOICES)
        yield _voices(analyzer, voices, OVER, among=OTHER_VOICES)
        yield _voices(analyzer, voices, APART, sentences=SHORT_SENTENCES)


def _against_plain(analyzer: SpeechTranscription, count: int) -> Iterator[Row]:
    """Word errors, words lost, and times on made dialogues."""
    errors = [0, 0]
    worse = lost = total = 0
    cost = [0.0, 0.0]
    onset: list[float] = []
    offset: list[float] = []
    for seed in range(count):
        said = dialogue(
            seed, voices=2, turns=3 + seed % 9, pause=(0.3, 3.0), noise=0.005 * (seed % 2)
        )
        compared = compare(analyzer, said.samples, said.text)
        errors = [errors[0] + compared.plain, errors[1] + compared.ours]
        worse += compared.ours > compared.plain
        lost += len(compared.lost)
        total += compared.words
        cost = [cost[0] + compared.cost[0], cost[1] + compared.cost[1]]
        for word, heard in paired_words(said.words, compared.heard):
            onset.append(abs(heard.start - word.start))
            offset.append(abs(heard.end - word.end))
    yield Row(
        f"{count} made dialogues", f"plain faster-whisper: {errors[0]} of {total} words wrong",
        f"{errors[1]} wrong, worse on {worse}, {lost} words lost that it found", not (worse or lost),
    )  # fmt: skip
    extra = cost[1] / cost[0] - 1
    yield Row(f"{count} made dialogues", "CPU seconds of plain faster-whisper", f"{extra:+.0%}")
    for what, far in (("onset", onset), ("offset", offset)):
        median, most = float(np.median(far)), float(np.percentile(far, 95))
        figure = f"off by {1000 * median:.0f} ms in the median, {1000 * most:.0f} ms at the 95th percentile"
        near = median <= 0.08 and most <= 0.2
        yield Row(f"{len(far)} made words", f"eSpeak NG's {what}", figure, near)


def _nothing_made_up(analyzer: SpeechTranscription, count: int) -> Row:
    words = speech = 0
    for _, samples in without_speech(count):
        audio = sound(samples)
        spoken = detect_speech(audio)
        speech += bool(spoken.spans)
        if spoken.spans:
            words += len(transcript_of(analyzer.analyze(audio, spoken)).words)
    figure = f"{words} words; speech in {speech}"
    return Row(
        f"{count} made clips", "tones, noise, music, laughter, screams, silence", figure, words == 0
    )


def _voices(
    analyzer: SpeechTranscription,
    voices: int,
    pause: tuple[float, float],
    *,
    sentences: Sequence[str] = SENTENCES,
    among: Sequence[str] = VOICES,
) -> Row:
    """Error rate and number of voices; a figure without a limit where there is none."""
    assert analyzer.encoder is not None
    errors, least, right = [], [], 0
    for seed in HELD_OUT:
        said = dialogue(
            100 * voices + seed, voices=voices, turns=8, pause=pause, noise=0.002,
            sentences=sentences, among=among,
        )  # fmt: skip
        audio = sound(said.samples)
        told = turns(audio, detect_speech(audio).spans, analyzer.encoder)
        found = [(turn.start, turn.end, str(turn.speaker)) for turn in told]
        errors.append(diarization_error(list(said.turns), found))
        least.append(diarization_error(list(said.turns), one_at_a_time(said.turns)))
        right += len({turn.speaker for turn in told}) == voices
    mean = float(np.mean(errors))
    kind = "with pauses" if pause is APART else "20 % of each turn under the next"
    kind += ", turns of a second" if sentences is SHORT_SENTENCES else ""
    kind += ", other voices" if among is OTHER_VOICES else ""
    limit = 0.15 if pause is APART else 0.25
    limited = sentences is SENTENCES and among is VOICES
    return Row(
        f"{len(HELD_OUT)} made dialogues", f"voices: {voices}, {kind}",
        f"error rate {mean:.1%} (at best {np.mean(least):.1%} with one voice told at a time),"
        f" number right in {right}",
        (mean <= limit and right >= 0.8 * len(HELD_OUT)) if limited else None,
    )  # fmt: skip


def one_at_a_time(said: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Turns in order of their starts, each cut where the next one begins: the best that can be told
    without overlap."""
    starts = [start for start, _, _ in said[1:]] + [float("inf")]
    return [
        (start, min(end, following), voice)
        for (start, end, voice), following in zip(said, starts, strict=True)
    ]


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
