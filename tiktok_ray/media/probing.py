"""What is known about a video file without analyzing it, as text and as JSON.

The file is read in a separate process: a crash of native code affects nothing else.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tiktok_ray.media import InputError, Video, probe
from tiktok_ray.report import StreamInfo
from tiktok_ray.settings import Settings


def probed(path: Path, settings: Settings) -> dict[str, Any]:
    """Everything ``media.probe`` finds, as JSON values. Raises ``InputError``.

    Types beyond those of ``probe``: ``decoder_died`` and ``decode_timeout``.
    """
    return read_apart("tiktok_ray.media.probing", path, (path, settings), settings)


def read_apart(module: str, path: Path, call: Any, settings: Settings) -> dict[str, Any]:
    """The JSON output of ``python -m module``, which receives ``call`` pickled on its standard input.
    Raises ``InputError``, with the error it reported or the cause of its death.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=pickle.dumps(call),
            capture_output=True,
            timeout=settings.decode_timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        limit = f"probing it took longer than {settings.decode_timeout_s:.0f} s"
        advice = "raise the setting TIKTOK_RAY_DECODE_TIMEOUT_S"
        raise InputError("decode_timeout", limit, advice) from None
    if done.returncode != 0:
        raise InputError(
            "decoder_died",
            f"the process reading {path.name} exited with {done.returncode}",
            "the file may be malicious; export it again",
        )
    found: dict[str, Any] = json.loads(done.stdout)
    if "error" in found:
        raise InputError(**found["error"])
    return found


def main() -> None:
    """Answer one call that comes, pickled, on standard input."""
    answer_with(lambda path, settings: _plainly(probe(path, settings)))


def answer_with(read: Callable[..., dict[str, Any]]) -> None:
    """Answer one call of ``read_apart``: with what ``read`` returns, or the error that it raises."""
    try:
        answer = read(*pickle.loads(sys.stdin.buffer.read()))
    except InputError as error:
        told = {"type": error.type, "message": str(error), "advice": error.advice}
        answer = {"error": told}
    sys.stdout.write(json.dumps(answer))


def _plainly(video: Video) -> dict[str, Any]:
    return {name: _plain(value) for name, value in video.__dict__.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def told(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The findings as text: pairs of a heading and its content."""
    size = f"{found['width']} x {found['height']}"
    yield "video", f"{size}, {found['fps']:.4g} frames per second, {found['video_codec']}"
    yield (
        "length",
        f"{found['duration_s']:.2f} s, {found['size_bytes']} bytes, {found['container']}",
    )
    if found["truncated"] is not False:
        cut = "the file ends prematurely"
        unknown = f"unknown: {found['truncated_unknown']}"
        yield "truncated", cut if found["truncated"] else unknown
    turns = [f"rotated {found['rotation']} degrees counter-clockwise"] if found["rotation"] else []
    turns += ["mirrored"] if found["mirrored"] else []
    if aperture := found["clean_aperture"]:
        turns += [f"{aperture[0]} x {aperture[1]} of the stored frame (clean aperture)"]
    turns += ["interlaced"] if found["interlaced"] else []
    turns += [f"transparent, over {found['alpha_over']}"] if found["alpha_over"] else []
    if turns:
        yield "shown", ", ".join(turns)
    color = found["color"]
    yield "colours", ", ".join(f"{name} {said}" for name, said in color.items() if said)
    if hdr := found["hdr"]:
        yield (
            "tone-mapped",
            f"{hdr['transfer']}, peak {hdr['peak_nits']:.0f} cd/m² ({hdr['peak_from']})",
        )
    sound = f"{found['audio_codec']}, {found['audio_channels']} channels, {found['audio_rate']} Hz"
    yield "sound", sound if found["has_audio"] else found["no_sound"]
    for one in found["streams"]:
        stream = StreamInfo(**one)
        words = [stream.kind, stream.codec, stream.language, stream.title, stream.reason]
        yield f"stream {stream.index}", ", ".join(word for word in words if word)
    for chapter in found["chapters"]:
        times = f"{chapter['start']:.2f} to {chapter['end']:.2f} s"
        yield "chapter", ", ".join(word for word in (times, chapter["title"]) if word)
    for repair in found["repairs"]:
        yield "repaired", f"{repair['about']} ({repair['count']})"


if __name__ == "__main__":
    main()
