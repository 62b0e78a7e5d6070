"""Which built part is used, and that its answers are those of Python."""

import contextlib
import functools
import itertools
import os
import re
import sys
import types
from abc import ABCMeta
from pathlib import Path
from random import Random
from unittest.mock import patch
from weakref import WeakKeyDictionary

import orjson
from hypothesis import given
from hypothesis import strategies as st

from Agent import trace_agent_action
from Agent.event import script_names
from Agent.event.pointers import escape, tags_below
from Agent.event.values import values
from Agent.event.values.digest import named_bytes
from Agent.event.values.reading import Named
from Agent.record.encode.native import is_older_than_sources, native
from Agent.record.encode.redaction import Redactor
from Agent.record.state import agents, followed_values, identity, introspection
from Agent.record.state.agent_writes import AgentWrites
from Agent.record.tracing import changed_arguments, state_events
from Agent.record.tracing.traced_call import Call


def test_a_part_that_is_older_than_a_source_is_not_used(tmp_path):
    built, source = tmp_path / "_native.so", tmp_path / "_calls.h"
    built.touch()
    assert not is_older_than_sources(str(built)), "a wheel has no sources"
    source.touch()
    os.utime(built, ns=(2_000, 2_000))
    os.utime(source, ns=(1_000, 1_000))
    assert not is_older_than_sources(str(built))
    os.utime(source, ns=(3_000, 3_000))
    assert is_older_than_sources(str(built))


class _Named:
    agent_id = "of its class"


class _Answering:
    def __getattr__(self, name):
        return "anything"


class _Slotted:
    __slots__ = ("agent_id",)


class _Plain:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class _Abstract(metaclass=ABCMeta):
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class _Comparing(type):
    def __hash__(cls):
        return 1

    def __eq__(cls, other):
        raise RuntimeError("no comparison")


class _OfComparing(metaclass=_Comparing):
    agent_id = None


def test_objects_whose_classes_have_another_metaclass_are_agents_as_python_says():
    values = [
        _Abstract(),
        _Abstract(agent_id="a"),
        _Abstract(logger=_Plain(agent_id="b")),
        _OfComparing(),
        WeakKeyDictionary(),
    ]
    for _ in range(2):
        assert [agents.agent_id_of(each) for each in values] == [agents._agent_id_of(each) for each in values]
    identity.set_identity(_Abstract, identity.Identity(lambda obj: "named", None))
    try:
        assert agents.agent_id_of(values[0]) == "named"
    finally:
        identity.clear_identity(_Abstract)
    assert agents.agent_id_of(values[0]) is None


def test_the_c_part_finds_the_same_agents_as_python():
    values = [
        *(1, "text", None, [], {}, print, _Plain, object(), _Named(), _Answering(), _Slotted()),
        *(_Plain(), _Plain(agent_id="a"), _Plain(logger=_Plain(agent_id="b")), _Plain(other=1)),
    ]
    for _ in range(2):  # the second time the facts about the classes are known
        assert [agents.agent_id_of(each) for each in values] == [agents._agent_id_of(each) for each in values]
    assert agents.agent_id_of(values[12]) == "a"
    one, others = _Plain(), _Plain()
    assert agents.agent_id_of(one) is None
    for owner in (one, _Plain):
        identity.set_identity(owner, identity.Identity(lambda obj: "named", None))
        try:
            assert agents.agent_id_of(one) == "named"
            assert agents.agent_id_of(others) == (None if owner is one else "named")
        finally:
            identity.clear_identity(owner)
    assert agents.agent_id_of(one) is None


