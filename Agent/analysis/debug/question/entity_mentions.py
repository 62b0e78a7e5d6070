"""Named things in a text that are not agents: an order, a document, a batch, by name and number.

A complaint often names the thing that went wrong: "book 30 was never finished". The events that name it say
what happened to it, in any notation: book_030, "book": 30, book-id 30.
"""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

import re
from collections.abc import Collection
from itertools import pairwise
from typing import Final, NamedTuple

from Agent.analysis.debug.question.numbered_agents import BEFORE_AMOUNTS, bare
from Agent.analysis.query.engine import Engine

Things = tuple[tuple[str, ...], ...]
"""Numbered names, each split into words and numbers."""

MAX_NAME: Final = 100
MAX_NAMED: Final = 5_000
"""If more events than this name the things, the match says little and is dropped."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9][\w.:#/-]*[A-Za-z0-9]|[A-Za-z0-9]", re.ASCII)
_PART: Final = re.compile(r"[a-z]+|[0-9]+")
_MAX_THINGS: Final = 3
# Allowed between the parts of a name, and between a key and its value: "order_id": 37
_BETWEEN: Final = r"[^a-z0-9]{0,4}(?:(?:id|no|nr|num|number)[^a-z0-9]{1,4})?"


class Naming(NamedTuple):
    """An event that names a thing: its position in the recording and its time."""

    writer: str
    seq: int
    tick: int | None
    ts_us: int

    @property
    def id(self) -> str:
        """The event's id."""
        return f"{self.writer}-{self.seq}"


def things_in(text: str) -> Things:
    """Return the numbered names in a text, at most three, split into words and numbers: ("book", "30").

    A bare number is joined with the word before it. Names that the session does not contain are harmless.
    """
    tokens = _TOKEN.findall(text)
    names = [token for token in tokens if not token.isdigit()]
    names += [f"{word} {number}" for word, number in pairwise(tokens) if number.isdigit()]
    found: dict[tuple[str, ...], None] = {}
    for name in names:
        words = _PART.findall(name.lower())
        if len(name) > MAX_NAME or not words or bare(words[0]) in BEFORE_AMOUNTS:
            continue
        parts = parts_of(name)
        if any(map(str.isdigit, parts)) and not all(map(str.isdigit, parts)) and len("".join(parts)) > 2:
            found[parts] = None
    return tuple(found)[:_MAX_THINGS]


def pattern_of(thing: tuple[str, ...]) -> str:
    """Return a lower-case regular expression for all notations of a name, valid in RE2 and Python."""
    parts = [f"0*{part}" if part.isdigit() else part for part in thing]
    return f"(^|[^a-z0-9]){_BETWEEN.join(parts)}([^a-z0-9]|$)"


def events_naming(
    engine: Engine, lines: str, things: Things, most: int = MAX_NAMED + 1
) -> tuple[Naming, ...]:
    """Return the events that name any of some things, by writer; none if there are too many to be useful."""
    if not things:
        return ()
    rows = engine.rows(
        f"SELECT writer, seq, tick, ts_us FROM {lines} WHERE event_type <> 'code' AND "
        f"regexp_matches(lower(concat_ws(' ', message, extra::VARCHAR)), $1) "
        f"ORDER BY writer, seq LIMIT {most}",
        ["|".join(map(pattern_of, things))],
    )
    return () if len(rows) > MAX_NAMED else tuple(Naming(**row) for row in rows)


def absent(engine: Engine, lines: str, text: str, things: Things, names: Collection[str]) -> list[str]:
    """Return the names in a text that no event has, although the session has others with other numbers.

    Args:
        engine, lines: as for `events_naming`.
        text: the issue.
        things: the numbered names in it.
        names: agents, and values of events.
    """
    if not things:
        return []
    known = set(map(parts_of, names))
    shapes = {_shape(parts) for parts in known}
    found = []
    for thing in things:
        said = re.search(pattern_of(thing), text.lower())
        if (
            said
            and thing not in known
            and _shape(thing) in shapes
            and not events_naming(engine, lines, (thing,), most=1)
        ):
            found.append(text[said.start() : said.end()].strip(" \t\n,;:.!?'\"()[]"))
    return found


def parts_of(name: str) -> tuple[str, ...]:
    """Split a name into words and numbers at any separator: ("creator", "7")."""
    words = _PART.findall(name.lower())
    return tuple((word.lstrip("0") or "0") if word.isdigit() else word for word in words)


def _shape(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("#" if part.isdigit() else part for part in parts)
