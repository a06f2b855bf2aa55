"""Failure policy, over threads: no Ray, no model."""

import asyncio
import sys
from types import SimpleNamespace

import pytest

from tests import fakes
from tests.conftest import scene
from tiktok_ray.analyzer import Partial, Sees, Variant
from tiktok_ray.graph import Graph
from tiktok_ray.media import Frames, InputError, Speech
from tiktok_ray.media.spans import Span
from tiktok_ray.media.writer import write_clip
from tiktok_ray.report import MemoryUse, Missing, VideoReport, readable
from tiktok_ray.run.engine import Cores, Engine, Source, Tracks, WorkerDied
from tiktok_ray.run.placement import Assignment, plan
from tiktok_ray.run.threads import LocalWorkers
from tiktok_ray.run.worker import Reply, Worker, memory_now


class Speechless(fakes.Count):
    def headline(self):
        raise ValueError("nothing to say")

    def events(self):
        raise ValueError("no events either")


def engine_for(analyzers, settings, **more):
    graph = Graph(analyzers)
    workers = LocalWorkers(graph, plan(graph.analyzers.values(), settings), settings)
    return Engine(graph, workers, settings, **more)


async def analyze(clip, analyzers, settings, **more):
    engine = engine_for(analyzers, settings)
    return await engine.analyze(Source(clip, "clip.mp4"), **more)


def behaved(settings, how, flag=""):
    return settings.model_copy(update={"options": {"plain": {"how": how, "flag": str(flag)}}})


async def test_a_whole_report(clip, settings):
    engine = engine_for([fakes.Plain, fakes.Softly, fakes.Needy], settings)
    seen = []
    report = await engine.analyze(Source(clip, "clip.mp4"), listen=seen.append)
    assert report.analyzers["plain"].output == fakes.Count(n=60)
    assert report.analyzers["softly"].output == fakes.Sum(n=60)
    assert report.analyzers["needy"].output == fakes.Sum(n=61)
    assert report.analyzers["plain"].coverage.samples == 60
    assert report.analyzers["plain"].limits is None, "nobody has stated any"
    assert report.video.id == report.video.sha256[:16]
    [event] = report.timeline
    assert (event.start, event.end) == (0.5, pytest.approx(2.0, abs=1e-3))
    assert report.run.wall_s > 0
    assert {p.name: p.state for p in seen}["plain"] == "ok"
    again = VideoReport.model_validate_json(report.to_json())
    assert again.analyzers["needy"].output == {"n": 61}


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        ("raise", "failed", "ValueError: broken inside"),
        ("load fails", "failed", "load: RuntimeError: bad checkpoint"),
        ("skip", "skipped", "nothing to see"),
        ("hang", "timed_out", "timed out after 2 s"),
        ("write", "failed", "read-only"),
        ("memory always", "failed", "MemoryError: never enough"),
    ],
)
async def test_a_failure_stays_where_it_is(clip, settings, how, status, words):
    limit = 2.0 if how == "hang" else 60.0
    settings = behaved(settings, how).model_copy(update={"timeout_factor": limit})
    report = await analyze(
        clip, [fakes.Behaved, fakes.Softly, fakes.Needy, fakes.Listener], settings
    )
    section = report.analyzers["plain"]
    assert section.status == status
    assert words in section.reason
    assert section.output is None
    assert report.analyzers["softly"].output == fakes.Sum(n=None)
    assert report.analyzers["needy"].status == "skipped"
    assert f"needs plain, which is {status}" in report.analyzers["needy"].reason
    assert report.analyzers["listener"].status == "ok"


async def test_a_load_that_hangs_is_limited(clip, settings):
    settings = behaved(settings, "load hangs").model_copy(update={"load_timeout_s": 0.3})
    report = await analyze(clip, [fakes.Behaved], settings)
    assert report.analyzers["plain"].status == "failed"
    assert "load: timed out after 0.3" in report.analyzers["plain"].reason


async def test_the_next_video_runs_clean_after_a_hang(clip, settings, tmp_path):
    settings = behaved(settings, "hang once", tmp_path / "flag")
    settings = settings.model_copy(update={"timeout_factor": 3.0})
    engine = engine_for([fakes.Behaved], settings)
    first = await engine.analyze(Source(clip, "a"))
    second = await engine.analyze(Source(clip, "b"))
    assert first.analyzers["plain"].status == "timed_out"
    assert second.analyzers["plain"].status == "ok"


