"""Tools, recorded: every sort of function, what is kept of a call, and what is never done to the program."""

from __future__ import annotations

import asyncio
import inspect
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.session_files import of_kind, only_session, session_events

from Agent import health, instrument, setup_logging, trace_agent_action
from Agent.errors import ConfigurationError
from Agent.event.codec import event_from_object
from Agent.event.values.values import decode_value
from Agent.flight import find_run, read_run, record_tool, recorder, replaying_tools
from Agent.flight.schema import validate_event
from Agent.testing import record_in_memory


def calls_of(root: Path, run_id: str) -> list[dict]:
    lines = (root / "runs" / run_id / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["type"] == "tool.call"]


@record_tool
def search(query: str, limit: int = 3) -> dict:
    """Find documents."""
    return {"docs": [query] * limit}


@record_tool(kind="write", idempotency_key="request_id")
async def send(to: str, request_id: str | None = None) -> tuple[str, str]:
    await asyncio.sleep(0)
    if to == "nobody":
        raise LookupError("no such person", to)
    return ("sent", to)


@record_tool
def pages(count: int):
    for number in range(count):
        yield {"page": number}
    return count


@record_tool
async def async_pages(count: int):
    for number in range(count):
        yield {"page": number}


class Desk:
    agent_id = "clerk"

    @record_tool
    def stamp(self, form: str, *, times: int = 1) -> str:
        return form * times

    @record_tool
    @staticmethod
    def weigh(grams: int) -> float:
        return grams / 1000

    @record_tool
    @classmethod
    def name_of(cls, number: int) -> str:
        return f"{cls.__name__} {number}"


def test_a_call_is_one_event_with_arguments_answer_kind_place_and_duration(trace_root):
    with recorder.run("planner") as run, recorder.step("look"):
        assert search("tea", limit=2) == {"docs": ["tea", "tea"]}
    (call,) = calls_of(trace_root, run.run_id)
    assert (call["name"], call["tool_kind"], call["agent_id"]) == ("search", "read", "planner")
    assert call["args"] == {"query": "tea", "limit": 2}
    assert call["result"] == {"docs": ["tea", "tea"]}
    assert call["duration_ms"] >= 0
    assert call["call_id"] == call["span_id"]
    assert call["site"].endswith("test_a_call_is_one_event_with_arguments_answer_kind_place_and_duration")
    assert call["path"] == ["look"]
    assert validate_event(call) == []


