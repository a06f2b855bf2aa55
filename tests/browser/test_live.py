"""The page of the service in Chromium: send, watch, cancel, look at results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import Open, Watched, axe, until
from tests.browser.service import JOB, FakeService, served
from tests.conftest import scene
from tiktok_ray.exports import FORMATS, captions
from tiktok_ray.media.writer import write_clip
from tiktok_ray.serve.duplicates import Compared, Match

pytestmark = pytest.mark.slow


@pytest.fixture
def service() -> Iterator[FakeService]:
    with served() as service:
        yield service


@pytest.fixture
def home(service: FakeService, open_page: Open) -> Watched:
    watched = open_page(service.url, offline=False)
    watched.page.wait_for_selector("article.result")
    return watched


def send_link(watched: Watched, link: str = "https://www.tiktok.com/@a/video/1") -> None:
    watched.page.locator("#link").fill(link)
    watched.page.get_by_role("button", name="Analyze").click()


def lane_text(watched: Watched, name: str) -> str:
    return str(watched.page.locator(f"#lane-{name}").inner_text())


def test_results_have_posters_and_are_found_by_title(home: Watched, service: FakeService) -> None:
    cards = home.page.locator("article.result")
    assert cards.count() == 2
    assert cards.locator("img").count() == 2
    assert "19 of 19 measured" in cards.first.inner_text()
    assert "<b>cat</b>" in cards.nth(1).inner_text()
    home.page.locator("#find").fill("launch")
    until(home.page, "document.querySelectorAll('article.result').length === 1")
    assert any("q=launch" in asked for asked in service.asked)
    assert home.page.locator(".top .badge").inner_text() == "degraded"
    assert home.complaints == []
    assert home.asked_for(service.url) == []


def test_frames_and_passages_that_mean_the_words_are_asked_for(
    home: Watched, service: FakeService
) -> None:
    shot = {"result": "bb" * 8, "video_id": "v", "title": "Cat", "start": 3.0, "end": 6.0}
    service.alike = {"status": "ok", "shots": [{**shot, "at": 4.5, "cosine": 0.314}]}
    passage = {**shot, "kind": "said", "text": "<i>Un globo rojo</i>", "start": 2.0, "cosine": 0.87}
    service.same_meaning = {"status": "ok", "passages": [passage]}
    home.page.locator("#find").fill("a red ball")
    until(home.page, "document.querySelectorAll('article.result').length === 0")
    assert home.page.locator(".gallery .hits a").count() == 0
    home.page.get_by_label("Also by meaning").check()
    home.page.wait_for_selector(".gallery .hits a")
    [meant, hit] = home.page.locator(".gallery .hits a").all()
    assert meant.inner_text().startswith("0:02.0")
    assert "<i>Un globo rojo</i>" in meant.inner_text()
    assert "0.87" in meant.inner_text()
    assert "0:04.5" in hit.inner_text()
    assert "0.31" in hit.inner_text()
    assert axe(home.page) == []
    service.alike = {"status": "unavailable", "reason": "weights not installed", "shots": []}
    service.same_meaning = {"status": "unavailable", "reason": "E5 not installed", "passages": []}
    home.page.locator("#find").fill("a red balloon")
    home.page.get_by_text("Frames by meaning: unavailable: weights not installed").wait_for()
    home.page.get_by_text("Passages by meaning: unavailable: E5 not installed").wait_for()
    assert home.page.locator(".gallery .hits a").count() == 0
    assert home.complaints == []


def test_words_within_videos_lead_to_their_moment(home: Watched, service: FakeService) -> None:
    facts = {"result": "bb" * 8, "video_id": "v", "analyzer": "speech_transcription", "score": 1.0}
    service.hits = [
        {**facts, "kind": "said", "start": 7.5, "end": 9.0, "snippet": "<b>[launch]</b> it"},
        {**facts, "kind": "about", "snippet": "A [launch]"},
    ]
    home.page.locator("#find").fill("launch")
    home.page.wait_for_selector(".gallery .hits a")
    [hit] = home.page.locator(".gallery .hits a").all()
    assert "<b>[launch]</b> it" in hit.inner_text()
    assert axe(home.page) == []
    hit.click()
    home.page.wait_for_selector(".run")
    assert "0:07.5" in home.page.locator("output.time").inner_text()
    exports = home.page.locator(".away a[href*='/export?to=']")
    offered = {a.get_attribute("href") for a in exports.all()}
    assert offered == {f"/results/{'bb' * 8}/export?to={to}" for to in FORMATS}
    assert home.complaints == []


def test_near_duplicates_are_shown_with_what_was_changed(
    service: FakeService, open_page: Open
) -> None:
    mine, copy, original = "bb" * 8, "cc" * 8, "dd" * 8
    match = {
        "same_file": False, "distance": 2.0, "share": 0.9, "a_span": (1.0, 5.0),
        "b_span": (0.0, 2.0), "speed": 2.0, "sound": "same", "crop": None,
    }  # fmt: skip
    service.video = b""
    service.results[0]["has_video"] = True
    service.same = Compared(
        matches=[
            Match(a=mine, b=copy, changes=["mirrored", "sped up"], cropped=None, **match),
            Match(a=original, b=mine, changes=["cropped", "sped up"], cropped="b", **match),
        ],
        compared=4,
        not_compared={"ee" * 8: "its file is gone"},
    ).model_dump(mode="json")
    watched = open_page(f"{service.url}#/result/{mine}", offline=False)
    page = watched.page
    page.get_by_role("button", name="Compare with the other results").click()
    page.wait_for_selector(".same li")
    first, second = page.locator(".same li").all()
    assert "mirrored, sped up (2.00 times)" in first.inner_text()
    assert "0:01.0 to 0:05.0 of this one is 0:00.0 to 0:02.0 of that one" in first.inner_text()
    assert "cropped (this one shows less), slowed down (0.50 times)" in second.inner_text()
    card = page.locator("section[aria-labelledby='same-title']")
    assert "2 of 3 other videos that were kept; 1 could not be compared" in card.inner_text()
    assert axe(page) == []
    first.locator("a").click()
    until(page, f"location.hash === '#/result/{copy}@0'")


def test_without_a_kept_video_nothing_is_offered_to_compare(home: Watched) -> None:
    home.page.locator("article.result a").first.click()
    home.page.wait_for_selector(".run")
    assert home.page.locator("#same-title").count() == 0


CUES = """name => [...document.querySelectorAll('video track')]
  .filter(one => one.track.mode === 'showing' && one.label === name)
  .flatMap(one => [...one.track.cues ?? []].map(cue => [cue.startTime, cue.getCueAsHTML().textContent]))"""


def test_the_player_shows_the_subtitles_that_are_chosen(
    service: FakeService, open_page: Open, tmp_path: Path
) -> None:
    """In the player's own time, which begins before the first picture does."""
    film = write_clip(tmp_path / "clip.mp4", [scene(1)] * 40, fps=2)
    service.video = film.read_bytes()
    service.results[0]["has_video"] = True
    service.report["video"]["start_offset_s"] = 0.5
    watched = open_page(f"{service.url}#/result/{'bb' * 8}", offline=False)
    page = watched.page
    page.wait_for_selector(".run")
    until(page, "document.querySelector('video')?.readyState >= 2")
    chooser = page.get_by_label("Subtitles")
    assert chooser.locator("option").all_inner_texts() == [
        "Speech, word by word", "Speech", "On-screen text", "None"
    ]  # fmt: skip
    assert page.locator(".caption").is_visible()
    for title, source in (("Speech", "speech"), ("On-screen text", "text")):
        chooser.select_option(title)
        until(page, f"({CUES})('{title}').length > 0")
        told = captions.file_of(service.report, "vtt", "text" if source == "text" else "speech")
        first = captions.from_transcript(
            service.report["analyzers"]["speech_transcription"]["output"]
        )
        if source == "text":
            first = captions.from_overlays(service.report["analyzers"]["text_overlay"]["output"])
        shown = page.evaluate(CUES, title)
        assert len(shown) == told.count("-->")
        assert shown[0][0] == pytest.approx(first[0].start + 0.5, abs=0.002)
        assert not page.locator(".caption").is_visible()
    chooser.select_option("None")
    assert page.evaluate(CUES, "Speech") == []
    assert axe(page) == []
    for end in ("srt", "vtt", "txt", "words.json"):
        assert page.locator(f"a[href='/results/{'bb' * 8}.{end}']").count() == 1
    assert watched.complaints == []
    assert watched.asked_for(service.url, "blob:", "data:") == []


