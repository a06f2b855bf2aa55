"""What a section says it can have missed: derived from its sampling, and true of made clips."""

import numpy as np
import pytest

from actors.audio_analysis import AudioAnalysis
from actors.audio_environment import AudioEnvironment
from actors.camera_analysis import CameraAnalysis
from actors.cut_analysis import CutAnalysis
from actors.eye_tracking import EyeTracking
from actors.speech_flow import SpeechFlow
from actors.text_overlay import TextOverlay
from benchmarks.accuracy import Bench
from benchmarks.factory import Recipe, blinks, soundscapes
from benchmarks.factory._pictures import SCENES, bundled, photograph, view
from benchmarks.factory.captions import CARRIED
from tests.actors import test_camera_analysis as camera
from tests.actors import test_object_detection as things
from tests.actors import test_speech_flow as talk
from tests.actors import test_text_overlay as texts
from tests.cameras import WIDTH, filmed, tracks
from tests.sounds import audio_of, silence, tone
from tiktok_ray.analyzer import Sees, Skip
from tiktok_ray.catalog import make_graph
from tiktok_ray.media import TRACKS, Frames
from tiktok_ray.media.writer import write_clip
from tiktok_ray.methods.vision.eyes import find_blinks
from tiktok_ray.report import Coverage, Limit

#: Width of the astronaut's face in its photograph of 480 pixels, by the detector.
FACE_WIDE = 84.0
HALF_SIZE = Coverage(samples=20, span_s=10.0, max_gap_s=0.5, short_px=540)


def test_limits_follow_from_sampling_and_size():
    text = Sees("text", "dense", samples=2, seconds=0.4, pixels=12)
    assert text.limit(HALF_SIZE, 1080) == Limit(of="text", shorter_than_s=1.0, smaller_than_px=24.0)
    often = HALF_SIZE.model_copy(update={"max_gap_s": 0.1})
    assert text.limit(often, 540) == Limit(of="text", shorter_than_s=0.4, smaller_than_px=12.0)
    assert Sees("shots", "thumbs").limit(HALF_SIZE, 1080) == Limit(of="shots", shorter_than_s=0.5)


def test_limits_are_of_tracks_that_the_analyzer_reads():
    graph = make_graph()
    for name, kind in graph.analyzers.items():
        read = {edge.source for edge in graph.edges[name]}
        sees = kind.sees_for(kind.options_type())
        own = [one for variant in kind.variants for one in variant.sees]
        assert {one.track for one in (*sees, *own)} <= read & set(TRACKS), name


#: Where each stated limit is held against made clips: a test here, or figures of the board.
HELD = {
    ("audio_analysis", "silences"), ("audio_environment", "silences"),
    ("audio_environment", "sounds"), ("camera_analysis", "camera motion"),
    ("cut_analysis", "shots"), ("eye_tracking", "blinks"),
    ("eye_tracking", "faces with their eyes"), ("object_detection", "things"),
    ("speech_flow", "pauses of a speaker"), ("text_overlay", "text"),
    ("text_overlay", "text where other text stood before"),
}  # fmt: skip


def test_every_stated_limit_is_among_those_that_are_held_against_clips():
    stated = {
        (name, one.what)
        for name, kind in make_graph().analyzers.items()
        for one in (
            *kind.sees_for(kind.options_type()),
            *(own for variant in kind.variants for own in variant.sees),
        )
    }
    assert stated == HELD


def test_looking_seldom_makes_limits_longer():
    """At 5 looks a second two must see a thing that counts from 0.35 s on; slower samples rule."""
    seen = Sees("things", "dense", seconds=0.35, rate=5.0)
    for gap, least in ((0.1, 0.4), (0.15, 0.6), (0.2, 0.4), (0.5, 0.5)):
        coverage = HALF_SIZE.model_copy(update={"max_gap_s": gap})
        assert seen.limit(coverage, 540).shorter_than_s == pytest.approx(least)


@pytest.mark.parametrize("gap", [1 / 60, 1 / 30, 1 / 24])
@pytest.mark.parametrize("place", range(4))
def test_a_shot_at_the_stated_limit_is_told_and_one_below_it_is_not(gap, place):
    one, two, three = (
        view(photograph(SCENES[(place + k) % len(SCENES)]), (64, 114)) for k in (0, 1, 3)
    )

    def found(pictures):
        shown = [one] * 30 + [two] * pictures + [three] * 30
        frames = Frames.of([k * gap for k in range(len(shown))], shown, len(shown) * gap)
        (limit,) = (s.limit(frames.coverage(), 480) for s in CutAnalysis.sees)
        shots = CutAnalysis().analyze(frames).shots
        return limit.shorter_than_s, [s.start for s in shots[1:]]

    least, starts = found(2)
    assert least == pytest.approx(2 * gap)
    assert starts == pytest.approx([30 * gap, 32 * gap])
    assert len(found(1)[1]) == 1


