"""Answers as tables of other libraries: Arrow in memory, Parquet and CSV in files, with equal rows and types."""

from __future__ import annotations

import csv
import json
import stat

import pytest

from Agent import AgentLogger, LearningLogger, LogAnalyzer, setup_logging, shutdown_logging, tick
from Agent.analysis.query.tables import WRITERS, write_csv, write_parquet

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed; it is in the extra [dataframe]")

QUERY = "SELECT agent_id, tick, reward FROM rewards ORDER BY tick, agent_id"


@pytest.fixture
def analyzer(trace_root):
    setup_logging(trace_root=trace_root)
    for number in range(20):
        with tick(number):
            for name in ("a", "b"):
                LearningLogger("rl", name).log_reward("x", number / 4)
            AgentLogger("a").log_action("say", {"text": 'comma, "quote"\nline é\x07', "n": [1, {"k": None}]})
    shutdown_logging()
    with LogAnalyzer(next(trace_root.glob("session_*"))) as found:
        yield found


def test_polars_pandas_pyarrow_and_duckdb_read_an_answer_of_sql(analyzer):
    polars = pytest.importorskip("polars", reason="polars is not installed; it is in the extra [test]")
    pandas = pytest.importorskip("pandas", reason="pandas is not installed; it is in the extra [dataframe]")
    import duckdb

    answer = analyzer.sql(QUERY)
    rows = list(answer)
    assert len(rows) == 40
    assert polars.DataFrame(answer).to_dicts() == rows
    assert pyarrow.table(answer).to_pylist() == rows
    assert pandas.DataFrame.from_arrow(answer).to_dict("records") == rows
    assert duckdb.sql("SELECT sum(reward) FROM answer").fetchall() == [(sum(row["reward"] for row in rows),)]
    assert pyarrow.table(answer).schema.field("tick").type == pyarrow.int64()


def test_every_answer_in_rows_is_read_by_whoever_reads_arrow(analyzer):
    polars = pytest.importorskip("polars", reason="polars is not installed; it is in the extra [test]")
    pandas = pytest.importorskip("pandas", reason="pandas is not installed; it is in the extra [dataframe]")
    import duckdb

    for found in (analyzer.trace_agent_journey("a"), analyzer.get_errors(), analyzer.checkpoints()):
        assert polars.DataFrame(found).height == len(found)
        assert pandas.DataFrame.from_arrow(found).shape[0] == len(found) == pyarrow.table(found).num_rows
        if found:
            assert duckdb.sql("SELECT count(*) FROM found").fetchall() == [(len(found),)]
            assert polars.DataFrame(found)["id"].to_list() == [each["id"] for each in found]
            assert json.loads(json.dumps(list(found))) == found and found[:1] == [found[0]]
    assert len(analyzer.trace_agent_journey("a")) > 0


def test_a_journey_is_a_table_too_with_nested_values_as_json(analyzer):
    journey = analyzer.trace_agent_journey("a")
    table = journey.to_arrow()
    assert pyarrow.RecordBatchReader.from_stream(journey).read_all() == table
    assert table.num_rows == len(journey)
    assert table["tick"].to_pylist() == [each["tick"] for each in journey]
    assert [json.loads(text) for text in table["extra"].to_pylist()] == [each["extra"] for each in journey]
    assert analyzer.trace_agent_journey("nobody").to_arrow().num_rows == 0


def test_batches_have_the_rows_of_the_answer_and_a_schema_without_any(analyzer):
    schema, *batches = analyzer.sql(QUERY).arrow_batches(16)
    assert schema.names == ["agent_id", "tick", "reward"]
    assert [row for batch in batches for row in batch.to_pylist()] == list(analyzer.sql(QUERY))
    (schema,) = analyzer.sql("SELECT tick FROM events WHERE false").arrow_batches()
    assert schema.names == ["tick"]


def test_parquet_has_all_events_with_their_payloads(analyzer, tmp_path):
    import pyarrow.parquet

    everything = analyzer.sql("SELECT * FROM events ORDER BY ts_us, writer, seq")
    number = write_parquet(tmp_path / "events.parquet", everything)
    rows = pyarrow.parquet.read_table(tmp_path / "events.parquet").to_pylist()
    assert len(rows) == number == len(everything)
    assert [row["id"] for row in rows] == [row["id"] for row in everything]
    assert [json.loads(row["extra"]) for row in rows] == [json.loads(row["extra"]) for row in everything]


def test_csv_reads_back_with_quotes_lines_and_nested_values(analyzer, tmp_path):
    query = "SELECT id, tick, extra, causes FROM events WHERE event_type = 'agent_action' ORDER BY seq"
    assert write_csv(tmp_path / "x.csv", analyzer.sql(query)) == 20
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [row["id"] for row in analyzer.sql(query)]
    assert json.loads(rows[3]["extra"])["action_data"]["text"] == 'comma, "quote"\nline é\x07'
    assert rows[0]["causes"] == ""


def test_a_file_is_new_private_and_complete(analyzer, tmp_path):
    for form, write in WRITERS.items():
        path = tmp_path / f"x.{form}"
        write(path, analyzer.sql(QUERY))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        before = path.read_bytes()
        with pytest.raises(FileExistsError):
            write(path, analyzer.sql(QUERY))
        assert path.read_bytes() == before
        failing = tmp_path / f"y.{form}"
        with pytest.raises(Exception, match="query failed"):
            write(failing, analyzer.sql("SELECT error('no') FROM events"))
        assert not failing.exists()
