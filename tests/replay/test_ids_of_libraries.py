"""Ids and times that libraries made agree by form, also where the whole program ran again."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.processes import child_environment

from Agent.event.values.content_digest import content_of
from Agent.replay import replay_run
from Agent.replay.compare.normaliser import LibraryValues, ValuesOfRun
from Agent.replay.compare.outcome import ReplayOutcome
from Agent.replay.compare.report import ReplayReport

RECORDED, REPLAYED = "01a210f7-78da-7249-a6f4-2775bafff099", "01a210f7-8ebd-7552-9c36-647a7cf830e1"
WHEN_NS = int(REPLAYED.replace("-", "")[:12], 16) * 1_000_000 + 123_456


def test_an_uuid_of_version_7_is_a_librarys_if_the_library_read_that_moment():
    made = LibraryValues()
    made.add(b"12345678")
    assert made.ids_apart(RECORDED, REPLAYED) is None
    made.add(WHEN_NS)
    assert made.ids_apart(f"id {RECORDED}", f"id {REPLAYED}") == [(RECORDED, REPLAYED)]
    assert made.ids_apart(RECORDED, REPLAYED.replace("-7", "-4", 1)) is None
    assert made.ids_apart(RECORDED, "01a210f8" + REPLAYED[8:]) is None


def test_ids_and_moments_of_two_runs_agree_by_form():
    began = 1_764_000_000.0, 1_764_003_600.0
    made = ValuesOfRun(began)
    assert made.ids_apart(RECORDED, REPLAYED) == [(RECORDED, REPLAYED)]
    assert made.ids_apart("20251124", "20251125") is None
    assert made.ids_apart("1234567890123456", "1234567890123457") is None
    assert made.ids_apart("2025-11-24T16:00:01", "2025-11-24T17:00:07") == []
    assert made.ids_apart("2025-11-24T16:00:01", "2025-12-24T17:00:07") is None
    assert made.number(began[0] + 5, began[1] + 9)
    assert not made.number(began[0] + 5, began[1] + 9e6)
    assert not made.number(5, 6)
    assert made.ids_apart("took 0:00:01.956885", "took 0:00:02.000001") is None
    made = ValuesOfRun(began, durations=[])
    assert made.ids_apart("took 0:00:01.956885", "took 0:00:02.000001") == []
    assert made.ids_apart("took 0:00:01.956885", "lost 0:00:02.000001") is None
    assert made.ids_apart("took 0:00:00", "took 0:00:02.000001") == []
    assert made.ids_apart("at 10:30:00", "at 10:45:00") is None


class Tool:
    def __init__(self, call, made):
        self.call, self.made = call, made


def test_code_and_an_id_in_one_value_may_both_differ():
    one = content_of(Tool(lambda: 1, "01a210f7-78da-7249-a6f4-2775bafff099"))
    other = content_of(Tool(lambda: 2, "01a210f7-8ebd-7552-9c36-647a7cf830e1"))
    assert one.text != other.text
    assert one.without_code == other.without_code != ""
    assert one.without_code != content_of(Tool(lambda: 1, "another text, which is no id at all")).without_code


def test_fields_that_are_left_out_are_not_called_ignored(tmp_path):
    outcome = ReplayOutcome(agents=["a"], left_out=["a.lead"])
    outcome.counts.driven = 1
    report = ReplayReport("last", "m:build", outcome, Path(tmp_path))
    assert report.headline.endswith("not compared: lead")


ASKING = """
import sys

sys.path.append("site-packages")
import marking
from Agent import setup_logging, shutdown_logging, trace_agent_action
from Agent.flight import recorder


class Clerk:
    agent_id = "clerk"

    @trace_agent_action
    def ask(self, what):
        prompt = {"messages": [{"id": marking.new_id(), "at": marking.moment(), "text": "be brief"}]}
        recorder.record_model_call(model_name="m", prompt=prompt, output="fine")
        recorder.save_artifact("notes/told.txt", f"{marking.new_id()} told of cows")
        return what


def build(spec):
    return Clerk()


if __name__ == "__main__":
    setup_logging(trace_root="trace")
    Clerk().ask("why")
    shutdown_logging()
"""
MARKING = """
import time
import uuid


def new_id():
    return str(uuid.uuid4())


def moment():
    return time.time()
