"""The summary at the end of a session is made of counts that were kept while it was written, and equals a reading."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from Agent import AgentLogger, health, setup_logging, shutdown_logging, tick, trace_agent_action
from Agent.flight import record_tool, recorder
from Agent.tree.files import lines
from Agent.tree.read.reader import summarise
from Agent.utils import LearningLogger, PerformanceLogger, SystemLogger


class Trader:
    def __init__(self, agent_id: str) -> None:
        self.agent_id, self.agent_role, self.cash = agent_id, "trader", 10

    @trace_agent_action()
    def buy(self, n: int) -> int:
        self.cash -= n
        if n == 3:
            raise ValueError("too dear")
        return self.cash


@record_tool
def price(what: str) -> dict[str, str]:
    return {"price": what, "agent_id": "inside"}


def record_much() -> None:
    traders = [Trader("a1"), Trader("a2")]
    for step in range(6):
        with tick(step):
            for trader in traders:
                try:
                    trader.buy(step)
                except ValueError:
                    continue
    AgentLogger("a2", "trader").error("bad", extra={"agent_id": "other"})
    LearningLogger("learner").log_training_step(1, {"loss": 0.5})
    SystemLogger().info("of nobody", extra={"agent_id": "by the user"})
    SystemLogger().warning("nested", extra={"deep": {"agent_id": "not this"}})
    PerformanceLogger().log_metric("latency", 3.5, "ms")
    recorder.start_run("a2", {"label": "x"})
    recorder.start_step("one")
    price("tea")
    recorder.finish_step("one", "one", {"ok": True})
    recorder.finish_run(True, None)


def stored_summary(session: Path) -> dict[str, object]:
    return json.loads((session / "trace_summary.json").read_bytes())


def read_summary(session: Path) -> dict[str, object]:
    return json.loads(json.dumps(summarise(session)))


def never(_line: bytes) -> None:
    raise AssertionError("a line was read again")


def test_the_end_of_a_session_reads_no_line_and_says_what_reading_says(trace_root, monkeypatch):
    session = setup_logging(trace_root=trace_root).path
    record_much()
    with monkeypatch.context() as patch:
        patch.setattr(lines, "decode_line", never)
        shutdown_logging()
    assert stored_summary(session) == read_summary(session)
    assert not (session / ".state" / "counts").exists()


@pytest.mark.integration
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_children_leave_their_counts_and_the_lines_of_one_that_was_killed_are_read(trace_root):
    session = setup_logging(trace_root=trace_root).path
    record_much()
    for is_killed in (False, False, True):
        pid = os.fork()
        if not pid:
            record_much()
            if not is_killed:
                shutdown_logging()
            os._exit(0)
        os.waitpid(pid, 0)
    shutdown_logging()
    assert stored_summary(session) == read_summary(session)
    assert stored_summary(session)["by_kind"]["log.opened"] == 8


def test_a_refused_write_makes_the_end_read_the_lines(trace_root, monkeypatch):
    session = setup_logging(trace_root=trace_root).path
    logger = AgentLogger("a", "r")
    logger.log_action("x")
    (session / "agents").chmod(0o500)
    refusing = AgentLogger("b", "r")
    with monkeypatch.context() as patch:
        patch.setattr("Agent.tree.write.segment_writer.claim_segment", _refuse)
        assert refusing.log_action("y") == ""
    (session / "agents").chmod(0o700)
    assert health()["dropped"]
    shutdown_logging()
    assert stored_summary(session) == read_summary(session)
    assert stored_summary(session)["losses"]["lost"] == 1


def _refuse(*_: object) -> None:
    raise OSError(28, "No space left on device")
