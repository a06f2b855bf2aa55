"""Files of every container and kind, each shown, timed and heard as it was made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.files import ffmpeg, fields, film, quarters, wav, with_matrix
from tests.test_media_kinds import MATRICES, loudest, rms
from tiktok_ray.media import decode
from tiktok_ray.settings import Settings

pytestmark = pytest.mark.slow
RATE = 48_000
LEVEL = 0.4
X264 = ("libx264", "-preset", "ultrafast", "-crf", "8")
B_FRAMES = ("libx264", "-preset", "veryfast", "-crf", "8", "-bf", "3", "-g", "20")
FFV1 = ("ffv1",)


@dataclass(frozen=True)
class Truth:
    """What is true of a file: the first picture until ``cut``, then the second, and a tone from then on.

    ``times``: of every displayed frame, seconds. ``level``: root mean square of the mono tone; None:
    there is no sound. ``colours``: by how much a colour may be off, of 255; None: not compared.
    """

    times: Sequence[float]
    cut: int
    size: tuple[int, int] = (96, 64)
    level: float | None = None
    colours: float | None = 12
    within: float = 0.0006
    onset_within: float = 0.04
    level_within: float = 0.08
    damaged: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


def even(count: int, fps: float) -> list[float]:
    """Times of frames at a rate."""
    return (np.arange(count) / fps).tolist()


def tone(seconds: float, start: float, channels: int = 1, rate: int = RATE) -> Any:
    """Silence, then 440 Hz on all channels."""
    at = np.arange(round(seconds * rate)) / rate
    return np.stack([np.where(at >= start, LEVEL * np.sin(2 * np.pi * 440 * at), 0)] * channels)


def pictures(count: int = 40, cut: int = 20, size: tuple[int, int] = (96, 64)) -> list[Any]:
    """Two pictures, each for some frames; a spot at their lower edge moves, so that no two are alike."""
    width, height = size
    shown = []
    for number in range(count):
        picture = quarters(*size) if number < cut else 255 - quarters(*size)
        x = 4 * number % (width - 4)
        picture[height - 4 :, x : x + 4] = 200
        shown.append(picture)
    return shown


Maker = Callable[[Path], tuple[Path, Truth]]
FILES: dict[str, Maker] = {}


def made(name: str) -> Callable[[Maker], Maker]:
    """Puts a file into the list."""

    def put(maker: Maker) -> Maker:
        FILES[name] = maker
        return maker

    return put


def plain(
    name: str,
    suffix: str,
    codec: Sequence[str] = X264,
    *,
    fps: str = "25",
    count: int = 40,
    cut: int = 20,
    pixels: str = "yuv420p",
    sound: Sequence[str] | None = ("aac", "-b:a", "192k"),
    channels: int = 1,
    layout: str | None = None,
    rate: int = RATE,
    size: tuple[int, int] = (96, 64),
    extra: Sequence[Any] = (),
    inverted: Sequence[int] = (),
    **truth: Any,
) -> None:
    """A film at an even rate, with a tone from the cut on."""

    def make(folder: Path) -> tuple[Path, Truth]:
        above, _, below = fps.partition("/")
        hz = float(above) / float(below or 1)
        heard = None
        if sound:
            tones = tone(count / hz, cut / hz, channels, rate)
            tones[list(inverted)] *= -1
            heard = wav(folder / "tone.wav", tones, rate)
        places = "|".join(map(str, range(channels)))
        named = ["-af", f"channelmap={places}:{layout}"] if layout else []
        path = film(
            folder / f"film{suffix}", pictures(count, cut, size), fps=fps, codec=codec,
            pixels=pixels, sound=heard, sound_codec=sound or (), extra=[*named, *extra],
        )  # fmt: skip
        level = LEVEL / 2**0.5 if sound else None
        facts = {"times": even(count, hz), "cut": cut, "size": size, "level": level, **truth}
        return path, Truth(**facts)

    FILES[name] = make


MS: dict[str, Any] = {"within": 0.0011}
# Containers and codecs
plain("mp4 h264 b", ".mp4", B_FRAMES)
plain("mov h264 b opus-less", ".mov", B_FRAMES, sound=("alac",))
plain("mkv h264 flac", ".mkv", B_FRAMES, sound=("flac",), **MS)
plain(
    "mkv hevc opus",
    ".mkv",
    ("libx265", "-x265-params", "log-level=error"),
    sound=("libopus",),
    **MS,
)
plain("mp4 hevc hev1", ".mp4", ("libx265", "-x265-params", "log-level=error", "-tag:v", "hev1"))
plain(
    "webm vp8 vorbis",
    ".webm",
    ("libvpx", "-b:v", "2M", "-auto-alt-ref", "1", "-lag-in-frames", "16"),
    sound=("libvorbis",),
    colours=30,
    **MS,
)
plain(
    "webm vp9 opus",
    ".webm",
    (
        "libvpx-vp9",
        "-b:v",
        "2M",
        "-auto-alt-ref",
        "1",
        "-lag-in-frames",
        "20",
        "-deadline",
        "realtime",
        "-cpu-used",
        "8",
    ),
    sound=("libopus",),
    **MS,
)
plain("webm av1", ".webm", ("libsvtav1", "-preset", "12", "-crf", "20"), sound=("libopus",), **MS)
plain("mp4 av1", ".mp4", ("libsvtav1", "-preset", "12", "-crf", "20"))
plain("mp4 vp9", ".mp4", ("libvpx-vp9", "-b:v", "2M", "-deadline", "realtime", "-cpu-used", "8"))
plain("mp4 vvc", ".mp4", ("libvvenc", "-preset", "faster", "-qp", "20"), pixels="yuv420p10le")
plain(
    "mp4 mpeg4 mp3",
    ".mp4",
    ("mpeg4", "-q:v", "2", "-bf", "2"),
    sound=("libmp3lame", "-b:a", "192k"),
    onset_within=0.06,
)
plain("ts h264 ac3", ".ts", B_FRAMES, sound=("ac3",))
plain("ts mpeg2 mp2", ".ts", ("mpeg2video", "-q:v", "2", "-bf", "2"), sound=("mp2",))
plain("ts hevc eac3", ".ts", ("libx265", "-x265-params", "log-level=error"), sound=("eac3",))
plain(
    "m2ts h264 pcm",
    ".m2ts",
    B_FRAMES,
    sound=("pcm_bluray",),
    channels=2,
    extra=["-f", "mpegts", "-mpegts_m2ts_mode", 1],
)
plain("mpg mpeg1", ".mpg", ("mpeg1video", "-q:v", "2", "-bf", "2"), sound=("mp2",), colours=30)
plain("vob mpeg2 ac3", ".vob", ("mpeg2video", "-q:v", "2", "-bf", "2"), sound=("ac3",))
plain("avi mpeg4", ".avi", ("mpeg4", "-q:v", "2"), sound=("libmp3lame",), onset_within=0.07)
plain("avi h264 b", ".avi", B_FRAMES, sound=("pcm_s16le",))
plain("avi mjpeg", ".avi", ("mjpeg", "-q:v", "2"), pixels="yuvj420p", sound=("pcm_u8",), colours=30)
plain("avi huffyuv", ".avi", ("huffyuv",), pixels="rgb24", sound=("adpcm_ms",))
plain("avi raw bgr", ".avi", ("rawvideo",), pixels="bgr24", sound=("pcm_s16le",))
plain("avi raw nv12", ".avi", ("rawvideo",), pixels="nv12", sound=None, colours=30)
plain(
    "flv flv1 mp3",
    ".flv",
    ("flv", "-q:v", "2"),
    sound=("libmp3lame",),
    rate=44_100,
    onset_within=0.07,
    colours=30,
    **MS,
)
plain("flv hevc", ".flv", ("libx265", "-x265-params", "log-level=error"), **MS)
plain("ogv theora", ".ogv", ("libtheora", "-q:v", "10"), sound=("libvorbis",), colours=30)
plain(
    "3gp h263 amr",
    ".3gp",
    ("h263", "-q:v", "2"),
    sound=("libopencore_amrnb", "-b:a", "12.2k"),
    rate=8000,
    size=(176, 144),
    extra=["-aspect", "11:9"],
    fps="30000/1001",
    colours=30,
    level_within=0.15,
)
plain("wmv", ".wmv", ("wmv2", "-q:v", "2"), sound=("wmav2",), colours=30, onset_within=0.08, **MS)
plain(
    "asf msmpeg4",
    ".asf",
    ("msmpeg4", "-q:v", "2"),
    sound=("libmp3lame",),
    colours=30,
    onset_within=0.08,
    **MS,
)
plain("mxf", ".mxf", ("mpeg2video", "-q:v", "2"), sound=("pcm_s16le",))
plain(
    "mov prores 4444",
    ".mov",
    ("prores_ks", "-profile:v", "4444"),
    pixels="yuva444p10le",
    sound=("pcm_s24le",),
)
plain(
    "mov dnxhr",
    ".mov",
    ("dnxhd", "-profile:v", "dnxhr_hq"),
    pixels="yuv422p",
    size=(256, 128),
    sound=("pcm_s16be",),
)
plain("mov png", ".mov", ("png",), pixels="rgb24", sound=("pcm_s16le",))
plain("mov qtrle", ".mov", ("qtrle",), pixels="rgb24", sound=("pcm_alaw",))
plain("mov cinepak", ".mov", ("cinepak",), pixels="rgb24", sound=("pcm_mulaw",), colours=30)
PALETTE = "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none"
plain(
    "gif", ".gif", ("gif",), pixels="rgb8", sound=None, extra=["-vf", PALETTE, "-pix_fmt", "pal8"]
)
plain("apng", ".apng", ("apng",), pixels="rgb24", sound=None, extra=["-f", "apng"])
plain(
    "y4m 444",
    ".y4m",
    ("rawvideo",),
    pixels="yuv444p",
    sound=None,
    colours=30,
    extra=["-f", "yuv4mpegpipe"],
)
plain("raw h264", ".h264", X264, sound=None)
plain("raw hevc", ".hevc", ("libx265", "-x265-params", "log-level=error"), sound=None)
plain(
    "ivf vp9",
    ".ivf",
    ("libvpx-vp9", "-b:v", "2M", "-deadline", "realtime", "-cpu-used", "8"),
    sound=None,
)
plain("obu av1", ".obu", ("libsvtav1", "-preset", "12"), sound=None)
plain(
    "avif", ".avif", ("libsvtav1", "-preset", "12", "-crf", "20"), sound=None, extra=["-f", "avif"]
)
# Pixel formats
for pix in ("gbrp", "gbrp10le", "yuv444p10le", "yuva420p", "yuva444p", "gray", "gray10le", "gray16le",
            "yuv410p", "yuv411p", "yuv422p12le", "yuv420p16le", "bgra", "rgb48le"):  # fmt: skip
    plain(
        f"ffv1 {pix}",
        ".mkv",
        FFV1,
        pixels=pix,
        sound=None,
        colours=None if "gray" in pix else 12,
        **MS,
    )
plain("h264 high 444 10", ".mp4", X264, pixels="yuv444p10le", sound=None)
plain("h264 odd size", ".mp4", X264, pixels="yuv444p", size=(97, 65), sound=None)
plain("utvideo", ".avi", ("utvideo",), pixels="gbrp", sound=None)
plain("h264 gray", ".mp4", X264, pixels="gray", sound=None, colours=None)
plain("mov raw yuyv", ".mov", ("rawvideo",), pixels="yuyv422", sound=None, colours=30)
plain("v210", ".mov", ("v210",), pixels="yuv422p10le", sound=None, colours=30)
plain(
    "vp9 profile 1",
    ".webm",
    ("libvpx-vp9", "-b:v", "2M", "-deadline", "realtime", "-cpu-used", "8"),
    pixels="yuv444p",
    sound=None,
    **MS,
)
# Rates and clocks
plain("1 fps", ".mp4", fps="1", count=8, cut=4)
plain(
    "1 fps ticks of a second",
    ".mp4",
    fps="1",
    count=8,
    cut=4,
    extra=["-video_track_timescale", 1],
    sound=None,
)
plain("0.2 fps", ".mkv", fps="1/5", count=6, cut=3, **MS)
plain("240 fps", ".mp4", fps="240", count=240, cut=100)
plain("240 fps mkv", ".mkv", fps="240", count=240, cut=100, **MS)
plain("120000/1001", ".mov", B_FRAMES, fps="120000/1001", count=120, cut=50)
plain("1000 fps", ".mkv", fps="1000", count=200, cut=100, sound=None, **MS)
plain("millionths", ".mp4", B_FRAMES, extra=["-video_track_timescale", 1_000_000])
plain(
    "600 ticks 29.97",
    ".mov",
    B_FRAMES,
    fps="30000/1001",
    extra=["-video_track_timescale", 600],
    within=0.002,
)
plain(
    "7.5 fps avi",
    ".avi",
    ("mpeg4", "-q:v", "2"),
    fps="15/2",
    sound=("pcm_s16le",),
    count=20,
    cut=10,
)
plain("no edit list", ".mp4", B_FRAMES, extra=["-use_editlist", 0])
plain("negative cts", ".mp4", B_FRAMES, extra=["-movflags", "negative_cts_offsets"])
plain(
    "fragmented",
    ".mp4",
    B_FRAMES,
    extra=["-movflags", "frag_keyframe+empty_moov+default_base_moof"],
)
plain(
    "cmaf",
    ".mp4",
    B_FRAMES,
    extra=["-movflags", "cmaf", "-frag_duration", 300_000],
    onset_within=0.065,
)  # no edit list: as far apart as its times say
plain("hybrid", ".mp4", B_FRAMES, extra=["-movflags", "hybrid_fragmented"])
plain("live mkv", ".mkv", B_FRAMES, extra=["-live", 1], **MS)
plain("ts wraps", ".ts", B_FRAMES, extra=["-output_ts_offset", 2**33 / 90_000 - 0.8 - 1.4])
plain("ts late", ".ts", B_FRAMES, extra=["-muxdelay", 0, "-output_ts_offset", 40_000])
plain("mp4 begins at 7.3", ".mp4", B_FRAMES, extra=["-output_ts_offset", 7.3])
plain("flv begins at hours", ".flv", X264, extra=["-output_ts_offset", 7200], **MS)
plain("one picture", ".mp4", count=1, cut=1, sound=None)
plain("two pictures", ".mp4", count=2, cut=1, sound=None)
# Sound
for lay, n in (("2.1", 3), ("3.0", 3), ("quad", 4), ("4.0", 4), ("5.0", 5), ("5.1(side)", 6), ("5.1", 6), ("6.1", 7), ("7.1", 8), ("7.1(wide)", 8)):  # fmt: skip
    plain(f"flac {lay}", ".mkv", sound=("flac",), channels=n, layout=lay, **MS)
plain("aac 7.1", ".mp4", sound=("aac", "-b:a", "512k"), channels=8, layout="7.1")
plain("eac3 5.1", ".mp4", sound=("eac3", "-b:a", "512k"), channels=6, layout="5.1")
plain(
    "opus 5.1",
    ".webm",
    ("libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"),
    sound=("libopus", "-b:a", "512k"),
    channels=6,
    layout="5.1",
    colours=30,
    **MS,
)
plain("opus mono 24k", ".mkv", sound=("libopus",), rate=24_000, **MS)
plain("pcm 16 channels", ".mov", sound=("pcm_s16le",), channels=16, layout="hexadecagonal")
plain(
    "dts",
    ".mkv",
    sound=("dca", "-strict", "-2", "-b:a", "768k"),
    channels=6,
    layout="5.1(side)",
    **MS,
)
plain("truehd", ".mkv", sound=("truehd", "-strict", "-2"), channels=2, **MS)
plain("wavpack", ".mkv", sound=("wavpack",), channels=2, **MS)
plain("vorbis 5.1", ".mkv", sound=("libvorbis", "-q:a", "8"), channels=6, layout="5.1", **MS)
plain("inverted, no layout", ".avi", sound=("pcm_s16le",), channels=2, inverted=[1])
plain("inverted opus", ".mkv", sound=("libopus", "-b:a", "192k"), channels=2, inverted=[0], **MS)
plain(
    "inverted 5.1",
    ".mkv",
    sound=("flac",),
    channels=6,
    layout="5.1",
    inverted=[1, 5],
    **MS,
)
plain("inverted quad", ".mkv", sound=("flac",), channels=4, layout="quad", inverted=[1, 3], **MS)
for hz in (8000, 11_025, 22_050, 32_000, 37_800, 44_100, 88_200, 96_000, 192_000):
    plain(f"pcm {hz} Hz", ".mkv", sound=("pcm_s16le",), rate=hz, **MS)
plain("pcm 24 mov", ".mov", sound=("pcm_s24be",), channels=2)
plain("pcm 32 mov", ".mov", sound=("pcm_s32le",), channels=2)
plain("pcm f32 mov", ".mov", sound=("pcm_f32be",), channels=2)
plain("pcm f64 mkv", ".mkv", sound=("pcm_f64le",), channels=2, **MS)
plain("pcm s8 mov", ".mov", sound=("pcm_s8",))
plain("adpcm mov", ".mov", sound=("adpcm_ima_qt",))
plain("g726 mkv", ".mkv", sound=("adpcm_ima_wav",), rate=22_050, **MS)
plain("aac 11025", ".mp4", sound=("aac", "-b:a", "64k"), rate=11_025, onset_within=0.1)
plain("aac 96000", ".mp4", sound=("aac", "-b:a", "256k"), rate=96_000)


# --- turned, squeezed, cut and joined -----------------------------------------------------------


def turned(name: str, sar: int, suffix: str) -> Maker:
    def make(folder: Path) -> tuple[Path, Truth]:
        matrix, stored = MATRICES[name]
        held = [np.ascontiguousarray(stored(p)[:, ::sar]) for p in pictures()]
        path = film(folder / "t.mp4", held, codec=X264, pixels="yuv444p", extra=["-vf",
                    f"scale=out_color_matrix=bt709:out_range=tv,setsar={sar}"])  # fmt: skip
        with_matrix(path, matrix)
        if suffix != ".mp4":
            ffmpeg("-i", path, "-c", "copy", folder / f"t{suffix}")
            path = folder / f"t{suffix}"
        return path, Truth(even(40, 25), 20, within=0.0011)

    return make


for turn in MATRICES:
    FILES[f"{turn}, pixels twice as wide"] = turned(turn, 2, ".mp4")
for turn in ("half a turn", "a quarter clockwise", "a quarter back"):
    FILES[f"{turn}, mkv"] = turned(turn, 1, ".mkv")


@made("h264 sei turned")
def _(folder: Path) -> tuple[Path, Truth]:
    path = film(folder / "a.mp4", [np.ascontiguousarray(np.rot90(p)) for p in pictures()])
    ffmpeg(
        "-i",
        path,
        "-c",
        "copy",
        "-bsf:v",
        "h264_metadata=display_orientation=insert:rotate=270",
        folder / "b.ts",
    )
    return folder / "b.ts", Truth(even(40, 25), 20)


@made("irregular times")
def _(folder: Path) -> tuple[Path, Truth]:
    times = np.cumsum([0, *np.random.default_rng(3).integers(1, 9, 39)]) / 50
    marks = "+".join(f"eq(N,{n})*{t + 0.001:.3f}" for n, t in enumerate(times))
    path = film(folder / "a.mp4", pictures(), fps="50", extra=["-fps_mode", "vfr", "-vf",
                f"scale=out_color_matrix=bt709:out_range=tv,setpts='({marks})/TB'"])  # fmt: skip
    return path, Truth(times.tolist(), 20, facts={"variable_fps": True})


@made("irregular times, mkv")
def _(folder: Path) -> tuple[Path, Truth]:
    path, truth = FILES["irregular times"](folder)
    ffmpeg("-i", path, "-c", "copy", folder / "a.mkv")
    return folder / "a.mkv", Truth(truth.times, 20, within=0.0011, facts={"variable_fps": True})


@made("trimmed by an edit list")
def _(folder: Path) -> tuple[Path, Truth]:
    sound = wav(folder / "t.wav", tone(4.0, 2.0))
    path = film(folder / "a.mp4", pictures(100, 50), codec=B_FRAMES, sound=sound)
    ffmpeg("-ss", 1.32, "-i", path, "-c", "copy", folder / "b.mp4")
    return folder / "b.mp4", Truth(even(67, 25), 17, level=LEVEL / 2**0.5)


@made("three recordings in one")
def _(folder: Path) -> tuple[Path, Truth]:
    parts = b""
    for number, start in enumerate((0, 500, 20)):
        frames = pictures(20, 20) if number < 2 else pictures(20, 0)
        sound = wav(folder / "t.wav", tone(0.8, 0.0 if number == 2 else 9.0))
        film(folder / "p.ts", frames, sound=sound, extra=["-output_ts_offset", start])
        parts += (folder / "p.ts").read_bytes()
    (folder / "a.ts").write_bytes(parts)
    return folder / "a.ts", Truth(even(60, 25), 40, level=LEVEL / 2**0.5, onset_within=0.12)


@made("the sound lies before all pictures in the file")
def _(folder: Path) -> tuple[Path, Truth]:
    sound = wav(folder / "t.wav", tone(2.0, 1.0))
    path = film(folder / "a.mp4", pictures(50, 25), codec=B_FRAMES, sound=sound)
    ffmpeg(
        "-i", path, "-c", "copy", "-max_interleave_delta", 0, "-flush_packets", 0, folder / "b.mov"
    )
    return folder / "b.mov", Truth(even(50, 25), 25, level=LEVEL / 2**0.5)


@made("three sounds, the default silent, the second a hiss")
def _(folder: Path) -> tuple[Path, Truth]:
    path = film(folder / "a.mp4", pictures(50, 25))
    silent = wav(folder / "0.wav", np.zeros((2, 2 * RATE)))
    hiss = wav(folder / "1.wav", np.random.default_rng(0).normal(0, 1e-4, (2, 2 * RATE)))
    heard = wav(folder / "2.wav", tone(2.0, 1.0, 2))
    ffmpeg("-i", path, "-i", silent, "-i", hiss, "-i", heard, "-map", 0, "-map", 1, "-map", 2, "-map", 3,
           "-c:v", "copy", "-c:a:0", "aac", "-c:a:1", "pcm_s16le", "-c:a:2", "flac",
           "-disposition:a:0", "default", folder / "b.mkv")  # fmt: skip
    return folder / "b.mkv", Truth(even(50, 25), 25, level=LEVEL / 2**0.5, within=0.0011)


@made("floats that are no numbers")
def _(folder: Path) -> tuple[Path, Truth]:
    samples = tone(2.0, 1.0)[0].astype("<f4")
    samples[::4801] = np.nan
    samples[7::9601] = np.inf
    (folder / "f.raw").write_bytes(samples.tobytes())
    path = film(folder / "a.mp4", pictures(50, 25))
    ffmpeg("-i", path, "-f", "f32le", "-ar", RATE, "-ac", 1, "-i", folder / "f.raw", "-c:v", "copy",
           "-c:a", "copy", "-c:a", "pcm_f32le", folder / "b.mkv")  # fmt: skip
    wild = int((~np.isfinite(samples)).sum())
    return folder / "b.mkv", Truth(
        even(50, 25), 25, level=LEVEL / 2**0.5, within=0.0011, facts={"samples_silenced": wild}
    )


@made("minutes without a picture, ts")
def _(folder: Path) -> tuple[Path, Truth]:
    path = film(folder / "a.mp4", pictures())
    late = "setts=ts='if(gte(PTS*TB,0.78),PTS+180/TB,PTS)'"
    sound = wav(folder / "t.wav", tone(181.6, 180.8))
    ffmpeg(
        "-i",
        path,
        "-i",
        sound,
        "-map",
        0,
        "-map",
        1,
        "-c:v",
        "copy",
        "-c:a",
        "aac",
        "-bsf:v",
        late,
        folder / "b.ts",
    )
    times = even(20, 25) + [180.8 + t for t in even(20, 25)]
    return folder / "b.ts", Truth(times, 20, level=LEVEL / 2**0.5)


@made("mpeg2 at the rate of films")
def _(folder: Path) -> tuple[Path, Truth]:
    path = film(folder / "a.mpg", pictures(), fps="24000/1001", codec=("mpeg2video", "-q:v", "2"))
    return path, Truth(even(40, 24000 / 1001), 20)


@made("begins between key frames")
def _(folder: Path) -> tuple[Path, Truth]:
    path = film(
        folder / "a.ts",
        pictures(60, 45),
        codec=(*X264, "-g", "20", "-keyint_min", "20", "-sc_threshold", "0"),
    )
    ffmpeg(
        "-i",
        path,
        "-c",
        "copy",
        "-copyts",
        "-bsf:v",
        "noise=drop='lt(n,7)'",
        "-f",
        "mpegts",
        folder / "b.ts",
    )
    return folder / "b.ts", Truth(even(40, 25), 25)


@made("timecode, mov")
def _(folder: Path) -> tuple[Path, Truth]:
    sound = wav(folder / "t.wav", tone(2.0, 1.0))
    path = film(folder / "a.mov", pictures(50, 25), sound=sound, extra=["-timecode", "01:00:00:00"])
    return path, Truth(even(50, 25), 25, level=LEVEL / 2**0.5)


@made("ogg joined to ogg")
def _(folder: Path) -> tuple[Path, Truth]:
    parts = b""
    for number in range(2):
        frames = pictures(25, 25 - 25 * number)
        film(
            folder / "p.ogv",
            frames,
            codec=("libtheora", "-q:v", "10"),
            extra=["-serial_offset", 7 * number + 1],
        )
        parts += (folder / "p.ogv").read_bytes()
    (folder / "a.ogv").write_bytes(parts)
    return folder / "a.ogv", Truth(
        even(50, 25), 25, colours=30, within=0.13, damaged=1
    )  # the headers of the second take three pictures' time


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_as_it_was_made(name: str, tmp_path: Path, settings: Settings) -> None:
    path, truth = FILES[name](tmp_path)
    assert faults(path, truth, settings) == []


def faults(path: Path, truth: Truth, settings: Settings) -> list[str]:
    """What is not as it was made."""
    wanted = {"frames", "thumbs"} | ({"audio"} if truth.level else set())
    decoded = decode(path, wanted, settings)
    video, thumbs, found = decoded.video, decoded.tracks["thumbs"], []
    times = np.asarray(truth.times)
    if video.frames != len(times):
        found.append(f"{video.frames} frames of {len(times)}")
    elif (off := np.abs(thumbs.times - times).max()) > truth.within:
        found.append(f"times off by up to {off:.4f} s")
    if (video.width, video.height) != truth.size:
        found.append(f"{video.width} x {video.height}")
    steps = np.abs(np.diff(thumbs.grays.astype(float), axis=0)).mean((1, 2))
    cuts = np.flatnonzero(steps > 8).tolist()
    if cuts != ([truth.cut - 1] if 0 < truth.cut < len(times) else []):
        found.append(f"cuts before pictures {[c + 1 for c in cuts]} and not {truth.cut}")
    if truth.colours is not None:
        shown = [quarters()] + ([255 - quarters()] if truth.cut < len(times) else [])
        for index, picture in zip((0, len(thumbs) - 1), shown, strict=False):
            off = np.abs(fields(thumbs.rgb(index)) - fields(picture)).max()
            if off > truth.colours:
                found.append(f"colours of picture {index} off by {off:.0f}")
    if video.damaged_packets != truth.damaged or video.truncated:
        found.append(f"damaged {video.damaged_packets}, truncated {video.truncated}")
    if any(repair.kind == "damaged_pictures" for repair in video.repairs):
        found.append("pictures are called damaged")
    if truth.level:
        found += unlike(decoded, truth)
    found += [
        f"{key} is {getattr(video, key)}"
        for key, value in truth.facts.items()
        if getattr(video, key) != value
    ]
    return found


def unlike(decoded: Any, truth: Truth) -> list[str]:
    """What of the sound is not as it was made."""
    audio, start = decoded.tracks.get("audio"), truth.times[truth.cut]
    if audio is None:
        return [f"no sound: {decoded.video.no_sound}"]
    found = []
    end = truth.times[-1]
    middle = audio.cut(start + 0.2 * (end - start), end)
    if rms(middle) != pytest.approx(truth.level, rel=truth.level_within):
        found.append(f"level {rms(middle):.3f}, {decoded.video.sound_mix}")
    if loudest(audio) != pytest.approx(440, abs=8):
        found.append(f"a tone of {loudest(audio):.0f} Hz")
    onset = float(np.argmax(np.abs(audio.samples) > 0.5 * LEVEL)) / audio.rate
    if abs(onset - start) > truth.onset_within:
        found.append(f"the tone begins at {onset:.3f} and not at {start:.3f}")
    return found
