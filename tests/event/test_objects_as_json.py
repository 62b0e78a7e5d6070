"""Objects of plain classes as JSON and back: all of it or nothing."""

from __future__ import annotations

import array
import collections
import dataclasses
import functools
import io
import os
import random
import re
import subprocess
import types
from typing import Any, Generic, TypeVar

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Agent.event.values.content_digest import content_of
from Agent.event.values.reading import Reading
from Agent.event.values.values import Unrestored, decode_value, to_json

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


def test_what_occurs_twice_or_leads_back_comes_back_as_the_same_object():
    rows = [1]
    loop, child = Plain(n=[1]), Slotted()
    loop.children, child.left, child.right = [child], loop, rows
    for holder in (Plain(a=loop.n), types.SimpleNamespace(a=1)):
        # the first one's attributes are its content, and the second refers to that
        first, second = again([holder, types.SimpleNamespace(a=holder)])
        assert second.a is first
    pair = again(Plain(one=rows, other=rows))
    assert pair.one is pair.other
    made = again(loop)
    assert made.children[0].left is made
    first, second, held = again([loop, child, rows])
    assert first.children[0] is second
    assert second.right is held
    held, made, outer = again([rows, child, {"loop": loop}])
    assert made.right is held
    assert outer["loop"] is made.left
    cycle: list[Any] = [Plain(n=rows)]
    cycle.append(cycle)
    made = decode(to_json(cycle, "", reading=KEEPING))
    assert made[1] is made


def decode(dumped: Any) -> Any:
    return decode_value(orjson.loads(dumped.json), dumped.types)


def test_what_is_more_than_data_does_not_come_back():
    refused = {
        "a generator, which others may draw from": Plain(rng=random.Random(1), rows=[]),
        "an object that is nothing but itself": Plain(missing=object(), rows=[]),
        "a function that runs what it is given": Plain(act=exec, rows=[]),
        "a function of the standard library that does anything": functools.partial(os.system, "true"),
        "a class that starts programs": subprocess.Popen,
        "an iterator": Plain(left=iter([1])),
        "more than 64 KiB": Plain(rows=[[n] for n in range(30_000)]),
    }
    for what, value in refused.items():
        assert type(again(value)) is Unrestored, what


def test_a_recording_cannot_name_a_function_that_does_anything():
    dumped = to_json(functools.partial(len, [1]), "/extra", reading=KEEPING)
    pointer = next(at for at, tag in dumped.types.items() if tag == "builtin:builtins:len")
    tags = (
        "builtin:posix:system", "builtin:builtins:exec", "function:subprocess:run", "class:subprocess.Popen",
        "local:subprocess:run", "parts:subprocess.Popen", "object:subprocess.Popen", "named:os:environ",
    )  # fmt: skip
    for tag in tags:
        form = orjson.loads(dumped.json)
        missing: list[str] = []
        decode_value(form, {**dumped.types, pointer: tag}, "/extra", unrestored=missing)
        assert missing, tag


COUNT = 5


def greedy(x, more=1):
    return x + more


def counter(step):
    total = 0

    def add(n):
        nonlocal total
        total += n * step
        return total

    def told():
        return total

    return add, told


def test_functions_come_back_with_what_they_hold_and_none_of_their_code_from_the_recording():
    assert again(greedy) is greedy
    assert again(Plain(act=[greedy])).act[0] is greedy
    assert again(functools.partial(greedy, 2, more=3))() == 5
    assert again(Plain(n=[4]).__dict__["n"].copy)() == [4]
    add, told = again(counter(10))
    add(2)
    assert (add(1), told()) == (30, 30), "both close over one number"
    assert again(lambda x, y=[1]: (x, y, COUNT))(2) == (2, [1], COUNT)
    assert again(Slotted) is Slotted
    assert "code" not in orjson.loads(to_json(add.__code__, "", reading=KEEPING).json).get("content", {})


def test_an_object_that_its_module_names_is_that_object():
    assert again(NORTH) is NORTH
    assert again(Plain(to=[ANYWHERE])).to[0] is ANYWHERE


NORTH = Plain(x=0, y=1)
ANYWHERE = Sentinel()


class Failure(Exception):
    def __init__(self, detail):
        super().__init__("failed")
        self.detail = detail


