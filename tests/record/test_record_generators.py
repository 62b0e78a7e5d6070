"""Generators under the decorators: they do what they did, and leave one event when they are over."""

import asyncio
import contextlib
import gc
import inspect
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_kit import recording

from Agent import instrument
from Agent.errors import RecordingMiss
from Agent.record.emit.context import Response, current_player, current_scope
from Agent.record.emit.installed import tick
from Agent.testing import FakeClock
from Agent.utils import (
    AgentLogger,
    trace_agent_action,
    trace_errors,
    trace_learning_update,
    trace_performance,
)

DECORATORS = [trace_agent_action, trace_learning_update, trace_performance, trace_errors]


class Reader:
    """An agent that yields."""

    def __init__(self):
        self.agent_id = "reader"
        self.agent_role = "reader"
        self.logger = AgentLogger("reader", "reader")
        self.pages = 0

    @trace_agent_action
    def read(self, count, fail_at=None):
        """Reads."""
        for number in range(count):
            self.pages += 1
            self.logger.log_decision(f"page {number}")
            if number == fail_at:
                raise ValueError("torn page")
            yield number
        return "done"

    @trace_agent_action
    async def stream(self, count, fail_at=None):
        for number in range(count):
            await asyncio.sleep(0)
            self.pages += 1
            self.logger.log_decision(f"page {number}")
            if number == fail_at:
                raise ValueError("torn page")
            yield number

    @trace_agent_action
    def consume(self, count):
        total = 0
        for number in self.read(count):
            self.logger.log_decision(f"took {number}")
            total += number
        return total


async def collect(stream):
    return [item async for item in stream]


def run_both(reader, is_async, *args):
    """The items of the generator of either sort."""
    return asyncio.run(collect(reader.stream(*args))) if is_async else list(reader.read(*args))


@pytest.mark.parametrize("is_async", [False, True])
def test_an_exhausted_generator_is_one_event_that_counts_its_items(recorded, is_async):
    reader = Reader()
    assert run_both(reader, is_async, 3) == [0, 1, 2]
    action = recorded.only("agent_action")
    extra = action["extra"]
    assert extra["yielded"] == 3 and "outcome" not in extra and extra["agent_id"] == "reader"
    assert extra["args"] == {"count": 3} and extra["root"] is True
    assert action["state"]["set"] == {"pages": 3} and len(action["code"]) == 16
    assert extra.get("returned") == (None if is_async else "done")
    assert "result" not in extra
    assert 0 <= extra["active_ms"] <= extra["duration_ms"]
    assert {event["parent_span_id"] for event in recorded.of("decision")} == {action["span_id"]}


def test_an_empty_generator_is_an_event_too(recorded):
    assert list(Reader().read(0)) == []
    assert recorded.only("agent_action")["extra"]["yielded"] == 0


@pytest.mark.parametrize("is_async", [False, True])
def test_a_generator_that_fails_is_one_error_and_one_event(recorded, is_async):
    with pytest.raises(ValueError, match="torn page"):
        run_both(Reader(), is_async, 5, 2)
    error, action = recorded.only("error"), recorded.only("agent_action")
    assert action["extra"]["outcome"] == "error" and action["extra"]["error_id"] == error["id"]
    assert action["extra"]["yielded"] == 2
    assert error["parent_span_id"] == action["span_id"]
    assert "Agent/record" not in error["extra"]["traceback"].partition("in read")[0]
    assert recorded.of("state")[-1]["extra"]["reason"] == "error"
    assert current_scope.get() is None


def test_what_the_consumer_does_between_two_items_is_not_done_by_the_generator(recorded):
    assert Reader().consume(2) == 1
    inner, outer = recorded.of("agent_action")
    assert inner["parent_span_id"] == outer["span_id"] and "root" not in inner["extra"]
    by_span = {event["message"]: event["parent_span_id"] for event in recorded.of("decision")}
    assert by_span == {
        "Decision: page 0": inner["span_id"],
        "Decision: took 0": outer["span_id"],
        "Decision: page 1": inner["span_id"],
        "Decision: took 1": outer["span_id"],
    }


