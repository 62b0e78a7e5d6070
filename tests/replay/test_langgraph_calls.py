"""Graphs as people build them, recorded and driven again: interrupts, errors, threads, graphs within graphs."""

from __future__ import annotations

import asyncio
import importlib

import pytest

from Agent import shutdown_logging
from Agent.flight import find_run, list_runs, read_run
from Agent.replay import CheckpointManager, ReplayConfig, ReplayExecutor

pytestmark = pytest.mark.filterwarnings("default")  # what the library warns of is its own

HEAD = """
import asyncio, hashlib, operator, uuid
from dataclasses import dataclass
from typing import Annotated, TypedDict
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt
from Agent.flight import record_tool
from Agent.flight import recorder
from Agent.flight.recorded_graphs import recorded_graph

class State(TypedDict):
    messages: Annotated[list, add_messages]
    n: int
    key: str

@record_tool
def look(query):
    return f"about {query}"

def line(*nodes, state=State, checkpointer=None, name=None, **how):
    graph = StateGraph(state, **how)
    before = START
    for node in nodes:
        graph.add_node(node.__name__, node)
        graph.add_edge(before, before := node.__name__)
    return recorded_graph(graph.compile(checkpointer=checkpointer, name=name))
"""


@pytest.fixture
def drive(toy, trace_root):
    """Record a program, and drive its graph again from a checkpoint, with its source changed or not."""
    pytest.importorskip("langgraph")

    def loaded(body):
        fresh = type(toy)(toy.directory, toy.root)
        fresh.write(HEAD + body)
        return importlib.import_module(fresh.name)

    def recorded(body):
        loaded(body).main()
        shutdown_logging()
        runs = [each.run_id for each in list_runs()]

        def again(step, old="", new="", run=0):
            if old:
                assert body.count(old) == 1
            config = ReplayConfig(target=loaded(body.replace(old, new) if old else body).build)
            return asyncio.run(ReplayExecutor(CheckpointManager()).replay(f"{runs[run]}:{step}", config))

        again.records = [read_run(find_run(run)) for run in runs]
        return again

    return recorded


GREEN = {"IDENTICAL", "EQUIVALENT"}

ASKING = """
def propose(s): return {"n": s["n"] * 2}
def approve(s): return {"key": interrupt({"pay": s["n"]})}
def build(spec=None): return line(propose, approve, checkpointer=InMemorySaver())
def main():
    app, thread = build(), {"configurable": {"thread_id": "1"}}
    app.invoke({"messages": [], "n": 2}, thread)
    app.invoke(Command(resume="yes"), thread)
"""


def test_a_graph_that_asks_a_person_is_driven_until_it_asks_and_an_interrupt_is_no_error(drive):
    again = drive(ASKING)
    _, asked = again.records
    assert [step.state for step in asked.steps] == ["ok"] * 3
    assert again("step_0", run=1).verdict in GREEN
    other = again("step_0", '{"pay": s["n"]}', '{"pay": 3}', run=1)
    assert (other.verdict, "step 2, approve" in str(other)) == ("DIVERGED", True)
    behind = again("step_0", run=0)
    assert (behind.verdict, "continued a thread of earlier calls" in behind.reasons[0]) == (
        "UNVERIFIED",
        True,
    )
    assert "nothing was replayed" in str(behind) and "gone" not in str(behind)


RAISING = """
def count(s): return {"n": 1}
def fail(s): raise ValueError("no such order")
def build(spec=None): return line(count, fail)
def main():
    try:
        build().invoke({"messages": [], "n": 0})
    except ValueError:
        pass
"""


@pytest.mark.further
def test_a_graph_that_raised_is_proved_by_raising_the_same(drive):
    again = drive(RAISING)
    same = again("step_0")
    assert (same.verdict, same.error) == ("IDENTICAL", None)
    assert "it raised what the recorded call raised: ValueError: no such order" in str(same)
    fixed = again("step_0", 'raise ValueError("no such order")', 'return {"n": 2}')
    assert fixed.verdict == "DIVERGED"
    other = again("step_0", "no such order", "no such thing")
    assert (other.verdict, "the recorded call raised ValueError: no such order" in str(other)) == (
        "DIVERGED",
        True,
    )


LOOPING = """
def again(s): return {"n": s["n"] + 1}
def build(spec=None):
    graph = StateGraph(State)
    graph.add_node("again", again)
    graph.add_edge(START, "again")
    graph.add_conditional_edges("again", lambda s: "again")
    return recorded_graph(graph.compile())
def main():
    try:
        build().invoke({"messages": [], "n": 0}, {"recursion_limit": 5})
    except RecursionError:
        pass
"""


def test_a_loop_that_ran_into_its_limit_runs_into_it_again(drive):
    again = drive(LOOPING)
    assert again("step_0").verdict == again("step_3").verdict == "IDENTICAL"
    assert (
        again("step_0", 'lambda s: "again"', 'lambda s: "again" if s["n"] < 3 else END').verdict == "DIVERGED"
    )


IDS = """
SALT = "a"
def make(s): return {"key": str(uuid.UUID(hashlib.md5(SALT.encode()).hexdigest())), "messages": [AIMessage("x")]}
def last(s): return {"n": 1}
def build(spec=None): return line(make, last)
def main(): build().invoke({"messages": [("user", "hi")], "n": 0})
"""


