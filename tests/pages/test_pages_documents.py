"""The document pages: what they say about a session with runs, from the blocks that commands print."""

from __future__ import annotations

import pytest

from Agent import AgentLogger, setup_logging, shutdown_logging
from Agent.errors import EventNotFound
from Agent.flight import recorder
from Agent.render.blocks import Column, Link, Words, grid
from Agent.render.html import block_html
from Agent.render.layout import table
from Agent.server.pages.documents import SECTIONS, report_page, sessions_page
from Agent.tree.layout import list_sessions


@pytest.fixture
def recorded(tmp_path):
    """A trace root, and the id of its session with one run."""
    setup_logging(trace_root=tmp_path)
    recorder.start_run("plan the day", run_id="a-run")
    recorder.start_step("one", "write <b>the</b> list")
    recorder.save_artifact("out/list.json", {"text": "milk"})
    recorder.finish_step("one")
    recorder.finish_run()
    AgentLogger("writer", "author").error("<i>it failed</i>")
    shutdown_logging()
    (session,) = list_sessions(tmp_path)
    return tmp_path, session.session_id


def text_of(page):
    return "".join(f"{title}\n{drawn}" for title, drawn in page.sections)


def test_the_runs_of_a_session_are_listed_with_their_steps_and_artifacts(recorded):
    root, session = recorded
    page = report_page(root, session, "runs")
    text = text_of(page)
    assert (page.title, page.about) == ("Runs", session)
    assert "Run a-run" in text and "Steps: 1" in text and "out/list.json" in text
    assert "write &lt;b&gt;the&lt;/b&gt; list" in text and "<b>the</b>" not in text


@pytest.mark.integration
def test_every_report_is_there_and_says_so_where_nothing_was_recorded(recorded):
    root, session = recorded
    pages = {name: text_of(report_page(root, session, name)) for name in SECTIONS}
    assert all(pages.values())
    numbers = {name: value for name, value, _ in report_page(root, session, "overview").numbers}
    assert numbers["error"] == "1" and numbers["events lost"] == "0"
    assert "&lt;i&gt;it failed&lt;/i&gt;" in pages["errors"]
    with pytest.raises(EventNotFound, match="no report 'nothing'"):
        report_page(root, session, "nothing")


def test_sessions_are_links_to_their_pages_below_the_place_of_the_pages():
    row = {"id": "20261120_103045", "started": "2026-11-20T10:30:45Z", "size_bytes": 5000, "is_running": True}
    text = text_of(sessions_page({"sessions": [row]}, "/view"))
    assert '<a href="/view/s/20261120_103045">20261120_103045</a>' in text
    assert "running" in text and "2026-11-20 10:30:45" in text
    assert "agent-trace demo" in text_of(sessions_page({"sessions": []}, ""))


def test_a_link_is_its_text_in_a_terminal_and_cannot_leave_its_attribute():
    link = Link("a <b>", '/s/"><script>')
    assert table([[link]]) == ["a <b>"]
    drawn = block_html(grid([link], Column("name", lambda each: each)))
    assert '<a href="/s/&#34;&gt;&lt;script&gt;">a &lt;b&gt;</a>' in drawn
    assert block_html(Words("x")) == "<p>x</p>"
