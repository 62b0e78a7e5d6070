"""All history against new code: every run gets its verdict, and one report says in what ways they fail."""

import itertools
import json
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from Agent.errors import SessionNotFound, UsageError
from Agent.replay import replay_runs
from Agent.replay.worker.fork_server import in_parallel

COUNTER = """
class Counter:
    def __init__(self, name):
        self.agent_id, self.agent_role = name, "counter"
        self.total = 0

    @trace_agent_action
    def add(self, amount):
        self.total += amount
        return self.total

def build(spec):
    found = {name: Counter(name) for name in spec.agent_ids}
    return found if spec.agent_id is None else found[spec.agent_id]

def main():
    for name in ("a", "b"):
        counter = Counter(name)
        for amount in range(1, AMOUNTS):
            counter.add(amount)
"""


@pytest.fixture
def history(toy):
    """Three sessions of one program, the last of which went on for longer."""
    for amounts in (3, 3, 9):
        toy.record(COUNTER.replace("AMOUNTS", str(amounts)))
    return toy


def driven(toy, **options):
    return replay_runs(f"{toy.name}:build", toy.root, **options)


def test_every_session_is_driven_and_the_share_that_is_done_is_told(history):
    told = []
    report = driven(history, progress=told.append)
    assert (report.verdict, report.exit_code) == ("IDENTICAL", 0), str(report)
    assert report.counts == {"IDENTICAL": 3, "EQUIVALENT": 0, "DIVERGED": 0, "UNVERIFIED": 0}
    assert (told[-1], told) == (1.0, sorted(told))
    assert str(report).startswith("IDENTICAL 3 runs: 3 IDENTICAL\n  24 of 24 actions covered;")
    assert len(list(history.root.glob("session_*/runs/root/replays/*/report.json"))) == 3


def test_runs_that_fail_in_one_way_are_told_together(history):
    history.change("return self.total", "return self.total + (self.total > 5)")
    report = driven(history)
    assert (report.verdict, report.exit_code) == ("DIVERGED", 1)
    assert report.counts["IDENTICAL"] == 2
    (way,) = report.ways
    assert way == "differ at add, result"
    last = report.runs[-1]
    assert (last.verdict, last.divergence.step, last.divergence.replayed) == ("DIVERGED", 3, 7)
    assert f"in {last.run}" in str(report)
    stored = json.loads(json.dumps(report.to_dict()))
    assert stored["ways"] == {way: [last.run]}
    assert [run["verdict"] for run in stored["runs"]] == ["IDENTICAL", "IDENTICAL", "DIVERGED"]


def test_agents_can_be_driven_one_by_one_by_a_pattern(history):
    report = driven(history, agents="[b-z]*", runs=["last"])
    assert [run.run.partition("/")[2] for run in report.runs] == ["b"]
    assert report.verdict == "IDENTICAL"


def test_what_could_not_be_driven_is_no_success(history):
    assert driven(history, runs=["last"]).exit_code == 0
    report = replay_runs(None, history.root, runs=["last"])
    assert report.exit_code == 4
    assert "no target was given" in report.runs[0].reasons[0]


def test_only_sessions_of_a_time_are_driven(history):
    with pytest.raises(SessionNotFound, match="there is no run to replay"):
        driven(history, since=datetime.now(UTC) + timedelta(hours=1))


def test_nothing_to_drive_and_mistakes_are_errors(toy, tmp_path):
    with pytest.raises(SessionNotFound, match="there is no run to replay"):
        replay_runs("a:b", tmp_path / "nothing")
    with pytest.raises(UsageError, match="not module:factory"):
        replay_runs("nonsense", tmp_path)
    with pytest.raises(UsageError, match="runs is a single name"):
        replay_runs("a:b", tmp_path, runs="last")


def test_jobs_give_their_results_in_order_and_run_at_one_time():
    both = threading.Barrier(2, timeout=30)
    assert in_parallel([lambda _stop: both.wait() >= 0, lambda _stop: both.wait() >= 0], 2) == [True, True]
    late_first = [lambda _stop, n=n: time.sleep(0.05 * (3 - n)) or n for n in range(3)]
    assert in_parallel(late_first, 3) == [0, 1, 2]


def test_a_job_that_fails_ends_the_others():
    ended = threading.Event()

    def waits(stop):
        assert stop.wait(30)
        ended.set()

    def fails(_stop):
        raise RuntimeError("no")

    began = itertools.count()
    with pytest.raises(RuntimeError, match="no"):
        in_parallel([waits, fails, *([lambda _stop: next(began)] * 3)], 2)
    assert ended.is_set()


@pytest.mark.further
def test_a_child_process_ends_when_it_is_told_to(history):
    history.change("self.total += amount", "__import__('time').sleep(60); self.total += amount")
    from concurrent.futures import CancelledError

    from Agent.flight.run_reading import find_session_run
    from Agent.replay.attempts import RedriveOptions
    from Agent.replay.rerun import drive_again

    stop = threading.Event()
    threading.Timer(1.0, stop.set).start()
    began = time.monotonic()
    with pytest.raises(CancelledError):
        drive_again(
            find_session_run("last", history.root), f"{history.name}:build", RedriveOptions(stop=stop)
        )
    assert time.monotonic() - began < 30
