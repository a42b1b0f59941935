"""Chromium without a window, for tests of pages; they skip with the reason where there is none."""

import shutil
from contextlib import contextmanager

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")


def require_chromium() -> None:
    """Skip unless Playwright and a Chromium are installed."""
    pytest.importorskip("playwright", reason="pages are looked at through playwright: pip install playwright")
    if not any(map(shutil.which, _NAMES)):
        pytest.skip("no Chromium here: apt-get install chromium")


@contextmanager
def open_chromium():
    """A running Chromium, as a Playwright browser."""
    from playwright.sync_api import sync_playwright

    require_chromium()
    path = next(filter(None, map(shutil.which, _NAMES)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """A page in a browser of its own, and what went wrong on it.

    Args:
        browser: Of [`open_chromium`].
        url (`str`): What is opened.
        width (`int`): Of the window, in CSS pixels.
        scheme (`str`): `"light"` or `"dark"`.

    Attributes:
        page: Playwright's page.
        faults (`list[str]`): Errors on the console, and requests to other places than `url`.
    """

    def __init__(self, browser, url: str, width: int = 1280, scheme: str = "light"):
        self.faults: list[str] = []
        self._url = url
        self.page = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme).new_page()
        self.page.set_default_timeout(300_000)  # of a machine that does much else
        self.page.on("console", lambda line: line.type == "error" and self.faults.append(line.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._watch)
        self.page.goto(url)

    def _watch(self, request) -> None:
        if not request.url.startswith((self._url, "data:", "blob:")):
            self.faults.append(f"asks for {request.url}")

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
