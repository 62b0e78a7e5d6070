"""What stands on disk is hostile: tags of any kind on values of any shape, and names of any class."""

from __future__ import annotations

import subprocess
import sys
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapes import Colour
from strategies import json_values

from Agent.event.values.values import Unrestored, decode_value, encode_value


@pytest.mark.process
def test_class_named_on_disk_is_never_imported():
    code = (
        "import sys\n"
        "from Agent.event.values.values import decode_value, Unrestored\n"
        "for tag in ('enum:antigravity.Colour', 'dataclass:this.Zen', 'subclass:colorsys.X', 'registered:wave.W'):\n"
        "    assert isinstance(decode_value({}, {'': tag}), Unrestored), tag\n"
        "assert not {'antigravity', 'this', 'colorsys', 'wave'} & set(sys.modules)\n"
        "for tag in ('ndarray:<f8', 'numpy:float64', 'numpy.Generator'):\n"
        "    assert isinstance(decode_value({}, {'': tag}), Unrestored), tag\n"
        "assert 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_module_attribute_hook_is_not_woken_by_a_name_from_disk():
    module = types.ModuleType("lazy_module_of_this_test")
    woken = []
    module.__getattr__ = woken.append
    sys.modules[module.__name__] = module
    try:
        assert isinstance(decode_value([], {"": f"dataclass:{module.__name__}.Thing"}), Unrestored)
    finally:
        del sys.modules[module.__name__]
    assert woken == []


@pytest.mark.parametrize(
    "tag",
    [
        "dataclass:shapes.Colour",
        "enum:shapes.Point",
        "namedtuple:shapes.Point",
        "subclass:shapes.Point",
        "dataclass:os.system",
        "enum:subprocess.Popen",
        "dataclass:builtins.dict",
    ],
)
def test_class_of_another_sort_is_refused(tag):
    assert decode_value({"x": 1}, {"": tag}) == Unrestored(tag, {"x": 1})


def test_class_under_an_alias_of_its_name_is_refused():
    alias = f"{__name__}.Colour"
    assert vars(sys.modules[__name__])["Colour"] is Colour
    assert isinstance(decode_value("RED", {"": f"enum:{alias}"}), Unrestored)
    assert decode_value("RED", {"": f"enum:{alias}"}, codecs={alias: Colour}) is Colour.RED
    assert decode_value("RED", {"": "enum:shapes.Colour"}) is Colour.RED


_TAGS = """
tuple set frozenset bytes bytearray datetime date
time timedelta uuid decimal complex path deque
deque:2 deque:-1 deque:x range slice float int
str map OrderedDict Counter defaultdict:list defaultdict:None defaultdict:x
enum:shapes.Colour enum:shapes.Access dataclass:shapes.Point dataclass:shapes.Frozen pydantic:shapes.Point pydantic:pydantic.main.BaseModel namedtuple:shapes.Pair subclass:shapes.Rows subclass:shapes.Name
subclass:shapes.Settings numpy:float64 numpy:ndarray numpy:datetime64[s] numpy:complex128 numpy:void ndarray:<f8
ndarray:|O ndarray:<M8[s] random.Random numpy.Generator numpy.RandomState registered:x agent
opaque truncated nothing nothing:x : dataclass: path:PosixPath
path:WindowsPath path:os numpy: ndarray: subclass:builtins.list enum:enum.Enum
""".split()


@given(
    json_values,
    st.lists(
        st.tuples(
            st.sampled_from(["", "/0", "/1", "/0/0", "/0/1", "/a", "/value", "x"]), st.sampled_from(_TAGS)
        ),
        max_size=4,
    ),
)
def test_wrong_shapes_for_a_tag_never_raise(value, tags):
    decode_value(value, dict(tags))


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        (None, "tuple"),
        ({"a": 1}, "set"),
        ([1, 1], "set"),
        ([[]], "set"),
        ([[[], 1]], "map"),
        ("====", "bytes"),
        ("2026-13-01", "datetime"),
        ({"iso": "2026-01-01T00:00:00", "zone": "../../etc/passwd"}, "datetime"),
        ({"iso": "2026-01-01T00:00:00", "zone": "No/Where"}, "datetime"),
        ([10**30, 0, 0], "timedelta"),
        ("1" * 100_000, "int"),
        ("0x", "int"),
        (True, "numpy:float64"),
        ({"shape": [2, 2], "data": [1.0]}, "ndarray:<f8"),
        ({"shape": [-1], "data": [1.0]}, "ndarray:<f8"),
        ({"shape": [9999], "data": ["x"] * 9999}, "ndarray:<U9999"),
        (5, "numpy:str_"),
        ([3, [1, 2], None], "random.Random"),
        ({"y": 1, "z": 2}, "namedtuple:shapes.Pair"),
        ({"nope": 1}, "dataclass:shapes.Frozen"),
        (["READ", "NOPE"], "enum:shapes.Access"),
        ("\\x", "str"),
    ],
)
def test_wrong_shape_gives_unrestored_with_what_was_recorded(value, tag):
    assert decode_value(value, {"": tag}) == Unrestored(tag, value)


@pytest.mark.parametrize("position", [-1, 625, 10**9])
def test_generator_state_that_would_be_read_outside_its_buffer_is_refused(position):
    encoded = encode_value(np.random.Generator(np.random.MT19937(1)))
    encoded.value["state"]["state"]["pos"] = position
    assert isinstance(decode_value(encoded.value, encoded.types), Unrestored)


def test_deep_json_from_disk_is_decoded_without_recursion():
    value = [1]
    for _ in range(100_000):
        value = [value]
    assert decode_value(value, {"/0/0": "tuple"})[0][0].__class__ is tuple


def test_pointers_that_lead_nowhere_are_told():
    missing: list[str] = []
    assert decode_value({"a": [1]}, {"/a/7": "tuple", "/b/c": "set", "/a/00": "set"}, unrestored=missing) == {
        "a": [1]
    }
    assert sorted(missing) == ["/a/00", "/a/7", "/b/c"]


def test_what_was_not_restored_is_told():
    missing: list[str] = []
    decode_value([1, 2], {"/0": "opaque", "/1": "enum:no.Where"}, unrestored=missing)
    assert sorted(missing) == ["/0", "/1"]


def test_decoded_value_shares_nothing_with_the_record():
    recorded = {"a": [1, {"b": 2}]}
    decode_value(recorded, None)["a"][1]["b"] = 3
    decode_value(recorded, {"/a": "tuple"})["a"][1]["b"] = 3
    assert recorded == {"a": [1, {"b": 2}]}
