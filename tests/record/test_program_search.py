"""What leads to nothing of the program is not searched for it when a further agent begins."""

from __future__ import annotations

import argparse
import collections
import fractions
import functools
import queue
import sys
import types
import weakref
from pathlib import Path

import pytest
from hostile import OfHostileMeta

from Agent.record.state.agents import agent_id_of
from Agent.record.tracing import function_facts
from Agent.record.tracing.program_search import Search, leads_nowhere, reached_inside


class Own:
    """A class of the program."""

    def act(self):
        return 1


def own():
    return 1


@pytest.fixture(autouse=True)
def this_file_is_of_the_program():
    assert function_facts.is_of_program(__name__)


OF_LIBRARIES = [
    argparse.Namespace(own=own),
    fractions.Fraction(1, 3),
    Path("a"),
    functools.cached_property(own),
]
LEADING = [
    Own(), Own().act, own, functools.partial(own), weakref.ref(Own), [own], {"a": Own()}, {Own}, (own,),
    collections.deque([own]), collections.OrderedDict(a=own), collections.UserList([own]), Own, argparse,
    types.SimpleNamespace(own=own), queue.Queue(), property(own), sys.modules[__name__],
]  # fmt: skip


@pytest.mark.parametrize("value", OF_LIBRARIES, ids=lambda value: type(value).__name__)
def test_plain_objects_of_libraries_lead_nowhere(value):
    assert leads_nowhere(type(value))
    assert list(reached_inside((value,), 100)) == []


@pytest.mark.parametrize("value", LEADING, ids=lambda value: type(value).__name__)
def test_what_may_lead_to_the_program_is_searched(value):
    assert not leads_nowhere(type(value))


def test_a_class_of_no_loaded_module_may_be_of_the_program():
    made = type("Made", (), {"__module__": "not_loaded"})
    assert not leads_nowhere(made)
    assert not leads_nowhere(type("Odd", (), {"__module__": 1}))


def of_kind():
    return KIND


KIND = OfHostileMeta


def test_a_class_whose_metaclass_raises_when_it_is_asked_is_reached_by_name():
    search = Search([of_kind])
    assert "methods of hostile.OfHostileMeta" in [name for name, _ in search.parts()]
    assert [name for name in search.code if name.endswith(".KIND")]


LOG = [1]
put = LOG.append
asked = agent_id_of


def of_methods():
    return put, asked


def test_methods_of_containers_lead_to_these_and_other_functions_in_c_to_nothing():
    found = dict(Search([of_methods]).parts())
    assert [value for name, value in found.items() if name.endswith(".put")] == [LOG]
    assert not any(name.endswith((".asked", ".agent_id_of")) for name in found), found
