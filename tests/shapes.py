"""Classes of the shapes that users write, for values that are recorded and come back."""

from __future__ import annotations

import dataclasses
import enum
import typing


class Colour(enum.Enum):
    RED = 1
    GREEN = "green"
    CRIMSON = 1  # noqa: PIE796 - an alias of RED


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mode(enum.StrEnum):
    FAST = "fast"


class Access(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


@dataclasses.dataclass
class Point:
    x: typing.Any
    y: typing.Any = 0
    cache: typing.Any = dataclasses.field(init=False, default=None)

    def __post_init__(self):
        self.cache = "set by __post_init__"


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    name: typing.Any
    parts: typing.Any = ()


class Pair(typing.NamedTuple):
    left: typing.Any
    right: typing.Any = None


class Name(str):
    pass


class Count(int):
    pass


class Ratio(float):
    pass


class Rows(list):
    def __iter__(self):
        raise RuntimeError("not this way")


class Key(tuple):
    def __new__(cls, *parts):
        return tuple.__new__(cls, parts)


class Settings(dict):
    def __init__(self, **values):
        super().__init__(values)

    def items(self):
        raise RuntimeError("not this way")


class Tags(set):
    pass


class FrozenTags(frozenset):
    pass


SUBCLASSES = (Name, Count, Ratio, Rows, Key, Settings, Tags, FrozenTags)
