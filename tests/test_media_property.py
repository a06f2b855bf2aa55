"""Files put together at random are shown and heard as they were made."""

from pathlib import Path

import numpy as np
import pytest

from tests.files import ffmpeg, fields, film, quarters, wav, with_matrix
from tests.test_media_kinds import MATRICES, loudest, rms, sine
from tiktok_ray.media import decode

RATES = ("10", "12.5", "24000/1001", "24", "25", "30000/1001", "30", "48", "50", "60")
CONTAINERS = (".mp4", ".mov", ".mkv", ".ts", ".avi", ".flv")
LAYOUTS = {None: 0, "mono": 1, "stereo": 2, "4.0": 4, "5.1": 6, "7.1": 8, "inverted": 2}
PIXELS = {
    "yuv420p": ("libx264", "-bf", "2"),
    "yuvj420p": ("libx264",),
    "yuv422p": ("libx264",),
    "yuv444p": ("libx264", "-bf", "3"),
    "yuv420p10le": ("libx264",),
    "rgb24": ("libx264rgb",),
    "mpeg4": ("mpeg4", "-bf", "2"),
}
AMPLITUDE = 0.4


class Recipe:
    """What one file is made of."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)

        def one(kinds):
            kinds = list(kinds)
            return kinds[int(random.integers(len(kinds)))]

        self.suffix = one(CONTAINERS)
        self.rate = one(RATES)
        self.turn = one(MATRICES) if self.suffix in (".mp4", ".mov") else "as it is"
        self.pixels = one(PIXELS)
        self.layout = one(LAYOUTS)
        self.start = one((0.0, 0.0, 0.5, 7200.0))
        self.ticks = one((None, 1000, 90_000))
        self.frames = int(random.integers(20, 60))
        self.cut = int(random.integers(5, self.frames - 5))
        if self.suffix in (".ts", ".flv") and self.pixels in ("mpeg4", "rgb24"):
            self.pixels = "yuv420p"
        if self.suffix == ".flv" and self.layout not in (None, "mono", "stereo", "inverted"):
            self.layout = "stereo"
        if self.suffix == ".ts" and self.layout == "7.1":
            self.layout = "5.1"  # ADTS has no 7.1
        if self.suffix == ".avi":
            self.start = 0.0
            self.layout = self.layout if self.layout in (None, "mono", "stereo") else "stereo"

    @property
    def fps(self) -> float:
        above, _, below = self.rate.partition("/")
        return float(above) / float(below or 1)

    def __repr__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.__dict__.items())

    def made(self, folder: Path) -> Path:
        matrix, stored = MATRICES[self.turn]
        first, second = (np.ascontiguousarray(stored(p)) for p in (quarters(), 255 - quarters()))
        pictures = [first if k < self.cut else second for k in range(self.frames)]
        sound = None
        if self.layout:
            channels = np.stack([sine(self.frames / self.fps, AMPLITUDE)] * LAYOUTS[self.layout])
            if self.layout == "inverted":
                channels[1] *= -1
            sound = wav(folder / "sound.wav", channels)
        codec = PIXELS[self.pixels]
        quality = ("-q:v", "2") if codec[0] == "mpeg4" else ("-preset", "ultrafast", "-crf", "8")
        pixels = "yuv420p" if self.pixels == "mpeg4" else self.pixels
        layout = self.layout if self.layout != "inverted" else "stereo"
        extra = ["-channel_layout", layout] if layout else []
        extra += ["-output_ts_offset", self.start] if self.start else []
        if self.ticks and self.suffix in (".mp4", ".mov"):
            extra += ["-video_track_timescale", self.ticks]
        sounds = ("libmp3lame",) if self.suffix == ".avi" else ("aac", "-b:a", "256k")
        path = film(
            folder / f"film{self.suffix}", pictures, fps=self.rate, pixels=pixels,
            codec=(*codec, *quality), sound=sound, sound_codec=sounds, extra=extra,
        )  # fmt: skip
        return with_matrix(path, matrix) if self.turn != "as it is" else path


def faults(recipe: Recipe, path: Path, settings) -> list[str]:
    """What is not as it was made."""
    wanted = {"frames", "thumbs"} | ({"audio"} if recipe.layout else set())
    decoded = decode(path, wanted, settings)
    video, thumbs, found = decoded.video, decoded.tracks["thumbs"], []
    if video.frames != recipe.frames:
        return [f"{video.frames} frames of {recipe.frames}"]
    # Containers of milliseconds round every time; some round the rate of the first.
    tolerance = 0.0011 if recipe.suffix in (".mkv", ".flv") or recipe.ticks == 1000 else 0.0005
    wrong = np.abs(thumbs.times - np.arange(recipe.frames) / recipe.fps).max()
    if wrong > tolerance:
        found.append(f"times wrong by up to {wrong:.4f} s")
    steps = np.abs(np.diff(thumbs.grays.astype(float), axis=0)).mean((1, 2))
    if np.flatnonzero(steps > 10).tolist() != [recipe.cut - 1]:
        found.append("the cut is not where it was made")
    if (video.width, video.height) != (96, 64):
        found.append(f"{video.width} x {video.height}")
    last = len(thumbs) - 1
    for index, picture in ((0, quarters()), (last, 255 - quarters())):
        off = np.abs(fields(thumbs.rgb(index)) - fields(picture)).max()
        if off > 12:
            found.append(f"colours of picture {index} off by {off:.0f}")
    if recipe.layout:
        audio = decoded.tracks["audio"]
        middle = audio.cut(0.25 * video.duration_s, 0.75 * video.duration_s)
        if rms(middle) != pytest.approx(AMPLITUDE / 2**0.5, rel=0.08):
            found.append(f"level {rms(middle):.3f}, {video.sound_mix}")
        if loudest(audio) != pytest.approx(440, abs=6):
            found.append(f"a tone of {loudest(audio):.0f} Hz")
    return found


def check(seeds, folder: Path, settings) -> None:
    wrong = {}
    for seed in seeds:
        recipe = Recipe(seed)
        if found := faults(recipe, recipe.made(folder), settings):
            wrong[seed] = f"{found} of {recipe}"
    assert wrong == {}


def test_random_files_are_as_they_were_made(tmp_path, settings):
    check(range(8), tmp_path, settings)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_three_hundred_random_files_are_as_they_were_made(tmp_path, settings):
    check(range(300), tmp_path, settings)


@pytest.mark.slow
def test_still_pictures_between_moving_ones_stay_long(tmp_path, settings):
    """Minutes without a frame are a picture that stands, whatever the container."""
    film(tmp_path / "f.mp4", [quarters()] * 10 + [255 - quarters()] * 10)
    for suffix in (".mp4", ".mkv", ".mov"):
        path = tmp_path / f"still{suffix}"
        late = "setts=ts='if(gte(PTS*TB,0.4),PTS+180/TB,PTS)'"
        ffmpeg("-i", tmp_path / "f.mp4", "-c", "copy", "-bsf:v", late, path)
        thumbs = decode(path, {"thumbs"}, settings).tracks["thumbs"]
        assert thumbs.times[10] == pytest.approx(180.4, abs=0.05), suffix
