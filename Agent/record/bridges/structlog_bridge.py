"""Write structlog's events to the tree, with one processor in the program's chain of processors.

Bound values and `structlog.contextvars` become keys of the event's `extra`. `logging_bridge.py` writes the
event.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, NoReturn

from Agent.errors import MissingExtra
from Agent.record.bridges.logging_bridge import (
    Foreign,
    exception_in,
    is_recorded,
    level_below,
    named,
    record_foreign,
)
from Agent.record.encode.safe_text import as_text

try:
    from structlog import DropEvent
    from structlog.contextvars import get_contextvars
except ImportError:
    raise MissingExtra(
        "structlog, which this bridges, is not installed",
        remedy='install it with pip install "agent-trace[bridges]"',
    ) from None

_LEVELS = {
    "debug": 10, "info": 20, "msg": 20, "log": 20, "warning": 30, "warn": 30,
    "error": 40, "err": 40, "failure": 40, "exception": 40, "critical": 50, "fatal": 50,
}  # fmt: skip


def structlog_processor(
    logger: Any, method_name: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Write the event to the tree and return it unchanged; place this processor before the renderer.

    The message is `event`, the level is that of the method, the logger's name is from `add_logger_name`.
    After a renderer, only the rendered text is available, and becomes the message.
    """
    is_event = isinstance(event_dict, Mapping)  # else the output of a renderer
    level = _level(method_name, event_dict if is_event else {})
    if is_recorded(level):
        read = _read if is_event else _rendered
        record_foreign(lambda: read(logger, level, event_dict))
    return event_dict


def structlog_renderer(logger: Any, method_name: str, event_dict: MutableMapping[str, Any]) -> NoReturn:
    """Write the event only to the tree; place this processor at the end of the chain.

    Raises:
        structlog.DropEvent: always, so that structlog prints nothing.
    """
    structlog_processor(logger, method_name, event_dict)
    raise DropEvent


def _level(method_name: str, event_dict: Mapping[str, Any]) -> int:
    number = event_dict.get("level_number")
    if type(number) is int:
        return level_below(number)
    level = event_dict.get("level")
    name = level if type(level) is str and level.lower() in _LEVELS else as_text(method_name)
    return _LEVELS.get(name.lower(), 20)


def _read(logger: Any, level: int, event_dict: Mapping[str, Any]) -> Foreign:
    fields: dict[Any, Any] = {**get_contextvars(), **event_dict}
    message = as_text(fields.pop("event", ""))
    info = fields.pop("exc_info", None)
    # `exc_info=True` means the current exception.
    error = exception_in(sys.exc_info() if info and not isinstance(info, BaseException | tuple) else info)
    for key in ("level", "level_number", "_record", "_from_structlog"):
        fields.pop(key, None)
    name = fields.pop("logger", None)
    if name is None:
        name = getattr(logger, "name", None)
    return Foreign(named(name, "structlog"), level, message, fields, error)


def _rendered(logger: Any, level: int, rendered: Any) -> Foreign:
    text = (
        rendered.decode("utf-8", "replace") if isinstance(rendered, bytes | bytearray) else as_text(rendered)
    )
    return Foreign(named(getattr(logger, "name", None), "structlog"), level, text, {})
