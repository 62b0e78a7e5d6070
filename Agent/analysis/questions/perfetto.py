"""Export a session as a Perfetto trace: a track for each agent, slices, messages as flows, counters.

The file is Perfetto's native protobuf, built with the classes of the package `perfetto`, agent by agent, so
that the memory depends on the largest agent, not on the session. Names, ids, ticks and numbers are exported;
arguments, results, texts of messages and states are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from Agent.analysis.query.engine import Engine
from Agent.analysis.query.kept import needed
from Agent.analysis.query.tables import new_file
from Agent.errors import MissingExtra
from Agent.event.kinds import SNAPSHOT, Meaning
from Agent.event.payloads import kinds_of
from Agent.tree.read.reader import TreeReader

_ROUNDING_NS: Final = 1_000
"""Times are recorded in microseconds and durations in nanoseconds, so neighbours may overlap by this."""
_PACKETS: Final = 2_000
_SEQUENCE: Final = 1
_NEVER: Final = 1 << 63
_LEFT_OUT: Final = {SNAPSHOT, *kinds_of(Meaning.BOOKKEEPING)}

_SPANS: Final = """
SELECT agent_id, id, event_type, coalesce(action_type, metric_name, context, call, event_type) AS name,
       span_id, parent_span_id, ts_us, coalesce(duration_ms, 0) AS duration_ms, tick, outcome, causes, seq
FROM spans ORDER BY agent_id NULLS FIRST, ts_us, writer, seq"""
_OTHERS: Final = """
SELECT agent_id, id, event_type, level, ts_us, tick, causes,
       CASE WHEN event_type IN ('reward', 'metric', 'throughput', 'resource') THEN extra END AS payload
