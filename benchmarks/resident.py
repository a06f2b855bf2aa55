"""The service of this revision beside an older one: ``python -m benchmarks.resident OLD_REV [CLIP …]``.

Each is started once as ``tiktok-ray serve`` starts it, analyzes every clip once so that all its
models are loaded, and then again ``--rounds`` times (a byte is appended each time, so that no answer is one that is
kept). Told are, of the two, the wall seconds of those later runs as the reports state them, what the processor
spent on them, and what all processes of the service hold in memory when they have ended
(proportional set size, so that what they share counts once, and without Ray's object store, whose
pages are the tracks' and go with them). Options as for ``benchmarks.versus``.
"""

from __future__ import annotations

import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil

from benchmarks.versus import COMMAND, Cost, Revision, both, chosen, options, row

START_S, VIDEO_S, END_S = 300.0, 900.0, 60.0
#: The environment variable by which the processes of one service are told from all others.
MARK = "BENCHMARKED_SERVICE"


class Kept(NamedTuple):
    """Of one service: the costs of every later run of each clip, and its processes' memory in GiB."""

    costs: dict[str, list[Cost]]
    gib: float
    processes: int


def processes(mark: str) -> list[psutil.Process]:
    """All processes that bear a mark: Ray's daemons are nobody's children."""
    found = []
    for one in psutil.process_iter():
        try:
            if one.environ().get(MARK) == mark:
                found.append(one)
        except psutil.Error:
            continue
    return found


def held(some: Sequence[psutil.Process]) -> float:
    """What processes hold, in GiB: their proportional set size without shared memory files."""
    total = 0
    for one in some:
        try:
            total += sum(part.pss for part in one.memory_maps() if "/dev/shm" not in part.path)
        except psutil.Error:
            continue
    return total / 2**30


def spent(some: Sequence[psutil.Process]) -> float:
    """CPU seconds of processes so far."""
    total = 0.0
    for one in some:
        try:
            times = one.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


@contextmanager
def service(revision: Revision, home: Path) -> Iterator[tuple[str, str]]:
    """A service while it runs: its address and the mark of its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mark = uuid.uuid4().hex
    environment = {**revision.environment(home), MARK: mark, "TIKTOK_RAY_PORT": str(port)}
    command = revision.first + COMMAND
    with (home / "said").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", command, "serve"],
            env=environment, cwd=revision.tree, stdout=said, stderr=said,
        )  # fmt: skip
        try:
            await_answer(f"http://127.0.0.1:{port}", process, home / "said")
            yield f"http://127.0.0.1:{port}", mark
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
            for one in processes(mark):
                one.kill()


def await_answer(url: str, process: subprocess.Popen[bytes], said: Path) -> None:
    """Return once the service answers. Raises ``RuntimeError`` with what it said where it does not."""
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        with suppress(httpx.TransportError):  # it does not listen yet
            if httpx.get(f"{url}/health").is_success:
                return
        time.sleep(0.5)
    raise RuntimeError(f"the service does not answer: {said.read_text()[-2000:]}")


def asked(client: httpx.Client, clip: Path, more: int) -> Any:
    """The report of a clip with so many bytes appended."""
    answer = client.post(
        "/analyze?wait=true", files={"file": (clip.name, clip.read_bytes() + bytes(more))}
    )
    answer.raise_for_status()
    return answer.json()


def measured(revision: Revision, clips: Sequence[Path], rounds: int) -> Kept:
    """What one revision's service costs."""
    costs: dict[str, list[Cost]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        service(revision, Path(folder)) as (url, mark),
        httpx.Client(base_url=url, timeout=VIDEO_S) as client,
    ):
        for clip in clips:
            asked(client, clip, 0)
        for clip in clips:
            for k in range(rounds):
                before = spent(processes(mark))
                wall = asked(client, clip, k + 1)["run"]["wall_s"]
                some = processes(mark)
                cost = Cost(spent(some) - before, wall, held(some))
                costs.setdefault(clip.name, []).append(cost)
        some = processes(mark)
        return Kept(costs, held(some), len(some))


def main() -> None:
    given = options(__doc__).parse_intermixed_args()
    clips = chosen(given.clips)
    with both(given) as revisions:
        old, new = (measured(one, clips, given.rounds) for one in revisions)
    print(f"now / {given.revision}, warm in the service\n")
    print("| clip | CPU s | wall s | held GiB |\n|---|---|---|---|")
    for name in new.costs:
        print(row(name, old.costs[name], new.costs[name]))
    ratios = [
        statistics.median(c.wall_s for c in new.costs[name])
        / statistics.median(c.wall_s for c in old.costs[name])
        for name in new.costs
    ]
    print(f"\nmedian ratio of wall seconds: {statistics.median(ratios):.2f}")
    print(
        f"held in the end: {new.gib:.2f} GiB by {new.processes} processes / "
        f"{old.gib:.2f} by {old.processes} = {new.gib / old.gib:.2f}"
    )


if __name__ == "__main__":
    main()
