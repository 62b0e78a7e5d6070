"""The set of planted faults: what it holds, that its truth is in the record, and that the scorer counts right."""

from __future__ import annotations

from pathlib import Path

import pytest

from Agent import AgentLogger, setup_logging, shutdown_logging, tick
from benchmarks.fault_set import child, scoring
from benchmarks.fault_set.case import Seek, Truth
from benchmarks.fault_set.cases import CALM, CASES, WORLDS, case_named, healthy
from benchmarks.fault_set.record_scan import TruthMissing, resolve

ONE_OF_EACH_WORLD = [next(case for case in CASES if case.world is world) for world in WORLDS]
SOME = CASES[:4]


def cause(*ids, confidence=0.9):
    return {"event_ids": list(ids), "confidence": confidence, "explanation": "so it seems"}


def recorded_at(tmp_path, case, *, faulty=True):
    return scoring.record(case, tmp_path / "trace", faulty=faulty)


@pytest.fixture
def no_simulation(monkeypatch):
    """Sessions that are not run: only the counting is looked at."""

    def instead(case, root, *, faulty):
        return {
            "case": case.name,
            "root": str(root),
            "session": "s",
            "complaint": "it is broken",
            "truth": ["w-1", "w-2"] if faulty else [],
            "events": 1000,
        }

    monkeypatch.setattr(scoring, "record", instead)


def test_the_set_is_as_large_and_as_various_as_it_is_meant_to_be():
    assert len(CASES) >= 100
    assert len({case.kind for case in CASES}) >= 20
    assert len(WORLDS) == 19
    every = (*CASES, *CALM)
    assert len({case.name for case in every}) == len(every)
    assert all(case_named(case.name) is case for case in every)


def test_the_healthy_sessions_are_of_all_worlds():
    names = [case.name for case in healthy()]
    assert len(set(names)) == len(names)
    assert {case.world.name for case in healthy()} >= {world.name for world in WORLDS}


def test_no_two_cases_have_the_same_parameters():
    drawn = set()
    for case in CASES:
        plan = case.world.plan(case.name, case.kind)
        drawn.add((case.world.name, plan.size, plan.ticks, plan.at, plan.victim, tuple(plan.numbers)))
    assert len(drawn) == len(CASES)


def test_a_healthy_twin_has_the_parameters_and_the_complaint_of_its_case():
    for case in CASES:
        plan, twin = (case.world.plan(case.name, fault) for fault in (case.kind, None))
        assert {**vars(plan), "rng": 0, "fault": 0} == {**vars(twin), "rng": 0, "fault": 0}
        assert case.world.complaint(case.kind, plan) == case.world.complaint(case.kind, twin)


@pytest.mark.integration
@pytest.mark.parametrize("case", ONE_OF_EACH_WORLD, ids=lambda case: case.name)
def test_a_session_of_each_world_runs_and_holds_its_truth(case, tmp_path):
    recorded = recorded_at(tmp_path, case)
    assert recorded["truth"]
    assert 500 <= recorded["events"] <= 10_000


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_runs_in_time_and_holds_its_truth(case, tmp_path):
    recorded = recorded_at(tmp_path, case)
    assert 1 <= len(recorded["truth"]) <= 8
    assert 500 <= recorded["events"] <= 10_000
    assert recorded["cpu_s"] < 5.0


@pytest.mark.slow
@pytest.mark.parametrize("case", healthy(), ids=lambda case: case.name)
def test_every_healthy_session_runs_and_has_no_true_cause(case, tmp_path):
    recorded = recorded_at(tmp_path, case, faulty=False)
    assert recorded["truth"] == []
    assert 500 <= recorded["events"] <= 10_000


def test_a_truth_that_the_record_does_not_hold_is_an_error(trace_root):
    session = setup_logging(trace_root=trace_root)
    there = AgentLogger("a", "agent").log_action("walk")
    shutdown_logging()
    path = Path(session.path)
    assert resolve(path, Truth(ids=[there])) == [there]
    with pytest.raises(TruthMissing, match="not in the record: elsewhere-7"):
        resolve(path, Truth(ids=[there, "elsewhere-7"]))
    with pytest.raises(TruthMissing, match="nothing recorded"):
        resolve(path, Truth(seeks=[Seek("a", "agent_action", 5, "walk")]))


