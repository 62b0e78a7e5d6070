"""Write records of other logging libraries as events, and the handler for records of `logging`.

A record becomes a `log` event with the name of its logger, in the file of the agent whose action is running.
An exception in a record is one `error` event, however many records mention it.

`python-json-logger` determines the fields of a `logging` record; the package's own codec writes them, since
it accepts any value.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from Agent.errors import MissingExtra
from Agent.event.kinds import Category
from Agent.record import health
from Agent.record.emit import installed
from Agent.record.emit.context import current_scope
from Agent.record.emit.installed import LIMITS, current_pipeline
from Agent.record.emit.pipeline import Pipeline
from Agent.record.encode.event_template import AgentBinding
from Agent.record.encode.safe_text import MAX_SHOWN_CHARS, as_text
from Agent.record.health import note
from Agent.record.tracing.failures import record_error, recorded_id

if TYPE_CHECKING:
    from pythonjsonlogger.core import BaseJsonFormatter


_LIMIT = LIMITS[Category.SYSTEM.value]
_INFO = 20
_ERROR = 40
# A value whose `__str__` logs itself calls this module again; deeper nesting than this is an endless loop.
_MAX_DEPTH = 4


_NO_ARGUMENTS: Mapping[Any, Any] = {}


class Foreign(NamedTuple):
    """A record of another library, with the names and levels of this package."""

    logger: str
    level: int
    message: str
    fields: Mapping[Any, Any]
    """The fields that the user added."""
    error: BaseException | None = None
    arguments: Mapping[Any, Any] = _NO_ARGUMENTS
    """The arguments of the message by name."""


class _Depth(threading.local):
    value = 0


_depth = _Depth()


def level_below(number: object) -> int:
    """Return the highest standard level not above a number, at least DEBUG; INFO for other types."""
    if not isinstance(number, int):
        # `logging.makeLogRecord` sets None; a record from a socket may have any value.
        return _INFO
    return min(max(number // 10 * 10, 10), 50)


def is_recorded(level: int) -> bool:
    """Return whether records of this level are recorded."""
    return _LIMIT.value <= level


def record_foreign(read: Callable[[], Foreign]) -> str:
    """Write a record and return the event's id, "" if it was not written; never raises.

    Args:
        read: returns the record; it may call the user's code, whose exceptions are counted.
    """
    if _depth.value >= _MAX_DEPTH:
        health.lost("log records were nested in each other in an endless loop")
        return ""
    _depth.value += 1
    try:
        foreign = read()
        pipeline = current_pipeline()
        fields = _named(foreign.fields)
        if foreign.arguments and (secrets := pipeline.redactor.secrets_among(foreign.arguments)):
            without = partial(pipeline.redactor.text_without, secrets)
            foreign = foreign._replace(message=without(foreign.message))
            # a formatter may have put the message into a field of another name
            fields = {key: without(value) if type(value) is str else value for key, value in fields.items()}
        if len(foreign.message) > MAX_SHOWN_CHARS:
            # The message is truncated, so the full text is kept as a field.
            fields.setdefault("full_message", foreign.message)
        binding = _binding(pipeline, foreign.logger, fields)
        if foreign.error is not None:
            known = recorded_id(foreign.error, pipeline)
            if known is None and foreign.level == _ERROR:
                # A message at level ERROR and its exception are one event.
                identity = record_error(
                    pipeline, binding, foreign.error, message=foreign.message or None, fields=fields
                )
                if identity:
                    return identity
            known = known or record_error(pipeline, binding, foreign.error)
            if known:
                fields["error_id"] = known
        slot = binding.slot("log", foreign.level)
        body, types = b"", None
        if fields:
            body, types = pipeline.capture.user_body(pipeline.health.moved(fields, slot.own_keys), "/extra")
        return pipeline.emit(slot, foreign.message, body=body, types=types)
    except Exception as error:  # noqa: BLE001 - recording never raises into the code that is recorded
        health.lost("a record of another library could not be made")
        health.trouble("a record of another library", error)
        return ""
    finally:
        _depth.value -= 1


def _named(raw_fields: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the fields with text keys; if two keys have the same text, both fields are kept."""
    for key in raw_fields:
        if type(key) is not str:
            break
    else:
        return dict(raw_fields)
    fields: dict[Any, Any] = {}
    for key, value in raw_fields.items():
        name = as_text(key)
        while name in fields:
            name = f"user.{name}"
        fields[name] = value
    return fields


def _binding(pipeline: Pipeline, logger: str, fields: dict[Any, Any]) -> AgentBinding:
    """Return the binding of the agent whose action is running, else of the agent named in the record."""
    scope = current_scope.get()
    if scope is not None and scope.agent is not None and scope.agent.agent_id is not None:
        acting = scope.agent
        return pipeline.binding(acting.agent_id, acting.agent_role, logger, Category.SYSTEM.value)
    agent_id, role = fields.get("agent_id"), fields.get("agent_role")
    if type(agent_id) is not str or not agent_id:
        return pipeline.binding(None, None, logger, Category.SYSTEM.value)
    del fields["agent_id"]
    if type(role) is str:
        del fields["agent_role"]
    else:
        role = None
    return pipeline.binding(agent_id, role, logger, Category.SYSTEM.value)