def test_generators_that_take_turns_keep_their_spans_apart(recorded):
    one, two = Reader(), Reader()
    two.agent_id, two.logger = "other", AgentLogger("other", "reader")
    assert list(zip(one.read(3), two.read(3), strict=True)) == [(0, 0), (1, 1), (2, 2)]
    first, second = recorded.of("agent_action")
    assert "parent_span_id" not in first and "parent_span_id" not in second
    assert first["extra"]["root"] is second["extra"]["root"] is True
    spans = {"reader": set(), "other": set()}
    for event in recorded.of("decision"):
        spans[event["extra"]["agent_id"]].add(event["parent_span_id"])
    ids = {event["extra"]["agent_id"]: {event["span_id"]} for event in (first, second)}
    assert spans == ids


@pytest.mark.parametrize("is_async", [False, True])
def test_a_generator_that_is_closed_says_so(recorded, is_async):
    reader = Reader()

    async def close_async():
        stream = reader.stream(5)
        assert await anext(stream) == 0
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    if is_async:
        asyncio.run(close_async())
    else:
        pages = reader.read(5)
        assert next(pages) == 0
        pages.close()
        pages.close()
    action = recorded.only("agent_action")
    assert action["extra"]["outcome"] == "closed" and action["extra"]["yielded"] == 1
    assert "error_id" not in action["extra"] and recorded.of("error") == []
    assert current_scope.get() is None


@pytest.mark.parametrize("is_async", [False, True])
def test_a_generator_that_nobody_wants_any_more_is_recorded_where_it_began(recorded, is_async):
    reader = Reader()

    @trace_agent_action
    def outer():
        pages = reader.read(5)
        next(pages)
        return pages

    async def abandon():
        async for item in reader.stream(5):
            assert item == 0
            break
        await asyncio.sleep(0)
        gc.collect()

    if is_async:
        asyncio.run(abandon())
    else:
        pages = outer()
        with tick(9):
            del pages
            gc.collect()
    action = recorded.of("agent_action")[-1]
    assert action["extra"]["outcome"] == "closed" and action["extra"]["yielded"] == 1
    if not is_async:
        assert action["parent_span_id"] == recorded.of("agent_action")[0]["span_id"]
        assert "tick" not in action


def test_an_async_generator_that_the_loop_closes_with_all_others_is_closed_once(recorded):
    ended = []
    kept = []

    @trace_agent_action
    async def stream():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            ended.append("closed")

    async def main():
        kept.append(stream())
        assert await anext(kept[0]) == 1

    asyncio.run(main())
    assert ended == ["closed"]
    assert recorded.only("agent_action")["extra"]["outcome"] == "closed"
    assert recorded.of("error") == []


@pytest.mark.parametrize("is_async", [False, True])
def test_a_generator_that_was_never_resumed_leaves_nothing(recorded, is_async):
    if is_async:
        asyncio.run(Reader().stream(3).aclose())
    else:
        Reader().read(3).close()
    assert recorded.events == []


def test_what_is_sent_and_thrown_reaches_the_body_and_what_it_returns_comes_back(recorded):
    @trace_agent_action
    def talk():
        heard = []
        while len(heard) < 3:
            try:
                heard.append((yield len(heard)))
            except KeyError as error:
                heard.append(error.args[0])
        return heard

    def main():
        return (yield from talk())

    body = main()
    assert [body.send(None), body.send("a"), body.throw(KeyError("b"))] == [0, 1, 2]
    with pytest.raises(StopIteration) as end:
        body.send("c")
    assert end.value.value == ["a", "b", "c"]
    assert recorded.only("agent_action")["extra"]["returned"] == ["a", "b", "c"]
    assert recorded.of("error") == []


def test_what_is_sent_and_thrown_reaches_an_async_body(recorded):
    heard = []

    @trace_agent_action
    async def talk():
        while len(heard) < 3:
            try:
                heard.append((yield len(heard)))
            except KeyError as error:
                heard.append(error.args[0])

    async def main():
        body = talk()
        steps = [await body.asend(None), await body.asend("a"), await body.athrow(KeyError("b"))]
        with pytest.raises(StopAsyncIteration):
            await body.asend("c")
        return steps

    assert asyncio.run(main()) == [0, 1, 2]
    assert heard == ["a", "b", "c"]
    assert recorded.only("agent_action")["extra"]["yielded"] == 3


def test_a_body_that_goes_on_after_close_fails_as_it_did(recorded):
    @trace_agent_action
    def stubborn():
        with contextlib.suppress(GeneratorExit):
            yield 1
        yield 2

    body = stubborn()
    next(body)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        body.close()
    assert recorded.only("agent_action")["extra"]["outcome"] == "error"
    assert current_scope.get() is None


