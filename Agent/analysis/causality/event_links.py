"""Events with their links: spans, causes, messages and agents, and the values that one event gave another.

They are read from files or held in memory.
"""

# ruff: noqa: S608 - statements are built only from names of this package; values are parameters
from __future__ import annotations

import bisect
import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from Agent.analysis.query.engine import Engine
from Agent.analysis.query.views import EVENT_COLUMNS, Only, engine_row, event_row, scan, whole_lines
from Agent.analysis.stats import length_us
from Agent.errors import AgentNotFound, EventNotFound
from Agent.event.clock import parse_timestamp
from Agent.event.codec import DamagedLine, decode_line
from Agent.event.ids import split_event_id
from Agent.event.pointers import escape
from Agent.tree.layout import NO_FILE, open_file
from Agent.tree.read.reader import TreeReader

Row = dict[str, Any]
MAX_AGENTS: Final = 20


def time_us(row: Row) -> int:
    """An event dict's time in microseconds since 1970."""
    return parse_timestamp(row["timestamp"])


def order(row: Row) -> tuple[int, str, int]:
    """The sort key for event dicts: time, then writer and number."""
    writer, _, seq = row["id"].rpartition("-")
    return time_us(row), writer, int(seq)


def started_us(row: Row) -> int:
    """When the event began, in microseconds: its time, less the duration if it is a span."""
    return max(time_us(row) - (length_us(row["extra"].get("duration_ms")) if row["span_id"] else 0), 0)


class EventWindow:
    """A time range of a session, whose events are loaded on demand, one query for each step back.

    They are indexed by id, span, message and agent.

    Args:
        max_questions: the maximum number of queries for links; reading the events of single agents does not
            count.
    """

    def __init__(self, max_questions: int) -> None:
        self.by_id: dict[str, Row] = {}
        self.by_span: dict[str, Row] = {}
        self.inside: defaultdict[str, list[Row]] = defaultdict(list)
        self.sent: dict[str, Row] = {}
        self._by_agent: defaultdict[str, list[tuple[tuple[int, str, int], Row]]] = defaultdict(list)
        self.absent: set[str] = set()
        """Ids that were queried and are not in the time range."""
        self._agents: set[str] = set()
        self._asked: set[str] = set()
        self._questions_left = max_questions

    def add(self, rows: Iterable[Row]) -> None:
        """Add events; those already known are ignored."""
        agents, spans = set(), set()
        for row in rows:
            if row["id"] in self.by_id:
                continue
            self.by_id[row["id"]] = row
            if row["span_id"]:
                self.by_span[row["span_id"]] = row
            if row["parent_span_id"]:
                self.inside[row["parent_span_id"]].append(row)
                spans.add(row["parent_span_id"])
            if row["agent_id"] is not None:
                self._by_agent[row["agent_id"]].append((order(row), row))
                agents.add(row["agent_id"])
            if row["event_type"] == "agent_message" and is_sent(row):
                self.sent[str(row["extra"].get("message_id"))] = row
        for agent in agents:
            self._by_agent[agent].sort(key=lambda pair: pair[0])
        for span in spans:
            self.inside[span].sort(key=order)

    def before(self, row: Row, until_us: int, most: int) -> list[Row]:
        """Of the agent's last `most` events before an event, return those up to a time, nearest first."""
        known = self._by_agent.get(row["agent_id"], [])
        index = bisect.bisect_left(known, order(row), key=lambda pair: pair[0])
        near = known[max(index - most, 0) : index]
        return [row for key, row in reversed(near) if key[0] <= until_us]

    def after(self, row: Row) -> list[Row]:
        """The same agent's events after an event, nearest first."""
        known = self._by_agent.get(row["agent_id"], [])
        index = bisect.bisect_right(known, order(row), key=lambda pair: pair[0])
        return [row for _, row in known[index:]]

    def prepare(self, rows: Iterable[Row], *, fails: Callable[[Row], bool]) -> None:
        """Load the events that are linked to some events; where `fails` is true, also those inside a span."""
        rows = list(rows)
        self.add(rows)
        for row in rows:
            self.read_agent(row["agent_id"])
            if row["event_type"] == "agent_message" and not is_sent(row):
                self.read_agent(row["extra"].get("sender"))
        ids, around, inside = self._unknown(rows, fails)
        if (ids or around or inside) and self._questions_left > 0:
            self._questions_left -= 1
            self._ask(ids, around, inside)
        self.absent |= {each for each in ids if each not in self.by_id}

    def _unknown(self, rows: list[Row], fails: Callable[[Row], bool]) -> tuple[set[str], set[str], set[str]]:
        ids, around, inside = set(), set(), set()
        for row in rows:
            error_id = row["extra"].get("error_id")
            named = [*row["causes"], *([error_id] if isinstance(error_id, str) else [])]
            ids |= {each for each in named if each not in self.by_id}
            if row["parent_span_id"] and row["parent_span_id"] not in self.by_span:
                around.add(row["parent_span_id"])
            if row["span_id"] and error_id is None and fails(row):
                inside.add(row["span_id"])
        new = [{each for each in group if each not in self._asked} for group in (ids, around)]
        # the prefix separates the query for a span's contents from that for the span itself
        inside = {each for each in inside if f"in {each}" not in self._asked}
        self._asked |= new[0] | new[1] | {f"in {each}" for each in inside}
        return new[0], new[1], inside

    def read_agent(self, agent_id: Any) -> None:
        """Load one agent's events in the time range; at most 20 agents."""
        if isinstance(agent_id, str) and agent_id not in self._agents and len(self._agents) < MAX_AGENTS:
            self._agents.add(agent_id)
            self._add_agent(agent_id)

    def _ask(self, ids: set[str], around: set[str], inside: set[str]) -> None:
        """Add events by id, spans by their span id, and the events inside spans."""
        raise NotImplementedError

    def _add_agent(self, agent_id: str) -> None:
        """Add the events of an agent."""
        raise NotImplementedError


