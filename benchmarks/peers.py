"""The contenders: Agent Trace with everything on, structlog, eliot, the floor; each says how it is set up."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import eliot
import orjson
import structlog

import Agent

AGENT_ID = "creator_001"
AGENT_ROLE = "creator"
ACTION = "create_content"

SMALL: dict[str, Any] = {
    "action_data": {
        "content_type": "video",
        "duration": 30,
        "topic": "AI",
        "estimated_reach": 10000,
        "quality": 0.8125,
        "collab": False,
    },
    "decision_context": {"trending_topic": "AI", "epsilon": 0.1, "time_of_day": "evening", "followers": 1250},
}
"""A payload as the documents show it: short strings and numbers."""

RICH: dict[str, Any] = {
    "action_data": {
        "content_id": UUID("0192f3a4-5b6c-7d8e-9f01-23456789abcd"),
        "parent_id": UUID("0192f3a4-5b6c-7d8e-9f01-23456789abce"),
        "title": 'The "quiet" model\nand what it said',
        "variants": [{"kind": "short", "seconds": 15}, {"kind": "long", "seconds": 240}],
        "audience": {"by_region": {"north": 0.4, "south": 0.6}, "tags": ["tech", "ai", "ml"]},
        "scheduled_at": datetime(2026, 11, 20, 18, 0, tzinfo=UTC),
    },
    "decision_context": {
        "trending_topic": "AI",
        "reason": 'peers said "post now"',
        "scores": [0.1, 0.25, 0.5],
    },
}
"""UUIDs, nesting, quotes, a newline and a time: where redaction and the codec must look closer."""


@dataclass
class Place:
    """Where the files of one measurement stand."""

    directory: Path
    closers: list[Callable[[], None]] = field(default_factory=list)

    def file(self, name: str) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        return self.directory / name

    def close(self) -> None:
        for closer in reversed(self.closers):
            closer()


def start_agent_trace(place: Place, **options: Any) -> Path:
    """Record into a root of its own and say so when it did not start."""
    root = place.directory / "trace"
    Agent.setup_logging(trace_root=root, **options)
    place.closers.append(Agent.shutdown_logging)
    return root


def record_files(root: Path) -> list[Path]:
    """Record and mirrors: every file that grows with events (the board and the claims do not)."""
    return [*root.rglob("*.log"), *root.rglob("*.jsonl"), *root.rglob("*.log.*"), *root.rglob("*.jsonl.*")]


def own_line(root: Path) -> dict[str, Any]:
    """The last action on disk, as the object that the floor serialises."""
    (path,) = root.glob(f"session_*/agents/{AGENT_ID}.log")
    lines = [line for line in path.read_bytes().splitlines() if b'"agent_action"' in line]
    line: dict[str, Any] = orjson.loads(lines[-1])
    return line


def structlog_logger(place: Place) -> tuple[Any, Path, str]:
    """structlog as its performance guide has it: orjson, BytesLogger, one file, a filtering bound logger."""
    path = place.file("structlog.log")
    file = path.open("ab")
    place.closers.append(file.close)
    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(20),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(file=file),
    )
    place.closers.append(structlog.reset_defaults)
    logger = structlog.get_logger().bind(agent_id=AGENT_ID, agent_role=AGENT_ROLE)
    configuration = (
        "merge_contextvars, add_log_level, TimeStamper(iso, utc), JSONRenderer(orjson), BytesLogger on one "
        "file, level INFO, cached; no redaction, rotation, mirrors, spans or sequence numbers"
    )
    return logger, path, configuration


def eliot_file(place: Place) -> tuple[Path, str]:
    """eliot writing to one file, opened in bytes."""
    path = place.file("eliot.log")
    file = path.open("ab")
    destination = eliot.FileDestination(file=file)
    eliot.add_destinations(destination)
    place.closers.append(file.close)
    place.closers.append(lambda: eliot.remove_destination(destination))
    return path, "FileDestination on one file opened in bytes (its own orjson encoder), flushed each message"


def floor_writer(place: Place, line: dict[str, Any]) -> tuple[dict[str, Any], Path, str]:
    """The least that any JSON line costs: serialise a finished dict, one append to one file."""
    path = place.file("floor.log")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    place.closers.append(lambda: os.close(descriptor))
    names = {
        "write": os.write,
        "descriptor": descriptor,
        "dumps": orjson.dumps,
        "newline": orjson.OPT_APPEND_NEWLINE,
        "line": line,
    }
    size = len(orjson.dumps(line))
    return names, path, f"os.write(fd, orjson.dumps(line)) of the same {size}-byte line, built beforehand"


FLOOR_STATEMENT = "write(descriptor, dumps(line, option=newline))"
