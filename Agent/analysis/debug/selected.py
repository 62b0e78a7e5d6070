"""Select what surrounds a complaint in many sealed sessions.

If the sessions hold more events than can be explained, these are those of the agents that the complaint
names, of agents that exchanged messages with them, and every error.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

import re
from typing import Final

from Agent.analysis.query.kept import QueryEngine
from Agent.analysis.query.trees import MOST_ROWS, ChosenEvents
from Agent.analysis.query.views import IS_ERROR, events_of, scan

_MOST_AGENTS: Final = 1_000_000
_REMEDY: Final = "name the agents that it is about, or name fewer sessions"


def around_complaint(engine: QueryEngine, issue: str, most: int = MOST_ROWS) -> ChosenEvents:
    """All events if they are at most `most`; else those around the agents that a complaint names."""
    number = engine.row(f"SELECT count(*) AS n FROM {scan()}")["n"]
    if number > most and (agents := _agents_around(engine, issue)):
        where = f"(coalesce(array_contains(?, agent_id), false) OR {IS_ERROR})"
        return ChosenEvents(where, [agents], f"of {len(agents):,} agents around it, and the errors", _REMEDY)
    return ChosenEvents("true", [], "in all, and the complaint names no agent", _REMEDY)


def _agents_around(engine: QueryEngine, issue: str) -> list[str]:
    """The agents that a complaint names, and those with which they exchanged messages."""
    known = engine.rows(
        f"SELECT DISTINCT agent_id AS agent FROM {scan()} WHERE agent_id IS NOT NULL LIMIT {_MOST_AGENTS}"
    )
    named = sorted(
        row["agent"]
        for row in known
        if row["agent"] in issue and re.search(rf"(?<![\w-]){re.escape(row['agent'])}(?![\w-])", issue)
    )
    if not named:
        return []
    others = engine.rows(
        f"SELECT DISTINCT sender, recipient FROM {events_of(['agent_message'], 'sender', 'recipient')} "
        "AND (array_contains(?, sender) OR array_contains(?, recipient))",
        [named, named],
    )
    return sorted({*named, *(name for row in others for name in row.values() if name is not None)})