def test_lanes_fill_as_analyzers_end(home: Watched, service: FakeService) -> None:
    send_link(home)
    home.page.wait_for_selector("#lane-cut_analysis")
    assert home.page.locator(".lane[id]").count() == 19
    service.tell("job", {"state": "running", "attempt": 1})
    service.tell("phase", {"name": "fetch", "state": "running", "bytes": 2_000_000, "of": None})
    until(home.page, "document.body.innerText.includes('fetch: running 2 MB')")
    service.tell("analyzer", {"name": "cut_analysis", "state": "running"})
    until(home.page, "document.querySelector('#lane-cut_analysis').innerText.includes('running')")
    event = {
        "start": 0.0,
        "end": 4.0,
        "kind": "shot",
        "label": "shot 1",
        "analyzer": "cut_analysis",
    }
    found = {"state": "ok", "seconds": 1.0, "found": "5 cuts, 15.0/min", "events": [event]}
    service.tell("analyzer", {"name": "cut_analysis", **found})
    service.tell("analyzer", {"name": "body_pose", "state": "skipped", "reason": "no body"})
    until(home.page, "document.querySelector('#lane-body_pose').innerText.includes('no body')")
    assert "5 cuts, 15.0/min" in lane_text(home, "cut_analysis")
    assert "running" not in lane_text(home, "cut_analysis")
    until(home.page, "document.querySelector('#lane-cut_analysis canvas').offsetHeight > 20")
    assert home.page.locator("progress").get_attribute("value") == "2"
    service.tell("job", {"state": "done", "result": "bb" * 8})
    home.page.wait_for_selector(".run")
    assert home.page.url.endswith("#/result/" + "bb" * 8)
    assert home.page.locator("h1").inner_text() == "A launch, a cup and a cat"
    assert home.complaints == []


