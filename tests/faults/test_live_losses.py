"""The account is asked for, again and again, while processes record, segments roll and retention removes them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.processes import child_environment

from Agent.analysis import LogAnalyzer
from Agent.tree.layout import create_session_dir
from Agent.tree.read.reader import TreeReader
from Agent.tree.retention import Retention

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).parents[1] / "tree" / "writers_program.py"
PROCESSES, THREADS, EVENTS = 2, 2, 3000


@pytest.mark.parametrize(
    "ask",
    [lambda session: TreeReader(session).losses().to_dict(), lambda session: LogAnalyzer(session).losses()],
    ids=["the reader", "the analyzer"],
)
def test_no_number_is_ever_unknown_while_it_is_written_rolled_or_retired(
    trace_root: Path, ask: Callable[[Path], dict[str, Any]]
) -> None:
    session, _ = create_session_dir(trace_root, "20261120_103045")
    command = [sys.executable, str(PROGRAM), "many", str(session), str(THREADS), str(EVENTS), "8192"]
    running = [subprocess.Popen(command, env=child_environment()) for _ in range(PROCESSES)]
    ended = threading.Event()

    def retire() -> None:
        retention = Retention(session, 300_000)
        while not ended.wait(0.01):
            retention.run()

    retiring = threading.Thread(target=retire)
    retiring.start()
    answers: list[dict[str, Any]] = []
    try:
        while any(process.poll() is None for process in running):
            if any(session.glob("agents/*.log")):
                answers.append(ask(session))
    finally:
        ended.set()
        retiring.join()
        for process in running:
            process.kill()
            process.wait()
    assert [process.returncode for process in running] == [0] * PROCESSES
    assert [(told["lost"], told["unknown"]) for told in answers] == [(0, 0)] * len(answers)
    assert answers
    last = ask(session)
    assert (last["lost"], last["unknown"], last["unacknowledged"]) == (0, 0, 0)
    assert last["read"] + last["retired"] == PROCESSES * (THREADS * EVENTS + 1)
    assert last["retired"] > 0
