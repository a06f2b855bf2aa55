"""The judges of the trial by fire and of endurance find what is amiss; the trial itself is slow."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import endurance, trial_by_fire
from benchmarks.trial_by_fire import Accepted, Clip, judge_job, judge_report

ROOT = Path(__file__).parents[1]
CLIP = Clip("clip.mp4", b"x", "a" * 64, 3.0, (1.0, 2.0))
ID = "0" * 24


def report(cuts=(1.0, 2.0), status="ok", sha256="a" * 64, reason=None):
    return {
        "video": {"sha256": sha256},
        "analyzers": {"cut_analysis": {"status": status, "reason": reason}},
        "timeline": [{"kind": "cut", "start": start} for start in cuts],
    }


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (report(), ""),
        (report(cuts=[1.03, 2.0]), ""),
        (report(cuts=[], status="timed_out", reason="timed out after 2 s"), ""),
        (report(cuts=[1.0]), "cuts at"),
        (report(cuts=[1.0, 2.2]), "cuts at"),
        (report(cuts=[1.0, 1.5, 2.0]), "cuts at"),
        (report(sha256="b" * 64), "another file"),
        (report(cuts=[], status="failed"), "without a reason"),
    ],
)
def test_a_report_is_held_against_the_truth(made, words):
    said = judge_report(made, CLIP)
    assert (words in said) if words else said == ""


def row(state, **problem):
    told = (
        json.dumps({"type": f"urn:tiktok-ray:{problem['word']}", "detail": problem["detail"]})
        if problem
        else None
    )
    return {"id": ID, "state": state, "problem": told}


@pytest.mark.parametrize(
    ("job", "known", "endings", "published", "kind"),
    [
        (row("done"), Accepted(CLIP, "upload"), 1, report(), "ok"),
        (row("done"), Accepted(CLIP, "upload"), 1, report(cuts=[]), "wrong"),
        (row("done"), Accepted(CLIP, "upload"), 1, None, "lost"),
        (row("running"), Accepted(CLIP, "upload"), 0, None, "lost"),
        (row("done"), Accepted(CLIP, "upload"), 2, report(), "double"),
        (row("cancelled"), Accepted(CLIP, "upload", cancelled=True), 1, None, "ok"),
        (row("cancelled"), Accepted(CLIP, "upload"), 1, None, "wrong"),
        (row("failed"), Accepted(CLIP, "upload"), 1, None, "wrong"),
        (row("failed", word="not_video", detail="no"), Accepted(CLIP, "upload"), 1, None, "wrong"),
        (row("failed", word="not_video", detail="no"), Accepted(None, "odd"), 1, None, "ok"),
        (row("failed", word="timeout", detail="silent"), Accepted(CLIP, "link"), 1, None, "ok"),
        (row("failed", word="timeout", detail="silent"), Accepted(CLIP, "upload"), 1, None, "wrong"),
        (row("failed", word="internal", detail="KeyError: 'x'"), Accepted(CLIP, "upload"), 1, None, "wrong"),
        (row("failed", word="internal", detail="No space left"), Accepted(CLIP, "upload"), 1, None, "wrong"),
        (row("failed", word="internal", detail="KeyError: 'x'"), Accepted(None, "odd"), 1, None, "wrong"),
        (row("failed", word="decoder_died", detail="twice"), Accepted(CLIP, "upload"), 1, report(), "wrong"),
    ],
)  # fmt: skip
def test_each_job_is_judged(job, known, endings, published, kind, tmp_path):
    if published:
        (tmp_path / ID).mkdir()
        (tmp_path / ID / "report.json").write_text(json.dumps(published))
    assert judge_job(job, known, endings, tmp_path)[0] == kind


def test_made_clips_have_their_cuts(tmp_path, settings):
    from tiktok_ray import media

    clip = trial_by_fire.make_clips(tmp_path, 1)[0]
    (tmp_path / "again.mp4").write_bytes(clip.data)
    decoded = media.decode(tmp_path / "again.mp4", {"thumbs"}, settings)
    gray = [decoded.tracks["thumbs"].gray(k).astype(float) for k in range(90)]
    jumps = [k for k in range(1, 90) if np.abs(gray[k] - gray[k - 1]).mean() > 15]
    assert [decoded.tracks["thumbs"].times[k] for k in jumps] == pytest.approx(clip.cuts, abs=0.001)


def figures(slope=0.0, files=0.0, noise=0.5):
    rng = np.random.default_rng(0)
    return [
        {
            "seconds": 1.0,
            "memory_mib": 1000 + slope * k + noise * rng.standard_normal(),
            "files": 100 + files * k,
            "processes": 9,
            "actors": 4,
        }
        for k in range(200)
    ]


@pytest.mark.parametrize(
    ("seen", "passed"),
    [
        (figures(), True),
        (figures(slope=-0.2), True),
        (figures(slope=0.2), False),
        (figures(files=0.1), False),
        ([*figures()[:-10], *({**one, "processes": 10} for one in figures()[-10:])], False),
        ([*figures()[:-10], *({**one, "actors": 5} for one in figures()[-10:])], False),
    ],
)
def test_growth_is_found(seen, passed):
    assert endurance.judge(seen)["passed"] is passed


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_sixty_seconds_of_fire():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.trial_by_fire", "--seconds", "60"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert "lost: 0" in done.stdout
