"""Things that a text names though they are no agents: an order, a document, a batch, by name and number.

Who complains knows the thing that went wrong: "book 30 was never finished". What happened to it stands in the
events that name it, in whichever form: book_030, "book": 30, book-id 30.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

import re
from itertools import pairwise
from typing import Final, NamedTuple

from Agent.analysis.debug.question.numbered_agents import BEFORE_AMOUNTS, bare
from Agent.analysis.query.engine import Engine

__all__ = ["Naming", "Things", "events_naming", "things_in"]

Things = tuple[tuple[str, ...], ...]
"""Names with a number, each as its words and numbers."""

MAX_NAME: Final = 100
MAX_NAMED: Final = 5_000
"""Of what more events name, naming it says little."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9][\w.:#/-]*[A-Za-z0-9]|[A-Za-z0-9]", re.ASCII)
_PART: Final = re.compile(r"[a-z]+|[0-9]+")
_MAX_THINGS: Final = 3
# between the parts of a name, and between a key and its value: "order_id": 37
_BETWEEN: Final = r"[^a-z0-9]{0,4}(?:(?:id|no|nr|num|number)[^a-z0-9]{1,4})?"


class Naming(NamedTuple):
    """An event that names a thing: its place in the recording, and when it was."""

    writer: str
    seq: int
    tick: int | None
    ts_us: int

    @property
    def id(self) -> str:
        """The event's id."""
        return f"{self.writer}-{self.seq}"


def things_in(text: str) -> Things:
    """The names with a number in a text, each as its words and numbers, at most three: ("book", "30").

    A bare number counts with the word before it. What the session does not know does no harm.
    """
    tokens = _TOKEN.findall(text)
    names = [token for token in tokens if not token.isdigit()]
    names += [f"{word} {number}" for word, number in pairwise(tokens) if number.isdigit()]
    found: dict[tuple[str, ...], None] = {}
    for name in names:
        words = _PART.findall(name.lower())
        if len(name) > MAX_NAME or not words or bare(words[0]) in BEFORE_AMOUNTS:
            continue
        parts = tuple((word.lstrip("0") or "0") if word.isdigit() else word for word in words)
        if any(map(str.isdigit, parts)) and not all(map(str.isdigit, parts)) and len("".join(parts)) > 2:
            found[parts] = None
    return tuple(found)[:_MAX_THINGS]


def pattern_of(thing: tuple[str, ...]) -> str:
    """A regular expression for all forms of a name in lower case, in the syntax that RE2 and Python share."""
    parts = [f"0*{part}" if part.isdigit() else part for part in thing]
    return f"(^|[^a-z0-9]){_BETWEEN.join(parts)}([^a-z0-9]|$)"


def events_naming(engine: Engine, lines: str, things: Things) -> tuple[Naming, ...]:
    """The events that name any of some things, in no order; none where they are too many to say much."""
    if not things:
        return ()
    rows = engine.rows(
        f"SELECT writer, seq, tick, ts_us FROM {lines} WHERE event_type <> 'code' AND "
        f"regexp_matches(lower(concat_ws(' ', message, extra::VARCHAR)), $1) LIMIT {MAX_NAMED + 1}",
        ["|".join(map(pattern_of, things))],
    )
    return () if len(rows) > MAX_NAMED else tuple(Naming(**row) for row in rows)
