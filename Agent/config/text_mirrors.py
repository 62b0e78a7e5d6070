"""Text output while a program runs: text twins of the system and error mirrors, and stderr if requested.

Both are made from finished lines on their way to the mirrors, so that other events pay nothing for them.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from Agent.event.background_threads import current
from Agent.event.clock import parse_timestamp
from Agent.event.codec import event_from_object
from Agent.event.kinds import LEVELS, Home
from Agent.event.payloads import KINDS
from Agent.event.values.plain import read_json, write_json
from Agent.record.encode.safe_text import json_shown_safely, shown_safely

if TYPE_CHECKING:
    from Agent.record.emit.pipeline import MirrorSink

_TWINNED = frozenset({"system", "errors"})
_ENVELOPE = frozenset({"agent_id", "agent_role", "event_type", "traceback"})


class TextMirrors:
    """Mirrors with text twins for two of them, which can also show each event on stderr.

    Args:
        mirrors: the category files; None for the console only.
        console: whether to show each event on stderr.
    """

    def __init__(self, mirrors: MirrorSink | None, *, console: bool) -> None:
        self.takers = mirrors
        self._console = console
        self._shown = b""

    def adder(self, category: str) -> Callable[[bytes], None] | None:
        """The function that takes a category's lines; None if nothing receives them."""
        add = self.takers.adder(category) if self.takers is not None else None
        twinned = self.takers is not None and category in _TWINNED
        twin = self.takers.adder(f"{category}.text") if self.takers is not None and twinned else None
        if twin is None and not self._console:
            return add

        def take_and_mirror(line: bytes) -> None:
            """Pass on a line, and write its text to the twin and the console."""
            if add is not None:
                add(line)
            event = read_json(line)
            if twin is not None:
                twin(as_text(event).encode("utf-8", "replace"))
            # An error is written to two mirrors, but shown once.
            if self._console and line is not self._shown:
                self._shown = line
                _show(event)

        return take_and_mirror

    def flush(self) -> None:
        """Flush the mirrors."""
        if self.takers is not None:
            self.takers.flush()

    def close(self) -> None:
        """Flush and close the mirrors."""
        if self.takers is not None:
            self.takers.close()


def as_text(event: dict[str, Any]) -> str:
    """An event as in the text twins: one line, with its payload and traceback indented below."""
    extra = event["extra"]
    time = event["timestamp"].replace("T", " ").removesuffix("Z")
    who = f" [{shown_safely(str(extra['agent_id']))}]" if "agent_id" in extra else ""
    logger = shown_safely(str(event["logger"]))
    lines = [f"{time} {event['level']} {logger}{who} {shown_safely(str(event['message']))} ({event['id']})"]
    details = {key: value for key, value in extra.items() if key not in _ENVELOPE}
    if details:
        lines.append(f"    {json_shown_safely(write_json(details).decode())}")
    if "traceback" in extra:
        lines.extend(f"    {shown_safely(line)}" for line in str(extra["traceback"]).splitlines())
    return "\n".join(lines) + "\n"


def _show(event: dict[str, Any]) -> None:
    who = shown_safely(str(event["extra"].get("agent_id") or event["logger"]))
    message = shown_safely(str(event["message"]))
    text = f"{event['timestamp'][11:23]} {event['level']:<8} {who}: {message}\n"
    stream = sys.stderr
    if stream is None:
        return
    try:
        stream.write(text)
    except (OSError, ValueError, RuntimeError):  # RuntimeError: within a signal handler during a write
        return


_LINKS = ("session_id", "run_id", "span_id", "parent_span_id", "tick", "causes")
_ABOUT = ("agent_id", "agent_role", "event_type")
_UNSET = vars(logging.makeLogRecord({}))
_OWN = frozenset(_UNSET) | {"message", "asctime", "event", "event_id", *_LINKS}

_RUN_MESSAGES = {kind.name: kind.message for kind in KINDS.values() if kind.home is Home.RUN}


class _Shown(dict[str, Any]):
    """Values for a message template; a missing one is replaced by its name."""

    def __missing__(self, key: str) -> str:
        return key


def as_log_record(line: bytes) -> logging.LogRecord:
    """The LogRecord of an event.

    `name`, `levelname`, `levelno`, `created` and the message are those of the event; `event` is the whole
    event, as described in docs/FORMAT.md. `event_id`, `session_id`, `run_id`, `span_id`, `parent_span_id`,
    `tick`, `causes`, `agent_id`, `agent_role`, `event_type` always exist, None if the event has none.
    Each other key of `extra` is an attribute, unless LogRecord has one of that name (`args`, `name`): those
    are only in `event["extra"]`. A traceback is `exc_text`, which formatters append.

    Raises:
        ValueError: the line is not an event.
    """
    event: dict[str, Any] = read_json(line)
    if "type" in event:
        # Convert a run's flat line to the common form.
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
    thread = current()
    if thread is None or logging.getLogRecordFactory() is not logging.LogRecord:
        return logging.makeLogRecord(attributes)
    # `LogRecord` would call `threading.current_thread()`
    record: logging.LogRecord = object.__new__(logging.LogRecord)
    vars(record).update(
        _UNSET, thread=thread.ident, threadName=thread.name, process=os.getpid(), **attributes
    )
    return record


class JsonLines(logging.Formatter):
    """Formats an event's LogRecord as its JSON line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its newline."""
        return write_json(_event_of(record)).decode()


class TextLines(logging.Formatter):
    """Formats an event's LogRecord as in `system/system.log` and `errors/errors.log`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line for the event, with its payload and traceback indented below."""
        return as_text(_event_of(record)).removesuffix("\n")


def _event_of(record: logging.LogRecord) -> dict[str, Any]:
    event: dict[str, Any] = vars(record)["event"]
    return event
