"""The pieces of a generated line: what it says, as SQL expressions that put its text together.

`slots` says with them what each slot of an agent's tick holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from Agent.archive.sealed.parquet_rows import TIME_TEXT

from .plan import Plan

__all__ = ["TOPIC", "Said", "cases", "line_of", "quoted", "span_id", "text", "topic"]

_TIME: Final = TIME_TEXT.replace("ts_us", "us")


def topic(agent: str, tick: str) -> str:
    """What an agent is at in a tick."""
    return f"(['ai', 'food', 'music', 'sports', 'travel', 'science'])[(({agent}) * 5 + ({tick}) * 3) % 6 + 1]"


TOPIC: Final = topic("a", "t")


@dataclass(frozen=True, slots=True)
class Said:
    """What a line says; the values are SQL expressions that give JSON text, `when` one that gives a truth."""

    when: str
    kind: str
    message: str
    payload: str = "''"
    level: str = "INFO"
    logger: str = "agent"
    span: str = ""
    parent: str = ""
    causes: str = ""
    tail: str = ""
    reward: str = ""
    category: str = ""
    name: str = ""
    """The action or the type of error, for the truth."""


def text(*parts: str) -> str:
    """Expressions one behind the other."""
    return f"concat({', '.join(parts)})"


def quoted(text: str) -> str:
    """Text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def line_of(said: Said, session_id: str, own: str) -> str:
    """The whole line as one expression; `own` gives the keys that say whose it is."""
    parts = [
        quoted('{"timestamp":"'),
        _TIME,
        quoted('","id":"'),
        "writer",
        "'-'",
        "seq",
        quoted(
            f'","schema_version":1,"session_id":"{session_id}","level":"{said.level}","logger":"{said.logger}"'
        ),
        quoted(',"message":"'),
        said.message,
        "'\"'",
    ]
    for key, value in (("span_id", said.span), ("parent_span_id", said.parent)):
        if value:
            parts += [quoted(f',"{key}":"'), value, "'\"'"]
    if said.causes:
        parts += [quoted(',"causes":['), said.causes, "']'"]
    parts += [
        quoted(',"tick":'),
        "t",
        quoted(',"extra":{'),
        own,
        quoted(f'"event_type":"{said.kind}"'),
        said.payload,
        "'}'",
    ]
    if said.tail:
        parts.append(said.tail)
    return text(*parts, "'}'")


def cases(said: Sequence[Said], give: dict[int, str], otherwise: str) -> str:
    """What is given for the first line that applies, by its place."""
    listed = " ".join(f"WHEN {each.when} THEN {give[place]}" for place, each in enumerate(said))
    return f"CASE {listed} ELSE {otherwise} END"


def span_id(plan: Plan, number: int, tick: str = "t") -> str:
    """The id of one of the four spans of an agent's tick."""
    return f"lpad(lower(to_hex((a * {plan.ticks} + {tick}) * 4 + {number + 1})), 16, '0')"
