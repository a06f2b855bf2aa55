"""Watching memory: the peak of each call, by one thread for all."""

import ast
import os
import subprocess
import sys
import threading
import time
from typing import ClassVar

from tiktok_ray.run import worker
from tiktok_ray.run.worker import Memory


class Watch(worker._MemoryWatch):
    """One that shares its thread with none of other tests, whose calls may hang."""

    _watching: ClassVar = []
    _changed: ClassVar = threading.Condition()
    _thread: ClassVar = None


def test_each_call_knows_its_own_peak_and_one_thread_looks():
    held, looking = [1.0], set()

    def measure():
        looking.add(threading.current_thread())
        return Memory(held[0])

    deadline = time.monotonic() + 20
    with Watch(measure) as early, Watch(measure) as other:
        held[0] = 3.0  # gone before either call ends
        while min(early.peak.pss_gib, other.peak.pss_gib) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        (looker,) = looking
        held[0] = 1.0
    with Watch(measure) as late:
        pass
    assert (early.peak, other.peak, late.peak) == (Memory(3.0), Memory(3.0), Memory(1.0))
    while (looker.is_alive() or Watch._thread) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not looker.is_alive()
    assert Watch._thread is None


def test_what_is_watched_keeps_to_its_own_measure():
    with (
        Watch(lambda: Memory(3.0)) as one,
        Watch(lambda: Memory(7.0, 2.0)) as two,
    ):
        pass
    assert (one.peak, two.peak) == (Memory(3.0), Memory(7.0, 2.0))


LIMITED = """
import numpy, threadpoolctl
from tiktok_ray.run.worker import limit_threads

limit_threads(1)
print([pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"])
"""


def test_numpy_has_one_thread_even_if_it_was_imported_before():
    kept = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    words = [sys.executable, "-c", LIMITED]
    said = subprocess.run(words, env=kept, check=True, capture_output=True, text=True).stdout
    assert set(ast.literal_eval(said)) == {1}


def test_freed_memory_is_given_back_once_nothing_has_run_for_a_while(monkeypatch):
    monkeypatch.setattr(worker, "REST_S", 0.2)
    given_back = threading.Event()
    rest = worker.GivesBackAtRest()
    rest._trim = lambda _: given_back.set()
    for _ in range(5):
        with rest:
            assert not given_back.wait(0.05)
    assert not given_back.wait(0.05)
    assert given_back.wait(5)
