"""Format events as lines for people, and select the events that a command shows.

Events are selected by agent, level, kind, time and conditions on fields; fields are named as in the event's
line (`field_values`).
"""

from __future__ import annotations

import operator
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final

import click

from Agent.cli.parameters import Since
from Agent.cli.render import LEVEL_STYLES, clean, paint
from Agent.event.kinds import LEVELS
from Agent.event.model import ENVELOPE_KEYS, Event
from Agent.event.values.plain import number_in
from Agent.render.layout import clip, describe, display_width

AGENT_COLOURS = (32, 37, 64, 67, 71, 98, 103, 106, 131, 133, 136, 139, 166, 169, 172, 31, 65, 97, 130, 161)


_NARROW: Final = 64


def event_line(event: Event, *, width: int | None, with_agent: bool = True) -> str:
    """One event as `time tick level agent message details`, at most `width` columns wide.

    In fewer than 64 columns, the tick, the milliseconds and all but the first letter of the level are left
    out; in fewer than 32, the agent, too.
    """
    tick = "" if event.tick is None else f"t{event.tick}"
    head = "  ".join([event.timestamp[11:23], tick.rjust(5), clean(event.level)[:8].ljust(8)])
    columns = 16
    if width is not None and width < _NARROW:
        head, columns = f"{event.timestamp[11:19]} {clean(event.level)[:1]}", 10
        with_agent = with_agent and width >= _NARROW // 2
    who = ""
    if with_agent:
        name = clip(clean(event.agent_id or event.logger or "-"), columns)
        who = "  " + name + " " * (columns - display_width(name))
    message = clean(event.message or event.kind)
    details = describe(event)
    if width is not None:
        before = len(head) + (columns + 2) * with_agent
        message = clip(message, max(width - before - 2, 1))
        taken = before + display_width(message)
        details = clip(details, max(width - taken - 4, 0))
    style = LEVEL_STYLES.get(event.level, {})
    name_style = {"fg": _colour_of(event.agent_id)} if event.agent_id else style or {"dim": True}
    line = f"{paint(head, **(style or {'dim': True}))}{paint(who, **name_style)}  {paint(message, **style)}"
    return f"{line}  {paint(details, dim=True)}" if details.strip("…") else line


@lru_cache(maxsize=4096)
def _colour_of(agent_id: str) -> int:
    """The agent's fixed colour, one of the 256 colours that is readable on dark and light backgrounds."""
    return AGENT_COLOURS[zlib.crc32(agent_id.encode("utf-8", "surrogatepass")) % len(AGENT_COLOURS)]


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
        """Whether it holds: in a list for one item (!= and !~: all), without the field only for != and !~."""
        is_met = any(self._holds(value) for value in field_values(event, self.key))
        return not is_met if self.sign in {"!=", "!~"} else is_met

    def _holds(self, value: Any) -> bool:
        if self.sign in _COMPARE:
            number = number_in(value)
            return number is not None and _COMPARE[self.sign](number, float(self.value))
        text = _value_text(value)
        if self.pattern is not None:
            return self.pattern.search(text) is not None
        if text == self.value:
            return True
        number = number_in(value)
        # compare as numbers, since 1 may have been recorded as 1.0
        return number is not None and number == number_in(self.value)


@dataclass(frozen=True, slots=True)
class Selection:
    """The conditions on events from a command line; empty ones match everything."""

    agents: tuple[str, ...] = ()
    level: str | None = None
    kinds: tuple[str, ...] = ()
    fields: tuple[FieldTest, ...] = ()
    since: Since | None = None
    until: Since | None = None

    def __call__(self, event: Event) -> bool:
        """Whether the event matches."""
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
        """The requested start time, if one was given."""
        return None if self.since is None else self.since.timestamp_us

    @property
    def until_us(self) -> int | None:
        """The requested end time (exclusive), if one was given."""
        return None if self.until is None else self.until.timestamp_us


def field_values(event: Event, key: str) -> Iterator[Any]:
    """The values of a field: a key of the envelope or of the payload, nested ones with dots.

    A key that contains dots is found as well; a list gives each of its items.
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


def _value_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    import orjson

    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def parse_condition(text: str) -> FieldTest:
    """Parse a condition; ValueError with a one-clause message if it is invalid."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a condition, write key=value, 'key~regex' or 'key>number'")
    key, sign, value = match[1], match[2], match[3]
    pattern = None
    if sign in {"~", "!~"}:
        try:
            pattern = re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{value!r} is not a regular expression: {error}") from None
    if sign in _COMPARE:
        number = number_in(value)
        if number is None or number != number:
            raise ValueError(f"{value!r} is not a number; {key}{sign} needs one")
    return FieldTest(key, sign, value, pattern)


def conditions(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[FieldTest, ...]:
    """The click callback of an option that takes conditions."""
    try:
        return tuple(parse_condition(value) for value in values)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


Where = Annotated[
    tuple[FieldTest, ...],
    "--where CONDITION",
    "Only events that match: key=value, 'key~regex', 'key>number' (also != !~ >= < <=). "
    "Nested keys are joined by dots; repeatable.",
    {"callback": conditions},
]
