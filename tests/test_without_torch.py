"""On the CPU a video is analyzed where torch cannot even be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.body_pose import BodyPose
from actors.object_detection import ObjectDetection
from tests import test_detr, tiny_clip, tiny_sentences
from tests.actors.test_background_segmentation import tiny as tiny_segformer
from tests.actors.test_speech_emotion import tiny_wav2vec2
from tiktok_ray.analyzer import Variant
from tiktok_ray.methods.audio import wav2vec2
from tiktok_ray.methods.audio.speakers import VOICES
from tiktok_ray.methods.onnx_export import at_hand, exported
from tiktok_ray.methods.text import sentences
from tiktok_ray.methods.vision import clip, detr, segformer

#: What Python runs first in each process of the command: torch is noted and refused.
REFUSED = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "ultralytics"):
            with open({mark!r}, "a") as file:
                file.write(f"{{name}} in {{sys.argv}}\\n")
            raise ImportError(f"{{name}} is refused")

sys.meta_path.insert(0, Refuse())
"""

MEASURED = (
    "age_estimation",
    "audio_environment",
    "body_pose",
    "eye_tracking",
    "object_detection",
    "speech_transcription",
    "text_overlay",
)


def export_all(models: Path) -> None:
    """What the first run would export."""
    variants: list[Variant] = [*BodyPose.variants, *ObjectDetection.variants]
    for weights in {w.id: w for v in variants for w in v.weights.values()}.values():
        place = weights.locate(models)
        if place is None:
            continue
        for recipe in weights.recipes:
            exported(place, recipe)
    place = VOICES.locate(models)
    assert place is not None
    for recipe in VOICES.recipes:
        exported(place, recipe)


@pytest.mark.slow
def test_a_cold_analysis_imports_no_torch(tmp_path: Path, real_media: Path, real_models: Path):
    export_all(real_models)
    mark = tmp_path / "torch"
    (tmp_path / "sitecustomize.py").write_text(REFUSED.format(mark=str(mark)))
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", ""), os.getcwd()])
    words = "from tiktok_ray.cli import main; main()"
    clip = real_media / "video" / "grid_bbaf2n.mpg"
    options = ["--out", str(tmp_path / "out"), "--set", "speech_transcription.language=en"]
    done = subprocess.run(
        [sys.executable, "-c", words, "analyze", str(clip), "--workers", "threads", *options],
        env={**os.environ, "PYTHONPATH": path, "TIKTOK_RAY_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not mark.exists(), mark.read_text()
    report = json.loads(next((tmp_path / "out").glob("*.json")).read_text())
    for name in MEASURED:
        section = report["analyzers"][name]
        if section["status"] == "unavailable":
            continue
        assert section["status"] in ("ok", "partial", "skipped"), (name, section["reason"])
    ran = {n: report["analyzers"][n] for n in ("object_detection", "body_pose", "text_overlay")}
    assert any(section["model"]["runtime"] for section in ran.values())
    assert all("torch" not in section["model"]["runtime"] for section in ran.values())


#: Networks of transformers' checkpoints, exported before: the folders are the arguments.
NETWORKS = """
import sys
from pathlib import Path
import numpy as np
from tiktok_ray.methods.audio.wav2vec2 import Classifier
from tiktok_ray.methods.text.sentences import SentenceEncoder
from tiktok_ray.methods.vision.clip import Clip
from tiktok_ray.methods.vision.detr import Detr
from tiktok_ray.methods.vision.segformer import Segmenter

segformer, wav2vec2, clip, sentences, *detectors = map(Path, sys.argv[1:])
picture = np.zeros((64, 64, 3), np.uint8)
print(Segmenter(segformer, "cpu")([picture]).shape)
print(Classifier(wav2vec2, "cpu")([np.ones(16_000, np.float32)], 1).shape)
print(Clip(clip, "cpu", ["a", "b"]).embed([picture]).shape)
print(SentenceEncoder(sentences)(["a"], "query", 1).shape)
for folder in detectors:
    print(Detr(folder, "cpu", floor=2.0)([picture])[0].shape)
print(*sorted({"torch", "transformers"} & set(sys.modules)))
"""


@pytest.mark.slow
def test_exported_checkpoints_run_without_torch(tmp_path: Path):
    folders = {
        tiny_segformer(tmp_path / "segformer"): (segformer.RECIPE,),
        tiny_wav2vec2(tmp_path / "wav2vec2", ["neu", "hap"]): (wav2vec2.RECIPE,),
        tiny_clip.clip(tmp_path / "clip"): (clip.PICTURES, clip.TEXTS),
        tiny_sentences.encoder(tmp_path / "sentences"): (sentences.RECIPE,),
        test_detr.rt_detr(tmp_path / "rt-detr"): (detr.RECIPE,),
        test_detr.d_fine(tmp_path / "d-fine"): (detr.RECIPE,),
    }
    for folder, recipes in folders.items():
        for recipe in recipes:
            exported(folder, recipe)
            assert at_hand(folder, recipe)
    words = [sys.executable, "-c", NETWORKS, *map(str, folders)]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    shapes = ["(1, 128, 128)", "(1, 2)", "(1, 24)", "(1, 32)", "(0, 6)", "(0, 6)"]
    assert said == [*shapes, ""]
