"""Lines, ids and copies of a session, for what tests a tree in any order and with any bytes."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from support.session_files import record_files

from Agent.event.clock import format_timestamp
from Agent.event.codec import encode_event
from Agent.event.model import Event, RedactedBytes

START_US = 1_795_170_645_000_000


def line_of(writer: str, seq: int, agent_id: str, text: str, us: int = START_US) -> RedactedBytes:
    """One line as recording makes it."""
    event = Event(
        timestamp=format_timestamp(us + seq),
        id=f"{writer}-{seq}",
        schema_version=1,
        kind="agent_action",
        session_id="20261120_103045",
        level="INFO",
        logger="agent.creator",
        message="something happened",
        extra={"agent_id": agent_id, "event_type": "agent_action", "text": text},
    )
    return RedactedBytes(encode_event(event))


def plain_ids(session: Path) -> Counter[str]:
    """Ids of whole lines, read without the package; what has no newline yet is no line."""
    ids: Counter[str] = Counter()
    for path in record_files(session):
        ids.update(ids_in(path))
    return ids


def ids_in(path: Path) -> Counter[str]:
    """The same of one file."""
    ids: Counter[str] = Counter()
    *lines, _ = path.read_bytes().split(b"\n")
    for line in lines:
        try:
            ids[json.loads(line)["id"]] += 1
        except (ValueError, KeyError, TypeError):
            continue
    return ids


class Copied:
    """A copy of a session for as long as it is entered."""

    def __init__(self, session: Path) -> None:
        self._place = Path(tempfile.mkdtemp())
        self.session = self._place / session.name
        shutil.copytree(session, self.session)

    def __enter__(self) -> Path:
        return self.session

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._place)
