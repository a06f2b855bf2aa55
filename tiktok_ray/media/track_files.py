"""Decoded tracks in files, which any number of processes map read-only without a copy.

A file holds the track pickled (protocol 5), with its arrays' bytes apart and aligned.
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
import weakref
from pathlib import Path
from typing import Any

ALIGNMENT = 64


class TrackFile:
    """A track in its own file, which is deleted with this object in the process that created it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self) -> TrackFile:
        """Delete the file when this object is garbage-collected. Returns itself."""
        weakref.finalize(self, _remove, self.path)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return TrackFile, (self.path,)

    def open(self) -> Any:
        """The track; its arrays are read-only views of the mapped file."""
        with self.path.open("rb") as file:
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        size = int.from_bytes(whole[:8], "little")
        head, sizes = pickle.loads(whole[8 : 8 + size])
        buffers, at = [], _aligned(8 + size)
        for length in sizes:
            buffers.append(whole[at : at + length])
            at = _aligned(at + length)
        return pickle.loads(head, buffers=buffers)


def write(track: Any, folder: Path) -> TrackFile:
    """Write a track into a new file of that folder. Raises ``OSError``."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(track, protocol=5, buffer_callback=buffers.append)
    parts = [buffer.raw() for buffer in buffers]
    facts = pickle.dumps((head, [part.nbytes for part in parts]))
    handle, name = tempfile.mkstemp(dir=folder, suffix=".track")
    with os.fdopen(handle, "wb") as file:
        file.write(len(facts).to_bytes(8, "little"))
        file.write(facts)
        for part in parts:
            file.seek(_aligned(file.tell()))
            file.write(part)
        # An empty array at the end needs its place too.
        file.truncate(_aligned(file.tell()))
    return TrackFile(Path(name))


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
