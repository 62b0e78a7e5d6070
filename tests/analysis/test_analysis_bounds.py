"""Queries are bounded in memory and time, and an engine that is too old is named."""

from __future__ import annotations

import resource
import time

import duckdb
import pytest

from Agent import AgentLogger, LogAnalyzer, setup_logging, shutdown_logging
from Agent.analysis.progress import Bounds, bounds
from Agent.archive.sealed_write import settings_of
from Agent.cli.main import main
from Agent.errors import InputError, MissingExtra

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
        assert analyzer.sql("SELECT count(*) AS n FROM actions") == [{"n": 1}]


def test_the_command_is_stopped_at_its_timeout_in_words(session, capsys):
    assert main(["sql", "--timeout", "0.3", ENDLESS]) in {2, 3}
    assert "longer than its 0.3 s" in capsys.readouterr().err


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


def test_a_setting_that_an_older_engine_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setattr(duckdb, "__version__", "1.4.5")
    assert settings_of(duckdb) == {}
