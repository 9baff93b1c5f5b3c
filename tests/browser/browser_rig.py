"""Headless Chromium, and what is asked of every page in it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.situation import until

AXE = Path(__file__).parent / "js/node_modules/axe-core/axe.min.js"
SIZES = {"narrow": (360, 740), "wide": (1280, 900)}
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def chromium() -> str | None:
    """The browser; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def why_not() -> str:
    """What is missing for these tests; empty when nothing is."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed"
    if chromium() is None or shutil.which("chromedriver") is None:
        return "needs Chromium and its chromedriver"
    return "" if AXE.exists() else "needs axe-core: scripts/browser.sh installs it"


class Browser:
    """One window. Whatever it asks for, and what its console says, is kept."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.colours("light")  # and nothing moves by itself

    def open(self, url: str) -> None:
        """Anew: not a change of the fragment of what is open."""
        self.driver.get("about:blank")
        self.driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        """What `script` returns."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> Any:
        """The first element."""
        return self.driver.find_element("css selector", selector)

    def find_all(self, selector: str) -> list[Any]:
        """All of them, in the order of the page."""
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def text(self, selector: str = "body") -> str:
        """As it is on the screen."""
        text: str = self.find(selector).text
        return text

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait; a page that is drawing itself anew meanwhile is asked again."""
        from selenium.common.exceptions import (
            NoSuchElementException,
            StaleElementReferenceException,
        )

        def holds() -> bool:
            try:
                return bool(condition())
            except (NoSuchElementException, StaleElementReferenceException):
                return False

        until(holds, what)

    def click(self, element: Any) -> None:
        """Where it can be seen: the header stays at the top, over whatever is there."""
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def press(self, *keys: str) -> None:
        """Keys, for whatever has the focus."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def resize(self, size: str) -> None:
        """As wide as a telephone or a desktop; the viewport, not the window."""
        width, height = SIZES[size]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.settle()

    def colours(self, scheme: str) -> None:
        """The system prefers `light` or `dark`."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.settle()

    def settle(self) -> None:
        """Two frames: what follows from a change of size is drawn."""
        self.driver.execute_async_script(
            "const done = arguments[0];"
            "requestAnimationFrame(() => requestAnimationFrame(() => done()));"
        )

    def picture(self, name: str) -> None:
        """The whole page as a picture, where TEST_PICTURES names a folder for them."""
        folder = os.environ.get("TEST_PICTURES")
        if not folder:
            return
        import base64

        self.run("scrollTo(0, 0)")
        self.settle()
        size = self.run("return [innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": min(size[1], 12_000), "scale": 1}
        shot = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot",
            {"format": "png", "captureBeyondViewport": True, "clip": clip},
        )
        Path(folder, f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    # --- what is asked of every page --------------------------------------------------------------

    def violations(self) -> list[str]:
        """Of the rules of axe-core, on the page as it is."""
        # By the protocol of the driver: the page's own policy allows no such script.
        self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text("utf-8")})
        found = self.driver.execute_async_script(
            "const done = arguments[1];"
            "axe.run(document, {runOnly: arguments[0], resultTypes: ['violations']})"
            ".then((found) => done(found.violations.map((one) => one.id + ': ' + one.nodes"
            ".map((node) => node.target.join(' ') + ' ' + node.failureSummary).slice(0, 4)"
            ".join(' | '))), (error) => done(['axe failed: ' + error]));",
            TAGS,
        )
        assert isinstance(found, list)
        return found

    def too_wide(self) -> list[str]:
        """Elements that make the page scroll sideways."""
        found: list[str] = self.run(
            "const wide = document.documentElement.clientWidth;"
            "if (document.documentElement.scrollWidth <= wide) return [];"
            "return [...document.querySelectorAll('body *')]"
            ".filter((one) => one.getBoundingClientRect().right > wide + 1)"
            ".map((one) => one.tagName + '.' + one.getAttribute('class')).slice(0, 9);"
        )
        return found

    def look(self, name: str) -> None:
        """The page narrow and wide, light and dark: all of it accessible, nothing too wide."""
        for scheme in ("light", "dark"):
            self.colours(scheme)
            for size in SIZES:
                self.resize(size)
                self.picture(f"{name}-{scheme}-{size}")
                assert self.violations() == [], f"{name}, {scheme}, {size}"
                assert self.too_wide() == [], f"{name}, {scheme}, {size}"
        self.colours("light")

    def glance(self, name: str) -> None:
        """The page narrow alone: of one that differs little from one that was looked at."""
        self.resize("narrow")
        self.picture(f"{name}-narrow")
        assert self.violations() == [], name
        assert self.too_wide() == [], name

    def listen(self) -> None:
        """Read what has come since in its two logs."""
        for entry in self.driver.get_log("browser"):
            if entry["level"] in ("SEVERE", "WARNING"):
                self.complaints.append(entry["message"])
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.asked.append(message["params"]["request"]["url"])

    def asked_elsewhere(self, *allowed: str) -> list[str]:
        """What was asked of others than those whose addresses begin so."""
        self.listen()
        inside = (*allowed, "data:", "about:", "chrome:")
        return [url for url in self.asked if not url.startswith(inside)]


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """A browser with a fresh profile in `folder`."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium() or ""
    for argument in (
        "--headless=new",
        "--no-sandbox",  # which root has none of
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-default-apps",
        "--disable-sync",
        f"--user-data-dir={folder}",
        "--window-size=1280,900",
        "--lang=en",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_script_timeout(60)
        yield Browser(driver)
    finally:
        driver.quit()
