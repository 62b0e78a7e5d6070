"""Which events a command shows: by agent, level, kind, time, and by what a field holds.

`tail` and `journey` ask; the fields of an event are named as they stand in its line (`field_values`).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from Agent.cli.parameters import Since
from Agent.event.kinds import LEVELS
from Agent.event.model import ENVELOPE_KEYS, Event

F = TypeVar("F", bound=Callable[..., Any])

LEVEL_NAMES: Final = tuple(LEVELS)

_CONDITION: Final = re.compile(r"([^=~!<>\s][^=~!<>]*?)\s*(!=|!~|>=|<=|=|~|>|<)(.*)", re.DOTALL)
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_ENVELOPE: Final = frozenset(ENVELOPE_KEYS) - {"types"}


@dataclass(frozen=True, slots=True)
class FieldTest:
    """One condition on a field: `key=value`, `key!=value`, `key~regex`, `key!~regex`, `key>number` ..."""

    key: str
    sign: str
    value: str
    pattern: re.Pattern[str] | None = None

    def holds_for(self, event: Event) -> bool:
        """Whether it holds; a list holds what one of its values does, a missing field only `!=` and `!~`."""
        found = any(self._holds(value) for value in field_values(event, self.key))
        return not found if self.sign in {"!=", "!~"} else found

    def _holds(self, value: Any) -> bool:
        if self.sign in _COMPARE:
            number = _number(value)
            return number is not None and _COMPARE[self.sign](number, float(self.value))
        text = _text(value)
        if self.pattern is not None:
            return self.pattern.search(text) is not None
        if text == self.value:
            return True
        number = _number(value)
        # 1 and 1.0 are one number, whichever was recorded
        return number is not None and number == _number(self.value)


@dataclass(frozen=True, slots=True)
class Selection:
    """Everything that a command line asked of the events it wants; empty parts ask nothing."""

    agents: tuple[str, ...] = ()
    level: str | None = None
    kinds: tuple[str, ...] = ()
    fields: tuple[FieldTest, ...] = ()
    since: Since | None = None
    until: Since | None = None

    def __call__(self, event: Event) -> bool:
        """Whether the event is one of those asked for."""
        return (
            (not self.agents or event.agent_id in self.agents)
            and (self.level is None or event.severity >= LEVELS[self.level])
            and (not self.kinds or event.kind in self.kinds)
            and (self.since is None or self.since.reached_by(event))
            and (self.until is None or not self.until.passed_by(event))
            and all(test.holds_for(event) for test in self.fields)
        )

    @property
    def since_us(self) -> int | None:
        """The time from which on events are wanted, where one was named."""
        return None if self.since is None else self.since.timestamp_us

    @property
    def until_us(self) -> int | None:
        """The time before which events are wanted, where one was named."""
        return None if self.until is None else self.until.timestamp_us


def field_values(event: Event, key: str) -> Iterator[Any]:
    """The values of a field: a key of the envelope or of the payload, nested ones with dots.

    A key that holds dots itself is found as well; of a list each value is one.
    """
    parts = key.split(".")
    if key in {"event_type", "type"}:
        yield event.kind
    elif parts[0] in _ENVELOPE:
        value = getattr(event, parts[0])
        yield from _inside(list(value) if isinstance(value, tuple) else value, parts[1:])
    else:
        yield from _inside(event.extra, parts)


def _inside(value: Any, parts: list[str]) -> Iterator[Any]:
    if isinstance(value, list):
        if parts and parts[0].isdecimal():
            if int(parts[0]) < len(value):
                yield from _inside(value[int(parts[0])], parts[1:])
            return
        for each in value:
            yield from _inside(each, parts)
    elif not parts:
        yield value
    elif isinstance(value, Mapping):
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if name in value:
                yield from _inside(value[name], parts[end:])


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    import orjson

    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None  # no number: a condition that needs one says so


def parse_condition(text: str) -> FieldTest:
    """The condition that was written; ValueError, in one clause, if it is none."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a condition, write key=value, 'key~regex' or 'key>number'")
    key, sign, value = found[1], found[2], found[3]
    pattern = None
    if sign in {"~", "!~"}:
        try:
            pattern = re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{value!r} is not a regular expression: {error}") from None
    if sign in _COMPARE:
        number = _number(value)
        if number is None or number != number:
            raise ValueError(f"{value!r} is not a number; {key}{sign} needs one")
    return FieldTest(key, sign, value, pattern)


def conditions(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[FieldTest, ...]:
    """The callback of an option that takes conditions."""
    try:
        return tuple(parse_condition(value) for value in values)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


where_option = click.option(
    "--where",
    multiple=True,
    callback=conditions,
    metavar="CONDITION",
    help="Only events that match: key=value, 'key~regex', 'key>number' (also != !~ >= < <=). "
    "Nested keys are joined by dots; repeatable.",
)
