"""The short way to compare an action: its line is held back only where it says what the record says."""

import os
import re

import pytest

from Agent import tick
from Agent.event.codec import decode_line
from Agent.record.emit.installed import install_pipeline
from Agent.record.emit.pipeline import LineSink, Pipeline, RecordOptions
from Agent.record.encode.redaction import Redactor
from Agent.replay.drive.judge import ExpectedLine
from Agent.replay.plan.actions import DrivenAction, PlannedCall
from Agent.utils import AgentLogger, trace_agent_action


class Agent:
    trace_ignore = ("does",)

    def __init__(self):
        self.agent_id, self.agent_role = "a", "worker"
        self.total = 0
        self.does = lambda result: result

    @trace_agent_action
    def act(self, number, result):
        self.total += number
        return self.does(result)


class Rerun:
    """Actions recorded and done again, one by one, as a driver does them."""

    def __init__(self):
        self.sink = LineSink("replayed")
        pipeline = Pipeline(
            self.sink,
            session_id="x",
            redactor=Redactor(os.urandom(32), enabled=True),
            options=RecordOptions(entry_looks=0),
        )
        install_pipeline(pipeline)
        self.recorded, self.agent = Agent(), Agent()
        self.recorded.act(0, None)
        self.agent.act(0, None)
        self.expected = ExpectedLine(pipeline, self.sink)
        self.learn(1, {"ok": True})

    def action(self, number, result):
        self.sink.clear()
        self.recorded.act(number, result)
        event = decode_line(self.sink.lines[-1])
        action = DrivenAction(1, PlannedCall(event, "a", "act", 0.0))
        action.effects = [decode_line(line) for line in self.sink.lines[:-1]]
        action.is_plain = not event.types
        self.sink.clear()
        return action

    def learn(self, number, result):
        action = self.action(number, result)
        self.agent.act(number, result)
        self.expected.learn(action, action.event.code)

    def again(self, number, result, given=None):
        """Whether the action, recorded with one result and done with another, came as expected."""
        action = self.action(number, result)
        self.expected.expect(action)
        self.agent.act(number, result if given is None else given)
        return self.expected.came(action) is not None


@pytest.fixture
def rerun():
    yield Rerun()
    install_pipeline(None)


def kinds_in(sink):
    return [decode_line(line).kind for line in sink.lines]


@pytest.mark.parametrize("result", [None, 1, 1.5, "text", {"a": [1, {"b": None}]}, [], 'é\n"\\'])
def test_a_line_that_says_the_same_is_held_back(rerun, result):
    assert rerun.again(2, result)
    assert rerun.sink.lines == []


@pytest.mark.parametrize(
    ("result", "given"), [(1, 1.0), (1, True), (0.0, -0.0), ({"a": 1}, {"a": 2}), ("1", 1)]
)
def test_another_result_is_written(rerun, result, given):
    rerun.agent.does = lambda _: given
    assert not rerun.again(2, result)
    assert decode_line(rerun.sink.lines[-1]).extra["result"] == given


def test_another_change_of_state_is_written(rerun):
    rerun.agent.total += 1
    assert not rerun.again(2, None)
    assert kinds_in(rerun.sink) == ["agent_action"]


def test_what_comes_before_or_behind_the_line_stands_in_order_with_it(rerun):
    logger = AgentLogger("a", "worker")

    def noting(result):
        logger.info("inside")
        return result

    rerun.agent.does = noting
    assert not rerun.again(2, 5)
    assert kinds_in(rerun.sink) == ["log", "agent_action"]
    rerun.agent.does = lambda result: result
    action = rerun.action(3, 5)
    rerun.expected.expect(action)
    rerun.agent.act(3, 5)
    logger.info("behind")
    assert rerun.expected.came(action) is None
    assert kinds_in(rerun.sink) == ["agent_action", "log"]


def test_the_same_action_done_twice_is_written_twice(rerun):
    action = rerun.action(0, 5)
    rerun.expected.expect(action)
    rerun.agent.act(0, 5)
    rerun.agent.act(0, 5)
    assert rerun.expected.came(action) is None
    assert kinds_in(rerun.sink) == ["agent_action", "agent_action"]