def test_references_among_fields_are_encoded_the_same_with_and_without_the_c_part(recorded):
    capture, environment = recorded.pipeline.capture, _Plain(steps=3, cells=[])
    fields = {
        "world": environment,
        "lent": Named(_Plain(name="x"), "shared with b"),
        "own": _Plain(n=1),
        "pair": (1, (2.5, 3)),
        "none": None,
    }
    environments = {"world": {"class": "World", "attributes": {"steps": 3}, "reference": "environment World"}}
    for name in fields:
        capture.redactor.says(name)  # what is harmless is known from here on
    slow = capture.careful_body(fields, "/extra/fields", environments=environments)
    slow_count = capture.careful_count
    assert capture.user_body(fields, "/extra/fields", "a", None, environments) == slow
    assert list(capture.user_body(fields, "/extra/fields", "a", None, environments)[1]) == list(slow[1])
    assert capture.careful_count == slow_count
    nested = {**fields, "pair": [_Plain(n=2)]}  # an object in a container needs the slow path
    capture.user_body(nested, "/extra/fields", "a", None, environments)
    assert capture.careful_count == slow_count + 1


_PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "unseen", "digest", "é"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_TAGS = ["opaque", "tuple", "numpy:float64", "set", "dataclass:x.Y", "truncated", "map", 'a"b']
_FIELDS = "/extra/fields"


@given(
    st.dictionaries(st.text('ab/~é_\\"', min_size=1, max_size=3), _PLAIN, max_size=6),
    st.lists(st.sampled_from(_TAGS)),
    st.booleans(),
)
def test_the_c_part_takes_the_digest_of_fields_over_the_same_bytes_as_python(fields, tags, has_others):
    inner = orjson.dumps(fields)[1:-1]
    types = {f"{_FIELDS}/{escape(name)}": tag for name, tag in zip(fields, tags, strict=False)}
    if has_others:
        types |= {"/extra/class_fields/x": "opaque", "/extra/fieldsets/a": "tuple"}
    found = native.named_form(inner, types or None, _FIELDS)
    if found is None:
        return
    value = orjson.loads(b"{" + inner + b"}")
    opaque, unseen = state_events._fields_without_codec(value, types)
    assert found == (
        named_bytes(value, tags_below(types, _FIELDS), raw=inner),
        sorted(opaque),
    )
    assert not unseen


def test_the_c_part_takes_the_digest_of_usual_fields_and_leaves_the_rest_to_python():
    def form_of(fields, **tags):
        types = {f"{_FIELDS}/{name}": tag for name, tag in tags.items()}
        return native.named_form(orjson.dumps(fields)[1:-1], types or None, _FIELDS)

    world = {"repr": "<World object>", "reference": "environment World"}
    assert form_of({"wealth": 2, "name": "é", "best": {"b": 0.5, "a": [1, -2]}}) == (
        '{"best":{"b":0.5,"a":[1,-2]},"name":"é","wealth":2}'.encode(),
        [],
    )
    assert form_of({"world": world, "at": [1, 2]}, world="opaque", at="tuple") == (
        b'1:{"at":{"\\u0000":["tuple",[1,2]]},"world":{"\\u0000":["opaque",%s]}}' % orjson.dumps(world),
        ["world"],
    )
    assert form_of({}) == (b"{}", [])
    for fields, tags in [
        ({"text": "a\\b"}, {}),  # an escape
        ({"big": 1e300}, {}),  # a number that has several forms
        ({"id": 2**60}, {}),
        ({"tags": ["b", "a"]}, {"tags": "set"}),  # members without an order
        ({"world": {"repr": "x", "unseen": "a handle"}}, {"world": "opaque"}),
        ({"world": "[redacted:0123456789abcdef]"}, {"world": "opaque"}),
        ({"text": "cut"}, {"text": "truncated"}),
        ({"pair": [1, (2)]}, {"pair/1": "tuple"}),
        ({"a": 1}, {"b": "tuple"}),
    ]:
        assert form_of(fields, **tags) is None, fields
    assert native.named_form(b'"a":1,"a":2', None, _FIELDS) is None
    assert native.named_form(b'"a":[1', None, _FIELDS) is None
    assert native.named_form(b'"a":1,', None, _FIELDS) is None


