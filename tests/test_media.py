import dataclasses

import numpy as np
import pytest
from PIL import Image

from tests.conftest import scene
from tiktok_ray import media
from tiktok_ray.media import InputError, decode, decord_objections, probe
from tiktok_ray.media.writer import write_clip
from tiktok_ray.settings import Settings, TrackSettings

ALL = {"frames", "dense", "thumbs", "stills", "audio", "speech"}


def tone(seconds, rate=48_000, hz=440.0, level=0.1, channels=1):
    t = np.arange(round(seconds * rate)) / rate
    return np.repeat(level * np.sin(2 * np.pi * hz * t)[None], channels, 0).astype(np.float32)


def test_tracks_have_their_rates_sizes_and_times(clip, settings):
    decoded = decode(clip, ALL, settings)
    tracks, video = decoded.tracks, decoded.video
    assert set(tracks) == ALL | {"video"}
    assert (video.width, video.height, video.frames) == (144, 256, 60)
    assert video.duration_s == pytest.approx(2.0, abs=1e-3)
    assert video.fps == pytest.approx(30, abs=0.01)
    np.testing.assert_allclose(tracks["thumbs"].times, np.arange(60) / 30, atol=1e-4)
    np.testing.assert_allclose(tracks["frames"].times, [0, 0.5, 1.0, 1.5], atol=1e-4)
    np.testing.assert_allclose(tracks["dense"].times, np.arange(20) / 10, atol=1e-4)
    assert tracks["audio"].duration_s == pytest.approx(2.0, abs=1e-3)
    assert tracks["speech"].spans == ()


def test_colours_survive_to_within_coding_error(tmp_path, settings):
    colours = [(255, 0, 0), (0, 128, 0), (30, 60, 200), (128, 128, 128), (250, 240, 10)]
    pictures = [np.full((72, 128, 3), c, np.uint8) for c in colours for _ in range(15)]
    path = write_clip(tmp_path / "c.mp4", pictures, fps=30)
    frames = decode(path, {"frames"}, settings).tracks["frames"]
    seen = np.array([frames.rgb(k)[20:50, 20:100].mean((0, 1)) for k in range(len(frames))])
    np.testing.assert_allclose(seen, colours, atol=4)


def test_a_picture_shows_what_its_timestamp_says(clip, settings):
    thumbs = decode(clip, {"thumbs"}, settings).tracks["thumbs"]
    size = (thumbs.width, thumbs.height)
    first, second = (
        np.asarray(Image.fromarray(scene(seed)).resize(size, Image.Resampling.BOX), float)
        for seed in (1, 2)
    )
    for index in (0, 29, 30, 59):
        right, other = (first, second) if index < 30 else (second, first)
        shown = thumbs.rgb(index).astype(float).ravel()
        assert np.corrcoef(shown, right.ravel())[0, 1] > 0.95
        assert np.corrcoef(shown, other.ravel())[0, 1] < 0.5


def test_times_come_from_timestamps_not_from_a_rate(tmp_path, settings):
    times = [0.0, 0.1, 0.15, 0.6, 1.4, 1.45, 2.0]
    pictures = [scene(k) for k in range(len(times))]
    decoded = decode(write_clip(tmp_path / "v.mp4", pictures, times=times), {"thumbs"}, settings)
    np.testing.assert_allclose(decoded.tracks["thumbs"].times, times, atol=1e-4)
    assert decoded.video.variable_fps


def test_audio_that_starts_later_is_in_its_place(tmp_path, settings):
    path = write_clip(tmp_path / "a.mp4", [scene(1)] * 60, audio=tone(1.0), audio_start=0.7)
    audio = decode(path, {"audio"}, settings).tracks["audio"]
    loud = np.flatnonzero(np.abs(audio.samples) > 0.05) / audio.rate
    assert loud[0] == pytest.approx(0.7, abs=0.03)
    assert loud[-1] == pytest.approx(1.7, abs=0.03)
    assert audio.present[0].start == pytest.approx(0.7, abs=0.03)
    assert len(audio.samples) == 32_000


