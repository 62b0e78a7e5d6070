"""Reports on a model that this project did not write: counted independently from what the model says of itself."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from support.processes import run_python
from support.session_files import of_kind, only_session, session_events

from Agent.analysis import LogAnalyzer
from Agent.analysis.journeys.journey import journey_tree

PROGRAM = Path(__file__).parents[1] / "integration" / "mesa_program.py"
STEPS = 40


@pytest.fixture(scope="module")
def wealth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    directory = tmp_path_factory.mktemp("mesa")
    root = directory / "trace"
    done = run_python(str(PROGRAM), "boltzmann", str(STEPS), "42", cwd=directory, AGENT_TRACE_ROOT=str(root))
    assert done.returncode == 0, done.stderr
    return only_session(root), json.loads(done.stdout)


@pytest.mark.integration
def test_performance_counts_each_step_of_each_household(wealth) -> None:
    session, told = wealth
    events = session_events(session)
    analyzer = LogAnalyzer(session)
    found = analyzer.performance_report()
    analyzer.close()
    assert found["actions"]["step"]["count"] == len(told["agents"]) * STEPS
    gifts = [
        event for event in of_kind(events, "agent_action") if event["extra"]["action_type"] == "give_money"
    ]
    assert found["actions"]["give_money"]["count"] == len(gifts)
    steps = sum(
        e["extra"]["duration_ms"]
        for e in of_kind(events, "agent_action")
        if e["extra"]["action_type"] == "step"
    )
    given = sum(event["extra"]["duration_ms"] for event in gifts)
    assert found["actions"]["step"]["total_ms"] == pytest.approx(steps)
    assert found["actions"]["step"]["self_ms"] == pytest.approx(steps - given, rel=1e-6)


@pytest.mark.integration
def test_journeys_and_states_are_those_of_the_model(wealth) -> None:
    session, told = wealth
    analyzer = LogAnalyzer(session)
    for agent in map(str, told["agents"][::7]):
        found = analyzer.journey_overview(agent)
        assert found["action_counts"]["step"] == STEPS
        assert (found["first_tick"], found["last_tick"]) == (0, STEPS - 1)
        last = analyzer.state_at(agent, "9999-01-01")
        assert last["fields"]["wealth"] == told["wealth"][agent]
        # what the fold says before a later full state is what the household's own action left behind
        mine = [event for event in session_events(session) if event["extra"].get("agent_id") == agent]
        for event in of_kind(mine, "agent_action")[::9]:
            if "wealth" in event.get("state", {}).get("set", {}):
                assert (
                    analyzer.state_at(agent, event["id"])["fields"]["wealth"]
                    == event["state"]["set"]["wealth"]
                )
        rows, _ = journey_tree(analyzer.reader, agent)
        depths = Counter((row["name"], row["depth"]) for row in rows)
        assert depths["step", 0] == STEPS
        assert depths["give_money", 0] == 0
        assert depths["give_money", 1] == found["action_counts"].get("give_money", 0)
