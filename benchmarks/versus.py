"""This revision beside an older one: ``python -m benchmarks.versus OLD_REV [CLIP …]``.

The older revision is checked out beside this one and runs in the same environment. Both analyze the
same clips in turn (A B A B): cold, by the command in a fresh process, and warm, the second video of
one process. CPU seconds are those of all processes of a run, user and system, as the kernel counts them: they hold
on a busy machine too, wall time does not. A clip on which an analyzer works in one of the two and not
in the other is not compared, and it is said why. What both reports say is compared event by event. With
``--peers`` the tools' own commands run one after another on the same clip, with the same weights, at
the rates at which we look. Weights come from ``TIKTOK_RAY_MODELS``, clips by default from
``TIKTOK_RAY_TEST_MEDIA``; ``--old-path`` names a folder of packages that only the older one wants (``lap`` for
0899d06: ``uv pip install --target FOLDER lap``), ``--old-import`` a library that
it imports anyway and shall import first, where its threads race for it (``torch`` for 0899d06).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import psutil

from tiktok_ray.settings import Settings

CLIPS = (
    "video/short_vertical_composite.mp4",
    "video/psd_testvideo.mp4",
    "video/gesture_woman.mp4",
    "video/bigbuckbunny_51.mp4",
    "video/laptop_desk.mp4",
)
REPOSITORY = Path(__file__).resolve().parents[1]
#: Least difference of an event's edges that counts as having moved.
MOVED_S = 0.05
#: Events that may be one although their edges differ by so much.
SAME_S = 1.0
SAMPLED_S = 0.5
#: How an analyzer ends that has done its work.
WORKED = ("ok", "partial", "skipped")
TRIES = 3

COMMAND = "from tiktok_ray.cli import main; main()"
#: The second video of a process: CPU and wall seconds on the last line. ``sys.argv``: clip, report.
WARM = """
import asyncio, os, sys, time
from pathlib import Path
import psutil
try:
    from tiktok_ray.compose import make_graph, make_workers
    from tiktok_ray.run.engine import Engine, Source
    from tiktok_ray.run.worker import limit_threads
except ImportError:
    from tiktok_ray.cli import make_graph, make_workers
    from tiktok_ray.engine import Engine, Source
    from tiktok_ray.worker import limit_threads
from tiktok_ray.settings import Settings

def cpu():
    me = psutil.Process()
    times = [p.cpu_times() for p in (me, *me.children(recursive=True))]
    return sum(t.user + t.system for t in times)

async def run():
    clip = Path(sys.argv[1])
    settings = Settings(workers="threads")
    graph = make_graph()
    workers = make_workers(graph, settings, single=True)
    engine = Engine(graph, workers, settings)
    try:
        await engine.analyze(Source(clip, str(clip)))
        begin, before = time.perf_counter(), cpu()
        await engine.analyze(Source(clip, str(clip)))
        print(cpu() - before, time.perf_counter() - begin)
    finally:
        await workers.close()

