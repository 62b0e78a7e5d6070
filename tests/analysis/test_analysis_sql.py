"""`LogAnalyzer.sql`: rows, data frames, Arrow tables, and a table for notebooks."""

from __future__ import annotations

import pytest
from analysis_kit import SessionBuilder

from Agent.analysis import LogAnalyzer
from Agent.errors import MissingExtra, UsageError


@pytest.fixture
def rewarded(builder: SessionBuilder) -> LogAnalyzer:
    for number in range(60):
        builder.emit("reward", f"agent_{number % 3}", reward=number / 2)
    return LogAnalyzer(builder.path)


def test_an_answer_is_a_sequence_of_dicts(rewarded: LogAnalyzer) -> None:
    answer = rewarded.sql("SELECT agent_id, count(*) AS n FROM rewards GROUP BY ALL ORDER BY ALL")
    expected = [{"agent_id": f"agent_{number}", "n": 20} for number in range(3)]
    assert answer == expected
    assert list(answer) == expected
    assert (len(answer), answer[0], answer[-1:]) == (3, expected[0], expected[-1:])
    assert answer.columns == ["agent_id", "n"]
    assert answer.types == {"agent_id": "VARCHAR", "n": "BIGINT"}
    assert answer != [] and answer == rewarded.sql(answer.query)


def test_batches_hold_the_same_rows(rewarded: LogAnalyzer) -> None:
    answer = rewarded.sql("SELECT reward FROM rewards ORDER BY reward")
    batches = list(answer.batches(25))
    assert [len(batch) for batch in batches] == [25, 25, 10]
    assert [row for batch in batches for row in batch] == [(row["reward"],) for row in answer]


def test_a_query_that_names_what_is_not_there_is_refused_before_rows_are_looked_at(
    rewarded: LogAnalyzer,
) -> None:
    with pytest.raises(UsageError, match=r"line 1, column 8"):
        rewarded.sql("SELECT nothing FROM events")


def test_an_answer_is_a_data_frame(rewarded: LogAnalyzer) -> None:
    pytest.importorskip("pandas")
    frame = rewarded.sql("SELECT agent_id, reward FROM rewards ORDER BY reward").to_df()
    assert list(frame.columns) == ["agent_id", "reward"]
    assert frame["reward"].sum() == sum(number / 2 for number in range(60))
    assert len(rewarded.to_df()) == 60


def test_an_answer_is_an_arrow_table(rewarded: LogAnalyzer) -> None:
    pytest.importorskip("pyarrow")
    table = rewarded.sql("SELECT agent_id, reward FROM rewards ORDER BY reward").to_arrow()
    assert table.column_names == ["agent_id", "reward"]
    assert table.column("reward").to_pylist() == [number / 2 for number in range(60)]


@pytest.mark.parametrize(("module", "method"), [("pandas", "to_df"), ("pyarrow", "to_arrow")])
def test_what_is_not_installed_is_named_with_its_extra(
    rewarded: LogAnalyzer, monkeypatch: pytest.MonkeyPatch, module: str, method: str
) -> None:
    answer = rewarded.sql("SELECT 1 AS one")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == module else object())
    with pytest.raises(MissingExtra, match=rf"needs {module}.*agent-trace\[dataframe\]"):
        getattr(answer, method)()


def test_a_notebook_gets_a_table_in_which_everything_is_text(rewarded: LogAnalyzer) -> None:
    answer = rewarded.sql("SELECT '<script>x</script>' AS \"<b>\", NULL AS nothing FROM range(70)")
    html = answer._repr_html_()
    assert "<script" not in html and "&lt;script&gt;" in html and "<th>&lt;b&gt;</th>" in html
    assert html.count("<tr>") == 51 and "20 rows more" in html


def test_an_answer_that_was_looked_at_stays_as_it_is(rewarded: LogAnalyzer, builder: SessionBuilder) -> None:
    answer = rewarded.sql("SELECT count(*) AS n FROM rewards")
    assert answer[0] == {"n": 60}
    builder.emit("reward", "agent_0", reward=1)
    assert answer[0] == {"n": 60}
    assert rewarded.sql("SELECT count(*) AS n FROM rewards")[0] == {"n": 61}
