"""Spans of speech, pitch, and with Whisper's weights the word error rate."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from actors.speech_transcription import Transcript
from benchmarks.accuracy import Bench, Row
from tiktok_ray import spans
from tiktok_ray.analyzer import Skip

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


def rows(bench: Bench) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _spans(bench, Path(folder))
        yield from _words(bench, Path(folder))


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
    wrong = total = 0
    for file, truth in WORDS.items():
        path = playable(bench.file(file), folder)
        found: Transcript = bench.output("speech_transcription", path)
        if found.text is None:
            yield Row("", "word error rate", "not measured: Whisper's weights are not at hand")
            return
        said, heard = normalised(truth), normalised(found.text)
        errors = distance(said, heard)
        wrong, total = wrong + errors, total + len(said)
        yield Row(file, truth, f"{' '.join(heard)} ({errors} of {len(said)} words wrong)")
    rate = wrong / total
    yield Row("", "word error rate over these", f"{rate:.1%}", rate <= 0.15)


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

    from tiktok_ray.clips import write_clip

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
