"""An event as a `logging.LogRecord`, for formatters, filters and handlers of the standard library.

`handlers.py` hands records out; they are made of finished lines, so that nothing unredacted reaches anybody.
"""

from __future__ import annotations

import logging
from typing import Any

import orjson

from Agent.config.text_mirrors import as_text
from Agent.event.clock import parse_timestamp
from Agent.event.codec import event_from_object
from Agent.event.kinds import LEVELS, Home
from Agent.event.payloads import KINDS

__all__ = ["JsonLines", "TextLines", "as_log_record"]

_LINKS = ("session_id", "run_id", "span_id", "parent_span_id", "tick", "causes")
_ABOUT = ("agent_id", "agent_role", "event_type")
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "event", "event_id", *_LINKS}

_RUN_MESSAGES = {kind.name: kind.message for kind in KINDS.values() if kind.home is Home.RUN}


class _Shown(dict[str, Any]):
    """Values for a message; one that is missing stands as its name."""

    def __missing__(self, key: str) -> str:
        return key


def as_log_record(line: bytes) -> logging.LogRecord:
    """The record of an event.

    `name`, `levelname`, `levelno`, `created` and the message are the event's; `event` is the whole of it, as
    docs/FORMAT.md describes its line. `event_id`, `session_id`, `run_id`, `span_id`, `parent_span_id`,
    `tick`, `causes`, `agent_id`, `agent_role`, `event_type` are always there, None where the event has none.
    Each further key of `extra` is an attribute, unless a record has one of that name (`args`, `name`): those
    are in `event["extra"]` alone. A traceback is `exc_text`, which formatters append.

    Raises:
        ValueError: the line is no event.
    """
    event: dict[str, Any] = orjson.loads(line)
    if "type" in event:
        # A run's flat line, in the form of all others.
        flat = event_from_object(event)
        extra = {**flat.extra, "event_type": flat.kind}
        message = _RUN_MESSAGES.get(flat.kind, "{}").format_map(_Shown(extra))
        event = {**event, "level": flat.level, "logger": "flight", "message": message, "extra": extra}
    extra = event["extra"]
    attributes = {key: value for key, value in extra.items() if key not in _OWN}
    attributes.update({name: extra.get(name) for name in _ABOUT})
    attributes.update({name: event.get(name) for name in _LINKS})
    timestamp_us = parse_timestamp(event["timestamp"])
    level = event["level"]
    attributes.update(
        event=event,
        event_id=event["id"],
        name=event["logger"],
        msg=event["message"],
        levelname=level,
        levelno=LEVELS.get(level, logging.INFO),
        created=timestamp_us / 1_000_000,
        msecs=float(timestamp_us // 1000 % 1000),
        exc_text=extra.get("traceback"),
    )
    return logging.makeLogRecord(attributes)


class JsonLines(logging.Formatter):
    """A record of an event as the line that stands in the tree."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        return orjson.dumps(_event_of(record)).decode()


class TextLines(logging.Formatter):
    """A record of an event as `system/system.log` and `errors/errors.log` show it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for the event, its payload and traceback indented below."""
        return as_text(_event_of(record)).removesuffix("\n")


def _event_of(record: logging.LogRecord) -> dict[str, Any]:
    event: dict[str, Any] = vars(record)["event"]
    return event
