"""Watching memory: the peak of each call, by one thread for all."""

import threading
import time

from tiktok_ray.run import worker
from tiktok_ray.run.worker import Memory


def watchers():
    return [t for t in threading.enumerate() if "_watch" in t.name]


def test_each_call_knows_its_own_peak_and_one_thread_looks():
    held = [1.0]

    def measure():
        return Memory(held[0])

    with worker._MemoryWatch(measure) as early, worker._MemoryWatch(measure) as other:
        held[0] = 3.0  # gone before either call ends
        deadline = time.monotonic() + 10
        while min(early.peak.pss_gib, other.peak.pss_gib) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(watchers()) == 1
        held[0] = 1.0
    with worker._MemoryWatch(measure) as late:
        pass
    assert (early.peak, other.peak, late.peak) == (Memory(3.0), Memory(3.0), Memory(1.0))
    deadline = time.monotonic() + 10
    while watchers() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert watchers() == []


def test_what_is_watched_keeps_to_its_own_measure():
    with (
        worker._MemoryWatch(lambda: Memory(3.0)) as one,
        worker._MemoryWatch(lambda: Memory(7.0, 2.0)) as two,
    ):
        pass
    assert (one.peak, two.peak) == (Memory(3.0), Memory(7.0, 2.0))