VALUES = st.recursive(
    st.integers(-9, 9) | st.text(max_size=3) | st.none() | st.just(greedy) | st.just(NORTH),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.builds(lambda a: types.SimpleNamespace(a=a), inner)
        | st.builds(lambda a: Plain(a=a, again=a), inner)
        | st.builds(Failure, inner)
        | st.builds(lambda a: functools.partial(greedy, a), inner)
        | st.builds(lambda a: collections.UserList([a]), inner)
        | st.builds(lambda a: collections.ChainMap({"a": a}), inner)
        | st.builds(lambda a: lambda: a, inner)
        | st.builds(lambda a: np.array([a, None], dtype=object), inner)
        | st.builds(lambda a: types.MappingProxyType({"a": a}), inner)
    ),
    max_leaves=6,
)


@given(VALUES)
def test_whatever_comes_back_has_the_content_that_it_had(value):
    made = again(value)
    assert type(made) is not Unrestored
    assert content_of(made).text == content_of(value).text


Item = TypeVar("Item")


class Box(Generic[Item]):
    asked = 0

    def __init__(self, item):
        self.item = item

    def __class_getitem__(cls, item):
        cls.asked += 1
        return super().__class_getitem__(item)


@dataclasses.dataclass
class Parcel(Generic[Item]):
    item: object


@pytest.mark.parametrize(
    "value", [Box[int](1), Parcel[str]("a"), Box[list[int]]([1]), Box[Box[int]](Box[int](2)), [Box[Plain]]]
)
def test_objects_of_generic_classes_with_arguments_come_back(value):
    asked = Box.asked
    made = again(value)
    assert type(made) is type(value)
    assert content_of(made).text == content_of(value).text
    assert getattr(made, "__orig_class__", made) == getattr(value, "__orig_class__", value)
    assert Box.asked == asked


def test_numbers_and_tables_of_libraries_come_back():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [0.5, 1.5], "c": ["x", "y"]}, index=[4, 5])
    values = [
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]), np.ma.masked_array([1, 2], mask=[0, 1]),
        np.bytes_(b"raw"), array.array("d", [0.5]), io.StringIO("text"), re.compile("a+", re.IGNORECASE),
        pandas.Timestamp("2026-01-01 10:00:00.000000001", tz="Asia/Tokyo"), pandas.Timedelta(seconds=3),
        pandas.Period("2026-01", "M"), pandas.Interval(0, 2), pandas.NA, pandas.Series([1, 2], name="x"),
        pandas.RangeIndex(4), pandas.Categorical(["a"], categories=["a", "b"]), frame,
    ]  # fmt: skip
    for value in values:
        made = again(value)
        assert type(made) is type(value), value
        assert content_of(made).text == content_of(value).text, value


def test_tables_that_operations_made_come_back():
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2026-01-01", periods=3)
    sales = pandas.DataFrame({"day": days, "shop": ["x", "y", "x"], "sum": [1.0, 2.0, 3.0], "due": days})
    texts = pandas.Series(["a", "b", "a", None])
    values = [
        sales, sales.assign(day=sales.day.dt.tz_localize("UTC")), sales.iloc[[0, 2]], sales.describe(), sales.T,
        sales.groupby("shop")[["sum"]].mean(), sales.set_index(["shop", "sum"]),
        sales.pivot_table(index="day", columns="shop", values="sum"), sales.set_index("day")["sum"].resample("2D").sum(),
        sales.day - sales.day.min(), texts.astype("category"), texts.value_counts(), texts[1:3], texts.str.upper(),
        pandas.concat([texts, texts]), pandas.DataFrame(columns=["a", "b"]), pandas.DataFrame(),
    ]  # fmt: skip
    for value in values:
        made = again(value)
        assert type(made) is type(value), value
        assert content_of(made).text == content_of(value).text, value


def test_the_content_of_texts_of_arrow_is_theirs_alone():
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    texts = pandas.Series(["a", "b", "c"], dtype="str")
    same = [texts[1:].reset_index(drop=True), pandas.concat([texts[1:2], texts[2:]], ignore_index=True)]
    assert {content_of(each.array).text for each in same} == {
        content_of(pandas.Series(["b", "c"], dtype="str").array).text
    }
    others = [["b", "d"], ["b"], ["b", None], ["c", "b"]]
    found = {content_of(pandas.Series(each, dtype="str").array).text for each in (*others, ["b", "c"])}
    assert len(found) == len(others) + 1


def test_a_record_that_somebody_changed_gives_no_object():
    dumped = to_json(Plain(rows=[[1], [2]]), "/extra", reading=KEEPING)
    form = orjson.loads(dumped.json)
    form["content"]["rows"][1][0] = 3
    assert type(decode_value(form, dumped.types, "/extra")) is Unrestored
    form = {**orjson.loads(dumped.json), "class": "subprocess.Popen"}
    assert type(decode_value(form, dumped.types, "/extra")) is Unrestored