def test_a_broken_stream_is_taken_up_where_it_ended(home: Watched, service: FakeService) -> None:
    service.break_after = 2
    send_link(home)
    home.page.wait_for_selector(".live")
    service.tell("job", {"state": "running", "attempt": 1})
    until(home.page, "document.querySelector('.live .badge')?.textContent === 'running'")
    service.tell("analyzer", {"name": "body_pose", "state": "skipped", "reason": "no body"})
    until(home.page, "document.querySelector('#lane-body_pose').innerText.includes('no body')")
    events = [asked for asked in service.asked if asked.endswith("/events")]
    assert len(events) == 2


def test_a_job_is_cancelled(home: Watched, service: FakeService) -> None:
    send_link(home)
    home.page.get_by_role("button", name="Cancel").click()
    until(home.page, "document.body.innerText.includes('Cancelled.')")
    assert f"DELETE /jobs/{JOB}" in service.asked
    assert home.page.get_by_role("button", name="Cancel").count() == 0


def test_a_failed_job_says_why(home: Watched, service: FakeService) -> None:
    send_link(home)
    problem = {"title": "Private", "status": 403, "detail": "<i>only its maker</i> may see it"}
    service.tell("job", {"state": "failed", "problem": problem})
    until(home.page, "document.body.innerText.includes('<i>only its maker</i> may see it')")


def test_a_file_is_sent_and_shown_while_it_is_analyzed(
    home: Watched, service: FakeService, clip: Path
) -> None:
    home.page.locator("#file").set_input_files(clip)
    home.page.wait_for_selector("#lane-cut_analysis")
    assert clip.read_bytes() in service.bodies[0]
    until(home.page, "document.querySelector('video')?.readyState >= 1")
    assert "/ 0:02.0" in home.page.locator("output.time").inner_text()
    assert home.complaints == []


def test_a_refusal_is_told(home: Watched, service: FakeService) -> None:
    service.refusal = {
        "title": "Queue full",
        "status": 429,
        "detail": "12 jobs wait",
        "advice": "in 9 s",
    }
    send_link(home)
    alert = home.page.get_by_role("alert")
    until(home.page, "!document.querySelector('.trouble').hidden")
    assert "12 jobs wait" in alert.inner_text()
    assert "in 9 s" in alert.inner_text()


def test_a_result_is_deleted_when_confirmed(home: Watched, service: FakeService) -> None:
    home.page.on("dialog", lambda dialog: dialog.accept())
    home.page.locator("article.result button").first.click()
    until(home.page, "document.querySelectorAll('article.result').length === 1")
    assert [r["title"] for r in service.results] == ["<b>cat</b>"]


def test_open_jobs_lead_to_their_lanes(service: FakeService, open_page: Open) -> None:
    service.begin({"upload": "clip.mp4", "url": None})
    watched = open_page(service.url, offline=False)
    watched.page.locator(".job-list a").click()
    watched.page.wait_for_selector("#lane-cut_analysis")
    watched.page.go_back()
    watched.page.wait_for_selector("article.result")


@pytest.mark.parametrize(("width", "dark"), [(1366, False), (390, True)])
def test_axe_finds_nothing(service: FakeService, open_page: Open, width: int, dark: bool) -> None:
    service.begin({"upload": "clip.mp4", "url": None})
    watched = open_page(service.url, offline=False, width=width, dark=dark)
    watched.page.wait_for_selector("article.result")
    assert axe(watched.page) == []
    watched.page.locator(".job-list a").click()
    service.tell("analyzer", {"name": "body_pose", "state": "running"})
    until(watched.page, "document.querySelector('#lane-body_pose')?.innerText.includes('running')")
    assert axe(watched.page) == []
