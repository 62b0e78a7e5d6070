"""What actions rebind, delete or draw outside of fields counts, and what cannot be read there is named."""

from __future__ import annotations

import importlib
import json
import sys
from collections import OrderedDict

import pytest

from Agent import trace_agent_action
from Agent.event.values.content_digest import content_of
from Agent.record.tracing.program_state import ProgramState
from Agent.replay.compare.program_state import (
    LeftInProgram,
    LeftOtherwise,
    draws_otherwise,
    left_otherwise,
    unknown_in,
)

PROGRAM = """
import abc
import json
import logging
import math
import random
import sys
import zlib
from random import Random

import numpy

FIRST, BOUND, CALLED, LOG, TABLE, SMALL = None, abs, json, [], {}, 1
CHANCE, ARRAYS = Random(3), numpy.random.default_rng(3)
PUT = {}.__setitem__
CURVE, EACH = numpy.poly1d([1, 2]), numpy.vectorize(abs)
FLOW, SOME, MANY = zlib.compressobj(), [0] * 5_000, [0] * 20_000
random.seed(5)


def helper(number=0):
    return number


class Box:
    price = 1


class Seen(abc.ABC):
    pass


class Kept(logging.Handler):
    def emit(self, record):
        LOG.append(record.getMessage())


NOTES = logging.getLogger("agent_trace_rebinding")
NOTES.handlers, NOTES.disabled = [Kept()], False


class Clerk:
    def act(self):
        global BOUND, CALLED, SMALL
        %s
"""
DIFFERENT = [
    ("BOUND = len", "BOUND = sum"),
    ("BOUND = math.sin", "BOUND = numpy.sin"),
    ("CALLED = math", "CALLED = random"),
    ("CALLED = int", "CALLED = Random"),
    ("Box.price = math.sin", "Box.price = math.cos"),
    ("helper.__defaults__ = (1,)", "helper.__defaults__ = (2,)"),
    ("helper.__doc__ = 'a'", "helper.__doc__ = 'b'"),
    ("json.rebinding = 1", "json.rebinding = 2"),
    ("json.rebinding = helper", "json.rebinding = Box"),
    ("json.JSONDecoder.rebinding = 1", "json.JSONDecoder.rebinding = 2"),
    ("NOTES.disabled = True", "NOTES.disabled = False"),
    ("NOTES.warning('a')", "NOTES.warning('b')"),
    ("CHANCE.random()", "CHANCE.random(); CHANCE.random()"),
    ("ARRAYS.random()", "ARRAYS.random(2)"),
    ("random.random()", "random.random(); random.random()"),
    ("del Box.price", "Box.price = 1"),
    ("del SMALL", "SMALL = 1"),
    ("TABLE['a'] = 1", "TABLE['a'] = lambda: 1"),
    ("exec('LOG.append(1)')", "exec('LOG.append(2)')"),
    ("sys.modules[__name__].FIRST = 1", "sys.modules[__name__].FIRST = 2"),
    ("SOME[2_500] = 1", "SOME[2_500] = 2"),
    ("PUT('a', 1)", "PUT('a', 2)"),
    ("CURVE[0] = 1", "CURVE[0] = 3"),
    ("Seen.register(Box)", "Seen.register(Clerk)"),
    ("EACH.noted = 1", "EACH.noted = 3"),
]


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """A function that runs a program with one line, and returns what it left."""
    monkeypatch.syspath_prepend(tmp_path)

    def run(line: str) -> LeftInProgram:
        (tmp_path / "rebinding.py").write_text(PROGRAM % line)
        sys.modules.pop("rebinding", None)
        importlib.invalidate_caches()
        clerk = importlib.import_module("rebinding").Clerk
        state = ProgramState(None)
        state.begin(clerk, {}, "clerk")
        clerk().act()
        left = LeftInProgram.of(json.loads(json.dumps(state.payload())))
        assert left is not None
        for owner in (json, json.JSONDecoder):
            monkeypatch.delattr(owner, "rebinding", raising=False)
        return left

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield run
    sys.modules.pop("rebinding", None)


def differences(left: LeftInProgram, otherwise: LeftInProgram) -> list[LeftOtherwise]:
    runs = [otherwise, otherwise]
    return left_otherwise(left, runs) + draws_otherwise(left, runs)


@pytest.mark.further
def test_what_an_action_rebinds_deletes_or_draws_is_a_difference(ended):
    for one, other in DIFFERENT:
        left, same, otherwise = ended(one), ended(one), ended(other)
        assert not differences(left, same), one
        (found, *_) = differences(left, otherwise) or [None]
        assert found is not None, (one, other)
        assert found.is_steady, (one, other)


def test_what_cannot_be_read_is_unknown(ended):
    for line, name in [("FLOW.compress(b'a')", "rebinding.FLOW"), ("MANY[5] = 1", "rebinding.MANY")]:
        left = ended(line)
        assert unknown_in(left, [left]) == [name]
    assert not unknown_in(ended("LOG.append(1)"), [])


def test_a_generator_that_begins_elsewhere_is_not_compared(ended):
    left, otherwise = ended("CHANCE.random()"), ended("CHANCE.random(); CHANCE.random()")
    assert [each.name for each in draws_otherwise(left, [otherwise])] == ["rebinding.CHANCE"]
    begun = {name: ("", last) for name, (_, last) in otherwise.generators.items()}
    assert not draws_otherwise(left, [otherwise._replace(generators=begun)])


def test_agents_of_one_id_that_never_act_are_told_apart_and_named_when_they_are_gone(ended):
    class Idle:
        def __init__(self, held):
            self.agent_id, self.held = "idle", held

        @trace_agent_action
        def act(self):
            pass

    def told(*held):
        agents = [Idle(each) for each in held]
        state = ProgramState(None)
        state.begin(Idle, {"others": agents}, "clerk")
        return agents, state

    agents, state = told(1, 2)
    agents[1].held = 3
    first = state.payload()["changed"]
    agents[1].held = 4
    second = state.payload()["changed"]
    assert first["fields of idle"] == second["fields of idle"]
    assert first["fields of idle (2)"] != second["fields of idle (2)"]
    agents.clear()
    assert state.payload()["unknown"] == ["fields of idle", "fields of idle (2)"]


def test_the_order_of_an_ordered_dict_is_its_own_and_not_that_of_its_dict():
    class Recent(OrderedDict):
        pass

    for cls in (OrderedDict, Recent):
        held = cls({1: 1, 2: 2})
        first = content_of([held]).text
        held.move_to_end(1)
        assert content_of([held]).text != first, cls
        held.move_to_end(2)
        assert content_of([held]).text == first, cls
