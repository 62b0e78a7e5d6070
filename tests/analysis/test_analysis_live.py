"""Questions about a session that goes on: files that roll, come and go while a question is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from analysis_kit import SessionBuilder

from Agent.analysis import LogAnalyzer
from Agent.analysis.query import engine as engine_module
from Agent.analysis.query.engine import Engine, FilesMoved, open_engine
from Agent.analysis.query.kept import kept
from Agent.analysis.query.views import scan
from Agent.tree.layout import tree_files


def tables(engine: Engine) -> list[str]:
    return [row["table_name"] for row in engine.rows("SELECT table_name FROM duckdb_tables()")]


def roll(builder: SessionBuilder, agent_id: str) -> None:
    """Give the agent's live file its number, and begin a new one."""
    live = builder.file_of(agent_id)
    number = 1 + sum(path.name.startswith(f"{live.stem}.") for path in live.parent.iterdir())
    live.rename(live.with_name(f"{live.stem}.{number}.log"))
    builder.emit("log", agent_id)


@pytest.fixture
def before_each(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is done before each statement: the list, to which tests add."""
    steps: list[Any] = []
    execute = Engine._execute

    def step_and_execute(self: Engine, sql: str, parameters: Any) -> Any:
        for step in steps:
            step(sql)
        return execute(self, sql, parameters)

    monkeypatch.setattr(Engine, "_execute", step_and_execute)
    return steps


def fill(builder: SessionBuilder) -> None:
    for agent_id in ("a", "b"):
        builder.emit("error", agent_id, level="ERROR", error_type="ValueError", error_message="no")
        builder.emit("interaction", agent_id, interaction_type="like", source_id=agent_id, target_id="b")
        builder.emit(
            "agent_message", agent_id, direction="sent", message_id="m", sender="a", recipient="b", body={}
        )
        builder.emit("metric", agent_id, metric_name="queue", value=1.0)
        builder.emit("reward", agent_id, reward=1.0)
        builder.emit("agent_action", agent_id, action_type="act", duration_ms=1.0, span=f"span{agent_id}")


@pytest.mark.integration
def test_files_that_roll_during_each_statement_spoil_no_question(
    builder: SessionBuilder, before_each: list[Any]
) -> None:
    fill(builder)
    before_each.append(lambda _: roll(builder, "a"))
    analyzer = LogAnalyzer(builder.path)
    analyzer.find_error_patterns()
    analyzer.analyze_interactions()
    analyzer.performance_summary()
    analyzer.timeline()
    analyzer.sql("SELECT count(*) AS n FROM events")
    losses = analyzer.losses()
    assert (losses["lost"], losses["unknown"]) == (0, 0)
    before_each.clear()
    assert tables(analyzer.engine) == []


def test_statements_over_kept_tables_alone_look_at_no_file(builder: SessionBuilder) -> None:
    fill(builder)
    looked: list[int] = []

    def listed() -> list[Path]:
        looked.append(1)
        return tree_files(builder.path)

    engine = Engine(builder.path, listed)
    with kept(engine, "all_lines", f"(SELECT agent_id FROM {scan()})") as source:
        made = len(looked)
        assert made == 1
        assert engine.row(f"SELECT count(*) AS n FROM {source}")["n"] == 12
        for path in builder.path.glob("agents/*.log"):
            path.rename(path.with_suffix(".away"))
        assert engine.row(f"SELECT count(DISTINCT agent_id) AS n FROM {source}")["n"] == 2
    assert len(looked) == made
    assert tables(engine) == []


def test_a_file_that_comes_while_a_question_is_answered_does_not_make_it_be_asked_again(
    builder: SessionBuilder, before_each: list[Any]
) -> None:
    fill(builder)
    asked: list[str] = []
    before_each.append(lambda sql: builder.emit("log", f"new_{len(asked)}") and asked.append(sql))
    assert open_engine(builder.path).row(f"SELECT count(*) AS n FROM {scan()}")["n"] == 12
    assert len(asked) == 1


def test_where_many_files_roll_all_the_time_the_question_is_asked_once(
    builder: SessionBuilder, before_each: list[Any]
) -> None:
    names = [f"agent_{n}" for n in range(10)]
    for name in names:
        builder.emit("log", name)
    asked: list[str] = []
    before_each.append(lambda sql: asked.append(sql) or [roll(builder, name) for name in names])
    assert open_engine(builder.path).row(f"SELECT count(*) AS n FROM {scan()}")["n"] == 10
    assert len(asked) == 1


def test_a_table_is_kept_whole_or_not_at_all_where_files_go_away_for_good(
    builder: SessionBuilder, before_each: list[Any]
) -> None:
    fill(builder)
    engine = open_engine(builder.path)
    made: list[str] = []

    def roll_then_refuse(sql: str) -> None:
        if not sql.startswith("CREATE"):
            return
        made.append(sql)
        if len(made) > 1:
            raise FilesMoved("away")
        roll(builder, "a")

    before_each.append(roll_then_refuse)
    with pytest.raises(FilesMoved):
        engine.keep("lines", f"(SELECT * FROM {scan()})")
    assert len(made) > 1
    assert tables(engine) == []


def test_an_interrupt_leaves_no_table(builder: SessionBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(builder)
    engine = open_engine(builder.path)
    real = engine_module.interruptible
    made = []

    def interrupted(*arguments: Any) -> Any:
        answer = real(*arguments)
        if not made:
            made.append(answer)
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(engine_module, "interruptible", interrupted)
    with pytest.raises(KeyboardInterrupt), kept(engine, "lines", scan()):
        pytest.fail("it was interrupted before")
    assert tables(engine) == []
    with kept(engine, "lines", scan()) as source:
        assert engine.row(f"SELECT count(*) AS n FROM {source}")["n"] == 12
