"""What each model takes of a card or of a CPU, in memory and time.

    python -m benchmarks.gpu_budget            on a card; writes benchmarks/gpu_budget.json
    python -m benchmarks.gpu_budget --cpu      without one; writes benchmarks/gpu_budget_cpu.json

Models are built at their real size with random weights and run by their analyzers, each in a
process of its own: Ray's actors with ``--ray``, plain processes without. All read one made clip of
20 s. Random weights would decide for themselves how much there is to do, so the counts are fixed:
see ``COUNTS``. On a card each process is capped as the planner caps it, for a card of 16 GiB.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import random_models as models
from tiktok_ray.analyzer import Analyzer, Variant
from tiktok_ray.media import Audio, Frames, Levels, Speech
from tiktok_ray.media.spans import Span
from tiktok_ray.report import rounded, said
from tiktok_ray.run import nvml
from tiktok_ray.run.placement import CONTEXT_GIB, Assignment, Card, gpu_share, plan
from tiktok_ray.settings import Settings

CAP_GIB = 16.0
CLIP_S, SHOT_S, SPOKEN_S = 20.0, 4.0, 10.0
#: Counts that random weights would choose for themselves, fixed to what is typical.
TOKENS, WHOLE_TOKENS, PHRASE_TOKENS, SAID = 80, 160, 24, 75
COUNTS = {
    "clip": f"{CLIP_S:g} s, 512 x 910 pixels, {SHOT_S:g} s a shot, {SPOKEN_S:g} s spoken",
    "describers": f"5 windows of 8 pictures (SmolVLM2: 4, BLIP-2: 1) of at most 100 352 pixels, "
    f"{TOKENS} tokens an answer, {WHOLE_TOKENS} for the whole; BLIP-2: 5 questions a window, "
    f"{PHRASE_TOKENS} tokens each",
    "boxes": "none: random detectors find nothing above their floor, so that suppression and "
    "tracking cost nothing here",
    "beams": f"one (describers choose the likeliest token); Whisper five, {SAID} tokens a window",
    "text regions": "none: text is read on the CPU (PP-OCR)",
}
#: What the older installation was meant to reach.
OLD_TARGETS = {
    "seconds a video": "< 180",
    "realtime factor": "< 3",
    "GPU use in percent": "85-95",
    "memory in GiB": "< 16",
}


class Job(NamedTuple):
    """One variant of one analyzer, and how its weights are made; ``file``: what they are called,
    where they are one file."""

    analyzer: str
    variant: str
    make: Callable[[Path], None]
    file: str | None = None


B0: dict[str, Any] = {"depths": (2, 2, 2, 2), "widths": (32, 64, 160, 256), "decoder": 256}
B2: dict[str, Any] = {"depths": (3, 4, 6, 3), "widths": (64, 128, 320, 512), "decoder": 768}
SMOL: dict[str, Any] = dict(zip(("text", "vision", "scale"), models.SMOL_500M, strict=True))
DESCRIBER = "qwen2_vl_temporal"


def _yolo(analyzer: str, variant: str) -> Job:
    make = partial(models.yolov8, name=f"{variant}.yaml")
    return Job(analyzer, variant, make, f"{variant}.pt")


JOBS = (
    Job(DESCRIBER, "qwen2-vl-7b-nf4", partial(models.qwen2_vl, text=models.QWEN2_7B)),
    Job(DESCRIBER, "qwen2-vl-2b", partial(models.qwen2_vl, text=models.QWEN2_2B)),
    Job(DESCRIBER, "qwen2-vl-2b-nf4", partial(models.qwen2_vl, text=models.QWEN2_2B)),
    Job(DESCRIBER, "qwen2-vl-2b-cpu", partial(models.qwen2_vl, text=models.QWEN2_2B)),
    Job(DESCRIBER, "blip2-opt-2.7b-int8", models.blip2_opt),
    Job(DESCRIBER, "blip2-opt-2.7b-nf4", models.blip2_opt),
    Job(DESCRIBER, "auroracap-7b-nf4", models.auroracap),
    Job(DESCRIBER, "smolvlm2-500m", partial(models.smolvlm2, **SMOL)),
    Job("content_quality", "clip-vit-base-patch32", models.clip_b32),
    Job("background_segmentation", "segformer-b2", partial(models.segformer, **B2)),
    Job("background_segmentation", "segformer-b0", partial(models.segformer, **B0)),
    Job("audio_environment", "ast", models.ast),
    Job("speech_emotion", "wav2vec2-er", models.wav2vec2_er),
    Job(
        "speech_transcription",
        "large-v3-turbo",
        partial(models.whisper, sizes=models.WHISPER_TURBO, said=SAID),
    ),
    _yolo("object_detection", "yolov8m"),
    _yolo("object_detection", "yolov8n"),
    _yolo("body_pose", "yolov8m-pose"),
    _yolo("body_pose", "yolov8n-pose"),
)
#: Without a card: what runs on the CPU, and the describers that might.
ON_CPU = (
    "qwen2-vl-2b-cpu", "smolvlm2-500m", "clip-vit-base-patch32", "segformer-b0",
    "ast", "wav2vec2-er", "yolov8n", "yolov8n-pose",
)  # fmt: skip
#: Models of the plan that are not built here, each with the reason.
NOT_BUILT = {
    "age_estimation": "published as ONNX graphs only",
    "text_overlay": "runs on the CPU with the weights in its wheel",
    "eye_tracking": "runs on the CPU, published as a MediaPipe task only",
}


# The clip


def inputs_of(analyzer: type[Analyzer]) -> dict[str, Any]:
    """What an analyzer reads of the clip: a made one, moving noise with a cut every 4 s."""
    from actors.cut_analysis import Cuts, Shot
    from tiktok_ray.graph import Graph

    count = round(CLIP_S / SHOT_S)
    starts = [k * SHOT_S for k in range(count)]
    shots = [Shot(start=t, end=t + SHOT_S, index=k) for k, t in enumerate(starts)]
    made: dict[str, Callable[[], Any]] = {
        "frames": lambda: pictures(2.0, 910, 512),
        "dense": lambda: pictures(10.0, 568, 320),
        "stills": lambda: pictures(0.25, 1280, 720),
        "audio": sound,
        "speech": lambda: Speech((Span(2.0, 2.0 + SPOKEN_S),)),
        "cut_analysis": lambda: Cuts.model_construct(shots=shots),
    }
    import actors

    edges = Graph(actors.ANALYZERS).edges[analyzer.name]
    return {e.source: made[e.source]() if e.source in made else None for e in edges}


def pictures(fps: float, height: int, width: int) -> Frames:
    rng = np.random.default_rng(0)
    times = np.arange(0.0, CLIP_S, 1 / fps)
    noise = rng.integers(16, 236, (height * 3 // 2 + 64, width), np.uint8)
    i420 = np.stack(
        [np.roll(noise, 3 * k, 1)[k % 64 :][: height * 3 // 2] for k in range(len(times))]
    )
    i420.flags.writeable = False
    return Frames(times, i420, CLIP_S)


def sound() -> Audio:
    samples = np.random.default_rng(1).normal(0, 0.05, round(CLIP_S * 16_000)).astype(np.float32)
    power = np.full(round(CLIP_S * 10), 0.0025)
    return Audio(samples, Levels(power, power * 0 + 0.2, power * 0, 48_000, 1), (Span(0, CLIP_S),))


# One model


class Measured:
    """One analyzer with its model in a process of its own; every method answers in plain values."""

    def __init__(self, job: Job, assignment: Assignment, threads: int) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from tiktok_ray.run.worker import limit_threads

        limit_threads(threads)
        import actors
        from tiktok_ray.run.worker import Worker

        kind = {a.name: a for a in actors.ANALYZERS}[job.analyzer]
        options: Any = None
        if job.analyzer == DESCRIBER:
            options = kind.options_type.model_validate(
                {"tokens": TOKENS, "whole_tokens": WHOLE_TOKENS, "seconds": 3600}
            )
        self.worker = Worker(kind, options, assignment)
        self.worker.threads = threads
        self.inputs = inputs_of(kind)

    def load(self) -> dict[str, Any]:
        from tiktok_ray.run.worker import memory_now

        reply = self.worker.load()
        if reply.status != "ok":
            raise RuntimeError(reply.reason)
        return {
            "load_s": reply.seconds,
            "loaded_pss_gib": memory_now().pss_gib,
            **{f"loaded_{name}": value for name, value in self._card().items()},
        }

    def run(self) -> dict[str, Any]:
        begin = time.process_time()
        reply = self.worker.run(self.inputs)
        if reply.status not in ("ok", "partial"):
            raise RuntimeError(f"{reply.status}: {reply.reason}")
        found = {
            "seconds": reply.seconds,
            "cpu_s": time.process_time() - begin,
            "peak_pss_gib": reply.memory.pss_gib,
            **self._card(),
        }
        windows = getattr(reply.output, "windows", None)
        if windows and hasattr(windows[0], "tokens"):
            found["tokens"] = sum(w.tokens for w in windows)
        return found

    def _card(self) -> dict[str, float]:
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_initialized():
            return {}
        from tiktok_ray.run.worker import memory_now

        taken, reserved = (
            memory_now(on_card=True, torch=True).vram_gib,
            torch.cuda.memory_reserved() / 2**30,
        )
        return {
            "weights_gib": torch.cuda.memory_allocated() / 2**30,
            "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
            "reserved_gib": torch.cuda.max_memory_reserved() / 2**30,
            "context_gib": max(0.0, taken - reserved),
        }


def _serve(pipe: Any, *args: Any) -> None:
    """A process: makes a ``Measured`` and does what is asked through the pipe."""
    try:
        held = Measured(*args)
        pipe.send({})
        while (name := pipe.recv()) is not None:
            pipe.send(getattr(held, name)())
    except Exception as error:  # noqa: BLE001 - goes to the parent, which stops
        pipe.send({"error": said(error)})


class Process:
    """A ``Measured`` in a plain process."""

    def __init__(self, job: Job, assignment: Assignment, threads: int, share: float) -> None:
        del share
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, job, assignment, threads))
        self.process.start()
        theirs.close()
        self._answer()

    def ask(self, name: str) -> dict[str, Any]:
        self.pipe.send(name)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = self.pipe.recv()
        except EOFError:
            raise RuntimeError(f"process ended with {self.process.exitcode}") from None
        if "error" in found:
            raise RuntimeError(found["error"])
        return found

    def close(self) -> None:
        if self.process.is_alive():
            self.pipe.send(None)
        self.process.join(60)
        if self.process.is_alive():
            self.process.kill()


class Actor:
    """A ``Measured`` in one of Ray's actors, with its share of the card."""

    def __init__(self, job: Job, assignment: Assignment, threads: int, share: float) -> None:
        import ray

        kind = ray.remote(Measured).options(num_cpus=0, num_gpus=share)
        self.actor, self.ray = kind.remote(job, assignment, threads), ray

    def ask(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ray.get(getattr(self.actor, name).remote())
        return found

    def close(self) -> None:
        self.ray.kill(self.actor)


# All


def variant_of(job: Job) -> Variant:
    """The analyzer's own declaration. Raises ``StopIteration`` for a name it does not have."""
    import actors

    kind = next(a for a in actors.ANALYZERS if a.name == job.analyzer)
    return next(v for v in kind.variants if v.name == job.variant)


def place_of(job: Job, root: Path) -> Path:
    """Make a job's weights where they are not yet; returns their folder or file."""
    named = job.variant
    for suffix in ("-nf4", "-int8", "-cpu"):  # made of the same weights while they load
        named = named.removesuffix(suffix)
    place = root / named / (job.file or "")
    if not place.exists() or not (job.file or (place / "config.json").exists()):
        print(f"  making {job.variant} …", flush=True)
        maker = multiprocessing.get_context("spawn").Process(target=job.make, args=(place,))
        maker.start()
        maker.join()
        if maker.exitcode:
            raise RuntimeError(f"making {job.variant} ended with {maker.exitcode}")
    return place


def assigned(job: Job, place: Path, device: str, share: float) -> Assignment:
    variant = variant_of(job)
    files = dict.fromkeys(variant.weights, place)
    gib = sum(variant.vram or ()) + CONTEXT_GIB if device == "cuda" else 0.0
    return Assignment(job.analyzer, variant, device, files, share, 0, gib)


def alone(job: Job, place: Path, device: str, args: argparse.Namespace) -> dict[str, Any]:
    """One model by itself: loaded, run once to warm up on a card, then timed."""
    share = 1.0 if device == "cuda" else 0.0
    held = (Actor if args.ray else Process)(
        job, assigned(job, place, device, share), args.threads, share
    )
    try:
        found = held.ask("load")
        if device == "cuda":
            held.ask("run")
        runs = [held.ask("run") for _ in range(args.repeat)]
    finally:
        held.close()
    median = statistics.median(run["seconds"] for run in runs)
    row = {"analyzer": job.analyzer, "variant": job.variant, **found, **runs[-1]}
    row |= {"seconds": median, "seconds_per_video_minute": median * 60 / CLIP_S}
    return judged({**row, "load_average": os.getloadavg()[0]}, device)


def judged(row: Mapping[str, Any], device: str) -> dict[str, Any]:
    """A row with what is planned for it, and whether it keeps to that: its memory within the plan,
    its time for the clip within the analyzer's limit. None where nothing is planned."""
    import actors

    job = next(job for job in JOBS if job.variant == row["variant"])
    variant = variant_of(job)
    limit = next(a for a in actors.ANALYZERS if a.name == job.analyzer).needs.timeout_s
    planned: float | None
    if device == "cpu":
        planned, taken = variant.ram_gib if variant.cpu else None, row["peak_pss_gib"]
    else:
        planned = sum(variant.vram or ()) + CONTEXT_GIB
        taken = row["reserved_gib"] + row["context_gib"]
    within = None if planned is None else taken <= planned and row["seconds"] <= limit
    return {**row, "planned_gib": planned, "timeout_s": limit, "within_limits": within}


class Watch:
    """Samples a card by NVML while something runs: memory taken, and how busy it is."""

    def __init__(self) -> None:
        import pynvml

        pynvml.nvmlInit()
        self.nvml, self.card = pynvml, pynvml.nvmlDeviceGetHandleByIndex(0)
        self.busy: list[int] = []
        self.taken: list[float] = []
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self.done.wait(0.1):
            self.busy.append(self.nvml.nvmlDeviceGetUtilizationRates(self.card).gpu)
            self.taken.append(self.nvml.nvmlDeviceGetMemoryInfo(self.card).used / 2**30)

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()


def together(
    jobs: Sequence[Job], places: Mapping[str, Path], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """All models resident as planned for ``CAP_GIB``; then one and four videos in flight."""
    card = Card(0, CAP_GIB)
    kind = Actor if args.ray else Process
    held = []
    for job in jobs:
        gib = sum(variant_of(job).vram or ()) + CONTEXT_GIB
        share = gpu_share(gib, card)
        held.append(
            kind(job, assigned(job, places[job.variant], "cuda", share), args.threads, share)
        )
    found = []
    try:
        for one in held:
            one.ask("load")
            one.ask("run")
        for videos in (1, 4):
            with Watch() as watch:
                begin = time.perf_counter()
                # A model takes one video at a time, as in the engine: the others wait for it.
                workers = [threading.Thread(target=_repeat, args=(one, videos)) for one in held]
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.join()
                wall = time.perf_counter() - begin
            found.append(
                {
                    "videos_in_flight": videos,
                    "wall_s": wall,
                    "seconds_a_video": wall / videos,
                    "realtime_factor": wall / videos / CLIP_S,
                    "nvml_peak_gib": max(watch.taken),
                    "gpu_use_percent": statistics.mean(watch.busy),
                }
            )
    finally:
        for one in held:
            one.close()
    return found


def _repeat(held: Any, times: int) -> None:
    for _ in range(times):
        held.ask("run")


def resident() -> list[Job]:
    """The jobs that the planner puts on a card of ``CAP_GIB`` with all weights at hand."""
    import actors

    made = plan(actors.ANALYZERS, Settings(), cards=[Card(0, CAP_GIB)], assume_weights=True)
    on_card = {(n, a.variant.name) for n, a in made.assignments.items() if a.device == "cuda"}
    return [job for job in JOBS if (job.analyzer, job.variant) in on_card]


def machine() -> dict[str, Any]:
    """What this was measured on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
    }


def card() -> dict[str, Any]:
    """The first card by NVML. Raises ``nvml.NoDriver`` where there is none."""
    first = nvml.cards()[0]
    return {"card": first.name, "driver": first.driver, "total_gib": first.total_gib}


COLUMNS = {
    "variant": "variant", "load_s": "load s", "loaded_weights_gib": "weights GiB",
    "peak_gib": "peak GiB", "context_gib": "context GiB", "loaded_pss_gib": "loaded PSS GiB",
    "peak_pss_gib": "peak PSS GiB", "planned_gib": "planned GiB", "seconds": "s a clip",
    "cpu_s": "CPU s a clip", "timeout_s": "limit s", "within_limits": "within limits",
    "seconds_per_video_minute": "s a video minute", "load_average": "load average",
}  # fmt: skip


def table(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str] = COLUMNS) -> str:
    """Rows as a Markdown table, of the columns that some row has."""
    rows = list(rows)
    kept = {k: v for k, v in columns.items() if any(row.get(k) is not None for row in rows)}
    lines = [f"| {' | '.join(kept.values())} |", f"|{'---|' * len(kept)}"]
    for row in rows:
        words = [_cell(row.get(k)) for k in kept]
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "" if value is None else "yes" if value else "no"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def against_targets(shared: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The older installation's targets beside what was measured with four videos in flight."""
    last = shared[-1]
    figures = {
        "seconds a video": (last["seconds_a_video"], last["seconds_a_video"] < 180),
        "realtime factor": (last["realtime_factor"], last["realtime_factor"] < 3),
        "GPU use in percent": (last["gpu_use_percent"], 85 <= last["gpu_use_percent"] <= 95),
        "memory in GiB": (last["nvml_peak_gib"], last["nvml_peak_gib"] < 16),
    }
    return [
        {"target": name, "old": OLD_TARGETS[name], "measured": value, "holds": holds}
        for name, (value, holds) in figures.items()
    ]


def written(result: Mapping[str, Any]) -> str:
    """The result as JSON text, its models in the order of ``JOBS``."""
    order = [job.variant for job in JOBS]
    rows = sorted(result["models"], key=lambda row: order.index(row["variant"]))
    plain = rounded({**result, "models": rows}, 3)
    return json.dumps(plain, indent=1, ensure_ascii=False) + "\n"


DOCUMENT = Path(__file__).parents[1] / "docs" / "describers.md"
MARKS = ("<!-- measured -->", "<!-- end of measured -->")


def collected(files: Iterable[Path]) -> dict[str, Any]:
    """Results of several runs on the CPU as one: of each model the row of the last file, beside
    what is planned today."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    rows = {row["variant"]: judged(row, "cpu") for result in results for row in result["models"]}
    return {**results[-1], "models": list(rows.values())}


def documented(text: str, result: Mapping[str, Any]) -> str:
    """The document with the tables of a run on the CPU between its ``MARKS``."""
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    facts = (
        f"{result['date']}, {result['cpu']}, {result['cores']} cores, {result['threads']} threads"
    )
    counts = "\n".join(f"- {name}: {words}" for name, words in result["counts"].items())
    rows = json.loads(written(result))["models"]
    return f"{before}{MARKS[0]}\n{facts}:\n\n{table(rows)}\n\n{counts}\n{MARKS[1]}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cpu", action="store_true", help="measure on the CPU")
    parser.add_argument("--ray", action="store_true", help="in Ray's actors")
    parser.add_argument("--only", help="variants, joined by commas")
    parser.add_argument("--repeat", type=int, default=1, help="timed runs; their median counts")
    parser.add_argument("--threads", type=int, default=2, help="threads of each process")
    parser.add_argument("--models", type=Path, help="keep the made weights in this folder")
    parser.add_argument("--out", type=Path, help="file to write")
    parser.add_argument(
        "--collect", type=Path, nargs="+", help="measure nothing: put results on the CPU together"
    )
    args = parser.parse_args()
    if args.collect:
        result = collected(args.collect)
        Path(__file__).with_name("gpu_budget_cpu.json").write_text(written(result), "utf-8")
        DOCUMENT.write_text(documented(DOCUMENT.read_text("utf-8"), result), "utf-8")
        return
    facts: dict[str, Any] = machine() if args.cpu else machine() | card()
    chosen = args.only.split(",") if args.only else list(ON_CPU) if args.cpu else None
    jobs = [
        job
        for job in JOBS
        if (job.variant in chosen if chosen else args.cpu or variant_of(job).vram is not None)
    ]
    if args.ray:
        import ray

        ray.init(address="local", num_gpus=0 if args.cpu else 1, include_dashboard=False)
    root = args.models or Path(tempfile.mkdtemp(prefix="tiktok-ray-budget-"))
    out = args.out or Path(__file__).with_name(f"gpu_budget{'_cpu' if args.cpu else ''}.json")
    result = {
        "date": datetime.date.today().isoformat(),
        **facts,
        "basis": "measured",
        "device": "cpu" if args.cpu else "cuda",
        "workers": "ray" if args.ray else "processes",
        "threads": args.threads,
        "counts": COUNTS,
        "not_built": NOT_BUILT,
        "models": [],
    }
    if args.only and out.exists():  # the other rows stay
        old = json.loads(out.read_text(encoding="utf-8"))["models"]
        result["models"] = [row for row in old if row["variant"] not in (chosen or ())]
    try:
        places: dict[str, Path] = {}
        for job in jobs:
            places[job.variant] = place_of(job, root)
            print(f"{job.analyzer}: {job.variant}", flush=True)
            row = alone(job, places[job.variant], result["device"], args)
            print(table([row]), flush=True)
            result["models"].append(row)
            out.write_text(written(result), encoding="utf-8")
        if not args.cpu and args.only is None:
            result["cap_gib"] = CAP_GIB
            result["together"] = together(resident(), places, args)
            result["targets"] = against_targets(result["together"])
            print(table(result["together"], {k: k for k in result["together"][0]}))
            print(table(result["targets"], {k: k for k in result["targets"][0]}))
    finally:
        if args.models is None:
            shutil.rmtree(root, ignore_errors=True)
    print(table(result["models"]))
    out.write_text(written(result), encoding="utf-8")
    print(f"written: {out}")


if __name__ == "__main__":
    main()
