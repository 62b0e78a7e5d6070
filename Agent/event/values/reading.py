"""How a value is read: how much of it is kept, what is a secret, and whose field it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, TypeAlias

# How much of one value is kept: the bounds that the walk cuts at and `to_json` lets pass unread.
#
# A bound protects the program that is being recorded, so each is a cost that one call may have, not a
# taste.


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one captured value; what lies beyond is cut, tagged `truncated` and listed as opaque.

    The defaults keep what replay can use and stay far from what readers choke on: 131,072 characters hold a
    prompt of about 32,000 tokens; 1 MiB a value keeps a line with arguments, result and state well below the
    16 MiB at which DuckDB refuses a JSON object; 50,000 items cost some tens of milliseconds in the slowest
    case; 64 levels leave room below orjson's limit of 254 after tags have been written out.
    """

    max_string_chars: int = 131_072
    """Longest string, or base64 text of bytes, that is kept whole."""
    max_bytes: int = 1_048_576
    """Longest JSON text of one value, its tags included."""
    max_items: int = 50_000
    """Most values of all depths together."""
    max_depth: int = 64
    """Most containers around a value."""
    max_repeats: int = 50_000
    """Most containers that were met before; a value with more is cut by the usual bounds."""
    head_chars: int = 4_096
    """How much of a cut string is kept for people; it cannot be restored, so a long head buys little."""
    unread_bytes: int = field(init=False)
    """JSON of plain values up to this length cannot break any bound, so nobody has to look."""

    def __post_init__(self) -> None:
        if self.max_bytes < 1024 or self.max_items < 16 or not 1 <= self.max_depth <= 120:
            raise ValueError("limits need max_bytes >= 1024, max_items >= 16, 1 <= max_depth <= 120")
        if self.max_string_chars < 16 or self.head_chars < 0:
            raise ValueError("limits need max_string_chars >= 16 and head_chars >= 0")
        # n values take at least 2 n - 1 bytes of JSON, a string of n characters at least n + 2.
        unread = min(self.max_bytes, self.max_string_chars, 2 * self.max_items - 1)
        object.__setattr__(self, "unread_bytes", unread)

    def usual(self) -> Limits:
        """The same, with no more bytes and items than are usual."""
        return replace(
            self,
            max_bytes=min(self.max_bytes, DEFAULT_LIMITS.max_bytes),
            max_items=min(self.max_items, DEFAULT_LIMITS.max_items),
        )


DEFAULT_LIMITS = Limits()


class Hides(Protocol):
    """Says what of a value is a secret; `Redactor` is one."""

    def is_denied(self, key: str) -> bool:
        """Whether what stands under this name is a secret."""

    def text(self, text: str) -> str:
        """The text with every secret in it replaced."""

    def is_harmless(self, names: Iterable[str], raw: bytes) -> bool:
        """Whether neither the names, all known, nor the JSON can hold a secret; False means: look closely."""


AgentOf: TypeAlias = Callable[[object], "str | int | None"]
"""The id of the agent that an object is, None for other objects."""


class Places:
    """The fields of an agent by the objects that stand in them.

    What an object holds counts in the field where it stands; in other fields it counts as the name of that
    one. So a function that uses `self.env` does not change whenever the environment does.

    A member of a list, tuple or mapping that is a field counts there, too. Other fields name it only where
    they lead to much, so that a graph to which many fields lead is not walked over from each.
    """

    __slots__ = ("_fields", "_members", "_names")

    def __init__(self, fields: Mapping[str, Any] | None = None) -> None:
        self._fields: Mapping[str, Any] = fields or {}
        self._names: dict[int, str] | None = None
        self._members: dict[int, tuple[str, int]] | None = None

    def begin(self, fields: Mapping[str, Any]) -> None:
        """Take in the fields as they are now; they are held until the next time."""
        self._fields = fields
        self._names = self._members = None

    def end(self) -> None:
        """Hold nothing any more."""
        self.begin({})

    def field_of(self, value: object) -> str | None:
        """The name of the first field in which that very object stands, None where it stands in none."""
        if self._names is None:
            self._names = {id(held): name for name, held in reversed(list(self._fields.items()))}
        return self._names.get(id(value))

    def member_of(self, value: object) -> tuple[str, int] | None:
        """The first field of which that very object is a member, and its position; None where none has it."""
        if self._members is None:
            self._members = {}
            for name, held in self._fields.items():
                if type(held) in _OF_MEMBERS and len(held) <= _MOST_MEMBERS:
                    members = list(held.values()) if type(held) is dict else list(held)
                    for position, member in enumerate(members):
                        self._members.setdefault(id(member), (name, position))
        return self._members.get(id(value))


_OF_MEMBERS = frozenset({list, tuple, dict})
_MOST_MEMBERS = 10_000


class Reading(NamedTuple):
    """How content is read."""

    hides: Hides | None = None
    """What is a secret takes no part."""
    owner: str | None = None
    """The agent whose field the value is."""
    most_with_agents: int | None = None
    """A value of more nodes that leads to an agent other than `owner` is where agents live: a reference."""
    is_of_names: bool = False
    """The value is a mapping of names, such as fields: what stands under each is a value of its own."""
    places: Places | None = None
    """Where the objects in the agent's other fields stand."""
    keeps_content: bool = False
    """Objects of plain classes are written with all that they hold, so that a replay can make them again."""


USUAL = Reading()


class Named(NamedTuple):
    """Stands in the place of a value that is recorded as a reference, whatever it holds."""

    value: object
    reference: str
