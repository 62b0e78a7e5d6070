"""What an attribute of a user's object raises costs the agent's name at most; an interrupt from outside goes through."""

import contextlib
import os
import signal
import sys

import pytest
from record_kit import recording

from Agent import instrument
from Agent.flight import record_tool, recorder
from Agent.utils import AgentLogger, trace_agent_action


class Told(BaseException):
    """Neither an error nor an interrupt, as `pytest.fail` and greenlets raise."""


class Raising:
    """Raises at each of its questions while it is armed, and counts them."""

    def __init__(self, error):
        self.error, self.asked = error, 0

    def __call__(self, *_):
        self.asked += 1
        raise self.error("asked")


def with_property(name, raising):
    return type("WithProperty", (), {name: property(raising), "act": act})()


def with_lookup(name, raising):
    def look_up(self, wanted):
        return object.__getattribute__(self, wanted) if wanted in {"act", "__class__"} else raising()

    return type("WithLookup", (), {name: look_up, "act": act})()


def with_logger(raising):
    return type("WithLogger", (), {"logger": with_property("agent_id", raising), "act": act})()


def instrumented(raising):
    made = type("Instrumented", (), {"act": lambda _self, value: value})()
    instrument(type(made), ["act"], agent_id=raising)
    return made


def with_state(raising):
    made = type("WithState", (), {"agent_id": "s", "act": lambda _self, value: value})()
    instrument(type(made), ["act"], state=raising)
    return made


class Holder:
    agent_id = "holder"

    def __init__(self, held):
        self.held = held

    @trace_agent_action()
    def act(self, value):
        return value


@trace_agent_action()
def act(_self, value):
    return value


AGENTS = {
    "agent_id": lambda raising: with_property("agent_id", raising),
    "agent_role": lambda raising: with_property("agent_role", raising),
    "logger": lambda raising: with_property("logger", raising),
    "its logger's agent_id": with_logger,
    "every attribute": lambda raising: with_lookup("__getattribute__", raising),
    "a missing attribute": lambda raising: with_lookup("__getattr__", raising),
    "instrument": instrumented,
    "instrument's state": with_state,
}
PLACES = {
    "the agent": lambda made: made.act(1),
    "its state": lambda made: Holder(made).act(1),
    "an argument": lambda made: Holder(None).act(made) and 1,
    "an item": lambda made: len(Holder(None).act([made])),
    "a logged value": lambda made: AgentLogger("a", "b").log_action("x", {"v": made}) and 1,
}


@pytest.mark.first_case
@pytest.mark.parametrize("error", [Told, KeyboardInterrupt, SystemExit, GeneratorExit, sys.exit])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("agent", AGENTS)
def test_what_an_attribute_raises_does_not_reach_the_program(agent, place, error):
    raising = Raising(error)
    with recording() as recorded:
        assert PLACES[place](AGENTS[agent](raising)) == 1
        assert Holder(None).act(2) == 2
        assert recorded.of("agent_action")[-1]["extra"]["args"] == {"value": 2}


def interrupted(_text):
    signal.raise_signal(signal.SIGINT)


def ended(_text):
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.first_case
@pytest.mark.parametrize(
    ("by", "error"), [(interrupted, KeyboardInterrupt), (ended, SystemExit)], ids=["Ctrl-C", "SIGTERM"]
)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("agent", AGENTS)
def test_an_interrupt_and_an_exit_by_a_signal_go_through(agent, place, by, error):
    raising = Raising(by)
    before = [
        signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(3)),
    ]
    try:
        with recording():
            try:
                PLACES[place](AGENTS[agent](raising))
            except error:
                assert raising.asked
            else:
                assert not raising.asked
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])


class Untold(Exception):
    def __init__(self, kind):
        self.kind = kind

    def __str__(self):
        raise self.kind


class Fails:
    agent_id = "fails"

    @trace_agent_action()
    def fail(self, error):
        raise error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
