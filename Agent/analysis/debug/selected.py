"""Select what surrounds a complaint in many sealed sessions, and keep it as one small session to explain.

Finding causes needs the events at hand in memory, so their number is bounded. If the sessions hold more, the
rows are those of the agents that the complaint names, of agents that exchanged messages with them, and every
error.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from Agent.analysis.query.trees import Trees
from Agent.analysis.query.views import EVENT_COLUMNS, IS_ERROR, Only, QueryEngine, json_of, scan, whole_lines
from Agent.errors import InputError
from Agent.event.codec import CURRENT_SCHEMA, encode_event
from Agent.event.model import Event
from Agent.tree.files.session import SessionInfo, create_session
from Agent.tree.layout import agents_dir, claims_dir, entries_in, safe_name, session_id_of
from Agent.tree.read.removal_logs import Recovery, read_recovery, write_recovery

MOST_ROWS: Final = 200_000
"""Some 300 MB of memory while causes are looked for."""
_MOST_AGENTS: Final = 1_000_000


@contextmanager
def selected_session(engine: QueryEngine, trees: Trees, issue: str, most: int = MOST_ROWS) -> Iterator[Path]:
    """Keep what surrounds a complaint as a session in a temporary directory, within the block.

    Raises:
        InputError: these are more than `most` events, or none.
    """
    number = engine.row(f"SELECT count(*) AS n FROM {scan()}")["n"]
    where, parameters, around = "true", [], "in all, and it names no agent"
    if number > most and (agents := _agents_around(engine, issue)):
        where = f"(coalesce(array_contains(?, agent_id), false) OR {IS_ERROR})"
        parameters, around = [agents], f"of {len(agents):,} agents around it, and the errors"
        number = engine.row(f"SELECT count(*) AS n FROM {scan('error_id')} WHERE {where}", parameters)["n"]
    if not number or number > most:
        raise InputError(
            f"the complaint is about {number:,} events {around}; at most {most:,} are explained",
            remedy="name the agents that it is about, or name fewer sessions",
        )
    columns = f"{EVENT_COLUMNS}, types"
    rows = engine.rows(
        f"SELECT {columns} FROM (SELECT {columns}, json_member(extra, 'error_id') AS error_id "
        f"FROM {whole_lines()}) WHERE {where} "
        "ORDER BY agent_id NULLS FIRST, ts_us, writer, seq",
        parameters,
    )
    with tempfile.TemporaryDirectory(prefix="agent-trace-") as place:
        first = session_id_of(trees.local[0].session if trees.local else Path(trees.remote[0]))
        path = create_session(Path(place), replace(SessionInfo.begun_now(), session_id=first))
        agents_dir(path).mkdir(mode=0o700, exist_ok=True)
        for agent, own in groupby(rows, key=lambda row: row["agent_id"]):
            name = "system.log" if agent is None else f"agents/{safe_name(agent)}.log"
            descriptor = os.open(path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(encode_event(_event(row)) + b"\n" for row in own)
        _keep_accounts(trees, path)
        yield path


def _keep_accounts(trees: Trees, path: Path) -> None:
    """Keep what the sessions know of their writers: a call that a killed process began is in no event."""
    recovery = Recovery()
    for tree in trees.local:
        recovery.writers |= read_recovery(tree.session).writers
        for claim in entries_in(claims_dir(tree.session), ".json"):
            claims_dir(path).mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copy(claim, claims_dir(path))
    if recovery.writers:
        write_recovery(path, recovery)


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
    messages = scan("sender", "recipient", only=Only(("agent_message",)))
    others = engine.rows(
        f"SELECT DISTINCT sender, recipient FROM {messages} WHERE event_type = 'agent_message' "
        "AND (array_contains(?, sender) OR array_contains(?, recipient))",
        [named, named],
    )
    return sorted({*named, *(name for row in others for name in row.values() if name is not None)})


def _event(row: dict[str, Any]) -> Event:
    extra = json_of(row["extra"]) or {}
    if row["is_flat"]:
        extra = {key: value for key, value in extra.items() if value is not None}
    return Event(
        timestamp=row["timestamp"],
        id=row["id"],
        schema_version=CURRENT_SCHEMA,
        kind=row["event_type"],
        session_id=row["session_id"] or "",
        level=row["level"],
        logger=row["logger"] or "",
        message=row["message"] or "",
        run_id=row["run_id"],
        span_id=row["span_id"],
        parent_span_id=row["parent_span_id"],
        causes=tuple(row["causes"] or ()),
        tick=row["tick"],
        extra=extra,
        code=row["code"],
        state=json_of(row["state"]),
        types=json_of(row["types"]),
    )
