"""One analyzer at work: the same code in an actor's process and in a thread."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tiktok_ray.analyzer import Analyzer, Options, Partial, Skip
from tiktok_ray.placement import Assignment
from tiktok_ray.report import Missing, Output, Status

MEMORY_STEP_S = 0.25
#: How libraries say that memory ran out: CUDA and CTranslate2, torch and the system, C++, OpenCV,
#: ONNX Runtime, Python's threads.
OUT_OF_MEMORY = (
    "out of memory",
    "outofmemory",
    "allocate memory",
    "bad_alloc",
    "insufficient memory",
    "failed to allocate",
    "can't start new thread",
)


@dataclass(frozen=True)
class Memory:
    """Peak memory of a worker's process in GiB: proportional set size, and the card's."""

    pss_gib: float = 0.0
    vram_gib: float = 0.0


@dataclass(frozen=True)
class Reply:
    """What came of one call. Never an exception: those do not survive every transport.

    ``exhausted``: memory ran out, so that its process is better replaced than asked again.
    """

    status: Status
    output: Output | None = None
    reason: str | None = None
    missing: tuple[Missing, ...] = ()
    seconds: float = 0.0
    started: float = 0.0
    memory: Memory = field(default_factory=Memory)
    trace: str | None = None
    exhausted: bool = False


class Worker:
    """Holds one analyzer, loads it once and calls it. Every failure becomes a ``Reply``."""

    def __init__(
        self, analyzer: type[Analyzer], options: Options | None, assignment: Assignment
    ) -> None:
        self.assignment = assignment
        self.analyzer = analyzer(options)
        self.loaded = False

    def load(self) -> Reply:
        """Load the model, once."""
        begin, started = time.perf_counter(), time.time()
        if not self.loaded:
            a = self.assignment
            try:
                self.analyzer.load(a.variant, a.device, a.files)
                limit_loaded(self.analyzer.needs.threads)
                cap_device_memory(a)
            except Exception as error:  # noqa: BLE001 - every failure is reported, none is lost
                return _failure(error, "load: ", begin, started)
            self.loaded = True
        seconds = time.perf_counter() - begin
        return Reply("ok", seconds=seconds, started=started, memory=memory_now())

    def run(self, inputs: Mapping[str, Any]) -> Reply:
        """Analyze one video. After memory ran out it is tried once more with half the batch."""
        begin, started = time.perf_counter(), time.time()
        with _MemoryWatch() as watch:
            reply = self._call(inputs, begin, started)
            if reply.exhausted and self.analyzer.batch > 1:
                self.analyzer.batch = max(1, self.analyzer.batch // 2)
                _free_device_memory()
                reply = self._call(inputs, begin, started)
        return Reply(**{**reply.__dict__, "memory": watch.peak})

    def _call(self, inputs: Mapping[str, Any], begin: float, started: float) -> Reply:
        try:
            result = self.analyzer.analyze(**inputs)
        except Skip as skip:
            seconds = time.perf_counter() - begin
            return Reply("skipped", reason=str(skip), seconds=seconds, started=started)
        except Exception as error:  # noqa: BLE001 - every failure is reported, none is lost
            return _failure(error, "", begin, started)
        missing = tuple(Missing(part=p, reason=r) for p, r in self.assignment.missing)
        output: Output
        if isinstance(result, Partial):
            output, missing = result.output, (*missing, *result.missing)
        else:
            output = result
        return Reply(
            "partial" if missing else "ok",
            output=output,
            missing=missing,
            seconds=time.perf_counter() - begin,
            started=started,
        )


def limit_threads(threads: int) -> None:
    """Keep numeric libraries of this process to so many threads. Call before they are imported."""
    for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM"):
        os.environ[f"{name}_NUM_THREADS"] = str(threads)


def limit_loaded(threads: int) -> None:
    """Keep those libraries to so many threads that take no notice of the environment."""
    if (cv2 := sys.modules.get("cv2")) is not None:
        cv2.setNumThreads(threads)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(threads)


def cap_device_memory(assignment: Assignment) -> None:
    """Hold torch's allocator to what the plan gave this process, the context apart."""
    torch = sys.modules.get("torch")
    if assignment.device != "cuda" or assignment.variant.vram is None or torch is None:
        return
    total = torch.cuda.get_device_properties(0).total_memory / 2**30
    torch.cuda.set_per_process_memory_fraction(min(1.0, sum(assignment.variant.vram) / total))


def memory_now() -> Memory:
    """Memory of this process now; without ``/proc`` the resident size stands for the PSS."""
    import psutil

    full = psutil.Process().memory_full_info()
    return Memory(pss_gib=(getattr(full, "pss", 0) or full.rss) / 2**30, vram_gib=_vram_gib())


def _vram_gib() -> float:
    """What this process takes of its card by NVML, context included; 0 without a card.

    Where NVML cannot tell processes apart (some containers), torch's own peak stands for it.
    """
    torch = sys.modules.get("torch")
    by_torch = 0.0
    if torch is not None and torch.cuda.is_initialized():
        by_torch = float(torch.cuda.max_memory_reserved()) / 2**30
    if not os.environ.get("CUDA_VISIBLE_DEVICES"):
        return by_torch
    return max(by_torch, _vram_by_nvml())


def _vram_by_nvml() -> float:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0.0
    used = 0
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
            if process.pid == os.getpid():
                used += process.usedGpuMemory or 0
    return used / 2**30


class _MemoryWatch:
    """Samples the memory of this process while something runs."""

    def __init__(self) -> None:
        self.peak = Memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _sample(self) -> None:
        now = memory_now()
        self.peak = Memory(
            max(self.peak.pss_gib, now.pss_gib), max(self.peak.vram_gib, now.vram_gib)
        )

    def _watch(self) -> None:
        while not self._done.wait(MEMORY_STEP_S):
            self._sample()

    def __enter__(self) -> _MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._sample()


def _failure(error: BaseException, prefix: str, begin: float, started: float) -> Reply:
    words = str(error).strip() or "no message"
    return Reply(
        "failed",
        reason=f"{prefix}{type(error).__name__}: {words[:500]}",
        seconds=time.perf_counter() - begin,
        started=started,
        trace="".join(traceback.format_exception(error))[-4000:],
        exhausted=_is_out_of_memory(error),
    )


def _is_out_of_memory(error: BaseException) -> bool:
    words = f"{type(error).__name__}: {error}".lower()
    return isinstance(error, MemoryError) or any(said in words for said in OUT_OF_MEMORY)


def _free_device_memory() -> None:
    import gc

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
