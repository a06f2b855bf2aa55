"""Writes video clips with known content, for the demo, the tests and the benchmarks."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

AUDIO_CODECS = {".webm": "libopus", ".mkv": "aac", ".mp4": "aac", ".mov": "pcm_s16le"}


def write_clip(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    *,
    fps: float = 30.0,
    times: Iterable[float] | None = None,
    audio: NDArray[np.float32] | None = None,
    audio_rate: int = 48_000,
    audio_start: float = 0.0,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    gop: int = 60,
) -> Path:
    """Write RGB frames (uint8 [height, width, 3], even sizes) and sound to one file.

    ``audio`` is float32 [n] or [channels, n], -1..1, beginning ``audio_start`` seconds after the
    first frame. ``times`` replaces the constant rate by a timestamp for each frame. Colours
    are encoded as BT.709, limited range, and tagged so. Returns ``path``.
    """
    import av
    from av.video.reformatter import ColorRange, Colorspace

    base = Fraction(1, 90_000)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        video.pix_fmt = "yuv420p"
        video.options = options if options is not None else {"preset": "veryfast", "crf": "16"}
        video.codec_context.gop_size = gop
        video.codec_context.time_base = base
        video.codec_context.colorspace = 1
        video.codec_context.color_primaries = 1
        video.codec_context.color_trc = 1
        video.codec_context.color_range = ColorRange.MPEG
        sound = None
        if audio is not None:
            audio = np.atleast_2d(np.asarray(audio, np.float32))
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(audio)]
            name = AUDIO_CODECS.get(path.suffix, "aac")
            sound = container.add_stream(name, rate=audio_rate, layout=layout)
            if name == "aac":
                sound.bit_rate = 192_000
        stamps = iter(times) if times is not None else (k / fps for k in count())
        for picture, t in zip(frames, stamps, strict=False):
            if (video.height, video.width) != picture.shape[:2]:
                video.height, video.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame = frame.reformat(
                format="yuv420p",
                src_colorspace=Colorspace.ITU601,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
            frame.pts, frame.time_base = round(t / base), base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None and audio is not None:
            for start in range(0, audio.shape[1], 1024):
                block = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(audio[:, start : start + 1024]),
                    format="fltp",
                    layout=layout,
                )
                block.sample_rate = audio_rate
                block.pts = round(audio_start * audio_rate) + start
                block.time_base = Fraction(1, audio_rate)
                container.mux(sound.encode(block))
            container.mux(sound.encode(None))
    return path
