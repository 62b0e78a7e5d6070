"""The settings for reading a value: limits on its size, its secret parts, and the agent that has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, TypeAlias

# Limits on one value, used by the walk to cut and by `to_json` to skip the check.
#
# A limit protects the program that is being recorded, so each is a maximum cost of one call.


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one captured value; what exceeds them is cut, tagged `truncated` and listed as opaque.

    The defaults keep what replay can use and stay far below the limits of readers: 131,072 characters hold a
    prompt of about 32,000 tokens; 1 MiB per value keeps a line with arguments, result and state well below
    the 16 MiB at which DuckDB rejects a JSON object; 50,000 items cost some tens of milliseconds in the
    slowest case; 64 levels leave room below orjson's limit of 254 after tags have been written out.
    """

    max_string_chars: int = 131_072
    """Maximum length of a string, or of bytes in base64, that is kept whole."""
    max_bytes: int = 1_048_576
    """Maximum length of one value's JSON, including its tags."""
    max_items: int = 50_000
    """Maximum number of values at all depths."""
    max_depth: int = 64
    """Maximum number of nested containers."""
    max_repeats: int = 50_000
    """Maximum number of repeated containers; a value with more is cut by the usual limits."""
    head_chars: int = 4_096
    """Length kept of a cut string for readers; it cannot be restored, so a long head is of little use."""
    unread_bytes: int = field(init=False)
    """Plain values with JSON up to this length are within all limits and need no check."""

    def __post_init__(self) -> None:
        if self.max_bytes < 1024 or self.max_items < 16 or not 1 <= self.max_depth <= 120:
            raise ValueError("limits need max_bytes >= 1024, max_items >= 16, 1 <= max_depth <= 120")
        if self.max_string_chars < 16 or self.head_chars < 0:
            raise ValueError("limits need max_string_chars >= 16 and head_chars >= 0")
        # n values take at least 2 n - 1 bytes of JSON, a string of n characters at least n + 2.
        unread = min(self.max_bytes, self.max_string_chars, 2 * self.max_items - 1)
        object.__setattr__(self, "unread_bytes", unread)

    def usual(self) -> Limits:
        """Return these limits with at most the default numbers of bytes and items."""
        return replace(
            self,
            max_bytes=min(self.max_bytes, DEFAULT_LIMITS.max_bytes),
            max_items=min(self.max_items, DEFAULT_LIMITS.max_items),
        )


DEFAULT_LIMITS = Limits()


class Hides(Protocol):
    """Decides which parts of a value are secret; `Redactor` implements it."""

    def is_denied(self, key: str) -> bool:
        """Whether values under this name are secret."""

    def text(self, text: str) -> str:
        """Return the text with every secret replaced."""

    def is_harmless(self, names: Iterable[str], raw: bytes) -> bool:
        """Whether the names (all known) and the JSON hold no secret; False means: check in detail."""


NO_SECRETS = ("", None, True, False)
"""Values that are not secret under any name."""


def is_secret(name: Any, value: Any, hides: Hides) -> bool:
    """Return whether a scalar, or one of a tuple, is a secret by its name or by its text."""
    if type(name) is str and hides.is_denied(name) and value not in NO_SECRETS:
        return True
    texts = value if type(value) is tuple else (value,)
    return any(type(each) is str and hides.text(each) != each for each in texts)


AgentOf: TypeAlias = Callable[[object], "str | int | None"]
"""Returns the id of an object that is an agent, None for other objects."""


class Places:
    """The positions of objects in the fields of an agent.

    The content of an object counts in the field that holds it; in other fields the object counts as the name
    of that field. So a function that uses `self.env` does not change with each change of the environment.

    A member of a list, tuple or mapping in a field counts there too. Other fields refer to it only if they
    lead to much, so that a graph reached from many fields is not walked from each.
    """

    __slots__ = ("_fields", "_members", "_names", "nodes")

    def __init__(self, fields: Mapping[str, Any] | None = None) -> None:
        self.nodes = 0
        """How many values were visited for digests of what these fields hold."""
        self._fields: Mapping[str, Any] = fields or {}
        self._names: dict[int, str] | None = None
        self._members: dict[int, tuple[str, int]] | None = None

    def begin(self, fields: Mapping[str, Any]) -> None:
        """Store the current fields; they are held until the next call."""
        self._fields = fields
        self._names = self._members = None

    def end(self) -> None:
        """Release the fields."""
        self.begin({})

    def field_of(self, value: object) -> str | None:
        """Return the name of the first field that holds that very object, or None."""
        if self._names is None:
            self._names = {id(held): name for name, held in reversed(list(self._fields.items()))}
        return self._names.get(id(value))

    def member_of(self, value: object) -> tuple[str, int] | None:
        """Return the first field with that very object as a member, and its position, or None."""
        if self._members is None:
            self._members = {}
            for name, container in self._fields.items():
                if type(container) in _OF_MEMBERS and len(container) <= _MOST_MEMBERS:
                    members = list(container.values()) if type(container) is dict else list(container)
                    for position, member in enumerate(members):
                        self._members.setdefault(id(member), (name, position))
        return self._members.get(id(value))


_OF_MEMBERS = frozenset({list, tuple, dict})
_MOST_MEMBERS = 10_000


class Reading(NamedTuple):
    """The settings for reading content."""

    hides: Hides | None = None
    """Finds secrets, which are left out."""
    owner: str | None = None
    """The agent whose field the value is."""
    most_with_agents: int | None = None
    """A value of more nodes that leads to an agent other than `owner` is an environment, so a reference."""
    is_of_names: bool = False
    """The value is a mapping of names, such as fields: each name has a separate value."""
    places: Places | None = None
    """Positions of the objects in the agent's other fields."""
    keeps_content: bool = False
    """Record all that objects of plain classes hold, so that a replay can restore them."""
    shows_references: bool = True
    """Show the plain attributes of objects that are recorded as references. They are not compared."""


USUAL = Reading()


class Named(NamedTuple):
    """Replaces a value that is always recorded as a reference."""

    value: object
    reference: str