@pytest.mark.parametrize("fps", [2.5, 5.0, 10.0])
def test_a_thing_at_the_stated_limit_is_told_and_one_well_below_it_can_be_missed(fps):
    made = things.analyzer(fps=fps)
    thing = things.picture((1, 0.5, 0.5, 0.4, 0.4, 0.9))

    def found(pictures, phase):
        shown = [things.picture()] * (10 + phase) + [thing] * pictures + [things.picture()] * 15
        dense = things.video(shown)
        (limit,) = (s.limit(dense.coverage(), 96) for s in made.sees_for(made.options))
        return limit.shorter_than_s, len(made.analyze(dense, None).tracks)

    least, _ = found(1, 0)
    assert {found(round(least * 10), phase)[1] for phase in range(4)} == {1}
    assert 0 in {found(max(1, round(least * 10 / 3)), phase)[1] for phase in range(4)}


@pytest.mark.parametrize("phase", [0.0, 0.03, 0.07])
def test_a_silence_at_the_stated_limit_is_told_and_one_below_it_is_not(phase):
    """Of both analyzers, which find silences by one method."""
    (told,), (also,) = AudioAnalysis().sees_for(AudioAnalysis().options), AudioEnvironment.sees
    assert told.seconds == also.seconds

    def found(seconds):
        sound = np.concatenate([tone(440, 1.0 + phase), silence(seconds), tone(300, 1.0)])
        audio = audio_of(sound)
        least = told.limit(audio.coverage(), 480).shorter_than_s
        return least, AudioAnalysis().analyze(audio).silences

    least, silences = found(0.55)
    assert (least, len(silences)) == (0.5, 1)
    assert found(0.4)[1] == []


def test_a_pause_at_the_stated_limit_is_told_and_one_below_it_is_not():
    (sees,) = SpeechFlow.sees

    def pauses(seconds):
        before = talk.even(8, 1.0)
        again = before[-1][0] + 0.02 + 0.14 + seconds - 0.02
        sound, heard = talk.speaker([*before, *talk.even(8, again)], 6.0)
        out, _ = talk._run(**talk._inputs(sound, heard, (0.95, 5.5)))
        return out.pauses

    assert len(pauses(sees.seconds)) == 1
    assert pauses(0.6 * sees.seconds) == []


@pytest.mark.parametrize("begin", [0.6, 0.8, 0.9])
def test_text_at_the_stated_limit_is_told_and_shorter_text_can_be_missed(begin):
    def found(seconds):
        def show(picture, t):
            inside = begin - 1e-6 <= t < begin + seconds - 1e-6
            return texts.write(picture, "FIRST", (0.3, 0.5)) if inside else picture

        tracks = texts.both(show, 3)
        (limit, _) = (s.limit(tracks[s.track].coverage(), 480) for s in TextOverlay.sees)
        return limit.shorter_than_s, texts.analyzed(texts.ready(), **tracks).overlays

    least, overlays = found(0.5)
    assert (least, [o.text for o in overlays]) == (0.5, ["FIRST"])
    assert found(0.1)[1] == []


def test_text_as_short_as_a_dense_sample_is_told_where_other_text_stood():
    words = ("NOW", "HERE", "WE", "GO")
    starts = (0.0, 0.6, 0.7, 0.8, 1.4)

    def show(picture, t):
        k = int(np.searchsorted(starts, t + 1e-6)) - 1
        return texts.write(picture, words[k], (0.3, 0.6)) if k < len(words) else picture

    tracks = texts.both(show, 2)
    (_, limit) = (s.limit(tracks[s.track].coverage(), 480) for s in TextOverlay.sees)
    found = texts.analyzed(texts.ready(), **tracks).overlays
    assert limit.shorter_than_s == pytest.approx(0.1)
    assert [(o.text, round(o.start, 2)) for o in found] == list(zip(words, starts, strict=False))


@pytest.mark.parametrize("phase", [0.0, 0.02, 0.05, 0.08])
def test_a_camera_motion_at_the_stated_limit_is_told_and_one_well_below_it_is_not(phase):
    (sees,) = CameraAnalysis.sees

    def moves(seconds):
        def path(t):
            across = 0.3 * WIDTH * min(max(t - 1 - phase, 0), seconds)
            return camera.X - 30 + across, camera.Y, 1.0, 0.0

        shown = tracks(filmed(path))
        least = sees.limit(shown["thumbs"].coverage(), 480).shorter_than_s
        made = CameraAnalysis().analyze(**shown, cut_analysis=None)
        return least, [move.kind for move in made.moves]

    least, _ = moves(0.1)
    assert moves(least) == (pytest.approx(0.4), ["pan right"])
    assert moves(least / 4)[1] == []