def test_a_cancelled_step_of_an_async_generator_is_cancelled(recorded):
    @trace_agent_action
    async def stream():
        yield 1
        await asyncio.sleep(60)
        yield 2

    async def main():
        task = asyncio.create_task(collect(stream()))
        for _ in range(3):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert recorded.only("agent_action")["extra"]["outcome"] == "cancelled"
    assert recorded.of("error") == []


def test_tasks_that_read_the_same_stream_class_keep_their_spans_apart(recorded):
    async def main():
        reader = Reader()
        await asyncio.gather(*(collect(reader.stream(4)) for _ in range(5)))

    asyncio.run(main())
    actions = recorded.of("agent_action")
    assert len({action["span_id"] for action in actions}) == 5
    assert all("parent_span_id" not in action for action in actions)
    for action in actions:
        inside = [e for e in recorded.of("decision") if e["parent_span_id"] == action["span_id"]]
        assert [e["extra"]["decision_type"] for e in inside] == [f"page {n}" for n in range(4)]


def test_a_generator_stands_at_the_step_of_the_simulation_in_which_it_runs(recorded):
    pages = Reader().read(2)
    for number in (3, 4):
        with tick(number):
            next(pages)
    with pytest.raises(StopIteration):
        next(pages)
    assert [event.get("tick") for event in recorded.of("decision")] == [3, 4]
    assert recorded.only("agent_action")["tick"] == 3


def test_the_time_of_the_consumer_is_not_that_of_the_generator():
    clock = FakeClock()
    with recording(clock=clock) as found:

        @trace_performance
        def slow():
            clock.advance(1)
            yield 1
            clock.advance(2)

        for _ in slow():
            clock.advance(10)
        metric = found.only("metric")["extra"]
    assert metric["duration_ms"] == metric["value"] == 13_000
    assert metric["active_ms"] == 3_000 and metric["yielded"] == 1


@pytest.mark.parametrize("decorate", DECORATORS)
def test_a_decorated_generator_function_is_still_one(decorate):
    def act(x: int, *rest: str, hot: bool = True):
        """Yields."""
        yield x

    async def act_async(x: int):
        yield x

    for function in (act, act_async):
        for decorated in (decorate(function), decorate()(function)):
            assert inspect.signature(decorated) == inspect.signature(function)
            assert decorated.__wrapped__ is function and decorated.__doc__ == function.__doc__
            assert inspect.isgeneratorfunction(decorated) == inspect.isgeneratorfunction(function)
            assert inspect.isasyncgenfunction(decorated) == inspect.isasyncgenfunction(function)


def test_static_and_class_methods_may_yield(recorded):
    class Shop:
        @trace_agent_action
        @staticmethod
        def names(count):
            yield from range(count)

        @staticmethod
        @trace_agent_action
        def others(count):
            yield from range(count)

        @classmethod
        @trace_agent_action
        def kinds(cls, count):
            for _ in range(count):
                yield cls.__name__

    assert [*Shop.names(2), *Shop().others(1), *Shop.kinds(2)] == [0, 1, 0, "Shop", "Shop"]
    assert [action["extra"]["args"] for action in recorded.of("agent_action")] == [
        {"count": 2},
        {"count": 1},
        {"count": 2},
    ]


def test_a_context_manager_made_of_a_traced_generator_works(recorded):
    @contextlib.contextmanager
    @trace_agent_action
    def open_shop():
        yield "open"

    with open_shop() as state:
        assert state == "open"
    with pytest.raises(LookupError), open_shop():
        raise LookupError("gone")
    assert [action["extra"].get("outcome") for action in recorded.of("agent_action")] == [None, "error"]


def test_an_old_style_coroutine_can_still_be_awaited(recorded):
    @trace_agent_action
    @types.coroutine
    def pause():
        yield
        return 5

    async def main():
        return await pause()

    assert asyncio.run(main()) == 5
    assert recorded.only("agent_action")["extra"]["returned"] == 5


def test_trace_errors_records_what_a_generator_raises(recorded):
    class Risky:
        agent_id = "r"

        @trace_errors
        def act(self, x):
            yield 1
            raise LookupError(x)

        @trace_errors
        async def act_async(self, x):
            yield 1
            raise LookupError(x)

    with pytest.raises(LookupError):
        list(Risky().act("one"))
    with pytest.raises(LookupError):
        asyncio.run(collect(Risky().act_async("two")))
    closed = Risky().act("three")
    next(closed)
    closed.close()
    errors = recorded.of("error")
    assert [event["extra"]["args"] for event in errors] == [{"x": "one"}, {"x": "two"}]
    assert recorded.of("agent_action") == []