@pytest.mark.parametrize(
    ("error", "exhausted"),
    [
        (MemoryError(), True),
        (RuntimeError("Unable to allocate memory for the graph"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("can't start new thread"), True),
        (ValueError("broken inside"), False),
        (OSError(28, "No space left on device"), False),
    ],
)
def test_that_memory_ran_out_is_told_from_other_failures(error, exhausted):
    class Failing(fakes.Behaved):
        def analyze(self, thumbs):
            raise error

    worker = Worker(Failing, None, Assignment("plain", Variant("none"), "cpu", {}))
    reply = worker.run({"thumbs": None})
    assert (reply.status, reply.exhausted) == ("failed", exhausted)


async def test_a_model_without_memory_is_loaded_anew(clip, settings):
    patient = behaved(settings, "memory always").model_copy(update={"timeout_factor": 60.0})
    engine = engine_for([fakes.Behaved], patient)
    await engine.analyze(Source(clip, "a"))
    assert not engine.workers._workers["plain"].loaded


async def test_memory_that_runs_out_is_tried_with_half_the_batch(clip, settings):
    patient = behaved(settings, "memory").model_copy(update={"timeout_factor": 60.0})
    report = await analyze(clip, [fakes.Behaved], patient)
    assert report.analyzers["plain"].status == "ok"


async def test_missing_weights_are_told_before_anything_runs(clip, settings):
    report = await analyze(clip, [fakes.Wanting, fakes.Half], settings)
    wanting, half = report.analyzers["wanting"], report.analyzers["half"]
    assert wanting.status == "unavailable"
    assert "nowhere/big.pt" in wanting.reason
    assert "tiktok-ray models pull wanting" in wanting.reason
    assert half.status == "partial"
    assert [m.part for m in half.missing] == ["words", "smell"]
    assert half.output is not None


class Windowed(fakes.Plain):
    """What it can tell depends on its variant."""

    sees = (Sees("things", "thumbs"),)
    variants = (Variant("slow", sees=(Sees("sounds", "thumbs", samples=0, seconds=2.0),)),)


async def test_limits_are_those_of_the_analyzer_and_of_its_variant(clip, settings):
    report = await analyze(clip, [Windowed], settings)
    limits = {one.of: one.shorter_than_s for one in report.analyzers["plain"].limits}
    assert list(limits) == ["things", "sounds"]
    assert limits["sounds"] == 2.0


@pytest.mark.parametrize("cached", [False, True])
async def test_a_missing_part_says_why_its_source_has_nothing(clip, settings, cached):
    analyzers = [fakes.Behaved, fakes.Half, fakes.Dependent]
    skipping = behaved(settings, "skip")
    if cached:
        _, report, _ = await asked_again(clip, analyzers, skipping, Memory())
    else:
        report = await analyze(clip, analyzers, skipping)
    reasons = {m.part: m.reason for m in report.analyzers["dependent"].missing}
    weights = next(m.reason for m in report.analyzers["half"].missing if m.part == "words")
    assert "nowhere/half.pt" in weights
    assert reasons == {
        "sum": "plain produced no output (skipped: nothing to see)",
        "words": f"half has no words ({weights})",
        "smell": "half has no smell (nobody can)",
        "taste": "half has no taste",
    }


async def test_selection(clip, settings):
    report = await analyze(clip, [fakes.Plain, fakes.Needy, fakes.Softly], settings, only=["needy"])
    assert {n: s.status for n, s in report.analyzers.items()} == {
        "plain": "ok",
        "needy": "ok",
        "softly": "skipped",
    }
    assert report.analyzers["softly"].reason == "not selected"


async def test_no_sound_is_skipped_with_its_reason(tmp_path, settings):
    mute = write_clip(tmp_path / "mute.mp4", [scene(1)] * 5)
    report = await analyze(mute, [fakes.Listener], settings)
    assert report.analyzers["listener"].status == "skipped"
    assert report.analyzers["listener"].reason == "no audio track"


@pytest.mark.parametrize(
    ("spoken", "loaded"), [((), False), ((Span(0.2, 0.8),), True)], ids=["silence", "speech"]
)
async def test_nothing_is_loaded_for_speech_where_nobody_speaks(
    clip, settings, monkeypatch, spoken, loaded
):
    decoder = sys.modules["tiktok_ray.media.decode"]  # ``media`` itself names its function so
    monkeypatch.setattr(decoder, "detect_speech", lambda audio: Speech(spoken))
    engine = engine_for([fakes.Hearer, fakes.Listener], settings)
    engine.workers = counting = Counting(engine.workers)
    report = await engine.analyze(Source(clip, "a"))
    assert (("load", "hearer") in counting.asked) == loaded
    assert ("load", "listener") in counting.asked, "there is sound"
    section = report.analyzers["hearer"]
    assert section.status == ("ok" if loaded else "skipped")
    assert section.reason == (None if loaded else "nobody speaks")


async def test_nothing_is_loaded_for_sound_where_there_is_none(tmp_path, settings):
    engine = engine_for([fakes.Plain, fakes.Listener], settings)
    engine.workers = counting = Counting(engine.workers)
    await engine.analyze(Source(write_clip(tmp_path / "mute.mp4", [scene(1)] * 5), "a"))
    assert [name for call, name, *_ in counting.asked if call == "load"] == ["plain"]


async def test_what_is_no_video_is_an_error_of_the_request(tmp_path, settings):
    path = tmp_path / "no.mp4"
    path.write_text("nothing")
    with pytest.raises(InputError) as caught:
        await analyze(path, [fakes.Plain, fakes.Needy], settings)
    assert caught.value.type == "not_video"


class Dying:
    """Workers whose analyzer dies a given number of times."""

    def __init__(self, inner, times):
        self.inner, self.times, self.plan = inner, times, inner.plan

    async def run(self, name, inputs, timeout_s) -> Reply:
        if self.times:
            self.times -= 1
            raise WorkerDied("killed by signal 9")
        return await self.inner.run(name, inputs, timeout_s)

    async def decode(self, path, want) -> Tracks:
        return await self.inner.decode(path, want)

    def __getattr__(self, name):
        return getattr(self.inner, name)


@pytest.mark.parametrize(("times", "status"), [(1, "ok"), (2, "failed")])
async def test_a_death_is_tried_once_more(clip, settings, times, status):
    engine = engine_for([fakes.Plain], settings)
    engine.workers = Dying(engine.workers, times)
    report = await engine.analyze(Source(clip, "a"))
    assert report.analyzers["plain"].status == status
    if status == "failed":
        assert "died twice: killed by signal 9" in report.analyzers["plain"].reason


class Memory:
    def __init__(self):
        self.kept = {}

    def get(self, key, kind):
        text = self.kept.get(key)
        return None if text is None else kind.model_validate_json(text)

    def put(self, key, output):
        self.kept[key] = output.model_dump_json()


async def test_only_what_changed_is_computed_again(clip, settings):
    cache = Memory()
    analyzers = [fakes.Plain, fakes.Needy]
    await engine_for(analyzers, settings, cache=cache).analyze(Source(clip, "a"))
    again = await engine_for(analyzers, settings, cache=cache).analyze(Source(clip, "a"))
    assert [s.cached for s in again.analyzers.values()] == [True, True]
    assert again.analyzers["needy"].output == fakes.Sum(n=61)
    changed = settings.model_copy(
        update={"tracks": settings.tracks.model_copy(update={"frames_fps": 3.0})}
    )
    other = await engine_for(analyzers, changed, cache=cache).analyze(Source(clip, "a"))
    assert [s.cached for s in other.analyzers.values()] == [None, None]


async def test_failures_are_not_cached(clip, settings):
    cache = Memory()
    engine = engine_for([fakes.Behaved], behaved(settings, "raise"), cache=cache)
    await engine.analyze(Source(clip, "a"))
    assert [key for key in cache.kept if key.startswith("plain")] == []


class Counting:
    """Workers that count what is asked of them."""

    def __init__(self, inner):
        self.inner, self.plan, self.asked = inner, inner.plan, []

    async def start(self, names):
        self.asked.append(("start", *sorted(names)))
        await self.inner.start(names)

    async def decode(self, path, want):
        self.asked.append(("decode", *sorted(want)))
        return await self.inner.decode(path, want)

    async def load(self, name):
        self.asked.append(("load", name))
        return await self.inner.load(name)

    async def run(self, name, inputs, timeout_s):
        self.asked.append(("run", name))
        return await self.inner.run(name, inputs, timeout_s)

    def __getattr__(self, name):
        return getattr(self.inner, name)


async def asked_again(clip, analyzers, settings, cache, again=None):
    """Both reports of a video analyzed twice, and what the second took."""
    first = await engine_for(analyzers, settings, cache=cache).analyze(Source(clip, "a"))
    engine = engine_for(analyzers, again or settings, cache=cache)
    engine.workers = counting = Counting(engine.workers)
    second = await engine.analyze(Source(clip, "a"))
    return first, second, counting.asked


async def test_what_is_known_whole_is_neither_decoded_nor_loaded(clip, settings):
    analyzers = [fakes.Plain, fakes.Needy, fakes.Half, fakes.Wanting, fakes.Listener]
    first, second, asked = await asked_again(clip, analyzers, settings, Memory())
    assert asked == []
    assert (second.run.decode_s, second.run.load_s, second.run.memory) == (0.0, {}, {})
    assert second.video == first.video
    assert second.timeline == first.timeline
    told = ("status", "reason", "missing", "model", "coverage", "limits", "output")
    for name, section in first.analyzers.items():
        known = second.analyzers[name]
        assert [getattr(known, field) for field in told] == [
            getattr(section, field) for field in told
        ]
        assert known.cached == (True if name != "wanting" else None)


async def test_only_what_is_not_known_is_loaded_and_only_its_tracks_decoded(clip, settings):
    analyzers = [fakes.Behaved, fakes.Needy, fakes.Listener]
    changed = behaved(settings, "slow")
    first, second, asked = await asked_again(clip, analyzers, settings, Memory(), changed)
    assert ("start", "needy", "plain") in asked
    assert ("decode", "thumbs") in asked, "the sound is not decoded again"
    assert ("run", "listener") not in asked
    assert ("load", "listener") not in asked
    assert ("run", "plain") in asked
    assert ("run", "needy") not in asked, "what it would be given is what it was given"
    assert second.video == first.video
    assert second.analyzers["listener"].coverage == first.analyzers["listener"].coverage


class Passing(fakes.Plain):
    """Gives half, and the whole another time."""

    lasting = False

    def analyze(self, thumbs: Frames) -> fakes.Count | Partial:  # type: ignore[override]
        missing = Missing(part="rest", reason="no time")
        return Partial(fakes.Count(n=1), (missing,), lasting=self.lasting)


@pytest.mark.parametrize("lasting", [False, True])
async def test_what_another_try_could_make_is_tried_again(clip, settings, monkeypatch, lasting):
    monkeypatch.setattr(Passing, "lasting", lasting)
    _, second, asked = await asked_again(clip, [Passing], settings, Memory())
    assert second.analyzers["plain"].status == "partial"
    assert (("run", "plain") in asked) is not lasting


async def test_why_something_was_skipped_is_known_too(clip, settings):
    skipping = behaved(settings, "skip")
    _, second, asked = await asked_again(clip, [fakes.Behaved], skipping, Memory())
    assert asked == []
    assert second.analyzers["plain"].reason == "nothing to see"


async def test_cores_are_never_exceeded_and_go_to_the_most_urgent():
    cores, running, most, order = Cores(2), 0, 0, []

    async def work(urgency):
        nonlocal running, most
        async with cores.hold(f"w{urgency}", 1, urgency):
            running += 1
            most = max(most, running)
            order.append(urgency)
            await asyncio.sleep(0.01)
            running -= 1

    first = asyncio.create_task(work(0.0))
    await asyncio.sleep(0.002)
    await asyncio.gather(first, *(work(float(k)) for k in range(1, 7)))
    assert most == 2
    assert order == [0.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    assert cores.free == 2


async def test_who_waited_for_what_ends_comes_before_the_less_urgent():
    cores, done, order = Cores(1), asyncio.Event(), []

    async def work(name, urgency, after=None):
        if after:
            await after.wait()
        async with cores.hold(name, 1, urgency):
            order.append(name)
            await asyncio.sleep(0.01)
        if name == "first":
            done.set()

    waiting = (("first", 9.0), ("less", 1.0), ("late", 2.0, done), ("urgent", 5.0, done))
    await asyncio.gather(*(work(*one) for one in waiting))
    assert order == ["first", "urgent", "late", "less"]


async def test_who_wants_several_cores_takes_those_that_are_free_and_lets_none_idle():
    cores, free = Cores(3), {}

    async def work(name, threads, urgency, seconds):
        async with cores.hold(name, threads, urgency):
            free[name] = cores.free
            await asyncio.sleep(seconds)

    long = asyncio.create_task(work("long", 1, 9.0, 0.2))
    await asyncio.sleep(0.002)
    others = (("wide", 3, 8.0, 0.05), ("narrow", 1, 1.0, 0.01))
    await asyncio.gather(*(work(*one) for one in others))
    assert free == {"long": 2, "wide": 0, "narrow": 1}
    assert not long.done()
    await long
    assert cores.free == 3


async def test_cancelled_waiters_give_their_turn_back():
    cores = Cores(1)

    async def hold(k):
        async with cores.hold(f"w{k % 2}", 1, 1.0):
            await asyncio.sleep(0.02)

    tasks = [asyncio.create_task(hold(k)) for k in range(5)]
    await asyncio.sleep(0.001)
    for task in tasks[1:4]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert cores.free == 1


async def test_who_waits_for_a_busy_worker_holds_no_core():
    cores, order = Cores(2), []

    async def work(worker, urgency):
        async with cores.hold(worker, 1, urgency):
            order.append(worker)
            await asyncio.sleep(0.02)

    await asyncio.gather(*(work(w, u) for w, u in (("a", 9.0), ("a", 8.0), ("b", 1.0), ("c", 0.5))))
    assert order == ["a", "b", "a", "c"]
    assert cores.free == 2


@pytest.mark.slow
async def test_several_videos_in_flight_do_not_mix(settings, tmp_path):
    from tests.conftest import scene
    from tiktok_ray.media.writer import write_clip

    lengths = [5, 11, 17, 23]
    clips = [write_clip(tmp_path / f"{n}.mp4", [scene(n)] * n) for n in lengths]
    engine = engine_for([fakes.Plain, fakes.Needy], settings)
    reports = await asyncio.gather(*(engine.analyze(Source(c, c.name)) for c in clips))
    assert [r.analyzers["needy"].output.n for r in reports] == [n + 1 for n in lengths]


async def test_cancelling_does_not_wait_for_what_hangs(clip, settings):
    engine = engine_for(
        [fakes.Behaved], behaved(settings, "hang").model_copy(update={"timeout_factor": 100})
    )
    at_work = asyncio.Event()

    def listen(progress):
        if (progress.name, progress.state) == ("plain", "running"):
            at_work.set()

    task = asyncio.create_task(engine.analyze(Source(clip, "a"), listen=listen))
    await at_work.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_who_took_more_than_planned_is_named():
    from tiktok_ray.run.engine import over_plan

    memory = {
        "within": MemoryUse(planned_gib=0.5, peak_gib=0.4),
        "over": MemoryUse(planned_gib=0.5, peak_gib=0.6),
        "card": MemoryUse(planned_gib=0.2, peak_gib=2.0, planned_vram_gib=1.0, peak_vram_gib=0.9),
        "card_over": MemoryUse(
            planned_gib=0.2, peak_gib=0.1, planned_vram_gib=1.0, peak_vram_gib=1.1
        ),
    }
    assert over_plan(memory) == ["over", "card_over"]


class Likeness(fakes.Plain):
    """It knows people again."""

    name = "likeness"
    biometric = True


async def test_biometrics_off_neither_starts_nor_loads_what_needs_them(clip, settings):
    off = settings.model_copy(update={"biometrics": False})
    engine = engine_for([fakes.Plain, Likeness], off)
    started = []
    start = engine.workers.start

    async def noted(names):
        started.extend(names)
        await start(names)

    engine.workers.start = noted
    report = await engine.analyze(Source(clip, "clip.mp4"))
    section = report.analyzers["likeness"]
    assert (section.status, section.reason) == ("skipped", "biometrics are disabled")
    assert report.analyzers["plain"].status == "ok"
    assert started == ["plain"]
    assert "likeness" not in report.run.load_s
    usual = await analyze(clip, [fakes.Plain, Likeness], settings)
    assert usual.analyzers["likeness"].status == "ok"


def test_those_that_look_at_faces_are_biometric(settings):
    from actors import ANALYZERS

    made = plan(ANALYZERS, settings.model_copy(update={"biometrics": False}), cards=())
    assert set(made.switched_off) == {"age_estimation", "eye_tracking"}
    assert not set(made.switched_off) & {*made.assignments, *made.unavailable}
    assert made.why_not("eye_tracking") == "biometrics are disabled"


class Broken(fakes.Plain):
    """Its output cannot say what it is."""

    name = "broken"

    def analyze(self, thumbs: Frames) -> Speechless:
        return Speechless(n=len(thumbs))


@pytest.mark.slow
async def test_what_is_raised_around_a_section_stays_where_it_is(clip, settings):
    class Cache:
        def get(self, key, kind):
            raise OSError("the disk is gone")

        def put(self, key, output):
            raise OSError("the disk is gone")

    def deaf(_):
        raise BrokenPipeError("nobody listens")

    engine = engine_for([fakes.Plain, fakes.Needy, Broken], settings, cache=Cache())
    report = await engine.analyze(Source(clip, "clip.mp4"), listen=deaf)
    assert {s.status for s in report.analyzers.values()} == {"ok"}
    assert [event.label for event in report.timeline] == ["counted"]
    assert report.run.lost == [
        Missing(part="timeline of broken", reason="ValueError: no events either")
    ]
    assert "broken" not in report.summary.found
    assert report.summary.found["plain"] == "60 pictures"
    VideoReport.model_validate_json(report.to_json())


async def test_a_summary_that_fails_loses_no_report(clip, settings, monkeypatch):
    def broken(*_):
        raise LookupError("a summary's fault")

    monkeypatch.setattr("tiktok_ray.reporting.summary.summarize", broken)
    report = await analyze(clip, [fakes.Plain], settings)
    assert report.analyzers["plain"].status == "ok"
    assert report.summary is None
    assert "summary" not in report.plain()
    assert report.run.lost == [Missing(part="summary", reason="LookupError: a summary's fault")]


async def test_bookkeeping_that_fails_fails_one_section(clip, settings, monkeypatch):
    engine = engine_for([fakes.Plain, fakes.Softly, fakes.Listener], settings)
    whole = engine._section

    def broken(name, *more):
        if name == "plain":
            raise KeyError("nowhere")
        return whole(name, *more)

    monkeypatch.setattr(engine, "_section", broken)
    report = await engine.analyze(Source(clip, "clip.mp4"))
    told = {n: (s.status, s.reason) for n, s in report.analyzers.items()}
    assert told["plain"] == ("failed", "internal: KeyError: 'nowhere'")
    assert told["listener"][0] == told["softly"][0] == "ok"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("clip.mp4", "clip.mp4"),
        ("caf\u00e9.mp4", "caf\u00e9.mp4"),
        ("caf\udce9.mp4", "caf\\xe9.mp4"),
        ("\ud800.mp4", "\\ud800.mp4"),
    ],
)
def test_names_become_text_that_can_be_written(name, written):
    assert readable(name) == written


