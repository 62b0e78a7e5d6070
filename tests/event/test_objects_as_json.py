"""Objects of plain classes as JSON and back: all of it or nothing."""

from __future__ import annotations

import random
from typing import Any

import orjson

from Agent.event.values.reading import Reading
from Agent.event.values.serialise import to_json
from Agent.event.values.values import Unrestored, decode_value

KEEPING = Reading(keeps_content=True)


class Plain:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("left", "right")


class Sentinel:
    pass


def again(value: object) -> Any:
    """The value as it comes back from its JSON."""
    dumped = to_json({"value": value}, "/extra", reading=KEEPING)
    made = decode_value(orjson.loads(dumped.json), dumped.types, "/extra")
    if type(made["value"]) is not Unrestored:
        assert to_json(made, "/extra", reading=KEEPING) == dumped
    return made["value"]


def test_objects_that_hold_data_and_each_other_come_back():
    slotted = Slotted()
    slotted.left = [1.5, float("nan")]
    inner = Plain(path={(0, 1): Plain(deep=[Plain(n=1)])}, kind=("a", b"b"))
    for value in (Plain(n=1, name="x"), slotted, Plain(inner=inner, rows=[[0] * 3 for _ in range(3)])):
        assert type(again(value)) is type(value)
    assert again(Plain(inner=inner)).inner.path[0, 1].deep[0].n == 1
    assert again([Plain(n=n) for n in range(3)])[2].n == 2


def test_what_occurs_twice_leads_back_or_is_more_than_data_does_not_come_back():
    shared = [1]
    loop = Plain(n=[1])
    loop.me = loop
    refused = {
        "a list that two attributes hold": Plain(one=shared, other=shared),
        "an object that leads to itself": loop,
        "a generator, which others may draw from": Plain(rng=random.Random(1), rows=[]),
        "a function": Plain(act=len, rows=[]),
        "an object that is nothing but itself": Plain(missing=Sentinel(), rows=[]),
        "more than 64 KiB": Plain(rows=[[n] for n in range(30_000)]),
    }
    for what, value in refused.items():
        assert type(again(value)) is Unrestored, what


def test_a_record_that_somebody_changed_gives_no_object():
    dumped = to_json(Plain(rows=[[1], [2]]), "/extra", reading=KEEPING)
    form = orjson.loads(dumped.json)
    form["content"]["rows"][1][0] = 3
    assert type(decode_value(form, dumped.types, "/extra")) is Unrestored
    form = {**orjson.loads(dumped.json), "class": "subprocess.Popen"}
    assert type(decode_value(form, dumped.types, "/extra")) is Unrestored
