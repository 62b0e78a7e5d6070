"""Make the pictures of docs/PAGES.md anew: `python -m benchmarks.pictures`, with playwright, Chromium and pillow.

Records the demo, opens its pages in a headless Chromium as a reader would, and keeps in docs/images what is seen.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from Agent.server.pages import PagesServer
from benchmarks.viewers import CHROMIUM

PICTURES = Path(__file__).parents[1] / "docs" / "images"
WAIT_MS = 240_000
COLOURS = 128
"""Of a picture: flat areas and text need no more, and a file is a third as large."""


def first_screen(page: Any) -> None:
    """What one sees first."""
    page.locator(".states .row").first.wait_for()


def causes(page: Any) -> None:
    """Where a value was set, and the causes of that event over the lanes."""
    page.get_by_role("button", name="3614", exact=True).click()
    page.get_by_text("What led to it").wait_for()
    page.get_by_role("button", name="Involved").click()
    for _ in range(4):
        page.keyboard.press("+")
        page.wait_for_timeout(300)


def what_if(page: Any) -> None:
    """A field of the state changed in the form of a fork."""
    page.locator(".forker").click()
    page.locator(".whatif label", has_text="cooldown_until").locator("input").fill("0")


def compare(page: Any) -> None:
    """The fork that the form runs, beside its origin."""
    what_if(page)
    page.get_by_label("May be called live").fill("trend_service")
    page.get_by_role("button", name="Run the fork").click()
    page.locator(".difference .first").wait_for()
    page.locator(".pairs button").first.wait_for()


FORKS = (what_if, compare)
"""Of pages that may fork."""
SHOWN: dict[str, tuple[Callable[[Any], None], tuple[int, int], str]] = {
    "first-screen": (first_screen, (1280, 800), "light"),
    "causes": (causes, (1280, 800), "dark"),
    "what-if": (what_if, (1280, 800), "light"),
    "compare": (compare, (1280, 800), "light"),
    "phone": (first_screen, (390, 844), "light"),
}


def main() -> int:
    """Make every picture, and say how large it is."""
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        root = Path(directory) / "trace"
        demo = [sys.executable, "-m", "Agent", "demo"]
        subprocess.run(demo, check=True, cwd=directory, stdout=subprocess.DEVNULL)
        (session,) = (each.name.removeprefix("session_") for each in root.glob("session_*"))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, (show, (width, height), scheme) in SHOWN.items():
            with PagesServer(root, allow_fork=show in FORKS) as server:
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
                )
                page = context.new_page()
                page.set_default_timeout(WAIT_MS)
                page.goto(server.address(f"/s/{session}"))
                page.locator("button.card").first.wait_for()
                show(page)
                page.mouse.move(0, height - 1)
                page.wait_for_timeout(1_000)  # tiles that are still on their way
                file = PICTURES / f"{name}.png"
                page.screenshot(path=file)
                Image.open(file).convert("RGB").quantize(COLOURS).save(file, optimize=True)
                print(f"{file.name}: {file.stat().st_size / 1_000:.0f} KB")
                context.close()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
