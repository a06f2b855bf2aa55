"""What recognisers make of sound mixed by us, and by FFmpeg's own resampler as it was until 0899d06.

    TIKTOK_RAY_TEST_MEDIA=… TIKTOK_RAY_MODELS=… python -m benchmarks.sound_mixing

Clips whose words or sounds are known are put on two channels: as loud as they are, at full scale,
with one channel inverted, and on one channel alone. FFmpeg's mono of floats is not normalised, and was
clipped; inverted channels cancel in it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actors.audio_environment import AudioEnvironment, Soundscape
from actors.speech_transcription import SpeechTranscription, Transcript, TranscriptionOptions
from benchmarks.accuracy import Absent, Bench
from benchmarks.accuracy.speech_transcription import WORDS, distance, normalised
from tiktok_ray.analyzer import Partial, Skip
from tiktok_ray.media import AUDIO_RATE, Audio, Speech, detect_speech
from tiktok_ray.media.writer import write_clip

Samples = NDArray[np.float32]
RATE = 48_000
TAGS = {
    "audio/esc50_dog.wav": "Dog",
    "audio/esc50_carhorn.wav": "Vehicle horn, car horn, honking",
    "audio/trumpet.ogg": "Trumpet",
    "audio/vibe_ace.ogg": "Music",
}
#: Seconds of a file that are used.
MOST_S = 20.0
KINDS = ("as it is", "at full scale", "one channel inverted", "one channel silent")


def sound_of(path: Path) -> Samples:
    """One channel of a file at 48 kHz, float32 [n]."""
    import av

    blocks = []
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("fltp", "stereo", RATE)
        for frame in container.decode(audio=0):
            blocks += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    return np.asarray(np.concatenate(blocks)[: round(MOST_S * RATE)], np.float32)


def channels(sound: Samples, kind: str) -> Samples:
    """Two channels of it, float32 [2, n]."""
    if kind == "at full scale":
        sound = sound * (0.98 / np.abs(sound).max())
    other = {"one channel inverted": -1.0, "one channel silent": 0.0}.get(kind, 1.0)
    return np.stack([sound, np.float32(other) * sound])


def by_ffmpeg(path: Path, like: Audio) -> Audio:
    """The sound of a file as FFmpeg mixes it to mono at 16 kHz, clipped."""
    import av

    blocks = []
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("fltp", "mono", AUDIO_RATE)
        for frame in [*container.decode(audio=0), None]:
            blocks += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    mono = np.clip(np.concatenate(blocks), -1, 1)
    samples = np.zeros_like(like.samples)
    samples[: len(mono)] = mono[: len(samples)]
    samples.flags.writeable = False
    return replace(like, samples=samples)


def mixes(bench: Bench, file: str, kind: str, folder: Path) -> Iterator[tuple[str, Audio, Speech]]:
    """The sound of a file on two channels, mixed by FFmpeg and by us."""
    made = channels(sound_of(bench.file(file)), kind)
    black = np.zeros((64, 64, 3), np.uint8)
    pictures = [black] * round(10 * made.shape[1] / RATE)
    path = write_clip(folder / "clip.mov", pictures, fps=10, audio=made, audio_rate=RATE)
    audio: Audio = bench._decode(path, frozenset({"audio"})).tracks["audio"]
    for name, heard in (("FFmpeg", by_ffmpeg(path, audio)), ("ours", audio)):
        yield name, heard, detect_speech(heard)


def words_wrong(analyzer: SpeechTranscription, audio: Audio, speech: Speech, truth: str) -> int:
    """Words to insert, delete or replace until what is heard is what is said."""
    try:
        made = analyzer.analyze(audio, speech)
    except Skip:
        return len(normalised(truth))
    output = made.output if isinstance(made, Partial) else made
    assert isinstance(output, Transcript)
    heard = " ".join(word.text for word in output.words)
    return distance(normalised(truth), normalised(heard))


def tag(analyzer: AudioEnvironment, audio: Audio, speech: Speech, truth: str) -> float:
    """The probability of the right tag in the window where it is highest; 0 where it is not told."""
    try:
        made: Soundscape = analyzer.analyze(audio, speech)
    except Skip:
        return 0.0
    return next((t.max_probability for t in made.tags if t.name == truth), 0.0)


def main() -> int:
    folders = [os.environ.get(name) for name in ("TIKTOK_RAY_TEST_MEDIA", "TIKTOK_RAY_MODELS")]
    if not all(folders):
        print("TIKTOK_RAY_TEST_MEDIA and TIKTOK_RAY_MODELS must name folders", file=sys.stderr)
        return 2
    bench = Bench(Path(str(folders[0])), Path(str(folders[1])))
    bench.load(SpeechTranscription(TranscriptionOptions(language="en")))
    try:
        transcriber, tagger = bench.analyzer("speech_transcription"), AudioEnvironment()
        bench.load(tagger)
    except Absent as reason:
        print(f"Not measured: {reason}.", file=sys.stderr)
        return 1
    assert isinstance(transcriber, SpeechTranscription)
    print("| two channels | words wrong by FFmpeg | by ours | right tags by FFmpeg | by ours |")
    print("|---|---|---|---|---|")
    total = sum(len(normalised(truth)) for truth in WORDS.values())
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            wrong = {"FFmpeg": 0, "ours": 0}
            right: dict[str, list[float]] = {"FFmpeg": [], "ours": []}
            for file, truth in WORDS.items():
                for name, audio, speech in mixes(bench, file, kind, Path(folder)):
                    wrong[name] += words_wrong(transcriber, audio, speech, truth)
            for file, truth in TAGS.items():
                for name, audio, speech in mixes(bench, file, kind, Path(folder)):
                    right[name].append(tag(tagger, audio, speech, truth))
            told = [" ".join(f"{p:.2f}" for p in right[name]) for name in ("FFmpeg", "ours")]
            counts = [f"{wrong[name]} of {total}" for name in ("FFmpeg", "ours")]
            print(f"| {kind} | {' | '.join([*counts, *told])} |", flush=True)
    print(f"\nTags: {', '.join(TAGS.values())}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