@pytest.mark.process
def test_a_simulation_that_fails_is_an_error_and_no_miss(tmp_path):
    with pytest.raises(scoring.ChildFailed, match="KeyError: 'no-such-case'"):
        scoring.child("record", "no-such-case", str(tmp_path / "trace"))


def test_the_analyzer_is_asked_through_its_public_name(trace_root):
    session = setup_logging(trace_root=trace_root)
    logger = AgentLogger("walker", "agent")
    for number in range(20):
        with tick(number):
            logger.log_action("walk")
            if number > 12:
                logger.error("fell into a hole")
    shutdown_logging()
    answer = child.ask(Path(session.root), session.session_id, "walker fell into a hole")
    assert set(answer) == {"causes", "wall_s"}
    assert answer["causes"]
    for found in answer["causes"]:
        assert all(isinstance(identity, str) for identity in found["event_ids"])
        assert 0 <= found["confidence"] <= 1


@pytest.mark.usefixtures("no_simulation")
def test_a_report_that_always_names_the_truth_hits_everywhere():
    results = scoring.score(SOME, faulty=True, ask=lambda r: {"causes": [cause("x-1"), cause(r["truth"][1])]})
    assert [result.rank for result in results] == [2] * len(SOME)
    assert scoring.as_object(results, healthy=False)["share"] == 1.0
    assert "4 of 4 (100%)" in scoring.as_text(results, healthy=False)


@pytest.mark.usefixtures("no_simulation")
def test_a_report_that_never_names_the_truth_misses_everywhere():
    results = scoring.score(SOME, faulty=True, ask=lambda _: {"causes": [cause("x-1"), cause("x-2")]})
    assert scoring.as_object(results, healthy=False)["hits"] == 0
    assert all(f"missed {case.name}: not named" in scoring.as_text(results, healthy=False) for case in SOME)


@pytest.mark.usefixtures("no_simulation")
def test_the_truth_at_the_fourth_place_is_a_miss_that_says_so():
    fourth = [cause("x-1"), cause("x-2"), cause("x-3"), cause("w-1")]
    (result,) = scoring.score(SOME[:1], faulty=True, ask=lambda _: {"causes": fourth})
    assert (result.rank, result.hit) == (4, False)
    assert "at place 4" in scoring.as_text([result], healthy=False)


@pytest.mark.usefixtures("no_simulation")
def test_how_many_events_the_first_three_causes_name_is_told():
    many = [cause("x-1", "x-2", "x-3"), cause("x-3"), cause("w-1"), cause("x-8", "x-9")]
    (result,) = scoring.score(SOME[:1], faulty=True, ask=lambda _: {"causes": many})
    assert result.named == 4
    assert "median 4, most 4" in scoring.as_text([result], healthy=False)


@pytest.mark.usefixtures("no_simulation")
def test_a_report_that_cannot_be_made_is_a_miss_and_not_quiet():
    def breaks(_):
        raise scoring.ChildFailed("the report broke")

    (result,) = scoring.score(SOME[:1], faulty=True, ask=breaks)
    assert not result.hit
    assert not scoring.is_quiet(result)
    assert "the report broke" in scoring.as_text([result], healthy=False)


@pytest.mark.usefixtures("no_simulation")
@pytest.mark.parametrize(("confidence", "quiet"), [(0.49, 4), (0.5, 0)])
def test_a_healthy_session_is_quiet_below_the_stated_threshold(confidence, quiet):
    guess = {"causes": [cause("x-1", confidence=0.1), cause("x-2", confidence=confidence)]}
    results = scoring.score(SOME, faulty=False, ask=lambda _: guess)
    assert scoring.as_object(results, healthy=True)["quiet"] == quiet


@pytest.mark.usefixtures("no_simulation")
def test_hits_are_counted_kind_by_kind():
    first = SOME[0].kind
    results = scoring.score(
        SOME,
        faulty=True,
        ask=lambda r: {"causes": [cause("w-1")] if case_named(r["case"]).kind == first else []},
    )
    table = scoring.by_kind(results)
    assert table[first]["hits"] == table[first]["cases"] > 0
    assert all(row["hits"] == 0 for kind, row in table.items() if kind != first)
