"""The rules of the verdict over facts alone."""

import pytest

from Agent.errors import SessionNotFound
from Agent.flight.run_reading import find_session_run
from Agent.replay.compare.outcome import (
    EXIT_CODES,
    Counts,
    Divergence,
    ReplayOutcome,
    SourceRead,
    Verdict,
    judge,
)
from Agent.replay.worker.jobs import launched_by, spawn
from Agent.tree.layout import create_session_dir

DIFFERENCE = Divergence(1, "x-1", "act", "a", "result", 1, 2)


def outcome(**changes):
    facts = {"agents": ["a"], "counts": Counts(actions=2, driven=2, covered=2, informative=3), **changes}
    return ReplayOutcome(**facts)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "IDENTICAL"),
        ({"normalisers": ["2 redacted values"]}, "EQUIVALENT"),
        ({"divergence": DIFFERENCE}, "DIVERGED"),
        ({"divergence": DIFFERENCE, "doubts": ["an argument is redacted"]}, "UNVERIFIED"),
        ({"divergence": DIFFERENCE, "reasons": ["events are missing"]}, "UNVERIFIED"),
        ({"doubts": ["an argument is redacted"]}, "IDENTICAL"),
        ({"sources": [SourceRead("time.time", "act", "x.py", 3, 1)]}, "UNVERIFIED"),
        ({"reasons": ["events are missing"]}, "UNVERIFIED"),
        ({"counts": Counts(actions=2, driven=2)}, "UNVERIFIED"),
        ({"counts": Counts()}, "UNVERIFIED"),
    ],
)
def test_each_fact_has_its_verdict(changes, verdict):
    found, reasons = judge(outcome(**changes))
    assert found == verdict
    assert bool(reasons) == (verdict == "UNVERIFIED")


def test_only_a_proof_exits_with_zero():
    assert {verdict for verdict, code in EXIT_CODES.items() if code == 0} == {
        Verdict.IDENTICAL,
        Verdict.EQUIVALENT,
    }
    assert (EXIT_CODES[Verdict.DIVERGED], EXIT_CODES[Verdict.UNVERIFIED]) == (1, 4)


def test_facts_survive_the_way_between_processes():
    import json

    whole = outcome(
        divergence=DIFFERENCE,
        sources=[SourceRead("time.time", "act", "x.py", 3, 1)],
        reasons=["r"],
        unseen=["field"],
        code={"a.act": {"recorded": "1", "replayed": "2"}},
    )
    whole.answered["tool"] = 3
    assert ReplayOutcome.from_object(json.loads(json.dumps(whole.to_object()))) == whole


def test_agents_with_slashes_in_their_ids_are_found(tmp_path, monkeypatch):
    session, session_id = create_session_dir(tmp_path / "trace", "20200101_000000")
    monkeypatch.setenv("AGENT_TRACE_ROOT", str(tmp_path / "trace"))
    assert find_session_run("last") == (session, None, None)
    assert find_session_run("last/a/b") == (session, None, "a/b")
    assert find_session_run(f"{session_id}/a/b") == (session, None, "a/b")
    assert find_session_run("2020/a/b") == (session, None, "a/b")
    assert find_session_run(f"{session}/a/b") == (session, None, "a/b")
    assert find_session_run(str(session)) == (session, None, None)
    monkeypatch.chdir(tmp_path)
    assert find_session_run(f"trace/{session.name}/x") == (session.relative_to(tmp_path), None, "x")
    with pytest.raises(SessionNotFound):
        find_session_run("1999/a")


WALKER = """
class Walker:
    def __init__(self):
        self.agent_id, self.agent_role = "a", "walker"

    @trace_agent_action
    def walk(self):
        return walked({f"place {number}" for number in range(30)})

def walked(places):
    return list(places)[:3]

def build(spec):
    return Walker()

def main():
    Walker().walk()
"""


@pytest.mark.integration
def test_a_difference_that_the_order_of_a_set_makes_proves_nothing(toy):
    toy.record(WALKER)
    with launched_by(spawn):
        report = toy.replay()
        assert report.verdict == "UNVERIFIED", str(report)
        assert "if the code iterates over a set there, sort it" in report.reasons[0]
        report = toy.change("list(places)[:3]", "sorted(places)[:3]").replay()
        assert report.verdict == "DIVERGED", str(report)
