"""Copy selected events of many sealed sessions into a small session, for analyses that need a session.

These analyses (`debug`, `journey`, `causes`) hold events in memory, so their number is limited.
"""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

from Agent.analysis.query.trees import Trees
from Agent.analysis.query.views import EVENT_COLUMNS, QueryEngine, json_of, scan, whole_lines
from Agent.errors import InputError
from Agent.event.codec import CURRENT_SCHEMA, encode_event
from Agent.event.model import Event
from Agent.tree.files.session import SessionInfo, create_session
from Agent.tree.layout import agents_dir, claims_dir, entries_in, safe_name, session_id_of
from Agent.tree.read.removal_logs import Recovery, read_recovery, write_recovery

MOST_ROWS: Final = 200_000
"""The maximum number of events: a search for causes among these takes about 300 MB of memory."""


class ChosenEvents(NamedTuple):
    """The events that an analysis needs."""

    where: str
    """A condition on the columns of `whole_lines`, and `error_id`."""
    parameters: list[Any]
    what: str
    """The description of the events, after their number in messages."""
    remedy: str
    """How to select fewer events."""


def of_agent(agent_id: str) -> ChosenEvents:
    """The events of one agent."""
    return ChosenEvents("agent_id = ?", [agent_id], f"of {agent_id}", "name fewer sessions")


@contextmanager
def selected_session(
    engine: QueryEngine, trees: Trees, chosen: ChosenEvents, most: int = MOST_ROWS
) -> Iterator[Path]:
    """Copy events of many sessions into a session in a temporary directory, which exists within the block.

    Raises:
        InputError: the selection has more than `most` events, or none.
    """
    where, parameters, what, remedy = chosen
    number = engine.row(f"SELECT count(*) AS n FROM {scan('error_id')} WHERE {where}", parameters)["n"]
    if not number:
        raise InputError(
            f"no event {what} in these sessions", remedy="check the id, and which sessions are named"
        )
    if number > most:
        raise InputError(f"{number:,} events {what}; at most {most:,} are read", remedy=remedy)
    columns = f"{EVENT_COLUMNS}, types"
    rows = engine.rows(
        f"SELECT {columns} FROM (SELECT {columns}, json_member(extra, 'error_id') AS error_id "
        f"FROM {whole_lines()}) WHERE {where} "
        "ORDER BY agent_id NULLS FIRST, ts_us, writer, seq",
        parameters,
    )
    with tempfile.TemporaryDirectory(prefix="agent-trace-") as place:
        path = create_session(Path(place), replace(SessionInfo.begun_now(), session_id=_name(engine, trees)))
        agents_dir(path).mkdir(mode=0o700, exist_ok=True)
        for agent, own in groupby(rows, key=lambda row: row["agent_id"]):
            name = "system.log" if agent is None else f"agents/{safe_name(agent)}.log"
            descriptor = os.open(path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(encode_event(_event(row)) + b"\n" for row in own)
        _keep_accounts(trees, path)
        yield path


def _name(engine: QueryEngine, trees: Trees) -> str:
    """The id of the first session, and the number of the others."""
    paths = [*(tree.session for tree in trees.local), *(Path(tree.url) for tree in engine.remote)]
    # sessions that Spark reads through Hadoop
    paths += [Path(url) for url in trees.remote if not engine.remote]
    return session_id_of(paths[0]) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")


def _keep_accounts(trees: Trees, path: Path) -> None:
    """Copy the sessions' data about writers: open calls of a killed process are in no event."""
    recovery = Recovery()
    for tree in trees.local:
        recovery.writers |= read_recovery(tree.session).writers
        for claim in entries_in(claims_dir(tree.session), ".json"):
            claims_dir(path).mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copy(claim, claims_dir(path))
    if recovery.writers:
        write_recovery(path, recovery)


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
