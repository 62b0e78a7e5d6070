"""`TraceSaver` for LangGraph: conformant with all capabilities, small, safe for two writers and when it removes."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from typing import Annotated, TypedDict

import pytest
from support.processes import child_environment


@pytest.fixture(scope="module", autouse=True)
def libraries():
    """Loaded by the first test here: with their 700 modules, recordings of all other tests would take longer."""
    global END, START, StateGraph, TraceSaver
    pytest.importorskip(
        "langgraph.graph", reason="langgraph is not installed; it is in the extra [frameworks]"
    )
    from langgraph.graph import END, START, StateGraph

    from Agent.flight.integrations.langgraph_saver import TraceSaver


def added(left, right):
    return left + right


class State(TypedDict):
    messages: Annotated[list, added]
    count: int
    text: str


def graph(saver, state=State, turns=5):
    def answer(found):
        return {"messages": [f"answer {found['count']} " + "word " * 40], "count": found["count"] + 1}

    made = StateGraph(state)
    made.add_node("answer", answer)
    made.add_edge(START, "answer")
    made.add_conditional_edges("answer", lambda found: "answer" if found["count"] % turns else END)
    return made.compile(checkpointer=saver)


def thread(name, **more):
    return {"configurable": {"thread_id": name, **more}}


@pytest.fixture
def saver(tmp_path):
    with TraceSaver(tmp_path / "graphs" / "x.sqlite") as made:
        yield made


def blobs(saver):
    with sqlite3.connect(saver.path) as db:
        return db.execute("SELECT count(*) FROM blob").fetchone()[0]


def unreferenced(saver):
    query = """SELECT count(*) FROM blob WHERE id NOT IN (SELECT blob FROM channel_value UNION
        SELECT blob FROM task_write UNION SELECT body FROM checkpoint UNION SELECT base FROM blob WHERE base NOT NULL)"""
    with sqlite3.connect(saver.path) as db:
        return db.execute(query).fetchone()[0]


def test_langgraphs_conformance_suite_passes_whole(tmp_path):
    conformance = pytest.importorskip(
        "langgraph.checkpoint.conformance",
        reason="langgraph-checkpoint-conformance is not installed; it is in the extra [frameworks]",
    )

    @conformance.checkpointer_test(name="TraceSaver")
    async def ours():
        with TraceSaver(tmp_path / f"{os.urandom(4).hex()}.sqlite") as made:
            yield made

    report = asyncio.run(conformance.validate(ours))
    assert {name: found.passed for name, found in report.results.items()} == dict.fromkeys(
        (
            "put",
            "put_writes",
            "get_tuple",
            "list",
            "delete_thread",
            "delete_for_runs",
            "copy_thread",
            "prune",
        ),
        True,
    )


def test_a_graph_continues_where_another_process_left_it(saver):
    graph(saver).invoke({"messages": ["go"], "count": 0, "text": "x" * 5000}, thread("t"))
    saver.close()
    with TraceSaver(saver.path) as again:
        state = graph(again).get_state(thread("t"))
        assert state.values["count"] == 5 and len(state.values["messages"]) == 6
        history = list(graph(again).get_state_history(thread("t")))
        assert [len(each.values.get("messages", [])) for each in history] == [6, 5, 4, 3, 2, 1, 0]
        # a branch from the past
        third = next(each for each in history if each.values.get("count") == 3)
        graph(again).update_state(third.config, {"messages": ["other"]})
        assert graph(again).get_state(thread("t")).values["messages"][-1] == "other"
        assert len(list(again.list(thread("t")))) == 8
    assert stat.S_IMODE(saver.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(saver.path.parent.stat().st_mode) == 0o700


def test_values_are_stored_once_and_as_differences(saver):
    config = {**thread("t"), "recursion_limit": 100}
    graph(saver, turns=60).invoke({"messages": [], "count": 0, "text": os.urandom(30_000).hex()}, config)
    plain = sum(len(saver.serde.dumps_typed(each.checkpoint)[1]) for each in saver.list(thread("t")))
    with sqlite3.connect(saver.path) as db:
        stored = db.execute("SELECT sum(length(data)) FROM blob").fetchone()[0]
        depth = db.execute("SELECT max(depth) FROM blob").fetchone()[0]
    assert stored < plain / 20
    assert 0 < depth <= 32
    before = blobs(saver)
    saver.copy_thread("t", "copy")
    assert blobs(saver) == before
    ours, theirs = (graph(saver).get_state(thread(name)).values for name in ("t", "copy"))
    assert ours == theirs
    saver.delete_thread("t")
    assert graph(saver).get_state(thread("copy")).values == theirs
    assert unreferenced(saver) == 0
    saver.delete_thread("copy")
    assert blobs(saver) == 0


def test_pruning_keeps_the_state_and_frees_the_rest(saver):
    graph(saver).invoke({"messages": ["go"], "count": 0, "text": "t"}, thread("t"))
    graph(saver).invoke({"messages": ["go"], "count": 0, "text": "t"}, thread("u"))
    values, before = graph(saver).get_state(thread("t")).values, blobs(saver)
    saver.prune(["t"])
    assert len(list(saver.list(thread("t")))) == 1 and len(list(saver.list(thread("u")))) == 7
    assert graph(saver).get_state(thread("t")).values == values
    assert blobs(saver) < before and unreferenced(saver) == 0
    graph(saver).invoke({"messages": ["more"], "count": 5, "text": "t"}, thread("t"))
    assert len(graph(saver).get_state(thread("t")).values["messages"]) == len(values["messages"]) + 6
    with pytest.raises(ValueError, match="neither keep_latest nor delete"):
        saver.prune(["t"], strategy="everything")


def test_pruning_keeps_the_ancestors_that_a_delta_channel_is_read_from(saver):
    channels = pytest.importorskip("langgraph.channels.delta", reason="this LangGraph has no DeltaChannel")

    def extended(held, more):
        return [*(held or []), *(each for one in more for each in one)]

    held = Annotated[list, channels.DeltaChannel(extended, snapshot_frequency=4)]
    Delta = TypedDict("Delta", {"messages": held, "count": int, "text": str})  # noqa: UP013 - no text annotations

    for turns in (3, 6, 9):
        name = f"t{turns}"
        graph(saver, Delta, turns).invoke({"messages": ["go"], "count": 0, "text": "t"}, thread(name))
        before = graph(saver, Delta).get_state(thread(name)).values
        assert len(before["messages"]) == turns + 1
        number = len(list(saver.list(thread(name))))
        saver.prune([name])
        assert graph(saver, Delta).get_state(thread(name)).values == before
        assert len(list(saver.list(thread(name)))) < number
        assert unreferenced(saver) == 0


WRITER = """
import sys
from langgraph.checkpoint.base import empty_checkpoint
from Agent.flight.integrations.langgraph_saver import TraceSaver
path, name = sys.argv[1:]
with TraceSaver(path) as saver:
    config = {"configurable": {"thread_id": "shared", "checkpoint_ns": name}}
    for number in range(40):
        made = empty_checkpoint()
        made["channel_values"] = {"n": number, "text": "the same text in both " * 50}
        made["channel_versions"] = {"n": str(number), "text": "1"}
        config = saver.put(config, made, {"step": number}, {"n": str(number), "text": "1"})
        saver.put_writes(config, [("n", number)], name)
"""


@pytest.mark.integration
def test_two_processes_write_at_once_and_nothing_is_lost(saver):
    started = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(saver.path), name], env=child_environment())
        for name in ("one", "other")
    ]
    assert [process.wait(120) for process in started] == [0, 0]
    for name in ("one", "other"):
        found = list(saver.list(thread("shared", checkpoint_ns=name)))
        assert [each.checkpoint["channel_values"]["n"] for each in found] == list(reversed(range(40)))
        assert [each.pending_writes for each in found] == [
            [(name, "n", number)] for number in reversed(range(40))
        ]
    assert unreferenced(saver) == 0


def test_a_put_that_fails_leaves_nothing(saver):
    graph(saver).invoke({"messages": ["go"], "count": 0, "text": "t"}, thread("t"))
    before = blobs(saver), len(list(saver.list(None)))
    at = saver.get_tuple(thread("t"))
    broken = {**at.checkpoint, "id": "zzzz", "channel_values": {"fine": [1], "broken": object()}}
    with pytest.raises(TypeError):
        saver.put({"configurable": {**at.config["configurable"]}}, broken, {}, {"fine": "1", "broken": "1"})
    assert (blobs(saver), len(list(saver.list(None)))) == before
