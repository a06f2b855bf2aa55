"""Nineteen analyzers that do nothing, wired like the real graph: they measure the engine alone."""

from __future__ import annotations

import time

from tiktok_ray.analyzer import Analyzer, Needs
from tiktok_ray.media import Video
from tiktok_ray.report import Output, measured


class Nothing(Output):
    """Nothing was looked for."""

    at: float = measured("When it was asked", unit="s")

    def headline(self) -> str:
        return "nothing"


class Source0(Analyzer):
    """Reads the video's facts."""

    name = "source_0"
    needs = Needs(cost=0.1)

    def analyze(self, video: Video) -> Nothing:
        return Nothing(at=time.time())


class Source1(Source0):
    """One more of them."""

    name = "source_1"


class Source2(Source0):
    """One more of them."""

    name = "source_2"


class Source3(Source0):
    """One more of them."""

    name = "source_3"


class Source4(Source0):
    """One more of them."""

    name = "source_4"


class Source5(Source0):
    """One more of them."""

    name = "source_5"


class Source6(Source0):
    """One more of them."""

    name = "source_6"


class Source7(Source0):
    """One more of them."""

    name = "source_7"


class Source8(Source0):
    """One more of them."""

    name = "source_8"


class Source9(Source0):
    """One more of them."""

    name = "source_9"


class Middle0(Analyzer):
    """Waits for the first source."""

    name = "middle_0"
    needs = Needs(cost=0.1)

    def analyze(self, video: Video, source_0: Nothing | None) -> Nothing:
        return Nothing(at=time.time())


class Middle1(Middle0):
    """One more of them."""

    name = "middle_1"


class Middle2(Middle0):
    """One more of them."""

    name = "middle_2"


class Middle3(Middle0):
    """One more of them."""

    name = "middle_3"


class Middle4(Middle0):
    """One more of them."""

    name = "middle_4"


class Middle5(Middle0):
    """One more of them."""

    name = "middle_5"


class Middle6(Middle0):
    """One more of them."""

    name = "middle_6"


class Flow(Analyzer):
    """Waits for what waited."""

    name = "flow"

    def analyze(
        self, source_0: Nothing, middle_0: Nothing | None, middle_1: Nothing | None
    ) -> Nothing:
        return Nothing(at=time.time())


class Last(Analyzer):
    """Waits for all."""

    name = "last"

    def analyze(
        self, flow: Nothing | None, source_1: Nothing | None, middle_6: Nothing | None
    ) -> Nothing:
        return Nothing(at=time.time())


ANALYZERS: tuple[type[Analyzer], ...] = (
    Source0, Source1, Source2, Source3, Source4, Source5, Source6, Source7, Source8, Source9,
    Middle0, Middle1, Middle2, Middle3, Middle4, Middle5, Middle6, Flow, Last,
)  # fmt: skip
