"""What surrounds a call: ticks, causes, contexts, blocks, messages, across tasks and threads."""

import asyncio
import contextvars
import threading
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from record_kit import recording

from Agent import caused_by, receive, send, tick
from Agent.errors import UsageError
from Agent.record.emit.context import current_scope
from Agent.record.messages import Message
from Agent.testing import FakeClock
from Agent.utils import AgentLogger, LearningLogger, measure_performance, trace_agent_action, trace_context


def test_a_tick_stands_in_everything_within(recorded):
    logger = AgentLogger("a")
    logger.info("before")
    with tick(7):
        logger.info("in")
        with tick(8):
            logger.log_action("deeper")
        logger.log_action("in again")
    logger.info("after")
    assert [event.get("tick") for event in recorded.events] == [None, 7, 8, 7, None]


@pytest.mark.parametrize("number", [None, "x", object(), float("nan"), float("inf"), 10**30])
def test_a_tick_that_is_no_number_leaves_the_step_and_is_counted(recorded, number):
    with tick(3), tick(number):
        AgentLogger("a").info("m")
    assert recorded.last["tick"] == 3
    assert sum(recorded.health.notes.values()) == 1


@pytest.mark.parametrize("number", [1.5, Decimal("1.25"), Fraction(7, 4), np.float64(1.5)])
def test_a_tick_between_two_is_cut_and_counted(recorded, number):
    with tick(number):
        AgentLogger("a").info("within")
    assert recorded.last["tick"] == 1
    assert list(recorded.health.notes) == [
        "a tick that is no whole number was cut to one; pass the number of the step"
    ]


@pytest.mark.parametrize("number", [2.0, "2", True, np.int64(2), Decimal(2)])
def test_a_tick_that_is_whole_needs_no_note(recorded, number):
    with tick(number):
        AgentLogger("a").info("within")
    assert recorded.last["tick"] == int(number)
    assert not recorded.health.notes


def test_a_tick_of_more_than_64_bits_is_left_out_as_such(recorded):
    with tick(2**63):
        AgentLogger("a").info("within")
    assert "tick" not in recorded.last
    assert list(recorded.health.notes) == ["a tick of more than 64 bits was left out"]


def test_a_tick_of_zero_or_below_counts(recorded):
    for number in (0, -1, True):
        with tick(number):
            AgentLogger("a").info("m")
    assert [event["tick"] for event in recorded.events] == [0, -1, 1]


def test_causes_stand_in_what_happens_directly_within(recorded):
    logger = AgentLogger("a")
    first, second = logger.info("1"), logger.info("2")

    @trace_agent_action
    def act():
        logger.info("inside")

    with caused_by(first, second):
        logger.info("direct")
        act()
        logger.info("with its own", causes=first)
    assert recorded.events[2]["causes"] == [first, second]
    inside = next(event for event in recorded.events if event["message"] == "inside")
    assert "causes" not in inside
    assert recorded.only("agent_action")["causes"] == [first, second]
    assert recorded.last["causes"] == [first, second]


def test_what_was_not_recorded_causes_nothing(recorded):
    with caused_by("", None, "nonsense"):
        AgentLogger("a").info("m")
    assert "causes" not in recorded.last


def test_a_message_links_both_ends(recorded):
    message = AgentLogger("a", "creator").send("b", {"text": "hello"})
    AgentLogger("b").receive(message)
    sent, received = recorded.of("agent_message")
    assert (sent["extra"]["direction"], received["extra"]["direction"]) == ("sent", "received")
    assert received["causes"] == [sent["id"]] == [message.event_id]
    assert sent["extra"]["message_id"] == received["extra"]["message_id"] == message.id
    assert (received["extra"]["sender"], received["extra"]["recipient"]) == ("a", "b")
    assert (message.sender, message.recipient, message.body) == ("a", "b", {"text": "hello"})


class Speaker:
    def __init__(self, agent_id):
        self.agent_id = agent_id

    @trace_agent_action
    def say(self, to, body):
        return send(to, body)

    @trace_agent_action
    def hear(self, message):
        return receive(message)


def test_send_and_receive_speak_for_the_agent_whose_action_runs(recorded):
    message = Speaker("a").say("b", "hi")
    Speaker("b").hear(message)
    sent, received = recorded.of("agent_message")
    actions = recorded.of("agent_action")
    assert (sent["extra"]["agent_id"], received["extra"]["agent_id"]) == ("a", "b")
    assert sent["parent_span_id"] == actions[0]["span_id"]
    assert received["causes"] == [sent["id"]]


