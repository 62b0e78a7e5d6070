"""What the event of a call says of arguments that its body changed in place, where a replay may answer the call."""

from __future__ import annotations

import array
import hashlib
import io
import itertools
import types
import weakref
from functools import partial
from xml.etree import ElementTree

import pytest
from hypothesis import given
from record_kit import recording
from strategies import json_values

from Agent.record.encode import capture as judging
from Agent.record.encode.native import native
from Agent.record.tracing.changed_arguments import held, still_holds
from Agent.utils import trace_agent_action


class Plan:
    def __init__(self, count):
        self.count = count
        self.name = "north"

    def more(self):
        self.count += 1


class Peer:
    agent_id, agent_role = "peer", "peer"

    def __init__(self, change):
        self._change = change

    @trace_agent_action
    def work(self, first, second=None):
        return self._change(first, second)


class Agent:
    agent_id, agent_role = "agent", "agent"

    @trace_agent_action
    def act(self, change, *arguments):
        return Peer(change).work(*arguments)


def told(change, *arguments):
    """What the event of the peer's call tells beside its arguments and result, with its tags."""
    with recording() as recorded:
        Agent().act(change, *arguments)
        event = next(e for e in recorded.of("agent_action") if e["extra"]["agent_id"] == "peer")
        return {key: event["extra"][key] for key in ("args_after", "result_is") if key in event["extra"]}


def put(key, value):
    def change(first, second):
        first[key] = value

    return change


def nothing(first, second):
    return 3


@pytest.fixture(params=["native", "python"], autouse=True)
def way(request, monkeypatch):
    if request.param == "python":
        monkeypatch.setattr(judging, "native", None)


@pytest.mark.first_case
def test_arguments_that_nobody_changed_are_told_once():
    for arguments in (
        [1],
        [[1, {"a": 2}]],
        [{"a": 1}, [2]],
        [Plan(1)],
        [{"p": Plan(1)}, (1, [2])],
        ["[", "{"],
    ):
        assert told(nothing, *arguments) == {}
    assert told(lambda first, second: "done", [1]) == {}
    assert told(lambda first, second: [1], [1]) == {}


@pytest.mark.first_case
def test_an_argument_that_was_changed_is_told_as_it_is_behind_the_call():
    assert told(put("a", 2), {"a": 1}) == {"args_after": {"first": {"a": 2}}}
    assert told(put(0, 2), [1], [7]) == {"args_after": {"first": [2]}}
    assert told(put(0, (1,)), [[1]]) == {"args_after": {"first": [[1]]}}, "a tuple in the place of a list"
    assert told(put(0, None), [float("nan")]) == {"args_after": {"first": [None]}}
    assert told(put(0, float("nan")), [None]) == {"args_after": {"first": ["NaN"]}}
    assert told(put("a", {1}), {"a": 1}) == {"args_after": {"first": {"a": [1]}}}


def test_an_argument_is_not_taken_for_another_of_the_same_name_inside_of_it():
    before = {"second": [1, 2], "first": {"x": 0}}
    assert told(lambda first, second: second.append(2), before, [1]) == {"args_after": {"second": [1, 2]}}


def test_an_object_that_was_changed_is_told_by_its_attributes():
    def change(first, second):
        first.count += 1

    assert told(change, Plan(1)) == {"args_after": {"first": {"count": 2, "name": "north"}}}
    changed = told(lambda first, second: setattr(first["p"], "count", 2), {"p": Plan(1)}, [7])
    assert changed["args_after"]["first"]["p"]["attributes"] == {"count": 2, "name": "north"}
    assert "second" not in changed["args_after"]


_KEPT = Plan(1)


def _counter():
    count = 0

    def increase():
        nonlocal count
        count += 1
        return count

    return increase


def _counted():
    yield from range(9)


