"""Agent Trace with everything on, and the floor: the least that a line in the kernel costs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from benchmarks.contenders.contract import (
    ACTION,
    AGENT_ID,
    AGENT_ROLE,
    Contender,
    Identity,
    Opened,
    Place,
    fields,
    files,
    identity_of,
)


def set_up(place: Place) -> None:
    """Record under the directory; a process that was started by one that records there joins its session."""
    import Agent

    Agent.setup_logging(
        trace_root=place.directory / "trace",
        segment_size_bytes=place.size_bytes,
        rotation={"agents": (place.size_bytes, place.backups)},
    )


def opened(place: Place, method: Callable[[], Callable[..., object]]) -> Opened:
    """Recording, and what the function gives as the call; `health()` says what was lost."""
    import Agent
    from Agent.record.emit.installed import flush_active

    def lost() -> int:
        return sum(Agent.health()["dropped"].values())

    def lost_copies() -> int:
        return sum(Agent.health()["mirrors"].values())

    set_up(place)
    return Opened(method(), flush_active, Agent.shutdown_logging, lost, lost_copies)


def _log_action() -> Callable[..., object]:
    import Agent

    log_action = Agent.AgentLogger(AGENT_ID, AGENT_ROLE).log_action

    def call(data: dict[str, Any]) -> object:
        return log_action(ACTION, data)

    return call


def _open(place: Place, _inherited: Any) -> Opened:
    return opened(place, _log_action)


def session_files(directory: Path) -> list[Path]:
    return files("trace/session_*/agents/*.log")(directory)


def mirror_files(directory: Path) -> list[Path]:
    return files("trace/agents/agents.log*")(directory)


def identities(line: dict[str, Any]) -> list[Identity]:
    """None of it where the line is an event about the record itself."""
    extra = line["extra"]
    return [identity_of(extra["action_data"])] if extra.get("event_type") == "agent_action" else []


LINE: dict[str, Any] = {
    "timestamp": "2026-11-20T10:30:45.123456Z",
    "id": "k3v9q2ma-1042",
    "schema_version": 1,
    "session_id": "20261120_103045",
    "level": "INFO",
    "logger": f"agent.{AGENT_ROLE}",
    "message": f"Agent action: {ACTION}",
    "extra": {
        "agent_id": AGENT_ID,
        "agent_role": AGENT_ROLE,
        "event_type": "agent_action",
        "action_type": ACTION,
        "action_data": fields(0, 0),
    },
}


def _open_floor(place: Place, _inherited: Any) -> Opened:
    path = place.directory / f"floor{place.label}.log"
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    write, dumps, newline, extra = os.write, orjson.dumps, orjson.OPT_APPEND_NEWLINE, LINE["extra"]
    line = {**LINE, "extra": extra}

    def call(data: dict[str, Any]) -> object:
        return write(fd, dumps({**line, "extra": {**extra, "action_data": data}}, option=newline))

    return Opened(call, close=lambda: os.close(fd))


CONTENDERS = {
    "Agent Trace": Contender(
        packages=(),
        how="setup_logging with its defaults but the sizes: redaction, spans, numbers, board, record rolled, "
        "mirrors rotated, durability kernel",
        open=_open,
        grown=session_files,
        identities=identities,
        lead=set_up,
        copies=mirror_files,
    ),
    "floor": Contender(
        packages=("orjson",),
        how="os.write(fd, orjson.dumps(line)) of a line with the same keys, a file a process, no rotation",
        open=_open_floor,
        grown=files("floor*.log"),
        identities=identities,
        rotates=False,
    ),
}