def test_audio_before_the_first_picture_is_dropped_and_counted(tmp_path, settings):
    t = np.arange(3 * 48_000) / 48_000
    sound = np.where(t < 1.0, 0, 0.1 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    times = [0.5 + k / 30 for k in range(60)]
    path = write_clip(tmp_path / "b.mkv", [scene(1)] * 60, times=times, audio=sound)
    decoded = decode(path, {"audio", "thumbs"}, settings)
    audio = decoded.tracks["audio"]
    loud = np.flatnonzero(np.abs(audio.samples) > 0.05) / audio.rate
    assert decoded.video.start_offset_s == pytest.approx(0.5, abs=0.03)
    assert decoded.tracks["thumbs"].times[0] == 0
    assert loud[0] == pytest.approx(0.5, abs=0.03)


def test_sound_longer_than_the_picture_is_kept_whole(tmp_path, settings):
    path = write_clip(tmp_path / "l.mp4", [scene(1)] * 15, audio=tone(3.0))
    decoded = decode(path, {"audio", "frames"}, settings)
    assert decoded.video.duration_s == pytest.approx(3.0, abs=0.05)
    assert decoded.tracks["frames"].end == pytest.approx(0.5, abs=1e-3)
    assert decoded.video.picture_end_s == decoded.tracks["frames"].end
    assert decoded.tracks["audio"].duration_s == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_loudness_power_is_that_of_bs1770(tmp_path, settings, channels):
    import pyloudnorm

    rng = np.random.default_rng(0)
    sound = (0.05 * rng.standard_normal((channels, 4 * 48_000))).astype(np.float32)
    sound[3:4] = 0  # the low-frequency channel does not count
    pictures = [scene(1)] * 120
    path = write_clip(tmp_path / "n.mov", pictures, audio=sound)
    levels = decode(path, {"audio"}, settings).tracks["audio"].levels
    ours = -0.691 + 10 * np.log10(levels.power[5:-5].mean())
    order = [0, 1, 2, 4, 5] if channels == 6 else list(range(channels))
    theirs = pyloudnorm.Meter(48_000).integrated_loudness(sound[order].T)
    assert ours == pytest.approx(theirs, abs=0.15)
    assert levels.channels == channels


def test_peaks_and_clipping_are_where_they_are(tmp_path, settings):
    sound = tone(2.0, level=0.2)
    sound[0, 48_000:52_800] = np.sign(sound[0, 48_000:52_800])
    path = write_clip(tmp_path / "p.mov", [scene(1)] * 60, audio=sound)
    levels = decode(path, {"audio"}, settings).tracks["audio"].levels
    assert levels.peak[2:9].max() < 0.25
    assert levels.peak[10] > 0.9
    assert levels.clipped[2:9].max() == 0


def test_memory_is_bounded_and_coverage_says_so(tmp_path, settings):
    sizes = TrackSettings(dense_max=10, frames_max=3, stills_max=2, thumbs_max=16)
    decoded = decode(
        write_clip(tmp_path / "m.mp4", [scene(k) for k in range(90)], fps=30),
        ALL,
        settings.model_copy(update={"tracks": sizes}),
    )
    tracks = decoded.tracks
    assert len(tracks["dense"]) <= 11
    assert len(tracks["frames"]) <= 4
    assert 2 <= len(tracks["stills"]) <= 3
    assert 8 <= len(tracks["thumbs"]) <= 16
    coverage = decoded.coverage()["thumbs"]
    assert coverage.span_s == pytest.approx(3.0, abs=0.01)
    assert coverage.max_gap_s >= 3.0 / 16


def test_arrays_are_read_only(clip, settings):
    tracks = decode(clip, ALL, settings).tracks
    for frames in (tracks["frames"], tracks["thumbs"]):
        with pytest.raises(ValueError, match="read-only"):
            frames.i420[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        tracks["audio"].samples[0] = 1


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"", "empty"), (b"this is not a video" * 9, "not_video"), (None, "not_found")],
)
def test_what_is_no_video_is_refused_by_type(tmp_path, settings, content, kind):
    path = tmp_path / "x.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        decode(path, {"thumbs"}, settings)
    assert caught.value.type == kind
    assert caught.value.advice or kind == "empty"


