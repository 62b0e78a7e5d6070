"""The files of a session read by a few plain lines, independent of the package's own readers."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def session_directories(root: Path) -> list[Path]:
    """The sessions under a trace root, oldest first."""
    return sorted(path for path in root.glob("session_*") if path.is_dir())


def only_session(root: Path) -> Path:
    """The one session under a trace root; AssertionError when there are more or none."""
    sessions = session_directories(root)
    assert len(sessions) == 1, f"{len(sessions)} sessions under {root}"
    return sessions[0]


def record_files(session: Path) -> list[Path]:
    """The files that are the record: agents' and category files of the session, and runs' events."""
    return [
        *sorted((session / "agents").glob("*.log")),
        *sorted(session.glob("*.log")),
        *sorted(session.glob("runs/*/events*.jsonl")),
    ]


def remove_digests(session: Path) -> None:
    """Make of a session one that was recorded without digests, which an edit makes an older one."""
    shutil.rmtree(session / ".state" / "chain", ignore_errors=True)
    for path in session.glob("system*.log"):
        path.write_bytes(re.sub(rb',"head":"[^"]*"', b"", path.read_bytes()))


def raw_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file without their newlines; a last line without one counts as damage."""
    data = path.read_bytes()
    assert data == b"" or data.endswith(b"\n"), f"{path} ends in the middle of a line"
    yield from data.split(b"\n")[:-1]


def events_in(*paths: Path) -> list[dict[str, Any]]:
    """Every event of the files as the JSON object on its line, in the order of the files."""
    return [json.loads(line) for path in paths for line in raw_lines(path) if line]


def session_events(session: Path) -> list[dict[str, Any]]:
    """Every event of the record of a session, by time, then writer, then number."""
    return sorted(events_in(*record_files(session)), key=event_order)


def event_order(event: dict[str, Any]) -> tuple[str, str, int]:
    """The key by which events of several files are put in order."""
    writer, _, seq = event["id"].rpartition("-")
    return event["timestamp"], writer, int(seq)


def kind_of(event: dict[str, Any]) -> str:
    """What kind of event it is, in either view."""
    return event["type"] if "type" in event else event["extra"].get("event_type", "log")


def of_kind(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The events of one kind."""
    return [event for event in events if kind_of(event) == kind]


def of_agent(events: list[dict[str, Any]], agent_id: str) -> list[dict[str, Any]]:
    """The events of one agent."""
    return [event for event in events if event.get("extra", event).get("agent_id") == agent_id]