@pytest.mark.parametrize("phase", range(3))
def test_a_blink_at_the_stated_limit_is_told_and_a_shorter_one_can_be_missed(phase):
    """Eyes shut for so many thirtieths of a second, of which each third is sampled."""
    (sees, _) = EyeTracking.sees
    times = np.arange(0, 3, 0.1)
    least = sees.limit(Coverage(samples=30, span_s=3.0, max_gap_s=0.1), 480).shorter_than_s

    def told(pictures):
        openness = np.full(90, 0.3)
        openness[45 + phase : 45 + phase + pictures] = 0.05
        return len(find_blinks(times, openness[::3], openness[::3], 0.1)[0])

    assert least == pytest.approx(0.1)
    assert told(3) == 1
    assert told(1) == (phase == 0)


@pytest.mark.slow
def test_blinks_of_a_face_at_the_stated_limit_are_told(tmp_path, real_models):
    bench = Bench(tmp_path, real_models)
    for seed, person in enumerate(blinks.EYES):
        recipe = Recipe("blinks", person, "shut for 100 ms", seed)
        truth = blinks.make(recipe, path := tmp_path / f"{person}.mp4")["blinks"]
        eyes = bench.output("eye_tracking", path)
        assert eyes.sampling_hz == pytest.approx(10)
        found = [blink for track in eyes.tracks for blink in track.blinks]
        assert len(found) == len(truth)
        assert all(
            a.start < b["end"] and b["start"] < a.end for a, b in zip(found, truth, strict=True)
        )


@pytest.mark.slow
def test_a_face_as_large_as_stated_is_read_and_a_smaller_one_is_not(tmp_path, real_models):
    bench = Bench(tmp_path, real_models)
    (_, sees) = EyeTracking.sees

    def read(pixels):
        """Whether the eyes are read of a face that is so many pixels wide by its detector."""
        shown = photograph("astronaut")
        high = round(480 * pixels / FACE_WIDE)
        small = view(shown, (high // 2 * 2, high // 2 * 2), height=1.0)
        picture = np.full((480, 480, 3), 90, np.uint8)
        picture[: len(small), : len(small)] = small
        path = write_clip(tmp_path / f"{pixels}.mp4", [picture] * 20, fps=10)
        (face,) = bench.output("age_estimation", path).faces
        wide = min(np.subtract(face.boxes[0][2:], face.boxes[0][:2])) * 480
        assert wide == pytest.approx(pixels, rel=0.06)
        dense = bench.decoded(path, frozenset({"dense"})).tracks["dense"]
        least = sees.limit(dense.coverage(), 480).smaller_than_px
        try:
            return least, bool(bench.output("eye_tracking", path).tracks)
        except Skip:
            return least, False

    least, told = read(64)
    assert (least, told) == (pytest.approx(48), True)
    assert read(1.07 * least)[1]
    assert not read(0.85 * least)[1]


@pytest.mark.slow
@pytest.mark.parametrize("sound", soundscapes.KINDS)
def test_a_sound_at_the_stated_limit_is_told(tmp_path, real_models, sound):
    bench = Bench(tmp_path, real_models)
    analyzer = bench.analyzer("audio_environment")
    (sees,) = next(v.sees for v in analyzer.variants if v.name == "yamnet")

    def told(seconds):
        wanted = {"sound": sound, "seconds": seconds, "ground": "digital silence"}
        recipe = Recipe("soundscapes", "brief", "", 3, wanted)
        truth = soundscapes.make(recipe, path := tmp_path / f"{seconds}.mp4")["sounds"][0]
        found = bench.output("audio_environment", path)
        assert found.window_s == sees.seconds
        return any(s.start < truth["end"] and truth["start"] < s.end for s in found.sounds)

    assert told(sees.seconds)


@pytest.mark.slow  # reads eight clips
def test_text_as_high_as_stated_is_read_and_lower_text_can_be_missed(tmp_path, real_models):
    """Outlined captions on four photographs, their capitals as high as told in a clip 360 wide."""
    from PIL import Image, ImageDraw, ImageFont

    wanted = "Stir until smooth"
    reader = Bench(tmp_path, real_models)
    (limit, _) = TextOverlay.sees

    def read(place, height):
        at = {size: ImageFont.truetype(str(bundled(*CARRIED)), size) for size in range(4, 16)}
        font = next(f for f in at.values() if f.getbbox("H")[3] - f.getbbox("H")[1] >= height)
        image = Image.fromarray(view(photograph(place), (360, 640), (0.45, 0.5), 0.6))
        ImageDraw.Draw(image).text(
            (180, 360), wanted, font=font, fill="white", stroke_width=1, stroke_fill="black",
            anchor="mm",
        )  # fmt: skip
        path = tmp_path / f"{place}-{height}.mp4"
        write_clip(path, [np.array(image)] * 15, fps=25, options={"crf": "21"})
        found = [o.text.replace(" ", "") for o in reader.output("text_overlay", path).overlays]
        return any(wanted.replace(" ", "") in text for text in found)

    places = ("coffee", "bus", "china", "party")
    assert all(read(place, limit.pixels) for place in places)
    assert not all(read(place, limit.pixels - 3) for place in places)
