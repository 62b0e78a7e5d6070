"""Events looked up in the record by a plain scan of its JSON lines: no part of what is being scored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.fault_set.case import Seek, Truth


class TruthMissing(Exception):
    """The record does not hold an event that the case names as its cause."""


def events(session: Path) -> Iterator[dict[str, Any]]:
    """All events of a session, file by file."""
    for path in sorted([*session.glob("*.log"), *(session / "agents").glob("*.log")]):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def resolve(session: Path, truth: Truth) -> list[str]:
    """The ids of the true events, each proved to be in the record; TruthMissing where one is not."""
    record = list(events(session))
    known = {event["id"] for event in record}
    found = list(truth.ids)
    for seek in truth.seeks:
        matching = [event for event in record if _matches(event, seek)]
        if not matching:
            raise TruthMissing(f"{session}: nothing recorded at {seek}")
        for event in matching[: seek.first]:
            found.append(event["id"])
            error = event.get("extra", {}).get("error_id")
            if error:  # the call and its exception are the same cause
                found.append(error)
    absent = [identity for identity in found if identity not in known]
    if absent:
        raise TruthMissing(f"{session}: not in the record: {', '.join(absent)}")
    return list(dict.fromkeys(found))


def _matches(event: dict[str, Any], seek: Seek) -> bool:
    extra = event.get("extra", {})
    return (
        extra.get("agent_id") == seek.agent_id
        and extra.get("event_type") == seek.event_type
        and event.get("tick") == seek.tick
        and (seek.action_type is None or extra.get("action_type") == seek.action_type)
        and (not seek.contains or seek.contains in json.dumps(event))
    )
