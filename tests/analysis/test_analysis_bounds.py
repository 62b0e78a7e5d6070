"""Queries are bounded in memory and time, and an engine that is too old is named."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress

import duckdb
import pytest
from support.processes import child_environment, wait_until_it_computes

from Agent import AgentLogger, LogAnalyzer, setup_logging, shutdown_logging
from Agent.analysis.query.progress import Bounds, bounds
from Agent.cli.main import main
from Agent.errors import InputError, MissingExtra, UsageError

ENDLESS = "SELECT count(*) FROM range(1000000000000) a, range(1000) b WHERE a.range % 7 = b.range"


@pytest.fixture
def session(trace_root, monkeypatch):
    path = setup_logging(trace_root=trace_root).path
    AgentLogger("a", "r").log_action("x")
    shutdown_logging()
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(trace_root))
    return path


def test_a_query_of_python_is_stopped_at_its_deadline_and_the_next_one_answers(session):
    with LogAnalyzer(session, deadline_s=0.3) as analyzer:
        began = time.monotonic()
        with pytest.raises(InputError, match=r"longer than its 0\.3 s"):
            list(analyzer.sql(ENDLESS))
        assert time.monotonic() - began < 30
        for _ in range(20):  # beside others even that may take longer than 0.3 s
            with suppress(InputError):
                assert analyzer.sql("SELECT count(*) AS n FROM actions") == [{"n": 1}]
                break
        else:
            pytest.fail("no later query answers")


@pytest.mark.integration
def test_a_deadline_that_passes_at_any_moment_is_told_as_one(session, capsys):
    for number in range(60):
        arguments = ["sql", "--timeout", f"{0.001 + number * 0.0007:.4f}", "SELECT count(*) FROM events"]
        assert main(arguments) in {0, 3}, capsys.readouterr().err


def test_a_deadline_that_is_no_number_of_seconds_is_refused_in_one_line(session, capsys):
    for wrong in ("nan", "inf", "-1", "0", "1e300", "x"):
        assert main(["sql", "--timeout", wrong, "SELECT 1"]) == 2
        said = capsys.readouterr().err
        assert "--timeout" in said and len(said.splitlines()) == 1, said
        value = wrong if wrong == "x" else float(wrong)
        with pytest.raises(UsageError, match="not a number of seconds"):
            LogAnalyzer(session, deadline_s=value)
    with pytest.raises(UsageError), LogAnalyzer(session, deadline_s=True):
        pass


def test_the_command_is_stopped_at_its_timeout_in_words(session, capsys):
    assert main(["sql", "--timeout", "0.3", ENDLESS]) in {2, 3}
    assert "longer than its 0.3 s" in capsys.readouterr().err


@pytest.mark.further
@pytest.mark.parametrize(
    "query",
    [
        "SELECT length(repeat('x', 4000000000)) AS n",
        "SELECT string_agg(repeat('x', 1000000), '') AS n FROM range(5000)",
    ],
)
def test_a_query_that_wants_more_memory_than_a_command_may_have_is_refused_in_words(session, capsys, query):
    before = resource.getrlimit(resource.RLIMIT_AS)
    assert main(["sql", query]) in {2, 3}
    assert "needs more memory" in capsys.readouterr().err
    assert resource.getrlimit(resource.RLIMIT_AS) == before


ONE_LONG_CALL = "SELECT levenshtein(repeat('a', 1000000), repeat('b', 1000000))"


def asked(query, *options):
    return subprocess.Popen(
        [sys.executable, "-m", "Agent", "sql", *options, query],
        env=child_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.integration
@pytest.mark.process
def test_a_command_ends_where_the_engine_heeds_neither_its_deadline_nor_an_interrupt(session):
    with asked(ONE_LONG_CALL, "--timeout", "0.3") as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 3
    assert said.startswith("agent-trace: the query took longer than its 0.3 s (")
    assert said.endswith("; query less, or allow more time\n")
    with asked(ONE_LONG_CALL) as process:
        wait_until_it_computes(process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (130, "\n")  # what is behind it in a terminal begins a line


HUNGRY = [
    "SELECT repeat('x', 4000000000)",
    "SELECT repeat('x', 1000000) FROM range(100000)",
    ONE_LONG_CALL,
    "SELECT jaro_similarity(repeat('ab', 2000000), repeat('ba', 2000000))",
    ENDLESS,
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
    "WITH RECURSIVE t(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM t) SELECT max(len(s)) FROM t",
    "SELECT list(range) FROM range(1000000000)",
    "SELECT len(string_agg(repeat('x', 1000), '')) FROM range(10000000)",
    "SELECT * FROM (SELECT hash(range) h, repeat('z', 100) z FROM range(100000000) ORDER BY h) LIMIT 1",
    "SELECT count(*) FROM (SELECT hash(range) h, count(*) FROM range(1000000000) GROUP BY h)",
    "SELECT range(4000000000)",
    "SELECT * FROM range(1000000000)",
    "SELECT regexp_matches(repeat('a', 50000000), '(a*)*b')",
    "SELECT len(regexp_replace(repeat('a', 30000000), '(a?){50}', 'bbbbbbbbbb', 'g'))",
    "SELECT sum(x) FROM (SELECT quantile_cont(range, 0.5) OVER "
    "(ORDER BY range ROWS BETWEEN 1000000 PRECEDING AND CURRENT ROW) x FROM range(10000000))",
    f"SELECT {'(' * 5000}1{')' * 5000}",
    "SELECT factorial(20) FROM range(100000000000)",
    "SELECT json(repeat('[', 100000000))",
    "SELECT printf('%1000000000d', 1)",
    "SELECT format('{:>2000000000}', 1)",
    "SELECT lpad('x', 2000000000, 'y')",
    "SELECT len(list_sort(range(300000000)))",
    "SELECT count(DISTINCT repeat(range::VARCHAR, 100)) FROM range(1000000000)",
    "SELECT bit_count(repeat('1', 2000000000)::BIT)",
    "SELECT len(repeat('\\xAA', 1000000000)::BLOB)",
    f"SELECT {', '.join(f'sum(range * {n})' for n in range(3000))} FROM range(1000000000)",
    "SELECT count(*) FROM events a, events b, events c, events d, range(1000000000)",
    "SELECT sleep_ms(600000)",
    "SELECT len(repeat('x', 4000000000))",
]


@pytest.mark.slow
@pytest.mark.parametrize("query", HUNGRY, ids=lambda query: query[:40])
def test_no_query_takes_more_memory_or_time_than_a_command_may_have(session, query):
    began_s = time.monotonic()
    with asked(query, "--timeout", "10") as process:
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in {0, 2, 3}, said
    assert said.count("\n") <= 1 and "bug in Agent Trace" not in said
    assert usage.ru_maxrss < 3_000_000
    # four times what it takes, for machines that have other things to do
    assert time.monotonic() - began_s < 60


def test_no_limit_of_the_process_is_touched_by_the_python_interface(session):
    assert bounds.get() == Bounds()
    with LogAnalyzer(session) as analyzer:
        analyzer.sql("SELECT 1")


def test_an_engine_that_is_too_old_is_named_with_the_remedy(session, monkeypatch, capsys):
    monkeypatch.setattr(duckdb, "__version__", "1.3.2")
    with LogAnalyzer(session) as analyzer, pytest.raises(MissingExtra, match=r"1\.4 or newer, and 1\.3\.2"):
        analyzer.sql("SELECT 1")
    assert main(["sql", "SELECT 1"]) == 3
    assert "pip install 'duckdb>=1.4'" in capsys.readouterr().err


@pytest.mark.parametrize("version", ["1.4.5", "2.0.0"])
def test_a_setting_that_an_older_engine_does_not_know_is_left_out(session, monkeypatch, version):
    asked, connect = [], duckdb.connect

    def noted(*args, config):
        asked.append(dict(config))
        config.pop("async_threads", None)  # the installed engine may not know it
        return connect(*args, config=config)

    monkeypatch.setattr(duckdb, "__version__", version)
    monkeypatch.setattr(duckdb, "connect", noted)
    with LogAnalyzer(session) as analyzer:
        analyzer.sql("SELECT 1")
    assert asked
    assert all(("async_threads" in config) == (version == "2.0.0") for config in asked)
