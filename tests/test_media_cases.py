"""Files of public bug reports (made by ``shared/cases/make_cases.py``), with the right answers."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.cut_analysis import CutAnalysis
from tests.test_media_kinds import rms
from tiktok_ray.media import Decoded, InputError, decode, spans

MAKER = Path(__file__).resolve().parents[2] / "shared" / "cases" / "make_cases.py"
pytestmark = pytest.mark.slow
#: Where the voice of every case speaks, if it is not said otherwise.
VOICE = ((0.6, 3.5), (4.1, 7.4))
ALL = {"frames", "thumbs", "audio", "speech"}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Makes a case, once, and returns the folder."""
    if not MAKER.is_file():
        pytest.skip("the cases lie beside a checkout only: ../shared/cases")
    folder = tmp_path_factory.mktemp("cases")
    done = set()

    def make(name: str) -> Path:
        if name not in done:
            subprocess.run([sys.executable, MAKER, folder, name], check=True, capture_output=True)
            done.add(name)
        return folder

    return make


@dataclass(frozen=True)
class Case:
    """A file and what is right: ``None`` where nothing is said of it."""

    file: str
    maker: str | None = None
    cuts: tuple[float, ...] | None = (3.0, 6.0)
    seconds: float | None = 9.0
    frames: int | None = None
    voice: tuple[tuple[float, float], ...] | None = None
    offset: float | None = None
    repairs: tuple[str, ...] | None = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.file