def named(name: object, otherwise: str) -> str:
    """Return the name of a logger as text, the default if it is None or empty."""
    return as_text(name) if name is not None and name != "" else otherwise


_STANDARD = {10, 20, 30, 40, 50}


class TraceHandler(logging.Handler):
    """Writes each record as a `log` event; add it to the root logger or to any other.

    `extra` attributes become keys of the event's `extra`, and an exception becomes one `error` event. A
    custom level becomes the next lower standard level, with its name as `level_name`. With
    `setFormatter(JsonFormatter(...))` of python-json-logger, the formatter determines names and values of the
    fields; the text of any other formatter is the message.

    Raises:
        MissingExtra: python-json-logger is not installed.
    """

    def __init__(self, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self._fields_of = _default_formatter()

    def handle(self, record: logging.LogRecord) -> Any:
        """Filter and write a record without the handler's lock, which the pipeline does not need."""
        kept: Any = self.filter(record)
        if kept:
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return kept

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; never raises, even if `logging.raiseExceptions` is set."""
        event = getattr(record, "event", None)
        if type(event) is dict and "schema_version" in event:
            # This record was made from an event to forward it to `logging`, so the tree already has it.
            return
        if is_recorded(level_below(record.levelno)):
            record_foreign(lambda: self._read(record))

    def flush(self) -> None:
        """Write all buffered events to the files."""
        installed.flush_active()

    def close(self) -> None:
        """Flush, and leave `logging`'s list of handlers; later records are still written."""
        self.flush()
        super().close()

    def _read(self, record: logging.LogRecord) -> Foreign:
        fields: dict[Any, Any] = {}
        message = self._message(record, fields)
        if record.levelno not in _STANDARD and record.levelname is not None:
            fields["level_name"] = record.levelname
        error = exception_in(record.exc_info)
        if fields.get("exc_info") is record.exc_info:
            # The formatter's format contains `exc_info`; the event already has its text as the traceback.
            fields.pop("exc_info", None)
        if error is None and record.exc_text:
            # A record from a queue or socket has only the text of its exception.
            fields["exc_text"] = record.exc_text
        by_name = record.args if type(record.args) is dict else _NO_ARGUMENTS
        level = level_below(record.levelno)
        return Foreign(named(record.name, "root"), level, message, fields, error, by_name)

    def _message(self, record: logging.LogRecord, fields: dict[Any, Any]) -> str:
        """Return the message of a record, and add its other values to `fields`."""
        from pythonjsonlogger.core import BaseJsonFormatter

        # Work on a copy: other handlers, and formatters that print all attributes, must see the record
        # unchanged.
        seen: logging.LogRecord = object.__new__(type(record))
        seen.__dict__.update(record.__dict__)
        message_fields: dict[str, Any] = {}
        if isinstance(record.msg, dict):
            message_fields = dict(record.msg)
            seen.message = ""
        else:
            try:
                seen.message = record.getMessage()
            except Exception:  # noqa: BLE001 - the arguments do not fit the template, or `__str__` of one raised
                note("the arguments of a log record did not fit its message")
                seen.message = as_text(record.msg)
                fields["args"] = record.args
        own = self.formatter
        formatter = own if isinstance(own, BaseJsonFormatter) else self._fields_of
        formatted: str | None = None
        try:
            if formatter is own:
                _add_texts(own, seen, message_fields)
            elif own is not None and "args" not in fields:
                formatted = own.format(record)
        except Exception:  # noqa: BLE001 - a user's formatter may raise anything; the message is kept
            note("the formatter of the logging bridge failed")
        if formatter is not own and record.stack_info:
            message_fields.setdefault("stack_info", record.stack_info)
        try:
            record_fields: dict[str, Any] = {}
            formatter.add_fields(record_fields, seen, message_fields)
            fields.update(formatter.process_log_record(record_fields))
        except Exception:  # noqa: BLE001 - the same; the fields of the record are then missing
            note("the formatter of the logging bridge failed")
        text = fields.pop("message", None)
        if formatted is not None:
            return as_text(formatted)
        return seen.message if text is None else as_text(text)


def _add_texts(own: BaseJsonFormatter, seen: logging.LogRecord, message_fields: dict[str, Any]) -> None:
    """Add the texts of time, exception and stack as python-json-logger does before it names the fields."""
    seen.asctime = own.formatTime(seen, own.datefmt)
    wanted = own.exc_info_as_array or "exc_info" in own.rename_fields
    if wanted and seen.exc_info and seen.exc_info[0] is not None:
        message_fields.setdefault("exc_info", own.formatException(seen.exc_info))
    if seen.stack_info:
        message_fields.setdefault("stack_info", own.formatStack(seen.stack_info))


def _default_formatter() -> BaseJsonFormatter:
    try:
        from pythonjsonlogger.json import JsonFormatter
    except ImportError:
        raise MissingExtra(
            "python-json-logger, which the logging bridge formats with, is not installed",
            remedy='install it with pip install "agent-trace[bridges]"',
        ) from None
    return JsonFormatter()


def exception_in(info: Any) -> BaseException | None:
    """Return the exception in `exc_info`, which may be an exception or a tuple of 3, else None."""
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple) and len(info) == 3 and isinstance(info[1], BaseException):
        return info[1]
    return None