@pytest.mark.parametrize("call", [lambda: send("b", 1), lambda: receive(Message("i", "a", "b", 1, ""))])
def test_outside_an_action_nobody_speaks(recorded, call):
    with pytest.raises(UsageError, match="outside a traced action"):
        call()


def test_where_actions_are_not_recorded_messages_pass_all_the_same(recorded, level):
    level("agents", 100)
    message = Speaker("a").say("b", "hi")
    assert (message.body, message.recipient, message.event_id) == ("hi", "b", "")
    assert Speaker("b").hear(message) == ""
    assert recorded.events == []


def test_a_context_tells_entry_and_exit_and_its_time():
    clock = FakeClock()
    with recording(clock=clock) as found:
        logger = AgentLogger("a")
        with trace_context(logger, "optimise", content_id="c1"):
            clock.advance(0.5)
            logger.info("inside")
        logger.info("after")
        entry, inside, leaving, after = found.events
        assert [event["extra"]["event_type"] for event in found.events] == [
            "context_entry", "log", "context_exit", "log",
        ]  # fmt: skip
        assert leaving["extra"]["duration_ms"] == 500
        assert entry["extra"]["context_span"] == leaving["span_id"] == inside["parent_span_id"]
        assert [event["extra"].get("content_id") for event in found.events] == ["c1", "c1", "c1", None]
        assert "parent_span_id" not in after and "parent_span_id" not in leaving
        assert entry["message"] == "Entering optimise" and leaving["message"] == "Leaving optimise"


def test_contexts_nest_and_the_inner_field_counts(recorded):
    logger = AgentLogger("a")
    with trace_context(logger, "outer", k=1, only_outer=True), trace_context(logger, "inner", k=2):
        logger.info("m", extra={"j": 3})
    inside = recorded.only("log")
    assert inside["extra"]["k"] == 2 and inside["extra"]["only_outer"] is True
    inner, outer = recorded.of("context_exit")
    assert inner["parent_span_id"] == outer["span_id"]
    assert (inner["extra"]["k"], outer["extra"]["k"]) == (2, 1)


def test_an_events_own_key_goes_over_the_contexts(recorded):
    logger = AgentLogger("a")
    with trace_context(logger, "c", k="context", agent_id="context", action_type="context"):
        logger.info("m", extra={"k": "own"})
        logger.log_action("act")
        logger.bind(agent_id="bound").info("m")
    info, action, bound = recorded.events[1:4]
    assert info["extra"]["k"] == "own"
    assert action["extra"]["action_type"] == "act"
    assert action["extra"]["user.action_type"] == "context"
    assert action["extra"]["agent_id"] == "a" and action["extra"]["user.agent_id"] == "context"
    assert bound["extra"]["user.agent_id"] == "bound"
    assert sum(recorded.health.notes.values()) > 0


def test_context_fields_may_have_any_name_and_value(recorded):
    logger = AgentLogger("a")
    with trace_context(logger, "c", name=(1,), logger={2}, self=float("inf"), fields=b"x"):
        logger.info("m")
    extra = recorded.only("log")["extra"]
    assert extra["name"] == [1] and extra["logger"] == [2]
    assert recorded.only("log")["types"]["/extra/fields"] == "bytes"


def test_an_error_leaves_a_context_with_its_outcome(recorded):
    logger = AgentLogger("a")
    with pytest.raises(ValueError, match="x"), trace_context(logger, "outer"), trace_context(logger, "inner"):
        raise ValueError("x")
    error = recorded.only("error")
    inner, outer = recorded.of("context_exit")
    for leaving in (inner, outer):
        assert leaving["extra"]["outcome"] == "error"
        assert leaving["extra"]["error_id"] == error["id"]
    assert error["parent_span_id"] == inner["span_id"]
    assert current_scope.get() is None


def test_cancellation_and_interruption_are_no_errors(recorded):
    logger = AgentLogger("a")
    for raised, outcome in (
        (asyncio.CancelledError(), "cancelled"),
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(1), "interrupted"),
        (GeneratorExit(), "cancelled"),
    ):
        with pytest.raises(type(raised)), trace_context(logger, "c"):
            raise raised
        assert recorded.last["extra"]["outcome"] == outcome
    assert recorded.of("error") == []


def test_below_the_level_a_context_still_gives_its_fields(recorded, level):
    level("agents", 30)
    logger = AgentLogger("a")
    with trace_context(logger, "c", k=1):
        logger.info("not recorded")
        logger.error("recorded")
    assert len(recorded.events) == 1
    assert recorded.last["extra"]["k"] == 1
    assert current_scope.get() is None


