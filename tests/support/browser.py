"""A real Chromium for tests of the pages: where it is, what it complains about, and what axe finds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.processes import REPOSITORY

AXE = REPOSITORY / "ui" / "node_modules" / "axe-core" / "axe.min.js"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SIZES = {"wide": (1280, 800), "narrow": (390, 844)}
WAIT_MS = 240_000
"""How long a page may take: `debug` on a busy machine."""


@contextmanager
def started_chromium() -> Iterator[Any]:
    """A browser for a while; the test is skipped where Playwright or Chromium is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip("no Chromium is installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Tab:
    """One page, with everything that it complained about or asked of other servers.

    Args:
        browser: of Playwright.
        server: the only address that the page may ask.
        size: a key of `SIZES`.
        scheme: light or dark.
        motion: `reduce` for people who want none.
    """

    def __init__(
        self,
        browser: Any,
        server: str,
        size: str = "wide",
        scheme: str = "light",
        motion: str = "no-preference",
    ) -> None:
        width, height = SIZES[size]
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion=motion
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self._said(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda request: self._asked(request.url, server))
        self.page.on("response", lambda answer: self._answered(answer.status, answer.url))

    def _said(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.complaints.append(f"console {kind}: {text}")

    def _asked(self, url: str, server: str) -> None:
        if not url.startswith(server) and not url.startswith("data:"):
            self.complaints.append(f"asked elsewhere: {url[:200]}")

    def _answered(self, status: int, url: str) -> None:
        if status >= 400:
            self.complaints.append(f"{status}: {url[:200]}")

    def serious(self) -> list[str]:
        """What axe-core finds of serious or critical impact."""
        if not AXE.is_file():
            pytest.skip("axe-core is not installed: npm ci in ui")
        # As the debugger evaluates it: the page itself may not run what is not a file of the server.
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("async () => JSON.stringify((await axe.run()).violations)")
        return [
            f"{each['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
            for each in json.loads(found)
            if each["impact"] in {"serious", "critical"}
            for node in each["nodes"]
        ]

    def picture(self, directory: Path, name: str) -> None:
        """Keep a screenshot."""
        self.page.screenshot(path=directory / f"{name}.png")