def test_another_agent_that_says_the_same_is_written(rerun):
    action = rerun.action(2, 5)
    rerun.expected.expect(action)
    rerun.agent.agent_id = "b"
    rerun.agent.act(2, 5)
    assert rerun.expected.came(action) is None
    assert [decode_line(line).agent_id for line in rerun.sink.lines][-1] == "b"


def test_a_hidden_secret_and_a_value_with_a_tag_take_the_long_way(rerun):
    assert not rerun.again(2, "[redacted:0123456789abcdef]")
    assert not rerun.again(2, (1, 2))
    assert kinds_in(rerun.sink) == ["agent_action"]


def noting(text, count=1):
    logger = AgentLogger("a", "worker")

    def note(result):
        for _ in range(count):
            logger.log_decision("buy", {"what": text})
        return result

    return note


def test_effects_that_say_the_same_are_not_decoded_either_and_their_ids_are_known(rerun):
    rerun.recorded.does = rerun.agent.does = noting("figs", 2)
    with tick(7):
        action = rerun.action(2, 5)
        rerun.expected.expect(action)
        rerun.agent.act(2, 5)
        ids = rerun.expected.came(action)
    assert kinds_in(rerun.sink) == ["decision", "decision"]
    assert ids == [decode_line(line).id for line in rerun.sink.lines]
    assert [effect.tick for effect in action.effects] == [7, 7]


@pytest.mark.parametrize(("text", "count"), [("rye", 1), ("figs", 0), ("figs", 2)])
def test_other_effects_than_recorded_are_compared_one_by_one(rerun, text, count):
    rerun.recorded.does, rerun.agent.does = noting("figs"), noting(text, count)
    assert not rerun.again(2, 5)
    assert kinds_in(rerun.sink) == ["decision"] * count + ["agent_action"]


def test_an_effect_in_another_span_or_at_another_tick_is_no_expected_one(rerun):
    rerun.recorded.does = rerun.agent.does = noting("figs")
    action = rerun.action(2, 5)
    rerun.expected.expect(action)
    with tick(3):
        rerun.agent.act(2, 5)
    assert rerun.expected.came(action) is None
    inner = trace_agent_action(rerun.agent.does)
    rerun.agent.does = inner
    assert not rerun.again(2, 5)


def test_the_lane_hands_over_the_pieces_that_python_hands_over():
    """With arguments that need a closer look, by keyword, nested and beside a changed dict."""
    found = {}
    for is_quick in (True, False):
        sink = LineSink("replayed")
        pipeline = Pipeline(
            sink,
            session_id="x",
            redactor=Redactor(b"k" * 32, enabled=True),
            options=RecordOptions(entry_looks=0, probes=0, state_period=100),
        )
        if pipeline.lane is None:
            pytest.skip("the native part was not built")
        if not is_quick:
            pipeline.lane = None
        install_pipeline(pipeline)
        keeper, put, handed = Keeper(), pipeline.put, []

        def hold(slot, *pieces, put=put, handed=handed):
            handed.append(pieces)
            return put(slot, *pieces)

        pipeline.put = hold
        if pipeline.lane is not None:
            pipeline.lane.hold(hold)
        for name in ("tea", "salt", "tea", "salt", "password=hunter2"):
            keeper.put(name, amount=2)
        found[is_quick] = [shape_of(pieces) for pieces in handed]
    assert found[True] == found[False]
    assert len([pieces for pieces in found[True] if b'"put"' in pieces[3]]) == 5


class Keeper:
    def __init__(self):
        self.agent_id, self.agent_role = "k", "keeper"
        self.stock = {"tea": 1}

    @trace_agent_action
    def put(self, name, amount):
        self.stock[name] = self.stock.get(name, 0) + amount
        return {"name": name, "stock": self.stock}


def shape_of(pieces):
    """The pieces of a line without the span's id and the duration."""
    head, links, extra, rest = pieces
    rest = re.sub(rb'"duration_ms":[0-9.e+-]+', b"", rest)
    return head, re.sub(rb'"span_id":"[0-9a-f]{16}"', b"", links), extra, rest