def test_a_playlist_is_not_followed(tmp_path, settings, clip):
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXTINF:2,\n{clip}\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError) as caught:
        decode(playlist, {"thumbs"}, settings)
    assert caught.value.type == "not_video"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"max_duration_s": 1.0}, "too_long"),
        ({"max_bytes": 100}, "too_large"),
        ({"max_pixels": 99}, "too_large"),
    ],
)
def test_limits_are_kept(clip, settings, change, kind):
    with pytest.raises(InputError) as caught:
        decode(clip, {"thumbs"}, settings.model_copy(update=change))
    assert caught.value.type == kind
    assert "TIKTOK_RAY_" in caught.value.advice


def test_a_truncated_file_yields_what_it_has(settings, tmp_path):
    path = write_clip(tmp_path / "w.mkv", [scene(k // 30) for k in range(120)], fps=30)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    video = decode(path, {"thumbs"}, settings).video
    assert 10 < (video.frames or 0) < 120
    assert video.truncated


def test_probe_and_decode_agree(clip, settings):
    probed, decoded = probe(clip, settings), decode(clip, set(), settings).video
    same = ("width", "height", "rotation", "video_codec", "audio_codec", "has_audio", "container")
    assert [getattr(probed, n) for n in same] == [getattr(decoded, n) for n in same]


def test_errors_survive_pickling():
    import pickle

    error = pickle.loads(pickle.dumps(InputError("too_long", "words", "advice")))
    assert (error.type, str(error), error.advice) == ("too_long", "words", "advice")


@pytest.mark.slow
def test_decord_gives_the_same_tracks_on_closed_gop(tmp_path, settings):
    pictures = [scene(k // 20) for k in range(90)]
    options = {"preset": "veryfast", "crf": "16", "x264-params": "open-gop=0"}
    path = write_clip(tmp_path / "c.mp4", pictures, gop=15, options=options, audio=tone(3.0))
    assert decord_objections(path, settings) == []
    ours = decode(path, ALL, settings).tracks
    theirs = decode(path, ALL, settings.model_copy(update={"decoder": "decord"})).tracks
    for name in ("frames", "dense", "thumbs", "stills"):
        np.testing.assert_allclose(ours[name].times, theirs[name].times, atol=1e-3)
        for index in range(0, len(ours[name]), 7):
            a, b = ours[name].rgb(index).astype(int), theirs[name].rgb(index).astype(int)
            assert np.abs(a - b).mean() < 5, (name, index)


def test_decord_is_refused_with_the_reason_where_it_would_be_wrong(tmp_path, settings):
    pictures = [np.roll(scene(3), 2 * k, axis=1) for k in range(90)]
    options = {
        "preset": "medium",
        "x264-params": "open-gop=1:bframes=3:keyint=15:min-keyint=15:scenecut=0",
    }
    path = write_clip(tmp_path / "o.mp4", pictures, gop=15, options=options)
    assert any("open" in reason for reason in decord_objections(path, settings))
    late = write_clip(tmp_path / "l.mp4", pictures, times=[1 + k / 30 for k in range(90)])
    with pytest.raises(InputError, match="first frame|hidden|open") as caught:
        decode(late, {"thumbs"}, settings.model_copy(update={"decoder": "decord"}))
    assert caught.value.type == "decoder_refused"
    assert "--decoder" in caught.value.advice


def test_video_is_a_plain_value():
    names = {f.name for f in dataclasses.fields(media.Video)}
    from tiktok_ray.report import VideoInfo

    assert names <= set(VideoInfo.model_fields)


# --- real files -------------------------------------------------------------------------------

REFUSED = {
    "empty.mp4": "empty",
    "text_not_video.mp4": "not_video",
    "truncated_no_moov.mp4": "not_video",
    "audio_only_jfk.mp4": "no_video",
    "mp3_with_cover.mp3": "no_video",
}
FRAMES = {
    "hevc_128.mp4": 10,
    "hevc_testsrc2_720p.mp4": 60,
    "hevc_10bit_bt2020.mp4": 60,
    "hevc_hdr_nasa.mp4": 325,
    "vp9_noaudio.webm": 30,
    "transparent.webm": 150,
    "one_frame_64x64.mp4": 1,
    "non_zero_start.mp4": 12,
    "delayed_start.mp4": 24,
    "pigs.gif": 30,
    "animated_4f.gif": 4,
    "portrait_4k60_rot.mp4": 18,
    "vfr_nasa.mp4": 181,
    "av1_face_1s.mp4": 30,
    "truncated_half_faststart.mp4": 130,
}
SHOWN = {
    "rotated90_nasa.mp4": (270, 480),
    "portrait_4k60_rot.mp4": (2160, 3840),
    "rotated180_dog.mp4": (1280, 720),
}


@pytest.mark.slow
def test_odd_files_end_in_tracks_or_a_typed_error(real_media, settings):
    seen = {}
    for path in sorted((real_media / "odd").iterdir()):
        try:
            decoded = decode(path, ALL, settings)
        except InputError as error:
            seen[path.name] = error.type
            continue
        assert path.name not in REFUSED
        assert decoded.video.frames == FRAMES.get(path.name, decoded.video.frames)
        assert (decoded.video.width, decoded.video.height) == SHOWN.get(
            path.name, (decoded.video.width, decoded.video.height)
        )
        assert decoded.tracks["thumbs"].times[0] == 0
    assert seen == REFUSED


@pytest.mark.slow
def test_rotated_files_are_upright(real_media, settings):
    """The dog clip stores its pictures upside down; upright, the fire's bright part is lower."""
    turned = decode(real_media / "odd/rotated180_dog.mp4", {"thumbs"}, settings).tracks["thumbs"]
    import av

    with av.open(str(real_media / "odd/rotated180_dog.mp4")) as container:
        raw = next(container.decode(video=0)).to_ndarray(format="gray")
    stored = np.asarray(Image.fromarray(raw).resize((turned.width, turned.height)), float)
    shown = turned.gray(0).astype(float)
    upright = np.corrcoef(shown.ravel(), stored[::-1, ::-1].ravel())[0, 1]
    as_stored = np.corrcoef(shown.ravel(), stored.ravel())[0, 1]
    assert upright > 0.98 > as_stored


@pytest.mark.slow
def test_speech_of_the_composite_is_where_it_is(real_media, settings):
    from tiktok_ray.media import spans

    path = real_media / "video/short_vertical_composite.mp4"
    found = decode(path, {"speech"}, settings).tracks["speech"].spans
    for spoken in ((1.0, 2.1), (3.6, 5.3), (14.6, 16.7)):
        assert spans.share(found, [spoken]) > 0.95, spoken
    assert spans.overlap(found, [(6.0, 14.0), (17.3, 20.0)]) == 0


def test_voices_are_those_of_faster_whisper_but_for_its_last_window():
    vad = pytest.importorskip("faster_whisper.vad")
    from tests.sounds import voice
    from tiktok_ray.media.speech import _voices

    sound = voice(1.0, 150.0).astype(np.float32)[: 512 * 30]
    ours, theirs = _voices(sound), np.asarray(vad.get_vad_model()(sound.copy())).ravel()
    assert len(ours) == len(theirs) == 30
    assert ours[:-1] == pytest.approx(theirs[:-1], abs=1e-6)


def test_default_settings_are_sane():
    assert Settings().tracks.frames_fps == 2.0
