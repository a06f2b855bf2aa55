"""What NVML, the library of NVIDIA's driver, says of the cards of this machine."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


class NvmlError(Exception):
    """NVML does not answer; the message is its own."""


class NoDriver(NvmlError):
    """There is no driver of NVIDIA's here, hence no card."""


@dataclass(frozen=True)
class CardNow:
    """A card as it is now."""

    index: int
    uuid: str
    name: str
    driver: str
    total_gib: float
    used_gib: float


def cards() -> list[CardNow]:
    """All cards. Raises ``NoDriver`` where there are none, else ``NvmlError``."""
    found = []
    with _opened() as nvml:
        driver = str(nvml.nvmlSystemGetDriverVersion())
        for index, handle in _handles(nvml):
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            uuid, name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
            total, used = memory.total / 2**30, memory.used / 2**30
            found.append(CardNow(index, str(uuid), str(name), driver, total, used))
    return found


def taken_by_process() -> dict[int, float]:
    """What each process takes of all cards together, in GiB by process number.

    Empty where NVML cannot tell processes apart, as in some containers.
    """
    taken: defaultdict[int, float] = defaultdict(float)
    with contextlib.suppress(NvmlError), _opened() as nvml:
        for _, handle in _handles(nvml):
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
                taken[process.pid] += (process.usedGpuMemory or 0) / 2**30
    return dict(taken)


def _handles(nvml: Any) -> Iterator[tuple[int, Any]]:
    for index in range(nvml.nvmlDeviceGetCount()):
        yield index, nvml.nvmlDeviceGetHandleByIndex(index)


@contextlib.contextmanager
def _opened() -> Iterator[Any]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoDriver(str(error)) from error
    try:
        yield pynvml
    except pynvml.NVMLError as error:
        raise NvmlError(str(error)) from error
    finally:
        pynvml.nvmlShutdown()