@pytest.mark.parametrize("is_grouped", [False, True])
def test_the_text_of_an_error_that_exits_does_not_replace_the_error(kind, is_grouped):
    error = ExceptionGroup("several", [Untold(kind)]) if is_grouped else Untold(kind)
    with recording() as recorded:
        with pytest.raises(type(error)):
            Fails().fail(error)
        assert recorded.only("error")["extra"]["error_type"] == type(error).__name__
        assert recorded.of("agent_action")[-1]["extra"]["outcome"] == "error"


class Refused(Exception):
    def __init__(self, code):
        super().__init__("refused")
        self.code = code


class Asks:
    agent_id = "asks"

    @trace_agent_action
    def ask(self, code):
        try:
            Fails().fail(Refused(code))
        except Refused as error:
            return dict(vars(error))


def test_the_attributes_of_a_recorded_exception_are_those_of_the_program():
    with recording() as recorded:
        assert Asks().ask(3) == {"code": 3}
        assert recorded.only("error")["extra"]["error_attributes"] == {"code": 3}


def test_an_exception_is_recorded_once_and_another_at_its_address_is_too():
    with recording() as recorded:
        kept = Refused(0)
        for _ in range(2):
            with pytest.raises(Refused):
                Fails().fail(kept)
        for number in range(1, 20):  # each is freed before the next is made, mostly at the same address
            with contextlib.suppress(Refused):
                Fails().fail(Refused(number))
        told = [event["extra"]["error_attributes"]["code"] for event in recorded.of("error")]
        assert told == list(range(20))


class Describes(Exception):
    """Its text records another one in the same way."""

    def __init__(self, raised):
        self.raised = raised

    def __str__(self):
        self.raised()
        return "never"


def _in_an_agent():
    Fails().fail(Describes(_in_an_agent))


@record_tool
def _in_a_tool():
    raise Describes(_in_a_tool)


@record_tool
def _stream():
    yield 1
    raise Describes(_in_a_stream)


def _in_a_stream():
    list(_stream())


def _in_a_run():
    with recorder.run("inner"):
        raise Describes(_in_a_run)


@pytest.mark.parametrize("raised", [_in_an_agent, _in_a_tool, _in_a_stream, _in_a_run])
def test_an_exception_whose_text_records_another_ends(raised):
    with recording() as recorded:
        with pytest.raises(Describes):
            raised()
        assert 1 <= recorded.text.count('"error_type":"Describes"') <= 4


def test_a_source_that_is_a_pipe_is_not_read(tmp_path):
    file = tmp_path / "made.py"
    os.mkfifo(file)
    names = {"trace_agent_action": trace_agent_action}
    text = "class Made:\n agent_id = 'made'\n @trace_agent_action\n def act(self): return 1 / 0\n"
    exec(compile(text, str(file), "exec"), names)
    with recording() as recorded:
        with pytest.raises(ZeroDivisionError):
            names["Made"]().act()
        assert str(file) in recorded.only("error")["extra"]["traceback"]
        assert "source" not in recorded.of("code")[-1]["extra"]


class Named:
    """Its role and its state come from methods that are traced."""

    agent_id = "named"

    def __init__(self):
        self.roles = self.states = 0

    @property
    def agent_role(self):
        return self.role()

    @trace_agent_action
    def role(self):
        self.roles += 1
        return "clerk"

    def trace_state(self):
        return {"sum": self.sum()}

    @trace_agent_action
    def sum(self):
        self.states += 1
        return 3


def test_traced_methods_that_recording_itself_calls_are_not_recorded():
    with recording() as recorded:
        agent = Named()
        assert [agent.sum() for _ in range(3)] == [3, 3, 3]
        told = [event["extra"]["action_type"] for event in recorded.of("agent_action")]
        assert told == ["sum"] * 3
        assert agent.roles <= 3 and agent.states <= 12 and not recorded.health.notes
