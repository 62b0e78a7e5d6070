"""Awaitable recording: the event is made at the call, and what takes its time happens beside the event loop."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.processes import REPOSITORY

from Agent import health, receive, setup_logging, shutdown_logging, tick
from Agent.record.emit.installed import flush_active, install_pipeline
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.redaction import Redactor
from Agent.record.loggers.loggers import EventLogger
from Agent.testing import MemorySink
from Agent.tree.read.reader import TreeReader
from Agent.tree.write import segment_writer
from Agent.tree.write.queued import QueuedSink
from Agent.utils import (
    AgentLogger,
    InteractionLogger,
    LearningLogger,
    PerformanceLogger,
    SystemLogger,
    trace_agent_action,
)

LOGGERS = (AgentLogger, InteractionLogger, LearningLogger, PerformanceLogger, SystemLogger)
OTHERS = {"debug", "info", "warning", "error", "critical", "exception", "send", "receive"}
OF_TYPE = {"float": 1.5, "int": 3, "bool": True, "Iterable[Any]": ["a", "b"]}


def recording_methods(logger_class):
    return sorted(
        name
        for name, method in inspect.getmembers(logger_class, inspect.isfunction)
        if name.startswith("log_") or name in OTHERS
    )


TWINS = [(cls, name) for cls in LOGGERS for name in recording_methods(cls)]


def logger_of(cls):
    return cls("a") if cls is AgentLogger else cls()


@pytest.mark.further
def test_every_recording_method_has_an_awaitable_twin_that_records_the_same(recorded):
    for cls, name in TWINS:
        logger = logger_of(cls)
        arguments = [
            OF_TYPE.get(each.annotation, "x")
            for each in inspect.signature(getattr(logger, name)).parameters.values()
            if each.default is each.empty and each.kind is each.POSITIONAL_OR_KEYWORD
        ]
        if name == "receive":
            arguments = [logger.send("b", {"n": 1})]
        getattr(logger, name)(*arguments)
        plain = recorded.last
        answer = asyncio.run(_awaited(logger, name, arguments))
        awaited = recorded.last
        assert getattr(answer, "event_id", answer) == awaited["id"] != plain["id"], (cls, name)
        for event in (plain, awaited):
            del event["id"], event["timestamp"]
            event["extra"].pop("message_id", None)
        assert awaited == plain, (cls, name)


async def _awaited(logger, name, arguments):
    return await getattr(logger, f"a{name}")(*arguments)


def test_a_twin_shows_its_name_arguments_and_words_in_help():
    for cls, name in TWINS:
        twin, method = getattr(cls, f"a{name}"), getattr(cls, name)
        assert inspect.signature(twin) == inspect.signature(method), (cls, name)
        assert twin.__name__ == f"a{name}" and twin.__qualname__.endswith(f".a{name}"), (cls, name)
        assert method.__doc__ in twin.__doc__, (cls, name)


def test_no_twin_is_left_without_its_method():
    for cls in (EventLogger, *LOGGERS):
        twins = [name for name, value in vars(cls).items() if name.startswith("a") and callable(value)]
        assert all(name[1:] in vars(cls) for name in twins), cls


def test_under_kernel_it_is_written_at_the_call_and_never_suspends(recorded):
    coroutine = AgentLogger("a").ainfo("m")
    assert recorded.last["message"] == "m"
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    assert done.value.value == recorded.last["id"]


def test_what_surrounds_the_call_counts_and_not_what_surrounds_the_await(recorded):
    async def main():
        state = {"n": 1}
        with tick(3):
            pending = AgentLogger("a").alog_action("act", state)
        state["n"] = 2
        with tick(4):
            await pending

    asyncio.run(main())
    assert recorded.last["tick"] == 3 and recorded.last["extra"]["action_data"] == {"n": 1}


def test_tasks_keep_their_own_span_agent_and_message(recorded):
    class Baker:
        def __init__(self, agent_id):
            self.agent_id = agent_id
            self.logger = AgentLogger(agent_id)

        @trace_agent_action
        async def bake(self, oven):
            await asyncio.sleep(0)
            await self.logger.ainfo("in the oven")
            message = await self.logger.asend("shop", {"bread": 1})
            await asyncio.sleep(0)
            receive(message)

    async def main():
        await asyncio.gather(*(Baker(f"baker_{number}").bake(1) for number in range(5)))

    asyncio.run(main())
    spans = {event["span_id"]: event["extra"]["agent_id"] for event in recorded.of("agent_action")}
    logs = recorded.of("log")
    assert len(logs) == 5
    for event in logs:
        assert spans[event["parent_span_id"]] == event["extra"]["agent_id"]


def test_an_exception_is_that_which_was_handled_at_the_call(recorded):
    async def main():
        try:
            raise ValueError("burnt")
        except ValueError:
            pending = AgentLogger("a").aexception("baking failed")
        return await pending

    event_id = asyncio.run(main())
    error = recorded.only("error")
    assert (error["id"], error["extra"]["error_type"]) == (event_id, "ValueError")


def test_a_level_that_is_not_recorded_gives_nothing(recorded, level):
    level("agents", 50)
    assert asyncio.run(_awaited(AgentLogger("a"), "info", ("m",))) == ""
    assert recorded.events == []


def test_a_subclass_that_changes_a_method_changes_its_twin(recorded):
    class Loud(AgentLogger):
        def info(self, message, extra=None, *, causes=None):
            return super().info(message.upper(), extra, causes=causes)

    asyncio.run(_awaited(Loud("a"), "info", ("hear",)))
    assert recorded.last["message"] == "HEAR"


# The disk.


@pytest.fixture
def syncs(monkeypatch):
    """The threads in which files were brought to the disk; each takes a while."""
    found = []

    def sync(fd):
        found.append(threading.current_thread())
        time.sleep(0.05)

    monkeypatch.setattr(segment_writer, "_sync_data", sync)
    return found


async def count_turns(pending):
    """How often the event loop came round while it was awaited, and the answer."""
    task = asyncio.ensure_future(pending)
    turns = 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0.002)
    return turns, task.result()


def test_under_disk_the_sync_happens_beside_the_loop_and_before_the_answer(trace_root, syncs):
    session = setup_logging(durability="disk", mirrors=False)
    logger = AgentLogger("a")
    logger.info("opens the file")

    async def main():
        syncs.clear()
        pending = logger.ainfo("m", {"n": 1})
        assert syncs == []
        assert b'"n":1' in (session.path / "agents" / "a.log").read_bytes()
        turns, event_id = await count_turns(pending)
        assert len(syncs) == 1 and syncs[0] is not threading.main_thread()
        return turns, event_id

    turns, event_id = asyncio.run(main())
    assert turns > 3
    assert event_id in [event.id for event in TreeReader(session.path).events()]
    logger.info("m")
    assert syncs[-1] is threading.main_thread()


def test_under_kernel_an_error_is_brought_to_the_disk_beside_the_loop(trace_root, syncs):
    setup_logging(mirrors=False)

    async def main():
        turns, event_id = await count_turns(AgentLogger("a").aerror("broken"))
        assert event_id and turns > 3
        assert len(syncs) == 1 and syncs[0] is not threading.main_thread()

    asyncio.run(main())


def test_a_task_that_is_cancelled_while_it_waits_for_the_disk_recorded_once(trace_root, monkeypatch):
    disk = threading.Event()
    session = setup_logging(durability="disk", mirrors=False)
    AgentLogger("a").info("opens the file")
    monkeypatch.setattr(segment_writer, "_sync_data", lambda fd: disk.wait(20))

    async def main():
        tasks = [asyncio.create_task(AgentLogger("a").ainfo("m", {"n": number})) for number in range(6)]
        tasks[0].cancel()  # before its first step
        await asyncio.sleep(0.01)
        for task in tasks[1:4]:
            task.cancel()
        disk.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(main())
    assert [type(answer) for answer in answers[:4]] == [asyncio.CancelledError] * 4
    assert all(answers[4:])
    shutdown_logging()
    events = [event for event in TreeReader(session.path).events() if "n" in event.extra]
    assert [event.extra["n"] for event in events] == list(range(6))
    assert TreeReader(session.path).losses().clean


def test_without_a_loop_of_asyncio_the_waiting_happens_in_place(trace_root, syncs):
    setup_logging(durability="disk", mirrors=False)
    coroutine = AgentLogger("a").ainfo("m")
    syncs.clear()
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    assert done.value.value and syncs == [threading.current_thread()]


# The queue.


class Slow(MemorySink):
    """Keeps lines in memory, each after the gate opened."""

    def __init__(self):
        super().__init__()
        self.gate = threading.Event()

    def open_stream(self, agent_id, category):
        stream, gate = super().open_stream(agent_id, category), self.gate

        class Gated:
            def write(self, line):
                assert gate.wait(20)
                return stream.write(line)

        return Gated()


@pytest.fixture
def queued():
    sink = Slow()
    queue = QueuedSink(sink, size=4, gather_s=0.001)
    pipeline = Pipeline(queue, session_id="s", redactor=Redactor(b"key"))
    before = install_pipeline(pipeline)
    yield sink
    sink.gate.set()
    queue.write_through()
    install_pipeline(before)


def test_a_full_queue_is_awaited_while_the_loop_goes_on(queued):
    logger = AgentLogger("a")

    async def main():
        for number in range(4):
            await logger.ainfo("m", {"n": number})
        waiting = asyncio.create_task(count_turns(logger.ainfo("m", {"n": 4})))
        await asyncio.sleep(0.1)
        assert not waiting.done() and queued.lines == []
        queued.gate.set()
        turns, event_id = await waiting
        assert turns > 5 and event_id == "aaaaaaaa-5"

    asyncio.run(main())
    flush_active()
    assert [event.extra["n"] for event in queued.events] == list(range(5))


def test_an_awaited_error_is_in_its_file_when_it_answers_and_the_loop_goes_on(queued):
    async def main():
        waiting = asyncio.create_task(count_turns(AgentLogger("a").aerror("broken")))
        for _ in range(20):  # turns, not time: a machine may stand still
            await asyncio.sleep(0.005)
        assert not waiting.done()
        queued.gate.set()
        turns, event_id = await waiting
        assert turns > 3 and [event.id for event in queued.events] == [event_id]

    asyncio.run(main())


def test_a_task_that_is_cancelled_while_the_queue_is_full_recorded_once(queued):
    logger = AgentLogger("a")

    async def main():
        tasks = [asyncio.create_task(logger.ainfo("m", {"n": number})) for number in range(10)]
        await asyncio.wait(tasks[:4], timeout=20)
        assert [task.done() for task in tasks] == [True] * 4 + [False] * 6
        for task in tasks[4::2]:
            task.cancel()
        queued.gate.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = asyncio.run(main())
    assert sum(isinstance(answer, asyncio.CancelledError) for answer in answers) == 3
    flush_active()
    assert [event.extra["n"] for event in queued.events] == list(range(10))


def test_an_awaited_event_for_which_a_queue_has_no_room_is_dropped(trace_root, monkeypatch):
    setup_logging(durability="queued", queue_size=1, queue_full="drop_new", mirrors=False)
    monkeypatch.setattr(QueuedSink, "_write_run", lambda self, run: time.sleep(0.05))
    logger = AgentLogger("a")

    async def main():
        return [await logger.ainfo("m") for _ in range(5)]

    assert "" in asyncio.run(main())
    assert health()["dropped"]["queue_full"] >= 1


TYPED = """
from Agent.utils import AgentLogger, LearningLogger

async def record() -> None:
    logger = AgentLogger("a")
    text: str = await logger.alog_action("x", {})
    text = await logger.bind(a=1).ainfo("m", {"a": 1})
    text = await LearningLogger().alog_reward("act", 1.0)
    number: int = await logger.alog_action("x")
    await logger.alog_action()
    await logger.ainfo(1)
"""


@pytest.mark.slow
def test_type_checkers_know_arguments_and_answers_of_twins(tmp_path):
    pytest.importorskip("mypy")
    file = tmp_path / "typed.py"
    file.write_text(TYPED)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path / 'cache'}", str(file)],
        cwd=Path(REPOSITORY),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [
        line.split(": ")[0].rsplit(":", 1)[1] for line in done.stdout.splitlines() if "typed.py:" in line
    ]
    assert lines == ["9", "10", "11"], done.stdout
