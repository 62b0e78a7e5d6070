"""A real compiled graph, recorded in one process state and driven again from its node and model answers."""

from __future__ import annotations

import asyncio
import importlib

import pytest

from Agent import health, shutdown_logging
from Agent.errors import MissingExtra, UsageError
from Agent.flight import find_run, list_runs, read_run
from Agent.record.emit.installed import LIMITS
from Agent.replay import CheckpointManager, ReplayConfig, ReplayExecutor

pytestmark = pytest.mark.filterwarnings("default")  # what the library warns of is its own

SOURCE = """
import operator, random
from typing import Annotated, TypedDict
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from Agent.flight import record_tool, recorded_model
from Agent.flight.recorded_graphs import recorded_graph

LIVE = []

class State(TypedDict):
    messages: Annotated[list, add_messages]
    found: Annotated[list, operator.add]
    tries: int

def answers():
    while True:
        LIVE.append("model")
        yield AIMessage(f"answer {len(LIVE)}")

@record_tool
def search(query):
    LIVE.append(query)
    return [f"about {query}"]

def build(spec=None):
    model = recorded_model(GenericFakeChatModel(messages=answers()))
    def plan(state):
        return {"messages": [model.invoke(state["messages"])], "tries": state["tries"] + 1}
    def look(state):
        return {"found": search(state["messages"][-1].content)}
    graph = StateGraph(State)
    graph.add_node("plan", plan)
    graph.add_node("look", look)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "look")
    graph.add_conditional_edges("look", lambda state: "plan" if state["tries"] < 2 else END)
    return recorded_graph(graph.compile())
"""


def load(toy, source):
    toy.write(source)
    return importlib.import_module(toy.name)


@pytest.fixture
def recorded(toy, trace_root):
    """The id of a recorded run, and how to drive it again with a changed source."""
    pytest.importorskip("langgraph")
    module = load(toy, SOURCE)
    module.build().invoke({"messages": [("user", "hi")], "tries": 0})
    shutdown_logging()
    runs = list(list_runs())
    assert runs, (health(), {name: limit.value for name, limit in LIMITS.items()}, [*trace_root.rglob("*")])
    run_id = runs[0].run_id

    def again(step, old="", new="", **how):
        if old:
            assert SOURCE.count(old) == 1
        module = load(type(toy)(toy.directory, toy.root), SOURCE.replace(old, new) if old else SOURCE)
        config = ReplayConfig(target=module.build, **how)
        result = asyncio.run(ReplayExecutor(CheckpointManager()).replay(f"{run_id}:step_{step}", config))
        return result, module.LIVE

    again.run_id = run_id
    return again


def test_nodes_are_steps_and_each_super_step_leaves_a_checkpoint(recorded):
    record = read_run(find_run(recorded.run_id))
    names = [step.step_id for step in record.steps]
    assert names == ["graph", "step_1:plan", "step_2:look", "step_3:plan", "step_4:look"]
    assert [each.step_id for each in record.checkpoints()] == [f"step_{number}" for number in range(5)]


@pytest.mark.first_case
@pytest.mark.parametrize(("step", "ran"), [(0, 4), (1, 3), (2, 2), (3, 1)])
def test_the_same_graph_is_proved_from_any_checkpoint_and_asks_nothing_for_real(recorded, step, ran):
    result, live = recorded(step)
    assert result.verdict in {"IDENTICAL", "EQUIVALENT"}, str(result)
    assert (len(result.execution.details["nodes_ran"]), live) == (ran, [])


def test_behind_the_last_step_no_user_code_ran(recorded):
    for step, how in [(4, {}), (0, {"overrides": {"recorded_nodes": True}})]:
        result, live = recorded(step, **how)
        assert (result.verdict, result.exit_code, live) == ("UNVERIFIED", 4, [])
        assert "no user code ran" in result.reasons[-1]


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('state["tries"] + 1', 'state["tries"] + (2 if state["tries"] else 1)', "step 3, plan, /tries"),
        ('return [f"about {query}"]', 'return ["other"]', None),
        ('search(state["messages"][-1].content)', 'search("x")', "step 2, look"),
        ('{"found": search(state["messages"][-1].content)}', '{"found": ["about answer 1"]}', "step 4, look"),
        ('state["tries"] < 2', 'state["tries"] < 3', "step 5, plan"),
        (
            'return {"messages"',
            'raise ValueError("no")\n        return {"messages"',
            "step 1, plan: ValueError",
        ),
    ],
)
def test_a_changed_graph_has_diverged_at_that_step(recorded, old, new, place):
    result, live = recorded(0, old, new)
    assert live == []
    if place is None:  # what a tool does is answered, so its body is not driven
        assert result.verdict in {"IDENTICAL", "EQUIVALENT"}
        return
    assert result.verdict == "DIVERGED", str(result)
    assert place in result.execution.divergence


def test_chance_in_a_node_is_unverified_with_its_place(recorded):
    result, _ = recorded(0, '        return {"found"', '        random.random()\n        return {"found"')
    assert result.verdict == "UNVERIFIED"
    assert any("random read by" in reason and "look" in reason for reason in result.reasons), result.reasons


def test_a_changed_state_leads_the_edges_elsewhere(recorded):
    result, _ = recorded(2, modified_state={"tries": 9})
    assert result.diff["changed"]["tries"] == {"old": 2, "new": 9}
    assert len(result.output["found"]) == 1
    result, _ = recorded(0, modified_input={"tries": 1})
    assert result.verdict is None and result.diff["changed"]["found"]["new"] == result.output["found"]
    with pytest.raises(UsageError, match="at its beginning"):
        recorded(2, modified_input={"tries": 1})


def test_without_langgraph_there_is_one_clear_error(monkeypatch):
    import sys

    from Agent.flight.recorded_graphs import recorded_graph

    monkeypatch.setitem(sys.modules, "langgraph", None)
    monkeypatch.setitem(sys.modules, "langgraph.pregel", None)
    with pytest.raises(MissingExtra, match="pip install langgraph"):
        recorded_graph(object())