limit_threads(1)
asyncio.run(run())
"""

#: Of the tools below, those that raise an error where there is no sound.
NEED_SOUND = ("faster-whisper",)
#: What a user would run instead. ``{clip}`` and ``{out}`` are filled in, and ``{models}``.
PEERS: Mapping[str, Sequence[str]] = {
    "PySceneDetect": ("-m", "scenedetect", "-i", "{clip}", "-o", "{out}", "detect-adaptive", "list-scenes"),
    "faster-whisper": (
        "-c",
        "import sys; from faster_whisper import WhisperModel as W; "
        "parts, _ = W(sys.argv[2], device='cpu', compute_type='int8')"
        ".transcribe(sys.argv[1], word_timestamps=True, vad_filter=True, language='en'); "
        "print(*(p.text for p in parts))",
        "{clip}",
        "{models}/hub/Systran--faster-whisper-tiny.en",
    ),
    "Ultralytics predict": (
        "-c", "from ultralytics.cfg import entrypoint as e; e()", "detect", "predict",
        "model={models}/ultralytics/yolov8n.pt", "source={clip}", "vid_stride={stride}",
        "project={out}", "device=cpu",
    ),
    "Ultralytics pose": (
        "-c", "from ultralytics.cfg import entrypoint as e; e()", "pose", "predict",
        "model={models}/ultralytics/yolov8n-pose.pt", "source={clip}", "vid_stride={stride}",
        "project={out}", "device=cpu",
    ),
    "RapidOCR": (
        "-c",
        "import sys, cv2; from rapidocr import RapidOCR; read = RapidOCR(); "
        "film = cv2.VideoCapture(sys.argv[1]); every = max(1, round(film.get(5) / 2)); k = 0\n"
        "while True:\n"
        "    there, picture = film.read()\n"
        "    if not there: break\n"
        "    if k % every == 0: print(k, read(picture).txts)\n"
        "    k += 1",
        "{clip}",
    ),
    "librosa": (
        "-c",
        "import sys, av, numpy as np, librosa\n"
        "film = av.open(sys.argv[1]); to = av.AudioResampler('flt', 'mono', 22050)\n"
        "if not film.streams.audio: sys.exit()\n"
        "parts = [f.to_ndarray()[0] for p in film.decode(audio=0) for f in to.resample(p)]\n"
        "y = np.concatenate(parts)\n"
        "print(librosa.beat.beat_track(y=y, sr=22050)[0], librosa.onset.onset_detect(y=y, sr=22050).size,\n"
        "      librosa.feature.rms(y=y).mean(), np.nanmedian(librosa.pyin(y, fmin=65, fmax=500, sr=22050)[0]))",
        "{clip}",
    ),
}  # fmt: skip


class Cost(NamedTuple):
    """CPU seconds of a process and all it began, wall seconds, and their peak memory in GiB."""

    cpu_s: float
    wall_s: float
    gib: float


@dataclass(frozen=True)
class Revision:
    """One of the two: its name, where its code lies, further folders of packages, and what is
    imported before its command."""

    name: str
    tree: Path
    packages: tuple[Path, ...] = ()
    imports: tuple[str, ...] = ()

    def environment(self, home: Path) -> dict[str, str]:
        path = os.pathsep.join(map(str, (self.tree, *self.packages)))
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "PYTHONPATH": path, "TIKTOK_RAY_HOME": str(home)}

    @property
    def first(self) -> str:
        """What its scripts begin with."""
        return "".join(f"import {name}; " for name in self.imports)

    def compile(self) -> None:
        """Compile its code, as that of an installed program is from its second start on."""
        words = [sys.executable, "-m", "compileall", "-q", "tiktok_ray", "actors"]
        subprocess.run(words, cwd=self.tree, check=True)

    def cold(self, clip: Path) -> tuple[Cost, dict[str, Any]]:
        """What the command costs in a fresh process, and its report."""
        with tempfile.TemporaryDirectory() as folder:
            how = ("--workers", "threads", "--out", folder)
            words = ["-c", self.first + COMMAND, "analyze", str(clip), *how]
            cost, _ = tried(words, self.environment(Path(folder) / "home"), self.tree)
            report = json.loads(next(Path(folder).glob("*.json")).read_text(encoding="utf-8"))
        return cost, report

    def warm(self, clip: Path) -> Cost:
        """What the second video costs; the memory is that of the whole."""
        with tempfile.TemporaryDirectory() as folder:
            environment = self.environment(Path(folder))
            script = f"{self.first}{WARM}"
            whole, said = tried(["-c", script, str(clip)], environment, self.tree)
        cpu_s, wall_s = map(float, said.splitlines()[-1].split())
        return Cost(cpu_s, wall_s, whole.gib)


def tried(words: Sequence[str], environment: Mapping[str, str], folder: Path) -> tuple[Cost, str]:
    """``measured``, again where it fails: older revisions lose races on a busy machine.

    Only the run that ends well counts. Raises ``RuntimeError`` after ``TRIES``.
    """
    for left in reversed(range(TRIES)):
        try:
            return measured(words, environment, folder)
        except RuntimeError as error:
            if not left:
                raise
            print(f"tried again: {str(error)[-300:]}", file=sys.stderr, flush=True)
    raise AssertionError("there is at least one try")


def measured(
    words: Sequence[str], environment: Mapping[str, str], folder: Path
) -> tuple[Cost, str]:
    """The cost of Python with these arguments, and what it printed. Raises ``RuntimeError``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words], env=dict(environment), cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    peak: list[float] = []
    watch = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    watch.start()
    said, complaints = process.communicate()
    wall = perf_counter() - begin
    watch.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode != 0:
        raise RuntimeError(
            f"{' '.join(words)[:200]} ended with {process.returncode}: {complaints[-2000:]}"
        )
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, wall, max(peak, default=0.0)), said


