"""A secret in the name of a class is replaced in the tags of values, too."""

from __future__ import annotations

import dataclasses

import pytest
from record_kit import recording

from Agent.utils import trace_agent_action

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
