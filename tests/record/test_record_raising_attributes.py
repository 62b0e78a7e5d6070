"""What an attribute of a user's object raises costs the agent's name at most; an interrupt and an exit go through."""

import pytest
from record_kit import recording

from Agent import instrument
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
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("agent", AGENTS)
def test_what_an_attribute_raises_does_not_reach_the_program(agent, place):
    raising = Raising(Told)
    with recording() as recorded:
        assert PLACES[place](AGENTS[agent](raising)) == 1
        assert Holder(None).act(2) == 2
        assert recorded.of("agent_action")[-1]["extra"]["args"] == {"value": 2}


@pytest.mark.first_case
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("agent", AGENTS)
def test_an_interrupt_and_an_exit_go_through(agent, place, error):
    raising = Raising(error)
    with recording():
        try:
            PLACES[place](AGENTS[agent](raising))
        except error:
            assert raising.asked
        else:
            assert not raising.asked