FROM events WHERE span_id IS NULL AND event_type NOT IN ({})
ORDER BY agent_id NULLS FIRST, ts_us, writer, seq"""
_WITH_CHILDREN: Final = """
SELECT span_id, parent_span_id FROM spans
WHERE parent_span_id IS NOT NULL AND span_id IN (SELECT parent_span_id FROM spans)"""
_CAUSES: Final = "SELECT DISTINCT unnest(causes) AS id FROM events WHERE causes IS NOT NULL"


class _Span(NamedTuple):
    agent_id: str | None
    id: str
    kind: str
    name: str
    span_id: str
    parent_span_id: str | None
    ts_us: int
    duration_ms: float
    tick: int | None
    outcome: str | None
    causes: list[str] | None
    seq: int


class _Other(NamedTuple):
    agent_id: str | None
    id: str
    kind: str
    level: str
    ts_us: int
    tick: int | None
    causes: list[str] | None
    payload: str | None


@dataclass(slots=True)
class PerfettoFile:
    """The content of an exported file."""

    path: Path
    slices: int = 0
    instants: int = 0
    counter_values: int = 0
    flows: int = 0
    """The number of links from a cause to its effect with both events in the file."""
    tracks: int = 0
    size_bytes: int = 0


def write_perfetto(path: Path, reader: TreeReader, engine: Engine) -> PerfettoFile:
    """Write a session to a new file that ui.perfetto.dev and `trace_processor` read.

    A slice is a span of an agent: an action, a step, a measured block, a call of a tool or model. Slices are
    nested as the calls were; slices that overlap without nesting, as in concurrent tasks, are on further
    tracks of the agent. A span that never ended has no end. Other events are instants; rewards, metrics,
    throughput and resources are counters. A flow leads from each recorded cause to its effect, such as from
    the sending of a message to its reception.

    Args:
        path: must not exist.
        reader, engine: of the session.

    Raises:
        MissingExtra: the package `perfetto` is not installed, or the installed protobuf is too old for it.
        FileExistsError: the file exists.
    """
    protos = _classes_of_perfetto()
    result = PerfettoFile(path)
    with new_file(path) as file:
        _Writer(file, result, protos, {event_id for (event_id,) in _tuples(engine, _CAUSES)}).write(
            reader, engine
        )
    result.size_bytes = path.stat().st_size
    return result


def _classes_of_perfetto() -> Any:
    needed("perfetto", "a trace of Perfetto", "perfetto")
    try:
        from perfetto.protos.perfetto.trace import perfetto_trace_pb2
    # a VersionError of protobuf; `perfetto` does not declare the version that it needs
    except Exception as error:
        raise MissingExtra(
            f"the installed protobuf is not compatible with perfetto: {error}",
            remedy="pip install --upgrade protobuf; in a new environment if another package pins it",
        ) from error
    return perfetto_trace_pb2


@dataclass(slots=True)
class _Slice:
    """A span with its times, and the slice of the same agent in which it was called."""

    span: _Span
    start_ns: int
    end_ns: int
    caller: _Slice | None = None
    depth: int = 0


@dataclass(slots=True)
class _Lane:
    """A track with its open slices, the innermost last."""

    uuid: int
    open: list[_Slice] = field(default_factory=list)


class _Writer:
    """Writes the packets of one trace."""

    def __init__(self, file: IO[bytes], result: PerfettoFile, protos: Any, causes: set[str]) -> None:
        self._protos = protos
        self._file = file
        self._made = result
        self._causes = causes
        self._present: set[str] = set()
        self._wanted: list[str] = []
        self._trace = protos.Trace()
        self._names: dict[str, int] = {}
        self._categories: dict[str, int] = {}
        self._counters: dict[tuple[int, str], int] = {}
        self._is_first = True

    def write(self, reader: TreeReader, engine: Engine) -> None:
        """Write the whole trace."""
        session = reader.session.name
        self._track(_uuid(session), session)
        unended: dict[str | None, list[_Slice]] = {}
        for each in reader.in_flight():
            span = _Span(each.agent_id, "", "span", each.name, each.span_id, None, 0, 0, None, None, None, 0)
            unended.setdefault(each.agent_id, []).append(_Slice(span, each.started_us * 1000, _NEVER))
        named: set[str | None] = set()
        above: dict[str, str] = dict(_tuples(engine, _WITH_CHILDREN))
        spans = map(_Span._make, _tuples(engine, _SPANS))
        for _, group in groupby(spans, lambda row: row.agent_id or ""):
            own = list(group)
            agent_id = own[0].agent_id
            track = self._agent_track(session, agent_id, named)
            self._slices(track, agent_id, _nested(own, above, unended.pop(agent_id, [])))
        for agent_id, left in unended.items():
            self._slices(self._agent_track(session, agent_id, named), agent_id, left)
        listed = ", ".join(f"'{kind}'" for kind in _LEFT_OUT)
        for other in map(_Other._make, _tuples(engine, _OTHERS.format(listed))):
            self._other(self._agent_track(session, other.agent_id, named), other)
        self._flush()
        self._made.flows = sum(cause in self._present for cause in self._wanted)

    def _agent_track(self, session: str, agent_id: str | None, named: set[str | None]) -> int:
        uuid = _uuid(session, agent_id or "")
        if agent_id not in named:
            named.add(agent_id)
            self._track(uuid, agent_id or "no agent", _uuid(session))
        return uuid

    # tracks, names and packets

    def _packet(self) -> Any:
        if len(self._trace.packet) >= _PACKETS:
            self._flush()
        packet = self._trace.packet.add()
        packet.trusted_packet_sequence_id = _SEQUENCE
        flags = self._protos.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        if self._is_first:
            flags |= self._protos.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
            self._is_first = False
        packet.sequence_flags = flags
        return packet

    def _flush(self) -> None:
        # concatenated traces in a file are one trace
        self._file.write(self._trace.SerializeToString())
        self._trace = self._protos.Trace()

    def _track(self, uuid: int, name: str, parent: int | None = None, *, is_counter: bool = False) -> None:
        track = self._packet().track_descriptor
        track.uuid = uuid
        track.name = name.encode("utf-8", "backslashreplace").decode()
        if parent is not None:
            track.parent_uuid = parent
        if is_counter:
            track.counter.SetInParent()
        self._made.tracks += 1

    def _event(self, kind: int, track: int, time_ns: int, name: str = "", category: str = "") -> Any:
        packet = self._packet()
        packet.timestamp = time_ns
        event = packet.track_event
        event.type = kind
        event.track_uuid = track
        if name:
            event.name_iid = self._interned(packet, self._names, "event_names", name)
        if category:
            event.category_iids.append(self._interned(packet, self._categories, "event_categories", category))
        return event

    @staticmethod
    def _interned(packet: Any, known: dict[str, int], table: str, text: str) -> int:
        """The number of a name; the name itself is written once."""
        number = known.get(text)
        if number is None:
            number = known[text] = len(known) + 1
            row = getattr(packet.interned_data, table).add()
            row.iid = number
            row.name = text.encode("utf-8", "backslashreplace").decode()
        return number

    def _describe(self, event: Any, event_id: str, tick: int | None, causes: list[str] | None) -> None:
        """Add the id, the tick and the flows of an event."""
        if event_id:
            event.debug_annotations.add(name="id", string_value=event_id)
        if tick is not None:
            event.debug_annotations.add(name="tick", int_value=tick)
        if event_id in self._causes:
            self._present.add(event_id)
            event.flow_ids.append(_uuid("flow", event_id))
        for cause in causes or ():
            self._wanted.append(cause)
            event.terminating_flow_ids.append(_uuid("flow", cause))

    # slices

    def _slices(self, track: int, agent_id: str | None, slices: list[_Slice]) -> None:
        kinds = self._protos.TrackEvent
        lanes = [_Lane(track)]
        slices.sort(key=lambda each: (each.start_ns, each.depth, -each.end_ns, each.span.seq))
        for each in slices:
            lane = next((lane for lane in lanes if self._fits(lane, each)), None)
            if lane is None:
                each.caller = None
                lane = next((lane for lane in lanes if self._fits(lane, each)), None)
            if lane is None:
                uuid = _uuid(str(track), str(len(lanes)))
                lane = _Lane(uuid)
                lanes.append(lane)
                self._track(uuid, f"{agent_id or 'no agent'} ({len(lanes)})", track)
            span = each.span
            event = self._event(kinds.TYPE_SLICE_BEGIN, lane.uuid, each.start_ns, span.name, span.kind)
            self._describe(event, span.id, span.tick, span.causes)
            if span.outcome:
                event.debug_annotations.add(name="outcome", string_value=span.outcome)
            lane.open.append(each)
            self._made.slices += 1
        for lane in lanes:
            while lane.open:
                self._end(lane)

    def _fits(self, lane: _Lane, each: _Slice) -> bool:
        """Whether the innermost open slice of a track is this one's caller; without one, whether none is.

        Slices that ended before it are closed. Overlaps from rounding are cut.
        """
        start_ns = each.start_ns
        while lane.open and lane.open[-1] is not each.caller:
            ended = lane.open[-1]
            if ended.end_ns > start_ns + _ROUNDING_NS or ended.end_ns > each.end_ns:
                return False
            start_ns = max(start_ns, ended.end_ns)
            self._end(lane)
        if not lane.open:
            if each.caller is not None:
                return False
        else:
            around = lane.open[-1]
            if each.end_ns > around.end_ns + _ROUNDING_NS:
                return False  # it continued after its caller had ended
            each.end_ns = min(each.end_ns, around.end_ns)
        each.start_ns = min(start_ns, each.end_ns)
        return True

    def _end(self, lane: _Lane) -> None:
        ended = lane.open.pop()
        if ended.end_ns != _NEVER:
            self._event(self._protos.TrackEvent.TYPE_SLICE_END, lane.uuid, ended.end_ns)

    # other events

    def _other(self, track: int, other: _Other) -> None:
        time_ns = other.ts_us * 1000
        values = _values(other) if other.payload is not None else {}
        for name, value in values.items():
            uuid = self._counters.get((track, name))
            if uuid is None:
                uuid = self._counters[track, name] = _uuid(str(track), "counter", name)
                self._track(uuid, name, track, is_counter=True)
            event = self._event(self._protos.TrackEvent.TYPE_COUNTER, uuid, time_ns)
            event.double_counter_value = value
            self._made.counter_values += 1
        if not values:
            event = self._event(self._protos.TrackEvent.TYPE_INSTANT, track, time_ns, other.kind, other.level)
            self._describe(event, other.id, other.tick, other.causes)
            self._made.instants += 1


def _tuples(engine: Engine, query: str) -> Iterator[tuple[Any, ...]]:
    for batch in engine.user_batches(query, 10_000):
        yield from batch


def _uuid(*parts: str) -> int:
    """A 64-bit number that is equal for equal parts."""
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") or 1


def _nested(spans: list[_Span], above: dict[str, str], unended: list[_Slice]) -> list[_Slice]:
    """The slices of an agent's spans with their callers.

    Args:
        spans: of one agent.
        above: {span: its parent}, for the spans of all agents that have both a parent and a child.
        unended: the slices of the agent's spans that never ended.
    """
    slices = list(unended)
    for span in spans:
        end_ns = span.ts_us * 1000
        slices.append(_Slice(span, end_ns - round(span.duration_ms * 1e6), end_ns))
    by_id = {each.span.span_id: each for each in slices}
    for each in slices:
        at = each.span.parent_span_id
        for _ in range(_MOST_LEVELS):
            if at is None or at in by_id:
                break
            at = above.get(at)
        caller = by_id.get(at) if at is not None else None
        if caller is not None and caller.end_ns + _ROUNDING_NS > each.start_ns and caller is not each:
            each.caller = caller
    for each in slices:
        at_slice = each.caller
        while at_slice is not None and each.depth < _MOST_LEVELS:
            each.depth += 1
            at_slice = at_slice.caller
    # An event gets its time when it is written, shortly after its call ended; so its call began slightly
    # earlier.
    for each in sorted(slices, key=lambda one: -one.depth):
        if each.caller is not None:
            each.caller.start_ns = min(each.caller.start_ns, each.start_ns)
    return slices


_MOST_LEVELS: Final = 10_000
_VALUES: Final = {
    "reward": ("reward",),
    "metric": ("value",),
    "throughput": ("per_second",),
    "resource": ("memory_bytes", "cpu_percent"),
}


def _values(other: _Other) -> dict[str, float]:
    """The numbers of an event as {name of the counter: value}."""
    import orjson

    payload = orjson.loads(other.payload or "{}")
    values = {}
    for key in _VALUES[other.kind]:
        value = payload.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            named = payload.get("metric_name") or payload.get("operation")
            values[str(named) if key in {"value", "per_second"} and named else key] = float(value)
    return values
