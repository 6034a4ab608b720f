"""A scripted person in a real browser: opens a link, agrees, watches, chooses, goes on. Needs the extra `browser`.

Separate from the rehearsal, which decides what the person prefers, because the tests drive the page by it too.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from realmaster.errors import StudyError
from realmaster.optional import require
from realmaster.web.study.plan import Side

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
DESKTOP = {"viewport": {"width": 1440, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 780}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
WAIT_MILLISECONDS = 60_000
_PLAYS = """document.createElement("video").canPlayType('video/mp4; codecs="avc1.640028"')"""


@contextmanager
def open_browser() -> Iterator[Any]:
    """Start a headless Chromium: one that is installed, else Playwright's own; gives Playwright's browser.

    Raises:
        MissingExtraError: Playwright is not installed.
        StudyError: there is no browser, or one that plays no H.264.
    """
    engine = require("playwright.sync_api", extra="browser")
    with engine.sync_playwright() as started:
        own = started.chromium.executable_path
        found = next((path for name in BROWSERS if (path := shutil.which(name))), own if Path(own).exists() else None)
        if found is None:
            raise StudyError(
                f"expected a browser ({', '.join(BROWSERS[:3])}), found none: install Debian's package `chromium`, or "
                "run `playwright install chromium`"
            )
        browser = started.chromium.launch(executable_path=found)
        try:
            page = browser.new_page()
            plays = page.evaluate(_PLAYS)
            page.close()
            if not plays:
                raise StudyError(f"expected a browser that plays H.264, {found} does not: install Debian's `chromium`")
            yield browser
        finally:
            browser.close()


class Visitor:
    """One person at one device.

    Attributes:
        page: Playwright's page, for whatever has no method here.
    """

    def __init__(self, browser: Any, *, phone: bool = False, look: Literal["light", "dark"] = "light") -> None:
        self._context = browser.new_context(color_scheme=look, **(PHONE if phone else DESKTOP))
        self.page = self._context.new_page()
        self.page.set_default_timeout(WAIT_MILLISECONDS)
        self.is_phone = phone
        self.look = look

    def open(self, link: str) -> None:
        """Open a link, and wait until the page knows what to show."""
        self.page.goto(link)
        self._wait("body[data-ready]")

    def shows(self, part: Literal["message", "consent", "trial"]) -> bool:
        """Tell whether a part of the page is shown."""
        return bool(self.page.locator(f"#{part}").is_visible())

    def agree(self) -> None:
        """Tick the box and start."""
        self.page.locator("#agree").check()
        self.page.locator("#start").click()
        self._wait("#consent[hidden]")

    def wait_for_videos(self) -> None:
        """Wait until the three videos are loaded whole."""
        self._wait("#loading[hidden]")

    def choose(self, choices: Mapping[str, Side]) -> None:
        """Press A or B for each question."""
        for question, side in choices.items():
            self.page.locator(f"label.choice:has(input[name={question}][value={side}])").click()

    def wait_for_next(self) -> None:
        """Wait until everything is answered and the videos have played to their end."""
        self._wait("#next:not([disabled])")

    def go_on(self) -> None:
        """Press Next when it opens, and wait for the next set or the last page."""
        self.wait_for_next()
        before = self.page.locator("#trial").get_attribute("data-done")
        self.page.locator("#next").click()
        self._wait(f'#trial:not([data-done="{before}"]), #message:not([hidden])')

    def progress(self) -> str:
        """Read how far the person is, such as "Set 4 of 18"."""
        return str(self.page.locator("#count").text_content())

    def picture(self, path: Path) -> None:
        """Take a picture of what the screen shows."""
        self.page.screenshot(path=str(path))

    def leave(self) -> None:
        """Close the tab and forget everything that the browser kept of it."""
        self._context.close()

    def _wait(self, selector: str) -> None:
        self.page.locator(selector).first.wait_for(state="attached")
