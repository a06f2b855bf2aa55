"""Kinds of files that people really have: each is shown and heard as a player would."""

from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from actors.cut_analysis import CutAnalysis
from tests.conftest import scene, slow
from tests.files import (
    ffmpeg,
    fields,
    film,
    quarters,
    slide,
    wav,
    with_box,
    with_clap,
    with_codec,
    with_edits,
    with_matrix,
    with_standing_clock,
)
from tiktok_ray.media import InputError, decode, probe
from tiktok_ray.media import clock as clocks
from tiktok_ray.media.colour import WHITE_NITS, Coding, _to_709
from tiktok_ray.media.container import Contents, Packets
from tiktok_ray.media.sound import Sound, fold, mixed
from tiktok_ray.media.writer import write_clip
from tiktok_ray.net.intake import kind_of
from tiktok_ray.settings import TrackSettings

RATE = 48_000


def sine(seconds=2.0, level=0.5, hz=440.0, rate=RATE):
    return level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def rms(samples):
    return float(np.sqrt(np.mean(np.asarray(samples, float) ** 2)))


# --- pictures ---------------------------------------------------------------------------------

#: A display matrix, and how a picture is stored that it shows upright.
MATRICES: dict[str, tuple[Any, Any]] = {
    "as it is": ((1, 0, 0, 1), lambda p: p),
    "mirrored": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "upside down, mirrored": ((1, 0, 0, -1), lambda p: p[::-1]),
    "half a turn": ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
    "a quarter clockwise": ((0, 1, -1, 0), np.rot90),
    "a quarter back": ((0, -1, 1, 0), lambda p: np.rot90(p, -1)),
    "transposed": ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
    "transposed across": ((0, -1, -1, 0), lambda p: np.rot90(p, 2).transpose(1, 0, 2)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_pictures_are_upright_by_all_eight_display_matrices(tmp_path, settings, name):
    matrix, stored = MATRICES[name]
    path = film(tmp_path / "m.mp4", [np.ascontiguousarray(stored(quarters()))] * 3)
    with_matrix(path, matrix)
    decoded = decode(path, {"frames", "thumbs"}, settings)
    assert (decoded.video.width, decoded.video.height) == (96, 64)
    mirrored = matrix[0] * matrix[3] - matrix[1] * matrix[2] < 0
    assert decoded.video.mirrored == mirrored == probe(path, settings).mirrored
    for track in ("frames", "thumbs"):
        shown = fields(decoded.tracks[track].rgb(0))
        np.testing.assert_allclose(shown, fields(quarters()), atol=8)


def test_a_rotation_that_an_editor_rounded_is_a_quarter(tmp_path, settings):
    turn = np.radians(89.99)
    path = film(tmp_path / "r.mp4", [np.ascontiguousarray(np.rot90(quarters()))] * 3)
    with_matrix(path, (np.cos(turn), np.sin(turn), -np.sin(turn), np.cos(turn)))
    decoded = decode(path, {"frames"}, settings)
    assert decoded.video.rotation == 270
    np.testing.assert_allclose(fields(decoded.tracks["frames"].rgb(0)), fields(quarters()), atol=8)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_only_the_clean_aperture_is_shown(tmp_path, settings, suffix):
    whole = np.zeros((120, 160, 3), np.uint8)
    whole[:] = (250, 250, 0)
    whole[28:92, 32:128] = quarters()
    path = with_clap(film(tmp_path / "c.mp4", [whole] * 3), 96, 64)
    if suffix == ".mkv":
        ffmpeg("-i", path, "-c", "copy", tmp_path / "c.mkv")
        path = tmp_path / "c.mkv"
    decoded = decode(path, {"frames", "thumbs"}, settings)
    assert (decoded.video.width, decoded.video.height) == (96, 64)
    assert decoded.video.clean_aperture == (96, 64)
    shown = decoded.tracks["frames"].rgb(0)
    np.testing.assert_allclose(fields(shown), fields(quarters()), atol=8)
    assert shown[2:-2, 2:-2].astype(int)[..., :2].min(-1).max() < 200  # nothing of the yellow


def test_a_shape_that_changes_is_fitted_and_never_squeezed(tmp_path, settings):
    square = np.full((64, 64, 3), 200, np.uint8)
    first = film(tmp_path / "a.ts", [quarters()] * 10, extra=["-f", "mpegts"])
    second = film(
        tmp_path / "b.ts", [square] * 10, extra=["-output_ts_offset", 0.4, "-f", "mpegts"]
    )
    first.write_bytes(first.read_bytes() + second.read_bytes())
    decoded = decode(first, {"thumbs"}, settings)
    thumbs = decoded.tracks["thumbs"]
    assert (decoded.video.width, decoded.video.height) == (96, 64)
    assert decoded.video.size_changes == 1
    last = thumbs.gray(len(thumbs) - 1)
    lit = (last > 60).mean(0) > 0.5
    assert lit.sum() == pytest.approx(64 / 96 * thumbs.width, abs=3)
    assert not lit[:5].any()
    assert not lit[-5:].any()


@pytest.mark.parametrize("suffix", [".ts", ".mp4", ".mkv"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_pixels_may_change_their_aspect_on_the_way(tmp_path, settings, codec, suffix):
    """Anamorphic broadcast: from one picture on, the same pixels are shown twice as wide."""
    parts = b""
    for start, shape in ((0, "3:2"), (0.4, "3:1")):
        more = ["-aspect", shape, "-bf", 0, "-output_ts_offset", start, "-f", "mpegts"]
        parts += film(tmp_path / "p.ts", [quarters()] * 10, codec=(codec,), extra=more).read_bytes()
    path = tmp_path / "both.ts"
    path.write_bytes(parts)
    if suffix != ".ts":
        ffmpeg("-i", path, "-c", "copy", tmp_path / f"both{suffix}")
        path = tmp_path / f"both{suffix}"
    decoded = decode(path, {"thumbs"}, settings)
    assert (decoded.video.width, decoded.video.height) == (96, 64)
    assert decoded.video.size_changes == 1
    thumbs = decoded.tracks["thumbs"]
    lit = (thumbs.grays > 30).mean(2) > 0.5
    np.testing.assert_array_equal(lit[:10].sum(1), 64)
    np.testing.assert_allclose(lit[10:].sum(1), 32, atol=2)
    assert len(lit) == 20


def test_interlaced_pictures_are_made_whole(tmp_path, settings):
    """A bar that moves by 8 pixels from field to field: woven as it is, it has combs for edges."""
    moments = []
    for k in range(40):
        picture = np.full((128, 192, 3), 40, np.uint8)
        picture[:, 8 + 4 * k : 40 + 4 * k] = 220
        moments.append(picture)
    path = film(
        tmp_path / "i.mp4", moments, fps="50", codec=("libx264", "-crf", "8", "-flags", "+ilme"),
        extra=["-vf", "tinterlace=interleave_top,setfield=tff", "-x264-params", "tff=1"],
    )  # fmt: skip
    decoded = decode(path, {"stills", "thumbs"}, settings)
    assert decoded.video.interlaced
    assert decoded.video.frames == 20
    np.testing.assert_allclose(decoded.tracks["thumbs"].times, np.arange(20) / 25, atol=1e-3)
    stills = decoded.tracks["stills"]
    for index in range(len(stills)):
        lines = stills.gray(index)[4:-4].astype(int)
        combs = np.abs(lines[1:-1] - (lines[:-2] + lines[2:]) / 2)
        assert (combs > 40).mean() < 0.005
        middle = 8 + 4 * 2 * round(stills.times[index] * 25) + 16
        lit = np.flatnonzero(lines.mean(0) > 130)
        assert lit.mean() == pytest.approx(middle, abs=6)


@pytest.mark.parametrize(
    ("codec", "pixels", "suffix"),
    [
        (("libx264", "-crf", "4"), "yuv420p", ".mp4"),
        (("libx264", "-crf", "4"), "yuvj420p", ".mp4"),
        (("libx264", "-crf", "4"), "yuv444p", ".mkv"),
        (("libx264rgb", "-crf", "2"), "rgb24", ".mp4"),
        (("ffv1",), "gbrp", ".mkv"),
        (("ffv1",), "bgra", ".mkv"),
        (("prores_ks", "-profile:v", "4444"), "yuva444p10le", ".mov"),
    ],
)
def test_colours_are_the_same_however_they_are_coded(tmp_path, settings, codec, pixels, suffix):
    path = film(tmp_path / f"c{suffix}", [quarters()] * 2, codec=codec, pixels=pixels)
    shown = decode(path, {"frames"}, settings).tracks["frames"].rgb(0)
    np.testing.assert_allclose(fields(shown), fields(quarters()), atol=4)


def test_transparent_pictures_lie_over_black(tmp_path, settings):
    import av

    picture = np.dstack([quarters(), np.full((64, 96), 255, np.uint8)])
    picture[:, 48:, 3] = 0
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "bgra"
        frame = av.VideoFrame.from_ndarray(picture, format="rgba").reformat(format="bgra")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    decoded = decode(path, {"frames"}, settings)
    assert decoded.video.alpha_over == "black"
    shown = fields(decoded.tracks["frames"].rgb(0))
    np.testing.assert_allclose(shown[[1, 3]], 0, atol=4)
    np.testing.assert_allclose(shown[[0, 2]], fields(quarters())[[0, 2]], atol=6)


def webm(path, codec):
    """A film of one colour, transparent on the right, as browsers and editors write it."""
    picture = np.full((64, 96, 4), (200, 60, 60, 255), np.uint8)
    picture[:, 48:, 3] = 0
    raw = ["-f", "rawvideo", "-pix_fmt", "rgba", "-s", "96x64", "-r", 25, "-i", "-"]
    pixels = ["-c:v", codec, "-b:v", "2M", "-pix_fmt", "yuva420p", "-auto-alt-ref", 0]
    ffmpeg(*raw, *pixels, path, input=picture.tobytes() * 10)
    return path


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_transparency_that_lies_beside_the_pictures_is_read(tmp_path, settings, codec):
    path = webm(tmp_path / "a.webm", codec)
    decoded = decode(path, {"frames"}, settings)
    assert decoded.video.alpha_over == "black" == probe(path, settings).alpha_over
    assert decoded.video.frames == 10
    assert decoded.video.repairs == ()
    shown = fields(decoded.tracks["frames"].rgb(0))
    np.testing.assert_allclose(shown[[1, 3]], 0, atol=4)
    np.testing.assert_allclose(shown[[0, 2]], [(200, 60, 60)] * 2, atol=14)


def test_transparency_that_cannot_be_read_is_told(tmp_path, settings, monkeypatch):
    one_pass = import_module("tiktok_ray.media.decode")
    monkeypatch.setitem(one_pass.WITH_ALPHA, "vp9", "no such decoder")
    video = decode(webm(tmp_path / "a.webm", "libvpx-vp9"), {"frames"}, settings).video
    assert video.alpha_over is None
    assert [repair.kind for repair in video.repairs] == ["alpha_unread"]


def coding(transfer, peak=1000.0, primaries=9):
    return Coding(primaries, transfer, 9, False, False, False, False, peak, "")


def test_white_of_hdr_is_white_and_what_is_darker_stays():
    """Grey of SDR placed in PQ by BT.2408 comes back as itself; highlights stay below white."""
    from tiktok_ray.media.colour import _rolled_off

    light = np.array([[0.1] * 3, [0.5] * 3, [0.85] * 3, [1.0] * 3, [3.0] * 3, [4.9] * 3])
    rolled = _rolled_off(light.astype(np.float32), 1000 / WHITE_NITS)[:, 0]
    np.testing.assert_allclose(rolled[:3], [0.1, 0.5, 0.85], atol=1e-6)
    assert rolled[3] > 0.93
    assert (np.diff(rolled) > 0).all()
    assert rolled[-1] <= 1.0
    dim = _rolled_off(light[:4].astype(np.float32), 1.0)[:, 0]
    np.testing.assert_allclose(dim, light[:4, 0], atol=1e-6)  # a peak at white changes nothing


@pytest.mark.parametrize(("transfer", "code"), [(16, 0.5807), (18, 0.75)])
def test_reference_white_of_pq_and_hlg(transfer, code):
    """BT.2408, table 1: 203 cd/m² is 58 % of PQ and 75 % of HLG."""
    light = float(coding(transfer)._linear[round(code * 4095)])
    if transfer == 18:
        light = light**1.2 * 1000 / WHITE_NITS
    assert light == pytest.approx(1.0, abs=0.02)


#: Names of zscale: primaries, transfer and matrix of files whose colours players convert.
CODED = {
    "BT.601 525": ("smpte170m", "bt709", "smpte170m"),
    "BT.601 625": ("bt470bg", "bt709", "bt470bg"),
    "gamma 2.8": ("bt470bg", "bt470bg", "bt470bg"),
    "BT.2020 SDR": ("bt2020", "iec61966-2-1", "bt2020nc"),
    "Display P3": ("smpte432", "iec61966-2-1", "bt709"),
    "linear": ("bt709", "linear", "bt709"),
    "SMPTE 240M": ("smpte240m", "iec61966-2-1", "smpte240m"),
    "YCgCo": ("bt709", "iec61966-2-1", "ycgco"),
}


def pastel():
    """Four fields of colours that every gamut holds."""
    return (quarters(192, 128) * 0.6 + 50).astype(np.uint8)


def recoded(path, primaries, transfer, matrix, full=False):
    """The fields of `pastel` as zscale brings them to other colours, tagged as such."""
    there = f"p={primaries}:t={transfer}:m={matrix}:r={'full' if full else 'limited'}"
    # What is coded as video is shown as it is: from sRGB only where it is something else.
    back = f"pin=bt709:tin={'bt709' if transfer == 'bt709' else 'iec61966-2-1'}:min=gbr:rin=full"
    picture = pastel().tobytes() * 3
    tags = ["-color_primaries", primaries, "-color_trc", transfer, "-colorspace", matrix]
    tags += ["-color_range", "pc" if full else "tv"]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "192x128", "-r", 25, "-i", "-"]
    shape = ["-vf", f"zscale={back}:{there},format=yuv444p10le"]
    ffmpeg(*raw, *shape, "-c:v", "libx264", "-crf", 1, *tags, path, input=picture)
    return path


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", CODED)
def test_colours_of_other_primaries_transfers_and_matrices(tmp_path, settings, name, full):
    path = recoded(tmp_path / "c.mp4", *CODED[name], full=full)
    decoded = decode(path, {"frames"}, settings)
    shown = fields(decoded.tracks["frames"].rgb(0))
    np.testing.assert_allclose(shown, fields(pastel()), atol=5)
    color = decoded.video.color
    assert color is not None
    assert color.unreadable is None
    assert bool(color.converted) == (name != "YCgCo")
    assert color.range == ("full" if full else "limited")
    assert (decoded.video.hdr is not None) == (name in ("BT.2020 SDR", "Display P3"))


@pytest.mark.parametrize("primaries", [4, 5, 6, 7, 8, 9, 11, 12, 22])
def test_white_stays_white_whatever_the_primaries(primaries):
    white = np.ones(3, np.float32) @ _to_709(primaries)
    np.testing.assert_allclose(white, 1, atol=1e-3)


@pytest.mark.parametrize(
    ("width", "height", "matrix"),
    [
        (1280, 720, 1), (720, 1280, 1), (640, 360, 6), (360, 640, 6), (854, 480, 6),
        (576, 1024, 1), (720, 576, 6), (576, 720, 6), (96, 64, 6), (1920, 1080, 1),
    ],
)  # fmt: skip
def test_the_matrix_of_what_is_not_tagged_goes_by_the_upright_size(width, height, matrix):
    import av

    assert Coding.of(av.VideoFrame(width, height, "yuv420p")).matrix == matrix


@pytest.mark.parametrize("size", [(1280, 720), (1024, 576), (640, 360)])
def test_how_a_camera_was_held_does_not_change_what_is_not_tagged(tmp_path, settings, size):
    turned, upright = tmp_path / "t.mp4", tmp_path / "u.mp4"
    film(turned, [quarters(*size)] * 2)
    ffmpeg("-i", turned, "-c", "copy", "-bsf:v", UNTAGGED, tmp_path / "plain.mp4")
    with_matrix((tmp_path / "plain.mp4").rename(turned), (0, 1, -1, 0))
    film(upright, [np.ascontiguousarray(np.rot90(quarters(*size), -1))] * 2)
    ffmpeg("-i", upright, "-c", "copy", "-bsf:v", UNTAGGED, tmp_path / "plain.mp4")
    pair = [decode(p, {"frames"}, settings) for p in (turned, tmp_path / "plain.mp4")]
    seen = [fields(one.tracks["frames"].rgb(0)) for one in pair]
    np.testing.assert_allclose(seen[0], seen[1], atol=3)
    assert len({one.video.color.matrix for one in pair if one.video.color}) == 1
    assert "guessed" in str(pair[0].video.color)


#: Takes the colours' names out of an H.264 stream.
UNTAGGED = "h264_metadata=colour_primaries=2:transfer_characteristics=2:matrix_coefficients=2"


def with_dolby(path, profile, compatibility):
    """Give the first track of an MP4 file (H.264) a configuration record of Dolby Vision."""
    record = bytes([1, 0, profile << 1, 0b00001101, compatibility << 4]).ljust(24, b"\0")
    return with_box(path, b"dvcC", record)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_dolby_vision_without_a_base_layer_is_said_and_grey(tmp_path, settings, suffix):
    from actors.color_analysis import ColorAnalysis
    from tiktok_ray.analyzer import Skip

    path = with_dolby(film(tmp_path / "d.mp4", [quarters()] * 3), 5, 0)
    if suffix == ".mkv":
        ffmpeg("-i", path, "-c", "copy", "-strict", "unofficial", tmp_path / "d.mkv")
        path = tmp_path / "d.mkv"
    decoded = decode(path, {"frames"}, settings)
    color = decoded.video.color
    assert color is not None
    assert "Dolby Vision profile 5" in (color.unreadable or "")
    assert color == probe(path, settings).color
    assert np.ptp(decoded.tracks["frames"].rgb(0).astype(int), axis=-1).max() <= 3
    with pytest.raises(Skip, match="Dolby Vision profile 5"):
        ColorAnalysis().analyze(decoded.tracks["frames"], video=decoded.video)


def test_dolby_vision_over_a_base_layer_is_shown_by_that(tmp_path, settings):
    path = with_dolby(film(tmp_path / "d.mp4", [quarters()] * 3), 8, 2)
    decoded = decode(path, {"frames"}, settings)
    np.testing.assert_allclose(fields(decoded.tracks["frames"].rgb(0)), fields(quarters()), atol=8)
    assert decoded.video.color is not None
    assert decoded.video.color.unreadable is None


def test_dolby_vision_is_known_by_its_frames_too():
    from tiktok_ray.media.colour import _dolby_profile

    def metadata(profile, full):
        head = bytes([2, 0, 18, 0, profile, 1, 0, 0, 23, 1, full])
        return (32).to_bytes(8, "little") + bytes(24) + head + bytes(40)

    assert _dolby_profile(metadata(0, 1)) == (5, 0)
    assert _dolby_profile(metadata(1, 0)) is None
    assert _dolby_profile(b"\xff" * 8) is None


# --- time -------------------------------------------------------------------------------------


def packets(pts, dts=None, duration=0.04):
    pts = np.asarray(pts, float)
    return Packets(pts, pts if dts is None else np.asarray(dts, float), np.full(len(pts), duration))


def held(video, audio=None, format="mpegts"):
    both = {0: video} | ({1: audio} if audio is not None else {})
    chosen = 1 if audio is not None else None
    return Contents(format, None, both, False, (), 0, chosen, None, None, None)


STEPS = np.arange(50) * 0.04


def moved(contents, limit=1200.0):
    plan = clocks.schedule(contents, False, limit)
    times = contents.packets[0].pts + plan.moves[0].per_packet(len(contents.packets[0]))
    return plan, times


def test_a_clock_that_starts_again_goes_on():
    video = packets([*STEPS, *STEPS])
    plan, times = moved(held(video, packets([*STEPS, *STEPS])))
    np.testing.assert_allclose(times, np.arange(100) * 0.04)
    assert [(r.kind, r.count) for r in plan.repairs] == [("clock_restarted", 1)]
    assert plan.content_s == pytest.approx(4.0)


def test_short_recordings_joined_go_on_one_after_the_other():
    video = packets([*STEPS[:20], *(STEPS[:20] + 500), *(STEPS[:20] + 20)])
    _, times = moved(held(video, format="mpegts"))
    np.testing.assert_allclose(times, np.arange(60) * 0.04)


@pytest.mark.parametrize("format", ["mpegts", "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"])
def test_a_clock_that_leaps_for_all_streams_is_set_back(format):
    leapt = [*STEPS, *(STEPS + 7200)]
    plan, times = moved(held(packets(leapt), packets(leapt), format))
    np.testing.assert_allclose(times, np.arange(100) * 0.04)
    assert [(r.kind, r.count) for r in plan.repairs] == [("clock_jumped", 1)]
    assert plan.content_s == pytest.approx(4.0)


def test_a_picture_that_stands_for_minutes_is_no_leap_of_the_clock():
    stands = packets([0, 0.04, 300, 300.04])
    sound = packets(np.arange(0, 301, 0.02), duration=0.02)
    for contents in (held(stands, sound), held(stands, None, "matroska,webm")):
        plan, times = moved(contents)
        np.testing.assert_allclose(times, stands.pts)
        assert plan.repairs == ()


def test_limits_are_those_of_content():
    late = packets(STEPS + 7200)
    assert moved(held(late), limit=10.0)[0].content_s == pytest.approx(2.0)
    with pytest.raises(InputError) as caught:
        moved(held(packets(np.arange(0, 20, 0.04))), limit=10.0)
    assert caught.value.type == "too_long"


def test_two_recordings_in_one_file_are_both_there(tmp_path, settings):
    for name, seed in (("a", 1), ("b", 2)):
        write_clip(tmp_path / f"{name}.ts", [scene(seed)] * 30, fps=30)
    joined = tmp_path / "j.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    decoded = decode(joined, {"thumbs"}, settings)
    assert decoded.video.duration_s == pytest.approx(2.0, abs=0.02)
    assert decoded.video.frames == 60
    assert decoded.video.repairs[0].kind == "clock_restarted"
    assert not decoded.video.truncated
    (cut,) = CutAnalysis().analyze(decoded.tracks["thumbs"]).times
    assert cut == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("suffix", "codec", "kind"),
    [
        slow(".avi", ("libx264", "-bf", "3", "-preset", "veryfast"), "decode_times"),
        (".avi", ("mpeg4", "-bf", "2", "-q:v", "3"), "decode_times"),
        (".h264", ("libx264", "-preset", "veryfast"), "no_times"),
    ],
)
def test_files_without_times_of_display(tmp_path, settings, suffix, codec, kind):
    pictures = [scene(1 + k // 25) for k in range(75)]
    path = film(tmp_path / f"x{suffix}", pictures, codec=codec)
    decoded = decode(path, {"thumbs"}, settings)
    thumbs = decoded.tracks["thumbs"]
    np.testing.assert_allclose(thumbs.times, np.arange(75) / 25, atol=1e-6)
    assert CutAnalysis().analyze(thumbs).times == pytest.approx([1.0, 2.0])
    assert decoded.video.start_offset_s == 0
    assert [repair.kind for repair in decoded.video.repairs] == [kind]


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("standing", [(0,), (1,), (0, 1)])
def test_a_clock_that_stands_still_is_counted_out(tmp_path, settings, standing, b_frames):
    sound = wav(tmp_path / "s.wav", np.where(np.arange(3 * RATE) < RATE, 0, sine(3.0))[None])
    codec = ("libx264", "-bf", b_frames)
    path = film(
        tmp_path / "z.mp4", [scene(1 + k // 25) for k in range(75)], codec=codec, sound=sound
    )
    for track in standing:
        with_standing_clock(path, track)
    decoded = decode(path, {"thumbs", "audio"}, settings)
    thumbs, audio = decoded.tracks["thumbs"], decoded.tracks["audio"]
    np.testing.assert_allclose(thumbs.times, np.arange(75) / 25, atol=1e-3)
    assert CutAnalysis().analyze(thumbs).times == pytest.approx([1.0, 2.0], abs=1e-3)
    assert decoded.video.duration_s == pytest.approx(3.0, abs=0.03)
    assert decoded.video.frames_dropped == 0
    assert rms(audio.cut(0.1, 0.8)) < 0.01
    assert rms(audio.cut(1.1, 2.9)) == pytest.approx(0.354, rel=0.03)
    kinds = [repair.kind for repair in decoded.video.repairs]
    assert kinds == [("no_times", "no_sound_times")[track] for track in standing]
    assert decoded.video.repairs[0].count > 70


def test_sound_whose_time_has_passed_is_left_out_and_counted():
    sound = heard([sine(1.0)], "mono")
    sound.feed(frame_of([sine(0.5)], "mono"), 0.25, 0.0)
    sound.feed(frame_of([sine(1.0)], "mono"), 1.0, 0.0)
    audio, _ = sound.finish()
    assert audio.duration_s == pytest.approx(2.0, abs=0.01)
    assert (sound.overlaps, sound.late_s) == (1, pytest.approx(0.5))


@pytest.fixture
def edited(tmp_path) -> Path:
    """Three scenes of a second beside a tone that sounds in the last two of its three seconds."""
    sound = wav(tmp_path / "s.wav", np.where(np.arange(3 * RATE) < RATE, 0, sine(3.0))[None])
    return film(tmp_path / "e.mp4", [scene(1 + k // 25) for k in range(75)], sound=sound)


#: Media times of the film's seconds, and of its sound's (behind its encoder's delay).
V, A, DELAY = 12_800, RATE, 1024
EDITS: dict[str, tuple[int, tuple[tuple[float, int], ...], tuple[float, ...], float]] = {
    "a delay of the sound": (1, ((1, -1), (3, DELAY)), (1.0, 2.0), 2.0),
    "two delays of the sound": (1, ((0.5, -1), (0.5, -1), (3, DELAY)), (1.0, 2.0), 2.0),
    "a pause of the sound": (1, ((1, DELAY), (1, -1), (2, DELAY + A)), (1.0, 2.0), 2.0),
    "no edit of the sound": (1, (), (1.0, 2.0), 1.0),
    "a pause of the pictures": (0, ((1, 0), (1, -1), (2, V)), (2.0, 3.0), 1.0),
    "a scene cut out": (0, ((1, 0), (1, 2 * V)), (1.0,), 1.0),
    "a scene twice": (0, ((2, 0), (1, V), (1, 2 * V)), (1.0, 3.0), 1.0),
    "no edit of the pictures": (0, (), (1.0, 2.0), 1.0),
}


@pytest.mark.parametrize("name", EDITS)
def test_edit_lists_are_kept_to(edited, settings, name):
    track, edits, cuts, loud = EDITS[name]
    decoded = decode(with_edits(edited, track, *edits), {"thumbs", "audio"}, settings)
    assert CutAnalysis().analyze(decoded.tracks["thumbs"]).times == pytest.approx(cuts, abs=1e-3)
    audio = decoded.tracks["audio"]
    assert rms(audio.cut(loud - 0.9, loud - 0.05)) < 0.03
    assert rms(audio.cut(loud + 0.05, loud + 0.9)) == pytest.approx(0.354, rel=0.03)
    pause = ["empty_edit"] if "pause" in name else []
    assert [repair.kind for repair in decoded.video.repairs] == pause
    assert decoded.video.frames_dropped == 0
    assert not decoded.video.truncated


def test_a_delay_of_the_pictures_leaves_the_sound_before_them(edited, settings):
    path = with_edits(edited, 0, (1, -1), (3, 0))
    decoded = decode(path, {"thumbs", "audio"}, settings)
    assert decoded.video.start_offset_s == pytest.approx(1.0, abs=0.01)
    assert len(decoded.tracks["thumbs"]) == 75
    assert decoded.tracks["thumbs"].times[0] == 0
    assert rms(decoded.tracks["audio"].cut(0.1, 1.9)) == pytest.approx(0.354, rel=0.03)
    assert not decoded.video.truncated
    assert not decode(path, {"thumbs"}, settings).video.truncated


def test_pictures_that_are_all_edited_out_are_refused(edited, settings):
    with pytest.raises(InputError, match="contains no frames") as caught:
        decode(with_edits(edited, 0, (3, -1)), {"thumbs"}, settings)
    assert caught.value.type == "undecodable"


def test_ten_slides_at_one_frame_a_second_have_nine_cuts(tmp_path, settings):
    path = write_clip(tmp_path / "s.mp4", [slide(200 + k) for k in range(10)], fps=1)
    thumbs = decode(path, {"thumbs"}, settings).tracks["thumbs"]
    assert CutAnalysis().analyze(thumbs).times == pytest.approx(range(1, 10))


def test_thumbs_keep_to_their_bytes_whatever_the_header_says(tmp_path, settings):
    pictures = [scene(k % 7) for k in range(300)]
    path = film(tmp_path / "x.h264", pictures, codec=("libx264", "-preset", "ultrafast"))
    sizes = TrackSettings(thumbs_mib=1)
    thumbs = decode(path, {"thumbs"}, settings.model_copy(update={"tracks": sizes})).tracks[
        "thumbs"
    ]
    assert thumbs.i420.nbytes <= 2**20
    assert len(thumbs) > 100


def test_sound_before_the_first_picture_is_kept_apart(tmp_path, settings):
    sound = wav(tmp_path / "s.wav", sine(3.0)[None])
    film(tmp_path / "p.mp4", [scene(1)] * 25)
    late = tmp_path / "late.mp4"
    picture = ["-itsoffset", 2, "-i", tmp_path / "p.mp4"]
    ffmpeg(*picture, "-i", sound, "-c:v", "copy", "-c:a", "aac", late)
    decoded = decode(late, {"audio"}, settings)
    audio = decoded.tracks["audio"]
    assert decoded.video.start_offset_s == pytest.approx(2.0, abs=0.03)
    assert len(audio.before) / audio.rate == pytest.approx(2.0, abs=0.03)
    assert rms(audio.before[1600:-1600]) == pytest.approx(0.5 / 2**0.5, rel=0.03)


# --- sound ------------------------------------------------------------------------------------


def heard(channels, layout, format="fltp", rate=RATE, into=None):
    """What comes of sound, float [channels, n], that FFmpeg decoded to a format."""
    sound = into or Sound(60.0)
    sound.feed(frame_of(channels, layout, format, rate), None, 0.0)
    return sound


def frame_of(channels, layout, format="fltp", rate=RATE):
    """A frame of sound, float [channels, n]."""
    import av

    scale = {"s16": 2**15 - 1, "s32": 2**31 - 1, "u8": 127}.get(format.removesuffix("p"), 1)
    kind = {"s16": "i2", "s32": "i4", "u8": "u1", "flt": "f4", "dbl": "f8"}
    block = np.asarray(channels) * scale + (128 if format.startswith("u8") else 0)
    block = block.astype(kind[format.removesuffix("p")])
    if not format.endswith("p"):
        block = block.T.reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format=format, layout=layout)
    frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
    return frame


@pytest.mark.parametrize("layout", ["mono", "stereo", "2.1", "quad", "5.1", "5.1(side)", "7.1"])
@pytest.mark.parametrize("format", ["fltp", "flt", "s16", "s16p", "s32p", "dblp", "u8"])
def test_a_tone_on_all_channels_is_as_loud_in_the_mono(layout, format):
    import av

    count = av.AudioLayout(layout).nb_channels
    if count == 8 and format.endswith("p"):
        pytest.skip("PyAV cannot make eight planes; a file with them is tested below")
    audio, mono = heard([sine(0.5, level=0.9)] * count, layout, format).finish()
    assert np.abs(audio.samples).max() == pytest.approx(0.9, abs=0.02)
    assert rms(audio.samples[1600:-1600]) == pytest.approx(0.9 / 2**0.5, rel=0.02)
    assert mono.gain_db is None


def test_an_inverted_channel_is_turned_back():
    voice = sine()
    audio, mono = heard([voice, -voice], "stereo").finish()
    assert rms(audio.samples) == pytest.approx(rms(voice), rel=0.02)
    assert "inverted polarity in 100%" in mono.how


@pytest.mark.parametrize("layout", ["3.0", "quad", "5.1", "7.1(wide)"])
@pytest.mark.parametrize("inverted", [[0], [1], [2], [0, 2]])
def test_inverted_ones_of_many_channels_are_turned_back(layout, inverted):
    import av

    voice = sine()
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    channels = np.stack([voice] * len(names))
    channels[inverted] *= -1
    audio, mono = heard(channels, layout, "flt").finish()
    assert rms(audio.samples) == pytest.approx(rms(voice), rel=0.02)
    # Which of the two kinds is the inverted one cannot be heard.
    others = [n for k, n in enumerate(names) if k not in inverted and n != "LFE"]
    told = [" ".join(names[k] for k in inverted), " ".join(others)]
    assert any(f"; {one} had inverted polarity, which was corrected" in mono.how for one in told), (
        mono.how
    )


def test_many_channels_that_only_differ_are_folded_as_they_are():
    random = np.random.default_rng(0).normal(0, 0.1, (6, 2 * RATE))
    random[1] -= 0.5 * random[0]
    assert "inverted" not in heard(random, "5.1", "flt").finish()[1].how


@pytest.mark.parametrize("count", [2, 3, 4, 6])
@pytest.mark.parametrize("sign", [1, -1])
def test_channels_without_places_are_heard(count, sign):
    voice = sine()
    channels = np.stack([voice, *[sign * voice] * (count - 1)])
    audio, _ = heard(channels, f"{count} channels", "flt").finish()
    assert rms(audio.samples) == pytest.approx(rms(voice), rel=0.02)


def test_a_channel_that_is_inverted_for_a_while_is_turned_back_there():
    t = np.arange(10 * 16_000) / 16_000
    left = np.sin(2 * np.pi * 440 * t).astype(np.float32)
    right = np.where(t < 5, left, -left).astype(np.float32)
    mono = mixed(np.stack([left, right]), 16_000)
    assert rms(mono.samples[16_000:64_000]) == pytest.approx(2**-0.5, rel=0.02)
    assert rms(mono.samples[96_000:144_000]) == pytest.approx(2**-0.5, rel=0.02)


def test_a_silent_channel_takes_nothing_from_the_other():
    voice = sine()
    audio, mono = heard([0 * voice, voice], "stereo").finish()
    assert rms(audio.samples) == pytest.approx(rms(voice), rel=0.02)
    assert mono.how.startswith("right only")


def test_wide_stereo_is_mixed_as_it_is():
    left, right = sine(hz=440), sine(hz=660)
    audio, mono = heard([left, right], "stereo").finish()
    assert mono.how == "mean of left and right"
    assert rms(audio.samples[1600:-1600]) == pytest.approx(0.25, rel=0.03)


def test_of_ambisonics_the_omnidirectional_channel_is_heard():
    np.testing.assert_array_equal(fold(["AMBI0", "AMBI1", "AMBI2", "AMBI3"]), [[1, 0, 0, 0]])


@pytest.mark.parametrize("names", [["FL", "FR"], ["FC"], ["FL", "FR", "FC", "LFE", "BL", "BR"],
                                   ["LFE"], ["USR1", "USR2", "USR3"], ["FL", "LFE"]])  # fmt: skip
def test_nothing_can_clip_in_the_mix(names):
    weights = fold(names)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert (weights >= 0).all()


def test_what_is_no_number_is_silenced_and_counted():
    tone = sine()
    tone[100], tone[200], tone[300] = np.nan, np.inf, 1e30
    sound = heard([tone], "mono")
    audio, _ = sound.finish()
    assert sound.silenced == 3
    assert np.isfinite(audio.samples).all()
    assert np.isfinite(audio.levels.power).all()
    assert np.abs(audio.samples).max() < 0.6


def floats(path, samples):
    """A film of 25 pictures a second beside sound as 32-bit floats, which may be no numbers."""
    raw = path.with_suffix(".f32")
    raw.write_bytes(np.asarray(samples, "<f4").tobytes())
    silent = film(path.with_suffix(".mp4"), [quarters()] * round(25 * len(samples) / RATE))
    sound = ["-f", "f32le", "-ar", RATE, "-ac", 1, "-i", raw]
    ffmpeg("-i", silent, *sound, "-c:v", "copy", "-c:a", "pcm_f32le", path)
    return path


def test_sound_without_a_single_number_is_a_track_that_cannot_be_used(tmp_path, settings):
    path = floats(tmp_path / "n.mkv", np.full(2 * RATE, np.nan))
    decoded = decode(path, {"audio", "speech", "thumbs"}, settings)
    assert set(decoded.tracks) == {"thumbs", "video"}
    assert not decoded.video.has_audio
    assert decoded.video.no_sound == (
        "the audio track (pcm_f32le) cannot be used: none of its samples is a finite number within 24 dB of"
        " full scale"
    )
    (track,) = [s for s in decoded.video.streams if s.kind == "audio"]
    assert not track.used
    assert "none of its samples is a finite number" in (track.reason or "")


def test_a_stretch_of_sound_without_a_number_is_a_hole_and_counted(tmp_path, settings):
    samples = sine(4.0)
    samples[RATE : 2 * RATE] = np.nan
    decoded = decode(floats(tmp_path / "n.mkv", samples), {"audio"}, settings)
    assert decoded.video.has_audio
    assert decoded.video.samples_silenced == RATE
    assert decoded.video.silenced_share == pytest.approx(0.25, abs=0.002)
    (before, after) = decoded.tracks["audio"].present
    assert (before.end, after.start) == pytest.approx((1.0, 2.0), abs=0.05)
    assert rms(decoded.tracks["audio"].cut(2.1, 3.9)) == pytest.approx(0.354, rel=0.02)


def test_a_track_of_no_numbers_is_passed_over(tmp_path, settings):
    broken = floats(tmp_path / "n.mkv", np.full(RATE, np.nan))
    whole = wav(tmp_path / "w.wav", sine(1.0)[None])
    path = tmp_path / "both.mkv"
    ffmpeg("-i", broken, "-i", whole, "-map", 0, "-map", 1, "-c", "copy", path)
    decoded = decode(path, {"audio"}, settings)
    assert rms(decoded.tracks["audio"].cut(0.2, 0.8)) == pytest.approx(0.354, rel=0.02)
    reasons = [s.reason for s in decoded.video.streams if s.kind == "audio"]
    assert "none of its samples is a finite number" in (reasons[0] or "")
    assert reasons[1] == "the first that is not silent"


def test_sound_over_full_scale_is_turned_down_not_clipped():
    audio, mono = heard([sine(level=2.0)], "mono").finish()
    assert np.abs(audio.samples).max() <= 1.0
    assert mono.gain_db == pytest.approx(-6.0, abs=0.3)
    assert (np.abs(audio.samples) > 0.999).mean() < 0.05


def test_channels_and_rate_may_change():
    sound = heard([sine(), sine()], "stereo")
    heard([sine(rate=44_100)], "mono", "s16", 44_100, into=sound)
    heard([sine(), sine()], "stereo", into=sound)
    audio, _ = sound.finish()
    assert sound.changes == 2
    assert audio.duration_s == pytest.approx(6.0, abs=0.05)
    for start in (0, 2, 4):
        part = audio.cut(start + 0.3, start + 1.7)
        assert rms(part) == pytest.approx(0.5 / 2**0.5, rel=0.03)


@pytest.mark.parametrize("first", ["mono", "stereo", "quad", "5.1", "ambisonic 1", "2 channels"])
@pytest.mark.parametrize("second", ["mono", "stereo", "5.1"])
def test_a_tone_stays_as_loud_when_the_channels_change(first, second):
    """A film in 5.1 between advertisements in stereo, and the other way round."""
    import av

    tone, sound = sine(0.6), None
    for layout in (first, second, first):
        count = av.AudioLayout(layout).nb_channels
        sound = heard(np.stack([tone] * count), layout, "flt", into=sound)
    samples = sound.finish()[0].samples
    for part in range(3):
        inside = samples[9_600 * part + 1600 : 9_600 * (part + 1) - 1600]
        assert rms(inside) == pytest.approx(rms(tone), rel=0.02), part


def test_sound_of_eight_channels_in_a_file(tmp_path, settings):
    """PyAV's own arrays of eight planes read beyond their end and kill the process."""
    sound = wav(tmp_path / "s.wav", np.stack([sine(1.0)] * 8))
    path = film(
        tmp_path / "x.mp4", [quarters()] * 25, sound=sound,
        sound_codec=("aac", "-b:a", "512k", "-channel_layout", "7.1"),
    )  # fmt: skip
    decoded = decode(path, {"audio"}, settings)
    assert decoded.video.audio_channels == 8
    assert rms(decoded.tracks["audio"].cut(0.2, 0.8)) == pytest.approx(0.354, rel=0.1)


# --- streams ----------------------------------------------------------------------------------


@pytest.fixture
def spoken(tmp_path) -> Path:
    sound = wav(tmp_path / "s.wav", sine(1.0)[None])
    return film(tmp_path / "x.mp4", [quarters()] * 25, sound=sound)


def test_a_codec_without_a_decoder_costs_only_its_track(spoken, settings):
    decoded = decode(with_codec(spoken, b"mp4a", b"ac-4"), {"audio", "thumbs"}, settings)
    assert set(decoded.tracks) == {"thumbs", "video"}
    assert not decoded.video.has_audio
    assert decoded.video.no_sound == (
        "the audio track (ac-4) cannot be used: no decoder supports it"
    )
    assert decoded.video.audio_codec == "ac-4"


def test_pictures_without_a_decoder_are_an_error_that_names_the_codec(spoken, settings):
    with_codec(spoken, b"avc1", b"bvc2")
    for call in (lambda: decode(spoken, {"thumbs"}, settings), lambda: probe(spoken, settings)):
        with pytest.raises(InputError, match="bvc2") as caught:
            call()
        assert caught.value.type == "undecodable"
        assert "H.264" in caught.value.advice


@pytest.fixture
def many(tmp_path) -> Path:
    """A film, two larger stills, a silent default sound, and two with a tone."""
    film(tmp_path / "f.mp4", [quarters()] * 25)
    film(tmp_path / "s.mp4", [quarters(192, 128)] * 2)
    low = wav(tmp_path / "low.wav", sine(1.0, hz=300)[None])
    high = wav(tmp_path / "high.wav", sine(1.0, hz=2000)[None])
    none = wav(tmp_path / "none.wav", 0 * sine(1.0)[None])
    inputs = [a for name in ("f.mp4", "s.mp4") for a in ("-i", tmp_path / name)]
    inputs += [a for path in (none, low, high) for a in ("-i", path)]
    maps = [a for k in range(5) for a in ("-map", k)]
    marks = [
        "-disposition:v:0", "0", "-disposition:v:1", "default", "-disposition:a:0", "default",
        "-disposition:a:1", "0", "-disposition:a:2", "0", "-metadata:s:a:1", "language=eng",
        "-metadata:s:a:2", "language=deu", "-metadata:s:a:2", "title=Kommentar",
    ]  # fmt: skip
    ffmpeg(*inputs, *maps, "-c:v", "copy", "-c:a", "aac", *marks, tmp_path / "m.mkv")
    return tmp_path / "m.mkv"


def loudest(audio):
    spectrum = np.abs(np.fft.rfft(audio.samples))
    return float(np.argmax(spectrum) * audio.rate / len(audio.samples))


def test_the_film_and_the_sound_that_holds_something_are_taken(many, settings):
    decoded = decode(many, {"audio", "thumbs"}, settings)
    video = decoded.video
    assert (video.width, video.height, video.frames) == (96, 64, 25)
    assert loudest(decoded.tracks["audio"]) == pytest.approx(300, abs=5)
    used = {s.index: s.reason for s in video.streams if s.used}
    assert set(used) == {0, 3}
    assert used[3] == "the first that is not silent"
    assert [s.language for s in video.streams if s.kind == "audio"] == [None, "eng", "deu"]
    assert next(s.reason for s in video.streams if s.index == 2) == "it is silent throughout"


@pytest.mark.parametrize("wanted", ["4", "deu"])
def test_settings_choose_the_sound(many, settings, wanted):
    chosen = settings.model_copy(update={"audio_stream": wanted})
    decoded = decode(many, {"audio"}, chosen)
    assert loudest(decoded.tracks["audio"]) == pytest.approx(2000, abs=5)


def test_settings_choose_the_pictures_or_say_what_there_is(many, settings):
    assert probe(many, settings.model_copy(update={"video_stream": 1})).width == 192
    with pytest.raises(InputError, match="stream 3") as caught:
        probe(many, settings.model_copy(update={"video_stream": 3}))
    assert "0" in caught.value.advice
    with pytest.raises(InputError, match="fra") as caught:
        probe(many, settings.model_copy(update={"audio_stream": "fra"}))
    assert "deu" in caught.value.advice


@pytest.mark.parametrize(
    ("suffix", "codec", "sound", "cut_off"),
    [
        (".mp4", ("libx264",), ("aac",), True),
        (".mkv", ("libx264",), ("aac",), True),
        (".avi", ("mpeg4", "-q:v", "3"), ("libmp3lame",), True),
        slow(".flv", ("libx264",), ("aac",), True),
        slow(".mxf", ("mpeg2video",), ("pcm_s16le",), True),
        slow(".ogv", ("libtheora", "-q:v", "8"), ("libvorbis",), True),
        slow(".wmv", ("wmv2", "-q:v", "3"), ("wmav2",), True),
        slow(".gif", ("gif",), None, True),
        (".ts", ("libx264",), ("aac",), None),
    ],
)
def test_half_a_file_is_known_as_such_or_not_known(
    tmp_path, settings, suffix, codec, sound, cut_off
):
    path = tmp_path / f"x{suffix}"
    more = ["-movflags", "+faststart"] if suffix == ".mp4" else []
    pictures = [scene(k // 20) for k in range(100)]
    grain = np.random.default_rng(0).integers(0, 20, pictures[0].shape, np.uint8)
    pictures = [np.roll(picture // 2 + grain, k, 1) for k, picture in enumerate(pictures)]
    heard = wav(tmp_path / "s.wav", sine(4.0)[None]) if sound else None
    pixels = "rgb8" if suffix == ".gif" else "yuv420p"
    film(
        path, pictures, codec=codec, sound=heard, sound_codec=sound or (), extra=more, pixels=pixels
    )
    assert decode(path, {"thumbs", "audio"}, settings).video.truncated is (cut_off and False)
    assert probe(path, settings).truncated is (cut_off and False)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 // 188 * 188])
    video = decode(path, {"thumbs", "audio"}, settings).video
    assert 30 < (video.frames or 0) < 80
    assert video.truncated is cut_off
    assert probe(path, settings).truncated is cut_off
    why = None if cut_off else "nothing in the file tells its length or where it ends"
    assert video.truncated_unknown == probe(path, settings).truncated_unknown == why


def test_half_a_program_stream_is_known_where_it_ends_within_a_packet(tmp_path, settings):
    """Nothing says how long it is; a last packet that is not all there does."""
    path = film(tmp_path / "x.mpg", [scene(k // 20) for k in range(50)], codec=("mpeg2video",))
    assert decode(path, {"thumbs"}, settings).video.truncated is None
    whole = path.read_bytes()
    path.write_bytes(whole[:-700])
    assert decode(path, {"thumbs"}, settings).video.truncated is True
    path.write_bytes(whole + b"\0\0\1\xb9")
    assert decode(path, {"thumbs"}, settings).video.truncated is False


@pytest.mark.parametrize("suffix", [".mp4", ".flv", ".ts"])
def test_whole_pictures_before_a_broken_end_are_all_there(tmp_path, settings, suffix):
    """Also those that a decoder holds back for their order of display."""
    more = ["-movflags", "+faststart"] if suffix == ".mp4" else []
    coded = ("libx264", "-bf", "3", "-preset", "veryfast")
    grain = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    pictures = [np.roll(grain, 3 * k, 1) for k in range(60)]
    path = film(tmp_path / f"x{suffix}", pictures, codec=coded, extra=more)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        count = 0
        for packet in container.demux(video=0):
            try:
                count += len(packet.decode())
            except av.error.FFmpegError:
                continue
    assert decode(path, {"thumbs"}, settings).video.frames == count > 20


def test_an_end_that_was_never_written_is_cut_off(tmp_path, settings):
    """As downloads leave it that were given their room at once."""
    more = ["-movflags", "+faststart"]
    path = film(tmp_path / "x.mp4", [slide(k // 20, 96, 64) for k in range(100)], extra=more)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10] + bytes(len(data) * 3 // 10))
    video = decode(path, {"thumbs"}, settings).video
    assert video.truncated is True is probe(path, settings).truncated
    assert video.damaged_packets > 0
    assert (video.picture_end_s or 4.0) < 4.0


def test_pictures_whose_bytes_are_damaged_are_counted(tmp_path, settings):
    grain = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    path = film(tmp_path / "x.mkv", [np.roll(grain, 3 * k, 1) for k in range(60)])
    assert decode(path, {"thumbs"}, settings).video.repairs == ()
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400] = np.random.default_rng(1).bytes(400)
    path.write_bytes(data)
    video = decode(path, {"thumbs"}, settings).video
    told = {repair.kind: repair.count for repair in video.repairs}
    assert told.get("damaged_pictures", 0) + video.damaged_packets >= 1


def test_a_transport_stream_that_ends_within_a_packet_was_cut_off(tmp_path, settings):
    path = film(tmp_path / "x.ts", [scene(k // 20) for k in range(50)])
    path.write_bytes(path.read_bytes()[:-100])
    assert decode(path, {"thumbs"}, settings).video.truncated


def test_whether_fragments_are_all_there_is_known_by_their_index_alone(tmp_path, settings):
    fragments = ["-movflags", "frag_keyframe+empty_moov+default_base_moof", "-g", 25]
    path = film(tmp_path / "x.mp4", [scene(k // 20) for k in range(75)], extra=fragments)
    video = decode(path, {"thumbs"}, settings).video
    assert (video.frames, video.truncated) == (75, False)
    data = path.read_bytes()
    path.write_bytes(data[: data.rfind(b"moof") - 4])  # whole fragments are missing
    assert decode(path, {"thumbs"}, settings).video.truncated is None
    path.write_bytes(data[: data.rfind(b"mdat") + 200])
    assert decode(path, {"thumbs"}, settings).video.truncated is True


def test_times_below_zero_that_matroska_cannot_hold(tmp_path, settings):
    early = ["-output_ts_offset", -1, "-avoid_negative_ts", "disabled"]
    path = film(tmp_path / "x.mkv", [scene(1 + k // 25) for k in range(75)], extra=early)
    decoded = decode(path, {"thumbs"}, settings)
    np.testing.assert_allclose(decoded.tracks["thumbs"].times, np.arange(75) / 25, atol=1e-3)
    assert [(r.kind, r.count) for r in decoded.video.repairs] == [("missing_times", 25)]


@pytest.mark.parametrize(
    ("name", "codec", "size", "shown"),
    [
        ("x.dv", ("dvvideo",), (720, 576), (768, 576)),
        ("x.y4m", ("rawvideo",), (96, 64), (96, 64)),
        ("x.3gp", ("h263",), (176, 144), (192, 144)),
    ],
)
def test_what_cameras_and_tools_write(tmp_path, settings, name, codec, size, shown):
    pictures = [scene(1 + k // 25, size[1], size[0]) for k in range(50)]
    aspect = ["-aspect", "4:3"] if size != shown else []
    decoded = decode(
        film(tmp_path / name, pictures, codec=codec, extra=aspect), {"thumbs"}, settings
    )
    assert (decoded.video.width, decoded.video.height) == shown
    assert decoded.video.frames == 50
    assert CutAnalysis().analyze(decoded.tracks["thumbs"]).times == pytest.approx([1.0])


def test_pictures_that_say_only_that_the_last_one_stays(tmp_path, settings):
    path = film(tmp_path / "x.ogv", [scene(k // 20) for k in range(60)], codec=("libtheora",))
    decoded = decode(path, {"thumbs"}, settings)
    assert decoded.video.damaged_packets == 0
    cuts = CutAnalysis().analyze(decoded.tracks["thumbs"]).times
    assert cuts == pytest.approx([0.8, 1.6], abs=0.01)


def test_why_other_streams_are_left_out_is_said(many, settings):
    reasons = {s.index: s.reason for s in probe(many, settings).streams if not s.used}
    assert all(reasons.values())
    assert reasons[1] == (
        "2 frames, far fewer than the main video; the setting video_stream can select it"
    )
    assert reasons[4] == "another audio track; the setting audio_stream can select it"


def test_what_is_neither_film_nor_sound_is_named(tmp_path, settings):
    path = film(tmp_path / "f.mp4", [quarters()] * 25)
    Image.fromarray(quarters(64, 64)).save(tmp_path / "cover.jpg")
    (tmp_path / "note.txt").write_text("a note", encoding="utf-8")
    chapters = ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=All\n"
    (tmp_path / "c.txt").write_text(chapters, encoding="utf-8")
    ffmpeg("-i", path, "-i", tmp_path / "cover.jpg", "-i", tmp_path / "c.txt", "-map", 0, "-map", 1,
           "-map_metadata", 2, "-c", "copy", "-disposition:v:1", "attached_pic",
           "-timecode", "01:00:00:00", tmp_path / "x.mov")  # fmt: skip
    streams = probe(tmp_path / "x.mov", settings).streams
    assert {(s.codec, s.reason) for s in streams if not s.used} >= {
        ("tmcd", "a clock (timecode)"),
        ("text", "chapter titles, read as chapters"),
    }
    ffmpeg("-i", path, "-i", tmp_path / "cover.jpg", "-map", 0, "-map", 1, "-c", "copy",
           "-disposition:v:1", "attached_pic", tmp_path / "x.mp4")  # fmt: skip
    assert probe(tmp_path / "x.mp4", settings).streams[1].reason == "a cover image"
    ffmpeg("-i", path, "-c", "copy", "-attach", tmp_path / "note.txt", "-metadata:s:t",
           "mimetype=text/plain", tmp_path / "x.mkv")  # fmt: skip
    attached = probe(tmp_path / "x.mkv", settings).streams[1]
    assert (attached.kind, attached.title) == ("attachment", "note.txt")
    assert attached.reason == "an attached file: neither video, audio nor text"


def animated(path):
    """Three scenes of half a second, as an animated picture."""
    first, *rest = (Image.fromarray(slide(200 + k)) for k in range(3))
    first.save(path, save_all=True, append_images=rest, duration=500, lossless=True)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.apng", "a.gif"])
def test_animated_pictures_are_films(tmp_path, settings, name):
    if name == "a.apng":
        animated(tmp_path / "a.png").rename(tmp_path / name)
    path = tmp_path / name if name == "a.apng" else animated(tmp_path / name)
    decoded = decode(path, {"thumbs"}, settings)
    thumbs = decoded.tracks["thumbs"]
    assert thumbs.times == pytest.approx([0, 0.5, 1.0], abs=0.01)
    assert decoded.video.duration_s == pytest.approx(1.5, abs=0.02)
    assert CutAnalysis().analyze(thumbs).times == pytest.approx([0.5, 1.0], abs=0.01)
    assert kind_of(path.read_bytes()[:4096]) == "media"


def test_an_animated_webp_is_refused_with_what_to_do(tmp_path, settings, monkeypatch):
    path = animated(tmp_path / "a.webp")
    with pytest.raises(InputError, match="animated WebP") as caught:
        probe(path, settings)
    assert caught.value.type == "not_video"
    assert kind_of(path.read_bytes()[:4096]) == "media"
    command = caught.value.advice.partition('"')[2].rpartition('"')[0]
    monkeypatch.chdir(tmp_path)
    exec(command)
    assert decode(tmp_path / "a.png", {"thumbs"}, settings).video.frames == 3


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp"])
def test_a_still_picture_is_called_so(tmp_path, settings, name):
    Image.fromarray(scene(1)).save(tmp_path / name)
    assert kind_of((tmp_path / name).read_bytes()[:4096]) == "picture"
    with pytest.raises(InputError, match="still image") as caught:
        probe(tmp_path / name, settings)
    assert caught.value.type == "not_video"


def test_the_sound_of_a_photo_post_may_change_its_channels(tmp_path):
    from tiktok_ray.media.slideshow import sound_of

    path = tmp_path / "s.ts"
    parts = b""
    for count, rate, start in ((2, 48_000, 0), (1, 44_100, 2), (6, 48_000, 4)):
        sound = wav(tmp_path / "s.wav", np.stack([sine(2.0, rate=rate)] * count), rate)
        tuned = ["-c:a", "aac", "-b:a", "256k", "-output_ts_offset", start, "-f", "mpegts"]
        ffmpeg("-i", sound, *tuned, tmp_path / "part.ts")
        parts += (tmp_path / "part.ts").read_bytes()
    path.write_bytes(parts)
    made = sound_of(path, 60.0)
    assert made.shape[0] == 2
    assert made.shape[1] / RATE == pytest.approx(6.0, abs=0.15)
    for at in (0.3, 2.3, 4.3):
        part = made[:, round(at * RATE) : round((at + 1.4) * RATE)]
        assert [rms(side) for side in part] == pytest.approx([0.354] * 2, rel=0.05)
    assert sound_of(path, 1.5).shape == (2, 72_000)


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ("5.1", "6 channels (FL FR FC LFE BL BR) downmixed according to ITU-R BS.775, without the"
         " low-frequency channel; then mean of left and right"),
        ("3.0", "3 channels (FL FR FC) downmixed according to ITU-R BS.775; then mean of left and right"),
        ("ambisonic 1", "only the omnidirectional channel (W) of 4 ambisonic channels"),
        ("mono", "unchanged"),
        ("stereo", "mean of left and right"),
    ],
)  # fmt: skip
def test_how_channels_were_mixed_is_said(layout, said):
    import av

    count = av.AudioLayout(layout).nb_channels
    _, mono = heard([sine()] * count, layout).finish()
    assert mono.how == said


def test_a_sound_track_that_holds_nothing_is_none(tmp_path, spoken, settings):
    import av

    path = tmp_path / "e.mp4"
    options = {"movflags": "frag_keyframe+empty_moov"}
    with av.open(str(spoken)) as source, av.open(str(path), "w", options=options) as target:
        made = {s: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = made[packet.stream]
                target.mux(packet)
    for video in (probe(path, settings), decode(path, {"audio"}, settings).video):
        assert not video.has_audio
        assert "it is declared but empty" in (video.no_sound or "")


def test_subtitles_and_chapters_are_read(tmp_path, settings):
    film(tmp_path / "f.mp4", [quarters()] * 75)
    (tmp_path / "t.srt").write_text(
        "1\n00:00:00,500 --> 00:00:01,500\nHello, <i>you</i> there\n\n"
        "2\n00:00:02,000 --> 00:00:02,800\nSecond line\nand third\n",
        encoding="utf-8",
    )
    (tmp_path / "c.txt").write_text(
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=Opening\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=1000\nEND=3000\ntitle=The rest\n",
        encoding="utf-8",
    )
    for name, codec in (("x.mkv", "srt"), ("y.mp4", "mov_text")):
        path = tmp_path / name
        inputs = [a for f in ("f.mp4", "t.srt", "c.txt") for a in ("-i", tmp_path / f)]
        maps = ["-map", 0, "-map", 1, "-map_metadata", 2, "-metadata:s:s:0", "language=eng"]
        ffmpeg(*inputs, *maps, "-c:v", "copy", "-c:s", codec, path)
        video = decode(path, {"thumbs"}, settings).video
        assert [s.text for s in video.subtitles] == ["Hello, you there", "Second line\nand third"]
        assert [s.start for s in video.subtitles] == pytest.approx([0.5, 2.0], abs=0.01)
        assert [s.end for s in video.subtitles] == pytest.approx([1.5, 2.8], abs=0.01)
        assert video.subtitles[0].language == "eng"
        assert [(c.title, round(c.start), round(c.end)) for c in video.chapters] == [
            ("Opening", 0, 1),
            ("The rest", 1, 3),
        ]


def test_a_subtitle_that_outlasts_the_pictures_cuts_nothing_off(tmp_path, settings):
    film(tmp_path / "f.mp4", [scene(k) for k in range(75)])
    late = "1\n00:00:01,000 --> 00:00:06,000\nStill here\n"
    (tmp_path / "t.srt").write_text(late, encoding="utf-8")
    path = tmp_path / "x.mkv"
    inputs = ["-i", tmp_path / "f.mp4", "-i", tmp_path / "t.srt"]
    ffmpeg(*inputs, "-map", 0, "-map", 1, "-c:v", "copy", "-c:s", "srt", path)
    video = decode(path, {"thumbs"}, settings).video
    assert video.subtitles[0].text == "Still here"
    assert video.duration_s == pytest.approx(3.0, abs=0.01)
    assert not video.truncated
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    short = decode(cut, {"thumbs"}, settings).video
    assert short.duration_s < 2.4
    assert short.truncated


@pytest.mark.parametrize(
    ("suffix", "codec", "sound", "names"),
    [
        (".mkv", ("libsvtav1", "-preset", "12"), ("libmp3lame",), ("av1", "mp3")),
        (".webm", ("libvpx-vp9", "-deadline", "realtime"), ("libopus",), ("vp9", "opus")),
        (".mp4", ("libx264",), ("aac",), ("h264", "aac")),
    ],
)
def test_codecs_are_called_by_their_own_names(tmp_path, settings, suffix, codec, sound, names):
    heard = wav(tmp_path / "s.wav", sine(0.4)[None])
    path = tmp_path / f"x{suffix}"
    film(path, [quarters(192, 128)] * 10, codec=codec, sound=heard, sound_codec=sound)
    video = probe(path, settings)
    assert (video.video_codec, video.audio_codec) == names
    assert tuple(s.codec for s in video.streams) == names


def test_what_nobody_expected_is_an_error_of_the_input(clip, settings, monkeypatch):
    from tiktok_ray.media import picture

    def broken(*_):
        raise ZeroDivisionError("no such thing")

    monkeypatch.setattr(picture.View, "of", broken)
    with pytest.raises(InputError, match="ZeroDivisionError: no such thing") as caught:
        decode(clip, {"thumbs"}, settings)
    assert caught.value.type == "undecodable"


def test_a_fault_of_the_sound_costs_the_sound_alone(clip, settings, monkeypatch):
    def broken(*_):
        raise ArithmeticError("odd sound")

    monkeypatch.setattr(Sound, "feed", broken)
    decoded = decode(clip, {"thumbs", "audio"}, settings)
    assert set(decoded.tracks) == {"thumbs", "video"}
    assert "odd sound" in (decoded.video.no_sound or "")
