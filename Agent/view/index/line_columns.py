"""Converts one line to one row of columns: from a decoded event, or in C without decoding it.

`RowReader` accepts a line only if it has the log's canonical form and every required key is valid;
`gathering` decodes other lines and calls `add_event`. A test checks that both ways give the same columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from Agent.analysis.query.views import is_error
from Agent.analysis.stats import number
from Agent.event.codec import CURRENT_SCHEMA
from Agent.event.model import Event
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

if TYPE_CHECKING:
    from Agent.view.index import _rows

_Rows: type[_rows.Rows] | None
try:
    from Agent.view.index import _rows

    _Rows = _rows.Rows
except (ImportError, AttributeError):  # built without a compiler, or from an older source
    _Rows = None

_LONGEST_MS: Final = 1e12
MOST_TICK: Final = 2**62
"""Ticks outside this limit count as missing."""
_FULL: Final = frozenset({"state", "checkpoint"})


def is_built() -> bool:
    """Return whether the C extension is available."""
    return _Rows is not None


def mark(text: str) -> int:
    """Return a 32-bit hash of a text, to find rows that may name it."""
    return crc32(text.encode("utf-8", "surrogatepass"))


def message_key(message_id: str) -> int:
    """Return a 64-bit hash of a message's id, to find its halves."""
    text = message_id.encode("utf-8", "surrogatepass")
    return crc32(text) << 32 | crc32(text[::-1])


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
    """Add a half of a message, and return its flag."""
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
    """Return the duration of a span in microseconds; 0 for other events and invalid durations."""
    taken_ms = None if span_id is None else number(extra.get("duration_ms"))
    return taken_ms * 1000 if taken_ms is not None and 0 <= taken_ms < _LONGEST_MS else 0.0


class RowReader:
    """Reads the lines of a block into a batch, except those that need decoding.

    In C, a line costs 1/15 of `add_event`; without the extension every line is decoded.

    Args:
        tables: the texts that columns refer to; new texts are added.
    """

    def __init__(self, tables: Tables) -> None:
        names = (tables.agents, tables.kinds, tables.writers, tables.parties)
        self._rows = None if _Rows is None else _Rows(*names, tables.roles, CURRENT_SCHEMA)

    def take(
        self, batch: Batch, lines: bytes, source: int, offset: int, *, numbered: bool = False
    ) -> list[tuple[int, int, int]]:
        """Add the lines in canonical form as rows.

        Args:
            batch: receives the rows.
            lines: the bytes of the lines; only the last may lack its newline.
            source: the index of the source.
            offset: the offset of the first line.
            numbered: whether offsets count lines instead of bytes.

        Returns:
            (number, begin, end) of every other line: its number from 0, and its range in `lines`.
        """
        if self._rows is None:
            return list(_places(lines))
        columns, odd = self._rows.take(lines, source, offset, len(batch), numbered)
        for column, data in zip(batch.all_columns(), columns, strict=True):
            column.frombytes(data)
        return odd


def _places(lines: bytes) -> Iterator[tuple[int, int, int]]:
    at = 0
    for index, line in enumerate(lines.split(b"\n")):
        if line:
            yield index, at, at + len(line)
        at += len(line) + 1
