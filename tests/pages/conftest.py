"""What the tests of the pages in a real Chromium share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.browser import Tab, started_chromium
from support.processes import be_one_user, run_python

from Agent.server.pages import PagesServer


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    with started_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PagesServer]:
    """The pages of the demo's session."""
    directory = tmp_path_factory.mktemp("demo")
    be_one_user()
    size = ["--agents", "60", "--ticks", "96"]
    done = run_python("-m", "Agent", "demo", *size, "--root", str(directory / "trace"), cwd=directory)
    assert done.returncode == 0, done.stderr
    with PagesServer(directory / "trace") as server:
        yield server


@pytest.fixture(autouse=True)
def one_user(isolation: None) -> None:
    """Who looks at the pages is who recorded: the targets of a recording are called without being given."""
    be_one_user()


@pytest.fixture
def open_tab(chromium: Any) -> Iterator[Any]:
    """Opens pages; at the end, none of them may have complained."""
    tabs: list[Tab] = []

    def opened(server: PagesServer, path: str = "/", **how: str) -> Tab:
        tab = Tab(chromium, f"http://127.0.0.1:{server.port}/", **how)
        tabs.append(tab)
        tab.page.goto(server.address(path))
        return tab

    yield opened
    for tab in tabs:
        tab.context.close()
    assert [complaint for tab in tabs for complaint in tab.complaints] == []