NO_SOUND: dict[str, Any] = {"has_audio": False}
CASES = [
    Case("apac_second.mov", voice=VOICE, frames=225),
    Case("ac4_only.mp4", facts=NO_SOUND, frames=225),
    Case("layout_change.ts", cuts=None, voice=VOICE, repairs=None),
    Case("mirrored.mp4", facts={"mirrored": True, "width": 360, "height": 640}),
    Case("selfie_rot_mirror.mp4", facts={"mirrored": True, "width": 360, "height": 640}),
    Case("vflipped.mp4", facts={"mirrored": True, "width": 360, "height": 640}),
    Case("rot_89_99.mp4", facts={"rotation": 270, "width": 360, "height": 640}),
    Case("antiphase.mp4", voice=VOICE),
    Case("obs_tracks.mkv", voice=VOICE),
    Case("ts_restart.ts", cuts=(3.0, 6.12), seconds=9.12, repairs=("clock_restarted",)),
    Case("ts_jump.ts", cuts=(3.0, 6.12), seconds=9.12, repairs=("clock_jumped",)),
    Case("flv_jump.flv", voice=VOICE, repairs=("clock_jumped",)),
    Case("raw_h264.h264", frames=225, repairs=("no_times",)),
    Case("slides_1fps.mp4", cuts=tuple(range(1, 10)), seconds=10.0, frames=10),
    Case("xvid.avi", "xvid_packed", offset=0.0, voice=VOICE, repairs=("decode_times",)),
    Case("mpeg4_bf.avi", "xvid_packed", frames=225, offset=0.0, repairs=("decode_times",)),
    Case("avi_no_pts.avi", frames=225, offset=0.0, repairs=("decode_times",)),
    Case("late_picture.mp4", cuts=(2.0,), seconds=5.0, offset=4.0),
    Case("long_sound.mp4", seconds=40.0, facts={"picture_end_s": 9.0}),
    Case("empty_sound.mp4", facts=NO_SOUND),
    Case("two_tracks.mp4", frames=225, voice=VOICE, facts={"width": 360, "height": 640}),
    Case("ambisonic.mkv", frames=225, voice=VOICE),
    # Right before, and still.
    Case("centre_only.mp4", voice=VOICE),
    Case("right_only.mp4", voice=VOICE),
    Case("quiet_voice.mp4", voice=VOICE),
    Case("noises.mp4", cuts=(), seconds=16.0, voice=()),
    Case("strobe.mp4", cuts=(), seconds=5.0),
    Case("montage.mp4", cuts=tuple(k / 15 for k in range(1, 31)), seconds=4.0),
    Case("doubled.mp4", cuts=(3.0,), seconds=6.0),
    Case("still_screen.mp4", cuts=(), seconds=20.0, frames=33),
    Case("slides_2fps.mp4", cuts=tuple(range(1, 10)), seconds=10.0),
    Case("late_sound.mp4", seconds=13.0, voice=((4.6, 7.5), (8.1, 11.4))),
    Case("fmp4_offset.mp4", voice=VOICE),
    Case("mkv_offset.mkv", voice=VOICE),
    Case("flv_offset.flv", voice=VOICE),
    Case("start_broken.ts", cuts=(0.6, 3.6), seconds=6.6),
    Case("orientation_change.ts", cuts=(3.0,), seconds=None, repairs=None),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_is_answered_rightly(made, settings, case):
    path = made(case.maker or case.file.partition(".")[0]) / case.file
    decoded = decode(path, ALL, settings)
    video = decoded.video
    if case.cuts is not None:
        assert CutAnalysis().analyze(decoded.tracks["thumbs"]).times == pytest.approx(
            case.cuts, abs=0.021
        )
    if case.seconds is not None:
        assert video.duration_s == pytest.approx(case.seconds, abs=0.13)
    assert case.frames is None or video.frames == case.frames
    if case.offset is not None:
        assert video.start_offset_s == pytest.approx(case.offset, abs=0.03)
    if case.repairs is not None:
        assert tuple(repair.kind for repair in video.repairs) == case.repairs
    for name, value in case.facts.items():
        assert getattr(video, name) == pytest.approx(value), name
    if case.voice == ():
        assert decoded.tracks["speech"].spans == ()
    elif case.voice:
        heard = decoded.tracks["speech"].spans
        assert all(spans.share(heard, [spoken]) > 0.9 for spoken in case.voice)
        assert np.abs(decoded.tracks["audio"].samples).max() < 0.99
    assert decoded.tracks["frames"].end == video.picture_end_s


def shown(decoded: Decoded) -> np.ndarray:
    return decoded.tracks["frames"].rgb(1).astype(float)


@pytest.mark.parametrize("name", ["mirrored", "selfie_rot_mirror", "vflipped", "rot_89_99"])
def test_reflections_look_as_the_plain_film(made, settings, name):
    plain = shown(decode(base(made), ALL, settings))
    turned = shown(decode(made(name) / f"{name}.mp4", ALL, settings))
    inside = slice(30, None)  # a square runs along the top of the plain film
    assert np.corrcoef(plain[inside].ravel(), turned[inside].ravel())[0, 1] > 0.98
    wrong = turned[:, ::-1]
    assert np.corrcoef(plain[inside].ravel(), wrong[inside].ravel())[0, 1] < 0.6


def base(made) -> Path:
    """The plain film, which other cases are made of."""
    return made("antiphase") / "base.mp4"


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """CIEDE2000 of each pixel of two pictures, RGB 0..255."""
    color = pytest.importorskip("skimage.color")
    return np.asarray(color.deltaE_ciede2000(color.rgb2lab(a / 255), color.rgb2lab(b / 255)))


@pytest.mark.parametrize("name", ["pq", "hlg"])
def test_hdr_looks_as_sdr(made, settings, name):
    made("pq")
    sdr = shown(decode(made("pq") / "sdr.mp4", {"frames"}, settings))
    decoded = decode(made(name) / f"{name}.mp4", {"frames"}, settings)
    assert decoded.video.hdr is not None
    assert decoded.video.hdr.transfer == name.upper()
    apart = distance(shown(decoded), sdr)
    assert np.median(apart) < 1.0
    assert np.percentile(apart, 95) < 5.0
    for measure in (np.mean, np.std):  # brightness and contrast
        assert measure(shown(decoded)) == pytest.approx(measure(sdr), rel=0.03)


@pytest.mark.parametrize("name", ["rgb_colors.mp4", "tall_gif.gif", "yuv_colors.mp4"])
def test_colours_coded_as_rgb_are_those_of_yuv(made, settings, name):
    path = made("tall_gif" if "gif" in name else "rgb_colors") / name
    picture = decode(path, {"frames"}, settings).tracks["frames"].rgb(0)
    middle = picture[picture.shape[0] // 2]
    seen = middle[[round(picture.shape[1] * (k + 0.5) / 4) for k in range(4)]][None]
    right = np.array([[(255, 0, 0), (0, 160, 0), (0, 0, 255), (255, 128, 0)]])
    assert distance(seen.astype(float), right.astype(float)).max() < 2


def test_tiktoks_own_codec_is_named(made, settings):
    with pytest.raises(InputError, match="bvc2") as caught:
        decode(made("bvc2") / "bvc2.mp4", ALL, settings)
    assert caught.value.type == "undecodable"


def test_which_sound_was_taken_and_why(made, settings):
    video = decode(made("obs_tracks") / "obs_tracks.mkv", {"audio"}, settings).video
    reasons = {s.index: (s.used, s.reason) for s in video.streams if s.kind == "audio"}
    assert reasons == {
        1: (False, "it is silent throughout"),
        2: (True, "the first that is not silent"),
    }


def test_an_inverted_channel_is_as_loud_as_one_channel(made, settings):
    inverted = decode(made("antiphase") / "antiphase.mp4", {"audio"}, settings).tracks["audio"]
    plain = decode(base(made), {"audio"}, settings).tracks["audio"]
    assert rms(inverted.samples) == pytest.approx(rms(plain.samples), rel=0.05)


def test_speech_before_the_first_picture_is_kept(made, settings):
    decoded = decode(made("late_picture") / "late_picture.mp4", ALL, settings)
    assert len(decoded.tracks["audio"].before) == pytest.approx(4 * 16_000, abs=400)
    before = decoded.tracks["speech"].before
    assert spans.share(before, [(-3.4, -0.5)]) > 0.9


def test_all_nine_seconds_of_a_sound_that_changes_its_channels(made, settings):
    decoded = decode(made("layout_change") / "layout_change.ts", ALL, settings)
    assert spans.total(decoded.tracks["audio"].present) > 8.8
    assert "sound_changed" in [repair.kind for repair in decoded.video.repairs]
