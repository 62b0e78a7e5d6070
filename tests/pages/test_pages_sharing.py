"""A session as one HTML file: what it holds, how large it is, and that it says what the server says."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.browser import Tab
from support.processes import run_python

from Agent import AgentLogger, setup_logging, shutdown_logging, tick, trace_agent_action
from Agent.errors import DamagedInput, EventNotFound, UsageError
from Agent.server.pages import shared_page
from Agent.server.pages import sharing as pages_sharing
from Agent.view import open_view, sharing

EVIL = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>\u202e"


class Counter:
    def __init__(self) -> None:
        self.agent_id, self.agent_role, self.count, self.word = "counter", EVIL, 0, ""

    @trace_agent_action
    def add(self, word: str) -> int:
        self.count += 1
        self.word = word
        if self.count % 7 == 0:
            raise ValueError(word)
        return self.count


@pytest.fixture
def session(tmp_path: Path) -> Path:
    setup_logging(trace_root=tmp_path / "trace")
    counter = Counter()
    for number in range(60):
        with tick(number):
            try:
                counter.add(EVIL * (number % 3))
            except ValueError:
                AgentLogger("counter", EVIL).error(EVIL)
    shutdown_logging()
    (found,) = (tmp_path / "trace").glob("session_*")
    return found


def held(page: bytes) -> dict[str, Any]:
    """What a shared page holds."""
    found = re.search(rb'id="shared">([^<]*)<', page)
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


@pytest.mark.further
@pytest.mark.process
def test_a_page_holds_every_event_and_change_of_a_small_session_and_may_ask_nothing(session):
    page = shared_page(session.parent, session.name.removeprefix("session_"))
    data = held(page)
    (shared,) = data["sessions"].values()
    overview = shared["overview"]
    assert shared["part"] is None and len(shared["events"]["text"]) == overview["events"]
    assert sum(shared["events"]["step"]) == overview["length_us"]
    counts = [c["count"] for _, _, c in shared["states"]["counter"]["changes"] if "count" in c]
    assert counts == [str(number) for number in range(61)]
    policy = re.search(rb'Content-Security-Policy" content="([^"]*)"', page)[1].decode()
    assert "default-src &#39;none&#39;" in policy and "unsafe" not in policy and "connect-src" not in policy
    assert page.count(b"</script>") == 2, "the data and the program, and nothing that a session contains"


@pytest.mark.integration
def test_of_a_session_that_does_not_fit_a_page_holds_the_events_around_the_moment(session, monkeypatch):
    name = session.name.removeprefix("session_")
    whole = len(shared_page(session.parent, name))
    monkeypatch.setattr(pages_sharing, "MOST_BYTES", whole - 3_000)
    page = shared_page(session.parent, name, at="tick:20")
    assert len(page) <= whole - 3_000
    (shared,) = held(page)["sessions"].values()
    ticks = [each for each in shared["events"]["tick"] if each is not None]
    assert shared["part"]["events"] == len(shared["events"]["text"]) < shared["overview"]["events"]
    assert min(ticks) <= 20 < max(ticks)
    assert shared["part"]["before"]["events"] + len(ticks) <= shared["overview"]["events"]
    assert shared["part"]["before"]["events"] > 0
    first_us, id_, fields = shared["states"]["counter"]["changes"][0]
    assert (first_us, id_) == (0, None) or "count" in fields, "what the fields were before is there, too"


def test_a_moment_is_a_tick_an_event_or_a_time_and_others_are_refused(session):
    view = open_view(session.name.removeprefix("session_"), root=session.parent)
    try:
        assert view.wait(30)
        at = sharing.moment_of(view, "tick:20")
        assert view.counters(t=at.t)["tick"] == 20 and view.counters(t=at.t + 1)["tick"] == 21
        row = view.events(limit=9)["events"][-1]
        assert sharing.moment_of(view, row["id"]) == sharing.SharedMoment(row["t"], row["id"], row["agent"])
        time = view.event(row["id"])["event"]["timestamp"]
        assert sharing.moment_of(view, time).t == row["t"]
        for wrong in ("tick:999", "tick:x", "yesterday", ""):
            with pytest.raises(UsageError):
                sharing.moment_of(view, wrong)
        with pytest.raises(EventNotFound):
            sharing.moment_of(view, "aaaaaaaa-1")
    finally:
        view.close()


@pytest.mark.process
def test_the_command_writes_a_private_file_and_says_where(session):
    done = run_python(
        "-m",
        "Agent",
        "view",
        "--share",
        "a.html",
        "--at",
        "tick:3",
        "--root",
        str(session.parent),
        cwd=session.parent,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("a.html (") and (session.parent / "a.html").stat().st_mode & 0o777 == 0o600
    done = run_python(
        "-m",
        "Agent",
        "view",
        "--share",
        "b.html",
        "--at",
        "x",
        "--root",
        str(session.parent),
        cwd=session.parent,
    )
    assert (
        done.returncode == 2
        and "'x' is not a moment" in done.stderr
        and not (session.parent / "b.html").exists()
    )


@pytest.mark.integration
def test_a_shared_page_says_offline_what_the_server_says(demo, chromium, open_tab, tmp_path):
    name = min(each.name for each in demo.root.glob("session_*")).removeprefix("session_")
    file = tmp_path / "shared.html"
    file.write_bytes(shared_page(demo.root, name))
    assert file.stat().st_size <= 5_000_000
    served = open_tab(demo, f"/s/{name}")
    offline = Tab(chromium, "file:///")
    offline.context.set_offline(True)
    offline.page.goto(file.as_uri())
    parts = (".verdict", ".cards", ".labels", ".moment", ".states", ".events .rows")
    keys = (
        "",
        "Shift+ArrowRight",
        "]",
        "Escape",
        "ArrowDown",
        "ArrowLeft",
        "ArrowLeft",
        "Shift+ArrowLeft",
        "[",
    )
    for page in (served.page, offline.page):
        page.locator("button.card").first.wait_for()
    for key in keys:
        said = []
        for page in (served.page, offline.page):
            if key:
                page.keyboard.press(key)
            page.wait_for_timeout(700)
            said.append([page.locator(part).inner_text() for part in parts])
        assert said[0] == said[1], key
    offline.page.get_by_label("Search agents and events").fill("quota")
    offline.page.locator(".hits button").filter(has_text="TrendQuotaExceeded").first.click()
    offline.page.locator(".detail").get_by_text("TrendQuotaExceeded").first.wait_for()
    assert offline.serious() == [] and offline.complaints == []
    offline.context.close()


@pytest.mark.integration
def test_a_shared_comparison_opens_at_the_first_difference_and_hostile_texts_stay_texts(
    session, chromium, tmp_path
):
    root, name = session.parent, session.name.removeprefix("session_")
    setup_logging(trace_root=root)
    counter = Counter()
    for number in range(60):
        with tick(number):
            counter.count += number == 30
            try:
                counter.add(EVIL * (number % 3))
            except ValueError:
                AgentLogger("counter", EVIL).error(EVIL)
    shutdown_logging()
    (other,) = (p.name.removeprefix("session_") for p in root.glob("session_*") if p != session)
    file = tmp_path / "shared.html"
    file.write_bytes(shared_page(root, name, other=other))
    tab = Tab(chromium, "file:///")
    tab.page.goto(file.as_uri())
    tab.page.locator(".difference .first").wait_for()
    tab.page.get_by_text("Tick 30", exact=True).first.wait_for()
    tab.page.locator(".pairs button").nth(3).click()
    tab.page.wait_for_timeout(500)
    assert tab.page.evaluate("() => window.pwned") is None
    assert tab.complaints == []
    tab.context.close()


@pytest.mark.process
def test_a_session_without_an_event_that_can_be_read_is_refused_in_one_line(session):
    for path in session.rglob("*.log"):
        lines = path.read_bytes().splitlines()
        path.write_bytes(b"".join(b"\0" * 50 + line + b"\0\n" for line in lines))
    for at in (None, "tick:3"):
        with pytest.raises(DamagedInput, match="no event that can be read") as told:
            shared_page(session.parent, session.name.removeprefix("session_"), at=at)
        assert "agent-trace verify" in told.value.remedy
