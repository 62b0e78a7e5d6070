"""How the content of a value is read: what is a secret, whose field it is, and what stands elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

__all__ = ["USUAL", "AgentOf", "Hides", "Named", "Places", "Reading"]


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
