"""Programs that end while something asks a session: they end silently, with their own exit code."""

from __future__ import annotations

import shutil

import pytest
from support.processes import run_python

from Agent import LogAnalyzer

RECORD = """
from Agent import AgentLogger, shutdown_logging
logger = AgentLogger("a", "r")
for n in range(20_000):
    logger.log_action("x", {"n": n})
shutdown_logging()
"""
HELD_BY_A_THREAD = """
import threading, time
from Agent import LogAnalyzer
analyzer = LogAnalyzer()
analyzer.sql("SELECT 1")
def watch(held):
    held.sql("SELECT 1")
    time.sleep(1000)
threading.Thread(target=watch, args=(analyzer,), daemon=True).start()
time.sleep(0.5)
"""
ASKED_IN_AN_ACTION = """
from Agent import LogAnalyzer, trace_agent_action
from Agent.flight import recorded_sources
analyzer = LogAnalyzer()
class Asking:
    agent_id = "x"
    @trace_agent_action()
    def go(self):
        analyzer.sql("SELECT 1 FROM actions")
with recorded_sources():
    Asking().go()
"""
IN_THE_MIDDLE = """
import threading, time
from Agent import LogAnalyzer
started = threading.Event()
def watch():
    analyzer = LogAnalyzer()
    while True:
        started.set()
        analyzer.sql("SELECT count(*) FROM range(100000000) a, actions")
threading.Thread(target=watch, daemon=True).start()
started.wait(30)
time.sleep(0.7)
"""
RECORDED = """
import duckdb
from Agent import LogAnalyzer, trace_agent_action
class Holding:
    agent_id = "x"
    last = None
    @trace_agent_action()
    def go(self, connection):
        self.last = connection.sql("SELECT 1")
        return LogAnalyzer().sql("SELECT 1 FROM actions")
holding = Holding()
holding.go(duckdb.connect())
holding.go(duckdb.connect())
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    place = tmp_path_factory.mktemp("ended")
    done = run_python(
        "-c", RECORD, cwd=place, HOME=str(place), AGENT_TRACE_ROOT="trace", AGENT_TRACE_SESSION=""
    )
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.integration
@pytest.mark.parametrize("program", [HELD_BY_A_THREAD, ASKED_IN_AN_ACTION, IN_THE_MIDDLE, RECORDED])
def test_a_program_ends_silently_whatever_still_asks(recorded, tmp_path, program):
    shutil.copytree(recorded / "trace", tmp_path / "trace", symlinks=True)
    done = run_python(
        "-c", program, cwd=tmp_path, HOME=str(tmp_path), AGENT_TRACE_ROOT="trace", AGENT_TRACE_SESSION=""
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.integration
def test_an_analyzer_is_closed_behind_its_block_and_answers_again_when_asked(recorded):
    with LogAnalyzer(next((recorded / "trace").glob("session_*"))) as analyzer:
        assert analyzer.sql("SELECT count(*) AS n FROM actions") == [{"n": 20_000}]
    assert analyzer.engine._connection is None
    assert analyzer.sql("SELECT count(*) AS n FROM actions") == [{"n": 20_000}]
    analyzer.close()