def test_a_run_without_agent_and_labels_is_readable_too(trace_root):
    with recorder.run() as run:
        search("tea")
    lines = (trace_root / "runs" / run.run_id / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["run.started", "tool.call", "run.finished"]


def test_every_sort_of_function_is_recorded_and_keeps_its_signature_and_type(trace_root):
    async def use() -> list:
        given = [await send("ann"), [page async for page in async_pages(2)]]
        assert inspect.iscoroutinefunction(send)
        return given

    with recorder.run("planner") as run:
        desk = Desk()
        assert [desk.stamp("a", times=2), desk.weigh(500), Desk.weigh(250), Desk.name_of(7)] == [
            "aa",
            0.5,
            0.25,
            "Desk 7",
        ]
        assert list(pages(3)) == [{"page": 0}, {"page": 1}, {"page": 2}]
        assert asyncio.run(use()) == [("sent", "ann"), [{"page": 0}, {"page": 1}]]
    assert inspect.isgeneratorfunction(pages)
    assert inspect.isasyncgenfunction(async_pages)
    assert str(inspect.signature(search)) == "(query: 'str', limit: 'int' = 3) -> 'dict'"
    assert (search.__doc__, search.__name__) == ("Find documents.", "search")
    found = {call["name"]: call for call in calls_of(trace_root, run.run_id)}
    assert found["stamp"]["args"] == {"form": "a", "times": 2}
    assert found["stamp"]["agent_id"] == "clerk"
    assert found["weigh"]["args"] == {"grams": 250}
    assert found["name_of"]["args"] == {"number": 7}
    assert found["pages"]["items"] == [{"page": 0}, {"page": 1}, {"page": 2}]
    assert (found["pages"]["yielded"], found["pages"]["returned"]) == (3, 3)
    assert found["async_pages"]["items"] == [{"page": 0}, {"page": 1}]
    assert found["send"]["types"] == {"/result": "tuple"}


def test_arguments_are_those_at_entry_and_the_answer_that_at_exit(trace_root):
    kept = []

    @record_tool
    def fill(basket: list) -> list:
        basket.append("pear")
        kept.append(basket)
        return basket

    with recorder.run() as run:
        fill(["apple"]).append("plum")
    (call,) = calls_of(trace_root, run.run_id)
    assert call["args"] == {"basket": ["apple"]}
    assert call["result"] == ["apple", "pear"]


def test_an_exception_is_recorded_once_and_raised_on(trace_root):
    with recorder.run() as run, pytest.raises(LookupError, match="no such person") as raised:
        asyncio.run(send("nobody", request_id="r1"))
    assert raised.value.args == ("no such person", "nobody")
    (call,) = calls_of(trace_root, run.run_id)
    (error,) = of_kind(session_events(only_session(trace_root)), "error")
    assert (call["outcome"], call["error_id"]) == ("error", error["id"])
    assert call["error"].startswith("LookupError: ")
    assert call["idempotency_key"] == "r1"
    assert error["run_id"] == run.run_id
    assert error["parent_span_id"] == call["span_id"]
    assert "result" not in call


def test_a_cancelled_call_is_cancelled_and_no_error(trace_root):
    @record_tool
    async def wait() -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with recorder.run() as run:
        asyncio.run(main())
    (call,) = calls_of(trace_root, run.run_id)
    assert call["outcome"] == "cancelled"
    assert of_kind(session_events(only_session(trace_root)), "error") == []


def test_a_generator_that_is_left_keeps_what_it_yielded(trace_root):
    with recorder.run() as run:
        half = pages(9)
        next(half), next(half)
        half.close()
    (call,) = calls_of(trace_root, run.run_id)
    assert (call["outcome"], call["yielded"], len(call["items"])) == ("closed", 2, 2)


def test_what_a_generator_is_sent_and_thrown_reaches_it(trace_root):
    @record_tool
    def echo():
        given = yield "ready"
        try:
            yield given
        except KeyError:
            yield "caught"

    with recorder.run() as run:
        body = echo()
        assert [next(body), body.send("x"), body.throw(KeyError("k"))] == ["ready", "x", "caught"]
        assert list(body) == []
    assert calls_of(trace_root, run.run_id)[0]["items"] == ["ready", "x", "caught"]


def test_a_large_answer_is_an_artifact_and_a_small_one_is_not(trace_root):
    @record_tool
    def read(size: int) -> dict:
        return {"text": "x" * size, "ids": (1, 2)}

    with recorder.run() as run:
        read(100)
        read(3_000_000)
    small, large = calls_of(trace_root, run.run_id)
    assert small["result"]["text"] == "x" * 100
    assert "result" not in large
    record = read_run(find_run(run.run_id))
    kept = json.loads(b"".join(record.read(large["result_ref"])))
    assert len(kept["text"]) == 3_000_000
    saved = next(event for event in record.events() if event.extra.get("ref") == large["result_ref"])
    assert saved.extra["value_types"] == {"/ids": "tuple"}


def test_values_come_back_with_their_types_and_what_has_none_is_opaque(trace_root):
    class Socket:
        pass

    @record_tool
    def mixed(kind: str):
        return {"exact": {1, 2}, "strange": Socket()}[kind]

    with recorder.run() as run:
        mixed("exact")
        mixed("strange")
    exact, strange = (event_from_object(call) for call in calls_of(trace_root, run.run_id))
    assert decode_value(exact.extra["result"], exact.types, "/extra/result") == {1, 2}
    assert strange.types["/extra/result"] == "opaque"


def test_a_codec_says_how_an_answer_is_kept(trace_root):
    class Money:
        def __init__(self, cents: int) -> None:
            self.cents = cents

    class Cents:
        def encode(self, answer):
            return {"cents": answer.cents}

        def decode(self, recorded):
            return Money(recorded["cents"])

    @record_tool(codec=Cents())
    def price(what: str) -> Money:
        return Money(len(what))

    with recorder.run() as run:
        assert price("tea").cents == 3
    (call,) = calls_of(trace_root, run.run_id)
    assert (call["result"], call["coded"]) == ({"cents": 3}, True)


def test_a_codec_that_fails_costs_the_codec_and_not_the_call(trace_root, capfd):
    class Broken:
        def encode(self, answer):
            raise TypeError("not mine")

        decode = encode

    @record_tool(codec=Broken())
    def price() -> int:
        return 3

    with recorder.run() as run:
        assert price() == 3
    (call,) = calls_of(trace_root, run.run_id)
    assert call["result"] == 3
    assert "coded" not in call
    assert "codec of the tool price" in capfd.readouterr().err


def test_secrets_in_arguments_and_answers_are_replaced(trace_root):
    @record_tool
    def login(password: str) -> dict:
        return {"token": password, "pages": ["x" * 20_000, "sk-q7Rt9zXc5vB2hJ1kL8mN3pQ6sT0uVw4x"]}

    with recorder.run() as run:
        login("hunter2hunter2")
    stored = b"".join(path.read_bytes() for path in only_session(trace_root).rglob("*") if path.is_file())
    assert b"hunter2hunter2" not in stored
    assert b"sk-q7Rt9zXc5vB2hJ1kL8mN3pQ6sT0uVw4x" not in stored
    (call,) = calls_of(trace_root, run.run_id)
    assert call["args"]["password"].startswith("[redacted:")


def test_outside_of_a_run_a_call_stands_in_the_agents_file(trace_root):
    desk = Desk()
    assert desk.stamp("x") == "x"
    events = session_events(only_session(trace_root))
    (call,) = of_kind(events, "tool.call")
    assert "run_id" not in call
    assert (only_session(trace_root) / "agents" / "clerk.log").read_text().count('"tool.call"') == 1


def test_a_tool_within_an_action_is_in_its_span_and_names_the_path(trace_root):
    class Worker:
        agent_id = "worker"

        @trace_agent_action("gather")
        def gather(self):
            return search("x")

    with recorder.run() as run:
        Worker().gather()
    (call,) = calls_of(trace_root, run.run_id)
    (action,) = of_kind(session_events(only_session(trace_root)), "agent_action")
    assert call["parent_span_id"] == action["span_id"]
    assert call["path"] == ["gather"]
    assert call["agent_id"] == "worker"


def test_what_happens_in_a_tool_hangs_under_it(trace_root):
    @record_tool
    def outer() -> dict:
        return search("inner")

    with recorder.run() as run:
        outer()
    inner, around = calls_of(trace_root, run.run_id)
    assert inner["parent_span_id"] == around["span_id"]
    assert inner["path"] == ["outer"]


def test_calls_of_many_threads_are_all_there(trace_root):
    with recorder.run() as run:

        def work(number: int) -> None:
            with recorder.attach(run.run_id):
                search(f"q{number}", limit=1)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(200)))
    found = [call["args"]["query"] for call in calls_of(trace_root, run.run_id)]
    assert sorted(found) == sorted(f"q{number}" for number in range(200))


