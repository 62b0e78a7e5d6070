"""structlog's suite with our processor before the last one of every chain, and our bridge in every handler of a stream.

The suite then says whether chains, loggers and formatters do what they did; beside it each event that passes our
processor is held to have been left as it was, and to be recorded with its message, its level and all its keys.
`JSONRenderer` becomes the renderer that records, and gives what was recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from types import SimpleNamespace
from typing import Any

import pytest
from outcomes_plugin import called
from record_handlers import as_message, lines_of, recording, replace_streams

from Agent.record.encode.safe_text import as_text

replace_streams()
_ABSORBED = {"event", "exc_info", "level", "level_number", "logger", "_record", "_from_structlog"}


class _Sink:
    """The recording of the case that runs."""

    current: Any = None


def watched(logger: Any, method_name: str, event_dict: MutableMapping[str, Any]) -> Any:
    """Our processor, held to its promises at each event."""
    called()
    sink = _Sink.current
    mapping = isinstance(event_dict, MutableMapping)
    before = dict(event_dict) if mapping else event_dict
    start = len(sink.lines)
    from Agent.bridges import structlog_processor

    given = structlog_processor(logger, method_name, event_dict)
    assert given is event_dict, "the processor handed on something else"
    if not mapping:
        return given
    assert list(before) == list(event_dict), "the processor changed keys"
    assert all(before[key] is event_dict[key] for key in before), "the processor changed a value"
    found = lines_of(sink, start)
    assert found, "the event was not recorded"
    last = found[-1]
    if "event" in before:
        assert last["message"] == as_text(before["event"]), "another message was recorded"
    missing = {
        key
        for key in before
        if isinstance(key, str)
        and key not in _ABSORBED
        and key not in last["extra"]
        and f"user.{key}" not in last["extra"]
    }
    assert not missing, f"keys were not recorded: {sorted(missing)}"
    return given


def _with_ours(process_event: Any) -> Any:
    """`BoundLoggerBase._process_event` with our processor before the last of the chain."""

    def process(self: Any, method_name: str, event: Any, event_kw: Any) -> Any:
        chain = list(self._processors)
        at = max(len(chain) - 1, 0)
        stand_in = SimpleNamespace(
            _context=self._context, _logger=self._logger, _processors=[*chain[:at], watched, *chain[at:]]
        )
        return process_event(stand_in, method_name, event, event_kw)

    return process


def _rendered(self: Any, logger: Any, name: str, event_dict: MutableMapping[str, Any]) -> str | bytes:
    """`JSONRenderer.__call__`, which records the event, and gives as JSON what was recorded of it."""
    from structlog import DropEvent

    from Agent.bridges import structlog_renderer

    called()
    sink = _Sink.current
    start = len(sink.lines)
    with pytest.raises(DropEvent):
        structlog_renderer(logger, name, event_dict)
    (event,) = lines_of(sink, start)
    seen = {key: value for key, value in event["extra"].items() if key != "event_type"}
    said = event_dict if isinstance(event_dict, MutableMapping) else {}
    ours = {"event": as_message(event), "level": event["level"].lower()}
    seen = {
        **{key: seen[key] if key in seen else ours[key] for key in said if key in seen or key in ours},
        **seen,
    }
    options = {key: value for key, value in self._dumps_kw.items() if key != "default"}
    return json.dumps(seen, **options)


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A recording for each case."""
    # Here and not above: structlog keeps the standard streams that it finds when it is loaded.
    import structlog
    from structlog._base import BoundLoggerBase

    monkeypatch.setattr(BoundLoggerBase, "_process_event", _with_ours(BoundLoggerBase._process_event))
    monkeypatch.setattr(structlog.processors.JSONRenderer, "__call__", _rendered)
    # What another case left bound is no part of this one's events.
    structlog.contextvars.clear_contextvars()
    with recording(as_message) as sink:
        _Sink.current = sink
        yield
        _Sink.current = None
