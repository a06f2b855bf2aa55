"""Near-duplicates: changed copies of a clip are found with what was changed; strangers are not."""

import itertools
import json
import shutil

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from tests import viewer_reports
from tests.test_serve import is_problem, served
from tiktok_ray.batch.dataset import Dataset, Destination
from tiktok_ray.cli import app
from tiktok_ray.files import sha256_of
from tiktok_ray.media.writer import write_clip
from tiktok_ray.serve import duplicates
from tiktok_ray.serve.duplicates import (
    among,
    compare,
    of_files,
    print_of,
    read_print,
    sound_print,
)  # fmt: skip
from tiktok_ray.settings import Settings

FPS, SIZE = 20.0, (180, 240)


def scene(seed, seconds=4.0):
    """Soft blobs that wander, each clip its own."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    wide = cv2.resize(rng.uniform(0, 255, (12, 24, 3)), (width * 2, height), interpolation=2)
    wide = np.clip((wide - 128) * 1.4 + 128, 0, 255)
    frames = []
    for k in range(round(seconds * FPS)):
        shift = round(k * width / (seconds * FPS))
        frames.append(np.ascontiguousarray(wide[:, shift : shift + width]).astype(np.uint8))
    return frames


def noise(seed, seconds=4.0):
    """Notes at random, float32 [n] at 48 kHz."""
    rng = np.random.default_rng(seed)
    steps = np.repeat(rng.uniform(300, 2500, int(seconds * 10) + 1), 4800)[: int(seconds * 48_000)]
    return (0.3 * np.sin(2 * np.pi * np.cumsum(steps) / 48_000)).astype(np.float32)


def captioned(frame):
    made = frame.copy()
    made[140:165, 20:220] = (250, 230, 20)
    return made


CHANGES = {
    "re-encoded": lambda frames: frames,
    "mirrored": lambda frames: [np.ascontiguousarray(f[:, ::-1]) for f in frames],
    "cropped": lambda frames: [np.ascontiguousarray(f[18:162, 24:216]) for f in frames],
    "resized": lambda frames: [cv2.resize(f, (120, 90), interpolation=cv2.INTER_AREA) for f in frames],
    "sped up": lambda frames: [frames[int(k * 1.25)] for k in range(int(len(frames) / 1.25))],
    "slowed down": lambda frames: [frames[int(k * 0.8)] for k in range(int(len(frames) / 0.8))],
    "re-captioned": lambda frames: [captioned(f) for f in frames],
    "trimmed": lambda frames: frames[20:70],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def original(folder):
    return write_clip(folder / "original.mp4", scene(1), fps=FPS, audio=noise(1))


@pytest.fixture(scope="module")
def original_print(original):
    return print_of(original, Settings())


@pytest.fixture
def read_here(monkeypatch):
    """Files are read in this process, where the one of their own is not what is tested."""

    monkeypatch.setattr(duplicates, "read_apart", lambda *given: duplicates.write_print(*given[2]))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_the_change_named(folder, original_print, settings, change):
    frames, coarse = CHANGES[change](scene(1)), {"preset": "veryfast", "crf": "28"}
    path = write_clip(folder / f"{change}.mp4", frames, fps=FPS, options=coarse)
    a, b = original_print, print_of(path, settings)
    match = compare(a, b)
    assert match is not None
    assert change in match.changes
    others = {*CHANGES} - {change, "re-encoded", "resized"}
    # Sampled pictures of a changed speed do not tell a trim apart, and a crop is one of the size.
    assert not others & set(match.changes)
    if change == "cropped":
        assert match.cropped == "b"
    if change == "trimmed":
        assert match.a_span == (pytest.approx(1.0, abs=0.3), pytest.approx(3.5, abs=0.3))
        assert match.b_span[0] == pytest.approx(0.0, abs=0.3)
    if change == "sped up":
        assert match.speed == pytest.approx(1.25, abs=0.06)
    assert compare(b, a) is not None


@pytest.mark.slow
@pytest.mark.usefixtures("read_here")
def test_other_clips_are_no_copies(folder, original, settings):
    paths = [write_clip(folder / f"other{n}.mp4", scene(n), fps=FPS) for n in range(2, 6)]
    found = among(of_files([original, *paths]), settings)
    assert (found.matches, found.compared, found.not_compared) == ([], 5, {})


def test_sound_that_was_put_in_place_of_another_is_told(folder, original_print, settings):
    same = write_clip(folder / "same.mp4", scene(1), fps=FPS, audio=0.5 * noise(1))
    other = write_clip(folder / "dubbed.mp4", scene(1), fps=FPS, audio=noise(9))
    assert compare(original_print, print_of(same, settings)).sound == "same"
    dubbed = compare(original_print, print_of(other, settings))
    assert (dubbed.sound, "sound changed" in dubbed.changes) == ("different", True)


def test_one_sound_over_other_pictures_is_no_duplicate(folder, original_print, settings):
    path = write_clip(folder / "reused.mp4", scene(7), fps=FPS, audio=noise(1))
    assert compare(original_print, print_of(path, settings)) is None


@pytest.mark.slow
def test_a_still_picture_does_not_tell_a_changed_speed_from_a_trim(folder, settings):
    frames = [scene(3)[0]] * 80
    whole = write_clip(folder / "still.mp4", frames, fps=FPS)
    part = write_clip(folder / "part.mp4", frames[:60], fps=FPS)
    match = compare(print_of(whole, settings), print_of(part, settings))
    assert match.speed is None
    assert match.changes == ["re-encoded"]
    heard = write_clip(folder / "heard.mp4", frames, fps=FPS, audio=noise(3))
    cut = write_clip(folder / "cut.mp4", frames[:60], fps=FPS, audio=noise(3)[: 3 * 48_000])
    told = compare(print_of(heard, settings), print_of(cut, settings))
    assert (told.speed, told.sound, told.changes) == (1.0, "same", ["re-encoded", "trimmed"])


def test_what_is_plain_is_like_nothing(folder, settings):
    for name, level in (("black", 0), ("gray", 120)):
        flat = [np.full((*SIZE, 3), level, np.uint8)] * 60
        write_clip(folder / f"{name}.mp4", flat, fps=FPS)
    black, gray = (print_of(folder / f"{name}.mp4", settings) for name in ("black", "gray"))
    assert not black.telling.any()
    assert compare(black, gray) is None


def test_sound_prints_say_when_nothing_is_heard():
    bits, heard = sound_print(np.zeros(32_000, np.float32))
    assert len(bits) == len(heard) > 0
    assert not heard.any()
    assert len(sound_print(np.zeros(10, np.float32))[0]) == 0


@pytest.mark.slow
def test_the_command_compares_files_and_names_what_is_none(folder, original, settings):
    copy = write_clip(folder / "copy.mp4", CHANGES["mirrored"](scene(1)), fps=FPS)
    text = folder / "text.mp4"
    text.write_text("no video")
    env = {"TIKTOK_RAY_HOME": str(settings.home)}
    none = ["duplicates", str(folder / "no.mp4")]
    assert CliRunner().invoke(app, none, env=env).exit_code == 2
    asked = CliRunner().invoke(app, ["duplicates", str(original), str(copy), str(text)], env=env)
    assert asked.stdout.startswith(f"{original} and {copy}: re-encoded, mirrored")
    assert str(text) in asked.stderr.replace("\n", "")


@pytest.mark.usefixtures("read_here")
def test_the_command_tells_programs_what_it_found(folder, original, settings):
    copy = write_clip(folder / "again.mp4", scene(1), fps=FPS)
    env = {"TIKTOK_RAY_HOME": str(settings.home)}
    told = CliRunner().invoke(app, ["duplicates", str(original), str(copy), "--json"], env=env)
    [match] = json.loads(told.stdout)["matches"]
    assert match["same_file"] is False


@pytest.mark.slow
@pytest.mark.usefixtures("read_here")
def test_videos_of_a_dataset_are_compared_as_far_as_they_are_there(original, settings, tmp_path):
    where, report = tmp_path / "made", viewer_reports.report()
    dataset = Dataset(Destination(where))
    dataset.open()
    copy = write_clip(tmp_path / "copy.mp4", CHANGES["mirrored"](scene(1)), fps=FPS)
    other = write_clip(tmp_path / "other.mp4", scene(8), fps=FPS)
    replaced = tmp_path / "replaced.mp4"
    shutil.copy(other, replaced)
    for name, path in (("a", original), ("b", copy), ("c", other), ("d", replaced)):
        video = {"id": name, "source": str(path), "sha256": sha256_of(path)}
        made = {"video": {**report["video"], **video}, "run": {**report["run"], "item": name}}
        dataset.add(report | made)
    dataset.flush()
    write_clip(replaced, scene(1), fps=FPS)
    env = {"TIKTOK_RAY_HOME": str(settings.home)}

    def asked(*words):
        return CliRunner().invoke(app, ["duplicates", *words], env=env)

    told = json.loads(asked("--dataset", str(where), "--json").stdout)
    [match] = told["matches"]
    assert {match["a"], match["b"]} == {"a", "b"}
    assert "mirrored" in match["changes"]
    assert (told["compared"], list(told["not_compared"])) == (3, ["d"])
    kept = {path.stem for path in (where / "prints").iterdir()}
    assert kept == {sha256_of(path) for path in (original, copy, other)}
    assert asked("--dataset", str(where)).stdout == "a and b: re-encoded, mirrored, sound changed\n"
    assert asked("--dataset", str(where), str(copy)).exit_code == 2
    refused = asked("--dataset", str(tmp_path / "none"))
    assert refused.exit_code == 2
    assert "not a dataset" in refused.stderr


def head(seed):
    """A bright oval before a plain wall, with features of its own: coarsely like any other."""
    rng = np.random.default_rng(seed)
    made = np.full((*SIZE, 3), (70, 140, 190), np.uint8)
    at = int(rng.integers(100, 140)), 100
    wide, high = (int(v) for v in rng.integers(34, 62, 2))
    cv2.ellipse(made, at, (wide, high), 0, 0, 360, (200, 160, 130), -1)
    cv2.ellipse(made, (at[0], 190), (2 * wide, 40), 0, 0, 360, (40, 40, 60), -1)
    for _ in range(30):
        x, y = rng.normal(at[0], 22), rng.normal(100, 28)
        shade = [int(v) for v in rng.uniform(0, 255, 3)]
        cv2.circle(made, (int(x), int(y)), int(rng.integers(3, 9)), shade, -1)
    return cv2.GaussianBlur(made, (0, 0), 1.0)


@pytest.mark.slow
def test_heads_before_one_wall_are_no_crops_of_each_other(folder, settings):
    def still(name, picture):
        return print_of(write_clip(folder / f"{name}.mp4", [picture] * 60, fps=FPS), settings)

    heads = [head(seed) for seed in range(4)]
    prints = [still(f"head{k}", picture) for k, picture in enumerate(heads)]
    near = still("near", cv2.resize(heads[0][20:160, 40:220], SIZE[::-1]))
    assert compare(prints[0], near).cropped == "b"
    for one, two in itertools.combinations([*prints[1:], near], 2):
        assert compare(one, two) is None


@pytest.mark.usefixtures("read_here")
async def test_results_of_the_service_are_compared(folder, original, settings):
    copy = write_clip(folder / "cropped again.mp4", CHANGES["cropped"](scene(1)), fps=FPS)
    async with served(settings) as client:
        results = client.service.store.folder
        for id, path in (("0000000a", original), ("0000000b", copy), ("0000000c", None)):
            (results / id).mkdir()
            (results / id / "report.json").write_text("{}")
            if path:
                shutil.copy(path, results / id / "video")
        made = (await client.get("/results/0000000a/duplicates")).json()
        [match] = made["matches"]
        assert {match["a"], match["b"]} == {"0000000a", "0000000b"}
        assert "cropped" in match["changes"]
        assert list(made["not_compared"]) == ["0000000c"]
        assert read_print(results / "0000000a" / "print.npz") is not None
        is_problem(await client.get("/results/0000000c/duplicates"), 404)