"""


@pytest.mark.further
@pytest.mark.process
def test_an_artifact_with_ids_and_times_of_a_library_is_compared_in_all_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("site-packages").mkdir()
    Path("site-packages", "marking.py").write_text(MARKING)
    program = Path("asking.py")
    program.write_text(ASKING)
    subprocess.run([sys.executable, "asking.py"], check=True, env=child_environment(), timeout=60)
    report = replay_run("last", None, "trace")
    assert report.verdict == "IDENTICAL", str(report)
    assert "values agree but for ids and times, which each run makes anew" in str(report)
    program.write_text(ASKING.replace("brief", "cruel"))
    report = replay_run("last", None, "trace")
    assert report.verdict == "DIVERGED", str(report)
    assert "content of prompt.json['messages'][0]['text']" in str(report)
    program.write_text(ASKING.replace("told of cows", "told of pigs"))
    report = replay_run("last", None, "trace")
    assert report.verdict == "DIVERGED", str(report)
    assert "told of pigs" in str(report)


LEDGER = """
import datetime, hashlib, sys
import marking
from Agent import setup_logging, shutdown_logging
from Agent.utils import trace_agent_action


class Ledger:
    def __init__(self, day):
        self.agent_id, self.head, self.due, self.label = "ledger", "", day, ""

    @trace_agent_action
    def add(self, text):
        self.head = hashlib.sha256((self.head + text).encode()).hexdigest()
        self.due += datetime.timedelta(minutes=15)
        self.label = marking.new_id()
        return len(text)

    @trace_agent_action(capture_result=False)
    def price(self, count):
        return 10 * count


def main():
    setup_logging(trace_root="trace")
    ledger = Ledger(datetime.datetime.fromisoformat('DAY 12:00:00'))
    prices = [ledger.add(text) and PRICE for text in ("one", "three")]
    shutdown_logging()
    END


if __name__ == "__main__":
    main()
"""


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    """Records a ledger, which gets ids from a library, and replays it without a target after a change."""
    monkeypatch.chdir(tmp_path)
    Path("site-packages").mkdir()
    Path("site-packages", "marking.py").write_text(MARKING)
    program = Path("ledger.py")
    text = f"import sys\nsys.path.append({str(tmp_path / 'site-packages')!r})\n{LEDGER}"

    def record(price="len(text)", end="pass"):
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        program.write_text(text.replace("PRICE", price).replace("END", end).replace("DAY", today))
        subprocess.run([sys.executable, "ledger.py"], check=True, env=child_environment(), timeout=60)

    def replay(old="", new=""):
        recorded = program.read_text()
        assert not old or recorded.count(old) == 1
        program.write_text(recorded.replace(old, new) if old else recorded)
        report = replay_run("last", None, "trace")
        program.write_text(recorded)
        return report

    return record, replay


@pytest.mark.further
@pytest.mark.process
def test_a_hash_that_all_runs_of_changed_code_make_alike_is_a_difference_though_a_library_makes_ids(ledger):
    record, replay = ledger
    record()
    assert replay().verdict == "IDENTICAL", str(replay())
    report = replay("self.head + text", "text + self.head")
    assert report.verdict == "DIVERGED", str(report)
    assert "head" in report.outcome.divergence.field


@pytest.mark.further
@pytest.mark.process
def test_a_changed_deadline_is_not_excused_as_a_time_that_each_run_makes_anew(ledger):
    record, replay = ledger
    record()
    report = replay("minutes=15", "hours=6")
    assert report.verdict != "IDENTICAL", str(report)
    report = replay("marking.new_id()", 'hashlib.md5(marking.new_id().encode()).hexdigest() + ""')
    assert report.verdict != "IDENTICAL", str(report)


@pytest.mark.further
@pytest.mark.process
def test_a_result_that_is_not_captured_proves_nothing_once_code_changed(ledger):
    record, replay = ledger
    record(price="ledger.price(3)")
    assert replay().verdict == "IDENTICAL", str(replay())
    report = replay("10 * count", "-10 * count")
    assert report.verdict == "UNVERIFIED", str(report)
    assert "results of price of ledger are not captured" in str(report)


@pytest.mark.further
@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize(
    ("end", "told"),
    [("raise SystemExit('too dear')", "too dear"), ("sys.exit(3)", "exit code 3"), ("1 / 0", "Zero")],
)
def test_a_changed_program_that_ends_with_a_failure_after_its_last_action_is_not_green(ledger, end, told):
    record, replay = ledger
    record(end="prices.clear()")
    report = replay("prices.clear()", end)
    assert report.verdict == "UNVERIFIED", str(report)
    assert told in str(report)