def _watch(process: subprocess.Popen[str], peak: list[float]) -> None:
    """Collect the proportional set size of a process and its children while it runs, in GiB."""
    while process.poll() is None:
        total = 0
        try:
            root = psutil.Process(process.pid)
            for one in (root, *root.children(recursive=True)):
                total += one.memory_full_info().pss
        except psutil.Error:
            pass
        peak.append(total / 2**30)
        try:
            process.wait(SAMPLED_S)
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """The tree of a revision, gone afterwards."""
    git = ["git", "-C", str(REPOSITORY), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "old"
        subprocess.run(
            [*git, "add", "--detach", str(tree), revision], check=True, capture_output=True
        )
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True, capture_output=True)


class Difference(NamedTuple):
    """What became of the events of one analyzer and kind."""

    what: str
    same: int
    moved: int
    gained: int
    lost: int


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """How the events of two reports differ, by analyzer and kind.

    Events of one label whose edges are at most ``SAME_S`` apart, nearest first, are one; it has
    moved where an edge differs by more than ``MOVED_S``.
    """
    rows = []
    groups = [_by_kind(report["timeline"]) for report in (old, new)]
    for what in sorted({*groups[0], *groups[1]}):
        left, right = (list(group.get(what, ())) for group in groups)
        pairs = sorted(
            (max(abs(a["start"] - b["start"]), abs(a["end"] - b["end"])), i, j)
            for i, a in enumerate(left)
            for j, b in enumerate(right)
            if a.get("label") == b.get("label")
        )
        taken_left: set[int] = set()
        taken_right: set[int] = set()
        moved = 0
        for apart, i, j in pairs:
            if apart <= SAME_S and i not in taken_left and j not in taken_right:
                taken_left.add(i)
                taken_right.add(j)
                moved += apart > MOVED_S
        joined = len(taken_left)
        lost, gained = len(left) - joined, len(right) - joined
        rows.append(Difference(what, joined - moved, moved, gained, lost))
    return rows


