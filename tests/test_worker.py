"""Watching memory: the peak of each call, by one thread for all."""

import threading
import time

import numpy as np

from tiktok_ray.run import worker
from tiktok_ray.run.worker import Memory, memory_now


def watchers():
    return [t for t in threading.enumerate() if "_watch" in t.name]


def test_each_call_knows_its_own_peak_and_one_thread_looks():
    before = memory_now().pss_gib
    with worker._MemoryWatch(memory_now) as early, worker._MemoryWatch(memory_now) as other:
        held = np.ones(40 * 2**20 // 8 * 8)  # 0.31 GiB, gone before either call ends
        time.sleep(4 * worker.MEMORY_STEP_S)
        assert len(watchers()) == 1
        del held
    with worker._MemoryWatch(memory_now) as late:
        time.sleep(2 * worker.MEMORY_STEP_S)
    assert early.peak.pss_gib > before + 0.25
    assert other.peak.pss_gib > before + 0.25
    assert late.peak.pss_gib < before + 0.2
    deadline = time.monotonic() + 10
    while watchers() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert watchers() == []


def test_what_is_watched_keeps_to_its_own_measure():
    first, second = iter((1.0, 3.0, 2.0, *(2.0,) * 100)), iter((7.0, 5.0, *(5.0,) * 100))
    with (
        worker._MemoryWatch(lambda: Memory(next(first))) as one,
        worker._MemoryWatch(lambda: Memory(next(second))) as two,
    ):
        time.sleep(3.5 * worker.MEMORY_STEP_S)
    assert one.peak == Memory(3.0)
    assert two.peak == Memory(7.0)
