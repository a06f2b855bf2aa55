"""What a section says it can have missed: derived from its sampling, and true of made clips."""

import pytest

from actors.cut_analysis import CutAnalysis
from benchmarks.factory._pictures import SCENES, photograph, view
from tiktok_ray.analyzer import Sees
from tiktok_ray.catalog import make_graph
from tiktok_ray.media import TRACKS, Frames
from tiktok_ray.report import Coverage, Limit

HALF_SIZE = Coverage(samples=20, span_s=10.0, max_gap_s=0.5, short_px=540)


def test_limits_follow_from_sampling_and_size():
    text = Sees("text", "dense", samples=2, seconds=0.4, pixels=12)
    assert text.limit(HALF_SIZE, 1080) == Limit(of="text", shorter_than_s=1.0, smaller_than_px=24.0)
    often = HALF_SIZE.model_copy(update={"max_gap_s": 0.1})
    assert text.limit(often, 540) == Limit(of="text", shorter_than_s=0.4, smaller_than_px=12.0)
    assert Sees("shots", "thumbs").limit(HALF_SIZE, 1080) == Limit(of="shots", shorter_than_s=0.5)


def test_limits_are_of_tracks_that_the_analyzer_reads():
    graph = make_graph()
    for name, kind in graph.analyzers.items():
        read = {edge.source for edge in graph.edges[name]}
        assert {sees.track for sees in kind.sees} <= read & set(TRACKS), name


@pytest.mark.parametrize("gap", [1 / 60, 1 / 30, 1 / 24])
@pytest.mark.parametrize("place", range(4))
def test_a_shot_at_the_stated_limit_is_told_and_one_below_it_is_not(gap, place):
    one, two, three = (
        view(photograph(SCENES[(place + k) % len(SCENES)]), (64, 114)) for k in (0, 1, 3)
    )

    def found(pictures):
        shown = [one] * 30 + [two] * pictures + [three] * 30
        frames = Frames.of([k * gap for k in range(len(shown))], shown, len(shown) * gap)
        (limit,) = (s.limit(frames.coverage(), 480) for s in CutAnalysis.sees)
        shots = CutAnalysis().analyze(frames).shots
        return limit.shorter_than_s, [s.start for s in shots[1:]]

    least, starts = found(2)
    assert least == pytest.approx(2 * gap)
    assert starts == pytest.approx([30 * gap, 32 * gap])
    assert len(found(1)[1]) == 1
