"""Fixtures that every test shares."""

import gc
import os
import sys
import types
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from PIL import Image

from tiktok_ray.graph import Graph
from tiktok_ray.media.writer import write_clip
from tiktok_ray.run.placement import plan
from tiktok_ray.run.threads import LocalWorkers
from tiktok_ray.settings import Settings

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """What has been imported stays: no collection of garbage looks through it again."""
    gc.collect()
    gc.freeze()


def _folder(variable: str) -> Path:
    place = os.environ.get(variable)
    if not place or not Path(place).is_dir():
        pytest.skip(f"{variable} names no folder on this machine")
    return Path(place)


@pytest.fixture(scope="session")
def real_media() -> Path:
    """The folder of real clips with known truth."""
    return _folder("TIKTOK_RAY_TEST_MEDIA")


@pytest.fixture(scope="session")
def real_models() -> Path:
    """The folder of real weights."""
    return _folder("TIKTOK_RAY_MODELS")


@pytest.fixture(autouse=True)
def _no_ray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only tests marked `ray` may start it."""
    if request.node.get_closest_marker("ray"):
        return

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("this test is not marked `ray` but starts it")

    if "ray" in sys.modules:
        monkeypatch.setattr("ray.init", refuse)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Any:
    """NVML with three cards, of 24, 24 and 8 GiB, a quarter of each taken by processes 1 and 2."""
    sizes = (24, 24, 8)

    def memory(index: int) -> types.SimpleNamespace:
        return types.SimpleNamespace(total=sizes[index] * 2**30, used=sizes[index] * 2**28)

    def processes(index: int) -> list[types.SimpleNamespace]:
        each = sizes[index] * 2**27
        return [types.SimpleNamespace(pid=pid, usedGpuMemory=each) for pid in (1, 2)]

    made: Any = types.SimpleNamespace(
        NVMLError=RuntimeError,
        opened=0,
        nvmlInit=lambda: setattr(made, "opened", made.opened + 1),
        nvmlShutdown=lambda: setattr(made, "opened", made.opened - 1),
        nvmlSystemGetDriverVersion=lambda: "570.1",
        nvmlDeviceGetCount=lambda: len(sizes),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda index: f"card {index}",
        nvmlDeviceGetUUID=lambda index: f"GPU-{index}a{index}",
        nvmlDeviceGetMemoryInfo=memory,
        nvmlDeviceGetComputeRunningProcesses=processes,
    )
    monkeypatch.setitem(sys.modules, "pynvml", made)
    return made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose folders are empty and the test's own."""
    return Settings(models=tmp_path / "models", home=tmp_path / "home", cores=2)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Analyzers run in threads of the tests' own process, where others are not what is tested."""

    def local(graph: Graph, settings: Settings, **_: object) -> LocalWorkers:
        graph.check_options(settings.options)
        return LocalWorkers(graph, plan(graph.analyzers.values(), settings), settings)

    monkeypatch.setattr("tiktok_ray.compose.make_workers", local)


def slow(*values: Any) -> Any:
    """Values of one set of parameters that only the slow tier tries."""
    return pytest.param(*values, marks=pytest.mark.slow)


def scene(seed: int, height: int = 256, width: int = 144) -> np.ndarray:
    """A still picture of soft colours, uint8 [height, width, 3], RGB."""
    grid = np.random.default_rng(seed).integers(0, 256, (9, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds at 30 fps: one scene, a hard cut at 1 s, another; a tone of 440 Hz throughout."""
    folder = tmp_path_factory.mktemp("clip")
    pictures = [scene(1 if k < 30 else 2) for k in range(60)]
    t = np.arange(2 * 48_000) / 48_000
    tone = (0.1 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    return write_clip(folder / "clip.mp4", pictures, fps=30, audio=tone)