def test_bookkeeping_that_fails_fails_no_section(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("half a module")

    for name in ("limit_loaded", "cap_device_memory"):
        monkeypatch.setattr(f"tiktok_ray.run.worker.{name}", broken)
    broken.__name__ = "limit"
    monkeypatch.setattr("psutil.Process.memory_full_info", broken)
    monkeypatch.setattr("tiktok_ray.run.worker._added_up", {"resident": 0, "pss": 0})
    monkeypatch.setattr("threading.Thread.start", broken)
    worker = Worker(fakes.Softly, None, Assignment("softly", Variant("none"), "cpu", {}))
    assert worker.load().status == "ok"
    reply = worker.run({"plain": None})
    assert (reply.status, reply.memory.pss_gib) == ("ok", 0.0)


def test_memory_is_added_up_again_only_where_it_has_changed(monkeypatch):
    asked = []
    resident = 100 * 2**20

    def added_up(_):
        asked.append(resident)
        return SimpleNamespace(pss=resident // 2, rss=resident)

    monkeypatch.setattr("psutil.Process.memory_info", lambda self: SimpleNamespace(rss=resident))
    monkeypatch.setattr("psutil.Process.memory_full_info", added_up)
    monkeypatch.setattr("tiktok_ray.run.worker._added_up", {"resident": 0, "pss": 0})
    first = memory_now().pss_gib
    resident += 2**19
    assert memory_now().pss_gib == first == 50 / 1024
    resident += 2**20
    assert memory_now().pss_gib > first
    assert len(asked) == 2
