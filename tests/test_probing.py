"""`tiktok-ray probe`: what is known of a file without analyzing it."""

import json
import subprocess

import pytest
from typer.testing import CliRunner

from tests.files import ffmpeg, film, quarters, with_clap, with_codec
from tiktok_ray import cli, media
from tiktok_ray.media import InputError, probing


def test_a_probe_says_all_that_is_known(clip, settings):
    found = probing.probed(clip, settings)
    known = media.probe(clip, settings)
    assert found["frames"] is None
    assert (found["width"], found["height"]) == (known.width, known.height)
    assert [s["kind"] for s in found["streams"]] == ["video", "audio"]
    assert found["color"]["matrix"] == "BT.709"
    words = dict(probing.told(found))
    assert words["video"] == "144 x 256, 30 frames per second, h264"
    assert words["sound"] == "aac, 1 channels, 48000 Hz"


@pytest.mark.slow
def test_the_command_prints_words_or_json(clip):
    runner = CliRunner()
    said = runner.invoke(cli.app, ["probe", str(clip)])
    assert said.exit_code == 0
    assert "144 x 256" in said.stdout
    made = runner.invoke(cli.app, ["probe", str(clip), "--json"])
    assert json.loads(made.stdout)["video_codec"] == "h264"


def test_chapters_and_clean_aperture_are_told(tmp_path, settings):
    path = with_clap(film(tmp_path / "x.mp4", [quarters()] * 50), 80, 48)
    chapters = ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=Opening\n"
    (tmp_path / "c.txt").write_text(chapters, encoding="utf-8")
    titled = tmp_path / "y.mkv"
    ffmpeg("-i", path, "-i", tmp_path / "c.txt", "-map_metadata", 1, "-c", "copy", titled)
    words = dict(probing.told(probing.probed(titled, settings)))
    assert words["chapter"] == "0.00 to 1.00 s, Opening"
    assert words["shown"] == "80 x 48 of the stored frame (clean aperture)"


@pytest.mark.slow
def test_what_cannot_be_read_ends_with_its_type(tmp_path, settings):
    path = with_codec(film(tmp_path / "x.mp4", [quarters()] * 3), b"avc1", b"bvc2")
    ended = CliRunner().invoke(cli.app, ["probe", str(path)])
    assert ended.exit_code == 3
    with pytest.raises(InputError, match="bvc2") as caught:
        probing.probed(path, settings)
    assert caught.value.type == "undecodable"
    assert caught.value.advice


def test_a_process_that_dies_is_an_error_of_the_input(clip, settings, monkeypatch):
    def died(*_, **__):
        return subprocess.CompletedProcess([], -11, b"", b"")

    monkeypatch.setattr(subprocess, "run", died)
    with pytest.raises(InputError) as caught:
        probing.probed(clip, settings)
    assert caught.value.type == "decoder_died"