def is_sent(row: Row) -> bool:
    """Whether a message event is the sender's half."""
    return str(row["extra"].get("direction", "")).startswith("sen")


def changed_fields(row: Row) -> dict[str, Any]:
    """The fields that an event set, with their new values."""
    state = row["state"] or {}
    new = state.get("set")
    if isinstance(new, dict) and new:
        return new
    if row["event_type"] == "state_change" and isinstance(row["extra"].get("new_state"), dict):
        old = row["extra"].get("old_state")
        old = old if isinstance(old, dict) else {}
        return {
            key: value for key, value in row["extra"]["new_state"].items() if old.get(key, _ABSENT) != value
        }
    return {}


_ABSENT: Final = object()


def load_event(engine: Engine, event_id: str) -> Row | None:
    """Load one event by its id; None if the session does not have it."""
    place = _place(event_id)
    if place is None:
        return None
    rows = engine.rows(
        f"SELECT {EVENT_COLUMNS} FROM {whole_lines(Only(ids=[event_id]))} "
        "WHERE writer = ? AND seq = ? LIMIT 1",
        place,
    )
    return engine_row(rows[0]) if rows else None


MAX_EVENTS_EACH = 20_000
"""The maximum number of events held of one agent: the newest in the time range."""
MAX_LINKED = 20_000
"""The maximum number of events of other agents that one query loads."""
TRAIL_US = 60_000_000
"""How long after the time range to look for the ends of spans that were open at its end."""
MAX_QUERIES = 6
_MAX_CONTAINING = 50
_BLOCK_BYTES = 1024 * 1024