def test_a_level_that_is_off_records_nothing_and_calls_all_the_same(trace_root):
    setup_logging(levels={"events": "OFF"})
    assert search("tea")["docs"] == ["tea"] * 3
    assert list(pages(2)) == [{"page": 0}, {"page": 1}]
    assert of_kind(session_events(only_session(trace_root)), "tool.call") == []


def test_hostile_arguments_answers_and_keys_never_reach_the_program_as_errors(trace_root):
    class Bomb:
        def __repr__(self):
            raise RuntimeError("boom")

        __getstate__ = __reduce__ = __repr__

    loop: list = []
    loop.append(loop)

    @record_tool(idempotency_key=lambda arguments: 1 / 0)
    def take(value):
        return value

    with recorder.run() as run:
        for value in (Bomb(), loop, float("nan"), "\ud800", {Bomb(): 1}, lambda: 1):
            assert take(value) is value
    assert len(calls_of(trace_root, run.run_id)) == 6
    assert health()["dropped"] == {}


def test_a_full_disk_costs_the_event_and_not_the_call(trace_root, monkeypatch):
    with recorder.run():
        monkeypatch.setattr("Agent.flight.tool_calls.emit_run_event", lambda *a, **k: 1 / 0)
        assert search("tea", 1) == {"docs": ["tea"]}
    assert health()["dropped"] == {"a call of a tool could not be recorded": 1}


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: record_tool(kind="maybe"),
        lambda: record_tool(codec=3),
        lambda: record_tool(Desk),
        lambda: record_tool(name="x")(7),
    ],
)
def test_a_misuse_of_the_decorator_is_one_clear_error(misuse):
    with pytest.raises(ConfigurationError):
        misuse()


def test_an_instrumented_class_gives_its_tools_the_agent(trace_root):
    class Robot:
        def __init__(self, name: str) -> None:
            self.name = name

        @record_tool
        def lift(self, weight: int) -> bool:
            return weight < 5

    instrument(Robot, methods=[], agent_id="name")
    with recorder.run() as run:
        assert Robot("r2").lift(3) is True
    assert calls_of(trace_root, run.run_id)[0]["agent_id"] == "r2"


def test_a_level_that_the_environment_sets_holds_for_the_first_call_too(trace_root, monkeypatch):
    monkeypatch.setenv("AGENT_TRACE_LEVELS", "events=OFF")
    assert search("tea", 1) == {"docs": ["tea"]}
    assert list(trace_root.rglob("events.jsonl")) == []
    stored = b"".join(path.read_bytes() for path in trace_root.rglob("*.log"))
    assert b"tool.call" not in stored


def test_calls_are_recorded_in_memory_too():
    with record_in_memory() as sink:
        search("tea", limit=1)
        search("x" * 40_000, limit=1)
    small, large = (event for event in sink.events if event.kind == "tool.call")
    assert small.extra["result"] == {"docs": ["tea"]}
    assert large.extra["result_ref"].startswith("artifact://artifacts/calls/")


def test_a_call_that_is_a_task_of_its_own_is_found_again_by_another_program(trace_root):
    @record_tool
    async def fetch(number):
        await asyncio.sleep(0)
        return number

    async def main():
        return [*await asyncio.gather(fetch(1), fetch(2)), await asyncio.wait_for(fetch(3), 9)]

    def program():
        return asyncio.run(main())

    with recorder.run() as run:
        assert program() == [1, 2, 3]
    with replaying_tools(run.run_id) as replayer:
        assert asyncio.run(main()) == [1, 2, 3]
    assert (replayer.inexact, replayer.unused) == ([], [])
