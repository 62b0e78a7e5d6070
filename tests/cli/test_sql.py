"""`sql`: the views, three forms of answer, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import shutil
import signal
import subprocess
import sys

import pytest
from support.processes import child_environment, wait_until_it_computes
from support.session_files import of_agent, of_kind, session_events

from Agent.analysis.query.engine import Engine


def test_a_question_is_answered_as_table_json_and_csv(ask, recorded):
    events = session_events(recorded.session)
    actions = of_kind(events, "agent_action")
    query = "SELECT action_type, count(*) AS n FROM actions GROUP BY ALL ORDER BY n DESC, action_type"
    counts = {}
    for event in actions:
        counts[event["extra"]["action_type"]] = counts.get(event["extra"]["action_type"], 0) + 1
    expected = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    table = ask("sql", query).stdout.splitlines()
    assert table[0].split() == ["action_type", "n"]
    assert [tuple(line.split()) for line in table[1:]] == [(name, str(n)) for name, n in expected]
    assert json.loads(ask("sql", query, "--json").stdout) == [{"action_type": a, "n": n} for a, n in expected]
    written = ask("sql", query, "--csv").stdout
    assert "\r" not in written
    rows = list(csv.reader(io.StringIO(written, newline="")))
    assert rows == [["action_type", "n"], *([name, str(n)] for name, n in expected)]


@pytest.mark.further
def test_a_pipe_gets_a_value_of_a_megabyte_whole_and_no_row_is_padded_to_it(ask):
    query = "SELECT repeat('x', CASE WHEN range = 5 THEN 1000000 ELSE 1 END) AS wide, range FROM range(100)"
    done = ask("sql", query)
    assert "x" * 1_000_000 in done.stdout
    assert len(done.stdout) < 1_100_000


@pytest.mark.integration
def test_a_run_is_a_session_or_one_agent_of_it(ask, recorded):
    query = "SELECT count(*) AS n FROM events"
    events = session_events(recorded.session)
    one = of_agent(events, "creator_003")
    for run_name, expected in (
        ("last", events),
        (recorded.session_id, events),
        (str(recorded.session), events),
        ("last/creator_003", one),
    ):
        assert json.loads(ask("sql", query, run_name, "--json").stdout) == [{"n": len(expected)}]
    assert ask("sql", query, "1999").returncode == 3
    done = ask("sql", query, "last/creator_9999")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)


@pytest.mark.further
def test_the_schema_names_every_view_with_its_columns(ask):
    found = json.loads(ask("sql", "--schema", "--json").stdout)
    assert sorted(found) == Engine.view_names()
    assert found["rewards"]["reward"] == "DOUBLE"
    assert found["events"]["extra"] == "JSON"
    text = ask("sql", "--schema").stdout
    assert all(f"\n{name}\n" in f"\n{text}" for name in Engine.view_names())
    assert "reward DOUBLE" in text


@pytest.mark.further
@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("SELEKT 1", "line 1, column 1"),
        ("SELECT nothing\nFROM events", "line 1, column 8"),
        ("SELECT *\n  FROM evnts", "line 2, column 8"),
        ("SELECT 1 FROM events WHERE " + "tick = 1 AND " * 40 + "nonsense", "line 1, column 548"),
    ],
)
def test_bad_sql_is_one_line_with_the_place(ask, query, place):
    done = ask("sql", query)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert place in done.stderr


@pytest.mark.further
@pytest.mark.parametrize(
    "query",
    [
        "COPY events TO '{session}/x.csv'",
        "WITH x AS (COPY (SELECT 1) TO '{session}/x.csv') SELECT * FROM x",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{session}/x.csv'",
        "EXPLAIN (ANALYZE, FORMAT JSON) COPY (SELECT 1) TO '{session}/x.csv'",
        "explain\nanalyze /* SELECT */ COPY (SELECT 1) TO '{session}/x.csv'",
        "-- SELECT\nCOPY (SELECT 1) TO '{session}/x.csv'",
        "SELECT * FROM query('WITH x AS (COPY (SELECT 1) TO ''{session}/x.csv'') SELECT * FROM x')",
        "SELECT (WITH x AS (COPY (SELECT 1) TO '{session}/x.csv') SELECT 1)",
        "WITH y AS (WITH x AS (COPY (SELECT 1) TO '{session}/x.csv') SELECT * FROM x) SELECT * FROM y",
        "ATTACH '{session}/x.csv'",
        "EXPORT DATABASE '{session}/x.csv'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "CREATE TABLE t (x INT)",
        "DROP VIEW events",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM '/etc/hostname'",
        "SELECT * FROM read_csv('https://example.com/x')",
        "",
        ";",
    ],
)
def test_a_hostile_query_gets_one_line_and_changes_nothing(run, recorded, trace_root, query):
    session = trace_root / recorded.session.name
    shutil.copytree(recorded.session, session)
    before = {path: path.stat().st_size for path in sorted(session.rglob("*"))}
    done = run("sql", query.format(session=session))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
    assert {path: path.stat().st_size for path in sorted(session.rglob("*"))} == before


@pytest.mark.further
@pytest.mark.parametrize("query", ["DESCRIBE rewards", "SUMMARIZE rewards", "SHOW TABLES", "EXPLAIN SELECT 1", "FROM rewards LIMIT 1", "SELECT 1 -- end", "VALUES (1)", "WITH x AS (SELECT 1) SELECT * FROM x UNION ALL SELECT 2"])  # fmt: skip
def test_what_only_reads_is_answered(ask, query):
    done = ask("sql", query)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.further
def test_odd_values_have_a_form_in_each_answer(ask):
    query = "SELECT NULL AS nothing, 'a\"b,\nc' AS words, [1, NULL] AS list, {'k': 'v'} AS struct, 'nan'::DOUBLE AS nan, '\\xAB'::BLOB AS bytes, DATE '2026-11-20' AS day, 1.50::DECIMAL(5,2) AS money, 1 AS a, 2 AS a"
    (row,) = json.loads(ask("sql", query, "--json").stdout)
    assert row == {
        "nothing": None, "words": 'a"b,\nc', "list": [1, None], "struct": {"k": "v"}, "nan": None,
        "bytes": "ab", "day": "2026-11-20", "money": "1.50", "a": 1, "a:1": 2,
    }  # fmt: skip
    _, values = csv.reader(io.StringIO(ask("sql", query, "--csv").stdout))
    assert values[:4] == ["", 'a"b,\nc', "[1,null]", '{"k":"v"}']
    assert "\x1b" not in ask("sql", "SELECT chr(27) || '[2J' AS x").stdout
    assert json.loads(ask("sql", "SELECT 1 AS x WHERE false", "--json").stdout) == []


@pytest.mark.further
@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]], ids=["table", "json", "csv"])
def test_the_extreme_values_of_every_type_of_the_engine_have_a_form(form, ask):
    """`test_all_types` has a row with the least values, one with the greatest, and one with NULL."""
    done = ask("sql", "FROM test_all_types()", *form)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    if form == ["--json"]:
        least, greatest, none = json.loads(done.stdout)
        assert greatest["hugeint"] == "170141183460469231731687303715884105727"
        assert least["bigint"] == -(2**63)
        assert set(none.values()) == {None}


@pytest.mark.further
def test_a_table_is_bounded_and_says_so(ask):
    done = ask("sql", "SELECT * FROM range(1000)")
    assert len(done.stdout.splitlines()) == 201
    assert "for more, use" in done.stderr
    assert len(ask("sql", "SELECT * FROM range(1000)", "-n", "3").stdout.splitlines()) == 4
    assert json.loads(ask("sql", "SELECT * FROM range(5000)", "-n", "2500", "--json").stdout)[-1] == {
        "range": 2499
    }
    assert ask("sql", "SELECT 1 AS x WHERE false").stderr == "no rows\n"


@pytest.mark.integration
def test_a_long_query_is_interrupted_in_a_moment(recorded):
    query = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = 7"
    asked = subprocess.Popen(
        [sys.executable, "-m", "Agent", "sql", query],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(AGENT_TRACE_ROOT=str(recorded.root)),
    )
    try:
        wait_until_it_computes(asked, 1.0)
        asked.send_signal(signal.SIGINT)
        out, err = asked.communicate(timeout=20)
    finally:
        asked.kill()
        asked.wait()
    assert (asked.returncode, out, err.strip()) == (130, "", "")
