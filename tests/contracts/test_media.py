"""What PyAV, OpenCV and pyloudnorm do with media, and how it is met. See docs/library_notes.md."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pyloudnorm
import pytest

from tests.files import film, quarters, wav
from tiktok_ray.media import decode
from tiktok_ray.media.colour import Coding
from tiktok_ray.media.sound import samples_of
from tiktok_ray.media.writer import write_clip
from tiktok_ray.settings import Settings


def frame(width: int, height: int, form: str, level: int = 90) -> av.VideoFrame:
    made = av.VideoFrame(width, height, form)
    for plane in made.planes:
        plane.update(bytes([level]) * plane.buffer_size)
    return made


def test_pictures_of_packed_formats_have_gaps_between_their_rows():
    """``to_ndarray`` is a view of FFmpeg's buffer: code that is given its address alone reads the
    padding as pixels. Planar 4:2:0, which is all that we read, comes without gaps."""
    assert frame(64, 36, "rgb24").to_ndarray().flags.c_contiguous
    assert frame(100, 36, "rgb24").to_ndarray().strides == (336, 3, 1)
    assert frame(102, 36, "gray").to_ndarray().strides == (112, 1)
    for width in (64, 98, 100, 638):
        picture = frame(width, 36, "yuv420p")
        planes = Coding.of(picture).i420(picture, (width, 36))
        assert planes.flags.c_contiguous
        assert planes.shape == (54, width)


def mixed_down(level: float, form: str) -> float:
    """Peak of the mono made of two equal channels."""
    both = av.AudioFrame.from_ndarray(
        np.full((2, 1024), level, np.float32), format="fltp", layout="stereo"
    )
    both.sample_rate = 16_000
    to_mono = av.AudioResampler(format=form, layout="mono", rate=16_000)
    made = np.concatenate([out.to_ndarray()[0] for out in to_mono.resample(both)])
    return float(made.max()) / (32767 if form == "s16" else 1)


def test_a_mix_to_mono_is_normalised_in_integers_and_not_in_floats():
    assert mixed_down(0.9, "s16") == pytest.approx(0.9, abs=1e-3)
    assert mixed_down(0.9, "flt") == pytest.approx(0.9 * 2**0.5, abs=1e-3)


def test_a_loud_stereo_tone_is_as_loud_in_mono_here(tmp_path):
    tone = 0.9 * np.sin(2 * np.pi * 440 / 48_000 * np.arange(48_000)).astype(np.float32)
    dark = [np.zeros((64, 64, 3), np.uint8)] * 30
    path = write_clip(tmp_path / "loud.mp4", dark, fps=30, audio=np.stack([tone, tone]))
    samples = decode(path, {"audio", "thumbs"}, Settings()).tracks["audio"].samples
    middle = samples[4000:12_000]
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.9 / 2**0.5, abs=0.01)
    assert np.abs(middle).max() < 0.95


def test_sound_of_eight_planes_is_read_past_its_end(tmp_path):
    """``AudioFrame.planes`` counts until it meets a null pointer, and behind eight planes stands
    none: ``to_ndarray`` of 7.1 sound ends the process. We read as many planes as channels."""
    sound = wav(tmp_path / "s.wav", np.full((8, 9600), 0.1))
    path = film(
        tmp_path / "x.mp4", [quarters()] * 5, sound=sound,
        sound_codec=("aac", "-channel_layout", "7.1"),
    )  # fmt: skip
    with av.open(str(path)) as container:
        eight = next(container.decode(audio=0))
        assert eight.layout.nb_channels == 8
        assert len(eight.planes) > 8
        assert samples_of(eight).shape == (8, eight.samples)


def click(path: Path, codec: str, rate: int = 48_000) -> Path:
    """Two seconds of black and of silence but for 10 ms of a tone at one second."""
    sound = np.zeros(2 * rate, np.float32)
    sound[rate : rate + rate // 100] = 0.9 * np.sin(
        2 * np.pi * 2000 / rate * np.arange(rate // 100)
    )
    with av.open(str(path), "w") as container:
        video = container.add_stream("libvpx" if path.suffix == ".webm" else "libx264", rate=30)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        stream = container.add_stream(codec, rate=rate, layout="mono")
        for _ in range(60):
            container.mux(video.encode(frame(64, 64, "yuv420p")))
        container.mux(video.encode(None))
        whole = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        whole.sample_rate, whole.pts, whole.time_base = rate, 0, Fraction(1, rate)
        cut = av.AudioResampler(
            format=stream.format.name, layout="mono", rate=rate, frame_size=stream.frame_size or 960
        )
        for piece in [*cut.resample(whole), *cut.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


#: Samples of 48,000 Hz decoded beyond the two seconds, and of them before the sound begins.
PRIMED = {
    ("aac", "mp4"): (256, 0), ("aac", "mkv"): (256, 0), ("aac", "ts"): (1280, 1024),
    ("aac", "flv"): (1280, 1024), ("libmp3lame", "mp4"): (815, 0), ("libmp3lame", "mkv"): (0, 0),
    ("libopus", "mp4"): (648, 0), ("libopus", "webm"): (0, 0),
}  # fmt: skip


@pytest.mark.parametrize(("codec", "suffix"), PRIMED)
def test_sound_begins_when_it_does_whatever_a_container_says_of_priming(codec, suffix, tmp_path):
    """The encoder's first samples are cut off in some containers and decoded in others: who counts
    samples is up to 21 ms late. We place sound by its timestamps."""
    path = click(tmp_path / f"click.{suffix}", codec)
    with av.open(str(path)) as container:
        pieces = [f.to_ndarray().reshape(-1)[: f.samples] for f in container.decode(audio=0)]
    decoded = np.concatenate(pieces).astype(float)
    first = int(np.flatnonzero(np.abs(decoded) > 0.3 * np.abs(decoded).max())[0])
    extra, late = PRIMED[codec, suffix]
    assert len(decoded) - 96_000 == extra
    assert first - 48_000 == pytest.approx(late, abs=8)
    samples = decode(path, {"audio", "thumbs"}, Settings()).tracks["audio"].samples
    heard = int(np.flatnonzero(np.abs(samples) > 0.3 * np.abs(samples).max())[0])
    assert heard / 16_000 == pytest.approx(1.0, abs=1e-3)


def test_opencv_takes_every_yuv_for_bt601():
    """Red of an HD video (BT.709) comes out wrong by 21 levels; what we hand OpenCV is BT.601."""
    red = av.VideoFrame(64, 64, "yuv420p")
    for plane, level in zip(red.planes, (63, 102, 240), strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    red.colorspace, red.color_range = 1, 1
    as_is = cv2.cvtColor(red.to_ndarray(), cv2.COLOR_YUV2RGB_I420)[32, 32]
    assert as_is.tolist() == [233, 0, 2]
    met = cv2.cvtColor(Coding.of(red).i420(red, (64, 64)), cv2.COLOR_YUV2RGB_I420)[32, 32]
    np.testing.assert_allclose(met, [255, 0, 0], atol=3)


def test_one_sample_that_is_no_number_takes_all_after_it_out_of_the_loudness():
    """pyloudnorm's filters never recover and its gate drops what is not a number: no word of it."""
    rate = 48_000
    tone = np.sin(2 * np.pi * 1000 / rate * np.arange(6 * rate))
    tone *= np.where(np.arange(6 * rate) < 2 * rate, 0.01, 0.5)
    meter = pyloudnorm.Meter(rate)
    whole = meter.integrated_loudness(tone)
    tone[2 * rate] = np.nan
    broken = meter.integrated_loudness(tone)
    assert np.isfinite(broken)
    assert whole - broken > 30


def test_such_a_sample_changes_nothing_after_it_here(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 1000 / 48_000 * np.arange(96_000)).astype(np.float32)
    tone[30_000] = np.nan
    path = tmp_path / "broken.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        sound = container.add_stream("pcm_f32le", rate=48_000, layout="mono")
        for _ in range(60):
            container.mux(video.encode(frame(64, 64, "yuv420p")))
        container.mux(video.encode(None))
        whole = av.AudioFrame.from_ndarray(tone[None], format="flt", layout="mono")
        whole.sample_rate, whole.pts = 48_000, 0
        container.mux(sound.encode(whole))
        container.mux(sound.encode(None))
    audio = decode(path, {"audio", "thumbs"}, Settings()).tracks["audio"]
    assert np.isfinite(audio.samples).all()
    assert np.isfinite(audio.levels.power).all()
    assert audio.levels.power[15] == pytest.approx(audio.levels.power[3], rel=0.01)
