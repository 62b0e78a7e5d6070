"""A secret in the name of a class, a function or an action is replaced wherever the name is recorded."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from record_kit import recording

from Agent import setup_logging, shutdown_logging
from Agent.utils import measure_performance, trace_agent_action, trace_learning_update, trace_performance

KEY = "ghp_" + "ZWpkqekSEas00TT4IxJrcqChepw7EZUKtytN"


def error():
    return type(f"Err_{KEY}", (Exception,), {})("y")


def record():
    return dataclasses.make_dataclass(f"Record_{KEY}", ["size"])(3)


def text():
    return type(f"Text_{KEY}", (str,), {})("abc")


class Holder:
    agent_id, agent_role = "holder", "holder"

    def __init__(self, made=None):
        self.held = None

    @trace_agent_action
    def take(self, given):
        self.held = [given]
        return {"inside": given}

    @trace_agent_action
    def leave(self, given):
        raise given


class Born:
    agent_id, agent_role = "born", "born"

    @trace_agent_action
    def __init__(self, given):
        self.size = 1

    @trace_agent_action
    def act(self):
        return 1


@pytest.mark.parametrize("made", [error, record, text])
def test_the_name_of_a_class_is_redacted_in_arguments_fields_and_results(made):
    with recording() as recorded:
        Holder().take(made())
        Born(made()).act()
    event = recorded.of("agent_action")[0]
    tags = {place: tag for place, tag in event["types"].items() if "[redacted:" in tag}
    assert {place.split("/")[2] if place.startswith("/extra") else "state" for place in tags} >= {
        "args",
        "result",
    }
    assert KEY not in str(recorded.events)


def test_the_name_of_a_raised_error_is_redacted():
    with recording() as recorded:
        given = error()
        with pytest.raises(type(given)):
            Holder().leave(given)
    assert KEY not in str(recorded.events)


def test_the_names_of_other_classes_stay():
    given = dataclasses.make_dataclass("PasswordOfToken", ["size"])(3)
    with recording() as recorded:
        Holder().take(given)
    (event,) = recorded.of("agent_action")
    assert event["types"]["/extra/args/given"].startswith("dataclass:")
    assert event["types"]["/extra/args/given"].endswith("PasswordOfToken")


def named(decorate, name=f"go_{KEY}"):
    """A method of that name, decorated."""

    def method(self):
        return 1

    method.__name__, method.__qualname__ = name, f"Named.{name}"
    return decorate(method)


DECORATED = {
    "action": lambda: named(trace_agent_action(f"act {KEY}"), "go"),
    "measured": lambda: named(trace_performance(f"time {KEY}"), "go"),
    "learned": lambda: named(trace_learning_update(f"learn {KEY}"), "go"),
    "method": lambda: named(trace_agent_action),
    "measured method": lambda: named(trace_performance()),
    "async": lambda: trace_agent_action(f"act {KEY}")(asynchronous),
    "generator": lambda: trace_agent_action(f"act {KEY}")(stream),
}


async def asynchronous(self):
    return 1


def stream(self):
    yield 1


def run(method):
    """Call it, and run what it returns to its end."""
    result = method(Agent())
    if hasattr(result, "send"):
        with contextlib.suppress(StopIteration):
            while True:
                result.send(None)


class Agent:
    agent_id = agent_role = "agent"


@pytest.mark.parametrize("sort", DECORATED)
def test_the_name_of_an_action_and_of_its_function_is_redacted_in_every_event(sort):
    method = DECORATED[sort]()
    for _ in range(2):
        with recording() as recorded:
            run(method)
            run(method)
        assert KEY not in recorded.text
        assert sum("duration_ms" in event["extra"] for event in recorded.events) == 2


@pytest.mark.parametrize("sort", DECORATED)
def test_the_name_of_an_action_is_redacted_after_a_recording_that_redacts_nothing(sort):
    method = DECORATED[sort]()
    with recording(redact=False) as recorded:
        run(method)
    assert KEY in recorded.text
    with recording() as recorded:
        run(method)
    assert KEY not in recorded.text


def test_names_that_hold_no_secret_are_recorded_as_they_are_and_judged_once():
    method = named(trace_agent_action("refresh_token"), "api_key_and_password")
    with recording(redact=False):
        run(method)
    with recording() as recorded:
        run(method)
    extra = recorded.only("agent_action")["extra"]
    assert (extra["action_type"], extra["call"]) == ("refresh_token", "Named.api_key_and_password")


def test_the_names_of_open_spans_are_redacted_on_the_disk(tmp_path):
    setup_logging(trace_root=tmp_path / "trace")
    seen = []

    @trace_agent_action(f"act {KEY}")
    def act():
        with measure_performance(f"time {KEY}"):
            seen.extend(path for path in tmp_path.rglob("*") if path.is_file())
            assert seen and not [path for path in seen if KEY.encode() in path.read_bytes()]

    act()
    shutdown_logging()
    assert [path for path in seen if path.suffix == ".board"]
