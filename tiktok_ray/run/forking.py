"""Children forked ahead of the work, while this process has a single thread.

They know all that has been imported by then. A process of its own takes 0.3 CPU seconds to start
Python and import the same once more; a fork takes a hundredth of it, and shares the memory. Where there
are threads, a fork could inherit a lock that nobody releases: none is made then, nor elsewhere than on
Linux, and children are started the other way.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from tiktok_ray import logs
from tiktok_ray.run import child
from tiktok_ray.run.worker import thread_limits
from tiktok_ray.settings import Settings

TASKS = Path("/proc/self/task")


class Forked:
    """A forked child, in the manner of ``subprocess.Popen``."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = threading.Lock()
        self._over = False

    def kill(self) -> None:
        """Kill it, unless ``wait`` has told that it ended: its number may be another's by then."""
        with self._ended, contextlib.suppress(ProcessLookupError):
            if not self._over:
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Its exit status when it has ended, told once; negative for a signal."""
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with self._ended:
            self._over = True
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


_ahead: list[tuple[Any, Forked]] = []


def fork_ahead(count: int, settings: Settings) -> None:
    """Have so many children ready for ``taken``, if this process can be forked."""
    if not _has_one_thread():
        return
    gc.freeze()  # so that collections write to no page that children share
    for _ in range(count):
        here, there = Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            here.close()
            _become(there, settings)
        there.close()
        _ahead.append((here, Forked(pid)))


def taken() -> tuple[Any, Forked] | None:
    """The parent's end of a child that was forked ahead, and the child; None if there is none left."""
    return _ahead.pop(0) if _ahead else None


def _has_one_thread() -> bool:
    return sys.platform == "linux" and len(os.listdir(TASKS)) == 1


def _become(there: Any, settings: Settings) -> None:
    """Be a child from here on; does not return."""
    try:
        for others_end, _ in _ahead:  # open ends here would keep others alive
            others_end.close()
        os.environ.update(thread_limits())
        with logs.native_log(settings.home) as sink, open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        child.main(there.fileno(), logs.log_file(settings.home))
    finally:
        os._exit(1)