_WITH_MORE_THAN_ATTRIBUTES = [
    (lambda: memoryview(bytearray(9)), lambda x: x.__setitem__(sum(x), 1)),
    (lambda: array.array("i", [1]), lambda x: x.append(1)),
    (lambda: io.StringIO("abcd"), lambda x: x.read(1)),
    (lambda: types.MappingProxyType({"k": []}), lambda x: x["k"].append(1)),
    (lambda: ElementTree.Element("a"), lambda x: x.set(f"k{len(x.attrib)}", "1")),
    (lambda: types.ModuleType("cfg"), lambda x: setattr(x, "level", getattr(x, "level", 0) + 1)),
    (hashlib.sha1, lambda x: x.update(b"a")),
    (lambda: iter([1, 2, 3]), next), (lambda: iter({"a": 1, "b": 2, "c": 3}.items()), next),
    (_counted, next), (lambda: enumerate("abc"), next), (itertools.count, next),
    (lambda: itertools.cycle("abc"), next), (lambda: map(int, "123"), next),
    (lambda: itertools.islice(range(5), 4), next),
    (_counter, lambda x: x()), (lambda: partial(_counter()), lambda x: x()),
    (lambda: Plan(1).more, lambda x: x()), (lambda: weakref.ref(_KEPT), lambda x: x().more()),
    (lambda: ValueError("x"), lambda x: setattr(x, "args", (*x.args, 1))),
]  # fmt: skip


@pytest.mark.first_case
@pytest.mark.parametrize(("make", "change"), _WITH_MORE_THAN_ATTRIBUTES)
def test_what_an_argument_holds_beside_its_attributes_is_told_as_it_is_behind_the_call(make, change):
    def changed(times):
        _KEPT.count = 1
        after = told(lambda first, second: [change(first) for _ in range(times)], make())
        return after.get("args_after", {}).get("first", {}).get("digest")

    once, again, twice = changed(1), changed(1), changed(2)
    assert changed(0) is None
    assert None not in {once, twice}
    assert once != twice
    assert once == again


@pytest.mark.first_case
def test_an_argument_that_is_given_back_is_told_by_its_name():
    assert told(lambda first, second: first, [1]) == {"result_is": "first"}
    assert told(lambda first, second: second, [1], [1]) == {"result_is": "second"}
    assert told(lambda first, second: first, Plan(1)) == {"result_is": "first"}
    assert told(lambda first, second: first, 3, [1]) == {}
    assert told(lambda first, second: first.append(2) or first, [1]) == {
        "args_after": {"first": [1, 2]},
        "result_is": "first",
    }


def test_an_object_that_several_arguments_hold_is_no_change():
    plan = Plan(1)
    pair = [plan, {"again": plan}]
    assert "args_after" not in told(lambda first, second: None, pair, [plan])
    after = told(lambda first, second: first.append(2), pair, [plan])["args_after"]
    assert list(after) == ["first"]


def test_a_secret_in_an_argument_that_nobody_changed_is_no_change():
    secret = "ghp_" + "Zx9" * 12
    assert told(nothing, [f"see {secret}"]) == {}
    changed = told(put(0, 2), [1], [f"see {secret}"])
    assert changed == {"args_after": {"first": [2]}}


def containers_in(value):
    """All containers in a plain value, itself among them."""
    if type(value) not in {list, dict}:
        return []
    inside = list(value.values() if type(value) is dict else value)
    return [value, *(each for item in inside for each in containers_in(item))]


@pytest.mark.skipif(native is None, reason="the native part was not built")
@given(json_values)
def test_no_change_of_a_plain_value_goes_unseen(value):
    arguments = {"value": value, "rest": [1]}
    kept = held(arguments)
    assert len(kept) <= 512
    assert still_holds(arguments, kept) == (kept != ())
    if kept == ():
        return
    for container in containers_in(value):
        before = container.copy()
        for changed in (*others(before),):
            fill(container, changed)
            assert not still_holds(arguments, kept), (before, changed)
        fill(container, before)
        assert still_holds(arguments, kept)


def others(container):
    """Containers that are another one in the least way."""
    if type(container) is dict:
        pairs = list(container.items())
        yield {**container, "new key": None}
        yield dict(pairs[1:]) if pairs else {"": ""}
        if len(pairs) > 1:
            yield dict(reversed(pairs))
        yield from ({**container, key: ANOTHER} for key in container)
        return
    yield [*container, None]
    yield container[1:] if container else [[]]
    yield from ([*container[:at], ANOTHER, *container[at + 1 :]] for at in range(len(container)))
    yield [container]


ANOTHER = ("a tuple",)


def fill(container, content):
    container.clear()
    if type(container) is dict:
        container.update(content)
    else:
        container.extend(content)


def test_arguments_that_cannot_change_hold_nothing():
    assert held({}) is None
    assert held({"a": 1, "b": "x", "c": None}) is None
    assert held({"a": [list(range(600))]}) == ()
    deep = value = []
    for _ in range(30):
        deep.append([])
        deep = deep[0]
    assert held({"a": value}) == ()
    assert not still_holds({"a": value}, ())