class Links(EventWindow):
    """A window over a time range of a session that loads events from files and with queries.

    Args:
        reader: of the session, for agents' files.
        engine: over the whole session.
        since_us: the start of the range.
        until_us: the last microsecond of the range.
        max_questions: the maximum number of queries for links.
    """

    def __init__(
        self,
        reader: TreeReader,
        engine: Engine,
        since_us: int,
        until_us: int,
        max_questions: int = MAX_QUERIES,
    ) -> None:
        super().__init__(max_questions)
        self._reader, self._engine = reader, engine
        self.since_us, self.until_us = since_us, until_us
        self._has_asked = False

    def _ask(self, ids: set[str], around: set[str], inside: set[str]) -> None:
        places = [place for place in map(_place, ids) if place is not None]
        until_us = max(self.until_us, self.until_us + TRAIL_US * bool(around))
        if self._has_asked:
            self._engine.ends_us()  # one pass over all lines builds an index for the next queries
        self._has_asked = True
        only = Only(
            since_us=self.since_us,
            until_us=until_us,
            ids=[f"{writer}-{seq}" for writer, seq in places],
            spans=around | inside,
        )
        where = (
            "WHERE ts_us BETWEEN $1 AND $2 AND ("
            "(list_contains($3, seq) AND list_contains($4, concat(writer, '-', seq))) "
            "OR list_contains($5, span_id) OR list_contains($6, parent_span_id))"
        )
        parameters = [
            self.since_us,
            until_us,
            [seq for _, seq in places] or [-1],
            [f"{writer}-{seq}" for writer, seq in places] or [""],
            sorted(around) or [""],
            sorted(inside) or [""],
            MAX_LINKED,
        ]
        if self._engine.is_archived:
            # An archive is in order of agents: where no event of theirs is, whole lines are not read.
            found = self._engine.rows(f"SELECT seq, agent_id FROM {scan()} {where} LIMIT $7", parameters)
            if not found:
                return
            parameters.append([row["seq"] for row in found])
            where += " AND seq IN (SELECT unnest($8))"
            if all(row["agent_id"] is not None for row in found):
                parameters.append(sorted({row["agent_id"] for row in found}))
                where += " AND agent_id IN (SELECT unnest($9))"
        rows = self._engine.rows(
            f"SELECT {EVENT_COLUMNS} FROM {whole_lines(only)} {where} LIMIT $7", parameters
        )
        self.add(map(engine_row, rows))

    def containing(self, texts: Sequence[str], until: Row) -> list[Row]:
        """Up to 50 events before an event began whose payload or state has JSON texts, in order of time.

        Those with most of the texts are chosen, and the newest of these.
        """
        until_us = started_us(until)
        has = [
            f"(contains(CAST(extra AS VARCHAR), ${at}) OR contains(CAST(state AS VARCHAR), ${at}))"
            for at in range(4, 4 + len(texts))
        ]
        count = " + ".join(f"coalesce({each}, false)::INTEGER" for each in has)
        rows = self._engine.rows(
            f"SELECT {EVENT_COLUMNS} FROM {whole_lines(Only(since_us=self.since_us, until_us=until_us))} "
            f"WHERE ts_us BETWEEN $1 AND $2 AND ({' OR '.join(has)}) "
            f"ORDER BY {count} DESC, ts_us DESC, seq DESC LIMIT $3",
            [self.since_us, until_us, _MAX_CONTAINING, *texts],
        )
        before = order(until)
        return sorted((each for each in map(engine_row, rows) if order(each) < before), key=order)

    def _add_agent(self, agent_id: str) -> None:
        """Add the agent's events in the range, and the spans that were open at its end."""
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
            pass  # the agent is only named in a message
        self.add([*kept, *open_later])


def _place(event_id: str) -> tuple[str, int] | None:
    """Writer and number of an event id; None if the text is not an event id."""
    try:
        return split_event_id(event_id)
    except ValueError:
        return None  # a text of the program in a place for an event id


def find_event(reader: TreeReader, engine: Engine, event_id: str) -> Row | None:
    """Load one event by its id: search the files for its bytes, then query the archive if there is one.

    If the engine has an index of the lines, query it first.
    """
    if _place(event_id) is None:
        return None
    if engine.is_indexed:
        return load_event(engine, event_id)
    mark = b'"id":"' + event_id.encode() + b'"'
    writer = event_id.rpartition("-")[0]
    # start with the files whose names contain the writer
    for path in sorted(reader.files(), key=lambda path: f"@{writer}." not in path.name):
        for line in _lines_with(path, mark):
            with suppress(DamagedLine):  # a damaged line that contains the id
                event = decode_line(line)
                if event.id == event_id:
                    return event_row(event)
    return load_event(engine, event_id) if (reader.session / "archive").is_dir() else None


def no_event(event_id: str, where: str = "this session") -> EventNotFound:
    """The error for an id that no event has."""
    return EventNotFound(f"no event {event_id!r} in {where}", remedy="every line has an id, as writer-number")


