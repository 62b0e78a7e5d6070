"""Records of other logging libraries as events, and the handler that takes those of `logging`.

Such a record becomes a `log` event under its own logger's name, in the file of the agent whose action is
running. An exception that comes with it is one `error` event, however often it is mentioned.

`python-json-logger` says which fields a record of `logging` has; the bytes are made by our own codec, which
no value can break.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
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
# A value whose text logs itself comes back here; a few rounds may be meant, more never end.
_MAX_DEPTH = 4


class Foreign(NamedTuple):
    """A record of another library, in our words."""

    logger: str
    level: int
    message: str
    fields: Mapping[Any, Any]
    """The user's own keys."""
    error: BaseException | None = None


class _Depth(threading.local):
    value = 0


_depth = _Depth()


def level_below(number: object) -> int:
    """The nearest of our levels not above a number; DEBUG for what is below all, INFO for no number."""
    if not isinstance(number, int):
        # `logging.makeLogRecord` gives None; what came over a wire may be anything.
        return _INFO
    return min(max(number // 10 * 10, 10), 50)


def is_recorded(level: int) -> bool:
    """Whether records of this level are kept at all."""
    return _LIMIT.value <= level


def record_foreign(read: Callable[[], Foreign]) -> str:
    """Write a record and give the event's id, "" where it was not written; never raises.

    Args:
        read: gives the record; it may run the code of strangers, whose failure is counted.
    """
    if _depth.value >= _MAX_DEPTH:
        health.lost("a log record was made within another of itself, again and again")
        return ""
    _depth.value += 1
    try:
        foreign = read()
        pipeline = current_pipeline()
        fields = _named(foreign.fields)
        if len(foreign.message) > MAX_SHOWN_CHARS:
            # The message is its beginning; here, as any value, it may be long.
            fields.setdefault("full_message", foreign.message)
        binding = _binding(pipeline, foreign.logger, fields)
        if foreign.error is not None:
            known = recorded_id(foreign.error, pipeline)
            if known is None and foreign.level == _ERROR:
                # The message and the exception are one thing, and so one event.
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
        health.trouble("a record of another library", error)
        health.lost("a record of another library could not be made")
        return ""
    finally:
        _depth.value -= 1


def _named(given: Mapping[Any, Any]) -> dict[Any, Any]:
    """The fields under texts, so that one odd key hides no other; two that become one both stay."""
    for key in given:
        if type(key) is not str:
            break
    else:
        return dict(given)
    fields: dict[Any, Any] = {}
    for key, value in given.items():
        name = as_text(key)
        while name in fields:
            name = f"user.{name}"
        fields[name] = value
    return fields


def _binding(pipeline: Pipeline, logger: str, fields: dict[Any, Any]) -> AgentBinding:
    """Where the record goes: the agent that acts; where none does, the one that the record itself names."""
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
    """The name of a logger as text."""
    return as_text(name) if name is not None and name != "" else otherwise


_STANDARD = {10, 20, 30, 40, 50}


class TraceHandler(logging.Handler):
    """Writes each record that it is given as a `log` event; add it to the root logger, or to any other.

    `extra` attributes become keys of the event's `extra`, an exception one `error` event, a level of its own
    the nearest one below, with its name under `level_name`. With `setFormatter(JsonFormatter(...))` of
    python-json-logger the fields are what that formatter names, renames and adds; the text of any other
    formatter is the message.

    Raises:
        MissingExtra: python-json-logger is not installed.
    """

    def __init__(self, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self._fields_of = _default_formatter()

    def handle(self, record: logging.LogRecord) -> Any:
        """Filter and write without the handler's lock: the way to the tree needs none."""
        kept: Any = self.filter(record)
        if kept:
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return kept

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; never raises, whatever `logging.raiseExceptions` says."""
        event = getattr(record, "event", None)
        if type(event) is dict and "schema_version" in event:
            # Made of an event, for a handler that hands it on to `logging`: it stands in the tree already.
            return
        if is_recorded(level_below(record.levelno)):
            record_foreign(lambda: self._read(record))

    def flush(self) -> None:
        """Bring everything that is held back to the files."""
        installed.flush_active()

    def close(self) -> None:
        """The same, and leave `logging`'s list of handlers; a record that still comes is written."""
        self.flush()
        super().close()

    def _read(self, record: logging.LogRecord) -> Foreign:
        fields: dict[Any, Any] = {}
        message = self._message(record, fields)
        if record.levelno not in _STANDARD and record.levelname is not None:
            fields["level_name"] = record.levelname
        error = exception_in(record.exc_info)
        if fields.get("exc_info") is record.exc_info:
            # Named by the formatter's format: the event has the text of it as its traceback.
            fields.pop("exc_info", None)
        if error is None and record.exc_text:
            # What came through a queue or a socket has lost its exception and kept its text.
            fields["exc_text"] = record.exc_text
        return Foreign(named(record.name, "root"), level_below(record.levelno), message, fields, error)

    def _message(self, record: logging.LogRecord, fields: dict[Any, Any]) -> str:
        """The text of a record; what else it holds is put into `fields`."""
        from pythonjsonlogger.core import BaseJsonFormatter

        # Other handlers, and formatters that take every attribute for the user's, see the record as it came.
        seen: logging.LogRecord = object.__new__(type(record))
        seen.__dict__.update(record.__dict__)
        given: dict[str, Any] = {}
        if isinstance(record.msg, dict):
            given = dict(record.msg)
            seen.message = ""
        else:
            try:
                seen.message = record.getMessage()
            except Exception:  # noqa: BLE001 - a template that does not fit, or a value whose text raises
                note("the arguments of a log record did not fit its message")
                seen.message = as_text(record.msg)
                fields["args"] = record.args
        own = self.formatter
        formatter = own if isinstance(own, BaseJsonFormatter) else self._fields_of
        formatted: str | None = None
        try:
            if formatter is own:
                _add_texts(own, seen, given)
            elif own is not None and "args" not in fields:
                formatted = own.format(record)
        except Exception:  # noqa: BLE001 - a formatter of the user's may do anything; the message is kept
            note("the formatter of the logging bridge failed")
        if formatter is not own and record.stack_info:
            given.setdefault("stack_info", record.stack_info)
        try:
            found: dict[str, Any] = {}
            formatter.add_fields(found, seen, given)
            fields.update(formatter.process_log_record(found))
        except Exception:  # noqa: BLE001 - the same; then the user's keys are not to be had
            note("the formatter of the logging bridge failed")
        text = fields.pop("message", None)
        if formatted is not None:
            return as_text(formatted)
        return seen.message if text is None else as_text(text)


def _add_texts(own: BaseJsonFormatter, seen: logging.LogRecord, given: dict[str, Any]) -> None:
    """What python-json-logger makes of time, exception and stack before it names and renames fields."""
    seen.asctime = own.formatTime(seen, own.datefmt)
    wanted = own.exc_info_as_array or "exc_info" in own.rename_fields
    if wanted and seen.exc_info and seen.exc_info[0] is not None:
        given.setdefault("exc_info", own.formatException(seen.exc_info))
    if seen.stack_info:
        given.setdefault("stack_info", own.formatStack(seen.stack_info))


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
    """The exception that `exc_info` means: itself, or in a tuple of three."""
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple) and len(info) == 3 and isinstance(info[1], BaseException):
        return info[1]
    return None
