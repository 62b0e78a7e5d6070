"""One line to one row of columns, without making an `Event`: the part of indexing that takes the time.

`PlainLines.take` reads a line only if it is in the log's own form and valid in every key that makes it an
event; it refuses any other line, which `gathering` then decodes in full. A test holds that both ways come to
the same columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final
from zlib import crc32

import orjson

from Agent.analysis.query.views import is_error
from Agent.analysis.stats import number
from Agent.event.clock import parse_timestamp
from Agent.event.codec import CURRENT_SCHEMA, LARGEST_NUMBERS, is_state_change
from Agent.event.ids import SEQ_DIGITS, WRITER_CHARS
from Agent.event.model import Event
from Agent.tree.read.losses import TELLING
from Agent.view.index.columns import (
    ERROR,
    FULL_STATE,
    NO_TICK,
    NOBODY,
    RECEIVED,
    SENT,
    STATE,
    WARNING,
    Batch,
    Tables,
)

_LONGEST_MS: Final = 1e12
MOST_TICK: Final = 2**62
"""A tick that is larger, or as small, counts as none."""
_FULL: Final = frozenset({"state", "checkpoint"})
_FAILED: Final = frozenset({"ERROR", "CRITICAL"})
_KEPT_SECONDS: Final = 100_000


def mark(text: str) -> int:
    """Return 32 bits of a text, by which rows are found that may name it."""
    return crc32(text.encode("utf-8", "surrogatepass"))


def message_key(message_id: str) -> int:
    """Return 64 bits of a message's id, by which its halves are found."""
    digest = blake2b(message_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def add_event(batch: Batch, tables: Tables, event: Event, source: int, offset: int, flags: int) -> None:
    """Add a decoded event as a row."""
    extra = event.extra
    flags |= ERROR if is_error(event) else WARNING if event.level == "WARNING" else 0
    if event.state is not None or event.kind == "state_change":
        flags |= STATE
    if event.kind in _FULL:
        flags |= FULL_STATE
    agent_id = event.agent_id
    agent = NOBODY if agent_id is None else tables.agents[agent_id]
    if event.agent_role is not None:
        tables.roles[agent] = event.agent_role
    if event.kind == "agent_message":
        flags |= _message(batch, tables, extra)
    for cause in event.causes:
        _link(batch, cause)
    error_id = extra.get("error_id")
    if isinstance(error_id, str):
        _link(batch, error_id)
    add = batch.columns
    add["t_us"].append(event.timestamp_us)
    add["writer"].append(tables.writers[event.writer])
    add["seq"].append(event.seq)
    add["agent"].append(agent)
    add["kind"].append(min(tables.kinds[event.kind], 65_535))
    add["flags"].append(flags)
    add["duration_us"].append(_duration_us(event.span_id, extra))
    add["tick"].append(NO_TICK if event.tick is None or abs(event.tick) >= MOST_TICK else event.tick)
    add["file"].append(source)
    add["offset"].append(offset)
    add["span"].append(mark(event.span_id) if event.span_id else 0)
    add["parent"].append(mark(event.parent_span_id) if event.parent_span_id else 0)


def _message(batch: Batch, tables: Tables, extra: Mapping[str, Any]) -> int:
    """Note a half of a message, and return its flag."""
    is_sent = str(extra.get("direction", "")).startswith("sen")
    message_id = extra.get("message_id")
    if message_id is not None:
        other = extra.get("recipient" if is_sent else "sender")
        batch.messages["place"].append(len(batch))
        batch.messages["key"].append(message_key(str(message_id)))
        batch.messages["party"].append(tables.parties[other] if isinstance(other, str) else -1)
    return SENT if is_sent else RECEIVED


def _link(batch: Batch, event_id: str) -> None:
    batch.links["place"].append(len(batch))
    batch.links["key"].append(mark(event_id))


def _duration_us(span_id: str | None, extra: Mapping[str, Any]) -> float:
    """Return the duration of a span in microseconds; 0 for other events, and for what is no duration."""
    taken_ms = None if span_id is None else number(extra.get("duration_ms"))
    return taken_ms * 1000 if taken_ms is not None and 0 <= taken_ms < _LONGEST_MS else 0.0


class PlainLines:
    """Reads lines into batches.

    Args:
        tables: the texts that columns refer to; it grows.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._seconds: dict[str, int] = {}
        self._parent: str | None = None
        self._parent_mark = 0

    def _second_us(self, text: str) -> int | None:
        """Return the time of a timestamp up to its second; None if it is malformed."""
        if len(self._seconds) > _KEPT_SECONDS:
            self._seconds.clear()
        try:
            found = self._seconds[text] = parse_timestamp(f"{text}Z")
        except ValueError:
            return None
        return found

    def take(self, batch: Batch, line: bytes, source: int, offset: int) -> bool:
        """Add a line as a row; False, and nothing added, if it has to be decoded in full."""
        try:
            obj = orjson.loads(line)
            extra, timestamp, event_id = obj["extra"], obj["timestamp"], obj["id"]
            version = obj["schema_version"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return False
        get = obj.get
        if type(extra) is not dict or version != CURRENT_SCHEMA or type(version) is not int or "type" in obj:
            return False
        kind = extra.get("event_type", "log")
        level, tick, state = get("level", "INFO"), get("tick"), get("state")
        span, parent = get("span_id"), get("parent_span_id")
        run, code = get("run_id"), get("code")
        if (
            type(kind) is not str
            or kind in TELLING
            or type(level) is not str
            or type(get("message", "")) is not str
            or type(get("session_id", "")) is not str
            or type(get("logger", "")) is not str
            or (span is not None and type(span) is not str)
            or (parent is not None and type(parent) is not str)
            or (run is not None and type(run) is not str)
            or (code is not None and type(code) is not str)
            or (tick is not None and (type(tick) is not int or abs(tick) >= MOST_TICK))
            or (state is not None and not is_state_change(state))
            or type(timestamp) is not str
            or len(timestamp) != 27
            or timestamp[19] != "."
            or timestamp[26] != "Z"
            or type(event_id) is not str
        ):
            return False
        second_us = self._seconds.get(timestamp[:19])
        if second_us is None:
            second_us = self._second_us(timestamp[:19])
        micros, seq = timestamp[20:26], event_id[WRITER_CHARS + 1 :]
        if (
            second_us is None
            or not (micros.isdigit() and micros.isascii())
            or event_id[WRITER_CHARS : WRITER_CHARS + 1] != "-"
            or not (seq.isdigit() and seq.isascii())
            or len(seq) > SEQ_DIGITS
            or (seq[0] == "0" and seq != "0")
        ):
            return False
        for name, largest in LARGEST_NUMBERS.get(kind, ()):
            value = extra.get(name)
            if value is not None and type(value) in (int, float) and not -largest <= value <= largest:
                return False
        types = get("types")
        if types is not None and not (
            type(types) is dict and all(type(tag) is str for tag in types.values())
        ):
            return False
        causes = obj.get("causes", ())
        if causes != () and (type(causes) is not list or not all(type(each) is str for each in causes)):
            return False
        self._add(batch, kind, level, span, extra, has_state=state is not None)
        for cause in causes:
            _link(batch, cause)
        tables, columns = self._tables, batch.adders
        columns[0](second_us + int(micros))
        columns[1](tables.writers[event_id[:WRITER_CHARS]])
        columns[2](int(seq))
        columns[3](tick if tick is not None else NO_TICK)
        columns[4](source)
        columns[5](offset)
        columns[6](crc32(span.encode()) if span else 0)
        if parent != self._parent:  # events that follow each other mostly have the same
            self._parent, self._parent_mark = parent, mark(parent) if parent else 0
        columns[7](self._parent_mark)
        return True

    def _add(
        self, batch: Batch, kind: str, level: str, span: str | None, extra: dict[str, Any], *, has_state: bool
    ) -> None:
        """Add what the kind and the payload say."""
        error_id = extra.get("error_id")
        if error_id is not None and type(error_id) is str:
            _link(batch, error_id)
        flags = 0
        if kind == "error" or (level in _FAILED and error_id is None):
            flags = ERROR
        elif level == "WARNING":
            flags = WARNING
        if has_state or kind == "state_change":
            flags |= STATE
        if kind in _FULL:
            flags |= FULL_STATE
        tables, agent_id = self._tables, extra.get("agent_id")
        if kind == "agent_message":
            flags |= _message(batch, tables, extra)
        agent = NOBODY if type(agent_id) is not str else tables.agents[agent_id]
        role = extra.get("agent_role")
        if type(role) is str:
            tables.roles[agent] = role
        columns = batch.adders
        columns[8](agent)
        columns[9](min(tables.kinds[kind], 65_535))
        columns[10](flags)
        columns[11](0.0 if span is None or "duration_ms" not in extra else _duration_us(span, extra))