def _lines_with(path: Path, mark: bytes) -> Iterator[bytes]:
    """The lines of a file that contain some bytes."""
    try:
        file = os.fdopen(open_file(path)[0], "rb")
    except OSError as error:
        if error.errno not in NO_FILE:
            raise
        return  # rolled or retired in the meantime, or not a regular file
    with file:
        rest = b""
        while block := file.read(_BLOCK_BYTES):
            lines, _, rest = (rest + block).rpartition(b"\n")
            if mark in lines:
                yield from (line for line in lines.split(b"\n") if mark in line)
        if mark in rest:
            yield rest


_MAX_LEAVES: Final = 2_000
_RARE_FROM: Final = 10_000
_RARE_LENGTH: Final = 8
OUTSIDE: Final = {
    "tool.call": "a recorded response of the tool {}",
    "model.call": "a recorded response of the model {}",
    "source.read": "read from {}",
}
"""Kinds of events whose values come from outside the recorded agents."""


class Given(NamedTuple):
    """A value in an event that a later one may have it from."""

    path: str
    """Where the value is, such as `args.order.total` or `message.body.size`."""
    value: Any
    row: Row
    """The event that has it: the action itself for its arguments and the agent's fields."""
    kind: str
    """`args`, `field`, `message`, `result`, or `outside`."""


def givers(links: Links, row: Row, values: Sequence[Any]) -> Iterator[list[Given]]:
    """Yield, newest first, what each result or new state before an event has of some values."""
    for each in reversed(links.containing([orjson.dumps(value).decode() for value in values], row)):
        fields = [leaves(name, new, each, "field") for name, new in changed_fields(each).items()]
        given = list(chain(given_by(each, None), *fields))
        same = [next((has for has in given if equal(has.value, value)), None) for value in values]
        if found := [has for has in same if has is not None]:
            yield found


def given_by(row: Row, error: Row | None) -> Iterator[Given]:
    """Yield the values that an action received from an event inside it, or from the event's exception."""
    kind, extra = row["event_type"], row["extra"]
    if error is not None:
        of = "outside" if kind in OUTSIDE else "result"
        for key in ("error_attributes", "error_message"):
            yield from leaves(key, error["extra"].get(key), row, of)
    if kind in OUTSIDE:
        for key in ("result", "response", "output", "value", "values"):
            yield from leaves(key, extra.get(key), row, "outside")
    elif kind == "agent_message" and not is_sent(row):
        yield from leaves("message.body", extra.get("body"), row, "message")
    elif kind == "agent_action":
        yield from leaves("result", extra.get("result"), row, "result")


def leaves(path: str, value: Any, row: Row, kind: str) -> Iterator[Given]:
    """Yield the value and the values in it, with their paths; at most 2,000."""
    open_: list[tuple[str, Any]] = [(path, value)]
    for _ in range(_MAX_LEAVES):
        if not open_:
            return
        where, node = open_.pop(0)
        if node is not None:
            yield Given(where, node, row, kind)
        if isinstance(node, dict):
            open_ += [(_below(where, str(key), kind), each) for key, each in node.items()]
        elif isinstance(node, list):
            open_ += [(_below(where, str(index), kind), each) for index, each in enumerate(node)]


def _below(path: str, key: str, kind: str) -> str:
    if kind != "field":
        return f"{path}.{key}"
    return f"{path if path.startswith('/') else '/' + escape(path)}/{escape(key)}"


def rare_values(value: Any) -> list[Any]:
    """The rare texts and numbers in a value, each once."""
    found = (each.value for each in leaves("", value, {}, "args"))
    return [*{each: None for each in found if isinstance(each, (str, int, float)) and is_rare(each)}]


def is_rare(value: Any) -> bool:
    """Whether two events that have the value by chance are unlikely."""
    if isinstance(value, (int, float)):
        return value % 1 != 0 or abs(value) >= _RARE_FROM
    return len(value) >= _RARE_LENGTH


def equal(one: Any, other: Any) -> bool:
    """Whether two values of one type are equal."""
    return type(one) is type(other) and bool(one == other)


def name_of(row: Row) -> str:
    """The name of an event's action, tool, model or source; its kind if it has none."""
    extra = row["extra"]
    for key in ("action_type", "tool", "tool_name", "model", "model_name", "source", "name"):
        if isinstance(extra.get(key), str):
            return str(extra[key])
    if row["event_type"] == "agent_message":
        return "send" if is_sent(row) else "receive"
    return str(row["event_type"])