class _Inventing:
    """Answers for attributes that it does not have, as a proxy does."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def __getattr__(self, name):
        return "invented"


class _SlottedInventing:
    __slots__ = ("size",)

    def __getattr__(self, name):
        return "invented"


def test_objects_of_c_classes_and_objects_that_invent_attributes_are_agents_only_if_they_hold_an_id():
    values = [
        *(itertools.count(1), functools.partial(int), iter([]), len, "".join, Random(1), sys, Path(), 1 + 2j),
        *(
            _Inventing(),
            _Inventing(agent_id="a"),
            _Inventing(logger=_Plain(agent_id="b")),
            _SlottedInventing(),
        ),
    ]
    for _ in range(2):
        found = [agents.agent_id_of(each) for each in values]
        assert found == [agents._agent_id_of(each) for each in values]
        assert found == [None] * 10 + ["a", "b", None]


def test_the_c_part_writes_an_agents_first_action_too(recorded, monkeypatch):
    class Walker:
        def __init__(self, name):
            self.agent_id, self.steps = name, 0

        @trace_agent_action
        def walk(self, far):
            self.steps += far
            return far

    for _ in range(40):  # Python looks at what the first actions of a program change
        Walker("warm").walk(2)
    in_python = []
    emit = Call._emit
    monkeypatch.setattr(Call, "_emit", lambda *given: in_python.append(given) or emit(*given))
    walker = Walker("x")
    walker.walk(2)
    walker.walk(2)
    assert not in_python
    lines = [line for line in recorded.sink.lines if b'"event_type":"agent_action"' in line]
    of_python, first, second = (
        re.sub(rb'"(timestamp|id|span_id|duration_ms|agent_id|steps)":[^,}]*', rb'"\1":0', line)
        for line in (lines[0], *lines[-2:])
    )
    assert first == second == of_python


def test_the_c_part_alone_sees_to_numbers_that_agents_write_to_each_other(recorded, monkeypatch):
    class Giver:
        def __init__(self, number):
            self.agent_id, self.wealth, self.place = f"giver {number}", 50, (number, 0)

        @trace_agent_action
        def give(self, other):
            self.wealth -= 1
            self.place = (self.wealth, 1)
            other.wealth += 1

    givers = [Giver(number) for number in range(8)]
    asked = []

    def exchange(times):
        for step in range(times):
            for number, each in enumerate(givers):
                each.give(givers[(number + 1 + step) % 8])

    exchange(8)
    for name in ("begins", "ended"):
        monkeypatch.setattr(AgentWrites, name, lambda *_args, _name=name, **_how: asked.append(_name) or [])
    monkeypatch.setattr(state_events, "emit_outside", lambda *_args, **_how: asked.append("told"))
    exchange(8)
    assert asked == []


_BESIDE = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 65), 1 << 65), st.floats(), st.text(max_size=3),
    st.sampled_from(["x" * 200, "x" * 201, -(1 << 63), 1 - (1 << 63), (1 << 63) - 1, 1 << 63, b"", (), []]),
)  # fmt: skip


@given(st.dictionaries(st.one_of(st.text(max_size=3), st.sampled_from(["__module__", "_name_", 1])), _BESIDE))
def test_attributes_that_are_shown_unchanged_are_the_same_in_c(attributes):
    assert native.are_few_scalars(attributes) == values._are_few_scalars(attributes)


def test_attributes_of_unusual_types_are_not_shown_unchanged():
    class Number(int):
        pass

    for value in (Number(1), type("Text", (str,), {})("a"), object()):
        assert not native.are_few_scalars({"a": value}) and not values._are_few_scalars({"a": value})
    assert not native.are_few_scalars({type("Text", (str,), {})("a"): 1})


_TEXTS_OF_OBJECTS = st.one_of(
    st.text(max_size=6), st.sampled_from(["__main__", "<f at 0x7f0000000000>", "sk-1", "x" * 200, "ab" * 64])
)


@given(
    st.dictionaries(
        st.one_of(st.text(max_size=3), st.sampled_from(["password", "y" * 201])), _BESIDE | _TEXTS_OF_OBJECTS
    ),
    st.binary(max_size=140),
    st.sampled_from([None, True, False]),
)
def test_objects_of_few_scalars_have_the_same_digest_in_c(attributes, head, enabled):
    hides = None if enabled is None else Redactor(b"key", enabled=enabled)
    if hides is not None:
        hides.known_keys.update(name for name in attributes if type(name) is str and len(name) != 2)

    def digest(how):
        try:
            return how(attributes, head, hides)
        except TypeError as error:  # a lone surrogate
            return type(error)

    assert digest(values.digest_of_scalars) == digest(values._digest_of_scalars)


def test_digests_of_objects_fill_one_block_and_several():
    for size in range(300):
        attributes = {"a": "x" * (size % 200), "b": "y" * max(0, size - 200)}
        assert values.digest_of_scalars(attributes, b"Os1:C", None) == values._digest_of_scalars(
            attributes, b"Os1:C", None
        )
    assert values.digest_of_scalars is not values._digest_of_scalars


@patch.dict(script_names.directories, clear=True)
def test_digests_of_objects_name_a_copied_directory_by_its_original():
    copy = f"/var/{script_names.COPIES}x1/0/copy"
    given, original = ({"at": f"{place}/a.txt", "n": 1} for place in (copy, "/home/ann/farm"))
    forms = values.digest_of_scalars, values._digest_of_scalars
    told = {form(original, b"Os1:C", None) for form in forms}
    assert len(told) == 1 and told != {form(given, b"Os1:C", None) for form in forms}
    script_names.name_copy(copy, "/home/ann/farm")
    assert {form(each, b"Os1:C", None) for form in forms for each in (given, original)} == told


class _Open:
    def __init__(self, **held):
        self.__dict__.update(held)


class _Slotted:
    __slots__ = ("first", "second")


def _objects(inner):
    def slotted(first):
        made = _Slotted()
        made.first = first
        return made

    names = st.text(max_size=2)
    made = st.dictionaries(names, inner).map(lambda held: _Open(**held)) | inner.map(slotted)
    return st.lists(inner) | st.dictionaries(names, inner) | st.tuples(inner, inner) | made


@given(st.recursive(st.integers() | st.text() | st.floats() | st.none(), _objects, max_leaves=12))
def test_values_with_objects_are_what_they_were_until_something_in_them_is_replaced(value):
    kept = native.whole(value, 1_000)
    assert kept is not None
    assert native.is_whole(value, kept)
    pending = [value]
    for each in pending:
        kind = type(each)
        if kind is list or kind is dict or kind is tuple:
            pending += each.values() if kind is dict else each
        if kind is list:
            each.append(1)
            assert not native.is_whole(value, kept)
            each.pop()
        elif kind is dict:
            each["added"] = each
            assert not native.is_whole(value, kept)
            del each["added"]
        elif kind is _Open:
            pending += vars(each).values()
            each.added = 1
            assert not native.is_whole(value, kept)
            del each.added
        elif kind is _Slotted:
            pending.append(each.first)
            each.second = 1
            assert not native.is_whole(value, kept)
            del each.second
        assert native.is_whole(value, kept)


def test_functions_methods_and_exceptions_are_what_they_were_until_something_in_them_is_replaced():
    held = [1]

    def function(first=held, *, second=held):
        return held, first, second

    class Failed(Exception):
        pass

    def set_cell():
        nonlocal held
        held = [1]

    error, cause = Failed("text", held), ValueError(held)
    error.__cause__ = cause
    value = [function, _Open(a=1).__init__, error]
    changes = [
        lambda: held.append(1), set_cell, lambda: setattr(function, "__defaults__", ([1],)),
        lambda: setattr(function, "__kwdefaults__", {"second": 1}), lambda: setattr(function, "noted", 1),
        lambda: setattr(function, "__name__", "other"), lambda: setattr(function, "__doc__", "It says more."),
        lambda: setattr(function, "__code__", (lambda: held).__code__), lambda: error.add_note("a note"),
        lambda: setattr(error, "args", ("other",)), lambda: setattr(cause, "args", ()),
        lambda: setattr(error, "__cause__", None), lambda: setattr(value[1].__self__, "a", 2),
    ]  # fmt: skip
    for change in changes:
        kept = native.whole(value, 1_000)
        assert kept is not None and native.is_whole(value, kept)
        change()
        assert not native.is_whole(value, kept)


def test_values_that_may_change_unseen_or_hold_too_much_are_not_taken():
    class Ends:
        def __del__(self):
            pass

    for each in (bytearray(b"x"), OSError(), Ends(), Random(1), iter([])):
        assert native.whole([each], 1_000) is None
        assert native.whole([_Open(a=[each])], 1_000) is None
    assert native.whole([_Open(a=1) for _ in range(1_000)], 1_000) is None
    arguments = [_Open(a=1) for _ in range(1_000)]
    arguments.append(arguments)
    arguments[0].back = arguments
    kept = native.whole(arguments, 10_000)
    assert native.is_whole(arguments, kept)
    arguments[0].__class__ = type("Other", (_Open,), {})
    assert not native.is_whole(arguments, kept)


def test_a_function_of_no_module_is_what_it_was():
    made = types.FunctionType((lambda: 3).__code__, {})  # as `exec` makes with globals without `__name__`
    assert made.__module__ is None
    value = [made]
    kept = native.whole(value, 1_000)
    assert native.is_whole(value, kept)
    made.__module__ = "elsewhere"
    assert not native.is_whole(value, kept)


@given(st.lists(st.recursive(st.integers() | st.none(), _objects, max_leaves=300), max_size=3), st.randoms())
def test_what_may_change_in_values_is_the_same(given_values, chance):
    parts = list(changed_arguments._held_within([*given_values]))
    named = {id(each) for each in parts if chance.random() < 0.1}

    def agent_of(each):
        return "agent" if id(each) in named else None

    with patch.object(changed_arguments, "agent_id_of", agent_of):
        wanted = changed_arguments._parts_within([*given_values], None)
        assert changed_arguments._parts_within_in_c([*given_values], None) == wanted
        for among in (set(), {id(each) for each in parts[-1:]}, wanted):
            told = changed_arguments._parts_within([*given_values], among)
            assert changed_arguments._parts_within_in_c([*given_values], among) == told


class _OfSlots:
    __slots__ = ("first", "second")
    third = 3


class _OfBoth(_OfSlots):
    def __init__(self):
        self.fourth = 4


class _OfBothHidden(_OfBoth):
    second = 2
    """Hides the slot of its base."""


class _Foreign:
    first = _OfSlots.first
    """A slot of another class."""


class _Computing:
    @property
    def first(self):
        COMPUTED.append(self)
        return 1


class _Answers(_OfSlots):
    def __getattr__(self, name):
        COMPUTED.append(self)
        return 1


COMPUTED = []
FIELDS = ("first", "second", "third", "fourth")


def _read_in_python(obj):
    with patch.object(introspection, "native", None):
        return list(introspection.FieldReader(FIELDS)(obj).items())


@given(st.sampled_from((_OfSlots, _OfBoth, _OfBothHidden, _Open)), st.sets(st.sampled_from(FIELDS)))
def test_fields_in_slots_and_in_a_dict_are_the_same(cls, filled):
    made = cls()
    for name in sorted(filled):
        with contextlib.suppress(AttributeError):
            setattr(made, name, [name])
    assert list(native.fields_named(made, FIELDS).items()) == _read_in_python(made)


def test_fields_that_have_to_be_computed_are_left_to_python():
    for cls in (_Foreign, _Computing, _Answers):
        assert native.fields_named(cls(), FIELDS) is None
    assert not COMPUTED
    assert native.fields_named(_OfSlots(), (0, "first")) is None


def test_methods_that_are_traced_later_are_seen():
    class Later:
        def act(self):
            return 1

    class Derived(Later):
        pass

    Derived().act()  # both have a version now
    for _ in range(2):
        assert not followed_values.has_traced_methods(Derived)
    Later.act = trace_agent_action(Later.act)
    assert followed_values.has_traced_methods(Derived)
    del Later.act
    assert not followed_values.has_traced_methods(Derived)