def test_an_id_that_user_code_made_is_no_id_of_the_framework(drive):
    again = drive(IDS)
    assert again("step_0").verdict == "EQUIVALENT"  # messages have other ids each time
    other = again("step_0", 'SALT = "a"', 'SALT = "b"')
    assert (other.verdict, "step 1, make, /key" in str(other)) == ("DIVERGED", True)


NESTED = """
def x(s): return {"n": s["n"] + 1}
def y(s): return {"key": look(s["n"])}
INNER = line(x, y)
def call(s): return {"key": INNER.invoke({"messages": [], "n": 7})["key"]}
def after(s): return {"n": s["n"] + 1}
def build(spec=None): return line(call, after)
def main(): build().invoke({"messages": [], "n": 0})
"""


@pytest.mark.further
def test_a_graph_that_a_node_calls_belongs_to_the_node_and_leaves_the_states_alone(drive):
    again = drive(NESTED)
    (record,) = again.records
    assert [each.step_id for each in record.checkpoints()] == ["step_0", "step_1", "step_2"]
    inner = [step.step_id for step in record.steps if "/" in step.step_id]
    assert inner == ["step_1:call/graph", "step_1:call/step_1:x", "step_1:call/step_2:y"]
    assert again("step_0").verdict in GREEN
    assert again("step_0", 'look(s["n"])', 'look("z")').verdict == "DIVERGED"


TWICE = """
def ask(s): return {"messages": [AIMessage(look(s["messages"][-1].content))], "n": s["n"] + 1}
def build(spec=None): return line(ask)
def main():
    app = build()
    with recorder.run("twice"):
        for text in ("first", "second"):
            app.invoke({"messages": [("user", text)], "n": 0})
"""


def test_each_of_several_calls_in_one_run_is_driven_with_its_own_answers(drive):
    again = drive(TWICE)
    for step in ("step_0", "call_2.step_0"):
        result = again(step)
        assert result.verdict in GREEN, str(result)
        assert again(step, 's["n"] + 1', 's["n"] + 2').verdict == "DIVERGED"
    assert (
        again("call_2.step_0").output["messages"][-1]["langchain.message"]["data"]["content"]
        == "about second"
    )


THREAD = """
def ask(s): return {"messages": [AIMessage(look(s["messages"][-1].content))], "n": s.get("n", 0) + 1}
def build(spec=None): return line(ask, checkpointer=InMemorySaver())
def main():
    app, thread = build(), {"configurable": {"thread_id": "1"}}
    for text in ("first", "second"):
        app.invoke({"messages": [("user", text)]}, thread)
"""


def test_a_call_behind_one_that_came_to_its_end_is_driven_from_the_thread_s_state(drive):
    again = drive(THREAD)
    result = again("step_0", run=0)
    assert (result.verdict in GREEN, result.output["n"]) == (True, 2), str(result)
    assert again("step_0", '["messages"][-1]', '["messages"][0]', run=0).verdict == "DIVERGED"


SETTINGS = """
@dataclass
class Tone:
    word: str
def by_config(s, config): return {"key": look(config["configurable"]["user"])}
def by_context(s, runtime: Runtime[Tone]): return {"key": s["key"] + runtime.context.word}
def build(spec=None): return line(by_config, by_context, context_schema=Tone)
def main():
    build().invoke({"messages": [], "n": 0}, {"configurable": {"user": USER}}, context=Tone("!"))
USER = "ada"
"""


def test_what_nodes_read_of_configuration_and_context_is_there_again(drive):
    again = drive(SETTINGS)
    assert again("step_0").verdict == "IDENTICAL"
    ada = "class Ada:\n    def __init__(self): self.words = iter(input, '')\n    def __str__(self): return 'ada'\n"
    opaque = drive(SETTINGS.replace("USER}", "Ada()}") + ada)
    result = opaque("step_0")
    assert result.verdict == "UNVERIFIED"
    assert "configurable/user, an argument of the call, cannot be recorded" in result.reasons[0]


QUIET = """
class Out(TypedDict):
    n: int
def note(s): look("log")
def count(s): return {"n": len(look("y"))}
def done(s): return Command(update={"messages": [AIMessage("done")]})
def build(spec=None): return line(note, count, done, output_schema=Out)
def main(): assert build().invoke({"messages": [], "n": 0}) == {"n": 7}
"""


def test_nodes_that_change_nothing_and_outputs_that_are_a_part_keep_the_count_of_steps(drive):
    again = drive(QUIET)
    (record,) = again.records
    assert [each.step_id for each in record.checkpoints()] == ["step_0", "step_2", "step_3"]
    for step in ("step_0", "step_2"):
        result = again(step)
        assert result.verdict in GREEN, str(result)
    assert again("step_0", 'AIMessage("done")', 'AIMessage("ready")').verdict == "DIVERGED"


STREAMED = """
async def ask(s): return {"n": s["n"] + 1, "key": look(s["n"])}
def build(spec=None): return line(ask)
def main():
    async def read():
        return [chunk async for chunk in build().astream({"messages": [], "n": 0})]
    assert asyncio.run(read()) == [{"ask": {"n": 1, "key": "about 0"}}]
"""


def test_a_streamed_graph_is_driven_like_any_other(drive):
    again = drive(STREAMED)
    assert again("step_0").verdict == "IDENTICAL"
    assert again("step_0", 's["n"] + 1', 's["n"] + 2').verdict == "DIVERGED"
