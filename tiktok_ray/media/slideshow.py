"""Makes a video from the images and the sound of a photo post.

Untrusted images and audio are parsed here, so this module runs as a separate process, with limits on
time and memory: ``python -m tiktok_ray.media.slideshow SPEC.json``.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media.container import Demuxed
from tiktok_ray.media.sound import Resampler, fold, is_sound, samples_of
from tiktok_ray.media.writer import write_clip

SECONDS_PER_PICTURE = 2.5
FPS = 10
SHORT_SIDE = 720
SOUND_RATE = 48_000
MEMORY_BYTES = 4 * 1024**3


def canvas(width: int, height: int) -> tuple[int, int]:
    """Width and height of the video, from the first image's: even, between 9:16 and 16:9."""
    aspect = min(16 / 9, max(9 / 16, width / height))
    short = round(SHORT_SIDE * max(aspect, 1 / aspect) / 2) * 2
    return (short, SHORT_SIDE) if aspect >= 1 else (SHORT_SIDE, short)


def fitted(path: Path, size: tuple[int, int] | None, max_pixels: int) -> NDArray[np.uint8]:
    """An image, upright, scaled to fit on black; uint8 [height, width, 3].

    ``size`` None takes the canvas from the picture. Raises ``ValueError`` when it is too large,
    ``OSError`` when it is not a picture.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        if opened.width * opened.height > max_pixels:
            raise ValueError(f"{opened.width} x {opened.height} pixels exceed the limit")
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    box = size or canvas(*picture.size)
    return np.asarray(ImageOps.pad(picture, box, color=(0, 0, 0)), np.uint8)


def sound_of(path: Path, seconds: float) -> NDArray[np.float32]:
    """The first ``seconds`` of a sound file, float32 [2, n] at 48 kHz.

    Channels and sample rate may change midway; samples that are not finite become silent. Raises
    ``ValueError`` if it contains no sound.
    """
    import av

    blocks: list[NDArray[np.float32]] = []
    length, limit = 0, round(seconds * SOUND_RATE)
    with av.open(str(path), options={"protocol_whitelist": "file"}) as container:
        for block in _resampled(_frames(container)):
            blocks.append(block if len(block) == 2 else np.repeat(block, 2, axis=0))
            length += block.shape[1]
            if length >= limit:
                break
    if not blocks:
        raise ValueError("it contains no sound")
    return np.concatenate(blocks, axis=1)[:, :limit]


def _frames(container: Any) -> Iterator[Any]:
    """The decoded sound, without what is damaged."""
    import av

    for packet in Demuxed(container, container.streams.audio[:1]):
        with suppress(av.error.FFmpegError):
            yield from packet.decode()


def _resampled(frames: Iterator[Any]) -> Iterator[NDArray[np.float32]]:
    """Blocks at 48 kHz, float32 [1 | 2, n]."""
    kind, resampler = None, None
    for frame in frames:
        now = frame.sample_rate, frame.layout.name
        if now != kind:
            if resampler:
                yield from resampler(None)
            weights = fold([channel.name for channel in frame.layout.channels])
            kind, resampler = now, Resampler(len(weights), frame.sample_rate, SOUND_RATE)
        block = samples_of(frame)
        assert resampler is not None
        yield from resampler(weights @ np.where(is_sound(block), block, np.float32(0)))
    if resampler:
        yield from resampler(None)


def write(
    target: Path, pictures: Sequence[Path], sound: Path | None, max_pixels: int
) -> dict[str, Any]:
    """Write the slide show; returns a description of it for the metadata.

    Every image is shown for ``SECONDS_PER_PICTURE``; the sound ends with the last image.
    """
    first = fitted(pictures[0], None, max_pixels)
    size = (first.shape[1], first.shape[0])
    repeats = round(SECONDS_PER_PICTURE * FPS)

    def frames() -> Iterator[NDArray[np.uint8]]:
        for path in pictures:
            picture = fitted(path, size, max_pixels)
            for _ in range(repeats):
                yield picture

    seconds = SECONDS_PER_PICTURE * len(pictures)
    heard = sound_of(sound, seconds) if sound else None
    write_clip(target, frames(), fps=FPS, audio=heard, audio_rate=SOUND_RATE)
    return {
        "pictures": len(pictures),
        "seconds_per_picture": SECONDS_PER_PICTURE,
        "sound": heard is not None,
    }


def main(spec: Path) -> None:
    """Write what the file ``spec`` says and print what was made, as JSON."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    wanted = json.loads(spec.read_text(encoding="utf-8"))
    made = write(
        Path(wanted["target"]),
        [Path(path) for path in wanted["pictures"]],
        Path(wanted["sound"]) if wanted["sound"] else None,
        wanted["max_pixels"],
    )
    print(json.dumps(made))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
