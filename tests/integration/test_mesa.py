"""Models that this project did not write: Mesa's examples run traced, with no edit to Mesa."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.processes import run_python
from support.session_files import kind_of, of_kind, only_session, session_events

from Agent.analysis.questions.journeys import journey_tree
from Agent.utils import LogAnalyzer

pytestmark = pytest.mark.integration

PROGRAM = Path(__file__).with_name("mesa_program.py")
STEPS = 200


@dataclass(frozen=True)
class Traced:
    """One traced run: where it recorded, what it recorded, and what the model said of itself."""

    session: Path
    events: list[dict[str, Any]]
    told: dict[str, Any]


def run_model(name: str, seed: int, directory: Path) -> Traced:
    root = directory / "trace"
    directory.mkdir()
    done = run_python(str(PROGRAM), name, str(STEPS), str(seed), cwd=directory, AGENT_TRACE_ROOT=str(root))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    session = only_session(root)
    return Traced(session, session_events(session), json.loads(done.stdout))


@pytest.fixture(scope="module")
def wealth(tmp_path_factory) -> Traced:
    return run_model("boltzmann", 42, tmp_path_factory.mktemp("boltzmann") / "first")


@pytest.fixture(scope="module")
def residents(tmp_path_factory) -> Traced:
    return run_model("schelling", 7, tmp_path_factory.mktemp("schelling") / "first")


def steps_of(traced: Traced) -> Counter[tuple[str, int]]:
    """How often each agent's step stands in the tree for each step of the model."""
    return Counter(
        (event["extra"]["agent_id"], event["tick"])
        for event in of_kind(traced.events, "agent_action")
        if event["extra"]["action_type"] == "step"
    )


def test_every_step_of_every_household_is_in_the_tree(wealth):
    agents = [str(number) for number in wealth.told["agents"]]
    assert len(agents) == 60
    assert steps_of(wealth) == {(agent, tick): 1 for agent in agents for tick in range(STEPS)}


def test_every_step_of_every_resident_is_in_the_tree(residents):
    agents = [f"resident_{number}" for number in residents.told["agents"]]
    assert len(agents) > 50
    assert steps_of(residents) == {(agent, tick): 1 for agent in agents for tick in range(STEPS)}


def test_a_nested_call_stands_under_the_step_that_made_it(wealth):
    actions = of_kind(wealth.events, "agent_action")
    steps = {event["span_id"]: event for event in actions if event["extra"]["action_type"] == "step"}
    gifts = [event for event in actions if event["extra"]["action_type"] == "give_money"]
    assert gifts
    for gift in gifts:
        above = steps[gift["parent_span_id"]]
        assert above["extra"]["agent_id"] == gift["extra"]["agent_id"]
        assert above["tick"] == gift["tick"]
        assert not gift["extra"].get("root")


def test_counts_of_the_analyzer_are_the_counts_of_the_files(wealth):
    analyzer = LogAnalyzer(session=wealth.session)
    totals = Counter()
    for agent in ("1", "17", "60"):
        mine = [event for event in wealth.events if event["extra"].get("agent_id") == agent]
        summary = analyzer.analyze_agent_activity(agent)
        assert summary["total_logs"] == len(mine)
        counted = Counter(event["extra"]["action_type"] for event in of_kind(mine, "agent_action"))
        assert dict(summary["action_counts"]) == dict(counted)
        totals += counted
        journey = analyzer.trace_agent_journey(agent)
        assert [event["id"] for event in journey] == [event["id"] for event in mine]
    assert totals["step"] == 3 * STEPS


def test_the_summary_counts_the_kinds_as_the_files_hold_them(wealth):
    summary = json.loads((wealth.session / "trace_summary.json").read_text())
    counted = Counter(kind_of(event) for event in wealth.events)
    text = json.dumps(summary)
    assert f'"agent_action": {counted["agent_action"]}' in text
    assert f'"state": {counted["state"]}' in text


def test_the_last_state_of_each_household_is_what_the_model_ended_with(wealth):
    last = {}
    for event in of_kind(wealth.events, "state"):
        last[event["extra"]["agent_id"]] = event["extra"]["fields"]
    assert {agent: fields["wealth"] for agent, fields in last.items()} == wealth.told["wealth"]
    assert sum(wealth.told["wealth"].values()) == 60


def test_performance_counts_each_step_of_each_household(wealth):
    with LogAnalyzer(session=wealth.session) as analyzer:
        found = analyzer.performance_report()["actions"]
    actions = of_kind(wealth.events, "agent_action")
    took = {
        name: [e["extra"]["duration_ms"] for e in actions if e["extra"]["action_type"] == name]
        for name in found
    }
    assert found["step"]["count"] == len(wealth.told["agents"]) * STEPS
    assert found["give_money"]["count"] == len(took["give_money"])
    assert found["step"]["total_ms"] == pytest.approx(sum(took["step"]))
    assert found["step"]["self_ms"] == pytest.approx(sum(took["step"]) - sum(took["give_money"]), rel=1e-6)


def test_journeys_and_states_are_those_of_the_model(wealth):
    analyzer = LogAnalyzer(session=wealth.session)
    for agent in map(str, wealth.told["agents"][::14]):
        found = analyzer.journey_overview(agent)
        assert found["action_counts"]["step"] == STEPS
        assert (found["first_tick"], found["last_tick"]) == (0, STEPS - 1)
        assert analyzer.state_at(agent)["fields"]["wealth"] == wealth.told["wealth"][agent]
        # what the fold says before a later full state is what the household's own action left behind
        mine = [event for event in wealth.events if event["extra"].get("agent_id") == agent]
        for event in of_kind(mine, "agent_action")[::40]:
            if "wealth" in (left := event.get("state", {}).get("set", {})):
                assert analyzer.state_at(agent, event["id"])["fields"]["wealth"] == left["wealth"]
        rows, _ = journey_tree(analyzer.reader, agent)
        depths = Counter((row["name"], row["depth"]) for row in rows)
        assert (depths["step", 0], depths["give_money", 0]) == (STEPS, 0)
        assert depths["give_money", 1] == found["action_counts"].get("give_money", 0)
    analyzer.close()


def journey(traced: Traced) -> list[Any]:
    """What happened, in order, without what differs from run to run: ids and times."""
    own_to_a_run = {"duration_ms", "source", "init"}
    return [
        (
            event.get("tick"),
            event["message"],
            {
                # what was drawn stands under the id of the event that has the draws
                key: list(value.values()) if key == "reads" else value
                for key, value in event["extra"].items()
                if key not in own_to_a_run
            },
            event.get("state"),
            event.get("code"),
        )
        for event in traced.events
        if kind_of(event) in {"agent_action", "state_change"}
    ]


@pytest.mark.parametrize(
    ("name", "seed", "first"), [("boltzmann", 42, "wealth"), ("schelling", 7, "residents")]
)
def test_a_second_run_with_the_same_seed_gives_the_same_journey(name, seed, first, request, tmp_path):
    before = request.getfixturevalue(first)
    again = run_model(name, seed, tmp_path / "second")
    assert again.told == before.told
    assert again.session != before.session
    assert journey(again) == journey(before)


def test_another_seed_gives_another_journey(wealth, tmp_path):
    other = run_model("boltzmann", 43, tmp_path / "other")
    assert journey(other) != journey(wealth)
