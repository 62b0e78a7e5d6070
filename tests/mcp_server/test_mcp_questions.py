"""The questions of the MCP server as a model asks them: read-only, inside the trace root, clear about mistakes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from Agent.demo.platform import Settings, record_session
from Agent.errors import AgentNotFound, AgentTraceError, EventNotFound, SessionNotFound, UsageError
from Agent.mcp.questions import Questions


@pytest.fixture(scope="module", autouse=True)
def library():
    pytest.importorskip("mcp", reason="the MCP server needs mcp, of the extra [mcp]")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A trace root with one session of the demo."""
    place = tmp_path_factory.mktemp("recorded") / "trace"
    record_session(place, Settings(agents=20, ticks=48, seed=7))
    return place


@pytest.fixture
def questions(root):
    tool_method = Questions(root, 30)
    yield tool_method
    tool_method.close()


@pytest.mark.integration
def test_an_overview_leads_to_an_agent_its_errors_and_its_state(questions):
    (session,) = questions.sessions()["sessions"]
    overview = questions.analyze(session["session_id"])
    assert overview["total_events"] == session["events"]
    assert "creator_017" in overview["agents"]
    journey = questions.journey("creator_017", from_tick=30, to_tick=40, kinds=["agent_action"], limit=200)
    assert {event["event_type"] for event in journey["events"]} == {"agent_action"}
    assert {event["tick"] for event in journey["events"]} == set(range(30, 41))
    patterns = questions.errors()["patterns"]
    assert sum(row["count"] for row in patterns) == session["errors"]
    state = questions.state("creator_017", at="tick:30")
    assert state["fields"]["agent_id"] == "creator_017"
    assert len(str(state["fields"]["rng"])) < 500  # a generator, cut
    assert state["as_of"]["tick"] == 30


def test_the_first_events_are_given_on_request(questions):
    first = questions.journey("creator_017", newest=False, limit=3)["events"]
    last = questions.journey("creator_017", limit=3)["events"]
    assert len(first) == len(last) == 3
    assert first[0]["timestamp"] < last[0]["timestamp"]


def test_sql_answers_rows_and_says_that_there_are_more(questions):
    found = questions.sql("SELECT agent_id, count(*) AS n FROM events GROUP BY ALL ORDER BY n DESC", limit=2)
    assert found["columns"] == ["agent_id", "n"]
    assert len(found["rows"]) == 2 and "first 2 rows" in found["more"]
    assert "reward" in questions.sql()["views"]["rewards"]


@pytest.mark.integration
def test_two_sessions_are_compared_whole_and_by_agent(questions):
    assert questions.diff("last", "last")["differ"] is False
    assert questions.diff("last", "last", agent="creator_001")["compared"] > 0


OUTSIDE = ("../elsewhere", "/etc", "session_x/../..", "a/b", "", "last\n", "~", "x" * 100)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_path_is_no_name_of_a_session(questions, name):
    for ask in (
        questions.analyze,
        questions.errors,
        questions.sql,
        lambda each: questions.diff(each, "last"),
    ):
        with pytest.raises(UsageError, match="is not a session id"):
            ask(name) if ask != questions.sql else ask("SELECT 1", name)


def test_a_link_to_a_session_elsewhere_is_no_session(root, tmp_path, questions):
    real = next(root.glob("session_*"))
    other = tmp_path / "other"
    other.mkdir()
    (other / "session_20200101_000000").symlink_to(real)
    with pytest.raises(SessionNotFound):
        Questions(other).analyze("20200101_000000")
    with pytest.raises(SessionNotFound):
        Questions(other).diff("20200101_000000", "20200101_000000", agent="creator_001")


def test_sql_reads_the_session_alone_and_writes_nothing(questions):
    for query in (
        "DROP TABLE events",
        "SELECT * FROM read_text('/etc/hostname')",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "SELECT * FROM glob('/*')",
        "SELECT 1; SELECT 2",
        "ATTACH '/tmp/x.db'",
    ):
        with pytest.raises(UsageError):
            questions.sql(query)


def test_what_does_not_exist_is_an_error_with_a_remedy(questions):
    with pytest.raises(AgentNotFound, match="creator_001"):
        questions.journey("nobody")
    with pytest.raises(AgentNotFound, match="did you mean creator_017"):
        questions.diff("last", "last", agent="creator17")
    with pytest.raises(EventNotFound):
        questions.causes("aaaaaaaa-1")
    with pytest.raises(UsageError, match="unknown kind of event"):
        questions.journey("creator_017", kinds=["nonsense"])
    with pytest.raises(UsageError, match="empty"):
        questions.debug(" ")


def digests(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.integration
def test_no_question_changes_a_file(root, questions):
    before = digests(root)
    questions.sessions()
    questions.analyze()
    questions.journey("creator_017")
    questions.errors(agent="trend_service")
    changed = questions.state("creator_017", why="cooldown_until")["changes"][-1]
    questions.causes(changed["id"], effects=True)
    questions.diff("last", "last")
    questions.sql("SELECT count(*) FROM events")
    questions.close()
    assert digests(root) == before


def test_without_the_extra_one_line_says_what_to_install(monkeypatch):
    import sys

    import Agent.mcp

    for name in [each for each in sys.modules if each == "mcp" or each.startswith(("mcp.", "Agent.mcp."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(vars(Agent.mcp), "serve_stdio", raising=False)
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(AgentTraceError, match=r"needs mcp, which is not installed.*agent-trace\[mcp\]"):
        Agent.mcp.serve_stdio(Path())
