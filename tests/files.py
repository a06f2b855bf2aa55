"""Video files of every kind, made by FFmpeg from known pictures and sounds."""

from __future__ import annotations

import struct
import subprocess
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

Matrix = tuple[float, float, float, float]


def ffmpeg(*arguments: Any, **more: Any) -> None:
    """Run the FFmpeg of imageio-ffmpeg."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y"]
    subprocess.run([*command, *map(str, arguments)], check=True, **more)


def wav(path: Path, channels: NDArray[np.float64], rate: int = 48_000) -> Path:
    """Sound, float [channels, n], as 16 bit."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(channels.T, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def film(
    path: Path,
    pictures: Sequence[NDArray[np.uint8]],
    *,
    fps: str = "25",
    codec: Sequence[str] = ("libx264", "-preset", "ultrafast", "-crf", "12"),
    pixels: str = "yuv420p",
    sound: Path | None = None,
    sound_codec: Sequence[str] = ("aac", "-b:a", "128k"),
    extra: Sequence[Any] = (),
) -> Path:
    """RGB pictures (uint8 [height, width, 3]) at a rate, and a WAV file beside them."""
    height, width = pictures[0].shape[:2]
    size = f"{width}x{height}"
    source: list[Any] = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", fps, "-i", "-"]
    source += ["-i", sound, "-c:a", *sound_codec] if sound else []
    source += ["-c:v", *codec, "-pix_fmt", pixels]
    # MPEG-4 part 2 is not tagged: what is small is taken for BT.601, as FFmpeg codes it.
    if not pixels.startswith(("gbr", "rgb", "bgr")) and codec[0] != "mpeg4":
        full = pixels.startswith("yuvj")
        scale = f"scale=out_color_matrix=bt709:out_range={'pc' if full else 'tv'}"
        source += ["-vf", scale, "-colorspace", "bt709", "-color_range", "pc" if full else "tv"]
    raw = b"".join(np.ascontiguousarray(picture).tobytes() for picture in pictures)
    ffmpeg(*source, *extra, path, input=raw)
    return path


def with_matrix(path: Path, matrix: Matrix) -> Path:
    """Write a display matrix (a, b, c, d) into the first track of an MP4 file."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 4
    a, b, c, d = (round(n * 65536) for n in matrix)
    struct.pack_into(">9i", data, at + 40, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def with_codec(path: Path, entry: bytes, code: bytes) -> Path:
    """Rename the sample entry of a track of an MP4 file, so that nobody knows its codec."""
    data = bytearray(path.read_bytes())
    at = data.find(entry, data.find(b"moov"))
    data[at : at + 4] = code
    esds = data.find(b"esds", at, at + 400)
    if esds >= 0:
        data[esds : esds + 4] = b"xxxx"
    path.write_bytes(data)
    return path


def with_clap(path: Path, width: int, height: int) -> Path:
    """Give the first track of an MP4 file (H.264) a clean aperture in the middle."""
    return with_box(path, b"clap", struct.pack(">8I", width, 1, height, 1, 0, 1, 0, 1))


def with_box(path: Path, kind: bytes, body: bytes) -> Path:
    """Add a box to the sample entry of the first track of an MP4 file (H.264)."""
    data = bytearray(path.read_bytes())
    box = struct.pack(">I4s", 8 + len(body), kind) + body
    start = data.find(b"avc1", data.find(b"moov")) - 4
    end = start + int.from_bytes(data[start : start + 4], "big")
    around = (b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov")
    for place in [start, *(data.rfind(name, 0, start) - 4 for name in around)]:
        size = int.from_bytes(data[place : place + 4], "big") + len(box)
        data[place : place + 4] = size.to_bytes(4, "big")
    data[end:end] = box
    path.write_bytes(data)
    return path


def with_edits(path: Path, track: int, *edits: tuple[float, int]) -> Path:
    """Give a track (0, 1 ..) of an MP4 file an edit list of seconds and media times (-1: empty)."""
    data = bytearray(path.read_bytes())

    def boxes(at: int) -> dict[bytes, list[int]]:
        found: dict[bytes, list[int]] = {}
        end, at = at + int.from_bytes(data[at : at + 4], "big"), at + 8
        while at + 8 <= end:
            found.setdefault(bytes(data[at + 4 : at + 8]), []).append(at)
            at += int.from_bytes(data[at : at + 4], "big")
        return found

    moov = data.find(b"moov") - 4
    inside = boxes(moov)
    scale = int.from_bytes(data[inside[b"mvhd"][0] + 20 : inside[b"mvhd"][0] + 24], "big")
    trak = inside[b"trak"][track]
    old = boxes(trak)[b"edts"][0]
    length = int.from_bytes(data[old : old + 4], "big")
    entries = [struct.pack(">IiI", round(s * scale), media, 1 << 16) for s, media in edits]
    body = struct.pack(">II", 0, len(entries)) + b"".join(entries)
    box = struct.pack(">I4sI4s", 16 + len(body), b"edts", 8 + len(body), b"elst") + body
    data[old : old + length] = box
    for place in (trak, moov):
        size = int.from_bytes(data[place : place + 4], "big") + len(box) - length
        data[place : place + 4] = size.to_bytes(4, "big")
    path.write_bytes(data)
    return path


def with_standing_clock(path: Path, track: int) -> Path:
    """Make all samples of a track (0, 1 ..) of an MP4 file last for nothing, so that its clock stands."""
    data = bytearray(path.read_bytes())
    at = data.find(b"moov")
    for _ in range(track + 1):
        at = data.find(b"stts", at + 1)
    for entry in range(int.from_bytes(data[at + 8 : at + 12], "big")):
        struct.pack_into(">I", data, at + 16 + 8 * entry, 0)
    path.write_bytes(data)
    return path


def quarters(width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """A picture that looks different from every side: red, green, blue and grey fields."""
    picture = np.full((height, width, 3), 128, np.uint8)
    picture[: height // 2, : width // 2] = (220, 30, 30)
    picture[: height // 2, width // 2 :] = (30, 190, 40)
    picture[height // 2 :, : width // 2] = (40, 40, 220)
    return picture


def fields(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean colours of the four quarters of a picture, [4, 3], away from their edges."""
    height, width = picture.shape[:2]
    middles = [
        picture[int(height * y) : int(height * (y + 0.2)), int(width * x) : int(width * (x + 0.2))]
        for y in (0.15, 0.65)
        for x in (0.15, 0.65)
    ]
    return np.array([part.mean((0, 1)) for part in middles])


def slide(seed: int, width: int = 144, height: int = 256) -> NDArray[np.uint8]:
    """A picture of many coloured boxes, unlike that of any other seed."""
    random = np.random.default_rng(seed)
    picture = np.full((height, width, 3), random.integers(0, 255, 3), np.uint8)
    for _ in range(60):
        x, y = random.integers(0, width), random.integers(0, height)
        w, h = random.integers(8, width // 2), random.integers(8, height // 3)
        picture[y : y + h, x : x + w] = random.integers(0, 255, 3)
    return picture
