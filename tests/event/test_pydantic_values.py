"""Models of pydantic come back as they were: fields, which of them were given, extra and private parts."""

import datetime

import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr, RootModel

from Agent.event.values.codecs import class_reducer
from Agent.event.values.values import Unrestored, decode_value, encode_value


class Item(BaseModel):
    name: str
    count: int = 1


class Order(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    items: list[Item]
    day: datetime.date | None = None
    _seen: int = PrivateAttr(default=0)


class Numbers(RootModel[list[int]]):
    pass


@pytest.mark.parametrize(
    "value",
    [
        Item(name="tea"),
        Item(name="tea", count=1),
        Item.model_construct(name="tea", count=1),
        Order(items=[Item(name="tea", count=2)], day=datetime.date(2026, 1, 2), note="soon"),
        Numbers([1, 2]),
    ],
)
def test_a_model_comes_back_as_it_was(value):
    encoded = encode_value(value)
    found = decode_value(encoded.value, encoded.types)
    assert type(found) is type(value)
    assert found == value
    assert found.model_fields_set == value.model_fields_set
    assert found.__pydantic_private__ == value.__pydantic_private__
    assert found.model_dump() == value.model_dump()


def test_no_validator_runs_and_a_plain_model_is_its_fields_alone():
    item = Item(name="tea", count=2)
    item.count = "not a number"
    encoded = encode_value(item)
    assert encoded.value == {"name": "tea", "count": "not a number"}
    assert encoded.types == {"": f"pydantic:{__name__}.Item"}
    assert decode_value(encoded.value, encoded.types).count == "not a number"


def test_only_a_loaded_model_of_that_name_is_made():
    for name in ("pydantic.main.BaseModel", f"{__name__}.Lost", "builtins.dict", f"{__name__}.datetime"):
        assert isinstance(decode_value({"name": "x"}, {"": f"pydantic:{name}"}), Unrestored)
    assert class_reducer(BaseModel) is None
