"""Cards by NVML: read, refused, and closed again whatever happens."""

from pathlib import Path

import pytest

from tiktok_ray.ops import doctor, monitoring
from tiktok_ray.run import placement, worker
from tiktok_ray.run.nvml import CardNow, NoDriver, NvmlError, cards, taken_by_process
from tiktok_ray.settings import Settings

ROOT = Path(__file__).parent.parent


def fail(*_):
    raise RuntimeError("the card fell off the bus")


def test_cards_and_what_processes_take(nvml):
    first, _, third = cards()
    assert first == CardNow(0, "GPU-0a0", "card 0", "570.1", 24.0, 6.0)
    assert (third.index, third.total_gib, third.used_gib) == (2, 8.0, 2.0)
    assert taken_by_process() == {1: 7.0, 2: 7.0}
    assert nvml.opened == 0


def test_those_who_ask(nvml, monkeypatch):
    monkeypatch.setattr("os.getpid", lambda: 2)
    assert worker._vram_gib(by_torch=False) == 7.0
    planned = [{"index": 2, "planned_gib": 1.0}]
    assert monitoring._cards(planned) == [{"index": 2, "planned_gib": 1.0, "used_gib": 2.0}]
    found = [f.found for f in doctor._card()]
    assert "0: card 0, 6.0 of 24.0 GiB used, driver 570.1" in found
    assert nvml.opened == 0


def test_without_a_driver_there_is_no_card(nvml, monkeypatch):
    monkeypatch.setattr(nvml, "nvmlInit", fail)
    with pytest.raises(NoDriver, match="fell off the bus"):
        cards()
    assert taken_by_process() == {}
    assert placement.cards_here(Settings()) == ()
    assert monitoring._cards([{"index": 0}]) == [{"index": 0, "used_gib": None}]
    assert [f.state for f in doctor._card()] == ["note"]


def test_a_card_that_fails_is_told_and_nvml_is_closed(nvml, monkeypatch):
    monkeypatch.setattr(nvml, "nvmlDeviceGetMemoryInfo", fail)
    monkeypatch.setattr(nvml, "nvmlDeviceGetComputeRunningProcesses", fail)
    with pytest.raises(NvmlError, match="fell off the bus"):
        placement.cards_here(Settings())
    assert taken_by_process() == {}
    assert monitoring._cards([{"index": 0}]) == [{"index": 0, "used_gib": None}]
    assert nvml.opened == 0


def test_nothing_else_of_the_package_asks_nvml():
    files = [f for folder in ("tiktok_ray", "actors") for f in ROOT.glob(f"{folder}/**/*.py")]
    assert [f.name for f in files if "pynvml" in f.read_text()] == ["nvml.py"]
