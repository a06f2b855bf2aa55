"""Running one analyzer or the decoder: the same code in an actor, a child process and a thread."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from tiktok_ray import media
from tiktok_ray.analyzer import ASKED, Analyzer, Options, Partial, Skip
from tiktok_ray.first_imports import alone, import_first
from tiktok_ray.media import InputError
from tiktok_ray.methods import inference
from tiktok_ray.report import Coverage, Missing, ModelUsed, Output, Status, said
from tiktok_ray.run import nvml
from tiktok_ray.run.placement import Assignment
from tiktok_ray.settings import Settings

log = logging.getLogger("tiktok_ray.run.worker")

#: Least time between two looks at the memory, and the largest share of a core that looking takes:
#: the kernel adds up all pages for each, which takes 20 ms where much is loaded. They are not added up
#: again where resident memory has changed by less than ``MEMORY_CHANGE`` of itself.
MEMORY_STEP_S, MEMORY_SHARE, MEMORY_CHANGE = 0.25, 0.01, 0.01
#: How long a process has nothing to do before it gives freed memory back.
REST_S = 2.0
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
    """The outcome of one call. Never an exception: those do not survive every transport.

    ``exhausted``: memory ran out, so that its process is better replaced than asked again.
    ``runtime``: what a loaded model runs on, with versions. ``lasting``: another try with the same
    inputs would bring the same.
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
    runtime: str | None = None
    model: ModelUsed | None = None
    lasting: bool = True