def test_a_measured_block_is_a_metric_of_the_agent_around_it():
    clock = FakeClock()
    with recording(clock=clock) as found:

        class Baker:
            agent_id = "b"

            @trace_agent_action
            def bake(self):
                with measure_performance("oven", data={"n": 1}):
                    clock.advance(0.25)

        Baker().bake()
        with measure_performance("alone"):
            clock.advance(0.1)
        with measure_performance("given", LearningLogger("rl", "x")):
            pass
        oven, alone, given = found.of("metric")
        assert (
            oven["extra"] | {"agent_id": "b", "value": 250.0, "unit": "ms", "data": {"n": 1}} == oven["extra"]
        )
        assert oven["parent_span_id"] == found.only("agent_action")["span_id"]
        assert "agent_id" not in alone["extra"]
        assert alone["extra"]["duration_ms"] == pytest.approx(100)
        assert given["extra"]["agent_id"] == "x"


def test_a_measured_block_that_fails_says_so(recorded):
    with pytest.raises(KeyError), measure_performance("m"):
        raise KeyError("x")
    metric = recorded.only("metric")
    assert metric["extra"]["outcome"] == "error"
    assert metric["extra"]["error_id"] == recorded.only("error")["id"]


def test_blocks_work_in_async_code(recorded):
    async def work():
        async with trace_context(AgentLogger("a"), "c", k=1), measure_performance("m"):
            await asyncio.sleep(0)
            AgentLogger("a").info("inside")

    asyncio.run(work())
    assert recorded.only("log")["extra"]["k"] == 1
    assert recorded.only("log")["parent_span_id"] == recorded.only("metric")["span_id"]


def test_a_block_can_be_used_again(recorded):
    block = measure_performance("m")
    for _ in range(3):
        with block:
            pass
    assert len(recorded.of("metric")) == 3
    assert current_scope.get() is None


def test_a_block_that_is_closed_in_another_context_is_counted(recorded):
    block = trace_context(AgentLogger("a"), "c")
    contextvars.copy_context().run(block.__enter__)
    block.__exit__(None, None, None)
    assert recorded.health.notes["a span was closed in another context"] == 1
    assert len(recorded.of("context_exit")) == 1


def test_tasks_keep_their_surroundings_apart(recorded):
    async def one(name, number):
        logger = AgentLogger(name)
        with trace_context(logger, name, who=name), tick(number):
            for _ in range(5):
                await asyncio.sleep(0)
                logger.info("step")

    async def main():
        with tick(99):
            await asyncio.gather(*(one(f"a{number}", number) for number in range(8)))

    asyncio.run(main())
    steps = recorded.of("log")
    assert len(steps) == 40
    spans = {event["extra"]["context"]: event["span_id"] for event in recorded.of("context_exit")}
    for step in steps:
        name = step["extra"]["agent_id"]
        assert step["extra"]["who"] == name
        assert step["tick"] == int(name[1:])
        assert step["parent_span_id"] == spans[name]
    assert {event["tick"] for event in recorded.of("context_exit")} == {99}


def test_a_task_inherits_what_surrounds_its_making(recorded):
    async def main():
        with tick(5):
            task = asyncio.create_task(log())
        await task

    async def log():
        AgentLogger("a").info("m")

    asyncio.run(main())
    assert recorded.last["tick"] == 5


def test_a_thread_without_a_copied_context_has_no_surroundings(recorded):
    def work():
        AgentLogger("a").info("m")

    with tick(5), trace_context(AgentLogger("a"), "c", k=1):
        plain = threading.Thread(target=work)
        plain.start()
        plain.join()
        copied = threading.Thread(target=contextvars.copy_context().run, args=(work,))
        copied.start()
        copied.join()
    without, having = recorded.of("log")
    assert "tick" not in without and "k" not in without["extra"] and "parent_span_id" not in without
    assert having["tick"] == 5 and having["extra"]["k"] == 1


def test_threads_write_each_event_once(recorded):
    def work(name):
        logger = AgentLogger(name)
        with tick(1):
            for number in range(200):
                logger.log_action("act", {"n": number})

    threads = [threading.Thread(target=work, args=(f"a{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = [event["id"] for event in recorded.events]
    assert len(ids) == len(set(ids)) == 800
    for number in range(4):
        mine = [event for event in recorded.events if event["extra"]["agent_id"] == f"a{number}"]
        assert [event["extra"]["action_data"]["n"] for event in mine] == list(range(200))
