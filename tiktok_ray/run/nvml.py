"""The GPUs of this machine, according to NVML, the library of NVIDIA's driver."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


class NvmlError(Exception):
    """NVML failed; the message is its own."""


class NoDriver(NvmlError):
    """There is no NVIDIA driver here, hence no GPU."""


@dataclass(frozen=True)
class CardNow:
    """The current state of a GPU."""

    index: int
    uuid: str
    name: str
    driver: str
    total_gib: float
    used_gib: float


def cards() -> list[CardNow]:
    """All GPUs. Raises ``NoDriver`` if there are none, otherwise ``NvmlError``."""
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
    """GPU memory of each process over all GPUs, in GiB by PID.

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
