"""The page against the real service, over threads: from a dropped file to its report."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from actors.audio_analysis import AudioAnalysis
from actors.cut_analysis import CutAnalysis
from tests.browser.conftest import Open, until
from tiktok_ray.graph import Graph
from tiktok_ray.run.placement import plan
from tiktok_ray.run.threads import LocalWorkers
from tiktok_ray.serve.api import create_app
from tiktok_ray.serve.service import Service
from tiktok_ray.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture
def address(settings: Settings) -> Iterator[str]:
    graph = Graph((CutAnalysis, AudioAnalysis))

    def make() -> Service:
        workers = LocalWorkers(graph, plan(graph.analyzers.values(), settings), settings)
        return Service(graph, workers, settings)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    config = uvicorn.Config(create_app(make), port=port, log_level="warning", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.05)
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join(20)


def test_from_a_file_to_its_report_and_back(address: str, open_page: Open, clip: Path) -> None:
    watched = open_page(address, offline=False)
    page = watched.page
    page.locator("#file").set_input_files(clip)
    page.wait_for_selector("section.run", timeout=60_000)
    assert "1 cut" in page.locator("#lane-cut_analysis").inner_text()
    assert "not in this report" in page.locator("#lane-body_pose").inner_text()

    page.get_by_role("link", name="All results").click()
    page.wait_for_selector("article.result")
    page.reload()
    page.locator("article.result a").click()
    page.wait_for_selector("section.run")
    until(page, "document.querySelector('video')?.readyState >= 2")
    page.keyboard.press("ArrowRight")
    until(page, "Math.abs(document.querySelector('video').currentTime - 1) < 0.05")

    id = page.url.rsplit("/", 1)[1]
    page.goto(f"{address}results/{id}.html")
    until(page, "document.querySelector('video')?.readyState >= 2")
    page.goto(address)
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("article.result button").click()
    until(page, "document.querySelectorAll('article.result').length === 0")
    assert watched.complaints == []
    assert watched.asked_for(address, "blob:", "data:") == []
