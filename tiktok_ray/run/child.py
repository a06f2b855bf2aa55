"""A child process that decodes, or holds analyzers and runs each call in a thread.

``python -m tiktok_ray.run.child FD LOG`` answers calls that come over the socket with that number until it
is closed, which also happens when the parent dies. ``abandon`` is no call: it names one that is
overdue, for which none other shall wait. Native code that crashes takes the child with it
and nothing else.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import shutil
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tiktok_ray import logs
from tiktok_ray.analyzer import Analyzer, Options
from tiktok_ray.first_imports import alone, leave_behind
from tiktok_ray.media import InputError
from tiktok_ray.media.track_files import TrackFile, write
from tiktok_ray.net.telemetry_block import block_telemetry
from tiktok_ray.run.placement import Assignment
from tiktok_ray.run.worker import Decoding, Reply, Worker, decode, failure, limit_memory
from tiktok_ray.settings import Settings


class Child:
    """What a child process knows: its workers, and the tracks it has open."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self.folder: Path | None = None

    def make(
        self, name: str, analyzer: type[Analyzer], options: Options, assignment: Assignment
    ) -> None:
        """Create a new worker of that name; a previous one ends with its calls."""
        self.workers[name] = Worker(analyzer, options, assignment)

    def load(self, name: str) -> Reply:
        return self.workers[name].load()

    def run(self, name: str, inputs: Mapping[str, Any]) -> Reply:
        worker = self.workers[name]
        if not worker.loaded and (reply := worker.load()).status != "ok":
            return reply
        given = {k: v.open() if isinstance(v, TrackFile) else v for k, v in inputs.items()}
        return worker.run(given)

    def decode(
        self, path: Path, want: Sequence[str], settings: Settings, folder: Path
    ) -> tuple[Decoding, dict[str, TrackFile]]:
        """The result of decoding, with the tracks as files in ``folder``."""
        if self.folder is None:
            limit_memory(settings.decoder_gib)
            self.folder = folder
        done = decode(path, want, settings)
        if done.decoded is None:
            return done, {}
        try:
            files = {name: write(track, folder) for name, track in done.decoded.tracks.items()}
        except OSError as error:
            return Decoding(no_room(folder, error)), {}
        return done.without_tracks(), files

    def ping(self) -> bool:
        return True


def no_room(folder: Path, error: OSError) -> InputError:
    """The error of a request whose tracks cannot be written."""
    return InputError(
        "no_room",
        f"the decoded tracks cannot be written to {folder.parent}: {error.strerror}",
        "free some space there, or set TMPDIR to another folder",
    )


def serve(child: Child, connection: Connection) -> None:
    """Answer calls until the peer closes the connection."""
    sending = threading.Lock()
    at_work: dict[int, threading.Thread] = {}

    def answer(number: int, call: str, packed: bytes) -> None:
        try:
            values, correlation = pickle.loads(packed)
            with logs.correlated(correlation):
                reply = pickle.dumps((True, getattr(child, call)(*values)), protocol=5)
        except BaseException as error:  # noqa: BLE001 - the parent decides what it means
            reply = pickle.dumps((False, failure(error, "")))
        at_work.pop(number, None)
        with sending:
            connection.send((number, reply))

    def make(number: int, call: str, packed: bytes) -> None:
        # What names an analyzer imports its module, so that no later call is the first to.
        with alone():
            answer(number, call, packed)

    while True:
        try:
            number, call, packed = connection.recv()
        except (EOFError, OSError):
            return
        if call == "abandon":
            if (overdue := at_work.get(number)) is not None:
                leave_behind(overdue.ident)
            continue
        work = make if call == "make" else answer
        thread = threading.Thread(target=work, args=(number, call, packed), daemon=True)
        at_work[number] = thread
        thread.start()


def main(channel: int, log_file: Path) -> None:
    """Serve the parent at the other end of ``channel``.

    Ends without a look at threads that still run: their work is not wanted.
    """
    # What is meant for the command reaches its whole group; a child ends when the command has.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable()
    block_telemetry()
    connection = Connection(channel)
    logs.write_to(log_file)
    child = Child()
    try:
        serve(child, connection)
    finally:
        if child.folder is not None:
            # A parent that was killed could not remove the tracks.
            shutil.rmtree(child.folder, ignore_errors=True)
        sys.stderr.flush()
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
