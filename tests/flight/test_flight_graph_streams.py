"""Calls of recorded graphs by a plain double of their shape: runs, states between chunks, what a reader gets."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from Agent import shutdown_logging
from Agent.flight import find_run, list_runs, read_run, recorder
from Agent.flight.recorded_graphs import (
    Chunks,
    GraphCall,
    astreamed,
    generated_ids,
    plain_values,
    restored_values,
    streamed,
)

STATES = [{"n": 0, "m": 5}, {"n": 1, "m": 5}, {"n": 2, "m": 6}]


class Graph:
    """Gives its states as chunks, as LangGraph does where it is asked for several modes."""

    agent_trace_agent = "counter"
    stream_mode = "updates"
    stream_channels_asis = ("n", "m")
    stream_channels_list = ("n", "m")
    checkpointer = None

    def __init__(self, fails=False):
        self.fails = fails
        self.stream_arguments = None
        self.call = None

    def get_name(self):
        return "Counting"

    def stream(self, **asked):
        self.stream_arguments = asked
        for number, state in enumerate(STATES):
            self.call.last_step = number
            yield ("values", state)
            yield ("updates", {f"node_{number}": recorder.current_run_id})
        if self.fails:
            raise ValueError("no more")

    async def astream(self, **asked):
        for chunk in self.stream(**asked):
            await asyncio.sleep(0)
            yield chunk


def call_of(graph):
    graph.call = GraphCall(graph, {"n": 0})
    return graph.call


def newest():
    shutdown_logging()
    return read_run(find_run(next(list_runs()).run_id))


def test_a_streamed_graph_is_a_run_with_a_checkpoint_behind_each_super_step(trace_root):
    graph = Graph()
    chunks = []
    for chunk in streamed(call_of(graph), graph.stream, {}):
        chunks.append(chunk)
        assert recorder.current_run_id is None, "the reader's own code is not in the graph's run"
    record = newest()
    assert [list(chunk) for chunk in chunks] == [["node_0"], ["node_1"], ["node_2"]], "as without recording"
    assert {run for chunk in chunks for run in chunk.values()} == {record.summary.run_id}
    assert graph.stream_arguments["stream_mode"] == ["updates", "values"]
    assert (record.summary.agent, record.summary.state) == ("counter", "success")
    assert [each.step_id for each in record.checkpoints()] == ["step_0", "step_1", "step_2"]


def test_a_graph_that_is_streamed_in_a_coroutine_likewise(trace_root):
    graph = Graph()

    async def read():
        return [
            chunk async for chunk in astreamed(call_of(graph), graph.astream, {"stream_mode": ["values"]})
        ]

    assert asyncio.run(read()) == [("values", state) for state in STATES]
    assert [each.step_id for each in newest().checkpoints()] == ["step_0", "step_1", "step_2"]


def test_a_stream_that_nobody_reads_to_its_end_is_a_partial_run(trace_root):
    graph = Graph()
    chunks = streamed(call_of(graph), graph.stream, {})
    next(chunks)
    chunks.close()
    record = newest()
    assert record.summary.state == "partial"
    assert [(step.step_id, step.state) for step in record.steps] == [("graph", "ok")]


def test_a_stream_that_raises_is_a_failed_run_and_raises_the_same(trace_root):
    graph = Graph(fails=True)
    with pytest.raises(ValueError, match="no more"):
        list(streamed(call_of(graph), graph.stream, {}))
    assert newest().summary.error == "ValueError: no more"


def test_several_calls_in_one_run_keep_their_states_apart(trace_root):
    with recorder.run("twice"):
        for _ in range(2):
            graph = Graph()
            list(streamed(call_of(graph), graph.stream, {}))
    assert [each.step_id for each in newest().checkpoints()] == [
        "step_0", "step_1", "step_2", "call_2.step_0", "call_2.step_1", "call_2.step_2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "chunk", "given"),
    [
        ({"stream_mode": "updates"}, ("values", STATES[1]), ()),
        ({"stream_mode": "values"}, ("values", STATES[1]), (STATES[1],)),
        ({"stream_mode": ["values"]}, ("values", STATES[1]), (("values", STATES[1]),)),
        ({"stream_mode": "values", "subgraphs": True}, ((), "values", STATES[1]), (((), STATES[1]),)),
        ({"stream_mode": ["updates"], "subgraphs": True}, (("a",), "updates", 1), ((("a",), "updates", 1),)),
        ({"version": "v2"}, {"type": "values", "ns": (), "data": STATES[1]}, ()),
        ({"version": "v2", "stream_mode": "custom"}, {"type": "custom", "data": 1}, ({"type": "custom", "data": 1},)),
    ],
)  # fmt: skip
def test_the_reader_gets_what_was_asked_for_alone(more, chunk, given):
    kept = []
    call = SimpleNamespace(graph=Graph(), keep_state=kept.append, output={})
    assert Chunks(call, more, is_own=False).take(chunk) == given
    is_state = "values" in chunk if isinstance(chunk, tuple) else chunk["type"] == "values"
    assert kept == ([STATES[1]] if is_state else [])


def test_a_state_of_which_a_part_was_asked_for_is_kept_whole():
    kept = []
    call = SimpleNamespace(graph=Graph(), keep_state=kept.append, output={})
    view = Chunks(call, {"stream_mode": ["updates", "values"], "output_keys": ["n"]}, is_own=True)
    assert view.stream_arguments["output_keys"] is None
    assert (view.take(("values", STATES[2])), kept) == ((("values", {"n": 2}),), [STATES[2]])
    Chunks(call, {"stream_mode": "values", "output_keys": ["n"]}, is_own=False)
    assert call.output["partial"]


def test_a_saver_that_cannot_be_asked_here_costs_the_caller_nothing(trace_root):
    class Saver:
        def get_tuple(self, config):
            raise RuntimeError("only from another thread")

    graph = Graph()
    graph.checkpointer = Saver()
    call = graph.call = GraphCall(graph, {"n": 0}, {"configurable": {"thread_id": "t"}})
    assert len(list(streamed(call, graph.stream, {}))) == 3
    assert call.output["continued"], "what is not known counts as a thread that goes on"


def test_what_nodes_read_beside_the_state_is_kept_and_what_is_the_framework_s_own_is_not(trace_root):
    config = {"configurable": {"user": "ada", "thread_id": "t", "__pregel_x": 1}, "recursion_limit": 9}
    call = GraphCall(Graph(), {"n": 0}, config, {"tone": "dry"})
    with call:
        pass
    assert call.output["configurable"] == {"user": "ada"}
    assert (call.output["context"], call.output["recursion_limit"]) == ({"tone": "dry"}, 9)


@pytest.mark.further
def test_what_is_said_to_a_graph_has_a_form_that_comes_back_with_its_messages():
    pytest.importorskip("langgraph")
    from langchain_core.messages import AIMessage
    from langgraph.types import Command, Interrupt, Send

    said = Command(
        goto=[Send("look", {"q": AIMessage("hi", id="a" * 32)})], update={"messages": [AIMessage("x")]}
    )
    back = restored_values(plain_values({"said": said, "asked": (Interrupt("sure?", id="b" * 32),)}))
    assert back["said"] == said
    assert back["asked"][0].value == "sure?"
    assert sorted(generated_ids(plain_values([said, back["asked"]]))) == ["a" * 32, "b" * 32]
