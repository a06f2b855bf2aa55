"""Chromium, and pages that note every complaint and every request."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")
from playwright.sync_api import Browser, ConsoleMessage, FloatRect, Locator, Page, sync_playwright

AXE = Path(__file__).parent / "axe-core" / "axe.min.js"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. Not for the whole session: its driver keeps an event loop running meanwhile."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield launched
        launched.close()


@dataclass
class Watched:
    """A page, and what it said and asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def asked_for(self, *schemes: str) -> list[str]:
        """Requests other than of these beginnings."""
        return [url for url in self.requests if not url.startswith(schemes)]


Open = Callable[..., Watched]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a URL in a context of its own: ``open_page(url, width=…, height=…, dark=…)``."""
    contexts = []

    def open_it(
        url: str, *, width: int = 1366, height: int = 900, dark: bool = False, offline: bool = True
    ) -> Watched:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            offline=offline,
        )
        contexts.append(context)
        context.set_default_timeout(20_000)
        watched = Watched(context.new_page())
        page = watched.page

        def note(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                watched.complaints.append(message.text)

        page.on("console", note)
        page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        page.on("request", lambda request: watched.requests.append(request.url))
        page.goto(url)
        page.wait_for_selector("#app h1", state="attached")
        return watched

    yield open_it
    for context in contexts:
        context.close()


def box_of(locator: Locator) -> FloatRect:
    """Where an element stands in the window, in pixels."""
    box = locator.bounding_box()
    assert box is not None
    return box


def until(page: Page, condition: str, seconds: float = 20.0) -> None:
    """Wait until a JavaScript expression holds. (Playwright's own way is barred by the policy.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        page.wait_for_timeout(50)


def axe(page: Page) -> list[str]:
    """What axe finds wrong, in words."""
    page.evaluate(AXE.read_text("utf-8"))
    found: dict[str, Any] = page.evaluate("() => axe.run()")
    return [
        f"{violation['id']}: {violation['help']} ({node['target']}: {node['failureSummary']})"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