def _by_kind(events: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        groups.setdefault(f"{event['analyzer']}: {event['kind']}", []).append(event)
    return groups


def statuses(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """By analyzer, how it ended in each of two reports, with the reason, where that differs."""
    found = {}
    sections = [report["analyzers"] for report in (old, new)]
    for name in sorted({*sections[0], *sections[1]}):
        ends = [each.get(name, {"status": "absent"}) for each in sections]
        if ends[0]["status"] != ends[1]["status"]:
            said = (f"{end['status']} {end.get('reason') or ''}".strip() for end in ends)
            found[name] = (next(said), next(said))
    return found


def uneven(differing: Mapping[str, tuple[str, str]]) -> list[str]:
    """Of the statuses that differ, the analyzers that did their work in one report alone."""
    return [
        name
        for name, ends in differing.items()
        if len({end.split()[0] in WORKED for end in ends}) == 2
    ]


def row(what: str, old: Sequence[Cost], new: Sequence[Cost]) -> str:
    """A line of the table: medians of both, and their ratios."""
    a, b = (Cost(*map(statistics.median, zip(*costs, strict=True))) for costs in (old, new))
    cells = [
        f"{x:.1f} / {y:.1f} = {x / y if y else float('nan'):.2f}" for x, y in zip(b, a, strict=True)
    ]
    cells[2] = f"{b.gib:.2f} / {a.gib:.2f} = {b.gib / a.gib if a.gib else float('nan'):.2f}"
    return f"| {what} | {' | '.join(cells)} |"


def peers(clip: Path) -> dict[str, Cost]:
    """What each of the tools' own commands costs on a clip that has something for it."""
    import av

    with av.open(str(clip)) as film:
        rate, silent = float(film.streams.video[0].average_rate or 30), not film.streams.audio
    found = {}
    for name, words in PEERS.items():
        if silent and name in NEED_SOUND:
            continue
        with tempfile.TemporaryDirectory() as folder:
            given = {
                "clip": clip,
                "out": folder,
                "models": Settings().models,
                "stride": max(1, round(rate / 5)),
            }
            filled = [_filled(word, given) for word in words]
            environment = {**os.environ, "YOLO_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
            found[name], _ = measured(filled, environment, Path(folder))
    return found


def _filled(word: str, given: Mapping[str, Any]) -> str:
    for name, value in given.items():
        word = word.replace(f"{{{name}}}", str(value))
    return word


def options(description: str | None) -> argparse.ArgumentParser:
    """The options of all that put an older revision beside this one."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("revision", metavar="OLD_REV")
    parser.add_argument("clips", nargs="*", type=Path, metavar="CLIP")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--old-path", type=Path, action="append", default=[])
    parser.add_argument("--old-import", action="append", default=[], metavar="MODULE")
    return parser


def chosen(clips: Sequence[Path]) -> list[Path]:
    """The clips that are named, or the usual ones of ``TIKTOK_RAY_TEST_MEDIA``."""
    media = Path(os.environ.get("TIKTOK_RAY_TEST_MEDIA", "."))
    return [clip.resolve() for clip in clips] or [media / clip for clip in CLIPS]


@contextmanager
def both(given: argparse.Namespace) -> Iterator[tuple[Revision, Revision]]:
    """The older revision and this one, compiled."""
    with checked_out(given.revision) as tree:
        packages = tuple(path.resolve() for path in given.old_path)
        old = Revision(given.revision, tree, packages, tuple(given.old_import))
        new = Revision("now", REPOSITORY)
        for one in (old, new):
            one.compile()
        yield old, new


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--no-warm", action="store_true")
    given = parser.parse_intermixed_args()
    clips = chosen(given.clips)
    with both(given) as (old, new):
        compare(old, new, clips, given.rounds, not given.no_warm)
    if given.peers:
        print("\n| clip | tool | CPU s | wall s | GiB |\n|---|---|---|---|---|")
        for clip in clips:
            costs = peers(clip)
            costs["all in a row"] = Cost(
                sum(c.cpu_s for c in costs.values()),
                sum(c.wall_s for c in costs.values()),
                max(c.gib for c in costs.values()),
            )
            for name, c in costs.items():
                print(
                    f"| {clip.name} | {name} | {c.cpu_s:.1f} | {c.wall_s:.1f} | {c.gib:.2f} |",
                    flush=True,
                )


def compare(old: Revision, new: Revision, clips: Sequence[Path], rounds: int, warm: bool) -> None:
    """Run both in turn and print what they cost and where their reports differ."""
    print(f"now / {old.name}, medians of {rounds} rounds in turn\n")
    print("| clip | CPU s | wall s | peak GiB |\n|---|---|---|---|")
    said: list[str] = []
    ends: list[str] = []
    everything: dict[str, list[list[Cost]]] = {}
    for clip in clips:
        colds: list[list[Cost]] = [[], []]
        warms: list[list[Cost]] = [[], []]
        reports: list[dict[str, Any]] = [{}, {}]
        for _ in range(rounds):
            for k, one in enumerate((old, new)):
                cost, reports[k] = one.cold(clip)
                colds[k].append(cost)
                if warm:
                    warms[k].append(one.warm(clip))
        differing = statuses(*reports)
        ends += [f"| {clip.name} | `{name}` | {a} | {b} |" for name, (a, b) in differing.items()]
        alone = uneven(differing)
        if alone:
            print(f"| {clip.name} | not compared: {', '.join(alone)} ran in one alone | | |")
        for what, costs in (("cold", colds), ("warm", warms)):
            if costs[0] and not alone:
                print(row(f"{clip.name}, {what}", *costs), flush=True)
                sums = everything.setdefault(what, [[], []])
                for k in range(2):
                    sums[k] += costs[k]
        said += [f"| {clip.name} | {' | '.join(map(str, d))} |" for d in differences(*reports)]
    for what, costs in everything.items():
        print(row(f"**all clips, {what}**", *costs))
    if ends:
        print(f"\n| clip | analyzer | {old.name} | now |\n|---|---|---|---|")
        print("\n".join(ends))
    print("\n| clip | events | same | moved | gained | lost |\n|---|---|---|---|---|---|")
    print("\n".join(said), flush=True)


if __name__ == "__main__":
    main()
