"""What a program records between its actions counts where its code changed."""

import subprocess
import sys

import pytest
from support.processes import child_environment

from Agent.replay import replay_run

pytestmark = pytest.mark.process

PROGRAM = """
import time

from Agent import AgentLogger, LearningLogger, setup_logging, shutdown_logging, tick
from Agent.flight import record_tool
from Agent.utils import trace_agent_action


@record_tool
def ask(messages, temperature=0.5):
    return messages[-1]["content"].upper()


class Writer:
    def __init__(self):
        self.agent_id, self.pages = "writer", 0

    @trace_agent_action
    def write(self, text):
        self.pages += len(text)
        return self.pages


def main():
    setup_logging(trace_root="trace")
    log, learning = AgentLogger("critic"), LearningLogger("rules", "critic")
    writer = Writer()
    for number in range(3):
        with tick(number):
            ask([{"role": "user", "content": "hello"}])
            writer.write("page")
            log.log_decision("publish", {"because": "good"})
            learning.log_reward(action_id="write", reward=number * 2.0)
            log.info("took", {"seconds": 1})
    shutdown_logging()


if __name__ == "__main__":
    main()
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pages.py").write_text(PROGRAM)

    def recorded(*changes, before=()):
        text = PROGRAM
        for old, new in before:
            assert text.count(old) == 1
            text = text.replace(old, new)
        (tmp_path / "pages.py").write_text(text)
        subprocess.run([sys.executable, "pages.py"], check=True, env=child_environment(), timeout=60)
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        (tmp_path / "pages.py").write_text(text)
        return replay_run("last", root="trace")

    return recorded


@pytest.mark.further
def test_what_is_recorded_the_same_is_identical(program):
    report = program()
    assert report.verdict == "IDENTICAL", str(report)
    report = program(("    writer = Writer()\n", "    unused = 1\n    writer = Writer()\n"))
    assert report.verdict == "IDENTICAL", str(report)


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"role": "user"', '"role": "system"'),
        ('            ask([{"role": "user", "content": "hello"}])\n', ""),
        ('log_decision("publish"', 'log_decision("wait"'),
        ("number * 2.0", "number * 2.5"),
        ('log.info("took"', 'log.info("needed"'),
    ],
)
def test_a_changed_program_that_records_otherwise_between_actions_is_diverged(program, old, new):
    report = program((old, new))
    assert report.verdict == "DIVERGED", str(report)
    assert "outside of actions" in str(report)


@pytest.mark.further
def test_a_call_that_differs_between_actions_is_told_by_its_name(program):
    report = program(('"role": "user"', '"role": "system"'))
    assert "argument messages[0]['role'] of tool.call ask outside of actions" in str(report)


@pytest.mark.further
def test_the_order_of_calls_between_actions_counts(program):
    call = '            ask([{"role": "user", "content": "hello"}])\n            writer.write("page")\n'
    report = program((call, "".join(reversed(call.splitlines(keepends=True)))))
    assert report.verdict != "IDENTICAL", str(report)


@pytest.mark.further
def test_what_varies_between_actions_proves_nothing_of_changed_code_and_is_no_matter_of_unchanged(program):
    varying = [('"seconds": 1', '"seconds": time.time()')]
    report = program(before=varying)
    assert report.verdict == "IDENTICAL", str(report)
    report = program(("number * 2.0", "number * 2.5"), before=varying)
    assert report.verdict == "UNVERIFIED", str(report)
    assert "recorded between actions varies between runs" in str(report)


@pytest.mark.further
def test_a_difference_counts_although_something_else_cannot_be_told(program):
    reader = """class Reader:
    def __init__(self):
        self.agent_id = "reader"

    @trace_agent_action
    def read(self, text):
        return len(text)


class Writer:"""
    gone = (
        ("class Writer:", reader),
        ('"writer", 0\n', '"writer", 0\n        self.reader = Reader()\n'),
        ("    shutdown_logging()\n\n", "\n"),
    )
    report = program(("    writer = Writer()\n", "    unused = 1\n    writer = Writer()\n"), before=gone)
    assert report.verdict == "UNVERIFIED", str(report)
    assert "reader, which never acted, were gone at the end" in str(report)
    report = program(("number * 2.0", "number * 2.5"), before=gone)
    assert report.verdict == "DIVERGED", str(report)
