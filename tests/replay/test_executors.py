"""Checkpoints by id, executors that go on from them, and what the result says of it."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from Agent import shutdown_logging
from Agent.errors import EventNotFound, RunNotFound, UsageError
from Agent.flight import StepEvent, checkpoint_store, record_tool, recorder
from Agent.replay import CheckpointManager, ReplayConfig, ReplayExecutor
from Agent.replay.compare.comparison import Comparison
from Agent.replay.executors import (
    AgentExecutor,
    Execution,
    register_executor,
    replay_executor,
    unregister_executor,
)
from Agent.replay.executors.result import compute_diff, recorded_difference
from Agent.replay.executors.saved_points import CheckpointName, parse_checkpoint_id

CALLS: list[str] = []


@record_tool
def search(query):
    CALLS.append(query)
    return {"docs": [f"about {query}"]}


@pytest.fixture
def registered():
    yield register_executor
    unregister_executor("mine")


@pytest.fixture
def run_id(trace_root) -> str:
    """A run of three whole steps, each with its tool."""
    CALLS.clear()
    with recorder.run("mine", {"framework": "mine"}) as run:
        for number in (1, 2, 3):
            search(f"q{number}")
            time.sleep(0.002)
            recorder.record_step(
                StepEvent(
                    f"s{number}", {"query": "q", "n": number - 1}, output_state={"query": "q", "n": number}
                )
            )
    shutdown_logging()
    return run.run_id


def replayed(checkpoint: int, run_id: str, config: ReplayConfig | None = None):
    async def main():
        manager = CheckpointManager()
        ids = await manager.auto_checkpoint_trace(run_id)
        return await ReplayExecutor(manager).replay(ids[checkpoint], config)

    return asyncio.run(main())


async def goes_on(input, state, config, overrides=None):
    state = dict(state)
    while state["n"] < 3:
        state["n"] += 1
        search(f"q{state['n']}")
    return state


def test_an_id_names_run_step_and_agent_whatever_they_are_called():
    for name in [
        CheckpointName("run", "step_1"),
        CheckpointName("r", "a:b/c %", "ä:@"),
        CheckpointName("r", ""),
    ]:
        assert parse_checkpoint_id(str(name)) == name
        assert not set(str(name)) & set("/ @%") - {"%"}
    with pytest.raises(UsageError):
        parse_checkpoint_id("nothing")


def test_steps_become_checkpoints_with_the_state_before_the_first_and_are_reused(run_id):
    async def main():
        manager = CheckpointManager()
        ids = await manager.auto_checkpoint_trace(run_id)
        assert await manager.auto_checkpoint_trace(run_id) == ids
        return [(await manager.get_checkpoint(each)).state["n"] for each in ids], ids

    states, ids = asyncio.run(main())
    assert states == [0, 1, 2, 3]
    assert ids == [f"{run_id}:{step}" for step in ("start", "s1", "s2", "s3")]


def test_checkpoints_that_a_run_left_by_itself_are_given_as_they_are(trace_root):
    checkpoint_store.save_checkpoint("plain", "one", {"a": 1})
    ids = asyncio.run(CheckpointManager().auto_checkpoint_trace("plain"))
    assert ids == ["plain:one"]


def test_a_checkpoint_is_deleted_alone_though_an_agent_has_one_of_that_step(trace_root):
    checkpoint_store.save_checkpoint("plain", "one", {"a": 1})
    checkpoint_store.save_checkpoint("plain", "one", {"a": 2}, agent_id="bob")

    async def main():
        manager = CheckpointManager()
        assert await manager.delete_checkpoint("plain:one")
        assert not await manager.delete_checkpoint("plain:one")
        return await manager.list_checkpoints("plain")

    assert [each.checkpoint_id for each in asyncio.run(main())] == ["plain:one:bob"]


def test_unknown_runs_steps_and_places_are_one_clear_error(run_id):
    manager = CheckpointManager()
    with pytest.raises(RunNotFound):
        asyncio.run(manager.auto_checkpoint_trace("no-such-run"))
    asyncio.run(manager.auto_checkpoint_trace(run_id))
    with pytest.raises(EventNotFound):
        asyncio.run(manager.get_checkpoint(f"{run_id}:nowhere"))
    with pytest.raises(UsageError, match="cannot be made from a int"):
        CheckpointManager(7)
    with pytest.raises(UsageError, match="different stores"):
        ReplayExecutor(manager, object())


def test_a_manager_takes_a_root_a_session_or_what_has_a_trace_root(run_id, trace_root):
    class Pool:
        def __init__(self):
            self.trace_root = trace_root

    for place in (trace_root, str(trace_root), next(trace_root.glob("session_*")), Pool()):
        assert len(asyncio.run(CheckpointManager(place).auto_checkpoint_trace(run_id))) == 4


def test_a_registered_function_that_does_the_same_is_identical_and_asks_no_tool(run_id, registered):
    registered("mine", goes_on)
    CALLS.clear()
    result = replayed(1, run_id)
    assert (result.verdict, result.exit_code, result.output) == ("IDENTICAL", 0, {"query": "q", "n": 3}), (
        result
    )
    assert (result.executor, result.input, CALLS) == ("mine", {"query": "q", "n": 1}, [])


def test_one_that_does_something_else_has_diverged_with_both_values(run_id, registered):
    async def other(input, state, config, overrides=None):
        return {**await goes_on(input, state, config), "n": 4, "more": True}

    registered("mine", other)
    result = replayed(1, run_id)
    assert (result.verdict, result.exit_code) == ("DIVERGED", 1)
    assert result.diff == {
        "summary": "1 changed (n), 1 added (more)",
        "has_changes": True,
        "changed": {"n": {"old": 3, "new": 4}},
        "added": {"more": True},
        "removed": {},
    }


@pytest.mark.parametrize(
    ("read", "source"),
    [
        (time.time, "time.time"),
        (random.random, "random"),
        (lambda: socket.create_connection(("127.0.0.1", 9)), "network"),
    ],
)
def test_one_that_reads_what_the_record_does_not_hold_is_unverified_by_name(run_id, registered, read, source):
    async def reads(input, state, config, overrides=None):
        await asyncio.sleep(0)
        with contextlib.suppress(PermissionError):
            read()
        return await goes_on(input, state, config)

    registered("mine", reads)
    result = replayed(1, run_id)
    assert result.verdict == "UNVERIFIED"
    assert any(source in reason and "test_executors.py" in reason for reason in result.reasons), result


async def in_a_task(work):
    return await asyncio.create_task(later(work))


async def in_gathered_tasks(work):
    return (await asyncio.gather(later(work), asyncio.sleep(0)))[0]


async def in_a_task_of_a_task(work):
    return await asyncio.wait_for(in_a_task(work), 5)


async def in_a_thread_of_the_loop(work):
    return await asyncio.to_thread(work)


async def in_a_pool(work):
    with ThreadPoolExecutor(1) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, work)


async def in_a_thread(work):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    thread.join()
    return answers[0] if answers else None


async def later(work):
    await asyncio.sleep(0)
    return work()


def asks_the_network():
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", 9))


PLACES = [
    in_a_task, in_gathered_tasks, in_a_task_of_a_task, in_a_thread_of_the_loop, in_a_pool, in_a_thread
]  # fmt: skip


@pytest.mark.first_case
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("read", "source"),
    [(lambda: time.time(), "time.time"), (lambda: random.random(), "random"), (asks_the_network, "network")],
    ids=["clock", "chance", "network"],
)
def test_what_tasks_and_threads_of_an_executor_read_is_noticed(run_id, registered, place, read, source):
    async def reads(input, state, config, overrides=None):
        await place(read)
        return await goes_on(input, state, config)

    registered("mine", reads)
    result = replayed(1, run_id)
    assert result.verdict == "UNVERIFIED"
    assert any(source in reason and "test_executors.py" in reason for reason in result.reasons), result
    asyncio.run(place(read))  # elsewhere nothing is refused or noticed
    assert len(result.execution.reads) == 1


async def runs_a_program():
    subprocess.run([sys.executable, "-c", ""], check=True)  # noqa: ASYNC221


async def awaits_a_program():
    await (await asyncio.create_subprocess_exec(sys.executable, "-c", "")).wait()


async def asks_a_shell():
    os.system("true")  # noqa: ASYNC221


async def asks_a_process_pool():
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, abs, -1)


@pytest.mark.first_case
@pytest.mark.process
@pytest.mark.parametrize("let_work", [runs_a_program, awaits_a_program, asks_a_shell, asks_a_process_pool])
def test_a_child_process_of_an_executor_is_noticed_and_not_refused(run_id, registered, let_work):
    async def works(input, state, config, overrides=None):
        await let_work()
        return await goes_on(input, state, config)

    registered("mine", works)
    result = replayed(1, run_id)
    assert (result.verdict, result.execution.error) == ("UNVERIFIED", None)
    assert any("the result of a child process read by" in reason for reason in result.reasons), result


@pytest.mark.first_case
@pytest.mark.parametrize("place", PLACES)
def test_tools_that_tasks_and_threads_of_an_executor_call_are_not_called_for_real(run_id, registered, place):
    async def calls(input, state, config, overrides=None):
        await place(lambda: [search(f"q{number}") for number in (2, 3)])
        return {**state, "n": 3}

    registered("mine", calls)
    CALLS.clear()
    result = replayed(1, run_id)
    assert (result.verdict, CALLS) == ("IDENTICAL", []), result


def test_a_task_of_an_executor_may_be_cancelled_and_the_loop_has_its_own_factory_again(run_id, registered):
    async def cancels(input, state, config, overrides=None):
        task = asyncio.create_task(later(time.time))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: factories.append(loop.get_task_factory()))
        await asyncio.sleep(0)
        return await goes_on(input, state, config)

    factories = []
    registered("mine", cancels)
    assert replayed(1, run_id).verdict == "IDENTICAL"
    assert factories == [None]


def test_a_built_in_executor_is_guarded_like_a_registered_one_unless_its_row_says_otherwise(
    run_id, monkeypatch
):
    async def reads(input, state, config, overrides=None):
        random.random()
        return await goes_on(input, state, config)

    row = replay_executor._Executor(reads)
    monkeypatch.setitem(replay_executor._OWN, "mine", row)
    CALLS.clear()
    result = replayed(1, run_id)
    assert (result.verdict, CALLS) == ("UNVERIFIED", [])
    assert result.reasons[0].startswith("random read by")
    monkeypatch.setitem(replay_executor._OWN, "mine", row._replace(is_guarded=False))
    assert (replayed(1, run_id).verdict, CALLS) == ("IDENTICAL", ["q2", "q3"])


def test_a_run_continues_from_its_start_with_the_calls_that_were_made_before_its_first_step(
    run_id, registered
):
    registered("mine", goes_on)
    CALLS.clear()
    assert [replayed(number, run_id).verdict for number in range(3)] == ["IDENTICAL"] * 3
    assert not CALLS


def test_a_missing_call_is_told_how_many_of_its_kind_are_before_the_checkpoint(run_id, registered):
    async def repeats(input, state, config, overrides=None):
        return search("q1")

    registered("mine", repeats)
    assert "2 of 2 recorded calls are left, the nearest" in str(replayed(1, run_id))
    assert "; not counted: 1 before the checkpoint" in str(replayed(1, run_id))
    assert "it has no call of search; not counted: 3 before the checkpoint" in str(replayed(3, run_id))

    async def goes_on_too_long(input, state, config, overrides=None):
        await goes_on(input, state, config)
        return search("q1")

    registered("mine", goes_on_too_long)
    assert "all 2 recorded calls of it were used; not counted: 1 before the checkpoint" in str(
        replayed(1, run_id)
    )


def test_a_call_that_is_not_made_any_more_leaves_nothing_proved(run_id, registered):
    async def lazy(input, state, config, overrides=None):
        return {**state, "n": 3}

    registered("mine", lazy)
    result = replayed(1, run_id)
    assert result.verdict == "UNVERIFIED"
    assert "2 recorded calls" in result.reasons[0]


def test_a_call_without_a_recorded_answer_ends_it_and_is_made_for_real_only_when_allowed(run_id, registered):
    async def curious(input, state, config, overrides=None):
        return search("something new")

    registered("mine", curious)
    CALLS.clear()
    result = replayed(1, run_id)
    assert (result.verdict, result.completed, CALLS) == ("UNVERIFIED", False, [])
    assert replayed(1, run_id, ReplayConfig(live=["search"])).output == {"docs": ["about something new"]}
    assert CALLS == ["something new"]


def test_what_an_executor_raises_is_a_difference(run_id, registered):
    async def fails(input, state, config, overrides=None):
        raise ValueError("no")

    registered("mine", fails)
    result = replayed(1, run_id)
    assert (result.verdict, result.error, result.completed) == ("DIVERGED", "ValueError: no", False)


def test_an_executor_that_takes_too_long_is_stopped(run_id, registered):
    async def slow(input, state, config, overrides=None):
        await asyncio.sleep(30)

    registered("mine", slow)
    result = replayed(1, run_id, ReplayConfig(timeout_seconds=0.05))
    assert (result.verdict, result.completed) == ("UNVERIFIED", False)


def test_another_input_or_state_gives_a_comparison_and_no_verdict(run_id, registered):
    seen = []

    async def shown(input, state, config, overrides=None):
        seen.append((input, state, overrides))
        return {"query": input["query"], "n": 3}

    registered("mine", shown)
    config = ReplayConfig(modified_input={"query": "new"}, modified_state={"n": 2}, overrides={"x": 1})
    result = replayed(1, run_id, config)
    assert seen == [({"query": "new", "n": 1}, {"query": "q", "n": 2}, {"x": 1})]
    assert (result.verdict, result.diff["changed"]) == (None, {"query": {"old": "q", "new": "new"}})


@pytest.mark.parametrize(
    "config",
    [
        ReplayConfig(dry_run=True),
        ReplayConfig(executor="generic"),
        ReplayConfig(dry_run=True, modified_input=1),
    ],
)
def test_a_replay_in_which_no_user_code_ran_is_unverified_though_nothing_differs(run_id, registered, config):
    async def never(input, state, config, overrides=None):
        raise AssertionError

    registered("mine", never)
    result = replayed(1, run_id, config)
    assert (result.verdict, result.exit_code, result.diff["has_changes"]) == ("UNVERIFIED", 4, False)
    assert "no user code ran" in result.reasons[0]


def test_a_dry_run_answers_with_what_it_is_told_to(run_id):
    result = replayed(1, run_id, ReplayConfig(dry_run=True, overrides={"output": {"n": 3, "query": "z"}}))
    assert result.diff["changed"] == {"query": {"old": "q", "new": "z"}}
    assert (result.verdict, result.execution.details["would_run"]) == ("UNVERIFIED", "generic")


def test_an_object_is_an_executor_and_anything_else_is_refused(run_id, registered):
    class Mine:
        async def execute(self, input, state, config, overrides=None):
            return Execution(await goes_on(input, state, config), notes=["mine"])

    assert isinstance(Mine(), AgentExecutor)
    registered("mine", Mine())
    assert "note: mine" in str(replayed(2, run_id))
    for wrong in (lambda: None, Mine, 3):
        with pytest.raises(UsageError):
            registered("mine", wrong)
    with pytest.raises(UsageError, match="no executor"):
        replayed(1, run_id, ReplayConfig(executor="nobody"))


def test_a_replay_writes_its_report_and_nothing_else(run_id, registered, trace_root):
    registered("mine", goes_on)
    asyncio.run(CheckpointManager().auto_checkpoint_trace(run_id))
    before = {path for path in trace_root.rglob("*") if path.is_file()}
    result = replayed(1, run_id)
    new = {path for path in trace_root.rglob("*") if path.is_file()} - before
    assert {path for path in new if "checkpoints" not in path.parts} == {result.path / "report.json"}


def test_secrets_do_not_reach_the_report(run_id, registered):
    async def leaks(input, state, config, overrides=None):
        return {"api_key": "sk-abcdefghijklmnopqrstuvwxyz123456"}

    registered("mine", leaks)
    result = replayed(1, run_id)
    assert "abcdefghijklmnop" not in (result.path / "report.json").read_text()


def test_traced_agents_go_on_by_a_fork_in_another_process(toy, trace_root):
    toy.record(
        """
        class Counter:
            def __init__(self):
                self.agent_id, self.n = "a", 0

            @trace_agent_action
            def step(self, by):
                self.n += by
                return self.n

        def build(spec):
            return Counter()

        def main():
            counter = Counter()
            for by in (1, 2, 3):
                counter.step(by)
        """
    )
    target = f"{toy.name}:build"

    async def main():
        manager = CheckpointManager(trace_root)
        ids = await manager.auto_checkpoint_trace("last")
        executor = ReplayExecutor(manager)
        same = await executor.replay(ids[1], ReplayConfig(target=target))
        other = await executor.replay(ids[1], ReplayConfig(target=target, modified_state={"n": 10}))
        with pytest.raises(UsageError, match="modified_state"):
            await executor.replay(ids[1], ReplayConfig(target=target, modified_input={"by": 1}))
        return ids, same, other

    ids, same, other = asyncio.run(main())
    assert [each.split(":")[1:] for each in ids] == [
        ["start", "a"],
        ["step_1", "a"],
        ["step_2", "a"],
        ["step_3", "a"],
    ]
    assert (same.executor, same.verdict, same.diff["has_changes"], same.exit_code) == (
        "traced",
        None,
        False,
        0,
    )
    assert other.diff["changed"] == {"n": {"old": 6, "new": 15}}


def test_kinds_of_values_are_told_apart():
    assert not compute_diff({"a": (1, 2)}, {"a": (1, 2)})["has_changes"]
    for one, other in [((1,), [1]), (1, True), (1, 1.0), ({1}, {2}), (None, 0)]:
        assert compute_diff({"a": one}, {"a": other})["changed"] == {"a": {"old": one, "new": other}}
    assert compute_diff("x", "y")["changed"] == {"output": {"old": "x", "new": "y"}}
    assert compute_diff({"a": 1}, {})["removed"] == {"a": 1}


def test_the_order_of_keys_is_none_of_a_diff_and_one_of_a_verdict():
    for one, other in (({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}), ({1: 2, 3: 4}, {3: 4, 1: 2})):
        assert not compute_diff({"k": one}, {"k": other})["has_changes"]
        assert recorded_difference({"k": one}, {"k": other}, Comparison()) is not None
    assert recorded_difference({"a": 1, "b": 2}, {"b": 2, "a": 1}, Comparison()) is None, "keys of an output"
