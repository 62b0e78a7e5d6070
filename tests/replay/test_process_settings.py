"""Changed code that sets something of the process, as a variable of the environment, is no IDENTICAL."""

from __future__ import annotations

import decimal
import json
import os
import socket  # noqa: F401 - so that it is loaded
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.processes import child_environment

from Agent.record.tracing.process_settings import ModuleAttributes, process_settings
from Agent.record.tracing.program_state import ProgramState
from Agent.replay import replay_run
from Agent.replay.compare.program_state import LeftInProgram, left_otherwise

PROGRAM = """
import decimal, json, logging, os, sys
from Agent import setup_logging, shutdown_logging, trace_agent_action


class Clerk:
    agent_id = "clerk"
    n = 0

    @trace_agent_action
    def act(self):
        self.n += 1
        os.environ.get("MODE")
        return self.n


setup_logging(trace_root="trace")
clerk = Clerk()
for _ in range(3):
    clerk.act()
shutdown_logging()
"""
PLAIN = 'os.environ.get("MODE")'


class Clerk:
    """An agent of this module."""


@pytest.fixture
def program_state():
    state = ProgramState(None)
    state.begin(Clerk, {}, "clerk")
    return state


def left(state: ProgramState, asked=()) -> LeftInProgram:
    found = LeftInProgram.of(json.loads(json.dumps(state.payload(asked))))
    assert found is not None
    return found


def names_of(recorded: LeftInProgram, run: LeftInProgram) -> list[str]:
    return [each.name for each in left_otherwise(recorded, [run])]


@pytest.mark.parametrize("before", [None, "a"])
@pytest.mark.parametrize("after", [None, "a", "b"])
def test_a_variable_of_the_environment_differs_if_it_was_set_otherwise(
    program_state, monkeypatch, before, after
):
    first = left(program_state)
    for value in (before, after):
        other = ProgramState(None)
        other.begin(Clerk, {}, "clerk")
        if value is not None:
            monkeypatch.setenv("MODE", value)
        sides = first, left(other)
        monkeypatch.delenv("MODE", raising=False)
        assert names_of(*sides) == names_of(*sides[::-1]) == ([] if value is None else ["os.environ['MODE']"])


def test_a_variable_that_is_gone_at_the_end_was_changed(monkeypatch, program_state):
    monkeypatch.setenv("MODE", "a")
    other = ProgramState(None)
    other.begin(Clerk, {}, "clerk")
    monkeypatch.delenv("MODE")
    assert names_of(left(program_state), left(other)) == ["os.environ['MODE']"]


def test_other_variables_than_changed_ones_are_not_recorded(program_state, monkeypatch):
    monkeypatch.setenv("MODE", "a")
    assert [name for name in program_state.payload()["changed"] if "environ" in name] == [
        "os.environ['MODE']"
    ]
    assert [name for name in program_state.payload()["unchanged"] if "environ" in name] == ["os.environ"]


def test_the_number_of_a_setting_is_shown(program_state):
    first, limit = left(program_state), sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 7)
    try:
        last = left(program_state)
    finally:
        sys.setrecursionlimit(limit)
    name = "sys.getrecursionlimit()"
    assert names_of(first, last) == [name]
    assert (first.shown(name), last.shown(name)) == ("unchanged", limit + 7)


def test_settings_of_a_thread_are_left_out_in_another():
    with decimal.localcontext() as context:
        context.prec += 1
        assert "decimal.getcontext()" in process_settings(of_thread=True)
    assert "decimal.getcontext()" not in process_settings(of_thread=False)


def test_settings_of_a_thread_that_another_one_cannot_read_are_not_called_unchanged(program_state):
    name = "decimal.getcontext()"
    assert name in program_state.payload()["unchanged"]
    with ThreadPoolExecutor(1) as pool:
        payload = pool.submit(program_state.payload).result()
    assert name not in {*payload["unchanged"], *payload["changed"], *payload["unknown"]}


def test_a_library_function_that_setattr_replaced_is_named(program_state, monkeypatch):
    first = left(program_state)
    monkeypatch.setattr(json, "dumps", len)
    last = LeftInProgram.of(program_state.payload())
    monkeypatch.undo()
    assert last is not None
    assert names_of(first, last) == ["json.dumps"]
    assert (first.shown("json.dumps"), last.shown("json.dumps")) == ("unchanged", "builtins.len")
    assert left(program_state, ["json.dumps"]).at("json.dumps") == "unchanged"


@pytest.mark.parametrize(("value", "shown"), [(5, 5), (left, f"{__name__}.left")])
def test_a_name_that_a_library_got_is_named(program_state, monkeypatch, value, shown):
    first = left(program_state)
    monkeypatch.setattr(json, "mine", value, raising=False)
    last = left(program_state)
    monkeypatch.undo()
    assert names_of(first, last) == names_of(last, first) == ["json.mine"]
    assert last.shown("json.mine") == shown


def test_private_names_and_those_that_a_library_gave_itself_are_not_looked_at(monkeypatch):
    attributes = ModuleAttributes()
    monkeypatch.setattr(json, "_default_encoder", None)
    monkeypatch.setattr(json, "mine", len, raising=False)
    assert [name for name, *_ in attributes.replaced() if name.startswith("json.")] == []


def test_settings_of_a_library_that_was_imported_since_are_left_out(monkeypatch):
    monkeypatch.delitem(sys.modules, "socket")
    state = ProgramState(None)
    state.begin(Clerk, {}, "clerk")
    monkeypatch.undo()
    payload = state.payload()
    assert not [
        name
        for key in ("changed", "unchanged", "unknown")
        for name in payload[key]
        if name == "socket.getdefaulttimeout()"
    ]


def test_a_mapping_in_the_place_of_the_environment_is_not_read(monkeypatch):
    monkeypatch.setattr(os, "environ", {"MODE": "a"})
    assert not any("environ" in name for name in process_settings(of_thread=True))


@pytest.mark.further
@pytest.mark.process
@pytest.mark.first_case
@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ('os.environ["MODE"] = "a"', 'os.environ["MODE"] = "b"', "os.environ['MODE']"),
        (PLAIN, 'os.environ["MODE"] = "b"', "os.environ['MODE']"),
        (PLAIN, "sys.setrecursionlimit(2345)", "sys.getrecursionlimit()"),
        (PLAIN, "decimal.getcontext().prec = 5", "decimal.getcontext()"),
        (PLAIN, "logging.disable(30)", "logging.disable()"),
        ('setattr(json, "loads", len)', "pass", "json.loads"),
        (PLAIN, 'json.__dict__["loads"] = len', "json.loads"),
        ('setattr(json, "mine", 1)', 'setattr(json, "mine", 2)', "json.mine"),
    ],
)
def test_changed_code_that_leaves_the_process_otherwise_is_diverged(
    tmp_path, monkeypatch, before, after, where
):
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "shop.py"
    script.write_text(PROGRAM.replace(PLAIN, before))
    subprocess.run([sys.executable, "shop.py"], check=True, env=child_environment(), cwd=tmp_path)
    script.write_text(PROGRAM.replace(PLAIN, f"{before}; len('')"))
    assert replay_run("last", root=tmp_path / "trace").verdict == "IDENTICAL"
    script.write_text(PROGRAM.replace(PLAIN, after))
    report = replay_run("last", root=tmp_path / "trace")
    assert report.verdict == "DIVERGED", str(report)
    assert report.divergence.where == f"{where}, as the program left it"