@pytest.mark.parametrize("of_one_object", [False, True])
def test_generators_of_a_class_that_cannot_be_edited_are_traced(recorded, of_one_object):
    class Foreign:
        unique_id = 7

        def __init__(self):
            self.extra_items = None

        def items(self, count):
            yield from range(count)

        async def stream(self, count):
            for number in range(count):
                yield number

    foreign = Foreign()
    foreign.own = lambda count: (number for number in range(count))
    with instrument(foreign if of_one_object else Foreign, ["items", "stream"]):
        assert list(foreign.items(2)) == [0, 1]
        assert asyncio.run(collect(foreign.stream(3))) == [0, 1, 2]
    assert [action["extra"]["yielded"] for action in recorded.of("agent_action")] == [2, 3]
    assert {action["extra"]["agent_id"] for action in recorded.of("agent_action")} == {"7"}


def test_a_generator_that_stands_in_the_object_itself_is_traced(recorded):
    class Foreign:
        unique_id = 7

    def items(count):
        yield from range(count)

    foreign = Foreign()
    foreign.items = items
    with instrument(foreign, ["items"]):
        assert list(foreign.items(2)) == [0, 1]
    assert recorded.only("agent_action")["extra"]["args"] == {"count": 2}


def test_wrong_arguments_fail_at_the_first_step(recorded):
    pages = Reader().read(1, 2, 3)
    with pytest.raises(TypeError):
        next(pages)
    assert recorded.only("agent_action")["extra"]["outcome"] == "error"


def test_a_generator_that_outlives_its_recording_leaves_nothing_and_says_nothing(capfd):
    with recording() as found:
        pages = Reader().read(3)
        next(pages)
        pipeline = found.pipeline
        pipeline.close()
        lines = len(found.sink.lines)
    assert list(pages) == [1, 2]
    assert len(found.sink.lines) == lines
    assert pipeline.health.notes["a generator outlived the recording that it began in"] == 1
    assert current_scope.get() is None


def test_a_level_hides_a_generator_and_lets_it_run(recorded, level):
    level("agents", 100)
    assert list(Reader().read(2)) == [0, 1]
    assert asyncio.run(collect(Reader().stream(2))) == [0, 1]
    assert recorded.of("agent_action") == []


class Recorder:
    def __init__(self, answer=None):
        self.answer = answer
        self.entered, self.left = [], []

    def enter(self, call):
        self.entered.append(call)
        return self.answer

    def leave(self, call, result, error):
        self.left.append((result, error))


def test_a_player_is_told_that_a_call_yields_and_cannot_answer_for_it(recorded):
    player = Recorder()
    token = current_player.set(player)
    try:
        list(Reader().read(2))
        player.answer = Response(result="done")
        with pytest.raises(RecordingMiss, match="only their number"):
            list(Reader().read(2))
        player.answer = Response(error=KeyError("k"))
        with pytest.raises(KeyError):
            list(Reader().read(2))
    finally:
        current_player.reset(token)
    assert all(call.is_generator for call in player.entered)
    assert player.left == [("done", None)]


COMMANDS = st.lists(st.sampled_from(["next", "send", "throw", "close", "raise"]), max_size=8)


def play(body, commands):
    """What a consumer sees of a generator that is driven by these commands."""
    seen = []
    for number, command in enumerate(commands):
        try:
            if command == "next":
                seen.append(next(body))
            elif command == "send":
                seen.append(body.send(number if seen else None))
            elif command == "throw":
                seen.append(body.throw(KeyError(number)))
            elif command == "raise":
                seen.append(body.throw(OSError(number)))
            else:
                seen.append(body.close())
        except Exception as error:
            seen.append((type(error), getattr(error, "value", None), error.args))
    return seen


@given(commands=COMMANDS)
def test_a_traced_generator_is_seen_to_do_what_the_plain_one_does(commands):
    def body():
        heard = []
        for number in range(4):
            try:
                heard.append((yield number, tuple(heard)))
            except KeyError as error:
                heard.append(error.args)
        return heard

    plain = play(body(), commands)
    with recording() as found:
        assert play(trace_agent_action(body)(), commands) == plain
        gc.collect(0)  # a whole one takes 0.1 s in a process that has loaded everything
        assert current_scope.get() is None
        started = any(command in {"next", "send"} for command in commands[:1])
        assert len(found.of("agent_action")) == started