class CallFailed(Exception):
    """A call raised in a worker's process where it should have replied; ``reply`` says what."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.reason)
        self.reply = reply


class Worker:
    """Holds one analyzer, loads it once and calls it. Every failure becomes a ``Reply``."""

    def __init__(
        self, analyzer: type[Analyzer], options: Options | None, assignment: Assignment
    ) -> None:
        self.assignment = assignment
        self.analyzer = analyzer(options)
        self.threads = analyzer.needs.threads
        self.loaded = False
        self.runtime: str | None = None

    def load(self) -> Reply:
        """Load the model, once; tell each time which one answers, where that is another's affair."""
        begin, started = time.perf_counter(), time.time()
        if not self.loaded:
            a = self.assignment
            try:
                import_first(self.imports)
                inference.choose(a.runtime)
                with alone(), inference.noted() as opened:
                    self.analyzer.load(a.variant, a.device, a.files)
                    _kept(limit_loaded, self.imports, self.threads)
                    _kept(cap_device_memory, a, self.imports)
            except BaseException as error:  # noqa: BLE001 - every failure is reported, none is lost
                return failure(error, "load: ", begin, started)
            self.loaded = True
            named = (inference.named(r) for r in inference.RUNTIMES if r in self.imports)
            self.runtime = ", ".join(dict.fromkeys((*named, *opened))) or None
        try:
            model = self.analyzer.answering()
        except BaseException as error:  # noqa: BLE001 - every failure is reported, none is lost
            return failure(error, "load: ", begin, started)
        return Reply(
            "ok",
            seconds=time.perf_counter() - begin,
            started=started,
            runtime=self.runtime,
            model=model,
        )

    @property
    def imports(self) -> tuple[str, ...]:
        """Libraries that this analyzer needs in the variant it runs."""
        return imports_of(type(self.analyzer), self.assignment)

    def _memory(self) -> Memory:
        return memory_now(on_card=self.assignment.device == "cuda", torch="torch" in self.imports)

    def run(self, inputs: Mapping[str, Any]) -> Reply:
        """Analyze one video, or answer what is ``ASKED``.

        After memory ran out it is tried once more with half the batch.
        """
        begin, started = time.perf_counter(), time.time()
        _kept(limit_loaded, self.imports, self.threads)
        with _MemoryWatch(self._memory) as watch:
            reply = self._call(inputs, begin, started)
            if reply.exhausted and self.analyzer.batch > 1:
                self.analyzer.batch = max(1, self.analyzer.batch // 2)
                _free_device_memory(self.imports)
                reply = self._call(inputs, begin, started)
        return Reply(**{**reply.__dict__, "memory": watch.peak})

    def _call(self, inputs: Mapping[str, Any], begin: float, started: float) -> Reply:
        try:
            call = self.analyzer.answer if ASKED in inputs else self.analyzer.analyze
            result = call(**inputs)
        except Skip as skip:
            seconds = time.perf_counter() - begin
            return Reply("skipped", reason=str(skip), seconds=seconds, started=started)
        except BaseException as error:  # noqa: BLE001 - every failure is reported, none is lost
            return failure(error, "", begin, started)
        missing = tuple(Missing(part=p, reason=r) for p, r in self.assignment.missing)
        output: Output
        lasting = True
        if isinstance(result, Partial):
            output, missing, lasting = result.output, (*missing, *result.missing), result.lasting
        else:
            output = result
        return Reply(
            "partial" if missing else "ok",
            output=output,
            missing=missing,
            lasting=lasting,
            seconds=time.perf_counter() - begin,
            started=started,
        )


def imports_of(analyzer: type[Analyzer], assignment: Assignment) -> tuple[str, ...]:
    """Libraries that an analyzer needs in the variant it is to run."""
    variant = assignment.variant
    on_card = variant.card_imports if assignment.device == "cuda" else ()
    return (*analyzer.imports, *variant.imports, *on_card)


def _kept(rule: Callable[..., None], *values: Any) -> None:
    """Keep to a limit where that can be done: bookkeeping must not fail the work."""
    try:
        rule(*values)
    except Exception as error:
        log.warning("%s failed", rule.__name__, exc_info=error)


def thread_limits(threads: int = 1) -> dict[str, str]:
    """Environment variables that keep numeric libraries to so many threads.

    One wherever analyzers run: the same sums in the same order, and so the same results, in every
    mode. What works with more is told so itself, by ``limit_loaded`` or when its model is made; its
    threads sleep where they wait for each other, and leave the core to another analyzer.
    """
    libraries = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
    limits = {f"{name}_NUM_THREADS": str(threads) for name in libraries}
    return {**limits, "OMP_WAIT_POLICY": "passive"}


def limit_threads(threads: int = 1) -> None:
    """Limit the numeric libraries of this process to so many threads, NumPy's also if it is imported already."""
    os.environ.update(thread_limits(threads))
    if "numpy" in sys.modules:
        import threadpoolctl

        threadpoolctl.threadpool_limits(threads)


def limit_loaded(imports: Collection[str], threads: int) -> None:
    """Limit the threads of imported libraries that ignore the environment."""
    if "cv2" in imports:
        import cv2

        cv2.setNumThreads(threads)
    if "torch" in imports:
        import torch

        torch.set_num_threads(threads)


def cap_device_memory(assignment: Assignment, imports: Collection[str]) -> None:
    """Limit torch's allocator to this process's planned memory, excluding the context."""
    variant = assignment.variant
    if assignment.device != "cuda" or variant.vram is None or "torch" not in imports:
        return
    import torch

    total = torch.cuda.get_device_properties(0).total_memory / 2**30
    torch.cuda.set_per_process_memory_fraction(min(1.0, sum(variant.vram) / total))


def memory_now(*, on_card: bool = False, torch: bool = False) -> Memory:
    """Memory of this process now; without ``/proc`` the resident size stands for the PSS.

    ``on_card``: whether it uses a card; ``torch``: whether it does so through torch. What cannot
    be told counts as 0: bookkeeping must not fail the work.
    """
    try:
        return Memory(_pss_gib(), _vram_gib(torch) if on_card else 0.0)
    except Exception as error:
        log.warning("the memory of this process could not be determined", exc_info=error)
        return Memory()


_added_up = {"resident": 0, "pss": 0}


def _pss_gib() -> float:
    """Proportional set size of this process, to ``MEMORY_CHANGE``: all that watch it share what the
    kernel last added up."""
    import psutil

    process = psutil.Process()
    resident = process.memory_info().rss
    if abs(resident - _added_up["resident"]) > MEMORY_CHANGE * resident:
        full = process.memory_full_info()
        _added_up.update(resident=resident, pss=getattr(full, "pss", 0) or full.rss)
    return _added_up["pss"] / 2**30


def _vram_gib(by_torch: bool) -> float:
    """What this process takes of its card by NVML, context included.

    Where NVML cannot tell processes apart (some containers), torch's own peak stands for it.
    """
    reserved = 0.0
    if by_torch:
        import torch

        if torch.cuda.is_initialized():
            reserved = float(torch.cuda.max_memory_reserved()) / 2**30
    return max(reserved, nvml.taken_by_process().get(os.getpid(), 0.0))


class _MemoryWatch:
    """Samples the memory of this process while something runs.

    All that run at once are sampled by one thread: looking costs the same for one as for all.
    """

    _watching: ClassVar[list[_MemoryWatch]] = []
    _changed: ClassVar = threading.Condition()
    _thread: ClassVar[threading.Thread | None] = None

    def __init__(self, measure: Callable[[], Memory]) -> None:
        self.peak = Memory()
        self._measure = measure

    def _sample(self) -> None:
        now = self._measure()
        self.peak = Memory(
            max(self.peak.pss_gib, now.pss_gib), max(self.peak.vram_gib, now.vram_gib)
        )

    @classmethod
    def _watch(cls) -> None:
        """Runs in a thread while anything is watched."""
        pause = MEMORY_STEP_S
        while True:
            with cls._changed:
                cls._changed.wait_for(lambda: not cls._watching, pause)
                if not cls._watching:
                    cls._thread = None
                    return
                now = list(cls._watching)
            begin = time.thread_time()
            for watch in now:
                watch._sample()
            pause = max(MEMORY_STEP_S, (time.thread_time() - begin) / MEMORY_SHARE)

    def _begin(self) -> None:
        with self._changed:
            self._watching.append(self)
            if self._thread is None:
                thread = threading.Thread(target=self._watch, daemon=True)
                thread.start()
                type(self)._thread = thread

    def __enter__(self) -> _MemoryWatch:
        _kept(self._begin)
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            if self in self._watching:
                self._watching.remove(self)
            self._changed.notify()
        self._sample()


class GivesBackAtRest:
    """Gives the system what was freed and the C library keeps, once no block has run for ``REST_S``.

    At once would be too soon: who is asked again takes the same pages anew, which is a tenth of a
    decoding. Only where the library can be told to (glibc).
    """

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._later: threading.Timer | None = None

    def __enter__(self) -> None:
        if self._later is not None:
            self._later.cancel()

    def __exit__(self, *_: object) -> None:
        if self._trim is not None:
            self._later = threading.Timer(REST_S, self._trim, (0,))
            self._later.daemon = True
            self._later.start()


def failure(
    error: BaseException, prefix: str, begin: float | None = None, started: float = 0.0
) -> Reply:
    """The reply that says what was raised; ``begin`` and ``started`` are when the call began."""
    return Reply(
        "failed",
        reason=prefix + said(error),
        seconds=time.perf_counter() - begin if begin is not None else 0.0,
        started=started,
        trace="".join(traceback.format_exception(error))[-4000:],
        exhausted=_is_out_of_memory(error),
    )


def _is_out_of_memory(error: BaseException) -> bool:
    words = said(error, 10_000).lower()
    return isinstance(error, MemoryError) or any(sign in words for sign in OUT_OF_MEMORY)


def _free_device_memory(imports: Collection[str]) -> None:
    import gc

    gc.collect()
    if "torch" in imports:
        import torch

        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


@dataclass(frozen=True)
class Decoding:
    """The outcome of decoding: the ``error`` of the request, or the tracks and their metadata."""

    error: InputError | None = None
    decoded: media.Decoded | None = None
    coverage: Mapping[str, Coverage] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()
    seconds: float = 0.0
    pss_gib: float = 0.0

    def without_tracks(self) -> Decoding:
        """The same with the video's facts alone, for tracks that travel apart."""
        assert self.decoded is not None
        return replace(self, decoded=replace(self.decoded, tracks={}))


def decode(path: Path, want: Collection[str], settings: Settings) -> Decoding:
    """Decode one file. Whatever that raises becomes an ``InputError`` in the answer."""
    begin = time.perf_counter()
    try:
        decoded = media.decode(path, want, settings)
        coverage, empty = decoded.coverage(), decoded.empty()
    except InputError as error:
        return Decoding(error)
    except MemoryError:
        words = f"decoding needs more than {settings.decoder_gib:g} GiB of memory"
        return Decoding(InputError("too_large", words, "raise the setting TIKTOK_RAY_DECODER_GIB"))
    except BaseException as error:
        log.error("decoding %s raised", path.name, exc_info=error)
        words = f"{path.name} cannot be decoded: {said(error)}"
        return Decoding(InputError("undecodable", words, "export it again in a common format"))
    seconds = time.perf_counter() - begin
    return Decoding(None, decoded, coverage, empty, seconds, memory_now().pss_gib)


def limit_memory(gib: float) -> None:
    """Let this process take so much more private memory than now; shared memory is not counted."""
    if sys.platform == "linux":
        import resource

        import psutil

        taken = psutil.Process().memory_info().data
        resource.setrlimit(resource.RLIMIT_DATA, (taken + round(gib * 2**30),) * 2)
