"""Which built part is used, and that its answers are those of Python."""

import os

from Agent.event.values.reading import Named
from Agent.record.encode.native import is_older_than_sources
from Agent.record.state import agents, identity


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
    slow = capture.careful_body(fields, "/extra/fields", environments=environments)  # learns the keys, too
    slow_count = capture.careful_count
    assert capture.user_body(fields, "/extra/fields", "a", None, environments) == slow
    assert list(capture.user_body(fields, "/extra/fields", "a", None, environments)[1]) == list(slow[1])
    assert capture.careful_count == slow_count
    nested = {**fields, "pair": [_Plain(n=2)]}  # an object in a container needs the slow path
    capture.user_body(nested, "/extra/fields", "a", None, environments)
    assert capture.careful_count == slow_count + 1
