"""Third-party `logging` records in the tree: one handler, and nobody changes a line.

`python-json-logger` says which fields a record has; the bytes are made by our own codec, which no value can
break. From here a record goes through `external_records.py`.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING, Any

from Agent.errors import MissingExtra
from Agent.record.bridges.external_records import (
    Foreign,
    is_recorded,
    level_below,
    named,
    record_foreign,
)
from Agent.record.emit import installed
from Agent.record.encode.safe_text import as_text
from Agent.record.health import note

if TYPE_CHECKING:
    from pythonjsonlogger.core import BaseJsonFormatter

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
        error = _exception(record.exc_info)
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


def _exception(
    info: tuple[type[BaseException] | None, BaseException | None, TracebackType | None] | Any,
) -> BaseException | None:
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple) and len(info) == 3 and isinstance(info[1], BaseException):
        return info[1]
    return None
