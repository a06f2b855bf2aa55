"""Analyzers that do what tests need, importable in Ray's workers too."""

import os
import signal
import time
from pathlib import Path
from typing import ClassVar

from tiktok_ray.analyzer import Analyzer, Needs, Options, Partial, Skip, Variant
from tiktok_ray.media import Audio, Frames, Speech
from tiktok_ray.report import Event, Missing, Output, derived, measured
from tiktok_ray.weights import Asset


class Count(Output):
    n: int = measured("Pictures seen")

    def headline(self) -> str:
        return f"{self.n} pictures"

    def events(self):
        yield Event(start=0.5, end=99.0, kind="moment", label="counted", analyzer="plain")


class Sum(Output):
    n: int | None = derived("What came in")

    def headline(self) -> str:
        return f"sum {self.n}"


class Plain(Analyzer):
    """Counts pictures."""

    name = "plain"
    needs = Needs(cost=1.0)

    def analyze(self, thumbs: Frames) -> Count:
        return Count(n=len(thumbs))


class Softly(Analyzer):
    """Can do without `plain`."""

    name = "softly"

    def analyze(self, plain: Count | None) -> Sum:
        return Sum(n=plain.n if plain else None)


class Needy(Analyzer):
    """Cannot do without `plain`."""

    name = "needy"

    def analyze(self, plain: Count) -> Sum:
        return Sum(n=plain.n + 1)


class Listener(Analyzer):
    """Needs sound."""

    name = "listener"

    def analyze(self, audio: Audio) -> Count:
        return Count(n=len(audio.samples))


class Hearer(Analyzer):
    """Needs speech."""

    name = "hearer"
    idle_without: ClassVar = {"speech": "nobody speaks"}

    def analyze(self, speech: Speech) -> Count:
        return Count(n=len(speech.spans))


class Wanting(Analyzer):
    """Its weights are nowhere."""

    name = "wanting"
    variants = (Variant("big", weights={"model": Asset("nowhere/big.pt", "MIT", 1.0)}),)

    def analyze(self, thumbs: Frames) -> Count:
        raise AssertionError("must not run")


class Half(Analyzer):
    """One part lacks its weights, another cannot be made from this video."""

    name = "half"
    variants = (
        Variant("full", weights={"model": Asset("nowhere/half.pt", "MIT", 1.0)}),
        Variant("bare", lacks=("words",)),
    )

    def analyze(self, thumbs: Frames) -> Count | Partial:
        return Partial(Count(n=len(thumbs)), (Missing(part="smell", reason="nobody can"),))


class Dependent(Analyzer):
    """Names what it lacks: the whole of `plain`, and a part of `half`."""

    name = "dependent"

    def analyze(self, plain: Count | None, half: Count | None) -> Sum | Partial:
        missing = []
        if plain is None:
            why = "plain produced no output"
            missing.append(Missing(part="sum", reason=why, lacks=["plain"]))
        for part in ("words", "smell", "taste"):
            why = f"half has no {part}"
            missing.append(Missing(part=part, reason=why, lacks=["half"], lacks_part=part))
        return Partial(Sum(n=None), tuple(missing))


class BehaviourOptions(Options):
    how: str = "work"
    flag: str = ""


class Behaved(Analyzer):
    """Does as its option `how` says."""

    name = "plain"
    needs = Needs(timeout_s=1.0)
    options_type = BehaviourOptions

    def load(self, variant, device, files):
        if self.options.how == "load fails":
            raise RuntimeError("bad checkpoint")
        if self.options.how == "load hangs":
            time.sleep(600)

    def analyze(self, thumbs: Frames) -> Count:
        how, flag = self.options.how, Path(self.options.flag or "/nonexistent")
        if how == "raise":
            raise ValueError("broken inside")
        if how == "skip":
            raise Skip("nothing to see")
        if how == "slow":
            time.sleep(0.5)
        if how == "hang":
            time.sleep(600)
        if how == "hang once" and not flag.exists():
            flag.touch()
            time.sleep(600)
        if how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "die once" and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "write":
            thumbs.i420[:] = 0
        if how == "memory" and self.batch > 4:
            raise MemoryError("too large a batch")
        if how == "memory always":
            raise MemoryError("never enough")
        if how == "starved process":
            if not flag.exists():
                flag.write_text(str(os.getpid()))
            if flag.read_text() == str(os.getpid()):
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return Count(n=len(thumbs))


class HangsOnce(Behaved):
    """With the option `hang once`, long enough for its limit to be no race."""

    name = "hangs_once"
    needs = Needs(timeout_s=3.0)


class StarvesOnce(Behaved):
    """With the option `starved process`."""

    name = "starves_once"
    needs = Needs(timeout_s=60.0)


class DiesOnce(Behaved):
    """With the option `die once`."""

    name = "dies_once"
    needs = Needs(timeout_s=60.0)


class Overwriting(Analyzer):
    """Writes into what it was given."""

    name = "overwriting"

    def analyze(self, thumbs: Frames) -> Count:
        thumbs.i420[:] = 0
        return Count(n=len(thumbs))


class TrackedOptions(Options):
    log: str = ""
    seconds: float = 1.0


class Tracked(Analyzer):
    """Writes down when it worked, and in which process."""

    name = "tracked"
    needs = Needs(timeout_s=60.0)
    options_type = TrackedOptions

    def load(self, variant, device, files):
        self.note("load")

    def note(self, what):
        with open(self.options.log, "a") as file:
            file.write(f"{what} {os.getpid()} {time.time():.3f}\n")

    def analyze(self, thumbs: Frames) -> Count:
        self.note("begin")
        time.sleep(self.options.seconds)
        self.note("end")
        return Count(n=len(thumbs))


def fault(how):
    """Go wrong in that way."""
    if how == "raises":
        raise ValueError("broken inside")
    if how == "asks to exit":
        raise SystemExit(3)
    if how == "exits":
        os._exit(3)
    if how == "aborts":
        os.abort()
    if how == "hangs":
        time.sleep(600)


class Faulty(Analyzer):
    """Goes wrong at `where`, each subclass in its own way."""

    where = how = ""

    def load(self, variant, device, files):
        if self.where == "load":
            fault(self.how)

    def analyze(self, thumbs: Frames) -> Count:
        if self.where == "analyze":
            fault(self.how)
        return Count(n=len(thumbs))


HOW = ("raises", "asks to exit", "exits", "aborts", "hangs")
FAULTS = {}
for _where in ("load", "analyze"):
    for _how in HOW:
        _name = f"{_where}_{_how.replace(' ', '_')}"
        # Children find them by name in this module.
        FAULTS[_name] = globals()[_name] = type(
            _name,
            (Faulty,),
            {"name": _name, "where": _where, "how": _how, "__module__": __name__, "__doc__": _how,
             "needs": Needs(timeout_s=1.0 if _how == "hangs" else 60.0)},
        )  # fmt: skip
