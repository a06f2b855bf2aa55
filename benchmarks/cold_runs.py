"""Cold runs of the README's command, many times over: ``python -m benchmarks.cold_runs N [CLIP …]``.

Each run is a fresh process of ``tiktok-ray analyze CLIP --json`` with all weights at hand
(``TIKTOK_RAY_MODELS``), in turn over the clips (by default ten of ``TIKTOK_RAY_TEST_MEDIA``, with and
without sound, faces and text). Conditions change from run to run: quiet, beside as many processes as
there are cores that only count, and pinned to one core. A run is good when it exits 0, prints a
report and no traceback, has no analyzer that failed or timed out, and says the same as the first run
of its clip: same statuses and reasons, same outputs, numbers to within ``--bound``. What differs is
printed; the exit status is the number of runs that were not good, at most 100.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CLIPS = (
    "video/short_vertical_composite.mp4",  # speech, music, faces, objects, captions
    "video/grid_swwp2s.mpg",  # a face that speaks
    "video/psd_counter.mp4",  # text, no sound
    "video/psd_fades.mp4",  # neither sound, face nor text
    "video/gesture_woman.mp4",  # a face, silent sound
    "video/laptop_desk.mp4",  # objects, silent sound
    "video/carphone.mp4",  # a face, no sound
    "video/bigbuckbunny_51.mp4",  # six channels
    "odd/rotated180_dog.mp4",  # irregular frame rate
    "odd/truncated_half_faststart.mp4",  # damaged
)
CONDITIONS = ("quiet", "loaded", "pinned")
#: Relative difference up to which two numbers count as the same; absolute below 1.
BOUND = 1e-3
LIMIT_S = 900.0


@dataclass
class Tally:
    """What came of the runs so far."""

    first: dict[str, dict[str, Any]] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    walls: dict[str, list[float]] = field(default_factory=dict)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int, metavar="N")
    parser.add_argument("clips", nargs="*", type=Path, metavar="CLIP")
    parser.add_argument("--bound", type=float, default=BOUND)
    parser.add_argument("--workers", default="auto")
    given = parser.parse_args()
    clips = given.clips or default_clips()
    tally = Tally()
    for number in range(given.runs):
        clip, condition = clips[number % len(clips)], CONDITIONS[number // len(clips) % 3]
        begin = time.monotonic()
        told = judge(clip, condition, tally, given.bound, given.workers)
        wall = time.monotonic() - begin
        tally.walls.setdefault(condition, []).append(wall)
        verdict = "good" if not told else "; ".join(told)
        print(
            f"{number + 1:4d} {clip.name:36s} {condition:7s} {wall:6.1f} s  {verdict}", flush=True
        )
        if told:
            tally.bad.append(f"{number + 1} {clip.name} {condition}")
    for condition, walls in tally.walls.items():
        print(f"{condition}: {len(walls)} runs, median {sorted(walls)[len(walls) // 2]:.1f} s")
    print(f"{given.runs - len(tally.bad)} of {given.runs} runs good")
    return min(len(tally.bad), 100)


def default_clips() -> list[Path]:
    """The ten clips. Raises ``SystemExit`` where the media are not at hand."""
    folder = Path(os.environ.get("TIKTOK_RAY_TEST_MEDIA", ""))
    clips = [folder / name for name in CLIPS]
    if missing := [str(clip) for clip in clips if not clip.is_file()]:
        raise SystemExit(
            f"not there: {', '.join(missing)}; set TIKTOK_RAY_TEST_MEDIA, or name clips"
        )
    return clips


def judge(clip: Path, condition: str, tally: Tally, bound: float, workers: str) -> list[str]:
    """Run once; what is wrong with it."""
    with tempfile.TemporaryDirectory() as folder, burden(condition):
        words = [sys.executable, "-m", "tiktok_ray.cli", "analyze", str(clip), "--json"]
        words += [
            "--out",
            folder,
            "--workers",
            workers,
            "--set",
            "speech_transcription.language=en",
            "--no-cache",
        ]
        try:
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                preexec_fn=_pin if condition == "pinned" else None,
            )
        except subprocess.TimeoutExpired:
            return [f"not done after {LIMIT_S:.0f} s"]
    told = []
    if done.returncode:
        told.append(f"exit status {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    signs = ("Traceback", "terminate called", "Fatal Python error")
    told += [f"{sign} on stderr" for sign in signs if sign in done.stderr]
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return [*told, "no report on stdout"]
    for name, section in report["analyzers"].items():
        if section["status"] in ("failed", "timed_out"):
            told.append(f"{name} {section['status']}: {section.get('reason')}")
    if report["run"].get("lost"):
        told.append(f"lost: {report['run']['lost']}")
    before = tally.first.setdefault(str(clip), report)
    return told + differences(comparable(before), comparable(report), bound)[:8]


def comparable(report: dict[str, Any]) -> dict[str, Any]:
    """What two runs of one clip must have in common."""
    sections = {
        name: {key: s.get(key) for key in ("status", "reason", "missing", "output")}
        for name, s in report["analyzers"].items()
    }
    return {"analyzers": sections, "timeline": report["timeline"], "summary": report["summary"]}


def differences(a: Any, b: Any, bound: float, path: str = "") -> list[str]:
    """Places where two JSON values differ; numbers may do so by ``bound``."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted({*a, *b})
        return [d for k in keys for d in differences(a.get(k), b.get(k), bound, f"{path}.{k}")]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return [d for k, (x, y) in pairs for d in differences(x, y, bound, f"{path}[{k}]")]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (a, b))
    if a == b or (numbers and math.isclose(a, b, rel_tol=bound, abs_tol=bound)):
        return []
    return [f"{path}: {str(a)[:60]!r} became {str(b)[:60]!r}"]


@contextlib.contextmanager
def burden(condition: str) -> Iterator[None]:
    """Processes that keep every core busy, where the condition asks for them."""
    count = (os.cpu_count() or 1) if condition == "loaded" else 0
    others = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(count)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


def _spin() -> None:
    while True:
        sum(range(100_000))


def _pin() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


if __name__ == "__main__":
    sys.exit(main())
