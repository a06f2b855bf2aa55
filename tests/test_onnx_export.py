"""Exports: made once, of what they say, whole or not at all."""

import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch

from tiktok_ray.methods import onnx_export
from tiktok_ray.methods.audio.speakers import VOICES, VoiceEncoder, network, spectrum
from tiktok_ray.methods.onnx_export import ExportFailed, Recipe, at_hand, exported

COPY = Recipe("tests.test_onnx_export:copy", 1, ("pytest",))


def copy(checkpoint: Path, target: Path) -> None:
    """An export that takes no torch: the same bytes, and a mark that it was made."""
    if checkpoint.read_bytes() == b"bad":
        raise ValueError("these are no weights\n0.1 0.2\n0.3 0.4")
    target.write_bytes(b"exported " + checkpoint.read_bytes())
    with (checkpoint.parent / "made").open("a") as file:
        file.write("x")


def times_made(folder: Path) -> int:
    mark = folder / "made"
    return len(mark.read_text()) if mark.exists() else 0


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda _: str(folder))
    return folder / "exports"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    place = tmp_path / "models" / "net.pt"
    place.parent.mkdir()
    place.write_bytes(b"weights")
    return place


def test_a_checkpoint_is_exported_once_beside_itself(checkpoint: Path):
    assert not at_hand(checkpoint, COPY)
    made = exported(checkpoint, COPY)
    assert made.parent == checkpoint.parent
    assert made.read_bytes() == b"exported weights"
    assert exported(checkpoint, COPY) == made
    assert at_hand(checkpoint, COPY)
    assert times_made(checkpoint.parent) == 1
    assert sorted(p.name for p in checkpoint.parent.iterdir()) == sorted(
        [made.name, "made", "net.pt"]
    )


@pytest.mark.slow
def test_a_damaged_export_is_made_again(checkpoint: Path):
    made = exported(checkpoint, COPY)
    made.write_bytes(b"exported weighty")
    assert not at_hand(checkpoint, COPY)
    assert exported(checkpoint, COPY).read_bytes() == b"exported weights"
    made.write_bytes(made.read_bytes()[:5])
    assert exported(checkpoint, COPY).read_bytes() == b"exported weights"
    assert times_made(checkpoint.parent) == 3


@pytest.mark.slow
def test_other_weights_and_another_recipe_make_it_stale(checkpoint: Path):
    first = exported(checkpoint, COPY)
    checkpoint.write_bytes(b"better weights")
    second = exported(checkpoint, COPY)
    assert second.read_bytes() == b"exported better weights"
    third = exported(checkpoint, Recipe(COPY.function, 2, COPY.packages))
    assert len({first, second, third}) == 3
    assert set(checkpoint.parent.glob("*.onnx")) == {second, third}


@pytest.mark.slow
def test_revisions_that_share_a_folder_leave_each_others_exports_alone(checkpoint: Path):
    later = Recipe(COPY.function, 2, COPY.packages)
    ours, theirs = exported(checkpoint, COPY), exported(checkpoint, later)
    assert (exported(checkpoint, COPY), exported(checkpoint, later)) == (ours, theirs)
    assert times_made(checkpoint.parent) == 2
    older = checkpoint.with_name(f"net-{'a' * 16}-{'b' * 16}.onnx")
    older.write_bytes(b"by a revision that named them otherwise")
    checkpoint.write_bytes(b"better weights")
    exported(checkpoint, COPY)
    assert not ours.exists()
    assert theirs.exists()
    assert older.exists()


def test_another_version_of_the_exporter_makes_it_stale(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    exported(checkpoint, COPY)
    monkeypatch.setattr(onnx_export, "named", lambda package: f"{package} 99")
    assert not at_hand(checkpoint, COPY)


@pytest.mark.slow
def test_exports_of_similar_names_leave_each_other_alone(checkpoint: Path):
    other = checkpoint.with_name("net-pose.pt")
    other.write_bytes(b"others")
    first = exported(checkpoint, COPY)
    second = exported(other, COPY)
    assert exported(checkpoint, COPY) == first
    assert exported(other, COPY) == second
    assert times_made(checkpoint.parent) == 2


def test_what_cannot_be_exported_says_why_and_leaves_nothing(checkpoint: Path):
    checkpoint.write_bytes(b"bad")
    with pytest.raises(
        ExportFailed, match=r"net\.pt cannot be exported: ValueError: these are no weights$"
    ):
        exported(checkpoint, COPY)
    assert [p.name for p in checkpoint.parent.iterdir()] == ["net.pt"]


def test_a_folder_that_cannot_be_written_is_passed_over(
    checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    make = tempfile.mkdtemp

    def refuse(prefix: str, dir: Path) -> str:
        if dir == checkpoint.parent:
            raise PermissionError(13, "Permission denied")
        return make(prefix=prefix, dir=dir)

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    made = exported(checkpoint, COPY)
    assert made.parent == cache
    assert exported(checkpoint, COPY) == made
    assert times_made(checkpoint.parent) == 1

    def refuse_all(**_: object) -> str:
        raise PermissionError(13, "Permission denied")

    made.unlink()
    monkeypatch.setattr(tempfile, "mkdtemp", refuse_all)
    with pytest.raises(ExportFailed, match=r"no writable folder for the export of net\.pt"):
        exported(checkpoint, COPY)


def test_what_lies_in_a_package_is_exported_into_the_cache(checkpoint: Path, cache: Path):
    assert exported(checkpoint, replace(COPY, beside=False)).parent == cache
    assert not list(checkpoint.parent.glob("*.onnx"))


@pytest.mark.slow
def test_two_at_once_both_get_a_whole_one(checkpoint: Path):
    found: list[bytes] = []

    def export() -> None:
        found.append(exported(checkpoint, COPY).read_bytes())

    threads = [threading.Thread(target=export) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [b"exported weights"] * 3
    assert len(list(checkpoint.parent.glob("*.onnx"))) == 1


def test_what_a_killed_export_left_is_removed(checkpoint: Path):
    import os

    left = checkpoint.parent / ".exporting-old"
    left.mkdir()
    (left / "network.onnx").write_bytes(b"half")
    os.utime(left, (0, 0))
    fresh = checkpoint.parent / ".exporting-new"
    fresh.mkdir()
    exported(checkpoint, COPY)
    assert not left.exists()
    assert fresh.exists()


def test_the_voices_in_the_package_are_exported_on_a_fresh_machine():
    place = VOICES.locate(Path())
    if place is None:
        pytest.skip("the package resemblyzer is not installed")
    rng = np.random.default_rng(0)
    sounds = rng.normal(0, 0.1, (3, 12_800)).astype(np.float32)
    told = VoiceEncoder(place).embed(list(sounds))
    with torch.inference_mode():
        truth = network(place)(torch.from_numpy(spectrum(sounds))).numpy()
    assert told.shape == (3, 256)
    assert np.allclose(told, truth, atol=1e-5)


def test_an_absent_checkpoint_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        exported(tmp_path / "nowhere.pt", COPY)


def test_looking_for_an_export_takes_no_torch():
    words = "import sys, tiktok_ray.methods.onnx_export, tiktok_ray.methods.vision.yolo, tiktok_ray.methods.audio.speakers"
    done = subprocess.run(
        [sys.executable, "-c", f"{words}; print('torch' in sys.modules, 'onnx' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "False"]
