"""Brings in the events that a causal walk needs: agents' own files first, the engine for what they lack.

`chains` walks over what stands here; nothing is read that no step of the walk asks for.
"""

# ruff: noqa: S608 - statements are put together from names of this package alone; values are parameters
from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

from Agent.analysis.causality.event_window import FilledWindow, Row, load_event
from Agent.analysis.query.engine import Engine
from Agent.analysis.query.event_dict import EVENT_COLUMNS, engine_row, event_row
from Agent.analysis.query.views import whole_lines
from Agent.errors import AgentNotFound
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.ids import split_event_id
from Agent.tree.read.reader import TreeReader

MAX_EVENTS_EACH = 20_000
"""How many events of one agent are held, the newest of the stretch."""
MAX_LINKED = 20_000
"""How many events of other agents one query brings in."""
TRAIL_US = 60_000_000
"""How long after the stretch the end of a span that was open in it is looked for in an agent's files."""
MAX_QUERIES = 6
_BLOCK_BYTES = 1024 * 1024


class Links(FilledWindow):
    """A window over a stretch of a session that fills itself.

    Args:
        reader: of the session, for agents' files.
        engine: over all of the session.
        since_us: where the stretch begins.
        until_us: its last microsecond.
        max_queries: how often the engine may be asked.
        lines: what it is asked, of `cached_events`; None for the files.
    """

    def __init__(
        self,
        reader: TreeReader,
        engine: Engine,
        since_us: int,
        until_us: int,
        *,
        max_queries: int = MAX_QUERIES,
        lines: str | None = None,
    ) -> None:
        super().__init__(max_queries)
        self._reader, self._engine = reader, engine
        self.since_us, self.until_us = since_us, until_us
        self._lines = lines or whole_lines()

    def _ask(self, ids: set[str], around: set[str], inside: set[str]) -> None:
        places = [place for place in map(_place, ids) if place is not None]
        found = self._engine.rows(
            f"SELECT {EVENT_COLUMNS} FROM {self._lines} WHERE ts_us BETWEEN $1 AND $2 AND ("
            "(list_contains($3, seq) AND list_contains($4, concat(writer, '-', seq))) "
            "OR list_contains($5, span_id) OR list_contains($6, parent_span_id)) LIMIT $7",
            [
                self.since_us,
                max(self.until_us, self.until_us + TRAIL_US * bool(around)),
                [seq for _, seq in places] or [-1],
                [f"{writer}-{seq}" for writer, seq in places] or [""],
                sorted(around) or [""],
                sorted(inside) or [""],
                MAX_LINKED,
            ],
        )
        self.add(map(engine_row, found))

    def _add_agent(self, agent_id: str) -> None:
        """Add the agent's events of the stretch, and the spans open at its end."""
        kept: deque[Row] = deque(maxlen=MAX_EVENTS_EACH)
        open_later: list[Row] = []
        wanted: set[str] = set()
        try:
            for event in self._reader.events(agent_id, since_us=self.since_us):
                if event.timestamp_us <= self.until_us:
                    kept.append(event_row(event))
                elif not wanted or event.timestamp_us > self.until_us + TRAIL_US:
                    break
                elif event.span_id in wanted:
                    open_later.append(event_row(event))
                else:
                    continue
                wanted.discard(event.span_id or "")
                if event.parent_span_id and event.parent_span_id not in self.by_span:
                    wanted.add(event.parent_span_id)
        except AgentNotFound:
            pass  # named by a message only
        self.add([*kept, *open_later])


def _place(event_id: str) -> tuple[str, int] | None:
    """Writer and number of an event, None where the text is no id and so names no event."""
    try:
        return split_event_id(event_id)
    except ValueError:
        return None


def find_event(reader: TreeReader, engine: Engine, event_id: str) -> Row | None:
    """One event by its id: files are searched for its bytes, the archive is asked for what they lack."""
    if _place(event_id) is None:
        return None
    mark = b'"id":"' + event_id.encode() + b'"'
    writer = event_id.rpartition("-")[0]
    # a file that carries the writer in its name is the likeliest
    for path in sorted(reader.files(), key=lambda path: f"@{writer}." not in path.name):
        line = _line_with(path, mark)
        while line is not None:
            try:
                event = decode_line(line[0])
                if event.id == event_id:
                    return event_row(event)
            except DamagedLine:
                pass  # its pieces name the id, it is no event
            line = _line_with(path, mark, line[1])
    return load_event(engine, event_id) if (reader.session / "archive").is_dir() else None


def _line_with(path: Path, mark: bytes, start: int = 0) -> tuple[bytes, int] | None:
    """The first line from an offset on that holds some bytes, and where the next one begins."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None  # rolled or retired meanwhile
    with file:
        position = start
        while True:
            file.seek(position)
            block = file.read(_BLOCK_BYTES)
            at = block.find(mark)
            if at >= 0:
                begin = block.rfind(b"\n", 0, at) + 1
                if begin == 0:
                    begin = _line_start(file, position + at) - position
                file.seek(position + begin)
                line = file.readline()
                return line.rstrip(b"\n"), position + begin + len(line)
            if len(block) < _BLOCK_BYTES:
                return None
            position += len(block) - len(mark)


def _line_start(file: Any, offset: int) -> int:
    """The offset at which the line around an offset begins."""
    while offset > 0:
        step = min(_BLOCK_BYTES, offset)
        file.seek(offset - step)
        newline = file.read(step).rfind(b"\n")
        if newline >= 0:
            return int(offset - step + newline + 1)
        offset -= step
    return 0
